//! Changes of a catalog: each takes the old one and gives a new one, or PostgreSQL's error.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Catalog, Column, Distribution, MAX_COLUMNS, PrimaryKey, STAMPS, Table};
use crate::error::{Error, SqlState};
use crate::parse::{ColumnDefinition, CreateTable, DistributeBy, KeyDefinition};

fn locate(error: Error, position: Option<u32>) -> Error {
    match position {
        Some(position) => error.at(position),
        None => error,
    }
}

impl Catalog {
    /// The catalog with `table` added or replaced.
    #[must_use]
    pub fn with_table(&self, table: Table) -> Catalog {
        let mut new = self.next();
        if let Some(old) = new.tables.get(&table.id) {
            let name = old.name.clone();
            new.names.remove(&name);
        }
        new.names.insert(table.name.clone(), table.id);
        new.tables.insert(table.id, Arc::new(table));
        new
    }

    /// The catalog without a table.
    #[must_use]
    pub fn without_table(&self, id: u32) -> Catalog {
        let mut new = self.next();
        if let Some(table) = new.tables.remove(&id) {
            new.names.remove(&table.name);
        }
        new
    }

    fn next(&self) -> Catalog {
        Catalog { version: self.version + 1, stamp: STAMPS.fetch_add(1, Ordering::Relaxed), ..self.clone() }
    }
}

impl Table {
    /// The table that CREATE TABLE describes, under `id`, which is its storage id too.
    ///
    /// # Errors
    /// 42701, 42703, 42P16 and 54011 as PostgreSQL; 42P16 for a distribution that is not part of the primary key.
    pub fn create(statement: &CreateTable, id: u32) -> Result<Table, Error> {
        if statement.columns.len() > MAX_COLUMNS {
            return Err(Error::new(
                SqlState::TOO_MANY_COLUMNS,
                format!("tables can have at most {MAX_COLUMNS} columns"),
            ));
        }
        let mut table = Table {
            id,
            storage_id: id,
            version: 1,
            name: statement.name.name.clone(),
            columns: Vec::with_capacity(statement.columns.len()),
            layout: Vec::with_capacity(statement.columns.len()),
            primary_key: None,
            distribution: Distribution::RowId,
        };
        for column in &statement.columns {
            table.add_column(column, None)?;
        }
        if let Some(key) = &statement.primary_key {
            table.set_primary_key(key)?;
        }
        match &statement.distribute_by {
            None => {}
            Some(DistributeBy::Duplicate) => table.distribution = Distribution::Duplicate,
            Some(DistributeBy::Hash(columns)) => {
                table.distribution = Distribution::Hash(table.distribution_columns(columns)?)
            }
        }
        table.check()?;
        Ok(table)
    }

    fn distribution_columns(&self, names: &[(String, Option<u32>)]) -> Result<Vec<usize>, Error> {
        let mut columns = Vec::with_capacity(names.len());
        for (name, position) in names {
            let column =
                self.column(name).ok_or_else(|| locate(missing_key_column(name, "distribution"), *position))?;
            if !self.key_columns().contains(&column) {
                let error = Error::new(
                    SqlState::INVALID_TABLE_DEFINITION,
                    format!("distribution column \"{name}\" is not part of the primary key"),
                )
                .with_hint("Make it part of the primary key: uniqueness is kept within one replica set.");
                return Err(locate(error, *position));
            }
            if columns.contains(&column) {
                let error = Error::new(
                    SqlState::DUPLICATE_COLUMN,
                    format!("column \"{name}\" appears twice in the distribution key"),
                );
                return Err(locate(error, *position));
            }
            columns.push(column);
        }
        Ok(columns)
    }

    /// Adds a column at the end; `missing` is what rows have that are there already.
    ///
    /// # Errors
    /// 42701 if there is one of that name, 42P16 for a type that no column may have, 54011 if there are too many, dropped ones counted.
    pub fn add_column(&mut self, definition: &ColumnDefinition, missing: Option<String>) -> Result<(), Error> {
        if self.layout.len() >= MAX_COLUMNS {
            return Err(Error::new(
                SqlState::TOO_MANY_COLUMNS,
                format!("tables can have at most {MAX_COLUMNS} columns"),
            ));
        }
        if self.column(&definition.name).is_some() {
            let message = if self.version == 1 && self.storage_id == self.id && missing.is_none() {
                format!("column \"{}\" specified more than once", definition.name)
            } else {
                format!("column \"{}\" of relation \"{}\" already exists", definition.name, self.name)
            };
            return Err(locate(Error::new(SqlState::DUPLICATE_COLUMN, message), definition.position));
        }
        if !definition.ty.is_storable() {
            let message = format!("column \"{}\" has pseudo-type {}", definition.name, definition.ty);
            return Err(locate(Error::new(SqlState::INVALID_TABLE_DEFINITION, message), definition.position));
        }
        self.columns.push(Column {
            id: self.layout.len(),
            name: definition.name.clone(),
            ty: definition.ty.clone(),
            not_null: definition.not_null,
            default: definition.default.as_ref().map(ToString::to_string),
            missing,
        });
        self.layout.push(definition.ty.clone());
        Ok(())
    }

    /// Declares the primary key, and distributes by it unless the table is duplicated.
    ///
    /// # Errors
    /// 42P16 if there is one already, 42703 and 42701 for its columns.
    pub fn set_primary_key(&mut self, key: &KeyDefinition) -> Result<(), Error> {
        if self.primary_key.is_some() {
            let message = format!("multiple primary keys for table \"{}\" are not allowed", self.name);
            return Err(Error::new(SqlState::INVALID_TABLE_DEFINITION, message));
        }
        let mut columns = Vec::with_capacity(key.columns.len());
        for (name, position) in &key.columns {
            let column = self.column(name).ok_or_else(|| locate(missing_key_column(name, "key"), *position))?;
            if columns.contains(&column) {
                let error = Error::new(
                    SqlState::DUPLICATE_COLUMN,
                    format!("column \"{name}\" appears twice in primary key constraint"),
                );
                return Err(locate(error, *position));
            }
            columns.push(column);
        }
        for column in &columns {
            self.columns[*column].not_null = true;
        }
        if !matches!(self.distribution, Distribution::Duplicate) {
            self.distribution = Distribution::Hash(columns.clone());
        }
        let name = key.name.clone().unwrap_or_else(|| format!("{}_pkey", self.name));
        self.primary_key = Some(PrimaryKey { name, columns });
        Ok(())
    }

    /// Removes a column; stored rows keep its value until they are written again.
    ///
    /// # Errors
    /// 0A000 for a column of the primary key.
    pub fn drop_column(&mut self, column: usize) -> Result<(), Error> {
        if self.key_columns().contains(&column) {
            let feature = format!("dropping column \"{}\" of the primary key", self.columns[column].name);
            return Err(Error::unsupported(feature, "Create a new table and copy the rows with INSERT ... SELECT."));
        }
        self.columns.remove(column);
        let shift = |positions: &mut Vec<usize>| {
            positions.iter_mut().filter(|position| **position > column).for_each(|position| *position -= 1)
        };
        if let Some(key) = &mut self.primary_key {
            shift(&mut key.columns);
        }
        if let Distribution::Hash(columns) = &mut self.distribution {
            shift(columns);
        }
        Ok(())
    }
}

fn missing_key_column(name: &str, what: &str) -> Error {
    Error::new(SqlState::UNDEFINED_COLUMN, format!("column \"{name}\" named in {what} does not exist"))
}
