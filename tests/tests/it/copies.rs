//! Elements for which the log does not reach back far enough: they get a copy of their leader's store, and what was written meanwhile.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use quorate_tests::grid::{Grid, Options, SETTLE};
use quorate_tests::proxy::Link;
use quorate_tests::wait::eventually;

/// The shortest that can be set: log is thinned out once a second.
const RETENTION: &str = "log_retention_time = \"1s\"";

/// A grid with one replica set and a table of this many rows of about 250 bytes that do not compress well.
async fn grid_with_rows(rows: u32, proxied: bool) -> Grid {
    let options = Options { replica_sets: 1, config: RETENTION.to_owned(), proxied, ..Options::default() };
    let grid = Grid::start_with(options).await;
    let mut session = grid.session(1);
    session.batch("CREATE TABLE t (id bigint PRIMARY KEY, v text)").await.unwrap();
    session
        .batch(&format!(
            "INSERT INTO t SELECT i, md5(i::text) || md5((i * 3)::text) || md5((i * 5)::text) || md5((i * 7)::text) \
             || md5((i * 11)::text) || md5((i * 13)::text) || md5((i * 17)::text) FROM generate_series(1, {rows}) AS g(i)"
        ))
        .await
        .unwrap();
    grid
}

/// Writes until the log of the leader was purged up to a later entry than all that were there at the call.
async fn write_until_purged(grid: &Grid, leader: usize) {
    let purges = || grid.log_text(leader).matches("the log was purged").count();
    // The second purge from now on is of entries that were old at the first.
    let target = purges() + 2;
    eventually("the log is purged", SETTLE, async || {
        grid.session(leader).batch("UPDATE t SET v = v WHERE id = 1").await?;
        anyhow::ensure!(purges() >= target, "{} of {target} purges", purges());
        Ok(())
    })
    .await;
}

fn copies_sent(grid: &Grid, from: usize) -> usize {
    grid.log_text(from).matches("sending a copy").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_element_that_was_away_longer_than_the_log_is_kept_gets_a_copy() {
    let mut grid = grid_with_rows(1_000, false).await;
    let leader = grid.leader(1).await;
    let away = leader % 3 + 1;
    grid.kill(away);
    let before = copies_sent(&grid, leader);
    grid.session(leader).batch("DELETE FROM t WHERE id > 990").await.unwrap();
    write_until_purged(&grid, leader).await;
    grid.restart(away);
    eventually("a copy is sent", SETTLE, async || {
        anyhow::ensure!(copies_sent(&grid, leader) > before, "none yet");
        Ok(())
    })
    .await;
    grid.settled().await;
    grid.verify().await;
    // What was copied counts: without one of the others it is half of the majority, and it can lead.
    grid.kill(leader);
    eventually("the others go on", SETTLE, async || {
        let mut session = grid.session(away);
        anyhow::ensure!(session.number("SELECT count(*) FROM t").await? == 990, "another number of rows");
        Ok(session.batch("INSERT INTO t VALUES (2000, 'x')").await?)
    })
    .await;
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_whose_source_dies_half_way_is_sent_again() {
    const ROWS: u32 = 40_000;
    let mut grid = grid_with_rows(ROWS, true).await;
    let leader = grid.leader(1).await;
    let (lost, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    let element = {
        let status = grid.status().await.unwrap();
        let name = format!("instance{lost}");
        status.elements.iter().find(|element| element.instance == name).map(|element| element.number).unwrap()
    };
    grid.expect_error("files lost or damaged");
    grid.kill(lost);
    std::fs::remove_dir_all(grid.instance(lost).data().join("elements").join(element.to_string())).unwrap();
    write_until_purged(&grid, leader).await;
    // A copy of some 10 MiB then takes a second or more: half a mebibyte each way and back.
    for instance in [leader, other] {
        grid.network().set_between(lost, [instance], Link::Open(Duration::from_millis(30)));
    }
    grid.restart(lost);
    eventually("a copy is under way", SETTLE, async || {
        anyhow::ensure!(copies_sent(&grid, leader) > 0, "not yet");
        Ok(())
    })
    .await;
    let whole = grid
        .status()
        .await
        .unwrap()
        .elements
        .iter()
        .any(|e| e.number != element && e.instance == format!("instance{lost}") && e.status == "opened");
    assert!(!whole, "the copy was through before its source could be killed");
    grid.kill(leader);
    // Two of three voters are needed, and the empty element is none: the other one leads once the old source is back, and sends its own copy.
    grid.restart(leader);
    eventually("a copy is sent by whoever leads now", SETTLE, async || {
        anyhow::ensure!(copies_sent(&grid, other) > 0 || copies_sent(&grid, leader) > 1, "not yet");
        Ok(())
    })
    .await;
    grid.settled().await;
    for number in 1..=3 {
        assert_eq!(grid.session(number).number("SELECT count(*) FROM t").await.unwrap(), i64::from(ROWS));
    }
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t23_t38_the_way_back_of_an_element_can_be_followed() {
    let mut grid = grid_with_rows(40_000, true).await;
    let leader = grid.leader(1).await;
    let away = leader % 3 + 1;
    let name = format!("instance{away}");
    grid.kill(away);
    write_until_purged(&grid, leader).await;
    // What it missed then takes seconds, whether by the log or by a copy.
    for other in (1..=3).filter(|number| *number != away) {
        grid.network().set_between(away, [other], Link::Open(Duration::from_millis(150)));
    }
    let before = SystemTime::now();
    grid.restart(away);
    let (words, progress) = (Mutex::new(Vec::<String>::new()), Mutex::new(BTreeSet::<String>::new()));
    let message = eventually("it is open again", SETTLE, async || {
        let status = grid.status().await?;
        let (its, others): (Vec<_>, Vec<_>) = status.elements.iter().partition(|element| element.instance == name);
        anyhow::ensure!(its.len() == 1, "{its:?}");
        let mut words = words.lock().unwrap();
        if words.last() != Some(&its[0].status) {
            words.push(its[0].status.clone());
        }
        if its[0].status == "loading" {
            let since = UNIX_EPOCH + Duration::from_millis(u64::try_from(its[0].since_ms)?);
            assert!(since >= before && since <= SystemTime::now(), "{:?}", its[0]);
            if others.iter().all(|element| element.status == "opened") {
                progress.lock().unwrap().insert(its[0].message.clone());
            }
        }
        anyhow::ensure!(its[0].status == "opened", "{:?}", its[0]);
        Ok(its[0].message.clone())
    })
    .await;
    let (words, progress) = (words.into_inner().unwrap(), progress.into_inner().unwrap());
    assert!(words.iter().any(|word| word == "loading"), "{words:?}");
    let says = |message: &String| message.ends_with(" MiB") || message.ends_with(" entries to go");
    assert!(progress.iter().any(says), "it says how far it is, while the others serve: {progress:?}");
    assert!(message.starts_with("caught up from "), "{message}");
    // What happened can be read later, too.
    let events = grid.admin().run(&["gridEvents"]).await.done().unwrap();
    let steps = [": opened → down: ", ": down → loading", ": loading → loaded"];
    let places: Vec<_> = steps.iter().map(|step| events.rfind(&format!("on localhost.{name}{step}"))).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?} in {events}");
    assert!(events.contains(&message), "{events}");
    grid.finish().await;
}
