//! The rules of `docs/transactions.md`, one test each, as far as they live in a replica set.

use super::*;
use crate::protocol::Outcome;

fn prepared(result: Result<Reply, Failure>) -> Timestamp {
    match result {
        Ok(Reply::Prepared(at)) => at,
        other => panic!("{other:?}"),
    }
}

fn committed(result: Result<Reply, Failure>) -> Timestamp {
    match result {
        Ok(Reply::Committed(at)) => at,
        other => panic!("{other:?}"),
    }
}

fn resolve(txn: u64, at: Timestamp) -> Operation {
    Operation::Resolve { txn: id(txn), outcome: Outcome::Committed(at) }
}

#[tokio::test]
async fn rule_1_a_snapshot_shows_one_state_while_commits_are_in_flight() {
    let set = TestSet::new();
    set.put(1, "k", "old").await;
    set.snapshot().await;
    set.hold(true);
    let writing = set.send(commit(1, 2, Timestamp::ZERO, &[], &[("k", Some("new"))]));
    set.settle().await;
    let (at, _) = set.snapshot().await;
    assert_eq!(set.get_at(at, "k").await, Ok(Some(b("old"))));
    set.hold(false);
    set.settle().await;
    let written = committed(writing.await.unwrap().result);
    assert!(written > at, "the commit in flight was promised to lie above the snapshot");
    assert_eq!(set.get_at(at, "k").await, Ok(Some(b("old"))), "the same snapshot shows the same state later");
    assert_eq!(set.get("k").await, Some(b("new")));
}

#[tokio::test]
async fn rule_1_left_out_shows_two_states() {
    let set = TestSet::with(1, &Arc::default(), breaks(|breaks| breaks.safe_time = true));
    set.put(1, "k", "old").await;
    set.snapshot().await;
    set.hold(true);
    let _writing = set.send(commit(1, 2, Timestamp::ZERO, &[], &[("k", Some("new"))]));
    set.settle().await;
    let (at, _) = set.snapshot().await;
    assert_eq!(set.get_at(at, "k").await, Ok(Some(b("old"))));
    set.apply_held().await;
    assert_eq!(set.get_at(at, "k").await, Ok(Some(b("new"))), "this is the anomaly that the rule prevents");
}

#[tokio::test]
async fn rule_2_a_prepare_is_answered_when_applied_and_holds_its_keys_until_the_outcome_is_known() {
    let set = TestSet::new();
    set.hold(true);
    let preparing = set.send(prepare(1, 1, Timestamp::ZERO, &["r"], &[("k", Some("v"))]));
    set.settle().await;
    assert!(!preparing.is_finished());
    // In flight already, its keys and spans are taken.
    assert!(is_conflict(&set.ask(commit(1, 2, Timestamp::ZERO, &[], &[("k", Some("x"))])).await));
    set.hold(false);
    set.settle().await;
    let at = prepared(preparing.await.unwrap().result);
    assert!(is_conflict(&set.ask(commit(1, 3, Timestamp::ZERO, &[], &[("k", Some("x"))])).await));
    assert!(is_conflict(&set.ask(commit(1, 4, Timestamp::ZERO, &[], &[("r", Some("x"))])).await));
    let outcome = at.plus(Duration::from_secs(1));
    assert_eq!(set.ask(resolve(1, outcome)).await, Ok(Reply::Resolved(Outcome::Committed(outcome))));
    let next = committed(set.ask(commit(1, 5, Timestamp::ZERO, &[], &[("r", Some("x"))])).await);
    assert!(next > outcome, "what follows an outcome lies above it");
}

/// T1 blind-writes A1 and B1 and prepares at A only; R takes S at A and reads A2; T2 writes A2; T3 writes B1; then T1
/// prepares at B and commits; R reads A1.
#[tokio::test]
async fn rule_3_a_version_prepared_before_a_snapshot_and_known_after_it_is_uncertain() {
    let (a, b1) = (TestSet::new(), TestSet::with(2, &Arc::default(), options()));
    let at_a = prepared(a.ask(prepare(1, 1, Timestamp::ZERO, &[], &[("A1", Some("T1"))])).await);
    let (snapshot, _) = a.snapshot().await;
    assert!(at_a < snapshot);
    assert_eq!(a.get_at(snapshot, "A2").await, Ok(None));
    a.put(2, "A2", "T2").await;
    let t3 = b1.put(3, "B1", "T3").await;
    let at_b = prepared(b1.ask(prepare(1, 1, Timestamp::ZERO, &[], &[("B1", Some("T1"))])).await);
    assert!(at_b > t3);
    let outcome = at_a.max(at_b);
    let reading = a.send(read(Some(snapshot), "A1"));
    a.settle().await;
    assert!(!reading.is_finished(), "the intent has to be waited for");
    a.ask(resolve(1, outcome)).await.unwrap();
    a.settle().await;
    let moved = match reading.await.unwrap().result {
        Ok(Reply::Uncertain(moved)) => moved,
        other => panic!("R must not see T1 at its snapshot: {other:?}"),
    };
    assert!(moved > snapshot && moved >= outcome);
    // A2, read before, has changed: R cannot be moved.
    let raise = Operation::Validate { txn: None, snapshot, spans: spans(&["A2"]), raise_to: Some(moved), proof: true };
    assert!(is_conflict(&a.ask(raise).await));
    // A reader that has read nothing yet is moved by the leader itself.
    assert_eq!(a.get("A1").await, Some(b("T1")));
}

#[tokio::test]
async fn rule_3_holds_although_the_commit_timestamp_lies_below_the_snapshot() {
    let set = TestSet::new();
    let at = prepared(set.ask(prepare(1, 1, Timestamp::ZERO, &[], &[("k", Some("v"))])).await);
    let (snapshot, _) = set.snapshot().await;
    set.ask(resolve(1, at)).await.unwrap();
    assert!(matches!(set.get_at(snapshot, "k").await, Err(Ok(moved)) if moved > snapshot));
    let broken = TestSet::with(1, &Arc::default(), breaks(|breaks| breaks.uncertain = true));
    let at = prepared(broken.ask(prepare(1, 1, Timestamp::ZERO, &[], &[("k", Some("v"))])).await);
    let (snapshot, _) = broken.snapshot().await;
    broken.ask(resolve(1, at)).await.unwrap();
    assert_eq!(broken.get_at(snapshot, "k").await, Ok(Some(b("v"))), "this is what the rule prevents");
}

#[tokio::test]
async fn rule_4_a_successor_starts_above_everything_its_predecessor_has_promised() {
    let mut set = TestSet::new();
    set.advance(1500);
    let (promised, _) = set.snapshot().await;
    // The successor's clock is far behind, and nothing was logged near the promise.
    set.time.physical.store(START_MS - 3_600_000, Ordering::Relaxed);
    set.crash(2);
    let at = committed(set.ask(commit(2, 1, Timestamp::ZERO, &[], &[("k", Some("v"))])).await);
    assert!(at > promised);
}

#[tokio::test]
async fn rule_4_nothing_above_the_horizon_is_promised() {
    let set = TestSet::new();
    set.hold(true);
    let foreign = Timestamp::from_ms(START_MS + 60_000);
    let waiting = set.send(Operation::Snapshot { at: Some(foreign), proof: false });
    set.settle().await;
    assert!(!waiting.is_finished(), "the horizon has to be replicated first");
    set.apply_held().await;
    assert!(matches!(waiting.await.unwrap().result, Ok(Reply::Snapshot { snapshot, .. }) if snapshot == foreign));
}

#[tokio::test]
async fn rule_5_a_snapshot_from_elsewhere_moves_the_clock() {
    let set = TestSet::new();
    let foreign = Timestamp::from_ms(START_MS + 60_000);
    assert!(set.ask(Operation::Snapshot { at: Some(foreign), proof: false }).await.is_ok());
    assert_eq!(set.get_at(foreign, "k").await, Ok(None));
    assert!(set.put(1, "k", "v").await > foreign);
    assert_eq!(set.get_at(foreign, "k").await, Ok(None));
}

#[tokio::test]
async fn rule_6_a_lost_proposal_is_unknown_until_the_log_says_so() {
    let set = TestSet::new();
    set.hold(true);
    let lost = set.send(commit(1, 1, Timestamp::ZERO, &[], &[("k", Some("v"))]));
    set.settle().await;
    set.hold(false);
    set.lead(2);
    set.settle().await;
    assert_eq!(lost.await.unwrap().result, Err(Failure::Unknown));
    assert_eq!(set.status(1, false).await, TxnStatus::Absent);
    assert_eq!(set.status(1, true).await, TxnStatus::Ended(Outcome::Aborted));
    let late = set.ask(commit(2, 1, Timestamp::ZERO, &[], &[("k", Some("v"))])).await;
    assert_eq!(late, Err(Failure::Refused(Refusal::Aborted)), "the refusal is in the log");
    assert_eq!(set.get("k").await, None);
}

#[tokio::test]
async fn rule_6_a_repeated_commit_is_answered_from_its_record() {
    let set = TestSet::new();
    let (snapshot, _) = set.snapshot().await;
    let first = committed(set.ask(commit(1, 1, snapshot, &["k"], &[("k", Some("v"))])).await);
    set.lead(2);
    // Its own write would be a conflict with what it read.
    assert_eq!(committed(set.ask(commit(2, 1, snapshot, &["k"], &[("k", Some("v"))])).await), first);
    assert_eq!(committed(set.ask(commit(1, 1, snapshot, &["k"], &[("k", Some("v"))])).await), first);
}

#[tokio::test]
async fn rule_7_nothing_that_needs_proof_is_answered_without() {
    let set = TestSet::new();
    let (snapshot, _) = set.snapshot().await;
    set.put(9, "there", "v").await;
    set.provable(false);
    let validate = |proof| Operation::Validate { txn: None, snapshot, spans: spans(&["k"]), raise_to: None, proof };
    let not_leader = Err(Failure::NotLeader { hint: None });
    assert_eq!(set.ask(validate(true)).await, not_leader);
    assert!(set.ask(validate(false)).await.is_ok());
    assert_eq!(set.ask(Operation::Snapshot { at: None, proof: true }).await, not_leader);
    assert_eq!(set.ask(read(None, "k")).await, not_leader);
    // "It exists already" is an answer too.
    let write = vec![insert("there", "v")];
    let duplicate =
        Operation::Commit { term: 1, txn: id(1), snapshot: Timestamp::ZERO, reads: Vec::new(), writes: write };
    assert_eq!(set.ask(duplicate).await, not_leader);
}

#[tokio::test]
async fn rule_7_a_replica_answers_only_when_it_has_applied_what_the_leader_named() {
    let set = TestSet::new();
    set.put(1, "k", "v").await;
    let (snapshot, index) = set.snapshot().await;
    let reads = [ReadOp::Get { key: b("k") }];
    let follower = open(1, &MemoryDisk::new(), &set.time, &options());
    let patience = patience(None);
    let mut reading = Box::pin(follower.read_at(snapshot, index, &patience, &reads));
    assert!(futures::poll!(&mut reading).is_pending());
    let entries = set.log.inner.lock().entries.clone();
    for entry in &entries {
        assert!(follower.applied() < index && futures::poll!(&mut reading).is_pending());
        follower.apply(std::slice::from_ref(entry), Bytes::new()).unwrap();
        if entry.index == index {
            break;
        }
    }
    let rows = crate::protocol::ReadAnswer::Rows(vec![ReadResult::Value(Some(b("v")))]);
    assert_eq!(reading.await, Ok(rows));
}

#[tokio::test]
async fn rule_8_a_commit_message_is_executed_once_and_only_in_its_term() {
    let set = TestSet::new();
    set.hold(true);
    let (first, second) = (
        set.send(commit(1, 1, Timestamp::ZERO, &[], &[("k", Some("v"))])),
        set.send(commit(1, 1, Timestamp::ZERO, &[], &[("k", Some("v"))])),
    );
    set.settle().await;
    assert_eq!(set.proposed(), 1, "the duplicate waits for the first");
    set.apply_held().await;
    set.hold(false);
    let first = first.await.unwrap().result;
    assert_eq!(first, second.await.unwrap().result);
    assert_eq!(set.ask(commit(1, 1, Timestamp::ZERO, &[], &[("k", Some("v"))])).await, first);
    // Refusals are remembered, although by now the transaction would be valid.
    set.ask(prepare(1, 2, Timestamp::ZERO, &[], &[("p", Some("v"))])).await.unwrap();
    let refused = set.ask(commit(1, 3, Timestamp::ZERO, &[], &[("p", Some("v"))])).await;
    assert!(is_conflict(&refused));
    set.ask(Operation::Resolve { txn: id(2), outcome: Outcome::Aborted }).await.unwrap();
    assert_eq!(set.ask(commit(1, 3, Timestamp::ZERO, &[], &[("p", Some("v"))])).await, refused);
    // Another term refuses it; an older one knows that it is behind.
    let other = set.ask(commit(2, 4, Timestamp::ZERO, &[], &[("k", Some("v"))])).await;
    assert_eq!(other, Err(Failure::NotLeader { hint: None }));
    set.lead(3);
    let other = set.ask(commit(2, 4, Timestamp::ZERO, &[], &[("k", Some("v"))])).await;
    assert_eq!(other, Err(Failure::Refused(Refusal::WrongTerm)));
}

#[tokio::test]
async fn rule_8_the_first_prepare_record_wins() {
    let set = TestSet::new();
    let first = prepared(set.ask(prepare(1, 1, Timestamp::ZERO, &[], &[("k", Some("v"))])).await);
    assert_eq!(prepared(set.ask(prepare(1, 1, Timestamp::ZERO, &[], &[("k", Some("v"))])).await), first);
    set.lead(2);
    assert_eq!(prepared(set.ask(prepare(2, 1, Timestamp::ZERO, &[], &[("k", Some("v"))])).await), first);
}

#[tokio::test]
async fn rule_9_what_was_validated_in_another_term_is_ignored() {
    let set = TestSet::new();
    set.hold(true);
    let _old = set.send(commit(1, 1, Timestamp::ZERO, &[], &[("k", Some("v"))]));
    set.settle().await;
    let command = set.log.inner.lock().flight[0].1.clone();
    set.lead(2);
    // The consensus layer carries the old command over into an entry of the new term.
    let index = set.log.inner.lock().entries.len() as LogIndex + 1;
    let entry = AppliedEntry { index, term: 2, commands: vec![command] };
    set.log.inner.lock().entries.push(entry.clone());
    set.element.apply(&[entry], Bytes::new()).unwrap();
    set.hold(false);
    assert_eq!(set.get("k").await, None);
    assert_eq!(set.status(1, false).await, TxnStatus::Absent);
}

#[tokio::test]
async fn rule_9_a_new_leader_starts_above_logged_outcomes() {
    let mut set = TestSet::new();
    let at = prepared(set.ask(prepare(1, 1, Timestamp::ZERO, &[], &[("k", Some("v"))])).await);
    let outcome = at.plus(Duration::from_secs(3600));
    set.ask(resolve(1, outcome)).await.unwrap();
    set.crash(2);
    assert!(committed(set.ask(commit(2, 2, Timestamp::ZERO, &[], &[("k", Some("w"))])).await) > outcome);
}

#[tokio::test]
async fn rule_10_outcomes_are_forgotten_below_the_watermark_and_never_called_absent() {
    let mut set = TestSet::new();
    set.put(5, "k", "v").await;
    assert!(matches!(set.status(5, false).await, TxnStatus::Ended(Outcome::Committed(_))));
    set.send_from(gateway(1, 1, 6), Operation::Heartbeat);
    set.settle().await;
    set.advance(1500);
    set.settle().await;
    assert_eq!(set.status(5, true).await, TxnStatus::Forgotten);
    let late = set.ask(commit(1, 4, Timestamp::ZERO, &[], &[("k", Some("late"))])).await;
    assert_eq!(late, Err(Failure::Refused(Refusal::Forgotten)), "also an id that was never heard of here");
    // The record goes only when the watermark is on disk.
    set.element.compact().unwrap();
    assert!(set.element.store.outcome(id(5)).unwrap().is_some());
    set.element.flush().unwrap();
    set.element.compact().unwrap();
    assert!(set.element.store.outcome(id(5)).unwrap().is_none());
    set.crash(2);
    assert_eq!(set.status(5, true).await, TxnStatus::Forgotten);
    let late = set.ask(commit(2, 5, Timestamp::ZERO, &[], &[("k", Some("late"))])).await;
    assert_eq!(late, Err(Failure::Refused(Refusal::Forgotten)), "under any leader");
    assert_eq!(set.get("k").await, Some(b("v")));
}

#[tokio::test]
async fn rule_10_a_process_that_has_ended_commits_nothing_more() {
    let set = TestSet::new();
    set.send_from(gateway(1, 2, 0), Operation::Heartbeat);
    set.settle().await;
    set.advance(1500);
    set.settle().await;
    let late = set.ask(commit(1, 7, Timestamp::ZERO, &[], &[("k", Some("late"))])).await;
    assert_eq!(late, Err(Failure::Refused(Refusal::Aborted)));
    assert_eq!(set.status(7, true).await, TxnStatus::Ended(Outcome::Aborted));
}

#[tokio::test]
async fn rule_12_reads_and_validations_below_the_threshold_are_refused() {
    let set = TestSet::new();
    set.put(1, "k", "1").await;
    let (old, _) = set.snapshot().await;
    let keep = Sender::Gateway(GatewayStatus {
        gateway: GatewayId::new(2, 1),
        finished_below: TxnId::new(GatewayId::new(2, 1), 0),
        oldest_snapshot: Some(old),
    });
    set.put(2, "k", "2").await;
    set.send_from(keep, Operation::Heartbeat);
    for _ in 0..20 {
        set.advance(1000);
        set.settle().await;
    }
    assert_eq!(set.get_at(old, "k").await, Ok(Some(b("1"))), "an open snapshot holds the threshold back");
    let done = gateway(2, 1, 0);
    set.send_from(done, Operation::Heartbeat);
    for _ in 0..20 {
        set.advance(1000);
        set.settle().await;
    }
    let too_old = Failure::Refused(Refusal::SnapshotTooOld);
    assert_eq!(set.get_at(old, "k").await, Err(Err(too_old.clone())));
    assert_eq!(set.ask(commit(1, 3, old, &["k"], &[("k", Some("3"))])).await, Err(too_old.clone()));
    let validate = Operation::Validate { txn: None, snapshot: old, spans: spans(&["k"]), raise_to: None, proof: false };
    assert_eq!(set.ask(validate).await, Err(too_old));
    assert_eq!(set.get("k").await, Some(b("2")));
    let before = set.proposed();
    for _ in 0..30 {
        set.advance(1000);
        set.settle().await;
    }
    let after = set.proposed();
    assert!(after - before <= 6, "an idle set writes nothing once its horizon is not needed: {}", after - before);
}

#[tokio::test]
async fn rule_13_a_commit_is_refused_for_a_lock_and_a_waiter_with_locks_gives_up_on_an_intent() {
    let set = TestSet::new();
    let lock = Operation::Lock { patience: patience(Some(1)), keys: vec![b("k")] };
    set.ask(lock).await.unwrap();
    assert!(is_conflict(&set.ask(commit(1, 2, Timestamp::ZERO, &[], &[("k", Some("v"))])).await));
    set.ask(prepare(1, 3, Timestamp::ZERO, &[], &[("p", Some("v"))])).await.unwrap();
    let mut waiting = patience(Some(1));
    waiting.holds_locks = true;
    let reads = vec![ReadOp::Get { key: b("p") }];
    let reading = set.send(Operation::Read { at: None, proof: false, patience: waiting, reads: reads.clone() });
    let patient = set.send(Operation::Read { at: None, proof: false, patience: patience(None), reads });
    set.settle().await;
    set.advance(100);
    set.settle().await;
    let timeout = Refusal::LockTimeout { key: b("p"), holder: Some(id(3)) };
    assert_eq!(reading.await.unwrap().result, Err(Failure::Refused(timeout)));
    assert!(!patient.is_finished());
    set.advance(5000);
    set.settle().await;
    assert!(matches!(patient.await.unwrap().result, Err(Failure::Blocked { participants, .. }) if participants == [2]));
}

#[tokio::test]
async fn rule_15_a_poisoned_clock_costs_speed_only() {
    let set = TestSet::new();
    set.put(1, "k", "1").await;
    set.time.physical.store(u64::MAX, Ordering::Relaxed);
    let high = set.put(2, "k", "2").await;
    assert!(high.ms() < START_MS + 10_000, "a reading outside the range is ignored");
    set.time.physical.store(crate::clock::PHYSICAL_MS_MAX, Ordering::Relaxed);
    let higher = set.put(3, "k", "3").await;
    set.time.physical.store(0, Ordering::Relaxed);
    assert!(set.put(4, "k", "4").await > higher);
    assert_eq!(set.get("k").await, Some(b("4")));
    let absurd = Operation::Snapshot { at: Some(Timestamp(u64::MAX)), proof: false };
    assert!(matches!(set.ask(absurd).await, Err(Failure::Refused(Refusal::Limit(_)))));
}

#[tokio::test]
async fn the_horizon_costs_no_round_per_request() {
    let set = TestSet::new();
    set.snapshot().await;
    let before = set.proposed();
    for _ in 0..100 {
        set.snapshot().await;
        set.advance(10);
    }
    assert!(set.proposed() - before <= 2, "{} proposals for a second of reads", set.proposed() - before);
}

#[tokio::test]
async fn validation_finds_changed_keys_and_ranges_in_memory_and_below_its_floor() {
    for recent_commits_max in [1000, 1] {
        let options = Options { recent_commits_max, ..options() };
        let set = TestSet::with(1, &Arc::default(), options);
        set.put(1, "b", "1").await;
        let (snapshot, _) = set.snapshot().await;
        set.put(2, "c", "2").await;
        set.put(3, "z", "2").await;
        let validate = |spans| Operation::Validate { txn: None, snapshot, spans, raise_to: None, proof: true };
        assert!(is_conflict(&set.ask(validate(vec![Span::range(b("b"), b("d"))])).await));
        assert!(is_conflict(&set.ask(validate(spans(&["c"]))).await));
        assert!(set.ask(validate(vec![Span::range(b("a"), b("c"))])).await.is_ok());
        assert!(set.ask(validate(spans(&["b", "d"]))).await.is_ok());
        let (later, _) = set.snapshot().await;
        let raise = Operation::Validate {
            txn: None,
            snapshot,
            spans: spans(&["b", "d"]),
            raise_to: Some(later.plus(Duration::from_millis(500))),
            proof: true,
        };
        assert!(set.ask(raise).await.is_ok());
        assert!(set.put(4, "b", "3").await > later.plus(Duration::from_millis(500)), "what was raised stays true");
    }
}

#[tokio::test]
async fn an_insert_is_refused_when_the_key_exists_when_it_is_validated() {
    let set = TestSet::new();
    let inserting = |txn, key| Operation::Commit {
        term: 1,
        txn: id(txn),
        snapshot: Timestamp::ZERO,
        reads: Vec::new(),
        writes: vec![insert(key, "v")],
    };
    assert!(set.ask(inserting(1, "k")).await.is_ok());
    let duplicate = Err(Failure::Refused(Refusal::Duplicate { key: b("k") }));
    assert_eq!(set.ask(inserting(2, "k")).await, duplicate);
    set.ask(commit(1, 3, Timestamp::ZERO, &[], &[("k", None)])).await.unwrap();
    assert!(set.ask(inserting(4, "k")).await.is_ok(), "a deleted row is no duplicate");
}

async fn freeze(set: &TestSet) -> (Term, u64, Timestamp) {
    match set.ask(Operation::Freeze { first: false }).await {
        Ok(Reply::Frozen { term, freeze, at }) => (term, freeze, at),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn rule_17_writers_wait_while_a_set_is_frozen_and_come_after_the_cut() {
    let set = TestSet::new();
    let before = set.put(1, "k", "old").await;
    let (term, freeze, at) = freeze(&set).await;
    assert!(at >= before);
    let writing = set.send(commit(1, 2, Timestamp::ZERO, &[], &[("k", Some("new"))]));
    let preparing = set.send(prepare(1, 3, Timestamp::ZERO, &[], &[("l", Some("new"))]));
    set.settle().await;
    assert!(!writing.is_finished() && !preparing.is_finished());
    assert_eq!(set.get("k").await, Some(b("old")), "readers go on");
    // Another set's clock is ahead.
    let cut = at.plus(Duration::from_secs(60));
    let index = match set.ask(Operation::Cut { term, freeze, at: Some(cut) }).await {
        Ok(Reply::Snapshot { snapshot, index }) if snapshot == cut => index,
        other => panic!("{other:?}"),
    };
    set.settle().await;
    assert!(committed(writing.await.unwrap().result) > cut);
    assert!(prepared(preparing.await.unwrap().result) > cut);
    let read =
        Operation::ReadCut { at: cut, index, patience: patience(None), reads: vec![ReadOp::Get { key: b("k") }] };
    let rows = vec![ReadResult::Value(Some(b("old")))];
    assert_eq!(set.ask(read).await, Ok(Reply::Read { snapshot: cut, index, results: rows }));
}

#[tokio::test]
async fn rule_17_nothing_is_in_flight_when_a_set_is_frozen() {
    let set = TestSet::new();
    set.hold(true);
    let writing = set.send(commit(1, 1, Timestamp::ZERO, &[], &[("k", Some("v"))]));
    set.settle().await;
    let freezing = set.send(Operation::Freeze { first: true });
    set.settle().await;
    assert!(!freezing.is_finished());
    set.hold(false);
    set.settle().await;
    let written = committed(writing.await.unwrap().result);
    let frozen = freezing.await.unwrap().result;
    assert!(matches!(frozen, Ok(Reply::Frozen { at, .. }) if at >= written), "{frozen:?}");
}

#[tokio::test]
async fn rule_17_a_set_takes_part_only_if_it_was_frozen_all_the_time_by_the_leader_it_still_has() {
    let set = TestSet::new();
    let refused = Err(Failure::Refused(Refusal::Thawed));
    let cut = |(term, freeze, at): (Term, u64, Timestamp)| Operation::Cut { term, freeze, at: Some(at) };
    let first = freeze(&set).await;
    set.lead(2);
    assert_eq!(set.ask(cut(first)).await, refused, "its successor knows of no freeze");
    let second = freeze(&set).await;
    set.provable(false);
    assert_eq!(set.ask(cut(second)).await, Err(Failure::NotLeader { hint: None }), "it may be deposed");
    set.provable(true);
    let third = freeze(&set).await;
    let writing = set.send(commit(2, 1, Timestamp::ZERO, &[], &[("k", Some("v"))]));
    set.settle().await;
    assert!(!writing.is_finished());
    set.advance(200);
    set.settle().await;
    committed(writing.await.unwrap().result);
    assert_eq!(set.ask(cut(third)).await, refused, "a writer has passed");
}
