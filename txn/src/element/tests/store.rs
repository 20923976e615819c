//! The store on disk: versions, what compaction drops, recovery, copies, and what is said about a damaged or foreign one.

use std::fs;
use std::path::Path;

use super::*;
use crate::command::{Command, Logged, Upkeep};
use crate::protocol::Outcome;
use crate::store::kv::{Family, KeyRange};
use crate::store::record::{LoggedWrite, PrepareRecord};
use crate::store::rocks::StoreMemory;
use crate::store::versions::{ReadAt, RowAt};
use crate::store::{Store, StoreError};
use crate::traits::NoPrograms;

fn location(path: &std::path::Path, create: bool) -> StoreLocation {
    let memory = StoreMemory::new(4 << 20, 4 << 20, 1);
    StoreLocation::Directory { path: path.to_owned(), memory, create }
}

fn element(location: &StoreLocation) -> Result<Arc<ReplicaSet>, StoreError> {
    let time = Arc::new(TestTime { physical: AtomicU64::new(START_MS), monotonic: AtomicU64::new(0) });
    ReplicaSet::open(1, location, Arc::new(Clock::new(time)), options())
}

fn entry(index: u64, at: u64, command: Command) -> AppliedEntry {
    let command = Logged { term: 1, at: Timestamp(at), command };
    AppliedEntry { index, term: 1, commands: vec![command.encode()] }
}

fn put(index: u64, at: u64, key: &'static str, value: Option<&'static str>) -> AppliedEntry {
    let writes = vec![LoggedWrite { key: b(key), value: value.map(b) }];
    entry(index, at, Command::Commit { txn: id(index), writes })
}

fn apply(element: &ReplicaSet, entries: &[AppliedEntry]) {
    let state = Bytes::copy_from_slice(&entries.last().unwrap().index.to_be_bytes());
    element.apply(entries, state).unwrap();
}

fn at(store: &Store, snapshot: u64, key: &str) -> RowAt {
    let at = ReadAt { snapshot: Timestamp(snapshot), own: None, cut: false };
    store.row_at(at, key.as_bytes()).unwrap()
}

fn count(store: &Store, family: Family) -> usize {
    let mut count = 0;
    let mut visit = |_: &[u8], _: &[u8]| {
        count += 1;
        Ok(std::ops::ControlFlow::Continue(()))
    };
    store.kv().scan(family, KeyRange::default(), &mut visit).unwrap();
    count
}

fn value(text: &'static str) -> RowAt {
    RowAt::Value(b(text))
}

/// Both kinds of store behave alike.
fn each_kind(test: impl Fn(Arc<ReplicaSet>)) {
    let dir = tempfile::tempdir().unwrap();
    test(element(&location(&dir.path().join("1"), true)).unwrap());
    test(element(&StoreLocation::Memory(MemoryDisk::new())).unwrap());
}

#[test]
fn every_version_is_found_at_its_time() {
    each_kind(|element| {
        apply(&element, &[put(1, 10, "k", Some("1")), put(2, 20, "k", None), put(3, 30, "k", Some("3"))]);
        apply(&element, &[put(4, 40, "k", Some("4")), put(5, 50, "kk", Some("other"))]);
        let store = &element.store;
        let seen: Vec<RowAt> = [9, 10, 19, 20, 30, 39, 40, 99].map(|snapshot| at(store, snapshot, "k")).into();
        let (one, three, four) = (value("1"), value("3"), value("4"));
        assert_eq!(seen, [RowAt::Absent, one.clone(), one, RowAt::Absent, three.clone(), three, four.clone(), four]);
        assert_eq!(at(store, 49, "kk"), RowAt::Absent);
    });
}

#[test]
fn scans_page_in_both_directions_at_any_snapshot() {
    each_kind(|element| {
        let mut entries = vec![put(1, 10, "a", Some("1")), put(2, 11, "b", Some("1")), put(3, 12, "c", Some("1"))];
        entries.extend([put(4, 20, "b", None), put(5, 21, "d", Some("2"))]);
        apply(&element, &entries);
        let page = |snapshot, start, end, reverse, rows_max| {
            let at = ReadAt { snapshot: Timestamp(snapshot), own: None, cut: false };
            let read = ReadOp::Scan { start: b(start), end: b(end), reverse, rows_max, bytes_max: 1000, program: None };
            match element.store.read(at, &[read], &NoPrograms).unwrap() {
                crate::protocol::ReadAnswer::Rows(mut results) => match results.remove(0) {
                    ReadResult::Page { rows, resume } => {
                        (rows.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), resume)
                    }
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(page(15, "a", "z", false, 10), (vec![b("a"), b("b"), b("c")], None));
        assert_eq!(page(30, "a", "z", false, 10), (vec![b("a"), b("c"), b("d")], None));
        assert_eq!(page(15, "a", "z", false, 2), (vec![b("a"), b("b")], Some(b("b\0"))));
        assert_eq!(page(15, "b\0", "z", false, 2), (vec![b("c")], None));
        assert_eq!(page(30, "a", "z", true, 2), (vec![b("d"), b("c")], Some(b("c"))));
        assert_eq!(page(30, "a", "c", true, 2), (vec![b("a")], None));
        assert_eq!(page(30, "c", "c", false, 2), (vec![], None));
        assert_eq!(page(30, "d", "a", false, 2), (vec![], None));
    });
}

#[test]
fn compaction_drops_what_a_durable_threshold_allows_and_nothing_else() {
    each_kind(|element| {
        let mut entries = vec![put(1, 10, "k", Some("1")), put(2, 20, "k", Some("2")), put(3, 30, "k", Some("3"))];
        entries.extend([put(4, 11, "gone", Some("1"))].map(|mut e| {
            e.commands =
                vec![Logged { term: 1, at: Timestamp(31), ..Logged::decode(e.commands[0].clone()).unwrap() }.encode()];
            e
        }));
        entries.push(put(5, 32, "gone", None));
        entries.push(put(6, 50, "kept", None));
        let upkeep = Upkeep { garbage: Timestamp(40), ..Upkeep::default() };
        entries.push(entry(7, 60, Command::Upkeep(upkeep)));
        apply(&element, &entries);
        let store = &element.store;
        store.compact().unwrap();
        assert_eq!((count(store, Family::Rows), count(store, Family::History)), (3, 3), "the threshold is not on disk");
        element.flush().unwrap();
        store.compact().unwrap();
        assert_eq!((count(store, Family::Rows), count(store, Family::History)), (2, 0));
        assert_eq!((at(store, 40, "k"), at(store, 40, "gone")), (value("3"), RowAt::Absent));
    });
}

#[test]
fn a_cut_sees_what_was_committed_at_or_below_it_and_garbage_collection_leaves_it_that() {
    each_kind(|element| {
        let writes = vec![LoggedWrite { key: b("k"), value: Some(b("new")) }];
        let record =
            PrepareRecord { at: Timestamp(20), participants: vec![1, 2], reads: Vec::new(), writes, staged: 0 };
        let outcome = Outcome::Committed(Timestamp(30));
        apply(
            &element,
            &[
                put(1, 10, "k", Some("old")),
                entry(2, 20, Command::Prepare { txn: id(2), record }),
                entry(3, 40, Command::Resolve { txn: id(2), outcome }),
                entry(4, 50, Command::Upkeep(Upkeep { garbage: Timestamp(25), ..Upkeep::default() })),
            ],
        );
        element.flush().unwrap();
        let store = &element.store;
        store.compact().unwrap();
        let cut =
            |snapshot| store.row_at(ReadAt { snapshot: Timestamp(snapshot), own: None, cut: true }, b"k").unwrap();
        assert_eq!(
            [25, 29, 30, 39, 40].map(cut),
            [value("old"), value("old"), value("new"), value("new"), value("new")]
        );
        assert_eq!(
            at(store, 39, "k"),
            RowAt::Uncertain(Timestamp(40)),
            "another snapshot does not know what came first"
        );
    });
}

/// The names and sizes of files. Files only grow, so what is the same before and after a copy was the same all the while.
fn files(of: &Path) -> std::io::Result<BTreeMap<std::ffi::OsString, u64>> {
    fs::read_dir(of)?.map(|file| file.and_then(|file| Ok((file.file_name(), file.metadata()?.len())))).collect()
}

/// What a crash at one moment would leave; false if the store changed its files in the middle, as it does in the background.
fn crash_image(from: &Path, to: &Path) -> std::io::Result<bool> {
    let before = files(from)?;
    fs::create_dir(to)?;
    for name in before.keys().filter(|name| *name != "LOCK") {
        fs::copy(from.join(name), to.join(name))?;
    }
    Ok(files(from)? == before)
}

#[test]
fn a_store_comes_back_at_its_last_flush_and_the_log_brings_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (path, crashed) = (dir.path().join("1"), dir.path().join("crashed"));
    let entries: Vec<_> = (1..=40).map(|n| put(n, n * 10, ["a", "b", "c"][n as usize % 3], Some("v"))).collect();
    let element_1 = element(&location(&path, true)).unwrap();
    apply(&element_1, &entries[..20]);
    let state = element_1.flush().unwrap();
    apply(&element_1, &entries[20..]);
    apply(&element_1, &[entry(41, 1000, Command::Checkpoint { nonce: 1 })]);
    // What is in the files now is what a crash leaves: without a write-ahead log the rest is in memory only.
    loop {
        match crash_image(&path, &crashed) {
            Ok(true) => break,
            Ok(false) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}"),
        }
        drop(fs::remove_dir_all(&crashed));
    }
    let element_2 = element(&location(&crashed, false)).unwrap();
    assert_eq!(element_2.flushed_state(), state);
    assert_eq!(element_2.applied(), 20);
    assert_eq!(at(&element_2.store, 999, "a"), at(&element_1.store, 200, "a"));
    apply(&element_2, &entries[20..]);
    apply(&element_2, &[entry(41, 1000, Command::Checkpoint { nonce: 1 })]);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while element_1.verify_hash(1).is_none() || element_2.verify_hash(1).is_none() {
        assert!(std::time::Instant::now() < deadline, "hashes are computed in the background");
        std::thread::yield_now();
    }
    assert_eq!(element_1.verify_hash(1), element_2.verify_hash(1));
    assert_eq!(element_1.verify_hash(1).unwrap().rows, 3);
}

#[test]
fn a_copy_is_a_store_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let original = element(&location(&dir.path().join("1"), true)).unwrap();
    apply(&original, &[put(1, 10, "k", Some("1"))]);
    let state = original.checkpoint(&dir.path().join("2")).unwrap();
    apply(&original, &[put(2, 20, "k", Some("2"))]);
    let copy = element(&location(&dir.path().join("2"), false)).unwrap();
    assert_eq!((copy.flushed_state(), copy.applied()), (state, 1));
    assert_eq!(at(&copy.store, 99, "k"), value("1"));
}

#[test]
fn missing_foreign_and_damaged_stores_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    assert!(matches!(element(&location(&missing, false)), Err(StoreError::Missing(path)) if path == missing));
    let foreign = dir.path().join("foreign");
    drop(rocksdb::DB::open_default(&foreign).unwrap());
    assert!(matches!(element(&location(&foreign, false)), Err(StoreError::Foreign { path, .. }) if path == foreign));
    let other = dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("file"), "x").unwrap();
    assert!(
        matches!(element(&location(&other, true)), Err(StoreError::Damaged { .. })),
        "nothing is made over other files"
    );
    let damaged = dir.path().join("damaged");
    {
        let element = element(&location(&damaged, true)).unwrap();
        apply(&element, &(1..200).map(|n| put(n, n, "k", Some("value"))).collect::<Vec<_>>());
        element.close().unwrap();
    }
    let file = fs::read_dir(&damaged).unwrap().map(|file| file.unwrap().path());
    let file = file
        .filter(|path| path.extension().is_some_and(|e| e == "sst"))
        .max_by_key(|path| fs::metadata(path).unwrap().len());
    let file = file.unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes.truncate(bytes.len() / 2);
    fs::write(&file, bytes).unwrap();
    let error = element(&location(&damaged, false)).unwrap_err().to_string();
    let name = file.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(error.contains("damaged") && error.contains(&name), "{error}");
}
