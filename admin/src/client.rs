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
/// How often an instance that owes an answer is asked for a sign of life, and how long it may take to give one. A process that hangs gives none.
const LIFE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(5));

/// Why a command did not succeed.
#[derive(Debug, Error)]
pub enum Failure {
    /// The grid said no, or that it failed.
    #[error("{0}")]
    Refused(Refused),
    /// Nobody could be asked, or nobody could decide; nothing was done.
    #[error("Error : {}\n{}", headline(*.answered), .reasons.join("\n"))]
    Unreachable {
        /// Whether an instance answered, which could not reach those who decide.
        answered: bool,
        /// Why, one line an instance.
        reasons: Vec<String>,
    },
    /// `-wait` took longer than allowed.
    #[error("Error : Timed out after {seconds} s: {state}")]
    TimedOut {
        /// The limit.
        seconds: u64,
        /// How far it came.
        state: String,
        /// What to do, and where to look.
        hint: String,
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
            Self::Unreachable { .. } => Exit::Unreachable,
            Self::TimedOut { .. } => Exit::TimedOut,
        }
    }

    /// What to do next; empty when there is nothing to advise.
    #[must_use]
    pub fn hint(&self) -> &str {
        match self {
            Self::Refused(refused) => &refused.hint,
            Self::Unreachable { answered: true, .. } => {
                "Start the missing management instances; SQL goes on without them"
            }
            Self::Unreachable { answered: false, .. } => {
                "Start the instances, or name others: quorate-admin --at HOST:PORT …"
            }
            Self::TimedOut { hint, .. } => hint,
            Self::Other(_) => "",
        }
    }
}

fn headline(answered: bool) -> &'static str {
    match answered {
        true => "The grid cannot decide at the moment; nothing was done",
        false => "No instance of the grid answers",
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
        let mut answered = false;
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
                (Code::Unavailable, true, _) => {
                    answered = true;
                    reasons.push(format!("  {address}: {}", refused.text));
                }
                (_, false, _) if is_foreign(&cause(&status, &refused.text)) => {
                    reasons.push(format!("  {address}: {FOREIGN}"));
                }
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
        Err(Failure::Unreachable { answered, reasons })
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
    let endpoint =
        endpoint.connect_timeout(CONNECT_TIMEOUT).http2_keep_alive_interval(LIFE.0).keep_alive_timeout(LIFE.1);
    match tokio::time::timeout(CONNECT_TIMEOUT, endpoint.connect()).await {
        Ok(Ok(channel)) => Ok(AdminClient::new(channel)),
        Ok(Err(error)) => {
            let cause = root(&error);
            Err(if is_foreign(&cause) { FOREIGN.to_owned() } else { cause })
        }
        Err(_) => Err(format!("no connection within {} s", CONNECT_TIMEOUT.as_secs())),
    }
}

/// What is said of a port that answers in another protocol.
const FOREIGN: &str =
    "this port speaks another protocol; is it for SQL? quorate-admin takes the peer address, usually port 7510";

/// Whether HTTP/2 took an answer for a frame that cannot be: PostgreSQL's protocol, or any other text, looks like one that is too long.
/// Nothing that was sent there was understood.
fn is_foreign(cause: &str) -> bool {
    cause.contains("frame with invalid size")
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
