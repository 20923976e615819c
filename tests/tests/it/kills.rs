//! `kill -9` under load: no acknowledged transaction is lost, none is half there, sessions on the other instances hardly notice, and
//! the grid repairs itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quorate_tests::check::acknowledged::Acknowledged;
use quorate_tests::check::bank::Bank;
use quorate_tests::check::register::{self, Register};
use quorate_tests::grid::{Grid, Options, SETTLE};
use quorate_tests::history::{Outcome, Recorder};
use quorate_tests::sql::{Failure, Gateways, Session};
use quorate_tests::wait::eventually;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

const ACCOUNTS: i64 = 60;
/// Failover, by the promise.
const STALL_MAX: Duration = Duration::from_secs(2);

/// Waits until the bank has committed this many more transfers.
async fn progress(bank: &Bank, transfers: u64) {
    let target = bank.committed() + transfers;
    eventually(&format!("{transfers} more transfers"), SETTLE, async || {
        anyhow::ensure!(bank.committed() >= target, "{} of {target}; {:?}", bank.committed(), bank.counts);
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t40_each_instance_killed_once_under_transfers() {
    let mut grid = Grid::start().await;
    let gateways = grid.gateways();
    Bank::create(&gateways, ACCOUNTS).await.unwrap();
    // Each transfer is repeated until it is done, a bounded number of times.
    let bank = Bank::start_persistent(&gateways, ACCOUNTS, 6, 2, 11);
    progress(&bank, 200).await;
    for number in 1..=3 {
        grid.kill(number);
        progress(&bank, 200).await;
        let status = grid.status().await.unwrap();
        let element = status.elements.iter().find(|element| element.instance == format!("instance{number}")).unwrap();
        assert_eq!(element.status, "down", "{element:?}");
        grid.restart(number);
        grid.settled().await;
        progress(&bank, 200).await;
    }
    let counts = bank.finish().await.unwrap();
    assert!(counts.totals.load(Ordering::Relaxed) > 0, "the readers never read anything");
    grid.leaders_spread().await;
    grid.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn t71_t104_all_instances_killed_at_once_lose_nothing_acknowledged() {
    let mut grid = Grid::start().await;
    let gateways = grid.gateways();
    Bank::create(&gateways, ACCOUNTS).await.unwrap();
    let bank = Bank::start(&gateways, ACCOUNTS, 8, 1, 12);
    for _ in 0..2 {
        progress(&bank, 300).await;
        for number in 1..=3 {
            grid.kill(number);
        }
        for number in 1..=3 {
            grid.restart(number);
        }
        grid.settled().await;
    }
    progress(&bank, 100).await;
    bank.finish().await.unwrap();
    grid.finish().await;
}

/// Inserts rows with ids of its own, as fast as it can, and notes each outcome and the longest time between two successes.
async fn inserts(
    mut session: Session,
    first: i64,
    noted: Arc<Acknowledged>,
    stop: Arc<AtomicBool>,
    stall: Arc<AtomicU64>,
) {
    let (mut id, mut last) = (first, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        id += 1;
        let outcome = match session.batch(&format!("INSERT INTO entry VALUES ({id})")).await {
            Ok(()) => {
                stall.fetch_max(last.elapsed().as_millis() as u64, Ordering::Relaxed);
                last = Instant::now();
                Outcome::Ok
            }
            Err(Failure::Refused(..)) => {
                tokio::time::sleep(Duration::from_millis(5)).await;
                Outcome::Refused
            }
            Err(Failure::Unknown(_)) => Outcome::Unknown,
        };
        noted.note(id, outcome);
    }
}

/// Reads rows by key, as fast as it can, and notes how often it succeeded and the longest time between two successes.
async fn reads(mut session: Session, keys: i64, done: Arc<AtomicU64>, stop: Arc<AtomicBool>, stall: Arc<AtomicU64>) {
    let (mut key, mut last) = (1, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        match session.number(&format!("SELECT v FROM settled WHERE id = {key}")).await {
            Ok(v) => {
                assert_eq!(v, key * 10, "the value of row {key}");
                stall.fetch_max(last.elapsed().as_millis() as u64, Ordering::Relaxed);
                last = Instant::now();
                done.fetch_add(1, Ordering::Relaxed);
                key = key % keys + 1;
            }
            // It insists on the row, so that a set that does not answer is not passed over.
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    stall.fetch_max(last.elapsed().as_millis() as u64, Ordering::Relaxed);
}

async fn ids(gateways: &Gateways) -> BTreeSet<i64> {
    let rows = gateways.session(0).rows("SELECT id FROM entry").await.unwrap();
    rows.into_iter().map(|row| row[0].as_ref().unwrap().parse().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn t39_d05_a_lost_leader_stalls_sessions_elsewhere_for_less_than_two_seconds() {
    let mut grid = Grid::start().await;
    let gateways = grid.gateways();
    let mut session = gateways.session(0);
    session.batch("CREATE TABLE entry (id bigint PRIMARY KEY) DISTRIBUTE BY HASH (id)").await.unwrap();
    session.batch("CREATE TABLE settled (id bigint PRIMARY KEY, v bigint) DISTRIBUTE BY HASH (id)").await.unwrap();
    session
        .batch(&format!("INSERT INTO settled SELECT i, i * 10 FROM generate_series(1, {ACCOUNTS}) AS g(i)"))
        .await
        .unwrap();
    for set in 1..=3 {
        let victim = grid.leader(set).await;
        let (noted, stop, stall) =
            (Arc::<Acknowledged>::default(), Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (read, read_stall) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let mut clients = JoinSet::new();
        for survivor in (1..=3).filter(|number| *number != victim) {
            let session = grid.session(survivor);
            clients.spawn(reads(session, ACCOUNTS, read.clone(), stop.clone(), read_stall.clone()));
        }
        for client in 0..6_usize {
            // Sessions on the surviving instances only: they must not even need to reconnect.
            let survivor = (1..=3).filter(|number| *number != victim).nth(client % 2).unwrap();
            let first = (i64::from(set) << 40) | (client as i64) << 32;
            clients.spawn(inserts(grid.session(survivor), first, noted.clone(), stop.clone(), stall.clone()));
        }
        let reached = async |count: usize| {
            eventually(&format!("{count} acknowledged inserts"), SETTLE, async || {
                anyhow::ensure!(noted.count(Outcome::Ok) >= count, "{}", noted.count(Outcome::Ok));
                Ok(())
            })
            .await;
        };
        reached(300).await;
        grid.kill(victim);
        let read_before = read.load(Ordering::Relaxed);
        reached(noted.count(Outcome::Ok) + 600).await;
        // Several times round, so that rows of the set that lost its leader are among them.
        eventually("the rows are read again and again", SETTLE, async || {
            let count = read.load(Ordering::Relaxed) - read_before;
            anyhow::ensure!(count >= 4 * ACCOUNTS as u64, "{count} reads");
            Ok(())
        })
        .await;
        stop.store(true, Ordering::Relaxed);
        clients.join_all().await;
        let longest = Duration::from_millis(stall.load(Ordering::Relaxed));
        assert!(longest < STALL_MAX, "a session stalled for {longest:?} after the leader of set {set} was killed");
        let longest = Duration::from_millis(read_stall.load(Ordering::Relaxed));
        assert!(longest < STALL_MAX, "a reader stalled for {longest:?} after the leader of set {set} was killed");
        grid.restart(victim);
        grid.settled().await;
        let found = ids(&gateways).await.into_iter().filter(|id| id >> 40 == i64::from(set)).collect();
        noted.check(&found).unwrap();
    }
    grid.leaders_spread().await;
    grid.finish().await;
}

/// Reads, writes and compares-and-sets random keys, and records what happened.
async fn registers(
    mut session: Session,
    keys: i64,
    client: i64,
    recorder: Arc<Recorder<(i64, Register)>>,
    stop: Arc<AtomicBool>,
    seed: u64,
) {
    let mut random = StdRng::seed_from_u64(seed);
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let (key, value) = (random.random_range(1..=keys), client << 32 | number);
        let begin = recorder.now();
        let read = format!("SELECT v FROM register WHERE id = {key}");
        match random.random_range(0..10) {
            0..5 => {
                if let Ok(rows) = session.rows(&read).await {
                    let seen = rows[0][0].as_ref().map(|text| text.parse().unwrap());
                    recorder.record(begin, (key, Register::Read(seen)), Outcome::Ok);
                }
            }
            5..8 => {
                let written = session.batch(&format!("UPDATE register SET v = {value} WHERE id = {key}")).await;
                recorder.record(begin, (key, Register::Write(value)), outcome(&written));
            }
            _ => {
                let Ok(rows) = session.rows(&read).await else { continue };
                let Some(old) = rows[0][0].as_ref().map(|text| text.parse::<i64>().unwrap()) else {
                    continue;
                };
                let begin = recorder.now();
                let set = format!("UPDATE register SET v = {value} WHERE id = {key} AND v = {old}");
                let done = match session.client().await {
                    Ok(client) => client.execute(set.as_str(), &[]).await.map_err(|error| Failure::of(&error, true)),
                    Err(failure) => Err(failure),
                };
                let (hit, outcome) = (matches!(done, Ok(1)), outcome(&done));
                recorder.record(begin, (key, Register::CompareAndSet(old, value, hit)), outcome);
            }
        }
        // Short histories of many keys are judged fast; a pause keeps them short without making the race rarer.
        tokio::time::sleep(Duration::from_millis(random.random_range(0..4))).await;
    }
}

fn outcome<T>(result: &Result<T, Failure>) -> Outcome {
    match result {
        Ok(_) => Outcome::Ok,
        Err(Failure::Refused(..)) => Outcome::Refused,
        Err(Failure::Unknown(_)) => Outcome::Unknown,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_rows_stay_strictly_serializable_under_kills_and_pauses() {
    const KEYS: i64 = 20;
    let mut grid = Grid::start_with(Options { proxied: true, ..Options::default() }).await;
    let gateways = grid.gateways();
    let mut session = gateways.session(0);
    session.batch("CREATE TABLE register (id bigint PRIMARY KEY, v bigint) DISTRIBUTE BY HASH (id)").await.unwrap();
    session
        .batch(&format!("INSERT INTO register SELECT i, NULL FROM generate_series(1, {KEYS}) AS g(i)"))
        .await
        .unwrap();
    let (recorder, stop) = (Arc::<Recorder<(i64, Register)>>::default(), Arc::<AtomicBool>::default());
    let mut clients = JoinSet::new();
    for client in 0..6 {
        clients.spawn(registers(
            gateways.session(client as usize),
            KEYS,
            client,
            recorder.clone(),
            stop.clone(),
            100 + client as u64,
        ));
    }
    for round in 0..3_u32 {
        let victim = grid.leader(round % 3 + 1).await;
        // A paused leader wakes up believing that it still leads: its answers must not be stale.
        grid.instance(victim).signal("STOP");
        tokio::time::sleep(Duration::from_secs(2)).await;
        grid.instance(victim).signal("CONT");
        let victim = grid.leader((round + 1) % 3 + 1).await;
        grid.kill(victim);
        tokio::time::sleep(Duration::from_millis(500)).await;
        grid.restart(victim);
        grid.settled().await;
    }
    stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    let history = recorder.take();
    assert!(
        history.iter().filter(|operation| operation.outcome == Outcome::Ok).count() > 500,
        "only {} operations",
        history.len()
    );
    register::check(&history).unwrap();
    grid.finish().await;
}
