//! The order, equality and hash of values.
//!
//! Integers of different widths compare by their number, so that `smallint = bigint` needs no conversion. Values of
//! otherwise different shapes never meet in a correct plan; they are ordered by shape so that the order stays total.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use crate::value::{Array, Value};

impl PartialEq for Value {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Int32(a), Value::Int32(b)) => a == b,
            (Value::Int64(a), Value::Int64(b)) => a == b,
            (Value::Text(a), Value::Text(b)) => a == b,
            _ => self.cmp(other) == Ordering::Equal,
        }
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Value::Int32(a), Value::Int32(b)) => a.cmp(b),
            (Value::Int64(a), Value::Int64(b)) => a.cmp(b),
            (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => Ordering::Greater,
            (_, Value::Null) => Ordering::Less,
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::Float4(a), Value::Float4(b)) => compare_floats(f64::from(*a), f64::from(*b)),
            (Value::Float8(a), Value::Float8(b)) => compare_floats(*a, *b),
            (Value::Float4(a), Value::Float8(b)) => compare_floats(f64::from(*a), *b),
            (Value::Float8(a), Value::Float4(b)) => compare_floats(*a, f64::from(*b)),
            (Value::Numeric(a), Value::Numeric(b)) => a.cmp(b),
            (Value::Char(a), Value::Char(b)) => trimmed(a).as_bytes().cmp(trimmed(b).as_bytes()),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Value::Date(a), Value::Date(b)) => a.cmp(b),
            (Value::Time(a), Value::Time(b)) => a.cmp(b),
            (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
            (Value::TimestampTz(a), Value::TimestampTz(b)) => a.cmp(b),
            (Value::Interval(a), Value::Interval(b)) => a.cmp(b),
            (Value::Uuid(a), Value::Uuid(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Value::Oid(a), Value::Oid(b)) => a.cmp(b),
            (Value::Array(a), Value::Array(b)) => a.cmp(b),
            _ => match (self.as_i64(), other.as_i64()) {
                (Some(a), Some(b)) => a.cmp(&b),
                _ => shape(self).cmp(&shape(other)),
            },
        }
    }
}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        shape(self).hash(state);
        match self {
            Value::Null => {}
            Value::Bool(value) => value.hash(state),
            Value::Int16(value) => i64::from(*value).hash(state),
            Value::Int32(value) => i64::from(*value).hash(state),
            Value::Int64(value) => value.hash(state),
            Value::Oid(value) => i64::from(*value).hash(state),
            Value::Float4(value) => canonical_bits(f64::from(*value)).hash(state),
            Value::Float8(value) => canonical_bits(*value).hash(state),
            Value::Numeric(value) => value.hash(state),
            Value::Text(value) => value.as_bytes().hash(state),
            Value::Char(value) => trimmed(value).as_bytes().hash(state),
            Value::Bytes(value) => value.hash(state),
            Value::Date(value) => value.hash(state),
            Value::Time(value) | Value::Timestamp(value) | Value::TimestampTz(value) => value.hash(state),
            Value::Interval(value) => value.hash(state),
            Value::Uuid(value) => value.hash(state),
            Value::Array(value) => value.hash(state),
        }
    }
}

impl PartialEq for Array {
    fn eq(&self, other: &Self) -> bool {
        self.values() == other.values()
    }
}

impl Eq for Array {}

impl PartialOrd for Array {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Array {
    fn cmp(&self, other: &Self) -> Ordering {
        self.values().cmp(other.values())
    }
}

impl Hash for Array {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.values().hash(state);
    }
}

/// All integers (and OIDs) share a shape, so that equal ones hash alike.
fn shape(value: &Value) -> u8 {
    match value {
        Value::Bool(_) => 0,
        Value::Int16(_) | Value::Int32(_) | Value::Int64(_) | Value::Oid(_) => 1,
        Value::Float4(_) | Value::Float8(_) => 2,
        Value::Numeric(_) => 3,
        Value::Text(_) => 4,
        Value::Char(_) => 5,
        Value::Bytes(_) => 6,
        Value::Date(_) => 7,
        Value::Time(_) => 8,
        Value::Timestamp(_) => 9,
        Value::TimestampTz(_) => 10,
        Value::Interval(_) => 11,
        Value::Uuid(_) => 12,
        Value::Array(_) => 13,
        Value::Null => 14,
    }
}

/// PostgreSQL's order of floats: NaN equals itself and is greater than anything else; -0 equals 0.
#[inline]
pub(crate) fn compare_floats(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Bits that are alike for floats that compare as equal.
pub(crate) fn canonical_bits(value: f64) -> u64 {
    if value.is_nan() {
        f64::NAN.to_bits() & !(1 << 63)
    } else if value == 0.0 {
        0
    } else {
        value.to_bits()
    }
}

/// What counts of a `character(n)`: everything but trailing blanks.
#[inline]
pub(crate) fn trimmed(text: &str) -> &str {
    text.trim_end_matches(' ')
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::value::Numeric;

    #[test]
    fn equal_values_hash_alike() {
        let number = |text: &str| Value::Numeric(Numeric::parse(text).expect("a number"));
        let pairs = [
            (Value::Int16(7), Value::Int64(7)),
            (Value::Float8(0.0), Value::Float8(-0.0)),
            (Value::Float8(f64::NAN), Value::Float8(-f64::NAN)),
            (Value::Float4(0.5), Value::Float8(0.5)),
            (number("1.50"), number("1.5")),
            (number("0.00"), number("-0")),
            (Value::Char("ab".into()), Value::Char("ab  ".into())),
            (Value::Null, Value::Null),
        ];
        for (a, b) in pairs {
            assert_eq!(a, b);
            assert_eq!(HashSet::from([a, b]).len(), 1);
        }
        assert_ne!(Value::text("ab"), Value::text("ab "));
    }

    #[test]
    fn order_is_that_of_postgres() {
        let mut floats = [f64::NAN, 1.0, f64::INFINITY, -1.0, f64::NEG_INFINITY].map(Value::Float8);
        floats.sort();
        assert_eq!(
            floats.map(|v| format!("{v:?}")).join(" "),
            "Float8(-inf) Float8(-1.0) Float8(1.0) Float8(inf) Float8(NaN)"
        );
        assert!(Value::text("Z") < Value::text("a"), "bytes, not a dictionary");
        assert!(Value::Null > Value::Int32(i32::MAX), "NULLs come last");
        assert!(Value::Int16(3) < Value::Int64(4));
    }
}
