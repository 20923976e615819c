//! What transactions hold at a leader, and who waits for whom: for operators who look for the one that holds others up.

use std::collections::BTreeMap;

use super::ReplicaSet;
use crate::protocol::TxnId;

/// What one transaction has at a leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// It is prepared: only its outcome ends it.
    pub prepared: bool,
    /// It has locks or staged rows, or is prepared.
    pub holds: bool,
    /// Those whose locks it waits for.
    pub waits_for: Vec<TxnId>,
}

impl ReplicaSet {
    /// Transactions that hold something here or wait for somebody. `None` if this element does not lead: others cannot know.
    pub fn holdings(&self) -> Option<BTreeMap<TxnId, Holding>> {
        let state = self.state.lock();
        let leader = state.leader.as_ref()?;
        let mut all: BTreeMap<TxnId, Holding> = BTreeMap::new();
        for txn in leader.locks.owners().chain(state.staged.keys().copied()) {
            all.entry(txn).or_default().holds = true;
        }
        for txn in state.prepared.keys() {
            let holding = all.entry(*txn).or_default();
            (holding.holds, holding.prepared) = (true, true);
        }
        for (waiter, holder) in leader.locks.waits() {
            all.entry(waiter).or_default().waits_for.push(holder);
        }
        Some(all)
    }
}
