//! A PostgreSQL server, to ask what an answer should be.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::ports::Ports;
use crate::sql::Gateways;
use crate::wait::eventually;

/// The database that is made.
const DATABASE: &str = "demo";

/// A running server with an empty database.
#[derive(Debug)]
pub struct Postgres {
    server: Child,
    port: u16,
    _folder: TempDir,
    _ports: Ports,
}

/// Where the newest server's programs are.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join("bin")))
    });
    match newest.max() {
        Some((_, programs)) => programs,
        // Elsewhere they are in the path.
        None => PathBuf::new(),
    }
}

/// A command of PostgreSQL's, which refuses to run as root: as `postgres` then.
fn command(program: &str, folder: &Path) -> Command {
    let mut command = Command::new(programs().join(program));
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some((user, group)) = account() {
        command.uid(user).gid(group);
    }
    command
}

/// The user and group to run as; `None` unless this is root.
fn account() -> Option<(u32, u32)> {
    let number = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    if number(&["-u"])? != 0 {
        return None;
    }
    let wanted = (number(&["-u", "postgres"]), number(&["-g", "postgres"]));
    let (Some(user), Some(group)) = wanted else {
        panic!("there is no user postgres: run `make test`, which installs it")
    };
    Some((user, group))
}

impl Postgres {
    /// Makes a cluster in a temporary directory and starts it.
    ///
    /// # Panics
    /// When PostgreSQL is not installed, or does not come up.
    pub async fn start() -> Postgres {
        let folder = tempfile::Builder::new().prefix("quorate-postgres-").tempdir().expect("a directory can be made");
        if let Some((user, group)) = account() {
            std::os::unix::fs::chown(folder.path(), Some(user), Some(group)).expect("root may give it away");
        }
        let made = command("initdb", folder.path())
            .args(["-D", "data", "-U", "quorate", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"])
            .status()
            .expect("initdb can be run");
        assert!(made.success(), "initdb ended with {made}");
        let mut ports = Ports::reserve();
        let port = ports.take();
        let server = command("postgres", folder.path())
            .args(["-D", "data", "-p", &port.to_string(), "-k", "", "-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "fsync=off", "-c", "timezone=UTC"])
            .spawn()
            .expect("the server can be started");
        let postgres = Postgres { server, port, _folder: folder, _ports: ports };
        eventually("PostgreSQL answers", Duration::from_secs(30), async || {
            let gateways = Gateways { ports: vec![port], database: "postgres".to_owned() };
            match gateways.session(0).batch(&format!("CREATE DATABASE {DATABASE}")).await {
                Err(failure) if failure.code() != Some("42P04") => Err(failure.into()),
                _ => Ok(()),
            }
        })
        .await;
        postgres
    }

    /// Its address.
    pub fn gateways(&self) -> Gateways {
        Gateways { ports: vec![self.port], database: DATABASE.to_owned() }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Its own end, so that its children and its shared memory go with it.
        let ended = Command::new("kill").arg("-QUIT").arg(self.server.id().to_string()).status();
        if !ended.is_ok_and(|status| status.success()) {
            drop(self.server.kill());
        }
        drop(self.server.wait());
    }
}
