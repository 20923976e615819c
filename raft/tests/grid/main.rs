//! Replica sets over real connections: several hosts in one process, each with its own log, peers and state machines.

mod copies;
mod elections;
mod peers;
mod replication;
mod stress;
mod support;
