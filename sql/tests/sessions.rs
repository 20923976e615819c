//! What takes two sessions at once, or a client that takes its rows piece by piece: beyond the reach of the golden scripts.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use futures::future::{BoxFuture, join, pending};
use quorate_sql::error::{Error, SqlState};
use quorate_sql::exec::relational::NoEngine;
use quorate_sql::memory::MemoryDatabase;
use quorate_sql::session::{Environment, Execution, RowStream, Session, Timer, TransactionStatus};
use quorate_sql::value::Value;

/// Nothing here waits for time to pass.
struct NoTime;

impl Timer for NoTime {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        if duration < Duration::from_secs(1) { Box::pin(async {}) } else { Box::pin(pending()) }
    }
}

fn session(database: &MemoryDatabase) -> Session {
    let environment = Environment {
        timer: Arc::new(NoTime),
        process_id: 1,
        startup_parameters: Vec::new(),
        work_memory: 64 << 20,
        engine: Arc::new(NoEngine),
    };
    Session::new(Arc::new(database.clone()), "ann".to_owned(), "test".to_owned(), environment).expect("no settings")
}

/// Runs statements to their ends; the rows of the last one.
async fn run(session: &mut Session, sql: &str) -> Result<Vec<Vec<Value>>, Error> {
    let mut script = session.script(sql)?;
    let mut rows = Vec::new();
    while let Some(execution) = script.next(session).await? {
        rows.clear();
        if let Execution::Rows(mut stream) = execution {
            while let Some(batch) = stream.next(session, usize::MAX).await? {
                rows.extend(batch);
            }
        }
    }
    Ok(rows)
}

fn start(session: &mut Session, sql: &str) -> RowStream {
    let statement = block_on(session.prepare(sql, &[])).expect("prepares");
    match block_on(session.execute(&statement, Vec::new(), false)).expect("starts") {
        Execution::Rows(rows) => rows,
        _ => panic!("{sql} gives rows"),
    }
}

#[test]
fn sessions_and_streams_may_move_between_threads() {
    fn is_send<T: Send>(_: &T) {}
    fn is_sync<T: Sync>(_: &T) {}
    let mut session = session(&MemoryDatabase::new());
    let mut rows = start(&mut session, "select 1");
    is_sync(&rows);
    is_send(&rows.next(&mut session, 1));
    is_send(&session.script("select 1").expect("parses").next(&mut session));
    is_send(&run(&mut session, "select 1"));
    is_send(&session.sync());
    is_send(&session);
}

#[test]
fn an_update_waits_for_the_lock_and_sees_the_newest_value() {
    let database = MemoryDatabase::new();
    let (mut a, mut b) = (session(&database), session(&database));
    block_on(run(&mut a, "create table t (a int primary key, b int); insert into t values (1, 0)")).expect("set up");
    block_on(run(&mut a, "begin; update t set b = b + 1 where a = 1")).expect("locks");
    let waiting = run(&mut b, "update t set b = b + 10 where a = 1");
    let (waited, committed) = block_on(join(waiting, run(&mut a, "commit")));
    committed.expect("commits");
    waited.expect("goes on after the commit");
    assert_eq!(block_on(run(&mut a, "select b from t")), Ok(vec![vec![Value::Int32(11)]]));
}

#[test]
fn the_younger_of_two_that_wait_for_each_other_gives_way() {
    let database = MemoryDatabase::new();
    let (mut a, mut b) = (session(&database), session(&database));
    block_on(run(&mut a, "create table t (a int primary key, b int); insert into t values (1, 0), (2, 0)"))
        .expect("set up");
    block_on(run(&mut a, "begin; update t set b = 1 where a = 1")).expect("locks the first");
    block_on(run(&mut b, "begin; update t set b = 2 where a = 2")).expect("locks the second");
    let (first, second) =
        block_on(join(run(&mut a, "update t set b = 1 where a = 2"), run(&mut b, "update t set b = 2 where a = 1")));
    first.expect("the older one gets the lock");
    assert_eq!(second.map_err(|error| error.code), Err(SqlState::SERIALIZATION_FAILURE));
    assert_eq!(b.status(), TransactionStatus::Failed);
    block_on(run(&mut a, "commit")).expect("commits");
    block_on(run(&mut b, "rollback")).expect("rolls back");
    assert_eq!(block_on(run(&mut b, "select sum(b) from t")), Ok(vec![vec![Value::Int64(2)]]));
}

#[test]
fn rows_are_given_piece_by_piece_and_end_with_their_transaction() {
    let mut session = session(&MemoryDatabase::new());
    block_on(run(
        &mut session,
        "create table t (a int primary key); insert into t select x from generate_series(1, 3000) as x; begin",
    ))
    .expect("set up");
    let mut rows = start(&mut session, "select a from t order by a");
    let mut expected = 1;
    for most in [1, 10, 1000] {
        let batch = block_on(rows.next(&mut session, most)).expect("reads").expect("there are more");
        assert!(!batch.is_empty() && batch.len() <= most);
        for row in batch {
            assert_eq!(row, [Value::Int32(expected)]);
            expected += 1;
        }
    }
    // Another statement in between does not disturb it.
    block_on(run(&mut session, "select 1")).expect("runs");
    let batch = block_on(rows.next(&mut session, 1)).expect("reads").expect("there are more");
    assert_eq!(batch, [[Value::Int32(expected)]]);
    assert_eq!(rows.tag().rows, Some(u64::try_from(expected).expect("positive")));

    let mut late = start(&mut session, "select a from t");
    block_on(run(&mut session, "commit")).expect("commits");
    let error = loop {
        match block_on(late.next(&mut session, 500)) {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream outlived its transaction"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code, SqlState::INVALID_CURSOR_NAME);
    assert_eq!(session.status(), TransactionStatus::Idle);
}

#[test]
fn a_small_result_is_held_back_and_repeated_a_large_one_fails_at_its_end() {
    let database = MemoryDatabase::new();
    let mut session = session(&database);
    block_on(run(&mut session, "create table t (a int primary key, b text); insert into t select x, repeat('x', 5000) from generate_series(1, 2000) as x"))
        .expect("set up");
    database.lose_races(2);
    assert_eq!(block_on(run(&mut session, "select count(*) from t")), Ok(vec![vec![Value::Int64(2000)]]));

    database.lose_races(1);
    let mut script = session.script("select * from t").expect("parses");
    let Some(Execution::Rows(mut rows)) = block_on(script.next(&mut session)).expect("starts") else {
        panic!("gives rows")
    };
    let mut given = 0;
    let error = loop {
        match block_on(rows.next(&mut session, usize::MAX)) {
            Ok(Some(batch)) => given += batch.len(),
            Ok(None) => panic!("the lost race went unnoticed"),
            Err(error) => break error,
        }
    };
    assert_eq!((given, error.code), (2000, SqlState::SERIALIZATION_FAILURE));
    assert_eq!(session.status(), TransactionStatus::Idle);
}

#[test]
fn a_race_lost_for_good_is_reported() {
    let database = MemoryDatabase::new();
    let mut session = session(&database);
    block_on(run(&mut session, "create table t (a int primary key)")).expect("set up");
    database.lose_races(u32::MAX);
    let error = block_on(run(&mut session, "insert into t values (1)")).map_err(|error| error.code);
    assert_eq!(error, Err(SqlState::SERIALIZATION_FAILURE));
    database.lose_races(0);
    assert_eq!(block_on(run(&mut session, "select count(*) from t")), Ok(vec![vec![Value::Int64(0)]]));
}

#[test]
fn a_savepoint_takes_back_what_a_cancelled_statement_had_written() {
    let mut session = session(&MemoryDatabase::new());
    let set_up = "create table t (a int primary key); begin; insert into t values (1); savepoint s";
    block_on(run(&mut session, set_up)).expect("set up");
    let mut script = session.script("insert into t select x from generate_series(2, 1000000000) as x").expect("parses");
    session.cancellation().cancel();
    let cancelled = block_on(script.next(&mut session)).err().expect("it was cancelled");
    assert_eq!((cancelled.code, session.status()), (SqlState::QUERY_CANCELED, TransactionStatus::Failed));
    block_on(run(&mut session, "rollback to s")).expect("goes back");
    assert_eq!(block_on(run(&mut session, "select count(*) from t")), Ok(vec![vec![Value::Int64(1)]]));
    block_on(run(&mut session, "commit")).expect("commits");
    assert_eq!(block_on(run(&mut session, "select count(*) from t")), Ok(vec![vec![Value::Int64(1)]]));
}

#[test]
fn savepoints_of_a_block_are_bounded() {
    let mut session = session(&MemoryDatabase::new());
    block_on(run(&mut session, "begin")).expect("begins");
    for _ in 0..1 << 16 {
        block_on(run(&mut session, "savepoint s")).expect("makes one more");
    }
    let error = block_on(run(&mut session, "savepoint s")).expect_err("that is too many");
    assert_eq!((error.code, session.status()), (SqlState::PROGRAM_LIMIT_EXCEEDED, TransactionStatus::Failed));
    block_on(run(&mut session, "rollback to s; release s; savepoint s; commit")).expect("one less is fine");
}

#[test]
fn rows_and_keys_have_a_longest_length() {
    let database = MemoryDatabase::new();
    let mut session = session(&database);
    block_on(run(&mut session, "create table t (a text primary key, b text)")).expect("set up");
    let mut code = |sql: &str| block_on(run(&mut session, sql)).map(drop).map_err(|error| error.code);
    let row = quorate_sql::exec::ROW_BYTES_MAX;
    assert_eq!(code(&format!("insert into t values ('fits', repeat('x', {}))", row - 100)), Ok(()));
    assert_eq!(
        code(&format!("insert into t values ('long', repeat('x', {row}))")),
        Err(SqlState::PROGRAM_LIMIT_EXCEEDED)
    );
    let key = quorate_sql::exec::KEY_BYTES_MAX;
    assert_eq!(code(&format!("insert into t values (repeat('k', {}), '')", key - 100)), Ok(()));
    assert_eq!(code(&format!("insert into t values (repeat('k', {key}), '')")), Err(SqlState::PROGRAM_LIMIT_EXCEEDED));
}

#[test]
fn deep_expressions_are_refused_not_overflowed() {
    let mut session = session(&MemoryDatabase::new());
    let mut code = |sql: &str| block_on(run(&mut session, sql)).map(drop).map_err(|error| error.code);
    let too_deep = Err(SqlState::STATEMENT_TOO_COMPLEX);
    assert_eq!(code(&format!("select 1{}", " + 1".repeat(1000))), Ok(()));
    assert_eq!(code(&format!("select 1{}", " + 1".repeat(1001))), too_deep);
    assert_eq!(code(&format!("select 1{}", " + 1".repeat(100_000))), too_deep);
    assert_eq!(code(&format!("select {}1{}", "(".repeat(140), ")".repeat(140))), Ok(()));
    assert_eq!(code(&format!("select {}1{}", "(".repeat(100_000), ")".repeat(100_000))), too_deep);
    assert_eq!(code(&format!("select true{}", " and true".repeat(990))), Ok(()));
    assert_eq!(code(&format!("select true{}", " or 1 = 2".repeat(900))), Ok(()));
    assert_eq!(code(&format!("select {}1{}", "abs(".repeat(120), ")".repeat(120))), Ok(()));
    assert_eq!(code(&format!("select {}1{}", "(select ".repeat(60), ")".repeat(60))), Ok(()));
    assert_eq!(code(&format!("select {}1", "- ".repeat(3000))), too_deep);
    assert_eq!(code(&format!("select 1{}", "::int::bigint".repeat(90))), Ok(()));
    assert_eq!(code(&format!("prepare p as select 1{}", " + 1".repeat(1001))), too_deep);
    assert_eq!(
        code(&format!("select case when true then {}1{}", "case when true then ".repeat(100), " end".repeat(101))),
        Ok(())
    );
}

#[test]
fn a_scan_answers_the_same_with_and_without_its_program() {
    let database = MemoryDatabase::new();
    let mut session = session(&database);
    let setup = "create table t (a int primary key, b int, c text, d numeric(8,2), e date, f float8, g timestamptz, h char(4));
        insert into t select i, case when i % 7 = 0 then null else i % 5 end, 'row ' || i, i / 3.0, date '2024-01-01' + i, i / 8.0,
            timestamptz '2024-01-01 12:00+00' + i * interval '1 hour', 'x' || i % 3 from generate_series(1, 3000) as x(i)";
    block_on(run(&mut session, setup)).expect("set up");
    let queries = [
        "select count(*) from t",
        "select count(*), count(b), sum(a), sum(d), avg(a), avg(d), min(c), max(c), min(e), max(g), min(h) from t",
        "select sum(f), avg(f), stddev(a), count(distinct b), array_agg(a order by a desc) from t where a < 20",
        "select b, count(*), sum(a) filter (where a % 2 = 0), bool_and(a > 3), bool_or(d > 900), every(c like 'r%') from t group by b",
        "select b, h, max(d) from t where c like '%1%' and e between '2024-02-01' and '2025-01-01' group by b, h having count(*) > 3",
        "select a % 10, bit_or(b), bit_and(b) from t where b is not null group by 1 order by 1",
        "select c from t where b = 3 and upper(c) like 'ROW 1%' order by a limit 5 offset 2",
        "select c from t where b = 3 order by a desc limit 3",
        "select a, e::text from t where e::text like '%-02-29' or a = 5",
        "select a from t where extract(hour from g) = 3 and a < 100 and b > 1",
        "select a from t where a in (5, 77, 4000) or c in ('row 9', 'row 11') or coalesce(b, -1) = -1 and a < 30",
        "select case b when 1 then 'one' when 2 then 'two' else nullif(c, 'row 3') end from t where greatest(a, b) < 12",
        "select a from t where b = any (array[1, 2]) and a < 30 and not (d > 5) and b is distinct from 2",
        "select distinct h from t where abs(-a) > 2 and length(c) between 5 and 7 and f <> 0.5",
        "select count(*) from t where a > 5000",
        "select h, count(*) from t where a > 5000 group by h",
        "select max(a) from t where g < now() and e < current_date and d::int = 7",
        "select count(*) from t where 10 / (a - 1500) > 1",
        "select sum(10 / (a - 1500)) from t",
        "select sum(a * 1000000) from t",
        "select a from t where a > 2998 and c::int = 1",
    ];
    for query in queries {
        let with = block_on(run(&mut session, query));
        let without = block_on(run(
            &mut session,
            &format!("begin; insert into t values (0); delete from t where a = 0; {query}"),
        ));
        block_on(run(&mut session, "rollback")).expect("rolls back");
        match (with, without) {
            (Ok(with), Ok(without)) => assert_eq!(with, without, "{query}"),
            (Err(with), Err(without)) => {
                assert_eq!((with.code, &with.message), (without.code, &without.message), "{query}")
            }
            (with, without) => panic!("{query}: {with:?} with, {without:?} without"),
        }
    }
}
