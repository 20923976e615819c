//! The ordered key-value store under an element, as narrow as the element needs it, and its twin in memory.
//!
//! [`Kv`] hides RocksDB behind point reads, scans by visitor and atomic batches, so that the same versions, locks and recovery
//! run over [`MemoryKv`] in the simulation, where thousands of stores are opened and crashed. What is written survives a
//! crash up to the last flush, all column families at the same point.

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::StoreError;
use super::thresholds::DurableThresholds;

/// A column family. The order is the one on disk and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Family {
    /// Newest version by row key.
    Rows,
    /// Older versions by escaped key and inverted prepare timestamp.
    History,
    /// Prepare records by transaction.
    Prepared,
    /// Outcomes by transaction.
    Outcomes,
    /// Staged writes by row key.
    Staged,
    /// Everything else: format, positions, thresholds, gateways, open staged transactions.
    Meta,
}

impl Family {
    pub(crate) const ALL: [Family; 6] =
        [Family::Rows, Family::History, Family::Prepared, Family::Outcomes, Family::Staged, Family::Meta];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Family::Rows => "rows",
            Family::History => "history",
            Family::Prepared => "prepared",
            Family::Outcomes => "outcomes",
            Family::Staged => "staged",
            Family::Meta => "meta",
        }
    }
}

/// One change of a [`Batch`].
#[derive(Debug)]
pub(crate) enum Change {
    Put(Family, Bytes, Bytes),
    Delete(Family, Bytes),
    /// All keys of `[start, end)`.
    DeleteRange(Family, Bytes, Bytes),
}

/// Changes that are written together or not at all.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) changes: Vec<Change>,
    /// Bytes of keys and values put.
    pub(crate) bytes: usize,
}

impl Batch {
    pub(crate) fn put(&mut self, family: Family, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let (key, value) = (key.into(), value.into());
        self.bytes += key.len() + value.len();
        self.changes.push(Change::Put(family, key, value));
    }

    pub(crate) fn delete(&mut self, family: Family, key: impl Into<Bytes>) {
        self.changes.push(Change::Delete(family, key.into()));
    }

    pub(crate) fn delete_range(&mut self, family: Family, start: impl Into<Bytes>, end: impl Into<Bytes>) {
        self.changes.push(Change::DeleteRange(family, start.into(), end.into()));
    }
}

/// Keys to scan: start inclusive, end exclusive, either may be open.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyRange<'a> {
    pub(crate) start: Option<&'a [u8]>,
    pub(crate) end: Option<&'a [u8]>,
    pub(crate) reverse: bool,
}

/// What a scan calls for every entry.
pub(crate) type Visitor<'a> = &'a mut dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>, StoreError>;

/// Sees every entry of a snapshot.
pub(crate) type EntryVisitor = Box<dyn FnMut(&[u8], &[u8]) + Send>;

/// Called when a snapshot was visited, or could not be.
pub(crate) type Completion = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Fills a new store.
pub(crate) type Fill<'a> = &'a dyn Fn(&dyn Kv) -> Result<(), StoreError>;

/// See the module's text.
pub(crate) trait Kv: Send + Sync {
    /// The value of a key, handed to a closure without being copied. Returns whether the key exists.
    fn get(&self, family: Family, key: &[u8], found: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError>;

    /// Visits entries in order until the visitor breaks. Entries written meanwhile may or may not be seen.
    fn scan(&self, family: Family, range: KeyRange<'_>, visit: Visitor<'_>) -> Result<(), StoreError>;

    /// Writes a batch. It is visible at once and durable after a flush.
    fn write(&self, batch: Batch) -> Result<(), StoreError>;

    /// Makes durable all that was written before the call.
    fn flush(&self) -> Result<(), StoreError>;

    /// Drops what the durable thresholds allow; RocksDB does so by itself whenever it compacts.
    fn compact(&self) -> Result<(), StoreError>;

    /// Copies the store to a directory that does not exist yet, as one consistent state that includes all written before the call.
    fn checkpoint(&self, target: &Path) -> Result<(), StoreError>;

    /// Takes a consistent picture of a family now and visits it, now or later on a thread of its own; `done` is called at the end.
    fn visit_snapshot(self: Arc<Self>, family: Family, visit: EntryVisitor, done: Completion);
}

type Families = BTreeMap<Family, BTreeMap<Bytes, Bytes>>;

/// What a [`MemoryKv`] has flushed; outlives it, as a disk outlives a process.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk(Arc<Mutex<Families>>);

impl MemoryDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy that later flushes do not change.
    pub fn copy(&self) -> MemoryDisk {
        MemoryDisk(Arc::new(Mutex::new(self.0.lock().clone())))
    }

    /// Whether nothing was ever flushed to it.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

/// The twin of RocksDB in memory.
pub(crate) struct MemoryKv {
    disk: MemoryDisk,
    now: RwLock<Families>,
    thresholds: Arc<DurableThresholds>,
}

impl MemoryKv {
    /// Opens what was flushed to a disk.
    pub(crate) fn open(disk: &MemoryDisk, thresholds: &Arc<DurableThresholds>) -> Self {
        let mut now = disk.0.lock().clone();
        for family in Family::ALL {
            now.entry(family).or_default();
        }
        MemoryKv { disk: disk.clone(), now: RwLock::new(now), thresholds: thresholds.clone() }
    }

    /// The first entry beyond a position, in the direction of the range.
    fn step(&self, family: Family, range: &KeyRange<'_>, last: Option<&Bytes>) -> Option<(Bytes, Bytes)> {
        let now = self.now.read();
        let map = now.get(&family).expect("all families are there from the start");
        let start = range.start.map_or(Bound::Unbounded, Bound::Included);
        let end = range.end.map_or(Bound::Unbounded, Bound::Excluded);
        let (start, end) = match (last, range.reverse) {
            (Some(last), false) => (Bound::Excluded(last.as_ref()), end),
            (Some(last), true) => (start, Bound::Excluded(last.as_ref())),
            (None, _) => (start, end),
        };
        if let (Bound::Included(a) | Bound::Excluded(a), Bound::Excluded(b)) = (start, end)
            && a >= b
        {
            return None;
        }
        let mut entries = map.range::<[u8], _>((start, end));
        let found = if range.reverse { entries.next_back() } else { entries.next() };
        found.map(|(key, value)| (key.clone(), value.clone()))
    }
}

impl Kv for MemoryKv {
    fn get(&self, family: Family, key: &[u8], found: &mut dyn FnMut(&[u8])) -> Result<bool, StoreError> {
        let now = self.now.read();
        let value = now.get(&family).expect("all families are there from the start").get(key);
        if let Some(value) = value {
            found(value);
        }
        Ok(value.is_some())
    }

    fn scan(&self, family: Family, range: KeyRange<'_>, visit: Visitor<'_>) -> Result<(), StoreError> {
        let mut last = None;
        while let Some((key, value)) = self.step(family, &range, last.as_ref()) {
            if visit(&key, &value)?.is_break() {
                break;
            }
            last = Some(key);
        }
        Ok(())
    }

    fn write(&self, batch: Batch) -> Result<(), StoreError> {
        let mut now = self.now.write();
        for change in batch.changes {
            match change {
                Change::Put(family, key, value) => {
                    // Copied, since both may be slices of something much larger.
                    let entry = (Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value));
                    now.entry(family).or_default().insert(entry.0, entry.1);
                }
                Change::Delete(family, key) => {
                    now.entry(family).or_default().remove(&key);
                }
                Change::DeleteRange(family, start, end) => {
                    now.entry(family).or_default().retain(|key, _| *key < start || *key >= end);
                }
            }
        }
        Ok(())
    }

    fn compact(&self) -> Result<(), StoreError> {
        let thresholds = self.thresholds.get();
        for (family, entries) in self.now.write().iter_mut() {
            entries.retain(|key, value| !thresholds.is_garbage(*family, key, value));
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        // As often as anything, so that simulations meet what compaction leaves.
        self.compact()?;
        *self.disk.0.lock() = self.now.read().clone();
        Ok(())
    }

    fn checkpoint(&self, _target: &Path) -> Result<(), StoreError> {
        Err(StoreError::Unsupported("a store in memory is copied with MemoryDisk::copy"))
    }

    fn visit_snapshot(self: Arc<Self>, family: Family, mut visit: EntryVisitor, done: Completion) {
        for (key, value) in self.now.read().get(&family).expect("all families are there from the start") {
            visit(key, value);
        }
        done(Ok(()));
    }
}
