//! `extract`, `date_part` and `date_trunc`.

use crate::cast::{date_to_timestamp, is_infinite};
use crate::error::{Error, SqlState};
use crate::functions::EvalContext;
use crate::functions::dates::{infinite_date, named_zone};
use crate::types::Type;
use crate::value::{
    Civil, DATE_INFINITY, DATE_NEG_INFINITY, Interval, Numeric, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, TimeZone,
    Timed, UNIX_EPOCH_DAYS, USECS_PER_DAY, USECS_PER_SEC, Value, check_timestamp, civil_from_days, days_from_civil,
    mismatch, split_timestamp, timestamp_from_parts,
};

type Result<T> = std::result::Result<T, Error>;
type Context<'a> = &'a dyn EvalContext;

const HOUR: i64 = 3600 * USECS_PER_SEC;

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
    "microseconds",
    "milliseconds",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
    "decade",
    "century",
    "millennium",
    "julian",
    "dow",
    "doy",
    "isodow",
    "isoyear",
    "epoch",
    "timezone",
    "timezone_hour",
    "timezone_minute",
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
        Value::Timestamp(local) => {
            extract_timestamp(name, *local, *local, None).ok_or_else(|| bad_unit(unit, &Type::Timestamp(None)))
        }
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
    if matches!(
        unit,
        "microseconds"
            | "milliseconds"
            | "second"
            | "minute"
            | "hour"
            | "timezone"
            | "timezone_hour"
            | "timezone_minute"
    ) {
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
        "century" => {
            if year > 0 {
                (year + 99) / 100
            } else {
                -((99 - (year - 1)) / 100)
            }
        }
        "millennium" => {
            if year > 0 {
                (year + 999) / 1000
            } else {
                -((999 - (year - 1)) / 1000)
            }
        }
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
        ("epoch", _) => {
            // The last timestamps are beyond 64 bits when counted from 1970.
            let since = i128::from(utc) - i128::from(UNIX_EPOCH_DAYS) * i128::from(USECS_PER_DAY);
            Value::Numeric(Numeric::new(since, 6).ok()?)
        }
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
        Value::Timestamp(local) => {
            check_timestamp(truncate(unit, *local, &Type::Timestamp(None))?).map(Value::Timestamp)
        }
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

/// `date_bin(stride, timestamp, origin)`: the beginning of the bin that a moment lies in; bins begin at the origin and every stride from there.
pub(super) fn date_bin(_: Context<'_>, arguments: &[Value]) -> Result<Value> {
    let Value::Interval(stride) = &arguments[0] else { return Err(mismatch("interval", &arguments[0])) };
    let moment = |value: &Value| match value {
        Value::Timestamp(micros) | Value::TimestampTz(micros) => Ok(*micros),
        other => Err(mismatch("timestamp", other)),
    };
    let (at, origin) = (moment(&arguments[1])?, moment(&arguments[2])?);
    if is_infinite(at) {
        return Ok(arguments[1].clone());
    }
    let overflow = |what: &str| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, what.to_owned());
    if is_infinite(origin) {
        return Err(overflow("origin out of range"));
    }
    if stride.months != 0 {
        let message = "timestamps cannot be binned into intervals containing months or years";
        return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
    }
    // In 128 bits nothing here can overflow.
    let stride = i128::from(stride.days) * i128::from(USECS_PER_DAY) + i128::from(stride.micros);
    if stride <= 0 {
        return Err(overflow("stride must be greater than zero"));
    }
    let (at, origin) = (i128::from(at), i128::from(origin));
    let bin = i64::try_from(at - (at - origin).rem_euclid(stride)).ok();
    let bin = check_timestamp(bin)?;
    Ok(if matches!(arguments[1], Value::Timestamp(_)) { Value::Timestamp(bin) } else { Value::TimestampTz(bin) })
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
    let group = |size: i64| {
        if year > 0 { (year + size - 1) / size * size - (size - 1) } else { -((size - year) / size) * size + 1 }
    };
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
