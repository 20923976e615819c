//! The calling side of a peer connection: connects, reconnects, matches answers to calls.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::frame::{CLASS_ONCE, Frame, Hello, Kind, read_welcome};
use super::server::write_frames;
use super::{CallError, Class, Identity, MESSAGE_BYTES_MAX, SILENCE_MAX, Shared};
use crate::types::InstanceId;

const CONNECT_MAX: Duration = Duration::from_secs(2);
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_LAST: Duration = Duration::from_millis(250);
const PING_INTERVAL: Duration = Duration::from_millis(500);

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Bytes, CallError>>>>>;

/// One connection to a peer. Dropping it ends its task.
pub(super) struct Link {
    to: InstanceId,
    queue: mpsc::UnboundedSender<Frame>,
    waiting: Waiting,
    next_call: AtomicU64,
    /// The last attempt to connect failed, or the connection broke and is not back.
    down: Arc<AtomicBool>,
    _stop: DropGuard,
}

impl Link {
    pub(super) fn open(shared: &Arc<Shared>, to: InstanceId, class: Class, address: String) -> Self {
        let (queue, frames) = mpsc::unbounded_channel();
        let waiting = Waiting::default();
        let down = Arc::new(AtomicBool::new(false));
        let stop = shared.stop.child_token();
        let hello = Hello { class: Hello::class(class), from: *shared.identity.read(), to };
        let task = Task { to, address, hello, waiting: waiting.clone(), down: down.clone() };
        shared.tasks.spawn(task.run(frames, stop.clone()));
        Self { to, queue, waiting, next_call: AtomicU64::new(1), down, _stop: stop.drop_guard() }
    }

    pub(super) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// Queues a request. While the peer is known to be down, requests fail at once.
    pub(super) fn send(&self, service: u8, message: Bytes) -> impl Future<Output = Result<Bytes, CallError>> + Send + use<> {
        let to = self.to;
        let queued = if message.len() > MESSAGE_BYTES_MAX {
            Err(CallError::NotSent { to, reason: format!("the message has {} bytes", message.len()) })
        } else if self.is_down() {
            Err(CallError::NotSent { to, reason: "the last attempt to connect failed".into() })
        } else {
            let call = self.next_call.fetch_add(1, Ordering::Relaxed);
            let (answer, answered) = oneshot::channel();
            self.waiting.lock().insert(call, answer);
            match self.queue.send(Frame { kind: Kind::Request, service, call, message }) {
                Ok(()) => Ok(Cleanup { waiting: self.waiting.clone(), call, answered }),
                Err(_) => Err(CallError::NotSent { to, reason: "this instance is shutting down".into() }),
            }
        };
        async move {
            let mut cleanup = queued?;
            match (&mut cleanup.answered).await {
                Ok(result) => result,
                Err(_) => Err(CallError::Lost { to, reason: "this instance is shutting down".into() }),
            }
        }
    }
}

/// Forgets a call whose caller has gone.
struct Cleanup {
    waiting: Waiting,
    call: u64,
    answered: oneshot::Receiver<Result<Bytes, CallError>>,
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        self.waiting.lock().remove(&self.call);
    }
}

struct Task {
    to: InstanceId,
    address: String,
    hello: Hello,
    waiting: Waiting,
    down: Arc<AtomicBool>,
}

impl Task {
    async fn run(self, mut frames: mpsc::UnboundedReceiver<Frame>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.stay_connected(&mut frames) => {}
        }
        self.fail_all(|to| CallError::Lost { to, reason: "this instance is shutting down".into() });
    }

    async fn stay_connected(&self, frames: &mut mpsc::UnboundedReceiver<Frame>) {
        let mut pause = RETRY_FIRST;
        let mut told = false;
        loop {
            match connect(&self.address, &self.hello).await {
                Ok(stream) => {
                    pause = RETRY_FIRST;
                    told = false;
                    self.down.store(false, Ordering::Relaxed);
                    let reason = match self.converse(stream, frames).await {
                        Ok(()) => return,
                        Err(error) => error.to_string(),
                    };
                    self.down.store(true, Ordering::Relaxed);
                    tracing::debug!(peer = self.to, %reason, "connection lost");
                    self.fail_all(|to| CallError::Lost { to, reason: reason.clone() });
                    while frames.try_recv().is_ok() {}
                }
                Err(error) => {
                    self.down.store(true, Ordering::Relaxed);
                    if error.kind() == io::ErrorKind::PermissionDenied && !told {
                        tracing::warn!(peer = self.to, address = self.address, %error, "the peer refuses us");
                        told = true;
                    }
                    // Nothing queued can have been sent.
                    while frames.try_recv().is_ok() {}
                    self.fail_all(|to| CallError::NotSent { to, reason: error.to_string() });
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_LAST);
                }
            }
        }
    }

    /// Carries calls until the connection breaks (`Err`) or the link is dropped (`Ok`).
    async fn converse(&self, stream: TcpStream, frames: &mut mpsc::UnboundedReceiver<Frame>) -> Result<(), io::Error> {
        let (mut reader, writer) = stream.into_split();
        let (out, outgoing) = mpsc::unbounded_channel();
        let writing = write_frames(writer, outgoing);
        tokio::pin!(writing);
        let mut buffer = BytesMut::with_capacity(64 << 10);
        let mut ping = tokio::time::interval(PING_INTERVAL);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            buffer.reserve(16 << 10);
            tokio::select! {
                result = &mut writing => return Err(result.err().unwrap_or_else(|| io::Error::other("the writer ended"))),
                read = reader.read_buf(&mut buffer) => {
                    if read? == 0 {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed the connection"));
                    }
                    heard = Instant::now();
                    while let Some(frame) = Frame::take(&mut buffer)? {
                        self.answer(frame);
                    }
                }
                frame = frames.recv() => {
                    let Some(frame) = frame else { return Ok(()) };
                    drop(out.send(frame));
                    while let Ok(frame) = frames.try_recv() {
                        drop(out.send(frame));
                    }
                }
                _ = ping.tick() => {
                    if heard.elapsed() > SILENCE_MAX {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("silent for {SILENCE_MAX:?}")));
                    }
                    if heard.elapsed() >= PING_INTERVAL / 2 {
                        drop(out.send(Frame { kind: Kind::Ping, service: 0, call: 0, message: Bytes::new() }));
                    }
                }
            }
        }
    }

    fn answer(&self, frame: Frame) {
        let result = match frame.kind {
            Kind::Answer => Ok(frame.message),
            Kind::Refusal => {
                Err(CallError::Refused { to: self.to, message: String::from_utf8_lossy(&frame.message).into_owned() })
            }
            Kind::Request | Kind::Ping | Kind::Pong => return,
        };
        let caller = self.waiting.lock().remove(&frame.call);
        if let Some(caller) = caller {
            drop(caller.send(result));
        }
    }

    fn fail_all(&self, error: impl Fn(InstanceId) -> CallError) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        for (_, caller) in waiting {
            drop(caller.send(Err(error(self.to))));
        }
    }
}

async fn connect(address: &str, hello: &Hello) -> Result<TcpStream, io::Error> {
    let attempt = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        hello.write(&mut stream).await?;
        read_welcome(&mut stream).await?;
        Ok(stream)
    };
    tokio::time::timeout(CONNECT_MAX, attempt)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {CONNECT_MAX:?}"))))
}

pub(super) async fn call_once(from: Identity, address: &str, service: u8, message: Bytes) -> Result<Bytes, io::Error> {
    let mut stream = connect(address, &Hello { class: CLASS_ONCE, from, to: 0 }).await?;
    let mut out = BytesMut::new();
    Frame { kind: Kind::Request, service, call: 1, message }.put(&mut out);
    tokio::io::AsyncWriteExt::write_all(&mut stream, &out).await?;
    let mut buffer = BytesMut::new();
    loop {
        if let Some(frame) = Frame::take(&mut buffer)? {
            return match frame.kind {
                Kind::Answer => Ok(frame.message),
                _ => Err(io::Error::other(String::from_utf8_lossy(&frame.message).into_owned())),
            };
        }
        if stream.read_buf(&mut buffer).await? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{address} closed the connection")));
        }
    }
}
