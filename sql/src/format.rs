//! How values are written and read: PostgreSQL's text and binary wire formats, and the lines of COPY.
//!
//! Reading is strict: bytes that PostgreSQL would refuse are refused with its SQLSTATE (22P02, 22P03, 22007, 22008).

pub mod copy;

mod array_text;
mod binary;
mod date_fields;
mod date_input;
mod date_output;
mod float;
mod interval_input;
mod text;

pub use binary::{decode_binary, encode_binary};
pub use date_input::{parse_date, parse_time, parse_timestamp, parse_timestamptz};
pub use float::{write_float4, write_float8};
pub use interval_input::{IntervalFields, parse_interval, parse_interval_fields};
pub use text::{decode_text, encode_text, to_text};

pub(crate) use text::{parse_escaped, parse_hex, parse_value, undefined_relation};

#[cfg(test)]
pub(crate) use date_output::write_interval;

use crate::error::{Error, SqlState};
use crate::value::TimeZone;

/// The order of day and month in input such as `01/02/2003`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DateOrder {
    /// Month first
    #[default]
    Mdy,
    /// Day first
    Dmy,
    /// Year first
    Ymd,
}

/// How intervals are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum IntervalStyle {
    /// `1 year 2 mons 3 days 04:05:06`
    #[default]
    Postgres,
    /// `@ 1 year 2 mons 3 days 4 hours 5 mins 6 secs`
    PostgresVerbose,
    /// `+1-2 +3 +4:05:06`
    SqlStandard,
    /// `P1Y2M3DT4H5M6S`
    Iso8601,
}

/// How byte strings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ByteaOutput {
    /// `\x0102`
    #[default]
    Hex,
    /// `\001\002`
    Escape,
}

/// The settings on which text depends. Dates are written in ISO style only.
#[derive(Clone, Debug, PartialEq)]
pub struct FormatSettings {
    /// `TimeZone`
    pub time_zone: TimeZone,
    /// The second half of `DateStyle`
    pub date_order: DateOrder,
    /// `IntervalStyle`
    pub interval_style: IntervalStyle,
    /// `bytea_output`
    pub bytea_output: ByteaOutput,
    /// `extra_float_digits`: above 0 the shortest text that reads back the same; else 15 (or 6) plus so many digits. -15 to 3.
    pub extra_float_digits: i32,
    /// What `now` and `today` mean in date input: when the transaction began, in microseconds since 2000-01-01 UTC; the
    /// system's clock if `None`.
    pub now: Option<i64>,
}

impl Default for FormatSettings {
    fn default() -> Self {
        Self {
            time_zone: TimeZone::UTC,
            date_order: DateOrder::default(),
            interval_style: IntervalStyle::default(),
            bytea_output: ByteaOutput::default(),
            extra_float_digits: 1,
            now: None,
        }
    }
}

impl FormatSettings {
    /// Sets `DateStyle` from its text (`ISO, DMY`, `iso`, `European`); parts not named stay.
    ///
    /// # Errors
    /// 22023 for unknown words, 0A000 for output styles other than ISO.
    pub fn set_date_style(&mut self, style: &str) -> Result<(), Error> {
        for word in style.split(',').map(|word| word.trim().to_ascii_lowercase()) {
            match word.as_str() {
                "iso" | "default" => {}
                "mdy" | "us" | "noneuro" | "noneuropean" => self.date_order = DateOrder::Mdy,
                "dmy" | "euro" | "european" => self.date_order = DateOrder::Dmy,
                "ymd" => self.date_order = DateOrder::Ymd,
                "sql" | "postgres" | "german" => {
                    return Err(Error::unsupported(format!("DateStyle \"{word}\""), "Dates are written in ISO style."));
                }
                _ => return Err(invalid_setting("DateStyle", style)),
            }
        }
        Ok(())
    }

    /// `DateStyle` as SHOW prints it.
    pub fn date_style(&self) -> &'static str {
        match self.date_order {
            DateOrder::Mdy => "ISO, MDY",
            DateOrder::Dmy => "ISO, DMY",
            DateOrder::Ymd => "ISO, YMD",
        }
    }

    /// Sets `IntervalStyle` from its text.
    ///
    /// # Errors
    /// 22023 for unknown words.
    pub fn set_interval_style(&mut self, style: &str) -> Result<(), Error> {
        self.interval_style = match style.to_ascii_lowercase().as_str() {
            "postgres" => IntervalStyle::Postgres,
            "postgres_verbose" => IntervalStyle::PostgresVerbose,
            "sql_standard" => IntervalStyle::SqlStandard,
            "iso_8601" => IntervalStyle::Iso8601,
            _ => return Err(invalid_setting("IntervalStyle", style)),
        };
        Ok(())
    }

    /// `IntervalStyle` as SHOW prints it.
    pub fn interval_style_name(&self) -> &'static str {
        match self.interval_style {
            IntervalStyle::Postgres => "postgres",
            IntervalStyle::PostgresVerbose => "postgres_verbose",
            IntervalStyle::SqlStandard => "sql_standard",
            IntervalStyle::Iso8601 => "iso_8601",
        }
    }

    /// Sets `bytea_output` from its text.
    ///
    /// # Errors
    /// 22023 for unknown words.
    pub fn set_bytea_output(&mut self, output: &str) -> Result<(), Error> {
        self.bytea_output = match output.to_ascii_lowercase().as_str() {
            "hex" => ByteaOutput::Hex,
            "escape" => ByteaOutput::Escape,
            _ => return Err(invalid_setting("bytea_output", output)),
        };
        Ok(())
    }

    /// Sets `TimeZone` from its text: a name of the IANA data base, hours east of Greenwich, or POSIX notation.
    ///
    /// # Errors
    /// 22023 for a zone that is not known.
    pub fn set_time_zone(&mut self, zone: &str) -> Result<(), Error> {
        self.time_zone = TimeZone::parse_setting(zone).ok_or_else(|| invalid_setting("TimeZone", zone))?;
        Ok(())
    }

    /// The time that `now` stands for in date input.
    pub(crate) fn now(&self) -> i64 {
        self.now.unwrap_or_else(|| crate::value::timestamp_from_system(std::time::SystemTime::now()))
    }
}

fn invalid_setting(name: &str, value: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("invalid value for parameter \"{name}\": \"{value}\""))
}
