//! Cursors: DECLARE, FETCH, MOVE and CLOSE.
//!
//! A cursor is a query under way that a name stands for; it goes forward only. It shows what its query saw when it was declared: before its own
//! transaction changes anything, what is left of it is read into memory. WITH HOLD it outlives its transaction: what is left is read before the
//! commit. Both are bounded by what a statement may hold (53200).

use std::sync::Arc;

use super::Session;
use super::api::{Column, CommandTag, Row};
use super::prepared::Compiled;
use super::statement::End;
use super::streams::{Execution, RowStream};
use super::transaction::Block;
use crate::error::{Error, SqlState};
use crate::parse::{Declare, Fetch, Statement};
use crate::value::Value;

/// Cursors of one session.
const CURSORS_MAX: usize = 1000;

/// One cursor.
pub(super) struct Cursor {
    rows: RowStream,
    /// Savepoints that the session had made when it was declared.
    savepoints: u64,
    /// WITH HOLD.
    hold: bool,
    /// The transaction in which it was declared has been committed.
    outlived: bool,
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
        // Several statements in one query are a block of their own.
        let alone = self.block == Block::None && end == End::Commit && self.open.is_none();
        if alone && !declare.hold {
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
        let Execution::Rows(rows) = self.run_planned(&query, parameters, End::Stay).await? else {
            return Err(Error::internal("a query gave no rows, not even none"));
        };
        let savepoints = self.savepoints_made();
        self.cursors.insert(declare.name.clone(), Cursor { rows, savepoints, hold: declare.hold, outlived: false });
        if end == End::Commit && self.block == Block::None {
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

    /// The next rows of a cursor. An error ends it with its transaction.
    pub(super) async fn cursor_rows(&mut self, name: &str, max_rows: usize) -> Result<Option<Vec<Row>>, Error> {
        let (name, mut cursor) = self.cursors.remove_entry(name).ok_or_else(|| missing(name))?;
        let rows = cursor.rows.own_next(self, max_rows).await?;
        self.cursors.insert(name, cursor);
        Ok(rows)
    }

    /// The columns that FETCH gives, for those who describe a cursor as a portal, which it is in PostgreSQL.
    ///
    /// # Errors
    /// 34000.
    pub fn cursor_columns(&self, name: &str) -> Result<Arc<[Column]>, Error> {
        self.cursors.get(name).map(|cursor| cursor.rows.columns().into()).ok_or_else(|| missing(name))
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
        if changes { self.read_cursors(|_| true, "before the transaction changes anything").await } else { Ok(()) }
    }

    /// Before a commit: cursors that outlive it need the transaction no more.
    pub(super) async fn hold_cursors(&mut self) -> Result<(), Error> {
        if self.cursors.values().any(|cursor| cursor.hold && !cursor.outlived) {
            self.read_cursors(|cursor| cursor.hold, "before its transaction is committed").await?;
        }
        Ok(())
    }

    /// After a commit that succeeded: those WITH HOLD stay.
    pub(super) fn outlive(&mut self) {
        self.cursors.values_mut().filter(|cursor| cursor.hold).for_each(|cursor| cursor.outlived = true);
    }

    /// Reads into memory what is left of cursors.
    async fn read_cursors(&mut self, which: impl Fn(&Cursor) -> bool, when: &str) -> Result<(), Error> {
        let mut names: Vec<String> =
            self.cursors.iter().filter(|(_, cursor)| which(cursor)).map(|(name, _)| name.clone()).collect();
        names.sort_unstable();
        // All cursors of a session share what one statement may hold.
        let read = self.cursors.values().filter(|cursor| cursor.rows.is_read());
        let mut held: usize = read.map(|cursor| cursor.rows.held_bytes()).sum();
        for name in names {
            let Some(mut cursor) = self.cursors.remove(&name) else { continue };
            if !cursor.rows.is_read() {
                cursor.rows.let_take(self.deadline());
                let mut rows: Vec<Row> = Vec::new();
                while let Some(batch) = cursor.rows.own_next(self, usize::MAX).await? {
                    held += crate::exec::memory(&batch);
                    let hint = format!(
                        "What is left of cursor \"{name}\" is kept in memory {when}: fetch it, or close the cursor."
                    );
                    self.check_held(held, &hint)?;
                    rows.extend(batch);
                }
                cursor.rows =
                    RowStream::held(Some(cursor.rows.columns().into()), rows, CommandTag::counted("SELECT", 0));
            }
            self.cursors.insert(name, cursor);
        }
        Ok(())
    }

    fn check_held(&self, held: usize, hint: &str) -> Result<(), Error> {
        let most = self.environment.work_memory;
        if held <= most {
            return Ok(());
        }
        let detail = format!("The rows of this session's cursors take more than {most} bytes.");
        Err(Error::new(SqlState::OUT_OF_MEMORY, "out of memory").with_detail(detail).with_hint(hint))
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

#[cold]
fn missing(name: &str) -> Error {
    Error::new(SqlState::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
}
