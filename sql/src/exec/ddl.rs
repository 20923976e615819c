//! CREATE, DROP, TRUNCATE and ALTER TABLE: each replaces the transaction's catalog.

use std::sync::Arc;

use super::StatementContext;
use super::write::RowWriter;
use crate::catalog::virtual_tables::VirtualTable;
use crate::catalog::{Catalog, Column, Distribution, PUBLIC, Table};
use crate::error::{Error, SqlState};
use crate::format::{FormatSettings, encode_text};
use crate::key;
use crate::parse::{
    AlterOperation, AlterTable, ColumnDefinition, CreateTable, KeyDefinition, Parsed, Positions, Statement, TableName,
};
use crate::plan::access::codec;
use crate::plan::binder::{Binder, find_table};
use crate::plan::expression::Scope;
use crate::plan::write::{Target, no_column};
use crate::session::{CommandTag, Notice};
use crate::storage::{Placement, Scan, Transaction};

/// Longest primary key, in columns.
const KEY_COLUMNS_MAX: usize = 32;

/// Runs a statement that changes the catalog.
///
/// # Errors
/// What is wrong with the change; nothing is changed then.
pub async fn run(
    parsed: &Parsed,
    context: &StatementContext,
    transaction: &mut dyn Transaction,
    notices: &mut Vec<Notice>,
) -> Result<CommandTag, Error> {
    // Whether a table exists is no matter for a catalog that may be outdated.
    let mut catalog = transaction.catalog().await?;
    while !transaction.catalog_is_current().await? {
        catalog = transaction.catalog().await?;
    }
    let mut ddl = Ddl { catalog, context, positions: &parsed.positions, transaction, notices };
    let (changed, tag) = match &*parsed.statement {
        Statement::CreateTable(create) => (ddl.create_table(create).await?, "CREATE TABLE"),
        Statement::DropTable { names, if_exists } => (ddl.drop_tables(names, *if_exists)?, "DROP TABLE"),
        Statement::Truncate(names) => (ddl.truncate(names).await?, "TRUNCATE TABLE"),
        Statement::AlterTable(alter) => (ddl.alter_table(alter).await?, "ALTER TABLE"),
        _ => return Err(Error::internal("a statement was taken for DDL")),
    };
    if let Some(changed) = changed {
        ddl.transaction.alter_catalog(Arc::new(changed)).await?;
    }
    Ok(CommandTag::plain(tag))
}

struct Ddl<'a> {
    catalog: Arc<Catalog>,
    context: &'a StatementContext,
    positions: &'a Positions,
    transaction: &'a mut dyn Transaction,
    notices: &'a mut Vec<Notice>,
}

impl Ddl<'_> {
    fn notice(&mut self, code: &'static str, message: String) {
        self.notices.push(Notice { severity: "NOTICE", code, message: message.into(), hint: None });
    }

    async fn create_table(&mut self, create: &CreateTable) -> Result<Option<Catalog>, Error> {
        let name = &create.name;
        let located = |error: Error| name.position.map_or(error.clone(), |position| error.at(position));
        match name.schema.as_deref() {
            None | Some(PUBLIC) => {}
            Some("pg_catalog" | "information_schema") => {
                return Err(located(Error::new(
                    SqlState::INSUFFICIENT_PRIVILEGE,
                    "permission denied to create a table in a schema of the system",
                )));
            }
            Some(schema) => {
                return Err(located(Error::new(
                    SqlState::INVALID_SCHEMA_NAME,
                    format!("schema \"{schema}\" does not exist"),
                )));
            }
        }
        if VirtualTable::find(None, &name.name).is_some() || name.name.starts_with("pg_") {
            let error = Error::new(SqlState::RESERVED_NAME, format!("unacceptable table name \"{}\"", name.name));
            return Err(located(error.with_detail("The prefix \"pg_\" is reserved for system catalogs.")));
        }
        if self.catalog.table(&name.name).is_some() {
            let message = format!("relation \"{}\" already exists", name.name);
            if create.if_not_exists {
                self.notice("42P07", format!("{message}, skipping"));
                return Ok(None);
            }
            return Err(Error::new(SqlState::DUPLICATE_TABLE, message));
        }
        for column in &create.columns {
            self.check_default(column)?;
        }
        // Everything is checked before an id is spent.
        let draft = Table::create(create, u32::MAX)?;
        check_key(&draft)?;
        let id = self.transaction.new_storage_id().await?;
        Ok(Some(self.catalog.with_table(Table { id, storage_id: id, ..draft })))
    }

    fn check_default(&self, column: &ColumnDefinition) -> Result<(), Error> {
        let Some(default) = &column.default else { return Ok(()) };
        let mut binder = Binder::new(&self.catalog, self.context, self.positions, &[]);
        binder.default_expression(&default.to_string(), &column.name, &column.ty)?;
        Ok(())
    }

    fn drop_tables(&mut self, names: &[TableName], if_exists: bool) -> Result<Option<Catalog>, Error> {
        let mut catalog: Option<Catalog> = None;
        for name in names {
            let current = catalog.as_ref().unwrap_or(&self.catalog);
            match find_table(current, name) {
                Ok(table) => {
                    self.transaction.uses_table(table);
                    catalog = Some(current.without_table(table.id));
                }
                Err(_) if if_exists => {
                    self.notice("00000", format!("table \"{}\" does not exist, skipping", name.name))
                }
                Err(_) => {
                    return Err(Error::new(
                        SqlState::UNDEFINED_TABLE,
                        format!("table \"{}\" does not exist", name.name),
                    ));
                }
            }
        }
        Ok(catalog)
    }

    async fn truncate(&mut self, names: &[TableName]) -> Result<Option<Catalog>, Error> {
        let mut catalog = (*self.catalog).clone();
        for name in names {
            let mut table = (**find_table(&catalog, name)?).clone();
            self.transaction.uses_table(&table);
            table.storage_id = self.transaction.new_storage_id().await?;
            table.version += 1;
            catalog = catalog.with_table(table);
        }
        Ok(Some(catalog))
    }

    async fn alter_table(&mut self, alter: &AlterTable) -> Result<Option<Catalog>, Error> {
        let old = match find_table(&self.catalog, &alter.name) {
            Ok(table) => table.clone(),
            Err(_) if alter.if_exists => {
                self.notice("00000", format!("relation \"{}\" does not exist, skipping", alter.name.name));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        self.transaction.uses_table(&old);
        let mut table = (*old).clone();
        table.version += 1;
        for operation in &alter.operations {
            match operation {
                AlterOperation::AddPrimaryKey(key) => self.add_primary_key(&mut table, key).await?,
                AlterOperation::AddColumn { column, if_not_exists } => {
                    if *if_not_exists && table.column(&column.name).is_some() {
                        self.notice(
                            "42701",
                            format!(
                                "column \"{}\" of relation \"{}\" already exists, skipping",
                                column.name, table.name
                            ),
                        );
                        continue;
                    }
                    self.add_column(&mut table, column).await?;
                }
                AlterOperation::DropColumn { name, if_exists } => match table.column(name) {
                    Some(column) => table.drop_column(column)?,
                    None if *if_exists => {
                        self.notice(
                            "00000",
                            format!("column \"{name}\" of relation \"{}\" does not exist, skipping", table.name),
                        );
                    }
                    None => return Err(no_column(&table, name)),
                },
                AlterOperation::RenameTable(name) => {
                    if self.catalog.table(name).is_some() {
                        return Err(Error::new(
                            SqlState::DUPLICATE_TABLE,
                            format!("relation \"{name}\" already exists"),
                        ));
                    }
                    table.name.clone_from(name);
                }
                AlterOperation::RenameColumn { from, to } => {
                    if table.column(to).is_some() {
                        let message = format!("column \"{to}\" of relation \"{}\" already exists", table.name);
                        return Err(Error::new(SqlState::DUPLICATE_COLUMN, message));
                    }
                    self.column_of(&mut table, from)?.name.clone_from(to);
                }
                AlterOperation::SetDefault { column, default } => {
                    let text = default.as_ref().map(ToString::to_string);
                    let column = self.column_of(&mut table, column)?;
                    if let Some(text) = &text {
                        let mut binder = Binder::new(&self.catalog, self.context, self.positions, &[]);
                        binder.default_expression(text, &column.name, &column.ty)?;
                    }
                    column.default = text;
                }
                AlterOperation::SetNotNull(name) => {
                    let position = table.column(name).ok_or_else(|| no_column(&table, name))?;
                    self.refuse_nulls(&table, position).await?;
                    table.columns[position].not_null = true;
                }
                AlterOperation::DropNotNull(name) => {
                    let position = table.column(name).ok_or_else(|| no_column(&table, name))?;
                    if table.key_columns().contains(&position) {
                        return Err(Error::new(
                            SqlState::INVALID_TABLE_DEFINITION,
                            format!("column \"{name}\" is in a primary key"),
                        ));
                    }
                    table.columns[position].not_null = false;
                }
            }
        }
        table.check()?;
        Ok(Some(self.catalog.with_table(table)))
    }

    fn column_of<'t>(&self, table: &'t mut Table, name: &str) -> Result<&'t mut Column, Error> {
        let position = table.column(name).ok_or_else(|| no_column(table, name))?;
        Ok(&mut table.columns[position])
    }

    async fn is_empty(&mut self, table: &Table) -> Result<bool, Error> {
        let mut from = None;
        loop {
            let page = self.transaction.scan(&whole(table, Some(1)), from).await?;
            if !page.rows.is_empty() {
                return Ok(false);
            }
            from = page.next;
            if from.is_none() {
                return Ok(true);
            }
        }
    }

    /// Looks at all rows for a NULL in a column.
    async fn refuse_nulls(&mut self, table: &Table, column: usize) -> Result<(), Error> {
        let codec = codec(table);
        let mut from = None;
        loop {
            let page = self.transaction.scan(&whole(table, None), from).await?;
            for stored in page.rows {
                if codec.decode_column(&stored.value, table.columns[column].id)?.is_null() {
                    return Err(contains_nulls(table, &table.columns[column].name));
                }
            }
            from = page.next;
            if from.is_none() {
                return Ok(());
            }
        }
    }

    async fn add_column(&mut self, table: &mut Table, column: &ColumnDefinition) -> Result<(), Error> {
        let missing = match &column.default {
            None => None,
            Some(default) => {
                let mut binder = Binder::new(&self.catalog, self.context, self.positions, &[]);
                let expr = binder.default_expression(&default.to_string(), &column.name, &column.ty)?;
                if expr.is_volatile() {
                    return Err(Error::unsupported(
                        "ADD COLUMN with a default that differs from row to row",
                        "Add the column without a default, UPDATE the rows, then SET DEFAULT.",
                    ));
                }
                let value = expr.eval(&Scope { context: self.context, parameters: &[], slots: &[] }, &[])?;
                let mut text = bytes::BytesMut::new();
                encode_text(&value, &column.ty, &FormatSettings::default(), &mut text);
                (!value.is_null()).then(|| String::from_utf8_lossy(&text).into_owned())
            }
        };
        if column.not_null && missing.is_none() && !self.is_empty(table).await? {
            return Err(contains_nulls(table, &column.name));
        }
        table.add_column(column, missing)
    }

    /// Rows move to keys of their own: a rewrite under a new storage id.
    async fn add_primary_key(&mut self, table: &mut Table, definition: &KeyDefinition) -> Result<(), Error> {
        let old = table.clone();
        table.set_primary_key(definition)?;
        check_key(table)?;
        table.storage_id = self.transaction.new_storage_id().await?;
        let target = Target { table: Arc::new(table.clone()), codec: Arc::new(codec(table)) };
        let ordinals: Vec<usize> = old.columns.iter().map(|column| column.id).collect();
        let mut writer = RowWriter::new(false);
        let mut from = None;
        loop {
            let page = self.transaction.scan(&whole(&old, None), from).await?;
            for stored in page.rows {
                let mut row = Vec::with_capacity(ordinals.len());
                target.codec.decode_columns(&stored.value, &ordinals, &mut row)?;
                if let Some(column) = table.key_columns().iter().find(|column| row[**column].is_null()) {
                    return Err(contains_nulls(table, &table.columns[*column].name));
                }
                writer.add(&target, &row, self.transaction).await?;
            }
            from = page.next;
            if from.is_none() {
                return writer.flush(table, self.transaction).await;
            }
        }
    }
}

fn check_key(table: &Table) -> Result<(), Error> {
    let key = table.key_columns();
    if key.len() > KEY_COLUMNS_MAX {
        return Err(Error::new(
            SqlState::TOO_MANY_COLUMNS,
            format!("cannot use more than {KEY_COLUMNS_MAX} columns in a primary key"),
        ));
    }
    match key.iter().find(|column| !key::is_supported(&table.columns[**column].ty)) {
        Some(column) => {
            let column = &table.columns[*column];
            Err(Error::unsupported(
                format_args!("a primary key column of type {}", column.ty),
                "Use a column of a scalar type.",
            ))
        }
        None => Ok(()),
    }
}

fn contains_nulls(table: &Table, column: &str) -> Error {
    let message = format!("column \"{column}\" of relation \"{}\" contains null values", table.name);
    Error::new(SqlState::NOT_NULL_VIOLATION, message).with_table(PUBLIC, &table.name).with_column(column)
}

fn whole(table: &Table, limit: Option<u64>) -> Scan {
    let placement =
        if table.distribution == Distribution::Duplicate { Placement::Duplicate } else { Placement::AllSlots };
    let prefix = key::storage_prefix(table.storage_id).to_vec();
    Scan { placement, range: key::prefix_range(prefix.into()), ordered: false, reverse: false, limit, program: None }
}
