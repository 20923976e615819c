//! SQL over three gateways: what one client writes, every other reads at once, whichever instance it is connected to.

use quorate_tests::grid::Grid;

#[tokio::test(flavor = "multi_thread")]
async fn what_one_gateway_acknowledged_every_other_reads_at_once() {
    let grid = Grid::start().await;
    grid.session(1)
        .batch("CREATE TABLE note (id bigint PRIMARY KEY, text text NOT NULL) DISTRIBUTE BY HASH (id)")
        .await
        .unwrap();
    let mut sessions = [grid.session(1), grid.session(2), grid.session(3)];
    for id in 1..=60_usize {
        let (writer, reader) = (id % 3, (id + 1) % 3);
        sessions[writer].batch(&format!("INSERT INTO note VALUES ({id}, 'by gateway {}')", writer + 1)).await.unwrap();
        let read = sessions[reader].value(&format!("SELECT text FROM note WHERE id = {id}")).await.unwrap();
        assert_eq!(read, format!("by gateway {}", writer + 1));
        let all = sessions[(id + 2) % 3].number("SELECT count(*) FROM note").await.unwrap();
        assert_eq!(all, id as i64);
    }
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_over_all_sets_is_seen_whole_or_not_at_all() {
    let grid = Grid::start().await;
    let (mut writer, mut reader) = (grid.session(1), grid.session(2));
    writer.batch("CREATE TABLE pair (id bigint PRIMARY KEY, v bigint NOT NULL) DISTRIBUTE BY HASH (id)").await.unwrap();
    writer.batch("INSERT INTO pair SELECT i, 0 FROM generate_series(1, 30) AS g(i)").await.unwrap();
    writer.batch("BEGIN; UPDATE pair SET v = 1").await.unwrap();
    assert_eq!(reader.number("SELECT sum(v) FROM pair").await.unwrap(), 0, "not committed yet");
    assert_eq!(writer.number("SELECT sum(v) FROM pair").await.unwrap(), 30, "a session reads its own writes");
    writer.batch("ROLLBACK").await.unwrap();
    assert_eq!(reader.number("SELECT sum(v) FROM pair").await.unwrap(), 0);
    writer.batch("BEGIN; UPDATE pair SET v = 2; COMMIT").await.unwrap();
    assert_eq!(reader.number("SELECT sum(v) FROM pair").await.unwrap(), 60);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_without_a_block_in_one_message_are_one_transaction() {
    let grid = Grid::start().await;
    let mut session = grid.session(1);
    session.batch("CREATE TABLE t (id bigint PRIMARY KEY)").await.unwrap();
    let code = session.refused("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2); INSERT INTO t VALUES (1)").await;
    assert_eq!(code, "23505");
    assert_eq!(grid.session(3).number("SELECT count(*) FROM t").await.unwrap(), 0);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_in_and_out_carry_the_same_rows() {
    use futures::{SinkExt as _, TryStreamExt as _};

    let grid = Grid::start().await;
    let mut session = grid.session(2);
    session.batch("CREATE TABLE item (id bigint PRIMARY KEY, name text, price numeric(8, 2))").await.unwrap();
    let rows: String = (1..=500)
        .map(|id| format!("{id}\t{}\t{id}.50\n", if id % 7 == 0 { "\\N".to_owned() } else { format!("name\\t{id}") }))
        .collect();
    let client = session.client().await.unwrap();
    let mut sink = Box::pin(client.copy_in("COPY item FROM STDIN").await.unwrap());
    sink.send(std::io::Cursor::new(rows.clone().into_bytes())).await.unwrap();
    assert_eq!(sink.as_mut().finish().await.unwrap(), 500);
    let chunks: Vec<_> = Box::pin(client.copy_out("COPY item TO STDOUT").await.unwrap()).try_collect().await.unwrap();
    let copied = String::from_utf8(chunks.concat()).unwrap();
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(sorted(&copied), sorted(&rows));
    assert_eq!(session.number("SELECT count(*) FROM item WHERE name IS NULL").await.unwrap(), 71);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_see_tables_that_were_made_anew() {
    let grid = Grid::start().await;
    let mut session = grid.session(1);
    session.batch("CREATE TABLE t (id bigint PRIMARY KEY, v bigint)").await.unwrap();
    let client = session.client().await.unwrap();
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2)").await.unwrap();
    assert_eq!(client.execute(&insert, &[&1_i64, &10_i64]).await.unwrap(), 1);
    grid.session(2).batch("DROP TABLE t; CREATE TABLE t (id bigint PRIMARY KEY, v bigint)").await.unwrap();
    assert_eq!(client.execute(&insert, &[&1_i64, &20_i64]).await.unwrap(), 1, "the new table is empty");
    assert_eq!(grid.session(3).number("SELECT v FROM t WHERE id = 1").await.unwrap(), 20);
    grid.finish().await;
}
