//! Mathematical functions on numbers.

use crate::error::{Error, SqlState};
use crate::functions::EvalContext;
use crate::functions::arithmetic::{absolute, as_numeric, float_overflow, float_underflow, power};
use crate::value::{Numeric, Value, mismatch};

type Result<T = Value, E = Error> = std::result::Result<T, E>;
type Context<'a> = &'a dyn EvalContext;

pub(super) fn float(value: &Value) -> std::result::Result<f64, Error> {
    match value {
        Value::Float8(value) => Ok(*value),
        Value::Float4(value) => Ok(f64::from(*value)),
        other => Err(mismatch("double precision", other)),
    }
}

/// A function that exists for double precision and numeric.
macro_rules! both {
    ($name:ident, $x:ident => $float:expr, $n:ident => $numeric:expr) => {
        pub(super) fn $name(_: Context<'_>, arguments: &[Value]) -> Result {
            match &arguments[0] {
                Value::Numeric($n) => $numeric.map(Value::Numeric),
                other => {
                    let $x = float(other)?;
                    Ok(Value::Float8($float))
                }
            }
        }
    };
}

both!(ceil, x => x.ceil(), n => n.ceil());
both!(floor, x => x.floor(), n => n.floor());
both!(round, x => x.round_ties_even(), n => n.round(0));
both!(trunc, x => x.trunc(), n => n.trunc(0));
both!(sign, x => if x == 0.0 || x.is_nan() { x } else { x.signum() }, n => Ok::<_, Error>(if n.is_nan() { *n } else { Numeric::from(n.signum()) }));
both!(exp, x => checked_exp(x)?, n => n.exp());
both!(ln, x => checked_ln(x)?.ln(), n => n.ln());
both!(log10, x => checked_ln(x)?.log10(), n => n.log(&Numeric::from(10i32)));
both!(sqrt, x => checked_sqrt(x)?, n => n.sqrt());

fn checked_exp(x: f64) -> std::result::Result<f64, Error> {
    let result = x.exp();
    if result.is_infinite() && x.is_finite() {
        return Err(float_overflow());
    }
    if result == 0.0 && x.is_finite() { Err(float_underflow()) } else { Ok(result) }
}

fn checked_ln(x: f64) -> std::result::Result<f64, Error> {
    let bad = |what: &str| {
        Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_LOGARITHM, format!("cannot take logarithm of {what}")))
    };
    if x == 0.0 {
        bad("zero")
    } else if x < 0.0 {
        bad("a negative number")
    } else {
        Ok(x)
    }
}

fn checked_sqrt(x: f64) -> std::result::Result<f64, Error> {
    if x < 0.0 {
        return Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_POWER, "cannot take square root of a negative number"));
    }
    Ok(x.sqrt())
}

pub(super) fn abs(context: Context<'_>, arguments: &[Value]) -> Result {
    absolute(context, &arguments[0])
}

fn places(value: &Value) -> i32 {
    value.as_i64().map_or(0, |places| places.clamp(-2000, 2000) as i32)
}

pub(super) fn round_to(_: Context<'_>, arguments: &[Value]) -> Result {
    as_numeric(&arguments[0])?.round(places(&arguments[1])).map(Value::Numeric)
}

pub(super) fn trunc_to(_: Context<'_>, arguments: &[Value]) -> Result {
    as_numeric(&arguments[0])?.trunc(places(&arguments[1])).map(Value::Numeric)
}

pub(super) fn cbrt(_: Context<'_>, arguments: &[Value]) -> Result {
    Ok(Value::Float8(float(&arguments[0])?.cbrt()))
}

pub(super) fn power_function(_: Context<'_>, arguments: &[Value]) -> Result {
    match (&arguments[0], &arguments[1]) {
        (Value::Numeric(a), Value::Numeric(b)) => a.power(b).map(Value::Numeric),
        (a, b) => power(float(a)?, float(b)?).map(Value::Float8),
    }
}

pub(super) fn log_base(_: Context<'_>, arguments: &[Value]) -> Result {
    as_numeric(&arguments[1])?.log(&as_numeric(&arguments[0])?).map(Value::Numeric)
}

pub(super) fn modulo(context: Context<'_>, arguments: &[Value]) -> Result {
    match &arguments[0] {
        Value::Numeric(_) => crate::functions::arithmetic::numeric_modulo(context, &arguments[0], &arguments[1]),
        _ => crate::functions::arithmetic::integer_modulo(context, &arguments[0], &arguments[1]),
    }
}

/// `div(a, b)`: the quotient without its fraction.
pub(super) fn div(_: Context<'_>, arguments: &[Value]) -> Result {
    let (a, b) = (as_numeric(&arguments[0])?, as_numeric(&arguments[1])?);
    if !(a.is_finite() && b.is_finite()) {
        return a.div(&b).map(Value::Numeric);
    }
    // The remainder first: the quotient's own scale might round it up.
    let rest = a.rem(&b)?;
    a.sub(&rest)?.div(&b)?.round(0).map(Value::Numeric)
}

fn greatest_common(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn integer_like(value: &Value, number: u64) -> Result {
    match value {
        Value::Int32(_) => i32::try_from(number).map(Value::Int32).map_err(|_| Error::out_of_range("integer")),
        _ => i64::try_from(number).map(Value::Int64).map_err(|_| Error::out_of_range("bigint")),
    }
}

fn magnitudes(arguments: &[Value]) -> std::result::Result<(u64, u64), Error> {
    match (arguments[0].as_i64(), arguments[1].as_i64()) {
        (Some(a), Some(b)) => Ok((a.unsigned_abs(), b.unsigned_abs())),
        _ => Err(mismatch("integer", &arguments[0])),
    }
}

pub(super) fn gcd(_: Context<'_>, arguments: &[Value]) -> Result {
    let (a, b) = magnitudes(arguments)?;
    integer_like(&arguments[0], greatest_common(a, b))
}

pub(super) fn lcm(_: Context<'_>, arguments: &[Value]) -> Result {
    let (a, b) = magnitudes(arguments)?;
    if a == 0 || b == 0 {
        return integer_like(&arguments[0], 0);
    }
    let product = (a / greatest_common(a, b)).checked_mul(b);
    integer_like(&arguments[0], product.unwrap_or(u64::MAX))
}

pub(super) fn factorial(_: Context<'_>, arguments: &[Value]) -> Result {
    let n = arguments[0].as_i64().unwrap_or(0);
    if n < 0 {
        return Err(Error::out_of_range("factorial of a negative number is undefined; value"));
    }
    let mut product = Numeric::ONE;
    for factor in 2..=n {
        product = product.mul(&Numeric::from(factor))?;
    }
    Ok(Value::Numeric(product))
}

pub(super) fn scale(_: Context<'_>, arguments: &[Value]) -> Result {
    let n = as_numeric(&arguments[0])?;
    Ok(if n.is_finite() { Value::Int32(i32::from(n.scale())) } else { Value::Null })
}

pub(super) fn min_scale(_: Context<'_>, arguments: &[Value]) -> Result {
    let n = as_numeric(&arguments[0])?;
    Ok(if n.is_finite() { Value::Int32(i32::from(n.min_scale())) } else { Value::Null })
}

pub(super) fn trim_scale(_: Context<'_>, arguments: &[Value]) -> Result {
    Ok(Value::Numeric(as_numeric(&arguments[0])?.normalized()))
}

pub(super) fn pi(_: Context<'_>, _: &[Value]) -> Result {
    Ok(Value::Float8(std::f64::consts::PI))
}

pub(super) fn random(context: Context<'_>, _: &[Value]) -> Result {
    Ok(Value::Float8(context.random()))
}

fn trigonometric(arguments: &[Value], f: fn(f64) -> f64) -> Result {
    let x = float(&arguments[0])?;
    if x.is_infinite() {
        return Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range"));
    }
    Ok(Value::Float8(f(x)))
}

pub(super) fn sin(_: Context<'_>, arguments: &[Value]) -> Result {
    trigonometric(arguments, f64::sin)
}

pub(super) fn cos(_: Context<'_>, arguments: &[Value]) -> Result {
    trigonometric(arguments, f64::cos)
}

pub(super) fn tan(_: Context<'_>, arguments: &[Value]) -> Result {
    trigonometric(arguments, f64::tan)
}

pub(super) fn cot(_: Context<'_>, arguments: &[Value]) -> Result {
    trigonometric(arguments, |x| 1.0 / x.tan())
}

fn inverse(arguments: &[Value], f: fn(f64) -> f64) -> Result {
    let x = float(&arguments[0])?;
    if !x.is_nan() && !(-1.0..=1.0).contains(&x) {
        return Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range"));
    }
    Ok(Value::Float8(f(x)))
}

pub(super) fn asin(_: Context<'_>, arguments: &[Value]) -> Result {
    inverse(arguments, f64::asin)
}

pub(super) fn acos(_: Context<'_>, arguments: &[Value]) -> Result {
    inverse(arguments, f64::acos)
}

pub(super) fn atan(_: Context<'_>, arguments: &[Value]) -> Result {
    Ok(Value::Float8(float(&arguments[0])?.atan()))
}

pub(super) fn atan2(_: Context<'_>, arguments: &[Value]) -> Result {
    Ok(Value::Float8(float(&arguments[0])?.atan2(float(&arguments[1])?)))
}

pub(super) fn sinh(_: Context<'_>, arguments: &[Value]) -> Result {
    Ok(Value::Float8(float(&arguments[0])?.sinh()))
}

pub(super) fn cosh(_: Context<'_>, arguments: &[Value]) -> Result {
    Ok(Value::Float8(float(&arguments[0])?.cosh()))
}

pub(super) fn tanh(_: Context<'_>, arguments: &[Value]) -> Result {
    Ok(Value::Float8(float(&arguments[0])?.tanh()))
}

pub(super) fn asinh(_: Context<'_>, arguments: &[Value]) -> Result {
    Ok(Value::Float8(libm::asinh(float(&arguments[0])?)))
}

pub(super) fn acosh(_: Context<'_>, arguments: &[Value]) -> Result {
    let x = float(&arguments[0])?;
    if x < 1.0 {
        return Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "input is out of range"));
    }
    Ok(Value::Float8(libm::acosh(x)))
}

pub(super) fn atanh(_: Context<'_>, arguments: &[Value]) -> Result {
    inverse(arguments, libm::atanh)
}

pub(super) fn degrees(_: Context<'_>, arguments: &[Value]) -> Result {
    let result = float(&arguments[0])? / (std::f64::consts::PI / 180.0);
    Ok(Value::Float8(result))
}

pub(super) fn radians(_: Context<'_>, arguments: &[Value]) -> Result {
    Ok(Value::Float8(float(&arguments[0])? * (std::f64::consts::PI / 180.0)))
}

/// What `width_bucket` asks of its arguments.
fn check_buckets(count: i64, unknown: bool, endless: bool, empty: bool) -> Result<(), Error> {
    let message = if count <= 0 {
        "count must be greater than zero"
    } else if unknown {
        "operand, lower bound, and upper bound cannot be NaN"
    } else if endless {
        "lower and upper bounds must be finite"
    } else if empty {
        "lower bound cannot equal upper bound"
    } else {
        return Ok(());
    };
    Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_WIDTH_BUCKET, message))
}

/// `width_bucket(operand, low, high, count)` for numeric: exact.
pub(super) fn width_bucket_numeric(_: Context<'_>, arguments: &[Value]) -> Result {
    let (x, low, high) = (as_numeric(&arguments[0])?, as_numeric(&arguments[1])?, as_numeric(&arguments[2])?);
    let count = arguments[3].as_i64().unwrap_or(0);
    let unknown = x.is_nan() || low.is_nan() || high.is_nan();
    check_buckets(count, unknown, !low.is_finite() || !high.is_finite(), low == high)?;
    let rising = low < high;
    // A descending range counts from above.
    let (before, behind) = if rising { (x < low, x >= high) } else { (x > low, x <= high) };
    let bucket = if before {
        0
    } else if behind {
        count + 1
    } else {
        let (from, width) = if rising { (x.sub(&low)?, high.sub(&low)?) } else { (low.sub(&x)?, low.sub(&high)?) };
        let share = from.mul(&Numeric::from(count))?;
        let whole = share.div(&width)?.trunc(0)?;
        // A quotient just below a whole number has been rounded to it.
        let rounded_up = whole.mul(&width)? > share;
        whole.to_i64().ok_or_else(|| Error::out_of_range("integer"))? + i64::from(!rounded_up)
    };
    i32::try_from(bucket).map(Value::Int32).map_err(|_| Error::out_of_range("integer"))
}

/// `width_bucket(operand, low, high, count)` for double precision.
pub(super) fn width_bucket(_: Context<'_>, arguments: &[Value]) -> Result {
    let (x, low, high) = (float(&arguments[0])?, float(&arguments[1])?, float(&arguments[2])?);
    let count = arguments[3].as_i64().unwrap_or(0);
    let unknown = x.is_nan() || low.is_nan() || high.is_nan();
    check_buckets(count, unknown, low.is_infinite() || high.is_infinite(), low == high)?;
    // A descending range counts from above.
    let (x, low, high) = if low < high { (x, low, high) } else { (-x, -low, -high) };
    let bucket = if x < low {
        0
    } else if x >= high {
        count + 1
    } else {
        ((count as f64 * ((x - low) / (high - low))) as i64 + 1).min(count)
    };
    i32::try_from(bucket).map(Value::Int32).map_err(|_| Error::out_of_range("integer"))
}
