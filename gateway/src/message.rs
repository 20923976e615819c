//! Messages from the client: framing and decoding.
//!
//! Every read is checked against the end of its message, and names and texts are borrowed from it. (pgwire's own decoders copy
//! each string, take bytes that are no UTF-8 for characters, and panic on a message that is shorter than its counts say, so the gateway uses
//! the crate for what it sends and for the start of a session only.)
//!
//! A malformed message is 08P01: inside a well-framed message the session can go on, a broken frame ends it.

use bytes::{Buf, Bytes, BytesMut};
use quorate_sql::error::{Error, SqlState};

/// Limit of messages that carry no text or data, type byte left aside.
const SMALL_MESSAGE_BYTES_MAX: usize = 10_000;

/// One message: its type byte, and what follows the length.
#[derive(Debug)]
pub struct Frame {
    /// Type byte.
    pub kind: u8,
    /// Body.
    pub body: Bytes,
}

/// Cuts the next whole message off `input`; `None` if more bytes are needed. `bytes_max` bounds messages with texts or data.
///
/// # Errors
/// An unknown type or an impossible length: the stream cannot be followed any further.
pub fn next_frame(input: &mut BytesMut, bytes_max: usize) -> Result<Option<Frame>, Error> {
    let Some(&kind) = input.first() else { return Ok(None) };
    let limit = match kind {
        b'Q' | b'P' | b'B' | b'd' => bytes_max,
        b'C' | b'D' | b'E' | b'F' | b'H' | b'S' | b'X' | b'c' | b'f' | b'p' => SMALL_MESSAGE_BYTES_MAX,
        _ => return Err(violation(format!("invalid frontend message type {kind}"))),
    };
    let Some(length) = input.get(1..5) else { return Ok(None) };
    let length = i32::from_be_bytes(length.try_into().expect("four bytes"));
    let length = usize::try_from(length)
        .ok()
        .filter(|&length| length >= 4)
        .ok_or_else(|| violation("invalid message length"))?;
    if length > limit {
        if limit == SMALL_MESSAGE_BYTES_MAX {
            return Err(violation("invalid message length"));
        }
        return Err(Error::new(
            SqlState::PROGRAM_LIMIT_EXCEEDED,
            format!("message of {length} bytes exceeds the limit of {limit}"),
        )
        .with_hint("Send the data in several statements, or use COPY."));
    }
    if input.len() < length + 1 {
        // Room for the rest at once, instead of doubling towards it.
        input.reserve(length + 1 - input.len());
        return Ok(None);
    }
    let mut frame = input.split_to(length + 1);
    frame.advance(5);
    Ok(Some(Frame { kind, body: frame.freeze() }))
}

/// A Sync is the next message and wholly there.
pub fn sync_follows(input: &[u8]) -> bool {
    input.starts_with(&[b'S', 0, 0, 0, 4])
}

/// A protocol violation (08P01).
#[cold]
pub fn violation(message: impl Into<String>) -> Error {
    Error::new(SqlState::PROTOCOL_VIOLATION, message)
}

/// Reads the fields of one message.
#[derive(Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Begins at the start of a body.
    pub fn new(body: &'a [u8]) -> Fields<'a> {
        Fields { rest: body }
    }

    /// `count` bytes.
    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or_else(|| violation("insufficient data left in message"))?;
        self.rest = rest;
        Ok(taken)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.bytes(1)?[0])
    }

    /// A count: the protocol's Int16, unsigned.
    pub fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(self.bytes(2)?.try_into().expect("two bytes")))
    }

    /// Int32.
    pub fn i32(&mut self) -> Result<i32, Error> {
        Ok(i32::from_be_bytes(self.bytes(4)?.try_into().expect("four bytes")))
    }

    /// A string with its closing zero byte.
    pub fn text(&mut self) -> Result<&'a str, Error> {
        let end = self.rest.iter().position(|&byte| byte == 0).ok_or_else(|| violation("invalid string in message"))?;
        let text = self.bytes(end + 1)?;
        utf8(&text[..end])
    }

    /// Asserts that nothing is left.
    pub fn end(&self) -> Result<(), Error> {
        if self.rest.is_empty() { Ok(()) } else { Err(violation("invalid message format")) }
    }
}

/// The characters in `bytes` (22021 if they are no UTF-8).
pub fn utf8(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|error| {
        let wrong = &bytes[error.valid_up_to()..];
        let shown: Vec<String> =
            wrong.iter().take(error.error_len().unwrap_or(wrong.len())).map(|byte| format!("0x{byte:02x}")).collect();
        Error::new(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            format!("invalid byte sequence for encoding \"UTF8\": {}", shown.join(" ")),
        )
    })
}

/// `Parse`.
#[derive(Debug)]
pub struct Parse<'a> {
    /// Name of the statement, empty for the unnamed one.
    pub name: &'a str,
    /// Its text.
    pub sql: &'a str,
    /// Types of the first parameters; 0 leaves one open.
    pub type_oids: Vec<u32>,
}

impl<'a> Parse<'a> {
    /// Decodes a body.
    pub fn decode(body: &'a [u8]) -> Result<Parse<'a>, Error> {
        let mut fields = Fields::new(body);
        let (name, sql) = (fields.text()?, fields.text()?);
        let count = fields.u16()?;
        let type_oids = fields
            .bytes(usize::from(count) * 4)?
            .chunks_exact(4)
            .map(|oid| u32::from_be_bytes(oid.try_into().expect("four bytes")))
            .collect();
        fields.end()?;
        Ok(Parse { name, sql, type_oids })
    }
}

/// How values are laid out: all as text, all in one way, or each in its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Formats {
    /// Text.
    #[default]
    Text,
    /// Binary.
    Binary,
    /// One for each; true is binary.
    Each(Box<[bool]>),
}

impl Formats {
    fn decode(fields: &mut Fields<'_>) -> Result<Formats, Error> {
        let count = usize::from(fields.u16()?);
        let binary = |code: &[u8]| match i16::from_be_bytes([code[0], code[1]]) {
            0 => Ok(false),
            1 => Ok(true),
            code => Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("unsupported format code: {code}"))),
        };
        let codes = fields.bytes(count * 2)?;
        match codes.len() {
            0 => Ok(Formats::Text),
            2 => Ok(if binary(codes)? { Formats::Binary } else { Formats::Text }),
            _ => Ok(Formats::Each(codes.chunks_exact(2).map(binary).collect::<Result<_, _>>()?)),
        }
    }

    /// Whether value number `at` is binary.
    pub fn is_binary(&self, at: usize) -> bool {
        match self {
            Formats::Text => false,
            Formats::Binary => true,
            Formats::Each(each) => each.get(at).copied().unwrap_or(false),
        }
    }

    /// Checks that they suit `count` values.
    pub fn suit(&self, count: usize) -> bool {
        match self {
            Formats::Text | Formats::Binary => true,
            Formats::Each(each) => each.len() == count,
        }
    }
}

/// `Bind`, read in order: the parameters' number is known before their bytes are looked at.
#[derive(Debug)]
pub struct Bind<'a> {
    /// Name of the portal, empty for the unnamed one.
    pub portal: &'a str,
    /// Name of the statement.
    pub statement: &'a str,
    /// Layout of the parameters.
    pub parameter_formats: Formats,
    /// Number of parameters.
    pub parameter_count: usize,
    fields: Fields<'a>,
}

impl<'a> Bind<'a> {
    /// Decodes what comes before the parameters.
    pub fn decode(body: &'a [u8]) -> Result<Bind<'a>, Error> {
        let mut fields = Fields::new(body);
        let (portal, statement) = (fields.text()?, fields.text()?);
        let parameter_formats = Formats::decode(&mut fields)?;
        let parameter_count = usize::from(fields.u16()?);
        Ok(Bind { portal, statement, parameter_formats, parameter_count, fields })
    }

    /// The next parameter's bytes; `None` for NULL. To be called `parameter_count` times.
    pub fn parameter(&mut self) -> Result<Option<&'a [u8]>, Error> {
        match self.fields.i32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| violation("invalid length of a parameter"))?;
                self.fields.bytes(length).map(Some)
            }
        }
    }

    /// After the parameters: the layout of the results.
    pub fn result_formats(mut self) -> Result<Formats, Error> {
        let formats = Formats::decode(&mut self.fields)?;
        self.fields.end()?;
        Ok(formats)
    }
}

/// What Describe and Close name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A prepared statement.
    Statement(&'a str),
    /// A portal.
    Portal(&'a str),
}

impl<'a> Target<'a> {
    /// Decodes the body of Describe or Close.
    pub fn decode(body: &'a [u8]) -> Result<Target<'a>, Error> {
        let mut fields = Fields::new(body);
        let kind = fields.u8()?;
        let name = fields.text()?;
        fields.end()?;
        match kind {
            b'S' => Ok(Target::Statement(name)),
            b'P' => Ok(Target::Portal(name)),
            kind => Err(violation(format!("invalid message subtype {kind}"))),
        }
    }
}

/// Decodes Execute: the portal's name, and the most rows to send if there is a limit.
pub fn decode_execute(body: &[u8]) -> Result<(&str, Option<usize>), Error> {
    let mut fields = Fields::new(body);
    let name = fields.text()?;
    let rows = fields.i32()?;
    fields.end()?;
    // Zero and below: no limit.
    Ok((name, usize::try_from(rows).ok().filter(|&rows| rows > 0)))
}

/// Decodes a body that is one string: Query, CopyFail.
pub fn decode_text(body: &[u8]) -> Result<&str, Error> {
    let mut fields = Fields::new(body);
    let text = fields.text()?;
    fields.end()?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(bytes: &[u8]) -> Result<Option<Frame>, Error> {
        next_frame(&mut BytesMut::from(bytes), 100)
    }

    #[test]
    fn a_frame_is_cut_off_only_when_whole() {
        let mut input = BytesMut::from(&b"Q\0\0\0\x06a\0S\0\0\0\x04"[..]);
        let first = next_frame(&mut input, 100).expect("valid").expect("whole");
        assert_eq!((first.kind, first.body.as_ref()), (b'Q', b"a\0".as_slice()));
        assert!(sync_follows(&input));
        assert_eq!(next_frame(&mut input, 100).expect("valid").expect("whole").kind, b'S');
        assert!(next_frame(&mut input, 100).expect("valid").is_none());
        for partial in [&b"Q"[..], b"Q\0\0\0", b"Q\0\0\0\x06a"] {
            assert!(frame(partial).expect("valid").is_none());
        }
    }

    #[test]
    fn broken_frames_are_refused() {
        for (bytes, code) in [
            (&b"!\0\0\0\x04"[..], SqlState::PROTOCOL_VIOLATION),
            (b"Q\0\0\0\x03", SqlState::PROTOCOL_VIOLATION),
            (b"Q\xff\xff\xff\xff", SqlState::PROTOCOL_VIOLATION),
            (b"S\0\x01\0\0", SqlState::PROTOCOL_VIOLATION),
            (b"Q\0\0\0\x65", SqlState::PROGRAM_LIMIT_EXCEEDED),
        ] {
            assert_eq!(frame(bytes).expect_err("broken").code, code, "{bytes:?}");
        }
        assert!(frame(b"Q\0\0\0\x64").expect("at the limit").is_none());
    }

    #[test]
    fn short_and_long_bodies_are_violations() {
        let body = b"name\0select\0\0\x01\0\0\0\x17";
        assert_eq!(Parse::decode(body).expect("valid").type_oids, [23]);
        for cut in 0..body.len() {
            assert_eq!(Parse::decode(&body[..cut]).expect_err("cut").code, SqlState::PROTOCOL_VIOLATION, "{cut}");
        }
        let mut long = body.to_vec();
        long.push(0);
        assert_eq!(Parse::decode(&long).expect_err("long").code, SqlState::PROTOCOL_VIOLATION);
    }

    #[test]
    fn bind_gives_parameters_and_formats() {
        let body = b"p\0s\0\0\x02\0\0\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\x01\0\x01";
        let read = |body: &[u8]| {
            let mut bind = Bind::decode(body)?;
            let count = bind.parameter_count;
            let parameters =
                (0..count).map(|_| Ok(bind.parameter()?.map(<[u8]>::to_vec))).collect::<Result<Vec<_>, Error>>()?;
            Ok::<_, Error>((parameters, bind.result_formats()?))
        };
        let bind = Bind::decode(body).expect("valid");
        assert_eq!((bind.portal, bind.statement), ("p", "s"));
        assert!(!bind.parameter_formats.is_binary(0) && bind.parameter_formats.is_binary(1));
        assert!(bind.parameter_formats.suit(2) && !bind.parameter_formats.suit(3));
        assert_eq!(read(body).expect("valid"), (vec![Some(b"x".to_vec()), None], Formats::Binary));
        for cut in 0..body.len() {
            assert_eq!(read(&body[..cut]).expect_err("cut").code, SqlState::PROTOCOL_VIOLATION, "{cut}");
        }
    }

    #[test]
    fn text_that_is_no_utf8_is_named() {
        let error = decode_text(b"select '\xff'\0").expect_err("no UTF-8");
        assert_eq!(error.code, SqlState::CHARACTER_NOT_IN_REPERTOIRE);
        assert!(error.message.ends_with(": 0xff"), "{}", error.message);
    }
}
