//! The server: joins consensus, transactions, SQL and management into instances of a grid.
//!
//! - [`config`]: what an operator configures
//! - [`instance`]: one instance from its data directory to its doors; the only place that knows every part
//! - [`data`]: elements, the way to leaders, databases for SQL sessions
//! - [`management`]: the member of the management group, and reports to the active one
//! - [`demo`]: a whole grid on one machine

pub mod config;
pub mod data;
pub mod demo;
pub mod instance;
pub mod management;
