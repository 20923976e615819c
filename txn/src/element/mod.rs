//! One element of a replica set: its store, what is kept in memory beside it, and, while it leads, the leader's part of the
//! transaction protocol (`docs/transactions.md`; the rules named in comments are those of that text).
//!
//! [`ReplicaSet::apply`] is called by the consensus layer, [`ReplicaSet::serve`] by the network for messages to the leader,
//! [`ReplicaSet::read_at`] by the gateway of the same instance, [`ReplicaSet::tick`] by a timer. Timestamps are assigned and
//! commands proposed under one mutex, so the order of timestamps is the order of the log.
//!
//! What may fail and how: a refused or lost request is an answer ([`Failure`]); an error of the store is reported to
//! [`Options::on_fatal`], for it means that the process must end.

mod claims;
mod commit;
mod cut;
mod doubt;
pub mod holdings;
mod locks;
mod read;
mod recent;
mod seen;
mod stage;
mod state;
#[cfg(test)]
mod tests;
mod upkeep;
mod validate;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{MappedMutexGuard, Mutex, MutexGuard};

pub use crate::apply::{AppliedEntry, Fatal};
use crate::apply::{Applier, Effect};
use crate::clock::{Clock, Timestamp};
use crate::protocol::{Failure, LogIndex, Operation, Reply, Request, Response, Sender, SetId, Term, TxnId};
use crate::store::kv::Family;
use crate::store::record::VersionHead;
use crate::store::{Opened, Replicated, Store, StoreError, StoreLocation};
use crate::traits::{NoPrograms, Programs, ReplicaLog, Sets};
use state::{Heard, Leader, State, Wait, Woken};

/// Checkpoints whose hashes are kept.
const HASHES_MAX: usize = 16;

/// Bounds and times of an element. All times are measured by the local monotonic clock.
#[derive(Clone)]
pub struct Options {
    /// How far ahead the horizon is moved; renewed at half of it.
    pub horizon_ahead: Duration,
    /// How long a prepared transaction may wait for its outcome before the other participants are asked.
    pub doubt_patience: Duration,
    /// How long a gateway may be silent before its locks are dropped.
    pub gateway_silence_max: Duration,
    /// How long a gateway may be silent before its staged writes are dropped.
    pub staged_silence_max: Duration,
    /// After how long without progress the younger waiter gives up.
    pub deadlock_timeout: Duration,
    /// When a freeze for a cut ends by itself.
    pub freeze_max: Duration,
    /// Versions younger than this are never collected.
    pub garbage_age: Duration,
    /// How often the garbage-collection threshold is raised.
    pub garbage_interval: Duration,
    /// How often gateways' watermarks are written to the log.
    pub watermark_interval: Duration,
    /// Commits that are kept in memory for validation, by key.
    pub recent_commits_max: usize,
    /// Understands the programs of scans.
    pub programs: Arc<dyn Programs>,
    /// Called when this element can no longer be trusted: the process must end.
    pub on_fatal: Arc<dyn Fn(&Fatal) + Send + Sync>,
    #[doc(hidden)]
    pub breaks: Breaks,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            horizon_ahead: Duration::from_secs(2),
            doubt_patience: Duration::from_millis(500),
            gateway_silence_max: Duration::from_millis(500),
            staged_silence_max: Duration::from_secs(5),
            deadlock_timeout: Duration::from_millis(100),
            freeze_max: Duration::from_millis(150),
            garbage_age: Duration::from_secs(10),
            garbage_interval: Duration::from_secs(5),
            watermark_interval: Duration::from_secs(1),
            recent_commits_max: 32_768,
            programs: Arc::new(NoPrograms),
            on_fatal: Arc::new(|fatal| tracing::error!(%fatal, "an element can no longer be trusted")),
            breaks: Breaks::default(),
        }
    }
}

/// Rules left out, to prove that tests notice. All false in every real element.
#[doc(hidden)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Breaks {
    /// Give out the clock as S although entries at or below it are in flight (rule 1).
    pub safe_time: bool,
    /// Pass over versions whose prepare is at or below S and whose outcome is above it (rule 3).
    pub uncertain: bool,
    /// A new leader starts its clock from its log alone (rule 4).
    pub horizon: bool,
    /// Do not move the clock past an S issued elsewhere (rule 5).
    pub foreign_snapshot: bool,
    /// Commit without checking the spans read.
    pub read_validation: bool,
    /// Forget the spans read once a prepare is validated.
    pub read_locks: bool,
    /// Read below pending intents without waiting.
    pub wait_intents: bool,
    /// A duplicate prepare replaces the first.
    pub first_prepare: bool,
    /// Execute a duplicate of a commit message that was refused or lost (rule 8).
    pub at_most_once: bool,
    /// Apply what was validated in an earlier term (rule 9).
    pub validated_term: bool,
    /// Do not move the clock past an outcome (rule 2).
    pub outcome_clock: bool,
    /// Answer "aborted" for an unknown transaction without replicating the refusal.
    pub refusal: bool,
    /// Validate and read without proof of leadership (rule 7).
    pub proof: bool,
    /// Read and validate below the garbage-collection threshold (rule 12).
    pub garbage: bool,
    /// Give timestamps to commits and prepares while frozen (rule 17).
    pub freeze: bool,
    /// Answer that all is frozen while commits are in flight (rule 17).
    pub drain: bool,
    /// Take part in a cut although the freeze is over, or was another leader's (rule 17).
    pub thawed: bool,
}

impl Breaks {
    pub(crate) fn any(&self) -> bool {
        *self != Breaks::default()
    }
}

/// The logical hash of all rows of an element at one position of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowsHash {
    /// The position: the last entry before the checkpoint's.
    pub index: LogIndex,
    /// Number of rows.
    pub rows: u64,
    /// Hash over keys, values and commit timestamps in key order.
    pub hash: u64,
}

/// What an element is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementStatus {
    /// The last position applied.
    pub applied: LogIndex,
    /// The term it leads in, if it does.
    pub leading: Option<Term>,
    /// Transactions prepared and not resolved.
    pub prepared: usize,
    /// For how long the oldest of them has been known here.
    pub prepared_for: Duration,
    /// Sets that did not answer when a transaction in doubt was to be resolved.
    pub unreachable: Vec<SetId>,
    /// Transactions with staged writes.
    pub staged: usize,
    /// Transactions with locks.
    pub locking: usize,
    /// Reads below are refused.
    pub garbage_threshold: Timestamp,
}

/// One element of a replica set. See the module's text.
pub struct ReplicaSet {
    set: SetId,
    clock: Arc<Clock>,
    options: Options,
    store: Store,
    /// What the log has said; locked by apply for the whole of a call.
    replicated: Mutex<Replicated>,
    state: Mutex<State>,
    log: OnceLock<Arc<dyn ReplicaLog>>,
    sets: OnceLock<Arc<dyn Sets>>,
    hashes: Arc<Mutex<BTreeMap<u64, Option<RowsHash>>>>,
    /// The raft state as last written, and as last flushed.
    raft_state: Mutex<RaftState>,
    violations: AtomicU64,
}

#[derive(Debug, Default)]
struct RaftState {
    written: Option<Bytes>,
    flushed: Option<Bytes>,
}

impl ReplicaSet {
    /// Opens the element's store. It serves nothing until [`ReplicaSet::attach`] was called.
    pub fn open(
        set: SetId,
        location: &StoreLocation,
        clock: Arc<Clock>,
        options: Options,
    ) -> Result<Arc<Self>, StoreError> {
        let Opened { store, replicated, prepared, raft_state } = Store::open(location)?;
        let state = State::new(&replicated, &prepared, &options, clock.time().monotonic());
        clock.merge(replicated.logged);
        Ok(Arc::new(ReplicaSet {
            set,
            clock,
            options,
            store,
            replicated: Mutex::new(replicated),
            state: Mutex::new(state),
            log: OnceLock::new(),
            sets: OnceLock::new(),
            hashes: Arc::default(),
            raft_state: Mutex::new(RaftState { written: raft_state.clone(), flushed: raft_state }),
            violations: AtomicU64::new(0),
        }))
    }

    /// Joins the element with its log and with the other sets. To be called once.
    pub fn attach(&self, log: Arc<dyn ReplicaLog>, sets: Arc<dyn Sets>) {
        let first = self.log.set(log).is_ok() && self.sets.set(sets).is_ok();
        assert!(first, "an element is attached once");
    }

    /// The replica set's number.
    pub fn set(&self) -> SetId {
        self.set
    }

    /// How often this element was told what the protocol excludes. Anything but zero is an error of the product.
    pub fn violations(&self) -> u64 {
        self.violations.load(Ordering::Acquire)
    }

    /// The instance's clock.
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// Applies entries of the log in one batch (a large transaction's outcome in several) and stores the raft state with
    /// the last. Returns a reply for each command, the same on every replica. Calls come one after the other, from one
    /// thread. Entries at or below the store's own position are skipped. An error is fatal: the process must end.
    pub fn apply(&self, entries: &[AppliedEntry], raft_state: Bytes) -> Result<Vec<Vec<Bytes>>, Fatal> {
        let mut replicated = self.replicated.lock();
        let now = self.now();
        let applier = Applier::new(&self.store, &mut replicated, &self.options.breaks);
        let mut publish = |replicated: &Replicated, effects: Vec<Effect>| {
            for effect in &effects {
                if let Effect::Checkpoint { nonce } = effect {
                    self.hash_rows(*nonce, replicated.applied);
                }
            }
            self.state.lock().publish(replicated, effects, now);
            self.clock.merge(replicated.logged);
        };
        let replies = applier.run(entries, raft_state.clone(), &mut publish)?;
        self.raft_state.lock().written = Some(raft_state);
        Ok(replies)
    }

    /// Position of the last entry applied; at the start it may be ahead of the raft state.
    pub fn applied(&self) -> LogIndex {
        self.state.lock().applied
    }

    /// Makes all that was applied before the call durable, and returns the raft state that is then on disk: the log up to
    /// it may be purged.
    pub fn flush(&self) -> Result<Option<Bytes>, StoreError> {
        let (replicated, written) = {
            // Apply holds the first lock from its first write to its last, so both belong together.
            let replicated = self.replicated.lock();
            (replicated.clone(), self.raft_state.lock().written.clone())
        };
        self.store.flush(&replicated)?;
        self.raft_state.lock().flushed.clone_from(&written);
        Ok(written)
    }

    /// The raft state that is certainly on disk.
    pub fn flushed_state(&self) -> Option<Bytes> {
        self.raft_state.lock().flushed.clone()
    }

    /// The raft state as of the last call of apply, or as found when the store was opened.
    pub fn raft_state(&self) -> Option<Bytes> {
        self.raft_state.lock().written.clone()
    }

    /// Copies the store into a directory that does not exist yet. Returns the raft state of the copy.
    pub fn checkpoint(&self, target: &Path) -> Result<Option<Bytes>, StoreError> {
        // Under apply's lock, so that the raft state returned is exactly that of the copy.
        let _replicated = self.replicated.lock();
        self.store.checkpoint(target)?;
        Ok(self.raft_state.lock().written.clone())
    }

    /// Drops what garbage collection allows now; the store does so by itself, bit by bit. Takes long.
    pub fn compact(&self) -> Result<(), StoreError> {
        self.store.compact()
    }

    /// Flushes, ends the element's leading and everybody's waiting for it; the store is closed when the last reference is
    /// dropped.
    pub fn close(&self) -> Result<(), StoreError> {
        self.state.lock().close();
        self.flush().map(drop)
    }

    /// This element leads now; it notices by itself too. `term` is the one that [`ReplicaLog::term`] says.
    pub fn became_leader(&self, term: Term) {
        if self.log.get().is_some_and(|log| log.term() == Some(term)) {
            let _ = self.leading();
        }
    }

    /// This element leads no longer: locks are gone, and who waits for the leader is told.
    pub fn lost_leadership(&self) {
        self.state.lock().follow();
    }

    /// The hash of a checkpoint, once it is computed here. `None` also when the checkpoint is old, or was applied by an
    /// earlier process.
    pub fn verify_hash(&self, nonce: u64) -> Option<RowsHash> {
        self.hashes.lock().get(&nonce).copied().flatten()
    }

    /// What the element is doing.
    pub fn status(&self) -> ElementStatus {
        let now = self.now();
        let state = self.state.lock();
        let leader = state.leader.as_ref();
        let mut unreachable: Vec<SetId> =
            leader.iter().flat_map(|leader| leader.unreachable.values().flatten().copied()).collect();
        unreachable.sort_unstable();
        unreachable.dedup();
        ElementStatus {
            applied: state.applied,
            leading: leader.map(|leader| leader.term),
            prepared: state.prepared.len(),
            prepared_for: state.prepared.values().map(|p| now.saturating_sub(p.since)).max().unwrap_or_default(),
            unreachable,
            staged: state.staged.len(),
            locking: leader.map_or(0, |leader| leader.locks.owners().count()),
            garbage_threshold: state.garbage,
        }
    }

    /// Answers a message to the leader. It may wait for long (locks, intents), so calls run beside each other; a call that
    /// was begun should be driven to its end, since the messages of its transaction are executed only once.
    pub async fn serve(self: &Arc<Self>, request: Request) -> Response {
        self.clock.merge(request.clock);
        let result = match self.note_sender(&request.sender) {
            Ok(()) => self.operate(request.operation).await,
            Err(failure) => Err(failure),
        };
        let term = self.state.lock().leader.as_ref().map(|leader| leader.term);
        let term = term.filter(|term| self.log.get().and_then(|log| log.term()) == Some(*term));
        Response { clock: self.clock.last(), term, result }
    }

    async fn operate(self: &Arc<Self>, operation: Operation) -> Result<Reply, Failure> {
        match operation {
            Operation::Heartbeat => Ok(Reply::Done),
            Operation::Snapshot { at, proof } => self.snapshot(at, proof).await,
            Operation::Read { at, proof, patience, reads } => self.read(at, proof, &patience, &reads).await,
            Operation::ReadCut { at, index, patience, reads } => self.read_cut(at, index, &patience, &reads).await,
            Operation::Freeze { first } => self.freeze(first).await,
            Operation::Cut { term, freeze, at } => self.cut(term, freeze, at).await,
            Operation::Lock { patience, keys } => self.lock_keys(&patience, &keys).await,
            Operation::LockShared { patience, spans } => self.lock_spans(&patience, &spans).await,
            Operation::Unlock { txn } => self.unlock(txn).await,
            Operation::Commit { term, txn, snapshot, reads, writes } => {
                self.commit(commit::Part { term, txn, snapshot, reads, writes, prepare: None }).await
            }
            Operation::Prepare { term, txn, snapshot, reads, writes, staged, participants } => {
                let prepare = Some(commit::PrepareWith { staged, participants });
                self.commit(commit::Part { term, txn, snapshot, reads, writes, prepare }).await
            }
            Operation::Stage { term, txn, batch, writes } => self.stage(term, txn, batch, writes).await,
            Operation::Resolve { txn, outcome } => self.resolve(txn, outcome).await,
            Operation::Inquire { txn, refuse } => self.inquire(txn, refuse).await,
            Operation::Validate { txn, snapshot, spans, raise_to, proof } => {
                self.validate(txn, snapshot, &spans, raise_to, proof).await
            }
            Operation::Checkpoint { nonce } => self.mark_checkpoint(nonce).await,
        }
    }

    /// Notes what a gateway says about itself; it drops what belongs to transactions and processes that have ended.
    fn note_sender(&self, sender: &Sender) -> Result<(), Failure> {
        let now = self.now();
        let mut state = self.leading_state()?;
        let Sender::Gateway(status) = sender else { return Ok(()) };
        let ended = state.has_ended(status.gateway);
        let leader = state.leader.as_mut().expect("checked by leading_state");
        let outdated = |known: &crate::protocol::GatewayId| {
            known.instance() == status.gateway.instance() && known.incarnation() < status.gateway.incarnation()
        };
        let newer = leader.gateways.keys().any(|known| {
            known.instance() == status.gateway.instance() && known.incarnation() > status.gateway.incarnation()
        });
        if ended || newer {
            return Ok(());
        }
        let gone: Vec<_> = leader.gateways.keys().copied().filter(outdated).collect();
        for gateway in gone {
            leader.gateways.remove(&gateway);
            for txn in leader.locks.owners_below(gateway, TxnId::new(gateway, (1 << 35) - 1)) {
                leader.locks.release(now, txn);
            }
        }
        let first = TxnId::new(status.gateway, 0);
        let heard = leader.gateways.entry(status.gateway).or_insert(Heard {
            at: now,
            finished_below: first,
            oldest_snapshot: None,
        });
        heard.at = now;
        heard.oldest_snapshot = status.oldest_snapshot;
        let before = heard.finished_below;
        // A watermark of somebody else's transactions says nothing.
        if status.finished_below > before && status.finished_below.gateway() == status.gateway {
            heard.finished_below = status.finished_below;
            for txn in leader.locks.owners_below(status.gateway, status.finished_below) {
                leader.locks.release(now, txn);
            }
            leader.seen.forget(before, status.finished_below);
            leader.refused.retain(|txn, _| *txn < first || *txn >= status.finished_below);
        }
        Ok(())
    }

    async fn mark_checkpoint(&self, nonce: u64) -> Result<Reply, Failure> {
        let proposal = {
            let mut leader = self.leading()?;
            let at = leader.assign(&self.clock, Timestamp::ZERO);
            leader.propose(self.log()?, at, crate::command::Command::Checkpoint { nonce }, None)
        };
        self.applied_reply(proposal).await.map(|_| Reply::Checkpoint)
    }

    /// Hashes the rows as they are now, and goes on while that is computed.
    fn hash_rows(&self, nonce: u64, index: LogIndex) {
        {
            let mut hashes = self.hashes.lock();
            hashes.insert(nonce, None);
            if hashes.len() > HASHES_MAX {
                let other = hashes.keys().copied().find(|key| *key != nonce);
                hashes.remove(&other.expect("there are several"));
            }
        }
        let sum = Arc::new(Mutex::new((xxhash_rust::xxh3::Xxh3::new(), 0u64, false)));
        let into = sum.clone();
        let visit = move |key: &[u8], version: &[u8]| {
            let (hash, rows, damaged) = &mut *into.lock();
            match VersionHead::split(version) {
                None => *damaged = true,
                // Compaction drops old deletions at its own time.
                Some((head, _)) if head.deleted => {}
                Some((head, value)) => {
                    hash.update(&(key.len() as u64).to_be_bytes());
                    hash.update(key);
                    hash.update(&head.commit.0.to_be_bytes());
                    hash.update(&(value.len() as u64).to_be_bytes());
                    hash.update(value);
                    *rows += 1;
                }
            }
        };
        let (hashes, on_fatal) = (self.hashes.clone(), self.options.on_fatal.clone());
        let malformed = self.store.malformed(Family::Rows);
        let done = move |result: Result<(), StoreError>| {
            let (hash, rows, damaged) = &*sum.lock();
            match result {
                Ok(()) if !damaged => {
                    let hash = RowsHash { index, rows: *rows, hash: hash.digest() };
                    if let Some(entry) = hashes.lock().get_mut(&nonce) {
                        *entry = Some(hash);
                    }
                }
                Ok(()) => on_fatal(&Fatal::Store(malformed)),
                Err(error) => on_fatal(&Fatal::Store(error)),
            }
        };
        self.store.kv().clone().visit_snapshot(Family::Rows, Box::new(visit), Box::new(done));
    }

    fn now(&self) -> Duration {
        self.clock.time().monotonic()
    }

    fn log(&self) -> Result<&Arc<dyn ReplicaLog>, Failure> {
        self.log.get().ok_or(Failure::NotLeader { hint: None })
    }

    /// The state, if this element leads. Begins to lead when the log says so for the first time in a term.
    fn leading_state(&self) -> Result<MutexGuard<'_, State>, Failure> {
        let log = self.log()?;
        let mut state = self.state.lock();
        // Asked under the mutex: apply publishes the term's first entry before the log says that it leads.
        let term = log.term();
        match (term, state.leader.as_ref().map(|leader| leader.term)) {
            (Some(term), Some(known)) if term == known => Ok(state),
            (Some(term), _) => {
                state.lead(term, &self.clock, &self.options.breaks, self.now());
                Ok(state)
            }
            (None, _) => {
                state.follow();
                Err(Failure::NotLeader { hint: None })
            }
        }
    }

    fn leading(&self) -> Result<MappedMutexGuard<'_, Leader>, Failure> {
        let state = self.leading_state()?;
        Ok(MutexGuard::map(state, |state| state.leader.as_mut().expect("checked by leading_state")))
    }

    /// Proof that this element led in the term at some moment after the call began.
    async fn prove(&self, term: Term) -> Result<(), Failure> {
        if self.options.breaks.proof || self.log()?.prove(term).await {
            Ok(())
        } else {
            Err(Failure::NotLeader { hint: None })
        }
    }

    /// Waits; an error when leadership is lost meanwhile, else how the wait ended.
    async fn wait(&self, wait: Wait, until: Duration) -> Result<Woken, Failure> {
        self.wait_as(None, wait, until).await
    }

    /// As [`Self::wait`], for a transaction, so that operators see whom it waits for.
    async fn wait_as(&self, by: Option<TxnId>, wait: Wait, until: Duration) -> Result<Woken, Failure> {
        let receiver = self.state.lock().wait(wait, by, until);
        match receiver {
            None => Ok(Woken::Ready),
            Some(receiver) => receiver.await.map_err(|_| Failure::NotLeader { hint: None }),
        }
    }

    /// Reports an error of the store; there is no answer any more.
    fn fatal(&self, error: StoreError) -> Failure {
        (self.options.on_fatal)(&Fatal::Store(error));
        Failure::NotLeader { hint: None }
    }
}

impl std::fmt::Debug for ReplicaSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicaSet").field("set", &self.set).field("status", &self.status()).finish_non_exhaustive()
    }
}
