//! The types that pass between a session and whoever drives it (the gateway, the test scripts).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;

use crate::types::Type;

pub use crate::value::Row;

/// A result column as RowDescription shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The column's name or alias; `?column?` for a nameless expression.
    pub name: String,
    /// The SQL type.
    pub ty: Type,
    /// PostgreSQL's type modifier; -1 if there is none.
    pub type_modifier: i32,
    /// The table's id when the column is a plain column of a table, else 0.
    pub table_oid: u32,
    /// The column's number in that table, else 0.
    pub column_no: i16,
}

/// What CommandComplete says; `Display` gives the protocol's text, such as `INSERT 0 3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandTag {
    /// The command, such as `SELECT` or `CREATE TABLE`.
    pub command: &'static str,
    /// How many rows it concerned, where the command counts.
    pub rows: Option<u64>,
}

impl CommandTag {
    /// A tag without a count.
    pub const fn plain(command: &'static str) -> CommandTag {
        CommandTag { command, rows: None }
    }

    /// A tag with a count of rows.
    pub const fn counted(command: &'static str, rows: u64) -> CommandTag {
        CommandTag { command, rows: Some(rows) }
    }
}

impl fmt::Display for CommandTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rows {
            Some(rows) if self.command == "INSERT" => write!(f, "INSERT 0 {rows}"),
            Some(rows) => write!(f, "{} {rows}", self.command),
            None => f.write_str(self.command),
        }
    }
}

/// The transaction status of ReadyForQuery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionStatus {
    /// No transaction block (`I`).
    Idle,
    /// In a transaction block (`T`).
    InBlock,
    /// In a failed block: everything but its end is refused with 25P02 (`E`).
    Failed,
}

/// A NOTICE or WARNING that accompanies an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `NOTICE`, `WARNING` or `INFO`.
    pub severity: &'static str,
    /// SQLSTATE.
    pub code: &'static str,
    /// The text.
    pub message: Cow<'static, str>,
    /// What to do about it, where there is something.
    pub hint: Option<Cow<'static, str>>,
}

/// Time, as the session's host provides it: this crate has no runtime and no timers of its own.
pub trait Timer: Send + Sync {
    /// Completes after `duration` by a monotonic clock.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;

    /// The wall clock, for `now()` and its kind. Only answers shown to people depend on it.
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// What a session is given by its host.
#[derive(Clone)]
pub struct Environment {
    /// Timers and the wall clock.
    pub timer: Arc<dyn Timer>,
    /// Shown by `pg_backend_pid()`; the gateway's cancel key carries the same number.
    pub process_id: i32,
    /// Settings of the startup message (`application_name`, `DateStyle`, `options` already split, ...), applied as the session's defaults.
    pub startup_parameters: Vec<(String, String)>,
    /// Bytes that one statement may hold for sorting, grouping and held-back results before it fails with 53200.
    pub work_memory: usize,
    /// Runs queries over several relations.
    pub engine: Arc<dyn crate::exec::relational::Engine>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("process_id", &self.process_id).finish_non_exhaustive()
    }
}

/// The layout of COPY data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyFormat {
    /// Tab-separated text with backslash escapes.
    Text,
    /// Comma-separated values.
    Csv,
}
