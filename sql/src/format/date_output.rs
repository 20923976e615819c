//! Dates, times and intervals as text.

use crate::format::IntervalStyle;
use crate::value::{
    DATE_INFINITY, DATE_NEG_INFINITY, Interval, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, Timed, civil_from_days,
    split_timestamp,
};

/// `2001-02-03`, ` BC` following where needed.
pub(super) fn write_date(days: i32, out: &mut impl std::fmt::Write) -> std::fmt::Result {
    match days {
        DATE_INFINITY => return out.write_str("infinity"),
        DATE_NEG_INFINITY => return out.write_str("-infinity"),
        _ => {}
    }
    let civil = civil_from_days(days);
    let year = if civil.year > 0 { civil.year } else { 1 - civil.year };
    write!(out, "{year:04}-{:02}-{:02}{}", civil.month, civil.day, if civil.year > 0 { "" } else { " BC" })
}

pub(super) fn write_time(micros: i64, out: &mut impl std::fmt::Write) -> std::fmt::Result {
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

pub(super) fn write_timestamp(micros: i64, offset: Option<i32>, out: &mut impl std::fmt::Write) -> std::fmt::Result {
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
pub(super) fn write_offset(offset: i32, out: &mut impl std::fmt::Write) -> std::fmt::Result {
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

pub(crate) fn write_interval(
    interval: &Interval,
    style: IntervalStyle,
    out: &mut impl std::fmt::Write,
) -> std::fmt::Result {
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
