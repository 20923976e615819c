//! Recent commits by timestamp and key, above a floor: what validation asks first. Only a snapshot below the floor costs a look into
//! the store.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::protocol::{Span, TxnId};

/// Up to so many newer commits, a range is compared with each of them; beyond, the range is looked up by key.
const WALK_MAX: usize = 64;

#[derive(Debug)]
pub(crate) struct Recent {
    /// Nothing is known of commits at or below.
    floor: Timestamp,
    keys: BTreeMap<Bytes, (Timestamp, TxnId)>,
    /// In the order of the log, so by timestamp.
    order: VecDeque<(Timestamp, Bytes)>,
    len_max: usize,
}

impl Recent {
    pub(crate) fn new(floor: Timestamp, len_max: usize) -> Self {
        Recent { floor, keys: BTreeMap::new(), order: VecDeque::new(), len_max }
    }

    pub(crate) fn floor(&self) -> Timestamp {
        self.floor
    }

    /// Notes a committed key; timestamps never fall.
    pub(crate) fn insert(&mut self, at: Timestamp, key: Bytes, txn: TxnId) {
        debug_assert!(self.order.back().is_none_or(|(last, _)| *last <= at), "commits come in the order of the log");
        self.keys.insert(key.clone(), (at, txn));
        self.order.push_back((at, key));
        while self.order.len() > self.len_max {
            let (at, key) = self.order.pop_front().expect("it is longer than its bound");
            if self.keys.get(&key).is_some_and(|(newest, _)| *newest == at) {
                self.keys.remove(&key);
            }
            self.floor = self.floor.max(at);
        }
    }

    /// Forgets everything up to a timestamp that is at least that of the last commit noted.
    pub(crate) fn reset(&mut self, floor: Timestamp) {
        self.floor = self.floor.max(floor);
        self.keys.clear();
        self.order.clear();
    }

    /// A key of the span that was committed after the snapshot, which is not below the floor.
    pub(crate) fn changed_since(&self, span: &Span, snapshot: Timestamp) -> Option<(Bytes, TxnId)> {
        assert!(snapshot >= self.floor, "below the floor only the store knows");
        let newer = |(key, (at, txn)): (&Bytes, &(Timestamp, TxnId))| (*at > snapshot).then(|| (key.clone(), *txn));
        let Some(end) = &span.end else {
            return self.keys.get_key_value(&span.start).and_then(newer);
        };
        if *end <= span.start {
            return None;
        }
        let first = self.order.partition_point(|(at, _)| *at <= snapshot);
        if self.order.len() - first > WALK_MAX {
            return self.keys.range(span.start.clone()..end.clone()).find_map(newer);
        }
        let (_, key) = self.order.range(first..).find(|(_, key)| span.contains(key))?;
        let (_, txn) = self.keys.get(key).expect("a key stays until its newest commit leaves");
        Some((key.clone(), *txn))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Bytes {
        Bytes::copy_from_slice(&n.to_be_bytes())
    }

    #[test]
    fn both_ways_of_asking_agree() {
        let mut recent = Recent::new(Timestamp(0), 1000);
        for n in 0..500u64 {
            recent.insert(Timestamp(n + 1), key(n * 7 % 100), TxnId(n));
        }
        for snapshot in [0, 100, 430, 450, 480, 499, 500] {
            for start in (0..100).step_by(9) {
                let span = Span::range(key(start), key(start + 5));
                let ranged = recent.changed_since(&span, Timestamp(snapshot)).is_some();
                let points =
                    (start..start + 5).any(|n| recent.changed_since(&Span::key(key(n)), Timestamp(snapshot)).is_some());
                assert_eq!(ranged, points, "snapshot {snapshot}, start {start}");
            }
        }
    }

    #[test]
    fn what_leaves_raises_the_floor() {
        let mut recent = Recent::new(Timestamp(0), 2);
        recent.insert(Timestamp(1), key(1), TxnId(1));
        recent.insert(Timestamp(2), key(1), TxnId(2));
        recent.insert(Timestamp(3), key(2), TxnId(3));
        assert_eq!(recent.floor(), Timestamp(1));
        assert_eq!(recent.changed_since(&Span::key(key(1)), Timestamp(1)), Some((key(1), TxnId(2))));
        recent.reset(Timestamp(9));
        assert_eq!(recent.floor(), Timestamp(9));
        assert_eq!(recent.changed_since(&Span::key(key(2)), Timestamp(9)), None);
    }
}
