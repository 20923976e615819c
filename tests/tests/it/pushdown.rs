//! What scans do where the rows are: answers, errors, own writes, and the end of a statement that finds nothing.

use std::time::{Duration, Instant};

use quorate_tests::grid::Grid;

const ROWS: i64 = 30_000;

/// A grid with a table of many rows, of which `n` counts from 1, and `other`, an empty one.
async fn filled() -> Grid {
    let grid = Grid::start().await;
    let mut session = grid.session(1);
    session
        .batch("CREATE TABLE t (id bigint PRIMARY KEY, n integer, v text); CREATE TABLE other (id bigint PRIMARY KEY)")
        .await
        .unwrap();
    let insert = format!("INSERT INTO t SELECT i, i, repeat('x', 100) || i FROM generate_series(1, {ROWS}) AS g(i)");
    session.batch(&insert).await.unwrap();
    grid
}

#[tokio::test(flavor = "multi_thread")]
async fn scans_are_filtered_grouped_and_cut_short_where_the_rows_are() {
    let grid = filled().await;
    let mut session = grid.session(1);
    let plan: Vec<String> = session
        .rows("EXPLAIN SELECT n % 2, count(*), max(n) FROM t WHERE v LIKE '%7' GROUP BY 1")
        .await
        .unwrap()
        .into_iter()
        .flatten()
        .flatten()
        .map(|line| line.trim().to_owned())
        .collect();
    assert!(plan.contains(&"Filter (at the replicas): (v ~~ '%7')".to_owned()), "{plan:?}");
    assert!(plan.contains(&"Partial aggregate (at the replicas)".to_owned()), "{plan:?}");
    let queries = [
        ("SELECT count(*) FROM t", ROWS.to_string()),
        ("SELECT sum(n) FROM t WHERE v LIKE '%7'", (0..ROWS / 10).map(|i| i * 10 + 7).sum::<i64>().to_string()),
        ("SELECT max(c) FROM (SELECT n % 100, count(*) AS c FROM t GROUP BY 1) x", (ROWS / 100).to_string()),
        ("SELECT count(*) FROM (SELECT n, avg(n) FROM t GROUP BY n) x", ROWS.to_string()),
        (
            "SELECT string_agg(n::text, ' ' ORDER BY n) FROM (SELECT n FROM t WHERE n % 1000 = 1 ORDER BY id LIMIT 3) x",
            "1 1001 2001".to_owned(),
        ),
        (
            "SELECT min(n) FROM (SELECT n FROM t WHERE n % 1000 = 1 ORDER BY id DESC LIMIT 3) x",
            (ROWS - 2999).to_string(),
        ),
        (
            "SELECT count(*) FROM t a JOIN t b ON a.id = b.id + 1 WHERE a.n % 3 = 0 AND b.v LIKE '%9'",
            (ROWS / 30).to_string(),
        ),
    ];
    for (query, answer) in &queries {
        // Read at replicas, and at leaders by a transaction that writes.
        assert_eq!(session.value(query).await.unwrap(), *answer, "{query}");
        session.batch("BEGIN; INSERT INTO other VALUES (1)").await.unwrap();
        assert_eq!(session.value(query).await.unwrap(), *answer, "writing, {query}");
        session.batch("ROLLBACK; BEGIN; INSERT INTO t VALUES (0); DELETE FROM t WHERE id = 0").await.unwrap();
        assert_eq!(session.value(query).await.unwrap(), *answer, "with own writes, {query}");
        session.batch("ROLLBACK").await.unwrap();
    }
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_about_a_row_is_reported_unless_an_own_write_hides_the_row() {
    let grid = filled().await;
    let mut session = grid.session(2);
    let filter = "SELECT count(*) FROM t WHERE 100000 / (n - 5000) > 1";
    let sum = "SELECT sum(100000 / (n - 5000)) FROM t";
    for query in [filter, sum] {
        assert_eq!(session.refused(query).await, "22012", "{query}");
        session.batch("BEGIN; INSERT INTO other VALUES (1)").await.unwrap();
        assert_eq!(session.refused(query).await, "22012", "{query}");
        session.batch("ROLLBACK; BEGIN; UPDATE t SET n = 1 WHERE id = 5000").await.unwrap();
        session.number(query).await.expect("the row is another one now");
        session.batch("ROLLBACK; BEGIN; DELETE FROM t WHERE id = 5000").await.unwrap();
        session.number(query).await.expect("the row is gone");
        session.batch("ROLLBACK").await.unwrap();
    }
    // In key order, and nobody comes to the row.
    let first = "SELECT id FROM t WHERE 100000 / (n - 5000) <> 0 ORDER BY id LIMIT 1";
    assert_eq!(session.number(first).await.unwrap(), 1);
    // Neither with own writes nearby, whose page is gone through at the gateway, be it of many sets or of one.
    session.batch("CREATE TABLE one (id bigint PRIMARY KEY, n bigint) DUPLICATE").await.unwrap();
    session.batch("INSERT INTO one SELECT i, i FROM generate_series(1, 10) AS g(i)").await.unwrap();
    let of_one = "SELECT id FROM one WHERE 100 / (n - 5) <> 0 ORDER BY id LIMIT 1";
    for (query, write) in [(first, "INSERT INTO t VALUES (0, 5001, 'x')"), (of_one, "INSERT INTO one VALUES (99, 99)")]
    {
        session.batch(&format!("BEGIN; {write}")).await.unwrap();
        assert!(session.number(query).await.unwrap() < 2, "{query}");
        session.batch("ROLLBACK").await.unwrap();
    }
    let whole = "SELECT id FROM one WHERE 100 / (n - 5) <> 0 ORDER BY id";
    session.batch("BEGIN; INSERT INTO one VALUES (99, 99)").await.unwrap();
    assert_eq!(session.refused(whole).await, "22012", "whoever comes to the row is told");
    session.batch("ROLLBACK; BEGIN; UPDATE one SET n = 6 WHERE id = 5").await.unwrap();
    assert_eq!(session.rows(whole).await.unwrap().len(), 10);
    session.batch("ROLLBACK").await.unwrap();
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn own_writes_in_the_range_count() {
    let grid = filled().await;
    let mut session = grid.session(3);
    let count = "SELECT count(*) FROM t WHERE v LIKE 'mine%'";
    session
        .batch("BEGIN; INSERT INTO t VALUES (-1, -1, 'mine'); UPDATE t SET v = 'mine too' WHERE id = 100")
        .await
        .unwrap();
    assert_eq!(session.number(count).await.unwrap(), 2);
    assert_eq!(session.number("SELECT count(*) FROM t").await.unwrap(), ROWS + 1);
    assert_eq!(grid.session(1).number(count).await.unwrap(), 0);
    session.batch("COMMIT").await.unwrap();
    assert_eq!(grid.session(1).number(count).await.unwrap(), 2);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_a_filter_would_have_kept_is_a_conflict() {
    let grid = filled().await;
    let (mut reader, mut writer) = (grid.session(1), grid.session(2));
    reader.batch("BEGIN; INSERT INTO other VALUES (1)").await.unwrap();
    assert_eq!(reader.number("SELECT count(*) FROM t WHERE v = 'new'").await.unwrap(), 0);
    writer.batch("UPDATE t SET v = 'new' WHERE id = 77").await.unwrap();
    assert_eq!(reader.refused("COMMIT").await, "40001");
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_finds_nothing_can_be_cancelled_and_lets_others_work() {
    let grid = filled().await;
    let mut session = grid.session(1);
    // Half a minute in all.
    let slow = "SELECT count(*) FROM t WHERE length(replace(repeat(v, 2000), 'xx', 'y')) < 0";
    session.batch("SET statement_timeout = '500ms'").await.unwrap();
    let start = Instant::now();
    assert_eq!(session.refused(slow).await, "57014");
    assert!(start.elapsed() < Duration::from_secs(3), "it took {:?}", start.elapsed());
    session.batch("SET statement_timeout = 0").await.unwrap();
    let client = session.client().await.unwrap();
    let cancel = client.cancel_token();
    let mut other = grid.session(1);
    other.number("SELECT 1").await.unwrap();
    let meanwhile = async {
        let mut longest = Duration::ZERO;
        for id in 1..=20 {
            let start = Instant::now();
            other.number(&format!("SELECT n FROM t WHERE id = {id}")).await.unwrap();
            longest = longest.max(start.elapsed());
        }
        cancel.cancel_query(tokio_postgres::NoTls).await.unwrap();
        longest
    };
    let (ended, longest) = tokio::join!(client.batch_execute(slow), meanwhile);
    let error = ended.expect_err("it is cancelled");
    assert_eq!(error.code().map(|code| code.code()), Some("57014"), "{error}");
    assert!(longest < Duration::from_secs(5), "a read by key took {longest:?}");
    grid.finish().await;
}
