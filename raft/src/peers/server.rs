//! The called side of a peer connection.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::frame::{CLASS_ONCE, Frame, Hello, Kind, Outbox, READ_BYTES, READ_RESERVE, write_welcome};
use super::{Identity, MESSAGE_BYTES_MAX, SILENCE_MAX, Shared, WIRE_VERSION};

/// A peer that connects has this long to say who it is.
const HELLO_MAX: Duration = Duration::from_secs(5);

/// Most answers under way on one connection; beyond, reading pauses until some are done.
const CALLS_MAX: usize = 16_384;

/// Most bytes of answers that wait for a peer that does not read them; beyond, reading pauses.
const OUT_BYTES_MAX: usize = 64 << 20;

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

async fn converse(shared: &Shared, mut stream: TcpStream, from: Identity, stranger: bool) -> Result<(), io::Error> {
    let (mut reader, mut writer) = stream.split();
    let mut out = Outbox::default();
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let mut answers: FuturesUnordered<Answer> = FuturesUnordered::new();
    let mut ticks = tokio::time::interval(SILENCE_MAX / 4);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        while answers.len() < CALLS_MAX
            && let Some(frame) = Frame::take(&mut buffer)?
        {
            if let Some(answer) = dispatch(shared, from, stranger, frame, &mut out) {
                answers.push(answer);
            }
        }
        buffer.reserve(READ_RESERVE);
        let reads = answers.len() < CALLS_MAX && out.len() < OUT_BYTES_MAX;
        tokio::select! {
            written = out.write(&mut writer), if !out.is_empty() => written?,
            read = reader.read_buf(&mut buffer), if reads => {
                if read? == 0 {
                    return Ok(());
                }
                heard = Instant::now();
            }
            Some(frame) = answers.next() => {
                out.put(&frame);
                while let Some(Some(frame)) = answers.next().now_or_never() {
                    out.put(&frame);
                }
            }
            _ = ticks.tick() => {
                // Members of the grid ping all the time; one that was cut off leaves a connection that never ends.
                if !reads || stranger {
                    heard = Instant::now();
                } else if heard.elapsed() > SILENCE_MAX {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, format!("instance {} is silent", from.instance)));
                }
            }
        }
    }
}

/// An answer under way.
struct Answer {
    service: u8,
    call: u64,
    work: BoxFuture<'static, Result<Bytes, String>>,
}

impl Future for Answer {
    type Output = Frame;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Frame> {
        // Not part of the task's budget: with none left a request would not even start, and others behind it would overtake it.
        let work = std::pin::pin!(tokio::task::unconstrained(&mut self.work));
        let Poll::Ready(result) = work.poll(context) else { return Poll::Pending };
        Poll::Ready(answer(self.service, self.call, result))
    }
}

/// Starts a request. Services are polled at once, so that requests start in the order in which they came; an answer that is ready by then
/// is sent without a detour.
fn dispatch(shared: &Shared, from: Identity, stranger: bool, frame: Frame, out: &mut Outbox) -> Option<Answer> {
    let Frame { kind, service, call, message } = frame;
    match kind {
        Kind::Request => {
            let handler = shared.services.read().get(&service).cloned();
            let work = match handler {
                Some(handler) if !stranger || handler.open_to_strangers() => handler.call(from, message),
                Some(_) => refused(format!("service {service} is for members of the grid")),
                None => refused(format!("there is no service {service} here")),
            };
            let mut answer = Answer { service, call, work };
            match Pin::new(&mut answer).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(frame) => out.put(&frame),
                Poll::Pending => return Some(answer),
            }
        }
        Kind::Ping => out.put(&Frame { kind: Kind::Pong, service, call, message: Bytes::new() }),
        Kind::Answer | Kind::Refusal | Kind::Pong => {}
    }
    None
}

fn refused(text: String) -> BoxFuture<'static, Result<Bytes, String>> {
    Box::pin(std::future::ready(Err(text)))
}

fn answer(service: u8, call: u64, result: Result<Bytes, String>) -> Frame {
    match result {
        Ok(message) if message.len() > MESSAGE_BYTES_MAX => {
            let text = format!("the answer of service {service} has {} bytes", message.len());
            Frame { kind: Kind::Refusal, service, call, message: text.into() }
        }
        Ok(message) => Frame { kind: Kind::Answer, service, call, message },
        Err(text) => Frame { kind: Kind::Refusal, service, call, message: text.into() },
    }
}
