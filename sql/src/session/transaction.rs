//! The transaction of a session: its beginning, its ends, and the statements that control it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Session;
use super::api::{CommandTag, Notice, TransactionStatus};
use super::cancel::Deadline;
use crate::catalog::Catalog;
use crate::error::{Error, SqlState};
use crate::exec::duplicate_on_commit;
use crate::parse::{Statement, TransactionModes};
use crate::storage::{Transaction, TransactionOptions};
use crate::value::timestamp_from_system;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// No block; a transaction that is open is an implicit one.
    None,
    /// In a block.
    Open,
    /// In a block that failed; its transaction is rolled back already, unless there is a savepoint to go back to.
    Failed,
}

/// An open storage transaction.
pub(super) struct Open {
    pub(super) transaction: Box<dyn Transaction>,
    /// Tells transactions of a session apart.
    pub(super) serial: u64,
    /// `now()`.
    pub(super) began: i64,
    /// Statements that were answered in it.
    pub(super) answered: u64,
    /// The catalog that the last statement saw, to put names to errors on commit.
    pub(super) catalog: Option<Arc<Catalog>>,
    /// `transaction_timeout`.
    pub(super) deadline: Option<Deadline>,
}

impl Session {
    /// The status for ReadyForQuery.
    pub fn status(&self) -> TransactionStatus {
        match self.block {
            Block::None => TransactionStatus::Idle,
            Block::Open => TransactionStatus::InBlock,
            Block::Failed => TransactionStatus::Failed,
        }
    }

    pub(super) fn now(&self) -> i64 {
        timestamp_from_system(self.environment.timer.now().into())
    }

    /// Makes sure that a transaction is open.
    ///
    /// # Errors
    /// What ended the transaction of a block that went on at a savepoint.
    pub(super) fn open(&mut self) -> Result<(), Error> {
        if let Some(lost) = &self.lost {
            return Err(lost.clone());
        }
        if self.open.is_none() {
            let began = self.block_began.unwrap_or_else(|| self.now());
            self.open = Some(self.begin(None, began)?);
        }
        Ok(())
    }

    /// A new transaction, perhaps in the place of one that has to be repeated.
    pub(super) fn begin(&mut self, age_of: Option<u64>, began: i64) -> Result<Open, Error> {
        self.serial += 1;
        self.transaction_id.store(0, Ordering::Relaxed);
        let id = Some(self.transaction_id.clone());
        let options = TransactionOptions { read_only: self.settings.read_only(), age_of, id };
        let mut transaction = self.database.begin(&options)?;
        for savepoint in &self.savepoints {
            transaction.savepoint(savepoint.number);
        }
        Ok(Open {
            transaction,
            serial: self.serial,
            began,
            answered: 0,
            catalog: None,
            deadline: self
                .settings
                .transaction_timeout()
                .map(|timeout| Deadline::new(self.environment.timer.sleep(timeout))),
        })
    }

    /// Commits what is open.
    ///
    /// # Errors
    /// What the storage reports; the transaction is over in any case.
    pub(super) async fn commit(&mut self) -> Result<(), Error> {
        if !self.cursors.is_empty()
            && let Err(error) = Box::pin(self.hold_cursors()).await
        {
            self.roll_back().await;
            return Err(error);
        }
        let result = match self.open.take() {
            Some(open) => {
                let catalog = open.catalog.clone();
                open.transaction.commit().await.map_err(|error| match &catalog {
                    Some(catalog) => duplicate_on_commit(error, catalog),
                    None => error,
                })
            }
            None => Ok(()),
        };
        if result.is_ok() {
            self.outlive();
        }
        self.leave_block();
        self.settings.end_transaction(result.is_ok());
        result
    }

    /// Rolls back what is open and leaves the block.
    pub(super) async fn roll_back(&mut self) {
        if let Some(open) = self.open.take() {
            open.transaction.rollback().await;
        }
        self.leave_block();
        self.settings.end_transaction(false);
    }

    fn leave_block(&mut self) {
        self.block = Block::None;
        self.block_began = None;
        self.savepoints.clear();
        self.end_cursors();
        self.lost = None;
        self.transaction_id.store(0, Ordering::Relaxed);
    }

    pub(super) fn warn(&mut self, code: &'static str, message: &'static str) {
        self.notices.push(Notice { severity: "WARNING", code, message: message.into(), hint: None });
    }

    /// Runs transaction control, if `statement` is that.
    pub(super) async fn control(&mut self, statement: &Statement) -> Option<Result<CommandTag, Error>> {
        Some(match statement {
            Statement::Begin(modes, tag) => self.begin_block(*modes, tag),
            Statement::Commit { chain } => self.end_block(true, *chain).await,
            Statement::Rollback { chain } => self.end_block(false, *chain).await,
            Statement::Savepoint(name) => self.savepoint(name),
            Statement::Release(name) => self.release(name),
            Statement::RollbackTo(name) => self.roll_back_to(name).await,
            Statement::SetTransaction { modes, session: true } => {
                self.settings.set_default_modes(*modes);
                Ok(CommandTag::plain("SET"))
            }
            Statement::SetTransaction { modes, session: false } => {
                if self.block == Block::None {
                    self.warn("25P01", "SET TRANSACTION can only be used in transaction blocks");
                    return Some(Ok(CommandTag::plain("SET")));
                }
                self.set_modes(*modes).map(|()| CommandTag::plain("SET"))
            }
            _ => return None,
        })
    }

    fn begin_block(&mut self, modes: TransactionModes, tag: &'static str) -> Result<CommandTag, Error> {
        if self.block == Block::Open {
            self.warn("25001", "there is already a transaction in progress");
        } else {
            // An implicit transaction that has begun becomes the block's.
            self.block = Block::Open;
            self.block_began = Some(self.open.as_ref().map_or_else(|| self.now(), |open| open.began));
        }
        self.set_modes(modes)?;
        Ok(CommandTag::plain(tag))
    }

    fn set_modes(&mut self, modes: TransactionModes) -> Result<(), Error> {
        let begun = self.open.as_ref().is_some_and(|open| open.answered > 0);
        if begun && modes.isolation.is_some() {
            return Err(Error::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "SET TRANSACTION ISOLATION LEVEL must be called before any query",
            ));
        }
        if begun && modes.read_only == Some(false) && self.settings.read_only() {
            return Err(Error::new(
                SqlState::ACTIVE_SQL_TRANSACTION,
                "transaction read-write mode must be set before any query",
            ));
        }
        self.refuse_modes_at_savepoint(modes)?;
        self.settings.set_modes(modes);
        Ok(())
    }

    async fn end_block(&mut self, commit: bool, chain: bool) -> Result<CommandTag, Error> {
        let block = self.block;
        if block == Block::None {
            if chain {
                let message = format!(
                    "{} AND CHAIN can only be used in transaction blocks",
                    if commit { "COMMIT" } else { "ROLLBACK" }
                );
                return Err(Error::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message));
            }
            self.warn("25P01", "there is no transaction in progress");
        }
        let modes = TransactionModes { read_only: Some(self.settings.read_only()), ..TransactionModes::default() };
        let tag = if commit && block != Block::Failed {
            if let Some(lost) = self.lost.take() {
                self.roll_back().await;
                return Err(lost);
            }
            self.commit().await?;
            "COMMIT"
        } else {
            self.roll_back().await;
            "ROLLBACK"
        };
        if chain {
            self.begin_block(modes, tag)?;
        }
        Ok(CommandTag::plain(tag))
    }
}
