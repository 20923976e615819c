//! Arithmetic on numbers. Whatever leaves the range of its type is 22003, never wrapped; floats overflow and underflow as errors, as
//! in PostgreSQL.

use crate::error::{Error, SqlState};
use crate::functions::EvalContext;
use crate::value::{Numeric, Value, mismatch};

type Result = std::result::Result<Value, Error>;
type Context<'a> = &'a dyn EvalContext;

/// A checked operation on integers of any two widths, at the wider of them.
macro_rules! integer_op {
    ($name:ident, $checked:ident) => {
        pub(super) fn $name(_: Context<'_>, a: &Value, b: &Value) -> Result {
            match (a, b) {
                (Value::Int32(a), Value::Int32(b)) => {
                    a.$checked(*b).map(Value::Int32).ok_or_else(|| Error::out_of_range("integer"))
                }
                (Value::Int16(a), Value::Int16(b)) => {
                    a.$checked(*b).map(Value::Int16).ok_or_else(|| Error::out_of_range("smallint"))
                }
                (Value::Int16(a), Value::Int32(b)) => {
                    i32::from(*a).$checked(*b).map(Value::Int32).ok_or_else(|| Error::out_of_range("integer"))
                }
                (Value::Int32(a), Value::Int16(b)) => {
                    a.$checked(i32::from(*b)).map(Value::Int32).ok_or_else(|| Error::out_of_range("integer"))
                }
                _ => match (a.as_i64(), b.as_i64()) {
                    (Some(a), Some(b)) => a.$checked(b).map(Value::Int64).ok_or_else(|| Error::out_of_range("bigint")),
                    _ => Err(mismatch("integer", a)),
                },
            }
        }
    };
}

integer_op!(integer_add, checked_add);
integer_op!(integer_subtract, checked_sub);
integer_op!(integer_multiply, checked_mul);
integer_op!(integer_divide_checked, checked_div);

pub(super) fn integer_divide(context: Context<'_>, a: &Value, b: &Value) -> Result {
    if b.as_i64() == Some(0) { Err(Error::division_by_zero()) } else { integer_divide_checked(context, a, b) }
}

pub(super) fn integer_modulo(_: Context<'_>, a: &Value, b: &Value) -> Result {
    let (Some(x), Some(y)) = (a.as_i64(), b.as_i64()) else { return Err(mismatch("integer", a)) };
    if y == 0 {
        return Err(Error::division_by_zero());
    }
    // The remainder of the least integer by -1 is 0 and does not overflow.
    Ok(like(a, b, x.checked_rem(y).unwrap_or(0)))
}

/// A number that fits the wider of two integer operands, as that type.
fn like(a: &Value, b: &Value, number: i64) -> Value {
    match (a, b) {
        (Value::Int64(_), _) | (_, Value::Int64(_)) => Value::Int64(number),
        (Value::Int32(_), _) | (_, Value::Int32(_)) => Value::Int32(number as i32),
        _ => Value::Int16(number as i16),
    }
}

macro_rules! bit_op {
    ($name:ident, $op:tt) => {
        pub(super) fn $name(_: Context<'_>, a: &Value, b: &Value) -> Result {
            match (a.as_i64(), b.as_i64()) {
                (Some(x), Some(y)) => Ok(like(a, b, x $op y)),
                _ => Err(mismatch("integer", a)),
            }
        }
    };
}

bit_op!(bit_and, &);
bit_op!(bit_or, |);
bit_op!(bit_xor, ^);

/// Shifts by any amount: the machine takes it modulo the width, as PostgreSQL on common hardware.
pub(super) fn shift_left(_: Context<'_>, a: &Value, b: &Value) -> Result {
    match (a, b) {
        (Value::Int16(a), Value::Int32(n)) => Ok(Value::Int16(i32::from(*a).wrapping_shl(*n as u32) as i16)),
        (Value::Int32(a), Value::Int32(n)) => Ok(Value::Int32(a.wrapping_shl(*n as u32))),
        (Value::Int64(a), Value::Int32(n)) => Ok(Value::Int64(a.wrapping_shl(*n as u32))),
        _ => Err(mismatch("integer", a)),
    }
}

pub(super) fn shift_right(_: Context<'_>, a: &Value, b: &Value) -> Result {
    match (a, b) {
        (Value::Int16(a), Value::Int32(n)) => Ok(Value::Int16(i32::from(*a).wrapping_shr(*n as u32) as i16)),
        (Value::Int32(a), Value::Int32(n)) => Ok(Value::Int32(a.wrapping_shr(*n as u32))),
        (Value::Int64(a), Value::Int32(n)) => Ok(Value::Int64(a.wrapping_shr(*n as u32))),
        _ => Err(mismatch("integer", a)),
    }
}

pub(super) fn bit_not(_: Context<'_>, a: &Value) -> Result {
    match a {
        Value::Int16(a) => Ok(Value::Int16(!a)),
        Value::Int32(a) => Ok(Value::Int32(!a)),
        Value::Int64(a) => Ok(Value::Int64(!a)),
        _ => Err(mismatch("integer", a)),
    }
}

pub(super) fn plus(_: Context<'_>, a: &Value) -> Result {
    Ok(a.clone())
}

pub(super) fn negate(_: Context<'_>, a: &Value) -> Result {
    match a {
        Value::Int16(a) => a.checked_neg().map(Value::Int16).ok_or_else(|| Error::out_of_range("smallint")),
        Value::Int32(a) => a.checked_neg().map(Value::Int32).ok_or_else(|| Error::out_of_range("integer")),
        Value::Int64(a) => a.checked_neg().map(Value::Int64).ok_or_else(|| Error::out_of_range("bigint")),
        Value::Float4(a) => Ok(Value::Float4(-a)),
        Value::Float8(a) => Ok(Value::Float8(-a)),
        Value::Numeric(a) => Ok(Value::Numeric(a.neg())),
        Value::Interval(a) => a.neg().map(Value::Interval),
        _ => Err(mismatch("a number", a)),
    }
}

pub(super) fn absolute(context: Context<'_>, a: &Value) -> Result {
    match a {
        Value::Float4(a) => Ok(Value::Float4(a.abs())),
        Value::Float8(a) => Ok(Value::Float8(a.abs())),
        Value::Numeric(a) => Ok(Value::Numeric(a.abs())),
        _ if a.as_i64().is_some_and(|a| a < 0) => negate(context, a),
        _ => Ok(a.clone()),
    }
}

#[cold]
pub(super) fn float_overflow() -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: overflow")
}

#[cold]
pub(super) fn float_underflow() -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value out of range: underflow")
}

enum Floats {
    Single(f32, f32),
    Double(f64, f64),
}

fn floats(a: &Value, b: &Value) -> std::result::Result<Floats, Error> {
    Ok(match (a, b) {
        (Value::Float8(a), Value::Float8(b)) => Floats::Double(*a, *b),
        (Value::Float4(a), Value::Float4(b)) => Floats::Single(*a, *b),
        (Value::Float4(a), Value::Float8(b)) => Floats::Double(f64::from(*a), *b),
        (Value::Float8(a), Value::Float4(b)) => Floats::Double(*a, f64::from(*b)),
        _ => return Err(mismatch("a float", a)),
    })
}

macro_rules! float_op {
    ($name:ident, $op:tt, $zero_is_underflow:expr) => {
        pub(super) fn $name(_: Context<'_>, a: &Value, b: &Value) -> Result {
            match floats(a, b)? {
                Floats::Single(a, b) => {
                    let result = a $op b;
                    if result.is_infinite() && !a.is_infinite() && !b.is_infinite() {
                        return Err(float_overflow());
                    }
                    if result == 0.0 && $zero_is_underflow(f64::from(a), f64::from(b)) {
                        return Err(float_underflow());
                    }
                    Ok(Value::Float4(result))
                }
                Floats::Double(a, b) => {
                    let result = a $op b;
                    if result.is_infinite() && !a.is_infinite() && !b.is_infinite() {
                        return Err(float_overflow());
                    }
                    if result == 0.0 && $zero_is_underflow(a, b) {
                        return Err(float_underflow());
                    }
                    Ok(Value::Float8(result))
                }
            }
        }
    };
}

float_op!(float_add, +, |_, _| false);
float_op!(float_subtract, -, |_, _| false);
float_op!(float_multiply, *, |a: f64, b: f64| a != 0.0 && b != 0.0);
float_op!(float_divide_checked, /, |a: f64, b: f64| a != 0.0 && !b.is_infinite());

pub(super) fn float_divide(context: Context<'_>, a: &Value, b: &Value) -> Result {
    let nan = |value: &Value| {
        matches!(value, Value::Float4(x) if x.is_nan()) || matches!(value, Value::Float8(x) if x.is_nan())
    };
    let zero = matches!(b, Value::Float4(b) if *b == 0.0) || matches!(b, Value::Float8(b) if *b == 0.0);
    if zero && !nan(a) { Err(Error::division_by_zero()) } else { float_divide_checked(context, a, b) }
}

macro_rules! numeric_op {
    ($name:ident, $method:ident) => {
        pub(super) fn $name(_: Context<'_>, a: &Value, b: &Value) -> Result {
            match (a, b) {
                (Value::Numeric(a), Value::Numeric(b)) => a.$method(b).map(Value::Numeric),
                _ => Err(mismatch("numeric", a)),
            }
        }
    };
}

numeric_op!(numeric_add, add);
numeric_op!(numeric_subtract, sub);
numeric_op!(numeric_multiply, mul);
numeric_op!(numeric_divide, div);
numeric_op!(numeric_modulo, rem);
numeric_op!(numeric_power, power);

pub(super) fn float_power(_: Context<'_>, a: &Value, b: &Value) -> Result {
    let (Value::Float8(a), Value::Float8(b)) = (a, b) else { return Err(mismatch("double precision", a)) };
    power(*a, *b).map(Value::Float8)
}

/// `dpow` of PostgreSQL.
pub(super) fn power(a: f64, b: f64) -> std::result::Result<f64, Error> {
    let bad = |message: &str| Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_POWER, message));
    if a == 0.0 && b < 0.0 {
        return bad("zero raised to a negative power is undefined");
    }
    if a < 0.0 && b.is_finite() && b.fract() != 0.0 {
        return bad("a negative number raised to a non-integer power yields a complex result");
    }
    let result = a.powf(b);
    if result.is_infinite() && a.is_finite() && b.is_finite() {
        return Err(float_overflow());
    }
    if result == 0.0 && a != 0.0 && a.is_finite() && b.is_finite() {
        return Err(float_underflow());
    }
    Ok(result)
}

pub(super) fn square_root(_: Context<'_>, a: &Value) -> Result {
    let Value::Float8(a) = a else { return Err(mismatch("double precision", a)) };
    if *a < 0.0 {
        return Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_POWER, "cannot take square root of a negative number"));
    }
    Ok(Value::Float8(a.sqrt()))
}

/// A number of any kind as `numeric`.
pub(super) fn as_numeric(value: &Value) -> std::result::Result<Numeric, Error> {
    match value {
        Value::Numeric(value) => Ok(*value),
        other => other.as_i64().map(Numeric::from).ok_or_else(|| mismatch("numeric", other)),
    }
}
