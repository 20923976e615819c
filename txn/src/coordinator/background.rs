//! What goes on behind the sessions: outcomes are told until every participant has them, transactions whose gateway
//! session lost sight of them are resolved, and sets are told that this gateway lives.
//!
//! Nothing here gives up while the coordinator runs: an outcome that is not told everywhere holds the watermark back, and
//! with it the memory of the sets. When the coordinator stops, participants find out among themselves.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};

use super::error::TxnError;
use super::ids::Unfinished;
use super::link::{Job, News, SetLink};
use super::shared::{Backoff, Shared, unexpected};
use crate::clock::Timestamp;
use crate::protocol::{Failure, Operation, Outcome, Reply, SetId, TxnId, TxnStatus};

/// A transaction that may be prepared or committed, and whose session is gone or has given up.
#[derive(Debug)]
pub(crate) struct InDoubt {
    pub(crate) txn: Arc<Unfinished>,
    pub(crate) participants: Vec<SetId>,
}

/// Delivers the news of one set, many at a time, each until it has arrived.
pub(crate) async fn tell(shared: Arc<Shared>, link: Arc<SetLink>, mut queue: mpsc::UnboundedReceiver<Job>) {
    let mut on_the_way = FuturesUnordered::new();
    let most = shared.config.outcomes_in_flight;
    loop {
        tokio::select! {
            biased;
            Some(()) = on_the_way.next(), if !on_the_way.is_empty() => {}
            Some(job) = queue.recv(), if on_the_way.len() < most => on_the_way.push(deliver(&shared, &link, job)),
            else => return,
        }
    }
}

async fn deliver(shared: &Shared, link: &SetLink, job: Job) {
    let txn = job.txn.txn();
    let operation = match job.news {
        News::Outcome(outcome) => Operation::Resolve { txn, outcome },
        News::Unlock => Operation::Unlock { txn },
    };
    let mut backoff = Backoff::new();
    loop {
        let result = shared.call(link, operation.clone()).await.map(|response| response.result);
        match (result, job.news) {
            (Ok(Ok(Reply::Resolved(recorded))), News::Outcome(told)) => {
                if recorded != told {
                    shared.violated(&format!("{txn:?} is {told:?}, replica set {} has {recorded:?}", link.set));
                }
                return;
            }
            (Ok(Ok(Reply::Done)), News::Unlock) => return,
            // Below its own watermark or fenced: there is nothing left to tell.
            (Ok(Err(Failure::Refused(_))), _) => return,
            (Ok(Ok(other)), _) => {
                tracing::error!(set = link.set, ?txn, ?other, "unexpected answer to an outcome");
            }
            (Ok(Err(_)) | Err(_), _) => {}
        }
        backoff.pause().await;
    }
}

/// Resolves what sessions left in doubt, and sends signs of life.
pub(crate) async fn keep(shared: Arc<Shared>, mut in_doubt: mpsc::UnboundedReceiver<InDoubt>) {
    let mut work: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    let mut beat = tokio::time::interval(shared.config.heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut all_at = Instant::now();
    loop {
        tokio::select! {
            biased;
            Some(()) = work.next(), if !work.is_empty() => {}
            Some(found) = in_doubt.recv() => work.push(Box::pin(resolve(Arc::clone(&shared), found))),
            now = beat.tick() => {
                let all = now >= all_at;
                if all {
                    all_at = now + shared.config.heartbeat_idle;
                }
                for link in shared.links() {
                    if (all || link.held()) && !link.beating.swap(true, std::sync::atomic::Ordering::AcqRel) {
                        work.push(Box::pin(sign_of_life(Arc::clone(&shared), link)));
                    }
                }
            }
        }
    }
}

async fn sign_of_life(shared: Arc<Shared>, link: Arc<SetLink>) {
    // A lost one is followed by the next.
    let _ = tokio::time::timeout(Duration::from_secs(1), shared.call(&link, Operation::Heartbeat)).await;
    link.beating.store(false, std::sync::atomic::Ordering::Release);
}

async fn resolve(shared: Arc<Shared>, found: InDoubt) {
    let links: Vec<_> = found.participants.iter().map(|set| shared.link(*set)).collect();
    let txn = found.txn.txn();
    let settled = settle(&shared, txn, &links, vec![None; links.len()], None).await;
    match settled {
        Ok(Some(outcome)) => {
            tracing::info!(?txn, ?outcome, "resolved a transaction in doubt");
            for link in &links {
                link.tell(News::Outcome(outcome), &found.txn);
            }
        }
        // Forgotten: all participants had it.
        Ok(None) => {}
        Err(error) => tracing::error!(?txn, %error, "cannot resolve a transaction in doubt"),
    }
}

/// Finds out what became of a transaction by asking its participants, each of which refuses it for good if it knows
/// nothing of it (`docs/transactions.md`, "It is in doubt"). `prepared` says what is known already. `Ok(None)`: it was
/// forgotten, or the time given is over.
pub(crate) async fn settle(
    shared: &Shared,
    txn: TxnId,
    links: &[Arc<SetLink>],
    prepared: Vec<Option<Timestamp>>,
    until: Option<Instant>,
) -> Result<Option<Outcome>, TxnError> {
    assert_eq!(links.len(), prepared.len());
    let ask = async {
        let mut highest = prepared.iter().flatten().max().copied();
        let missing = links.iter().zip(&prepared).filter(|(_, at)| at.is_none()).map(|(link, _)| link);
        let mut answers: FuturesUnordered<_> = missing.map(|link| inquire(shared, link, txn, true)).collect();
        while let Some(status) = answers.next().await {
            match status? {
                TxnStatus::Ended(outcome) => return Ok(Some(outcome)),
                TxnStatus::Prepared(at) => highest = highest.max(Some(at)),
                TxnStatus::Forgotten => return Ok(None),
                TxnStatus::Absent => return Err(TxnError::Fatal("a refusal was asked for and not given".into())),
            }
        }
        let at = highest.ok_or_else(|| TxnError::Fatal("a transaction without participants".into()))?;
        Ok(Some(Outcome::Committed(at)))
    };
    match until {
        None => ask.await,
        Some(until) => tokio::time::timeout_at(until, ask).await.unwrap_or(Ok(None)),
    }
}

/// Asks one set about a transaction until it answers.
pub(crate) async fn inquire(shared: &Shared, link: &SetLink, txn: TxnId, refuse: bool) -> Result<TxnStatus, TxnError> {
    let mut backoff = Backoff::new();
    loop {
        match shared.ask(link, Some(txn), Operation::Inquire { txn, refuse }).await {
            Ok(Reply::Status(status)) => return Ok(status),
            Ok(other) => return Err(unexpected("Status", &other)),
            Err(TxnError::Unavailable { .. }) => backoff.pause().await,
            Err(error) => return Err(error),
        }
    }
}
