//! openraft's own tests of log stores and state machines, run on ours.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::{OptionalSend, StorageError};
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use crate::leadership::Leadership;
use crate::log::{GroupLog, LogOptions, LogStore};
use crate::machine::{Adapter, Committed, MachineFailed, SnapshotData, StateMachine};
use crate::snapshot::Outgoing;
use crate::types::{GroupId, RaftLogId, StoredMembership, Types};

/// Keeps nothing but the mark of how far it has applied.
#[derive(Default)]
struct Nothing {
    state: Mutex<Option<Bytes>>,
}

impl StateMachine for Nothing {
    fn raft_state(&self) -> Result<Option<Bytes>, MachineFailed> {
        Ok(self.state.lock().clone())
    }

    fn apply(&self, entries: &[Committed], raft_state: Bytes) -> Result<Vec<Vec<Bytes>>, MachineFailed> {
        *self.state.lock() = Some(raft_state);
        Ok(entries.iter().map(|e| vec![Bytes::new(); e.commands.len()]).collect())
    }

    fn flush(&self) -> Result<Option<Bytes>, MachineFailed> {
        self.raft_state()
    }

    fn checkpoint(&self, directory: &Path) -> Result<Bytes, MachineFailed> {
        let state = self.state.lock().clone().ok_or_else(|| MachineFailed("nothing to copy".into()))?;
        let write = std::fs::create_dir(directory).and_then(|()| std::fs::write(directory.join("state"), &state));
        write.map(|()| state).map_err(|e| MachineFailed(e.to_string()))
    }

    fn install(&self, directory: &Path) -> Result<(), MachineFailed> {
        let state = std::fs::read(directory.join("state")).map_err(|e| MachineFailed(e.to_string()))?;
        *self.state.lock() = Some(state.into());
        Ok(())
    }

    fn became_leader(&self, _term: u64) {}

    fn lost_leadership(&self) {}
}

/// The adapter, with the step in between that is the network's: a snapshot that is sent becomes a copy of the files.
#[derive(Clone)]
struct Sending {
    adapter: Adapter,
    machine: Arc<Nothing>,
    directory: PathBuf,
}

impl Sending {
    fn sent(&self, snapshot: SnapshotOf<Types, SnapshotData>) -> Result<SnapshotOf<Types, SnapshotData>, io::Error> {
        let directory = self.directory.join(uuid::Uuid::new_v4().to_string());
        self.machine.checkpoint(&directory).map_err(|e| io::Error::other(e.0))?;
        Ok(SnapshotOf::<Types, SnapshotData> { meta: snapshot.meta, snapshot: SnapshotData::Received(directory) })
    }
}

impl RaftSnapshotBuilder<Types> for Sending {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, SnapshotData>, io::Error> {
        let snapshot = self.adapter.build_snapshot().await?;
        if snapshot.meta.last_log_id.is_none() {
            return Ok(snapshot);
        }
        self.sent(snapshot)
    }
}

impl RaftStateMachine<Types> for Sending {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<RaftLogId>, StoredMembership), io::Error> {
        self.adapter.applied_state().await
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + OptionalSend,
    {
        self.adapter.apply(entries).await
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<Types>, data: SnapshotData) -> Result<(), io::Error> {
        self.adapter.install_snapshot(meta, data).await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<Types, SnapshotData>>, io::Error> {
        let snapshot = self.adapter.get_current_snapshot().await?;
        snapshot.map(|s| self.sent(s)).transpose()
    }
}

struct Builder;

impl StoreBuilder<Types, GroupLog, Sending, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, GroupLog, Sending), StorageError<Types>> {
        let directory = tempfile::tempdir().unwrap();
        let store = LogStore::open(&directory.path().join("log"), LogOptions::default()).unwrap();
        let log = store.group(GroupId { database: 1, set: 1 }).unwrap();
        let machine = Arc::new(Nothing::default());
        let leadership = Arc::new(Leadership::new(0, log.clone(), 0));
        let token = TaskTracker::new().token();
        let adapter = Adapter::open(machine.clone(), leadership, Arc::new(Outgoing::default()), token).unwrap();
        let sending = Sending { adapter, machine, directory: directory.path().to_owned() };
        Ok((directory, log, sending))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn passes_openrafts_suite() {
    Suite::test_all(Builder).await.unwrap();
}
