//! What the clients of a simulated world do: a few transactions each, over a few keys.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::history::{Key, Told, Value};
use super::world::{Feature, KEYS_A_SET, World, begun, writer_of};
use crate::coordinator::{Options, RetryCause, ScanRange, Transaction, TxnError};
use crate::protocol::SetId;

pub(crate) fn place(key: Key) -> (SetId, Bytes) {
    let (set, number) = (key / KEYS_A_SET, key % KEYS_A_SET);
    (set as SetId + 1, Bytes::from(vec![b'k', set as u8, number as u8]))
}

fn value(txn: u32) -> Bytes {
    Bytes::copy_from_slice(&txn.to_be_bytes())
}

/// A transaction and its line in the history.
struct Session {
    world: Arc<World>,
    at: usize,
    number: u32,
    txn: Transaction,
    /// What it has written so far, and has not taken back.
    writes: Vec<(Key, Value)>,
    /// The number of its next savepoint.
    savepoint: u64,
    /// It saw what no single state explains; so it must not commit.
    torn: Option<String>,
    /// It reads at a cut, so that no writer makes it fail.
    cut: bool,
}

pub(crate) async fn client(world: Arc<World>, gateway: usize, transactions: usize) {
    // Old versions are missed only where there are several.
    let more = usize::from(world.has(Feature::Straddle)) + 2 * usize::from(world.has(Feature::Garbage));
    for _ in 0..transactions + more {
        tokio::time::sleep(world.rng.ms(0, 10)).await;
        transaction(&world, gateway).await;
    }
}

/// Reads all keys in one transaction, until it succeeds.
pub(crate) async fn read_everything(world: Arc<World>) {
    for attempt in 0.. {
        let options = Options { shared_locks: attempt > 3, ..Options::default() };
        let mut session = Session::begin(&world, 0, options);
        let mut keys = world.keys();
        if attempt % 2 == 1 {
            keys.reverse();
        }
        let mut ended = Ok(());
        for key in keys {
            ended = session.read(key).await;
            if ended.is_err() {
                break;
            }
        }
        if session.end(ended).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn transaction(world: &Arc<World>, gateway: usize) {
    let rng = &world.rng;
    let straddle = world.has(Feature::Straddle);
    let read_only = rng.chance(40);
    let mut reads = rng.sample(&world.keys(), rng.within(1, 3));
    let mut writes = if read_only { Vec::new() } else { rng.sample(&world.keys(), rng.within(1, 2)) };
    let mut blind = !read_only && rng.chance(30);
    if straddle {
        reads = if rng.chance(80) { vec![1, 0] } else { vec![0, 1] };
        blind = !read_only && rng.chance(80);
        if !read_only {
            writes = rng.pick(&[vec![0, 2], vec![0, 2], vec![1], vec![2]]).clone();
        }
    }
    if world.has(Feature::Garbage) && rng.chance(30) {
        // One set only, so that nothing is validated at the end.
        let first = rng.below(world.sets.len()) * KEYS_A_SET;
        reads = (first..first + KEYS_A_SET).collect();
    }
    if blind {
        reads.clear();
    }
    let cut = read_only && world.has(Feature::Cuts) && rng.chance(80);
    if cut {
        reads = rng.sample(&world.keys(), world.keys().len());
    }
    let locks = world.has(Feature::Locks);
    let options = Options { shared_locks: locks && !cut && rng.chance(10), ..Options::default() };
    let mut session = Session::begin(world, gateway, options);
    let mut ended = if cut { session.take_cut().await } else { Ok(()) };
    for key in reads {
        if ended.is_err() {
            break;
        }
        if (world.has(Feature::Slow) || world.has(Feature::Garbage) || cut) && rng.chance(30) {
            tokio::time::sleep(rng.ms(0, 60)).await;
        }
        ended = match rng.below(10) {
            0 | 1 => session.scan(key).await,
            _ if cut => session.read(key).await,
            2..=5 if locks && !read_only => session.lock(key).await,
            2 if locks => session.lock(key).await,
            _ => session.read(key).await,
        };
        if ended.is_err() {
            break;
        }
    }
    let insert = rng.chance(15);
    for key in writes {
        if ended.is_err() {
            break;
        }
        if locks && !blind && !insert && rng.chance(50) {
            ended = session.lock(key).await;
        }
        if ended.is_ok() {
            ended = session.write(key, insert).await;
        }
    }
    session.end(ended).await;
}

impl Session {
    fn begin(world: &Arc<World>, gateway: usize, options: Options) -> Session {
        let txn = world.coordinator_of(gateway).begin(options);
        let mut history = world.history.lock();
        let number = history.len() as u32 + 1;
        history.push(begun(number, world.event()));
        super::trace(|| format!("transaction {number} begins at gateway {gateway}"));
        Session {
            world: Arc::clone(world),
            at: number as usize - 1,
            number,
            txn,
            writes: Vec::new(),
            savepoint: 1,
            torn: None,
            cut: false,
        }
    }

    /// Notes a value seen. A transaction that commits must have seen the same all along.
    fn saw(&mut self, key: Key, value: Value) {
        if let Some((_, own)) = self.writes.iter().rev().find(|(k, _)| *k == key) {
            if *own != value {
                self.torn = Some(format!("transaction {} does not see its own write of {key}", self.number));
            }
            return;
        }
        let before = *self.world.history.lock()[self.at].reads.entry(key).or_insert(value);
        if before != value {
            self.torn = Some(format!("transaction {} reads {before:?}, then {value:?} at {key}", self.number));
        }
    }

    async fn read(&mut self, key: Key) -> Result<(), TxnError> {
        let (set, bytes) = place(key);
        let values = self.txn.get(set, &[bytes]).await?;
        self.saw(key, writer_of(values[0].as_ref()));
        Ok(())
    }

    async fn take_cut(&mut self) -> Result<(), TxnError> {
        let sets: Vec<SetId> = self.world.sets.iter().map(|set| set.set).collect();
        self.cut = self.txn.take_cut(&sets).await?;
        Ok(())
    }

    async fn lock(&mut self, key: Key) -> Result<(), TxnError> {
        let (set, bytes) = place(key);
        let values = self.txn.lock_get(set, &[bytes]).await?;
        self.saw(key, writer_of(values[0].as_ref()));
        Ok(())
    }

    /// Scans the whole set of a key, in pages of one row.
    async fn scan(&mut self, key: Key) -> Result<(), TxnError> {
        let (set, _) = place(key);
        let first = (set as usize - 1) * KEYS_A_SET;
        let (start, end) = (place(first).1, Bytes::from(vec![b'k', set as u8]));
        let reverse = self.world.rng.chance(50);
        let rows_max = self.world.rng.within(1, 3) as u32;
        let mut range = ScanRange { start, end, reverse, rows_max, bytes_max: 1 << 20, program: None };
        let mut rows = Vec::new();
        loop {
            let page = self.txn.scan(set, &range).await?;
            rows.extend(page.rows);
            match page.resume {
                None => break,
                Some(resume) if reverse => range.end = resume,
                Some(resume) => range.start = resume,
            }
        }
        for key in first..first + KEYS_A_SET {
            let found = rows.iter().find(|(k, _)| *k == place(key).1);
            self.saw(key, writer_of(found.map(|(_, v)| v)));
        }
        Ok(())
    }

    async fn write(&mut self, key: Key, insert: bool) -> Result<(), TxnError> {
        let world = Arc::clone(&self.world);
        let (set, bytes) = place(key);
        if world.rng.chance(10) {
            self.take_back(set, &bytes).await?;
        }
        let deleted = world.has(Feature::Garbage) && !insert && world.rng.chance(40);
        let written = (!deleted).then_some(self.number);
        self.txn.put(set, bytes, written.map(value), insert).await?;
        self.writes.push((key, written));
        if world.rng.chance(20) {
            self.read(key).await?;
        }
        Ok(())
    }

    /// Writes what nobody may ever see, and goes back to a savepoint from before it.
    async fn take_back(&mut self, set: SetId, key: &Bytes) -> Result<(), TxnError> {
        let savepoint = self.savepoint;
        self.savepoint += 2;
        self.txn.savepoint(savepoint);
        for inner in [false, true] {
            if inner && self.world.rng.chance(50) {
                self.txn.savepoint(savepoint + 1);
            }
            self.txn.put(set, key.clone(), Some(value(0)), false).await?;
            if self.world.rng.chance(30) {
                self.txn.put(set, key.clone(), None, false).await?;
            }
        }
        if self.world.rng.chance(50) {
            self.txn.release(savepoint + 1);
        }
        self.txn.roll_back_to(savepoint)?;
        if self.world.rng.chance(50) {
            self.txn.release(savepoint);
        }
        Ok(())
    }

    /// Commits or rolls back, and notes what the client was told. True if it committed.
    async fn end(mut self, so_far: Result<(), TxnError>) -> bool {
        let world = Arc::clone(&self.world);
        let mut ended = match so_far {
            Ok(()) if world.rng.chance(3) => Err(TxnError::Cancelled),
            other => other,
        };
        if ended.is_ok() {
            let id = (!self.writes.is_empty()).then(|| self.txn.id());
            world.ids.lock().extend(id.map(|id| (id, self.number)));
            world.history.lock()[self.at].writes = self.writes.iter().copied().collect();
            ended = self.txn.commit().await.map(drop);
        }
        super::trace(|| format!("transaction {} ends: {ended:?}", self.number));
        if let (true, Err(TxnError::Retry { cause: RetryCause::Conflict | RetryCause::Lock, .. })) = (self.cut, &ended)
        {
            world.complain(format!("transaction {} reads at a cut and loses to a writer", self.number));
        }
        let mut history = world.history.lock();
        let record = &mut history[self.at];
        record.respond = world.event();
        record.told = match &ended {
            Ok(()) => Told::Committed,
            Err(TxnError::Unknown { .. }) => Told::Unknown,
            Err(TxnError::Duplicate { key }) => {
                // An answer like any other: the row was there, and all that was read held.
                let key = world.keys().into_iter().find(|k| place(*k).1 == *key).expect("it is one of the keys");
                record.writes.clear();
                record.exists.insert(key);
                Told::Committed
            }
            Err(TxnError::Fatal(what)) => {
                world.complain(what.clone());
                Told::Unknown
            }
            Err(_) => Told::Refused,
        };
        if record.told == Told::Committed
            && let Some(torn) = self.torn.take()
        {
            world.complain(torn);
        }
        ended.is_ok()
    }
}
