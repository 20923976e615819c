//! The multi-version store of one element.
//!
//! It keeps what a replica set's log says, and the position in the log up to which it says so; both change in one atomic batch, so a
//! store is always some prefix of the log. The log is replayed from the last flushed position after a restart; commands
//! at or below the position that the store itself carries are skipped (see [`Replicated::applied`]).
//!
//! [`record`] describes what is written, [`versions`] how rows are read, [`thresholds`] what compaction drops.

pub(crate) mod kv;
mod page;
pub(crate) mod record;
pub(crate) mod rocks;
pub(crate) mod thresholds;
pub(crate) mod versions;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::codec::{self, Malformed, Reader};
use crate::protocol::{GatewayId, LogIndex, Outcome, TxnId};
use kv::{Batch, Family, Fill, KeyRange, Kv, MemoryDisk, MemoryKv};
use record::{PrepareRecord, StagedRecord};
use rocks::RocksKv;
pub use rocks::StoreMemory;
use thresholds::{DurableThresholds, Thresholds};

/// First bytes of the value of `format` in `meta`.
const MAGIC: &[u8; 8] = b"QUORELEM";

/// Version of everything that this folder writes.
pub const STORE_VERSION: u32 = 1;

const KEY_FORMAT: &[u8] = b"format";
const KEY_RAFT_STATE: &[u8] = b"raft_state";
const KEY_POSITION: &[u8] = b"position";
const KEY_THRESHOLDS: &[u8] = b"thresholds";
const PREFIX_FINISHED: u8 = b'F';
const PREFIX_STARTED: u8 = b'S';
const PREFIX_STAGED: u8 = b'T';

/// Why a store cannot be used. The element is rebuilt from its peers; it never goes on with what is left.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no store where one was expected.
    #[error("there is no element store at {0}")]
    Missing(PathBuf),
    /// The directory holds something else.
    #[error("{path} is not an element store: {cause}")]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// What was found.
        cause: String,
    },
    /// The store was written by another version.
    #[error("the element store {path} has format version {found}, this program reads version {STORE_VERSION}")]
    Version {
        /// The directory.
        path: PathBuf,
        /// The version found.
        found: u32,
    },
    /// A file is damaged, or reading or writing failed; the cause names the file where RocksDB knows it.
    #[error("the element store {path} is damaged or unusable: {cause}")]
    Damaged {
        /// The directory or file.
        path: PathBuf,
        /// What is wrong.
        cause: String,
    },
    /// A record does not follow its format.
    #[error("the element store {path} is damaged: a record of {family} cannot be decoded")]
    Record {
        /// The directory.
        path: PathBuf,
        /// The column family.
        family: &'static str,
    },
    /// Not possible with this kind of store.
    #[error("{0}")]
    Unsupported(&'static str),
}

/// Where a store lives.
#[derive(Clone)]
pub enum StoreLocation {
    /// In a directory, with its share of the process's memory.
    Directory {
        /// The directory; its parent exists or can be made.
        path: PathBuf,
        /// Caches and write buffers.
        memory: StoreMemory,
        /// Make the store if the directory is missing or empty.
        create: bool,
    },
    /// In memory, for simulations: what was flushed stays on the disk given.
    Memory(MemoryDisk),
}

/// What the log has said so far, apart from rows, records and outcomes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Replicated {
    /// Position of the last entry in the store. May be ahead of the raft state: large transactions are installed in several
    /// batches, and what is behind the position is skipped when the log is replayed.
    pub(crate) applied: LogIndex,
    /// How many commands of the entry after it are in the store too.
    pub(crate) partial: u32,
    /// The highest timestamp in the log, outcomes included.
    pub(crate) logged: Timestamp,
    /// Everything that leaders have promised is at or below.
    pub(crate) horizon: Timestamp,
    /// Nobody reads or validates below.
    pub(crate) garbage: Timestamp,
    /// Low watermarks of gateways.
    pub(crate) finished_below: BTreeMap<GatewayId, TxnId>,
    /// The highest incarnation heard of, by instance number; lower ones have ended.
    pub(crate) started: BTreeMap<u32, u32>,
    /// Transactions that stage writes here, prepared ones included.
    pub(crate) staged: BTreeMap<TxnId, StagedRecord>,
    /// Prepare timestamps of prepared transactions.
    pub(crate) prepared: BTreeMap<TxnId, Timestamp>,
}

impl Replicated {
    /// Whether the outcome may be forgotten here.
    pub(crate) fn is_forgotten(&self, txn: TxnId) -> bool {
        self.finished_below.get(&txn.gateway()).is_some_and(|below| txn < *below)
    }

    /// Whether the gateway process is known to have ended.
    pub(crate) fn has_ended(&self, gateway: GatewayId) -> bool {
        self.started.get(&gateway.instance()).is_some_and(|running| gateway.incarnation() < *running)
    }

    pub(crate) fn thresholds(&self) -> Thresholds {
        Thresholds { garbage: self.garbage, finished_below: self.finished_below.clone() }
    }
}

/// The store of one element.
pub(crate) struct Store {
    kv: Arc<dyn Kv>,
    path: PathBuf,
    durable: Arc<DurableThresholds>,
}

/// A store as opened.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) replicated: Replicated,
    pub(crate) prepared: Vec<(TxnId, PrepareRecord)>,
    pub(crate) raft_state: Option<Bytes>,
}

impl Store {
    pub(crate) fn open(location: &StoreLocation) -> Result<Opened, StoreError> {
        let durable = Arc::new(DurableThresholds::default());
        let (kv, path): (Arc<dyn Kv>, PathBuf) = match location {
            StoreLocation::Directory { path, memory, create } => {
                let fill: Option<Fill<'_>> = if *create { Some(&|kv| kv.write(format_batch())) } else { None };
                (Arc::new(RocksKv::open(path, memory, &durable, fill)?), path.clone())
            }
            StoreLocation::Memory(disk) => {
                let fresh = disk.is_empty();
                let kv = MemoryKv::open(disk, &durable);
                if fresh {
                    kv.write(format_batch())?;
                    kv.flush()?;
                }
                (Arc::new(kv), PathBuf::from("(memory)"))
            }
        };
        let store = Store { kv, path, durable };
        store.check_format()?;
        let (replicated, prepared) = store.load()?;
        store.durable.set(replicated.thresholds());
        let raft_state = store.get(Family::Meta, KEY_RAFT_STATE)?;
        Ok(Opened { store, replicated, prepared, raft_state })
    }

    fn check_format(&self) -> Result<(), StoreError> {
        let foreign = |cause: &str| StoreError::Foreign { path: self.path.clone(), cause: cause.to_owned() };
        let format = self.get(Family::Meta, KEY_FORMAT)?.ok_or_else(|| foreign("it has no format record"))?;
        let (magic, version) =
            format.split_at_checked(MAGIC.len()).ok_or_else(|| foreign("its format record is short"))?;
        if magic != MAGIC {
            return Err(foreign("its format record is not ours"));
        }
        let version = u32::from_be_bytes(version.try_into().map_err(|_| foreign("its format record is cut"))?);
        if version != STORE_VERSION {
            return Err(StoreError::Version { path: self.path.clone(), found: version });
        }
        Ok(())
    }

    fn load(&self) -> Result<(Replicated, Vec<(TxnId, PrepareRecord)>), StoreError> {
        let meta = |_: Malformed| self.malformed(Family::Meta);
        let mut replicated = Replicated::default();
        if let Some(value) = self.get(Family::Meta, KEY_POSITION)? {
            let mut reader = Reader::new(value);
            replicated.applied = reader.u64().map_err(meta)?;
            replicated.partial = reader.u32().map_err(meta)?;
            replicated.logged = reader.timestamp().map_err(meta)?;
        }
        if let Some(value) = self.get(Family::Meta, KEY_THRESHOLDS)? {
            let mut reader = Reader::new(value);
            replicated.horizon = reader.timestamp().map_err(meta)?;
            replicated.garbage = reader.timestamp().map_err(meta)?;
        }
        self.kv.scan(Family::Meta, KeyRange::default(), &mut |key, value| {
            let damaged = || self.malformed(Family::Meta);
            match key.split_first() {
                Some((&PREFIX_FINISHED, rest)) => {
                    let gateway = GatewayId(u32::from_be_bytes(rest.try_into().map_err(|_| damaged())?));
                    let below = record::decode_txn(value).ok_or_else(damaged)?;
                    replicated.finished_below.insert(gateway, below);
                }
                Some((&PREFIX_STARTED, rest)) => {
                    let instance = u32::from_be_bytes(rest.try_into().map_err(|_| damaged())?);
                    let incarnation = u32::from_be_bytes(value.try_into().map_err(|_| damaged())?);
                    replicated.started.insert(instance, incarnation);
                }
                Some((&PREFIX_STAGED, rest)) => {
                    let txn = record::decode_txn(rest).ok_or_else(damaged)?;
                    let staged = StagedRecord::decode(Bytes::copy_from_slice(value)).map_err(|_| damaged())?;
                    replicated.staged.insert(txn, staged);
                }
                _ => {}
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let mut prepared = Vec::new();
        self.kv.scan(Family::Prepared, KeyRange::default(), &mut |key, value| {
            let txn = record::decode_txn(key).ok_or_else(|| self.malformed(Family::Prepared))?;
            let record = self.decode_prepared(Bytes::copy_from_slice(value))?;
            replicated.prepared.insert(txn, record.at);
            prepared.push((txn, record));
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((replicated, prepared))
    }

    /// Makes durable all that was written before the call; `replicated` is what was written by then.
    pub(crate) fn flush(&self, replicated: &Replicated) -> Result<(), StoreError> {
        self.kv.flush()?;
        self.durable.set(replicated.thresholds());
        Ok(())
    }

    pub(crate) fn checkpoint(&self, target: &Path) -> Result<(), StoreError> {
        self.kv.checkpoint(target)
    }

    pub(crate) fn compact(&self) -> Result<(), StoreError> {
        self.kv.compact()
    }

    pub(crate) fn write(&self, batch: Batch) -> Result<(), StoreError> {
        self.kv.write(batch)
    }

    pub(crate) fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let mut value = None;
        self.kv.get(family, key, &mut |found| value = Some(Bytes::copy_from_slice(found)))?;
        Ok(value)
    }

    pub(crate) fn outcome(&self, txn: TxnId) -> Result<Option<Outcome>, StoreError> {
        let mut outcome = None;
        self.kv
            .get(Family::Outcomes, &record::txn_key(txn), &mut |value| outcome = Some(record::decode_outcome(value)))?;
        outcome.transpose().map_err(|_| self.malformed(Family::Outcomes))
    }

    pub(crate) fn prepared(&self, txn: TxnId) -> Result<Option<PrepareRecord>, StoreError> {
        self.get(Family::Prepared, &record::txn_key(txn))?.map(|value| self.decode_prepared(value)).transpose()
    }

    fn decode_prepared(&self, value: Bytes) -> Result<PrepareRecord, StoreError> {
        PrepareRecord::decode_from(&mut Reader::new(value)).map_err(|_| self.malformed(Family::Prepared))
    }

    pub(crate) fn malformed(&self, family: Family) -> StoreError {
        StoreError::Record { path: self.path.clone(), family: family.name() }
    }

    pub(crate) fn kv(&self) -> &Arc<dyn Kv> {
        &self.kv
    }
}

fn format_batch() -> Batch {
    let mut batch = Batch::default();
    batch.put(Family::Meta, KEY_FORMAT, [MAGIC.as_slice(), &STORE_VERSION.to_be_bytes()].concat());
    batch
}

/// What enters `meta` with a batch.
impl Batch {
    pub(crate) fn put_raft_state(&mut self, raft_state: Bytes) {
        self.put(Family::Meta, KEY_RAFT_STATE, raft_state);
    }

    pub(crate) fn put_position(&mut self, replicated: &Replicated) {
        let mut value = replicated.applied.to_be_bytes().to_vec();
        codec::put_varint(&mut value, u64::from(replicated.partial));
        codec::put_timestamp(&mut value, replicated.logged);
        self.put(Family::Meta, KEY_POSITION, value);
    }

    pub(crate) fn put_thresholds(&mut self, replicated: &Replicated) {
        let mut value = Vec::with_capacity(16);
        codec::put_timestamp(&mut value, replicated.horizon);
        codec::put_timestamp(&mut value, replicated.garbage);
        self.put(Family::Meta, KEY_THRESHOLDS, value);
    }

    pub(crate) fn put_finished_below(&mut self, gateway: GatewayId, below: TxnId) {
        self.put(Family::Meta, prefixed(PREFIX_FINISHED, &gateway.0.to_be_bytes()), record::txn_key(below).to_vec());
    }

    pub(crate) fn put_started(&mut self, instance: u32, incarnation: u32) {
        self.put(Family::Meta, prefixed(PREFIX_STARTED, &instance.to_be_bytes()), incarnation.to_be_bytes().to_vec());
    }

    pub(crate) fn put_staged_record(&mut self, txn: TxnId, staged: &StagedRecord) {
        self.put(Family::Meta, prefixed(PREFIX_STAGED, &record::txn_key(txn)), staged.encode());
    }

    pub(crate) fn delete_staged_record(&mut self, txn: TxnId) {
        self.delete(Family::Meta, prefixed(PREFIX_STAGED, &record::txn_key(txn)));
    }
}

fn prefixed(prefix: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + rest.len());
    key.push(prefix);
    key.extend_from_slice(rest);
    key
}
