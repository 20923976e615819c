//! One call to the grid, through the first instance that answers.
//!
//! Failures are sorted by what the operator can conclude. A change whose connection broke may have been made: such a request is
//! never sent a second time. A request that could not be sent, or was answered by "nothing was decided", goes to the next instance.

use std::time::Duration;

use quorate_proto::Refused;
use quorate_proto::admin::AdminClient;
use thiserror::Error;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use crate::Exit;

/// How long connecting to one instance may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a command did not succeed.
#[derive(Debug, Error)]
pub enum Failure {
    /// The grid said no, or that it failed.
    #[error("{0}")]
    Refused(Refused),
    /// Nobody could be asked. The lines say why, one an instance.
    #[error("Error : No instance of the grid decides\n{}", .0.join("\n"))]
    Unreachable(Vec<String>),
    /// `-wait` took longer than allowed.
    #[error("Error : Timed out after {seconds} s: {state}")]
    TimedOut {
        /// The limit.
        seconds: u64,
        /// How far it came.
        state: String,
    },
    /// Something of this program's own.
    #[error("Error : {0}")]
    Other(String),
}

impl Failure {
    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Refused(_) | Self::Other(_) => Exit::Refused,
            Self::Unreachable(_) => Exit::Unreachable,
            Self::TimedOut { .. } => Exit::TimedOut,
        }
    }

    /// What to do next; empty when there is nothing to advise.
    #[must_use]
    pub fn hint(&self) -> &str {
        match self {
            Self::Refused(refused) => &refused.hint,
            Self::Unreachable(_) => "Start the instances, or name others: quorate-admin --at HOST:PORT …",
            Self::TimedOut { .. } => "The grid goes on with it; see how far it is: quorate-admin dbStatus -all",
            Self::Other(_) => "",
        }
    }
}

/// What a request does when it is sent twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing more: it may be sent again.
    Question,
    /// Perhaps another change: it is sent once.
    Change,
}

/// The instances that may be asked.
#[derive(Clone, Debug)]
pub struct Grid {
    addresses: Vec<String>,
}

impl Grid {
    /// Asks these, `host:port`, in this order.
    #[must_use]
    pub fn new(addresses: &[String]) -> Self {
        Self { addresses: addresses.to_vec() }
    }

    /// Sends a request to the first instance that answers.
    ///
    /// # Errors
    /// [`Failure::Refused`] when the grid refuses it or its outcome is unknown, [`Failure::Unreachable`] when nobody decides.
    pub async fn call<T>(
        &self,
        kind: Kind,
        limit: Duration,
        request: impl AsyncFn(AdminClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let mut reasons = Vec::new();
        for address in &self.addresses {
            let client = match connect(address).await {
                Ok(client) => client,
                Err(reason) => {
                    reasons.push(format!("  {address}: {reason}"));
                    continue;
                }
            };
            let status = match tokio::time::timeout(limit, request(client)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => status,
                Err(_) => Status::new(Code::DeadlineExceeded, format!("no answer within {} s", limit.as_secs())),
            };
            // Only our own refusals have details; others are made up by the connection.
            let said = !status.details().is_empty();
            let refused = Refused::from_status(&status);
            match (status.code(), said, kind) {
                (Code::Unavailable, true, _) => reasons.push(format!("  {address}: {}", refused.text)),
                (_, false, Kind::Question) if status.code() != Code::Unimplemented => {
                    reasons.push(format!("  {address}: {}", cause(&status, &refused.text)));
                }
                (Code::Unimplemented, false, _) => {
                    let text = format!(
                        "{address} does not know this command: it runs another version, or is no Quorate instance"
                    );
                    return Err(Failure::Refused(Refused { number: 0, text, hint: String::new() }));
                }
                (_, false, Kind::Change) => return Err(Failure::Refused(unknown(address, &refused.text))),
                _ => return Err(Failure::Refused(refused)),
            }
        }
        Err(Failure::Unreachable(reasons))
    }
}

fn unknown(address: &str, why: &str) -> Refused {
    Refused {
        number: 0,
        text: format!("The connection to {address} broke; whether the command was taken is unknown: {why}"),
        hint: "See whether it was done, before repeating it: quorate-admin dbStatus -all".to_owned(),
    }
}

async fn connect(address: &str) -> Result<AdminClient<Channel>, String> {
    let endpoint =
        Endpoint::from_shared(format!("http://{address}")).map_err(|_| "this is not HOST:PORT".to_owned())?;
    let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT);
    match tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect()).await {
        Ok(Ok(channel)) => Ok(AdminClient::new(channel)),
        Ok(Err(error)) => Err(root(&error)),
        Err(_) => Err(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())),
    }
}

/// The innermost cause: the layers around it say only that something failed.
fn root(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn cause(status: &Status, text: &str) -> String {
    std::error::Error::source(status).map_or_else(|| text.to_owned(), root)
}
