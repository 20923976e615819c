//! `quorate`: starts an instance, a demo, or the SQL prompt.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use quorate_node::config::{Config, ConfigArgs, ConfigError};
use quorate_node::{demo, instance};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// Messages and rows are many small pieces that one thread makes and another drops, which the C library's allocator is slow at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What an instance logs. Of openraft nothing: its errors are about its own channels closing while a group stops, and what is wrong with a replica
/// ends the process with a reason of ours.
const LOGS: &str = "info,openraft=off";

/// A distributed SQL database: a grid of replicated storage nodes with an embedded SQL engine.
#[derive(Parser)]
#[command(name = "quorate", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run one instance of a grid
    Start {
        #[command(flatten)]
        config: ConfigArgs,
        /// End when standard input closes, so that the instance never outlives the process that started it
        #[arg(long)]
        exit_with_parent: bool,
        /// For tests: crash when this point is reached
        #[arg(long, value_name = "NAME=exit", hide = true)]
        failpoint: Vec<String>,
    },
    /// Run a whole grid on this machine, with a sample database and a SQL prompt
    Demo(demo::DemoArgs),
    /// Open a SQL prompt, or run statements
    Sql(quorate_shell::Args),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let is_server = matches!(arguments.command, Command::Start { .. });
    let logs = if is_server { logs_wanted() } else { EnvFilter::new("warn") };
    tracing_subscriber::fmt().with_env_filter(logs).with_writer(std::io::stderr).with_ansi(false).init();
    if is_server {
        end_on_panic();
    }
    match run(arguments.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("quorate: {error:#}");
            // As for wrong flags.
            if error.is::<ConfigError>() { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

/// What `QUORATE_LOG` asks for.
fn logs_wanted() -> EnvFilter {
    let Ok(wanted) = std::env::var("QUORATE_LOG") else { return EnvFilter::new(LOGS) };
    EnvFilter::try_new(&wanted).unwrap_or_else(|error| {
        eprintln!("quorate: QUORATE_LOG is {wanted:?}, which is not understood ({error}): logging as without it");
        EnvFilter::new(LOGS)
    })
}

/// A panic in apply or consensus leaves a replica that nobody may trust; the supervisor starts the process again.
fn end_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        let thread = std::thread::current();
        if matches!(thread.name(), Some("consensus" | "log-writer")) {
            quorate_raft::fatal("a thread of consensus panicked");
        }
    }));
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("sql")
        .enable_all()
        .build()
        .context("start the runtime")?;
    match command {
        Command::Start { config, exit_with_parent, failpoint } => {
            quorate_txn::failpoint::arm(&failpoint).map_err(anyhow::Error::msg)?;
            let config = Config::load(&config)?;
            let result = runtime.block_on(async {
                let stop = CancellationToken::new();
                tokio::spawn(stop_on_signal(stop.clone(), exit_with_parent));
                instance::run(config, stop).await
            });
            runtime.shutdown_background();
            result.map(|()| ExitCode::SUCCESS)
        }
        Command::Demo(args) => {
            let result = runtime.block_on(demo::run(args));
            runtime.shutdown_background();
            result.map(|()| ExitCode::SUCCESS)
        }
        Command::Sql(args) => {
            let code = runtime.block_on(quorate_shell::run(args));
            runtime.shutdown_background();
            Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
        }
    }
}

/// Cancels on SIGTERM or SIGINT, or when the parent has gone.
async fn stop_on_signal(stop: CancellationToken, exit_with_parent: bool) {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("cannot watch for signals");
        return;
    };
    let parent_gone = async {
        if !exit_with_parent {
            return std::future::pending().await;
        }
        let mut input = tokio::io::stdin();
        let mut bytes = [0; 64];
        while matches!(input.read(&mut bytes).await, Ok(read) if read > 0) {}
    };
    tokio::select! {
        _ = terminate.recv() => {}
        // A demo's children get the terminal's Ctrl-C as well as its parent; the parent decides when they end.
        _ = interrupt.recv(), if !exit_with_parent => {}
        () = parent_gone => {}
    }
    stop.cancel();
}
