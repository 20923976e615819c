//! `numeric`: exact decimal numbers of up to 38 digits, with PostgreSQL's display scale, NaN and infinities.
//!
//! A number is `coefficient / 10^scale`. Results are exact or rounded where PostgreSQL rounds; one that needs more than 38
//! digits after dropping trailing zeros of its fraction is 22003, never a silently shortened figure.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

use bigdecimal::ToPrimitive;
use bigdecimal::num_bigint::BigInt;

use crate::error::{Error, SqlState};
use crate::types::NUMERIC_MAX_DIGITS;

/// PostgreSQL's minimum of significant digits in a quotient, root or logarithm.
pub(super) const MIN_SIGNIFICANT_DIGITS: i32 = 16;
/// The largest scale held here; PostgreSQL's own limit is far higher, but 38 digits end long before.
pub(super) const MAX_SCALE: i32 = u8::MAX as i32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Class {
    NegInfinity,
    Finite,
    Infinity,
    NaN,
}

/// A decimal number.
#[derive(Clone, Copy)]
pub struct Numeric {
    // The coefficient in two halves: an i128 would double the alignment and with it the size of every value.
    high: i64,
    low: u64,
    scale: u8,
    class: Class,
}

/// 10^n for n up to 38.
#[inline]
pub(super) fn power_of_ten(n: u32) -> i128 {
    const TABLE: [i128; 39] = {
        let mut table = [1; 39];
        let mut i = 1;
        while i < 39 {
            table[i] = table[i - 1] * 10;
            i += 1;
        }
        table
    };
    TABLE[n as usize]
}

/// Decimal digits of a magnitude; 0 has none.
pub(super) fn count_digits(magnitude: u128) -> u32 {
    magnitude.checked_ilog10().map_or(0, |log| log + 1)
}

#[cold]
fn overflow() -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
        .with_detail(format!("Numbers are exact up to {NUMERIC_MAX_DIGITS} digits."))
}

/// Divides, rounding half away from zero.
fn divide_rounded(dividend: i128, divisor: i128) -> i128 {
    let (quotient, remainder) = (dividend / divisor, dividend % divisor);
    if remainder.unsigned_abs() >= divisor.unsigned_abs() - remainder.unsigned_abs() {
        quotient + if (dividend < 0) == (divisor < 0) { 1 } else { -1 }
    } else {
        quotient
    }
}

impl Numeric {
    /// 0
    pub const ZERO: Numeric = Numeric { high: 0, low: 0, scale: 0, class: Class::Finite };
    /// 1
    pub const ONE: Numeric = Numeric { high: 0, low: 1, scale: 0, class: Class::Finite };
    /// Not a number
    pub const NAN: Numeric = Numeric { high: 0, low: 0, scale: 0, class: Class::NaN };
    /// Infinity
    pub const INFINITY: Numeric = Numeric { high: 0, low: 0, scale: 0, class: Class::Infinity };
    /// -Infinity
    pub const NEG_INFINITY: Numeric = Numeric { high: 0, low: 0, scale: 0, class: Class::NegInfinity };

    fn raw(coefficient: i128, scale: u8) -> Numeric {
        Numeric { high: (coefficient >> 64) as i64, low: coefficient as u64, scale, class: Class::Finite }
    }

    /// `coefficient / 10^scale`.
    ///
    /// # Errors
    /// 22003 if the coefficient has more than 38 digits that count.
    pub fn new(coefficient: i128, scale: u8) -> Result<Numeric, Error> {
        if coefficient.unsigned_abs() < power_of_ten(NUMERIC_MAX_DIGITS).unsigned_abs() {
            return Ok(Self::raw(coefficient, scale));
        }
        Self::from_big(BigInt::from(coefficient), i32::from(scale))
    }

    /// The same for any coefficient and scale. Trailing zeros of the fraction are given up where 38 digits demand it.
    pub(super) fn from_big(mut coefficient: BigInt, mut scale: i32) -> Result<Numeric, Error> {
        if scale < 0 {
            // Bounded, so that a huge exponent fails here and not by exhausting memory.
            if scale < -(NUMERIC_MAX_DIGITS as i32) && coefficient != BigInt::ZERO {
                return Err(overflow());
            }
            coefficient *= BigInt::from(10).pow(scale.unsigned_abs().min(NUMERIC_MAX_DIGITS));
            scale = 0;
        }
        loop {
            let small = coefficient.to_i128().filter(|c| c.unsigned_abs() < power_of_ten(NUMERIC_MAX_DIGITS).unsigned_abs());
            if let (Some(small), Ok(scale)) = (small, u8::try_from(scale)) {
                return Ok(Self::raw(small, scale));
            }
            if coefficient == BigInt::ZERO {
                return Ok(Self::raw(0, u8::MAX));
            }
            if scale == 0 || &coefficient % 10 != BigInt::ZERO {
                return Err(overflow());
            }
            coefficient /= 10;
            scale -= 1;
        }
    }

    /// The coefficient; 0 unless finite.
    #[inline]
    pub fn coefficient(&self) -> i128 {
        (i128::from(self.high) << 64) | i128::from(self.low)
    }

    /// Digits after the point, as displayed.
    #[inline]
    pub fn scale(&self) -> u8 {
        self.scale
    }

    /// Whether it is neither NaN nor infinite.
    #[inline]
    pub fn is_finite(&self) -> bool {
        self.class == Class::Finite
    }

    /// Whether it is NaN.
    pub fn is_nan(&self) -> bool {
        self.class == Class::NaN
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.is_finite() && self.high == 0 && self.low == 0
    }

    /// -1, 0 or 1; NaN counts as 1.
    pub fn signum(&self) -> i32 {
        match self.class {
            Class::NegInfinity => -1,
            Class::Infinity | Class::NaN => 1,
            Class::Finite => self.coefficient().signum() as i32,
        }
    }

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

    /// The nearest integer, halves away from zero; `None` if it is not finite or does not fit.
    pub fn to_i64(&self) -> Option<i64> {
        self.is_finite().then(|| self.rounded_coefficient()).and_then(|value| i64::try_from(value).ok())
    }

    fn rounded_coefficient(&self) -> i128 {
        match u32::from(self.scale) {
            0 => self.coefficient(),
            scale @ 1..=38 => divide_rounded(self.coefficient(), power_of_ten(scale)),
            _ => 0,
        }
    }

    /// The sum.
    ///
    /// # Errors
    /// 22003.
    pub fn add(&self, other: &Numeric) -> Result<Numeric, Error> {
        if !(self.is_finite() && other.is_finite()) {
            return Ok(match (self.class, other.class) {
                (Class::NaN, _) | (_, Class::NaN) => Self::NAN,
                (Class::Infinity, Class::NegInfinity) | (Class::NegInfinity, Class::Infinity) => Self::NAN,
                (Class::Finite, _) => *other,
                _ => *self,
            });
        }
        let scale = self.scale.max(other.scale);
        if let (Some(a), Some(b)) = (self.scaled_to(scale), other.scaled_to(scale))
            && let Some(sum) = a.checked_add(b)
        {
            return Self::new(sum, scale);
        }
        Self::from_big(self.big_at(i32::from(scale)) + other.big_at(i32::from(scale)), i32::from(scale))
    }

    /// The difference.
    ///
    /// # Errors
    /// 22003.
    pub fn sub(&self, other: &Numeric) -> Result<Numeric, Error> {
        self.add(&other.neg())
    }

    /// The product.
    ///
    /// # Errors
    /// 22003.
    pub fn mul(&self, other: &Numeric) -> Result<Numeric, Error> {
        if !(self.is_finite() && other.is_finite()) {
            if self.is_nan() || other.is_nan() {
                return Ok(Self::NAN);
            }
            return Ok(match self.signum() * other.signum() {
                0 => Self::NAN,
                1 => Self::INFINITY,
                _ => Self::NEG_INFINITY,
            });
        }
        let scale = i32::from(self.scale) + i32::from(other.scale);
        if let (Some(product), Ok(scale)) = (self.coefficient().checked_mul(other.coefficient()), u8::try_from(scale)) {
            return Self::new(product, scale);
        }
        Self::from_big(BigInt::from(self.coefficient()) * other.coefficient(), scale)
    }

    /// The quotient, with PostgreSQL's choice of scale: at least 16 significant digits.
    ///
    /// # Errors
    /// 22012 for a divisor of zero, 22003.
    pub fn div(&self, other: &Numeric) -> Result<Numeric, Error> {
        if !(self.is_finite() && other.is_finite()) {
            if self.is_nan() || other.is_nan() {
                return Ok(Self::NAN);
            }
            return match (self.is_finite(), other.is_finite()) {
                (true, _) => Ok(Self::ZERO),
                (false, false) => Ok(Self::NAN),
                (false, true) if other.is_zero() => Err(Error::division_by_zero()),
                (false, true) if self.signum() * other.signum() > 0 => Ok(Self::INFINITY),
                (false, true) => Ok(Self::NEG_INFINITY),
            };
        }
        if other.is_zero() {
            return Err(Error::division_by_zero());
        }
        self.divide_to(other, self.quotient_scale(other))
    }

    /// The quotient of finite numbers, rounded to `scale`.
    pub(super) fn divide_to(&self, other: &Numeric, scale: i32) -> Result<Numeric, Error> {
        let shift = scale + i32::from(other.scale) - i32::from(self.scale);
        if let (Ok(up @ 0..=38), Ok(scale)) = (u32::try_from(shift), u8::try_from(scale))
            && let Some(dividend) = self.coefficient().checked_mul(power_of_ten(up))
        {
            return Self::new(divide_rounded(dividend, other.coefficient()), scale);
        }
        let ten = BigInt::from(10);
        let mut dividend = BigInt::from(self.coefficient());
        let mut divisor = BigInt::from(other.coefficient());
        match u32::try_from(shift) {
            Ok(up) => dividend *= ten.pow(up),
            Err(_) => divisor *= ten.pow(shift.unsigned_abs()),
        }
        Self::from_big(divide_big_rounded(&dividend, &divisor), scale)
    }

    /// A quotient whose dividend (a coefficient and its scale) may have more digits than a `numeric` holds.
    pub(crate) fn quotient_of(mut dividend: BigInt, mut scale: u32, divisor: &Numeric) -> Result<Numeric, Error> {
        // Digits beyond all precision only steer the choice of scale, which the leading ones decide.
        let ten = BigInt::from(10);
        let exact = dividend.clone();
        let exact_scale = scale;
        while scale > 0 && dividend.bits() > 120 {
            dividend /= &ten;
            scale -= 1;
        }
        let shown = Self::from_big(dividend, i32::try_from(scale).unwrap_or(MAX_SCALE))?;
        let places = shown.quotient_scale(divisor).max(exact_scale as i32).min(MAX_SCALE);
        let shift = places + i32::from(divisor.scale()) - exact_scale as i32;
        let mut divisor = BigInt::from(divisor.coefficient());
        let dividend = match u32::try_from(shift) {
            Ok(up) => exact * ten.pow(up),
            Err(_) => {
                divisor *= ten.pow(shift.unsigned_abs());
                exact
            }
        };
        Self::from_big(divide_big_rounded(&dividend, &divisor), places)
    }

    /// The remainder with the sign of the dividend.
    ///
    /// # Errors
    /// 22012 for a divisor of zero.
    pub fn rem(&self, other: &Numeric) -> Result<Numeric, Error> {
        if !(self.is_finite() && other.is_finite()) {
            if self.is_nan() || other.is_nan() {
                return Ok(Self::NAN);
            }
            return match (self.is_finite(), other.is_zero()) {
                (false, true) => Err(Error::division_by_zero()),
                (false, false) => Ok(Self::NAN),
                (true, _) => Ok(*self),
            };
        }
        if other.is_zero() {
            return Err(Error::division_by_zero());
        }
        let scale = self.scale.max(other.scale);
        match (self.scaled_to(scale), other.scaled_to(scale)) {
            (Some(a), Some(b)) => Self::new(a % b, scale),
            _ => Self::from_big(self.big_at(i32::from(scale)) % other.big_at(i32::from(scale)), i32::from(scale)),
        }
    }

    /// The negative.
    pub fn neg(&self) -> Numeric {
        match self.class {
            Class::Finite => Self::raw(-self.coefficient(), self.scale),
            Class::Infinity => Self::NEG_INFINITY,
            Class::NegInfinity => Self::INFINITY,
            Class::NaN => Self::NAN,
        }
    }

    /// The absolute value.
    pub fn abs(&self) -> Numeric {
        if self.signum() < 0 { self.neg() } else { *self }
    }

    /// Rounded to `scale` digits after the point (before it if negative), halves away from zero. The result shows
    /// `max(scale, 0)` digits.
    ///
    /// # Errors
    /// 22003 if the digits asked for don't fit.
    pub fn round(&self, scale: i32) -> Result<Numeric, Error> {
        self.rescale(scale, true)
    }

    /// Cut to `scale` digits after the point, towards zero.
    ///
    /// # Errors
    /// 22003 if the digits asked for don't fit.
    pub fn trunc(&self, scale: i32) -> Result<Numeric, Error> {
        self.rescale(scale, false)
    }

    fn rescale(&self, scale: i32, rounded: bool) -> Result<Numeric, Error> {
        if !self.is_finite() {
            return Ok(*self);
        }
        let scale = scale.min(MAX_SCALE);
        let current = i32::from(self.scale);
        if scale >= current {
            return Self::from_big_or_small(self.coefficient(), (scale - current) as u32, scale);
        }
        let drop = current - scale;
        let kept = match u32::try_from(drop) {
            Ok(drop @ 0..=38) if rounded => divide_rounded(self.coefficient(), power_of_ten(drop)),
            Ok(drop @ 0..=38) => self.coefficient() / power_of_ten(drop),
            _ => 0,
        };
        if scale >= 0 {
            return Self::new(kept, scale as u8);
        }
        if kept == 0 {
            return Ok(Self::ZERO);
        }
        Self::from_big_or_small(kept, scale.unsigned_abs(), 0)
    }

    fn from_big_or_small(coefficient: i128, up: u32, scale: i32) -> Result<Numeric, Error> {
        if up <= 38
            && let (Some(shifted), Ok(scale)) = (coefficient.checked_mul(power_of_ten(up)), u8::try_from(scale))
        {
            return Self::new(shifted, scale);
        }
        Self::from_big(BigInt::from(coefficient) * BigInt::from(10).pow(up), scale)
    }

    /// The smallest integer not below.
    ///
    /// # Errors
    /// Never for finite numbers within 38 digits.
    pub fn ceil(&self) -> Result<Numeric, Error> {
        let whole = self.trunc(0)?;
        if self.is_finite() && *self > whole { whole.add(&Self::ONE) } else { Ok(whole) }
    }

    /// The largest integer not above.
    ///
    /// # Errors
    /// Never for finite numbers within 38 digits.
    pub fn floor(&self) -> Result<Numeric, Error> {
        let whole = self.trunc(0)?;
        if self.is_finite() && *self < whole { whole.sub(&Self::ONE) } else { Ok(whole) }
    }

    /// Coerced to `numeric(precision, scale)`: rounded, and refused if too large.
    ///
    /// # Errors
    /// 22003 `numeric field overflow`.
    pub fn coerce(&self, precision: u8, scale: i8) -> Result<Numeric, Error> {
        let (precision, scale) = (i32::from(precision), i32::from(scale));
        let field_overflow = |detail: String| {
            Err(Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "numeric field overflow").with_detail(detail))
        };
        if self.is_nan() {
            return Ok(*self);
        }
        if !self.is_finite() {
            return field_overflow(format!(
                "A field with precision {precision}, scale {scale} cannot hold an infinite value."
            ));
        }
        let rounded = self.round(scale)?;
        // Integer digits may number precision - scale; with a negative figure even the first decimals have to be zero.
        let digits = count_digits(rounded.coefficient().unsigned_abs()) as i32 - i32::from(rounded.scale);
        if !rounded.is_zero() && digits > precision - scale {
            let bound = match precision - scale {
                0 => "1".to_owned(),
                power => format!("10^{power}"),
            };
            return field_overflow(format!(
                "A field with precision {precision}, scale {scale} must round to an absolute value less than {bound}."
            ));
        }
        Ok(rounded)
    }

    /// Without the zeros at the end of the fraction.
    pub fn normalized(&self) -> Numeric {
        if !self.is_finite() {
            return *self;
        }
        let (mut coefficient, mut scale) = (self.coefficient(), self.scale);
        if coefficient == 0 {
            return Self::ZERO;
        }
        while scale > 0 && coefficient % 10 == 0 {
            coefficient /= 10;
            scale -= 1;
        }
        Self::raw(coefficient, scale)
    }

    /// The smallest scale that shows the value in full.
    pub fn min_scale(&self) -> u8 {
        self.normalized().scale
    }

    /// The coefficient at a larger scale, if it fits.
    fn scaled_to(&self, scale: u8) -> Option<i128> {
        match u32::from(scale - self.scale) {
            0 => Some(self.coefficient()),
            up @ 1..=38 => self.coefficient().checked_mul(power_of_ten(up)),
            _ => None,
        }
    }

    /// The coefficient at a scale that is not smaller than its own.
    pub(super) fn big_at(&self, scale: i32) -> BigInt {
        let up = u32::try_from(scale - i32::from(self.scale)).expect("scales only grow");
        BigInt::from(self.coefficient()) * BigInt::from(10).pow(up)
    }

    /// PostgreSQL's base-10000 weight (position of the first group of four digits) and that group; (0, 0) for zero.
    pub(super) fn weight(&self) -> (i32, i32) {
        let magnitude = self.coefficient().unsigned_abs();
        if magnitude == 0 {
            return (0, 0);
        }
        let exponent = count_digits(magnitude) as i32 - 1 - i32::from(self.scale);
        let weight = exponent.div_euclid(4);
        let shift = i32::from(self.scale) + 4 * weight;
        let first = match u32::try_from(shift) {
            Ok(down) => magnitude / power_of_ten(down.min(38)).unsigned_abs(),
            Err(_) => magnitude * power_of_ten(shift.unsigned_abs()).unsigned_abs(),
        };
        (weight, first as i32)
    }

    fn quotient_scale(&self, other: &Numeric) -> i32 {
        let (weight1, first1) = self.weight();
        let (weight2, first2) = other.weight();
        let quotient_weight = weight1 - weight2 - i32::from(first1 <= first2);
        (MIN_SIGNIFICANT_DIGITS - quotient_weight * 4).max(i32::from(self.scale)).max(i32::from(other.scale))
    }
}

/// Divides, rounding half away from zero.
pub(super) fn divide_big_rounded(dividend: &BigInt, divisor: &BigInt) -> BigInt {
    let quotient = dividend / divisor;
    let remainder = dividend - &quotient * divisor;
    if remainder.magnitude() * 2u8 >= *divisor.magnitude() {
        quotient + if (dividend.sign() == bigdecimal::num_bigint::Sign::Minus) == (divisor.sign() == bigdecimal::num_bigint::Sign::Minus) { 1 } else { -1 }
    } else {
        quotient
    }
}

impl From<i64> for Numeric {
    fn from(value: i64) -> Self {
        Self::raw(i128::from(value), 0)
    }
}

impl From<i32> for Numeric {
    fn from(value: i32) -> Self {
        Self::from(i64::from(value))
    }
}

impl From<i16> for Numeric {
    fn from(value: i16) -> Self {
        Self::from(i64::from(value))
    }
}

impl PartialEq for Numeric {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Numeric {}

impl PartialOrd for Numeric {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Numeric {
    fn cmp(&self, other: &Self) -> Ordering {
        if !(self.is_finite() && other.is_finite()) {
            return self.class.cmp(&other.class);
        }
        let (a, b) = (self.coefficient(), other.coefficient());
        if self.scale == other.scale {
            return a.cmp(&b);
        }
        if a.signum() != b.signum() {
            return a.signum().cmp(&b.signum());
        }
        let scale = self.scale.max(other.scale);
        match (self.scaled_to(scale), other.scaled_to(scale)) {
            (Some(a), Some(b)) => a.cmp(&b),
            // What does not fit when scaled up is larger in magnitude than what does.
            (None, Some(_)) => if a > 0 { Ordering::Greater } else { Ordering::Less },
            (Some(_), None) => if b > 0 { Ordering::Less } else { Ordering::Greater },
            (None, None) => unreachable!("one of the two is at the common scale already"),
        }
    }
}

impl Hash for Numeric {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let normalized = self.normalized();
        normalized.class.hash(state);
        normalized.coefficient().hash(state);
        normalized.scale.hash(state);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Numeric {
        Numeric::parse(text).expect("a number")
    }

    #[test]
    fn text_goes_both_ways() {
        for text in ["0", "0.00", "-1.50", "123456789012345678901234567890.12345678", "NaN", "Infinity", "-Infinity", "0.000001"] {
            assert_eq!(n(text).to_string(), text);
        }
        for (input, output) in [(" 1e3 ", "1000"), ("1.5e-3", "0.0015"), (".5", "0.5"), ("5.", "5"), ("-0", "0"), ("-inf", "-Infinity")] {
            assert_eq!(n(input).to_string(), output);
        }
        for bad in ["", ".", "1e", "x", "1.2.3", "--1", "1 2", "- 1", "-NaN", "1_000", "0x1"] {
            assert_eq!(Numeric::parse(bad).map_err(|e| e.code), Err(SqlState::INVALID_TEXT_REPRESENTATION), "{bad}");
        }
    }

    #[test]
    fn digits_end_at_38() {
        let nines = "9".repeat(38);
        assert_eq!(n(&nines).to_string(), nines);
        for too_much in ["1".repeat(39), "1e38".to_owned(), "1e400000000".to_owned(), "1e99999999999".to_owned(), "1e-256".to_owned()] {
            let code = Numeric::parse(&too_much).map_err(|e| e.code);
            assert_eq!(code, Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE), "{too_much}");
        }
        assert!(n(&nines).add(&Numeric::ONE).is_err());
        assert!(n(&nines).neg().sub(&Numeric::ONE).is_err());
        assert!(n("1e20").mul(&n("1e20")).is_err());
        // Zeros at the end of a fraction are given up rather than the result.
        assert_eq!(n("12345678901234567890.00000000000000000000").to_string(), "12345678901234567890.000000000000000000");
        assert_eq!(n("1.0000000000000000000").mul(&n("2.0000000000000000000")).map(|v| v.to_string()).as_deref(), Ok("2.0000000000000000000000000000000000000"));
    }

    #[test]
    fn quotients_have_postgres_scale() {
        let div = |a: &str, b: &str| n(a).div(&n(b)).map(|v| v.to_string());
        for (a, b, quotient) in [
            ("1", "3", "0.33333333333333333333"),
            ("2", "3", "0.66666666666666666667"),
            ("10", "2", "5.0000000000000000"),
            ("1", "7000", "0.00014285714285714286"),
            ("100000", "3", "33333.333333333333"),
            ("-1", "3", "-0.33333333333333333333"),
            ("1.50", "0.5", "3.0000000000000000"),
            ("123456789012345678901234567890", "7", "17636684144620811271604938270"),
        ] {
            assert_eq!(div(a, b).as_deref(), Ok(quotient), "{a} / {b}");
        }
        assert_eq!(div("1", "0.0").map_err(|e| e.code), Err(SqlState::DIVISION_BY_ZERO));
    }

    #[test]
    fn rounding_goes_away_from_zero() {
        let round = |text: &str, scale| n(text).round(scale).map(|v| v.to_string());
        assert_eq!(round("2.5", 0).as_deref(), Ok("3"));
        assert_eq!(round("-2.5", 0).as_deref(), Ok("-3"));
        assert_eq!(round("2.45", 1).as_deref(), Ok("2.5"));
        assert_eq!(round("1250", -2).as_deref(), Ok("1300"));
        assert_eq!(round("49", -2).as_deref(), Ok("0"));
        assert_eq!(round("1.5", 3).as_deref(), Ok("1.500"));
        assert_eq!(n("-2.5").ceil().map(|v| v.to_string()).as_deref(), Ok("-2"));
        assert_eq!(n("-2.5").floor().map(|v| v.to_string()).as_deref(), Ok("-3"));
        assert_eq!(n("2.9").trunc(0).map(|v| v.to_string()).as_deref(), Ok("2"));
    }

    #[test]
    fn a_declared_precision_is_enforced() {
        let coerce = |text: &str, p, s| n(text).coerce(p, s).map(|v| v.to_string()).map_err(|e| e.detail.clone());
        assert_eq!(coerce("123.456", 5, 2).as_deref(), Ok("123.46"));
        assert_eq!(coerce("999.994", 5, 2).as_deref(), Ok("999.99"));
        let detail = "A field with precision 5, scale 2 must round to an absolute value less than 10^3.";
        assert_eq!(coerce("999.995", 5, 2), Err(Some(detail.to_owned())));
        assert_eq!(coerce("12345", 3, -2).as_deref(), Ok("12300"));
        assert_eq!(coerce("0.00123", 3, 5).as_deref(), Ok("0.00123"));
        assert!(coerce("0.0123", 3, 5).is_err());
        assert!(coerce("1", 2, 2).is_err());
        assert_eq!(coerce("NaN", 5, 2).as_deref(), Ok("NaN"));
    }

    #[test]
    fn order_is_that_of_postgres() {
        let sorted = ["-Infinity", "-1e37", "-1.5", "-0.0001", "0.00", "1e-200", "0.5", "2", "1e37", "Infinity", "NaN"];
        for (i, a) in sorted.iter().enumerate() {
            for (j, b) in sorted.iter().enumerate() {
                assert_eq!(n(a).cmp(&n(b)), i.cmp(&j), "{a} against {b}");
            }
        }
    }

    #[test]
    fn floats_convert_with_the_digits_postgres_trusts() {
        assert_eq!(Numeric::from_f64(0.1).map(|v| v.to_string()).as_deref(), Ok("0.1"));
        assert_eq!(Numeric::from_f64(1.0 / 3.0).map(|v| v.to_string()).as_deref(), Ok("0.333333333333333"));
        assert_eq!(Numeric::from_f32(1.0 / 3.0).map(|v| v.to_string()).as_deref(), Ok("0.333333"));
        assert_eq!(Numeric::from_f64(1e20).map(|v| v.to_string()).as_deref(), Ok("100000000000000000000"));
        assert!(Numeric::from_f64(1e60).is_err());
        assert_eq!(n("0.1").to_f64(), 0.1);
        assert_eq!(n("12345678901234567890.123").to_f64(), 12345678901234567890.123);
        assert_eq!(n("2.5").to_i64(), Some(3));
        assert_eq!(n("9223372036854775807.5").to_i64(), None);
    }
}
