//! `quorate sql`: the SQL prompt and script runner.
//!
//! It is a PostgreSQL client like any other and knows nothing of the grid but what a client sees; several hosts in the URL
//! name several gateways of one database, and the shell moves on to the next one when a connection is lost.
//!
//! - [`wire`] speaks the protocol and keeps the transaction's state as the server reports it
//! - [`splitter`] cuts lines into statements and backslash commands
//! - [`table`] lays out results
//! - [`source`] is where lines come from: terminal, file, standard input, `-c`
//! - [`prompt`] joins them, [`command`] holds the backslash commands
//!
//! Failures: an error of a statement is printed and, in scripts, ends the run (exit code 3); a lost connection ends a script
//! (exit code 2) and makes the prompt reconnect. Nothing is ever repeated by itself: when the connection was lost while a statement ran,
//! its outcome is unknown and the shell says so.

use std::io::Write;
use std::path::PathBuf;

pub mod command;
pub mod prompt;
pub mod source;
pub mod splitter;
pub mod table;
pub mod wire;

/// Where the shell connects when no URL is given.
pub const DEFAULT_URL: &str = "postgres://127.0.0.1:7500/demo";

/// The run ended well.
pub const EXIT_OK: i32 = 0;
/// A wrong URL, an unreadable file, or no server to connect to.
pub const EXIT_FATAL: i32 = 1;
/// The connection was lost while a script ran.
pub const EXIT_CONNECTION: i32 = 2;
/// A statement of a script failed.
pub const EXIT_SCRIPT: i32 = 3;

/// Command line of `quorate sql`.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Exit codes: 0 done, 1 a wrong URL, an unreadable file or no connection, 2 wrong flags or connection lost, 3 a statement failed."
)]
pub struct Args {
    /// The database: postgres://[USER@]HOST:PORT[,HOST:PORT…]/DATABASE; with several hosts the next one is tried when one fails
    #[allow(rustdoc::broken_intra_doc_links, reason = "the brackets are the help's")]
    #[arg(default_value = DEFAULT_URL)]
    pub url: String,
    /// Run this and leave; statements in one -c are one transaction; may be repeated, runs before any -f
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    pub commands: Vec<String>,
    /// Run a script and leave ("-" is standard input); may be repeated
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Go on after a statement of a script failed; the exit code is 3 all the same
    #[arg(long)]
    pub keep_going: bool,
    /// Rows only: no headings, no row counts
    #[arg(short = 't', long)]
    pub tuples_only: bool,
    /// Columns parted by "|" instead of aligned
    #[arg(short = 'A', long)]
    pub no_align: bool,
    /// No greeting and no command tags
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

impl Default for Args {
    fn default() -> Args {
        Args {
            url: DEFAULT_URL.to_string(),
            commands: Vec::new(),
            files: Vec::new(),
            keep_going: false,
            tuples_only: false,
            no_align: false,
            quiet: false,
        }
    }
}

/// Runs the shell on the terminal (or on standard input, if that is none) until it ends, and returns the exit code.
pub async fn run(args: Args) -> i32 {
    run_with(args, Box::new(std::io::stdout()), Box::new(std::io::stderr())).await
}

/// [`run`] with the results and the messages written elsewhere.
pub async fn run_with(args: Args, results: Box<dyn Write + Send>, messages: Box<dyn Write + Send>) -> i32 {
    prompt::run(args, results, messages).await
}
