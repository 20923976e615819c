//! What the instances themselves are asked for.

use quorate_management::lifecycle::Status;

use crate::support::{Grid, lock};

#[test]
fn replicas_are_compared() {
    let grid = Grid::open();
    let same = grid.run("dbVerify database1");
    assert_eq!((same.code, same.err.as_str()), (0, ""));
    let table = "\
Database database1 verification as of Thu Feb 22 07:37:28 PST 2018

RS Index Elem Host  Instance  Hash             Message
-- ----- ---- ----- --------- ---------------- -------
 1    41    1 host1 instance1 0000000000000001
";
    assert!(same.out.starts_with(table), "{}", same.out);
    assert!(same.out.ends_with("\nAll replicas of 3 replica sets are identical\n"), "{}", same.out);

    lock(&grid.group.hashes).insert(5, Ok("00000000deadbeef".to_owned()));
    lock(&grid.group.hashes).insert(9, Err("its instance is down".to_owned()));
    let differs = grid.run("dbVerify database1");
    assert_eq!(differs.code, 1);
    assert_eq!(
        differs.err,
        "Error : replicas differ in replica set 2; not every replica could be compared in replica set 3\n"
    );
    let json: serde_json::Value = serde_json::from_str(&grid.run("dbVerify database1 --json").out).expect("JSON");
    assert_eq!(json["identical"], false);
    assert_eq!(json["replica_sets"][0]["identical"], true);
}

#[test]
fn sessions_and_their_transactions_are_listed() {
    let grid = Grid::open();
    assert_eq!(
        grid.run("dbStatus database1 -connections").out,
        "\
Database database1: healthy

Database database1 connections as of Thu Feb 22 07:37:28 PST 2018

Host  Instance  PID User Application Client         State               Connected since     TransID  Transaction since
----- --------- --- ---- ----------- -------------- ------------------- ------------------- -------- -------------------
host1 instance1  16 ann  psql        10.0.0.9:40000 idle                2018-02-22 07:37:25
host1 instance1  17 ann  psql        10.0.0.9:40000 idle in transaction 2018-02-22 07:37:25 1.4.17.5 2018-02-22 07:37:25
host1 instance1  18 ann  psql        10.0.0.9:40000 active              2018-02-22 07:37:25 1.4.18.2 2018-02-22 07:37:26

host2.instance1 did not answer: no answer within 2 s
"
    );
    assert_eq!(
        grid.run("xactList database1").out,
        "\
Database database1 open transactions as of Thu Feb 22 07:37:28 PST 2018

TransID  Host  Instance  PID User Application Client         State               Since               Age     Replica sets Waits for Blocks
-------- ----- --------- --- ---- ----------- -------------- ------------------- ------------------- ------- ------------ --------- --------
900      host2 instance1                                     in doubt                                        2
1.4.17.5 host1 instance1  17 ann  psql        10.0.0.9:40000 idle in transaction 2018-02-22 07:37:25 0:00:03 1 2                    1.4.18.2
1.4.18.2 host1 instance1  18 ann  psql        10.0.0.9:40000 active              2018-02-22 07:37:26 0:00:02              1.4.17.5

host2.instance1 did not answer: no answer within 2 s
"
    );
    let ended = grid.run("xactRollback database1 1.4.17.5");
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (0, "The session of transaction 1.4.17.5 has ended; what was not being committed already is rolled back\n")
    );
    for absent in ["1.4.17.6", "1.3.17.5", "9.1.1.1", "1", "1.2.3.x"] {
        let ended = grid.run(&format!("xactRollback database1 {absent}"));
        let text = format!(
            "Error 27: Database database1 has no open transaction {absent}\n  \
             Those that are open are shown by: quorate-admin xactList database1\n"
        );
        assert_eq!((ended.code, ended.err), (1, text));
    }
    let silent = grid.run("xactRollback database1 2.1.1.1");
    assert_eq!(
        (silent.code, silent.err.as_str()),
        (1, "Error : instance host2.instance1 was not reached: no answer within 2 s\n")
    );
    assert_eq!(grid.run("xactList other").err.lines().next(), Some("Error 2: Database other does not exist"));
}

#[test]
fn details_are_what_the_instances_say() {
    let grid = Grid::made();
    assert_eq!(grid.run("dbCreate database1 -replica-sets 1").code, 0);
    grid.group.all_report(Status::Loaded);
    assert_eq!(
        grid.run("dbStatus database1 -details").out,
        "\
Database database1: healthy, not open
  Next: quorate-admin dbOpen database1

Database database1 element details as of Thu Feb 22 07:37:28 PST 2018

Elem Host  Instance  Recorded Reported Role     Term Applied Last In doubt    Staged Size     Message
---- ----- --------- -------- -------- -------- ---- ------- ---- ----------- ------ -------- -------
   1 host1 instance1 loaded   loaded   leader      3     120  121 1 (0:01:01)      0 5120 KiB
   2 host2 instance1 loaded
   3 host3 instance1 loaded   loaded   follower    3     120  121           0      0 5120 KiB

host2.instance1 did not answer: no answer within 2 s
"
    );
}

#[test]
fn load_readiness_tells_what_a_load_brings_back() {
    let grid = Grid::made();
    assert_eq!(grid.run("dbCreate database1 -replica-sets 1").code, 0);
    grid.group.all_report(Status::Loaded);
    assert_eq!(grid.run("dbUnload database1").code, 0);
    grid.group.all_report(Status::Unloaded);
    let ready = grid.run("dbStatus database1 -loadReadiness").out;
    assert_eq!(
        ready,
        "\
Database database1: database database1 is unloaded
  Next: quorate-admin dbLoad database1

Database database1 load readiness as of Thu Feb 22 07:37:28 PST 2018

All replica sets can be loaded

RS DS Elem Host  Instance  Up Status   Can load Message
-- -- ---- ----- --------- -- -------- -------- -------
 1  1    1 host1 instance1 Y  unloaded Y
    2    2 host2 instance1 Y  unloaded Y
    3    3 host3 instance1 Y  unloaded Y
"
    );
    for instance in [2, 3] {
        grid.group.lose(instance);
    }
    let short = grid.run("dbStatus database1 -loadReadiness").out;
    assert!(short.contains("Replica set 1 cannot be loaded: 1 of 3 elements can, 2 must\n"), "{short}");
    assert!(short.contains("    2    2 host2 instance1 N  down     N        connection refused\n"), "{short}");
    // There is nothing in memory to be compared.
    assert_eq!(
        grid.run("dbVerify database1").err,
        "Error 13: Database database1 is not loaded\n  Load it first: quorate-admin dbLoad database1\n"
    );
}

#[test]
fn events_tell_what_happened_and_why() {
    let grid = Grid::made();
    assert_eq!(grid.run("dbCreate database1 -replica-sets 1").code, 0);
    grid.group.report(2, 2, Status::CreateFailed, "no space left on the disk");
    let shown = grid.run("gridEvents --last 3");
    assert_eq!(shown.code, 0, "{shown:?}");
    assert_eq!(
        shown.out,
        "\
Grid events as of Thu Feb 22 07:37:28 PST 2018

Date/Time of Event  Seq Event
------------------- --- -----------------------------------------------------------------------------------------------------
2018-02-22 07:37:28   8 database database1 defined with 1 replica sets
2018-02-22 07:37:25   9 database database1, element 2 on host2.instance1: uncreated → creating
2018-02-22 07:37:25   9 database database1, element 2 on host2.instance1: creating → create failed: no space left on the disk
"
    );
    let all: Vec<String> = grid.run("gridEvents").out.lines().map(str::to_owned).collect();
    assert!(all.iter().any(|line| line.ends_with("instance host1.instance1 is up (incarnation 1)")), "{all:#?}");
    assert_eq!(grid.run("gridEvents --last 0").code, 2);
    let json: serde_json::Value = serde_json::from_str(&grid.run("--json gridEvents --last 1").out).expect("JSON");
    assert_eq!(json["events"].as_array().map(Vec::len), Some(1));
}
