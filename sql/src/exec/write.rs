//! INSERT, UPDATE and DELETE.
//!
//! Uniqueness: in a block, the first rows of an INSERT are looked up before they are written, so that a duplicate is reported by the
//! statement that makes it. A statement with many rows then writes without looking, as does one that commits by itself; the leaders refuse
//! an existing key when the writes reach them, at the latest on commit ([`crate::storage::duplicate_key`]).

use std::collections::HashSet;

use bytes::Bytes;

use super::select::keep;
use super::source::{Found, TableReader, lock, placement, repeated};
use super::{Run, SelectStream, row_memory};
use crate::catalog::{Distribution, Table};
use crate::error::{Error, SqlState};
use crate::format::{FormatSettings, to_text};
use crate::key;
use crate::plan::expression::Expr;
use crate::plan::select::{SelectPlan, Source};
use crate::plan::write::{ChangePlan, InsertPlan, InsertSource, Returning, Target};
use crate::session::Row;
use crate::storage::{Placement, ReadMode, Transaction};
use crate::types::Type;
use crate::value::Value;

/// Rows that are looked up and written in one go.
const CHUNK_ROWS: usize = 500;
/// Rows of a statement that are looked up before they are written.
const CHECKED_ROWS: u64 = 1000;
/// The longest encoded row.
pub const ROW_BYTES_MAX: usize = 8 << 20;
/// The longest key, the storage id included.
pub const KEY_BYTES_MAX: usize = 8 << 10;

/// What a row change did.
#[derive(Debug, Default)]
pub struct Written {
    /// Rows inserted, updated or deleted.
    pub count: u64,
    /// RETURNING's rows.
    pub rows: Vec<Row>,
}

/// Writes new rows of one table.
pub(super) struct RowWriter {
    pending: Vec<(Placement, Bytes, Bytes)>,
    checked: u64,
    /// Look up at least the first rows.
    check: bool,
}

impl RowWriter {
    pub(super) fn new(check: bool) -> RowWriter {
        RowWriter { pending: Vec::new(), checked: 0, check }
    }

    /// Takes one row in the order of the table's columns. Values are of the columns' types.
    pub(super) async fn add(
        &mut self,
        target: &Target,
        row: &[Value],
        transaction: &mut dyn Transaction,
    ) -> Result<(), Error> {
        let (placement, key) = new_key(&target.table, row, transaction)?;
        let value = encode(target, row)?;
        if target.table.primary_key.is_none() {
            // A hidden row id is new by its making.
            return transaction.put(placement, key, Some(value), false).await;
        }
        if !self.check || self.checked >= CHECKED_ROWS {
            return transaction
                .put(placement, key.clone(), Some(value), true)
                .await
                .map_err(|error| named(error, &target.table, &key));
        }
        self.checked += 1;
        self.pending.push((placement, key, value));
        if self.pending.len() >= CHUNK_ROWS { self.flush(&target.table, transaction).await } else { Ok(()) }
    }

    /// Looks up and writes what was held back.
    pub(super) async fn flush(&mut self, table: &Table, transaction: &mut dyn Transaction) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let keys: Vec<(Placement, Bytes)> =
            self.pending.iter().map(|(placement, key, _)| (*placement, key.clone())).collect();
        let there = transaction.get(&keys, ReadMode::Snapshot).await?;
        let existing = there.iter().position(Option::is_some);
        let twice = if keys.len() > 1 { repeated(&keys) } else { None };
        if let Some(n) = [existing, twice].into_iter().flatten().min() {
            return Err(duplicate(table, &keys[n].1));
        }
        for (placement, key, value) in self.pending.drain(..) {
            transaction.put(placement, key, Some(value), false).await?;
        }
        Ok(())
    }
}

/// INSERT.
///
/// # Errors
/// 23505, 23502, 54000, and what evaluation and reading report.
pub async fn insert(plan: &InsertPlan, run: &Run, transaction: &mut dyn Transaction) -> Result<Written, Error> {
    let mut written = Written::default();
    let mut writer = RowWriter::new(!run.commits);
    let mut held = 0;
    let mut take = |row: &Row, written: &mut Written| -> Result<(), Error> {
        written.count += 1;
        if let Some(returning) = &plan.returning {
            let output = returned(returning, row, run)?;
            held += row_memory(&output);
            run.check_memory(held)?;
            written.rows.push(output);
        }
        Ok(())
    };
    match &plan.source {
        InsertSource::Rows(rows) => {
            for row in rows {
                let row = evaluate(row, run, &[])?;
                writer.add(&plan.target, &row, transaction).await?;
                take(&row, &mut written)?;
            }
        }
        InsertSource::Query(query, whole) => {
            // Rows that the statement writes must not be read by it.
            let from_itself = reads(query, plan.target.table.id);
            let mut kept: Vec<Row> = Vec::new();
            let mut kept_bytes = 0;
            let mut stream = SelectStream::new(query, run)?;
            while let Some(rows) = stream.next(query, run, transaction).await? {
                if from_itself {
                    kept_bytes += super::memory(&rows);
                    run.check_memory(kept_bytes)?;
                    kept.extend(rows);
                    continue;
                }
                for row in rows {
                    let row = evaluate(whole, run, &row)?;
                    writer.add(&plan.target, &row, transaction).await?;
                    take(&row, &mut written)?;
                }
                crate::session::yield_now().await;
            }
            for row in kept {
                let row = evaluate(whole, run, &row)?;
                writer.add(&plan.target, &row, transaction).await?;
                take(&row, &mut written)?;
            }
        }
    }
    writer.flush(&plan.target.table, transaction).await?;
    Ok(written)
}

/// Whether a query's rows come from this table.
fn reads(query: &SelectPlan, table: u32) -> bool {
    match &query.source {
        Source::Table(access) => access.table.id == table,
        Source::Subquery(inner, _) => reads(inner, table),
        // Which of its leaves are still read when the first row comes out, only the engine knows.
        Source::Relational(_) => true,
        _ => false,
    }
}

/// UPDATE and DELETE: by key, rows are locked and their newest versions read; else a scan finds them, and the condition is looked
/// at again once they are locked.
///
/// # Errors
/// 23505, 23502, 54000, and what evaluation and reading report.
pub async fn change(plan: &ChangePlan, run: &Run, transaction: &mut dyn Transaction) -> Result<Written, Error> {
    if let Some(found_by) = &plan.found_by {
        return change_found(plan, found_by, run, transaction).await;
    }
    let access = &plan.access;
    let mut written = Written::default();
    let mut held = 0;
    let mut moved: Vec<(Found, Row)> = Vec::new();
    let mut reader = TableReader::new(access, run, None, None)?;
    while let Some(mut found) = reader.next(access, run, transaction).await? {
        if let Some(filter) = &plan.filter {
            found = keep(found, filter, run)?;
        }
        if reader.needs_locking(access) {
            found = lock(access, found, transaction).await?;
            if let Some(filter) = &plan.filter {
                found = keep(found, filter, run)?;
            }
        }
        for found in found {
            written.count += 1;
            let new = match &plan.new_row {
                None => {
                    transaction.put(found.placement, found.key.clone(), None, false).await?;
                    None
                }
                Some(expressions) => Some(evaluate(expressions, run, &found.row)?),
            };
            if let Some(returning) = &plan.returning {
                let output = returned(returning, new.as_ref().unwrap_or(&found.row), run)?;
                held += row_memory(&output);
                run.check_memory(held)?;
                written.rows.push(output);
            }
            let Some(new) = new else { continue };
            if plan.moves {
                held += row_memory(&new) + row_memory(&found.row);
                run.check_memory(held)?;
                moved.push((found, new));
            } else {
                let value = encode_with(&access.codec, &access.table, &new)?;
                transaction.put(found.placement, found.key, Some(value), false).await?;
            }
        }
    }
    if !moved.is_empty() {
        move_rows(&access.table, &access.codec, moved, transaction).await?;
    }
    Ok(written)
}

/// UPDATE and DELETE of rows that a query finds. All are found before the first is changed, so that the query does not see what it causes. A row that
/// is found several times is changed once, as PostgreSQL does it.
async fn change_found(
    plan: &ChangePlan,
    found_by: &SelectPlan,
    run: &Run,
    transaction: &mut dyn Transaction,
) -> Result<Written, Error> {
    let (table, codec) = (&plan.access.table, &plan.access.codec);
    let width = table.columns.len();
    // The row that was found, the new one, and what RETURNING wants of the rows beside it.
    let mut changes: Vec<(Found, Row, Row)> = Vec::new();
    let mut seen = HashSet::new();
    let mut held = 0;
    let mut stream = SelectStream::new(found_by, run)?;
    while let Some(rows) = stream.next(found_by, run, transaction).await? {
        for mut row in rows {
            let mut new = row.split_off(width);
            let beside = if plan.is_update() { new.split_off(width) } else { std::mem::take(&mut new) };
            let key = key::encode_key(table.storage_id, table.key_columns().iter().map(|column| &row[*column]))?;
            if !seen.insert(key.clone()) {
                continue;
            }
            held += row_memory(&row) + row_memory(&new) + row_memory(&beside) + 2 * key.len();
            run.check_memory(held)?;
            changes.push((Found { placement: placement(table, &key)?, key, row }, new, beside));
        }
        crate::session::yield_now().await;
    }
    let mut written = Written { count: changes.len() as u64, ..Written::default() };
    if let Some(returning) = &plan.returning {
        for (found, new, beside) in &changes {
            let row = if plan.is_update() { new } else { &found.row };
            let output = returned(returning, &[&row[..], &beside[..]].concat(), run)?;
            held += row_memory(&output);
            run.check_memory(held)?;
            written.rows.push(output);
        }
    }
    let changes = changes.into_iter().map(|(found, new, _)| (found, new));
    if plan.moves {
        move_rows(table, codec, changes.collect(), transaction).await?;
        return Ok(written);
    }
    for (found, new) in changes {
        let value = if plan.is_update() { Some(encode_with(codec, table, &new)?) } else { None };
        transaction.put(found.placement, found.key, value, false).await?;
    }
    Ok(written)
}

/// UPDATE of primary keys: all old rows go before any new one comes, so that `SET id = id + 1` finds no duplicates of its own making.
async fn move_rows(
    table: &Table,
    codec: &crate::row::RowCodec,
    moved: Vec<(Found, Row)>,
    transaction: &mut dyn Transaction,
) -> Result<(), Error> {
    let mut new = Vec::with_capacity(moved.len());
    let mut gone = HashSet::with_capacity(moved.len());
    for (found, row) in &moved {
        let (placement, key) = new_key(table, row, transaction)?;
        new.push((placement, key, encode_with(codec, table, row)?));
        gone.insert(found.key.clone());
    }
    let keys: Vec<(Placement, Bytes)> = new.iter().map(|(placement, key, _)| (*placement, key.clone())).collect();
    if let Some(n) = repeated(&keys) {
        return Err(duplicate(table, &keys[n].1));
    }
    let strangers: Vec<(Placement, Bytes)> = keys.into_iter().filter(|(_, key)| !gone.contains(key)).collect();
    let there = transaction.get(&strangers, ReadMode::Snapshot).await?;
    if let Some(n) = there.iter().position(Option::is_some) {
        return Err(duplicate(table, &strangers[n].1));
    }
    for (found, _) in moved {
        transaction.put(found.placement, found.key, None, false).await?;
    }
    for (placement, key, value) in new {
        transaction.put(placement, key, Some(value), false).await?;
    }
    Ok(())
}

pub(super) fn evaluate(expressions: &[Expr], run: &Run, row: &[Value]) -> Result<Row, Error> {
    let scope = run.scope();
    expressions.iter().map(|expr| expr.eval(&scope, row)).collect()
}

fn returned(returning: &Returning, row: &[Value], run: &Run) -> Result<Row, Error> {
    evaluate(&returning.output, run, row)
}

/// The key and the place of a new row.
fn new_key(table: &Table, row: &[Value], transaction: &mut dyn Transaction) -> Result<(Placement, Bytes), Error> {
    for (column, value) in table.columns.iter().zip(row) {
        if column.not_null && value.is_null() {
            return Err(null_violation(table, &column.name, row));
        }
    }
    if table.primary_key.is_none() {
        let (id, slot) = transaction.new_row_id();
        let key = [&key::storage_prefix(table.storage_id)[..], &id].concat().into();
        return Ok((
            if table.distribution == Distribution::Duplicate { Placement::Duplicate } else { Placement::Slot(slot) },
            key,
        ));
    }
    let key = key::encode_key(table.storage_id, table.key_columns().iter().map(|column| &row[*column]))?;
    if key.len() > KEY_BYTES_MAX {
        let message = format!(
            "the primary key of a row of \"{}\" takes {} bytes, more than the {KEY_BYTES_MAX} allowed",
            table.name,
            key.len()
        );
        return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
    }
    Ok((placement(table, &key)?, key))
}

fn encode(target: &Target, row: &[Value]) -> Result<Bytes, Error> {
    encode_with(&target.codec, &target.table, row)
}

fn encode_with(codec: &crate::row::RowCodec, table: &Table, row: &[Value]) -> Result<Bytes, Error> {
    for (column, value) in table.columns.iter().zip(row) {
        if column.not_null && value.is_null() {
            return Err(null_violation(table, &column.name, row));
        }
    }
    let encoded = if table.layout.len() == table.columns.len() {
        codec.encode(row)?
    } else {
        // Dropped columns keep their places in stored rows.
        let mut whole = vec![Value::Null; table.layout.len()];
        for (column, value) in table.columns.iter().zip(row) {
            whole[column.id] = value.clone();
        }
        codec.encode(&whole)?
    };
    if encoded.len() > ROW_BYTES_MAX {
        let message =
            format!("a row of \"{}\" takes {} bytes, more than the {ROW_BYTES_MAX} allowed", table.name, encoded.len());
        return Err(
            Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message).with_hint("Spread large values over several rows.")
        );
    }
    Ok(encoded)
}

fn null_violation(table: &Table, column: &str, row: &[Value]) -> Error {
    let settings = FormatSettings::default();
    let shown: Vec<String> =
        row.iter().map(|value| if value.is_null() { "null".to_owned() } else { to_text(value, &settings) }).collect();
    let message =
        format!("null value in column \"{column}\" of relation \"{}\" violates not-null constraint", table.name);
    Error::new(SqlState::NOT_NULL_VIOLATION, message)
        .with_detail(format!("Failing row contains ({}).", shown.join(", ")))
        .with_table(crate::catalog::PUBLIC, &table.name)
        .with_column(column)
}

/// PostgreSQL's error for a key that is there already.
pub fn duplicate(table: &Table, key: &[u8]) -> Error {
    let constraint = table.primary_key.as_ref().map_or("", |key| &key.name);
    let error = Error::new(
        SqlState::UNIQUE_VIOLATION,
        format!("duplicate key value violates unique constraint \"{constraint}\""),
    )
    .with_table(crate::catalog::PUBLIC, &table.name)
    .with_constraint(constraint);
    let types: Vec<Type> = table.key_columns().iter().map(|column| table.columns[*column].ty.clone()).collect();
    let Ok(values) = key::decode_key(key, &types) else { return error };
    let names: Vec<&str> = table.key_columns().iter().map(|column| table.columns[*column].name.as_str()).collect();
    let settings = FormatSettings::default();
    let shown: Vec<String> =
        values.iter().map(|value| to_text(value, &settings).trim_end_matches(' ').to_owned()).collect();
    error.with_detail(format!("Key ({})=({}) already exists.", names.join(", "), shown.join(", ")))
}

/// Puts names to a duplicate that the storage found.
fn named(error: Error, table: &Table, key: &[u8]) -> Error {
    if error.code != SqlState::UNIQUE_VIOLATION {
        return error;
    }
    // A write may report the duplicate of an earlier one, and the storage may have named it already.
    match crate::storage::duplicated_key(&error) {
        Some(other) => duplicate(table, &other),
        None if error.detail.is_none() => duplicate(table, key),
        None => error,
    }
}

/// Puts names to a duplicate that the commit found.
pub fn duplicate_on_commit(error: Error, catalog: &crate::catalog::Catalog) -> Error {
    if error.code != SqlState::UNIQUE_VIOLATION {
        return error;
    }
    let Some(key) = crate::storage::duplicated_key(&error) else { return error };
    let storage_id = key::storage_id(&key);
    match catalog.tables().find(|table| Some(table.storage_id) == storage_id) {
        Some(table) => duplicate(table, &key),
        None => error,
    }
}
