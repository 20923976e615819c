//! What exact numbers answer, compared with PostgreSQL.

use super::*;

fn n(text: &str) -> Numeric {
    Numeric::parse(text).expect("a number")
}

#[test]
fn text_goes_both_ways() {
    for text in
        ["0", "0.00", "-1.50", "123456789012345678901234567890.12345678", "NaN", "Infinity", "-Infinity", "0.000001"]
    {
        assert_eq!(n(text).to_string(), text);
    }
    for (input, output) in
        [(" 1e3 ", "1000"), ("1.5e-3", "0.0015"), (".5", "0.5"), ("5.", "5"), ("-0", "0"), ("-inf", "-Infinity")]
    {
        assert_eq!(n(input).to_string(), output);
    }
    for bad in ["", ".", "1e", "x", "1.2.3", "--1", "1 2", "- 1", "-NaN", "1_000", "0x1"] {
        assert_eq!(Numeric::parse(bad).map_err(|e| e.code), Err(SqlState::INVALID_TEXT_REPRESENTATION), "{bad}");
    }
}

#[test]
fn digits_end_at_38() {
    let nines = "9".repeat(38);
    assert_eq!(n(&nines).to_string(), nines);
    for too_much in
        ["1".repeat(39), "1e38".to_owned(), "1e400000000".to_owned(), "1e99999999999".to_owned(), "1e-256".to_owned()]
    {
        let code = Numeric::parse(&too_much).map_err(|e| e.code);
        assert_eq!(code, Err(SqlState::NUMERIC_VALUE_OUT_OF_RANGE), "{too_much}");
    }
    assert!(n(&nines).add(&Numeric::ONE).is_err());
    assert!(n(&nines).neg().sub(&Numeric::ONE).is_err());
    assert!(n("1e20").mul(&n("1e20")).is_err());
    // Zeros at the end of a fraction are given up rather than the result.
    assert_eq!(n("12345678901234567890.00000000000000000000").to_string(), "12345678901234567890.000000000000000000");
    assert_eq!(
        n("1.0000000000000000000").mul(&n("2.0000000000000000000")).map(|v| v.to_string()).as_deref(),
        Ok("2.0000000000000000000000000000000000000")
    );
}

#[test]
fn quotients_have_postgres_scale() {
    let div = |a: &str, b: &str| n(a).div(&n(b)).map(|v| v.to_string());
    for (a, b, quotient) in [
        ("1", "3", "0.33333333333333333333"),
        ("2", "3", "0.66666666666666666667"),
        ("10", "2", "5.0000000000000000"),
        ("1", "7000", "0.00014285714285714286"),
        ("100000", "3", "33333.333333333333"),
        ("-1", "3", "-0.33333333333333333333"),
        ("1.50", "0.5", "3.0000000000000000"),
        ("123456789012345678901234567890", "7", "17636684144620811271604938270"),
    ] {
        assert_eq!(div(a, b).as_deref(), Ok(quotient), "{a} / {b}");
    }
    assert_eq!(div("1", "0.0").map_err(|e| e.code), Err(SqlState::DIVISION_BY_ZERO));
}

#[test]
fn rounding_goes_away_from_zero() {
    let round = |text: &str, scale| n(text).round(scale).map(|v| v.to_string());
    assert_eq!(round("2.5", 0).as_deref(), Ok("3"));
    assert_eq!(round("-2.5", 0).as_deref(), Ok("-3"));
    assert_eq!(round("2.45", 1).as_deref(), Ok("2.5"));
    assert_eq!(round("1250", -2).as_deref(), Ok("1300"));
    assert_eq!(round("49", -2).as_deref(), Ok("0"));
    assert_eq!(round("1.5", 3).as_deref(), Ok("1.500"));
    assert_eq!(n("-2.5").ceil().map(|v| v.to_string()).as_deref(), Ok("-2"));
    assert_eq!(n("-2.5").floor().map(|v| v.to_string()).as_deref(), Ok("-3"));
    assert_eq!(n("2.9").trunc(0).map(|v| v.to_string()).as_deref(), Ok("2"));
}

#[test]
fn a_declared_precision_is_enforced() {
    let coerce = |text: &str, p, s| n(text).coerce(p, s).map(|v| v.to_string()).map_err(|e| e.detail.clone());
    assert_eq!(coerce("123.456", 5, 2).as_deref(), Ok("123.46"));
    assert_eq!(coerce("999.994", 5, 2).as_deref(), Ok("999.99"));
    let detail = "A field with precision 5, scale 2 must round to an absolute value less than 10^3.";
    assert_eq!(coerce("999.995", 5, 2), Err(Some(detail.to_owned())));
    assert_eq!(coerce("12345", 3, -2).as_deref(), Ok("12300"));
    assert_eq!(coerce("0.00123", 3, 5).as_deref(), Ok("0.00123"));
    assert!(coerce("0.0123", 3, 5).is_err());
    assert!(coerce("1", 2, 2).is_err());
    assert_eq!(coerce("NaN", 5, 2).as_deref(), Ok("NaN"));
}

#[test]
fn order_is_that_of_postgres() {
    let sorted = ["-Infinity", "-1e37", "-1.5", "-0.0001", "0.00", "1e-200", "0.5", "2", "1e37", "Infinity", "NaN"];
    for (i, a) in sorted.iter().enumerate() {
        for (j, b) in sorted.iter().enumerate() {
            assert_eq!(n(a).cmp(&n(b)), i.cmp(&j), "{a} against {b}");
        }
    }
}

#[test]
fn floats_convert_with_the_digits_postgres_trusts() {
    assert_eq!(Numeric::from_f64(0.1).map(|v| v.to_string()).as_deref(), Ok("0.1"));
    assert_eq!(Numeric::from_f64(1.0 / 3.0).map(|v| v.to_string()).as_deref(), Ok("0.333333333333333"));
    assert_eq!(Numeric::from_f32(1.0 / 3.0).map(|v| v.to_string()).as_deref(), Ok("0.333333"));
    assert_eq!(Numeric::from_f64(1e20).map(|v| v.to_string()).as_deref(), Ok("100000000000000000000"));
    assert!(Numeric::from_f64(1e60).is_err());
    assert_eq!(n("0.1").to_f64(), 0.1);
    assert_eq!(n("12345678901234567890.123").to_f64(), 12345678901234567890.123);
    assert_eq!(n("2.5").to_i64(), Some(3));
    assert_eq!(n("9223372036854775807.5").to_i64(), None);
}
