//! The management group's mind: what a grid consists of, what operators want of it, and how far it has come.
//!
//! Everything here is a pure function of the commands in the management group's Raft log; sockets, disks, clocks and Raft
//! itself are the server's. In reading order:
//!
//! - [`lifecycle`]: statuses of elements, and which changes are allowed
//! - [`model`]: the replicated state, and what always holds of it
//! - [`command`]: what can be asked, answered and refused
//! - `apply`, `report`: how a command changes the state
//! - [`disconnect`]: wishes to end sessions
//! - [`layout`]: where elements go
//! - [`orders`]: what each data instance is told
//! - [`repair`]: what the active management instance does by itself
//! - [`status`]: what operators are told
//! - [`inquiry`]: what only the instances themselves can tell operators
//! - [`snapshot`]: the state as bytes
//! - [`service`]: the operators' gRPC service over a running group, behind a trait
//!
//! The way of a `dbOpen`: the service proposes [`Command::OpenDatabase`]; once it is committed, every management instance
//! applies it and the database's target is *open*. The active one sends [`orders::Orders`] to the data instances; each opens
//! its elements and sends an [`InstanceReport`]; [`Model::news`] makes commands of what is new; when they are applied,
//! `dbStatus` shows `opened`. Every arrow may be repeated or lost: targets, orders and reports are levels, not edges.

mod apply;
pub mod command;
pub mod disconnect;
pub mod inquiry;
pub mod layout;
pub mod lifecycle;
pub mod model;
pub mod orders;
pub mod repair;
mod report;
pub mod service;
pub mod snapshot;
pub mod status;
#[cfg(test)]
mod testing;

pub use apply::NAME_BYTES_MAX;
pub use command::{Command, ElementReport, Refused, Reply};
pub use disconnect::DisconnectMode;
pub use lifecycle::{Status, Target};
pub use model::{DatabaseNumber, ElementNumber, Instance, InstanceNumber, InstanceSpec, Millis, Model, SetId};
pub use report::InstanceReport;
pub use snapshot::DecodeError;
