//! `dbVerify`: a mark in each replica set's log, at which every replica hashes its rows; the hashes are gathered and compared.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::future::{BoxFuture, join_all};
use quorate_management::model::{Database, ReplicaSet};
use quorate_management::service::SetHashes;
use quorate_management::{ElementNumber, InstanceNumber, Model};
use quorate_raft::FIRST_FREE_SERVICE;
use quorate_raft::peers::{CallError, Class, Identity, Service};
use quorate_txn::clock::Timestamp;
use quorate_txn::protocol::{Operation, Reply, Request, Sender, SetId};
use quorate_txn::traits::Sets as _;
use tokio::time::Instant;

use super::Running;
use crate::data::elements::Elements;
use crate::data::router::Router;

/// Asks an element for the hash at a mark.
pub(crate) const SERVICE: u8 = FIRST_FREE_SERVICE + 3;

/// How long one element may take to apply up to the mark and hash its rows.
const HASH_MAX: Duration = Duration::from_secs(120);

const ASK_AGAIN: Duration = Duration::from_millis(50);

/// What an element found: the position and the hash.
type Found = (u64, String);

/// Answers other instances.
pub(crate) struct Receiver {
    pub elements: Weak<Elements>,
}

impl Service for Receiver {
    fn call(&self, _from: Identity, message: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let found = self.elements.upgrade().ok_or_else(|| "the instance is stopping".to_owned()).and_then(|elements| {
            let mut message = message;
            if message.remaining() != 16 {
                return Err("the message is cut short".to_owned());
            }
            hash(&elements, message.get_u32(), message.get_u32(), message.get_u64())
        });
        let answer = found.and_then(|found| serde_json::to_vec(&found).map(Bytes::from).map_err(|e| e.to_string()));
        Box::pin(futures::future::ready(answer))
    }
}

/// The hash of this instance's element, once it is there.
fn hash(elements: &Elements, database: u32, set: SetId, nonce: u64) -> Result<Option<Found>, String> {
    let element = elements.serving(database, set).ok_or_else(|| "the element is not loaded".to_owned())?;
    Ok(element.replica().verify_hash(nonce).map(|rows| (rows.index, format!("{:016x}", rows.hash))))
}

pub(crate) async fn verify(
    running: &Running,
    router: &Arc<Router>,
    model: &Model,
    database: &Database,
) -> Vec<SetHashes> {
    join_all(database.sets.iter().map(|set| verify_set(running, router, model, database.number, set))).await
}

async fn verify_set(
    running: &Running,
    router: &Arc<Router>,
    model: &Model,
    database: u32,
    set: &ReplicaSet,
) -> SetHashes {
    let nonce = rand::random::<u64>();
    let request =
        Request { sender: Sender::Set(set.id), clock: Timestamp::ZERO, operation: Operation::Checkpoint { nonce } };
    let failed = |message: String| SetHashes { set: set.id, index: 0, hashes: BTreeMap::new(), message };
    match router.call(set.id, request).await {
        Ok(response) => match response.result {
            Ok(Reply::Checkpoint) => {}
            other => return failed(format!("the mark was not taken: {other:?}")),
        },
        Err(error) => return failed(error.to_string()),
    }
    let until = Instant::now() + HASH_MAX;
    let asked = set.members.iter().map(|element| async move {
        let instance = model.elements[element].instance;
        let known = &model.instances[&instance];
        let found = match known.up {
            true => ask(running, instance, database, set.id, nonce, until).await,
            false => Err("its instance is down".to_owned()),
        };
        (*element, found)
    });
    let answers: BTreeMap<ElementNumber, Result<Found, String>> = join_all(asked).await.into_iter().collect();
    let index = answers.values().flatten().map(|(index, _)| *index).max().unwrap_or(0);
    let hashes = answers.into_iter().map(|(element, answer)| {
        let hash = answer.and_then(|(at, hash)| {
            if at == index { Ok(hash) } else { Err(format!("it hashed its rows at {at} instead of {index}")) }
        });
        (element, hash)
    });
    SetHashes { set: set.id, index, hashes: hashes.collect(), message: String::new() }
}

async fn ask(
    running: &Running,
    instance: InstanceNumber,
    database: u32,
    set: SetId,
    nonce: u64,
    until: Instant,
) -> Result<Found, String> {
    let mut message = BytesMut::with_capacity(16);
    message.put_u32(database);
    message.put_u32(set);
    message.put_u64(nonce);
    let message = message.freeze();
    loop {
        let found = if instance == running.membership.instance {
            hash(&running.elements, database, set, nonce)?
        } else {
            let answer = running.peers.call(instance, Class::Bulk, SERVICE, message.clone()).await;
            // The instance stands beside this in the operator's table.
            let bytes = answer.map_err(|error| match error {
                CallError::NotSent { .. } => "its instance cannot be reached".to_owned(),
                CallError::Lost { .. } => "the connection to its instance broke".to_owned(),
                CallError::Refused { message, .. } => message,
            })?;
            serde_json::from_slice(&bytes).map_err(|error| error.to_string())?
        };
        match found {
            Some(found) => return Ok(found),
            None if Instant::now() >= until => return Err(format!("no hash within {} s", HASH_MAX.as_secs())),
            None => tokio::time::sleep(ASK_AGAIN).await,
        }
    }
}
