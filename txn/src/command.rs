//! What enters a replica set's log, and what apply replies.
//!
//! Every command carries the term it was validated in, since apply ignores it in any other (rule 9 in
//! `docs/transactions.md`), and a timestamp; timestamps of applied commands rise along the log.

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::codec::{self, Malformed, Reader};
use crate::protocol::{GatewayId, Outcome, Term, TxnId};
use crate::store::record::{self, LoggedWrite, PrepareRecord};

/// Version of the encoding; the first byte of every command.
const COMMAND_VERSION: u8 = 1;

/// A command with what they all carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logged {
    pub(crate) term: Term,
    pub(crate) at: Timestamp,
    pub(crate) command: Command,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// A validated transaction of this set alone; commits at the command's timestamp.
    Commit { txn: TxnId, writes: Vec<LoggedWrite> },
    /// This set's validated part of a transaction; its record is stamped with the command's timestamp.
    Prepare { txn: TxnId, record: PrepareRecord },
    /// A batch of a large transaction's writes.
    Stage { txn: TxnId, batch: u32, writes: Vec<LoggedWrite> },
    /// The outcome of a transaction.
    Resolve { txn: TxnId, outcome: Outcome },
    /// Abort the transaction unless it is prepared or ended.
    Refuse { txn: TxnId },
    /// Background duties: whatever has to be moved.
    Upkeep(Upkeep),
    /// Hash the rows at this position.
    Checkpoint { nonce: u64 },
}

/// Thresholds to raise; each stays when it is already higher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Upkeep {
    /// Everything promised stays at or below.
    pub(crate) horizon: Timestamp,
    /// Nobody reads below.
    pub(crate) garbage: Timestamp,
    /// Low watermarks of gateways.
    pub(crate) finished_below: Vec<(GatewayId, TxnId)>,
    /// Gateway processes of the same instances with lower incarnations have ended.
    pub(crate) started: Vec<GatewayId>,
}

impl Logged {
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64);
        out.push(COMMAND_VERSION);
        codec::put_varint(&mut out, self.term);
        codec::put_timestamp(&mut out, self.at);
        match &self.command {
            Command::Commit { txn, writes } => {
                put_kind(&mut out, 1, *txn);
                record::put_writes(&mut out, writes);
            }
            Command::Prepare { txn, record } => {
                put_kind(&mut out, 2, *txn);
                record.encode_to(&mut out);
            }
            Command::Stage { txn, batch, writes } => {
                put_kind(&mut out, 3, *txn);
                codec::put_varint(&mut out, u64::from(*batch));
                record::put_writes(&mut out, writes);
            }
            Command::Resolve { txn, outcome } => {
                put_kind(&mut out, 4, *txn);
                out.extend_from_slice(&record::encode_outcome(*outcome));
            }
            Command::Refuse { txn } => put_kind(&mut out, 5, *txn),
            Command::Upkeep(upkeep) => {
                out.push(6);
                codec::put_timestamp(&mut out, upkeep.horizon);
                codec::put_timestamp(&mut out, upkeep.garbage);
                codec::put_list(&mut out, &upkeep.finished_below, |out, (gateway, below)| {
                    codec::put_varint(out, u64::from(gateway.0));
                    codec::put_varint(out, below.0);
                });
                codec::put_list(&mut out, &upkeep.started, |out, gateway| codec::put_varint(out, u64::from(gateway.0)));
            }
            Command::Checkpoint { nonce } => {
                out.push(7);
                codec::put_varint(&mut out, *nonce);
            }
        }
        out.into()
    }

    pub(crate) fn decode(input: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(input);
        if reader.byte()? != COMMAND_VERSION {
            return Err(Malformed);
        }
        let (term, at) = (reader.varint()?, reader.timestamp()?);
        let kind = reader.byte()?;
        let txn = |reader: &mut Reader| reader.u64().map(TxnId);
        let command = match kind {
            1 => Command::Commit { txn: txn(&mut reader)?, writes: record::read_writes(&mut reader)? },
            2 => Command::Prepare { txn: txn(&mut reader)?, record: PrepareRecord::decode_from(&mut reader)? },
            3 => Command::Stage {
                txn: txn(&mut reader)?,
                batch: reader.u32()?,
                writes: record::read_writes(&mut reader)?,
            },
            4 => {
                let txn = txn(&mut reader)?;
                let outcome = record::decode_outcome(&reader.rest())?;
                return Ok(Logged { term, at, command: Command::Resolve { txn, outcome } });
            }
            5 => Command::Refuse { txn: txn(&mut reader)? },
            6 => Command::Upkeep(Upkeep {
                horizon: reader.timestamp()?,
                garbage: reader.timestamp()?,
                finished_below: reader.list(|reader| Ok((GatewayId(reader.u32()?), TxnId(reader.varint()?))))?,
                started: reader.list(|reader| reader.u32().map(GatewayId))?,
            }),
            7 => Command::Checkpoint { nonce: reader.varint()? },
            _ => return Err(Malformed),
        };
        if reader.is_empty() { Ok(Logged { term, at, command }) } else { Err(Malformed) }
    }
}

fn put_kind(out: &mut Vec<u8>, kind: u8, txn: TxnId) {
    out.push(kind);
    out.extend_from_slice(&record::txn_key(txn));
}

/// What apply replies to a command: the same on every replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// Not executed, and it never will be: the entry is of another term, or was applied before a restart.
    Ignored,
    /// Done.
    Done,
    /// The transaction's outcome, old or new.
    Ended(Outcome),
    /// Prepared at this timestamp, now or before.
    Prepared(Timestamp),
    /// The transaction lies below its gateway's watermark.
    Forgotten,
}

impl Applied {
    pub(crate) fn encode(self) -> Bytes {
        let mut out = Vec::with_capacity(10);
        match self {
            Applied::Ignored => out.push(0),
            Applied::Done => out.push(1),
            Applied::Ended(outcome) => {
                out.push(2);
                out.extend_from_slice(&record::encode_outcome(outcome));
            }
            Applied::Prepared(at) => {
                out.push(3);
                codec::put_timestamp(&mut out, at);
            }
            Applied::Forgotten => out.push(4),
        }
        out.into()
    }

    pub(crate) fn decode(reply: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(reply);
        Ok(match reader.byte()? {
            0 => Applied::Ignored,
            1 => Applied::Done,
            2 => Applied::Ended(record::decode_outcome(&reader.rest())?),
            3 => Applied::Prepared(reader.timestamp()?),
            4 => Applied::Forgotten,
            _ => return Err(Malformed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_come_back_as_written() {
        let write = LoggedWrite { key: Bytes::from_static(b"k"), value: Some(Bytes::from_static(b"v")) };
        let record = PrepareRecord {
            at: Timestamp(5),
            participants: vec![1],
            reads: Vec::new(),
            writes: vec![write.clone()],
            staged: 0,
        };
        let upkeep = Upkeep {
            horizon: Timestamp(3),
            garbage: Timestamp(1),
            finished_below: vec![(GatewayId(1), TxnId(u64::MAX))],
            started: vec![GatewayId(2)],
        };
        for command in [
            Command::Commit { txn: TxnId(1), writes: vec![write.clone()] },
            Command::Prepare { txn: TxnId(1), record },
            Command::Stage { txn: TxnId(1), batch: 7, writes: vec![write] },
            Command::Resolve { txn: TxnId(1), outcome: Outcome::Committed(Timestamp(3)) },
            Command::Resolve { txn: TxnId(1), outcome: Outcome::Aborted },
            Command::Refuse { txn: TxnId(1) },
            Command::Upkeep(upkeep),
            Command::Checkpoint { nonce: 9 },
        ] {
            let logged = Logged { term: 3, at: Timestamp(5), command };
            assert_eq!(Logged::decode(logged.encode()), Ok(logged.clone()));
            let encoded = logged.encode();
            assert_eq!(Logged::decode(encoded.slice(..encoded.len() - 1)), Err(Malformed), "{logged:?} cut short");
        }
    }

    #[test]
    fn replies_come_back_as_written() {
        for reply in [
            Applied::Ignored,
            Applied::Done,
            Applied::Ended(Outcome::Aborted),
            Applied::Ended(Outcome::Committed(Timestamp(1))),
            Applied::Prepared(Timestamp(2)),
            Applied::Forgotten,
        ] {
            assert_eq!(Applied::decode(reply.encode()), Ok(reply));
        }
    }
}
