//! Constants as SQL writes them.

use std::sync::Arc;

use sqlparser::ast;

use super::binder::{Binder, Typed};
use super::expression::Expr;
use crate::cast::CastContext;
use crate::error::Error;
use crate::format::{IntervalFields, parse_interval_fields};
use crate::types::Type;
use crate::value::{Array, Numeric, Value};

impl Binder<'_> {
    /// A literal, or a parameter.
    pub(super) fn literal(&mut self, value: &ast::Value) -> Result<Typed, Error> {
        Ok(match value {
            ast::Value::Number(text, _) => number(text)?,
            ast::Value::SingleQuotedString(text)
            | ast::Value::EscapedStringLiteral(text)
            | ast::Value::UnicodeStringLiteral(text) => unknown(text),
            ast::Value::DollarQuotedString(text) => unknown(&text.value),
            ast::Value::NationalStringLiteral(text) => unknown(text),
            ast::Value::Boolean(value) => Typed::new(Expr::boolean(*value), Type::Bool),
            ast::Value::Null => Typed::new(Expr::Constant(Value::Null), Type::Unknown),
            ast::Value::Placeholder(text) => self.parameter(text)?,
            other => return Err(Error::unsupported(format_args!("the literal {other}"), "")),
        })
    }

    /// `INTERVAL '...'`, with or without fields.
    pub(super) fn interval(&mut self, interval: &ast::Interval) -> Result<Typed, Error> {
        let ast::Expr::Value(value) = &*interval.value else {
            return Err(Error::syntax("INTERVAL takes a string literal"));
        };
        let text = match &value.value {
            ast::Value::SingleQuotedString(text) | ast::Value::EscapedStringLiteral(text) => text.clone(),
            other => return Err(Error::syntax(format!("syntax error at or near \"{other}\""))),
        };
        if interval.leading_precision.is_some() || interval.fractional_seconds_precision.is_some() {
            return Err(Error::unsupported("a precision of INTERVAL", "Round the value instead."));
        }
        let Some(first) = &interval.leading_field else {
            return Ok(Typed::new(
                self.coerce(unknown(&text), &Type::Interval, CastContext::Explicit)?,
                Type::Interval,
            ));
        };
        let fields = interval_fields(first, interval.last_field.as_ref()).ok_or_else(|| {
            let last = interval.last_field.iter().map(|last| format!(" TO {last}"));
            Error::syntax(format!("there are no intervals of {first}{}", last.collect::<String>()))
        })?;
        let value = parse_interval_fields(&text, fields).map_err(|error| self.locate(error, &interval.value))?;
        Ok(Typed::new(Expr::Constant(Value::Interval(value)), Type::Interval))
    }
}

/// A literal whose type the context gives.
fn unknown(text: &str) -> Typed {
    Typed::new(Expr::Constant(Value::text(text)), Type::Unknown)
}

/// A numeric literal: the smallest of integer, bigint and numeric that holds it. What is written with an exponent and is no `numeric` here is
/// taken for a double, as drivers write these; without one, digits would be lost that somebody wrote.
pub(super) fn number(text: &str) -> Result<Typed, Error> {
    let digits = text.replace('_', "");
    if let Ok(value) = digits.parse::<i32>() {
        return Ok(Typed::new(Expr::Constant(Value::Int32(value)), Type::Int32));
    }
    if let Ok(value) = digits.parse::<i64>() {
        return Ok(Typed::new(Expr::Constant(Value::Int64(value)), Type::Int64));
    }
    let error = match Numeric::parse(&digits) {
        Ok(value) => return Ok(Typed::new(Expr::Constant(Value::Numeric(value)), Type::Numeric(None))),
        Err(error) => error,
    };
    match digits.parse::<f64>() {
        Ok(value) if digits.contains(['e', 'E']) && value.is_finite() && value != 0.0 => {
            Ok(Typed::new(Expr::Constant(Value::Float8(value)), Type::Float8))
        }
        _ => Err(error),
    }
}

/// The fields of `INTERVAL '...' DAY TO SECOND`.
fn interval_fields(first: &ast::DateTimeField, last: Option<&ast::DateTimeField>) -> Option<IntervalFields> {
    use ast::DateTimeField as F;
    Some(match (first, last) {
        (F::Year, None) => IntervalFields::Year,
        (F::Month, None) => IntervalFields::Month,
        (F::Day, None) => IntervalFields::Day,
        (F::Hour, None) => IntervalFields::Hour,
        (F::Minute, None) => IntervalFields::Minute,
        (F::Second, None) => IntervalFields::Second,
        (F::Year, Some(F::Month)) => IntervalFields::YearToMonth,
        (F::Day, Some(F::Hour)) => IntervalFields::DayToHour,
        (F::Day, Some(F::Minute)) => IntervalFields::DayToMinute,
        (F::Day, Some(F::Second)) => IntervalFields::DayToSecond,
        (F::Hour, Some(F::Minute)) => IntervalFields::HourToMinute,
        (F::Hour, Some(F::Second)) => IntervalFields::HourToSecond,
        (F::Minute, Some(F::Second)) => IntervalFields::MinuteToSecond,
        _ => return None,
    })
}

/// An array to which an element is added: NULL is as good as one without elements.
pub(super) fn or_empty(array: Expr, element: &Type) -> Expr {
    let empty = Value::Array(Arc::new(Array::new(element.clone(), Vec::new())));
    Expr::Coalesce(vec![array, Expr::Constant(empty)])
}
