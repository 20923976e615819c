//! The stages of a query over the rows of its source.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;

use bytes::Bytes;

use super::aggregate::Groups;
use super::pushdown::Pushed;
use super::source::{Pulled, SourceState, TableReader, lock};
use super::{BATCH_ROWS, Run, row_memory};
use crate::error::{Error, SqlState};
use crate::plan::expression::Expr;
use crate::plan::pushdown::conditions;
use crate::plan::select::{SelectPlan, SortKey, Source};
use crate::session::Row;
use crate::storage::Transaction;
use crate::value::Value;

/// With a LIMIT, sorting keeps this many times its rows before it drops the rest.
const TOP_SLACK: usize = 2;
/// Below so many rows dropping is not worth it.
const TOP_LEAST: usize = 4096;

/// A piece of what a query reads.
enum Batch {
    /// Rows for which WHERE holds.
    Rows(Vec<Row>),
    /// Groups of such rows, as a program gives them.
    Groups(Bytes),
}

/// A query under way.
pub struct SelectStream {
    source: SourceState,
    /// What is done where the rows are read.
    pushed: Option<Pushed>,
    /// Rows worked out and not yet given; `None` as long as the stages stream, or have not begun to collect.
    ready: Option<std::vec::IntoIter<Row>>,
    /// Whether the source gives what comes out of the stages: there was too much for them, and the engine does their work.
    moved: bool,
    skip: u64,
    left: Option<u64>,
    done: bool,
}

impl SelectStream {
    /// A query at its beginning.
    ///
    /// # Errors
    /// 2201W and 2201X for negative limits; what evaluating key values reports.
    pub fn new(plan: &SelectPlan, run: &Run) -> Result<SelectStream, Error> {
        let count = |expr: &Option<Expr>, code: SqlState, clause: &str| -> Result<Option<u64>, Error> {
            let Some(expr) = expr else { return Ok(None) };
            match expr.eval(&run.scope(), &[])?.as_i64() {
                None => Ok(None),
                Some(count) => u64::try_from(count)
                    .map(Some)
                    .map_err(|_| Error::new(code, format!("{clause} must not be negative"))),
            }
        };
        let left = count(&plan.limit, SqlState::INVALID_ROW_COUNT_IN_LIMIT, "LIMIT")?;
        let skip = count(&plan.offset, SqlState::INVALID_ROW_COUNT_IN_OFFSET, "OFFSET")?.unwrap_or(0);
        let limit = left.map(|left| left.saturating_add(skip));
        let pushed = Pushed::new(plan, run, limit);
        Ok(SelectStream {
            source: SourceState::new(&plan.source, run, limit, pushed.as_ref().map(|pushed| &pushed.program))?,
            pushed,
            ready: None,
            moved: false,
            skip,
            left,
            done: left == Some(0),
        })
    }

    /// The next rows; `None` at the end. Never an empty batch.
    ///
    /// # Errors
    /// What evaluation and reading report; 53200.
    pub async fn next(
        &mut self,
        plan: &SelectPlan,
        run: &Run,
        transaction: &mut dyn Transaction,
    ) -> Result<Option<Vec<Row>>, Error> {
        while !self.done {
            let mut batch = if self.moved {
                match self.source.next(&plan.source, run, transaction).await? {
                    Some(rows) => rows,
                    None => break,
                }
            } else if plan.streams() {
                match self.filtered(plan, run, transaction).await? {
                    Some(rows) => project(plan, run, rows)?,
                    None => break,
                }
            } else {
                if self.ready.is_none() {
                    let Some(rows) = self.collect(plan, run, transaction).await? else {
                        self.move_over(plan, run)?;
                        continue;
                    };
                    self.ready = Some(rows.into_iter());
                }
                let batch: Vec<Row> = self.ready.iter_mut().flatten().take(BATCH_ROWS).collect();
                if batch.is_empty() {
                    break;
                }
                batch
            };
            self.limit(&mut batch);
            if !batch.is_empty() {
                return Ok(Some(batch));
            }
        }
        self.done = true;
        Ok(None)
    }

    /// Whether it is certain that no more rows come.
    pub fn is_done(&self) -> bool {
        self.done || self.ready.as_ref().map_or_else(|| self.source.is_done(), |ready| ready.len() == 0)
    }

    /// OFFSET and LIMIT.
    fn limit(&mut self, batch: &mut Vec<Row>) {
        if self.skip > 0 {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(batch.len());
            batch.drain(..skipped);
            self.skip -= skipped as u64;
        }
        if let Some(left) = &mut self.left {
            batch.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= batch.len() as u64;
            self.done = *left == 0;
        }
    }

    /// The next rows of the source for which WHERE holds; locked, if the plan says so, and then looked at again.
    async fn filtered(
        &mut self,
        plan: &SelectPlan,
        run: &Run,
        transaction: &mut dyn Transaction,
    ) -> Result<Option<Vec<Row>>, Error> {
        if let (SourceState::Table(reader), Source::Table(access)) = (&mut self.source, &plan.source)
            && reader.needs_locking(access)
        {
            return filtered_and_locked(reader, plan, access, run, transaction).await;
        }
        match self.pulled(plan, run, transaction).await? {
            None => Ok(None),
            Some(Batch::Rows(rows)) => Ok(Some(rows)),
            Some(Batch::Groups(_)) => Err(Error::internal("groups came where rows were wanted")),
        }
    }

    /// The next rows for which WHERE holds, or groups of them.
    async fn pulled(
        &mut self,
        plan: &SelectPlan,
        run: &Run,
        transaction: &mut dyn Transaction,
    ) -> Result<Option<Batch>, Error> {
        let whole = conditions(&plan.filter);
        let (mut rows, left) = match (&mut self.source, &plan.source, &self.pushed) {
            (SourceState::Table(reader), Source::Table(access), Some(pushed)) => {
                match reader.next_page(access, run, transaction).await? {
                    None => return Ok(None),
                    Some(Pulled::Output(output)) if pushed.groups() => return Ok(Some(Batch::Groups(output))),
                    Some(Pulled::Output(output)) => (pushed.rows(&output)?, pushed.rest(plan)),
                    Some(Pulled::Stored(rows)) => (rows, whole),
                }
            }
            (source, plan, _) => match source.next(plan, run, transaction).await? {
                Some(rows) => (rows, whole),
                None => return Ok(None),
            },
        };
        let filter = match (&plan.filter, left.len()) {
            (_, 0) | (None, _) => return Ok(Some(Batch::Rows(rows))),
            (Some(filter), all) if all == whole.len() => Cow::Borrowed(filter),
            _ => Cow::Owned(Expr::And(left.to_vec())),
        };
        let scope = run.scope();
        let mut result = Ok(());
        rows.retain(|row| match (&result, filter.holds(&scope, row)) {
            (Err(_), _) => false,
            (Ok(()), Ok(holds)) => holds,
            (Ok(()), Err(error)) => {
                result = Err(error);
                false
            }
        });
        result.map(|()| Some(Batch::Rows(rows)))
    }

    /// Begins anew with the engine, which can put on disk what it holds. Nothing has been given out yet, and the transaction's snapshot is the same.
    fn move_over(&mut self, plan: &SelectPlan, run: &Run) -> Result<(), Error> {
        let rows = run.engine.start(&plan.as_tree(), run).map_err(|error| {
            // A host without an engine has no place for more.
            if error.code == SqlState::FEATURE_NOT_SUPPORTED { run.too_much() } else { error }
        })?;
        self.source = SourceState::Relational(rows);
        self.pushed = None;
        self.moved = true;
        Ok(())
    }

    /// Runs the query to its end: grouping, DISTINCT, ORDER BY. `None` if that holds too much.
    async fn collect(
        &mut self,
        plan: &SelectPlan,
        run: &Run,
        transaction: &mut dyn Transaction,
    ) -> Result<Option<Vec<Row>>, Error> {
        let wanted = self.left.map(|left| usize::try_from(left.saturating_add(self.skip)).unwrap_or(usize::MAX));
        let mut output = Collected::new(plan, wanted);
        match &plan.grouping {
            None => {
                while let Some(rows) = self.filtered(plan, run, transaction).await? {
                    if !output.take(project(plan, run, rows)?, run) {
                        return Ok(None);
                    }
                    crate::session::yield_now().await;
                }
            }
            Some(grouping) => {
                let mut groups = Groups::new(grouping);
                while let Some(batch) = self.pulled(plan, run, transaction).await? {
                    let fits = match batch {
                        Batch::Rows(rows) => groups.take(rows, run)?,
                        Batch::Groups(output) => groups.merge(&output, run)?,
                    };
                    if !fits {
                        return Ok(None);
                    }
                    crate::session::yield_now().await;
                }
                for rows in groups.finish(run)?.chunks(BATCH_ROWS) {
                    if !output.take(project(plan, run, rows.to_vec())?, run) {
                        return Ok(None);
                    }
                }
            }
        }
        Ok(Some(output.finish()))
    }
}

async fn filtered_and_locked(
    reader: &mut TableReader,
    plan: &SelectPlan,
    access: &crate::plan::access::Access,
    run: &Run,
    transaction: &mut dyn Transaction,
) -> Result<Option<Vec<Row>>, Error> {
    let Some(mut found) = reader.next(access, run, transaction).await? else { return Ok(None) };
    if let Some(filter) = &plan.filter {
        found = keep(found, filter, run)?;
    }
    let mut locked = lock(access, found, transaction).await?;
    if let Some(filter) = &plan.filter {
        locked = keep(locked, filter, run)?;
    }
    Ok(Some(locked.into_iter().map(|found| found.row).collect()))
}

/// Those rows for which a condition holds.
pub(super) fn keep(
    found: Vec<super::source::Found>,
    filter: &Expr,
    run: &Run,
) -> Result<Vec<super::source::Found>, Error> {
    let scope = run.scope();
    let mut kept = Vec::with_capacity(found.len());
    for found in found {
        if filter.holds(&scope, &found.row)? {
            kept.push(found);
        }
    }
    Ok(kept)
}

/// The output of rows: the visible columns, then hidden sort keys.
fn project(plan: &SelectPlan, run: &Run, rows: Vec<Row>) -> Result<Vec<Row>, Error> {
    let as_they_are =
        plan.output.iter().enumerate().all(|(n, expr)| matches!(expr, Expr::Column(place) if *place == n));
    if as_they_are && rows.first().is_none_or(|row| row.len() == plan.output.len()) {
        return Ok(rows);
    }
    let scope = run.scope();
    rows.iter().map(|row| plan.output.iter().map(|expr| expr.eval(&scope, row)).collect()).collect()
}

/// Rows held back for DISTINCT and ORDER BY.
struct Collected<'a> {
    plan: &'a SelectPlan,
    wanted: Option<usize>,
    rows: Vec<Row>,
    seen: HashSet<Row>,
    held: usize,
}

impl<'a> Collected<'a> {
    fn new(plan: &'a SelectPlan, wanted: Option<usize>) -> Collected<'a> {
        Collected { plan, wanted, rows: Vec::new(), seen: HashSet::new(), held: 0 }
    }

    /// Adds rows, and says whether they may be held.
    fn take(&mut self, rows: Vec<Row>, run: &Run) -> bool {
        for row in rows {
            if self.plan.distinct {
                if self.seen.contains(&row) {
                    continue;
                }
                self.seen.insert(row.clone());
                self.held += row_memory(&row);
            }
            self.held += row_memory(&row);
            self.rows.push(row);
        }
        // Of a sorted result only the first rows are wanted; drop the others from time to time.
        if let Some(wanted) = self.wanted
            && !self.plan.order_by.is_empty()
            && self.rows.len() >= wanted.saturating_mul(TOP_SLACK).max(TOP_LEAST)
        {
            sort(&mut self.rows, &self.plan.order_by);
            self.rows.truncate(wanted);
            self.held = super::memory(&self.rows) + self.seen.iter().map(|row| row_memory(row)).sum::<usize>();
        }
        self.held <= run.work_memory
    }

    fn finish(mut self) -> Vec<Row> {
        sort(&mut self.rows, &self.plan.order_by);
        let visible = self.plan.columns.len();
        if self.plan.output.len() > visible {
            self.rows.iter_mut().for_each(|row| row.truncate(visible));
        }
        self.rows
    }
}

fn sort(rows: &mut [Row], keys: &[SortKey]) {
    if !keys.is_empty() {
        rows.sort_by(|a, b| compare(a, b, keys));
    }
}

fn compare(a: &[Value], b: &[Value], keys: &[SortKey]) -> Ordering {
    keys.iter()
        .map(|key| compare_values(&a[key.place], &b[key.place], key.descending, key.nulls_first))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// ORDER BY's order of two values.
pub fn compare_values(a: &Value, b: &Value, descending: bool, nulls_first: bool) -> Ordering {
    let null = if nulls_first { Ordering::Less } else { Ordering::Greater };
    match (a.is_null(), b.is_null()) {
        (true, true) => Ordering::Equal,
        (true, false) => null,
        (false, true) => null.reverse(),
        (false, false) if descending => b.cmp(a),
        (false, false) => a.cmp(b),
    }
}
