//! The writes of a transaction that are buffered for one replica set, and what a reader of the same transaction sees.
//!
//! A write keeps whether its key must have been absent when the transaction began to write it (`insert`): that is what the
//! leader checks. So deleting an own insert leaves "must be absent, nothing written", and inserting after an own delete
//! leaves a plain write.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::protocol::Write;

/// Bytes accounted for one buffered write beside its key and value.
const OVERHEAD: usize = 192;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) value: Option<Bytes>,
    pub(crate) insert: bool,
}

#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    writes: BTreeMap<Bytes, Pending>,
    bytes: usize,
    /// What to put back if the statement fails, oldest first.
    undo: Vec<(Bytes, Option<Pending>)>,
}

/// The key was written by this transaction and has a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OwnDuplicate;

fn weight(key: &Bytes, pending: &Pending) -> usize {
    OVERHEAD + key.len() + pending.value.as_ref().map_or(0, Bytes::len)
}

impl WriteBuffer {
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Memory held, in bytes, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What this transaction wrote to `key`: `Some(None)` if it deleted it.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.writes.get(key).map(|p| &p.value)
    }

    pub(crate) fn put(&mut self, key: Bytes, value: Option<Bytes>, insert: bool) -> Result<(), OwnDuplicate> {
        let before = self.writes.get(&key);
        let insert = match before {
            None => insert,
            Some(Pending { value: Some(_), .. }) if insert => return Err(OwnDuplicate),
            Some(before) => before.insert,
        };
        let after = Pending { value, insert };
        self.bytes += weight(&key, &after);
        let before = self.writes.insert(key.clone(), after);
        if let Some(before) = &before {
            self.bytes -= weight(&key, before);
        }
        self.undo.push((key, before));
        Ok(())
    }

    /// The statement succeeded: its writes stay.
    pub(crate) fn keep(&mut self) {
        self.undo.clear();
    }

    /// The statement failed: its writes go.
    pub(crate) fn undo(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            let after = match before {
                Some(before) => {
                    self.bytes += weight(&key, &before);
                    self.writes.insert(key.clone(), before)
                }
                None => self.writes.remove(&key),
            };
            self.bytes -= weight(&key, &after.expect("what the statement wrote is there until it is undone"));
        }
    }

    /// Takes writes in key order until they are about `most` bytes; they can no longer be undone one by one.
    pub(crate) fn take(&mut self, most: usize) -> Vec<Write> {
        self.undo.clear();
        let mut taken = Vec::new();
        let mut sum = 0;
        while let Some(entry) = self.writes.first_entry() {
            let size = weight(entry.key(), entry.get());
            if !taken.is_empty() && sum + size > most {
                break;
            }
            sum += size;
            let (key, pending) = entry.remove_entry();
            taken.push(Write { key, value: pending.value, insert: pending.insert });
        }
        self.bytes -= sum;
        taken
    }

    /// All writes in key order, left in place.
    pub(crate) fn to_vec(&self) -> Vec<Write> {
        let copy = |(key, p): (&Bytes, &Pending)| Write { key: key.clone(), value: p.value.clone(), insert: p.insert };
        self.writes.iter().map(copy).collect()
    }

    /// Lays the own writes of `[start, end)` over `rows`, which are all others' rows of that range, in scan order.
    pub(crate) fn merge(
        &self,
        rows: Vec<(Bytes, Bytes)>,
        start: &Bytes,
        end: &Bytes,
        reverse: bool,
    ) -> Vec<(Bytes, Bytes)> {
        if self.writes.is_empty() || start >= end {
            return rows;
        }
        let own = self.writes.range::<Bytes, _>((Bound::Included(start), Bound::Excluded(end)));
        if reverse { overlay(rows, own.rev(), |a, b| a > b) } else { overlay(rows, own, |a, b| a < b) }
    }
}

fn overlay<'a>(
    rows: Vec<(Bytes, Bytes)>,
    own: impl Iterator<Item = (&'a Bytes, &'a Pending)>,
    before: impl Fn(&Bytes, &Bytes) -> bool,
) -> Vec<(Bytes, Bytes)> {
    let mut own = own.peekable();
    if own.peek().is_none() {
        return rows;
    }
    let mut merged = Vec::with_capacity(rows.len());
    let mut rows = rows.into_iter().peekable();
    for (key, pending) in own {
        while let Some(row) = rows.next_if(|row| before(&row.0, key)) {
            merged.push(row);
        }
        rows.next_if(|row| row.0 == *key);
        if let Some(value) = &pending.value {
            merged.push((key.clone(), value.clone()));
        }
    }
    merged.extend(rows);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn b(s: &str) -> Bytes {
        Bytes::copy_from_slice(s.as_bytes())
    }

    fn rows(text: &str) -> Vec<(Bytes, Bytes)> {
        text.split_whitespace().map(|kv| kv.split_once('=').map(|(k, v)| (b(k), b(v))).expect("k=v")).collect()
    }

    fn put(buffer: &mut WriteBuffer, key: &str, value: Option<&str>, insert: bool) -> bool {
        buffer.put(b(key), value.map(b), insert).is_ok()
    }

    #[test]
    fn scans_see_own_writes_in_both_directions_and_only_in_range() {
        let mut w = WriteBuffer::default();
        put(&mut w, "a", Some("own"), false);
        put(&mut w, "c", None, false);
        put(&mut w, "d", Some("own"), false);
        put(&mut w, "z", Some("own"), false);
        let up = w.merge(rows("b=1 c=2 e=3"), &b("b"), &b("z"), false);
        assert_eq!(up, rows("b=1 d=own e=3"));
        let down = w.merge(rows("e=3 c=2 b=1"), &b("a"), &b("zz"), true);
        assert_eq!(down, rows("z=own e=3 d=own b=1 a=own"));
        assert_eq!(w.merge(Vec::new(), &b("a"), &b("a"), false), Vec::new());
    }

    #[test]
    fn an_insert_is_checked_against_what_the_transaction_itself_did_before() {
        let mut w = WriteBuffer::default();
        assert!(put(&mut w, "k", Some("1"), true));
        assert!(!put(&mut w, "k", Some("2"), true), "inserted twice");
        assert!(put(&mut w, "k", None, false));
        assert_eq!(w.to_vec(), [Write { key: b("k"), value: None, insert: true }], "it must still have been absent");
        assert!(put(&mut w, "k", Some("3"), true));
        assert_eq!(w.to_vec(), [Write { key: b("k"), value: Some(b("3")), insert: true }]);
        assert!(put(&mut w, "m", None, false));
        assert!(put(&mut w, "m", Some("4"), true), "deleted by itself before");
        assert_eq!(w.to_vec()[1], Write { key: b("m"), value: Some(b("4")), insert: false });
    }

    #[test]
    fn a_failed_statement_leaves_what_the_statements_before_it_wrote() {
        let mut w = WriteBuffer::default();
        put(&mut w, "a", Some("1"), true);
        w.keep();
        let (before, bytes) = (w.to_vec(), w.bytes());
        put(&mut w, "a", Some("22"), false);
        put(&mut w, "a", None, false);
        put(&mut w, "b", Some("3"), false);
        w.undo();
        assert_eq!((w.to_vec(), w.bytes()), (before, bytes));
    }

    #[test]
    fn writes_are_taken_in_pieces_and_the_account_ends_at_nothing() {
        let mut w = WriteBuffer::default();
        for i in 0..100u8 {
            w.put(Bytes::from(vec![i]), Some(Bytes::from(vec![0; 1000])), false).expect("no own duplicate");
        }
        let mut seen = 0;
        while !w.is_empty() {
            let piece = w.take(10_000);
            assert!((1..=9).contains(&piece.len()), "{}", piece.len());
            seen += piece.len();
        }
        assert_eq!((seen, w.bytes()), (100, 0));
    }
}
