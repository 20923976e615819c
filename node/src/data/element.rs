//! One element of this instance: its store and transactions (`quorate_txn`) joined with its Raft group (`quorate_raft`).
//!
//! An element's directory holds its store in a numbered folder, and `CURRENT`, which names the folder. A copy received from the leader becomes the
//! next folder; until `CURRENT` is replaced the old one is whole, so a crash leaves one or the other.
//!
//! Damage that is found while the store is in use ends the process, as nothing that was read from it can be trusted. `DAMAGED`, which says what was found, is
//! left in the directory, so that the next start gives the element's place to a new one instead of finding the same again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use quorate_raft::{Committed, Group, MachineFailed, StateMachine};
use quorate_txn::clock::{Clock, Timestamp};
use quorate_txn::element::{Fatal, Options, ReplicaSet};
use quorate_txn::failpoint;
use quorate_txn::protocol::{LogIndex, ReadAnswer, ReadOp, SetId, Term};
use quorate_txn::store::{StoreError, StoreLocation, StoreMemory};
use quorate_txn::traits::{LocalReads, Proposal, ReplicaLog, Sets};
use tokio::sync::watch;

use super::program::SqlPrograms;
use crate::instance::directory::replace_file;

const CURRENT: &str = "CURRENT";
const DAMAGED: &str = "DAMAGED";

/// How long requests may hold a store that is being closed, and how often that is looked at.
const RELEASE_MAX: Duration = Duration::from_secs(10);
const RELEASE_LOOK: Duration = Duration::from_millis(5);

/// Why an element's store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The files that should be there are gone or damaged; only a copy from the other elements helps.
    #[error("{0}")]
    Lost(String),
    /// Anything else; trying again may help.
    #[error("{0}")]
    Failed(String),
}

/// How long transactions wait for each other.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// When the younger of two waiting transactions gives up.
    pub deadlock_timeout: Duration,
    /// How long a prepared transaction waits for its outcome before the other participants are asked.
    pub in_doubt: Duration,
}

/// An element's store and its way into the log.
pub struct Element {
    directory: PathBuf,
    set: SetId,
    clock: Arc<Clock>,
    memory: StoreMemory,
    patience: Patience,
    replica: RwLock<Arc<ReplicaSet>>,
    /// The running group, which holds this element as its machine: taken out when the element is unloaded, or neither would ever be dropped.
    group: RwLock<Option<Group>>,
    me: Weak<Element>,
    sets: OnceLock<Weak<dyn Sets>>,
    applied: watch::Sender<LogIndex>,
}

impl Element {
    /// Opens the store. `existed`: it was made before, so that missing files are lost files.
    pub fn open(
        directory: &Path,
        set: SetId,
        clock: Arc<Clock>,
        memory: StoreMemory,
        patience: Patience,
        existed: bool,
    ) -> Result<Arc<Self>, OpenError> {
        match std::fs::read_to_string(directory.join(DAMAGED)) {
            Ok(found) => return Err(OpenError::Lost(found.trim().to_owned())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(OpenError::Failed(format!("{}: {error}", directory.join(DAMAGED).display()))),
        }
        let generation = match std::fs::read_to_string(directory.join(CURRENT)) {
            Ok(text) => text.trim().parse::<u64>().map_err(|_| {
                OpenError::Lost(format!("{}: does not name a store", directory.join(CURRENT).display()))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !existed => {
                let describe = |e: &dyn std::fmt::Display| OpenError::Failed(format!("{}: {e}", directory.display()));
                std::fs::create_dir_all(directory).map_err(|e| describe(&e))?;
                // What a creation that was cut off left behind was never used.
                drop(std::fs::remove_dir_all(directory.join("1")));
                let replica = open_replica(&directory.join("1"), set, &clock, &memory, patience, true)?;
                replica.flush().map_err(|e| describe(&e))?;
                failpoint::hit("element.while_creating");
                replace_file(&directory.join(CURRENT), b"1\n").map_err(|e| describe(&format!("{e:#}")))?;
                return Ok(Self::with(directory, set, clock, memory, patience, replica));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(OpenError::Lost(format!("{} is missing", directory.join(CURRENT).display())));
            }
            Err(error) => return Err(OpenError::Failed(format!("{}: {error}", directory.join(CURRENT).display()))),
        };
        let replica = open_replica(&directory.join(generation.to_string()), set, &clock, &memory, patience, false)?;
        remove_others(directory, generation);
        Ok(Self::with(directory, set, clock, memory, patience, replica))
    }

    fn with(
        directory: &Path,
        set: SetId,
        clock: Arc<Clock>,
        memory: StoreMemory,
        patience: Patience,
        replica: Arc<ReplicaSet>,
    ) -> Arc<Self> {
        let applied = watch::channel(replica.applied()).0;
        Arc::new_cyclic(|me| Self {
            directory: directory.to_owned(),
            set,
            clock,
            memory,
            patience,
            replica: RwLock::new(replica),
            group: RwLock::new(None),
            me: me.clone(),
            sets: OnceLock::new(),
            applied,
        })
    }

    /// Joins the element with its running group and with the other sets; to be called once.
    pub fn attach(self: &Arc<Self>, group: Group, sets: &Arc<dyn Sets>) {
        let first = self.group.write().replace(group).is_none() && self.sets.set(Arc::downgrade(sets)).is_ok();
        assert!(first, "an element is attached once");
        self.join(&self.replica());
    }

    fn join(&self, replica: &Arc<ReplicaSet>) {
        if let Some(sets) = self.sets.get().and_then(Weak::upgrade) {
            replica.attach(Arc::new(Log { element: self.me.clone() }), sets);
        }
    }

    /// The element's transactions. After a copy was installed it is another one.
    pub fn replica(&self) -> Arc<ReplicaSet> {
        self.replica.read().clone()
    }

    /// The running group.
    pub fn group(&self) -> Option<Group> {
        self.group.read().clone()
    }

    /// What is missing of the store's files, if somebody removed them while it is open. RocksDB notices only when it needs another file.
    pub fn missing_files(&self) -> Option<PathBuf> {
        // Whatever else keeps a file from being read, it is not gone.
        let gone = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
        let current = self.directory.join(CURRENT);
        let generation = || std::fs::read_to_string(&current);
        let named = match generation() {
            Ok(named) => named,
            // Replaced by renaming, so that it is there at any moment.
            Err(error) => return gone(&error).then_some(current),
        };
        let store = self.directory.join(named.trim());
        let missing = std::fs::metadata(&store).is_err_and(|error| gone(&error));
        // An older store goes when a copy takes its place.
        (missing && generation().is_ok_and(|again| again == named)).then_some(store)
    }

    /// Stops the group and closes the store; the element serves nothing any more.
    pub async fn close(self: Arc<Self>) -> Result<(), MachineFailed> {
        let group = self.group.write().take();
        if let Some(group) = group {
            group.shut_down().await;
        }
        let store = Arc::downgrade(&self.replica());
        let closed = tokio::task::spawn_blocking(move || self.replica().close()).await;
        closed.map_err(|e| MachineFailed(e.to_string()))?.map_err(|e| MachineFailed(e.to_string()))?;
        // Requests under way still hold the store, which cannot be opened again before they have ended.
        let released = async {
            while store.strong_count() > 0 {
                tokio::time::sleep(RELEASE_LOOK).await;
            }
        };
        let released = tokio::time::timeout(RELEASE_MAX, released).await;
        released.map_err(|_| MachineFailed(format!("the store is still in use after {RELEASE_MAX:?}")))
    }

    /// What the group is told, which ends the process.
    fn failed(&self, fatal: &Fatal) -> MachineFailed {
        note_damage(&self.directory, fatal);
        MachineFailed(fatal.to_string())
    }

    fn open_generation(&self, generation: u64) -> Result<Arc<ReplicaSet>, OpenError> {
        let path = self.directory.join(generation.to_string());
        open_replica(&path, self.set, &self.clock, &self.memory, self.patience, false)
    }
}

fn open_replica(
    path: &Path,
    set: SetId,
    clock: &Arc<Clock>,
    memory: &StoreMemory,
    patience: Patience,
    create: bool,
) -> Result<Arc<ReplicaSet>, OpenError> {
    if !create && !path.is_dir() {
        return Err(OpenError::Lost(format!("{} is missing", path.display())));
    }
    let options = Options {
        deadlock_timeout: patience.deadlock_timeout,
        doubt_patience: patience.in_doubt,
        programs: Arc::new(SqlPrograms),
        on_fatal: {
            let directory = path.parent().map(Path::to_owned);
            Arc::new(move |fatal| {
                if let Some(directory) = &directory {
                    note_damage(directory, fatal);
                }
                quorate_raft::fatal(&fatal.to_string());
            })
        },
        ..Options::default()
    };
    let location = StoreLocation::Directory { path: path.to_owned(), memory: memory.clone(), create };
    ReplicaSet::open(set, &location, clock.clone(), options).map_err(|error| {
        if !create && is_lost(&error) {
            OpenError::Lost(error.to_string())
        } else {
            OpenError::Failed(error.to_string())
        }
    })
}

/// Whether the files are gone or are not what was written, so that only a copy from the other elements helps. Whatever else keeps a store from
/// opening, such as permissions, a full disk or another process, must not cost it its files.
fn is_lost(error: &StoreError) -> bool {
    match error {
        StoreError::Missing(_) | StoreError::Foreign { .. } | StoreError::Record { .. } => true,
        // RocksDB's own words for what it read and for what it did not find.
        StoreError::Damaged { cause, .. } => cause.contains("Corruption") || cause.contains("No such file"),
        StoreError::Version { .. } | StoreError::Unsupported(_) => false,
    }
}

/// Leaves a note of damage in the element's directory, for the next start.
fn note_damage(directory: &Path, fatal: &Fatal) {
    let Fatal::Store(error) = fatal else { return };
    if !is_lost(error) {
        return;
    }
    // If this fails too, the next start finds the damage where this one did.
    if let Err(error) = replace_file(&directory.join(DAMAGED), format!("{error}\n").as_bytes()) {
        tracing::warn!(error = format!("{error:#}"), "cannot leave a note of the damage");
    }
}

/// Whether an element was made in this directory: all of it, for what a creation that was cut off has left counts as nothing.
pub fn is_made(directory: &Path) -> bool {
    directory.join(CURRENT).exists()
}

/// Removes stores that `CURRENT` does not name.
fn remove_others(directory: &Path, generation: u64) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.parse::<u64>().ok());
        if number.is_some_and(|number| number != generation)
            && let Err(error) = std::fs::remove_dir_all(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %error, "cannot remove an old store");
        }
    }
}

impl StateMachine for Element {
    fn raft_state(&self) -> Result<Option<Bytes>, MachineFailed> {
        Ok(self.replica().raft_state())
    }

    fn apply(&self, entries: &[Committed], raft_state: Bytes) -> Result<Vec<Vec<Bytes>>, MachineFailed> {
        let entries: Vec<_> = entries
            .iter()
            .map(|entry| quorate_txn::element::AppliedEntry {
                index: entry.index,
                term: entry.term,
                commands: entry.commands.clone(),
            })
            .collect();
        let replica = self.replica();
        let apply = || replica.apply(&entries, raft_state).map_err(|fatal| self.failed(&fatal));
        // The outcome of a large transaction installs its rows, which takes seconds: heartbeats must not wait behind it.
        let long = replica.status().staged > 0;
        let replies = if long { tokio::task::block_in_place(apply)? } else { apply()? };
        if let Some(last) = entries.last() {
            self.applied.send_replace(last.index);
        }
        Ok(replies)
    }

    fn flush(&self) -> Result<Option<Bytes>, MachineFailed> {
        self.replica().flush().map_err(|error| self.failed(&Fatal::Store(error)))
    }

    fn checkpoint(&self, directory: &Path) -> Result<Bytes, MachineFailed> {
        let state = self.replica().checkpoint(directory).map_err(|error| match error {
            // The copy's own place is at fault, not the store.
            StoreError::Damaged { ref path, .. } if path.starts_with(directory) => MachineFailed(error.to_string()),
            error => {
                let fatal = Fatal::Store(error);
                note_damage(&self.directory, &fatal);
                quorate_raft::fatal(&fatal.to_string())
            }
        })?;
        state.ok_or_else(|| MachineFailed("nothing was applied yet".into()))
    }

    fn install(&self, directory: &Path) -> Result<(), MachineFailed> {
        let failed = |e: &dyn std::fmt::Display| MachineFailed(format!("{}: {e}", self.directory.display()));
        let current = std::fs::read_to_string(self.directory.join(CURRENT)).map_err(|e| failed(&e))?;
        let generation = current.trim().parse::<u64>().map_err(|e| failed(&e))? + 1;
        let path = self.directory.join(generation.to_string());
        std::fs::rename(directory, &path).map_err(|e| failed(&e))?;
        let replica = self.open_generation(generation).map_err(|e| failed(&e))?;
        replace_file(&self.directory.join(CURRENT), format!("{generation}\n").as_bytes())
            .map_err(|e| failed(&format!("{e:#}")))?;
        self.join(&replica);
        let old = std::mem::replace(&mut *self.replica.write(), replica.clone());
        // Ends those who wait at it; what it could not flush is removed with it.
        let _ = old.close();
        drop(old);
        remove_others(&self.directory, generation);
        self.applied.send_replace(replica.applied());
        Ok(())
    }

    fn became_leader(&self, term: u64) {
        self.replica().became_leader(term);
    }

    fn lost_leadership(&self) {
        self.replica().lost_leadership();
    }
}

/// The log as transactions see it.
struct Log {
    element: Weak<Element>,
}

impl Log {
    fn group(&self) -> Option<Group> {
        self.element.upgrade()?.group()
    }
}

#[async_trait]
impl ReplicaLog for Log {
    fn term(&self) -> Option<Term> {
        self.group()?.term()
    }

    fn propose(&self, command: Bytes) -> Proposal {
        let Some((group, term)) = self.group().and_then(|group| group.term().map(|term| (group, term))) else {
            return Proposal::lost();
        };
        let (reply, replied) = tokio::sync::oneshot::channel();
        group.propose_to(term, command, reply);
        Proposal::from(replied)
    }

    async fn prove(&self, term: Term) -> bool {
        match self.group() {
            Some(group) => group.prove(term).await,
            None => false,
        }
    }
}

#[async_trait]
impl LocalReads for Element {
    fn applied(&self) -> LogIndex {
        self.replica().applied()
    }

    async fn reached(&self, index: LogIndex, limit: Duration) -> bool {
        if self.applied() >= index {
            return true;
        }
        let mut applied = self.applied.subscribe();
        let reached = applied.wait_for(|applied| *applied >= index);
        matches!(tokio::time::timeout(limit, reached).await, Ok(Ok(_)))
    }

    fn read(&self, at: Timestamp, cut: bool, reads: &[ReadOp]) -> Option<ReadAnswer> {
        LocalReads::read(self.replica().as_ref(), at, cut, reads)
    }
}
