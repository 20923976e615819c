//! Tests of the shared log: order, durability, what survives an end at any moment, and what damage looks like.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use openraft::EntryPayload;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use parking_lot::{Condvar, Mutex};
use rocksdb::DB;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::store::entry_key;
use super::{GroupLog, LogOptions, LogStore};
use crate::codec::{log_id, put_entry};
use crate::types::{Batch, GroupId, RaftEntry, RaftVote, Types};

const ONE: GroupId = GroupId { database: 1, set: 1 };

fn entry(term: u64, index: u64, bytes: usize) -> RaftEntry {
    let commands = vec![Bytes::from(index.to_be_bytes().to_vec()), Bytes::from(vec![term as u8; bytes])];
    RaftEntry { log_id: log_id(term, index), payload: EntryPayload::Normal(Batch { commands }) }
}

fn entries(term: u64, indexes: std::ops::Range<u64>) -> Vec<RaftEntry> {
    indexes.map(|index| entry(term, index, 100)).collect()
}

type Flushed = oneshot::Receiver<Result<(), std::io::Error>>;

/// Appends without waiting for the disk.
async fn submit(log: &mut GroupLog, entries: Vec<RaftEntry>) -> Flushed {
    let (done, flushed) = Types::oneshot();
    log.append(entries, IOFlushed::signal(done)).await.unwrap();
    flushed
}

async fn append(log: &mut GroupLog, entries: Vec<RaftEntry>) {
    submit(log, entries).await.await.unwrap().unwrap();
}

async fn all(log: &mut GroupLog) -> Vec<RaftEntry> {
    log.try_get_log_entries(..).await.unwrap()
}

fn open(path: &Path) -> Arc<LogStore> {
    LogStore::open(path, LogOptions::default()).unwrap()
}

fn temporary() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    (directory, path)
}

/// What a process that is killed at this moment leaves behind.
fn killed(path: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for file in std::fs::read_dir(path).unwrap() {
        let file = file.unwrap();
        if file.file_name() != "LOCK" {
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
    }
}

/// Where writers of gated stores stop before their next write while a test keeps it closed.
struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
    arrived: AtomicU64,
}

static GATE: Gate = Gate { closed: Mutex::new(false), opened: Condvar::new(), arrived: AtomicU64::new(0) };

/// There is one gate, so its tests run one after the other.
static GATE_IN_USE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

struct Closed;

impl Drop for Closed {
    fn drop(&mut self) {
        *GATE.closed.lock() = false;
        GATE.opened.notify_all();
    }
}

fn stop_at_gate() {
    GATE.arrived.fetch_add(1, Ordering::SeqCst);
    let mut closed = GATE.closed.lock();
    GATE.opened.wait_while(&mut closed, |closed| *closed);
}

fn gated(path: &Path) -> Arc<LogStore> {
    LogStore::open(path, LogOptions { before_sync: Some(stop_at_gate), ..LogOptions::default() }).unwrap()
}

/// Closes the gate and waits until the writer stands before it, so that everything submitted from now on waits together.
async fn close_gate(log: &mut GroupLog) -> (Closed, Flushed) {
    let before = GATE.arrived.load(Ordering::SeqCst);
    *GATE.closed.lock() = true;
    let closed = Closed;
    let flushed = submit(log, Vec::new()).await;
    while GATE.arrived.load(Ordering::SeqCst) == before {
        tokio::task::yield_now().await;
    }
    (closed, flushed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_that_wait_together_share_one_fsync() {
    let _alone = GATE_IN_USE.lock().await;
    let (_guard, path) = temporary();
    let store = gated(&path);
    let mut logs: Vec<GroupLog> = (1..=8).map(|set| store.group(GroupId { database: 1, set }).unwrap()).collect();
    let (closed, first) = close_gate(&mut logs[0]).await;
    let before = store.syncs();
    let mut flushed = vec![first];
    for log in &mut logs {
        flushed.push(submit(log, entries(1, 0..3)).await);
        flushed.push(submit(log, entries(1, 3..5)).await);
    }
    drop(closed);
    for flushed in flushed {
        flushed.await.unwrap().unwrap();
    }
    assert_eq!(store.syncs() - before, 2, "one write was under way, and one took everything else");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callbacks_come_in_order_and_only_after_the_fsync() {
    let _alone = GATE_IN_USE.lock().await;
    let (_guard, path) = temporary();
    let store = gated(&path);
    let mut log = store.group(ONE).unwrap();
    let (closed, _first) = close_gate(&mut log).await;
    let mut flushed = Vec::new();
    for index in 0..10 {
        flushed.push(submit(&mut log, entries(1, index..index + 1)).await);
    }
    assert!(flushed.iter_mut().all(|f| f.try_recv().is_err()), "nobody is told before the fsync");
    assert_eq!(all(&mut log).await, entries(1, 0..10), "entries are readable before they are on disk");
    drop(closed);
    flushed.pop().unwrap().await.unwrap().unwrap();
    assert!(flushed.iter_mut().all(|f| f.try_recv().is_ok()), "the last is told last");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vote_is_durable_with_all_before_it_when_it_returns() {
    let _alone = GATE_IN_USE.lock().await;
    let (guard, path) = temporary();
    let store = gated(&path);
    let mut log = store.group(ONE).unwrap();
    let (closed, _first) = close_gate(&mut log).await;
    let mut flushed = submit(&mut log, entries(1, 0..3)).await;
    let mut voting = log.clone();
    let vote = RaftVote::new(7, 3);
    let saved = tokio::spawn(async move { voting.save_vote(&vote).await });
    while log.issued_vote().is_none() {
        tokio::task::yield_now().await;
    }
    assert!(!saved.is_finished(), "a vote waits for the fsync");
    drop(closed);
    saved.await.unwrap().unwrap();
    assert!(flushed.try_recv().is_ok());
    let image = guard.path().join("killed");
    killed(&path, &image);
    let mut left = open(&image).group(ONE).unwrap();
    assert_eq!(left.read_vote().await.unwrap(), Some(vote));
    assert_eq!(all(&mut left).await, entries(1, 0..3));
}

#[tokio::test]
async fn what_was_flushed_survives_a_kill() {
    let (guard, path) = temporary();
    let store = open(&path);
    let (mut log, mut other) = (store.group(ONE).unwrap(), store.group(GroupId::MANAGEMENT).unwrap());
    append(&mut log, entries(1, 0..50)).await;
    append(&mut other, entries(4, 0..5)).await;
    log.truncate_after(Some(log_id(1, 29))).await.unwrap();
    append(&mut log, entries(2, 30..40)).await;
    log.purge(log_id(1, 9)).await.unwrap();
    log.save_vote(&RaftVote::new_committed(2, 1)).await.unwrap();
    let image = guard.path().join("killed");
    killed(&path, &image);

    let store = open(&image);
    let (mut log, mut other) = (store.group(ONE).unwrap(), store.group(GroupId::MANAGEMENT).unwrap());
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(1, 9)), Some(log_id(2, 39))));
    let expected: Vec<RaftEntry> = entries(1, 10..30).into_iter().chain(entries(2, 30..40)).collect();
    assert_eq!(all(&mut log).await, expected);
    assert_eq!(log.read_vote().await.unwrap(), Some(RaftVote::new_committed(2, 1)));
    assert_eq!(all(&mut other).await, entries(4, 0..5));
    assert_eq!(other.read_vote().await.unwrap(), None);
    append(&mut log, entries(2, 40..42)).await;
    assert_eq!(log.last_index(), Some(41));
}

/// The WAL with the newest name.
fn last_wal(path: &Path) -> PathBuf {
    let files = std::fs::read_dir(path).unwrap().map(|f| f.unwrap().path());
    files.filter(|f| f.extension().is_some_and(|e| e == "log")).max().unwrap()
}

#[tokio::test]
async fn a_torn_end_is_cut_off_and_damage_before_the_end_is_an_error() {
    let (guard, path) = temporary();
    let store = open(&path);
    let mut log = store.group(ONE).unwrap();
    for index in 0..20 {
        append(&mut log, entries(1, index..index + 1)).await;
    }
    let torn = guard.path().join("torn");
    killed(&path, &torn);
    let wal = last_wal(&torn);
    let length = std::fs::metadata(&wal).unwrap().len();
    std::fs::OpenOptions::new().write(true).open(&wal).unwrap().set_len(length - 5).unwrap();
    let mut left = open(&torn).group(ONE).unwrap();
    assert_eq!(all(&mut left).await, entries(1, 0..19), "only the torn write is missing");

    let damaged = guard.path().join("damaged");
    killed(&path, &damaged);
    let wal = last_wal(&damaged);
    let mut bytes = std::fs::read(&wal).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(&wal, bytes).unwrap();
    let error = LogStore::open(&damaged, LogOptions::default()).err().expect("damage is noticed").to_string();
    assert!(error.contains(damaged.to_str().unwrap()), "{error}");
}

/// Changes a closed log behind its back.
fn tamper(path: &Path, change: impl FnOnce(&DB)) {
    let db = DB::open_default(path).unwrap();
    change(&db);
    db.flush().unwrap();
}

#[tokio::test]
async fn a_damaged_entry_is_named() {
    let (_guard, path) = temporary();
    append(&mut open(&path).group(ONE).unwrap(), entries(1, 0..9)).await;
    let damage = |db: &DB, index: u64| {
        let mut value = db.get(entry_key(ONE, index)).unwrap().unwrap();
        value[30] ^= 1;
        db.put(entry_key(ONE, index), value).unwrap();
    };
    tamper(&path, |db| damage(db, 3));
    let mut log = open(&path).group(ONE).unwrap();
    let error = log.try_get_log_entries(..).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    let named = format!("{}: log of database 1 replica set 1: entry 3: ", path.display());
    assert!(error.to_string().starts_with(&named), "{error}");
    assert_eq!(log.try_get_log_entries(4..).await.unwrap(), entries(1, 4..9), "the others are readable");
    drop(log);

    tamper(&path, |db| damage(db, 8));
    let error = open(&path).group(ONE).err().expect("the last entry is read when a group is opened").to_string();
    assert!(error.contains("entry 8: "), "{error}");
}

#[tokio::test]
async fn an_entry_in_the_place_of_another_is_noticed() {
    let (_guard, path) = temporary();
    append(&mut open(&path).group(ONE).unwrap(), entries(1, 0..9)).await;
    tamper(&path, |db| {
        let other = db.get(entry_key(ONE, 5)).unwrap().unwrap();
        db.put(entry_key(ONE, 4), other).unwrap();
    });
    let error = open(&path).group(ONE).unwrap().try_get_log_entries(..).await.unwrap_err().to_string();
    assert!(error.contains("entry 4: holds entry 5"), "{error}");
}

#[tokio::test]
async fn a_hole_is_an_error() {
    let (_guard, path) = temporary();
    append(&mut open(&path).group(ONE).unwrap(), entries(1, 0..9)).await;
    tamper(&path, |db| db.delete(entry_key(ONE, 4)).unwrap());
    let mut log = open(&path).group(ONE).unwrap();
    let error = log.try_get_log_entries(2..7).await.unwrap_err().to_string();
    assert!(error.contains("entry 4: is missing"), "{error}");
    assert!(log.try_get_log_entries(4..7).await.is_err(), "at the beginning of a range too");
    drop(log);
    tamper(&path, |db| db.delete(entry_key(ONE, 0)).unwrap());
    let error = open(&path).group(ONE).err().expect("the first entry must be there").to_string();
    assert!(error.contains("entry 0: is missing"), "{error}");
}

#[tokio::test]
async fn what_a_cut_purge_leaves_is_not_visible_and_goes_at_open() {
    let (_guard, path) = temporary();
    {
        let store = open(&path);
        let mut log = store.group(ONE).unwrap();
        append(&mut log, entries(1, 0..20)).await;
        log.purge(log_id(1, 11)).await.unwrap();
    }
    let left = |db: &DB| (0..20).filter(|i| db.get(entry_key(ONE, *i)).unwrap().is_some()).collect::<Vec<u64>>();
    tamper(&path, |db| {
        assert_eq!(left(db), (12..20).collect::<Vec<u64>>(), "a purge deletes");
        for index in 3..12 {
            let mut form = bytes::BytesMut::new();
            put_entry(&entry(1, index, 100), &mut form);
            db.put(entry_key(ONE, index), form).unwrap();
        }
    });
    {
        let store = open(&path);
        let mut log = store.group(ONE).unwrap();
        assert_eq!(all(&mut log).await, entries(1, 12..20));
        assert_eq!(log.purged_index(), Some(11));
    }
    tamper(&path, |db| assert_eq!(left(db), (12..20).collect::<Vec<u64>>()));
}

#[tokio::test]
async fn a_purge_may_reach_beyond_the_last_entry() {
    let (guard, path) = temporary();
    let store = open(&path);
    let mut log = store.group(ONE).unwrap();
    append(&mut log, entries(1, 0..5)).await;
    log.purge(log_id(3, 99)).await.unwrap();
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(3, 99)), Some(log_id(3, 99))));
    assert_eq!(all(&mut log).await, []);
    append(&mut log, entries(3, 100..103)).await;
    assert_eq!(all(&mut log).await, entries(3, 100..103));
    let image = guard.path().join("killed");
    killed(&path, &image);
    assert_eq!(all(&mut open(&image).group(ONE).unwrap()).await, entries(3, 100..103));
}

#[tokio::test]
async fn replication_gets_nothing_rather_than_something_else_from_below_the_purge_mark() {
    let (_guard, path) = temporary();
    let store = open(&path);
    let mut log = store.group(ONE).unwrap();
    append(&mut log, entries(1, 0..20)).await;
    log.purge(log_id(1, 9)).await.unwrap();
    assert_eq!(log.limited_get_log_entries(9, 15).await.unwrap(), []);
    assert_eq!(log.limited_get_log_entries(10, 15).await.unwrap(), entries(1, 10..15));
    assert_eq!(log.try_get_log_entries(5..15).await.unwrap(), entries(1, 10..15));
}

#[tokio::test]
async fn reads_are_the_same_from_memory_and_disk() {
    let (_guard, path) = temporary();
    // About every second entry fits into the tail.
    let store = LogStore::open(&path, LogOptions { tail_bytes: 2000, ..LogOptions::default() }).unwrap();
    let mut log = store.group(ONE).unwrap();
    for start in (0..40).step_by(4) {
        append(&mut log, entries(1, start..start + 4)).await;
    }
    for start in 0..40 {
        for end in start..=40 {
            assert_eq!(log.try_get_log_entries(start..end).await.unwrap(), entries(1, start..end));
        }
    }
    let read: Vec<RaftEntry> = log.entries_stream(7..33).await.map(Result::unwrap).collect().await;
    assert_eq!(read, entries(1, 7..33));
    assert_eq!(log.try_get_log_entries(38..99).await.unwrap(), entries(1, 38..40));
}

#[tokio::test]
async fn long_ranges_come_in_pieces() {
    let (_guard, path) = temporary();
    let store = LogStore::open(&path, LogOptions { tail_bytes: 1 << 20, ..LogOptions::default() }).unwrap();
    let mut log = store.group(ONE).unwrap();
    let large: Vec<RaftEntry> = (0..50).map(|index| entry(1, index, 100_000)).collect();
    append(&mut log, large.clone()).await;
    let piece = log.limited_get_log_entries(0, 50).await.unwrap();
    assert!((10..=11).contains(&piece.len()), "about a megabyte, not {} entries", piece.len());
    assert_eq!(piece, large[..piece.len()]);
    let read: Vec<RaftEntry> = log.entries_stream(0..50).await.map(Result::unwrap).collect().await;
    assert_eq!(read, large);
    let huge = entry(1, 50, 5 << 20);
    append(&mut log, vec![huge.clone()]).await;
    assert_eq!(log.limited_get_log_entries(50, 51).await.unwrap(), [huge], "one entry is always whole");
}

#[tokio::test]
async fn truncated_entries_do_not_come_back() {
    let (guard, path) = temporary();
    let store = LogStore::open(&path, LogOptions { tail_bytes: 500, ..LogOptions::default() }).unwrap();
    let mut log = store.group(ONE).unwrap();
    for round in 0..6u64 {
        // Not waiting for the flush: the cut comes while the append is under way.
        let flushed = submit(&mut log, entries(2 * round + 1, 10 * round..10 * round + 20)).await;
        log.truncate_after(Some(log_id(2 * round + 1, 10 * round + 9))).await.unwrap();
        flushed.await.unwrap().unwrap();
        assert_eq!(log.last_index(), Some(10 * round + 9));
    }
    let expected: Vec<RaftEntry> =
        (0..6).flat_map(|round| entries(2 * round + 1, 10 * round..10 * round + 10)).collect();
    assert_eq!(all(&mut log).await, expected);
    let image = guard.path().join("killed");
    killed(&path, &image);
    assert_eq!(all(&mut open(&image).group(ONE).unwrap()).await, expected);
    log.truncate_after(None).await.unwrap();
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, None);
    assert_eq!(all(&mut log).await, []);
}

#[tokio::test]
async fn a_removed_group_leaves_nothing_and_others_stay() {
    let (_guard, path) = temporary();
    let store = open(&path);
    let ids: BTreeSet<GroupId> = (1..=3).map(|set| GroupId { database: 2, set }).collect();
    for id in &ids {
        let mut log = store.group(*id).unwrap();
        append(&mut log, entries(5, 0..10)).await;
        log.save_vote(&RaftVote::new(5, 1)).await.unwrap();
    }
    let removed = GroupId { database: 2, set: 2 };
    // What is still in the queue must not come after the removal.
    let mut last_words = store.group(removed).unwrap();
    drop(submit(&mut last_words, entries(5, 10..500)).await);
    drop(last_words);
    store.remove_group(removed).unwrap();
    for id in ids {
        let mut log = store.group(id).unwrap();
        let (count, vote) = if id == removed { (0, None) } else { (10, Some(RaftVote::new(5, 1))) };
        assert_eq!(all(&mut log).await, entries(5, 0..count));
        assert_eq!(log.read_vote().await.unwrap(), vote);
    }
    let mut log = store.group(removed).unwrap();
    append(&mut log, entries(1, 0..2)).await;
    drop((log, store));
    assert_eq!(all(&mut open(&path).group(removed).unwrap()).await, entries(1, 0..2));
}

#[tokio::test]
async fn another_format_is_refused_by_name() {
    let (_guard, path) = temporary();
    drop(open(&path));
    tamper(&path, |db| db.put("format", "quorate log 9").unwrap());
    let error = LogStore::open(&path, LogOptions::default()).err().expect("refused").to_string();
    assert!(error.contains("quorate log 9") && error.contains(path.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn the_tail_keeps_no_more_memory_than_its_entries_have() {
    let (_guard, path) = temporary();
    let store = open(&path);
    let mut log = store.group(ONE).unwrap();
    let buffer = Bytes::from(vec![7; 1 << 20]);
    let small = Batch { commands: vec![buffer.slice(5..25)] };
    append(&mut log, vec![RaftEntry { log_id: log_id(1, 0), payload: EntryPayload::Normal(small) }]).await;
    assert!(buffer.is_unique(), "the network's buffer is free again");
}
