//! Functions and operators on arrays, all of one dimension.
//!
//! Those that put elements and arrays together take an array and elements of the type that both have in common, as PostgreSQL's
//! `anycompatible` does; so they are found by [`resolve`] and not in the registry's table.

use std::sync::Arc;

use super::strings::{bounded, count, int, text};
use super::{BinaryEval, BinaryFn, BinaryOp, Body, EvalContext, FunctionEval, FunctionSig, Volatility};
use crate::catalog::virtual_tables::Procedure;
use crate::error::{Error, SqlState};
use crate::format::to_text;
use crate::types::{Type, common_type};
use crate::value::{Array, Value, mismatch};

type Result<T, E = Error> = std::result::Result<T, E>;
type Context<'a> = &'a dyn EvalContext;

/// Elements of an array that is made by putting arrays together.
const ELEMENTS_MAX: usize = 1 << 24;

/// A parameter or result, by the type that arrays and elements have in common.
#[derive(Clone, Copy)]
enum Kind {
    /// An array of it.
    Array,
    /// One of it.
    Element,
    /// A place in an array, from 1.
    Place,
    /// Places in an array.
    Places,
}

/// The functions found by [`resolve`].
const COMPATIBLE: &[(&str, &[Kind], Kind, FunctionEval)] = &[
    ("array_append", &[Kind::Array, Kind::Element], Kind::Array, |_, a| append(&a[0], &a[1])),
    ("array_prepend", &[Kind::Element, Kind::Array], Kind::Array, |_, a| prepend(&a[0], &a[1])),
    ("array_cat", &[Kind::Array, Kind::Array], Kind::Array, |_, a| concat(&a[0], &a[1])),
    ("array_remove", &[Kind::Array, Kind::Element], Kind::Array, remove),
    ("array_replace", &[Kind::Array, Kind::Element, Kind::Element], Kind::Array, replace),
    ("array_position", &[Kind::Array, Kind::Element], Kind::Place, array_position),
    ("array_positions", &[Kind::Array, Kind::Element], Kind::Places, positions),
];

/// The type that arrays and elements of these types have in common.
fn element(parameters: &[Kind], given: &[Type]) -> Option<Type> {
    let mut elements = Vec::with_capacity(given.len());
    for (parameter, given) in parameters.iter().zip(given) {
        elements.push(match (parameter, given) {
            (Kind::Array, Type::Array(element)) => (**element).clone(),
            (_, Type::Unknown) => Type::Unknown,
            (Kind::Element, Type::Array(_)) | (Kind::Array | Kind::Place | Kind::Places, _) => return None,
            (Kind::Element, other) => other.clone(),
        });
    }
    if elements.iter().all(|ty| matches!(ty, Type::Unknown)) {
        return None;
    }
    common_type("array", &elements).ok().map(|ty| ty.base())
}

fn typed(kind: Kind, element: &Type) -> Type {
    match kind {
        Kind::Array => Type::Array(Box::new(element.clone())),
        Kind::Element => element.clone(),
        Kind::Place => Type::Int32,
        Kind::Places => Type::Array(Box::new(Type::Int32)),
    }
}

/// Whether [`resolve`] knows a function of this name.
pub(super) fn is_function(name: &str) -> bool {
    COMPATIBLE.iter().any(|entry| entry.0 == name)
}

/// The functions found by [`resolve`], for `pg_proc`.
pub(super) fn listed() -> impl Iterator<Item = Procedure> {
    COMPATIBLE.iter().map(|(name, parameters, result, _)| Procedure {
        name,
        arguments: parameters.iter().map(|_| None).collect(),
        result: matches!(result, Kind::Place | Kind::Places).then(|| typed(*result, &Type::Int32)),
        kind: "f",
        volatility: Volatility::Immutable,
        strict: false,
    })
}

/// The function of this name for arguments of these types.
pub(super) fn resolve(name: &str, given: &[Type]) -> Option<FunctionSig> {
    let (_, parameters, result, eval) =
        COMPATIBLE.iter().find(|entry| entry.0 == name && entry.1.len() == given.len())?;
    let element = element(parameters, given)?;
    Some(FunctionSig {
        name: name.to_owned(),
        arguments: parameters.iter().map(|kind| typed(*kind, &element)).collect(),
        result: typed(*result, &element),
        volatility: Volatility::Immutable,
        strict: false,
        body: Body::Code(*eval),
    })
}

/// `||` with an array on one side at least. A literal beside an array is read as an array.
pub(super) fn resolve_concat(left: &Type, right: &Type) -> Option<BinaryFn> {
    let (kinds, eval): ([Kind; 2], BinaryEval) = match (left, right) {
        (Type::Array(_), Type::Array(_) | Type::Unknown) | (Type::Unknown, Type::Array(_)) => {
            ([Kind::Array, Kind::Array], |_, a, b| concat(a, b))
        }
        (Type::Array(_), _) => ([Kind::Array, Kind::Element], |_, a, b| append(a, b)),
        (_, Type::Array(_)) => ([Kind::Element, Kind::Array], |_, a, b| prepend(a, b)),
        _ => return None,
    };
    let element = element(&kinds, &[left.clone(), right.clone()])?;
    Some(BinaryFn {
        op: BinaryOp::Concat,
        left: typed(kinds[0], &element),
        right: typed(kinds[1], &element),
        result: typed(Kind::Array, &element),
        volatility: Volatility::Immutable,
        eval,
    })
}

fn array(value: &Value) -> Result<&Array> {
    match value {
        Value::Array(array) => Ok(array),
        other => Err(mismatch("array", other)),
    }
}

/// An array with the element type of another one.
fn like(array: &Array, values: Vec<Value>) -> Value {
    Value::Array(Arc::new(Array::new(array.element_type().clone(), values)))
}

/// As [`like`], for what may become longer and longer.
fn grown(array: &Array, more: usize, values: impl Iterator<Item = Value>) -> Result<Value> {
    if array.values().len() + more > ELEMENTS_MAX {
        let message = format!("array size exceeds the maximum allowed ({ELEMENTS_MAX})");
        return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
    }
    Ok(like(array, values.collect()))
}

/// An element more at the end. Who plans it sees to it that the array is not NULL.
fn append(a: &Value, element: &Value) -> Result<Value> {
    let array = array(a)?;
    grown(array, 1, array.values().iter().chain([element]).cloned())
}

fn prepend(element: &Value, a: &Value) -> Result<Value> {
    let array = array(a)?;
    grown(array, 1, [element].into_iter().chain(array.values()).cloned())
}

/// NULL adds nothing.
fn concat(a: &Value, b: &Value) -> Result<Value> {
    match (a.is_null(), b.is_null()) {
        (true, _) => Ok(b.clone()),
        (false, true) => Ok(a.clone()),
        (false, false) => {
            let (left, right) = (array(a)?, array(b)?);
            grown(left, right.values().len(), left.values().iter().chain(right.values()).cloned())
        }
    }
}

/// `array_remove(array, element)`: NULL is like NULL.
fn remove(_: Context<'_>, a: &[Value]) -> Result<Value> {
    if a[0].is_null() {
        return Ok(Value::Null);
    }
    let array = array(&a[0])?;
    Ok(like(array, array.values().iter().filter(|value| **value != a[1]).cloned().collect()))
}

/// `array_replace(array, from, to)`
fn replace(_: Context<'_>, a: &[Value]) -> Result<Value> {
    if a[0].is_null() {
        return Ok(Value::Null);
    }
    let array = array(&a[0])?;
    let new = |value: &Value| if *value == a[1] { a[2].clone() } else { value.clone() };
    Ok(like(array, array.values().iter().map(new).collect()))
}

/// `array_positions(array, element)`: all places, from 1.
fn positions(_: Context<'_>, a: &[Value]) -> Result<Value> {
    if a[0].is_null() {
        return Ok(Value::Null);
    }
    let found = (0..).zip(array(&a[0])?.values()).filter(|(_, value)| **value == a[1]);
    let places = found.map(|(n, _)| count(n + 1)).collect();
    Ok(Value::Array(Arc::new(Array::new(Type::Int32, places))))
}

/// `array_position(array, element)`: from 1.
fn array_position(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let Value::Array(array) = &a[0] else { return Ok(Value::Null) };
    let place = array.values().iter().position(|value| *value == a[1]);
    Ok(place.and_then(|place| i32::try_from(place + 1).ok()).into())
}

/// `array_lower(array, dimension)`; NULL for an empty array.
pub(super) fn array_lower(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(match &a[0] {
        Value::Array(array) if a[1].as_i64() == Some(1) && !array.values().is_empty() => Value::Int32(1),
        _ => Value::Null,
    })
}

/// `array[n]`: NULL outside.
pub(super) fn subscript(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (Value::Array(array), Some(place)) = (&a[0], a[1].as_i64()) else { return Ok(Value::Null) };
    let found = usize::try_from(place).ok().and_then(|place| array.values().get(place.checked_sub(1)?));
    Ok(found.cloned().unwrap_or(Value::Null))
}

/// `array_to_string(array, delimiter, null)`
pub(super) fn array_to_string(context: Context<'_>, a: &[Value]) -> Result<Value> {
    if a[0].is_null() || a[1].is_null() {
        return Ok(Value::Null);
    }
    let null = a.get(2).filter(|null| !null.is_null()).map(text).transpose()?;
    let parts: Vec<String> = array(&a[0])?
        .values()
        .iter()
        .filter_map(
            |value| if value.is_null() { null.map(str::to_owned) } else { Some(to_text(value, context.format())) },
        )
        .collect();
    let delimiter = text(&a[1])?;
    bounded(parts.iter().map(|part| part.len() + delimiter.len()).sum())?;
    Ok(Value::text(parts.join(delimiter)))
}

/// `array_length(array, dimension)`; NULL for an empty array.
pub(super) fn array_length(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let length = array(&a[0])?.values().len();
    Ok(if int(&a[1])? == 1 && length > 0 { count(length) } else { Value::Null })
}

/// `array_ndims(array)`: one, for there are no others; none of an empty array.
pub(super) fn array_ndims(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(if array(&a[0])?.values().is_empty() { Value::Null } else { Value::Int32(1) })
}

/// `array_dims(array)`: the bounds, as text.
pub(super) fn array_dims(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let length = array(&a[0])?.values().len();
    Ok(if length == 0 { Value::Null } else { Value::text(format!("[1:{length}]")) })
}

/// `cardinality(array)`
pub(super) fn cardinality(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(count(array(&a[0])?.values().len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::test_context;

    #[test]
    fn subscripts_begin_with_one() {
        let array = numbers(&[Some(7), None]);
        let at = |n: i32| subscript(&test_context(), &[array.clone(), Value::Int32(n)]);
        assert_eq!(at(1), Ok(Value::Int32(7)));
        for outside in [-1, 0, 2, 3] {
            assert_eq!(at(outside), Ok(Value::Null));
        }
    }

    fn numbers(values: &[Option<i32>]) -> Value {
        let values = values.iter().map(|value| value.map_or(Value::Null, Value::Int32)).collect();
        Value::Array(Arc::new(Array::new(Type::Int32, values)))
    }

    #[test]
    fn arrays_and_elements_meet_at_a_common_type() {
        let array = |ty: &Type| Type::Array(Box::new(ty.clone()));
        let (int, numeric) = (Type::Int32, Type::Numeric(None));
        let found = resolve_concat(&array(&int), &numeric).expect("numeric holds integers");
        assert_eq!((found.left, found.right, found.result), (array(&numeric), numeric.clone(), array(&numeric)));
        let found = resolve_concat(&int, &array(&int)).expect("an element before an array");
        assert_eq!((found.left, found.right), (int.clone(), array(&int)));
        // A literal beside an array is an array.
        let found = resolve_concat(&array(&int), &Type::Unknown).expect("array and literal");
        assert_eq!(found.right, array(&int));
        assert!(resolve_concat(&array(&int), &Type::Text).is_none());
        assert!(resolve_concat(&int, &numeric).is_none());
        assert!(resolve("array_append", &[int.clone(), array(&int)]).is_none());
        assert!(resolve("array_append", &[Type::Unknown, Type::Unknown]).is_none());
    }

    #[test]
    fn null_is_an_element_where_elements_are_meant() {
        let array = numbers(&[Some(1), None]);
        assert_eq!(append(&array, &Value::Null), Ok(numbers(&[Some(1), None, None])));
        assert_eq!(concat(&array, &Value::Null), Ok(array.clone()));
        let call = |function: FunctionEval| function(&test_context(), &[array.clone(), Value::Null, Value::Int32(2)]);
        assert_eq!(call(remove), Ok(numbers(&[Some(1)])));
        assert_eq!(call(replace), Ok(numbers(&[Some(1), Some(2)])));
        assert_eq!(call(positions), Ok(numbers(&[Some(2)])));
    }
}
