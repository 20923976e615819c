//! Replica sets over real connections: several hosts in one process, each with its own log, peers and state machines.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod copies;
mod elections;
mod peers;
mod replication;
mod stress;
mod support;
