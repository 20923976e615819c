//! The way from a gateway to the leaders of one database's replica sets, and the service that receives what others send.
//!
//! Any member of a set may be asked: it answers with the leader it knows. What changes something is sent to one element only and is not
//! repeated once it may have arrived; looking for the leader goes on as long as nothing has.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures::future::BoxFuture;
use parking_lot::RwLock;
use quorate_management::orders::SetDirectory;
use quorate_raft::peers::{self, Class, Identity, Peers, Service};
use quorate_raft::{FIRST_FREE_SERVICE, InstanceId, vital};
use quorate_txn::protocol::{Failure, Operation, Request, Response, SetId};
use quorate_txn::traits::{CallError, LocalReads, Sets};
use tokio::time::Instant;

use super::element::Element;
use super::elements::Elements;

/// Requests to leaders.
pub const SERVICE: u8 = FIRST_FREE_SERVICE;

/// Between two rounds of looking for a leader.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A set of whose members a majority cannot even be connected to is given up after this long.
const HOPELESS_AFTER: Duration = Duration::from_millis(700);
/// What a panic says here: the state of the element may be half changed.
const SERVING: &str = "the service of a replica set panicked";

/// The sets of one database as this instance reaches them.
pub struct Router {
    database: u32,
    own: InstanceId,
    peers: Peers,
    elements: Weak<Elements>,
    timeout: Duration,
    sets: RwLock<HashMap<SetId, Members>>,
}

struct Members {
    instances: Vec<InstanceId>,
    preferred: Option<InstanceId>,
    /// Who answered last as leader.
    leader: Option<InstanceId>,
}

impl Router {
    /// A router that knows no set yet. `timeout` is `replica_set_timeout`.
    pub fn new(database: u32, peers: Peers, elements: &Arc<Elements>, timeout: Duration) -> Self {
        let own = peers.identity().instance;
        Self { database, own, peers, elements: Arc::downgrade(elements), timeout, sets: RwLock::default() }
    }

    /// Takes over which sets there are and where their members live.
    pub fn set_directory(&self, directory: &[SetDirectory]) {
        let mut sets = self.sets.write();
        for set in directory {
            let instances: Vec<_> = set.members.iter().map(|member| member.instance).collect();
            let preferred = set.members.iter().find(|m| m.element == set.preferred_leader).map(|m| m.instance);
            let leader = sets.get(&set.id).and_then(|known| known.leader).filter(|leader| instances.contains(leader));
            sets.insert(set.id, Members { instances, preferred, leader });
        }
    }

    /// Whether this instance's own element leads the set, as far as it knows.
    pub fn leads(&self, set: SetId) -> bool {
        self.element(set).is_some_and(|element| element.group().is_some_and(|group| group.term().is_some()))
    }

    fn element(&self, set: SetId) -> Option<Arc<Element>> {
        self.elements.upgrade()?.serving(self.database, set)
    }

    /// Whom to ask first, and the others.
    fn candidates(&self, set: SetId) -> Vec<InstanceId> {
        let sets = self.sets.read();
        let Some(members) = sets.get(&set) else { return Vec::new() };
        let hint = self.element(set).and_then(|element| element.group()?.leader_hint()).map(|(_, instance)| instance);
        let mut candidates: Vec<_> = [members.leader, hint, members.preferred].into_iter().flatten().collect();
        candidates.extend(&members.instances);
        let mut seen = Vec::with_capacity(candidates.len());
        candidates.retain(|candidate| {
            !seen.contains(candidate) && {
                seen.push(*candidate);
                true
            }
        });
        candidates
    }

    fn note_leader(&self, set: SetId, leader: Option<InstanceId>) {
        if let Some(members) = self.sets.write().get_mut(&set) {
            members.leader = leader.filter(|leader| members.instances.contains(leader));
        }
    }

    async fn ask(&self, to: InstanceId, set: SetId, request: &Request) -> Result<Response, Miss> {
        if to == self.own {
            let element = self.element(set).ok_or(Miss::Elsewhere)?;
            let (replica, request) = (element.replica(), request.clone());
            if matches!(
                request.operation,
                Operation::Heartbeat | Operation::Snapshot { .. } | Operation::Read { .. } | Operation::ReadCut { .. }
            ) {
                return Ok(vital(SERVING, replica.serve(request)).await);
            }
            // Driven to its end even if whoever asked has gone: the messages of a transaction are executed only once.
            let serving = async move { replica.serve(request).await };
            return tokio::spawn(vital(SERVING, serving)).await.map_err(|_| Miss::Lost);
        }
        let message = encode(self.database, set, request);
        match self.peers.call(to, Class::Bulk, SERVICE, message).await {
            Ok(bytes) => postcard::from_bytes(&bytes).map_err(|error| {
                tracing::error!(instance = to, set, %error, "an instance answered with something else");
                Miss::Lost
            }),
            Err(peers::CallError::NotSent { .. }) => Err(Miss::Unreachable),
            // The service refuses before it looks at a request: nothing was done.
            Err(peers::CallError::Refused { .. }) => Err(Miss::Elsewhere),
            Err(peers::CallError::Lost { .. }) => Err(Miss::Lost),
        }
    }
}

/// Why one instance did not answer.
enum Miss {
    Unreachable,
    Elsewhere,
    Lost,
}

#[async_trait]
impl Sets for Router {
    async fn call(&self, set: SetId, request: Request) -> Result<Response, CallError> {
        let begun = Instant::now();
        loop {
            let mut candidates = self.candidates(set);
            let (mut asked, mut unreachable) = (Vec::new(), 0);
            while let Some(to) = candidates.iter().find(|c| !asked.contains(*c)).copied() {
                asked.push(to);
                match self.ask(to, set, &request).await {
                    Ok(Response { result: Err(Failure::NotLeader { hint }), .. }) => {
                        self.note_leader(set, None);
                        if let Some(hint) = hint.filter(|hint| !asked.contains(hint)) {
                            candidates.insert(0, hint);
                        }
                    }
                    Ok(response) => {
                        self.note_leader(set, Some(to));
                        return Ok(response);
                    }
                    Err(Miss::Elsewhere) => {}
                    Err(Miss::Unreachable) => unreachable += 1,
                    Err(Miss::Lost) => {
                        self.note_leader(set, None);
                        return Err(CallError::Lost(set));
                    }
                }
            }
            let members = self.sets.read().get(&set).map_or(0, |members| members.instances.len());
            let hopeless = unreachable * 2 >= members && begun.elapsed() >= HOPELESS_AFTER;
            if hopeless || begun.elapsed() >= self.timeout {
                return Err(CallError::Unavailable(set));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    fn local(&self, set: SetId) -> Option<Arc<dyn LocalReads>> {
        self.element(set).map(|element| element as Arc<dyn LocalReads>)
    }
}

/// Database and set, then the request in postcard.
fn encode(database: u32, set: SetId, request: &Request) -> Bytes {
    let mut head = BytesMut::with_capacity(256);
    head.put_u32(database);
    head.put_u32(set);
    let bytes = postcard::to_extend(request, head.to_vec()).expect("a request has no unserialisable parts");
    bytes.into()
}

/// Receives requests for this instance's elements.
pub struct Receiver {
    /// The elements.
    pub elements: Weak<Elements>,
    /// Where requests run: not beside consensus.
    pub runtime: tokio::runtime::Handle,
}

impl Service for Receiver {
    fn call(&self, _from: Identity, mut message: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        if message.remaining() < 8 {
            return Box::pin(futures::future::ready(Err("the request is cut short".into())));
        }
        let (database, set) = (message.get_u32(), message.get_u32());
        let element = self.elements.upgrade().and_then(|elements| elements.serving(database, set));
        let Some(element) = element else {
            let text = format!("replica set {set} of database {database} is not loaded here");
            return Box::pin(futures::future::ready(Err(text)));
        };
        let answer = self.runtime.spawn(async move {
            let request: Request = postcard::from_bytes(&message).map_err(|e| format!("decode a request: {e}"))?;
            let response = vital(SERVING, element.replica().serve(request)).await;
            postcard::to_stdvec(&response).map(Bytes::from).map_err(|e| e.to_string())
        });
        Box::pin(async move { answer.await.unwrap_or_else(|e| Err(format!("the request failed: {e}"))) })
    }
}
