//! Limits at their edges: what fits works, one more is refused with its SQLSTATE, and the instance goes on.

use quorate_tests::grid::{Grid, Options};

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_more_than_allowed_is_refused_and_a_free_place_can_be_taken() {
    let grid = Grid::start_with(Options { config: "max_connections = 5".to_owned(), ..Options::default() }).await;
    let mut sessions: Vec<_> = (0..5).map(|_| grid.session(1)).collect();
    for session in &mut sessions {
        session.number("SELECT 1").await.unwrap();
    }
    let failure = grid.session(1).number("SELECT 1").await.unwrap_err();
    assert_eq!(failure.code(), Some("53300"), "{failure}");
    grid.session(2).number("SELECT 1").await.expect("other instances have places of their own");
    sessions[0].disconnect();
    quorate_tests::wait::eventually("the place is free", std::time::Duration::from_secs(5), async || {
        Ok(grid.session(1).number("SELECT 1").await?)
    })
    .await;
    drop(sessions);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_too_large_is_refused_and_a_large_one_kept() {
    let grid = Grid::start().await;
    let mut session = grid.session(1);
    session.batch("CREATE TABLE t (id bigint PRIMARY KEY, v text)").await.unwrap();
    // A row of 1 MiB with its key and its header is the largest.
    let insert = |id: i64, length: usize| format!("INSERT INTO t VALUES ({id}, '{}')", "x".repeat(length));
    let fits = (1 << 20) - 64;
    session.batch(&insert(1, fits)).await.unwrap();
    assert_eq!(session.number("SELECT length(v) FROM t WHERE id = 1").await.unwrap(), fits as i64);
    assert_eq!(session.refused(&insert(2, 1 << 20)).await, "54000", "a row");
    // A message above its limit ends the session while the client still writes it, so that the reason may not be read.
    let failure = session.batch(&insert(2, 64 << 20)).await.expect_err("the message is too large");
    assert!(failure.code().is_none_or(|code| code == "54000"), "{failure}");
    assert_eq!(session.number("SELECT count(*) FROM t").await.unwrap(), 1);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_over_its_time_is_cancelled() {
    let grid = Grid::start().await;
    let mut session = grid.session(1);
    session.batch("SET statement_timeout = '200ms'").await.unwrap();
    let start = std::time::Instant::now();
    let code = session.refused("SELECT count(*) FROM generate_series(1, 100000000000) AS g(i)").await;
    assert_eq!(code, "57014");
    assert!(start.elapsed() < std::time::Duration::from_secs(3), "it took {:?}", start.elapsed());
    assert_eq!(session.number("SELECT 1").await.unwrap(), 1);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_above_its_memory_is_staged_and_stays_atomic() {
    let grid =
        Grid::start_with(Options { config: "transaction_memory = \"1MiB\"".to_owned(), ..Options::default() }).await;
    let mut session = grid.session(1);
    session.batch("CREATE TABLE t (id bigint PRIMARY KEY, v text)").await.unwrap();
    let fill =
        "INSERT INTO t SELECT i, 'a row of some length, so that it adds up' FROM generate_series(1, 50000) AS g(i)";
    session.batch(&format!("BEGIN; {fill}")).await.unwrap();
    assert_eq!(grid.session(2).number("SELECT count(*) FROM t").await.unwrap(), 0);
    session.batch("ROLLBACK").await.unwrap();
    assert_eq!(grid.session(2).number("SELECT count(*) FROM t").await.unwrap(), 0);
    session.batch(fill).await.unwrap();
    assert_eq!(grid.session(3).number("SELECT count(*) FROM t").await.unwrap(), 50_000);
    assert_eq!(session.refused(fill).await, "23505", "a duplicate within it is found and named");
    grid.finish().await;
}
