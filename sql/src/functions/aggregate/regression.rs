//! Covariances, correlation, and the line of least squares through pairs of numbers.

use crate::error::Error;
use crate::functions::aggregate::Accumulator;
use crate::functions::arithmetic::float_overflow;
use crate::functions::math::float;
use crate::value::{Row, Value};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    CovariancePopulation,
    CovarianceSample,
    Correlation,
    AverageX,
    AverageY,
    Count,
    Intercept,
    Determination,
    Slope,
    SquaresX,
    SquaresY,
    Products,
}

/// Values of a state.
pub(super) const STATE: usize = 6;

pub(super) fn pairs(kind: Kind) -> Box<dyn Accumulator> {
    Box::new(Pairs { kind, sums: Sums::default() })
}

struct Pairs {
    kind: Kind,
    sums: Sums,
}

/// Youngs and Cramer's updating sums for two variables, which PostgreSQL uses too: the squares and products are of the distances from the means.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: f64,
    x: f64,
    squares_x: f64,
    y: f64,
    squares_y: f64,
    products: f64,
}

impl Accumulator for Pairs {
    /// The dependent variable comes first: `corr(y, x)`.
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        if arguments.iter().any(Value::is_null) {
            return Ok(());
        }
        let (y, x) = (float(&arguments[0])?, float(&arguments[1])?);
        let sums = &mut self.sums;
        let were_finite = (sums.x.is_finite(), sums.y.is_finite());
        sums.count += 1.0;
        sums.x += x;
        sums.y += y;
        if sums.count > 1.0 {
            let (from_x, from_y) = (x * sums.count - sums.x, y * sums.count - sums.y);
            let scale = 1.0 / (sums.count * (sums.count - 1.0));
            sums.squares_x += from_x * from_x * scale;
            sums.squares_y += from_y * from_y * scale;
            sums.products += from_x * from_y * scale;
            let (finite_x, finite_y) = (were_finite.0 && x.is_finite(), were_finite.1 && y.is_finite());
            if ((sums.x.is_infinite() || sums.squares_x.is_infinite()) && finite_x)
                || ((sums.y.is_infinite() || sums.squares_y.is_infinite()) && finite_y)
                || (sums.products.is_infinite() && finite_x && finite_y)
            {
                return Err(float_overflow());
            }
        }
        if !sums.x.is_finite() {
            (sums.squares_x, sums.products) = (f64::NAN, f64::NAN);
        }
        if !sums.y.is_finite() {
            (sums.squares_y, sums.products) = (f64::NAN, f64::NAN);
        }
        Ok(())
    }

    fn finish(&self) -> Result<Value, Error> {
        let Sums { count, x, squares_x, y, squares_y, products } = self.sums;
        if self.kind == Kind::Count {
            return Ok(Value::Int64(count as i64));
        }
        let fewest = if self.kind == Kind::CovarianceSample { 2.0 } else { 1.0 };
        let level = match self.kind {
            Kind::Correlation => squares_x == 0.0 || squares_y == 0.0,
            Kind::Determination | Kind::Slope | Kind::Intercept => squares_x == 0.0,
            _ => false,
        };
        if count < fewest || level {
            return Ok(Value::Null);
        }
        Ok(Value::Float8(match self.kind {
            Kind::CovariancePopulation => products / count,
            Kind::CovarianceSample => products / (count - 1.0),
            Kind::Correlation => products / (squares_x * squares_y).sqrt(),
            Kind::AverageX => x / count,
            Kind::AverageY => y / count,
            Kind::Intercept => (y - x * products / squares_x) / count,
            // All on one level line.
            Kind::Determination if squares_y == 0.0 => 1.0,
            Kind::Determination => (products * products) / (squares_x * squares_y),
            Kind::Slope => products / squares_x,
            Kind::SquaresX => squares_x,
            Kind::SquaresY => squares_y,
            Kind::Products | Kind::Count => products,
        }))
    }

    fn save(&self) -> Result<Row, Error> {
        let Sums { count, x, squares_x, y, squares_y, products } = self.sums;
        Ok([count, x, squares_x, y, squares_y, products].map(Value::Float8).into())
    }

    /// As PostgreSQL's `float8_regr_combine`.
    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        let mut numbers = [0.0; STATE];
        for (number, value) in numbers.iter_mut().zip(saved) {
            *number = float(value)?;
        }
        let [count, x, squares_x, y, squares_y, products] = numbers;
        let sums = &mut self.sums;
        if count == 0.0 {
            return Ok(());
        }
        if sums.count == 0.0 {
            *sums = Sums { count, x, squares_x, y, squares_y, products };
            return Ok(());
        }
        let both = sums.count + count;
        let (apart_x, apart_y) = (sums.x / sums.count - x / count, sums.y / sums.count - y / count);
        let weight = sums.count * count / both;
        let merged = Sums {
            count: both,
            x: sums.x + x,
            squares_x: sums.squares_x + squares_x + weight * apart_x * apart_x,
            y: sums.y + y,
            squares_y: sums.squares_y + squares_y + weight * apart_y * apart_y,
            products: sums.products + products + weight * apart_x * apart_y,
        };
        let finite_x = sums.x.is_finite() && x.is_finite();
        let finite_y = sums.y.is_finite() && y.is_finite();
        if (merged.squares_x.is_infinite() && finite_x) || (merged.squares_y.is_infinite() && finite_y) {
            return Err(float_overflow());
        }
        *sums = merged;
        Ok(())
    }
}
