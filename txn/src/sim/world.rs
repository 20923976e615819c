//! A grid in one thread: replica sets with simulated logs, gateways with real coordinators, clients, and a hand that
//! disturbs them. Everything that happens follows from the seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::history::{Key, Record, Told, Value, strictly_serializable, timestamp_order_is_serial};
use super::log::SimSet;
use super::network::{Network, Port, Weather};
use super::rng::Rng;
use super::workload;
use crate::clock::{Clock, TimeSource};
use crate::command::{Applied, Command, Logged};
use crate::coordinator::{self, Coordinator};
use crate::element::{self, ReplicaSet};
use crate::protocol::{GatewayId, Operation, Outcome, Reply, Request, Sender, SetId, TxnId};
use crate::store::StoreLocation;
use crate::store::kv::MemoryDisk;

/// Keys of one set.
pub(crate) const KEYS_A_SET: usize = 2;

/// What may disturb a world. Each is drawn afresh for every seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Feature {
    /// Messages take up to half a second.
    Slow,
    /// Messages and answers are lost.
    Lossy,
    /// Commit messages arrive twice.
    Twice,
    /// Gateways read at replicas of their own instance.
    Follower,
    /// Leaders change, and deposed ones go on believing.
    Deposed,
    /// Gateways die and come back as new ones.
    Crash,
    /// Garbage is collected at once, and rows are deleted.
    Garbage,
    /// One-set readers among blind writers of several sets, and a set whose clock is far ahead.
    Straddle,
    /// Writes are streamed to their sets before the commit.
    Staged,
    /// Rows are locked before they are written.
    Locks,
    /// The clocks of instances are exchanged with messages, as they really are.
    Clocks,
    /// A set is without majority for some seconds.
    Stall,
    /// Replicas die and come back with what they had flushed.
    Restart,
    /// Read-only transactions take long, over all sets, at cuts; they lose to no writer.
    Cuts,
}

impl Feature {
    pub(crate) const ALL: [Feature; 14] = [
        Feature::Slow,
        Feature::Lossy,
        Feature::Twice,
        Feature::Follower,
        Feature::Deposed,
        Feature::Crash,
        Feature::Garbage,
        Feature::Straddle,
        Feature::Staged,
        Feature::Locks,
        Feature::Clocks,
        Feature::Stall,
        Feature::Restart,
        Feature::Cuts,
    ];
}

/// Rules left out, to prove that the simulation notices.
#[derive(Clone, Debug, Default)]
pub(crate) struct Broken {
    pub(crate) element: element::Breaks,
    pub(crate) coordinator: coordinator::Breaks,
    /// A deposed leader's proof succeeds.
    pub(crate) false_proofs: bool,
    /// A follower answers before it has applied what the leader named.
    pub(crate) ignore_index: bool,
}

/// How often things happen, per mille and step of a set.
#[derive(Clone, Debug)]
struct Rates {
    commit: usize,
    follow: usize,
    change: usize,
    step_down: usize,
}

pub(crate) struct World {
    pub(crate) rng: Arc<Rng>,
    pub(crate) on: BTreeSet<Feature>,
    pub(crate) sets: Vec<Arc<SimSet>>,
    pub(crate) network: Arc<Network>,
    pub(crate) gateways: Vec<Mutex<Arc<Coordinator>>>,
    seats: Vec<Vec<Disk>>,
    options: element::Options,
    incarnations: Vec<AtomicU64>,
    broken: Broken,
    time: Arc<SimTime>,
    events: AtomicU64,
    pub(crate) history: Mutex<Vec<Record>>,
    pub(crate) ids: Mutex<BTreeMap<TxnId, u32>>,
    /// What must not happen and did.
    pub(crate) complaints: Mutex<Vec<String>>,
}

/// Time of a world; every clock has its own offset from it.
pub(crate) struct SimTime {
    begin: Instant,
}

impl SimTime {
    pub(crate) fn now() -> Arc<Self> {
        Arc::new(SimTime { begin: Instant::now() })
    }
}

/// The clock of one instance.
#[derive(Clone)]
pub(crate) struct Offset {
    time: Arc<SimTime>,
    ms: Arc<AtomicU64>,
}

impl Offset {
    pub(crate) fn new(time: &Arc<SimTime>, ms: u64) -> Self {
        Offset { time: Arc::clone(time), ms: Arc::new(AtomicU64::new(ms)) }
    }

    pub(crate) fn set(&self, ms: u64) {
        self.ms.store(ms, Ordering::Relaxed);
    }
}

impl TimeSource for Offset {
    fn physical_ms(&self) -> u64 {
        crate::clock::PHYSICAL_MS_MIN + self.ms.load(Ordering::Relaxed) + self.monotonic().as_millis() as u64
    }

    fn monotonic(&self) -> Duration {
        self.time.begin.elapsed()
    }
}

/// What of a replica outlives its process.
pub(crate) struct Disk {
    pub(crate) offset: Offset,
    disk: MemoryDisk,
}

impl Disk {
    pub(crate) fn new(offset: Offset) -> Disk {
        Disk { offset, disk: MemoryDisk::new() }
    }

    pub(crate) fn start(&self, set: &Arc<SimSet>, seat: usize, network: &Arc<Network>, options: &element::Options) {
        set.start(seat, |log| {
            let clock = Arc::new(Clock::new(Arc::new(self.offset.clone())));
            let location = StoreLocation::Memory(self.disk.clone());
            let element =
                ReplicaSet::open(set.set, &location, clock, options.clone()).expect("a store in memory opens");
            let port = Port { network: Arc::clone(network), local_seat: None, ignore_index: false };
            element.attach(log, Arc::new(port));
            element
        });
    }
}

impl World {
    /// Builds a world. To be called within a runtime whose time is paused.
    pub(crate) fn new(seed: u64, broken: Broken, features: Option<&[Feature]>) -> Arc<World> {
        let rng = Arc::new(Rng::new(seed));
        let drawn = |rng: &Rng| Feature::ALL.into_iter().filter(|_| rng.chance(40)).collect();
        let on: BTreeSet<Feature> = features.map_or_else(|| drawn(&rng), |f| f.iter().copied().collect());
        let has = |feature| on.contains(&feature);
        let time = SimTime::now();
        let straddle = has(Feature::Straddle);
        let set_count = if straddle || rng.chance(60) { 2 } else { 3 };
        let replicas = rng.within(2, 3);
        let sets: Vec<_> = (1..=set_count as SetId)
            .map(|set| SimSet::new(set, replicas, Arc::clone(&rng), broken.false_proofs))
            .collect();
        let weather = Weather {
            slow: if has(Feature::Slow) { *rng.pick(&[10, 40]) } else { 0 },
            slow_ms: *rng.pick(&[20, 100, 600]),
            not_sent: if has(Feature::Lossy) { 3 } else { 0 },
            request_lost: if has(Feature::Lossy) { 4 } else { 0 },
            answer_lost: if has(Feature::Lossy) { 4 } else { 0 },
            twice: if has(Feature::Twice) { 30 } else { 0 },
            to_deposed: if has(Feature::Deposed) { 50 } else { 10 },
            clocks: has(Feature::Clocks),
        };
        let network = Network::new(Arc::clone(&rng), weather, &sets);
        let mut options = element::Options { breaks: broken.element.clone(), ..element::Options::default() };
        options.horizon_ahead = Duration::from_millis(*rng.pick(&[5, 50, 2000]));
        options.doubt_patience = Duration::from_millis(*rng.pick(&[5, 50, 500]));
        options.watermark_interval = Duration::from_millis(*rng.pick(&[5, 100, 1000]));
        if has(Feature::Garbage) {
            options.garbage_age = Duration::from_millis(*rng.pick(&[0, 5, 100]));
            options.garbage_interval = Duration::from_millis(*rng.pick(&[5, 50]));
        }
        options.freeze_max = Duration::from_millis(*rng.pick(&[5, 150, 3000]));
        options.recent_commits_max = *rng.pick(&[1, 4, 65_536]);
        let mut seats = Vec::new();
        for (number, set) in sets.iter().enumerate() {
            let ahead = if straddle && number == 0 && rng.chance(70) { 100_000 } else { 0 };
            let seat = |_| Disk::new(Offset::new(&time, ahead + rng.below(*rng.pick(&[1, 50, 20_000])) as u64));
            seats.push((0..replicas).map(seat).collect::<Vec<_>>());
            for (seat, disk) in seats[number].iter().enumerate() {
                disk.start(set, seat, &network, &options);
            }
            set.change_leader(rng.below(replicas), 0);
        }
        let world = Arc::new(World {
            gateways: Vec::new(),
            seats,
            options,
            incarnations: (0..2).map(|_| AtomicU64::new(0)).collect(),
            rng,
            on,
            sets,
            network,
            broken,
            time,
            events: AtomicU64::new(0),
            history: Mutex::new(Vec::new()),
            ids: Mutex::new(BTreeMap::new()),
            complaints: Mutex::new(Vec::new()),
        });
        let gateways = (0..2).map(|at| Mutex::new(world.coordinator(at))).collect();
        let mut world = world;
        Arc::get_mut(&mut world).expect("nobody else has it yet").gateways = gateways;
        world
    }

    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.on.contains(&feature)
    }

    /// A number that grows with every event a client sees.
    pub(crate) fn event(&self) -> u64 {
        self.events.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn complain(&self, what: String) {
        self.complaints.lock().push(what);
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        (0..self.sets.len() * KEYS_A_SET).collect()
    }

    pub(crate) fn coordinator_of(&self, gateway: usize) -> Arc<Coordinator> {
        Arc::clone(&self.gateways[gateway].lock())
    }

    /// A new process of a gateway.
    fn coordinator(&self, at: usize) -> Arc<Coordinator> {
        let incarnation = self.incarnations[at].fetch_add(1, Ordering::Relaxed) as u32 + 1;
        let local_seat = self.has(Feature::Follower).then_some(at);
        let port = Port { network: Arc::clone(&self.network), local_seat, ignore_index: self.broken.ignore_index };
        let ms = self.rng.below(20_000) as u64;
        let clock = Arc::new(Clock::new(Arc::new(Offset::new(&self.time, ms))));
        let mut config = coordinator::Config {
            follower_lag: Duration::from_millis(*self.rng.pick(&[0, 10, 1000])),
            lock_timeout: Duration::from_secs(2),
            freeze_patience: Duration::from_millis(*self.rng.pick(&[10, 100, 2000])),
            replica_set_timeout: Duration::from_millis(*self.rng.pick(&[300, 5000])),
            answer_timeout: Duration::from_millis(*self.rng.pick(&[300, 3000])),
            breaks: self.broken.coordinator.clone(),
            ..coordinator::Config::default()
        };
        if self.has(Feature::Staged) {
            config.transaction_memory = *self.rng.pick(&[0, 400]);
            config.staged_batch = 1;
        }
        let gateway = GatewayId::new(at as u32 + 1, incarnation);
        let coordinator = Coordinator::new(gateway, 1, Arc::new(port), clock, config);
        coordinator.watch(&self.sets.iter().map(|set| set.set).collect::<Vec<_>>());
        Arc::new(coordinator)
    }

    /// The process of a gateway dies, with all its sessions; another takes its place.
    fn crash(&self, at: usize, clients: &mut Vec<(usize, tokio::task::JoinHandle<()>)>) {
        clients.retain(|(gateway, client)| {
            if *gateway == at {
                client.abort();
            }
            *gateway != at
        });
        let fresh = self.coordinator(at);
        let old = std::mem::replace(&mut *self.gateways[at].lock(), fresh);
        self.note_violations(&old);
        old.crash();
    }

    fn note_violations(&self, coordinator: &Coordinator) {
        if coordinator.violations() > 0 {
            self.complain("an outcome was told to a set that has another".into());
        }
    }

    /// Lets clients work under disturbances, then heals everything and looks at what is left.
    pub(crate) async fn run(self: &Arc<Self>) -> Result<(), String> {
        let rng = &self.rng;
        let mut hands = JoinSet::new();
        let rates = Rates {
            commit: *rng.pick(&[150, 400, 900]),
            follow: *rng.pick(&[50, 300, 900]),
            change: if self.has(Feature::Deposed) { *rng.pick(&[5, 20, 60]) } else { *rng.pick(&[0, 0, 5]) },
            step_down: *rng.pick(&[5, 50]),
        };
        for set in &self.sets {
            hands.spawn(Arc::clone(self).drive(Arc::clone(set), rates.clone()));
        }
        tokio::select! {
            biased;
            // A hand never ends, but for a broken invariant.
            Some(_) = hands.join_next() => Err("a replica broke an invariant".into()),
            ended = self.work_and_heal() => ended.and_then(|()| self.verdict()),
        }
    }

    async fn work_and_heal(self: &Arc<Self>) -> Result<(), String> {
        let rng = &self.rng;
        let mut clients = Vec::new();
        let spawn = |gateway: usize| {
            let client = workload::client(Arc::clone(self), gateway, rng.within(1, 3));
            (gateway, tokio::spawn(client))
        };
        for _ in 0..rng.within(2, 4) {
            clients.push(spawn(rng.below(2)));
        }
        if self.has(Feature::Crash) {
            for _ in 0..rng.within(1, 2) {
                tokio::time::sleep(rng.ms(1, 80)).await;
                let at = rng.below(2);
                self.crash(at, &mut clients);
                if rng.chance(50) {
                    clients.push(spawn(at));
                }
            }
        }
        if self.has(Feature::Stall) {
            tokio::time::sleep(rng.ms(1, 40)).await;
            let set = rng.pick(&self.sets);
            set.stall(true);
            tokio::time::sleep(rng.ms(10, 7000)).await;
            set.stall(false);
        }
        for (_, client) in clients {
            // Far more than all their timeouts together.
            match tokio::time::timeout(Duration::from_secs(600), client).await {
                Err(_) => return Err("a client waits for ever".into()),
                Ok(Err(error)) if error.is_panic() => self.complain("a client panicked".into()),
                Ok(_) => {}
            }
        }
        self.heal();
        let end = workload::read_everything(Arc::clone(self));
        if tokio::time::timeout(Duration::from_secs(60), end).await.is_err() {
            return Err("what is there in the end cannot be read".into());
        }
        let told = async {
            while self.gateways.iter().any(|gateway| gateway.lock().unfinished() > 0) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(60), told).await.is_err() {
            return Err("outcomes are not told in the end".into());
        }
        let same = tokio::time::timeout(Duration::from_secs(60), self.compare_replicas()).await;
        same.map_err(|_| "no checkpoint is reached in the end")?
    }

    fn heal(&self) {
        self.network.healed.store(true, Ordering::Relaxed);
        for set in &self.sets {
            set.stall(false);
            for seat in set.deposed() {
                set.step_down(seat);
            }
        }
    }

    /// Commits what a set has in flight, lets its followers follow, changes its leader.
    async fn drive(self: Arc<Self>, set: Arc<SimSet>, rates: Rates) {
        let rng = &self.rng;
        let per_mille = |n: usize| rng.below(1000) < n;
        loop {
            tokio::time::sleep(rng.ms(1, 3)).await;
            let healed = self.network.healed.load(Ordering::Relaxed);
            if set.in_flight() > 0 && (healed || per_mille(rates.commit)) {
                set.commit(rng.within(1, 3), !healed && self.has(Feature::Lossy) && rng.chance(3));
            }
            for seat in 0..set.replicas() {
                let follows = seat != set.leader() && !set.deposed().contains(&seat);
                if follows && (healed || per_mille(rates.follow)) {
                    set.catch_up(seat, rng.within(1, 4));
                }
                set.element(seat).tick();
            }
            if healed {
                continue;
            }
            if !set.stalled() && per_mille(rates.change) {
                set.change_leader(rng.below(set.replicas()), rng.below(set.in_flight() + 1));
            }
            for seat in set.deposed() {
                if per_mille(rates.step_down) {
                    set.step_down(seat);
                }
            }
            if self.has(Feature::Garbage) && per_mille(100) {
                // Versions go once the threshold is on disk.
                set.flush(rng.below(set.replicas()));
            }
            if self.has(Feature::Restart) && !set.stalled() && per_mille(10) {
                let seat = rng.below(set.replicas());
                if rng.chance(50) {
                    set.flush(seat);
                } else {
                    if set.leader() == seat {
                        set.change_leader((seat + 1) % set.replicas(), rng.below(set.in_flight() + 1));
                    }
                    self.seats[set.set as usize - 1][seat].start(&set, seat, &self.network, &self.options);
                }
            }
        }
    }

    /// Whether all replicas of each set hold the same rows.
    async fn compare_replicas(&self) -> Result<(), String> {
        for set in &self.sets {
            let nonce = self.event();
            let clock = crate::clock::Timestamp::ZERO;
            let operation = Operation::Checkpoint { nonce };
            let request = Request { sender: Sender::Set(set.set), clock, operation };
            let response = set.element(set.leader()).serve(request).await;
            if response.result != Ok(Reply::Checkpoint) {
                return Err(format!("no checkpoint: {:?}", response.result));
            }
            let hashes = (0..set.replicas()).map(|seat| {
                set.catch_up(seat, usize::MAX);
                set.element(seat).verify_hash(nonce)
            });
            let hashes: Vec<_> = hashes.collect();
            if hashes[0].is_none() || hashes.iter().any(|hash| *hash != hashes[0]) {
                return Err(format!("replicas of set {} differ: {hashes:?}", set.set));
            }
        }
        Ok(())
    }

    fn verdict(&self) -> Result<(), String> {
        for gateway in &self.gateways {
            self.note_violations(&gateway.lock());
        }
        if self.sets.iter().any(|set| set.violations() > 0) {
            self.complain("a set was told another outcome than it has".into());
        }
        if let Some(complaint) = self.complaints.lock().first() {
            return Err(complaint.clone());
        }
        let history = self.history.lock();
        let keys = self.keys().len();
        if !strictly_serializable(&history, keys) {
            return Err("the history is not strictly serializable".into());
        }
        if !timestamp_order_is_serial(&history, &self.committed(), keys) {
            return Err("the order of timestamps is no serial order".into());
        }
        Ok(())
    }

    /// Commit timestamps by transaction, as the logs have them.
    fn committed(&self) -> BTreeMap<u32, BTreeSet<u64>> {
        let mut committed: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
        let ids = self.ids.lock();
        for set in &self.sets {
            for (command, applied) in set.applied() {
                let logged = Logged::decode(command).expect("the log holds commands");
                let applied = Applied::decode(applied).expect("apply answers");
                let (txn, at) = match (logged.command, applied) {
                    (Command::Commit { txn, .. }, Applied::Ended(Outcome::Committed(at))) => (txn, at),
                    (Command::Resolve { txn, .. }, Applied::Ended(Outcome::Committed(at))) => (txn, at),
                    _ => continue,
                };
                if let Some(number) = ids.get(&txn) {
                    committed.entry(*number).or_default().insert(at.0);
                }
            }
        }
        committed
    }

    /// How many transactions were committed, refused, unknown.
    pub(crate) fn tally(&self) -> [usize; 3] {
        let history = self.history.lock();
        [Told::Committed, Told::Refused, Told::Unknown].map(|told| history.iter().filter(|r| r.told == told).count())
    }

    /// The history, for the report of a failure.
    pub(crate) fn story(&self) -> String {
        let mut lines: Vec<String> = self.history.lock().iter().map(|record| format!("{record:?}")).collect();
        lines.insert(0, format!("features {:?}", self.on));
        lines.join("\n")
    }
}

/// What a value says about who wrote it.
pub(crate) fn writer_of(value: Option<&bytes::Bytes>) -> Value {
    value.map(|v| u32::from_be_bytes(v.as_ref().try_into().expect("values are transaction numbers")))
}

/// A new record of a transaction.
pub(crate) fn begun(txn: u32, invoke: u64) -> Record {
    Record {
        txn,
        invoke,
        respond: u64::MAX,
        told: Told::Unknown,
        reads: BTreeMap::new(),
        exists: BTreeSet::new(),
        writes: BTreeMap::new(),
    }
}
