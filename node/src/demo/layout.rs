//! The demo's directory: what is in it, which ports its instances have, and the configuration files.
//!
//! ```text
//! DIR/demo.toml                  how the demo was made, and whether it is complete
//! DIR/demo.lock                  locked as long as a demo runs on DIR
//! DIR/instance1/quorate.toml     configuration, written again at every start
//! DIR/instance1/data/            the instance's own
//! DIR/instance1/instance.log     what it says, appended
//! ```
//!
//! Number of instances, replica sets and ports are fixed when the directory is made: the grid remembers them. Asking for
//! others later is refused with the reason, never ignored.

use std::fs::{File, TryLockError};
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use quorate_proto::{DEFAULT_PEER_PORT, DEFAULT_SQL_PORT};
use serde::{Deserialize, Serialize};

use super::config_file::InstanceConfig;
use super::{DATABASE, DemoArgs};

/// Version of `demo.toml`.
const FORMAT: u32 = 1;
/// From the SQL ports to those for operators and peers, which bounds the number of instances.
const PEER_PORT_OFFSET: u16 = DEFAULT_PEER_PORT - DEFAULT_SQL_PORT;
/// More would run into the ports for operators and peers, and no laptop is amused.
const INSTANCES_MAX: u16 = PEER_PORT_OFFSET - 1;

/// One instance of the demo.
#[derive(Clone, Debug)]
pub struct Instance {
    /// From 1.
    pub number: u16,
    /// `instance1` and so on.
    pub name: String,
    /// Port for SQL clients.
    pub sql_port: u16,
    /// Port for operators and the other instances.
    pub peer_port: u16,
    /// Its configuration file.
    pub config: PathBuf,
    /// Its log.
    pub log: PathBuf,
}

impl Instance {
    /// Where SQL clients reach the demo's database through this instance.
    pub fn url(&self) -> String {
        format!("postgres://127.0.0.1:{}/{DATABASE}", self.sql_port)
    }

    /// Where operators reach this instance.
    pub fn peer_address(&self) -> String {
        format!("127.0.0.1:{}", self.peer_port)
    }
}

/// `demo.toml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    format: u32,
    instances: u16,
    replica_sets: u32,
    base_port: u16,
    /// The database is there with its sample schema. Until then, setting up goes on where it was.
    complete: bool,
}

/// A directory that belongs to this process as long as this value lives.
#[derive(Debug)]
pub struct Layout {
    folder: PathBuf,
    record: Record,
    _lock: File,
}

impl Layout {
    /// Makes the directory, or takes an existing one over, and writes the configuration files. Fails before anything is started when
    /// the arguments do not fit, another demo runs here, or a port is taken.
    pub fn open(args: &DemoArgs) -> anyhow::Result<Layout> {
        let folder = match &args.data {
            Some(folder) => std::path::absolute(folder).with_context(|| format!("resolve {}", folder.display()))?,
            None => default_folder()?,
        };
        let asked = Record::asked(args)?;
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let lock = lock(&folder)?;
        let record = match Record::read(&folder)? {
            Some(found) => found.adopt(args, &folder)?,
            None => {
                let strangers = std::fs::read_dir(&folder)
                    .with_context(|| format!("list {}", folder.display()))?
                    .flatten()
                    .any(|entry| entry.file_name() != "demo.lock");
                ensure!(
                    !strangers,
                    "{} holds other things than a demo: name an empty or a new directory with --data",
                    folder.display()
                );
                asked
            }
        };
        let layout = Layout { folder, record, _lock: lock };
        layout.check_ports()?;
        for instance in layout.instances() {
            layout.prepare(&instance)?;
        }
        layout.record.write(&layout.folder)?;
        Ok(layout)
    }

    /// The directory.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Copies of every row.
    pub fn k(&self) -> u32 {
        if self.record.instances == 1 { 1 } else { 3 }
    }

    /// Replica sets of the database.
    pub fn replica_sets(&self) -> u32 {
        self.record.replica_sets
    }

    /// Whether the database with its sample schema is there.
    pub fn is_complete(&self) -> bool {
        self.record.complete
    }

    /// Notes that the database with its sample schema is there.
    pub fn set_complete(&mut self) -> anyhow::Result<()> {
        self.record.complete = true;
        self.record.write(&self.folder)
    }

    /// All instances, in order.
    pub fn instances(&self) -> Vec<Instance> {
        (1..=self.record.instances).map(|number| self.instance(number)).collect()
    }

    /// Where SQL clients reach the demo's database through any instance.
    pub fn url(&self) -> String {
        let hosts: Vec<String> =
            self.instances().iter().map(|instance| format!("127.0.0.1:{}", instance.sql_port)).collect();
        format!("postgres://{}/{DATABASE}", hosts.join(","))
    }

    /// An odd number of instances manages the grid, five at most: more voters make it slower and no safer.
    fn is_management(&self, number: u16) -> bool {
        let voters = self.record.instances.min(5);
        number <= voters - u16::from(voters.is_multiple_of(2))
    }

    /// One line about the shape of the grid.
    pub fn describe(&self) -> String {
        let plural = |count: u32, of: &str| format!("{count} {of}{}", if count == 1 { "" } else { "s" });
        format!(
            "{} {}, {}, {} of every row,",
            if self.record.complete { "bringing back" } else { "making" },
            plural(self.record.instances.into(), "instance"),
            plural(self.record.replica_sets, "replica set"),
            if self.k() == 1 { "1 copy".to_owned() } else { format!("{} copies", self.k()) },
        )
    }

    fn instance(&self, number: u16) -> Instance {
        let name = format!("instance{number}");
        let folder = self.folder.join(&name);
        let sql_port = self.record.base_port + number - 1;
        Instance {
            number,
            sql_port,
            peer_port: sql_port + PEER_PORT_OFFSET,
            config: folder.join("quorate.toml"),
            log: folder.join("instance.log"),
            name,
        }
    }

    /// Refuses ports that somebody listens on, while there is still somebody to tell.
    fn check_ports(&self) -> anyhow::Result<()> {
        for instance in self.instances() {
            for (port, purpose) in [(instance.sql_port, "SQL"), (instance.peer_port, "operators and peers")] {
                if let Err(error) = TcpListener::bind(("127.0.0.1", port)) {
                    let advice = if self.is_complete() {
                        "end what uses it: this demo was made with its ports"
                    } else {
                        "choose others with --base-port"
                    };
                    bail!("port {port} ({purpose} of {}) cannot be had: {error}; {advice}", instance.name);
                }
            }
        }
        Ok(())
    }

    /// Writes what an instance needs before it starts.
    fn prepare(&self, instance: &Instance) -> anyhow::Result<()> {
        let folder = self.folder.join(&instance.name);
        std::fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let config = InstanceConfig {
            instance: instance.name.clone(),
            data: folder.join("data"),
            sql_listen: format!("127.0.0.1:{}", instance.sql_port),
            peer_listen: instance.peer_address(),
            peer_address: instance.peer_address(),
            management: self.is_management(instance.number),
            management_peers: self
                .instances()
                .iter()
                .filter(|peer| self.is_management(peer.number))
                .map(Instance::peer_address)
                .collect(),
            extra: toml::Table::new(),
        };
        std::fs::write(&instance.config, config.to_toml())
            .with_context(|| format!("write {}", instance.config.display()))
    }
}

impl Record {
    /// What the arguments ask for, with the defaults.
    fn asked(args: &DemoArgs) -> anyhow::Result<Record> {
        let instances = args.instances.unwrap_or(3);
        ensure!(instances != 0, "--instances 0: a grid needs at least one instance");
        ensure!(
            instances != 2,
            "--instances 2: with two copies, either one alone is no majority, so losing any instance would stop the database; \
             use 1 (no copies) or 3"
        );
        ensure!(
            instances == 1 || instances.is_multiple_of(3),
            "--instances {instances}: every row has a copy in each of three data space groups, which must be equally large; \
             use 1, 3, 6 or 9"
        );
        ensure!(
            instances <= INSTANCES_MAX,
            "--instances {instances}: the demo runs at most {INSTANCES_MAX} on one machine"
        );
        let replica_sets = args.replica_sets.unwrap_or(instances.into());
        ensure!(replica_sets != 0, "--replica-sets 0: rows have to be somewhere");
        let base_port = args.base_port.unwrap_or(DEFAULT_SQL_PORT);
        ensure!(
            base_port != 0 && base_port.checked_add(PEER_PORT_OFFSET + instances).is_some(),
            "--base-port {base_port}: the ports up to {} above it are needed too",
            PEER_PORT_OFFSET + instances - 1
        );
        Ok(Record { format: FORMAT, instances, replica_sets, base_port, complete: false })
    }

    /// This record, unless the arguments ask for something else by name.
    fn adopt(self, args: &DemoArgs, folder: &Path) -> anyhow::Result<Record> {
        let different = [
            ("--instances", args.instances.map(u32::from), u32::from(self.instances)),
            ("--replica-sets", args.replica_sets, self.replica_sets),
            ("--base-port", args.base_port.map(u32::from), u32::from(self.base_port)),
        ];
        for (flag, asked, found) in different {
            if let Some(asked) = asked.filter(|asked| *asked != found) {
                bail!(
                    "the demo in {} was made with {flag} {found} and cannot become {flag} {asked}; leave the flag out, or name a new \
                     directory with --data",
                    folder.display()
                );
            }
        }
        Ok(self)
    }

    fn read(folder: &Path) -> anyhow::Result<Option<Record>> {
        let path = folder.join("demo.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let record: Record = toml::from_str(&text).with_context(|| format!("understand {}", path.display()))?;
        ensure!(
            record.format == FORMAT,
            "{} has format {}, this program knows {FORMAT}",
            path.display(),
            record.format
        );
        Ok(Some(record))
    }

    /// Replaces the file in one step, so that a crash leaves the old or the new one.
    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let (path, draft) = (folder.join("demo.toml"), folder.join("demo.toml.new"));
        let write = || {
            let mut file = File::create(&draft)?;
            file.write_all(toml::to_string(self).map_err(std::io::Error::other)?.as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&draft, &path)
        };
        write().with_context(|| format!("write {}", path.display()))
    }
}

fn default_folder() -> anyhow::Result<PathBuf> {
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let share = set("XDG_DATA_HOME").or_else(|| set("HOME").map(|home| home.join(".local/share")));
    Ok(share.context("neither XDG_DATA_HOME nor HOME is set: name a directory with --data")?.join("quorate/demo"))
}

fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join("demo.lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "a demo is running on {} already: use it, end it, or name another directory with --data",
                folder.display()
            )
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(folder: &Path) -> DemoArgs {
        // Ports outside the range that the system hands out, and apart for tests that run at the same time.
        let base_port = 18_000 + (std::process::id() % 100) as u16 * 20;
        DemoArgs {
            data: Some(folder.to_owned()),
            base_port: Some(base_port),
            instances: None,
            replica_sets: None,
            no_shell: true,
        }
    }

    fn refused(args: &DemoArgs) -> String {
        format!("{:#}", Layout::open(args).unwrap_err())
    }

    #[test]
    fn numbers_of_instances_that_make_no_grid_are_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        assert!(refused(&DemoArgs { instances: Some(2), ..args(folder.path()) }).contains("no majority"));
        assert!(refused(&DemoArgs { instances: Some(4), ..args(folder.path()) }).contains("data space groups"));
        assert!(!folder.path().join("demo.lock").exists(), "nothing is made for a refused demo");
    }

    #[test]
    fn one_instance_means_one_copy() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::open(&DemoArgs { instances: Some(1), ..args(folder.path()) }).unwrap();
        assert_eq!((layout.k(), layout.replica_sets()), (1, 1));
    }

    #[test]
    fn a_made_demo_comes_back_without_flags_and_refuses_others() {
        let folder = tempfile::tempdir().unwrap();
        let first = args(folder.path());
        Layout::open(&first).unwrap().set_complete().unwrap();
        let again = DemoArgs { base_port: None, ..first.clone() };
        let layout = Layout::open(&again).unwrap();
        assert!(layout.is_complete());
        assert_eq!(Some(layout.instances()[0].sql_port), first.base_port);
        drop(layout);
        assert!(refused(&DemoArgs { instances: Some(6), ..again }).contains("--instances 3"));
    }

    #[test]
    fn a_second_demo_on_the_same_directory_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Layout::open(&args(folder.path())).unwrap();
        assert!(refused(&args(folder.path())).contains("running on"));
    }

    #[test]
    fn a_directory_with_other_things_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
        assert!(refused(&args(folder.path())).contains("other things"));
    }

    #[test]
    fn a_taken_port_is_named_with_the_flag_that_helps() {
        let folder = tempfile::tempdir().unwrap();
        let args = args(folder.path());
        let port = args.base_port.unwrap() + 11;
        let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let error = refused(&args);
        assert!(
            error.contains(&format!("port {port} (operators and peers of instance2)")) && error.contains("--base-port"),
            "{error}"
        );
    }
}
