//! The bounds of a coordinator, named in one place.

use std::time::Duration;

/// Bounds of a coordinator.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long a replica set may be without a reachable leader before operations on it fail (58000), and how long a lost
    /// commit is asked after before its outcome is called unknown (40003).
    pub replica_set_timeout: Duration,
    /// How long one message may take beyond what its receiver was allowed to wait; then its answer counts as lost.
    pub answer_timeout: Duration,
    /// How long a locked key or an unresolved intent is waited for (40001).
    pub lock_timeout: Duration,
    /// How long a read waits for this instance's own element to catch up before it goes to the leader.
    pub follower_lag: Duration,
    /// How long a set may take to freeze for a cut before the others are thawed again.
    pub freeze_patience: Duration,
    /// Between two signs of life to a set where locks are held; leaders drop the locks of a gateway silent for 500 ms.
    pub heartbeat: Duration,
    /// Between two signs of life to every other set; they carry the watermark and the oldest snapshot.
    pub heartbeat_idle: Duration,
    /// Writes that one transaction buffers, in bytes; above it they stream to their sets as staged batches.
    pub transaction_memory: usize,
    /// Bytes of one staged batch, at most [`STAGED_BATCH_BYTES_MAX`](crate::protocol::STAGED_BATCH_BYTES_MAX).
    pub staged_batch: usize,
    /// Outcomes and unlocks that are on their way to one set at a time.
    pub outcomes_in_flight: usize,
    /// Called when work behind the sessions has panicked: outcomes would not be told any more, so the process must end.
    pub on_panic: fn(&str),
    #[doc(hidden)]
    pub breaks: Breaks,
}

/// Rules left out, to prove that tests notice. All false in every real coordinator.
#[doc(hidden)]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Breaks {
    /// Answer from several sets, or without proof, without validation (rules 7 and 11).
    pub validation: bool,
    /// Report an unknown outcome as failed (rule 6).
    pub unknown: bool,
    /// Acknowledge a commit when one participant of several has refused.
    pub early_ack: bool,
    /// Take the snapshot up past uncertain versions without looking at what was read before (rule 3).
    pub raise: bool,
    /// Take the highest of the sets' timestamps for a cut without freezing them (rule 17).
    pub cut: bool,
    /// Call a transaction finished although its outcome is not told everywhere (rule 10).
    pub forget: bool,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            replica_set_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(3),
            lock_timeout: Duration::from_secs(30),
            follower_lag: Duration::from_millis(10),
            freeze_patience: Duration::from_millis(250),
            heartbeat: Duration::from_millis(150),
            heartbeat_idle: Duration::from_secs(1),
            transaction_memory: 64 << 20,
            staged_batch: crate::protocol::STAGED_BATCH_BYTES_MAX,
            outcomes_in_flight: 256,
            on_panic: |what| tracing::error!("{what}"),
            breaks: Breaks::default(),
        }
    }
}
