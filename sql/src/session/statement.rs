//! The life of one statement: plan, run, commit, and again if it lost a race that nobody has seen yet.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use super::api::{CommandTag, Notice, Row};
use super::cancel::{CancelHandle, Deadline, Interrupt, interruptible};
use super::prepared::Compiled;
use super::savepoints::ends_transaction;
use super::streams::{CopyIn, CopyOut, Execution, RowStream};
use super::transaction::{Block, Open};
use super::{Session, cancel};
use crate::catalog::Catalog;
use crate::error::{Error, SqlState};
use crate::exec::context::Identity;
use crate::exec::copy::{CopyInState, CopyOutState};
use crate::exec::{Run, SelectStream, StatementContext, change, ddl, insert, memory};
use crate::parse::Statement;
use crate::plan::{Body, Plan};
use crate::settings::{View, Wishes};
use crate::storage::{Database, ReadExtent, Transaction};
use crate::value::Value;

/// Result rows held back until their transaction is committed, in bytes. Larger results stream, and a lost race is an error at their end.
pub const HELD_BACK_BYTES_MAX: usize = 4 << 20;
/// How often a statement is repeated before its 40001 is reported.
const ATTEMPTS_MAX: u32 = 20;
/// Repetitions wait from the third on, twice as long each time, up to the last of these.
const BACKOFF_FIRST: Duration = Duration::from_millis(2);
const BACKOFF_LAST: Duration = Duration::from_millis(200);

/// What becomes of the transaction after a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It stays open.
    Stay,
    /// It commits, unless the session is in a block.
    Commit,
}

/// What a statement's context is made of.
pub(super) struct Surroundings {
    pub(super) statement_timestamp: i64,
    pub(super) settings: View,
    pub(super) identity: Arc<Identity>,
    pub(super) database: Arc<dyn Database>,
    pub(super) cancel: CancelHandle,
    pub(super) work_memory: usize,
    pub(super) engine: Arc<dyn crate::exec::relational::Engine>,
    pub(super) read_only: bool,
    /// Whether the transaction commits with the statement.
    pub(super) commits: bool,
}

impl Surroundings {
    pub(super) fn context(&self, catalog: &Arc<Catalog>, began: i64) -> StatementContext {
        let mut format = self.settings.format().clone();
        format.now = Some(began);
        StatementContext {
            transaction_timestamp: began,
            statement_timestamp: self.statement_timestamp,
            format,
            settings: self.settings.clone(),
            wishes: Wishes::default(),
            identity: self.identity.clone(),
            catalog: catalog.clone(),
            database: self.database.clone(),
        }
    }
}

/// What an attempt came to.
enum Outcome {
    /// Rows so far, and the stream if there are more.
    Rows(Vec<Row>, Option<SelectStream>),
    /// All rows of a row change, with its tag.
    Written(Vec<Row>, CommandTag),
    Done(CommandTag),
    CopyIn(CopyInState),
    CopyOut(CopyOutState),
}

impl Outcome {
    /// Whether nothing of the statement is left to do.
    fn is_complete(&self) -> bool {
        matches!(self, Outcome::Rows(_, None) | Outcome::Written(..) | Outcome::Done(_))
    }
}

impl Session {
    pub(super) fn surroundings(&self) -> Surroundings {
        Surroundings {
            statement_timestamp: self.now(),
            settings: self.settings.view(),
            identity: self.identity.clone(),
            database: self.database.clone(),
            cancel: self.cancel.clone(),
            work_memory: self.environment.work_memory,
            engine: self.environment.engine.clone(),
            read_only: self.settings.read_only(),
            commits: false,
        }
    }

    /// The deadline of a statement that begins now.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.settings.statement_timeout().map(|timeout| Deadline::new(self.environment.timer.sleep(timeout)))
    }

    /// Runs one statement. An error has failed or ended the transaction when it comes out.
    pub(super) async fn run(
        &mut self,
        compiled: &Arc<Compiled>,
        parameters: Vec<Value>,
        end: End,
    ) -> Result<Execution, Error> {
        match self.run_or_fail(compiled, parameters, end).await {
            Ok(execution) => Ok(execution),
            Err(error) => {
                self.fail(&error).await;
                Err(error)
            }
        }
    }

    async fn run_or_fail(
        &mut self,
        compiled: &Arc<Compiled>,
        parameters: Vec<Value>,
        end: End,
    ) -> Result<Execution, Error> {
        let statement = compiled.parsed.statement.clone();
        self.refuse_in_failed_block(&statement)?;
        if let Some(result) = self.control(&statement).await {
            return result.map(Execution::Done);
        }
        if let Statement::Execute { name, arguments } = &*statement {
            let (prepared, values) = self.execute_arguments(name, arguments, &compiled.parsed.positions)?;
            let Some(inner) = prepared.compiled.clone() else { return Ok(Execution::Empty) };
            return Box::pin(self.run_planned(&inner, values, end)).await;
        }
        if let Statement::Declare(declare) = &*statement {
            return Box::pin(self.declare(declare, compiled, parameters, end)).await;
        }
        if let Statement::Fetch(fetch) = &*statement {
            return Box::pin(self.fetch(fetch)).await;
        }
        if let Some(result) = self.utility(&statement, &compiled.parsed.positions).await {
            let execution = result?;
            if end == End::Commit && self.block == Block::None {
                self.commit().await?;
            }
            return Ok(execution);
        }
        self.run_planned(compiled, parameters, end).await
    }

    /// Everything but the end of the block, and the way back to a savepoint, is refused in a failed one.
    pub(super) fn refuse_in_failed_block(&self, statement: &Statement) -> Result<(), Error> {
        let ends =
            matches!(statement, Statement::Commit { .. } | Statement::Rollback { .. } | Statement::RollbackTo(_));
        if self.block == Block::Failed && !ends {
            return Err(Error::in_failed_transaction());
        }
        Ok(())
    }

    pub(super) fn run_planned<'a>(
        &'a mut self,
        compiled: &'a Arc<Compiled>,
        parameters: Vec<Value>,
        end: End,
    ) -> impl Future<Output = Result<Execution, Error>> + 'a {
        self.run_holding(compiled, parameters, end, HELD_BACK_BYTES_MAX)
    }

    /// Runs a planned statement. If it commits by itself, results up to `hold` bytes are held back until it has.
    pub(super) async fn run_holding(
        &mut self,
        compiled: &Arc<Compiled>,
        parameters: Vec<Value>,
        end: End,
        hold: usize,
    ) -> Result<Execution, Error> {
        if !self.cursors.is_empty() {
            Box::pin(self.settle_cursors(&compiled.parsed.statement)).await?;
        }
        let commits = end == End::Commit && self.block == Block::None;
        let surroundings = Surroundings { commits, ..self.surroundings() };
        let mut deadline = self.deadline();
        let hold = if commits { hold } else { 0 };
        let mut attempt = 1;
        loop {
            self.open()?;
            match self.attempt(compiled, &parameters, &surroundings, &mut deadline, hold, commits).await {
                Ok((run, outcome, notices)) => {
                    self.notices.extend(notices);
                    return Ok(self.execution(run, outcome, deadline, commits));
                }
                Err((error, repeat)) => {
                    let Some((age, began)) = repeat.filter(|_| error.is_retryable() && attempt < ATTEMPTS_MAX) else {
                        return Err(error);
                    };
                    attempt += 1;
                    self.open = Some(self.begin(Some(age), began)?);
                    if attempt > 2 {
                        let wait = BACKOFF_FIRST.saturating_mul(1 << (attempt - 3).min(16)).min(BACKOFF_LAST);
                        let sleep = pin!(self.environment.timer.sleep(wait));
                        interruptible(&self.cancel, deadline.as_mut(), None, sleep).await.map_err(interrupted)?;
                    }
                }
            }
        }
    }

    /// One attempt, the commit included. With the error come age and beginning of the transaction, if nothing of it has been seen and it may be
    /// repeated; the transaction is rolled back then.
    #[allow(clippy::type_complexity)]
    async fn attempt(
        &mut self,
        compiled: &Compiled,
        parameters: &[Value],
        surroundings: &Surroundings,
        deadline: &mut Option<Deadline>,
        hold: usize,
        commits: bool,
    ) -> Result<(Run, Outcome, Vec<Notice>), (Error, Option<(u64, i64)>)> {
        let Some(mut open) = self.open.take() else {
            return Err((Error::internal("a statement ran without a transaction"), None));
        };
        let repeat = (open.answered == 0).then(|| (open.transaction.age(), open.began));
        let mut transaction_deadline = open.deadline.take();
        let result = {
            let work = pin!(work(compiled, parameters, surroundings, &*self.database, &mut open, hold));
            interruptible(&self.cancel, deadline.as_mut(), transaction_deadline.as_mut(), work).await
        };
        open.deadline = transaction_deadline;
        let (run, outcome, notices) = match result {
            Err(interrupt) => {
                // How far it came is unknown; a savepoint takes all of it back, else only the end of the transaction is left.
                self.keep_or_end(open, interrupt != Interrupt::TransactionTimedOut).await;
                return Err((interrupted(interrupt), None));
            }
            Ok(Err(error)) => {
                self.keep_or_end(open, !ends_transaction(&error)).await;
                return Err((error, repeat));
            }
            Ok(Ok(done)) => done,
        };
        open.answered += 1;
        self.open = Some(open);
        self.settings.fulfil(&run.context.wishes).map_err(|error| (error, None))?;
        if commits && outcome.is_complete() {
            self.commit().await.map_err(|error| (error, repeat))?;
        }
        Ok((run, outcome, notices))
    }

    fn execution(&mut self, run: Run, outcome: Outcome, deadline: Option<Deadline>, commits: bool) -> Execution {
        let serial = self.open.as_ref().map_or(0, |open| open.serial);
        let live = cancel::Live { serial, deadline, commits };
        match outcome {
            Outcome::Rows(rows, None) => {
                Execution::Rows(RowStream::held(run.plan.columns.clone(), rows, CommandTag::counted("SELECT", 0)))
            }
            Outcome::Rows(rows, Some(stream)) => Execution::Rows(RowStream::live(run, rows, stream, live)),
            Outcome::Written(rows, tag) if run.plan.columns.is_some() => {
                Execution::Rows(RowStream::held(run.plan.columns.clone(), rows, tag))
            }
            Outcome::Written(_, tag) | Outcome::Done(tag) => Execution::Done(tag),
            Outcome::CopyIn(state) => Execution::CopyIn(CopyIn::new(run, state, live)),
            Outcome::CopyOut(state) => Execution::CopyOut(CopyOut::new(run, state, live)),
        }
    }
}

/// Plans and runs a statement up to its first rows: as many as `hold` bytes take, or the first batch.
async fn work(
    compiled: &Compiled,
    parameters: &[Value],
    surroundings: &Surroundings,
    database: &dyn Database,
    open: &mut Open,
    hold: usize,
) -> Result<(Run, Outcome, Vec<Notice>), Error> {
    let mut notices = Vec::new();
    let mut run = plan(compiled, parameters, surroundings, open).await?;
    match perform(&mut run, compiled, database, &mut *open.transaction, hold, &mut notices).await {
        Ok(outcome) => Ok((run, outcome, notices)),
        Err(error) => Err(valid(error, &mut *open.transaction).await),
    }
}

/// An error that depends on data is an answer: if what was read does not hold any more, that is the error.
pub(super) async fn valid(error: Error, transaction: &mut dyn Transaction) -> Error {
    // Errors of the transaction itself, of the system and of limits say nothing about data.
    if matches!(error.code.class(), "53" | "57") || ends_transaction(&error) {
        return error;
    }
    match transaction.validate().await {
        Ok(()) => error,
        Err(stale) => stale,
    }
}

async fn plan(
    compiled: &Compiled,
    parameters: &[Value],
    surroundings: &Surroundings,
    open: &mut Open,
) -> Result<Run, Error> {
    if surroundings.read_only && !surroundings.commits {
        open.transaction.only_reads(ReadExtent::Block);
    }
    loop {
        let catalog = open.transaction.catalog().await?;
        let context = surroundings.context(&catalog, open.began);
        let planned = compiled.plan(&catalog, &context);
        // Errors, and answers about tables, must not come from an outdated catalog.
        if planned.as_ref().is_ok_and(|plan| !plan.shows_catalog) || open.transaction.catalog_is_current().await? {
            let plan = planned?;
            check(&plan, parameters, surroundings)?;
            for table in &plan.tables {
                open.transaction.uses_table(table);
            }
            open.catalog = Some(catalog);
            if surroundings.commits && only_reads(&plan.body) {
                open.transaction.only_reads(ReadExtent::Statement);
            }
            return Ok(Run {
                plan,
                context,
                parameters: parameters.to_vec(),
                slots: Vec::new(),
                work_memory: surroundings.work_memory,
                engine: surroundings.engine.clone(),
                commits: surroundings.commits,
                cancel: surroundings.cancel.clone(),
            });
        }
    }
}

/// Whether a statement does nothing but read. What its functions may do besides is up to the transaction.
fn only_reads(body: &Body) -> bool {
    match body {
        Body::Select(select) => !select.locks(),
        Body::CopyOut(..) => true,
        Body::Insert(_) | Body::Change(_) | Body::CopyIn(_) | Body::Explain(_) | Body::Utility(_) => false,
    }
}

fn check(plan: &Plan, parameters: &[Value], surroundings: &Surroundings) -> Result<(), Error> {
    if plan.parameters.len() > parameters.len() {
        return Err(Error::new(
            SqlState::UNDEFINED_PARAMETER,
            format!("there is no parameter ${}", parameters.len() + 1),
        ));
    }
    if !surroundings.read_only {
        return Ok(());
    }
    let command = match &plan.body {
        Body::Insert(_) => "INSERT",
        Body::Change(change) if change.is_update() => "UPDATE",
        Body::Change(_) => "DELETE",
        Body::CopyIn(_) => "COPY FROM",
        Body::Select(select) if select.locks() => "SELECT FOR UPDATE",
        Body::Utility(statement) => match &**statement {
            Statement::CreateTable(_) => "CREATE TABLE",
            Statement::DropTable { .. } => "DROP TABLE",
            Statement::Truncate(_) => "TRUNCATE TABLE",
            Statement::AlterTable(_) => "ALTER TABLE",
            _ => return Ok(()),
        },
        Body::Select(_) | Body::CopyOut(..) | Body::Explain(_) => return Ok(()),
    };
    Err(Error::new(SqlState::READ_ONLY_SQL_TRANSACTION, format!("cannot execute {command} in a read-only transaction")))
}

async fn perform(
    run: &mut Run,
    compiled: &Compiled,
    database: &dyn Database,
    transaction: &mut dyn Transaction,
    hold: usize,
    notices: &mut Vec<Notice>,
) -> Result<Outcome, Error> {
    if !run.plan.prerequisites.is_empty() {
        run.prepare(database, transaction).await?;
    }
    let plan = run.plan.clone();
    match &plan.body {
        Body::Select(select) => {
            let mut stream = SelectStream::new(select, run)?;
            let mut rows = Vec::new();
            let mut held = 0;
            loop {
                let Some(batch) = stream.next(select, run, transaction).await? else {
                    return Ok(Outcome::Rows(rows, None));
                };
                held += memory(&batch);
                if rows.is_empty() {
                    rows = batch;
                } else {
                    rows.extend(batch);
                }
                if stream.is_done() {
                    return Ok(Outcome::Rows(rows, None));
                }
                if held > hold {
                    return Ok(Outcome::Rows(rows, Some(stream)));
                }
            }
        }
        Body::Insert(plan) => {
            let written = insert(plan, run, transaction).await?;
            Ok(Outcome::Written(written.rows, CommandTag::counted("INSERT", written.count)))
        }
        Body::Change(plan) => {
            let written = change(plan, run, transaction).await?;
            let command = if plan.is_update() { "UPDATE" } else { "DELETE" };
            Ok(Outcome::Written(written.rows, CommandTag::counted(command, written.count)))
        }
        Body::CopyIn(plan) => Ok(Outcome::CopyIn(CopyInState::new(plan, run)?)),
        Body::CopyOut(plan, options) => Ok(Outcome::CopyOut(CopyOutState::new(plan, options, run)?)),
        Body::Explain(lines) => {
            let rows: Vec<Row> = lines.iter().map(|line| vec![Value::text(line.as_str())]).collect();
            Ok(Outcome::Written(rows, CommandTag::plain("EXPLAIN")))
        }
        Body::Utility(_) => Ok(Outcome::Done(ddl::run(&compiled.parsed, &run.context, transaction, notices).await?)),
    }
}

/// The error of an interrupted statement.
pub(super) fn interrupted(interrupt: Interrupt) -> Error {
    let message = match interrupt {
        Interrupt::Cancelled => "canceling statement due to user request",
        Interrupt::StatementTimedOut => "canceling statement due to statement timeout",
        Interrupt::TransactionTimedOut => "canceling statement due to transaction timeout",
    };
    Error::new(SqlState::QUERY_CANCELED, message)
}
