//! What an element keeps in memory beside its store: indexes of what the log says, the leader's own memory, and those who wait.
//!
//! Everything here is under one mutex, never held across an await or a slow read. Apply writes the store first and then this, so
//! whoever finds no intent here finds the rows it has become there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::claims::Claims;
use super::cut::Freezes;
use super::locks::LockTable;
use super::recent::Recent;
use super::seen::Seen;
use super::{Breaks, Options};
use crate::apply::Effect;
use crate::clock::{Clock, Timestamp};
use crate::command::{Command, Logged, Upkeep};
use crate::protocol::{Failure, GatewayId, LogIndex, Outcome, Refusal, Reply, SetId, Span, Term, TxnId};
use crate::store::Replicated;
use crate::store::record::{PrepareRecord, StagedRecord};
use crate::traits::{Proposal, ReplicaLog};

/// Remembered refusals of one term; older ones are answered as unknown.
const REFUSALS_MAX: usize = 10_000;

/// See the module's text.
pub(crate) struct State {
    // What the log says, up to `applied`.
    pub(crate) applied: LogIndex,
    pub(crate) logged: Timestamp,
    pub(crate) horizon: Timestamp,
    pub(crate) garbage: Timestamp,
    pub(crate) finished_below: BTreeMap<GatewayId, TxnId>,
    pub(crate) started: BTreeMap<u32, u32>,
    pub(crate) staged: BTreeMap<TxnId, StagedRecord>,
    /// Counts changes of staged writes.
    pub(crate) staged_changes: u64,
    pub(crate) prepared: BTreeMap<TxnId, Prepared>,
    pub(crate) intents: Claims,
    pub(crate) recent: Recent,
    /// When rows were last written.
    pub(crate) written: Timestamp,
    // What only this element knows.
    pub(crate) leader: Option<Leader>,
    pub(crate) waiters: Vec<Waiter>,
    /// Nothing will happen here any more, so nobody may wait for it.
    pub(crate) closed: bool,
}

/// A prepared transaction.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) at: Timestamp,
    pub(crate) participants: Vec<SetId>,
    /// Its staged writes lie in this span.
    pub(crate) staged: Option<Span>,
    /// When this element learnt of it, by its monotonic clock.
    pub(crate) since: Duration,
}

/// The memory of a leader; it dies with its term.
pub(crate) struct Leader {
    pub(crate) term: Term,
    /// The highest timestamp assigned or promised.
    pub(crate) last: Timestamp,
    /// Proposals not yet applied, by their timestamps; those of transactions have claims.
    pub(crate) flight: BTreeMap<Timestamp, Option<TxnId>>,
    pub(crate) flight_claims: Claims,
    /// Keys of staged batches in flight.
    pub(crate) flight_staged: Claims,
    /// Proposed prepares with staged writes, which are no claims: they are looked up in the store like those of applied ones.
    pub(crate) staged_flight: BTreeMap<TxnId, Timestamp>,
    pub(crate) locks: LockTable,
    pub(crate) freezes: Freezes,
    /// Commits, prepares and stages that are being worked on, with those who have sent the same again.
    pub(crate) taken: BTreeMap<TxnId, Vec<oneshot::Sender<Result<Reply, Failure>>>>,
    /// Transactions whose commit or prepare was taken, or that ended otherwise.
    pub(crate) seen: Seen,
    pub(crate) refused: BTreeMap<TxnId, Refusal>,
    pub(crate) gateways: BTreeMap<GatewayId, Heard>,
    /// When this element began to lead, by its monotonic clock.
    pub(crate) since: Duration,
    /// The highest horizon proposed.
    pub(crate) horizon_proposed: Timestamp,
    /// When somebody last needed timestamps.
    pub(crate) demand: Duration,
    pub(crate) collected: Duration,
    pub(crate) watermarks_logged: Duration,
    /// Transactions whose outcome is being found out, or whose abandoned writes are being dropped: not again before this.
    pub(crate) resolving: BTreeMap<TxnId, Duration>,
    /// Sets that did not answer when a transaction in doubt was to be resolved.
    pub(crate) unreachable: BTreeMap<TxnId, Vec<SetId>>,
}

/// What a leader knows about a gateway.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heard {
    pub(crate) at: Duration,
    pub(crate) finished_below: TxnId,
    pub(crate) oldest_snapshot: Option<Timestamp>,
}

/// What somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// This position of the log is applied.
    Applied(LogIndex),
    /// The transaction is neither prepared nor staging.
    Ended(TxnId),
    /// No proposal at or below this timestamp is in flight.
    Settled(Timestamp),
    /// The horizon is at or above this.
    Horizon(Timestamp),
    /// Nothing is frozen.
    Thawed,
}

/// Somebody who waits. Its end closes when leadership is lost, if only a leader can do what is waited for.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) wait: Wait,
    /// The transaction that waits, if it has an id.
    pub(crate) by: Option<TxnId>,
    pub(crate) until: Duration,
    pub(crate) woken: oneshot::Sender<Woken>,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    Ready,
    Late,
}

impl State {
    pub(crate) fn new(
        replicated: &Replicated,
        prepared: &[(TxnId, PrepareRecord)],
        options: &Options,
        now: Duration,
    ) -> Self {
        let mut state = State {
            applied: replicated.applied,
            logged: replicated.logged,
            horizon: replicated.horizon,
            garbage: replicated.garbage,
            finished_below: replicated.finished_below.clone(),
            started: replicated.started.clone(),
            staged: replicated.staged.clone(),
            staged_changes: 0,
            prepared: BTreeMap::new(),
            intents: Claims::default(),
            recent: Recent::new(replicated.logged, options.recent_commits_max),
            written: replicated.logged,
            leader: None,
            waiters: Vec::new(),
            closed: false,
        };
        for (txn, record) in prepared {
            let staged = replicated.staged.get(txn).cloned();
            state.add_prepared(*txn, record, staged, now);
        }
        state
    }

    fn add_prepared(&mut self, txn: TxnId, record: &PrepareRecord, staged: Option<StagedRecord>, now: Duration) {
        let keys = record.writes.iter().map(|write| Bytes::copy_from_slice(&write.key)).collect();
        self.intents.add(txn, record.at, keys, &record.reads);
        let staged = staged.map(|staged| Span::range(staged.first, crate::apply::next_key(&staged.last)));
        let participants = record.participants.clone();
        self.prepared.insert(txn, Prepared { at: record.at, participants, staged, since: now });
    }

    /// Takes over what a written batch has changed, and wakes those who waited for it.
    pub(crate) fn publish(&mut self, replicated: &Replicated, effects: Vec<Effect>, now: Duration) {
        self.applied = replicated.applied;
        self.logged = replicated.logged;
        if self.horizon != replicated.horizon || self.garbage != replicated.garbage {
            self.horizon = replicated.horizon;
            self.garbage = replicated.garbage;
        }
        for effect in effects {
            match effect {
                Effect::Logged(at) => self.settle(at),
                Effect::Prepared { txn, record, staged } => self.add_prepared(txn, &record, staged, now),
                Effect::Ended { txn, outcome, at, keys, span } => self.end(txn, outcome, at, keys, span.is_some(), now),
                Effect::Staged => {
                    self.staged.clone_from(&replicated.staged);
                    self.staged_changes += 1;
                }
                Effect::Thresholds => {
                    self.finished_below.clone_from(&replicated.finished_below);
                    self.started.clone_from(&replicated.started);
                }
                Effect::Checkpoint { .. } => {}
            }
        }
        self.wake();
    }

    /// A command with this timestamp was applied: earlier proposals of this term were too, or are lost for ever.
    fn settle(&mut self, at: Timestamp) {
        let Some(leader) = &mut self.leader else { return };
        leader.staged_flight.retain(|_, proposed| *proposed > at);
        while let Some(entry) = leader.flight.first_entry() {
            if *entry.key() > at {
                break;
            }
            if let Some(txn) = entry.remove() {
                leader.flight_claims.remove(txn);
                leader.flight_staged.remove(txn);
            }
        }
    }

    fn end(&mut self, txn: TxnId, outcome: Outcome, at: Timestamp, keys: Vec<Bytes>, staged: bool, now: Duration) {
        self.prepared.remove(&txn);
        self.intents.remove(txn);
        if matches!(outcome, Outcome::Committed(_)) {
            self.written = self.written.max(at);
            if staged {
                self.recent.reset(at);
            } else {
                for key in keys {
                    self.recent.insert(at, key, txn);
                }
            }
        }
        if let Some(leader) = &mut self.leader {
            leader.seen.insert(txn);
            leader.locks.release(now, txn);
            leader.resolving.remove(&txn);
            leader.unreachable.remove(&txn);
        }
    }

    /// Begins to lead in a term whose first entry is applied.
    pub(crate) fn lead(&mut self, term: Term, clock: &Clock, breaks: &Breaks, now: Duration) {
        self.follow();
        // Above everything the log says and everything an earlier leader has promised.
        let last = if breaks.horizon { self.logged } else { self.logged.max(self.horizon) };
        clock.merge(last);
        self.leader = Some(Leader {
            term,
            last,
            flight: BTreeMap::new(),
            flight_claims: Claims::default(),
            flight_staged: Claims::default(),
            staged_flight: BTreeMap::new(),
            locks: LockTable::default(),
            freezes: Freezes::default(),
            taken: BTreeMap::new(),
            seen: Seen::default(),
            refused: BTreeMap::new(),
            gateways: BTreeMap::new(),
            since: now,
            horizon_proposed: self.horizon,
            demand: now,
            collected: now,
            watermarks_logged: now,
            resolving: BTreeMap::new(),
            unreachable: BTreeMap::new(),
        });
    }

    /// Leads no longer: the leader's memory is gone, and who waits for what only a leader can do is told.
    pub(crate) fn follow(&mut self) {
        self.leader = None;
        self.waiters.retain(|waiter| matches!(waiter.wait, Wait::Applied(_) | Wait::Ended(_)));
    }

    fn is_over(&self, wait: Wait) -> bool {
        match wait {
            Wait::Applied(index) => self.applied >= index,
            Wait::Ended(txn) => !self.prepared.contains_key(&txn) && !self.staged.contains_key(&txn),
            Wait::Settled(at) => self.leader.as_ref().is_none_or(|leader| leader.is_settled(at)),
            Wait::Horizon(at) => self.horizon >= at,
            Wait::Thawed => self.leader.as_ref().is_none_or(|leader| leader.freezes.is_empty()),
        }
    }

    pub(crate) fn wake(&mut self) {
        if self.waiters.is_empty() {
            return;
        }
        let waiters = std::mem::take(&mut self.waiters);
        for waiter in waiters {
            if self.is_over(waiter.wait) {
                // Whoever waited may have gone.
                let _ = waiter.woken.send(Woken::Ready);
            } else {
                self.waiters.push(waiter);
            }
        }
    }

    /// Wakes those whose time is over.
    pub(crate) fn expire(&mut self, now: Duration) {
        let waiters = std::mem::take(&mut self.waiters);
        for waiter in waiters {
            if now >= waiter.until {
                let _ = waiter.woken.send(Woken::Late);
            } else if !waiter.woken.is_closed() {
                self.waiters.push(waiter);
            }
        }
    }

    /// Joins those who wait; `None` if there is nothing to wait for.
    pub(crate) fn wait(&mut self, wait: Wait, by: Option<TxnId>, until: Duration) -> Option<oneshot::Receiver<Woken>> {
        if self.is_over(wait) {
            return None;
        }
        let (woken, receiver) = oneshot::channel();
        if !self.closed {
            self.waiters.push(Waiter { wait, by, until, woken });
        }
        Some(receiver)
    }

    /// Ends all waits, and those that are still to come: nobody will call apply or tick any more.
    pub(crate) fn close(&mut self) {
        self.follow();
        self.waiters.clear();
        self.closed = true;
    }

    /// Whether a transaction lies below its gateway's watermark, as the log has it.
    pub(crate) fn is_forgotten(&self, txn: TxnId) -> bool {
        self.finished_below.get(&txn.gateway()).is_some_and(|below| txn < *below)
    }

    /// Whether the gateway process is known to have ended.
    pub(crate) fn has_ended(&self, gateway: GatewayId) -> bool {
        self.started.get(&gateway.instance()).is_some_and(|running| gateway.incarnation() < *running)
    }

    /// Why a new message of a transaction must be refused without looking at what it asks for.
    pub(crate) fn is_late(&self, txn: TxnId) -> Option<Refusal> {
        let heard = self.leader.as_ref().and_then(|leader| leader.gateways.get(&txn.gateway()));
        if self.is_forgotten(txn) || heard.is_some_and(|heard| txn < heard.finished_below) {
            return Some(Refusal::Forgotten);
        }
        self.has_ended(txn.gateway()).then_some(Refusal::Aborted)
    }

    /// Prepared transactions with staged writes that may lie in a span, prepared at or below the snapshot.
    pub(crate) fn staged_intents(&self, span: &Span, snapshot: Timestamp, except: Option<TxnId>) -> Vec<TxnId> {
        let staged = self.prepared.iter().filter(|(txn, prepared)| {
            prepared.at <= snapshot
                && Some(**txn) != except
                && prepared.staged.as_ref().is_some_and(|staged| staged.overlaps(span))
        });
        staged.map(|(txn, _)| *txn).collect()
    }

    /// Transactions with staged writes whose prepare is applied, or (`proposed`) on its way.
    pub(crate) fn staged_prepares(&self, proposed: bool) -> BTreeSet<TxnId> {
        let applied = self.prepared.iter().filter(|(_, prepared)| prepared.staged.is_some()).map(|(txn, _)| *txn);
        let leader = self.leader.as_ref().filter(|_| proposed);
        applied.chain(leader.into_iter().flat_map(|leader| leader.staged_flight.keys().copied())).collect()
    }

    /// The participants of a prepared transaction.
    pub(crate) fn blocked_by(&self, txn: TxnId, this: SetId) -> Failure {
        let participants = self.prepared.get(&txn).map(|prepared| prepared.participants.clone()).unwrap_or_default();
        Failure::Blocked { by: txn, participants: participants.into_iter().filter(|set| *set != this).collect() }
    }
}

impl Leader {
    fn is_settled(&self, at: Timestamp) -> bool {
        self.flight.first_key_value().is_none_or(|(first, _)| *first > at)
    }

    /// The timestamp of the next proposal: above all assigned or promised, and above `over`.
    pub(crate) fn assign(&mut self, clock: &Clock, over: Timestamp) -> Timestamp {
        let at = clock.now().max(self.last.next()).max(over.next());
        clock.merge(at);
        self.last = at;
        at
    }

    /// Promises that nothing will be assigned at or below a timestamp; it must be at or below the horizon.
    pub(crate) fn promise(&mut self, at: Timestamp, clock: &Clock) {
        self.last = self.last.max(at);
        clock.merge(at);
    }

    /// Proposes a command stamped with a timestamp just assigned. `claims`: the transaction whose claims in flight end with it.
    pub(crate) fn propose(
        &mut self,
        log: &Arc<dyn ReplicaLog>,
        at: Timestamp,
        command: Command,
        claims: Option<TxnId>,
    ) -> Proposal {
        assert!(self.last == at, "a command is proposed under the mutex under which its timestamp was assigned");
        self.flight.insert(at, claims);
        log.propose(Logged { term: self.term, at, command }.encode())
    }

    /// Proposes a higher horizon, unless one that suffices is on its way.
    pub(crate) fn extend_horizon(
        &mut self,
        log: &Arc<dyn ReplicaLog>,
        clock: &Clock,
        options: &Options,
        needed: Timestamp,
    ) {
        if self.horizon_proposed >= needed {
            return;
        }
        let at = self.assign(clock, Timestamp::ZERO);
        let horizon = at.max(needed).plus(options.horizon_ahead);
        self.horizon_proposed = horizon;
        let upkeep = Upkeep { horizon, ..Upkeep::default() };
        // Its effect is awaited, not its reply; if it is lost, so is this term.
        drop(self.propose(log, at, Command::Upkeep(upkeep), None));
    }

    /// Remembers a refusal, for duplicates of the message.
    pub(crate) fn remember(&mut self, txn: TxnId, refusal: Refusal) {
        self.refused.insert(txn, refusal);
        if self.refused.len() > REFUSALS_MAX {
            self.refused.pop_first();
        }
    }
}
