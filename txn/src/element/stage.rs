//! Staged writes of large transactions at the leader, and key locks.
//!
//! A staged key is exclusive to its transaction from the moment its batch is validated: other writers are refused as if it
//! were locked, readers are not, since the transaction will be stamped when it prepares. So a prepare needs to look
//! only at what others have read meanwhile.

use bytes::Bytes;

use super::ReplicaSet;
use super::commit::{Ends, answer, bytes_of, check_distinct};
use super::locks::{Acquired, Fate};
use super::read::leader;
use super::state::State;
use super::validate::{Claim, Purpose};
use crate::clock::Timestamp;
use crate::command::{Applied, Command};
use crate::protocol::{Failure, Patience, Refusal, Reply, STAGED_BATCH_BYTES_MAX, Span, Term, TxnId, Write};
use crate::store::record::LoggedWrite;

impl ReplicaSet {
    pub(super) async fn stage(&self, term: Term, txn: TxnId, batch: u32, writes: Vec<Write>) -> Result<Reply, Failure> {
        self.once(term, txn, Ends::WhenRefused, self.validate_and_stage(term, txn, batch, writes)).await
    }

    async fn validate_and_stage(
        &self,
        term: Term,
        txn: TxnId,
        batch: u32,
        writes: Vec<Write>,
    ) -> Result<Reply, Failure> {
        let bytes = bytes_of(&writes);
        if bytes > STAGED_BATCH_BYTES_MAX || writes.is_empty() {
            let refusal = format!(
                "a staged batch of {bytes} bytes; it has at least one write and at most {STAGED_BATCH_BYTES_MAX}"
            );
            return Err(Failure::Refused(Refusal::Limit(refusal)));
        }
        check_distinct(&writes)?;
        let staged = self.leading_state()?.staged.get(&txn).map_or(0, |staged| staged.batches);
        if batch < staged {
            return Ok(Reply::Done);
        }
        let claim =
            Claim { txn: Some(txn), snapshot: Timestamp::ZERO, reads: &[], writes: &writes, purpose: Purpose::Staging };
        let proposal = self.validate_then(Some(term), &claim, |state| {
            if let Some(refusal) = state.is_late(txn) {
                return Err(Failure::Refused(refusal));
            }
            if state.staged.get(&txn).map_or(0, |staged| staged.batches) != batch {
                let refusal = format!("batch {batch} does not follow the batches staged before");
                return Err(Failure::Refused(Refusal::Limit(refusal)));
            }
            let log = self.log()?;
            let leader = leader(state);
            let at = leader.assign(&self.clock, Timestamp::ZERO);
            let keys = writes.iter().map(|write| Bytes::copy_from_slice(&write.key)).collect();
            let logged = writes.iter().map(|write| LoggedWrite { key: write.key.clone(), value: write.value.clone() });
            let command = Command::Stage { txn, batch, writes: logged.collect() };
            leader.flight_staged.add(txn, at, keys, &[]);
            Ok(leader.propose(log, at, command, Some(txn)))
        });
        match proposal {
            Ok(proposal) => {
                let applied = self.applied_reply(proposal).await?;
                crate::failpoint::hit("element.after_stage");
                answer(applied)
            }
            Err(Failure::Refused(refusal @ Refusal::Duplicate { .. })) => {
                self.prove(term).await?;
                Err(Failure::Refused(refusal))
            }
            Err(failure) => Err(failure),
        }
    }

    /// See [`crate::protocol::Operation::Lock`].
    pub(super) async fn lock_keys(&self, patience: &Patience, keys: &[Bytes]) -> Result<Reply, Failure> {
        let txn = owner(patience)?;
        let mut sorted: Vec<Bytes> = keys.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut waiting = *patience;
        for key in &sorted {
            let acquired = {
                let mut state = self.leading_state()?;
                check_may_lock(&mut state, txn)?;
                leader(&mut state).locks.lock(self.now(), txn, &waiting, key)
            };
            self.acquired(acquired, key).await?;
            waiting.holds_locks = true;
        }
        let spans: Vec<Span> = sorted.into_iter().map(Span::key).collect();
        self.wait_for_writers(txn, &spans, self.patience_ends(patience), patience).await?;
        // From here on the locks keep everybody else's commits away from these keys.
        let safe = self.safe_snapshot(None).await?;
        let own = self.state.lock().staged.contains_key(&txn);
        let mut rows = Vec::with_capacity(keys.len());
        for key in keys {
            let mut row = self.store.newest(key).map_err(|error| self.fatal(error))?;
            if own
                && let Some((by, value)) = self.store.staged(key).map_err(|error| self.fatal(error))?
                && by == txn
            {
                row.value = value;
            }
            rows.push(row);
        }
        Ok(Reply::Locked { snapshot: safe.snapshot, index: safe.index, rows })
    }

    /// See [`crate::protocol::Operation::LockShared`].
    pub(super) async fn lock_spans(&self, patience: &Patience, spans: &[Span]) -> Result<Reply, Failure> {
        let txn = owner(patience)?;
        let mut sorted: Vec<&Span> = spans.iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut waiting = *patience;
        for span in sorted {
            let acquired = {
                let mut state = self.leading_state()?;
                check_may_lock(&mut state, txn)?;
                leader(&mut state).locks.lock_shared(self.now(), txn, &waiting, span)
            };
            self.acquired(acquired, &span.start).await?;
            waiting.holds_locks = true;
        }
        self.wait_for_writers(txn, spans, self.patience_ends(patience), patience).await?;
        Ok(Reply::Done)
    }

    async fn acquired(&self, acquired: Acquired, key: &Bytes) -> Result<(), Failure> {
        let fate: Fate = match acquired {
            Acquired::Now => Ok(()),
            // Closed: the leader's memory is gone, or the transaction has ended meanwhile.
            Acquired::Later(receiver) => receiver.await.map_err(|_| Failure::NotLeader { hint: None })?,
        };
        fate.map_err(|holder| Failure::Refused(Refusal::LockTimeout { key: key.clone(), holder }))
    }

    /// See [`crate::protocol::Operation::Unlock`].
    pub(super) async fn unlock(&self, txn: TxnId) -> Result<Reply, Failure> {
        let refusal = {
            let mut state = self.leading_state()?;
            if state.prepared.contains_key(&txn) {
                // It is no longer the gateway's alone to end it.
                return Ok(Reply::Done);
            }
            let staged = state.staged.contains_key(&txn);
            let now = self.now();
            let leader = leader(&mut state);
            // A batch on its way is refused behind itself in the log; left there, it would stand in the way of the transaction's repetition.
            let staging = leader.flight_staged.claims(txn);
            if leader.flight_claims.claims(txn) || (leader.taken.contains_key(&txn) && !staging) {
                return Ok(Reply::Done);
            }
            leader.seen.insert(txn);
            leader.locks.release(now, txn);
            (staged || staging).then(|| {
                let at = leader.assign(&self.clock, Timestamp::ZERO);
                self.log().map(|log| leader.propose(log, at, Command::Refuse { txn }, None))
            })
        };
        if let Some(refusal) = refusal.transpose()? {
            match self.applied_reply(refusal).await? {
                Applied::Ignored => return Err(Failure::Unknown),
                Applied::Done | Applied::Ended(_) | Applied::Prepared(_) | Applied::Forgotten => {}
            }
        }
        Ok(Reply::Done)
    }
}

fn owner(patience: &Patience) -> Result<TxnId, Failure> {
    patience.txn.ok_or_else(|| Failure::Refused(Refusal::Limit("a lock needs a transaction id".to_owned())))
}

/// A transaction that has ended here gets no more locks: the message that ended it may have overtaken this one.
fn check_may_lock(state: &mut State, txn: TxnId) -> Result<(), Failure> {
    if let Some(refusal) = state.is_late(txn) {
        return Err(Failure::Refused(refusal));
    }
    let prepared = state.prepared.contains_key(&txn);
    if prepared || leader(state).seen.contains(txn) {
        return Err(Failure::Refused(Refusal::Aborted));
    }
    Ok(())
}
