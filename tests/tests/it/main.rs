//! The grid as its users see it: real processes, real disks, real kills. Each module is a promise; each test starts its own grid.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod admin;
mod configuration;
mod copies;
mod demo;
mod differential;
mod documentation;
mod drivers;
mod in_doubt;
mod kills;
mod lifecycle;
mod limits;
mod links;
mod management;
mod memory;
mod partial;
mod pgbench;
mod psql;
mod pushdown;
mod queries;
mod recovery;
mod refusals;
mod savepoints;
mod schema_races;
mod sql_basics;
mod staged;
mod tpch;
