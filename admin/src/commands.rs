//! What each command does: ask, print, and say by the exit code what happened.

use std::io::IsTerminal as _;
use std::time::Duration;

use quorate_proto::admin as pb;
use serde::Serialize;

use crate::Exit;
use crate::cli::{Cli, Command, SectionArgs, WaitArgs};
use crate::client::{Failure, Grid, Kind};
use crate::wait::{self, Goal};
use crate::zone::Zone;
use crate::{inspect, render};

/// How long an ordinary request may take; the grid itself waits some seconds for an active management instance.
const LIMIT: Duration = Duration::from_secs(20);
/// How long a comparison of all replicas may take.
const VERIFY_LIMIT: Duration = Duration::from_secs(600);
/// How long the grid waits for the hash of one replica.
const REPLICA_LIMIT: Duration = Duration::from_secs(120);
/// When it is said that a comparison takes its time.
const VERIFY_NOTICE: Duration = Duration::from_secs(2);

/// Runs a command and prints what comes of it.
pub async fn run(cli: &Cli) -> Exit {
    let session = Session { grid: Grid::new(&cli.at), json: cli.json, zone: Zone::of_operator() };
    match session.run(&cli.command).await {
        Ok(exit) => exit,
        Err(failure) => {
            session.complain(&failure);
            failure.exit()
        }
    }
}

/// `dbStatus` as one JSON document: what is recorded, and what the instances said if they were asked, one of each per database.
#[derive(Serialize)]
struct StatusDocument {
    #[serde(flatten)]
    status: pb::DbStatusReply,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Vec<pb::DbDetailsReply>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<Vec<pb::DbConnectionsReply>>,
}

struct Session {
    grid: Grid,
    json: bool,
    zone: Zone,
}

impl Session {
    async fn run(&self, command: &Command) -> Result<Exit, Failure> {
        match command {
            Command::GridCreate { name, k } => self.grid_create(name, *k).await,
            Command::GridDisplay => self.grid_display().await,
            Command::GridEvents { last } => self.grid_events(*last).await,
            Command::DbCreate { database, replica_sets, instance, wait } => {
                let request = pb::DbCreateRequest {
                    database: database.clone(),
                    replica_sets: *replica_sets,
                    instance: instance.clone(),
                };
                let send = async |mut client: pb::AdminClient<_>| client.db_create(request.clone()).await;
                let words = ["creation started", "exists already"];
                self.change(database, Goal::Loaded, words, *wait, send).await
            }
            Command::DbLoad { database, instance, wait } => {
                let request = pb::DbLoadRequest { database: database.clone(), instance: instance.clone() };
                let send = async |mut client: pb::AdminClient<_>| client.db_load(request.clone()).await;
                let words = ["load started", "is already loaded, or being loaded"];
                self.change(database, Goal::Loaded, words, *wait, send).await
            }
            Command::DbOpen { database, wait } => {
                let request = pb::DbOpenRequest { database: database.clone() };
                let send = async |mut client: pb::AdminClient<_>| client.db_open(request.clone()).await;
                self.change(database, Goal::Open, ["open started", "is already open"], *wait, send).await
            }
            Command::DbClose { database, wait } => {
                let request = pb::DbCloseRequest { database: database.clone() };
                let send = async |mut client: pb::AdminClient<_>| client.db_close(request.clone()).await;
                self.change(database, Goal::Closed, ["close started", "is already closed"], *wait, send).await
            }
            Command::DbUnload { database, force, wait } => {
                let request = pb::DbUnloadRequest { database: database.clone(), force: *force };
                let send = async |mut client: pb::AdminClient<_>| client.db_unload(request.clone()).await;
                let words = ["unload started", "is already unloaded, or being unloaded"];
                self.change(database, Goal::Unloaded, words, *wait, send).await
            }
            Command::DbDisconnect { database, mode, wait } => self.db_disconnect(database, mode.word(), *wait).await,
            Command::DbDisconnectStatus { database } => {
                let reply = wait::disconnect_status(&self.grid, database).await?;
                self.print(&reply, || inspect::disconnect(&reply, self.zone))?;
                Ok(Exit::Done)
            }
            Command::DbDestroy { database, instance, wait } => {
                let request = pb::DbDestroyRequest { database: database.clone(), instance: instance.clone() };
                let send = async |mut client: pb::AdminClient<_>| client.db_destroy(request.clone()).await;
                let Some(instance) = instance else {
                    let words = ["destroy started", "is being destroyed already"];
                    return self.change(database, Goal::Destroyed, words, *wait, send).await;
                };
                let started = format!("instance {instance} destroy started");
                let words = [started.as_str(), "has nothing there that is not destroyed, or being destroyed, already"];
                self.change(database, Goal::Cleared, words, *wait, send).await
            }
            Command::DbList => self.db_list().await,
            Command::DbStatus { database, sections, watch: None } => {
                self.db_status(database.as_deref(), *sections).await
            }
            Command::DbStatus { database, sections, watch: Some(seconds) } => {
                self.watch(database.as_deref(), *sections, Duration::from_secs(*seconds)).await
            }
            Command::XactList { database } => {
                let mut reply = self.connections(database, true).await?;
                inspect::keep_transactions(&mut reply);
                self.print(&reply, || inspect::transactions(&reply, self.zone))?;
                Ok(Exit::Done)
            }
            Command::XactRollback { database, transaction } => {
                let request = pb::XactRollbackRequest { database: database.clone(), transaction: transaction.clone() };
                let send = async |mut client: pb::AdminClient<_>| client.xact_rollback(request.clone()).await;
                let reply = self.grid.call(Kind::Change, LIMIT, send).await?;
                self.print(&reply, || format!(
                        "The session of transaction {} has ended; what was not being committed already is rolled back\n",
                        reply.transaction
                    ))?;
                Ok(Exit::Done)
            }
            Command::DbVerify { database } => self.db_verify(database).await,
        }
    }

    async fn grid_create(&self, name: &str, k: u32) -> Result<Exit, Failure> {
        let request = pb::GridCreateRequest { name: name.to_owned(), k };
        let send = async |mut client: pb::AdminClient<_>| client.grid_create(request.clone()).await;
        let reply = self.grid.call(Kind::Change, LIMIT, send).await?;
        self.print(&reply, || {
            let stores = reply.instances.iter().filter(|instance| instance.data).count();
            let missing = (reply.k as usize).saturating_sub(stores);
            let first = match missing {
                0 => String::new(),
                1 => {
                    "start 1 more instance with the role data, for each row has a copy on another one; then ".to_owned()
                }
                n => format!(
                    "start {n} more instances with the role data, for each row has a copy on another one; then "
                ),
            };
            format!(
                "Grid {} created with k = {} (GUID {})\n\n{}\nNext: {first}quorate-admin dbCreate NAME\n",
                reply.name,
                reply.k,
                reply.uuid,
                render::instances(&reply.instances, self.zone)
            )
        })?;
        Ok(Exit::Done)
    }

    async fn grid_display(&self) -> Result<Exit, Failure> {
        let send = async |mut client: pb::AdminClient<_>| client.grid_display(pb::GridDisplayRequest {}).await;
        let reply = self.grid.call(Kind::Question, LIMIT, send).await?;
        self.print(&reply, || {
            let stale = reply.stale.as_ref().map(|stale| render::stale(stale, self.zone) + "\n").unwrap_or_default();
            stale + &render::grid(&reply, self.zone)
        })?;
        Ok(if reply.stale.is_some() { Exit::Unreachable } else { Exit::Done })
    }

    async fn grid_events(&self, last: u32) -> Result<Exit, Failure> {
        let send = async |mut client: pb::AdminClient<_>| client.grid_events(pb::GridEventsRequest { last }).await;
        let reply = self.grid.call(Kind::Question, LIMIT, send).await?;
        self.print(&reply, || {
            let stale = reply.stale.as_ref().map(|stale| render::stale(stale, self.zone) + "\n").unwrap_or_default();
            stale + &render::events(&reply, self.zone)
        })?;
        Ok(if reply.stale.is_some() { Exit::Unreachable } else { Exit::Done })
    }

    /// Sends a change of a database; `words` for a change that began, and for one that was not needed.
    async fn change(
        &self,
        database: &str,
        goal: Goal,
        words: [&str; 2],
        wait: WaitArgs,
        send: impl AsyncFn(
            pb::AdminClient<tonic::transport::Channel>,
        ) -> Result<tonic::Response<pb::DbChangeReply>, tonic::Status>,
    ) -> Result<Exit, Failure> {
        let known = match wait.wait {
            Some(_) => wait::known_failures(&self.grid, database).await?,
            None => wait::Known::new(),
        };
        let reply = self.grid.call(Kind::Change, LIMIT, send).await?;
        self.print(&reply, || format!("Database {} {}\n", reply.database, words[usize::from(reply.already)]))?;
        if let Some(limit) = wait.wait {
            let progress = |state: &str| eprintln!("  {state}");
            wait::until_done(&self.grid, &reply, goal, &known, limit, progress).await?;
            if !self.json {
                println!("Database {} is {}", reply.database, goal.word());
            }
        }
        Ok(Exit::Done)
    }

    async fn db_disconnect(&self, database: &str, mode: &str, wait: WaitArgs) -> Result<Exit, Failure> {
        let request = pb::DbDisconnectRequest { database: database.to_owned(), mode: mode.to_owned() };
        let send = async |mut client: pb::AdminClient<_>| client.db_disconnect(request.clone()).await;
        let reply = self.grid.call(Kind::Change, LIMIT, send).await?;
        self.print(&reply, || format!("Database {} disconnect started\n", reply.database))?;
        if let Some(limit) = wait.wait {
            wait::until_disconnected(&self.grid, &reply, limit, |state| eprintln!("  {state}")).await?;
            if !self.json {
                println!("Database {}: sessions disconnected", reply.database);
            }
        }
        Ok(Exit::Done)
    }

    async fn connections(&self, database: &str, holdings: bool) -> Result<pb::DbConnectionsReply, Failure> {
        let request = pb::DbConnectionsRequest { database: database.to_owned(), holdings };
        let send = async |mut client: pb::AdminClient<_>| client.db_connections(request.clone()).await;
        self.grid.call(Kind::Question, LIMIT, send).await
    }

    /// Shows the status again and again, until the operator interrupts. Nobody answering is shown like anything else.
    async fn watch(&self, database: Option<&str>, sections: SectionArgs, every: Duration) -> Result<Exit, Failure> {
        let terminal = std::io::stdout().is_terminal() && !self.json;
        loop {
            if terminal {
                // To the upper left corner, and everything below it away.
                print!("\x1b[H\x1b[2J");
            }
            if let Err(failure) = self.db_status(database, sections).await {
                // A name that is wrong once is wrong for ever.
                if !matches!(failure, Failure::Unreachable { .. }) {
                    return Err(failure);
                }
                self.complain(&failure);
            }
            if !terminal && !self.json {
                println!();
            }
            tokio::time::sleep(every).await;
        }
    }

    async fn db_list(&self) -> Result<Exit, Failure> {
        let request = pb::DbStatusRequest { database: None };
        let send = async |mut client: pb::AdminClient<_>| client.db_status(request.clone()).await;
        let reply = self.grid.call(Kind::Question, LIMIT, send).await?;
        self.print(&reply, || {
            let stale = reply.stale.as_ref().map(|stale| render::stale(stale, self.zone) + "\n").unwrap_or_default();
            stale + &render::list(&reply.databases)
        })?;
        Ok(if reply.stale.is_some() { Exit::Unreachable } else { Exit::Done })
    }

    async fn db_status(&self, database: Option<&str>, sections: SectionArgs) -> Result<Exit, Failure> {
        let request = pb::DbStatusRequest { database: database.map(str::to_owned) };
        let send = async |mut client: pb::AdminClient<_>| client.db_status(request.clone()).await;
        let reply = self.grid.call(Kind::Question, LIMIT, send).await?;
        let sections = sections.resolved();
        let mut parts: Vec<String> = Vec::new();
        parts.extend(reply.stale.as_ref().map(|stale| render::stale(stale, self.zone)));
        for status in &reply.databases {
            parts.push(render::database(status, sections, self.zone));
            if sections.load_readiness {
                parts.push(inspect::load_readiness(status, self.zone));
            }
        }
        if reply.databases.is_empty() {
            parts.push("No database exists yet. Create one: quorate-admin dbCreate NAME\n".to_owned());
        }
        let stale = reply.stale.is_some();
        let mut document = StatusDocument { status: reply, details: None, connections: None };
        // What is recorded is shown although the instances cannot be asked.
        let asked = self.inspect(&mut document, sections, &mut parts).await;
        self.print(&document, || parts.join("\n"))?;
        asked?;
        Ok(if stale { Exit::Unreachable } else { Exit::Done })
    }

    /// What the instances themselves are asked for.
    async fn inspect(
        &self,
        document: &mut StatusDocument,
        sections: SectionArgs,
        parts: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let names: Vec<String> = document.status.databases.iter().map(|status| status.name.clone()).collect();
        for database in names {
            if sections.details {
                let request = pb::DbDetailsRequest { database: database.clone() };
                let send = async |mut client: pb::AdminClient<_>| client.db_details(request.clone()).await;
                let reply = self.grid.call(Kind::Question, LIMIT, send).await?;
                parts.push(inspect::details(&reply, self.zone));
                document.details.get_or_insert_default().push(reply);
            }
            if sections.connections {
                let reply = self.connections(&database, false).await?;
                parts.push(inspect::connections(&reply, self.zone));
                document.connections.get_or_insert_default().push(reply);
            }
        }
        Ok(())
    }

    async fn db_verify(&self, database: &str) -> Result<Exit, Failure> {
        let request = pb::DbVerifyRequest { database: database.to_owned() };
        let send = async |mut client: pb::AdminClient<_>| client.db_verify(request.clone()).await;
        let answer = self.grid.call(Kind::Question, VERIFY_LIMIT, send);
        let mut answer = std::pin::pin!(answer);
        let reply = match tokio::time::timeout(VERIFY_NOTICE, &mut answer).await {
            Ok(reply) => reply?,
            Err(_) => {
                eprintln!(
                    "  comparing; a copy that has no hash after {} s counts as not compared",
                    REPLICA_LIMIT.as_secs()
                );
                answer.await?
            }
        };
        let result = render::verification_result(&reply);
        self.print(&reply, || {
            let result = result.as_ref().map(|text| format!("\n{text}\n")).unwrap_or_default();
            render::verification(&reply, self.zone) + &result
        })?;
        match result {
            Ok(_) => Ok(Exit::Done),
            Err(text) => Err(Failure::Other(text)),
        }
    }

    fn print<T: Serialize>(&self, reply: &T, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.json {
            let json = serde_json::to_string_pretty(reply).map_err(|error| Failure::Other(error.to_string()))?;
            println!("{json}");
        } else {
            print!("{}", text());
        }
        Ok(())
    }

    fn complain(&self, failure: &Failure) {
        eprintln!("{failure}");
        let hint = failure.hint();
        if !hint.is_empty() {
            eprintln!("  {hint}");
        }
    }
}
