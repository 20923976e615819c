//! The log of an instance: one RocksDB that holds the entries and votes of all its groups.
//!
//! One ordered writer thread takes appends, votes, truncations and purges of every group from one queue; what waits together is
//! one RocksDB batch and one fsync (group commit over groups). Callbacks run in order and only after the fsync. Invariants:
//!
//! - Writes of one group become durable in the order in which openraft issued them; a vote is durable before it is answered and with it
//!   everything issued before.
//! - An entry is readable as soon as `append` has returned: the tail of each group is kept in memory until it is flushed.
//! - No holes: `purged < first entry`, entries are consecutive up to `last`.
//!
//! Purging deletes entry by entry (range tombstones cost every later read). Any error of the disk ends the process through
//! [`crate::fatal`]: a replica in doubt about its log must not go on.

mod group;
mod store;
#[cfg(test)]
mod tests;
mod writer;

pub use group::GroupLog;
pub use store::{LogOptions, LogStore};
