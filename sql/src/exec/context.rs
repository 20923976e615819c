//! What functions may ask of the session while a statement runs.

use std::sync::Arc;

use crate::catalog::virtual_tables::{self, VirtualTable};
use crate::catalog::{Catalog, PUBLIC};
use crate::error::Error;
use crate::format::FormatSettings;
use crate::functions::EvalContext;
use crate::parse::SetScope;
use crate::settings::{SERVER_VERSION, View, Wishes};
use crate::storage::Database;

/// The session as one statement sees it. Cheap to make: it shares what it can.
#[derive(Clone)]
pub struct StatementContext {
    /// When the transaction began.
    pub transaction_timestamp: i64,
    /// When the statement arrived.
    pub statement_timestamp: i64,
    /// How values are read and printed, with the transaction's `now`.
    pub format: FormatSettings,
    /// All settings.
    pub settings: View,
    /// Changes of settings that the statement asks for.
    pub wishes: Wishes,
    /// Who and where.
    pub identity: Arc<Identity>,
    /// The tables, for `regclass`.
    pub catalog: Arc<Catalog>,
    /// The database, which knows of others.
    pub database: Arc<dyn Database>,
}

/// What does not change during a session.
#[derive(Debug)]
pub struct Identity {
    /// The user.
    pub user: String,
    /// The database.
    pub database: String,
    /// `pg_backend_pid()`.
    pub process_id: i32,
}

impl EvalContext for StatementContext {
    fn transaction_timestamp(&self) -> i64 {
        self.transaction_timestamp
    }

    fn statement_timestamp(&self) -> i64 {
        self.statement_timestamp
    }

    fn format(&self) -> &FormatSettings {
        &self.format
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.settings.get(name)
    }

    fn change_setting(&self, name: &str, value: &str, local: bool) -> Result<String, Error> {
        let shown = self.settings.changed(name, value)?;
        self.wishes.push(if local { SetScope::Local } else { SetScope::Session }, name, value);
        Ok(shown)
    }

    fn database(&self) -> &str {
        &self.identity.database
    }

    fn user(&self) -> &str {
        &self.identity.user
    }

    fn schema(&self) -> Option<String> {
        let path = self.settings.get("search_path")?;
        path.split(',').any(|schema| schema.trim().trim_matches('"') == PUBLIC).then(|| PUBLIC.to_owned())
    }

    fn backend_pid(&self) -> i32 {
        self.identity.process_id
    }

    fn version(&self) -> String {
        format!("PostgreSQL {SERVER_VERSION} on {}-{}", std::env::consts::ARCH, std::env::consts::OS)
    }

    fn relation_oid(&self, name: &str) -> Option<u32> {
        let mut parts: Vec<String> = name
            .split('.')
            .map(|part| match part.strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
                Some(quoted) => quoted.replace("\"\"", "\""),
                None => part.to_lowercase(),
            })
            .collect();
        let table = parts.pop()?;
        let schema = match parts.as_slice() {
            [] => None,
            [schema] => Some(schema.as_str()),
            _ => return None,
        };
        virtual_tables::relation_oid(&self.catalog, schema, &table)
    }

    fn relation_name(&self, oid: u32) -> Option<String> {
        crate::functions::relation_text(self, oid)
    }

    fn catalog(&self) -> Option<&Catalog> {
        Some(&self.catalog)
    }
}

impl StatementContext {
    /// The rows of a table of the system.
    pub fn virtual_rows(&self, table: &VirtualTable) -> Vec<crate::value::Row> {
        let sources = virtual_tables::Sources {
            catalog: &self.catalog,
            settings: &self.settings,
            database: &self.identity.database,
            databases: &self.database.all(),
            user: &self.identity.user,
        };
        table.rows(&sources)
    }
}
