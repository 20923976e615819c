//! Outcomes: told by the gateway, asked for by whoever is in doubt, found out together with the other participants.
//!
//! A participant that waits too long asks all others. Any committed: commit. All prepared: commit at the highest prepare
//! timestamp. Any not prepared: that one first replicates a refusal, so that a late prepare is rejected there, and all
//! abort. Any forgotten: all abort, since a commit is forgotten only when all participants have applied it; what came here
//! while the others were asked counts first. A gateway's crash, a leader's change and lost messages all end here.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use futures::future::join_all;

use super::read::check_reasonable;
use super::{Fatal, ReplicaSet};
use crate::clock::Timestamp;
use crate::command::{Applied, Command};
use crate::protocol::{Failure, Operation, Outcome, Refusal, Reply, Request, Sender, SetId, TxnId, TxnStatus};

/// How long another participant may take to answer. A leader that its set has deposed without its knowledge never does; the
/// next question finds its successor.
const ANSWER_MAX: Duration = Duration::from_secs(3);

impl ReplicaSet {
    /// See [`Operation::Resolve`].
    pub(super) async fn resolve(&self, txn: TxnId, outcome: Outcome) -> Result<Reply, Failure> {
        let over = match outcome {
            Outcome::Committed(at) => at,
            Outcome::Aborted => Timestamp::ZERO,
        };
        check_reasonable(over)?;
        if let Some(Applied::Ended(known)) = self.recorded(txn)? {
            if known != outcome {
                self.violations.fetch_add(1, Ordering::AcqRel);
                tracing::error!(set = self.set, ?txn, ?known, told = ?outcome, "a transaction was told two outcomes");
            }
            return Ok(Reply::Resolved(known));
        }
        crate::failpoint::hit("element.before_outcome");
        let proposal = {
            let mut leader = self.leading()?;
            // Above the commit timestamp (rule 3): what is assigned next lies above the outcome (rule 2).
            let over = if self.options.breaks.outcome_clock { Timestamp::ZERO } else { over };
            let at = leader.assign(&self.clock, over);
            leader.propose(self.log()?, at, Command::Resolve { txn, outcome }, None)
        };
        match self.applied_reply(proposal).await? {
            Applied::Ended(known) => {
                crate::failpoint::hit("element.after_outcome");
                Ok(Reply::Resolved(known))
            }
            Applied::Forgotten => Err(Failure::Refused(Refusal::Forgotten)),
            Applied::Done | Applied::Prepared(_) | Applied::Ignored => Err(Failure::Unknown),
        }
    }

    /// See [`Operation::Inquire`].
    pub(super) async fn inquire(&self, txn: TxnId, refuse: bool) -> Result<Reply, Failure> {
        // Only what the log says, so it may be said by any leader, however old: none of it is ever taken back.
        let mut recorded = self.recorded(txn)?;
        if recorded.is_none() && refuse {
            if self.options.breaks.refusal {
                return Ok(Reply::Status(TxnStatus::Ended(Outcome::Aborted)));
            }
            let proposal = {
                let mut leader = self.leading()?;
                let at = leader.assign(&self.clock, Timestamp::ZERO);
                leader.propose(self.log()?, at, Command::Refuse { txn }, None)
            };
            recorded = Some(self.applied_reply(proposal).await?);
        }
        let status = match recorded {
            None => TxnStatus::Absent,
            Some(Applied::Ended(outcome)) => TxnStatus::Ended(outcome),
            Some(Applied::Prepared(at)) => TxnStatus::Prepared(at),
            Some(Applied::Forgotten) => TxnStatus::Forgotten,
            Some(Applied::Done | Applied::Ignored) => return Err(Failure::Unknown),
        };
        Ok(Reply::Status(status))
    }

    /// Finds out the outcome of a prepared transaction and applies it here; what is missing is tried again later.
    pub(super) async fn resolve_doubt(self: Arc<Self>, txn: TxnId, at: Timestamp, participants: Vec<SetId>) {
        let others: Vec<SetId> = participants.into_iter().filter(|set| *set != self.set).collect();
        let answers = join_all(others.iter().map(|set| self.ask(*set, txn))).await;
        let missing: Vec<SetId> =
            others.iter().zip(&answers).filter(|(_, answer)| answer.is_none()).map(|(set, _)| *set).collect();
        let mut decision = decide(at, &answers);
        // A set forgets an outcome only once all have it: then it came here while the others were asked, and says more
        // than that one has forgotten it.
        let forgotten = answers.iter().any(|answer| matches!(answer, Some(TxnStatus::Forgotten)));
        if forgotten
            && !answers.iter().any(|answer| matches!(answer, Some(TxnStatus::Ended(_))))
            && let Ok(Some(Applied::Ended(known))) = self.recorded(txn)
        {
            decision = Some(known);
        }
        {
            let mut state = self.state.lock();
            if let Some(leader) = &mut state.leader {
                leader.unreachable.remove(&txn);
                if decision.is_none() {
                    leader.unreachable.insert(txn, missing);
                }
            }
        }
        if let Some(outcome) = decision
            && let Ok(Reply::Resolved(outcome)) = self.resolve(txn, outcome).await
        {
            tracing::debug!(set = self.set, ?txn, ?outcome, "resolved a transaction in doubt");
            let prepared = others.iter().zip(&answers).filter(|(_, a)| matches!(a, Some(TxnStatus::Prepared(_))));
            join_all(prepared.map(|(set, _)| self.tell(*set, txn, outcome))).await;
        }
        let again = self.now() + self.options.doubt_patience;
        let mut state = self.state.lock();
        let unresolved = state.prepared.contains_key(&txn);
        if let Some(leader) = &mut state.leader {
            leader.resolving.remove(&txn);
            if unresolved {
                leader.resolving.insert(txn, again);
            }
        }
    }

    async fn ask(&self, set: SetId, txn: TxnId) -> Option<TxnStatus> {
        let operation = Operation::Inquire { txn, refuse: true };
        let answer = self.sets.get()?.call(set, self.request(operation));
        let response = tokio::time::timeout(ANSWER_MAX, answer).await.ok()?.ok()?;
        self.clock.merge(response.clock);
        match response.result {
            Ok(Reply::Status(status)) => Some(status),
            _ => None,
        }
    }

    async fn tell(&self, set: SetId, txn: TxnId, outcome: Outcome) {
        if let Some(sets) = self.sets.get() {
            // If it fails, that participant asks in its turn.
            let told = sets.call(set, self.request(Operation::Resolve { txn, outcome }));
            let _ = tokio::time::timeout(ANSWER_MAX, told).await;
        }
    }

    fn request(&self, operation: Operation) -> Request {
        Request { sender: Sender::Set(self.set), clock: self.clock.last(), operation }
    }

    /// Starts the resolution of a prepared transaction.
    pub(super) fn start_resolution(self: &Arc<Self>, txn: TxnId) {
        let mut state = self.state.lock();
        let Some(prepared) = state.prepared.get(&txn) else { return };
        let (at, participants) = (prepared.at, prepared.participants.clone());
        if let Some(leader) = &mut state.leader {
            leader.resolving.insert(txn, Duration::MAX);
            let resolution = AssertUnwindSafe(self.clone().resolve_doubt(txn, at, participants)).catch_unwind();
            let on_fatal = self.options.on_fatal.clone();
            tokio::spawn(async move {
                if resolution.await.is_err() {
                    on_fatal(&Fatal::Panicked("the resolution of a transaction in doubt"));
                }
            });
        }
    }
}

/// The outcome that the answers of the other participants leave, if they are enough.
fn decide(own: Timestamp, answers: &[Option<TxnStatus>]) -> Option<Outcome> {
    let mut highest = own;
    let mut all_prepared = true;
    let mut aborted = false;
    for answer in answers {
        match answer {
            Some(TxnStatus::Ended(outcome @ Outcome::Committed(_))) => return Some(*outcome),
            Some(TxnStatus::Ended(Outcome::Aborted)) => aborted = true,
            Some(TxnStatus::Prepared(at)) => highest = highest.max(*at),
            // Its gateway has finished it: had it been committed, the outcome would have been applied here before. So the
            // prepare here is a late copy of one that was given up.
            Some(TxnStatus::Forgotten) => aborted = true,
            // Absent cannot be the answer to a request to refuse.
            Some(TxnStatus::Absent) | None => all_prepared = false,
        }
    }
    if aborted { Some(Outcome::Aborted) } else { all_prepared.then_some(Outcome::Committed(highest)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_decision_follows_the_table_in_docs_transactions() {
        let prepared = |at| Some(TxnStatus::Prepared(Timestamp(at)));
        let aborted = Some(TxnStatus::Ended(Outcome::Aborted));
        let committed = Some(TxnStatus::Ended(Outcome::Committed(Timestamp(9))));
        let own = Timestamp(5);
        assert_eq!(decide(own, &[]), Some(Outcome::Committed(own)));
        assert_eq!(decide(own, &[prepared(3), prepared(7)]), Some(Outcome::Committed(Timestamp(7))));
        assert_eq!(decide(own, &[prepared(3), aborted]), Some(Outcome::Aborted));
        assert_eq!(decide(own, &[None, committed]), Some(Outcome::Committed(Timestamp(9))));
        assert_eq!(decide(own, &[None, aborted]), Some(Outcome::Aborted));
        assert_eq!(decide(own, &[prepared(3), None]), None);
        assert_eq!(decide(own, &[prepared(3), Some(TxnStatus::Forgotten)]), Some(Outcome::Aborted));
    }
}
