//! Transactions above the gateway's memory, whose rows go to the replica sets before the commit: whoever dies in between, all of their rows are
//! there afterwards or none, as the client was told.

use std::time::Duration;

use quorate_tests::grid::{DATABASE, Grid, Options};
use quorate_tests::history::Outcome;
use quorate_tests::sql::Failure;
use quorate_tests::wait::eventually;

const ROWS: i64 = 30_000;

async fn grid() -> Grid {
    let options = Options { config: "transaction_memory = \"1MiB\"".to_owned(), ..Options::default() };
    let grid = Grid::start_with(options).await;
    grid.session(1)
        .batch("CREATE TABLE big (id bigint, round bigint, v text, PRIMARY KEY (round, id)) DISTRIBUTE BY HASH (id)")
        .await
        .unwrap();
    grid
}

/// Lets an instance crash at a failpoint while a large INSERT runs through the gateway `through`: how many of its rows are there afterwards,
/// and what the client was told.
async fn crash(grid: &mut Grid, round: i64, victim: usize, through: usize, failpoint: &str) -> (i64, Outcome) {
    grid.kill(victim);
    grid.restart_with(victim, &[format!("{failpoint}=exit")]);
    grid.settled().await;
    grid.leaders_spread().await;
    let insert = format!(
        "INSERT INTO big SELECT i, {round}, 'long enough that all of them are more than a gateway keeps' \
         FROM generate_series(1, {ROWS}) AS g(i)"
    );
    let told = match grid.session(through).batch(&insert).await {
        Ok(()) => Outcome::Ok,
        Err(Failure::Refused(..)) => Outcome::Refused,
        Err(Failure::Unknown(_)) => Outcome::Unknown,
    };
    let status = grid.instance(victim).ended(Duration::from_secs(20)).await;
    assert!(!status.success(), "{failpoint} did not end instance{victim} by force");
    grid.restart(victim);
    grid.settled().await;
    let mut counts = Vec::new();
    for number in 1..=3 {
        let count = format!("SELECT count(*) FROM big WHERE round = {round}");
        counts.push(grid.session(number).number(&count).await.unwrap());
    }
    assert!(counts.iter().all(|count| *count == counts[0]), "{failpoint}: gateways disagree: {counts:?}");
    match told {
        Outcome::Ok => assert_eq!(counts[0], ROWS, "{failpoint}: acknowledged"),
        Outcome::Refused => assert_eq!(counts[0], 0, "{failpoint}: refused"),
        Outcome::Unknown => assert!(counts[0] == 0 || counts[0] == ROWS, "{failpoint}: {} of {ROWS} rows", counts[0]),
    }
    (counts[0], told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_dies_while_it_stages_leaves_nothing() {
    let mut grid = grid().await;
    let (count, told) = crash(&mut grid, 1, 2, 2, "gateway.after_stage").await;
    assert_eq!((count, told), (0, Outcome::Unknown));
    // What it had staged is dropped, and does not stand in the way of the same rows.
    let again = "INSERT INTO big SELECT i, 1, 'x' FROM generate_series(1, 30000) AS g(i)";
    eventually("the dead gateway's rows are dropped", Duration::from_secs(10), async || {
        Ok(grid.session(1).batch(again).await?)
    })
    .await;
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_dies_after_all_prepared_has_committed_what_it_staged() {
    let mut grid = grid().await;
    assert_eq!(crash(&mut grid, 1, 2, 2, "gateway.after_prepares").await.0, ROWS);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_set_that_loses_its_leader_while_rows_are_staged_or_installed_keeps_all_or_none() {
    let mut grid = grid().await;
    let (count, told) = crash(&mut grid, 1, 3, 1, "element.while_installing").await;
    assert_eq!((count, told), (ROWS, Outcome::Ok), "all had prepared");
    crash(&mut grid, 2, 3, 1, "element.after_stage").await;
    grid.admin().run(&["dbVerify", DATABASE]).await.done().unwrap();
    grid.finish().await;
}
