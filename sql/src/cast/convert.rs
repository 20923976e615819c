//! The conversions behind casts, and the fitting of values to lengths and precisions.

use std::sync::Arc;

use crate::error::{Error, SqlState};
use crate::format::to_text;
use crate::functions::EvalContext;
use crate::types::Type;
use crate::value::{
    Array, DATE_INFINITY, DATE_NEG_INFINITY, Interval, Numeric, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY,
    USECS_PER_DAY, Value, check_timestamp, mismatch, split_timestamp, timestamp_from_parts,
};

/// Converts a value that is not NULL to another base type. The pair is one that casts allow.
pub(super) fn convert(context: &dyn EvalContext, value: Value, from: &Type, to: &Type) -> Result<Value, Error> {
    if let (Type::Array(_), Type::Array(element)) = (from, to) {
        return convert_array(context, &value, from, element);
    }
    match to {
        Type::Text | Type::Varchar(_) | Type::Name | Type::InternalChar => convert_to_text(context, value, from, to),
        Type::Char(_) => match value {
            Value::Text(text) if !matches!(from, Type::InternalChar) => Ok(Value::Char(text)),
            other => Ok(Value::Char(text_of(context, &other, from).into())),
        },
        _ if from.is_string() || matches!(from, Type::Unknown) => {
            let text = value.as_str().ok_or_else(|| mismatch("text", &value))?;
            parse(context, text, to)
        }
        _ => convert_scalar(context, &value, from, to),
    }
}

fn convert_array(context: &dyn EvalContext, value: &Value, from: &Type, to: &Type) -> Result<Value, Error> {
    let (Value::Array(array), Some(from)) = (value, from.element()) else { return Err(mismatch("array", value)) };
    let cast = super::resolve_cast(from, to, super::CastContext::Explicit)?;
    let values = array.values().iter().map(|value| cast.apply(context, value.clone())).collect::<Result<_, _>>()?;
    Ok(Value::Array(Arc::new(Array::new(to.base(), values))))
}

/// Reads a literal by the input rules of its type; names of relations are looked up.
fn parse(context: &dyn EvalContext, text: &str, to: &Type) -> Result<Value, Error> {
    if matches!(to, Type::Regclass) && !text.trim().bytes().all(|b| b.is_ascii_digit()) {
        if text.trim() == "-" {
            return Ok(Value::Oid(0));
        }
        return context
            .relation_oid(text.trim())
            .map(Value::Oid)
            .ok_or_else(|| crate::format::undefined_relation(text));
    }
    crate::format::parse_value(text, to, context.format())
}

fn convert_to_text(context: &dyn EvalContext, value: Value, from: &Type, to: &Type) -> Result<Value, Error> {
    let text: Arc<str> = match value {
        Value::Text(text) => text,
        // char(n) loses its padding.
        Value::Char(text) => text.trim_end_matches(' ').into(),
        Value::Int32(code) if matches!(to, Type::InternalChar) => return internal_char(code),
        other => text_of(context, &other, from).into(),
    };
    match to {
        Type::Name | Type::InternalChar => crate::format::parse_value(&text, to, context.format()),
        _ => Ok(Value::Text(text)),
    }
}

fn internal_char(code: i32) -> Result<Value, Error> {
    match u8::try_from(code) {
        Ok(0) => Ok(Value::text("")),
        Ok(byte) if byte.is_ascii() => Ok(Value::text(char::from(byte).to_string())),
        _ => Err(Error::out_of_range("\"char\"")),
    }
}

/// The text of a value, booleans in full: `true`, unlike on the wire.
fn text_of(context: &dyn EvalContext, value: &Value, from: &Type) -> String {
    match (value, from) {
        (Value::Bool(value), _) => value.to_string(),
        (Value::Oid(0), Type::Regclass | Type::Regtype) => "-".to_owned(),
        (Value::Oid(oid), Type::Regclass) => context.relation_name(*oid).unwrap_or_else(|| oid.to_string()),
        (Value::Oid(oid), Type::Regtype) => Type::from_oid(*oid).map_or_else(|| oid.to_string(), |ty| ty.to_string()),
        _ => to_text(value, context.format()),
    }
}

fn convert_scalar(context: &dyn EvalContext, value: &Value, from: &Type, to: &Type) -> Result<Value, Error> {
    let zone = || &context.format().time_zone;
    match (value, to) {
        (_, Type::Int16 | Type::Int32 | Type::Int64) => to_integer(value, from, to),
        (_, Type::Float4 | Type::Float8) => to_float(value, to),
        (_, Type::Numeric(_)) => to_numeric(value).map(Value::Numeric),
        (Value::Int32(number), Type::Bool) => Ok(Value::Bool(*number != 0)),
        (_, Type::Oid | Type::Regclass | Type::Regtype) => {
            let number = value.as_i64().ok_or_else(|| mismatch("integer", value))?;
            let oid = match value {
                // Small integers keep their bits, as in PostgreSQL; a bigint has to fit.
                Value::Int64(_) => u32::try_from(number).map_err(|_| Error::out_of_range("OID"))?,
                _ => number as u32,
            };
            Ok(Value::Oid(oid))
        }
        (Value::Date(days), Type::Timestamp(_)) => date_to_timestamp(*days).map(Value::Timestamp),
        (Value::Date(days), Type::TimestampTz(_)) => {
            let local = date_to_timestamp(*days)?;
            Ok(Value::TimestampTz(to_utc(local, |local| zone().to_utc(local))?))
        }
        (Value::Timestamp(local), Type::TimestampTz(_)) => {
            Ok(Value::TimestampTz(to_utc(*local, |local| zone().to_utc(local))?))
        }
        (Value::TimestampTz(utc), Type::Timestamp(_)) => {
            Ok(Value::Timestamp(to_utc(*utc, |utc| zone().to_local(utc))?))
        }
        (Value::Timestamp(local), Type::Date) => Ok(Value::Date(timestamp_to_date(*local))),
        (Value::TimestampTz(utc), Type::Date) if is_infinite(*utc) => Ok(Value::Date(timestamp_to_date(*utc))),
        (Value::TimestampTz(utc), Type::Date) => Ok(Value::Date(timestamp_to_date(zone().to_local(*utc)))),
        (Value::Timestamp(micros) | Value::TimestampTz(micros), Type::Time(_)) if is_infinite(*micros) => {
            Ok(Value::Null)
        }
        (Value::Timestamp(local), Type::Time(_)) => Ok(Value::Time(split_timestamp(*local).1)),
        (Value::TimestampTz(utc), Type::Time(_)) => Ok(Value::Time(split_timestamp(zone().to_local(*utc)).1)),
        (Value::Time(micros), Type::Interval) => Ok(Value::Interval(Interval { months: 0, days: 0, micros: *micros })),
        (Value::Interval(interval), Type::Time(_)) => Ok(Value::Time(interval.micros.rem_euclid(USECS_PER_DAY))),
        (value, to) => Err(mismatch(&to.to_string(), value)),
    }
}

pub(crate) fn is_infinite(micros: i64) -> bool {
    micros == TIMESTAMP_INFINITY || micros == TIMESTAMP_NEG_INFINITY
}

/// Applies a change of zone to a finite timestamp.
fn to_utc(micros: i64, change: impl Fn(i64) -> i64) -> Result<i64, Error> {
    if is_infinite(micros) { Ok(micros) } else { check_timestamp(Some(change(micros))) }
}

pub(crate) fn date_to_timestamp(days: i32) -> Result<i64, Error> {
    match days {
        DATE_INFINITY => Ok(TIMESTAMP_INFINITY),
        DATE_NEG_INFINITY => Ok(TIMESTAMP_NEG_INFINITY),
        _ => check_timestamp(timestamp_from_parts(i64::from(days), 0))
            .map_err(|_| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range for timestamp")),
    }
}

fn timestamp_to_date(micros: i64) -> i32 {
    match micros {
        TIMESTAMP_INFINITY => DATE_INFINITY,
        TIMESTAMP_NEG_INFINITY => DATE_NEG_INFINITY,
        _ => split_timestamp(micros).0,
    }
}

fn to_integer(value: &Value, from: &Type, to: &Type) -> Result<Value, Error> {
    let out_of_range = || Error::out_of_range(to);
    let number = match value {
        Value::Bool(value) => i64::from(*value),
        // "char": its code.
        Value::Text(text) if matches!(from, Type::InternalChar) => {
            text.chars().next().map_or(0, |c| i64::from(u32::from(c)))
        }
        Value::Float4(value) => float_to_i64(f64::from(*value)).ok_or_else(out_of_range)?,
        Value::Float8(value) => float_to_i64(*value).ok_or_else(out_of_range)?,
        Value::Numeric(value) if value.is_finite() => value.to_i64().ok_or_else(out_of_range)?,
        Value::Numeric(value) => {
            let what = if value.is_nan() { "NaN" } else { "infinity" };
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("cannot convert {what} to {to}")));
        }
        // OIDs go to integer with their bits.
        Value::Oid(oid) if matches!(to, Type::Int32) => i64::from(*oid as i32),
        other => other.as_i64().ok_or_else(|| mismatch("a number", other))?,
    };
    Ok(match to {
        Type::Int16 => Value::Int16(i16::try_from(number).map_err(|_| out_of_range())?),
        Type::Int32 => Value::Int32(i32::try_from(number).map_err(|_| out_of_range())?),
        _ => Value::Int64(number),
    })
}

/// The nearest integer, halves to even, as C's `rint`.
fn float_to_i64(value: f64) -> Option<i64> {
    let rounded = value.round_ties_even();
    // The bounds are exact as floats: -2^63 is in, 2^63 is not.
    (rounded >= i64::MIN as f64 && rounded < -(i64::MIN as f64)).then_some(rounded as i64)
}

fn to_float(value: &Value, to: &Type) -> Result<Value, Error> {
    let wide = match value {
        Value::Float4(value) => f64::from(*value),
        Value::Float8(value) => *value,
        Value::Numeric(value) => {
            let wide = value.to_f64();
            if matches!(to, Type::Float4) && wide.is_finite() {
                // Straight from the digits, not by way of double: one rounding only.
                return Ok(Value::Float4(value.to_string().parse().map_err(|_| mismatch("numeric", &Value::Null))?));
            }
            wide
        }
        Value::Int64(number) if matches!(to, Type::Float4) => return Ok(Value::Float4(*number as f32)),
        other => other.as_i64().ok_or_else(|| mismatch("a number", other))? as f64,
    };
    if matches!(to, Type::Float8) {
        return Ok(Value::Float8(wide));
    }
    let narrow = wide as f32;
    if narrow.is_infinite() && wide.is_finite() {
        return Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow"));
    }
    if narrow == 0.0 && wide != 0.0 {
        return Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow"));
    }
    Ok(Value::Float4(narrow))
}

fn to_numeric(value: &Value) -> Result<Numeric, Error> {
    match value {
        Value::Numeric(value) => Ok(*value),
        Value::Float4(value) => Numeric::from_f32(*value),
        Value::Float8(value) => Numeric::from_f64(*value),
        other => other.as_i64().map(Numeric::from).ok_or_else(|| mismatch("a number", other)),
    }
}

/// Fits a value to the length or precision of its type. Explicit casts cut strings, assignments refuse what is no blank.
pub(super) fn coerce_length(value: Value, to: &Type, explicit: bool) -> Result<Value, Error> {
    match (to, value) {
        (Type::Varchar(Some(n)), Value::Text(text)) => match overlong(&text, *n) {
            None => Ok(Value::Text(text)),
            Some(cut) => Ok(Value::Text(cut_to(&text, cut, explicit, || format!("character varying({n})"))?.into())),
        },
        (Type::Char(Some(n)), Value::Char(text)) => match overlong(&text, *n) {
            Some(cut) => Ok(Value::Char(cut_to(&text, cut, explicit, || format!("character({n})"))?.into())),
            None if text.len() == *n as usize && text.is_ascii() => Ok(Value::Char(text)),
            None => Ok(Value::Char(crate::key::pad(text.to_string(), Some(*n)).into())),
        },
        (Type::Numeric(Some((precision, scale))), Value::Numeric(value)) => {
            value.coerce(*precision, *scale).map(Value::Numeric)
        }
        (Type::Time(Some(digits)), Value::Time(micros)) => Ok(Value::Time(round_micros(micros, *digits))),
        (Type::Timestamp(Some(digits)), Value::Timestamp(micros)) if !is_infinite(micros) => {
            Ok(Value::Timestamp(check_timestamp(Some(round_micros(micros, *digits)))?))
        }
        (Type::TimestampTz(Some(digits)), Value::TimestampTz(micros)) if !is_infinite(micros) => {
            Ok(Value::TimestampTz(check_timestamp(Some(round_micros(micros, *digits)))?))
        }
        (Type::Array(element), Value::Array(array)) if element.modifier() >= 0 => {
            let values = array
                .values()
                .iter()
                .map(|value| coerce_length(value.clone(), element, explicit))
                .collect::<Result<_, _>>()?;
            Ok(Value::Array(Arc::new(Array::new(array.element_type().clone(), values))))
        }
        (_, value) => Ok(value),
    }
}

/// Where to cut a text of more than `n` characters; `None` if it has no more.
fn overlong(text: &str, n: u32) -> Option<usize> {
    if text.len() <= n as usize {
        return None;
    }
    text.char_indices().nth(n as usize).map(|(at, _)| at)
}

fn cut_to(text: &str, at: usize, explicit: bool, ty: impl Fn() -> String) -> Result<&str, Error> {
    if !explicit && text[at..].bytes().any(|byte| byte != b' ') {
        return Err(Error::new(SqlState::STRING_DATA_RIGHT_TRUNCATION, format!("value too long for type {}", ty())));
    }
    Ok(&text[..at])
}

/// Rounds to so many digits of a second, halves away from zero.
fn round_micros(micros: i64, digits: u8) -> i64 {
    let unit = 10i64.pow(6 - u32::from(digits.min(6)));
    let half = unit / 2;
    let shifted = if micros >= 0 { micros.saturating_add(half) } else { micros.saturating_sub(half) };
    shifted / unit * unit
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
