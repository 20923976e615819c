//! Message sequences that drivers do not send, and bytes that nobody should.

use crate::support::{Answer, Raw, Server, bind, describe_portal, execute, kinds, message, parse, query, sync};

fn error(answers: &[Answer]) -> (String, String) {
    let answer = answers.iter().find(|answer| answer.kind == 'E').expect("an error");
    (answer.field('C').expect("a code"), answer.field('S').expect("a severity"))
}

#[tokio::test]
async fn encryption_is_refused_and_the_session_goes_on_in_clear() {
    use tokio::io::AsyncReadExt;
    let server = Server::start().await;
    let mut raw = Raw::connect(server.address).await;
    for code in [80877104u32, 80877103] {
        raw.send(&8u32.to_be_bytes()).await;
        raw.send(&code.to_be_bytes()).await;
        let mut answer = [0];
        raw.stream.read_exact(&mut answer).await.expect("answered");
        assert_eq!(&answer, b"N");
    }
    raw.start(&[("user", "tester"), ("database", "demo")]).await;
    let greeting = raw.until_ready().await;
    assert!(kinds(&greeting).starts_with("RS"), "{}", kinds(&greeting));
    assert!(kinds(&greeting).ends_with("KZ"), "{}", kinds(&greeting));
}

#[tokio::test]
async fn a_newer_protocol_is_negotiated_down() {
    let server = Server::start().await;
    let mut raw = Raw::connect(server.address).await;
    let mut packet = vec![0, 0, 0, 0];
    packet.extend_from_slice(&(3u32 << 16 | 2).to_be_bytes());
    packet.extend_from_slice(b"user\0tester\0database\0demo\0_pq_.new\x001\0\0");
    let length = packet.len() as u32;
    packet[..4].copy_from_slice(&length.to_be_bytes());
    raw.send(&packet).await;
    let greeting = raw.until_ready().await;
    assert_eq!(greeting[0].kind, 'v');
    assert_eq!(greeting[0].body, [&[0, 3, 0, 0, 0, 0, 0, 1][..], b"_pq_.new\0"].concat());
    assert_eq!(greeting.last().expect("some").kind, 'Z');
}

#[tokio::test]
async fn an_unknown_or_closed_database_is_refused() {
    let server = Server::start().await;
    for (name, code) in [("nonsense", "3D000"), ("loading", "57P03")] {
        let mut raw = Raw::connect(server.address).await;
        raw.start(&[("user", "tester"), ("database", name)]).await;
        assert_eq!(error(&raw.until_ready().await), (code.to_string(), "FATAL".to_string()));
    }
    server.sessions(0).await;
}

#[tokio::test]
async fn statements_of_one_query_run_up_to_the_first_error() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.send(&query("SELECT 1; SELECT 1/0; SELECT 2")).await;
    let answers = raw.until_ready().await;
    assert_eq!(kinds(&answers).matches('D').count(), 1, "{}", kinds(&answers));
    assert!(kinds(&answers).ends_with("EZ"), "{}", kinds(&answers));
    assert_eq!(error(&answers).0, "22012");
    raw.send(&query(" ; ")).await;
    assert_eq!(kinds(&raw.until_ready().await), "IZ");
}

#[tokio::test]
async fn a_batch_is_answered_up_to_each_sync() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let good = [parse("", "SELECT 1"), bind("", "", &[]), describe_portal(""), execute("", 0), sync()].concat();
    let bad = [parse("", "SELEC 1"), bind("", "", &[]), execute("", 0), sync()].concat();
    raw.send(&[good.clone(), bad, good].concat()).await;
    assert_eq!(kinds(&raw.until_ready().await), "12TDCZ");
    // Everything between the error and its Sync is skipped.
    assert_eq!(kinds(&raw.until_ready().await), "EZ");
    assert_eq!(kinds(&raw.until_ready().await), "12TDCZ");
}

#[tokio::test]
async fn a_batch_may_come_byte_by_byte() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let batch = [parse("s", "SELECT 7"), bind("p", "s", &[]), execute("p", 0), sync()].concat();
    for byte in batch {
        raw.send(&[byte]).await;
    }
    let answers = raw.until_ready().await;
    assert_eq!(kinds(&answers), "12DCZ");
    assert_eq!(answers[2].values(), [Some(b"7".to_vec())]);
}

#[tokio::test]
async fn an_answer_is_not_held_back_by_the_next_statement() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let slow = "SELECT count(*) FROM generate_series(1, 100000000000)";
    raw.send(&[query("SELECT 1"), query(slow)].concat()).await;
    assert_eq!(kinds(&raw.until_ready().await), "TDCZ");
}

#[tokio::test]
async fn flush_brings_answers_without_a_sync() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.send(&[parse("", "SELECT 1"), message('H', b"")].concat()).await;
    assert_eq!(raw.next().await.expect("flushed").kind, '1');
    raw.send(&sync()).await;
    assert_eq!(kinds(&raw.until_ready().await), "Z");
}

#[tokio::test]
async fn portals_are_suspended_resumed_and_forgotten() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.send(&query("BEGIN")).await;
    raw.until_ready().await;
    let batch = [
        parse("", "SELECT * FROM generate_series(1, 3)"),
        bind("p", "", &[]),
        execute("p", 2),
        sync(),
        execute("p", 2),
        execute("p", 0),
        sync(),
        bind("p", "", &[]),
        sync(),
    ]
    .concat();
    raw.send(&batch).await;
    assert_eq!(kinds(&raw.until_ready().await), "12DDsZ");
    let answers = raw.until_ready().await;
    assert_eq!(kinds(&answers), "DCCZ");
    assert_eq!(answers[2].text(), "SELECT 0");
    assert_eq!(error(&raw.until_ready().await).0, "42P03");
    raw.send(&query("ROLLBACK")).await;
    raw.until_ready().await;
    // The end of the transaction took the portal.
    raw.send(&[execute("p", 0), sync()].concat()).await;
    assert_eq!(error(&raw.until_ready().await).0, "34000");
}

#[tokio::test]
async fn going_back_to_a_savepoint_shows_in_tags_and_the_status() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    for (sql, expected, status) in [
        ("SAVEPOINT s", "25P01", b'I'),
        ("SELECT 1; SAVEPOINT s", "25P01", b'I'),
        ("BEGIN; SAVEPOINT s", "SAVEPOINT", b'T'),
        ("SELECT 1 / 0", "22012", b'E'),
        ("RELEASE s", "25P02", b'E'),
        ("ROLLBACK TO t", "3B001", b'E'),
        ("ROLLBACK TO s", "ROLLBACK", b'T'),
        ("SELECT 1 / 0; SELECT 2", "22012", b'E'),
        ("ROLLBACK TO SAVEPOINT s; SELECT 2; RELEASE s", "RELEASE", b'T'),
        ("RELEASE s", "3B001", b'E'),
        ("COMMIT", "ROLLBACK", b'I'),
    ] {
        raw.send(&query(sql)).await;
        let answers = raw.until_ready().await;
        let last = &answers[answers.len() - 2];
        let told = if last.kind == 'E' { error(&answers).0 } else { last.text() };
        assert_eq!((told.as_str(), answers[answers.len() - 1].body[0]), (expected, status), "{sql}");
    }
}

#[tokio::test]
async fn going_back_to_a_savepoint_takes_the_portals_bound_behind_it() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let run = |sql| [parse("", sql), bind("", "", &[]), execute("", 0)].concat();
    let rows = [
        run("BEGIN"),
        parse("three", "SELECT * FROM generate_series(1, 3)"),
        bind("before", "three", &[]),
        execute("before", 1),
        run("SAVEPOINT s"),
        bind("behind", "three", &[]),
        execute("behind", 1),
        sync(),
    ];
    raw.send(&rows.concat()).await;
    assert_eq!(kinds(&raw.until_ready().await), "12C12Ds12C2DsZ");
    raw.send(
        &[
            run("SELECT 1 / 0"),
            sync(),
            execute("before", 1),
            sync(),
            run("ROLLBACK TO s"),
            execute("before", 0),
            sync(),
        ]
        .concat(),
    )
    .await;
    assert_eq!(error(&raw.until_ready().await).0, "22012");
    assert_eq!(error(&raw.until_ready().await).0, "25P02", "nothing is to be seen of a failed block");
    let answers = raw.until_ready().await;
    assert_eq!((kinds(&answers).as_str(), answers[2].text().as_str()), ("12CDDCZ", "ROLLBACK"));
    raw.send(&[bind("behind", "three", &[]), execute("behind", 0), sync()].concat()).await;
    assert_eq!(kinds(&raw.until_ready().await), "2DDDCZ", "the name is free, and the statement still there");
    raw.send(&[run("ROLLBACK TO s"), execute("behind", 0), sync()].concat()).await;
    assert_eq!(error(&raw.until_ready().await).0, "34000");
}

#[tokio::test]
async fn errors_that_no_statement_saw_fail_the_transaction_too() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.send(&query("CREATE TABLE t (a int PRIMARY KEY)")).await;
    raw.until_ready().await;
    let insert = |a: &str| [parse("i", "INSERT INTO t VALUES ($1)"), bind("", "i", &[a]), execute("", 0)].concat();
    let wrong = [
        bind("", "i", &["abc"]),
        bind("", "i", &[]),
        bind("", "nothing", &[]),
        describe_portal("nothing"),
        execute("nothing", 0),
        message('C', b"?nothing\0"),
    ];
    for wrong in wrong {
        // What came before it in the same implicit transaction is not committed by Sync.
        raw.send(&[insert("1"), wrong.clone(), sync()].concat()).await;
        assert_eq!(raw.until_ready().await.last().expect("ready").body, b"I");
        // A block can only be rolled back.
        raw.send(
            &[
                query("BEGIN"),
                parse("j", "INSERT INTO t VALUES (2)"),
                bind("", "j", &[]),
                execute("", 0),
                wrong.clone(),
                sync(),
            ]
            .concat(),
        )
        .await;
        raw.until_ready().await;
        assert_eq!(raw.until_ready().await.last().expect("ready").body, b"E");
        raw.send(&query("COMMIT")).await;
        let answers = raw.until_ready().await;
        assert_eq!(answers[0].text(), "ROLLBACK");
        // Back at a savepoint it goes on.
        let behind = [query("BEGIN; SAVEPOINT s"), wrong, sync(), query("ROLLBACK TO s; SELECT 1; COMMIT")].concat();
        raw.send(&behind).await;
        raw.until_ready().await;
        assert_eq!(raw.until_ready().await.last().expect("ready").body, b"E");
        let answers = raw.until_ready().await;
        assert_eq!(kinds(&answers), "CTDCCZ", "{answers:?}");
        raw.send(&[query("SELECT count(*) FROM t"), query("DEALLOCATE ALL")].concat()).await;
        let answers = raw.until_ready().await;
        assert_eq!(answers[1].values(), [Some(b"0".to_vec())]);
        raw.until_ready().await;
    }
}

#[tokio::test]
async fn fetch_gives_the_rows_and_columns_of_the_cursor_that_there_is() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let fetch = [parse("f", "FETCH ALL FROM c"), bind("", "f", &[]), describe_portal(""), execute("", 0), sync()];
    raw.send(&[query("BEGIN; DECLARE c CURSOR FOR SELECT 1"), fetch.concat()].concat()).await;
    raw.until_ready().await;
    assert_eq!(kinds(&raw.until_ready().await), "12TDCZ");
    // Another cursor of the name has other columns; the statement is the same.
    raw.send(&[query("CLOSE c; DECLARE c CURSOR FOR SELECT 1, 'a'"), fetch[1..].concat()].concat()).await;
    raw.until_ready().await;
    let answers = raw.until_ready().await;
    assert_eq!(kinds(&answers), "2TDCZ");
    assert_eq!(answers[1].body[..2], [0, 2]);
    assert_eq!(answers[2].values().len(), 2);
    raw.send(&[query("ROLLBACK"), parse("p", "FETCH 4 FROM c"), sync()].concat()).await;
    raw.until_ready().await;
    raw.until_ready().await;
    // A part of what it gives is given; the cursor stands behind all of it, and may be closed.
    let part = [
        query("BEGIN; DECLARE c CURSOR FOR SELECT * FROM generate_series(1, 10)"),
        bind("four", "p", &[]),
        execute("four", 2),
        sync(),
    ];
    raw.send(&part.concat()).await;
    raw.until_ready().await;
    assert_eq!(kinds(&raw.until_ready().await), "2DDsZ");
    raw.send(&query("FETCH c; CLOSE c")).await;
    let answers = raw.until_ready().await;
    assert_eq!(answers[1].values(), [Some(b"5".to_vec())]);
    raw.send(&[execute("four", 0), sync()].concat()).await;
    let answers = raw.until_ready().await;
    assert_eq!(kinds(&answers), "DDCZ");
    assert_eq!(answers[1].values(), [Some(b"4".to_vec())]);
    assert_eq!(answers[2].text(), "FETCH 2", "each part is counted by itself");
    raw.send(&[execute("four", 0), sync()].concat()).await;
    assert_eq!(raw.until_ready().await[0].text(), "FETCH 0");
}

#[tokio::test]
async fn statements_and_portals_can_be_closed() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let batch =
        [parse("s", "SELECT 1"), message('C', b"Ss\0"), message('C', b"Ps\0"), bind("", "s", &[]), sync()].concat();
    raw.send(&batch).await;
    let answers = raw.until_ready().await;
    assert_eq!(kinds(&answers), "133EZ");
    assert_eq!(error(&answers).0, "26000");
    raw.send(&[parse("t", "SELECT 1"), parse("t", "SELECT 2"), sync()].concat()).await;
    assert_eq!(error(&raw.until_ready().await).0, "42P05");
}

#[tokio::test]
async fn what_does_not_suit_the_statement_is_a_violation() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    // One parameter, none given; a cut-off Bind; an unknown subtype; a value that is no integer.
    for (batch, code) in [
        ([parse("", "SELECT $1::int"), bind("", "", &[])].concat(), "08P01"),
        (message('B', b"\0\0\0\x01"), "08P01"),
        (message('D', b"X\0"), "08P01"),
        ([parse("", "SELECT $1::int"), bind("", "", &["x"])].concat(), "22P02"),
        (message('P', b"\0SELECT '\xff'\0\0\0"), "22021"),
    ] {
        raw.send(&[batch, sync()].concat()).await;
        let answers = raw.until_ready().await;
        assert_eq!(error(&answers), (code.to_string(), "ERROR".to_string()));
    }
    raw.send(&query("SELECT 1")).await;
    assert_eq!(kinds(&raw.until_ready().await), "TDCZ");
}

#[tokio::test]
async fn bytes_that_are_no_messages_end_the_session() {
    let server = Server::start().await;
    for bytes in [&b"!\0\0\0\x04"[..], b"Q\0\0\0\0", b"S\xff\xff\xff\xff", b"p\0\0\0\x05\0", b"S\0\0\x40\0"] {
        let mut raw = server.raw().await;
        raw.send(bytes).await;
        let answers = raw.until_ready().await;
        assert_eq!(error(&answers), ("08P01".to_string(), "FATAL".to_string()), "{bytes:?}");
        assert!(raw.next().await.is_none());
    }
    let mut raw = Raw::connect(server.address).await;
    raw.send(b"GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(error(&raw.until_ready().await).0, "08P01");
    server.sessions(0).await;
}

#[tokio::test]
async fn messages_of_a_failed_copy_are_ignored() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.send(&query("CREATE TABLE t (id int PRIMARY KEY)")).await;
    raw.until_ready().await;
    raw.send(&query("COPY t FROM STDIN")).await;
    assert_eq!(raw.next().await.expect("begins").kind, 'G');
    let pieces = [message('d', b"nonsense\n"), message('d', b"1\n"), message('c', b""), query("SELECT 1")].concat();
    raw.send(&pieces).await;
    assert_eq!(kinds(&raw.until_ready().await), "EZ");
    assert_eq!(kinds(&raw.until_ready().await), "TDCZ");
    // A message that has no place inside COPY.
    raw.send(&query("COPY t FROM STDIN")).await;
    assert_eq!(raw.next().await.expect("begins").kind, 'G');
    raw.send(&query("SELECT 1")).await;
    assert_eq!(error(&raw.until_ready().await), ("08P01".to_string(), "FATAL".to_string()));
}

#[tokio::test]
async fn copy_runs_in_the_extended_protocol_too() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.send(&query("CREATE TABLE t (id int PRIMARY KEY)")).await;
    raw.until_ready().await;
    raw.send(&[parse("", "COPY t FROM STDIN"), bind("", "", &[]), execute("", 0)].concat()).await;
    for kind in ['1', '2', 'G'] {
        assert_eq!(raw.next().await.expect("an answer").kind, kind);
    }
    raw.send(&[message('d', b"1\n2\n"), message('c', b""), sync()].concat()).await;
    let answers = raw.until_ready().await;
    assert_eq!(kinds(&answers), "CZ");
    assert_eq!(answers[0].text(), "COPY 2");
}

#[tokio::test]
async fn results_can_be_binary() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    let bind = message('B', b"\0\0\0\0\0\0\0\x01\0\x01");
    raw.send(&[parse("", "SELECT 258"), bind, describe_portal(""), execute("", 0), sync()].concat()).await;
    let answers = raw.until_ready().await;
    assert_eq!(kinds(&answers), "12TDCZ");
    assert_eq!(answers[2].body.last(), Some(&1));
    assert_eq!(answers[3].values(), [Some(vec![0, 0, 1, 2])]);
}

#[tokio::test]
async fn the_function_call_protocol_is_refused_by_name() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.send(&message('F', b"\0\0\0\x01\0\0\0\0\0\0")).await;
    assert_eq!(error(&raw.until_ready().await), ("0A000".to_string(), "ERROR".to_string()));
}

#[tokio::test]
async fn notices_and_changed_settings_come_with_the_answer() {
    let server = Server::start().await;
    let mut raw = server.raw().await;
    raw.send(&query("CREATE TABLE t (id int PRIMARY KEY); VACUUM t")).await;
    let answers = raw.until_ready().await;
    assert_eq!(kinds(&answers), "CNCZ");
    assert_eq!(answers[1].field('S').as_deref(), Some("NOTICE"));
    raw.send(&query("SET application_name = 'renamed'")).await;
    let answers = raw.until_ready().await;
    assert_eq!(kinds(&answers), "CSZ");
    assert_eq!(answers[1].body, b"application_name\0renamed\0");
    assert_eq!(server.gateway.connections()[0].application_name, "renamed");
}

/// Well-framed nonsense must end in an answer or in the end of the session, never in a session that hangs or is left over.
#[tokio::test]
async fn random_messages_leave_no_session_behind() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    let server = Server::start().await;
    for seed in 0..150 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut raw = server.raw().await;
        let mut bytes = Vec::new();
        for _ in 0..random.random_range(1..12) {
            let kind = b"PBDECSQHFdcfp"[random.random_range(0..13)];
            let pieces: [&[u8]; 8] =
                [b"\0", b"\0\x01", b"\xff\xff\xff\xff", b"SELECT 1", b"s\0", b"COPY t FROM STDIN", b"S", b"P"];
            let body: Vec<u8> = (0..random.random_range(0..8))
                .flat_map(|_| pieces[random.random_range(0..pieces.len())])
                .copied()
                .collect();
            bytes.extend_from_slice(&message(kind as char, &body));
        }
        bytes.extend_from_slice(&sync());
        raw.send(&bytes).await;
        let answers = raw.until_ready().await;
        assert!(matches!(answers.last(), Some(Answer { kind: 'Z' | 'E', .. })), "seed {seed}: {}", kinds(&answers));
    }
    server.sessions(0).await;
    server.raw().await;
}
