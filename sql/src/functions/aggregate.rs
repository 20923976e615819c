//! Aggregate functions.
//!
//! [`resolve_aggregate`] finds one; the executor makes an [`Accumulator`] per group and feeds it. Filters, DISTINCT and the order of
//! input are the executor's; `count(*)` is `count` without arguments. NULLs are skipped by the accumulators themselves.

use std::collections::HashSet;

use crate::error::Error;
use crate::functions::resolve::{ANY, Choice, choose};
use crate::functions::system::no_function;
use crate::types::Type;
use crate::value::{Array, Row, Value};

mod regression;
mod sums;
mod variance;

/// The state of one aggregate for one group.
pub trait Accumulator: Send + Sync {
    /// Takes in one row's arguments.
    ///
    /// # Errors
    /// 22003 when a sum overflows.
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error>;

    /// The result over all rows taken in so far.
    ///
    /// # Errors
    /// 22003 when the result does not fit its type.
    fn finish(&self) -> Result<Value, Error>;

    /// What another state of the same aggregate takes in with [`Accumulator::merge`]: values of [`AggregateSig::state_types`].
    ///
    /// # Errors
    /// 22003 when a sum does not fit a value any more.
    fn save(&self) -> Result<Row, Error>;

    /// Takes in what another state has seen.
    ///
    /// # Errors
    /// 22003 when a sum overflows.
    fn merge(&mut self, saved: &[Value]) -> Result<(), Error>;

    /// Bytes of memory beyond a small constant, for accounting.
    fn memory(&self) -> usize {
        0
    }
}

/// An aggregate function for certain types.
#[derive(Clone, Debug)]
pub struct AggregateSig {
    /// Its name.
    pub name: String,
    /// The types to cast the arguments to.
    pub arguments: Vec<Type>,
    /// The type of the result.
    pub result: Type,
    make: Make,
}

type Make = fn(&[Type]) -> Box<dyn Accumulator>;

impl AggregateSig {
    /// An empty state.
    pub fn new_state(&self) -> Box<dyn Accumulator> {
        (self.make)(&self.arguments)
    }

    /// The types of what [`Accumulator::save`] gives.
    pub fn state_types(&self) -> Vec<Type> {
        let argument = self.arguments.first().cloned().unwrap_or(Type::Bool);
        match (self.name.as_str(), &self.result) {
            ("count", _) => vec![Type::Int64],
            ("sum", Type::Float4 | Type::Float8) => vec![Type::Float8],
            ("sum", Type::Interval) => vec![Type::Interval],
            ("sum", _) => vec![NUMERIC],
            ("avg", Type::Float8) => vec![Type::Float8, Type::Float8],
            ("avg", Type::Interval) => vec![Type::Interval, Type::Int64],
            ("avg", _) => vec![NUMERIC, Type::Int64],
            ("min" | "max", _) => vec![argument],
            ("string_agg", _) => vec![self.result.clone(), self.result.clone()],
            (name, Type::Float8) if is_variance(name) => vec![Type::Float8; 3],
            (name, _) if is_variance(name) => {
                vec![Type::Int64, Type::Int32, Type::Text, Type::Text, Type::Bool]
            }
            (name, _) if is_regression(name) => vec![Type::Float8; regression::STATE],
            // Bits, truth values and arrays are their own states.
            _ => vec![self.result.clone()],
        }
    }
}

struct Entry {
    name: &'static str,
    arguments: &'static [Type],
    result: Type,
    make: Make,
}

macro_rules! entries {
    ($($name:literal ($($argument:expr),*) -> $result:expr, $make:expr;)*) => {
        &[$(Entry { name: $name, arguments: &[$($argument),*], result: $result, make: $make }),*]
    };
}

const NUMERIC: Type = Type::Numeric(None);
const BPCHAR: Type = Type::Char(None);
const TIMESTAMP: Type = Type::Timestamp(None);
const TIMESTAMPTZ: Type = Type::TimestampTz(None);
const TIME: Type = Type::Time(None);

fn min(_: &[Type]) -> Box<dyn Accumulator> {
    Box::new(Extreme { best: Value::Null, wanted: std::cmp::Ordering::Less })
}

fn max(_: &[Type]) -> Box<dyn Accumulator> {
    Box::new(Extreme { best: Value::Null, wanted: std::cmp::Ordering::Greater })
}

/// `min` and `max` exist for these types only, as in PostgreSQL; `varchar` goes by `text`.
const ORDERED: &[Type] = &[
    Type::Int64,
    Type::Int32,
    Type::Int16,
    Type::Oid,
    Type::Float4,
    Type::Float8,
    NUMERIC,
    Type::Text,
    BPCHAR,
    Type::Date,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    Type::Interval,
];

const TABLE: &[Entry] = entries! {
    "count"() -> Type::Int64, |_| Box::new(Count(0));
    "count"(ANY) -> Type::Int64, |_| Box::new(Count(0));
    "sum"(Type::Int64) -> NUMERIC, |_| Box::new(sums::IntegerSum::<true>::default());
    "sum"(Type::Int32) -> Type::Int64, |_| Box::new(sums::IntegerSum::<false>::default());
    "sum"(Type::Int16) -> Type::Int64, |_| Box::new(sums::IntegerSum::<false>::default());
    "sum"(Type::Float4) -> Type::Float4, |_| Box::new(sums::FloatSum { single: true, sum: None });
    "sum"(Type::Float8) -> Type::Float8, |_| Box::new(sums::FloatSum { single: false, sum: None });
    "sum"(NUMERIC) -> NUMERIC, |_| Box::new(sums::NumericSum::default());
    "sum"(Type::Interval) -> Type::Interval, |_| Box::new(sums::IntervalSum::default());
    "avg"(Type::Int64) -> NUMERIC, |_| Box::new(sums::IntegerAverage::default());
    "avg"(Type::Int32) -> NUMERIC, |_| Box::new(sums::IntegerAverage::default());
    "avg"(Type::Int16) -> NUMERIC, |_| Box::new(sums::IntegerAverage::default());
    "avg"(NUMERIC) -> NUMERIC, |_| Box::new(sums::NumericAverage::default());
    "avg"(Type::Float4) -> Type::Float8, |_| Box::new(sums::FloatAverage::default());
    "avg"(Type::Float8) -> Type::Float8, |_| Box::new(sums::FloatAverage::default());
    "avg"(Type::Interval) -> Type::Interval, |_| Box::new(sums::IntervalAverage::default());
    "bool_and"(Type::Bool) -> Type::Bool, |_| Box::new(BoolFold { result: None, stop: false });
    "every"(Type::Bool) -> Type::Bool, |_| Box::new(BoolFold { result: None, stop: false });
    "bool_or"(Type::Bool) -> Type::Bool, |_| Box::new(BoolFold { result: None, stop: true });
    "bit_and"(Type::Int16) -> Type::Int16, |_| Box::new(BitFold { result: Value::Null, fold: |a, b| a & b });
    "bit_and"(Type::Int32) -> Type::Int32, |_| Box::new(BitFold { result: Value::Null, fold: |a, b| a & b });
    "bit_and"(Type::Int64) -> Type::Int64, |_| Box::new(BitFold { result: Value::Null, fold: |a, b| a & b });
    "bit_or"(Type::Int16) -> Type::Int16, |_| Box::new(BitFold { result: Value::Null, fold: |a, b| a | b });
    "bit_or"(Type::Int32) -> Type::Int32, |_| Box::new(BitFold { result: Value::Null, fold: |a, b| a | b });
    "bit_or"(Type::Int64) -> Type::Int64, |_| Box::new(BitFold { result: Value::Null, fold: |a, b| a | b });
    "bit_xor"(Type::Int16) -> Type::Int16, |_| Box::new(BitFold { result: Value::Null, fold: |a, b| a ^ b });
    "bit_xor"(Type::Int32) -> Type::Int32, |_| Box::new(BitFold { result: Value::Null, fold: |a, b| a ^ b });
    "bit_xor"(Type::Int64) -> Type::Int64, |_| Box::new(BitFold { result: Value::Null, fold: |a, b| a ^ b });
    "string_agg"(Type::Text, Type::Text) -> Type::Text, |_| Box::new(StringAgg { result: None, first: Value::Null });
    "string_agg"(Type::Bytea, Type::Bytea) -> Type::Bytea, |_| Box::new(BytesAgg { result: None, first: Value::Null });
    "array_agg"(ANY) -> ANY, |arguments| Box::new(ArrayAgg { element: arguments[0].clone(), values: Vec::new(), memory: 0 });
    "stddev"(NUMERIC) -> NUMERIC, |_| variance::numeric(variance::Kind::StddevSample);
    "stddev_samp"(NUMERIC) -> NUMERIC, |_| variance::numeric(variance::Kind::StddevSample);
    "stddev_pop"(NUMERIC) -> NUMERIC, |_| variance::numeric(variance::Kind::StddevPopulation);
    "variance"(NUMERIC) -> NUMERIC, |_| variance::numeric(variance::Kind::VarianceSample);
    "var_samp"(NUMERIC) -> NUMERIC, |_| variance::numeric(variance::Kind::VarianceSample);
    "var_pop"(NUMERIC) -> NUMERIC, |_| variance::numeric(variance::Kind::VariancePopulation);
    "stddev"(Type::Float8) -> Type::Float8, |_| variance::float(variance::Kind::StddevSample);
    "stddev_samp"(Type::Float8) -> Type::Float8, |_| variance::float(variance::Kind::StddevSample);
    "stddev_pop"(Type::Float8) -> Type::Float8, |_| variance::float(variance::Kind::StddevPopulation);
    "variance"(Type::Float8) -> Type::Float8, |_| variance::float(variance::Kind::VarianceSample);
    "var_samp"(Type::Float8) -> Type::Float8, |_| variance::float(variance::Kind::VarianceSample);
    "var_pop"(Type::Float8) -> Type::Float8, |_| variance::float(variance::Kind::VariancePopulation);
    "corr"(Type::Float8, Type::Float8) -> Type::Float8, |_| regression::pairs(regression::Kind::Correlation);
    "covar_pop"(Type::Float8, Type::Float8) -> Type::Float8, |_| regression::pairs(regression::Kind::CovariancePopulation);
    "covar_samp"(Type::Float8, Type::Float8) -> Type::Float8, |_| regression::pairs(regression::Kind::CovarianceSample);
    "regr_avgx"(Type::Float8, Type::Float8) -> Type::Float8, |_| regression::pairs(regression::Kind::AverageX);
    "regr_avgy"(Type::Float8, Type::Float8) -> Type::Float8, |_| regression::pairs(regression::Kind::AverageY);
    "regr_intercept"(Type::Float8, Type::Float8) -> Type::Float8, |_| regression::pairs(regression::Kind::Intercept);
    "regr_r2"(Type::Float8, Type::Float8) -> Type::Float8, |_| regression::pairs(regression::Kind::Determination);
    "regr_slope"(Type::Float8, Type::Float8) -> Type::Float8, |_| regression::pairs(regression::Kind::Slope);
    "regr_sxx"(Type::Float8, Type::Float8) -> Type::Float8, |_| regression::pairs(regression::Kind::SquaresX);
    "regr_sxy"(Type::Float8, Type::Float8) -> Type::Float8, |_| regression::pairs(regression::Kind::Products);
    "regr_syy"(Type::Float8, Type::Float8) -> Type::Float8, |_| regression::pairs(regression::Kind::SquaresY);
    "regr_count"(Type::Float8, Type::Float8) -> Type::Int64, |_| regression::pairs(regression::Kind::Count);
};

/// Name, arguments and result of all aggregates; `min` and `max`, which take any type that has an order, last.
pub(super) fn listed() -> impl Iterator<Item = (&'static str, &'static [Type], &'static Type)> {
    const ONE: &[Type] = &[ANY];
    let table = TABLE.iter().map(|entry| (entry.name, entry.arguments, &entry.result));
    table.chain(["min", "max"].map(|name| (name, ONE, &ONE[0])))
}

/// Whether there is an aggregate of this name (in lower case).
pub fn is_aggregate(name: &str) -> bool {
    matches!(name, "min" | "max") || TABLE.iter().any(|entry| entry.name == name)
}

/// The aggregate for arguments of these types; none for `count(*)`.
///
/// # Errors
/// 42883 if there is none, 42725 if several fit equally well.
pub fn resolve_aggregate(name: &str, arguments: &[Type]) -> Result<AggregateSig, Error> {
    if let "min" | "max" = name {
        return resolve_extreme(name, arguments);
    }
    let base: Vec<Type> = arguments.iter().map(Type::base).collect();
    // Variances exist for each integer type in PostgreSQL, and answer as for numeric.
    let variance = is_variance(name);
    let asked: Vec<Type> =
        base.iter().map(|ty| if variance && ty.is_integer() { NUMERIC } else { ty.clone() }).collect();
    let candidates = TABLE.iter().filter(|entry| entry.name == name).map(|entry| (entry, entry.arguments));
    let entry = match choose(candidates, &asked) {
        Choice::One(entry) => entry,
        Choice::None => return Err(no_function(name, arguments)),
        Choice::Ambiguous => return Err(super::system::ambiguous_function(name, arguments)),
    };
    let resolved: Vec<Type> = entry
        .arguments
        .iter()
        .zip(arguments)
        .map(|(parameter, given)| match (parameter, given) {
            (parameter, Type::Unknown) if parameter.same_base(&ANY) => Type::Text,
            (parameter, given) if parameter.same_base(&ANY) => given.clone(),
            (parameter, given) if parameter.same_base(given) => given.clone(),
            (parameter, _) => parameter.clone(),
        })
        .collect();
    let result = if entry.result.same_base(&ANY) { array_of(&resolved[0])? } else { entry.result.clone() };
    Ok(AggregateSig { name: name.to_owned(), arguments: resolved, result, make: entry.make })
}

fn is_variance(name: &str) -> bool {
    name.starts_with("stddev") || name.starts_with("var")
}

fn is_regression(name: &str) -> bool {
    name == "corr" || name.starts_with("covar_") || name.starts_with("regr_")
}

fn array_of(element: &Type) -> Result<Type, Error> {
    if matches!(element, Type::Array(_)) {
        return Err(Error::unsupported("an array of arrays", ""));
    }
    Ok(Type::Array(Box::new(element.base())))
}

fn resolve_extreme(name: &str, arguments: &[Type]) -> Result<AggregateSig, Error> {
    let base: Vec<Type> = arguments.iter().map(Type::base).collect();
    let ty = match choose(ORDERED.iter().map(|ty| (ty, std::slice::from_ref(ty))), &base) {
        Choice::One(ty) => ty.clone(),
        Choice::None => return Err(no_function(name, arguments)),
        Choice::Ambiguous => return Err(super::system::ambiguous_function(name, arguments)),
    };
    let make = if name == "min" { min } else { max };
    Ok(AggregateSig { name: name.to_owned(), arguments: vec![ty.clone()], result: ty, make })
}

struct Count(i64);

impl Accumulator for Count {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        if !arguments.first().is_some_and(Value::is_null) {
            self.0 += 1;
        }
        Ok(())
    }

    fn finish(&self) -> Result<Value, Error> {
        Ok(Value::Int64(self.0))
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![Value::Int64(self.0)])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        self.0 += saved[0].as_i64().unwrap_or(0);
        Ok(())
    }
}

struct Extreme {
    best: Value,
    wanted: std::cmp::Ordering,
}

impl Accumulator for Extreme {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        let value = &arguments[0];
        if !value.is_null() && (self.best.is_null() || value.cmp(&self.best) == self.wanted) {
            self.best = value.clone();
        }
        Ok(())
    }

    fn finish(&self) -> Result<Value, Error> {
        Ok(self.best.clone())
    }

    fn memory(&self) -> usize {
        self.best.memory()
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![self.finish()?])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        self.update(saved)
    }
}

/// `bool_and` stops caring at the first false, `bool_or` at the first true.
struct BoolFold {
    result: Option<bool>,
    stop: bool,
}

impl Accumulator for BoolFold {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        if let Some(value) = arguments[0].as_bool()?
            && self.result != Some(self.stop)
        {
            self.result = Some(value);
        }
        Ok(())
    }

    fn finish(&self) -> Result<Value, Error> {
        Ok(self.result.into())
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![self.finish()?])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        self.update(saved)
    }
}

struct BitFold {
    result: Value,
    fold: fn(i64, i64) -> i64,
}

impl Accumulator for BitFold {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        self.result = match (&self.result, &arguments[0]) {
            (_, Value::Null) => return Ok(()),
            (Value::Null, value) => value.clone(),
            // Bitwise results stay in the range of their sign-extended operands.
            (Value::Int16(a), Value::Int16(b)) => Value::Int16((self.fold)(i64::from(*a), i64::from(*b)) as i16),
            (Value::Int32(a), Value::Int32(b)) => Value::Int32((self.fold)(i64::from(*a), i64::from(*b)) as i32),
            (Value::Int64(a), Value::Int64(b)) => Value::Int64((self.fold)(*a, *b)),
            (_, value) => return Err(crate::value::mismatch("integer", value)),
        };
        Ok(())
    }

    fn finish(&self) -> Result<Value, Error> {
        Ok(self.result.clone())
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![self.finish()?])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        self.update(saved)
    }
}

struct StringAgg {
    result: Option<String>,
    /// The delimiter of the first text, for the state that takes this one in behind its own.
    first: Value,
}

impl Accumulator for StringAgg {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        let Some(text) = arguments[0].as_str() else { return Ok(()) };
        match &mut self.result {
            // The delimiter comes with the row that it precedes.
            Some(result) => {
                result.push_str(arguments[1].as_str().unwrap_or(""));
                result.push_str(text);
            }
            None => {
                self.result = Some(text.to_owned());
                self.first = arguments[1].clone();
            }
        }
        Ok(())
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![self.finish()?, self.first.clone()])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        self.update(saved)
    }

    fn finish(&self) -> Result<Value, Error> {
        Ok(self.result.as_deref().into())
    }

    fn memory(&self) -> usize {
        self.result.as_ref().map_or(0, String::capacity)
    }
}

struct BytesAgg {
    result: Option<Vec<u8>>,
    /// As in [`StringAgg`].
    first: Value,
}

impl Accumulator for BytesAgg {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        let Value::Bytes(bytes) = &arguments[0] else { return Ok(()) };
        match &mut self.result {
            Some(result) => {
                if let Value::Bytes(delimiter) = &arguments[1] {
                    result.extend_from_slice(delimiter);
                }
                result.extend_from_slice(bytes);
            }
            None => {
                self.result = Some(bytes.to_vec());
                self.first = arguments[1].clone();
            }
        }
        Ok(())
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![self.finish()?, self.first.clone()])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        self.update(saved)
    }

    fn finish(&self) -> Result<Value, Error> {
        Ok(self.result.as_deref().map_or(Value::Null, Value::bytes))
    }

    fn memory(&self) -> usize {
        self.result.as_ref().map_or(0, Vec::capacity)
    }
}

struct ArrayAgg {
    element: Type,
    values: Vec<Value>,
    memory: usize,
}

impl Accumulator for ArrayAgg {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        self.memory += arguments[0].memory();
        self.values.push(arguments[0].clone());
        Ok(())
    }

    fn finish(&self) -> Result<Value, Error> {
        if self.values.is_empty() {
            return Ok(Value::Null);
        }
        Ok(Value::Array(std::sync::Arc::new(Array::new(self.element.base(), self.values.clone()))))
    }

    fn memory(&self) -> usize {
        self.memory
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![self.finish()?])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        if let Value::Array(array) = &saved[0] {
            for value in array.values() {
                self.update(std::slice::from_ref(value))?;
            }
        }
        Ok(())
    }
}

/// Rows already seen, for `DISTINCT` in aggregates.
#[derive(Default)]
pub struct Seen {
    rows: HashSet<Vec<Value>>,
    memory: usize,
}

impl Seen {
    /// Notes the arguments; whether they are new.
    pub fn insert(&mut self, arguments: &[Value]) -> bool {
        let new = self.rows.insert(arguments.to_vec());
        if new {
            self.memory += arguments.iter().map(Value::memory).sum::<usize>() + 48;
        }
        new
    }

    /// Bytes of memory, for accounting.
    pub fn memory(&self) -> usize {
        self.memory
    }
}

#[cfg(test)]
mod tests;
