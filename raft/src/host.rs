//! Everything of Raft on one instance: the shared log, the peers, the groups that run here, and the services through which
//! peers reach them.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::future::BoxFuture;
use openraft::raft::TransferLeaderRequest;
use openraft::{Config, SnapshotPolicy};
use parking_lot::RwLock;

use crate::codec::{self, AppendAnswer, VoteAnswer, VoteAsk};
use crate::group::{Group, GroupOptions};
use crate::log::LogStore;
use crate::network::{TransferAsk, service};
use crate::peers::{Identity, Peers, Service};
use crate::proof::Prover;
use crate::snapshot;
use crate::types::{GroupId, InstanceId};

/// How long all successions after one event may take; an election as after silence comes soon then.
const SUCCESSION_MAX: Duration = Duration::from_secs(1);

/// Times of the protocol.
#[derive(Clone, Debug)]
pub struct RaftTimes {
    /// How often a leader makes itself heard.
    pub heartbeat: Duration,
    /// A follower that has heard nothing for `election_max`, and for a further random time between these, stands for election.
    pub election_min: Duration,
    /// See `election_min`.
    pub election_max: Duration,
}

impl Default for RaftTimes {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(150),
            election_min: Duration::from_millis(400),
            election_max: Duration::from_millis(800),
        }
    }
}

/// The groups of one instance. Clones share it.
#[derive(Clone)]
pub struct RaftHost {
    shared: Arc<Shared>,
}

struct Shared {
    log: Arc<LogStore>,
    peers: Peers,
    prover: Prover,
    config: Arc<Config>,
    groups: Arc<Groups>,
    starting: tokio::sync::Mutex<()>,
}

pub(crate) type Groups = RwLock<HashMap<GroupId, Group>>;

impl RaftHost {
    /// Registers the services of Raft with `peers`. Call it on the runtime on which consensus is to run.
    pub fn new(log: Arc<LogStore>, peers: Peers, times: &RaftTimes) -> Result<Self, io::Error> {
        let config = Config {
            cluster_name: "quorate".into(),
            heartbeat_interval: times.heartbeat.as_millis() as u64,
            election_timeout_min: times.election_min.as_millis() as u64,
            election_timeout_max: times.election_max.as_millis() as u64,
            max_payload_entries: 256,
            snapshot_policy: SnapshotPolicy::Never,
            max_in_snapshot_log_to_keep: u64::MAX,
            install_snapshot_timeout: 600_000,
            enable_pre_vote: Some(true),
            // A leader that restarts has lost its locks and the commit messages it has seen: it must stand for a new term.
            enable_leader_restore: Some(false),
            ..Config::default()
        };
        let config = Arc::new(config.validate().map_err(|e| io::Error::other(e.to_string()))?);
        peers.run_on(tokio::runtime::Handle::current());
        let groups = Arc::new(Groups::default());
        let prover = Prover::start(&peers, groups.clone());
        for kind in [service::APPEND, service::VOTE, service::PRE_VOTE, service::TRANSFER, service::SNAPSHOT] {
            peers.register(kind, Arc::new(Receiver { kind, groups: groups.clone() }));
        }
        peers.run(succeed(peers.clone(), groups.clone()));
        Ok(Self { shared: Arc::new(Shared { log, peers, prover, config, groups, starting: Default::default() }) })
    }

    /// Starts an element. Fails if the group runs here already.
    pub async fn start_group(&self, options: GroupOptions) -> Result<Group, io::Error> {
        let id = options.id;
        let _starting = self.shared.starting.lock().await;
        if self.shared.groups.read().contains_key(&id) {
            return Err(io::Error::other(format!("{id} runs here already")));
        }
        let group = Group::start(self, options).await?;
        self.shared.groups.write().insert(id, group.clone());
        Ok(group)
    }

    /// The running element of a group, if there is one here.
    pub fn group(&self, id: GroupId) -> Option<Group> {
        self.shared.groups.read().get(&id).cloned()
    }

    /// The shared log.
    pub fn log(&self) -> &Arc<LogStore> {
        &self.shared.log
    }

    /// The connections to other instances.
    pub fn peers(&self) -> &Peers {
        &self.shared.peers
    }

    pub(crate) fn prover(&self) -> &Prover {
        &self.shared.prover
    }

    pub(crate) fn raft_config(&self) -> Arc<Config> {
        self.shared.config.clone()
    }

    pub(crate) fn forget(&self, id: GroupId) {
        self.shared.groups.write().remove(&id);
    }
}

/// Replaces leaders whose process has ended, without waiting for their silence to become suspicious.
async fn succeed(peers: Peers, groups: Arc<Groups>) {
    let (mut gone, mut incoming) = (peers.gone(), peers.incoming());
    let mut connected = BTreeSet::new();
    loop {
        tokio::select! {
            changed = gone.changed() => if changed.is_err() { return },
            changed = incoming.changed() => if changed.is_err() { return },
        }
        // A leader calls its followers, who need not have called it: whether somebody still listens there, only a call tells.
        let now: BTreeSet<InstanceId> = incoming.borrow_and_update().keys().copied().collect();
        connected.difference(&now).for_each(|lost| peers.dial(*lost));
        connected = now;
        // Who has a connection to us lives, whatever answers at its address.
        let gone: BTreeSet<InstanceId> = gone.borrow_and_update().difference(&connected).copied().collect();
        let led_by_gone = |group: &Group| group.leader_hint().is_some_and(|(_, instance)| gone.contains(&instance));
        let orphans: Vec<Group> = groups.read().values().filter(|group| led_by_gone(group)).cloned().collect();
        let successions = futures::future::join_all(orphans.iter().map(|group| group.succeed(&gone)));
        // One group that hangs must not keep the others from the next leader's end.
        drop(tokio::time::timeout(SUCCESSION_MAX, successions).await);
    }
}

/// Hands messages of peers to the element they are for.
struct Receiver {
    kind: u8,
    groups: Arc<Groups>,
}

impl Service for Receiver {
    fn call(&self, _from: Identity, mut message: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        if message.remaining() < 16 {
            return refuse("message is cut short".into());
        }
        let number = message.get_u64();
        let id = GroupId { database: (number >> 32) as u32, set: number as u32 };
        let element = message.get_u64();
        let Some(group) = self.groups.read().get(&id).cloned() else {
            return refuse(format!("{id} does not run here"));
        };
        if group.element() != element {
            return refuse(format!("{id} has element {} here, not {element}", group.element()));
        }
        match self.kind {
            service::APPEND => Box::pin(append(group, message)),
            service::VOTE => Box::pin(vote(group, message, false)),
            service::PRE_VOTE => Box::pin(vote(group, message, true)),
            service::TRANSFER => Box::pin(transfer(group, message)),
            _ => Box::pin(install(group, message)),
        }
    }
}

fn refuse(text: String) -> BoxFuture<'static, Result<Bytes, String>> {
    Box::pin(futures::future::ready(Err(text)))
}

async fn append(group: Group, message: Bytes) -> Result<Bytes, String> {
    let request = codec::get_append(message).map_err(|e| e.to_string())?;
    let response = group.inner.raft.append_entries(request).await.map_err(|e| e.to_string())?;
    Ok(codec::to_bytes(&AppendAnswer::from(response)))
}

async fn vote(group: Group, message: Bytes, pre: bool) -> Result<Bytes, String> {
    let ask: VoteAsk = codec::from_bytes(&message, "vote request").map_err(|e| e.to_string())?;
    let response = match pre {
        true => group.inner.raft.pre_vote(ask.into()).await,
        false => group.inner.raft.vote(ask.into()).await,
    };
    Ok(codec::to_bytes(&VoteAnswer::from(&response.map_err(|e| e.to_string())?)))
}

async fn transfer(group: Group, message: Bytes) -> Result<Bytes, String> {
    let ask: TransferAsk = codec::from_bytes(&message, "transfer request").map_err(|e| e.to_string())?;
    let request = TransferLeaderRequest::new(ask.from.into(), ask.to, ask.last.map(Into::into));
    let response = group.inner.raft.handle_transfer_leader(request).await.map_err(|e| e.to_string())?;
    Ok(codec::to_bytes(&response.is_ok()))
}

async fn install(group: Group, message: Bytes) -> Result<Bytes, String> {
    let inner = group.inner.clone();
    inner
        .incoming
        .take(message, async |vote, directory, state| {
            tracing::info!(group = %group.id(), element = group.element(), "installing a copy");
            let snapshot = snapshot::received(&vote, directory, state).map_err(|e| e.to_string())?;
            let answer = group.inner.raft.install_full_snapshot(vote.into(), snapshot).await;
            Ok((&answer.map_err(|e| e.to_string())?.vote).into())
        })
        .await
}
