//! `interval`: months, days and microseconds kept apart, since neither months nor days have a fixed length.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use crate::error::{Error, SqlState};
use crate::value::datetime::{
    Civil, TIMESTAMP_INFINITY, TIMESTAMP_NEG_INFINITY, USECS_PER_DAY, USECS_PER_SEC, check_timestamp, civil_from_days,
    days_from_civil, days_in_month, split_timestamp, timestamp_from_parts,
};
use crate::value::time_zone::TimeZone;

/// A span of time. Compared by its length, with months of 30 days and days of 24 hours, as PostgreSQL does.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interval {
    /// Months
    pub months: i32,
    /// Days
    pub days: i32,
    /// Microseconds
    pub micros: i64,
}

const DAYS_PER_MONTH: i128 = 30;

#[cold]
fn out_of_range() -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "interval out of range")
}

impl Interval {
    /// Its length in microseconds, as it is compared.
    pub fn span(&self) -> i128 {
        (i128::from(self.months) * DAYS_PER_MONTH + i128::from(self.days)) * i128::from(USECS_PER_DAY)
            + i128::from(self.micros)
    }

    /// An interval of this length: whole months, days and the rest. `None` if it does not fit.
    pub fn from_span(span: i128) -> Option<Interval> {
        let day = i128::from(USECS_PER_DAY);
        let days = span / day;
        // The largest spans have more in each part than the smallest split would put there.
        let months = (days / DAYS_PER_MONTH).clamp(i128::from(i32::MIN), i128::from(i32::MAX));
        let rest_days = (days - months * DAYS_PER_MONTH).clamp(i128::from(i32::MIN), i128::from(i32::MAX));
        let micros = span - (months * DAYS_PER_MONTH + rest_days) * day;
        Some(Interval { months: months as i32, days: rest_days as i32, micros: i64::try_from(micros).ok()? })
    }

    /// The sum.
    ///
    /// # Errors
    /// 22008.
    pub fn add(&self, other: &Interval) -> Result<Interval, Error> {
        Ok(Interval {
            months: self.months.checked_add(other.months).ok_or_else(out_of_range)?,
            days: self.days.checked_add(other.days).ok_or_else(out_of_range)?,
            micros: self.micros.checked_add(other.micros).ok_or_else(out_of_range)?,
        })
    }

    /// The negative.
    ///
    /// # Errors
    /// 22008.
    pub fn neg(&self) -> Result<Interval, Error> {
        Ok(Interval {
            months: self.months.checked_neg().ok_or_else(out_of_range)?,
            days: self.days.checked_neg().ok_or_else(out_of_range)?,
            micros: self.micros.checked_neg().ok_or_else(out_of_range)?,
        })
    }

    /// The difference.
    ///
    /// # Errors
    /// 22008.
    pub fn sub(&self, other: &Interval) -> Result<Interval, Error> {
        self.add(&other.neg()?)
    }

    /// Multiplied; fractions of months become days, fractions of days time.
    ///
    /// # Errors
    /// 22008.
    pub fn mul(&self, factor: f64) -> Result<Interval, Error> {
        self.scaled(|part| part * factor)
    }

    /// Divided; fractions of months become days, fractions of days time.
    ///
    /// # Errors
    /// 22012, 22008.
    pub fn div(&self, divisor: f64) -> Result<Interval, Error> {
        if divisor == 0.0 {
            return Err(Error::division_by_zero());
        }
        self.scaled(|part| part / divisor)
    }

    fn scaled(&self, scale: impl Fn(f64) -> f64) -> Result<Interval, Error> {
        let to_i32 = |value: f64| {
            let fits = value >= f64::from(i32::MIN) && value <= f64::from(i32::MAX);
            if fits { Ok(value as i32) } else { Err(out_of_range()) }
        };
        // PostgreSQL rounds intermediate fractions to microseconds, lest 0.1 month become 2 days 23:59:59.999999.
        let rounded = |value: f64| (value * 1e6).round_ties_even() / 1e6;
        let (months, days) = (scale(f64::from(self.months)), scale(f64::from(self.days)));
        let whole_months = to_i32(months)?;
        let mut whole_days = to_i32(days)?;
        let month_days = rounded((months - f64::from(whole_months)) * 30.0);
        let mut seconds = rounded((days - f64::from(whole_days) + month_days - month_days.trunc()) * 86_400.0);
        if seconds.abs() >= 86_400.0 {
            let carried = to_i32((seconds / 86_400.0).trunc())?;
            whole_days = whole_days.checked_add(carried).ok_or_else(out_of_range)?;
            seconds -= f64::from(carried) * 86_400.0;
        }
        let whole_days = whole_days.checked_add(to_i32(month_days.trunc())?).ok_or_else(out_of_range)?;
        let micros = (scale(self.micros as f64) + seconds * USECS_PER_SEC as f64).round_ties_even();
        // The bounds are exact as floats: -2^63 is in, 2^63 is not.
        if !(micros >= i64::MIN as f64 && micros < -(i64::MIN as f64)) {
            return Err(out_of_range());
        }
        Ok(Interval { months: whole_months, days: whole_days, micros: micros as i64 })
    }

    /// `timestamp + interval`: months first, staying within the month reached, then days, then time.
    ///
    /// # Errors
    /// 22008.
    pub fn add_to_timestamp(&self, timestamp: i64) -> Result<i64, Error> {
        if timestamp == TIMESTAMP_INFINITY || timestamp == TIMESTAMP_NEG_INFINITY {
            return Ok(timestamp);
        }
        let moved = self.move_date(timestamp)?;
        check_timestamp(moved.checked_add(self.micros))
    }

    /// `timestamptz + interval`: months and days by the calendar of the time zone, time as it passes.
    ///
    /// # Errors
    /// 22008.
    pub fn add_to_timestamptz(&self, timestamp: i64, zone: &TimeZone) -> Result<i64, Error> {
        if timestamp == TIMESTAMP_INFINITY || timestamp == TIMESTAMP_NEG_INFINITY {
            return Ok(timestamp);
        }
        let moved = if self.months == 0 && self.days == 0 {
            timestamp
        } else {
            zone.to_utc(self.move_date(zone.to_local(timestamp))?)
        };
        check_timestamp(moved.checked_add(self.micros))
    }

    fn move_date(&self, timestamp: i64) -> Result<i64, Error> {
        let (mut days, micros) = split_timestamp(timestamp);
        if self.months != 0 {
            let Civil { year, month, day } = civil_from_days(days);
            let months = i64::from(year) * 12 + i64::from(month) - 1 + i64::from(self.months);
            let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
            let day = i64::from(day).min(days_in_month(year, month));
            days = i32::try_from(days_from_civil(year, month, day)).map_err(|_| timestamp_out_of_range())?;
        }
        let days = i64::from(days) + i64::from(self.days);
        check_timestamp(timestamp_from_parts(days, micros))
    }

    /// `justify_hours`: 24 hours become a day.
    ///
    /// # Errors
    /// 22008.
    pub fn justify_hours(&self) -> Result<Interval, Error> {
        let carried = i32::try_from(self.micros / USECS_PER_DAY).map_err(|_| out_of_range())?;
        let mut days = self.days.checked_add(carried).ok_or_else(out_of_range)?;
        let mut micros = self.micros % USECS_PER_DAY;
        if days > 0 && micros < 0 {
            micros += USECS_PER_DAY;
            days -= 1;
        } else if days < 0 && micros > 0 {
            micros -= USECS_PER_DAY;
            days += 1;
        }
        Ok(Interval { months: self.months, days, micros })
    }

    /// `justify_days`: 30 days become a month.
    ///
    /// # Errors
    /// 22008.
    pub fn justify_days(&self) -> Result<Interval, Error> {
        let mut months = self.months.checked_add(self.days / 30).ok_or_else(out_of_range)?;
        let mut days = self.days % 30;
        if months > 0 && days < 0 {
            days += 30;
            months -= 1;
        } else if months < 0 && days > 0 {
            days -= 30;
            months += 1;
        }
        Ok(Interval { months, days, micros: self.micros })
    }

    /// `justify_interval`: both, with one sign for all parts.
    ///
    /// # Errors
    /// 22008.
    pub fn justify(&self) -> Result<Interval, Error> {
        let carried = i32::try_from(self.micros / USECS_PER_DAY).map_err(|_| out_of_range())?;
        let mut micros = self.micros % USECS_PER_DAY;
        let mut days = self.days.checked_add(carried).ok_or_else(out_of_range)?;
        let mut months = self.months.checked_add(days / 30).ok_or_else(out_of_range)?;
        days %= 30;
        if months > 0 && (days < 0 || (days == 0 && micros < 0)) {
            days += 30;
            months -= 1;
        } else if months < 0 && (days > 0 || (days == 0 && micros > 0)) {
            days -= 30;
            months += 1;
        }
        if days > 0 && micros < 0 {
            micros += USECS_PER_DAY;
            days -= 1;
        } else if days < 0 && micros > 0 {
            micros -= USECS_PER_DAY;
            days += 1;
        }
        Ok(Interval { months, days, micros })
    }
}

#[cold]
fn timestamp_out_of_range() -> Error {
    Error::new(SqlState::DATETIME_FIELD_OVERFLOW, "timestamp out of range")
}

impl PartialEq for Interval {
    fn eq(&self, other: &Self) -> bool {
        self.span() == other.span()
    }
}

impl Eq for Interval {}

impl PartialOrd for Interval {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Interval {
    fn cmp(&self, other: &Self) -> Ordering {
        self.span().cmp(&other.span())
    }
}

impl Hash for Interval {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.span().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(interval: Result<Interval, Error>) -> (i32, i32, i64) {
        let Interval { months, days, micros } = interval.expect("in range");
        (months, days, micros)
    }

    #[test]
    fn a_month_equals_thirty_days() {
        let month = Interval { months: 1, days: 0, micros: 0 };
        assert_eq!(month, Interval { months: 0, days: 29, micros: USECS_PER_DAY });
        assert!(month < Interval { months: 0, days: 31, micros: 0 });
    }

    #[test]
    fn a_length_comes_back_from_its_span() {
        for interval in [
            Interval { months: i32::MAX, days: i32::MAX, micros: i64::MAX },
            Interval { months: i32::MIN, days: i32::MIN, micros: i64::MIN },
            Interval { months: 1, days: -40, micros: 5 },
        ] {
            assert_eq!(Interval::from_span(interval.span()), Some(interval));
        }
    }

    #[test]
    fn months_stay_within_the_month_reached() {
        let day = |year, month, day| days_from_civil(year, month, day) * USECS_PER_DAY;
        let month = Interval { months: 1, days: 0, micros: 0 };
        assert_eq!(month.add_to_timestamp(day(2024, 1, 31)), Ok(day(2024, 2, 29)));
        assert_eq!(
            Interval { months: -12, days: 0, micros: 0 }.add_to_timestamp(day(2024, 2, 29)),
            Ok(day(2023, 2, 28))
        );
        assert!(Interval { months: i32::MAX, days: 0, micros: 0 }.add_to_timestamp(0).is_err());
    }

    #[test]
    fn days_follow_the_clock_of_the_zone() {
        let berlin = TimeZone::parse("Europe/Berlin").expect("known");
        // 2024-03-30 12:00 in Berlin; the night after has 23 hours.
        let noon = days_from_civil(2024, 3, 30) * USECS_PER_DAY + 11 * 3600 * USECS_PER_SEC;
        let day = Interval { months: 0, days: 1, micros: 0 };
        assert_eq!(day.add_to_timestamptz(noon, &berlin), Ok(noon + 23 * 3600 * USECS_PER_SEC));
        let hours = Interval { months: 0, days: 0, micros: USECS_PER_DAY };
        assert_eq!(hours.add_to_timestamptz(noon, &berlin), Ok(noon + USECS_PER_DAY));
    }

    #[test]
    fn fractions_cascade_down() {
        let month = Interval { months: 1, days: 0, micros: 0 };
        assert_eq!(parts(month.mul(0.1)), (0, 3, 0));
        assert_eq!(parts(month.div(7.0)), (0, 4, 24_685_689_600));
        assert_eq!(parts(Interval { months: 0, days: 0, micros: USECS_PER_SEC }.mul(1.5)), (0, 0, 1_500_000));
        assert!(month.div(0.0).is_err());
        assert!(month.mul(1e300).is_err());
        assert!(month.mul(f64::NAN).is_err());
    }

    #[test]
    fn justified_parts_share_a_sign() {
        let hour = 3600 * USECS_PER_SEC;
        assert_eq!(parts(Interval { months: 1, days: 0, micros: -hour }.justify()), (0, 29, 23 * hour));
        assert_eq!(parts(Interval { months: 0, days: 35, micros: 0 }.justify_days()), (1, 5, 0));
        assert_eq!(parts(Interval { months: 0, days: 0, micros: 27 * hour }.justify_hours()), (0, 1, 3 * hour));
    }
}
