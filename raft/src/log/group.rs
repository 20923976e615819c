//! One group's log as openraft sees it, over the shared store.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::{LogState, OptionalSend};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::store::{LogStore, entry_key, purged_key, vote_key};
use super::writer::Operation;
use crate::codec::{self, LogIdForm, VoteForm};
use crate::types::{GroupId, RaftEntry, RaftLogId, RaftVote, Types};

/// Most bytes that one read for replication returns; more follow in the next request.
const READ_BYTES_MAX: usize = 1 << 20;

/// Entries deleted by one step of a purge.
const PURGE_STEP: u64 = 4096;

/// What all handles of one group share.
pub(super) struct GroupState {
    pub(super) tail: Mutex<Tail>,
}

/// The end of a group's log in memory.
pub(super) struct Tail {
    pub(super) vote: Option<VoteForm>,
    purged: Option<RaftLogId>,
    last: Option<RaftLogId>,
    /// Consecutive entries that end at `last`; never without those that are not flushed yet.
    entries: VecDeque<(RaftEntry, usize)>,
    bytes: usize,
    /// Index up to which entries are on disk.
    flushed: Option<u64>,
}

impl Tail {
    fn first_cached(&self) -> Option<u64> {
        self.entries.front().map(|(e, _)| e.log_id.index)
    }

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
    }
}

impl GroupState {
    pub(super) fn new(vote: Option<VoteForm>, purged: Option<RaftLogId>, last: Option<RaftLogId>) -> Self {
        let last = last.max(purged.clone());
        let flushed = last.as_ref().map(|id| id.index);
        Self { tail: Mutex::new(Tail { vote, purged, last, entries: VecDeque::new(), bytes: 0, flushed }) }
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

    async fn write(&self, puts: Vec<(Vec<u8>, Vec<u8>)>, deletes: Vec<Vec<u8>>) -> Result<(), io::Error> {
        let (done, written) = oneshot::channel();
        let done = Box::new(move |result| drop(done.send(result)));
        self.store.writer.submit(Operation { puts, deletes, done });
        written.await.map_err(|_| io::Error::other("the log writer has ended"))?
    }

    fn read(&self, start: u64, end: u64, bytes_max: usize) -> Result<Vec<RaftEntry>, io::Error> {
        let mut cached = Vec::new();
        let disk_end = {
            let tail = self.state.tail.lock();
            let end = end.min(tail.last.as_ref().map_or(0, |id| id.index + 1));
            let start = start.max(tail.purged.as_ref().map_or(0, |id| id.index + 1));
            if start >= end {
                return Ok(Vec::new());
            }
            let first = tail.first_cached().unwrap_or(end).clamp(start, end);
            let mut size = 0;
            if let Some(cached_first) = tail.first_cached() {
                for (entry, bytes) in tail.entries.range((first - cached_first) as usize..(end - cached_first) as usize) {
                    cached.push(entry.clone());
                    size += bytes;
                    if size >= bytes_max {
                        break;
                    }
                }
            }
            first
        };
        if start >= disk_end {
            return Ok(cached);
        }
        let mut entries = self.store.read(self.id, start, disk_end, bytes_max)?;
        let complete = entries.last().is_some_and(|e| e.log_id.index + 1 == disk_end);
        if complete && entries.iter().map(codec::entry_size).sum::<usize>() < bytes_max {
            entries.extend(cached);
        }
        Ok(entries)
    }
}

impl RaftLogReader<Types> for GroupLog {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<RaftEntry>, io::Error> {
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
        self.read(start, end, usize::MAX)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>, io::Error> {
        self.read(start, end, READ_BYTES_MAX)
    }

    async fn read_vote(&mut self) -> Result<Option<RaftVote>, io::Error> {
        Ok(self.state.tail.lock().vote.map(Into::into))
    }
}

impl RaftLogStorage<Types> for GroupLog {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, io::Error> {
        let tail = self.state.tail.lock();
        Ok(LogState { last_purged_log_id: tail.purged.clone(), last_log_id: tail.last.clone() })
    }

    async fn get_log_reader(&mut self) -> Self::LogReader {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> Result<(), io::Error> {
        let form = VoteForm::from(vote);
        // Visible before it is durable and before any peer hears of it, so that a leadership proof can only err on the safe side.
        self.state.tail.lock().vote = Some(form);
        self.write(vec![(vote_key(self.id), codec::to_bytes(&form).to_vec())], Vec::new()).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut puts = Vec::new();
        let mut last = None;
        {
            let mut tail = self.state.tail.lock();
            let mut form = BytesMut::new();
            for entry in entries {
                let index = entry.log_id.index;
                if let Some(previous) = &tail.last {
                    assert_eq!(index, previous.index + 1, "entries are appended without holes");
                }
                form.clear();
                codec::put_entry(&entry, &mut form);
                self.store.appended_bytes.fetch_add(form.len() as u64, Ordering::Relaxed);
                puts.push((entry_key(self.id, index), form.to_vec()));
                tail.last = Some(entry.log_id.clone());
                tail.bytes += form.len();
                tail.entries.push_back((entry, form.len()));
                last = Some(index);
            }
            tail.check();
        }
        let state = self.state.clone();
        let tail_bytes = self.store.options.tail_bytes;
        let done = Box::new(move |result: Result<(), io::Error>| {
            if result.is_ok() {
                let mut tail = state.tail.lock();
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

    async fn purge(&mut self, log_id: RaftLogId) -> Result<(), io::Error> {
        let (mut from, upto) = {
            let mut tail = self.state.tail.lock();
            let from = tail.purged.as_ref().map_or(0, |id| id.index + 1);
            while tail.entries.front().is_some_and(|(e, _)| e.log_id.index <= log_id.index) {
                let (_, size) = tail.entries.pop_front().expect("the front was just looked at");
                tail.bytes -= size;
            }
            tail.purged = Some(log_id.clone()).max(tail.purged.take());
            tail.last = tail.last.take().max(Some(log_id.clone()));
            tail.flushed = tail.flushed.max(Some(log_id.index));
            tail.check();
            (from, log_id.index)
        };
        let purged = (purged_key(self.id), codec::to_bytes(&LogIdForm::from(&log_id)).to_vec());
        // The mark first: entries below it are gone for every reader, whatever a crash leaves of them.
        self.write(vec![purged], Vec::new()).await?;
        while from <= upto {
            let to = upto.min(from + PURGE_STEP - 1);
            self.write(Vec::new(), (from..=to).map(|index| entry_key(self.id, index)).collect()).await?;
            from = to + 1;
        }
        Ok(())
    }
}
