//! The operators' gRPC service, over whatever runs the management group.
//!
//! Any instance takes any request. The server implements [`Port`]; this file decides, forwards to the active management
//! instance when that is another one, turns refusals into statuses, and answers with the last known state, marked stale, when
//! no majority of the management instances can be reached.
//!
//! What a failed request means is exact, since tools act on it: UNAVAILABLE: nothing was decided, ask again; ABORTED: the outcome
//! is unknown, look at the status first; every other code is a refusal.

mod refusal;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_proto::admin as pb;
use quorate_proto::admin::AdminClient;
use thiserror::Error;
use tokio::time::Instant;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status as GrpcStatus};
use tracing::{info, warn};

use refusal::refusal;

use crate::command::{Command, Refused, Reply};
use crate::disconnect::DisconnectMode;
use crate::inquiry::{self, Question};
use crate::lifecycle::Target;
use crate::model::{Database, ElementNumber, InstanceNumber, Millis, Model, SetId};
use crate::status::{self, LiveView};

/// How long a request waits for an active management instance to appear: an ordinary failover takes less.
pub const ACTIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection to another instance may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often another instance that owes an answer is asked for a sign of life, and how long it may take to give one: a process that hangs, or a
/// network that swallows everything, is no reason to wait for ever.
const LIFE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));
/// Between two looks for the active instance.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Counts how often a request was forwarded.
const FORWARDED: &str = "quorate-forwarded";
/// From a data instance to a management instance, and from there to the active one.
const FORWARDED_MAX: u32 = 2;

/// Why the management group could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PortError {
    /// Another instance decides. Nothing was proposed.
    #[error("another management instance is active")]
    NotActive {
        /// Its address for operators, if one is known.
        active: Option<String>,
    },
    /// Nothing was proposed, since no majority answers. Who does not, or what else is known; may be empty.
    #[error("{0}")]
    NoMajority(String),
    /// Something was proposed, and nobody knows what became of it.
    #[error("the outcome is unknown: {0}")]
    Unknown(String),
    /// A refusal that was found before anything was proposed.
    #[error("{0}")]
    Refused(Refused),
    /// Failed for a reason of its own; nothing was decided.
    #[error("{0}")]
    Failed(String),
}

/// Hashes of a replica set's elements at one position of its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetHashes {
    /// The set.
    pub set: SetId,
    /// The position; 0 when none could be agreed on.
    pub index: u64,
    /// Each element's hash in hexadecimal, or why there is none.
    pub hashes: BTreeMap<ElementNumber, Result<String, String>>,
    /// Why the set could not be compared; empty when it was.
    pub message: String,
}

/// A running management group, as the service sees it. Implemented by the server.
pub trait Port: Send + Sync + 'static {
    /// The newest state, after proof that this instance still leads the group.
    fn read(&self) -> impl Future<Output = Result<Arc<Model>, PortError>> + Send;

    /// Proposes a command and waits until it is applied here.
    fn propose(&self, command: Command) -> impl Future<Output = Result<Result<Reply, Refused>, PortError>> + Send;

    /// The newest state that is known here, without any proof. `None` when there is none.
    fn last_known(&self) -> Option<Arc<Model>>;

    /// What this instance sees at this moment.
    fn live(&self) -> LiveView;

    /// Milliseconds since 1970-01-01 UTC.
    fn now_ms(&self) -> Millis;

    /// Makes the grid: gathers the instances that wait to be in one, founds the management group and proposes
    /// [`Command::CreateGrid`]. Refuses when this instance is in a grid.
    fn create_grid(&self, name: String, k: u32) -> impl Future<Output = Result<Arc<Model>, PortError>> + Send;

    /// Asks an instance for what only it knows.
    fn ask_instance(
        &self,
        instance: InstanceNumber,
        question: Question,
    ) -> impl Future<Output = Result<inquiry::Answer, String>> + Send;

    /// Sessions of a database on all instances that are up, once each of them has said how many it has.
    fn sessions(&self, database: &str) -> impl Future<Output = Result<u32, PortError>> + Send;

    /// Compares all replicas of a database.
    fn verify(
        &self,
        model: &Model,
        database: &Database,
    ) -> impl Future<Output = Result<Vec<SetHashes>, PortError>> + Send;
}

/// Implements `quorate.admin.v1.Admin` over a [`Port`].
#[derive(Debug)]
pub struct AdminService<P> {
    port: Arc<P>,
}

impl<P: Port> AdminService<P> {
    /// The service of one instance.
    pub fn new(port: Arc<P>) -> Self {
        Self { port }
    }

    /// Asks the group, here or where it decides, until somebody answers or the time is up.
    async fn ask<Q, T, F, A>(
        &self,
        request: &Request<Q>,
        here: impl Fn() -> F + Send,
        there: impl Fn(AdminClient<Channel>, Request<Q>) -> A + Send,
    ) -> Result<Answer<T>, PortError>
    where
        Q: Clone + Send + Sync,
        F: Future<Output = Result<T, PortError>> + Send,
        A: Future<Output = Result<Response<T>, GrpcStatus>> + Send,
    {
        let hops = hops(request);
        let forwarded = hops >= FORWARDED_MAX;
        let until = Instant::now() + ACTIVE_TIMEOUT;
        let mut reason = "no active management instance is known".to_owned();
        loop {
            match here().await {
                Err(PortError::NotActive { active: Some(address) }) if !forwarded => {
                    match connect(&address).await {
                        Ok(client) => {
                            let mut copy = Request::new(request.get_ref().clone());
                            copy.metadata_mut().insert(FORWARDED, MetadataValue::from(hops + 1));
                            match there(client, copy).await {
                                // It had just stepped down: nothing was decided there.
                                Err(status) if is_not_active(&status) => reason = status.message().to_owned(),
                                answer => return Ok(Answer::There(answer)),
                            }
                        }
                        Err(error) => {
                            reason = format!("the active management instance {address} does not answer: {error}")
                        }
                    }
                }
                Err(PortError::NotActive { .. }) if forwarded => {
                    return Err(PortError::NotActive { active: None });
                }
                Err(PortError::NotActive { .. }) => {}
                Err(PortError::NoMajority(why)) => reason = why,
                answer => return answer.map(Answer::Here),
            }
            if Instant::now() >= until {
                return Err(PortError::NoMajority(reason));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Answers what has no stale answer.
    async fn inquire<Q, T, F, A>(
        &self,
        request: &Request<Q>,
        here: impl Fn() -> F + Send,
        there: impl Fn(AdminClient<Channel>, Request<Q>) -> A + Send,
    ) -> Result<Response<T>, GrpcStatus>
    where
        Q: Clone + Send + Sync,
        F: Future<Output = Result<T, PortError>> + Send,
        A: Future<Output = Result<Response<T>, GrpcStatus>> + Send,
    {
        match self.ask(request, here, there).await {
            Ok(Answer::Here(reply)) => Ok(Response::new(reply)),
            Ok(Answer::There(answer)) => answer,
            Err(error) => Err(refusal(error)),
        }
    }

    /// Proposes a change of a database.
    async fn change<Q, A>(
        &self,
        request: Request<Q>,
        subject: (String, Option<String>),
        command: impl Fn(Millis) -> Command + Send + Sync,
        there: impl Fn(AdminClient<Channel>, Request<Q>) -> A + Send,
    ) -> Result<Response<pb::DbChangeReply>, GrpcStatus>
    where
        Q: Clone + Send + Sync,
        A: Future<Output = Result<Response<pb::DbChangeReply>, GrpcStatus>> + Send,
    {
        self.change_if(request, subject, || std::future::ready(Ok(())), command, there).await
    }

    /// Proposes a change of a database if it is allowed at the moment, for a reason that the model does not know.
    async fn change_if<Q, F, A>(
        &self,
        request: Request<Q>,
        subject: (String, Option<String>),
        allowed: impl Fn() -> F + Send + Sync,
        command: impl Fn(Millis) -> Command + Send + Sync,
        there: impl Fn(AdminClient<Channel>, Request<Q>) -> A + Send,
    ) -> Result<Response<pb::DbChangeReply>, GrpcStatus>
    where
        Q: Clone + Send + Sync,
        F: Future<Output = Result<(), PortError>> + Send,
        A: Future<Output = Result<Response<pb::DbChangeReply>, GrpcStatus>> + Send,
    {
        let (database, instance) = subject;
        let propose = || {
            let (allowed, command) = (allowed(), command(self.port.now_ms()));
            let subject = (database.clone(), instance.clone());
            async move {
                allowed.await?;
                let reply = self.port.propose(command).await?.map_err(PortError::Refused)?;
                let (sequence, already) = match reply {
                    Reply::Changed { sequence } => (sequence, false),
                    Reply::Already { sequence } => (sequence, true),
                    Reply::Registered { .. } | Reply::Reported { .. } => {
                        return Err(PortError::Failed(format!("unexpected reply to a change: {reply:?}")));
                    }
                };
                info!(database = subject.0, sequence, already, "operator's change recorded");
                Ok(pb::DbChangeReply { database: subject.0, sequence, already, instance: subject.1 })
            }
        };
        match self.ask(&request, propose, there).await {
            Ok(Answer::Here(reply)) => Ok(Response::new(reply)),
            // The connection broke after the request was sent: whether it was taken is not known.
            Ok(Answer::There(Err(status))) if status.details().is_empty() => {
                Err(refusal(PortError::Unknown(status.message().to_owned())))
            }
            Ok(Answer::There(answer)) => answer,
            Err(error) => Err(refusal(error)),
        }
    }

    /// The model once every instance of a new grid is up, so that nobody is shown as missing who is about to appear; or as it is after
    /// [`ACTIVE_TIMEOUT`].
    async fn all_up(&self, made: Arc<Model>) -> Arc<Model> {
        let until = Instant::now() + ACTIVE_TIMEOUT;
        let mut model = made;
        while !model.instances.values().all(|instance| instance.up) && Instant::now() < until {
            tokio::time::sleep(LOOK_AGAIN).await;
            model = self.port.last_known().unwrap_or(model);
        }
        model
    }

    /// Answers a question from the newest state, or from the last known one with the reason why it is stale.
    async fn question<Q, T, A>(
        &self,
        request: Request<Q>,
        answer: impl Fn(&Model, &LiveView) -> Result<T, Refused> + Send + Sync,
        there: impl Fn(AdminClient<Channel>, Request<Q>) -> A + Send + Sync,
        stale: impl Fn(&mut T, pb::Stale) + Send,
    ) -> Result<Response<T>, GrpcStatus>
    where
        Q: Clone + Send + Sync,
        T: Send,
        A: Future<Output = Result<Response<T>, GrpcStatus>> + Send,
    {
        let read = || async {
            let model = self.port.read().await?;
            answer(&model, &self.port.live()).map_err(PortError::Refused)
        };
        let gone = |answer: &Result<Answer<T>, PortError>| matches!(answer, Ok(Answer::There(Err(status))) if status.details().is_empty());
        let mut asked = self.ask(&request, &read, &there).await;
        if gone(&asked) {
            // By now another one may be active. What changes nothing may be asked twice.
            asked = self.ask(&request, &read, &there).await;
        }
        let reason = match asked {
            Ok(Answer::Here(reply)) => return Ok(Response::new(reply)),
            Ok(Answer::There(Err(status))) if status.details().is_empty() => status.message().to_owned(),
            Ok(Answer::There(reply)) => return reply,
            Err(PortError::NoMajority(reason)) => reason,
            Err(error) => return Err(refusal(error)),
        };
        let Some(model) = self.port.last_known() else {
            return Err(refusal(PortError::NoMajority(reason)));
        };
        warn!(reason, "answered with the last known state");
        let mut reply = answer(&model, &self.port.live()).map_err(|refused| refusal(PortError::Refused(refused)))?;
        stale(&mut reply, pb::Stale { known_ms: model.changed_ms, reason });
        Ok(Response::new(reply))
    }
}

/// Where an answer came from.
enum Answer<T> {
    Here(T),
    There(Result<Response<T>, GrpcStatus>),
}

async fn connect(address: &str) -> Result<AdminClient<Channel>, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(LIFE.0)
        .keep_alive_timeout(LIFE.1);
    Ok(AdminClient::new(endpoint.connect().await?))
}

/// How often a request was forwarded until it came here.
fn hops<Q>(request: &Request<Q>) -> u32 {
    let count = request.metadata().get(FORWARDED).and_then(|count| count.to_str().ok());
    // What cannot be read is not ours: better to answer than to send it round in circles.
    count.map_or(0, |count| count.parse().unwrap_or(FORWARDED_MAX))
}

fn is_not_active(status: &GrpcStatus) -> bool {
    status.code() == Code::Unavailable && !status.details().is_empty()
}

#[tonic::async_trait]
impl<P: Port> pb::Admin for AdminService<P> {
    async fn grid_create(
        &self,
        request: Request<pb::GridCreateRequest>,
    ) -> Result<Response<pb::GridCreateReply>, GrpcStatus> {
        let pb::GridCreateRequest { name, k } = request.into_inner();
        if let Some(grid) = self.port.last_known().and_then(|model| model.grid.clone()) {
            return Err(refusal(PortError::Refused(Refused::GridExists(grid.name))));
        }
        // Refused before instances are bound to a grid that cannot be.
        crate::apply::check_grid(&name, k).map_err(|refused| refusal(PortError::Refused(refused)))?;
        let made = self.port.create_grid(name, k).await.map_err(refusal)?;
        let model = self.all_up(made).await;
        let shown =
            status::grid_display(&model, &self.port.live()).map_err(|refused| refusal(PortError::Refused(refused)))?;
        info!(grid = shown.name, uuid = shown.uuid, "grid made");
        Ok(Response::new(pb::GridCreateReply {
            name: shown.name,
            uuid: shown.uuid,
            k: shown.k,
            instances: shown.instances,
        }))
    }

    async fn grid_display(
        &self,
        request: Request<pb::GridDisplayRequest>,
    ) -> Result<Response<pb::GridDisplayReply>, GrpcStatus> {
        let there = |mut client: AdminClient<Channel>, request| async move { client.grid_display(request).await };
        self.question(request, status::grid_display, there, |reply, stale| reply.stale = Some(stale)).await
    }

    async fn grid_events(
        &self,
        request: Request<pb::GridEventsRequest>,
    ) -> Result<Response<pb::GridEventsReply>, GrpcStatus> {
        let last = request.get_ref().last;
        let answer = |model: &Model, live: &LiveView| status::grid_events(model, live, last);
        let there = |mut client: AdminClient<Channel>, request| async move { client.grid_events(request).await };
        self.question(request, answer, there, |reply, stale| reply.stale = Some(stale)).await
    }

    async fn db_create(
        &self,
        request: Request<pb::DbCreateRequest>,
    ) -> Result<Response<pb::DbChangeReply>, GrpcStatus> {
        let pb::DbCreateRequest { database, replica_sets, instance } = request.get_ref().clone();
        let command = |at_ms| match &instance {
            None => Command::CreateDatabase { name: database.clone(), replica_sets, at_ms },
            Some(instance) => Command::CreateElements { name: database.clone(), instance: instance.clone(), at_ms },
        };
        let there = |mut client: AdminClient<Channel>, request| async move { client.db_create(request).await };
        self.change(request, (database.clone(), instance.clone()), command, there).await
    }

    async fn db_load(&self, request: Request<pb::DbLoadRequest>) -> Result<Response<pb::DbChangeReply>, GrpcStatus> {
        let pb::DbLoadRequest { database, instance } = request.get_ref().clone();
        let command = |at_ms| Command::LoadDatabase { name: database.clone(), instance: instance.clone(), at_ms };
        let there = |mut client: AdminClient<Channel>, request| async move { client.db_load(request).await };
        self.change(request, (database.clone(), instance.clone()), command, there).await
    }

    async fn db_open(&self, request: Request<pb::DbOpenRequest>) -> Result<Response<pb::DbChangeReply>, GrpcStatus> {
        let database = request.get_ref().database.clone();
        let command = |at_ms| Command::OpenDatabase { name: database.clone(), at_ms };
        let there = |mut client: AdminClient<Channel>, request| async move { client.db_open(request).await };
        self.change(request, (database.clone(), None), command, there).await
    }

    async fn db_close(&self, request: Request<pb::DbCloseRequest>) -> Result<Response<pb::DbChangeReply>, GrpcStatus> {
        let database = request.get_ref().database.clone();
        let command = |at_ms| Command::CloseDatabase { name: database.clone(), at_ms };
        let there = |mut client: AdminClient<Channel>, request| async move { client.db_close(request).await };
        self.change(request, (database.clone(), None), command, there).await
    }

    async fn db_unload(
        &self,
        request: Request<pb::DbUnloadRequest>,
    ) -> Result<Response<pb::DbChangeReply>, GrpcStatus> {
        let pb::DbUnloadRequest { database, force } = request.get_ref().clone();
        let command = |at_ms| Command::UnloadDatabase { name: database.clone(), force, at_ms };
        let allowed = || async {
            let known = self.port.last_known();
            let target = known.and_then(|model| model.database(&database).map(|database| database.target));
            // An open database is refused for being open, which is the first thing to change.
            if force || target.is_none_or(|target| target == Target::Open) {
                return Ok(());
            }
            match self.port.sessions(&database).await? {
                0 => Ok(()),
                sessions => Err(PortError::Refused(Refused::HasSessions { name: database.clone(), sessions })),
            }
        };
        let there = |mut client: AdminClient<Channel>, request| async move { client.db_unload(request).await };
        self.change_if(request, (database.clone(), None), allowed, command, there).await
    }

    async fn db_destroy(
        &self,
        request: Request<pb::DbDestroyRequest>,
    ) -> Result<Response<pb::DbChangeReply>, GrpcStatus> {
        let pb::DbDestroyRequest { database, instance } = request.get_ref().clone();
        let command = |at_ms| match &instance {
            None => Command::DestroyDatabase { name: database.clone(), at_ms },
            Some(instance) => Command::DestroyElements { name: database.clone(), instance: instance.clone(), at_ms },
        };
        let there = |mut client: AdminClient<Channel>, request| async move { client.db_destroy(request).await };
        self.change(request, (database.clone(), instance.clone()), command, there).await
    }

    async fn db_disconnect(
        &self,
        request: Request<pb::DbDisconnectRequest>,
    ) -> Result<Response<pb::DbChangeReply>, GrpcStatus> {
        let pb::DbDisconnectRequest { database, mode } = request.get_ref().clone();
        let known = [DisconnectMode::Transactional, DisconnectMode::Immediate, DisconnectMode::Abort];
        let Some(mode) = known.into_iter().find(|known| known.word() == mode) else {
            return Err(refusal(PortError::Refused(Refused::WrongMode(mode))));
        };
        let command = |at_ms| Command::DisconnectDatabase { name: database.clone(), mode, at_ms };
        let there = |mut client: AdminClient<Channel>, request| async move { client.db_disconnect(request).await };
        self.change(request, (database.clone(), None), command, there).await
    }

    async fn db_disconnect_status(
        &self,
        request: Request<pb::DbDisconnectStatusRequest>,
    ) -> Result<Response<pb::DbDisconnectStatusReply>, GrpcStatus> {
        let name = request.get_ref().database.clone();
        let here = || async {
            let model = self.port.read().await?;
            inquiry::disconnect_status(&model, &name, self.port.now_ms())
        };
        let there =
            |mut client: AdminClient<Channel>, request| async move { client.db_disconnect_status(request).await };
        self.inquire(&request, here, there).await
    }

    async fn db_connections(
        &self,
        request: Request<pb::DbConnectionsRequest>,
    ) -> Result<Response<pb::DbConnectionsReply>, GrpcStatus> {
        let pb::DbConnectionsRequest { database: name, holdings } = request.get_ref().clone();
        let here = || async {
            let model = self.port.read().await?;
            let reply = inquiry::connections(&*self.port, &model, &name).await?;
            if holdings { inquiry::with_holdings(&*self.port, &model, reply).await } else { Ok(reply) }
        };
        let there = |mut client: AdminClient<Channel>, request| async move { client.db_connections(request).await };
        self.inquire(&request, here, there).await
    }

    async fn db_details(
        &self,
        request: Request<pb::DbDetailsRequest>,
    ) -> Result<Response<pb::DbDetailsReply>, GrpcStatus> {
        let name = request.get_ref().database.clone();
        let here = || async { inquiry::details(&*self.port, &*self.port.read().await?, &name).await };
        let there = |mut client: AdminClient<Channel>, request| async move { client.db_details(request).await };
        self.inquire(&request, here, there).await
    }

    async fn xact_rollback(
        &self,
        request: Request<pb::XactRollbackRequest>,
    ) -> Result<Response<pb::XactRollbackReply>, GrpcStatus> {
        let pb::XactRollbackRequest { database, transaction } = request.get_ref().clone();
        let here =
            || async { inquiry::roll_back(&*self.port, &*self.port.read().await?, &database, &transaction).await };
        let there = |mut client: AdminClient<Channel>, request| async move { client.xact_rollback(request).await };
        self.inquire(&request, here, there).await
    }

    async fn db_status(
        &self,
        request: Request<pb::DbStatusRequest>,
    ) -> Result<Response<pb::DbStatusReply>, GrpcStatus> {
        let database = request.get_ref().database.clone();
        let answer = |model: &Model, live: &LiveView| {
            let databases = match &database {
                Some(name) => vec![status::database_status(model, name, live)?],
                None => status::all_statuses(model, live)?,
            };
            Ok(pb::DbStatusReply { databases, stale: None })
        };
        let there = |mut client: AdminClient<Channel>, request| async move { client.db_status(request).await };
        self.question(request, answer, there, |reply, stale| reply.stale = Some(stale)).await
    }

    async fn db_verify(
        &self,
        request: Request<pb::DbVerifyRequest>,
    ) -> Result<Response<pb::DbVerifyReply>, GrpcStatus> {
        let name = request.get_ref().database.clone();
        let here = || async {
            let model = self.port.read().await?;
            let database =
                model.database(&name).ok_or_else(|| PortError::Refused(Refused::NoDatabase(name.clone())))?;
            match database.target {
                Target::Loaded | Target::Open => {}
                Target::Unloaded => return Err(PortError::Refused(Refused::NotLoaded(name.clone()))),
                Target::Destroyed => return Err(PortError::Refused(Refused::BeingDestroyed(name.clone()))),
            }
            let hashes = self.port.verify(&model, database).await?;
            Ok(verification(&model, database, &hashes, self.port.now_ms()))
        };
        let there = |mut client: AdminClient<Channel>, request| async move { client.db_verify(request).await };
        self.inquire(&request, here, there).await
    }
}

/// What the hashes of a database's replicas mean.
fn verification(model: &Model, database: &Database, hashes: &[SetHashes], now: Millis) -> pb::DbVerifyReply {
    let replica_sets: Vec<pb::SetVerification> = database
        .sets
        .iter()
        .zip(1..)
        .map(|(set, number)| {
            let found = hashes.iter().find(|hashes| hashes.set == set.id);
            let elements: Vec<pb::ElementVerification> = set
                .members
                .iter()
                .map(|member| {
                    let instance = &model.instances[&model.elements[member].instance];
                    let result = found.and_then(|found| found.hashes.get(member));
                    let (hash, message) = match result {
                        Some(Ok(hash)) => (hash.clone(), String::new()),
                        Some(Err(why)) => (String::new(), why.clone()),
                        // What is said of the whole set is said once.
                        None => (String::new(), String::new()),
                    };
                    pb::ElementVerification {
                        number: *member,
                        host: instance.spec.host.clone(),
                        instance: instance.spec.name.clone(),
                        hash,
                        message,
                    }
                })
                .collect();
            let first = &elements[0].hash;
            let identical = !first.is_empty() && elements.iter().all(|element| element.hash == *first);
            pb::SetVerification {
                number,
                index: found.map_or(0, |found| found.index),
                identical,
                message: found.map_or_else(|| "not compared".to_owned(), |found| found.message.clone()),
                elements,
            }
        })
        .collect();
    pb::DbVerifyReply {
        database: database.name.clone(),
        as_of_ms: now,
        identical: replica_sets.iter().all(|set| set.identical),
        replica_sets,
    }
}
