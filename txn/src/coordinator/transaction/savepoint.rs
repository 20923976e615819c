//! Savepoints: what was written since one of them is taken back, from the buffers.
//!
//! Only writes are. Locks stay held, and what was read stays to be validated: the client has seen answers that rest on it, and has decided by them to
//! go back. What was staged cannot be taken back, so writes that a savepoint takes back are staged last, when they alone are above
//! `transaction_memory`; then the savepoint is *crossed*, and going back to it is refused.

use super::Transaction;
use crate::coordinator::error::TxnError;

impl Transaction {
    /// Makes a savepoint. Costs nothing until something is written. Numbers rise within a transaction, and are used once.
    pub fn savepoint(&mut self, number: u64) {
        debug_assert!(self.savepoints.last().is_none_or(|last| *last < number), "numbers rise");
        self.savepoints.push(number);
    }

    /// Forgets a savepoint and those after it; what was written since is then taken back together with what was written before.
    pub fn release(&mut self, savepoint: u64) {
        self.savepoints.truncate(self.savepoints.partition_point(|known| *known < savepoint));
        let into = self.within();
        for part in &mut self.parts {
            part.writes.release(savepoint, into);
        }
    }

    /// Takes back what was written since a savepoint, which stays; those after it are forgotten.
    ///
    /// # Errors
    /// [`TxnError::Limit`] if some of it has been staged: nothing has happened then, and nothing but going back further in time or the end
    /// of the transaction makes sense. [`TxnError::Retry`] if the transaction can only be rolled back.
    pub fn roll_back_to(&mut self, savepoint: u64) -> Result<(), TxnError> {
        self.usable()?;
        if self.crossed.is_some_and(|crossed| savepoint <= crossed) {
            return Err(TxnError::Limit(format!(
                "what was written since the savepoint is above transaction_memory ({} bytes) and cannot be taken back",
                self.shared.config.transaction_memory
            )));
        }
        self.savepoints.truncate(self.savepoints.partition_point(|known| *known <= savepoint));
        for part in &mut self.parts {
            part.writes.roll_back_to(savepoint);
        }
        Ok(())
    }

    /// The newest savepoint that there is a way back to.
    pub(super) fn within(&self) -> Option<u64> {
        self.savepoints.last().copied().filter(|newest| self.crossed.is_none_or(|crossed| crossed < *newest))
    }

    /// Gives up the ways back to all savepoints that there are.
    pub(super) fn cross(&mut self) {
        self.crossed = self.savepoints.last().copied().or(self.crossed);
        for part in &mut self.parts {
            part.writes.settle();
        }
    }
}
