//! What a replica set asks of the world around it: its replicated log, and the way to other replica sets.
//!
//! The node implements both over its network and consensus, the simulation over fakes. Nothing else of either is known here.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::oneshot;

use crate::clock::Timestamp;
use crate::protocol::{LogIndex, ReadAnswer, ReadOp, Request, Response, SetId, Term};

/// The replicated log of one replica set, as the element beside it sees it.
#[async_trait]
pub trait ReplicaLog: Send + Sync {
    /// The term in which this element leads; `None` unless it leads *and* has applied its own first entry of that term.
    fn term(&self) -> Option<Term>;

    /// Enqueues a command. Never waits: the order of the calls is the order in the log, so timestamps are assigned and
    /// proposed under one mutex. When a command is applied here, no command proposed before it in the same term can be
    /// applied any more unless it already was.
    fn propose(&self, command: Bytes) -> Proposal;

    /// Whether this element still led in `term` at some moment after the call began. Cheap: callers that wait share one round.
    async fn prove(&self, term: Term) -> bool;
}

/// The fate of a proposed command cannot be observed: it may have been applied, or may still be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proposal was lost from sight")]
pub struct Lost;

/// A command on its way through the log. Resolves to the reply of apply, or to [`Lost`].
#[derive(Debug)]
pub struct Proposal(oneshot::Receiver<Bytes>);

/// The other end of a [`Proposal`]; dropping it means [`Lost`].
#[derive(Debug)]
pub struct ProposalSender(oneshot::Sender<Bytes>);

impl Proposal {
    /// A proposal and the end that resolves it.
    pub fn channel() -> (ProposalSender, Proposal) {
        let (sender, receiver) = oneshot::channel();
        (ProposalSender(sender), Proposal(receiver))
    }

    /// A proposal that is lost from the start.
    pub fn lost() -> Proposal {
        Proposal::channel().1
    }
}

impl From<oneshot::Receiver<Bytes>> for Proposal {
    /// For logs that answer through a channel of their own; a closed channel means [`Lost`].
    fn from(reply: oneshot::Receiver<Bytes>) -> Proposal {
        Proposal(reply)
    }
}

impl ProposalSender {
    /// Hands over the reply of apply. Whoever proposed may have stopped waiting; that is no error.
    pub fn applied(self, reply: Bytes) {
        let _ = self.0.send(reply);
    }
}

impl Future for Proposal {
    type Output = Result<Bytes, Lost>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|_| Lost)
    }
}

/// The way to the leaders of the replica sets of this database. Implementations find the leader and follow its hints.
#[async_trait]
pub trait Sets: Send + Sync {
    /// Sends a request to the leader of a set and waits for its answer.
    ///
    /// A request that changes something is sent to one element only: it is not repeated elsewhere after it may have arrived.
    /// What was answered with [`Failure::NotLeader`](crate::protocol::Failure::NotLeader), or not sent, is not executed later
    /// either: no copy of it is left under way.
    async fn call(&self, set: SetId, request: Request) -> Result<Response, CallError>;

    /// This instance's own element of a set, if it has one that is loaded: the gateway reads there what the leader has made safe.
    fn local(&self, set: SetId) -> Option<Arc<dyn LocalReads>> {
        let _ = set;
        None
    }
}

/// Reads at an element of this instance, leader or not, at a snapshot that the set's leader has made safe.
#[async_trait]
pub trait LocalReads: Send + Sync {
    /// The last log index applied.
    fn applied(&self) -> LogIndex;

    /// Waits until `index` is applied; `false` if that takes longer than `limit`, or never comes.
    async fn reached(&self, index: LogIndex, limit: Duration) -> bool;

    /// Reads at `at`, a cut or another snapshot; the index that came with it must be applied. Never waits. `None`: only the leader can tell,
    /// since an intent at or below the snapshot is not resolved here, or the snapshot lies below the garbage-collection
    /// threshold, or the element is unloaded.
    fn read(&self, at: Timestamp, cut: bool, reads: &[ReadOp]) -> Option<ReadAnswer>;
}

/// Programs that scans have run over their rows where these are: bytes here, made and understood by somebody else.
///
/// They depend on nothing but the rows, so that it does not matter when and at which element they are run.
pub trait Programs: Send + Sync {
    /// A program at the beginning of a page.
    ///
    /// # Errors
    /// Bytes that say why it cannot be run, for whoever made it.
    fn begin(&self, program: &[u8]) -> Result<Box<dyn RowProgram>, Bytes>;
}

/// A program at work on one page.
pub trait RowProgram {
    /// Takes a row in, and says whether the page has to end with it, since enough has come out or is held.
    ///
    /// # Errors
    /// What is wrong with the row. Then what came before the row is what comes out.
    fn row(&mut self, key: &[u8], value: &[u8]) -> Result<bool, Bytes>;

    /// What comes out of all rows taken in.
    ///
    /// # Errors
    /// What is wrong with them.
    fn finish(self: Box<Self>) -> Result<Bytes, Bytes>;
}

/// For elements whose scans have no programs.
#[derive(Clone, Copy, Debug)]
pub struct NoPrograms;

impl Programs for NoPrograms {
    fn begin(&self, _: &[u8]) -> Result<Box<dyn RowProgram>, Bytes> {
        Err(Bytes::from_static(b"this element runs no programs"))
    }
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It certainly never left; it may be repeated.
    #[error("the request to replica set {0} was not sent")]
    NotSent(SetId),
    /// It was sent and no answer came: it may have been executed.
    #[error("the answer of replica set {0} was lost")]
    Lost(SetId),
    /// The set has no leader that can be reached. It certainly never left.
    #[error("replica set {0} is unavailable")]
    Unavailable(SetId),
}
