//! What a data instance does: its elements, the way to the leaders of all replica sets, and databases for SQL sessions.

pub mod catalog;
pub mod database;
mod duties;
pub mod element;
pub mod elements;
pub mod errors;
mod membership;
mod program;
pub mod router;
pub mod transaction;
