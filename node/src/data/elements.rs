//! The elements of this instance: brings each to what management ordered, one small step at a time, and says how far it is.
//!
//! Orders are levels. One task an element compares the newest order with what is, takes the next step, and waits for news; a step that failed is repeated
//! only when the order's attempt rises or the process starts anew. The same task does the element's regular duties.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use quorate_management::inquiry::Holding;
use quorate_management::orders::{ElementOrder, Goal};
use quorate_management::repair::LOST_FILES;
use quorate_management::{ElementNumber, ElementReport, Status};
use quorate_proto::admin::ElementDetails;
use quorate_raft::{Group, GroupId, GroupOptions, Member, RaftHost};
use quorate_txn::clock::Clock;
use quorate_txn::failpoint;
use quorate_txn::protocol::SetId;
use quorate_txn::store::StoreMemory;
use quorate_txn::traits::Sets;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::duties::Duties;
use super::element::{self, Element, OpenError, Patience};
use crate::instance::directory::{DataDirectory, bytes_of};

/// How often an element's transactions look at their timers.
const TICK: Duration = Duration::from_millis(50);

/// How long each founder gives the one before it to found their group.
const FOUNDING_TURN: Duration = Duration::from_secs(2);

/// How long an element that has to give up leadership waits until another one leads.
const HANDING_OVER_MAX: Duration = Duration::from_secs(1);

/// Gives an element the way to its database's other sets.
pub type SetsOf = Box<dyn Fn(u32) -> Arc<dyn Sets> + Send + Sync>;

/// What elements need of their instance.
pub struct Surroundings {
    /// Where stores live.
    pub directory: Arc<DataDirectory>,
    /// Groups run here.
    pub raft: RaftHost,
    /// The runtime of consensus, on which groups are started.
    pub raft_runtime: tokio::runtime::Handle,
    /// The instance's clock.
    pub clock: Arc<Clock>,
    /// Memory that all stores share.
    pub memory: StoreMemory,
    /// How long transactions wait for each other.
    pub patience: Patience,
    /// Bytes of log kept for members that are behind.
    pub log_retention: u64,
    /// How long log is kept for members that are behind.
    pub log_retention_time: Duration,
}

/// The elements of one instance.
pub struct Elements {
    surroundings: Surroundings,
    sets: std::sync::OnceLock<SetsOf>,
    entries: Mutex<BTreeMap<ElementNumber, Arc<Entry>>>,
    serving: RwLock<HashMap<(u32, SetId), Arc<Element>>>,
    changed: watch::Sender<u64>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

struct Entry {
    order: Mutex<ElementOrder>,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Clone)]
struct State {
    status: Status,
    message: String,
    /// The attempt at which the last step failed.
    failed_at: Option<u32>,
    element: Option<Arc<Element>>,
    /// When its group was started.
    started: Option<Instant>,
    /// Whether this process made its files, and so there was nothing to catch up with, unless a copy came.
    made: bool,
}

impl State {
    fn loading_for(&self) -> Duration {
        self.started.map_or(Duration::ZERO, |started| started.elapsed())
    }
}

impl Elements {
    /// No element runs before orders come.
    pub fn new(surroundings: Surroundings) -> Arc<Self> {
        Arc::new(Self {
            surroundings,
            sets: std::sync::OnceLock::new(),
            entries: Mutex::default(),
            serving: RwLock::default(),
            changed: watch::channel(0).0,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Says how elements reach the sets of their database; once, before orders.
    pub fn connect(&self, sets: SetsOf) {
        let first = self.sets.set(sets).is_ok();
        assert!(first, "elements are connected once");
    }

    /// The element of a set that runs here.
    pub fn serving(&self, database: u32, set: SetId) -> Option<Arc<Element>> {
        self.serving.read().get(&(database, set)).cloned()
    }

    /// Rises whenever a status changes.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Compares with new orders; steps follow in the background.
    pub fn take_orders(self: &Arc<Self>, orders: &[ElementOrder]) {
        let mut entries = self.entries.lock();
        for order in orders {
            if let Some(entry) = entries.get(&order.element) {
                *entry.order.lock() = order.clone();
                entry.news.notify_one();
                continue;
            }
            let made = element::is_made(&self.surroundings.directory.element(order.element));
            let status = if made || order.created { Status::Unloaded } else { Status::Uncreated };
            let state =
                State { status, message: String::new(), failed_at: None, element: None, started: None, made: false };
            let entry =
                Arc::new(Entry { order: Mutex::new(order.clone()), state: Mutex::new(state), news: Notify::new() });
            entries.insert(order.element, entry.clone());
            self.tasks.spawn(quorate_raft::vital("the work of an element panicked", work(self.clone(), entry)));
        }
        self.surroundings.memory.set_elements(entries.len());
        // An element that management does not know any more was destroyed long ago.
        let known: BTreeSet<_> = orders.iter().map(|order| order.element).collect();
        entries.retain(|number, entry| known.contains(number) || entry.state.lock().status != Status::Destroyed);
    }

    /// What every element is at this moment.
    pub fn reports(&self) -> Vec<ElementReport> {
        let entries = self.entries.lock();
        entries
            .iter()
            .map(|(element, entry)| {
                let state = entry.state.lock();
                ElementReport { element: *element, status: state.status, message: state.message.clone() }
            })
            .collect()
    }

    /// What this instance's elements of a database are doing. Asks the file system for sizes.
    pub fn details(&self, database: u32) -> Vec<ElementDetails> {
        let known: Vec<(ElementNumber, State)> = {
            let entries = self.entries.lock();
            let of_database = entries.iter().filter(|(_, entry)| entry.order.lock().database == database);
            of_database.map(|(number, entry)| (*number, entry.state.lock().clone())).collect()
        };
        known.into_iter().map(|(number, state)| self.details_of(number, &state)).collect()
    }

    fn details_of(&self, number: ElementNumber, state: &State) -> ElementDetails {
        let mut details = ElementDetails {
            number,
            reported: state.status.word().to_owned(),
            message: state.message.clone(),
            bytes: bytes_of(&self.surroundings.directory.element(number)),
            ..ElementDetails::default()
        };
        let Some((element, group)) = state.element.as_ref().and_then(|element| Some((element, element.group()?)))
        else {
            return details;
        };
        let replica = element.replica().status();
        let role = match (group.term(), group.is_voter()) {
            (Some(_), _) => "leader",
            (None, true) => "follower",
            (None, false) => "learner",
        };
        role.clone_into(&mut details.role);
        details.term = group.current_term();
        details.applied = replica.applied;
        details.last = group.last_index();
        details.prepared = u32::try_from(replica.prepared).unwrap_or(u32::MAX);
        details.prepared_ms = u64::try_from(replica.prepared_for.as_millis()).unwrap_or(u64::MAX);
        details.staged = u32::try_from(replica.staged).unwrap_or(u32::MAX);
        details
    }

    /// The sets that elements of this instance lead: database, set, element.
    pub fn leading(&self) -> Vec<(u32, SetId, ElementNumber)> {
        let serving = self.serving.read();
        serving
            .iter()
            .filter_map(|((database, set), element)| {
                let group = element.group()?;
                group.term().map(|_| (*database, *set, group.element()))
            })
            .collect()
    }

    /// What transactions hold in the sets of a database that elements of this instance lead.
    pub fn holdings(&self, database: u32) -> Vec<Holding> {
        let serving: Vec<(SetId, Arc<Element>)> = {
            let serving = self.serving.read();
            let of_database = serving.iter().filter(|((of, _), _)| *of == database);
            of_database.map(|((_, set), element)| (*set, element.clone())).collect()
        };
        let told = serving.into_iter().filter_map(|(set, element)| Some((set, element.replica().holdings()?)));
        told.flat_map(|(set, holdings)| {
            holdings.into_iter().map(move |(txn, holding)| Holding {
                replica_set: set,
                transaction: txn.0,
                gateway: txn.gateway().instance(),
                holds: holding.holds,
                prepared_ms: holding.prepared.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
                waits_for: holding.waits_for.iter().map(|txn| txn.0).collect(),
            })
        })
        .collect()
    }

    /// Stops all elements and closes their stores.
    pub async fn shut_down(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Whether something is known here of another element of the same set: one that this one replaces, or is replaced by.
    fn another(&self, order: &ElementOrder, is: impl Fn(ElementNumber, Status) -> bool) -> bool {
        self.entries.lock().values().any(|entry| {
            let (element, database, set) = {
                let other = entry.order.lock();
                (other.element, other.database, other.set)
            };
            let same_set = (database, set) == (order.database, order.set);
            same_set && element != order.element && is(element, entry.state.lock().status)
        })
    }

    fn set_status(&self, entry: &Entry, status: Status, message: impl Into<String>) {
        let order = entry.order.lock().clone();
        let message = message.into();
        {
            let mut state = entry.state.lock();
            if state.status == status && state.message == message {
                return;
            }
            state.status = status;
            state.message.clone_from(&message);
            state.failed_at = status.is_failed().then_some(order.attempt);
        }
        let (database, element, set) = (&order.database_name, order.element, order.set);
        if status.is_failed() {
            tracing::error!(database, set, element, status = status.word(), message, "element");
        } else {
            tracing::info!(database, set, element, status = status.word(), message, "element");
        }
        self.changed.send_modify(|version| *version += 1);
    }
}

/// The life of one element on this instance.
async fn work(elements: Arc<Elements>, entry: Arc<Entry>) {
    let mut duties = Duties::default();
    loop {
        let order = entry.order.lock().clone();
        let progressed = step(&elements, &entry, &order).await;
        let state = entry.state.lock().clone();
        if state.status == Status::Destroyed {
            return;
        }
        if progressed {
            continue;
        }
        tokio::select! {
            () = entry.news.notified() => {}
            () = tokio::time::sleep(TICK), if state.element.is_some() || is_waiting(&state, &order) => {
                let Some(element) = state.element.clone() else { continue };
                duties.perform(&element, &order, &elements.surroundings).await;
                if let Some(missing) = element.missing_files() {
                    let (database, set) = (&order.database_name, order.set);
                    let missing = missing.display();
                    if give_up_leading(&element, &order).await {
                        tracing::error!(database, set, element = order.element, %missing, "the files of a running element are gone");
                        // Closing waits until nobody holds the element.
                        drop((state, element));
                        unload(&elements, &entry, &order).await;
                    } else if duties.warns() {
                        tracing::error!(
                            database, set, element = order.element, %missing,
                            "the files of a running element are gone, and no other can take over: it goes on with what it has open"
                        );
                    }
                }
            }
            () = elements.stop.cancelled() => {
                let loaded = state.element.is_some();
                // Closing waits until nobody holds the element.
                drop(state);
                if loaded {
                    unload(&elements, &entry, &order).await;
                }
                return;
            }
        }
    }
}

/// What is to be loaded, and neither is nor has failed, waits for the element that it replaces to be gone.
fn is_waiting(state: &State, order: &ElementOrder) -> bool {
    matches!(order.goal, Goal::Open | Goal::Loaded) && state.failed_at != Some(order.attempt)
}

/// Takes one step towards the order; `false` if there is nothing to do now.
async fn step(elements: &Arc<Elements>, entry: &Entry, order: &ElementOrder) -> bool {
    let state = entry.state.lock().clone();
    // A step that failed is not tried again by itself; other ones are: what could not be opened can still be unloaded.
    let failed = match (order.goal, state.status) {
        (Goal::Open | Goal::Loaded, Status::CreateFailed | Status::LoadFailed)
        | (Goal::Open, Status::OpenFailed)
        | (Goal::Loaded, Status::CloseFailed)
        | (Goal::Destroyed, Status::DestroyFailed) => true,
        (Goal::Open | Goal::Loaded | Goal::Unloaded | Goal::Destroyed, _) => false,
    };
    if failed && state.failed_at == Some(order.attempt) {
        return false;
    }
    let running = state.element.is_some();
    match (order.goal, state.status) {
        // The log that both would use still is the other's.
        (Goal::Open | Goal::Loaded, _)
            if !running && !order.founder && elements.another(order, |_, status| status != Status::Destroyed) =>
        {
            false
        }
        (Goal::Open | Goal::Loaded, _) if !running => {
            load(elements, entry, order).await;
            true
        }
        (Goal::Open | Goal::Loaded, Status::Loading) => {
            let Some(group) = state.element.as_ref().and_then(|element| element.group()) else { return false };
            match loading(&group) {
                None => {
                    let caught_up = match (group.copies().installed > 0, state.made) {
                        (true, _) => "caught up from a copy and the log",
                        (false, false) => "caught up from the log",
                        (false, true) => "",
                    };
                    elements.set_status(entry, Status::Loaded, caught_up);
                    true
                }
                Some(progress) => {
                    entry.state.lock().message = progress;
                    let patience = founding_patience(order);
                    if group.members().is_empty()
                        && patience.is_some_and(|patience| state.loading_for() >= patience)
                        && !found(elements, &group, order).await
                    {
                        let begun = "another element has begun to found its replica set: waiting for that one";
                        entry.state.lock().message = begun.to_owned();
                    }
                    false
                }
            }
        }
        (Goal::Open | Goal::Loaded, Status::OpenFailed) | (Goal::Open, Status::Closing) => {
            elements.set_status(entry, Status::Loaded, "");
            true
        }
        (Goal::Open, Status::Loaded | Status::Opening) => {
            // How it caught up is worth knowing for as long as it stays open.
            let caught_up = if state.status == Status::Loaded { state.message.clone() } else { String::new() };
            elements.set_status(entry, Status::Opening, caught_up.clone());
            match failpoint::fails("element.open") {
                true => elements.set_status(entry, Status::OpenFailed, "failpoint element.open"),
                false => elements.set_status(entry, Status::Opened, caught_up),
            }
            true
        }
        (Goal::Open | Goal::Loaded, Status::CloseFailed) => {
            elements.set_status(entry, Status::Opened, "");
            true
        }
        (Goal::Loaded, Status::Opened | Status::Closing) => {
            elements.set_status(entry, Status::Closing, "");
            if failpoint::holds("element.close") {
                return false;
            }
            match failpoint::fails("element.close") {
                true => elements.set_status(entry, Status::CloseFailed, "failpoint element.close"),
                false => elements.set_status(entry, Status::Loaded, ""),
            }
            true
        }
        (Goal::Unloaded | Goal::Destroyed, _) if running => {
            elements.set_status(entry, Status::Unloading, "");
            drop(state);
            unload(elements, entry, order).await;
            true
        }
        (Goal::Unloaded, Status::Unloading | Status::LoadFailed) => {
            elements.set_status(entry, Status::Unloaded, "");
            true
        }
        (Goal::Destroyed, status) if status != Status::Destroyed => {
            destroy(elements, entry, order);
            true
        }
        _ => false,
    }
}

/// How far an element has come with loading; `None` once it is a member, knows a leader and has applied everything that its own log holds.
fn loading(group: &Group) -> Option<String> {
    if let Some((received, all)) = group.copies().receiving {
        return Some(format!("receiving a copy: {} of {} MiB", received >> 20, all >> 20));
    }
    if !group.members().contains_key(&group.element()) {
        return Some("waiting to be let in by its replica set".to_owned());
    }
    if group.leader_hint().is_none() {
        return Some("waiting for a leader of its replica set".to_owned());
    }
    let left = group.last_index().saturating_sub(*group.watch_applied().borrow());
    (left > 0).then(|| format!("catching up from the log: {left} entries to go"))
}

async fn load(elements: &Arc<Elements>, entry: &Entry, order: &ElementOrder) {
    let surroundings = &elements.surroundings;
    let directory = surroundings.directory.element(order.element);
    let creating = !order.created && !element::is_made(&directory);
    elements.set_status(entry, if creating { Status::Creating } else { Status::Loading }, "");
    entry.state.lock().made |= creating;
    let (set, clock, memory) = (order.set, surroundings.clock.clone(), surroundings.memory.clone());
    let (patience, existed) = (surroundings.patience, order.created);
    let open = move || Element::open(&directory, set, clock, memory, patience, existed);
    let opened = tokio::task::spawn_blocking(open).await;
    let failed = if creating { Status::CreateFailed } else { Status::LoadFailed };
    let element = match opened {
        Ok(Ok(element)) => element,
        Ok(Err(OpenError::Lost(why))) => return elements.set_status(entry, failed, format!("{LOST_FILES}: {why}")),
        Ok(Err(OpenError::Failed(why))) => return elements.set_status(entry, failed, why),
        Err(error) => return elements.set_status(entry, failed, format!("opening the store failed: {error}")),
    };
    elements.set_status(entry, Status::Loading, "");
    match start_group(surroundings, &element, order).await {
        Ok(group) => {
            let sets = elements.sets.get().expect("elements are connected before orders come");
            element.attach(group, &sets(order.database));
            elements.serving.write().insert((order.database, order.set), element.clone());
            let mut state = entry.state.lock();
            (state.element, state.started) = (Some(element), Some(Instant::now()));
        }
        Err(error) => elements.set_status(entry, Status::LoadFailed, error.to_string()),
    }
}

async fn start_group(
    surroundings: &Surroundings,
    element: &Arc<Element>,
    order: &ElementOrder,
) -> Result<Group, std::io::Error> {
    let options = GroupOptions {
        id: GroupId { database: order.database, set: order.set },
        element: order.element,
        scratch: surroundings.directory.scratch(order.element),
        machine: element.clone(),
    };
    let raft = surroundings.raft.clone();
    // openraft spawns its tasks where it is started; they belong to the runtime of consensus.
    let started = surroundings.raft_runtime.spawn(async move { raft.start_group(options).await });
    started.await.map_err(std::io::Error::other)?
}

/// How long an element that knows nobody waits before it founds its group; `None` if that is not for it to do. The preferred leader begins at once;
/// where its instance is down, the others do, one after the other. All write the same first entry, so that several may.
fn founding_patience(order: &ElementOrder) -> Option<Duration> {
    let place = |element| order.members.iter().position(|member| member.element == element);
    let (own, first) = (place(order.element)?, place(order.preferred_leader)?);
    let turn = (own + order.members.len() - first) % order.members.len();
    order.founder.then(|| FOUNDING_TURN * u32::try_from(turn).unwrap_or(u32::MAX))
}

/// Founds the group; false if it cannot be done from here, because this element has voted for another that began it.
async fn found(elements: &Elements, group: &Group, order: &ElementOrder) -> bool {
    let members: BTreeMap<_, _> =
        order.members.iter().map(|place| (place.element, Member { instance: place.instance })).collect();
    let founding = {
        let group = group.clone();
        elements.surroundings.raft_runtime.spawn(async move { group.initialize(members).await })
    };
    let founded = founding.await.map_err(std::io::Error::other).and_then(|founded| founded);
    founded.unwrap_or_else(|error| {
        tracing::debug!(group = %group.id(), %error, "cannot found the group");
        false
    })
}

/// Whether another element leads: nobody notices then that this one is closed. Files that were removed while it ran live on as long as it holds them
/// open, and without a leader elsewhere they are the best copy that there is.
async fn give_up_leading(element: &Element, order: &ElementOrder) -> bool {
    let Some(group) = element.group() else { return false };
    let others = order.members.iter().filter(|member| member.element != order.element);
    if group.term().is_none() {
        return group.leader_hint().is_some_and(|(leader, _)| leader != order.element);
    }
    let mut leader = group.watch_leader();
    for member in others {
        match group.transfer_leader(member.element).await {
            Ok(()) => {
                let taken_over = leader.wait_for(|leader| *leader == Some(member.element));
                return matches!(tokio::time::timeout(HANDING_OVER_MAX, taken_over).await, Ok(Ok(_)));
            }
            Err(error) => tracing::debug!(group = %group.id(), %error, "cannot hand over leadership"),
        }
    }
    false
}

async fn unload(elements: &Arc<Elements>, entry: &Entry, order: &ElementOrder) {
    elements.serving.write().remove(&(order.database, order.set));
    let element = entry.state.lock().element.take();
    let Some(element) = element else { return };
    match element.close().await {
        Ok(()) => elements.set_status(entry, Status::Unloaded, ""),
        Err(error) => elements.set_status(entry, Status::Unloaded, format!("closing the store failed: {error}")),
    }
}

fn destroy(elements: &Arc<Elements>, entry: &Entry, order: &ElementOrder) {
    elements.set_status(entry, Status::Destroying, "");
    if failpoint::fails("element.destroy") {
        return elements.set_status(entry, Status::DestroyFailed, "failpoint element.destroy");
    }
    let surroundings = &elements.surroundings;
    let group = GroupId { database: order.database, set: order.set };
    let remove = |path: std::path::PathBuf| match std::fs::remove_dir_all(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {error}", path.display())),
        _ => Ok(()),
    };
    // A successor has files only when this was done once before: then the log is the successor's.
    let succeeded = elements.another(order, |element, _| surroundings.directory.element(element).exists());
    let remove_log =
        || if succeeded { Ok(()) } else { surroundings.raft.log().remove_group(group).map_err(|e| e.to_string()) };
    let result = remove(surroundings.directory.element(order.element))
        .inspect(|()| failpoint::hit("element.while_destroying"))
        .and_then(|()| remove(surroundings.directory.scratch(order.element)))
        .and_then(|()| remove_log());
    match result {
        Ok(()) => elements.set_status(entry, Status::Destroyed, ""),
        Err(why) => elements.set_status(entry, Status::DestroyFailed, why),
    }
}
