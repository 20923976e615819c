//! The standard's `information_schema`, as far as tables, columns and primary keys have something to say in it.

use super::relations::{key_columns, kind_of};
use super::{Definition, Sources, definitions, server, system_table};
use crate::catalog::{Column, PUBLIC, PrimaryKey, Table};
use crate::types::Type;
use crate::value::Value;

pub(super) const TABLES: &[&Definition] =
    &[&SCHEMATA, &TABLES_VIEW, &COLUMNS, &TABLE_CONSTRAINTS, &KEY_COLUMNS, &CONSTRAINT_COLUMNS, &CATALOG_NAME];

fn yes(value: bool) -> &'static str {
    if value { "YES" } else { "NO" }
}

system_table! {
    CATALOG_NAME = "information_schema"."information_schema_catalog_name"(13100), |sources| [sources.database], |name| {
        "catalog_name" "name" = name;
    }
}

system_table! {
    SCHEMATA = "information_schema"."schemata"(13101),
    |sources| server::SCHEMAS.map(|(_, name)| (name, sources.database, sources.user)), |(name, database, user)| {
        "catalog_name" "name" = database;
        "schema_name" "name" = name;
        "schema_owner" "name" = user;
        "default_character_set_catalog" "name" = Value::Null;
        "default_character_set_schema" "name" = Value::Null;
        "default_character_set_name" "name" = Value::Null;
        "sql_path" "varchar" = Value::Null;
    }
}

/// Schema, name, and whether rows can be put in.
fn tables<'a>(sources: &'a Sources<'_>) -> impl Iterator<Item = (&'a str, &'a str, &'a str, bool)> {
    let stored = sources.catalog.tables().map(|table| (sources.database, PUBLIC, table.name.as_str(), true));
    stored.chain(definitions().map(|table| (sources.database, table.schema, table.name, false)))
}

system_table! {
    TABLES_VIEW = "information_schema"."tables"(13102), |sources| tables(sources), |(database, schema, name, stored)| {
        "table_catalog" "name" = database;
        "table_schema" "name" = schema;
        "table_name" "name" = name;
        "table_type" "varchar" = if kind_of(schema) == "v" { "VIEW" } else { "BASE TABLE" };
        "self_referencing_column_name" "name" = Value::Null;
        "reference_generation" "varchar" = Value::Null;
        "user_defined_type_catalog" "name" = Value::Null;
        "user_defined_type_schema" "name" = Value::Null;
        "user_defined_type_name" "name" = Value::Null;
        "is_insertable_into" "varchar" = yes(stored);
        "is_typed" "varchar" = "NO";
        "commit_action" "varchar" = Value::Null;
    }
}

/// A row of `columns`.
struct Place<'a> {
    database: &'a str,
    schema: &'static str,
    table: &'a str,
    number: i32,
    name: &'a str,
    ty: Type,
    not_null: bool,
    default: Option<&'a str>,
}

fn columns<'a>(sources: &'a Sources<'_>) -> Vec<Place<'a>> {
    let mut found: Vec<Place<'a>> = Vec::new();
    for table in sources.catalog.tables() {
        found.extend((1..).zip(&table.columns).map(|(number, column)| Place {
            database: sources.database,
            schema: PUBLIC,
            table: &table.name,
            number,
            name: &column.name,
            ty: column.ty.clone(),
            not_null: column.not_null,
            default: column.default.as_deref(),
        }));
    }
    for table in definitions() {
        found.extend((1..).zip(table.columns()).map(|(number, (name, ty))| Place {
            database: sources.database,
            schema: table.schema,
            table: table.name,
            number,
            name,
            ty,
            not_null: false,
            default: None,
        }));
    }
    found
}

/// Precision, its radix, and scale of a number.
fn precision(ty: &Type) -> (Option<i32>, Option<i32>, Option<i32>) {
    match ty {
        Type::Int16 => (Some(16), Some(2), Some(0)),
        Type::Int32 => (Some(32), Some(2), Some(0)),
        Type::Int64 => (Some(64), Some(2), Some(0)),
        Type::Float4 => (Some(24), Some(2), None),
        Type::Float8 => (Some(53), Some(2), None),
        Type::Numeric(Some((precision, scale))) => (Some(i32::from(*precision)), Some(10), Some(i32::from(*scale))),
        Type::Numeric(None) => (None, Some(10), None),
        _ => (None, None, None),
    }
}

/// Most characters, and most bytes, of a string.
fn lengths(ty: &Type) -> (Option<i32>, Option<i32>) {
    match ty {
        Type::Char(Some(length)) | Type::Varchar(Some(length)) => {
            let length = i32::try_from(*length).ok();
            (length, length.and_then(|length| length.checked_mul(4)))
        }
        Type::Text | Type::Char(None) | Type::Varchar(None) => (None, Some(1 << 30)),
        _ => (None, None),
    }
}

fn digits_of_seconds(ty: &Type) -> Option<i32> {
    match ty {
        Type::Date => Some(0),
        Type::Time(digits) | Type::Timestamp(digits) | Type::TimestampTz(digits) => Some(digits.map_or(6, i32::from)),
        Type::Interval => Some(6),
        _ => None,
    }
}

system_table! {
    COLUMNS = "information_schema"."columns"(13103), |sources| columns(sources), |column| {
        "table_catalog" "name" = column.database;
        "table_schema" "name" = column.schema;
        "table_name" "name" = column.table;
        "column_name" "name" = column.name;
        "ordinal_position" "int4" = column.number;
        "column_default" "varchar" = column.default;
        "is_nullable" "varchar" = yes(!column.not_null);
        "data_type" "varchar" = if column.ty.element().is_some() { "ARRAY".to_owned() } else { column.ty.plain_name() };
        "character_maximum_length" "int4" = lengths(&column.ty).0;
        "character_octet_length" "int4" = lengths(&column.ty).1;
        "numeric_precision" "int4" = precision(&column.ty).0;
        "numeric_precision_radix" "int4" = precision(&column.ty).1;
        "numeric_scale" "int4" = precision(&column.ty).2;
        "datetime_precision" "int4" = digits_of_seconds(&column.ty);
        "interval_type" "varchar" = Value::Null;
        "interval_precision" "int4" = Value::Null;
        "character_set_catalog" "name" = Value::Null;
        "character_set_schema" "name" = Value::Null;
        "character_set_name" "name" = Value::Null;
        "collation_catalog" "name" = Value::Null;
        "collation_schema" "name" = Value::Null;
        "collation_name" "name" = Value::Null;
        "domain_catalog" "name" = Value::Null;
        "domain_schema" "name" = Value::Null;
        "domain_name" "name" = Value::Null;
        "udt_catalog" "name" = column.database;
        "udt_schema" "name" = "pg_catalog";
        "udt_name" "name" = column.ty.internal_name();
        "scope_catalog" "name" = Value::Null;
        "scope_schema" "name" = Value::Null;
        "scope_name" "name" = Value::Null;
        "maximum_cardinality" "int4" = Value::Null;
        "dtd_identifier" "name" = column.number.to_string();
        "is_self_referencing" "varchar" = "NO";
        "is_identity" "varchar" = "NO";
        "identity_generation" "varchar" = Value::Null;
        "identity_start" "varchar" = Value::Null;
        "identity_increment" "varchar" = Value::Null;
        "identity_maximum" "varchar" = Value::Null;
        "identity_minimum" "varchar" = Value::Null;
        "identity_cycle" "varchar" = "NO";
        "is_generated" "varchar" = "NEVER";
        "generation_expression" "varchar" = Value::Null;
        "is_updatable" "varchar" = yes(column.schema == PUBLIC);
        "formatted_type" "text" = column.ty.to_string();
    }
}

type Key<'a> = (&'a str, &'a Table, &'a PrimaryKey);

fn keys<'a>(sources: &'a Sources<'_>) -> impl Iterator<Item = Key<'a>> {
    sources.catalog.tables().filter_map(|table| Some((sources.database, &**table, table.primary_key.as_ref()?)))
}

fn keyed_columns<'a>(sources: &'a Sources<'_>) -> impl Iterator<Item = (Key<'a>, i32, &'a Column)> {
    keys(sources).flat_map(|key| (1..).zip(key_columns(key.1)).map(move |(number, column)| (key, number, column)))
}

system_table! {
    TABLE_CONSTRAINTS = "information_schema"."table_constraints"(13104), |sources| keys(sources), |(database, table, key)| {
        "constraint_catalog" "name" = database;
        "constraint_schema" "name" = PUBLIC;
        "constraint_name" "name" = key.name.as_str();
        "table_catalog" "name" = database;
        "table_schema" "name" = PUBLIC;
        "table_name" "name" = table.name.as_str();
        "constraint_type" "varchar" = "PRIMARY KEY";
        "is_deferrable" "varchar" = "NO";
        "initially_deferred" "varchar" = "NO";
        "enforced" "varchar" = "YES";
        "nulls_distinct" "varchar" = Value::Null;
    }
}

system_table! {
    KEY_COLUMNS = "information_schema"."key_column_usage"(13105),
    |sources| keyed_columns(sources), |((database, table, key), number, column)| {
        "constraint_catalog" "name" = database;
        "constraint_schema" "name" = PUBLIC;
        "constraint_name" "name" = key.name.as_str();
        "table_catalog" "name" = database;
        "table_schema" "name" = PUBLIC;
        "table_name" "name" = table.name.as_str();
        "column_name" "name" = column.name.as_str();
        "ordinal_position" "int4" = number;
        "position_in_unique_constraint" "int4" = Value::Null;
    }
}

system_table! {
    CONSTRAINT_COLUMNS = "information_schema"."constraint_column_usage"(13106),
    |sources| keyed_columns(sources), |((database, table, key), _, column)| {
        "table_catalog" "name" = database;
        "table_schema" "name" = PUBLIC;
        "table_name" "name" = table.name.as_str();
        "column_name" "name" = column.name.as_str();
        "constraint_catalog" "name" = database;
        "constraint_schema" "name" = PUBLIC;
        "constraint_name" "name" = key.name.as_str();
    }
}
