//! `numeric`: exact decimal numbers of up to 38 digits, with PostgreSQL's display scale, NaN and infinities.
//!
//! A number is `coefficient / 10^scale`. Results are exact or rounded where PostgreSQL rounds; one that needs more than 38
//! digits after dropping trailing zeros of its fraction is 22003, never a silently shortened figure.

mod text;

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use bigdecimal::ToPrimitive;
use bigdecimal::num_bigint::{BigInt, Sign};

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
            let small =
                coefficient.to_i128().filter(|c| c.unsigned_abs() < power_of_ten(NUMERIC_MAX_DIGITS).unsigned_abs());
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
        let scale =
            (MIN_SIGNIFICANT_DIGITS - quotient_weight * 4).max(i32::from(self.scale)).max(i32::from(other.scale));
        scale.min(MAX_SCALE)
    }
}

/// Divides, rounding half away from zero.
pub(super) fn divide_big_rounded(dividend: &BigInt, divisor: &BigInt) -> BigInt {
    let quotient = dividend / divisor;
    let remainder = dividend - &quotient * divisor;
    if remainder.magnitude() * 2u8 >= *divisor.magnitude() {
        let same_sign = (dividend.sign() == Sign::Minus) == (divisor.sign() == Sign::Minus);
        quotient + if same_sign { 1 } else { -1 }
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
            (None, Some(_)) => {
                if a > 0 {
                    Ordering::Greater
                } else {
                    Ordering::Less
                }
            }
            (Some(_), None) => {
                if b > 0 {
                    Ordering::Less
                } else {
                    Ordering::Greater
                }
            }
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

#[cfg(test)]
mod tests;
