//! The harness: real instances of the real programs on this machine, used and broken from outside.
//!
//! - [`grid`] starts a grid in a temporary directory, kills and restarts its instances, and shows their logs when a test fails
//! - [`proxy`] is the network between them, with links to cut and slow down
//! - [`sql`] is a careful SQL client; [`admin`] runs `quorate-admin`
//! - [`history`] records what clients did, [`check`] judges it
//! - [`wait`] waits for conditions with a deadline, [`ports`] hands out ports
//!
//! The programs must have been built beforehand (`make test` does it); the harness starts what stands beside the tests' own binary.

pub mod admin;
pub mod check;
pub mod grid;
pub mod history;
pub mod instance;
pub mod ports;
pub mod postgres;
pub mod proxy;
pub mod sql;
pub mod wait;
