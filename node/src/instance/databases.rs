//! The databases that this instance knows from its orders.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::{Mutex, RwLock};
use quorate_gateway::{ConnectionInfo, Databases, Farewell, Gateway};
use quorate_management::orders::Orders;
use quorate_management::{DatabaseNumber, DisconnectMode};
use quorate_raft::peers::Peers;
use quorate_sql::error::{Error, SqlState};
use quorate_sql::storage;
use quorate_txn::clock::Clock;
use quorate_txn::coordinator::Config;
use quorate_txn::protocol::GatewayId;
use quorate_txn::traits::Sets;

use crate::data::database::Database;
use crate::data::elements::Elements;
use crate::data::router::Router;

/// What databases of one gateway process need.
pub struct Surroundings {
    /// This process.
    pub gateway: GatewayId,
    /// The way to others.
    pub peers: Peers,
    /// This instance's elements.
    pub elements: Arc<Elements>,
    /// The instance's clock.
    pub clock: Arc<Clock>,
    /// Bounds of transactions.
    pub config: Config,
}

/// The databases, by name.
#[derive(Default)]
pub struct KnownDatabases {
    state: RwLock<State>,
    gateway: OnceLock<Weak<Gateway>>,
    /// The newest wish to disconnect sessions of each database, and how many were ended once none is left that it concerns.
    disconnects: Arc<Mutex<BTreeMap<DatabaseNumber, Disconnect>>>,
}

struct Disconnect {
    wish: u64,
    ended: Option<u32>,
}

#[derive(Default)]
struct State {
    surroundings: Option<Surroundings>,
    routers: HashMap<u32, Arc<Router>>,
    by_name: HashMap<String, Known>,
    /// Numbers and names of all, by name; the databases share it.
    all: Arc<RwLock<Vec<(u32, String)>>>,
    /// Whether orders have come since the process began: before that, nothing is known of any database.
    informed: bool,
}

struct Known {
    number: u32,
    open: bool,
    loaded: bool,
    database: Arc<Database>,
}

impl KnownDatabases {
    /// The instance is in a grid now.
    pub fn join(&self, surroundings: Surroundings) {
        self.state.write().surroundings = Some(surroundings);
    }

    /// Says whose sessions use the databases; once.
    pub fn serve(&self, gateway: &Arc<Gateway>) {
        let first = self.gateway.set(Arc::downgrade(gateway)).is_ok();
        assert!(first, "databases are served by one gateway");
    }

    fn gateway(&self) -> Option<Arc<Gateway>> {
        self.gateway.get().and_then(Weak::upgrade)
    }

    /// Sessions of each database that has any.
    pub fn sessions(&self) -> Vec<(String, u32)> {
        let mut counts = BTreeMap::new();
        for connection in self.gateway().iter().flat_map(|gateway| gateway.connections()) {
            *counts.entry(connection.database).or_default() += 1;
        }
        counts.into_iter().collect()
    }

    /// Ends the sessions of a database that is to be unloaded; new ones are refused because it is closed.
    fn disconnect(&self, database: &str) {
        let Some(gateway) = self.gateway() else { return };
        if gateway.connections().iter().any(|connection| connection.database == database) {
            let database = database.to_owned();
            tokio::spawn(async move {
                let ended = gateway.disconnect_all(&database, Farewell::Told).await;
                tracing::info!(database, sessions = ended, "sessions ended, since the database is unloaded");
            });
        }
    }

    /// Acts on a wish to disconnect sessions, once. Must be called within a tokio runtime.
    fn take_wish(&self, database: &str, number: DatabaseNumber, (wish, mode): (u64, DisconnectMode)) {
        let mut disconnects = self.disconnects.lock();
        if disconnects.get(&number).is_some_and(|known| known.wish >= wish) {
            return;
        }
        disconnects.insert(number, Disconnect { wish, ended: None });
        let Some(gateway) = self.gateway() else { return };
        let (disconnects, database) = (self.disconnects.clone(), database.to_owned());
        tokio::spawn(async move {
            let ended = match mode {
                DisconnectMode::Transactional => gateway.disconnect_after_transactions(&database).await,
                DisconnectMode::Immediate => gateway.disconnect_all(&database, Farewell::Told).await,
                DisconnectMode::Abort => gateway.disconnect_all(&database, Farewell::Cut).await,
            };
            tracing::info!(
                database,
                sessions = ended,
                mode = mode.word(),
                "sessions disconnected, as an operator wished"
            );
            if let Some(known) = disconnects.lock().get_mut(&number).filter(|known| known.wish == wish) {
                known.ended = Some(u32::try_from(ended).unwrap_or(u32::MAX));
            }
        });
    }

    /// Wishes to disconnect that were fulfilled here: database, number of the wish, sessions ended.
    pub fn disconnected(&self) -> Vec<(DatabaseNumber, u64, u32)> {
        let disconnects = self.disconnects.lock();
        disconnects.iter().filter_map(|(number, known)| known.ended.map(|ended| (*number, known.wish, ended))).collect()
    }

    /// The sessions of a database.
    pub fn connections(&self, database: &str) -> Vec<ConnectionInfo> {
        let all = self.gateway().map(|gateway| gateway.connections()).unwrap_or_default();
        all.into_iter().filter(|connection| connection.database == database).collect()
    }

    /// Ends a session if it is in this transaction.
    pub async fn end_transaction(&self, database: &str, process_id: i32, transaction: u64) -> bool {
        match self.gateway() {
            Some(gateway) => gateway.end_transaction(database, process_id, transaction).await,
            None => false,
        }
    }

    /// Which start of the instance this is; 0 before it is in a grid.
    pub fn incarnation(&self) -> u32 {
        self.state.read().surroundings.as_ref().map_or(0, |surroundings| surroundings.gateway.incarnation())
    }

    /// The way to a database's sets, made when an element asks for it first.
    pub fn sets(self: &Arc<Self>, database: u32) -> Arc<dyn Sets> {
        self.state.write().router(database)
    }

    /// A weak handle for those whom this owns.
    pub fn downgrade(self: &Arc<Self>) -> Weak<Self> {
        Arc::downgrade(self)
    }

    /// Takes over which databases there are. Must be called within a tokio runtime.
    pub fn take_orders(&self, orders: &Orders) {
        let mut state = self.state.write();
        state.informed = true;
        for directory in &orders.databases {
            let router = state.router(directory.number);
            router.set_directory(&directory.sets);
            if let Some(known) = state.by_name.get_mut(&directory.name).filter(|known| known.number == directory.number)
            {
                (known.open, known.loaded) = (directory.open, directory.loaded);
                known.database.set_directory(directory);
                continue;
            }
            let surroundings = state.surroundings.as_ref().expect("orders come to members of a grid only");
            let (clock, config, all) = (surroundings.clock.clone(), surroundings.config.clone(), state.all.clone());
            let database = Arc::new(Database::new(directory, surroundings.gateway, router, all, clock, config));
            let (open, loaded) = (directory.open, directory.loaded);
            let known = Known { number: directory.number, open, loaded, database };
            state.by_name.insert(directory.name.clone(), known);
        }
        let names: Vec<&str> = orders.databases.iter().map(|directory| directory.name.as_str()).collect();
        let gone: Vec<String> = state.by_name.keys().filter(|name| !names.contains(&name.as_str())).cloned().collect();
        state.by_name.retain(|name, _| names.contains(&name.as_str()));
        let mut all: Vec<(u32, String)> =
            orders.databases.iter().map(|directory| (directory.number, directory.name.clone())).collect();
        all.sort_unstable_by(|one, other| one.1.cmp(&other.1));
        *state.all.write() = all;
        drop(state);
        self.disconnects.lock().retain(|number, _| orders.databases.iter().any(|known| known.number == *number));
        for directory in &orders.databases {
            if let Some(wish) = directory.disconnect {
                self.take_wish(&directory.name, directory.number, wish);
            }
        }
        let unloaded = orders.databases.iter().filter(|directory| !directory.loaded).map(|directory| &directory.name);
        unloaded.chain(&gone).for_each(|name| self.disconnect(name));
    }

    /// A database by name, open or not.
    pub fn find(&self, name: &str) -> Option<Arc<Database>> {
        self.state.read().by_name.get(name).map(|known| known.database.clone())
    }

    /// Ends the databases' background work.
    pub async fn shut_down(&self) {
        let databases: Vec<_> = {
            let mut state = self.state.write();
            state.routers.clear();
            state.by_name.drain().map(|(_, known)| known.database).collect()
        };
        for database in databases {
            database.shut_down().await;
        }
    }
}

impl State {
    fn router(&mut self, database: u32) -> Arc<Router> {
        let surroundings = self.surroundings.as_ref().expect("databases exist in a grid only");
        let timeout = surroundings.config.replica_set_timeout;
        let (peers, elements) = (surroundings.peers.clone(), surroundings.elements.clone());
        self.routers
            .entry(database)
            .or_insert_with(|| Arc::new(Router::new(database, peers, &elements, timeout)))
            .clone()
    }
}

impl Databases for KnownDatabases {
    fn open(&self, name: &str) -> Result<Arc<dyn storage::Database>, Error> {
        let state = self.state.read();
        let Some(known) = state.by_name.get(name) else {
            if state.surroundings.is_none() {
                return Err(Error::new(SqlState::CANNOT_CONNECT_NOW, "this instance does not belong to a grid yet")
                    .with_hint("quorate-admin gridCreate makes one."));
            }
            if !state.informed {
                let text = "this instance is starting and does not know its databases yet";
                return Err(Error::new(SqlState::CANNOT_CONNECT_NOW, text)
                    .with_hint("Try again in a moment, or ask another instance."));
            }
            return Err(Error::new(SqlState::INVALID_CATALOG_NAME, format!("database \"{name}\" does not exist"))
                .with_hint("quorate-admin dbStatus lists the databases."));
        };
        if !known.open {
            let (state, command) = match known.loaded {
                true => ("open", format!("quorate-admin dbOpen {name} opens it")),
                false => (
                    "loaded",
                    format!("quorate-admin dbLoad {name} loads it, then quorate-admin dbOpen {name} opens it"),
                ),
            };
            return Err(Error::new(SqlState::CANNOT_CONNECT_NOW, format!("database \"{name}\" is not {state}"))
                .with_hint(format!("{command}; quorate-admin dbStatus {name} shows its state.")));
        }
        Ok(known.database.clone())
    }
}
