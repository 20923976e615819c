//! What travels between gateways and the leaders of replica sets.
//!
//! Keys and values are opaque here: `sql` encodes them. Every message that changes something names its transaction, so
//! that a duplicate is recognised; messages that commit are addressed to one term of one replica set and are executed
//! at most once in it. The encoding on the wire is postcard of [`Request`] and [`Response`]; the handshake between
//! instances checks that both speak the same version.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;

/// Number of a replica set of one database, from 1.
pub type SetId = u32;

/// A Raft term of a replica set.
pub type Term = u64;

/// Position of an entry in a replica set's log.
pub type LogIndex = u64;

/// Bits of a transaction id that count within one incarnation of a gateway.
pub const TXN_COUNTER_BITS: u32 = 35;

/// Bits of a gateway id that count the starts of one instance.
pub const INCARNATION_BITS: u32 = 18;

/// Identifies a transaction in the whole grid, for ever: 63 bits, so that it is a positive SQL bigint.
///
/// From the most significant bit: instance number (10 bits), the instance's incarnation (18 bits, made durable before its
/// first use, one more at each start), counter (35 bits).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TxnId(pub u64);

impl TxnId {
    /// The id that a gateway gives to its transaction number `counter`.
    pub fn new(gateway: GatewayId, counter: u64) -> Self {
        assert!(counter < 1 << TXN_COUNTER_BITS, "a gateway has {TXN_COUNTER_BITS} bits of transactions");
        TxnId(u64::from(gateway.0) << TXN_COUNTER_BITS | counter)
    }

    /// The gateway process that coordinates this transaction.
    pub fn gateway(self) -> GatewayId {
        GatewayId((self.0 >> TXN_COUNTER_BITS) as u32)
    }

    /// The transaction's number within its gateway process.
    pub fn counter(self) -> u64 {
        self.0 & ((1 << TXN_COUNTER_BITS) - 1)
    }
}

/// One gateway process: an instance number and its incarnation, the upper 28 bits of its transaction ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GatewayId(pub u32);

impl GatewayId {
    /// The process that is the `incarnation`th start of an instance.
    pub fn new(instance: u32, incarnation: u32) -> Self {
        assert!(instance < 1 << 10, "instance numbers have 10 bits");
        assert!(incarnation < 1 << INCARNATION_BITS, "incarnations have {INCARNATION_BITS} bits");
        GatewayId(instance << INCARNATION_BITS | incarnation)
    }

    /// The instance's number.
    pub fn instance(self) -> u32 {
        self.0 >> INCARNATION_BITS
    }

    /// Which start of the instance this is.
    pub fn incarnation(self) -> u32 {
        self.0 & ((1 << INCARNATION_BITS) - 1)
    }
}

/// Keys that were read: one key, or all keys of `[start, end)`. Absent keys count as read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Span {
    /// First key.
    pub start: Bytes,
    /// First key after the span; `None` for the single key `start`.
    pub end: Option<Bytes>,
}

impl Span {
    /// The span of one key.
    pub fn key(key: Bytes) -> Self {
        Span { start: key, end: None }
    }

    /// The span of all keys of `[start, end)`.
    pub fn range(start: Bytes, end: Bytes) -> Self {
        Span { start, end: Some(end) }
    }

    /// Whether the span holds this key.
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            None => self.start == key,
            Some(end) => self.start.as_ref() <= key && key < end.as_ref(),
        }
    }

    /// Whether some key lies in both spans.
    pub fn overlaps(&self, other: &Span) -> bool {
        match (&self.end, &other.end) {
            (None, _) => other.contains(&self.start),
            (_, None) => self.contains(&other.start),
            (Some(end), Some(other_end)) => {
                self.start < *other_end && other.start < *end && self.start < *end && other.start < *other_end
            }
        }
    }
}

/// One buffered write. The writes of one message name each key at most once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// Row key.
    pub key: Bytes,
    /// New value; `None` deletes.
    pub value: Option<Bytes>,
    /// The key must be absent when the write is validated; else the transaction is refused with [`Refusal::Duplicate`].
    pub insert: bool,
}

/// A message to the leader of a replica set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Who sends it.
    pub sender: Sender,
    /// The sender's clock, merged by the receiver.
    pub clock: Timestamp,
    /// What is asked for.
    pub operation: Operation,
}

/// Who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sender {
    /// A gateway process.
    Gateway(GatewayStatus),
    /// The leader of another replica set, which resolves a transaction in doubt or forgets old outcomes.
    Set(SetId),
}

/// What every message of a gateway says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// The gateway process. A higher incarnation of the same instance proves that all lower ones have ended.
    pub gateway: GatewayId,
    /// The low watermark: every transaction of this process with a lower id is finished, its outcome applied by all its
    /// participants, and nobody at the gateway will send or ask anything about it any more.
    pub finished_below: TxnId,
    /// The lowest snapshot that is still read or will be validated; garbage collection stays below it.
    pub oldest_snapshot: Option<Timestamp>,
}

/// How long a request may wait for locks and intents, and what its transaction is to the others who wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patience {
    /// The waiting transaction, if it has an id yet. Its own locks and writes do not stand in its way.
    pub txn: Option<TxnId>,
    /// Its age: the lower the older, kept when it is repeated. Only compared, so its source may be any.
    pub age: u64,
    /// It holds locks somewhere, so it may be part of a deadlock: being younger than the holder, it gives up after
    /// `deadlock_timeout` with [`Refusal::LockTimeout`].
    pub holds_locks: bool,
    /// The most it waits, in milliseconds.
    pub limit_ms: u32,
}

/// What a leader is asked to do. Operations marked *any time* may be repeated freely; the others are recognised by their
/// transaction (and batch) and executed at most once in a term.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// The gateway lives. Sent at least every 150 ms to each set where it holds locks, every second to all others.
    /// Any time; answered by [`Reply::Done`].
    Heartbeat,
    /// Asks for a snapshot that any replica can read at, once it has applied the index in the answer. Any time; answered by
    /// [`Reply::Snapshot`].
    Snapshot {
        /// `None`: a new snapshot, which shows everything acknowledged before the request. `Some`: a snapshot given out by
        /// another set, or one moved up past an uncertain version; this leader makes it safe here.
        at: Option<Timestamp>,
        /// Prove leadership. Without, every set of the transaction must be validated with proof before it ends (rule 11).
        proof: bool,
    },
    /// Reads at the leader. Any time; answered by [`Reply::Read`] or [`Reply::Uncertain`].
    Read {
        /// As in [`Operation::Snapshot`].
        at: Option<Timestamp>,
        /// As in [`Operation::Snapshot`].
        proof: bool,
        /// How long to wait for intents at or below the snapshot.
        patience: Patience,
        /// What to read.
        reads: Vec<ReadOp>,
    },
    /// Reads at a cut, at any element that has applied what its leader named. Any time; answered by [`Reply::Read`].
    ReadCut {
        /// The cut's timestamp.
        at: Timestamp,
        /// What came with [`Operation::Cut`] from this set.
        index: LogIndex,
        /// How long to wait for intents at or below the cut.
        patience: Patience,
        /// What to read.
        reads: Vec<ReadOp>,
    },
    /// The first half of a cut through all sets (rule 17): from now on no commit and no prepare gets a timestamp here, until
    /// [`Operation::Cut`] comes or too much time has passed. Any time; answered by [`Reply::Frozen`] once all that has one is applied.
    Freeze {
        /// It is the first set of a cut, frozen before the others: here cuts take turns, and leave writers time in between.
        first: bool,
    },
    /// The second half, sent when all sets are frozen: what gets a timestamp from now on lies above the cut. Answered by
    /// [`Reply::Snapshot`] with proof that this element has led since it froze; refused with [`Refusal::Thawed`] if it was not frozen all
    /// the time.
    Cut {
        /// The term in which it was frozen.
        term: Term,
        /// The number of the freeze.
        freeze: u64,
        /// The highest timestamp that the sets answered with. `None`: there will be no cut, only thaw; answered by [`Reply::Done`].
        at: Option<Timestamp>,
    },
    /// Locks keys exclusively and reads their newest values. Keys already locked by the transaction are just read. The locks
    /// end with the transaction: a refusal or timeout here leaves those obtained before. Any time; answered by [`Reply::Locked`].
    Lock {
        /// The transaction (its id is needed) and its patience.
        patience: Patience,
        /// The keys; locked in key order, answered in the order given.
        keys: Vec<Bytes>,
    },
    /// Locks spans against writers, for a transaction whose validation has failed too often. A commit that writes into them
    /// is refused. Any time; answered by [`Reply::Done`].
    LockShared {
        /// The transaction (its id is needed) and its patience.
        patience: Patience,
        /// The spans.
        spans: Vec<Span>,
    },
    /// Drops the locks of a transaction that ends without commit, and its staged writes. Any time; answered by [`Reply::Done`].
    Unlock {
        /// The transaction.
        txn: TxnId,
    },
    /// Validates and commits a transaction whose only participant is this set, as one entry. Answered by
    /// [`Reply::Committed`].
    Commit {
        /// The only term that may execute this.
        term: Term,
        /// The transaction.
        txn: TxnId,
        /// The snapshot at which `reads` hold; of no meaning without reads.
        snapshot: Timestamp,
        /// Everything read in this set.
        reads: Vec<Span>,
        /// Everything written in this set.
        writes: Vec<Write>,
    },
    /// Validates and prepares this set's part of a transaction. Once all participants are prepared the transaction is
    /// committed at the highest prepare timestamp. Answered by [`Reply::Prepared`] after it is applied here. A transaction with
    /// staged writes always ends this way, also when this set is its only participant.
    Prepare {
        /// The only term that may execute this.
        term: Term,
        /// The transaction.
        txn: TxnId,
        /// The snapshot at which `reads` hold; of no meaning without reads.
        snapshot: Timestamp,
        /// Everything read in this set.
        reads: Vec<Span>,
        /// Everything written in this set that was not staged.
        writes: Vec<Write>,
        /// How many batches were staged here before; all must be there.
        staged: u32,
        /// All sets that take part, this one included.
        participants: Vec<SetId>,
    },
    /// Stages a batch of a large transaction's writes (at most [`STAGED_BATCH_BYTES_MAX`]); a batch is sent when the one before
    /// it is acknowledged. Its keys are locked from now on. A refusal is final for the transaction. Answered by [`Reply::Done`].
    Stage {
        /// The only term that may execute this.
        term: Term,
        /// The transaction.
        txn: TxnId,
        /// Number of the batch in this set, from 0 without gaps.
        batch: u32,
        /// The writes; they replace staged writes of the same keys.
        writes: Vec<Write>,
    },
    /// Tells the outcome. Answered by [`Reply::Resolved`] when it is applied. Any time, until it succeeds.
    Resolve {
        /// The transaction.
        txn: TxnId,
        /// Its outcome.
        outcome: Outcome,
    },
    /// Asks what became of a transaction. Any time; answered by [`Reply::Status`].
    Inquire {
        /// The transaction.
        txn: TxnId,
        /// If nothing is known of it, replicate a refusal first, so that the answer is final.
        refuse: bool,
    },
    /// Whether nothing in the spans has changed since the snapshot, and nothing is about to. Any time; answered by
    /// [`Reply::Valid`] or refused with [`Refusal::Conflict`].
    Validate {
        /// The asking transaction, if it has an id; its own writes and locks do not count.
        txn: Option<TxnId>,
        /// The snapshot at which the spans were read.
        snapshot: Timestamp,
        /// The spans read in this set.
        spans: Vec<Span>,
        /// Move the snapshot: when valid, the spans are unchanged up to this timestamp too, and stay so at it for ever.
        raise_to: Option<Timestamp>,
        /// Prove leadership after the validation began (needed at the end of a transaction that writes nothing here).
        proof: bool,
    },
    /// Marks a position in the log at which every replica hashes its rows. Answered by [`Reply::Checkpoint`].
    Checkpoint {
        /// Names the hash at each replica.
        nonce: u64,
    },
}

/// The most bytes of keys and values in one staged batch.
pub const STAGED_BATCH_BYTES_MAX: usize = 1 << 20;

/// The most bytes of keys and values in one commit or prepare; larger transactions stage their writes.
pub const COMMIT_BYTES_MAX: usize = 8 << 20;

/// One read of a [`Operation::Read`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadOp {
    /// One key.
    Get {
        /// The key.
        key: Bytes,
    },
    /// The rows of `[start, end)`, in key order, or descending.
    Scan {
        /// First key.
        start: Bytes,
        /// First key after the range.
        end: Bytes,
        /// Descending order.
        reverse: bool,
        /// The most rows of the page; at least 1.
        rows_max: u32,
        /// Ends the page once so many bytes are in it.
        bytes_max: u32,
        /// Run over the rows instead of sending them ([`Programs`](crate::traits::Programs)); answered by [`ReadResult::Output`]. The bounds are
        /// then about the rows that it is run over.
        program: Option<Bytes>,
    },
}

/// The answer to one [`ReadOp`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadResult {
    /// To a `Get`: the value, if there is a row.
    Value(Option<Bytes>),
    /// To a `Scan`.
    Page {
        /// Keys and values in the order asked for.
        rows: Vec<(Bytes, Bytes)>,
        /// Where the next page goes on: the next `start` (ascending) or the next `end` (descending). `None`: the range is
        /// complete. The span read is what lies before (after) it.
        resume: Option<Bytes>,
    },
    /// To a `Scan` with a program.
    Output {
        /// What the program gave for the rows of the page; or what it says is wrong with the first of them.
        result: Result<Bytes, Bytes>,
        /// As in a page; behind the row that is wrong.
        resume: Option<Bytes>,
    },
}

/// Rows read at a snapshot by one replica.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReadAnswer {
    /// One result for each read, all at the snapshot.
    Rows(Vec<ReadResult>),
    /// A version is uncertain at the snapshot (rule 3): move the snapshot to this timestamp, with everything read before
    /// validated, have the leader make it safe ([`Operation::Snapshot`]), and read again.
    Uncertain(Timestamp),
}

/// The newest value of a locked key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewestRow {
    /// The value, if there is a row.
    pub value: Option<Bytes>,
    /// When the key was last written (its commit's or outcome's timestamp, the higher one); zero if never, or too long ago to be
    /// known.
    pub changed: Timestamp,
}

/// What a transaction is in one set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TxnStatus {
    /// Its outcome is known here.
    Ended(Outcome),
    /// Prepared at this timestamp, outcome not known here.
    Prepared(Timestamp),
    /// Its outcome was known by all participants and has been forgotten.
    Forgotten,
    /// Nothing is known of it (only when no refusal was asked for).
    Absent,
}

/// A leader's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The answering instance's clock, merged by the receiver.
    pub clock: Timestamp,
    /// The term in which the answering element leads, if it does.
    pub term: Option<Term>,
    /// The answer.
    pub result: Result<Reply, Failure>,
}

/// An answer that is no failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Done.
    Done,
    /// The snapshot is safe: what any replica has applied up to the index is all there is at or below it.
    Snapshot {
        /// The snapshot.
        snapshot: Timestamp,
        /// What a replica must have applied to read at it.
        index: LogIndex,
    },
    /// Rows read.
    Read {
        /// The snapshot read at; with a new snapshot, also where the leader moved it past uncertain versions.
        snapshot: Timestamp,
        /// What a replica must have applied to read at it.
        index: LogIndex,
        /// One result for each read.
        results: Vec<ReadResult>,
    },
    /// Frozen: every commit and prepare with a timestamp is applied, and lies at or below `at`.
    Frozen {
        /// The term in which it is frozen.
        term: Term,
        /// Names the freeze in this term.
        freeze: u64,
        /// The lowest timestamp that a cut may have.
        at: Timestamp,
    },
    /// See [`ReadAnswer::Uncertain`]. Only when the snapshot was given by the asker.
    Uncertain(Timestamp),
    /// All keys are locked.
    Locked {
        /// A safe snapshot at which the rows are the newest, for a transaction that has none yet (unproven).
        snapshot: Timestamp,
        /// What a replica must have applied to read at it.
        index: LogIndex,
        /// The newest rows, in the order of the keys asked for.
        rows: Vec<NewestRow>,
    },
    /// Committed at this timestamp.
    Committed(Timestamp),
    /// Prepared at this timestamp.
    Prepared(Timestamp),
    /// The outcome recorded here: the one told, unless the transaction had ended before.
    Resolved(Outcome),
    /// What the transaction is here.
    Status(TxnStatus),
    /// The spans are unchanged.
    Valid {
        /// What a replica must have applied to read at the snapshot moved to.
        index: LogIndex,
    },
    /// The checkpoint was applied.
    Checkpoint,
}

/// Why there is no [`Reply`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// This element does not lead (or not yet, or not provably). Nothing was executed, by this message.
    NotLeader {
        /// The instance that may lead; filled in by the node.
        hint: Option<u32>,
    },
    /// Refused.
    Refused(Refusal),
    /// The proposal was lost from sight: it may or may not be executed. Inquire.
    Unknown,
    /// An intent that has to be waited for is not resolved: some participant of its transaction does not answer.
    Blocked {
        /// The transaction in doubt.
        by: TxnId,
        /// Its participants other than this set.
        participants: Vec<SetId>,
    },
}

/// Why a leader refused. A refusal of a commit, prepare or stage is final for its transaction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// Something read has changed, or is about to: the transaction must be repeated (40001).
    Conflict {
        /// The key over which the transaction lost, if it is known.
        key: Option<Bytes>,
        /// The other transaction, if it is known.
        with: Option<TxnId>,
    },
    /// An inserted key exists (23505). Leadership was proven after it was found, and what the message read was valid.
    Duplicate {
        /// The key.
        key: Bytes,
    },
    /// The snapshot is below the garbage-collection threshold (40001).
    SnapshotTooOld,
    /// The message was addressed to another term, or is a duplicate whose first copy was refused or lost. Whether a first copy was
    /// executed is not said: inquire before calling it failed.
    WrongTerm,
    /// The transaction was already refused here while it was in doubt, or its gateway process has ended (40001).
    Aborted,
    /// Its outcome was forgotten, or it lies below the gateway's watermark (40003).
    Forgotten,
    /// A lock was not obtained, or an intent not resolved, within the time its age allows (40001).
    LockTimeout {
        /// The key waited for.
        key: Bytes,
        /// The holder.
        holder: Option<TxnId>,
    },
    /// The set cannot be frozen now, or was not frozen all the time until the cut came.
    Thawed,
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
