//! One client's socket with its two buffers.
//!
//! Answers collect in one buffer and go out in one write, when all messages that the client has sent so far are dealt with, or above
//! [`OUTPUT_BYTES_MAX`], which is also the backpressure of large results. A statement that has to wait lets the finished answers before it go first.
//!
//! The stream is shared with the gateway's watch over clients that hang up while their statement runs; all reading and writing is here.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use quorate_sql::error::Error;
use tokio::io::Interest;
use tokio::net::TcpStream;

use crate::message::{self, Frame};
use crate::registry::{Ending, Member};

/// Answers are written out above this size even while more are made.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;
/// Room made for one read.
const READ_BYTES: usize = 8 * 1024;
/// A buffer that has grown beyond this is given back when it is empty.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// Why a session ends.
#[derive(Debug)]
pub enum Close {
    /// The client left: Terminate, the end of its stream, or an error of the socket.
    Gone,
    /// The gateway ends it; the client is told why.
    Fatal(Error),
}

impl From<io::Error> for Close {
    fn from(error: io::Error) -> Close {
        tracing::debug!(%error, "client connection failed");
        Close::Gone
    }
}

impl From<Ending> for Close {
    fn from(ending: Ending) -> Close {
        Close::Fatal(ending.error())
    }
}

/// Socket and buffers.
pub struct Io {
    stream: Arc<TcpStream>,
    member: Arc<Member>,
    input: BytesMut,
    /// Where answers are written.
    pub output: BytesMut,
    /// The client waits for what is in `output`.
    pub flush_wanted: bool,
    message_bytes_max: usize,
}

impl Io {
    /// Wraps a socket; `input` is what was already read from it.
    pub fn new(stream: Arc<TcpStream>, member: Arc<Member>, input: BytesMut, message_bytes_max: usize) -> Io {
        Io {
            stream,
            member,
            input,
            output: BytesMut::with_capacity(READ_BYTES),
            flush_wanted: false,
            message_bytes_max,
        }
    }

    /// The next message that is already here.
    pub fn next_buffered(&mut self) -> Result<Option<Frame>, Close> {
        message::next_frame(&mut self.input, self.message_bytes_max).map_err(Close::Fatal)
    }

    /// The next message. Before it waits for the client, everything it waits for is written.
    pub async fn next(&mut self) -> Result<Frame, Close> {
        loop {
            self.member.check()?;
            if let Some(frame) = self.next_buffered()? {
                return Ok(frame);
            }
            if self.flush_wanted {
                self.flush().await?;
                self.flush_wanted = false;
            }
            self.fill().await?;
        }
    }

    /// A Sync has been received already and is next.
    pub fn sync_follows(&self) -> bool {
        message::sync_follows(&self.input)
    }

    /// Runs a statement. If it has to wait while the client waits for finished answers, those go out first.
    ///
    /// The work is boxed: it takes kilobytes, which every future around it would hold, and copy for every message.
    pub fn drive<'a, F: Future + 'a>(&'a mut self, work: F) -> impl Future<Output = F::Output> + 'a {
        let mut work = Box::pin(work);
        let mut flushed = !self.flush_wanted;
        std::future::poll_fn(move |context| match work.as_mut().poll(context) {
            Poll::Pending if !flushed => {
                flushed = true;
                // A full socket or an error of it shows again when the rest is written.
                let _ = self.write_some();
                Poll::Pending
            }
            poll => poll,
        })
    }

    /// Writes all answers out.
    pub async fn flush(&mut self) -> Result<(), Close> {
        std::future::poll_fn(|context| self.poll_flush(context)).await
    }

    /// Writes the answers out if they have become too many to hold.
    pub async fn flush_if_large(&mut self) -> Result<(), Close> {
        if self.output.len() >= OUTPUT_BYTES_MAX { self.flush().await } else { Ok(()) }
    }

    /// [`Io::flush`] without looking at the session's end: for the last words.
    pub async fn flush_at_end(&mut self) -> io::Result<()> {
        loop {
            if self.write_some()? {
                return Ok(());
            }
            self.stream.writable().await?;
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Close>> {
        loop {
            if self.write_some()? {
                if self.output.capacity() > KEPT_BYTES_MAX {
                    self.output = BytesMut::with_capacity(READ_BYTES);
                }
                return Poll::Ready(Ok(()));
            }
            if let Poll::Ready(ending) = self.member.poll_ending(context) {
                return Poll::Ready(Err(ending.into()));
            }
            ready!(self.stream.poll_write_ready(context))?;
        }
    }

    /// Writes what the socket takes; true when nothing is left.
    fn write_some(&mut self) -> io::Result<bool> {
        while !self.output.is_empty() {
            match self.stream.try_write(&self.output) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.output.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.output.clear();
        Ok(true)
    }

    /// Waits for bytes from the client.
    async fn fill(&mut self) -> Result<(), Close> {
        if self.input.is_empty() && self.input.capacity() > KEPT_BYTES_MAX {
            self.input = BytesMut::new();
        }
        self.input.reserve(READ_BYTES);
        self.member.idle();
        let result = std::future::poll_fn(|context| self.poll_fill(context)).await;
        self.member.busy();
        result
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Close>> {
        loop {
            if let Poll::Ready(ending) = self.member.poll_ending(context) {
                return Poll::Ready(Err(ending.into()));
            }
            ready!(self.stream.poll_read_ready(context))?;
            match read_some(&self.stream, &mut self.input) {
                Ok(0) => return Poll::Ready(Err(Close::Gone)),
                Ok(_) => return Poll::Ready(Ok(())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

/// Reads once. A read that gave less than there was room for has emptied the socket: its readiness is taken back at once, which saves the next
/// read that would only say so.
fn read_some(stream: &TcpStream, input: &mut BytesMut) -> io::Result<usize> {
    let room = input.capacity() - input.len();
    let mut short = None;
    let result = stream.try_io(Interest::READABLE, || {
        let count = stream.try_read_buf(input)?;
        if count > 0 && count < room {
            short = Some(count);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(count)
    });
    match short {
        Some(count) => Ok(count),
        None => result,
    }
}
