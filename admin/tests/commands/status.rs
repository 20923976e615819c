//! What `dbStatus` shows of what is recorded.

use quorate_management::command::Command;
use quorate_management::lifecycle::Status;
use quorate_management::service::PortError;

use crate::support::{Grid, THEN, lock};

#[test]
fn open_database_shows_all_sections() {
    let grid = Grid::open();
    let ended = grid.run("dbStatus database1 -all");
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let expected = "\
Database database1: healthy

Database database1 summary status as of Thu Feb 22 07:37:28 PST 2018

created,loaded-complete,open
Completely created elements: 9 (of 9)
Completely loaded elements: 9 (of 9)
Completely created replica sets: 3 (of 3)
Completely loaded replica sets: 3 (of 3)

Open elements: 9 (of 9)

Database database1 element level status as of Thu Feb 22 07:37:28 PST 2018

Host  Instance  Elem Status Date/Time of Event  Message
----- --------- ---- ------ ------------------- -------
host1 instance1    1 opened 2018-02-22 07:37:25
host2 instance1    2 opened 2018-02-22 07:37:25
host3 instance1    3 opened 2018-02-22 07:37:25
host1 instance1    4 opened 2018-02-22 07:37:25
host2 instance1    5 opened 2018-02-22 07:37:25
host3 instance1    6 opened 2018-02-22 07:37:25
host1 instance1    7 opened 2018-02-22 07:37:25
host2 instance1    8 opened 2018-02-22 07:37:25
host3 instance1    9 opened 2018-02-22 07:37:25

Database database1 Replica Set status as of Thu Feb 22 07:37:28 PST 2018

RS DS Elem Host  Instance  Status Date/Time of Event  Message
-- -- ---- ----- --------- ------ ------------------- -------
 1  1    1 host1 instance1 opened 2018-02-22 07:37:25 leader
    2    2 host2 instance1 opened 2018-02-22 07:37:25
    3    3 host3 instance1 opened 2018-02-22 07:37:25
 2  1    4 host1 instance1 opened 2018-02-22 07:37:25
    2    5 host2 instance1 opened 2018-02-22 07:37:25 leader
    3    6 host3 instance1 opened 2018-02-22 07:37:25
 3  1    7 host1 instance1 opened 2018-02-22 07:37:25
    2    8 host2 instance1 opened 2018-02-22 07:37:25
    3    9 host3 instance1 opened 2018-02-22 07:37:25 leader

Database database1 Data Space Group status as of Thu Feb 22 07:37:28 PST 2018

DS RS Elem Host  Instance  Status Date/Time of Event  Message
-- -- ---- ----- --------- ------ ------------------- -------
 1  1    1 host1 instance1 opened 2018-02-22 07:37:25 leader
    2    4 host1 instance1 opened 2018-02-22 07:37:25
    3    7 host1 instance1 opened 2018-02-22 07:37:25
 2  1    2 host2 instance1 opened 2018-02-22 07:37:25
    2    5 host2 instance1 opened 2018-02-22 07:37:25 leader
    3    8 host2 instance1 opened 2018-02-22 07:37:25
 3  1    3 host3 instance1 opened 2018-02-22 07:37:25
    2    6 host3 instance1 opened 2018-02-22 07:37:25
    3    9 host3 instance1 opened 2018-02-22 07:37:25 leader
";
    assert_eq!(ended.out, expected);
}

#[test]
fn sections_can_be_asked_for_one_by_one() {
    let grid = Grid::open();
    let headings = |line: &str| {
        let out = grid.run(line).out;
        out.lines().filter(|line| line.contains("status as of")).map(str::to_owned).collect::<Vec<_>>().join("|")
    };
    let of = "status as of Thu Feb 22 07:37:28 PST 2018";
    assert_eq!(headings("dbStatus"), format!("Database database1 summary {of}"));
    assert_eq!(headings("dbstatus database1 -SUMMARY"), format!("Database database1 summary {of}"));
    assert_eq!(headings("dbStatus database1 --element"), format!("Database database1 element level {of}"));
    assert_eq!(headings("dbStatus database1 -replicaSet"), format!("Database database1 Replica Set {of}"));
    assert_eq!(headings("dbStatus database1 -dataSpaceGroup"), format!("Database database1 Data Space Group {of}"));
}

#[test]
fn every_choice_of_sections_begins_with_the_verdict() {
    let grid = Grid::open();
    grid.group.lose(2);
    for section in ["-element", "-replicaset", "-dataspacegroup", "-all", "-details", "-connections", "-loadReadiness"]
    {
        let out = grid.run(&format!("dbStatus database1 {section}")).out;
        let verdict = "Database database1: no leader is known of replica set 2\n  Next: start instance host2.instance1 (on host2: quorate start --config FILE)\n\n";
        assert!(out.starts_with(verdict), "{section}: {out}");
    }
}

#[test]
fn json_is_one_document_whatever_is_asked_for() {
    let grid = Grid::open();
    let json = |line: &str| serde_json::from_str::<serde_json::Value>(&grid.run(line).out).expect("one JSON document");
    let all = json("--json dbStatus database1 -all -details -connections -loadReadiness");
    assert_eq!(all["databases"][0]["name"], "database1");
    assert_eq!(all["details"][0]["elements"].as_array().map(Vec::len), Some(9));
    assert_eq!(all["connections"][0]["connections"].as_array().map(Vec::len), Some(3));
    let plain = json("--json dbStatus database1");
    assert_eq!((plain.get("details"), plain.get("connections")), (None, None));
    let open = json("--json xactList database1");
    let transactions = open["connections"].as_array().expect("a list");
    assert_eq!(transactions.len(), 3, "as in the table: an idle session is none");
    assert!(transactions.iter().all(|open| open["transaction_id"] != 0), "{transactions:?}");
}

#[test]
fn creation_in_progress_is_counted() {
    let grid = Grid::made();
    let created = grid.run("dbCreate database1 -replica-sets 3");
    assert_eq!((created.code, created.out.as_str()), (0, "Database database1 creation started\n"));
    grid.group.report(1, 1, Status::Loading, "");
    grid.group.report(2, 2, Status::Creating, "");
    let out = grid.run("dbStatus database1").out;
    assert!(
        out.contains("\ncreating,loading,closed\nCompletely created elements: 1 (of 9) (1 in progress)\n"),
        "{out}"
    );
    assert!(out.contains("\nCompletely loaded elements: 0 (of 9) (1 in progress)\n"), "{out}");
}

#[test]
fn a_dead_instance_shows_as_down_before_anything_is_agreed() {
    let grid = Grid::open();
    grid.group.lose(2);
    let out = grid.run("dbStatus database1 -element").out;
    assert!(out.contains("\nhost2 instance1    5 down   2018-02-22 07:37:27 connection refused\n"), "{out}");
    let out = grid.run("dbStatus database1").out;
    assert!(
        out.starts_with(
            "Database database1: no leader is known of replica set 2\n  Next: start instance host2.instance1 (on host2: quorate start --config FILE)\n"
        ),
        "{out}"
    );
    assert!(out.contains("\ncreated,loaded-functional,open\n"), "{out}");
    assert!(out.contains("\nCompletely loaded elements: 6 (of 9)\n"), "{out}");
}

#[test]
fn without_a_majority_the_last_state_is_marked_stale() {
    let grid = Grid::open();
    *lock(&grid.group.trouble) = Some(PortError::NoMajority("host2 and host3 do not answer".to_owned()));
    let ended = grid.run("dbStatus database1");
    assert_eq!(ended.code, 3);
    assert!(
        ended.out.starts_with(
            "STALE: no majority of the management instances answers: host2 and host3 do not answer\n  \
             What follows is the last that was recorded, of Thu Feb 22 07:37:25 PST 2018; only `down` is as this instance sees it now\n"
        ),
        "{ended:?}"
    );
    assert!(ended.out.contains("created,loaded-complete,open"), "{ended:?}");
    let refused = grid.run("dbLoad database1");
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.err.starts_with("Error : The grid cannot decide at the moment; nothing was done\n"), "{refused:?}");
    assert!(refused.err.contains("no majority of the management instances answers: host2 and host3"), "{refused:?}");
    // Nothing is said twice.
    *lock(&grid.group.trouble) = Some(PortError::NoMajority(String::new()));
    assert!(
        grid.run("dbList").out.starts_with("STALE: no majority of the management instances answers\n  What follows")
    );
    let list = grid.run("xactList database1");
    assert!(list.err.ends_with(": no majority of the management instances answers\n  Start the missing management instances; SQL goes on without them\n"), "{list:?}");
}

#[test]
fn json_has_everything() {
    let grid = Grid::open();
    let json: serde_json::Value = serde_json::from_str(&grid.run("--json dbStatus database1").out).expect("JSON");
    let status = &json["databases"][0];
    assert_eq!((status["load"].as_str(), status["settled"].as_bool()), (Some("loaded-complete"), Some(true)));
    assert_eq!(status["elements"].as_array().map(Vec::len), Some(9));
    assert_eq!(status["replica_sets"][1]["leader"], 5);
    assert_eq!(json["stale"], serde_json::Value::Null);
}

#[test]
fn t13_each_status_of_an_element_is_shown_by_its_word() {
    let grid = Grid::made();
    // Database, element 1 of it, and its word in the table.
    let shown = |grid: &Grid, name: &str| {
        let out = grid.run(&format!("dbStatus {name} -element")).out;
        let row = out.lines().find(|line| line.starts_with("host1")).unwrap_or_else(|| panic!("{out}")).to_owned();
        let date = row.find("2018-02-22").unwrap_or(row.len());
        row[..date].split_whitespace().skip(3).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(grid.run("dbCreate db -replica-sets 1").code, 0);
    assert_eq!(shown(&grid, "db"), "uncreated");
    for status in [
        Status::Creating,
        Status::CreateFailed,
        Status::Creating,
        Status::Loading,
        Status::LoadFailed,
        Status::Loading,
        Status::WaitingForSeed,
        Status::Loading,
        Status::Loaded,
    ] {
        grid.group.report(1, 1, status, "");
        assert_eq!(shown(&grid, "db"), status.word());
    }
    grid.group.all_report(Status::Loaded);
    assert_eq!(grid.run("dbOpen db").code, 0);
    for status in [Status::Opening, Status::OpenFailed, Status::Loaded, Status::Opening, Status::Opened] {
        grid.group.report(1, 1, status, "");
        assert_eq!(shown(&grid, "db"), status.word());
    }
    grid.group.all_report(Status::Opened);
    assert_eq!(grid.run("dbClose db").code, 0);
    for status in [Status::Closing, Status::CloseFailed, Status::Opened, Status::Closing, Status::Loaded] {
        grid.group.report(1, 1, status, "");
        assert_eq!(shown(&grid, "db"), status.word());
    }
    grid.group.all_report(Status::Loaded);
    let down = Command::InstanceDown { instance: 1, incarnation: 1, message: "gone".to_owned(), at_ms: THEN };
    grid.group.apply(&down).expect("it was up");
    assert_eq!(shown(&grid, "db"), "down");
    let up = Command::InstanceUp { instance: 1, incarnation: 1, at_ms: THEN };
    grid.group.apply(&up).expect("it was down");
    grid.group.report(1, 1, Status::Loaded, "");
    assert_eq!(grid.run("dbUnload db").code, 0);
    for status in [Status::Unloading, Status::Unloaded] {
        grid.group.report(1, 1, status, "");
        assert_eq!(shown(&grid, "db"), status.word());
    }
    grid.group.all_report(Status::Unloaded);
    assert_eq!(grid.run("dbDestroy db").code, 0);
    for status in [Status::Destroying, Status::DestroyFailed, Status::Destroying, Status::Destroyed] {
        grid.group.report(1, 1, status, "");
        assert_eq!(shown(&grid, "db"), status.word());
    }
}
