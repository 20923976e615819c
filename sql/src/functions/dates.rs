//! Operators and functions on dates, times and intervals.

use std::cmp::Ordering;

use crate::cast::{date_to_timestamp, is_infinite};
use crate::error::{Error, SqlState};
use crate::functions::EvalContext;
use crate::functions::date_parts::day_of_week;
use crate::value::{
    Civil, DATE_INFINITY, DATE_NEG_INFINITY, Interval, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, TimeZone, Timed,
    USECS_PER_DAY, USECS_PER_SEC, Value, check_date, check_timestamp, civil_from_days, days_in_month, mismatch,
    split_timestamp,
};

type Result<T> = std::result::Result<T, Error>;
type Context<'a> = &'a dyn EvalContext;

pub(super) fn infinite_date(days: i32) -> bool {
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
        (Value::Date(days), Value::Interval(interval)) => {
            interval.add_to_timestamp(date_to_timestamp(*days)?).map(Value::Timestamp)
        }
        _ => Err(mismatch("date", a)),
    }
}

pub(super) fn date_minus_interval(context: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    date_plus_interval(context, a, &negated(b)?)
}

pub(super) fn date_plus_time(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    match (a, b) {
        (Value::Date(days), Value::Time(_)) if infinite_date(*days) => date_to_timestamp(*days).map(Value::Timestamp),
        (Value::Date(days), Value::Time(time)) => {
            check_timestamp(date_to_timestamp(*days)?.checked_add(*time)).map(Value::Timestamp)
        }
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
        (Value::Timestamp(micros), Value::Interval(interval)) => {
            interval.add_to_timestamp(*micros).map(Value::Timestamp)
        }
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
    let micros =
        x.checked_sub(y).ok_or_else(|| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range"))?;
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
            Value::Date(days) => date_to_timestamp(*days).unwrap_or(if *days > 0 {
                TIMESTAMP_INFINITY - 1
            } else {
                TIMESTAMP_NEG_INFINITY + 1
            }),
            other => return Err(mismatch("timestamp", other)),
        };
        Ok(if zoned && !is_infinite(local) { context.format().time_zone.to_utc(local) } else { local })
    };
    Ok(instant(a)?.cmp(&instant(b)?))
}

/// `timestamp AT TIME ZONE zone` in both directions; the zone is a name or an interval east.
pub(super) fn at_time_zone(_: Context<'_>, value: &Value, zone: &Value) -> Result<Value> {
    let zone =
        match zone {
            Value::Interval(interval) if interval.months != 0 || interval.days != 0 => {
                return Err(Error::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    "interval time zone must not include months or days",
                ));
            }
            Value::Interval(interval) => {
                let seconds = interval.micros / USECS_PER_SEC;
                let offset = i32::try_from(seconds).ok().filter(|seconds| seconds.checked_neg().is_some());
                TimeZone::fixed(offset.ok_or_else(|| {
                    Error::new(SqlState::INVALID_PARAMETER_VALUE, "interval time zone is out of range")
                })?)
            }
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

pub(super) fn named_zone(name: &str) -> Result<TimeZone> {
    TimeZone::parse(name)
        .ok_or_else(|| Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized")))
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
    let month =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"][month as usize - 1];
    let zone = zone.abbreviation_at(utc);
    Ok(Value::text(format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02}.{micro:06} {year} {zone}")))
}
