//! Disconnecting the sessions of a database: what the operator asked for, and which instances have done it.
//!
//! The wish is recorded, so that it survives the active management instance. Every instance acts once on each wish and reports
//! when none of the sessions concerned is left. A process that was started anew has none of them, so its start counts as done; one
//! that is down is waited for by nobody, and acts when it turns out to have been cut off only. A newer wish replaces an older one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::command::{Refused, Reply};
use crate::model::{DatabaseNumber, InstanceNumber, Millis, Model};

/// How much regard is paid to the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisconnectMode {
    /// A session ends when its open transaction does; sessions without one stay.
    Transactional,
    /// Transactions are rolled back and all sessions end, each told why.
    Immediate,
    /// As immediate, and connections are cut without a word, for clients that take nothing any more.
    Abort,
}

impl DisconnectMode {
    /// The word of commands and displays.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Transactional => "transactional",
            Self::Immediate => "immediate",
            Self::Abort => "abort",
        }
    }
}

/// A wish to disconnect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disconnect {
    /// Sequence of the change that recorded it: tells wishes apart.
    pub number: u64,
    /// How.
    pub mode: DisconnectMode,
    /// When it was recorded.
    pub since_ms: Millis,
    /// What became of it on each instance that the grid had then.
    pub instances: BTreeMap<InstanceNumber, Progress>,
}

/// What became of a wish on one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// Sessions concerned may be left.
    Disconnecting,
    /// None is left.
    Disconnected {
        /// How many were ended; `None` when they ended with their process.
        sessions: Option<u32>,
        /// Since when.
        at_ms: Millis,
    },
}

impl Disconnect {
    /// Whether this instance has still to act.
    #[must_use]
    pub fn is_pending(&self, instance: InstanceNumber) -> bool {
        self.instances.get(&instance) == Some(&Progress::Disconnecting)
    }

    /// Whether no running instance has still to act.
    #[must_use]
    pub fn is_complete(&self, model: &Model) -> bool {
        self.instances.iter().all(|(instance, progress)| {
            *progress != Progress::Disconnecting || model.instances.get(instance).is_none_or(|instance| !instance.up)
        })
    }
}

impl Model {
    pub(crate) fn disconnect(&mut self, name: &str, mode: DisconnectMode, at: Millis) -> Result<Reply, Refused> {
        let database = self.existing(name)?.number;
        let instances = self.instances.keys().map(|instance| (*instance, Progress::Disconnecting)).collect();
        let reply = self.changed(at, format!("sessions of database {name} are to be disconnected ({})", mode.word()));
        let wish = Disconnect { number: self.sequence, mode, since_ms: at, instances };
        self.databases.get_mut(&database).expect("it was found above").disconnect = Some(wish);
        Ok(reply)
    }

    /// An instance has no session left that a wish concerns.
    pub(crate) fn disconnected(
        &mut self,
        number: InstanceNumber,
        incarnation: u64,
        database: DatabaseNumber,
        (wish, sessions): (u64, u32),
        at: Millis,
    ) -> Result<Reply, Refused> {
        let instance = self.instances.get(&number).ok_or(Refused::NoInstanceNumber(number))?;
        if incarnation != instance.incarnation {
            let known = instance.incarnation;
            return Err(Refused::OldIncarnation { instance: number, known, given: incarnation });
        }
        let name = instance.full_name();
        let pending = self.databases.get_mut(&database).and_then(|database| database.disconnect.as_mut());
        // An older wish was replaced, or the database is gone.
        let Some(pending) = pending.filter(|pending| pending.number == wish && pending.is_pending(number)) else {
            return Ok(Reply::Already { sequence: self.sequence });
        };
        pending.instances.insert(number, Progress::Disconnected { sessions: Some(sessions), at_ms: at });
        Ok(self.changed(at, format!("instance {name} has disconnected {sessions} sessions of database {database}")))
    }

    /// A process has begun: the sessions of the one before it ended with that.
    pub(crate) fn sessions_ended_with_process(&mut self, instance: InstanceNumber, at: Millis) {
        for database in self.databases.values_mut() {
            if let Some(wish) = database.disconnect.as_mut().filter(|wish| wish.is_pending(instance)) {
                wish.instances.insert(instance, Progress::Disconnected { sessions: None, at_ms: at });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::Command;
    use crate::testing::{self, THEN, accept};

    fn ask(model: &mut Model, mode: DisconnectMode) -> u64 {
        accept(model, Command::DisconnectDatabase { name: "demo".to_owned(), mode, at_ms: THEN });
        model.sequence
    }

    fn done(model: &mut Model, instance: InstanceNumber, wish: u64, sessions: u32) -> Reply {
        let incarnation = model.instances[&instance].incarnation;
        accept(model, Command::Disconnected { instance, incarnation, database: 1, wish, sessions, at_ms: THEN })
    }

    fn complete(model: &Model) -> bool {
        model.databases[&1].disconnect.as_ref().expect("it was asked for").is_complete(model)
    }

    #[test]
    fn it_is_complete_when_every_running_instance_has_acted() {
        let mut model = testing::a1_open();
        let wish = ask(&mut model, DisconnectMode::Transactional);
        done(&mut model, 1, wish, 2);
        done(&mut model, 2, wish, 0);
        assert!(!complete(&model));
        testing::instance_down(&mut model, 3);
        assert!(complete(&model), "nobody waits for what does not run");
        accept(&mut model, Command::InstanceUp { instance: 3, incarnation: 1, at_ms: THEN });
        assert!(!complete(&model), "it was only cut off, and its sessions live");
        accept(&mut model, Command::InstanceUp { instance: 3, incarnation: 2, at_ms: THEN });
        assert!(complete(&model), "its sessions ended with their process");
    }

    #[test]
    fn a_newer_wish_replaces_an_older_one() {
        let mut model = testing::a1_open();
        let old = ask(&mut model, DisconnectMode::Transactional);
        let new = ask(&mut model, DisconnectMode::Immediate);
        assert!(matches!(done(&mut model, 1, old, 1), Reply::Already { .. }));
        assert!(matches!(done(&mut model, 1, new, 1), Reply::Changed { .. }));
        assert!(matches!(done(&mut model, 1, new, 1), Reply::Already { .. }), "told twice, done once");
    }
}
