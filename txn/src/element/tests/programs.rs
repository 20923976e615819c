//! Scans with programs: what comes out, where pages end, and what an error means for the page.

use super::*;
use crate::traits::{Programs, RowProgram};

/// A program that keeps the keys of rows whose value does not begin with `-`, fails on `!`, and ends its page with `.`. Bytes say how many rows it met.
struct Keep;

struct Kept {
    keys: Vec<u8>,
}

impl Programs for Keep {
    fn begin(&self, program: &[u8]) -> Result<Box<dyn RowProgram>, Bytes> {
        if program == b"keep" { Ok(Box::new(Kept { keys: Vec::new() })) } else { Err(b("no program")) }
    }
}

impl RowProgram for Kept {
    fn row(&mut self, key: &[u8], value: &[u8]) -> Result<bool, Bytes> {
        match value {
            b"!" => Err(b("wrong")),
            b"-" => Ok(false),
            other => {
                self.keys.extend_from_slice(key);
                Ok(other == b".")
            }
        }
    }

    fn finish(self: Box<Self>) -> Result<Bytes, Bytes> {
        Ok(self.keys.into())
    }
}

type Answer = (Result<Bytes, Bytes>, Option<Bytes>);

async fn run(set: &TestSet, start: &'static str, end: &'static str, reverse: bool, rows_max: u32) -> Answer {
    let program = Some(b("keep"));
    let read = ReadOp::Scan { start: b(start), end: b(end), reverse, rows_max, bytes_max: 1 << 20, program };
    let operation = Operation::Read { at: None, proof: false, patience: patience(None), reads: vec![read] };
    match set.ask(operation).await {
        Ok(Reply::Read { mut results, .. }) => match results.remove(0) {
            ReadResult::Output { result, resume } => (result, resume),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

async fn filled(rows: &[(&'static str, &'static str)]) -> TestSet {
    let set = TestSet::with(1, &Arc::default(), Options { programs: Arc::new(Keep), ..options() });
    for (n, (key, value)) in (1..).zip(rows.iter()) {
        set.put(n, key, value).await;
    }
    set
}

#[tokio::test]
async fn a_program_that_keeps_nothing_still_comes_to_the_end_page_by_page() {
    let set = filled(&[("a", "-"), ("b", "-"), ("c", "-"), ("d", "x")]).await;
    assert_eq!(run(&set, "a", "z", false, 2).await, (Ok(b("")), Some(b("b\0"))));
    assert_eq!(run(&set, "b\0", "z", false, 2).await, (Ok(b("d")), Some(b("d\0"))));
    assert_eq!(run(&set, "d\0", "z", false, 2).await, (Ok(b("")), None));
    assert_eq!(run(&set, "a", "z", true, 3).await, (Ok(b("d")), Some(b("b"))));
}

#[tokio::test]
async fn a_program_ends_its_page_when_it_has_enough() {
    let set = filled(&[("a", "x"), ("b", "."), ("c", "x")]).await;
    assert_eq!(run(&set, "a", "z", false, 10).await, (Ok(b("ab")), Some(b("b\0"))));
}

#[tokio::test]
async fn a_row_that_fails_is_reported_when_the_scan_has_come_to_it() {
    let set = filled(&[("a", "x"), ("b", "!"), ("c", "x")]).await;
    assert_eq!(run(&set, "a", "z", false, 10).await, (Ok(b("a")), Some(b("b"))));
    assert_eq!(run(&set, "b", "z", false, 10).await, (Err(b("wrong")), Some(b("b\0"))));
    assert_eq!(run(&set, "a", "z", true, 10).await, (Ok(b("c")), Some(b("b\0"))));
    assert_eq!(run(&set, "a", "b\0", true, 10).await, (Err(b("wrong")), Some(b("b"))));
}

#[tokio::test]
async fn an_intent_in_what_a_program_has_met_is_waited_for_also_if_it_failed() {
    let set = filled(&[("b", "!")]).await;
    let prepared = match set.ask(prepare(1, 9, Timestamp::ZERO, &[], &[("b", Some("x"))])).await {
        Ok(Reply::Prepared(at)) => at,
        other => panic!("{other:?}"),
    };
    let (snapshot, _) = set.snapshot().await;
    assert!(snapshot >= prepared);
    let program = Some(b("keep"));
    let read = ReadOp::Scan { start: b("a"), end: b("z"), reverse: false, rows_max: 9, bytes_max: 1 << 20, program };
    let reads = vec![read];
    let reading = set.send(Operation::Read { at: Some(snapshot), proof: false, patience: patience(None), reads });
    set.settle().await;
    assert!(!reading.is_finished(), "the row may be another one");
    set.ask(Operation::Resolve { txn: id(9), outcome: crate::protocol::Outcome::Committed(prepared) }).await.unwrap();
    set.settle().await;
    assert!(reading.is_finished());
}
