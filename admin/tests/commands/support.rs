//! A grid whose management group is one model in memory, served to the tool; the tests say what its data instances would report.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::{Command as Process, Output};
use std::sync::{Arc, Mutex, PoisonError};

use quorate_management::command::{Command, ElementReport, Refused, Reply};
use quorate_management::inquiry::{Answer, Holding, Question};
use quorate_management::lifecycle::Status;
use quorate_management::model::{Database, InstanceSpec, Millis, Model};
use quorate_management::service::{AdminService, Port, PortError, SetHashes};
use quorate_management::status::{LiveView, Unreachable};
use quorate_proto::admin as pb;
use quorate_proto::admin::AdminServer;
use tokio_stream::wrappers::TcpListenerStream;
use uuid::Uuid;

/// 2018-02-22 07:37:25 in Los Angeles.
pub const THEN: Millis = 1_519_313_845_000;
/// Three seconds later.
pub const NOW: Millis = THEN + 3000;

/// A management group of one.
#[derive(Default)]
pub struct Group {
    pub model: Mutex<Model>,
    pub live: Mutex<LiveView>,
    /// What every question and proposal meets instead of an answer.
    pub trouble: Mutex<Option<PortError>>,
    /// Sessions of every database.
    pub sessions: Mutex<u32>,
    /// Hash of every element that differs from the others of its set.
    pub hashes: Mutex<BTreeMap<u64, Result<String, String>>>,
    /// Statuses that the data instances report with the next question.
    pub script: Mutex<Vec<Status>>,
}

pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Group {
    pub fn apply(&self, command: &Command) -> Result<Reply, Refused> {
        lock(&self.model).apply(command)
    }

    /// Every element reaches this status.
    pub fn all_report(&self, status: Status) {
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

    pub fn report(&self, instance: u32, element: u64, status: Status, message: &str) {
        let elements = vec![ElementReport { element, status, message: message.to_owned() }];
        let command = Command::ReportElements { instance, incarnation: 1, elements, at_ms: THEN };
        assert_eq!(self.apply(&command), Ok(Reply::Reported { refused: Vec::new() }));
    }

    /// From now on an instance does not answer; that was noticed a second ago.
    pub fn lose(&self, instance: u32) {
        let lost = Unreachable { reason: "connection refused".to_owned(), since_ms: NOW - 1000 };
        lock(&self.live).unreachable.insert(instance, lost);
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

    /// Instance 1 has three sessions, 2 does not answer, 3 has none; each says the same of its elements as is recorded.
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
                    transaction: "4.17.5".to_owned(),
                    transaction_since_ms: THEN,
                    transaction_id: 700,
                    ..session.clone()
                };
                let waiting = pb::Connection {
                    process_id: 18,
                    state: "active".to_owned(),
                    transaction: "4.18.2".to_owned(),
                    transaction_since_ms: THEN + 1000,
                    transaction_id: 701,
                    ..session.clone()
                };
                Ok(Answer::Sessions(vec![session, working, waiting]))
            }
            // Set 1 is led by instance 1, and 2 by instance 3, where a transaction of instance 2 is prepared.
            (1, Question::Holdings { .. }) => {
                let holding = |transaction, holds, waits_for| Holding {
                    replica_set: 1,
                    transaction,
                    gateway: 1,
                    holds,
                    prepared_ms: None,
                    waits_for,
                };
                Ok(Answer::Holdings(vec![holding(700, true, Vec::new()), holding(701, false, vec![700])]))
            }
            (_, Question::Holdings { .. }) => {
                let holding = |transaction, gateway, prepared_ms| Holding {
                    replica_set: 2,
                    transaction,
                    gateway,
                    holds: true,
                    prepared_ms,
                    waits_for: Vec::new(),
                };
                // What was prepared just now has a session that has gone on, or began after the sessions were asked.
                let holdings = [holding(700, 1, None), holding(900, 2, Some(1500)), holding(901, 2, Some(20))];
                Ok(Answer::Holdings(holdings.to_vec()))
            }
            (_, Question::Sessions { .. }) => Ok(Answer::Sessions(Vec::new())),
            (_, Question::EndTransaction { incarnation, process_id, transaction, .. }) => {
                Ok(Answer::Ended((instance, incarnation, process_id, transaction) == (1, 4, 17, 5)))
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

    async fn sessions(&self, _database: &str) -> Result<u32, PortError> {
        Ok(*lock(&self.sessions))
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

pub fn spec(number: u32) -> InstanceSpec {
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
pub struct Grid {
    pub group: Arc<Group>,
    pub at: String,
    pub runtime: tokio::runtime::Runtime,
}

impl Grid {
    /// Without a grid yet.
    pub fn waiting() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let group = Arc::new(Group::default());
        let at = runtime.block_on(serve(&group));
        Self { group, at: at.to_string(), runtime }
    }

    /// Three instances, k = 3.
    pub fn made() -> Self {
        let grid = Self::waiting();
        assert_eq!(grid.run("gridCreate grid1 -k 3").code, 0);
        grid
    }

    /// With `database1`, three replica sets, open.
    pub fn open() -> Self {
        let grid = Self::made();
        assert_eq!(grid.run("dbCreate database1 -replica-sets 3").code, 0);
        grid.group.all_report(Status::Loaded);
        assert_eq!(grid.run("dbOpen database1").code, 0);
        grid.group.all_report(Status::Opened);
        grid
    }

    pub fn run(&self, line: &str) -> Ended {
        run(&format!("--at {} {line}", self.at))
    }
}

pub async fn serve(group: &Arc<Group>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let service = AdminServer::new(AdminService::new(Arc::clone(group)));
    let serving =
        tonic::transport::Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(serving);
    address
}

#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn run(line: &str) -> Ended {
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
