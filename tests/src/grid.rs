//! A grid under test: its instances, the database `demo` in it, and the means to break it.
//!
//! Instances are named by their number, from 1. Everything lies in a temporary directory, which stays when a test fails; its
//! place and the end of every log are printed then. [`Grid::finish`] ends a test: it heals what was broken, compares all replicas, and
//! looks for errors in the logs. A grid that is dropped without it only ends its processes.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use quorate_node::demo::config_file::InstanceConfig;
use quorate_proto::admin::DatabaseStatus;
use tempfile::TempDir;

use crate::admin::Admin;
use crate::instance::Instance;
use crate::ports::Ports;
use crate::proxy::{Link, Network};
use crate::sql::{Gateways, Session};
use crate::wait::eventually;

/// The database of every test.
pub const DATABASE: &str = "demo";
/// How long a grid may take to come up, or to repair itself after everything was healed.
pub const SETTLE: Duration = Duration::from_secs(60);
/// Lines of each log that a failed test prints.
const LOG_LINES: usize = 60;

/// What a test wants of its grid.
#[derive(Clone, Debug)]
pub struct Options {
    /// Number of instances, all with the data role.
    pub instances: usize,
    /// How many of them, from the first on, manage too; `None`: all.
    pub managers: Option<usize>,
    /// Copies of every row.
    pub k: u32,
    /// Replica sets of the database.
    pub replica_sets: u32,
    /// Whether the instances reach each other through [`Network`], so that links can be cut.
    pub proxied: bool,
    /// Further configuration keys, as TOML, for every instance.
    pub config: String,
    /// Failpoints to arm at the first start: instance and `name=action`.
    pub failpoints: Vec<(usize, String)>,
}

impl Default for Options {
    /// Three instances that each hold a copy of everything, in three replica sets.
    fn default() -> Options {
        Options {
            instances: 3,
            managers: None,
            k: 3,
            replica_sets: 3,
            proxied: false,
            config: String::new(),
            failpoints: Vec::new(),
        }
    }
}

/// A running grid.
#[derive(Debug)]
pub struct Grid {
    instances: Vec<Instance>,
    network: Network,
    admin: Admin,
    /// Texts that make an error in a log an expected one.
    expected_errors: Vec<String>,
    folder: Option<TempDir>,
    _ports: Ports,
}

impl Grid {
    /// A grid of three instances with an open database.
    pub async fn start() -> Grid {
        Grid::start_with(Options::default()).await
    }

    /// A grid with an open database.
    pub async fn start_with(options: Options) -> Grid {
        let grid = Grid::start_processes(options.clone()).await;
        eventually("gridCreate", SETTLE, async || {
            let created = grid.admin.run(&["gridCreate", "test", "-k", &options.k.to_string()]).await;
            // An attempt whose answer was lost counts when the grid is there.
            if created.code != 0 && grid.admin.run(&["gridDisplay"]).await.code != 0 {
                bail!("{}{}", created.out, created.err);
            }
            Ok(())
        })
        .await;
        eventually("dbCreate", SETTLE, async || {
            let sets = options.replica_sets.to_string();
            let created = grid.admin.run(&["dbCreate", DATABASE, "--replica-sets", &sets]).await;
            if created.code != 0 && grid.admin.status(DATABASE).await.is_err() {
                bail!("{}{}", created.out, created.err);
            }
            Ok(())
        })
        .await;
        eventually("the database is loaded", SETTLE, async || {
            let status = grid.admin.status(DATABASE).await?;
            ensure!(status.load == "loaded-complete", "it is {}, {}", status.create, status.load);
            Ok(())
        })
        .await;
        eventually("dbOpen", SETTLE, async || {
            grid.admin
                .run(&["dbOpen", DATABASE])
                .await
                .done()
                .map(drop)
                .or_else(|error| if format!("{error}").contains("already open") { Ok(()) } else { Err(error) })
        })
        .await;
        grid.settled().await;
        grid
    }

    /// Only the processes: they wait for a grid to be created.
    pub async fn start_processes(options: Options) -> Grid {
        let folder =
            tempfile::Builder::new().prefix("quorate-test-").tempdir().expect("a temporary directory can be made");
        let mut ports = Ports::reserve();
        let mut network = Network::new();
        let extra: toml::Table = options.config.parse().expect("the test's configuration is TOML");
        let places: Vec<[u16; 3]> =
            (0..options.instances).map(|_| [ports.take(), ports.take(), ports.take()]).collect();
        let address = |[_, peer, proxy]: [u16; 3]| format!("127.0.0.1:{}", if options.proxied { proxy } else { peer });
        let managers = options.managers.unwrap_or(options.instances);
        let mut instances = Vec::new();
        for (index, place) in places.iter().enumerate() {
            let (number, [sql_port, peer_port, proxy_port]) = (index + 1, *place);
            let own = folder.path().join(format!("instance{number}"));
            let config = InstanceConfig {
                instance: format!("instance{number}"),
                data: own.join("data"),
                sql_listen: format!("127.0.0.1:{sql_port}"),
                peer_listen: format!("127.0.0.1:{peer_port}"),
                peer_address: address(*place),
                management: index < managers,
                management_peers: places.iter().take(managers).map(|place| address(*place)).collect(),
                extra: extra.clone(),
            };
            if options.proxied {
                let (listen, target) =
                    (SocketAddr::from(([127, 0, 0, 1], proxy_port)), SocketAddr::from(([127, 0, 0, 1], peer_port)));
                network.add(number, listen, target).await.expect("a reserved port can be bound");
            }
            let mut instance = Instance::new(number, sql_port, peer_port, own, &config.to_toml());
            let armed =
                options.failpoints.iter().filter(|(of, _)| *of == number).map(|(_, failpoint)| failpoint.clone());
            network.set_pid(number, instance.start(&armed.collect::<Vec<_>>()));
            instances.push(instance);
        }
        let admin = Admin::new(instances.iter().map(|instance| instance.peer_port));
        Grid { instances, network, admin, expected_errors: Vec::new(), folder: Some(folder), _ports: ports }
    }

    /// One instance.
    pub fn instance(&mut self, number: usize) -> &mut Instance {
        &mut self.instances[number - 1]
    }

    /// What an instance has logged.
    pub fn log_text(&self, number: usize) -> String {
        self.instances[number - 1].log_text()
    }

    /// Number of instances.
    pub fn size(&self) -> usize {
        self.instances.len()
    }

    /// The links between the instances. They can be cut only in a grid made with `proxied`.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// An operator who knows all instances.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// All gateways.
    pub fn gateways(&self) -> Gateways {
        Gateways {
            ports: self.instances.iter().map(|instance| instance.sql_port).collect(),
            database: DATABASE.to_owned(),
        }
    }

    /// A session on this instance's gateway and no other.
    pub fn session(&self, number: usize) -> Session {
        self.gateways().only(number - 1)
    }

    /// `kill -9`.
    pub fn kill(&mut self, number: usize) {
        self.instance(number).kill();
    }

    /// Starts an instance that does not run.
    pub fn restart(&mut self, number: usize) {
        self.restart_with(number, &[]);
    }

    /// Starts an instance with failpoints armed.
    pub fn restart_with(&mut self, number: usize, failpoints: &[String]) {
        let pid = self.instance(number).start(failpoints);
        self.network.set_pid(number, pid);
    }

    /// Cuts an instance off from all others, or reconnects it.
    pub fn link_all(&self, number: usize, link: Link) {
        self.network.set_between(number, (1..=self.size()).filter(|other| *other != number), link);
    }

    /// The database's status, from any instance.
    pub async fn status(&self) -> anyhow::Result<DatabaseStatus> {
        self.admin.status(DATABASE).await
    }

    /// The instance whose element leads this replica set.
    pub async fn leader(&self, replica_set: u32) -> usize {
        eventually(&format!("replica set {replica_set} has a leader"), SETTLE, async || {
            let status = self.status().await?;
            let led = status.elements.iter().find(|element| element.replica_set == replica_set && element.leader);
            let name = &led.context("nobody leads it")?.instance;
            name.trim_start_matches("instance").parse().with_context(|| format!("the number of {name}"))
        })
        .await
    }

    /// Waits until everything works: the status says so, and every gateway answers SQL.
    pub async fn settled(&self) {
        eventually("the grid is healthy", SETTLE, async || {
            let status = self.status().await?;
            ensure!(
                status.settled && status.open == "open" && status.health == "Normal",
                "{}, {}, {}: {} ({})",
                status.create,
                status.load,
                status.open,
                status.verdict,
                status
                    .elements
                    .iter()
                    .map(|element| format!("{} {} {}", element.instance, element.number, element.status))
                    .collect::<Vec<_>>()
                    .join(", "),
            );
            Ok(())
        })
        .await;
        for number in 1..=self.size() {
            eventually(&format!("instance{number} answers SQL"), SETTLE, async || {
                ensure!(self.session(number).number("SELECT 1").await? == 1, "it says something else than 1");
                Ok(())
            })
            .await;
        }
    }

    /// Waits until no instance leads more sets than its share.
    pub async fn leaders_spread(&self) {
        eventually("leaders are spread", SETTLE, async || {
            let status = self.status().await?;
            let sets = status.replica_sets.len();
            for number in 1..=self.size() {
                let name = format!("instance{number}");
                let led = status.elements.iter().filter(|element| element.leader && element.instance == name).count();
                ensure!(led <= sets.div_ceil(self.size()), "{name} leads {led} of {sets}");
            }
            ensure!(status.replica_sets.iter().all(|set| set.leader != 0), "a set has no leader");
            Ok(())
        })
        .await;
    }

    /// Compares all replicas.
    ///
    /// # Panics
    /// When two replicas of a set differ, or do not answer in time.
    pub async fn verify(&self) {
        eventually("all replicas are identical", SETTLE, async || {
            let verified = self.admin.verify(DATABASE).await?;
            for set in &verified.replica_sets {
                let hashes: Vec<&str> =
                    set.elements.iter().map(|element| element.hash.as_str()).filter(|hash| !hash.is_empty()).collect();
                assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]), "replicas differ: {set:?}");
            }
            ensure!(verified.identical && !verified.replica_sets.is_empty(), "not compared yet: {verified:?}");
            Ok(())
        })
        .await;
    }

    /// Lets log lines with this text pass as no error of the product in [`Grid::finish`].
    pub fn expect_error(&mut self, text: &str) {
        self.expected_errors.push(text.to_owned());
    }

    /// Ends a test: heals all links, starts what does not run, waits until all works, compares replicas, stops everything
    /// cleanly, and refuses errors in the logs.
    ///
    /// # Panics
    /// When anything of this fails.
    pub async fn finish(mut self) {
        self.network.heal();
        for number in 1..=self.size() {
            if !self.instance(number).is_running() {
                self.restart(number);
            }
        }
        self.settled().await;
        self.verify().await;
        for instance in &mut self.instances {
            instance.signal("TERM");
        }
        for instance in &mut self.instances {
            let status = instance.ended(Duration::from_secs(20)).await;
            assert!(status.success(), "{} was asked to stop and ended with {status}", instance.name());
        }
        for instance in &self.instances {
            let log = instance.log_text();
            let error =
                log.lines().find(|line| is_error(line) && !self.expected_errors.iter().any(|text| line.contains(text)));
            assert!(error.is_none(), "{} logged an error: {}", instance.name(), error.unwrap_or_default());
        }
    }

    fn print_logs(&self, folder: &Path) {
        eprintln!("the test failed; everything is kept in {}", folder.display());
        for instance in &self.instances {
            let log = instance.log_text();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!(
                "---- {} (SQL {}, peers {}): the last of {} lines",
                instance.name(),
                instance.sql_port,
                instance.peer_port,
                lines.len()
            );
            for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
                eprintln!("{line}");
            }
        }
    }
}

impl Drop for Grid {
    fn drop(&mut self) {
        for instance in &mut self.instances {
            instance.kill();
        }
        if std::thread::panicking()
            && let Some(folder) = self.folder.take()
        {
            self.print_logs(&folder.keep());
        }
    }
}

/// Whether a log line means that a human must look.
fn is_error(line: &str) -> bool {
    line.contains(" ERROR ") || line.contains("panicked at")
}
