//! The grid as its users see it: real processes, real disks, real kills. Each module is a promise; each test starts its own grid.

mod admin;
mod configuration;
mod demo;
mod kills;
mod limits;
mod links;
mod pgbench;
mod refusals;
mod sql_basics;
