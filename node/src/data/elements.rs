//! The elements of this instance: brings each to what management ordered, one small step at a time, and says how far it is.
//!
//! Orders are levels. One task an element compares the newest order with what is, takes the next step, and waits for news; a step that failed is repeated
//! only when the order's attempt rises or the process starts anew. The same task does the element's regular duties: the transactions'
//! timers, handing leadership to the preferred leader, flushing and letting go of old log entries.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
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

use super::element::{Element, OpenError, Patience};
use super::membership::Membership;
use crate::instance::directory::{DataDirectory, bytes_of};

/// How often an element's transactions look at their timers.
const TICK: Duration = Duration::from_millis(50);

/// How often leadership is compared with what is preferred.
const LEADERSHIP_INTERVAL: Duration = Duration::from_secs(1);

/// A leader that has just come to lead keeps leading for a while, so that failures close to each other do not make it wander.
const LEADERSHIP_REST: Duration = Duration::from_secs(3);

/// So much longer while large transactions are under way here, which would have to begin anew.
const STAGED_PATIENCE: Duration = Duration::from_secs(300);

/// How often a store is flushed, so that a restart replays little and old log entries can go. More often if log is kept for less.
const FLUSH_INTERVAL: Duration = Duration::from_secs(30);

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
            let exists = self.surroundings.directory.element(order.element).exists();
            let status = if exists || order.created { Status::Unloaded } else { Status::Uncreated };
            let state = State { status, message: String::new(), failed_at: None, element: None };
            let entry =
                Arc::new(Entry { order: Mutex::new(order.clone()), state: Mutex::new(state), news: Notify::new() });
            entries.insert(order.element, entry.clone());
            self.tasks.spawn(work(self.clone(), entry));
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
                if let Some(element) = &state.element {
                    duties.perform(element, &order, &elements.surroundings).await;
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
            let caught_up = state.element.as_ref().and_then(|e| e.group()).is_some_and(|group| caught_up(&group));
            if caught_up {
                elements.set_status(entry, Status::Loaded, "");
            }
            caught_up
        }
        (Goal::Open | Goal::Loaded, Status::OpenFailed) | (Goal::Open, Status::Closing) => {
            elements.set_status(entry, Status::Loaded, "");
            true
        }
        (Goal::Open, Status::Loaded | Status::Opening) => {
            elements.set_status(entry, Status::Opening, "");
            match failpoint::fails("element.open") {
                true => elements.set_status(entry, Status::OpenFailed, "failpoint element.open"),
                false => elements.set_status(entry, Status::Opened, ""),
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

/// It is a member, a leader is known, and everything that this element's log held when it was asked is applied.
fn caught_up(group: &Group) -> bool {
    group.members().contains_key(&group.element())
        && group.leader_hint().is_some()
        && *group.watch_applied().borrow() >= group.last_index()
}

async fn load(elements: &Arc<Elements>, entry: &Entry, order: &ElementOrder) {
    let surroundings = &elements.surroundings;
    let directory = surroundings.directory.element(order.element);
    let creating = !order.created && !directory.join("CURRENT").exists();
    elements.set_status(entry, if creating { Status::Creating } else { Status::Loading }, "");
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
            entry.state.lock().element = Some(element);
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
    let founds = order.founder && order.preferred_leader == order.element;
    let members: BTreeMap<_, _> =
        order.members.iter().map(|place| (place.element, Member { instance: place.instance })).collect();
    let raft = surroundings.raft.clone();
    // openraft spawns its tasks where it is started; they belong to the runtime of consensus.
    let started = surroundings.raft_runtime.spawn(async move {
        let group = raft.start_group(options).await?;
        if founds {
            group.initialize(members).await?;
        }
        Ok(group)
    });
    started.await.map_err(std::io::Error::other)?
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
        .and_then(|()| remove(surroundings.directory.scratch(order.element)))
        .and_then(|()| remove_log());
    match result {
        Ok(()) => elements.set_status(entry, Status::Destroyed, ""),
        Err(why) => elements.set_status(entry, Status::DestroyFailed, why),
    }
}

/// What a running element does regularly.
#[derive(Default)]
struct Duties {
    /// How long the log was at each flush within the retention, oldest first.
    marks: VecDeque<Mark>,
    membership: Membership,
    leading_since: Option<Instant>,
    leadership_at: Option<Instant>,
    flushed_at: Option<Instant>,
}

/// The log at one moment: the element's last entry, and what the instance had appended to all its logs.
struct Mark {
    at: Instant,
    index: u64,
    appended: u64,
}

fn due(at: &mut Option<Instant>, interval: Duration) -> bool {
    let now = Instant::now();
    match at {
        Some(before) if now.duration_since(*before) < interval => false,
        _ => at.replace(now).is_some(),
    }
}

impl Duties {
    async fn perform(&mut self, element: &Arc<Element>, order: &ElementOrder, surroundings: &Surroundings) {
        element.replica().tick();
        let Some(group) = element.group() else { return };
        match (group.term(), self.leading_since) {
            (Some(_), None) => self.leading_since = Some(Instant::now()),
            (None, Some(_)) => {
                self.leading_since = None;
                self.membership.stop();
            }
            _ => {}
        }
        if due(&mut self.leadership_at, LEADERSHIP_INTERVAL) {
            self.hand_over(element, &group, order, surroundings).await;
            if self.leading_since.is_some() {
                self.membership.look(&group, order, &surroundings.raft_runtime);
            }
        }
        if due(&mut self.flushed_at, FLUSH_INTERVAL.min(surroundings.log_retention_time))
            && let Err(error) = group.flush_and_purge(self.retained(&group, surroundings)).await
        {
            tracing::warn!(element = order.element, %error, "cannot flush");
        }
    }

    /// How many entries are kept for members that are behind: those within the retention, by bytes of the instance's whole log and by time.
    fn retained(&mut self, group: &Group, surroundings: &Surroundings) -> u64 {
        let now =
            Mark { at: Instant::now(), index: group.last_index(), appended: surroundings.raft.log().appended_bytes() };
        let outdated = |mark: &Mark| {
            now.appended - mark.appended > surroundings.log_retention
                || now.at.duration_since(mark.at) > surroundings.log_retention_time
        };
        // The newest outdated mark is where the retention begins; without one everything since the start is kept.
        let mut begin = None;
        while self.marks.front().is_some_and(outdated) {
            begin = self.marks.pop_front().map(|mark| mark.index);
        }
        let index = now.index;
        self.marks.push_back(now);
        begin.map_or(u64::MAX, |begin| index.saturating_sub(begin))
    }

    /// Hands leadership to the preferred leader once that one is back and reachable.
    async fn hand_over(&self, element: &Element, group: &Group, order: &ElementOrder, surroundings: &Surroundings) {
        let rest = if element.replica().status().staged == 0 { LEADERSHIP_REST } else { STAGED_PATIENCE };
        let rested = self.leading_since.is_some_and(|since| since.elapsed() >= rest);
        if !rested || order.preferred_leader == order.element {
            return;
        }
        let preferred = order.members.iter().find(|place| place.element == order.preferred_leader);
        let Some(preferred) = preferred else { return };
        let peers = surroundings.raft.peers();
        let up = peers.incoming().borrow().contains_key(&preferred.instance);
        if up && peers.unreachable(preferred.instance) == Some(false) {
            tracing::info!(group = %group.id(), to = preferred.element, "handing over leadership");
            if let Err(error) = group.transfer_leader(preferred.element).await {
                tracing::warn!(group = %group.id(), %error, "cannot hand over leadership");
            }
        }
    }
}
