//! openraft's network over the peers' connections.
//!
//! Appends are pipelined: each request goes out as openraft produces it, and answers are handed back in order. The called side enters
//! requests into the Raft core in the order in which they arrived (see [`crate::peers::Service::call`]).

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use openraft::{AnyError, OptionalSend};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::codec::{self, AppendAnswer, LogIdForm, VoteAnswer, VoteAsk, VoteForm};
use crate::machine::{SnapshotData, StateMachine};
use crate::peers::{CallError, Class, Peers};
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

/// Message to an element: group, element, then the body.
pub(crate) fn address(group: GroupId, element: ElementId, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(16 + body.len());
    out.put_u64(group.as_u64());
    out.put_u64(element);
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
    fn send(&self, service: u8, body: &[u8]) -> impl Future<Output = Result<Bytes, CallError>> + Send + use<> {
        let message = address(self.network.group, self.target, body);
        self.network.peers.send(self.instance, Class::Consensus, service, message)
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

fn unreachable(error: &CallError) -> RPCError<Types> {
    match error {
        CallError::NotSent { .. } => RPCError::Unreachable(Unreachable::new(error)),
        CallError::Lost { .. } | CallError::Refused { .. } => network(error),
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

impl RaftNetworkV2<Types> for Client {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        let answer = self.send(service::APPEND, &codec::put_append(&request));
        let bytes = tokio::time::timeout(option.hard_ttl(), answer)
            .await
            .map_err(|e| network(&e))?
            .map_err(|e| unreachable(&e))?;
        let answer: AppendAnswer = codec::from_bytes(&bytes, "append answer").map_err(|e| network(&e))?;
        Ok(answer.into())
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        _option: RPCOption,
    ) -> futures::future::BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let (network, target, instance) = (self.network.clone(), self.target, self.instance);
        let (sent, mut answers) = mpsc::channel(PIPELINE);
        // Ends with the stream below: when that is dropped, `sent` closes.
        network.peers.clone().tasks().spawn(async move {
            loop {
                let request = tokio::select! {
                    request = input.next() => request,
                    () = sent.closed() => None,
                };
                let Some(request) = request else { return };
                let previous = request.prev_log_id.clone();
                let last = request.entries.last().map(|e| e.log_id.clone()).or_else(|| previous.clone());
                let message = address(network.group, target, &codec::put_append(&request));
                let answer = network.peers.send(instance, Class::Consensus, service::APPEND, message);
                if sent.send((previous, last, answer)).await.is_err() {
                    return;
                }
            }
        });
        let stream = futures::stream::poll_fn(move |context| answers.poll_recv(context))
            .then(|(previous, last, answer)| async move { append_answer(answer.await, previous, last) })
            .scan(false, |ended, result| {
                // A refusal ends the pipeline: what was sent behind it is refused as well.
                let stop = std::mem::replace(ended, !matches!(result, Ok(Ok(_))));
                futures::future::ready((!stop).then_some(result))
            });
        let stream: BoxStream<'s, _> = Box::pin(stream);
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
        _snapshot: SnapshotOf<Types, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let transfer = snapshot::send(&self.network, &vote, self.target, self.instance);
        let answer = tokio::select! {
            closed = cancel => return Err(StreamingError::Closed(closed)),
            answer = transfer => answer,
        };
        let vote = answer.map_err(|e: io::Error| StreamingError::Network(NetworkError::new(&e)))?;
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
