//! generate_series(): its values one after the other, or all of them as an array.

use super::expression::{Expr, Scope};
use crate::error::{Error, SqlState};
use crate::functions::{BinaryFn, EvalContext};
use crate::types::Type;
use crate::value::{Array, Value};

/// Most values that a series may have where it has to be held as a whole.
const HELD_MAX: usize = 10_000_000;
/// Values that are made at once.
const STEP: usize = 1024;

/// generate_series(start, stop, step).
#[derive(Clone, Debug)]
pub struct SeriesPlan {
    /// The first value.
    pub start: Expr,
    /// No value lies beyond it.
    pub stop: Expr,
    /// What is added each time; not zero.
    pub step: Expr,
    /// The addition.
    pub add: BinaryFn,
    /// The type of the values.
    pub ty: Type,
}

impl SeriesPlan {
    /// The series for a row; `None` if an argument is NULL.
    ///
    /// # Errors
    /// 22023 for a step of zero; what the arguments report.
    pub fn start(&self, scope: &Scope<'_>, row: &[Value]) -> Result<Option<Series>, Error> {
        let (next, stop, step) =
            (self.start.eval(scope, row)?, self.stop.eval(scope, row)?, self.step.eval(scope, row)?);
        if next.is_null() || stop.is_null() || step.is_null() {
            return Ok(None);
        }
        let sign = match &step {
            Value::Numeric(step) => step.signum(),
            Value::Interval(step) => step.span().signum() as i32,
            other => other.as_i64().map_or(0, |step| step.signum() as i32),
        };
        if sign == 0 {
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "step size cannot equal zero"));
        }
        Ok(Some(Series { next, stop, step, upwards: sign > 0 }))
    }

    /// All values for a row.
    ///
    /// # Errors
    /// As [`SeriesPlan::start`]; 53200 for a very long series.
    pub fn array(&self, scope: &Scope<'_>, row: &[Value]) -> Result<Value, Error> {
        let mut values = Vec::new();
        if let Some(mut series) = self.start(scope, row)? {
            while series.take(self, scope.context, STEP, &mut values)? {
                if values.len() > HELD_MAX {
                    let message = format!("a series of more than {HELD_MAX} values can only stand alone in FROM");
                    return Err(Error::new(SqlState::OUT_OF_MEMORY, message));
                }
            }
        }
        Ok(Value::Array(Array::new(self.ty.clone(), values).into()))
    }
}

/// A running generate_series().
pub struct Series {
    next: Value,
    stop: Value,
    step: Value,
    upwards: bool,
}

impl Series {
    /// Adds up to `most` further values, and says whether there may be more.
    ///
    /// # Errors
    /// What the addition reports.
    pub fn take(
        &mut self,
        plan: &SeriesPlan,
        context: &dyn EvalContext,
        most: usize,
        values: &mut Vec<Value>,
    ) -> Result<bool, Error> {
        for _ in 0..most {
            let beyond = if self.upwards { self.next > self.stop } else { self.next < self.stop };
            if beyond {
                return Ok(false);
            }
            let following = match plan.add.call(context, &self.next, &self.step) {
                Ok(following) => following,
                // The type ends before the series does.
                Err(error) if error.code == SqlState::NUMERIC_VALUE_OUT_OF_RANGE => {
                    values.push(self.next.clone());
                    return Ok(false);
                }
                Err(error) => return Err(error),
            };
            values.push(std::mem::replace(&mut self.next, following));
        }
        Ok(true)
    }
}
