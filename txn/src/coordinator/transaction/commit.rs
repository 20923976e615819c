//! The end of a transaction: commit with one message to one set, or one parallel round of prepares.
//!
//! From the first message on, somebody must find out what became of it: either this function, or, when its session
//! gives up or goes away in the middle, the coordinator's background ([`Promise`]).

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use super::Transaction;
use crate::clock::Timestamp;
use crate::coordinator::background::{InDoubt, settle};
use crate::coordinator::error::TxnError;
use crate::coordinator::ids::Unfinished;
use crate::coordinator::link::{News, SetLink};
use crate::coordinator::shared::{Delivered, Shared};
use crate::coordinator::{Breaks, RetryCause};
use crate::failpoint;
use crate::protocol::{COMMIT_BYTES_MAX, Operation, Outcome, SetId, Write};

/// The promise that what became of a transaction will be found out; kept by the background if it is dropped.
struct Promise<'a> {
    shared: &'a Shared,
    txn: &'a Arc<Unfinished>,
    participants: Option<Vec<SetId>>,
}

impl Promise<'_> {
    fn kept(mut self) {
        self.participants = None;
    }
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        if let Some(participants) = self.participants.take() {
            // If the coordinator has stopped, the participants find out among themselves.
            let _ = self.shared.in_doubt.send(InDoubt { txn: Arc::clone(self.txn), participants });
        }
    }
}

/// What is known of one participant's prepare.
#[derive(Debug)]
enum Vote {
    Pending,
    Prepared(Timestamp),
    Unknown,
    /// Refused, or never reached: no copy of the message will ever prepare.
    No,
}

fn shared_breaks(shared: &Shared) -> &Breaks {
    &shared.config.breaks
}

impl Transaction {
    /// Commits. `Ok` only if it is committed, with the timestamp if it wrote anything; [`TxnError::Unknown`] if nobody who can
    /// be reached knows; any other error if it certainly is not and will not be.
    pub async fn commit(mut self) -> Result<Option<Timestamp>, TxnError> {
        self.usable()?;
        if !self.parts.iter().any(|part| part.writes_something()) {
            self.validate().await?;
            return Ok(None);
        }
        // Nothing is taken back any more, so all of it can be staged. One message carries a bounded amount.
        self.parts.iter_mut().for_each(|part| part.writes.settle());
        self.stage(COMMIT_BYTES_MAX / 2).await?;
        let id = Arc::clone(self.unfinished());
        // Sets where a lock was asked for and nothing read or written.
        self.unlock(|part| !part.involved());
        // From here on locks and staged writes go with the outcome. Only where it certainly failed they are dropped by hand.
        self.committing = true;
        let ended = match self.parts.iter().filter(|part| part.involved()).count() {
            1 if self.parts.iter().all(|part| part.staged == 0) => self.commit_in_one(&id).await,
            _ => self.commit_in_several(&id).await,
        };
        self.committing = matches!(&ended, Ok(_) | Err(TxnError::Unknown { .. } | TxnError::Fatal(_)));
        if shared_breaks(&self.shared).unknown && matches!(ended, Err(TxnError::Unknown { .. })) {
            return Err(TxnError::conflict());
        }
        ended.map(Some)
    }

    async fn commit_in_one(&mut self, id: &Arc<Unfinished>) -> Result<Timestamp, TxnError> {
        let shared = Arc::clone(&self.shared);
        let txn = id.txn();
        let snapshot = self.snapshot.unwrap_or(Timestamp::ZERO);
        let part = self.parts.iter_mut().find(|part| part.involved()).expect("something was written");
        let (reads, writes) = (part.spans.tidied(), part.writes.to_vec());
        let promise = Promise { shared: &shared, txn: id, participants: Some(vec![part.link.set]) };
        let commit = |term| Operation::Commit { term, txn, snapshot, reads: reads.clone(), writes: writes.clone() };
        let outcome = match shared.deliver(&part.link, commit).await? {
            Delivered::At(at) => Outcome::Committed(at),
            Delivered::Refused(refusal) => {
                promise.kept();
                return Err(TxnError::refused(refusal, Some(txn)));
            }
            Delivered::Never => {
                promise.kept();
                return Err(TxnError::Unavailable { set: part.link.set });
            }
            Delivered::Unknown => {
                let until = Instant::now() + shared.config.replica_set_timeout;
                let links = [Arc::clone(&part.link)];
                match settle(&shared, txn, &links, vec![None], Some(until)).await? {
                    Some(outcome) => outcome,
                    None => return Err(TxnError::Unknown { txn }),
                }
            }
            Delivered::Done => return Err(TxnError::Fatal("a commit was answered 'done'".into())),
        };
        promise.kept();
        match outcome {
            Outcome::Committed(at) => Ok(at),
            Outcome::Aborted => Err(TxnError::retry(RetryCause::LeaderChanged)),
        }
    }

    async fn commit_in_several(&mut self, id: &Arc<Unfinished>) -> Result<Timestamp, TxnError> {
        let shared = Arc::clone(&self.shared);
        let txn = id.txn();
        let snapshot = self.snapshot.unwrap_or(Timestamp::ZERO);
        let links: Vec<Arc<SetLink>> =
            self.parts.iter().filter(|part| part.involved()).map(|part| Arc::clone(&part.link)).collect();
        let participants: Vec<SetId> = links.iter().map(|link| link.set).collect();
        let promise = Promise { shared: &shared, txn: id, participants: Some(participants.clone()) };

        failpoint::hit("gateway.before_prepare");
        let mut votes: Vec<Vote> = links.iter().map(|_| Vote::Pending).collect();
        let mut failed: Option<TxnError> = None;
        {
            let prepare = |at: usize, part: &mut super::Part| {
                let (reads, writes): (_, Vec<Write>) = (part.spans.tidied(), part.writes.to_vec());
                let (link, staged) = (Arc::clone(&part.link), part.staged);
                let (shared, participants) = (&shared, &participants);
                async move {
                    let prepare = |term| Operation::Prepare {
                        term,
                        txn,
                        snapshot,
                        reads: reads.clone(),
                        writes: writes.clone(),
                        staged,
                        participants: participants.clone(),
                    };
                    (at, shared.deliver(&link, prepare).await)
                }
            };
            let involved = self.parts.iter_mut().filter(|part| part.involved()).enumerate();
            let mut answers: FuturesUnordered<_> = involved.map(|(at, part)| prepare(at, part)).collect();
            while let Some((at, answer)) = answers.next().await {
                let (vote, error) = match answer? {
                    Delivered::At(ts) => (Vote::Prepared(ts), None),
                    Delivered::Unknown => (Vote::Unknown, None),
                    Delivered::Never => (Vote::No, Some(TxnError::Unavailable { set: links[at].set })),
                    Delivered::Refused(refusal) => (Vote::No, Some(TxnError::refused(refusal, Some(txn)))),
                    Delivered::Done => return Err(TxnError::Fatal("a prepare was answered 'done'".into())),
                };
                votes[at] = vote;
                failpoint::hit("gateway.after_first_prepare");
                // "Exists" is an answer only if everything else that was read held too, so the other votes decide.
                let is_answer = |e: &TxnError| matches!(e, TxnError::Duplicate { .. });
                failed = match (failed.take(), error) {
                    (Some(first), Some(next)) if is_answer(&first) => Some(next),
                    (first, next) => first.or(next),
                };
                if failed.as_ref().is_some_and(|e| !is_answer(e)) {
                    break;
                }
            }
        }
        failpoint::hit("gateway.after_prepares");
        if shared_breaks(&shared).early_ack && votes.iter().any(|vote| matches!(vote, Vote::Prepared(_))) {
            failed = None;
            votes.iter_mut().filter(|vote| !matches!(vote, Vote::Prepared(_))).for_each(|vote| *vote = Vote::No);
        }
        if let Some(TxnError::Duplicate { .. }) = &failed
            && votes.iter().any(|vote| matches!(vote, Vote::Unknown))
        {
            failed = Some(TxnError::retry(RetryCause::LeaderChanged));
        }
        let outcome = match &failed {
            Some(_) => Outcome::Aborted,
            None => {
                let highest =
                    votes.iter().filter_map(|v| if let Vote::Prepared(at) = v { Some(*at) } else { None }).max();
                let prepared = votes.iter().map(|v| match v {
                    Vote::Prepared(at) => Some(*at),
                    Vote::No => highest,
                    Vote::Pending | Vote::Unknown => None,
                });
                let until = Instant::now() + shared.config.replica_set_timeout;
                match settle(&shared, txn, &links, prepared.collect(), Some(until)).await? {
                    Some(outcome) => outcome,
                    None => return Err(TxnError::Unknown { txn }),
                }
            }
        };
        promise.kept();
        failpoint::hit("gateway.before_outcomes");
        let told = if shared_breaks(&shared).forget { id.detached() } else { Arc::clone(id) };
        for (part, vote) in self.parts.iter_mut().filter(|part| part.involved()).zip(&votes) {
            if !matches!(vote, Vote::No) {
                part.link.tell(News::Outcome(outcome), &told);
                part.hold = None;
            }
        }
        match (outcome, failed) {
            (Outcome::Committed(at), _) => Ok(at),
            (Outcome::Aborted, Some(error)) => Err(error),
            (Outcome::Aborted, None) => Err(TxnError::retry(RetryCause::LeaderChanged)),
        }
    }
}
