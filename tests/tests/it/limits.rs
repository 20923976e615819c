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
async fn a_table_has_at_most_1600_columns_and_32_in_its_key() {
    let grid = Grid::start().await;
    let mut session = grid.session(1);
    let columns = |count: usize| (1..=count).map(|n| format!("c{n} integer")).collect::<Vec<_>>().join(", ");
    let names = |count: usize| (1..=count).map(|n| format!("c{n}")).collect::<Vec<_>>().join(", ");
    let table = |name: &str, count: usize, key: usize| {
        format!("CREATE TABLE {name} ({}, PRIMARY KEY ({})) DISTRIBUTE BY HASH (c1)", columns(count), names(key))
    };
    session.batch(&table("widest", 1600, 32)).await.unwrap();
    let numbers = (1..=1600).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    session.batch(&format!("INSERT INTO widest VALUES ({numbers})")).await.unwrap();
    let key = (1..=32).map(|n| format!("c{n} = {n}")).collect::<Vec<_>>().join(" AND ");
    let mut other = grid.session(2);
    assert_eq!(other.number(&format!("SELECT c1 + c1600 FROM widest WHERE {key}")).await.unwrap(), 1601);
    assert_eq!(other.rows("SELECT * FROM widest").await.unwrap()[0].len(), 1600);
    assert_eq!(session.refused(&table("wider", 1601, 1)).await, "54011");
    assert_eq!(session.refused("ALTER TABLE widest ADD COLUMN c1601 integer").await, "54011");
    assert_eq!(session.refused(&table("longer", 40, 33)).await, "54011");
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_has_at_most_1000_operators() {
    let grid = Grid::start().await;
    let mut session = grid.session(1);
    let chain = |operators: usize| format!("SELECT 1{}", " + 1".repeat(operators));
    assert_eq!(session.number(&chain(1000)).await.unwrap(), 1001);
    assert_eq!(session.refused(&chain(1001)).await, "54001");
    let nested = |depth: usize| format!("SELECT {}1{}", "abs(".repeat(depth), ")".repeat(depth));
    assert_eq!(session.number(&nested(140)).await.unwrap(), 1);
    assert_eq!(session.refused(&nested(200)).await, "54001");
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_keeps_at_most_10000_statements_and_1000_portals() {
    let grid = Grid::start().await;
    let mut session = grid.session(1);
    let prepare = |from: usize, to: usize| {
        (from..=to).map(|n| format!("PREPARE p{n} AS SELECT {n}")).collect::<Vec<_>>().join("; ")
    };
    session.batch(&prepare(1, 10_000)).await.unwrap();
    assert_eq!(session.refused("PREPARE p10001 AS SELECT 1").await, "53400");
    assert_eq!(session.number("EXECUTE p10000").await.unwrap(), 10_000);
    session.batch("DEALLOCATE p1; PREPARE p10001 AS SELECT 10001").await.unwrap();
    assert_eq!(session.number("EXECUTE p10001").await.unwrap(), 10_001);
    session.batch("DEALLOCATE ALL").await.unwrap();
    let client = session.client().await.unwrap();
    let transaction = client.transaction().await.unwrap();
    let statement = transaction.prepare("SELECT i FROM generate_series(1, 3) AS g(i)").await.unwrap();
    let mut portals = Vec::new();
    for _ in 0..1000 {
        portals.push(transaction.bind(&statement, &[]).await.unwrap());
    }
    let error = transaction.bind(&statement, &[]).await.map(drop).unwrap_err();
    assert_eq!(error.code().map(tokio_postgres::error::SqlState::code), Some("53400"), "{error}");
    drop((portals, transaction));
    assert_eq!(session.number("SELECT 1").await.unwrap(), 1, "the session goes on");
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_names_at_most_100000_rows_by_their_keys() {
    let grid = Grid::start().await;
    let mut session = grid.session(1);
    session.batch("CREATE TABLE t (id bigint PRIMARY KEY); INSERT INTO t VALUES (1), (100000)").await.unwrap();
    let keys = |count: u32| (1..=count).map(|n| n.to_string()).collect::<Vec<_>>().join(", ");
    let count = |list: String| format!("SELECT count(*) FROM t WHERE id IN ({list})");
    assert_eq!(session.number(&count(keys(100_000))).await.unwrap(), 2);
    assert_eq!(session.refused(&count(keys(100_001))).await, "54000");
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_over_its_time_is_cancelled() {
    let grid = Grid::start().await;
    let mut session = grid.session(1);
    session.batch("SET statement_timeout = '200ms'").await.unwrap();
    for endless in [
        "SELECT count(*) FROM generate_series(1, 100000000000) AS g(i)",
        // Never waits for anything.
        "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT count(*) FROM r",
        "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i FROM r) SELECT i FROM r WHERE i > 1",
    ] {
        let start = std::time::Instant::now();
        assert_eq!(session.refused(endless).await, "57014", "{endless}");
        assert!(start.elapsed() < std::time::Duration::from_secs(3), "{endless}: it took {:?}", start.elapsed());
    }
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
