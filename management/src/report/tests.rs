//! Instances that come, go and tell: what is recorded, and what is not believed.

use super::*;
use crate::testing::{THEN, a1_open, accept, all_report, grid, instance_down, loaded, report, try_report};

fn up(instance: InstanceNumber, incarnation: u64) -> Command {
    Command::InstanceUp { instance, incarnation, at_ms: THEN }
}

fn down(instance: InstanceNumber, incarnation: u64) -> Command {
    Command::InstanceDown { instance, incarnation, message: "connection refused".to_owned(), at_ms: THEN }
}

fn statuses(model: &Model, instance: InstanceNumber) -> Vec<Status> {
    model.elements.values().filter(|element| element.instance == instance).map(|element| element.status).collect()
}

fn told(instance: InstanceNumber, incarnation: u64, elements: &[(ElementNumber, Status)]) -> InstanceReport {
    let elements = elements
        .iter()
        .map(|(element, status)| ElementReport { element: *element, status: *status, message: String::new() })
        .collect();
    InstanceReport { instance, incarnation, elements }
}

#[test]
fn a_dead_instance_takes_its_elements_down_and_brings_them_back_loading() {
    let mut model = a1_open();
    instance_down(&mut model, 2);
    assert_eq!(statuses(&model, 2), [Status::Down; 3]);
    assert_eq!(statuses(&model, 1), [Status::Opened; 3]);
    assert_eq!(model.elements[&2].message, "connection refused");
    assert!(matches!(accept(&mut model, down(2, 1)), Reply::Already { .. }), "it is down already");
    accept(&mut model, up(2, 2));
    assert_eq!(statuses(&model, 2), [Status::Loading; 3]);
    report(&mut model, 2, &[(2, Status::Opened, ""), (5, Status::WaitingForSeed, ""), (8, Status::LoadFailed, "why")]);
    assert_eq!(model.elements[&8].message, "why");
}

#[test]
fn elements_of_an_unloaded_database_come_back_unloaded() {
    let mut model = loaded(3, 3, None);
    accept(&mut model, Command::UnloadDatabase { name: "demo".to_owned(), force: false, at_ms: THEN });
    report(&mut model, 1, &[(1, Status::Unloaded, "")]);
    instance_down(&mut model, 1);
    accept(&mut model, up(1, 2));
    assert_eq!(statuses(&model, 1), [Status::Unloaded]);
}

#[test]
fn an_element_that_was_never_made_is_made_after_the_return() {
    let mut model = grid(3, 3);
    accept(&mut model, Command::CreateDatabase { name: "demo".to_owned(), replica_sets: Some(2), at_ms: THEN });
    report(&mut model, 1, &[(1, Status::Creating, "")]);
    instance_down(&mut model, 1);
    assert_eq!(statuses(&model, 1), [Status::Down, Status::Uncreated]);
    accept(&mut model, up(1, 2));
    assert_eq!(statuses(&model, 1), [Status::Creating, Status::Uncreated]);
    assert!(!model.elements[&1].created);
}

#[test]
fn a_restart_that_nobody_noticed_is_recorded() {
    let mut model = a1_open();
    accept(&mut model, up(3, 2));
    assert_eq!(statuses(&model, 3), [Status::Loading; 3]);
    let texts: Vec<&str> = model.events.iter().rev().take(7).map(|event| event.text.as_str()).collect();
    assert!(
        texts.contains(&"database demo, element 9 on host3.instance1: opened → down: the instance was restarted"),
        "{texts:?}"
    );
}

#[test]
fn an_element_that_loaded_by_old_orders_and_was_taken_back_is_unloaded() {
    let mut model = a1_open();
    accept(&mut model, Command::CloseDatabase { name: "demo".to_owned(), at_ms: THEN });
    all_report(&mut model, Status::Loaded);
    accept(&mut model, Command::UnloadDatabase { name: "demo".to_owned(), force: false, at_ms: THEN });
    instance_down(&mut model, 3);
    accept(&mut model, up(3, 2));
    assert_eq!(statuses(&model, 3), [Status::Unloaded; 3]);
    // It knows yet only what it was told before it stopped.
    for status in [Status::Loading, Status::Unloaded] {
        let reports = [(3, status), (6, status), (9, status)];
        for command in model.news(&told(3, 2, &reports), 9) {
            accept(&mut model, command);
        }
        assert_eq!(statuses(&model, 3), [status; 3]);
    }
}

#[test]
fn the_past_is_not_believed() {
    let mut model = a1_open();
    accept(&mut model, up(3, 5));
    let before = model.clone();
    assert!(matches!(accept(&mut model, down(3, 4)), Reply::Already { .. }), "an older start ended, not this one");
    assert_eq!(model.apply(&up(3, 4)), Err(Refused::OldIncarnation { instance: 3, known: 5, given: 4 }));
    let old = Command::ReportElements { instance: 3, incarnation: 4, elements: Vec::new(), at_ms: THEN };
    assert_eq!(model.apply(&old), Err(Refused::OldIncarnation { instance: 3, known: 5, given: 4 }));
    assert_eq!(model, before);
}

#[test]
fn reports_that_nothing_explains_are_refused_one_by_one() {
    let mut model = a1_open();
    let refused = try_report(
        &mut model,
        1,
        &[
            (1, Status::Destroyed, "nobody asked for it"),
            (4, Status::Uncreated, ""),
            (5, Status::Unloaded, "an element of another instance"),
            (7, Status::Unloaded, "a software error"),
        ],
    );
    assert_eq!(
        refused,
        [
            (1, Status::Opened, Status::Destroyed),
            (4, Status::Opened, Status::Uncreated),
            (5, Status::Opened, Status::Unloaded)
        ]
    );
    assert_eq!(statuses(&model, 1), [Status::Opened, Status::Opened, Status::Unloaded]);
}

#[test]
fn every_step_is_an_event() {
    let mut model = grid(1, 1);
    accept(&mut model, Command::CreateDatabase { name: "demo".to_owned(), replica_sets: None, at_ms: THEN });
    report(&mut model, 1, &[(1, Status::Loaded, "ready")]);
    let events: Vec<&str> = model.events.iter().rev().take(3).map(|event| event.text.as_str()).collect();
    assert_eq!(
        events,
        ["loading → loaded: ready", "creating → loading", "uncreated → creating"]
            .map(|step| format!("database demo, element 1 on host1.instance1: {step}"))
    );
}

#[test]
fn only_news_becomes_commands() {
    let mut model = a1_open();
    let opened = [(2, Status::Opened), (5, Status::Opened), (8, Status::Opened)];
    assert_eq!(model.news(&told(2, 1, &opened), 9), []);
    assert_eq!(model.news(&told(9, 1, &opened), 9), [], "a stranger");
    assert_eq!(
        model.news(&told(2, 2, &opened[..0]), 9),
        [Command::InstanceUp { instance: 2, incarnation: 2, at_ms: 9 }]
    );
    let unloaded = model.news(&told(2, 1, &[(2, Status::Opened), (5, Status::Unloaded)]), 9);
    assert!(matches!(&unloaded[..], [Command::ReportElements { elements, .. }] if elements.len() == 1), "{unloaded:?}");
    // The instance is up again, and has not begun to load yet.
    instance_down(&mut model, 2);
    accept(&mut model, up(2, 2));
    assert_eq!(model.news(&told(2, 2, &[(2, Status::Unloaded)]), 9), []);
}

#[test]
fn what_follows_from_news_is_accepted() {
    // Whatever an instance says of itself, its news never stops the state machine.
    let mut model = a1_open();
    for status in Status::ALL {
        for element in [2, 5] {
            for command in model.news(&told(2, 1, &[(element, status)]), THEN) {
                accept(&mut model, command);
                model.check();
            }
        }
    }
}

#[test]
fn a_new_reason_is_news() {
    let mut model = a1_open();
    report(&mut model, 2, &[(2, Status::LoadFailed, "first")]);
    report(&mut model, 2, &[(2, Status::LoadFailed, "second")]);
    assert_eq!(model.elements[&2].message, "second");
}

#[test]
fn an_element_that_was_never_made_need_not_be_made_to_be_unloaded() {
    let mut model = grid(3, 3);
    accept(&mut model, Command::CreateDatabase { name: "demo".to_owned(), replica_sets: Some(1), at_ms: THEN });
    // One has not begun, one has and its instance returns without it, one was loaded.
    report(&mut model, 2, &[(2, Status::Creating, "")]);
    report(&mut model, 3, &[(3, Status::Loaded, "")]);
    instance_down(&mut model, 2);
    accept(&mut model, Command::UnloadDatabase { name: "demo".to_owned(), force: false, at_ms: THEN });
    accept(&mut model, up(2, 2));
    let news = model.news(&told(2, 2, &[(2, Status::Uncreated)]), THEN);
    for command in news {
        accept(&mut model, command);
    }
    report(&mut model, 3, &[(3, Status::Unloaded, "")]);
    assert_eq!(statuses(&model, 2), [Status::Uncreated]);
    assert!(
        model.elements.values().all(|element| element.status.has_reached(Target::Unloaded)),
        "{:?}",
        model.elements
    );
    // Loading makes them after all.
    accept(&mut model, Command::LoadDatabase { name: "demo".to_owned(), instance: None, at_ms: THEN });
    report(&mut model, 1, &[(1, Status::Loaded, "")]);
    report(&mut model, 2, &[(2, Status::Loaded, "")]);
}
