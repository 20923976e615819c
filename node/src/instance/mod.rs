//! One instance: what `quorate start` runs, from the data directory to the doors.
//!
//! An instance that belongs to no grid yet opens its doors and waits: SQL sessions are told so, operators can create the grid. Once it belongs to one it
//! starts, in this order, the shared log and peers, its member of the management group, its elements, the conversation with the active
//! management instance. It ends in the reverse order.
//!
//! Two runtimes: one for consensus (Raft, peers, apply), one for SQL and operators, so that a scan cannot depose a leader.

pub mod databases;
pub mod directory;
mod inquiry;
mod listener;
mod port;
mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use quorate_gateway::Gateway;
use quorate_management::InstanceSpec;
use quorate_raft::log::{LogOptions, LogStore};
use quorate_raft::peers::{Identity as PeerIdentity, Peers};
use quorate_raft::{GroupId, GroupOptions, Member, RaftHost, RaftTimes};
use quorate_txn::clock::{Clock, SystemTimeSource};
use quorate_txn::protocol::GatewayId;
use quorate_txn::store::StoreMemory;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Role};
use crate::data::element::Patience;
use crate::data::elements::{self, Elements};
use crate::data::router;
use crate::management::agent::{self, Agent};
use crate::management::founding::{self, Founding, Greeting};
use crate::management::group::ManagementGroup;
use crate::management::machine::ManagementMachine;
use databases::KnownDatabases;
use directory::{DataDirectory, Identity, Membership};
use port::OperatorPort;

/// Between two attempts of a data instance to join the grid of its management peers.
const JOIN_AGAIN: Duration = Duration::from_secs(1);

/// How often peers may be seen in a grid by a management instance that is in none: while a grid is founded, its members learn of it one after the
/// other.
const MISSED_FOUNDING: usize = 5;

/// Threads of the runtime of consensus: half of the cores, since a group's tasks talk to each other all the time and a wake within a thread costs
/// next to nothing.
fn consensus_threads() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get() / 2).clamp(2, 8)
}

/// Share of `memory_limit` that the stores' block cache takes; and the write buffer of each element.
const CACHE_SHARE: u64 = 8;
/// Share of `memory_limit` that joins, groupings and sorts of all queries take together.
const QUERY_SHARE: u64 = 4;
const WRITE_BUFFER: usize = 8 << 20;

/// What runs once the instance belongs to a grid.
pub(crate) struct Running {
    pub membership: Membership,
    pub peers: Peers,
    pub elements: Arc<Elements>,
    pub group: Option<Arc<ManagementGroup>>,
}

/// Runs an instance until `stop`.
pub async fn run(config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    // A start that fails leaves nothing behind: the directory is written to last.
    DataDirectory::check(&config.data)?;
    let sql_listener = bind(&config.sql_listen.to_string(), "sql_listen")?;
    let peer_listener = bind(&config.peer_listen.to_string(), "peer_listen")?;
    let (directory, identity) = DataDirectory::open(&config.data)?;
    unchanged(&config, &identity)?;
    if let Some(membership) = &identity.grid
        && agent::is_superseded(&directory, membership.instance, identity.incarnation)
    {
        anyhow::bail!("{}: {}", config.data.display(), agent::SUPERSEDED);
    }
    directory.write_identity(&identity)?;
    let consensus = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(consensus_threads())
        .thread_name("consensus")
        .enable_all()
        .build()
        .context("start the runtime of consensus")?;
    let instance = Instance {
        spec: spec(&config, &identity),
        config,
        directory: Arc::new(directory),
        consensus: consensus.handle().clone(),
        peers: Peers::new(PeerIdentity { grid: uuid::Uuid::nil(), instance: 0, incarnation: identity.incarnation }),
        databases: Arc::new(KnownDatabases::default()),
        running: watch::channel(None).0,
        stop,
        tasks: TaskTracker::new(),
    };
    let result = instance.run(identity, sql_listener, peer_listener).await;
    consensus.shutdown_background();
    result
}

fn bind(address: &str, key: &str) -> anyhow::Result<std::net::TcpListener> {
    let listener = std::net::TcpListener::bind(address)
        .with_context(|| format!("cannot listen on {address} ({key}); is another process using it?"))?;
    listener.set_nonblocking(true).with_context(|| format!("listen on {address}"))?;
    Ok(listener)
}

/// Refuses a configuration under which the instance would not be what its grid takes it for.
fn unchanged(config: &Config, identity: &Identity) -> anyhow::Result<()> {
    let (Some(membership), Some(known)) = (&identity.grid, &identity.spec) else { return Ok(()) };
    let now = spec(config, identity);
    let roles = |spec: &InstanceSpec| match (spec.data, spec.management) {
        (true, true) => "data,management".to_owned(),
        (true, false) => "data".to_owned(),
        _ => "management".to_owned(),
    };
    let group = |spec: &InstanceSpec| spec.data_space_group.map_or("the grid's choice".to_owned(), |n| n.to_string());
    let differences: Vec<String> = [
        ("host", known.host.clone(), now.host.clone()),
        ("instance", known.name.clone(), now.name.clone()),
        ("data_space_group", group(known), group(&now)),
        ("roles", roles(known), roles(&now)),
        ("sql_address", known.sql_address.clone(), now.sql_address.clone()),
        ("peer_address", known.peer_address.clone(), now.peer_address.clone()),
        ("single_host", known.single_host.to_string(), now.single_host.to_string()),
    ]
    .into_iter()
    .filter(|(_, known, now)| known != now)
    .map(|(key, known, now)| format!("\n  {key}: is {now}, was {known}"))
    .collect();
    anyhow::ensure!(
        differences.is_empty(),
        "the configuration does not fit the data directory {}: grid {} knows this instance otherwise, and that cannot be changed; \
         set it back, or name the directory that belongs to this configuration:{}",
        config.data.display(),
        membership.name,
        differences.concat()
    );
    Ok(())
}

fn spec(config: &Config, identity: &Identity) -> InstanceSpec {
    InstanceSpec {
        host: config.host.clone(),
        name: config.instance.clone(),
        identity: identity.identity,
        sql_address: config.sql_address.to_string(),
        peer_address: config.peer_address.to_string(),
        data_space_group: config.data_space_group,
        data: config.roles.contains(&Role::Data),
        management: config.roles.contains(&Role::Management),
        single_host: config.single_host,
    }
}

struct Instance {
    spec: InstanceSpec,
    config: Config,
    directory: Arc<DataDirectory>,
    consensus: tokio::runtime::Handle,
    peers: Peers,
    databases: Arc<KnownDatabases>,
    running: watch::Sender<Option<Arc<Running>>>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Instance {
    async fn run(
        self,
        mut identity: Identity,
        sql_listener: std::net::TcpListener,
        peer_listener: std::net::TcpListener,
    ) -> anyhow::Result<()> {
        let (founding, founded) = Founding::waiting(self.spec.clone(), self.config.grid.clone());
        self.peers.register(founding::SERVICE, Arc::new(founding::Receiver(founding.clone())));
        let port = Arc::new(OperatorPort::new(
            self.peers.clone(),
            founding.clone(),
            self.config.management_peers.iter().map(ToString::to_string).collect(),
            self.databases.clone(),
            self.running.subscribe(),
            identity.grid.is_some(),
        ));
        let gateway_config = quorate_gateway::Config {
            max_connections: self.config.max_connections,
            ..quorate_gateway::Config::default()
        };
        let queries = quorate_query::Options {
            memory: usize::try_from(self.config.memory_limit / QUERY_SHARE).context("memory_limit")?,
            spill: Some(self.directory.spill()),
        };
        let engine = quorate_query::Engine::new(&queries).context("prepare for queries")?;
        let gateway = Arc::new(Gateway::new(gateway_config, self.databases.clone(), Arc::new(engine)));
        self.databases.serve(&gateway);
        let sql_listener = tokio::net::TcpListener::from_std(sql_listener).context("listen for SQL")?;
        let doors = self.stop.child_token();
        self.tasks.spawn(gateway.clone().serve(sql_listener, doors.clone()));
        let serving =
            listener::serve(peer_listener, self.consensus.clone(), self.peers.clone(), port, self.stop.clone());
        let serving = self.tasks.spawn(serving);

        let running = match identity.grid.clone() {
            Some(membership) => Some(self.start(membership, &mut identity, &founding).await?),
            None => {
                tracing::info!(
                    sql = self.spec.sql_address,
                    admin = self.spec.peer_address,
                    "this instance belongs to no grid yet and waits; create one with `quorate-admin --at {} gridCreate NAME -k 3`",
                    self.spec.peer_address
                );
                let founded = tokio::select! {
                    membership = founded => membership.ok(),
                    membership = self.join() => Some(membership?),
                    () = self.stop.cancelled() => None,
                };
                match founded {
                    Some(membership) => {
                        identity.grid = Some(membership.clone());
                        identity.spec = Some(self.spec.clone());
                        self.directory.write_identity(&identity)?;
                        Some(self.start(membership, &mut identity, &founding).await?)
                    }
                    None => None,
                }
            }
        };
        self.stop.cancelled().await;
        tracing::info!("stopping");
        self.running.send_replace(None);
        self.databases.shut_down().await;
        if let Some(running) = running {
            running.elements.shut_down().await;
            if let Some(group) = &running.group {
                group.group().shut_down().await;
                group.flush();
            }
        }
        self.peers.shut_down().await;
        drop(serving.await);
        self.tasks.close();
        self.tasks.wait().await;
        Ok(())
    }

    /// A data instance asks the management peers to let it in, until one does. A management instance waits to be gathered;
    /// if its peers are in a grid already, it was, and what it knew of that is gone.
    async fn join(&self) -> anyhow::Result<Membership> {
        let mut missed = 0;
        loop {
            for address in self.config.management_peers.iter().map(ToString::to_string) {
                if !self.spec.management {
                    // Before the grid knows an instance that will not run in it.
                    if let (Some(wanted), Ok(Greeting { grid: Some(grid), .. })) =
                        (&self.config.grid, founding::hello(&self.peers, &address).await)
                        && *wanted != grid
                    {
                        anyhow::bail!(
                            "the management peer {address} belongs to grid {grid}, but the configuration names grid {wanted}"
                        );
                    }
                    match founding::join(&self.peers, &address, &self.spec).await {
                        Ok(Ok(membership)) => return Ok(membership),
                        Ok(Err(refused)) => {
                            anyhow::bail!("{refused}; the data directory is {}", self.config.data.display())
                        }
                        Err(error) => tracing::debug!(address, error = format!("{error:#}"), "not let into a grid yet"),
                    }
                } else if address != self.spec.peer_address
                    && let Ok(Greeting { grid: Some(grid), .. }) = founding::hello(&self.peers, &address).await
                {
                    missed += 1;
                    anyhow::ensure!(
                        missed < MISSED_FOUNDING,
                        "the management peer {address} belongs to grid {grid}, but the data directory {} holds nothing of it: \
                         if the data was lost or the directory is not mounted, bring it back; it is not made anew",
                        self.config.data.display()
                    );
                }
            }
            tokio::time::sleep(JOIN_AGAIN).await;
        }
    }

    /// Starts what a member of a grid runs.
    async fn start(
        &self,
        membership: Membership,
        identity: &mut Identity,
        founding: &Arc<Founding>,
    ) -> anyhow::Result<Arc<Running>> {
        let incarnation = identity.incarnation;
        if let Some(wanted) = self.config.grid.as_ref().filter(|wanted| **wanted != membership.name) {
            anyhow::bail!(
                "this instance belongs to grid {}, but its configuration names grid {wanted}",
                membership.name
            );
        }
        self.peers.set_identity(PeerIdentity { grid: membership.uuid, instance: membership.instance, incarnation });
        for (number, founder) in (1..).zip(&membership.founders) {
            self.peers.set_address(number, &founder.peer_address);
        }
        let raft = self.start_raft().await?;
        if !identity.logs {
            // Before anything is in it on which others rely.
            identity.logs = true;
            self.directory.write_identity(identity)?;
        }
        let group = if self.spec.management { Some(self.start_management(&raft, &membership).await?) } else { None };
        let elements = self.start_elements(&raft, &membership, incarnation)?;
        founding.joined(membership.clone(), group.clone());
        let managers =
            (1..).zip(&membership.founders).filter(|(_, f)| f.management).map(|(number, _)| number).collect();
        let (known, peers, element_orders) = (self.databases.clone(), self.peers.clone(), elements.clone());
        let agent = Agent {
            instance: membership.instance,
            incarnation,
            directory: self.directory.clone(),
            peers: self.peers.clone(),
            group: group.clone(),
            elements: elements.clone(),
            databases: self.databases.clone(),
            managers,
            on_orders: Box::new(move |orders| {
                for instance in &orders.instances {
                    peers.set_address(instance.number, &instance.peer_address);
                }
                known.take_orders(orders);
                element_orders.take_orders(&orders.elements);
            }),
        };
        self.tasks.spawn(quorate_raft::vital("the management agent panicked", agent.run(self.stop.clone())));
        tracing::info!(grid = membership.name, instance = membership.instance, incarnation, "running");
        let running = Arc::new(Running { membership, peers: self.peers.clone(), elements, group });
        self.running.send_replace(Some(running.clone()));
        Ok(running)
    }

    async fn start_raft(&self) -> anyhow::Result<RaftHost> {
        let path = self.directory.log();
        let log = tokio::task::spawn_blocking(move || LogStore::open(&path, LogOptions::default())).await??;
        let times = RaftTimes {
            heartbeat: self.config.heartbeat,
            election_min: self.config.election_min,
            election_max: self.config.election_max,
        };
        let peers = self.peers.clone();
        Ok(self.consensus.spawn(async move { RaftHost::new(log, peers, &times) }).await??)
    }

    async fn start_management(&self, raft: &RaftHost, membership: &Membership) -> anyhow::Result<Arc<ManagementGroup>> {
        let machine = ManagementMachine::open(&self.directory.management())?;
        let machine = Arc::new(machine);
        let members: BTreeMap<u64, Member> = (1..)
            .zip(&membership.founders)
            .filter(|(_, founder)| founder.management)
            .map(|(number, _)| (u64::from(number), Member { instance: number }))
            .collect();
        let options = GroupOptions {
            id: GroupId::MANAGEMENT,
            element: u64::from(membership.instance),
            scratch: self.directory.scratch(0),
            machine: machine.clone(),
        };
        let founds = members.keys().next() == Some(&u64::from(membership.instance));
        let raft = raft.clone();
        let group = self
            .consensus
            .spawn(async move {
                let group = raft.start_group(options).await?;
                if founds {
                    group.initialize(members).await?;
                }
                Ok::<_, std::io::Error>(group)
            })
            .await??;
        let group = ManagementGroup::new(group, machine, self.peers.clone(), membership.clone());
        let receiver = agent::Receiver { group: Arc::downgrade(&group), runtime: tokio::runtime::Handle::current() };
        self.peers.register(agent::SERVICE, Arc::new(receiver));
        let (running, stop) = (group.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            tokio::select! {
                () = quorate_raft::vital("management panicked", running.run()) => {}
                () = stop.cancelled() => {}
            }
        });
        Ok(group)
    }

    fn start_elements(
        &self,
        raft: &RaftHost,
        membership: &Membership,
        incarnation: u32,
    ) -> anyhow::Result<Arc<Elements>> {
        let clock = Arc::new(Clock::new(Arc::new(SystemTimeSource::new())));
        let cache = usize::try_from(self.config.memory_limit / CACHE_SHARE).context("memory_limit")?;
        let elements = Elements::new(elements::Surroundings {
            directory: self.directory.clone(),
            raft: raft.clone(),
            raft_runtime: self.consensus.clone(),
            clock: clock.clone(),
            memory: StoreMemory::new(cache, WRITE_BUFFER, 1),
            patience: Patience {
                deadlock_timeout: self.config.deadlock_timeout,
                in_doubt: self.config.in_doubt_patience,
            },
            log_retention: self.config.log_retention,
            log_retention_time: self.config.log_retention_time,
        });
        self.databases.join(databases::Surroundings {
            gateway: GatewayId::new(membership.instance, incarnation),
            peers: self.peers.clone(),
            elements: elements.clone(),
            clock,
            config: quorate_txn::coordinator::Config {
                replica_set_timeout: self.config.replica_set_timeout,
                transaction_memory: usize::try_from(self.config.transaction_memory).context("transaction_memory")?,
                on_panic: |what| quorate_raft::fatal(what),
                ..quorate_txn::coordinator::Config::default()
            },
        });
        let databases = self.databases.downgrade();
        elements.connect(Box::new(move |database| {
            databases.upgrade().expect("databases outlive the elements that serve them").sets(database)
        }));
        let runtime = tokio::runtime::Handle::current();
        let receiver = router::Receiver { elements: Arc::downgrade(&elements), runtime: runtime.clone() };
        self.peers.register(router::SERVICE, Arc::new(receiver));
        let receiver = inquiry::Receiver {
            elements: Arc::downgrade(&elements),
            databases: Arc::downgrade(&self.databases),
            runtime: runtime.clone(),
        };
        self.peers.register(inquiry::SERVICE, Arc::new(receiver));
        self.peers.register(verify::SERVICE, Arc::new(verify::Receiver { elements: Arc::downgrade(&elements) }));
        Ok(elements)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::from_table(&text.parse().expect("TOML"), None).expect("a configuration")
    }

    #[test]
    fn an_instance_does_not_start_as_another_than_its_grid_knows() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (_directory, mut identity) = DataDirectory::open(folder.path()).expect("opened");
        let first = config("host = 'a'\ndata = '/d'\nroles = ['data']\nmanagement_peers = ['m:7510']");
        unchanged(&first, &identity).expect("it belongs to no grid yet");
        let known = spec(&first, &identity);
        let founders = vec![known.clone()];
        identity.grid =
            Some(Membership { uuid: uuid::Uuid::nil(), name: "shop".to_owned(), k: 1, instance: 4, founders });
        identity.spec = Some(known);
        unchanged(&first, &identity).expect("nothing has changed");
        let now = config("host = 'b'\ndata = '/d'\nsql_listen = '127.0.0.1:7600'\nmax_connections = 7");
        let refused = unchanged(&now, &identity).expect_err("other roles, another host").to_string();
        let (reason, keys) = refused.split_once(":\n").expect("the keys are listed");
        assert!(reason.contains("data directory /d: grid shop"), "{reason}");
        assert_eq!(
            keys,
            "  host: is b, was a\n  roles: is data,management, was data\n  sql_address: is 127.0.0.1:7600, was 127.0.0.1:7500"
        );
    }
}
