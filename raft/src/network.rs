//! openraft's network over the peers' connections.
//!
//! Appends are pipelined: each request goes out as openraft produces it, and answers are handed back in order. The called side enters
//! requests into the Raft core in the order in which they arrived (see [`crate::peers::Service::call`]).

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{FutureExt, Stream, StreamExt};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use openraft::{AnyError, OptionalSend};
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;

use crate::codec::{self, AppendAnswer, LogIdForm, VoteAnswer, VoteAsk, VoteForm};
use crate::machine::{SnapshotData, StateMachine};
use crate::peers::{Call, CallError, Class, Peers};
use crate::snapshot;
use crate::types::{ElementId, GroupId, Member, RaftLogId, RaftVote, Types};

/// Service numbers of this crate; the server's own begin at [`FIRST_FREE_SERVICE`].
pub(crate) mod service {
    pub const APPEND: u8 = 1;
    pub const VOTE: u8 = 2;
    pub const PRE_VOTE: u8 = 3;
    pub const TRANSFER: u8 = 4;
    pub const PROBE: u8 = 5;
    pub const SNAPSHOT: u8 = 6;
}

/// The first service number that users of this crate may take.
pub const FIRST_FREE_SERVICE: u8 = 16;

/// Appends under way to one follower.
const PIPELINE: usize = 64;

/// How long a follower that could not be reached is left alone.
const BACKOFF: Duration = Duration::from_millis(50);

/// Makes openraft's clients for one group.
#[derive(Clone)]
pub(crate) struct Network {
    pub peers: Peers,
    pub group: GroupId,
    pub machine: Arc<dyn StateMachine>,
    pub outgoing: Arc<snapshot::Outgoing>,
    /// Where checkpoints for others are made.
    pub scratch: std::path::PathBuf,
    /// What uses the machine holds a token, so that the element's end can wait for it.
    pub tasks: TaskTracker,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Client;

    async fn new_client(&mut self, target: ElementId, node: &Member) -> Client {
        Client { network: self.clone(), target, instance: node.instance }
    }
}

/// Speaks to one element.
pub(crate) struct Client {
    network: Network,
    target: ElementId,
    instance: u32,
}

/// Begins a message to an element: group, element; the body follows.
fn begin(group: GroupId, element: ElementId, body_bytes: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(16 + body_bytes);
    out.put_u64(group.as_u64());
    out.put_u64(element);
    out
}

/// A whole message to an element.
pub(crate) fn address(group: GroupId, element: ElementId, body: &[u8]) -> Bytes {
    let mut out = begin(group, element, body.len());
    out.put_slice(body);
    out.freeze()
}

#[derive(Serialize, Deserialize)]
pub(crate) struct TransferAsk {
    pub from: VoteForm,
    pub to: ElementId,
    pub last: Option<LogIdForm>,
}

impl Client {
    fn send(&self, service: u8, body: &[u8]) -> Call {
        let message = address(self.network.group, self.target, body);
        self.network.peers.send(self.instance, Class::Consensus, service, message)
    }

    fn send_append(&self, request: &AppendEntriesRequest<Types>) -> Call {
        let mut message = begin(self.network.group, self.target, 0);
        codec::put_append(request, &mut message);
        self.network.peers.send(self.instance, Class::Consensus, service::APPEND, message.freeze())
    }

    async fn call<Q: Serialize, A: for<'de> Deserialize<'de>>(
        &self,
        service: u8,
        ask: &Q,
        option: &RPCOption,
    ) -> Result<A, RPCError<Types>> {
        let answer = self.send(service, &codec::to_bytes(ask));
        let bytes = tokio::time::timeout(option.hard_ttl(), answer)
            .await
            .map_err(|e| network(&e))?
            .map_err(|e| unreachable(&e))?;
        codec::from_bytes(&bytes, "answer of a peer").map_err(|e| network(&e))
    }
}

/// For errors behind which openraft should wait a little before it tries again.
fn unreachable(error: &CallError) -> RPCError<Types> {
    match error {
        CallError::NotSent { .. } | CallError::Refused { .. } => RPCError::Unreachable(Unreachable::new(error)),
        CallError::Lost { .. } => network(error),
    }
}

fn network(error: &(impl std::error::Error + 'static)) -> RPCError<Types> {
    RPCError::Network(NetworkError::new(error))
}

fn append_answer(
    result: Result<Bytes, CallError>,
    previous: Option<RaftLogId>,
    last: Option<RaftLogId>,
) -> Result<StreamAppendResult<Types>, RPCError<Types>> {
    let bytes = result.map_err(|e| unreachable(&e))?;
    let answer: AppendAnswer = codec::from_bytes(&bytes, "append answer").map_err(|e| network(&e))?;
    Ok(AppendEntriesResponse::from(answer).into_stream_result(previous, last))
}

/// An append under way, with the log ids before and at its last entry.
struct Sent {
    previous: Option<RaftLogId>,
    last: Option<RaftLogId>,
    answer: Call,
}

/// Sends what `input` produces and hands back the answers in order; ends after the first that is not a success, since what was sent behind
/// it is refused as well.
struct Pipeline<'c, S> {
    client: &'c Client,
    input: Option<S>,
    sent: VecDeque<Sent>,
}

impl<S> Pipeline<'_, S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<StreamAppendResult<Types>, RPCError<Types>>>> {
        while let Some(input) = &mut self.input
            && self.sent.len() < PIPELINE
        {
            match input.poll_next_unpin(context) {
                Poll::Ready(Some(request)) => {
                    let answer = self.client.send_append(&request);
                    let last = request.entries.last().map(|e| e.log_id).or(request.prev_log_id);
                    self.sent.push_back(Sent { previous: request.prev_log_id, last, answer });
                }
                Poll::Ready(None) => self.input = None,
                Poll::Pending => break,
            }
        }
        let Some(first) = self.sent.front_mut() else {
            return if self.input.is_none() { Poll::Ready(None) } else { Poll::Pending };
        };
        let Poll::Ready(answer) = first.answer.poll_unpin(context) else { return Poll::Pending };
        let result = self.sent.pop_front().map(|sent| append_answer(answer, sent.previous, sent.last));
        if !matches!(result, Some(Ok(Ok(_)))) {
            self.input = None;
            self.sent.clear();
        }
        Poll::Ready(result)
    }
}

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let bytes = tokio::time::timeout(option.hard_ttl(), self.send_append(&request))
            .await
            .map_err(|e| network(&e))?
            .map_err(|e| unreachable(&e))?;
        let answer: AppendAnswer = codec::from_bytes(&bytes, "append answer").map_err(|e| network(&e))?;
        Ok(answer.into())
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> futures::future::BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let mut pipeline = Pipeline { client: self, input: Some(input), sent: VecDeque::new() };
        let stream: BoxStream<'s, _> = Box::pin(futures::stream::poll_fn(move |context| pipeline.poll_next(context)));
        Box::pin(futures::future::ready(Ok(stream)))
    }

    async fn vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let answer: VoteAnswer = self.call(service::VOTE, &VoteAsk::from(&request), &option).await?;
        Ok(answer.into())
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let answer: VoteAnswer = self.call(service::PRE_VOTE, &VoteAsk::from(&request), &option).await?;
        Ok(answer.into())
    }

    async fn full_snapshot(
        &mut self,
        vote: RaftVote,
        snapshot: SnapshotOf<Types, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        // What openraft will take the target to have when this succeeds.
        let least = snapshot.meta.last_log_id;
        let transfer = snapshot::send(&self.network, &vote, least, self.target, self.instance);
        let answer = tokio::select! {
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = transfer => answer,
        };
        let vote = answer.map_err(|e: io::Error| StreamingError::Unreachable(Unreachable::new(&e)))?;
        Ok(SnapshotResponse::new(vote.into()))
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let ask = TransferAsk {
            from: request.from_leader().into(),
            to: *request.to_node_id(),
            last: request.last_log_id().map(Into::into),
        };
        let accepted: bool = self.call(service::TRANSFER, &ask, &option).await?;
        if accepted {
            return Ok(Ok(()));
        }
        Err(RPCError::Unreachable(Unreachable::new(&AnyError::error("the target is not ready to lead"))))
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(BACKOFF)))
    }
}
