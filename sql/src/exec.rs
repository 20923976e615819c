//! Running plans against a transaction.
//!
//! [`Run`] is what one execution of a plan owns: the session's context, parameters, and what was worked out first. Streams keep their own
//! place and are pulled with the transaction handed in each time, so that a half-read result holds no borrow. Rows come in batches; what must
//! be held (sorting, grouping, DISTINCT) counts against `work_memory`; beyond it the engine takes over, and without one it fails with 53200.

mod aggregate;
pub mod context;
pub mod copy;
pub mod ddl;
mod pushdown;
pub mod relational;
mod select;
mod source;
mod write;

use std::sync::Arc;

pub use context::StatementContext;
pub use select::{SelectStream, compare_values as order_of};
pub use write::{KEY_BYTES_MAX, ROW_BYTES_MAX, Written, change, duplicate_on_commit, insert};

use crate::error::{Error, SqlState};
use crate::plan::Plan;
use crate::plan::binder::Prerequisite;
use crate::plan::expression::{Scope, Slot};
use crate::session::{CancelHandle, Row};
use crate::storage::{Database, Transaction};
use crate::value::{Array, Value};

/// Rows of one batch at most.
pub const BATCH_ROWS: usize = 1024;

/// One execution of a plan.
pub struct Run {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The session and the statement.
    pub context: StatementContext,
    /// Values of the parameters, of the plan's types.
    pub parameters: Vec<Value>,
    /// What was worked out first.
    pub slots: Vec<Slot>,
    /// Bytes that each stage may hold.
    pub work_memory: usize,
    /// Whether the transaction commits with the statement, so that what its commit finds is found by the statement.
    pub commits: bool,
    /// Looked at between batches.
    pub cancel: CancelHandle,
    /// Runs what the stages of a compiled plan cannot.
    pub engine: Arc<dyn relational::Engine>,
}

impl Run {
    /// What expressions are evaluated with.
    pub fn scope(&self) -> Scope<'_> {
        Scope { context: &self.context, parameters: &self.parameters, slots: &self.slots }
    }

    /// Fails once more is held than a stage may hold.
    ///
    /// # Errors
    /// 53200.
    pub fn check_memory(&self, held: usize) -> Result<(), Error> {
        if held <= self.work_memory { Ok(()) } else { Err(self.too_much()) }
    }

    /// What is said when a stage would hold more than it may.
    fn too_much(&self) -> Error {
        let detail = format!(
            "The statement holds more than {} bytes for sorting, grouping or collecting rows.",
            self.work_memory
        );
        Error::new(SqlState::OUT_OF_MEMORY, "out of memory")
            .with_detail(detail)
            .with_hint("Select fewer rows or columns.")
    }

    /// Works out the prerequisites, in order. What is wrong with the data there is said by whatever reads the slot, if anything does.
    ///
    /// # Errors
    /// What reading reports; 53200; 57014.
    pub async fn prepare(&mut self, database: &dyn Database, transaction: &mut dyn Transaction) -> Result<(), Error> {
        let plan = self.plan.clone();
        for prerequisite in &plan.prerequisites {
            let slot = match self.prerequisite(prerequisite, database, transaction).await {
                Ok(slot) => slot,
                Err(error) if matches!(error.code.class(), "21" | "22") => Slot::Failed(error),
                Err(error) => return Err(error),
            };
            self.slots.push(slot);
        }
        Ok(())
    }

    async fn prerequisite(
        &self,
        prerequisite: &Prerequisite,
        database: &dyn Database,
        transaction: &mut dyn Transaction,
    ) -> Result<Slot, Error> {
        Ok(Slot::Value(match prerequisite {
            Prerequisite::Scalar(select) => {
                let mut rows = self.collect(select, transaction, 2).await?;
                if rows.len() > 1 {
                    let message = "more than one row returned by a subquery used as an expression";
                    return Err(Error::new(SqlState::CARDINALITY_VIOLATION, message));
                }
                rows.pop().and_then(|mut row| row.pop()).unwrap_or(Value::Null)
            }
            Prerequisite::List(select, element) => {
                let rows = self.collect(select, transaction, usize::MAX).await?;
                let values = rows.into_iter().filter_map(|mut row| row.pop()).collect();
                Value::Array(Arc::new(Array::new(element.clone(), values)))
            }
            Prerequisite::Exists(select) => Value::Bool(!self.collect(select, transaction, 1).await?.is_empty()),
            Prerequisite::Rows(select) => {
                return Ok(Slot::Rows(Arc::new(self.collect(select, transaction, usize::MAX).await?)));
            }
            Prerequisite::TxidCurrent => Value::Int64(transaction.txid_current().await?),
            Prerequisite::TxidStatus(id) => match id.eval(&self.scope(), &[])?.as_i64() {
                Some(id) => Value::from(database.txid_status(id).await?),
                None => Value::Null,
            },
        }))
    }

    /// The first `most` rows of a query.
    async fn collect(
        &self,
        select: &crate::plan::select::SelectPlan,
        transaction: &mut dyn Transaction,
        most: usize,
    ) -> Result<Vec<Row>, Error> {
        let mut stream = SelectStream::new(select, self)?;
        let mut rows = Vec::new();
        let mut held = 0;
        while rows.len() < most {
            let Some(batch) = stream.next(select, self, transaction).await? else { break };
            held += memory(&batch);
            self.check_memory(held)?;
            rows.extend(batch);
        }
        rows.truncate(most);
        Ok(rows)
    }
}

/// About how many bytes rows hold.
pub fn memory(rows: &[Row]) -> usize {
    rows.iter().map(|row| row_memory(row)).sum()
}

/// About how many bytes a row holds.
pub fn row_memory(row: &[Value]) -> usize {
    row.iter().map(Value::memory).sum::<usize>() + std::mem::size_of::<Row>()
}
