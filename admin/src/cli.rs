//! The grammar of the command line, and with it every help text.

use clap::{Args, Parser, Subcommand};
use quorate_proto::DEFAULT_PEER_PORT;

/// Names the variable that is used when `--at` is not given.
pub const AT_VARIABLE: &str = "QUORATE_AT";

const AFTER_HELP: &str = "\
Command and option names are accepted in any case, options with one dash or two: dbStatus demo -replicaset.
Commands that change something record the wanted state and return; -wait follows them until it is reached.

First steps:
  quorate-admin gridCreate grid1 -k 3     make a grid of the running instances, three copies of every row
  quorate-admin dbCreate demo -wait       create a database on all of them, and load it
  quorate-admin dbOpen demo -wait         let clients in
  quorate-admin dbStatus demo -all        see how it is, at any time

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 unreachable, 4 timed out waiting.";

/// Administers a Quorate grid.
///
/// Speaks to any instance of the grid, which passes commands on to the active management instance.
#[derive(Debug, Parser)]
#[command(name = "quorate-admin", version, after_help = AFTER_HELP, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    /// Instances to ask, in this order, until one answers: HOST:PORT of their peer addresses.
    ///
    /// Default: the variable QUORATE_AT, else the first instance's default port on this machine.
    #[arg(long, global = true, value_name = "HOST:PORT[,…]", value_delimiter = ',', default_values_t = default_at(),
        value_parser = address)]
    pub at: Vec<String>,
    /// Print answers as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// `HOST:PORT`, or what is wrong with it.
fn address(text: &str) -> Result<String, String> {
    let Some((host, port)) = text.rsplit_once(':') else { return Err("the port is missing: HOST:PORT".to_owned()) };
    if host.is_empty() || host.contains('/') {
        return Err("the host is missing: HOST:PORT".to_owned());
    }
    match port.parse::<u16>() {
        Ok(1..) => Ok(text.to_owned()),
        Ok(0) | Err(_) => Err("the port is a number from 1 to 65535".to_owned()),
    }
}

fn default_at() -> Vec<String> {
    match std::env::var(AT_VARIABLE) {
        Ok(value) if !value.is_empty() => value.split(',').map(str::to_owned).collect(),
        _ => vec![format!("127.0.0.1:{DEFAULT_PEER_PORT}")],
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
#[command(rename_all = "camelCase")]
pub enum Command {
    /// Make the grid, once, out of the instances that wait for it.
    GridCreate {
        /// Name of the grid.
        name: String,
        /// Copies of every row: 1, 3 or 5.
        #[arg(short, long, default_value_t = 3)]
        k: u32,
    },
    /// Show the grid and its instances.
    GridDisplay,
    /// Show what happened in the grid, the newest last: changes, and every transition of an element with its cause.
    GridEvents {
        /// How many of the newest; 1000 are kept.
        #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1000))]
        last: u32,
    },
    /// Create a database on all data instances, and load it.
    DbCreate {
        /// Name of the database.
        database: String,
        /// Number of replica sets. Default: data instances / k.
        #[arg(long = "replica-sets", value_name = "N")]
        replica_sets: Option<u32>,
        /// Repeat the creation that failed, on this instance only: HOST[.INSTANCE].
        #[arg(long, value_name = "INSTANCE", conflicts_with = "replica_sets")]
        instance: Option<String>,
        /// Whether to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Load a database into memory; repeat what failed to load.
    DbLoad {
        /// Name of the database.
        database: String,
        /// Of what failed, repeat only what is on this instance: HOST[.INSTANCE].
        #[arg(long, value_name = "INSTANCE")]
        instance: Option<String>,
        /// Whether to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Let clients into a loaded database; repeat what failed to open.
    DbOpen {
        /// Name of the database.
        database: String,
        /// Whether to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Let no more clients in; the database stays in memory.
    DbClose {
        /// Name of the database.
        database: String,
        /// Whether to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Take a closed database out of memory.
    DbUnload {
        /// Name of the database.
        database: String,
        /// Although it is open, closing or has sessions; they end.
        #[arg(long)]
        force: bool,
        /// Whether to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// End the sessions of a database.
    DbDisconnect {
        /// Name of the database.
        database: String,
        /// How.
        #[command(flatten)]
        mode: ModeArgs,
        /// Whether to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// Show how far the newest dbDisconnect has come.
    DbDisconnectStatus {
        /// Name of the database.
        database: String,
    },
    /// Destroy an unloaded database, with all its data, for ever.
    DbDestroy {
        /// Name of the database.
        database: String,
        /// Destroy only what is outside the distribution map on this instance: HOST[.INSTANCE].
        #[arg(long, value_name = "INSTANCE")]
        instance: Option<String>,
        /// Whether to wait.
        #[command(flatten)]
        wait: WaitArgs,
    },
    /// List all databases, and whether they are loaded and open.
    DbList,
    /// Show the state of a database, or of all.
    DbStatus {
        /// Name of the database. Default: all of them.
        database: Option<String>,
        /// Which sections.
        #[command(flatten)]
        sections: SectionArgs,
        /// Show it again every so many seconds (2 if left out), until interrupted.
        #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "2",
            value_parser = clap::value_parser!(u64).range(1..))]
        watch: Option<u64>,
    },
    /// List the open transactions of a database, oldest first.
    XactList {
        /// Name of the database.
        database: String,
    },
    /// Roll a transaction back by ending its session.
    XactRollback {
        /// Name of the database.
        database: String,
        /// The transaction, as xactList shows it.
        transaction: String,
    },
    /// Compare all replicas of every replica set at one position of its log. A replica without a hash after 120 s is not compared.
    DbVerify {
        /// Name of the database.
        database: String,
    },
}

/// Whether a command waits for what it started.
#[derive(Clone, Copy, Debug, Args)]
pub struct WaitArgs {
    /// Return when every element has reached the wanted state, or after so many seconds; 0: no limit.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "0")]
    pub wait: Option<u64>,
    /// Return at once. This is the default.
    #[arg(long, conflicts_with = "wait")]
    pub nowait: bool,
}

/// How `dbDisconnect` treats sessions; one has to be chosen.
#[derive(Clone, Copy, Debug, Args)]
#[group(required = true, multiple = false)]
pub struct ModeArgs {
    /// End each session when its open transaction ends; those without one stay.
    #[arg(long)]
    pub transactional: bool,
    /// Roll back what is open and end all sessions.
    #[arg(long)]
    pub immediate: bool,
    /// The same, cutting the connections without a word: for clients that do not react.
    #[arg(long)]
    pub abort: bool,
}

impl ModeArgs {
    /// The word of the protocol.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self { transactional: true, .. } => "transactional",
            Self { abort: true, .. } => "abort",
            Self { .. } => "immediate",
        }
    }
}

/// Sections of `dbStatus`.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct SectionArgs {
    /// Counters of the database. This is the default.
    #[arg(long)]
    pub summary: bool,
    /// Every element with its status, the time of its last event, and a message.
    #[arg(long)]
    pub element: bool,
    /// The replica sets of the distribution map.
    #[arg(long)]
    pub replicaset: bool,
    /// The data space groups of the distribution map.
    #[arg(long)]
    pub dataspacegroup: bool,
    /// All four sections.
    #[arg(long)]
    pub all: bool,
    /// What each instance itself says of its elements: role, log position, transactions in doubt, size.
    #[arg(long)]
    pub details: bool,
    /// For each replica set, whether its elements can be loaded: before a dbLoad.
    #[arg(long = "load-readiness")]
    pub load_readiness: bool,
    /// The sessions on all instances.
    #[arg(long)]
    pub connections: bool,
}

impl SectionArgs {
    /// Whether a part of the recorded status is among them.
    #[must_use]
    pub fn shows_status(self) -> bool {
        self.summary || self.element || self.replicaset || self.dataspacegroup
    }

    /// With `-all` and the default spelt out.
    #[must_use]
    pub fn resolved(self) -> Self {
        let none = !(self.shows_status() || self.all || self.details || self.load_readiness || self.connections);
        Self {
            summary: self.summary || self.all || none,
            element: self.element || self.all,
            replicaset: self.replicaset || self.all,
            dataspacegroup: self.dataspacegroup || self.all,
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sections_default_to_the_summary() {
        let parse = |line: &str| match Cli::try_parse_from(line.split(' ')).expect("parses").command {
            Command::DbStatus { sections, .. } => sections.resolved(),
            other => panic!("{other:?}"),
        };
        assert!(parse("a dbStatus demo").summary);
        let element = parse("a dbStatus demo --element");
        assert!(element.element && !element.summary);
        let all = parse("a dbStatus --all");
        assert!(all.summary && all.element && all.replicaset && all.dataspacegroup);
    }
}
