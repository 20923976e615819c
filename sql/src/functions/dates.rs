//! Operators and functions on dates, times and intervals.

use std::cmp::Ordering;

use crate::cast::{date_to_timestamp, is_infinite};
use crate::error::{Error, SqlState};
use crate::functions::EvalContext;
use crate::types::Type;
use crate::value::{
    Civil, DATE_INFINITY, DATE_NEG_INFINITY, Interval, Numeric, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, TimeZone, Timed,
    UNIX_EPOCH_DAYS, USECS_PER_DAY, USECS_PER_SEC, Value, check_date, check_timestamp, civil_from_days, days_from_civil, days_in_month,
    mismatch, split_timestamp, timestamp_from_parts,
};

type Result<T> = std::result::Result<T, Error>;
type Context<'a> = &'a dyn EvalContext;

const HOUR: i64 = 3600 * USECS_PER_SEC;

fn infinite_date(days: i32) -> bool {
    days == DATE_INFINITY || days == DATE_NEG_INFINITY
}

pub(super) fn date_plus_days(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    match (a, b) {
        (Value::Date(days), Value::Int32(_)) if infinite_date(*days) => Ok(a.clone()),
        (Value::Date(days), Value::Int32(more)) => check_date(i64::from(*days) + i64::from(*more)).map(Value::Date),
        _ => Err(mismatch("date", a)),
    }
}

pub(super) fn date_minus_days(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    match (a, b) {
        (Value::Date(days), Value::Int32(_)) if infinite_date(*days) => Ok(a.clone()),
        (Value::Date(days), Value::Int32(less)) => check_date(i64::from(*days) - i64::from(*less)).map(Value::Date),
        _ => Err(mismatch("date", a)),
    }
}

pub(super) fn date_minus_date(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    match (a, b) {
        (Value::Date(a), Value::Date(b)) if infinite_date(*a) || infinite_date(*b) => {
            Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "cannot subtract infinite dates"))
        }
        // Dates in range are never further apart than an i32 holds.
        (Value::Date(a), Value::Date(b)) => Ok(Value::Int32(a - b)),
        _ => Err(mismatch("date", a)),
    }
}

pub(super) fn date_plus_interval(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    match (a, b) {
        (Value::Date(days), Value::Interval(interval)) => interval.add_to_timestamp(date_to_timestamp(*days)?).map(Value::Timestamp),
        _ => Err(mismatch("date", a)),
    }
}

pub(super) fn date_minus_interval(context: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    date_plus_interval(context, a, &negated(b)?)
}

pub(super) fn date_plus_time(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    match (a, b) {
        (Value::Date(days), Value::Time(_)) if infinite_date(*days) => date_to_timestamp(*days).map(Value::Timestamp),
        (Value::Date(days), Value::Time(time)) => check_timestamp(date_to_timestamp(*days)?.checked_add(*time)).map(Value::Timestamp),
        _ => Err(mismatch("date", a)),
    }
}

pub(super) fn time_plus_interval(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    match (a, b) {
        (Value::Time(time), Value::Interval(interval)) => {
            let sum = i128::from(*time) + i128::from(interval.micros);
            Ok(Value::Time(sum.rem_euclid(i128::from(USECS_PER_DAY)) as i64))
        }
        _ => Err(mismatch("time", a)),
    }
}

pub(super) fn time_minus_interval(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    match (a, b) {
        (Value::Time(time), Value::Interval(interval)) => {
            let difference = i128::from(*time) - i128::from(interval.micros);
            Ok(Value::Time(difference.rem_euclid(i128::from(USECS_PER_DAY)) as i64))
        }
        _ => Err(mismatch("time", a)),
    }
}

pub(super) fn time_minus_time(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    match (a, b) {
        (Value::Time(a), Value::Time(b)) => Ok(Value::Interval(Interval { months: 0, days: 0, micros: a - b })),
        _ => Err(mismatch("time", a)),
    }
}

pub(super) fn timestamp_plus_interval(context: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    match (a, b) {
        (Value::Timestamp(micros), Value::Interval(interval)) => interval.add_to_timestamp(*micros).map(Value::Timestamp),
        (Value::TimestampTz(micros), Value::Interval(interval)) => {
            interval.add_to_timestamptz(*micros, &context.format().time_zone).map(Value::TimestampTz)
        }
        _ => Err(mismatch("timestamp", a)),
    }
}

pub(super) fn timestamp_minus_interval(context: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    timestamp_plus_interval(context, a, &negated(b)?)
}

fn negated(value: &Value) -> Result<Value> {
    match value {
        Value::Interval(interval) => interval.neg().map(Value::Interval),
        other => Err(mismatch("interval", other)),
    }
}

/// The difference in days and time.
pub(super) fn timestamp_minus_timestamp(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    let (x, y) = match (a, b) {
        (Value::Timestamp(x), Value::Timestamp(y)) | (Value::TimestampTz(x), Value::TimestampTz(y)) => (*x, *y),
        _ => return Err(mismatch("timestamp", a)),
    };
    if is_infinite(x) || is_infinite(y) {
        return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "cannot subtract infinite timestamps"));
    }
    let micros = x.checked_sub(y).ok_or_else(|| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range"))?;
    Interval { months: 0, days: 0, micros }.justify_hours().map(Value::Interval)
}

pub(super) fn interval_add(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    match (a, b) {
        (Value::Interval(a), Value::Interval(b)) => a.add(b).map(Value::Interval),
        _ => Err(mismatch("interval", a)),
    }
}

pub(super) fn interval_subtract(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    match (a, b) {
        (Value::Interval(a), Value::Interval(b)) => a.sub(b).map(Value::Interval),
        _ => Err(mismatch("interval", a)),
    }
}

pub(super) fn interval_multiply(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    match (a, b) {
        (Value::Interval(a), Value::Float8(b)) => a.mul(*b).map(Value::Interval),
        _ => Err(mismatch("interval", a)),
    }
}

pub(super) fn interval_divide(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    match (a, b) {
        (Value::Interval(a), Value::Float8(b)) => a.div(*b).map(Value::Interval),
        _ => Err(mismatch("interval", a)),
    }
}

/// The order of dates and timestamps of different types.
pub(super) fn compare(context: Context<'_>, a: &Value, b: &Value) -> Result<Ordering> {
    let zoned = matches!(a, Value::TimestampTz(_)) || matches!(b, Value::TimestampTz(_));
    let instant = |value: &Value| -> Result<i64> {
        let local = match value {
            Value::TimestampTz(utc) => return Ok(*utc),
            Value::Timestamp(local) => *local,
            // A date beyond all timestamps compares as one, too.
            Value::Date(days) => date_to_timestamp(*days).unwrap_or(if *days > 0 { TIMESTAMP_INFINITY - 1 } else { TIMESTAMP_NEG_INFINITY + 1 }),
            other => return Err(mismatch("timestamp", other)),
        };
        Ok(if zoned && !is_infinite(local) { context.format().time_zone.to_utc(local) } else { local })
    };
    Ok(instant(a)?.cmp(&instant(b)?))
}

/// `timestamp AT TIME ZONE zone` in both directions; the zone is a name or an interval east.
pub(super) fn at_time_zone(_: Context<'_>, value: &Value, zone: &Value) -> Result<Value> {
    let zone = match zone {
        Value::Interval(interval) if interval.months != 0 || interval.days != 0 => {
            return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "interval time zone must not include months or days"));
        }
        Value::Interval(interval) => TimeZone::fixed((interval.micros / USECS_PER_SEC) as i32),
        other => named_zone(other.as_str().ok_or_else(|| mismatch("text", other))?)?,
    };
    match value {
        Value::Timestamp(micros) | Value::TimestampTz(micros) if is_infinite(*micros) => Ok(match value {
            Value::Timestamp(micros) => Value::TimestampTz(*micros),
            _ => Value::Timestamp(*micros),
        }),
        Value::Timestamp(local) => check_timestamp(Some(zone.to_utc(*local))).map(Value::TimestampTz),
        Value::TimestampTz(utc) => check_timestamp(Some(zone.to_local(*utc))).map(Value::Timestamp),
        other => Err(mismatch("timestamp", other)),
    }
}

fn named_zone(name: &str) -> Result<TimeZone> {
    TimeZone::parse(name)
        .ok_or_else(|| Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized")))
}

/// The units of `extract` and `date_trunc`, as PostgreSQL spells them.
fn unit_name(unit: &str) -> String {
    let lower = unit.to_ascii_lowercase();
    let name = match lower.as_str() {
        "microsecond" | "microseconds" | "us" | "usec" | "usecs" | "usecond" | "useconds" => "microseconds",
        "millisecond" | "milliseconds" | "ms" | "msec" | "msecs" | "msecond" | "mseconds" => "milliseconds",
        "s" | "sec" | "secs" | "second" | "seconds" => "second",
        "m" | "min" | "mins" | "minute" | "minutes" => "minute",
        "h" | "hr" | "hrs" | "hour" | "hours" => "hour",
        "d" | "day" | "days" => "day",
        "w" | "week" | "weeks" => "week",
        "mon" | "mons" | "month" | "months" => "month",
        "qtr" | "quarter" => "quarter",
        "y" | "yr" | "yrs" | "year" | "years" => "year",
        "dec" | "decs" | "decade" | "decades" => "decade",
        "c" | "cent" | "century" | "centuries" => "century",
        "mil" | "mils" | "millennium" | "millennia" => "millennium",
        "jd" | "julian" => "julian",
        other => other,
    };
    name.to_owned()
}

const UNITS: &[&str] = &[
    "microseconds", "milliseconds", "second", "minute", "hour", "day", "week", "month", "quarter", "year", "decade", "century", "millennium",
    "julian", "dow", "doy", "isodow", "isoyear", "epoch", "timezone", "timezone_hour", "timezone_minute",
];

#[cold]
fn bad_unit(unit: &str, ty: &Type) -> Error {
    if UNITS.contains(&unit_name(unit).as_str()) {
        Error::new(SqlState::FEATURE_NOT_SUPPORTED, format!("unit \"{unit}\" not supported for type {ty}"))
    } else {
        Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("unit \"{unit}\" not recognized for type {ty}"))
    }
}

fn numeric(units: i64, scale: u8) -> Value {
    Value::Numeric(Numeric::new(i128::from(units), scale).expect("an i64 has fewer than 38 digits"))
}

/// `extract(unit from value)`: a `numeric`, or NULL where an infinite time has no such part.
///
/// # Errors
/// 0A000 for a unit that the type does not have, 22023 for one that is not known.
pub fn extract(context: &dyn EvalContext, unit: &str, value: &Value) -> Result<Value> {
    let name = unit_name(unit);
    let name = name.as_str();
    match value {
        Value::Date(days) => extract_date(name, *days).ok_or_else(|| bad_unit(unit, &Type::Date))?,
        Value::Timestamp(local) => extract_timestamp(name, *local, *local, None).ok_or_else(|| bad_unit(unit, &Type::Timestamp(None))),
        Value::TimestampTz(utc) => {
            let offset = context.format().time_zone.offset_at(*utc);
            let local = if is_infinite(*utc) { *utc } else { utc + i64::from(offset) * USECS_PER_SEC };
            extract_timestamp(name, local, *utc, Some(offset)).ok_or_else(|| bad_unit(unit, &Type::TimestampTz(None)))
        }
        Value::Time(micros) => extract_time(name, *micros).ok_or_else(|| bad_unit(unit, &Type::Time(None))),
        Value::Interval(interval) => extract_interval(name, interval).ok_or_else(|| bad_unit(unit, &Type::Interval)),
        other => Err(mismatch("timestamp", other)),
    }
}

/// What a date has to say of a unit: `None` for units it does not have.
fn extract_date(unit: &str, days: i32) -> Option<Result<Value>> {
    if matches!(unit, "microseconds" | "milliseconds" | "second" | "minute" | "hour" | "timezone" | "timezone_hour" | "timezone_minute") {
        return None;
    }
    Some(Ok(match unit {
        "epoch" if !infinite_date(days) => numeric((i64::from(days) - i64::from(UNIX_EPOCH_DAYS)) * 86_400, 0),
        "julian" if !infinite_date(days) => numeric(i64::from(days) + 2_451_545, 0),
        _ => {
            let micros = match days {
                DATE_INFINITY => TIMESTAMP_INFINITY,
                DATE_NEG_INFINITY => TIMESTAMP_NEG_INFINITY,
                _ => return date_part(unit, days).map(|part| Ok(numeric(part, 0))),
            };
            extract_timestamp(unit, micros, micros, None)?
        }
    }))
}

/// The parts of the calendar.
fn date_part(unit: &str, days: i32) -> Option<i64> {
    let Civil { year, month, day } = civil_from_days(days);
    let (year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
    // The year as people count it: there is no year 0.
    let shown = if year > 0 { year } else { year - 1 };
    Some(match unit {
        "day" => day,
        "month" => month,
        "quarter" => (month - 1) / 3 + 1,
        "year" => shown,
        "decade" => year.div_euclid(10),
        "century" => if year > 0 { (year + 99) / 100 } else { -((99 - (year - 1)) / 100) },
        "millennium" => if year > 0 { (year + 999) / 1000 } else { -((999 - (year - 1)) / 1000) },
        "dow" => day_of_week(days),
        "isodow" => (day_of_week(days) + 6) % 7 + 1,
        "doy" => i64::from(days) - days_from_civil(year, 1, 1) + 1,
        "week" => iso_week(days).1,
        "isoyear" => {
            let iso = iso_week(days).0;
            if iso > 0 { iso } else { iso - 1 }
        }
        _ => return None,
    })
}

/// 0 for Sunday.
pub(super) fn day_of_week(days: i32) -> i64 {
    // 2000-01-01 was a Saturday.
    (i64::from(days) + 6).rem_euclid(7)
}

/// Year and week by ISO 8601: weeks begin on Monday, the first has the year's first Thursday.
pub(super) fn iso_week(days: i32) -> (i64, i64) {
    let weekday = (day_of_week(days) + 6) % 7;
    let thursday = i64::from(days) - weekday + 3;
    let year = i64::from(civil_from_days(thursday as i32).year);
    (year, (thursday - days_from_civil(year, 1, 1)) / 7 + 1)
}

fn extract_time(unit: &str, micros: i64) -> Option<Value> {
    let Timed { hour, minute, second, micro } = Timed::new(micros);
    let seconds = second * USECS_PER_SEC + micro;
    Some(match unit {
        "microseconds" => numeric(seconds, 0),
        "milliseconds" => numeric(seconds, 3),
        "second" => numeric(seconds, 6),
        "minute" => numeric(minute, 0),
        "hour" => numeric(hour, 0),
        "epoch" => numeric(micros, 6),
        _ => return None,
    })
}

fn extract_timestamp(unit: &str, local: i64, utc: i64, offset: Option<i32>) -> Option<Value> {
    if is_infinite(local) {
        return Some(match unit {
            "year" | "decade" | "century" | "millennium" | "julian" | "isoyear" | "epoch" => {
                Value::Numeric(if local > 0 { Numeric::INFINITY } else { Numeric::NEG_INFINITY })
            }
            "timezone" | "timezone_hour" | "timezone_minute" if offset.is_none() => return None,
            known if UNITS.contains(&known) => Value::Null,
            _ => return None,
        });
    }
    let (days, time) = split_timestamp(local);
    Some(match (unit, offset) {
        ("epoch", _) => numeric(utc - i64::from(UNIX_EPOCH_DAYS) * USECS_PER_DAY, 6),
        ("julian", _) => {
            let day = Numeric::from(i64::from(days) + 2_451_545);
            let part = Numeric::from(time).div(&Numeric::from(USECS_PER_DAY)).ok()?;
            Value::Numeric(day.add(&part).ok()?)
        }
        ("timezone", Some(offset)) => numeric(i64::from(offset), 0),
        ("timezone_hour", Some(offset)) => numeric(i64::from(offset / 3600), 0),
        ("timezone_minute", Some(offset)) => numeric(i64::from(offset / 60 % 60), 0),
        ("microseconds" | "milliseconds" | "second" | "minute" | "hour", _) => extract_time(unit, time)?,
        _ => numeric(date_part(unit, days)?, 0),
    })
}

fn extract_interval(unit: &str, interval: &Interval) -> Option<Value> {
    let (years, months) = (i64::from(interval.months / 12), i64::from(interval.months % 12));
    let seconds = interval.micros % (60 * USECS_PER_SEC);
    Some(match unit {
        "microseconds" => numeric(seconds, 0),
        "milliseconds" => numeric(seconds, 3),
        "second" => numeric(seconds, 6),
        "minute" => numeric(interval.micros / (60 * USECS_PER_SEC) % 60, 0),
        "hour" => numeric(interval.micros / HOUR, 0),
        "day" => numeric(i64::from(interval.days), 0),
        "month" => numeric(months, 0),
        "quarter" => numeric(months / 3 + 1, 0),
        "year" => numeric(years, 0),
        "decade" => numeric(years / 10, 0),
        "century" => numeric(years / 100, 0),
        "millennium" => numeric(years / 1000, 0),
        "epoch" => {
            // A year counts 365.25 days here, a month 30.
            let quarters = years * 1461 + (months * 30 + i64::from(interval.days)) * 4;
            let micros = i128::from(quarters) * i128::from(USECS_PER_DAY / 4) + i128::from(interval.micros);
            Value::Numeric(Numeric::new(micros, 6).ok()?)
        }
        _ => return None,
    })
}

pub(super) fn extract_function(context: Context<'_>, arguments: &[Value]) -> Result<Value> {
    extract(context, arguments[0].as_str().unwrap_or(""), &arguments[1])
}

/// `date_part`: as `extract`, but double precision; of a date as of its midnight.
pub(super) fn date_part_function(context: Context<'_>, arguments: &[Value]) -> Result<Value> {
    let value = match &arguments[1] {
        Value::Date(days) => Value::Timestamp(date_to_timestamp(*days)?),
        other => other.clone(),
    };
    match extract(context, arguments[0].as_str().unwrap_or(""), &value)? {
        Value::Numeric(value) => Ok(Value::Float8(value.to_f64())),
        other => Ok(other),
    }
}

/// `date_trunc(unit, value)`
pub(super) fn date_trunc(context: Context<'_>, arguments: &[Value]) -> Result<Value> {
    let unit = arguments[0].as_str().unwrap_or("");
    match &arguments[1] {
        Value::Timestamp(micros) | Value::TimestampTz(micros) if is_infinite(*micros) => Ok(arguments[1].clone()),
        Value::Timestamp(local) => check_timestamp(truncate(unit, *local, &Type::Timestamp(None))?).map(Value::Timestamp),
        Value::TimestampTz(utc) => truncate_zoned(unit, *utc, &context.format().time_zone),
        Value::Interval(interval) => truncate_interval(unit, interval).map(Value::Interval),
        other => Err(mismatch("timestamp", other)),
    }
}

/// `date_trunc(unit, timestamptz, zone)`
pub(super) fn date_trunc_zone(_: Context<'_>, arguments: &[Value]) -> Result<Value> {
    match &arguments[1] {
        Value::TimestampTz(micros) if is_infinite(*micros) => Ok(arguments[1].clone()),
        Value::TimestampTz(utc) => {
            truncate_zoned(arguments[0].as_str().unwrap_or(""), *utc, &named_zone(arguments[2].as_str().unwrap_or(""))?)
        }
        other => Err(mismatch("timestamptz", other)),
    }
}

fn truncate_zoned(unit: &str, utc: i64, zone: &TimeZone) -> Result<Value> {
    let local = zone.to_local(utc);
    let Some(truncated) = truncate(unit, local, &Type::TimestampTz(None))? else {
        return check_timestamp(None).map(Value::TimestampTz);
    };
    // Within the hour the offset stays as it was, so that a doubled hour is not mistaken for the other.
    let small = matches!(unit_name(unit).as_str(), "hour" | "minute" | "second" | "milliseconds" | "microseconds");
    let result = if small { utc - (local - truncated) } else { zone.to_utc(truncated) };
    check_timestamp(Some(result)).map(Value::TimestampTz)
}

fn truncate(unit: &str, local: i64, ty: &Type) -> Result<Option<i64>> {
    let (days, time) = split_timestamp(local);
    let Civil { year, month, .. } = civil_from_days(days);
    let (year, month) = (i64::from(year), i64::from(month));
    let to = |step: i64| timestamp_from_parts(i64::from(days), time / step * step);
    let first = |year: i64, month: i64| timestamp_from_parts(days_from_civil(year, month, 1), 0);
    // Years are grouped from 1 on, and downwards from 1 BC.
    let group = |size: i64| if year > 0 { (year + size - 1) / size * size - (size - 1) } else { -((size - year) / size) * size + 1 };
    Ok(match unit_name(unit).as_str() {
        "microseconds" => Some(local),
        "milliseconds" => to(1000),
        "second" => to(USECS_PER_SEC),
        "minute" => to(60 * USECS_PER_SEC),
        "hour" => to(HOUR),
        "day" => timestamp_from_parts(i64::from(days), 0),
        "week" => timestamp_from_parts(i64::from(days) - (day_of_week(days) + 6) % 7, 0),
        "month" => first(year, month),
        "quarter" => first(year, (month - 1) / 3 * 3 + 1),
        "year" => first(year, 1),
        "decade" => first(year.div_euclid(10) * 10, 1),
        "century" => first(group(100), 1),
        "millennium" => first(group(1000), 1),
        _ => return Err(bad_unit(unit, ty)),
    })
}

fn truncate_interval(unit: &str, interval: &Interval) -> Result<Interval> {
    let Interval { months, days, micros } = *interval;
    let time = |step: i64| Interval { months, days, micros: micros / step * step };
    let whole = |months: i32| Interval { months, days: 0, micros: 0 };
    let name = unit_name(unit);
    Ok(match name.as_str() {
        "microseconds" => *interval,
        "milliseconds" => time(1000),
        "second" => time(USECS_PER_SEC),
        "minute" => time(60 * USECS_PER_SEC),
        "hour" => time(HOUR),
        "day" => Interval { months, days, micros: 0 },
        "month" => whole(months),
        "quarter" => whole(months / 3 * 3),
        "year" => whole(months / 12 * 12),
        "decade" => whole(months / 120 * 120),
        "century" => whole(months / 1200 * 1200),
        "millennium" => whole(months / 12_000 * 12_000),
        "week" => {
            return Err(bad_unit(unit, &Type::Interval).with_detail("Months usually have fractional weeks."));
        }
        _ => return Err(bad_unit(unit, &Type::Interval)),
    })
}

/// `age(a, b)`: the difference in years, months and days.
pub(super) fn age(context: Context<'_>, arguments: &[Value]) -> Result<Value> {
    let local = |value: &Value| match value {
        Value::Timestamp(local) => Ok(*local),
        Value::TimestampTz(utc) if is_infinite(*utc) => Ok(*utc),
        Value::TimestampTz(utc) => Ok(context.format().time_zone.to_local(*utc)),
        other => Err(mismatch("timestamp", other)),
    };
    let (a, b) = match arguments {
        [value] => {
            let zone = &context.format().time_zone;
            let (today, _) = split_timestamp(zone.to_local(context.transaction_timestamp()));
            (date_to_timestamp(today)?, local(value)?)
        }
        [a, b] => (local(a)?, local(b)?),
        _ => return Err(Error::internal("age takes one or two arguments")),
    };
    if is_infinite(a) || is_infinite(b) {
        return Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "cannot subtract infinite timestamps"));
    }
    // Always the later minus the earlier, so that borrowing works one way.
    let (late, early, sign) = if a >= b { (a, b, 1) } else { (b, a, -1) };
    let ((late_days, late_time), (early_days, early_time)) = (split_timestamp(late), split_timestamp(early));
    let (from, to) = (civil_from_days(early_days), civil_from_days(late_days));
    let mut micros = late_time - early_time;
    let mut days = i64::from(to.day - from.day);
    let mut months = (i64::from(to.year) - i64::from(from.year)) * 12 + i64::from(to.month - from.month);
    if micros < 0 {
        micros += USECS_PER_DAY;
        days -= 1;
    }
    if days < 0 {
        // Borrowed is the month of the earlier date.
        days += days_in_month(i64::from(from.year), i64::from(from.month));
        months -= 1;
    }
    Ok(Value::Interval(Interval { months: (sign * months) as i32, days: (sign * days) as i32, micros: sign * micros }))
}

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
    check_date(days).map(Value::Date).map_err(|_| field_out_of_range(format!("date out of range: {year}-{month:02}-{day:02}")))
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
    let Value::Timestamp(local) = make_timestamp(context, arguments)? else { return Err(Error::internal("make_timestamp")) };
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

pub(super) fn justify_days(_: Context<'_>, arguments: &[Value]) -> Result<Value> {
    interval_of(&arguments[0])?.justify_days().map(Value::Interval)
}

pub(super) fn justify_hours(_: Context<'_>, arguments: &[Value]) -> Result<Value> {
    interval_of(&arguments[0])?.justify_hours().map(Value::Interval)
}

pub(super) fn justify_interval(_: Context<'_>, arguments: &[Value]) -> Result<Value> {
    interval_of(&arguments[0])?.justify().map(Value::Interval)
}

fn interval_of(value: &Value) -> Result<&Interval> {
    match value {
        Value::Interval(interval) => Ok(interval),
        other => Err(mismatch("interval", other)),
    }
}

pub(super) fn is_finite(_: Context<'_>, arguments: &[Value]) -> Result<Value> {
    Ok(Value::Bool(match &arguments[0] {
        Value::Date(days) => !infinite_date(*days),
        Value::Timestamp(micros) | Value::TimestampTz(micros) => !is_infinite(*micros),
        _ => true,
    }))
}

pub(super) fn time_zone_function(context: Context<'_>, arguments: &[Value]) -> Result<Value> {
    at_time_zone(context, &arguments[1], &arguments[0])
}

pub(super) fn now(context: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::TimestampTz(context.transaction_timestamp()))
}

pub(super) fn statement_timestamp(context: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::TimestampTz(context.statement_timestamp()))
}

pub(super) fn clock_timestamp(context: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::TimestampTz(context.clock_timestamp()))
}

pub(super) fn current_date(context: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::Date(split_timestamp(local_now(context)).0))
}

pub(super) fn local_timestamp(context: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::Timestamp(local_now(context)))
}

pub(super) fn local_time(context: Context<'_>, _: &[Value]) -> Result<Value> {
    Ok(Value::Time(split_timestamp(local_now(context)).1))
}

fn local_now(context: Context<'_>) -> i64 {
    context.format().time_zone.to_local(context.transaction_timestamp())
}

/// `timeofday()`: the clock in the style of C's `ctime`.
pub(super) fn time_of_day(context: Context<'_>, _: &[Value]) -> Result<Value> {
    let utc = context.clock_timestamp();
    let zone = &context.format().time_zone;
    let (days, time) = split_timestamp(zone.to_local(utc));
    let Civil { year, month, day } = civil_from_days(days);
    let Timed { hour, minute, second, micro } = Timed::new(time);
    let weekday = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"][day_of_week(days) as usize];
    let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][month as usize - 1];
    let zone = zone.abbreviation_at(utc);
    Ok(Value::text(format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02}.{micro:06} {year} {zone}")))
}
