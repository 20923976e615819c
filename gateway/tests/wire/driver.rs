//! What drivers do.

use std::pin::pin;

use bytes::Bytes;
use futures::{SinkExt, StreamExt, TryStreamExt};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use crate::support::{PATIENCE, Server};

#[tokio::test]
async fn simple_queries_give_text() {
    let server = Server::start().await;
    let client = server.client().await;
    let messages = client.simple_query("SELECT 1; SELECT 'two'").await.expect("runs");
    let values: Vec<_> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_string),
            _ => None,
        })
        .collect();
    assert_eq!(values, ["1", "two"]);
}

#[tokio::test]
async fn parameters_and_results_travel_in_binary() {
    let server = Server::start().await;
    let client = server.client().await;
    let statement = client
        .prepare_typed("SELECT $1, $2, $3, $4", &[Type::INT4, Type::INT8, Type::TEXT, Type::FLOAT8])
        .await
        .expect("prepares");
    for (a, b, c, d) in [(1i32, -5i64, "ä'b", 2.5f64), (i32::MIN, i64::MAX, "", f64::INFINITY)] {
        let row = client.query_one(&statement, &[&a, &b, &c, &d]).await.expect("runs");
        assert_eq!(
            (row.get::<_, i32>(0), row.get::<_, i64>(1), row.get::<_, &str>(2), row.get::<_, f64>(3)),
            (a, b, c, d)
        );
    }
    let row =
        client.query_one(&statement, &[&None::<i32>, &None::<i64>, &None::<&str>, &None::<f64>]).await.expect("runs");
    assert_eq!(row.get::<_, Option<i32>>(0), None);
}

#[tokio::test]
async fn an_error_names_its_place_and_the_session_goes_on() {
    let server = Server::start().await;
    let client = server.client().await;
    let error = client.simple_query("SELECT , 1").await.expect_err("a syntax error");
    let error = error.as_db_error().expect("from the server");
    assert_eq!(error.code(), &SqlState::SYNTAX_ERROR);
    assert_eq!(error.position(), Some(&tokio_postgres::error::ErrorPosition::Original(8)));
    let error = client.query("SELECT missing FROM nowhere", &[]).await.expect_err("no such table");
    assert_eq!(error.code(), Some(&SqlState::UNDEFINED_TABLE));
    assert_eq!(client.query_one("SELECT 1", &[]).await.expect("goes on").get::<_, i32>(0), 1);
}

#[tokio::test]
async fn a_violated_key_names_table_and_constraint() {
    let server = Server::start().await;
    let client = server.client().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)").await.expect("made");
    let error = client.execute("INSERT INTO t VALUES (1)", &[]).await.expect_err("a duplicate");
    let error = error.as_db_error().expect("from the server");
    assert_eq!(error.code(), &SqlState::UNIQUE_VIOLATION);
    assert_eq!(error.table(), Some("t"));
    assert_eq!(error.constraint(), Some("t_pkey"));
}

#[tokio::test]
async fn a_failed_block_refuses_all_but_its_end() {
    let server = Server::start().await;
    let client = server.client().await;
    client.batch_execute("BEGIN").await.expect("begins");
    client.query("SELECT 1/0", &[]).await.expect_err("division by zero");
    let error = client.query("SELECT 1", &[]).await.expect_err("refused");
    assert_eq!(error.code(), Some(&SqlState::IN_FAILED_SQL_TRANSACTION));
    client.batch_execute("ROLLBACK").await.expect("ends");
    client.query("SELECT 1", &[]).await.expect("goes on");
}

#[tokio::test]
async fn copy_in_takes_many_pieces_and_copy_out_gives_them_back() {
    let server = Server::start().await;
    let client = server.client().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY, v text)").await.expect("made");
    let mut sink = pin!(client.copy_in("COPY t FROM STDIN").await.expect("begins"));
    for piece in 0..100 {
        // Pieces end in the middle of lines.
        let text: String = (0..100).map(|line| format!("{}\tvalue {line}\n", piece * 100 + line)).collect();
        let (one, other) = text.split_at(text.len() / 2 + 3);
        sink.send(Bytes::from(one.to_string())).await.expect("taken");
        sink.send(Bytes::from(other.to_string())).await.expect("taken");
    }
    assert_eq!(sink.finish().await.expect("ends"), 10_000);
    let stream = client.copy_out("COPY t TO STDOUT").await.expect("begins");
    let pieces: Vec<Bytes> = stream.try_collect().await.expect("ends");
    assert_eq!(pieces.len(), 10_000, "each row comes by itself");
    let text = String::from_utf8(pieces.concat()).expect("text");
    assert_eq!(text.lines().count(), 10_000);
    assert!(text.lines().any(|line| line == "1234\tvalue 34"));
}

#[tokio::test]
async fn a_copy_that_is_given_up_leaves_nothing() {
    let server = Server::start().await;
    let client = server.client().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("made");
    {
        let mut sink = pin!(client.copy_in("COPY t FROM STDIN").await.expect("begins"));
        sink.send(Bytes::from_static(b"1\n2\n")).await.expect("taken");
        // Dropped without an end: the driver sends CopyFail.
    }
    let row = client.query_one("SELECT count(*) FROM t", &[]).await.expect("the session goes on");
    assert_eq!(row.get::<_, i64>(0), 0);
}

#[tokio::test]
async fn bad_copy_data_is_an_error_with_its_line() {
    let server = Server::start().await;
    let client = server.client().await;
    client.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("made");
    let mut sink = pin!(client.copy_in("COPY t FROM STDIN").await.expect("begins"));
    sink.send(Bytes::from_static(b"1\nnonsense\n3\n")).await.expect("taken");
    let error = sink.finish().await.expect_err("a bad value");
    let error = error.as_db_error().expect("from the server");
    assert_eq!(error.code(), &SqlState::INVALID_TEXT_REPRESENTATION);
    assert!(error.where_().is_some_and(|place| place.contains("line 2")), "{error:?}");
    client.query("SELECT 1", &[]).await.expect("goes on");
}

#[tokio::test]
async fn a_cancel_request_ends_the_running_statement_only() {
    let server = Server::start().await;
    let client = server.client().await;
    let token = client.cancel_token();
    let query = client.query("SELECT count(*) FROM generate_series(1, 100000000000)", &[]);
    let cancel = async {
        server.busy().await;
        token.cancel_query(NoTls).await.expect("sent");
    };
    let (result, ()) = tokio::time::timeout(PATIENCE, futures::future::join(query, cancel)).await.expect("ends");
    assert_eq!(result.expect_err("cancelled").code(), Some(&SqlState::QUERY_CANCELED));
    client.query("SELECT 1", &[]).await.expect("goes on");
}

#[tokio::test]
async fn a_portal_gives_its_rows_in_portions() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let transaction = client.transaction().await.expect("begins");
    let portal = transaction.bind("SELECT * FROM generate_series(1, 10)", &[]).await.expect("binds");
    let mut sizes = Vec::new();
    loop {
        let rows = transaction.query_portal(&portal, 4).await.expect("runs");
        sizes.push(rows.len());
        if rows.len() < 4 {
            break;
        }
        // Other statements may come between.
        transaction.query("SELECT 1", &[]).await.expect("runs");
    }
    assert_eq!(sizes, [4, 4, 2]);
    transaction.commit().await.expect("commits");
}

#[tokio::test]
async fn pipelined_statements_are_answered_in_order() {
    let server = Server::start().await;
    let client = server.client().await;
    let statement = client.prepare_typed("SELECT $1", &[Type::INT4]).await.expect("prepares");
    let numbers: Vec<i32> = (0..500).collect();
    let results = futures::future::join_all(numbers.iter().map(|number| {
        let (client, statement) = (&client, &statement);
        async move { client.query_one(statement, &[number]).await.expect("runs").get::<_, i32>(0) }
    }))
    .await;
    assert_eq!(results, numbers);
}

#[tokio::test]
async fn large_results_stream() {
    let server = Server::start().await;
    let client = server.client().await;
    let rows =
        client.query_raw("SELECT * FROM generate_series(1, 300000)", std::iter::empty::<i32>()).await.expect("runs");
    let mut rows = pin!(rows);
    let mut count = 0;
    while let Some(row) = rows.next().await {
        count += 1;
        assert_eq!(row.expect("a row").get::<_, i32>(0), count);
    }
    assert_eq!(count, 300_000);
}

#[tokio::test]
async fn settings_come_from_the_startup_message_and_changes_are_reported() {
    let server = Server::start().await;
    let url = format!("{}?application_name=probe&options=-c%20statement_timeout%3D12345", server.url());
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("connects");
    assert_eq!(connection.parameter("server_encoding"), Some("UTF8"));
    assert_eq!(connection.parameter("integer_datetimes"), Some("on"));
    assert_eq!(connection.parameter("application_name"), Some("probe"));
    assert!(connection.parameter("server_version").is_some_and(|version| version.starts_with("15")));
    tokio::spawn(connection);
    let shown = client.query_one("SHOW statement_timeout", &[]).await.expect("shown");
    assert_eq!(shown.get::<_, &str>(0), "12345ms");
    assert_eq!(server.gateway.connections()[0].application_name, "probe");
}
