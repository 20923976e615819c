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
//!
//! A question names the element that it asks: another element of the group may have taken its place on the same instance, and that one knows
//! nothing of the votes that the first has given. The voters are those of the newest membership in this element's log; a leader's log is never
//! more than one step of a change of membership behind what another leader can have been elected by, and neighbouring steps share their quorums.

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
use crate::host::Groups;
use crate::leadership::Leadership;
use crate::network::service;
use crate::peers::{CallError, Class, Identity, Peers, Service};
use crate::types::{ElementId, GroupId, InstanceId};

/// A round that has no quorum by then has failed for those who still wait.
const ROUND_MAX: Duration = Duration::from_millis(500);

/// Rounds under way at once; what comes meanwhile waits and shares the next one.
const ROUNDS_MAX: usize = 4;

/// A round that takes longer does not count any more, so that a group without a quorum does not hold up the proofs of others.
const ROUND_USUAL: Duration = Duration::from_millis(10);

/// The voters of a group as its leader knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Voters {
    /// The quorum systems in force: one, or two during a change of membership.
    pub configs: Vec<BTreeSet<ElementId>>,
    pub instances: HashMap<ElementId, InstanceId>,
}

impl Voters {
    fn is_quorum(&self, yes: &BTreeSet<ElementId>) -> bool {
        !self.configs.is_empty()
            && self.configs.iter().all(|config| config.intersection(yes).count() > config.len() / 2)
    }

    /// Everybody who has a vote, with the instance.
    fn electorate(&self) -> impl Iterator<Item = (ElementId, InstanceId)> {
        let votes = |element: &ElementId| self.configs.iter().any(|config| config.contains(element));
        self.instances
            .iter()
            .filter(move |(element, _)| votes(element))
            .map(|(&element, &instance)| (element, instance))
    }
}

/// One question: does the vote of `voter` in `group` stand for `leader` in `term`?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Question {
    group: GroupId,
    voter: ElementId,
    leader: ElementId,
    term: u64,
}

/// For each question to one instance the number of its claim in the round, and the voter.
type Places = Vec<(usize, ElementId)>;

/// What is to be proved, and to whom.
struct Claim {
    group: GroupId,
    leader: ElementId,
    term: u64,
    voters: Arc<Voters>,
    leadership: Arc<Leadership>,
    /// All who wait for the same.
    answers: Vec<oneshot::Sender<bool>>,
}

impl Claim {
    fn is_same(&self, other: &Self) -> bool {
        self.group == other.group
            && self.term == other.term
            && self.leader == other.leader
            && (Arc::ptr_eq(&self.voters, &other.voters) || self.voters == other.voters)
    }
}

/// Obtains proofs.
#[derive(Clone)]
pub(crate) struct Prover {
    claims: mpsc::UnboundedSender<Claim>,
}

impl Prover {
    pub(crate) fn start(peers: &Peers, groups: Arc<Groups>) -> Self {
        peers.register(service::PROBE, Arc::new(Witness { groups }));
        let (claims, waiting) = mpsc::unbounded_channel();
        peers.tasks().spawn(run(peers.clone(), waiting));
        Self { claims }
    }

    /// Whether `leader` led `group` in `term` at some moment after this call began.
    pub(crate) async fn prove(
        &self,
        group: GroupId,
        leader: ElementId,
        term: u64,
        voters: Arc<Voters>,
        leadership: Arc<Leadership>,
    ) -> bool {
        let (answer, answered) = oneshot::channel();
        if self.claims.send(Claim { group, leader, term, voters, leadership, answers: vec![answer] }).is_err() {
            return false;
        }
        answered.await.unwrap_or(false)
    }
}

async fn run(peers: Peers, mut waiting: mpsc::UnboundedReceiver<Claim>) {
    let mut rounds = FuturesUnordered::new();
    let mut slow: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    let mut claims = Vec::new();
    loop {
        tokio::select! {
            taken = waiting.recv_many(&mut claims, 4096), if rounds.len() < ROUNDS_MAX => {
                if taken == 0 {
                    return;
                }
                rounds.push(usual(Round::start(&peers, claims.drain(..))));
            }
            Some(rest) = rounds.next() => slow.extend(rest),
            Some(()) = slow.next() => {}
            () = peers.stopped() => return,
        }
    }
}

/// Runs a round for the usual time; what is left of it then comes back.
async fn usual(mut round: Round) -> Option<BoxFuture<'static, ()>> {
    if tokio::time::timeout(ROUND_USUAL, round.collect()).await.is_ok() {
        return None;
    }
    // Whoever has no quorum in the end is told so by dropping its sender.
    Some(Box::pin(async move { drop(tokio::time::timeout(ROUND_MAX, round.collect()).await) }))
}

/// A claim in a round, with the voters that have confirmed it.
struct Open {
    claim: Claim,
    yes: BTreeSet<ElementId>,
}

/// The numbers of the claims that one instance was asked about, each with the element asked, and its answer.
type Asked = (Places, Result<Bytes, CallError>);

struct Round {
    open: Vec<Option<Open>>,
    answers: FuturesUnordered<BoxFuture<'static, Asked>>,
}

impl Round {
    fn start(peers: &Peers, claims: impl Iterator<Item = Claim>) -> Self {
        let mut distinct: Vec<Claim> = Vec::new();
        for mut claim in claims {
            match distinct.iter_mut().find(|known| known.is_same(&claim)) {
                Some(known) => known.answers.append(&mut claim.answers),
                None => distinct.push(claim),
            }
        }
        let mut open = Vec::with_capacity(distinct.len());
        let mut asked: HashMap<InstanceId, (Places, Vec<Question>)> = HashMap::new();
        for claim in distinct {
            let number = open.len();
            // Its own vote is looked at whenever something is settled.
            let yes = BTreeSet::from([claim.leader]);
            let mut slot = Some(Open { claim, yes });
            settle(&mut slot);
            if let Some(Open { claim, .. }) = &slot {
                for (voter, instance) in claim.voters.electorate().filter(|(voter, _)| *voter != claim.leader) {
                    let (places, questions) = asked.entry(instance).or_default();
                    places.push((number, voter));
                    questions.push(Question { group: claim.group, voter, leader: claim.leader, term: claim.term });
                }
            }
            open.push(slot);
        }
        let answers = FuturesUnordered::new();
        for (instance, (places, questions)) in asked {
            let answer = peers.send(instance, Class::Consensus, service::PROBE, codec::to_bytes(&questions));
            answers.push(Box::pin(async move { (places, answer.await) }) as BoxFuture<'static, Asked>);
        }
        Self { open, answers }
    }

    /// Takes in answers until every claim is settled, or no answer is left to wait for. May be given up and called again.
    async fn collect(&mut self) {
        while self.open.iter().any(Option::is_some)
            && let Some((places, answer)) = self.answers.next().await
        {
            let Ok(bytes) = answer else { continue };
            let Ok(stand) = codec::from_bytes::<Vec<bool>>(&bytes, "probe answer") else { continue };
            for ((number, voter), stands) in places.into_iter().zip(stand) {
                if stands && let Some(open) = self.open[number].as_mut() {
                    open.yes.insert(voter);
                    settle(&mut self.open[number]);
                }
            }
        }
        self.open.clear();
    }
}

/// Answers a claim that has its quorum, or has none to hope for: the leader's own vote counts as it is now, not as it was.
fn settle(slot: &mut Option<Open>) {
    let Some(open) = slot.as_ref() else { return };
    let stands = open.claim.leadership.votes_for_itself(open.claim.term);
    if stands && !open.claim.voters.is_quorum(&open.yes) {
        return;
    }
    if let Some(Open { claim, .. }) = slot.take() {
        for answer in claim.answers {
            // A caller that has gone needs no answer.
            let _ = answer.send(stands);
        }
    }
}

/// Answers the questions of other instances.
struct Witness {
    groups: Arc<Groups>,
}

impl Witness {
    fn stands(&self, question: &Question) -> bool {
        let groups = self.groups.read();
        let group = groups.get(&question.group);
        group.is_some_and(|g| {
            g.element() == question.voter && g.inner.leadership.votes_for(question.leader, question.term)
        })
    }
}

impl Service for Witness {
    fn call(&self, _from: Identity, message: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let answer = codec::from_bytes::<Vec<Question>>(&message, "probe")
            .map(|questions| codec::to_bytes(&questions.iter().map(|q| self.stands(q)).collect::<Vec<bool>>()))
            .map_err(|e| e.to_string());
        Box::pin(futures::future::ready(answer))
    }
}
