//! The instances as child processes: started, started again when they die, ended together with the demo.
//!
//! A child watches its standard input (`--exit-with-parent`) and ends itself when that closes, which the kernel does when
//! this process ends in any way, `kill -9` included. Closing it is also how a child is asked to stop. Each child has a process group
//! of its own, so that Ctrl-C in the terminal reaches the prompt and not the instances.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::layout::{Instance, Layout};

/// Restarts of one instance within [`RESTART_WINDOW`] before it is given up.
const RESTARTS_MAX: usize = 5;
/// See [`RESTARTS_MAX`].
const RESTART_WINDOW: Duration = Duration::from_secs(300);
/// How long an instance may take to stop cleanly before it is ended by force.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// Bytes of a log's end that an error shows.
const LOG_TAIL_BYTES: u64 = 1500;

/// What happened to a child.
#[derive(Debug)]
pub enum Event {
    /// It ended without having been asked, and runs again.
    Restarted {
        /// Its name.
        instance: String,
        /// How it ended.
        ended: ExitStatus,
        /// Its new process id.
        pid: u32,
    },
    /// It ended too often, or could not be started; it stays down.
    GivenUp {
        /// Its name.
        instance: String,
        /// Why.
        reason: String,
        /// Its log.
        log: PathBuf,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Restarted { instance, ended, pid } => {
                write!(formatter, "{instance} ended ({ended}); started again as pid {pid}")
            }
            Event::GivenUp { instance, reason, log } => {
                let (log, tail) = (log.display(), tail(log));
                write!(
                    formatter,
                    "{instance} stays down until the demo is started again: {reason}\nthe end of {log}:\n{tail}"
                )
            }
        }
    }
}

/// All instances of the demo.
#[derive(Debug)]
pub struct Children {
    supervised: Vec<Supervised>,
    stop: watch::Sender<bool>,
}

#[derive(Debug)]
struct Supervised {
    number: u16,
    pid: watch::Receiver<Option<u32>>,
    task: JoinHandle<()>,
}

impl Children {
    /// Starts every instance of the layout.
    pub fn start(layout: &Layout) -> anyhow::Result<(Children, mpsc::UnboundedReceiver<Event>)> {
        let program = std::env::current_exe().context("find this program, which each instance runs")?;
        let (stop, stopped) = watch::channel(false);
        // Unbounded is bounded here: each child makes at most RESTARTS_MAX + 1 events in a window of minutes.
        let (events, received) = mpsc::unbounded_channel();
        let mut supervised = Vec::new();
        for instance in layout.instances() {
            let child = spawn(&program, &instance).with_context(|| format!("start {}", instance.name))?;
            let (pid_sender, pid) = watch::channel(child.id());
            let number = instance.number;
            let task =
                tokio::spawn(supervise(program.clone(), instance, child, pid_sender, stopped.clone(), events.clone()));
            supervised.push(Supervised { number, pid, task });
        }
        Ok((Children { supervised, stop }, received))
    }

    /// Process id of an instance, when it runs.
    pub fn pid(&self, number: u16) -> Option<u32> {
        self.supervised.iter().find(|child| child.number == number).and_then(|child| *child.pid.borrow())
    }

    /// Stops all instances at the same time, and returns when they have ended.
    pub async fn stop(&mut self) {
        self.stop.send_replace(true);
        for child in self.supervised.drain(..) {
            // A supervisor that panicked has dropped its child, which ends it.
            let _ = child.task.await;
        }
    }
}

fn spawn(program: &Path, instance: &Instance) -> anyhow::Result<Child> {
    let log = File::options()
        .create(true)
        .append(true)
        .open(&instance.log)
        .with_context(|| format!("open {}", instance.log.display()))?;
    Command::new(program)
        .arg("start")
        .arg("--config")
        .arg(&instance.config)
        .arg("--exit-with-parent")
        .stdin(Stdio::piped())
        .stdout(log.try_clone().context("share the log")?)
        .stderr(log)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("run {}", program.display()))
}

/// Keeps one instance running until it is asked to stop or ends too often.
async fn supervise(
    program: PathBuf,
    instance: Instance,
    mut child: Child,
    pid: watch::Sender<Option<u32>>,
    mut stop: watch::Receiver<bool>,
    events: mpsc::UnboundedSender<Event>,
) {
    let mut restarts: VecDeque<Instant> = VecDeque::new();
    // Held apart from the child, since waiting for a child closes its standard input, which would ask it to end.
    let mut lifeline = child.stdin.take();
    let give_up = |reason: String| {
        // Nobody listens any more only when the demo is ending.
        let _ = events.send(Event::GivenUp { instance: instance.name.clone(), reason, log: instance.log.clone() });
    };
    loop {
        let ended = tokio::select! {
            ended = child.wait() => Some(ended),
            // Also when the sender is gone: then nobody is left to run for.
            () = async { drop(stop.wait_for(|stop| *stop).await) } => None,
        };
        let Some(ended) = ended else { return end(child, lifeline).await };
        pid.send_replace(None);
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => return give_up(format!("its end cannot be awaited: {error}")),
        };
        let now = Instant::now();
        while restarts.front().is_some_and(|at| now.duration_since(*at) > RESTART_WINDOW) {
            restarts.pop_front();
        }
        if restarts.len() == RESTARTS_MAX {
            return give_up(format!(
                "it ended ({ended}) and was already started again {RESTARTS_MAX} times in {} s",
                RESTART_WINDOW.as_secs()
            ));
        }
        restarts.push_back(now);
        child = match spawn(&program, &instance) {
            Ok(child) => child,
            Err(error) => return give_up(format!("{error:#}")),
        };
        lifeline = child.stdin.take();
        pid.send_replace(child.id());
        let started = child.id().unwrap_or_default();
        let _ = events.send(Event::Restarted { instance: instance.name.clone(), ended, pid: started });
    }
}

/// Asks a child to stop, and ends it by force when it does not.
async fn end(mut child: Child, lifeline: Option<ChildStdin>) {
    drop(lifeline);
    if tokio::time::timeout(STOP_LIMIT, child.wait()).await.is_err() {
        // It can only fail when the child has ended, which is what is wanted.
        let _ = child.kill().await;
    }
}

/// The last lines of a log, for an error.
fn tail(log: &Path) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    };
    read().unwrap_or_else(|error| format!("(cannot be read: {error})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(folder: &Path) -> Instance {
        Instance {
            number: 1,
            name: "instance1".to_owned(),
            sql_port: 0,
            peer_port: 0,
            config: folder.join("quorate.toml"),
            log: folder.join("instance.log"),
        }
    }

    /// A script stands in for the server: `spawn` gives it `start --config … --exit-with-parent`.
    fn script(folder: &Path, body: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.join("server");
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    async fn run(body: &str, folder: &Path) -> (mpsc::UnboundedReceiver<Event>, watch::Sender<bool>, JoinHandle<()>) {
        let (program, instance) = (script(folder, body), instance(folder));
        let (stop, stopped) = watch::channel(false);
        let (events, received) = mpsc::unbounded_channel();
        let child = spawn(&program, &instance).unwrap();
        let (pid, _) = watch::channel(child.id());
        (received, stop, tokio::spawn(supervise(program, instance, child, pid, stopped, events)))
    }

    #[tokio::test]
    async fn an_instance_that_keeps_dying_is_given_up_after_five_restarts_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let (mut events, _stop, task) = run("echo broken configuration >&2; exit 7", folder.path()).await;
        for _ in 0..RESTARTS_MAX {
            assert!(matches!(events.recv().await, Some(Event::Restarted { .. })));
        }
        let last = events.recv().await.unwrap();
        assert!(matches!(last, Event::GivenUp { .. }));
        assert!(last.to_string().contains("broken configuration"), "{last}");
        task.await.unwrap();
    }

    #[tokio::test]
    async fn stopping_closes_the_standard_input_and_lets_the_child_end_cleanly() {
        let folder = tempfile::tempdir().unwrap();
        let (mut events, stop, task) = run("read line; echo stopped cleanly", folder.path()).await;
        stop.send_replace(true);
        task.await.unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("instance.log")).unwrap(), "stopped cleanly\n");
        assert!(events.recv().await.is_none(), "an end that was asked for is no event");
    }
}
