//! Compiled expressions: what is left of SQL's when names and types are settled.
//!
//! An expression is evaluated against one row; columns, parameters and slots are plain indexes. Slots hold what was worked out
//! before the first row: results of uncorrelated subqueries and answers of the transaction. The semantics of operators, functions and casts are
//! the value side's; here are only the forms that don't evaluate all their arguments.

use std::borrow::Cow;
use std::sync::Arc;

use super::relational::Subquery;
use super::series::SeriesPlan;
use crate::cast::Cast;
use crate::error::Error;
use crate::functions::{BinaryFn, BinaryOp, EvalContext, FunctionSig, UnaryFn, logic};
use crate::types::Type;
use crate::value::{Array, Row, Value};

/// What an expression is evaluated with, apart from the row.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The session and the statement.
    pub context: &'a dyn EvalContext,
    /// Values of `$1`, `$2`, ...
    pub parameters: &'a [Value],
    /// What was worked out before the first row.
    pub slots: &'a [Slot],
}

/// What working out something before the first row has come to.
#[derive(Clone, Debug)]
pub enum Slot {
    /// A value.
    Value(Value),
    /// The rows of a relation.
    Rows(Arc<Vec<Row>>),
    /// An error of the statement's data: only what reads the slot fails with it, for a CASE need not come to it.
    Failed(Error),
}

impl Slot {
    /// The value in it.
    fn value(&self) -> Result<&Value, Error> {
        match self {
            Slot::Value(value) => Ok(value),
            Slot::Failed(error) => Err(error.clone()),
            Slot::Rows(_) => Err(Error::internal("a slot holds rows where a value was expected")),
        }
    }

    /// The rows in it.
    ///
    /// # Errors
    /// The one that working them out ended with.
    pub fn rows(&self) -> Result<Arc<Vec<Row>>, Error> {
        match self {
            Slot::Rows(rows) => Ok(rows.clone()),
            Slot::Failed(error) => Err(error.clone()),
            Slot::Value(_) => Err(Error::internal("a slot holds a value where rows were expected")),
        }
    }
}

/// A compiled expression.
#[derive(Clone, Debug)]
pub enum Expr {
    /// A constant.
    Constant(Value),
    /// A parameter, counted from 0.
    Parameter(usize),
    /// A column of the row at hand.
    Column(usize),
    /// Worked out before the first row.
    Slot(usize),
    /// The result of an aggregate; replaced by a column before the plan is complete.
    Aggregate(usize),
    /// The result of a window function; replaced by a column before the plan is complete.
    Window(usize),
    /// An element of a set-returning function's result; replaced by a column before the plan is complete.
    Element(usize),
    /// GROUPING of these keys; replaced by a column before the plan is complete.
    Grouping(Vec<Expr>),
    /// All values of generate_series() as an array.
    Series(Box<SeriesPlan>),
    /// A column of a row around this subquery: the one `levels` further out, from 1. Only in what [`super::relational`] describes.
    Outer {
        /// How far out.
        levels: usize,
        /// The column of that row.
        place: usize,
    },
    /// A subquery that refers to the row at hand. Only in what [`super::relational`] describes.
    Subquery(Box<Subquery>),
    /// A unary operator.
    Unary(Box<(UnaryFn, Expr)>),
    /// A binary operator.
    Binary(Box<(BinaryFn, Expr, Expr)>),
    /// A function.
    Function(Box<FunctionSig>, Vec<Expr>),
    /// A conversion.
    Cast(Box<(Cast, Expr)>),
    /// AND of all.
    And(Vec<Expr>),
    /// OR of all.
    Or(Vec<Expr>),
    /// NOT.
    Not(Box<Expr>),
    /// IS NULL; IS NOT NULL if `negated`.
    IsNull {
        /// Of what.
        operand: Box<Expr>,
        /// The opposite.
        negated: bool,
    },
    /// IS TRUE, IS FALSE.
    IsTruth {
        /// Of what.
        operand: Box<Expr>,
        /// The truth value asked for.
        truth: bool,
        /// The opposite.
        negated: bool,
    },
    /// IS DISTINCT FROM; IS NOT DISTINCT FROM if `negated`.
    Distinct {
        /// Both sides, of one type.
        operands: Box<(Expr, Expr)>,
        /// The opposite.
        negated: bool,
    },
    /// CASE WHEN ... THEN.
    Case {
        /// Conditions with their results.
        branches: Vec<(Expr, Expr)>,
        /// ELSE.
        otherwise: Box<Expr>,
    },
    /// CASE operand WHEN value THEN: the operand is evaluated once.
    CaseOf {
        /// What is compared.
        operand: Box<Expr>,
        /// Comparison (operand cast included in it), value, result.
        branches: Vec<(Comparison, Expr)>,
        /// ELSE.
        otherwise: Box<Expr>,
    },
    /// COALESCE.
    Coalesce(Vec<Expr>),
    /// NULLIF: the comparison's left is the operand.
    NullIf(Box<(Expr, Comparison)>),
    /// GREATEST, or LEAST.
    Extreme {
        /// Of one type.
        operands: Vec<Expr>,
        /// GREATEST.
        greatest: bool,
    },
    /// IN (list); NOT IN if `negated`.
    In {
        /// What is looked for.
        operand: Box<Expr>,
        /// Among what.
        list: Vec<Comparison>,
        /// The opposite.
        negated: bool,
    },
    /// `operand op ANY (array)`, or ALL.
    Quantified(Box<Quantified>),
    /// ARRAY[...].
    Array(Type, Vec<Expr>),
    /// LIKE with an ESCAPE that is not the backslash, and EXTRACT: forms that the value side evaluates with more than values.
    Special(Special),
}

/// `x op value`, where `x` is given from outside.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The operator.
    pub op: BinaryFn,
    /// Applied to `x` first.
    pub cast: Option<Cast>,
    /// The right side.
    pub value: Expr,
}

/// `operand op ANY (array)`, or ALL.
#[derive(Clone, Debug)]
pub struct Quantified {
    /// The operator between the operand and each element.
    pub op: BinaryFn,
    /// The left side.
    pub operand: Expr,
    /// The elements.
    pub array: Expr,
    /// ALL instead of ANY.
    pub all: bool,
    /// NOT of it.
    pub negated: bool,
}

/// Forms with a piece of syntax in them.
#[derive(Clone, Debug)]
pub enum Special {
    /// LIKE ... ESCAPE.
    Like {
        /// Text and pattern.
        operands: Box<(Expr, Expr)>,
        /// The escape character; `None` for none.
        escape: Option<char>,
        /// ILIKE.
        insensitive: bool,
        /// NOT LIKE.
        negated: bool,
    },
}

impl Expr {
    /// A boolean constant.
    pub fn boolean(value: bool) -> Expr {
        Expr::Constant(Value::Bool(value))
    }

    /// Evaluates it for `row`.
    ///
    /// # Errors
    /// What operators, functions and casts report.
    pub fn eval(&self, scope: &Scope<'_>, row: &[Value]) -> Result<Value, Error> {
        self.value(scope, row).map(Cow::into_owned)
    }

    /// Whether it is true for `row`: neither false nor NULL.
    ///
    /// # Errors
    /// As [`Expr::eval`].
    pub fn holds(&self, scope: &Scope<'_>, row: &[Value]) -> Result<bool, Error> {
        self.value(scope, row)?.is_true()
    }

    /// Like [`Expr::eval`], without copying what is there already.
    ///
    /// # Errors
    /// As [`Expr::eval`].
    pub fn value<'a>(&'a self, scope: &Scope<'a>, row: &'a [Value]) -> Result<Cow<'a, Value>, Error> {
        let owned = match self {
            Expr::Constant(value) => return Ok(Cow::Borrowed(value)),
            Expr::Parameter(n) => return Ok(Cow::Borrowed(&scope.parameters[*n])),
            Expr::Column(n) => return Ok(Cow::Borrowed(&row[*n])),
            Expr::Slot(n) => return scope.slots[*n].value().map(Cow::Borrowed),
            Expr::Aggregate(_) | Expr::Window(_) | Expr::Element(_) | Expr::Grouping(_) => {
                return Err(Error::internal("an aggregate was left in an expression"));
            }
            Expr::Outer { .. } | Expr::Subquery(_) => {
                return Err(Error::internal("a compiled expression refers to other rows"));
            }
            Expr::Unary(unary) => unary.0.call(scope.context, &*unary.1.value(scope, row)?)?,
            Expr::Binary(binary) => {
                let (op, left, right) = &**binary;
                let left = left.value(scope, row)?;
                if op.op == BinaryOp::Concat && matches!(op.result, Type::Array(_)) {
                    // What NULL means there, these operators say themselves.
                    return (op.eval)(scope.context, &left, &*right.value(scope, row)?).map(Cow::Owned);
                }
                if left.is_null() {
                    return Ok(Cow::Owned(Value::Null));
                }
                op.call(scope.context, &left, &*right.value(scope, row)?)?
            }
            Expr::Function(function, arguments) => {
                let arguments: Vec<Value> =
                    arguments.iter().map(|argument| argument.eval(scope, row)).collect::<Result<_, _>>()?;
                function.call(scope.context, &arguments)?
            }
            Expr::Cast(cast) => cast.0.apply(scope.context, cast.1.eval(scope, row)?)?,
            Expr::And(operands) => {
                let mut result = Some(true);
                for operand in operands {
                    result = logic::and(result, operand.value(scope, row)?.as_bool()?);
                    if result == Some(false) {
                        break;
                    }
                }
                Value::from(result)
            }
            Expr::Or(operands) => {
                let mut result = Some(false);
                for operand in operands {
                    result = logic::or(result, operand.value(scope, row)?.as_bool()?);
                    if result == Some(true) {
                        break;
                    }
                }
                Value::from(result)
            }
            Expr::Not(operand) => Value::from(logic::not(operand.value(scope, row)?.as_bool()?)),
            Expr::IsNull { operand, negated } => Value::Bool(operand.value(scope, row)?.is_null() != *negated),
            Expr::IsTruth { operand, truth, negated } => {
                Value::Bool((operand.value(scope, row)?.as_bool()? == Some(*truth)) != *negated)
            }
            Expr::Distinct { operands, negated } => {
                let same = logic::not_distinct(&*operands.0.value(scope, row)?, &*operands.1.value(scope, row)?);
                Value::Bool(same == *negated)
            }
            Expr::Case { branches, otherwise } => {
                for (condition, result) in branches {
                    if condition.holds(scope, row)? {
                        return result.value(scope, row);
                    }
                }
                return otherwise.value(scope, row);
            }
            Expr::CaseOf { operand, branches, otherwise } => {
                let operand = operand.value(scope, row)?;
                for (comparison, result) in branches {
                    if comparison.holds(scope, row, &operand)? == Some(true) {
                        return result.value(scope, row);
                    }
                }
                return otherwise.value(scope, row);
            }
            Expr::Coalesce(operands) => {
                for operand in operands {
                    let value = operand.value(scope, row)?;
                    if !value.is_null() {
                        return Ok(value);
                    }
                }
                Value::Null
            }
            Expr::NullIf(both) => {
                let (operand, comparison) = &**both;
                let value = operand.value(scope, row)?;
                if comparison.holds(scope, row, &value)? == Some(true) {
                    Value::Null
                } else {
                    return Ok(value);
                }
            }
            Expr::Extreme { operands, greatest } => {
                let values: Vec<Value> =
                    operands.iter().map(|operand| operand.eval(scope, row)).collect::<Result<_, _>>()?;
                if *greatest { logic::greatest(&values) } else { logic::least(&values) }
            }
            Expr::In { operand, list, negated } => {
                let operand = operand.value(scope, row)?;
                let mut result = Some(false);
                for comparison in list {
                    result = logic::or(result, comparison.holds(scope, row, &operand)?);
                    if result == Some(true) {
                        break;
                    }
                }
                Value::from(if *negated { logic::not(result) } else { result })
            }
            Expr::Quantified(quantified) => {
                let result = quantified.holds(scope, row)?;
                Value::from(if quantified.negated { logic::not(result) } else { result })
            }
            Expr::Array(element, values) => {
                let values: Vec<Value> = values.iter().map(|value| value.eval(scope, row)).collect::<Result<_, _>>()?;
                Value::Array(Array::new(element.clone(), values).into())
            }
            Expr::Series(series) => series.array(scope, row)?,
            Expr::Special(special) => special.eval(scope, row)?,
        };
        Ok(Cow::Owned(owned))
    }

    /// Calls `visit` for this expression and all below it, parents first.
    pub fn walk(&self, visit: &mut dyn FnMut(&Expr)) {
        visit(self);
        match self {
            Expr::Constant(_)
            | Expr::Parameter(_)
            | Expr::Column(_)
            | Expr::Slot(_)
            | Expr::Aggregate(_)
            | Expr::Window(_)
            | Expr::Element(_)
            | Expr::Outer { .. } => {}
            Expr::Series(series) => {
                series.start.walk(visit);
                series.stop.walk(visit);
                series.step.walk(visit);
            }
            Expr::Subquery(subquery) => {
                subquery.kind.members().iter().for_each(|member| member.operand.walk(visit));
            }
            Expr::Unary(unary) => unary.1.walk(visit),
            Expr::Binary(binary) => {
                binary.1.walk(visit);
                binary.2.walk(visit);
            }
            Expr::Cast(cast) => cast.1.walk(visit),
            Expr::Function(_, operands)
            | Expr::And(operands)
            | Expr::Or(operands)
            | Expr::Coalesce(operands)
            | Expr::Grouping(operands)
            | Expr::Array(_, operands) => {
                operands.iter().for_each(|operand| operand.walk(visit));
            }
            Expr::Extreme { operands, .. } => operands.iter().for_each(|operand| operand.walk(visit)),
            Expr::Not(operand) | Expr::IsNull { operand, .. } | Expr::IsTruth { operand, .. } => operand.walk(visit),
            Expr::Distinct { operands, .. } | Expr::Special(Special::Like { operands, .. }) => {
                operands.0.walk(visit);
                operands.1.walk(visit);
            }
            Expr::Case { branches, otherwise } => {
                for (condition, result) in branches {
                    condition.walk(visit);
                    result.walk(visit);
                }
                otherwise.walk(visit);
            }
            Expr::CaseOf { operand, branches, otherwise } => {
                operand.walk(visit);
                for (comparison, result) in branches {
                    comparison.value.walk(visit);
                    result.walk(visit);
                }
                otherwise.walk(visit);
            }
            Expr::NullIf(both) => {
                both.0.walk(visit);
                both.1.value.walk(visit);
            }
            Expr::In { operand, list, .. } => {
                operand.walk(visit);
                list.iter().for_each(|comparison| comparison.value.walk(visit));
            }
            Expr::Quantified(quantified) => {
                quantified.operand.walk(visit);
                quantified.array.walk(visit);
            }
        }
    }

    /// Replaces every expression, parents first, for which `replace` has another; what was put in is not looked at again.
    pub fn rewrite(&mut self, replace: &mut dyn FnMut(&Expr) -> Option<Expr>) {
        if let Some(other) = replace(self) {
            *self = other;
            return;
        }
        match self {
            Expr::Constant(_)
            | Expr::Parameter(_)
            | Expr::Column(_)
            | Expr::Slot(_)
            | Expr::Aggregate(_)
            | Expr::Window(_)
            | Expr::Element(_)
            | Expr::Outer { .. } => {}
            Expr::Series(series) => {
                series.start.rewrite(replace);
                series.stop.rewrite(replace);
                series.step.rewrite(replace);
            }
            Expr::Subquery(subquery) => {
                subquery.kind.members_mut().iter_mut().for_each(|member| member.operand.rewrite(replace));
            }
            Expr::Unary(unary) => unary.1.rewrite(replace),
            Expr::Binary(binary) => {
                binary.1.rewrite(replace);
                binary.2.rewrite(replace);
            }
            Expr::Cast(cast) => cast.1.rewrite(replace),
            Expr::Function(_, operands)
            | Expr::And(operands)
            | Expr::Or(operands)
            | Expr::Coalesce(operands)
            | Expr::Grouping(operands)
            | Expr::Array(_, operands) => {
                operands.iter_mut().for_each(|operand| operand.rewrite(replace));
            }
            Expr::Extreme { operands, .. } => operands.iter_mut().for_each(|operand| operand.rewrite(replace)),
            Expr::Not(operand) | Expr::IsNull { operand, .. } | Expr::IsTruth { operand, .. } => {
                operand.rewrite(replace)
            }
            Expr::Distinct { operands, .. } | Expr::Special(Special::Like { operands, .. }) => {
                operands.0.rewrite(replace);
                operands.1.rewrite(replace);
            }
            Expr::Case { branches, otherwise } => {
                for (condition, result) in branches {
                    condition.rewrite(replace);
                    result.rewrite(replace);
                }
                otherwise.rewrite(replace);
            }
            Expr::CaseOf { operand, branches, otherwise } => {
                operand.rewrite(replace);
                for (comparison, result) in branches {
                    comparison.value.rewrite(replace);
                    result.rewrite(replace);
                }
                otherwise.rewrite(replace);
            }
            Expr::NullIf(both) => {
                both.0.rewrite(replace);
                both.1.value.rewrite(replace);
            }
            Expr::In { operand, list, .. } => {
                operand.rewrite(replace);
                list.iter_mut().for_each(|comparison| comparison.value.rewrite(replace));
            }
            Expr::Quantified(quantified) => {
                quantified.operand.rewrite(replace);
                quantified.array.rewrite(replace);
            }
        }
    }

    /// Whether it depends on the row.
    pub fn uses_columns(&self) -> bool {
        let mut found = false;
        self.walk(&mut |expr| {
            found |= matches!(
                expr,
                Expr::Column(_)
                    | Expr::Aggregate(_)
                    | Expr::Window(_)
                    | Expr::Element(_)
                    | Expr::Grouping(_)
                    | Expr::Outer { .. }
                    | Expr::Subquery(_)
            );
        });
        found
    }

    /// Whether it may answer differently each time.
    pub fn is_volatile(&self) -> bool {
        let mut found = false;
        self.walk(&mut |expr| {
            found |= matches!(expr, Expr::Function(function, _) if function.volatility == crate::functions::Volatility::Volatile);
        });
        found
    }
}

impl Comparison {
    fn holds(&self, scope: &Scope<'_>, row: &[Value], operand: &Value) -> Result<Option<bool>, Error> {
        let value = self.value.value(scope, row)?;
        match &self.cast {
            None => self.op.call(scope.context, operand, &value)?.as_bool(),
            Some(cast) => self.op.call(scope.context, &cast.apply(scope.context, operand.clone())?, &value)?.as_bool(),
        }
    }
}

impl Quantified {
    fn holds(&self, scope: &Scope<'_>, row: &[Value]) -> Result<Option<bool>, Error> {
        let operand = self.operand.value(scope, row)?;
        match &*self.array.value(scope, row)? {
            Value::Null => Ok(None),
            Value::Array(array) if self.all => logic::all(scope.context, &self.op, &operand, array),
            Value::Array(array) => logic::any(scope.context, &self.op, &operand, array),
            other => Err(crate::value::mismatch("array", other)),
        }
    }
}

impl Special {
    fn eval(&self, scope: &Scope<'_>, row: &[Value]) -> Result<Value, Error> {
        match self {
            Special::Like { operands, escape, insensitive, negated } => {
                let (text, pattern) = (operands.0.value(scope, row)?, operands.1.value(scope, row)?);
                let (Some(text), Some(pattern)) = (text.as_str(), pattern.as_str()) else { return Ok(Value::Null) };
                let matches = if *insensitive {
                    crate::functions::like(&text.to_lowercase(), &pattern.to_lowercase(), *escape)?
                } else {
                    crate::functions::like(text, pattern, *escape)?
                };
                Ok(Value::Bool(matches != *negated))
            }
        }
    }
}
