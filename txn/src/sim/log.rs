//! A replica set whose log is simulated: proposals are in flight until they are committed in order, a leader change
//! keeps a prefix of what is in flight and loses the rest, a deposed leader goes on believing until it is told.
//!
//! Every replica is a whole [`Element`](crate::element::ReplicaSet) over a store in memory.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::rng::Rng;
use crate::apply::AppliedEntry;
use crate::element::ReplicaSet;
use crate::protocol::{SetId, Term};
use crate::traits::{Proposal, ProposalSender, ReplicaLog};

pub(crate) struct SimSet {
    pub(crate) set: SetId,
    rng: Arc<Rng>,
    state: Mutex<SetState>,
    /// Every deposed leader proves that it leads (the rule that it must not is left out).
    pub(crate) false_proofs: bool,
}

struct SetState {
    term: Term,
    leader: usize,
    /// Committed entries; the first has index 1.
    log: Vec<AppliedEntry>,
    /// What the first replica to apply each entry answered.
    replies: Vec<Vec<Bytes>>,
    flight: VecDeque<(Bytes, ProposalSender)>,
    seats: Vec<Seat>,
    /// Nothing is committed for now: the majority is away.
    pub(crate) stalled: bool,
}

/// A process of a replica.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) element: Arc<ReplicaSet>,
    /// Closed when the process dies.
    death: Arc<Semaphore>,
}

impl Process {
    /// What comes of some work of the process; `None` if it dies before that is done.
    pub(crate) async fn run<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            _ = self.death.acquire() => None,
            done = work => Some(done),
        }
    }
}

/// A replica.
struct Seat {
    running: Option<Process>,
    /// Counts its processes. What an earlier one still does has no effect.
    process: usize,
    /// Replies of entries up to this are unknown: the store had them when the process began.
    known: usize,
    /// Entries of the log handed to it.
    applied: usize,
    /// The term in which it believes to lead.
    leads: Option<Term>,
    /// Proposals it will never hear of again.
    limbo: Vec<ProposalSender>,
}

/// The log as one process of a replica sees it.
pub(crate) struct SeatLog {
    set: Weak<SimSet>,
    seat: usize,
    process: usize,
}

impl SimSet {
    /// A set without leader; the elements are seated next.
    pub(crate) fn new(set: SetId, replicas: usize, rng: Arc<Rng>, false_proofs: bool) -> Arc<Self> {
        let seat = |_| Seat { running: None, process: 0, known: 0, applied: 0, leads: None, limbo: Vec::new() };
        let state = SetState {
            term: 0,
            leader: 0,
            log: Vec::new(),
            replies: Vec::new(),
            flight: VecDeque::new(),
            seats: (0..replicas).map(seat).collect(),
            stalled: false,
        };
        Arc::new(SimSet { set, rng, state: Mutex::new(state), false_proofs })
    }

    /// Begins a process of a replica: `open` makes its element, over what is left of its disk.
    pub(crate) fn start(self: &Arc<Self>, seat: usize, open: impl FnOnce(Arc<SeatLog>) -> Arc<ReplicaSet>) {
        self.step_down(seat);
        let process = {
            let mut state = self.state.lock();
            let seat = &mut state.seats[seat];
            if let Some(old) = seat.running.take() {
                old.death.close();
            }
            seat.process += 1;
            seat.process
        };
        let element = open(Arc::new(SeatLog { set: Arc::downgrade(self), seat, process }));
        let flushed =
            element.raft_state().map_or(0, |state| u64::from_be_bytes(state[..].try_into().expect("an index")));
        let mut state = self.state.lock();
        state.seats[seat].applied = flushed as usize;
        state.seats[seat].known = element.applied() as usize;
        state.seats[seat].running = Some(Process { element, death: Arc::new(Semaphore::new(0)) });
    }

    /// What its running elements count of what the protocol excludes.
    pub(crate) fn violations(&self) -> u64 {
        let running: Vec<_> = self.state.lock().seats.iter().filter_map(|seat| seat.running.clone()).collect();
        running.iter().map(|process| process.element.violations()).sum()
    }

    pub(crate) fn process(&self, seat: usize) -> Process {
        self.state.lock().seats[seat].running.clone().expect("elements are seated at the start")
    }

    pub(crate) fn element(&self, seat: usize) -> Arc<ReplicaSet> {
        self.process(seat).element
    }

    pub(crate) fn replicas(&self) -> usize {
        self.state.lock().seats.len()
    }

    pub(crate) fn leader(&self) -> usize {
        self.state.lock().leader
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.state.lock().flight.len()
    }

    /// Seats that believe to lead and do not.
    pub(crate) fn deposed(&self) -> Vec<usize> {
        let state = self.state.lock();
        (0..state.seats.len()).filter(|seat| *seat != state.leader && state.seats[*seat].leads.is_some()).collect()
    }

    pub(crate) fn stall(&self, stalled: bool) {
        self.state.lock().stalled = stalled;
    }

    pub(crate) fn stalled(&self) -> bool {
        self.state.lock().stalled
    }

    /// All commands that were ever applied, and what apply answered.
    pub(crate) fn applied(&self) -> Vec<(Bytes, Bytes)> {
        let state = self.state.lock();
        let pairs = state.log.iter().zip(&state.replies);
        pairs.flat_map(|(entry, replies)| entry.commands.iter().cloned().zip(replies.iter().cloned())).collect()
    }

    /// Commits the first `commands` in flight as one entry, and the leader applies it. With `lost`, nobody hears the replies.
    pub(crate) fn commit(&self, commands: usize, lost: bool) {
        let (leader, senders) = {
            let mut state = self.state.lock();
            if state.stalled || state.flight.is_empty() {
                return;
            }
            let (term, leader) = (state.term, state.leader);
            let n = commands.min(state.flight.len());
            let (commands, senders): (Vec<_>, Vec<_>) = state.flight.drain(..n).unzip();
            state.append(term, commands);
            (leader, senders)
        };
        let replies = self.catch_up(leader, usize::MAX).pop().expect("the entry just appended was applied");
        for (sender, reply) in senders.into_iter().zip(replies) {
            if lost {
                drop(sender);
            } else {
                sender.applied(reply);
            }
        }
    }

    /// A replica applies up to so many entries.
    pub(crate) fn catch_up(&self, seat: usize, most: usize) -> Vec<Vec<Bytes>> {
        let mut replies = Vec::new();
        for _ in 0..most {
            let (element, entry) = {
                let mut state = self.state.lock();
                let at = state.seats[seat].applied;
                let Some(entry) = state.log.get(at).cloned() else { break };
                state.seats[seat].applied += 1;
                let running = state.seats[seat].running.as_ref().expect("elements are seated");
                (Arc::clone(&running.element), entry)
            };
            let index = entry.index as usize;
            let raft_state = Bytes::copy_from_slice(&entry.index.to_be_bytes());
            let answers = element.apply(&[entry], raft_state).expect("the simulated log breaks no invariant");
            let [answers] = answers.try_into().expect("one entry, one list of replies");
            let mut state = self.state.lock();
            match state.replies.get(index - 1) {
                Some(_) if index <= state.seats[seat].known => {}
                Some(others) => assert_eq!(*others, answers, "replicas answer differently at entry {index}"),
                None => {
                    for (command, answer) in state.log[index - 1].commands.iter().zip(&answers) {
                        super::trace(|| {
                            let command = crate::command::Logged::decode(command.clone());
                            let answer = crate::command::Applied::decode(answer.clone());
                            format!("  = set {} applies {index}: {command:?} -> {answer:?}", self.set)
                        });
                    }
                    state.replies.push(answers.clone());
                }
            }
            replies.push(answers);
        }
        replies
    }

    /// Flushes a replica's store; what comes later is lost if its process dies.
    pub(crate) fn flush(&self, seat: usize) {
        self.element(seat).flush().expect("a store in memory can be flushed");
    }

    /// Another replica takes over, with the first `keep` proposals in flight; the old leader goes on believing.
    pub(crate) fn change_leader(&self, to: usize, keep: usize) {
        let old = {
            let mut state = self.state.lock();
            let (term, old) = (state.term, state.leader);
            let keep = keep.min(state.flight.len());
            let (kept, limbo): (Vec<_>, Vec<_>) = state.flight.drain(..).unzip();
            for command in kept.into_iter().take(keep) {
                state.append(term, vec![command]);
            }
            state.seats[old].limbo.extend(limbo);
            state.term += 1;
            state.leader = to;
            old
        };
        super::trace(|| format!("  ! set {}: seat {to} takes over from {old}", self.set));
        if old == to {
            self.step_down(old);
        }
        // Its last term is over by now, at the latest.
        self.step_down(to);
        let term = {
            let mut state = self.state.lock();
            let term = state.term;
            state.append(term, Vec::new());
            term
        };
        self.catch_up(to, usize::MAX);
        self.state.lock().seats[to].leads = Some(term);
        self.element(to).became_leader(term);
    }

    /// A deposed leader learns that it is one.
    pub(crate) fn step_down(&self, seat: usize) {
        let (running, limbo) = {
            let mut state = self.state.lock();
            if state.seats[seat].leads.take().is_none() {
                return;
            }
            (state.seats[seat].running.clone(), std::mem::take(&mut state.seats[seat].limbo))
        };
        drop(limbo);
        if let Some(running) = running {
            running.element.lost_leadership();
        }
    }

    fn leads(&self, log: &SeatLog, term: Term) -> bool {
        let state = self.state.lock();
        let seat = &state.seats[log.seat];
        let lives = !state.stalled && seat.process == log.process;
        lives && state.leader == log.seat && state.term == term && seat.leads == Some(term)
    }
}

impl SetState {
    fn append(&mut self, term: Term, commands: Vec<Bytes>) {
        let index = self.log.len() as u64 + 1;
        self.log.push(AppliedEntry { index, term, commands });
    }
}

#[async_trait]
impl ReplicaLog for SeatLog {
    fn term(&self) -> Option<Term> {
        let set = self.set.upgrade()?;
        let state = set.state.lock();
        let seat = &state.seats[self.seat];
        seat.leads.filter(|_| seat.process == self.process)
    }

    fn propose(&self, command: Bytes) -> Proposal {
        let (sender, proposal) = Proposal::channel();
        let Some(set) = self.set.upgrade() else { return proposal };
        let mut state = set.state.lock();
        let (leader, term) = (state.leader, state.term);
        let seat = &mut state.seats[self.seat];
        if seat.process != self.process {
            return proposal;
        }
        if leader == self.seat && seat.leads == Some(term) {
            state.flight.push_back((command, sender));
        } else if seat.leads.is_some() {
            seat.limbo.push(sender);
        }
        proposal
    }

    async fn prove(&self, term: Term) -> bool {
        let Some(wait) = self.set.upgrade().map(|set| set.rng.ms(0, 4)) else { return false };
        tokio::time::sleep(wait).await;
        let Some(set) = self.set.upgrade() else { return false };
        if set.leads(self, term) {
            return true;
        }
        if set.false_proofs {
            return true;
        }
        // A deposed leader waits for answers that do not come.
        let wait = set.rng.ms(0, 300);
        drop(set);
        tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
        false
    }
}
