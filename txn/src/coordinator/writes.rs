//! The writes of a transaction that are buffered for one replica set, and what a reader of the same transaction sees.
//!
//! A write keeps whether its key must have been absent when the transaction began to write it (`insert`): that is what the
//! leader checks. So deleting an own insert leaves "must be absent, nothing written", and inserting after an own delete
//! leaves a plain write.
//!
//! Savepoints: what a key was when it was first written after a savepoint is kept in a [`Layer`], so that a savepoint costs nothing by itself and going
//! back costs what was written since. Every key of a layer is in the buffer, and *guarded*: it stays there while others are staged, since
//! what was sent to a replica set cannot be taken back one by one. A transaction without savepoints has no layers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Bound;

use bytes::Bytes;

use crate::protocol::Write;

/// Bytes accounted for one buffered write, and for one image of a layer, beside its key and value.
const OVERHEAD: usize = 192;

#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) value: Option<Bytes>,
    pub(crate) insert: bool,
    /// The buffer's epoch if a layer has an image of the key.
    guard: u64,
}

/// What the keys written while this savepoint was the newest were before; `None`: not in the buffer.
#[derive(Debug)]
struct Layer {
    savepoint: u64,
    before: BTreeMap<Bytes, Option<Pending>>,
}

#[derive(Debug)]
pub(crate) struct WriteBuffer {
    writes: BTreeMap<Bytes, Pending>,
    /// Bytes of `writes`.
    bytes: usize,
    /// Bytes of those of them that are guarded.
    guarded: usize,
    /// By their savepoints, the oldest first.
    layers: Vec<Layer>,
    /// Bytes of `layers`.
    images: usize,
    /// Ends guards all at once: rises when the layers are dropped.
    epoch: u64,
}

impl Default for WriteBuffer {
    fn default() -> Self {
        WriteBuffer { writes: BTreeMap::new(), bytes: 0, guarded: 0, layers: Vec::new(), images: 0, epoch: 1 }
    }
}

/// The key was written by this transaction and has a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct OwnDuplicate;

fn weight(key: &Bytes, pending: &Pending) -> usize {
    OVERHEAD + key.len() + pending.value.as_ref().map_or(0, Bytes::len)
}

fn image_weight(key: &Bytes, before: &Option<Pending>) -> usize {
    OVERHEAD + key.len() + before.as_ref().and_then(|before| before.value.as_ref()).map_or(0, Bytes::len)
}

impl WriteBuffer {
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// Memory held, in bytes, about: what is kept for savepoints included.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.images
    }

    /// Bytes of the writes that no savepoint takes back: those that can be staged.
    pub(crate) fn settled(&self) -> usize {
        self.bytes - self.guarded
    }

    /// What this transaction wrote to `key`: `Some(None)` if it deleted it.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.writes.get(key).map(|p| &p.value)
    }

    /// Writes; going back to `savepoint`, the newest that there is, takes it back.
    pub(crate) fn put(
        &mut self,
        key: Bytes,
        value: Option<Bytes>,
        insert: bool,
        savepoint: Option<u64>,
    ) -> Result<(), OwnDuplicate> {
        let before = self.writes.get(&key);
        let insert = match before {
            None => insert,
            Some(Pending { value: Some(_), .. }) if insert => return Err(OwnDuplicate),
            Some(before) => before.insert,
        };
        let guard = if savepoint.is_some() { self.epoch } else { 0 };
        let before = self.replace(&key, Some(Pending { value, insert, guard }));
        let Some(savepoint) = savepoint else { return Ok(()) };
        if self.layers.last().is_none_or(|layer| layer.savepoint != savepoint) {
            self.layers.push(Layer { savepoint, before: BTreeMap::new() });
        }
        if let Some(layer) = self.layers.last_mut()
            && let Entry::Vacant(entry) = layer.before.entry(key)
        {
            self.images += image_weight(entry.key(), &before);
            entry.insert(before);
        }
        Ok(())
    }

    /// Puts `after` in the place of what is buffered for the key, which it gives back.
    fn replace(&mut self, key: &Bytes, after: Option<Pending>) -> Option<Pending> {
        if let Some(after) = &after {
            let size = weight(key, after);
            self.bytes += size;
            self.guarded += if after.guard == self.epoch { size } else { 0 };
        }
        let before = match after {
            Some(after) => self.writes.insert(key.clone(), after),
            None => self.writes.remove(key),
        };
        if let Some(before) = &before {
            let size = weight(key, before);
            self.bytes -= size;
            self.guarded -= if before.guard == self.epoch { size } else { 0 };
        }
        before
    }

    /// Goes back to a savepoint, which stays.
    pub(crate) fn roll_back_to(&mut self, savepoint: u64) {
        while let Some(layer) = self.layers.pop_if(|layer| layer.savepoint >= savepoint) {
            for (key, before) in layer.before {
                self.images -= image_weight(&key, &before);
                self.replace(&key, before);
            }
        }
    }

    /// Forgets a savepoint and those after it; what was written since is taken back with `into`, the one before it, if there is one.
    pub(crate) fn release(&mut self, savepoint: u64, into: Option<u64>) {
        let Some(into) = into else { return self.settle() };
        if self.layers.last().is_none_or(|layer| layer.savepoint < savepoint) {
            return;
        }
        let mut joined: Option<BTreeMap<Bytes, Option<Pending>>> = None;
        while let Some(layer) = self.layers.pop_if(|layer| layer.savepoint >= into) {
            joined = Some(match joined {
                None => layer.before,
                Some(newer) => self.join(layer.before, newer),
            });
        }
        self.layers.extend(joined.map(|before| Layer { savepoint: into, before }));
    }

    /// The images of two layers in one: where both have one, the older is right. The smaller goes into the larger.
    fn join(
        &mut self,
        mut older: BTreeMap<Bytes, Option<Pending>>,
        mut newer: BTreeMap<Bytes, Option<Pending>>,
    ) -> BTreeMap<Bytes, Option<Pending>> {
        if older.len() < newer.len() {
            for (key, before) in older {
                if let Some(image) = newer.get(&key) {
                    self.images -= image_weight(&key, image);
                }
                newer.insert(key, before);
            }
            return newer;
        }
        for (key, before) in newer {
            match older.entry(key) {
                Entry::Vacant(entry) => drop(entry.insert(before)),
                Entry::Occupied(entry) => self.images -= image_weight(entry.key(), &before),
            }
        }
        older
    }

    /// Forgets all savepoints; what was written since stays.
    pub(crate) fn settle(&mut self) {
        if !self.layers.is_empty() {
            self.layers.clear();
            self.epoch += 1;
            (self.guarded, self.images) = (0, 0);
        }
    }

    /// Takes writes that no savepoint takes back, in key order, until they are about `most` bytes.
    pub(crate) fn take(&mut self, most: usize) -> Vec<Write> {
        let (mut keys, mut sum) = (Vec::new(), 0);
        for (key, pending) in self.writes.iter().filter(|(_, pending)| pending.guard != self.epoch) {
            let size = weight(key, pending);
            if !keys.is_empty() && sum + size > most {
                break;
            }
            sum += size;
            keys.push(key.clone());
        }
        let mut taken = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(pending) = self.replace(&key, None) {
                taken.push(Write { key, value: pending.value, insert: pending.insert });
            }
        }
        taken
    }

    /// All writes in key order, left in place.
    pub(crate) fn to_vec(&self) -> Vec<Write> {
        let copy = |(key, p): (&Bytes, &Pending)| Write { key: key.clone(), value: p.value.clone(), insert: p.insert };
        self.writes.iter().map(copy).collect()
    }

    /// Whether there are own writes in `[start, end)`.
    pub(crate) fn touch(&self, start: &Bytes, end: &Bytes) -> bool {
        start < end && self.writes.range::<Bytes, _>((Bound::Included(start), Bound::Excluded(end))).next().is_some()
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
    use crate::sim::rng::Rng;

    fn b(s: &str) -> Bytes {
        Bytes::copy_from_slice(s.as_bytes())
    }

    fn rows(text: &str) -> Vec<(Bytes, Bytes)> {
        text.split_whitespace().map(|kv| kv.split_once('=').map(|(k, v)| (b(k), b(v))).expect("k=v")).collect()
    }

    fn put(buffer: &mut WriteBuffer, key: &str, value: Option<&str>, insert: bool) -> bool {
        buffer.put(b(key), value.map(b), insert, None).is_ok()
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
        assert!(w.touch(&b("b"), &b("cc")), "deleting is writing");
        assert!(!w.touch(&b("b"), &b("c")) && !w.touch(&b("e"), &b("z")) && !w.touch(&b("z"), &b("a")));
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

    /// Everything that can be seen of a buffer.
    fn seen(w: &WriteBuffer) -> (Vec<Write>, usize) {
        (w.to_vec(), w.bytes)
    }

    #[test]
    fn a_savepoint_brings_back_what_was_written_before_it() {
        let mut w = WriteBuffer::default();
        put(&mut w, "a", Some("1"), true);
        let before = seen(&w);
        for (key, value) in [("a", Some("22")), ("a", None), ("b", Some("3"))] {
            w.put(b(key), value.map(b), false, Some(1)).expect("no own duplicate");
        }
        w.roll_back_to(1);
        assert_eq!(seen(&w), before);
        assert!(!put(&mut w, "a", Some("2"), true), "an insert again");
        assert_eq!((w.settled(), w.bytes()), (before.1, before.1), "nothing is kept for the savepoint");
    }

    #[test]
    fn a_key_written_often_since_a_savepoint_is_kept_once() {
        let mut w = WriteBuffer::default();
        put(&mut w, "a", Some("1"), true);
        w.put(b("a"), Some(b("2")), false, Some(1)).expect("no own duplicate");
        let once = w.bytes();
        for _ in 0..100 {
            w.put(b("a"), Some(b("3")), false, Some(1)).expect("no own duplicate");
        }
        assert_eq!(w.bytes(), once);
        w.release(1, None);
        assert_eq!(w.bytes(), w.settled());
    }

    #[test]
    fn what_a_savepoint_takes_back_is_not_taken_for_staging() {
        let mut w = WriteBuffer::default();
        put(&mut w, "a", Some("1"), false);
        put(&mut w, "c", Some("1"), false);
        w.put(b("b"), Some(b("2")), false, Some(1)).expect("no own duplicate");
        w.put(b("c"), Some(b("2")), false, Some(1)).expect("no own duplicate");
        assert_eq!(w.take(usize::MAX), [Write { key: b("a"), value: Some(b("1")), insert: false }]);
        assert_eq!((w.take(usize::MAX), w.settled()), (Vec::new(), 0));
        w.roll_back_to(1);
        assert_eq!(w.take(usize::MAX), [Write { key: b("c"), value: Some(b("1")), insert: false }]);
        w.put(b("d"), None, false, Some(1)).expect("no own duplicate");
        w.settle();
        assert_eq!(w.take(usize::MAX).len(), 1);
        assert_eq!((w.is_empty(), w.bytes()), (true, 0));
    }

    #[test]
    fn many_savepoints_agree_with_copies_of_the_whole() {
        let rng = Rng::new(7);
        for _ in 0..300 {
            let mut w = WriteBuffer::default();
            // Live savepoints: number, and the buffer's writes when it was made, less what has been taken since.
            let mut copies: Vec<(u64, Vec<Write>)> = Vec::new();
            let mut number = 0;
            for _ in 0..rng.within(1, 80) {
                match rng.below(100) {
                    0..60 => {
                        let key = Bytes::from(vec![b'a' + rng.below(8) as u8]);
                        let value = rng.chance(70).then(|| Bytes::from(vec![b'x'; rng.below(5)]));
                        let insert = value.is_some() && rng.chance(30);
                        let own = w.get(&key).is_some_and(Option::is_some);
                        let put = w.put(key, value, insert, copies.last().map(|copy| copy.0));
                        assert_eq!(put.is_err(), insert && own);
                    }
                    60..75 => {
                        number += 1;
                        copies.push((number, w.to_vec()));
                    }
                    75..85 if !copies.is_empty() => {
                        copies.truncate(rng.below(copies.len()) + 1);
                        let (savepoint, copy) = copies.last().expect("one is left");
                        w.roll_back_to(*savepoint);
                        assert_eq!(w.to_vec(), *copy);
                    }
                    85..95 if !copies.is_empty() => {
                        let at = rng.below(copies.len());
                        let savepoint = copies[at].0;
                        copies.truncate(at);
                        let before = w.to_vec();
                        w.release(savepoint, copies.last().map(|copy| copy.0));
                        assert_eq!(w.to_vec(), before);
                    }
                    _ => {
                        for write in w.take(500) {
                            for (_, copy) in &mut copies {
                                assert!(copy.contains(&write), "no savepoint brings back another value of it");
                                copy.retain(|other| other.key != write.key);
                            }
                        }
                    }
                }
                assert_eq!(w.bytes, w.writes.iter().map(|(key, p)| weight(key, p)).sum::<usize>());
                let guarded = |key: &Bytes| w.layers.iter().any(|layer| layer.before.contains_key(key));
                let of_guarded = w.writes.iter().filter(|(key, _)| guarded(key)).map(|(key, p)| weight(key, p));
                assert_eq!(w.guarded, of_guarded.sum::<usize>());
                let images = w.layers.iter().flat_map(|layer| &layer.before).map(|(key, b)| image_weight(key, b));
                assert_eq!(w.images, images.sum::<usize>());
            }
        }
    }

    #[test]
    fn writes_are_taken_in_pieces_and_the_account_ends_at_nothing() {
        let mut w = WriteBuffer::default();
        for i in 0..100u8 {
            w.put(Bytes::from(vec![i]), Some(Bytes::from(vec![0; 1000])), false, None).expect("no own duplicate");
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
