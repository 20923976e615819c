//! The binary format: what PostgreSQL's send and receive functions write and read. All integers are big endian.

use std::sync::Arc;

use bytes::{Buf, BufMut, BytesMut};
use uuid::Uuid;

use crate::error::{Error, SqlState};
use crate::types::Type;
use crate::value::{
    Array, DATE_INFINITY, DATE_NEG_INFINITY, Interval, Numeric, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY,
    USECS_PER_DAY, Value,
};

const NUMERIC_NEGATIVE: u16 = 0x4000;
const NUMERIC_NAN: u16 = 0xC000;
const NUMERIC_INFINITY: u16 = 0xD000;
const NUMERIC_NEG_INFINITY: u16 = 0xF000;

/// Appends the binary form of a value. NULL appends nothing: its length is -1 in every message.
///
/// # Errors
/// XX000 for an array of elements that the type does not announce.
pub fn encode_binary(value: &Value, ty: &Type, out: &mut BytesMut) -> Result<(), Error> {
    match value {
        Value::Null => {}
        Value::Bool(value) => out.put_u8(u8::from(*value)),
        Value::Int16(value) => out.put_i16(*value),
        Value::Int32(value) | Value::Date(value) => out.put_i32(*value),
        Value::Int64(value) | Value::Time(value) | Value::Timestamp(value) | Value::TimestampTz(value) => {
            out.put_i64(*value)
        }
        Value::Float4(value) => out.put_f32(*value),
        Value::Float8(value) => out.put_f64(*value),
        Value::Numeric(value) => encode_numeric(value, out),
        // Always a byte: the empty one is zero.
        Value::Text(text) if *ty == Type::InternalChar && text.is_empty() => out.put_u8(0),
        Value::Text(text) | Value::Char(text) => out.put_slice(text.as_bytes()),
        Value::Bytes(bytes) => out.put_slice(bytes),
        Value::Interval(interval) => {
            out.put_i64(interval.micros);
            out.put_i32(interval.days);
            out.put_i32(interval.months);
        }
        Value::Uuid(uuid) => out.put_slice(uuid.as_bytes()),
        Value::Oid(oid) => out.put_u32(*oid),
        Value::Array(array) => encode_array(array, ty, out)?,
    }
    Ok(())
}

/// Reads a value of a type and fits it to its length or precision, as assignment does.
///
/// # Errors
/// 22P03 for bytes of the wrong length or content, 22021 for text that is no UTF-8, 22008 for times out of range, 22001, 22003.
pub fn decode_binary(bytes: &[u8], ty: &Type) -> Result<Value, Error> {
    let value = match ty {
        Type::Bool => Value::Bool(exactly::<1>(bytes, ty)?[0] != 0),
        Type::Int16 => Value::Int16(i16::from_be_bytes(exactly(bytes, ty)?)),
        Type::Int32 => Value::Int32(i32::from_be_bytes(exactly(bytes, ty)?)),
        Type::Int64 => Value::Int64(i64::from_be_bytes(exactly(bytes, ty)?)),
        Type::Float4 => Value::Float4(f32::from_be_bytes(exactly(bytes, ty)?)),
        Type::Float8 => Value::Float8(f64::from_be_bytes(exactly(bytes, ty)?)),
        Type::Numeric(_) => Value::Numeric(decode_numeric(bytes)?),
        Type::InternalChar if bytes == [0] => Value::text(""),
        Type::Text | Type::Varchar(_) | Type::Name | Type::InternalChar | Type::Unknown => {
            Value::Text(Arc::from(utf8(bytes)?))
        }
        Type::Char(_) => Value::Char(Arc::from(utf8(bytes)?)),
        Type::Bytea => Value::Bytes(Arc::from(bytes)),
        Type::Date => {
            let days = i32::from_be_bytes(exactly(bytes, ty)?);
            let infinite = days == DATE_INFINITY || days == DATE_NEG_INFINITY;
            Value::Date(if infinite { days } else { crate::value::check_date(i64::from(days))? })
        }
        Type::Time(_) => {
            let micros = i64::from_be_bytes(exactly(bytes, ty)?);
            if !(0..=USECS_PER_DAY).contains(&micros) {
                return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "time out of range"));
            }
            Value::Time(micros)
        }
        Type::Timestamp(_) => Value::Timestamp(decode_timestamp(bytes, ty)?),
        Type::TimestampTz(_) => Value::TimestampTz(decode_timestamp(bytes, ty)?),
        Type::Interval => {
            let mut bytes = &exactly::<16>(bytes, ty)?[..];
            let (micros, days, months) = (bytes.get_i64(), bytes.get_i32(), bytes.get_i32());
            Value::Interval(Interval { months, days, micros })
        }
        Type::Uuid => Value::Uuid(Uuid::from_bytes(exactly(bytes, ty)?)),
        Type::Oid | Type::Regclass | Type::Regtype => Value::Oid(u32::from_be_bytes(exactly(bytes, ty)?)),
        Type::Array(element) => decode_array(bytes, element)?,
        Type::Void => Value::Null,
        Type::Record => return Err(Error::unsupported("input of rows", "")),
    };
    crate::cast::fit(value, ty)
}

fn exactly<const N: usize>(bytes: &[u8], ty: &Type) -> Result<[u8; N], Error> {
    bytes
        .try_into()
        .map_err(|_| invalid(format!("incorrect binary data format: {ty} takes {N} bytes, got {}", bytes.len())))
}

#[cold]
fn invalid(message: impl Into<String>) -> Error {
    Error::new(SqlState::INVALID_BINARY_REPRESENTATION, message)
}

fn utf8(bytes: &[u8]) -> Result<&str, Error> {
    let bad = |byte: u8| {
        Error::new(
            SqlState::CHARACTER_NOT_IN_REPERTOIRE,
            format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}"),
        )
    };
    if bytes.contains(&0) {
        return Err(bad(0));
    }
    std::str::from_utf8(bytes).map_err(|e| bad(bytes[e.valid_up_to()]))
}

fn decode_timestamp(bytes: &[u8], ty: &Type) -> Result<i64, Error> {
    let micros = i64::from_be_bytes(exactly(bytes, ty)?);
    let infinite = micros == TIMESTAMP_INFINITY || micros == TIMESTAMP_NEG_INFINITY;
    if infinite { Ok(micros) } else { crate::value::check_timestamp(Some(micros)) }
}

/// Groups of four digits: count, weight of the first, sign, digits shown after the point, groups.
fn encode_numeric(value: &Numeric, out: &mut BytesMut) {
    if !value.is_finite() {
        let sign = match (value.is_nan(), value.signum() < 0) {
            (true, _) => NUMERIC_NAN,
            (false, true) => NUMERIC_NEG_INFINITY,
            (false, false) => NUMERIC_INFINITY,
        };
        out.put_u16(0);
        out.put_i16(0);
        out.put_u16(sign);
        out.put_i16(0);
        return;
    }
    let scale = usize::from(value.scale());
    // Digits filled up so that the point falls between groups.
    let mut digits = value.coefficient().unsigned_abs().to_string().into_bytes();
    if digits.len() <= scale {
        digits.splice(0..0, std::iter::repeat_n(b'0', scale + 1 - digits.len()));
    }
    let before = (4 - (digits.len() - scale) % 4) % 4;
    digits.splice(0..0, std::iter::repeat_n(b'0', before));
    let whole_groups = (digits.len() - scale) / 4;
    digits.extend(std::iter::repeat_n(b'0', (4 - scale % 4) % 4));
    let groups: Vec<i16> =
        digits.chunks(4).map(|group| group.iter().fold(0, |n, digit| n * 10 + i16::from(digit - b'0'))).collect();
    let first = groups.iter().position(|group| *group != 0);
    let (weight, shown) = match first {
        Some(first) => {
            let last = groups.iter().rposition(|group| *group != 0).unwrap_or(first);
            (whole_groups as i16 - 1 - first as i16, &groups[first..=last])
        }
        None => (0, &groups[..0]),
    };
    out.put_u16(shown.len() as u16);
    out.put_i16(weight);
    out.put_u16(if value.signum() < 0 { NUMERIC_NEGATIVE } else { 0 });
    out.put_u16(scale as u16);
    for group in shown {
        out.put_i16(*group);
    }
}

fn decode_numeric(mut bytes: &[u8]) -> Result<Numeric, Error> {
    if bytes.len() < 8 {
        return Err(invalid("insufficient data left in message"));
    }
    let count = usize::from(bytes.get_u16());
    let weight = bytes.get_i16();
    let sign = bytes.get_u16();
    let scale = bytes.get_u16();
    match sign {
        NUMERIC_NAN => return Ok(Numeric::NAN),
        NUMERIC_INFINITY => return Ok(Numeric::INFINITY),
        NUMERIC_NEG_INFINITY => return Ok(Numeric::NEG_INFINITY),
        0 | NUMERIC_NEGATIVE => {}
        _ => return Err(invalid("invalid sign in external \"numeric\" value")),
    }
    if bytes.len() != count * 2 {
        return Err(invalid("incorrect binary data format: numeric of a wrong length"));
    }
    if scale > 0x3FFF {
        return Err(invalid("invalid scale in external \"numeric\" value"));
    }
    let mut text = String::with_capacity(count * 4 + 16);
    if sign == NUMERIC_NEGATIVE {
        text.push('-');
    }
    text.push('0');
    while bytes.has_remaining() {
        let group = bytes.get_u16();
        if group > 9999 {
            return Err(invalid("invalid digit in external \"numeric\" value"));
        }
        text.push_str(&format!("{group:04}"));
    }
    let exponent = (i32::from(weight) + 1 - count as i32) * 4;
    let value = Numeric::parse(&format!("{text}e{exponent}"))?;
    // The scale announced governs; PostgreSQL cuts digits beyond it.
    if i32::from(scale) < i32::from(value.scale()) {
        value.trunc(i32::from(scale))
    } else {
        value.round(i32::from(scale))
    }
}

fn encode_array(array: &Array, ty: &Type, out: &mut BytesMut) -> Result<(), Error> {
    let element = ty.element().unwrap_or(array.element_type());
    let values = array.values();
    out.put_i32(i32::from(!values.is_empty()));
    out.put_i32(i32::from(values.iter().any(Value::is_null)));
    out.put_u32(element.oid());
    if values.is_empty() {
        return Ok(());
    }
    out.put_i32(values.len() as i32);
    out.put_i32(1);
    for value in values {
        if value.is_null() {
            out.put_i32(-1);
            continue;
        }
        let start = out.len();
        out.put_i32(0);
        encode_binary(value, element, out)?;
        let length = (out.len() - start - 4) as i32;
        out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }
    Ok(())
}

fn decode_array(mut bytes: &[u8], element: &Type) -> Result<Value, Error> {
    let short = || invalid("insufficient data left in message");
    if bytes.len() < 12 {
        return Err(short());
    }
    let (dimensions, _nulls, oid) = (bytes.get_i32(), bytes.get_i32(), bytes.get_u32());
    if oid != element.oid() {
        return Err(Error::new(
            SqlState::DATATYPE_MISMATCH,
            format!("binary data has array element type {oid} instead of expected {} ({element})", element.oid()),
        ));
    }
    let count = match dimensions {
        0 => 0,
        1 if bytes.len() >= 8 => {
            let count = bytes.get_i32();
            bytes.advance(4);
            count
        }
        1 => return Err(short()),
        _ => return Err(Error::unsupported("an array of more than one dimension", "")),
    };
    let mut values = Vec::new();
    for _ in 0..count {
        if bytes.len() < 4 {
            return Err(short());
        }
        values.push(match bytes.get_i32() {
            -1 => Value::Null,
            length => {
                let length = usize::try_from(length).map_err(|_| short())?;
                let (value, rest) = bytes.split_at_checked(length).ok_or_else(short)?;
                bytes = rest;
                decode_binary(value, element)?
            }
        });
    }
    if !bytes.is_empty() {
        return Err(invalid("incorrect binary data format: bytes after the last element of an array"));
    }
    Ok(Value::Array(Arc::new(Array::new(element.base(), values))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both_ways(value: Value, ty: &Type, expected: &str) {
        let mut out = BytesMut::new();
        encode_binary(&value, ty, &mut out).expect("encodes");
        assert_eq!(hex::encode(&out), expected, "{value:?}");
        let back = decode_binary(&out, ty).expect("decodes");
        assert_eq!(format!("{back:?}"), format!("{value:?}"));
    }

    #[test]
    fn bytes_are_those_of_postgres() {
        let numeric = |text: &str| Value::Numeric(Numeric::parse(text).expect("a number"));
        let number = Type::Numeric(None);
        both_ways(Value::Bool(true), &Type::Bool, "01");
        both_ways(Value::Int16(-2), &Type::Int16, "fffe");
        both_ways(Value::Int32(258), &Type::Int32, "00000102");
        both_ways(Value::Int64(1), &Type::Int64, "0000000000000001");
        both_ways(Value::Float8(1.0), &Type::Float8, "3ff0000000000000");
        both_ways(numeric("0"), &number, "0000000000000000");
        both_ways(numeric("1"), &number, "00010000000000000001");
        both_ways(numeric("-1234567.891"), &number, "0003000140000003007b11d722ce");
        both_ways(numeric("0.0001"), &number, "0001ffff000000040001");
        both_ways(numeric("0.00001"), &number, "0001fffe0000000503e8");
        both_ways(numeric("10000"), &number, "00010001000000000001");
        both_ways(numeric("12.50"), &number, "0002000000000002000c1388");
        both_ways(numeric("NaN"), &number, "00000000c0000000");
        both_ways(numeric("-Infinity"), &number, "00000000f0000000");
        both_ways(Value::Date(1), &Type::Date, "00000001");
        both_ways(Value::Timestamp(-1), &Type::Timestamp(None), "ffffffffffffffff");
        both_ways(
            Value::Interval(Interval { months: 1, days: 2, micros: 3 }),
            &Type::Interval,
            "00000000000000030000000200000001",
        );
        both_ways(Value::text("ä"), &Type::Text, "c3a4");
        both_ways(Value::text("r"), &Type::InternalChar, "72");
        both_ways(Value::text(""), &Type::InternalChar, "00");
        both_ways(Value::Uuid(Uuid::from_u128(1)), &Type::Uuid, "00000000000000000000000000000001");
        both_ways(
            Value::Array(Arc::new(Array::new(Type::Int32, vec![Value::Int32(7), Value::Null]))),
            &Type::Array(Box::new(Type::Int32)),
            "00000001000000010000001700000002000000010000000400000007ffffffff",
        );
        both_ways(
            Value::Array(Arc::new(Array::new(Type::Text, vec![]))),
            &Type::Array(Box::new(Type::Text)),
            "000000000000000000000019",
        );
    }

    #[test]
    fn wrong_bytes_are_refused() {
        let code = |bytes: &[u8], ty: &Type| decode_binary(bytes, ty).map_err(|e| e.code.as_str().to_owned());
        assert_eq!(code(&[0; 3], &Type::Int32), Err("22P03".to_owned()));
        assert_eq!(code(&[0xFF], &Type::Text), Err("22021".to_owned()));
        assert_eq!(code(b"a\0", &Type::Text), Err("22021".to_owned()));
        assert_eq!(code(&[0; 7], &Type::Numeric(None)), Err("22P03".to_owned()));
        assert_eq!(code(&[0, 1, 0, 0, 0, 0, 0, 0, 0x27, 0x10], &Type::Numeric(None)), Err("22P03".to_owned()));
        assert_eq!(code(&(i64::MAX - 1).to_be_bytes(), &Type::Timestamp(None)), Err("22008".to_owned()));
        assert_eq!(code(&(-1i64).to_be_bytes(), &Type::Time(None)), Err("22008".to_owned()));
        assert_eq!(code(b"abcd", &Type::Varchar(Some(3))), Err("22001".to_owned()));
        let array = Type::Array(Box::new(Type::Int32));
        assert_eq!(code(&[0; 12], &array), Err("42804".to_owned()));
        assert_eq!(
            code(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 23, 0x7F, 0xFF, 0xFF, 0xFF, 0, 0, 0, 1], &array),
            Err("22P03".to_owned())
        );
    }
}
