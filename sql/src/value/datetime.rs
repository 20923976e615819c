//! Calendar arithmetic on PostgreSQL's representation of dates and times: days and microseconds since 2000-01-01 in the
//! proleptic Gregorian calendar, year 0 being 1 BC.
//!
//! Its range (4713 BC to 294276 AD for timestamps, 5874897 AD for dates) is wider than that of the calendar crates, so the
//! conversion of days to dates is here; time zones are `chrono-tz`'s.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{Error, SqlState};

/// Microseconds of a second.
pub const USECS_PER_SEC: i64 = 1_000_000;
/// Microseconds of a day of 24 hours.
pub const USECS_PER_DAY: i64 = 86_400 * USECS_PER_SEC;
/// 1970-01-01 as days since 2000-01-01.
pub const UNIX_EPOCH_DAYS: i32 = -10_957;
/// `infinity` as date.
pub const DATE_INFINITY: i32 = i32::MAX;
/// `-infinity` as date.
pub const DATE_NEG_INFINITY: i32 = i32::MIN;
/// `infinity` as timestamp.
pub const TIMESTAMP_INFINITY: i64 = i64::MAX;
/// `-infinity` as timestamp.
pub const TIMESTAMP_NEG_INFINITY: i64 = i64::MIN;

/// Julian day 0, 4714-11-24 BC: the first date.
const DATE_MIN: i32 = -2_451_545;
/// The day after 5874897-12-31.
const DATE_END: i32 = 2_145_031_949;
/// 4714-11-24 00:00 BC: the first timestamp.
const TIMESTAMP_MIN: i64 = -211_813_488_000_000_000;
/// The microsecond after the last of 294276 AD.
const TIMESTAMP_END: i64 = 9_223_371_331_200_000_000;

/// A date of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Year; 0 is 1 BC.
    pub year: i32,
    /// Month, 1 to 12.
    pub month: i32,
    /// Day of the month, 1 to 31.
    pub day: i32,
}

/// A time of day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed {
    /// Hour, 0 to 24.
    pub hour: i64,
    /// Minute, 0 to 59.
    pub minute: i64,
    /// Second, 0 to 59.
    pub second: i64,
    /// Microsecond, 0 to 999,999.
    pub micro: i64,
}

impl Timed {
    /// Of microseconds since midnight.
    pub fn new(micros: i64) -> Timed {
        let seconds = micros / USECS_PER_SEC;
        Timed { hour: seconds / 3600, minute: seconds / 60 % 60, second: seconds % 60, micro: micros % USECS_PER_SEC }
    }
}

/// Days since 2000-01-01 of a date; the month may be out of range and carries into the year.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year + (month - 1).div_euclid(12);
    let month = (month - 1).rem_euclid(12) + 1;
    // Years begin in March here, so that the leap day is the last.
    let shifted = year - i64::from(month <= 2);
    let era = shifted.div_euclid(400);
    let year_of_era = shifted - era * 400;
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 730_425
}

/// The date of days since 2000-01-01.
pub fn civil_from_days(days: i32) -> Civil {
    let days = i64::from(days) + 730_425;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    Civil { year: year as i32, month: month as i32, day: day as i32 }
}

/// How many days a month has; the month is 1 to 12.
pub fn days_in_month(year: i64, month: i64) -> i64 {
    days_from_civil(year, month + 1, 1) - days_from_civil(year, month, 1)
}

/// Checks that a date is in range.
///
/// # Errors
/// 22008 `date out of range`.
pub fn check_date(days: i64) -> Result<i32, Error> {
    match i32::try_from(days) {
        Ok(days) if (DATE_MIN..DATE_END).contains(&days) => Ok(days),
        _ => Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "date out of range")),
    }
}

/// Checks that a timestamp is in range.
///
/// # Errors
/// 22008 `timestamp out of range`.
pub fn check_timestamp(micros: Option<i64>) -> Result<i64, Error> {
    match micros {
        Some(micros) if (TIMESTAMP_MIN..TIMESTAMP_END).contains(&micros) => Ok(micros),
        _ => Err(Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range")),
    }
}

/// A timestamp of a day and microseconds since its midnight; `None` if it does not fit.
pub fn timestamp_from_parts(days: i64, micros: i64) -> Option<i64> {
    days.checked_mul(USECS_PER_DAY)?.checked_add(micros)
}

/// The day of a finite timestamp and the microseconds since its midnight.
pub fn split_timestamp(micros: i64) -> (i32, i64) {
    (micros.div_euclid(USECS_PER_DAY) as i32, micros.rem_euclid(USECS_PER_DAY))
}

/// A reading of the system's clock as timestamp.
pub fn timestamp_from_system(time: SystemTime) -> i64 {
    let since_unix = match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX / 2),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX / 2),
    };
    let micros = since_unix.saturating_add(i64::from(UNIX_EPOCH_DAYS) * USECS_PER_DAY);
    micros.clamp(TIMESTAMP_MIN, TIMESTAMP_END - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_go_both_ways() {
        let known = [
            (0, (2000, 1, 1)),
            (-10_957, (1970, 1, 1)),
            (59, (2000, 2, 29)),
            (DATE_MIN, (-4713, 11, 24)),
            (DATE_END - 1, (5_874_897, 12, 31)),
        ];
        for (days, (year, month, day)) in known {
            assert_eq!(civil_from_days(days), Civil { year, month, day });
            assert_eq!(days_from_civil(i64::from(year), i64::from(month), i64::from(day)), i64::from(days));
        }
        for days in (-1_000_000..1_000_000).step_by(37) {
            let Civil { year, month, day } = civil_from_days(days);
            assert_eq!(days_from_civil(i64::from(year), i64::from(month), i64::from(day)), i64::from(days));
        }
        assert_eq!(days_in_month(1900, 2), 28);
        assert_eq!(days_in_month(2000, 2), 29);
        assert_eq!(days_in_month(2023, 12), 31);
    }

    #[test]
    fn ranges_are_those_of_postgres() {
        assert_eq!(timestamp_from_parts(i64::from(DATE_MIN), 0), Some(TIMESTAMP_MIN));
        assert_eq!(days_from_civil(294_277, 1, 1) * USECS_PER_DAY, TIMESTAMP_END);
        assert!(check_timestamp(Some(TIMESTAMP_END)).is_err());
        assert!(check_date(i64::from(DATE_END)).is_err());
        assert_eq!(check_date(i64::from(DATE_MIN)), Ok(DATE_MIN));
    }

    #[test]
    fn timestamps_before_the_epoch_split_downwards() {
        assert_eq!(split_timestamp(-1), (-1, USECS_PER_DAY - 1));
        assert_eq!(timestamp_from_system(UNIX_EPOCH), i64::from(UNIX_EPOCH_DAYS) * USECS_PER_DAY);
    }
}
