//! What can be asked of the management group, and what it answers. Commands are entries of its Raft log.
//!
//! A command carries everything that its effect depends on, times and identities included, so that every replica
//! applies it alike. A refusal is an answer: it is as deterministic as an acceptance, and changes nothing.

use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::disconnect::DisconnectMode;
use crate::lifecycle::Status;
use crate::model::{DatabaseNumber, ElementNumber, InstanceNumber, InstanceSpec, Millis};

/// A change of the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    /// Makes the grid. Once.
    CreateGrid {
        /// Drawn by the instance that was asked.
        uuid: Uuid,
        /// Name of the grid.
        name: String,
        /// Copies of every row.
        k: u32,
        /// Its first instances, numbered from 1 in this order; the management instances among them found the group.
        instances: Vec<InstanceSpec>,
        /// Proposer's time.
        at_ms: Millis,
    },
    /// An instance wants to be one of the grid's, or returns with other addresses.
    RegisterInstance {
        /// What it says of itself.
        spec: InstanceSpec,
        /// Proposer's time.
        at_ms: Millis,
    },
    /// An instance runs and is reached.
    InstanceUp {
        /// Which.
        instance: InstanceNumber,
        /// Which of its starts.
        incarnation: u64,
        /// Proposer's time.
        at_ms: Millis,
    },
    /// An instance is not reached any more.
    InstanceDown {
        /// Which.
        instance: InstanceNumber,
        /// The start that ended. A newer one that is known already wins, and nothing happens.
        incarnation: u64,
        /// How it showed, for people.
        message: String,
        /// Proposer's time.
        at_ms: Millis,
    },
    /// Defines a database; its elements are created and loaded.
    CreateDatabase {
        /// Name.
        name: String,
        /// Number of replica sets; `None`: data instances / k.
        replica_sets: Option<u32>,
        /// Proposer's time.
        at_ms: Millis,
    },
    /// Repeats the creation of a database's elements that failed on one instance.
    CreateElements {
        /// Database.
        name: String,
        /// `host[.instance]`.
        instance: String,
        /// Proposer's time.
        at_ms: Millis,
    },
    /// Wants a database in memory; repeats what failed.
    LoadDatabase {
        /// Name.
        name: String,
        /// `host[.instance]`: repeat only what failed there.
        instance: Option<String>,
        /// Proposer's time.
        at_ms: Millis,
    },
    /// Wants a database open; repeats what failed.
    OpenDatabase {
        /// Name.
        name: String,
        /// Proposer's time.
        at_ms: Millis,
    },
    /// Wants a database closed, and still in memory.
    CloseDatabase {
        /// Name.
        name: String,
        /// Proposer's time.
        at_ms: Millis,
    },
    /// Wants a database out of memory.
    UnloadDatabase {
        /// Name.
        name: String,
        /// Although it is open or elements are still closing.
        force: bool,
        /// Proposer's time.
        at_ms: Millis,
    },
    /// Wants the sessions of a database ended.
    DisconnectDatabase {
        /// Name.
        name: String,
        /// How.
        mode: DisconnectMode,
        /// Proposer's time.
        at_ms: Millis,
    },
    /// An instance has no session left that such a wish concerns.
    Disconnected {
        /// Which.
        instance: InstanceNumber,
        /// Which of its starts.
        incarnation: u64,
        /// Whose sessions.
        database: DatabaseNumber,
        /// Number of the wish.
        wish: u64,
        /// How many sessions were ended.
        sessions: u32,
        /// Proposer's time.
        at_ms: Millis,
    },
    /// Destroys what a database has left on one instance, outside the distribution map.
    DestroyElements {
        /// Database.
        name: String,
        /// `host[.instance]`.
        instance: String,
        /// Proposer's time.
        at_ms: Millis,
    },
    /// Destroys an unloaded database for ever.
    DestroyDatabase {
        /// Name.
        name: String,
        /// Proposer's time.
        at_ms: Millis,
    },
    /// What an instance says of its elements.
    ReportElements {
        /// Which.
        instance: InstanceNumber,
        /// Which of its starts; an older one is refused.
        incarnation: u64,
        /// Elements whose status changed.
        elements: Vec<ElementReport>,
        /// Proposer's time.
        at_ms: Millis,
    },
    /// Gives up an element whose files are lost or damaged: a new one with a new number takes its place.
    ReplaceElement {
        /// Which; it must be `load failed`.
        element: ElementNumber,
        /// Why, for people.
        message: String,
        /// Proposer's time.
        at_ms: Millis,
    },
    /// Another element should lead a replica set.
    PreferLeader {
        /// Which.
        element: ElementNumber,
        /// Proposer's time.
        at_ms: Millis,
    },
}

impl Command {
    /// The proposer's time.
    #[must_use]
    pub fn at_ms(&self) -> Millis {
        match self {
            Self::CreateGrid { at_ms, .. }
            | Self::RegisterInstance { at_ms, .. }
            | Self::InstanceUp { at_ms, .. }
            | Self::InstanceDown { at_ms, .. }
            | Self::CreateDatabase { at_ms, .. }
            | Self::CreateElements { at_ms, .. }
            | Self::LoadDatabase { at_ms, .. }
            | Self::OpenDatabase { at_ms, .. }
            | Self::CloseDatabase { at_ms, .. }
            | Self::UnloadDatabase { at_ms, .. }
            | Self::DisconnectDatabase { at_ms, .. }
            | Self::Disconnected { at_ms, .. }
            | Self::DestroyElements { at_ms, .. }
            | Self::DestroyDatabase { at_ms, .. }
            | Self::ReportElements { at_ms, .. }
            | Self::ReplaceElement { at_ms, .. }
            | Self::PreferLeader { at_ms, .. } => *at_ms,
        }
    }
}

/// Status of one element, as its instance sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElementReport {
    /// Which.
    pub element: ElementNumber,
    /// What it is now; statuses that passed in between may be left out.
    pub status: Status,
    /// Reason of a failure, or progress; may be empty.
    pub message: String,
}

/// Answer to an accepted command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The change was made; the model's sequence is now this.
    Changed {
        /// Sequence of the change.
        sequence: u64,
    },
    /// Nothing had to be changed.
    Already {
        /// The model's sequence.
        sequence: u64,
    },
    /// An instance is the grid's.
    Registered {
        /// Its number.
        instance: InstanceNumber,
        /// Its placement class; 0 when it holds no data.
        data_space_group: u32,
    },
    /// Reports were taken, save for these that no allowed change explains: element, recorded status, reported status.
    /// One that is not empty is an error of the instance's, to be logged as such.
    Reported {
        /// Refused reports.
        refused: Vec<(ElementNumber, Status, Status)>,
    },
}

/// Why a command was refused. The texts are the operators' messages.
#[derive(Clone, Debug, PartialEq, Eq, Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// Nothing can be done before `gridCreate`.
    #[error("No grid exists yet")]
    NoGrid,
    /// There is no database of this name.
    #[error("Database {0} does not exist")]
    NoDatabase(String),
    /// `gridCreate` was done.
    #[error("Grid {0} exists already")]
    GridExists(String),
    /// k is not one that can be kept.
    #[error("k cannot be {0}: it is 1, 3 or 5")]
    WrongK(u32),
    /// Not a name.
    #[error("{what} name \"{name}\" is not allowed: {why}")]
    WrongName {
        /// `Grid`, `Database` …
        what: String,
        /// As given.
        name: String,
        /// The rule that it breaks.
        why: String,
    },
    /// There is a database of this name.
    #[error("Database {0} exists already")]
    DatabaseExists(String),
    /// The instances do not allow the wanted layout.
    #[error("Database {name} cannot be placed: {why}")]
    NoPlace {
        /// Database.
        name: String,
        /// What is missing.
        why: String,
        /// What to do.
        hint: String,
    },
    /// `host[.instance]` is nobody.
    #[error("Instance {0} does not exist")]
    NoInstance(String),
    /// `host` has several instances.
    #[error("Host {name} has several instances: {instances}")]
    AmbiguousInstance {
        /// As given.
        name: String,
        /// `host.instance`, comma separated.
        instances: String,
    },
    /// Elements that exist are not created.
    #[error(
        "Database {name} has element {element} on {instance}, which is {status}; nothing there failed to be created"
    )]
    NothingToCreate {
        /// Database.
        name: String,
        /// Element.
        element: ElementNumber,
        /// `host.instance`.
        instance: String,
        /// Word.
        status: String,
    },
    /// Elements that hold rows of the database are not destroyed one by one.
    #[error("Database {name} needs element {element} on {instance}: it is in the distribution map")]
    InMap {
        /// Database.
        name: String,
        /// Element.
        element: ElementNumber,
        /// `host.instance`.
        instance: String,
    },
    /// The database has nothing on that instance.
    #[error("Database {name} has no element on {instance}")]
    NoElement {
        /// Database.
        name: String,
        /// `host.instance`.
        instance: String,
    },
    /// Opening what is open.
    #[error("Database {0} is already open")]
    AlreadyOpen(String),
    /// Opening what is not in memory.
    #[error("Database {0} is not loaded")]
    NotLoaded(String),
    /// Closing what is closed.
    #[error("Database {0} is already closed")]
    AlreadyClosed(String),
    /// Unloading what is open.
    #[error("Database {0} is open")]
    StillOpen(String),
    /// Unloading while elements close.
    #[error("Database {name} is closing: {elements} of its elements are not closed yet")]
    StillClosing {
        /// Database.
        name: String,
        /// How many.
        elements: usize,
    },
    /// Destroying what is loaded.
    #[error("Database {0} is loaded")]
    StillLoaded(String),
    /// Anything for a database that is being destroyed.
    #[error("Database {0} is being destroyed")]
    BeingDestroyed(String),
    /// Another instance has this name.
    #[error("Instance {0} belongs to the grid with another data directory")]
    ForeignInstance(String),
    /// The grid cannot use this instance as it is configured.
    #[error("Instance {name} cannot join: {why}")]
    UnfitInstance {
        /// `host.instance`.
        name: String,
        /// The rule that it breaks.
        why: String,
    },
    /// No instance has this number.
    #[error("Instance number {0} does not exist")]
    NoInstanceNumber(InstanceNumber),
    /// The sender was started anew since, or is recorded as down.
    #[error("Instance number {instance} {}", stranger(*.known, *.given))]
    OldIncarnation {
        /// Which.
        instance: InstanceNumber,
        /// Newest start.
        known: u64,
        /// The sender's.
        given: u64,
    },
    /// No element has this number.
    #[error("Element {0} does not exist")]
    NoElementNumber(ElementNumber),
    /// Unloading what is in use.
    #[error("Database {name} has {sessions} sessions")]
    HasSessions {
        /// Database.
        name: String,
        /// How many.
        sessions: u32,
    },
    /// Rolling back what is over, or never was.
    #[error("Database {name} has no open transaction {id}")]
    NoTransaction {
        /// Database.
        name: String,
        /// As given.
        id: String,
    },
    /// Not a way to disconnect.
    #[error("Sessions cannot be disconnected in mode {0}: it is transactional, immediate or abort")]
    WrongMode(String),
    /// A change that the table of statuses does not have.
    #[error("Element {element} cannot go from {from} to {to}")]
    Forbidden {
        /// Which.
        element: ElementNumber,
        /// Word.
        from: String,
        /// Word.
        to: String,
    },
}

/// Why nothing is taken from this start of an instance.
fn stranger(known: u64, given: u64) -> String {
    if known == given {
        format!("is recorded as down; it is asked to report again (incarnation {given})")
    } else {
        format!("was started anew: incarnation {known} is known, {given} is over")
    }
}

impl Refused {
    /// The number operators see. Numbers are never given to another refusal.
    #[must_use]
    pub fn number(&self) -> u32 {
        match self {
            Self::NoGrid => 1,
            Self::NoDatabase(_) => 2,
            Self::GridExists(_) => 3,
            Self::WrongK(_) => 4,
            Self::WrongName { .. } => 5,
            Self::DatabaseExists(_) => 6,
            Self::NoPlace { .. } => 7,
            Self::NoInstance(_) => 8,
            Self::AmbiguousInstance { .. } => 9,
            Self::NothingToCreate { .. } => 10,
            Self::NoElement { .. } => 11,
            Self::AlreadyOpen(_) => 12,
            Self::NotLoaded(_) => 13,
            Self::AlreadyClosed(_) => 14,
            Self::StillOpen(_) => 15,
            Self::StillClosing { .. } => 16,
            Self::StillLoaded(_) => 17,
            Self::BeingDestroyed(_) => 18,
            Self::ForeignInstance(_) => 19,
            Self::UnfitInstance { .. } => 20,
            Self::NoInstanceNumber(_) => 21,
            Self::OldIncarnation { .. } => 22,
            Self::NoElementNumber(_) => 23,
            Self::Forbidden { .. } => 24,
            Self::HasSessions { .. } => 25,
            Self::InMap { .. } => 26,
            Self::NoTransaction { .. } => 27,
            Self::WrongMode(_) => 28,
        }
    }

    /// What to do next; empty when there is nothing to advise.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoGrid => "Make it: quorate-admin gridCreate NAME -k 3".to_owned(),
            Self::NoDatabase(_) => {
                "Upper and lower case count in names of databases; they are listed by: quorate-admin dbList".to_owned()
            }
            Self::WrongK(2) => {
                "Two copies need a witness, which this version does not have; with three instances use -k 3".to_owned()
            }
            Self::NoPlace { hint, .. } => hint.clone(),
            Self::NoInstance(_) | Self::AmbiguousInstance { .. } => {
                "The names are shown by: quorate-admin gridDisplay".to_owned()
            }
            Self::DatabaseExists(name) | Self::NothingToCreate { name, .. } | Self::BeingDestroyed(name) => {
                format!("See how it is: quorate-admin dbStatus {name} -all")
            }
            Self::InMap { name, .. } => {
                format!(
                    "To destroy the whole database: quorate-admin dbUnload {name}, then quorate-admin dbDestroy {name}"
                )
            }
            Self::NoElement { name, .. } => {
                format!("Its elements are shown by: quorate-admin dbStatus {name} -element")
            }
            Self::NotLoaded(name) => format!("Load it first: quorate-admin dbLoad {name}"),
            Self::StillOpen(name) => format!("Close it first: quorate-admin dbClose {name}"),
            Self::StillClosing { name, .. } => {
                format!("Wait until it is closed, or unload it all the same: quorate-admin dbUnload {name} -force")
            }
            Self::HasSessions { name, .. } => {
                format!("Wait until they end, or end them: quorate-admin dbDisconnect {name} -immediate -wait")
            }
            Self::StillLoaded(name) => format!("Unload it first: quorate-admin dbUnload {name}"),
            Self::ForeignInstance(_) => {
                "Start it with the data directory that it had, or give the new one another name".to_owned()
            }
            Self::NoTransaction { name, .. } => {
                format!("Those that are open are shown by: quorate-admin xactList {name}")
            }
            Self::WrongMode(_)
            | Self::WrongK(_)
            | Self::GridExists(_)
            | Self::WrongName { .. }
            | Self::AlreadyOpen(_)
            | Self::AlreadyClosed(_)
            | Self::UnfitInstance { .. }
            | Self::NoInstanceNumber(_)
            | Self::OldIncarnation { .. }
            | Self::NoElementNumber(_)
            | Self::Forbidden { .. } => String::new(),
        }
    }
}
