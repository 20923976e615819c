//! The one port for operators and peers: the first bytes of a connection say which it is.
//!
//! Peers are served on the runtime of consensus, operators' gRPC on the other one.

use std::sync::Arc;
use std::time::Duration;

use quorate_management::service::{AdminService, Port};
use quorate_proto::admin::AdminServer;
use quorate_raft::peers::{PREFACE, Peers};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

/// A connection that does not say what it is within this time is closed.
const SPEAK_WITHIN: Duration = Duration::from_secs(10);

/// Accepts until `stop`; returns once operators' requests have ended.
pub async fn serve<P: Port>(
    listener: std::net::TcpListener,
    consensus: tokio::runtime::Handle,
    peers: Peers,
    port: Arc<P>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let (operators, accepted) = mpsc::channel(16);
    let accepting = consensus.spawn(accept(listener, peers, operators, stop.clone()));
    // A socket is driven by the runtime that registers it, so it is registered here.
    let incoming = ReceiverStream::new(accepted).map(|stream| stream.and_then(TcpStream::from_std));
    tonic::transport::Server::builder()
        .add_service(AdminServer::new(AdminService::new(port)))
        .serve_with_incoming_shutdown(incoming, stop.cancelled_owned())
        .await?;
    accepting.await??;
    Ok(())
}

async fn accept(
    listener: std::net::TcpListener,
    peers: Peers,
    operators: mpsc::Sender<Result<std::net::TcpStream, std::io::Error>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    loop {
        let (stream, from) = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: without a pause this would spin.
                    tracing::error!(%error, "accept a connection of a peer or an operator");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let (peers, operators) = (peers.clone(), operators.clone());
        tokio::spawn(async move {
            let mut first = [0; PREFACE.len()];
            match tokio::time::timeout(SPEAK_WITHIN, peek(&stream, &mut first)).await {
                Ok(Ok(())) if &first == PREFACE => peers.accept(stream, from).await,
                // The other runtime must drive the operators' sockets.
                Ok(Ok(())) => drop(operators.send(stream.into_std()).await),
                Ok(Err(error)) => tracing::debug!(%from, %error, "connection ended before it said what it is"),
                Err(_) => tracing::debug!(%from, "connection said nothing"),
            }
        });
    }
}

/// Looks at the first bytes without taking them.
async fn peek(stream: &TcpStream, first: &mut [u8]) -> Result<(), std::io::Error> {
    loop {
        let seen = stream.peek(first).await?;
        if seen == first.len() || (seen > 0 && first[..seen] != PREFACE[..seen]) {
            return Ok(());
        }
        if seen == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        tokio::task::yield_now().await;
    }
}
