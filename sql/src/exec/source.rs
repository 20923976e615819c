//! Where rows come from: pieces of tables, series, lists.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::relational::RowSource;
use super::{BATCH_ROWS, Run, SelectStream};
use crate::catalog::{Distribution, Table};
use crate::error::{Error, SqlState};
use crate::key;
use crate::plan::access::{Access, KeyValues, Path, RangePath};
use crate::plan::select::Source;
use crate::plan::series::Series;
use crate::session::Row;
use crate::storage::{Placement, ReadMode, Scan, ScanCursor, Transaction, row_id_slot};
use crate::types::Type;
use crate::value::Value;

/// Keys read in one call.
const KEYS_AT_ONCE: usize = 1000;
/// Most keys that IN lists may multiply to.
const KEYS_MAX: usize = 100_000;

/// A row found in a table, decoded, with its key.
pub(super) struct Found {
    pub(super) placement: Placement,
    pub(super) key: Bytes,
    pub(super) row: Row,
}

/// The place in a source.
pub(super) enum SourceState {
    OneRow(bool),
    Values(usize),
    Series(Option<Series>),
    Rows(std::vec::IntoIter<Row>),
    /// Kept rows, and how many have been given.
    Kept(Arc<Vec<Row>>, usize),
    Table(TableReader),
    Subquery(Box<SelectStream>, Vec<usize>),
    Relational(Box<dyn RowSource>),
}

impl SourceState {
    pub(super) fn new(
        source: &Source,
        run: &Run,
        limit: Option<u64>,
        program: Option<&Bytes>,
    ) -> Result<SourceState, Error> {
        Ok(match source {
            Source::OneRow => SourceState::OneRow(true),
            Source::Values(_) => SourceState::Values(0),
            Source::Series(plan) => SourceState::Series(plan.start(&run.scope(), &[])?),
            Source::Unnest(array) => {
                let rows = match array.eval(&run.scope(), &[])? {
                    Value::Array(array) => array.values().iter().map(|value| vec![value.clone()]).collect(),
                    _ => Vec::new(),
                };
                SourceState::Rows(rows.into_iter())
            }
            Source::Table(access) => SourceState::Table(TableReader::new(access, run, limit, program)?),
            Source::Virtual(table, wanted) => {
                let pick = |row: Row| wanted.iter().map(|column| row[*column].clone()).collect();
                let rows: Vec<Row> = run.context.virtual_rows(table).into_iter().map(pick).collect();
                SourceState::Rows(rows.into_iter())
            }
            Source::Kept(slot) => SourceState::Kept(run.slots[*slot].rows()?, 0),
            Source::Subquery(plan, wanted) => {
                SourceState::Subquery(Box::new(SelectStream::new(plan, run)?), wanted.clone())
            }
            Source::Relational(node) => SourceState::Relational(run.engine.start(node, run)?),
        })
    }

    /// Whether it is certain that nothing is left.
    pub(super) fn is_done(&self) -> bool {
        match self {
            SourceState::OneRow(left) => !left,
            SourceState::Table(TableReader::Keys(keys)) => keys.len() == 0,
            SourceState::Table(TableReader::Scan { done, .. }) => *done,
            SourceState::Series(series) => series.is_none(),
            SourceState::Rows(rows) => rows.len() == 0,
            SourceState::Kept(rows, given) => rows.len() == *given,
            SourceState::Values(_) | SourceState::Subquery(..) | SourceState::Relational(_) => false,
        }
    }

    /// The next rows; `None` at the end. Perhaps none although there are more.
    pub(super) async fn next(
        &mut self,
        source: &Source,
        run: &Run,
        transaction: &mut dyn Transaction,
    ) -> Result<Option<Vec<Row>>, Error> {
        match (self, source) {
            (SourceState::OneRow(left), _) => Ok(std::mem::take(left).then(|| vec![Vec::new()])),
            (SourceState::Values(place), Source::Values(rows)) => {
                let scope = run.scope();
                let end = (*place + BATCH_ROWS).min(rows.len());
                if *place == end {
                    return Ok(None);
                }
                let batch = rows[*place..end]
                    .iter()
                    .map(|row| row.iter().map(|value| value.eval(&scope, &[])).collect())
                    .collect::<Result<_, _>>()?;
                *place = end;
                Ok(Some(batch))
            }
            (SourceState::Series(series), Source::Series(plan)) => match series {
                Some(running) => {
                    let mut values = Vec::with_capacity(BATCH_ROWS);
                    if !running.take(plan, &run.context, BATCH_ROWS, &mut values)? {
                        *series = None;
                    }
                    Ok(Some(values.into_iter().map(|value| vec![value]).collect()))
                }
                None => Ok(None),
            },
            (SourceState::Rows(rows), _) => {
                let batch: Vec<Row> = rows.take(BATCH_ROWS).collect();
                Ok((!batch.is_empty()).then_some(batch))
            }
            (SourceState::Kept(rows, given), _) => {
                let end = (*given + BATCH_ROWS).min(rows.len());
                let batch = rows[*given..end].to_vec();
                *given = end;
                Ok((!batch.is_empty()).then_some(batch))
            }
            (SourceState::Table(reader), Source::Table(access)) => {
                let found = reader.next(access, run, transaction).await?;
                Ok(found.map(|found| found.into_iter().map(|found| found.row).collect()))
            }
            (SourceState::Subquery(stream, wanted), Source::Subquery(plan, _)) => {
                let Some(batch) = Box::pin(stream.next(plan, run, transaction)).await? else { return Ok(None) };
                Ok(Some(
                    batch.into_iter().map(|row| wanted.iter().map(|column| row[*column].clone()).collect()).collect(),
                ))
            }
            (SourceState::Relational(rows), _) => rows.next(run, transaction).await,
            _ => Err(Error::internal("a source and its state differ")),
        }
    }
}

/// A piece of a scan with a program.
pub(super) enum Pulled {
    /// Rows as they are stored: the program was not run.
    Stored(Vec<Row>),
    /// What the program gave.
    Output(Bytes),
}

/// Reads a table by the way that the plan chose.
pub(super) enum TableReader {
    Keys(std::vec::IntoIter<(Placement, Bytes)>),
    Scan { scan: Scan, from: Option<ScanCursor>, done: bool },
}

impl TableReader {
    pub(super) fn new(
        access: &Access,
        run: &Run,
        limit: Option<u64>,
        program: Option<&Bytes>,
    ) -> Result<TableReader, Error> {
        match &access.path {
            Path::Keys(values) => Ok(TableReader::Keys(keys(access, values, run)?.into_iter())),
            Path::Range(range) => Ok(match key_range(access, range, run)? {
                Some((placement, range)) => {
                    let limit = limit.filter(|_| access.limited);
                    let (ordered, reverse) = (access.ordered, access.reverse);
                    let scan = Scan { placement, range, ordered, reverse, limit, program: program.cloned() };
                    TableReader::Scan { scan, from: None, done: false }
                }
                // A comparison with NULL: no rows.
                None => TableReader::Keys(Vec::new().into_iter()),
            }),
        }
    }

    /// The next rows, not yet filtered; `None` at the end. Rows found by key are locked if the plan says so; those of a scan are not.
    pub(super) async fn next(
        &mut self,
        access: &Access,
        run: &Run,
        transaction: &mut dyn Transaction,
    ) -> Result<Option<Vec<Found>>, Error> {
        match self {
            TableReader::Keys(keys) => {
                let wanted: Vec<(Placement, Bytes)> = keys.take(KEYS_AT_ONCE).collect();
                if wanted.is_empty() {
                    return Ok(None);
                }
                let mode = if access.lock { ReadMode::Lock } else { ReadMode::Snapshot };
                let values = transaction.get(&wanted, mode).await?;
                let found = wanted
                    .into_iter()
                    .zip(values)
                    .filter_map(|((placement, key), value)| value.map(|value| (placement, key, value)));
                found
                    .map(|(placement, key, value)| Ok(Found { placement, key, row: decode(access, &value)? }))
                    .collect::<Result<_, _>>()
                    .map(Some)
            }
            TableReader::Scan { done: true, .. } => Ok(None),
            TableReader::Scan { scan, from, done } => {
                let page = transaction.scan(scan, from.take()).await?;
                *done = page.next.is_none();
                *from = page.next;
                let mut found = Vec::with_capacity(page.rows.len());
                for stored in page.rows {
                    let placement =
                        if access.lock { placement(&access.table, &stored.key)? } else { Placement::AllSlots };
                    found.push(Found { placement, row: decode(access, &stored.value)?, key: stored.key });
                }
                if run.cancel.is_cancelled() || found.len() > BATCH_ROWS {
                    // Pages may come from memory without a wait; let interrupts be seen.
                    crate::session::yield_now().await;
                }
                Ok(Some(found))
            }
        }
    }

    /// The next rows, or what the scan's program made of them; `None` at the end.
    pub(super) async fn next_page(
        &mut self,
        access: &Access,
        run: &Run,
        transaction: &mut dyn Transaction,
    ) -> Result<Option<Pulled>, Error> {
        let TableReader::Scan { scan, from, done } = self else {
            let found = self.next(access, run, transaction).await?;
            return Ok(found.map(|found| Pulled::Stored(found.into_iter().map(|found| found.row).collect())));
        };
        if *done {
            return Ok(None);
        }
        let page = transaction.scan(scan, from.take()).await?;
        *done = page.next.is_none();
        *from = page.next;
        // A page may have cost much and say nothing: let interrupts be seen.
        crate::session::yield_now().await;
        if let Some(output) = page.output {
            return Ok(Some(Pulled::Output(output)));
        }
        page.rows
            .iter()
            .map(|stored| decode(access, &stored.value))
            .collect::<Result<_, _>>()
            .map(|rows| Some(Pulled::Stored(rows)))
    }

    /// Whether rows come unlocked although the plan wants locks.
    pub(super) fn needs_locking(&self, access: &Access) -> bool {
        access.lock && matches!(self, TableReader::Scan { .. })
    }
}

/// Locks rows that a scan found, and reads their newest versions. Rows that are gone are left out.
pub(super) async fn lock(
    access: &Access,
    found: Vec<Found>,
    transaction: &mut dyn Transaction,
) -> Result<Vec<Found>, Error> {
    let mut locked = Vec::with_capacity(found.len());
    let wanted: Vec<(Placement, Bytes)> = found.into_iter().map(|found| (found.placement, found.key)).collect();
    for chunk in wanted.chunks(KEYS_AT_ONCE) {
        let values = transaction.get(chunk, ReadMode::Lock).await?;
        for ((placement, key), value) in chunk.iter().zip(values) {
            if let Some(value) = value {
                locked.push(Found { placement: *placement, key: key.clone(), row: decode(access, &value)? });
            }
        }
    }
    Ok(locked)
}

fn decode(access: &Access, value: &[u8]) -> Result<Row, Error> {
    let mut row = Vec::with_capacity(access.ordinals.len());
    access.codec.decode_columns(value, &access.ordinals, &mut row)?;
    Ok(row)
}

/// All keys that the values of the key columns make, without repetition, in order.
fn keys(access: &Access, columns: &[KeyValues], run: &Run) -> Result<Vec<(Placement, Bytes)>, Error> {
    let scope = run.scope();
    let table = &access.table;
    // The common case: one key.
    if let Some(values) = columns
        .iter()
        .map(|column| if let KeyValues::One(value) = column { Some(value) } else { None })
        .collect::<Option<Vec<_>>>()
    {
        let mut key = Vec::with_capacity(values.len());
        for value in values {
            let value = value.value(&scope, &[])?;
            if value.is_null() {
                return Ok(Vec::new());
            }
            key.push(value);
        }
        let row = key.iter().map(|value| &**value);
        let encoded = key::encode_key(table.storage_id, row)?;
        return Ok(vec![(placement(table, &encoded)?, encoded)]);
    }
    let mut made: Vec<Vec<u8>> = vec![key::storage_prefix(table.storage_id).to_vec()];
    for column in columns {
        let values: Vec<Value> = match column {
            KeyValues::One(value) => vec![value.eval(&scope, &[])?],
            KeyValues::List(values) => values.iter().map(|value| value.eval(&scope, &[])).collect::<Result<_, _>>()?,
            KeyValues::Array(array) => match array.eval(&scope, &[])? {
                Value::Array(array) => array.values().to_vec(),
                _ => Vec::new(),
            },
        };
        let mut encoded: Vec<Vec<u8>> = Vec::with_capacity(values.len());
        for value in values.iter().filter(|value| !value.is_null()) {
            let mut bytes = Vec::new();
            key::encode_value(value, &mut bytes)?;
            encoded.push(bytes);
        }
        encoded.sort_unstable();
        encoded.dedup();
        if made.len().saturating_mul(encoded.len()) > KEYS_MAX {
            let message = format!("a statement may name at most {KEYS_MAX} rows by their keys");
            return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
        }
        made = made
            .iter()
            .flat_map(|prefix| encoded.iter().map(move |value| [prefix.as_slice(), value.as_slice()].concat()))
            .collect();
    }
    made.into_iter().map(|key| Ok((placement(table, &key)?, key.into()))).collect()
}

/// The range of keys and where to look; `None` if a bound is NULL.
fn key_range(
    access: &Access,
    range: &RangePath,
    run: &Run,
) -> Result<Option<(Placement, std::ops::Range<Bytes>)>, Error> {
    let scope = run.scope();
    let table = &access.table;
    let mut prefix = key::storage_prefix(table.storage_id).to_vec();
    for value in &range.prefix {
        let value = value.value(&scope, &[])?;
        if value.is_null() {
            return Ok(None);
        }
        key::encode_value(&value, &mut prefix)?;
    }
    let whole = key::prefix_range(prefix.clone().into());
    let bound = |expr: &crate::plan::expression::Expr| -> Result<Option<Vec<u8>>, Error> {
        let value = expr.value(&scope, &[])?;
        if value.is_null() {
            return Ok(None);
        }
        let mut bytes = prefix.clone();
        key::encode_value(&value, &mut bytes)?;
        Ok(Some(bytes))
    };
    let after = |bytes: &[u8]| key::prefix_end(bytes).ok_or_else(|| Error::internal("a key has no end"));
    let (mut start, mut end) = (whole.start, whole.end);
    if let Some((lower, inclusive)) = &range.lower {
        let Some(bytes) = bound(lower)? else { return Ok(None) };
        start = if *inclusive { bytes.into() } else { after(&bytes)? };
    }
    if let Some((upper, inclusive)) = &range.upper {
        let Some(bytes) = bound(upper)? else { return Ok(None) };
        end = if *inclusive { after(&bytes)? } else { bytes.into() };
    }
    if start >= end {
        return Ok(None);
    }
    let placement = match (&table.distribution, &range.slot) {
        (Distribution::Duplicate, _) => Placement::Duplicate,
        (_, Some(values)) => {
            let values = values.iter().map(|value| value.eval(&scope, &[])).collect::<Result<Vec<_>, _>>()?;
            if values.iter().any(Value::is_null) {
                return Ok(None);
            }
            Placement::Slot(key::slot(&values)?)
        }
        _ => Placement::AllSlots,
    };
    Ok(Some((placement, start..end)))
}

/// Where the row of a key is.
///
/// # Errors
/// XX001 for bytes that are no key of the table.
pub(super) fn placement(table: &Table, key: &[u8]) -> Result<Placement, Error> {
    let damaged = || Error::corrupted(format!("a key of table \"{}\" is damaged", table.name));
    let columns = key.get(key::STORAGE_ID_LENGTH..).ok_or_else(damaged)?;
    match &table.distribution {
        Distribution::Duplicate => Ok(Placement::Duplicate),
        Distribution::RowId => Ok(Placement::Slot(row_id_slot(columns.try_into().map_err(|_| damaged())?))),
        Distribution::Hash(hash) if hash == table.key_columns() => Ok(Placement::Slot(key::slot_of_bytes(columns))),
        Distribution::Hash(hash) => {
            let types: Vec<Type> = table.key_columns().iter().map(|column| table.columns[*column].ty.clone()).collect();
            let values = key::decode_key(key, &types)?;
            let value_of =
                |column: &usize| table.key_columns().iter().position(|key| key == column).map(|place| &values[place]);
            let values: Option<Vec<&Value>> = hash.iter().map(value_of).collect();
            Ok(Placement::Slot(key::slot(values.ok_or_else(damaged)?)?))
        }
    }
}

/// Refuses keys that are used twice in one list; gives the first repeated one.
pub(super) fn repeated(keys: &[(Placement, Bytes)]) -> Option<usize> {
    let mut seen = HashSet::with_capacity(keys.len());
    keys.iter().position(|(_, key)| !seen.insert(key))
}
