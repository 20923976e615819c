//! What instances tell the management group: that they run, that they stopped, and how their elements are.
//!
//! A report comes from one start of an instance, its incarnation. Reports of an older one are refused, so a message
//! that was on its way while the instance died and returned cannot undo what is known of the new process.

use serde::{Deserialize, Serialize};

use crate::command::{Command, ElementReport, Refused, Reply};
use crate::lifecycle::{Status, Target, path};
use crate::model::{Element, ElementNumber, InstanceNumber, Millis, Model};

/// What a data instance sends to the active management instance: when something changed, and as its heartbeat.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceReport {
    /// Sender.
    pub instance: InstanceNumber,
    /// Which of its starts.
    pub incarnation: u64,
    /// Every element it knows of, with what is the case now.
    pub elements: Vec<ElementReport>,
}

impl Model {
    /// The commands that a report calls for: none when it says nothing new.
    #[must_use]
    pub fn news(&self, report: &InstanceReport, now: Millis) -> Vec<Command> {
        let Some(instance) = self.instances.get(&report.instance) else { return Vec::new() };
        let mut commands = Vec::new();
        if !instance.up || report.incarnation > instance.incarnation {
            commands.push(Command::InstanceUp {
                instance: report.instance,
                incarnation: report.incarnation,
                at_ms: now,
            });
        }
        let elements: Vec<ElementReport> =
            report.elements.iter().filter(|element| self.is_news(element)).cloned().collect();
        if !elements.is_empty() {
            commands.push(Command::ReportElements {
                instance: report.instance,
                incarnation: report.incarnation,
                elements,
                at_ms: now,
            });
        }
        commands
    }

    fn is_news(&self, report: &ElementReport) -> bool {
        let Some(element) = self.elements.get(&report.element) else { return false };
        // Progress of what goes on is shown from the live view; only reasons of failures are worth a log entry.
        let reason = report.status.is_failed() && report.message != element.message;
        (report.status != element.status || reason) && !self.has_not_begun(element, report.status)
    }

    /// Whether the instance has merely not acted yet on what the management group decided about the element.
    fn has_not_begun(&self, element: &Element, reported: Status) -> bool {
        match element.status {
            // Where it is not to be loaded any more, it has begun, and been taken back: after a restart by orders of before.
            Status::Loading => {
                matches!(reported, Status::Unloaded | Status::Uncreated) && self.is_to_be_loaded(element)
            }
            Status::Creating => reported == Status::Uncreated && self.is_to_be_loaded(element),
            Status::Unloaded => reported == Status::Uncreated,
            Status::Destroying => !reported.is_gone(),
            _ => false,
        }
    }

    fn is_to_be_loaded(&self, element: &Element) -> bool {
        let database = self.databases.get(&element.database);
        database.is_some_and(|database| matches!(database.target, Target::Loaded | Target::Open))
    }

    pub(crate) fn instance_up(
        &mut self,
        number: InstanceNumber,
        incarnation: u64,
        at: Millis,
    ) -> Result<Reply, Refused> {
        let instance = self.instances.get(&number).ok_or(Refused::NoInstanceNumber(number))?;
        let known = instance.incarnation;
        if incarnation < known {
            return Err(Refused::OldIncarnation { instance: number, known, given: incarnation });
        }
        if instance.up && incarnation == known {
            return Ok(Reply::Already { sequence: self.sequence });
        }
        let name = instance.full_name();
        let restarted = instance.up;
        let reply = self.changed(at, format!("instance {name} is up (incarnation {incarnation})"));
        if restarted {
            // It was back before anybody missed it; what it held in memory is gone all the same.
            self.take_down(number, at, "the instance was restarted");
        }
        if incarnation > known {
            self.sessions_ended_with_process(number, at);
        }
        let instance = self.instances.get_mut(&number).expect("it was found above");
        instance.up = true;
        instance.incarnation = incarnation;
        instance.since_ms = at;
        instance.message.clear();
        for element in self.hosted(number, Status::Down) {
            let element = &self.elements[&element];
            let wanted = self.is_to_be_loaded(element);
            let to = match (element.created, wanted) {
                (false, _) => Status::Creating,
                (true, true) => Status::Loading,
                (true, false) => Status::Unloaded,
            };
            self.set_status(element.number, to, at, "").expect("an element that is down may come back");
        }
        Ok(reply)
    }

    pub(crate) fn instance_down(
        &mut self,
        number: InstanceNumber,
        incarnation: u64,
        message: &str,
        at: Millis,
    ) -> Result<Reply, Refused> {
        let instance = self.instances.get(&number).ok_or(Refused::NoInstanceNumber(number))?;
        if !instance.up || incarnation < instance.incarnation {
            return Ok(Reply::Already { sequence: self.sequence });
        }
        let name = instance.full_name();
        let reply = self.changed(at, format!("instance {name} is down: {message}"));
        let instance = self.instances.get_mut(&number).expect("it was found above");
        instance.up = false;
        instance.since_ms = at;
        message.clone_into(&mut instance.message);
        self.take_down(number, at, message);
        Ok(reply)
    }

    fn take_down(&mut self, instance: InstanceNumber, at: Millis, message: &str) {
        let live: Vec<ElementNumber> = self
            .elements
            .values()
            .filter(|element| element.instance == instance && element.status.is_live())
            .map(|element| element.number)
            .collect();
        for element in live {
            self.set_status(element, Status::Down, at, message).expect("a live element may go down");
        }
    }

    fn hosted(&self, instance: InstanceNumber, status: Status) -> Vec<ElementNumber> {
        self.elements
            .values()
            .filter(|element| element.instance == instance && element.status == status)
            .map(|element| element.number)
            .collect()
    }

    pub(crate) fn report(
        &mut self,
        number: InstanceNumber,
        incarnation: u64,
        reports: &[ElementReport],
        at: Millis,
    ) -> Result<Reply, Refused> {
        let instance = self.instances.get(&number).ok_or(Refused::NoInstanceNumber(number))?;
        if incarnation != instance.incarnation || !instance.up {
            let known = instance.incarnation;
            return Err(Refused::OldIncarnation { instance: number, known, given: incarnation });
        }
        let mut refused = Vec::new();
        let mut recorded = false;
        for report in reports {
            match self.steps(number, report) {
                Ok(None) => {}
                Ok(Some(steps)) => {
                    if !recorded {
                        recorded = true;
                        self.sequence += 1;
                        self.changed_ms = at;
                    }
                    self.take_steps(report, &steps, at);
                }
                Err(from) => refused.push((report.element, from, report.status)),
            }
        }
        self.forget_destroyed(at);
        Ok(Reply::Reported { refused })
    }

    /// The changes that lead to what is reported: `None` when nothing is new, the recorded status when none do.
    fn steps(&self, instance: InstanceNumber, report: &ElementReport) -> Result<Option<Vec<Status>>, Status> {
        // A record that is gone was destroyed, and its instance has not heard of it yet.
        let Some(element) = self.elements.get(&report.element) else { return Ok(None) };
        if !self.is_news(report) {
            return Ok(None);
        }
        if element.instance != instance {
            return Err(element.status);
        }
        let target = self.databases.get(&element.database).map_or(Target::Destroyed, |database| database.target);
        // Nobody destroys files unless that was decided.
        let decided = element.status.is_gone() || element.status.is_evicted();
        let destroyable = target == Target::Destroyed || element.replaced_by.is_some() || decided;
        if report.status.is_gone() && !destroyable {
            return Err(element.status);
        }
        path(element.status, report.status, target).map(Some).ok_or(element.status)
    }

    fn take_steps(&mut self, report: &ElementReport, steps: &[Status], at: Millis) {
        if steps.is_empty() {
            let element = self.elements.get_mut(&report.element).expect("its steps were found");
            report.message.clone_into(&mut element.message);
        }
        for (index, step) in steps.iter().enumerate() {
            let message = if index + 1 == steps.len() { report.message.as_str() } else { "" };
            self.set_status(report.element, *step, at, message).expect("paths consist of allowed changes");
        }
    }

    /// Drops records that nobody needs: of elements that another one replaced, and of databases that are no more.
    fn forget_destroyed(&mut self, at: Millis) {
        self.elements.retain(|_, element| element.status != Status::Destroyed || element.replaced_by.is_none());
        let finished: Vec<_> = self
            .databases
            .values()
            .filter(|database| database.target == Target::Destroyed)
            .filter(|database| self.elements_of(database.number).all(|element| element.status == Status::Destroyed))
            .map(|database| database.number)
            .collect();
        for number in finished {
            let database = self.databases.remove(&number).expect("it was found above");
            self.elements.retain(|_, element| element.database != number);
            self.version += 1;
            self.note(at, format!("database {} is destroyed", database.name));
        }
    }
}

#[cfg(test)]
mod tests;
