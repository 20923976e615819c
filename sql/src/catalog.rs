//! Tables and their columns, as one immutable value a version.
//!
//! A [`Catalog`] is shared by `Arc` and never changes; DDL copies it, edits the copy and hands that to the transaction. The server
//! stores one row a table, as [`Table::encode`] makes it, and puts the catalog together again with [`Catalog::new`].
//!
//! A table keeps its `id` for life. Its `storage_id`, with which its keys begin, is replaced by DROP, TRUNCATE and rewrites, so that
//! these cost nothing and old rows can be collected later. Columns have ids that are never used again in their table.

mod edit;
pub mod virtual_tables;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::types::Type;

/// First byte of an encoded table: the format's version.
const FORMAT: u8 = 1;
/// The schema in which all tables are.
pub const PUBLIC: &str = "public";
/// Slots of a distribution map.
pub use crate::key::SLOTS;
/// Most columns of a table.
pub const MAX_COLUMNS: usize = 1600;

/// All tables of a database at one moment.
#[derive(Clone, Debug)]
pub struct Catalog {
    version: u64,
    /// Differs between any two catalogs of this process whose content may differ.
    stamp: u64,
    tables: BTreeMap<u32, Arc<Table>>,
    names: HashMap<String, u32>,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The table's id for life, its `oid`.
    pub id: u32,
    /// With which its keys begin.
    pub storage_id: u32,
    /// Counts the changes of its description, TRUNCATE included.
    pub version: u32,
    /// Its name in the schema `public`.
    pub name: String,
    /// In the order of `SELECT *`.
    pub columns: Vec<Column>,
    /// The types of all columns that the table ever had, by their ids: the layout of its stored rows.
    pub layout: Vec<Type>,
    /// The primary key, if it has one.
    pub primary_key: Option<PrimaryKey>,
    /// Where its rows are.
    pub distribution: Distribution,
}

/// A primary key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrimaryKey {
    /// The constraint's name.
    pub name: String,
    /// Positions in [`Table::columns`], in the key's order.
    pub columns: Vec<usize>,
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its place in stored rows ([`Table::layout`]); never used again in its table.
    pub id: usize,
    /// Its name.
    pub name: String,
    /// Its type.
    pub ty: Type,
    /// NULL is refused.
    pub not_null: bool,
    /// DEFAULT, as SQL text.
    pub default: Option<String>,
    /// What rows written before ADD COLUMN have, as text of the type; NULL if `None`.
    pub missing: Option<String>,
}

/// Where a table's rows are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Distribution {
    /// In the slot of the hash of these columns (positions in [`Table::columns`]); all are part of the primary key.
    Hash(Vec<usize>),
    /// In the slot of the hidden row id: tables without a primary key.
    RowId,
    /// A full copy in every replica set. Without a primary key the hidden row id is the key.
    Duplicate,
}

static STAMPS: AtomicU64 = AtomicU64::new(1);

impl Catalog {
    /// Puts a catalog together from its stored tables.
    pub fn new(version: u64, tables: impl IntoIterator<Item = Table>) -> Catalog {
        let tables: BTreeMap<u32, Arc<Table>> = tables.into_iter().map(|table| (table.id, Arc::new(table))).collect();
        let names = tables.values().map(|table| (table.name.clone(), table.id)).collect();
        Catalog { version, stamp: STAMPS.fetch_add(1, Ordering::Relaxed), tables, names }
    }

    /// Counts the committed changes. DDL raises it by one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// A number that differs between any two catalogs of this process that were made separately; for caches.
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// The table of this name, in the schema `public`.
    pub fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.names.get(name).and_then(|id| self.tables.get(id))
    }

    /// The table of this id.
    pub fn table_by_id(&self, id: u32) -> Option<&Arc<Table>> {
        self.tables.get(&id)
    }

    /// All tables in the order of their ids.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.tables.values()
    }

    /// The ids of tables that differ from those of `older`: for the server, which writes only those.
    pub fn changed_since<'a>(&'a self, older: &'a Catalog) -> impl Iterator<Item = u32> + 'a {
        let changed = self
            .tables
            .values()
            .filter(|table| older.tables.get(&table.id).is_none_or(|old| old != *table))
            .map(|table| table.id);
        let dropped = older.tables.keys().filter(|id| !self.tables.contains_key(id)).copied();
        changed.chain(dropped)
    }
}

impl Table {
    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![FORMAT]).expect("a table always serialises")
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// XX001 if the bytes are not a table.
    pub fn decode(bytes: &[u8]) -> Result<Table, Error> {
        let Some((&FORMAT, rest)) = bytes.split_first() else {
            return Err(Error::corrupted("a table's description has an unknown format"));
        };
        let table: Table = postcard::from_bytes(rest)
            .map_err(|error| Error::corrupted(format!("decode a table's description: {error}")))?;
        table.check()?;
        Ok(table)
    }

    /// The position of a column by its name.
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Positions of the primary key's columns; empty without one.
    pub fn key_columns(&self) -> &[usize] {
        self.primary_key.as_ref().map_or(&[], |key| &key.columns)
    }

    /// Positions of the columns whose hash is the slot; empty where no columns decide it.
    pub fn hash_columns(&self) -> &[usize] {
        match &self.distribution {
            Distribution::Hash(columns) => columns,
            Distribution::RowId | Distribution::Duplicate => &[],
        }
    }

    /// Whether every position is one of a column and every key column is NOT NULL.
    ///
    /// # Errors
    /// XX001 if not.
    pub fn check(&self) -> Result<(), Error> {
        let key = self.key_columns();
        let in_bounds = key.iter().chain(self.hash_columns()).all(|position| *position < self.columns.len());
        let sound = in_bounds
            && self.hash_columns().iter().all(|position| key.contains(position))
            && key.iter().all(|position| self.columns[*position].not_null)
            && self.columns.iter().all(|column| self.layout.get(column.id) == Some(&column.ty))
            && (self.primary_key.is_some() || !matches!(self.distribution, Distribution::Hash(_)));
        if sound {
            Ok(())
        } else {
            Err(Error::corrupted(format!("the description of table \"{}\" contradicts itself", self.name)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn table(id: u32, name: &str) -> Table {
        let column = |id, name: &str, not_null| Column {
            id,
            name: name.to_owned(),
            ty: Type::Int32,
            not_null,
            default: None,
            missing: None,
        };
        Table {
            id,
            storage_id: id,
            version: 1,
            name: name.to_owned(),
            columns: vec![column(0, "a", true), column(1, "b", false)],
            layout: vec![Type::Int32, Type::Int32],
            primary_key: Some(PrimaryKey { name: format!("{name}_pkey"), columns: vec![0] }),
            distribution: Distribution::Hash(vec![0]),
        }
    }

    #[test]
    fn a_table_survives_its_stored_form() {
        let table = table(7, "t");
        assert_eq!(Table::decode(&table.encode()), Ok(table));
    }

    #[test]
    fn a_damaged_description_is_refused() {
        let mut bad = table(7, "t");
        bad.distribution = Distribution::Hash(vec![1]);
        assert_eq!(
            Table::decode(&bad.encode()).map_err(|error| error.code.as_str().to_owned()),
            Err("XX001".to_owned())
        );
        assert!(Table::decode(&[]).is_err());
        assert!(Table::decode(&[9, 9]).is_err());
    }

    #[test]
    fn changes_are_the_new_the_altered_and_the_dropped() {
        let old = Catalog::new(1, [table(1, "same"), table(2, "altered"), table(3, "dropped")]);
        let mut altered = table(2, "altered");
        altered.version = 2;
        let new = Catalog::new(2, [table(1, "same"), altered, table(4, "new")]);
        assert_eq!(new.changed_since(&old).collect::<Vec<_>>(), [2, 4, 3]);
        assert_ne!(new.stamp(), old.stamp());
    }
}
