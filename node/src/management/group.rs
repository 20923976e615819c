//! A member of the management group: proposals, proven reads, and while it is the active one what the group does by itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use quorate_management::orders::{Orders, orders};
use quorate_management::service::PortError;
use quorate_management::status::{LiveView, SILENT, Unreachable};
use quorate_management::{Command, ElementNumber, InstanceNumber, Millis, Model, Refused, Reply, Status, repair};
use quorate_raft::peers::Peers;
use quorate_raft::{Group, QUORUM_WAIT};
use tokio::sync::watch;
use tokio::time::Instant;

use super::agent::Report;
use super::machine::{ManagementMachine, decode_reply};
use crate::instance::directory::Membership;

/// How often the active member looks for instances that are gone and for repairs that are due.
const LOOK: Duration = Duration::from_millis(100);

/// An instance that has said nothing for so long is down, although its connection stands.
const SILENCE_MAX: Duration = Duration::from_millis(1500);

/// The state is flushed when so many changes have come since.
const FLUSH_EVERY: u64 = 64;

/// This instance's member of the management group.
pub struct ManagementGroup {
    group: Group,
    machine: Arc<ManagementMachine>,
    peers: Peers,
    membership: Membership,
    heard: Mutex<HashMap<InstanceNumber, Heard>>,
    /// Since when instances do not answer, as it was noticed here.
    missed: Mutex<BTreeMap<InstanceNumber, Millis>>,
    active_since: Mutex<Option<Instant>>,
}

/// What an instance said last.
struct Heard {
    at: Instant,
    report: Report,
}

impl ManagementGroup {
    /// A member over its running group.
    pub fn new(group: Group, machine: Arc<ManagementMachine>, peers: Peers, membership: Membership) -> Arc<Self> {
        Arc::new(Self {
            group,
            machine,
            peers,
            membership,
            heard: Mutex::default(),
            missed: Mutex::default(),
            active_since: Mutex::default(),
        })
    }

    /// The running group.
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The model as applied here, with changes.
    pub fn watch(&self) -> watch::Receiver<Arc<Model>> {
        self.machine.watch()
    }

    /// The model as applied here.
    pub fn last_known(&self) -> Arc<Model> {
        self.machine.watch().borrow().clone()
    }

    /// The active member as far as this one knows.
    pub fn active(&self) -> Option<InstanceNumber> {
        self.group.leader_hint().map(|(_, instance)| instance)
    }

    fn not_active(&self) -> PortError {
        match self.active().filter(|active| *active != self.membership.instance) {
            Some(active) => PortError::NotActive { active: self.peers.addresses().get(&active).cloned() },
            None => self.no_majority(),
        }
    }

    /// Names the management instances that do not answer, as far as they are known.
    fn no_majority(&self) -> PortError {
        let model = self.last_known();
        let unreachable = self.unreachable(&model);
        let missing = model.management().filter(|instance| !instance.up || unreachable.contains_key(&instance.number));
        let names: Vec<String> = missing.map(quorate_management::model::Instance::full_name).collect();
        PortError::NoMajority(match names.as_slice() {
            [] => String::new(),
            [name] => format!("{name} is down"),
            names => format!("{} are down", names.join(", ")),
        })
    }

    /// The newest state, after proof that this member is the active one.
    pub async fn read(&self) -> Result<Arc<Model>, PortError> {
        let term = self.group.term().ok_or_else(|| self.not_active())?;
        if !self.group.prove(term).await {
            return Err(self.no_majority());
        }
        Ok(self.last_known())
    }

    /// Proposes an operator's command after proof that this member is the active one, so that without a majority nothing is proposed and
    /// the outcome is known.
    pub async fn decide(&self, command: Command) -> Result<Result<Reply, Refused>, PortError> {
        let term = self.group.term().ok_or_else(|| self.not_active())?;
        if !self.group.prove(term).await {
            return Err(self.no_majority());
        }
        self.propose(command).await
    }

    /// Proposes a command and waits until it is applied here.
    pub async fn propose(&self, command: Command) -> Result<Result<Reply, Refused>, PortError> {
        let term = self.group.term().ok_or_else(|| self.not_active())?;
        let proposal = self.group.propose(term, Bytes::from(command.encode()));
        match tokio::time::timeout(QUORUM_WAIT, proposal).await {
            Ok(Ok(bytes)) => decode_reply(&bytes).map_err(PortError::Failed),
            Ok(Err(_)) if self.active().is_some_and(|active| active != self.membership.instance) => {
                Err(PortError::Unknown("the active management instance changed meanwhile".into()))
            }
            Ok(Err(_)) => Err(PortError::Unknown("the management instances lost their majority meanwhile".into())),
            Err(_) => Err(PortError::Unknown("a majority of the management instances does not answer".into())),
        }
    }

    /// Takes an instance's report; answers what it should do, if it does not know that already, or who is active.
    pub async fn take_report(&self, report: Report) -> Result<Option<Orders>, Option<InstanceNumber>> {
        let active = self.active();
        if self.group.term().is_none() {
            return Err(active.filter(|active| *active != self.membership.instance));
        }
        let (known, instance) = (report.known_sequence, report.elements.instance);
        let model = self.last_known();
        let mut news = model.news(&report.elements, now_ms());
        news.extend(report.disconnected.iter().filter_map(|(database, wish, sessions)| {
            let pending = model.databases.get(database)?.disconnect.as_ref()?;
            (pending.number == *wish && pending.is_pending(instance)).then(|| Command::Disconnected {
                instance,
                incarnation: report.elements.incarnation,
                database: *database,
                wish: *wish,
                sessions: *sessions,
                at_ms: now_ms(),
            })
        }));
        self.heard.lock().insert(instance, Heard { at: Instant::now(), report });
        for command in news {
            let start = match &command {
                Command::InstanceUp { incarnation, .. } => Some(*incarnation),
                _ => None,
            };
            match self.propose(command).await {
                Ok(Ok(Reply::Changed { .. })) if start.is_some() => {
                    tracing::info!(instance = self.name_of(instance), incarnation = start, "instance recorded as up");
                }
                Ok(Ok(Reply::Reported { refused })) => {
                    for (element, recorded, reported) in refused {
                        tracing::error!(
                            instance,
                            element,
                            recorded = recorded.word(),
                            reported = reported.word(),
                            "an element's report does not fit what is recorded"
                        );
                    }
                }
                Ok(Ok(_)) => {}
                Ok(Err(refused)) => tracing::warn!(instance, %refused, "report refused"),
                Err(error) => {
                    tracing::debug!(instance, %error, "report not recorded");
                    return Err(None);
                }
            }
        }
        let model = self.last_known();
        Ok((model.sequence > known).then(|| orders(&model, instance)).flatten())
    }

    /// Sessions of a database on all instances that are up, as they were reported last. A member that has just become the active one waits until it
    /// has heard from each of them, or knows that it is gone.
    pub async fn sessions(&self, database: &str) -> Result<u32, PortError> {
        let until = Instant::now() + 2 * SILENCE_MAX;
        loop {
            self.group.term().ok_or_else(|| self.not_active())?;
            let silent = match self.sessions_heard(database) {
                Ok(sessions) => return Ok(sessions),
                Err(instance) => self.name_of(instance),
            };
            if Instant::now() >= until {
                let text = format!("instance {silent} has not said how many sessions it has; repeat the command");
                return Err(PortError::Failed(text));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Sessions of a database, or an instance that is up and has said nothing lately.
    fn sessions_heard(&self, database: &str) -> Result<u32, InstanceNumber> {
        let model = self.last_known();
        let unreachable = self.unreachable(&model);
        let heard = self.heard.lock();
        let mut sessions = 0;
        for instance in model.instances.values().filter(|instance| instance.up) {
            if unreachable.contains_key(&instance.number) {
                continue;
            }
            let recent = heard.get(&instance.number).filter(|heard| heard.at.elapsed() < SILENCE_MAX);
            let report = &recent.ok_or(instance.number)?.report;
            sessions += report.sessions.iter().filter(|(of, _)| of == database).map(|(_, count)| count).sum::<u32>();
        }
        Ok(sessions)
    }

    /// What this member sees at this moment.
    pub fn live(&self) -> LiveView {
        let model = self.last_known();
        let unreachable = self.unreachable(&model);
        let heard = self.heard.lock();
        let mut leaders = BTreeMap::new();
        for (_, heard) in heard.iter().filter(|(instance, _)| !unreachable.contains_key(instance)) {
            for (database, set, element) in &heard.report.leading {
                // Two may claim a set around a change of leaders; the one that was heard last is right more often.
                let newer = leaders.get(&(*database, *set)).is_none_or(|(at, _)| *at < heard.at);
                if newer {
                    leaders.insert((*database, *set), (heard.at, *element));
                }
            }
        }
        let leaders: BTreeMap<_, ElementNumber> =
            leaders.into_iter().map(|(key, (_, element))| (key, element)).collect();
        let reports = heard.values().flat_map(|heard| &heard.report.elements.elements);
        let loading = reports.filter(|element| element.status == Status::Loading && !element.message.is_empty());
        let notes = loading.map(|element| (element.element, element.message.clone())).collect();
        let mut sessions: BTreeMap<String, u32> = BTreeMap::new();
        for (database, count) in heard
            .iter()
            .filter(|(instance, heard)| !unreachable.contains_key(instance) && heard.at.elapsed() < SILENCE_MAX)
            .flat_map(|(_, heard)| &heard.report.sessions)
        {
            *sessions.entry(database.clone()).or_default() += count;
        }
        LiveView { now_ms: now_ms(), active: self.active(), unreachable, leaders, notes, sessions }
    }

    fn name_of(&self, instance: InstanceNumber) -> String {
        self.last_known().instances.get(&instance).map_or_else(|| instance.to_string(), |known| known.full_name())
    }

    /// Instances that do not answer, and since when that is known here.
    fn unreachable(&self, model: &Model) -> BTreeMap<InstanceNumber, Unreachable> {
        let reasons = self.reasons(model);
        let mut missed = self.missed.lock();
        missed.retain(|instance, _| reasons.contains_key(instance));
        let unreachable = reasons.into_iter().map(|(instance, reason)| {
            let since_ms = *missed.entry(instance).or_insert_with(now_ms);
            (instance, Unreachable { reason, since_ms })
        });
        unreachable.collect()
    }

    /// Why instances count as gone.
    fn reasons(&self, model: &Model) -> BTreeMap<InstanceNumber, String> {
        let incoming = self.peers.incoming().borrow().clone();
        let settled = self.active_since.lock().is_some_and(|since| since.elapsed() >= SILENCE_MAX);
        let heard = self.heard.lock();
        let reason = |instance: InstanceNumber| {
            if instance == self.membership.instance {
                return None;
            }
            let connected = incoming.contains_key(&instance);
            let refused = self.peers.unreachable(instance) == Some(true);
            if !connected && (refused || settled) {
                return Some("no connection to the instance".to_owned());
            }
            let silent = heard.get(&instance).is_none_or(|heard| heard.at.elapsed() >= SILENCE_MAX);
            (settled && silent).then(|| SILENT.to_owned())
        };
        model.instances.keys().filter_map(|instance| Some((*instance, reason(*instance)?))).collect()
    }

    /// Writes the state to its file, so that the next start replays little.
    pub fn flush(&self) {
        if let Err(error) = quorate_raft::StateMachine::flush(self.machine.as_ref()) {
            tracing::warn!(%error, "cannot flush the management state");
        }
    }

    /// The active member's regular work; runs until it is dropped.
    pub async fn run(self: Arc<Self>) {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut flushed = 0;
        loop {
            look.tick().await;
            let model = self.last_known();
            if model.sequence >= flushed + FLUSH_EVERY {
                flushed = model.sequence;
                if let Err(error) = self.group.flush_and_purge(4 * FLUSH_EVERY).await {
                    tracing::warn!(%error, "cannot flush the management state");
                }
            }
            // Also where nothing is decided: it fixes the times that are shown if there is no majority.
            let unreachable = self.unreachable(&model);
            if self.group.term().is_none() {
                *self.active_since.lock() = None;
                continue;
            }
            self.active_since.lock().get_or_insert_with(Instant::now);
            for command in self.due(&model, unreachable) {
                let lost = match &command {
                    Command::InstanceDown { instance, message, .. } => Some((self.name_of(*instance), message.clone())),
                    _ => None,
                };
                let outcome = self.propose(command).await;
                if let (Ok(Ok(Reply::Changed { .. })), Some((instance, reason))) = (&outcome, lost) {
                    tracing::warn!(instance, reason, "instance recorded as down");
                }
                match outcome {
                    Ok(Ok(_)) => {}
                    Ok(Err(refused)) => tracing::warn!(%refused, "a repair was refused"),
                    Err(error) => tracing::debug!(%error, "a repair must wait"),
                }
            }
        }
    }

    fn due(&self, model: &Model, unreachable: BTreeMap<InstanceNumber, Unreachable>) -> Vec<Command> {
        if model.grid.is_none() {
            let Membership { uuid, name, k, founders, .. } = self.membership.clone();
            return vec![Command::CreateGrid { uuid, name, k, instances: founders, at_ms: now_ms() }];
        }
        let mut commands = repair::due(model, now_ms());
        for (instance, Unreachable { reason, .. }) in unreachable {
            let known = &model.instances[&instance];
            if known.up {
                let incarnation = known.incarnation;
                commands.push(Command::InstanceDown { instance, incarnation, message: reason, at_ms: now_ms() });
            }
        }
        commands
    }
}

/// Milliseconds since 1970-01-01 UTC; only shown to people, never compared.
pub fn now_ms() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}
