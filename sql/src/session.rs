//! A session: settings, prepared statements, the transaction block, and the life of one statement in it.
//!
//! The gateway turns protocol messages into calls of [`Session`]; it never looks into SQL text itself.
//!
//! - Simple queries: [`Session::script`], then [`Script::next`] until it gives `None`.
//! - Extended queries: [`Session::prepare`], [`Session::execute`] and [`Session::sync`]. Outside a block everything between two Syncs is one implicit
//!   transaction. A gateway that sees a Sync right behind an Execute says `then_sync = true`: the transaction then commits before the
//!   answer is given out, and a lost race (40001) is repeated instead of reported.
//! - After any `Err` of what is awaited the session has already failed or ended its transaction; `status` says which. For all other errors, those of
//!   the protocol among them, the gateway calls [`Session::fail`].
//!
//! Repeating: a statement that lost a race is run again as long as nothing of its transaction has been given out; that is, for the
//! first statement of a transaction. For one that commits by itself, results up to 4 MiB are held back until the commit succeeded.

mod api;
mod cancel;
mod cursors;
mod prepared;
mod savepoints;
mod statement;
mod streams;
mod transaction;
mod utility;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

pub use api::{Column, CommandTag, CopyFormat, Environment, Notice, Row, Timer, TransactionStatus};
pub use cancel::CancelHandle;
pub(crate) use cancel::yield_now;
pub use prepared::Prepared;
pub use statement::HELD_BACK_BYTES_MAX;
pub use streams::{CopyIn, CopyOut, Execution, RowStream, Script};

use cursors::Cursor;
use prepared::{Cache, single};
use savepoints::Savepoint;
use statement::End;
use transaction::{Block, Open};

use crate::error::{Error, SqlState};
use crate::exec::context::Identity;
use crate::format::FormatSettings;
use crate::settings::Settings;
use crate::storage::Database;
use crate::types::Type;
use crate::value::Value;

/// Named statements a session may keep.
const STATEMENTS_MAX: usize = 10_000;

/// One client's session. Its methods are called one at a time; [`Session::cancellation`] is for other threads.
pub struct Session {
    database: Arc<dyn Database>,
    environment: Environment,
    identity: Arc<Identity>,
    settings: Settings,
    cancel: CancelHandle,
    /// Of the transaction that is open or was last; 0 as long as it has none.
    transaction_id: Arc<AtomicU64>,
    block: Block,
    /// `now()` of a block whose storage transaction has not begun.
    block_began: Option<i64>,
    open: Option<Open>,
    serial: u64,
    /// Of the block, the oldest first.
    savepoints: Vec<Savepoint>,
    /// Savepoints made in this session.
    savepoints_made: u64,
    /// What ended the transaction of a block with savepoints: there is nothing left to go on with, or to commit.
    lost: Option<Error>,
    /// Portals bound after so many savepoints were made are gone.
    portals_end: Option<u64>,
    statements: HashMap<String, Arc<Prepared>>,
    cursors: HashMap<String, Cursor>,
    /// What runs is one of several statements of a simple query, which are a block of their own.
    several: bool,
    cache: Cache,
    notices: Vec<Notice>,
}

impl Session {
    /// A session of `user` in the database.
    ///
    /// # Errors
    /// 22023 or 42704 for a setting of the startup message that makes no sense.
    pub fn new(
        database: Arc<dyn Database>,
        user: String,
        database_name: String,
        environment: Environment,
    ) -> Result<Session, Error> {
        let settings = Settings::new(&user, &environment.startup_parameters)?;
        let identity = Arc::new(Identity { user, database: database_name, process_id: environment.process_id });
        Ok(Session {
            database,
            environment,
            identity,
            settings,
            cancel: CancelHandle::default(),
            transaction_id: Arc::default(),
            block: Block::None,
            block_began: None,
            open: None,
            serial: 0,
            savepoints: Vec::new(),
            savepoints_made: 0,
            lost: None,
            portals_end: None,
            statements: HashMap::new(),
            cursors: HashMap::new(),
            several: false,
            cache: Cache::default(),
            notices: Vec::new(),
        })
    }

    /// Parses and plans a text with one statement, or none. `parameter_types` are those that the client gave; `None` where it left the
    /// type to the context.
    ///
    /// # Errors
    /// 42601 and others with a position (1-based character); the transaction has failed then.
    pub async fn prepare(&mut self, sql: &str, parameter_types: &[Option<Type>]) -> Result<Arc<Prepared>, Error> {
        match self.prepare_or_fail(sql, parameter_types).await {
            Ok(prepared) => Ok(prepared),
            Err(error) => {
                self.fail(&error).await;
                Err(error)
            }
        }
    }

    async fn prepare_or_fail(&mut self, sql: &str, parameter_types: &[Option<Type>]) -> Result<Arc<Prepared>, Error> {
        if self.block != Block::Failed
            && let Some(prepared) = self.cache.prepared(sql, parameter_types)
        {
            // Its columns may have changed since.
            let catalog = self
                .open
                .as_ref()
                .and_then(|open| open.catalog.clone())
                .unwrap_or_else(|| self.database.cached_catalog());
            if prepared.fits(&catalog) {
                return Ok(prepared);
            }
        }
        let Some(parsed) = single(sql)? else {
            return Ok(Arc::new(Prepared { compiled: None, parameters: Vec::new(), columns: None }));
        };
        self.refuse_in_failed_block(&parsed.statement)?;
        let cached = matches!(
            &*parsed.statement,
            crate::parse::Statement::Query(_)
                | crate::parse::Statement::Insert(_)
                | crate::parse::Statement::Update(_)
                | crate::parse::Statement::Delete(_)
        );
        let prepared = Arc::new(self.prepare_parsed(parsed, parameter_types).await?);
        if cached {
            self.cache.keep_prepared(sql, parameter_types, &prepared);
        }
        Ok(prepared)
    }

    /// Runs a prepared statement with values of its parameter types. With `then_sync` an implicit transaction commits with it.
    ///
    /// # Errors
    /// What the statement reports; 0A000 if tables have changed so that its result has other columns than were described.
    pub async fn execute(
        &mut self,
        statement: &Arc<Prepared>,
        parameters: Vec<Value>,
        then_sync: bool,
    ) -> Result<Execution, Error> {
        let Some(compiled) = &statement.compiled else { return Ok(Execution::Empty) };
        self.cancel.clear();
        self.several = false;
        let execution = self.run(compiled, parameters, if then_sync { End::Commit } else { End::Stay }).await?;
        if let Execution::Rows(rows) = &execution
            && !statement.described(rows.columns())
        {
            let error = Error::new(SqlState::FEATURE_NOT_SUPPORTED, "cached plan must not change result type");
            self.fail(&error).await;
            return Err(error);
        }
        Ok(execution)
    }

    /// Sync: commits an implicit transaction that is still open.
    ///
    /// # Errors
    /// What the commit reports.
    pub async fn sync(&mut self) -> Result<(), Error> {
        if self.sync_commits() { self.commit().await } else { Ok(()) }
    }

    /// Whether there is anything for Sync to commit.
    pub fn sync_commits(&self) -> bool {
        self.block == Block::None && (self.open.is_some() || self.settings.is_changed())
    }

    /// The statements of a simple query, to be run one by one.
    ///
    /// # Errors
    /// 42601 and 0A000 for any of them, before the first is run.
    pub fn script(&mut self, sql: &str) -> Result<Script, Error> {
        // A request that came for what ran before means nothing for this.
        self.cancel.clear();
        match self.cache.script(sql) {
            Ok(statements) => Ok(Script::new(statements)),
            Err(error) => {
                if !self.fail_at_savepoint(&error) {
                    // Nothing can be awaited here; dropping the transaction rolls it back as well.
                    self.open = None;
                    if self.block == Block::Open {
                        self.block = Block::Failed;
                    }
                    self.settings.end_transaction(false);
                }
                Err(error)
            }
        }
    }

    /// All that ParameterStatus reports at the start.
    pub fn parameter_status(&self) -> Vec<(&'static str, String)> {
        self.settings.parameter_status()
    }

    /// What ParameterStatus has to report since the last call.
    pub fn parameter_changes(&mut self) -> Vec<(String, String)> {
        self.settings.changes()
    }

    /// Notices since the last call, to be sent before the end of the answer.
    pub fn notices(&mut self) -> Vec<Notice> {
        let mut notices = std::mem::take(&mut self.notices);
        if !notices.is_empty() {
            match self.settings.get("client_min_messages").as_deref() {
                Some("warning") => notices.retain(|notice| notice.severity == "WARNING"),
                Some("error" | "fatal" | "panic") => notices.clear(),
                _ => {}
            }
        }
        notices
    }

    /// For cancel requests.
    pub fn cancellation(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// Where the id of the open transaction can be read from other threads; 0 as long as it has none.
    pub fn transaction_id(&self) -> Arc<AtomicU64> {
        self.transaction_id.clone()
    }

    /// How values are read and printed, by the settings in force.
    pub fn format_settings(&self) -> &FormatSettings {
        self.settings.format()
    }

    /// `application_name`, for logs and status.
    pub fn application_name(&self) -> String {
        self.settings.get("application_name").unwrap_or_default()
    }

    /// Keeps a statement under a name; `""` is the unnamed one, which may be replaced.
    ///
    /// # Errors
    /// 42P05 if the name is taken, 53400 if there are too many.
    pub fn store_statement(&mut self, name: &str, statement: Arc<Prepared>) -> Result<(), Error> {
        if self.statements.len() >= STATEMENTS_MAX && !self.statements.contains_key(name) {
            let message = format!("a session may keep at most {STATEMENTS_MAX} prepared statements");
            return Err(Error::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, message));
        }
        match self.statements.entry(name.to_owned()) {
            Entry::Occupied(_) if !name.is_empty() => Err(Error::new(
                SqlState::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            )),
            Entry::Occupied(mut entry) => {
                entry.insert(statement);
                Ok(())
            }
            Entry::Vacant(entry) => {
                entry.insert(statement);
                Ok(())
            }
        }
    }

    /// The statement kept under a name.
    ///
    /// # Errors
    /// 26000.
    pub fn statement(&self, name: &str) -> Result<Arc<Prepared>, Error> {
        self.statements.get(name).cloned().ok_or_else(|| {
            let message = if name.is_empty() {
                "unnamed prepared statement does not exist".to_owned()
            } else {
                format!("prepared statement \"{name}\" does not exist")
            };
            Error::new(SqlState::INVALID_SQL_STATEMENT_NAME, message)
        })
    }

    /// The same, to make a portal of: FETCH gives the columns of the cursor that there is now.
    ///
    /// # Errors
    /// 26000.
    pub fn statement_to_bind(&self, name: &str) -> Result<Arc<Prepared>, Error> {
        let statement = self.statement(name)?;
        let Some(compiled) = &statement.compiled else { return Ok(statement) };
        let crate::parse::Statement::Fetch(fetch) = &*compiled.parsed.statement else { return Ok(statement) };
        let compiled = Some(compiled.clone());
        Ok(Arc::new(Prepared { compiled, parameters: Vec::new(), columns: self.fetched_columns(fetch) }))
    }

    /// Forgets a statement; one that does not exist is no error.
    pub fn close_statement(&mut self, name: &str) {
        self.statements.remove(name);
    }

    /// Ends the session; what is open is rolled back.
    pub async fn close(mut self) {
        self.roll_back().await;
    }
}
