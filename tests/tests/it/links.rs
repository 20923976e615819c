//! Links that are cut, slow, or cut in one direction only: the side with a majority goes on, the other says that it cannot, and
//! both agree after healing.

use std::time::{Duration, Instant};

use quorate_tests::check::bank::Bank;
use quorate_tests::grid::{Grid, Options, SETTLE};
use quorate_tests::proxy::Link;
use quorate_tests::wait::eventually;

fn proxied() -> Options {
    Options { proxied: true, ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn t21_an_isolated_instance_neither_serves_nor_holds_the_others_up() {
    let grid = Grid::start_with(proxied()).await;
    grid.session(1)
        .batch("CREATE TABLE t (id bigint PRIMARY KEY, v bigint); INSERT INTO t VALUES (1, 0)")
        .await
        .unwrap();
    let isolated = grid.leader(1).await;
    let other = isolated % 3 + 1;
    for link in [Link::Silent, Link::Refused] {
        grid.link_all(isolated, link);
        let start = Instant::now();
        eventually("the majority writes", Duration::from_secs(10), async || {
            Ok(grid.session(other).batch("UPDATE t SET v = v + 1 WHERE id = 1").await?)
        })
        .await;
        let waited = start.elapsed();
        assert!(waited < Duration::from_secs(5), "the majority stood still for {waited:?}");
        // Cut off, it must not answer from what it had: the value has changed since.
        let answer = tokio::time::timeout(
            Duration::from_secs(12),
            grid.session(isolated).number("SELECT v FROM t WHERE id = 1"),
        )
        .await;
        let failure = answer.expect("an instance without a majority says so in bounded time").unwrap_err();
        assert_eq!(failure.code(), Some("58000"), "{failure}");
        grid.network().heal();
        eventually("the instance serves again", SETTLE, async || {
            Ok(grid.session(isolated).number("SELECT v FROM t WHERE id = 1").await?)
        })
        .await;
        grid.settled().await;
    }
    assert_eq!(grid.session(isolated).number("SELECT v FROM t WHERE id = 1").await.unwrap(), 2);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_stays_right_while_links_are_cut_in_one_direction_and_slowed() {
    let grid = Grid::start_with(proxied()).await;
    let gateways = grid.gateways();
    Bank::create(&gateways, 40).await.unwrap();
    let bank = Bank::start(&gateways, 40, 6, 2, 21);
    for (from, to) in [(1, 2), (2, 3), (3, 1)] {
        for link in [Link::Silent, Link::Open(Duration::from_millis(80))] {
            let before = bank.committed();
            grid.network().set(from, to, link);
            eventually("transfers under a broken link", SETTLE, async || {
                anyhow::ensure!(
                    bank.committed() > before + 20,
                    "{} since the link {from} → {to} became {link:?}",
                    bank.committed() - before
                );
                Ok(())
            })
            .await;
            grid.network().heal();
        }
    }
    grid.settled().await;
    bank.finish().await.unwrap();
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t19_all_connections_broken_at_once_are_made_again_without_a_restart() {
    let mut grid = Grid::start_with(proxied()).await;
    grid.session(1).batch("CREATE TABLE t (id bigint PRIMARY KEY)").await.unwrap();
    let mut sessions: Vec<_> = (1..=3).map(|number| grid.session(number)).collect();
    for session in &mut sessions {
        assert_eq!(session.number("SELECT count(*) FROM t").await.unwrap(), 0);
    }
    let all = grid.network().break_all(&[(1, 2), (2, 3), (3, 1)]);
    let broken = tokio::time::timeout(SETTLE, all).await.expect("all connections end");
    assert!(broken.iter().all(|connections| *connections > 0), "connections that were broken: {broken:?}");
    grid.network().heal();
    for (session, id) in sessions.iter_mut().zip(1..) {
        let insert = format!("INSERT INTO t VALUES ({id})");
        // The next operation works, repeated at most as the gateway asks for.
        if let Err(failure) = session.batch(&insert).await {
            assert!(failure.is_retryable(), "{failure}");
            session.batch(&insert).await.expect("once is enough");
        }
    }
    assert_eq!(grid.session(2).number("SELECT count(*) FROM t").await.unwrap(), 3);
    for number in 1..=3 {
        assert!(grid.instance(number).is_running(), "instance{number} ended");
    }
    grid.finish().await;
}
