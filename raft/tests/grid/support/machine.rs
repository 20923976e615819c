//! A state machine that keeps the list of all commands it has applied. On disk only what was flushed, as a real store without its own log.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use quorate_raft::{Committed, MachineFailed, StateMachine};

/// A numbered command with some ballast.
pub fn command(number: u64, ballast: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(8 + ballast.len());
    out.put_u64(number);
    out.put_slice(ballast);
    out.freeze()
}

#[derive(Clone, Default)]
struct State {
    raft: Option<Bytes>,
    /// Numbers of the commands in the order in which they were applied.
    commands: Vec<u64>,
    known: HashSet<u64>,
    /// Ballast of all commands.
    ballast: Vec<u8>,
}

/// See the module.
pub struct Ledger {
    directory: PathBuf,
    state: Mutex<State>,
    /// Terms in which it was told that it leads; 0 for a loss.
    leaderships: Mutex<Vec<u64>>,
    /// How many installs there were.
    installs: Mutex<u32>,
}

impl Ledger {
    /// Opens what was flushed there, or begins empty.
    pub fn open(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let state = if directory.join("raft").exists() { read(directory)? } else { State::default() };
        Ok(Self {
            directory: directory.to_owned(),
            state: Mutex::new(state),
            leaderships: Mutex::default(),
            installs: Mutex::default(),
        })
    }

    /// What was applied, in order.
    pub fn commands(&self) -> Vec<u64> {
        self.state.lock().commands.clone()
    }

    pub fn contains(&self, number: u64) -> bool {
        self.state.lock().known.contains(&number)
    }

    pub fn ballast(&self) -> Vec<u8> {
        self.state.lock().ballast.clone()
    }

    pub fn leaderships(&self) -> Vec<u64> {
        self.leaderships.lock().clone()
    }

    pub fn installs(&self) -> u32 {
        *self.installs.lock()
    }
}

fn read(directory: &Path) -> io::Result<State> {
    let commands: Vec<u64> = std::fs::read(directory.join("commands"))?
        .chunks_exact(8)
        .map(|c| u64::from_be_bytes(c.try_into().expect("a chunk has 8 bytes")))
        .collect();
    let known = commands.iter().copied().collect();
    let raft = Some(std::fs::read(directory.join("raft"))?.into());
    Ok(State { raft, known, commands, ballast: std::fs::read(directory.join("ballast"))? })
}

/// Writes the state; `raft` last, by renaming, since its presence makes the rest valid.
fn write(directory: &Path, state: &State) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let commands: Vec<u8> = state.commands.iter().flat_map(|c| c.to_be_bytes()).collect();
    std::fs::write(directory.join("commands"), commands)?;
    std::fs::write(directory.join("ballast"), &state.ballast)?;
    std::fs::write(directory.join("empty"), b"")?;
    std::fs::write(directory.join("new"), state.raft.as_ref().expect("something was applied"))?;
    std::fs::rename(directory.join("new"), directory.join("raft"))
}

fn failed(error: io::Error) -> MachineFailed {
    MachineFailed(error.to_string())
}

impl StateMachine for Ledger {
    fn raft_state(&self) -> Result<Option<Bytes>, MachineFailed> {
        Ok(self.state.lock().raft.clone())
    }

    fn apply(&self, entries: &[Committed], raft_state: Bytes) -> Result<Vec<Vec<Bytes>>, MachineFailed> {
        let mut state = self.state.lock();
        state.raft = Some(raft_state);
        let mut replies = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut of_entry = Vec::with_capacity(entry.commands.len());
            for command in &entry.commands {
                let number = u64::from_be_bytes(command[..8].try_into().expect("commands begin with a number"));
                state.commands.push(number);
                state.known.insert(number);
                state.ballast.extend_from_slice(&command[8..]);
                of_entry.push(Bytes::from((state.commands.len() as u64).to_be_bytes().to_vec()));
            }
            replies.push(of_entry);
        }
        Ok(replies)
    }

    fn flush(&self) -> Result<Option<Bytes>, MachineFailed> {
        let state = self.state.lock().clone();
        if state.raft.is_some() {
            write(&self.directory, &state).map_err(failed)?;
        }
        Ok(state.raft)
    }

    fn checkpoint(&self, directory: &Path) -> Result<Bytes, MachineFailed> {
        assert!(!directory.exists());
        let state = self.state.lock().clone();
        write(directory, &state).map_err(failed)?;
        state.raft.ok_or_else(|| MachineFailed("nothing to copy".into()))
    }

    fn install(&self, directory: &Path) -> Result<(), MachineFailed> {
        let state = read(directory).map_err(failed)?;
        write(&self.directory, &state).map_err(failed)?;
        *self.state.lock() = state;
        *self.installs.lock() += 1;
        Ok(())
    }

    fn became_leader(&self, term: u64) {
        self.leaderships.lock().push(term);
    }

    fn lost_leadership(&self) {
        let mut leaderships = self.leaderships.lock();
        if leaderships.last().is_some_and(|term| *term != 0) {
            leaderships.push(0);
        }
    }
}
