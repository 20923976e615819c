//! The replicated state of the management group: the grid, its instances, its databases and their elements.
//!
//! Plain data. It changes only through [`Model::apply`](crate::Model::apply), the same way on every management instance,
//! and therefore knows no clock, no network and no randomness. [`Model::check`] states what always holds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::disconnect::Disconnect;
use crate::lifecycle::{Status, Target};

/// Number of an instance in its grid, from 1. Never reused.
pub type InstanceNumber = u32;
/// Number of a database in its grid, from 1. Never reused.
pub type DatabaseNumber = u32;
/// Identifies a replica set in its database for ever, from 1: with the database's number it names a Raft group.
pub type SetId = u32;
/// Number of an element: a Raft node id, from 1. Never reused in its grid.
pub type ElementNumber = u64;
/// Milliseconds since 1970-01-01 UTC, as the proposer's clock showed them. For people only: nothing is decided by it.
pub type Millis = i64;

/// Hash buckets of distribution keys in every database.
pub const SLOTS: usize = 4096;
/// Events that are kept.
pub const EVENTS_MAX: usize = 1000;

/// The grid itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grid {
    /// In every store and handshake.
    pub uuid: Uuid,
    /// As given to `gridCreate`.
    pub name: String,
    /// Copies of every row.
    pub k: u32,
    /// When it was made.
    pub created_ms: Millis,
}

/// What an instance says of itself when it asks to be one of the grid's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceSpec {
    /// Name of the machine; copies of one replica set are placed on different ones.
    pub host: String,
    /// Name of the instance on its host.
    pub name: String,
    /// Made with the data directory: tells an instance that returns from another one that took its name.
    pub identity: Uuid,
    /// Where SQL clients reach it, `host:port`.
    pub sql_address: String,
    /// Where operators and the other instances reach it, `host:port`.
    pub peer_address: String,
    /// Placement class that its configuration asks for, from 1; `None` lets the grid choose.
    pub data_space_group: Option<u32>,
    /// Holds elements.
    pub data: bool,
    /// Is a member of the management group.
    pub management: bool,
    /// Counts as a machine of its own although others share its host.
    pub single_host: bool,
}

/// One server process, known to the grid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Number.
    pub number: InstanceNumber,
    /// What it said of itself.
    #[serde(flatten)]
    pub spec: InstanceSpec,
    /// Placement class, 1 to k; 0 when it holds no data.
    pub group: u32,
    /// Newest start that is known; 0 when none is yet.
    pub incarnation: u64,
    /// Whether it runs, as the management group knows it.
    pub up: bool,
    /// When `up` changed.
    pub since_ms: Millis,
    /// Why it is down; empty when it is up.
    pub message: String,
}

impl Instance {
    /// `host.instance`, as operators name it.
    #[must_use]
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.spec.host, self.spec.name)
    }
}

/// Which replica set holds which slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistributionMap {
    /// Rises with every change; 1 for the first map.
    pub version: u64,
    /// The set of each slot.
    pub slots: Vec<SetId>,
}

impl DistributionMap {
    /// The first map: slots dealt out in turn, so that all sets hold equally many (±1).
    #[must_use]
    pub fn first(sets: &[SetId]) -> Self {
        assert!(!sets.is_empty(), "a map needs a replica set");
        let slots = sets.iter().copied().cycle().take(SLOTS).collect();
        Self { version: 1, slots }
    }
}

/// Elements that hold the same rows: one Raft group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaSet {
    /// For ever, unlike its position in [`Database::sets`], by which operators number it.
    pub id: SetId,
    /// Its elements, by data space group.
    pub members: Vec<ElementNumber>,
    /// Which of them should lead while nothing is wrong.
    pub preferred_leader: ElementNumber,
}

/// One database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// Number.
    pub number: DatabaseNumber,
    /// Name, unique while it exists.
    pub name: String,
    /// What the operator wants.
    pub target: Target,
    /// Whether unloading may go through elements that are still closing.
    pub force: bool,
    /// The replica sets of the map; operators number them by position, from 1.
    pub sets: Vec<ReplicaSet>,
    /// Slots to sets.
    pub map: DistributionMap,
    /// When it was defined.
    pub created_ms: Millis,
    /// The newest wish to disconnect its sessions.
    #[serde(default)]
    pub disconnect: Option<Disconnect>,
}

/// One replica of one partition, or the record of one that was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Element {
    /// Number.
    pub number: ElementNumber,
    /// Database.
    pub database: DatabaseNumber,
    /// Set whose rows it holds or held.
    pub set: SetId,
    /// Instance that hosts it.
    pub instance: InstanceNumber,
    /// Placement class of the instance.
    pub group: u32,
    /// Status.
    pub status: Status,
    /// When the status was reached.
    pub since_ms: Millis,
    /// Reason or progress; may be empty.
    pub message: String,
    /// Rises when an operator asks to repeat what failed; an instance tries once per value.
    pub attempt: u32,
    /// Its files were made. Where they are missing afterwards, they are lost: the element must not be made again.
    pub created: bool,
    /// One of those that found its Raft group together; others join it.
    pub founder: bool,
    /// The element that took its place; its own files are to be destroyed.
    pub replaced_by: Option<ElementNumber>,
}

/// Something that happened, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Sequence of the change that made it.
    pub sequence: u64,
    /// When.
    pub at_ms: Millis,
    /// One line.
    pub text: String,
}

/// Next numbers to give out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    pub(crate) instance: InstanceNumber,
    pub(crate) database: DatabaseNumber,
    pub(crate) element: ElementNumber,
}

/// State of the management group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// `None` until `gridCreate`.
    pub grid: Option<Grid>,
    /// Number of accepted changes; never falls.
    pub sequence: u64,
    /// Rises when instances, databases, sets or elements come, go or change their places.
    pub version: u64,
    /// Time of the newest change.
    pub changed_ms: Millis,
    /// Instances by number.
    pub instances: BTreeMap<InstanceNumber, Instance>,
    /// Databases by number.
    pub databases: BTreeMap<DatabaseNumber, Database>,
    /// Element records by number.
    pub elements: BTreeMap<ElementNumber, Element>,
    /// The newest events, oldest first; at most [`EVENTS_MAX`].
    pub events: VecDeque<Event>,
    /// Numbers to give out.
    pub next: Next,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            grid: None,
            sequence: 0,
            version: 0,
            changed_ms: 0,
            instances: BTreeMap::new(),
            databases: BTreeMap::new(),
            elements: BTreeMap::new(),
            events: VecDeque::new(),
            next: Next { instance: 1, database: 1, element: 1 },
        }
    }
}

impl Model {
    /// A database by name.
    #[must_use]
    pub fn database(&self, name: &str) -> Option<&Database> {
        self.databases.values().find(|database| database.name == name)
    }

    /// Element records of a database, by number.
    pub fn elements_of(&self, database: DatabaseNumber) -> impl Iterator<Item = &Element> {
        self.elements.values().filter(move |element| element.database == database)
    }

    /// The element's set while it is in the distribution map.
    #[must_use]
    pub fn set_of(&self, element: &Element) -> Option<&ReplicaSet> {
        let database = self.databases.get(&element.database)?;
        database.sets.iter().find(|set| set.id == element.set && set.members.contains(&element.number))
    }

    /// The members of the management group: their Raft node ids there are their instance numbers.
    pub fn management(&self) -> impl Iterator<Item = &Instance> {
        self.instances.values().filter(|instance| instance.spec.management)
    }

    /// Instances that `host[.instance]` may mean.
    #[must_use]
    pub fn instances_named(&self, name: &str) -> Vec<&Instance> {
        let exact: Vec<&Instance> = self.instances.values().filter(|instance| instance.full_name() == name).collect();
        if exact.is_empty() {
            return self.instances.values().filter(|instance| instance.spec.host == name).collect();
        }
        exact
    }

    /// What always holds.
    ///
    /// # Panics
    /// When it does not: the state is damaged or `apply` is wrong, and no replica may go on with it.
    pub fn check(&self) {
        let mut members = BTreeSet::new();
        for (number, database) in &self.databases {
            assert!(
                *number == database.number && *number < self.next.database,
                "database {number} is numbered wrongly"
            );
            assert_eq!(database.map.slots.len(), SLOTS, "database {number}: every slot has a set");
            let ids: BTreeSet<SetId> = database.sets.iter().map(|set| set.id).collect();
            assert_eq!(ids.len(), database.sets.len(), "database {number}: set ids are unique");
            assert!(
                database.map.slots.iter().all(|set| ids.contains(set)),
                "database {number}: every slot's set exists"
            );
            for set in &database.sets {
                self.check_set(database, set, &mut members);
            }
        }
        for (number, element) in &self.elements {
            assert!(*number == element.number && *number < self.next.element, "element {number} is numbered wrongly");
            assert!(self.databases.contains_key(&element.database), "element {number} belongs to a database");
            assert!(self.instances.contains_key(&element.instance), "element {number} has an instance");
            assert!(element.created || !element.status.is_loaded(), "element {number} is loaded, so it was created");
            assert!(
                element.replaced_by.is_none_or(|by| self.elements.contains_key(&by) && !members.contains(number)),
                "element {number} was replaced, so it is in no set"
            );
        }
        let names: BTreeSet<String> = self.instances.values().map(Instance::full_name).collect();
        assert_eq!(names.len(), self.instances.len(), "instances have names of their own");
        for (number, instance) in &self.instances {
            assert!(
                *number == instance.number && *number < self.next.instance,
                "instance {number} is numbered wrongly"
            );
        }
        assert!(self.grid.is_some() || self.instances.is_empty(), "nothing exists before the grid");
        assert!(self.events.len() <= EVENTS_MAX, "events are bounded");
    }

    fn check_set(&self, database: &Database, set: &ReplicaSet, members: &mut BTreeSet<ElementNumber>) {
        let what = format!("database {} set {}", database.number, set.id);
        let k = self.grid.as_ref().map_or(0, |grid| grid.k);
        assert_eq!(set.members.len(), k as usize, "{what} has k members");
        assert!(set.members.contains(&set.preferred_leader), "{what}: its preferred leader is a member");
        let mut groups = BTreeSet::new();
        for number in &set.members {
            let element = self.elements.get(number).unwrap_or_else(|| panic!("{what}: element {number} exists"));
            assert_eq!(
                (element.database, element.set),
                (database.number, set.id),
                "{what}: element {number} is its own"
            );
            assert!(groups.insert(element.group), "{what}: copies are in different data space groups");
            assert!(members.insert(*number), "{what}: element {number} is in one set only");
            assert!(element.replaced_by.is_none(), "{what}: element {number} was not replaced");
        }
    }
}
