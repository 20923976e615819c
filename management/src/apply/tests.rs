//! What commands change, and what is refused. Every accepted command is followed by `Model::check`.

use uuid::Uuid;

use crate::command::{Command, Refused, Reply};
use crate::lifecycle::{Status, Target};
use crate::model::Model;
use crate::testing::{THEN, a1_open, accept, all_report, grid, instance_down, loaded, replace, report, spec};

fn refused(model: &mut Model, command: Command) -> Refused {
    let before = model.clone();
    let refused = model.apply(&command).expect_err("it must be refused");
    assert_eq!(*model, before, "a refused command changes nothing");
    refused
}

fn text(model: &mut Model, command: Command) -> String {
    refused(model, command).to_string()
}

fn create(name: &str, replica_sets: Option<u32>) -> Command {
    Command::CreateDatabase { name: name.to_owned(), replica_sets, at_ms: THEN }
}

fn load() -> Command {
    Command::LoadDatabase { name: "demo".to_owned(), instance: None, at_ms: THEN }
}

fn open() -> Command {
    Command::OpenDatabase { name: "demo".to_owned(), at_ms: THEN }
}

fn close() -> Command {
    Command::CloseDatabase { name: "demo".to_owned(), at_ms: THEN }
}

fn unload(force: bool) -> Command {
    Command::UnloadDatabase { name: "demo".to_owned(), force, at_ms: THEN }
}

fn destroy() -> Command {
    Command::DestroyDatabase { name: "demo".to_owned(), at_ms: THEN }
}

fn statuses(model: &Model) -> Vec<&'static str> {
    let mut words: Vec<&str> = model.elements.values().map(|element| element.status.word()).collect();
    words.dedup();
    words
}

#[test]
fn replicas_that_apply_the_same_agree() {
    let (left, right) = (a1_open(), a1_open());
    assert_eq!(left.encode(), right.encode());
}

#[test]
fn a_grid_numbers_its_instances_in_order() {
    let model = grid(6, 3);
    let groups: Vec<_> = model.instances.values().map(|instance| (instance.number, instance.group)).collect();
    assert_eq!(groups, [(1, 1), (2, 2), (3, 3), (4, 1), (5, 2), (6, 3)]);
    assert_eq!(model.management().map(|instance| instance.number).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn a_grid_is_refused_as_a_whole() {
    let create = |k, instances| Command::CreateGrid {
        uuid: Uuid::from_u128(7),
        name: "grid1".to_owned(),
        k,
        instances,
        at_ms: THEN,
    };
    for k in [0, 2, 4, 6] {
        assert_eq!(refused(&mut Model::default(), create(k, vec![spec(1)])), Refused::WrongK(k));
    }
    let mut wrong = spec(2);
    wrong.data_space_group = Some(4);
    assert_eq!(
        text(&mut Model::default(), create(3, vec![spec(1), wrong])),
        "Instance host2.instance1 cannot join: data_space_group is from 1 to k = 3, not 4"
    );
    assert_eq!(refused(&mut grid(1, 1), create(1, vec![spec(1)])), Refused::GridExists("grid1".to_owned()));
}

#[test]
fn an_instance_is_known_by_its_data_directory() {
    let mut model = grid(3, 3);
    let register = |spec| Command::RegisterInstance { spec, at_ms: THEN };
    let version = model.version;
    // Again as it is: nothing changes.
    let reply = accept(&mut model, register(spec(2)));
    assert_eq!(reply, Reply::Registered { instance: 2, data_space_group: 2 });
    assert_eq!(model.version, version);
    // With another address.
    let mut moved = spec(2);
    moved.peer_address = "10.0.0.99:7510".to_owned();
    accept(&mut model, register(moved));
    assert_eq!(model.instances[&2].spec.peer_address, "10.0.0.99:7510");
    // Another directory under the same name, and the same directory under another name.
    let mut stranger = spec(2);
    stranger.identity = Uuid::from_u128(99);
    assert_eq!(refused(&mut model, register(stranger)), Refused::ForeignInstance("host2.instance1".to_owned()));
    let mut renamed = spec(2);
    renamed.host = "host7".to_owned();
    assert_eq!(
        text(&mut model, register(renamed)),
        "Instance host7.instance1 cannot join: its data directory belongs to host2.instance1"
    );
    // A new one fills the smallest group.
    assert_eq!(accept(&mut model, register(spec(4))), Reply::Registered { instance: 4, data_space_group: 1 });
}

#[test]
fn neighbours_share_a_group_unless_the_host_stands_for_several() {
    let neighbour = |name: &str, identity: u128, single_host: bool| {
        let mut spec = spec(2);
        name.clone_into(&mut spec.name);
        spec.identity = Uuid::from_u128(identity);
        spec.single_host = single_host;
        Command::RegisterInstance { spec, at_ms: THEN }
    };
    let mut model = grid(3, 3);
    assert_eq!(
        accept(&mut model, neighbour("instance2", 12, false)),
        Reply::Registered { instance: 4, data_space_group: 2 }
    );
    assert_eq!(
        accept(&mut model, neighbour("instance3", 13, true)),
        Reply::Registered { instance: 5, data_space_group: 1 }
    );
}

#[test]
fn a_host_that_stands_for_several_fills_groups_in_turn() {
    let mut model = grid(3, 3);
    let mut fifth = spec(5);
    (fifth.single_host, fifth.data_space_group) = (true, Some(5));
    let reply = accept(&mut model, Command::RegisterInstance { spec: fifth, at_ms: THEN });
    assert_eq!(reply, Reply::Registered { instance: 4, data_space_group: 2 });
}

#[test]
fn a_database_gets_elements_in_host_order() {
    let model = loaded(6, 3, None);
    let database = model.database("demo").expect("it was created");
    let sets: Vec<_> = database.sets.iter().map(|set| (set.id, set.members.clone(), set.preferred_leader)).collect();
    assert_eq!(sets, [(1, vec![1, 2, 3], 1), (2, vec![4, 5, 6], 4)]);
    let hosts: Vec<_> = model.elements.values().map(|element| (element.instance, element.group)).collect();
    assert_eq!(hosts, [(1, 1), (2, 2), (3, 3), (4, 1), (5, 2), (6, 3)]);
}

#[test]
fn numbers_are_never_reused() {
    let mut model = loaded(3, 3, Some(3));
    accept(&mut model, unload(false));
    all_report(&mut model, Status::Unloaded);
    accept(&mut model, destroy());
    all_report(&mut model, Status::Destroyed);
    assert_eq!((model.databases.len(), model.elements.len()), (0, 0), "nothing is left of it");
    accept(&mut model, create("demo", None));
    let database = model.database("demo").expect("it was created");
    assert_eq!((database.number, database.sets[0].members.clone()), (2, vec![10, 11, 12]));
}

#[test]
fn names_are_checked() {
    let mut model = grid(3, 3);
    for name in ["", "-x", "a b", "a/b", "ü", &"x".repeat(64)] {
        assert!(matches!(refused(&mut model, create(name, None)), Refused::WrongName { .. }), "{name}");
    }
    accept(&mut model, create(&"x".repeat(63), None));
}

#[test]
fn a_database_goes_up_and_down_step_by_step() {
    let mut model = grid(3, 3);
    assert_eq!(refused(&mut model, open()), Refused::NoDatabase("demo".to_owned()));
    accept(&mut model, create("demo", None));
    assert_eq!(refused(&mut model, create("demo", None)), Refused::DatabaseExists("demo".to_owned()));
    assert_eq!(refused(&mut model, destroy()), Refused::StillLoaded("demo".to_owned()));
    assert_eq!(refused(&mut model, close()), Refused::AlreadyClosed("demo".to_owned()));
    all_report(&mut model, Status::Loaded);
    assert!(matches!(accept(&mut model, load()), Reply::Already { .. }));

    accept(&mut model, open());
    assert_eq!(refused(&mut model, open()), Refused::AlreadyOpen("demo".to_owned()));
    assert_eq!(refused(&mut model, unload(false)), Refused::StillOpen("demo".to_owned()));
    assert_eq!(refused(&mut model, destroy()), Refused::StillLoaded("demo".to_owned()));
    all_report(&mut model, Status::Opened);

    accept(&mut model, close());
    assert_eq!(refused(&mut model, close()), Refused::AlreadyClosed("demo".to_owned()));
    assert_eq!(refused(&mut model, unload(false)), Refused::StillClosing { name: "demo".to_owned(), elements: 3 });
    all_report(&mut model, Status::Loaded);
    accept(&mut model, unload(false));
    assert_eq!(refused(&mut model, open()), Refused::NotLoaded("demo".to_owned()));
    assert_eq!(refused(&mut model, destroy()), Refused::StillLoaded("demo".to_owned()));
    all_report(&mut model, Status::Unloaded);
    assert_eq!(statuses(&model), ["unloaded"]);

    accept(&mut model, load());
    all_report(&mut model, Status::Loaded);
    accept(&mut model, unload(false));
    all_report(&mut model, Status::Unloaded);
    accept(&mut model, destroy());
    assert_eq!(refused(&mut model, load()), Refused::BeingDestroyed("demo".to_owned()));
    assert_eq!(refused(&mut model, create("demo", None)), Refused::BeingDestroyed("demo".to_owned()));
    all_report(&mut model, Status::Destroyed);
    assert_eq!(refused(&mut model, destroy()), Refused::NoDatabase("demo".to_owned()));
}

#[test]
fn force_unloads_what_is_open_or_closing() {
    let mut model = a1_open();
    accept(&mut model, unload(true));
    assert_eq!(model.databases[&1].target, Target::Unloaded);
    all_report(&mut model, Status::Unloaded);

    let mut model = a1_open();
    accept(&mut model, close());
    report(&mut model, 1, &[(1, Status::Closing, "")]);
    assert!(matches!(refused(&mut model, unload(false)), Refused::StillClosing { elements: 9, .. }));
    accept(&mut model, unload(true));
    report(&mut model, 1, &[(1, Status::Unloading, ""), (1, Status::Unloaded, "")]);
}

#[test]
fn failed_steps_are_repeated_on_request() {
    let mut model = grid(3, 3);
    accept(&mut model, create("demo", None));
    let again = |instance: &str| Command::CreateElements {
        name: "demo".to_owned(),
        instance: instance.to_owned(),
        at_ms: THEN,
    };
    report(&mut model, 2, &[(2, Status::CreateFailed, "no space")]);
    assert!(matches!(refused(&mut model, again("host1")), Refused::NothingToCreate { element: 1, .. }));
    assert_eq!(refused(&mut model, again("host9")), Refused::NoInstance("host9".to_owned()));
    accept(&mut model, again("host2.instance1"));
    assert_eq!((model.elements[&1].attempt, model.elements[&2].attempt), (1, 2));

    all_report(&mut model, Status::LoadFailed);
    accept(
        &mut model,
        Command::LoadDatabase { name: "demo".to_owned(), instance: Some("host1".to_owned()), at_ms: THEN },
    );
    assert_eq!((model.elements[&1].attempt, model.elements[&2].attempt, model.elements[&3].attempt), (2, 2, 1));
    accept(&mut model, load());
    assert_eq!((model.elements[&1].attempt, model.elements[&3].attempt), (3, 2));

    all_report(&mut model, Status::Loaded);
    accept(&mut model, open());
    report(&mut model, 3, &[(3, Status::OpenFailed, "port in use")]);
    accept(&mut model, open());
    assert_eq!(model.elements[&3].attempt, 3);
    all_report(&mut model, Status::Opened);
    accept(&mut model, close());
    report(&mut model, 3, &[(3, Status::CloseFailed, "")]);
    accept(&mut model, close());
    assert_eq!(model.elements[&3].attempt, 4);
}

#[test]
fn what_is_outside_the_map_is_destroyed_on_request() {
    let here = |instance: &str| Command::DestroyElements {
        name: "demo".to_owned(),
        instance: instance.to_owned(),
        at_ms: THEN,
    };
    let mut model = a1_open();
    assert_eq!(
        text(&mut model, here("host2")),
        "Database demo needs element 2 on host2.instance1: it is in the distribution map"
    );
    report(&mut model, 2, &[(5, Status::LoadFailed, "files lost or damaged")]);
    replace(&mut model, 5);
    assert!(matches!(accept(&mut model, here("host2")), Reply::Already { .. }), "it is being destroyed");
    report(&mut model, 2, &[(5, Status::DestroyFailed, "permission denied")]);
    let attempt = model.elements[&5].attempt;
    assert!(matches!(accept(&mut model, here("host2")), Reply::Changed { .. }));
    assert_eq!(model.elements[&5].attempt, attempt + 1, "it is tried once more");
    report(&mut model, 2, &[(5, Status::Destroyed, "")]);
    assert!(!model.elements.contains_key(&5), "another one has taken its place");
    // An evicted element has no successor; its record stays until a new one is made there.
    model.databases.get_mut(&1).unwrap().sets[0].members = vec![1, 10, 3];
    model.elements.get_mut(&2).unwrap().status = Status::Evicted;
    model.elements.get_mut(&10).unwrap().set = 1;
    model.databases.get_mut(&1).unwrap().sets[0].preferred_leader = 1;
    model.databases.get_mut(&1).unwrap().sets[1].members = vec![4, 8, 6];
    model.databases.get_mut(&1).unwrap().sets[1].preferred_leader = 4;
    model.elements.get_mut(&8).unwrap().set = 2;
    model.databases.get_mut(&1).unwrap().sets.remove(2);
    model.databases.get_mut(&1).unwrap().map = crate::model::DistributionMap::first(&[1, 2]);
    accept(&mut model, here("host2"));
    assert_eq!(model.elements[&2].status, Status::Destroying);
    report(&mut model, 2, &[(2, Status::Destroyed, "")]);
    assert_eq!(model.elements[&2].status, Status::Destroyed);
}

#[test]
fn a_host_with_several_instances_has_to_be_told_apart() {
    let mut model = loaded(3, 3, None);
    let mut second = spec(1);
    (second.name, second.identity) = ("instance2".to_owned(), Uuid::from_u128(12));
    accept(&mut model, Command::RegisterInstance { spec: second, at_ms: THEN });
    let load = |instance: &str| Command::LoadDatabase {
        name: "demo".to_owned(),
        instance: Some(instance.to_owned()),
        at_ms: THEN,
    };
    assert_eq!(text(&mut model, load("host1")), "Host host1 has several instances: host1.instance1, host1.instance2");
    assert!(matches!(accept(&mut model, load("host1.instance1")), Reply::Already { .. }));
}

#[test]
fn a_lost_element_is_replaced_under_a_new_number() {
    let mut model = a1_open();
    let give_up = || Command::ReplaceElement { element: 5, message: "damaged".to_owned(), at_ms: THEN };
    assert_eq!(text(&mut model, give_up()), "Element 5 cannot go from opened to destroying");
    report(&mut model, 2, &[(5, Status::LoadFailed, "damaged")]);
    replace(&mut model, 5);
    assert!(matches!(accept(&mut model, give_up()), Reply::Already { .. }), "once is enough");
    let set = &model.databases[&1].sets[1];
    assert_eq!((set.members.clone(), set.preferred_leader), (vec![4, 10, 6], 10));
    let new = &model.elements[&10];
    assert_eq!((new.status, new.founder, new.created, new.instance), (Status::Uncreated, false, false, 2));
    assert_eq!((model.elements[&5].status, model.elements[&5].replaced_by), (Status::Destroying, Some(10)));
    // Its record goes once its files are gone.
    report(&mut model, 2, &[(5, Status::Destroyed, "")]);
    assert!(!model.elements.contains_key(&5));
    report(&mut model, 2, &[(10, Status::Opened, "")]);
}

#[test]
fn another_leader_can_be_preferred() {
    let mut model = a1_open();
    let prefer = |element| Command::PreferLeader { element, at_ms: THEN };
    accept(&mut model, prefer(6));
    assert_eq!(model.databases[&1].sets[1].preferred_leader, 6);
    assert!(matches!(accept(&mut model, prefer(6)), Reply::Already { .. }));
    assert_eq!(refused(&mut model, prefer(99)), Refused::NoElementNumber(99));
}

#[test]
fn sequence_never_falls_and_events_are_bounded() {
    let mut model = a1_open();
    let mut last = model.sequence;
    for round in 1..=300 {
        instance_down(&mut model, 3);
        let up = Command::InstanceUp { instance: 3, incarnation: round + 1, at_ms: THEN };
        accept(&mut model, up);
        assert!(model.sequence > last);
        last = model.sequence;
    }
    assert_eq!(model.events.len(), crate::model::EVENTS_MAX);
    assert!(model.events.iter().zip(model.events.iter().skip(1)).all(|(left, right)| left.sequence <= right.sequence));
}

#[test]
fn every_refusal_has_a_number_of_its_own() {
    let name = String::new;
    let all = [
        Refused::NoGrid,
        Refused::NoDatabase(name()),
        Refused::GridExists(name()),
        Refused::WrongK(2),
        Refused::WrongName { what: name(), name: name(), why: name() },
        Refused::DatabaseExists(name()),
        Refused::NoPlace { name: name(), why: name(), hint: name() },
        Refused::NoInstance(name()),
        Refused::AmbiguousInstance { name: name(), instances: name() },
        Refused::NothingToCreate { name: name(), element: 1, instance: name(), status: name() },
        Refused::NoElement { name: name(), instance: name() },
        Refused::AlreadyOpen(name()),
        Refused::NotLoaded(name()),
        Refused::AlreadyClosed(name()),
        Refused::StillOpen(name()),
        Refused::StillClosing { name: name(), elements: 1 },
        Refused::StillLoaded(name()),
        Refused::BeingDestroyed(name()),
        Refused::ForeignInstance(name()),
        Refused::UnfitInstance { name: name(), why: name() },
        Refused::NoInstanceNumber(1),
        Refused::OldIncarnation { instance: 1, known: 1, given: 1 },
        Refused::NoElementNumber(1),
        Refused::Forbidden { element: 1, from: name(), to: name() },
        Refused::HasSessions { name: name(), sessions: 1 },
        Refused::InMap { name: name(), element: 1, instance: name() },
        Refused::NoTransaction { name: name(), id: name() },
        Refused::WrongMode(name()),
    ];
    let numbers: Vec<u32> = all.iter().map(Refused::number).collect();
    assert_eq!(numbers, (1..=28).collect::<Vec<u32>>());
}

#[test]
fn an_element_is_not_loaded_without_its_database() {
    let mut model = loaded(3, 3, None);
    accept(&mut model, unload(false));
    all_report(&mut model, Status::Unloaded);
    let alone = Command::LoadDatabase { name: "demo".to_owned(), instance: Some("host2".to_owned()), at_ms: THEN };
    assert_eq!(refused(&mut model, alone), Refused::NotLoaded("demo".to_owned()));
}
