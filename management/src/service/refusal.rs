//! What operators' tools are told of a failure: the gRPC status, with number, text and advice.

use quorate_proto as proto;
use tonic::{Code, Status as GrpcStatus};

use super::PortError;
use crate::command::Refused;

/// The gRPC status of a failure.
pub(super) fn refusal(error: PortError) -> GrpcStatus {
    let (code, refused) = match error {
        PortError::Refused(refused) => {
            let code = code(&refused);
            let refused = proto::Refused { number: refused.number(), text: refused.to_string(), hint: refused.hint() };
            (code, refused)
        }
        PortError::NotActive { .. } => {
            (Code::Unavailable, plain("no management instance is active", "Repeat the command"))
        }
        PortError::NoMajority(why) => {
            let why = if why.is_empty() { String::new() } else { format!(": {why}") };
            let text = format!("no majority of the management instances answers{why}");
            (Code::Unavailable, plain(&text, "Start the missing instances; SQL goes on without them"))
        }
        PortError::Unknown(why) => (
            Code::Aborted,
            plain(
                &format!("the outcome is unknown: {why}"),
                "See whether it was done, before repeating it: quorate-admin dbStatus -all",
            ),
        ),
        PortError::Failed(why) => (Code::Internal, plain(&why, "")),
    };
    refused.into_status(code)
}

fn plain(text: &str, hint: &str) -> proto::Refused {
    proto::Refused { number: 0, text: text.to_owned(), hint: hint.to_owned() }
}

fn code(refused: &Refused) -> Code {
    match refused {
        Refused::NoDatabase(_)
        | Refused::NoInstance(_)
        | Refused::NoElement { .. }
        | Refused::NoTransaction { .. }
        | Refused::NoInstanceNumber(_)
        | Refused::NoElementNumber(_) => Code::NotFound,
        Refused::GridExists(_) | Refused::DatabaseExists(_) => Code::AlreadyExists,
        Refused::WrongK(_) | Refused::WrongMode(_) | Refused::WrongName { .. } | Refused::AmbiguousInstance { .. } => {
            Code::InvalidArgument
        }
        Refused::NoGrid
        | Refused::NoPlace { .. }
        | Refused::NothingToCreate { .. }
        | Refused::AlreadyOpen(_)
        | Refused::NotLoaded(_)
        | Refused::AlreadyClosed(_)
        | Refused::StillOpen(_)
        | Refused::StillClosing { .. }
        | Refused::StillLoaded(_)
        | Refused::BeingDestroyed(_)
        | Refused::ForeignInstance(_)
        | Refused::UnfitInstance { .. }
        | Refused::OldIncarnation { .. }
        | Refused::HasSessions { .. }
        | Refused::InMap { .. }
        | Refused::Forbidden { .. } => Code::FailedPrecondition,
    }
}
