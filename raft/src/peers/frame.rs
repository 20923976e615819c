//! Frames and handshakes on a peer connection.
//!
//! Handshake of the caller: preface (4 bytes), wire version (2), class (1), grid (16), instance (4), incarnation (4), called instance (4). Answer:
//! wire version (2), length of a refusal (2; 0 = accepted), its text. Then frames in both directions: length of the rest (4), kind (1), service (1),
//! call number (8), message. Integers are big-endian.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use uuid::Uuid;

use super::{Class, Identity, MESSAGE_BYTES_MAX, PREFACE, WIRE_VERSION};
use crate::types::InstanceId;

const HEAD: usize = 10;

/// Class byte of a single call before instances have numbers.
pub(super) const CLASS_ONCE: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Request = 0,
    Answer = 1,
    Refusal = 2,
    /// Asks for a [`Kind::Pong`], to notice a peer that hangs.
    Ping = 3,
    Pong = 4,
}

impl Kind {
    fn decode(byte: u8) -> Result<Self, io::Error> {
        Ok(match byte {
            0 => Self::Request,
            1 => Self::Answer,
            2 => Self::Refusal,
            3 => Self::Ping,
            4 => Self::Pong,
            other => return Err(io::Error::new(io::ErrorKind::InvalidData, format!("frame of unknown kind {other}"))),
        })
    }
}

#[derive(Debug)]
pub(super) struct Frame {
    pub kind: Kind,
    pub service: u8,
    pub call: u64,
    pub message: Bytes,
}

impl Frame {
    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u32((HEAD + self.message.len()) as u32);
        out.put_u8(self.kind as u8);
        out.put_u8(self.service);
        out.put_u64(self.call);
        out.put_slice(&self.message);
    }

    /// Takes a whole frame from the front of `buffer`, if there is one.
    pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Self>, io::Error> {
        if buffer.len() < 4 {
            return Ok(None);
        }
        let length = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
        if !(HEAD..=MESSAGE_BYTES_MAX + HEAD).contains(&length) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("frame of {length} bytes")));
        }
        if buffer.len() < 4 + length {
            buffer.reserve(4 + length - buffer.len());
            return Ok(None);
        }
        buffer.advance(4);
        let mut frame = buffer.split_to(length).freeze();
        let kind = Kind::decode(frame.get_u8())?;
        let service = frame.get_u8();
        let call = frame.get_u64();
        Ok(Some(Self { kind, service, call, message: frame }))
    }
}

/// Room for reading: what a buffer has at first, and at least before each read.
pub(super) const READ_BYTES: usize = 64 << 10;
pub(super) const READ_RESERVE: usize = 16 << 10;

/// How many bytes of frames wait for one write.
const WRITE_BYTES: usize = 256 << 10;

/// Frames on their way out, all that are ready in one write.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: BytesMut,
}

impl Outbox {
    pub(super) fn put(&mut self, frame: &Frame) {
        frame.put(&mut self.bytes);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing should be added before some of it was written.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= WRITE_BYTES
    }

    /// Writes some; nothing is lost if the future is dropped.
    pub(super) async fn write(&mut self, stream: &mut (impl AsyncWrite + Unpin)) -> Result<(), io::Error> {
        if stream.write_buf(&mut self.bytes).await? == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if self.bytes.is_empty() && self.bytes.capacity() > 4 * WRITE_BYTES {
            self.bytes = BytesMut::new();
        }
        Ok(())
    }
}

/// What a caller says first.
#[derive(Debug)]
pub(super) struct Hello {
    pub class: u8,
    pub from: Identity,
    pub to: InstanceId,
}

impl Hello {
    pub(super) fn class(class: Class) -> u8 {
        match class {
            Class::Consensus => 0,
            Class::Bulk => 1,
        }
    }

    pub(super) async fn write(&self, stream: &mut (impl AsyncWrite + Unpin)) -> Result<(), io::Error> {
        let mut out = BytesMut::with_capacity(35);
        out.put_slice(PREFACE);
        out.put_u16(WIRE_VERSION);
        out.put_u8(self.class);
        out.put_slice(self.from.grid.as_bytes());
        out.put_u32(self.from.instance);
        out.put_u32(self.from.incarnation);
        out.put_u32(self.to);
        stream.write_all(&out).await
    }

    /// Reads a hello, or the wire version of one that this program does not speak.
    pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Result<Self, u16>, io::Error> {
        let mut preface = [0; 4];
        stream.read_exact(&mut preface).await?;
        if &preface != PREFACE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a peer of this kind"));
        }
        let version = stream.read_u16().await?;
        if version != WIRE_VERSION {
            return Ok(Err(version));
        }
        let class = stream.read_u8().await?;
        let mut grid = [0; 16];
        stream.read_exact(&mut grid).await?;
        let instance = stream.read_u32().await?;
        let incarnation = stream.read_u32().await?;
        let to = stream.read_u32().await?;
        Ok(Ok(Self { class, from: Identity { grid: Uuid::from_bytes(grid), instance, incarnation }, to }))
    }
}

pub(super) async fn write_welcome(
    stream: &mut (impl AsyncWrite + Unpin),
    refusal: Option<&str>,
) -> Result<(), io::Error> {
    let text = refusal.unwrap_or_default().as_bytes();
    let mut out = BytesMut::with_capacity(4 + text.len());
    out.put_u16(WIRE_VERSION);
    out.put_u16(text.len() as u16);
    out.put_slice(text);
    stream.write_all(&out).await
}

/// Reads the answer to a hello; a refusal is an error of kind `PermissionDenied` with the peer's text.
pub(super) async fn read_welcome(stream: &mut (impl AsyncRead + Unpin)) -> Result<(), io::Error> {
    let version = stream.read_u16().await?;
    let length = stream.read_u16().await?;
    let mut text = vec![0; usize::from(length)];
    stream.read_exact(&mut text).await?;
    if length > 0 {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, String::from_utf8_lossy(&text).into_owned()));
    }
    if version != WIRE_VERSION {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("it speaks wire version {version}")));
    }
    Ok(())
}
