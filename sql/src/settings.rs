//! Session settings: what SET, RESET and SHOW know.
//!
//! A change is part of its transaction: rolled back with it, and ended with it if it was SET LOCAL. Names without a dot must be known; names with
//! one are kept for the application. Settings of PostgreSQL that change nothing here are accepted and remembered, so that drivers and
//! tools which set them at their start work.

mod described;
mod known;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::error::{Error, SqlState};
use crate::format::FormatSettings;
use crate::parse::{SetScope, SetValue, TransactionModes};

pub use described::Described;
pub use known::SERVER_VERSION;
use known::{KNOWN, Kind, find};

/// A setting's name as SHOW spells it.
pub fn display_name(name: &str) -> String {
    find(name).map_or_else(|| name.to_owned(), |known| known.name.to_owned())
}

#[derive(Clone, Debug, PartialEq, Default)]
struct Values {
    /// Only what differs from the defaults, by the name in lower case.
    texts: BTreeMap<String, String>,
    format: FormatSettings,
    statement_timeout: Option<Duration>,
    transaction_timeout: Option<Duration>,
    read_only_default: bool,
    read_only: Option<bool>,
}

/// The settings at one moment; cheap to copy.
#[derive(Clone, Debug, Default)]
pub struct View(Arc<Values>);

impl View {
    /// The value of a setting as SHOW prints it.
    pub fn get(&self, name: &str) -> Option<String> {
        self.0.get(name)
    }

    /// Name, value and description of all settings, for SHOW ALL and `pg_settings`.
    pub fn all(&self) -> Vec<(String, String, String)> {
        let known = KNOWN.iter().map(|known| {
            (known.name.to_owned(), self.get(known.name).unwrap_or_default(), known.description.to_owned())
        });
        let own = self.0.texts.iter().filter(|(name, _)| name.contains('.'));
        known.chain(own.map(|(name, value)| (name.clone(), value.clone(), String::new()))).collect()
    }

    /// How values are read and printed.
    pub fn format(&self) -> &FormatSettings {
        &self.0.format
    }

    /// What a setting would be after a change, as SHOW prints it.
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub fn changed(&self, name: &str, value: &str) -> Result<String, Error> {
        let (mut values, name) = (Values::clone(&self.0), name.to_lowercase());
        values.set(&name, value)?;
        Ok(values.get(&name).unwrap_or_default())
    }
}

/// A change of a setting that a statement asked for: to be made when it has ended well.
#[derive(Clone, Debug)]
pub struct Wish {
    scope: SetScope,
    name: String,
    value: String,
}

/// The changes that one statement asks for, in order.
#[derive(Clone, Debug, Default)]
pub struct Wishes(Arc<Mutex<Vec<Wish>>>);

impl Wishes {
    /// Adds one.
    pub fn push(&self, scope: SetScope, name: &str, value: &str) {
        let wish = Wish { scope, name: name.to_lowercase(), value: value.to_owned() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(wish);
    }

    fn take(&self) -> Vec<Wish> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the settings of a transaction were at one moment, to go back to; cheap to make.
#[derive(Clone, Debug)]
pub struct Mark {
    pending: Arc<Values>,
    current: Arc<Values>,
}

/// All settings of a session.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// For RESET: the startup packet's values.
    initial: Arc<Values>,
    /// After the last commit.
    committed: Arc<Values>,
    /// As they will be after this transaction commits.
    pending: Arc<Values>,
    /// In force now, SET LOCAL included.
    current: Arc<Values>,
    /// What the client was last told, and the values at that moment.
    told: BTreeMap<&'static str, String>,
    told_of: Arc<Values>,
}

impl Settings {
    /// Settings of a new session of `user`, with those of its startup message.
    ///
    /// # Errors
    /// 22023, 42704 for what the startup message asks.
    pub fn new(user: &str, startup: &[(String, String)]) -> Result<Settings, Error> {
        let mut values = Values::default();
        values.texts.insert("session_authorization".to_owned(), user.to_owned());
        for (name, value) in startup {
            values.set(&name.to_lowercase(), value)?;
        }
        let values = Arc::new(values);
        let mut settings = Settings {
            initial: values.clone(),
            committed: values.clone(),
            pending: values.clone(),
            current: values.clone(),
            told: BTreeMap::new(),
            told_of: values,
        };
        settings.told = settings.reported().collect();
        Ok(settings)
    }

    /// SET.
    ///
    /// # Errors
    /// 42704 for an unknown name, 22023 for a value that makes no sense, 55P02 for what cannot be changed.
    pub fn set(&mut self, scope: SetScope, name: &str, value: &SetValue) -> Result<(), Error> {
        let change = |values: &mut Arc<Values>, initial: &Values| match value {
            SetValue::Default => Arc::make_mut(values).reset(name, initial),
            SetValue::Values(parts) => Arc::make_mut(values).set(name, &join(name, parts)),
        };
        change(&mut self.current, &self.initial)?;
        if scope == SetScope::Session {
            change(&mut self.pending, &self.initial)?;
        }
        Ok(())
    }

    /// Makes the changes that a statement asked for.
    ///
    /// # Errors
    /// As [`Settings::set`]; not expected, as each was tried when it was asked for.
    pub fn fulfil(&mut self, wishes: &Wishes) -> Result<(), Error> {
        wishes
            .take()
            .into_iter()
            .try_for_each(|wish| self.set(wish.scope, &wish.name, &SetValue::Values(vec![wish.value])))
    }

    /// RESET, or RESET ALL with `None`.
    ///
    /// # Errors
    /// 42704 for an unknown name.
    pub fn reset(&mut self, name: Option<&str>) -> Result<(), Error> {
        match name {
            Some(name) => self.set(SetScope::Session, name, &SetValue::Default),
            None => {
                self.pending = self.initial.clone();
                self.current = self.initial.clone();
                Ok(())
            }
        }
    }

    /// The value of a setting as SHOW prints it.
    pub fn get(&self, name: &str) -> Option<String> {
        self.current.get(name)
    }

    /// The settings as they are now.
    pub fn view(&self) -> View {
        View(self.current.clone())
    }

    /// How values are read and printed.
    pub fn format(&self) -> &FormatSettings {
        &self.current.format
    }

    /// `statement_timeout`, if it is not 0.
    pub fn statement_timeout(&self) -> Option<Duration> {
        self.current.statement_timeout
    }

    /// `transaction_timeout`, if it is not 0.
    pub fn transaction_timeout(&self) -> Option<Duration> {
        self.current.transaction_timeout
    }

    /// Whether the transaction, or the next one, is read-only.
    pub fn read_only(&self) -> bool {
        self.current.read_only.unwrap_or(self.current.read_only_default)
    }

    /// Takes over what BEGIN or SET TRANSACTION said, until the transaction ends.
    pub fn set_modes(&mut self, modes: TransactionModes) {
        if modes == TransactionModes::default() {
            return;
        }
        let values = Arc::make_mut(&mut self.current);
        if let Some(isolation) = modes.isolation {
            values.texts.insert("transaction_isolation".to_owned(), isolation.to_owned());
        }
        if let Some(read_only) = modes.read_only {
            values.read_only = Some(read_only);
            values.texts.insert("transaction_read_only".to_owned(), on_off(read_only).to_owned());
        }
        if let Some(deferrable) = modes.deferrable {
            values.texts.insert("transaction_deferrable".to_owned(), on_off(deferrable).to_owned());
        }
    }

    /// The modes that SET SESSION CHARACTERISTICS gives to later transactions.
    pub fn set_default_modes(&mut self, modes: TransactionModes) {
        for values in [&mut self.current, &mut self.pending] {
            let values = Arc::make_mut(values);
            if let Some(isolation) = modes.isolation {
                values.texts.insert("default_transaction_isolation".to_owned(), isolation.to_owned());
            }
            if let Some(read_only) = modes.read_only {
                values.read_only_default = read_only;
                values.texts.insert("default_transaction_read_only".to_owned(), on_off(read_only).to_owned());
            }
        }
    }

    /// Whether a commit would make a difference.
    pub fn is_changed(&self) -> bool {
        !Arc::ptr_eq(&self.pending, &self.committed) || !Arc::ptr_eq(&self.current, &self.pending)
    }

    /// The settings as they are now, for [`Settings::restore`].
    pub fn mark(&self) -> Mark {
        Mark { pending: self.pending.clone(), current: self.current.clone() }
    }

    /// Takes back what was set since the mark, in the same transaction.
    pub fn restore(&mut self, mark: &Mark) {
        self.pending = mark.pending.clone();
        self.current = mark.current.clone();
    }

    /// Ends the transaction's settings: SET LOCAL always, SET if it was rolled back.
    pub fn end_transaction(&mut self, committed: bool) {
        if committed {
            self.committed = self.pending.clone();
        } else {
            self.pending = self.committed.clone();
        }
        self.current = self.pending.clone();
    }

    fn reported(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        KNOWN.iter().filter(|known| known.reported).map(|known| (known.name, self.get(known.name).unwrap_or_default()))
    }

    /// What ParameterStatus tells at the start.
    pub fn parameter_status(&self) -> Vec<(&'static str, String)> {
        self.reported().collect()
    }

    /// What ParameterStatus has to tell since the last call.
    pub fn changes(&mut self) -> Vec<(String, String)> {
        // Asked after every statement, and mostly nothing was set. Whoever changes values makes new ones, since these are held here.
        if Arc::ptr_eq(&self.current, &self.told_of) {
            return Vec::new();
        }
        self.told_of = self.current.clone();
        let news: Vec<(&'static str, String)> =
            self.reported().filter(|(name, value)| self.told.get(name) != Some(value)).collect();
        self.told.extend(news.iter().cloned());
        news.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn on_off(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}

/// The values of a list setting as one text; names that need it are quoted.
fn join(name: &str, parts: &[String]) -> String {
    let quote = |part: &String| {
        let plain = !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if plain || name != "search_path" { part.clone() } else { format!("\"{}\"", part.replace('"', "\"\"")) }
    };
    match parts {
        [single] => single.clone(),
        several => several.iter().map(quote).collect::<Vec<_>>().join(", "),
    }
}

impl Values {
    fn get(&self, name: &str) -> Option<String> {
        let lower = name.to_lowercase();
        match lower.as_str() {
            "datestyle" => return Some(self.format.date_style().to_owned()),
            "intervalstyle" => return Some(self.format.interval_style_name().to_owned()),
            "transaction_read_only" if !self.texts.contains_key(&lower) => {
                return Some(on_off(self.read_only_default).to_owned());
            }
            "transaction_isolation" if !self.texts.contains_key(&lower) => {
                return self.get("default_transaction_isolation");
            }
            _ => {}
        }
        if let Some(text) = self.texts.get(&lower) {
            return Some(text.clone());
        }
        find(name).map(|known| known.default.to_owned())
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Error> {
        let Some(known) = find(name) else {
            if name.contains('.') {
                self.texts.insert(name.to_owned(), value.to_owned());
                return Ok(());
            }
            return Err(unknown(name));
        };
        let invalid = || {
            Error::new(
                SqlState::INVALID_PARAMETER_VALUE,
                format!("invalid value for parameter \"{}\": \"{value}\"", known.name),
            )
        };
        let text = match known.kind {
            Kind::Text => value.to_owned(),
            Kind::Bool => on_off(boolean(value).ok_or_else(|| {
                Error::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("parameter \"{}\" requires a Boolean value", known.name),
                )
            })?)
            .to_owned(),
            Kind::Int(least, most) => {
                let number: i64 = value.trim().parse().map_err(|_| invalid())?;
                if !(least..=most).contains(&number) {
                    let message = format!(
                        "{number} is outside the valid range for parameter \"{}\" ({least} .. {most})",
                        known.name
                    );
                    return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
                }
                number.to_string()
            }
            Kind::Milliseconds => print_milliseconds(milliseconds(value).ok_or_else(invalid)?),
            Kind::NoLimit => match milliseconds(value).ok_or_else(invalid)? {
                0 => "0".to_owned(),
                _ => return Err(Error::unsupported(known.name, "Use statement_timeout or transaction_timeout.")),
            },
            Kind::Word(words) => {
                let lower = value.to_lowercase();
                (*words.iter().find(|word| **word == lower).ok_or_else(invalid)?).to_owned()
            }
            // Names of encodings are compared by their letters and digits; some drivers send theirs in quotes.
            Kind::Encoding => match &*value.to_lowercase().replace(|c: char| !c.is_ascii_alphanumeric(), "") {
                "utf8" | "unicode" => "UTF8".to_owned(),
                _ => return Err(Error::unsupported(format_args!("client_encoding {value}"), "Use UTF8.")),
            },
            Kind::Format => self.set_format(known.name, value)?,
            Kind::Fixed if name == "server_version" || self.get(name).as_deref() != Some(value) => {
                return Err(Error::new(
                    SqlState::CANT_CHANGE_RUNTIME_PARAM,
                    format!("parameter \"{}\" cannot be changed", known.name),
                ));
            }
            Kind::Fixed => value.to_owned(),
        };
        self.derive(name, &text);
        self.texts.insert(name.to_owned(), text);
        Ok(())
    }

    fn set_format(&mut self, name: &str, value: &str) -> Result<String, Error> {
        match name {
            "DateStyle" => {
                self.format.set_date_style(value)?;
                Ok(self.format.date_style().to_owned())
            }
            "IntervalStyle" => {
                self.format.set_interval_style(value)?;
                Ok(value.to_lowercase())
            }
            "TimeZone" => {
                self.format.set_time_zone(value)?;
                Ok(value.to_owned())
            }
            _ => {
                self.format.set_bytea_output(value)?;
                Ok(value.to_lowercase())
            }
        }
    }

    /// Keeps the typed forms in step.
    fn derive(&mut self, name: &str, text: &str) {
        let duration = || milliseconds(text).filter(|ms| *ms > 0).map(Duration::from_millis);
        match name {
            "statement_timeout" => self.statement_timeout = duration(),
            "transaction_timeout" => self.transaction_timeout = duration(),
            "extra_float_digits" => self.format.extra_float_digits = text.parse().unwrap_or(1),
            "default_transaction_read_only" => self.read_only_default = text == "on",
            "transaction_read_only" => self.read_only = Some(text == "on"),
            _ => {}
        }
    }

    fn reset(&mut self, name: &str, initial: &Values) -> Result<(), Error> {
        if find(name).is_none() && !name.contains('.') {
            return Err(unknown(name));
        }
        match initial.texts.get(name) {
            Some(text) if find(name).is_some_and(|known| known.kind != Kind::Fixed) => self.set(name, &text.clone())?,
            Some(_) => {}
            None => {
                self.texts.remove(name);
                let Some(known) = find(name) else { return Ok(()) };
                if known.kind == Kind::Format {
                    self.set_format(known.name, known.default)?;
                }
                self.derive(name, known.default);
            }
        }
        Ok(())
    }
}

fn unknown(name: &str) -> Error {
    Error::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

/// `unrecognized configuration parameter`, for SHOW.
pub fn unknown_setting(name: &str) -> Error {
    unknown(name)
}

fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "on" | "true" | "yes" | "1" | "t" | "y" => Some(true),
        "off" | "false" | "no" | "0" | "f" | "n" => Some(false),
        _ => None,
    }
}

/// `5s`, `100`, `1min`, `1.5h` in milliseconds.
fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let factor = match unit {
        "us" => 0.001,
        "" | "ms" => 1.0,
        "s" => 1_000.0,
        "min" => 60_000.0,
        "h" => 3_600_000.0,
        "d" => 86_400_000.0,
        _ => return None,
    };
    let value = number.trim().parse::<f64>().ok()? * factor;
    (0.0..=2_147_483_647.0).contains(&value).then(|| value.round() as u64)
}

/// As PostgreSQL prints times: in the largest unit that fits.
fn print_milliseconds(value: u64) -> String {
    for (size, unit) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")] {
        if value > 0 && value.is_multiple_of(size) {
            return format!("{}{unit}", value / size);
        }
    }
    if value == 0 { "0".to_owned() } else { format!("{value}ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::new("ann", &[("application_name".to_owned(), "psql".to_owned())]).expect("valid")
    }

    fn value(text: &str) -> SetValue {
        SetValue::Values(vec![text.to_owned()])
    }

    #[test]
    fn a_rollback_takes_settings_back_and_local_ones_end_anyway() {
        let mut s = settings();
        s.set(SetScope::Session, "statement_timeout", &value("5s")).expect("set");
        s.set(SetScope::Local, "timezone", &value("+2")).expect("set");
        assert_eq!(s.statement_timeout(), Some(Duration::from_secs(5)));
        s.end_transaction(false);
        assert_eq!(s.statement_timeout(), None);
        s.set(SetScope::Session, "statement_timeout", &value("1500")).expect("set");
        s.set(SetScope::Local, "extra_float_digits", &value("3")).expect("set");
        s.end_transaction(true);
        assert_eq!(s.get("statement_timeout").as_deref(), Some("1500ms"));
        assert_eq!(s.get("extra_float_digits").as_deref(), Some("1"));
        assert_eq!(s.format().extra_float_digits, 1);
    }

    #[test]
    fn reset_goes_back_to_the_startup_value() {
        let mut s = settings();
        s.set(SetScope::Session, "application_name", &value("x")).expect("set");
        s.reset(Some("application_name")).expect("reset");
        assert_eq!(s.get("application_name").as_deref(), Some("psql"));
        s.set(SetScope::Session, "datestyle", &value("ISO, DMY")).expect("set");
        s.reset(None).expect("reset");
        assert_eq!(s.get("DateStyle").as_deref(), Some("ISO, MDY"));
        assert_eq!(s.get("session_authorization").as_deref(), Some("ann"));
    }

    #[test]
    fn the_client_is_told_of_what_changed_once() {
        let mut s = settings();
        assert_eq!(s.changes(), []);
        s.set(SetScope::Session, "application_name", &value("y")).expect("set");
        assert_eq!(s.changes(), [("application_name".to_owned(), "y".to_owned())]);
        assert_eq!(s.changes(), []);
    }

    #[test]
    fn nonsense_is_refused() {
        let mut s = settings();
        let mut code = |name: &str, text: &str| {
            s.set(SetScope::Session, name, &value(text)).map_err(|error| error.code.as_str().to_owned())
        };
        assert_eq!(code("no_such", "1"), Err("42704".to_owned()));
        assert_eq!(code("my.own", "1"), Ok(()));
        assert_eq!(code("statement_timeout", "-1"), Err("22023".to_owned()));
        assert_eq!(code("statement_timeout", "1 week"), Err("22023".to_owned()));
        assert_eq!(code("server_version", "9.6"), Err("55P02".to_owned()));
        assert_eq!(code("extra_float_digits", "4"), Err("22023".to_owned()));
        assert_eq!(code("client_encoding", "LATIN1"), Err("0A000".to_owned()));
        assert_eq!(code("client_encoding", "'utf-8'"), Ok(()));
        assert_eq!(code("lock_timeout", "0"), Ok(()));
        assert_eq!(code("lock_timeout", "5s"), Err("0A000".to_owned()));
    }
}
