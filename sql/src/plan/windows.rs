//! Window functions: calls with OVER, and the windows that WINDOW names.

use sqlparser::ast::{self, FunctionArgumentClause, FunctionArguments, NamedWindowExpr, WindowType};

use super::binder::{Binder, Typed};
use super::calls::plain_argument;
use super::expression::Expr;
use super::level::{Aggregates, WindowCall};
use super::relational::{Frame, FrameBound, FrameUnit, WindowFunction};
use crate::cast::CastContext;
use crate::error::{Error, SqlState};
use crate::functions::is_aggregate;
use crate::parse::fold;
use crate::types::{Type, common_type};
use crate::value::Value;

/// How deep named windows may refer to each other.
const NAMES_MAX: usize = 32;

impl Binder<'_> {
    /// Binds a call with OVER.
    pub(super) fn window(&mut self, name: &str, function: &ast::Function, over: &WindowType) -> Result<Typed, Error> {
        if !self.level.allow_windows {
            return Err(Error::new(SqlState::WINDOWING_ERROR, "window functions are not allowed here")
                .with_hint("They stand in the select list and in ORDER BY; put them into a FROM subquery."));
        }
        let spec = self.window_spec(over)?;
        self.level.allow_windows = false;
        let sets = std::mem::take(&mut self.level.allow_sets);
        let call = self.window_call(name, function, &spec);
        self.level.allow_windows = true;
        self.level.allow_sets = sets;
        let call = call?;
        let ty = call.ty.clone();
        self.level.windows.push(call);
        Ok(Typed::new(Expr::Window(self.level.windows.len() - 1), ty))
    }

    /// A window with what it takes over from the one that it names.
    fn window_spec(&self, over: &WindowType) -> Result<ast::WindowSpec, Error> {
        let mut spec = match over {
            WindowType::NamedWindow(name) => return self.named_window(name, NAMES_MAX),
            WindowType::WindowSpec(spec) => spec.clone(),
        };
        if let Some(name) = spec.window_name.take() {
            let base = self.named_window(&name, NAMES_MAX)?;
            spec = refined(base, spec, &name)?;
        }
        Ok(spec)
    }

    fn named_window(&self, name: &ast::Ident, depth: usize) -> Result<ast::WindowSpec, Error> {
        let wanted = fold(name);
        let definition = self.level.named_windows.iter().find(|definition| fold(&definition.0) == wanted);
        let Some(definition) = definition.filter(|_| depth > 0) else {
            let error = Error::new(SqlState::UNDEFINED_OBJECT, format!("window \"{wanted}\" does not exist"));
            return Err(self.locate_at(error, self.place_of(name)));
        };
        match &definition.1 {
            NamedWindowExpr::NamedWindow(other) => self.named_window(other, depth - 1),
            NamedWindowExpr::WindowSpec(spec) => match &spec.window_name {
                None => Ok(spec.clone()),
                Some(base) => refined(self.named_window(base, depth - 1)?, spec.clone(), base),
            },
        }
    }

    fn window_call(
        &mut self,
        name: &str,
        function: &ast::Function,
        spec: &ast::WindowSpec,
    ) -> Result<WindowCall, Error> {
        let FunctionArguments::List(list) = &function.args else {
            return Err(Error::syntax(format!("the form of the call of {name} is not known")));
        };
        let (function, arguments, filter, ty) = if is_aggregate(name) {
            let before = std::mem::replace(&mut self.level.allow_aggregates, Aggregates::Allowed);
            let call = self.aggregate_call(name, list, function.filter.as_deref());
            self.level.allow_aggregates = before;
            let call = call?;
            if call.distinct {
                return Err(Error::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "DISTINCT is not implemented for window functions",
                ));
            }
            if !call.order_by.is_empty() {
                return Err(Error::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "aggregate ORDER BY is not implemented for window functions",
                ));
            }
            let ty = call.function.result.clone();
            (WindowFunction::Aggregate(call.function), call.arguments, call.filter, ty)
        } else {
            if function.filter.is_some() {
                return Err(Error::new(
                    SqlState::FEATURE_NOT_SUPPORTED,
                    "FILTER is not implemented for non-aggregate window functions",
                ));
            }
            if let Some(clause) = list.clauses.first() {
                let clause = match clause {
                    FunctionArgumentClause::IgnoreOrRespectNulls(_) => "IGNORE NULLS".to_owned(),
                    other => other.to_string(),
                };
                return Err(Error::unsupported(format_args!("{clause} in a window function"), ""));
            }
            let arguments = list
                .args
                .iter()
                .map(|argument| self.expression(plain_argument(argument)?))
                .collect::<Result<Vec<_>, _>>()?;
            let (function, arguments, ty) = self.window_function(name, arguments)?;
            (function, arguments, None, ty)
        };
        let mut partition_by = Vec::with_capacity(spec.partition_by.len());
        for expr in &spec.partition_by {
            let typed = self.expression(expr)?;
            let typed = self.settle(typed)?;
            partition_by.push((typed.expr, typed.ty));
        }
        let mut order_by = Vec::with_capacity(spec.order_by.len());
        for key in &spec.order_by {
            let descending = key.options.asc == Some(false);
            let typed = self.expression(&key.expr)?;
            let typed = self.settle(typed)?;
            order_by.push((typed.expr, typed.ty, descending, key.options.nulls_first.unwrap_or(descending)));
        }
        let frame = self.frame(spec.window_frame.as_ref(), &order_by)?;
        Ok(WindowCall { function, arguments, filter, partition_by, order_by, frame, ty })
    }

    fn window_function(
        &mut self,
        name: &str,
        arguments: Vec<Typed>,
    ) -> Result<(WindowFunction, Vec<Expr>, Type), Error> {
        let count = arguments.len();
        let (function, least, most) = match name {
            "row_number" => (WindowFunction::RowNumber, 0, 0),
            "rank" => (WindowFunction::Rank, 0, 0),
            "dense_rank" => (WindowFunction::DenseRank, 0, 0),
            "percent_rank" => (WindowFunction::PercentRank, 0, 0),
            "cume_dist" => (WindowFunction::CumeDist, 0, 0),
            "ntile" => (WindowFunction::Ntile, 1, 1),
            "lag" => (WindowFunction::Lag, 1, 3),
            "lead" => (WindowFunction::Lead, 1, 3),
            "first_value" => (WindowFunction::FirstValue, 1, 1),
            "last_value" => (WindowFunction::LastValue, 1, 1),
            "nth_value" => (WindowFunction::NthValue, 2, 2),
            _ => {
                let types: Vec<Type> = arguments.into_iter().map(|argument| argument.ty).collect();
                return Err(match crate::functions::resolve_function(name, &types) {
                    Ok(_) => Error::new(
                        SqlState::WRONG_OBJECT_TYPE,
                        format!("OVER specified, but {name} is not a window function nor an aggregate function"),
                    ),
                    Err(error) => error,
                });
            }
        };
        if count < least || count > most {
            let types: Vec<String> = arguments.iter().map(|argument| argument.ty.plain_name().to_string()).collect();
            let message = format!("function {name}({}) does not exist", types.join(", "));
            return Err(Error::new(SqlState::UNDEFINED_FUNCTION, message));
        }
        let mut arguments = arguments.into_iter();
        let mut bound = Vec::with_capacity(count);
        let ty = match function {
            WindowFunction::RowNumber | WindowFunction::Rank | WindowFunction::DenseRank => Type::Int64,
            WindowFunction::PercentRank | WindowFunction::CumeDist => Type::Float8,
            WindowFunction::Ntile => Type::Int32,
            _ => {
                let value = arguments.next().expect("counted above");
                let mut value = self.settle(value)?;
                let offset = arguments.next();
                let otherwise = arguments.next();
                if let Some(otherwise) = &otherwise {
                    let ty = common_type(name, &[value.ty.clone(), otherwise.ty.clone()])?;
                    value = Typed::new(self.coerce(value, &ty, CastContext::Implicit)?, ty);
                }
                let ty = value.ty.clone();
                bound.push(value.expr);
                if let Some(offset) = offset {
                    bound.push(self.coerce(offset, &Type::Int32, CastContext::Implicit)?);
                }
                if let Some(otherwise) = otherwise {
                    bound.push(self.coerce(otherwise, &ty, CastContext::Implicit)?);
                }
                return Ok((function, bound, ty));
            }
        };
        for argument in arguments {
            bound.push(self.coerce(argument, &Type::Int32, CastContext::Implicit)?);
        }
        Ok((function, bound, ty))
    }

    fn frame(
        &mut self,
        frame: Option<&ast::WindowFrame>,
        order_by: &[(Expr, Type, bool, bool)],
    ) -> Result<Frame, Error> {
        let Some(frame) = frame else {
            return Ok(Frame { unit: FrameUnit::Range, start: FrameBound::Start, end: FrameBound::Current });
        };
        let unit = match frame.units {
            ast::WindowFrameUnits::Rows => FrameUnit::Rows,
            ast::WindowFrameUnits::Range => FrameUnit::Range,
            ast::WindowFrameUnits::Groups => FrameUnit::Groups,
        };
        let wrong = |message: &str| Error::new(SqlState::WINDOWING_ERROR, message);
        let start = self.bound(&frame.start_bound, unit, order_by, true)?;
        let end = match &frame.end_bound {
            Some(end) => self.bound(end, unit, order_by, false)?,
            None => FrameBound::Current,
        };
        match (&start, &end) {
            (FrameBound::End, _) => return Err(wrong("frame start cannot be UNBOUNDED FOLLOWING")),
            (_, FrameBound::Start) => return Err(wrong("frame end cannot be UNBOUNDED PRECEDING")),
            (FrameBound::Current, FrameBound::Preceding(_)) => {
                return Err(wrong("frame starting from current row cannot have preceding rows"));
            }
            (FrameBound::Following(_), FrameBound::Current) => {
                return Err(wrong("frame starting from following row cannot end with current row"));
            }
            (FrameBound::Following(_), FrameBound::Preceding(_)) => {
                return Err(wrong("frame starting from following row cannot have preceding rows"));
            }
            _ => {}
        }
        if unit == FrameUnit::Groups && order_by.is_empty() {
            return Err(wrong("GROUPS mode requires an ORDER BY clause"));
        }
        Ok(Frame { unit, start, end })
    }

    fn bound(
        &mut self,
        bound: &ast::WindowFrameBound,
        unit: FrameUnit,
        order_by: &[(Expr, Type, bool, bool)],
        is_start: bool,
    ) -> Result<FrameBound, Error> {
        let (expr, make): (_, fn(Expr) -> FrameBound) = match bound {
            ast::WindowFrameBound::CurrentRow => return Ok(FrameBound::Current),
            ast::WindowFrameBound::Preceding(None) if is_start => return Ok(FrameBound::Start),
            ast::WindowFrameBound::Preceding(None) => {
                return Err(Error::new(SqlState::WINDOWING_ERROR, "frame end cannot be UNBOUNDED PRECEDING"));
            }
            ast::WindowFrameBound::Following(None) => return Ok(FrameBound::End),
            ast::WindowFrameBound::Preceding(Some(expr)) => (expr, FrameBound::Preceding),
            ast::WindowFrameBound::Following(Some(expr)) => (expr, FrameBound::Following),
        };
        if unit == FrameUnit::Range {
            let message = if order_by.len() == 1 {
                return Err(Error::unsupported("RANGE with an offset", "Use ROWS or GROUPS, or a join."));
            } else {
                "RANGE with offset PRECEDING/FOLLOWING requires exactly one ORDER BY column"
            };
            return Err(Error::new(SqlState::WINDOWING_ERROR, message));
        }
        let typed = self.expression(expr)?;
        let bound = self.coerce(typed, &Type::Int64, CastContext::Implicit)?;
        if bound.uses_columns() {
            let what = if unit == FrameUnit::Rows { "ROWS" } else { "GROUPS" };
            let message = format!("argument of {what} must not contain variables");
            return Err(self.locate(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message), expr));
        }
        if matches!(bound, Expr::Constant(Value::Null)) {
            return Err(Error::new(SqlState::NULL_VALUE_NOT_ALLOWED, "frame offset must not be null"));
        }
        Ok(make(bound))
    }
}

/// A window that names another: it takes over PARTITION BY, and ORDER BY if it has none.
fn refined(base: ast::WindowSpec, spec: ast::WindowSpec, name: &ast::Ident) -> Result<ast::WindowSpec, Error> {
    let name = fold(name);
    let wrong = |what: &str| Error::new(SqlState::WINDOWING_ERROR, format!("cannot {what} of window \"{name}\""));
    if !spec.partition_by.is_empty() {
        return Err(wrong("override PARTITION BY clause"));
    }
    if !spec.order_by.is_empty() && !base.order_by.is_empty() {
        return Err(wrong("override ORDER BY clause"));
    }
    if base.window_frame.is_some() {
        let message = format!("cannot copy window \"{name}\" because it has a frame clause");
        return Err(Error::new(SqlState::WINDOWING_ERROR, message));
    }
    let order_by = if spec.order_by.is_empty() { base.order_by } else { spec.order_by };
    Ok(ast::WindowSpec {
        window_name: None,
        partition_by: base.partition_by,
        order_by,
        window_frame: spec.window_frame,
    })
}
