//! One database as this instance's SQL sessions see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::RwLock;
use quorate_management::orders::DatabaseDirectory;
use quorate_sql::catalog::Catalog;
use quorate_sql::error::Error;
use quorate_sql::storage;
use quorate_txn::clock::Clock;
use quorate_txn::coordinator::{Config, Coordinator, Options, TxnError};
use quorate_txn::protocol::{GatewayId, Outcome, SetId, TxnId, TxnStatus};

use super::catalog::{Known, VersionRow, table_range, transaction_key};
use super::errors::session_error;
use super::router::Router;
use super::transaction::SessionTransaction;

/// Most table rows fetched at once when the catalog is read.
const TABLES_PAGE: u32 = 1000;

/// The database; sessions share it.
pub struct Database {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) name: String,
    /// Numbers and names of all databases of the grid.
    all: Arc<RwLock<Vec<(u32, String)>>>,
    pub(super) gateway: GatewayId,
    pub(super) coordinator: Coordinator,
    pub(super) router: Arc<Router>,
    pub(super) layout: RwLock<Arc<Layout>>,
    known: RwLock<Arc<Known>>,
    row_ids: AtomicU64,
}

/// Which replica set holds which slot.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) slots: Vec<SetId>,
    /// All sets, ascending.
    pub(super) sets: Vec<SetId>,
    /// Slots of each set, in the order of `sets`.
    pub(super) slots_of: Vec<Vec<u16>>,
}

impl Layout {
    fn new(directory: &DatabaseDirectory) -> Self {
        let slots = directory.map.slots.clone();
        let mut sets: Vec<SetId> = directory.sets.iter().map(|set| set.id).collect();
        sets.sort_unstable();
        let of = |set: &SetId| (0u16..).zip(&slots).filter(|(_, owner)| *owner == set).map(|(slot, _)| slot).collect();
        let slots_of = sets.iter().map(of).collect();
        Self { slots, sets, slots_of }
    }
}

impl Database {
    /// A database that this gateway process uses for the first time; `gateway` is unique to the process, `all` are the grid's databases.
    pub fn new(
        directory: &DatabaseDirectory,
        gateway: GatewayId,
        router: Arc<Router>,
        all: Arc<RwLock<Vec<(u32, String)>>>,
        clock: Arc<Clock>,
        config: Config,
    ) -> Self {
        router.set_directory(&directory.sets);
        let coordinator = Coordinator::new(gateway, 1, router.clone(), clock, config);
        let layout = Layout::new(directory);
        coordinator.watch(&layout.sets);
        let known = Known::new(VersionRow::FIRST, Vec::new()).expect("an empty catalog has nothing to decode");
        let inner = Inner {
            name: directory.name.clone(),
            all,
            gateway,
            coordinator,
            router,
            layout: RwLock::new(Arc::new(layout)),
            known: RwLock::new(Arc::new(known)),
            row_ids: AtomicU64::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Takes over where members live now.
    pub fn set_directory(&self, directory: &DatabaseDirectory) {
        self.inner.router.set_directory(&directory.sets);
        let layout = Layout::new(directory);
        self.inner.coordinator.watch(&layout.sets);
        *self.inner.layout.write() = Arc::new(layout);
    }

    /// The way to its sets.
    pub fn router(&self) -> &Arc<Router> {
        &self.inner.router
    }

    /// Ends background work once sessions have ended.
    pub async fn shut_down(&self) {
        self.inner.coordinator.shutdown(Duration::from_secs(2)).await;
    }
}

impl Inner {
    pub(super) fn known(&self) -> Arc<Known> {
        self.known.read().clone()
    }

    pub(super) fn set_of_slot(&self, slot: u16) -> SetId {
        self.layout.read().slots[usize::from(slot)]
    }

    /// A number for a hidden row id, unique in this process.
    pub(super) fn next_row_number(&self) -> u64 {
        self.row_ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Reads the catalog at a set and remembers it if it is newer than what is known.
    pub(super) async fn read_catalog(
        &self,
        txn: &mut quorate_txn::coordinator::Transaction,
        set: SetId,
    ) -> Result<Arc<Known>, Error> {
        let before = self.known();
        let fail = |error: TxnError| session_error(error, &before);
        let row = txn.get(set, &[VersionRow::key()]).await.map_err(fail)?.pop().flatten();
        let version = VersionRow::decode(row)?;
        if version == before.version {
            return Ok(before);
        }
        let (mut start, end) = table_range();
        let mut rows = Vec::new();
        loop {
            let range = quorate_txn::coordinator::ScanRange {
                start,
                end: end.clone(),
                reverse: false,
                rows_max: TABLES_PAGE,
                bytes_max: 1 << 20,
                program: None,
            };
            let page = txn.scan(set, &range).await.map_err(fail)?;
            rows.extend(page.rows.into_iter().map(|(_, value)| value));
            match page.resume {
                Some(resume) => start = resume,
                None => break,
            }
        }
        let known = Arc::new(Known::new(version, rows)?);
        let mut cached = self.known.write();
        if known.version.version > cached.version.version {
            *cached = known.clone();
        }
        Ok(known)
    }

    /// Reads the catalog afresh, in a transaction of its own, after a statement met another one than it was planned with.
    pub(super) async fn refresh_catalog(&self, set: SetId) -> Result<Arc<Known>, Error> {
        let mut txn = self.coordinator.begin(Options::default());
        let known = self.read_catalog(&mut txn, set).await?;
        txn.commit().await.map_err(|error| session_error(error, &known))?;
        Ok(known)
    }
}

#[async_trait]
impl storage::Database for Database {
    fn begin(&self, options: &storage::TransactionOptions) -> Result<Box<dyn storage::Transaction>, Error> {
        let txn = self.inner.coordinator.begin(Options {
            age_of: options.age_of,
            id: options.id.clone(),
            ..Options::default()
        });
        Ok(Box::new(SessionTransaction::new(self.inner.clone(), txn, options.age_of.is_some())))
    }

    fn cached_catalog(&self) -> Arc<Catalog> {
        self.inner.known().catalog.clone()
    }

    fn all(&self) -> Vec<(u32, String)> {
        self.inner.all.read().clone()
    }

    async fn txid_status(&self, txid: i64) -> Result<Option<&'static str>, Error> {
        let Ok(number) = u64::try_from(txid) else { return Ok(None) };
        let txn = TxnId(number);
        let known = self.inner.known();
        let fail = |error: TxnError| session_error(error, &known);
        let (key, slot) = transaction_key(txn);
        let set = self.inner.set_of_slot(slot);
        let recorded = async || -> Result<bool, Error> {
            let mut reader = self.inner.coordinator.begin(Options::default());
            let row = reader.get(set, std::slice::from_ref(&key)).await.map_err(fail)?.pop().flatten();
            reader.commit().await.map_err(fail)?;
            Ok(row.is_some())
        };
        if recorded().await? {
            return Ok(Some("committed"));
        }
        // A transaction of a living process may still write its record; one of a process that has ended is refused for good by asking.
        let own = txn.gateway().instance() == self.inner.gateway.instance();
        let ended = own && txn.gateway().incarnation() < self.inner.gateway.incarnation();
        match self.inner.coordinator.inquire(set, txn, ended).await.map_err(fail)? {
            TxnStatus::Ended(Outcome::Committed(_)) => Ok(Some("committed")),
            TxnStatus::Ended(Outcome::Aborted) => Ok(Some("aborted")),
            TxnStatus::Prepared(_) => Ok(Some("in progress")),
            // It may have been forgotten between the two questions, after it had committed.
            TxnStatus::Forgotten => Ok(Some(if recorded().await? { "committed" } else { "aborted" })),
            TxnStatus::Absent => Ok(Some(if recorded().await? { "committed" } else { "in progress" })),
        }
    }
}
