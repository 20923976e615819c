//! From processes that run to a database that answers: the grid, the database, the sample schema.
//!
//! Every step first looks whether it is done, so that setting up can be cut off anywhere and goes on at the next start.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use quorate_proto::Refused;
use quorate_proto::admin::{
    AdminClient, DatabaseStatus, DbCreateRequest, DbOpenRequest, DbStatusRequest, GridCreateRequest, GridDisplayRequest,
};
use tokio::net::TcpStream;
use tokio_postgres::NoTls;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::DATABASE;
use super::layout::Layout;

/// How long everything may take. Bringing a large database back takes the longest: each instance replays its log.
const LIMIT: Duration = Duration::from_secs(180);
/// Between two looks at something that is under way.
const PAUSE: Duration = Duration::from_millis(100);
/// How long one request may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// The tables of a new demo.
const SAMPLE: &str = include_str!("sample.sql");

/// Makes what is missing, and returns when every gateway answers SQL.
pub async fn bring_up(layout: &mut Layout) -> anyhow::Result<()> {
    let until = Instant::now() + LIMIT;
    let mut admin = Admin::connect(layout)?;
    if !layout.is_complete() {
        create_grid(&mut admin, layout, until).await.context("make the grid")?;
    }
    open_database(&mut admin, layout, until).await.with_context(|| format!("open the database {DATABASE}"))?;
    if !layout.is_complete() {
        retried(until, || load_sample(layout)).await.context("load the sample tables")?;
        layout.set_complete()?;
    }
    for instance in layout.instances() {
        retried(until, || answers(instance.sql_port)).await.with_context(|| format!("ask {}", instance.name))?;
    }
    Ok(())
}

/// A refusal with its advice.
fn refused(status: &Status) -> anyhow::Error {
    let refused = Refused::from_status(status);
    if refused.hint.is_empty() { anyhow::anyhow!("{refused}") } else { anyhow::anyhow!("{refused}. {}", refused.hint) }
}

/// The operators' service, through whichever instance answers.
struct Admin {
    clients: Vec<AdminClient<Channel>>,
}

impl Admin {
    fn connect(layout: &Layout) -> anyhow::Result<Admin> {
        let client = |address: String| {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).context("form an address")?;
            Ok(AdminClient::new(endpoint.timeout(REQUEST_LIMIT).connect_lazy()))
        };
        let clients =
            layout.instances().iter().map(|instance| client(instance.peer_address())).collect::<anyhow::Result<_>>()?;
        Ok(Admin { clients })
    }

    /// Asks until there is an answer other than "nobody decided", each time another instance.
    async fn ask<T>(
        &mut self,
        until: Instant,
        mut request: impl AsyncFnMut(&mut AdminClient<Channel>) -> Result<T, Status>,
    ) -> Result<T, Status> {
        loop {
            let asked = request(&mut self.clients[0]).await;
            match asked {
                // Nothing was decided, or nobody knows; every request here may be repeated.
                Err(status)
                    if matches!(
                        status.code(),
                        Code::Unavailable | Code::Aborted | Code::DeadlineExceeded | Code::Cancelled
                    ) && Instant::now() < until =>
                {
                    self.clients.rotate_left(1);
                    tokio::time::sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }
}

/// Makes the grid when all instances can be reached, and waits until all are in it.
async fn create_grid(admin: &mut Admin, layout: &Layout, until: Instant) -> anyhow::Result<()> {
    for instance in layout.instances() {
        while let Err(error) = TcpStream::connect(instance.peer_address()).await {
            if Instant::now() >= until {
                return Err(error).with_context(|| format!("reach {} at {}", instance.name, instance.peer_address()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    let request = GridCreateRequest { name: DATABASE.to_owned(), k: layout.k() };
    let created = admin.ask(until, async |client| client.grid_create(request.clone()).await).await;
    match created {
        // Already there: an earlier attempt made it; only its answer, or the rest of the setup, was lost.
        Err(status) if status.code() != Code::AlreadyExists => return Err(refused(&status)),
        _ => {}
    }
    // Instances without management join by themselves once there is a grid.
    loop {
        let shown = admin.ask(until, async |client| client.grid_display(GridDisplayRequest {}).await).await;
        let members = shown.map_err(|status| refused(&status))?.into_inner().instances.len();
        if members == layout.instances().len() {
            return Ok(());
        }
        ensure!(Instant::now() < until, "only {members} of {} instances are in it", layout.instances().len());
        tokio::time::sleep(PAUSE).await;
    }
}

async fn open_database(admin: &mut Admin, layout: &Layout, until: Instant) -> anyhow::Result<()> {
    if status(admin, until).await?.is_none() {
        let request = DbCreateRequest {
            database: DATABASE.to_owned(),
            replica_sets: Some(layout.replica_sets()),
            instance: None,
        };
        let created = admin.ask(until, async |client| client.db_create(request.clone()).await).await;
        if let Err(status) = created
            && status.code() != Code::AlreadyExists
        {
            return Err(refused(&status));
        }
    }
    let mut opened = false;
    loop {
        let found = status(admin, until).await?.context("it is not there although it was made")?;
        if found.open == "open" && found.replica_sets.iter().all(|set| set.available && set.leader != 0) {
            return Ok(());
        }
        if found.wanted == "loaded" && found.load.starts_with("loaded") && !opened {
            let request = DbOpenRequest { database: DATABASE.to_owned() };
            let asked = admin.ask(until, async |client| client.db_open(request.clone()).await).await;
            // A refusal here is a race with a change of state; the next look at the status decides.
            opened = asked.is_ok();
        }
        if Instant::now() >= until {
            bail!("it is {}, {}, {}; {}", found.create, found.load, found.open, found.verdict);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn status(admin: &mut Admin, until: Instant) -> anyhow::Result<Option<DatabaseStatus>> {
    let request = DbStatusRequest { database: Some(DATABASE.to_owned()) };
    let asked = admin.ask(until, async |client| client.db_status(request.clone()).await).await;
    match asked {
        Ok(reply) => Ok(reply.into_inner().databases.into_iter().next()),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(refused(&status)),
    }
}

/// Loads the sample tables in one transaction; tables that are there already are an earlier attempt whose answer was lost.
async fn load_sample(layout: &Layout) -> Result<(), tokio_postgres::Error> {
    let client = connect(&layout.url()).await?;
    match client.batch_execute(SAMPLE).await {
        Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::DUPLICATE_TABLE) => Ok(()),
        done => done,
    }
}

async fn answers(sql_port: u16) -> Result<(), tokio_postgres::Error> {
    let client = connect(&format!("postgres://127.0.0.1:{sql_port}/{DATABASE}")).await?;
    client.batch_execute("SELECT 1").await
}

async fn connect(url: &str) -> Result<tokio_postgres::Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(async move {
        // Its error, if any, reaches the client too.
        let _ = connection.await;
    });
    Ok(client)
}

/// Repeats what a grid that is still electing its leaders may refuse; a statement that is wrong stays wrong and is not repeated.
async fn retried<F>(until: Instant, mut attempt: impl FnMut() -> F) -> anyhow::Result<()>
where
    F: Future<Output = Result<(), tokio_postgres::Error>>,
{
    loop {
        let error = match attempt().await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // No SQLSTATE: no connection. Class 40: try again; 57P03: not open yet; 58000: a set without leader.
        let passing =
            error.code().is_none_or(|code| code.code().starts_with("40") || ["57P03", "58000"].contains(&code.code()));
        if !passing || Instant::now() >= until {
            return Err(match error.as_db_error() {
                Some(refused) => anyhow::anyhow!("{} ({})", refused.message(), refused.code().code()),
                None => error.into(),
            });
        }
        tokio::time::sleep(PAUSE).await;
    }
}
