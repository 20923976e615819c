//! One element of this instance: its store and transactions (`quorate_txn`) joined with its Raft group (`quorate_raft`).
//!
//! An element's directory holds its store in a numbered folder, and `CURRENT`, which names the folder. A copy received from the leader becomes the
//! next folder; until `CURRENT` is replaced the old one is whole, so a crash leaves one or the other.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use quorate_raft::{Committed, Group, MachineFailed, StateMachine};
use quorate_txn::clock::{Clock, Timestamp};
use quorate_txn::element::{Options, ReplicaSet};
use quorate_txn::protocol::{LogIndex, ReadAnswer, ReadOp, SetId, Term};
use quorate_txn::store::{StoreLocation, StoreMemory};
use quorate_txn::traits::{LocalReads, Proposal, ReplicaLog, Sets};
use tokio::sync::watch;

use crate::instance::directory::replace_file;

const CURRENT: &str = "CURRENT";

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

/// An element's store and its way into the log.
pub struct Element {
    directory: PathBuf,
    set: SetId,
    clock: Arc<Clock>,
    memory: StoreMemory,
    replica: RwLock<Arc<ReplicaSet>>,
    group: OnceLock<Group>,
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
        existed: bool,
    ) -> Result<Arc<Self>, OpenError> {
        let generation = match std::fs::read_to_string(directory.join(CURRENT)) {
            Ok(text) => text.trim().parse::<u64>().map_err(|_| {
                OpenError::Lost(format!("{}: does not name a store", directory.join(CURRENT).display()))
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !existed => {
                let describe = |e: &dyn std::fmt::Display| OpenError::Failed(format!("{}: {e}", directory.display()));
                std::fs::create_dir_all(directory).map_err(|e| describe(&e))?;
                // What a creation that was cut off left behind was never used.
                drop(std::fs::remove_dir_all(directory.join("1")));
                let replica = open_replica(&directory.join("1"), set, &clock, &memory, true)?;
                replica.flush().map_err(|e| describe(&e))?;
                replace_file(&directory.join(CURRENT), b"1\n").map_err(|e| describe(&format!("{e:#}")))?;
                return Ok(Self::with(directory, set, clock, memory, replica));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(OpenError::Lost(format!("{} is missing", directory.join(CURRENT).display())));
            }
            Err(error) => return Err(OpenError::Failed(format!("{}: {error}", directory.join(CURRENT).display()))),
        };
        let replica = open_replica(&directory.join(generation.to_string()), set, &clock, &memory, false)?;
        remove_others(directory, generation);
        Ok(Self::with(directory, set, clock, memory, replica))
    }

    fn with(directory: &Path, set: SetId, clock: Arc<Clock>, memory: StoreMemory, replica: Arc<ReplicaSet>) -> Arc<Self> {
        let applied = watch::channel(replica.applied()).0;
        Arc::new(Self {
            directory: directory.to_owned(),
            set,
            clock,
            memory,
            replica: RwLock::new(replica),
            group: OnceLock::new(),
            sets: OnceLock::new(),
            applied,
        })
    }

    /// Joins the element with its running group and with the other sets; to be called once.
    pub fn attach(self: &Arc<Self>, group: Group, sets: &Arc<dyn Sets>) {
        let first = self.group.set(group).is_ok() && self.sets.set(Arc::downgrade(sets)).is_ok();
        assert!(first, "an element is attached once");
        self.join(&self.replica());
    }

    fn join(&self, replica: &Arc<ReplicaSet>) {
        if let (Some(group), Some(sets)) = (self.group.get(), self.sets.get().and_then(Weak::upgrade)) {
            replica.attach(Arc::new(Log { group: group.clone() }), sets);
        }
    }

    /// The element's transactions. After a copy was installed it is another one.
    pub fn replica(&self) -> Arc<ReplicaSet> {
        self.replica.read().clone()
    }

    /// The running group.
    pub fn group(&self) -> Option<&Group> {
        self.group.get()
    }

    fn open_generation(&self, generation: u64) -> Result<Arc<ReplicaSet>, OpenError> {
        let path = self.directory.join(generation.to_string());
        open_replica(&path, self.set, &self.clock, &self.memory, false)
    }
}

fn open_replica(
    path: &Path,
    set: SetId,
    clock: &Arc<Clock>,
    memory: &StoreMemory,
    create: bool,
) -> Result<Arc<ReplicaSet>, OpenError> {
    if !create && !path.is_dir() {
        return Err(OpenError::Lost(format!("{} is missing", path.display())));
    }
    let options = Options { on_fatal: Arc::new(|fatal| quorate_raft::fatal(&fatal.to_string())), ..Options::default() };
    let location = StoreLocation::Directory { path: path.to_owned(), memory: memory.clone(), create };
    // Whatever keeps an existing store from opening, its files are not what was written.
    ReplicaSet::open(set, &location, clock.clone(), options)
        .map_err(|e| if create { OpenError::Failed(e.to_string()) } else { OpenError::Lost(e.to_string()) })
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
        let replies = self.replica().apply(&entries, raft_state).map_err(|e| MachineFailed(e.to_string()))?;
        if let Some(last) = entries.last() {
            self.applied.send_replace(last.index);
        }
        Ok(replies)
    }

    fn flush(&self) -> Result<Option<Bytes>, MachineFailed> {
        self.replica().flush().map_err(|e| MachineFailed(e.to_string()))
    }

    fn checkpoint(&self, directory: &Path) -> Result<Bytes, MachineFailed> {
        let state = self.replica().checkpoint(directory).map_err(|e| MachineFailed(e.to_string()))?;
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
        old.lost_leadership();
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
    group: Group,
}

#[async_trait]
impl ReplicaLog for Log {
    fn term(&self) -> Option<Term> {
        self.group.term()
    }

    fn propose(&self, command: Bytes) -> Proposal {
        let Some(term) = self.group.term() else { return Proposal::lost() };
        let (reply, replied) = tokio::sync::oneshot::channel();
        self.group.propose_to(term, command, reply);
        Proposal::from(replied)
    }

    async fn prove(&self, term: Term) -> bool {
        self.group.prove(term).await
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

    fn read(&self, at: Timestamp, reads: &[ReadOp]) -> Option<ReadAnswer> {
        LocalReads::read(self.replica().as_ref(), at, reads)
    }
}
