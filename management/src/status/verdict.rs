//! The verdict: how a database is in one sentence and one word, and what to do about it.
//!
//! The sentence names the worst that is the case. Something that goes on by itself is called by its name (`is being created`), not by
//! what is still missing; a step is advised only where something waits for an operator.

use quorate_proto::admin as pb;

use super::{LiveView, SILENT, Seen, View};
use crate::lifecycle::{Status, Target};
use crate::model::{Instance, Model};
use crate::repair::LOST_FILES;

pub(super) struct Verdict {
    pub(super) health: &'static str,
    pub(super) text: String,
    /// Commands or actions, each once.
    pub(super) next_steps: Vec<String>,
}

impl View<'_> {
    pub(super) fn verdict(&self, seen: &[Seen], sets: &[pb::ReplicaSet]) -> Verdict {
        let name = &self.database.name;
        let mut next_steps = self.next_steps(seen, sets);
        let open_it = format!("quorate-admin dbOpen {name}");
        let (health, text) = match self.database.target {
            Target::Destroyed => ("DatabaseDown", format!("database {name} is being destroyed")),
            Target::Unloaded if self.settled(seen) => {
                next_steps.push(format!("quorate-admin dbLoad {name}"));
                ("DatabaseDown", format!("database {name} is unloaded"))
            }
            Target::Unloaded => ("DatabaseDown", format!("database {name} is being unloaded")),
            Target::Loaded | Target::Open => match self.trouble(seen, sets) {
                Some((health, text)) if self.database.target == Target::Loaded && health == "DatabaseImpeded" => {
                    next_steps.push(open_it);
                    (health, format!("not open; {text}{}", self.sessions_left()))
                }
                Some(trouble) => trouble,
                None if self.database.target == Target::Open && self.settled(seen) => ("Normal", "healthy".to_owned()),
                None if self.database.target == Target::Open => {
                    ("DatabaseImpeded", "all data is available; some elements are not open yet".to_owned())
                }
                None if self.settled(seen) => {
                    next_steps.push(open_it);
                    ("Normal", format!("healthy, not open{}", self.sessions_left()))
                }
                None => ("DatabaseImpeded", "all data is loaded; some elements are not closed yet".to_owned()),
            },
        };
        Verdict { health, text, next_steps }
    }

    /// What is wrong with a database that should be in memory, apart from being open or not.
    fn trouble(&self, seen: &[Seen], sets: &[pb::ReplicaSet]) -> Option<(&'static str, String)> {
        let name = &self.database.name;
        let numbers = |sets: &mut dyn Iterator<Item = &pb::ReplicaSet>| {
            sets.map(|set| set.number.to_string()).collect::<Vec<_>>().join(", ")
        };
        let lost = sets.iter().filter(|set| !set.available).count();
        if lost > 0 {
            let in_lost = |seen: &&Seen| sets.iter().any(|set| !set.available && set.number == seen.set);
            let under_way = seen.iter().any(|seen| seen.status.is_changing() || seen.status == Status::Uncreated);
            let undisturbed = seen.iter().all(|seen| seen.set == 0 || !self.waits(seen));
            let text = if undisturbed && seen.iter().filter(in_lost).any(|seen| !seen.element.created) {
                format!("database {name} is being created")
            } else if lost < sets.len() {
                let lost = numbers(&mut sets.iter().filter(|set| !set.available));
                format!("without a majority of their elements, and so unavailable: replica set {lost}")
            } else if undisturbed && under_way {
                format!("database {name} is being loaded")
            } else {
                format!("no replica set of database {name} has a majority of its elements loaded")
            };
            let health = match (lost < sets.len(), under_way) {
                (true, _) => "DatabasePartial",
                (false, true) => "DatabaseRestarting",
                (false, false) => "DatabaseDown",
            };
            return Some((health, text));
        }
        if sets.iter().any(|set| set.leader == 0) {
            let without = numbers(&mut sets.iter().filter(|set| set.leader == 0));
            return Some(("DatabaseImpeded", format!("no leader is known of replica set {without}")));
        }
        let mapped = seen.iter().filter(|seen| seen.set != 0).count();
        let idle = seen.iter().filter(|seen| seen.set != 0 && !seen.status.is_loaded()).count();
        if idle == 0 {
            return None;
        }
        let data = if self.database.target == Target::Open { "all data is available; " } else { "" };
        let verb = if idle == 1 { "is" } else { "are" };
        let rebuilt: String = seen
            .iter()
            .filter(|seen| seen.set != 0 && has_lost_files(seen))
            .map(|seen| format!("; a new element takes the place of element {} by itself", seen.element.number))
            .collect();
        Some(("DatabaseImpeded", format!("{data}{idle} of {mapped} elements {verb} not loaded{rebuilt}")))
    }

    /// Whether an element goes no further until somebody acts.
    fn waits(&self, seen: &Seen) -> bool {
        seen.status == Status::Down
            || seen.status.is_failed()
            || seen.status == Status::Uncreated && !self.is_up(seen.element.instance)
    }

    fn sessions_left(&self) -> String {
        match self.live.sessions.get(&self.database.name) {
            None | Some(0) => String::new(),
            Some(1) => "; 1 session is left".to_owned(),
            Some(count) => format!("; {count} sessions are left"),
        }
    }

    /// For each element that waits for an operator, what to do; each advice once.
    fn next_steps(&self, seen: &[Seen], sets: &[pb::ReplicaSet]) -> Vec<String> {
        let name = &self.database.name;
        let mut steps: Vec<String> = Vec::new();
        for seen in seen {
            let number = seen.element.number;
            let instance =
                self.model.instances.get(&seen.element.instance).map(Instance::full_name).unwrap_or_default();
            let repair = |command: String| format!("repair what element {number} says, then: {command}");
            let step = match seen.status {
                Status::Down => start(self.model.instances.get(&seen.element.instance), self.live),
                Status::Uncreated if self.waits(seen) => {
                    start(self.model.instances.get(&seen.element.instance), self.live)
                }
                Status::CreateFailed => repair(format!("quorate-admin dbCreate {name} -instance {instance}")),
                Status::LoadFailed if has_lost_files(seen) => {
                    if sets.iter().any(|set| set.number == seen.set && set.available) {
                        continue;
                    }
                    format!(
                        "load a majority of replica set {}, and a new element takes the place of element {number}; if that cannot be, \
                         restore its files and remove the note DAMAGED among them, then: quorate-admin dbLoad {name}",
                        seen.set
                    )
                }
                Status::LoadFailed => repair(format!("quorate-admin dbLoad {name}")),
                Status::OpenFailed => repair(format!("quorate-admin dbOpen {name}")),
                Status::CloseFailed => repair(format!("quorate-admin dbClose {name}")),
                // What another element replaced is outside the map, and the database is not to be destroyed for it.
                Status::DestroyFailed if seen.element.replaced_by.is_some() => {
                    repair(format!("quorate-admin dbDestroy {name} -instance {instance}"))
                }
                Status::DestroyFailed => repair(format!("quorate-admin dbDestroy {name}")),
                _ => continue,
            };
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
        steps
    }
}

/// Whether all instances of a grid are up, in one sentence, and what to do about those that are not.
pub(super) fn of_grid(model: &Model, live: &LiveView) -> (String, Vec<String>) {
    let down: Vec<&Instance> = model
        .instances
        .values()
        .filter(|instance| !instance.up || live.unreachable.contains_key(&instance.number))
        .collect();
    let steps = down.iter().map(|instance| start(Some(instance), live)).collect();
    let verb = if down.len() == 1 { "is" } else { "are" };
    let text = match down.len() {
        0 => "all instances are up".to_owned(),
        count => format!("{count} of {} instances {verb} down", model.instances.len()),
    };
    (text, steps)
}

/// What brings an instance back.
fn start(instance: Option<&Instance>, live: &LiveView) -> String {
    let Some(instance) = instance else { return "start the instance".to_owned() };
    let (name, host) = (instance.full_name(), &instance.spec.host);
    // When the connection is given up, too, the first sign is still known.
    let seen = live.unreachable.get(&instance.number).map(|unreachable| unreachable.reason.as_str());
    let silent = seen == Some(SILENT) || (!instance.up && instance.message == SILENT);
    let what = if silent {
        format!("instance {name} does not answer: if its process hangs, end it and start it again")
    } else {
        format!("start instance {name}")
    };
    format!("{what} (on {host}: quorate start --config FILE)")
}

fn has_lost_files(seen: &Seen) -> bool {
    seen.status == Status::LoadFailed && seen.message.starts_with(LOST_FILES)
}
