//! What the clients of a simulated grid saw, and the two oracles that judge it.
//!
//! [`strictly_serializable`] looks by brute force for an order of all committed and some unknown transactions that fits
//! real time and explains every read. [`timestamp_order_is_serial`] replays the writers by commit timestamp: a cut at
//! any timestamp is then consistent.

use std::collections::{BTreeMap, BTreeSet, HashSet};

/// A key of the simulated database, by number; the value is the number of the transaction that wrote it.
pub(crate) type Key = usize;
/// Who wrote a value; `None`: no row.
pub(crate) type Value = Option<u32>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Committed,
    Refused,
    /// Unknown, or its client never got an answer.
    Unknown,
}

/// One transaction as its client saw it. Times are any numbers that grow with real time.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) txn: u32,
    pub(crate) invoke: u64,
    pub(crate) respond: u64,
    pub(crate) told: Told,
    /// First value seen of each key, own writes left out; a scan reads each key of its range.
    pub(crate) reads: BTreeMap<Key, Value>,
    /// Keys it was told to exist (23505).
    pub(crate) exists: BTreeSet<Key>,
    pub(crate) writes: BTreeMap<Key, Value>,
}

impl Record {
    /// Whether a state explains everything it was told.
    fn fits(&self, state: &[Value]) -> bool {
        self.told != Told::Committed
            || (self.reads.iter().all(|(&k, v)| state[k] == *v) && self.exists.iter().all(|&k| state[k].is_some()))
    }
}

pub(crate) fn strictly_serializable(history: &[Record], keys: usize) -> bool {
    let counts = |t: &&Record| t.told == Told::Committed || (t.told == Told::Unknown && !t.writes.is_empty());
    let txns: Vec<&Record> = history.iter().filter(counts).collect();
    assert!(txns.len() <= 64, "the search is exponential");
    let must = (0..txns.len()).filter(|&i| txns[i].told == Told::Committed).fold(0u64, |m, i| m | 1 << i);
    let end: Vec<u64> = txns.iter().map(|t| if t.told == Told::Committed { t.respond } else { u64::MAX }).collect();
    let mut seen = HashSet::new();
    // Depth first with an explicit stack: (done, state).
    let mut stack = vec![(0u64, vec![None; keys])];
    while let Some((done, state)) = stack.pop() {
        if must & !done == 0 {
            return true;
        }
        if !seen.insert((done, state.clone())) {
            continue;
        }
        let left = (0..txns.len()).filter(|i| done & (1 << i) == 0);
        let bound = left.clone().map(|i| end[i]).min().unwrap_or(u64::MAX);
        for i in left {
            let t = txns[i];
            // Somebody else had answered before it began, so that one goes first.
            let too_early = t.invoke > bound;
            if too_early || !t.fits(&state) {
                continue;
            }
            let mut next = state.clone();
            for (&k, v) in &t.writes {
                next[k] = *v;
            }
            stack.push((done | 1 << i, next));
        }
    }
    false
}

/// `committed`: transaction → the commit timestamps with which its writes were installed anywhere.
pub(crate) fn timestamp_order_is_serial(
    history: &[Record],
    committed: &BTreeMap<u32, BTreeSet<u64>>,
    keys: usize,
) -> bool {
    let mut order = Vec::new();
    for record in history {
        if let Some(stamps) = committed.get(&record.txn) {
            if stamps.len() != 1 {
                return false;
            }
            order.push((*stamps.first().expect("just counted"), record));
        }
    }
    order.sort_by_key(|(ts, record)| (*ts, record.txn));
    let mut state: Vec<Value> = vec![None; keys];
    for group in order.chunk_by(|a, b| a.0 == b.0) {
        for (_, t) in group {
            if !t.fits(&state) {
                return false;
            }
        }
        for (_, t) in group {
            for (&k, v) in &t.writes {
                state[k] = *v;
            }
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(txn: u32, at: (u64, u64), told: Told, reads: &[(Key, Value)], writes: &[(Key, Value)]) -> Record {
        Record {
            txn,
            invoke: at.0,
            respond: at.1,
            told,
            reads: reads.iter().copied().collect(),
            exists: BTreeSet::new(),
            writes: writes.iter().copied().collect(),
        }
    }

    #[test]
    fn write_skew_is_found() {
        let history = [
            record(1, (0, 10), Told::Committed, &[(0, None), (1, None)], &[(0, Some(1))]),
            record(2, (0, 10), Told::Committed, &[(0, None), (1, None)], &[(1, Some(2))]),
        ];
        assert!(!strictly_serializable(&history, 2));
        assert!(strictly_serializable(&history[..1], 2));
    }

    #[test]
    fn a_stale_read_is_found_by_real_time_alone() {
        let late = |at| {
            [
                record(1, (0, 5), Told::Committed, &[], &[(0, Some(1))]),
                record(2, at, Told::Committed, &[(0, None)], &[]),
            ]
        };
        assert!(strictly_serializable(&late((4, 8)), 1));
        assert!(!strictly_serializable(&late((6, 8)), 1));
    }

    #[test]
    fn an_unknown_transaction_may_have_happened_or_not_but_not_both() {
        let unknown = record(1, (0, 5), Told::Unknown, &[], &[(0, Some(1))]);
        let read = |txn, at, v| record(txn, at, Told::Committed, &[(0, v)], &[]);
        assert!(strictly_serializable(&[unknown.clone(), read(2, (6, 7), None)], 1));
        assert!(strictly_serializable(&[unknown.clone(), read(2, (6, 7), None), read(3, (8, 9), Some(1))], 1));
        assert!(!strictly_serializable(&[unknown, read(2, (6, 7), Some(1)), read(3, (8, 9), None)], 1));
    }

    #[test]
    fn refused_transactions_left_no_trace() {
        let refused = record(1, (0, 5), Told::Refused, &[], &[(0, Some(1))]);
        let read = record(2, (6, 7), Told::Committed, &[(0, Some(1))], &[]);
        assert!(!strictly_serializable(&[refused, read], 1));
    }
}
