//! Snapshot requests of all sessions, joined: at most one message per lane and replica set is on its way, and the next
//! one takes everybody who came meanwhile. A request never joins a message that has already left, so a snapshot shows
//! everything acknowledged before it was asked for.
//!
//! Whoever finds the lane free sends for itself, without a task switch; whoever comes meanwhile is served by the lane's
//! task ([`Lane::serve`]).

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::error::TxnError;
use super::link::SetLink;
use super::shared::Shared;
use crate::clock::Timestamp;
use crate::protocol::LogIndex;

/// What is wanted of a leader, see [`Operation::Snapshot`](crate::protocol::Operation::Snapshot).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    pub(crate) at: Option<Timestamp>,
    pub(crate) proof: bool,
}

/// A safe snapshot and what a replica must have applied to read at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Given {
    pub(crate) snapshot: Timestamp,
    pub(crate) index: LogIndex,
}

#[derive(Debug, Default)]
pub(crate) struct Lane {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Somebody is sending, or the lane's task has been woken to.
    busy: bool,
    waiting: Vec<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    want: Want,
    answer: oneshot::Sender<Result<Given, TxnError>>,
}

/// The right to send; handed to the lane's task when somebody waits, also if its holder is cancelled.
struct Turn<'a>(&'a Lane);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if state.waiting.is_empty() {
            state.busy = false;
        } else {
            self.0.wake.notify_one();
        }
    }
}

impl Lane {
    pub(crate) async fn take(&self, shared: &Shared, link: &SetLink, want: Want) -> Result<Given, TxnError> {
        let answer = {
            let mut state = self.state.lock();
            if state.busy {
                let (answer, receiver) = oneshot::channel();
                state.waiting.push(Waiter { want, answer });
                Some(receiver)
            } else {
                state.busy = true;
                None
            }
        };
        match answer {
            Some(answer) => answer.await.unwrap_or(Err(TxnError::Cancelled)),
            None => {
                let _turn = Turn(self);
                shared.snapshot(link, want).await
            }
        }
    }

    /// Serves those who came while somebody was sending; runs until it is aborted.
    pub(crate) async fn serve(&self, shared: &Shared, link: &SetLink) {
        loop {
            self.wake.notified().await;
            loop {
                let waiting = {
                    let mut state = self.state.lock();
                    assert!(state.busy, "the task was woken with the right to send");
                    if state.waiting.is_empty() {
                        state.busy = false;
                        break;
                    }
                    std::mem::take(&mut state.waiting)
                };
                // What makes the highest of several snapshots safe makes all of them safe.
                let at = waiting.iter().filter_map(|w| w.want.at).max();
                let proof = waiting.iter().any(|w| w.want.proof);
                let given = shared.snapshot(link, Want { at, proof }).await;
                for waiter in waiting {
                    let own = |g: &Given| Given { snapshot: waiter.want.at.unwrap_or(g.snapshot), index: g.index };
                    // Whoever has stopped waiting needs no answer.
                    let _ = waiter.answer.send(given.as_ref().map(own).map_err(Clone::clone));
                }
            }
        }
    }
}
