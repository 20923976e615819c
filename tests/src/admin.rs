//! `quorate-admin`, run as an operator would run it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use quorate_proto::admin::{DatabaseStatus, DbStatusReply, DbVerifyReply};
use tokio::io::AsyncReadExt as _;

use crate::instance::program;

/// No command that does not wait for the grid takes longer.
const LIMIT: Duration = Duration::from_secs(30);

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Exit code: 0 done, 1 refused or failed, 2 usage, 3 unreachable, 4 timed out.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ended {
    /// The output of a command that must have succeeded.
    pub fn done(self) -> anyhow::Result<String> {
        ensure!(self.code == 0, "exit code {}: {}{}", self.code, self.out, self.err);
        Ok(self.out)
    }
}

/// An operator who knows some of the instances.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Value of `--at`.
    at: String,
}

impl Admin {
    /// An operator who asks the instances with these ports, in this order.
    pub fn new(peer_ports: impl IntoIterator<Item = u16>) -> Admin {
        let addresses: Vec<String> = peer_ports.into_iter().map(|port| format!("127.0.0.1:{port}")).collect();
        Admin { at: addresses.join(",") }
    }

    /// Runs a command.
    ///
    /// # Panics
    /// When it does not end in time.
    pub async fn run(&self, arguments: &[&str]) -> Ended {
        let mut command = tokio::process::Command::new(program("quorate-admin"));
        command.arg("--at").arg(&self.at).args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(LIMIT, command.output())
            .await
            .unwrap_or_else(|_| panic!("quorate-admin {arguments:?} did not end within {LIMIT:?}"))
            .expect("the program can be run");
        Ended {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs a command that does not end by itself until its output satisfies a condition, then ends it.
    ///
    /// # Panics
    /// When the output does not satisfy it in time, or the command ends.
    pub async fn run_until(&self, arguments: &[&str], condition: impl Fn(&str) -> bool) -> String {
        let mut command = tokio::process::Command::new(program("quorate-admin"));
        command
            .arg("--at")
            .arg(&self.at)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().expect("the program can be run");
        let mut stdout = child.stdout.take().expect("it is piped");
        let (mut output, mut buffer) = (String::new(), [0; 4096]);
        let shown = async {
            while !condition(&output) {
                let count = stdout.read(&mut buffer).await.expect("its output can be read");
                assert!(count > 0, "quorate-admin {arguments:?} has ended: {output}");
                output.push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        };
        let shown = tokio::time::timeout(LIMIT, shown).await;
        assert!(shown.is_ok(), "quorate-admin {arguments:?} did not show what was wanted within {LIMIT:?}: {output}");
        output
    }

    /// The status of one database.
    pub async fn status(&self, database: &str) -> anyhow::Result<DatabaseStatus> {
        let text = self.run(&["--json", "dbStatus", database, "-all"]).await.done()?;
        let reply: DbStatusReply = serde_json::from_str(&text).with_context(|| format!("understand {text}"))?;
        reply.databases.into_iter().next().context("the database is not in the answer")
    }

    /// Compares all replicas of a database.
    pub async fn verify(&self, database: &str) -> anyhow::Result<DbVerifyReply> {
        let ended = self.run(&["--json", "dbVerify", database]).await;
        serde_json::from_str(&ended.out).with_context(|| format!("understand {ended:?}"))
    }
}
