//! Cursors: DECLARE, FETCH, MOVE and CLOSE.
//!
//! A cursor is a query under way that a name stands for; it goes forward only. It shows what its query saw when it was declared: before its own
//! transaction changes anything, what is left of it is read into memory. WITH HOLD it outlives its transaction: what is left is read before the
//! commit. Both are bounded by what a statement may hold (53200); the cursor stays as it was then. After another error of its query a cursor can
//! only be closed.

use std::sync::Arc;

use super::Session;
use super::api::{Column, CommandTag, Row};
use super::prepared::Compiled;
use super::statement::End;
use super::streams::{Execution, RowStream};
use super::transaction::Block;
use crate::error::{Error, SqlState};
use crate::exec::memory;
use crate::parse::{Declare, Fetch, Statement};
use crate::value::Value;

/// Cursors of one session.
const CURSORS_MAX: usize = 1000;

/// What to do where a cursor would be too large to outlive the DECLARE.
const ALONE: &str = "A cursor that is held is kept in memory from the end of its transaction on: declare it in a block and fetch it there, or select less.";
const BEFORE_CHANGE: &str = "before the transaction changes anything";
const BEFORE_COMMIT: &str = "before its transaction is committed";

/// One cursor.
pub(super) struct Cursor {
    rows: RowStream,
    /// Savepoints that the session had made when it was declared.
    savepoints: u64,
    /// WITH HOLD.
    hold: bool,
    /// The transaction in which it was declared has been committed.
    outlived: bool,
    /// An error has ended its query.
    failed: bool,
}

impl Session {
    /// DECLARE.
    pub(super) async fn declare(
        &mut self,
        declare: &Declare,
        compiled: &Compiled,
        parameters: Vec<Value>,
        end: End,
    ) -> Result<Execution, Error> {
        if self.block == Block::None && !self.several && !declare.hold {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(Error::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message)
                .with_hint("Begin a transaction, or declare the cursor WITH HOLD."));
        }
        if self.cursors.contains_key(&declare.name) {
            let message = format!("cursor \"{}\" already exists", declare.name);
            return Err(Error::new(SqlState::DUPLICATE_CURSOR, message));
        }
        if self.cursors.len() >= CURSORS_MAX {
            let message = format!("a session may have at most {CURSORS_MAX} cursors");
            return Err(Error::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, message));
        }
        let query = Arc::new(compiled.of(declare.query.clone()));
        let ends = end == End::Commit && self.block == Block::None;
        // The only statement of its transaction is a query like others: of one moment, and repeated after a lost race.
        let alone = declare.hold && ends && self.open.is_none();
        let execution = if alone {
            self.run_holding(&query, parameters, End::Commit, self.environment.work_memory).await?
        } else {
            self.run_planned(&query, parameters, End::Stay).await?
        };
        let Execution::Rows(rows) = execution else {
            return Err(Error::internal("a query gave no rows, not even none"));
        };
        if alone && !rows.is_read() {
            return Err(self.too_much(ALONE));
        }
        let (savepoints, hold) = (self.savepoints_made(), declare.hold);
        self.cursors.insert(declare.name.clone(), Cursor { rows, savepoints, hold, outlived: alone, failed: false });
        if alone {
            if let Err(error) = self.check_held(self.held_bytes(|_| true), ALONE) {
                self.cursors.remove(&declare.name);
                return Err(error);
            }
        } else if ends {
            self.commit().await?;
        }
        Ok(Execution::Done(CommandTag::plain("DECLARE CURSOR")))
    }

    /// FETCH and MOVE.
    pub(super) async fn fetch(&mut self, fetch: &Fetch) -> Result<Execution, Error> {
        let Some(count) = fetch.count else {
            return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, "cursor can only scan forward")
                .with_hint("Rows are fetched with NEXT, FORWARD, a count or ALL."));
        };
        let deadline = self.deadline();
        let cursor = self.cursors.get_mut(&fetch.cursor).ok_or_else(|| missing(&fetch.cursor))?;
        if let (false, Some(lost)) = (cursor.outlived, &self.lost) {
            return Err(lost.clone());
        }
        if cursor.failed {
            let message = format!("portal \"{}\" cannot be run", fetch.cursor);
            return Err(Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .with_hint("An error has ended the cursor's query. Close it, and declare it again."));
        }
        cursor.rows.let_take(deadline);
        let mut rows = RowStream::of_cursor(cursor.rows.columns().into(), fetch.cursor.clone(), count);
        if !fetch.moves {
            return Ok(Execution::Rows(rows));
        }
        let mut passed = 0;
        while let Some(batch) = rows.next(self, usize::MAX).await? {
            passed += batch.len() as u64;
        }
        Ok(Execution::Done(CommandTag::counted("MOVE", passed)))
    }

    /// The next rows of a cursor.
    pub(super) async fn cursor_rows(&mut self, name: &str, max_rows: usize) -> Result<Option<Vec<Row>>, Error> {
        let (name, mut cursor) = self.cursors.remove_entry(name).ok_or_else(|| missing(name))?;
        let rows = cursor.rows.own_next(self, max_rows).await;
        if rows.is_err() {
            cursor.rows = read(cursor.rows.columns(), Vec::new());
            cursor.failed = true;
        }
        // Without a savepoint its transaction has ended with the error, and all its cursors.
        if rows.is_ok() || !self.savepoints.is_empty() {
            self.cursors.insert(name, cursor);
        }
        rows
    }

    /// The columns that FETCH gives, for those who describe a cursor as a portal, which it is in PostgreSQL.
    ///
    /// # Errors
    /// 34000.
    pub fn cursor_columns(&self, name: &str) -> Result<Arc<[Column]>, Error> {
        self.cursors.get(name).map(|cursor| cursor.rows.columns().into()).ok_or_else(|| missing(name))
    }

    /// The columns of what a FETCH gives now; `None` if it gives no rows.
    pub(super) fn fetched_columns(&self, fetch: &Fetch) -> Option<Arc<[Column]>> {
        if fetch.moves { None } else { self.cursor_columns(&fetch.cursor).ok() }
    }

    /// CLOSE.
    pub(super) fn close_cursor(&mut self, name: &str) -> Result<(), Error> {
        self.cursors.remove(name).map(drop).ok_or_else(|| missing(name))
    }

    /// Before a statement that may change what cursors are about to read.
    pub(super) async fn settle_cursors(&mut self, statement: &Statement) -> Result<(), Error> {
        let changes = match statement {
            Statement::Query(_) | Statement::Explain(_) => false,
            _ => self.cursors.values().any(|cursor| !cursor.rows.is_read()),
        };
        if changes { self.read_cursors(|_| true, BEFORE_CHANGE).await } else { Ok(()) }
    }

    /// Before a commit: cursors that outlive it need the transaction no more.
    pub(super) async fn hold_cursors(&mut self) -> Result<(), Error> {
        if self.cursors.values().any(|cursor| cursor.hold && !cursor.outlived) {
            self.read_cursors(|cursor| cursor.hold, BEFORE_COMMIT).await?;
            self.check_held(self.held_bytes(|cursor| cursor.hold), ALONE)?;
        }
        Ok(())
    }

    /// After a commit that succeeded: those WITH HOLD stay.
    pub(super) fn outlive(&mut self) {
        self.cursors.values_mut().filter(|cursor| cursor.hold).for_each(|cursor| cursor.outlived = true);
    }

    /// Reads into memory what is left of cursors. All of a session share what one statement may hold.
    async fn read_cursors(&mut self, which: impl Fn(&Cursor) -> bool, when: &str) -> Result<(), Error> {
        let mut names: Vec<String> =
            self.cursors.iter().filter(|(_, cursor)| which(cursor)).map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        let mut held = self.held_bytes(&which);
        for name in names {
            let deadline = self.deadline();
            let Some(cursor) = self.cursors.get_mut(&name).filter(|cursor| !cursor.rows.is_read()) else { continue };
            cursor.rows.let_take(deadline);
            let mut rows: Vec<Row> = Vec::new();
            while let Some(batch) = self.cursor_rows(&name, usize::MAX).await? {
                held += memory(&batch);
                rows.extend(batch);
                if let Err(error) = self.check_held(held, &kept(&name, when)) {
                    self.put_back(&name, rows);
                    return Err(error);
                }
            }
            if let Some(cursor) = self.cursors.get_mut(&name) {
                cursor.rows = read(cursor.rows.columns(), rows);
            }
        }
        Ok(())
    }

    /// Gives rows back to a cursor: they are fetched again.
    pub(super) fn put_back(&mut self, name: &str, rows: Vec<Row>) {
        if let Some(cursor) = self.cursors.get_mut(name) {
            cursor.rows.put_back(rows);
        }
    }

    /// About how many bytes the rows take of cursors whose queries are done.
    fn held_bytes(&self, which: impl Fn(&Cursor) -> bool) -> usize {
        let read = self.cursors.values().filter(|cursor| which(cursor) && cursor.rows.is_read());
        read.map(|cursor| cursor.rows.held_bytes()).sum()
    }

    /// # Errors
    /// 53200 if that is more than a statement may hold.
    pub(super) fn check_held(&self, held: usize, hint: &str) -> Result<(), Error> {
        if held <= self.environment.work_memory { Ok(()) } else { Err(self.too_much(hint)) }
    }

    fn too_much(&self, hint: &str) -> Error {
        let detail =
            format!("The rows of this session's cursors take more than {} bytes.", self.environment.work_memory);
        Error::new(SqlState::OUT_OF_MEMORY, "out of memory").with_detail(detail).with_hint(hint)
    }

    /// After the end of a transaction: those that do not outlive it are gone.
    pub(super) fn end_cursors(&mut self) {
        self.cursors.retain(|_, cursor| cursor.outlived);
    }

    /// After ROLLBACK TO: those that were declared since are gone.
    pub(super) fn end_cursors_since(&mut self, savepoint: u64) {
        self.cursors.retain(|_, cursor| cursor.outlived || cursor.savepoints < savepoint);
    }
}

/// A cursor whose rows are all here.
fn read(columns: &[Column], rows: Vec<Row>) -> RowStream {
    RowStream::held(Some(columns.into()), rows, CommandTag::counted("SELECT", 0))
}

fn kept(name: &str, when: &str) -> String {
    format!("What is left of cursor \"{name}\" is kept in memory {when}: fetch it, or close the cursor.")
}

#[cold]
fn missing(name: &str) -> Error {
    Error::new(SqlState::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
}
