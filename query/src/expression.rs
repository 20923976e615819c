//! Expressions of the SQL engine as functions of the relational one.
//!
//! What both mean in the same way (columns, AND, comparisons of plain types) is translated, so that the optimizer can work with it. Everything else stays
//! what it is, compiled, and becomes a function of the columns that it uses: one set of operators, casts and functions, whichever engine runs.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::arrow::array::ListArray;
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::Result as EngineResult;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use quorate_sql::error::Error;
use quorate_sql::exec::StatementContext;
use quorate_sql::plan::expression::{Expr, Scope, Slot};
use quorate_sql::types::Type;
use quorate_sql::value::Value;

use crate::column::{ColumnBuilder, ColumnReader, data_type, key};
use crate::error::to_engine;

/// What all expressions of one execution are evaluated with.
pub struct Shared {
    /// The session and the statement.
    pub context: StatementContext,
    /// Values of the parameters.
    pub parameters: Vec<Value>,
    /// What was worked out first.
    pub slots: Vec<Slot>,
}

impl Shared {
    /// For evaluation.
    pub fn scope(&self) -> Scope<'_> {
        Scope { context: &self.context, parameters: &self.parameters, slots: &self.slots }
    }
}

/// Functions are told apart by number: each is made for one place of one execution.
static NUMBER: AtomicU64 = AtomicU64::new(1);

fn number() -> u64 {
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// A compiled expression over some columns.
pub struct Compiled {
    number: u64,
    name: String,
    expr: Expr,
    arguments: Vec<Type>,
    result: Type,
    shared: Arc<Shared>,
    signature: Signature,
}

impl Compiled {
    /// The function that evaluates `expr`, whose columns are its arguments by position.
    pub fn function(expr: Expr, arguments: Vec<Type>, result: Type, shared: Arc<Shared>) -> Arc<ScalarUDF> {
        let volatility = if expr.is_volatile() { Volatility::Volatile } else { Volatility::Immutable };
        let number = number();
        let signature = Signature::new(TypeSignature::VariadicAny, volatility);
        let name = format!("expression{number}");
        Arc::new(ScalarUDF::new_from_impl(Compiled { number, name, expr, arguments, result, shared, signature }))
    }
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiled").field("number", &self.number).field("expr", &self.expr).finish_non_exhaustive()
    }
}

impl PartialEq for Compiled {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Compiled {}

impl Hash for Compiled {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.number.hash(state);
    }
}

impl ScalarUDFImpl for Compiled {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(data_type(&self.result))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let evaluate = || -> Result<ColumnarValue, Error> {
            let rows = args.number_rows;
            let columns = readers(&args.args, &self.arguments, rows)?;
            let mut out = ColumnBuilder::new(&self.result, rows);
            let scope = self.shared.scope();
            let mut row = Vec::with_capacity(columns.len());
            for n in 0..rows {
                row.clear();
                for column in &columns {
                    row.push(column.value(n)?);
                }
                out.push(&self.expr.eval(&scope, &row)?)?;
            }
            Ok(ColumnarValue::Array(out.finish()))
        };
        evaluate().map_err(to_engine)
    }
}

fn readers(args: &[ColumnarValue], types: &[Type], rows: usize) -> Result<Vec<ColumnReader>, Error> {
    args.iter()
        .zip(types)
        .map(|(arg, ty)| {
            let array = arg.to_array(rows).map_err(crate::error::from_engine)?;
            ColumnReader::new(array, ty)
        })
        .collect()
}

/// The order-preserving key of a value.
#[derive(Debug)]
pub struct Key {
    name: String,
    ty: Type,
    signature: Signature,
}

impl Key {
    /// The function for values of this type.
    pub fn function(ty: &Type) -> Arc<ScalarUDF> {
        let signature = Signature::new(TypeSignature::VariadicAny, Volatility::Immutable);
        Arc::new(ScalarUDF::new_from_impl(Key { name: format!("key of {ty}"), ty: ty.clone(), signature }))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.ty == other.ty
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.ty.hash(state);
    }
}

impl ScalarUDFImpl for Key {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(DataType::Binary)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let evaluate = || -> Result<ColumnarValue, Error> {
            let columns = readers(&args.args, std::slice::from_ref(&self.ty), args.number_rows)?;
            let mut out = ColumnBuilder::new(&Type::Bytea, args.number_rows);
            let mut bytes = Vec::new();
            for n in 0..args.number_rows {
                match columns[0].value(n)? {
                    Value::Null => out.push(&Value::Null)?,
                    value => {
                        bytes.clear();
                        key(&value, &mut bytes)?;
                        out.push(&Value::bytes(&bytes[..]))?;
                    }
                }
            }
            Ok(ColumnarValue::Array(out.finish()))
        };
        evaluate().map_err(to_engine)
    }
}

/// The elements of an array, as a list that the engine can make rows of. NULL has none.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Elements {
    name: String,
    element: Type,
    signature: Signature,
}

impl Elements {
    /// The function for arrays of this type.
    pub fn function(element: &Type) -> Arc<ScalarUDF> {
        let signature = Signature::new(TypeSignature::VariadicAny, Volatility::Immutable);
        let name = format!("elements of {element}");
        Arc::new(ScalarUDF::new_from_impl(Elements { name, element: element.clone(), signature }))
    }

    fn field(&self) -> FieldRef {
        Arc::new(Field::new("element", data_type(&self.element), true))
    }
}

impl ScalarUDFImpl for Elements {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> EngineResult<DataType> {
        Ok(DataType::List(self.field()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let evaluate = || -> Result<ColumnarValue, Error> {
            let ty = Type::Array(Box::new(self.element.clone()));
            let columns = readers(&args.args, std::slice::from_ref(&ty), args.number_rows)?;
            let mut elements = ColumnBuilder::new(&self.element, args.number_rows);
            let mut lengths = Vec::with_capacity(args.number_rows);
            for n in 0..args.number_rows {
                let mut length = 0;
                if let Value::Array(array) = columns[0].value(n)? {
                    length = array.values().len();
                    for value in array.values() {
                        elements.push(value)?;
                    }
                }
                lengths.push(length);
            }
            let lists = ListArray::try_new(self.field(), OffsetBuffer::from_lengths(lengths), elements.finish(), None);
            let lists = lists.map_err(|error| Error::internal(error.to_string()))?;
            Ok(ColumnarValue::Array(Arc::new(lists)))
        };
        evaluate().map_err(to_engine)
    }
}
