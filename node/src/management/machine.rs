//! The management group's state machine: the model, kept in memory and written to one file when it is flushed.
//!
//! The log is the write-ahead log: after a crash the file is read and the log applied from there. The file is replaced as a whole (the
//! model is small), so it is never half new.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_management::{Command, Model, Refused, Reply};
use quorate_raft::{Committed, MachineFailed, StateMachine};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::instance::directory::replace_file;

const FILE: &str = "state";

#[derive(Serialize, Deserialize)]
struct Stored {
    raft_state: Vec<u8>,
    model: Vec<u8>,
}

/// The machine; others see the model through [`ManagementMachine::watch`].
pub struct ManagementMachine {
    directory: PathBuf,
    state: Mutex<State>,
    model: watch::Sender<Arc<Model>>,
}

struct State {
    raft_state: Option<Bytes>,
    model: Model,
}

impl ManagementMachine {
    /// Reads the state in `directory`, which is made if it is missing.
    pub fn open(directory: &Path) -> Result<Self, MachineFailed> {
        std::fs::create_dir_all(directory).map_err(|e| failed(directory, &e))?;
        let state = read(directory)?;
        let model = watch::channel(Arc::new(state.model.clone())).0;
        Ok(Self { directory: directory.to_owned(), state: Mutex::new(state), model })
    }

    /// The model as applied here, with changes.
    pub fn watch(&self) -> watch::Receiver<Arc<Model>> {
        self.model.subscribe()
    }

    fn write(&self, directory: &Path, state: &State) -> Result<(), MachineFailed> {
        let stored =
            Stored { raft_state: state.raft_state.clone().unwrap_or_default().to_vec(), model: state.model.encode() };
        let bytes = postcard::to_stdvec(&stored).map_err(|e| failed(directory, &e))?;
        replace_file(&directory.join(FILE), &bytes).map_err(|e| failed(directory, &format!("{e:#}")))
    }
}

fn read(directory: &Path) -> Result<State, MachineFailed> {
    let path = directory.join(FILE);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(State { raft_state: None, model: Model::default() });
        }
        Err(error) => return Err(failed(&path, &error)),
    };
    let stored: Stored = postcard::from_bytes(&bytes).map_err(|e| failed(&path, &e))?;
    let model = Model::decode(&stored.model).map_err(|e| failed(&path, &e))?;
    let raft_state = (!stored.raft_state.is_empty()).then(|| stored.raft_state.into());
    Ok(State { raft_state, model })
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> MachineFailed {
    MachineFailed(format!("management state {}: {error}", path.display()))
}

/// The reply of a command as it travels through the log's reply.
pub fn decode_reply(bytes: &[u8]) -> Result<Result<Reply, Refused>, String> {
    serde_json::from_slice(bytes).map_err(|e| e.to_string())
}

impl StateMachine for ManagementMachine {
    fn raft_state(&self) -> Result<Option<Bytes>, MachineFailed> {
        Ok(self.state.lock().raft_state.clone())
    }

    fn apply(&self, entries: &[Committed], raft_state: Bytes) -> Result<Vec<Vec<Bytes>>, MachineFailed> {
        let mut state = self.state.lock();
        let before = state.model.sequence;
        let mut replies = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut answers = Vec::with_capacity(entry.commands.len());
            for command in &entry.commands {
                let command = Command::decode(command).map_err(|e| failed(&self.directory, &e))?;
                let result = state.model.apply(&command);
                tracing::debug!(?command, ?result, "management command applied");
                answers.push(Bytes::from(serde_json::to_vec(&result).map_err(|e| failed(&self.directory, &e))?));
            }
            replies.push(answers);
        }
        state.raft_state = Some(raft_state);
        if state.model.sequence != before {
            self.model.send_replace(Arc::new(state.model.clone()));
        }
        Ok(replies)
    }

    fn flush(&self) -> Result<Option<Bytes>, MachineFailed> {
        let state = self.state.lock();
        if state.raft_state.is_some() {
            self.write(&self.directory, &state)?;
        }
        Ok(state.raft_state.clone())
    }

    fn checkpoint(&self, directory: &Path) -> Result<Bytes, MachineFailed> {
        std::fs::create_dir_all(directory).map_err(|e| failed(directory, &e))?;
        let state = self.state.lock();
        self.write(directory, &state)?;
        state.raft_state.clone().ok_or_else(|| failed(directory, &"nothing was applied yet"))
    }

    fn install(&self, directory: &Path) -> Result<(), MachineFailed> {
        let mut state = self.state.lock();
        *state = read(directory)?;
        self.write(&self.directory, &state)?;
        self.model.send_replace(Arc::new(state.model.clone()));
        Ok(())
    }

    fn became_leader(&self, term: u64) {
        tracing::info!(term, "this instance is the active management instance");
    }

    fn lost_leadership(&self) {}
}
