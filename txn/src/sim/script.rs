//! Directed schedules as golden scripts (`scripts/*`): sets A and B with three replicas each, gateways 1 and 2, a network that
//! does what it is told. Nothing is left to chance, so a script says exactly who does what when.
//!
//! Commands (`T:` is any transaction's name, keys are `A1`, `B2`, …):
//!
//!     T: begin [gateway=2] [locks]      T: get KEY…         T: lock KEY…        T: scan A [reverse] [rows=N]
//!     T: put KEY=VALUE…                 T: insert KEY=VALUE T: delete KEY…
//!     T: savepoint N                    T: release N        T: back N           to savepoint N
//!     T: cut                            its snapshot is a cut through A and B
//!     T: validate                       T: commit           T: rollback         T: wait [ms=N]
//!     T: abandon                        its client goes away in the middle of a step
//!     T: id                             gives it its id, for `ask`
//!     ask A T                           what A says about T
//!     order T…                          transactions that committed, by their timestamps
//!     ahead A [seat=SEAT]               clocks of A are 100 s ahead
//!     hold A prepare / release A        messages of a kind to a set stay on their way
//!     lose A commit request|answer      the next message of the kind, or the answer to it, is lost
//!     repeat                            the last message that commits is delivered once more
//!     log A stop|go                     nothing is committed in the set's log meanwhile
//!     majority A lost|back              nor can its leader prove that it leads meanwhile
//!     leader A to=SEAT keep=N           another replica leads, with N of the proposals in flight; the old leader goes on believing
//!     deposed A on|off                  messages to A go to the deposed leader
//!     step-down A                       the deposed leader learns that it is one
//!     flush A seat=SEAT                 a replica writes to its disk what it has applied
//!     restart A seat=SEAT               a replica that does not lead loses what it had not flushed, and comes back
//!     crash N                           gateway N dies and starts anew
//!     pass ms=N                         time passes
//!     prepared                          how many transactions are prepared, staged, locking
//!     rows                              what the leaders have
//!
//! A transaction's command that is not answered within 50 ms prints `waits`; `wait` waits for its answer (60 s).

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use goldenscript::{Command, Runner};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::log::SimSet;
use super::network::{Network, Port, Rule, Weather};
use super::rng::Rng;
use super::step::{Done, Step, number_of};
use super::world::{Broken, Disk, Offset, SimTime};
use crate::clock::{Clock, Timestamp};
use crate::coordinator::{Config, Coordinator, Options, Transaction};
use crate::element;
use crate::protocol::{GatewayId, Outcome, SetId, TxnId, TxnStatus};

const REPLICAS: usize = 3;

type Running = JoinHandle<Done>;

/// A client's transaction at a gateway.
struct Session {
    gateway: usize,
    state: Doing,
}

enum Doing {
    Nothing(Transaction),
    Step(Running),
}

/// A grid that does what a script says.
pub(super) struct Script {
    runtime: Runtime,
    sets: Vec<Arc<SimSet>>,
    /// Which sets commit what is in flight.
    going: Vec<Arc<AtomicBool>>,
    network: Arc<Network>,
    seats: Vec<Vec<Disk>>,
    time: Arc<SimTime>,
    gateways: Vec<(u32, Coordinator)>,
    sessions: BTreeMap<String, Session>,
    ids: BTreeMap<String, TxnId>,
    committed: BTreeMap<String, Timestamp>,
    options: element::Options,
    config: Config,
}

impl Script {
    /// A grid without some rule.
    fn new(broken: &Broken) -> Script {
        let runtime = super::runtime();
        let guard = runtime.enter();
        let rng = Arc::new(Rng::new(1));
        let time = SimTime::now();
        let sets: Vec<_> =
            (1..=2).map(|set| SimSet::new(set, REPLICAS, Arc::clone(&rng), broken.false_proofs)).collect();
        let network = Network::new(rng, Weather::default(), &sets);
        network.directed();
        let options = element::Options {
            breaks: broken.element.clone(),
            freeze_max: Duration::from_secs(2),
            ..element::Options::default()
        };
        let mut seats = Vec::new();
        for set in &sets {
            let disks: Vec<Disk> = (0..REPLICAS).map(|_| Disk::new(Offset::new(&time, 0))).collect();
            for (seat, disk) in disks.iter().enumerate() {
                disk.start(set, seat, &network, &options);
            }
            seats.push(disks);
            set.change_leader(0, 0);
        }
        let going: Vec<_> = sets.iter().map(|_| Arc::new(AtomicBool::new(true))).collect();
        for (set, going) in sets.iter().zip(&going) {
            runtime.spawn(drive(Arc::clone(set), Arc::clone(going)));
        }
        drop(guard);
        let breaks = broken.coordinator.clone();
        let freeze_patience = Duration::from_secs(1);
        let config =
            Config { transaction_memory: 4096, staged_batch: 1024, freeze_patience, breaks, ..Config::default() };
        let mut script = Script {
            runtime,
            sets,
            going,
            network,
            seats,
            time,
            gateways: Vec::new(),
            sessions: BTreeMap::new(),
            ids: BTreeMap::new(),
            committed: BTreeMap::new(),
            options,
            config,
        };
        for number in 1..=2 {
            let coordinator = script.coordinator(number, 1);
            script.gateways.push((1, coordinator));
        }
        script
    }

    fn coordinator(&self, number: u32, incarnation: u32) -> Coordinator {
        let _guard = self.runtime.enter();
        let port = Port { network: Arc::clone(&self.network), local_seat: None, ignore_index: false };
        let clock = Arc::new(Clock::new(Arc::new(Offset::new(&self.time, 0))));
        let gateway = GatewayId::new(number, incarnation);
        let coordinator = Coordinator::new(gateway, 1, Arc::new(port), clock, self.config.clone());
        coordinator.watch(&[1, 2]);
        coordinator
    }

    fn set(&self, name: &str) -> Result<&Arc<SimSet>, Box<dyn Error>> {
        self.sets.get(number_of(name)? as usize - 1).ok_or_else(|| format!("no set {name}").into())
    }

    fn transaction(&mut self, name: &str, command: &Command) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        if command.name == "wait" {
            let ms: u64 = args.lookup_parse("ms")?.unwrap_or(60_000);
            args.reject_rest()?;
            return match self.sessions.remove(name) {
                Some(Session { gateway, state: Doing::Step(running) }) => self.answer(name, gateway, running, ms),
                _ => Err("it does not wait".into()),
            };
        }
        if command.name == "abandon" {
            match self.sessions.remove(name) {
                Some(Session { state: Doing::Step(running), .. }) => running.abort(),
                _ => return Err("it does nothing".into()),
            }
            self.pass(1);
            return Ok(String::new());
        }
        if command.name == "id" {
            let Some(Session { state: Doing::Nothing(txn), .. }) = self.sessions.get_mut(name) else {
                return Err("it is not idle".into());
            };
            self.ids.insert(name.to_owned(), txn.id());
            return Ok(String::new());
        }
        if command.name == "begin" {
            let gateway: usize = args.lookup_parse("gateway")?.unwrap_or(1);
            let shared_locks = args.next_pos().is_some();
            args.reject_rest()?;
            let options = Options { shared_locks, ..Options::default() };
            let _guard = self.runtime.enter();
            let txn = self.gateways[gateway - 1].1.begin(options);
            self.sessions.insert(name.to_owned(), Session { gateway, state: Doing::Nothing(txn) });
            return Ok(String::new());
        }
        let Some(Session { gateway, state: Doing::Nothing(txn) }) = self.sessions.remove(name) else {
            return Err("it is not idle".into());
        };
        let step = Step::parse(command)?;
        let running = self.runtime.spawn(step.run(txn));
        self.answer(name, gateway, running, 50)
    }

    /// The answer, if it comes in time.
    fn answer(&mut self, name: &str, gateway: usize, mut running: Running, ms: u64) -> Result<String, Box<dyn Error>> {
        let answer =
            self.runtime.block_on(async { tokio::time::timeout(Duration::from_millis(ms), &mut running).await });
        let (state, text) = match answer {
            Ok(answer) => {
                let Done { txn, text, committed } = answer?;
                if let Some(at) = committed {
                    self.committed.insert(name.to_owned(), at);
                }
                (txn.map(Doing::Nothing), text)
            }
            Err(_) => (Some(Doing::Step(running)), "waits".into()),
        };
        if let Some(state) = state {
            self.sessions.insert(name.to_owned(), Session { gateway, state });
        }
        Ok(text)
    }

    fn pass(&self, ms: u64) {
        self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(ms)).await });
    }

    fn world(&mut self, command: &Command) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        let mut next = || args.next_pos().map(|arg| arg.value.clone()).ok_or("an argument is missing");
        match command.name.as_str() {
            "ahead" => {
                let set = number_of(&next()?)? as usize - 1;
                let only: Option<usize> = args.lookup_parse("seat")?;
                let disks = self.seats[set].iter().enumerate();
                let chosen = disks.filter(|(seat, _)| only.is_none_or(|only| only == *seat));
                chosen.for_each(|(_, disk)| disk.offset.set(100_000));
            }
            "hold" => self.network.rule(Rule::hold(number_of(&next()?)?, &next()?)),
            "release" => self.network.release(number_of(&next()?)?),
            "lose" => {
                let (set, kind, what) = (number_of(&next()?)?, next()?, next()?);
                self.network.rule(Rule::lose(set, &kind, what == "answer"));
            }
            "repeat" => {
                let network = Arc::clone(&self.network);
                self.runtime.block_on(async { network.repeat().await });
            }
            "log" => {
                let set = number_of(&next()?)? as usize - 1;
                self.going[set].store(next()? == "go", Ordering::Relaxed);
            }
            "leader" => {
                let set = Arc::clone(self.set(&next()?)?);
                let to = args.lookup_parse("to")?.ok_or("to= is missing")?;
                let keep = args.lookup_parse("keep")?.unwrap_or(usize::MAX);
                let _guard = self.runtime.enter();
                set.change_leader(to, keep);
            }
            "deposed" => {
                let set = number_of(&next()?)?;
                self.network.to_deposed(set, next()? == "on");
            }
            "step-down" => {
                let set = Arc::clone(self.set(&next()?)?);
                let _guard = self.runtime.enter();
                set.deposed().into_iter().for_each(|seat| set.step_down(seat));
            }
            "crash" => {
                let at: usize = next()?.parse()?;
                let incarnation = self.gateways[at - 1].0 + 1;
                let fresh = (incarnation, self.coordinator(at as u32, incarnation));
                let (_, old) = std::mem::replace(&mut self.gateways[at - 1], fresh);
                old.crash();
                self.sessions.retain(|_, session| {
                    if let (true, Doing::Step(running)) = (session.gateway == at, &session.state) {
                        running.abort();
                    }
                    session.gateway != at
                });
            }
            "flush" => {
                let set = Arc::clone(self.set(&next()?)?);
                set.flush(args.lookup_parse("seat")?.ok_or("seat= is missing")?);
            }
            "restart" => {
                let set = Arc::clone(self.set(&next()?)?);
                let seat: usize = args.lookup_parse("seat")?.ok_or("seat= is missing")?;
                let _guard = self.runtime.enter();
                let disk = &self.seats[set.set as usize - 1][seat];
                disk.start(&set, seat, &self.network, &self.options);
            }
            "pass" => {
                let ms = args.lookup_parse("ms")?.ok_or("ms= is missing")?;
                self.pass(ms);
            }
            "ask" => {
                let (set, name) = (number_of(&next()?)?, next()?);
                let txn = *self.ids.get(&name).ok_or("its id is not known")?;
                let gateway = &self.gateways[1].1;
                let status = self.runtime.block_on(gateway.inquire(set, txn, false))?;
                return Ok(match status {
                    TxnStatus::Ended(Outcome::Committed(_)) => "committed".into(),
                    TxnStatus::Ended(Outcome::Aborted) => "aborted".into(),
                    TxnStatus::Prepared(_) => "prepared".into(),
                    TxnStatus::Forgotten => "forgotten".into(),
                    TxnStatus::Absent => "absent".into(),
                });
            }
            "order" => {
                let mut order = Vec::new();
                while let Ok(name) = next() {
                    order.push((*self.committed.get(&name).ok_or("it has not committed")?, name));
                }
                order.sort();
                return Ok(order.into_iter().map(|(_, name)| name).collect::<Vec<_>>().join(" < "));
            }
            "majority" => {
                let set = Arc::clone(self.set(&next()?)?);
                set.stall(next()? == "lost");
            }
            "prepared" => return Ok(self.prepared()),
            "rows" => return self.rows(),
            other => return Err(format!("unknown command {other}").into()),
        }
        // So that what was ordered has its effect before the next command.
        self.pass(20);
        Ok(String::new())
    }

    fn prepared(&self) -> String {
        let mut text = Vec::new();
        for (set, name) in self.sets.iter().zip(["A", "B"]) {
            let status = set.element(set.leader()).status();
            let counts = [(status.prepared, "prepared"), (status.staged, "staged"), (status.locking, "locking")];
            text.extend(counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{name}: {n} {what}")));
        }
        if text.is_empty() { "(none)".into() } else { text.join(", ") }
    }

    /// What the leaders have, read in one transaction.
    fn rows(&mut self) -> Result<String, Box<dyn Error>> {
        let range = |set: SetId| Step::Scan { set, reverse: false, rows: 100 };
        let mut text = String::new();
        // The clocks of the sets have nothing to do with each other, so a snapshot of A may be B's past again and again.
        for shared_locks in [false, true] {
            let _guard = self.runtime.enter();
            let txn = self.gateways[0].1.begin(Options { shared_locks, ..Options::default() });
            let running = async move {
                let a = range(1).run(txn).await;
                let Some(txn) = a.txn else { return (false, a.text) };
                let b = range(2).run(txn).await;
                let Some(txn) = b.txn else { return (false, b.text) };
                let end = Step::Commit.run(txn).await;
                if end.text == "ended" { (true, format!("{} {}", a.text, b.text)) } else { (false, end.text) }
            };
            let limit = Duration::from_secs(60);
            let (ended, answer) = self.runtime.block_on(async { tokio::time::timeout(limit, running).await })?;
            text = answer;
            if ended {
                break;
            }
        }
        self.pass(20);
        Ok(text)
    }
}

impl Runner for Script {
    fn run(&mut self, command: &Command) -> Result<String, Box<dyn Error>> {
        match &command.prefix {
            Some(name) => self.transaction(&name.clone(), command),
            None => self.world(command),
        }
    }

    fn end_script(&mut self) -> Result<(), Box<dyn Error>> {
        let gateways = self.gateways.iter().map(|(_, gateway)| gateway.violations());
        let violations: u64 = gateways.chain(self.sets.iter().map(|set| set.violations())).sum();
        if violations > 0 {
            return Err("a transaction has two outcomes".into());
        }
        Ok(())
    }
}

/// Commits what comes, and lets followers follow, every millisecond.
async fn drive(set: Arc<SimSet>, going: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if going.load(Ordering::Relaxed) {
            set.commit(usize::MAX, false);
        }
        for seat in 0..REPLICAS {
            if seat != set.leader() && !set.deposed().contains(&seat) {
                set.catch_up(seat, usize::MAX);
            }
            set.element(seat).tick();
        }
    }
}

fn path(script: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/sim/scripts").join(script)
}

#[test]
fn directed_schedules() {
    let mut paths: Vec<_> = std::fs::read_dir(path(""))
        .expect("scripts are part of the source")
        .map(|entry| entry.expect("a readable directory").path())
        .collect();
    paths.sort();
    assert!(paths.len() > 5, "scripts are missing");
    if let Ok(only) = std::env::var("QUORATE_SCRIPT") {
        paths.retain(|path| path.ends_with(&only));
        super::TRACE.store(true, Ordering::Relaxed);
    }
    for path in paths {
        println!("{}", path.display());
        goldenscript::run(&mut Script::new(&Broken::default()), &path).expect("a readable script");
    }
}

/// A script of a rule shows the rule only if it ends otherwise without it.
#[test]
fn a_script_ends_otherwise_without_its_rule() {
    let element = |set: fn(&mut element::Breaks)| {
        let mut broken = Broken::default();
        set(&mut broken.element);
        broken
    };
    let coordinator = |set: fn(&mut crate::coordinator::Breaks)| {
        let mut broken = Broken::default();
        set(&mut broken.coordinator);
        broken
    };
    let without = [
        ("rule01_safe_time", element(|b| b.safe_time = true)),
        ("rule02_outcome_clock", element(|b| b.outcome_clock = true)),
        ("rule03_uncertain", element(|b| b.uncertain = true)),
        ("rule03_uncertain", coordinator(|b| b.raise = true)),
        ("rule04_horizon", element(|b| b.horizon = true)),
        ("rule05_foreign_snapshot", element(|b| b.foreign_snapshot = true)),
        ("unavailable", coordinator(|b| b.unknown = true)),
        ("rule07_proof", Broken { false_proofs: true, ..Broken::default() }),
        ("rule07_proof", element(|b| b.proof = true)),
        ("rule08_duplicates", element(|b| b.at_most_once = true)),
        ("rule09_terms", element(|b| b.validated_term = true)),
        ("rule10_forgetting", coordinator(|b| b.forget = true)),
        ("rule11_errors_are_answers", coordinator(|b| b.validation = true)),
        ("rule12_garbage", element(|b| b.garbage = true)),
        ("rule13_waiting", element(|b| b.wait_intents = true)),
        ("rule17_cut", element(|b| b.freeze = true)),
        ("rule17_cut", coordinator(|b| b.cut = true)),
        ("rule17_in_flight", element(|b| b.drain = true)),
        ("rule17_leader", element(|b| b.thawed = true)),
        ("rule17_leader", element(|b| b.horizon = true)),
        ("rule17_leader", Broken { false_proofs: true, ..Broken::default() }),
        ("rule17_late", element(|b| b.thawed = true)),
        ("rule17_prepared", element(|b| b.wait_intents = true)),
        ("doubt_gateway", element(|b| b.refusal = true)),
        ("doubt_gateway", coordinator(|b| b.early_ack = true)),
    ];
    let mut shown_nothing = Vec::new();
    for (script, broken) in without {
        let text = std::fs::read_to_string(path(script)).expect("a readable script");
        let run = || goldenscript::generate(&mut Script::new(&broken), &text);
        // An invariant of the product may break, or a command find nothing to do.
        let same = std::panic::catch_unwind(run).is_ok_and(|output| output.is_ok_and(|output| output == text));
        if same {
            shown_nothing.push((script, broken));
        }
    }
    assert!(shown_nothing.is_empty(), "the same without the rule: {shown_nothing:#?}");
}
