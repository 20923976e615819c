//! Values: what rows, parameters and results hold.
//!
//! A [`Value`] is 24 bytes and cheap to clone (strings and byte strings are shared). It describes itself well enough to be
//! compared and printed without its type. Date and time use PostgreSQL's own representation: days or microseconds since
//! 2000-01-01, with the extreme values standing for ±infinity.
//!
//! `Ord`, `Eq` and `Hash` follow PostgreSQL for values of one type: NaN equals itself and is greatest, -0 equals 0,
//! `numeric` ignores trailing zeros, `character(n)` ignores trailing blanks, text is ordered by bytes, NULL equals NULL and
//! comes last. So they serve ORDER BY, GROUP BY and DISTINCT; SQL's `=` with its NULL logic is [`crate::functions`]'.

mod array;
mod compare;
mod datetime;
mod interval;
mod numeric;
mod numeric_math;
mod time_zone;

use std::sync::Arc;

use uuid::Uuid;

pub use array::Array;
pub use datetime::{
    Civil, DATE_INFINITY, DATE_NEG_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, Timed, UNIX_EPOCH_DAYS,
    USECS_PER_DAY, USECS_PER_SEC, check_date, check_timestamp, civil_from_days, days_from_civil, days_in_month,
    split_timestamp, timestamp_from_parts, timestamp_from_system,
};
pub use interval::Interval;
pub use numeric::Numeric;
pub use time_zone::TimeZone;

pub(crate) use compare::canonical_bits;
pub(crate) use time_zone::abbreviation_offset;

use crate::error::Error;

/// One value of any type, or NULL.
#[derive(Clone, Debug)]
pub enum Value {
    /// NULL of any type
    Null,
    /// `boolean`
    Bool(bool),
    /// `smallint`
    Int16(i16),
    /// `integer`
    Int32(i32),
    /// `bigint`
    Int64(i64),
    /// `real`
    Float4(f32),
    /// `double precision`
    Float8(f64),
    /// `numeric`
    Numeric(Numeric),
    /// `text`, `character varying`, `name`, `"char"`, and literals of unknown type
    Text(Arc<str>),
    /// `character(n)`, blank-padded to its length as PostgreSQL holds it; trailing blanks don't count in comparisons
    Char(Arc<str>),
    /// `bytea`
    Bytes(Arc<[u8]>),
    /// `date`: days since 2000-01-01
    Date(i32),
    /// `time`: microseconds since midnight
    Time(i64),
    /// `timestamp`: microseconds since 2000-01-01 00:00
    Timestamp(i64),
    /// `timestamptz`: microseconds since 2000-01-01 00:00 UTC
    TimestampTz(i64),
    /// `interval`
    Interval(Interval),
    /// `uuid`
    Uuid(Uuid),
    /// `oid`, `regclass`, `regtype`
    Oid(u32),
    /// A one-dimensional array
    Array(Arc<Array>),
}

/// A row, in the order of its columns.
pub type Row = Vec<Value>;

impl Value {
    /// A text value.
    pub fn text(text: impl Into<Arc<str>>) -> Value {
        Value::Text(text.into())
    }

    /// A byte string.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Value {
        Value::Bytes(bytes.into())
    }

    /// Whether it is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// The truth value of a boolean; `None` for NULL.
    ///
    /// # Errors
    /// XX000 for anything that is no boolean.
    pub fn as_bool(&self) -> Result<Option<bool>, Error> {
        match self {
            Value::Null => Ok(None),
            Value::Bool(value) => Ok(Some(*value)),
            other => Err(mismatch("boolean", other)),
        }
    }

    /// Whether it is true (neither false nor NULL), as WHERE wants it.
    ///
    /// # Errors
    /// XX000 for anything that is no boolean.
    pub fn is_true(&self) -> Result<bool, Error> {
        Ok(self.as_bool()? == Some(true))
    }

    /// The number in any integer or OID value.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int16(value) => Some(i64::from(*value)),
            Value::Int32(value) => Some(i64::from(*value)),
            Value::Int64(value) => Some(*value),
            Value::Oid(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    /// The characters of a string value; for `character(n)` with its padding.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Text(text) | Value::Char(text) => Some(text),
            _ => None,
        }
    }

    /// About how many bytes of memory the value holds, itself included: for accounting.
    pub fn memory(&self) -> usize {
        let shared = match self {
            Value::Text(text) | Value::Char(text) => text.len() + 16,
            Value::Bytes(bytes) => bytes.len() + 16,
            Value::Array(array) => array.values().iter().map(Value::memory).sum::<usize>() + 64,
            _ => 0,
        };
        std::mem::size_of::<Value>() + shared
    }
}

macro_rules! from {
    ($($from:ty => $variant:ident),*) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Value {
                Value::$variant(value.into())
            }
        })*
    };
}

from! {
    bool => Bool, i16 => Int16, i32 => Int32, i64 => Int64, f32 => Float4, f64 => Float8, Numeric => Numeric,
    &str => Text, String => Text, Arc<str> => Text, Interval => Interval, Uuid => Uuid
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Value {
        value.map_or(Value::Null, Into::into)
    }
}

/// A value of another shape than the plan promised: a fault of the engine, not of the statement.
#[cold]
pub(crate) fn mismatch(expected: &str, found: &Value) -> Error {
    Error::internal(format!("expected a value of type {expected}, found {found:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_takes_24_bytes() {
        assert_eq!(std::mem::size_of::<Value>(), 24);
        assert_eq!(std::mem::size_of::<Result<Value, Error>>(), 24);
    }

    #[test]
    fn only_true_is_true() {
        assert_eq!(Value::Bool(true).is_true(), Ok(true));
        assert_eq!(Value::Null.is_true(), Ok(false));
        assert!(Value::Int32(1).is_true().is_err());
    }
}
