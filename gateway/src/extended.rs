//! The extended protocol: Parse, Bind, Describe, Execute, Close.
//!
//! Statements are kept by the session, where SQL's PREPARE keeps its own too; portals are kept here. A portal's statement starts with its first Execute. If a
//! Sync is right behind that in what was received, the session is told: the implicit transaction can then commit with the statement.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use quorate_sql::error::{Error, SqlState};
use quorate_sql::session::{CommandTag, Execution, Prepared, RowStream, TransactionStatus};
use quorate_sql::types::Type;
use quorate_sql::value::Value;

use crate::conversation::{Conversation, Progress, Trouble};
use crate::message::{self, Bind, Formats, Parse, Target, violation};
use crate::{reply, values};

/// Portals of one session. More than this many named ones are refused (53400).
const NAMED_PORTALS_MAX: usize = 1000;

/// A statement with its parameters.
pub(crate) struct Portal {
    statement: Arc<Prepared>,
    formats: Formats,
    state: PortalState,
    /// Savepoints that the session had made when it was bound.
    savepoints: u64,
}

enum PortalState {
    /// Not started.
    Bound(Vec<Value>),
    /// Some rows are sent.
    Rows(RowStream),
    /// All rows of a command are sent.
    Exhausted(&'static str),
    /// A statement without rows, which runs once, or one that failed.
    Spent,
}

/// The portals there are.
#[derive(Default)]
pub(crate) struct Portals {
    unnamed: Option<Portal>,
    named: HashMap<String, Portal>,
}

impl Portals {
    fn get(&self, name: &str) -> Result<&Portal, Error> {
        let portal = if name.is_empty() { self.unnamed.as_ref() } else { self.named.get(name) };
        portal.ok_or_else(|| missing(name))
    }

    /// Takes a portal out, to run it.
    fn take(&mut self, name: &str) -> Result<Portal, Error> {
        let portal = if name.is_empty() { self.unnamed.take() } else { self.named.remove(name) };
        portal.ok_or_else(|| missing(name))
    }

    fn put(&mut self, name: &str, portal: Portal) {
        if name.is_empty() {
            self.unnamed = Some(portal);
        } else {
            self.named.insert(name.to_string(), portal);
        }
    }

    /// Forgets a portal.
    pub(crate) fn close(&mut self, name: &str) {
        if name.is_empty() {
            self.unnamed = None;
        } else {
            self.named.remove(name);
        }
    }

    /// Forgets portals bound when so many savepoints, or more, had been made.
    pub(crate) fn close_since(&mut self, savepoints: u64) {
        self.unnamed.take_if(|portal| portal.savepoints >= savepoints);
        self.named.retain(|_, portal| portal.savepoints < savepoints);
    }

    /// Forgets all portals.
    pub(crate) fn clear(&mut self) {
        self.unnamed = None;
        self.named.clear();
    }
}

#[cold]
fn missing(name: &str) -> Error {
    Error::new(SqlState::INVALID_CURSOR_NAME, format!("portal \"{name}\" does not exist"))
}

impl Conversation {
    pub(crate) async fn parse(&mut self, body: &Bytes) -> Result<(), Trouble> {
        let parse = Parse::decode(body)?;
        let types = parse
            .type_oids
            .iter()
            .map(|&oid| match oid {
                0 => Ok(None),
                oid => match Type::from_oid(oid) {
                    Some(Type::Unknown) => Ok(None),
                    Some(known) => Ok(Some(known)),
                    None => Err(Error::new(SqlState::UNDEFINED_OBJECT, format!("type with OID {oid} does not exist"))),
                },
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let statement = self.io.drive(self.session.prepare(parse.sql, &types)).await?;
        self.session.store_statement(parse.name, statement)?;
        reply::parse_complete(&mut self.io.output);
        Ok(())
    }

    pub(crate) fn bind(&mut self, body: &Bytes) -> Result<(), Trouble> {
        let mut bind = Bind::decode(body)?;
        let statement = self.session.statement_to_bind(bind.statement)?;
        let types = statement.parameter_types();
        if bind.parameter_count != types.len() {
            return Err(violation(format!(
                "bind message supplies {} parameters, but prepared statement \"{}\" requires {}",
                bind.parameter_count,
                bind.statement,
                types.len()
            ))
            .into());
        }
        if !bind.parameter_formats.suit(types.len()) {
            return Err(violation(format!(
                "bind message has parameter formats that do not suit {} parameters",
                types.len()
            ))
            .into());
        }
        let mut parameters = Vec::with_capacity(types.len());
        for (at, ty) in types.iter().enumerate() {
            let value = match bind.parameter()? {
                None => Value::Null,
                Some(bytes) => {
                    values::decode(bytes, ty, bind.parameter_formats.is_binary(at), self.session.format_settings())
                        .map_err(|error| in_parameter(error, at))?
                }
            };
            parameters.push(value);
        }
        let portal = bind.portal;
        let formats = bind.result_formats()?;
        let columns = statement.columns().map_or(0, <[_]>::len);
        if !formats.suit(columns) {
            return Err(violation(format!("bind message has result formats that do not suit {columns} columns")).into());
        }
        if !portal.is_empty() {
            if self.portals.named.contains_key(portal) {
                return Err(
                    Error::new(SqlState::DUPLICATE_CURSOR, format!("portal \"{portal}\" already exists")).into()
                );
            }
            if self.portals.named.len() >= NAMED_PORTALS_MAX {
                return Err(Error::new(SqlState::CONFIGURATION_LIMIT_EXCEEDED, "too many open portals")
                    .with_detail(format!("A session may have {NAMED_PORTALS_MAX} named portals."))
                    .into());
            }
        }
        let savepoints = self.session.savepoints_made();
        self.portals.put(portal, Portal { statement, formats, state: PortalState::Bound(parameters), savepoints });
        reply::bind_complete(&mut self.io.output);
        Ok(())
    }

    pub(crate) fn describe(&mut self, body: &Bytes) -> Result<(), Trouble> {
        let output = &mut self.io.output;
        match Target::decode(body)? {
            Target::Statement(name) => {
                let statement = self.session.statement(name)?;
                reply::parameter_description(statement.parameter_types().iter().map(Type::oid), output);
                match statement.columns() {
                    Some(columns) => reply::row_description(columns, &Formats::Text, output),
                    None => reply::no_data(output),
                }
            }
            Target::Portal(name) => match (self.portals.get(name), self.session.cursor_columns(name)) {
                (Ok(portal), _) => match portal.statement.columns() {
                    Some(columns) => reply::row_description(columns, &portal.formats, output),
                    None => reply::no_data(output),
                },
                // Drivers describe what they have declared.
                (Err(_), Ok(columns)) => reply::row_description(&columns, &Formats::Text, output),
                (Err(missing), Err(_)) => return Err(missing.into()),
            },
        }
        Ok(())
    }

    pub(crate) async fn execute(&mut self, body: &Bytes) -> Result<(), Trouble> {
        let (name, limit) = message::decode_execute(body)?;
        let began = matches!(self.portals.get(name)?.state, PortalState::Rows(_) | PortalState::Exhausted(_));
        if began && self.session.status() == TransactionStatus::Failed {
            // With a savepoint the transaction is still there; nothing is to be seen of it until the block has gone back.
            return Err(Error::in_failed_transaction().into());
        }
        let mut portal = self.portals.take(name)?;
        // On an error the portal is gone, like everything else of the failed transaction.
        let state = std::mem::replace(&mut portal.state, PortalState::Spent);
        // Exclusive, since a shared reference may cross an await only if rows under way could be shared between threads.
        portal.state = self.run_portal(name, &mut portal, state, limit).await?;
        self.portals.put(name, portal);
        Ok(())
    }

    async fn run_portal(
        &mut self,
        name: &str,
        portal: &mut Portal,
        state: PortalState,
        limit: Option<usize>,
    ) -> Result<PortalState, Trouble> {
        let mut rows = match state {
            PortalState::Bound(parameters) => {
                let then_sync = limit.is_none() && self.io.sync_follows();
                match self.io.drive(self.session.execute(&portal.statement, parameters, then_sync)).await? {
                    Execution::Rows(mut rows) => {
                        if limit.is_some() {
                            self.io.drive(rows.fetch_all(&mut self.session)).await?;
                        }
                        rows
                    }
                    Execution::Done(tag) => {
                        self.complete(&tag);
                        return Ok(PortalState::Spent);
                    }
                    Execution::CopyIn(copy) => {
                        self.copy_in(copy).await?;
                        return Ok(PortalState::Spent);
                    }
                    Execution::CopyOut(copy) => {
                        self.copy_out(copy).await?;
                        return Ok(PortalState::Spent);
                    }
                    Execution::Empty => {
                        reply::empty_query(&mut self.io.output);
                        return Ok(PortalState::Spent);
                    }
                }
            }
            PortalState::Rows(mut rows) => {
                rows.count_anew();
                rows
            }
            PortalState::Exhausted(command) => {
                self.complete(&CommandTag::counted(command, 0));
                return Ok(PortalState::Exhausted(command));
            }
            PortalState::Spent => {
                let error =
                    Error::new(SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, format!("portal \"{name}\" cannot be run"));
                return Err(error.into());
            }
        };
        match self.send_rows(&mut rows, &portal.formats, limit).await? {
            Progress::Suspended => {
                reply::portal_suspended(&mut self.io.output);
                Ok(PortalState::Rows(rows))
            }
            Progress::Complete => {
                let tag = rows.tag();
                self.complete(&tag);
                Ok(PortalState::Exhausted(tag.command))
            }
        }
    }

    pub(crate) fn close(&mut self, body: &Bytes) -> Result<(), Trouble> {
        match Target::decode(body)? {
            Target::Statement(name) => self.session.close_statement(name),
            Target::Portal(name) => self.portals.close(name),
        }
        reply::close_complete(&mut self.io.output);
        Ok(())
    }
}

/// Says which parameter could not be read.
#[cold]
fn in_parameter(mut error: Error, at: usize) -> Error {
    if error.context.is_none() {
        error.context = Some(format!("parameter ${}", at + 1));
    }
    error
}
