//! Strict serializability of single rows: each key is a register that is read, written, and compared-and-set. A history is
//! good if all operations can be put in one order that respects real time and in which every read sees the last write.
//!
//! The search is that of Wing and Gong with Lowe's memory of configurations already tried, as in Porcupine: take any operation
//! that was begun before the first end among those still open, apply it to the state, go on; go back when stuck. Keys are
//! independent, so each is judged alone. Operations of unknown outcome never end and may be left out.

use std::collections::{BTreeMap, HashSet};

use crate::history::{Operation, Outcome};

/// An operation on one key. A key that was never written reads as `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// Read, and what was seen.
    Read(Option<i64>),
    /// Written.
    Write(i64),
    /// Set to the second value if the first was there; whether it was.
    CompareAndSet(i64, i64, bool),
}

impl Register {
    /// The state after this operation, if it can happen in `state`. `known` is false when no answer was seen.
    fn apply(self, state: Option<i64>, known: bool) -> Option<Option<i64>> {
        match self {
            Register::Read(seen) => (!known || seen == state).then_some(state),
            Register::Write(value) => Some(Some(value)),
            Register::CompareAndSet(old, new, done) => match (state == Some(old), known) {
                (fits, true) if fits != done => None,
                (true, _) => Some(Some(new)),
                (false, _) => Some(state),
            },
        }
    }
}

/// Judges all keys of a history.
///
/// # Errors
/// Names the first key that has no valid order, with its operations.
pub fn check(history: &[Operation<(i64, Register)>]) -> Result<(), String> {
    let mut keys: BTreeMap<i64, Vec<Operation<Register>>> = BTreeMap::new();
    for operation in history.iter().filter(|operation| operation.outcome != Outcome::Refused) {
        let (key, what) = operation.what;
        // A read without an answer tells nothing.
        if matches!(what, Register::Read(_)) && operation.outcome == Outcome::Unknown {
            continue;
        }
        keys.entry(key).or_default().push(Operation {
            what,
            begin: operation.begin,
            end: if operation.outcome == Outcome::Unknown { u64::MAX } else { operation.end },
            outcome: operation.outcome,
        });
    }
    for (key, mut operations) in keys {
        operations.sort_by_key(|operation| operation.begin);
        if !linearizable(&operations) {
            let listing: Vec<String> = operations
                .iter()
                .map(|o| {
                    format!(
                        "  {:>12} … {:>12} µs {:?} {:?}",
                        o.begin / 1000,
                        if o.end == u64::MAX { 0 } else { o.end / 1000 },
                        o.what,
                        o.outcome
                    )
                })
                .collect();
            return Err(format!(
                "key {key}: no order of these operations explains what was read\n{}",
                listing.join("\n")
            ));
        }
    }
    Ok(())
}

/// Operations already placed, as a set of bits.
type Placed = Vec<u64>;

/// Whether operations of one key, sorted by their begin, have a valid order.
fn linearizable(operations: &[Operation<Register>]) -> bool {
    let mut placed: Placed = vec![0; operations.len().div_ceil(64)];
    let mut state: Option<i64> = None;
    let mut tried: HashSet<(Placed, Option<i64>)> = HashSet::new();
    // For going back: the operation placed, the state before it, and where the search goes on.
    let mut stack: Vec<(usize, Option<i64>)> = Vec::new();
    let mut from = 0;
    let mut first = 0;
    loop {
        let is_placed = |placed: &Placed, index: usize| placed[index / 64] >> (index % 64) & 1 == 1;
        while first < operations.len() && is_placed(&placed, first) {
            first += 1;
        }
        let open = || (first..operations.len()).filter(|&index| !is_placed(&placed, index));
        if open().all(|index| operations[index].outcome == Outcome::Unknown) {
            return true;
        }
        // Nothing that begins after an open operation has ended may come before it.
        let horizon = open().map(|index| operations[index].end).min().expect("an operation is open");
        let next = open()
            .skip_while(|&index| index < from)
            .take_while(|&index| operations[index].begin <= horizon)
            .find_map(|index| {
                let operation = &operations[index];
                let after = operation.what.apply(state, operation.outcome == Outcome::Ok)?;
                let mut then = placed.clone();
                then[index / 64] |= 1 << (index % 64);
                tried.insert((then.clone(), after)).then_some((index, then, after))
            });
        match next {
            Some((index, then, after)) => {
                stack.push((index, state));
                (placed, state, from) = (then, after, 0);
            }
            None => {
                let Some((index, before)) = stack.pop() else {
                    return false;
                };
                placed[index / 64] &= !(1 << (index % 64));
                (state, from, first) = (before, index + 1, 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Register::{CompareAndSet, Read, Write};

    fn history(operations: &[(u64, u64, Register, Outcome)]) -> Vec<Operation<(i64, Register)>> {
        operations
            .iter()
            .map(|&(begin, end, what, outcome)| Operation { what: (1, what), begin, end, outcome })
            .collect()
    }

    #[test]
    fn overlapping_operations_may_take_effect_in_either_order() {
        for seen in [1, 2] {
            check(&history(&[
                (0, 10, Write(1), Outcome::Ok),
                (5, 15, Write(2), Outcome::Ok),
                (20, 30, Read(Some(seen)), Outcome::Ok),
            ]))
            .unwrap();
        }
    }

    #[test]
    fn a_stale_read_is_found() {
        check(&history(&[
            (0, 10, Write(1), Outcome::Ok),
            (20, 30, Write(2), Outcome::Ok),
            (40, 50, Read(Some(1)), Outcome::Ok),
        ]))
        .unwrap_err();
    }

    #[test]
    fn a_lost_acknowledged_write_is_found() {
        check(&history(&[(0, 10, Write(1), Outcome::Ok), (20, 30, Read(None), Outcome::Ok)])).unwrap_err();
    }

    #[test]
    fn reads_may_not_go_back_and_forth() {
        check(&history(&[
            (0, 100, Write(1), Outcome::Ok),
            (10, 20, Read(Some(1)), Outcome::Ok),
            (30, 40, Read(None), Outcome::Ok),
        ]))
        .unwrap_err();
    }

    #[test]
    fn a_refused_write_must_never_be_seen() {
        check(&history(&[(0, 10, Write(1), Outcome::Refused), (20, 30, Read(Some(1)), Outcome::Ok)])).unwrap_err();
    }

    #[test]
    fn an_unknown_write_may_be_seen_late_or_never_but_not_undone() {
        let unknown = (0, 10, Write(1), Outcome::Unknown);
        check(&history(&[unknown, (20, 30, Read(None), Outcome::Ok), (40, 50, Read(Some(1)), Outcome::Ok)])).unwrap();
        check(&history(&[unknown, (20, 30, Read(None), Outcome::Ok)])).unwrap();
        check(&history(&[unknown, (20, 30, Read(Some(1)), Outcome::Ok), (40, 50, Read(None), Outcome::Ok)]))
            .unwrap_err();
    }

    #[test]
    fn two_successes_of_one_compare_and_set_are_found() {
        check(&history(&[
            (0, 10, Write(1), Outcome::Ok),
            (20, 40, CompareAndSet(1, 2, true), Outcome::Ok),
            (20, 40, CompareAndSet(1, 3, true), Outcome::Ok),
        ]))
        .unwrap_err();
    }

    #[test]
    fn a_long_history_of_overlapping_clients_is_judged_quickly() {
        // Eight clients, each begins before the previous ones end; every read sees the latest write.
        let mut operations = Vec::new();
        for round in 0..400_u64 {
            let at = round * 100;
            operations.push((at, at + 90, Write(round as i64), Outcome::Ok));
            for client in 0..6 {
                operations.push((at + 91 + client, at + 99, Read(Some(round as i64)), Outcome::Ok));
            }
        }
        check(&history(&operations)).unwrap();
        operations.push((50_000, 50_010, Read(Some(3)), Outcome::Ok));
        check(&history(&operations)).unwrap_err();
    }
}
