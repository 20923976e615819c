//! Savepoints of a block, and what becomes of a session after an error.
//!
//! A savepoint is a name, a number that the storage transaction knows it by, and the settings at that moment. While a block has one, an error does not
//! end the storage transaction: it waits, with its locks, for ROLLBACK TO. Errors of the transaction itself (a lost race, a replica set without a leader)
//! do end it. The block can still go back to a savepoint, as clients expect, but whatever needs the transaction, and the commit, is refused
//! with that error again.

use super::Session;
use super::api::CommandTag;
use super::transaction::{Block, Open};
use crate::error::{Error, SqlState};
use crate::parse::TransactionModes;
use crate::settings::Mark;

/// Savepoints of one block.
const SAVEPOINTS_MAX: usize = 1 << 16;

/// One savepoint.
pub(super) struct Savepoint {
    name: String,
    /// Rises within a session.
    pub(super) number: u64,
    settings: Mark,
}

/// Whether nothing but the end of its transaction is left after an error.
pub(super) fn ends_transaction(error: &Error) -> bool {
    match error.code.class() {
        "57" => error.code != SqlState::QUERY_CANCELED,
        "08" => error.code != SqlState::PROTOCOL_VIOLATION,
        class => matches!(class, "40" | "58" | "XX"),
    }
}

impl Session {
    /// After an error. Without a savepoint the transaction is rolled back at once, so that its locks hold nobody up; a block stays, failed. Once more
    /// for the same error changes nothing.
    pub async fn fail(&mut self, error: &Error) {
        if self.fail_at_savepoint(error) {
            return;
        }
        let in_block = self.block != Block::None;
        self.roll_back().await;
        if in_block {
            self.block = Block::Failed;
        }
    }

    /// [`Session::fail`] in a block with a savepoint; false without one.
    pub(super) fn fail_at_savepoint(&mut self, error: &Error) -> bool {
        let Some(newest) = self.savepoints.last() else { return false };
        self.settings.restore(&newest.settings);
        self.block = Block::Failed;
        match &mut self.open {
            // The error is an answer: the transaction cannot be repeated unseen any more.
            Some(open) if !ends_transaction(error) => open.answered += 1,
            _ => {
                self.open = None;
                self.transaction_id.store(0, std::sync::atomic::Ordering::Relaxed);
                self.lost.get_or_insert_with(|| {
                    let mut lost = error.clone();
                    lost.position = None;
                    lost
                });
            }
        }
        true
    }

    /// After a statement that failed: its transaction waits to go back to a savepoint if it `can` and there is one, else it is rolled back.
    pub(super) async fn keep_or_end(&mut self, open: Open, can: bool) {
        if can && !self.savepoints.is_empty() {
            self.open = Some(open);
        } else {
            open.transaction.rollback().await;
        }
    }

    fn refuse_outside_block(&self, command: &str) -> Result<(), Error> {
        if self.block != Block::None {
            return Ok(());
        }
        let message = format!("{command} can only be used in transaction blocks");
        Err(Error::new(SqlState::NO_ACTIVE_SQL_TRANSACTION, message))
    }

    /// The newest savepoint of a name.
    fn find_savepoint(&self, name: &str) -> Result<usize, Error> {
        self.savepoints.iter().rposition(|savepoint| savepoint.name == name).ok_or_else(|| {
            Error::new(SqlState::INVALID_SAVEPOINT_SPECIFICATION, format!("savepoint \"{name}\" does not exist"))
        })
    }

    /// SAVEPOINT.
    pub(super) fn savepoint(&mut self, name: &str) -> Result<CommandTag, Error> {
        self.refuse_outside_block("SAVEPOINT")?;
        if self.savepoints.len() >= SAVEPOINTS_MAX {
            let message = format!("a transaction can have at most {SAVEPOINTS_MAX} savepoints");
            return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message).with_hint(
                "Release savepoints that are not needed any more (a driver's autosave: cleanupSavepoints).",
            ));
        }
        self.open()?;
        self.savepoints_made += 1;
        let number = self.savepoints_made;
        if let Some(open) = &mut self.open {
            open.transaction.savepoint(number);
        }
        self.savepoints.push(Savepoint { name: name.to_owned(), number, settings: self.settings.mark() });
        Ok(CommandTag::plain("SAVEPOINT"))
    }

    /// RELEASE.
    pub(super) fn release(&mut self, name: &str) -> Result<CommandTag, Error> {
        self.refuse_outside_block("RELEASE SAVEPOINT")?;
        let at = self.find_savepoint(name)?;
        if let Some(open) = &mut self.open {
            open.transaction.release(self.savepoints[at].number);
        }
        self.savepoints.truncate(at);
        Ok(CommandTag::plain("RELEASE"))
    }

    /// ROLLBACK TO.
    pub(super) async fn roll_back_to(&mut self, name: &str) -> Result<CommandTag, Error> {
        self.refuse_outside_block("ROLLBACK TO SAVEPOINT")?;
        let at = self.find_savepoint(name)?;
        let number = self.savepoints[at].number;
        if let Some(open) = &mut self.open {
            open.transaction.rollback_to(number).await.map_err(|error| too_much(error, name))?;
            // What is prepared next is described by the tables of now.
            open.catalog = Some(open.transaction.catalog().await?);
        }
        self.savepoints.truncate(at + 1);
        self.settings.restore(&self.savepoints[at].settings);
        self.block = Block::Open;
        self.portals_end = Some(self.portals_end.map_or(number, |end| end.min(number)));
        self.end_cursors_since(number);
        Ok(CommandTag::plain("ROLLBACK"))
    }

    /// What PostgreSQL does not let be set behind a savepoint.
    pub(super) fn refuse_modes_at_savepoint(&self, modes: TransactionModes) -> Result<(), Error> {
        if self.savepoints.is_empty() {
            return Ok(());
        }
        let message = if modes.isolation.is_some() {
            "SET TRANSACTION ISOLATION LEVEL must not be called in a subtransaction"
        } else if modes.read_only == Some(false) && self.settings.read_only() {
            "cannot set transaction read-write mode inside a read-only transaction"
        } else if modes.deferrable.is_some() {
            "SET TRANSACTION [NOT] DEFERRABLE cannot be called within a subtransaction"
        } else {
            return Ok(());
        };
        Err(Error::new(SqlState::ACTIVE_SQL_TRANSACTION, message))
    }

    /// How many savepoints this session has made: for a portal that is bound now, to be compared with [`Session::portals_end`].
    pub fn savepoints_made(&self) -> u64 {
        self.savepoints_made
    }

    /// Once after ROLLBACK TO: portals bound when so many savepoints, or more, had been made are gone.
    pub fn portals_end(&mut self) -> Option<u64> {
        self.portals_end.take()
    }
}

/// Names the savepoint, and what can be done.
fn too_much(error: Error, name: &str) -> Error {
    if error.code != SqlState::PROGRAM_LIMIT_EXCEEDED {
        return error;
    }
    let message = format!("cannot roll back to savepoint \"{name}\": too much was written since");
    let detail = error.message.clone();
    Error::new(error.code, message).with_detail(detail).with_hint(
        "ROLLBACK the whole transaction, or go back to a later savepoint. Write less behind a savepoint, or raise transaction_memory.",
    )
}
