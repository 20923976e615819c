//! Variances and standard deviations.

use bigdecimal::num_bigint::BigInt;

use crate::error::Error;
use crate::functions::aggregate::Accumulator;
use crate::functions::arithmetic::{as_numeric, float_overflow};
use crate::value::{Numeric, Row, Value};

/// Which of the four.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    StddevSample,
    StddevPopulation,
    VarianceSample,
    VariancePopulation,
}

impl Kind {
    fn is_sample(self) -> bool {
        matches!(self, Kind::StddevSample | Kind::VarianceSample)
    }

    fn is_root(self) -> bool {
        matches!(self, Kind::StddevSample | Kind::StddevPopulation)
    }
}

pub(super) fn numeric(kind: Kind) -> Box<dyn Accumulator> {
    Box::new(NumericVariance { kind, count: 0, scale: 0, sum: BigInt::ZERO, squares: BigInt::ZERO, not_finite: false })
}

pub(super) fn float(kind: Kind) -> Box<dyn Accumulator> {
    Box::new(FloatVariance { kind, count: 0.0, sum: 0.0, squares: 0.0 })
}

/// Exact sums of the values (at `scale`) and of their squares (at twice that): squares soon exceed what a `numeric` holds.
struct NumericVariance {
    kind: Kind,
    count: i64,
    scale: u32,
    sum: BigInt,
    squares: BigInt,
    not_finite: bool,
}

impl Accumulator for NumericVariance {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        if arguments[0].is_null() {
            return Ok(());
        }
        let value = as_numeric(&arguments[0])?;
        self.count += 1;
        if !value.is_finite() {
            self.not_finite = true;
            return Ok(());
        }
        let scale = u32::from(value.scale());
        if scale > self.scale {
            let factor = BigInt::from(10).pow(scale - self.scale);
            self.squares = &self.squares * &factor * &factor;
            self.sum = &self.sum * &factor;
            self.scale = scale;
        }
        let value = BigInt::from(value.coefficient()) * BigInt::from(10).pow(self.scale - scale);
        self.squares += &value * &value;
        self.sum += value;
        Ok(())
    }

    fn finish(&self) -> Result<Value, Error> {
        if self.count == 0 || (self.kind.is_sample() && self.count == 1) {
            return Ok(Value::Null);
        }
        if self.not_finite {
            return Ok(Value::Numeric(Numeric::NAN));
        }
        let dividend = &self.squares * self.count - &self.sum * &self.sum;
        if dividend == BigInt::ZERO {
            return Ok(Value::Numeric(Numeric::ZERO));
        }
        let divisor = Numeric::from(self.count).mul(&Numeric::from(if self.kind.is_sample() {
            self.count - 1
        } else {
            self.count
        }))?;
        // PostgreSQL's scale of the quotient is that of its division.
        let variance = Numeric::quotient_of(dividend, self.scale * 2, &divisor)?;
        let result = if self.kind.is_root() { variance.sqrt_to(i32::from(variance.scale()))? } else { variance };
        Ok(Value::Numeric(result))
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![
            Value::Int64(self.count),
            Value::Int32(i32::try_from(self.scale).map_err(|_| Error::out_of_range("numeric"))?),
            Value::text(self.sum.to_string()),
            Value::text(self.squares.to_string()),
            Value::Bool(self.not_finite),
        ])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        let [Value::Int64(count), Value::Int32(scale), Value::Text(sum), Value::Text(squares), Value::Bool(not_finite)] =
            saved
        else {
            return Err(Error::internal("the state of a variance has another form"));
        };
        let number = |text: &str| -> Result<BigInt, Error> {
            text.parse().map_err(|_| Error::internal("the state of a variance is no number"))
        };
        let (mut sum, mut squares) = (number(sum)?, number(squares)?);
        let scale = u32::try_from(*scale).map_err(|_| Error::out_of_range("numeric"))?;
        let raise = |sum: &mut BigInt, squares: &mut BigInt, by: u32| {
            let factor = BigInt::from(10).pow(by);
            *squares = &*squares * &factor * &factor;
            *sum = &*sum * &factor;
        };
        if scale > self.scale {
            raise(&mut self.sum, &mut self.squares, scale - self.scale);
            self.scale = scale;
        } else {
            raise(&mut sum, &mut squares, self.scale - scale);
        }
        self.sum += sum;
        self.squares += squares;
        self.count += count;
        self.not_finite |= not_finite;
        Ok(())
    }
}

/// Youngs and Cramer's updating sums, which PostgreSQL uses too.
struct FloatVariance {
    kind: Kind,
    count: f64,
    sum: f64,
    squares: f64,
}

impl Accumulator for FloatVariance {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        if arguments[0].is_null() {
            return Ok(());
        }
        let value = crate::functions::math::float(&arguments[0])?;
        let was_finite = self.sum.is_finite();
        self.count += 1.0;
        self.sum += value;
        if self.count > 1.0 {
            let distance = value * self.count - self.sum;
            self.squares += distance * distance / (self.count * (self.count - 1.0));
            if self.squares.is_infinite() && was_finite && value.is_finite() {
                return Err(float_overflow());
            }
            if !self.sum.is_finite() {
                self.squares = f64::NAN;
            }
        } else if !value.is_finite() {
            self.squares = f64::NAN;
        }
        Ok(())
    }

    fn finish(&self) -> Result<Value, Error> {
        let divisor = if self.kind.is_sample() { self.count - 1.0 } else { self.count };
        if divisor <= 0.0 {
            return Ok(Value::Null);
        }
        let variance = self.squares / divisor;
        Ok(Value::Float8(if self.kind.is_root() { variance.sqrt() } else { variance }))
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![Value::Float8(self.count), Value::Float8(self.sum), Value::Float8(self.squares)])
    }

    /// Youngs and Cramer's formula for two sets, as PostgreSQL's `float8_combine`.
    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        let [Value::Float8(count), Value::Float8(sum), Value::Float8(squares)] = saved else {
            return Err(Error::internal("the state of a variance has another form"));
        };
        if *count == 0.0 {
            return Ok(());
        }
        if self.count == 0.0 {
            (self.count, self.sum, self.squares) = (*count, *sum, *squares);
            return Ok(());
        }
        let both = self.count + count;
        let distance = self.sum / self.count - sum / count;
        self.squares += squares + self.count * count * distance * distance / both;
        self.sum += sum;
        self.count = both;
        Ok(())
    }
}
