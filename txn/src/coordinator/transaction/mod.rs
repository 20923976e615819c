//! One transaction, as the session that runs it sees it.
//!
//! State is kept per replica set ([`Part`]): spans read, writes buffered, what a replica must have applied to be read at
//! the snapshot, locks held. Reads are in `read`, writes and staging in `write`, savepoints in `savepoint`, the end in `commit`. After
//! [`TxnError::Duplicate`] from [`Transaction::put`], [`TxnError::Limit`], and an operation that was dropped half way, the
//! transaction can go back to a savepoint. Any other error ends it: what is left is to roll back.

mod commit;
mod read;
mod savepoint;
mod write;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

pub use read::{Page, ScanProgram, ScanRange};

use super::cut::Cut;
use super::error::TxnError;
use super::ids::Unfinished;
use super::link::{Hold, News, SetLink};
use super::shared::Shared;
use super::spans::SpanSet;
use super::writes::WriteBuffer;
use crate::clock::Timestamp;
use crate::protocol::{LogIndex, Patience, SetId, TxnId};

/// Options of a new transaction.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// [`Transaction::age`] of the transaction that this one repeats: it keeps its place among those who wait for locks.
    pub age_of: Option<u64>,
    /// Read under shared locks. For a transaction over several sets whose validation has failed repeatedly: it then ends, at the
    /// cost of those who write what it reads.
    pub shared_locks: bool,
    /// Where the transaction says its id as soon as it has one, for those who watch it.
    pub id: Option<Arc<AtomicU64>>,
}

/// One transaction. Dropping it without [`Transaction::commit`] rolls it back; its locks are dropped in the background.
pub struct Transaction {
    shared: Arc<Shared>,
    options: Options,
    age: Option<u64>,
    /// Given when it first locks, stages or commits, and not to mere readers.
    id: Option<Arc<Unfinished>>,
    snapshot: Option<Timestamp>,
    /// The set whose leader gave the snapshot out.
    origin: Option<SetId>,
    /// The snapshot is this cut through all sets: what is read at it was so at one instant.
    cut: Option<Arc<Cut>>,
    /// Something was read without proof, or elsewhere than where the snapshot comes from, or the snapshot was moved.
    unproven: bool,
    /// Everything read so far has been validated with proof.
    validated: bool,
    /// A batch may have been lost on its way to be staged.
    doomed: bool,
    /// Savepoints by their numbers, the oldest first.
    savepoints: Vec<u64>,
    /// The newest savepoint there was when writes were staged that it takes back: up to this one there is no way back.
    crossed: Option<u64>,
    /// Messages that commit are out, and what became of them is not known.
    committing: bool,
    parts: Vec<Part>,
}

/// What a transaction did in one replica set.
struct Part {
    link: Arc<SetLink>,
    spans: SpanSet,
    writes: WriteBuffer,
    /// A replica that has applied this can be read at the transaction's snapshot.
    index: Option<LogIndex>,
    /// It holds locks or staged writes there, or may.
    hold: Option<Hold>,
    /// Batches staged.
    staged: u32,
    /// Lowest and highest key staged.
    staged_keys: Option<(Bytes, Bytes)>,
}

impl Part {
    fn involved(&self) -> bool {
        self.writes_something() || !self.spans.is_empty()
    }

    fn writes_something(&self) -> bool {
        self.staged > 0 || !self.writes.is_empty()
    }
}

impl Transaction {
    pub(super) fn new(shared: Arc<Shared>, options: Options) -> Self {
        Transaction {
            shared,
            age: options.age_of,
            options,
            id: None,
            snapshot: None,
            origin: None,
            cut: None,
            unproven: false,
            validated: true,
            doomed: false,
            savepoints: Vec::new(),
            crossed: None,
            committing: false,
            parts: Vec::new(),
        }
    }

    /// Its id, for `txid_current()`: given now if it has none yet.
    pub fn id(&mut self) -> TxnId {
        self.unfinished().txn()
    }

    /// The age to hand to [`Options::age_of`] when this transaction is repeated.
    pub fn age(&mut self) -> u64 {
        // Ages are only compared: a wrong clock costs fairness, no more. The low bits part those of one millisecond.
        let (shared, ids) = (&self.shared, &self.shared.ids);
        *self.age.get_or_insert_with(|| {
            (shared.clock.time().physical_ms().min(1 << 47)) << 16 | (ids.watermark().0 & 0xffff)
        })
    }

    /// The snapshot it reads at, once it has one.
    pub fn snapshot(&self) -> Option<Timestamp> {
        self.snapshot
    }

    fn unfinished(&mut self) -> &Arc<Unfinished> {
        let (ids, watched) = (&self.shared.ids, &self.options.id);
        self.id.get_or_insert_with(|| {
            let id = ids.begin();
            if let Some(watched) = watched {
                watched.store(id.txn().0, Ordering::Relaxed);
            }
            id
        })
    }

    fn txn(&self) -> Option<TxnId> {
        self.id.as_ref().map(|id| id.txn())
    }

    /// Where the transaction keeps what concerns a set.
    fn part(&mut self, set: SetId) -> usize {
        if let Some(at) = self.parts.iter().position(|part| part.link.set == set) {
            return at;
        }
        self.parts.push(Part {
            link: self.shared.link(set),
            spans: SpanSet::default(),
            writes: WriteBuffer::default(),
            index: None,
            hold: None,
            staged: 0,
            staged_keys: None,
        });
        self.parts.len() - 1
    }

    fn usable(&self) -> Result<(), TxnError> {
        if self.doomed {
            return Err(TxnError::retry(super::RetryCause::Doomed));
        }
        Ok(())
    }

    /// It has written or locked, so that its commit validates what it reads.
    fn writing(&self) -> bool {
        self.parts.iter().any(|part| part.hold.is_some() || part.writes_something())
    }

    fn patience(&mut self, limit: std::time::Duration) -> Patience {
        Patience {
            txn: self.txn(),
            age: self.age(),
            holds_locks: self.parts.iter().any(|part| part.hold.is_some()),
            limit_ms: u32::try_from(limit.as_millis()).unwrap_or(u32::MAX),
        }
    }

    fn set_snapshot(&mut self, at: Timestamp) {
        self.cut = None;
        self.shared.open.open(at);
        if let Some(before) = self.snapshot.replace(at) {
            self.shared.open.close(before);
        }
    }

    /// From now on locks may be held in the set.
    fn hold(&mut self, at: usize) {
        let part = &mut self.parts[at];
        if part.hold.is_none() {
            part.hold = Some(Hold::new(&part.link));
        }
    }

    /// Ends it where nothing is committed or prepared: locks and staged writes of the sets chosen go.
    fn unlock(&mut self, which: impl Fn(&Part) -> bool) {
        let Some(id) = &self.id else { return };
        for part in &mut self.parts {
            if part.hold.is_some() && which(part) {
                part.link.tell(News::Unlock, id);
                part.hold = None;
            }
        }
    }

    /// Rolls back. Never waits.
    pub fn rollback(self) {
        drop(self);
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.committing {
            self.unlock(|_| true);
        }
        if let Some(snapshot) = self.snapshot.take() {
            self.shared.open.close(snapshot);
        }
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("id", &self.txn()).field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}
