//! Dates and times from numbers: `make_date` and its kin, `to_timestamp(double precision)`.

use crate::error::{Error, SqlState};
use crate::functions::EvalContext;
use crate::functions::dates::named_zone;
use crate::value::{
    TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, UNIX_EPOCH_DAYS, USECS_PER_SEC, Value, check_date, check_timestamp,
    days_from_civil, days_in_month, mismatch, timestamp_from_parts,
};

type Result<T> = std::result::Result<T, Error>;
type Context<'a> = &'a dyn EvalContext;

#[cold]
fn field_out_of_range(what: String) -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, what)
}

fn make_days(year: i64, month: i64, day: i64) -> Result<i64> {
    let bad = || field_out_of_range(format!("date field value out of range: {year}-{month:02}-{day:02}"));
    if year == 0 || !(1..=12).contains(&month) {
        return Err(bad());
    }
    let astronomical = if year < 0 { year + 1 } else { year };
    if !(1..=days_in_month(astronomical, month)).contains(&day) {
        return Err(bad());
    }
    Ok(days_from_civil(astronomical, month, day))
}

fn integers<const N: usize>(arguments: &[Value]) -> Result<[i64; N]> {
    let mut numbers = [0; N];
    for (number, argument) in numbers.iter_mut().zip(arguments) {
        *number = argument.as_i64().ok_or_else(|| mismatch("integer", argument))?;
    }
    Ok(numbers)
}

fn make_micros(hour: i64, minute: i64, second: &Value) -> Result<i64> {
    let Value::Float8(second) = second else { return Err(mismatch("double precision", second)) };
    let micros = second * 1e6;
    let end = hour == 24 && minute == 0 && *second == 0.0;
    if !((0..24).contains(&hour) || end) || !(0..60).contains(&minute) || !(0.0..=60.0 * 1e6).contains(&micros) {
        return Err(field_out_of_range(format!("time field value out of range: {hour}:{minute:02}:{second:02}")));
    }
    Ok((hour * 60 + minute) * 60 * USECS_PER_SEC + micros.round_ties_even() as i64)
}

pub(super) fn make_date(_: Context<'_>, arguments: &[Value]) -> Result<Value> {
    let [year, month, day] = integers::<3>(arguments)?;
    let days = make_days(year, month, day)?;
    check_date(days)
        .map(Value::Date)
        .map_err(|_| field_out_of_range(format!("date out of range: {year}-{month:02}-{day:02}")))
}

pub(super) fn make_time(_: Context<'_>, arguments: &[Value]) -> Result<Value> {
    let [hour, minute] = integers::<2>(arguments)?;
    make_micros(hour, minute, &arguments[2]).map(Value::Time)
}

pub(super) fn make_timestamp(_: Context<'_>, arguments: &[Value]) -> Result<Value> {
    let [year, month, day, hour, minute] = integers::<5>(arguments)?;
    let days = make_days(year, month, day)?;
    check_timestamp(timestamp_from_parts(days, make_micros(hour, minute, &arguments[5])?)).map(Value::Timestamp)
}

pub(super) fn make_timestamptz(context: Context<'_>, arguments: &[Value]) -> Result<Value> {
    let Value::Timestamp(local) = make_timestamp(context, arguments)? else {
        return Err(Error::internal("make_timestamp"));
    };
    let zone = match arguments.get(6) {
        Some(name) => named_zone(name.as_str().unwrap_or(""))?,
        None => context.format().time_zone.clone(),
    };
    check_timestamp(Some(zone.to_utc(local))).map(Value::TimestampTz)
}

/// `to_timestamp(double precision)`: seconds since 1970.
pub(super) fn to_timestamp(_: Context<'_>, arguments: &[Value]) -> Result<Value> {
    let Value::Float8(seconds) = &arguments[0] else { return Err(mismatch("double precision", &arguments[0])) };
    if seconds.is_nan() {
        return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp cannot be NaN"));
    }
    if seconds.is_infinite() {
        return Ok(Value::TimestampTz(if *seconds > 0.0 { TIMESTAMP_INFINITY } else { TIMESTAMP_NEG_INFINITY }));
    }
    let micros = ((seconds + f64::from(UNIX_EPOCH_DAYS) * 86_400.0) * 1e6).round_ties_even();
    let micros = (micros.abs() < 9.3e18).then_some(micros as i64);
    check_timestamp(micros)
        .map(Value::TimestampTz)
        .map_err(|_| field_out_of_range(format!("timestamp out of range: \"{seconds}\"")))
}
