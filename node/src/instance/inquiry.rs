//! Answers to what the active management instance asks on behalf of an operator: this instance's sessions and elements.

use std::sync::{Arc, Weak};
use std::time::SystemTime;

use bytes::Bytes;
use futures::future::BoxFuture;
use quorate_gateway::ConnectionInfo;
use quorate_management::InstanceNumber;
use quorate_management::inquiry::{Answer, Question};
use quorate_proto::admin as pb;
use quorate_raft::FIRST_FREE_SERVICE;
use quorate_raft::peers::{Class, Identity, Peers, Service};

use super::databases::KnownDatabases;
use crate::data::elements::Elements;

/// Asks an instance.
pub(crate) const SERVICE: u8 = FIRST_FREE_SERVICE + 4;

/// Answers other instances.
pub(crate) struct Receiver {
    pub elements: Weak<Elements>,
    pub databases: Weak<KnownDatabases>,
    /// Where questions are answered: not beside consensus.
    pub runtime: tokio::runtime::Handle,
}

impl Service for Receiver {
    fn call(&self, _from: Identity, message: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let (Some(elements), Some(databases)) = (self.elements.upgrade(), self.databases.upgrade()) else {
            return Box::pin(futures::future::ready(Err("the instance is stopping".into())));
        };
        let answer = self.runtime.spawn(async move {
            let question = serde_json::from_slice(&message).map_err(|error| format!("decode a question: {error}"))?;
            let answer = answer(&elements, &databases, &question).await?;
            serde_json::to_vec(&answer).map(Bytes::from).map_err(|error| error.to_string())
        });
        Box::pin(async move { answer.await.unwrap_or_else(|error| Err(format!("the answer failed: {error}"))) })
    }
}

/// Asks another instance.
pub(crate) async fn ask(peers: &Peers, instance: InstanceNumber, question: &Question) -> Result<Answer, String> {
    let message = serde_json::to_vec(question).map_err(|error| error.to_string())?;
    let bytes = peers.call(instance, Class::Bulk, SERVICE, Bytes::from(message)).await.map_err(|e| e.to_string())?;
    serde_json::from_slice(&bytes).map_err(|error| format!("decode the answer: {error}"))
}

/// This instance's answer.
pub(crate) async fn answer(
    elements: &Arc<Elements>,
    databases: &KnownDatabases,
    question: &Question,
) -> Result<Answer, String> {
    Ok(match question {
        Question::Sessions { database } => {
            let incarnation = databases.incarnation();
            Answer::Sessions(databases.connections(database).iter().map(|info| session(info, incarnation)).collect())
        }
        Question::EndTransaction { database, incarnation, process_id, transaction } => Answer::Ended(
            *incarnation == databases.incarnation()
                && databases.end_transaction(database, *process_id, *transaction).await,
        ),
        Question::Holdings { database } => Answer::Holdings(elements.holdings(*database)),
        Question::Elements { database } => {
            let (elements, database) = (elements.clone(), *database);
            // The sizes of files are asked of the file system.
            let details = tokio::task::spawn_blocking(move || elements.details(database));
            Answer::Elements(details.await.map_err(|error| error.to_string())?)
        }
    })
}

fn session(info: &ConnectionInfo, incarnation: u32) -> pb::Connection {
    let state = match (info.busy, info.transaction) {
        (true, _) => "active",
        (false, None) => "idle",
        (false, Some(block)) if block.failed => "idle in transaction (aborted)",
        (false, Some(_)) => "idle in transaction",
    };
    pb::Connection {
        process_id: info.process_id,
        user: info.user.clone(),
        application_name: info.application_name.clone(),
        client: info.client.to_string(),
        since_ms: millis(info.since),
        state: state.to_owned(),
        transaction: info
            .transaction
            .map(|open| format!("{incarnation}.{}.{}", info.process_id, open.number))
            .unwrap_or_default(),
        transaction_since_ms: info.transaction.map_or(0, |block| millis(block.since)),
        transaction_id: info.transaction.map_or(0, |block| block.id),
        ..Default::default()
    }
}

fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
