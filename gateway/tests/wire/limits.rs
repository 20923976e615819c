//! Limits and ends: too many sessions, messages that are too long, clients that leave, and stopping.

use std::time::Duration;

use quorate_gateway::{Config, Farewell};
use tokio_postgres::NoTls;
use tokio_postgres::error::SqlState;

use crate::support::{PATIENCE, Raw, Server, message, query};

#[tokio::test]
async fn one_session_too_many_is_refused_and_leaving_makes_room() {
    let server = Server::with(Config { max_connections: 2, ..Config::default() }).await;
    let first = server.client().await;
    let _second = server.client().await;
    let error = tokio_postgres::connect(&server.url(), NoTls).await.err().expect("refused");
    assert_eq!(error.code(), Some(&SqlState::TOO_MANY_CONNECTIONS));
    // A cancel request needs no session.
    first.cancel_token().cancel_query(NoTls).await.expect("taken");
    drop(first);
    server.sessions(1).await;
    server.client().await.query("SELECT 1", &[]).await.expect("room again");
}

#[tokio::test]
async fn a_message_at_the_limit_passes_and_one_beyond_ends_the_session() {
    let server = Server::with(Config { message_bytes_max: 1000, ..Config::default() }).await;
    let text = |length: usize| format!("SELECT '{}'", "x".repeat(length - 4 - 9 - 1));
    let mut raw = server.raw().await;
    let message = query(&text(1000));
    assert_eq!(message.len(), 1001);
    raw.send(&message).await;
    let kinds: String = raw.until_ready().await.iter().map(|answer| answer.kind).collect();
    assert_eq!(kinds, "TDCZ");
    raw.send(&query(&text(1001))).await;
    let answers = raw.until_ready().await;
    assert_eq!(answers[0].field('C').as_deref(), Some("54000"));
    assert_eq!(answers[0].field('S').as_deref(), Some("FATAL"));
    assert!(raw.next().await.is_none());
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let server = Server::with(Config { startup_timeout: Duration::from_millis(50), ..Config::default() }).await;
    let mut raw = Raw::connect(server.address).await;
    let answers = raw.until_ready().await;
    assert_eq!(answers[0].field('C').as_deref(), Some("08P01"));
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_transaction_with_it() {
    let server = Server::start().await;
    let witness = server.client().await;
    witness.batch_execute("CREATE TABLE t (id int PRIMARY KEY)").await.expect("made");
    for terminate in [true, false] {
        let mut raw = server.raw().await;
        raw.send(&query("BEGIN; INSERT INTO t VALUES (1)")).await;
        raw.until_ready().await;
        if terminate {
            raw.send(&message('X', b"")).await;
        }
        drop(raw);
        server.sessions(1).await;
        let row = witness.query_one("SELECT count(*) FROM t", &[]).await.expect("runs");
        assert_eq!(row.get::<_, i64>(0), 0);
    }
}

#[tokio::test]
async fn a_statement_without_its_client_is_cancelled() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.send(&query("SELECT count(*) FROM generate_series(1, 100000000000)")).await;
    server.busy().await;
    drop(raw);
    server.sessions(0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_when_the_gateway_stops() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.send(&query("SELECT * FROM generate_series(1, 100000000)")).await;
    server.busy().await;
    server.stop().await;
}

#[tokio::test]
async fn sessions_are_told_when_the_gateway_stops() {
    let server = Server::start().await;
    let (mut idle, mut working) = (server.raw().await, server.raw().await);
    working.send(&query("SELECT count(*) FROM generate_series(1, 100000000000)")).await;
    server.busy().await;
    let address = server.address;
    server.stop().await;
    for raw in [&mut idle, &mut working] {
        let answers = raw.until_ready().await;
        let last = answers.last().expect("a farewell");
        assert_eq!((last.field('C').as_deref(), last.field('S').as_deref()), (Some("57P01"), Some("FATAL")));
    }
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_databases_sessions_can_be_disconnected() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    assert_eq!(server.gateway.disconnect_all("other", Farewell::Told).await, 0);
    let gone = server.gateway.disconnect_all("demo", Farewell::Told);
    let count = tokio::time::timeout(PATIENCE, gone).await.expect("they go");
    assert_eq!(count, 1);
    assert_eq!(server.gateway.connection_count(), 0);
    assert_eq!(raw.until_ready().await[0].field('C').as_deref(), Some("57P01"));
    // The gateway itself goes on.
    server.raw().await;
}

#[tokio::test]
async fn sessions_can_be_disconnected_after_their_transactions() {
    let server = Server::start().await;
    let (mut idle, mut working) = (server.raw().await, server.raw().await);
    working.send(&query("BEGIN")).await;
    working.until_ready().await;
    let open: Vec<_> = server.gateway.connections().into_iter().filter_map(|info| info.transaction).collect();
    assert!(matches!(&open[..], [block] if block.number == 1 && !block.failed), "{open:?}");
    let gateway = server.gateway.clone();
    let leaving = tokio::spawn(async move { gateway.disconnect_after_transactions("demo").await });
    while !server.gateway.connections().iter().any(|info| info.leaving) {
        tokio::task::yield_now().await;
    }
    working.send(&query("SELECT 1")).await;
    assert_eq!(working.until_ready().await.last().expect("an answer").kind, 'Z', "its transaction goes on");
    working.send(&query("COMMIT")).await;
    let answers = working.until_ready().await;
    assert_eq!(answers[0].kind, 'C', "the commit is answered before the end");
    let farewell = working.until_ready().await;
    assert_eq!(farewell.last().and_then(|last| last.field('C')).as_deref(), Some("57P01"));
    let count = tokio::time::timeout(PATIENCE, leaving).await.expect("it goes").expect("no panic");
    assert_eq!((count, server.gateway.connection_count()), (1, 1));
    idle.send(&query("SELECT 1")).await;
    assert_eq!(idle.until_ready().await.last().expect("an answer").kind, 'Z', "a session without a transaction stays");
}

#[tokio::test]
async fn a_client_that_takes_nothing_can_be_cut_off() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let gone = server.gateway.disconnect_all("demo", Farewell::Cut);
    assert_eq!(tokio::time::timeout(PATIENCE, gone).await.expect("they go"), 1);
    assert!(raw.next().await.is_none(), "not a word");
}

#[tokio::test]
async fn an_operator_can_end_one_transaction() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let process_id = server.gateway.connections()[0].process_id;
    raw.send(&query("BEGIN")).await;
    raw.until_ready().await;
    assert!(!server.gateway.end_transaction("demo", process_id, 2).await, "not this one");
    assert!(!server.gateway.end_transaction("other", process_id, 1).await, "not in this database");
    assert!(server.gateway.end_transaction("demo", process_id, 1).await);
    let answers = raw.until_ready().await;
    assert_eq!(answers[0].field('C').as_deref(), Some("57P01"));
    assert_eq!(answers[0].field('D').as_deref(), Some("An operator rolled its transaction back."));
}

#[tokio::test]
async fn a_cancel_request_with_a_wrong_key_does_nothing() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let process_id = server.gateway.connections()[0].process_id;
    let mut stranger = Raw::connect(server.address).await;
    let mut packet = 16u32.to_be_bytes().to_vec();
    packet.extend_from_slice(&80877102u32.to_be_bytes());
    packet.extend_from_slice(&process_id.to_be_bytes());
    packet.extend_from_slice(&0i32.to_be_bytes());
    stranger.send(&packet).await;
    assert!(stranger.next().await.is_none(), "closed without a word");
    raw.send(&query("SELECT 1")).await;
    assert_eq!(raw.until_ready().await.len(), 4);
}
