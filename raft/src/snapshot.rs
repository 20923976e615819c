//! Copies of an element's store, streamed from its leader in checksummed chunks.
//!
//! The leader makes a checkpoint (hard links, cheap) only when a follower needs one, and offers its list of files. The follower answers how much of each file
//! it already holds from the same source, so that a broken transfer goes on where it stopped. When all files are complete and their
//! checksums match, the follower installs the copy and answers with its vote. A chunk that does not match is asked for again.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use openraft::storage::Snapshot;
use openraft::type_config::alias::SnapshotMetaOf;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::codec::{self, VoteForm};
use crate::machine::{self, SnapshotData};
use crate::network::{Network, address, service};
use crate::peers::{CallError, Class};
use crate::types::{ElementId, RaftVote, Types};

const CHUNK: usize = 512 << 10;

/// Transfers that a follower remembers; older ones are removed.
const OFFERS_MAX: usize = 2;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileOffer {
    name: String,
    bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Ask {
    /// What the copy consists of.
    Offer { id: Uuid, files: Vec<FileOffer> },
    /// A piece of a file.
    Chunk { id: Uuid, file: u32, offset: u64, checksum: u32, #[serde(with = "serde_bytes")] data: Vec<u8> },
    /// Everything was sent: install it.
    Install { id: Uuid, vote: VoteForm, #[serde(with = "serde_bytes")] state: Vec<u8> },
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    /// How much of each file is here.
    Have(Vec<u64>),
    Taken,
    Damaged,
    Installed(VoteForm),
}

/// Checkpoints kept by a leader while transfers of them are under way, by target.
#[derive(Default)]
pub(crate) struct Outgoing {
    copies: Mutex<HashMap<ElementId, Arc<Copy>>>,
}

struct Copy {
    id: Uuid,
    directory: PathBuf,
    files: Vec<FileOffer>,
    /// How far the copy has applied.
    state: Bytes,
}

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.directory) {
            tracing::warn!(directory = %self.directory.display(), %error, "cannot remove a checkpoint");
        }
    }
}

impl Copy {
    fn make(network: &Network, target: ElementId) -> Result<Self, io::Error> {
        let id = Uuid::new_v4();
        std::fs::create_dir_all(&network.scratch)?;
        let directory = network.scratch.join(format!("checkpoint-{target}-{id}"));
        let state = network.machine.checkpoint(&directory).map_err(|e| io::Error::other(e.0))?;
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|_| io::Error::other("file name is not UTF-8"))?;
            files.push(FileOffer { name, bytes: entry.metadata()?.len() });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { id, directory, files, state })
    }
}

/// Sends a copy of the local store to `target` and has it installed; answers the target's vote.
pub(crate) async fn send(
    network: &Network,
    vote: &RaftVote,
    target: ElementId,
    instance: u32,
) -> Result<VoteForm, io::Error> {
    let kept = network.outgoing.copies.lock().get(&target).cloned();
    let copy = match kept {
        Some(copy) => copy,
        None => {
            let (network, vote_target) = (network.clone(), target);
            let copy = tokio::task::spawn_blocking(move || Copy::make(&network, vote_target)).await??;
            Arc::new(copy)
        }
    };
    network.outgoing.copies.lock().insert(target, copy.clone());
    tracing::info!(group = %network.group, target, files = copy.files.len(), "sending a copy");
    let result = transfer(network, &copy, vote, target, instance).await;
    // A transfer that broke on the way goes on with the same copy; anything else starts afresh.
    if !matches!(&result, Err(error) if error.kind() == io::ErrorKind::ConnectionAborted) {
        network.outgoing.copies.lock().remove(&target);
    }
    result
}

async fn transfer(
    network: &Network,
    copy: &Copy,
    vote: &RaftVote,
    target: ElementId,
    instance: u32,
) -> Result<VoteForm, io::Error> {
    let call = async |ask: &Ask| -> Result<Answer, io::Error> {
        let message = address(network.group, target, &codec::to_bytes(ask));
        let bytes = network.peers.call(instance, Class::Bulk, service::SNAPSHOT, message).await.map_err(|e| match e {
            CallError::NotSent { .. } | CallError::Lost { .. } => io::Error::new(io::ErrorKind::ConnectionAborted, e),
            CallError::Refused { .. } => io::Error::other(e),
        })?;
        codec::from_bytes(&bytes, "snapshot answer")
    };
    let Answer::Have(have) = call(&Ask::Offer { id: copy.id, files: copy.files.clone() }).await? else {
        return Err(io::Error::other("unexpected answer to an offer"));
    };
    for (number, (file, have)) in copy.files.iter().zip(have).enumerate() {
        let mut offset = have;
        while offset < file.bytes {
            let path = copy.directory.join(&file.name);
            let data = tokio::task::spawn_blocking(move || read_chunk(&path, offset)).await??;
            if data.is_empty() {
                return Err(io::Error::other(format!("{} is shorter than its offer", file.name)));
            }
            let length = data.len() as u64;
            let checksum = crc32fast::hash(&data);
            match call(&Ask::Chunk { id: copy.id, file: number as u32, offset, checksum, data }).await? {
                Answer::Taken => offset += length,
                Answer::Damaged => tracing::warn!(group = %network.group, file = file.name, offset, "a chunk was damaged on the way"),
                answer => return Err(io::Error::other(format!("unexpected answer to a chunk: {answer:?}"))),
            }
        }
    }
    match call(&Ask::Install { id: copy.id, vote: vote.into(), state: copy.state.to_vec() }).await? {
        Answer::Installed(vote) => Ok(vote),
        answer => Err(io::Error::other(format!("unexpected answer to an install: {answer:?}"))),
    }
}

fn read_chunk(path: &Path, offset: u64) -> Result<Vec<u8>, io::Error> {
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut data = Vec::with_capacity(CHUNK);
    file.take(CHUNK as u64).read_to_end(&mut data)?;
    Ok(data)
}

/// The receiving side of one element.
pub(crate) struct Incoming {
    directory: PathBuf,
    offers: Mutex<Vec<(Uuid, Vec<FileOffer>)>>,
}

impl Incoming {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, offers: Mutex::default() }
    }

    /// Handles one message; `install` is given the complete copy.
    pub(crate) async fn take<I, F>(&self, message: &[u8], install: I) -> Result<Bytes, String>
    where
        I: FnOnce(VoteForm, PathBuf, Bytes) -> F,
        F: Future<Output = Result<VoteForm, String>>,
    {
        let ask: Ask = codec::from_bytes(message, "snapshot message").map_err(|e| e.to_string())?;
        let answer = match ask {
            Ask::Offer { id, files } => Answer::Have(self.offer(id, files).map_err(|e| self.explain(&e))?),
            Ask::Chunk { id, file, offset, checksum, data } => {
                if crc32fast::hash(&data) == checksum {
                    self.chunk(id, file, offset, &data).map_err(|e| self.explain(&e))?;
                    Answer::Taken
                } else {
                    Answer::Damaged
                }
            }
            Ask::Install { id, vote, state } => {
                let directory = self.complete(id).map_err(|e| self.explain(&e))?;
                Answer::Installed(install(vote, directory, state.into()).await?)
            }
        };
        Ok(codec::to_bytes(&answer))
    }

    fn explain(&self, error: &io::Error) -> String {
        format!("{}: {error}", self.directory.display())
    }

    fn copy_directory(&self, id: Uuid) -> PathBuf {
        self.directory.join(id.to_string())
    }

    fn offer(&self, id: Uuid, files: Vec<FileOffer>) -> Result<Vec<u64>, io::Error> {
        if files.iter().any(|f| f.name.contains(['/', '\\']) || f.name.starts_with('.')) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the offer names files outside its directory"));
        }
        let directory = self.copy_directory(id);
        let mut offers = self.offers.lock();
        if !offers.iter().any(|(known, _)| *known == id) {
            std::fs::create_dir_all(&directory)?;
            offers.push((id, files.clone()));
            if offers.len() > OFFERS_MAX {
                let (old, _) = offers.remove(0);
                std::fs::remove_dir_all(self.copy_directory(old))?;
            }
        }
        let have = |file: &FileOffer| std::fs::metadata(directory.join(&file.name)).map_or(0, |m| m.len());
        Ok(files.iter().map(have).collect())
    }

    fn files(&self, id: Uuid) -> Result<Vec<FileOffer>, io::Error> {
        let offers = self.offers.lock();
        let offer = offers.iter().find(|(known, _)| *known == id);
        offer.map(|(_, files)| files.clone()).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "this copy was not offered"))
    }

    fn chunk(&self, id: Uuid, number: u32, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let files = self.files(id)?;
        let offer = files.get(number as usize).ok_or_else(|| io::Error::other("the offer has no such file"))?;
        let path = self.copy_directory(id).join(&offer.name);
        let mut file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        if file.metadata()?.len() != offset {
            return Err(io::Error::other("chunks must follow each other"));
        }
        file.seek(SeekFrom::Start(offset))?;
        file.write_all(data)?;
        if offset + data.len() as u64 == offer.bytes {
            file.sync_all()?;
        }
        Ok(())
    }

    fn complete(&self, id: Uuid) -> Result<PathBuf, io::Error> {
        let directory = self.copy_directory(id);
        for file in self.files(id)? {
            let path = directory.join(&file.name);
            if file.bytes == 0 && !path.exists() {
                std::fs::File::create(&path)?;
            }
            if std::fs::metadata(&path)?.len() != file.bytes {
                return Err(io::Error::other(format!("{} is not complete", file.name)));
            }
        }
        self.offers.lock().retain(|(known, _)| *known != id);
        Ok(directory)
    }
}

/// What openraft needs to know of a received copy, which it then installs.
pub(crate) fn received(
    directory: PathBuf,
    state: Bytes,
) -> Result<openraft::type_config::alias::SnapshotOf<Types, SnapshotData>, io::Error> {
    let (last_log_id, last_membership) = machine::decode(Some(state))?;
    let meta = SnapshotMetaOf::<Types> { last_log_id, last_membership };
    Ok(Snapshot { meta, snapshot: SnapshotData::Received(directory) })
}
