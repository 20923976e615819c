//! Casts, against what PostgreSQL 15 answers.

use super::*;
use crate::cast::{CastContext, can_cast, cast};
use crate::functions::test_context;

fn text_of_cast(text: &str, from: &Type, to: &Type, kind: CastContext) -> Result<String, String> {
    let context = test_context();
    let value = crate::format::decode_text(text, from, context.format()).expect("a value");
    let result = cast(&context, value, from, to, kind).map_err(|e| e.code.to_string())?;
    if result.is_null() {
        return Ok("NULL".to_owned());
    }
    let mut out = bytes::BytesMut::new();
    crate::format::encode_text(&result, to, context.format(), &mut out);
    Ok(String::from_utf8(out.to_vec()).expect("UTF-8"))
}

fn explicit(text: &str, from: &Type, to: &Type) -> Result<String, String> {
    text_of_cast(text, from, to, CastContext::Explicit)
}

#[test]
fn numbers_round_and_are_checked() {
    let numeric = Type::Numeric(None);
    for (text, from, to, expected) in [
        ("2.5", &Type::Float8, &Type::Int32, Ok("2")),
        ("3.5", &Type::Float8, &Type::Int32, Ok("4")),
        ("2.5", &numeric, &Type::Int32, Ok("3")),
        ("-2.5", &numeric, &Type::Int32, Ok("-3")),
        ("40000", &Type::Int32, &Type::Int16, Err("22003")),
        ("9223372036854775808", &numeric, &Type::Int64, Err("22003")),
        ("9.3e18", &Type::Float8, &Type::Int64, Err("22003")),
        ("NaN", &Type::Float8, &Type::Int32, Err("22003")),
        ("NaN", &numeric, &Type::Int32, Err("0A000")),
        ("1e300", &Type::Float8, &Type::Float4, Err("22003")),
        ("0.1", &Type::Float8, &numeric, Ok("0.1")),
        ("12.345", &numeric, &Type::Numeric(Some((4, 1))), Ok("12.3")),
        ("1", &Type::Int32, &Type::Bool, Ok("t")),
        ("t", &Type::Bool, &Type::Int32, Ok("1")),
        ("t", &Type::Bool, &Type::Text, Ok("true")),
        ("1e30", &Type::Float8, &Type::Text, Ok("1e+30")),
    ] {
        assert_eq!(
            explicit(text, from, to).as_deref(),
            expected.map_err(str::to_owned).as_ref().map(|v| *v),
            "{text} from {from} to {to}"
        );
    }
}

#[test]
fn strings_are_cut_when_asked_and_refused_when_stored() {
    let short = Type::Varchar(Some(3));
    assert_eq!(explicit("abcd", &Type::Text, &short).as_deref(), Ok("abc"));
    assert_eq!(text_of_cast("abcd", &Type::Text, &short, CastContext::Assignment), Err("22001".to_owned()));
    assert_eq!(text_of_cast("abc  ", &Type::Text, &short, CastContext::Assignment).as_deref(), Ok("abc"));
    assert_eq!(explicit("abcd", &Type::Text, &Type::Char(Some(2))).as_deref(), Ok("ab"));
    assert_eq!(explicit("ab", &Type::Text, &Type::Char(Some(4))).as_deref(), Ok("ab  "));
    assert_eq!(explicit("ab  ", &Type::Char(Some(4)), &Type::Text).as_deref(), Ok("ab"), "padding goes");
    assert_eq!(
        text_of_cast("12345", &Type::Int32, &Type::Varchar(Some(3)), CastContext::Assignment),
        Err("22001".to_owned())
    );
    assert_eq!(explicit(" 12 ", &Type::Text, &Type::Int32).as_deref(), Ok("12"));
    assert_eq!(explicit("x", &Type::Unknown, &Type::Int32), Err("22P02".to_owned()));
}

#[test]
fn dates_follow_the_zone() {
    // The test context is in Berlin.
    let (stamp, zoned) = (Type::Timestamp(None), Type::TimestampTz(None));
    assert_eq!(explicit("2024-07-01 12:00", &stamp, &zoned).as_deref(), Ok("2024-07-01 12:00:00+02"));
    assert_eq!(explicit("2024-07-01 22:30+00", &zoned, &Type::Date).as_deref(), Ok("2024-07-02"));
    assert_eq!(explicit("2024-07-01 12:00:00+00", &zoned, &stamp).as_deref(), Ok("2024-07-01 14:00:00"));
    assert_eq!(explicit("2024-07-01 12:34:56", &stamp, &Type::Time(None)).as_deref(), Ok("12:34:56"));
    assert_eq!(explicit("infinity", &Type::Date, &stamp).as_deref(), Ok("infinity"));
    assert_eq!(explicit("infinity", &stamp, &Type::Time(None)).as_deref(), Ok("NULL"));
    assert_eq!(explicit("5000000-01-01", &Type::Date, &stamp), Err("22008".to_owned()));
    assert_eq!(explicit("25:00:00", &Type::Interval, &Type::Time(None)).as_deref(), Ok("01:00:00"));
    assert_eq!(
        explicit("2024-07-01 12:34:56.789", &stamp, &Type::Timestamp(Some(1))).as_deref(),
        Ok("2024-07-01 12:34:56.8")
    );
}

#[test]
fn contexts_allow_what_pg_cast_allows() {
    use CastContext::{Assignment, Explicit, Implicit};
    let weakest = |from: &Type, to: &Type| {
        [Implicit, Assignment, Explicit].into_iter().find(|context| can_cast(from, to, *context))
    };
    assert_eq!(weakest(&Type::Int32, &Type::Int64), Some(Implicit));
    assert_eq!(weakest(&Type::Int64, &Type::Int32), Some(Assignment));
    assert_eq!(weakest(&Type::Numeric(None), &Type::Float8), Some(Implicit));
    assert_eq!(weakest(&Type::Float8, &Type::Numeric(None)), Some(Assignment));
    assert_eq!(weakest(&Type::Int32, &Type::Bool), Some(Explicit));
    assert_eq!(weakest(&Type::Int32, &Type::Text), Some(Assignment));
    assert_eq!(weakest(&Type::Text, &Type::Int32), Some(Explicit));
    assert_eq!(weakest(&Type::Bool, &Type::Date), None);
    assert_eq!(weakest(&Type::Int64, &Type::Bool), None);
    assert_eq!(weakest(&Type::Unknown, &Type::Uuid), Some(Implicit));
    assert_eq!(weakest(&Type::Date, &Type::TimestampTz(None)), Some(Implicit));
    assert_eq!(weakest(&Type::TimestampTz(None), &Type::Date), Some(Assignment));
    let array = |ty: Type| Type::Array(Box::new(ty));
    assert_eq!(weakest(&array(Type::Int32), &array(Type::Int64)), Some(Implicit));
    assert_eq!(weakest(&array(Type::Int32), &Type::Int32), None);
}

#[test]
fn relations_are_looked_up() {
    let context = test_context();
    let regclass = cast(&context, Value::text("known"), &Type::Unknown, &Type::Regclass, CastContext::Explicit);
    assert_eq!(regclass, Ok(Value::Oid(16_384)));
    let name = cast(&context, Value::Oid(16_384), &Type::Regclass, &Type::Text, CastContext::Explicit);
    assert_eq!(name, Ok(Value::text("known")));
    let unknown = cast(&context, Value::text("nowhere"), &Type::Unknown, &Type::Regclass, CastContext::Explicit);
    assert_eq!(unknown.map_err(|e| e.code), Err(SqlState::UNDEFINED_TABLE));
}
