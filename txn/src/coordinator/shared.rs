//! What all transactions of a coordinator share: the way to the sets, ids, open snapshots, and the tasks behind.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::background;
use super::config::Config;
use super::cut;
use super::error::TxnError;
use super::ids::Ids;
use super::lane::{Given, Want};
use super::link::SetLink;
use super::open::OpenSnapshots;
use crate::clock::{Clock, Timestamp};
use crate::protocol::{
    Failure, GatewayStatus, Operation, Refusal, Reply, Request, Response, Sender, SetId, Term, TxnId,
};
use crate::traits::{CallError, Sets};

pub(crate) struct Shared {
    pub(crate) sets: Arc<dyn Sets>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) config: Config,
    pub(crate) ids: Arc<Ids>,
    pub(crate) open: OpenSnapshots,
    links: RwLock<BTreeMap<SetId, Arc<SetLink>>>,
    tasks: Mutex<JoinSet<()>>,
    /// Commits whose outcome has to be found out in the background.
    pub(crate) in_doubt: mpsc::UnboundedSender<background::InDoubt>,
    /// Sessions that want a cut.
    pub(crate) cuts: mpsc::UnboundedSender<cut::Wanted>,
    violations: AtomicU64,
}

/// Waits between attempts: 5 ms, doubling up to 100 ms.
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Backoff(Duration::from_millis(5))
    }

    pub(crate) async fn pause(&mut self) {
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_millis(100));
    }
}

/// What became of a message that commits or prepares.
#[derive(Debug)]
pub(crate) enum Delivered {
    /// Done, at this timestamp.
    At(Timestamp),
    /// Staged.
    Done,
    /// Refused for good.
    Refused(Refusal),
    /// Never executed, by no copy of it: the set cannot be reached.
    Never,
    /// It may have been executed.
    Unknown,
}

impl Shared {
    pub(crate) fn new(
        sets: Arc<dyn Sets>,
        clock: Arc<Clock>,
        config: Config,
        ids: Arc<Ids>,
        in_doubt: mpsc::UnboundedSender<background::InDoubt>,
        cuts: mpsc::UnboundedSender<cut::Wanted>,
    ) -> Self {
        Shared {
            sets,
            clock,
            config,
            ids,
            open: OpenSnapshots::default(),
            links: RwLock::new(BTreeMap::new()),
            tasks: Mutex::new(JoinSet::new()),
            in_doubt,
            cuts,
            violations: AtomicU64::new(0),
        }
    }

    /// Something happened that the protocol excludes: it is broken, and data may be. Counted, so that tests see it.
    pub(crate) fn violated(&self, what: &str) {
        self.violations.fetch_add(1, Ordering::AcqRel);
        tracing::error!("transaction protocol violated: {what}");
    }

    pub(crate) fn violations(&self) -> u64 {
        self.violations.load(Ordering::Acquire)
    }

    /// The link to a set, with its tasks. Must be called within a tokio runtime.
    pub(crate) fn link(self: &Arc<Self>, set: SetId) -> Arc<SetLink> {
        if let Some(link) = self.links.read().get(&set) {
            return Arc::clone(link);
        }
        let mut links = self.links.write();
        if let Some(link) = links.get(&set) {
            return Arc::clone(link);
        }
        let (jobs, queue) = mpsc::unbounded_channel();
        let link = Arc::new(SetLink::new(set, jobs));
        links.insert(set, Arc::clone(&link));
        let with = || (Arc::clone(self), Arc::clone(&link));
        let (shared, own) = with();
        self.spawn(async move { own.fresh.serve(&shared, &own).await });
        let (shared, own) = with();
        self.spawn(async move { own.moved.serve(&shared, &own).await });
        let (shared, own) = with();
        self.spawn(background::tell(shared, own, queue));
        link
    }

    pub(crate) fn links(&self) -> Vec<Arc<SetLink>> {
        self.links.read().values().cloned().collect()
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let (task, on_panic) = (AssertUnwindSafe(task).catch_unwind(), self.config.on_panic);
        self.tasks.lock().spawn(async move {
            if task.await.is_err() {
                on_panic("work of the transaction coordinator panicked");
            }
        });
    }

    /// Ends all tasks at once. What they had not delivered stays undone, so the watermark stays as well.
    pub(crate) fn stop(&self) {
        self.ids.freeze();
        self.tasks.lock().abort_all();
    }

    /// One message and its answer. The answer counts as lost when it takes longer than the receiver was told to wait.
    pub(crate) async fn call(&self, link: &SetLink, operation: Operation) -> Result<Response, CallError> {
        let waits = match &operation {
            Operation::Read { patience, .. } | Operation::ReadCut { patience, .. } => patience.limit_ms,
            Operation::Lock { patience, .. } | Operation::LockShared { patience, .. } => patience.limit_ms,
            _ => 0,
        };
        let limit = self.config.answer_timeout + Duration::from_millis(waits.into());
        let request = Request {
            sender: Sender::Gateway(GatewayStatus {
                gateway: self.ids.gateway(),
                finished_below: self.ids.watermark(),
                oldest_snapshot: self.open.oldest(),
            }),
            clock: self.clock.now(),
            operation,
        };
        let answer = tokio::time::timeout(limit, self.sets.call(link.set, request)).await;
        let response = answer.unwrap_or(Err(CallError::Lost(link.set)))?;
        self.clock.merge(response.clock);
        if let Some(term) = response.term {
            link.saw_term(term);
            link.suspect.store(false, Ordering::Release);
        }
        Ok(response)
    }

    /// An operation that may be repeated freely, repeated until it is answered or the set has been silent for
    /// `replica_set_timeout`.
    pub(crate) async fn ask(
        &self,
        link: &SetLink,
        txn: Option<TxnId>,
        operation: Operation,
    ) -> Result<Reply, TxnError> {
        let unavailable = TxnError::Unavailable { set: link.set };
        let mut backoff = Backoff::new();
        let mut failing: Option<Instant> = None;
        loop {
            let response = match self.call(link, operation.clone()).await {
                Ok(response) => Some(response.result),
                Err(CallError::Unavailable(_)) => return Err(unavailable),
                Err(CallError::NotSent(_) | CallError::Lost(_)) => None,
            };
            match response {
                Some(Ok(reply)) => return Ok(reply),
                Some(Err(Failure::Refused(refusal))) => return Err(TxnError::refused(refusal, txn)),
                Some(Err(Failure::Blocked { by, participants })) => {
                    tracing::debug!(set = link.set, ?by, "blocked by a transaction in doubt");
                    let set = participants.first().copied().unwrap_or(link.set);
                    return Err(TxnError::Unavailable { set });
                }
                Some(Err(Failure::NotLeader { .. } | Failure::Unknown)) | None => {}
            }
            let since = *failing.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.config.replica_set_timeout {
                return Err(unavailable);
            }
            backoff.pause().await;
        }
    }

    /// A snapshot, without the lane.
    pub(crate) async fn snapshot(&self, link: &SetLink, want: Want) -> Result<Given, TxnError> {
        match self.ask(link, None, Operation::Snapshot { at: want.at, proof: want.proof }).await? {
            Reply::Snapshot { snapshot, index } => Ok(Given { snapshot, index }),
            other => Err(unexpected("Snapshot", &other)),
        }
    }

    /// The term that a message which commits is to be addressed to.
    async fn term(&self, link: &SetLink) -> Result<Term, TxnError> {
        if let Some(term) = link.term() {
            return Ok(term);
        }
        self.ask(link, None, Operation::Heartbeat).await?;
        link.term().ok_or_else(|| TxnError::Fatal("a leader answered without its term".into()))
    }

    /// Delivers a message that is executed at most once. It is addressed to the highest term known; a leader of a higher one that
    /// answers `WrongTerm` has no record of the transaction, and no copy addressed to a lower term can be executed any
    /// more, so it is addressed anew. A lost message is sent again as it was: its leader knows it.
    pub(crate) async fn deliver(
        &self,
        link: &SetLink,
        make: impl Fn(Term) -> Operation,
    ) -> Result<Delivered, TxnError> {
        let mut backoff = Backoff::new();
        let mut failing: Option<Instant> = None;
        let mut maybe = false;
        let never_or = |maybe| if maybe { Delivered::Unknown } else { Delivered::Never };
        loop {
            let term = match self.term(link).await {
                Ok(term) => term,
                Err(TxnError::Unavailable { .. }) => return Ok(never_or(maybe)),
                Err(error) => return Err(error),
            };
            match self.call(link, make(term)).await {
                Ok(response) => match response.result {
                    Ok(Reply::Committed(at) | Reply::Prepared(at)) => return Ok(Delivered::At(at)),
                    Ok(Reply::Done) => return Ok(Delivered::Done),
                    Ok(other) => return Err(unexpected("Committed or Prepared", &other)),
                    Err(Failure::Refused(Refusal::WrongTerm)) => match response.term {
                        Some(now) if now > term => continue,
                        // The leader knows a first copy that was refused or lost.
                        Some(now) if now == term => return Ok(Delivered::Unknown),
                        // A leader of the past.
                        _ => {}
                    },
                    Err(Failure::Refused(Refusal::Forgotten)) => return Ok(Delivered::Unknown),
                    Err(Failure::Refused(refusal)) => return Ok(Delivered::Refused(refusal)),
                    Err(Failure::Unknown) => return Ok(Delivered::Unknown),
                    // A commit never waits for an intent.
                    Err(Failure::Blocked { .. }) => {
                        return Err(TxnError::Fatal("a commit was answered 'blocked'".into()));
                    }
                    Err(Failure::NotLeader { .. }) => {}
                },
                Err(CallError::Unavailable(_)) => return Ok(never_or(maybe)),
                Err(CallError::NotSent(_)) => {}
                Err(CallError::Lost(_)) => maybe = true,
            }
            let since = *failing.get_or_insert_with(Instant::now);
            if since.elapsed() >= self.config.replica_set_timeout {
                return Ok(never_or(maybe));
            }
            backoff.pause().await;
        }
    }
}

pub(crate) fn unexpected(wanted: &str, got: &Reply) -> TxnError {
    TxnError::Fatal(format!("{wanted} was expected, {got:?} came"))
}
