//! What a data instance should do, and what a gateway must know: the model, seen by one instance.
//!
//! Orders are levels: "this element should be open", not "open it now". An instance compares them with what it has, takes
//! the next step, and reports. So orders may be lost, repeated or come late without harm, and an instance that keeps the
//! newest [`Orders`] on its disk can start and serve while no management instance answers.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::disconnect::DisconnectMode;
use crate::lifecycle::{Status, Target};
use crate::model::{DatabaseNumber, DistributionMap, ElementNumber, Instance, InstanceNumber, Model, SetId};

/// Everything that one instance is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// The grid they come from.
    pub grid: Uuid,
    /// Sequence of the model they were made from. Orders with a lower one than those at hand are late: ignore them.
    pub sequence: u64,
    /// Version of the model's shape.
    pub version: u64,
    /// Every instance of the grid.
    pub instances: Vec<PeerInstance>,
    /// Every database, for gateways.
    pub databases: Vec<DatabaseDirectory>,
    /// The elements of the instance that is told.
    pub elements: Vec<ElementOrder>,
}

/// An instance, as the others know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerInstance {
    /// Number.
    pub number: InstanceNumber,
    /// `host.instance`.
    pub name: String,
    /// Where SQL clients reach it.
    pub sql_address: String,
    /// Where the others reach it.
    pub peer_address: String,
    /// Holds elements.
    pub data: bool,
    /// Is a member of the management group.
    pub management: bool,
    /// Newest start that management knows; older ones are over.
    pub incarnation: u64,
}

/// What a gateway needs to use a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseDirectory {
    /// Number.
    pub number: DatabaseNumber,
    /// Name.
    pub name: String,
    /// Whether sessions are wanted.
    pub open: bool,
    /// Whether it is wanted in memory; sessions that are left when it is not are ended.
    pub loaded: bool,
    /// A wish to disconnect sessions on which the instance that is told has still to act: its number, and how.
    #[serde(default)]
    pub disconnect: Option<(u64, DisconnectMode)>,
    /// Its replica sets, in the operators' order.
    pub sets: Vec<SetDirectory>,
    /// Slots to sets.
    pub map: DistributionMap,
}

/// One replica set: the Raft group of its database's number and its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDirectory {
    /// Id.
    pub id: SetId,
    /// Number that operators see.
    pub number: u32,
    /// Its members.
    pub members: Vec<MemberPlace>,
    /// Which of them should lead.
    pub preferred_leader: ElementNumber,
}

/// Where a member of a replica set lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberPlace {
    /// Raft node id.
    pub element: ElementNumber,
    /// Its instance.
    pub instance: InstanceNumber,
}

/// What should become of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// In memory, taking sessions.
    Open,
    /// In memory, no sessions.
    Loaded,
    /// Files on disk, not in memory.
    Unloaded,
    /// No files.
    Destroyed,
}

/// What one element should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ElementOrder {
    /// Which.
    pub element: ElementNumber,
    /// Its database.
    pub database: DatabaseNumber,
    /// Name of the database.
    pub database_name: String,
    /// Its replica set.
    pub set: SetId,
    /// What to bring it to.
    pub goal: Goal,
    /// What failed is tried again only when this rises, or after a start of the instance.
    pub attempt: u32,
    /// Its files were made once: if they are missing they are lost, and it reports `load failed` instead of making them.
    pub created: bool,
    /// Founds the group, together with the other members, when it is made; otherwise it is made empty and its leader
    /// lets it in.
    pub founder: bool,
    /// The members that the group should have. The leader changes the membership towards them.
    pub members: Vec<MemberPlace>,
    /// Which member should lead. A leader that is not this one hands over once that one has caught up.
    pub preferred_leader: ElementNumber,
    /// What management has recorded: tells an instance which reports got through.
    pub recorded: Status,
}

/// What a data instance should have.
#[must_use]
pub fn reconcile(model: &Model, instance: InstanceNumber) -> Vec<ElementOrder> {
    let hosted = model.elements.values().filter(|element| element.instance == instance);
    hosted
        .filter(|element| element.status != Status::Destroyed)
        .map(|element| {
            let database = &model.databases[&element.database];
            let set = database.sets.iter().find(|set| set.id == element.set);
            let goal = match database.target {
                _ if element.replaced_by.is_some() || element.status.is_gone() => Goal::Destroyed,
                _ if element.status.is_evicted() => Goal::Unloaded,
                Target::Destroyed => Goal::Destroyed,
                Target::Unloaded => Goal::Unloaded,
                Target::Loaded => Goal::Loaded,
                Target::Open => Goal::Open,
            };
            ElementOrder {
                element: element.number,
                database: database.number,
                database_name: database.name.clone(),
                set: element.set,
                goal,
                attempt: element.attempt,
                created: element.created,
                // Once one of the founders was replaced, the group is long founded, with another membership than the one here.
                founder: element.founder
                    && set.is_some_and(|set| set.members.iter().all(|member| model.elements[member].founder)),
                members: set.map_or_else(Vec::new, |set| places(model, &set.members)),
                preferred_leader: set.map_or(0, |set| set.preferred_leader),
                recorded: element.status,
            }
        })
        .collect()
}

/// Everything to tell an instance; `None` before the grid exists.
#[must_use]
pub fn orders(model: &Model, instance: InstanceNumber) -> Option<Orders> {
    let grid = model.grid.as_ref()?;
    Some(Orders {
        grid: grid.uuid,
        sequence: model.sequence,
        version: model.version,
        instances: model.instances.values().map(peer).collect(),
        databases: directory(model, instance),
        elements: reconcile(model, instance),
    })
}

fn peer(instance: &Instance) -> PeerInstance {
    PeerInstance {
        number: instance.number,
        name: instance.full_name(),
        sql_address: instance.spec.sql_address.clone(),
        peer_address: instance.spec.peer_address.clone(),
        data: instance.spec.data,
        management: instance.spec.management,
        incarnation: instance.incarnation,
    }
}

/// The databases, as the gateway of an instance needs them.
#[must_use]
pub fn directory(model: &Model, instance: InstanceNumber) -> Vec<DatabaseDirectory> {
    model
        .databases
        .values()
        .map(|database| DatabaseDirectory {
            number: database.number,
            name: database.name.clone(),
            open: database.target == Target::Open,
            loaded: matches!(database.target, Target::Open | Target::Loaded),
            disconnect: database
                .disconnect
                .as_ref()
                .filter(|wish| wish.is_pending(instance))
                .map(|wish| (wish.number, wish.mode)),
            sets: database
                .sets
                .iter()
                .zip(1..)
                .map(|(set, number)| SetDirectory {
                    id: set.id,
                    number,
                    members: places(model, &set.members),
                    preferred_leader: set.preferred_leader,
                })
                .collect(),
            map: database.map.clone(),
        })
        .collect()
}

fn places(model: &Model, members: &[ElementNumber]) -> Vec<MemberPlace> {
    members
        .iter()
        .map(|element| MemberPlace { element: *element, instance: model.elements[element].instance })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn goals(model: &Model, instance: InstanceNumber) -> Vec<(ElementNumber, Goal, bool)> {
        reconcile(model, instance).iter().map(|order| (order.element, order.goal, order.founder)).collect()
    }

    #[test]
    fn an_instance_is_told_its_own_elements() {
        let model = testing::a1_open();
        assert_eq!(goals(&model, 2), [(2, Goal::Open, true), (5, Goal::Open, true), (8, Goal::Open, true)]);
        let order = &reconcile(&model, 2)[1];
        let members: Vec<_> = order.members.iter().map(|member| (member.element, member.instance)).collect();
        assert_eq!((order.set, order.preferred_leader, members), (2, 5, vec![(4, 1), (5, 2), (6, 3)]));
        assert!(order.created);
    }

    #[test]
    fn a_replaced_element_is_destroyed_and_its_successor_joins() {
        let mut model = testing::a1_open();
        testing::report(&mut model, 2, &[(5, Status::LoadFailed, "files are missing")]);
        testing::replace(&mut model, 5);
        assert_eq!(
            goals(&model, 2),
            [(2, Goal::Open, true), (5, Goal::Destroyed, false), (8, Goal::Open, true), (10, Goal::Open, false)]
        );
        assert_eq!(
            goals(&model, 1),
            [(1, Goal::Open, true), (4, Goal::Open, false), (7, Goal::Open, true)],
            "nobody founds a set anew whose members are not the first ones"
        );
        let order = &reconcile(&model, 2)[3];
        assert!(!order.created, "its files are still to be made");
        assert_eq!(order.members.iter().map(|member| member.element).collect::<Vec<_>>(), [4, 10, 6]);
        assert_eq!(order.preferred_leader, 10);
    }

    #[test]
    fn every_slot_has_a_set() {
        let model = testing::a1_open();
        let map = &directory(&model, 1)[0].map;
        for set in 1..=3 {
            let slots = map.slots.iter().filter(|slot| **slot == set).count();
            assert!((1365..=1366).contains(&slots), "set {set} holds {slots} slots");
        }
    }
}
