//! Entry point of `quorate-admin`.

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};
use quorate_admin::argv::normalise;
use quorate_admin::cli::Cli;
use quorate_admin::{Exit, commands};

fn main() -> ExitCode {
    let grammar = Cli::command();
    let argv = normalise(&grammar, std::env::args_os().collect());
    let parsed = grammar.try_get_matches_from(argv).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too. Nothing is left to do when they cannot be printed.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { Exit::Usage as u8 } else { Exit::Done as u8 });
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Error : start the runtime: {error}");
            return ExitCode::from(Exit::Refused as u8);
        }
    };
    ExitCode::from(runtime.block_on(commands::run(&cli)) as u8)
}
