//! Connections between the instances of a grid.
//!
//! Each instance keeps two connections to each peer, one for consensus (appends, votes, leadership proofs), one for bulk (SQL requests,
//! snapshots), so that neither waits behind the other. A connection carries many requests at once; messages that are ready together go out
//! in one write. Requests of one connection reach their service in the order in which they were sent; answers come in any order.
//!
//! A call that fails says whether the peer can have seen it: [`CallError::NotSent`] certainly not, [`CallError::Lost`] perhaps. The connection is
//! dropped, and all its calls are lost, when the socket breaks or when the peer is silent for [`SILENCE_MAX`] although it was asked.
//!
//! Handshakes carry the wire version, the grid's UUID and the instance numbers: a stranger is refused by name.

mod frame;
mod link;
mod server;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::types::InstanceId;
use link::Link;

pub use link::Call;

/// A peer that is asked and silent for this long is taken for unreachable.
pub const SILENCE_MAX: Duration = Duration::from_secs(3);

/// Largest message in bytes; larger ones are refused before they are sent.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Version of handshake and frames.
pub const WIRE_VERSION: u16 = 3;

/// First bytes of a peer connection; nothing in HTTP/2 begins like this, so both can share a port.
pub const PREFACE: &[u8; 4] = b"QRM1";

/// Which of the two connections of a pair carries a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Small and urgent.
    Consensus,
    /// Large or many.
    Bulk,
}

/// Who an instance is, for handshakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The grid; nil before it exists.
    pub grid: Uuid,
    /// This instance; 0 before the grid exists.
    pub instance: InstanceId,
    /// Incarnation of this instance.
    pub incarnation: u32,
}

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The peer cannot have seen the message.
    #[error("instance {to} cannot be reached: {reason}")]
    NotSent {
        /// The peer.
        to: InstanceId,
        /// What failed.
        reason: String,
    },
    /// The peer may have seen the message, and may even have done what it asks.
    #[error("connection to instance {to} broke before it answered: {reason}")]
    Lost {
        /// The peer.
        to: InstanceId,
        /// What failed.
        reason: String,
    },
    /// The peer answered with an error of the service.
    #[error("instance {to} answered: {message}")]
    Refused {
        /// The peer.
        to: InstanceId,
        /// The service's message.
        message: String,
    },
}

/// Something that answers messages of peers.
pub trait Service: Send + Sync + 'static {
    /// Answers one message. The future is polled once, in the order in which messages arrived, before the next one is
    /// taken; work that takes long must be spawned. An `Err` reaches the caller as [`CallError::Refused`].
    fn call(&self, from: Identity, message: Bytes) -> BoxFuture<'static, Result<Bytes, String>>;

    /// Whether callers outside the grid may call it (see [`Peers::call_address`]).
    fn open_to_strangers(&self) -> bool {
        false
    }
}

/// Number of a service in messages.
pub type ServiceId = u8;

/// The connections of one instance. Clones share them.
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    identity: RwLock<Identity>,
    services: RwLock<HashMap<ServiceId, Arc<dyn Service>>>,
    links: Mutex<HashMap<(InstanceId, Class), Arc<Link>>>,
    addresses: RwLock<HashMap<InstanceId, String>>,
    /// Connections that peers opened to us, by peer; a peer without one is down or cut off.
    incoming: watch::Sender<HashMap<InstanceId, usize>>,
    /// Peers at whose address nobody listens.
    gone: watch::Sender<BTreeSet<InstanceId>>,
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    runtime: OnceLock<tokio::runtime::Handle>,
}

impl Shared {
    /// Spawns on the runtime of consensus, whoever calls.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        match self.runtime.get() {
            Some(runtime) => drop(self.tasks.spawn_on(task, runtime)),
            None => drop(self.tasks.spawn(task)),
        }
    }
}

impl Peers {
    /// No connection is made before somebody calls.
    pub fn new(identity: Identity) -> Self {
        Self {
            shared: Arc::new(Shared {
                identity: RwLock::new(identity),
                services: RwLock::new(HashMap::new()),
                links: Mutex::new(HashMap::new()),
                addresses: RwLock::new(HashMap::new()),
                incoming: watch::channel(HashMap::new()).0,
                gone: watch::channel(BTreeSet::new()).0,
                stop: CancellationToken::new(),
                tasks: TaskTracker::new(),
                runtime: OnceLock::new(),
            }),
        }
    }

    /// Who we are.
    pub fn identity(&self) -> Identity {
        *self.shared.identity.read()
    }

    /// Sets who we are once the grid exists. Connections made before carry the old identity and are dropped.
    pub fn set_identity(&self, identity: Identity) {
        *self.shared.identity.write() = identity;
        self.shared.links.lock().clear();
    }

    /// Sets the address (`host:port`) of a peer; an existing connection to another address is replaced.
    pub fn set_address(&self, instance: InstanceId, address: &str) {
        let before = self.shared.addresses.write().insert(instance, address.to_owned());
        if before.as_deref() != Some(address) {
            self.shared.links.lock().retain(|(to, _), _| *to != instance);
        }
    }

    /// The known peers' addresses.
    pub fn addresses(&self) -> HashMap<InstanceId, String> {
        self.shared.addresses.read().clone()
    }

    /// Makes `service` answer the messages with this number. Register everything before [`Peers::accept`].
    pub fn register(&self, id: ServiceId, service: Arc<dyn Service>) {
        let before = self.shared.services.write().insert(id, service);
        assert!(before.is_none(), "service {id} is registered once");
    }

    /// Serves a connection that a peer opened; its preface is still unread. Returns when the connection ends.
    pub async fn accept(&self, stream: tokio::net::TcpStream, from: SocketAddr) {
        let stop = self.shared.stop.clone();
        tokio::select! {
            result = server::serve(self.shared.clone(), stream) => if let Err(error) = result {
                tracing::debug!(%from, %error, "peer connection ended");
            },
            () = stop.cancelled() => {}
        }
    }

    /// Sends a message and waits for its answer without a limit other than the connection's life; wrap it in a timeout, and take
    /// the outcome for unknown if that fires.
    pub async fn call(
        &self,
        to: InstanceId,
        class: Class,
        service: ServiceId,
        message: Bytes,
    ) -> Result<Bytes, CallError> {
        self.send(to, class, service, message).await
    }

    /// Like [`Peers::call`]; the message is queued before this returns, so calls made one after the other arrive in order.
    pub fn send(&self, to: InstanceId, class: Class, service: ServiceId, message: Bytes) -> Call {
        match self.link(to, class) {
            Ok(link) => link.send(service, message),
            Err(error) => Call::failed(error),
        }
    }

    /// One call over a connection of its own to an address, before instances have numbers.
    pub async fn call_address(&self, address: &str, service: ServiceId, message: Bytes) -> Result<Bytes, io::Error> {
        link::call_once(self.identity(), address, service, message).await
    }

    /// The peers whose machine answers that nobody listens at their address: their process has ended. A machine that is cut off or off
    /// says nothing, and is not among them.
    pub(crate) fn gone(&self) -> watch::Receiver<BTreeSet<InstanceId>> {
        self.shared.gone.subscribe()
    }

    /// The peers that have a connection to us open, by number of connections; changes are seen through the watch.
    pub fn incoming(&self) -> watch::Receiver<HashMap<InstanceId, usize>> {
        self.shared.incoming.subscribe()
    }

    /// Connects to a peer if no connection to it was wanted so far.
    pub(crate) fn dial(&self, instance: InstanceId) {
        // An instance without an address is no peer any more.
        drop(self.link(instance, Class::Consensus));
    }

    /// Whether the last attempt to reach a peer found nobody; `None` if nothing was tried yet.
    pub fn unreachable(&self, instance: InstanceId) -> Option<bool> {
        let links = self.shared.links.lock();
        links
            .get(&(instance, Class::Bulk))
            .or_else(|| links.get(&(instance, Class::Consensus)))
            .map(|link| link.is_down())
    }

    /// Ends all connections and waits for their tasks.
    pub async fn shut_down(&self) {
        self.shared.stop.cancel();
        self.shared.links.lock().clear();
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Completes when the connections are shut down.
    pub(crate) async fn stopped(&self) {
        self.shared.stop.cancelled().await;
    }

    /// Runs a task until the connections are shut down.
    pub(crate) fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.shared.stop.clone();
        self.shared.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Makes all connections run on this runtime, also those that tasks of another one need first.
    pub(crate) fn run_on(&self, runtime: tokio::runtime::Handle) {
        self.shared.runtime.get_or_init(|| runtime);
    }

    /// Tasks that end with the connections.
    pub(crate) fn tasks(&self) -> &TaskTracker {
        &self.shared.tasks
    }

    fn link(&self, to: InstanceId, class: Class) -> Result<Arc<Link>, CallError> {
        let mut links = self.shared.links.lock();
        if let Some(link) = links.get(&(to, class)) {
            return Ok(link.clone());
        }
        let Some(address) = self.shared.addresses.read().get(&to).cloned() else {
            return Err(CallError::NotSent { to, reason: "its address is not known here".into() });
        };
        if self.shared.stop.is_cancelled() {
            return Err(CallError::NotSent { to, reason: "this instance is shutting down".into() });
        }
        let link = Arc::new(Link::open(&self.shared, to, class, address));
        links.insert((to, class), link.clone());
        Ok(link)
    }
}
