//! How a transaction fails, by what the caller does next.
//!
//! There is no SQLSTATE here; each variant says to which one the node maps it. Three rules hold everywhere: `Retry` is
//! given only when the transaction certainly did not and will not commit; `Unknown` whenever that is not certain; and
//! nothing that depends on data (`Duplicate`) is reported on the word of a leader that has not proved that it leads.

use bytes::Bytes;

use crate::protocol::{Refusal, SetId, TxnId};

/// What a transaction lost over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryCause {
    /// Something it read has changed, or is about to.
    Conflict,
    /// Its snapshot is older than what is kept.
    SnapshotTooOld,
    /// A lock was not obtained in the time its age allows.
    Lock,
    /// The leader changed, or a participant lost patience and had it aborted.
    LeaderChanged,
    /// Writes were lost on their way to be staged at a replica set, or may have been.
    Doomed,
}

/// How an operation of a transaction failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TxnError {
    /// 40001: not committed, and it may be repeated at once.
    #[error("transaction must be repeated ({cause:?})")]
    Retry {
        /// What it lost over.
        cause: RetryCause,
        /// The key it lost over, if known.
        key: Option<Bytes>,
        /// The other transaction, if known.
        with: Option<TxnId>,
    },
    /// 23505: an inserted key exists; proved at an instant at which everything else that was read held too.
    #[error("key exists")]
    Duplicate {
        /// The key.
        key: Bytes,
    },
    /// 58000: a replica set that is needed had no leader for `replica_set_timeout`. Nothing was committed.
    #[error("replica set {set} is unavailable")]
    Unavailable {
        /// The set.
        set: SetId,
    },
    /// 40003: the transaction may or may not have been committed and nobody reachable can tell.
    #[error("outcome of transaction {txn:?} is unknown")]
    Unknown {
        /// The transaction, for `txid_status`.
        txn: TxnId,
    },
    /// 54000 or 53200: a bound was reached; the text names it.
    #[error("{0}")]
    Limit(String),
    /// 57P01: the gateway is shutting down.
    #[error("gateway is shutting down")]
    Cancelled,
    /// XX000: an answer that the protocol does not allow. Always a bug.
    #[error("protocol error: {0}")]
    Fatal(String),
}

impl TxnError {
    /// A conflict without particulars.
    pub(crate) fn conflict() -> Self {
        TxnError::Retry { cause: RetryCause::Conflict, key: None, with: None }
    }

    pub(crate) fn retry(cause: RetryCause) -> Self {
        TxnError::Retry { cause, key: None, with: None }
    }

    /// A refusal, as seen by the transaction `txn` which it ends.
    pub(crate) fn refused(refusal: Refusal, txn: Option<TxnId>) -> Self {
        match refusal {
            Refusal::Conflict { key, with } => TxnError::Retry { cause: RetryCause::Conflict, key, with },
            Refusal::Duplicate { key } => TxnError::Duplicate { key },
            Refusal::SnapshotTooOld => TxnError::retry(RetryCause::SnapshotTooOld),
            Refusal::WrongTerm | Refusal::Aborted | Refusal::Thawed => TxnError::retry(RetryCause::LeaderChanged),
            Refusal::Forgotten => match txn {
                Some(txn) => TxnError::Unknown { txn },
                None => TxnError::Fatal("a read was answered 'forgotten'".into()),
            },
            Refusal::LockTimeout { key, holder } => {
                TxnError::Retry { cause: RetryCause::Lock, key: Some(key), with: holder }
            }
            Refusal::Limit(text) => TxnError::Limit(text),
        }
    }
}
