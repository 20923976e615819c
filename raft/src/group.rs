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
use openraft::async_runtime::WatchReceiver;
use openraft::impls::ProgressResponder;
use openraft::raft::{ClientWriteResult, TransferLeaderRequest};
use openraft::vote::RaftLeaderIdExt;
use openraft::{ChangeMembers, Instant as _, Raft, RaftMetrics};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::host::RaftHost;
use crate::leadership::Leadership;
use crate::log::GroupLog;
use crate::machine::{self, Adapter, Durable, StateMachine};
use crate::network::Network;
use crate::proof::Voters;
use crate::snapshot::{Copies, Incoming, Outgoing};
use crate::types::{Batch, ElementId, GroupId, InstanceId, LeaderId, Member, StoredMembership, Types};

pub(crate) type RaftHandle = Raft<Types, Adapter>;

/// Most commands and bytes in one entry.
const BATCH_COMMANDS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;

/// Largest command in bytes. An entry is up to [`BATCH_BYTES`] and one command long, a request up to as many bytes of the log and one entry: both
/// must fit into a message, or the group would be stuck with an entry that it cannot send.
pub const COMMAND_BYTES_MAX: usize = 48 << 20;
const _: () = assert!(COMMAND_BYTES_MAX + 4 * BATCH_BYTES < crate::peers::MESSAGE_BYTES_MAX);

/// Entries proposed and not yet applied; what comes meanwhile waits and shares the next one.
const ENTRIES_UNDER_WAY: usize = 3;

/// How many entries an element may be behind, and how long ago it may have answered, to be asked to lead.
const UP_TO_DATE: u64 = 64;
const HEARD_LATELY: Duration = Duration::from_secs(1);

/// How long each voter that is left gives the one before it to succeed a leader that has ended: a few times what an election takes.
const SUCCESSION_TURN: Duration = Duration::from_millis(120);

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
    pub(crate) leadership: Arc<Leadership>,
    log: GroupLog,
    host: RaftHost,
    pub(crate) incoming: Incoming,
    outgoing: Arc<Outgoing>,
    durable: Durable,
    /// Held by the one flush that is under way.
    purging: tokio::sync::Mutex<()>,
    proposals: mpsc::UnboundedSender<Proposal>,
    /// The voters of openraft's newest membership, kept to spare making them again.
    voters: Mutex<Option<(Arc<StoredMembership>, Arc<Voters>)>>,
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
        let applied = machine::decode(machine.raft_state().map_err(|e| std::io::Error::other(e.0))?)?.0;
        let applied = applied.map(|id| id.index);
        if log.purged_index() > applied {
            // Nothing can fill the gap from here: the store was lost, or is an older one.
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                format!(
                    "the store of {id} ends at entry {}, but the log begins behind entry {}",
                    applied.map_or("none".into(), |index| index.to_string()),
                    log.purged_index().unwrap_or(0)
                ),
            ));
        }
        let leadership = Arc::new(Leadership::new(element, log.clone(), applied.unwrap_or(0)));
        let tasks = TaskTracker::new();
        let outgoing = Arc::new(Outgoing::default());
        let adapter = Adapter::open(machine.clone(), leadership.clone(), outgoing.clone(), tasks.token())?;
        let durable = adapter.durable.clone();
        let network = Network {
            peers: host.peers().clone(),
            group: id,
            machine: machine.clone(),
            outgoing: outgoing.clone(),
            scratch: scratch.join("outgoing"),
            tasks: tasks.clone(),
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
            outgoing,
            durable,
            purging: tokio::sync::Mutex::default(),
            proposals,
            voters: Mutex::default(),
            leader: watch::channel(None).0,
            stop: CancellationToken::new(),
            tasks,
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

    /// Makes the first membership. Several members may, with the same one: they write the same entry. Returns whether it was written: not if
    /// this element knows entries already, or has voted for one that founded the group before.
    pub async fn initialize(&self, members: BTreeMap<ElementId, Member>) -> Result<bool, std::io::Error> {
        use openraft::errors::{InitializeError, RaftError};
        match self.inner.raft.initialize(members).await {
            Ok(()) => Ok(true),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(false),
            Err(error) => Err(std::io::Error::other(format!("initialise {}: {error}", self.inner.id))),
        }
    }

    /// Proposes a command validated in `term`. The order of calls is the order in the log. An error means that the outcome is unknown
    /// (except that a command longer than [`COMMAND_BYTES_MAX`] is never proposed).
    pub fn propose(&self, term: u64, command: Bytes) -> impl Future<Output = Result<Bytes, Lost>> + Send + use<> {
        let (reply, replied) = oneshot::channel();
        self.propose_to(term, command, reply);
        async move { replied.await.map_err(|_| Lost) }
    }

    /// Like [`Group::propose`], answering through the caller's channel; dropping it means that the outcome is unknown.
    pub fn propose_to(&self, term: u64, command: Bytes, reply: oneshot::Sender<Bytes>) {
        // A group that was shut down drops the proposal and with it the channel.
        drop(self.inner.proposals.send(Proposal { term, command, reply }));
    }

    /// The term in which this element leads, once it has applied its own first entry of it.
    pub fn term(&self) -> Option<u64> {
        self.inner.leadership.term()
    }

    /// The element that this one believes to lead, and its instance.
    pub fn leader_hint(&self) -> Option<(ElementId, InstanceId)> {
        let leader = (*self.inner.leader.borrow())?;
        let instance = self.inner.voters().instances.get(&leader).copied()?;
        Some((leader, instance))
    }

    /// Changes of the leader as this element sees them.
    pub fn watch_leader(&self) -> watch::Receiver<Option<ElementId>> {
        self.inner.leader.subscribe()
    }

    /// Whether this element led in `term` at some moment after the call began.
    pub async fn prove(&self, term: u64) -> bool {
        let Inner { id, element, leadership, host, .. } = &*self.inner;
        if !leadership.votes_for_itself(term) {
            return false;
        }
        host.prover().prove(*id, *element, term, self.inner.voters(), leadership.clone()).await
    }

    /// Index of the last entry applied here, with changes.
    pub fn watch_applied(&self) -> watch::Receiver<u64> {
        self.inner.leadership.watch_applied()
    }

    /// The newest term that this element knows, whoever leads in it.
    pub fn current_term(&self) -> u64 {
        self.inner.raft.metrics().borrow_watched().current_term
    }

    /// Whether this element votes; one that does not yet is being let in.
    pub fn is_voter(&self) -> bool {
        let own = self.inner.element;
        self.inner.raft.metrics().borrow_watched().membership_config.voter_ids().any(|voter| voter == own)
    }

    /// Copies that this element receives from its leader.
    pub fn copies(&self) -> Copies {
        self.inner.incoming.copies()
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

    /// Asks another voter to lead. From then on this element takes no proposals in this term, whether the other one comes forward or an
    /// election has to decide; so it is refused unless this element leads and the other one was heard of lately and is up to date.
    pub async fn transfer_leader(&self, to: ElementId) -> Result<(), std::io::Error> {
        let Inner { id, element, raft, .. } = &*self.inner;
        let refuse = |why: &str| Err(std::io::Error::other(format!("element {to} cannot take over {id}: {why}")));
        if to == *element {
            return Ok(());
        }
        let metrics = raft.metrics().borrow_watched().clone();
        let (Some(replication), Some(heard), true) = (metrics.replication, metrics.heartbeat, self.term().is_some())
        else {
            return refuse("this element does not lead");
        };
        if !metrics.membership_config.voter_ids().any(|voter| voter == to) {
            return refuse("it is not a voter");
        }
        let heard = heard.get(&to).and_then(Option::as_ref).map(|instant| instant.elapsed());
        let instance = self.inner.voters().instances.get(&to).copied();
        let unreachable = instance.is_none_or(|instance| self.inner.host.peers().unreachable(instance) == Some(true));
        if unreachable || heard.is_none_or(|heard| heard > HEARD_LATELY) {
            return refuse("it does not answer");
        }
        let has = replication.get(&to).and_then(|id| id.as_ref().map(|id| id.index + 1)).unwrap_or(0);
        if has + UP_TO_DATE < metrics.last_log_index.map_or(0, |index| index + 1) {
            return refuse("it is not up to date");
        }
        raft.trigger().transfer_leader(to).await.map_err(|e| std::io::Error::other(e.to_string()))
    }

    /// Stands for election because the leader's instance is among those that are `gone`, as if the leader had handed over to this element: voters
    /// then do not hold against it that the leader was heard lately. The voters that are left take turns, in an order that all know without
    /// talking, so that two do not split the votes; the next one tries if the one before it lacked entries.
    pub(crate) async fn succeed(&self, gone: &BTreeSet<InstanceId>) {
        let Inner { id, element, raft, .. } = &*self.inner;
        let is_left = |voter: &ElementId| {
            let instance = self.inner.voters().instances.get(voter).copied();
            instance.is_some_and(|instance| !gone.contains(&instance))
        };
        let metrics = raft.metrics().borrow_watched().clone();
        let mut left: Vec<ElementId> = metrics.membership_config.voter_ids().filter(is_left).collect();
        if left.is_empty() {
            return;
        }
        let first = id.set as usize % left.len();
        left.rotate_left(first);
        let Some(turn) = left.iter().position(|voter| voter == element) else { return };
        tokio::time::sleep(SUCCESSION_TURN * turn as u32).await;
        let metrics = raft.metrics().borrow_watched().clone();
        if metrics.current_leader.is_some_and(|leader| is_left(&leader)) {
            return;
        }
        tracing::debug!(group = %id, "the leader's process has ended");
        let request = TransferLeaderRequest::new(metrics.vote, *element, None);
        match raft.handle_transfer_leader(request).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(group = %id, %error, "cannot succeed the leader now"),
            Err(error) => tracing::warn!(group = %id, %error, "cannot succeed the leader"),
        }
    }

    /// Replaces a voter by a new element: it joins as a learner, catches up (for as long as that takes), then takes the other's place. Only
    /// on the leader; may be given up and called again.
    pub async fn replace_member(
        &self,
        remove: ElementId,
        add: ElementId,
        member: Member,
    ) -> Result<(), std::io::Error> {
        let fail =
            |e: &dyn std::fmt::Display| std::io::Error::other(format!("change members of {}: {e}", self.inner.id));
        let raft = &self.inner.raft;
        let joined = raft.add_learner(add, member, false).await.map_err(|e| fail(&e))?.log_id.index;
        let caught_up = |metrics: &RaftMetrics<Types>| {
            let has =
                metrics.replication.as_ref().map(|all| all.get(&add).and_then(|id| id.as_ref()).map(|id| id.index));
            // Without any it does not lead any more, and the change is refused below.
            has.is_none_or(|index| index >= Some(joined))
        };
        raft.wait(None).metrics(caught_up, "the new element has caught up").await.map_err(|e| fail(&e))?;
        let change = ChangeMembers::ReplaceAllVoters(
            self.inner.raft.voter_ids().filter(|id| *id != remove).chain([add]).collect::<BTreeSet<_>>(),
        );
        self.inner.raft.change_membership(change, false).await.map_err(|e| fail(&e))?;
        Ok(())
    }

    /// Flushes the machine and lets go of log entries that are more than `keep` behind what is durable then. Entries that a copy under way
    /// will need next stay. Returns once the purge is under way; it fails if that takes longer than [`QUORUM_WAIT`].
    pub async fn flush_and_purge(&self, keep: u64) -> Result<(), std::io::Error> {
        let Inner { id, raft, machine, log, outgoing, durable, purging, .. } = &*self.inner;
        let fail = |e: &dyn std::fmt::Display| std::io::Error::other(format!("flush {id}: {e}"));
        let _alone = purging.lock().await;
        let flushing = machine.clone();
        let token = self.inner.tasks.token();
        let state = tokio::task::spawn_blocking(move || {
            let _token = token;
            machine::flush(flushing.as_ref())
        });
        // A store that cannot keep what it holds must not go on acknowledging.
        let state = state.await?.unwrap_or_else(|error| crate::fatal(&format!("flush {id}: {error}")));
        let Some(last) = state.0.as_ref().map(|id| id.index) else { return Ok(()) };
        *durable.lock() = Some(state);
        let needed = outgoing.least().and_then(|(least, _)| least).map_or(u64::MAX, |id| id.index);
        let Some(upto) = last.checked_sub(keep).map(|upto| upto.min(needed)) else { return Ok(()) };
        if log.purged_index() >= Some(upto) {
            return Ok(());
        }
        raft.trigger().snapshot().await.map_err(|e| fail(&e))?;
        let known = |m: &RaftMetrics<Types>| m.snapshot.as_ref().is_some_and(|id| id.index >= last);
        raft.wait(Some(QUORUM_WAIT)).metrics(known, "flushed state is known").await.map_err(|e| fail(&e))?;
        raft.trigger().purge_log(upto).await.map_err(|e| fail(&e))?;
        tracing::debug!(group = %id, upto, "the log was purged");
        Ok(())
    }

    /// Stops the element: no more proposals, votes or applies once this returns. The machine stays open for its owner to close.
    pub async fn shut_down(&self) {
        self.inner.stop.cancel();
        self.inner.leadership.end(self.inner.machine.as_ref());
        self.inner.host.forget(self.inner.id);
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(group = %self.inner.id, %error, "Raft did not end cleanly");
        }
        self.inner.tasks.close();
        self.inner.tasks.wait().await;
    }
}

impl Inner {
    /// The voters as openraft itself sees them now: proofs must not count on an older membership.
    fn voters(&self) -> Arc<Voters> {
        let newest = self.raft.server_metrics().borrow_watched().membership_config.clone();
        let mut known = self.voters.lock();
        if let Some((membership, voters)) = &*known
            && Arc::ptr_eq(membership, &newest)
        {
            return voters.clone();
        }
        let membership = newest.membership();
        let voters = Arc::new(Voters {
            configs: membership.get_joint_config().clone(),
            instances: membership.nodes().map(|(id, member)| (*id, member.instance)).collect(),
        });
        *known = Some((newest, voters.clone()));
        voters
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
            let (commands, replies): (Vec<_>, Vec<_>) = waiting.drain(..count).map(|p| (p.command, p.reply)).unzip();
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
            let leads = metrics.borrow_watched().current_leader;
            inner.leader.send_if_modified(|leader| {
                let changed = *leader != leads;
                *leader = leads;
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
