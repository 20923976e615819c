//! More instances than copies: a replica set that has lost its majority takes its own rows with it and nothing else.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use quorate_tests::grid::{DATABASE, Grid, Options, SETTLE};
use quorate_tests::sql::Session;
use quorate_tests::wait::eventually;
use tokio_postgres::SimpleQueryMessage;

const ROWS: i64 = 16;
/// The set that is lost.
const LOST: u32 = 2;
/// When nobody listens any more at a set's members, that is said soon.
const SAID_WITHIN: Duration = Duration::from_secs(1);
/// The first query over all sets also finds out that there is no common snapshot of them to be had.
const SAID_FIRST_WITHIN: Duration = Duration::from_millis(1500);

/// The instances that hold elements of this set.
async fn instances_of(grid: &Grid, set: u32) -> Vec<usize> {
    let status = grid.status().await.unwrap();
    let of_set = status.elements.iter().filter(|element| element.replica_set == set);
    of_set.map(|element| element.instance.trim_start_matches("instance").parse().unwrap()).collect()
}

/// What a statement gives: the first value of the first row, empty without one. `None` if it was refused for want of the lost set; the refusal
/// names the set by its number, says what to do, and comes within `limit`.
async fn attempted(session: &mut Session, sql: &str, limit: Duration) -> Option<String> {
    let client = session.client().await.unwrap();
    let start = Instant::now();
    let answer = client.simple_query(sql).await;
    let took = start.elapsed();
    let error = match answer {
        Ok(messages) => {
            let value = messages.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            });
            return Some(value.unwrap_or_default());
        }
        Err(error) => error,
    };
    let said = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
    assert_eq!(said.code().code(), "58000", "{sql}: {said:?}");
    assert_eq!(said.message(), format!("replica set {LOST} is down"), "{sql}");
    assert!(said.detail().is_some_and(|detail| detail.starts_with("TT-03723")), "{sql}: {said:?}");
    let advice = format!("Roll back, and retry after replica set {LOST} has recovered");
    assert!(said.hint().is_some_and(|hint| hint.starts_with(&advice)), "{sql}: {said:?}");
    assert!(took < limit, "{sql}: it took {took:?}");
    None
}

/// The rows that can be read one by one through this instance; every other is refused.
async fn readable(grid: &Grid, through: usize) -> BTreeSet<i64> {
    let mut session = grid.session(through);
    let mut found = BTreeSet::new();
    for id in 1..=ROWS {
        let sql = format!("SELECT v FROM t WHERE id = {id}");
        if let Some(value) = attempted(&mut session, &sql, SAID_WITHIN).await {
            assert_eq!(value, (id * 10).to_string(), "{sql}");
            found.insert(id);
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn t65_t66_t68_t69_t70_a_replica_set_that_is_gone_takes_only_its_own_rows_with_it() {
    let mut grid = Grid::start_with(Options { instances: 6, k: 3, replica_sets: 2, ..Options::default() }).await;
    let (here, there) = (instances_of(&grid, 1).await, instances_of(&grid, LOST).await);
    assert!(here.len() == 3 && there.len() == 3 && here.iter().all(|n| !there.contains(n)), "{here:?}, {there:?}");
    let mut session = grid.session(here[0]);
    session.batch("CREATE TABLE t (id bigint PRIMARY KEY, v bigint) DISTRIBUTE BY HASH (id)").await.unwrap();
    session.batch(&format!("INSERT INTO t SELECT i, i * 10 FROM generate_series(1, {ROWS}) AS g(i)")).await.unwrap();
    // All management instances are numbered from 1; a majority of the six has to stay, so the set dies of two of its three.
    grid.kill(there[0]);
    grid.kill(there[1]);
    eventually("the status says that the set is down", SETTLE, async || {
        let status = grid.status().await?;
        let named = status.verdict.contains(&format!("replica set {LOST}"));
        anyhow::ensure!(status.health != "Normal" && named, "{}", status.verdict);
        Ok(())
    })
    .await;
    let found = readable(&grid, here[0]).await;
    assert!(!found.is_empty() && found.len() < ROWS as usize, "rows of one set of two: {found:?}");
    assert_eq!(readable(&grid, there[2]).await, found, "the survivor of the lost set is as good a gateway");
    // Writing works where reading does; what touches both sets is refused as a whole.
    for id in 1..=ROWS {
        let outcome = attempted(&mut session, &format!("UPDATE t SET v = v WHERE id = {id}"), SAID_WITHIN).await;
        assert_eq!(outcome.is_some(), found.contains(&id), "{id}");
    }
    assert_eq!(attempted(&mut session, "UPDATE t SET v = v + 1", SAID_WITHIN).await, None);
    for limit in [SAID_FIRST_WITHIN, SAID_WITHIN] {
        assert_eq!(attempted(&mut session, "SELECT sum(v) FROM t", limit).await, None);
    }
    // A table lives in all sets: none can be made now.
    assert_eq!(attempted(&mut session, "CREATE TABLE u (id bigint PRIMARY KEY)", SAID_WITHIN).await, None);
    // What only reads and writes rows of the other set goes on, whatever the statement.
    let (one, two) = (found.first().unwrap(), found.last().unwrap());
    session
        .batch(&format!("UPDATE t SET v = v + (SELECT 0 * v FROM t WHERE id = {one}) WHERE id = {two}"))
        .await
        .unwrap();
    session.batch(&format!("DELETE FROM t WHERE id = {one}")).await.unwrap();
    session.batch(&format!("INSERT INTO t SELECT {one}, {one} * v / {two} FROM t WHERE id = {two}")).await.unwrap();
    for number in [there[0], there[1]] {
        grid.restart(number);
    }
    grid.settled().await;
    assert_eq!(session.refused("SELECT * FROM u").await, "42P01", "the refused table left nothing behind");
    session.batch("CREATE TABLE u (id bigint PRIMARY KEY)").await.unwrap();
    assert_eq!(readable(&grid, here[1]).await.len(), ROWS as usize);
    assert_eq!(session.number("SELECT sum(v) FROM t").await.unwrap(), ROWS * (ROWS + 1) / 2 * 10);
    grid.admin().run(&["dbVerify", DATABASE]).await.done().unwrap();
    grid.finish().await;
}
