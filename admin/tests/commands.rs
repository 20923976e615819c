//! The tool, run as an operator runs it, against a grid whose management group is one model in memory.
//!
//! The grid here has no data instances: the tests say what they would report.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command as Process, Output};
use std::sync::{Arc, Mutex, PoisonError};

use quorate_management::command::{Command, ElementReport, Refused, Reply};
use quorate_management::inquiry::{Answer, Question};
use quorate_management::lifecycle::Status;
use quorate_management::model::{Database, InstanceSpec, Millis, Model};
use quorate_management::service::{AdminService, Port, PortError, SetHashes};
use quorate_management::status::LiveView;
use quorate_proto::admin as pb;
use quorate_proto::admin::AdminServer;
use tokio_stream::wrappers::TcpListenerStream;
use uuid::Uuid;

/// 2018-02-22 07:37:25 in Los Angeles.
const THEN: Millis = 1_519_313_845_000;
/// Three seconds later.
const NOW: Millis = THEN + 3000;

/// A management group of one.
#[derive(Default)]
struct Group {
    model: Mutex<Model>,
    live: Mutex<LiveView>,
    /// What every question and proposal meets instead of an answer.
    trouble: Mutex<Option<PortError>>,
    /// Sessions of every database.
    sessions: Mutex<u32>,
    /// Hash of every element that differs from the others of its set.
    hashes: Mutex<BTreeMap<u64, Result<String, String>>>,
    /// Statuses that the data instances report with the next question.
    script: Mutex<Vec<Status>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    fn apply(&self, command: &Command) -> Result<Reply, Refused> {
        lock(&self.model).apply(command)
    }

    /// Every element reaches this status.
    fn all_report(&self, status: Status) {
        let reports: Vec<_> = lock(&self.model)
            .elements
            .values()
            .map(|element| {
                (element.instance, ElementReport { element: element.number, status, message: String::new() })
            })
            .collect();
        for (instance, report) in reports {
            let elements = vec![report];
            let command = Command::ReportElements { instance, incarnation: 1, elements, at_ms: THEN };
            assert_eq!(self.apply(&command), Ok(Reply::Reported { refused: Vec::new() }));
        }
    }

    fn report(&self, instance: u32, element: u64, status: Status, message: &str) {
        let elements = vec![ElementReport { element, status, message: message.to_owned() }];
        let command = Command::ReportElements { instance, incarnation: 1, elements, at_ms: THEN };
        assert_eq!(self.apply(&command), Ok(Reply::Reported { refused: Vec::new() }));
    }

    fn trouble(&self) -> Result<(), PortError> {
        lock(&self.trouble).clone().map_or(Ok(()), Err)
    }
}

impl Port for Group {
    async fn read(&self) -> Result<Arc<Model>, PortError> {
        self.trouble()?;
        let next = lock(&self.script).pop();
        if let Some(status) = next {
            self.all_report(status);
        }
        Ok(Arc::new(lock(&self.model).clone()))
    }

    async fn propose(&self, command: Command) -> Result<Result<Reply, Refused>, PortError> {
        self.trouble()?;
        Ok(self.apply(&command))
    }

    fn last_known(&self) -> Option<Arc<Model>> {
        Some(Arc::new(lock(&self.model).clone()))
    }

    fn live(&self) -> LiveView {
        let mut live = lock(&self.live).clone();
        live.now_ms = NOW;
        live.active = Some(1);
        let model = lock(&self.model);
        for database in model.databases.values() {
            for set in &database.sets {
                live.leaders.insert((database.number, set.id), set.preferred_leader);
            }
        }
        live
    }

    fn now_ms(&self) -> Millis {
        NOW
    }

    async fn create_grid(&self, name: String, k: u32) -> Result<Arc<Model>, PortError> {
        let instances = (1..=3).map(spec).collect();
        let command = Command::CreateGrid { uuid: Uuid::from_u128(7), name, k, instances, at_ms: THEN };
        self.apply(&command).map_err(PortError::Refused)?;
        for instance in 1..=3 {
            let up = Command::InstanceUp { instance, incarnation: 1, at_ms: THEN };
            self.apply(&up).map_err(PortError::Refused)?;
        }
        Ok(Arc::new(lock(&self.model).clone()))
    }

    /// Instance 1 has two sessions, 2 does not answer, 3 has none; each says the same of its elements as is recorded.
    async fn ask_instance(&self, instance: u32, question: Question) -> Result<Answer, String> {
        match (instance, question) {
            (2, _) => Err("no answer within 2 s".to_owned()),
            (1, Question::Sessions { .. }) => {
                let session = pb::Connection {
                    process_id: 16,
                    user: "ann".to_owned(),
                    application_name: "psql".to_owned(),
                    client: "10.0.0.9:40000".to_owned(),
                    since_ms: THEN,
                    state: "idle".to_owned(),
                    ..Default::default()
                };
                let working = pb::Connection {
                    process_id: 17,
                    state: "idle in transaction".to_owned(),
                    transaction: "5".to_owned(),
                    transaction_since_ms: THEN,
                    ..session.clone()
                };
                Ok(Answer::Sessions(vec![session, working]))
            }
            (_, Question::Sessions { .. }) => Ok(Answer::Sessions(Vec::new())),
            (_, Question::EndTransaction { process_id, transaction, .. }) => {
                Ok(Answer::Ended((instance, process_id, transaction) == (1, 17, 5)))
            }
            (_, Question::Elements { .. }) => {
                let model = lock(&self.model);
                let hosted = model.elements.values().filter(|element| element.instance == instance);
                let details = hosted.map(|element| pb::ElementDetails {
                    number: element.number,
                    reported: element.status.word().to_owned(),
                    role: if element.number == 1 { "leader" } else { "follower" }.to_owned(),
                    term: 3,
                    applied: 120,
                    last: 121,
                    prepared: u32::from(element.number == 1),
                    prepared_ms: 61_000,
                    staged: 0,
                    bytes: 5 << 20,
                    ..Default::default()
                });
                Ok(Answer::Elements(details.collect()))
            }
        }
    }

    fn sessions(&self, _database: &str) -> u32 {
        *lock(&self.sessions)
    }

    async fn verify(&self, _model: &Model, database: &Database) -> Result<Vec<SetHashes>, PortError> {
        let changed = lock(&self.hashes);
        let sets = database.sets.iter().map(|set| SetHashes {
            set: set.id,
            index: 40 + u64::from(set.id),
            hashes: set
                .members
                .iter()
                .map(|member| (*member, changed.get(member).cloned().unwrap_or_else(|| Ok(format!("{:016x}", set.id)))))
                .collect(),
            message: String::new(),
        });
        Ok(sets.collect())
    }
}

fn spec(number: u32) -> InstanceSpec {
    InstanceSpec {
        host: format!("host{number}"),
        name: "instance1".to_owned(),
        identity: Uuid::from_u128(u128::from(number)),
        sql_address: format!("10.0.0.{number}:7500"),
        peer_address: format!("10.0.0.{number}:7510"),
        data_space_group: None,
        data: true,
        management: true,
        single_host: false,
    }
}

/// A served group and the way to it.
struct Grid {
    group: Arc<Group>,
    at: String,
    runtime: tokio::runtime::Runtime,
}

impl Grid {
    /// Without a grid yet.
    fn waiting() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let group = Arc::new(Group::default());
        let at = runtime.block_on(serve(&group));
        Self { group, at: at.to_string(), runtime }
    }

    /// Three instances, k = 3.
    fn made() -> Self {
        let grid = Self::waiting();
        assert_eq!(grid.run("gridCreate grid1 -k 3").code, 0);
        grid
    }

    /// With `database1`, three replica sets, open.
    fn open() -> Self {
        let grid = Self::made();
        assert_eq!(grid.run("dbCreate database1 -replica-sets 3").code, 0);
        grid.group.all_report(Status::Loaded);
        assert_eq!(grid.run("dbOpen database1").code, 0);
        grid.group.all_report(Status::Opened);
        grid
    }

    fn run(&self, line: &str) -> Ended {
        run(&format!("--at {} {line}", self.at))
    }
}

async fn serve(group: &Arc<Group>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let service = AdminServer::new(AdminService::new(Arc::clone(group)));
    let serving =
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    address
}

#[derive(Debug)]
struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn run(line: &str) -> Ended {
    let output: Output = Process::new(env!("CARGO_BIN_EXE_quorate-admin"))
        .args(line.split_whitespace())
        .env("TZ", "America/Los_Angeles")
        .env_remove("QUORATE_AT")
        .output()
        .expect("the tool can be run");
    Ended {
        code: output.status.code().expect("it was not killed"),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

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
    assert!(grid.run("gridDisplay").out.starts_with("Grid name:     grid1\nGrid GUID:     00000000-"));
}

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
    lock(&grid.group.live).unreachable.insert(2, "connection refused".to_owned());
    let out = grid.run("dbStatus database1 -element").out;
    assert!(out.contains("\nhost2 instance1    5 down                       connection refused\n"), "{out}");
    let out = grid.run("dbStatus database1").out;
    assert!(
        out.starts_with(
            "Database database1: no leader is known of replica set 2\n  Next: start instance host2.instance1\n"
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
            "STALE: no majority of the management instances answers. \
             This is the last known state, of Thu Feb 22 07:37:25 PST 2018\n  host2 and host3 do not answer\n"
        ),
        "{ended:?}"
    );
    assert!(ended.out.contains("created,loaded-complete,open"), "{ended:?}");
    let refused = grid.run("dbLoad database1");
    assert_eq!(refused.code, 3, "{refused:?}");
    assert!(refused.err.contains("no majority of the management instances answers"), "{refused:?}");
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
            "Error 2: Database database1 does not exist\n  Create it: quorate-admin dbCreate database1\n"
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
fn other_addresses_are_tried() {
    let grid = Grid::open();
    let closed = grid.runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("bound")
    });
    assert_eq!(run(&format!("--at {closed},{} dbStatus", grid.at)).code, 0);
    let nobody = run(&format!("dbStatus --at {closed}"));
    assert_eq!(nobody.code, 3);
    assert!(nobody.err.starts_with(&format!("Error : No instance of the grid decides\n  {closed}: ")), "{nobody:?}");
    assert!(nobody.err.contains("refused"), "{nobody:?}");
}

#[test]
fn requests_reach_the_active_instance() {
    let grid = Grid::open();
    let standby = Arc::new(Group::default());
    *lock(&standby.trouble) = Some(PortError::NotActive { active: Some(grid.at.clone()) });
    let at = grid.runtime.block_on(serve(&standby));
    let ended = run(&format!("--at {at} dbStatus database1"));
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.out.contains("created,loaded-complete,open"), "{ended:?}");
    // A data instance knows only some management instance, which need not be the active one.
    let data = Arc::new(Group::default());
    *lock(&data.trouble) = Some(PortError::NotActive { active: Some(at.to_string()) });
    let at = grid.runtime.block_on(serve(&data));
    assert_eq!(run(&format!("--at {at} dbStatus database1")).code, 0);
    let refused = run(&format!("--at {at} dbOpen database1"));
    assert_eq!((refused.code, refused.err.as_str()), (1, "Error 12: Database database1 is already open\n"));
}

#[test]
fn instances_that_point_at_each_other_end_the_search() {
    let grid = Grid::made();
    let (left, right) = (Arc::new(Group::default()), Arc::new(Group::default()));
    let at = grid.runtime.block_on(serve(&left));
    let to = grid.runtime.block_on(serve(&right));
    *lock(&left.trouble) = Some(PortError::NotActive { active: Some(to.to_string()) });
    *lock(&right.trouble) = Some(PortError::NotActive { active: Some(at.to_string()) });
    let ended = run(&format!("--at {at} dbLoad database1"));
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.err.contains("no management instance is active"), "{ended:?}");
}

#[test]
fn wrong_usage_says_what_is_right() {
    let ended = run("dbStatsu");
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("dbStatus"), "{ended:?}");
    assert_eq!(run("dbLoad").code, 2);
    assert_eq!(run("dbLoad demo -wait -nowait").code, 2);
    let help = run("--help");
    assert_eq!(help.code, 0);
    for word in ["gridCreate", "dbCreate", "dbLoad", "dbOpen", "dbStatus", "dbVerify", "127.0.0.1:7510", "Exit codes"] {
        assert!(help.out.contains(word), "--help speaks of {word}");
    }
}

#[test]
fn sessions_and_their_transactions_are_listed() {
    let grid = Grid::open();
    assert_eq!(
        grid.run("dbStatus database1 -connections").out,
        "\
Database database1 connections as of Thu Feb 22 07:37:28 PST 2018

Host  Instance  PID User Application Client         State               Connected since     TransID Transaction since
----- --------- --- ---- ----------- -------------- ------------------- ------------------- ------- -------------------
host1 instance1  16 ann  psql        10.0.0.9:40000 idle                2018-02-22 07:37:25
host1 instance1  17 ann  psql        10.0.0.9:40000 idle in transaction 2018-02-22 07:37:25 1.17.5  2018-02-22 07:37:25

host2.instance1 did not answer: no answer within 2 s
"
    );
    assert_eq!(
        grid.run("xactList database1").out,
        "\
Database database1 open transactions as of Thu Feb 22 07:37:28 PST 2018

TransID Host  Instance  PID User Application Client         State               Since               Age
------- ----- --------- --- ---- ----------- -------------- ------------------- ------------------- -------
1.17.5  host1 instance1  17 ann  psql        10.0.0.9:40000 idle in transaction 2018-02-22 07:37:25 0:00:03

host2.instance1 did not answer: no answer within 2 s
"
    );
    let ended = grid.run("xactRollback database1 1.17.5");
    assert_eq!((ended.code, ended.out.as_str()), (0, "Transaction 1.17.5 rolled back, its session ended\n"));
    for absent in ["1.17.6", "9.1.1", "1", "1.2.x"] {
        let ended = grid.run(&format!("xactRollback database1 {absent}"));
        let text = format!(
            "Error 27: Database database1 has no open transaction {absent}\n  \
             Those that are open are shown by: quorate-admin xactList database1\n"
        );
        assert_eq!((ended.code, ended.err), (1, text));
    }
    let silent = grid.run("xactRollback database1 2.1.1");
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
        lock(&grid.group.live).unreachable.insert(instance, "connection refused".to_owned());
    }
    let short = grid.run("dbStatus database1 -loadReadiness").out;
    assert!(short.contains("Replica set 1 cannot be loaded: 1 of 3 elements can, 2 must\n"), "{short}");
    assert!(short.contains("    2    2 host2 instance1 N  down     N        connection refused\n"), "{short}");
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
    assert!(timed_out.err.contains("sessions are left on host1.instance1, host2.instance1, host3.instance1"));
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
