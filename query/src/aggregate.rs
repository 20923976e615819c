//! The SQL engine's aggregates as those of the relational one.
//!
//! DISTINCT and ORDER BY inside a call are seen to here, over whole rows of arguments: equality and order are then PostgreSQL's for every type. A
//! state that is passed on (between the halves of a grouping, or to disk) is the saved values of the aggregate, or with DISTINCT or ORDER BY all rows.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result as EngineResult, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, TypeSignature, Volatility};
use quorate_sql::error::{Error, SqlState};
use quorate_sql::exec::{order_of, row_memory};
use quorate_sql::functions::{Accumulator as State, AggregateSig};
use quorate_sql::row::RowCodec;
use quorate_sql::types::Type;
use quorate_sql::value::{Row, Value};

use crate::column::{ColumnReader, data_type, scalar};
use crate::error::to_engine;

static NUMBER: AtomicU64 = AtomicU64::new(1);

/// What is worked out over the rows of a group.
#[derive(Clone, Debug)]
pub enum Function {
    /// An aggregate function.
    Of(AggregateSig),
    /// The first value that comes, for columns that are the same in all rows of a group.
    Any,
    /// The only value, for scalar subqueries; 21000 if there is another row.
    Only,
}

/// A call of an aggregate.
pub struct Aggregate {
    number: u64,
    name: String,
    function: Function,
    /// Types of the arguments, then of the sort keys.
    types: Vec<Type>,
    arguments: usize,
    /// Of each sort key: descending, NULLs first.
    order: Vec<(bool, bool)>,
    distinct: bool,
    result: Type,
    signature: Signature,
}

impl Aggregate {
    /// The function for one call. Its arguments are those of the aggregate, then the sort keys; a single constant if there are none.
    pub fn function(
        function: Function,
        types: Vec<Type>,
        order: Vec<(bool, bool)>,
        distinct: bool,
        result: Type,
    ) -> Arc<AggregateUDF> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let signature = Signature::new(TypeSignature::VariadicAny, Volatility::Immutable);
        let arguments = types.len() - order.len();
        Arc::new(AggregateUDF::new_from_impl(Aggregate {
            number,
            name: format!("aggregate{number}"),
            function,
            types,
            arguments,
            order,
            distinct,
            result,
            signature,
        }))
    }

    /// Whether the rows of a group are kept until its end.
    fn keeps_rows(&self) -> bool {
        self.distinct || !self.order.is_empty()
    }

    fn state_types(&self) -> Vec<Type> {
        match &self.function {
            _ if self.keeps_rows() => vec![Type::Bytea],
            Function::Of(function) => function.state_types(),
            Function::Any | Function::Only => vec![Type::Bool, self.result.clone()],
        }
    }

    fn state(&self) -> Running {
        let state = match &self.function {
            Function::Of(function) => function.new_state(),
            Function::Any => Box::new(First { value: None, only: false }),
            Function::Only => Box::new(First { value: None, only: true }),
        };
        Running {
            state,
            saved: self.state_types(),
            types: self.types.clone(),
            arguments: self.arguments,
            order: self.order.clone(),
            result: self.result.clone(),
            seen: self.distinct.then(HashSet::new),
            kept: Vec::new(),
            keeps: self.keeps_rows(),
            held: 0,
        }
    }
}

impl fmt::Debug for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregate")
            .field("number", &self.number)
            .field("function", &self.function)
            .finish_non_exhaustive()
    }
}

impl PartialEq for Aggregate {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Aggregate {}

impl Hash for Aggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(data_type(&self.result))
    }

    fn accumulator(&self, _: AccumulatorArgs) -> EngineResult<Box<dyn Accumulator>> {
        Ok(Box::new(self.state()))
    }

    fn create_sliding_accumulator(&self, _: AccumulatorArgs) -> EngineResult<Box<dyn Accumulator>> {
        let Function::Of(function) = &self.function else {
            return Err(to_engine(Error::internal("not an aggregate over a window")));
        };
        let (function, types, result) = (function.clone(), self.types.clone(), self.result.clone());
        Ok(Box::new(Sliding { function, types, result, rows: VecDeque::new(), held: 0 }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> EngineResult<Vec<FieldRef>> {
        let field = |(n, ty): (usize, &Type)| Arc::new(Field::new(format!("{} {n}", args.name), data_type(ty), true));
        Ok(self.state_types().iter().enumerate().map(field).collect())
    }
}

/// The rows of some argument columns.
fn rows<'v>(
    values: &'v [ArrayRef],
    types: &[Type],
) -> Result<impl Iterator<Item = Result<Row, Error>> + use<'v>, Error> {
    let count = values.first().map_or(0, |array| array.len());
    // Without arguments there is one constant column, which only counts.
    let readers: Vec<ColumnReader> =
        values.iter().zip(types).map(|(array, ty)| ColumnReader::new(array.clone(), ty)).collect::<Result<_, _>>()?;
    Ok((0..count).map(move |n| readers.iter().map(|reader| reader.value(n)).collect()))
}

/// One group's state.
struct Running {
    state: Box<dyn State>,
    /// Types of what is passed on.
    saved: Vec<Type>,
    types: Vec<Type>,
    arguments: usize,
    order: Vec<(bool, bool)>,
    result: Type,
    seen: Option<HashSet<Row>>,
    /// With ORDER BY or DISTINCT: all rows, arguments before sort keys.
    kept: Vec<Row>,
    keeps: bool,
    held: usize,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").finish_non_exhaustive()
    }
}

impl Running {
    fn take(&mut self, row: Row) -> Result<(), Error> {
        if let Some(seen) = &mut self.seen {
            let arguments = row[..self.arguments].to_vec();
            let bytes = row_memory(&arguments);
            if !seen.insert(arguments) {
                return Ok(());
            }
            self.held += bytes;
        }
        if !self.keeps {
            return self.state.update(&row);
        }
        self.held += row_memory(&row);
        self.kept.push(row);
        Ok(())
    }

    fn save(&mut self) -> Result<Vec<ScalarValue>, Error> {
        if !self.keeps {
            return self.state.save()?.iter().zip(&self.saved).map(|(value, ty)| scalar(value, ty)).collect();
        }
        let codec = RowCodec::new(self.types.iter().map(Type::base));
        let mut bytes = Vec::new();
        for row in std::mem::take(&mut self.kept) {
            let row = codec.encode(&row)?;
            let length = u32::try_from(row.len()).map_err(|_| Error::internal("a row of more than 4 GiB"))?;
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(&row);
        }
        Ok(vec![scalar(&Value::bytes(bytes), &Type::Bytea)?])
    }

    fn merge(&mut self, states: &[ArrayRef]) -> Result<(), Error> {
        for saved in rows(states, &self.saved)? {
            let saved = saved?;
            if !self.keeps {
                self.state.merge(&saved)?;
                continue;
            }
            let Value::Bytes(bytes) = &saved[0] else { continue };
            let codec = RowCodec::new(self.types.iter().map(Type::base));
            let mut rest = &bytes[..];
            while let Some((length, more)) = rest.split_first_chunk::<4>() {
                let length = u32::from_be_bytes(*length) as usize;
                let row = more.get(..length).ok_or_else(|| Error::internal("a saved row is cut short"))?;
                self.take(codec.decode(row)?)?;
                rest = &more[length..];
            }
        }
        Ok(())
    }

    fn result(&mut self) -> Result<ScalarValue, Error> {
        let mut kept = std::mem::take(&mut self.kept);
        kept.sort_by(|a, b| {
            let keys = self.order.iter().enumerate();
            keys.map(|(n, (descending, nulls_first))| {
                order_of(&a[self.arguments + n], &b[self.arguments + n], *descending, *nulls_first)
            })
            .find(|order| order.is_ne())
            .unwrap_or(std::cmp::Ordering::Equal)
        });
        for row in kept {
            self.state.update(&row[..self.arguments])?;
        }
        scalar(&self.state.finish()?, &self.result)
    }
}

impl Accumulator for Running {
    fn update_batch(&mut self, values: &[ArrayRef]) -> EngineResult<()> {
        let mut take = || -> Result<(), Error> {
            for row in rows(values, &self.types)? {
                self.take(row?)?;
            }
            Ok(())
        };
        take().map_err(to_engine)
    }

    fn evaluate(&mut self) -> EngineResult<ScalarValue> {
        self.result().map_err(to_engine)
    }

    fn size(&self) -> usize {
        std::mem::size_of::<Self>() + self.held + self.state.memory()
    }

    fn state(&mut self) -> EngineResult<Vec<ScalarValue>> {
        self.save().map_err(to_engine)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> EngineResult<()> {
        self.merge(states).map_err(to_engine)
    }
}

/// An aggregate over a frame whose beginning moves: the rows in it are kept, and added up anew for each result.
struct Sliding {
    function: AggregateSig,
    types: Vec<Type>,
    result: Type,
    rows: VecDeque<Row>,
    held: usize,
}

impl fmt::Debug for Sliding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sliding").finish_non_exhaustive()
    }
}

impl Accumulator for Sliding {
    fn update_batch(&mut self, values: &[ArrayRef]) -> EngineResult<()> {
        for row in rows(values, &self.types).map_err(to_engine)? {
            let row = row.map_err(to_engine)?;
            self.held += row_memory(&row);
            self.rows.push_back(row);
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> EngineResult<()> {
        let count = values.first().map_or(0, |array| array.len()).min(self.rows.len());
        for row in self.rows.drain(..count) {
            self.held -= row_memory(&row);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> EngineResult<ScalarValue> {
        let result = || -> Result<ScalarValue, Error> {
            let mut state = self.function.new_state();
            for row in &self.rows {
                state.update(row)?;
            }
            scalar(&state.finish()?, &self.result)
        };
        result().map_err(to_engine)
    }

    fn size(&self) -> usize {
        std::mem::size_of::<Self>() + self.held
    }

    fn state(&mut self) -> EngineResult<Vec<ScalarValue>> {
        Err(to_engine(Error::internal("a frame is worked out in one place")))
    }

    fn merge_batch(&mut self, _: &[ArrayRef]) -> EngineResult<()> {
        Err(to_engine(Error::internal("a frame is worked out in one place")))
    }
}

/// The first value.
struct First {
    value: Option<Value>,
    only: bool,
}

impl State for First {
    fn update(&mut self, arguments: &[Value]) -> Result<(), Error> {
        if self.value.is_none() {
            self.value = Some(arguments[0].clone());
        } else if self.only {
            let message = "more than one row returned by a subquery used as an expression";
            return Err(Error::new(SqlState::CARDINALITY_VIOLATION, message));
        }
        Ok(())
    }

    fn finish(&self) -> Result<Value, Error> {
        Ok(self.value.clone().unwrap_or(Value::Null))
    }

    fn save(&self) -> Result<Row, Error> {
        Ok(vec![Value::Bool(self.value.is_some()), self.finish()?])
    }

    fn merge(&mut self, saved: &[Value]) -> Result<(), Error> {
        if saved[0].is_true()? { self.update(&saved[1..]) } else { Ok(()) }
    }

    fn memory(&self) -> usize {
        self.value.as_ref().map_or(0, Value::memory)
    }
}
