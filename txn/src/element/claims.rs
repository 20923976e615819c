//! Who is about to write which keys and holds which spans as read: prepared transactions, and proposals in flight.
//!
//! Claims of a transaction are dropped together, when its outcome is known here.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::protocol::{Span, TxnId};

#[derive(Debug, Default)]
pub(crate) struct Claims {
    writes: BTreeMap<Bytes, TxnId>,
    points: BTreeSet<(Bytes, TxnId)>,
    ranges: Vec<(Span, TxnId)>,
    owners: BTreeMap<TxnId, Claim>,
}

#[derive(Debug)]
struct Claim {
    at: Timestamp,
    writes: Vec<Bytes>,
    points: Vec<Bytes>,
}

/// A claimed key and its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) key: Bytes,
    pub(crate) txn: TxnId,
    /// The timestamp of the owner's prepare or proposal.
    pub(crate) at: Timestamp,
}

impl Claims {
    /// Claims keys to write and spans read. The keys are kept, so they should not be slices of something large.
    pub(crate) fn add(&mut self, txn: TxnId, at: Timestamp, writes: Vec<Bytes>, reads: &[Span]) {
        self.remove(txn);
        for key in &writes {
            self.writes.insert(key.clone(), txn);
        }
        let mut points = Vec::new();
        for span in reads {
            if let Some(end) = &span.end {
                let copy = Span::range(Bytes::copy_from_slice(&span.start), Bytes::copy_from_slice(end));
                self.ranges.push((copy, txn));
            } else {
                let key = Bytes::copy_from_slice(&span.start);
                self.points.insert((key.clone(), txn));
                points.push(key);
            }
        }
        self.owners.insert(txn, Claim { at, writes, points });
    }

    /// Drops what a transaction claims, if anything.
    pub(crate) fn remove(&mut self, txn: TxnId) {
        let Some(claim) = self.owners.remove(&txn) else { return };
        for key in claim.writes {
            if self.writes.get(&key) == Some(&txn) {
                self.writes.remove(&key);
            }
        }
        for key in claim.points {
            self.points.remove(&(key, txn));
        }
        self.ranges.retain(|(_, owner)| *owner != txn);
    }

    /// Whether a transaction claims anything.
    pub(crate) fn claims(&self, txn: TxnId) -> bool {
        self.owners.contains_key(&txn)
    }

    /// A key of the span that another transaction is about to write.
    pub(crate) fn writer_in(&self, span: &Span, except: Option<TxnId>) -> Option<Owned> {
        self.writers_in(span).find(|owned| Some(owned.txn) != except)
    }

    /// All keys of the span that are about to be written, in key order.
    pub(crate) fn writers_in<'a>(&'a self, span: &'a Span) -> impl Iterator<Item = Owned> + 'a {
        let end = match &span.end {
            None => Bound::Included(&span.start[..]),
            // A reversed range would panic; it holds nothing.
            Some(end) => Bound::Excluded(if end < &span.start { &span.start[..] } else { &end[..] }),
        };
        let bounds = (Bound::Included(&span.start[..]), end);
        let empty = span.end.as_ref().is_some_and(|end| *end <= span.start);
        let range = (!empty).then(|| self.writes.range::<[u8], _>(bounds));
        range.into_iter().flatten().map(|(key, txn)| self.owned(key, *txn))
    }

    /// Another transaction that holds the key as read.
    pub(crate) fn reader_of(&self, key: &Bytes, except: TxnId) -> Option<Owned> {
        let points = self.points.range((key.clone(), TxnId(0))..=(key.clone(), TxnId(u64::MAX)));
        let point = points.map(|(_, txn)| *txn).find(|txn| *txn != except);
        let reader = point.or_else(|| {
            self.ranges.iter().find(|(span, txn)| *txn != except && span.contains(key)).map(|(_, txn)| *txn)
        });
        reader.map(|txn| self.owned(key, txn))
    }

    /// Spans within `[first, last]` that other transactions hold as read.
    pub(crate) fn reads_within(&self, first: &Bytes, last: &Bytes, except: TxnId) -> Vec<(Span, TxnId)> {
        let mut found = Vec::new();
        if first > last {
            return found;
        }
        let points = self.points.range((first.clone(), TxnId(0))..=(last.clone(), TxnId(u64::MAX)));
        found.extend(points.filter(|(_, txn)| *txn != except).map(|(key, txn)| (Span::key(key.clone()), *txn)));
        let ranges = self.ranges.iter().filter(|(span, txn)| {
            *txn != except && span.start <= *last && span.end.as_ref().is_some_and(|end| end > first)
        });
        found.extend(ranges.cloned());
        found
    }

    fn owned(&self, key: &Bytes, txn: TxnId) -> Owned {
        let at = self.owners.get(&txn).map(|claim| claim.at).expect("every claimed key has an owner");
        Owned { key: key.clone(), txn, at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn b(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn claims_are_found_by_key_and_range_and_dropped_together() {
        let mut claims = Claims::default();
        let reads = [Span::key(b("p")), Span::range(b("x"), b("z"))];
        claims.add(TxnId(1), Timestamp(5), vec![b("a"), b("c")], &reads);
        let owned = |key| Some(Owned { key, txn: TxnId(1), at: Timestamp(5) });
        assert_eq!(claims.writer_in(&Span::key(b("a")), None), owned(b("a")));
        assert_eq!(claims.writer_in(&Span::range(b("b"), b("d")), None), owned(b("c")));
        assert_eq!(claims.writer_in(&Span::range(b("b"), b("c")), None), None);
        assert_eq!(claims.writer_in(&Span::range(b("d"), b("b")), None), None);
        assert_eq!(claims.writer_in(&Span::key(b("a")), Some(TxnId(1))), None);
        assert_eq!(claims.reader_of(&b("p"), TxnId(2)), owned(b("p")));
        assert_eq!(claims.reader_of(&b("y"), TxnId(2)), owned(b("y")));
        assert_eq!(claims.reader_of(&b("z"), TxnId(2)), None);
        assert_eq!(claims.reads_within(&b("a"), &b("q"), TxnId(2)), [(Span::key(b("p")), TxnId(1))]);
        assert_eq!(claims.reads_within(&b("y"), &b("y"), TxnId(2)).len(), 1);
        claims.remove(TxnId(1));
        assert_eq!(claims.writer_in(&Span::range(b(""), b("~")), None), None);
        assert_eq!(claims.reader_of(&b("p"), TxnId(2)), None);
        assert_eq!(claims.reader_of(&b("y"), TxnId(2)), None);
    }
}
