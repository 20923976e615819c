//! One group's log as openraft sees it, over the shared store.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::{LogState, OptionalSend};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::store::{LogStore, entry_key, purged_key, vote_key};
use super::writer::Operation;
use crate::codec::{self, LogIdForm, VoteForm};
use crate::types::{GroupId, RaftEntry, RaftLogId, RaftVote, Types};

/// Most bytes that one read for replication or for applying returns (one entry may exceed it); more follow in the next.
const READ_BYTES_MAX: usize = 1 << 20;

/// Entries deleted by one step of a purge.
const PURGE_STEP: u64 = 4096;

/// What all handles of one group share.
pub(super) struct GroupState {
    tail: Mutex<Tail>,
    /// Apart from the tail, since proofs ask for it all the time.
    vote: Mutex<Option<VoteForm>>,
}

/// The end of a group's log in memory.
struct Tail {
    purged: Option<RaftLogId>,
    /// Index of the first entry, or of the one that may come first.
    first: u64,
    last: Option<RaftLogId>,
    /// Consecutive entries that end at `last`, with the sizes of their forms; never without those that are not flushed yet.
    entries: VecDeque<(RaftEntry, usize)>,
    bytes: usize,
    /// Index up to which entries are on disk.
    flushed: Option<u64>,
}

impl Tail {
    fn first_cached(&self) -> Option<u64> {
        self.entries.front().map(|(e, _)| e.log_id.index)
    }

    /// Lets go of what is on disk and beyond `bytes_max`.
    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some((entry, size)) = self.entries.front()
            && Some(entry.log_id.index) <= self.flushed
        {
            self.bytes -= size;
            self.entries.pop_front();
        }
    }

    /// Cheap invariants, checked after each change.
    fn check(&self) {
        if let (Some((first, _)), Some(last)) = (self.entries.front(), &self.last) {
            assert_eq!(
                first.log_id.index + self.entries.len() as u64,
                last.index + 1,
                "the cached tail ends at the last entry, without holes"
            );
        }
        assert!(self.purged <= self.last, "nothing is purged beyond the last entry");
        assert!(self.purged.as_ref().is_none_or(|id| id.index < self.first), "what is purged is not in the log");
    }
}

impl GroupState {
    pub(super) fn new(vote: Option<VoteForm>, purged: Option<RaftLogId>, last: Option<RaftLogId>) -> Self {
        let last = last.max(purged);
        let flushed = last.as_ref().map(|id| id.index);
        let first = purged.as_ref().map_or(0, |id| id.index + 1);
        let tail = Tail { purged, first, last, entries: VecDeque::new(), bytes: 0, flushed };
        Self { tail: Mutex::new(tail), vote: Mutex::new(vote) }
    }
}

/// The log of one group; clones share it.
#[derive(Clone)]
pub struct GroupLog {
    store: Arc<LogStore>,
    id: GroupId,
    state: Arc<GroupState>,
}

impl GroupLog {
    pub(super) fn new(store: Arc<LogStore>, id: GroupId, state: Arc<GroupState>) -> Self {
        Self { store, id, state }
    }

    /// Index of the last entry, if there is any.
    pub fn last_index(&self) -> Option<u64> {
        self.state.tail.lock().last.as_ref().map(|id| id.index)
    }

    /// Index of the last purged entry, if any was purged.
    pub fn purged_index(&self) -> Option<u64> {
        self.state.tail.lock().purged.as_ref().map(|id| id.index)
    }

    /// The vote that this element holds, as it was last issued, durable or not. Never older than what any peer was told, so it can prove
    /// leadership (see `proof`).
    pub(crate) fn issued_vote(&self) -> Option<VoteForm> {
        *self.state.vote.lock()
    }

    /// Writes and waits until it is durable.
    async fn write(&self, puts: Vec<(Vec<u8>, Bytes)>, deletes: Vec<Vec<u8>>) -> Result<(), io::Error> {
        let (done, written) = oneshot::channel();
        let done = Box::new(move |result| drop(done.send(result)));
        self.store.writer.submit(Operation { puts, deletes, done });
        written.await.map_err(|_| io::Error::other("the log writer has ended"))?
    }

    /// Consecutive entries from the range, up to about `bytes_max` bytes. They begin at `start`, or behind the purged ones.
    fn read(&self, start: u64, end: u64, bytes_max: usize) -> Result<Vec<RaftEntry>, io::Error> {
        let mut cached = Vec::new();
        let (start, disk_end) = {
            let tail = self.state.tail.lock();
            let end = end.min(tail.last.as_ref().map_or(0, |id| id.index + 1));
            let start = start.max(tail.first);
            if start >= end {
                return Ok(Vec::new());
            }
            let first = tail.first_cached().unwrap_or(end).clamp(start, end);
            let mut size = 0;
            if let Some(cached_first) = tail.first_cached().filter(|cached_first| *cached_first <= first) {
                for (entry, bytes) in tail.entries.range((first - cached_first) as usize..(end - cached_first) as usize)
                {
                    cached.push(entry.clone());
                    size += bytes;
                    if size >= bytes_max {
                        break;
                    }
                }
            }
            (start, first)
        };
        if start >= disk_end {
            return Ok(cached);
        }
        let mut entries = self.store.read(self.id, start, disk_end, bytes_max)?;
        let first_found = entries.first().map_or(disk_end, |e| e.log_id.index);
        if first_found != start && first_found > self.state.tail.lock().first {
            return Err(self.store.damaged(self.id, start, "is missing"));
        }
        let complete = entries.last().is_none_or(|e| e.log_id.index + 1 == disk_end);
        if complete && entries.iter().map(codec::entry_size).sum::<usize>() < bytes_max {
            entries.extend(cached);
        }
        Ok(entries)
    }
}

/// The range as `start..end`.
fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(&index) => index,
        Bound::Excluded(&index) => index + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&index) => index + 1,
        Bound::Excluded(&index) => index,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<Types> for GroupLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<RaftEntry>, io::Error> {
        let (start, end) = bounds(&range);
        self.read(start, end, usize::MAX)
    }

    /// Reads in pieces: after a restart the range to apply is as long as the log.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = Result<RaftEntry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let pieces = (self.clone(), start, Vec::new().into_iter());
        futures::stream::unfold(pieces, move |(log, mut at, mut piece)| async move {
            if let Some(entry) = piece.next() {
                return Some((Ok(entry), (log, at, piece)));
            }
            match log.read(at, end, READ_BYTES_MAX) {
                Ok(entries) => {
                    at = entries.last()?.log_id.index + 1;
                    piece = entries.into_iter();
                    let entry = piece.next()?;
                    Some((Ok(entry), (log, at, piece)))
                }
                Err(error) => Some((Err(error), (log, end, piece))),
            }
        })
    }

    /// Nothing if the range begins below the purge mark: replication must not take what follows for what it asked for.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>, io::Error> {
        let entries = self.read(start, end, READ_BYTES_MAX)?;
        Ok(if entries.first().is_some_and(|e| e.log_id.index == start) { entries } else { Vec::new() })
    }

    async fn read_vote(&mut self) -> Result<Option<RaftVote>, io::Error> {
        Ok(self.issued_vote().map(Into::into))
    }
}

impl RaftLogStorage<Types> for GroupLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let tail = self.state.tail.lock();
        Ok(LogState { last_purged_log_id: tail.purged, last_log_id: tail.last })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> Result<(), io::Error> {
        let form = VoteForm::from(vote);
        // Visible before it is durable and before any peer hears of it, so that a leadership proof can only err on the safe side.
        *self.state.vote.lock() = Some(form);
        self.write(vec![(vote_key(self.id), codec::to_bytes(&form))], Vec::new()).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut puts = Vec::new();
        let mut kept = Vec::new();
        let mut bytes = 0;
        for entry in entries {
            let mut form = BytesMut::with_capacity(codec::entry_size(&entry));
            codec::put_entry(&entry, &mut form);
            let form = form.freeze();
            bytes += form.len();
            kept.push((codec::share(entry, &form), form.len()));
            puts.push((entry_key(self.id, kept[kept.len() - 1].0.log_id.index), form));
        }
        self.store.appended_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        let last = kept.last().map(|(e, _)| e.log_id.index);
        {
            let mut tail = self.state.tail.lock();
            for (entry, size) in kept {
                match &tail.last {
                    Some(last) => assert_eq!(entry.log_id.index, last.index + 1, "entries are appended without holes"),
                    None => tail.first = entry.log_id.index,
                }
                tail.last = Some(entry.log_id);
                tail.bytes += size;
                tail.entries.push_back((entry, size));
            }
            tail.check();
        }
        let state = self.state.clone();
        let tail_bytes = self.store.options.tail_bytes;
        let done = Box::new(move |result: Result<(), io::Error>| {
            if result.is_ok() {
                let mut tail = state.tail.lock();
                // Whatever cut this append's entries off again comes behind it in the queue, and waits for it.
                tail.flushed = last.max(tail.flushed).min(tail.last.as_ref().map(|id| id.index));
                tail.shrink(tail_bytes);
            }
            callback.io_completed(result);
        });
        self.store.writer.submit(Operation { puts, deletes: Vec::new(), done });
        Ok(())
    }

    async fn truncate_after(&mut self, last_log_id: Option<RaftLogId>) -> Result<(), io::Error> {
        let keep_to = last_log_id.as_ref().map_or(0, |id| id.index + 1);
        let deletes = {
            let mut tail = self.state.tail.lock();
            let Some(last) = tail.last.as_ref().map(|id| id.index) else { return Ok(()) };
            if keep_to > last {
                return Ok(());
            }
            while tail.entries.back().is_some_and(|(e, _)| e.log_id.index >= keep_to) {
                let (_, size) = tail.entries.pop_back().expect("the back was just looked at");
                tail.bytes -= size;
            }
            tail.flushed = tail.flushed.min(last_log_id.as_ref().map(|id| id.index));
            tail.last = last_log_id;
            tail.check();
            // From the end backwards, so that a cut write leaves no hole.
            (keep_to..=last).rev().map(|index| entry_key(self.id, index)).collect()
        };
        self.write(Vec::new(), deletes).await
    }

    /// Does not wait for the disk: the consensus core would wait with it, and what a crash leaves below the purge mark, or the whole purge
    /// undone, harms nobody.
    async fn purge(&mut self, log_id: RaftLogId) -> Result<(), io::Error> {
        let (mut from, end) = {
            let mut tail = self.state.tail.lock();
            if Some(&log_id) <= tail.purged.as_ref() {
                return Ok(());
            }
            let from = tail.first;
            let end = tail.last.as_ref().map_or(0, |last| last.index.min(log_id.index) + 1);
            while tail.entries.front().is_some_and(|(e, _)| e.log_id.index <= log_id.index) {
                let (_, size) = tail.entries.pop_front().expect("the front was just looked at");
                tail.bytes -= size;
            }
            tail.purged = Some(log_id);
            tail.first = log_id.index + 1;
            tail.last = tail.last.take().max(Some(log_id));
            tail.flushed = tail.flushed.max(Some(log_id.index));
            tail.check();
            (from, end)
        };
        let submit = |puts, deletes| {
            self.store.writer.submit(Operation { puts, deletes, done: Box::new(drop) });
        };
        // The mark first: entries below it are gone for every reader, whatever a crash leaves of them.
        submit(vec![(purged_key(self.id), codec::to_bytes(&LogIdForm::from(&log_id)))], Vec::new());
        while from < end {
            let to = end.min(from + PURGE_STEP);
            submit(Vec::new(), (from..to).map(|index| entry_key(self.id, index)).collect());
            from = to;
        }
        Ok(())
    }
}
