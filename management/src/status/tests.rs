//! What operators are told in each situation: state words, counters, verdicts.

use super::*;
use crate::command::Command;
use crate::testing::{THEN, a1_open, accept, all_report, grid, instance_down, loaded, replace, report};

/// A view in which everybody answers and the preferred elements lead.
fn live(model: &Model) -> LiveView {
    let sets = model
        .databases
        .values()
        .flat_map(|database| database.sets.iter().map(|set| ((database.number, set.id), set.preferred_leader)));
    LiveView { now_ms: THEN, active: Some(1), leaders: sets.collect(), ..LiveView::default() }
}

fn seen(model: &Model) -> pb::DatabaseStatus {
    database_status(model, "demo", &live(model)).expect("it exists")
}

/// State words, counters (created, loaded, sets created, sets loaded, open), whether it is settled, health.
fn line(model: &Model) -> String {
    let status = seen(model);
    let count = status.counters.expect("always there");
    let of = count.elements;
    let sets = count.replica_sets;
    format!(
        "{},{},{} {}/{of} {}/{of} {}/{sets} {}/{sets} {}/{of} {} {}",
        status.create,
        status.load,
        status.open,
        count.elements_created,
        count.elements_loaded,
        count.replica_sets_created,
        count.replica_sets_loaded,
        count.elements_open,
        if status.settled { "settled" } else { "moving" },
        status.health,
    )
}

fn demo(command: fn(String) -> Command) -> Command {
    command("demo".to_owned())
}

#[test]
fn the_life_of_a_database_in_one_line_a_step() {
    let mut model = grid(3, 3);
    accept(&mut model, Command::CreateDatabase { name: "demo".to_owned(), replica_sets: Some(2), at_ms: THEN });
    let mut story = vec![line(&model)];
    let mut step = |model: &mut Model, status| {
        all_report(model, status);
        story.push(line(model));
    };
    step(&mut model, Status::Creating);
    step(&mut model, Status::Loading);
    step(&mut model, Status::Loaded);
    accept(&mut model, demo(|name| Command::OpenDatabase { name, at_ms: THEN }));
    step(&mut model, Status::Opening);
    step(&mut model, Status::Opened);
    accept(&mut model, demo(|name| Command::CloseDatabase { name, at_ms: THEN }));
    step(&mut model, Status::Closing);
    step(&mut model, Status::Loaded);
    accept(&mut model, demo(|name| Command::UnloadDatabase { name, force: false, at_ms: THEN }));
    step(&mut model, Status::Unloading);
    step(&mut model, Status::Unloaded);
    accept(&mut model, demo(|name| Command::DestroyDatabase { name, at_ms: THEN }));
    step(&mut model, Status::Destroying);
    assert_eq!(
        story.join("\n"),
        "\
creating,loading,closed 0/6 0/6 0/2 0/2 0/6 moving DatabaseRestarting
creating,loading,closed 0/6 0/6 0/2 0/2 0/6 moving DatabaseRestarting
created,loading,closed 6/6 0/6 2/2 0/2 0/6 moving DatabaseRestarting
created,loaded-complete,closed 6/6 6/6 2/2 2/2 0/6 settled Normal
created,loaded-complete,opening 6/6 6/6 2/2 2/2 0/6 moving DatabaseImpeded
created,loaded-complete,open 6/6 6/6 2/2 2/2 6/6 settled Normal
created,loaded-complete,closing 6/6 6/6 2/2 2/2 0/6 moving DatabaseImpeded
created,loaded-complete,closed 6/6 6/6 2/2 2/2 0/6 settled Normal
created,unloading,closed 6/6 0/6 2/2 0/2 0/6 moving DatabaseDown
created,unloaded,closed 6/6 0/6 2/2 0/2 0/6 settled DatabaseDown
destroying,unloaded,closed 0/6 0/6 0/2 0/2 0/6 moving DatabaseDown"
    );
}

#[test]
fn failures_of_instances_one_after_the_other() {
    // Two sets of three on six instances: set 1 on 1 to 3, set 2 on 4 to 6.
    let mut model = loaded(6, 3, None);
    accept(&mut model, demo(|name| Command::OpenDatabase { name, at_ms: THEN }));
    all_report(&mut model, Status::Opened);
    let mut story = vec![line(&model)];
    for instance in [4, 5, 6, 1, 2, 3] {
        instance_down(&mut model, instance);
        story.push(line(&model));
    }
    assert_eq!(
        story.join("\n"),
        "\
created,loaded-complete,open 6/6 6/6 2/2 2/2 6/6 settled Normal
created,loaded-functional,open 6/6 5/6 2/2 1/2 5/6 moving DatabaseImpeded
created,loaded-incomplete,open 6/6 4/6 2/2 1/2 4/6 moving DatabasePartial
created,loaded-incomplete,open 6/6 3/6 2/2 1/2 3/6 moving DatabasePartial
created,loaded-incomplete,open 6/6 2/6 2/2 0/2 2/6 moving DatabasePartial
created,loaded-incomplete,open 6/6 1/6 2/2 0/2 1/6 moving DatabaseDown
created,unloaded,opening 6/6 0/6 2/2 0/2 0/6 moving DatabaseDown"
    );
    accept(&mut model, Command::InstanceUp { instance: 4, incarnation: 2, at_ms: THEN });
    assert_eq!(line(&model), "created,loading,opening 6/6 0/6 2/2 0/2 0/6 moving DatabaseRestarting");
}

#[test]
fn verdicts_say_what_to_do() {
    let mut model = loaded(6, 3, None);
    let verdict = |model: &Model| {
        let status = seen(model);
        format!("{} → {}", status.verdict, status.next_steps.join(" | "))
    };
    assert_eq!(verdict(&model), "healthy, not open → quorate-admin dbOpen demo");
    instance_down(&mut model, 4);
    assert_eq!(
        verdict(&model),
        "not open; 1 of 6 elements is not loaded → start instance host4.instance1 (on host4: quorate start --config FILE) | quorate-admin dbOpen demo"
    );
    accept(&mut model, Command::InstanceUp { instance: 4, incarnation: 2, at_ms: THEN });
    all_report(&mut model, Status::Loaded);
    accept(&mut model, demo(|name| Command::OpenDatabase { name, at_ms: THEN }));
    report(&mut model, 1, &[(1, Status::OpenFailed, "port in use")]);
    assert_eq!(
        verdict(&model),
        "all data is available; some elements are not open yet → \
         repair what element 1 says, then: quorate-admin dbOpen demo"
    );
    all_report(&mut model, Status::Opened);
    instance_down(&mut model, 4);
    assert_eq!(
        verdict(&model),
        "all data is available; 1 of 6 elements is not loaded → start instance host4.instance1 (on host4: quorate start --config FILE)"
    );
    instance_down(&mut model, 5);
    assert_eq!(
        verdict(&model),
        "without a majority of their elements, and so unavailable: replica set 2 → \
         start instance host4.instance1 (on host4: quorate start --config FILE) | start instance host5.instance1 (on host5: quorate start --config FILE)"
    );
}

#[test]
fn what_goes_on_by_itself_is_called_by_its_name() {
    let mut model = grid(3, 3);
    accept(&mut model, Command::CreateDatabase { name: "demo".to_owned(), replica_sets: Some(2), at_ms: THEN });
    let told = |model: &Model| {
        let status = seen(model);
        (status.verdict, status.next_steps)
    };
    let only = |text: &str| (text.to_owned(), Vec::new());
    assert_eq!(told(&model), only("database demo is being created"));
    for instance in 1..=3 {
        report(&mut model, instance, &[(u64::from(instance), Status::Loaded, "")]);
    }
    assert_eq!(told(&model), only("database demo is being created"), "one set of two has a majority");
    all_report(&mut model, Status::Loaded);
    accept(&mut model, demo(|name| Command::UnloadDatabase { name, force: false, at_ms: THEN }));
    all_report(&mut model, Status::Unloaded);
    accept(&mut model, demo(|name| Command::LoadDatabase { name, instance: None, at_ms: THEN }));
    all_report(&mut model, Status::Loading);
    assert_eq!(told(&model), only("database demo is being loaded"));
    instance_down(&mut model, 1);
    assert_eq!(
        told(&model),
        (
            "no replica set of database demo has a majority of its elements loaded".to_owned(),
            vec!["start instance host1.instance1 (on host1: quorate start --config FILE)".to_owned()]
        ),
        "somebody is missing"
    );
}

#[test]
fn an_element_that_cannot_be_created_waits_for_its_instance() {
    let mut model = grid(3, 3);
    instance_down(&mut model, 3);
    accept(&mut model, Command::CreateDatabase { name: "demo".to_owned(), replica_sets: Some(1), at_ms: THEN });
    accept(&mut model, demo(|name| Command::OpenDatabase { name, at_ms: THEN }));
    for instance in 1..=2 {
        report(&mut model, instance, &[(u64::from(instance), Status::Opened, "")]);
    }
    let status = seen(&model);
    assert_eq!(status.verdict, "all data is available; 1 of 3 elements is not loaded");
    assert_eq!(status.next_steps, ["start instance host3.instance1 (on host3: quorate start --config FILE)"]);
}

#[test]
fn lost_files_are_no_work_for_the_operator_while_a_majority_is_loaded() {
    let mut model = a1_open();
    report(&mut model, 2, &[(5, Status::LoadFailed, "files lost or damaged: elements/5 is missing")]);
    let status = seen(&model);
    assert_eq!(
        status.verdict,
        "all data is available; 1 of 9 elements is not loaded; a new element takes the place of element 5 by itself"
    );
    assert!(status.next_steps.is_empty(), "{:?}", status.next_steps);
    replace(&mut model, 5);
    let status = seen(&model);
    assert_eq!(status.verdict, "all data is available; 1 of 9 elements is not loaded", "the old one does not count");
    let mut model = a1_open();
    report(&mut model, 2, &[(5, Status::LoadFailed, "files lost or damaged: elements/5 is missing")]);
    instance_down(&mut model, 3);
    let steps = seen(&model).next_steps;
    assert!(steps.iter().any(|step| step.starts_with("load a majority of replica set 2, ")), "{steps:?}");
}

#[test]
fn sessions_that_are_left_after_closing_are_told() {
    let model = loaded(3, 3, None);
    let mut view = live(&model);
    view.sessions.insert("demo".to_owned(), 2);
    let verdict = |view: &LiveView| database_status(&model, "demo", view).expect("it exists").verdict;
    assert_eq!(verdict(&view), "healthy, not open; 2 sessions are left");
    view.sessions.insert("demo".to_owned(), 1);
    assert_eq!(verdict(&view), "healthy, not open; 1 session is left");
}

#[test]
fn what_does_not_answer_is_down_at_once() {
    let model = a1_open();
    let mut view = live(&model);
    let reason = "connection refused".to_owned();
    view.unreachable.insert(2, Unreachable { reason, since_ms: THEN + 700 });
    let status = database_status(&model, "demo", &view).expect("it exists");
    let element = &status.elements[4];
    assert_eq!(
        (element.status.as_str(), element.since_ms, element.message.as_str()),
        ("down", THEN + 700, "connection refused")
    );
    assert_eq!(status.replica_sets[1].leader, 0, "nobody who does not answer leads");
    assert!(status.replica_sets[1].available);
    let instance = &grid_display(&model, &view).expect("a grid").instances[1];
    assert_eq!((instance.up, instance.since_ms), (false, THEN + 700), "not the time when it came up");
    assert!(status.next_steps[0].starts_with("start instance host2.instance1 ("), "{:?}", status.next_steps);
    // Where its process is still there it cannot simply be started.
    view.unreachable.insert(2, Unreachable { reason: SILENT.to_owned(), since_ms: THEN + 700 });
    let status = database_status(&model, "demo", &view).expect("it exists");
    let advice = "instance host2.instance1 does not answer: if its process hangs, end it and start it again (on host2: quorate start --config FILE)";
    assert_eq!(status.next_steps, [advice]);
}

#[test]
fn progress_is_shown_where_nothing_worse_is_to_say() {
    let mut model = a1_open();
    instance_down(&mut model, 2);
    accept(&mut model, Command::InstanceUp { instance: 2, incarnation: 2, at_ms: THEN });
    let mut view = live(&model);
    view.notes.insert(2, "catching up: 1200 entries to go".to_owned());
    let status = database_status(&model, "demo", &view).expect("it exists");
    assert_eq!(status.elements[1].message, "catching up: 1200 entries to go");
}

#[test]
fn a_rebuilt_element_is_visible_until_it_is_whole() {
    let mut model = a1_open();
    report(&mut model, 2, &[(5, Status::LoadFailed, "damaged")]);
    replace(&mut model, 5);
    let row = |model: &Model, number| {
        let status = seen(model);
        let element = status.elements.iter().find(|element| element.number == number).expect("listed").clone();
        (element.status, element.replica_set)
    };
    assert_eq!(row(&model, 5), ("destroying".to_owned(), 0));
    assert_eq!(row(&model, 10), ("uncreated".to_owned(), 2));
    assert_eq!(line(&model), "creating,loaded-functional,open 8/10 8/10 2/3 2/3 8/10 moving DatabaseImpeded");
    report(&mut model, 2, &[(5, Status::Destroyed, ""), (10, Status::Opened, "")]);
    assert_eq!(line(&model), "created,loaded-complete,open 9/9 9/9 3/3 3/3 9/9 settled Normal");
}

#[test]
fn every_database_is_listed_by_name() {
    let mut model = loaded(3, 3, None);
    accept(&mut model, Command::CreateDatabase { name: "alpha".to_owned(), replica_sets: None, at_ms: THEN });
    let names: Vec<String> =
        all_statuses(&model, &live(&model)).expect("a grid").into_iter().map(|status| status.name).collect();
    assert_eq!(names, ["alpha", "demo"]);
    assert_eq!(database_status(&model, "beta", &live(&model)), Err(Refused::NoDatabase("beta".to_owned())));
    assert_eq!(all_statuses(&Model::default(), &LiveView::default()), Err(Refused::NoGrid));
}
