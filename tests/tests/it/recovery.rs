//! Recovery by itself: files that vanish, instances that come back behind the others, failures in several replica sets, links that break and heal.
//! Nobody types a command; sessions notice a 40001 at most.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use quorate_proto::admin::DatabaseStatus;
use quorate_tests::check::bank::Bank;
use quorate_tests::grid::{DATABASE, Grid, Options, SETTLE};
use quorate_tests::proxy::Link;
use quorate_tests::sql::{Failure, retried};
use quorate_tests::wait::eventually;

const ACCOUNTS: i64 = 60;

/// The line of a configuration that lets the log go soonest.
const RETENTION: &str = "log_retention_time = \"1s\"";

async fn progress(bank: &Bank, transfers: u64) {
    let target = bank.committed() + transfers;
    eventually(&format!("{transfers} more transfers"), SETTLE, async || {
        anyhow::ensure!(bank.committed() >= target, "{} of {target}; {:?}", bank.committed(), bank.counts);
        Ok(())
    })
    .await;
}

/// What clients were refused with so far.
fn states(bank: &Bank) -> BTreeSet<String> {
    bank.counts.states.lock().unwrap().clone()
}

fn number_of(instance: &str) -> usize {
    instance.trim_start_matches("instance").parse().unwrap()
}

/// The instances that hold elements of this set.
fn instances_of(status: &DatabaseStatus, set: u32) -> Vec<usize> {
    let of_set = status.elements.iter().filter(|element| element.replica_set == set);
    of_set.map(|element| number_of(&element.instance)).collect()
}

/// Deletes a directory in which a server goes on making files.
async fn delete(place: &Path) {
    eventually("the directory is deleted", SETTLE, async || match std::fs::remove_dir_all(place) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    })
    .await;
}

/// How many copies were begun in the whole grid.
fn copies_sent(grid: &Grid) -> usize {
    (1..=grid.size()).map(|number| grid.log_text(number).matches("sending a copy").count()).sum()
}

/// The replica sets of which this instance has let log entries go.
fn purged_sets(grid: &Grid, number: usize) -> BTreeSet<String> {
    let log = grid.log_text(number);
    let purges = log.lines().filter(|line| line.contains("the log was purged"));
    let groups = purges.filter_map(|line| line.split("group=").nth(1)?.split(" upto=").next());
    groups.filter(|group| group.contains("replica set")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn t58_t59_t60_the_files_of_running_elements_are_deleted_under_load_and_nobody_notices() {
    let mut grid = Grid::start_with(Options { config: RETENTION.to_owned(), ..Options::default() }).await;
    let gateways = grid.gateways();
    Bank::create(&gateways, ACCOUNTS).await.unwrap();
    // Some MiB in each replica set, so that a new element costs its source something.
    grid.session(1)
        .batch(
            "CREATE TABLE ballast (id bigint PRIMARY KEY, v text) DISTRIBUTE BY HASH (id); \
             INSERT INTO ballast SELECT i, repeat(md5(i::text), 8) FROM generate_series(1, 100000) AS g(i)",
        )
        .await
        .unwrap();
    // Whoever leads when files are lost: its log no longer begins with the first entry.
    eventually("the log of every element is purged", SETTLE, async || {
        for number in 1..=3 {
            let purged = purged_sets(&grid, number);
            anyhow::ensure!(purged.len() == 3, "instance{number} let go of the logs of {purged:?}");
        }
        Ok(())
    })
    .await;
    // Then with the usual retention: with the short one stores are flushed every second, perhaps between the loss of files and its discovery,
    // and an instance ends itself when that fails.
    for number in 1..=3 {
        grid.instance(number).signal("TERM");
    }
    for number in 1..=3 {
        assert!(grid.instance(number).ended(Duration::from_secs(30)).await.success());
        let file = grid.instance(number).data().with_file_name("quorate.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let usual: Vec<&str> = text.lines().filter(|line| *line != RETENTION).collect();
        assert_eq!(usual.len() + 1, text.lines().count(), "{text}");
        std::fs::write(&file, usual.join("\n")).unwrap();
    }
    for number in 1..=3 {
        grid.restart(number);
    }
    grid.settled().await;
    grid.expect_error("the files of a running element are gone");
    grid.expect_error("files lost or damaged");
    let bank = Bank::start(&gateways, ACCOUNTS, 6, 2, 31);
    progress(&bank, 100).await;
    // Transfers and seconds, before and during rebuilds: in all, since one alone takes hardly longer than a disk may stall.
    let (mut usual, mut rebuilding) = ((0, 0.0), (0, 0.0));
    // A follower's files, then a leader's.
    for leads in [false, true, false, true] {
        let (begin, before) = (Instant::now(), bank.committed());
        progress(&bank, 1000).await;
        usual = (usual.0 + bank.committed() - before, usual.1 + begin.elapsed().as_secs_f64());
        let status = grid.status().await.unwrap();
        let lost = status.elements.iter().find(|element| element.leader == leads).unwrap().clone();
        let place = grid.instance(number_of(&lost.instance)).data().join("elements").join(lost.number.to_string());
        let mut holder = grid.session(number_of(&lost.instance) % 3 + 1);
        holder.batch("SET application_name = 'holder'; BEGIN; UPDATE ballast SET v = '' WHERE id = 1").await.unwrap();
        let copies = copies_sent(&grid);
        let (begin, before) = (Instant::now(), bank.committed());
        delete(&place).await;
        let new = eventually("another element has taken its place", Duration::from_secs(60), async || {
            let status = grid.status().await?;
            let of_set = status.elements.iter().filter(|element| element.replica_set == lost.replica_set);
            let mut here = of_set.filter(|element| element.instance == lost.instance);
            let new = here.find(|element| element.number > lost.number && element.status == "opened");
            new.cloned().with_context(|| {
                let seen = status.elements.iter().map(|e| (&e.instance, e.number, &e.status, &e.message));
                format!("{:?}", seen.collect::<Vec<_>>())
            })
        })
        .await;
        rebuilding = (rebuilding.0 + bank.committed() - before, rebuilding.1 + begin.elapsed().as_secs_f64());
        assert_eq!(new.message, "caught up from a copy and the log", "{new:?}");
        assert!(copies_sent(&grid) > copies, "a copy was sent");
        // Nobody's open transaction delays a copy; it is found and ended all the same.
        let list = grid.admin().run(&["xactList", DATABASE]).await.done().unwrap();
        let open = list.lines().find(|line| line.contains("holder")).unwrap_or_else(|| panic!("{list}"));
        assert!(open.contains("idle in transaction"), "{open}");
        grid.admin().run(&["xactRollback", DATABASE, open.split(' ').next().unwrap()]).await.done().unwrap();
        grid.settled().await;
        assert!(!place.exists(), "the lost element's directory is not made again");
        progress(&bank, 100).await;
    }
    let pace = |(transfers, seconds): (u64, f64)| transfers as f64 / seconds;
    assert!(
        pace(rebuilding) > pace(usual) / 2.0,
        "transfers and seconds during rebuilds {rebuilding:?}, before them {usual:?}"
    );
    let refusals = states(&bank);
    assert!(refusals.iter().all(|state| state == "40001"), "a session saw more than a retry: {refusals:?}");
    let counts = bank.finish().await.unwrap();
    assert_eq!(counts.unknown.load(Ordering::Relaxed), 0, "every outcome was known");
    grid.finish().await;
}

/// Changes a byte in the middle of the largest file of rows of an element, and says which file.
fn damage(element: &Path) -> String {
    let current = std::fs::read_to_string(element.join("CURRENT")).unwrap();
    let files = std::fs::read_dir(element.join(current.trim())).unwrap().map(|entry| entry.unwrap().path());
    let rows = files.filter(|file| file.extension().is_some_and(|extension| extension == "sst"));
    let largest = rows.max_by_key(|file| file.metadata().unwrap().len()).expect("rows were flushed");
    let mut bytes = std::fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    std::fs::write(&largest, bytes).unwrap();
    largest.file_name().unwrap().to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_only_reading_finds_costs_one_more_start() {
    let mut grid = Grid::start().await;
    let mut session = grid.session(1);
    session.batch("CREATE TABLE t (id bigint PRIMARY KEY, v text) DISTRIBUTE BY HASH (id)").await.unwrap();
    // In small transactions: one that is still prepared when the instance stops is read at the next start, and must not be what is damaged.
    for last in (500..=20_000).step_by(500) {
        let rows =
            format!("SELECT i, md5(i::text) || md5((-i)::text) FROM generate_series({last} - 499, {last}) AS g(i)");
        session.batch(&format!("INSERT INTO t {rows}")).await.unwrap();
    }
    let status = grid.status().await.unwrap();
    let damaged = status.elements.iter().find(|e| e.instance == "instance3" && e.replica_set == 2).unwrap().number;
    // A clean stop writes all rows to files.
    grid.instance(3).signal("TERM");
    assert!(grid.instance(3).ended(Duration::from_secs(30)).await.success());
    let file = damage(&grid.instance(3).data().join("elements").join(damaged.to_string()));
    grid.expect_error("can no longer be trusted");
    grid.expect_error("files lost or damaged");
    grid.restart(3);
    // Whoever reads first finds it: the element's own regular work, or who compares the copies.
    let deadline = Instant::now() + SETTLE;
    while grid.instance(3).is_running() && Instant::now() < deadline {
        grid.admin().run(&["dbVerify", DATABASE]).await;
    }
    assert!(!grid.instance(3).ended(SETTLE).await.success());
    grid.restart(3);
    eventually("another element has taken its place", Duration::from_secs(60), async || {
        let status = grid.status().await?;
        let mut of_set = status.elements.iter().filter(|e| e.replica_set == 2 && e.instance == "instance3");
        anyhow::ensure!(
            of_set.any(|element| element.number != damaged && element.status == "opened"),
            "{:?}",
            status.elements.iter().map(|e| (&e.instance, e.number, &e.status, &e.message)).collect::<Vec<_>>()
        );
        Ok(())
    })
    .await;
    assert!(grid.log_text(3).contains(&file), "the log names {file}");
    assert_eq!(grid.session(3).number("SELECT count(*) FROM t").await.unwrap(), 20_000);
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t39_t41_t55_t56_t57_d07_an_element_that_was_away_catches_up_from_the_log_and_serves_again() {
    let mut grid = Grid::start().await;
    grid.session(1).batch("CREATE TABLE before (id bigint PRIMARY KEY)").await.unwrap();
    let away = grid.leader(2).await;
    let here = away % 3 + 1;
    grid.kill(away);
    let handed_over = |grid: &Grid| {
        let others = (1..=3).filter(|number| *number != away);
        others.map(|number| grid.log_text(number).matches("handing over leadership").count()).sum::<usize>()
    };
    let handed_before = handed_over(&grid);
    let mut session = grid.session(here);
    // Changes of tables and rows go on without it.
    retried(SETTLE, || async {
        let mut session = grid.session(here);
        session
            .batch("CREATE TABLE IF NOT EXISTS meanwhile (id bigint PRIMARY KEY, v text) DISTRIBUTE BY HASH (id)")
            .await
    })
    .await
    .unwrap();
    for first in (0..4000).step_by(400) {
        let last = first + 400;
        session
            .batch(&format!(
                "INSERT INTO meanwhile SELECT i, md5(i::text) FROM generate_series({first} + 1, {last}) AS g(i)"
            ))
            .await
            .unwrap();
    }
    session.batch("DROP TABLE before").await.unwrap();
    grid.restart(away);
    let returned = eventually("its elements are open again", SETTLE, async || {
        let status = grid.status().await?;
        let mut its = status.elements.iter().filter(|element| number_of(&element.instance) == away);
        anyhow::ensure!(its.all(|element| element.status == "opened"), "{:?}", status.verdict);
        Ok(status)
    })
    .await;
    for element in returned.elements.iter().filter(|element| number_of(&element.instance) == away) {
        assert_eq!(element.message, "caught up from the log", "{element:?}");
    }
    assert_eq!(copies_sent(&grid), 0, "nobody copied anything");
    grid.leaders_spread().await;
    // It has come back as a follower: it leads its share again since its successor gave that up, and not before.
    assert!(handed_over(&grid) > handed_before, "nobody handed over leadership");
    grid.settled().await;
    grid.verify().await;
    // It counts again: without another one it is needed for every majority.
    grid.kill(here);
    let mut session = grid.session(away);
    assert_eq!(session.number("SELECT count(*) FROM meanwhile").await.unwrap(), 4000);
    assert_eq!(session.refused("SELECT * FROM before").await, "42P01");
    session.batch("INSERT INTO meanwhile VALUES (0, 'again')").await.unwrap();
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t73_t79_the_newest_element_decides_what_the_others_get() {
    let mut grid = Grid::start_with(Options { replica_sets: 1, ..Options::default() }).await;
    grid.session(1).batch("CREATE TABLE t (id bigint PRIMARY KEY)").await.unwrap();
    let newest = grid.leader(1).await;
    let (older, oldest) = (newest % 3 + 1, (newest + 1) % 3 + 1);
    grid.kill(oldest);
    let mut session = grid.session(newest);
    for id in 1..=50 {
        retried(SETTLE, || async { grid.session(newest).batch(&format!("INSERT INTO t VALUES ({id})")).await })
            .await
            .unwrap();
    }
    assert_eq!(session.number("SELECT count(*) FROM t").await.unwrap(), 50);
    grid.kill(older);
    grid.kill(newest);
    // The one that knows nothing of the rows cannot go on alone, and says so.
    grid.restart(oldest);
    eventually("its SQL port says that it is not there yet", SETTLE, async || {
        match grid.session(oldest).number("SELECT count(*) FROM t").await {
            Err(Failure::Refused(Some(code), _)) if code.code() == "58000" || code.code() == "57P03" => Ok(()),
            other => anyhow::bail!("{other:?}"),
        }
    })
    .await;
    grid.restart(newest);
    eventually("both are open, with all rows", SETTLE, async || {
        let count = grid.session(oldest).number("SELECT count(*) FROM t").await?;
        anyhow::ensure!(count == 50, "{count} rows");
        Ok(())
    })
    .await;
    grid.restart(older);
    grid.settled().await;
    grid.verify().await;
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t42_d08_failures_in_several_replica_sets_at_once_and_again() {
    let mut grid = Grid::start_with(Options { instances: 6, replica_sets: 2, ..Options::default() }).await;
    let status = grid.status().await.unwrap();
    let (first, second) = (instances_of(&status, 1), instances_of(&status, 2));
    let gateways = grid.gateways();
    Bank::create(&gateways, ACCOUNTS).await.unwrap();
    let bank = Bank::start(&gateways, ACCOUNTS, 6, 1, 41);
    progress(&bank, 100).await;
    // The leaders of both sets, and after their return the leaders of then.
    for round in 0..2 {
        let victims = [grid.leader(1).await, grid.leader(2).await];
        assert!(first.contains(&victims[0]) && second.contains(&victims[1]), "{victims:?}");
        for victim in victims {
            grid.kill(victim);
        }
        progress(&bank, 150).await;
        let status = grid.status().await.unwrap();
        let down = status.elements.iter().filter(|element| element.status == "down").count();
        assert_eq!((down, status.load.as_str()), (2, "loaded-functional"), "round {round}: {}", status.verdict);
        for victim in victims {
            grid.restart(victim);
        }
        grid.settled().await;
    }
    progress(&bank, 100).await;
    bank.finish().await.unwrap();
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d08_the_successor_of_a_lost_leader_may_be_lost_too() {
    let mut grid = Grid::start_with(Options { instances: 5, k: 5, replica_sets: 1, ..Options::default() }).await;
    let gateways = grid.gateways();
    Bank::create(&gateways, ACCOUNTS).await.unwrap();
    let bank = Bank::start(&gateways, ACCOUNTS, 4, 1, 42);
    progress(&bank, 100).await;
    let mut lost = Vec::new();
    for _ in 0..2 {
        let victim = eventually("another one leads", SETTLE, async || {
            let leader = grid.leader(1).await;
            anyhow::ensure!(!lost.contains(&leader), "still {leader}");
            Ok(leader)
        })
        .await;
        grid.kill(victim);
        lost.push(victim);
        progress(&bank, 100).await;
    }
    let status = grid.status().await.unwrap();
    let down = status.elements.iter().filter(|element| element.status == "down").count();
    assert_eq!((down, status.load.as_str()), (2, "loaded-functional"), "{}", status.verdict);
    lost.iter().for_each(|number| grid.restart(*number));
    grid.settled().await;
    bank.finish().await.unwrap();
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t18_an_open_transaction_whose_link_breaks_is_rolled_back_and_its_repetition_succeeds() {
    let mut grid = Grid::start_with(Options { proxied: true, ..Options::default() }).await;
    // Each instance leads a set, so that the transaction needs the link.
    grid.leaders_spread().await;
    let mut session = grid.session(1);
    session.batch("CREATE TABLE t (id bigint PRIMARY KEY, v bigint) DISTRIBUTE BY HASH (id)").await.unwrap();
    session.batch("INSERT INTO t SELECT i, 0 FROM generate_series(1, 12) AS g(i)").await.unwrap();
    session.batch("BEGIN; UPDATE t SET v = v + 1").await.unwrap();
    // The block goes on while the link is cut.
    let network = grid.network();
    let (next, broken) = tokio::join!(session.batch("UPDATE t SET v = v + 1"), async {
        let broken = tokio::time::timeout(SETTLE, network.break_all(&[(1, 2)])).await.expect("all connections end");
        network.heal();
        broken
    });
    assert!(broken[0] > 0, "no connection was there to be broken");
    let outcome = match next {
        Ok(()) => session.batch("COMMIT").await,
        refused => refused,
    };
    if let Err(failure) = outcome {
        assert!(failure.is_retryable(), "{failure}");
        session.batch("ROLLBACK").await.unwrap();
        retried(SETTLE, || async {
            let mut session = grid.session(1);
            session.batch("BEGIN; UPDATE t SET v = v + 1; UPDATE t SET v = v + 1; COMMIT").await
        })
        .await
        .unwrap();
    }
    assert_eq!(session.number("SELECT sum(v) FROM t").await.unwrap(), 24, "once, not twice and not half");
    for number in 1..=3 {
        assert!(grid.instance(number).is_running(), "instance{number} ended");
    }
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t18_an_open_transaction_that_others_overtook_while_it_was_cut_off_is_refused_and_its_repetition_succeeds() {
    let grid = Grid::start_with(Options { proxied: true, ..Options::default() }).await;
    grid.leaders_spread().await;
    let mut session = grid.session(1);
    session.batch("CREATE TABLE t (id bigint PRIMARY KEY, v bigint) DISTRIBUTE BY HASH (id)").await.unwrap();
    session.batch("INSERT INTO t SELECT i, 0 FROM generate_series(1, 12) AS g(i)").await.unwrap();
    session.batch("BEGIN; UPDATE t SET v = v + 1; SELECT * FROM t FOR UPDATE").await.unwrap();
    grid.link_all(1, Link::Silent);
    // The others have a majority of each set. Locks of a gateway that is silent hold nobody up for long.
    retried(SETTLE, || async { grid.session(2).batch("UPDATE t SET v = v + 10").await }).await.unwrap();
    grid.network().heal();
    grid.settled().await;
    assert_eq!(session.refused("COMMIT").await, "40001");
    retried(SETTLE, || async { grid.session(1).batch("UPDATE t SET v = v + 1").await }).await.unwrap();
    assert_eq!(grid.session(3).number("SELECT sum(v) FROM t").await.unwrap(), 132, "nothing of the first try is there");
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t27_an_outage_of_five_seconds_heals_without_an_operator() {
    let grid = Grid::start_with(Options { proxied: true, ..Options::default() }).await;
    let gateways = grid.gateways();
    Bank::create(&gateways, ACCOUNTS).await.unwrap();
    let isolated = grid.leader(1).await;
    let bank = Bank::start(&gateways, ACCOUNTS, 6, 1, 51);
    progress(&bank, 100).await;
    let healed = Instant::now() + Duration::from_secs(5);
    grid.link_all(isolated, Link::Silent);
    progress(&bank, 20).await;
    tokio::time::sleep_until(healed.into()).await;
    grid.network().heal();
    grid.settled().await;
    let status = grid.status().await.unwrap();
    assert!(status.elements.iter().all(|element| element.status == "opened"), "{}", status.verdict);
    progress(&bank, 100).await;
    bank.finish().await.unwrap();
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t17_t102_nobody_gets_into_a_stopped_instance_and_everybody_into_the_next() {
    let mut grid = Grid::start().await;
    grid.kill(1);
    let start = Instant::now();
    let failure = grid.session(1).number("SELECT 1").await.unwrap_err();
    assert!(failure.code().is_none() && start.elapsed() < Duration::from_secs(1), "refused at once: {failure}");
    // A driver that knows several hosts, the first of which is dead.
    let mut config = tokio_postgres::Config::new();
    config.user("quorate").dbname("demo").connect_timeout(Duration::from_secs(2));
    for port in grid.gateways().ports {
        config.host("127.0.0.1").port(port);
    }
    let start = Instant::now();
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    assert_eq!(client.query_one("SELECT 1::bigint", &[]).await.unwrap().get::<_, i64>(0), 1);
    assert!(start.elapsed() < Duration::from_secs(2), "it took {:?}", start.elapsed());
    drop(client);
    driver.await.unwrap().unwrap();
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t14_t15_t16_t20_t22_an_instance_that_ends_itself_costs_others_a_retry_at_most() {
    let mut grid = Grid::start().await;
    let gateways = grid.gateways();
    Bank::create(&gateways, ACCOUNTS).await.unwrap();
    let mut session = grid.session(1);
    session.batch("CREATE TABLE quiet (id bigint PRIMARY KEY, v bigint) DISTRIBUTE BY HASH (id)").await.unwrap();
    session.batch("INSERT INTO quiet SELECT i, 0 FROM generate_series(1, 20) AS g(i)").await.unwrap();
    // A panic in the middle of an element's work: what it leaves nobody may trust, so the process ends.
    let broken = grid.leader(2).await;
    grid.kill(broken);
    grid.expect_error("can no longer be trusted");
    grid.expect_error("panicked at");
    grid.restart_with(broken, &["element.after_prepare=panic".to_owned()]);
    grid.settled().await;
    grid.leaders_spread().await;
    let survivors: Vec<usize> = (1..=3).filter(|number| *number != broken).collect();
    let others = quorate_tests::sql::Gateways {
        ports: survivors.iter().map(|number| gateways.ports[number - 1]).collect(),
        ..gateways.clone()
    };
    let mut single = grid.session(survivors[0]);
    // Each transfer is repeated until it is done, a bounded number of times.
    let bank = Bank::start_persistent(&others, ACCOUNTS, 4, 1, 61);
    assert!(!grid.instance(broken).ended(SETTLE).await.success());
    let ended = Instant::now();
    let before = bank.committed();
    // Single statements are repeated by the gateway itself.
    if let Err(failure) = single.batch("UPDATE quiet SET v = v + 1").await {
        assert!(failure.is_retryable(), "{failure}");
        single.batch("UPDATE quiet SET v = v + 1").await.expect("once is enough");
    }
    assert_eq!(single.number("SELECT sum(v) FROM quiet").await.unwrap(), 20);
    progress(&bank, 1).await;
    let stalled = ended.elapsed();
    assert!(bank.committed() > before && stalled < Duration::from_secs(2), "others stood still for {stalled:?}");
    grid.restart(broken);
    grid.settled().await;
    grid.leaders_spread().await;
    progress(&bank, 100).await;
    // The same voter once more, without a word: its groups go on with the two others.
    grid.kill(broken);
    progress(&bank, 100).await;
    grid.restart(broken);
    grid.settled().await;
    progress(&bank, 100).await;
    let refusals = states(&bank);
    assert!(refusals.iter().all(|state| state == "40001"), "others saw more than a retry: {refusals:?}");
    bank.finish().await.unwrap();
    grid.finish().await;
}
