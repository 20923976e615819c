//! Wrong configuration ends the start with a message that names the file, the key and the reason; nothing runs half configured.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use quorate_node::demo::config_file::InstanceConfig;
use quorate_tests::grid::{Grid, Options, SETTLE};
use quorate_tests::instance::program;
use quorate_tests::ports::Ports;
use quorate_tests::wait::eventually;

fn config(folder: &Path, ports: &mut Ports, extra: &str) -> InstanceConfig {
    let peer = format!("127.0.0.1:{}", ports.take());
    InstanceConfig {
        instance: "instance1".to_owned(),
        data: folder.join("data"),
        sql_listen: format!("127.0.0.1:{}", ports.take()),
        peer_listen: peer.clone(),
        peer_address: peer.clone(),
        management: true,
        management_peers: vec![peer],
        extra: extra.parse().unwrap(),
    }
}

/// Runs `quorate start`, which must end by itself.
async fn start(folder: &Path, text: &str) -> Output {
    let file = folder.join("quorate.toml");
    std::fs::write(&file, text).unwrap();
    let mut command = tokio::process::Command::new(program("quorate"));
    command.arg("start").arg("--config").arg(&file).kill_on_drop(true);
    tokio::time::timeout(Duration::from_secs(15), command.output()).await.expect("it ends at once").unwrap()
}

fn refused(output: &Output, mentions: &[&str]) {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success(), "it succeeded: {said}");
    assert!(!said.contains("panicked"), "{said}");
    for mention in mentions {
        assert!(said.contains(mention), "{mention:?} is not mentioned in: {said}");
    }
}

#[tokio::test]
async fn an_absent_or_unreadable_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    refused(&start(folder.path(), "this is = = no TOML").await, &["quorate.toml"]);
    let output = tokio::process::Command::new(program("quorate"))
        .args(["start", "--config", "/absent.toml"])
        .output()
        .await
        .unwrap();
    refused(&output, &["/absent.toml"]);
}

#[tokio::test]
async fn an_unknown_key_is_refused_by_name() {
    let (folder, mut ports) = (tempfile::tempdir().unwrap(), Ports::reserve());
    let text = config(folder.path(), &mut ports, "memory_limt = \"1GiB\"").to_toml();
    refused(&start(folder.path(), &text).await, &["memory_limt"]);
}

#[tokio::test]
async fn a_wrong_value_is_refused_with_its_key() {
    let (folder, mut ports) = (tempfile::tempdir().unwrap(), Ports::reserve());
    let text = config(folder.path(), &mut ports, "sql_listen = \"nowhere\"").to_toml();
    refused(&start(folder.path(), &text).await, &["sql_listen", "nowhere"]);
}

#[tokio::test]
async fn an_open_door_must_be_asked_for_by_name() {
    let (folder, mut ports) = (tempfile::tempdir().unwrap(), Ports::reserve());
    let text = config(folder.path(), &mut ports, &format!("sql_listen = \"0.0.0.0:{}\"", ports_take())).to_toml();
    refused(&start(folder.path(), &text).await, &["insecure"]);
}

/// Any port will do: the address is refused before it is bound.
fn ports_take() -> u16 {
    5999
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let (folder, mut ports) = (tempfile::tempdir().unwrap(), Ports::reserve());
    let config = config(folder.path(), &mut ports, "");
    let _taken = std::net::TcpListener::bind(&config.sql_listen).unwrap();
    refused(&start(folder.path(), &config.to_toml()).await, &[&config.sql_listen]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_data_is_refused() {
    let mut grid = Grid::start().await;
    let (folder, mut ports) = (tempfile::tempdir().unwrap(), Ports::reserve());
    let mut other = config(folder.path(), &mut ports, "");
    other.data = grid.instance(1).data();
    refused(&start(folder.path(), &other.to_toml()).await, &["data"]);
    grid.settled().await;
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_vanished_is_not_silently_made_anew() {
    let mut grid = Grid::start().await;
    grid.session(1).batch("CREATE TABLE t (id bigint PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    grid.kill(2);
    std::fs::remove_dir_all(grid.instance(2).data()).unwrap();
    grid.restart(2);
    let status = grid.instance(2).ended(Duration::from_secs(15)).await;
    assert!(!status.success());
    let log = grid.instance(2).log_text();
    assert!(log.contains("data"), "it says what is missing: {log}");
    assert_eq!(grid.session(1).number("SELECT count(*) FROM t").await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_log_is_not_silently_made_anew() {
    let mut grid = Grid::start().await;
    grid.session(1).batch("CREATE TABLE t (id bigint PRIMARY KEY); INSERT INTO t VALUES (1)").await.unwrap();
    grid.kill(2);
    std::fs::remove_dir_all(grid.instance(2).data().join("log")).unwrap();
    grid.restart(2);
    assert!(!grid.instance(2).ended(Duration::from_secs(15)).await.success());
    let log = grid.instance(2).log_text();
    assert!(log.contains("log is missing"), "it says what is missing: {log}");
    assert_eq!(grid.session(1).number("SELECT count(*) FROM t").await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grid_of_another_name_than_configured_is_refused_before_anything_is_made() {
    let options = Options { config: "grid = \"test\"".to_owned(), ..Options::default() };
    let mut grid = Grid::start_processes(options).await;
    let create = async |grid: &Grid, name: &str| grid.admin().run(&["gridCreate", name, "-k", "3"]).await;
    eventually("the wrong name is refused", SETTLE, async || {
        let ended = create(&grid, "tset").await;
        anyhow::ensure!(ended.code == 1 && ended.err.contains("configured for grid test, not tset"), "{ended:?}");
        Ok(())
    })
    .await;
    // Nothing was made of the wrong name; the others may still be about to answer.
    eventually("the grid is made", SETTLE, async || create(&grid, "test").await.done()).await;
    assert!((1..=3).all(|number| grid.instance(number).is_running()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_without_a_grid_waits_and_says_so() {
    let mut grid = Grid::start_processes(Options::default()).await;
    eventually("the instances answer operators", SETTLE, async || {
        let ended = grid.admin().run(&["dbStatus"]).await;
        anyhow::ensure!(ended.code == 1, "{ended:?}");
        anyhow::ensure!(
            ended.err.contains("gridCreate") || ended.out.contains("gridCreate"),
            "it names the next step: {ended:?}"
        );
        Ok(())
    })
    .await;
    assert!((1..=3).all(|number| grid.instance(number).is_running()));
}
