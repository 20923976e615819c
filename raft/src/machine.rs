//! The state machine of a group: the trait that elements implement, and its adapter for openraft.
//!
//! Commands and replies are opaque bytes. The machine stores `raft_state`, our opaque mark of how far it has applied and of the membership
//! there, in the same batch as the effects of what it applied, so that a crash leaves both or neither; the log is its write-ahead log.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine, Snapshot};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::{EntryPayload, OptionalSend};
use parking_lot::Mutex;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::EndOnPanic;
use crate::codec::{self, AppliedForm};
use crate::leadership::Leadership;
use crate::snapshot::Outgoing;
use crate::types::{RaftLogId, Replies, StoredMembership, Types};

/// Most bytes of commands handed to the machine in one call.
const APPLY_BYTES_MAX: usize = 4 << 20;

/// A committed entry.
#[derive(Clone, Debug)]
pub struct Committed {
    /// Position in the log.
    pub index: u64,
    /// Term in which it was proposed.
    pub term: u64,
    /// Its commands; empty for entries of the protocol itself.
    pub commands: Vec<Bytes>,
}

/// A machine that can no longer be trusted. The process ends.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct MachineFailed(pub String);

/// A replicated, deterministic state machine with its own durable store.
pub trait StateMachine: Send + Sync + 'static {
    /// The `raft_state` of the last batch that the store holds; `None` for an empty store.
    fn raft_state(&self) -> Result<Option<Bytes>, MachineFailed>;
    /// Applies committed entries in order and stores `raft_state` in the same batch. Same entries, same replies, on every element:
    /// no clock, no randomness. One reply a command, one list an entry.
    fn apply(&self, entries: &[Committed], raft_state: Bytes) -> Result<Vec<Vec<Bytes>>, MachineFailed>;
    /// Makes everything applied durable and returns the `raft_state` that is durable now.
    fn flush(&self) -> Result<Option<Bytes>, MachineFailed>;
    /// Writes a copy of the store into `directory`, which does not exist yet, and returns the copy's `raft_state`.
    fn checkpoint(&self, directory: &Path) -> Result<Bytes, MachineFailed>;
    /// Replaces the store by the copy in `directory`, durably; the directory may be consumed.
    fn install(&self, directory: &Path) -> Result<(), MachineFailed>;
    /// This element leads in `term` and has applied every entry of earlier terms; nothing of this term was applied yet.
    fn became_leader(&self, term: u64);
    /// This element does not lead any more, or may not.
    fn lost_leadership(&self);
}

/// What openraft passes around as a snapshot: ours is made only when somebody needs it.
#[derive(Clone)]
pub enum SnapshotData {
    /// The local store as it is.
    Local,
    /// A copy received from the leader.
    Received(PathBuf),
}

/// How far a machine is durable: its last log id and the membership there.
pub(crate) type Durable = Arc<Mutex<Option<(Option<RaftLogId>, StoredMembership)>>>;

/// The adapter.
#[derive(Clone)]
pub(crate) struct Adapter {
    machine: Arc<dyn StateMachine>,
    leadership: Arc<Leadership>,
    outgoing: Arc<Outgoing>,
    applied: Option<RaftLogId>,
    membership: StoredMembership,
    pub durable: Durable,
    /// Lets the element's end wait until nothing is applied any more.
    _token: TaskTrackerToken,
}

impl Adapter {
    pub(crate) fn open(
        machine: Arc<dyn StateMachine>,
        leadership: Arc<Leadership>,
        outgoing: Arc<Outgoing>,
        token: TaskTrackerToken,
    ) -> Result<Self, io::Error> {
        let (applied, membership) = decode(machine.raft_state().map_err(failed)?)?;
        Ok(Self { machine, leadership, outgoing, applied, membership, durable: Durable::default(), _token: token })
    }

    fn apply_some(&mut self, some: &mut Vec<EntryResponder<Types>>) -> Result<(), io::Error> {
        let _watch = EndOnPanic("a state machine panicked");
        let mut entries = Vec::with_capacity(some.len());
        let mut responders = Vec::with_capacity(some.len());
        for (entry, responder) in some.drain(..) {
            let term = entry.log_id.committed_leader_id().term;
            let index = entry.log_id.index;
            let commands = match entry.payload {
                EntryPayload::Normal(batch) => batch.commands,
                EntryPayload::Blank => Vec::new(),
                EntryPayload::Membership(membership) => {
                    self.membership = StoredMembership::new(Some(entry.log_id), membership);
                    Vec::new()
                }
            };
            self.applied = Some(entry.log_id);
            entries.push(Committed { index, term, commands });
            responders.push(responder);
        }
        let state = codec::to_bytes(&AppliedForm::new(self.applied.as_ref(), &self.membership));
        let replies = self.machine.apply(&entries, state).map_err(failed)?;
        assert_eq!(replies.len(), entries.len(), "the machine answers every entry");
        if let Some(last) = entries.last() {
            self.leadership.applied(last.index, last.term, self.machine.as_ref());
        }
        for (responder, replies) in responders.into_iter().zip(replies) {
            if let Some(responder) = responder {
                responder.send(Replies(replies));
            }
        }
        Ok(())
    }
}

/// Makes the machine durable; blocks for as long as that takes.
pub(crate) fn flush(machine: &dyn StateMachine) -> Result<(Option<RaftLogId>, StoredMembership), io::Error> {
    decode(machine.flush().map_err(failed)?)
}

fn local(state: (Option<RaftLogId>, StoredMembership)) -> SnapshotOf<Types, SnapshotData> {
    let (last_log_id, last_membership) = state;
    Snapshot { meta: SnapshotMetaOf::<Types> { last_log_id, last_membership }, snapshot: SnapshotData::Local }
}

impl RaftSnapshotBuilder<Types> for Adapter {
    type SnapshotData = SnapshotData;

    /// Reports what is durable, so that openraft may purge the log up to there; whoever triggers it has flushed.
    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, SnapshotData>, io::Error> {
        let durable = self.durable.lock().clone();
        let durable = match durable {
            Some(durable) => durable,
            None => {
                let machine = self.machine.clone();
                tokio::task::spawn_blocking(move || flush(machine.as_ref())).await??
            }
        };
        Ok(local(durable))
    }
}

impl RaftStateMachine<Types> for Adapter {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<RaftLogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        let mut some = Vec::new();
        let mut bytes = 0;
        while let Some(item) = entries.next().await {
            let item = item?;
            // The first entry of a term tells its leader that everything older is applied, so it must not share a call with what follows.
            let first_of_term = !matches!(item.0.payload, EntryPayload::Normal(_));
            bytes += codec::entry_size(&item.0);
            some.push(item);
            if first_of_term || bytes >= APPLY_BYTES_MAX {
                self.apply_some(&mut some)?;
                bytes = 0;
            }
        }
        if !some.is_empty() {
            self.apply_some(&mut some)?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self::SnapshotBuilder {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMetaOf<Types>,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let SnapshotData::Received(directory) = snapshot else {
            // Only openraft's restart path hands our own store back to us, and the store is already where it was.
            return Ok(());
        };
        let machine = self.machine.clone();
        tokio::task::spawn_blocking(move || machine.install(&directory)).await?.map_err(failed)?;
        let (applied, membership) = decode(self.machine.raft_state().map_err(failed)?)?;
        if applied < meta.last_log_id {
            return Err(io::Error::other("the copy is older than its leader said"));
        }
        self.applied = applied;
        self.membership = membership;
        if let Some(last) = &self.applied {
            self.leadership.applied(last.index, 0, self.machine.as_ref());
        }
        Ok(())
    }

    /// The least that a copy sent from here will hold; nothing needs to be flushed before one is made.
    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<Types, SnapshotData>>, io::Error> {
        if self.applied.is_none() {
            return Ok(None);
        }
        let applied = (self.applied, self.membership.clone());
        Ok(Some(local(self.outgoing.least().filter(|(last, _)| *last < applied.0).unwrap_or(applied))))
    }
}

pub(crate) fn decode(state: Option<Bytes>) -> Result<(Option<RaftLogId>, StoredMembership), io::Error> {
    match state {
        Some(bytes) => codec::from_bytes::<AppliedForm>(&bytes, "applied state")?.into_parts(),
        None => Ok((None, StoredMembership::default())),
    }
}

fn failed(error: MachineFailed) -> io::Error {
    tracing::error!(%error, "a state machine failed");
    io::Error::other(error.0)
}
