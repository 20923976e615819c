//! The model, and commands, as bytes: JSON with a version, since they are few, small and worth reading.
//!
//! A version that is not known is an error, never a guess: the replica that meets it has to stop.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::command::Command;
use crate::model::Model;

/// Version of both encodings.
const FORMAT: u32 = 1;

/// Bytes that cannot be understood.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// Damaged, or not ours.
    #[error("decode management {what}: {source}")]
    Damaged {
        /// `state` or `command`.
        what: &'static str,
        /// Where it fails.
        source: serde_json::Error,
    },
    /// Written by another version of the product.
    #[error("management {what} has format {found}, this version knows {FORMAT}: start the version that wrote it")]
    Version {
        /// `state` or `command`.
        what: &'static str,
        /// The format found.
        found: u32,
    },
}

#[derive(Serialize)]
struct Written<'a, T> {
    format: u32,
    body: &'a T,
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

#[derive(Deserialize)]
struct Read<T> {
    body: T,
}

fn encode<T: Serialize>(body: &T) -> Vec<u8> {
    serde_json::to_vec(&Written { format: FORMAT, body })
        .expect("these types have text keys and no failing serialisers")
}

fn decode<T: for<'de> Deserialize<'de>>(what: &'static str, bytes: &[u8]) -> Result<T, DecodeError> {
    let damaged = |source| DecodeError::Damaged { what, source };
    // The version first: a newer body need not fit our types.
    let Format { format } = serde_json::from_slice(bytes).map_err(damaged)?;
    if format != FORMAT {
        return Err(DecodeError::Version { what, found: format });
    }
    Ok(serde_json::from_slice::<Read<T>>(bytes).map_err(damaged)?.body)
}

impl Model {
    /// The whole state.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// State from [`Model::encode`].
    ///
    /// # Errors
    /// When the bytes are damaged or of another version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode("state", bytes)
    }
}

impl Command {
    /// For the log.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// A command from [`Command::encode`].
    ///
    /// # Errors
    /// When the bytes are damaged or of another version; the replica must stop then, since it cannot apply the entry.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode("command", bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn state_survives() {
        let model = testing::a1_open();
        assert_eq!(Model::decode(&model.encode()).expect("own bytes"), model);
    }

    #[test]
    fn another_version_is_named() {
        let text = String::from_utf8(testing::a1_open().encode()).expect("JSON is UTF-8").replacen(":1,", ":7,", 1);
        let error = Model::decode(text.as_bytes()).expect_err("format 7 is unknown");
        assert_eq!(
            error.to_string(),
            "management state has format 7, this version knows 1: start the version that wrote it"
        );
    }

    #[test]
    fn damage_is_an_error() {
        let bytes = testing::a1_open().encode();
        assert!(matches!(Model::decode(&bytes[..bytes.len() - 2]), Err(DecodeError::Damaged { .. })));
    }
}
