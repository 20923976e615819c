//! Tables that are emptied and replaced by one gateway while others, with plans made before, go on writing: each row lies in the table that its
//! transaction saw, and none is lost in between.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use quorate_tests::grid::{Grid, SETTLE};
use quorate_tests::sql::{Failure, Session, retried};
use quorate_tests::wait::eventually;
use tokio::task::JoinSet;

/// How often the table is replaced, and as often emptied.
const ROUNDS: i64 = 12;

/// Of a writer after each statement, and once more for each time that the change of the table has lost.
const PAUSE: Duration = Duration::from_millis(20);

/// The table's form in this round: columns come in another order, and one more is there every other time. A row knows from its default in which
/// form it was written.
fn create(round: i64) -> String {
    let columns = match round % 4 {
        0 => format!("id bigint PRIMARY KEY, made bigint DEFAULT {round}"),
        1 => format!("made bigint DEFAULT {round}, more text DEFAULT 'more', id bigint PRIMARY KEY"),
        2 => format!("more text DEFAULT 'text', made bigint DEFAULT {round}, id bigint PRIMARY KEY"),
        _ => format!("id bigint PRIMARY KEY, more text, made bigint DEFAULT {round}"),
    };
    format!("CREATE TABLE t ({columns}) DISTRIBUTE BY HASH (id)")
}

/// Inserts rows by a statement that is prepared once, until told to stop; gives the number of rows acknowledged.
async fn writer(
    mut session: Session,
    first: i64,
    written: Arc<AtomicI64>,
    losses: Arc<AtomicI64>,
    stop: Arc<AtomicBool>,
) -> i64 {
    let client = session.client().await.unwrap();
    let insert = client.prepare("INSERT INTO t (id) VALUES ($1), ($2), ($3)").await.unwrap();
    let (mut id, mut rows) = (first, 0);
    while !stop.load(Ordering::Relaxed) {
        id += 3;
        match client.execute(&insert, &[&id, &(id + 1), &(id + 2)]).await {
            Ok(count) => {
                assert_eq!(count, 3);
                rows += 3;
                written.fetch_add(3, Ordering::Relaxed);
            }
            Err(error) => {
                let failure = Failure::of(&error, true);
                assert!(failure.is_retryable(), "a writer must not notice more than a conflict: {failure}");
            }
        }
        // Who reads the whole table and then changes it loses to every row written meanwhile: without pauses it would never win.
        tokio::time::sleep(PAUSE * (1 + losses.load(Ordering::Relaxed) as u32)).await;
    }
    rows
}

/// Rows found in the table, all of which must have been written in the form of this round.
async fn count(session: &mut Session, round: i64) -> Result<i64, Failure> {
    let rows = session.rows("SELECT count(*), min(made), max(made) FROM t").await?;
    let number = |at: usize| rows[0][at].as_ref().map(|text| text.parse::<i64>().unwrap());
    let (rows, first, last) = (number(0).unwrap(), number(1), number(2));
    assert!(
        rows == 0 || (first, last) == (Some(round), Some(round)),
        "round {round}: rows of rounds {first:?} to {last:?}"
    );
    Ok(rows)
}

/// Counts the rows and empties or replaces the table, all in one transaction.
async fn change(session: &mut Session, round: i64, ddl: &str) -> Result<i64, Failure> {
    session.batch("BEGIN").await?;
    let result = async {
        let rows = count(session, round).await?;
        session.batch(ddl).await?;
        session.batch("COMMIT").await?;
        Ok(rows)
    };
    let result = result.await;
    if result.is_err() {
        session.batch("ROLLBACK").await?;
    }
    result
}

#[tokio::test(flavor = "multi_thread")]
async fn no_row_is_lost_while_its_table_is_emptied_and_replaced() {
    let grid = Grid::start().await;
    let mut session = grid.session(1);
    session.batch(&create(0)).await.unwrap();
    let (written, stop) = (Arc::<AtomicI64>::default(), Arc::<AtomicBool>::default());
    let losses = Arc::<AtomicI64>::default();
    let mut writers = JoinSet::new();
    for client in 0..4 {
        let session = grid.session(2 + client % 2);
        writers.spawn(writer(session, (client as i64) << 32, written.clone(), losses.clone(), stop.clone()));
    }
    let mut found = 0;
    for round in 0..ROUNDS {
        let target = written.load(Ordering::Relaxed) + 60;
        eventually("rows are written", SETTLE, async || {
            anyhow::ensure!(written.load(Ordering::Relaxed) >= target, "{}", written.load(Ordering::Relaxed));
            Ok(())
        })
        .await;
        for ddl in ["TRUNCATE t".to_owned(), format!("DROP TABLE t; {}", create(round + 1))] {
            // Writers are in the way of the count again and again, what a transaction with reads must expect; they slow down until it wins.
            let start = std::time::Instant::now();
            found += loop {
                match change(&mut session, round, &ddl).await {
                    Ok(rows) => break rows,
                    Err(failure) => assert!(failure.is_retryable() && start.elapsed() < SETTLE, "{failure}"),
                }
                losses.fetch_add(1, Ordering::Relaxed);
            };
            losses.store(0, Ordering::Relaxed);
        }
    }
    stop.store(true, Ordering::Relaxed);
    let acknowledged: i64 = writers.join_all().await.into_iter().sum();
    found += retried(SETTLE, async || count(&mut grid.session(3), ROUNDS).await).await.unwrap();
    assert_eq!(found, acknowledged, "rows found in all tables together, and rows acknowledged");
    grid.finish().await;
}
