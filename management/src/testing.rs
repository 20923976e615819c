//! Grids for the tests of this crate.

use uuid::Uuid;

use crate::command::{Command, ElementReport, Reply};
use crate::lifecycle::Status;
use crate::model::{ElementNumber, Instance, InstanceNumber, InstanceSpec, Model};

/// 2018-02-22 15:37:25 UTC: the time of everything that has no time of its own.
pub const THEN: i64 = 1_519_313_845_000;

/// `hostN.instance1`, data and management.
pub fn spec(number: u32) -> InstanceSpec {
    InstanceSpec {
        host: format!("host{number}"),
        name: "instance1".to_owned(),
        identity: Uuid::from_u128(u128::from(number)),
        sql_address: format!("10.0.0.{number}:7500"),
        peer_address: format!("10.0.0.{number}:7510"),
        data_space_group: None,
        data: true,
        management: number <= 3,
        single_host: false,
    }
}

/// An instance in a data space group.
pub fn instance(number: InstanceNumber, group: u32) -> Instance {
    Instance { number, spec: spec(number), group, incarnation: 1, up: true, since_ms: THEN, message: String::new() }
}

/// Applies what must be accepted.
pub fn accept(model: &mut Model, command: Command) -> Reply {
    model.apply(&command).unwrap_or_else(|refused| panic!("{command:?} was refused: {refused}"))
}

/// A grid of so many instances, all up, without databases.
pub fn grid(instances: u32, k: u32) -> Model {
    let mut model = Model::default();
    let specs = (1..=instances).map(spec).collect();
    let uuid = Uuid::from_u128(7);
    accept(&mut model, Command::CreateGrid { uuid, name: "grid1".to_owned(), k, instances: specs, at_ms: THEN });
    for instance in 1..=instances {
        accept(&mut model, Command::InstanceUp { instance, incarnation: 1, at_ms: THEN });
    }
    model
}

/// Reports of one instance, none of which may be refused.
pub fn report(model: &mut Model, instance: InstanceNumber, elements: &[(ElementNumber, Status, &str)]) {
    let refused = try_report(model, instance, elements);
    assert_eq!(refused, [], "reports of instance {instance}");
}

/// Reports of one instance; the refused ones come back.
pub fn try_report(
    model: &mut Model,
    instance: InstanceNumber,
    elements: &[(ElementNumber, Status, &str)],
) -> Vec<(ElementNumber, Status, Status)> {
    let incarnation = model.instances[&instance].incarnation;
    let elements = elements
        .iter()
        .map(|(element, status, message)| ElementReport {
            element: *element,
            status: *status,
            message: (*message).to_owned(),
        })
        .collect();
    let command = Command::ReportElements { instance, incarnation, elements, at_ms: THEN };
    match accept(model, command) {
        Reply::Reported { refused } => refused,
        reply => panic!("a report is answered by what was refused, not by {reply:?}"),
    }
}

/// Every instance brings all its elements to this status.
pub fn all_report(model: &mut Model, status: Status) {
    let instances: Vec<InstanceNumber> = model.instances.keys().copied().collect();
    for instance in instances {
        let hosted: Vec<_> = model.elements.values().filter(|element| element.instance == instance).collect();
        let reports: Vec<_> = hosted.iter().map(|element| (element.number, status, "")).collect();
        report(model, instance, &reports);
    }
}

/// `demo` with so many sets, loaded, not open.
pub fn loaded(instances: u32, k: u32, sets: Option<u32>) -> Model {
    let mut model = grid(instances, k);
    accept(&mut model, Command::CreateDatabase { name: "demo".to_owned(), replica_sets: sets, at_ms: THEN });
    all_report(&mut model, Status::Loaded);
    model
}

/// Three instances, k = 3, three sets on all, open.
pub fn a1_open() -> Model {
    let mut model = loaded(3, 3, Some(3));
    accept(&mut model, Command::OpenDatabase { name: "demo".to_owned(), at_ms: THEN });
    all_report(&mut model, Status::Opened);
    model
}

/// An instance stops.
pub fn instance_down(model: &mut Model, instance: InstanceNumber) {
    let incarnation = model.instances[&instance].incarnation;
    let message = "connection refused".to_owned();
    accept(model, Command::InstanceDown { instance, incarnation, message, at_ms: THEN });
}

/// An element is given up.
pub fn replace(model: &mut Model, element: ElementNumber) {
    accept(model, Command::ReplaceElement { element, message: "files are missing".to_owned(), at_ms: THEN });
}
