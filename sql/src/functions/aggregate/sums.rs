//! Sums and averages.

use crate::error::Error;
use crate::functions::aggregate::Accumulator;
use crate::value::{Interval, Numeric, Row, Value, mismatch};

/// Sums of integers: exact in 128 bits, checked when the result is asked for; `WIDE` results are `numeric`.
#[derive(Default)]
pub(super) struct IntegerSum<const WIDE: bool> {
    sum: i128,
    any: bool,
}

impl<const WIDE: bool> Accumulator for IntegerSum<WIDE> {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        match &arguments[0] {
            Value::Null => return Ok(()),
            // 2^64 rows of the greatest bigint still fit.
            value => self.sum += i128::from(value.as_i64().ok_or_else(|| mismatch("integer", value))?),
        }
        self.any = true;
        Ok(())
    }

    fn finish(&self) -> Result<Value, Error> {
        match (self.any, WIDE) {
            (false, _) => Ok(Value::Null),
            (true, true) => Numeric::new(self.sum, 0).map(Value::Numeric),
            (true, false) => i64::try_from(self.sum).map(Value::Int64).map_err(|_| Error::out_of_range("bigint")),
        }
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![if self.any { Value::Numeric(Numeric::new(self.sum, 0)?) } else { Value::Null }])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        if let Value::Numeric(sum) = &saved[0] {
            self.sum += sum.coefficient();
            self.any = true;
        }
        Ok(())
    }
}

/// Averages of integers.
#[derive(Default)]
pub(super) struct IntegerAverage {
    sum: i128,
    count: i64,
}

impl Accumulator for IntegerAverage {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        match &arguments[0] {
            Value::Null => return Ok(()),
            value => self.sum += i128::from(value.as_i64().ok_or_else(|| mismatch("integer", value))?),
        }
        self.count += 1;
        Ok(())
    }

    fn finish(&self) -> Result<Value, Error> {
        if self.count == 0 {
            return Ok(Value::Null);
        }
        Numeric::new(self.sum, 0)?.div(&Numeric::from(self.count)).map(Value::Numeric)
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![Value::Numeric(Numeric::new(self.sum, 0)?), Value::Int64(self.count)])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        if let Value::Numeric(sum) = &saved[0] {
            self.sum += sum.coefficient();
        }
        self.count += saved[1].as_i64().unwrap_or(0);
        Ok(())
    }
}

pub(super) struct FloatSum {
    pub(super) single: bool,
    pub(super) sum: Option<f64>,
}

impl Accumulator for FloatSum {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        let value = match &arguments[0] {
            Value::Null => return Ok(()),
            Value::Float4(value) => f64::from(*value),
            Value::Float8(value) => *value,
            other => return Err(mismatch("double precision", other)),
        };
        let Some(before) = self.sum else {
            self.sum = Some(value);
            return Ok(());
        };
        // Sums of real are kept in real, as PostgreSQL does.
        let sum = if self.single { f64::from((before as f32) + (value as f32)) } else { before + value };
        if sum.is_infinite() && before.is_finite() && value.is_finite() {
            return Err(crate::functions::arithmetic::float_overflow());
        }
        self.sum = Some(sum);
        Ok(())
    }

    fn finish(&self) -> Result<Value, Error> {
        Ok(match self.sum {
            None => Value::Null,
            Some(sum) if self.single => Value::Float4(sum as f32),
            Some(sum) => Value::Float8(sum),
        })
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![self.sum.map_or(Value::Null, Value::Float8)])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        self.update(saved)
    }
}

#[derive(Default)]
pub(super) struct FloatAverage {
    sum: f64,
    count: f64,
}

impl Accumulator for FloatAverage {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        let value = match &arguments[0] {
            Value::Null => return Ok(()),
            Value::Float4(value) => f64::from(*value),
            Value::Float8(value) => *value,
            other => return Err(mismatch("double precision", other)),
        };
        let sum = self.sum + value;
        if sum.is_infinite() && self.sum.is_finite() && value.is_finite() {
            return Err(crate::functions::arithmetic::float_overflow());
        }
        self.sum = sum;
        self.count += 1.0;
        Ok(())
    }

    fn finish(&self) -> Result<Value, Error> {
        Ok(if self.count == 0.0 { Value::Null } else { Value::Float8(self.sum / self.count) })
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![Value::Float8(self.sum), Value::Float8(self.count)])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        if let (Value::Float8(sum), Value::Float8(count)) = (&saved[0], &saved[1]) {
            self.sum += sum;
            self.count += count;
        }
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct NumericSum {
    sum: Option<Numeric>,
}

impl Accumulator for NumericSum {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        match &arguments[0] {
            Value::Null => {}
            Value::Numeric(value) => {
                self.sum = Some(match &self.sum {
                    Some(sum) => sum.add(value)?,
                    None => *value,
                });
            }
            other => return Err(mismatch("numeric", other)),
        }
        Ok(())
    }

    fn finish(&self) -> Result<Value, Error> {
        Ok(self.sum.map_or(Value::Null, Value::Numeric))
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![self.finish()?])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        self.update(saved)
    }
}

#[derive(Default)]
pub(super) struct NumericAverage {
    sum: NumericSum,
    count: i64,
}

impl Accumulator for NumericAverage {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        self.count += i64::from(!arguments[0].is_null());
        self.sum.update(arguments)
    }

    fn finish(&self) -> Result<Value, Error> {
        match self.sum.sum {
            Some(sum) => sum.div(&Numeric::from(self.count)).map(Value::Numeric),
            None => Ok(Value::Null),
        }
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![self.sum.finish()?, Value::Int64(self.count)])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        self.sum.merge(saved)?;
        self.count += saved[1].as_i64().unwrap_or(0);
        Ok(())
    }
}

#[derive(Default)]
pub(super) struct IntervalSum {
    sum: Option<Interval>,
}

impl Accumulator for IntervalSum {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        match &arguments[0] {
            Value::Null => {}
            Value::Interval(value) => {
                self.sum = Some(match &self.sum {
                    Some(sum) => sum.add(value)?,
                    None => *value,
                });
            }
            other => return Err(mismatch("interval", other)),
        }
        Ok(())
    }

    fn finish(&self) -> Result<Value, Error> {
        Ok(self.sum.map_or(Value::Null, Value::Interval))
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![self.finish()?])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        self.update(saved)
    }
}

#[derive(Default)]
pub(super) struct IntervalAverage {
    sum: IntervalSum,
    count: i64,
}

impl Accumulator for IntervalAverage {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        self.count += i64::from(!arguments[0].is_null());
        self.sum.update(arguments)
    }

    fn finish(&self) -> Result<Value, Error> {
        match self.sum.sum {
            Some(sum) => sum.div(self.count as f64).map(Value::Interval),
            None => Ok(Value::Null),
        }
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![self.sum.finish()?, Value::Int64(self.count)])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        self.sum.merge(saved)?;
        self.count += saved[1].as_i64().unwrap_or(0);
        Ok(())
    }
}
