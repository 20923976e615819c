//! The gateway: a PostgreSQL wire server over [`quorate_sql::session::Session`].
//!
//! - [`Gateway`] accepts connections, keeps their number in bounds and ends them
//! - [`startup`] reads the first messages of a connection, [`message`] all later ones, [`reply`] writes the answers
//! - [`io`] holds a socket with its buffers: one write per answer, backpressure, hanging up
//! - [`conversation`] is the life of a session: simple queries, errors, ReadyForQuery; `extended` adds Parse to Sync with portals, `copy` COPY
//! - [`registry`] knows the sessions: cancel requests, limits, disconnecting
//!
//! Nothing here decides about SQL: the gateway decodes, calls the session and encodes.
//!
//! Failures: an error of a statement is an ErrorResponse and the session goes on; a message that breaks the protocol's framing, a limit, or the
//! end of the instance is a FATAL ErrorResponse and the connection closes; a client that leaves takes its open transaction with it. One task runs
//! one session, so a panic in it ends that session only.
//!
//! Left out: TLS and passwords (every client is trusted; listeners on open addresses are refused by the configuration), the replication and function-call
//! protocols, binary COPY.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use quorate_sql::error::{Error, SqlState};
use quorate_sql::exec::relational::Engine;
use quorate_sql::session::{Environment, Session, Timer};
use quorate_sql::storage::Database;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub mod conversation;
mod copy;
mod extended;
pub mod io;
pub mod message;
pub mod registry;
pub mod reply;
pub mod startup;
mod timer;
mod values;

use conversation::Conversation;
use io::Io;
use registry::{Applicant, Ending, Registry, Ticket};
use reply::Severity;
use startup::{Opening, Parameters, Refusal};

pub use registry::{ConnectionInfo, TransactionInfo};
pub use timer::TokioTimer;

/// How often abandoned statements are looked for.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long [`Gateway::disconnect_all`] waits for sessions before it cancels their statements again.
const CANCEL_AGAIN: Duration = Duration::from_millis(200);
/// How long the last message to a client may take.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);
/// Connections beyond `max_connections` that may be in their opening (cancel requests among them).
const OPENING_CONNECTIONS_MAX: usize = 100;

/// Limits of a gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// Sessions at a time; one more is refused with 53300.
    pub max_connections: usize,
    /// Bytes of one message from a client: a statement's text, its parameters, a piece of COPY data (54000 beyond it).
    pub message_bytes_max: usize,
    /// How long a new connection may take until its startup message is complete.
    pub startup_timeout: Duration,
    /// How long sessions get to end when the gateway stops, before they are dropped.
    pub shutdown_grace: Duration,
    /// Bytes that one statement may hold for sorting, grouping and held-back results.
    pub work_memory: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            max_connections: 200,
            message_bytes_max: 16 * 1024 * 1024,
            startup_timeout: Duration::from_secs(10),
            shutdown_grace: Duration::from_secs(5),
            work_memory: 16 * 1024 * 1024,
        }
    }
}

/// The databases that this instance serves; the server implements it.
pub trait Databases: Send + Sync {
    /// The database that a client names.
    ///
    /// # Errors
    /// 3D000 when there is none of that name, 57P03 while it is not open.
    fn open(&self, name: &str) -> Result<Arc<dyn Database>, Error>;
}

/// What the clients of ended sessions hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// 57P01.
    Told,
    /// Nothing: the connection is cut.
    Cut,
}

/// A PostgreSQL wire server.
pub struct Gateway {
    config: Config,
    databases: Arc<dyn Databases>,
    /// Runs the queries over several relations of all sessions.
    engine: Arc<dyn Engine>,
    registry: Arc<Registry>,
    timer: Arc<dyn Timer>,
}

impl Gateway {
    /// A gateway without connections yet.
    pub fn new(config: Config, databases: Arc<dyn Databases>, engine: Arc<dyn Engine>) -> Gateway {
        Gateway { config, databases, engine, registry: Arc::new(Registry::default()), timer: Arc::new(TokioTimer) }
    }

    /// Accepts connections until `shutdown`, then tells all sessions 57P01, waits for them up to the grace, and drops the rest. All tasks
    /// have ended when it returns. A gateway serves once: it is closed afterwards.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, shutdown: CancellationToken) {
        let mut sessions = JoinSet::new();
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = sessions.join_next() => report(ended),
                _ = watch.tick() => self.registry.cancel_abandoned(),
                accepted = listener.accept() => match accepted {
                    Ok((stream, client)) => {
                        let crowded = sessions.len() >= self.config.max_connections + OPENING_CONNECTIONS_MAX;
                        let gateway = self.clone();
                        let opening_ends = shutdown.clone();
                        sessions.spawn(async move { gateway.connection(stream, client, crowded, opening_ends).await });
                    }
                    Err(error) => {
                        // Out of file descriptors, most likely: without a pause this would spin.
                        tracing::error!(%error, "accept connection");
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                },
            }
        }
        drop(listener);
        let count = self.registry.close();
        tracing::info!(sessions = count, "gateway stops");
        let ended = tokio::time::timeout(self.config.shutdown_grace, async {
            while let Some(ended) = sessions.join_next().await {
                report(ended);
            }
        })
        .await;
        if ended.is_err() {
            tracing::warn!(sessions = sessions.len(), "sessions did not end in time and are dropped");
            sessions.shutdown().await;
        }
    }

    /// The sessions there are, by number.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.registry.connections()
    }

    /// How many sessions there are.
    pub fn connection_count(&self) -> usize {
        self.registry.count()
    }

    /// Ends all sessions of a database and waits until they are gone; returns how many there were. New ones are not hindered: close the
    /// database first, so that [`Databases::open`] refuses them.
    pub async fn disconnect_all(&self, database: &str, farewell: Farewell) -> usize {
        let connections = self.registry.connections();
        let present: HashSet<i32> =
            connections.iter().filter(|info| info.database == database).map(|info| info.process_id).collect();
        // Numbers are given anew only after two thousand million others.
        let chosen = |info: &ConnectionInfo| present.contains(&info.process_id);
        let end = || match farewell {
            Farewell::Told => self.registry.end(Ending::Disconnected, chosen),
            Farewell::Cut => self.registry.cut(chosen),
        };
        let count = end();
        // A statement that was just beginning may have missed the first request to cancel it.
        while tokio::time::timeout(CANCEL_AGAIN, self.registry.wait_until_gone(chosen)).await.is_err() {
            end();
        }
        count
    }

    /// Ends the sessions of a database whose transactions are open, each with its transaction, and waits until they are gone; sessions without
    /// a transaction stay. Returns how many it ended. There is no limit to the time that a client may take for its transaction.
    pub async fn disconnect_after_transactions(&self, database: &str) -> usize {
        let count = self.registry.end_after_transactions(|info| info.database == database);
        self.registry.wait_until_gone(|info| info.database == database && info.leaving).await;
        count
    }

    /// Ends the session with this number if it is in its `transaction`th transaction, and waits until it is gone. That rolls the transaction back, unless
    /// its commit was under way. False when it is not in that transaction.
    pub async fn end_transaction(&self, database: &str, process_id: i32, transaction: u64) -> bool {
        let chosen = |info: &ConnectionInfo| {
            info.process_id == process_id
                && info.database == database
                && info.transaction.is_some_and(|open| open.number == transaction)
        };
        if self.registry.end(Ending::TransactionEnded, chosen) == 0 {
            return false;
        }
        self.registry.wait_until_gone(|info| info.process_id == process_id).await;
        true
    }

    /// One connection, from its first byte to its last.
    async fn connection(
        self: Arc<Self>,
        mut stream: TcpStream,
        client: SocketAddr,
        crowded: bool,
        shutdown: CancellationToken,
    ) {
        if let Err(error) = prepare_socket(&stream) {
            tracing::debug!(%error, %client, "prepare socket");
        }
        let mut input = BytesMut::with_capacity(1024);
        let opening = if crowded {
            let error = Error::new(SqlState::TOO_MANY_CONNECTIONS, "sorry, too many clients already");
            Err(Refusal::Error(error))
        } else {
            tokio::select! {
                biased;
                opening = tokio::time::timeout(self.config.startup_timeout, startup::open(&mut stream, &mut input)) => match opening {
                    Ok(opening) => opening,
                    Err(_) => Err(Refusal::Error(message::violation("no complete startup packet within the startup timeout"))),
                },
                () = shutdown.cancelled() => Err(Refusal::Error(Ending::Shutdown.error())),
            }
        };
        let parameters = match opening {
            Ok(Opening::Session(parameters)) => parameters,
            Ok(Opening::Cancel { process_id, secret }) => return self.registry.cancel(process_id, secret),
            Ok(Opening::Nothing) => return,
            Err(Refusal::Io(error)) => return tracing::debug!(%error, %client, "connection failed in its opening"),
            Err(Refusal::Error(error)) => return refuse(&stream, &error).await,
        };
        let stream = Arc::new(stream);
        let applicant = Applicant {
            user: parameters.user.clone(),
            database: parameters.database.clone(),
            application_name: parameters.setting("application_name").unwrap_or("").to_string(),
            client,
        };
        // Entered before the database is asked for: whoever closes a database and then disconnects its sessions misses none.
        let ticket = match self.registry.enter(applicant, &stream, self.config.max_connections) {
            Ok(ticket) => ticket,
            Err(error) => return refuse(&stream, &error).await,
        };
        let session = match self.session(parameters, &ticket) {
            Ok((session, greeting)) => {
                let mut io = Io::new(stream.clone(), ticket.member.clone(), input, self.config.message_bytes_max);
                io.output.extend_from_slice(&greeting);
                Conversation::new(io, session, ticket.member.clone())
            }
            Err(error) => return refuse(&stream, &error).await,
        };
        session.run(FAREWELL_TIMEOUT).await;
    }

    /// Opens the database and makes the session, with what the client is told about it.
    fn session(&self, parameters: Parameters, ticket: &Ticket) -> Result<(Session, BytesMut), Error> {
        let database = self.databases.open(&parameters.database)?;
        let environment = Environment {
            timer: self.timer.clone(),
            process_id: ticket.process_id,
            startup_parameters: parameters.settings,
            work_memory: self.config.work_memory,
            engine: self.engine.clone(),
        };
        let session = Session::new(database, parameters.user, parameters.database, environment)?;
        ticket.member.set_session(&session);
        let mut greeting = BytesMut::with_capacity(1024);
        if let Some(unknown) = &parameters.negotiate {
            let unknown: Vec<&str> = unknown.iter().map(String::as_str).collect();
            reply::negotiate_protocol(&unknown, &mut greeting);
        }
        reply::authentication_ok(&mut greeting);
        for (name, value) in session.parameter_status() {
            reply::parameter_status(name, &value, &mut greeting);
        }
        reply::backend_key(ticket.process_id, ticket.secret, &mut greeting);
        reply::ready(session.status(), &mut greeting);
        Ok((session, greeting))
    }
}

/// Answers are single writes already, so waiting for more to send only costs time; and a client whose host died is noticed within two minutes.
fn prepare_socket(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(6);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

/// Tells a client why it gets no session.
async fn refuse(stream: &TcpStream, error: &Error) {
    tracing::debug!(code = %error.code, message = %error.message, "connection refused");
    let mut output = BytesMut::new();
    reply::error(error, Severity::Fatal, &mut output);
    let written = tokio::time::timeout(FAREWELL_TIMEOUT, async {
        let mut rest = &output[..];
        while !rest.is_empty() {
            stream.writable().await?;
            match stream.try_write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    });
    if let Ok(Err(error)) = written.await {
        tracing::debug!(%error, "refusal not sent");
    }
}

/// Looks at how a session's task ended.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a session panicked and was ended");
    }
}
