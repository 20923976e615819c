//! Large transactions: staged writes are invisible until prepared, exclusive from the start, and gone when the transaction ends.

use super::*;
use crate::protocol::Outcome;

fn stage(term: Term, txn: u64, batch: u32, writes: Vec<Write>) -> Operation {
    Operation::Stage { term, txn: id(txn), batch, writes }
}

fn close(term: Term, txn: u64, staged: u32) -> Operation {
    Operation::Prepare {
        term,
        txn: id(txn),
        snapshot: Timestamp::ZERO,
        reads: Vec::new(),
        writes: Vec::new(),
        staged,
        participants: vec![1],
    }
}

fn commit_at(txn: u64, at: Timestamp) -> Operation {
    Operation::Resolve { txn: id(txn), outcome: Outcome::Committed(at) }
}

fn scan(at: Option<Timestamp>, own: Option<u64>, rows_max: u32, reverse: bool) -> Operation {
    let read = ReadOp::Scan { start: b("a"), end: b("z"), reverse, rows_max, bytes_max: 1 << 20, program: None };
    Operation::Read { at, proof: false, patience: patience(own), reads: vec![read] }
}

async fn keys(set: &TestSet, operation: Operation) -> (Vec<Bytes>, Option<Bytes>) {
    match set.ask(operation).await {
        Ok(Reply::Read { mut results, .. }) => match results.remove(0) {
            ReadResult::Page { rows, resume } => (rows.into_iter().map(|(key, _)| key).collect(), resume),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn prepared(result: Result<Reply, Failure>) -> Timestamp {
    match result {
        Ok(Reply::Prepared(at)) => at,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn staged_writes_become_visible_together_and_only_with_their_outcome() {
    let set = TestSet::new();
    set.put(1, "b", "old").await;
    set.put(2, "d", "old").await;
    set.ask(stage(1, 3, 0, writes(&[("b", Some("new")), ("c", Some("new"))]))).await.unwrap();
    set.ask(stage(1, 3, 1, writes(&[("d", None), ("c", Some("newer"))]))).await.unwrap();
    assert_eq!(set.get("b").await, Some(b("old")));
    assert_eq!(keys(&set, scan(None, None, 10, false)).await.0, [b("b"), b("d")]);
    // Their own transaction sees them, page by page and in both directions.
    assert_eq!(keys(&set, scan(None, Some(3), 10, false)).await, (vec![b("b"), b("c")], None));
    let (first, resume) = keys(&set, scan(None, Some(3), 1, false)).await;
    assert_eq!((first, resume), (vec![b("b")], Some(b("b\0"))));
    assert_eq!(keys(&set, scan(None, Some(3), 10, true)).await.0, [b("c"), b("b")]);
    let at = prepared(set.ask(close(1, 3, 2)).await);
    let (snapshot, _) = set.snapshot().await;
    let reading = set.send(scan(Some(snapshot), None, 10, false));
    set.settle().await;
    assert!(!reading.is_finished(), "once prepared, they are intents");
    set.ask(commit_at(3, at)).await.unwrap();
    assert_eq!(set.get("c").await, Some(b("newer")));
    assert_eq!(keys(&set, scan(None, None, 10, false)).await.0, [b("b"), b("c")]);
    assert_eq!(set.element.status().staged, 0);
    let mut left = 0;
    let all = crate::store::kv::KeyRange::default();
    set.element
        .store
        .kv()
        .scan(crate::store::kv::Family::Staged, all, &mut |_, _| {
            left += 1;
            Ok(std::ops::ControlFlow::Continue(()))
        })
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn an_own_staged_write_behind_a_full_page_comes_in_its_turn() {
    let set = TestSet::new();
    set.put(1, "b", "old").await;
    set.put(2, "d", "old").await;
    set.ask(stage(1, 3, 0, writes(&[("x", Some("new")), ("c", Some("new"))]))).await.unwrap();
    assert_eq!(keys(&set, scan(None, Some(3), 2, false)).await, (vec![b("b"), b("c")], Some(b("c\0"))));
    let all = keys(&set, scan(None, Some(3), 9, false)).await;
    assert_eq!(all, (vec![b("b"), b("c"), b("d"), b("x")], None));
    let (mut found, mut left) = (Vec::new(), true);
    let mut start = b("a");
    while left {
        let read = ReadOp::Scan { start, end: b("z"), reverse: false, rows_max: 1, bytes_max: 1 << 20, program: None };
        let one = Operation::Read { at: None, proof: false, patience: patience(Some(3)), reads: vec![read] };
        let (page, resume) = keys(&set, one).await;
        found.extend(page);
        left = resume.is_some();
        start = resume.unwrap_or_default();
    }
    assert_eq!(found, all.0);
}

#[tokio::test]
async fn staged_keys_are_exclusive_and_late_readers_are_found_at_the_prepare() {
    let set = TestSet::new();
    set.put(1, "k", "old").await;
    let (snapshot, _) = set.snapshot().await;
    set.ask(stage(1, 3, 0, writes(&[("k", Some("new")), ("x", Some("new"))]))).await.unwrap();
    assert!(is_conflict(&set.ask(commit(1, 4, Timestamp::ZERO, &[], &[("k", Some("other"))])).await));
    assert!(is_conflict(&set.ask(stage(1, 5, 0, writes(&[("k", Some("other"))]))).await));
    // Somebody reads the key and prepares: it comes before the staged transaction, which must not be stamped below it.
    set.ask(prepare(1, 6, snapshot, &["k"], &[("y", Some("v"))])).await.unwrap();
    assert!(is_conflict(&set.ask(close(1, 3, 1)).await));
    set.settle().await;
    assert_eq!(set.element.status().staged, 0, "a refused transaction leaves nothing");
    assert!(set.ask(commit(1, 7, Timestamp::ZERO, &[], &[("x", Some("other"))])).await.is_ok());
}

#[tokio::test]
async fn validation_sees_prepared_staged_writes() {
    let set = TestSet::new();
    let (snapshot, _) = set.snapshot().await;
    set.ask(stage(1, 3, 0, writes(&[("k", Some("new"))]))).await.unwrap();
    let validate = |spans| Operation::Validate { txn: None, snapshot, spans, raise_to: None, proof: true };
    assert!(set.ask(validate(spans(&["k"]))).await.is_ok());
    prepared(set.ask(close(1, 3, 1)).await);
    assert!(is_conflict(&set.ask(validate(spans(&["k"]))).await));
    assert!(is_conflict(&set.ask(validate(vec![Span::range(b("a"), b("z"))])).await));
    assert!(set.ask(validate(spans(&["l"]))).await.is_ok());
}

#[tokio::test]
async fn inserts_are_checked_against_rows_and_against_the_transactions_own_batches() {
    let set = TestSet::new();
    set.put(1, "there", "v").await;
    let duplicate = |key| Err(Failure::Refused(Refusal::Duplicate { key: b(key) }));
    assert_eq!(set.ask(stage(1, 2, 0, vec![insert("there", "v")])).await, duplicate("there"));
    set.ask(stage(1, 3, 0, vec![insert("new", "1")])).await.unwrap();
    assert_eq!(set.ask(stage(1, 3, 1, vec![insert("new", "2")])).await, duplicate("new"));
    set.settle().await;
    set.ask(stage(1, 4, 0, writes(&[("there", None)]))).await.unwrap();
    set.ask(stage(1, 4, 1, vec![insert("there", "again")])).await.unwrap();
    let at = prepared(set.ask(close(1, 4, 2)).await);
    set.ask(commit_at(4, at)).await.unwrap();
    assert_eq!(set.get("there").await, Some(b("again")));
    assert_eq!(set.get("new").await, None);
}

#[tokio::test]
async fn a_prepare_that_misses_a_batch_is_refused_and_a_repeated_batch_does_nothing() {
    let set = TestSet::new();
    set.ask(stage(1, 3, 0, writes(&[("k", Some("1"))]))).await.unwrap();
    set.ask(stage(1, 3, 0, writes(&[("k", Some("2"))]))).await.unwrap();
    assert!(matches!(
        set.ask(stage(1, 3, 2, writes(&[("m", Some("1"))]))).await,
        Err(Failure::Refused(Refusal::Limit(_)))
    ));
    set.settle().await;
    set.ask(stage(1, 4, 0, writes(&[("k", Some("4"))]))).await.unwrap();
    assert!(matches!(set.ask(close(1, 4, 2)).await, Err(Failure::Refused(Refusal::Limit(_)))));
    set.settle().await;
    assert_eq!(set.element.status().staged, 0);
    assert_eq!(set.get("k").await, None);
}

#[tokio::test]
async fn staged_writes_outlive_leaders_and_crashes_and_end_with_their_gateway() {
    let mut set = TestSet::new();
    set.ask(stage(1, 3, 0, writes(&[("k", Some("1"))]))).await.unwrap();
    set.element.flush().unwrap();
    set.ask(stage(1, 3, 1, writes(&[("l", Some("1"))]))).await.unwrap();
    set.crash(2);
    set.ask(stage(2, 3, 2, writes(&[("m", Some("1"))]))).await.unwrap();
    let at = prepared(set.ask(close(2, 3, 3)).await);
    set.ask(commit_at(3, at)).await.unwrap();
    for key in ["k", "l", "m"] {
        assert_eq!(set.get(key).await, Some(b("1")));
    }
    set.ask(stage(2, 4, 0, writes(&[("n", Some("1"))]))).await.unwrap();
    set.advance(4000);
    set.settle().await;
    assert_eq!(set.element.status().staged, 1);
    set.advance(2000);
    set.settle().await;
    assert_eq!(set.element.status().staged, 0, "the gateway was silent for too long");
    assert_eq!(set.status(4, false).await, TxnStatus::Ended(Outcome::Aborted));
}

#[tokio::test]
async fn unlock_drops_staged_writes() {
    let set = TestSet::new();
    set.ask(stage(1, 3, 0, writes(&[("k", Some("1"))]))).await.unwrap();
    set.ask(Operation::Unlock { txn: id(3) }).await.unwrap();
    assert_eq!(set.element.status().staged, 0);
    assert!(set.ask(commit(1, 4, Timestamp::ZERO, &[], &[("k", Some("2"))])).await.is_ok());
}

/// More than one chunk, beside another transaction's staged writes in the same range.
#[tokio::test]
async fn many_staged_writes_are_installed_in_chunks_and_others_stay() {
    let set = TestSet::new();
    let batch = |from: u32, to: u32, odd: u32| -> Vec<Write> {
        let key = |n: u32| Bytes::from(format!("k{:06}", n * 2 + odd));
        (from..to).map(|n| Write { key: key(n), value: Some(Bytes::from(vec![b'v'; 50])), insert: true }).collect()
    };
    set.ask(stage(1, 4, 0, batch(0, 5000, 1))).await.unwrap();
    for (number, from) in (0..20_000).step_by(5000).enumerate() {
        set.ask(stage(1, 3, number as u32, batch(from, from + 5000, 0))).await.unwrap();
    }
    let at = prepared(set.ask(close(1, 3, 4)).await);
    set.ask(commit_at(3, at)).await.unwrap();
    assert_eq!(set.hash(1).await.rows, 20_000);
    let at = prepared(set.ask(close(1, 4, 1)).await);
    set.ask(commit_at(4, at)).await.unwrap();
    assert_eq!(set.hash(2).await.rows, 25_000);
}
