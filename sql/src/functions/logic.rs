//! Three-valued logic and the other forms that the binder evaluates itself. `None` is NULL.

use std::cmp::Ordering;

use crate::error::Error;
use crate::functions::{BinaryFn, BinaryOp, EvalContext};
use crate::value::{Array, Value};

/// From so many elements on, equal ones are looked up.
const LOOKUP_LEAST: usize = 16;

/// `a AND b`
#[inline]
pub fn and(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    }
}

/// `a OR b`
#[inline]
pub fn or(a: Option<bool>, b: Option<bool>) -> Option<bool> {
    match (a, b) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
    }
}

/// `NOT a`
#[inline]
pub fn not(a: Option<bool>) -> Option<bool> {
    a.map(|a| !a)
}

/// `a IS NOT DISTINCT FROM b`; both of one type.
pub fn not_distinct(a: &Value, b: &Value) -> bool {
    a == b
}

/// GREATEST of values of one type, NULLs left aside; NULL if there is nothing else.
pub fn greatest<'a>(values: impl IntoIterator<Item = &'a Value>) -> Value {
    extreme(values, Ordering::Greater)
}

/// LEAST of values of one type, NULLs left aside; NULL if there is nothing else.
pub fn least<'a>(values: impl IntoIterator<Item = &'a Value>) -> Value {
    extreme(values, Ordering::Less)
}

fn extreme<'a>(values: impl IntoIterator<Item = &'a Value>, wanted: Ordering) -> Value {
    let mut best: Option<&Value> = None;
    for value in values.into_iter().filter(|value| !value.is_null()) {
        if best.is_none_or(|best| value.cmp(best) == wanted) {
            best = Some(value);
        }
    }
    best.cloned().unwrap_or(Value::Null)
}

/// `left op ANY (array)`: true if the comparison is for some element; NULL if it is for none but unknown for some.
///
/// # Errors
/// What the operator reports.
pub fn any(context: &dyn EvalContext, op: &BinaryFn, left: &Value, array: &Array) -> Result<Option<bool>, Error> {
    // What IN (SELECT ...) has found may be long, and is asked for each row.
    if op.op == BinaryOp::Equal && op.left.same_base(&op.right) && array.values().len() >= LOOKUP_LEAST {
        return Ok(array.has(left));
    }
    let mut result = Some(false);
    for element in array.values() {
        result = or(result, op.call(context, left, element)?.as_bool()?);
        if result == Some(true) {
            break;
        }
    }
    Ok(result)
}

/// `left op ALL (array)`: false if the comparison is for some element; NULL if it is for none but unknown for some.
///
/// # Errors
/// What the operator reports.
pub fn all(context: &dyn EvalContext, op: &BinaryFn, left: &Value, array: &Array) -> Result<Option<bool>, Error> {
    let mut result = Some(true);
    for element in array.values() {
        result = and(result, op.call(context, left, element)?.as_bool()?);
        if result == Some(false) {
            break;
        }
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_valued_tables() {
        let (t, f, n) = (Some(true), Some(false), None);
        let table = [(t, t, t, t), (t, f, f, t), (t, n, n, t), (f, f, f, f), (f, n, f, n), (n, n, n, n)];
        for (a, b, conjunction, disjunction) in table {
            assert_eq!((and(a, b), and(b, a)), (conjunction, conjunction), "{a:?} {b:?}");
            assert_eq!((or(a, b), or(b, a)), (disjunction, disjunction), "{a:?} {b:?}");
        }
        assert_eq!((not(t), not(f), not(n)), (f, t, n));
    }

    #[test]
    fn greatest_and_least_leave_nulls_aside() {
        let values = [Value::Null, Value::Int32(3), Value::Int32(-1), Value::Null];
        assert_eq!(greatest(&values), Value::Int32(3));
        assert_eq!(least(&values), Value::Int32(-1));
        assert_eq!(least(&[Value::Null]), Value::Null);
    }
}
