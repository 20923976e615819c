//! A refusal as it crosses the wire: a gRPC status with a `Refusal` in its details.
//!
//! The status' own message repeats text and hint, so that a tool which knows nothing of the details still says
//! everything. A status without details, or with details that cannot be decoded, is a refusal without number.

use std::fmt;

use prost::Message as _;
use tonic::{Code, Status};

use crate::admin;

/// Why a request was refused or failed, with what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Stable number of this kind of refusal; 0 when it has none.
    pub number: u32,
    /// One sentence without full stop: what is wrong.
    pub text: String,
    /// What to do next; empty when there is nothing to advise.
    pub hint: String,
}

impl Refused {
    /// The status that carries this refusal.
    #[must_use]
    pub fn into_status(self, code: Code) -> Status {
        let message = if self.hint.is_empty() { self.text.clone() } else { format!("{}. {}", self.text, self.hint) };
        let details = admin::Refusal { number: self.number, text: self.text, hint: self.hint };
        Status::with_details(code, message, details.encode_to_vec().into())
    }

    /// What a status says, whether one of our refusals is in its details or not.
    #[must_use]
    pub fn from_status(status: &Status) -> Self {
        match admin::Refusal::decode(status.details()) {
            Ok(refusal) if !refusal.text.is_empty() => {
                Self { number: refusal.number, text: refusal.text, hint: refusal.hint }
            }
            _ => Self { number: 0, text: status.message().to_owned(), hint: String::new() },
        }
    }
}

impl fmt::Display for Refused {
    /// `Error <n>: <text>`, or `Error : <text>` when it has no number.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.number == 0 {
            write!(formatter, "Error : {}", self.text)
        } else {
            write!(formatter, "Error {}: {}", self.number, self.text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_survives_the_status() {
        let refused = Refused {
            number: 2,
            text: "Database demo does not exist".to_owned(),
            hint: "quorate-admin dbCreate demo".to_owned(),
        };
        let status = refused.clone().into_status(Code::NotFound);
        assert_eq!(status.message(), "Database demo does not exist. quorate-admin dbCreate demo");
        assert_eq!(Refused::from_status(&status), refused);
        assert_eq!(refused.to_string(), "Error 2: Database demo does not exist");
    }

    #[test]
    fn status_without_details_has_no_number() {
        let refused = Refused::from_status(&Status::internal("the disk is full"));
        assert_eq!(refused.to_string(), "Error : the disk is full");
    }
}
