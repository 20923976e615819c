//! Transactions in doubt: what participants make of each case without their gateway, and across leader changes and crashes.

use super::*;
use crate::protocol::Outcome;

struct Pair {
    a: TestSet,
    b: TestSet,
}

impl Pair {
    fn new() -> Self {
        let sets = Arc::default();
        Pair { a: TestSet::with(1, &sets, options()), b: TestSet::with(2, &sets, options()) }
    }

    async fn settle(&self) {
        for _ in 0..10 {
            self.a.settle().await;
            self.b.settle().await;
        }
    }

    async fn wait(&self, ms: u64) {
        for _ in 0..ms / 50 {
            self.a.advance(50);
            self.b.advance(50);
            self.settle().await;
        }
    }
}

async fn prepare_at(set: &TestSet, key: &'static str) -> Timestamp {
    match set.ask(prepare(1, 1, Timestamp::ZERO, &[], &[(key, Some("v"))])).await {
        Ok(Reply::Prepared(at)) => at,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn all_prepared_commits_at_the_highest_prepare() {
    let pair = Pair::new();
    let at = prepare_at(&pair.a, "a").await;
    pair.b.advance(300);
    let highest = at.max(prepare_at(&pair.b, "b").await);
    pair.wait(400).await;
    assert!(matches!(pair.a.status(1, false).await, TxnStatus::Prepared(_)), "patience lasts 500 ms");
    pair.wait(600).await;
    for (set, key) in [(&pair.a, "a"), (&pair.b, "b")] {
        assert_eq!(set.status(1, false).await, TxnStatus::Ended(Outcome::Committed(highest)));
        assert_eq!(set.get(key).await, Some(b("v")));
    }
}

#[tokio::test]
async fn one_not_prepared_refuses_and_all_abort() {
    let pair = Pair::new();
    prepare_at(&pair.a, "a").await;
    pair.wait(1000).await;
    for set in [&pair.a, &pair.b] {
        assert_eq!(set.status(1, false).await, TxnStatus::Ended(Outcome::Aborted));
    }
    let late = pair.b.ask(prepare(1, 1, Timestamp::ZERO, &[], &[("b", Some("v"))])).await;
    assert_eq!(late, Err(Failure::Refused(Refusal::Aborted)), "the late prepare is rejected");
    assert_eq!(pair.a.get("a").await, None);
}

#[tokio::test]
async fn one_committed_commits_all() {
    let pair = Pair::new();
    prepare_at(&pair.a, "a").await;
    let highest = prepare_at(&pair.b, "b").await;
    let outcome = Outcome::Committed(highest);
    pair.b.ask(Operation::Resolve { txn: id(1), outcome }).await.unwrap();
    pair.wait(1000).await;
    assert_eq!(pair.a.status(1, false).await, TxnStatus::Ended(outcome));
}

#[tokio::test]
async fn one_aborted_aborts_all() {
    let pair = Pair::new();
    prepare_at(&pair.a, "a").await;
    pair.b.ask(Operation::Resolve { txn: id(1), outcome: Outcome::Aborted }).await.unwrap();
    pair.wait(1000).await;
    assert_eq!(pair.a.status(1, false).await, TxnStatus::Ended(Outcome::Aborted));
}

#[tokio::test]
async fn an_unreachable_participant_is_named_and_asked_again() {
    let pair = Pair::new();
    let at = prepare_at(&pair.a, "a").await;
    let highest = at.max(prepare_at(&pair.b, "b").await);
    pair.a.sets.down.lock().insert(2);
    pair.a.advance(600);
    pair.a.settle().await;
    assert_eq!(pair.a.element.status().unreachable, [2]);
    assert!(matches!(pair.a.status(1, false).await, TxnStatus::Prepared(_)));
    pair.a.sets.down.lock().clear();
    pair.wait(1500).await;
    assert_eq!(pair.a.status(1, false).await, TxnStatus::Ended(Outcome::Committed(highest)));
    assert!(pair.a.element.status().unreachable.is_empty());
}

#[tokio::test]
async fn prepare_records_outlive_leaders_and_crashes_with_the_spans_they_hold() {
    let mut pair = Pair::new();
    pair.a.put(9, "r", "old").await;
    let (snapshot, _) = pair.a.snapshot().await;
    pair.a.ask(prepare(1, 1, snapshot, &["r"], &[("a", Some("v"))])).await.unwrap();
    let highest = prepare_at(&pair.b, "b").await;
    pair.a.element.flush().unwrap();
    pair.a.crash(2);
    assert!(is_conflict(&pair.a.ask(commit(2, 5, Timestamp::ZERO, &[], &[("r", Some("x"))])).await));
    assert!(is_conflict(&pair.a.ask(commit(2, 6, Timestamp::ZERO, &[], &[("a", Some("x"))])).await));
    pair.wait(1000).await;
    assert!(matches!(pair.a.status(1, false).await, TxnStatus::Ended(Outcome::Committed(at)) if at >= highest));
    assert_eq!(pair.a.get("a").await, Some(b("v")));
    assert!(pair.a.ask(commit(2, 7, Timestamp::ZERO, &[], &[("r", Some("x"))])).await.is_ok());
}

#[tokio::test]
async fn a_second_outcome_changes_nothing() {
    let pair = Pair::new();
    let at = prepare_at(&pair.a, "a").await;
    let outcome = Outcome::Committed(at);
    let told = Ok(Reply::Resolved(outcome));
    assert_eq!(pair.a.ask(Operation::Resolve { txn: id(1), outcome }).await, told);
    assert_eq!(pair.a.ask(Operation::Resolve { txn: id(1), outcome }).await, told);
    assert_eq!(pair.a.ask(Operation::Resolve { txn: id(1), outcome: Outcome::Aborted }).await, told);
}

/// The gateway has given the transaction up; only then does a late copy of its prepare arrive here.
#[tokio::test]
async fn a_prepare_that_comes_after_the_end_of_its_transaction_is_aborted() {
    let pair = Pair::new();
    pair.b.ask(Operation::Resolve { txn: id(1), outcome: Outcome::Aborted }).await.unwrap();
    pair.b.send_from(gateway(1, 1, 2), Operation::Heartbeat);
    pair.wait(1500).await;
    assert_eq!(pair.b.status(1, false).await, TxnStatus::Forgotten);
    prepare_at(&pair.a, "a").await;
    pair.wait(1000).await;
    assert_eq!(pair.a.status(1, false).await, TxnStatus::Ended(Outcome::Aborted));
    assert_eq!(pair.a.get("a").await, None);
}

#[tokio::test]
async fn nobody_waits_at_a_closed_element() {
    let pair = Pair::new();
    prepare_at(&pair.a, "a").await;
    let (snapshot, index) = pair.a.snapshot().await;
    let reads = [ReadOp::Get { key: b("a") }];
    let patience = Patience { txn: None, age: 0, holds_locks: false, limit_ms: 60_000 };
    let behind_an_intent = pair.a.element.read_at(snapshot, index, &patience, &reads);
    let ahead_of_the_log = pair.a.element.read_at(snapshot, index + 100, &patience, &reads);
    let close = async { pair.a.element.close().unwrap() };
    let (one, other, ()) = tokio::join!(behind_an_intent, ahead_of_the_log, close);
    let gone = Err(Failure::NotLeader { hint: None });
    assert_eq!((one, other), (gone.clone(), gone.clone()));
    assert_eq!(pair.a.element.read_at(snapshot, index + 100, &patience, &reads).await, gone, "nor begins to");
}
