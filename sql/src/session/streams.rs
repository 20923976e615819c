//! What a statement that runs gives its caller: rows to pull, data to take, or a tag.
//!
//! None of them holds the session; it is handed in with each call. A stream whose transaction has ended meanwhile says so (34000).

use std::pin::pin;
use std::sync::Arc;

use super::Session;
use super::api::{Column, CommandTag, CopyFormat, Row};
use super::cancel::{Deadline, Interrupt, Live, interruptible};
use super::prepared::Compiled;
use super::statement::{End, interrupted, valid};
use super::transaction::{Block, Open};
use crate::error::{Error, SqlState};
use crate::exec::copy::{CopyInState, CopyLines, CopyOutState};
use crate::exec::{Run, SelectStream, memory};
use crate::plan::Body;

/// A statement that was started.
pub enum Execution {
    /// It gives rows.
    Rows(RowStream),
    /// It is complete.
    Done(CommandTag),
    /// It wants data.
    CopyIn(CopyIn),
    /// It gives data.
    CopyOut(CopyOut),
    /// There was nothing to run.
    Empty,
}

/// Rows of a statement.
pub struct RowStream {
    columns: Arc<[Column]>,
    ready: std::vec::IntoIter<Row>,
    more: Option<Box<(Run, SelectStream, Live)>>,
    given: u64,
    /// FETCH: the cursor that they come from, and how many are left to be given.
    cursor: Option<(String, u64)>,
    /// The tag of a statement that was complete before its rows were given; `SELECT` counts what was given.
    tag: CommandTag,
}

impl RowStream {
    pub(super) fn held(columns: Option<Arc<[Column]>>, rows: Vec<Row>, tag: CommandTag) -> RowStream {
        RowStream {
            columns: columns.unwrap_or_else(|| Arc::from([])),
            ready: rows.into_iter(),
            more: None,
            given: 0,
            cursor: None,
            tag,
        }
    }

    /// The next `count` rows of a cursor.
    pub(super) fn of_cursor(columns: Arc<[Column]>, name: String, count: u64) -> RowStream {
        let mut rows = RowStream::held(Some(columns), Vec::new(), CommandTag::plain("FETCH"));
        rows.cursor = Some((name, count));
        rows
    }

    pub(super) fn live(run: Run, rows: Vec<Row>, stream: SelectStream, live: Live) -> RowStream {
        let mut held = RowStream::held(run.plan.columns.clone(), rows, CommandTag::counted("SELECT", 0));
        held.more = Some(Box::new((run, stream, live)));
        held
    }

    /// The columns of the rows.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The next rows, `max_rows` at most and at least one; `None` when the statement is complete.
    ///
    /// # Errors
    /// What the statement reports; its transaction has failed or ended then.
    pub async fn next(&mut self, session: &mut Session, max_rows: usize) -> Result<Option<Vec<Row>>, Error> {
        let Some((name, left)) = &mut self.cursor else { return self.own_next(session, max_rows).await };
        let most = usize::try_from(*left).unwrap_or(usize::MAX).min(max_rows);
        if most == 0 {
            return Ok(None);
        }
        // Boxed, since few results come from cursors.
        let Some(rows) = Box::pin(session.cursor_rows(name, most)).await? else { return Ok(None) };
        *left -= rows.len() as u64;
        self.given += rows.len() as u64;
        Ok(Some(rows))
    }

    /// As [`RowStream::next`], for what does not come from a cursor.
    pub(super) async fn own_next(&mut self, session: &mut Session, max_rows: usize) -> Result<Option<Vec<Row>>, Error> {
        loop {
            let whole = max_rows >= self.ready.len();
            let rows: Vec<Row> = if whole {
                std::mem::take(&mut self.ready).collect()
            } else {
                self.ready.by_ref().take(max_rows).collect()
            };
            if !rows.is_empty() {
                self.given += rows.len() as u64;
                return Ok(Some(rows));
            }
            let Some(mut more) = self.more.take() else { return Ok(None) };
            let (run, stream, live) = &mut *more;
            let batch = session.continued(live, async |open: &mut Open| {
                let plan = run.plan.clone();
                let Body::Select(select) = &plan.body else { return Err(Error::internal("rows of what is no query")) };
                match stream.next(select, run, &mut *open.transaction).await {
                    Ok(batch) => Ok(batch),
                    Err(error) => Err(valid(error, &mut *open.transaction).await),
                }
            });
            // Boxed, since most results are complete before this is asked.
            let batch = Box::pin(batch).await?;
            session.settings.fulfil(&run.context.wishes)?;
            match batch {
                Some(batch) => {
                    self.ready = batch.into_iter();
                    self.more = Some(more);
                }
                None => {
                    session.finish_live(live).await?;
                    return Ok(None);
                }
            }
        }
    }

    /// Reads now what FETCH gives, as where it is not given at once: the cursor stands behind all of it then, and may be closed.
    ///
    /// # Errors
    /// 53200 for more than a statement may hold, and as [`RowStream::next`].
    pub async fn fetch_all(&mut self, session: &mut Session) -> Result<(), Error> {
        let Some((name, left)) = self.cursor.clone() else { return Ok(()) };
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        let mut rows: Vec<Row> = Vec::new();
        let mut held = 0;
        while let Some(batch) = self.next(session, most).await? {
            held += memory(&batch);
            rows.extend(batch);
            if let Err(error) = session.check_held(held, "Fetch fewer rows at a time.") {
                session.put_back(&name, rows);
                session.fail(&error).await;
                return Err(error);
            }
        }
        *self = RowStream::held(Some(self.columns.clone()), rows, CommandTag::plain("FETCH"));
        Ok(())
    }

    /// Gives rows back that it gave last: they come again.
    pub(super) fn put_back(&mut self, mut rows: Vec<Row>) {
        self.given = self.given.saturating_sub(rows.len() as u64);
        rows.extend(std::mem::take(&mut self.ready));
        self.ready = rows.into_iter();
    }

    /// A next part of the rows is given, and counted by itself.
    pub fn count_anew(&mut self) {
        self.given = 0;
    }

    /// About how many bytes the rows take that are here and were not given yet.
    pub(super) fn held_bytes(&self) -> usize {
        memory(self.ready.as_slice())
    }

    /// Whether all its rows are here already.
    pub(super) fn is_read(&self) -> bool {
        self.more.is_none()
    }

    /// How long the statement that goes on with it may take.
    pub(super) fn let_take(&mut self, deadline: Option<Deadline>) {
        if let Some(more) = &mut self.more {
            more.2.deadline = deadline;
        }
    }

    /// The tag: for a query and FETCH with the rows given so far, or since [`RowStream::count_anew`].
    pub fn tag(&self) -> CommandTag {
        match self.tag.command {
            command @ ("SELECT" | "FETCH") => CommandTag::counted(command, self.given),
            _ => self.tag.clone(),
        }
    }
}

/// COPY FROM STDIN, to be fed.
pub struct CopyIn {
    run: Run,
    state: CopyInState,
    live: Live,
}

impl CopyIn {
    pub(super) fn new(run: Run, state: CopyInState, live: Live) -> CopyIn {
        CopyIn { run, state, live }
    }

    /// The layout of the data.
    pub fn format(&self) -> CopyFormat {
        match &self.run.plan.body {
            Body::CopyIn(plan) if plan.options.csv => CopyFormat::Csv,
            _ => CopyFormat::Text,
        }
    }

    /// How many columns a line has.
    pub fn columns(&self) -> usize {
        match &self.run.plan.body {
            Body::CopyIn(plan) => plan.columns.len(),
            _ => 0,
        }
    }

    /// Takes a piece of the data, cut anywhere.
    ///
    /// # Errors
    /// What is wrong with the data; the transaction has failed or ended then.
    pub async fn data(&mut self, session: &mut Session, bytes: &[u8]) -> Result<(), Error> {
        let (run, state) = (&self.run, &mut self.state);
        let work = async |open: &mut Open| {
            let Body::CopyIn(plan) = &run.plan.body else { return Err(Error::internal("data for what is no COPY")) };
            match state.data(plan, run, &mut *open.transaction, bytes).await {
                Ok(()) => Ok(()),
                Err(error) => Err(valid(error, &mut *open.transaction).await),
            }
        };
        session.continued(&mut self.live, work).await
    }

    /// Ends the data.
    ///
    /// # Errors
    /// As [`CopyIn::data`]; what the commit reports, outside a block.
    pub async fn finish(self, session: &mut Session) -> Result<CommandTag, Error> {
        let CopyIn { run, state, mut live } = self;
        let work = async |open: &mut Open| {
            let Body::CopyIn(plan) = &run.plan.body else { return Err(Error::internal("data for what is no COPY")) };
            match state.finish(plan, &run, &mut *open.transaction).await {
                Ok(rows) => Ok(rows),
                Err(error) => Err(valid(error, &mut *open.transaction).await),
            }
        };
        let rows = session.continued(&mut live, work).await?;
        session.finish_live(&live).await?;
        Ok(CommandTag::counted("COPY", rows))
    }

    /// The client gave up; the error to report.
    pub async fn fail(self, session: &mut Session, message: &str) -> Error {
        let error = Error::new(SqlState::QUERY_CANCELED, format!("COPY from stdin failed: {message}"));
        session.fail(&error).await;
        error
    }
}

/// COPY TO STDOUT, to be pulled.
pub struct CopyOut {
    run: Run,
    state: CopyOutState,
    live: Live,
    done: bool,
}

impl CopyOut {
    pub(super) fn new(run: Run, state: CopyOutState, live: Live) -> CopyOut {
        CopyOut { run, state, live, done: false }
    }

    /// The layout of the data.
    pub fn format(&self) -> CopyFormat {
        match &self.run.plan.body {
            Body::CopyOut(_, options) if options.csv => CopyFormat::Csv,
            _ => CopyFormat::Text,
        }
    }

    /// How many columns a line has.
    pub fn columns(&self) -> usize {
        match &self.run.plan.body {
            Body::CopyOut(plan, _) => plan.columns.len(),
            _ => 0,
        }
    }

    /// The next lines. `None` at the end.
    ///
    /// # Errors
    /// What the query reports; its transaction has failed or ended then.
    pub async fn next(&mut self, session: &mut Session) -> Result<Option<CopyLines>, Error> {
        if self.done {
            return Ok(None);
        }
        let (run, state) = (&self.run, &mut self.state);
        let work = async |open: &mut Open| {
            let Body::CopyOut(plan, options) = &run.plan.body else {
                return Err(Error::internal("data of what is no COPY"));
            };
            match state.next(plan, options, run, &mut *open.transaction).await {
                Ok(data) => Ok(data),
                Err(error) => Err(valid(error, &mut *open.transaction).await),
            }
        };
        let data = session.continued(&mut self.live, work).await?;
        session.settings.fulfil(&self.run.context.wishes)?;
        if data.is_none() {
            self.done = true;
            session.finish_live(&self.live).await?;
        }
        Ok(data)
    }

    /// The tag, with the rows given so far.
    pub fn tag(&self) -> CommandTag {
        CommandTag::counted("COPY", self.state.rows())
    }
}

/// The statements of a simple query, one after another.
///
/// Outside a block they are one implicit transaction, which commits with the last of them. After an error the rest is not run.
pub struct Script {
    statements: Arc<[Arc<Compiled>]>,
    next: usize,
    /// Nothing is left to do, or an error ended it.
    over: bool,
}

impl Script {
    pub(super) fn new(statements: Arc<[Arc<Compiled>]>) -> Script {
        Script { statements, next: 0, over: false }
    }

    /// Runs the next statement. What the one before gave must have been pulled to its end. `None` when all are done.
    ///
    /// # Errors
    /// What the statement reports, or the commit of the implicit transaction.
    pub async fn next(&mut self, session: &mut Session) -> Result<Option<Execution>, Error> {
        if std::mem::replace(&mut self.over, true) {
            return Ok(None);
        }
        let Some(statement) = self.statements.get(self.next).cloned() else {
            if self.statements.is_empty() && self.next == 0 {
                return Ok(Some(Execution::Empty));
            }
            // A result that streamed left the transaction open.
            session.sync().await?;
            return Ok(None);
        };
        self.next += 1;
        session.several = self.statements.len() > 1;
        let last = self.next == self.statements.len();
        let execution = session.run(&statement, Vec::new(), if last { End::Commit } else { End::Stay }).await?;
        self.over = false;
        Ok(Some(execution))
    }
}

impl Session {
    /// Goes on with a statement that was half done, in its transaction.
    async fn continued<T>(
        &mut self,
        live: &mut Live,
        work: impl AsyncFnOnce(&mut Open) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let Some(mut open) = self.open.take_if(|open| open.serial == live.serial) else {
            return Err(Error::new(SqlState::INVALID_CURSOR_NAME, "the transaction of this result has ended"));
        };
        let mut transaction_deadline = open.deadline.take();
        let result = {
            let work = pin!(work(&mut open));
            interruptible(&self.cancel, live.deadline.as_mut(), transaction_deadline.as_mut(), work).await
        };
        open.deadline = transaction_deadline;
        let result = match result {
            Err(interrupt @ Interrupt::TransactionTimedOut) => {
                open.transaction.rollback().await;
                Err(interrupted(interrupt))
            }
            other => {
                self.open = Some(open);
                other.unwrap_or_else(|interrupt| Err(interrupted(interrupt)))
            }
        };
        if let Err(error) = &result {
            self.fail(error).await;
        }
        result
    }

    /// The end of a statement that was half done: commits where it commits by itself.
    async fn finish_live(&mut self, live: &Live) -> Result<(), Error> {
        if live.commits && self.block == Block::None { self.commit().await } else { Ok(()) }
    }
}
