//! Queries over several relations on a real grid: they see one snapshot and their transaction's own writes, can be cancelled, and stay inside their memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quorate_tests::check::bank::Bank;
use quorate_tests::grid::{Grid, Options};

const ACCOUNTS: i64 = 40;
/// What each account has at first.
const OPENING: i64 = 1000;
/// Changes that must have been committed while it was asked.
const LOAD: u64 = 50;

/// Whether to ask once more: `least` times, and on until enough was changed meanwhile, however fast the machine is.
///
/// # Panics
/// When the changes take longer than a minute.
fn ask_on(since: Instant, round: usize, least: usize, changed: u64) -> bool {
    let on = round < least || changed < LOAD;
    assert!(!on || since.elapsed() < Duration::from_secs(60), "round {round}, {changed} changes");
    on
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_sees_one_snapshot_while_money_moves() {
    let grid = Grid::start().await;
    let gateways = grid.gateways();
    Bank::create(&gateways, ACCOUNTS).await.unwrap();
    let bank = Bank::start(&gateways, ACCOUNTS, 6, 0, 21);
    // Balances, and what the history says that they should be, from one statement.
    let query = "SELECT a.id, a.balance, coalesce(i.amount, 0) - coalesce(o.amount, 0) FROM account a \
         LEFT JOIN (SELECT target, sum(amount) AS amount FROM transfer GROUP BY target) i ON i.target = a.id \
         LEFT JOIN (SELECT source, sum(amount) AS amount FROM transfer GROUP BY source) o ON o.source = a.id";
    let (start, mut round) = (Instant::now(), 0);
    while ask_on(start, round, 15, bank.committed()) {
        // Rows that it reads change all the time, and it never fails for that.
        let rows = gateways.session(round).rows(query).await.unwrap();
        assert_eq!(rows.len(), ACCOUNTS as usize);
        for row in rows {
            let number = |at: usize| row[at].as_ref().unwrap().parse::<i64>().unwrap();
            assert_eq!(number(1), OPENING + number(2), "account {}", number(0));
        }
        round += 1;
    }
    bank.finish().await.unwrap();
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_block_sees_one_snapshot_while_money_moves() {
    let grid = Grid::start().await;
    let gateways = grid.gateways();
    Bank::create(&gateways, ACCOUNTS).await.unwrap();
    let bank = Bank::start(&gateways, ACCOUNTS, 6, 0, 22);
    let (start, mut round) = (Instant::now(), 0);
    while ask_on(start, round, 10, bank.committed()) {
        let mut session = gateways.session(round);
        session.batch("BEGIN READ ONLY").await.unwrap();
        let moved = session.number("SELECT coalesce(sum(amount), 0) FROM transfer").await.unwrap();
        let mut total = 0;
        for id in 1..=ACCOUNTS {
            total += session.number(&format!("SELECT balance FROM account WHERE id = {id}")).await.unwrap();
        }
        assert_eq!(total, ACCOUNTS * OPENING);
        assert_eq!(session.number("SELECT sum(balance) FROM account").await.unwrap(), total);
        assert_eq!(session.number("SELECT coalesce(sum(amount), 0) FROM transfer").await.unwrap(), moved);
        // The next one begins after this one and sees at least as much.
        let later = gateways.session(round + 1).number("SELECT coalesce(sum(amount), 0) FROM transfer").await.unwrap();
        assert!(later >= moved, "{later} after {moved}");
        session.batch("COMMIT").await.unwrap();
        round += 1;
    }
    bank.finish().await.unwrap();
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_too_large_to_be_held_back_streams_to_its_end_while_its_rows_change() {
    const ROWS: i64 = 6000;
    let grid = Grid::start().await;
    let gateways = grid.gateways();
    let mut session = gateways.session(0);
    session.batch("CREATE TABLE wide (id bigint PRIMARY KEY, v bigint NOT NULL, t text NOT NULL)").await.unwrap();
    let fill = format!("INSERT INTO wide SELECT i, 0, repeat('x', 1000) FROM generate_series(1, {ROWS}) AS g(i)");
    session.batch(&fill).await.unwrap();
    let (stop, changed) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let (mut session, stop, changed) = (gateways.session(writer as usize), stop.clone(), changed.clone());
        writers.spawn(async move {
            let mut moved = 0;
            while !stop.load(Ordering::Relaxed) {
                // Between rows of different replica sets, most of the time.
                let (from, to) = (moved * 7 % 1500 * 4 + writer + 1, moved * 11 % 1500 * 4 + writer + 1);
                let change = format!(
                    "BEGIN; UPDATE wide SET v = v - 1 WHERE id = {from}; UPDATE wide SET v = v + 1 WHERE id = {to}; COMMIT"
                );
                if session.batch(&change).await.is_ok() {
                    changed.fetch_add(1, Ordering::Relaxed);
                } else {
                    let _ = session.batch("ROLLBACK").await;
                }
                moved += 1;
            }
        });
    }
    let (start, mut round) = (Instant::now(), 0);
    while ask_on(start, round, 4, changed.load(Ordering::Relaxed)) {
        let rows = gateways.session(round).rows("SELECT v, t FROM wide").await.unwrap();
        assert_eq!(rows.len(), ROWS as usize);
        let sum: i64 = rows.iter().map(|row| row[0].as_ref().unwrap().parse::<i64>().unwrap()).sum();
        assert_eq!(sum, 0);
        round += 1;
    }
    stop.store(true, Ordering::Relaxed);
    writers.join_all().await;
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_sees_its_transactions_own_writes_and_is_refused_when_it_is_outdated() {
    let grid = Grid::start().await;
    let mut session = grid.session(1);
    session
        .batch(
            "CREATE TABLE a (id bigint PRIMARY KEY, v bigint); CREATE TABLE b (id bigint PRIMARY KEY, v bigint); \
             INSERT INTO a SELECT i, i FROM generate_series(1, 20) AS g(i); INSERT INTO b SELECT i, i FROM generate_series(1, 10) AS g(i)",
        )
        .await
        .unwrap();
    let count = "SELECT count(*) FROM a JOIN b ON a.id = b.id";
    session.batch("BEGIN; INSERT INTO b SELECT i, i FROM generate_series(11, 15) AS g(i)").await.unwrap();
    assert_eq!(session.number(count).await.unwrap(), 15);
    assert_eq!(grid.session(2).number(count).await.unwrap(), 10);
    // What the query has read is validated with the rest of its transaction.
    grid.session(3).batch("DELETE FROM a WHERE id = 1").await.unwrap();
    assert_eq!(session.refused("COMMIT").await, "40001");
    assert_eq!(grid.session(2).number(count).await.unwrap(), 9);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endless_join_is_cancelled_and_one_beyond_memory_is_refused_while_a_sort_goes_to_disk() {
    let config = "memory_limit = \"128MiB\"".to_owned();
    let grid = Grid::start_with(Options { config, ..Options::default() }).await;
    let mut session = grid.session(1);
    session.batch("SET statement_timeout = '300ms'").await.unwrap();
    let start = Instant::now();
    let endless =
        "SELECT count(*) FROM generate_series(1, 1000000) AS a(i) JOIN generate_series(1, 1000000) AS b(j) ON i < j";
    assert_eq!(session.refused(endless).await, "57014");
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    session.batch("SET statement_timeout = 0").await.unwrap();
    // A quarter of the limit is for queries: these texts take more to sort, and go to disk.
    let sorted = "SELECT t FROM (SELECT row_number() OVER (ORDER BY t) AS n, t FROM \
         (SELECT repeat(i::text, 20) AS t FROM generate_series(1, 500000) AS g(i)) x) y WHERE n = 500000";
    assert_eq!(session.value(sorted).await.unwrap(), "99999".repeat(20));
    // The smaller side of a join is held, and so many texts are too many.
    let large = "SELECT count(*) FROM (SELECT i, repeat(i::text, 20) AS t FROM generate_series(1, 500000) AS g(i)) a \
         JOIN (SELECT i, repeat(i::text, 20) AS t FROM generate_series(1, 500000) AS g(i)) b ON a.i = b.i AND a.t || b.t <> ''";
    let failure = session.batch(large).await.unwrap_err();
    assert_eq!(failure.code(), Some("53200"), "{failure}");
    assert_eq!(session.number("SELECT 1").await.unwrap(), 1, "the session goes on");
    grid.finish().await;
}
