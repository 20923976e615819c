//! The contract between operators' tools and a grid: generated types of `proto/admin.proto`, and refusals.
//!
//! Instances talk to each other in their own way; this crate holds only what `quorate-admin` speaks, so that the
//! tool builds without the server. The generated types carry serde, which is what `quorate-admin --json` prints.

mod refusal;

pub use refusal::Refused;

/// Types, client and server of the service `quorate.admin.v1.Admin`.
#[allow(missing_docs, clippy::all)]
pub mod admin {
    tonic::include_proto!("quorate.admin.v1");

    pub use admin_client::AdminClient;
    pub use admin_server::{Admin, AdminServer};
}

/// SQL port of the first instance by default; the others follow it.
pub const DEFAULT_SQL_PORT: u16 = 7500;

/// Port for operators and peers of the first instance by default: ten above the SQL port.
pub const DEFAULT_PEER_PORT: u16 = DEFAULT_SQL_PORT + 10;
