//! The fields of date and time input: how a text is split before its parts are given a meaning.

use crate::error::{Error, SqlState};

/// Why an input is refused.
pub(super) enum Fault {
    /// No date or time at all.
    Format,
    /// A field out of its range.
    Range,
    /// The same, where another order of day and month would do.
    Order,
    /// An offset from Greenwich that is too large.
    Displacement,
    /// A time zone that is not known.
    Zone(String),
}

impl Fault {
    pub(super) fn error(self, ty: &str, input: &str) -> Error {
        let range = || {
            Error::new(SqlState::DATETIME_FIELD_OVERFLOW, format!("date/time field value out of range: \"{input}\""))
        };
        match self {
            Fault::Format => Error::new(
                SqlState::INVALID_DATETIME_FORMAT,
                format!("invalid input syntax for type {ty}: \"{input}\""),
            ),
            Fault::Range => range(),
            Fault::Order => range().with_hint("Perhaps you need a different \"datestyle\" setting."),
            Fault::Displacement => Error::new(
                SqlState::INVALID_TIME_ZONE_DISPLACEMENT,
                format!("time zone displacement out of range: \"{input}\""),
            ),
            Fault::Zone(name) => {
                Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("time zone \"{name}\" not recognized"))
            }
        }
    }
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];
const DAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
/// A field of the input.
pub(super) enum Field<'a> {
    /// Digits with `:`
    Time(&'a str),
    /// Digits and letters with `-`, `/` or `.`
    Date(&'a str),
    /// Digits, perhaps with a fraction
    Number(&'a str),
    /// Letters
    Word(&'a str),
    /// A zone's name with `/`
    ZoneName(&'a str),
    /// A sign and digits with `:`
    Offset(&'a str),
}

pub(super) fn split(input: &str) -> Result<Vec<Field<'_>>, Fault> {
    let mut fields = Vec::new();
    let mut rest = input;
    while let Some(first) = rest.bytes().next() {
        let length = |accept: &dyn Fn(u8) -> bool| rest.bytes().position(|b| !accept(b)).unwrap_or(rest.len());
        let (field, used) = match first {
            b if b.is_ascii_whitespace() || b == 0x0b || b == b',' => {
                rest = &rest[1..];
                continue;
            }
            b'0'..=b'9' | b'.' => digits_field(rest),
            b if b.is_ascii_alphabetic() => {
                let word = length(&|b| b.is_ascii_alphabetic());
                match rest.as_bytes().get(word) {
                    // Jan-08-1999
                    Some(b'-' | b'.' | b'/')
                        if rest.as_bytes().get(word + 1).is_some_and(u8::is_ascii_digit)
                            && month(&rest[..word]).is_some() =>
                    {
                        let used = length(&|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'/'));
                        (Field::Date(&rest[..used]), used)
                    }
                    // America/New_York, UTC-3; and GMT+2, PST8PDT unless the word means something by itself, as in T040506.
                    Some(b'/' | b'_' | b'-' | b'+' | b'0'..=b'9')
                        if !is_keyword(&rest[..word], rest.as_bytes()[word]) =>
                    {
                        let used = length(&|b| {
                            b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'+' | b'-' | b'.' | b':')
                        });
                        (Field::ZoneName(&rest[..used]), used)
                    }
                    // Julian days: J2451187
                    Some(b'0'..=b'9') if word == 1 && first.eq_ignore_ascii_case(&b'j') => {
                        let used = 1 + rest[1..].bytes().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len() - 1);
                        (Field::Word(&rest[..used]), used)
                    }
                    _ => (Field::Word(&rest[..word]), word),
                }
            }
            b'+' | b'-' => {
                let blanks = rest[1..].len() - rest[1..].trim_start().len();
                let body = &rest[1 + blanks..];
                if body.starts_with(|c: char| c.is_ascii_alphabetic()) {
                    let word = body.bytes().position(|b| !b.is_ascii_alphabetic()).unwrap_or(body.len());
                    if !matches!(body[..word].to_ascii_lowercase().as_str(), "infinity" | "inf") || blanks > 0 {
                        return Err(Fault::Format);
                    }
                    (Field::Word(&rest[..1 + word]), 1 + word)
                } else {
                    let used =
                        1 + blanks + body.bytes().position(|b| !b.is_ascii_digit() && b != b':').unwrap_or(body.len());
                    if used == 1 + blanks {
                        return Err(Fault::Format);
                    }
                    (Field::Offset(&rest[..used]), used)
                }
            }
            _ => return Err(Fault::Format),
        };
        fields.push(field);
        rest = &rest[used..];
    }
    Ok(fields)
}

/// Whether a word that `next` follows stands alone. PostgreSQL looks it up only before a plus or a digit.
fn is_keyword(word: &str, next: u8) -> bool {
    const WORDS: [&str; 10] = ["t", "j", "am", "pm", "ad", "bc", "at", "on", "now", "epoch"];
    let known =
        || WORDS.iter().any(|known| known.eq_ignore_ascii_case(word)) || month(word).is_some() || is_day_of_week(word);
    (next == b'+' || next.is_ascii_digit()) && known()
}

fn digits_field(rest: &str) -> (Field<'_>, usize) {
    let length = |accept: &dyn Fn(u8) -> bool| rest.bytes().position(|b| !accept(b)).unwrap_or(rest.len());
    let digits = length(&|b| b.is_ascii_digit());
    match rest.as_bytes().get(digits) {
        Some(b':') => {
            let used = length(&|b| b.is_ascii_digit() || matches!(b, b':' | b'.'));
            (Field::Time(&rest[..used]), used)
        }
        Some(delimiter @ (b'-' | b'/' | b'.')) if digits > 0 => {
            let second =
                rest[digits + 1..].bytes().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len() - digits - 1);
            let after = rest.as_bytes().get(digits + 1 + second);
            if second > 0 && after == Some(delimiter)
                || second == 0 && after.is_some_and(u8::is_ascii_alphabetic) && *delimiter != b'.'
            {
                let alphabetic = second == 0;
                let used =
                    length(&|b| b.is_ascii_digit() || b == *delimiter || (alphabetic && b.is_ascii_alphabetic()));
                return (Field::Date(&rest[..used]), used);
            }
            let used = digits + 1 + second;
            match (*delimiter, second) {
                (b'.', _) => (Field::Number(&rest[..used]), used),
                (_, 0) => (Field::Number(&rest[..digits]), digits),
                _ => (Field::Date(&rest[..used]), used),
            }
        }
        Some(b'.') => {
            let used = 1 + rest[1..].bytes().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len() - 1);
            (Field::Number(&rest[..used]), used)
        }
        _ => (Field::Number(&rest[..digits]), digits),
    }
}

pub(super) fn month(word: &str) -> Option<i64> {
    let word = word.to_ascii_lowercase();
    let word = if word == "sept" { "sep" } else { &word };
    let found = MONTHS.iter().position(|name| *name == word || (word.len() == 3 && name.starts_with(word)))?;
    Some(found as i64 + 1)
}

pub(super) fn is_day_of_week(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    let known = ["tues", "wednes", "weds", "thur", "thurs"];
    known.contains(&word.as_str())
        || DAYS.iter().any(|name| *name == word || (word.len() == 3 && name.starts_with(&word)))
}
