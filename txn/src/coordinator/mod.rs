//! The gateway's part of transactions: a [`Coordinator`] for each gateway process and database, and its [`Transaction`]s.
//!
//! A transaction reads at one snapshot S, buffers its writes, and commits with one message to the only set involved or
//! with one parallel round of prepares (`docs/transactions.md`, which also has the rules named in comments). Read in this
//! order: `transaction` is what a session sees, `lane` how the sessions' snapshot requests are joined, `cut` how read-only transactions
//! get a snapshot of several sets, `shared` how messages are sent and repeated, `background` what goes on after the answer.
//!
//! What it relies on: leaders validate, so nothing here is trusted for correctness but three things. A transaction
//! that takes data without proof of leadership validates all of it, with proof, before it ends (rules 7 and 11). Nothing
//! is called failed that may have been executed (rule 6). The watermark passes a transaction only when nobody can ask about it
//! any more (rule 10).
//!
//! Not here: placement (the caller names replica sets), SQL, and repeating whole transactions.

mod background;
mod config;
mod cut;
mod error;
mod ids;
mod lane;
mod link;
mod open;
mod shared;
mod spans;
mod transaction;
mod writes;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

pub use config::{Breaks, Config};
pub use error::{RetryCause, TxnError};
pub use transaction::{Options, Page, ScanProgram, ScanRange, Transaction};

use crate::clock::Clock;
use crate::protocol::{GatewayId, SetId, TxnId, TxnStatus};
use crate::traits::Sets;
use ids::Ids;
use shared::Shared;

/// Begins transactions of one database at one gateway process, and takes care of their outcomes. Dropping it ends its
/// background tasks at once; [`Coordinator::shutdown`] lets them finish first.
pub struct Coordinator {
    shared: Arc<Shared>,
}

impl Coordinator {
    /// A coordinator whose transactions are numbered from `first_counter` on. `gateway` and counter together must never have
    /// been used before: the incarnation is made durable before the gateway serves. Must be called within a tokio runtime.
    pub fn new(
        gateway: GatewayId,
        first_counter: u64,
        sets: Arc<dyn Sets>,
        clock: Arc<Clock>,
        config: Config,
    ) -> Coordinator {
        let (in_doubt, found) = mpsc::unbounded_channel();
        let (cuts, wanted) = mpsc::unbounded_channel();
        let ids = Ids::new(gateway, first_counter);
        let shared = Arc::new(Shared::new(sets, clock, config, ids, in_doubt, cuts));
        shared.spawn(cut::serve(Arc::clone(&shared), wanted));
        shared.spawn(background::keep(Arc::clone(&shared), found));
        Coordinator { shared }
    }

    /// Begins a transaction. Costs nothing until its first read or write.
    pub fn begin(&self, options: Options) -> Transaction {
        Transaction::new(Arc::clone(&self.shared), options)
    }

    /// Names the sets of the database: all of them hear regularly of this gateway's watermark and oldest snapshot, also those that
    /// no transaction has used yet. Must be called within a tokio runtime.
    pub fn watch(&self, sets: &[SetId]) {
        for set in sets {
            self.shared.link(*set);
        }
    }

    /// What a transaction is in one set. With `refuse`, a set that knows nothing of it refuses it for good first. Waits as long as the
    /// set has no leader.
    pub async fn inquire(&self, set: SetId, txn: TxnId, refuse: bool) -> Result<TxnStatus, TxnError> {
        background::inquire(&self.shared, &self.shared.link(set), txn, refuse).await
    }

    /// Every transaction of this gateway below this id is finished.
    pub fn watermark(&self) -> TxnId {
        self.shared.ids.watermark()
    }

    /// Transactions that have begun to write or lock and are not finished, those included whose outcome is still being told.
    pub fn unfinished(&self) -> usize {
        self.shared.ids.open()
    }

    /// How often something happened that the protocol excludes. Anything but zero is a bug.
    pub fn violations(&self) -> u64 {
        self.shared.violations()
    }

    /// Waits until all outcomes have been told, at most `limit`, and ends the background tasks. To be called when all sessions have
    /// ended; outcomes left untold are found out by the participants themselves.
    pub async fn shutdown(&self, limit: Duration) {
        let _ = tokio::time::timeout(limit, self.shared.ids.idle()).await;
        self.shared.stop();
    }
}

impl Coordinator {
    /// Ends as a process does that is killed.
    #[cfg(test)]
    pub(crate) fn crash(&self) {
        self.shared.stop();
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl fmt::Debug for Coordinator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coordinator").field("gateway", &self.shared.ids.gateway()).finish_non_exhaustive()
    }
}
