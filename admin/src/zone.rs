//! Times in the operator's zone, with the zone's usual abbreviation.

use chrono::{DateTime, Local, Utc};
use chrono_tz::Tz;

/// A time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// One of the time zone database: times say `PST`, `CEST` and the like.
    Named(Tz),
    /// The machine's own, which has no known name: times say `+01:00`.
    Local,
}

impl Zone {
    /// The operator's: variable `TZ`, else the machine's setting.
    #[must_use]
    pub fn of_operator() -> Self {
        let variable = std::env::var("TZ").ok().filter(|name| !name.is_empty());
        let name = variable
            .map(|name| name.trim_start_matches(':').to_owned())
            .or_else(|| iana_time_zone::get_timezone().ok());
        match name.map(|name| name.parse()) {
            Some(Ok(zone)) => Self::Named(zone),
            Some(Err(_)) => Self::Local,
            None => Self::Named(Tz::UTC),
        }
    }

    /// `Thu Feb 22 07:37:28 PST 2018`.
    #[must_use]
    pub fn ctime(self, ms: i64) -> String {
        self.format(ms, "%a %b %e %H:%M:%S %Z %Y")
    }

    /// `2018-02-22 07:37:25`; nothing for a time that is not known (0).
    #[must_use]
    pub fn event(self, ms: i64) -> String {
        if ms == 0 { String::new() } else { self.format(ms, "%Y-%m-%d %H:%M:%S") }
    }

    fn format(self, ms: i64, format: &str) -> String {
        let Some(time) = DateTime::<Utc>::from_timestamp_millis(ms) else { return format!("({ms} ms)") };
        match self {
            Self::Named(zone) => time.with_timezone(&zone).format(format).to_string(),
            Self::Local => time.with_timezone(&Local).format(format).to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_carry_their_zone() {
        let zone = Zone::Named(Tz::America__Los_Angeles);
        assert_eq!(zone.ctime(1_519_313_848_000), "Thu Feb 22 07:37:28 PST 2018");
        assert_eq!(zone.event(1_519_313_845_000), "2018-02-22 07:37:25");
        assert_eq!(zone.event(0), "");
        assert_eq!(Zone::Named(Tz::UTC).ctime(1_517_443_200_000), "Thu Feb  1 00:00:00 UTC 2018");
    }
}
