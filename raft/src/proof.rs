//! Proofs that a leader still leads, shared by everybody who waits.
//!
//! A proof for (group, term) asks the group's other voters which vote they hold. A quorum, this element included, whose votes were all still
//! for this leader's term at some moment after the proof began shows that no later leader had been elected when it began: an
//! election needs a quorum that has issued a vote for a later term first, and any two quorums share a voter. No clock is involved, and
//! nothing waits for a disk. One message per peer carries the questions of all groups and all callers that wait at that moment; the next
//! round starts at once, so a proof always begins after its caller asked.
//!
//! This is ReadIndex (Ongaro, "Consensus: Bridging Theory and Practice", 6.4) with the heartbeat round replaced by a question about the
//! vote: openraft's own heartbeats wait behind the follower's flush and are one per group.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::codec;
use crate::log::LogStore;
use crate::network::service;
use crate::peers::{Class, Identity, Peers, Service};
use crate::types::{ElementId, GroupId, InstanceId};

/// A round that has no quorum by then has failed for those who still wait.
const ROUND_MAX: Duration = Duration::from_millis(500);

/// Rounds under way at once, so that one slow peer does not hold up proofs that can do without it.
const ROUNDS_MAX: usize = 4;

/// The voters of a group as its leader knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Voters {
    /// The quorum systems in force: one, or two during a change of membership.
    pub configs: Vec<BTreeSet<ElementId>>,
    pub instances: HashMap<ElementId, InstanceId>,
}

impl Voters {
    fn is_quorum(&self, yes: &BTreeSet<ElementId>) -> bool {
        self.configs.iter().all(|config| config.intersection(yes).count() > config.len() / 2)
    }
}

/// One question: does your vote in `group` stand for `leader` in `term`?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Question {
    group: GroupId,
    leader: ElementId,
    term: u64,
}

struct Claim {
    question: Question,
    voters: Arc<Voters>,
    answer: oneshot::Sender<bool>,
}

/// Obtains proofs.
#[derive(Clone)]
pub(crate) struct Prover {
    claims: mpsc::UnboundedSender<Claim>,
}

impl Prover {
    pub(crate) fn start(peers: &Peers, log: Arc<LogStore>) -> Self {
        peers.register(service::PROBE, Arc::new(Witness { log: log.clone() }));
        let (claims, waiting) = mpsc::unbounded_channel();
        peers.tasks().spawn(run(peers.clone(), log, waiting));
        Self { claims }
    }

    /// Whether `leader` led `group` in `term` at some moment after this call began.
    pub(crate) async fn prove(&self, group: GroupId, leader: ElementId, term: u64, voters: Arc<Voters>) -> bool {
        let (answer, answered) = oneshot::channel();
        let question = Question { group, leader, term };
        if self.claims.send(Claim { question, voters, answer }).is_err() {
            return false;
        }
        answered.await.unwrap_or(false)
    }
}

async fn run(peers: Peers, log: Arc<LogStore>, mut waiting: mpsc::UnboundedReceiver<Claim>) {
    let mut rounds = FuturesUnordered::new();
    let mut claims = Vec::new();
    loop {
        tokio::select! {
            taken = waiting.recv_many(&mut claims, 4096), if rounds.len() < ROUNDS_MAX => {
                if taken == 0 {
                    return;
                }
                rounds.push(round(&peers, &log, std::mem::take(&mut claims)));
            }
            Some(()) = rounds.next() => {}
            () = peers.stopped() => return,
        }
    }
}

/// A claim in a round, with the voters that have confirmed it.
struct Open {
    claim: Claim,
    yes: BTreeSet<ElementId>,
}

async fn round(peers: &Peers, log: &LogStore, claims: Vec<Claim>) {
    let mut open: Vec<Option<Open>> = Vec::with_capacity(claims.len());
    let mut questions: HashMap<InstanceId, Vec<(usize, ElementId, Question)>> = HashMap::new();
    for claim in claims {
        let number = open.len();
        for (&element, &instance) in &claim.voters.instances {
            if element != claim.question.leader {
                questions.entry(instance).or_default().push((number, element, claim.question));
            }
        }
        let yes = stands(log, &claim.question).then_some(claim.question.leader).into_iter().collect();
        open.push(Some(Open { claim, yes }));
        settle(&mut open[number], log);
    }
    let mut answers = FuturesUnordered::new();
    for (instance, asked) in questions {
        let asked: Vec<_> = asked.into_iter().filter(|(number, ..)| open[*number].is_some()).collect();
        if asked.is_empty() {
            continue;
        }
        // Many callers ask about the same group: each question travels once.
        let mut distinct: Vec<Question> = Vec::new();
        let places: Vec<usize> = asked.iter().map(|(_, _, question)| place(&mut distinct, *question)).collect();
        let answer = peers.send(instance, Class::Consensus, service::PROBE, codec::to_bytes(&distinct));
        answers.push(async move { (asked, places, answer.await) });
    }
    let collect = async {
        while let Some((asked, places, answer)) = answers.next().await {
            let Ok(bytes) = answer else { continue };
            let Ok(stand) = codec::from_bytes::<Vec<bool>>(&bytes, "probe answer") else { continue };
            for ((number, element, _), place) in asked.into_iter().zip(places) {
                if let Some(claim) = open[number].as_mut()
                    && stand.get(place) == Some(&true)
                {
                    claim.yes.insert(element);
                    settle(&mut open[number], log);
                }
            }
            if open.iter().all(Option::is_none) {
                return;
            }
        }
    };
    // Whoever has no quorum by then is told so by dropping its sender.
    drop(tokio::time::timeout(ROUND_MAX, collect).await);
}

fn place(distinct: &mut Vec<Question>, question: Question) -> usize {
    distinct.iter().position(|q| *q == question).unwrap_or_else(|| {
        distinct.push(question);
        distinct.len() - 1
    })
}

/// Answers a claim that has its quorum; the leader's own vote counts as it is now, not as it was.
fn settle(slot: &mut Option<Open>, log: &LogStore) {
    let decided = slot.as_ref().is_some_and(|open| open.claim.voters.is_quorum(&open.yes));
    if decided && let Some(open) = slot.take() {
        let stands = stands(log, &open.claim.question);
        // A caller that has gone needs no answer.
        let _ = open.claim.answer.send(stands);
    }
}

fn stands(log: &LogStore, question: &Question) -> bool {
    log.issued_vote(question.group).is_some_and(|vote| vote.term == question.term && vote.leader == question.leader)
}

/// Answers the questions of other instances.
struct Witness {
    log: Arc<LogStore>,
}

impl Service for Witness {
    fn call(&self, _from: Identity, message: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let answer = codec::from_bytes::<Vec<Question>>(&message, "probe")
            .map(|questions| codec::to_bytes(&questions.iter().map(|q| stands(&self.log, q)).collect::<Vec<bool>>()))
            .map_err(|e| e.to_string());
        Box::pin(futures::future::ready(answer))
    }
}
