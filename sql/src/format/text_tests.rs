//! Text in and out, against what PostgreSQL 15 answers.

use super::*;
use crate::format::IntervalStyle;
use crate::value::TimeZone;

fn settings(zone: &str) -> FormatSettings {
    FormatSettings { time_zone: TimeZone::parse(zone).expect("a zone"), now: Some(0), ..FormatSettings::default() }
}

/// What a text reads as and is written as again, or the SQLSTATE it is refused with.
fn through(text: &str, ty: &Type, settings: &FormatSettings) -> Result<String, String> {
    let value = decode_text(text, ty, settings).map_err(|e| e.code.to_string())?;
    let mut out = BytesMut::new();
    encode_text(&value, ty, settings, &mut out);
    Ok(String::from_utf8(out.to_vec()).expect("UTF-8"))
}

fn check(ty: &Type, cases: &[(&str, &str)]) {
    let settings = settings("UTC");
    for (input, expected) in cases {
        assert_eq!(through(input, ty, &settings).as_deref(), Ok(*expected), "{input} as {ty}");
    }
}

fn refuse(ty: &Type, cases: &[(&str, &str)]) {
    let settings = settings("UTC");
    for (input, code) in cases {
        assert_eq!(through(input, ty, &settings), Err((*code).to_owned()), "{input} as {ty}");
    }
}

#[test]
fn booleans_and_numbers() {
    check(
        &Type::Bool,
        &[
            ("t", "t"),
            (" TRUE ", "t"),
            ("yes", "t"),
            ("on", "t"),
            ("1", "t"),
            ("f", "f"),
            ("of", "f"),
            ("n", "f"),
            ("0", "f"),
        ],
    );
    refuse(&Type::Bool, &[("o", "22P02"), ("", "22P02"), ("truex", "22P02"), ("2", "22P02")]);
    check(&Type::Int32, &[(" 42 ", "42"), ("-2147483648", "-2147483648"), ("+7", "7"), ("007", "7")]);
    refuse(
        &Type::Int32,
        &[
            ("2147483648", "22003"),
            ("99999999999999999999", "22003"),
            ("", "22P02"),
            ("1.5", "22P02"),
            ("0x1", "22P02"),
            ("- 1", "22P02"),
        ],
    );
    refuse(&Type::Int16, &[("32768", "22003")]);
    check(&Type::Oid, &[("4294967295", "4294967295"), ("-1", "4294967295")]);
    check(&Type::Regtype, &[("int4", "integer"), ("25", "text"), ("-", "-")]);
    refuse(&Type::Regtype, &[("nonsense", "42704")]);
    let message = decode_text("abc", &Type::Int32, &settings("UTC")).map_err(|e| e.message.clone());
    assert_eq!(message, Err("invalid input syntax for type integer: \"abc\"".to_owned()));
    let message = decode_text("40000", &Type::Int16, &settings("UTC")).map_err(|e| e.message.clone());
    assert_eq!(message, Err("value \"40000\" is out of range for type smallint".to_owned()));
}

#[test]
fn floats_are_shortest() {
    check(
        &Type::Float8,
        &[
            ("0.1", "0.1"),
            ("1", "1"),
            ("-0", "-0"),
            ("100000", "100000"),
            ("1e14", "100000000000000"),
            ("1e15", "1e+15"),
            ("123456789012345678", "1.2345678901234568e+17"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1.5e300", "1.5e+300"),
            ("nan", "NaN"),
            ("-inf", "-Infinity"),
            ("0.30000000000000004", "0.30000000000000004"),
            // Just between two floats, so one digit more than needed.
            ("-3.397654817054727e+16", "-3.3976548170547272e+16"),
            ("9007199254740993", "9.007199254740992e+15"),
        ],
    );
    refuse(&Type::Float8, &[("1e400", "22003"), ("1e-400", "22003"), ("", "22P02"), ("x", "22P02"), ("1e", "22P02")]);
    check(
        &Type::Float4,
        &[
            ("0.1", "0.1"),
            ("1e6", "1e+06"),
            ("123456", "123456"),
            ("1234567", "1.234567e+06"),
            ("16777216", "1.6777216e+07"),
        ],
    );
    refuse(&Type::Float4, &[("1e40", "22003")]);
    let mut out = String::new();
    write_float8(0.1 + 0.2, 0, &mut out).expect("writes");
    out.push(' ');
    write_float8(1e15, 0, &mut out).expect("writes");
    out.push(' ');
    write_float4(1.0 / 3.0, -2, &mut out).expect("writes");
    assert_eq!(out, "0.3 1e+15 0.3333");
}

#[test]
fn strings_have_their_lengths() {
    check(&Type::Char(Some(5)), &[("ab", "ab   "), ("abcde   ", "abcde")]);
    refuse(&Type::Char(Some(2)), &[("abc", "22001")]);
    check(&Type::Varchar(Some(3)), &[("abc", "abc"), ("abc  ", "abc"), ("äöü", "äöü")]);
    refuse(&Type::Varchar(Some(3)), &[("abcd", "22001")]);
    refuse(&Type::Text, &[("a\0b", "22021")]);
    let long = "x".repeat(70);
    check(&Type::Name, &[(&long, &long[..63])]);
    check(&Type::Numeric(Some((5, 2))), &[("1.005", "1.01"), ("999.99", "999.99")]);
    refuse(&Type::Numeric(Some((5, 2))), &[("999.995", "22003")]);
}

#[test]
fn bytes_and_uuids() {
    check(&Type::Bytea, &[("\\x0aFF", "\\x0aff"), ("a\\\\b\\001", "\\x615c6201"), ("", "\\x")]);
    refuse(&Type::Bytea, &[("\\xabc", "22023"), ("\\xzz", "22023"), ("a\\b", "22P02")]);
    let escape = FormatSettings { bytea_output: ByteaOutput::Escape, ..settings("UTC") };
    assert_eq!(through("\\x615c01ff", &Type::Bytea, &escape).as_deref(), Ok("a\\\\\\001\\377"));
    let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
    check(
        &Type::Uuid,
        &[
            (uuid, uuid),
            ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", uuid),
            ("{a0eebc999c0b4ef8bb6d6bb9bd380a11}", uuid),
            ("a0ee-bc99-9c0b-4ef8-bb6d-6bb9-bd38-0a11", uuid),
        ],
    );
    refuse(
        &Type::Uuid,
        &[
            ("a0eebc99", "22P02"),
            ("{a0eebc999c0b4ef8bb6d6bb9bd380a11", "22P02"),
            ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g", "22P02"),
        ],
    );
}

#[test]
fn dates() {
    check(
        &Type::Date,
        &[
            ("1999-01-08", "1999-01-08"),
            ("January 8, 1999", "1999-01-08"),
            ("1/8/1999", "1999-01-08"),
            ("1/18/1999", "1999-01-18"),
            ("01/02/03", "2003-01-02"),
            ("1999-Jan-08", "1999-01-08"),
            ("Jan-08-1999", "1999-01-08"),
            ("08-Jan-1999", "1999-01-08"),
            ("08-Jan-99", "1999-01-08"),
            ("19990108", "1999-01-08"),
            ("990108", "1999-01-08"),
            ("J2451187", "1999-01-08"),
            ("January 8, 99 BC", "0099-01-08 BC"),
            ("2024-02-29", "2024-02-29"),
            ("infinity", "infinity"),
            ("-infinity", "-infinity"),
            ("epoch", "1970-01-01"),
            ("today", "2000-01-01"),
            ("tomorrow", "2000-01-02"),
            ("4713-01-01 BC", "4713-01-01 BC"),
            ("5874897-12-31", "5874897-12-31"),
            ("2024-05-06 07:08:09", "2024-05-06"),
            ("Mon May 6 2024", "2024-05-06"),
        ],
    );
    refuse(
        &Type::Date,
        &[
            ("", "22007"),
            ("foo", "22007"),
            ("2023-02-29", "22008"),
            ("2023-13-01", "22008"),
            ("18/1/1999", "22008"),
            ("2023-01-32", "22008"),
            ("0000-01-01", "22008"),
            ("5874898-01-01", "22008"),
            ("2023-01", "22007"),
        ],
    );
    let european = FormatSettings { date_order: crate::format::DateOrder::Dmy, ..settings("UTC") };
    assert_eq!(through("18/1/1999", &Type::Date, &european).as_deref(), Ok("1999-01-18"));
}

#[test]
fn times_and_timestamps() {
    check(
        &Type::Time(None),
        &[
            ("04:05:06.789", "04:05:06.789"),
            ("04:05", "04:05:00"),
            ("040506", "04:05:06"),
            ("04:05 PM", "16:05:00"),
            ("12:00 AM", "00:00:00"),
            ("24:00:00", "24:00:00"),
            ("2024-01-01 04:05", "04:05:00"),
        ],
    );
    refuse(&Type::Time(None), &[("25:00", "22008"), ("04:60", "22008"), ("x", "22007"), ("13:00 PM", "22008")]);
    check(&Type::Time(Some(1)), &[("04:05:06.789", "04:05:06.8")]);
    check(
        &Type::Timestamp(None),
        &[
            ("2024-05-06 07:08:09.123456", "2024-05-06 07:08:09.123456"),
            ("2024-05-06T07:08:09Z", "2024-05-06 07:08:09"),
            ("20240506T070809", "2024-05-06 07:08:09"),
            ("2024-05-06", "2024-05-06 00:00:00"),
            ("2024-05-06 24:00", "2024-05-07 00:00:00"),
            ("2024-05-06 07:08:09.1234567", "2024-05-06 07:08:09.123457"),
            ("Mon May  6 07:08:09 2024", "2024-05-06 07:08:09"),
            ("infinity", "infinity"),
            ("now", "2000-01-01 00:00:00"),
            ("0044-03-15 12:00 BC", "0044-03-15 12:00:00 BC"),
        ],
    );
    check(&Type::Timestamp(Some(0)), &[("2024-05-06 07:08:09.5", "2024-05-06 07:08:10")]);
    refuse(
        &Type::Timestamp(None),
        &[("2024-05-06 25:00", "22008"), ("294277-01-01", "22008"), ("2024-05-06 x", "22007")],
    );
    let berlin = settings("Europe/Berlin");
    let zoned = |text: &str| through(text, &Type::TimestampTz(None), &berlin);
    assert_eq!(zoned("2024-07-01 12:00").as_deref(), Ok("2024-07-01 12:00:00+02"));
    assert_eq!(zoned("2024-01-01 12:00+00").as_deref(), Ok("2024-01-01 13:00:00+01"));
    assert_eq!(zoned("2024-01-01 12:00:00 America/New_York").as_deref(), Ok("2024-01-01 18:00:00+01"));
    assert_eq!(zoned("2024-01-01 12:00:00 EST").as_deref(), Ok("2024-01-01 18:00:00+01"));
    assert_eq!(zoned("2024-01-01 12:00:00 -05:30").as_deref(), Ok("2024-01-01 18:30:00+01"));
    assert_eq!(zoned("2024-01-01 12:00:00-0530").as_deref(), Ok("2024-01-01 18:30:00+01"));
    assert_eq!(zoned("2024-01-01 12:00:00+99"), Err("22009".to_owned()));
    assert_eq!(zoned("2024-01-01 12:00:00 Mars/Olympus"), Err("22023".to_owned()));
    assert_eq!(
        through("2024-01-01 12:00+05:45", &Type::TimestampTz(None), &settings("Asia/Kathmandu")).as_deref(),
        Ok("2024-01-01 12:00:00+05:45")
    );
}

#[test]
fn intervals_in_all_styles() {
    let styles =
        [IntervalStyle::Postgres, IntervalStyle::PostgresVerbose, IntervalStyle::SqlStandard, IntervalStyle::Iso8601];
    let shown = |text: &str| {
        styles
            .map(|interval_style| {
                through(text, &Type::Interval, &FormatSettings { interval_style, ..settings("UTC") }).expect("reads")
            })
            .join("|")
    };
    assert_eq!(
        shown("1 year 2 months 3 days 4:05:06.7"),
        "1 year 2 mons 3 days 04:05:06.7|@ 1 year 2 mons 3 days 4 hours 5 mins 6.7 secs|+1-2 +3 +4:05:06.7|P1Y2M3DT4H5M6.7S"
    );
    assert_eq!(shown("-1 day +2 hours"), "-1 days +02:00:00|@ 1 day -2 hours ago|+0-0 -1 +2:00:00|P-1DT2H");
    assert_eq!(shown("0"), "00:00:00|@ 0|0|PT0S");
    assert_eq!(shown("-1-2"), "-1 years -2 mons|@ 1 year 2 mons ago|-1-2|P-1Y-2M");
    assert_eq!(shown("3 days"), "3 days|@ 3 days|3 0:00:00|P3D");
}

#[test]
fn arrays() {
    let ints = Type::Array(Box::new(Type::Int32));
    let texts = Type::Array(Box::new(Type::Text));
    check(&ints, &[("{1,2,NULL}", "{1,2,NULL}"), (" { 1 , 2 } ", "{1,2}"), ("{}", "{}")]);
    check(
        &texts,
        &[
            ("{a,\"b c\",\"\",\"NULL\",null,\"q\\\"\"}", "{a,\"b c\",\"\",\"NULL\",NULL,\"q\\\"\"}"),
            ("{a b}", "{\"a b\"}"),
        ],
    );
    refuse(
        &ints,
        &[
            ("1,2", "22P02"),
            ("{1", "22P02"),
            ("{1,}", "22P02"),
            ("{x}", "22P02"),
            ("{1\"2\"}", "22P02"),
            ("{\"1\"2}", "22P02"),
            ("{{1}}", "0A000"),
        ],
    );
}
