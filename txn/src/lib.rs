//! Transactions over replica sets: the multi-version store of an element, the leader's part of the protocol, and (in
//! `coordinator`) the gateway's part.
//!
//! Keys and values are bytes, the log and the network are traits: this crate knows no SQL and no consensus library. Read in
//! this order: [`protocol`] says what travels, [`traits`] what is asked of the world around, [`element`] the replica set's side,
//! [`coordinator`] the gateway's.

pub mod apply;
pub mod clock;
mod codec;
mod command;
pub mod coordinator;
pub mod element;
pub mod failpoint;
pub mod protocol;
pub mod store;
pub mod traits;

pub use apply::{AppliedEntry, Fatal};
pub use element::{Breaks, ElementStatus, Options, ReplicaSet, RowsHash};
pub use store::kv::MemoryDisk;
pub use store::rocks::StoreMemory;
pub use store::{STORE_VERSION, StoreError, StoreLocation};

#[cfg(test)]
mod sim;
