//! A SQL session's transaction over the replica sets: placement, catalog rows, pages of scans.
//!
//! A statement is planned with a cached catalog. In one replica set that takes part in the transaction, the catalog row of each table that it touches is
//! read at the transaction's snapshot and compared with the one planned with; being read, it is validated on commit like any other
//! row. One set is enough, since DDL writes the row in all of them with one timestamp: at the snapshot either every copy shows it or none, and until
//! the outcome is known the row that was read keeps DDL from preparing. So a statement never mixes schemas, and DDL that races with it
//! is a conflict, never damage.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{BufMut, Bytes, BytesMut};
use quorate_sql::catalog::{Catalog, Table};
use quorate_sql::error::{Error, SqlState};
use quorate_sql::program;
use quorate_sql::storage::{Placement, ReadExtent, ReadMode, Scan, ScanCursor, ScanPage, StoredRow, Transaction};
use quorate_txn::apply::next_key;
use quorate_txn::coordinator::{self, ScanProgram, ScanRange, TxnError};
use quorate_txn::protocol::SetId;

use super::catalog::{Known, VersionRow, table_key, transaction_key};
use super::database::Inner;
use super::errors::session_error;

/// Bounds of one page of a scan.
const PAGE_ROWS: u32 = 4096;
const PAGE_BYTES: u32 = 1 << 20;
/// Bounds of what a program is run over for one page.
const PROGRAM_ROWS: u32 = 65_536;
const PROGRAM_BYTES: u32 = 16 << 20;

/// The transaction.
pub struct SessionTransaction {
    database: Arc<Inner>,
    txn: coordinator::Transaction,
    known: Arc<Known>,
    /// The catalog with this transaction's own DDL.
    altered: Option<Arc<Catalog>>,
    /// `altered` when each savepoint was made, the oldest first.
    savepoints: Vec<(u64, Option<Arc<Catalog>>)>,
    /// The storage id that the next new table gets, once one was asked for. Never taken back.
    next_storage_id: Option<u32>,
    /// Tables whose catalog rows were compared.
    compared: HashSet<u32>,
    /// Tables whose catalog rows are still to be compared before the end.
    pending: HashSet<u32>,
    /// The set that the transaction read first.
    read_from: Option<SetId>,
    /// Sets that the transaction locked or wrote in; the last is where rows without a key go.
    wrote_to: Vec<SetId>,
    recorded: bool,
    /// Which of its first reads takes a cut through all sets as the snapshot.
    cut: CutAt,
    /// It repeats one that lost.
    repeats: bool,
    age: u64,
}

/// Which first read of a transaction takes a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CutAt {
    /// None: it may write, or has its snapshot.
    None,
    /// A scan of several sets. Reads by key are validated: that is cheaper for all, and hardly ever fails.
    Scan,
    /// Any.
    Any,
}

impl SessionTransaction {
    pub(super) fn new(database: Arc<Inner>, mut txn: coordinator::Transaction, repeats: bool) -> Self {
        let age = txn.age();
        let known = database.known();
        Self {
            database,
            txn,
            known,
            altered: None,
            savepoints: Vec::new(),
            next_storage_id: None,
            compared: HashSet::new(),
            pending: HashSet::new(),
            read_from: None,
            wrote_to: Vec::new(),
            recorded: false,
            cut: CutAt::None,
            repeats,
            age,
        }
    }

    fn fail(&self) -> impl Fn(TxnError) -> Error + use<> {
        let known = self.known.clone();
        move |error| session_error(error, &known)
    }

    /// The set in which copies of duplicate rows are read: one in use already, else one led nearby.
    fn reading_set(&self) -> SetId {
        self.wrote_to.last().copied().or(self.read_from).unwrap_or_else(|| {
            let layout = self.database.layout.read();
            let at = self.database.gateway.instance() as usize % layout.sets.len();
            layout.sets[at]
        })
    }

    fn sets(&self, placement: Placement) -> Vec<SetId> {
        match placement {
            Placement::Slot(slot) => vec![self.database.set_of_slot(slot)],
            Placement::AllSlots => self.database.layout.read().sets.clone(),
            Placement::Duplicate => vec![self.reading_set()],
        }
    }

    /// To be called before a read: takes a cut through all sets as the snapshot, if this read is one that does.
    async fn take_cut(&mut self, scan: bool) -> Result<(), Error> {
        let wanted = match self.cut {
            CutAt::None => return Ok(()),
            CutAt::Scan => scan,
            CutAt::Any => true,
        };
        self.cut = CutAt::None;
        let sets = self.database.layout.read().sets.clone();
        if wanted && sets.len() > 1 && self.wrote_to.is_empty() {
            // Where there is none the transaction reads as any other.
            self.txn.take_cut(&sets).await.map_err(self.fail())?;
        }
        Ok(())
    }

    /// The table that a key belongs to, if its catalog row must be compared: not for system rows nor for what this
    /// transaction itself made.
    fn relies_on(&self, key: &[u8]) -> Option<u32> {
        let table = *self.known.by_storage.get(&quorate_sql::key::storage_id(key)?)?;
        (self.altered.is_none() && !self.compared.contains(&table)).then_some(table)
    }

    /// Compares catalog rows with those planned with.
    async fn compare(&mut self, set: SetId, tables: Vec<u32>, rows: Vec<Option<Bytes>>) -> Result<(), Error> {
        for (table, row) in tables.into_iter().zip(rows) {
            if row.as_ref() != self.known.rows.get(&table) {
                let name = self.known.catalog.table_by_id(table).map(|table| table.name.clone()).unwrap_or_default();
                self.database.refresh_catalog(set).await?;
                return Err(Error::retry(format!("table \"{name}\" was changed by a concurrent transaction"))
                    .with_detail("TT005: the statement was planned with the table's earlier definition.")
                    .with_hint("The transaction might succeed if retried."));
            }
            self.compared.insert(table);
            self.pending.remove(&table);
        }
        Ok(())
    }

    /// Reads keys of a set together with the catalog rows that they rely on.
    async fn get_in(&mut self, set: SetId, keys: &[Bytes]) -> Result<Vec<Option<Bytes>>, Error> {
        self.read_from.get_or_insert(set);
        let tables = self.unseen(keys);
        if tables.is_empty() {
            return self.txn.get(set, keys).await.map_err(self.fail());
        }
        let all: Vec<Bytes> = tables.iter().map(|table| table_key(*table)).chain(keys.iter().cloned()).collect();
        let mut rows = self.txn.get(set, &all).await.map_err(self.fail())?;
        let values = rows.split_off(tables.len());
        self.compare(set, tables, rows).await?;
        Ok(values)
    }

    /// Tables of these keys whose catalog rows were not compared.
    fn unseen(&self, keys: &[Bytes]) -> Vec<u32> {
        let mut tables: Vec<u32> = Vec::new();
        let mut last: &[u8] = &[];
        for key in keys {
            let prefix = &key[..key.len().min(quorate_sql::key::STORAGE_ID_LENGTH)];
            if prefix != last {
                last = prefix;
                if let Some(table) = self.relies_on(key).filter(|table| !tables.contains(table)) {
                    tables.push(table);
                }
            }
        }
        tables
    }

    /// The set is locked or written in; the catalog rows of these keys must be compared before the end.
    fn writes_in(&mut self, set: SetId, keys: &[Bytes]) {
        let tables = self.unseen(keys);
        self.pending.extend(tables);
        if self.wrote_to.last() != Some(&set) {
            self.wrote_to.retain(|known| *known != set);
            self.wrote_to.push(set);
        }
    }

    async fn compare_pending(&mut self) -> Result<(), Error> {
        // They stay pending until they are compared: a statement that is cancelled meanwhile may not be the last.
        let mut tables: Vec<u32> = self.pending.iter().copied().collect();
        if tables.is_empty() {
            return Ok(());
        }
        tables.sort_unstable();
        // At a set that takes part anyway, if possible one that this instance leads: it need not wait for a follower to catch up.
        let led = self.wrote_to.iter().copied().find(|set| self.database.router.leads(*set));
        let set = led.unwrap_or_else(|| self.reading_set());
        let keys: Vec<Bytes> = tables.iter().map(|table| table_key(*table)).collect();
        let rows = self.txn.get_to_check(set, &keys).await.map_err(self.fail())?;
        self.compare(set, tables, rows).await
    }

    /// Leaves the record by which `txid_status` knows the transaction.
    async fn record(&mut self) -> Result<(), Error> {
        let (key, slot) = transaction_key(self.txn.id());
        let set = self.database.set_of_slot(slot);
        self.txn.put(set, key, Some(Bytes::from_static(&[1])), false).await.map_err(self.fail())
    }

    async fn scan_set(
        &mut self,
        set: SetId,
        start: Bytes,
        end: Bytes,
        scan: &Scan,
    ) -> Result<coordinator::Page, Error> {
        let wanted = scan.limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(PAGE_ROWS);
        let range = ScanRange {
            start,
            end,
            reverse: scan.reverse,
            rows_max: wanted.clamp(1, PAGE_ROWS),
            bytes_max: PAGE_BYTES,
            program: scan.program.clone().map(|code| ScanProgram {
                code,
                rows_max: PROGRAM_ROWS,
                bytes_max: PROGRAM_BYTES,
            }),
        };
        self.txn.scan(set, &range).await.map_err(self.fail())
    }

    /// One set after the other. The cursor names the set (4 bytes) and where its scan goes on.
    async fn scan_in_turn(&mut self, sets: &[SetId], scan: &Scan, from: Option<ScanCursor>) -> Result<ScanPage, Error> {
        let (mut at, mut position) = (0, None);
        if let Some(ScanCursor(cursor)) = from {
            let (head, rest) =
                cursor.split_at_checked(4).ok_or_else(|| Error::internal("a scan's cursor is cut short"))?;
            at = u32::from_be_bytes(head.try_into().expect("four bytes")) as usize;
            position = (!rest.is_empty()).then(|| cursor.slice(4..));
        }
        let Some(set) = sets.get(at).copied() else { return Ok(ScanPage::default()) };
        let (start, end) = bounds(scan, position);
        let page = self.scan_set(set, start, end, scan).await?;
        let (page, output) = match page {
            // Rows that were not gone through where they were read, in an order: the first wrong one ends those before it, as it does there.
            page if scan.ordered && scan.program.is_some() && page.output.is_none() => {
                let part = Part::new(page, scan)?;
                if let Some(error) = part.wrong {
                    return Err(error);
                }
                let output = Some(program::from_keyed_rows(&part.rows)?);
                (coordinator::Page { rows: Vec::new(), output: None, resume: part.resume }, output)
            }
            mut page => {
                let output = page.output.take().transpose().map_err(|wrong| program::decode_error(&wrong))?;
                (page, output)
            }
        };
        let next = match page.resume {
            Some(resume) => Some(cursor(at, &resume)),
            None if at + 1 < sets.len() => Some(cursor(at + 1, &[])),
            None => None,
        };
        Ok(ScanPage { rows: rows(page.rows), output, next })
    }

    /// All sets at once, merged. Each gives a page; what lies beyond the first page to end is read again with the next. The cursor is the
    /// position in key order.
    async fn scan_merged(&mut self, sets: &[SetId], scan: &Scan, from: Option<ScanCursor>) -> Result<ScanPage, Error> {
        let (start, end) = bounds(scan, from.map(|cursor| cursor.0));
        let mut merged: Vec<(Bytes, Bytes)> = Vec::new();
        let mut edge: Option<Bytes> = None;
        let mut failed: Option<(Bytes, Error)> = None;
        for set in sets {
            let page = self.scan_set(*set, start.clone(), end.clone(), scan).await?;
            let mut part = Part::new(page, scan)?;
            merged.append(&mut part.rows);
            if let Some(resume) = part.resume {
                let first = edge.as_ref().is_none_or(|edge| if scan.reverse { resume > *edge } else { resume < *edge });
                if first {
                    failed = part.wrong.map(|error| (resume.clone(), error));
                    edge = Some(resume);
                }
            }
        }
        if let Some(edge) = &edge {
            // Ascending, the edge is the first key not seen; descending, the first key above everything not seen.
            merged.retain(|(key, _)| if scan.reverse { key >= edge } else { key < edge });
        }
        merged.sort_unstable_by(|a, b| if scan.reverse { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) });
        let next = match failed {
            // The rows before the one that is wrong come first; nobody may want more than those.
            Some((behind, _)) if !merged.is_empty() => Some(ScanCursor(at_row(&behind, scan.reverse))),
            Some((_, error)) => return Err(error),
            None => edge.map(ScanCursor),
        };
        if scan.program.is_some() {
            return Ok(ScanPage { rows: Vec::new(), output: Some(program::from_keyed_rows(&merged)?), next });
        }
        Ok(ScanPage { rows: rows(merged), output: None, next })
    }
}

/// What one set gives to a merged page: stored rows, or with a program what it makes of them.
struct Part {
    rows: Vec<(Bytes, Bytes)>,
    resume: Option<Bytes>,
    /// What is wrong with the row just before `resume`; no others come then.
    wrong: Option<Error>,
}

impl Part {
    fn new(page: coordinator::Page, scan: &Scan) -> Result<Part, Error> {
        let coordinator::Page { mut rows, output, resume } = page;
        match (output, &scan.program) {
            (Some(Ok(output)), _) => Ok(Part { rows: program::keyed_rows(&output)?, resume, wrong: None }),
            (Some(Err(wrong)), _) => {
                let wrong = program::decode_error(&wrong);
                // A page that fails without a row to blame fails at once.
                if resume.is_none() { Err(wrong) } else { Ok(Part { rows: Vec::new(), resume, wrong: Some(wrong) }) }
            }
            (None, None) => Ok(Part { rows, resume, wrong: None }),
            (None, Some(program)) => {
                let (output, stopped) = program::over(program, &rows)?;
                let done = program::keyed_rows(&output)?;
                let Some(stopped) = stopped else { return Ok(Part { rows: done, resume, wrong: None }) };
                let (key, _) = rows.swap_remove(stopped.at);
                // Ascending scans begin with a key, descending ones end behind it; behind a row it is the other way round.
                let part = if stopped.at == 0 {
                    let behind = if scan.reverse { key } else { next_key(&key) };
                    Part { rows: Vec::new(), resume: Some(behind), wrong: Some(stopped.error) }
                } else {
                    let before = if scan.reverse { next_key(&key) } else { key };
                    Part { rows: done, resume: Some(before), wrong: None }
                };
                Ok(part)
            }
        }
    }
}

/// Where a scan goes on that shall meet a row again, by where it would go on behind it.
fn at_row(behind: &Bytes, reverse: bool) -> Bytes {
    if reverse { next_key(behind) } else { behind.slice(..behind.len() - 1) }
}

fn bounds(scan: &Scan, position: Option<Bytes>) -> (Bytes, Bytes) {
    let (start, end) = (scan.range.start.clone(), scan.range.end.clone());
    match position {
        None => (start, end),
        Some(position) if scan.reverse => (start, position),
        Some(position) => (position, end),
    }
}

fn cursor(set: usize, position: &[u8]) -> ScanCursor {
    let mut out = BytesMut::with_capacity(4 + position.len());
    out.put_u32(set as u32);
    out.put_slice(position);
    ScanCursor(out.freeze())
}

fn rows(pairs: Vec<(Bytes, Bytes)>) -> Vec<StoredRow> {
    pairs.into_iter().map(|(key, value)| StoredRow { key, value }).collect()
}

#[async_trait]
impl Transaction for SessionTransaction {
    fn only_reads(&mut self, extent: ReadExtent) {
        if self.txn.snapshot().is_none() {
            // A READ ONLY block is to see one snapshot however long it takes; a statement that lost once shall not lose again.
            let any = extent == ReadExtent::Block || self.repeats;
            self.cut = if any { CutAt::Any } else { CutAt::Scan };
        }
    }

    async fn catalog(&mut self) -> Result<Arc<Catalog>, Error> {
        if let Some(altered) = &self.altered {
            return Ok(altered.clone());
        }
        // A transaction that has touched nothing yet may use the newest catalog; later it stays with the one it began with.
        if self.compared.is_empty() && self.pending.is_empty() && self.txn.snapshot().is_none() {
            self.known = self.database.known();
        }
        Ok(self.known.catalog.clone())
    }

    async fn catalog_is_current(&mut self) -> Result<bool, Error> {
        if self.altered.is_some() {
            return Ok(true);
        }
        self.take_cut(false).await?;
        let before = self.known.version;
        let set = self.reading_set();
        let known = self.database.read_catalog(&mut self.txn, set).await?;
        if known.version == before {
            return Ok(true);
        }
        if !self.compared.is_empty() || !self.pending.is_empty() {
            return Err(Error::retry("the catalog was changed by a concurrent transaction"));
        }
        self.known = known;
        Ok(false)
    }

    async fn alter_catalog(&mut self, new: Arc<Catalog>) -> Result<(), Error> {
        let old = self.altered.clone().unwrap_or_else(|| self.known.catalog.clone());
        let sets = self.sets(Placement::AllSlots);
        if self.altered.is_none() {
            // Read in every set, so that two changes of the catalog conflict wherever they meet.
            for set in &sets {
                let row = self.txn.get(*set, &[VersionRow::key()]).await.map_err(self.fail())?.pop().flatten();
                if VersionRow::decode(row)? != self.known.version {
                    self.database.refresh_catalog(*set).await?;
                    return Err(Error::retry("the catalog was changed by a concurrent transaction"));
                }
            }
        }
        let version = VersionRow {
            version: self.known.version.version + 1,
            next_storage_id: self.next_storage_id.unwrap_or(self.known.version.next_storage_id),
        };
        for set in sets {
            for id in new.changed_since(&old) {
                let row = new.table_by_id(id).map(|table| Bytes::from(table.encode()));
                self.txn.put(set, table_key(id), row, false).await.map_err(self.fail())?;
            }
            self.txn.put(set, VersionRow::key(), Some(version.encode()), false).await.map_err(self.fail())?;
        }
        self.altered = Some(new);
        Ok(())
    }

    async fn new_storage_id(&mut self) -> Result<u32, Error> {
        let id = self.next_storage_id.unwrap_or(self.known.version.next_storage_id);
        self.next_storage_id = Some(id + 1);
        Ok(id)
    }

    fn uses_table(&mut self, _table: &Table) {
        // The keys that a statement touches say which tables it uses, and where.
    }

    async fn get(&mut self, keys: &[(Placement, Bytes)], mode: ReadMode) -> Result<Vec<Option<Bytes>>, Error> {
        if mode == ReadMode::Snapshot {
            self.take_cut(false).await?;
        }
        let mut by_set: Vec<(SetId, Vec<usize>)> = Vec::new();
        for (at, (placement, _)) in keys.iter().enumerate() {
            let sets = match (placement, mode) {
                // Whoever changes a duplicate row locks it in every set, in the same order as everybody else.
                (Placement::Duplicate, ReadMode::Lock) => self.sets(Placement::AllSlots),
                _ => self.sets(*placement),
            };
            for set in sets {
                match by_set.iter_mut().find(|(known, _)| *known == set) {
                    Some((_, places)) => places.push(at),
                    None => by_set.push((set, vec![at])),
                }
            }
        }
        let mut values = vec![None; keys.len()];
        for (set, places) in by_set {
            let wanted: Vec<Bytes> = places.iter().map(|at| keys[*at].1.clone()).collect();
            let found = match mode {
                ReadMode::Snapshot => self.get_in(set, &wanted).await?,
                ReadMode::Lock => {
                    let found = self.txn.lock_get(set, &wanted).await.map_err(self.fail())?;
                    self.writes_in(set, &wanted);
                    found
                }
            };
            for (at, value) in places.into_iter().zip(found) {
                values[at] = value;
            }
        }
        Ok(values)
    }

    async fn scan(&mut self, scan: &Scan, from: Option<ScanCursor>) -> Result<ScanPage, Error> {
        let sets = self.sets(scan.placement);
        self.take_cut(sets.len() > 1).await?;
        let tables = self.unseen(std::slice::from_ref(&scan.range.start));
        if let (Some(set), false) = (sets.first().copied(), tables.is_empty()) {
            self.read_from.get_or_insert(set);
            let keys: Vec<Bytes> = tables.iter().map(|table| table_key(*table)).collect();
            let rows = self.txn.get(set, &keys).await.map_err(self.fail())?;
            self.compare(set, tables, rows).await?;
        }
        if sets.len() > 1 && (scan.ordered || scan.reverse) {
            return self.scan_merged(&sets, scan, from).await;
        }
        self.scan_in_turn(&sets, scan, from).await
    }

    async fn put(&mut self, placement: Placement, key: Bytes, value: Option<Bytes>, insert: bool) -> Result<(), Error> {
        let sets = match placement {
            Placement::Duplicate => self.sets(Placement::AllSlots),
            Placement::Slot(slot) => {
                let set = self.database.set_of_slot(slot);
                self.writes_in(set, std::slice::from_ref(&key));
                return self.txn.put(set, key, value, insert).await.map_err(self.fail());
            }
            Placement::AllSlots => return Err(Error::internal("a row is written to one slot or to every set")),
        };
        for set in sets {
            self.writes_in(set, std::slice::from_ref(&key));
            self.txn.put(set, key.clone(), value.clone(), insert).await.map_err(self.fail())?;
        }
        Ok(())
    }

    fn new_row_id(&mut self) -> ([u8; 16], u16) {
        let number = self.database.next_row_number();
        let layout = self.database.layout.read().clone();
        // A transaction that has written keeps such rows where it writes anyway; the others spread them.
        let at = self.wrote_to.last().and_then(|set| layout.sets.binary_search(set).ok());
        let slots = &layout.slots_of[at.unwrap_or(number as usize % layout.sets.len())];
        let slot = slots[number as usize % slots.len()];
        let mut id = [0; 16];
        id[..2].copy_from_slice(&slot.to_be_bytes());
        id[2..6].copy_from_slice(&self.database.gateway.0.to_be_bytes());
        id[8..].copy_from_slice(&number.to_be_bytes());
        (id, slot)
    }

    async fn txid_current(&mut self) -> Result<i64, Error> {
        let txn = self.txn.id();
        if !self.recorded {
            self.record().await?;
            self.recorded = true;
        }
        i64::try_from(txn.0).map_err(|_| Error::internal("a transaction id has 63 bits"))
    }

    fn savepoint(&mut self, number: u64) {
        self.savepoints.push((number, self.altered.clone()));
        self.txn.savepoint(number);
    }

    fn release(&mut self, savepoint: u64) {
        self.savepoints.truncate(self.savepoints.partition_point(|(number, _)| *number < savepoint));
        self.txn.release(savepoint);
    }

    async fn rollback_to(&mut self, savepoint: u64) -> Result<(), Error> {
        self.txn.roll_back_to(savepoint).map_err(self.fail())?;
        self.savepoints.truncate(self.savepoints.partition_point(|(number, _)| *number <= savepoint));
        // What the catalog's rows were compared with stays: they were read, and are validated.
        self.altered = self.savepoints.last().and_then(|(_, altered)| altered.clone());
        // The id was given out, and can be asked for.
        if self.recorded { self.record().await } else { Ok(()) }
    }

    async fn validate(&mut self) -> Result<(), Error> {
        self.compare_pending().await?;
        self.txn.validate().await.map_err(self.fail())
    }

    async fn commit(mut self: Box<Self>) -> Result<(), Error> {
        self.compare_pending().await?;
        let fail = self.fail();
        let mut this = *self;
        // Only a transaction that left a record can be asked for later; of others a participant that never heard of them would say "aborted".
        let recorded = if this.recorded { Some(this.txn.id().0) } else { None };
        this.txn.commit().await.map(drop).map_err(|error| match (fail(error), recorded) {
            (error, Some(id)) if error.code == SqlState::STATEMENT_COMPLETION_UNKNOWN => {
                error.with_hint(format!("SELECT txid_status({id}) tells once its replica sets answer again."))
            }
            (error, _) => error,
        })?;
        if this.altered.is_some() {
            // The next statement of this gateway sees its own DDL without having to stumble over it. Failing to is no failure of the commit.
            let set = this.database.layout.read().sets[0];
            if let Err(error) = this.database.refresh_catalog(set).await {
                tracing::debug!(database = this.database.name, %error, "the catalog is read again later");
            }
        }
        Ok(())
    }

    async fn rollback(self: Box<Self>) {
        self.txn.rollback();
    }

    fn age(&self) -> u64 {
        self.age
    }
}
