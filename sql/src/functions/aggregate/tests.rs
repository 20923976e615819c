//! What aggregates answer, compared with PostgreSQL.

use super::*;
use crate::value::{Interval, Numeric};

/// The result of an aggregate over one column.
fn run(name: &str, ty: &Type, values: impl IntoIterator<Item = Value>) -> Result<String, String> {
    let aggregate = resolve_aggregate(name, std::slice::from_ref(ty)).map_err(|e| e.code.to_string())?;
    let mut state = aggregate.new_state();
    for value in values {
        let cast = crate::cast::resolve_cast(ty, &aggregate.arguments[0], crate::cast::CastContext::Implicit)
            .expect("castable");
        let value = cast.apply(&crate::functions::test_context(), value).expect("casts");
        state.update(&[value]).map_err(|e| e.code.to_string())?;
    }
    let value = state.finish().map_err(|e| e.code.to_string())?;
    let text = crate::format::to_text(&value, &crate::format::FormatSettings::default());
    Ok(if value.is_null() { "NULL".to_owned() } else { text })
}

fn ints(values: &[i32]) -> Vec<Value> {
    values.iter().map(|v| Value::Int32(*v)).collect()
}

fn numerics(values: &[&str]) -> Vec<Value> {
    values.iter().map(|v| Value::Numeric(Numeric::parse(v).expect("a number"))).collect()
}

#[test]
fn result_types_are_those_of_postgres() {
    for (name, ty, result) in [
        ("sum", Type::Int32, "bigint"),
        ("sum", Type::Int64, "numeric"),
        ("sum", Type::Float4, "real"),
        ("avg", Type::Int32, "numeric"),
        ("avg", Type::Float4, "double precision"),
        ("min", Type::Varchar(Some(4)), "text"),
        ("max", Type::Date, "date"),
        ("stddev", Type::Int32, "numeric"),
        ("variance", Type::Float4, "double precision"),
        ("count", Type::Uuid, "bigint"),
        ("array_agg", Type::Int32, "integer[]"),
    ] {
        assert_eq!(
            resolve_aggregate(name, std::slice::from_ref(&ty)).map(|a| a.result.to_string()).as_deref(),
            Ok(result),
            "{name}({ty})"
        );
    }
    assert_eq!(
        resolve_aggregate("sum", &[Type::Text]).map_err(|e| e.message.clone()).map(|_| ()),
        Err("function sum(text) does not exist".to_owned())
    );
    assert_eq!(
        resolve_aggregate("min", &[Type::Uuid]).map(|_| ()).map_err(|e| e.code.to_string()),
        Err("42883".to_owned())
    );
    assert!(resolve_aggregate("count", &[]).is_ok());
}

#[test]
fn sums_and_averages() {
    assert_eq!(run("sum", &Type::Int32, ints(&[i32::MAX, i32::MAX])).as_deref(), Ok("4294967294"));
    assert_eq!(
        run("sum", &Type::Int64, [Value::Int64(i64::MAX), Value::Int64(1)]).as_deref(),
        Ok("9223372036854775808")
    );
    assert_eq!(run("sum", &Type::Int32, []).as_deref(), Ok("NULL"));
    assert_eq!(run("sum", &Type::Int32, [Value::Null, Value::Int32(2)]).as_deref(), Ok("2"));
    assert_eq!(run("avg", &Type::Int32, ints(&[1, 2])).as_deref(), Ok("1.5000000000000000"));
    assert_eq!(run("avg", &Type::Numeric(None), numerics(&["1.1", "2.2", "3.4"])).as_deref(), Ok("2.2333333333333333"));
    assert_eq!(run("sum", &Type::Numeric(None), numerics(&["1.10", "2.2"])).as_deref(), Ok("3.30"));
    assert_eq!(run("avg", &Type::Float8, [1.0, 2.0, 4.5].map(Value::Float8)).as_deref(), Ok("2.5"));
    assert_eq!(run("sum", &Type::Float8, [1e308, 1e308].map(Value::Float8)), Err("22003".to_owned()));
    let day = Value::Interval(Interval { months: 0, days: 1, micros: 0 });
    assert_eq!(
        run("avg", &Type::Interval, [day.clone(), Value::Interval(Interval::default())]).as_deref(),
        Ok("12:00:00")
    );
    assert_eq!(run("sum", &Type::Interval, [day.clone(), day]).as_deref(), Ok("2 days"));
}

#[test]
fn variances() {
    assert_eq!(run("variance", &Type::Int32, ints(&[1, 2, 3, 4])).as_deref(), Ok("1.6666666666666667"));
    assert_eq!(run("var_pop", &Type::Int32, ints(&[1, 2, 3, 4])).as_deref(), Ok("1.2500000000000000"));
    assert_eq!(run("stddev", &Type::Int32, ints(&[1, 2, 3, 4])).as_deref(), Ok("1.2909944487358056"));
    assert_eq!(run("stddev", &Type::Int32, ints(&[5])).as_deref(), Ok("NULL"));
    assert_eq!(run("stddev_pop", &Type::Int32, ints(&[5])).as_deref(), Ok("0"));
    assert_eq!(run("stddev_pop", &Type::Float8, [2.0, 4.0].map(Value::Float8)).as_deref(), Ok("1"));
    assert_eq!(run("var_samp", &Type::Float8, [2.0, 4.0].map(Value::Float8)).as_deref(), Ok("2"));
}

#[test]
fn the_others() {
    assert_eq!(run("count", &Type::Int32, [Value::Null, Value::Int32(1)]).as_deref(), Ok("1"));
    assert_eq!(run("min", &Type::Int32, ints(&[3, -1, 2])).as_deref(), Ok("-1"));
    assert_eq!(run("max", &Type::Text, ["a", "Z"].map(Value::text)).as_deref(), Ok("a"));
    assert_eq!(run("max", &Type::Int32, [Value::Null]).as_deref(), Ok("NULL"));
    assert_eq!(
        run("bool_and", &Type::Bool, [Value::Bool(true), Value::Null, Value::Bool(false), Value::Bool(true)])
            .as_deref(),
        Ok("f")
    );
    assert_eq!(run("bool_or", &Type::Bool, [Value::Bool(false), Value::Bool(true)]).as_deref(), Ok("t"));
    assert_eq!(run("every", &Type::Bool, []).as_deref(), Ok("NULL"));
    assert_eq!(run("bit_or", &Type::Int32, ints(&[1, 4])).as_deref(), Ok("5"));
    assert_eq!(run("array_agg", &Type::Int32, [Value::Int32(1), Value::Null]).as_deref(), Ok("{1,NULL}"));
    let mut joined = resolve_aggregate("string_agg", &[Type::Text, Type::Unknown]).expect("exists").new_state();
    for value in [Value::text("a"), Value::Null, Value::text("b")] {
        joined.update(&[value, Value::text("-")]).expect("updates");
    }
    assert_eq!(joined.finish(), Ok(Value::text("a-b")));
}

#[test]
fn count_of_rows_takes_no_argument() {
    let mut rows = resolve_aggregate("count", &[]).expect("exists").new_state();
    for _ in 0..3 {
        rows.update(&[]).expect("counts");
    }
    assert_eq!(rows.finish(), Ok(Value::Int64(3)));
}

#[test]
fn distinct_rows_are_seen_once() {
    let mut seen = Seen::default();
    assert!(seen.insert(&[Value::Int32(1)]));
    assert!(!seen.insert(&[Value::Int32(1)]));
    assert!(seen.insert(&[Value::Null]));
    assert!(!seen.insert(&[Value::Null]));
    assert!(seen.memory() > 0);
}
