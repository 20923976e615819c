//! What a configuration may say, and what is said about one that is wrong.

use std::io::Write as _;

use clap::{Args as _, Command, FromArgMatches as _};

use super::*;

const MINIMAL: &str = "host = 'host1'\ndata = '/var/lib/quorate'\n";

fn read(text: &str) -> Result<Config, ConfigError> {
    Config::from_table(&text.parse().expect("the test's text is TOML"), None)
}

fn complaints(text: &str) -> Vec<String> {
    match read(text) {
        Err(ConfigError::Wrong(wrong)) => wrong.keys.into_iter().map(|(key, what)| format!("{key}: {what}")).collect(),
        other => panic!("{other:?}"),
    }
}

fn flags(line: &str) -> ConfigArgs {
    let command = ConfigArgs::augment_args(Command::new("start"));
    let matches = command.try_get_matches_from(line.split(' ')).expect("parses");
    ConfigArgs::from_arg_matches(&matches).expect("flags are read")
}

#[test]
fn little_is_needed() {
    let config = read(MINIMAL).expect("complete");
    assert_eq!(config.instance, "instance1");
    assert_eq!(config.roles, [Role::Data, Role::Management]);
    assert_eq!(config.sql_address.to_string(), "127.0.0.1:7500");
    assert_eq!(config.peer_address.to_string(), "127.0.0.1:7510");
    assert_eq!(config.management_peers, std::slice::from_ref(&config.peer_address));
    assert_eq!((config.memory_limit, config.max_connections, config.durability), (512 << 20, 200, 1));
    assert_eq!(config.replica_set_timeout, Duration::from_secs(5));
    assert_eq!((config.read_lease, config.insecure, config.data_space_group), (false, false, None));
}

#[test]
fn every_key_can_be_given() {
    let text = "
        grid = 'grid1'
        instance = 'instance2'
        data_space_group = 2
        roles = ['management']
        data = 'd'
        sql_listen = '127.0.0.1:1001'
        sql_address = 'host1:1001'
        peer_listen = '[::1]:1002'
        peer_address = 'host1:1002'
        management_peers = ['host1:1002', 'host2:1002']
        single_host = true
        insecure = false
        durability = 1
        memory_limit = 268435456
        transaction_memory = '2MiB'
        max_connections = 7
        read_lease = 'off'
        replica_set_timeout = '2s'
        deadlock_timeout = '50ms'
        in_doubt_patience = '1s'
        heartbeat = '50ms'
        election_min = '100ms'
        election_max = '200ms'
        log_retention = '64MiB'
        log_retention_time = '10min'
        host = 'localhost'
    ";
    let table: toml::Table = text.parse().expect("TOML");
    assert_eq!(table.len(), KEYS.len(), "the test names every key");
    let config = read(text).expect("allowed");
    assert_eq!(config.grid.as_deref(), Some("grid1"));
    assert_eq!(config.peer_listen.to_string(), "[::1]:1002");
    assert_eq!((config.memory_limit, config.transaction_memory), (256 << 20, 2 << 20));
    assert_eq!((config.heartbeat, config.log_retention_time), (Duration::from_millis(50), Duration::from_secs(600)));
    assert!(!config.insecure && !config.read_lease && config.single_host);
}

#[test]
fn read_leases_are_refused_by_name() {
    let error = read(&format!("{MINIMAL}read_lease = true")).expect_err("refused").to_string();
    assert!(error.contains("read_lease: not available yet"), "{error}");
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = "
        durabilty = 1
        elephants = 3
        roles = ['date']
        sql_listen = '0.0.0.0:7500'
        memory_limit = '12 parsecs'
        heartbeat = 150
        max_connections = 0
        election_min = '100ms'
    ";
    assert_eq!(
        complaints(text),
        [
            "durabilty: unknown key; did you mean durability?",
            "elephants: unknown key; quorate start --help lists all of them",
            "host: missing: the name of this machine, by which copies are kept apart",
            "roles: \"date\" is no role; roles are data and management",
            "data: missing: the directory in which everything is kept",
            "sql_listen: 0.0.0.0:7500 can be reached from other machines, and there is neither TLS nor a password yet: \
         listen on a loopback address, or set insecure = true",
            "sql_address: 0.0.0.0:7500 means every address of the machine; name the one to connect to (it follows sql_listen by default)",
            "memory_limit: \"12 parsecs\" is not a number of bytes, such as 512MiB",
            "max_connections: from 1 to 10000",
            "heartbeat: 150 is not a time with its unit, such as 150ms, 5s, 10min or 1h",
        ]
    );
}

#[test]
fn doors_stay_closed_unless_asked_for() {
    let open = format!("{MINIMAL}sql_listen = '10.0.0.1:7500'\npeer_listen = 'host1:7510'\n");
    let complaints = complaints(&open);
    assert!(complaints.len() == 2 && complaints.iter().all(|what| what.contains("insecure = true")), "{complaints:?}");
    assert!(read(&format!("{open}insecure = true\n")).is_ok());
}

#[test]
fn management_peers_fit_the_roles() {
    let peers = |roles: &str, peers: &str| format!("{MINIMAL}roles = '{roles}'\nmanagement_peers = '{peers}'\n");
    assert_eq!(
        complaints(&peers("data,management", "host2:7510")),
        [
            "management_peers: it has to contain the instance's own peer_address 127.0.0.1:7510, since it has the management role"
        ]
    );
    assert_eq!(
        complaints(&format!("{MINIMAL}roles = 'data'\n")),
        ["management_peers: it has to name the management instances, of which this is none by its roles"]
    );
    assert!(read(&peers("data", "host2:7510")).is_ok());
    assert_eq!(
        complaints(&peers("management", "127.0.0.1:7510,127.0.0.1:7511")),
        [
            "single_host: management_peers names several instances on this machine: set single_host = true if this is a trial"
        ]
    );
    assert_eq!(
        complaints(&peers("management", "127.0.0.1:7510,127.0.0.1:7510")),
        ["management_peers: an address is in it twice"]
    );
}

#[test]
fn elections_leave_room_for_heartbeats() {
    let times = |min: &str, max: &str| format!("{MINIMAL}election_min = '{min}'\nelection_max = '{max}'\n");
    assert_eq!(
        complaints(&times("200ms", "220ms")),
        [
            "election_min: at least twice the heartbeat, or one late heartbeat deposes a leader",
            "election_max: at least 50ms above election_min, or candidates meet again and again",
        ]
    );
    assert_eq!(
        complaints(&times("300ms", "6s")),
        ["replica_set_timeout: at least election_max, or no operation outlives an ordinary failover"]
    );
}

#[test]
fn addresses_are_host_and_port() {
    for wrong in ["host1", "host1:", ":7500", "host1:70000", "::1:7500", "[host1]:7500", "http://host1:7500"] {
        assert!(wrong.parse::<Address>().is_err(), "{wrong}");
    }
    assert!("host1:0".parse::<Address>().expect_err("refused").contains("port 0"));
    let six: Address = "[::1]:7500".parse().expect("an address");
    assert!(six.is_loopback());
    assert_eq!(six.to_string(), "[::1]:7500");
}

#[test]
fn flags_win_over_the_file() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(format!("{MINIMAL}instance = 'a'\nmax_connections = 5\n").as_bytes()).expect("written");
    let path = file.path().display();
    let config = Config::load(&flags(&format!("start --config {path} --instance b --insecure on --single_host")));
    let config = config.expect("allowed");
    assert_eq!((config.instance.as_str(), config.max_connections), ("b", 5));
    assert!(config.insecure && config.single_host);
}

#[test]
fn errors_name_the_file() {
    let args = ConfigArgs { config: Some("/nowhere/quorate.toml".into()), flags: Vec::new() };
    let error = Config::load(&args).expect_err("there is no such file");
    assert!(error.to_string().starts_with("read configuration /nowhere/quorate.toml"), "{error}");
    let wrong = Wrong { file: Some("q.toml".into()), keys: vec![("data".to_owned(), "missing".to_owned())] };
    assert_eq!(wrong.to_string(), "the configuration q.toml cannot be used:\n  data: missing");
}

#[test]
fn keys_are_consistent() {
    for key in KEYS {
        assert_eq!(key.flag, key.name.replace('_', "-"));
        let documented = key.default.is_some() || key.help.contains("Without it") || key.help.contains("Required");
        assert!(documented, "{} says what happens without it", key.name);
    }
    ConfigArgs::augment_args(Command::new("start")).debug_assert();
}
