//! Cuts through all sets, for transactions that only read (rule 17 in `docs/transactions.md`).
//!
//! One task makes them, one after the other; a cut serves all sessions that asked for one before it began, so it shows
//! everything acknowledged before they asked. The first set is frozen, where gateways take turns, then the others, then all are told the
//! highest of their timestamps, which thaws them. If any of them does not take part, or was not frozen all the time, there is no cut, and another is tried.
//!
//! A set that is not there must not make the others stand still again and again: it is suspect until it answers something, and
//! while any set is, there are no cuts. Who gets none reads as other transactions do, and validates.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::join_all;
use tokio::sync::{mpsc, oneshot};

use super::error::TxnError;
use super::link::SetLink;
use super::shared::{Backoff, Shared};
use crate::clock::Timestamp;
use crate::protocol::{LogIndex, Operation, Reply, SetId, Term};
use crate::traits::CallError;

/// How often a cut is tried.
const ATTEMPTS_MAX: usize = 10;

/// A snapshot of several sets as they were at one instant.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) snapshot: Timestamp,
    /// What an element of each set must have applied to be read at the cut.
    pub(crate) indexes: BTreeMap<SetId, LogIndex>,
}

/// A session wants a cut through these sets.
#[derive(Debug)]
pub(crate) struct Wanted {
    sets: Vec<SetId>,
    answer: oneshot::Sender<Option<Arc<Cut>>>,
}

/// A set that is frozen.
#[derive(Clone, Copy, Debug)]
struct Frozen {
    term: Term,
    freeze: u64,
    at: Timestamp,
}

impl Shared {
    /// A cut through these sets; `None` if there cannot be one now.
    pub(crate) async fn cut(&self, sets: &[SetId]) -> Result<Option<Arc<Cut>>, TxnError> {
        let (answer, cut) = oneshot::channel();
        self.cuts.send(Wanted { sets: sets.to_vec(), answer }).map_err(|_| TxnError::Cancelled)?;
        cut.await.map_err(|_| TxnError::Cancelled)
    }

    async fn make_cut(self: &Arc<Self>, sets: &[SetId]) -> Option<Cut> {
        let links: Vec<Arc<SetLink>> = sets.iter().map(|set| self.link(*set)).collect();
        let mut backoff = Backoff::new();
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                backoff.pause().await;
            }
            if links.iter().any(|link| link.suspect.load(Ordering::Acquire)) {
                return None;
            }
            let (first, others) = links.split_first()?;
            let Some(turn) = self.freeze(first, true).await else { continue };
            let mut frozen = vec![Some(turn)];
            frozen.extend(join_all(others.iter().map(|link| self.freeze(link, false))).await);
            if frozen.iter().any(Option::is_none) {
                let thaw = links.iter().zip(&frozen).filter_map(|(link, frozen)| Some((link, frozen.as_ref()?)));
                join_all(thaw.map(|(link, frozen)| self.end_freeze(link, frozen, None))).await;
                continue;
            }
            let Some(at) = frozen.iter().flatten().map(|frozen| frozen.at).max() else { continue };
            let cuts = links.iter().zip(&frozen).map(|(link, frozen)| async move {
                Some((link.set, self.end_freeze(link, frozen.as_ref()?, Some(at)).await?))
            });
            if let Some(indexes) = join_all(cuts).await.into_iter().collect() {
                return Some(Cut { snapshot: at, indexes });
            }
        }
        None
    }

    async fn freeze(&self, link: &SetLink, first: bool) -> Option<Frozen> {
        let naive = self.config.breaks.cut;
        let freeze = if naive { Operation::Snapshot { at: None, proof: true } } else { Operation::Freeze { first } };
        let answer = self.call(link, freeze);
        match tokio::time::timeout(self.config.freeze_patience, answer).await {
            Ok(Ok(response)) => match response.result {
                Ok(Reply::Frozen { term, freeze, at }) => Some(Frozen { term, freeze, at }),
                Ok(Reply::Snapshot { snapshot, .. }) if naive => Some(Frozen { term: 0, freeze: 0, at: snapshot }),
                // Refused, or about to change its leader.
                _ => None,
            },
            // Lost: it may be frozen, which ends by itself.
            Ok(Err(CallError::NotSent(_) | CallError::Lost(_))) => None,
            Ok(Err(CallError::Unavailable(_))) | Err(_) => {
                link.suspect.store(true, Ordering::Release);
                None
            }
        }
    }

    /// The second half: what must be applied to read at the cut, if the set takes part.
    async fn end_freeze(&self, link: &SetLink, frozen: &Frozen, at: Option<Timestamp>) -> Option<LogIndex> {
        let cut = match self.config.breaks.cut {
            true => Operation::Snapshot { at, proof: true },
            false => Operation::Cut { term: frozen.term, freeze: frozen.freeze, at },
        };
        match self.call(link, cut).await.ok()?.result {
            Ok(Reply::Snapshot { snapshot, index }) if Some(snapshot) == at => Some(index),
            _ => None,
        }
    }
}

/// Makes cuts; runs until it is aborted.
pub(crate) async fn serve(shared: Arc<Shared>, mut wanted: mpsc::UnboundedReceiver<Wanted>) {
    while let Some(first) = wanted.recv().await {
        let mut all = vec![first];
        while let Ok(next) = wanted.try_recv() {
            all.push(next);
        }
        let mut sets: Vec<SetId> = all.iter().flat_map(|wanted| wanted.sets.iter().copied()).collect();
        sets.sort_unstable();
        sets.dedup();
        let cut = shared.make_cut(&sets).await.map(Arc::new);
        for wanted in all {
            // Whoever has stopped waiting needs no answer.
            let _ = wanted.answer.send(cut.clone());
        }
    }
}
