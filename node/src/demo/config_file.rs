//! The configuration file of an instance that shares one machine with the others, as the demo and the test harness write it.
//! The keys are those of `quorate start --config`; this is the only place that writes them.

use std::path::PathBuf;

use toml::{Table, Value};

/// What differs from instance to instance.
#[derive(Clone, Debug)]
pub struct InstanceConfig {
    /// Name of the instance.
    pub instance: String,
    /// Data directory.
    pub data: PathBuf,
    /// Where it listens for SQL clients.
    pub sql_listen: String,
    /// Where it listens for operators and the other instances.
    pub peer_listen: String,
    /// Where the others reach it; differs from `peer_listen` when a proxy stands between.
    pub peer_address: String,
    /// Whether it is a management instance too.
    pub management: bool,
    /// Where the management instances are reached, this one included if it is one.
    pub management_peers: Vec<String>,
    /// Further keys, such as limits under test; they win over the others.
    pub extra: Table,
}

impl InstanceConfig {
    /// The file's text.
    pub fn to_toml(&self) -> String {
        let strings = |texts: &[&str]| Value::Array(texts.iter().map(|text| Value::from(*text)).collect());
        let peers: Vec<&str> = self.management_peers.iter().map(String::as_str).collect();
        let mut table = Table::from_iter([
            ("instance".to_owned(), Value::from(self.instance.as_str())),
            ("host".to_owned(), Value::from("localhost")),
            ("roles".to_owned(), strings(if self.management { &["data", "management"] } else { &["data"] })),
            ("data".to_owned(), Value::from(self.data.to_string_lossy().as_ref())),
            ("sql_listen".to_owned(), Value::from(self.sql_listen.as_str())),
            ("peer_listen".to_owned(), Value::from(self.peer_listen.as_str())),
            ("peer_address".to_owned(), Value::from(self.peer_address.as_str())),
            ("management_peers".to_owned(), strings(&peers)),
            ("single_host".to_owned(), Value::from(true)),
        ]);
        table.extend(self.extra.clone());
        table.to_string()
    }
}
