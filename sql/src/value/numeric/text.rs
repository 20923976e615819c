//! `numeric` as text and as float.

use std::fmt;

use bigdecimal::num_bigint::BigInt;

use crate::error::Error;
use crate::value::numeric::{Class, Numeric, overflow, power_of_ten};

/// Digits that are read on either side of the point: more than a number can have.
const DIGITS_READ: usize = 400;

impl Numeric {
    /// Reads PostgreSQL's notation: digits with a point and an exponent, `NaN`, `Infinity`, `-inf`.
    ///
    /// # Errors
    /// 22P02 for anything else, 22003 for more than 38 digits.
    pub fn parse(input: &str) -> Result<Numeric, Error> {
        let invalid = || Error::invalid_input("numeric", input);
        let trimmed = input.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b');
        let (negative, unsigned) = match trimmed.as_bytes().first() {
            Some(b'-') => (true, &trimmed[1..]),
            Some(b'+') => (false, &trimmed[1..]),
            _ => (false, trimmed),
        };
        if unsigned.eq_ignore_ascii_case("infinity") || unsigned.eq_ignore_ascii_case("inf") {
            return Ok(if negative { Self::NEG_INFINITY } else { Self::INFINITY });
        }
        if trimmed.eq_ignore_ascii_case("nan") {
            return Ok(Self::NAN);
        }
        let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
            Some(at) => {
                let exponent = &unsigned[at + 1..];
                let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
                if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                    return Err(invalid());
                }
                // Anything longer than an i32 is far out of range either way.
                let value = digits.parse::<i32>().ok().filter(|e| *e < i32::MAX / 2).ok_or_else(overflow)?;
                (&unsigned[..at], if exponent.starts_with('-') { -value } else { value })
            }
            None => (unsigned, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() && fraction.is_empty() {
            return Err(invalid());
        }
        // Digits beyond any that can be kept cost time without end.
        let whole = whole.trim_start_matches('0');
        if whole.len() > DIGITS_READ {
            return Err(if whole.bytes().all(|byte| byte.is_ascii_digit()) { overflow() } else { invalid() });
        }
        let (fraction, beyond) = fraction.split_at_checked(DIGITS_READ).unwrap_or((fraction, ""));
        if !beyond.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(invalid());
        }
        let mut coefficient: i128 = 0;
        let mut big: Option<BigInt> = None;
        for byte in whole.bytes().chain(fraction.bytes()) {
            if !byte.is_ascii_digit() {
                return Err(invalid());
            }
            let digit = byte - b'0';
            match &mut big {
                Some(big) => *big = &*big * 10 + digit,
                None if coefficient < power_of_ten(37) => coefficient = coefficient * 10 + i128::from(digit),
                None => big = Some(BigInt::from(coefficient) * 10 + digit),
            }
        }
        let scale = fraction.len() as i64 - i64::from(exponent);
        let sign = if negative { -1 } else { 1 };
        match (big, u8::try_from(scale)) {
            (None, Ok(scale)) => Ok(Self::raw(sign * coefficient, scale)),
            (big, _) => {
                let scale = i32::try_from(scale).map_err(|_| overflow())?;
                Self::from_big(big.unwrap_or_else(|| coefficient.into()) * sign, scale)
            }
        }
    }

    /// `float8::numeric`: the 15 significant digits that PostgreSQL trusts.
    ///
    /// # Errors
    /// 22003 if it is too large.
    pub fn from_f64(value: f64) -> Result<Numeric, Error> {
        Self::from_float(value, 15)
    }

    /// `float4::numeric`: 6 significant digits.
    ///
    /// # Errors
    /// 22003 if it is too large.
    pub fn from_f32(value: f32) -> Result<Numeric, Error> {
        Self::from_float(f64::from(value), 6)
    }

    fn from_float(value: f64, digits: usize) -> Result<Numeric, Error> {
        if value.is_nan() {
            return Ok(Self::NAN);
        }
        if value.is_infinite() {
            return Ok(if value > 0.0 { Self::INFINITY } else { Self::NEG_INFINITY });
        }
        let text = format!("{value:.*e}", digits - 1);
        let (mantissa, exponent) = text.split_once('e').expect("Rust writes an exponent");
        let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
        Self::parse(&format!("{mantissa}e{exponent}"))
    }

    /// The nearest double.
    pub fn to_f64(&self) -> f64 {
        match self.class {
            Class::NaN => f64::NAN,
            Class::Infinity => f64::INFINITY,
            Class::NegInfinity => f64::NEG_INFINITY,
            Class::Finite => {
                let coefficient = self.coefficient();
                // Both operands are exact, so the quotient is correctly rounded.
                if coefficient.unsigned_abs() < 1 << 53 && self.scale <= 22 {
                    return coefficient as f64 / power_of_ten(u32::from(self.scale)) as f64;
                }
                format!("{coefficient}e-{}", self.scale).parse().expect("a float in Rust's notation")
            }
        }
    }
}

impl fmt::Display for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.class {
            Class::NaN => return f.write_str("NaN"),
            Class::Infinity => return f.write_str("Infinity"),
            Class::NegInfinity => return f.write_str("-Infinity"),
            Class::Finite => {}
        }
        let coefficient = self.coefficient();
        let scale = usize::from(self.scale);
        if scale == 0 {
            return write!(f, "{coefficient}");
        }
        let sign = if coefficient < 0 { "-" } else { "" };
        let digits = format!("{:0width$}", coefficient.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        write!(f, "{sign}{whole}.{fraction}")
    }
}

impl fmt::Debug for Numeric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
