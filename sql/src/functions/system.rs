//! Functions that tell about the session, the server and types, and the errors for functions that don't exist.

use crate::error::{Error, SqlState};
use crate::format::to_text;
use crate::functions::EvalContext;
use crate::types::Type;
use crate::value::Value;

type Result<T> = std::result::Result<T, Error>;
type Context<'a> = &'a dyn EvalContext;

/// 42883 `function f(integer) does not exist`.
#[cold]
pub(super) fn no_function(name: &str, arguments: &[Type]) -> Error {
    Error::new(SqlState::UNDEFINED_FUNCTION, format!("function {} does not exist", signature(name, arguments)))
        .with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

/// 42725 `function f(unknown) is not unique`.
#[cold]
pub(super) fn ambiguous_function(name: &str, arguments: &[Type]) -> Error {
    Error::new(SqlState::AMBIGUOUS_FUNCTION, format!("function {} is not unique", signature(name, arguments)))
        .with_hint("Could not choose a best candidate function. You might need to add explicit type casts.")
}

fn signature(name: &str, arguments: &[Type]) -> String {
    let types: Vec<String> = arguments.iter().map(Type::plain_name).collect();
    format!("{name}({})", types.join(", "))
}

/// `format_type(oid, typmod)`: the SQL name of a type; `-` for 0, `???` for one that is not known.
pub fn format_type(oid: u32, modifier: Option<i32>) -> String {
    match Type::from_oid_and_modifier(oid, modifier.unwrap_or(-1)) {
        // Without a modifier asked for, character is called by its SQL name.
        Some(Type::Char(None)) if modifier.is_none() => "character".to_owned(),
        Some(ty) => ty.to_string(),
        None if oid == 0 => "-".to_owned(),
        None => "???".to_owned(),
    }
}

pub(super) fn format_type_function(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let Some(oid) = a[0].as_i64() else { return Ok(Value::Null) };
    Ok(Value::text(format_type(oid as u32, a[1].as_i64().map(|modifier| modifier as i32))))
}

/// An identifier as it has to be written in SQL: quoted only if need be.
pub fn quote_ident(name: &str) -> String {
    let plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && crate::keywords::class(name).is_none();
    if plain { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// A string literal as it has to be written in SQL.
pub fn quote_literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

pub(super) fn quote_ident_function(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(Value::text(quote_ident(a[0].as_str().unwrap_or(""))))
}

pub(super) fn quote_literal_function(context: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(Value::text(quote_literal(&crate::format::to_text(&a[0], context.format()))))
}

pub(super) fn quote_nullable(context: Context<'_>, a: &[Value]) -> Result<Value> {
    if a[0].is_null() { Ok(Value::text("NULL")) } else { quote_literal_function(context, a) }
}

pub(super) fn gen_random_uuid(_: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::Uuid(uuid::Uuid::new_v4()))
}

pub(super) fn version(context: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::text(context.version()))
}

pub(super) fn current_database(context: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::text(context.database()))
}

pub(super) fn current_schema(context: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(context.schema().into())
}

pub(super) fn current_user(context: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::text(context.user()))
}

pub(super) fn session_user(context: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::text(context.session_user()))
}

pub(super) fn backend_pid(context: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::Int32(context.backend_pid()))
}

/// `current_setting(name [, missing_ok])`
pub(super) fn current_setting(context: Context<'_>, a: &[Value]) -> Result<Value> {
    let name = a[0].as_str().unwrap_or("");
    match context.setting(name) {
        Some(value) => Ok(Value::text(value)),
        None if a.get(1).is_some_and(|missing| *missing == Value::Bool(true)) => Ok(Value::Null),
        None => Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))),
    }
}

/// `set_config(name, value, is_local)`
pub(super) fn set_config(context: Context<'_>, a: &[Value]) -> Result<Value> {
    let [Value::Text(name), Value::Text(value), local] = a else { return Ok(Value::Null) };
    context.change_setting(name, value, *local == Value::Bool(true)).map(Value::text)
}

/// `to_regclass(text)`: NULL where the cast would fail.
pub(super) fn to_regclass(context: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(context.relation_oid(a[0].as_str().unwrap_or("")).map_or(Value::Null, Value::Oid))
}

pub(super) fn inet_none(_: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::Null)
}

pub(super) fn always_true(_: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::Bool(true))
}

pub(super) fn always_false(_: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::Bool(false))
}

/// What PostgreSQL's functions without a result show.
pub(super) fn empty_text(_: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::text(""))
}

pub(super) fn encoding_to_char(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(Value::text(if a[0].as_i64() == Some(6) { "UTF8" } else { "" }))
}

/// `num_nulls(...)`
pub(super) fn num_nulls(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(Value::Int32(a.iter().filter(|value| value.is_null()).count() as i32))
}

/// `json_build_object(key, value, ...)`: its text, for there is no type for it.
pub(super) fn json_build_object(context: Context<'_>, a: &[Value]) -> Result<Value> {
    if a.len() % 2 == 1 {
        let error = Error::new(SqlState::INVALID_PARAMETER_VALUE, "argument list must have even number of elements");
        return Err(
            error.with_hint("The arguments of json_build_object() must consist of alternating keys and values.")
        );
    }
    let mut members = Vec::with_capacity(a.len() / 2);
    for (n, pair) in a.chunks(2).enumerate() {
        if pair[0].is_null() {
            let message = format!("argument {} cannot be null", 2 * n + 1);
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
        }
        let text = to_text(&pair[1], context.format());
        let value = match &pair[1] {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => value.to_string(),
            Value::Int16(_) | Value::Int32(_) | Value::Int64(_) => text,
            // Infinities and NaN are no numbers in JSON.
            Value::Float4(_) | Value::Float8(_) | Value::Numeric(_)
                if text.ends_with(|last: char| last.is_ascii_digit()) =>
            {
                text
            }
            _ => json_string(&text),
        };
        members.push(format!("{} : {value}", json_string(&to_text(&pair[0], context.format()))));
    }
    Ok(Value::text(format!("{{{}}}", members.join(", "))))
}

/// A string as JSON writes it.
fn json_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if u32::from(control) < 0x20 => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// `num_nonnulls(...)`
pub(super) fn num_nonnulls(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(Value::Int32(a.iter().filter(|value| !value.is_null()).count() as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_is_that_of_postgres() {
        assert_eq!(quote_ident("foo_1"), "foo_1");
        assert_eq!(quote_ident("Foo"), "\"Foo\"");
        assert_eq!(quote_ident("a\"b"), "\"a\"\"b\"");
        assert_eq!(quote_ident("select"), "\"select\"");
        assert_eq!(quote_ident("1a"), "\"1a\"");
        assert_eq!(quote_ident(""), "\"\"");
        assert_eq!(quote_literal("O'Reilly"), "'O''Reilly'");
        assert_eq!(quote_literal("a\\b"), "E'a\\\\b'");
    }

    #[test]
    fn types_are_named_by_oid() {
        assert_eq!(format_type(23, None), "integer");
        assert_eq!(format_type(1043, Some(24)), "character varying(20)");
        assert_eq!(format_type(1042, None), "character");
        assert_eq!(format_type(1042, Some(-1)), "bpchar");
        assert_eq!(format_type(0, None), "-");
        assert_eq!(format_type(999_999, None), "???");
    }
}
