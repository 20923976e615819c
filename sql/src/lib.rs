//! The SQL engine: types, parser, planner, executor and sessions. It knows no network and no Raft; it reaches rows through the traits of
//! `storage`.
//!
//! The life of a statement: [`session`] takes its text, [`parse`] makes a syntax tree of it, [`plan`] settles names, types and the way to the
//! rows against the [`catalog`], [`exec`] runs the plan against a transaction of [`storage`]. Plans are kept with the text.

pub mod catalog;
pub mod exec;
pub mod memory;
pub mod parse;
pub mod plan;
pub mod program;
pub mod session;
pub mod settings;
pub mod storage;

pub mod cast;
pub mod error;
pub mod format;
pub mod functions;
pub mod key;
pub mod keywords;
pub mod row;
pub mod types;
pub mod value;
