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
    #[arg(long, global = true, value_name = "HOST:PORT[,…]", value_delimiter = ',', default_values_t = default_at())]
    pub at: Vec<String>,
    /// Print answers as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
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
        /// Repeat only what failed on this instance: HOST[.INSTANCE].
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
    /// Destroy an unloaded database, with all its data, for ever.
    DbDestroy {
        /// Name of the database.
        database: String,
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
    },
    /// Compare all replicas of every replica set at one position of its log.
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
}

impl SectionArgs {
    /// With `-all` and the default spelt out.
    #[must_use]
    pub fn resolved(self) -> Self {
        let none = !(self.summary || self.element || self.replicaset || self.dataspacegroup);
        Self {
            summary: self.summary || self.all || none,
            element: self.element || self.all,
            replicaset: self.replicaset || self.all,
            dataspacegroup: self.dataspacegroup || self.all,
            all: self.all,
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
