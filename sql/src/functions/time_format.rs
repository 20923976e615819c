//! `to_char`, `to_timestamp` and `to_date`: dates and times by patterns such as `YYYY-MM-DD HH24:MI:SS`.

use crate::cast::is_infinite;
use crate::error::{Error, SqlState};
use crate::functions::EvalContext;
use crate::functions::date_parts::{day_of_week, iso_week};
use crate::functions::numeric_format::ordinal;
use crate::value::{
    Civil, Timed, USECS_PER_SEC, Value, check_date, check_timestamp, civil_from_days, days_from_civil, days_in_month,
    mismatch, split_timestamp, timestamp_from_parts,
};

type Result<T> = std::result::Result<T, Error>;
type Context<'a> = &'a dyn EvalContext;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN_MONTHS: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// The patterns, longer ones before their beginnings. Case matters only for what is written in letters.
const KEYWORDS: &[&str] = &[
    "A.D.", "AD", "A.M.", "AM", "B.C.", "BC", "CC", "DAY", "Day", "day", "DDD", "DD", "DY", "Dy", "dy", "D", "FF1",
    "FF2", "FF3", "FF4", "FF5", "FF6", "FX", "HH24", "HH12", "HH", "IDDD", "ID", "IW", "IYYY", "IYY", "IY", "I", "J",
    "MI", "MM", "MONTH", "Month", "month", "MON", "Mon", "mon", "MS", "OF", "P.M.", "PM", "Q", "RM", "rm", "SSSSS",
    "SSSS", "SS", "TZH", "TZM", "TZ", "tz", "US", "WW", "W", "Y,YYY", "YYYY", "YYY", "YY", "Y", "a.d.", "ad", "a.m.",
    "am", "b.c.", "bc", "p.m.", "pm",
];

enum Item<'a> {
    /// A pattern as it was written, without padding (`FM`), and with an ordinal's ending in capitals or not.
    Key { key: &'static str, plain: bool, ordinal: Option<bool> },
    /// Text in quotes, or anything else.
    Text(&'a str),
}

fn parse(pattern: &str) -> Vec<Item<'_>> {
    let mut items = Vec::new();
    let mut rest = pattern;
    let mut plain = false;
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")) {
            plain = true;
            rest = tail;
            continue;
        }
        if let Some(tail) = rest.strip_prefix("TM") {
            rest = tail;
            continue;
        }
        if let Some(quoted) = rest.strip_prefix('"') {
            let end = quoted.find('"').unwrap_or(quoted.len());
            items.push(Item::Text(&quoted[..end]));
            rest = quoted.get(end + 1..).unwrap_or("");
            continue;
        }
        match keyword(rest) {
            Some(key) => {
                rest = &rest[key.len()..];
                let ordinal = match rest.get(..2) {
                    Some("TH") => Some(true),
                    Some("th") => Some(false),
                    _ => None,
                };
                if ordinal.is_some() {
                    rest = &rest[2..];
                }
                if key != "FX" {
                    items.push(Item::Key { key, plain, ordinal });
                }
                plain = false;
            }
            None => {
                let skipped = if rest.starts_with('\\') && rest.len() > 1 { 1 } else { 0 };
                let length = rest[skipped..].chars().next().map_or(0, char::len_utf8);
                items.push(Item::Text(&rest[skipped..skipped + length]));
                rest = &rest[skipped + length..];
            }
        }
    }
    items
}

fn keyword(text: &str) -> Option<&'static str> {
    // Exactly as written first, so that Month, MONTH and month differ; then in any case for what has digits only.
    KEYWORDS.iter().find(|key| text.starts_with(**key)).copied().or_else(|| {
        let matches = |key: &&&str| text.get(..key.len()).is_some_and(|head| head.eq_ignore_ascii_case(key));
        KEYWORDS.iter().filter(matches).max_by_key(|key| key.len()).copied()
    })
}

/// What is to be written: the date and the time, and the zone for `timestamptz`.
struct Moment {
    civil: Civil,
    days: i32,
    time: Timed,
    micros: i64,
    zone: Option<(String, i32)>,
    interval: bool,
}

/// `to_char(timestamp, pattern)`
pub(super) fn to_char_timestamp(context: Context<'_>, a: &[Value]) -> Result<Value> {
    let pattern = a[1].as_str().ok_or_else(|| mismatch("text", &a[1]))?;
    let moment = match &a[0] {
        Value::Timestamp(micros) | Value::TimestampTz(micros) if is_infinite(*micros) => return Ok(Value::Null),
        Value::Timestamp(local) => of_local(*local, None),
        Value::TimestampTz(utc) => {
            let zone = &context.format().time_zone;
            of_local(zone.to_local(*utc), Some((zone.abbreviation_at(*utc), zone.offset_at(*utc))))
        }
        Value::Interval(interval) => Moment {
            civil: Civil { year: interval.months / 12, month: interval.months % 12, day: interval.days },
            days: 0,
            time: Timed::new(interval.micros),
            micros: interval.micros,
            zone: None,
            interval: true,
        },
        other => return Err(mismatch("timestamp", other)),
    };
    if pattern.is_empty() {
        return Ok(Value::Null);
    }
    let mut out = String::new();
    for item in parse(pattern) {
        match item {
            Item::Text(text) => out.push_str(text),
            Item::Key { key, plain, ordinal: ending } => {
                let written = write_key(key, plain, &moment)?;
                if let Some(capitals) = ending {
                    let ending = ordinal(&written);
                    out.push_str(&written);
                    out.push_str(&if capitals { ending.to_uppercase() } else { ending.to_owned() });
                } else {
                    out.push_str(&written);
                }
            }
        }
    }
    Ok(Value::text(out))
}

fn of_local(local: i64, zone: Option<(String, i32)>) -> Moment {
    let (days, micros) = split_timestamp(local);
    Moment { civil: civil_from_days(days), days, time: Timed::new(micros), micros, zone, interval: false }
}

fn write_key(key: &'static str, plain: bool, moment: &Moment) -> Result<String> {
    let number = |value: i64, width: usize| match (plain, value < 0) {
        (true, _) => value.to_string(),
        (false, true) => format!("-{:0width$}", -value),
        (false, false) => format!("{value:0width$}"),
    };
    let name = |text: &str, width: usize| if plain { text.to_owned() } else { format!("{text:<width$}") };
    let Moment { civil, days, time, .. } = moment;
    let year = if moment.interval || civil.year > 0 { i64::from(civil.year) } else { i64::from(1 - civil.year) };
    let iso_year = match iso_week(*days).0 {
        year if year > 0 => year,
        year => 1 - year,
    };
    let month = (civil.month.clamp(1, 12) - 1) as usize;
    let weekday = day_of_week(*days) as usize;
    let afternoon = time.hour.rem_euclid(24) >= 12;
    let upper = key.to_ascii_uppercase();
    let of_calendar = matches!(
        upper.as_str(),
        "MONTH"
            | "MON"
            | "DAY"
            | "DY"
            | "D"
            | "ID"
            | "DDD"
            | "IDDD"
            | "W"
            | "WW"
            | "IW"
            | "IYYY"
            | "IYY"
            | "IY"
            | "I"
            | "TZ"
            | "TZH"
            | "TZM"
            | "OF"
            | "BC"
            | "B.C."
            | "AD"
            | "A.D."
    );
    if moment.interval && of_calendar {
        return Err(Error::new(
            SqlState::INVALID_DATETIME_FORMAT,
            "invalid format specification for an interval value",
        )
        .with_hint("Intervals are not tied to specific calendar dates."));
    }
    // Names follow the case in which the pattern is written.
    let cased = |text: &str| match (key.chars().next(), key.chars().nth(1)) {
        (Some(first), _) if first.is_lowercase() => text.to_lowercase(),
        (_, Some(second)) if second.is_lowercase() => text.to_owned(),
        _ => text.to_uppercase(),
    };
    let letters = |text: &str| if key.starts_with(char::is_lowercase) { text.to_lowercase() } else { text.to_owned() };
    Ok(match upper.as_str() {
        "YYYY" => number(year, 4),
        "YYY" => number(year % 1000, 3),
        "YY" => number(year % 100, 2),
        "Y" => number(year % 10, 1),
        "Y,YYY" => format!("{},{:03}", year / 1000, year % 1000),
        "IYYY" => number(iso_year, 4),
        "IYY" => number(iso_year % 1000, 3),
        "IY" => number(iso_year % 100, 2),
        "I" => number(iso_year % 10, 1),
        "CC" => number(
            if moment.interval {
                year / 100
            } else if civil.year > 0 {
                (year - 1) / 100 + 1
            } else {
                -(year / 100 + 1)
            },
            2,
        ),
        "MM" => number(i64::from(civil.month), 2),
        "MONTH" => name(&cased(MONTHS[month]), 9),
        "MON" => cased(&MONTHS[month][..3]),
        "RM" => name(&letters(ROMAN_MONTHS[month]), 4),
        "Q" => ((civil.month - 1) / 3 + 1).to_string(),
        "DD" => number(i64::from(civil.day), 2),
        "DDD" => number(i64::from(*days) - days_from_civil(i64::from(civil.year), 1, 1) + 1, 3),
        "IDDD" => number((iso_week(*days).1 - 1) * 7 + (weekday as i64 + 6) % 7 + 1, 3),
        "D" => (weekday + 1).to_string(),
        "ID" => ((weekday + 6) % 7 + 1).to_string(),
        "DAY" => name(&cased(DAYS[weekday]), 9),
        "DY" => cased(&DAYS[weekday][..3]),
        "W" => ((civil.day - 1) / 7 + 1).to_string(),
        "WW" => number((i64::from(*days) - days_from_civil(i64::from(civil.year), 1, 1)) / 7 + 1, 2),
        "IW" => number(iso_week(*days).1, 2),
        "J" => (i64::from(*days) + 2_451_545).to_string(),
        "HH24" => number(time.hour, 2),
        "HH" | "HH12" => number(if time.hour % 12 == 0 { 12 } else { time.hour % 12 }, 2),
        "MI" => number(time.minute, 2),
        "SS" => number(time.second, 2),
        "SSSS" | "SSSSS" => (moment.micros / USECS_PER_SEC).to_string(),
        "MS" | "FF3" => format!("{:03}", time.micro / 1000),
        "US" | "FF6" => format!("{:06}", time.micro),
        "FF1" => format!("{:01}", time.micro / 100_000),
        "FF2" => format!("{:02}", time.micro / 10_000),
        "FF4" => format!("{:04}", time.micro / 100),
        "FF5" => format!("{:05}", time.micro / 10),
        "AM" | "PM" => letters(if afternoon { "PM" } else { "AM" }),
        "A.M." | "P.M." => letters(if afternoon { "P.M." } else { "A.M." }),
        "AD" | "BC" => letters(if civil.year > 0 { "AD" } else { "BC" }),
        "A.D." | "B.C." => letters(if civil.year > 0 { "A.D." } else { "B.C." }),
        "TZ" => moment.zone.as_ref().map_or(String::new(), |(name, _)| letters(name)),
        "TZH" => format!("{}{:02}", if offset(moment) < 0 { '-' } else { '+' }, offset(moment).abs() / 3600),
        "TZM" => format!("{:02}", offset(moment).abs() / 60 % 60),
        "OF" => {
            let minutes = offset(moment).abs() / 60 % 60;
            let hours = format!("{}{:02}", if offset(moment) < 0 { '-' } else { '+' }, offset(moment).abs() / 3600);
            if minutes == 0 { hours } else { format!("{hours}:{minutes:02}") }
        }
        _ => key.to_owned(),
    })
}

fn offset(moment: &Moment) -> i32 {
    moment.zone.as_ref().map_or(0, |(_, offset)| *offset)
}

/// What has been read by a pattern.
#[derive(Default)]
struct Reading {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    julian: Option<i64>,
    hour: i64,
    twelve: bool,
    afternoon: bool,
    minute: i64,
    second: i64,
    micro: i64,
    second_of_day: Option<i64>,
    before_christ: bool,
    offset_hours: Option<i64>,
    offset_minutes: i64,
}

#[cold]
fn bad_value(value: &str, key: &str) -> Error {
    Error::new(SqlState::INVALID_DATETIME_FORMAT, format!("invalid value \"{value}\" for \"{key}\""))
}

fn read(input: &str, pattern: &str) -> Result<Reading> {
    let mut reading = Reading::default();
    let mut rest = input.trim_start();
    let items = parse(pattern);
    for (i, item) in items.iter().enumerate() {
        match item {
            Item::Text(text) => {
                // A separator of the pattern stands for any separator of the input, or none.
                let separator = text.chars().all(|c| !c.is_alphanumeric());
                if separator {
                    if !rest.starts_with('-') || !text.contains(' ') {
                        rest = rest
                            .strip_prefix(|c: char| !c.is_alphanumeric() && c != '+' || text.contains(c))
                            .unwrap_or(rest);
                    }
                    rest = rest.trim_start();
                } else {
                    let skipped = text.chars().count();
                    rest = rest.char_indices().nth(skipped).map_or("", |(at, _)| &rest[at..]);
                }
            }
            Item::Key { key, .. } => {
                rest = rest.trim_start();
                // Digits are taken without limit unless more digits of the pattern follow at once.
                let adjoining = matches!(items.get(i + 1), Some(Item::Key { .. }));
                rest = read_key(key, rest, adjoining, &mut reading)?;
            }
        }
    }
    Ok(reading)
}

fn read_key<'a>(key: &str, rest: &'a str, adjoining: bool, reading: &mut Reading) -> Result<&'a str> {
    let upper = key.to_ascii_uppercase();
    let number = |width: usize| -> Result<(i64, &'a str)> {
        let sign = usize::from(rest.starts_with('-') || rest.starts_with('+'));
        let digits = rest[sign..].bytes().take_while(u8::is_ascii_digit).count();
        let taken = sign + if adjoining { digits.min(width) } else { digits };
        if digits == 0 {
            let shown: String = rest.chars().take(width).collect();
            return Err(bad_value(&shown, key).with_detail("Value must be an integer."));
        }
        // As in PostgreSQL, an integer: what is worked out with it fits 64 bits then.
        let value: i32 = rest[..taken].parse().map_err(|_| {
            Error::new(
                SqlState::DATETIME_FIELD_OVERFLOW,
                format!("value for \"{key}\" in source string is out of range"),
            )
            .with_detail(format!("Value must be in the range {} to {}.", i32::MIN, i32::MAX))
        })?;
        Ok((i64::from(value), &rest[taken..]))
    };
    let word = |choices: &[&str], least: usize| -> Result<(i64, &'a str)> {
        for (i, choice) in choices.iter().enumerate() {
            for name in [*choice, &choice[..least]] {
                if rest.get(..name.len()).is_some_and(|head| head.eq_ignore_ascii_case(name)) {
                    return Ok((i as i64, &rest[name.len()..]));
                }
            }
        }
        let shown: String = rest.chars().take(9).collect();
        Err(bad_value(&shown, key)
            .with_detail("The given value did not match any of the allowed values for this field."))
    };
    let fraction = |width: usize| -> Result<(i64, &'a str)> {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count().min(width);
        if digits == 0 {
            return Err(bad_value(rest, key));
        }
        let value: i64 = rest[..digits].parse().map_err(|_| bad_value(rest, key))?;
        Ok((value * 10i64.pow(6 - digits as u32), &rest[digits..]))
    };
    let (value, tail) = match upper.as_str() {
        "YYYY" => number(4)?,
        "Y,YYY" => number(9)?,
        "YYY" => number(3)?,
        "YY" => number(2)?,
        "Y" => number(1)?,
        "MM" | "DD" | "HH24" | "HH" | "HH12" | "MI" | "SS" | "TZH" | "TZM" => number(2)?,
        "DDD" => number(3)?,
        "J" => number(9)?,
        "SSSS" | "SSSSS" => number(5)?,
        "MS" | "FF3" => fraction(3)?,
        "US" | "FF6" => fraction(6)?,
        "FF1" => fraction(1)?,
        "FF2" => fraction(2)?,
        "FF4" => fraction(4)?,
        "FF5" => fraction(5)?,
        "MONTH" => word(&MONTHS, MONTHS.iter().map(|m| m.len()).min().unwrap_or(3).min(3))?,
        "MON" => word(&MONTHS.map(|month| &month[..3]), 3)?,
        "DAY" | "DY" => word(&DAYS, 3)?,
        "AM" | "PM" => word(&["AM", "PM"], 2)?,
        "A.M." | "P.M." => word(&["A.M.", "P.M."], 4)?,
        "AD" | "BC" => word(&["AD", "BC"], 2)?,
        "A.D." | "B.C." => word(&["A.D.", "B.C."], 4)?,
        _ => {
            return Err(Error::unsupported(
                format!("the pattern \"{key}\" in to_timestamp and to_date"),
                "Use YYYY, MM, DD, HH24, MI, SS and the like.",
            ));
        }
    };
    let near = |value: i64, digits: usize| {
        // Two or three digits of a year mean the one nearest to 2020.
        if tail.len() + digits < rest.len() + 1 && rest.len() - tail.len() > digits {
            value
        } else {
            match digits {
                1 => 2020 + value,
                2 => {
                    if value < 70 {
                        2000 + value
                    } else {
                        1900 + value
                    }
                }
                _ => {
                    if value < 520 {
                        2000 + value
                    } else {
                        1000 + value
                    }
                }
            }
        }
    };
    match upper.as_str() {
        "YYYY" | "Y,YYY" => reading.year = Some(value),
        "YYY" => reading.year = Some(near(value, 3)),
        "YY" => reading.year = Some(near(value, 2)),
        "Y" => reading.year = Some(near(value, 1)),
        "MM" => reading.month = Some(value),
        "MONTH" | "MON" => reading.month = Some(value + 1),
        "DD" => reading.day = Some(value),
        "DDD" => reading.day_of_year = Some(value),
        "J" => reading.julian = Some(value),
        "HH24" => reading.hour = value,
        "HH" | "HH12" => {
            if !(1..=12).contains(&value) {
                let message = format!("hour \"{value}\" is invalid for the 12-hour clock");
                return Err(Error::new(SqlState::INVALID_DATETIME_FORMAT, message)
                    .with_hint("Use the 24-hour clock, or give an hour between 1 and 12."));
            }
            reading.hour = value;
            reading.twelve = true;
        }
        "MI" => reading.minute = value,
        "SS" => reading.second = value,
        "SSSS" | "SSSSS" => reading.second_of_day = Some(value),
        "MS" | "US" | "FF1" | "FF2" | "FF3" | "FF4" | "FF5" | "FF6" => reading.micro = value,
        "AM" | "PM" | "A.M." | "P.M." => {
            reading.afternoon = value == 1;
            reading.twelve = true;
        }
        "AD" | "BC" | "A.D." | "B.C." => reading.before_christ = value == 1,
        "TZH" => reading.offset_hours = Some(value),
        "TZM" => reading.offset_minutes = value,
        _ => {}
    }
    Ok(tail)
}

impl Reading {
    fn days(&self, input: &str) -> Result<i64> {
        if let Some(julian) = self.julian {
            return Ok(julian - 2_451_545);
        }
        let out_of_range = || {
            Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("date/time field value out of range: \"{input}\""))
        };
        let year = self.year.unwrap_or(0);
        // Without a year it is 1 BC, as in PostgreSQL.
        let year = if self.before_christ && year > 0 {
            1 - year
        } else if year < 0 {
            year + 1
        } else {
            year
        };
        if let Some(day) = self.day_of_year {
            let length = days_from_civil(year + 1, 1, 1) - days_from_civil(year, 1, 1);
            return if (1..=length).contains(&day) {
                Ok(days_from_civil(year, 1, 1) + day - 1)
            } else {
                Err(out_of_range())
            };
        }
        let (month, day) = (self.month.unwrap_or(1), self.day.unwrap_or(1));
        if !(1..=12).contains(&month) || !(1..=days_in_month(year, month)).contains(&day) {
            return Err(out_of_range());
        }
        Ok(days_from_civil(year, month, day))
    }

    fn micros(&self, input: &str) -> Result<i64> {
        if let Some(second) = self.second_of_day {
            return Ok(second * USECS_PER_SEC + self.micro);
        }
        let hour = match (self.twelve, self.afternoon) {
            (false, _) => self.hour,
            (true, false) => self.hour % 12,
            (true, true) => self.hour % 12 + 12,
        };
        if !(0..24).contains(&hour) || !(0..60).contains(&self.minute) || !(0..60).contains(&self.second) {
            return Err(Error::new(
                SqlState::DATETIME_FIELD_OVERFLOW,
                format!("date/time field value out of range: \"{input}\""),
            ));
        }
        Ok((hour * 3600 + self.minute * 60 + self.second) * USECS_PER_SEC + self.micro)
    }
}

/// `to_timestamp(text, pattern)`
pub(super) fn to_timestamp(context: Context<'_>, a: &[Value]) -> Result<Value> {
    let (input, pattern) = (a[0].as_str().unwrap_or(""), a[1].as_str().unwrap_or(""));
    let reading = read(input, pattern)?;
    let local = check_timestamp(timestamp_from_parts(reading.days(input)?, reading.micros(input)?))?;
    let utc = match reading.offset_hours {
        Some(hours) => {
            let minutes = hours.abs() * 60 + reading.offset_minutes;
            local - minutes * hours.signum() * 60 * USECS_PER_SEC
        }
        None => context.format().time_zone.to_utc(local),
    };
    check_timestamp(Some(utc)).map(Value::TimestampTz)
}

/// `to_date(text, pattern)`
pub(super) fn to_date(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (input, pattern) = (a[0].as_str().unwrap_or(""), a[1].as_str().unwrap_or(""));
    check_date(read(input, pattern)?.days(input)?).map(Value::Date)
}
