//! Values and errors as bytes between instances.
//!
//! A value describes itself, so that rows of any shape can be read back; every value comes back exactly as it was, the trailing zeros of a `numeric`,
//! the blanks of a `character(n)` and the bits of a NaN included. Both ends speak the same wire version, so the form may change with it.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::error::{Error, ErrorFields, SqlState};
use crate::types::Type;
use crate::value::{Array, Interval, Numeric, Value};

#[derive(Serialize, Deserialize)]
enum Datum<'a> {
    Null,
    Bool(bool),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Float4(u32),
    Float8(u64),
    Numeric(i128, u8),
    NotANumber,
    Infinity,
    NegativeInfinity,
    Text(&'a str),
    Char(&'a str),
    Bytes(&'a [u8]),
    Date(i32),
    Time(i64),
    Timestamp(i64),
    TimestampTz(i64),
    Interval(i64, i32, i32),
    Uuid([u8; 16]),
    Oid(u32),
    Array(Type, Vec<Value>),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let datum = match self {
            Value::Null => Datum::Null,
            Value::Bool(value) => Datum::Bool(*value),
            Value::Int16(value) => Datum::Int16(*value),
            Value::Int32(value) => Datum::Int32(*value),
            Value::Int64(value) => Datum::Int64(*value),
            Value::Float4(value) => Datum::Float4(value.to_bits()),
            Value::Float8(value) => Datum::Float8(value.to_bits()),
            Value::Numeric(value) if value.is_finite() => Datum::Numeric(value.coefficient(), value.scale()),
            Value::Numeric(value) if value.is_nan() => Datum::NotANumber,
            Value::Numeric(value) if value.signum() < 0 => Datum::NegativeInfinity,
            Value::Numeric(_) => Datum::Infinity,
            Value::Text(text) => Datum::Text(text),
            Value::Char(text) => Datum::Char(text),
            Value::Bytes(bytes) => Datum::Bytes(bytes),
            Value::Date(value) => Datum::Date(*value),
            Value::Time(value) => Datum::Time(*value),
            Value::Timestamp(value) => Datum::Timestamp(*value),
            Value::TimestampTz(value) => Datum::TimestampTz(*value),
            Value::Interval(value) => Datum::Interval(value.micros, value.days, value.months),
            Value::Uuid(value) => Datum::Uuid(*value.as_bytes()),
            Value::Oid(value) => Datum::Oid(*value),
            Value::Array(array) => Datum::Array(array.element_type().clone(), array.values().to_vec()),
        };
        datum.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        Ok(match Datum::deserialize(deserializer)? {
            Datum::Null => Value::Null,
            Datum::Bool(value) => Value::Bool(value),
            Datum::Int16(value) => Value::Int16(value),
            Datum::Int32(value) => Value::Int32(value),
            Datum::Int64(value) => Value::Int64(value),
            Datum::Float4(bits) => Value::Float4(f32::from_bits(bits)),
            Datum::Float8(bits) => Value::Float8(f64::from_bits(bits)),
            Datum::Numeric(coefficient, scale) => {
                Value::Numeric(Numeric::new(coefficient, scale).map_err(serde::de::Error::custom)?)
            }
            Datum::NotANumber => Value::Numeric(Numeric::NAN),
            Datum::Infinity => Value::Numeric(Numeric::INFINITY),
            Datum::NegativeInfinity => Value::Numeric(Numeric::NEG_INFINITY),
            Datum::Text(text) => Value::Text(text.into()),
            Datum::Char(text) => Value::Char(text.into()),
            Datum::Bytes(bytes) => Value::Bytes(bytes.into()),
            Datum::Date(value) => Value::Date(value),
            Datum::Time(value) => Value::Time(value),
            Datum::Timestamp(value) => Value::Timestamp(value),
            Datum::TimestampTz(value) => Value::TimestampTz(value),
            Datum::Interval(micros, days, months) => Value::Interval(Interval { micros, days, months }),
            Datum::Uuid(bytes) => Value::Uuid(Uuid::from_bytes(bytes)),
            Datum::Oid(value) => Value::Oid(value),
            Datum::Array(element, values) => Value::Array(Arc::new(Array::new(element, values))),
        })
    }
}

/// Bytes that are not what they should be.
#[cold]
pub(super) fn damaged<E>(_: E) -> Error {
    Error::internal("what another instance sent about a scan cannot be read")
}

/// Appends something to bytes.
pub(super) fn put<T: Serialize>(value: &T, out: &mut Vec<u8>) -> Result<(), Error> {
    *out = postcard::to_extend(value, std::mem::take(out)).map_err(damaged)?;
    Ok(())
}

/// Bytes, which are written as what they are and not one by one.
pub(super) struct Raw<'a>(pub(super) &'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

/// Takes something from the front of bytes.
pub(super) fn take<'a, T: Deserialize<'a>>(bytes: &mut &'a [u8]) -> Result<T, Error> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(damaged)?;
    *bytes = rest;
    Ok(value)
}

#[derive(Serialize, Deserialize)]
struct WireError {
    code: String,
    message: String,
    position: Option<u32>,
    /// Detail, hint, context, schema, table, column, data type, constraint.
    rest: [Option<String>; 8],
}

/// An error as bytes.
pub fn encode_error(error: &Error) -> Vec<u8> {
    let ErrorFields { code, message, detail, hint, position, context, schema, table, column, data_type, constraint } =
        &**error;
    let rest = [detail, hint, context, schema, table, column, data_type, constraint].map(Clone::clone);
    let wire = WireError { code: code.as_str().to_owned(), message: message.clone(), position: *position, rest };
    // What cannot be encoded reads as damage at the other end, which is an error too.
    postcard::to_allocvec(&wire).unwrap_or_default()
}

/// The error that [`encode_error`] was given; XX000 for other bytes.
pub fn decode_error(bytes: &[u8]) -> Error {
    let Ok(wire) = postcard::from_bytes::<WireError>(bytes) else { return damaged(()) };
    let code = SqlState::parse(&wire.code).unwrap_or(SqlState::INTERNAL_ERROR);
    let mut error = Error::new(code, wire.message);
    let [detail, hint, context, schema, table, column, data_type, constraint] = wire.rest;
    (error.detail, error.hint, error.context, error.position) = (detail, hint, context, wire.position);
    (error.schema, error.table, error.column) = (schema, table, column);
    (error.data_type, error.constraint) = (data_type, constraint);
    error
}
