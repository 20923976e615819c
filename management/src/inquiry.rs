//! Questions that only the instances themselves can answer: their sessions, and what their elements are doing.
//!
//! Unlike the status, which is what the management group has recorded, these are asked for when an operator wants to know. The
//! active management instance asks all instances at once; one that is down or does not answer in time is named as silent, and
//! the others' answers count all the same.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use quorate_proto::admin as pb;
use serde::{Deserialize, Serialize};

use crate::command::Refused;
use crate::disconnect::Progress;
use crate::model::{Database, DatabaseNumber, Instance, InstanceNumber, Model};
use crate::service::{Port, PortError};

/// How long an instance may take for its answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// What an instance is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// The sessions of a database.
    Sessions {
        /// Name of the database.
        database: String,
    },
    /// Its elements of a database.
    Elements {
        /// Number of the database.
        database: DatabaseNumber,
    },
    /// What transactions hold in the sets of a database that its elements lead.
    Holdings {
        /// Number of the database.
        database: DatabaseNumber,
    },
    /// To end a session if it is in this transaction.
    EndTransaction {
        /// Name of the database.
        database: String,
        /// Which start of the instance.
        incarnation: u32,
        /// The session.
        process_id: i32,
        /// Which of its transactions.
        transaction: u64,
    },
}

/// What it says. Host and instance are left empty: the asker knows them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Its sessions.
    Sessions(Vec<pb::Connection>),
    /// Its elements.
    Elements(Vec<pb::ElementDetails>),
    /// What transactions hold where its elements lead.
    Holdings(Vec<Holding>),
    /// Whether there was such a transaction.
    Ended(bool),
}

/// A transaction that is prepared for so long, and has no session, is shown as in doubt. Outcomes usually arrive within a few milliseconds.
const IN_DOUBT_MS: u64 = 1000;

/// What one transaction has in one replica set, as the set's leader knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// The set.
    pub replica_set: u32,
    /// As `txid_current()` gives it.
    pub transaction: u64,
    /// The instance whose session it is, or was.
    pub gateway: InstanceNumber,
    /// It has locks or rows.
    pub holds: bool,
    /// For how many milliseconds it has been prepared: only its outcome ends it then.
    pub prepared_ms: Option<u64>,
    /// Transactions whose locks or writes it waits for.
    pub waits_for: Vec<u64>,
}

fn existing<'a>(model: &'a Model, name: &str) -> Result<&'a Database, PortError> {
    if model.grid.is_none() {
        return Err(PortError::Refused(Refused::NoGrid));
    }
    model.database(name).ok_or_else(|| PortError::Refused(Refused::NoDatabase(name.to_owned())))
}

fn silence(instance: &Instance, reason: String) -> pb::Silence {
    pb::Silence { host: instance.spec.host.clone(), instance: instance.spec.name.clone(), reason }
}

/// Asks an instance, unless it is down.
async fn ask<P: Port>(port: &P, instance: &Instance, question: Question) -> Result<Answer, String> {
    if !instance.up {
        return Err(format!("down: {}", instance.message));
    }
    match tokio::time::timeout(ANSWER_MAX, port.ask_instance(instance.number, question)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", ANSWER_MAX.as_secs())),
    }
}

/// The sessions of a database on all instances.
pub(crate) async fn connections<P: Port>(
    port: &P,
    model: &Model,
    name: &str,
) -> Result<pb::DbConnectionsReply, PortError> {
    existing(model, name)?;
    let asked = model.instances.values().map(|instance| async move {
        (instance, ask(port, instance, Question::Sessions { database: name.to_owned() }).await)
    });
    let mut reply = pb::DbConnectionsReply { database: name.to_owned(), as_of_ms: port.now_ms(), ..Default::default() };
    for (instance, answer) in join_all(asked).await {
        match answer {
            Ok(Answer::Sessions(sessions)) => reply.connections.extend(sessions.into_iter().map(|session| {
                let transaction = match session.transaction.as_str() {
                    "" => String::new(),
                    here => format!("{}.{here}", instance.number),
                };
                let (host, name) = (instance.spec.host.clone(), instance.spec.name.clone());
                pb::Connection { host, instance: name, transaction, ..session }
            })),
            Ok(other) => reply.silent.push(silence(instance, format!("unexpected answer {other:?}"))),
            Err(reason) => reply.silent.push(silence(instance, reason)),
        }
    }
    Ok(reply)
}

/// Adds to the sessions of a database what the leaders say of their transactions, and those that have no session any more.
pub(crate) async fn with_holdings<P: Port>(
    port: &P,
    model: &Model,
    mut reply: pb::DbConnectionsReply,
) -> Result<pb::DbConnectionsReply, PortError> {
    let database = existing(model, &reply.database)?.number;
    let data = model.instances.values().filter(|instance| instance.spec.data);
    let asked =
        data.map(|instance| async move { (instance, ask(port, instance, Question::Holdings { database }).await) });
    let mut holdings = Vec::new();
    for (instance, answer) in join_all(asked).await {
        match answer {
            Ok(Answer::Holdings(told)) => holdings.extend(told),
            Ok(other) => reply.silent.push(silence(instance, format!("unexpected answer {other:?}"))),
            // Named already if it did not answer for its sessions either.
            Err(reason) => {
                let new = silence(instance, reason);
                let named = |known: &pb::Silence| (&known.host, &known.instance) == (&new.host, &new.instance);
                if !reply.silent.iter().any(named) {
                    reply.silent.push(new);
                }
            }
        }
    }
    merge(&mut reply.connections, &holdings, model);
    Ok(reply)
}

/// See [`with_holdings`].
fn merge(sessions: &mut Vec<pb::Connection>, holdings: &[Holding], model: &Model) {
    let mut names: BTreeMap<u64, String> = BTreeMap::new();
    for session in sessions.iter().filter(|session| session.transaction_id != 0) {
        names.insert(session.transaction_id, session.transaction.clone());
    }
    // What waits has a session: it would not wait otherwise. One that only waits and is not known is just beginning or ending.
    // What is prepared without a session is no news at first: leaders are asked after the sessions, and hear of outcomes after the clients.
    let in_doubt = |holding: &&Holding| holding.prepared_ms.is_some_and(|ms| ms >= IN_DOUBT_MS);
    for holding in holdings.iter().filter(in_doubt) {
        if let Entry::Vacant(name) = names.entry(holding.transaction) {
            name.insert(holding.transaction.to_string());
            let spec = model.instances.get(&holding.gateway).map(|instance| instance.spec.clone());
            sessions.push(pb::Connection {
                host: spec.as_ref().map(|spec| spec.host.clone()).unwrap_or_default(),
                instance: spec.map(|spec| spec.name).unwrap_or_default(),
                state: "in doubt".to_owned(),
                transaction_id: holding.transaction,
                ..Default::default()
            });
        }
    }
    let name = |txn: &u64| names.get(txn).cloned().unwrap_or_else(|| txn.to_string());
    for session in sessions.iter_mut().filter(|session| session.transaction_id != 0) {
        let own = holdings.iter().filter(|holding| holding.transaction == session.transaction_id);
        let (mut sets, mut waits_for) = (BTreeSet::new(), BTreeSet::new());
        for holding in own {
            if holding.holds {
                sets.insert(holding.replica_set);
            }
            if holding.prepared_ms.is_some() && session.process_id != 0 {
                "committing".clone_into(&mut session.state);
            }
            waits_for.extend(&holding.waits_for);
        }
        let waiting = holdings.iter().filter(|holding| holding.waits_for.contains(&session.transaction_id));
        let blocks: BTreeSet<u64> = waiting.map(|holding| holding.transaction).collect();
        session.replica_sets = sets.into_iter().collect();
        session.waits_for = waits_for.iter().map(name).collect();
        session.blocks = blocks.iter().map(name).collect();
    }
}

/// What all instances say of their elements of a database, beside what is recorded.
pub(crate) async fn details<P: Port>(port: &P, model: &Model, name: &str) -> Result<pb::DbDetailsReply, PortError> {
    let database = existing(model, name)?.number;
    let data = model.instances.values().filter(|instance| instance.spec.data);
    let asked =
        data.map(|instance| async move { (instance, ask(port, instance, Question::Elements { database }).await) });
    let mut reply = pb::DbDetailsReply { database: name.to_owned(), as_of_ms: port.now_ms(), ..Default::default() };
    let mut told: BTreeMap<u64, pb::ElementDetails> = BTreeMap::new();
    for (instance, answer) in join_all(asked).await {
        match answer {
            Ok(Answer::Elements(elements)) => {
                told.extend(elements.into_iter().map(|element| (element.number, element)));
            }
            Ok(other) => reply.silent.push(silence(instance, format!("unexpected answer {other:?}"))),
            Err(reason) => reply.silent.push(silence(instance, reason)),
        }
    }
    reply.elements = model
        .elements_of(database)
        .map(|element| {
            let spec = &model.instances[&element.instance].spec;
            pb::ElementDetails {
                number: element.number,
                host: spec.host.clone(),
                instance: spec.name.clone(),
                recorded: element.status.word().to_owned(),
                ..told.remove(&element.number).unwrap_or_default()
            }
        })
        .collect();
    Ok(reply)
}

/// Rolls a transaction back by ending its session.
pub(crate) async fn roll_back<P: Port>(
    port: &P,
    model: &Model,
    name: &str,
    transaction: &str,
) -> Result<pb::XactRollbackReply, PortError> {
    existing(model, name)?;
    let absent = || PortError::Refused(Refused::NoTransaction { name: name.to_owned(), id: transaction.to_owned() });
    let numbers: Option<Vec<u64>> = transaction.split('.').map(|number| number.parse().ok()).collect();
    let Some([instance, incarnation, process_id, count]) = numbers.as_deref() else { return Err(absent()) };
    let known = InstanceNumber::try_from(*instance).ok().and_then(|instance| model.instances.get(&instance));
    let (Some(instance), Ok(process_id), Ok(incarnation)) =
        (known, i32::try_from(*process_id), u32::try_from(*incarnation))
    else {
        return Err(absent());
    };
    let question = Question::EndTransaction { database: name.to_owned(), incarnation, process_id, transaction: *count };
    match ask(port, instance, question).await {
        Ok(Answer::Ended(true)) => {
            Ok(pb::XactRollbackReply { database: name.to_owned(), transaction: transaction.to_owned() })
        }
        Ok(Answer::Ended(false)) => Err(absent()),
        Ok(other) => Err(PortError::Failed(format!("unexpected answer {other:?}"))),
        Err(reason) => Err(PortError::Failed(format!("instance {} was not reached: {reason}", instance.full_name()))),
    }
}

/// How far the newest wish to disconnect a database's sessions has come.
pub(crate) fn disconnect_status(model: &Model, name: &str, now: i64) -> Result<pb::DbDisconnectStatusReply, PortError> {
    let database = existing(model, name)?;
    let reply = pb::DbDisconnectStatusReply {
        database: name.to_owned(),
        as_of_ms: now,
        overall: "Defined".to_owned(),
        ..Default::default()
    };
    let Some(wish) = &database.disconnect else { return Ok(reply) };
    let instances = wish.instances.iter().filter_map(|(number, progress)| {
        let instance = model.instances.get(number)?;
        let (status, at_ms, sessions, message) = match progress {
            Progress::Disconnecting if instance.up => ("Disconnecting", 0, 0, String::new()),
            Progress::Disconnecting => {
                ("Disconnecting", 0, 0, "its instance is down, and is not waited for".to_owned())
            }
            Progress::Disconnected { sessions: Some(sessions), at_ms } => {
                ("Disconnected", *at_ms, *sessions, String::new())
            }
            Progress::Disconnected { sessions: None, at_ms } => {
                ("Disconnected", *at_ms, 0, "its sessions ended with their process".to_owned())
            }
        };
        Some(pb::InstanceDisconnect {
            host: instance.spec.host.clone(),
            instance: instance.spec.name.clone(),
            status: status.to_owned(),
            at_ms,
            sessions,
            message,
        })
    });
    Ok(pb::DbDisconnectStatusReply {
        overall: if wish.is_complete(model) { "Complete" } else { "Disconnecting" }.to_owned(),
        mode: wish.mode.word().to_owned(),
        since_ms: wish.since_ms,
        sequence: wish.number,
        instances: instances.collect(),
        ..reply
    })
}
