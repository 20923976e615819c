//! Messages to the client, written straight into the output buffer.
//!
//! Nothing here touches the socket; `Io` decides when the buffer goes out. Rare messages are built with pgwire's message types; those of every
//! query (rows, their description, completions) are written by hand, without an allocation.

use bytes::{BufMut, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::copy::{CopyInResponse, CopyOutResponse};
use pgwire::messages::response::{ErrorResponse, NoticeResponse};
use pgwire::messages::startup::{Authentication, BackendKeyData, ParameterStatus, SecretKey};
use quorate_sql::error::{Error, SqlState};
use quorate_sql::session::{Column, CommandTag, CopyFormat, Notice, TransactionStatus};

use crate::message::Formats;

/// How grave an error is for the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The session ends.
    Fatal,
}

/// Encodes one of pgwire's messages.
fn put(message: &impl Message, out: &mut BytesMut) {
    let before = out.len();
    if let Err(error) = message.encode(out) {
        // Only a message beyond pgwire's own limits (30 kB for parameters, 2 GiB for errors).
        tracing::error!(%error, "message not sent");
        out.truncate(before);
    }
}

/// BindComplete.
pub fn bind_complete(out: &mut BytesMut) {
    out.put_slice(b"2\0\0\0\x04");
}

/// ParseComplete.
pub fn parse_complete(out: &mut BytesMut) {
    out.put_slice(b"1\0\0\0\x04");
}

/// CloseComplete.
pub fn close_complete(out: &mut BytesMut) {
    out.put_slice(b"3\0\0\0\x04");
}

/// NoData.
pub fn no_data(out: &mut BytesMut) {
    out.put_slice(b"n\0\0\0\x04");
}

/// PortalSuspended.
pub fn portal_suspended(out: &mut BytesMut) {
    out.put_slice(b"s\0\0\0\x04");
}

/// EmptyQueryResponse.
pub fn empty_query(out: &mut BytesMut) {
    out.put_slice(b"I\0\0\0\x04");
}

/// CopyDone.
pub fn copy_done(out: &mut BytesMut) {
    out.put_slice(b"c\0\0\0\x04");
}

/// ReadyForQuery.
pub fn ready(status: TransactionStatus, out: &mut BytesMut) {
    out.put_slice(b"Z\0\0\0\x05");
    out.put_u8(match status {
        TransactionStatus::Idle => b'I',
        TransactionStatus::InBlock => b'T',
        TransactionStatus::Failed => b'E',
    });
}

/// Begins a message whose length is not known yet; [`end`] completes it.
pub fn begin(kind: u8, out: &mut BytesMut) -> usize {
    out.put_u8(kind);
    out.put_i32(0);
    out.len() - 4
}

/// Writes the length of the message that [`begin`] began.
///
/// # Panics
/// When the message is longer than 2 GiB, which the limits on rows and statements rule out.
pub fn end(start: usize, out: &mut BytesMut) {
    let length = i32::try_from(out.len() - start).expect("rows and descriptions are far below 2 GiB");
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

fn put_text(text: &str, out: &mut BytesMut) {
    // A zero byte inside would end the string early and break the message; no identifier or tag has one.
    out.put_slice(text.split('\0').next().unwrap_or("").as_bytes());
    out.put_u8(0);
}

/// CommandComplete.
pub fn complete(tag: &CommandTag, out: &mut BytesMut) {
    use std::fmt::Write;
    let start = begin(b'C', out);
    write!(out, "{tag}").expect("a buffer in memory takes what is written");
    out.put_u8(0);
    end(start, out);
}

/// RowDescription.
pub fn row_description(columns: &[Column], formats: &Formats, out: &mut BytesMut) {
    let start = begin(b'T', out);
    // The planner refuses more than 1,600 columns.
    out.put_u16(u16::try_from(columns.len()).unwrap_or(u16::MAX));
    for (at, column) in columns.iter().enumerate() {
        put_text(&column.name, out);
        out.put_u32(column.table_oid);
        out.put_i16(column.column_no);
        out.put_u32(column.ty.oid());
        out.put_i16(column.ty.length());
        out.put_i32(column.type_modifier);
        out.put_u16(u16::from(formats.is_binary(at)));
    }
    end(start, out);
}

/// ParameterDescription.
pub fn parameter_description(type_oids: impl ExactSizeIterator<Item = u32>, out: &mut BytesMut) {
    let start = begin(b't', out);
    out.put_u16(u16::try_from(type_oids.len()).unwrap_or(u16::MAX));
    type_oids.for_each(|oid| out.put_u32(oid));
    end(start, out);
}

/// AuthenticationOk.
pub fn authentication_ok(out: &mut BytesMut) {
    put(&Authentication::Ok, out);
}

/// BackendKeyData.
pub fn backend_key(process_id: i32, secret: i32, out: &mut BytesMut) {
    put(&BackendKeyData::new(process_id, SecretKey::I32(secret)), out);
}

/// ParameterStatus.
pub fn parameter_status(name: &str, value: &str, out: &mut BytesMut) {
    put(&ParameterStatus::new(name.to_string(), value.to_string()), out);
}

/// NegotiateProtocolVersion: this server speaks 3.0 and knows none of the options `unknown`.
pub fn negotiate_protocol(unknown: &[&str], out: &mut BytesMut) {
    let start = begin(b'v', out);
    out.put_u32(3 << 16);
    out.put_u32(u32::try_from(unknown.len()).unwrap_or(u32::MAX));
    unknown.iter().for_each(|name| put_text(name, out));
    end(start, out);
}

/// ErrorResponse.
pub fn error(error: &Error, severity: Severity, out: &mut BytesMut) {
    let severity = match severity {
        Severity::Error => "ERROR",
        Severity::Fatal => "FATAL",
    };
    let mut fields = vec![
        (b'S', severity.to_string()),
        (b'V', severity.to_string()),
        (b'C', error.code.as_str().to_string()),
        (b'M', error.message.clone()),
    ];
    let optional = [
        (b'D', &error.detail),
        (b'H', &error.hint),
        (b'W', &error.context),
        (b's', &error.schema),
        (b't', &error.table),
        (b'c', &error.column),
        (b'd', &error.data_type),
        (b'n', &error.constraint),
    ];
    fields.extend(optional.into_iter().filter_map(|(letter, value)| Some((letter, value.clone()?))));
    fields.extend(error.position.map(|position| (b'P', position.to_string())));
    put(&ErrorResponse::new(clean(fields)), out);
}

/// NoticeResponse.
pub fn notice(notice: &Notice, out: &mut BytesMut) {
    let mut fields = vec![
        (b'S', notice.severity.to_string()),
        (b'V', notice.severity.to_string()),
        (b'C', notice.code.to_string()),
        (b'M', notice.message.to_string()),
    ];
    fields.extend(notice.hint.as_ref().map(|hint| (b'H', hint.to_string())));
    put(&NoticeResponse::new(clean(fields)), out);
}

/// Zero bytes, which a message may quote from the client's data, would break the protocol's strings.
fn clean(fields: Vec<(u8, String)>) -> Vec<(u8, String)> {
    fields
        .into_iter()
        .map(|(letter, value)| (letter, if value.contains('\0') { value.replace('\0', "\u{fffd}") } else { value }))
        .collect()
}

fn copy_columns(columns: usize) -> Vec<i16> {
    vec![0; columns]
}

/// CopyInResponse. Both layouts are text to the protocol.
pub fn copy_in(_format: CopyFormat, columns: usize, out: &mut BytesMut) {
    put(&CopyInResponse::new(0, i16::try_from(columns).unwrap_or(i16::MAX), copy_columns(columns)), out);
}

/// CopyOutResponse.
pub fn copy_out(_format: CopyFormat, columns: usize, out: &mut BytesMut) {
    put(&CopyOutResponse::new(0, i16::try_from(columns).unwrap_or(i16::MAX), copy_columns(columns)), out);
}

/// CopyData.
///
/// # Errors
/// 54000 for a piece that no message can hold.
pub fn copy_data(data: &[u8], out: &mut BytesMut) -> Result<(), Error> {
    let length = i32::try_from(data.len() + 4).map_err(|_| {
        Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("a row of {} bytes is too long for COPY", data.len()))
            .with_hint("Copy fewer columns at a time.")
    })?;
    out.put_u8(b'd');
    out.put_i32(length);
    out.put_slice(data);
    Ok(())
}
