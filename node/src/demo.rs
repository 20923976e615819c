//! `quorate demo`: a whole grid on this machine, from one command.
//!
//! It lays out a directory ([`layout`]), runs each instance as a child process and starts it again when it dies ([`children`]),
//! makes the grid and the database `demo` through the same service that `quorate-admin` uses ([`setup`]), loads a small
//! sample schema, says where everything is, and opens the SQL prompt or waits in the foreground.
//!
//! Everything that it does is repeatable: a demo that was cut off half way, or stopped and started again on its
//! directory, goes on where it was. The children end when it ends, however it ends, because each watches the pipe that is
//! its standard input.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use self::children::{Children, Event};
use self::layout::Layout;

mod children;
pub mod config_file;
pub mod layout;
mod setup;

/// The database that the demo makes.
pub const DATABASE: &str = "demo";

/// Command line of `quorate demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// Where the instances keep their data; an existing demo there comes back with its data
    /// [default: $XDG_DATA_HOME/quorate/demo, or ~/.local/share/quorate/demo]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// SQL port of the first instance; the others follow, and the ports for operators and peers are ten higher [default: 7500]
    #[arg(long, value_name = "N")]
    pub base_port: Option<u16>,
    /// Number of instances: 1 (one copy of every row), or 3, 6 or 9 (three copies) [default: 3]
    #[arg(long, value_name = "N")]
    pub instances: Option<u16>,
    /// Number of replica sets over which rows are spread [default: the number of instances]
    #[arg(long, value_name = "N")]
    pub replica_sets: Option<u32>,
    /// Stay in the foreground without a SQL prompt, until Ctrl-C
    #[arg(long)]
    pub no_shell: bool,
}

/// Runs the demo until its prompt is left or a signal ends it. All children have ended when this returns.
///
/// # Errors
/// Says what is wrong with the arguments, the directory or the ports, or which instance cannot run, with the end of its log.
pub async fn run(args: DemoArgs) -> anyhow::Result<()> {
    let mut layout = Layout::open(&args)?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch for Ctrl-C")?;
    let mut terminate = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
    let mut hangup = signal(SignalKind::hangup()).context("watch for SIGHUP")?;

    say(&format!("{} in {}", layout.describe(), layout.folder().display()));
    let (mut children, mut events) = Children::start(&layout)?;

    let ready = tokio::select! {
        done = setup::bring_up(&mut layout) => done.map(|()| true),
        lost = given_up(&mut events) => Err(lost),
        _ = interrupt.recv() => Ok(false),
        _ = terminate.recv() => Ok(false),
        _ = hangup.recv() => Ok(false),
    };
    let ended = match ready {
        Ok(true) => {
            for instance in layout.instances() {
                let pid = children.pid(instance.number).map_or("-".to_owned(), |pid| pid.to_string());
                say(&format!("{} pid {pid} {} admin {}", instance.name, instance.url(), instance.peer_address()));
            }
            say("ready");
            let foreground = async {
                if args.no_shell {
                    interrupt.recv().await;
                } else {
                    // Ctrl-C belongs to the prompt here: it cancels the line or the statement.
                    let shell = quorate_shell::Args { url: layout.url(), ..quorate_shell::Args::default() };
                    quorate_shell::run(shell).await;
                }
            };
            // An instance that is given up does not end the demo: seeing the others go on is what it is for.
            let report = async {
                while let Some(event) = events.recv().await {
                    complain(&event);
                }
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = foreground => {}
                () = report => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            Ok(())
        }
        Ok(false) => Ok(()),
        Err(error) => Err(error),
    };
    children.stop().await;
    if ended.is_ok() {
        say(&format!("stopped; the data stays in {}", layout.folder().display()));
    }
    ended
}

/// Waits until an instance is given up, and says so as an error; restarts are reported on the way.
async fn given_up(events: &mut mpsc::UnboundedReceiver<Event>) -> anyhow::Error {
    loop {
        match events.recv().await {
            Some(event @ Event::GivenUp { .. }) => return anyhow::anyhow!("{event}"),
            Some(event) => complain(&event),
            None => std::future::pending().await,
        }
    }
}

/// A line for whoever started the demo, scripts included: it is out before anything else happens.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A closed terminal is no reason to stop the grid; the hangup signal is.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn complain(event: &Event) {
    let _ = writeln!(std::io::stderr(), "{event}");
}
