//! Opening the shared log, its keys, and reads of it.
//!
//! Keys: group (8 bytes), kind (1), index (8, entries only), all big-endian, so that a group's entries are one range; the key `format` holds the format.
//! Kind 1: vote, kind 2: last purged log id, kind 3: entry.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Direction, IteratorMode, Options, ReadOptions, WriteBatch,
};

use super::group::{GroupLog, GroupState};
use super::writer::{Operation, Writer};
use crate::codec::{self, LogIdForm, VoteForm};
use crate::types::{GroupId, RaftEntry, RaftLogId};

const FORMAT: &[u8] = b"quorate log 1";
const FORMAT_KEY: &[u8] = b"format";

const KIND_VOTE: u8 = 1;
const KIND_PURGED: u8 = 2;
const KIND_ENTRY: u8 = 3;

/// How to open the log.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Memory of RocksDB's write buffers, in bytes.
    pub write_buffer: usize,
    /// How much of each group's tail is kept in memory for replication, in bytes.
    pub tail_bytes: usize,
    /// Called on the writer's thread before each write with its fsync; for failpoints and measurements.
    pub before_sync: Option<fn()>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { write_buffer: 16 << 20, tail_bytes: 4 << 20, before_sync: None }
    }
}

/// The log of all groups of one instance.
pub struct LogStore {
    db: Arc<DB>,
    pub(super) writer: Writer,
    pub(super) options: LogOptions,
    path: PathBuf,
    groups: Mutex<HashMap<GroupId, Arc<GroupState>>>,
    pub(super) appended_bytes: AtomicU64,
}

impl LogStore {
    /// Opens or creates the log in `path`. Fails with a message that names the file if it is damaged or of another format.
    pub fn open(path: &Path, options: LogOptions) -> Result<Arc<Self>, io::Error> {
        let mut db_options = Options::default();
        db_options.create_if_missing(true);
        db_options.set_write_buffer_size(options.write_buffer);
        db_options.set_max_write_buffer_number(3);
        db_options.set_max_total_wal_size(4 * options.write_buffer as u64);
        db_options.set_level_zero_file_num_compaction_trigger(10);
        db_options.set_compression_type(DBCompressionType::Lz4);
        db_options.set_max_background_jobs(2);
        db_options.set_keep_log_file_num(2);
        // A torn record at the end of the WAL was never acknowledged; damage before it must be an error, not a shorter log. (This rules
        // out recycling WAL files, which would save the file's growth in each fsync: in a recycled file the end cannot be told from damage.)
        db_options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::TolerateCorruptedTailRecords);
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(8 << 20));
        table.set_cache_index_and_filter_blocks(true);
        db_options.set_block_based_table_factory(&table);
        let db = DB::open(&db_options, path).map_err(|e| other(path, "open the log", e))?;
        match db.get(FORMAT_KEY).map_err(|e| other(path, "read the log's format", e))? {
            Some(found) if found == FORMAT => {}
            Some(found) => {
                return Err(io::Error::other(format!(
                    "{}: log of format {:?}; this program reads {:?}",
                    path.display(),
                    String::from_utf8_lossy(&found),
                    String::from_utf8_lossy(FORMAT)
                )));
            }
            None => db.put(FORMAT_KEY, FORMAT).map_err(|e| other(path, "write the log's format", e))?,
        }
        let db = Arc::new(db);
        let writer = Writer::start(db.clone(), options.before_sync)?;
        Ok(Arc::new(Self {
            db,
            writer,
            options,
            path: path.to_owned(),
            groups: Mutex::new(HashMap::new()),
            appended_bytes: AtomicU64::new(0),
        }))
    }

    /// The log of one group, created empty on first use. Clones of it share one state.
    pub fn group(self: &Arc<Self>, id: GroupId) -> Result<GroupLog, io::Error> {
        let mut groups = self.groups.lock();
        let state = match groups.get(&id) {
            Some(state) => state.clone(),
            None => {
                let state = Arc::new(self.load(id)?);
                groups.insert(id, state.clone());
                state
            }
        };
        Ok(GroupLog::new(self.clone(), id, state))
    }

    /// Removes everything of a group that was destroyed, durably. Its elements must not run any more. Blocks for the time of a write.
    pub fn remove_group(&self, id: GroupId) -> Result<(), io::Error> {
        self.groups.lock().remove(&id);
        // What the group left in the writer's queue must not be written behind the removal: another element of the group may come.
        self.wait_for_writer()?;
        let start = id.as_u64().to_be_bytes().to_vec();
        let mut read = ReadOptions::default();
        if let Some(next) = id.as_u64().checked_add(1) {
            read.set_iterate_upper_bound(next.to_be_bytes().to_vec());
        }
        let mut batch = WriteBatch::default();
        for item in self.db.iterator_opt(IteratorMode::From(&start, Direction::Forward), read) {
            let (key, _) = item.map_err(|e| other(&self.path, "scan the log", e))?;
            if key.len() > start.len() {
                batch.delete(key);
            }
        }
        let mut write = rocksdb::WriteOptions::default();
        write.set_sync(true);
        self.db.write_opt(batch, &write).map_err(|e| other(&self.path, "remove a group from the log", e))
    }

    fn wait_for_writer(&self) -> Result<(), io::Error> {
        let (done, written) = std::sync::mpsc::channel();
        let done = Box::new(move |result| drop(done.send(result)));
        self.writer.submit(Operation { puts: Vec::new(), deletes: Vec::new(), done });
        written.recv().map_err(|_| io::Error::other("the log writer has ended"))?
    }

    /// Writes made since the log was opened, each with one fsync.
    pub fn syncs(&self) -> u64 {
        self.writer.syncs()
    }

    /// Bytes appended to the log of all groups since it was opened.
    pub fn appended_bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Relaxed)
    }

    fn load(&self, id: GroupId) -> Result<GroupState, io::Error> {
        let fail = |e| other(&self.path, "read the log", e);
        let named = |e: io::Error| io::Error::new(e.kind(), format!("{}: log of {id}: {e}", self.path.display()));
        let vote = match self.db.get(key(id, KIND_VOTE)).map_err(fail)? {
            Some(bytes) => Some(codec::from_bytes::<VoteForm>(&bytes, "vote").map_err(named)?),
            None => None,
        };
        let purged: Option<RaftLogId> = match self.db.get(key(id, KIND_PURGED)).map_err(fail)? {
            Some(bytes) => Some(codec::from_bytes::<LogIdForm>(&bytes, "purged log id").map_err(named)?.into()),
            None => None,
        };
        let first = purged.as_ref().map_or(0, |id| id.index + 1);
        self.remove_purged(id, first)?;
        let mut read = ReadOptions::default();
        read.set_iterate_lower_bound(entry_key(id, first));
        read.set_iterate_upper_bound(key(id, KIND_ENTRY + 1));
        let last = match self.db.iterator_opt(IteratorMode::End, read).next() {
            Some(item) => {
                let (key, value) = item.map_err(fail)?;
                Some(self.decode(id, index_of(&key), value)?)
            }
            None => None,
        };
        // A purge that was cut short leaves entries below its mark, never a hole above it.
        if last.is_some() && self.db.get(entry_key(id, first)).map_err(fail)?.is_none() {
            return Err(self.damaged(id, first, "is missing"));
        }
        Ok(GroupState::new(vote, purged, last.map(|e| e.log_id)))
    }

    /// Deletes the entries below `first` that a crash in the middle of a purge has left.
    fn remove_purged(&self, id: GroupId, first: u64) -> Result<(), io::Error> {
        let mut read = ReadOptions::default();
        read.set_iterate_upper_bound(entry_key(id, first));
        let mut batch = WriteBatch::default();
        for item in self.db.iterator_opt(IteratorMode::From(&entry_key(id, 0), Direction::Forward), read) {
            let (key, _) = item.map_err(|e| other(&self.path, "read the log", e))?;
            batch.delete(key);
        }
        if batch.is_empty() {
            return Ok(());
        }
        // Needs no fsync: a crash only leaves the same work for the next time.
        self.db.write(batch).map_err(|e| other(&self.path, "remove purged entries", e))
    }

    /// Consecutive entries of `start..end`. The first may be missing, if it has been purged meanwhile; a hole behind it is an error.
    pub(super) fn read(
        &self,
        id: GroupId,
        start: u64,
        end: u64,
        bytes_max: usize,
    ) -> Result<Vec<RaftEntry>, io::Error> {
        let mut read = ReadOptions::default();
        read.set_iterate_upper_bound(entry_key(id, end));
        let from = entry_key(id, start);
        let mut entries: Vec<RaftEntry> = Vec::new();
        let mut size = 0;
        for item in self.db.iterator_opt(IteratorMode::From(&from, Direction::Forward), read) {
            let (key, value) = item.map_err(|e| other(&self.path, "read the log", e))?;
            let index = index_of(&key);
            if let Some(previous) = entries.last()
                && index != previous.log_id.index + 1
            {
                return Err(self.damaged(id, previous.log_id.index + 1, "is missing"));
            }
            size += value.len();
            entries.push(self.decode(id, index, value)?);
            if size >= bytes_max {
                break;
            }
        }
        Ok(entries)
    }

    fn decode(&self, id: GroupId, index: u64, value: Box<[u8]>) -> Result<RaftEntry, io::Error> {
        let entry = codec::get_entry(Bytes::from(value)).map_err(|e| self.damaged(id, index, &e.to_string()))?;
        if entry.log_id.index != index {
            return Err(self.damaged(id, index, &format!("holds entry {}", entry.log_id.index)));
        }
        Ok(entry)
    }

    pub(super) fn damaged(&self, id: GroupId, index: u64, what: &str) -> io::Error {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{}: log of {id}: entry {index}: {what}", self.path.display()),
        )
    }
}

pub(super) fn vote_key(id: GroupId) -> Vec<u8> {
    key(id, KIND_VOTE)
}

pub(super) fn purged_key(id: GroupId) -> Vec<u8> {
    key(id, KIND_PURGED)
}

fn key(id: GroupId, kind: u8) -> Vec<u8> {
    let mut key = id.as_u64().to_be_bytes().to_vec();
    key.push(kind);
    key
}

pub(super) fn entry_key(id: GroupId, index: u64) -> Vec<u8> {
    let mut key = key(id, KIND_ENTRY);
    key.extend_from_slice(&index.to_be_bytes());
    key
}

/// Index in an entry's key.
fn index_of(key: &[u8]) -> u64 {
    key.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

fn other(path: &Path, what: &str, error: rocksdb::Error) -> io::Error {
    io::Error::other(format!("{}: {what}: {error}", path.display()))
}
