//! How instances come to a grid: they are gathered by `gridCreate`, or join one that exists.
//!
//! Until then an instance waits, says so, and answers only these messages, to anybody who reaches it.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use quorate_management::{Command, InstanceSpec, Refused, Reply};
use quorate_raft::FIRST_FREE_SERVICE;
use quorate_raft::peers::{Identity, Peers, Service};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::group::{ManagementGroup, now_ms};
use crate::instance::directory::Membership;

/// Gathering and joining.
pub const SERVICE: u8 = FIRST_FREE_SERVICE + 2;

#[derive(Debug, Serialize, Deserialize)]
enum Ask {
    /// Who are you?
    Hello,
    /// You are in this grid now.
    Found(Membership),
    /// Let me in.
    Join(InstanceSpec),
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    Hello {
        spec: InstanceSpec,
        grid: Option<String>,
        wants: Option<String>,
    },
    Done,
    Joined(Membership),
    /// The grid does not take this instance as it is.
    Refused(Refused),
}

/// Who waits at an address.
pub struct Greeting {
    /// What it says of itself.
    pub spec: InstanceSpec,
    /// The grid it is in already.
    pub grid: Option<String>,
    /// The only grid that its configuration lets it into.
    pub wants: Option<String>,
}

/// This instance's part.
pub struct Founding {
    spec: InstanceSpec,
    wants: Option<String>,
    state: Mutex<State>,
}

enum State {
    /// In no grid; whoever waits for one is told through the sender.
    Waiting(Option<oneshot::Sender<Membership>>),
    /// In a grid, perhaps with a management member.
    Member(Membership, Option<Arc<ManagementGroup>>),
}

impl Founding {
    /// An instance that waits, perhaps for a grid of this name only; the receiver resolves when it is taken into a grid.
    pub fn waiting(spec: InstanceSpec, wants: Option<String>) -> (Arc<Self>, oneshot::Receiver<Membership>) {
        let (found, founded) = oneshot::channel();
        (Arc::new(Self { spec, wants, state: Mutex::new(State::Waiting(Some(found))) }), founded)
    }

    /// The instance is a member now, with its management member if it has one.
    pub fn joined(&self, membership: Membership, group: Option<Arc<ManagementGroup>>) {
        *self.state.lock() = State::Member(membership, group);
    }

    /// What this instance says of itself.
    pub fn spec(&self) -> &InstanceSpec {
        &self.spec
    }

    /// The only grid that its configuration lets it into.
    pub fn wants(&self) -> Option<&String> {
        self.wants.as_ref()
    }

    /// Takes this instance into a grid.
    pub fn found(&self, membership: Membership) -> Result<(), String> {
        match &mut *self.state.lock() {
            State::Waiting(found) => match found.take() {
                Some(found) => drop(found.send(membership)),
                None => return Err("this instance is being taken into a grid".into()),
            },
            State::Member(known, _) if known.uuid == membership.uuid => {}
            State::Member(known, _) => return Err(format!("this instance belongs to grid {}", known.name)),
        }
        Ok(())
    }

    async fn answer(&self, ask: Ask) -> Result<Answer, String> {
        match ask {
            Ask::Hello => {
                let grid = match &*self.state.lock() {
                    State::Waiting(_) => None,
                    State::Member(membership, _) => Some(membership.name.clone()),
                };
                Ok(Answer::Hello { spec: self.spec.clone(), grid, wants: self.wants.clone() })
            }
            Ask::Found(membership) => self.found(membership).map(|()| Answer::Done),
            Ask::Join(spec) => {
                let (membership, group) = match &*self.state.lock() {
                    State::Member(membership, Some(group)) => (membership.clone(), group.clone()),
                    _ => return Err("this instance manages no grid yet".into()),
                };
                match group.propose(Command::RegisterInstance { spec, at_ms: now_ms() }).await {
                    Ok(Ok(Reply::Registered { instance, .. })) => {
                        Ok(Answer::Joined(Membership { instance, ..membership }))
                    }
                    Ok(Ok(reply)) => Err(format!("unexpected reply: {reply:?}")),
                    Ok(Err(refused)) => Ok(Answer::Refused(refused)),
                    Err(error) => Err(error.to_string()),
                }
            }
        }
    }
}

/// The service over it.
pub struct Receiver(pub Arc<Founding>);

impl Service for Receiver {
    fn call(&self, _from: Identity, message: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let founding = self.0.clone();
        Box::pin(async move {
            let ask = serde_json::from_slice(&message).map_err(|e| format!("decode a message: {e}"))?;
            let answer = founding.answer(ask).await?;
            serde_json::to_vec(&answer).map(Bytes::from).map_err(|e| e.to_string())
        })
    }

    fn open_to_strangers(&self) -> bool {
        true
    }
}

async fn ask(peers: &Peers, address: &str, ask: &Ask) -> anyhow::Result<Answer> {
    let message = serde_json::to_vec(ask).context("encode a message")?;
    let answer = peers.call_address(address, SERVICE, message.into());
    let bytes = answer.await.with_context(|| format!("ask the instance at {address}"))?;
    serde_json::from_slice(&bytes).with_context(|| format!("understand the instance at {address}"))
}

/// Asks who waits at an address.
pub async fn hello(peers: &Peers, address: &str) -> anyhow::Result<Greeting> {
    match ask(peers, address, &Ask::Hello).await? {
        Answer::Hello { spec, grid, wants } => Ok(Greeting { spec, grid, wants }),
        answer => anyhow::bail!("unexpected answer of the instance at {address}: {answer:?}"),
    }
}

/// Takes the instance at an address into a grid.
pub async fn found(peers: &Peers, address: &str, membership: Membership) -> anyhow::Result<()> {
    match ask(peers, address, &Ask::Found(membership)).await? {
        Answer::Done => Ok(()),
        answer => anyhow::bail!("unexpected answer of the instance at {address}: {answer:?}"),
    }
}

/// Asks the management instance at an address to be let into its grid; the inner error is the grid's final word.
pub async fn join(peers: &Peers, address: &str, spec: &InstanceSpec) -> anyhow::Result<Result<Membership, Refused>> {
    match ask(peers, address, &Ask::Join(spec.clone())).await? {
        Answer::Joined(membership) => Ok(Ok(membership)),
        Answer::Refused(refused) => Ok(Err(refused)),
        answer => anyhow::bail!("unexpected answer of the instance at {address}: {answer:?}"),
    }
}
