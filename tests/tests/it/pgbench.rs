//! pgbench, which nobody here wrote: it loads in one transaction, runs its three scripts, and its books balance afterwards, with
//! instances killed in mid-run too.

use std::process::Stdio;
use std::time::Duration;

use quorate_tests::grid::{DATABASE, Grid};
use quorate_tests::sql::Session;
use tokio::process::Command;

/// pgbench on one gateway, to its end.
async fn pgbench(grid: &mut Grid, number: usize, arguments: &[&str]) -> String {
    let mut command = Command::new("pgbench");
    command.args(["-h", "127.0.0.1", "-U", "quorate", "-p", &grid.instance(number).sql_port.to_string()]);
    command.args(arguments).arg(DATABASE).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(Duration::from_secs(300), command.output())
        .await
        .expect("pgbench ends")
        .expect("pgbench is installed");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "pgbench {arguments:?}: {said}");
    said
}

async fn books_balance(session: &mut Session) -> i64 {
    let accounts = session.number("SELECT sum(abalance) FROM pgbench_accounts").await.unwrap();
    for sum in
        ["sum(tbalance) FROM pgbench_tellers", "sum(bbalance) FROM pgbench_branches", "sum(delta) FROM pgbench_history"]
    {
        assert_eq!(session.number(&format!("SELECT {sum}")).await.unwrap(), accounts, "{sum} against the accounts");
    }
    session.number("SELECT count(*) FROM pgbench_history").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbench_loads_runs_and_balances() {
    let mut grid = Grid::start().await;
    pgbench(&mut grid, 1, &["-i", "-q", "-I", "dtpg", "-s", "2"]).await;
    assert_eq!(grid.session(2).number("SELECT count(*) FROM pgbench_accounts").await.unwrap(), 200_000);
    for (gateway, script) in [(1, "select-only"), (2, "simple-update"), (3, "tpcb-like")] {
        let said = pgbench(
            &mut grid,
            gateway,
            &["-n", "-M", "prepared", "-c", "8", "-j", "2", "-T", "5", "--max-tries", "0", "-b", script],
        )
        .await;
        assert!(said.contains("number of failed transactions: 0 "), "{script}: {said}");
    }
    // simple-update leaves tellers and branches alone, so the books only balance without its rows.
    let mut session = grid.session(1);
    session
        .batch("TRUNCATE pgbench_history; UPDATE pgbench_accounts SET abalance = 0 WHERE abalance <> 0")
        .await
        .unwrap();
    session.batch("UPDATE pgbench_tellers SET tbalance = 0; UPDATE pgbench_branches SET bbalance = 0").await.unwrap();
    pgbench(&mut grid, 2, &["-n", "-M", "extended", "-c", "8", "-j", "2", "-t", "100", "--max-tries", "1000"]).await;
    assert_eq!(books_balance(&mut session).await, 800);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_balance_after_each_other_instance_was_killed_in_mid_run() {
    let mut grid = Grid::start().await;
    pgbench(&mut grid, 1, &["-i", "-q", "-I", "dtpg", "-s", "1"]).await;
    let port = grid.instance(1).sql_port.to_string();
    let mut command = Command::new("pgbench");
    command.args([
        "-h",
        "127.0.0.1",
        "-U",
        "quorate",
        "-p",
        &port,
        "-n",
        "-M",
        "prepared",
        "-c",
        "8",
        "-j",
        "2",
        "-T",
        "25",
        "--max-tries",
        "0",
        DATABASE,
    ]);
    let running = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("pgbench is installed");
    for number in [2, 3] {
        tokio::time::sleep(Duration::from_secs(4)).await;
        grid.kill(number);
        grid.restart(number);
        grid.settled().await;
    }
    let output =
        tokio::time::timeout(Duration::from_secs(60), running.wait_with_output()).await.expect("pgbench ends").unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    let done = said
        .split("actually processed: ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next())
        .expect("pgbench says how many");
    let done: i64 = done.trim_end_matches(|mark: char| !mark.is_ascii_digit()).parse().unwrap();
    let rows = books_balance(&mut grid.session(3)).await;
    assert!(rows >= done, "{done} transactions were acknowledged, {rows} are there");
    assert!(rows <= done + 8, "at most one transaction of each client is unknown: {done} acknowledged, {rows} there");
    grid.finish().await;
}
