//! Bad SQL is refused with the SQLSTATE that PostgreSQL gives, the session stays usable, and nothing is left behind.

use quorate_tests::grid::Grid;

#[tokio::test(flavor = "multi_thread")]
async fn wrong_statements_get_postgresqls_sqlstates() {
    let grid = Grid::start().await;
    let mut session = grid.session(1);
    session
        .batch("CREATE TABLE t (id integer PRIMARY KEY, name varchar(3) NOT NULL, n smallint, d date); INSERT INTO t VALUES (1, 'a', 1, NULL)")
        .await
        .unwrap();
    let cases = [
        ("SELEC 1", "42601"),
        ("SELECT FROM WHERE", "42601"),
        ("SELECT 'open", "42601"),
        ("SELECT * FROM absent", "42P01"),
        ("SELECT absent FROM t", "42703"),
        ("SELECT absent(1)", "42883"),
        ("CREATE TABLE t (id integer PRIMARY KEY)", "42P07"),
        ("CREATE TABLE u (id integer, id integer)", "42701"),
        ("INSERT INTO t VALUES (1, 'b', 1, NULL)", "23505"),
        ("INSERT INTO t VALUES (2, NULL, 1, NULL)", "23502"),
        ("INSERT INTO t VALUES (2, 'long', 1, NULL)", "22001"),
        ("INSERT INTO t VALUES (2, 'b', 40000, NULL)", "22003"),
        ("INSERT INTO t VALUES (2, 'b', 1, DATE '2023-02-30')", "22008"),
        ("INSERT INTO t (id) VALUES ('x')", "22P02"),
        ("SELECT 1 / 0", "22012"),
        ("SELECT 2147483647 + 1", "22003"),
        ("SELECT id, count(*) FROM t", "42803"),
        ("UPDATE t SET id = NULL", "23502"),
        ("COMMIT PREPARED 'x'", "0A000"),
        ("CREATE INDEX i ON t (name)", "0A000"),
        ("SAVEPOINT s", "25P01"),
        ("ROLLBACK TO s", "25P01"),
        ("RELEASE s", "25P01"),
        ("INSERT INTO t VALUES (1, 'b', 1, NULL) ON CONFLICT DO NOTHING", "0A000"),
        ("LISTEN channel", "0A000"),
    ];
    for (sql, expected) in cases {
        assert_eq!(session.refused(sql).await, expected, "{sql}");
    }
    assert_eq!(session.number("SELECT count(*) FROM t").await.unwrap(), 1, "no refused statement left anything");
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_a_block_ends_the_block_and_not_the_session() {
    let grid = Grid::start().await;
    let mut session = grid.session(2);
    session.batch("CREATE TABLE t (id integer PRIMARY KEY)").await.unwrap();
    session.batch("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    assert_eq!(session.refused("SELECT 1 / 0").await, "22012");
    assert_eq!(session.refused("INSERT INTO t VALUES (2)").await, "25P02");
    session.batch("COMMIT").await.unwrap();
    assert_eq!(session.number("SELECT count(*) FROM t").await.unwrap(), 0, "COMMIT of a failed block rolls back");
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_points_into_the_statement() {
    let grid = Grid::start().await;
    let mut session = grid.session(1);
    let error = session.client().await.unwrap().batch_execute("SELECT 1 FROM absent").await.unwrap_err();
    let position = error.as_db_error().unwrap().position().cloned();
    assert_eq!(position, Some(tokio_postgres::error::ErrorPosition::Original(15)));
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_exist_is_refused_by_name() {
    let grid = Grid::start().await;
    let mut gateways = grid.gateways();
    gateways.database = "absent".to_owned();
    let failure = gateways.session(0).batch("SELECT 1").await.unwrap_err();
    assert_eq!(failure.code(), Some("3D000"), "{failure}");
    assert!(failure.to_string().contains("absent"), "{failure}");
    grid.finish().await;
}
