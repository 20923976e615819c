//! What a transaction has read in one replica set: the spans that its commit validates.
//!
//! Spans are appended as they come and put in order now and then, so that a point read costs one push and a scan of a
//! million pages keeps one span. Beyond [`SPANS_MAX`] neighbours are joined: more conflicts, never fewer.

use bytes::Bytes;

use crate::apply::next_key;
use crate::protocol::Span;

/// Spans that one transaction keeps for one replica set.
pub(crate) const SPANS_MAX: usize = 16_384;

#[derive(Debug, Default)]
pub(crate) struct SpanSet {
    spans: Vec<Span>,
    /// Length after the last tidying: the next one happens at twice that.
    tidy: usize,
}

impl SpanSet {
    pub(crate) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    pub(crate) fn point(&mut self, key: Bytes) {
        self.push(Span::key(key));
    }

    /// Keys of `[start, end)`; nothing if the range is empty.
    pub(crate) fn range(&mut self, start: Bytes, end: Bytes) {
        if start >= end {
            return;
        }
        if let Some(last) = self.spans.last_mut()
            && last.end.as_ref() == Some(&start)
        {
            last.end = Some(end);
            return;
        }
        self.push(Span::range(start, end));
    }

    fn push(&mut self, span: Span) {
        if self.spans.last() == Some(&span) {
            return;
        }
        self.spans.push(span);
        if self.spans.len() >= 64 && self.spans.len() >= 2 * self.tidy {
            self.tidy();
            while self.spans.len() > SPANS_MAX {
                self.coarsen();
            }
            self.tidy = self.spans.len();
        }
    }

    /// The spans in order, none inside another.
    pub(crate) fn tidied(&mut self) -> Vec<Span> {
        if self.spans.len() > 1 {
            self.tidy();
        }
        self.spans.clone()
    }

    fn tidy(&mut self) {
        // Of two that start alike the longer comes first; `None` is the single key.
        self.spans.sort_unstable_by(|a, b| a.start.cmp(&b.start).then_with(|| b.end.cmp(&a.end)));
        self.spans.dedup_by(|next, kept| match &mut kept.end {
            None => next.start == kept.start && next.end.is_none(),
            Some(end) if next.start < *end => {
                if next.end.as_ref().is_some_and(|e| e > end) {
                    *end = next.end.clone().expect("just seen");
                }
                true
            }
            Some(end) if next.start == *end && next.end.is_some() => {
                *end = next.end.clone().expect("just seen");
                true
            }
            Some(_) => false,
        });
    }

    /// Joins each two neighbours into one range.
    fn coarsen(&mut self) {
        let last_key = |span: &Span| span.end.clone().unwrap_or_else(|| next_key(&span.start));
        self.spans = self
            .spans
            .chunks(2)
            .map(|pair| match pair {
                [a, b] => Span::range(a.start.clone(), last_key(b)),
                _ => pair[0].clone(),
            })
            .collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn b(s: &str) -> Bytes {
        Bytes::copy_from_slice(s.as_bytes())
    }

    fn text(spans: &[Span]) -> String {
        let show = |x: &Bytes| String::from_utf8_lossy(x).into_owned();
        spans
            .iter()
            .map(|s| match &s.end {
                None => show(&s.start),
                Some(e) => format!("[{},{})", show(&s.start), show(e)),
            })
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn overlapping_and_adjacent_spans_become_one_and_points_inside_vanish() {
        let mut set = SpanSet::default();
        set.range(b("m"), b("p"));
        set.point(b("n"));
        set.point(b("a"));
        set.point(b("a"));
        set.range(b("o"), b("s"));
        set.range(b("s"), b("t"));
        set.range(b("x"), b("x"));
        set.point(b("t"));
        assert_eq!(text(&set.tidied()), "a [m,t) t");
    }

    #[test]
    fn too_many_points_are_joined_and_stay_covered() {
        let mut set = SpanSet::default();
        let key = |i: u32| Bytes::from(i.to_be_bytes().to_vec());
        for i in 0..100_000 {
            set.point(key(i * 3));
        }
        let spans = set.tidied();
        assert!(spans.len() <= 2 * SPANS_MAX, "{}", spans.len());
        for i in 0..100_000 {
            let k = key(i * 3);
            let at = spans.partition_point(|s| s.start <= k) - 1;
            let covered = match &spans[at].end {
                None => spans[at].start == k,
                Some(end) => k < *end,
            };
            assert!(covered, "{i}");
        }
    }
}
