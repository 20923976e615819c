//! Copies of an element's store, streamed from its leader in checksummed chunks.
//!
//! The leader makes a checkpoint (hard links, cheap) only when a follower needs one, and offers its list of files. The follower answers how much of each file
//! it already holds from the same source, so that a broken transfer goes on where it stopped. When all files are complete and their
//! checksums match, the follower installs the copy and answers with its vote. A chunk that does not match is asked for again.
//!
//! openraft counts a follower that has installed a copy as holding everything up to the log id that it was told when the transfer began. So a
//! checkpoint kept from a broken transfer is used again only if it reaches that far; while one is kept, openraft is told no more than it holds
//! ([`Outgoing::least`]), and the log behind it is not purged. A copy never goes out under a vote older than its last entry: the sender may have
//! ceased to lead meanwhile.

use std::collections::HashMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

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
use crate::types::{ElementId, RaftLogId, RaftVote, StoredMembership, Types};

const CHUNK: usize = 512 << 10;

/// Transfers that a follower remembers; older ones are removed.
const OFFERS_MAX: usize = 2;

/// How long a checkpoint waits for its broken transfer to go on.
const KEEP: Duration = Duration::from_secs(120);

/// A transfer of which nothing has come for so long counts as given up: another leader may have found that the log is enough.
const GIVEN_UP: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FileOffer {
    name: String,
    bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Ask<'a> {
    /// What the copy consists of.
    Offer { id: Uuid, files: Vec<FileOffer> },
    /// A piece of a file.
    Chunk {
        id: Uuid,
        file: u32,
        offset: u64,
        checksum: u32,
        #[serde(with = "serde_bytes")]
        data: &'a [u8],
    },
    /// Everything was sent: install it.
    Install {
        id: Uuid,
        vote: VoteForm,
        #[serde(with = "serde_bytes")]
        state: &'a [u8],
    },
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
    copies: Mutex<HashMap<ElementId, (Arc<Copy>, Instant)>>,
}

impl Outgoing {
    /// The applied state of the oldest copy under way. Lets go of copies whose transfer broke and did not go on.
    pub(crate) fn least(&self) -> Option<(Option<RaftLogId>, StoredMembership)> {
        let mut copies = self.copies.lock();
        copies.retain(|_, (copy, used)| Arc::strong_count(copy) > 1 || used.elapsed() < KEEP);
        let least = copies.values().map(|(copy, _)| copy).min_by(|a, b| a.last.cmp(&b.last))?;
        Some((least.last, least.membership.clone()))
    }

    /// The copy kept for a target, if it holds everything up to `least`.
    fn kept(&self, target: ElementId, least: &Option<RaftLogId>) -> Option<Arc<Copy>> {
        let copies = self.copies.lock();
        copies.get(&target).filter(|(copy, _)| copy.last >= *least).map(|(copy, _)| copy.clone())
    }

    fn keep(&self, target: ElementId, copy: Arc<Copy>) {
        self.copies.lock().insert(target, (copy, Instant::now()));
    }

    fn forget(&self, target: ElementId) {
        self.copies.lock().remove(&target);
    }
}

struct Copy {
    id: Uuid,
    directory: PathBuf,
    files: Vec<FileOffer>,
    /// How far the copy has applied: as its state machine wrote it, and decoded.
    state: Bytes,
    last: Option<RaftLogId>,
    membership: StoredMembership,
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
        let state = match network.machine.checkpoint(&directory) {
            Ok(state) => state,
            Err(error) => {
                drop(std::fs::remove_dir_all(&directory));
                return Err(io::Error::other(error.0));
            }
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&directory)? {
            let entry = entry?;
            let name = entry.file_name().into_string().map_err(|_| io::Error::other("file name is not UTF-8"))?;
            files.push(FileOffer { name, bytes: entry.metadata()?.len() });
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let (last, membership) = machine::decode(Some(state.clone()))?;
        Ok(Self { id, directory, files, state, last, membership })
    }
}

/// Sends a copy of the local store, which holds everything up to `least`, to `target` and has it installed; answers the target's vote.
pub(crate) async fn send(
    network: &Network,
    vote: &RaftVote,
    least: Option<RaftLogId>,
    target: ElementId,
    instance: u32,
) -> Result<VoteForm, io::Error> {
    let token = network.tasks.token();
    let copy = match network.outgoing.kept(target, &least) {
        Some(copy) => copy,
        None => {
            // First the old one, whose files keep disk space.
            network.outgoing.forget(target);
            let network = network.clone();
            let copy = tokio::task::spawn_blocking(move || {
                let _token = token;
                Copy::make(&network, target)
            });
            Arc::new(copy.await??)
        }
    };
    if copy.last < least {
        return Err(io::Error::other("the copy lacks entries that were applied before it was made"));
    }
    if copy.last.as_ref().is_some_and(|id| id.committed_leader_id().term > vote.leader_id.term) {
        return Err(io::Error::other("this element does not lead any more"));
    }
    network.outgoing.keep(target, copy.clone());
    tracing::info!(group = %network.group, target, files = copy.files.len(), "sending a copy");
    let result = transfer(network, &copy, vote, target, instance).await;
    // A transfer that broke on the way goes on with the same copy; anything else starts afresh.
    match &result {
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => network.outgoing.keep(target, copy),
        _ => network.outgoing.forget(target),
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
    let call = async |ask: &Ask<'_>| -> Result<Answer, io::Error> {
        let message = address(network.group, target, &codec::to_bytes(ask));
        let bytes =
            network.peers.call(instance, Class::Bulk, service::SNAPSHOT, message).await.map_err(|e| match e {
                CallError::NotSent { .. } | CallError::Lost { .. } => {
                    io::Error::new(io::ErrorKind::ConnectionAborted, e)
                }
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
            match call(&Ask::Chunk { id: copy.id, file: number as u32, offset, checksum, data: &data }).await? {
                Answer::Taken => offset += length,
                Answer::Damaged => {
                    tracing::warn!(group = %network.group, file = file.name, offset, "a chunk was damaged on the way")
                }
                answer => return Err(io::Error::other(format!("unexpected answer to a chunk: {answer:?}"))),
            }
        }
    }
    match call(&Ask::Install { id: copy.id, vote: vote.into(), state: &copy.state }).await? {
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
#[derive(Clone)]
pub(crate) struct Incoming {
    shared: Arc<Shared>,
}

struct Shared {
    directory: PathBuf,
    /// Copies under way. Held while files are written, so that pieces that came over a broken and a new connection do not mix.
    offers: Mutex<Vec<(Uuid, Vec<FileOffer>)>>,
    copies: Mutex<Copies>,
    /// When the last piece came.
    moved: Mutex<Option<Instant>>,
}

/// Copies that an element has received since it was started, for displays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copies {
    /// Bytes received of the copy under way, and all of its bytes.
    pub receiving: Option<(u64, u64)>,
    /// How many were installed.
    pub installed: u64,
}

impl Incoming {
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self {
            shared: Arc::new(Shared {
                directory,
                offers: Mutex::default(),
                copies: Mutex::default(),
                moved: Mutex::default(),
            }),
        }
    }

    pub(crate) fn copies(&self) -> Copies {
        let mut copies = *self.shared.copies.lock();
        if self.shared.moved.lock().is_none_or(|moved| moved.elapsed() > GIVEN_UP) {
            copies.receiving = None;
        }
        copies
    }

    /// Handles one message; `install` is given the complete copy.
    pub(crate) async fn take<I, F>(&self, message: Bytes, install: I) -> Result<Bytes, String>
    where
        I: FnOnce(VoteForm, PathBuf, Bytes) -> F,
        F: Future<Output = Result<VoteForm, String>>,
    {
        let shared = self.shared.clone();
        // Disks are slow, and this is the network's task.
        let step = tokio::task::spawn_blocking(move || shared.step(&message)).await.map_err(|e| e.to_string())?;
        let step = step.map_err(|e| format!("{}: {e}", self.shared.directory.display()))?;
        let answer = match step {
            Step::Answer(answer) => answer,
            Step::Install { directory, vote, state } => {
                let answer = install(vote, directory.clone(), state).await;
                // The machine may have consumed it, or not wanted it.
                drop(tokio::task::spawn_blocking(move || std::fs::remove_dir_all(directory)).await);
                let answer = answer?;
                let mut copies = self.shared.copies.lock();
                *copies = Copies { receiving: None, installed: copies.installed + 1 };
                Answer::Installed(answer)
            }
        };
        Ok(codec::to_bytes(&answer))
    }
}

enum Step {
    Answer(Answer),
    Install { directory: PathBuf, vote: VoteForm, state: Bytes },
}

impl Shared {
    fn step(&self, message: &[u8]) -> Result<Step, io::Error> {
        let answer = match codec::from_bytes::<Ask>(message, "snapshot message")? {
            Ask::Offer { id, files } => Answer::Have(self.offer(id, files)?),
            Ask::Chunk { id, file, offset, checksum, data } => {
                if crc32fast::hash(data) == checksum {
                    self.chunk(id, file, offset, data)?;
                    Answer::Taken
                } else {
                    Answer::Damaged
                }
            }
            Ask::Install { id, vote, state } => {
                return Ok(Step::Install { directory: self.complete(id)?, vote, state: Bytes::copy_from_slice(state) });
            }
        };
        Ok(Step::Answer(answer))
    }

    fn copy_directory(&self, id: Uuid) -> PathBuf {
        self.directory.join(id.to_string())
    }

    fn offer(&self, id: Uuid, files: Vec<FileOffer>) -> Result<Vec<u64>, io::Error> {
        let outside = |name: &str| name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.');
        if files.iter().any(|f| outside(&f.name)) {
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
        let have: Vec<u64> = files.iter().map(have).collect();
        *self.moved.lock() = Some(Instant::now());
        self.copies.lock().receiving = Some((have.iter().sum(), files.iter().map(|file| file.bytes).sum()));
        Ok(have)
    }

    fn chunk(&self, id: Uuid, number: u32, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let offers = self.offers.lock();
        let offer =
            find(&offers, id)?.get(number as usize).ok_or_else(|| io::Error::other("the offer has no such file"))?;
        let path = self.copy_directory(id).join(&offer.name);
        let mut file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        let (length, end) = (file.metadata()?.len(), offset + data.len() as u64);
        if end <= length {
            // It came before, over a connection that broke before the answer was through.
            return Ok(());
        }
        if length != offset || end > offer.bytes {
            return Err(io::Error::other(format!("{}: bytes {offset} to {end} do not follow {length}", offer.name)));
        }
        file.seek(SeekFrom::Start(offset))?;
        if let Err(error) = file.write_all(data) {
            // Half a piece would pass for a whole one.
            file.set_len(offset)?;
            return Err(error);
        }
        if end == offer.bytes {
            file.sync_all()?;
        }
        *self.moved.lock() = Some(Instant::now());
        if let Some((received, all)) = &mut self.copies.lock().receiving {
            *received = (*received + data.len() as u64).min(*all);
        }
        Ok(())
    }

    /// The directory of a copy of which nothing is missing; it is on disk.
    fn complete(&self, id: Uuid) -> Result<PathBuf, io::Error> {
        let directory = self.copy_directory(id);
        let mut offers = self.offers.lock();
        for file in find(&offers, id)? {
            let path = directory.join(&file.name);
            if file.bytes == 0 && !path.exists() {
                std::fs::File::create(&path)?.sync_all()?;
            }
            if std::fs::metadata(&path)?.len() != file.bytes {
                return Err(io::Error::other(format!("{} is not complete", file.name)));
            }
        }
        std::fs::File::open(&directory)?.sync_all()?;
        offers.retain(|(known, _)| *known != id);
        Ok(directory)
    }
}

fn find(offers: &[(Uuid, Vec<FileOffer>)], id: Uuid) -> Result<&[FileOffer], io::Error> {
    let offer = offers.iter().find(|(known, _)| *known == id);
    offer
        .map(|(_, files)| files.as_slice())
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "this copy was not offered"))
}

/// What openraft needs to know of a received copy, which it then installs.
pub(crate) fn received(
    vote: &VoteForm,
    directory: PathBuf,
    state: Bytes,
) -> Result<openraft::type_config::alias::SnapshotOf<Types, SnapshotData>, io::Error> {
    let (last_log_id, last_membership) = machine::decode(Some(state))?;
    if last_log_id.as_ref().is_some_and(|id| id.committed_leader_id().term > vote.term) {
        return Err(io::Error::other("the copy holds entries of a later term than its sender's"));
    }
    let meta = SnapshotMetaOf::<Types> { last_log_id, last_membership };
    Ok(Snapshot { meta, snapshot: SnapshotData::Received(directory) })
}
