//! The transactions and tables that the SQL engine works on, as traits which the server implements.
//!
//! The engine knows nothing of networking, Raft or replica sets: it names rows by a [`Placement`] and a key, and the
//! implementation finds the replica set. Keys are order-preserving and begin with the table's storage id (see `key`).

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use bytes::Bytes;

use crate::catalog::Catalog;
use crate::error::{Error, SqlState};

/// Where rows live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// In the replica set that owns this slot of the distribution map (hash-distributed tables, by key).
    Slot(u16),
    /// In every replica set: for scans of hash-distributed tables.
    AllSlots,
    /// A full copy in each replica set: `DUPLICATE` tables. Read from any one, written to all.
    Duplicate,
}

/// The slot of a hidden row id: its first two bytes, big endian. Whoever makes row ids puts it there.
pub fn row_id_slot(row_id: &[u8; 16]) -> u16 {
    u16::from_be_bytes([row_id[0], row_id[1]])
}

/// The error of a [`Transaction::put`] with `insert` whose key is there already, for `put` and `commit` to report. The engine puts the
/// table's and the constraint's names to it before anybody sees it.
pub fn duplicate_key(key: &[u8]) -> Error {
    Error::new(SqlState::UNIQUE_VIOLATION, "duplicate key value violates unique constraint")
        .with_detail(format!("{KEY_MARK}{}", hex::encode(key)))
}

/// The key that [`duplicate_key`] was made for.
pub fn duplicated_key(error: &Error) -> Option<Bytes> {
    let hex = error.detail.as_deref()?.strip_prefix(KEY_MARK)?;
    hex::decode(hex).ok().map(Bytes::from)
}

const KEY_MARK: &str = "Key in hexadecimal: ";

/// How a read treats the rows it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadMode {
    /// At the transaction's snapshot.
    Snapshot,
    /// Lock the keys at their leaders first and read the newest values (UPDATE, DELETE, SELECT FOR UPDATE).
    Lock,
}

/// One row as stored.
#[derive(Clone, Debug)]
pub struct StoredRow {
    /// The whole key, storage id included.
    pub key: Bytes,
    /// The encoded row.
    pub value: Bytes,
}

/// A piece of a scan, perhaps an empty one. Rows of one page are in key order (descending for reverse scans) if the scan asked for `ordered`.
#[derive(Clone, Debug, Default)]
pub struct ScanPage {
    /// The rows, at most as many as the implementation finds handy (about 1 MiB).
    pub rows: Vec<StoredRow>,
    /// What the scan's program gave, if it was run; then there are no rows.
    pub output: Option<Bytes>,
    /// Hand this back to go on; `None` when the scan is complete.
    pub next: Option<ScanCursor>,
}

/// Opaque position of a scan.
#[derive(Clone, Debug)]
pub struct ScanCursor(pub Bytes);

/// What to scan.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Where.
    pub placement: Placement,
    /// Whole keys, start inclusive, end exclusive.
    pub range: Range<Bytes>,
    /// Merge replica sets so that pages come in key order.
    pub ordered: bool,
    /// Descending order; implies `ordered`.
    pub reverse: bool,
    /// A hint how many rows are wanted in all.
    pub limit: Option<u64>,
    /// Done with the rows where they are read ([`crate::program`]), if the implementation can: each page says whether it was.
    pub program: Option<Bytes>,
}

/// Options of a new transaction.
#[derive(Clone, Debug, Default)]
pub struct TransactionOptions {
    /// Declared READ ONLY: writes are refused with 25006 by the engine.
    pub read_only: bool,
    /// The transaction that this one repeats, by its age; keeps its place in lock queues.
    pub age_of: Option<u64>,
    /// Where the transaction says its id, as `txid_current()` gives it, as soon as it has one.
    pub id: Option<Arc<AtomicU64>>,
}

/// How much a transaction reads that does nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadExtent {
    /// What one statement reads.
    Statement,
    /// What the statements of a READ ONLY block read; their client decides when it ends.
    Block,
}

/// A database as one gateway sees it.
#[async_trait]
pub trait Database: Send + Sync {
    /// Begins a transaction. Costs nothing until the first read or write.
    fn begin(&self, options: &TransactionOptions) -> Result<Box<dyn Transaction>, Error>;
    /// The newest catalog this gateway knows, perhaps outdated; answers that depend on it are checked by the transaction.
    fn cached_catalog(&self) -> Arc<Catalog>;
    /// Numbers and names of all databases that the host has, for lists of them; none where there is only this one.
    fn all(&self) -> Vec<(u32, String)> {
        Vec::new()
    }
    /// `committed`, `aborted`, `in progress`, or `None` when it is not known any more.
    async fn txid_status(&self, txid: i64) -> Result<Option<&'static str>, Error>;
}

/// One transaction. Dropping it without `commit` rolls it back.
///
/// After an error of the transaction itself (classes 08, 40, 58 and XX, 57P01) nothing but `rollback` makes sense. After any other error, and after a
/// call that was dropped before its end, so does `rollback_to`.
#[async_trait]
pub trait Transaction: Send {
    /// Declares, before anything is read, that the transaction will only read. Then it may get a snapshot that no writer can spoil.
    /// A declaration that comes too late, or proves wrong, does no harm.
    fn only_reads(&mut self, extent: ReadExtent) {
        let _ = extent;
    }
    /// The catalog of the transaction's snapshot with the transaction's own DDL on top. The first call may return a cached
    /// catalog; whatever is answered on its ground is validated like any other read. An implementation that finds its cached catalog outdated
    /// renews it, so that the transaction's repetition does not meet it again.
    async fn catalog(&mut self) -> Result<Arc<Catalog>, Error>;
    /// Makes sure that the catalog returned last is the true one at the snapshot; `Ok(true)` if so. `Ok(false)`: call `catalog` and plan
    /// again. To be called before an error that depends on the catalog ("does not exist") is reported.
    async fn catalog_is_current(&mut self) -> Result<bool, Error>;
    /// Replaces the catalog by `new` within this transaction; committed with it. Needs every replica set.
    async fn alter_catalog(&mut self, new: Arc<Catalog>) -> Result<(), Error>;
    /// A storage id never used before, for a new or rewritten table.
    async fn new_storage_id(&mut self) -> Result<u32, Error>;
    /// Declares that the statement uses this version of a table, so that DDL racing with it is a conflict.
    fn uses_table(&mut self, table: &crate::catalog::Table);
    /// Reads rows by key, own writes included. The answer has one element per key.
    async fn get(&mut self, keys: &[(Placement, Bytes)], mode: ReadMode) -> Result<Vec<Option<Bytes>>, Error>;
    /// Reads a piece of a range, own writes included; the span read is remembered for validation, whatever a program keeps of it. A program is not
    /// run over a range in which the transaction has written. An error of a program is that of the statement.
    async fn scan(&mut self, scan: &Scan, from: Option<ScanCursor>) -> Result<ScanPage, Error>;
    /// Buffers a write; `value` `None` deletes. `insert` makes an existing row (the transaction's own writes included) an error at the
    /// latest on commit: 23505, made by [`duplicate_key`].
    /// Streams ahead as staged writes above `transaction_memory`.
    async fn put(&mut self, placement: Placement, key: Bytes, value: Option<Bytes>, insert: bool) -> Result<(), Error>;
    /// A hidden row id for a table without a primary key, and the slot it lives in.
    fn new_row_id(&mut self) -> ([u8; 16], u16);
    /// This transaction's id for `txid_current()`; the transaction then leaves a record for `txid_status()`.
    async fn txid_current(&mut self) -> Result<i64, Error>;
    /// Makes a savepoint; numbers rise within a transaction. Costs nothing until something is written.
    fn savepoint(&mut self, number: u64);
    /// Forgets a savepoint and those after it.
    fn release(&mut self, savepoint: u64);
    /// Takes back what was written since a savepoint, changes of the catalog included; the savepoint stays, those after it are forgotten. What
    /// was read stays to be validated, and locks stay held.
    ///
    /// # Errors
    /// 54000 if too much was written since, with nothing done; 40001 if the transaction can only be rolled back.
    async fn rollback_to(&mut self, savepoint: u64) -> Result<(), Error>;
    /// Validates what was read so far, so that an error which depends on data may be reported.
    async fn validate(&mut self) -> Result<(), Error>;
    /// Commits. `Ok` only if it is committed; [`Error`] with 40001 if it certainly is not, 40003 if it cannot be known.
    async fn commit(self: Box<Self>) -> Result<(), Error>;
    /// Rolls back.
    async fn rollback(self: Box<Self>);
    /// The age to hand to [`TransactionOptions::age_of`] when this transaction is repeated.
    fn age(&self) -> u64;
}
