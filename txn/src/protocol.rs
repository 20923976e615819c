//! What travels between gateways and the leaders of replica sets, and what enters a replica set's log.
//!
//! Keys and values are opaque here: `sql` encodes them. Every message that changes something names its transaction, so
//! that a duplicate is recognised; messages that commit are addressed to one term of one replica set and are executed
//! at most once in it.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Number of a replica set of one database, from 1.
pub type SetId = u32;

/// A Raft term of a replica set.
pub type Term = u64;

/// Position of an entry in a replica set's log.
pub type LogIndex = u64;

/// Identifies a transaction in the whole grid, for ever: 63 bits, so that it is a positive SQL bigint.
///
/// From the most significant bit: instance number (10 bits), the instance's incarnation (18 bits, made durable before its
/// first use, one more at each start), counter (35 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TxnId(pub u64);

/// One gateway process: an instance number and its incarnation, the upper 28 bits of its transaction ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GatewayId(pub u32);

/// Keys that were read: one key, or all keys of `[start, end)`. Absent keys count as read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First key.
    pub start: Bytes,
    /// First key after the span; `None` for the single key `start`.
    pub end: Option<Bytes>,
}

/// One buffered write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Row key.
    pub key: Bytes,
    /// New value; `None` deletes.
    pub value: Option<Bytes>,
    /// The key must be absent when the write is validated; else the transaction is refused with [`Refusal::Duplicate`].
    pub insert: bool,
}

/// Why a leader refused. A refusal is final for its transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Something read has changed, or is about to: the transaction must be repeated (40001).
    Conflict {
        /// The key over which the transaction lost, if it is known.
        key: Option<Bytes>,
        /// The other transaction, if it is known.
        with: Option<TxnId>,
    },
    /// An inserted key exists (23505).
    Duplicate {
        /// The key.
        key: Bytes,
    },
    /// The snapshot is below the garbage-collection threshold (40001).
    SnapshotTooOld,
    /// The message was addressed to another term, or is a duplicate whose first copy was refused or lost (40001 or unknown).
    WrongTerm,
    /// The transaction was already refused here while it was in doubt (40001).
    Aborted,
    /// Its outcome was forgotten, or it lies below the gateway's watermark (40003).
    Forgotten,
    /// A lock was not obtained within the time its age allows (40001).
    LockTimeout {
        /// The key waited for.
        key: Bytes,
        /// The holder.
        holder: Option<TxnId>,
    },
    /// A bound of the leader was reached (53200, 54000).
    Limit(String),
}

/// The outcome of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Committed at this timestamp.
    Committed(Timestamp),
    /// Aborted.
    Aborted,
}
