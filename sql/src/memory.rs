//! A database in memory, for tests: the storage traits with snapshots, validation, locks and outdated catalogs, and nothing distributed.
//!
//! It keeps versions in three "replica sets" and puts rows where their [`Placement`] says, so that a read in the wrong place finds nothing,
//! as it would in a grid. Each [`MemoryDatabase`] handle is one gateway with a catalog cache of its own, which is only renewed when a
//! transaction finds it outdated. Scans come in small pages.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use async_trait::async_trait;
use bytes::Bytes;

use crate::catalog::{Catalog, Table};
use crate::error::Error;
use crate::storage::{
    Database, Placement, ReadMode, Scan, ScanCursor, ScanPage, StoredRow, Transaction, TransactionOptions,
    duplicate_key,
};

const SETS: usize = 3;
/// Rows of a page of a scan.
const PAGE_ROWS: usize = 100;
/// Ids below are left to a system that would have tables of its own.
const FIRST_STORAGE_ID: u32 = 16_384;

/// Versions of a row, the newest last.
type Versions = Vec<(u64, Option<Bytes>)>;

struct State {
    sets: [BTreeMap<Bytes, Versions>; SETS],
    /// The newest commit.
    clock: u64,
    catalogs: Vec<(u64, Arc<Catalog>)>,
    next_storage_id: u32,
    next_row_id: u64,
    next_txid: i64,
    next_age: u64,
    outcomes: HashMap<i64, &'static str>,
    locks: HashMap<Bytes, u64>,
    waiting: Vec<Waker>,
    /// Commits that are still to fail with 40001, for tests.
    races_to_lose: u32,
}

impl State {
    fn catalog(&self) -> &Arc<Catalog> {
        &self.catalogs.last().expect("there is always one").1
    }

    fn newest(&self, set: usize, key: &[u8]) -> Option<&(u64, Option<Bytes>)> {
        self.sets[set].get(key).and_then(|versions| versions.last())
    }

    fn at(&self, set: usize, key: &[u8], snapshot: u64) -> Option<Bytes> {
        version_at(self.sets[set].get(key)?, snapshot)
    }

    fn unlock(&mut self, owner: u64) {
        self.locks.retain(|_, holder| *holder != owner);
        for waker in self.waiting.drain(..) {
            waker.wake();
        }
    }
}

fn version_at(versions: &Versions, snapshot: u64) -> Option<Bytes> {
    versions.iter().rev().find(|(timestamp, _)| *timestamp <= snapshot).and_then(|(_, value)| value.clone())
}

/// One gateway of a database in memory.
#[derive(Clone)]
pub struct MemoryDatabase {
    state: Arc<Mutex<State>>,
    cached: Arc<Mutex<Arc<Catalog>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for MemoryDatabase {
    fn default() -> MemoryDatabase {
        MemoryDatabase::new()
    }
}

impl MemoryDatabase {
    /// An empty database.
    pub fn new() -> MemoryDatabase {
        let catalog = Arc::new(Catalog::new(0, []));
        let state = State {
            sets: Default::default(),
            clock: 0,
            catalogs: vec![(0, catalog.clone())],
            next_storage_id: FIRST_STORAGE_ID,
            next_row_id: 1,
            next_txid: 1,
            next_age: 1,
            outcomes: HashMap::new(),
            locks: HashMap::new(),
            waiting: Vec::new(),
            races_to_lose: 0,
        };
        MemoryDatabase { state: Arc::new(Mutex::new(state)), cached: Arc::new(Mutex::new(catalog)) }
    }

    /// Another gateway of the same database, with the catalog cache as it is now.
    pub fn another_gateway(&self) -> MemoryDatabase {
        MemoryDatabase { state: self.state.clone(), cached: Arc::new(Mutex::new(lock(&self.cached).clone())) }
    }

    /// Makes the next `count` commits fail with 40001.
    pub fn lose_races(&self, count: u32) {
        lock(&self.state).races_to_lose = count;
    }
}

#[async_trait]
impl Database for MemoryDatabase {
    fn begin(&self, options: &TransactionOptions) -> Result<Box<dyn Transaction>, Error> {
        let mut state = lock(&self.state);
        let age = options.age_of.unwrap_or(state.next_age);
        let owner = state.next_age;
        state.next_age += 1;
        Ok(Box::new(MemoryTransaction {
            database: self.clone(),
            age,
            owner,
            snapshot: None,
            keys_read: BTreeSet::new(),
            ranges_read: Vec::new(),
            tables_used: HashMap::new(),
            writes: BTreeMap::new(),
            inserts: BTreeSet::new(),
            catalog: None,
            altered: None,
            savepoints: Vec::new(),
            txid: None,
            holds_locks: false,
        }))
    }

    fn cached_catalog(&self) -> Arc<Catalog> {
        lock(&self.cached).clone()
    }

    async fn txid_status(&self, txid: i64) -> Result<Option<&'static str>, Error> {
        Ok(lock(&self.state).outcomes.get(&txid).copied())
    }
}

struct MemoryTransaction {
    database: MemoryDatabase,
    age: u64,
    /// Differs from all others, repetitions included.
    owner: u64,
    snapshot: Option<u64>,
    keys_read: BTreeSet<(usize, Bytes)>,
    ranges_read: Vec<(usize, Range<Bytes>)>,
    /// Versions of the tables used, by their ids.
    tables_used: HashMap<u32, u32>,
    writes: BTreeMap<(usize, Bytes), Option<Bytes>>,
    inserts: BTreeSet<(usize, Bytes)>,
    /// The catalog given out last.
    catalog: Option<Arc<Catalog>>,
    altered: Option<Arc<Catalog>>,
    savepoints: Vec<Copy>,
    txid: Option<i64>,
    holds_locks: bool,
}

/// What a savepoint brings back.
struct Copy {
    number: u64,
    writes: BTreeMap<(usize, Bytes), Option<Bytes>>,
    inserts: BTreeSet<(usize, Bytes)>,
    altered: Option<Arc<Catalog>>,
}

impl MemoryTransaction {
    fn sets(placement: Placement) -> Range<usize> {
        match placement {
            Placement::Slot(slot) => usize::from(slot) % SETS..usize::from(slot) % SETS + 1,
            Placement::AllSlots => 0..SETS,
            Placement::Duplicate => 0..1,
        }
    }

    fn snapshot(&mut self, state: &State) -> u64 {
        *self.snapshot.get_or_insert(state.clock)
    }

    fn own(&self, set: usize, key: &Bytes) -> Option<&Option<Bytes>> {
        self.writes.get(&(set, key.clone()))
    }

    /// Forgets an outdated catalog, so that a repetition does not meet it again.
    fn renew_catalog(&self, state: &State) {
        *lock(&self.database.cached) = state.catalog().clone();
    }

    /// Whether everything read so far is still as it was at the snapshot.
    fn holds(&self, state: &State) -> bool {
        let Some(snapshot) = self.snapshot else { return true };
        let catalog = state.catalog();
        let tables = self
            .tables_used
            .iter()
            .all(|(id, version)| catalog.table_by_id(*id).is_some_and(|table| table.version == *version));
        let altered =
            self.altered.is_none() || state.catalogs.last().is_none_or(|(timestamp, _)| *timestamp <= snapshot);
        let keys = self
            .keys_read
            .iter()
            .all(|(set, key)| state.newest(*set, key).is_none_or(|(timestamp, _)| *timestamp <= snapshot));
        let unchanged = |(set, range): &(usize, Range<Bytes>)| {
            state.sets[*set]
                .range(range.clone())
                .all(|(_, versions)| versions.last().is_none_or(|(timestamp, _)| *timestamp <= snapshot))
        };
        tables && altered && keys && self.ranges_read.iter().all(unchanged)
    }

    async fn lock_key(&mut self, key: &Bytes) -> Result<(), Error> {
        let (owner, age, holds) = (self.owner, self.age, self.holds_locks);
        let state = self.database.state.clone();
        std::future::poll_fn(move |context| {
            let mut state = lock(&state);
            match state.locks.get(key) {
                Some(holder) if *holder != owner => {
                    // Whoever holds locks and is younger gives way, so that no circle lasts.
                    if holds && age > *holder {
                        return Poll::Ready(Err(Error::retry(
                            "could not serialize access: a row is locked by an older transaction",
                        )));
                    }
                    state.waiting.push(context.waker().clone());
                    Poll::Pending
                }
                _ => {
                    state.locks.insert(key.clone(), owner);
                    Poll::Ready(Ok(()))
                }
            }
        })
        .await?;
        self.holds_locks = true;
        Ok(())
    }
}

impl Drop for MemoryTransaction {
    fn drop(&mut self) {
        let mut state = lock(&self.database.state);
        state.unlock(self.owner);
        if let Some(txid) = self.txid {
            state
                .outcomes
                .entry(txid)
                .and_modify(|status| *status = if *status == "in progress" { "aborted" } else { *status });
        }
    }
}

#[async_trait]
impl Transaction for MemoryTransaction {
    async fn catalog(&mut self) -> Result<Arc<Catalog>, Error> {
        let catalog = match &self.altered {
            Some(altered) => altered.clone(),
            None => self.database.cached_catalog(),
        };
        self.catalog = Some(catalog.clone());
        Ok(catalog)
    }

    async fn catalog_is_current(&mut self) -> Result<bool, Error> {
        if self.altered.is_some() {
            return Ok(true);
        }
        let database = self.database.clone();
        let state = lock(&database.state);
        let snapshot = self.snapshot(&state);
        let truth = state
            .catalogs
            .iter()
            .rev()
            .find(|(timestamp, _)| *timestamp <= snapshot)
            .map(|(_, catalog)| catalog.clone());
        let current = match (&self.catalog, &truth) {
            (Some(given), Some(truth)) => given.stamp() == truth.stamp(),
            _ => false,
        };
        if let (false, Some(truth)) = (current, truth) {
            *lock(&self.database.cached) = truth;
        }
        Ok(current)
    }

    async fn alter_catalog(&mut self, new: Arc<Catalog>) -> Result<(), Error> {
        let database = self.database.clone();
        self.snapshot(&lock(&database.state));
        self.altered = Some(new);
        Ok(())
    }

    async fn new_storage_id(&mut self) -> Result<u32, Error> {
        let mut state = lock(&self.database.state);
        state.next_storage_id += 1;
        Ok(state.next_storage_id - 1)
    }

    fn uses_table(&mut self, table: &Table) {
        let database = self.database.clone();
        let state = lock(&database.state);
        self.snapshot(&state);
        // Tables made or changed by this very transaction are checked as the catalog that it alters.
        if self.altered.is_none() {
            self.tables_used.insert(table.id, table.version);
        }
    }

    async fn get(&mut self, keys: &[(Placement, Bytes)], mode: ReadMode) -> Result<Vec<Option<Bytes>>, Error> {
        let mut found = Vec::with_capacity(keys.len());
        for (placement, key) in keys {
            let set = Self::sets(*placement).start;
            if mode == ReadMode::Lock {
                self.lock_key(key).await?;
                let database = self.database.clone();
                let state = lock(&database.state);
                let snapshot = self.snapshot(&state);
                if state.newest(set, key).is_some_and(|(timestamp, _)| *timestamp > snapshot) {
                    if !self.holds(&state) {
                        return Err(Error::retry("could not serialize access due to concurrent update"));
                    }
                    self.snapshot = Some(state.clock);
                }
            }
            let database = self.database.clone();
            let state = lock(&database.state);
            let snapshot = self.snapshot(&state);
            self.keys_read.insert((set, key.clone()));
            found.push(match self.own(set, key) {
                Some(own) => own.clone(),
                None => state.at(set, key, snapshot),
            });
        }
        Ok(found)
    }

    async fn scan(&mut self, scan: &Scan, from: Option<ScanCursor>) -> Result<ScanPage, Error> {
        let database = self.database.clone();
        let state = lock(&database.state);
        let snapshot = self.snapshot(&state);
        let sets = Self::sets(scan.placement);
        let mut rows: Vec<(usize, Bytes, Bytes)> = Vec::new();
        let mut wrote = false;
        for set in sets {
            self.ranges_read.push((set, scan.range.clone()));
            let mut merged: BTreeMap<Bytes, Option<Bytes>> = BTreeMap::new();
            for (key, versions) in state.sets[set].range(scan.range.clone()) {
                merged.insert(key.clone(), version_at(versions, snapshot));
            }
            let own = self.writes.range((set, scan.range.start.clone())..(set, scan.range.end.clone()));
            wrote |= own.clone().next().is_some();
            merged.extend(own.map(|((_, key), value)| (key.clone(), value.clone())));
            rows.extend(merged.into_iter().filter_map(|(key, value)| value.map(|value| (set, key, value))));
        }
        if scan.ordered || scan.reverse {
            rows.sort_by(|(_, a, _), (_, b, _)| if scan.reverse { b.cmp(a) } else { a.cmp(b) });
        }
        // A cursor names the last row given; own writes behind it since then change nothing.
        if let Some(ScanCursor(cursor)) = from {
            let (set, key) = (usize::from(cursor[0]), cursor.slice(1..));
            let place = rows.iter().position(|(other, row, _)| {
                if scan.ordered || scan.reverse {
                    if scan.reverse { *row < key } else { *row > key }
                } else {
                    (*other, row) > (set, &key)
                }
            });
            rows.drain(..place.unwrap_or(rows.len()));
        }
        let next = (rows.len() > PAGE_ROWS).then(|| {
            let (set, key, _) = &rows[PAGE_ROWS - 1];
            ScanCursor([&[*set as u8][..], key].concat().into())
        });
        rows.truncate(PAGE_ROWS);
        if let Some(program) = scan.program.as_ref().filter(|_| !wrote) {
            let pairs: Vec<(Bytes, Bytes)> = rows.into_iter().map(|(_, key, value)| (key, value)).collect();
            let (output, stopped) = crate::program::over(program, &pairs)?;
            return match stopped {
                Some(stopped) => Err(stopped.error),
                None => Ok(ScanPage { rows: Vec::new(), output: Some(output), next }),
            };
        }
        let rows = rows.into_iter().map(|(_, key, value)| StoredRow { key, value }).collect();
        Ok(ScanPage { rows, output: None, next })
    }

    async fn put(&mut self, placement: Placement, key: Bytes, value: Option<Bytes>, insert: bool) -> Result<(), Error> {
        let sets = if placement == Placement::Duplicate { 0..SETS } else { Self::sets(placement) };
        for set in sets {
            if insert {
                match self.own(set, &key) {
                    Some(Some(_)) => return Err(duplicate_key(&key)),
                    // Deleted by this transaction: room again.
                    Some(None) => {}
                    None => drop(self.inserts.insert((set, key.clone()))),
                }
            }
            self.writes.insert((set, key.clone()), value.clone());
        }
        Ok(())
    }

    fn new_row_id(&mut self) -> ([u8; 16], u16) {
        let mut state = lock(&self.database.state);
        let counter = state.next_row_id;
        state.next_row_id += 1;
        let slot = 7;
        let mut id = [0; 16];
        id[..2].copy_from_slice(&u16::to_be_bytes(slot));
        id[8..].copy_from_slice(&counter.to_be_bytes());
        (id, slot)
    }

    async fn txid_current(&mut self) -> Result<i64, Error> {
        let mut state = lock(&self.database.state);
        if let Some(txid) = self.txid {
            return Ok(txid);
        }
        let txid = state.next_txid;
        state.next_txid += 1;
        state.outcomes.insert(txid, "in progress");
        self.txid = Some(txid);
        Ok(txid)
    }

    fn savepoint(&mut self, number: u64) {
        let (writes, inserts, altered) = (self.writes.clone(), self.inserts.clone(), self.altered.clone());
        self.savepoints.push(Copy { number, writes, inserts, altered });
    }

    fn release(&mut self, savepoint: u64) {
        self.savepoints.retain(|copy| copy.number < savepoint);
    }

    async fn rollback_to(&mut self, savepoint: u64) -> Result<(), Error> {
        self.savepoints.retain(|copy| copy.number <= savepoint);
        let copy = self.savepoints.last().ok_or_else(|| Error::internal("a savepoint that is not there"))?;
        self.writes = copy.writes.clone();
        self.inserts = copy.inserts.clone();
        self.altered = copy.altered.clone();
        Ok(())
    }

    async fn validate(&mut self) -> Result<(), Error> {
        let state = lock(&self.database.state);
        if self.holds(&state) {
            return Ok(());
        }
        self.renew_catalog(&state);
        Err(Error::retry("could not serialize access: what was read has changed"))
    }

    async fn commit(mut self: Box<Self>) -> Result<(), Error> {
        let database = self.database.clone();
        let mut state = lock(&database.state);
        if state.races_to_lose > 0 {
            state.races_to_lose -= 1;
            drop(state);
            return Err(Error::retry("could not serialize access: a test wanted this"));
        }
        let failure = if !self.holds(&state) {
            self.renew_catalog(&state);
            Some(Error::retry("could not serialize access: what was read has changed"))
        } else {
            let existing = self
                .inserts
                .iter()
                .find(|(set, key)| state.newest(*set, key).is_some_and(|(_, value)| value.is_some()));
            existing.map(|(_, key)| duplicate_key(key))
        };
        if let Some(failure) = failure {
            drop(state);
            return Err(failure);
        }
        if !self.writes.is_empty() || self.altered.is_some() {
            state.clock += 1;
            let now = state.clock;
            for ((set, key), value) in std::mem::take(&mut self.writes) {
                state.sets[set].entry(key).or_default().push((now, value));
            }
            if let Some(catalog) = self.altered.take() {
                *lock(&database.cached) = catalog.clone();
                state.catalogs.push((now, catalog));
            }
        }
        if let Some(txid) = self.txid {
            state.outcomes.insert(txid, "committed");
        }
        drop(state);
        Ok(())
    }

    async fn rollback(self: Box<Self>) {}

    fn age(&self) -> u64 {
        self.age
    }
}
