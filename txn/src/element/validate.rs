//! Validation: whether what a transaction read still holds here and what it writes is nobody else's.
//!
//! The answer rests on memory (claims of others, locks, recent commits) and, where memory does not reach, on the store. The store
//! is asked without the mutex: what it says holds up to the timestamp logged when the asking began, and recent commits tell what
//! came after.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::ReplicaSet;
use super::read::{check_reasonable, leader};
use super::state::{State, Wait, Woken};
use crate::clock::Timestamp;
use crate::protocol::{Failure, Refusal, Reply, Span, Term, TxnId, Write};

/// How often facts from the store are gathered again because memory has moved on meanwhile.
const ROUNDS_MAX: usize = 16;

/// What is to be validated.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claim<'a> {
    pub(super) txn: Option<TxnId>,
    pub(super) snapshot: Timestamp,
    pub(super) reads: &'a [Span],
    pub(super) writes: &'a [Write],
    /// What it is wanted for.
    pub(super) purpose: Purpose,
}

/// What a validation is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To know whether spans are unchanged. Proposals in flight are not there yet; they may come after.
    Reading,
    /// To stage writes. They are stamped later, so it does not matter yet who has read their keys.
    Staging,
    /// To commit or prepare.
    Committing,
}

/// What the store said.
pub(super) struct Facts {
    /// The spans read are unchanged up to this.
    read_until: Timestamp,
    /// What follows holds up to this.
    logged: Timestamp,
    staged_changes: u64,
    /// Prepared transactions whose staged writes lie outside the spans read.
    staged_prepares: BTreeSet<TxnId>,
    /// An inserted key that exists.
    duplicate: Option<Bytes>,
}

/// Whether facts still reach as far as memory does.
pub(super) enum Verdict {
    Valid,
    Invalid(Refusal),
    /// Gather facts again.
    Stale,
}

impl ReplicaSet {
    /// Asks the store what memory cannot know. `Err(Ok(refusal))` when that is enough to refuse.
    pub(super) fn gather(&self, claim: &Claim<'_>) -> Result<Facts, Result<Refusal, Failure>> {
        let (floor, mut facts, staged_open) = {
            let state = self.leading_state().map_err(Err)?;
            if !claim.reads.is_empty() && claim.snapshot < state.garbage && !self.options.breaks.garbage {
                return Err(Ok(Refusal::SnapshotTooOld));
            }
            let facts = Facts {
                read_until: claim.snapshot,
                logged: state.logged,
                staged_changes: state.staged_changes,
                staged_prepares: state.staged_prepares(claim.purpose == Purpose::Committing),
                duplicate: None,
            };
            (state.recent.floor(), facts, !state.staged.is_empty())
        };
        let failed = |error| Err(self.fatal(error));
        if claim.snapshot < floor && !claim.reads.is_empty() {
            for span in claim.reads {
                if let Some((key, by)) = self.store.changed_since(span, claim.snapshot).map_err(failed)?
                    && !self.options.breaks.read_validation
                {
                    return Err(Ok(conflict(key, by)));
                }
            }
            facts.read_until = facts.logged;
        }
        if staged_open {
            for write in claim.writes {
                if let Some((by, _)) = self.store.staged(&write.key).map_err(failed)?
                    && Some(by) != claim.txn
                {
                    return Err(Ok(conflict(write.key.clone(), by)));
                }
            }
            if !facts.staged_prepares.is_empty() {
                let others = |txn: TxnId| Some(txn) != claim.txn && facts.staged_prepares.contains(&txn);
                for span in claim.reads {
                    if let Some((key, by)) = self.store.staged_in(span, &others).map_err(failed)? {
                        return Err(Ok(conflict(key, by)));
                    }
                }
            }
        }
        for write in claim.writes.iter().filter(|write| write.insert) {
            if self.exists(claim.txn, &write.key, staged_open).map_err(failed)? {
                facts.duplicate = Some(write.key.clone());
                break;
            }
        }
        Ok(facts)
    }

    /// Whether there is a row under a key, as the transaction sees it that has perhaps staged a write there.
    fn exists(&self, txn: Option<TxnId>, key: &Bytes, staged_open: bool) -> Result<bool, crate::store::StoreError> {
        if staged_open
            && let Some((by, value)) = self.store.staged(key)?
            && Some(by) == txn
        {
            return Ok(value.is_some());
        }
        Ok(self.store.newest_head(key)?.is_some_and(|head| !head.deleted))
    }

    /// Judges under the mutex, by the facts and by memory.
    pub(super) fn judge(&self, state: &mut State, claim: &Claim<'_>, facts: &Facts) -> Verdict {
        let breaks = &self.options.breaks;
        if !claim.reads.is_empty() && claim.snapshot < state.garbage && !breaks.garbage {
            return Verdict::Invalid(Refusal::SnapshotTooOld);
        }
        let floor = state.recent.floor();
        let inserts = claim.writes.iter().any(|write| write.insert);
        let unseen = !claim.reads.is_empty()
            && !state.staged_prepares(claim.purpose == Purpose::Committing).is_subset(&facts.staged_prepares);
        if state.staged_changes != facts.staged_changes
            || unseen
            || (!claim.reads.is_empty() && facts.read_until < floor)
            || (inserts && facts.logged < floor)
        {
            return Verdict::Stale;
        }
        if let Some(refusal) = claimed_by_others(state, claim) {
            return Verdict::Invalid(refusal);
        }
        if !breaks.read_validation {
            for span in claim.reads {
                if let Some((key, by)) = state.recent.changed_since(span, facts.read_until) {
                    return Verdict::Invalid(conflict(key, by));
                }
            }
        }
        for write in claim.writes.iter().filter(|write| write.insert) {
            if state.recent.changed_since(&Span::key(write.key.clone()), facts.logged).is_some() {
                return Verdict::Stale;
            }
        }
        match &facts.duplicate {
            Some(key) => Verdict::Invalid(Refusal::Duplicate { key: key.clone() }),
            None => Verdict::Valid,
        }
    }

    /// Validates, and hands the state to `then` under the mutex when all is well. Only in the term given, if one is.
    pub(super) fn validate_then<T>(
        &self,
        term: Option<Term>,
        claim: &Claim<'_>,
        mut then: impl FnMut(&mut State) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        for _ in 0..ROUNDS_MAX {
            let facts = match self.gather(claim) {
                Ok(facts) => facts,
                Err(Ok(refusal)) => return Err(Failure::Refused(refusal)),
                Err(Err(failure)) => return Err(failure),
            };
            let mut state = self.leading_state()?;
            if term.is_some_and(|term| leader(&mut state).term != term) && !self.options.breaks.validated_term {
                return Err(Failure::NotLeader { hint: None });
            }
            match self.judge(&mut state, claim, &facts) {
                Verdict::Valid => return then(&mut state),
                Verdict::Invalid(refusal) => return Err(Failure::Refused(refusal)),
                Verdict::Stale => {}
            }
        }
        Err(Failure::Refused(Refusal::Conflict { key: None, with: None }))
    }

    /// See [`crate::protocol::Operation::Validate`].
    pub(super) async fn validate(
        &self,
        txn: Option<TxnId>,
        snapshot: Timestamp,
        spans: &[Span],
        raise_to: Option<Timestamp>,
        proof: bool,
    ) -> Result<Reply, Failure> {
        check_reasonable(snapshot)?;
        if let Some(raise_to) = raise_to {
            // First, since it may wait: the horizon must cover what is promised below.
            self.safe_snapshot(Some(raise_to)).await?;
        }
        let claim = Claim { txn, snapshot, reads: spans, writes: &[], purpose: Purpose::Reading };
        let (term, index) = self.validate_then(None, &claim, |state| {
            if let Some(raise_to) = raise_to {
                // Nothing can be assigned at or below it any more, and nothing in flight lies there: the spans stay as they are.
                let horizon = state.horizon;
                let promised = leader(state).last >= raise_to && (horizon >= raise_to || self.options.breaks.horizon);
                if !promised && !self.options.breaks.any() {
                    // Another term than the one that promised.
                    return Err(Failure::NotLeader { hint: None });
                }
            }
            Ok((leader(state).term, state.applied))
        })?;
        if proof {
            self.prove(term).await?;
        }
        Ok(Reply::Valid { index })
    }

    /// Waits until nobody else is about to write into the spans; for those who hold locks on them, so nobody new comes.
    pub(super) async fn wait_for_writers(
        &self,
        txn: TxnId,
        spans: &[Span],
        until: std::time::Duration,
        patience: &crate::protocol::Patience,
    ) -> Result<(), Failure> {
        loop {
            let (obstacle, staged, flight) = {
                let mut state = self.leading_state()?;
                let intent = spans.iter().find_map(|span| state.intents.writer_in(span, Some(txn)));
                let flight_claims = &leader(&mut state).flight_claims;
                let flight = spans.iter().find_map(|span| flight_claims.writer_in(span, Some(txn)));
                let staged: BTreeSet<TxnId> = state.staged.keys().copied().filter(|other| *other != txn).collect();
                (intent.map(|owned| super::read::Obstacle { key: owned.key, txn: owned.txn }), staged, flight)
            };
            if let Some(flight) = flight {
                if self.wait(Wait::Settled(flight.at), until).await? == Woken::Late {
                    let refusal = Refusal::LockTimeout { key: flight.key, holder: Some(flight.txn) };
                    return Err(Failure::Refused(refusal));
                }
                continue;
            }
            let mut obstacle = obstacle;
            if obstacle.is_none() && !staged.is_empty() {
                for span in spans {
                    let found = self.store.staged_in(span, &|other| staged.contains(&other));
                    if let Some((key, txn)) = found.map_err(|error| self.fatal(error))? {
                        obstacle = Some(super::read::Obstacle { key, txn });
                        break;
                    }
                }
            }
            match obstacle {
                None => return Ok(()),
                Some(obstacle) => self.wait_for(&obstacle, until, patience).await?,
            }
        }
    }
}

/// A conflict with what others claim: prepared transactions, proposals in flight, locks.
fn claimed_by_others(state: &mut State, claim: &Claim<'_>) -> Option<Refusal> {
    let except = claim.txn;
    for span in claim.reads {
        if let Some(owned) = state.intents.writer_in(span, except) {
            return Some(conflict(owned.key, owned.txn));
        }
    }
    let leader = state.leader.as_ref().expect("only a leader validates");
    if claim.purpose == Purpose::Committing {
        for span in claim.reads {
            if let Some(owned) = leader.flight_claims.writer_in(span, except) {
                return Some(conflict(owned.key, owned.txn));
            }
        }
    }
    let txn = except.unwrap_or(TxnId(u64::MAX));
    for write in claim.writes {
        let span = Span::key(write.key.clone());
        for claims in [&state.intents, &leader.flight_claims, &leader.flight_staged] {
            let reader = || if claim.purpose == Purpose::Staging { None } else { claims.reader_of(&write.key, txn) };
            if let Some(owned) = claims.writer_in(&span, except).or_else(reader) {
                return Some(conflict(owned.key, owned.txn));
            }
        }
        if let Some(by) = leader.locks.forbids(&write.key, txn) {
            return Some(conflict(write.key.clone(), by));
        }
    }
    None
}

pub(super) fn conflict(key: Bytes, with: TxnId) -> Refusal {
    Refusal::Conflict { key: Some(key), with: Some(with) }
}
