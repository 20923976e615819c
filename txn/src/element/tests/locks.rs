//! Locks through the leader: newest values, silent gateways, ends of transactions.

use super::*;

fn lock(txn: u64, keys: &[&'static str]) -> Operation {
    Operation::Lock { patience: patience(Some(txn)), keys: keys.iter().map(|key| b(key)).collect() }
}

#[tokio::test]
async fn a_lock_waits_for_its_holder_and_reads_the_newest_value() {
    let set = TestSet::new();
    let first = set.put(1, "k", "1").await;
    let locked = set.ask(lock(2, &["k", "absent", "k"])).await;
    let Ok(Reply::Locked { snapshot, rows, .. }) = locked else { panic!("{locked:?}") };
    let values: Vec<_> = rows.iter().map(|row| (row.value.clone(), row.changed)).collect();
    assert_eq!(values, [(Some(b("1")), first), (None, Timestamp::ZERO), (Some(b("1")), first)]);
    assert!(snapshot >= first);
    let waiting = set.send(lock(3, &["k"]));
    set.settle().await;
    assert!(!waiting.is_finished());
    let committed = set.ask(commit(1, 2, snapshot, &["k"], &[("k", Some("2"))])).await;
    let Ok(Reply::Committed(second)) = committed else { panic!("{committed:?}") };
    set.settle().await;
    let Ok(Reply::Locked { rows, .. }) = waiting.await.unwrap().result else { panic!() };
    assert_eq!((rows[0].value.clone(), rows[0].changed), (Some(b("2")), second));
}

#[tokio::test]
async fn who_waits_for_a_prepared_transaction_is_seen_at_the_next_leader_too() {
    let mut set = TestSet::new();
    set.ask(prepare(1, 1, Timestamp::ZERO, &[], &[("k", Some("v"))])).await.unwrap();
    set.crash(2);
    set.settle().await;
    set.advance(40);
    let waiting = set.send(lock(3, &["k"]));
    set.settle().await;
    assert!(!waiting.is_finished());
    let holdings = set.element.holdings().expect("it leads");
    assert_eq!(holdings[&id(1)].prepared, Some(Duration::from_millis(40)));
    assert_eq!(holdings[&id(3)].waits_for, [id(1)]);
    waiting.abort();
    drop(waiting.await);
    assert!(holdings_waits(&set).is_empty(), "nobody waits any more");
}

fn holdings_waits(set: &TestSet) -> Vec<TxnId> {
    let holdings = set.element.holdings().expect("it leads");
    holdings.into_values().flat_map(|holding| holding.waits_for).collect()
}

#[tokio::test]
async fn locks_of_a_silent_gateway_are_dropped_but_not_those_of_prepared_transactions() {
    let set = TestSet::new();
    set.ask(lock(1, &["a"])).await.unwrap();
    set.ask(lock(2, &["b"])).await.unwrap();
    set.ask(prepare(1, 2, Timestamp::ZERO, &[], &[("b", Some("v"))])).await.unwrap();
    let alive = gateway(2, 1, 0);
    let other = TxnId::new(GatewayId::new(2, 1), 1);
    let wait = |key| Operation::Lock { patience: Patience { txn: Some(other), ..patience(None) }, keys: vec![b(key)] };
    let (a, c) = (set.send_from(alive, wait("a")), set.send_from(alive, wait("b")));
    set.settle().await;
    set.advance(450);
    set.send(Operation::Heartbeat);
    set.settle().await;
    set.advance(450);
    set.settle().await;
    assert!(!a.is_finished(), "a sign of life keeps the locks");
    set.advance(100);
    set.settle().await;
    assert!(a.is_finished());
    assert!(!c.is_finished());
}

#[tokio::test]
async fn a_newer_incarnation_ends_the_locks_of_the_older_at_once() {
    let set = TestSet::new();
    set.ask(lock(1, &["a"])).await.unwrap();
    set.send_from(gateway(1, 2, 0), Operation::Heartbeat);
    set.settle().await;
    let other = Patience { txn: Some(TxnId::new(GatewayId::new(2, 1), 1)), ..patience(None) };
    let waiting = set.send_from(gateway(2, 1, 0), Operation::Lock { patience: other, keys: vec![b("a")] });
    set.settle().await;
    assert!(waiting.is_finished());
}

#[tokio::test]
async fn a_lock_that_its_transactions_end_has_overtaken_is_refused() {
    let set = TestSet::new();
    set.ask(Operation::Unlock { txn: id(1) }).await.unwrap();
    assert_eq!(set.ask(lock(1, &["k"])).await, Err(Failure::Refused(Refusal::Aborted)));
    set.send_from(gateway(1, 1, 5), Operation::Heartbeat);
    set.settle().await;
    assert_eq!(set.ask(lock(4, &["k"])).await, Err(Failure::Refused(Refusal::Forgotten)));
    assert_eq!(set.element.status().locking, 0);
}

#[tokio::test]
async fn a_watermark_drops_older_locks() {
    let set = TestSet::new();
    set.ask(lock(1, &["a"])).await.unwrap();
    set.ask(lock(7, &["b"])).await.unwrap();
    set.send_from(gateway(1, 1, 5), Operation::Heartbeat);
    set.settle().await;
    assert_eq!(set.element.status().locking, 1);
}

#[tokio::test]
async fn shared_locks_refuse_writers_until_they_end() {
    let set = TestSet::new();
    let spans = vec![Span::range(b("a"), b("m"))];
    set.ask(Operation::LockShared { patience: patience(Some(1)), spans }).await.unwrap();
    assert!(is_conflict(&set.ask(commit(1, 2, Timestamp::ZERO, &[], &[("k", Some("v"))])).await));
    assert!(set.ask(commit(1, 3, Timestamp::ZERO, &[], &[("z", Some("v"))])).await.is_ok());
    set.ask(Operation::Unlock { txn: id(1) }).await.unwrap();
    assert!(set.ask(commit(1, 4, Timestamp::ZERO, &[], &[("k", Some("v"))])).await.is_ok());
}

#[tokio::test]
async fn who_waits_for_a_lock_is_told_when_leadership_is_lost() {
    let set = TestSet::new();
    set.ask(lock(1, &["a"])).await.unwrap();
    let waiting = set.send(lock(2, &["a"]));
    set.settle().await;
    set.lead(2);
    set.advance(10);
    set.settle().await;
    assert_eq!(waiting.await.unwrap().result, Err(Failure::NotLeader { hint: None }));
}
