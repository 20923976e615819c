//! Settings as `pg_settings` shows them.

use super::View;
use super::known::{KNOWN, Kind};

/// A setting with what there is to say about it.
pub struct Described {
    /// As SHOW spells it.
    pub name: String,
    /// Its value, as SHOW prints it.
    pub value: String,
    /// What it is about.
    pub description: &'static str,
    /// `internal` if it cannot be changed, else `user`.
    pub context: &'static str,
    /// `bool`, `integer`, `enum` or `string`.
    pub kind: &'static str,
    /// In which part of a manual it stands.
    pub category: &'static str,
    /// Its value in a new session.
    pub default: Option<&'static str>,
    /// The least value, of integers.
    pub least: Option<String>,
    /// The greatest value, of integers.
    pub greatest: Option<String>,
    /// The values, of enumerations.
    pub words: &'static [&'static str],
    /// Whether it has the value of a new session.
    pub is_default: bool,
}

impl View {
    /// All settings, for `pg_settings`.
    pub fn described(&self) -> Vec<Described> {
        let known = KNOWN.iter().map(|known| {
            let value = self.get(known.name).unwrap_or_default();
            let (kind, bounds, words) = match known.kind {
                Kind::Bool => ("bool", None, &[][..]),
                Kind::Int(least, greatest) => ("integer", Some((least, greatest)), &[][..]),
                Kind::Milliseconds | Kind::NoLimit => ("integer", Some((0, i64::from(i32::MAX))), &[][..]),
                Kind::Word(words) => ("enum", None, words),
                Kind::Text | Kind::Format | Kind::Encoding | Kind::Fixed => ("string", None, &[][..]),
            };
            Described {
                name: known.name.to_owned(),
                description: known.description,
                context: if known.kind == Kind::Fixed { "internal" } else { "user" },
                kind,
                category: if known.kind == Kind::Fixed { "Preset Options" } else { "Client Connection Defaults" },
                default: Some(known.default),
                least: bounds.map(|(least, _)| least.to_string()),
                greatest: bounds.map(|(_, greatest)| greatest.to_string()),
                words,
                is_default: value == known.default,
                value,
            }
        });
        let own = self.0.texts.iter().filter(|(name, _)| name.contains('.')).map(|(name, value)| Described {
            name: name.clone(),
            value: value.clone(),
            description: "",
            context: "user",
            kind: "string",
            category: "Customized Options",
            default: None,
            least: None,
            greatest: None,
            words: &[],
            is_default: false,
        });
        known.chain(own).collect()
    }
}
