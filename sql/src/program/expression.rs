//! Expressions as data, and back.
//!
//! Operators, functions, casts and aggregates travel by name and types, and are found again as the binder finds them. [`of`] makes sure that they are: what
//! would come back as something else does not travel. What depends on nothing but constants, parameters and the session is worked out before;
//! what depends on the row *and* on the session (time zone, date style, settings, clock, catalog) does not travel at all, so the other end needs no session.

use serde::{Deserialize, Serialize};

use crate::cast::{Cast, CastContext, resolve_cast};
use crate::error::Error;
use crate::functions::{
    BinaryFn, BinaryOp, FunctionSig, UnaryOp, Volatility, resolve_aggregate, resolve_binary, resolve_function,
    resolve_unary,
};
use crate::plan::expression::{Comparison, Expr, Quantified, Special};
use crate::plan::level::AggregateCall;
use crate::types::Type;
use crate::value::Value;

/// Deeper expressions do not travel.
const DEPTH_MAX: usize = 64;

/// An operator with two operands.
#[derive(Serialize, Deserialize)]
pub(super) struct Operator(BinaryOp, Type, Type);

/// A conversion: from, to, whether explicit.
#[derive(Serialize, Deserialize)]
pub(super) struct Conversion(Type, Type, bool);

/// `x op value`, with the conversion of `x`.
#[derive(Serialize, Deserialize)]
pub(super) struct Test {
    op: Operator,
    cast: Option<Conversion>,
    value: Form,
}

/// An expression.
#[derive(Serialize, Deserialize)]
pub(super) enum Form {
    Constant(Value),
    Column(usize),
    Unary(UnaryOp, Type, Box<Form>),
    Binary(Operator, Box<(Form, Form)>),
    Function(String, Vec<Type>, Vec<Form>),
    Cast(Conversion, Box<Form>),
    And(Vec<Form>),
    Or(Vec<Form>),
    Not(Box<Form>),
    IsNull(Box<Form>, bool),
    IsTruth(Box<Form>, bool, bool),
    Distinct(Box<(Form, Form)>, bool),
    Case(Vec<(Form, Form)>, Box<Form>),
    CaseOf(Box<Form>, Vec<(Test, Form)>, Box<Form>),
    Coalesce(Vec<Form>),
    NullIf(Box<(Form, Test)>),
    Extreme(Vec<Form>, bool),
    In(Box<Form>, Vec<Test>, bool),
    Quantified { op: Operator, sides: Box<(Form, Form)>, all: bool, negated: bool },
    Array(Type, Vec<Form>),
    Like { sides: Box<(Form, Form)>, escape: Option<char>, insensitive: bool, negated: bool },
}

/// A call of an aggregate.
#[derive(Serialize, Deserialize)]
pub(super) struct Call {
    name: String,
    types: Vec<Type>,
    arguments: Vec<Form>,
    filter: Option<Form>,
}

/// Works out what is the same for all rows; `None` if that fails, and then the rows shall say so, if there are any.
pub(crate) type Fixed<'f> = &'f mut dyn FnMut(&Expr) -> Option<Value>;

/// The expression as data; `None` if it cannot travel.
pub(super) fn of(expr: &Expr, fixed: Fixed<'_>) -> Option<Form> {
    Maker { fixed, depth: 0 }.form(expr)
}

/// The call as data; `None` if it cannot travel, or states of it cannot be put together to what one state would give, bit by bit. A sum of `numeric` or `interval` at the
/// edge of its type may be refused in parts and not as a whole, which the order of rows decides in one state too.
pub(super) fn of_call(call: &AggregateCall, fixed: Fixed<'_>) -> Option<Call> {
    let function = &call.function;
    let merges = match (function.name.as_str(), &function.result) {
        // Sums of floating point numbers depend on their order.
        ("sum" | "avg", Type::Float4 | Type::Float8) => false,
        (name, _) => {
            matches!(
                name,
                "count" | "sum" | "avg" | "min" | "max" | "bool_and" | "bool_or" | "every" | "bit_and" | "bit_or"
            )
        }
    };
    if !merges || call.distinct || !call.order_by.is_empty() {
        return None;
    }
    let found = resolve_aggregate(&function.name, &function.arguments).ok()?;
    if found.arguments != function.arguments || found.result != function.result {
        return None;
    }
    let mut maker = Maker { fixed, depth: 0 };
    Some(Call {
        name: function.name.clone(),
        types: function.arguments.clone(),
        arguments: maker.all(&call.arguments)?,
        filter: match &call.filter {
            Some(filter) => Some(maker.form(filter)?),
            None => None,
        },
    })
}

struct Maker<'f, 'g> {
    fixed: &'f mut (dyn FnMut(&Expr) -> Option<Value> + 'g),
    depth: usize,
}

impl Maker<'_, '_> {
    fn all(&mut self, exprs: &[Expr]) -> Option<Vec<Form>> {
        exprs.iter().map(|expr| self.form(expr)).collect()
    }

    fn boxed(&mut self, expr: &Expr) -> Option<Box<Form>> {
        self.form(expr).map(Box::new)
    }

    fn pair(&mut self, a: &Expr, b: &Expr) -> Option<Box<(Form, Form)>> {
        Some(Box::new((self.form(a)?, self.form(b)?)))
    }

    fn test(&mut self, comparison: &Comparison) -> Option<Test> {
        let cast = match &comparison.cast {
            Some(cast) => Some(conversion(cast)?),
            None => None,
        };
        Some(Test { op: operator(&comparison.op)?, cast, value: self.form(&comparison.value)? })
    }

    fn form(&mut self, expr: &Expr) -> Option<Form> {
        self.depth += 1;
        let form = if self.depth <= DEPTH_MAX { self.shallow(expr) } else { None };
        self.depth -= 1;
        form
    }

    fn shallow(&mut self, expr: &Expr) -> Option<Form> {
        if let Expr::Constant(value) = expr {
            return Some(Form::Constant(value.clone()));
        }
        if !expr.uses_columns()
            && !expr.is_volatile()
            && let Some(value) = (self.fixed)(expr)
        {
            return Some(Form::Constant(value));
        }
        Some(match expr {
            Expr::Column(place) => Form::Column(*place),
            Expr::Unary(unary) => {
                let (op, argument) = (unary.0.op, &unary.0.argument);
                resolve_unary(op, argument).ok().filter(|found| found.argument == *argument)?;
                Form::Unary(op, argument.clone(), self.boxed(&unary.1)?)
            }
            Expr::Binary(binary) => Form::Binary(operator(&binary.0)?, self.pair(&binary.1, &binary.2)?),
            Expr::Function(function, arguments) => {
                travels(function)?;
                Form::Function(function.name.clone(), function.arguments.clone(), self.all(arguments)?)
            }
            Expr::Cast(cast) => Form::Cast(conversion(&cast.0)?, self.boxed(&cast.1)?),
            Expr::And(operands) => Form::And(self.all(operands)?),
            Expr::Or(operands) => Form::Or(self.all(operands)?),
            Expr::Not(operand) => Form::Not(self.boxed(operand)?),
            Expr::IsNull { operand, negated } => Form::IsNull(self.boxed(operand)?, *negated),
            Expr::IsTruth { operand, truth, negated } => Form::IsTruth(self.boxed(operand)?, *truth, *negated),
            Expr::Distinct { operands, negated } => Form::Distinct(self.pair(&operands.0, &operands.1)?, *negated),
            Expr::Case { branches, otherwise } => {
                let branches = branches
                    .iter()
                    .map(|(when, then)| Some((self.form(when)?, self.form(then)?)))
                    .collect::<Option<_>>()?;
                Form::Case(branches, self.boxed(otherwise)?)
            }
            Expr::CaseOf { operand, branches, otherwise } => {
                let operand = self.boxed(operand)?;
                let branches = branches
                    .iter()
                    .map(|(when, then)| Some((self.test(when)?, self.form(then)?)))
                    .collect::<Option<_>>()?;
                Form::CaseOf(operand, branches, self.boxed(otherwise)?)
            }
            Expr::Coalesce(operands) => Form::Coalesce(self.all(operands)?),
            Expr::NullIf(both) => Form::NullIf(Box::new((self.form(&both.0)?, self.test(&both.1)?))),
            Expr::Extreme { operands, greatest } => Form::Extreme(self.all(operands)?, *greatest),
            Expr::In { operand, list, negated } => {
                let operand = self.boxed(operand)?;
                let list = list.iter().map(|comparison| self.test(comparison)).collect::<Option<_>>()?;
                Form::In(operand, list, *negated)
            }
            Expr::Quantified(any) => Form::Quantified {
                op: operator(&any.op)?,
                sides: self.pair(&any.operand, &any.array)?,
                all: any.all,
                negated: any.negated,
            },
            Expr::Array(element, values) => Form::Array(element.clone(), self.all(values)?),
            Expr::Special(Special::Like { operands, escape, insensitive, negated }) => Form::Like {
                sides: self.pair(&operands.0, &operands.1)?,
                escape: *escape,
                insensitive: *insensitive,
                negated: *negated,
            },
            Expr::Constant(_)
            | Expr::Parameter(_)
            | Expr::Slot(_)
            | Expr::Aggregate(_)
            | Expr::Window(_)
            | Expr::Element(_)
            | Expr::Grouping(_)
            | Expr::Series(_)
            | Expr::Outer { .. }
            | Expr::Subquery(_) => return None,
        })
    }
}

fn operator(op: &BinaryFn) -> Option<Operator> {
    let found = resolve_binary(op.op, &op.left, &op.right).ok()?;
    let same = found.left == op.left && found.right == op.right && found.result == op.result;
    (same && op.volatility == Volatility::Immutable).then(|| Operator(op.op, op.left.clone(), op.right.clone()))
}

fn travels(function: &FunctionSig) -> Option<()> {
    if function.volatility != Volatility::Immutable {
        return None;
    }
    let found = resolve_function(&function.name, &function.arguments).ok()?;
    let same = found.arguments == function.arguments
        && found.result == function.result
        && found.strict == function.strict
        && found.is_cast() == function.is_cast();
    // A cast in the shape of a function depends on what a cast depends on.
    let plain = !function.is_cast() || is_plain(function.arguments.first()?, &function.result);
    (same && plain).then_some(())
}

fn conversion(cast: &Cast) -> Option<Conversion> {
    let form = Conversion(cast.from.clone(), cast.to.clone(), cast.is_explicit());
    let same = form.cast().is_ok_and(|found| found == *cast);
    (same && (cast.is_identity() || is_plain(&cast.from, &cast.to))).then_some(form)
}

/// Whether a conversion is the same in every session, whatever its settings.
fn is_plain(from: &Type, to: &Type) -> bool {
    let number = |ty: &Type| {
        matches!(
            ty,
            Type::Int16 | Type::Int32 | Type::Int64 | Type::Float4 | Type::Float8 | Type::Numeric(_) | Type::Bool
        )
    };
    let text = |ty: &Type| matches!(ty, Type::Text | Type::Varchar(_) | Type::Char(_) | Type::Name);
    let exact =
        |ty: &Type| matches!(ty, Type::Int16 | Type::Int32 | Type::Int64 | Type::Numeric(_) | Type::Bool | Type::Uuid);
    let clock = |ty: &Type| matches!(ty, Type::Date | Type::Time(_) | Type::Timestamp(_) | Type::Interval);
    from.same_base(to)
        || (number(from) && number(to))
        || (clock(from) && clock(to))
        || (text(from) && (text(to) || number(to) || exact(to)))
        || (exact(from) && text(to))
}

impl Conversion {
    fn cast(&self) -> Result<Cast, Error> {
        let context = if self.2 { CastContext::Explicit } else { CastContext::Assignment };
        resolve_cast(&self.0, &self.1, context)
    }
}

impl Operator {
    fn function(&self) -> Result<BinaryFn, Error> {
        resolve_binary(self.0, &self.1, &self.2)
    }
}

impl Test {
    fn comparison(self) -> Result<Comparison, Error> {
        let cast = self.cast.map(|cast| cast.cast()).transpose()?;
        Ok(Comparison { op: self.op.function()?, cast, value: self.value.expr()? })
    }
}

fn exprs(forms: Vec<Form>) -> Result<Vec<Expr>, Error> {
    forms.into_iter().map(Form::expr).collect()
}

fn pair(forms: (Form, Form)) -> Result<(Expr, Expr), Error> {
    Ok((forms.0.expr()?, forms.1.expr()?))
}

impl Form {
    /// The expression.
    pub(super) fn expr(self) -> Result<Expr, Error> {
        let boxed = |form: Box<Form>| form.expr().map(Box::new);
        Ok(match self {
            Form::Constant(value) => Expr::Constant(value),
            Form::Column(place) => Expr::Column(place),
            Form::Unary(op, argument, operand) => {
                Expr::Unary(Box::new((resolve_unary(op, &argument)?, operand.expr()?)))
            }
            Form::Binary(op, sides) => {
                let (left, right) = pair(*sides)?;
                Expr::Binary(Box::new((op.function()?, left, right)))
            }
            Form::Function(name, types, arguments) => {
                Expr::Function(Box::new(resolve_function(&name, &types)?), exprs(arguments)?)
            }
            Form::Cast(conversion, operand) => Expr::Cast(Box::new((conversion.cast()?, operand.expr()?))),
            Form::And(operands) => Expr::And(exprs(operands)?),
            Form::Or(operands) => Expr::Or(exprs(operands)?),
            Form::Not(operand) => Expr::Not(boxed(operand)?),
            Form::IsNull(operand, negated) => Expr::IsNull { operand: boxed(operand)?, negated },
            Form::IsTruth(operand, truth, negated) => Expr::IsTruth { operand: boxed(operand)?, truth, negated },
            Form::Distinct(operands, negated) => Expr::Distinct { operands: Box::new(pair(*operands)?), negated },
            Form::Case(branches, otherwise) => {
                let branches = branches.into_iter().map(pair).collect::<Result<_, _>>()?;
                Expr::Case { branches, otherwise: boxed(otherwise)? }
            }
            Form::CaseOf(operand, branches, otherwise) => {
                let branch = |(when, then): (Test, Form)| Ok((when.comparison()?, then.expr()?));
                let branches = branches.into_iter().map(branch).collect::<Result<_, Error>>()?;
                Expr::CaseOf { operand: boxed(operand)?, branches, otherwise: boxed(otherwise)? }
            }
            Form::Coalesce(operands) => Expr::Coalesce(exprs(operands)?),
            Form::NullIf(both) => {
                let (operand, test) = *both;
                Expr::NullIf(Box::new((operand.expr()?, test.comparison()?)))
            }
            Form::Extreme(operands, greatest) => Expr::Extreme { operands: exprs(operands)?, greatest },
            Form::In(operand, list, negated) => {
                let list = list.into_iter().map(Test::comparison).collect::<Result<_, _>>()?;
                Expr::In { operand: boxed(operand)?, list, negated }
            }
            Form::Quantified { op, sides, all, negated } => {
                let (operand, array) = pair(*sides)?;
                Expr::Quantified(Box::new(Quantified { op: op.function()?, operand, array, all, negated }))
            }
            Form::Array(element, values) => Expr::Array(element, exprs(values)?),
            Form::Like { sides, escape, insensitive, negated } => {
                Expr::Special(Special::Like { operands: Box::new(pair(*sides)?), escape, insensitive, negated })
            }
        })
    }
}

impl Call {
    /// The call.
    pub(super) fn call(self) -> Result<AggregateCall, Error> {
        Ok(AggregateCall {
            function: resolve_aggregate(&self.name, &self.types)?,
            arguments: exprs(self.arguments)?,
            distinct: false,
            filter: self.filter.map(Form::expr).transpose()?,
            order_by: Vec::new(),
        })
    }
}
