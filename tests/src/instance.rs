//! One instance: a `quorate start` process with its configuration file, its data and its log.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// What is logged: the default, and what consensus does about logs and copies.
const LOGS: &str = "info,openraft=off,quorate_raft=debug";

/// A program of this build, beside the tests' own binary.
///
/// # Panics
/// When it has not been built.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a running program has a path");
    // target/release/deps/it-0123456789abcdef
    let folder = own.parent().and_then(Path::parent).expect("cargo puts tests two folders deep");
    let program = folder.join(name);
    assert!(
        program.exists(),
        "{} is missing: run `make test`, or `cargo build --release --workspace --bins` first",
        program.display()
    );
    program
}

/// An instance, running or not.
#[derive(Debug)]
pub struct Instance {
    /// From 1.
    pub number: usize,
    /// Port for SQL clients.
    pub sql_port: u16,
    /// Port on which it listens for operators and the other instances.
    pub peer_port: u16,
    folder: PathBuf,
    child: Option<Child>,
}

impl Instance {
    /// An instance with this configuration, not yet started.
    pub fn new(number: usize, sql_port: u16, peer_port: u16, folder: PathBuf, config: &str) -> Instance {
        std::fs::create_dir_all(&folder).expect("the temporary directory can be written");
        std::fs::write(folder.join("quorate.toml"), config).expect("the temporary directory can be written");
        Instance { number, sql_port, peer_port, folder, child: None }
    }

    /// `instance1` and so on.
    pub fn name(&self) -> String {
        format!("instance{}", self.number)
    }

    /// Its data directory.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Starts the process, with failpoints in the form `name=action`, and gives its process id.
    ///
    /// # Panics
    /// When it runs already.
    pub fn start(&mut self, failpoints: &[String]) -> u32 {
        assert!(!self.is_running(), "{} runs already", self.name());
        let log =
            File::options().create(true).append(true).open(self.log()).expect("the temporary directory can be written");
        let mut command = Command::new(program("quorate"));
        // It ends with the test process, even if that is killed: its standard input closes then.
        command.arg("start").arg("--config").arg(self.folder.join("quorate.toml")).arg("--exit-with-parent");
        command.env("QUORATE_LOG", LOGS);
        for failpoint in failpoints {
            command.arg("--failpoint").arg(failpoint);
        }
        command.stdin(Stdio::piped()).stdout(log.try_clone().expect("a file handle can be copied")).stderr(log);
        let child = command.spawn().expect("the program can be run");
        self.child.insert(child).id()
    }

    /// Whether the process runs (a paused one does).
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// How it ended, when it has.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().ok().flatten())
    }

    /// `kill -9`. Returns when the process is gone.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Both fail only for a process that has ended, which is what is wanted.
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// Sends a signal by name, such as `TERM`, `STOP` or `CONT`.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("only a started instance gets signals").id();
        let sent = Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().expect("kill is there");
        assert!(sent.success(), "signal {name} to {} (pid {pid})", self.name());
    }

    /// The most memory that the process has had resident since its start, in bytes.
    ///
    /// # Panics
    /// When it does not run.
    pub fn peak_memory(&self) -> u64 {
        let pid = self.child.as_ref().expect("only a started instance has memory").id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process has a status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the status tells the peak");
        let kilobytes: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number of kilobytes");
        kilobytes << 10
    }

    /// Waits until the process has ended by itself, and says how.
    ///
    /// # Panics
    /// When it still runs after `limit`.
    pub async fn ended(&mut self, limit: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.exit_status() {
                return status;
            }
            assert!(start.elapsed() < limit, "{} still runs after {limit:?}", self.name());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything it has said since the test began.
    pub fn log_text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log()).unwrap_or_default()).into_owned()
    }

    fn log(&self) -> PathBuf {
        self.folder.join("instance.log")
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
    }
}
