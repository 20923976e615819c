//! Apply: what each command of the log does to an element's store. The same on every replica and at every replay.
//!
//! Nothing here looks at a clock, draws a random number or depends on the order of a hash map. A call collects its changes in one
//! batch, which carries the new position in the log. Large transactions cut the batch: what came before is written with the
//! position of the last whole command, then their staged writes are installed in chunks, each moving from `staged` to `rows`
//! atomically, so that a crash in between leaves a store that a replay completes.
//!
//! Any error is [`Fatal`]: the replica can no longer be trusted, and its process must end.

use std::collections::HashMap;
use std::ops::ControlFlow;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::codec::Malformed;
use crate::command::{Applied, Command, Logged, Upkeep};
use crate::element::Breaks;
use crate::protocol::{LogIndex, Outcome, Span, Term, TxnId};
use crate::store::kv::{Batch, Family, KeyRange};
use crate::store::record::{self, LoggedWrite, PrepareRecord, StagedRecord, VersionHead};
use crate::store::{Replicated, Store, StoreError};

/// A chunk of staged writes that is installed at once, in bytes of keys and values.
const CHUNK_BYTES: usize = 1 << 20;

/// A chunk's number of writes.
const CHUNK_WRITES: usize = 8192;

/// An entry of the log, as the consensus layer hands it over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedEntry {
    /// Its position; entries come in order without gaps, except across an installed snapshot.
    pub index: LogIndex,
    /// The term in which it was proposed.
    pub term: Term,
    /// The commands in it; none in entries of the consensus layer's own.
    pub commands: Vec<Bytes>,
}

/// This replica can no longer be trusted: its process must end.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A command in the log cannot be decoded.
    #[error("the command {number} of log entry {index} is damaged or of another version")]
    Command {
        /// The entry.
        index: LogIndex,
        /// Which of its commands, from 0.
        number: usize,
    },
    /// A panic has left work half done.
    #[error("{0} panicked")]
    Panicked(&'static str),
    /// An invariant of the log does not hold.
    #[error("log entry {index} breaks an invariant: {what}")]
    Invariant {
        /// The entry.
        index: LogIndex,
        /// What is wrong.
        what: String,
    },
}

/// What an applied command changed, for the indexes in memory.
#[derive(Debug)]
pub(crate) enum Effect {
    /// A command stamped with this was applied; earlier proposals of the same leader are settled.
    Logged(Timestamp),
    Prepared {
        txn: TxnId,
        record: PrepareRecord,
        staged: Option<StagedRecord>,
    },
    /// A transaction ended. When it was committed, `at` is its outcome's timestamp; `span` holds installed staged writes.
    Ended {
        txn: TxnId,
        outcome: Outcome,
        at: Timestamp,
        keys: Vec<Bytes>,
        span: Option<Span>,
    },
    /// Staged writes came or went.
    Staged,
    /// Watermarks or incarnations of gateways were raised.
    Thresholds,
    /// Rows are to be hashed as they are now.
    Checkpoint {
        nonce: u64,
    },
}

/// Applies one call's entries.
pub(crate) struct Applier<'a> {
    store: &'a Store,
    replicated: &'a mut Replicated,
    breaks: &'a Breaks,
    index: LogIndex,
    batch: Batch,
    // What this batch writes, for the commands after it.
    rows: HashMap<Bytes, Bytes>,
    outcomes: HashMap<TxnId, Outcome>,
    prepared: HashMap<TxnId, PrepareRecord>,
    effects: Vec<Effect>,
}

/// Called whenever a batch was written: with what holds from now on.
pub(crate) type Publish<'a> = &'a mut dyn FnMut(&Replicated, Vec<Effect>);

impl<'a> Applier<'a> {
    pub(crate) fn new(store: &'a Store, replicated: &'a mut Replicated, breaks: &'a Breaks) -> Self {
        let index = replicated.applied;
        Applier {
            store,
            replicated,
            breaks,
            index,
            batch: Batch::default(),
            rows: HashMap::new(),
            outcomes: HashMap::new(),
            prepared: HashMap::new(),
            effects: Vec::new(),
        }
    }

    /// Applies the entries, stores the raft state with the last batch, and returns the replies.
    pub(crate) fn run(
        mut self,
        entries: &[AppliedEntry],
        raft_state: Bytes,
        publish: Publish<'_>,
    ) -> Result<Vec<Vec<Bytes>>, Fatal> {
        let mut replies = Vec::with_capacity(entries.len());
        for entry in entries {
            self.index = entry.index;
            if entry.index > self.replicated.applied + 1 {
                (self.replicated.applied, self.replicated.partial) = (entry.index - 1, 0);
            }
            let mut entry_replies = Vec::with_capacity(entry.commands.len());
            let skip = if entry.index <= self.replicated.applied {
                entry.commands.len()
            } else if entry.index == self.replicated.applied + 1 {
                self.replicated.partial as usize
            } else {
                0
            };
            for (number, command) in entry.commands.iter().enumerate() {
                let applied = if number < skip {
                    Applied::Ignored
                } else {
                    let applied = self.command(entry.term, number, command, publish)?;
                    self.replicated.partial = number as u32 + 1;
                    applied
                };
                entry_replies.push(applied.encode());
            }
            if entry.index > self.replicated.applied {
                self.replicated.applied = entry.index;
                self.replicated.partial = 0;
            }
            replies.push(entry_replies);
        }
        self.batch.put_raft_state(raft_state);
        self.cut(publish)?;
        Ok(replies)
    }

    /// Writes what was collected so far, and makes it known.
    fn cut(&mut self, publish: Publish<'_>) -> Result<(), Fatal> {
        let mut batch = std::mem::take(&mut self.batch);
        batch.put_position(self.replicated);
        self.store.write(batch)?;
        self.rows.clear();
        self.outcomes.clear();
        self.prepared.clear();
        publish(self.replicated, std::mem::take(&mut self.effects));
        Ok(())
    }

    fn command(
        &mut self,
        entry_term: Term,
        number: usize,
        command: &Bytes,
        publish: Publish<'_>,
    ) -> Result<Applied, Fatal> {
        let malformed = |_: Malformed| Fatal::Command { index: self.index, number };
        let Logged { term, at, command } = Logged::decode(command.clone()).map_err(malformed)?;
        if term != entry_term && !self.breaks.validated_term {
            return Ok(Applied::Ignored);
        }
        if at <= self.replicated.logged && !self.breaks.any() {
            return Err(self.invariant(format!("its timestamp {at} is not above {}", self.replicated.logged)));
        }
        let applied = match command {
            Command::Commit { txn, writes } => self.commit(txn, at, writes)?,
            Command::Prepare { txn, record } => self.prepare(txn, record, publish)?,
            Command::Stage { txn, batch, writes } => self.stage(txn, batch, writes)?,
            Command::Resolve { txn, outcome } => self.resolve(txn, outcome, at, publish)?,
            Command::Refuse { txn } => self.refuse(txn, at, publish)?,
            Command::Upkeep(upkeep) => self.upkeep(&upkeep, at, publish)?,
            Command::Checkpoint { nonce } => {
                self.cut(publish)?;
                publish(self.replicated, vec![Effect::Checkpoint { nonce }]);
                Applied::Done
            }
        };
        // Only now: a batch cut in between carries the timestamp of the last whole command, as it carries its position.
        self.replicated.logged = self.replicated.logged.max(at);
        self.effects.push(Effect::Logged(at));
        Ok(applied)
    }

    /// What is already settled about a transaction that wants to write.
    fn settled(&self, txn: TxnId) -> Result<Option<Applied>, Fatal> {
        if self.replicated.is_forgotten(txn) {
            return Ok(Some(Applied::Forgotten));
        }
        if let Some(outcome) = self.outcome(txn)? {
            return Ok(Some(Applied::Ended(outcome)));
        }
        if let Some(at) = self.replicated.prepared.get(&txn) {
            return Ok(Some(Applied::Prepared(*at)));
        }
        // The fence is for good, so nothing needs to be recorded.
        let fenced = self.replicated.has_ended(txn.gateway());
        Ok(fenced.then_some(Applied::Ended(Outcome::Aborted)))
    }

    fn outcome(&self, txn: TxnId) -> Result<Option<Outcome>, StoreError> {
        match self.outcomes.get(&txn) {
            Some(outcome) => Ok(Some(*outcome)),
            None => self.store.outcome(txn),
        }
    }

    fn commit(&mut self, txn: TxnId, at: Timestamp, writes: Vec<LoggedWrite>) -> Result<Applied, Fatal> {
        if let Some(settled) = self.settled(txn)? {
            return Ok(settled);
        }
        let mut keys = Vec::with_capacity(writes.len());
        for write in writes {
            keys.push(Bytes::copy_from_slice(&write.key));
            let head = VersionHead::single(at, txn, write.value.is_none());
            self.install(write.key, write.value.as_deref(), head)?;
        }
        let outcome = Outcome::Committed(at);
        self.end(txn, outcome, at, keys, None);
        Ok(Applied::Ended(outcome))
    }

    fn prepare(&mut self, txn: TxnId, record: PrepareRecord, publish: Publish<'_>) -> Result<Applied, Fatal> {
        let again = self.breaks.first_prepare && self.replicated.prepared.contains_key(&txn);
        if let Some(settled) = self.settled(txn)?
            && !again
        {
            return Ok(settled);
        }
        let staged = self.replicated.staged.get(&txn).cloned();
        if staged.as_ref().map_or(0, |staged| staged.batches) != record.staged {
            // Some batch never arrived: what is there cannot become visible.
            self.drop_staged(txn, publish)?;
            self.end(txn, Outcome::Aborted, record.at, Vec::new(), None);
            return Ok(Applied::Ended(Outcome::Aborted));
        }
        let at = record.at;
        let mut encoded = Vec::new();
        record.encode_to(&mut encoded);
        self.batch.put(Family::Prepared, record::txn_key(txn).to_vec(), encoded);
        self.replicated.prepared.insert(txn, at);
        self.prepared.insert(txn, record.clone());
        self.effects.push(Effect::Prepared { txn, record, staged });
        Ok(Applied::Prepared(at))
    }

    fn stage(&mut self, txn: TxnId, batch: u32, writes: Vec<LoggedWrite>) -> Result<Applied, Fatal> {
        if let Some(settled) = self.settled(txn)? {
            return Ok(settled);
        }
        let batches = self.replicated.staged.get(&txn).map_or(0, |staged| staged.batches);
        if batch < batches {
            return Ok(Applied::Done);
        }
        if batch > batches || writes.is_empty() {
            return Ok(Applied::Ignored);
        }
        let first = writes.iter().map(|write| &write.key).min().expect("there is at least one write").clone();
        let last = writes.iter().map(|write| &write.key).max().expect("there is at least one write").clone();
        let (first, last) = (Bytes::copy_from_slice(&first), Bytes::copy_from_slice(&last));
        for write in writes {
            self.batch.put(Family::Staged, write.key, record::encode_staged(txn, write.value.as_deref()));
        }
        let staged = match self.replicated.staged.get(&txn) {
            None => StagedRecord { batches: 1, first, last },
            Some(old) => StagedRecord {
                batches: old.batches + 1,
                first: first.min(old.first.clone()),
                last: last.max(old.last.clone()),
            },
        };
        self.batch.put_staged_record(txn, &staged);
        self.replicated.staged.insert(txn, staged);
        self.effects.push(Effect::Staged);
        Ok(Applied::Done)
    }

    fn resolve(&mut self, txn: TxnId, outcome: Outcome, at: Timestamp, publish: Publish<'_>) -> Result<Applied, Fatal> {
        if !self.replicated.prepared.contains_key(&txn) {
            return match outcome {
                Outcome::Aborted => self.refuse(txn, at, publish),
                // Only what is prepared everywhere is committed: the record must be here, unless it is forgotten.
                Outcome::Committed(_) => Ok(self.settled(txn)?.unwrap_or(Applied::Ignored)),
            };
        }
        let record = match self.prepared.get(&txn) {
            Some(record) => record.clone(),
            None => {
                self.store.prepared(txn)?.ok_or_else(|| self.invariant(format!("the record of {txn:?} is gone")))?
            }
        };
        let mut keys = Vec::new();
        let mut span = None;
        let mut resolved = at;
        match outcome {
            Outcome::Aborted => self.drop_staged(txn, publish)?,
            Outcome::Committed(commit) => {
                if commit < record.at {
                    return Err(
                        self.invariant(format!("{txn:?} is prepared at {} and committed at {commit}", record.at))
                    );
                }
                resolved = at.max(commit);
                let head = VersionHead { prepare: record.at, commit, outcome: resolved, txn, deleted: false };
                // These first: a staged write of the same key then finds the key written, and is passed over.
                for write in record.writes {
                    keys.push(Bytes::copy_from_slice(&write.key));
                    let head = VersionHead { deleted: write.value.is_none(), ..head };
                    self.install(write.key, write.value.as_deref(), head)?;
                }
                span = self.install_staged(txn, head, publish)?;
                if !self.breaks.outcome_clock {
                    self.replicated.logged = self.replicated.logged.max(resolved);
                }
            }
        }
        self.batch.delete(Family::Prepared, record::txn_key(txn).to_vec());
        self.replicated.prepared.remove(&txn);
        self.prepared.remove(&txn);
        self.end(txn, outcome, resolved, keys, span);
        Ok(Applied::Ended(outcome))
    }

    fn refuse(&mut self, txn: TxnId, at: Timestamp, publish: Publish<'_>) -> Result<Applied, Fatal> {
        if let Some(settled) = self.settled(txn)? {
            return Ok(settled);
        }
        self.drop_staged(txn, publish)?;
        self.end(txn, Outcome::Aborted, at, Vec::new(), None);
        Ok(Applied::Ended(Outcome::Aborted))
    }

    fn end(&mut self, txn: TxnId, outcome: Outcome, at: Timestamp, keys: Vec<Bytes>, span: Option<Span>) {
        self.batch.put(Family::Outcomes, record::txn_key(txn).to_vec(), record::encode_outcome(outcome));
        self.outcomes.insert(txn, outcome);
        self.effects.push(Effect::Ended { txn, outcome, at, keys, span });
    }

    fn upkeep(&mut self, upkeep: &Upkeep, at: Timestamp, publish: Publish<'_>) -> Result<Applied, Fatal> {
        if upkeep.horizon > self.replicated.horizon || upkeep.garbage > self.replicated.garbage {
            self.replicated.horizon = self.replicated.horizon.max(upkeep.horizon);
            self.replicated.garbage = self.replicated.garbage.max(upkeep.garbage);
            self.batch.put_thresholds(self.replicated);
        }
        for (gateway, below) in &upkeep.finished_below {
            let known = self.replicated.finished_below.entry(*gateway).or_insert(*below);
            *known = (*known).max(*below);
            let below = *known;
            self.batch.put_finished_below(*gateway, below);
        }
        for gateway in &upkeep.started {
            let known = self.replicated.started.entry(gateway.instance()).or_insert(0);
            *known = (*known).max(gateway.incarnation());
            let incarnation = *known;
            self.batch.put_started(gateway.instance(), incarnation);
        }
        if !upkeep.finished_below.is_empty() || !upkeep.started.is_empty() {
            self.effects.push(Effect::Thresholds);
        }
        // Nobody will prepare what an ended or finished transaction has staged.
        let abandoned: Vec<TxnId> =
            self.replicated.staged.keys().copied().filter(|txn| self.is_abandoned(*txn)).collect();
        for txn in abandoned {
            self.drop_staged(txn, publish)?;
            self.effects.push(Effect::Ended { txn, outcome: Outcome::Aborted, at, keys: Vec::new(), span: None });
        }
        Ok(Applied::Done)
    }

    fn is_abandoned(&self, txn: TxnId) -> bool {
        let over = self.replicated.is_forgotten(txn) || self.replicated.has_ended(txn.gateway());
        over && !self.replicated.prepared.contains_key(&txn)
    }

    /// Writes a version and moves the one before it to history.
    fn install(&mut self, key: Bytes, value: Option<&[u8]>, head: VersionHead) -> Result<(), Fatal> {
        let old = match self.rows.get(&key) {
            Some(old) => Some(old.clone()),
            None => self.store.get(Family::Rows, &key)?,
        };
        if let Some(old) = old {
            let before = VersionHead::decode(&old).ok_or_else(|| self.store.malformed(Family::Rows))?;
            if before.prepare >= head.prepare {
                if before.txn == head.txn && before.prepare == head.prepare {
                    return Ok(());
                }
                if !self.breaks.any() {
                    let what = format!(
                        "a version of {:?} would be prepared at {} after {}",
                        key, head.prepare, before.prepare
                    );
                    return Err(self.invariant(what));
                }
            }
            let moved = record::history_value(head.commit, &old);
            self.batch.put(Family::History, record::history_key(&key, before.prepare), moved);
        }
        let version = Bytes::from(head.encode(value));
        self.batch.put(Family::Rows, key.clone(), version.clone());
        self.rows.insert(key, version);
        Ok(())
    }

    /// Installs all staged writes of a transaction, in chunks. Returns the span they lie in.
    fn install_staged(&mut self, txn: TxnId, head: VersionHead, publish: Publish<'_>) -> Result<Option<Span>, Fatal> {
        let Some(staged) = self.replicated.staged.get(&txn).cloned() else { return Ok(None) };
        self.cut(publish)?;
        let end = next_key(&staged.last);
        let mut from = staged.first.clone();
        loop {
            let chunk = self.staged_chunk(txn, &from, &end)?;
            for write in chunk.writes {
                let head = VersionHead { deleted: write.value.is_none(), ..head };
                self.install(write.key, write.value.as_deref(), head)?;
            }
            let next = chunk.next.unwrap_or_else(|| end.clone());
            self.delete_staged(txn, &from, &next)?;
            // Without a position: the command is not done, and a replay finds the rest of its staged writes.
            let batch = std::mem::take(&mut self.batch);
            self.store.write(batch)?;
            self.rows.clear();
            crate::failpoint::hit("element.while_installing");
            if next == end {
                break;
            }
            from = next;
        }
        self.forget_staged(txn);
        Ok(Some(Span::range(staged.first, end)))
    }

    /// Drops all staged writes of a transaction.
    fn drop_staged(&mut self, txn: TxnId, publish: Publish<'_>) -> Result<(), Fatal> {
        let Some(staged) = self.replicated.staged.get(&txn).cloned() else { return Ok(()) };
        self.cut(publish)?;
        let end = next_key(&staged.last);
        let mut from = staged.first;
        while self.replicated.staged.len() > 1 {
            let chunk = self.staged_chunk(txn, &from, &end)?;
            let next = chunk.next.unwrap_or_else(|| end.clone());
            self.delete_staged(txn, &from, &next)?;
            let batch = std::mem::take(&mut self.batch);
            self.store.write(batch)?;
            from = next;
            if from == end {
                break;
            }
        }
        if from < end {
            self.batch.delete_range(Family::Staged, from, end);
        }
        self.forget_staged(txn);
        Ok(())
    }

    fn forget_staged(&mut self, txn: TxnId) {
        self.replicated.staged.remove(&txn);
        self.batch.delete_staged_record(txn);
        self.effects.push(Effect::Staged);
    }

    /// Deletes the transaction's staged writes of `[from, to)`: as one range if no others can lie in it.
    fn delete_staged(&mut self, txn: TxnId, from: &Bytes, to: &Bytes) -> Result<(), Fatal> {
        if self.replicated.staged.len() == 1 {
            self.batch.delete_range(Family::Staged, from.clone(), to.clone());
            return Ok(());
        }
        let range = KeyRange { start: Some(from), end: Some(to), reverse: false };
        let batch = &mut self.batch;
        self.store.kv().scan(Family::Staged, range, &mut |key, entry| {
            let (owner, _) = record::decode_staged(entry).map_err(|_| self.store.malformed(Family::Staged))?;
            if owner == txn {
                batch.delete(Family::Staged, Bytes::copy_from_slice(key));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(())
    }

    /// Some of the transaction's staged writes of `[from, end)`, in key order.
    fn staged_chunk(&self, txn: TxnId, from: &Bytes, end: &Bytes) -> Result<Chunk, Fatal> {
        let mut chunk = Chunk { writes: Vec::new(), next: None };
        let mut bytes = 0;
        let range = KeyRange { start: Some(from), end: Some(end), reverse: false };
        self.store.kv().scan(Family::Staged, range, &mut |key, entry| {
            let (owner, value) = record::decode_staged(entry).map_err(|_| self.store.malformed(Family::Staged))?;
            if owner != txn {
                return Ok(ControlFlow::Continue(()));
            }
            if bytes >= CHUNK_BYTES || chunk.writes.len() >= CHUNK_WRITES {
                chunk.next = Some(Bytes::copy_from_slice(key));
                return Ok(ControlFlow::Break(()));
            }
            bytes += key.len() + value.map_or(0, <[u8]>::len);
            let (key, value) = (Bytes::copy_from_slice(key), value.map(Bytes::copy_from_slice));
            chunk.writes.push(LoggedWrite { key, value });
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(chunk)
    }

    fn invariant(&self, what: String) -> Fatal {
        Fatal::Invariant { index: self.index, what }
    }
}

struct Chunk {
    writes: Vec<LoggedWrite>,
    /// The first write beyond the chunk.
    next: Option<Bytes>,
}

/// The first key after a key.
#[must_use]
pub fn next_key(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}
