//! Apply: the same on every replica and at every replay.

use super::*;
use crate::command::{Applied, Command, Logged, Upkeep};
use crate::protocol::Outcome;
use crate::store::record::{LoggedWrite, PrepareRecord};

fn logged(at: u64, command: Command) -> Bytes {
    Logged { term: 1, at: Timestamp(at), command }.encode()
}

fn write(key: &str, value: Option<&str>) -> LoggedWrite {
    let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
    LoggedWrite { key: Bytes::copy_from_slice(key.as_bytes()), value }
}

fn record(at: u64, key: &str, value: &str, staged: u32) -> PrepareRecord {
    let writes = vec![write(key, Some(value))];
    PrepareRecord { at: Timestamp(at), participants: vec![1, 2], reads: Vec::new(), writes, staged }
}

/// A log in which everything happens, several commands an entry.
fn history() -> Vec<AppliedEntry> {
    let committed = |at| Outcome::Committed(Timestamp(at));
    let large = |batch| Command::Stage {
        txn: id(50),
        batch,
        writes: (0..200).map(|n| write(&format!("s{}", n * 2 + batch), Some("staged"))).collect(),
    };
    let mut closing = record(160, "s7", "not staged", 2);
    closing.writes.push(write("a", None));
    let commands = vec![
        vec![
            logged(10, Command::Commit { txn: id(1), writes: vec![write("a", Some("1")), write("b", Some("1"))] }),
            logged(11, Command::Commit { txn: id(2), writes: vec![write("a", Some("2"))] }),
            logged(12, Command::Commit { txn: id(2), writes: vec![write("a", Some("again"))] }),
        ],
        vec![logged(20, Command::Prepare { txn: id(3), record: record(20, "c", "3", 0) }), logged(21, large(0))],
        vec![
            logged(30, Command::Resolve { txn: id(3), outcome: committed(25) }),
            logged(31, Command::Prepare { txn: id(4), record: record(31, "d", "4", 0) }),
            logged(32, Command::Resolve { txn: id(4), outcome: Outcome::Aborted }),
            logged(33, Command::Refuse { txn: id(5) }),
            logged(34, Command::Prepare { txn: id(5), record: record(34, "e", "5", 0) }),
        ],
        vec![logged(
            100,
            Command::Upkeep(Upkeep { horizon: Timestamp(1000), garbage: Timestamp(15), ..Upkeep::default() }),
        )],
        vec![
            logged(150, large(1)),
            logged(160, Command::Prepare { txn: id(50), record: closing }),
            logged(161, Command::Commit { txn: id(6), writes: vec![write("b", None)] }),
            logged(170, Command::Resolve { txn: id(50), outcome: committed(165) }),
            logged(180, Command::Commit { txn: id(7), writes: vec![write("s8", Some("after"))] }),
        ],
        vec![logged(200, Command::Checkpoint { nonce: 7 })],
    ];
    let numbered = commands.into_iter().enumerate();
    numbered.map(|(n, commands)| AppliedEntry { index: n as u64 + 1, term: 1, commands }).collect()
}

fn time() -> Arc<TestTime> {
    Arc::new(TestTime { physical: AtomicU64::new(START_MS), monotonic: AtomicU64::new(0) })
}

fn state(index: u64) -> Bytes {
    Bytes::copy_from_slice(&index.to_be_bytes())
}

#[test]
fn replicas_agree_however_the_log_is_cut_into_calls() {
    let history = history();
    let mut seen = Vec::new();
    for calls in [1, 2, 6] {
        let element = open(1, &MemoryDisk::new(), &time(), &options());
        let mut replies = Vec::new();
        for chunk in history.chunks(history.len().div_ceil(calls)) {
            replies.extend(element.apply(chunk, state(chunk.last().unwrap().index)).unwrap());
        }
        seen.push((replies, element.verify_hash(7).unwrap()));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
    let (replies, hash) = &seen[0];
    let reply = |entry: usize, command: usize| Applied::decode(replies[entry][command].clone()).unwrap();
    assert_eq!(reply(0, 2), Applied::Ended(Outcome::Committed(Timestamp(11))), "executed once");
    assert_eq!(reply(2, 4), Applied::Ended(Outcome::Aborted), "a late prepare is refused");
    assert_eq!(reply(4, 1), Applied::Prepared(Timestamp(160)));
    assert_eq!(hash.rows, 401, "a and b are deleted, c and 400 staged keys are there");
    assert_eq!(hash.index, 5);
}

#[test]
fn a_replay_from_any_flush_ends_in_the_same_state() {
    let history = history();
    let whole = open(1, &MemoryDisk::new(), &time(), &options());
    whole.apply(&history, state(6)).unwrap();
    for flushed in 0..history.len() {
        let disk = MemoryDisk::new();
        let first = open(1, &disk, &time(), &options());
        first.apply(&history[..flushed], state(flushed as u64)).unwrap();
        assert_eq!(first.flush().unwrap(), Some(state(flushed as u64)));
        // More is applied, and lost with the process.
        first.apply(&history[flushed..], state(6)).unwrap();
        let second = open(1, &disk, &time(), &options());
        assert_eq!(second.flushed_state(), Some(state(flushed as u64)));
        assert_eq!(second.applied(), flushed as u64);
        second.apply(&history[flushed..], state(6)).unwrap();
        assert_eq!(second.verify_hash(7), whole.verify_hash(7), "flushed after {flushed}");
    }
}

/// A store may be flushed in the middle of a large transaction's outcome: the log is then replayed over the half of it.
#[test]
fn a_replay_completes_an_outcome_that_was_half_installed() {
    let history = history();
    let whole = open(1, &MemoryDisk::new(), &time(), &options());
    whole.apply(&history, state(6)).unwrap();
    let disk = MemoryDisk::new();
    let first = open(1, &disk, &time(), &options());
    first.apply(&history[..4], state(4)).unwrap();
    first.flush().unwrap();
    // What the installation has written when it is half done: the commands before it, and some of its rows.
    let half = AppliedEntry { commands: history[4].commands[..3].to_vec(), ..history[4].clone() };
    first.apply(&[half], state(5)).unwrap();
    {
        let mut replicated = first.replicated.lock();
        (replicated.applied, replicated.partial) = (4, 3);
        let mut batch = crate::store::kv::Batch::default();
        batch.put_position(&replicated);
        batch.put_raft_state(state(4));
        let (prepare, commit, outcome) = (Timestamp(160), Timestamp(165), Timestamp(170));
        let head = crate::store::record::VersionHead { prepare, commit, outcome, txn: id(50), deleted: false };
        for key in ["s0", "s1", "s10"] {
            batch.put(crate::store::kv::Family::Rows, Bytes::from(key), head.encode(Some(b"staged")));
            batch.delete(crate::store::kv::Family::Staged, Bytes::from(key));
        }
        first.store.write(batch).unwrap();
    }
    first.store.kv().flush().unwrap();
    let second = open(1, &disk, &time(), &options());
    assert_eq!(second.flushed_state(), Some(state(4)));
    second.apply(&history[4..], state(6)).unwrap();
    assert_eq!(second.verify_hash(7), whole.verify_hash(7));
}

#[test]
fn a_log_whose_timestamps_do_not_rise_is_not_followed() {
    let element = open(1, &MemoryDisk::new(), &time(), &options());
    let commands = vec![
        logged(10, Command::Commit { txn: id(1), writes: vec![write("a", Some("1"))] }),
        logged(10, Command::Commit { txn: id(2), writes: vec![write("a", Some("2"))] }),
    ];
    let error = element.apply(&[AppliedEntry { index: 1, term: 1, commands }], Bytes::new()).unwrap_err();
    assert!(error.to_string().contains("log entry 1"), "{error}");
    let commands = vec![Bytes::from_static(b"\x01garbage")];
    let error = element.apply(&[AppliedEntry { index: 2, term: 1, commands }], Bytes::new()).unwrap_err();
    assert!(error.to_string().contains("log entry 2"), "{error}");
}
