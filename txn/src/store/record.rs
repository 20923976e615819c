//! How an element writes versions, prepare records, outcomes and staged writes to its store.
//!
//! A version keeps up to three timestamps (rule 3 in `docs/transactions.md`): when it was prepared, committed, and when its
//! outcome was applied here. Versions written by this set alone have one timestamp for all three.
//!
//! | family | key | value |
//! |---|---|---|
//! | rows | row key | version |
//! | history | escaped row key, prepare timestamp inverted | timestamp of the successor's commit, version |
//! | prepared | transaction | prepare record |
//! | outcomes | transaction | 0 aborted, 1 committed with timestamp |
//! | staged | row key | transaction, 0 deletion or 1 and the value |
//! | meta | `format` | magic, version of everything here |
//! | meta | `raft_state` | opaque: applied log id and membership of the consensus layer |
//! | meta | `position` | last entry applied, commands applied of the next, highest timestamp logged |
//! | meta | `thresholds` | horizon, garbage-collection threshold |
//! | meta | `F`, gateway | its low watermark |
//! | meta | `S`, instance | its highest incarnation heard of |
//! | meta | `T`, transaction | batches staged, lowest and highest key |
//!
//! History is ordered by *prepare* timestamp, newest first: the version that matters at a snapshot S is always the newest with a
//! prepare at or below S, which is either committed at or below S or uncertain.

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::codec::{self, Malformed, Reader};
use crate::protocol::{Outcome, SetId, Span, TxnId};

const DELETED: u8 = 1;
const THREE_TIMESTAMPS: u8 = 2;

/// A version without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VersionHead {
    pub(crate) prepare: Timestamp,
    pub(crate) commit: Timestamp,
    /// When its outcome was applied here: at or above the commit timestamp.
    pub(crate) outcome: Timestamp,
    pub(crate) txn: TxnId,
    pub(crate) deleted: bool,
}

impl VersionHead {
    /// The version of a transaction of this set alone.
    pub(crate) fn single(at: Timestamp, txn: TxnId, deleted: bool) -> Self {
        VersionHead { prepare: at, commit: at, outcome: at, txn, deleted }
    }

    /// The timestamp from which the version is certainly visible.
    pub(crate) fn changed(&self) -> Timestamp {
        self.commit.max(self.outcome)
    }

    /// Reads the head of an encoded version; `None` if it is malformed.
    pub(crate) fn decode(version: &[u8]) -> Option<Self> {
        Some(Self::split(version)?.0)
    }

    /// Splits an encoded version into head and value.
    pub(crate) fn split(version: &[u8]) -> Option<(Self, &[u8])> {
        let flags = *version.first()?;
        if flags & !(DELETED | THREE_TIMESTAMPS) != 0 {
            return None;
        }
        let number = |at: usize| -> Option<u64> { Some(u64::from_be_bytes(version.get(at..at + 8)?.try_into().ok()?)) };
        let commit = Timestamp(number(1)?);
        let txn = TxnId(number(9)?);
        let (prepare, outcome, length) = if flags & THREE_TIMESTAMPS != 0 {
            (Timestamp(number(17)?), Timestamp(number(25)?), 33)
        } else {
            (commit, commit, 17)
        };
        let head = VersionHead { prepare, commit, outcome, txn, deleted: flags & DELETED != 0 };
        Some((head, &version[length..]))
    }

    /// Encodes a version; a deleted one has no value.
    pub(crate) fn encode(&self, value: Option<&[u8]>) -> Vec<u8> {
        assert_eq!(self.deleted, value.is_none(), "a deleted version has no value, any other has one");
        assert!(
            self.prepare <= self.commit && self.commit <= self.outcome,
            "prepare, commit and outcome come in this order"
        );
        let single = self.prepare == self.commit && self.commit == self.outcome;
        let mut out = Vec::with_capacity(33 + value.map_or(0, <[u8]>::len));
        out.push(u8::from(self.deleted) * DELETED + u8::from(!single) * THREE_TIMESTAMPS);
        codec::put_timestamp(&mut out, self.commit);
        out.extend_from_slice(&self.txn.0.to_be_bytes());
        if !single {
            codec::put_timestamp(&mut out, self.prepare);
            codec::put_timestamp(&mut out, self.outcome);
        }
        out.extend_from_slice(value.unwrap_or_default());
        out
    }
}

/// The prefix that all versions of a key share in history: no key's is a prefix of another's, and the order is that of the keys.
pub(crate) fn history_prefix(key: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + 18);
    for byte in key {
        out.push(*byte);
        if *byte == 0 {
            out.push(0xff);
        }
    }
    out.extend_from_slice(&[0, 1]);
    out
}

/// The key of one older version.
pub(crate) fn history_key(key: &[u8], prepare: Timestamp) -> Vec<u8> {
    let mut out = history_prefix(key);
    codec::put_timestamp(&mut out, Timestamp(!prepare.0));
    out
}

/// The value of an older version: when its successor was committed, then the version.
pub(crate) fn history_value(superseded: Timestamp, version: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + version.len());
    codec::put_timestamp(&mut out, superseded);
    out.extend_from_slice(version);
    out
}

/// When the successor of an older version was committed.
pub(crate) fn superseded(value: &[u8]) -> Option<Timestamp> {
    Some(Timestamp(u64::from_be_bytes(value.get(..8)?.try_into().ok()?)))
}

/// The version within an older version's value.
pub(crate) fn history_version(value: &[u8]) -> Option<&[u8]> {
    value.get(8..)
}

/// The key under which a transaction is recorded.
pub(crate) fn txn_key(txn: TxnId) -> [u8; 8] {
    txn.0.to_be_bytes()
}

/// The transaction of such a key.
pub(crate) fn decode_txn(key: &[u8]) -> Option<TxnId> {
    Some(TxnId(u64::from_be_bytes(key.try_into().ok()?)))
}

/// Encodes an outcome.
pub(crate) fn encode_outcome(outcome: Outcome) -> Vec<u8> {
    match outcome {
        Outcome::Aborted => vec![0],
        Outcome::Committed(at) => {
            let mut out = vec![1];
            codec::put_timestamp(&mut out, at);
            out
        }
    }
}

/// Decodes an outcome.
pub(crate) fn decode_outcome(value: &[u8]) -> Result<Outcome, Malformed> {
    match value.split_first() {
        Some((0, [])) => Ok(Outcome::Aborted),
        Some((1, at)) => Ok(Outcome::Committed(Timestamp(u64::from_be_bytes(at.try_into().map_err(|_| Malformed)?)))),
        _ => Err(Malformed),
    }
}

/// One write as it enters the log and the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LoggedWrite {
    pub(crate) key: Bytes,
    pub(crate) value: Option<Bytes>,
}

pub(crate) fn put_writes(out: &mut Vec<u8>, writes: &[LoggedWrite]) {
    codec::put_list(out, writes, |out, write| {
        codec::put_bytes(out, &write.key);
        codec::put_option(out, write.value.as_ref());
    });
}

pub(crate) fn read_writes(reader: &mut Reader) -> Result<Vec<LoggedWrite>, Malformed> {
    reader.list(|reader| Ok(LoggedWrite { key: reader.bytes()?, value: reader.option()? }))
}

/// What a set keeps of a transaction from its prepare to its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrepareRecord {
    pub(crate) at: Timestamp,
    pub(crate) participants: Vec<SetId>,
    /// Spans read, held as locks until the outcome is known.
    pub(crate) reads: Vec<Span>,
    pub(crate) writes: Vec<LoggedWrite>,
    /// Number of staged batches that belong to it.
    pub(crate) staged: u32,
}

impl PrepareRecord {
    pub(crate) fn encode_to(&self, out: &mut Vec<u8>) {
        codec::put_timestamp(out, self.at);
        codec::put_list(out, &self.participants, |out, set| codec::put_varint(out, u64::from(*set)));
        codec::put_list(out, &self.reads, |out, span| {
            codec::put_bytes(out, &span.start);
            codec::put_option(out, span.end.as_ref());
        });
        put_writes(out, &self.writes);
        codec::put_varint(out, u64::from(self.staged));
    }

    pub(crate) fn decode_from(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(PrepareRecord {
            at: reader.timestamp()?,
            participants: reader.list(Reader::u32)?,
            reads: reader.list(|reader| Ok(Span { start: reader.bytes()?, end: reader.option()? }))?,
            writes: read_writes(reader)?,
            staged: reader.u32()?,
        })
    }
}

/// Encodes a staged write.
pub(crate) fn encode_staged(txn: TxnId, value: Option<&[u8]>) -> Vec<u8> {
    let mut out = Vec::with_capacity(9 + value.map_or(0, <[u8]>::len));
    out.extend_from_slice(&txn_key(txn));
    out.push(u8::from(value.is_some()));
    out.extend_from_slice(value.unwrap_or_default());
    out
}

/// Decodes a staged write.
pub(crate) fn decode_staged(entry: &[u8]) -> Result<(TxnId, Option<&[u8]>), Malformed> {
    let (txn, rest) = entry.split_at_checked(8).ok_or(Malformed)?;
    let txn = decode_txn(txn).ok_or(Malformed)?;
    match rest.split_first() {
        Some((0, [])) => Ok((txn, None)),
        Some((1, value)) => Ok((txn, Some(value))),
        _ => Err(Malformed),
    }
}

/// A transaction that stages writes, as recorded in `meta` and kept in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StagedRecord {
    /// Number of batches so far.
    pub(crate) batches: u32,
    /// Lowest and highest key staged.
    pub(crate) first: Bytes,
    pub(crate) last: Bytes,
}

impl StagedRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        codec::put_varint(&mut out, u64::from(self.batches));
        codec::put_bytes(&mut out, &self.first);
        codec::put_bytes(&mut out, &self.last);
        out
    }

    pub(crate) fn decode(value: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(value);
        Ok(StagedRecord { batches: reader.u32()?, first: reader.bytes()?, last: reader.bytes()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_back_as_written() {
        let single = VersionHead::single(Timestamp(9), TxnId(4), false);
        let encoded = single.encode(Some(b"v"));
        assert_eq!(encoded.len(), 18);
        assert_eq!(VersionHead::split(&encoded), Some((single, b"v".as_slice())));
        let (prepare, commit, outcome) = (Timestamp(3), Timestamp(5), Timestamp(8));
        let multi = VersionHead { prepare, commit, outcome, txn: TxnId(4), deleted: true };
        assert_eq!(VersionHead::split(&multi.encode(None)), Some((multi, b"".as_slice())));
        assert_eq!(VersionHead::decode(&multi.encode(None)[..30]), None, "a cut version is damaged");
    }

    #[test]
    fn history_keeps_keys_apart_and_in_order_newest_version_first() {
        let keys: [&[u8]; 6] = [b"", b"\0", b"\0\0", b"\0\x01", b"a", b"a\0"];
        let mut encoded = Vec::new();
        for key in keys {
            for at in [u64::MAX, 5, 0] {
                encoded.push(history_key(key, Timestamp(at)));
            }
        }
        assert!(encoded.is_sorted());
        for (i, a) in keys.iter().enumerate() {
            for (j, b) in keys.iter().enumerate() {
                assert!(i == j || !history_key(b, Timestamp(5)).starts_with(&history_prefix(a)), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn prepare_records_come_back_as_written() {
        let record = PrepareRecord {
            at: Timestamp(7),
            participants: vec![1, 300],
            reads: vec![
                Span::key(Bytes::from_static(b"a")),
                Span::range(Bytes::from_static(b"b"), Bytes::from_static(b"c")),
            ],
            writes: vec![LoggedWrite { key: Bytes::from_static(b"k"), value: None }],
            staged: 3,
        };
        let mut out = Vec::new();
        record.encode_to(&mut out);
        assert_eq!(PrepareRecord::decode_from(&mut Reader::new(out.into())), Ok(record));
    }
}
