//! Tables of the system that are worked out from the catalog and the session: `information_schema` and `pg_catalog`, as far as
//! single-table queries of tools need them.

use std::sync::Arc;

use super::{Catalog, Distribution, PUBLIC, Table};
use crate::settings::View;
use crate::types::Type;
use crate::value::{Row, Value};

/// The OID of the schema `public`, as in PostgreSQL.
const PUBLIC_OID: u32 = 2200;
/// The OID of the schema `pg_catalog`.
const PG_CATALOG_OID: u32 = 11;
/// The OID of the schema `information_schema`.
const INFORMATION_SCHEMA_OID: u32 = 13000;

/// A table of the system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VirtualTable {
    /// `information_schema.tables`
    Tables,
    /// `information_schema.columns`
    Columns,
    /// `information_schema.key_column_usage`
    KeyColumns,
    /// `pg_catalog.pg_tables`
    PgTables,
    /// `pg_catalog.pg_class`
    PgClass,
    /// `pg_catalog.pg_namespace`
    PgNamespace,
    /// `pg_catalog.pg_type`
    PgType,
    /// `pg_catalog.pg_settings`
    PgSettings,
    /// `pg_catalog.pg_database`
    PgDatabase,
    /// `pg_catalog.quorate_tables`: placement of tables, for people and the prompt
    QuorateTables,
    /// The answer to pgbench's question about the partitions of a table
    PgbenchPartitions(Arc<str>),
}

/// What the rows are worked out from.
pub struct Sources<'a> {
    /// The tables.
    pub catalog: &'a Catalog,
    /// The session's settings.
    pub settings: &'a View,
    /// The database's name.
    pub database: &'a str,
}

macro_rules! columns {
    ($($name:literal: $ty:expr),* $(,)?) => {{
        static COLUMNS: &[(&str, Type)] = &[$(($name, $ty)),*];
        COLUMNS
    }};
}

impl VirtualTable {
    /// The table of this name; without a schema, those of `pg_catalog`.
    pub fn find(schema: Option<&str>, name: &str) -> Option<VirtualTable> {
        Some(match (schema, name) {
            (Some("information_schema"), "tables") => VirtualTable::Tables,
            (Some("information_schema"), "columns") => VirtualTable::Columns,
            (Some("information_schema"), "key_column_usage") => VirtualTable::KeyColumns,
            (None | Some("pg_catalog"), "pg_tables") => VirtualTable::PgTables,
            (None | Some("pg_catalog"), "pg_class") => VirtualTable::PgClass,
            (None | Some("pg_catalog"), "pg_namespace") => VirtualTable::PgNamespace,
            (None | Some("pg_catalog"), "pg_type") => VirtualTable::PgType,
            (None | Some("pg_catalog"), "pg_settings") => VirtualTable::PgSettings,
            (None | Some("pg_catalog"), "pg_database") => VirtualTable::PgDatabase,
            (None | Some("pg_catalog"), "quorate_tables") => VirtualTable::QuorateTables,
            _ => return None,
        })
    }

    /// The schema it is in.
    pub fn schema(&self) -> &'static str {
        match self {
            VirtualTable::Tables | VirtualTable::Columns | VirtualTable::KeyColumns => "information_schema",
            _ => "pg_catalog",
        }
    }

    /// Its columns.
    pub fn columns(&self) -> &'static [(&'static str, Type)] {
        match self {
            VirtualTable::Tables => columns! {
                "table_catalog": Type::Name, "table_schema": Type::Name, "table_name": Type::Name, "table_type": Type::Text,
                "is_insertable_into": Type::Text,
            },
            VirtualTable::Columns => columns! {
                "table_catalog": Type::Name, "table_schema": Type::Name, "table_name": Type::Name, "column_name": Type::Name,
                "ordinal_position": Type::Int32, "column_default": Type::Text, "is_nullable": Type::Text, "data_type": Type::Text,
                "character_maximum_length": Type::Int32, "numeric_precision": Type::Int32, "numeric_scale": Type::Int32,
                "udt_name": Type::Name, "formatted_type": Type::Text,
            },
            VirtualTable::KeyColumns => columns! {
                "constraint_schema": Type::Name, "constraint_name": Type::Name, "table_schema": Type::Name, "table_name": Type::Name,
                "column_name": Type::Name, "ordinal_position": Type::Int32,
            },
            VirtualTable::PgTables => columns! {
                "schemaname": Type::Name, "tablename": Type::Name, "tableowner": Type::Name, "tablespace": Type::Name, "hasindexes": Type::Bool,
                "hasrules": Type::Bool, "hastriggers": Type::Bool, "rowsecurity": Type::Bool,
            },
            VirtualTable::PgClass => columns! {
                "oid": Type::Oid, "relname": Type::Name, "relnamespace": Type::Oid, "relkind": Type::InternalChar, "relnatts": Type::Int16,
                "relfilenode": Type::Oid, "relhasindex": Type::Bool, "relpersistence": Type::InternalChar,
            },
            VirtualTable::PgNamespace => columns! { "oid": Type::Oid, "nspname": Type::Name },
            VirtualTable::PgType => columns! {
                "oid": Type::Oid, "typname": Type::Name, "typnamespace": Type::Oid, "typlen": Type::Int16, "typtype": Type::InternalChar,
                "typelem": Type::Oid, "typarray": Type::Oid, "typbasetype": Type::Oid, "typrelid": Type::Oid,
            },
            VirtualTable::PgSettings => {
                columns! { "name": Type::Text, "setting": Type::Text, "short_desc": Type::Text }
            }
            VirtualTable::PgDatabase => {
                columns! { "oid": Type::Oid, "datname": Type::Name, "encoding": Type::Int32, "datallowconn": Type::Bool }
            }
            VirtualTable::QuorateTables => columns! {
                "schemaname": Type::Name, "tablename": Type::Name, "oid": Type::Oid, "storage_id": Type::Oid, "primary_key": Type::Text,
                "distribution": Type::Text,
            },
            VirtualTable::PgbenchPartitions(_) => {
                columns! { "n": Type::Int32, "partstrat": Type::InternalChar, "count": Type::Int64 }
            }
        }
    }

    /// All rows.
    pub fn rows(&self, sources: &Sources<'_>) -> Vec<Row> {
        let tables = || sources.catalog.tables();
        match self {
            VirtualTable::Tables => tables()
                .map(|table| {
                    vec![sources.database.into(), PUBLIC.into(), text(&table.name), "BASE TABLE".into(), "YES".into()]
                })
                .collect(),
            VirtualTable::Columns => tables().flat_map(|table| column_rows(table, sources.database)).collect(),
            VirtualTable::KeyColumns => tables().flat_map(key_rows).collect(),
            VirtualTable::PgTables => tables()
                .map(|table| {
                    let keyed = table.primary_key.is_some();
                    vec![
                        PUBLIC.into(),
                        text(&table.name),
                        "quorate".into(),
                        Value::Null,
                        keyed.into(),
                        false.into(),
                        false.into(),
                        false.into(),
                    ]
                })
                .collect(),
            VirtualTable::PgClass => tables()
                .map(|table| {
                    let columns = i16::try_from(table.columns.len()).unwrap_or(i16::MAX);
                    let keyed = table.primary_key.is_some();
                    let (id, storage) = (Value::Oid(table.id), Value::Oid(table.storage_id));
                    vec![
                        id,
                        text(&table.name),
                        Value::Oid(PUBLIC_OID),
                        "r".into(),
                        columns.into(),
                        storage,
                        keyed.into(),
                        "p".into(),
                    ]
                })
                .collect(),
            VirtualTable::PgNamespace => {
                [(PG_CATALOG_OID, "pg_catalog"), (PUBLIC_OID, PUBLIC), (INFORMATION_SCHEMA_OID, "information_schema")]
                    .iter()
                    .map(|(oid, name)| vec![Value::Oid(*oid), (*name).into()])
                    .collect()
            }
            VirtualTable::PgType => type_rows(),
            VirtualTable::PgSettings => sources
                .settings
                .all()
                .into_iter()
                .map(|(name, value, description)| vec![name.into(), value.into(), description.into()])
                .collect(),
            VirtualTable::PgDatabase => vec![vec![Value::Oid(1), sources.database.into(), 6.into(), true.into()]],
            VirtualTable::QuorateTables => tables()
                .map(|table| {
                    let names = |columns: &[usize]| {
                        columns.iter().map(|column| table.columns[*column].name.as_str()).collect::<Vec<_>>().join(", ")
                    };
                    let key = table.primary_key.as_ref().map(|key| names(&key.columns));
                    let distribution = match &table.distribution {
                        Distribution::Hash(columns) => format!("HASH ({})", names(columns)),
                        Distribution::RowId => "ROW".to_owned(),
                        Distribution::Duplicate => "DUPLICATE".to_owned(),
                    };
                    vec![
                        PUBLIC.into(),
                        text(&table.name),
                        Value::Oid(table.id),
                        Value::Oid(table.storage_id),
                        key.into(),
                        distribution.into(),
                    ]
                })
                .collect(),
            VirtualTable::PgbenchPartitions(name) => {
                // One row if the table is there: in the first schema of the search path, not partitioned, no partitions.
                sources.catalog.table(name).map(|_| vec![1.into(), Value::Null, 0i64.into()]).into_iter().collect()
            }
        }
    }
}

fn text(text: &str) -> Value {
    text.into()
}

fn column_rows(table: &Arc<Table>, database: &str) -> Vec<Row> {
    let row = |(n, column): (i32, &super::Column)| {
        let length = match &column.ty {
            Type::Char(Some(length)) | Type::Varchar(Some(length)) => i32::try_from(*length).ok(),
            _ => None,
        };
        let (precision, scale) = match &column.ty {
            Type::Int16 => (Some(16), Some(0)),
            Type::Int32 => (Some(32), Some(0)),
            Type::Int64 => (Some(64), Some(0)),
            Type::Float4 => (Some(24), None),
            Type::Float8 => (Some(53), None),
            Type::Numeric(Some((precision, scale))) => (Some(i32::from(*precision)), Some(i32::from(*scale))),
            _ => (None, None),
        };
        vec![
            database.into(),
            PUBLIC.into(),
            text(&table.name),
            text(&column.name),
            n.into(),
            column.default.clone().into(),
            (if column.not_null { "NO" } else { "YES" }).into(),
            if matches!(column.ty, Type::Array(_)) { "ARRAY".into() } else { column.ty.plain_name().into() },
            length.into(),
            precision.into(),
            scale.into(),
            column.ty.internal_name().into(),
            column.ty.to_string().into(),
        ]
    };
    (1..).zip(&table.columns).map(row).collect()
}

fn key_rows(table: &Arc<Table>) -> Vec<Row> {
    let Some(key) = &table.primary_key else { return Vec::new() };
    let row = |(n, column): (i32, &usize)| {
        let name = text(&table.columns[*column].name);
        vec![PUBLIC.into(), text(&key.name), PUBLIC.into(), text(&table.name), name, n.into()]
    };
    (1..).zip(&key.columns).map(row).collect()
}

/// The built-in types and their arrays.
fn type_rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for ty in (1..=3000).filter_map(Type::from_oid) {
        let (element, array) = match &ty {
            Type::Array(element) => (element.oid(), 0),
            scalar => (0, Type::Array(Box::new(scalar.clone())).oid()),
        };
        let kind = if matches!(ty, Type::Void | Type::Record | Type::Unknown) { "p" } else { "b" };
        rows.push(vec![
            Value::Oid(ty.oid()),
            ty.internal_name().into(),
            Value::Oid(PG_CATALOG_OID),
            ty.length().into(),
            kind.into(),
            Value::Oid(element),
            Value::Oid(array),
            Value::Oid(0),
            Value::Oid(0),
        ]);
    }
    rows
}
