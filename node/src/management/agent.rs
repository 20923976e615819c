//! The conversation of an instance with the active management instance: reports out, orders in.
//!
//! Every instance reports a few times a second and whenever an element changes; the answer brings newer orders, if there are any. The newest orders are kept in a file,
//! so that an instance which starts while no management instance answers goes on with what it had.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use quorate_management::orders::Orders;
use quorate_management::{DatabaseNumber, ElementNumber, InstanceNumber, InstanceReport, SetId};
use quorate_raft::FIRST_FREE_SERVICE;
use quorate_raft::peers::{Class, Identity, Peers, Service};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::group::ManagementGroup;
use crate::data::elements::Elements;
use crate::instance::databases::KnownDatabases;
use crate::instance::directory::{DataDirectory, replace_file};

/// Reports to the active management instance.
pub const SERVICE: u8 = FIRST_FREE_SERVICE + 1;

/// Between two reports without news.
const REPORT_INTERVAL: Duration = Duration::from_millis(250);

/// How long one report waits for its answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// The orders kept from before, if they are readable.
fn kept(directory: &DataDirectory) -> Option<Orders> {
    std::fs::read(directory.orders()).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
}

/// Whether an instance may not be started any more. Each start has a higher number than all that management knew of the ones before, unless
/// there is a copy of the directory.
pub fn is_superseded(directory: &DataDirectory, instance: InstanceNumber, incarnation: u32) -> bool {
    kept(directory).is_some_and(|orders| newest_start(&orders, instance) >= u64::from(incarnation))
}

/// Why an instance ends that management knows a newer start of.
pub const SUPERSEDED: &str = "another process ran as this instance since it was started: there is a copy of its data directory. \
     Only one of them may go on, the one that the grid takes for up; remove the other";

/// The newest start of an instance that management knows; 0 if it knows none.
fn newest_start(orders: &Orders, instance: InstanceNumber) -> u64 {
    orders.instances.iter().find(|known| known.number == instance).map_or(0, |known| known.incarnation)
}

/// What an instance says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// Its elements.
    pub elements: InstanceReport,
    /// What its elements lead: database, set, element.
    pub leading: Vec<(u32, SetId, ElementNumber)>,
    /// Sessions of its gateway, by database.
    pub sessions: Vec<(String, u32)>,
    /// Wishes to disconnect that it has fulfilled: database, number of the wish, sessions ended.
    pub disconnected: Vec<(DatabaseNumber, u64, u32)>,
    /// Sequence of the newest orders it has.
    pub known_sequence: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    /// Taken; with newer orders if there are any.
    Taken(Option<Orders>),
    /// Another instance is active.
    NotActive(Option<InstanceNumber>),
}

/// Receives reports at a management instance.
pub struct Receiver {
    /// The member.
    pub group: Weak<ManagementGroup>,
    /// Where reports are handled: not beside consensus.
    pub runtime: tokio::runtime::Handle,
}

impl Service for Receiver {
    fn call(&self, _from: Identity, message: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        let Some(group) = self.group.upgrade() else {
            return Box::pin(futures::future::ready(Err("this instance manages nothing".into())));
        };
        let answer = self.runtime.spawn(async move {
            let report = serde_json::from_slice(&message).map_err(|e| format!("decode a report: {e}"))?;
            let answer = match group.take_report(report).await {
                Ok(orders) => Answer::Taken(orders),
                Err(active) => Answer::NotActive(active),
            };
            serde_json::to_vec(&answer).map(Bytes::from).map_err(|e| e.to_string())
        });
        Box::pin(async move { answer.await.unwrap_or_else(|e| Err(format!("the report failed: {e}"))) })
    }
}

/// Called with orders whenever newer ones arrive.
pub type OnOrders = Box<dyn Fn(&Orders) + Send + Sync>;

/// One instance's side of the conversation.
pub struct Agent {
    /// This instance.
    pub instance: InstanceNumber,
    /// Its start.
    pub incarnation: u32,
    /// Where orders are kept.
    pub directory: Arc<DataDirectory>,
    /// The way to others.
    pub peers: Peers,
    /// The management member of this instance, if it has one.
    pub group: Option<Arc<ManagementGroup>>,
    /// What is reported.
    pub elements: Arc<Elements>,
    /// Whose sessions are reported.
    pub databases: Arc<KnownDatabases>,
    /// Who may be active.
    pub managers: Vec<InstanceNumber>,
    /// What orders lead to.
    pub on_orders: OnOrders,
}

impl Agent {
    /// Reports until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut sequence = self.recall();
        let mut changed = self.elements.watch();
        let mut managers = self.managers.clone();
        let mut active: Option<InstanceNumber> = None;
        let mut round = 0;
        loop {
            let to = active.unwrap_or_else(|| managers[round % managers.len()]);
            match self.report(to, sequence).await {
                Some(Answer::Taken(orders)) => {
                    active = Some(to);
                    if let Some(orders) = orders.filter(|orders| orders.sequence > sequence) {
                        sequence = orders.sequence;
                        managers = orders.instances.iter().filter(|i| i.management).map(|i| i.number).collect();
                        self.keep(&orders);
                        if newest_start(&orders, self.instance) > u64::from(self.incarnation) {
                            quorate_raft::fatal(SUPERSEDED);
                        }
                        (self.on_orders)(&orders);
                    }
                }
                Some(Answer::NotActive(Some(hint))) if hint != to => active = Some(hint),
                _ => {
                    active = None;
                    round += 1;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(REPORT_INTERVAL) => {}
                Ok(()) = changed.changed() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn report(&self, to: InstanceNumber, known_sequence: u64) -> Option<Answer> {
        let elements = InstanceReport {
            instance: self.instance,
            incarnation: u64::from(self.incarnation),
            elements: self.elements.reports(),
        };
        let report = Report {
            elements,
            leading: self.elements.leading(),
            sessions: self.databases.sessions(),
            disconnected: self.databases.disconnected(),
            known_sequence,
        };
        if let Some(group) = self.group.as_ref().filter(|_| to == self.instance) {
            return Some(match group.take_report(report).await {
                Ok(orders) => Answer::Taken(orders),
                Err(active) => Answer::NotActive(active),
            });
        }
        let message = Bytes::from(serde_json::to_vec(&report).expect("a report has no unserialisable parts"));
        let answer = self.peers.call(to, Class::Bulk, SERVICE, message);
        let bytes = tokio::time::timeout(ANSWER_MAX, answer).await.ok()?.ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// The orders kept from before, if they are readable; the active management instance sends them again otherwise.
    fn recall(&self) -> u64 {
        let Some(orders) = kept(&self.directory) else { return 0 };
        (self.on_orders)(&orders);
        orders.sequence
    }

    fn keep(&self, orders: &Orders) {
        let bytes = serde_json::to_vec(orders).expect("orders have no unserialisable parts");
        if let Err(error) = replace_file(&self.directory.orders(), &bytes) {
            tracing::warn!(error = format!("{error:#}"), "cannot keep the newest orders");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_whose_copy_has_run_since_is_not_started_again() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (directory, _) = DataDirectory::open(folder.path()).expect("opened");
        assert!(!is_superseded(&directory, 4, 1), "nothing is known yet");
        let orders = serde_json::json!({
            "grid": uuid::Uuid::nil(), "sequence": 9, "version": 1, "databases": [], "elements": [],
            "instances": [{
                "number": 4, "name": "a.instance1", "sql_address": "a:7500", "peer_address": "a:7510",
                "data": true, "management": false, "incarnation": 7
            }]
        });
        let orders: Orders = serde_json::from_value(orders).expect("orders");
        replace_file(&directory.orders(), &serde_json::to_vec(&orders).expect("encoded")).expect("kept");
        let superseded = [6, 7, 8].map(|incarnation| is_superseded(&directory, 4, incarnation));
        assert_eq!(superseded, [true, true, false]);
        assert!(!is_superseded(&directory, 5, 1), "another instance");
    }
}
