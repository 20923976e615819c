//! Replica sets as Raft groups: what of Raft is ours around openraft's core.
//!
//! One [`RaftHost`] an instance holds the shared [`log`], the [`peers`] and a [`Group`] for each element. Elements are [`StateMachine`]s over
//! opaque commands; this crate knows nothing of SQL or transactions.
//!
//! It relies on nobody's clock: reads are proved by asking a quorum ([`Group::prove`]), timeouts only decide when to try something.
//! What can no longer be trusted ends the process ([`fatal`]); its supervisor starts it again.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;

mod codec;
mod group;
mod host;
mod leadership;
pub mod log;
mod machine;
mod network;
pub mod peers;
mod proof;
mod snapshot;
#[cfg(test)]
mod suite;
pub mod types;

pub use group::{COMMAND_BYTES_MAX, Group, GroupOptions, Lost, QUORUM_WAIT};
pub use host::{RaftHost, RaftTimes};
pub use machine::{Committed, MachineFailed, StateMachine};
pub use network::FIRST_FREE_SERVICE;
pub use snapshot::Copies;
pub use types::{ElementId, GroupId, InstanceId, Member};

/// Ends the process because a replica can no longer be trusted: its disk failed, or an invariant of consensus is broken. Whatever
/// was acknowledged is on the disks of a quorum; going on could lose it.
pub fn fatal(why: &str) -> ! {
    tracing::error!(why, "this instance can no longer be trusted and ends");
    eprintln!("quorate: fatal: {why}");
    std::process::abort();
}

/// Work that must not stop half way while the rest of the process goes on: a panic in it ends the process.
pub fn vital<T>(what: &'static str, work: impl Future<Output = T>) -> impl Future<Output = T> {
    let work = AssertUnwindSafe(work).catch_unwind();
    async move { work.await.unwrap_or_else(|_| fatal(what)) }
}

/// Ends the process if the thread that holds it panics: what it does must not stop half way while the rest goes on.
pub(crate) struct EndOnPanic(pub &'static str);

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            fatal(self.0);
        }
    }
}
