//! Commands that change something: refused or taken, repeated, followed to their end.

use quorate_management::command::Command;
use quorate_management::lifecycle::Status;

use crate::support::{Grid, THEN, lock};

#[test]
fn nothing_works_before_the_grid_is_made() {
    let grid = Grid::waiting();
    for line in ["dbStatus", "dbCreate database1", "dbLoad database1", "gridDisplay"] {
        let ended = grid.run(line);
        assert_eq!(ended.code, 1);
        assert_eq!(ended.err, "Error 1: No grid exists yet\n  Make it: quorate-admin gridCreate NAME -k 3\n");
    }
}

#[test]
fn grid_is_made_once() {
    let grid = Grid::waiting();
    assert_eq!(grid.run("gridCreate grid1 -k 2").err.lines().next(), Some("Error 4: k cannot be 2: it is 1, 3 or 5"));
    let made = grid.run("GRIDCREATE grid1 -k 3");
    assert_eq!((made.code, made.err.as_str()), (0, ""));
    assert_eq!(
        made.out,
        "\
Grid grid1 created with k = 3 (GUID 00000000-0000-0000-0000-000000000007)

Host  Instance  DS Management Status Date/Time of Event  SQL           Admin         Message
----- --------- -- ---------- ------ ------------------- ------------- ------------- -------
host1 instance1  1 active     up     2018-02-22 07:37:25 10.0.0.1:7500 10.0.0.1:7510
host2 instance1  2 standby    up     2018-02-22 07:37:25 10.0.0.2:7500 10.0.0.2:7510
host3 instance1  3 standby    up     2018-02-22 07:37:25 10.0.0.3:7500 10.0.0.3:7510

Next: quorate-admin dbCreate NAME
"
    );
    let again = grid.run("gridCreate grid2");
    assert_eq!((again.code, again.err.as_str()), (1, "Error 3: Grid grid1 exists already\n"));
    let shown = grid.run("gridDisplay").out;
    let first = "Grid grid1: all instances are up\n\nGrid name:     grid1\nGrid GUID:     00000000-";
    assert!(shown.starts_with(first), "{shown}");
}

#[test]
fn more_copies_than_instances_are_told_before_the_first_database() {
    let made = Grid::waiting().run("gridCreate grid1 -k 5");
    assert_eq!(made.code, 0);
    let next = "Next: start 2 more instances with the role data, for each row has a copy on another one; then quorate-admin dbCreate NAME";
    assert_eq!(made.out.lines().last(), Some(next));
}

#[test]
fn refusals_have_numbers_and_advice() {
    let grid = Grid::made();
    let message = |line: &str| {
        let ended = grid.run(line);
        assert_eq!((ended.code, ended.out.as_str()), (1, ""), "{line}: {ended:?}");
        ended.err
    };
    for line in ["dbStatus database1", "dbLoad database1", "dbOpen database1", "dbVerify database1"] {
        assert_eq!(
            message(line),
            "Error 2: Database database1 does not exist\n  \
             Upper and lower case count in names of databases; they are listed by: quorate-admin dbList\n"
        );
    }
    assert_eq!(
        message("dbCreate database1 -replica-sets 0"),
        "Error 7: Database database1 cannot be placed: the number of replica sets is from 1 to 1024, not 0\n"
    );
    assert_eq!(grid.run("dbCreate database1").code, 0);
    assert!(message("dbCreate database1").starts_with("Error 6: Database database1 exists already\n"));
    grid.group.all_report(Status::Loaded);
    let again = grid.run("dbLoad database1");
    assert_eq!((again.code, again.out.as_str()), (0, "Database database1 is already loaded, or being loaded\n"));
    assert_eq!(grid.run("dbOpen database1").out, "Database database1 open started\n");
    assert_eq!(message("dbOpen database1"), "Error 12: Database database1 is already open\n");
    assert!(message("dbCreate database1 -instance host9").starts_with("Error 8: Instance host9 does not exist\n"));
    assert!(message("dbCreate database1 -instance host1").starts_with("Error 10: "));
}

#[test]
fn failed_creation_is_repeated_on_one_instance() {
    let grid = Grid::made();
    assert_eq!(grid.run("dbCreate database1").code, 0);
    grid.group.report(3, 3, Status::CreateFailed, "create directory: permission denied");
    let out = grid.run("dbStatus database1 -element").out;
    assert!(
        out.contains("host3 instance1    3 create failed 2018-02-22 07:37:25 create directory: permission denied\n"),
        "{out}"
    );
    let repeated = grid.run("dbCreate database1 -instance host3");
    assert_eq!((repeated.code, repeated.out.as_str()), (0, "Database database1 creation started\n"));
    assert_eq!(lock(&grid.group.model).elements[&3].attempt, 2);
}

#[test]
fn waiting_ends_with_what_was_wanted() {
    let grid = Grid::made();
    // The first question is for earlier failures, when there is no element yet.
    *lock(&grid.group.script) = vec![Status::Loaded, Status::Loading, Status::Loading];
    let ended = grid.run("dbCreate database1 -wait 20");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(ended.out, "Database database1 creation started\nDatabase database1 is loaded\n");
    assert_eq!(ended.err, "  0 of 3 elements loaded (3 loading)\n");
}

#[test]
fn waiting_ends_with_a_failure() {
    let grid = Grid::made();
    assert_eq!(grid.run("dbCreate database1").code, 0);
    grid.group.all_report(Status::Loaded);
    *lock(&grid.group.script) = vec![Status::OpenFailed, Status::Opening, Status::Loaded];
    let ended = grid.run("dbOpen database1 -wait");
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.err.contains("Error : Element 1 on host1.instance1 is open failed"), "{ended:?}");
    // What had failed before does not end the next attempt.
    *lock(&grid.group.script) = vec![Status::Opened, Status::OpenFailed, Status::OpenFailed];
    assert_eq!(grid.run("dbOpen database1 -wait").code, 0);
}

#[test]
fn waiting_ends_with_its_time() {
    let grid = Grid::made();
    let ended = grid.run("dbCreate database1 -wait 1");
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.err.contains("Error : Timed out after 1 s: 0 of 3 elements loaded (3 uncreated)\n"), "{ended:?}");
    assert!(ended.err.ends_with("see how far it is: quorate-admin dbStatus database1 -all\n"), "{ended:?}");
    grid.group.all_report(Status::Loaded);
    grid.group.lose(3);
    let ended = grid.run("dbOpen database1 -wait 1");
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.err.contains("\n  Next: start instance host3.instance1 (on host3: quorate start --config FILE)\n  The grid goes on with it; "), "{ended:?}");
}

#[test]
fn a_database_goes_down_step_by_step() {
    let grid = Grid::open();
    let refused = |line: &str| grid.run(line).err;
    assert_eq!(
        refused("dbUnload database1"),
        "Error 15: Database database1 is open\n  Close it first: quorate-admin dbClose database1\n"
    );
    *lock(&grid.group.script) = vec![Status::Loaded, Status::Closing, Status::Opened];
    let closed = grid.run("dbClose database1 -wait 20");
    assert_eq!(closed.out, "Database database1 close started\nDatabase database1 is closed\n", "{closed:?}");
    assert_eq!(refused("dbClose database1"), "Error 14: Database database1 is already closed\n");
    assert_eq!(grid.run("dbList").out, "Database  Loaded Opened\n--------- ------ ------\ndatabase1 Y      N\n");

    *lock(&grid.group.sessions) = 3;
    assert_eq!(
        refused("dbUnload database1"),
        "Error 25: Database database1 has 3 sessions\n  \
         Wait until they end, or end them: quorate-admin dbDisconnect database1 -immediate -wait\n"
    );
    *lock(&grid.group.script) = vec![Status::Unloaded, Status::Unloading, Status::Loaded];
    let unloaded = grid.run("dbUnload database1 -force -wait 20");
    assert_eq!(unloaded.out, "Database database1 unload started\nDatabase database1 is unloaded\n", "{unloaded:?}");

    *lock(&grid.group.script) = vec![Status::Destroyed, Status::Destroying, Status::Unloaded];
    let destroyed = grid.run("dbDestroy database1 -wait 20");
    assert_eq!(destroyed.out, "Database database1 destroy started\nDatabase database1 is destroyed\n", "{destroyed:?}");
    assert!(refused("dbStatus database1").starts_with("Error 2: Database database1 does not exist\n"));
}

#[test]
fn a_disconnect_is_followed_until_every_instance_has_acted() {
    let grid = Grid::open();
    assert!(
        grid.run("dbDisconnectStatus database1").out.ends_with("\n\nNobody has asked to disconnect its sessions\n")
    );
    let usage = grid.run("dbDisconnect database1");
    assert_eq!(usage.code, 2, "a mode has to be chosen: {usage:?}");
    let started = grid.run("dbDisconnect database1 -transactional");
    assert_eq!((started.code, started.out.as_str()), (0, "Database database1 disconnect started\n"));
    let timed_out = grid.run("dbDisconnect database1 -immediate -wait 1");
    assert_eq!(timed_out.code, 4, "{timed_out:?}");
    let waiting = "Timed out after 1 s: not yet reported done by host1.instance1, host2.instance1, host3.instance1\n";
    assert!(timed_out.err.contains(waiting), "{timed_out:?}");
    assert!(timed_out.err.contains("quorate-admin dbDisconnectStatus database1; "), "{timed_out:?}");
    let wish = lock(&grid.group.model).databases[&1].disconnect.as_ref().expect("it was asked for").number;
    for (instance, sessions) in [(1, 2), (3, 0)] {
        let command = Command::Disconnected { instance, incarnation: 1, database: 1, wish, sessions, at_ms: THEN };
        grid.group.apply(&command).expect("it is pending there");
    }
    assert_eq!(
        grid.run("dbDisconnectStatus database1").out,
        "\
Database database1 disconnect status as of Thu Feb 22 07:37:28 PST 2018

Disconnecting: immediate, since 2018-02-22 07:37:28

Host  Instance  Status        Date/Time of Event  Ended Message
----- --------- ------------- ------------------- ----- -------
host1 instance1 Disconnected  2018-02-22 07:37:25     2
host2 instance1 Disconnecting
host3 instance1 Disconnected  2018-02-22 07:37:25     0
"
    );
    let command = Command::Disconnected { instance: 2, incarnation: 1, database: 1, wish, sessions: 1, at_ms: THEN };
    grid.group.apply(&command).expect("it is pending there");
    assert!(grid.run("dbDisconnectStatus database1").out.contains("\nComplete: immediate, since"));
}

#[test]
fn an_element_in_the_map_is_not_destroyed_alone() {
    let grid = Grid::open();
    let refused = grid.run("dbDestroy database1 -instance host2");
    assert_eq!(
        (refused.code, refused.err.lines().next()),
        (1, Some("Error 26: Database database1 needs element 2 on host2.instance1: it is in the distribution map"))
    );
    grid.group.report(2, 5, Status::LoadFailed, "files lost or damaged: gone");
    let replace = Command::ReplaceElement { element: 5, message: "gone".to_owned(), at_ms: THEN };
    grid.group.apply(&replace).expect("it is beyond repair");
    grid.group.report(2, 5, Status::DestroyFailed, "permission denied");
    let started = grid.run("dbDestroy database1 -instance host2.instance1");
    assert_eq!(started.out, "Database database1 instance host2.instance1 destroy started\n", "{}", started.err);
}
