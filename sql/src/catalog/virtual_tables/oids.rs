//! The OIDs of what has no number in the stored catalog.
//!
//! A table's OID is its id for life, counted upwards and far below 2²⁸. What belongs to it has the same number in a range of its own,
//! so that it is stable and clashes with nothing; so have the tables of the system, whose numbers in PostgreSQL could be those of tables.
//! Types, schemas, access methods and collations have PostgreSQL's numbers: each is looked up in a catalog of its own.

/// The schema `public`.
pub const PUBLIC: u32 = 2200;
/// The schema `pg_catalog`.
pub const PG_CATALOG: u32 = 11;
/// The schema `information_schema`.
pub const INFORMATION_SCHEMA: u32 = 13000;
/// The session's user, as PostgreSQL's first superuser.
pub const USER: u32 = 10;
/// The database.
pub const DATABASE: u32 = 1;
/// The tablespace `pg_default`.
pub const TABLESPACE: u32 = 1663;
/// The access method of tables.
pub const HEAP: u32 = 2;
/// The access method of primary keys.
pub const BTREE: u32 = 403;
/// The language of built-in functions.
pub const INTERNAL: u32 = 12;
/// The collation `default`.
pub const DEFAULT_COLLATION: u32 = 100;
/// The collation `C`.
pub const C_COLLATION: u32 = 950;

const INDEXES: u32 = 0x1000_0000;
const CONSTRAINTS: u32 = 0x2000_0000;
const FUNCTIONS: u32 = 0x3000_0000;
const SYSTEM_TABLES: u32 = 0x4000_0000;
const DEFAULTS: u32 = 0x8000_0000;
const RANGE: u32 = 0xF000_0000;

/// The index of a table's primary key.
pub fn index(table: u32) -> u32 {
    INDEXES | table
}

/// The table whose primary key has this index.
pub fn table_of_index(oid: u32) -> Option<u32> {
    (oid & RANGE == INDEXES).then_some(oid & !RANGE)
}

/// The constraint that a table's primary key is.
pub fn constraint(table: u32) -> u32 {
    CONSTRAINTS | table
}

/// The table whose primary key is this constraint.
pub fn table_of_constraint(oid: u32) -> Option<u32> {
    (oid & RANGE == CONSTRAINTS).then_some(oid & !RANGE)
}

/// The default of a column, by its number in the table; a table has at most 1600. Unique among the first million tables.
pub fn default(table: u32, column: u32) -> u32 {
    DEFAULTS | (table << 11 & !DEFAULTS) | column
}

/// A built-in function, by its place in the list of all.
pub fn function(place: usize) -> u32 {
    FUNCTIONS | u32::try_from(place).unwrap_or(0)
}

/// The place of a built-in function.
pub fn place_of_function(oid: u32) -> Option<usize> {
    (oid & RANGE == FUNCTIONS).then(|| usize::try_from(oid & !RANGE).ok()).flatten()
}

/// A table of the system, by its OID in PostgreSQL.
pub fn system_table(oid: u32) -> u32 {
    SYSTEM_TABLES | oid
}
