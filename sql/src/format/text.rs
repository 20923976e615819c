//! The text format: what PostgreSQL's input and output functions read and write.

use std::fmt::Write as _;

use bytes::{BufMut, BytesMut};
use uuid::Uuid;

use crate::error::{Error, SqlState};
use crate::format::array_text::{parse_array, write_array};
use crate::format::date_input::{parse_date, parse_time, parse_timestamp, parse_timestamptz};
use crate::format::date_output::{write_date, write_interval, write_time, write_timestamp};
use crate::format::float::{write_float4, write_float8};
use crate::format::interval_input::parse_interval;
use crate::format::{ByteaOutput, FormatSettings};
use crate::types::Type;
use crate::value::{Numeric, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, Value};

/// Longest `name`, in bytes.
const NAME_BYTES: usize = 63;

/// Appends the text of a value as PostgreSQL prints it. NULL appends nothing: each protocol has its own sign for it. The type matters
/// for OIDs only, whose `regtype` is written as a name.
pub fn encode_text(value: &Value, ty: &Type, settings: &FormatSettings, out: &mut BytesMut) {
    let result = match value {
        Value::Null => Ok(()),
        Value::Bool(value) => out.write_str(if *value { "t" } else { "f" }),
        Value::Int16(value) => write!(out, "{value}"),
        Value::Int32(value) => write!(out, "{value}"),
        Value::Int64(value) => write!(out, "{value}"),
        Value::Oid(oid) => match (ty, Type::from_oid(*oid)) {
            (Type::Regtype, Some(named)) => write!(out, "{named}"),
            (Type::Regtype | Type::Regclass, _) if *oid == 0 => out.write_str("-"),
            _ => write!(out, "{oid}"),
        },
        Value::Float4(value) => write_float4(*value, settings.extra_float_digits, out),
        Value::Float8(value) => write_float8(*value, settings.extra_float_digits, out),
        Value::Numeric(value) => write!(out, "{value}"),
        Value::Text(text) | Value::Char(text) => {
            out.put_slice(text.as_bytes());
            Ok(())
        }
        Value::Bytes(bytes) => write_bytea(bytes, settings.bytea_output, out),
        Value::Date(days) => write_date(*days, out),
        Value::Time(micros) => write_time(*micros, out),
        Value::Timestamp(micros) => write_timestamp(*micros, None, out),
        Value::TimestampTz(micros) => {
            let offset = if is_finite(*micros) { settings.time_zone.offset_at(*micros) } else { 0 };
            write_timestamp(*micros, Some(offset), out)
        }
        Value::Interval(interval) => write_interval(interval, settings.interval_style, out),
        Value::Uuid(uuid) => write!(out, "{}", uuid.hyphenated()),
        Value::Array(array) => {
            write_array(array, ty.element().unwrap_or(&Type::Unknown), settings, out);
            Ok(())
        }
    };
    result.expect("a growing buffer takes any text");
}

/// The text of a value of its natural type. Empty for NULL.
pub fn to_text(value: &Value, settings: &FormatSettings) -> String {
    if let Some(text) = value.as_str() {
        return text.to_owned();
    }
    let mut out = BytesMut::new();
    encode_text(value, &Type::Unknown, settings, &mut out);
    String::from_utf8(out.to_vec()).expect("all output is UTF-8")
}

/// Reads a value of a type and fits it to its length or precision, as assignment does.
///
/// # Errors
/// 22P02, 22003, 22001, 22007, 22008, with PostgreSQL's messages.
pub fn decode_text(text: &str, ty: &Type, settings: &FormatSettings) -> Result<Value, Error> {
    crate::cast::fit(parse_value(text, ty, settings)?, ty)
}

/// The same without regard to length or precision.
pub(crate) fn parse_value(text: &str, ty: &Type, settings: &FormatSettings) -> Result<Value, Error> {
    Ok(match ty {
        Type::Bool => Value::Bool(parse_bool(text)?),
        Type::Int16 => Value::Int16(parse_integer(text, ty)?),
        Type::Int32 => Value::Int32(parse_integer(text, ty)?),
        Type::Int64 => Value::Int64(parse_integer(text, ty)?),
        Type::Float4 => Value::Float4(parse_float4(text)?),
        Type::Float8 => Value::Float8(parse_float8(text)?),
        Type::Numeric(_) => Value::Numeric(Numeric::parse(text)?),
        Type::Text | Type::Varchar(_) | Type::Unknown => Value::text(checked(text)?),
        Type::Char(_) => Value::Char(checked(text)?.into()),
        Type::Name => Value::text(clip(checked(text)?, NAME_BYTES)),
        // One byte in PostgreSQL; a character of more bytes would not survive, so it is kept whole.
        Type::InternalChar => Value::text(checked(text)?.chars().take(1).collect::<String>()),
        Type::Bytea => Value::bytes(parse_bytea(text)?),
        Type::Date => Value::Date(parse_date(text, settings)?),
        Type::Time(_) => Value::Time(parse_time(text, settings)?),
        Type::Timestamp(_) => Value::Timestamp(parse_timestamp(text, settings)?),
        Type::TimestampTz(_) => Value::TimestampTz(parse_timestamptz(text, settings)?),
        Type::Interval => Value::Interval(parse_interval(text)?),
        Type::Uuid => Value::Uuid(parse_uuid(text)?),
        Type::Oid => Value::Oid(parse_oid(text)?),
        Type::Regtype => Value::Oid(parse_regtype(text)?),
        Type::Regclass => Value::Oid(parse_oid(text).map_err(|_| undefined_relation(text))?),
        Type::Array(element) => parse_array(text, element, settings)?,
        Type::Void => Value::Null,
        Type::Record => return Err(Error::unsupported("input of rows", "")),
    })
}

#[cold]
pub(crate) fn undefined_relation(name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
}

/// Text may hold any character but NUL.
fn checked(text: &str) -> Result<&str, Error> {
    if text.as_bytes().contains(&0) {
        return Err(Error::new(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            "invalid byte sequence for encoding \"UTF8\": 0x00",
        ));
    }
    Ok(text)
}

/// The start of a text, at most `bytes` long, cut between characters.
fn clip(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b')
}

fn is_finite(micros: i64) -> bool {
    micros != TIMESTAMP_INFINITY && micros != TIMESTAMP_NEG_INFINITY
}

/// PostgreSQL's rules for booleans: any unambiguous beginning of true, false, yes, no, on, off; 1 and 0.
fn parse_bool(text: &str) -> Result<bool, Error> {
    let word = trim(text).to_ascii_lowercase();
    let begins = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || word == "1" {
        Ok(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0" {
        Ok(false)
    } else {
        Err(Error::invalid_input("boolean", text))
    }
}

fn parse_integer<T: TryFrom<i64>>(text: &str, ty: &Type) -> Result<T, Error> {
    let digits = trim(text);
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::invalid_input(ty, text));
    }
    let value = digits.parse::<i64>().ok().and_then(|value| T::try_from(value).ok());
    value.ok_or_else(|| {
        Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("value \"{text}\" is out of range for type {ty}"))
    })
}

fn parse_oid(text: &str) -> Result<u32, Error> {
    let digits = trim(text);
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::invalid_input("oid", text));
    }
    // PostgreSQL takes negative numbers of 32 bits too, as the OID with these bits.
    let value = digits.parse::<i64>().ok().filter(|value| (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(value));
    value.map(|value| value as u32).ok_or_else(|| {
        Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("value \"{text}\" is out of range for type oid"))
    })
}

fn parse_regtype(text: &str) -> Result<u32, Error> {
    if trim(text) == "-" {
        return Ok(0);
    }
    parse_oid(text).or_else(|_| Type::from_name(&trim(text).to_ascii_lowercase(), &[]).map(|ty| ty.oid()))
}

fn float_text<'a>(text: &'a str, name: &str) -> Result<&'a str, Error> {
    let digits = trim(text);
    // Rust reads what C does, but for hexadecimal floats.
    if digits.is_empty() { Err(Error::invalid_input(name, text)) } else { Ok(digits) }
}

fn float_range(text: &str, name: &str) -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("\"{text}\" is out of range for type {name}"))
}

/// Whether the digits say that the number is not zero: then a float of zero has lost it.
fn nonzero_digits(text: &str) -> bool {
    text.bytes().take_while(|b| !matches!(b, b'e' | b'E')).any(|b| matches!(b, b'1'..=b'9'))
}

fn parse_float8(text: &str) -> Result<f64, Error> {
    const NAME: &str = "double precision";
    let digits = float_text(text, NAME)?;
    let value: f64 = digits.parse().map_err(|_| Error::invalid_input(NAME, text))?;
    let named = digits.bytes().any(|b| b.eq_ignore_ascii_case(&b'n'));
    if (value.is_infinite() && !named) || (value == 0.0 && nonzero_digits(digits)) {
        return Err(float_range(text, NAME));
    }
    Ok(value)
}

fn parse_float4(text: &str) -> Result<f32, Error> {
    const NAME: &str = "real";
    let digits = float_text(text, NAME)?;
    let value: f32 = digits.parse().map_err(|_| Error::invalid_input(NAME, text))?;
    let named = digits.bytes().any(|b| b.eq_ignore_ascii_case(&b'n'));
    if (value.is_infinite() && !named) || (value == 0.0 && nonzero_digits(digits)) {
        return Err(float_range(text, NAME));
    }
    Ok(value)
}

/// 32 hexadecimal digits, with a hyphen after any group of four, perhaps in braces.
fn parse_uuid(text: &str) -> Result<Uuid, Error> {
    let invalid = || Error::invalid_input("uuid", text);
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(invalid)?,
        None => text,
    };
    let mut number: u128 = 0;
    let mut count = 0;
    let mut bytes = inner.bytes().peekable();
    while let Some(byte) = bytes.next() {
        let digit = char::from(byte).to_digit(16).filter(|_| count < 32).ok_or_else(invalid)?;
        number = number << 4 | u128::from(digit);
        count += 1;
        if count % 4 == 0 && count < 32 && bytes.peek() == Some(&b'-') {
            bytes.next();
        }
    }
    if count == 32 { Ok(Uuid::from_u128(number)) } else { Err(invalid()) }
}

/// Both of PostgreSQL's notations: `\x` and hexadecimal digits, or escapes.
fn parse_bytea(text: &str) -> Result<Vec<u8>, Error> {
    match text.strip_prefix("\\x") {
        Some(digits) => parse_hex(digits),
        None => parse_escaped(text),
    }
}

/// Hexadecimal digits, with white space between bytes.
pub(crate) fn parse_hex(text: &str) -> Result<Vec<u8>, Error> {
    let bad = |message: String| Error::new(SqlState::INVALID_PARAMETER_VALUE, message);
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut characters = text.chars();
    let digit = |c: char| c.to_digit(16).ok_or_else(|| bad(format!("invalid hexadecimal digit: \"{c}\"")));
    while let Some(c) = characters.next() {
        if c.is_ascii_whitespace() {
            continue;
        }
        let high = digit(c)?;
        let low = characters.next().ok_or_else(|| bad("invalid hexadecimal data: odd number of digits".to_owned()))?;
        bytes.push((high << 4 | digit(low)?) as u8);
    }
    Ok(bytes)
}

/// `\\` is a backslash, `\ooo` a byte in octal, anything else itself.
pub(crate) fn parse_escaped(text: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match (byte, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                bytes.push(b'\\');
                tail
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            (b'\\', _) => {
                return Err(Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea"));
            }
            (byte, tail) => {
                bytes.push(byte);
                tail
            }
        };
    }
    Ok(bytes)
}

fn write_bytea(bytes: &[u8], output: ByteaOutput, out: &mut BytesMut) -> std::fmt::Result {
    match output {
        ByteaOutput::Hex => {
            out.put_slice(b"\\x");
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            out.reserve(bytes.len() * 2);
            for byte in bytes {
                out.put_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
        }
        ByteaOutput::Escape => {
            for byte in bytes {
                match byte {
                    b'\\' => out.put_slice(b"\\\\"),
                    0x20..=0x7E => out.put_u8(*byte),
                    _ => write!(out, "\\{byte:03o}")?,
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
