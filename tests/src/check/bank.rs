//! Money is neither made nor lost: transfers between accounts on different replica sets leave the total as it was, for every
//! reader at every moment, and at the end the balances equal the sums of the transfers that took effect: every one that was
//! acknowledged, and none that was refused.
//!
//! The tables are those of TPC-B in small: each transfer also adds a row with its amount to a history table, so that at the end
//! balances can be derived from it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use crate::sql::{Failure, Gateways, Session};

/// Each account's balance at the beginning.
const OPENING: i64 = 1000;
/// How often a client that gives no transfer up tries one. With the pauses between, that is longer than any failover.
const TRIES: u32 = 60;
/// Pause after the first try, and by how much it grows with each further one.
const PAUSE: Duration = Duration::from_millis(10);
/// It grows no further.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// What the clients have done so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Transfers acknowledged.
    pub committed: AtomicU64,
    /// Tries refused with 40001 or for want of a gateway.
    pub refused: AtomicU64,
    /// Transfers of unknown outcome.
    pub unknown: AtomicU64,
    /// Readings of the total, each of which was right.
    pub totals: AtomicU64,
    /// SQLSTATEs of all refusals, those of readers too; `none` for a connection that failed or broke.
    pub states: Mutex<BTreeSet<String>>,
}

impl Counts {
    fn refused_with(&self, failure: &Failure) {
        let state = failure.code().unwrap_or("none").to_owned();
        self.states.lock().expect("no holder panics").insert(state);
    }
}

/// A running load of transfers and readings.
#[derive(Debug)]
pub struct Bank {
    gateways: Gateways,
    accounts: i64,
    /// What happened so far; may be read at any time.
    pub counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    clients: JoinSet<Result<Told, String>>,
}

/// What a client was told of its transfers, by their ids.
#[derive(Debug, Default)]
struct Told {
    committed: Vec<i64>,
    unknown: Vec<i64>,
}

impl Bank {
    /// Makes the tables and fills them.
    pub async fn create(gateways: &Gateways, accounts: i64) -> Result<(), Failure> {
        let mut session = gateways.session(0);
        session
            .batch(
                "CREATE TABLE account (id bigint PRIMARY KEY, balance bigint NOT NULL) DISTRIBUTE BY HASH (id); \
                 CREATE TABLE transfer (id bigint PRIMARY KEY, source bigint NOT NULL, target bigint NOT NULL, amount bigint NOT NULL) \
                 DISTRIBUTE BY HASH (id)",
            )
            .await?;
        session
            .batch(&format!("INSERT INTO account SELECT i, {OPENING} FROM generate_series(1, {accounts}) AS g(i)"))
            .await
    }

    /// Starts `writers` clients that transfer and `readers` that add up, spread over the gateways. `seed` decides what they do. A
    /// transfer that is refused is given up, and the next one has new accounts.
    pub fn start(gateways: &Gateways, accounts: i64, writers: usize, readers: usize, seed: u64) -> Bank {
        Bank::start_with(gateways, accounts, writers, readers, seed, false)
    }

    /// The same, but each client repeats its transfer until it is done. [`Bank::finish`] fails when a bounded number of tries is not
    /// enough for one of them; none ends with an unknown outcome.
    pub fn start_persistent(gateways: &Gateways, accounts: i64, writers: usize, readers: usize, seed: u64) -> Bank {
        Bank::start_with(gateways, accounts, writers, readers, seed, true)
    }

    fn start_with(
        gateways: &Gateways,
        accounts: i64,
        writers: usize,
        readers: usize,
        seed: u64,
        persistent: bool,
    ) -> Bank {
        let (counts, stop) = (Arc::<Counts>::default(), Arc::<AtomicBool>::default());
        let mut clients = JoinSet::new();
        for client in 0..writers + readers {
            let (session, counts, stop) = (gateways.session(client), counts.clone(), stop.clone());
            let random = StdRng::seed_from_u64(seed.wrapping_add(client as u64));
            if client < writers {
                clients.spawn(transfers(session, counts, stop, accounts, client as i64, random, persistent));
            } else {
                clients.spawn(totals(session, counts, stop, accounts));
            }
        }
        Bank { gateways: gateways.clone(), accounts, counts, stop, clients }
    }

    /// Transfers acknowledged so far.
    pub fn committed(&self) -> u64 {
        self.counts.committed.load(Ordering::Relaxed)
    }

    /// Stops the clients and checks the tables.
    ///
    /// # Errors
    /// What a client saw, or what the tables show, that must not be.
    pub async fn finish(mut self) -> Result<Arc<Counts>, String> {
        self.stop.store(true, Ordering::Relaxed);
        let (mut committed, mut unknown) = (BTreeSet::new(), BTreeSet::new());
        while let Some(client) = self.clients.join_next().await {
            let told = client.map_err(|panic| panic.to_string())??;
            committed.extend(told.committed);
            unknown.extend(told.unknown);
        }
        let mut session = self.gateways.session(0);
        let balances = pairs(&mut session, "SELECT id, balance FROM account ORDER BY id").await?;
        let outgoing = pairs(&mut session, "SELECT source, sum(amount) FROM transfer GROUP BY source").await?;
        let incoming = pairs(&mut session, "SELECT target, sum(amount) FROM transfer GROUP BY target").await?;
        if balances.len() as i64 != self.accounts {
            return Err(format!("{} accounts instead of {}", balances.len(), self.accounts));
        }
        let sum = |of: &[(i64, i64)], id: i64| of.iter().find(|(key, _)| *key == id).map_or(0, |(_, sum)| *sum);
        for (id, balance) in balances {
            let expected = OPENING - sum(&outgoing, id) + sum(&incoming, id);
            if balance != expected {
                return Err(format!("account {id} has {balance}, but the transfers say {expected}"));
            }
        }
        let recorded = session.rows("SELECT id FROM transfer").await.map_err(|failure| failure.to_string())?;
        let recorded: BTreeSet<i64> = recorded.iter().filter_map(|row| row[0].as_ref()?.parse().ok()).collect();
        if let Some(id) = committed.difference(&recorded).next() {
            return Err(format!("transfer {id} was acknowledged and is not recorded"));
        }
        if let Some(id) = recorded.iter().find(|id| !committed.contains(id) && !unknown.contains(id)) {
            return Err(format!("transfer {id} was refused and is recorded"));
        }
        Ok(self.counts)
    }
}

async fn pairs(session: &mut Session, sql: &str) -> Result<Vec<(i64, i64)>, String> {
    let rows = session.rows(sql).await.map_err(|failure| format!("{sql}: {failure}"))?;
    let number = |cell: &Option<String>| {
        cell.as_ref().and_then(|text| text.parse().ok()).ok_or(format!("{sql}: {cell:?} is no number"))
    };
    rows.iter().map(|row| Ok((number(&row[0])?, number(&row[1])?))).collect()
}

/// One client that transfers until told to stop.
async fn transfers(
    mut session: Session,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    accounts: i64,
    client: i64,
    mut random: StdRng,
    persistent: bool,
) -> Result<Told, String> {
    let (mut number, mut told) = (0, Told::default());
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let source = random.random_range(1..=accounts);
        let target = (source + random.random_range(1..accounts) - 1) % accounts + 1;
        let amount = random.random_range(1..=10);
        let id = client << 32 | number;
        if persistent {
            finished(&mut session, &counts, id, source, target, amount).await?;
            told.committed.push(id);
            continue;
        }
        match transfer(&mut session, id, source, target, amount).await {
            Ok(()) => {
                told.committed.push(id);
                counts.committed.fetch_add(1, Ordering::Relaxed)
            }
            Err(Failure::Unknown(_)) => {
                told.unknown.push(id);
                counts.unknown.fetch_add(1, Ordering::Relaxed)
            }
            Err(failure) => {
                expected(&failure)?;
                counts.refused_with(&failure);
                tokio::time::sleep(Duration::from_millis(5)).await;
                counts.refused.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
    Ok(told)
}

/// One transfer, tried again as it is until it is done. After a try of unknown outcome its id tells whether that one took effect.
async fn finished(
    session: &mut Session,
    counts: &Counts,
    id: i64,
    source: i64,
    target: i64,
    amount: i64,
) -> Result<(), String> {
    let (mut maybe, mut last) = (false, String::new());
    for tried in 1..=TRIES {
        match transfer(session, id, source, target, amount).await {
            Ok(()) => {
                counts.committed.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Err(failure) if maybe && failure.code() == Some("23505") => {
                counts.committed.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            Err(failure @ Failure::Unknown(_)) => {
                maybe = true;
                last = failure.to_string();
            }
            Err(failure) => {
                expected(&failure)?;
                counts.refused_with(&failure);
                counts.refused.fetch_add(1, Ordering::Relaxed);
                last = failure.to_string();
            }
        }
        tokio::time::sleep((PAUSE * tried).min(PAUSE_MAX)).await;
    }
    Err(format!("transfer {id} was not done in {TRIES} tries; the last was {last}"))
}

async fn transfer(session: &mut Session, id: i64, source: i64, target: i64, amount: i64) -> Result<(), Failure> {
    let inside = |error: tokio_postgres::Error| Failure::of(&error, false);
    let transaction = session.client().await?.transaction().await.map_err(inside)?;
    for (account, change) in [(source, -amount), (target, amount)] {
        transaction
            .execute("UPDATE account SET balance = balance + $1 WHERE id = $2", &[&change, &account])
            .await
            .map_err(inside)?;
    }
    transaction
        .execute("INSERT INTO transfer VALUES ($1, $2, $3, $4)", &[&id, &source, &target, &amount])
        .await
        .map_err(inside)?;
    transaction.commit().await.map_err(|error| Failure::of(&error, true))
}

/// One client that adds all balances up until told to stop.
async fn totals(
    mut session: Session,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    accounts: i64,
) -> Result<Told, String> {
    while !stop.load(Ordering::Relaxed) {
        match session.number("SELECT sum(balance) FROM account").await {
            Ok(total) if total == accounts * OPENING => {
                counts.totals.fetch_add(1, Ordering::Relaxed);
            }
            Ok(total) => return Err(format!("a reader saw {total} in all instead of {}", accounts * OPENING)),
            Err(Failure::Unknown(_)) => {}
            Err(failure) => {
                expected(&failure)?;
                counts.refused_with(&failure);
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(Told::default())
}

/// Refusals that a failure in the grid may cause; any other is a fault of its own.
fn expected(failure: &Failure) -> Result<(), String> {
    match failure.code() {
        None | Some("40001" | "58000" | "57P01" | "57P02" | "57P03" | "08006" | "08001" | "08004") => Ok(()),
        Some(_) => Err(format!("a client was {failure}")),
    }
}
