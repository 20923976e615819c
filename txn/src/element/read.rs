//! Snapshots and reads: at the leader, and at any replica that has applied what the leader named.
//!
//! A snapshot S is safe when every entry at or below it is applied and nothing later can take a timestamp at or below it
//! (rule 1). It stays at or below the replicated horizon, so that no successor can either (rule 4). With that, what a
//! replica has applied up to the leader's index is all there will ever be at or below S: intents among it are waited for, and
//! uncertain versions move S up (rule 3).

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::state::{State, Wait, Woken};
use super::{Leader, ReplicaSet};
use crate::clock::{PHYSICAL_MS_MAX, Timestamp};
use crate::protocol::{Failure, LogIndex, Patience, ReadAnswer, ReadOp, ReadResult, Refusal, Reply, Span, Term, TxnId};
use crate::store::versions::ReadAt;
use crate::traits::LocalReads;

/// How long a request waits for the log to move when its patience says nothing about that.
const LOG_PATIENCE: Duration = Duration::from_secs(10);

/// A snapshot that is safe in a term.
#[derive(Clone, Copy, Debug)]
pub(super) struct Safe {
    pub(super) snapshot: Timestamp,
    pub(super) index: LogIndex,
    pub(super) term: Term,
}

/// What stands in the way of a reader.
#[derive(Clone, Debug)]
pub(super) struct Obstacle {
    pub(super) key: Bytes,
    pub(super) txn: TxnId,
}

impl ReplicaSet {
    pub(super) async fn snapshot(&self, at: Option<Timestamp>, proof: bool) -> Result<Reply, Failure> {
        let safe = self.safe_snapshot(at).await?;
        if proof {
            self.prove(safe.term).await?;
        }
        Ok(Reply::Snapshot { snapshot: safe.snapshot, index: safe.index })
    }

    pub(super) async fn read(
        &self,
        at: Option<Timestamp>,
        proof: bool,
        patience: &Patience,
        reads: &[ReadOp],
    ) -> Result<Reply, Failure> {
        let mut wanted = at;
        let mut proven = !proof;
        loop {
            let safe = self.safe_snapshot(wanted).await?;
            if !proven {
                self.prove(safe.term).await?;
                proven = true;
            }
            match self.read_safe(safe.snapshot, false, patience, reads).await? {
                ReadAnswer::Rows(results) => {
                    return Ok(Reply::Read { snapshot: safe.snapshot, index: safe.index, results });
                }
                ReadAnswer::Uncertain(outcome) if at.is_some() => return Ok(Reply::Uncertain(outcome)),
                // Nothing was read before, so nothing needs to be validated: only move.
                ReadAnswer::Uncertain(outcome) => wanted = Some(outcome),
            }
        }
    }

    /// Reads at a snapshot that the set's leader has made safe, at this element, leader or not. Waits until `index` is
    /// applied, and for intents at or below the snapshot, as long as the patience lasts.
    pub async fn read_at(
        &self,
        snapshot: Timestamp,
        index: LogIndex,
        patience: &Patience,
        reads: &[ReadOp],
    ) -> Result<ReadAnswer, Failure> {
        let until = self.now() + Duration::from_millis(u64::from(patience.limit_ms));
        if self.wait(Wait::Applied(index), until).await? == Woken::Late {
            return Err(Failure::NotLeader { hint: None });
        }
        self.read_safe(snapshot, false, patience, reads).await
    }

    /// Reads at a cut, at this element, leader or not. The index says all that there will ever be at or below the cut, so
    /// no leadership has to be proved. Waits for intents as long as the patience lasts.
    pub(super) async fn read_cut(
        &self,
        at: Timestamp,
        index: LogIndex,
        patience: &Patience,
        reads: &[ReadOp],
    ) -> Result<Reply, Failure> {
        check_reasonable(at)?;
        let until = self.now() + Duration::from_millis(u64::from(patience.limit_ms));
        if self.wait(Wait::Applied(index), until).await? == Woken::Late {
            return Err(Failure::NotLeader { hint: None });
        }
        match self.read_safe(at, true, patience, reads).await? {
            ReadAnswer::Rows(results) => Ok(Reply::Read { snapshot: at, index, results }),
            ReadAnswer::Uncertain(outcome) => Ok(Reply::Uncertain(outcome)),
        }
    }

    /// A snapshot (a new one, or the one given) that is safe here from now on, and the position that covers it.
    pub(super) async fn safe_snapshot(&self, at: Option<Timestamp>) -> Result<Safe, Failure> {
        let until = self.now() + LOG_PATIENCE;
        loop {
            let wait = {
                let mut state = self.leading_state()?;
                let result = match at {
                    None => self.fresh(&mut state),
                    Some(at) => self.adopt(&mut state, at)?,
                };
                match result {
                    Ok(snapshot) => {
                        let term = leader(&mut state).term;
                        return Ok(Safe { snapshot, index: state.applied, term });
                    }
                    Err(wait) => wait,
                }
            };
            if self.wait(wait, until).await? == Woken::Late {
                return Err(Failure::NotLeader { hint: None });
            }
        }
    }

    /// A new snapshot: everything applied is at or below it.
    fn fresh(&self, state: &mut State) -> Result<Timestamp, Wait> {
        let (logged, horizon) = (state.logged, state.horizon);
        let leader = leader(state);
        leader.demand = self.now();
        let candidate = match leader.flight.first_key_value() {
            Some((first, _)) if !self.options.breaks.safe_time => first.prev(),
            _ => leader.last.max(self.clock.now()),
        };
        if self.options.breaks.horizon {
            leader.promise(candidate, &self.clock);
            return Ok(candidate);
        }
        let log = self.log.get().expect("an element that leads is attached");
        leader.extend_horizon(log, &self.clock, &self.options, candidate.plus(self.options.horizon_ahead / 2));
        // Anything from the last entry up is as good; what was promised never lies above the horizon.
        let snapshot = candidate.min(horizon);
        if snapshot < logged {
            return Err(Wait::Horizon(logged));
        }
        leader.promise(snapshot, &self.clock);
        Ok(snapshot)
    }

    /// A snapshot given out elsewhere, or moved: nothing may be assigned at or below it from now on (rule 5).
    fn adopt(&self, state: &mut State, at: Timestamp) -> Result<Result<Timestamp, Wait>, Failure> {
        check_reasonable(at)?;
        if at < state.garbage && !self.options.breaks.garbage {
            return Err(Failure::Refused(Refusal::SnapshotTooOld));
        }
        let horizon = state.horizon;
        let leader = leader(state);
        leader.demand = self.now();
        if self.options.breaks.foreign_snapshot {
            return Ok(Ok(at));
        }
        if !self.options.breaks.horizon {
            let log = self.log.get().expect("an element that leads is attached");
            if horizon < at {
                leader.extend_horizon(log, &self.clock, &self.options, at);
                return Ok(Err(Wait::Horizon(at)));
            }
        }
        leader.promise(at, &self.clock);
        let settled = leader.flight.first_key_value().is_none_or(|(first, _)| *first > at);
        Ok(if settled || self.options.breaks.safe_time { Ok(at) } else { Err(Wait::Settled(at)) })
    }

    /// Reads at a snapshot that is safe here; waits for intents.
    async fn read_safe(
        &self,
        snapshot: Timestamp,
        cut: bool,
        patience: &Patience,
        reads: &[ReadOp],
    ) -> Result<ReadAnswer, Failure> {
        let until = self.patience_ends(patience);
        loop {
            let Some(answer) = self.try_read(snapshot, cut, patience.txn, reads)? else {
                return Err(Failure::Refused(Refusal::SnapshotTooOld));
            };
            match answer {
                Ok(answer) => return Ok(answer),
                Err(obstacle) => self.wait_for(&obstacle, until, patience).await?,
            }
        }
    }

    /// Reads once; the obstacle if an intent is in the way, `None` below the garbage-collection threshold.
    fn try_read(
        &self,
        snapshot: Timestamp,
        cut: bool,
        own: Option<TxnId>,
        reads: &[ReadOp],
    ) -> Result<Option<Result<ReadAnswer, Obstacle>>, Failure> {
        // Intents first: one that is resolved meanwhile has its rows in the store before it leaves the index.
        let pending = {
            let state = self.state.lock();
            if snapshot < state.garbage && !self.options.breaks.garbage {
                return Ok(None);
            }
            let own_staged = own.filter(|own| state.staged.contains_key(own));
            let pending: Vec<Pending> = if self.options.breaks.wait_intents || state.prepared.is_empty() {
                Vec::new()
            } else {
                reads.iter().map(|read| Pending::find(&state, &span_of(read), snapshot, own)).collect()
            };
            (pending, own_staged)
        };
        let (mut pending, own_staged) = pending;
        // Staged ones too: those that become rows while these are read would be found in neither place.
        for (pending, read) in pending.iter_mut().zip(reads) {
            pending.staged = self.first_staged(&pending.stagers, &span_of(read))?;
        }
        let at = ReadAt { snapshot, own: own_staged, cut: cut || self.options.breaks.uncertain };
        let answer = self.store.read(at, reads, &*self.options.programs).map_err(|error| self.fatal(error))?;
        // Compaction may have dropped versions while they were read, if the threshold has passed the snapshot.
        if snapshot < self.state.lock().garbage && !self.options.breaks.garbage {
            return Ok(None);
        }
        for (number, pending) in pending.iter().enumerate() {
            let result = match &answer {
                ReadAnswer::Rows(results) => results.get(number),
                ReadAnswer::Uncertain(_) => None,
            };
            if let Some(obstacle) = pending.obstacle(&reads[number], result) {
                return Ok(Some(Err(obstacle)));
            }
        }
        Ok(Some(Ok(answer)))
    }

    /// The first key in a span that one of these transactions has staged.
    fn first_staged(&self, stagers: &[TxnId], span: &Span) -> Result<Option<Obstacle>, Failure> {
        if stagers.is_empty() {
            return Ok(None);
        }
        let staged = self.store.staged_in(span, &|txn| stagers.contains(&txn));
        let staged = staged.map_err(|error| self.fatal(error))?;
        Ok(staged.map(|(key, txn)| Obstacle { key, txn }))
    }

    /// Until when a request waits for intents: they obey the same rule as locks (rule 13), their owners counting as older.
    pub(super) fn patience_ends(&self, patience: &Patience) -> Duration {
        let limit = Duration::from_millis(u64::from(patience.limit_ms));
        let limit = if patience.holds_locks { limit.min(self.options.deadlock_timeout) } else { limit };
        self.now() + limit
    }

    /// Waits until the transaction in the way has ended.
    pub(super) async fn wait_for(
        &self,
        obstacle: &Obstacle,
        until: Duration,
        patience: &Patience,
    ) -> Result<(), Failure> {
        if self.wait_as(patience.txn, Wait::Ended(obstacle.txn), until).await? == Woken::Ready {
            return Ok(());
        }
        if patience.holds_locks {
            let (key, holder) = (obstacle.key.clone(), Some(obstacle.txn));
            return Err(Failure::Refused(Refusal::LockTimeout { key, holder }));
        }
        Err(self.state.lock().blocked_by(obstacle.txn, self.set))
    }
}

/// Intents at or below a snapshot that may lie in what is read.
struct Pending {
    intents: Vec<Obstacle>,
    /// Transactions with staged writes nearby.
    stagers: Vec<TxnId>,
    /// The first of these writes.
    staged: Option<Obstacle>,
}

impl Pending {
    fn find(state: &State, span: &Span, snapshot: Timestamp, own: Option<TxnId>) -> Pending {
        let found = state.intents.writers_in(span).filter(|owned| owned.at <= snapshot && Some(owned.txn) != own);
        Pending {
            intents: found.map(|owned| Obstacle { key: owned.key, txn: owned.txn }).collect(),
            stagers: state.staged_intents(span, snapshot, own),
            staged: None,
        }
    }

    /// What stands in the way of a read, by what it has touched. From the other end, the first staged write says nothing about the
    /// next ones, so it counts wherever it is.
    fn obstacle(&self, read: &ReadOp, result: Option<&ReadResult>) -> Option<Obstacle> {
        let span = span_read(read, result);
        let backwards = matches!(read, ReadOp::Scan { reverse: true, .. });
        let staged = self.staged.iter().filter(|obstacle| backwards || span.contains(&obstacle.key));
        self.intents.iter().filter(|obstacle| span.contains(&obstacle.key)).chain(staged).next().cloned()
    }
}

/// The whole span that a read may touch.
fn span_of(read: &ReadOp) -> Span {
    match read {
        ReadOp::Get { key } => Span::key(key.clone()),
        ReadOp::Scan { start, end, .. } => Span::range(start.clone(), end.clone()),
    }
}

/// The span that a read has touched, by its result: the page is shorter than the range.
fn span_read(read: &ReadOp, result: Option<&ReadResult>) -> Span {
    match (read, result) {
        (
            ReadOp::Scan { start, end, reverse, .. },
            Some(ReadResult::Page { resume: Some(resume), .. } | ReadResult::Output { resume: Some(resume), .. }),
        ) => {
            if *reverse {
                Span::range(resume.clone(), end.clone())
            } else {
                Span::range(start.clone(), resume.clone())
            }
        }
        _ => span_of(read),
    }
}

/// The leader's memory; only called where `leading_state` has seen to it.
pub(super) fn leader(state: &mut State) -> &mut Leader {
    state.leader.as_mut().expect("leading_state was called under the same lock")
}

/// Refuses timestamps that no clock with valid readings can have reached: taking them over would use up the numbers.
pub(super) fn check_reasonable(at: Timestamp) -> Result<(), Failure> {
    if at.ms() > 2 * PHYSICAL_MS_MAX {
        return Err(Failure::Refused(Refusal::Limit(format!("the timestamp {at} is out of all reason"))));
    }
    Ok(())
}

#[async_trait]
impl LocalReads for ReplicaSet {
    fn applied(&self) -> LogIndex {
        ReplicaSet::applied(self)
    }

    async fn reached(&self, index: LogIndex, limit: Duration) -> bool {
        self.wait(Wait::Applied(index), self.now() + limit).await == Ok(Woken::Ready)
    }

    fn read(&self, at: Timestamp, cut: bool, reads: &[ReadOp]) -> Option<ReadAnswer> {
        self.try_read(at, cut, None, reads).ok()??.ok()
    }
}
