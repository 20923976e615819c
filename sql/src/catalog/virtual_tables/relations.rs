//! Tables, their columns, and primary keys with their indexes: `pg_class`, `pg_attribute`, `pg_index`, `pg_constraint` and their kin.

use super::{Definition, Sources, array, definitions, oids, server, system_table, types};
use crate::catalog::{Column, Distribution, PUBLIC, PrimaryKey, Table};
use crate::functions::quote_ident;
use crate::types::Type;
use crate::value::Value;

pub(super) const TABLES: &[&Definition] =
    &[&CLASS, &ATTRIBUTE, &DEFAULTS, &INDEX, &CONSTRAINT, &PG_TABLES, &PG_INDEXES, &QUORATE_TABLES];

/// A row of `pg_class`.
struct Relation<'a> {
    oid: u32,
    name: &'a str,
    schema: u32,
    kind: &'static str,
    columns: usize,
    storage: u32,
    keyed: bool,
}

impl Relation<'_> {
    fn method(&self) -> u32 {
        match self.kind {
            "r" => oids::HEAP,
            "i" => oids::BTREE,
            _ => 0,
        }
    }
}

pub(super) fn schema_oid(name: &str) -> u32 {
    match name {
        PUBLIC => oids::PUBLIC,
        "information_schema" => oids::INFORMATION_SCHEMA,
        _ => oids::PG_CATALOG,
    }
}

/// Tables of `pg_catalog` count as tables, those of `information_schema` as views.
pub(super) fn kind_of(schema: &str) -> &'static str {
    if schema == "information_schema" { "v" } else { "r" }
}

fn relations<'a>(sources: &'a Sources<'_>) -> Vec<Relation<'a>> {
    let mut found: Vec<Relation<'a>> = Vec::new();
    for table in sources.catalog.tables() {
        found.push(Relation {
            oid: table.id,
            name: &table.name,
            schema: oids::PUBLIC,
            kind: "r",
            columns: table.columns.len(),
            storage: table.storage_id,
            keyed: table.primary_key.is_some(),
        });
        if let Some(key) = &table.primary_key {
            found.push(Relation {
                oid: oids::index(table.id),
                name: &key.name,
                schema: oids::PUBLIC,
                kind: "i",
                columns: key.columns.len(),
                storage: oids::index(table.storage_id),
                keyed: false,
            });
        }
    }
    found.extend(definitions().map(|table| Relation {
        oid: oids::system_table(table.oid),
        name: table.name,
        schema: schema_oid(table.schema),
        kind: kind_of(table.schema),
        columns: table.columns().count(),
        storage: 0,
        keyed: false,
    }));
    found
}

system_table! {
    CLASS = "pg_catalog"."pg_class"(1259), |sources| relations(sources), |relation| {
        "oid" "oid" = Value::Oid(relation.oid);
        "relname" "name" = relation.name;
        "relnamespace" "oid" = Value::Oid(relation.schema);
        "reltype" "oid" = Value::Oid(0);
        "reloftype" "oid" = Value::Oid(0);
        "relowner" "oid" = Value::Oid(oids::USER);
        "relam" "oid" = Value::Oid(relation.method());
        "relfilenode" "oid" = Value::Oid(relation.storage);
        "reltablespace" "oid" = Value::Oid(0);
        "relpages" "int4" = 0;
        "reltuples" "float4" = -1.0f32;
        "relallvisible" "int4" = 0;
        "reltoastrelid" "oid" = Value::Oid(0);
        "relhasindex" "bool" = relation.keyed;
        "relisshared" "bool" = false;
        "relpersistence" "char" = "p";
        "relkind" "char" = relation.kind;
        "relnatts" "int2" = number(relation.columns);
        "relchecks" "int2" = 0i16;
        "relhasrules" "bool" = relation.kind == "v";
        "relhastriggers" "bool" = false;
        "relhassubclass" "bool" = false;
        "relrowsecurity" "bool" = false;
        "relforcerowsecurity" "bool" = false;
        "relispopulated" "bool" = true;
        "relreplident" "char" = if relation.schema == oids::PUBLIC && relation.kind == "r" { "d" } else { "n" };
        "relispartition" "bool" = false;
        "relrewrite" "oid" = Value::Oid(0);
        "relfrozenxid" "oid" = Value::Oid(0);
        "relminmxid" "oid" = Value::Oid(0);
        "relacl" "text[]" = Value::Null;
        "reloptions" "text[]" = Value::Null;
        "relpartbound" "text" = Value::Null;
    }
}

/// A row of `pg_attribute`.
struct Attribute<'a> {
    relation: u32,
    name: &'a str,
    number: usize,
    ty: Type,
    not_null: bool,
    default: bool,
    missing: Option<&'a str>,
}

fn attributes<'a>(sources: &'a Sources<'_>) -> Vec<Attribute<'a>> {
    let mut found: Vec<Attribute<'a>> = Vec::new();
    for table in sources.catalog.tables() {
        found.extend((1..).zip(&table.columns).map(|(number, column)| Attribute {
            relation: table.id,
            name: &column.name,
            number,
            ty: column.ty.clone(),
            not_null: column.not_null,
            default: column.default.is_some(),
            missing: column.missing.as_deref(),
        }));
        found.extend((1..).zip(key_columns(table)).map(|(number, column)| Attribute {
            relation: oids::index(table.id),
            name: &column.name,
            number,
            ty: column.ty.clone(),
            not_null: false,
            default: false,
            missing: None,
        }));
    }
    for table in definitions() {
        found.extend((1..).zip(table.columns()).map(|(number, (name, ty))| Attribute {
            relation: oids::system_table(table.oid),
            name,
            number,
            ty,
            not_null: false,
            default: false,
            missing: None,
        }));
    }
    found
}

system_table! {
    ATTRIBUTE = "pg_catalog"."pg_attribute"(1249), |sources| attributes(sources), |attribute| {
        "attrelid" "oid" = Value::Oid(attribute.relation);
        "attname" "name" = attribute.name;
        "atttypid" "oid" = Value::Oid(attribute.ty.oid());
        "attstattarget" "int4" = -1;
        "attlen" "int2" = attribute.ty.length();
        "attnum" "int2" = number(attribute.number);
        "attndims" "int4" = i32::from(attribute.ty.element().is_some());
        "attcacheoff" "int4" = -1;
        "atttypmod" "int4" = attribute.ty.modifier();
        "attbyval" "bool" = types::by_value(&attribute.ty);
        "attalign" "char" = types::alignment(&attribute.ty);
        "attstorage" "char" = types::storage(&attribute.ty);
        "attcompression" "char" = "";
        "attnotnull" "bool" = attribute.not_null;
        "atthasdef" "bool" = attribute.default;
        "atthasmissing" "bool" = attribute.missing.is_some();
        "attidentity" "char" = "";
        "attgenerated" "char" = "";
        "attisdropped" "bool" = false;
        "attislocal" "bool" = true;
        "attinhcount" "int4" = 0;
        "attcollation" "oid" = Value::Oid(types::collation(&attribute.ty));
        "attacl" "text[]" = Value::Null;
        "attoptions" "text[]" = Value::Null;
        "attfdwoptions" "text[]" = Value::Null;
        "attmissingval" "text" = attribute.missing;
    }
}

fn defaults<'a>(sources: &'a Sources<'_>) -> impl Iterator<Item = (u32, usize, &'a str)> {
    sources.catalog.tables().flat_map(|table| {
        let numbered = (1..).zip(&table.columns);
        numbered.filter_map(|(number, column)| Some((table.id, number, column.default.as_deref()?)))
    })
}

system_table! {
    DEFAULTS = "pg_catalog"."pg_attrdef"(2604), |sources| defaults(sources), |(table, column, default)| {
        "oid" "oid" = Value::Oid(oids::default(table, u32::try_from(column).unwrap_or(0)));
        "adrelid" "oid" = Value::Oid(table);
        "adnum" "int2" = number(column);
        "adbin" "text" = default;
    }
}

fn keys<'a>(sources: &'a Sources<'_>) -> impl Iterator<Item = (&'a Table, &'a PrimaryKey)> {
    sources.catalog.tables().filter_map(|table| Some((&**table, table.primary_key.as_ref()?)))
}

system_table! {
    INDEX = "pg_catalog"."pg_index"(2610), |sources| keys(sources), |(table, key)| {
        "indexrelid" "oid" = Value::Oid(oids::index(table.id));
        "indrelid" "oid" = Value::Oid(table.id);
        "indnatts" "int2" = number(key.columns.len());
        "indnkeyatts" "int2" = number(key.columns.len());
        "indisunique" "bool" = true;
        "indnullsnotdistinct" "bool" = false;
        "indisprimary" "bool" = true;
        "indisexclusion" "bool" = false;
        "indimmediate" "bool" = true;
        "indisclustered" "bool" = false;
        "indisvalid" "bool" = true;
        "indcheckxmin" "bool" = false;
        "indisready" "bool" = true;
        "indislive" "bool" = true;
        "indisreplident" "bool" = false;
        "indkey" "int2[]" = column_numbers(key);
        "indcollation" "oid[]" =
            array(Type::Oid, key_columns(table).map(|column| Value::Oid(types::collation(&column.ty))));
        "indclass" "oid[]" = array(Type::Oid, key_columns(table).map(|column| Value::Oid(server::operator_class(&column.ty))));
        "indoption" "int2[]" = array(Type::Int16, key.columns.iter().map(|_| Value::Int16(0)));
        "indexprs" "text" = Value::Null;
        "indpred" "text" = Value::Null;
    }
}

system_table! {
    CONSTRAINT = "pg_catalog"."pg_constraint"(2606), |sources| keys(sources), |(table, key)| {
        "oid" "oid" = Value::Oid(oids::constraint(table.id));
        "conname" "name" = key.name.as_str();
        "connamespace" "oid" = Value::Oid(oids::PUBLIC);
        "contype" "char" = "p";
        "condeferrable" "bool" = false;
        "condeferred" "bool" = false;
        "convalidated" "bool" = true;
        "conrelid" "oid" = Value::Oid(table.id);
        "contypid" "oid" = Value::Oid(0);
        "conindid" "oid" = Value::Oid(oids::index(table.id));
        "conparentid" "oid" = Value::Oid(0);
        "confrelid" "oid" = Value::Oid(0);
        "confupdtype" "char" = " ";
        "confdeltype" "char" = " ";
        "confmatchtype" "char" = " ";
        "conislocal" "bool" = true;
        "coninhcount" "int4" = 0;
        "connoinherit" "bool" = true;
        "conkey" "int2[]" = column_numbers(key);
        "confkey" "int2[]" = Value::Null;
        "conpfeqop" "oid[]" = Value::Null;
        "conppeqop" "oid[]" = Value::Null;
        "conffeqop" "oid[]" = Value::Null;
        "confdelsetcols" "int2[]" = Value::Null;
        "conexclop" "oid[]" = Value::Null;
        "conbin" "text" = Value::Null;
    }
}

system_table! {
    PG_TABLES = "pg_catalog"."pg_tables"(12033),
    |sources| sources.catalog.tables().map(|table| (table, sources.user)), |(table, user)| {
        "schemaname" "name" = PUBLIC;
        "tablename" "name" = table.name.as_str();
        "tableowner" "name" = user;
        "tablespace" "name" = Value::Null;
        "hasindexes" "bool" = table.primary_key.is_some();
        "hasrules" "bool" = false;
        "hastriggers" "bool" = false;
        "rowsecurity" "bool" = false;
    }
}

system_table! {
    PG_INDEXES = "pg_catalog"."pg_indexes"(12043), |sources| keys(sources), |(table, key)| {
        "schemaname" "name" = PUBLIC;
        "tablename" "name" = table.name.as_str();
        "indexname" "name" = key.name.as_str();
        "tablespace" "name" = Value::Null;
        "indexdef" "text" = index_definition(table, key);
    }
}

system_table! {
    QUORATE_TABLES = "pg_catalog"."quorate_tables"(19999), |sources| sources.catalog.tables(), |table| {
        "schemaname" "name" = PUBLIC;
        "tablename" "name" = table.name.as_str();
        "oid" "oid" = Value::Oid(table.id);
        "storage_id" "oid" = Value::Oid(table.storage_id);
        "primary_key" "text" = table.primary_key.as_ref().map(|key| names(table, &key.columns));
        "distribution" "text" = match &table.distribution {
            Distribution::Hash(columns) => format!("HASH ({})", names(table, columns)),
            Distribution::RowId => "ROW".to_owned(),
            Distribution::Duplicate => "DUPLICATE".to_owned(),
        };
    }
}

fn names(table: &Table, columns: &[usize]) -> String {
    columns.iter().map(|column| table.columns[*column].name.as_str()).collect::<Vec<_>>().join(", ")
}

fn number(count: usize) -> Value {
    Value::Int16(i16::try_from(count).unwrap_or(i16::MAX))
}

pub(super) fn key_columns(table: &Table) -> impl Iterator<Item = &Column> {
    table.key_columns().iter().map(|position| &table.columns[*position])
}

fn column_numbers(key: &PrimaryKey) -> Value {
    array(Type::Int16, key.columns.iter().map(|position| number(position + 1)))
}

fn key_list(table: &Table) -> String {
    key_columns(table).map(|column| quote_ident(&column.name)).collect::<Vec<_>>().join(", ")
}

/// `CREATE UNIQUE INDEX ...`, as `pg_get_indexdef` gives it.
pub fn index_definition(table: &Table, key: &PrimaryKey) -> String {
    let (index, name) = (quote_ident(&key.name), quote_ident(&table.name));
    format!("CREATE UNIQUE INDEX {index} ON {PUBLIC}.{name} USING btree ({})", key_list(table))
}

/// `PRIMARY KEY (...)`, as `pg_get_constraintdef` gives it.
pub fn key_definition(table: &Table) -> String {
    format!("PRIMARY KEY ({})", key_list(table))
}

/// The column of a primary key by its number in the key, as `pg_get_indexdef` gives it.
pub fn key_column(table: &Table, number: usize) -> Option<String> {
    key_columns(table).nth(number.checked_sub(1)?).map(|column| quote_ident(&column.name))
}
