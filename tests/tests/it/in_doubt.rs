//! Transactions over several replica sets whose gateway or participants crash at each step of the commit: afterwards they are
//! committed everywhere or nowhere, soon, as the participants' prepare records say, and never other than the client was told.

use std::time::{Duration, Instant};

use quorate_tests::grid::{Grid, Options, SETTLE};
use quorate_tests::history::Outcome;
use quorate_tests::proxy::Link;
use quorate_tests::sql::Failure;
use quorate_tests::wait::eventually;

const ROWS: i64 = 30;
/// In-doubt patience is 500 ms, a failover less than 2 s.
const DECIDED_WITHIN: Duration = Duration::from_secs(4);

/// A grid with a table whose rows lie in all sets, so that one UPDATE prepares everywhere.
async fn grid_with_rows() -> Grid {
    with_rows(Grid::start().await).await
}

async fn with_rows(grid: Grid) -> Grid {
    let mut session = grid.session(1);
    session
        .batch("CREATE TABLE spread (id bigint PRIMARY KEY, v bigint NOT NULL) DISTRIBUTE BY HASH (id)")
        .await
        .unwrap();
    session.batch(&format!("INSERT INTO spread SELECT i, 0 FROM generate_series(1, {ROWS}) AS g(i)")).await.unwrap();
    grid
}

/// Lets an instance crash at a failpoint while a transaction commits through the gateway `through`, and gives how many times the
/// rows were incremented before and after, and what the client was told.
async fn crash(grid: &mut Grid, victim: usize, through: usize, failpoint: &str) -> (i64, i64, Outcome) {
    let other = victim % 3 + 1;
    let before = grid.session(other).number("SELECT sum(v) FROM spread").await.unwrap() / ROWS;
    grid.kill(victim);
    grid.restart_with(victim, &[format!("{failpoint}=exit")]);
    grid.settled().await;
    grid.leaders_spread().await;
    let told = match grid.session(through).batch("UPDATE spread SET v = v + 1").await {
        Ok(()) => Outcome::Ok,
        Err(Failure::Refused(..)) => Outcome::Refused,
        Err(Failure::Unknown(_)) => Outcome::Unknown,
    };
    let status = grid.instance(victim).ended(Duration::from_secs(10)).await;
    assert!(!status.success(), "{failpoint} did not end instance{victim} by force");
    let start = Instant::now();
    let (sum, smallest, largest) = eventually("the transaction is decided", SETTLE, async || {
        let rows = grid.session(other).rows("SELECT sum(v), min(v), max(v) FROM spread").await?;
        let number = |cell: &Option<String>| cell.as_ref().and_then(|text| text.parse::<i64>().ok()).unwrap();
        Ok((number(&rows[0][0]), number(&rows[0][1]), number(&rows[0][2])))
    })
    .await;
    let waited = start.elapsed();
    assert!(waited < DECIDED_WITHIN, "{failpoint}: others had to wait {waited:?}");
    assert_eq!(smallest, largest, "{failpoint}: half a transaction is there");
    // The restarted instance has no failpoint: what it finds in its log decides.
    grid.restart(victim);
    grid.settled().await;
    let again = grid.session(victim).number("SELECT sum(v) FROM spread").await.unwrap();
    assert_eq!(again, sum, "{failpoint}: the restarted instance sees another outcome");
    let after = sum / ROWS;
    match told {
        Outcome::Ok => assert_eq!(after, before + 1, "{failpoint}: acknowledged, and not there"),
        Outcome::Refused => assert_eq!(after, before, "{failpoint}: refused, and there"),
        Outcome::Unknown => assert!(after == before || after == before + 1, "{failpoint}: done twice"),
    }
    (before, after, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn t77_a_gateway_that_dies_before_all_prepared_leaves_nothing() {
    let mut grid = grid_with_rows().await;
    let (before, after, told) = crash(&mut grid, 2, 2, "gateway.before_prepare").await;
    assert_eq!(after, before, "participants without a prepare record mean rollback");
    assert_eq!(told, Outcome::Unknown, "the connection broke during a commit");
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t77_what_one_participant_never_prepared_is_rolled_back() {
    let mut grid = with_rows(Grid::start_with(Options { proxied: true, ..Options::default() }).await).await;
    grid.kill(2);
    grid.restart_with(2, &["gateway.after_first_prepare=exit".to_owned()]);
    grid.settled().await;
    // Each instance leads one of the sets.
    grid.leaders_spread().await;
    let mut session = grid.session(2);
    session.batch("BEGIN; UPDATE spread SET v = v + 1").await.unwrap();
    // The prepare for one of them stays on its way, until its sender is gone.
    grid.network().set(2, 3, Link::Silent);
    let told = session.batch("COMMIT").await;
    assert!(matches!(told, Err(Failure::Unknown(_))), "{told:?}");
    assert!(!grid.instance(2).ended(Duration::from_secs(10)).await.success());
    let start = Instant::now();
    let sum = eventually("the transaction is decided", SETTLE, async || {
        Ok(grid.session(1).number("SELECT sum(v) FROM spread").await?)
    })
    .await;
    let waited = start.elapsed();
    // Behind a proxy it is silence that tells of a process's end, and a call may wait behind what the cut link holds.
    assert!(sum == 0 && waited < DECIDED_WITHIN * 2, "{sum} after {waited:?}");
    // Nor does it come back with the instance, or with what was on its way.
    grid.network().heal();
    grid.restart(2);
    grid.settled().await;
    for number in 1..=3 {
        assert_eq!(grid.session(number).number("SELECT sum(v) FROM spread").await.unwrap(), 0);
    }
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t77_a_participant_that_dies_before_it_prepared_costs_a_block_a_retry_at_most() {
    let mut grid = grid_with_rows().await;
    grid.kill(3);
    grid.restart_with(3, &["element.before_prepare=exit".to_owned()]);
    grid.settled().await;
    grid.leaders_spread().await;
    let mut session = grid.session(1);
    // Money from one half of the rows to the other, so from and to every set.
    session
        .batch(&format!("BEGIN; UPDATE spread SET v = v + CASE WHEN id <= {ROWS} / 2 THEN 1 ELSE -1 END"))
        .await
        .unwrap();
    let told = session.batch("COMMIT").await;
    assert!(!grid.instance(3).ended(Duration::from_secs(10)).await.success());
    let moved = match &told {
        Ok(()) => 1,
        Err(failure) => {
            assert!(failure.is_retryable(), "a retry is all that a block can be asked for: {failure}");
            0
        }
    };
    // While the instance is away, and as it finds it at its return.
    for number in [2, 3] {
        let sums = "SELECT sum(v), min(v), max(v), sum(abs(v)) FROM spread";
        let rows =
            eventually("the transaction is decided", SETTLE, async || Ok(grid.session(number).rows(sums).await?)).await;
        let expected = [0, -moved, moved, moved * ROWS].map(|sum| Some(sum.to_string()));
        assert_eq!(rows[0], expected, "told {told:?}");
        if number == 2 {
            grid.restart(3);
            grid.settled().await;
        }
    }
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_dies_while_others_prepare_leaves_all_or_nothing() {
    let mut grid = grid_with_rows().await;
    // The other prepares are on their way: whether they arrive decides, and it decides for all.
    let (_, _, told) = crash(&mut grid, 2, 2, "gateway.after_first_prepare").await;
    assert_eq!(told, Outcome::Unknown, "the connection broke during a commit");
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t76_a_gateway_that_dies_after_all_prepared_has_committed() {
    let mut grid = grid_with_rows().await;
    for failpoint in ["gateway.after_prepares", "gateway.before_outcomes"] {
        let (before, after, _) = crash(&mut grid, 2, 2, failpoint).await;
        assert_eq!(after, before + 1, "{failpoint}: all prepare records are there, so it is committed");
    }
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t74_t76_when_all_die_after_all_prepared_it_is_committed_at_their_return() {
    let mut grid = grid_with_rows().await;
    grid.kill(2);
    grid.restart_with(2, &["gateway.after_prepares=exit".to_owned()]);
    grid.settled().await;
    grid.leaders_spread().await;
    let told = grid.session(2).batch("UPDATE spread SET v = v + 1").await;
    assert!(matches!(told, Err(Failure::Unknown(_))), "the connection broke during a commit: {told:?}");
    for number in [1, 3] {
        grid.kill(number);
    }
    for number in 1..=3 {
        grid.restart(number);
    }
    grid.settled().await;
    for number in 1..=3 {
        assert_eq!(grid.session(number).number("SELECT sum(v) FROM spread").await.unwrap(), ROWS);
    }
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t75_t78_a_participant_that_dies_while_the_outcome_is_found_out_takes_it_over_from_the_others() {
    let mut grid = grid_with_rows().await;
    for (before, failpoint) in (0..).zip(["element.before_outcome", "element.after_outcome"]) {
        for (number, failpoint) in [(2, "gateway.after_prepares"), (3, failpoint)] {
            grid.kill(number);
            grid.restart_with(number, &[format!("{failpoint}=exit")]);
            grid.settled().await;
        }
        grid.leaders_spread().await;
        let told = grid.session(2).batch("UPDATE spread SET v = v + 1").await;
        assert!(matches!(told, Err(Failure::Unknown(_))), "the connection broke during a commit: {told:?}");
        // The gateway is gone, so the participants ask each other, and one dies of it.
        for number in [2, 3] {
            assert!(!grid.instance(number).ended(Duration::from_secs(10)).await.success());
        }
        grid.restart(2);
        let committed = ROWS * (before + 1);
        eventually("the others have decided", SETTLE, async || {
            let sum = grid.session(1).number("SELECT sum(v) FROM spread").await?;
            anyhow::ensure!(sum == committed, "all had prepared, and the sum is {sum}");
            Ok(())
        })
        .await;
        grid.restart(3);
        grid.settled().await;
        // Its own copies have taken the decision.
        grid.kill(1);
        assert_eq!(grid.session(3).number("SELECT sum(v) FROM spread").await.unwrap(), committed, "{failpoint}");
        grid.restart(1);
        grid.settled().await;
    }
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_participant_may_die_at_any_step() {
    let mut grid = grid_with_rows().await;
    for failpoint in
        ["element.before_prepare", "element.after_prepare", "element.before_outcome", "element.after_outcome"]
    {
        let (_, _, told) = crash(&mut grid, 3, 1, failpoint).await;
        assert_ne!(told, Outcome::Unknown, "{failpoint}: the gateway lives, and finds out");
    }
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn txid_status_tells_how_a_commit_ended_whose_gateway_died() {
    let mut grid = grid_with_rows().await;
    for (failpoint, expected) in [("gateway.before_prepare", "aborted"), ("gateway.after_prepares", "committed")] {
        grid.kill(2);
        grid.restart_with(2, &[format!("{failpoint}=exit")]);
        grid.settled().await;
        grid.leaders_spread().await;
        let before = grid.session(1).number("SELECT sum(v) FROM spread").await.unwrap();
        let mut session = grid.session(2);
        session.batch("BEGIN; UPDATE spread SET v = v + 1").await.unwrap();
        let id = session.number("SELECT txid_current()").await.unwrap();
        assert_eq!(grid.session(1).value(&format!("SELECT txid_status({id})")).await.unwrap(), "in progress");
        let told = session.batch("COMMIT").await;
        assert!(matches!(told, Err(Failure::Unknown(_))), "the connection broke during a commit: {told:?}");
        assert!(!grid.instance(2).ended(Duration::from_secs(10)).await.success());
        grid.restart(2);
        grid.settled().await;
        // A commit is known everywhere; that nothing can come any more, the successor of the dead process makes certain.
        let known_at: &[usize] = if expected == "committed" { &[1, 2, 3] } else { &[2] };
        for number in known_at {
            let number = *number;
            eventually("it is known how the transaction ended", SETTLE, async || {
                let status = grid.session(number).value(&format!("SELECT txid_status({id})")).await?;
                anyhow::ensure!(status == expected, "{failpoint}: instance{number} says {status}");
                Ok(())
            })
            .await;
        }
        let after = grid.session(3).number("SELECT sum(v) FROM spread").await.unwrap();
        assert_eq!(after - before, if expected == "committed" { ROWS } else { 0 }, "{failpoint}");
    }
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_failpoint_is_refused_by_name() {
    let mut grid = Grid::start().await;
    grid.kill(1);
    grid.restart_with(1, &["no.such.point=exit".to_owned()]);
    assert!(!grid.instance(1).ended(Duration::from_secs(10)).await.success());
    assert!(grid.instance(1).log_text().contains("no.such.point"));
    grid.finish().await;
}
