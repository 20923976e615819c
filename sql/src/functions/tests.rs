//! Operators and functions, against what PostgreSQL 15 answers. The session of these tests is in Berlin, on 2024-07-01 12:00 UTC.

use super::*;
use crate::cast::{CastContext, cast, resolve_cast};
use crate::value::{TimeZone, USECS_PER_DAY, days_from_civil};

pub(crate) struct TestContext {
    format: FormatSettings,
    now: i64,
}

pub(crate) fn test_context() -> TestContext {
    let now = days_from_civil(2024, 7, 1) * USECS_PER_DAY + USECS_PER_DAY / 2;
    let format = FormatSettings {
        time_zone: TimeZone::parse("Europe/Berlin").expect("known"),
        now: Some(now),
        ..FormatSettings::default()
    };
    TestContext { format, now }
}

impl EvalContext for TestContext {
    fn transaction_timestamp(&self) -> i64 {
        self.now
    }

    fn statement_timestamp(&self) -> i64 {
        self.now
    }

    fn format(&self) -> &FormatSettings {
        &self.format
    }

    fn setting(&self, name: &str) -> Option<String> {
        (name == "TimeZone").then(|| self.format.time_zone.name().to_owned())
    }

    fn change_setting(&self, _: &str, value: &str, _: bool) -> Result<String, Error> {
        Ok(value.to_owned())
    }

    fn database(&self) -> &str {
        "demo"
    }

    fn user(&self) -> &str {
        "alice"
    }

    fn backend_pid(&self) -> i32 {
        42
    }

    fn relation_oid(&self, name: &str) -> Option<u32> {
        (name == "known").then_some(16_384)
    }

    fn relation_name(&self, oid: u32) -> Option<String> {
        (oid == 16_384).then(|| "known".to_owned())
    }
}

/// A literal: `12`, `1.5`, `'text'`, `NULL`, or one with a type: `'2024-01-01'::date`.
pub(super) fn literal(text: &str) -> (Value, Type) {
    let context = test_context();
    if let Some((value, ty)) = text.split_once("::") {
        let ty = ty.strip_suffix(')').and_then(|t| t.split_once('(')).map_or_else(
            || Type::from_name(ty, &[]),
            |(name, modifiers)| {
                Type::from_name(name, &modifiers.split(',').map(|m| m.parse().expect("a number")).collect::<Vec<_>>())
            },
        );
        let ty = ty.expect("a type");
        let (value, from) = literal(value);
        return (cast(&context, value, &from, &ty, CastContext::Explicit).expect("casts"), ty);
    }
    if let Some(inner) = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
        return (Value::text(inner), Type::Unknown);
    }
    if text == "NULL" {
        return (Value::Null, Type::Unknown);
    }
    if text == "true" || text == "false" {
        return (Value::Bool(text == "true"), Type::Bool);
    }
    if let Ok(number) = text.parse::<i32>() {
        return (Value::Int32(number), Type::Int32);
    }
    if let Ok(number) = text.parse::<i64>() {
        return (Value::Int64(number), Type::Int64);
    }
    (Value::Numeric(crate::value::Numeric::parse(text).expect("a number")), Type::Numeric(None))
}

fn coerce(context: &dyn EvalContext, value: Value, from: &Type, to: &Type) -> Value {
    let kind = if crate::cast::is_implicit(from, to) { CastContext::Implicit } else { CastContext::Assignment };
    resolve_cast(from, to, kind).expect("what was resolved is castable").apply(context, value).expect("casts")
}

fn show(value: &Value, ty: &Type) -> String {
    if value.is_null() {
        return "NULL".to_owned();
    }
    let mut out = bytes::BytesMut::new();
    crate::format::encode_text(value, ty, test_context().format(), &mut out);
    String::from_utf8(out.to_vec()).expect("UTF-8")
}

/// `function(arg, arg)`'s answer as text, or the SQLSTATE.
pub(super) fn call(name: &str, arguments: &[&str]) -> Result<String, String> {
    let context = test_context();
    let (values, types): (Vec<Value>, Vec<Type>) = arguments.iter().map(|a| literal(a)).unzip();
    let function = resolve_function(name, &types).map_err(|e| e.code.to_string())?;
    let values: Vec<Value> = values
        .into_iter()
        .zip(&types)
        .zip(&function.arguments)
        .map(|((value, from), to)| coerce(&context, value, from, to))
        .collect();
    function.call(&context, &values).map(|value| show(&value, &function.result)).map_err(|e| e.code.to_string())
}

pub(super) fn binary(left: &str, op: BinaryOp, right: &str) -> Result<String, String> {
    let context = test_context();
    let ((left, left_type), (right, right_type)) = (literal(left), literal(right));
    let found = resolve_binary(op, &left_type, &right_type).map_err(|e| e.code.to_string())?;
    let left = coerce(&context, left, &left_type, &found.left);
    let right = coerce(&context, right, &right_type, &found.right);
    found.call(&context, &left, &right).map(|value| show(&value, &found.result)).map_err(|e| e.code.to_string())
}

pub(super) fn op(symbol: &str) -> BinaryOp {
    use BinaryOp::*;
    let all = [
        Add,
        Subtract,
        Multiply,
        Divide,
        Modulo,
        Power,
        Equal,
        NotEqual,
        Less,
        LessEqual,
        Greater,
        GreaterEqual,
        Concat,
        Like,
        NotLike,
        ILike,
        NotILike,
        Match,
        NotMatch,
        MatchInsensitive,
        NotMatchInsensitive,
        BitAnd,
        BitOr,
        BitXor,
        ShiftLeft,
        ShiftRight,
        AtTimeZone,
    ];
    all.into_iter().find(|op| op.symbol() == symbol).expect("an operator")
}

/// Lines of `left | operator | right | answer`.
fn operators(table: &str) {
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let parts: Vec<&str> = line.split(" ; ").map(str::trim).collect();
        let [left, symbol, right, expected] = parts[..] else { panic!("{line}") };
        let answer = binary(left, op(symbol), right).unwrap_or_else(|code| format!("ERROR {code}"));
        assert_eq!(answer, expected, "{line}");
    }
}

/// Lines of `name ; arguments… ; answer`.
fn functions(table: &str) {
    for line in table.lines().map(str::trim_start).filter(|line| !line.is_empty()) {
        let parts: Vec<&str> = line.split(" ; ").collect();
        let (name, arguments, expected) = (parts[0], &parts[1..parts.len() - 1], parts[parts.len() - 1]);
        let answer = call(name, arguments).unwrap_or_else(|code| format!("ERROR {code}"));
        assert_eq!(answer, expected, "{line}");
    }
}

#[test]
fn arithmetic_is_checked() {
    operators(
        "
        2147483647 ; + ; 1 ; ERROR 22003
        2147483647 ; + ; 1::int8 ; 2147483648
        32767::int2 ; + ; 1::int2 ; ERROR 22003
        32767::int2 ; + ; 1 ; 32768
        9223372036854775807 ; * ; 2 ; ERROR 22003
        7 ; / ; 2 ; 3
        -7 ; / ; 2 ; -3
        -7 ; % ; 2 ; -1
        1 ; / ; 0 ; ERROR 22012
        1 ; % ; 0 ; ERROR 22012
        -2147483648 ; / ; -1 ; ERROR 22003
        -2147483648 ; % ; -1 ; 0
        1.5 ; + ; 1 ; 2.5
        1.5 ; * ; 1.50 ; 2.250
        1 ; / ; 3.0 ; 0.33333333333333333333
        1.0 ; / ; 0 ; ERROR 22012
        1::float8 ; / ; 0 ; ERROR 22012
        '1e300'::float8 ; * ; '1e300'::float8 ; ERROR 22003
        0.1::float8 ; + ; 0.2::float8 ; 0.30000000000000004
        0.1::float4 ; + ; 0.2::float8 ; 0.30000000149011613
        2 ; ^ ; 10 ; 1024
        2.0 ; ^ ; 0.5 ; 1.4142135623730950
        5 ; & ; 3 ; 1
        5 ; | ; 3 ; 7
        5 ; # ; 3 ; 6
        1 ; << ; 4 ; 16
        -8 ; >> ; 1 ; -4
        '1' ; + ; 2 ; 3
        1 ; + ; NULL ; NULL
        1 ; + ; true ; ERROR 42883
        'a' ; + ; 'b' ; ERROR 42725
    ",
    );
}

#[test]
fn comparisons_cross_types() {
    operators(
        "
        1::int2 ; = ; 1::int8 ; t
        1 ; < ; 1.5 ; t
        1::float4 ; = ; 1::float8 ; t
        'NaN'::float8 ; > ; 'Infinity'::float8 ; t
        'a' ; < ; 'b' ; t
        'ab'::char(5) ; = ; 'ab' ; t
        'ab'::char(5) ; = ; 'ab'::text ; t
        'Z' ; < ; 'a'::text ; t
        'x'::varchar ; = ; 'x'::name ; t
        '2024-01-01'::date ; < ; '2024-01-01 00:00:01'::timestamp ; t
        '2024-01-01'::date ; = ; '2023-12-31 23:00+00'::timestamptz ; t
        '1 month'::interval ; = ; '30 days'::interval ; t
        '\\x00'::bytea ; < ; '\\x01'::bytea ; t
        true ; > ; false ; t
        1 ; = ; NULL ; NULL
        1 ; = ; 'x'::text ; ERROR 42883
        1 ; <> ; '1' ; f
    ",
    );
}

#[test]
fn strings_join_and_match() {
    operators(
        "
        'a' ; || ; 'b' ; ab
        'a'::text ; || ; 1 ; a1
        1 ; || ; 'a'::text ; 1a
        'ab'::char(4) ; || ; 'c' ; abc
        'a'::text ; || ; true ; atrue
        1 ; || ; 2 ; ERROR 42883
        'abc' ; ~~ ; 'a%' ; t
        'abc' ; !~~ ; 'a_c' ; f
        'ABC' ; ~~* ; 'a%' ; t
        'ab'::char(4) ; ~~ ; 'ab' ; f
        'ab'::char(4) ; ~~ ; 'ab  ' ; t
        'thomas' ; ~ ; '.*thom.*' ; t
        'thomas' ; ~* ; 'THOM' ; t
        'thomas' ; !~ ; 'vadim' ; t
        'x' ; ~ ; '(' ; ERROR 2201B
    ",
    );
}

#[test]
fn dates_and_intervals_add_up() {
    operators(
        "
        '2001-09-28'::date ; + ; 7 ; 2001-10-05
        '2001-09-28'::date ; + ; '1 hour'::interval ; 2001-09-28 01:00:00
        '2001-10-01'::date ; - ; '2001-09-28'::date ; 3
        '2001-09-28 01:00'::timestamp ; + ; '23 hours'::interval ; 2001-09-29 00:00:00
        '2024-01-31'::date ; + ; '1 month'::interval ; 2024-02-29 00:00:00
        '2001-09-29 03:00'::timestamp ; - ; '2001-07-27 12:00'::timestamp ; 63 days 15:00:00
        '2024-03-30 12:00'::timestamptz ; + ; '1 day'::interval ; 2024-03-31 12:00:00+02
        '2024-03-30 12:00'::timestamptz ; + ; '24 hours'::interval ; 2024-03-31 13:00:00+02
        '1 day'::interval ; - ; '1 hour'::interval ; 1 day -01:00:00
        '1 hour'::interval ; * ; 2.5::float8 ; 02:30:00
        900::float8 ; * ; '1 second'::interval ; 00:15:00
        '1 hour'::interval ; / ; 1.5::float8 ; 00:40:00
        '05:00'::time ; - ; '03:00'::time ; 02:00:00
        '23:00'::time ; + ; '2 hours'::interval ; 01:00:00
        '2024-01-01'::date ; + ; '05:00'::time ; 2024-01-01 05:00:00
        '2024-07-01 12:00'::timestamp ; AT TIME ZONE ; 'America/New_York' ; 2024-07-01 18:00:00+02
        '2024-07-01 12:00+00'::timestamptz ; AT TIME ZONE ; 'America/New_York' ; 2024-07-01 08:00:00
        '2024-07-01 12:00+00'::timestamptz ; AT TIME ZONE ; 'nowhere' ; ERROR 22023
        '5874897-12-31'::date ; + ; 1 ; ERROR 22008
        'infinity'::date ; + ; 1 ; infinity
        'infinity'::timestamp ; - ; '2024-01-01'::timestamp ; ERROR 22008
    ",
    );
}

#[test]
fn unary_operators() {
    let unary = |op: UnaryOp, text: &str| {
        let (value, ty) = literal(text);
        let found = resolve_unary(op, &ty).map_err(|e| e.code.to_string())?;
        let value = coerce(&test_context(), value, &ty, &found.argument);
        found.call(&test_context(), &value).map(|value| show(&value, &found.result)).map_err(|e| e.code.to_string())
    };
    assert_eq!(unary(UnaryOp::Minus, "5").as_deref(), Ok("-5"));
    assert_eq!(unary(UnaryOp::Minus, "-2147483648"), Err("22003".to_owned()));
    assert_eq!(unary(UnaryOp::Minus, "1.50").as_deref(), Ok("-1.50"));
    assert_eq!(unary(UnaryOp::Minus, "'1 day'::interval").as_deref(), Ok("-1 days"));
    assert_eq!(unary(UnaryOp::BitNot, "5").as_deref(), Ok("-6"));
    assert_eq!(unary(UnaryOp::Abs, "-5").as_deref(), Ok("5"));
    assert_eq!(unary(UnaryOp::SquareRoot, "16").as_deref(), Ok("4"));
    assert_eq!(unary(UnaryOp::Minus, "NULL::int4").as_deref(), Ok("NULL"));
    assert_eq!(unary(UnaryOp::Minus, "NULL"), Err("42725".to_owned()));
    assert_eq!(unary(UnaryOp::Minus, "true"), Err("42883".to_owned()));
    let missing = resolve_binary(BinaryOp::Add, &Type::Int32, &Type::Bool).map_err(|e| e.message.clone()).map(|_| ());
    assert_eq!(missing, Err("operator does not exist: integer + boolean".to_owned()));
}

#[test]
fn mathematical_functions() {
    functions(
        "
        abs ; -5 ; 5
        abs ; -1.50 ; 1.50
        ceil ; 1.2 ; 2
        ceil ; -1.2::float8 ; -1
        floor ; -1.2 ; -2
        round ; 2.5 ; 3
        round ; 2.5::float8 ; 2
        round ; 42.4382 ; 2 ; 42.44
        round ; 1234.56 ; -1 ; 1230
        trunc ; 42.4382 ; 2 ; 42.43
        trunc ; -1.9::float8 ; -1
        sign ; -8.4 ; -1
        sqrt ; 2 ; 1.4142135623730951
        sqrt ; 2.0 ; 1.414213562373095
        sqrt ; -1 ; ERROR 2201F
        power ; 9 ; 3 ; 729
        power ; 9.0 ; 3 ; 729.0000000000000000
        mod ; 9 ; 4 ; 1
        mod ; -9.5 ; 4 ; -1.5
        div ; 9 ; 4 ; 2
        ln ; 2.0 ; 0.6931471805599453
        ln ; 0 ; ERROR 2201E
        log ; 100 ; 2
        log ; 2.0 ; 64.0 ; 6.0000000000000000
        exp ; 1.0 ; 2.7182818284590452
        gcd ; 1071 ; 462 ; 21
        lcm ; 1071 ; 462 ; 23562
        factorial ; 5 ; 120
        pi ; 3.141592653589793
        degrees ; 0.5::float8 ; 28.64788975654116
        sin ; 0 ; 0
        atan2 ; 1 ; 1 ; 0.7853981633974483
        asin ; 2 ; ERROR 22003
        width_bucket ; 5.35 ; 0.024 ; 10.06 ; 5 ; 3
        scale ; 8.410 ; 3
        trim_scale ; 8.4100 ; 8.41
        abs ; NULL ; NULL
        abs ; true ; ERROR 42883
        nosuch ; 1 ; ERROR 42883
    ",
    );
    let missing = resolve_function("abs", &[Type::Bool]).map_err(|e| (e.message.clone(), e.hint.clone())).map(|_| ());
    let hint = "No function matches the given name and argument types. You might need to add explicit type casts.";
    assert_eq!(missing, Err(("function abs(boolean) does not exist".to_owned(), Some(hint.to_owned()))));
}

#[test]
fn string_functions() {
    functions(
        "
        length ; 'jose' ; 4
        length ; 'äö'::text ; 2
        length ; 'ab'::char(5) ; 2
        octet_length ; 'äö'::text ; 4
        octet_length ; 'ab'::char(5) ; 5
        lower ; 'TOM' ; tom
        upper ; 'tom' ; TOM
        initcap ; 'hi THOMAS' ; Hi Thomas
        substr ; 'alphabet' ; 3 ; phabet
        substr ; 'alphabet' ; 3 ; 2 ; ph
        substring ; 'Thomas' ; -1 ; 3 ; T
        substring ; 'Thomas' ; 2 ; -1 ; ERROR 22011
        substring ; 'Thomas' ; '...$' ; mas
        substring ; 'foobar' ; 'o(.)b' ; o
        left ; 'abcde' ; 2 ; ab
        left ; 'abcde' ; -2 ; abc
        right ; 'abcde' ; 2 ; de
        right ; 'abcde' ; -2 ; cde
        btrim ; 'xyxtrimyyx' ; 'xyz' ; trim
        ltrim ; '  x ' ; x 
        rtrim ; 'testxxzx' ; 'xyz' ; test
        lpad ; 'hi' ; 5 ; 'xy' ; xyxhi
        lpad ; 'hello' ; 3 ; hel
        rpad ; 'hi' ; 5 ; 'xy' ; hixyx
        repeat ; 'Pg' ; 4 ; PgPgPgPg
        repeat ; 'x' ; 2000000000 ; ERROR 54000
        replace ; 'abcdefabcdef' ; 'cd' ; 'XX' ; abXXefabXXef
        translate ; '12345' ; '143' ; 'ax' ; a2x5
        strpos ; 'high' ; 'ig' ; 2
        split_part ; 'abc~@~def~@~ghi' ; '~@~' ; 2 ; def
        split_part ; 'abc,def,ghi' ; ',' ; -2 ; def
        split_part ; 'abc' ; ',' ; 0 ; ERROR 22023
        reverse ; 'abc' ; cba
        starts_with ; 'alphabet' ; 'alph' ; t
        overlay ; 'Txxxxas' ; 'hom' ; 2 ; 4 ; Thomas
        concat ; 'a' ; NULL ; 1 ; true ; a1t
        concat_ws ; ',' ; 'a' ; NULL ; 2 ; a,2
        format ; 'Hello %s, %I %L %%' ; 'World' ; 'Foo' ; 'O' ; Hello World, \"Foo\" 'O' %
        md5 ; 'abc' ; 900150983cd24fb0d6963f7d28e17f72
        ascii ; 'x' ; 120
        chr ; 65 ; A
        chr ; 0 ; ERROR 54000
        to_hex ; 255 ; ff
        to_hex ; -1 ; ffffffff
        encode ; 'abc'::bytea ; 'base64' ; YWJj
        decode ; '616263' ; 'hex' ; \\x616263
        regexp_replace ; 'foobarbaz' ; 'b..' ; 'X' ; fooXbaz
        regexp_replace ; 'foobarbaz' ; 'b(..)' ; 'X\\1Y' ; 'g' ; fooXarYXazY
        regexp_match ; 'foobarbequebaz' ; '(bar)(beque)' ; {bar,beque}
        string_to_array ; 'xx~^~yy~^~zz' ; '~^~' ; 'yy' ; {xx,NULL,zz}
        quote_ident ; 'Foo bar' ; \"Foo bar\"
        quote_literal ; 42.5 ; '42.5'
        quote_nullable ; NULL ; NULL
    ",
    );
}

#[test]
fn date_functions() {
    functions(
        "
        now ; 2024-07-01 14:00:00+02
        current_date ; 2024-07-01
        localtimestamp ; 2024-07-01 14:00:00
        extract ; 'year' ; '2001-02-16 20:38:40'::timestamp ; 2001
        extract ; 'second' ; '2001-02-16 20:38:40.12'::timestamp ; 40.120000
        extract ; 'milliseconds' ; '2001-02-16 20:38:28.5'::timestamp ; 28500.000
        extract ; 'epoch' ; '2001-02-16 20:38:40.12-08'::timestamptz ; 982384720.120000
        extract ; 'epoch' ; '5 days 3 hours'::interval ; 442800.000000
        extract ; 'dow' ; '2001-02-16'::date ; 5
        extract ; 'isodow' ; '2001-02-18'::date ; 7
        extract ; 'doy' ; '2001-02-16'::date ; 47
        extract ; 'week' ; '2005-01-01'::date ; 53
        extract ; 'isoyear' ; '2006-01-01'::date ; 2005
        extract ; 'century' ; '2000-12-16'::date ; 20
        extract ; 'century' ; '2001-02-16'::date ; 21
        extract ; 'millennium' ; '2001-02-16'::date ; 3
        extract ; 'decade' ; '2001-02-16'::date ; 200
        extract ; 'quarter' ; '2001-02-16'::date ; 1
        extract ; 'julian' ; '2006-01-01'::date ; 2453737
        extract ; 'julian' ; '2006-01-01 12:00'::timestamp ; 2453737.50000000000000000000
        extract ; 'timezone' ; '2024-07-01 12:00+00'::timestamptz ; 7200
        extract ; 'hour' ; '2001-02-16'::date ; ERROR 0A000
        extract ; 'nonsense' ; '2001-02-16'::date ; ERROR 22023
        extract ; 'year' ; 'infinity'::timestamp ; Infinity
        extract ; 'day' ; 'infinity'::timestamp ; NULL
        date_part ; 'hour' ; '4 hours 3 minutes'::interval ; 4
        date_part ; 'hour' ; '2001-02-16'::date ; 0
        date_trunc ; 'hour' ; '2001-02-16 20:38:40'::timestamp ; 2001-02-16 20:00:00
        date_trunc ; 'year' ; '2001-02-16 20:38:40'::timestamp ; 2001-01-01 00:00:00
        date_trunc ; 'week' ; '2001-02-16 20:38:40'::timestamp ; 2001-02-12 00:00:00
        date_trunc ; 'quarter' ; '2001-05-16'::timestamp ; 2001-04-01 00:00:00
        date_trunc ; 'decade' ; '2001-05-16'::timestamp ; 2000-01-01 00:00:00
        date_trunc ; 'century' ; '2001-05-16'::timestamp ; 2001-01-01 00:00:00
        date_trunc ; 'day' ; '2024-07-01 23:30+00'::timestamptz ; 2024-07-02 00:00:00+02
        date_trunc ; 'day' ; '2024-07-01 03:00+00'::timestamptz ; 'America/New_York' ; 2024-06-30 06:00:00+02
        date_trunc ; 'hour' ; '3 days 02:47:33'::interval ; 3 days 02:00:00
        date_trunc ; 'week' ; '3 days'::interval ; ERROR 0A000
        age ; '2001-04-10'::timestamp ; '1957-06-13'::timestamp ; 43 years 9 mons 27 days
        age ; '1957-06-13'::timestamp ; '2001-04-10'::timestamp ; -43 years -9 mons -27 days
        make_date ; 2013 ; 7 ; 15 ; 2013-07-15
        make_date ; 2013 ; 2 ; 30 ; ERROR 22008
        make_time ; 8 ; 15 ; 23.5::float8 ; 08:15:23.5
        make_timestamp ; 2013 ; 7 ; 15 ; 8 ; 15 ; 23.5::float8 ; 2013-07-15 08:15:23.5
        to_timestamp ; 1284352323.5::float8 ; 2010-09-13 06:32:03.5+02
        justify_days ; '35 days'::interval ; 1 mon 5 days
        justify_hours ; '27 hours'::interval ; 1 day 03:00:00
        justify_interval ; '1 mon -1 hour'::interval ; 29 days 23:00:00
        isfinite ; 'infinity'::date ; f
        timezone ; 'UTC' ; '2024-07-01 12:00'::timestamp ; 2024-07-01 14:00:00+02
        date ; '2024-07-01 12:00'::timestamp ; 2024-07-01
    ",
    );
}

#[test]
fn formatting_functions() {
    functions(
        "
        to_char ; '2002-04-20 17:31:12.66'::timestamp ; 'HH12:MI:SS' ; 05:31:12
        to_char ; '2002-04-20 17:31:12.66'::timestamp ; 'YYYY-MM-DD HH24:MI:SS.MS' ; 2002-04-20 17:31:12.660
        to_char ; '2002-04-05 17:31:12'::timestamp ; 'Day, DD Mon YYYY' ; Friday   , 05 Apr 2002
        to_char ; '2002-04-05 17:31:12'::timestamp ; 'FMDay, FMDD FMMonth YYYY' ; Friday, 5 April 2002
        to_char ; '2002-04-05 17:31:12'::timestamp ; 'DDth' ; 05th
        to_char ; '2002-04-05 07:31:12'::timestamp ; 'HH:MI AM' ; 07:31 AM
        to_char ; '2002-04-05'::timestamp ; 'Q DDD WW IW J' ; 2 095 14 14 2452370
        to_char ; '2024-07-01 12:00+00'::timestamptz ; 'HH24:MI TZ OF' ; 14:00 CEST +02
        to_char ; '15h 2m 12s'::interval ; 'HH24:MI:SS' ; 15:02:12
        to_char ; 125 ; '999' ;  125
        to_char ; -125.8 ; '999D9' ; -125.8
        to_char ; 0.1 ; '0.9' ;  0.1
        to_char ; 12 ; '9990999.9' ;     0012.0
        to_char ; 12 ; 'FM9990999.9' ; 0012.
        to_char ; 485 ; '999' ;  485
        to_char ; -485 ; '999' ; -485
        to_char ; 1485 ; '9,999' ;  1,485
        to_char ; 148.5 ; '999.999' ;  148.500
        to_char ; 148.5 ; 'FM999.999' ; 148.5
        to_char ; 148.5 ; 'FM999.990' ; 148.500
        to_char ; -485 ; '999S' ; 485-
        to_char ; -485 ; '999MI' ; 485-
        to_char ; 485 ; 'PL999' ; + 485
        to_char ; -485 ; '999PR' ; <485>
        to_char ; 485 ; 'L999' ;   485
        to_char ; 485 ; 'RN' ;         CDLXXXV
        to_char ; 5.2 ; 'FMRN' ; V
        to_char ; 482 ; '999th' ;  482nd
        to_char ; 12 ; '99V999' ;  12000
        to_char ; 0.0004859 ; '9.99EEEE' ;  4.86e-04
        to_char ; 12345 ; '999' ;  ###
        to_number ; '12,454.8-' ; '99G999D9S' ; -12454.8
        to_date ; '05 Dec 2000' ; 'DD Mon YYYY' ; 2000-12-05
        to_timestamp ; '05 Dec 2000' ; 'DD Mon YYYY' ; 2000-12-05 00:00:00+01
        to_timestamp ; '2024-07-01 13:14:15.5' ; 'YYYY-MM-DD HH24:MI:SS.MS' ; 2024-07-01 13:14:15.5+02
        to_date ; '20240701' ; 'YYYYMMDD' ; 2024-07-01
        to_date ; '2024-13-01' ; 'YYYY-MM-DD' ; ERROR 22008
        to_date ; 'x' ; 'YYYY' ; ERROR 22007
    ",
    );
}

#[test]
fn session_functions() {
    functions(
        "
        current_database ; demo
        current_user ; alice
        session_user ; alice
        current_schema ; public
        pg_backend_pid ; 42
        current_setting ; 'TimeZone' ; Europe/Berlin
        current_setting ; 'nope' ; ERROR 42704
        current_setting ; 'nope' ; true ; NULL
        format_type ; 23 ; NULL ; integer
        pg_typeof ; 1.5 ; numeric
        pg_typeof ; 'x' ; unknown
        int4 ; '42'::text ; 42
        text ; 42 ; 42
        array_to_string ; '{1,NULL,3}'::int4[] ; ',' ; '*' ; 1,*,3
        array_length ; '{1,2}'::int4[] ; 1 ; 2
        num_nulls ; 1 ; NULL ; NULL ; 2
    ",
    );
    assert!(call("version", &[]).expect("answers").starts_with("PostgreSQL 15"));
    assert!(call("gen_random_uuid", &[]).expect("answers") != call("gen_random_uuid", &[]).expect("answers"));
    let random: f64 = call("random", &[]).expect("answers").parse().expect("a number");
    assert!((0.0..1.0).contains(&random));
}

#[test]
fn volatilities_let_plans_fold() {
    let of = |name: &str, types: &[Type]| resolve_function(name, types).expect("exists").volatility;
    assert_eq!(of("abs", &[Type::Int32]), Volatility::Immutable);
    assert_eq!(of("now", &[]), Volatility::Stable);
    assert_eq!(of("random", &[]), Volatility::Volatile);
    assert_eq!(of("date_trunc", &[Type::Text, Type::TimestampTz(None)]), Volatility::Stable);
    let plus = resolve_binary(BinaryOp::Add, &Type::TimestampTz(None), &Type::Interval).expect("exists");
    assert_eq!(plus.volatility, Volatility::Stable);
}

#[test]
fn any_and_all_know_nulls() {
    let context = test_context();
    let equal = resolve_binary(BinaryOp::Equal, &Type::Int32, &Type::Int32).expect("exists");
    let array = |values: Vec<Value>| crate::value::Array::new(Type::Int32, values);
    let one = Value::Int32(1);
    assert_eq!(logic::any(&context, &equal, &one, &array(vec![Value::Null, one.clone()])), Ok(Some(true)));
    assert_eq!(logic::any(&context, &equal, &one, &array(vec![Value::Null, Value::Int32(2)])), Ok(None));
    assert_eq!(logic::any(&context, &equal, &one, &array(vec![])), Ok(Some(false)));
    assert_eq!(logic::all(&context, &equal, &one, &array(vec![])), Ok(Some(true)));
    assert_eq!(logic::all(&context, &equal, &one, &array(vec![one.clone(), Value::Null])), Ok(None));
    assert_eq!(logic::all(&context, &equal, &one, &array(vec![Value::Int32(2), Value::Null])), Ok(Some(false)));
}
