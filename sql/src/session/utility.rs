//! Statements that concern the session alone: settings, prepared statements, maintenance.

use std::sync::Arc;

use sqlparser::ast;

use super::Session;
use super::api::{Column, CommandTag, Notice, Row};
use super::prepared::{Compiled, Prepared};
use super::streams::{Execution, RowStream};
use crate::cast::CastContext;
use crate::error::{Error, SqlState};
use crate::parse::{Parsed, Positions, Statement};
use crate::plan::binder::Binder;
use crate::plan::expression::Scope;
use crate::settings::{display_name, unknown_setting};
use crate::types::Type;
use crate::value::Value;

impl Session {
    /// Runs a statement that concerns the session alone; `None` for all others.
    pub(super) async fn utility(
        &mut self,
        statement: &Statement,
        positions: &Arc<Positions>,
    ) -> Option<Result<Execution, Error>> {
        let done = |result: Result<(), Error>, tag: &'static str| {
            Some(result.map(|()| Execution::Done(CommandTag::plain(tag))))
        };
        match statement {
            Statement::Set { scope, name, value } => {
                if *scope == crate::parse::SetScope::Local && self.status() == super::TransactionStatus::Idle {
                    self.warn("25P01", "SET LOCAL can only be used in transaction blocks");
                }
                done(self.settings.set(*scope, name, value), "SET")
            }
            Statement::Reset(name) => done(self.settings.reset(name.as_deref()), "RESET"),
            Statement::Show(name) => Some(self.show(name.as_deref()).map(Execution::Rows)),
            Statement::Prepare { name, types, statement } => {
                let parsed = Parsed { statement: statement.clone(), positions: positions.clone() };
                let types: Vec<Option<Type>> = types.iter().cloned().map(Some).collect();
                let result = match self.prepare_parsed(parsed, &types).await {
                    Ok(prepared) => self.store_statement(name, Arc::new(prepared)),
                    Err(error) => Err(error),
                };
                done(result, "PREPARE")
            }
            Statement::Deallocate(Some(name)) => {
                let result = self.statement(name).map(|_| self.close_statement(name));
                done(result, "DEALLOCATE")
            }
            Statement::Deallocate(None) => {
                self.statements.clear();
                done(Ok(()), "DEALLOCATE ALL")
            }
            Statement::CloseCursor(name) => done(self.close_cursor(name), "CLOSE CURSOR"),
            Statement::Discard(what) => Some(self.discard(what).map(Execution::Done)),
            Statement::Maintenance { command, tables } => {
                Some(self.maintenance(command, tables).await.map(Execution::Done))
            }
            _ => None,
        }
    }

    fn show(&mut self, name: Option<&str>) -> Result<RowStream, Error> {
        let (columns, rows): (Vec<Column>, Vec<Row>) = match name {
            Some(name) => {
                let value = self.settings.get(name).ok_or_else(|| unknown_setting(name))?;
                (vec![Column::plain(display_name(name), Type::Text)], vec![vec![value.into()]])
            }
            None => {
                let columns = ["name", "setting", "description"].map(|name| Column::plain(name, Type::Text)).to_vec();
                let rows = self
                    .settings
                    .view()
                    .all()
                    .into_iter()
                    .map(|(name, value, text)| vec![name.into(), value.into(), text.into()]);
                (columns, rows.collect())
            }
        };
        Ok(RowStream::held(Some(columns.into()), rows, CommandTag::plain("SHOW")))
    }

    fn discard(&mut self, what: &str) -> Result<CommandTag, Error> {
        Ok(match what {
            "ALL" => {
                if self.status() != super::TransactionStatus::Idle {
                    return Err(Error::new(
                        SqlState::ACTIVE_SQL_TRANSACTION,
                        "DISCARD ALL cannot run inside a transaction block",
                    ));
                }
                self.settings.reset(None)?;
                self.statements.clear();
                self.cursors.clear();
                self.cache.clear();
                CommandTag::plain("DISCARD ALL")
            }
            "PLANS" => {
                self.cache.clear();
                CommandTag::plain("DISCARD PLANS")
            }
            "SEQUENCES" => CommandTag::plain("DISCARD SEQUENCES"),
            "CURSORS" => {
                self.cursors.clear();
                CommandTag::plain("CLOSE CURSOR ALL")
            }
            "CHANNELS" => CommandTag::plain("UNLISTEN"),
            _ => CommandTag::plain("DISCARD TEMP"),
        })
    }

    /// VACUUM and ANALYZE: nothing to do, but a table that is named must exist.
    async fn maintenance(
        &mut self,
        command: &'static str,
        tables: &[crate::parse::TableName],
    ) -> Result<CommandTag, Error> {
        if command == "VACUUM" && self.status() != super::TransactionStatus::Idle {
            return Err(Error::new(SqlState::ACTIVE_SQL_TRANSACTION, "VACUUM cannot run inside a transaction block"));
        }
        if !tables.is_empty() {
            let catalog = self.current_catalog().await?;
            for table in tables {
                crate::plan::binder::find_table(&catalog, table)?;
            }
        }
        let message = if command == "VACUUM" {
            "VACUUM does nothing here: old row versions are removed in the background"
        } else {
            "ANALYZE does nothing here: no statistics are kept"
        };
        self.notices.push(Notice { severity: "NOTICE", code: "00000", message: message.into(), hint: None });
        Ok(CommandTag::plain(command))
    }

    /// The statement that EXECUTE names, and the values of its parameters.
    pub(super) fn execute_arguments(
        &mut self,
        name: &str,
        arguments: &[ast::Expr],
        positions: &Positions,
    ) -> Result<(Arc<Prepared>, Vec<Value>), Error> {
        let prepared = self.statement(name)?;
        if arguments.len() != prepared.parameters.len() {
            let detail = format!("Expected {} parameters but got {}.", prepared.parameters.len(), arguments.len());
            let message = format!("wrong number of parameters for prepared statement \"{name}\"");
            return Err(Error::new(SqlState::SYNTAX_ERROR, message).with_detail(detail));
        }
        let catalog = self.database.cached_catalog();
        let context = self.surroundings().context(&catalog, self.now());
        let mut binder = Binder::new(&catalog, &context, positions, &[]);
        let mut values = Vec::with_capacity(arguments.len());
        for (argument, ty) in arguments.iter().zip(&prepared.parameters) {
            let typed = binder.expression(argument)?;
            let expr = binder.coerce(typed, ty, CastContext::Assignment)?;
            if !binder.prerequisites.is_empty() || !binder.parameters.is_empty() {
                return Err(Error::unsupported("a subquery or parameter in EXECUTE", "Give constants."));
            }
            values.push(expr.eval(&Scope { context: &context, parameters: &[], slots: &[] }, &[])?);
        }
        Ok((prepared, values))
    }

    /// Plans a statement to learn its parameters and columns.
    ///
    /// # Errors
    /// What planning reports, under the true catalog.
    pub(super) async fn prepare_parsed(&mut self, parsed: Parsed, types: &[Option<Type>]) -> Result<Prepared, Error> {
        if let Statement::Execute { name, .. } = &*parsed.statement {
            let columns = self.statement(name)?.columns.clone();
            return Ok(Prepared {
                compiled: Some(Arc::new(Compiled::new(parsed, types))),
                parameters: Vec::new(),
                columns,
            });
        }
        if let Statement::Fetch(fetch) = &*parsed.statement {
            // Of the cursor that there is now; a portal is described anew ([`Session::statement_to_bind`]).
            let columns = self.fetched_columns(fetch);
            let compiled = Some(Arc::new(Compiled::new(parsed, types)));
            return Ok(Prepared { compiled, parameters: Vec::new(), columns });
        }
        if let Statement::Declare(declare) = &*parsed.statement {
            // It has the parameters of its query, and no columns.
            let query = Parsed { statement: declare.query.clone(), positions: parsed.positions.clone() };
            let parameters = Box::pin(self.prepare_parsed(query, types)).await?.parameters;
            let types: Vec<Option<Type>> = parameters.iter().cloned().map(Some).collect();
            let compiled = Some(Arc::new(Compiled::new(parsed, &types)));
            return Ok(Prepared { compiled, parameters, columns: None });
        }
        let compiled = Compiled::new(parsed, types);
        let catalog = match &mut self.open {
            Some(open) => open.transaction.catalog().await?,
            None => self.database.cached_catalog(),
        };
        let context = self.surroundings().context(&catalog, self.now());
        let plan = match compiled.plan(&catalog, &context) {
            Ok(plan) => plan,
            Err(error) => {
                // It may be the cached catalog that is wrong.
                let current = self.current_catalog().await?;
                if current.stamp() == catalog.stamp() {
                    return Err(error);
                }
                let context = self.surroundings().context(&current, self.now());
                compiled.plan(&current, &context)?
            }
        };
        Ok(Prepared {
            parameters: plan.parameters.clone(),
            columns: plan.columns.clone(),
            compiled: Some(Arc::new(compiled.settled())),
        })
    }

    /// The true catalog: of the open transaction, or of a moment within this call.
    pub(super) async fn current_catalog(&mut self) -> Result<Arc<crate::catalog::Catalog>, Error> {
        let mut own;
        let transaction = match &mut self.open {
            Some(open) => &mut *open.transaction,
            None => {
                own = self
                    .database
                    .begin(&crate::storage::TransactionOptions { read_only: true, ..Default::default() })?;
                &mut *own
            }
        };
        loop {
            let catalog = transaction.catalog().await?;
            if transaction.catalog_is_current().await? {
                return Ok(catalog);
            }
        }
    }
}
