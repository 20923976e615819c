//! Functions that describe what is in the catalog, for the queries of tools: `pg_get_indexdef`, `pg_get_userbyid` and their kin.

use std::sync::Arc;

use crate::catalog::virtual_tables::{Procedure, oids, procedures, relation_name};
use crate::catalog::{PUBLIC, Table, virtual_tables};
use crate::error::{Error, SqlState};
use crate::functions::EvalContext;
use crate::types::Type;
use crate::value::{Array, Value};

type Result<T> = std::result::Result<T, Error>;
type Context<'a> = &'a dyn EvalContext;

fn oid(value: &Value) -> u32 {
    value.as_i64().and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
}

fn table<'a>(context: Context<'a>, oid: Option<u32>) -> Option<&'a Arc<Table>> {
    context.catalog()?.table_by_id(oid?)
}

/// The answer about things that do not exist here, or of which nothing is known.
pub(super) fn nothing(_: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::Null)
}

/// The answer where there is no name to tell.
pub(super) fn empty(_: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::text(""))
}

/// The OID of what does not exist.
pub(super) fn no_oid(_: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::Oid(0))
}

/// `pg_get_userbyid(oid)`: the session's user is the only role.
pub(super) fn user_by_id(context: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(match oid(&a[0]) {
        oids::USER => Value::text(context.user()),
        other => Value::text(format!("unknown (OID={other})")),
    })
}

/// `pg_get_expr(expression, relation)`: expressions are kept as text.
pub(super) fn expression(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(a[0].clone())
}

/// `pg_table_is_visible(relation)`: whether its name alone means it, as the search path is.
pub(super) fn table_is_visible(context: Context<'_>, a: &[Value]) -> Result<Value> {
    let Some(catalog) = context.catalog() else { return Ok(Value::Null) };
    Ok(match virtual_tables::relation_name(catalog, oid(&a[0])) {
        Some((schema, _)) => Value::Bool(schema != "information_schema"),
        None => Value::Null,
    })
}

/// `pg_get_indexdef(index [, column, pretty])`: column 0 is the whole.
pub(super) fn index_definition(context: Context<'_>, a: &[Value]) -> Result<Value> {
    let Some(table) = table(context, oids::table_of_index(oid(&a[0]))) else { return Ok(Value::Null) };
    let Some(key) = &table.primary_key else { return Ok(Value::Null) };
    let column = a.get(1).and_then(Value::as_i64).unwrap_or(0);
    Ok(match usize::try_from(column) {
        Ok(0) => virtual_tables::index_definition(table, key).into(),
        // As in PostgreSQL, a column that is not there has an empty definition.
        Ok(number) => virtual_tables::key_column(table, number).unwrap_or_default().into(),
        Err(_) => Value::Null,
    })
}

/// `pg_get_constraintdef(constraint [, pretty])`
pub(super) fn constraint_definition(context: Context<'_>, a: &[Value]) -> Result<Value> {
    let table = table(context, oids::table_of_constraint(oid(&a[0])));
    Ok(table.map(|table| virtual_tables::key_definition(table)).into())
}

fn procedure(value: &Value) -> Option<Procedure> {
    procedures().nth(oids::place_of_function(oid(value))?)
}

/// `pg_get_function_result(oid)`
pub(super) fn function_result(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(procedure(&a[0]).map(|function| function.result_name()).into())
}

/// `pg_get_function_arguments(oid)`
pub(super) fn function_arguments(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(procedure(&a[0]).map(|function| function.argument_list()).into())
}

/// `pg_relation_is_publishable(regclass)`: whether it is a table of the user's.
pub(super) fn is_publishable(context: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(Value::Bool(table(context, Some(oid(&a[0]))).is_some()))
}

/// `pg_size_pretty(size)`
pub(super) fn size_pretty(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let size = match &a[0] {
        Value::Numeric(size) => size.to_i64().unwrap_or(0),
        size => size.as_i64().unwrap_or(0),
    };
    Ok(Value::text(pretty(size)))
}

/// PostgreSQL's rule: the next larger unit from ten thousand on, halves rounded away from zero.
fn pretty(size: i64) -> String {
    let mut units = ["bytes", "kB", "MB", "GB", "TB", "PB"].into_iter().peekable();
    // Twice the size in the present unit, so that halves can be told.
    let mut doubled = i128::from(size) * 2;
    let mut first = true;
    while let Some(unit) = units.next() {
        let limit = if first { 10 * 1024 * 2 } else { 20 * 1024 - 1 };
        if doubled.abs() < limit || units.peek().is_none() {
            let rounded = if first { doubled / 2 } else { (doubled + doubled.signum()) / 2 };
            return format!("{rounded} {unit}");
        }
        doubled /= 1024;
        first = false;
    }
    format!("{size} bytes")
}

/// `current_schemas(with those that are searched unasked)`
pub(super) fn current_schemas(context: Context<'_>, a: &[Value]) -> Result<Value> {
    let implicit = (a[0] == Value::Bool(true)).then(|| Value::text("pg_catalog"));
    let schemas = implicit.into_iter().chain(context.schema().map(Value::from)).collect();
    Ok(Value::Array(Arc::new(Array::new(Type::Text, schemas))))
}

/// The schema of this OID: `oid::regnamespace`.
pub(super) fn schema_name(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(match oid(&a[0]) {
        oids::PUBLIC => Value::text(PUBLIC),
        oids::PG_CATALOG => Value::text("pg_catalog"),
        oids::INFORMATION_SCHEMA => Value::text("information_schema"),
        0 => Value::text("-"),
        other => Value::text(other.to_string()),
    })
}

fn unquoted(value: &Value) -> String {
    let name = value.as_str().unwrap_or("").trim();
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => name.to_lowercase(),
    }
}

/// `to_regnamespace(name)`
pub(super) fn to_schema(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(match unquoted(&a[0]).as_str() {
        PUBLIC => Value::Oid(oids::PUBLIC),
        "pg_catalog" => Value::Oid(oids::PG_CATALOG),
        "information_schema" => Value::Oid(oids::INFORMATION_SCHEMA),
        _ => Value::Null,
    })
}

/// `name::regnamespace`
pub(super) fn schema_oid(context: Context<'_>, a: &[Value]) -> Result<Value> {
    match to_schema(context, a)? {
        Value::Null => {
            let name = unquoted(&a[0]);
            Err(Error::new(SqlState::INVALID_SCHEMA_NAME, format!("schema \"{name}\" does not exist")))
        }
        found => Ok(found),
    }
}

/// `to_regrole(name)`
pub(super) fn to_role(context: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(if unquoted(&a[0]) == context.user() { Value::Oid(oids::USER) } else { Value::Null })
}

/// `name::regrole`
pub(super) fn role_oid(context: Context<'_>, a: &[Value]) -> Result<Value> {
    match to_role(context, a)? {
        Value::Null => {
            let name = unquoted(&a[0]);
            Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist")))
        }
        found => Ok(found),
    }
}

/// `oid::regproc`: the name of a function.
pub(super) fn function_name(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(match procedure(&a[0]) {
        Some(function) => Value::text(function.name),
        None if oid(&a[0]) == 0 => Value::text("-"),
        None => Value::text(oid(&a[0]).to_string()),
    })
}

/// `name::regproc`, which stays a name.
pub(super) fn bare_name(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let name = a[0].as_str().unwrap_or("");
    Ok(Value::text(name.strip_prefix("pg_catalog.").unwrap_or(name)))
}

/// `to_regtype(name)`: NULL where the cast would fail.
pub(super) fn to_type(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let name = a[0].as_str().unwrap_or("").trim().to_lowercase();
    Ok(Type::from_name(&name, &[]).map_or(Value::Null, |ty| Value::Oid(ty.oid())))
}

/// `pg_char_to_encoding(name)`
pub(super) fn encoding(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let name = a[0].as_str().unwrap_or("").replace('-', "");
    Ok(Value::Int32(if name.eq_ignore_ascii_case("utf8") { 6 } else { -1 }))
}

/// `regclass` as text: the schema is named where the search path does not lead to it.
pub fn relation_text(context: Context<'_>, oid: u32) -> Option<String> {
    let (schema, name) = relation_name(context.catalog()?, oid)?;
    let name = super::quote_ident(name);
    Some(if schema == "information_schema" { format!("{schema}.{name}") } else { name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::test_context;
    use crate::value::Numeric;

    #[test]
    fn sizes_are_printed_as_postgres_does() {
        let expected = [
            (0, "0 bytes"),
            (8192, "8192 bytes"),
            (10_239, "10239 bytes"),
            (10_240, "10 kB"),
            (-10_240, "-10 kB"),
            (10_485_247, "10239 kB"),
            (10_485_248, "10 MB"),
            (7_748_608, "7567 kB"),
        ];
        for (size, text) in expected {
            assert_eq!(pretty(size), text);
        }
        assert_eq!(
            size_pretty(&test_context(), &[Value::Numeric(Numeric::from(8192i64))]),
            Ok(Value::text("8192 bytes"))
        );
    }
}
