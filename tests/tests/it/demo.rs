//! `quorate demo` as a newcomer meets it: one command to a database that answers, a child that is killed comes back, everything ends
//! with it, and the data is there the next time.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use quorate_tests::instance::program;
use quorate_tests::ports::Ports;
use quorate_tests::sql::Gateways;
use quorate_tests::wait::eventually;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// A demo with what it printed until `ready`.
struct Demo {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    said: Vec<String>,
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program("quorate"));
    command.arg("demo").arg("--data").arg(folder).arg("--no-shell").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

async fn demo(folder: &Path, arguments: &[&str]) -> Demo {
    ready(command(folder, arguments)).await
}

async fn ready(mut command: Command) -> Demo {
    let mut process = command.spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut said = Vec::new();
    let ready = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line == "ready" {
                return;
            }
            said.push(line);
        }
        panic!("the demo ended before it was ready");
    };
    tokio::time::timeout(Duration::from_secs(90), ready).await.expect("the demo is ready in time");
    Demo { process, lines, said }
}

impl Demo {
    /// Process id in the line of this instance.
    fn pid(&self, instance: &str) -> String {
        let line = self
            .said
            .iter()
            .find(|line| line.starts_with(&format!("{instance} pid ")))
            .unwrap_or_else(|| panic!("{:?}", self.said));
        line.split(' ').nth(2).unwrap().to_owned()
    }

    /// Ctrl-C, and the end.
    async fn interrupt(mut self) -> Vec<String> {
        let pid = self.process.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        let mut rest = Vec::new();
        while let Some(line) = self.lines.next_line().await.unwrap() {
            rest.push(line);
        }
        let status =
            tokio::time::timeout(Duration::from_secs(30), self.process.wait()).await.expect("it ends").unwrap();
        assert!(status.success(), "{status}");
        rest
    }
}

fn runs(pid: &str) -> bool {
    // The state follows the name, which is in parentheses. A zombie has ended, too.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with(['Z', 'X'])))
}

fn base_port(ports: &mut Ports) -> u16 {
    ports.take()
}

fn gateways(base_port: u16) -> Gateways {
    Gateways { ports: (base_port..base_port + 3).collect(), database: "demo".to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_comes_up_with_sample_data_and_comes_back_with_ours() {
    let (folder, mut ports) = (tempfile::tempdir().unwrap(), Ports::reserve());
    let base = base_port(&mut ports);
    let first = demo(folder.path(), &["--base-port", &base.to_string()]).await;
    let mut session = gateways(base).session(1);
    assert_eq!(session.number("SELECT count(*) FROM customer").await.unwrap(), 8);
    session.batch("CREATE TABLE mine (id integer PRIMARY KEY); INSERT INTO mine VALUES (1), (2)").await.unwrap();
    let pids = [first.pid("instance1"), first.pid("instance2"), first.pid("instance3")];
    let said = first.interrupt().await;
    assert!(said.iter().any(|line| line.starts_with("stopped")), "{said:?}");
    assert!(pids.iter().all(|pid| !runs(pid)), "an instance outlived its demo");

    let second = demo(folder.path(), &[]).await;
    assert_eq!(gateways(base).session(2).number("SELECT count(*) FROM mine").await.unwrap(), 2);
    second.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_instance_is_started_again_and_a_killed_demo_takes_its_instances_along() {
    let (folder, mut ports) = (tempfile::tempdir().unwrap(), Ports::reserve());
    let base = base_port(&mut ports);
    let mut running = demo(folder.path(), &["--base-port", &base.to_string()]).await;
    assert!(std::process::Command::new("kill").args(["-KILL", &running.pid("instance2")]).status().unwrap().success());
    assert_eq!(gateways(base).session(0).number("SELECT count(*) FROM customer").await.unwrap(), 8);
    eventually("instance2 answers again", Duration::from_secs(30), async || {
        Ok(gateways(base).only(1).number("SELECT count(*) FROM customer").await?)
    })
    .await;
    let others = [running.pid("instance1"), running.pid("instance3")];
    running.process.kill().await.unwrap();
    eventually("all instances end", Duration::from_secs(20), async || {
        anyhow::ensure!(others.iter().all(|pid| !runs(pid)), "{others:?}");
        anyhow::ensure!(gateways(base).session(0).number("SELECT 1").await.is_err(), "a gateway still answers");
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s28_the_end_of_a_process_is_noticed_at_once() {
    let (folder, mut ports) = (tempfile::tempdir().unwrap(), Ports::reserve());
    let mut command = command(folder.path(), &["--base-port", &base_port(&mut ports).to_string()]);
    command.stderr(Stdio::piped());
    let mut running = ready(command).await;
    let mut complaints = BufReader::new(running.process.stderr.take().unwrap()).lines();
    let mut pid = running.pid("instance3");
    let mut noticed = Vec::new();
    // Three times, since this machine may be busy with something else at any one of them.
    for _ in 0..3 {
        let start = Instant::now();
        assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        let said = tokio::time::timeout(Duration::from_secs(10), complaints.next_line()).await;
        let said = said.expect("the restart is said").unwrap().unwrap();
        noticed.push(start.elapsed());
        pid = said.split("started again as pid ").nth(1).unwrap_or_else(|| panic!("{said}")).to_owned();
        assert!(said.contains("instance3 ended") && runs(&pid), "{said}");
    }
    let shortest = noticed.iter().min().unwrap();
    assert!(*shortest < Duration::from_millis(200), "{noticed:?}");
    running.interrupt().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_is_a_grid_and_two_are_refused() {
    let (folder, mut ports) = (tempfile::tempdir().unwrap(), Ports::reserve());
    let base = base_port(&mut ports).to_string();
    let output = command(folder.path(), &["--base-port", &base, "--instances", "2"])
        .stderr(Stdio::piped())
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("majority"), "{output:?}");
    let single = demo(folder.path(), &["--base-port", &base, "--instances", "1"]).await;
    assert_eq!(gateways(base.parse().unwrap()).only(0).number("SELECT count(*) FROM purchase").await.unwrap(), 12);
    single.interrupt().await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_flag() {
    let (folder, mut ports) = (tempfile::tempdir().unwrap(), Ports::reserve());
    let base = base_port(&mut ports);
    let _taken = std::net::TcpListener::bind(("127.0.0.1", base + 2)).unwrap();
    let output =
        command(folder.path(), &["--base-port", &base.to_string()]).stderr(Stdio::piped()).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains(&format!("port {}", base + 2)) && said.contains("--base-port"), "{said}");
}
