//! Reads: at the transaction's snapshot, or under locks at the newest values.
//!
//! A mere reader asks the leader what a replica must have applied, together with all other sessions, and reads at this
//! instance's own element. Whoever writes anyway asks the leader for the rows at once, without proof: commit validates.

use bytes::Bytes;
use futures::stream::{FuturesUnordered, TryStreamExt};

use super::{Part, Transaction};
use crate::clock::Timestamp;
use crate::coordinator::error::TxnError;
use crate::coordinator::lane::Want;
use crate::coordinator::shared::unexpected;
use crate::protocol::{LogIndex, Operation, ReadAnswer, ReadOp, ReadResult, Reply, SetId, Span};

/// How often one read moves the snapshot past uncertain versions before it gives up (40001).
const MOVES_MAX: usize = 100;

/// What to scan: the rows of `[start, end)`.
#[derive(Clone, Debug)]
pub struct ScanRange {
    /// First key.
    pub start: Bytes,
    /// First key after the range.
    pub end: Bytes,
    /// Descending order.
    pub reverse: bool,
    /// The most stored rows of the page, at least 1; own writes come on top.
    pub rows_max: u32,
    /// Ends the page once so many bytes are in it.
    pub bytes_max: u32,
    /// Run over the rows where they are, unless the transaction has written into the range.
    pub program: Option<ScanProgram>,
}

/// A program for a scan ([`Programs`](crate::traits::Programs)), and the bounds of a page for which it is run.
#[derive(Clone, Debug)]
pub struct ScanProgram {
    /// The program.
    pub code: Bytes,
    /// The most rows that it is run over, at least 1.
    pub rows_max: u32,
    /// Ends the page once it has met so many bytes.
    pub bytes_max: u32,
}

/// A piece of a scan, own writes included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Keys and values, in the order asked for.
    pub rows: Vec<(Bytes, Bytes)>,
    /// What the program gave, if it was run, or what it says is wrong with the first row; then there are no rows.
    pub output: Option<Result<Bytes, Bytes>>,
    /// Where the next page goes on: its `start`, or descending its `end`. `None`: the range is complete.
    pub resume: Option<Bytes>,
}

fn covers((low, high): &(Bytes, Bytes), read: &ReadOp) -> bool {
    match read {
        ReadOp::Get { key } => low <= key && key <= high,
        ReadOp::Scan { start, end, .. } => start <= high && low < end,
    }
}

fn value_of(result: ReadResult) -> Result<Option<Bytes>, TxnError> {
    match result {
        ReadResult::Value(value) => Ok(value),
        page => Err(TxnError::Fatal(format!("a value was expected, {page:?} came"))),
    }
}

impl Transaction {
    /// Reads keys of one set at the snapshot, own writes included; one answer a key.
    pub async fn get(&mut self, set: SetId, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, TxnError> {
        self.usable()?;
        self.get_to_check(set, keys).await
    }

    /// [`Transaction::get`], even after a failure within a large change: to find out whether the error itself stands. Only for keys that the
    /// transaction does not write.
    pub async fn get_to_check(&mut self, set: SetId, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, TxnError> {
        let at = self.part(set);
        let own = &self.parts[at].writes;
        let reads: Vec<ReadOp> =
            keys.iter().filter(|key| own.get(key).is_none()).map(|key| ReadOp::Get { key: key.clone() }).collect();
        let mut results = self.read(at, &reads).await?.into_iter();
        let part = &mut self.parts[at];
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(own) = part.writes.get(key) {
                values.push(own.clone());
                continue;
            }
            let result = results.next().ok_or_else(|| TxnError::Fatal("a read was answered in part".into()))?;
            values.push(value_of(result)?);
            part.spans.point(key.clone());
        }
        Ok(values)
    }

    /// Reads a piece of a range of one set at the snapshot, own writes included. What it covered is validated with the rest.
    pub async fn scan(&mut self, set: SetId, range: &ScanRange) -> Result<Page, TxnError> {
        self.usable()?;
        if range.start >= range.end {
            return Ok(Page::default());
        }
        let at = self.part(set);
        let mut read = ReadOp::Scan {
            start: range.start.clone(),
            end: range.end.clone(),
            reverse: range.reverse,
            rows_max: range.rows_max.max(1),
            bytes_max: range.bytes_max,
            program: None,
        };
        // A program must neither meet a row that an own write hides, nor miss one that it makes.
        let touched =
            self.parts[at].writes.touch(&range.start, &range.end) || self.staged(at, std::slice::from_ref(&read));
        if let (false, Some(wanted), ReadOp::Scan { rows_max, bytes_max, program, .. }) =
            (touched, &range.program, &mut read)
        {
            (*rows_max, *bytes_max, *program) = (wanted.rows_max.max(1), wanted.bytes_max, Some(wanted.code.clone()));
        }
        let (rows, output, resume) = match self.read(at, std::slice::from_ref(&read)).await?.pop() {
            Some(ReadResult::Page { rows, resume }) => (rows, None, resume),
            Some(ReadResult::Output { result, resume }) => (Vec::new(), Some(result), resume),
            other => return Err(TxnError::Fatal(format!("a page was expected, {other:?} came"))),
        };
        let (start, end) = match (&resume, range.reverse) {
            (None, _) => (&range.start, &range.end),
            (Some(resume), false) => (&range.start, resume),
            (Some(resume), true) => (resume, &range.end),
        };
        let part = &mut self.parts[at];
        let rows = if output.is_some() { rows } else { part.writes.merge(rows, start, end, range.reverse) };
        part.spans.range(start.clone(), end.clone());
        Ok(Page { rows, output, resume })
    }

    /// Locks keys of one set at its leader and reads their newest values, own writes included; one answer a key. The snapshot
    /// moves up to them if everything read so far is unchanged.
    pub async fn lock_get(&mut self, set: SetId, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, TxnError> {
        self.usable()?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.unfinished();
        let at = self.part(set);
        let patience = self.patience(self.shared.config.lock_timeout);
        // Before the message leaves: also a lost one may have locked.
        self.hold(at);
        let lock = Operation::Lock { patience, keys: keys.to_vec() };
        let (safe, index, rows) = match self.shared.ask(&self.parts[at].link, self.txn(), lock).await? {
            Reply::Locked { snapshot, index, rows } if rows.len() == keys.len() => (snapshot, index, rows),
            other => return Err(unexpected("Locked", &other)),
        };
        self.validated = false;
        self.unproven = true;
        let changed = rows.iter().map(|row| row.changed).max().unwrap_or(Timestamp::ZERO);
        match self.snapshot {
            None => {
                self.set_snapshot(safe);
                self.origin = Some(set);
                self.parts[at].index = Some(index);
            }
            Some(snapshot) if changed > snapshot => self.raise(safe.max(changed)).await?,
            Some(_) => {}
        }
        let reads: Vec<ReadOp> = keys.iter().map(|key| ReadOp::Get { key: key.clone() }).collect();
        // Commit validates from the snapshot on. A leader that knows less than all there is up to it (its clock is behind, and
        // it may be deposed) has not told what the rows are at the snapshot.
        let behind = self.snapshot.is_some_and(|snapshot| safe < snapshot);
        let stored: Vec<Option<Bytes>> = if behind || self.staged(at, &reads) {
            self.parts[at].index = None;
            self.read(at, &reads).await?.into_iter().map(value_of).collect::<Result<_, _>>()?
        } else {
            rows.into_iter().map(|row| row.value).collect()
        };
        let part = &mut self.parts[at];
        for key in keys {
            part.spans.point(key.clone());
        }
        let own_or = |(key, stored)| part.writes.get(key).cloned().unwrap_or(stored);
        Ok(keys.iter().map(|key| key.as_ref()).zip(stored).map(own_or).collect())
    }

    /// Validates, with proof of leadership in every set, that everything read so far was current at one instant, so that an answer
    /// which depends on it (an error, the result of a transaction that wrote nothing) may be given. Does nothing if a single
    /// leader has proved it already.
    pub async fn validate(&mut self) -> Result<(), TxnError> {
        let (true, false, Some(snapshot)) = (self.unproven, self.validated, self.snapshot) else { return Ok(()) };
        if self.shared.config.breaks.validation {
            return Ok(());
        }
        let txn = self.txn();
        let validate = |spans| Operation::Validate { txn, snapshot, spans, raise_to: None, proof: true };
        self.validate_parts(validate).await?;
        self.validated = true;
        Ok(())
    }

    /// Takes a cut through these sets, which are all of the database, as the snapshot: what is read at it needs no validation,
    /// however much is written meanwhile (rule 17). For transactions that only read; to be called before anything is read. `false` if
    /// no cut can be had now, for instance because a set has no leader: then the transaction reads as any other does.
    pub async fn take_cut(&mut self, sets: &[SetId]) -> Result<bool, TxnError> {
        self.usable()?;
        if self.snapshot.is_some() || self.writing() || self.options.shared_locks {
            return Ok(false);
        }
        let Some(cut) = self.shared.cut(sets).await? else { return Ok(false) };
        self.set_snapshot(cut.snapshot);
        self.cut = Some(cut);
        Ok(true)
    }

    /// Moves the snapshot up if everything read so far is unchanged.
    async fn raise(&mut self, to: Timestamp) -> Result<(), TxnError> {
        let from = self.moved_from(to)?;
        let txn = self.txn();
        let validate = |spans| Operation::Validate { txn, snapshot: from, spans, raise_to: Some(to), proof: false };
        for part in &mut self.parts {
            part.index = None;
        }
        if !self.shared.config.breaks.raise {
            self.validate_parts(validate).await?;
        }
        self.set_snapshot(to);
        self.unproven = true;
        self.validated = false;
        Ok(())
    }

    /// Has all sets read from validate, at the same time, and keeps the indexes that they answer with.
    async fn validate_parts(&mut self, make: impl Fn(Vec<Span>) -> Operation) -> Result<(), TxnError> {
        let (shared, txn) = (&self.shared, self.txn());
        let make = &make;
        self.parts
            .iter_mut()
            .filter(|part| !part.spans.is_empty())
            .map(|part| async move {
                match shared.ask(&part.link, txn, make(part.spans.tidied())).await? {
                    Reply::Valid { index } => part.index = Some(index),
                    other => return Err(unexpected("Valid", &other)),
                }
                Ok(())
            })
            .collect::<FuturesUnordered<_>>()
            .try_collect::<()>()
            .await
    }

    async fn read(&mut self, at: usize, reads: &[ReadOp]) -> Result<Vec<ReadResult>, TxnError> {
        if reads.is_empty() {
            return Ok(Vec::new());
        }
        if self.options.shared_locks {
            self.lock_shared(at, reads).await?;
        }
        self.validated = false;
        for _ in 0..MOVES_MAX {
            match self.read_once(at, reads).await? {
                ReadAnswer::Rows(results) if results.len() == reads.len() => return Ok(results),
                ReadAnswer::Rows(_) => return Err(TxnError::Fatal("a read was answered in part".into())),
                ReadAnswer::Uncertain(to) => self.pass(to).await?,
            }
        }
        Err(TxnError::conflict())
    }

    fn moved_from(&self, to: Timestamp) -> Result<Timestamp, TxnError> {
        let below = |from: &Timestamp| *from < to;
        self.snapshot.filter(below).ok_or_else(|| TxnError::Fatal(format!("{:?} was to move to {to}", self.snapshot)))
    }

    /// Moves the snapshot past an uncertain version (rule 3).
    async fn pass(&mut self, to: Timestamp) -> Result<(), TxnError> {
        self.moved_from(to)?;
        if self.parts.iter().all(|part| part.spans.is_empty()) {
            // Nothing depends on the old one. It still shows all that was acknowledged when the transaction began.
            self.set_snapshot(to);
            for part in &mut self.parts {
                part.index = None;
            }
            return Ok(());
        }
        self.raise(to).await
    }

    async fn read_once(&mut self, at: usize, reads: &[ReadOp]) -> Result<ReadAnswer, TxnError> {
        if let Some(index) = self.cut_index(at)
            && !self.staged(at, reads)
        {
            return self.read_at_cut(at, index, reads).await;
        }
        let writing = self.writing();
        if self.staged(at, reads) {
            return self.read_at_leader(at, reads, writing).await;
        }
        let Some(local) = self.shared.sets.local(self.parts[at].link.set) else {
            return self.read_at_leader(at, reads, writing).await;
        };
        if !writing {
            self.ask_index(at).await?;
        }
        let (Some(snapshot), Some(index)) = (self.snapshot, self.parts[at].index) else {
            return self.read_at_leader(at, reads, writing).await;
        };
        if self.origin != Some(self.parts[at].link.set) {
            self.unproven = true;
        }
        let lag = self.shared.config.follower_lag;
        if (local.applied() >= index || local.reached(index, lag).await)
            && let Some(answer) = local.read(snapshot, false, reads)
        {
            return Ok(answer);
        }
        self.read_at_leader(at, reads, writing).await
    }

    /// What an element of the set must have applied to be read at the cut, if the snapshot is one.
    fn cut_index(&self, at: usize) -> Option<LogIndex> {
        self.cut.as_ref()?.indexes.get(&self.parts[at].link.set).copied()
    }

    async fn read_at_cut(&mut self, at: usize, index: LogIndex, reads: &[ReadOp]) -> Result<ReadAnswer, TxnError> {
        let Some(snapshot) = self.snapshot else { return Err(TxnError::Fatal("a cut without a snapshot".into())) };
        let lag = self.shared.config.follower_lag;
        if let Some(local) = self.shared.sets.local(self.parts[at].link.set)
            && (local.applied() >= index || local.reached(index, lag).await)
            && let Some(answer) = local.read(snapshot, true, reads)
        {
            return Ok(answer);
        }
        let patience = self.patience(self.shared.config.lock_timeout);
        let read = Operation::ReadCut { at: snapshot, index, patience, reads: reads.to_vec() };
        match self.shared.ask(&self.parts[at].link, self.txn(), read).await? {
            Reply::Read { results, .. } => Ok(ReadAnswer::Rows(results)),
            other => Err(unexpected("Read", &other)),
        }
    }

    /// Whether a read at the set must be proven now, being proven so far; if not, everything will have to be validated.
    fn proof(&mut self, at: usize, writing: bool) -> bool {
        let first = self.snapshot.is_none() || self.origin == Some(self.parts[at].link.set);
        let proof = first && !self.unproven && !writing;
        self.unproven |= !proof;
        proof
    }

    /// Learns what a replica must have applied to be read at the snapshot, which is a new one if there is none yet.
    async fn ask_index(&mut self, at: usize) -> Result<(), TxnError> {
        if self.snapshot.is_some() && self.parts[at].index.is_some() {
            return Ok(());
        }
        let want = Want { at: self.snapshot, proof: self.proof(at, false) };
        let Part { link, index, .. } = &mut self.parts[at];
        let lane = if want.at.is_none() && want.proof { &link.fresh } else { &link.moved };
        let given = lane.take(&self.shared, link, want).await?;
        *index = Some(given.index);
        if want.at.is_none() {
            self.origin = Some(link.set);
            self.set_snapshot(given.snapshot);
        }
        Ok(())
    }

    async fn read_at_leader(&mut self, at: usize, reads: &[ReadOp], writing: bool) -> Result<ReadAnswer, TxnError> {
        // A leader of the past may not have what this transaction staged, and commit does not validate own writes.
        let proof = self.proof(at, writing) || self.staged(at, reads);
        let patience = self.patience(self.shared.config.lock_timeout);
        let read = Operation::Read { at: self.snapshot, proof, patience, reads: reads.to_vec() };
        match self.shared.ask(&self.parts[at].link, self.txn(), read).await? {
            Reply::Read { snapshot, index, results } => {
                if self.snapshot.is_none() {
                    self.origin = Some(self.parts[at].link.set);
                    self.set_snapshot(snapshot);
                }
                self.parts[at].index = Some(index);
                Ok(ReadAnswer::Rows(results))
            }
            Reply::Uncertain(to) => Ok(ReadAnswer::Uncertain(to)),
            other => Err(unexpected("Read", &other)),
        }
    }

    /// Locks what is about to be read against writers and moves the snapshot up to now: what was read before is locked too, so
    /// it is unchanged.
    async fn lock_shared(&mut self, at: usize, reads: &[ReadOp]) -> Result<(), TxnError> {
        self.unfinished();
        let patience = self.patience(self.shared.config.lock_timeout);
        self.hold(at);
        let span = |read: &ReadOp| match read {
            ReadOp::Get { key } => Span::key(key.clone()),
            ReadOp::Scan { start, end, .. } => Span::range(start.clone(), end.clone()),
        };
        let lock = Operation::LockShared { patience, spans: reads.iter().map(span).collect() };
        match self.shared.ask(&self.parts[at].link, self.txn(), lock).await? {
            Reply::Done => {}
            other => return Err(unexpected("Done", &other)),
        }
        self.unproven = true;
        let link = &self.parts[at].link;
        let now = self.shared.snapshot(link, Want { at: None, proof: false }).await?;
        match self.snapshot {
            Some(snapshot) if now.snapshot <= snapshot => {}
            Some(_) => {
                self.raise(now.snapshot).await?;
                self.parts[at].index = Some(now.index);
            }
            None => {
                self.origin = Some(link.set);
                self.set_snapshot(now.snapshot);
                self.parts[at].index = Some(now.index);
            }
        }
        Ok(())
    }

    /// Whether something that the read covers was staged by this transaction before.
    fn staged(&self, at: usize, reads: &[ReadOp]) -> bool {
        self.parts[at].staged_keys.as_ref().is_some_and(|keys| reads.iter().any(|read| covers(keys, read)))
    }
}
