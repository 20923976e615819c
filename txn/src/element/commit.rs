//! Commit and prepare at the leader: taken once, validated, stamped and proposed under one mutex, answered when applied.

use std::collections::BTreeSet;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::read::{check_reasonable, leader};
use super::state::State;
use super::validate::{Claim, Purpose, conflict};
use super::{Leader, ReplicaSet};
use crate::clock::Timestamp;
use crate::command::{Applied, Command, Upkeep};
use crate::failpoint;
use crate::protocol::{COMMIT_BYTES_MAX, Failure, Outcome, Refusal, Reply, SetId, Span, Term, TxnId, Write};
use crate::store::record::{LoggedWrite, PrepareRecord};
use crate::traits::Proposal;

/// This set's part of a transaction, as a message brings it.
pub(super) struct Part {
    pub(super) term: Term,
    pub(super) txn: TxnId,
    pub(super) snapshot: Timestamp,
    pub(super) reads: Vec<Span>,
    pub(super) writes: Vec<Write>,
    /// `None`: the whole transaction, to be committed at once.
    pub(super) prepare: Option<PrepareWith>,
}

pub(super) struct PrepareWith {
    pub(super) staged: u32,
    pub(super) participants: Vec<SetId>,
}

/// What became of a message that may be a duplicate.
enum Taken {
    /// It is new, and marked as being worked on.
    New,
    /// Another copy is being worked on.
    Wait(oneshot::Receiver<Result<Reply, Failure>>),
    /// All there is to say is known; if nothing is, this is the answer.
    Known { otherwise: Failure },
}

impl ReplicaSet {
    pub(super) async fn commit(&self, part: Part) -> Result<Reply, Failure> {
        let (term, txn) = (part.term, part.txn);
        self.once(term, txn, Ends::Always, self.validate_and_commit(part)).await
    }

    /// Executes a message at most once in its term; duplicates get the same answer (rule 8).
    pub(super) async fn once(
        &self,
        term: Term,
        txn: TxnId,
        ends: Ends,
        work: impl Future<Output = Result<Reply, Failure>>,
    ) -> Result<Reply, Failure> {
        match self.take(term, txn)? {
            Taken::New => {}
            Taken::Wait(receiver) => return receiver.await.unwrap_or(Err(Failure::Unknown)),
            Taken::Known { otherwise } => return self.recorded(txn)?.map_or(Err(otherwise), answer),
        }
        let working = Working { set: self, term, txn, ends, done: false };
        let result = work.await;
        working.finish(&result);
        result
    }

    fn take(&self, term: Term, txn: TxnId) -> Result<Taken, Failure> {
        let mut state = self.leading_state()?;
        let late = state.is_late(txn);
        let known = state.prepared.contains_key(&txn);
        let leader = leader(&mut state);
        if let Some(others) = leader.taken.get_mut(&txn) {
            let (sender, receiver) = oneshot::channel();
            others.push(sender);
            return Ok(Taken::Wait(receiver));
        }
        if let Some(refusal) = late {
            return Ok(Taken::Known { otherwise: Failure::Refused(refusal) });
        }
        let lost_or_refused = || leader.refused.get(&txn).map_or(Failure::Unknown, |r| Failure::Refused(r.clone()));
        let again = self.options.breaks.at_most_once || self.options.breaks.first_prepare;
        if (known || leader.seen.contains(txn)) && !again {
            return Ok(Taken::Known { otherwise: lost_or_refused() });
        }
        if leader.term != term && !self.options.breaks.validated_term {
            // Everything of earlier terms is applied or lost for ever, so what is not recorded was not executed.
            let stale = leader.term < term;
            let otherwise =
                if stale { Failure::NotLeader { hint: None } } else { Failure::Refused(Refusal::WrongTerm) };
            return Ok(Taken::Known { otherwise });
        }
        leader.taken.insert(txn, Vec::new());
        Ok(Taken::New)
    }

    /// What the log says about a transaction: forgotten, ended or prepared.
    pub(super) fn recorded(&self, txn: TxnId) -> Result<Option<Applied>, Failure> {
        {
            let state = self.state.lock();
            if state.is_forgotten(txn) {
                return Ok(Some(Applied::Forgotten));
            }
            if let Some(prepared) = state.prepared.get(&txn) {
                return Ok(Some(Applied::Prepared(prepared.at)));
            }
        }
        // In this order: an outcome is in the store before its prepare leaves memory.
        let outcome = self.store.outcome(txn).map_err(|error| self.fatal(error))?;
        Ok(outcome.map(Applied::Ended))
    }

    async fn validate_and_commit(&self, part: Part) -> Result<Reply, Failure> {
        let Part { term, txn, snapshot, reads, writes, prepare } = part;
        check_part(snapshot, &reads, &writes)?;
        if prepare.is_some() {
            failpoint::hit("element.before_prepare");
        }
        if !self.options.breaks.first_prepare
            && let Some(applied) = self.recorded(txn)?
        {
            // Executed in an earlier term: its own writes must not be held against it.
            return answer(applied);
        }
        let claim = Claim { txn: Some(txn), snapshot, reads: &reads, writes: &writes, purpose: Purpose::Committing };
        let stamp = |state: &mut State| {
            if let Some(refusal) = state.is_late(txn) {
                return Err(Failure::Refused(refusal));
            }
            if leader(state).freezes.hold_up(self.now()) && !self.options.breaks.freeze {
                return Ok(None);
            }
            let staged = prepare.as_ref().map_or(0, |prepare| prepare.staged);
            self.check_staged(state, txn, staged)?;
            let over = if reads.is_empty() { Timestamp::ZERO } else { snapshot };
            let log = self.log()?;
            let leader = leader(state);
            leader.demand = self.now();
            let at = leader.assign(&self.clock, over);
            let logged = writes.iter().map(|write| LoggedWrite { key: write.key.clone(), value: write.value.clone() });
            let logged: Vec<LoggedWrite> = logged.collect();
            let keys: Vec<Bytes> = writes.iter().map(|write| Bytes::copy_from_slice(&write.key)).collect();
            let command = match &prepare {
                None => Command::Commit { txn, writes: logged },
                Some(PrepareWith { staged, participants }) => {
                    let reads = if self.options.breaks.read_locks { Vec::new() } else { reads.clone() };
                    let record = PrepareRecord {
                        at,
                        participants: participants.clone(),
                        reads,
                        writes: logged,
                        staged: *staged,
                    };
                    Command::Prepare { txn, record }
                }
            };
            leader.flight_claims.add(txn, at, keys, &reads);
            if staged > 0 {
                leader.staged_flight.insert(txn, at);
            }
            Ok(Some(leader.propose(log, at, command, Some(txn))))
        };
        // While the set is frozen for a cut nothing gets a timestamp; what was validated before has to be again.
        let proposal = loop {
            match self.validate_then(Some(term), &claim, stamp) {
                Ok(None) => self.wait_for_thaw().await?,
                Ok(Some(proposal)) => break Ok(proposal),
                Err(failure) => break Err(failure),
            }
        };
        match proposal {
            Ok(proposal) => {
                let applied = self.applied_reply(proposal).await?;
                if prepare.is_some() {
                    failpoint::hit("element.after_prepare");
                }
                answer(applied)
            }
            Err(Failure::Refused(refusal @ Refusal::Duplicate { .. })) => {
                // An answer that depends on data: a deposed leader must not give it.
                self.prove(term).await?;
                Err(Failure::Refused(refusal))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Whether the staged writes are all there and in nobody's way; their keys are exclusive since they were staged.
    fn check_staged(&self, state: &mut State, txn: TxnId, batches: u32) -> Result<(), Failure> {
        let staged = state.staged.get(&txn);
        if staged.map_or(0, |staged| staged.batches) != batches {
            return Err(Failure::Refused(Refusal::Limit("not all staged writes have arrived".to_owned())));
        }
        let Some(staged) = staged else { return Ok(()) };
        let leader = state.leader.as_ref().expect("only a leader validates");
        let mut others = state.intents.reads_within(&staged.first, &staged.last, txn);
        others.extend(leader.flight_claims.reads_within(&staged.first, &staged.last, txn));
        let all = Span::range(staged.first.clone(), crate::apply::next_key(&staged.last));
        others.extend(leader.locks.shared_within(&all, txn));
        for (span, by) in others {
            let found = self.store.staged_in(&span, &|owner| owner == txn).map_err(|error| self.fatal(error))?;
            if let Some((key, _)) = found {
                return Err(Failure::Refused(conflict(key, by)));
            }
        }
        Ok(())
    }

    /// Waits for a proposal to be applied.
    pub(super) async fn applied_reply(&self, proposal: Proposal) -> Result<Applied, Failure> {
        let Ok(reply) = proposal.await else {
            self.settle_later();
            return Err(Failure::Unknown);
        };
        match Applied::decode(reply) {
            Ok(Applied::Ignored) => Err(Failure::Refused(Refusal::WrongTerm)),
            Ok(applied) => Ok(applied),
            Err(_) => Err(Failure::Unknown),
        }
    }

    /// A proposal was lost, perhaps without this element losing its lead. When a later one is applied, it is known to be over.
    fn settle_later(&self) {
        let Ok(log) = self.log() else { return };
        if let Ok(mut leader) = self.leading() {
            let at = leader.assign(&self.clock, Timestamp::ZERO);
            drop(leader.propose(log, at, Command::Upkeep(Upkeep::default()), None));
        }
    }
}

/// The mark that a message is being worked on; taken off also when the work is dropped half way.
struct Working<'a> {
    set: &'a ReplicaSet,
    term: Term,
    txn: TxnId,
    ends: Ends,
    done: bool,
}

/// Whether a message is the last of its transaction in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// A commit or prepare.
    Always,
    /// A staged batch: more may come, unless it is refused.
    WhenRefused,
}

impl Working<'_> {
    fn finish(mut self, result: &Result<Reply, Failure>) {
        self.done = true;
        self.end(result);
    }

    fn end(&self, result: &Result<Reply, Failure>) {
        let now = self.set.now();
        let mut state = self.set.state.lock();
        let Some(leader) = state.leader.as_mut().filter(|leader| leader.term == self.term) else { return };
        for other in leader.taken.remove(&self.txn).unwrap_or_default() {
            // The sender of the duplicate may have gone.
            let _ = other.send(result.clone());
        }
        match result {
            Ok(_) | Err(Failure::Unknown) => {
                if self.ends == Ends::Always {
                    leader.seen.insert(self.txn);
                }
            }
            Err(Failure::Refused(refusal)) => {
                leader.seen.insert(self.txn);
                leader.remember(self.txn, refusal.clone());
                leader.locks.release(now, self.txn);
                let staged = state.staged.contains_key(&self.txn) && !state.prepared.contains_key(&self.txn);
                if staged && let (Some(leader), Ok(log)) = (state.leader.as_mut(), self.set.log()) {
                    self.set.propose_refusal(leader, log, self.txn);
                }
            }
            Err(_) => {}
        }
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.end(&Err(Failure::Unknown));
        }
    }
}

impl ReplicaSet {
    /// Proposes that a transaction be refused, without waiting.
    pub(super) fn propose_refusal(
        &self,
        leader: &mut Leader,
        log: &std::sync::Arc<dyn crate::traits::ReplicaLog>,
        txn: TxnId,
    ) {
        let at = leader.assign(&self.clock, Timestamp::ZERO);
        drop(leader.propose(log, at, Command::Refuse { txn }, None));
    }
}

/// The answer to a message that commits or prepares.
pub(super) fn answer(applied: Applied) -> Result<Reply, Failure> {
    match applied {
        Applied::Done => Ok(Reply::Done),
        Applied::Ended(Outcome::Committed(at)) => Ok(Reply::Committed(at)),
        Applied::Ended(Outcome::Aborted) => Err(Failure::Refused(Refusal::Aborted)),
        Applied::Prepared(at) => Ok(Reply::Prepared(at)),
        Applied::Forgotten => Err(Failure::Refused(Refusal::Forgotten)),
        Applied::Ignored => Err(Failure::Refused(Refusal::WrongTerm)),
    }
}

fn check_part(snapshot: Timestamp, reads: &[Span], writes: &[Write]) -> Result<(), Failure> {
    check_reasonable(snapshot)?;
    let spans = reads.iter().map(|span| span.start.len() + span.end.as_ref().map_or(0, Bytes::len));
    let bytes = spans.sum::<usize>() + bytes_of(writes);
    if bytes > COMMIT_BYTES_MAX {
        let refusal =
            Refusal::Limit(format!("{bytes} bytes of keys and values in one message, at most {COMMIT_BYTES_MAX}"));
        return Err(Failure::Refused(refusal));
    }
    check_distinct(writes)
}

pub(super) fn bytes_of(writes: &[Write]) -> usize {
    writes.iter().map(|write| write.key.len() + write.value.as_ref().map_or(0, Bytes::len)).sum()
}

pub(super) fn check_distinct(writes: &[Write]) -> Result<(), Failure> {
    let distinct = writes.len() < 2 || {
        let mut keys = BTreeSet::new();
        writes.iter().all(|write| keys.insert(&write.key))
    };
    if distinct {
        Ok(())
    } else {
        Err(Failure::Refused(Refusal::Limit("a key is written twice in one message".to_owned())))
    }
}
