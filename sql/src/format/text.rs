//! The text format: what PostgreSQL's input and output functions read and write.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use uuid::Uuid;

use crate::error::{Error, SqlState};
use crate::format::date_input::{parse_date, parse_time, parse_timestamp, parse_timestamptz};
use crate::format::interval_input::parse_interval;
use crate::format::{ByteaOutput, FormatSettings, IntervalStyle};
use crate::types::Type;
use crate::value::{
    Array, DATE_INFINITY, DATE_NEG_INFINITY, Interval, Numeric, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, Timed, Value,
    civil_from_days, split_timestamp,
};

/// Longest `name`, in bytes.
const NAME_BYTES: usize = 63;

/// Appends the text of a value as PostgreSQL prints it. NULL appends nothing: each protocol has its own sign for it. The type matters
/// for OIDs only, whose `regtype` is written as a name.
pub fn encode_text(value: &Value, ty: &Type, settings: &FormatSettings, out: &mut BytesMut) {
    let result = match value {
        Value::Null => Ok(()),
        Value::Bool(value) => out.write_str(if *value { "t" } else { "f" }),
        Value::Int16(value) => write!(out, "{value}"),
        Value::Int32(value) => write!(out, "{value}"),
        Value::Int64(value) => write!(out, "{value}"),
        Value::Oid(oid) => match (ty, Type::from_oid(*oid)) {
            (Type::Regtype, Some(named)) => write!(out, "{named}"),
            (Type::Regtype | Type::Regclass, _) if *oid == 0 => out.write_str("-"),
            _ => write!(out, "{oid}"),
        },
        Value::Float4(value) => write_float4(*value, settings.extra_float_digits, out),
        Value::Float8(value) => write_float8(*value, settings.extra_float_digits, out),
        Value::Numeric(value) => write!(out, "{value}"),
        Value::Text(text) | Value::Char(text) => {
            out.put_slice(text.as_bytes());
            Ok(())
        }
        Value::Bytes(bytes) => write_bytea(bytes, settings.bytea_output, out),
        Value::Date(days) => write_date(*days, out),
        Value::Time(micros) => write_time(*micros, out),
        Value::Timestamp(micros) => write_timestamp(*micros, None, out),
        Value::TimestampTz(micros) => {
            let offset = if is_finite(*micros) { settings.time_zone.offset_at(*micros) } else { 0 };
            write_timestamp(*micros, Some(offset), out)
        }
        Value::Interval(interval) => write_interval(interval, settings.interval_style, out),
        Value::Uuid(uuid) => write!(out, "{}", uuid.hyphenated()),
        Value::Array(array) => {
            write_array(array, ty.element().unwrap_or(&Type::Unknown), settings, out);
            Ok(())
        }
    };
    result.expect("a growing buffer takes any text");
}

/// The text of a value of its natural type. Empty for NULL.
pub fn to_text(value: &Value, settings: &FormatSettings) -> String {
    if let Some(text) = value.as_str() {
        return text.to_owned();
    }
    let mut out = BytesMut::new();
    encode_text(value, &Type::Unknown, settings, &mut out);
    String::from_utf8(out.to_vec()).expect("all output is UTF-8")
}

/// Reads a value of a type and fits it to its length or precision, as assignment does.
///
/// # Errors
/// 22P02, 22003, 22001, 22007, 22008, with PostgreSQL's messages.
pub fn decode_text(text: &str, ty: &Type, settings: &FormatSettings) -> Result<Value, Error> {
    crate::cast::fit(parse_value(text, ty, settings)?, ty)
}

/// The same without regard to length or precision.
pub(crate) fn parse_value(text: &str, ty: &Type, settings: &FormatSettings) -> Result<Value, Error> {
    Ok(match ty {
        Type::Bool => Value::Bool(parse_bool(text)?),
        Type::Int16 => Value::Int16(parse_integer(text, ty)?),
        Type::Int32 => Value::Int32(parse_integer(text, ty)?),
        Type::Int64 => Value::Int64(parse_integer(text, ty)?),
        Type::Float4 => Value::Float4(parse_float4(text)?),
        Type::Float8 => Value::Float8(parse_float8(text)?),
        Type::Numeric(_) => Value::Numeric(Numeric::parse(text)?),
        Type::Text | Type::Varchar(_) | Type::Unknown => Value::text(checked(text)?),
        Type::Char(_) => Value::Char(checked(text)?.into()),
        Type::Name => Value::text(clip(checked(text)?, NAME_BYTES)),
        // One byte in PostgreSQL; a character of more bytes would not survive, so it is kept whole.
        Type::InternalChar => Value::text(checked(text)?.chars().take(1).collect::<String>()),
        Type::Bytea => Value::bytes(parse_bytea(text)?),
        Type::Date => Value::Date(parse_date(text, settings)?),
        Type::Time(_) => Value::Time(parse_time(text, settings)?),
        Type::Timestamp(_) => Value::Timestamp(parse_timestamp(text, settings)?),
        Type::TimestampTz(_) => Value::TimestampTz(parse_timestamptz(text, settings)?),
        Type::Interval => Value::Interval(parse_interval(text)?),
        Type::Uuid => Value::Uuid(parse_uuid(text)?),
        Type::Oid => Value::Oid(parse_oid(text)?),
        Type::Regtype => Value::Oid(parse_regtype(text)?),
        Type::Regclass => Value::Oid(parse_oid(text).map_err(|_| undefined_relation(text))?),
        Type::Array(element) => parse_array(text, element, settings)?,
        Type::Void => Value::Null,
        Type::Record => return Err(Error::unsupported("input of rows", "")),
    })
}

#[cold]
pub(crate) fn undefined_relation(name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
}

/// Text may hold any character but NUL.
fn checked(text: &str) -> Result<&str, Error> {
    if text.as_bytes().contains(&0) {
        return Err(Error::new(SqlState::CHARACTER_NOT_IN_REPERTOIRE, "invalid byte sequence for encoding \"UTF8\": 0x00"));
    }
    Ok(text)
}

/// The start of a text, at most `bytes` long, cut between characters.
pub(crate) fn clip(text: &str, bytes: usize) -> &str {
    let mut end = text.len().min(bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b')
}

fn is_finite(micros: i64) -> bool {
    micros != TIMESTAMP_INFINITY && micros != TIMESTAMP_NEG_INFINITY
}

/// PostgreSQL's rules for booleans: any unambiguous beginning of true, false, yes, no, on, off; 1 and 0.
pub(crate) fn parse_bool(text: &str) -> Result<bool, Error> {
    let word = trim(text).to_ascii_lowercase();
    let begins = |whole: &str, least: usize| word.len() >= least && whole.starts_with(&word);
    if begins("true", 1) || begins("yes", 1) || begins("on", 2) || word == "1" {
        Ok(true)
    } else if begins("false", 1) || begins("no", 1) || begins("off", 2) || word == "0" {
        Ok(false)
    } else {
        Err(Error::invalid_input("boolean", text))
    }
}

fn parse_integer<T: TryFrom<i64>>(text: &str, ty: &Type) -> Result<T, Error> {
    let digits = trim(text);
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::invalid_input(ty, text));
    }
    let value = digits.parse::<i64>().ok().and_then(|value| T::try_from(value).ok());
    value.ok_or_else(|| {
        Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("value \"{text}\" is out of range for type {ty}"))
    })
}

fn parse_oid(text: &str) -> Result<u32, Error> {
    let digits = trim(text);
    let unsigned = digits.strip_prefix(['+', '-']).unwrap_or(digits);
    if unsigned.is_empty() || !unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Error::invalid_input("oid", text));
    }
    // PostgreSQL takes negative numbers of 32 bits too, as the OID with these bits.
    let value = digits.parse::<i64>().ok().filter(|value| (i64::from(i32::MIN)..=i64::from(u32::MAX)).contains(value));
    value.map(|value| value as u32).ok_or_else(|| {
        Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("value \"{text}\" is out of range for type oid"))
    })
}

fn parse_regtype(text: &str) -> Result<u32, Error> {
    if trim(text) == "-" {
        return Ok(0);
    }
    parse_oid(text).or_else(|_| Type::from_name(&trim(text).to_ascii_lowercase(), &[]).map(|ty| ty.oid()))
}

fn float_text<'a>(text: &'a str, name: &str) -> Result<&'a str, Error> {
    let digits = trim(text);
    // Rust reads what C does, but for hexadecimal floats.
    if digits.is_empty() { Err(Error::invalid_input(name, text)) } else { Ok(digits) }
}

fn float_range(text: &str, name: &str) -> Error {
    Error::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("\"{text}\" is out of range for type {name}"))
}

/// Whether the digits say that the number is not zero: then a float of zero has lost it.
fn nonzero_digits(text: &str) -> bool {
    text.bytes().take_while(|b| !matches!(b, b'e' | b'E')).any(|b| matches!(b, b'1'..=b'9'))
}

fn parse_float8(text: &str) -> Result<f64, Error> {
    const NAME: &str = "double precision";
    let digits = float_text(text, NAME)?;
    let value: f64 = digits.parse().map_err(|_| Error::invalid_input(NAME, text))?;
    let named = digits.bytes().any(|b| b.eq_ignore_ascii_case(&b'n'));
    if (value.is_infinite() && !named) || (value == 0.0 && nonzero_digits(digits)) {
        return Err(float_range(text, NAME));
    }
    Ok(value)
}

fn parse_float4(text: &str) -> Result<f32, Error> {
    const NAME: &str = "real";
    let digits = float_text(text, NAME)?;
    let value: f32 = digits.parse().map_err(|_| Error::invalid_input(NAME, text))?;
    let named = digits.bytes().any(|b| b.eq_ignore_ascii_case(&b'n'));
    if (value.is_infinite() && !named) || (value == 0.0 && nonzero_digits(digits)) {
        return Err(float_range(text, NAME));
    }
    Ok(value)
}

/// 32 hexadecimal digits, with a hyphen after any group of four, perhaps in braces.
fn parse_uuid(text: &str) -> Result<Uuid, Error> {
    let invalid = || Error::invalid_input("uuid", text);
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}').ok_or_else(invalid)?,
        None => text,
    };
    let mut number: u128 = 0;
    let mut count = 0;
    let mut bytes = inner.bytes().peekable();
    while let Some(byte) = bytes.next() {
        let digit = char::from(byte).to_digit(16).filter(|_| count < 32).ok_or_else(invalid)?;
        number = number << 4 | u128::from(digit);
        count += 1;
        if count % 4 == 0 && count < 32 && bytes.peek() == Some(&b'-') {
            bytes.next();
        }
    }
    if count == 32 { Ok(Uuid::from_u128(number)) } else { Err(invalid()) }
}

/// Both of PostgreSQL's notations: `\x` and hexadecimal digits, or escapes.
pub(crate) fn parse_bytea(text: &str) -> Result<Vec<u8>, Error> {
    match text.strip_prefix("\\x") {
        Some(digits) => parse_hex(digits),
        None => parse_escaped(text),
    }
}

/// Hexadecimal digits, with white space between bytes.
pub(crate) fn parse_hex(text: &str) -> Result<Vec<u8>, Error> {
    let bad = |message: String| Error::new(SqlState::INVALID_PARAMETER_VALUE, message);
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut characters = text.chars();
    let digit = |c: char| c.to_digit(16).ok_or_else(|| bad(format!("invalid hexadecimal digit: \"{c}\"")));
    while let Some(c) = characters.next() {
        if c.is_ascii_whitespace() {
            continue;
        }
        let high = digit(c)?;
        let low = characters.next().ok_or_else(|| bad("invalid hexadecimal data: odd number of digits".to_owned()))?;
        bytes.push((high << 4 | digit(low)?) as u8);
    }
    Ok(bytes)
}

/// `\\` is a backslash, `\ooo` a byte in octal, anything else itself.
pub(crate) fn parse_escaped(text: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = match (byte, tail) {
            (b'\\', [b'\\', tail @ ..]) => {
                bytes.push(b'\\');
                tail
            }
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                tail
            }
            (b'\\', _) => {
                return Err(Error::new(SqlState::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type bytea"));
            }
            (byte, tail) => {
                bytes.push(byte);
                tail
            }
        };
    }
    Ok(bytes)
}

fn write_bytea(bytes: &[u8], output: ByteaOutput, out: &mut BytesMut) -> std::fmt::Result {
    match output {
        ByteaOutput::Hex => {
            out.put_slice(b"\\x");
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            out.reserve(bytes.len() * 2);
            for byte in bytes {
                out.put_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
            }
        }
        ByteaOutput::Escape => {
            for byte in bytes {
                match byte {
                    b'\\' => out.put_slice(b"\\\\"),
                    0x20..=0x7E => out.put_u8(*byte),
                    _ => write!(out, "\\{byte:03o}")?,
                }
            }
        }
    }
    Ok(())
}

/// A float as PostgreSQL prints it: with `extra` above 0 the shortest digits that read back the same, else 15 + `extra` digits.
///
/// # Errors
/// Those of `out`.
pub fn write_float8(value: f64, extra: i32, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    if extra <= 0 {
        return write_general(value, 15 + extra, out);
    }
    let shortest = format!("{value:e}");
    write_shortest(value, &on_no_border(shortest, value, 53, |digits| format!("{value:.digits$e}")), 15, out)
}

/// The same for `real`, of 6 digits.
///
/// # Errors
/// Those of `out`.
pub fn write_float4(value: f32, extra: i32, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    let wide = f64::from(value);
    if extra <= 0 {
        return write_general(wide, 6 + extra, out);
    }
    let shortest = format!("{value:e}");
    write_shortest(wide, &on_no_border(shortest, wide, 24, |digits| format!("{value:.digits$e}")), 6, out)
}

fn write_not_finite(value: f64, out: &mut impl std::fmt::Write) -> Option<std::fmt::Result> {
    if value.is_nan() {
        Some(out.write_str("NaN"))
    } else if value.is_infinite() {
        Some(out.write_str(if value > 0.0 { "Infinity" } else { "-Infinity" }))
    } else {
        None
    }
}

/// PostgreSQL never prints a number that lies just between two floats, though reading it back rounds to the right one (to the even
/// mantissa); Rust does where that is shorter. It can happen to integers beyond the mantissa only; then one more digit is shown.
fn on_no_border(shortest: String, value: f64, mantissa_bits: u32, precise: impl Fn(usize) -> String) -> String {
    let magnitude = value.abs();
    if !(magnitude >= (1u64 << mantissa_bits) as f64 && magnitude < 1e38) {
        return shortest;
    }
    let (mantissa, exponent) = shortest.split_once('e').expect("Rust writes an exponent");
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let zeros = exponent.parse::<u32>().expect("an integer's exponent") + 1 - digits.len() as u32;
    let printed = digits.parse::<u128>().expect("at most 17 digits") * 10u128.pow(zeros);
    let exact = magnitude as u128;
    // The spacing of floats here; below a power of two it is half of that above.
    let spacing = 1u128 << (128 - exact.leading_zeros() - mantissa_bits);
    let half = if printed < exact && exact.is_power_of_two() { spacing / 4 } else { spacing / 2 };
    if half > 0 && printed.abs_diff(exact) == half { precise(digits.len()) } else { shortest }
}

fn write_shortest(value: f64, text: &str, fixed_below: i32, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    if let Some(result) = write_not_finite(value, out) {
        return result;
    }
    let (mantissa, exponent) = text.split_once('e').expect("Rust writes an exponent");
    write_digits(mantissa, exponent.parse().expect("Rust writes a number"), fixed_below, out)
}

/// C's `%.*g`.
fn write_general(value: f64, digits: i32, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    if let Some(result) = write_not_finite(value, out) {
        return result;
    }
    let digits = digits.max(1);
    let text = format!("{value:.*e}", digits as usize - 1);
    let (mantissa, exponent) = text.split_once('e').expect("Rust writes an exponent");
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    write_digits(mantissa, exponent.parse().expect("Rust writes a number"), digits, out)
}

/// `mantissa` × 10^`exponent`, as a plain number if the exponent is from -4 to below `fixed_below`.
fn write_digits(mantissa: &str, exponent: i32, fixed_below: i32, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    if !(-4..fixed_below).contains(&exponent) {
        let exponent_sign = if exponent < 0 { '-' } else { '+' };
        return write!(out, "{sign}{mantissa}e{exponent_sign}{:02}", exponent.abs());
    }
    let digits: String = mantissa.chars().filter(|c| *c != '.').collect();
    out.write_str(sign)?;
    if exponent < 0 {
        let zeros = exponent.unsigned_abs() as usize - 1;
        return write!(out, "0.{:0<zeros$}{digits}", "");
    }
    let whole = exponent as usize + 1;
    if digits.len() <= whole {
        write!(out, "{digits:0<whole$}")
    } else {
        write!(out, "{}.{}", &digits[..whole], &digits[whole..])
    }
}

/// `2001-02-03`, ` BC` following where needed.
pub(crate) fn write_date(days: i32, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    match days {
        DATE_INFINITY => return out.write_str("infinity"),
        DATE_NEG_INFINITY => return out.write_str("-infinity"),
        _ => {}
    }
    let civil = civil_from_days(days);
    let year = if civil.year > 0 { civil.year } else { 1 - civil.year };
    write!(out, "{year:04}-{:02}-{:02}{}", civil.month, civil.day, if civil.year > 0 { "" } else { " BC" })
}

fn write_time(micros: i64, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    let Timed { hour, minute, second, micro } = Timed::new(micros);
    write!(out, "{hour:02}:{minute:02}:")?;
    write_seconds(second, micro, true, out)
}

/// Seconds with as many digits after the point as needed.
fn write_seconds(second: i64, micro: i64, padded: bool, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    if padded {
        write!(out, "{second:02}")?;
    } else {
        write!(out, "{second}")?;
    }
    if micro == 0 {
        return Ok(());
    }
    let fraction = format!("{micro:06}");
    write!(out, ".{}", fraction.trim_end_matches('0'))
}

pub(crate) fn write_timestamp(micros: i64, offset: Option<i32>, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    match micros {
        TIMESTAMP_INFINITY => return out.write_str("infinity"),
        TIMESTAMP_NEG_INFINITY => return out.write_str("-infinity"),
        _ => {}
    }
    let local = micros.saturating_add(i64::from(offset.unwrap_or(0)) * 1_000_000);
    let (days, time) = split_timestamp(local);
    let civil = civil_from_days(days);
    let year = if civil.year > 0 { civil.year } else { 1 - civil.year };
    write!(out, "{year:04}-{:02}-{:02} ", civil.month, civil.day)?;
    write_time(time, out)?;
    if let Some(offset) = offset {
        write_offset(offset, out)?;
    }
    if civil.year > 0 { Ok(()) } else { out.write_str(" BC") }
}

/// `+02`, `-05:30`
pub(crate) fn write_offset(offset: i32, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    let seconds = offset.abs();
    write!(out, "{}{:02}", if offset < 0 { '-' } else { '+' }, seconds / 3600)?;
    if seconds % 3600 != 0 {
        write!(out, ":{:02}", seconds / 60 % 60)?;
    }
    if seconds % 60 != 0 {
        write!(out, ":{:02}", seconds % 60)?;
    }
    Ok(())
}

/// The parts of an interval as they are shown; all of one sign within months and within time.
struct Shown {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
    micro: i64,
}

impl Shown {
    fn new(interval: &Interval) -> Shown {
        let time = interval.micros;
        Shown {
            year: i64::from(interval.months / 12),
            month: i64::from(interval.months % 12),
            day: i64::from(interval.days),
            hour: time / 3_600_000_000,
            minute: time / 60_000_000 % 60,
            second: time / 1_000_000 % 60,
            micro: time % 1_000_000,
        }
    }

    fn has_time(&self) -> bool {
        self.hour != 0 || self.minute != 0 || self.second != 0 || self.micro != 0
    }

    fn time_is_negative(&self) -> bool {
        self.hour < 0 || self.minute < 0 || self.second < 0 || self.micro < 0
    }
}

pub(crate) fn write_interval(interval: &Interval, style: IntervalStyle, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    let shown = Shown::new(interval);
    match style {
        IntervalStyle::Postgres => write_interval_postgres(&shown, out),
        IntervalStyle::PostgresVerbose => write_interval_verbose(&shown, out),
        IntervalStyle::SqlStandard => write_interval_standard(&shown, out),
        IntervalStyle::Iso8601 => write_interval_iso(&shown, out),
    }
}

fn write_interval_postgres(shown: &Shown, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    let (mut empty, mut before) = (true, false);
    for (value, unit) in [(shown.year, "year"), (shown.month, "mon"), (shown.day, "day")] {
        if value == 0 {
            continue;
        }
        let space = if empty { "" } else { " " };
        let sign = if before && value > 0 { "+" } else { "" };
        write!(out, "{space}{sign}{value} {unit}{}", if value == 1 { "" } else { "s" })?;
        before = value < 0;
        empty = false;
    }
    if empty || shown.has_time() {
        let space = if empty { "" } else { " " };
        let sign = match (shown.time_is_negative(), before) {
            (true, _) => "-",
            (false, true) => "+",
            (false, false) => "",
        };
        write!(out, "{space}{sign}{:02}:{:02}:", shown.hour.abs(), shown.minute.abs())?;
        write_seconds(shown.second.abs(), shown.micro.abs(), true, out)?;
    }
    Ok(())
}

fn write_interval_verbose(shown: &Shown, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    let (mut empty, mut before) = (true, false);
    out.write_str("@")?;
    for (value, unit) in
        [(shown.year, "year"), (shown.month, "mon"), (shown.day, "day"), (shown.hour, "hour"), (shown.minute, "min")]
    {
        if value == 0 {
            continue;
        }
        if empty {
            before = value < 0;
        }
        let value = if before { -value } else { value };
        write!(out, " {value} {unit}{}", if value == 1 { "" } else { "s" })?;
        empty = false;
    }
    if shown.second != 0 || shown.micro != 0 {
        out.write_str(" ")?;
        let negative = shown.second < 0 || shown.micro < 0;
        if empty {
            before = negative;
        } else if negative != before {
            out.write_str("-")?;
        }
        write_seconds(shown.second.abs(), shown.micro.abs(), false, out)?;
        let one = shown.second.abs() == 1 && shown.micro == 0;
        out.write_str(if one { " sec" } else { " secs" })?;
        empty = false;
    }
    if empty {
        out.write_str(" 0")?;
    }
    if before { out.write_str(" ago") } else { Ok(()) }
}

fn write_interval_iso(shown: &Shown, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    if shown.year == 0 && shown.month == 0 && shown.day == 0 && !shown.has_time() {
        return out.write_str("PT0S");
    }
    let part = |out: &mut dyn std::fmt::Write, value: i64, unit: char| {
        if value == 0 { Ok(()) } else { write!(out, "{value}{unit}") }
    };
    out.write_str("P")?;
    part(out, shown.year, 'Y')?;
    part(out, shown.month, 'M')?;
    part(out, shown.day, 'D')?;
    if shown.has_time() {
        out.write_str("T")?;
    }
    part(out, shown.hour, 'H')?;
    part(out, shown.minute, 'M')?;
    if shown.second != 0 || shown.micro != 0 {
        if shown.second < 0 || shown.micro < 0 {
            out.write_str("-")?;
        }
        write_seconds(shown.second.abs(), shown.micro.abs(), false, out)?;
        out.write_str("S")?;
    }
    Ok(())
}

fn write_interval_standard(shown: &Shown, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    let months_negative = shown.year < 0 || shown.month < 0;
    let months_positive = shown.year > 0 || shown.month > 0;
    let time_negative = shown.time_is_negative();
    let time_positive = shown.has_time() && !time_negative;
    let negative = months_negative || shown.day < 0 || time_negative;
    let positive = months_positive || shown.day > 0 || time_positive;
    let has_months = months_negative || months_positive;
    let has_days_or_time = shown.day != 0 || shown.has_time();
    if !negative && !positive {
        return out.write_str("0");
    }
    let (year, month, day) = (shown.year.abs(), shown.month.abs(), shown.day.abs());
    let (hour, minute) = (shown.hour.abs(), shown.minute.abs());
    if (negative && positive) || (has_months && has_days_or_time) {
        let sign = |negative: bool| if negative { '-' } else { '+' };
        write!(out, "{}{year}-{month} {}{day} ", sign(months_negative), sign(shown.day < 0))?;
        write!(out, "{}{hour}:{minute:02}:", sign(time_negative))?;
        return write_seconds(shown.second.abs(), shown.micro.abs(), true, out);
    }
    if negative {
        out.write_str("-")?;
    }
    if has_months {
        return write!(out, "{year}-{month}");
    }
    if day != 0 {
        write!(out, "{day} ")?;
    }
    write!(out, "{hour}:{minute:02}:")?;
    write_seconds(shown.second.abs(), shown.micro.abs(), true, out)
}

fn write_array(array: &Array, element: &Type, settings: &FormatSettings, out: &mut BytesMut) {
    out.put_u8(b'{');
    for (i, value) in array.values().iter().enumerate() {
        if i > 0 {
            out.put_u8(b',');
        }
        if value.is_null() {
            out.put_slice(b"NULL");
            continue;
        }
        let mut text = BytesMut::new();
        encode_text(value, element, settings, &mut text);
        let special = |byte: &u8| matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\') || byte.is_ascii_whitespace() || *byte == 0x0b;
        if text.is_empty() || text.eq_ignore_ascii_case(b"null") || text.iter().any(special) {
            out.put_u8(b'"');
            for byte in &text {
                if matches!(byte, b'"' | b'\\') {
                    out.put_u8(b'\\');
                }
                out.put_u8(*byte);
            }
            out.put_u8(b'"');
        } else {
            out.put_slice(&text);
        }
    }
    out.put_u8(b'}');
}

fn parse_array(text: &str, element: &Type, settings: &FormatSettings) -> Result<Value, Error> {
    let malformed = |detail: &str| {
        Error::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("malformed array literal: \"{text}\"")).with_detail(detail)
    };
    let inner = trim(text)
        .strip_prefix('{')
        .ok_or_else(|| malformed("Array value must start with \"{\" or dimension information."))?
        .strip_suffix('}')
        .ok_or_else(|| malformed("Unexpected end of input."))?;
    let array = |values| Value::Array(Arc::new(Array::new(element.base(), values)));
    if trim(inner).is_empty() {
        return Ok(array(Vec::new()));
    }
    let mut values = Vec::new();
    let mut item = String::new();
    // Up to where the item may not be trimmed, since it was quoted or escaped.
    let (mut kept, mut quoted, mut in_quotes) = (0, false, false);
    let mut characters = inner.chars();
    loop {
        let next = characters.next();
        match next {
            Some('\\') => {
                item.push(characters.next().ok_or_else(|| malformed("Unexpected end of input."))?);
                kept = item.len();
                quoted = true;
            }
            Some('"') => {
                in_quotes = !in_quotes;
                quoted = true;
                kept = item.len();
            }
            Some(c) if in_quotes => {
                item.push(c);
                kept = item.len();
            }
            None if in_quotes => return Err(malformed("Unexpected end of input.")),
            Some('{') => return Err(Error::unsupported("an array of more than one dimension", "")),
            Some('}') => return Err(malformed("Junk after closing right brace.")),
            Some(',') | None => {
                item.truncate(kept.max(item.trim_end().len()));
                if item.is_empty() && !quoted {
                    return Err(malformed(if next.is_some() { "Unexpected \",\" character." } else { "Unexpected \"}\" character." }));
                }
                let null = !quoted && item.eq_ignore_ascii_case("null");
                values.push(if null { Value::Null } else { parse_value(&item, element, settings)? });
                item.clear();
                (kept, quoted) = (0, false);
                if next.is_none() {
                    return Ok(array(values));
                }
            }
            Some(c) if c.is_ascii_whitespace() && item.is_empty() && !quoted => {}
            Some(c) => item.push(c),
        }
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
