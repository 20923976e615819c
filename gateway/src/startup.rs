//! The start of a connection: refusing encryption, cancel requests, and the startup message.
//!
//! No byte of a stranger is trusted: the first message is at most [`STARTUP_BYTES_MAX`] long and has to come within the startup timeout.

use std::collections::BTreeMap;

use bytes::{Buf, BytesMut};
use pgwire::messages::startup::Startup;
use pgwire::messages::{DecodeContext, Message, ProtocolVersion};
use quorate_sql::error::{Error, SqlState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::message::violation;

/// Limit of the first message, as in PostgreSQL.
pub const STARTUP_BYTES_MAX: usize = 10_000;

const CANCEL_REQUEST: u32 = 1234 << 16 | 5678;
const SSL_REQUEST: u32 = 1234 << 16 | 5679;
const GSS_REQUEST: u32 = 1234 << 16 | 5680;

/// What a new connection wants.
#[derive(Debug)]
pub enum Opening {
    /// A session.
    Session(Parameters),
    /// To cancel a statement of another session.
    Cancel {
        /// Its number.
        process_id: i32,
        /// Its secret.
        secret: i32,
    },
    /// Nothing: it closed.
    Nothing,
}

/// The startup message.
#[derive(Debug, PartialEq, Eq)]
pub struct Parameters {
    /// The user; never empty.
    pub user: String,
    /// The database; the user's name if none was given.
    pub database: String,
    /// All settings, those in `options` included, in the order in which they apply.
    pub settings: Vec<(String, String)>,
    /// The client asked for a newer protocol or for protocol options: it has to be told that this is 3.0 without these.
    pub negotiate: Option<Vec<String>>,
}

impl Parameters {
    /// The last value given for a setting.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.iter().rev().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Why a connection gets no session.
#[derive(Debug)]
pub enum Refusal {
    /// The socket failed.
    Io(std::io::Error),
    /// The client is told why.
    Error(Error),
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Refusal {
        Refusal::Io(error)
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Refusal {
        Refusal::Error(error)
    }
}

/// Reads the first messages of a connection. Bytes after them stay in `input`.
pub async fn open(stream: &mut TcpStream, input: &mut BytesMut) -> Result<Opening, Refusal> {
    // Each kind of encryption may be asked for once.
    let (mut ssl_asked, mut gss_asked) = (false, false);
    loop {
        let Some(mut packet) = packet(stream, input).await? else { return Ok(Opening::Nothing) };
        let code = u32::from_be_bytes(packet[4..8].try_into().expect("a packet has eight bytes"));
        let asked = match code {
            SSL_REQUEST => &mut ssl_asked,
            GSS_REQUEST => &mut gss_asked,
            CANCEL_REQUEST => {
                // Newer clients may have longer keys; this server never gave one out.
                if packet.len() != 16 {
                    return Ok(Opening::Nothing);
                }
                packet.advance(8);
                return Ok(Opening::Cancel { process_id: packet.get_i32(), secret: packet.get_i32() });
            }
            _ => return Ok(Opening::Session(parameters(packet, code)?)),
        };
        if std::mem::replace(asked, true) || packet.len() != 8 {
            return Err(violation("invalid startup packet").into());
        }
        if !input.is_empty() {
            // Else a man in the middle could slip bytes in before the encryption that the client believes in.
            return Err(violation("received unencrypted data after the request for encryption").into());
        }
        stream.write_all(b"N").await?;
    }
}

/// The next packet with its length; `None` at the end of the stream.
async fn packet(stream: &mut TcpStream, input: &mut BytesMut) -> Result<Option<BytesMut>, Refusal> {
    loop {
        if let Some(length) = input.get(..4) {
            let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
            if !(8..=STARTUP_BYTES_MAX).contains(&length) {
                return Err(violation("invalid length of startup packet").into());
            }
            if input.len() >= length {
                return Ok(Some(input.split_to(length)));
            }
        }
        if stream.read_buf(input).await? == 0 {
            return if input.is_empty() { Ok(None) } else { Err(violation("incomplete startup packet").into()) };
        }
    }
}

fn parameters(mut packet: BytesMut, code: u32) -> Result<Parameters, Error> {
    let (major, minor) = (code >> 16, code & 0xffff);
    if major != 3 {
        return Err(Error::unsupported(
            format!("frontend protocol {major}.{minor}"),
            "This server speaks protocol 3.0.",
        ));
    }
    if packet.last() != Some(&0) || std::str::from_utf8(&packet[8..]).is_err() {
        return Err(violation("invalid startup packet layout: expected terminator as last byte"));
    }
    let context = DecodeContext::new(ProtocolVersion::PROTOCOL3_0);
    let startup =
        Startup::decode(&mut packet, &context).ok().flatten().ok_or_else(|| violation("invalid startup packet"))?;
    if !packet.is_empty() {
        return Err(violation("invalid startup packet layout: data after the terminator"));
    }
    let mut named: BTreeMap<String, String> = startup.parameters;
    let options: Vec<String> = named.keys().filter(|name| name.starts_with("_pq_.")).cloned().collect();
    options.iter().for_each(|name| drop(named.remove(name)));
    let user = named.remove("user").filter(|user| !user.is_empty()).ok_or_else(|| {
        Error::new(SqlState::INVALID_AUTHORIZATION_SPECIFICATION, "no PostgreSQL user name specified in startup packet")
    })?;
    let database = named.remove("database").filter(|database| !database.is_empty()).unwrap_or_else(|| user.clone());
    if named.remove("replication").is_some_and(|value| !matches!(value.as_str(), "false" | "off" | "no" | "0")) {
        return Err(Error::unsupported("the replication protocol", ""));
    }
    let mut settings = Vec::new();
    if let Some(options) = named.remove("options") {
        settings.extend(split_options(&options)?);
    }
    settings.extend(named);
    let negotiate = (minor > 0 || !options.is_empty()).then_some(options);
    Ok(Parameters { user, database, settings, negotiate })
}

/// Splits `-c name=value --name=value`; a backslash takes the next character as it is.
fn split_options(text: &str) -> Result<Vec<(String, String)>, Error> {
    let mut words: Vec<String> = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            c if c.is_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(characters.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    let invalid = |word: &str| {
        Error::new(SqlState::SYNTAX_ERROR, format!("invalid command-line argument for server process: {word}"))
            .with_hint("options takes -c name=value and --name=value.")
    };
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let assignment = if word == "-c" {
            words.next().ok_or_else(|| invalid(&word))?
        } else {
            word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).ok_or_else(|| invalid(&word))?.to_string()
        };
        let (name, value) = assignment.split_once('=').ok_or_else(|| invalid(&assignment))?;
        settings.push((name.replace('-', "_"), value.to_string()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BufMut;

    fn packet(code: u32, body: &[u8]) -> BytesMut {
        let mut packet = BytesMut::new();
        packet.put_u32(8 + body.len() as u32);
        packet.put_u32(code);
        packet.put_slice(body);
        packet
    }

    fn decode(code: u32, body: &[u8]) -> Result<Parameters, Error> {
        parameters(packet(code, body), code)
    }

    #[test]
    fn user_database_and_settings_are_told_apart() {
        let body = b"user\0ann\0database\0bank\0application_name\0test\0options\0-c statement_timeout=5 --search-path=a\\ b\0\0";
        let parameters = decode(3 << 16, body).expect("valid");
        assert_eq!((parameters.user.as_str(), parameters.database.as_str()), ("ann", "bank"));
        assert_eq!(parameters.setting("statement_timeout"), Some("5"));
        assert_eq!(parameters.setting("search_path"), Some("a b"));
        assert_eq!(parameters.setting("application_name"), Some("test"));
        assert_eq!(parameters.negotiate, None);
    }

    #[test]
    fn the_database_defaults_to_the_user() {
        assert_eq!(decode(3 << 16, b"user\0ann\0\0").expect("valid").database, "ann");
    }

    #[test]
    fn newer_minor_versions_are_negotiated_down() {
        let parameters = decode(3 << 16 | 2, b"user\0ann\0_pq_.x\x001\0\0").expect("valid");
        assert_eq!(parameters.negotiate, Some(vec!["_pq_.x".to_string()]));
        assert_eq!(parameters.setting("_pq_.x"), None);
    }

    #[test]
    fn what_cannot_be_a_session_is_refused() {
        for (code, body, state) in [
            (2 << 16, &b"user\0ann\0\0"[..], SqlState::FEATURE_NOT_SUPPORTED),
            (3 << 16, b"database\0bank\0\0", SqlState::INVALID_AUTHORIZATION_SPECIFICATION),
            (3 << 16, b"user\0ann", SqlState::PROTOCOL_VIOLATION),
            (3 << 16, b"user\0ann\0\0more\0", SqlState::PROTOCOL_VIOLATION),
            (3 << 16, b"user\0\xff\0\0", SqlState::PROTOCOL_VIOLATION),
            (3 << 16, b"user\0ann\0replication\0true\0\0", SqlState::FEATURE_NOT_SUPPORTED),
            (3 << 16, b"user\0ann\0options\0nonsense\0\0", SqlState::SYNTAX_ERROR),
        ] {
            assert_eq!(decode(code, body).expect_err("refused").code, state, "{body:?}");
        }
    }
}
