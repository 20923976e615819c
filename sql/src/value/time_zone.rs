//! Time zones: those of the IANA data base, and fixed offsets.
//!
//! Two notations meet here. In timestamps and `SET TIME ZONE 2`, a positive number is east of Greenwich; in POSIX names such as
//! `UTC+2` it is west. [`TimeZone::parse`] reads names, [`TimeZone::parse_setting`] also plain numbers.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeDelta, TimeZone as _, Utc};
use chrono_tz::{OffsetName, TZ_VARIANTS, Tz};

use crate::value::datetime::{
    UNIX_EPOCH_DAYS, USECS_PER_DAY, USECS_PER_SEC, civil_from_days, days_from_civil, days_in_month, split_timestamp,
};

/// A time zone.
#[derive(Clone, Debug, PartialEq)]
pub enum TimeZone {
    /// By its name in the IANA data base.
    Named(Tz),
    /// A fixed distance from Greenwich.
    Fixed {
        /// Seconds east.
        offset: i32,
        /// As shown.
        name: String,
    },
}

/// Abbreviations of PostgreSQL's default set that are in wide use, with hours and minutes east.
const ABBREVIATIONS: &[(&str, i32, i32)] = &[
    ("utc", 0, 0),
    ("gmt", 0, 0),
    ("z", 0, 0),
    ("zulu", 0, 0),
    ("ut", 0, 0),
    ("wet", 0, 0),
    ("west", 1, 0),
    ("bst", 1, 0),
    ("cet", 1, 0),
    ("cest", 2, 0),
    ("met", 1, 0),
    ("mest", 2, 0),
    ("eet", 2, 0),
    ("eest", 3, 0),
    ("msk", 3, 0),
    ("ist", 2, 0),
    ("sast", 2, 0),
    ("est", -5, 0),
    ("edt", -4, 0),
    ("cst", -6, 0),
    ("cdt", -5, 0),
    ("mst", -7, 0),
    ("mdt", -6, 0),
    ("pst", -8, 0),
    ("pdt", -7, 0),
    ("akst", -9, 0),
    ("akdt", -8, 0),
    ("hst", -10, 0),
    ("ast", -4, 0),
    ("adt", -3, 0),
    ("nst", -3, -30),
    ("ndt", -2, -30),
    ("brt", -3, 0),
    ("art", -3, 0),
    ("clt", -4, 0),
    ("jst", 9, 0),
    ("kst", 9, 0),
    ("hkt", 8, 0),
    ("sgt", 8, 0),
    ("awst", 8, 0),
    ("acst", 9, 30),
    ("acdt", 10, 30),
    ("aest", 10, 0),
    ("aedt", 11, 0),
    ("nzst", 12, 0),
    ("nzdt", 13, 0),
];

impl TimeZone {
    /// Coordinated universal time
    pub const UTC: TimeZone = TimeZone::Named(Tz::UTC);

    /// A fixed offset, seconds east, shown as PostgreSQL shows a numeric `TIME ZONE`: `<+02>-02`.
    pub fn fixed(offset: i32) -> TimeZone {
        let name = format!("<{}>{}", signed_hours(offset), signed_hours(-offset));
        TimeZone::Fixed { offset, name }
    }

    /// A zone by name (in any case), abbreviation, or POSIX notation. `None` if there is none.
    pub fn parse(name: &str) -> Option<TimeZone> {
        if let Some(zone) = TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name)) {
            return Some(TimeZone::Named(*zone));
        }
        if let Some(offset) = abbreviation_offset(name) {
            return Some(TimeZone::Fixed { offset, name: name.to_ascii_uppercase() });
        }
        let offset = posix_offset(name)?;
        Some(TimeZone::Fixed { offset, name: name.to_owned() })
    }

    /// The value of the setting `TimeZone`: a name, or hours east, perhaps with a fraction.
    pub fn parse_setting(text: &str) -> Option<TimeZone> {
        if let Ok(hours) = text.trim().parse::<f64>() {
            return (hours.abs() <= 167.0).then(|| TimeZone::fixed((hours * 3600.0).round() as i32));
        }
        if text.eq_ignore_ascii_case("default") || text.eq_ignore_ascii_case("local") {
            return Some(TimeZone::UTC);
        }
        TimeZone::parse(text)
    }

    /// The zone's name as SHOW prints it.
    pub fn name(&self) -> &str {
        match self {
            TimeZone::Named(zone) => zone.name(),
            TimeZone::Fixed { name, .. } => name,
        }
    }

    /// Seconds east of Greenwich at an instant (microseconds since 2000-01-01 UTC).
    pub fn offset_at(&self, utc: i64) -> i32 {
        match self {
            TimeZone::Named(Tz::UTC) => 0,
            TimeZone::Named(zone) => zone.offset_from_utc_datetime(&naive(utc)).fix().local_minus_utc(),
            TimeZone::Fixed { offset, .. } => *offset,
        }
    }

    /// The zone's abbreviation at an instant: `CEST`.
    pub fn abbreviation_at(&self, utc: i64) -> String {
        match self {
            TimeZone::Named(zone) => {
                let offset = zone.offset_from_utc_datetime(&naive(utc));
                offset.abbreviation().map_or_else(|| signed_hours(offset.fix().local_minus_utc()), str::to_owned)
            }
            TimeZone::Fixed { offset, name } => {
                if name.starts_with('<') {
                    signed_hours(*offset)
                } else {
                    name.trim_end_matches(|c: char| !c.is_alphabetic()).to_owned()
                }
            }
        }
    }

    /// The local time at an instant.
    pub fn to_local(&self, utc: i64) -> i64 {
        utc.saturating_add(i64::from(self.offset_at(utc)) * USECS_PER_SEC)
    }

    /// The instant of a local time. A time that a clock set forward skips is read by the offset before the change; one that comes
    /// twice is the second.
    pub fn to_utc(&self, local: i64) -> i64 {
        local.saturating_sub(i64::from(self.offset_of_local(local)) * USECS_PER_SEC)
    }

    fn offset_of_local(&self, local: i64) -> i32 {
        let zone = match self {
            TimeZone::Fixed { offset, .. } => return *offset,
            TimeZone::Named(Tz::UTC) => return 0,
            TimeZone::Named(zone) => zone,
        };
        let time = naive(local);
        match zone.offset_from_local_datetime(&time) {
            LocalResult::Single(offset) => offset.fix().local_minus_utc(),
            LocalResult::Ambiguous(first, second) => first.fix().local_minus_utc().min(second.fix().local_minus_utc()),
            // Clocks have been moved by a day at most.
            LocalResult::None => {
                let before = time - TimeDelta::days(1);
                zone.offset_from_local_datetime(&before).earliest().map_or(0, |offset| offset.fix().local_minus_utc())
            }
        }
    }
}

/// The offset of an abbreviation such as `CEST`, seconds east.
pub(crate) fn abbreviation_offset(name: &str) -> Option<i32> {
    let (_, hours, minutes) = ABBREVIATIONS.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name))?;
    Some(hours * 3600 + minutes * 60)
}

/// `UTC+2`, `<+02>-02`, `-05:30`: an optional name, then hours WEST, as POSIX has it.
fn posix_offset(text: &str) -> Option<i32> {
    let digits = match text.strip_prefix('<') {
        Some(rest) => rest.split_once('>')?.1,
        None => text.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
    };
    let (sign, digits) = match digits.as_bytes().first()? {
        b'-' => (1, &digits[1..]),
        b'+' => (-1, &digits[1..]),
        _ => (-1, digits),
    };
    let mut seconds = 0;
    let mut unit = 3600;
    for part in digits.split(':') {
        if part.is_empty() || part.len() > 3 || unit == 0 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        seconds += part.parse::<i32>().ok()? * unit;
        unit /= 60;
    }
    (seconds <= 167 * 3600).then_some(sign * seconds)
}

/// `+02`, `-05:30`
fn signed_hours(offset: i32) -> String {
    let (sign, seconds) = (if offset < 0 { '-' } else { '+' }, offset.abs());
    match (seconds / 60 % 60, seconds % 60) {
        (0, 0) => format!("{sign}{:02}", seconds / 3600),
        (minutes, 0) => format!("{sign}{:02}:{minutes:02}", seconds / 3600),
        (minutes, rest) => format!("{sign}{:02}:{minutes:02}:{rest:02}", seconds / 3600),
    }
}

/// The instant as the crates want it. Their zones have rules up to 2100 and their calendar ends in the year 262142: later years borrow the
/// rules of an earlier one with the same days of the week, which is what repeating the last rule comes to.
fn naive(micros: i64) -> NaiveDateTime {
    let (days, time) = split_timestamp(micros);
    let year = i64::from(civil_from_days(days).year);
    let days =
        if year > 2090 { i64::from(days) + same_calendar(year) - days_from_civil(year, 1, 1) } else { i64::from(days) };
    let from_unix = (days - i64::from(UNIX_EPOCH_DAYS)).max(-90_000_000) * USECS_PER_DAY + time;
    DateTime::<Utc>::from_timestamp_micros(from_unix).expect("between 246000 BC and 2100").naive_utc()
}

/// The first day of a year from 2060 to 2087 with the same calendar.
fn same_calendar(year: i64) -> i64 {
    let start = |year: i64| days_from_civil(year, 1, 1);
    let alike =
        |other: &i64| (start(*other) - start(year)) % 7 == 0 && days_in_month(*other, 2) == days_in_month(year, 2);
    start((2060..2088).find(alike).unwrap_or(2060))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::days_from_civil;

    fn at(year: i64, month: i64, day: i64, hour: i64, minute: i64) -> i64 {
        days_from_civil(year, month, day) * USECS_PER_DAY + (hour * 60 + minute) * 60 * USECS_PER_SEC
    }

    #[test]
    fn names_are_found_in_any_case() {
        assert_eq!(
            TimeZone::parse("europe/berlin").map(|zone| zone.name().to_owned()).as_deref(),
            Some("Europe/Berlin")
        );
        assert_eq!(TimeZone::parse("Mars/Olympus"), None);
        assert_eq!(TimeZone::parse("CEST").map(|zone| zone.offset_at(0)), Some(7200));
    }

    #[test]
    fn signs_are_east_for_settings_and_west_for_posix() {
        let offset = |zone: Option<TimeZone>| zone.map(|zone| zone.offset_at(0));
        assert_eq!(offset(TimeZone::parse_setting("2")), Some(7200));
        assert_eq!(offset(TimeZone::parse_setting("-5.5")), Some(-19_800));
        assert_eq!(offset(TimeZone::parse("UTC+2")), Some(-7200));
        assert_eq!(offset(TimeZone::parse("<+02>-02")), Some(7200));
        assert_eq!(TimeZone::parse_setting("2").map(|zone| zone.name().to_owned()).as_deref(), Some("<+02>-02"));
    }

    #[test]
    fn skipped_and_doubled_hours_follow_postgres() {
        let new_york = TimeZone::parse("America/New_York").expect("known");
        assert_eq!(new_york.to_utc(at(2024, 7, 1, 12, 0)), at(2024, 7, 1, 16, 0));
        // 02:30 does not exist on 2024-03-10: read as standard time.
        assert_eq!(new_york.to_utc(at(2024, 3, 10, 2, 30)), at(2024, 3, 10, 7, 30));
        // 01:30 comes twice on 2024-11-03: standard time.
        assert_eq!(new_york.to_utc(at(2024, 11, 3, 1, 30)), at(2024, 11, 3, 6, 30));
        assert_eq!(new_york.abbreviation_at(at(2024, 7, 1, 12, 0)), "EDT");
    }

    #[test]
    fn the_far_future_does_not_panic() {
        let berlin = TimeZone::parse("Europe/Berlin").expect("known");
        let _ = berlin.to_utc(i64::MAX - 1);
        let _ = berlin.to_local(i64::MIN + 1);
        assert_eq!(berlin.offset_at(at(2709, 7, 1, 0, 0)), 7200);
        assert_eq!(berlin.offset_at(at(294_000, 1, 1, 0, 0)), 3600);
    }
}
