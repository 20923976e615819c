//! Roots, powers, logarithms and exponentials of `numeric`, with PostgreSQL's choice of scale.
//!
//! They are computed in fixed point with [`GUARD`] digits after the point, far more than a result of 38 digits can show, and rounded
//! once at the end.

use bigdecimal::ToPrimitive;
use bigdecimal::num_bigint::{BigInt, Sign};

use crate::error::{Error, SqlState};
use crate::value::numeric::{MAX_SCALE, MIN_SIGNIFICANT_DIGITS, Numeric, divide_big_rounded};

/// Decimal digits after the point of intermediate results.
const GUARD: u32 = 100;

fn one() -> BigInt {
    BigInt::from(10).pow(GUARD)
}

/// A fixed-point number of the intermediate precision.
fn fixed(value: &Numeric) -> BigInt {
    let scale = u32::from(value.scale());
    if scale <= GUARD {
        BigInt::from(value.coefficient()) * BigInt::from(10).pow(GUARD - scale)
    } else {
        BigInt::from(value.coefficient()) / BigInt::from(10).pow(scale - GUARD)
    }
}

fn rounded(value: &BigInt, scale: i32) -> Result<Numeric, Error> {
    let scale = scale.clamp(0, MAX_SCALE.min(GUARD as i32));
    let divisor = BigInt::from(10).pow(GUARD - scale as u32);
    Numeric::from_big(divide_big_rounded(value, &divisor), scale)
}

/// e^x for a fixed-point x: halved until small, Taylor's series, squared back.
fn exponential(x: &BigInt) -> BigInt {
    const HALVINGS: usize = 24;
    let one = one();
    // Digits lost by squaring back and by large results are added first.
    let extra = BigInt::from(10).pow(GUARD);
    let scale = &one * &extra;
    let small: BigInt = (x * &extra) >> HALVINGS;
    let mut term = scale.clone();
    let mut sum = scale.clone();
    let mut n = 1u32;
    while term.sign() != Sign::NoSign && n < 400 {
        term = &term * &small / &scale / n;
        sum += &term;
        n += 1;
    }
    for _ in 0..HALVINGS {
        sum = &sum * &sum / &scale;
    }
    sum / extra
}

/// The natural logarithm of a positive fixed-point number: brought near 1 by square roots, then the series of artanh.
fn logarithm(x: &BigInt) -> BigInt {
    const ROOTS: usize = 12;
    let extra = BigInt::from(10).pow(GUARD);
    let one = one() * &extra;
    let mut y = x * &extra;
    for _ in 0..ROOTS {
        y = (&y * &one).sqrt();
    }
    let z = (&y - &one) * &one / (&y + &one);
    let square = &z * &z / &one;
    let mut power = z.clone();
    let mut sum = z;
    let mut n = 3u32;
    while power.sign() != Sign::NoSign && n < 4000 {
        power = &power * &square / &one;
        sum += &power / n;
        n += 2;
    }
    (sum << (ROOTS + 1)) / extra
}

/// PostgreSQL's estimate of the decimal weight of ln(x), for x > 0.
fn logarithm_weight(value: &Numeric) -> i32 {
    let x = value.to_f64();
    if (0.9..=1.1).contains(&x) {
        let distance = value.sub(&Numeric::ONE).unwrap_or(Numeric::ZERO);
        let (weight, first) = distance.weight();
        return if distance.is_zero() { 0 } else { weight * 4 + f64::from(first).log10() as i32 };
    }
    x.ln().abs().log10() as i32
}

fn result_scale(weight: i32, arguments: &[&Numeric]) -> i32 {
    let shown = arguments.iter().map(|value| i32::from(value.scale())).max().unwrap_or(0);
    (MIN_SIGNIFICANT_DIGITS - weight).max(shown).clamp(0, MAX_SCALE)
}

impl Numeric {
    /// The square root.
    ///
    /// # Errors
    /// 2201F of a negative number.
    pub fn sqrt(&self) -> Result<Numeric, Error> {
        if self.is_nan() || (!self.is_finite() && self.signum() > 0) {
            return Ok(*self);
        }
        if self.signum() < 0 {
            return Err(Error::new(
                SqlState::INVALID_ARGUMENT_FOR_POWER,
                "cannot take square root of a negative number",
            ));
        }
        let (weight, _) = self.weight();
        let root_weight = if weight >= 0 { weight * 2 + 1 } else { 1 - (1 - weight * 4) / 2 };
        let scale = result_scale(root_weight, &[self]);
        self.sqrt_to(scale)
    }

    /// The square root of a number that is not negative, rounded to `scale`.
    pub(crate) fn sqrt_to(&self, scale: i32) -> Result<Numeric, Error> {
        let shift =
            u32::try_from(2 * scale - i32::from(self.scale())).map_err(|_| Error::internal("scale of a root"))?;
        let square = BigInt::from(self.coefficient()) * BigInt::from(10).pow(shift);
        let root = square.sqrt();
        let up = (&square - &root * &root) > root;
        Numeric::from_big(root + u8::from(up), scale)
    }

    /// e to the power of the number.
    ///
    /// # Errors
    /// 22003.
    pub fn exp(&self) -> Result<Numeric, Error> {
        if !self.is_finite() {
            return Ok(if self.signum() < 0 { Numeric::ZERO } else { *self });
        }
        let weight = self.to_f64() * std::f64::consts::LOG10_E;
        if weight > 40.0 {
            return Err(overflow());
        }
        let scale = result_scale(weight.max(-2000.0) as i32, &[self]);
        if weight < -f64::from(GUARD) {
            return rounded(&BigInt::ZERO, scale);
        }
        rounded(&exponential(&fixed(self)), scale)
    }

    /// The natural logarithm.
    ///
    /// # Errors
    /// 2201E of zero or a negative number.
    pub fn ln(&self) -> Result<Numeric, Error> {
        self.check_logarithm()?;
        if !self.is_finite() {
            return Ok(*self);
        }
        rounded(&self.fixed_ln(), result_scale(logarithm_weight(self), &[self]))
    }

    /// The logarithm to a base.
    ///
    /// # Errors
    /// 2201E of zero or a negative number, 22012 for base 1.
    pub fn log(&self, base: &Numeric) -> Result<Numeric, Error> {
        base.check_logarithm()?;
        self.check_logarithm()?;
        if !(self.is_finite() && base.is_finite()) {
            return Ok(match (self.is_nan() || base.is_nan(), self.is_finite(), base.is_finite()) {
                (true, ..) | (_, false, false) => Numeric::NAN,
                (_, false, true) => Numeric::INFINITY,
                _ => Numeric::ZERO,
            });
        }
        let divisor = base.fixed_ln();
        if divisor == BigInt::ZERO {
            return Err(Error::division_by_zero());
        }
        let weight = logarithm_weight(self) - logarithm_weight(base);
        rounded(&(self.fixed_ln() * one() / divisor), result_scale(weight, &[self, base]))
    }

    fn check_logarithm(&self) -> Result<(), Error> {
        let bad = |what: &str| {
            Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_LOGARITHM, format!("cannot take logarithm of {what}")))
        };
        match self.signum() {
            -1 => bad("a negative number"),
            0 => bad("zero"),
            _ => Ok(()),
        }
    }

    /// ln at the intermediate precision; the power of ten is split off so that tiny numbers keep their digits.
    fn fixed_ln(&self) -> BigInt {
        let coefficient = BigInt::from(self.coefficient()) * one();
        let ten = BigInt::from(10) * one();
        let tens = logarithm(&ten);
        logarithm(&coefficient) - tens * i32::from(self.scale())
    }

    /// The number to a power.
    ///
    /// # Errors
    /// 2201F for zero to a negative power or a negative number to a power that is no integer; 22003.
    pub fn power(&self, exponent: &Numeric) -> Result<Numeric, Error> {
        let bad = |message: &str| Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_POWER, message));
        // x^0 and 1^x are 1, NaN included.
        if !(self.is_finite() && exponent.is_finite()) {
            return self.power_not_finite(exponent);
        }
        if self.is_zero() && exponent.signum() < 0 {
            return bad("zero raised to a negative power is undefined");
        }
        let integer = exponent.min_scale() == 0;
        if self.signum() < 0 && !integer {
            return bad("a negative number raised to a non-integer power yields a complex result");
        }
        if integer && let Some(power) = exponent.to_i64().and_then(|power| i32::try_from(power).ok()) {
            let scale = MIN_SIGNIFICANT_DIGITS.max(i32::from(self.scale()));
            return self.integer_power(power, scale);
        }
        if self.is_zero() {
            return rounded(&BigInt::ZERO, MIN_SIGNIFICANT_DIGITS.max(i32::from(self.scale())));
        }
        let logarithm = self.abs().fixed_ln() * BigInt::from(exponent.coefficient())
            / BigInt::from(10).pow(u32::from(exponent.scale()));
        let approximate = (&logarithm / BigInt::from(10).pow(GUARD - 6)).to_f64().unwrap_or(f64::INFINITY) / 1e6;
        let weight = approximate * std::f64::consts::LOG10_E;
        if weight > 40.0 {
            return Err(overflow());
        }
        let scale = result_scale(weight.max(-2000.0) as i32, &[self, exponent]);
        if weight < -f64::from(GUARD) {
            return rounded(&BigInt::ZERO, scale);
        }
        let odd = integer && exponent.rem(&Numeric::from(2i32)).is_ok_and(|rest| !rest.is_zero());
        let result = rounded(&exponential(&logarithm), scale)?;
        Ok(if self.signum() < 0 && odd { result.neg() } else { result })
    }

    fn power_not_finite(&self, exponent: &Numeric) -> Result<Numeric, Error> {
        let one = Numeric::ONE;
        if exponent.is_zero() || (*self == one) {
            return Ok(one);
        }
        if self.is_nan() || exponent.is_nan() {
            return Ok(Numeric::NAN);
        }
        if !exponent.is_finite() {
            if self.is_zero() && exponent.signum() < 0 {
                return Err(Error::new(
                    SqlState::INVALID_ARGUMENT_FOR_POWER,
                    "zero raised to a negative power is undefined",
                ));
            }
            let magnitude = self.abs();
            return Ok(match magnitude.cmp(&one) {
                std::cmp::Ordering::Equal => one,
                order if order.is_gt() == (exponent.signum() > 0) => Numeric::INFINITY,
                _ => Numeric::ZERO,
            });
        }
        let odd = exponent.rem(&Numeric::from(2i32)).is_ok_and(|rest| rest.abs() == one);
        if self.signum() < 0 && exponent.min_scale() > 0 {
            let message = "a negative number raised to a non-integer power yields a complex result";
            return Err(Error::new(SqlState::INVALID_ARGUMENT_FOR_POWER, message));
        }
        Ok(match (exponent.signum() < 0, self.signum() < 0 && odd) {
            (true, _) => Numeric::ZERO,
            (false, true) => Numeric::NEG_INFINITY,
            (false, false) => Numeric::INFINITY,
        })
    }

    fn integer_power(&self, exponent: i32, scale: i32) -> Result<Numeric, Error> {
        let base = self.normalized();
        let magnitude = base.abs().to_f64();
        // Bounds the work: what is beyond is 0 at any scale, or overflows.
        let weight = magnitude.log10() * f64::from(exponent);
        if weight > 40.0 {
            return Err(overflow());
        }
        if base.is_zero() {
            let value = if exponent == 0 { BigInt::from(10).pow(scale as u32) } else { BigInt::ZERO };
            return Numeric::from_big(value, scale);
        }
        if weight < -f64::from(MAX_SCALE) {
            return Numeric::from_big(BigInt::ZERO, scale);
        }
        let sign = if base.signum() < 0 && exponent % 2 != 0 { -1 } else { 1 };
        let power = exponent.unsigned_abs();
        // Exact where that is cheap, else through the logarithm.
        if power <= 200 {
            let coefficient = BigInt::from(base.coefficient()).pow(power);
            let places = u32::from(base.scale()) * power;
            let ten = BigInt::from(10);
            let (dividend, divisor) = if exponent >= 0 {
                (coefficient * ten.pow(scale as u32), ten.pow(places))
            } else {
                (ten.pow(places + scale as u32), coefficient)
            };
            return Numeric::from_big(divide_big_rounded(&dividend, &divisor), scale);
        }
        let logarithm = base.abs().fixed_ln() * exponent;
        let result = rounded(&exponential(&logarithm), scale)?;
        Ok(if sign < 0 { result.neg() } else { result })
    }
}

#[cold]
fn overflow() -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, "value overflows numeric format")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn n(text: &str) -> Numeric {
        Numeric::parse(text).expect("a number")
    }

    #[test]
    fn roots_logarithms_and_powers_are_those_of_postgres() {
        let text = |value: Result<Numeric, Error>| value.map(|v| v.to_string());
        assert_eq!(text(n("2").sqrt()).as_deref(), Ok("1.414213562373095"));
        assert_eq!(text(n("16").sqrt()).as_deref(), Ok("4.000000000000000"));
        assert_eq!(text(n("2.0").ln()).as_deref(), Ok("0.6931471805599453"));
        assert_eq!(text(n("1.0").exp()).as_deref(), Ok("2.7182818284590452"));
        assert_eq!(text(n("100.0").log(&n("10"))).as_deref(), Ok("2.0000000000000000"));
        assert_eq!(text(n("64.0").log(&n("2.0"))).as_deref(), Ok("6.0000000000000000"));
        assert_eq!(text(n("2").power(&n("3"))).as_deref(), Ok("8.0000000000000000"));
        assert_eq!(text(n("2").power(&n("-1"))).as_deref(), Ok("0.5000000000000000"));
        assert_eq!(text(n("2").power(&n("0.5"))).as_deref(), Ok("1.4142135623730950"));
        assert_eq!(text(n("2").power(&n("100"))).map(|v| v.starts_with("1267650600228229401496703205376")), Ok(true));
    }

    #[test]
    fn what_is_undefined_is_refused() {
        let code = |value: Result<Numeric, Error>| value.map_err(|e| e.code.as_str().to_owned());
        assert_eq!(code(n("-1").sqrt()), Err("2201F".to_owned()));
        assert_eq!(code(n("0").ln()), Err("2201E".to_owned()));
        assert_eq!(code(n("-8").power(&n("0.5"))), Err("2201F".to_owned()));
        assert_eq!(code(n("0").power(&n("-1"))), Err("2201F".to_owned()));
        assert_eq!(code(n("10").power(&n("1000000"))), Err("22003".to_owned()));
        assert_eq!(code(n("1000").exp()), Err("22003".to_owned()));
    }
}
