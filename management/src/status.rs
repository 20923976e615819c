//! What `dbStatus` and `gridDisplay` say: the model, corrected by what the active management instance sees at this moment.
//!
//! The model is what was agreed on; it lags behind by one round. The [`LiveView`] is what the transport knows right now:
//! an element on an instance that does not answer is shown as `down` at once. The view only ever makes a status worse.
//! The structures are those of the wire; rendering is the tool's affair.

use std::collections::BTreeMap;

use quorate_proto::admin as pb;

use crate::command::Refused;
use crate::lifecycle::{Status, Target};
use crate::model::{
    Database, DatabaseNumber, Element, ElementNumber, Event, Instance, InstanceNumber, Millis, Model, SetId,
};
use crate::repair::LOST_FILES;

mod verdict;

/// What the instance that answers sees at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LiveView {
    /// Its clock.
    pub now_ms: Millis,
    /// The instance that decides for the management group, if one is known.
    pub active: Option<InstanceNumber>,
    /// Instances that do not answer.
    pub unreachable: BTreeMap<InstanceNumber, Unreachable>,
    /// Leaders, as their elements claim to be; by database and set.
    pub leaders: BTreeMap<(DatabaseNumber, SetId), ElementNumber>,
    /// Progress of elements, such as how much of a log is still to be caught up.
    pub notes: BTreeMap<ElementNumber, String>,
    /// Sessions of each database that has any, on all instances that answer.
    pub sessions: BTreeMap<String, u32>,
}

/// Why an instance counts as gone although its process is there.
pub const SILENT: &str = "the instance does not answer";

/// An instance that does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreachable {
    /// How it shows, for people.
    pub reason: String,
    /// When it was noticed; 0 when nobody knows.
    pub since_ms: Millis,
}

/// The status of one database.
///
/// # Errors
/// When there is no grid or no such database.
pub fn database_status(model: &Model, name: &str, live: &LiveView) -> Result<pb::DatabaseStatus, Refused> {
    if model.grid.is_none() {
        return Err(Refused::NoGrid);
    }
    let database = model.database(name).ok_or_else(|| Refused::NoDatabase(name.to_owned()))?;
    Ok(View { model, live, database }.status())
}

/// The status of every database, by name.
///
/// # Errors
/// When there is no grid.
pub fn all_statuses(model: &Model, live: &LiveView) -> Result<Vec<pb::DatabaseStatus>, Refused> {
    if model.grid.is_none() {
        return Err(Refused::NoGrid);
    }
    let mut databases: Vec<&Database> = model.databases.values().collect();
    databases.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(databases.into_iter().map(|database| View { model, live, database }.status()).collect())
}

/// The grid and its instances.
///
/// # Errors
/// When there is no grid.
pub fn grid_display(model: &Model, live: &LiveView) -> Result<pb::GridDisplayReply, Refused> {
    let grid = model.grid.as_ref().ok_or(Refused::NoGrid)?;
    let mut databases: Vec<String> = model.databases.values().map(|database| database.name.clone()).collect();
    databases.sort_unstable();
    let (verdict, next_steps) = verdict::of_grid(model, live);
    Ok(pb::GridDisplayReply {
        name: grid.name.clone(),
        uuid: grid.uuid.to_string(),
        k: grid.k,
        created_ms: grid.created_ms,
        as_of_ms: live.now_ms,
        version: model.version,
        sequence: model.sequence,
        instances: model.instances.values().map(|instance| instance_row(instance, live)).collect(),
        stale: None,
        databases,
        verdict,
        next_steps,
    })
}

/// The `last` newest of the events that are kept; 0: all.
///
/// # Errors
/// When there is no grid.
pub fn grid_events(model: &Model, live: &LiveView, last: u32) -> Result<pb::GridEventsReply, Refused> {
    if model.grid.is_none() {
        return Err(Refused::NoGrid);
    }
    let older = if last == 0 { 0 } else { model.events.len().saturating_sub(last as usize) };
    let event = |event: &Event| pb::Event { sequence: event.sequence, at_ms: event.at_ms, text: event.text.clone() };
    Ok(pb::GridEventsReply {
        as_of_ms: live.now_ms,
        events: model.events.iter().skip(older).map(event).collect(),
        stale: None,
    })
}

/// One instance, for operators.
#[must_use]
pub fn instance_row(instance: &Instance, live: &LiveView) -> pb::Instance {
    let unreachable = live.unreachable.get(&instance.number);
    pb::Instance {
        number: instance.number,
        host: instance.spec.host.clone(),
        name: instance.spec.name.clone(),
        data_space_group: instance.group,
        data: instance.spec.data,
        management: instance.spec.management,
        active: live.active == Some(instance.number),
        up: instance.up && unreachable.is_none(),
        since_ms: match unreachable {
            // It is recorded as up: that time tells when it came, not when it was lost.
            Some(unreachable) if instance.up => unreachable.since_ms,
            _ => instance.since_ms,
        },
        sql_address: instance.spec.sql_address.clone(),
        peer_address: instance.spec.peer_address.clone(),
        message: if instance.message.is_empty() {
            unreachable.map(|unreachable| unreachable.reason.clone()).unwrap_or_default()
        } else {
            instance.message.clone()
        },
    }
}

/// One database, seen now.
struct View<'a> {
    model: &'a Model,
    live: &'a LiveView,
    database: &'a Database,
}

/// One element, seen now.
struct Seen<'a> {
    element: &'a Element,
    status: Status,
    /// When it reached that status; 0 when nobody knows.
    since_ms: Millis,
    /// Position of its set in the map, from 1; 0 when it is in none.
    set: u32,
    message: String,
}

impl<'a> View<'a> {
    fn status(&self) -> pb::DatabaseStatus {
        let seen: Vec<Seen<'a>> =
            self.model.elements_of(self.database.number).map(|element| self.see(element)).collect();
        let sets = self.sets(&seen);
        let counters = self.counters(&seen);
        let verdict = self.verdict(&seen, &sets);
        pb::DatabaseStatus {
            name: self.database.name.clone(),
            as_of_ms: self.live.now_ms,
            sequence: self.model.sequence,
            create: self.create_word(&seen).to_owned(),
            load: self.load_word(&seen, &sets).to_owned(),
            open: self.open_word(&seen).to_owned(),
            wanted: self.database.target.word().to_owned(),
            counters: Some(counters),
            settled: self.settled(&seen),
            health: verdict.health.to_owned(),
            verdict: verdict.text,
            next_steps: verdict.next_steps,
            elements: seen.iter().map(|seen| self.row(seen)).collect(),
            replica_sets: sets,
        }
    }

    fn see(&self, element: &'a Element) -> Seen<'a> {
        let unreachable = self.live.unreachable.get(&element.instance);
        let set = self.database.sets.iter().position(|set| set.members.contains(&element.number));
        let mut status = element.status;
        let mut message = element.message.clone();
        let mut since_ms = element.since_ms;
        if let Some(unreachable) = unreachable
            && status.is_live()
        {
            status = Status::Down;
            since_ms = unreachable.since_ms;
            message.clone_from(&unreachable.reason);
        } else if status == Status::Uncreated && !self.is_up(element.instance) {
            "its instance is not up".clone_into(&mut message);
        } else if (message.is_empty() || status == Status::Loading)
            && let Some(note) = self.live.notes.get(&element.number)
        {
            message.clone_from(note);
        }
        Seen { element, status, since_ms, set: set.map_or(0, |index| index as u32 + 1), message }
    }

    /// Whether an instance is recorded as up, and answers.
    fn is_up(&self, instance: InstanceNumber) -> bool {
        self.model.instances.get(&instance).is_some_and(|instance| instance.up)
            && !self.live.unreachable.contains_key(&instance)
    }

    fn row(&self, seen: &Seen) -> pb::Element {
        let element = seen.element;
        let instance = self.model.instances.get(&element.instance);
        let set = self.model.set_of(element);
        pb::Element {
            number: element.number,
            host: instance.map(|instance| instance.spec.host.clone()).unwrap_or_default(),
            instance: instance.map(|instance| instance.spec.name.clone()).unwrap_or_default(),
            status: seen.status.word().to_owned(),
            since_ms: seen.since_ms,
            message: seen.message.clone(),
            replica_set: seen.set,
            data_space_group: element.group,
            leader: set.is_some() && self.leader(element.set) == Some(element.number),
            preferred_leader: set.is_some_and(|set| set.preferred_leader == element.number),
            instance_up: self.is_up(element.instance),
            loadable: seen.set != 0
                && !matches!(seen.status, Status::Down | Status::CreateFailed)
                && (seen.status != Status::Uncreated || self.is_up(element.instance))
                && !(seen.status == Status::LoadFailed && seen.message.starts_with(LOST_FILES)),
        }
    }

    /// The leader of a set, unless its instance does not answer.
    fn leader(&self, set: SetId) -> Option<ElementNumber> {
        let leader = *self.live.leaders.get(&(self.database.number, set))?;
        let element = self.model.elements.get(&leader)?;
        (!self.live.unreachable.contains_key(&element.instance)).then_some(leader)
    }

    fn sets(&self, seen: &[Seen]) -> Vec<pb::ReplicaSet> {
        let sets = self.database.sets.iter().zip(1..);
        sets.map(|(set, number)| {
            let loaded = seen.iter().filter(|seen| seen.set == number && seen.status.is_loaded()).count();
            pb::ReplicaSet {
                number,
                group: u64::from(self.database.number) << 32 | u64::from(set.id),
                elements: set.members.clone(),
                leader: self.leader(set.id).unwrap_or(0),
                preferred_leader: set.preferred_leader,
                available: loaded * 2 > set.members.len(),
            }
        })
        .collect()
    }

    fn counters(&self, seen: &[Seen]) -> pb::Counters {
        let count = |counts: &dyn Fn(&Seen) -> bool| seen.iter().filter(|seen| counts(seen)).count() as u32;
        let sets = |counts: &dyn Fn(&Seen) -> bool| {
            let complete = (1..=self.database.sets.len() as u32)
                .filter(|number| seen.iter().filter(|seen| seen.set == *number).all(counts));
            complete.count() as u32
        };
        pb::Counters {
            elements: seen.len() as u32,
            elements_created: count(&|seen| seen.element.created),
            elements_creating: count(&|seen| seen.status == Status::Creating),
            elements_loaded: count(&|seen| seen.status.is_loaded()),
            elements_loading: count(&|seen| matches!(seen.status, Status::Loading | Status::WaitingForSeed)),
            elements_open: count(&|seen| seen.status == Status::Opened),
            elements_opening: count(&|seen| seen.status == Status::Opening),
            replica_sets: self.database.sets.len() as u32,
            replica_sets_created: sets(&|seen| seen.element.created),
            replica_sets_loaded: sets(&|seen| seen.status.is_loaded()),
        }
    }

    fn create_word(&self, seen: &[Seen]) -> &'static str {
        let mut mapped = seen.iter().filter(|seen| seen.set != 0);
        if self.database.target == Target::Destroyed {
            "destroying"
        } else if mapped.all(|seen| seen.element.created) {
            "created"
        } else {
            "creating"
        }
    }

    /// One word that answers whether all data can be reached.
    fn load_word(&self, seen: &[Seen], sets: &[pb::ReplicaSet]) -> &'static str {
        let mapped = || seen.iter().filter(|seen| seen.set != 0);
        let loaded = mapped().filter(|seen| seen.status.is_loaded()).count();
        if matches!(self.database.target, Target::Unloaded | Target::Destroyed) {
            let busy = loaded > 0 || mapped().any(|seen| matches!(seen.status, Status::Unloading | Status::Loading));
            return if busy { "unloading" } else { "unloaded" };
        }
        let under_way = mapped().any(|seen| {
            matches!(seen.status, Status::Uncreated | Status::Creating | Status::Loading | Status::WaitingForSeed)
        });
        if mapped().all(|seen| seen.status.is_loaded()) {
            "loaded-complete"
        } else if sets.iter().all(|set| set.available) {
            "loaded-functional"
        } else {
            match (loaded, under_way) {
                (0, true) => "loading",
                (0, false) => "unloaded",
                (_, true) => "loading-partial",
                (_, false) => "loaded-incomplete",
            }
        }
    }

    fn open_word(&self, seen: &[Seen]) -> &'static str {
        let opened = seen.iter().any(|seen| seen.status == Status::Opened);
        let closing = seen.iter().any(|seen| matches!(seen.status, Status::Closing | Status::CloseFailed));
        match (self.database.target, opened, closing) {
            (Target::Open, true, _) => "open",
            (Target::Open, false, _) => "opening",
            (_, false, false) => "closed",
            _ => "closing",
        }
    }

    fn settled(&self, seen: &[Seen]) -> bool {
        seen.iter().all(|seen| {
            if seen.element.replaced_by.is_some() {
                return false;
            }
            let out_of_map = seen.set == 0 && matches!(seen.status, Status::Evicted | Status::Destroyed);
            out_of_map || seen.status.has_reached(self.database.target)
        })
    }
}

#[cfg(test)]
mod tests;
