//! One element of a group: proposals, leadership, membership.
//!
//! Life of a proposal: [`Group::propose`] queues the command; the batcher takes what waits, makes one entry of it and hands it to openraft with the term
//! it was validated in; the log is written here and at the followers; once a quorum has it, it is committed, applied, and the machine's
//! reply comes back. A proposal that does not come back is [`Lost`]: it may have been committed, or may still be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::impls::ProgressResponder;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::ClientWriteResult;
use openraft::vote::RaftLeaderIdExt;
use openraft::{ChangeMembers, Raft};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::host::RaftHost;
use crate::leadership::Leadership;
use crate::log::GroupLog;
use crate::machine::{Adapter, StateMachine};
use crate::network::Network;
use crate::proof::Voters;
use crate::snapshot::{Incoming, Outgoing};
use crate::types::{Batch, ElementId, GroupId, InstanceId, LeaderId, Member, Types};

pub(crate) type RaftHandle = Raft<Types, Adapter>;

/// Most commands and bytes in one entry.
const BATCH_COMMANDS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;

/// Entries proposed and not yet applied; what comes meanwhile waits and shares the next one.
const ENTRIES_UNDER_WAY: usize = 3;

/// Why a proposal has no reply: its outcome is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the outcome of the proposal is unknown")]
pub struct Lost;

/// What a group is started with.
pub struct GroupOptions {
    /// The group.
    pub id: GroupId,
    /// This element's number.
    pub element: ElementId,
    /// Directory for copies under way, on the same file system as the machine's store.
    pub scratch: PathBuf,
    /// The machine.
    pub machine: Arc<dyn StateMachine>,
}

/// One running element. Clones share it.
#[derive(Clone)]
pub struct Group {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    id: GroupId,
    element: ElementId,
    pub(crate) raft: RaftHandle,
    pub(crate) machine: Arc<dyn StateMachine>,
    leadership: Arc<Leadership>,
    log: GroupLog,
    host: RaftHost,
    pub(crate) incoming: Incoming,
    proposals: mpsc::UnboundedSender<Proposal>,
    voters: Mutex<Arc<Voters>>,
    leader: watch::Sender<Option<ElementId>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct Proposal {
    term: u64,
    command: Bytes,
    reply: oneshot::Sender<Bytes>,
}

impl Group {
    pub(crate) async fn start(host: &RaftHost, options: GroupOptions) -> Result<Self, std::io::Error> {
        let GroupOptions { id, element, scratch, machine } = options;
        drop(std::fs::remove_dir_all(&scratch));
        let log = host.log().group(id)?;
        let applied = crate::machine::decode(machine.raft_state().map_err(|e| std::io::Error::other(e.0))?)?.0;
        let leadership = Arc::new(Leadership::new(id, element, host.log().clone(), applied.map_or(0, |id| id.index)));
        let adapter = Adapter::open(machine.clone(), leadership.clone())?;
        let network = Network {
            peers: host.peers().clone(),
            group: id,
            machine: machine.clone(),
            outgoing: Arc::new(Outgoing::default()),
            scratch: scratch.join("outgoing"),
        };
        let raft = Raft::new(element, host.raft_config(), network, log.clone(), adapter)
            .await
            .map_err(|e| std::io::Error::other(format!("start Raft of {id}: {e}")))?;
        let (proposals, queue) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            id,
            element,
            raft,
            machine,
            leadership,
            log,
            host: host.clone(),
            incoming: Incoming::new(scratch.join("incoming")),
            proposals,
            voters: Mutex::new(Arc::new(Voters { configs: Vec::new(), instances: Default::default() })),
            leader: watch::channel(None).0,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        });
        inner.tasks.spawn(batch(inner.raft.clone(), queue, inner.stop.clone()));
        inner.tasks.spawn(follow(inner.clone()));
        Ok(Self { inner })
    }

    /// The group.
    pub fn id(&self) -> GroupId {
        self.inner.id
    }

    /// This element.
    pub fn element(&self) -> ElementId {
        self.inner.element
    }

    /// Makes the first membership; done once for a group, by one of its members. Fine if it was done before.
    pub async fn initialize(&self, members: BTreeMap<ElementId, Member>) -> Result<(), std::io::Error> {
        use openraft::errors::{InitializeError, RaftError};
        match self.inner.raft.initialize(members).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(std::io::Error::other(format!("initialise {}: {error}", self.inner.id))),
        }
    }

    /// Proposes a command validated in `term`. The order of calls is the order in the log. An error means that the outcome is unknown.
    pub fn propose(&self, term: u64, command: Bytes) -> impl Future<Output = Result<Bytes, Lost>> + Send + use<> {
        let (reply, replied) = oneshot::channel();
        let sent = self.inner.proposals.send(Proposal { term, command, reply });
        async move {
            sent.map_err(|_| Lost)?;
            replied.await.map_err(|_| Lost)
        }
    }

    /// The term in which this element leads, once it has applied its own first entry of it.
    pub fn term(&self) -> Option<u64> {
        self.inner.leadership.term()
    }

    /// The newest term this element knows, and the element it believes to lead.
    pub fn leader_hint(&self) -> Option<(ElementId, InstanceId)> {
        let leader = (*self.inner.leader.borrow())?;
        let instance = self.inner.voters.lock().instances.get(&leader).copied()?;
        Some((leader, instance))
    }

    /// Changes of the leader as this element sees them.
    pub fn watch_leader(&self) -> watch::Receiver<Option<ElementId>> {
        self.inner.leader.subscribe()
    }

    /// Whether this element led in `term` at some moment after the call began.
    pub async fn prove(&self, term: u64) -> bool {
        let voters = self.inner.voters.lock().clone();
        if voters.configs.is_empty() || !self.inner.leadership.votes_for_itself(term) {
            return false;
        }
        self.inner.host.prover().prove(self.inner.id, self.inner.element, term, voters).await
    }

    /// Index of the last entry applied here, with changes.
    pub fn watch_applied(&self) -> watch::Receiver<u64> {
        self.inner.leadership.watch_applied()
    }

    /// Index of the last entry in this element's log.
    pub fn last_index(&self) -> u64 {
        self.inner.log.last_index().unwrap_or(0)
    }

    /// The members as this element knows them: voters and learners with their instances.
    pub fn members(&self) -> BTreeMap<ElementId, Member> {
        let metrics = self.inner.raft.metrics().borrow_watched().clone();
        metrics.membership_config.nodes().map(|(id, member)| (*id, member.clone())).collect()
    }

    /// Asks another voter to lead. Nothing happens unless this element leads and the other is up to date.
    pub async fn transfer_leader(&self, to: ElementId) -> Result<(), std::io::Error> {
        self.inner.raft.trigger().transfer_leader(to).await.map_err(|e| std::io::Error::other(e.to_string()))
    }

    /// Replaces a voter by a new element: it joins as a learner, catches up, then takes the other's place. Only on the leader.
    pub async fn replace_member(
        &self,
        remove: ElementId,
        add: ElementId,
        member: Member,
    ) -> Result<(), std::io::Error> {
        let fail = |e: &dyn std::fmt::Display| std::io::Error::other(format!("change members of {}: {e}", self.inner.id));
        self.inner.raft.add_learner(add, member, true).await.map_err(|e| fail(&e))?;
        let change = ChangeMembers::ReplaceAllVoters(
            self.inner
                .raft
                .voter_ids()
                .filter(|id| *id != remove)
                .chain([add])
                .collect::<BTreeSet<_>>(),
        );
        self.inner.raft.change_membership(change, false).await.map_err(|e| fail(&e))?;
        Ok(())
    }

    /// Flushes the machine and lets go of log entries beyond `keep` behind it.
    pub async fn flush_and_purge(&self, keep: u64) -> Result<(), std::io::Error> {
        let fail = |e: &dyn std::fmt::Display| std::io::Error::other(format!("flush {}: {e}", self.inner.id));
        self.inner.raft.trigger().snapshot().await.map_err(|e| fail(&e))?;
        let snapshot = self.inner.raft.metrics().borrow_watched().snapshot.clone();
        if let Some(upto) = snapshot.and_then(|id| id.index.checked_sub(keep)) {
            self.inner.raft.trigger().purge_log(upto).await.map_err(|e| fail(&e))?;
        }
        Ok(())
    }

    /// Stops the element: no more proposals, votes or applies. The machine stays open for its owner to close.
    pub async fn shut_down(&self) {
        self.inner.stop.cancel();
        self.inner.host.forget(self.inner.id);
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(group = %self.inner.id, %error, "Raft did not end cleanly");
        }
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
        self.inner.machine.lost_leadership();
    }
}

/// Makes entries of what waits.
async fn batch(raft: RaftHandle, mut queue: mpsc::UnboundedReceiver<Proposal>, stop: CancellationToken) {
    let mut under_way = FuturesUnordered::new();
    let mut waiting: Vec<Proposal> = Vec::new();
    loop {
        while under_way.len() < ENTRIES_UNDER_WAY && !waiting.is_empty() {
            let term = waiting[0].term;
            let mut bytes = 0;
            let count = waiting
                .iter()
                .take(BATCH_COMMANDS)
                .take_while(|p| {
                    let fits = p.term == term && bytes < BATCH_BYTES;
                    bytes += p.command.len();
                    fits
                })
                .count();
            let (commands, replies): (Vec<_>, Vec<_>) =
                waiting.drain(..count).map(|p| (p.command, p.reply)).unzip();
            let (responder, completed) = ProgressResponder::complete_only();
            let leader = LeaderId::new_committed(term, 0);
            match raft.write(Batch { commands }).with_leader(leader).responder(responder).await {
                Ok(()) => under_way.push(async move { deliver(completed.await.ok(), replies) }),
                Err(error) => tracing::warn!(%error, "Raft takes no proposals"),
            }
        }
        tokio::select! {
            taken = queue.recv_many(&mut waiting, BATCH_COMMANDS), if waiting.len() < BATCH_COMMANDS => {
                if taken == 0 {
                    return;
                }
            }
            Some(()) = under_way.next() => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Hands out replies; whoever gets none finds its sender dropped, which means unknown.
fn deliver(result: Option<ClientWriteResult<Types>>, replies: Vec<oneshot::Sender<Bytes>>) {
    if let Some(Ok(response)) = result {
        assert_eq!(response.data.0.len(), replies.len(), "one reply a command");
        for (reply, bytes) in replies.into_iter().zip(response.data.0) {
            drop(reply.send(bytes));
        }
    }
}

/// Keeps what others ask for often up to date with openraft's own view.
async fn follow(inner: Arc<Inner>) {
    let mut metrics = inner.raft.server_metrics();
    loop {
        {
            let now = metrics.borrow_watched().clone();
            let membership = now.membership_config.membership();
            let voters = Voters {
                configs: membership.get_joint_config().clone(),
                instances: membership.nodes().map(|(id, member)| (*id, member.instance)).collect(),
            };
            let mut known = inner.voters.lock();
            if **known != voters {
                *known = Arc::new(voters);
            }
            drop(known);
            inner.leader.send_if_modified(|leader| {
                let changed = *leader != now.current_leader;
                *leader = now.current_leader;
                changed
            });
            inner.leadership.refresh(inner.machine.as_ref());
        }
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() {
                if !inner.stop.is_cancelled() {
                    crate::fatal(&format!("the consensus core of {} ended", inner.id));
                }
                return;
            },
            () = inner.stop.cancelled() => return,
        }
    }
}

/// How long an operation that needs a quorum may take before its caller looks again.
pub const QUORUM_WAIT: Duration = Duration::from_secs(5);
