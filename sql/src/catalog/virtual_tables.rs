//! Tables of the system that are worked out from the catalog and the session: `pg_catalog` and `information_schema`.
//!
//! Every table is a [`Definition`]: its columns are those of PostgreSQL 15 with types that exist here (`regproc` is `name`, `int2vector` is
//! `smallint[]`, `oidvector` is `oid[]`, `xid` is `oid`, `aclitem[]` is `text[]`, `pg_node_tree` is `text`). Tables about things that do
//! not exist here, such as views and triggers, are there without rows, so that the queries of tools get an answer.

mod empty;
mod information_schema;
pub mod oids;
mod procedures;
mod relations;
mod server;
mod types;

use std::sync::Arc;

use super::{Catalog, PUBLIC};
use crate::settings::View;
use crate::types::Type;
use crate::value::{Row, Value};

pub use procedures::{Procedure, procedures};
pub use relations::{index_definition, key_column, key_definition};

/// A table of the system with its columns and where its rows come from.
pub struct Definition {
    /// `pg_catalog` or `information_schema`.
    schema: &'static str,
    name: &'static str,
    /// As in PostgreSQL, where it has a fixed one; unique among these tables.
    oid: u32,
    /// Names and types: `oid oid, relname name`.
    columns: &'static str,
    /// `None` for tables that never have rows.
    rows: Option<fn(&Sources<'_>) -> Vec<Row>>,
}

/// A table of the system.
#[derive(Clone, Copy)]
pub struct VirtualTable(&'static Definition);

impl std::fmt::Debug for VirtualTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0.schema, self.0.name)
    }
}

/// What the rows are worked out from.
pub struct Sources<'a> {
    /// The tables.
    pub catalog: &'a Catalog,
    /// The session's settings.
    pub settings: &'a View,
    /// The database's name.
    pub database: &'a str,
    /// Numbers and names of the host's databases; none if this is the only one.
    pub databases: &'a [(u32, String)],
    /// The user, who is the only role.
    pub user: &'a str,
}

/// Defines a table: columns with their types, and beside each what a row has in it.
macro_rules! system_table {
    (
        $name:ident = $schema:literal . $table:literal ($oid:literal),
        |$sources:ident| $rows:expr, |$row:pat_param| { $($column:literal $ty:literal = $value:expr;)* }
    ) => {
        pub(super) static $name: $crate::catalog::virtual_tables::Definition =
            $crate::catalog::virtual_tables::Definition {
                schema: $schema,
                name: $table,
                oid: $oid,
                columns: concat!($($column, " ", $ty, ",",)*),
                rows: Some(|$sources| {
                    $rows.into_iter().map(|$row| vec![$($crate::value::Value::from($value)),*]).collect()
                }),
            };
    };
}
pub(crate) use system_table;

/// All tables with names.
fn definitions() -> impl Iterator<Item = &'static Definition> {
    let filled = [relations::TABLES, types::TABLES, procedures::TABLES, server::TABLES, information_schema::TABLES];
    filled.into_iter().flatten().copied().chain(empty::TABLES)
}

impl Definition {
    fn columns(&self) -> impl Iterator<Item = (&'static str, Type)> {
        self.columns.split(',').filter_map(|column| {
            let (name, ty) = column.trim().split_once(' ')?;
            // In these tables `char` is the type of one byte.
            let ty = match ty {
                "char" => Type::InternalChar,
                "char[]" => Type::Array(Box::new(Type::InternalChar)),
                ty => Type::from_name(ty, &[]).unwrap_or(Type::Text),
            };
            Some((name, ty))
        })
    }
}

impl VirtualTable {
    /// The table of this name; without a schema, those of `pg_catalog`.
    pub fn find(schema: Option<&str>, name: &str) -> Option<VirtualTable> {
        let schema = schema.unwrap_or("pg_catalog");
        // What cannot be one costs as little as possible: every statement asks for each of its tables.
        if schema == PUBLIC || !(schema != "pg_catalog" || name.starts_with("pg_") || name == "quorate_tables") {
            return None;
        }
        let found = definitions().find(|table| table.schema == schema && table.name == name);
        found.map(VirtualTable)
    }

    /// The schema it is in.
    pub fn schema(&self) -> &'static str {
        self.0.schema
    }

    /// Its columns.
    pub fn columns(&self) -> Vec<(&'static str, Type)> {
        self.0.columns().collect()
    }

    /// Whether it is certain that it has no rows, now and later.
    pub fn is_empty(&self) -> bool {
        self.0.rows.is_none()
    }

    /// All rows.
    pub fn rows(&self, sources: &Sources<'_>) -> Vec<Row> {
        self.0.rows.map_or_else(Vec::new, |rows| rows(sources))
    }
}

/// The OID of a relation: a table, the index of a primary key, or a table of the system.
pub fn relation_oid(catalog: &Catalog, schema: Option<&str>, name: &str) -> Option<u32> {
    if let Some(VirtualTable(table)) = VirtualTable::find(schema, name) {
        return Some(oids::system_table(table.oid));
    }
    if !matches!(schema, None | Some(PUBLIC)) {
        return None;
    }
    if let Some(table) = catalog.table(name) {
        return Some(table.id);
    }
    let keyed = |table: &&Arc<super::Table>| table.primary_key.as_ref().is_some_and(|key| key.name == name);
    catalog.tables().find(keyed).map(|table| oids::index(table.id))
}

/// The schema and name of a relation by its OID.
pub fn relation_name(catalog: &Catalog, oid: u32) -> Option<(&'static str, &str)> {
    if let Some(table) = catalog.table_by_id(oid) {
        return Some((PUBLIC, &table.name));
    }
    if let Some(table) = oids::table_of_index(oid).and_then(|id| catalog.table_by_id(id)) {
        return table.primary_key.as_ref().map(|key| (PUBLIC, key.name.as_str()));
    }
    definitions().find(|table| oids::system_table(table.oid) == oid).map(|table| (table.schema, table.name))
}

/// A list of values as an array.
fn array(element: Type, values: impl IntoIterator<Item = Value>) -> Value {
    Value::Array(Arc::new(crate::value::Array::new(element, values.into_iter().collect())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::table;

    /// Whether a value is one that a column of this type holds.
    fn fits(value: &Value, ty: &Type) -> bool {
        match (value, ty) {
            (Value::Null, _) => true,
            (Value::Array(array), Type::Array(element)) => array.values().iter().all(|value| fits(value, element)),
            (Value::Bool(_), Type::Bool)
            | (Value::Int16(_), Type::Int16)
            | (Value::Int32(_), Type::Int32)
            | (Value::Int64(_), Type::Int64)
            | (Value::Float4(_), Type::Float4)
            | (Value::Oid(_), Type::Oid)
            | (Value::Text(_), Type::Text | Type::Varchar(_) | Type::Name | Type::InternalChar) => true,
            _ => false,
        }
    }

    #[test]
    fn rows_have_the_columns_that_are_announced() {
        let catalog = Catalog::new(1, [table(7, "t")]);
        let settings = View::default();
        let sources = Sources {
            catalog: &catalog,
            settings: &settings,
            database: "test",
            databases: &[(1, "other".to_owned()), (2, "test".to_owned())],
            user: "ann",
        };
        for table in definitions() {
            let columns: Vec<(&str, Type)> = table.columns().collect();
            assert_eq!(columns.len(), table.columns.split(',').filter(|column| !column.trim().is_empty()).count());
            for row in VirtualTable(table).rows(&sources) {
                assert_eq!(row.len(), columns.len(), "{}", table.name);
                for (value, (column, ty)) in row.iter().zip(&columns) {
                    assert!(fits(value, ty), "{}.{column} is {ty}, not {value:?}", table.name);
                }
            }
        }
    }

    #[test]
    fn every_table_has_an_oid_of_its_own() {
        let mut oids: Vec<u32> = definitions().map(|table| table.oid).collect();
        let all = oids.len();
        oids.sort_unstable();
        oids.dedup();
        assert_eq!(oids.len(), all);
    }

    #[test]
    fn relations_are_found_by_name_and_named_by_oid() {
        let catalog = Catalog::new(1, [table(7, "t")]);
        assert_eq!(relation_oid(&catalog, None, "t"), Some(7));
        for (schema, name) in [("public", "t"), ("public", "t_pkey"), ("pg_catalog", "pg_class")] {
            let oid = relation_oid(&catalog, Some(schema), name).expect(name);
            assert_eq!(relation_name(&catalog, oid), Some((schema, name)));
        }
        assert_eq!(relation_oid(&catalog, Some("pg_catalog"), "t"), None);
    }
}
