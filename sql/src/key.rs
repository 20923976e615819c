//! The order-preserving encoding of keys, and the slot of a distribution key.
//!
//! A key is the table's storage id (u32, big endian) followed by its key columns. Each column's encoding delimits itself, and
//! bytewise order of encodings is PostgreSQL's ascending order of values, NULL last; equal values have equal encodings. This is a
//! format on disk and on the wire: it may be extended, never changed.
//!
//! | First byte | Column |
//! |---|---|
//! | `01` | a fixed or terminated value follows: floats, text, bytes, `numeric`, uuid, interval, boolean |
//! | `78`..`88` | an integer of `80 - tag` bytes if negative, `tag - 80` bytes if not: `smallint`, `integer`, `bigint`, oid, date, times |
//! | `FF` | NULL |
//!
//! - Integers: big endian without leading zero bytes (leading `FF` bytes if negative), so all integer types share one encoding.
//! - Floats: as double; all bits flipped if negative, else the sign bit; -0 is 0, one NaN, greatest.
//! - Text, bytes: `00` becomes `00 FF`, the end is `00 00`. `character(n)` without trailing blanks.
//! - `numeric`: class byte (-Infinity 01, negative 02, zero 03, positive 04, Infinity 05, NaN 06); then for finite values other than zero
//!   the decimal exponent e of 0.d₁d₂… × 10^e (i16, offset 32768), pairs of digits plus one, and `00`; all complemented if negative.
//! - `interval`: its length in microseconds with months of 30 days (i128, sign flipped), as PostgreSQL compares it.
//!
//! Decoding gives back an equal value. What equality leaves out is lost: trailing zeros of a `numeric` without a declared scale, how an
//! `interval` is composed, the sign of a float's 0.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, SqlState};
use crate::types::Type;
use crate::value::{Numeric, Value};

/// Hash slots of a database. Part of the stored format.
pub const SLOTS: u16 = 4096;

/// Length of the storage id at the start of a key.
pub const STORAGE_ID_LENGTH: usize = 4;

const VALUE: u8 = 0x01;
const ZERO: u8 = 0x80;
const NULL: u8 = 0xFF;

/// Whether a column of this type may be part of a key.
pub fn is_supported(ty: &Type) -> bool {
    ty.is_storable() && !matches!(ty, Type::Array(_))
}

/// The start of every key of a table.
pub fn storage_prefix(storage_id: u32) -> [u8; STORAGE_ID_LENGTH] {
    storage_id.to_be_bytes()
}

/// The storage id at the start of a key; `None` if the key is too short to have one.
pub fn storage_id(key: &[u8]) -> Option<u32> {
    key.first_chunk::<STORAGE_ID_LENGTH>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A whole key: storage id and columns. Also a prefix of keys, if only the first columns are given.
///
/// # Errors
/// 0A000 for a value that cannot be part of a key (arrays).
pub fn encode_key<'a>(storage_id: u32, values: impl IntoIterator<Item = &'a Value>) -> Result<Bytes, Error> {
    let mut out = Vec::with_capacity(24);
    out.extend_from_slice(&storage_prefix(storage_id));
    for value in values {
        encode_value(value, &mut out)?;
    }
    Ok(out.into())
}

/// The values of a whole key, by the types of its columns.
///
/// # Errors
/// XX001 for bytes that are no such key.
pub fn decode_key(key: &[u8], types: &[Type]) -> Result<Vec<Value>, Error> {
    let mut rest = key.get(STORAGE_ID_LENGTH..).ok_or_else(damaged)?;
    let values = types.iter().map(|ty| decode_value(&mut rest, ty)).collect::<Result<_, _>>()?;
    if rest.is_empty() { Ok(values) } else { Err(damaged()) }
}

/// The first key after all keys that start with `prefix`; `None` if there is none (only bytes `FF`).
pub fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != 0xFF)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}

/// The range of keys that start with `prefix`.
///
/// # Panics
/// When `prefix` is all `FF`: no storage id is.
pub fn prefix_range(prefix: Bytes) -> std::ops::Range<Bytes> {
    let end = prefix_end(&prefix).expect("storage ids are below u32::MAX");
    prefix..end
}

/// The slot of a row by the values of its distribution columns: `xxh3_64(their encodings) mod 4096`, without the storage id, so
/// that rows with equal distribution keys share a slot in all tables.
///
/// # Errors
/// 0A000 for a value that cannot be part of a key.
pub fn slot<'a>(distribution_key: impl IntoIterator<Item = &'a Value>) -> Result<u16, Error> {
    let mut encoded = Vec::with_capacity(24);
    for value in distribution_key {
        encode_value(value, &mut encoded)?;
    }
    Ok(slot_of_bytes(&encoded))
}

/// The slot of an encoded distribution key.
pub fn slot_of_bytes(encoded: &[u8]) -> u16 {
    (xxh3_64(encoded) % u64::from(SLOTS)) as u16
}

/// Appends the encoding of one column.
///
/// # Errors
/// 0A000 for arrays.
pub fn encode_value(value: &Value, out: &mut Vec<u8>) -> Result<(), Error> {
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(value) => out.extend_from_slice(&[VALUE, u8::from(*value)]),
        Value::Int16(value) => encode_integer(i64::from(*value), out),
        Value::Int32(value) | Value::Date(value) => encode_integer(i64::from(*value), out),
        Value::Int64(value) | Value::Time(value) | Value::Timestamp(value) | Value::TimestampTz(value) => {
            encode_integer(*value, out)
        }
        Value::Oid(value) => encode_integer(i64::from(*value), out),
        Value::Float4(value) => encode_float(f64::from(*value), out),
        Value::Float8(value) => encode_float(*value, out),
        Value::Numeric(value) => encode_numeric(value, out),
        Value::Text(text) => encode_bytes(text.as_bytes(), out),
        Value::Char(text) => encode_bytes(text.trim_end_matches(' ').as_bytes(), out),
        Value::Bytes(bytes) => encode_bytes(bytes, out),
        Value::Interval(interval) => {
            out.push(VALUE);
            out.extend_from_slice(&(interval.span() ^ i128::MIN).to_be_bytes());
        }
        Value::Uuid(uuid) => {
            out.push(VALUE);
            out.extend_from_slice(uuid.as_bytes());
        }
        Value::Array(_) => return Err(Error::unsupported("an array in a key", "Use a column of a scalar type.")),
    }
    Ok(())
}

/// Takes one column of type `ty` off the front of `input`.
///
/// # Errors
/// XX001 for bytes that are no such value.
pub fn decode_value(input: &mut &[u8], ty: &Type) -> Result<Value, Error> {
    let tag = take(input, 1)?[0];
    if tag == NULL {
        return Ok(Value::Null);
    }
    if tag != VALUE {
        return integer_value(decode_integer(tag, input)?, ty);
    }
    Ok(match ty {
        Type::Bool => Value::Bool(take(input, 1)?[0] != 0),
        Type::Float4 => Value::Float4(decode_float(input)? as f32),
        Type::Float8 => Value::Float8(decode_float(input)?),
        Type::Numeric(modifier) => {
            let value = decode_numeric(input)?;
            Value::Numeric(match modifier {
                Some((precision, scale)) => value.coerce(*precision, *scale)?,
                None => value,
            })
        }
        Type::Text | Type::Varchar(_) | Type::Name | Type::InternalChar => Value::text(decode_string(input)?),
        Type::Char(length) => Value::Char(pad(decode_string(input)?, *length).into()),
        Type::Bytea => Value::bytes(decode_bytes(input)?),
        Type::Uuid => Value::Uuid(uuid::Uuid::from_slice(take(input, 16)?).map_err(|_| damaged())?),
        Type::Interval => {
            let span = i128::from_be_bytes(take(input, 16)?.try_into().map_err(|_| damaged())?) ^ i128::MIN;
            Value::Interval(crate::value::Interval::from_span(span).ok_or_else(damaged)?)
        }
        _ => return Err(damaged()),
    })
}

/// A string filled up with blanks to the length of its `character(n)`.
pub(crate) fn pad(mut text: String, length: Option<u32>) -> String {
    if let Some(length) = length {
        // As long in bytes as it should be in characters is common, and cheaper to see.
        let missing = (length as usize).saturating_sub(if text.is_ascii() { text.len() } else { text.chars().count() });
        text.extend(std::iter::repeat_n(' ', missing));
    }
    text
}

fn encode_integer(value: i64, out: &mut Vec<u8>) {
    let bytes = value.to_be_bytes();
    if value >= 0 {
        let skip = (value.leading_zeros() / 8) as usize;
        out.push(ZERO + (8 - skip) as u8);
        out.extend_from_slice(&bytes[skip..]);
    } else {
        let skip = ((value.leading_ones() / 8) as usize).min(7);
        out.push(ZERO - (8 - skip) as u8);
        out.extend_from_slice(&bytes[skip..]);
    }
}

fn decode_integer(tag: u8, input: &mut &[u8]) -> Result<i64, Error> {
    let length = usize::from(tag.abs_diff(ZERO));
    if length > 8 {
        return Err(damaged());
    }
    let mut bytes = if tag < ZERO { [0xFF; 8] } else { [0; 8] };
    bytes[8 - length..].copy_from_slice(take(input, length)?);
    Ok(i64::from_be_bytes(bytes))
}

fn integer_value(number: i64, ty: &Type) -> Result<Value, Error> {
    Ok(match ty {
        Type::Int16 => Value::Int16(number.try_into().map_err(|_| damaged())?),
        Type::Int32 => Value::Int32(number.try_into().map_err(|_| damaged())?),
        Type::Int64 => Value::Int64(number),
        Type::Date => Value::Date(number.try_into().map_err(|_| damaged())?),
        Type::Time(_) => Value::Time(number),
        Type::Timestamp(_) => Value::Timestamp(number),
        Type::TimestampTz(_) => Value::TimestampTz(number),
        Type::Oid | Type::Regclass | Type::Regtype => Value::Oid(number.try_into().map_err(|_| damaged())?),
        _ => return Err(damaged()),
    })
}

fn encode_float(value: f64, out: &mut Vec<u8>) {
    let bits = crate::value::canonical_bits(value);
    let ordered = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    out.push(VALUE);
    out.extend_from_slice(&ordered.to_be_bytes());
}

fn decode_float(input: &mut &[u8]) -> Result<f64, Error> {
    let ordered = u64::from_be_bytes(take(input, 8)?.try_into().map_err(|_| damaged())?);
    Ok(f64::from_bits(if ordered >> 63 == 1 { ordered & !(1 << 63) } else { !ordered }))
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(VALUE);
    out.reserve(bytes.len() + 2);
    if bytes.contains(&0) {
        for byte in bytes {
            out.push(*byte);
            if *byte == 0 {
                out.push(0xFF);
            }
        }
    } else {
        out.extend_from_slice(bytes);
    }
    out.extend_from_slice(&[0, 0]);
}

fn decode_bytes(input: &mut &[u8]) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    loop {
        let end = input.iter().position(|byte| *byte == 0).ok_or_else(damaged)?;
        bytes.extend_from_slice(take(input, end)?);
        match take(input, 2)? {
            [0, 0] => return Ok(bytes),
            [0, 0xFF] => bytes.push(0),
            _ => return Err(damaged()),
        }
    }
}

fn decode_string(input: &mut &[u8]) -> Result<String, Error> {
    String::from_utf8(decode_bytes(input)?).map_err(|_| damaged())
}

const NUMERIC_NEG_INFINITY: u8 = 1;
const NUMERIC_NEGATIVE: u8 = 2;
const NUMERIC_ZERO: u8 = 3;
const NUMERIC_POSITIVE: u8 = 4;
const NUMERIC_INFINITY: u8 = 5;
const NUMERIC_NAN: u8 = 6;

fn encode_numeric(value: &Numeric, out: &mut Vec<u8>) {
    out.push(VALUE);
    if !value.is_finite() {
        out.push(match (value.is_nan(), value.signum() < 0) {
            (true, _) => NUMERIC_NAN,
            (false, true) => NUMERIC_NEG_INFINITY,
            (false, false) => NUMERIC_INFINITY,
        });
        return;
    }
    if value.is_zero() {
        out.push(NUMERIC_ZERO);
        return;
    }
    let negative = value.signum() < 0;
    out.push(if negative { NUMERIC_NEGATIVE } else { NUMERIC_POSITIVE });
    let start = out.len();
    let mut digits = value.coefficient().unsigned_abs().to_string().into_bytes();
    let exponent = digits.len() as i32 - i32::from(value.scale());
    digits.truncate(digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1));
    out.extend_from_slice(&((exponent + 32768) as u16).to_be_bytes());
    for pair in digits.chunks(2) {
        let low = pair.get(1).map_or(0, |digit| digit - b'0');
        out.push((pair[0] - b'0') * 10 + low + 1);
    }
    out.push(0);
    if negative {
        out[start..].iter_mut().for_each(|byte| *byte = !*byte);
    }
}

fn decode_numeric(input: &mut &[u8]) -> Result<Numeric, Error> {
    let class = take(input, 1)?[0];
    let flip = match class {
        NUMERIC_NEG_INFINITY => return Ok(Numeric::NEG_INFINITY),
        NUMERIC_ZERO => return Ok(Numeric::ZERO),
        NUMERIC_INFINITY => return Ok(Numeric::INFINITY),
        NUMERIC_NAN => return Ok(Numeric::NAN),
        NUMERIC_NEGATIVE => 0xFF,
        NUMERIC_POSITIVE => 0,
        _ => return Err(damaged()),
    };
    let exponent = take(input, 2)?;
    let exponent = i32::from(u16::from_be_bytes([exponent[0] ^ flip, exponent[1] ^ flip])) - 32768;
    let mut coefficient: i128 = 0;
    let mut digits = 0;
    loop {
        let pair = take(input, 1)?[0] ^ flip;
        if pair == 0 {
            break;
        }
        coefficient = coefficient.checked_mul(100).ok_or_else(damaged)? + i128::from(pair - 1);
        digits += 2;
    }
    let mut scale = digits - exponent;
    if coefficient % 10 == 0 && coefficient != 0 {
        coefficient /= 10;
        scale -= 1;
    }
    while scale < 0 {
        coefficient = coefficient.checked_mul(10).ok_or_else(damaged)?;
        scale += 1;
    }
    let scale = u8::try_from(scale).map_err(|_| damaged())?;
    Numeric::new(if flip == 0 { coefficient } else { -coefficient }, scale)
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> Result<&'a [u8], Error> {
    let (taken, rest) = input.split_at_checked(count).ok_or_else(damaged)?;
    *input = rest;
    Ok(taken)
}

#[cold]
fn damaged() -> Error {
    Error::new(SqlState::DATA_CORRUPTED, "a key cannot be decoded by the types of its columns")
}

#[cfg(test)]
mod tests;
