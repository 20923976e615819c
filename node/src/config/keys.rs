//! Every key of the configuration: its name, its default, what it means, and how its value is read.

use super::value::Value;
use super::{Draft, Role};

/// One key, and the flag of the same name.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Name in the file.
    pub name: &'static str,
    /// Name as a flag, without its dashes.
    pub flag: &'static str,
    /// What kind of value it takes, for people.
    pub value: &'static str,
    /// Its default, as it could be written; `None` when it is required, optional, or follows from other keys.
    pub default: Option<&'static str>,
    /// What it means; says what happens without it where there is no default.
    pub help: &'static str,
    /// Reads a value into the draft, or says what is wrong with it.
    pub(super) set: fn(&mut Draft, Value) -> Result<(), String>,
}

/// All keys, in the order in which people should meet them.
pub const KEYS: &[Key] = &[
    Key {
        name: "grid",
        flag: "grid",
        value: "NAME",
        default: None,
        help: "Grid that the instance must belong to. Without it: the grid of its management peers",
        set: |draft, value| value.name().map(|name| draft.grid = Some(name)),
    },
    Key {
        name: "instance",
        flag: "instance",
        value: "NAME",
        default: Some("instance1"),
        help: "Name of the instance on its host",
        set: |draft, value| value.name().map(|name| draft.instance = Some(name)),
    },
    Key {
        name: "host",
        flag: "host",
        value: "NAME",
        default: None,
        help: "Name of this machine; copies of the same rows are kept on different ones. Required, unless single_host is true",
        set: |draft, value| value.text().map(|name| draft.host = Some(name)),
    },
    Key {
        name: "data_space_group",
        flag: "data-space-group",
        value: "N",
        default: None,
        help: "Placement class, 1 to k: every row has one copy in each. Without it: the grid chooses",
        set: |draft, value| value.count(u32::MAX).map(|group| draft.data_space_group = Some(group)),
    },
    Key {
        name: "roles",
        flag: "roles",
        value: "ROLE,…",
        default: Some("data,management"),
        help: "What the instance does: data, management, or both",
        set: |draft, value| {
            let mut roles = Vec::new();
            for role in value.texts()? {
                roles.push(match role.as_str() {
                    "data" => Role::Data,
                    "management" => Role::Management,
                    other => return Err(format!("\"{other}\" is no role; roles are data and management")),
                });
            }
            roles.sort_unstable();
            roles.dedup();
            if roles.is_empty() {
                return Err("at least one of data and management".to_owned());
            }
            draft.roles = roles;
            Ok(())
        },
    },
    Key {
        name: "data",
        flag: "data",
        value: "DIRECTORY",
        default: None,
        help: "Directory in which everything is kept. Required",
        set: |draft, value| value.text().map(|path| draft.data = Some(path.into())),
    },
    Key {
        name: "sql_listen",
        flag: "sql-listen",
        value: "HOST:PORT",
        default: Some("127.0.0.1:7500"),
        help: "Where to listen for PostgreSQL clients",
        set: |draft, value| value.address().map(|address| draft.sql_listen = Some(address)),
    },
    Key {
        name: "sql_address",
        flag: "sql-address",
        value: "HOST:PORT",
        default: None,
        help: "Where clients reach the instance. Without it: sql_listen",
        set: |draft, value| value.address().map(|address| draft.sql_address = Some(address)),
    },
    Key {
        name: "peer_listen",
        flag: "peer-listen",
        value: "HOST:PORT",
        default: Some("127.0.0.1:7510"),
        help: "Where to listen for operators and the other instances",
        set: |draft, value| value.address().map(|address| draft.peer_listen = Some(address)),
    },
    Key {
        name: "peer_address",
        flag: "peer-address",
        value: "HOST:PORT",
        default: None,
        help: "Where operators and the other instances reach the instance. Without it: peer_listen",
        set: |draft, value| value.address().map(|address| draft.peer_address = Some(address)),
    },
    Key {
        name: "management_peers",
        flag: "management-peers",
        value: "HOST:PORT,…",
        default: None,
        help: "peer_address of every management instance, this one included if it is one. Without it: this one alone",
        set: |draft, value| value.addresses().map(|peers| draft.management_peers = Some(peers)),
    },
    Key {
        name: "single_host",
        flag: "single-host",
        value: "BOOLEAN",
        default: Some("false"),
        help: "Several instances share this machine, each counting as a machine of its own: for trials",
        set: |draft, value| value.boolean().map(|on| draft.single_host = on),
    },
    Key {
        name: "insecure",
        flag: "insecure",
        value: "BOOLEAN",
        default: Some("false"),
        help: "Listen on addresses that other machines can reach, although there is neither TLS nor a password",
        set: |draft, value| value.boolean().map(|on| draft.insecure = on),
    },
    Key {
        name: "durability",
        flag: "durability",
        value: "N",
        default: Some("1"),
        help: "1: a commit is on the disks of a majority before it is acknowledged",
        set: |draft, value| value.count(1).map(|durability| draft.durability = durability),
    },
    Key {
        name: "memory_limit",
        flag: "memory-limit",
        value: "BYTES",
        default: Some("512MiB"),
        help: "Memory, of which caches get an eighth and large queries a quarter; write buffers, sessions and transactions take theirs beside these",
        set: |draft, value| value.bytes().map(|bytes| draft.memory_limit = bytes),
    },
    Key {
        name: "transaction_memory",
        flag: "transaction-memory",
        value: "BYTES",
        default: Some("64MiB"),
        help: "Writes that one transaction buffers before it streams them ahead",
        set: |draft, value| value.bytes().map(|bytes| draft.transaction_memory = bytes),
    },
    Key {
        name: "max_connections",
        flag: "max-connections",
        value: "N",
        default: Some("200"),
        help: "Sessions at a time",
        set: |draft, value| value.count(u32::MAX).map(|count| draft.max_connections = count as usize),
    },
    Key {
        name: "read_lease",
        flag: "read-lease",
        value: "BOOLEAN",
        default: Some("off"),
        help: "Leaders answer reads on the strength of a lease: faster, but trusts the rates of clocks",
        set: |draft, value| value.boolean().map(|on| draft.read_lease = on),
    },
    Key {
        name: "replica_set_timeout",
        flag: "replica-set-timeout",
        value: "TIME",
        default: Some("5s"),
        help: "How long an operation waits for a replica set that has no leader",
        set: |draft, value| value.time().map(|time| draft.replica_set_timeout = time),
    },
    Key {
        name: "deadlock_timeout",
        flag: "deadlock-timeout",
        value: "TIME",
        default: Some("100ms"),
        help: "When a younger transaction that holds locks gives up waiting for an older one",
        set: |draft, value| value.time().map(|time| draft.deadlock_timeout = time),
    },
    Key {
        name: "in_doubt_patience",
        flag: "in-doubt-patience",
        value: "TIME",
        default: Some("500ms"),
        help: "How long a prepared transaction waits for its outcome before the other participants are asked",
        set: |draft, value| value.time().map(|time| draft.in_doubt_patience = time),
    },
    Key {
        name: "heartbeat",
        flag: "heartbeat",
        value: "TIME",
        default: Some("150ms"),
        help: "Between two signs of life of a leader",
        set: |draft, value| value.time().map(|time| draft.heartbeat = time),
    },
    Key {
        name: "election_min",
        flag: "election-min",
        value: "TIME",
        default: Some("300ms"),
        help: "A follower that has heard nothing for election_max calls an election after a further random time of at least this",
        set: |draft, value| value.time().map(|time| draft.election_min = time),
    },
    Key {
        name: "election_max",
        flag: "election-max",
        value: "TIME",
        default: Some("600ms"),
        help: "And of at most this",
        set: |draft, value| value.time().map(|time| draft.election_max = time),
    },
    Key {
        name: "log_retention",
        flag: "log-retention",
        value: "BYTES",
        default: Some("1GiB"),
        help: "Log that is kept for a member that is behind; beyond it, the member gets a full copy",
        set: |draft, value| value.bytes().map(|bytes| draft.log_retention = bytes),
    },
    Key {
        name: "log_retention_time",
        flag: "log-retention-time",
        value: "TIME",
        default: Some("1h"),
        help: "How long log is kept for a member that is behind",
        set: |draft, value| value.time().map(|time| draft.log_retention_time = time),
    },
];
