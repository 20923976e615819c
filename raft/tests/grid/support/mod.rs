//! A small grid in one process: hosts that can be killed and started again, links that can be cut, and a state machine that remembers.

mod machine;
mod proxy;

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use quorate_raft::log::{LogOptions, LogStore};
use quorate_raft::peers::{Identity, Peers};
use quorate_raft::{ElementId, Group, GroupId, GroupOptions, InstanceId, Member, RaftHost, RaftTimes};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

pub use machine::{Ledger, command};
pub use proxy::{Mode, Proxy};

/// Numbers of the services in frames, as the wire fixes them.
pub const APPEND: u8 = 1;
pub const PROBE: u8 = 5;
pub const SNAPSHOT: u8 = 6;

/// How long a test waits for what must happen; far more than it takes on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const SET: GroupId = GroupId { database: 1, set: 1 };

pub fn times() -> RaftTimes {
    RaftTimes {
        heartbeat: Duration::from_millis(60),
        election_min: Duration::from_millis(250),
        election_max: Duration::from_millis(500),
    }
}

/// Waits until `look` finds something.
pub async fn eventually<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until a condition holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    eventually(what, || std::future::ready(holds().then_some(()))).await;
}

/// One host while it runs.
pub struct Running {
    pub raft: RaftHost,
    pub peers: Peers,
    pub groups: BTreeMap<GroupId, (Group, Arc<Ledger>)>,
    address: SocketAddr,
    acceptor: JoinHandle<()>,
}

/// One host: what lasts of it, and what runs.
pub struct Host {
    pub instance: InstanceId,
    pub directory: PathBuf,
    pub running: Option<Running>,
    incarnation: u32,
    /// The log of the last run.
    log: Weak<LogStore>,
}

/// Hosts 1 to n, each of which reaches each other through a proxy.
pub struct Grid {
    pub id: Uuid,
    pub hosts: Vec<Host>,
    /// By caller and called.
    pub links: BTreeMap<(InstanceId, InstanceId), Proxy>,
    times: RaftTimes,
    _directory: TempDir,
}

impl Grid {
    pub async fn start(hosts: u32) -> Self {
        Self::start_with(hosts, times()).await
    }

    async fn start_with(hosts: u32, times: RaftTimes) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut links = BTreeMap::new();
        for from in 1..=hosts {
            for to in (1..=hosts).filter(|to| *to != from) {
                links.insert((from, to), Proxy::start().await);
            }
        }
        let host = |instance: InstanceId| Host {
            instance,
            directory: directory.path().join(format!("host{instance}")),
            running: None,
            incarnation: 0,
            log: Weak::new(),
        };
        let hosts: Vec<Host> = (1..=hosts).map(host).collect();
        let mut grid = Self { id: Uuid::new_v4(), hosts, links, times, _directory: directory };
        for instance in 1..=grid.hosts.len() as u32 {
            grid.start_host(instance).await;
        }
        grid
    }

    /// Three hosts with an element of `sets` groups on each: element numbers are 10 * set + instance.
    pub async fn with_sets(sets: u32) -> Self {
        Self::with_sets_and_times(sets, times()).await
    }

    /// The same with other times.
    pub async fn with_sets_and_times(sets: u32, times: RaftTimes) -> Self {
        let mut grid = Self::start_with(3, times).await;
        for set in 1..=sets {
            let id = GroupId { database: 1, set };
            for instance in 1..=3 {
                grid.start_element(instance, id, element(set, instance)).await;
            }
            let members = (1..=3).map(|i| (element(set, i), Member { instance: i })).collect();
            grid.group(1, id).initialize(members).await.unwrap();
        }
        grid
    }

    /// Leaves the proxies out from now on.
    pub fn connect_directly(&self) {
        for (from, to) in self.links.keys() {
            self.running(*from).peers.set_address(*to, &self.running(*to).address.to_string());
        }
    }

    pub fn host(&self, instance: InstanceId) -> &Host {
        &self.hosts[instance as usize - 1]
    }

    pub fn running(&self, instance: InstanceId) -> &Running {
        self.host(instance).running.as_ref().expect("the host runs")
    }

    pub fn group(&self, instance: InstanceId, id: GroupId) -> Group {
        self.running(instance).groups[&id].0.clone()
    }

    pub fn ledger(&self, instance: InstanceId, id: GroupId) -> Arc<Ledger> {
        self.running(instance).groups[&id].1.clone()
    }

    pub async fn start_host(&mut self, instance: InstanceId) {
        let links = &self.links;
        let host = &mut self.hosts[instance as usize - 1];
        assert!(host.running.is_none());
        host.incarnation += 1;
        std::fs::create_dir_all(&host.directory).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let peers = Peers::new(Identity { grid: self.id, instance, incarnation: host.incarnation });
        for ((from, to), link) in links {
            if *from == instance {
                peers.set_address(*to, &link.address);
            }
            if *to == instance {
                link.lead_to(Some(address));
            }
        }
        // Nobody holds the log of the last run any more, but closing it takes a moment, in which its directory is still locked.
        let path = host.directory.join("log");
        let log = eventually("the log of the last run is closed", async || {
            if host.log.strong_count() > 0 {
                return None;
            }
            match LogStore::open(&path, LogOptions::default()) {
                Err(error) if error.to_string().contains("lock hold by current process") => None,
                opened => Some(opened.unwrap()),
            }
        })
        .await;
        let raft = RaftHost::new(log, peers.clone(), &self.times).unwrap();
        let accepting = peers.clone();
        let acceptor = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, from)) = listener.accept().await {
                let peers = accepting.clone();
                connections.spawn(async move { peers.accept(stream, from).await });
            }
        });
        host.running = Some(Running { raft, peers, groups: BTreeMap::new(), address, acceptor });
    }

    pub async fn start_element(&mut self, instance: InstanceId, id: GroupId, element: ElementId) -> Group {
        let host = &mut self.hosts[instance as usize - 1];
        let directory = host.directory.join(format!("element{element}"));
        let machine = Arc::new(Ledger::open(&directory.join("store")).unwrap());
        let running = host.running.as_mut().expect("the host runs");
        let options = GroupOptions { id, element, scratch: directory.join("scratch"), machine: machine.clone() };
        let group = running.raft.start_group(options).await.unwrap();
        running.groups.insert(id, (group.clone(), machine));
        group
    }

    /// Ends a host as a kill would: what its machines have not flushed is gone. Before it starts again, all handles of its groups must be
    /// dropped, or its log stays open.
    pub async fn kill(&mut self, instance: InstanceId) {
        for ((_, to), link) in &self.links {
            if *to == instance {
                link.lead_to(None);
            }
        }
        let running = self.hosts[instance as usize - 1].running.take().expect("the host runs");
        running.acceptor.abort();
        for (group, _) in running.groups.values() {
            group.shut_down().await;
        }
        running.peers.shut_down().await;
        self.hosts[instance as usize - 1].log = Arc::downgrade(running.raft.log());
    }

    /// Starts a host again with the elements it had.
    pub async fn restart(&mut self, instance: InstanceId, elements: &[(GroupId, ElementId)]) {
        self.start_host(instance).await;
        for (id, element) in elements {
            self.start_element(instance, *id, *element).await;
        }
    }

    /// Waits for a leader of a group among the running hosts other than `not`; answers its instance and term.
    pub async fn leader_but(&self, id: GroupId, not: Option<InstanceId>) -> (InstanceId, u64) {
        eventually("a leader", async || {
            let found = self.hosts.iter().filter(|h| Some(h.instance) != not).find_map(|host| {
                let term = host.running.as_ref()?.groups.get(&id)?.0.term()?;
                Some((host.instance, term))
            });
            // A hint that can be outdated, unless it proves itself.
            let (instance, term) = found?;
            self.group(instance, id).prove(term).await.then_some((instance, term))
        })
        .await
    }

    pub async fn leader(&self, id: GroupId) -> (InstanceId, u64) {
        self.leader_but(id, None).await
    }

    /// Moves the leadership of a group; answers the new term.
    pub async fn move_leader(&self, id: GroupId, to: InstanceId) -> u64 {
        eventually("leadership moves", async || {
            let (leader, term) = self.leader(id).await;
            if leader == to {
                return Some(term);
            }
            let target = self.group(to, id).element();
            let asked = self.group(leader, id).transfer_leader(target).await;
            let mut watch = self.group(to, id).watch_leader();
            let moved = watch.wait_for(|now| *now == Some(target));
            drop(tokio::time::timeout(Duration::from_secs(1), moved).await);
            asked.ok()?;
            None
        })
        .await
    }

    /// Proposes until it is acknowledged, wherever the leader is.
    pub async fn propose(&self, id: GroupId, number: u64) -> Bytes {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let (instance, term) = self.leader(id).await;
            let reply = self.group(instance, id).propose(term, command(number, b""));
            if let Ok(Ok(reply)) = tokio::time::timeout(Duration::from_secs(2), reply).await {
                return reply;
            }
            assert!(Instant::now() < deadline, "proposal {number} is not acknowledged");
        }
    }

    /// Waits until all running elements of a group hold the same, and answers it.
    pub async fn agreed(&self, id: GroupId) -> Vec<u64> {
        let number = u64::MAX - rand_like();
        self.propose(id, number).await;
        let ledgers: Vec<Arc<Ledger>> =
            self.hosts.iter().filter_map(|h| Some(h.running.as_ref()?.groups.get(&id)?.1.clone())).collect();
        until("everybody has applied the last command", || ledgers.iter().all(|l| l.contains(number))).await;
        let contents: Vec<Vec<u64>> = ledgers.iter().map(|l| l.commands()).collect();
        for content in &contents {
            assert_eq!(content, &contents[0], "all elements applied the same in the same order");
        }
        contents.into_iter().next().expect("some host runs")
    }

    /// Ends everything, so that nothing of one test disturbs the next.
    pub async fn stop(mut self) {
        for instance in 1..=self.hosts.len() as u32 {
            if self.host(instance).running.is_some() {
                self.kill(instance).await;
            }
        }
    }
}

/// The element of a set on an instance.
pub fn element(set: u32, instance: InstanceId) -> ElementId {
    u64::from(10 * set + instance)
}

/// Some number that is not used twice.
fn rand_like() -> u64 {
    Uuid::new_v4().as_u64_pair().0 >> 16
}
