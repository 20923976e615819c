//! Reading dates and times as PostgreSQL does: ISO 8601, names of months, numbers in the order of `DateStyle`, time zones, and the
//! words `now`, `today`, `tomorrow`, `yesterday`, `epoch`, `infinity`.
//!
//! The input is split into fields as PostgreSQL's `ParseDateTime` splits it, and each field is given its meaning by what came before.

use crate::error::{Error, SqlState};
use crate::format::date_fields::{Fault, Field, is_day_of_week, month, split};
use crate::format::{DateOrder, FormatSettings};
use crate::value::{
    DATE_INFINITY, DATE_NEG_INFINITY, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, TimeZone, UNIX_EPOCH_DAYS,
    USECS_PER_DAY, USECS_PER_SEC, check_timestamp, days_from_civil, days_in_month, split_timestamp,
    timestamp_from_parts,
};

const YEAR: u8 = 1;
const MONTH: u8 = 2;
const DAY: u8 = 4;
const WHOLE_DATE: u8 = YEAR | MONTH | DAY;

/// Where the input lies in time.
enum Moment {
    /// A word that stands for a whole timestamp.
    Infinity,
    NegInfinity,
    Epoch,
    Now,
    /// Days from today.
    Today(i64),
    /// What the fields say.
    Fields,
}

#[derive(Clone, PartialEq)]
enum Zone {
    /// Seconds east.
    Offset(i32),
    Named(TimeZone),
}

/// What has been read so far.
struct Reader {
    order: DateOrder,
    moment: Moment,
    seen: u8,
    year: i64,
    month: i64,
    day: i64,
    short_year: bool,
    month_by_name: bool,
    day_of_year: Option<i64>,
    before_christ: bool,
    time: Option<i64>,
    afternoon: Option<bool>,
    zone: Option<Zone>,
    /// A `T` has announced the time.
    time_next: bool,
}

impl Reader {
    fn read(input: &str, order: DateOrder) -> Result<Reader, Fault> {
        let mut reader = Reader {
            order,
            moment: Moment::Fields,
            seen: 0,
            year: 0,
            month: 0,
            day: 0,
            short_year: false,
            month_by_name: false,
            day_of_year: None,
            before_christ: false,
            time: None,
            afternoon: None,
            zone: None,
            time_next: false,
        };
        let fields = split(input)?;
        if fields.is_empty() {
            return Err(Fault::Format);
        }
        for field in fields {
            reader.field(field)?;
        }
        reader.finish()
    }

    fn field(&mut self, field: Field<'_>) -> Result<(), Fault> {
        match field {
            Field::Time(text) => self.clock(text),
            Field::Date(text) => self.date(text),
            Field::Number(text) => self.number(text),
            Field::Word(word) => self.word(word),
            Field::ZoneName(name) => {
                let zone = TimeZone::parse(name).ok_or_else(|| Fault::Zone(name.to_owned()))?;
                self.set_zone(Zone::Named(zone))
            }
            Field::Offset(text) => {
                if self.time.is_none() && self.seen != WHOLE_DATE {
                    return Err(Fault::Format);
                }
                let offset = offset(text)?;
                // UTC+2 and the like: a name before the number takes its sign along.
                self.set_zone(Zone::Offset(offset))
            }
        }
    }

    fn set_zone(&mut self, zone: Zone) -> Result<(), Fault> {
        if self.zone.replace(zone).is_some() { Err(Fault::Format) } else { Ok(()) }
    }

    fn set(&mut self, part: u8, value: i64) -> Result<(), Fault> {
        if self.seen & part != 0 {
            return Err(Fault::Format);
        }
        self.seen |= part;
        match part {
            YEAR => self.year = value,
            MONTH => self.month = value,
            _ => self.day = value,
        }
        Ok(())
    }

    fn set_year(&mut self, value: i64, digits: usize) -> Result<(), Fault> {
        self.short_year = digits <= 2;
        self.set(YEAR, value)
    }

    fn clock(&mut self, text: &str) -> Result<(), Fault> {
        let time = clock(text)?;
        if self.time.replace(time).is_some() { Err(Fault::Format) } else { Ok(()) }
    }

    /// `1999-01-08`, `1/8/1999`, `08-Jan-1999`
    fn date(&mut self, text: &str) -> Result<(), Fault> {
        let parts: Vec<&str> = text.split(['-', '/', '.']).filter(|part| !part.is_empty()).collect();
        if parts.len() > 3 {
            return Err(Fault::Format);
        }
        // A month by name is looked for first, so that the numbers around it are understood.
        for part in &parts {
            if part.starts_with(|c: char| c.is_ascii_alphabetic()) {
                let number = month(part).ok_or(Fault::Format)?;
                self.month_by_name = true;
                self.set(MONTH, number)?;
            }
        }
        for part in parts {
            if part.starts_with(|c: char| c.is_ascii_digit()) {
                self.date_number(part)?;
            }
        }
        if self.seen == WHOLE_DATE { Ok(()) } else { Err(Fault::Format) }
    }

    fn number(&mut self, text: &str) -> Result<(), Fault> {
        let (whole, fraction) = text.split_once('.').map_or((text, None), |(whole, fraction)| (whole, Some(fraction)));
        // 1999.008: year and day of the year
        if self.seen == 0 && fraction.is_some_and(|fraction| fraction.len() == 3) && !self.time_next {
            return self.date(text);
        }
        let packed_date =
            self.seen == 0 && fraction.is_none() && (whole.len() == 8 || whole.len() == 6) && !self.time_next;
        if packed_date {
            let (year, rest) = whole.split_at(whole.len() - 4);
            self.set_year(digits(year)?, year.len())?;
            self.set(MONTH, digits(&rest[..2])?)?;
            return self.set(DAY, digits(&rest[2..])?);
        }
        let whole_date = self.seen == WHOLE_DATE;
        if self.time.is_none() && (self.time_next || whole_date) {
            let hour_only = self.time_next && whole.len() == 2;
            if !(matches!(whole.len(), 4 | 6) || hour_only) {
                return Err(Fault::Format);
            }
            let pair = |i: usize| whole.get(2 * i..2 * i + 2).map_or(Ok(0), digits);
            let time = time_of(pair(0)?, pair(1)?, pair(2)?, fraction.unwrap_or(""))?;
            self.time = Some(time);
            return Ok(());
        }
        if fraction.is_some() { Err(Fault::Format) } else { self.date_number(whole) }
    }

    /// PostgreSQL's `DecodeNumber`: a lone number means what is still missing, in the order of `DateStyle`.
    fn date_number(&mut self, text: &str) -> Result<(), Fault> {
        let value = digits(text)?;
        let long = text.len() >= 3;
        match self.seen {
            0 if long || self.order == DateOrder::Ymd => self.set_year(value, text.len()),
            0 if self.order == DateOrder::Dmy => self.set(DAY, value),
            0 => self.set(MONTH, value),
            YEAR if text.len() == 3 && (1..=366).contains(&value) => {
                self.day_of_year = Some(value);
                self.seen = WHOLE_DATE;
                Ok(())
            }
            YEAR => self.set(MONTH, value),
            MONTH if self.month_by_name && (long || self.order == DateOrder::Ymd) => self.set_year(value, text.len()),
            MONTH => self.set(DAY, value),
            seen if seen == YEAR | MONTH => {
                if self.month_by_name && long && self.short_year {
                    // The first number was the day after all.
                    self.day = self.year;
                    self.seen |= DAY;
                    self.year = value;
                    self.short_year = false;
                    return Ok(());
                }
                self.set(DAY, value)
            }
            DAY => self.set(MONTH, value),
            seen if seen == MONTH | DAY => self.set_year(value, text.len()),
            _ => Err(Fault::Format),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "infinity" | "+infinity" | "inf" | "+inf" => self.moment = Moment::Infinity,
            "-infinity" | "-inf" => self.moment = Moment::NegInfinity,
            "epoch" => self.moment = Moment::Epoch,
            "now" => self.moment = Moment::Now,
            "today" => self.moment = Moment::Today(0),
            "tomorrow" => self.moment = Moment::Today(1),
            "yesterday" => self.moment = Moment::Today(-1),
            "allballs" => {
                self.time = Some(0);
                self.zone = Some(Zone::Offset(0));
            }
            "am" | "pm" if self.time.is_some() && self.afternoon.is_none() => self.afternoon = Some(lower == "pm"),
            "bc" | "ad" => self.before_christ = lower == "bc",
            "t" if !self.time_next && (self.seen == WHOLE_DATE || self.time.is_none()) => self.time_next = true,
            "at" | "on" => {}
            _ => {
                if let Some(days) =
                    lower.strip_prefix('j').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
                {
                    let civil = crate::value::civil_from_days(
                        i32::try_from(digits(days)? - 2_451_545).map_err(|_| Fault::Range)?,
                    );
                    (self.year, self.month, self.day) = (civil.year.into(), civil.month.into(), civil.day.into());
                    if civil.year <= 0 {
                        self.before_christ = true;
                        self.year = 1 - self.year;
                    }
                    self.seen = WHOLE_DATE;
                } else if let Some(number) = month(&lower) {
                    // "8 Jan": what came before was the day.
                    if self.seen & MONTH != 0
                        && !self.month_by_name
                        && self.seen & DAY == 0
                        && (1..=31).contains(&self.month)
                    {
                        self.day = self.month;
                        self.seen = (self.seen & !MONTH) | DAY;
                    }
                    self.month_by_name = true;
                    self.set(MONTH, number)?;
                } else if is_day_of_week(&lower) {
                } else if let Some(zone) = crate::value::abbreviation_offset(&lower) {
                    self.set_zone(Zone::Offset(zone))?;
                } else if let Some(zone) =
                    TimeZone::parse(&lower).filter(|_| self.time.is_some() || self.seen == WHOLE_DATE)
                {
                    self.set_zone(Zone::Named(zone))?;
                } else {
                    return Err(Fault::Format);
                }
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Reader, Fault> {
        if let (Some(afternoon), Some(time)) = (self.afternoon, self.time) {
            let hour = time / (3600 * USECS_PER_SEC);
            if !(1..=12).contains(&hour) {
                return Err(Fault::Range);
            }
            let noon = 12 * 3600 * USECS_PER_SEC;
            self.time = Some(time % noon + if afternoon { noon } else { 0 });
        }
        if self.seen == WHOLE_DATE {
            if self.before_christ {
                if self.year <= 0 {
                    return Err(Fault::Range);
                }
                self.year = 1 - self.year;
            } else if self.short_year {
                self.year += if self.year < 70 { 2000 } else { 1900 };
            } else if self.year <= 0 {
                return Err(Fault::Range);
            }
            if let Some(day) = self.day_of_year {
                let first = days_from_civil(self.year, 1, 1);
                if first + day > days_from_civil(self.year + 1, 1, 1) {
                    return Err(Fault::Range);
                }
                let civil = crate::value::civil_from_days((first + day - 1) as i32);
                (self.month, self.day) = (civil.month.into(), civil.day.into());
            }
            if !(1..=12).contains(&self.month) {
                return Err(if self.month_by_name { Fault::Range } else { Fault::Order });
            }
            if self.day < 1 || self.day > 31 {
                return Err(Fault::Order);
            }
            if self.day > days_in_month(self.year, self.month) {
                return Err(Fault::Range);
            }
        } else if self.seen != 0 {
            return Err(Fault::Format);
        }
        Ok(self)
    }

    /// Days since 2000-01-01 of the date read.
    fn days(&self) -> Result<i64, Fault> {
        if self.seen == WHOLE_DATE { Ok(days_from_civil(self.year, self.month, self.day)) } else { Err(Fault::Format) }
    }
}

fn digits(text: &str) -> Result<i64, Fault> {
    if text.len() > 9 {
        return Err(Fault::Range);
    }
    text.parse().map_err(|_| Fault::Format)
}

/// `04:05`, `04:05:06.789`
fn clock(text: &str) -> Result<i64, Fault> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let parts: Vec<&str> = whole.split(':').collect();
    match parts.as_slice() {
        [hour, minute] if fraction.is_empty() => time_of(digits(hour)?, digits(minute)?, 0, ""),
        // mm:ss.fff
        [minute, second] => time_of(0, digits(minute)?, digits(second)?, fraction),
        [hour, minute, second] => time_of(digits(hour)?, digits(minute)?, digits(second)?, fraction),
        _ => Err(Fault::Format),
    }
}

fn time_of(hour: i64, minute: i64, second: i64, fraction: &str) -> Result<i64, Fault> {
    let micros = if fraction.is_empty() { 0 } else { fraction_micros(fraction)? };
    // 24:00:00 is the end of the day; 60 seconds carry.
    let end = hour == 24 && minute == 0 && second == 0 && micros == 0;
    if (!(0..=23).contains(&hour) && !end) || !(0..=59).contains(&minute) || !(0..=60).contains(&second) {
        return Err(Fault::Range);
    }
    Ok((hour * 3600 + minute * 60 + second) * USECS_PER_SEC + micros)
}

/// Microseconds in a decimal fraction of a second, rounded.
fn fraction_micros(fraction: &str) -> Result<i64, Fault> {
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Fault::Format);
    }
    let value: f64 = format!("0.{fraction}").parse().map_err(|_| Fault::Format)?;
    Ok((value * 1e6).round_ties_even() as i64)
}

/// `+02`, `-0530`, `+05:30:15`: seconds east
fn offset(text: &str) -> Result<i32, Fault> {
    let negative = text.starts_with('-');
    let body = text[1..].trim_start();
    let parts: Vec<&str> = body.split(':').collect();
    let number = |part: &str| digits(part).and_then(|n| i32::try_from(n).map_err(|_| Fault::Displacement));
    let (hours, minutes, seconds) = match parts.as_slice() {
        [packed] if packed.len() > 4 => (
            number(&packed[..packed.len() - 4])?,
            number(&packed[packed.len() - 4..packed.len() - 2])?,
            number(&packed[packed.len() - 2..])?,
        ),
        [packed] if packed.len() > 2 => (number(&packed[..packed.len() - 2])?, number(&packed[packed.len() - 2..])?, 0),
        [hours] => (number(hours)?, 0, 0),
        [hours, minutes] => (number(hours)?, number(minutes)?, 0),
        [hours, minutes, seconds] => (number(hours)?, number(minutes)?, number(seconds)?),
        _ => return Err(Fault::Format),
    };
    if hours > 15 || minutes > 59 || seconds > 59 {
        return Err(Fault::Displacement);
    }
    let total = hours * 3600 + minutes * 60 + seconds;
    Ok(if negative { -total } else { total })
}

/// Reads a date: days since 2000-01-01.
///
/// # Errors
/// 22007, 22008.
pub fn parse_date(input: &str, settings: &FormatSettings) -> Result<i32, Error> {
    let fault = |fault: Fault| fault.error("date", input);
    let reader = Reader::read(input, settings.date_order).map_err(fault)?;
    let days = match reader.moment {
        Moment::Infinity => return Ok(DATE_INFINITY),
        Moment::NegInfinity => return Ok(DATE_NEG_INFINITY),
        Moment::Epoch => i64::from(UNIX_EPOCH_DAYS),
        Moment::Now => i64::from(today(settings)),
        Moment::Today(days) => i64::from(today(settings)) + days,
        Moment::Fields => reader.days().map_err(fault)?,
    };
    crate::value::check_date(days)
        .map_err(|_| Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("date out of range: \"{input}\"")))
}

/// Reads a time of day: microseconds since midnight. A date before it is left aside.
///
/// # Errors
/// 22007, 22008.
pub fn parse_time(input: &str, settings: &FormatSettings) -> Result<i64, Error> {
    let fault = |fault: Fault| fault.error("time", input);
    // "040506" is a time here, not a date.
    let packed = input.trim();
    if matches!(packed.len(), 4 | 6) && packed.bytes().all(|b| b.is_ascii_digit()) {
        let part = |i: usize| packed.get(2 * i..2 * i + 2).map_or(Ok(0), digits);
        return part(0).and_then(|h| time_of(h, part(1)?, part(2)?, "")).map_err(fault);
    }
    let reader = Reader::read(input, settings.date_order).map_err(fault)?;
    match (reader.moment, reader.time) {
        (Moment::Now, _) => Ok(split_timestamp(settings.time_zone.to_local(settings.now())).1),
        (Moment::Fields, Some(time)) => Ok(time),
        _ => Err(fault(Fault::Format)),
    }
}

/// Reads a timestamp without time zone; a zone in the input is left aside, as in PostgreSQL.
///
/// # Errors
/// 22007, 22008.
pub fn parse_timestamp(input: &str, settings: &FormatSettings) -> Result<i64, Error> {
    read_timestamp(input, "timestamp", settings).map(|(local, _)| local)
}

/// Reads a timestamp with time zone; without a zone in the input it is that of the session.
///
/// # Errors
/// 22007, 22008, 22009, 22023 for an unknown zone.
pub fn parse_timestamptz(input: &str, settings: &FormatSettings) -> Result<i64, Error> {
    let (local, zone) = read_timestamp(input, "timestamp with time zone", settings)?;
    if local == TIMESTAMP_INFINITY || local == TIMESTAMP_NEG_INFINITY {
        return Ok(local);
    }
    let utc = match zone {
        Some(Zone::Offset(offset)) => local.saturating_sub(i64::from(offset) * USECS_PER_SEC),
        Some(Zone::Named(zone)) => zone.to_utc(local),
        None => settings.time_zone.to_utc(local),
    };
    check_timestamp(Some(utc)).map_err(|_| timestamp_range(input))
}

fn timestamp_range(input: &str) -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("timestamp out of range: \"{input}\""))
}

/// The local time read, and the zone it is of if one is named.
fn read_timestamp(input: &str, ty: &str, settings: &FormatSettings) -> Result<(i64, Option<Zone>), Error> {
    let fault = |fault: Fault| fault.error(ty, input);
    let reader = Reader::read(input, settings.date_order).map_err(fault)?;
    let time = reader.time.unwrap_or(0);
    let days = match reader.moment {
        Moment::Infinity => return Ok((TIMESTAMP_INFINITY, None)),
        Moment::NegInfinity => return Ok((TIMESTAMP_NEG_INFINITY, None)),
        Moment::Epoch => return Ok((i64::from(UNIX_EPOCH_DAYS) * USECS_PER_DAY, Some(Zone::Offset(0)))),
        Moment::Now => return Ok((settings.time_zone.to_local(settings.now()), None)),
        Moment::Today(days) => i64::from(today(settings)) + days,
        Moment::Fields => reader.days().map_err(fault)?,
    };
    let local = check_timestamp(timestamp_from_parts(days, time)).map_err(|_| timestamp_range(input))?;
    Ok((local, reader.zone))
}

fn today(settings: &FormatSettings) -> i32 {
    split_timestamp(settings.time_zone.to_local(settings.now())).0
}
