//! The called side of a peer connection.

use std::io;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::frame::{CLASS_ONCE, Frame, Hello, Kind, write_welcome};
use super::{Identity, Shared, WIRE_VERSION};

/// A peer that connects has this long to say who it is.
const HELLO_MAX: Duration = Duration::from_secs(5);

/// Most answers under way on one connection; beyond, reading pauses until some are done.
const CALLS_MAX: usize = 16_384;

/// How many bytes of ready frames go into one write.
pub(super) const WRITE_BYTES: usize = 256 << 10;

type Answer = BoxFuture<'static, Frame>;

pub(super) async fn serve(shared: Arc<Shared>, mut stream: TcpStream) -> Result<(), io::Error> {
    stream.set_nodelay(true)?;
    let hello = tokio::time::timeout(HELLO_MAX, Hello::read(&mut stream)).await.map_err(io::Error::from)??;
    let own = *shared.identity.read();
    let (hello, refusal) = match hello {
        Err(version) => (None, Some(format!("this instance speaks wire version {WIRE_VERSION}, not {version}"))),
        Ok(hello) => {
            let refusal = refuse(&own, &hello);
            (Some(hello), refusal)
        }
    };
    write_welcome(&mut stream, refusal.as_deref()).await?;
    let (Some(hello), None) = (hello, &refusal) else {
        let refusal = refusal.unwrap_or_default();
        tracing::warn!(reason = refusal, "refused a peer connection");
        return Ok(());
    };
    let _registration = (hello.from.instance != 0).then(|| Registration::new(&shared, hello.from.instance));
    converse(&shared, stream, hello.from, hello.class == CLASS_ONCE).await
}

/// Counts a peer's connection for as long as it lives.
struct Registration<'a> {
    shared: &'a Shared,
    instance: u32,
}

impl<'a> Registration<'a> {
    fn new(shared: &'a Shared, instance: u32) -> Self {
        shared.incoming.send_modify(|peers| *peers.entry(instance).or_default() += 1);
        Self { shared, instance }
    }
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.shared.incoming.send_modify(|peers| {
            if let Some(count) = peers.get_mut(&self.instance) {
                *count -= 1;
                if *count == 0 {
                    peers.remove(&self.instance);
                }
            }
        });
    }
}

fn refuse(own: &Identity, hello: &Hello) -> Option<String> {
    if hello.class == CLASS_ONCE {
        return None;
    }
    if own.grid.is_nil() {
        return Some("this instance does not belong to a grid yet".into());
    }
    if hello.from.grid != own.grid {
        return Some(format!("this instance belongs to grid {}, not to {}", own.grid, hello.from.grid));
    }
    if hello.to != own.instance {
        return Some(format!("this is instance {}, not instance {}", own.instance, hello.to));
    }
    None
}

async fn converse(shared: &Arc<Shared>, stream: TcpStream, from: Identity, stranger: bool) -> Result<(), io::Error> {
    let (mut reader, writer) = stream.into_split();
    let (out, frames) = mpsc::unbounded_channel();
    let writing = shared.tasks.spawn(write_frames(writer, frames));
    let result = read_requests(shared, &mut reader, from, stranger, &out).await;
    drop(out);
    writing.abort();
    result
}

async fn read_requests(
    shared: &Shared,
    reader: &mut (impl AsyncReadExt + Unpin),
    from: Identity,
    stranger: bool,
    out: &mpsc::UnboundedSender<Frame>,
) -> Result<(), io::Error> {
    let mut buffer = BytesMut::with_capacity(64 << 10);
    let mut answers: FuturesUnordered<Answer> = FuturesUnordered::new();
    loop {
        while answers.len() < CALLS_MAX
            && let Some(frame) = Frame::take(&mut buffer)?
        {
            if let Some(answer) = dispatch(shared, from, stranger, frame, out) {
                answers.push(answer);
            }
        }
        buffer.reserve(16 << 10);
        tokio::select! {
            read = reader.read_buf(&mut buffer), if answers.len() < CALLS_MAX => {
                if read? == 0 {
                    return Ok(());
                }
            }
            Some(frame) = answers.next() => drop(out.send(frame)),
        }
    }
}

/// Starts a request. Services are polled at once, so that requests start in the order in which they came; an answer that is ready by then
/// is sent without a detour.
fn dispatch(shared: &Shared, from: Identity, stranger: bool, frame: Frame, out: &mpsc::UnboundedSender<Frame>) -> Option<Answer> {
    let (service, call) = (frame.service, frame.call);
    match frame.kind {
        Kind::Request => {
            let handler = shared.services.read().get(&service).cloned();
            let mut future: Answer = match handler {
                Some(handler) if stranger && !handler.open_to_strangers() => Box::pin(async move {
                    answer(service, call, Err(format!("service {service} is for members of the grid")))
                }),
                Some(handler) => {
                    let future = handler.call(from, frame.message);
                    Box::pin(async move { answer(service, call, future.await) })
                }
                None => Box::pin(async move { answer(service, call, Err(format!("there is no service {service} here"))) }),
            };
            match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
                Poll::Ready(frame) => {
                    drop(out.send(frame));
                    None
                }
                Poll::Pending => Some(future),
            }
        }
        Kind::Ping => {
            drop(out.send(Frame { kind: Kind::Pong, service, call, message: Bytes::new() }));
            None
        }
        Kind::Answer | Kind::Refusal | Kind::Pong => None,
    }
}

fn answer(service: u8, call: u64, result: Result<Bytes, String>) -> Frame {
    match result {
        Ok(message) => Frame { kind: Kind::Answer, service, call, message },
        Err(text) => Frame { kind: Kind::Refusal, service, call, message: text.into() },
    }
}

/// Writes frames, all that are ready in one write.
pub(super) async fn write_frames(
    mut writer: impl tokio::io::AsyncWrite + Unpin,
    mut frames: mpsc::UnboundedReceiver<Frame>,
) -> Result<(), io::Error> {
    let mut out = BytesMut::with_capacity(64 << 10);
    while let Some(frame) = frames.recv().await {
        frame.put(&mut out);
        while out.len() < WRITE_BYTES
            && let Ok(frame) = frames.try_recv()
        {
            frame.put(&mut out);
        }
        writer.write_all(&out).await?;
        out.clear();
        if out.capacity() > 4 * WRITE_BYTES {
            out = BytesMut::with_capacity(64 << 10);
        }
    }
    Ok(())
}
