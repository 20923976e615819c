//! The simulated network: messages are late, lost before or after they are executed, delivered twice, or taken to a leader of
//! the past.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::log::{Process, SimSet};
use super::rng::Rng;
use crate::clock::Timestamp;
use crate::protocol::{Failure, LogIndex, Operation, ReadAnswer, ReadOp, Request, Response, SetId};
use crate::traits::{CallError, LocalReads, Sets};

/// How the network behaves, in percent of messages. A healed network does none of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weather {
    pub(crate) slow: usize,
    pub(crate) slow_ms: usize,
    pub(crate) not_sent: usize,
    pub(crate) request_lost: usize,
    pub(crate) answer_lost: usize,
    pub(crate) twice: usize,
    /// Of messages to a set with a deposed leader: how many it gets.
    pub(crate) to_deposed: usize,
    /// Messages carry the sender's clock, as real ones do; without, the clocks of the sets have nothing to do with each other.
    pub(crate) clocks: bool,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) rng: Arc<Rng>,
    pub(crate) weather: Weather,
    pub(crate) healed: AtomicBool,
    sets: Vec<Weak<SimSet>>,
    /// Messages that were executed.
    pub(crate) served: AtomicUsize,
    orders: Mutex<Orders>,
}

/// What a script has ordered.
#[derive(Debug, Default)]
struct Orders {
    /// A script runs: nothing is left to chance.
    directed: bool,
    rules: Vec<Rule>,
    /// Sets whose messages go to the deposed leader.
    to_deposed: BTreeSet<SetId>,
    /// The last message that commits or prepares.
    last: Option<(SetId, Request)>,
}

/// What happens to messages of one kind to one set.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    set: SetId,
    kind: String,
    fate: Fate,
}

#[derive(Clone, Debug)]
enum Fate {
    /// They stay on their way until the other end is dropped.
    Held(Arc<Semaphore>),
    /// The next one never arrives.
    RequestLost,
    /// The answer to the next one never arrives.
    AnswerLost,
}

impl Rule {
    pub(crate) fn hold(set: SetId, kind: &str) -> Rule {
        Rule { set, kind: kind.into(), fate: Fate::Held(Arc::new(Semaphore::new(0))) }
    }

    pub(crate) fn lose(set: SetId, kind: &str, answer: bool) -> Rule {
        Rule { set, kind: kind.into(), fate: if answer { Fate::AnswerLost } else { Fate::RequestLost } }
    }
}

fn kind(operation: &Operation) -> String {
    let text = format!("{operation:?}").to_lowercase();
    text.chars().take_while(|c| c.is_alphanumeric()).collect()
}

impl Network {
    pub(crate) fn new(rng: Arc<Rng>, weather: Weather, sets: &[Arc<SimSet>]) -> Arc<Self> {
        let sets = sets.iter().map(Arc::downgrade).collect();
        Arc::new(Network {
            rng,
            weather,
            healed: AtomicBool::new(false),
            sets,
            served: AtomicUsize::new(0),
            orders: Mutex::default(),
        })
    }

    fn set(&self, set: SetId) -> Option<Arc<SimSet>> {
        self.sets[set as usize - 1].upgrade()
    }

    fn rough(&self, percent: usize) -> bool {
        percent > 0 && !self.healed.load(Ordering::Relaxed) && self.rng.chance(percent)
    }

    /// From now on chance plays no part.
    pub(crate) fn directed(&self) {
        self.orders.lock().directed = true;
    }

    pub(crate) fn rule(&self, rule: Rule) {
        self.orders.lock().rules.push(rule);
    }

    /// Lets go what is held on its way to a set.
    pub(crate) fn release(&self, set: SetId) {
        self.orders.lock().rules.retain(|rule| {
            if rule.set == set
                && let Fate::Held(gate) = &rule.fate
            {
                gate.close();
            }
            rule.set != set
        });
    }

    pub(crate) fn to_deposed(&self, set: SetId, on: bool) {
        let mut orders = self.orders.lock();
        if on {
            orders.to_deposed.insert(set);
        } else {
            orders.to_deposed.remove(&set);
        }
    }

    /// Delivers the last message that commits or prepares once more.
    pub(crate) async fn repeat(self: Arc<Self>) {
        let last = self.orders.lock().last.clone();
        if let Some((set, request)) = last {
            self.execute(set, request).await;
        }
    }

    /// What was ordered for a message. A loss happens once.
    fn fate(&self, set: SetId, operation: &Operation) -> Option<Fate> {
        let mut orders = self.orders.lock();
        let at = orders.rules.iter().position(|rule| rule.set == set && rule.kind == kind(operation))?;
        match orders.rules[at].fate.clone() {
            held @ Fate::Held(_) => Some(held),
            lost => {
                orders.rules.remove(at);
                Some(lost)
            }
        }
    }

    async fn travel(&self) {
        if self.orders.lock().directed {
            return;
        }
        let slow = self.rough(self.weather.slow);
        let most = if slow { self.weather.slow_ms } else { 2 };
        tokio::time::sleep(self.rng.ms(0, most)).await;
    }

    /// Whom a message for the leader finds.
    fn receiver(&self, set: &SimSet) -> Process {
        let deposed = set.deposed();
        let ordered = self.orders.lock().to_deposed.contains(&set.set);
        let seat = if ordered && !deposed.is_empty() {
            deposed[0]
        } else if !deposed.is_empty() && self.rough(self.weather.to_deposed) {
            *self.rng.pick(&deposed)
        } else {
            set.leader()
        };
        set.process(seat)
    }

    async fn execute(self: Arc<Self>, to: SetId, mut request: Request) -> Option<Response> {
        if !self.weather.clocks {
            request.clock = Timestamp::ZERO;
        }
        let process = self.receiver(&*self.set(to)?);
        let number = self.served.fetch_add(1, Ordering::Relaxed);
        let beat = request.operation == Operation::Heartbeat;
        if !beat {
            super::trace(|| format!("  > {number} to set {to}: {:?}", request.operation));
        }
        let mut response = process.run(process.element.serve(request)).await?;
        if !beat {
            super::trace(|| format!("  < {number} from set {to} in {:?}: {:?}", response.term, response.result));
        }
        if !self.weather.clocks {
            response.clock = Timestamp::ZERO;
        }
        Some(response)
    }
}

/// Messages that a network may deliver a second time without anybody having sent them again.
fn may_come_twice(operation: &Operation) -> bool {
    matches!(
        operation,
        Operation::Commit { .. }
            | Operation::Prepare { .. }
            | Operation::Stage { .. }
            | Operation::Resolve { .. }
            | Operation::Lock { .. }
            | Operation::Unlock { .. }
    )
}

/// The network as one instance uses it.
pub(crate) struct Port {
    pub(crate) network: Arc<Network>,
    /// The replica of every set that this instance's gateway reads at.
    pub(crate) local_seat: Option<usize>,
    /// The rule that a follower answers only what its leader's index covers is left out.
    pub(crate) ignore_index: bool,
}

#[async_trait]
impl Sets for Port {
    async fn call(&self, set: SetId, request: Request) -> Result<Response, CallError> {
        let net = &self.network;
        let fate = net.fate(set, &request.operation);
        if matches!(request.operation, Operation::Commit { .. } | Operation::Prepare { .. }) {
            net.orders.lock().last = Some((set, request.clone()));
        }
        if matches!(fate, Some(Fate::RequestLost)) {
            return Err(CallError::Lost(set));
        }
        net.travel().await;
        if net.rough(net.weather.not_sent) {
            return Err(CallError::NotSent(set));
        }
        if net.rough(net.weather.request_lost) {
            tokio::time::sleep(net.rng.ms(1, 200)).await;
            return Err(CallError::Lost(set));
        }
        let again = (may_come_twice(&request.operation) && net.rough(net.weather.twice)).then(|| request.clone());
        // Executed also if the caller stops waiting.
        let first = Arc::clone(net);
        let held = if let Some(Fate::Held(gate)) = &fate { Some(Arc::clone(gate)) } else { None };
        let executed = tokio::spawn(async move {
            if let Some(gate) = held {
                // Closed when it is released. What is on its way outlives its sender.
                let _ = gate.acquire().await;
            }
            let response = Arc::clone(&first).execute(set, request).await;
            // What was answered "not executed" is not executed later either: that much is asked of a network.
            let refused = matches!(&response, Some(Response { result: Err(Failure::NotLeader { .. }), .. }));
            if let (Some(again), false) = (again, refused) {
                tokio::spawn(async move {
                    let most = if first.rng.chance(50) { 30 } else { 1500 };
                    tokio::time::sleep(first.rng.ms(0, most)).await;
                    first.execute(set, again).await;
                });
            }
            response
        });
        let response = executed.await.ok().flatten().ok_or(CallError::Lost(set))?;
        if matches!(fate, Some(Fate::AnswerLost)) {
            return Err(CallError::Lost(set));
        }
        net.travel().await;
        if net.rough(net.weather.answer_lost) {
            tokio::time::sleep(net.rng.ms(1, 200)).await;
            return Err(CallError::Lost(set));
        }
        Ok(response)
    }

    fn local(&self, set: SetId) -> Option<Arc<dyn LocalReads>> {
        let set = self.network.set(set)?;
        let process = set.process(self.local_seat? % set.replicas());
        Some(Arc::new(Local { process, ignore_index: self.ignore_index }))
    }
}

struct Local {
    process: Process,
    ignore_index: bool,
}

#[async_trait]
impl LocalReads for Local {
    fn applied(&self) -> LogIndex {
        if self.ignore_index { LogIndex::MAX } else { LocalReads::applied(&*self.process.element) }
    }

    async fn reached(&self, index: LogIndex, limit: Duration) -> bool {
        self.process.run(LocalReads::reached(&*self.process.element, index, limit)).await.unwrap_or(false)
    }

    fn read(&self, at: Timestamp, cut: bool, reads: &[ReadOp]) -> Option<ReadAnswer> {
        LocalReads::read(&*self.process.element, at, cut, reads)
    }
}
