//! What the operators' service needs of this instance, in a grid or not.

use std::sync::Arc;
use std::time::Duration;

use quorate_management::inquiry::{Answer, Question};
use quorate_management::model::Database;
use quorate_management::service::{Port, PortError, SetHashes};
use quorate_management::status::LiveView;
use quorate_management::{Command, InstanceNumber, InstanceSpec, Millis, Model, Refused, Reply};
use quorate_raft::peers::Peers;
use tokio::sync::watch;
use uuid::Uuid;

use super::Running;
use super::databases::KnownDatabases;
use super::directory::Membership;
use super::{inquiry, verify};
use crate::management::founding::{self, Founding, Greeting};
use crate::management::group::now_ms;

/// How long the first election of a new grid may take.
const FOUNDING_MAX: Duration = Duration::from_secs(20);

/// The port.
pub(crate) struct OperatorPort {
    peers: Peers,
    founding: Arc<Founding>,
    management_peers: Vec<String>,
    databases: Arc<KnownDatabases>,
    running: watch::Receiver<Option<Arc<Running>>>,
    /// It belonged to a grid when it was started, so that while nothing runs it is starting.
    member: bool,
}

impl OperatorPort {
    pub(crate) fn new(
        peers: Peers,
        founding: Arc<Founding>,
        management_peers: Vec<String>,
        databases: Arc<KnownDatabases>,
        running: watch::Receiver<Option<Arc<Running>>>,
        member: bool,
    ) -> Self {
        Self { peers, founding, management_peers, databases, running, member }
    }

    fn running(&self) -> Option<Arc<Running>> {
        self.running.borrow().clone()
    }

    /// The management member, or where to look for one: data instances forward to the management instances in turn.
    fn not_managing(&self, running: &Running) -> PortError {
        let managers = (1..).zip(&running.membership.founders).filter(|(_, founder)| founder.management);
        let reachable = managers.filter(|(number, _)| self.peers.unreachable(*number) != Some(true));
        PortError::NotActive { active: reachable.map(|(_, founder)| founder.peer_address.clone()).next() }
    }

    /// Everybody who is to found the grid, this instance included, numbered from 1.
    async fn gather(&self, name: &str) -> Result<Vec<InstanceSpec>, PortError> {
        let own = self.founding.spec().clone();
        let configured = |spec: &InstanceSpec, wants: Option<&String>| match wants {
            Some(wants) if wants != name => Err(PortError::Failed(format!(
                "{}.{} is configured for grid {wants}, not {name}: nothing was made; use that name, or change `grid` in the configuration",
                spec.host, spec.name
            ))),
            _ => Ok(()),
        };
        configured(&own, self.founding.wants())?;
        let mut addresses = self.management_peers.clone();
        if own.management && !addresses.contains(&own.peer_address) {
            addresses.push(own.peer_address.clone());
        }
        let mut specs = Vec::new();
        for address in addresses {
            if address == own.peer_address {
                specs.push(own.clone());
                continue;
            }
            let Greeting { spec, grid, wants } = founding::hello(&self.peers, &address).await.map_err(|error| {
                PortError::Failed(format!("{error:#}; start it, or take it out of management_peers"))
            })?;
            if let Some(grid) = grid {
                return Err(PortError::Failed(format!("the instance at {address} belongs to grid {grid} already")));
            }
            configured(&spec, wants.as_ref())?;
            if !spec.management {
                return Err(PortError::Failed(format!("the instance at {address} has no management role")));
            }
            // Named by the address under which it was reached, which may be another than it knows of itself.
            specs.push(InstanceSpec { peer_address: address, ..spec });
        }
        Ok(specs)
    }

    async fn founded(&self) -> Result<Arc<Model>, PortError> {
        let mut running = self.running.clone();
        let group = {
            let running = running.wait_for(Option::is_some).await;
            let running = running.map_err(|_| PortError::Failed("the instance is stopping".into()))?;
            running.as_ref().and_then(|running| running.group.clone())
        };
        let Some(group) = group else { return Err(PortError::Failed("this instance has no management role".into())) };
        let mut model = group.watch();
        let model = model.wait_for(|model| model.grid.is_some()).await;
        model.map(|model| model.clone()).map_err(|_| PortError::Failed("the instance is stopping".into()))
    }
}

/// Nothing was decided, and asking again soon helps.
fn starting() -> PortError {
    PortError::NoMajority("this instance is starting".into())
}

impl Port for OperatorPort {
    async fn read(&self) -> Result<Arc<Model>, PortError> {
        let Some(running) = self.running() else {
            return if self.member { Err(starting()) } else { Ok(Arc::new(Model::default())) };
        };
        match &running.group {
            Some(group) => group.read().await,
            None => Err(self.not_managing(&running)),
        }
    }

    async fn propose(&self, command: Command) -> Result<Result<Reply, Refused>, PortError> {
        let Some(running) = self.running() else {
            return if self.member { Err(starting()) } else { Ok(Err(Refused::NoGrid)) };
        };
        match &running.group {
            Some(group) => group.decide(command).await,
            None => Err(self.not_managing(&running)),
        }
    }

    fn last_known(&self) -> Option<Arc<Model>> {
        let running = self.running()?;
        running.group.as_ref().map(|group| group.last_known()).filter(|model| model.grid.is_some())
    }

    fn live(&self) -> LiveView {
        match self.running().and_then(|running| running.group.clone()) {
            Some(group) => group.live(),
            None => LiveView { now_ms: now_ms(), ..LiveView::default() },
        }
    }

    fn now_ms(&self) -> Millis {
        now_ms()
    }

    async fn create_grid(&self, name: String, k: u32) -> Result<Arc<Model>, PortError> {
        if let Some(running) = self.running() {
            return Err(PortError::Refused(Refused::GridExists(running.membership.name.clone())));
        }
        if !self.founding.spec().management {
            return Err(PortError::Failed(
                "this instance has no management role; ask one of its management_peers".into(),
            ));
        }
        let founders = self.gather(&name).await?;
        let membership = Membership { uuid: Uuid::new_v4(), name, k, instance: 0, founders };
        // The model decides whether such a grid can be; asked before anybody is bound to it.
        let trial = Command::CreateGrid {
            uuid: membership.uuid,
            name: membership.name.clone(),
            k,
            instances: membership.founders.clone(),
            at_ms: now_ms(),
        };
        Model::default().apply(&trial).map_err(PortError::Refused)?;
        let own = self.founding.spec().identity;
        for (number, founder) in (1..).zip(&membership.founders) {
            let membership = Membership { instance: number, ..membership.clone() };
            if founder.identity != own {
                founding::found(&self.peers, &founder.peer_address, membership)
                    .await
                    .map_err(|error| PortError::Unknown(format!("{error:#}")))?;
            }
        }
        let number =
            (1..).zip(&membership.founders).find(|(_, founder)| founder.identity == own).map(|(number, _)| number);
        let instance =
            number.ok_or_else(|| PortError::Failed("this instance is not among its management_peers".into()))?;
        self.founding.found(Membership { instance, ..membership }).map_err(PortError::Failed)?;
        tokio::time::timeout(FOUNDING_MAX, self.founded())
            .await
            .map_err(|_| PortError::Unknown("the management group has not elected an active instance in time".into()))?
    }

    async fn ask_instance(&self, instance: InstanceNumber, question: Question) -> Result<Answer, String> {
        let running = self.running().ok_or("the instance is starting")?;
        if instance == running.membership.instance {
            return inquiry::answer(&running.elements, &self.databases, &question).await;
        }
        inquiry::ask(&running.peers, instance, &question).await
    }

    async fn sessions(&self, database: &str) -> Result<u32, PortError> {
        match self.running().and_then(|running| running.group.clone()) {
            Some(group) => group.sessions(database).await,
            None => Err(PortError::NotActive { active: None }),
        }
    }

    async fn verify(&self, model: &Model, database: &Database) -> Result<Vec<SetHashes>, PortError> {
        let running = self.running().ok_or(PortError::Refused(Refused::NoGrid))?;
        let known = self.databases.find(&database.name);
        let known =
            known.ok_or_else(|| PortError::Failed(format!("database {} is not known here yet", database.name)))?;
        Ok(verify::verify(&running, known.router(), model, database).await)
    }
}
