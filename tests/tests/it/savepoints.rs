//! Savepoints over several replica sets: what was taken back is nowhere, all else is everywhere, also where rows go to the replica sets before the commit.

use std::io::Write as _;
use std::process::{Command, Stdio};

use quorate_tests::grid::{DATABASE, Grid, Options};

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_over_all_sets_leaves_out_what_was_taken_back() {
    let grid = Grid::start().await;
    let (mut session, mut other) = (grid.session(1), grid.session(2));
    session
        .batch("CREATE TABLE pair (id bigint PRIMARY KEY, v bigint NOT NULL) DISTRIBUTE BY HASH (id); CREATE TABLE copy (id bigint PRIMARY KEY) DUPLICATE")
        .await
        .unwrap();
    session.batch("INSERT INTO pair SELECT i, 0 FROM generate_series(1, 30) AS g(i)").await.unwrap();
    session.batch("BEGIN; UPDATE pair SET v = 1 WHERE id <= 10; SAVEPOINT a").await.unwrap();
    session.batch("UPDATE pair SET v = 100; INSERT INTO copy VALUES (1); SAVEPOINT b; DELETE FROM pair").await.unwrap();
    assert_eq!(session.number("SELECT count(*) FROM pair").await.unwrap(), 0);
    assert_eq!(session.refused("INSERT INTO pair VALUES (50, 0), (51, 1 / 0)").await, "22012");
    session.batch("ROLLBACK TO b").await.unwrap();
    assert_eq!(session.number("SELECT sum(v) FROM pair").await.unwrap(), 3000);
    let id = session.number("SELECT txid_current()").await.unwrap();
    session.batch("ROLLBACK TO a").await.unwrap();
    assert_eq!(session.number("SELECT txid_current()").await.unwrap(), id);
    session
        .batch("UPDATE pair SET v = v + 1 WHERE id > 20; INSERT INTO copy VALUES (2); RELEASE a; COMMIT")
        .await
        .unwrap();
    assert_eq!(other.number("SELECT sum(v) FROM pair").await.unwrap(), 20);
    assert_eq!(other.number("SELECT count(*) FROM pair").await.unwrap(), 30);
    assert_eq!(other.number("SELECT sum(id) FROM copy").await.unwrap(), 2);
    assert_eq!(other.value(&format!("SELECT txid_status({id})")).await.unwrap(), "committed");

    // A table that was made behind a savepoint, and another one of its name afterwards.
    session
        .batch("BEGIN; SAVEPOINT a; CREATE TABLE made (a bigint PRIMARY KEY); INSERT INTO made VALUES (1)")
        .await
        .unwrap();
    session
        .batch("ROLLBACK TO a; CREATE TABLE made (b text PRIMARY KEY); INSERT INTO made VALUES ('x'); COMMIT")
        .await
        .unwrap();
    assert_eq!(other.value("SELECT b FROM made").await.unwrap(), "x");

    // Nothing is left to write.
    session.batch("BEGIN; SAVEPOINT a; UPDATE pair SET v = 7; ROLLBACK TO a; COMMIT").await.unwrap();
    assert_eq!(other.number("SELECT max(v) FROM pair").await.unwrap(), 1);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_savepoint_takes_back_is_bounded_by_the_memory_of_a_transaction() {
    let options = Options { config: "transaction_memory = \"1MiB\"".to_owned(), ..Options::default() };
    let grid = Grid::start_with(options).await;
    let (mut session, mut other) = (grid.session(1), grid.session(2));
    session.batch("CREATE TABLE big (id bigint PRIMARY KEY, v text) DISTRIBUTE BY HASH (id)").await.unwrap();
    let insert = |from: u32, to: u32| {
        format!(
            "INSERT INTO big SELECT i, 'long enough that all of them are more than a gateway keeps' FROM generate_series({from}, {to}) AS g(i)"
        )
    };
    // Rows from before the savepoint go ahead; it takes back what came after it, a change of one that is staged included.
    session.batch(&format!("BEGIN; {}; SAVEPOINT s; {}", insert(1, 20_000), insert(20_001, 20_500))).await.unwrap();
    session.batch("UPDATE big SET v = 'changed' WHERE id = 1; DELETE FROM big WHERE id = 2").await.unwrap();
    assert_eq!(session.number("SELECT count(*) FROM big").await.unwrap(), 20_499);
    assert_eq!(session.refused("INSERT INTO big VALUES (3, 'there')").await, "23505");
    session.batch("ROLLBACK TO s").await.unwrap();
    assert_eq!(session.number("SELECT count(*) FROM big WHERE v <> 'changed'").await.unwrap(), 20_000);
    // Too much behind it: it may be kept, but not taken back. A later savepoint is none the worse.
    session.batch(&insert(30_001, 50_000)).await.unwrap();
    session.batch("SAVEPOINT later; DELETE FROM big WHERE id = 30001").await.unwrap();
    assert_eq!(session.refused("ROLLBACK TO s").await, "54000");
    assert_eq!(session.refused("SELECT 1").await, "25P02");
    session.batch("ROLLBACK TO later; RELEASE s; COMMIT").await.unwrap();
    assert_eq!(other.number("SELECT count(*) FROM big").await.unwrap(), 40_000);
    assert_eq!(other.number("SELECT count(*) FROM big WHERE id = 30001").await.unwrap(), 1);
    // Nothing is committed by halves.
    session.batch(&format!("BEGIN; SAVEPOINT s; {}", insert(60_001, 80_000))).await.unwrap();
    assert_eq!(session.refused("SELECT 1 / 0").await, "22012");
    assert_eq!(session.refused("ROLLBACK TO s").await, "54000");
    session.batch("COMMIT").await.unwrap();
    assert_eq!(other.number("SELECT count(*) FROM big").await.unwrap(), 40_000);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn psql_goes_on_after_an_error_with_on_error_rollback() {
    let mut grid = Grid::start().await;
    let port = grid.instance(1).sql_port.to_string();
    let script = "\\set ON_ERROR_ROLLBACK on\nCREATE TABLE t (a int PRIMARY KEY);\nBEGIN;\nINSERT INTO t VALUES (1);\nINSERT INTO t VALUES (1);\nSELEC;\nINSERT INTO t VALUES (2);\nCOMMIT;\n";
    let mut psql = Command::new("psql")
        .args(["-X", "-h", "127.0.0.1", "-p", &port, "-U", "quorate", "-d", DATABASE])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    psql.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = psql.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(told.ends_with("INSERT 0 1\nINSERT 0 1\nCOMMIT\n"), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(grid.session(2).number("SELECT sum(a) FROM t").await.unwrap(), 3);
    grid.finish().await;
}
