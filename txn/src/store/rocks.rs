//! An element's store on disk: RocksDB with the write-ahead log off, since the Raft log is the write-ahead log, and atomic
//! flushes, so that all column families are always recovered at the same point of the log.
//!
//! A new store is made under another name and renamed into place, so a directory either holds a whole store or none. Every error of
//! RocksDB names the file it is about; none is repaired here: the element is rebuilt from its peers.

use std::ffi::{CStr, CString};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;

use rocksdb::checkpoint::Checkpoint;
use rocksdb::compaction_filter::{CompactionFilter, Decision};
use rocksdb::compaction_filter_factory::{CompactionFilterContext, CompactionFilterFactory};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamily, ColumnFamilyDescriptor,
    CompactOptions, DB, DBCompressionType, FlushOptions, LogLevel, Options, ReadOptions, WriteBatch,
    WriteBufferManager, WriteOptions,
};

use super::StoreError;
use super::kv::{Batch, Change, Completion, EntryVisitor, Family, Fill, KeyRange, Kv, Visitor};
use super::thresholds::{DurableThresholds, Thresholds};

/// Size of the pieces of indexes and filters, in bytes.
const METADATA_BLOCK: usize = 4 << 10;

/// Memory that all element stores of a process share.
#[derive(Clone)]
pub struct StoreMemory {
    cache: Cache,
    write_buffers: WriteBufferManager,
    write_buffer_bytes: usize,
}

impl StoreMemory {
    /// Default size of the block cache that all elements share, in bytes.
    pub const CACHE_BYTES: usize = 64 << 20;

    /// Default size of the write buffers of one element, in bytes.
    pub const WRITE_BUFFER_BYTES: usize = 16 << 20;

    /// A block cache, index and filter blocks included, of `cache_bytes` for all, and write buffers of about
    /// `write_buffer_bytes` for each of `elements`.
    pub fn new(cache_bytes: usize, write_buffer_bytes: usize, elements: usize) -> Self {
        StoreMemory {
            cache: Cache::new_lru_cache(cache_bytes),
            write_buffers: WriteBufferManager::new_write_buffer_manager(write_buffer_bytes * elements.max(1), false),
            write_buffer_bytes,
        }
    }

    /// Changes the number of elements that the shared write buffers are meant for.
    pub fn set_elements(&self, elements: usize) {
        self.write_buffers.set_buffer_size(self.write_buffer_bytes * elements.max(1));
    }
}

impl Default for StoreMemory {
    fn default() -> Self {
        Self::new(Self::CACHE_BYTES, Self::WRITE_BUFFER_BYTES, 3)
    }
}

/// An open RocksDB.
pub(crate) struct RocksKv {
    db: DB,
    path: PathBuf,
}

impl RocksKv {
    /// Opens the store of a directory; with `create`, makes it if nothing is there.
    pub(crate) fn open(
        path: &Path,
        memory: &StoreMemory,
        thresholds: &Arc<DurableThresholds>,
        create: Option<Fill<'_>>,
    ) -> Result<Self, StoreError> {
        let there = path.join("CURRENT").exists();
        if !there {
            let empty = fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none());
            let Some(fill) = create else { return Err(StoreError::Missing(path.to_owned())) };
            if !empty {
                return Err(StoreError::Damaged {
                    path: path.join("CURRENT"),
                    cause: "the file is missing in a directory that is not empty".to_owned(),
                });
            }
            Self::create(path, memory, thresholds, fill)?;
        }
        Self::check_families(path)?;
        Self::open_existing(path, memory, thresholds, false)
    }

    fn create(
        path: &Path,
        memory: &StoreMemory,
        thresholds: &Arc<DurableThresholds>,
        fill: Fill<'_>,
    ) -> Result<(), StoreError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |error: std::io::Error| StoreError::Damaged { path, cause: error.to_string() }
        };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = path.with_file_name(name);
        if new.exists() {
            fs::remove_dir_all(&new).map_err(io(&new))?;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(io(parent))?;
        }
        let kv = Self::open_existing(&new, memory, thresholds, true)?;
        fill(&kv)?;
        kv.flush()?;
        drop(kv);
        if path.exists() {
            fs::remove_dir(path).map_err(io(path))?;
        }
        fs::rename(&new, path).map_err(io(path))?;
        if let Some(parent) = path.parent() {
            fs::File::open(parent).and_then(|dir| dir.sync_all()).map_err(io(parent))?;
        }
        Ok(())
    }

    fn check_families(path: &Path) -> Result<(), StoreError> {
        let mut found = DB::list_cf(&Options::default(), path).map_err(|e| damaged(path, &e))?;
        let mut wanted: Vec<String> = Family::ALL.iter().map(|f| f.name().to_owned()).collect();
        wanted.push("default".to_owned());
        found.sort();
        wanted.sort();
        if found != wanted {
            return Err(StoreError::Foreign {
                path: path.to_owned(),
                cause: format!("it has the column families {}", found.join(", ")),
            });
        }
        Ok(())
    }

    fn open_existing(
        path: &Path,
        memory: &StoreMemory,
        thresholds: &Arc<DurableThresholds>,
        create: bool,
    ) -> Result<Self, StoreError> {
        let mut options = Options::default();
        options.create_if_missing(create);
        options.create_missing_column_families(create);
        options.set_atomic_flush(true);
        options.set_paranoid_checks(true);
        options.set_write_buffer_manager(&memory.write_buffers);
        options.set_max_background_jobs(2);
        options.set_max_open_files(256);
        options.set_keep_log_file_num(2);
        options.set_max_log_file_size(1 << 20);
        options.set_log_level(LogLevel::Warn);
        options.set_stats_dump_period_sec(0);
        let mut families = vec![ColumnFamilyDescriptor::new("default", Options::default())];
        families.extend(Family::ALL.map(|family| {
            let options = family_options(family, memory, thresholds);
            ColumnFamilyDescriptor::new(family.name(), options)
        }));
        let db = DB::open_cf_descriptors(&options, path, families).map_err(|e| damaged(path, &e))?;
        Ok(RocksKv { db, path: path.to_owned() })
    }

    fn family(&self, family: Family) -> &ColumnFamily {
        self.db.cf_handle(family.name()).expect("all column families are opened with the store")
    }

    fn damaged(&self, error: &rocksdb::Error) -> StoreError {
        damaged(&self.path, error)
    }
}

fn damaged(path: &Path, error: &rocksdb::Error) -> StoreError {
    StoreError::Damaged { path: path.to_owned(), cause: error.to_string() }
}

fn family_options(family: Family, memory: &StoreMemory, thresholds: &Arc<DurableThresholds>) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&memory.cache);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    // In one piece, the index and the filter of a large file take megabytes, and a look-up that does not find them cached reads all of it.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(METADATA_BLOCK);
    table.set_pin_top_level_index_and_filter(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    if family != Family::History {
        table.set_bloom_filter(10.0, false);
        table.set_whole_key_filtering(true);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_compression_type(DBCompressionType::Lz4);
    // A full buffer flushes all families, so none may fill up much before the others do; what all of them use together is bounded
    // by the write buffer manager. Blocks are small, since most buffers stay nearly empty.
    options.set_write_buffer_size(memory.write_buffer_bytes / 2);
    options.set_arena_block_size(128 << 10);
    options.set_max_write_buffer_number(3);
    if matches!(family, Family::Rows | Family::Outcomes | Family::Prepared) {
        // Most look-ups in these are for keys that are not there: inserts, and transactions never heard of.
        options.set_memtable_prefix_bloom_ratio(0.1);
        options.set_memtable_whole_key_filtering(true);
    }
    if let Some(name) = filter_name(family) {
        options.set_compaction_filter_factory(Factory { family, name, thresholds: thresholds.clone() });
    }
    options
}

fn filter_name(family: Family) -> Option<CString> {
    match family {
        Family::Rows | Family::History | Family::Outcomes => {
            Some(CString::new(format!("quorate.{}", family.name())).expect("names of families hold no zero byte"))
        }
        Family::Prepared | Family::Staged | Family::Meta => None,
    }
}

struct Factory {
    family: Family,
    name: CString,
    thresholds: Arc<DurableThresholds>,
}

impl CompactionFilterFactory for Factory {
    type Filter = Filter;

    fn create(&mut self, _context: CompactionFilterContext) -> Filter {
        Filter { family: self.family, name: self.name.clone(), thresholds: self.thresholds.get() }
    }

    fn name(&self) -> &CStr {
        &self.name
    }
}

struct Filter {
    family: Family,
    name: CString,
    thresholds: Arc<Thresholds>,
}

impl CompactionFilter for Filter {
    fn filter(&mut self, _level: u32, key: &[u8], value: &[u8]) -> Decision {
        if self.thresholds.is_garbage(self.family, key, value) { Decision::Remove } else { Decision::Keep }
    }

    fn name(&self) -> &CStr {
        &self.name
    }
}

impl Kv for RocksKv {
    fn get(&self, family: Family, key: &[u8], found: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        let value = self.db.get_pinned_cf(self.family(family), key).map_err(|e| self.damaged(&e))?;
        if let Some(value) = &value {
            found(value);
        }
        Ok(value.is_some())
    }

    fn scan(&self, family: Family, range: KeyRange<'_>, visit: Visitor<'_>) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        if let Some(start) = range.start {
            options.set_iterate_lower_bound(start);
        }
        if let Some(end) = range.end {
            options.set_iterate_upper_bound(end);
        }
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(family), options);
        match (range.reverse, range.start, range.end) {
            (false, Some(start), _) => iterator.seek(start),
            (false, None, _) => iterator.seek_to_first(),
            (true, ..) => iterator.seek_to_last(),
        }
        while let Some((key, value)) = iterator.item() {
            if visit(key, value)? == ControlFlow::Break(()) {
                return Ok(());
            }
            if range.reverse {
                iterator.prev();
            } else {
                iterator.next();
            }
        }
        iterator.status().map_err(|e| self.damaged(&e))
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let mut out = WriteBatch::with_capacity_bytes(batch.bytes + 16 * batch.changes.len() + 16);
        for change in &batch.changes {
            match change {
                Change::Put(family, key, value) => out.put_cf(self.family(*family), key, value),
                Change::Delete(family, key) => out.delete_cf(self.family(*family), key),
                Change::DeleteRange(family, start, end) => out.delete_range_cf(self.family(*family), start, end),
            }
        }
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        self.db.write_opt(out, &options).map_err(|e| self.damaged(&e))
    }

    fn flush(&self) -> Result<(), StoreError> {
        let mut options = FlushOptions::default();
        options.set_wait(true);
        let families = Family::ALL.map(|family| self.family(family));
        self.db.flush_cfs_opt(&families, &options).map_err(|e| self.damaged(&e))
    }

    fn compact(&self) -> Result<(), StoreError> {
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        for family in Family::ALL {
            self.db.compact_range_cf_opt(self.family(family), None::<&[u8]>, None::<&[u8]>, &options);
        }
        Ok(())
    }

    fn checkpoint(&self, target: &Path) -> Result<(), StoreError> {
        // A checkpoint takes what is in files: without a write-ahead log the write buffers must be flushed first.
        self.flush()?;
        let checkpoint = Checkpoint::new(&self.db).map_err(|e| self.damaged(&e))?;
        checkpoint.create_checkpoint(target).map_err(|error| {
            // It links the store's files into the new place: whose fault it is, only the kind of error tells.
            let gone = error.to_string().contains("No such file") && target.parent().is_some_and(Path::exists);
            let own = error.kind() == rocksdb::ErrorKind::Corruption || gone;
            damaged(if own { &self.path } else { target }, &error)
        })
    }

    fn visit_snapshot(self: Arc<Self>, family: Family, mut visit: EntryVisitor, done: Completion) {
        // The snapshot borrows the store, so the thread takes it, and tells when it has.
        let (taken, wait) = mpsc::channel();
        thread::spawn(move || {
            let snapshot = self.db.snapshot();
            // The receiver waits below.
            let _ = taken.send(());
            let mut options = ReadOptions::default();
            options.fill_cache(false);
            options.set_readahead_size(256 << 10);
            let mut iterator = snapshot.raw_iterator_cf_opt(self.family(family), options);
            iterator.seek_to_first();
            while let Some((key, value)) = iterator.item() {
                visit(key, value);
                iterator.next();
            }
            done(iterator.status().map_err(|e| self.damaged(&e)));
        });
        wait.recv().expect("the thread answers before it does anything that can fail");
    }
}
