//! Our own disk and wire forms of what openraft hands us.
//!
//! openraft is an alpha whose types move between releases; what lasts is defined here instead. Entries are laid out by
//! hand, since they are on the hot path of log and network; everything small is a serde mirror in postcard.
//!
//! Entry on disk: format version (1 byte), term (8), index (8), kind (1), body, CRC-32 of all before it (4); integers big-endian.
//! Body of a batch: per command its length (4) and its bytes. Body of a membership: postcard. A checksum that does not match
//! is an error of kind `InvalidData`; the log store adds the file, the group and the index, and the element does not go on.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, VoteRequest, VoteResponse};
use openraft::vote::RaftLeaderIdExt;
use openraft::{EntryPayload, Membership};
use serde::{Deserialize, Serialize};

use crate::types::{Batch, ElementId, Member, RaftEntry, RaftLogId, RaftVote, StoredMembership, Types};

const ENTRY_VERSION: u8 = 1;
/// Bytes of an entry's form before its body: version, term, index, kind.
const ENTRY_HEAD: usize = 18;
const KIND_BLANK: u8 = 0;
const KIND_BATCH: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LogIdForm {
    pub term: u64,
    pub index: u64,
}

impl From<&RaftLogId> for LogIdForm {
    fn from(id: &RaftLogId) -> Self {
        Self { term: id.committed_leader_id().term, index: id.index }
    }
}

impl From<LogIdForm> for RaftLogId {
    fn from(form: LogIdForm) -> Self {
        log_id(form.term, form.index)
    }
}

/// A log id from its parts.
pub(crate) fn log_id(term: u64, index: u64) -> RaftLogId {
    RaftLogId::new(crate::types::LeaderId::new_committed(term, 0), index)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VoteForm {
    pub term: u64,
    pub leader: ElementId,
    pub committed: bool,
}

impl From<&RaftVote> for VoteForm {
    fn from(vote: &RaftVote) -> Self {
        Self { term: vote.leader_id.term, leader: vote.leader_id.voted_for, committed: vote.committed }
    }
}

impl From<VoteForm> for RaftVote {
    fn from(form: VoteForm) -> Self {
        let mut vote = RaftVote::new(form.term, form.leader);
        vote.committed = form.committed;
        vote
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MembershipForm {
    /// The voters: one set, or two while a change is under way.
    pub configs: Vec<BTreeSet<ElementId>>,
    pub members: BTreeMap<ElementId, Member>,
}

impl From<&Membership<ElementId, Member>> for MembershipForm {
    fn from(membership: &Membership<ElementId, Member>) -> Self {
        Self {
            configs: membership.get_joint_config().clone(),
            members: membership.nodes().map(|(id, member)| (*id, member.clone())).collect(),
        }
    }
}

impl TryFrom<MembershipForm> for Membership<ElementId, Member> {
    type Error = io::Error;

    fn try_from(form: MembershipForm) -> Result<Self, io::Error> {
        Membership::new(form.configs, form.members).map_err(|e| invalid(format!("membership: {e}")))
    }
}

/// What a state machine stores beside its data: how far it has applied, and the membership in force there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppliedForm {
    pub last: Option<LogIdForm>,
    pub membership_at: Option<LogIdForm>,
    pub membership: MembershipForm,
}

impl AppliedForm {
    pub(crate) fn new(last: Option<&RaftLogId>, membership: &StoredMembership) -> Self {
        Self {
            last: last.map(Into::into),
            membership_at: membership.log_id().as_ref().map(Into::into),
            membership: membership.membership().into(),
        }
    }

    pub(crate) fn into_parts(self) -> Result<(Option<RaftLogId>, StoredMembership), io::Error> {
        let membership = StoredMembership::new(self.membership_at.map(Into::into), self.membership.try_into()?);
        Ok((self.last.map(Into::into), membership))
    }
}

pub(crate) fn to_bytes<T: Serialize>(value: &T) -> Bytes {
    Bytes::from(postcard::to_stdvec(value).expect("our forms have no unserialisable parts"))
}

pub(crate) fn from_bytes<'a, T: Deserialize<'a>>(bytes: &'a [u8], what: &str) -> Result<T, io::Error> {
    postcard::from_bytes(bytes).map_err(|e| invalid(format!("decode {what}: {e}")))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Appends an entry's form, checksum included.
pub(crate) fn put_entry(entry: &RaftEntry, out: &mut BytesMut) {
    let start = out.len();
    out.put_u8(ENTRY_VERSION);
    let id = LogIdForm::from(&entry.log_id);
    out.put_u64(id.term);
    out.put_u64(id.index);
    match &entry.payload {
        EntryPayload::Blank => out.put_u8(KIND_BLANK),
        EntryPayload::Normal(batch) => {
            out.put_u8(KIND_BATCH);
            for command in &batch.commands {
                out.put_u32(u32::try_from(command.len()).expect("a command is bounded far below 4 GiB"));
                out.put_slice(command);
            }
        }
        EntryPayload::Membership(membership) => {
            out.put_u8(KIND_MEMBERSHIP);
            out.put_slice(&to_bytes(&MembershipForm::from(membership)));
        }
    }
    let checksum = crc32fast::hash(&out[start..]);
    out.put_u32(checksum);
}

/// The same entry with its commands as parts of `form`, its own form. Commands arrive as parts of network buffers that hold much else; whoever
/// keeps an entry for long keeps this one, so that it keeps no more memory than it has bytes.
pub(crate) fn share(entry: RaftEntry, form: &Bytes) -> RaftEntry {
    let EntryPayload::Normal(batch) = entry.payload else { return entry };
    let mut at = ENTRY_HEAD;
    let part = |command: Bytes| {
        at += 4 + command.len();
        form.slice(at - command.len()..at)
    };
    let commands = batch.commands.into_iter().map(part).collect();
    RaftEntry { log_id: entry.log_id, payload: EntryPayload::Normal(Batch { commands }) }
}

/// Size of an entry's form in bytes, for bounds.
pub(crate) fn entry_size(entry: &RaftEntry) -> usize {
    22 + match &entry.payload {
        EntryPayload::Blank => 0,
        EntryPayload::Normal(batch) => batch.commands.iter().map(|c| c.len() + 4).sum(),
        EntryPayload::Membership(_) => 64,
    }
}

/// Decodes the form of one entry; its commands share `bytes`.
pub(crate) fn get_entry(bytes: Bytes) -> Result<RaftEntry, io::Error> {
    if bytes.len() < 22 {
        return Err(invalid("log entry is cut short".into()));
    }
    let (body, checksum) = bytes.split_at(bytes.len() - 4);
    if crc32fast::hash(body).to_be_bytes() != checksum {
        return Err(invalid("log entry fails its checksum".into()));
    }
    let mut rest = bytes.slice(..bytes.len() - 4);
    let version = rest.get_u8();
    if version != ENTRY_VERSION {
        return Err(invalid(format!("log entry has format version {version}; this program reads {ENTRY_VERSION}")));
    }
    let term = rest.get_u64();
    let index = rest.get_u64();
    let payload = match rest.get_u8() {
        KIND_BLANK => EntryPayload::Blank,
        KIND_BATCH => {
            let mut commands = Vec::new();
            while rest.has_remaining() {
                if rest.remaining() < 4 {
                    return Err(invalid("batch is cut short".into()));
                }
                let length = rest.get_u32() as usize;
                if rest.remaining() < length {
                    return Err(invalid("command is cut short".into()));
                }
                commands.push(rest.split_to(length));
            }
            EntryPayload::Normal(Batch { commands })
        }
        KIND_MEMBERSHIP => EntryPayload::Membership(from_bytes::<MembershipForm>(&rest, "membership")?.try_into()?),
        kind => return Err(invalid(format!("log entry of unknown kind {kind}"))),
    };
    Ok(RaftEntry { log_id: log_id(term, index), payload })
}

#[derive(Serialize, Deserialize)]
struct AppendHead {
    vote: VoteForm,
    prev: Option<LogIdForm>,
    commit: Option<LogIdForm>,
}

/// Most bytes that [`put_append`] adds to the sizes of its entries.
fn append_size(request: &AppendEntriesRequest<Types>) -> usize {
    64 + request.entries.iter().map(|e| entry_size(e) + 4).sum::<usize>()
}

/// Request form: length of the head (4), head, then per entry its length (4) and form.
pub(crate) fn put_append(request: &AppendEntriesRequest<Types>, out: &mut BytesMut) {
    let head = to_bytes(&AppendHead {
        vote: (&request.vote).into(),
        prev: request.prev_log_id.as_ref().map(Into::into),
        commit: request.leader_commit.as_ref().map(Into::into),
    });
    out.reserve(append_size(request));
    out.put_u32(head.len() as u32);
    out.put_slice(&head);
    for entry in &request.entries {
        let at = out.len();
        out.put_u32(0);
        put_entry(entry, out);
        let length = (out.len() - at - 4) as u32;
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
}

pub(crate) fn get_append(mut bytes: Bytes) -> Result<AppendEntriesRequest<Types>, io::Error> {
    let head_bytes = take_block(&mut bytes)?;
    let head: AppendHead = from_bytes(&head_bytes, "append request")?;
    let mut entries = Vec::new();
    while bytes.has_remaining() {
        entries.push(get_entry(take_block(&mut bytes)?)?);
    }
    Ok(AppendEntriesRequest {
        vote: head.vote.into(),
        prev_log_id: head.prev.map(Into::into),
        leader_commit: head.commit.map(Into::into),
        entries,
    })
}

fn take_block(bytes: &mut Bytes) -> Result<Bytes, io::Error> {
    if bytes.remaining() < 4 {
        return Err(invalid("message is cut short".into()));
    }
    let length = bytes.get_u32() as usize;
    if bytes.remaining() < length {
        return Err(invalid("message is cut short".into()));
    }
    Ok(bytes.split_to(length))
}

#[derive(Serialize, Deserialize)]
pub(crate) enum AppendAnswer {
    Success,
    PartialSuccess(Option<LogIdForm>),
    Conflict,
    HigherVote(VoteForm),
}

impl From<AppendEntriesResponse<Types>> for AppendAnswer {
    fn from(response: AppendEntriesResponse<Types>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::Success,
            AppendEntriesResponse::PartialSuccess(id) => Self::PartialSuccess(id.as_ref().map(Into::into)),
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote((&vote).into()),
        }
    }
}

impl From<AppendAnswer> for AppendEntriesResponse<Types> {
    fn from(answer: AppendAnswer) -> Self {
        match answer {
            AppendAnswer::Success => Self::Success,
            AppendAnswer::PartialSuccess(id) => Self::PartialSuccess(id.map(Into::into)),
            AppendAnswer::Conflict => Self::Conflict,
            AppendAnswer::HigherVote(vote) => Self::HigherVote(vote.into()),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct VoteAsk {
    pub vote: VoteForm,
    pub last: Option<LogIdForm>,
    pub transfer: bool,
}

impl From<&VoteRequest<Types>> for VoteAsk {
    fn from(request: &VoteRequest<Types>) -> Self {
        Self {
            vote: (&request.vote).into(),
            last: request.last_log_id.as_ref().map(Into::into),
            transfer: request.leadership_transfer,
        }
    }
}

impl From<VoteAsk> for VoteRequest<Types> {
    fn from(ask: VoteAsk) -> Self {
        let mut request = VoteRequest::new(ask.vote.into(), ask.last.map(Into::into));
        request.leadership_transfer = ask.transfer;
        request
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct VoteAnswer {
    pub vote: VoteForm,
    pub granted: bool,
    pub last: Option<LogIdForm>,
}

impl From<&VoteResponse<Types>> for VoteAnswer {
    fn from(response: &VoteResponse<Types>) -> Self {
        Self {
            vote: (&response.vote).into(),
            granted: response.vote_granted,
            last: response.last_log_id.as_ref().map(Into::into),
        }
    }
}

impl From<VoteAnswer> for VoteResponse<Types> {
    fn from(answer: VoteAnswer) -> Self {
        VoteResponse::new(RaftVote::from(answer.vote), answer.last.map(Into::into), answer.granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, payload: EntryPayload<Batch, ElementId, Member>) -> RaftEntry {
        RaftEntry { log_id: log_id(7, index), payload }
    }

    fn samples() -> Vec<RaftEntry> {
        let commands = vec![Bytes::from_static(b"one"), Bytes::new(), Bytes::from(vec![9u8; 70_000])];
        let members = BTreeMap::from([(1, Member { instance: 1 }), (2, Member { instance: 2 })]);
        let membership = Membership::new(vec![BTreeSet::from([1, 2])], members).expect("two voters with members");
        vec![
            entry(1, EntryPayload::Blank),
            entry(2, EntryPayload::Normal(Batch { commands })),
            entry(3, EntryPayload::Membership(membership)),
        ]
    }

    #[test]
    fn append_requests_survive_the_wire() {
        let request = AppendEntriesRequest {
            vote: RaftVote::new_committed(7, 3),
            prev_log_id: Some(log_id(6, 0)),
            entries: samples(),
            leader_commit: None,
        };
        let mut form = BytesMut::new();
        put_append(&request, &mut form);
        assert!(form.len() <= append_size(&request));
        let back = get_append(form.freeze()).expect("what was encoded decodes");
        assert_eq!(back.vote, request.vote);
        assert_eq!(back.prev_log_id, request.prev_log_id);
        assert_eq!(back.entries, request.entries);
        assert_eq!(back.leader_commit, None);
    }

    #[test]
    fn a_shared_entry_equals_its_original_and_lies_in_its_form() {
        for sample in samples() {
            let mut out = BytesMut::new();
            put_entry(&sample, &mut out);
            let form = out.freeze();
            let shared = share(sample.clone(), &form);
            assert_eq!(shared, sample);
            if let EntryPayload::Normal(batch) = shared.payload {
                let within = form.as_ptr_range();
                assert!(batch.commands.iter().all(|c| c.is_empty() || within.contains(&c.as_ptr())));
            }
        }
    }

    #[test]
    fn any_flipped_bit_of_an_entry_is_noticed() {
        for sample in samples().into_iter().filter(|e| entry_size(e) < 1000) {
            let mut out = BytesMut::new();
            put_entry(&sample, &mut out);
            for bit in 0..out.len() * 8 {
                let mut damaged = out.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert!(get_entry(damaged.freeze()).is_err(), "bit {bit} of {sample}");
            }
        }
    }

    #[test]
    fn a_cut_entry_is_refused() {
        let mut out = BytesMut::new();
        put_entry(&samples()[1], &mut out);
        for length in [0, 1, 21, out.len() - 1] {
            assert!(get_entry(Bytes::copy_from_slice(&out[..length])).is_err());
        }
    }
}
