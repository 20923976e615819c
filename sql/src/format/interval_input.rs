//! Reading intervals: PostgreSQL's units (`1 day 2 hours ago`), SQL's fields (`1-2 3 04:05:06`) and ISO 8601 (`P1Y2M3DT4H5M6S`).

use crate::error::{Error, SqlState};
use crate::value::{Interval, USECS_PER_DAY, USECS_PER_SEC};

/// The fields after an interval literal: `INTERVAL '1' DAY`, `INTERVAL '1:30' MINUTE TO SECOND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum IntervalFields {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    YearToMonth,
    DayToHour,
    DayToMinute,
    DayToSecond,
    HourToMinute,
    HourToSecond,
    MinuteToSecond,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Micro,
    Milli,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Year,
}

enum Fault {
    Format,
    Range,
}

impl Fault {
    fn error(self, input: &str) -> Error {
        match self {
            Fault::Format => Error::new(
                SqlState::INVALID_DATETIME_FORMAT,
                format!("invalid input syntax for type interval: \"{input}\""),
            ),
            Fault::Range => {
                Error::new(SqlState::INTERVAL_FIELD_OVERFLOW, format!("interval field value out of range: \"{input}\""))
            }
        }
    }
}

/// Reads an interval.
///
/// # Errors
/// 22007, 22015.
pub fn parse_interval(input: &str) -> Result<Interval, Error> {
    read(input, None).map_err(|fault| fault.error(input))
}

/// Reads an interval literal with fields: they say what a lone number means, and smaller parts are cut off.
///
/// # Errors
/// 22007, 22015.
pub fn parse_interval_fields(input: &str, fields: IntervalFields) -> Result<Interval, Error> {
    let interval = read(input, Some(fields)).map_err(|fault| fault.error(input))?;
    Ok(cut(interval, fields))
}

fn cut(interval: Interval, fields: IntervalFields) -> Interval {
    use IntervalFields as F;
    let Interval { months, days, micros } = interval;
    let to = |unit: i64| micros / unit * unit;
    match fields {
        F::Year => Interval { months: months / 12 * 12, days: 0, micros: 0 },
        F::Month | F::YearToMonth => Interval { months, days: 0, micros: 0 },
        F::Day => Interval { months, days, micros: 0 },
        F::Hour | F::DayToHour => Interval { months, days, micros: to(3600 * USECS_PER_SEC) },
        F::Minute | F::DayToMinute | F::HourToMinute => Interval { months, days, micros: to(60 * USECS_PER_SEC) },
        F::Second | F::DayToSecond | F::HourToSecond | F::MinuteToSecond => interval,
    }
}

/// The unit of a number without one, by the last field.
fn default_unit(fields: Option<IntervalFields>) -> Unit {
    use IntervalFields as F;
    match fields {
        Some(F::Year) => Unit::Year,
        Some(F::Month | F::YearToMonth) => Unit::Month,
        Some(F::Day) => Unit::Day,
        Some(F::Hour | F::DayToHour) => Unit::Hour,
        Some(F::Minute | F::HourToMinute | F::DayToMinute) => Unit::Minute,
        Some(F::Second | F::MinuteToSecond | F::HourToSecond | F::DayToSecond) | None => Unit::Second,
    }
}

/// The sum of the parts, wider than an interval so that only the end is checked.
#[derive(Default)]
struct Sum {
    months: i128,
    days: i128,
    micros: i128,
}

impl Sum {
    fn finish(self, negative: bool) -> Result<Interval, Fault> {
        let sign = if negative { -1 } else { 1 };
        Ok(Interval {
            months: i32::try_from(self.months * sign).map_err(|_| Fault::Range)?,
            days: i32::try_from(self.days * sign).map_err(|_| Fault::Range)?,
            micros: i64::try_from(self.micros * sign).map_err(|_| Fault::Range)?,
        })
    }

    /// Adds a decimal number of units. Fractions go down: of years to months, of months and weeks to days and time, of days to time.
    fn add(&mut self, number: &Number, unit: Unit, sign: i128) -> Result<(), Fault> {
        let (whole, fraction) = (number.whole * sign, number.fraction * sign as f64);
        let micros = |micros: f64| micros.round_ties_even() as i128;
        let day = USECS_PER_DAY as f64;
        match unit {
            Unit::Micro => self.micros += whole + micros(fraction),
            Unit::Milli => self.micros += whole * 1000 + micros(fraction * 1e3),
            Unit::Second => self.micros += whole * 1_000_000 + micros(fraction * 1e6),
            Unit::Minute => self.micros += whole * 60_000_000 + micros(fraction * 6e7),
            Unit::Hour => self.micros += whole * 3_600_000_000 + micros(fraction * 3.6e9),
            Unit::Day => {
                self.days += whole;
                self.micros += micros(fraction * day);
            }
            Unit::Week => {
                self.days += whole * 7;
                self.add_days(fraction * 7.0, micros);
            }
            Unit::Month => {
                self.months += whole;
                self.add_days(fraction * 30.0, micros);
            }
            Unit::Year => self.months += whole * 12 + (fraction * 12.0).round_ties_even() as i128,
        }
        Ok(())
    }

    fn add_days(&mut self, days: f64, micros: impl Fn(f64) -> i128) {
        self.days += days.trunc() as i128;
        self.micros += micros((days - days.trunc()) * USECS_PER_DAY as f64);
    }
}

/// A decimal number without sign.
struct Number {
    whole: i128,
    fraction: f64,
}

impl Number {
    fn parse(text: &str) -> Result<Number, Fault> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if (whole.is_empty() && fraction.is_empty()) || whole.len() > 20 {
            return Err(if whole.len() > 20 { Fault::Range } else { Fault::Format });
        }
        let whole = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| Fault::Format)? };
        let fraction =
            if fraction.is_empty() { 0.0 } else { format!("0.{fraction}").parse().map_err(|_| Fault::Format)? };
        Ok(Number { whole, fraction })
    }

    fn scaled(self, factor: i128) -> Number {
        let fraction = self.fraction * factor as f64;
        Number { whole: self.whole * factor + fraction.trunc() as i128, fraction: fraction.fract() }
    }
}

fn read(input: &str, fields: Option<IntervalFields>) -> Result<Interval, Fault> {
    let text = input.trim();
    if let Some(iso) = text.strip_prefix(['P', 'p']).filter(|rest| !rest.is_empty()) {
        return read_iso(iso);
    }
    let mut sum = Sum::default();
    let mut rest = text.strip_prefix('@').unwrap_or(text).trim_start();
    let (mut ago, mut any, mut seen_bare) = (false, false, false);
    let mut seen: Vec<Unit> = Vec::new();
    let mut note = |unit: Unit| {
        let repeated = seen.contains(&unit);
        seen.push(unit);
        if repeated { Err(Fault::Format) } else { Ok(()) }
    };
    while !rest.is_empty() {
        if ago {
            return Err(Fault::Format);
        }
        let first = rest.as_bytes()[0];
        if first.is_ascii_alphabetic() {
            let (word, tail) = take(rest, |b| b.is_ascii_alphabetic());
            if !any || !word.eq_ignore_ascii_case("ago") {
                return Err(Fault::Format);
            }
            // A lone number is no unit that could be ago.
            if seen_bare {
                return Err(Fault::Format);
            }
            ago = true;
            rest = tail.trim_start();
            continue;
        }
        let (sign, body) = match first {
            b'-' => (-1, rest[1..].trim_start()),
            b'+' => (1, rest[1..].trim_start()),
            _ => (1, rest),
        };
        let (token, tail) = take(body, |b| b.is_ascii_digit() || matches!(b, b'.' | b':'));
        if token.is_empty() {
            return Err(Fault::Format);
        }
        any = true;
        seen_bare = false;
        if token.contains(':') {
            note(Unit::Hour)?;
            note(Unit::Minute)?;
            note(Unit::Second)?;
            sum.micros += sign * clock(token, fields)?;
            rest = tail.trim_start();
            continue;
        }
        // 1-2: years and months
        if let Some(after) = tail.strip_prefix('-').filter(|after| after.starts_with(|c: char| c.is_ascii_digit())) {
            let (months, tail) = take(after, |b| b.is_ascii_digit());
            let months: i128 = months.parse().map_err(|_| Fault::Range)?;
            if months >= 12 {
                return Err(Fault::Range);
            }
            note(Unit::Year)?;
            note(Unit::Month)?;
            let years: i128 = token.parse().map_err(|_| Fault::Format)?;
            let all = years.checked_mul(12).and_then(|years| years.checked_add(months)).ok_or(Fault::Range)?;
            sum.months = sum.months.checked_add(sign * all).ok_or(Fault::Range)?;
            rest = tail.trim_start();
            continue;
        }
        let number = Number::parse(token)?;
        let after = tail.trim_start();
        let (word, next) = take(after, |b| b.is_ascii_alphabetic());
        if word.is_empty() || word.eq_ignore_ascii_case("ago") {
            // Before a time of day it is days, at the end what the fields say.
            let time_follows = !after.is_empty()
                && word.is_empty()
                && take(after.trim_start_matches(['+', '-']), |b| b.is_ascii_digit() || b == b':').0.contains(':');
            let unit = if time_follows { Unit::Day } else { default_unit(fields) };
            note(unit)?;
            sum.add(&number, unit, sign)?;
            seen_bare = true;
            rest = after;
            continue;
        }
        let (unit, factor) = unit(word).ok_or(Fault::Format)?;
        // Decades and the like may stand beside years; everything else only once.
        if factor == 1 {
            note(unit)?;
        }
        sum.add(&number.scaled(factor), unit, sign)?;
        rest = next.trim_start();
    }
    if any { sum.finish(ago) } else { Err(Fault::Format) }
}

fn take(text: &str, accept: impl Fn(u8) -> bool) -> (&str, &str) {
    text.split_at(text.bytes().position(|b| !accept(b)).unwrap_or(text.len()))
}

fn unit(word: &str) -> Option<(Unit, i128)> {
    Some(match word.to_ascii_lowercase().as_str() {
        "us" | "usec" | "usecs" | "usecond" | "useconds" | "microsecond" | "microseconds" | "microsecon" => {
            (Unit::Micro, 1)
        }
        "ms" | "msec" | "msecs" | "msecond" | "mseconds" | "millisecond" | "milliseconds" | "millisecon" => {
            (Unit::Milli, 1)
        }
        "s" | "sec" | "secs" | "second" | "seconds" => (Unit::Second, 1),
        "m" | "min" | "mins" | "minute" | "minutes" => (Unit::Minute, 1),
        "h" | "hr" | "hrs" | "hour" | "hours" => (Unit::Hour, 1),
        "d" | "day" | "days" => (Unit::Day, 1),
        "w" | "week" | "weeks" => (Unit::Week, 1),
        "mon" | "mons" | "month" | "months" => (Unit::Month, 1),
        "y" | "yr" | "yrs" | "year" | "years" => (Unit::Year, 1),
        "dec" | "decs" | "decade" | "decades" => (Unit::Year, 10),
        "c" | "cent" | "century" | "centuries" => (Unit::Year, 100),
        "mil" | "mils" | "millennium" | "millennia" => (Unit::Year, 1000),
        _ => return None,
    })
}

/// `4:05`, `4:05:06.7`; hours may exceed a day. Two parts are hours and minutes unless the fields or a fraction say otherwise.
fn clock(text: &str, fields: Option<IntervalFields>) -> Result<i128, Fault> {
    let (whole, fraction) = text.split_once('.').map_or((text, ""), |(whole, fraction)| (whole, fraction));
    let parts: Vec<&str> = whole.split(':').collect();
    let number =
        |part: &&str| if part.len() > 12 { Err(Fault::Range) } else { part.parse::<i128>().map_err(|_| Fault::Format) };
    let (hours, minutes, seconds) = match parts.as_slice() {
        [minutes, seconds] if !fraction.is_empty() || fields == Some(IntervalFields::MinuteToSecond) => {
            (0, number(minutes)?, number(seconds)?)
        }
        [hours, minutes] => (number(hours)?, number(minutes)?, 0),
        [hours, minutes, seconds] => (number(hours)?, number(minutes)?, number(seconds)?),
        _ => return Err(Fault::Format),
    };
    if minutes > 59 || seconds > 60 {
        return Err(Fault::Range);
    }
    let micros = if fraction.is_empty() {
        0
    } else {
        (Number::parse(&format!(".{fraction}"))?.fraction * 1e6).round_ties_even() as i128
    };
    Ok((hours * 3600 + minutes * 60 + seconds) * 1_000_000 + micros)
}

/// What follows the `P`.
fn read_iso(text: &str) -> Result<Interval, Fault> {
    let mut sum = Sum::default();
    let (mut rest, mut in_time) = (text, false);
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix(['T', 't']) {
            if in_time {
                return Err(Fault::Format);
            }
            (in_time, rest) = (true, tail);
            continue;
        }
        let (sign, body) = match rest.as_bytes()[0] {
            b'-' => (-1, &rest[1..]),
            b'+' => (1, &rest[1..]),
            _ => (1, rest),
        };
        let (number, tail) = take(body, |b| b.is_ascii_digit() || b == b'.');
        let number = Number::parse(number)?;
        let designator = tail.chars().next().ok_or(Fault::Format)?;
        let unit = match (designator.to_ascii_uppercase(), in_time) {
            ('Y', false) => Unit::Year,
            ('M', false) => Unit::Month,
            ('W', false) => Unit::Week,
            ('D', false) => Unit::Day,
            ('H', true) => Unit::Hour,
            ('M', true) => Unit::Minute,
            ('S', true) => Unit::Second,
            _ => return Err(Fault::Format),
        };
        sum.add(&number, unit, sign)?;
        rest = &tail[1..];
    }
    sum.finish(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::IntervalStyle;

    fn text(interval: Result<Interval, Error>) -> Result<String, String> {
        let mut out = String::new();
        crate::format::write_interval(&interval.map_err(|e| e.code.to_string())?, IntervalStyle::Postgres, &mut out)
            .expect("writes");
        Ok(out)
    }

    #[test]
    fn all_notations_are_read() {
        for (input, expected) in [
            ("1 day", "1 day"),
            ("1 year 2 mons 3 days 04:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("@ 1 minute", "00:01:00"),
            ("1.5 hours", "01:30:00"),
            ("-1 day +02:03:04", "-1 days +02:03:04"),
            ("1 day ago", "-1 days"),
            ("1-2", "1 year 2 mons"),
            ("1-2 3 04:05:06", "1 year 2 mons 3 days 04:05:06"),
            ("3 4:05", "3 days 04:05:00"),
            ("10", "00:00:10"),
            ("1.5 years", "1 year 6 mons"),
            ("1.5 months", "1 mon 15 days"),
            ("1.5 weeks", "10 days 12:00:00"),
            ("P1Y2M3DT4H5M6.5S", "1 year 2 mons 3 days 04:05:06.5"),
            ("PT-1H", "-01:00:00"),
            ("100 milliseconds", "00:00:00.1"),
            ("1 decade", "10 years"),
            ("1d", "1 day"),
            ("25:00:00", "25:00:00"),
            ("0", "00:00:00"),
        ] {
            assert_eq!(text(parse_interval(input)).as_deref(), Ok(expected), "{input}");
        }
        for (input, code) in [
            ("", "22007"),
            ("day", "22007"),
            ("1 fortnight", "22007"),
            ("1 day 1 day", "22007"),
            ("1:60", "22015"),
            ("99999999999 years", "22015"),
        ] {
            assert_eq!(text(parse_interval(input)), Err(code.to_owned()), "{input}");
        }
    }

    #[test]
    fn fields_say_what_a_number_means() {
        use IntervalFields as F;
        for (input, fields, expected) in [
            ("1", F::Day, "1 day"),
            ("1", F::Year, "1 year"),
            ("1:30", F::MinuteToSecond, "00:01:30"),
            ("1 day 02:03:04", F::Hour, "1 day 02:00:00"),
            ("1.5", F::Second, "00:00:01.5"),
            ("1-6", F::Year, "1 year"),
        ] {
            assert_eq!(text(parse_interval_fields(input, fields)).as_deref(), Ok(expected), "{input}");
        }
    }
}
