//! Writes: buffered, and streamed ahead when they grow too large to keep.

use bytes::Bytes;
use futures::stream::{FuturesUnordered, TryStreamExt};

use super::{Part, Transaction};
use crate::coordinator::RetryCause;
use crate::coordinator::error::TxnError;
use crate::coordinator::link::Hold;
use crate::coordinator::shared::{Delivered, Shared};
use crate::failpoint;
use crate::protocol::{Operation, SetId, TxnId, Write};

/// The longest key and value of one write, together: it must fit into one staged batch.
const WRITE_BYTES_MAX: usize = crate::protocol::STAGED_BATCH_BYTES_MAX;

impl Transaction {
    /// Buffers a write to one set; `None` deletes. `insert` asks that the key be absent, which is found out at once if this
    /// transaction wrote it, else when it commits ([`TxnError::Duplicate`]; all that was read then held too). Above `transaction_memory` this waits until what is buffered has been staged.
    pub async fn put(&mut self, set: SetId, key: Bytes, value: Option<Bytes>, insert: bool) -> Result<(), TxnError> {
        self.usable()?;
        let size = key.len() + value.as_ref().map_or(0, Bytes::len);
        if size > WRITE_BYTES_MAX {
            return Err(TxnError::Limit(format!("a row of {size} bytes is above {WRITE_BYTES_MAX} bytes")));
        }
        let (at, savepoint) = (self.part(set), self.within());
        let put = if self.parts[at].writes.put(key.clone(), value, insert, savepoint).is_err() {
            Err(TxnError::Duplicate { key })
        } else {
            self.relieve().await
        };
        if let Err(TxnError::Duplicate { .. }) = &put {
            // "Exists" is an answer, and it is newer than the snapshot: what was read must hold up to now (rule 11).
            self.unproven = true;
            self.validated = false;
            self.validate().await?;
        }
        put
    }

    /// Streams what is buffered to its sets when it has become too much: first what no savepoint takes back. If that does not
    /// help, the rest too, and there is no way back to the savepoints that there are.
    async fn relieve(&mut self) -> Result<(), TxnError> {
        // Once streaming, a few batches a set are enough.
        let streaming = self.parts.iter().any(|part| part.staged > 0);
        let most = self.shared.config.transaction_memory;
        let settled_most =
            if streaming { most.min(4 * self.shared.config.staged_batch * self.parts.len()) } else { most };
        let settled: usize = self.parts.iter().map(|part| part.writes.settled()).sum();
        if settled > settled_most || (settled > 0 && self.buffered() > most) {
            self.stage(0).await?;
        }
        if self.buffered() > most {
            self.cross();
            self.stage(0).await?;
        }
        Ok(())
    }

    fn buffered(&self) -> usize {
        self.parts.iter().map(|part| part.writes.bytes()).sum()
    }

    /// Stages what is buffered, and no savepoint takes back, in every set that has more than `above` bytes of it; all sets at the same time, the batches
    /// of one set one after the other.
    pub(super) async fn stage(&mut self, above: usize) -> Result<(), TxnError> {
        let txn = self.unfinished().txn();
        // A batch that failed has left the buffer; so has one whose statement was cancelled, when nobody gets to the end of this.
        let doomed = std::mem::replace(&mut self.doomed, true);
        let shared = &self.shared;
        let staged = self
            .parts
            .iter_mut()
            .filter(|part| part.writes.settled() > above)
            .map(|part| part.stage(shared, txn))
            .collect::<FuturesUnordered<_>>()
            .try_collect::<()>()
            .await;
        self.doomed = doomed || staged.is_err();
        staged
    }
}

impl Part {
    async fn stage(&mut self, shared: &Shared, txn: TxnId) -> Result<(), TxnError> {
        if self.hold.is_none() {
            self.hold = Some(Hold::new(&self.link));
        }
        while self.writes.settled() > 0 {
            let writes = self.writes.take(shared.config.staged_batch);
            self.widen(&writes);
            let batch = self.staged;
            // Counted before it is sent: a batch on its way is staged, for reads and for the end.
            self.staged += 1;
            let stage = |term| Operation::Stage { term, txn, batch, writes: writes.clone() };
            match shared.deliver(&self.link, stage).await? {
                Delivered::Done => failpoint::hit("gateway.after_stage"),
                Delivered::Refused(refusal) => return Err(TxnError::refused(refusal, Some(txn))),
                Delivered::Never => return Err(TxnError::Unavailable { set: self.link.set }),
                // Nothing is committed before its prepare, so this is a plain failure.
                Delivered::Unknown => return Err(TxnError::retry(RetryCause::LeaderChanged)),
                Delivered::At(at) => return Err(TxnError::Fatal(format!("a batch was committed at {at}"))),
            }
        }
        Ok(())
    }

    fn widen(&mut self, writes: &[Write]) {
        let (Some(low), Some(high)) = (writes.first(), writes.last()) else { return };
        let (low, high) = (low.key.clone(), high.key.clone());
        self.staged_keys = Some(match self.staged_keys.take() {
            None => (low, high),
            Some((a, b)) => (a.min(low), b.max(high)),
        });
    }
}
