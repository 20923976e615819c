//! The calling side of a peer connection: connects, reconnects, matches answers to calls.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::frame::{CLASS_ONCE, Frame, Hello, Kind, Outbox, READ_BYTES, READ_RESERVE, read_welcome};
use super::{CallError, Class, Identity, MESSAGE_BYTES_MAX, SILENCE_MAX, Shared};
use crate::types::InstanceId;

const CONNECT_MAX: Duration = Duration::from_secs(2);
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_LAST: Duration = Duration::from_millis(250);
const PING_INTERVAL: Duration = Duration::from_millis(500);

/// Calls that wait for their answers. Frames are queued, and calls ended, under its lock: so a call that was told that it was
/// not sent is never sent later.
#[derive(Default)]
struct Calls {
    waiting: HashMap<u64, oneshot::Sender<Result<Bytes, CallError>>>,
    last: u64,
    /// Why the last attempt to connect failed, or the connection broke that is not back.
    down: Option<String>,
    closed: bool,
}

/// One connection to a peer. Dropping it ends its task.
pub(super) struct Link {
    to: InstanceId,
    queue: mpsc::UnboundedSender<Frame>,
    calls: Arc<Mutex<Calls>>,
    _stop: DropGuard,
}

impl Link {
    pub(super) fn open(shared: &Arc<Shared>, to: InstanceId, class: Class, address: String) -> Self {
        let (queue, frames) = mpsc::unbounded_channel();
        let calls = Arc::<Mutex<Calls>>::default();
        let stop = shared.stop.child_token();
        let hello = Hello { class: Hello::class(class), from: *shared.identity.read(), to };
        let task = Task { to, address, hello, calls: calls.clone(), gone: shared.gone.clone() };
        shared.spawn(task.run(frames, stop.clone()));
        Self { to, queue, calls, _stop: stop.drop_guard() }
    }

    pub(super) fn is_down(&self) -> bool {
        self.calls.lock().down.is_some()
    }

    /// Queues a request. While the peer is known to be down, requests fail at once.
    pub(super) fn send(&self, service: u8, message: Bytes) -> Call {
        let to = self.to;
        let refuse = |reason: &str| Call::failed(CallError::NotSent { to, reason: reason.to_owned() });
        if message.len() > MESSAGE_BYTES_MAX {
            return refuse(&format!("the message has {} bytes", message.len()));
        }
        let mut calls = self.calls.lock();
        if calls.closed {
            return refuse("this instance is shutting down");
        }
        if let Some(reason) = &calls.down {
            return refuse(&format!("the last attempt to connect failed: {reason}"));
        }
        calls.last += 1;
        let call = calls.last;
        if self.queue.send(Frame { kind: Kind::Request, service, call, message }).is_err() {
            return refuse("this instance is shutting down");
        }
        let (answer, answered) = oneshot::channel();
        calls.waiting.insert(call, answer);
        drop(calls);
        Call { state: State::Waiting { to, number: call, calls: self.calls.clone(), answered } }
    }
}

/// A call under way: a future of its answer. Dropping it forgets the call; the peer may see the message all the same.
#[must_use = "a call's answer says whether it was sent"]
pub struct Call {
    state: State,
}

enum State {
    Failed(Option<CallError>),
    Waiting {
        to: InstanceId,
        number: u64,
        calls: Arc<Mutex<Calls>>,
        answered: oneshot::Receiver<Result<Bytes, CallError>>,
    },
}

impl Call {
    pub(super) fn failed(error: CallError) -> Self {
        Self { state: State::Failed(Some(error)) }
    }
}

impl Future for Call {
    type Output = Result<Bytes, CallError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            State::Failed(error) => Poll::Ready(Err(error.take().expect("a future is not polled after its end"))),
            State::Waiting { to, answered, .. } => Pin::new(answered).poll(context).map(|answer| {
                answer.unwrap_or_else(|_| Err(CallError::Lost { to: *to, reason: "the connection has ended".into() }))
            }),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let State::Waiting { number, calls, answered, .. } = &self.state
            && !answered.is_terminated()
        {
            calls.lock().waiting.remove(number);
        }
    }
}

struct Task {
    to: InstanceId,
    address: String,
    hello: Hello,
    calls: Arc<Mutex<Calls>>,
    gone: watch::Sender<BTreeSet<InstanceId>>,
}

impl Task {
    async fn run(self, mut frames: mpsc::UnboundedReceiver<Frame>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.stay_connected(&mut frames) => {}
        }
        self.calls.lock().closed = true;
        self.end_calls(&mut frames, "this instance is shutting down", |to, reason| CallError::Lost { to, reason });
    }

    async fn stay_connected(&self, frames: &mut mpsc::UnboundedReceiver<Frame>) {
        let mut pause = RETRY_FIRST;
        let mut told = false;
        loop {
            let listened = || {
                self.gone.send_if_modified(|gone| gone.remove(&self.to));
            };
            match connect(&self.address, &self.hello, listened).await {
                Ok(stream) => {
                    let since = Instant::now();
                    told = false;
                    self.calls.lock().down = None;
                    let reason = match self.converse(stream, frames).await {
                        Ok(()) => return,
                        Err(error) => error.to_string(),
                    };
                    tracing::debug!(peer = self.to, %reason, "connection lost");
                    self.end_calls(frames, &reason, |to, reason| CallError::Lost { to, reason });
                    if since.elapsed() > RETRY_LAST {
                        // It worked for a while: no need to be patient.
                        pause = RETRY_FIRST;
                        continue;
                    }
                }
                Err(error) => {
                    if error.kind() == io::ErrorKind::ConnectionRefused {
                        self.gone.send_if_modified(|gone| gone.insert(self.to));
                    }
                    if error.kind() == io::ErrorKind::PermissionDenied && !told {
                        tracing::warn!(peer = self.to, address = self.address, %error, "the peer refuses us");
                        told = true;
                    }
                    // Nothing queued can have been sent.
                    self.end_calls(frames, &error.to_string(), |to, reason| CallError::NotSent { to, reason });
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_LAST);
        }
    }

    /// Carries calls until the connection breaks (`Err`) or the link is dropped (`Ok`).
    async fn converse(
        &self,
        mut stream: TcpStream,
        frames: &mut mpsc::UnboundedReceiver<Frame>,
    ) -> Result<(), io::Error> {
        let (mut reader, mut writer) = stream.split();
        let mut out = Outbox::default();
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        let mut ping = tokio::time::interval(PING_INTERVAL);
        ping.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut heard = Instant::now();
        loop {
            buffer.reserve(READ_RESERVE);
            tokio::select! {
                written = out.write(&mut writer), if !out.is_empty() => {
                    written?;
                    // A peer that keeps taking in a long message is not silent; short ones fit into the buffers of one that hangs.
                    if !out.is_empty() {
                        heard = Instant::now();
                    }
                }
                read = reader.read_buf(&mut buffer) => {
                    if read? == 0 {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the peer closed the connection"));
                    }
                    heard = Instant::now();
                    while let Some(frame) = Frame::take(&mut buffer)? {
                        self.answer(frame);
                    }
                }
                frame = frames.recv(), if !out.is_full() => {
                    let Some(frame) = frame else { return Ok(()) };
                    out.put(&frame);
                    while !out.is_full() && let Ok(frame) = frames.try_recv() {
                        out.put(&frame);
                    }
                }
                _ = ping.tick() => {
                    if heard.elapsed() > SILENCE_MAX {
                        return Err(io::Error::new(io::ErrorKind::TimedOut, format!("silent for {SILENCE_MAX:?}")));
                    }
                    // Also when much is heard: the other side listens for silence as well.
                    out.put(&Frame { kind: Kind::Ping, service: 0, call: 0, message: Bytes::new() });
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
        let caller = self.calls.lock().waiting.remove(&frame.call);
        if let Some(caller) = caller {
            drop(caller.send(result));
        }
    }

    /// Ends all calls, sent or queued; new ones fail until the connection is back.
    fn end_calls(
        &self,
        frames: &mut mpsc::UnboundedReceiver<Frame>,
        reason: &str,
        error: impl Fn(InstanceId, String) -> CallError,
    ) {
        let mut calls = self.calls.lock();
        calls.down = Some(reason.to_owned());
        while frames.try_recv().is_ok() {}
        let waiting = std::mem::take(&mut calls.waiting);
        drop(calls);
        for (_, caller) in waiting {
            drop(caller.send(Err(error(self.to, reason.to_owned()))));
        }
    }
}

/// Connects and says hello. `listened` is called once somebody has taken the connection, even if the hello is refused then.
async fn connect(address: &str, hello: &Hello, listened: impl FnOnce()) -> Result<TcpStream, io::Error> {
    let attempt = async {
        let mut stream = TcpStream::connect(address).await?;
        listened();
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
    let mut stream = connect(address, &Hello { class: CLASS_ONCE, from, to: 0 }, || {}).await?;
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
