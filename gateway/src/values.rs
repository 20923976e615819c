//! Values on the wire: rows out, parameters in, each as text or binary.
//!
//! Values are written straight into the output buffer; their formats are the SQL crate's.

use bytes::{BufMut, BytesMut};
use quorate_sql::error::Error;
use quorate_sql::format::{self, FormatSettings};
use quorate_sql::session::{Column, Row};
use quorate_sql::types::Type;
use quorate_sql::value::Value;

use crate::message::{self, Formats};
use crate::reply;

/// DataRow. On an error nothing of it stays in `out`.
pub fn put_row(
    row: &Row,
    columns: &[Column],
    formats: &Formats,
    settings: &FormatSettings,
    out: &mut BytesMut,
) -> Result<(), Error> {
    if row.len() != columns.len() {
        // Sent as it is it would be unreadable to the client.
        let error = format!("a result row has {} values for {} columns", row.len(), columns.len());
        return Err(Error::internal(error));
    }
    let whole = out.len();
    let start = reply::begin(b'D', out);
    out.put_u16(u16::try_from(row.len()).unwrap_or(u16::MAX));
    for (at, (value, column)) in row.iter().zip(columns).enumerate() {
        if value.is_null() {
            out.put_i32(-1);
            continue;
        }
        out.put_i32(0);
        let from = out.len();
        if !formats.is_binary(at) {
            format::encode_text(value, &column.ty, settings, out);
        } else if let Err(error) = format::encode_binary(value, &column.ty, out) {
            out.truncate(whole);
            return Err(error);
        }
        let length = i32::try_from(out.len() - from).expect("values are far below 2 GiB");
        out[from - 4..from].copy_from_slice(&length.to_be_bytes());
    }
    reply::end(start, out);
    Ok(())
}

/// A parameter's value.
pub fn decode(bytes: &[u8], ty: &Type, binary: bool, settings: &FormatSettings) -> Result<Value, Error> {
    if binary { format::decode_binary(bytes, ty) } else { format::decode_text(message::utf8(bytes)?, ty, settings) }
}
