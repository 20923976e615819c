//! What transactions hold at a leader, and who waits for whom: for operators who look for the one that holds others up.

use std::collections::BTreeMap;
use std::time::Duration;

use super::ReplicaSet;
use super::state::Wait;
use crate::protocol::TxnId;

/// What one transaction has at a leader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// For how long this leader has known it as prepared: only its outcome ends it then.
    pub prepared: Option<Duration>,
    /// It has locks or staged rows, or is prepared.
    pub holds: bool,
    /// Those whose locks or writes it waits for.
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
        let now = self.now();
        for (txn, prepared) in &state.prepared {
            let holding = all.entry(*txn).or_default();
            (holding.holds, holding.prepared) = (true, Some(now.saturating_sub(prepared.since)));
        }
        let for_writes = state.waiters.iter().filter(|waiter| !waiter.woken.is_closed());
        let for_writes = for_writes.filter_map(|waiter| match (waiter.by, waiter.wait) {
            (Some(by), Wait::Ended(holder)) => Some((by, holder)),
            _ => None,
        });
        for (waiter, holder) in leader.locks.waits().into_iter().chain(for_writes) {
            let waits_for = &mut all.entry(waiter).or_default().waits_for;
            if !waits_for.contains(&holder) {
                waits_for.push(holder);
            }
        }
        Some(all)
    }
}
