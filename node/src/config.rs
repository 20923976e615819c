//! The configuration of an instance: one TOML file, and flags of the same names that win over it.
//!
//! [`KEYS`] is the one list of keys: parsing, `--help`, the reference and the search for misspelt names come from it. A
//! configuration is judged as a whole: everything that is wrong with it is said at once, by key. Nothing is opened, resolved or created
//! here.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

mod flags;
mod keys;
mod value;

pub use flags::ConfigArgs;
pub use keys::{KEYS, Key};
pub use value::Address;

use value::Value;

/// Smallest [`Config::memory_limit`], in bytes: less does not hold the caches of an idle instance.
pub const MEMORY_LIMIT_MIN: u64 = 128 << 20;

/// Keys whose rules also use another key: if that one cannot be read, nothing is said about them.
const DEPENDS: &[(&str, &str)] = &[
    ("sql_address", "sql_listen"),
    ("peer_address", "peer_listen"),
    ("management_peers", "roles"),
    ("management_peers", "peer_listen"),
    ("management_peers", "peer_address"),
    ("transaction_memory", "memory_limit"),
    ("election_min", "heartbeat"),
    ("election_max", "election_min"),
    ("replica_set_timeout", "election_max"),
];

/// What an instance does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Holds elements and executes SQL.
    Data,
    /// Is a member of the management group.
    Management,
}

/// Everything that one instance is told by its operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name of the grid that it must belong to; `None` takes the grid that its management peers are in.
    pub grid: Option<String>,
    /// Name of the instance on its host.
    pub instance: String,
    /// Name of its machine. Copies of one replica set go to different machines.
    pub host: String,
    /// Placement class, from 1; `None` lets the grid choose.
    pub data_space_group: Option<u32>,
    /// What it does; not empty, sorted.
    pub roles: Vec<Role>,
    /// Data directory.
    pub data: PathBuf,
    /// Where it listens for SQL clients.
    pub sql_listen: Address,
    /// Where clients reach it.
    pub sql_address: Address,
    /// Where it listens for operators and the other instances.
    pub peer_listen: Address,
    /// Where operators and the other instances reach it.
    pub peer_address: Address,
    /// Where the management instances are reached, this one included if it is one.
    pub management_peers: Vec<Address>,
    /// Counts as a machine of its own although other instances share its host.
    pub single_host: bool,
    /// Listens on addresses that others can reach although there is neither TLS nor password.
    pub insecure: bool,
    /// 1: a commit is on the disks of a majority before it is acknowledged.
    pub durability: u32,
    /// Bytes of memory, of which caches and large queries get fixed shares.
    pub memory_limit: u64,
    /// Bytes of writes that one transaction buffers before it streams them ahead.
    pub transaction_memory: u64,
    /// Sessions at a time.
    pub max_connections: usize,
    /// Whether leaders answer reads on the strength of a lease: faster, but it trusts the rates of clocks.
    pub read_lease: bool,
    /// How long an operation waits for a replica set without a leader.
    pub replica_set_timeout: Duration,
    /// When a younger transaction that holds locks gives up waiting for an older one.
    pub deadlock_timeout: Duration,
    /// How long a prepared transaction waits for its outcome before the other participants are asked.
    pub in_doubt_patience: Duration,
    /// Between two signs of life of a leader.
    pub heartbeat: Duration,
    /// A follower that has heard nothing for `election_max` calls an election after a further random time of at least this.
    pub election_min: Duration,
    /// And of at most this.
    pub election_max: Duration,
    /// Bytes of log that are kept for a member that is behind; beyond it, the member gets a full copy.
    pub log_retention: u64,
    /// How long log is kept for a member that is behind.
    pub log_retention_time: Duration,
}

/// A configuration that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("read configuration {}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("configuration {} is not TOML", path.display())]
    NotToml {
        /// Which file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// Some keys are wrong.
    #[error("{0}")]
    Wrong(Wrong),
}

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// Key and what is wrong with it, in the order of [`KEYS`]; unknown keys first.
    pub keys: Vec<(String, String)>,
}

impl fmt::Display for Wrong {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(formatter, "the configuration {} cannot be used:", file.display())?,
            None => write!(formatter, "the configuration cannot be used:")?,
        }
        for (key, what) in &self.keys {
            write!(formatter, "\n  {key}: {what}")?;
        }
        Ok(())
    }
}

impl Config {
    /// The configuration of `quorate start`.
    ///
    /// # Errors
    /// When the file cannot be read or any key is wrong; all wrong keys are named.
    pub fn load(args: &ConfigArgs) -> Result<Self, ConfigError> {
        let mut given = toml::Table::new();
        if let Some(path) = &args.config {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.clone(), source })?;
            given =
                text.parse().map_err(|source| ConfigError::NotToml { path: path.clone(), source: Box::new(source) })?;
        }
        for (key, value) in &args.flags {
            given.insert((*key).to_owned(), toml::Value::String(value.clone()));
        }
        Self::from_table(&given, args.config.as_deref())
    }

    /// The configuration that a table of keys describes; `file` is named in errors.
    ///
    /// # Errors
    /// [`ConfigError::Wrong`] with all wrong keys.
    pub fn from_table(given: &toml::Table, file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut wrong: Vec<(String, String)> = given
            .keys()
            .filter(|name| !KEYS.iter().any(|key| key.name == name.as_str()))
            .map(|name| (name.clone(), unknown(name)))
            .collect();
        let mut draft = Draft::default();
        for key in KEYS {
            let text;
            let value = match (given.get(key.name), key.default) {
                (Some(value), _) => value,
                (None, Some(default)) => {
                    text = toml::Value::String(default.to_owned());
                    &text
                }
                (None, None) => continue,
            };
            if let Err(what) = (key.set)(&mut draft, Value::new(value)) {
                wrong.push((key.name.to_owned(), what));
            }
        }
        // Judged together only where each key by itself could be read.
        let unread: Vec<String> = wrong.iter().map(|(name, _)| name.clone()).collect();
        let mut together = Vec::new();
        let config = draft.complete(&mut together);
        config.judge(&mut together);
        let hides = |unread: &str, name: &str| unread == name || DEPENDS.contains(&(name, unread));
        together.retain(|(name, _)| !unread.iter().any(|unread| hides(unread, name)));
        wrong.extend(together.into_iter().map(|(name, what)| (name.to_owned(), what)));
        let place = |name: &str| KEYS.iter().position(|key| key.name == name).map_or(0, |place| place + 1);
        wrong.sort_by_key(|(name, _)| place(name));
        if wrong.is_empty() {
            return Ok(config);
        }
        Err(ConfigError::Wrong(Wrong { file: file.map(Path::to_owned), keys: wrong }))
    }

    /// Whether it has a role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    /// Rules that concern several keys, or the size of one.
    fn judge(&self, wrong: &mut Vec<(&'static str, String)>) {
        let mut rule = |key, holds: bool, what: String| {
            if !holds {
                wrong.push((key, what));
            }
        };
        for (key, address) in [("sql_listen", &self.sql_listen), ("peer_listen", &self.peer_listen)] {
            rule(
                key,
                address.is_loopback() || self.insecure,
                format!(
                    "{address} can be reached from other machines, and there is neither TLS nor a password yet: \
                     listen on a loopback address, or set insecure = true"
                ),
            );
        }
        rule(
            "peer_listen",
            self.peer_listen != self.sql_listen,
            format!("{} is also sql_listen; they need ports of their own", self.peer_listen),
        );
        for (key, address, listen) in
            [("sql_address", &self.sql_address, "sql_listen"), ("peer_address", &self.peer_address, "peer_listen")]
        {
            rule(
                key,
                !address.is_unspecified(),
                format!(
                    "{address} means every address of the machine; name the one to connect to (it follows {listen} by default)"
                ),
            );
        }
        let own = self.management_peers.contains(&self.peer_address);
        if self.has(Role::Management) {
            rule(
                "management_peers",
                own,
                format!(
                    "it has to contain the instance's own peer_address {}, since it has the management role",
                    self.peer_address
                ),
            );
        } else {
            rule(
                "management_peers",
                !self.management_peers.is_empty() && !own,
                "it has to name the management instances, of which this is none by its roles".to_owned(),
            );
        }
        let mut peers = self.management_peers.clone();
        peers.sort();
        peers.dedup();
        rule("management_peers", peers.len() == self.management_peers.len(), "an address is in it twice".to_owned());
        rule(
            "management_peers",
            peers.len() <= 7,
            format!("{} management instances are more than can help; 3 or 5 are usual", peers.len()),
        );
        rule(
            "single_host",
            self.single_host || peers.iter().filter(|peer| peer.is_loopback()).count() < 2,
            "management_peers names several instances on this machine: set single_host = true if this is a trial"
                .to_owned(),
        );
        rule(
            "durability",
            self.durability == 1,
            format!(
                "{} is not available, only 1: a commit is on the disks of a majority before it is acknowledged",
                self.durability
            ),
        );
        rule(
            "read_lease",
            !self.read_lease,
            "not available yet, only off: a leader proves that it leads by asking a majority for its votes, which trusts no clock".to_owned(),
        );
        rule("memory_limit", self.memory_limit >= MEMORY_LIMIT_MIN, "at least 128MiB".to_owned());
        rule(
            "transaction_memory",
            (1 << 20..=self.memory_limit / 2).contains(&self.transaction_memory),
            "at least 1MiB and at most half of memory_limit".to_owned(),
        );
        rule("max_connections", (1..=10_000).contains(&self.max_connections), "from 1 to 10000".to_owned());
        rule("data_space_group", self.data_space_group != Some(0), "groups are numbered from 1".to_owned());
        let ms = Duration::from_millis;
        rule("heartbeat", self.heartbeat >= ms(10), "at least 10ms".to_owned());
        rule(
            "election_min",
            self.election_min >= self.heartbeat * 2,
            "at least twice the heartbeat, or one late heartbeat deposes a leader".to_owned(),
        );
        rule(
            "election_max",
            self.election_max >= self.election_min + ms(50),
            "at least 50ms above election_min, or candidates meet again and again".to_owned(),
        );
        rule(
            "replica_set_timeout",
            self.replica_set_timeout >= self.election_max,
            "at least election_max, or no operation outlives an ordinary failover".to_owned(),
        );
        rule("log_retention", self.log_retention >= 16 << 20, "at least 16MiB".to_owned());
        rule("log_retention_time", self.log_retention_time >= ms(1000), "at least 1s".to_owned());
    }
}

/// A configuration on its way: what has no default may be missing.
#[derive(Debug, Default)]
pub struct Draft {
    grid: Option<String>,
    instance: Option<String>,
    host: Option<String>,
    data_space_group: Option<u32>,
    roles: Vec<Role>,
    data: Option<PathBuf>,
    sql_listen: Option<Address>,
    sql_address: Option<Address>,
    peer_listen: Option<Address>,
    peer_address: Option<Address>,
    management_peers: Option<Vec<Address>>,
    single_host: bool,
    insecure: bool,
    durability: u32,
    memory_limit: u64,
    transaction_memory: u64,
    max_connections: usize,
    read_lease: bool,
    replica_set_timeout: Duration,
    deadlock_timeout: Duration,
    in_doubt_patience: Duration,
    heartbeat: Duration,
    election_min: Duration,
    election_max: Duration,
    log_retention: u64,
    log_retention_time: Duration,
}

impl Draft {
    /// Puts in what follows from other keys, and notes what is missing.
    fn complete(self, wrong: &mut Vec<(&'static str, String)>) -> Config {
        let mut missing = |key: &'static str, what: &str| wrong.push((key, format!("missing: {what}")));
        let host = match (self.host, self.single_host) {
            (Some(host), _) => host,
            (None, true) => "localhost".to_owned(),
            (None, false) => {
                missing("host", "the name of this machine, by which copies are kept apart");
                String::new()
            }
        };
        if self.data.is_none() {
            missing("data", "the directory in which everything is kept");
        }
        // A placeholder for an address that could not be read; its key is named as wrong already.
        let nowhere = || Address::new("127.0.0.1", 1);
        let sql_listen = self.sql_listen.unwrap_or_else(nowhere);
        let peer_listen = self.peer_listen.unwrap_or_else(nowhere);
        let peer_address = self.peer_address.unwrap_or_else(|| peer_listen.clone());
        let management = self.roles.contains(&Role::Management);
        let alone = if management { vec![peer_address.clone()] } else { Vec::new() };
        Config {
            grid: self.grid,
            instance: self.instance.unwrap_or_default(),
            host,
            data_space_group: self.data_space_group,
            roles: self.roles,
            data: self.data.unwrap_or_default(),
            sql_address: self.sql_address.unwrap_or_else(|| sql_listen.clone()),
            sql_listen,
            peer_listen,
            peer_address,
            management_peers: self.management_peers.unwrap_or(alone),
            single_host: self.single_host,
            insecure: self.insecure,
            durability: self.durability,
            memory_limit: self.memory_limit,
            transaction_memory: self.transaction_memory,
            max_connections: self.max_connections,
            read_lease: self.read_lease,
            replica_set_timeout: self.replica_set_timeout,
            deadlock_timeout: self.deadlock_timeout,
            in_doubt_patience: self.in_doubt_patience,
            heartbeat: self.heartbeat,
            election_min: self.election_min,
            election_max: self.election_max,
            log_retention: self.log_retention,
            log_retention_time: self.log_retention_time,
        }
    }
}

fn unknown(name: &str) -> String {
    let closest = KEYS.iter().map(|key| (distance(name, key.name), key.name)).min();
    match closest {
        Some((distance, closest)) if distance <= 1 + name.len() / 4 => format!("unknown key; did you mean {closest}?"),
        _ => "unknown key; quorate start --help lists all of them".to_owned(),
    }
}

/// Letters to insert, remove or change to make one word of the other, whatever their case and dashes.
fn distance(left: &str, right: &str) -> usize {
    let letters = |text: &str| text.to_lowercase().replace('-', "_").chars().collect::<Vec<char>>();
    let (left, right) = (letters(left), letters(right));
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, letter) in left.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (index, other) in right.iter().enumerate() {
            let change = diagonal + usize::from(letter != other);
            diagonal = row[index + 1];
            row[index + 1] = change.min(diagonal + 1).min(row[index] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests;
