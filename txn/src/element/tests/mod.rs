//! Elements over a log that the test drives: entries stay in flight until they are applied, leaders change, elements crash.

mod apply;
mod doubt;
mod locks;
mod programs;
mod rules;
mod staged;
mod store;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;

use super::{Breaks, Options, ReplicaSet};
use crate::apply::AppliedEntry;
use crate::clock::{Clock, TimeSource, Timestamp};
use crate::protocol::{
    Failure, GatewayId, GatewayStatus, LogIndex, Operation, Patience, ReadOp, ReadResult, Refusal, Reply, Request,
    Response, Sender, SetId, Span, Term, TxnId, TxnStatus, Write,
};
use crate::store::StoreLocation;
use crate::store::kv::MemoryDisk;
use crate::traits::{CallError, Proposal, ProposalSender, ReplicaLog, Sets};

const START_MS: u64 = 1_800_000_000_000;

/// Time that only the test moves.
pub(super) struct TestTime {
    physical: AtomicU64,
    monotonic: AtomicU64,
}

impl TimeSource for TestTime {
    fn physical_ms(&self) -> u64 {
        self.physical.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic.load(Ordering::Relaxed))
    }
}

/// A log of one replica set with one element at a time.
pub(super) struct TestLog {
    inner: Mutex<LogInner>,
}

struct LogInner {
    term: Option<Term>,
    entries: Vec<AppliedEntry>,
    flight: VecDeque<(Term, Bytes, ProposalSender)>,
    /// Proposals stay in flight until the test applies them.
    hold: bool,
    provable: bool,
    proofs: u64,
    proposed: u64,
    element: Option<Arc<ReplicaSet>>,
}

#[async_trait]
impl ReplicaLog for TestLog {
    fn term(&self) -> Option<Term> {
        self.inner.lock().term
    }

    fn propose(&self, command: Bytes) -> Proposal {
        let (sender, proposal) = Proposal::channel();
        let mut inner = self.inner.lock();
        let Some(term) = inner.term else { return Proposal::lost() };
        inner.flight.push_back((term, command, sender));
        inner.proposed += 1;
        proposal
    }

    async fn prove(&self, term: Term) -> bool {
        let mut inner = self.inner.lock();
        inner.proofs += 1;
        inner.provable && inner.term == Some(term)
    }
}

impl TestLog {
    fn append(inner: &mut LogInner, commands: Vec<Bytes>, term: Term) -> (Arc<ReplicaSet>, AppliedEntry) {
        let entry = AppliedEntry { index: inner.entries.len() as LogIndex + 1, term, commands };
        inner.entries.push(entry.clone());
        (inner.element.clone().expect("the log has an element"), entry)
    }

    /// Applies one entry in flight; false if there is none.
    fn apply_one(&self) -> bool {
        let mut inner = self.inner.lock();
        let Some((term, command, sender)) = inner.flight.pop_front() else { return false };
        let (element, entry) = Self::append(&mut inner, vec![command], term);
        drop(inner);
        let state = Bytes::copy_from_slice(&entry.index.to_be_bytes());
        let mut replies = element.apply(&[entry], state).unwrap();
        sender.applied(replies.remove(0).remove(0));
        true
    }
}

/// A replica set of one element, and what the test needs to drive it.
pub(super) struct TestSet {
    pub(super) set: SetId,
    pub(super) log: Arc<TestLog>,
    pub(super) time: Arc<TestTime>,
    pub(super) disk: MemoryDisk,
    pub(super) element: Arc<ReplicaSet>,
    pub(super) sets: Arc<TestSets>,
    options: Options,
}

/// The way between sets of one test.
#[derive(Default)]
pub(super) struct TestSets {
    elements: Mutex<BTreeMap<SetId, Arc<ReplicaSet>>>,
    pub(super) down: Mutex<BTreeSet<SetId>>,
}

#[async_trait]
impl Sets for TestSets {
    async fn call(&self, set: SetId, request: Request) -> Result<Response, CallError> {
        let element = self.elements.lock().get(&set).cloned();
        match element.filter(|_| !self.down.lock().contains(&set)) {
            Some(element) => Ok(element.serve(request).await),
            None => Err(CallError::Unavailable(set)),
        }
    }
}

pub(super) fn options() -> Options {
    Options { on_fatal: Arc::new(|fatal| panic!("{fatal}")), ..Options::default() }
}

impl TestSet {
    pub(super) fn new() -> Self {
        Self::with(1, &Arc::default(), options())
    }

    pub(super) fn with(set: SetId, sets: &Arc<TestSets>, options: Options) -> Self {
        let time = Arc::new(TestTime { physical: AtomicU64::new(START_MS), monotonic: AtomicU64::new(1_000_000) });
        let inner = LogInner {
            term: None,
            entries: Vec::new(),
            flight: VecDeque::new(),
            hold: false,
            provable: true,
            proofs: 0,
            proposed: 0,
            element: None,
        };
        let log = Arc::new(TestLog { inner: Mutex::new(inner) });
        let disk = MemoryDisk::new();
        let element = open(set, &disk, &time, &options);
        let mut this = TestSet { set, log, time, disk, element, sets: sets.clone(), options };
        this.attach();
        this.lead(1);
        this
    }

    fn attach(&mut self) {
        self.log.inner.lock().element = Some(self.element.clone());
        self.sets.elements.lock().insert(self.set, self.element.clone());
        self.element.attach(self.log.clone(), self.sets.clone());
    }

    /// A new term begins, with its first entry applied; of what is in flight nothing is kept.
    pub(super) fn lead(&self, term: Term) {
        let mut inner = self.log.inner.lock();
        inner.flight.clear();
        let (element, entry) = TestLog::append(&mut inner, Vec::new(), term);
        drop(inner);
        let state = Bytes::copy_from_slice(&entry.index.to_be_bytes());
        element.apply(&[entry], state).unwrap();
        self.log.inner.lock().term = Some(term);
    }

    /// The process ends and starts again with what was flushed; the log is replayed and a new term begins.
    pub(super) fn crash(&mut self, term: Term) {
        self.log.inner.lock().term = None;
        self.log.inner.lock().element = None;
        self.sets.elements.lock().remove(&self.set);
        self.element = open(self.set, &self.disk, &self.time, &self.options);
        self.attach();
        let flushed =
            self.element.flushed_state().map_or(0, |state| u64::from_be_bytes(state.as_ref().try_into().unwrap()));
        let entries = self.log.inner.lock().entries.clone();
        for entry in entries.iter().filter(|entry| entry.index > flushed) {
            let state = Bytes::copy_from_slice(&entry.index.to_be_bytes());
            self.element.apply(std::slice::from_ref(entry), state).unwrap();
        }
        self.lead(term);
    }

    pub(super) fn hold(&self, hold: bool) {
        self.log.inner.lock().hold = hold;
    }

    pub(super) fn provable(&self, provable: bool) {
        self.log.inner.lock().provable = provable;
    }

    pub(super) fn proposed(&self) -> u64 {
        self.log.inner.lock().proposed
    }

    pub(super) fn advance(&self, ms: u64) {
        self.time.physical.fetch_add(ms, Ordering::Relaxed);
        self.time.monotonic.fetch_add(ms, Ordering::Relaxed);
        self.element.tick();
    }

    /// Lets everything run that can run; applies what is in flight unless it is held.
    pub(super) async fn settle(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
            if !self.log.inner.lock().hold {
                while self.log.apply_one() {}
            }
        }
    }

    pub(super) async fn apply_held(&self) {
        while self.log.apply_one() {}
        self.settle().await;
    }

    /// Sends a message that is answered when it is answered.
    pub(super) fn send(&self, operation: Operation) -> tokio::task::JoinHandle<Response> {
        self.send_from(gateway(1, 1, 0), operation)
    }

    pub(super) fn send_from(&self, sender: Sender, operation: Operation) -> tokio::task::JoinHandle<Response> {
        let element = self.element.clone();
        let request = Request { sender, clock: Timestamp::ZERO, operation };
        tokio::spawn(async move { element.serve(request).await })
    }

    /// Sends a message whose answer comes without anything else having to happen.
    pub(super) async fn ask(&self, operation: Operation) -> Result<Reply, Failure> {
        let answer = self.send(operation);
        self.settle().await;
        assert!(answer.is_finished(), "the message waits for something");
        answer.await.unwrap().result
    }

    pub(super) async fn snapshot(&self) -> (Timestamp, LogIndex) {
        match self.ask(Operation::Snapshot { at: None, proof: true }).await {
            Ok(Reply::Snapshot { snapshot, index }) => (snapshot, index),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn put(&self, txn: u64, key: &'static str, value: &'static str) -> Timestamp {
        match self.ask(commit(1, txn, Timestamp::ZERO, &[], &[(key, Some(value))])).await {
            Ok(Reply::Committed(at)) => at,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn get_at(
        &self,
        at: Timestamp,
        key: &'static str,
    ) -> Result<Option<Bytes>, Result<Timestamp, Failure>> {
        match self.ask(read(Some(at), key)).await {
            Ok(Reply::Read { results, .. }) => match results.as_slice() {
                [ReadResult::Value(value)] => Ok(value.clone()),
                other => panic!("{other:?}"),
            },
            Ok(Reply::Uncertain(outcome)) => Err(Ok(outcome)),
            Err(failure) => Err(Err(failure)),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn get(&self, key: &'static str) -> Option<Bytes> {
        let (at, _) = self.snapshot().await;
        self.get_at(at, key).await.unwrap()
    }

    pub(super) async fn status(&self, txn: u64, refuse: bool) -> TxnStatus {
        match self.ask(Operation::Inquire { txn: id(txn), refuse }).await {
            Ok(Reply::Status(status)) => status,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn hash(&self, nonce: u64) -> super::RowsHash {
        assert_eq!(self.ask(Operation::Checkpoint { nonce }).await, Ok(Reply::Checkpoint));
        self.element.verify_hash(nonce).expect("stores in memory hash at once")
    }
}

pub(super) fn open(set: SetId, disk: &MemoryDisk, time: &Arc<TestTime>, options: &Options) -> Arc<ReplicaSet> {
    let clock = Arc::new(Clock::new(time.clone()));
    ReplicaSet::open(set, &StoreLocation::Memory(disk.clone()), clock, options.clone()).unwrap()
}

pub(super) fn id(txn: u64) -> TxnId {
    TxnId::new(GatewayId::new(1, 1), txn)
}

pub(super) fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub(super) fn gateway(instance: u32, incarnation: u32, finished_below: u64) -> Sender {
    let gateway = GatewayId::new(instance, incarnation);
    let finished_below = TxnId::new(gateway, finished_below);
    Sender::Gateway(GatewayStatus { gateway, finished_below, oldest_snapshot: None })
}

pub(super) fn patience(txn: Option<u64>) -> Patience {
    Patience { txn: txn.map(id), age: txn.unwrap_or(0), holds_locks: false, limit_ms: 5000 }
}

pub(super) fn read(at: Option<Timestamp>, key: &'static str) -> Operation {
    Operation::Read { at, proof: true, patience: patience(None), reads: vec![ReadOp::Get { key: b(key) }] }
}

pub(super) fn writes(writes: &[(&'static str, Option<&'static str>)]) -> Vec<Write> {
    writes.iter().map(|(key, value)| Write { key: b(key), value: value.map(b), insert: false }).collect()
}

pub(super) fn insert(key: &'static str, value: &'static str) -> Write {
    Write { key: b(key), value: Some(b(value)), insert: true }
}

pub(super) fn spans(keys: &[&'static str]) -> Vec<Span> {
    keys.iter().map(|key| Span::key(b(key))).collect()
}

pub(super) fn commit(
    term: Term,
    txn: u64,
    snapshot: Timestamp,
    reads: &[&'static str],
    puts: &[(&'static str, Option<&'static str>)],
) -> Operation {
    Operation::Commit { term, txn: id(txn), snapshot, reads: spans(reads), writes: writes(puts) }
}

pub(super) fn prepare(
    term: Term,
    txn: u64,
    snapshot: Timestamp,
    reads: &[&'static str],
    puts: &[(&'static str, Option<&'static str>)],
) -> Operation {
    Operation::Prepare {
        term,
        txn: id(txn),
        snapshot,
        reads: spans(reads),
        writes: writes(puts),
        staged: 0,
        participants: vec![1, 2],
    }
}

pub(super) fn is_conflict(result: &Result<Reply, Failure>) -> bool {
    matches!(result, Err(Failure::Refused(Refusal::Conflict { .. })))
}

pub(super) fn breaks(change: impl FnOnce(&mut Breaks)) -> Options {
    let mut options = options();
    change(&mut options.breaks);
    options
}
