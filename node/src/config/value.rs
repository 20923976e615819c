//! Values of configuration keys. A flag gives text where the file may give a number, a boolean or a list; both are read alike.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

/// `host:port`; an IPv6 address stands in brackets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Name or IP address, without brackets.
    pub host: String,
    /// Port, not 0.
    pub port: u16,
}

impl Address {
    /// An address.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port }
    }

    /// Whether only this machine can reach it. Names other than `localhost` count as reachable by others.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Whether it means every address of the machine.
    #[must_use]
    pub fn is_unspecified(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("\"{text}\" is not HOST:PORT");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bare {
            Some(bare) => bare.parse::<std::net::Ipv6Addr>().map(|_| bare).map_err(|_| wrong())?,
            None if host.is_empty() || host.contains(|letter: char| ":[]/ ".contains(letter)) => return Err(wrong()),
            None => host,
        };
        match port.parse() {
            Ok(0) => Err(format!("\"{text}\" has port 0; others have to know the port")),
            Ok(port) => Ok(Self::new(host, port)),
            Err(_) => Err(wrong()),
        }
    }
}

/// A value as it was given.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a>(&'a toml::Value);

impl<'a> Value<'a> {
    pub(super) fn new(value: &'a toml::Value) -> Self {
        Self(value)
    }

    fn expected<T>(self, what: &str) -> Result<T, String> {
        Err(format!("{} is not {what}", self.0))
    }

    pub(super) fn text(self) -> Result<String, String> {
        match self.0.as_str() {
            Some("") => Err("it is empty".to_owned()),
            Some(text) => Ok(text.to_owned()),
            None => self.expected("text"),
        }
    }

    /// A name as grids and instances have it.
    pub(super) fn name(self) -> Result<String, String> {
        let name = self.text()?;
        let fits = name.len() <= 63
            && name.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
            && name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter));
        if fits {
            Ok(name)
        } else {
            Err(format!("\"{name}\" is not a name: up to 63 letters, digits, _ and -, not starting with -"))
        }
    }

    /// A list, or text with commas.
    pub(super) fn texts(self) -> Result<Vec<String>, String> {
        if let Some(text) = self.0.as_str() {
            return Ok(text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect());
        }
        let Some(list) = self.0.as_array() else { return self.expected("a list of texts") };
        list.iter().map(|item| Value(item).text()).collect()
    }

    pub(super) fn address(self) -> Result<Address, String> {
        self.text()?.parse()
    }

    pub(super) fn addresses(self) -> Result<Vec<Address>, String> {
        self.texts()?.iter().map(|text| text.parse()).collect()
    }

    pub(super) fn boolean(self) -> Result<bool, String> {
        match (self.0.as_bool(), self.0.as_str()) {
            (Some(value), _) => Ok(value),
            (None, Some("true" | "on")) => Ok(true),
            (None, Some("false" | "off")) => Ok(false),
            _ => self.expected("true or false"),
        }
    }

    pub(super) fn count(self, max: u32) -> Result<u32, String> {
        let number = match (self.0.as_integer(), self.0.as_str()) {
            (Some(number), _) => u32::try_from(number).ok(),
            (None, Some(text)) => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if number <= max => Ok(number),
            _ => self.expected(&format!("a number from 0 to {max}")),
        }
    }

    /// Bytes: a number, or text such as `512MiB`.
    pub(super) fn bytes(self) -> Result<u64, String> {
        let what = "a number of bytes, such as 512MiB";
        if let Some(number) = self.0.as_integer() {
            return u64::try_from(number).or_else(|_| self.expected(what));
        }
        let units =
            [("", 1), ("B", 1), ("kB", 1000), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];
        let Some((number, unit)) = self.0.as_str().and_then(split_unit) else { return self.expected(what) };
        match units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
            Some((_, factor)) => number.checked_mul(*factor).map_or_else(|| self.expected(what), Ok),
            None => self.expected(what),
        }
    }

    /// A time with its unit, such as `150ms`. A bare number would be a guess.
    pub(super) fn time(self) -> Result<Duration, String> {
        let what = "a time with its unit, such as 150ms, 5s, 10min or 1h";
        let units = [("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000)];
        let Some((number, unit)) = self.0.as_str().and_then(split_unit) else { return self.expected(what) };
        let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else { return self.expected(what) };
        match number.checked_mul(*factor) {
            Some(0) => Err("it is zero".to_owned()),
            Some(ms) if ms <= 86_400_000 * 365 => Ok(Duration::from_millis(ms)),
            _ => self.expected("a time of at most a year"),
        }
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, text[end..].trim()))
}
