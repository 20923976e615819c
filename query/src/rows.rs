//! The rows of a query under way, and the way from its leaves to the transaction.
//!
//! The engine's operators pull their leaves from wherever they run; the transaction is at hand only while the session pulls the query. So a leaf asks for
//! its next rows through a channel, and [`Rows::next`] answers between two steps of the engine.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::common::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::StreamExt as _;
use parking_lot::Mutex;
use quorate_sql::error::{Error, SqlState};
use quorate_sql::exec::relational::RowSource;
use quorate_sql::exec::{Run, SelectStream};
use quorate_sql::plan::select::SelectPlan;
use quorate_sql::storage::Transaction;
use quorate_sql::types::Type;
use quorate_sql::value::Row;
use tokio::sync::{mpsc, oneshot};

use crate::States;
use crate::column::{ColumnBuilder, ColumnReader};
use crate::error::{from_engine, to_engine};

/// A leaf that wants more rows.
pub struct Request {
    /// Which reading of a leaf; a leaf may be read several times, also at once.
    scan: u64,
    leaf: usize,
    reply: oneshot::Sender<Result<Option<Vec<Row>>, Error>>,
}

/// A leaf, as the engine sees it.
pub struct Leaf {
    number: usize,
    schema: SchemaRef,
    types: Vec<Type>,
    requests: mpsc::UnboundedSender<Request>,
    scans: Arc<AtomicU64>,
}

impl Leaf {
    /// The leaf with this number, which asks through `requests`.
    pub fn new(
        number: usize,
        schema: SchemaRef,
        types: Vec<Type>,
        requests: mpsc::UnboundedSender<Request>,
        scans: Arc<AtomicU64>,
    ) -> Leaf {
        Leaf { number, schema, types, requests, scans }
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf").field("number", &self.number).finish_non_exhaustive()
    }
}

impl PartitionStream for Leaf {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let scan = self.scans.fetch_add(1, Ordering::Relaxed);
        let (leaf, requests) = (self.number, self.requests.clone());
        let (schema, types) = (self.schema.clone(), self.types.clone());
        let batches = futures::stream::try_unfold((), move |()| {
            let (requests, schema, types) = (requests.clone(), schema.clone(), types.clone());
            async move {
                let (reply, replied) = oneshot::channel();
                let ended = || DataFusionError::Execution("the query has ended".to_owned());
                requests.send(Request { scan, leaf, reply }).map_err(|_| ended())?;
                match replied.await.map_err(|_| ended())?.map_err(to_engine)? {
                    Some(rows) => Ok(Some((batch(&rows, &types, schema).map_err(to_engine)?, ()))),
                    None => Ok(None),
                }
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches))
    }
}

fn batch(rows: &[Row], types: &[Type], schema: SchemaRef) -> Result<RecordBatch, Error> {
    let mut columns = Vec::with_capacity(types.len());
    for (n, ty) in types.iter().enumerate() {
        let mut column = ColumnBuilder::new(ty, rows.len());
        for row in rows {
            column.push(&row[n])?;
        }
        columns.push(column.finish());
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(|error| Error::internal(error.to_string()))
}

/// A query under way.
pub struct Rows {
    states: States,
    plan: LogicalPlan,
    /// Whether it has been begun, and whether as one that sorts for its joins.
    begun: bool,
    frugal: bool,
    /// Whether rows have come out.
    given: bool,
    /// Never locked: there to make what may only be moved between threads something that may also be seen from them.
    stream: Mutex<Option<SendableRecordBatchStream>>,
    types: Vec<Type>,
    leaves: Vec<SelectPlan>,
    requests: mpsc::UnboundedReceiver<Request>,
    /// Readings under way.
    scans: HashMap<u64, SelectStream>,
}

impl Rows {
    /// A query at its beginning: its plan, the types of its columns, and its leaves.
    pub fn new(
        states: States,
        plan: LogicalPlan,
        types: Vec<Type>,
        leaves: Vec<SelectPlan>,
        requests: mpsc::UnboundedReceiver<Request>,
    ) -> Rows {
        let stream = Mutex::new(None);
        let scans = HashMap::new();
        Rows { states, plan, begun: false, frugal: false, given: false, stream, types, leaves, requests, scans }
    }

    async fn begin(&mut self) -> Result<(), Error> {
        let state = if self.frugal { &self.states.frugal } else { &self.states.quick };
        let physical = state.create_physical_plan(&self.plan).await.map_err(from_engine)?;
        let stream = datafusion::physical_plan::execute_stream(physical, state.task_ctx());
        *self.stream.get_mut() = Some(stream.map_err(from_engine)?);
        self.begun = true;
        Ok(())
    }

    /// Begins anew with joins that sort, if memory did not suffice and nobody has seen a row. Whether it does.
    fn again(&mut self, error: &Error) -> bool {
        if self.frugal || self.given || error.code != SqlState::OUT_OF_MEMORY {
            return false;
        }
        *self.stream.get_mut() = None;
        // Nobody waits for what the former attempt has asked for.
        while self.requests.try_recv().is_ok() {}
        self.scans.clear();
        (self.begun, self.frugal) = (false, true);
        true
    }

    async fn serve(&mut self, request: Request, run: &Run, transaction: &mut dyn Transaction) -> Result<(), Error> {
        let leaf = &self.leaves[request.leaf];
        let mut stream = match self.scans.remove(&request.scan) {
            Some(stream) => stream,
            None => SelectStream::new(leaf, run)?,
        };
        let rows = stream.next(leaf, run, transaction).await?;
        if rows.is_some() {
            self.scans.insert(request.scan, stream);
        }
        // Nobody waits any more if a LIMIT above is satisfied.
        drop(request.reply.send(Ok(rows)));
        Ok(())
    }

    fn rows(&self, batch: &RecordBatch) -> Result<Vec<Row>, Error> {
        let columns = batch
            .columns()
            .iter()
            .zip(&self.types)
            .map(|(array, ty)| ColumnReader::new(array.clone(), ty))
            .collect::<Result<Vec<_>, _>>()?;
        (0..batch.num_rows()).map(|row| columns.iter().map(|column| column.value(row)).collect()).collect()
    }
}

#[async_trait]
impl RowSource for Rows {
    async fn next(&mut self, run: &Run, transaction: &mut dyn Transaction) -> Result<Option<Vec<Row>>, Error> {
        if !self.begun {
            self.begin().await?;
        }
        let Some(stream) = self.stream.get_mut() else { return Ok(None) };
        enum Step {
            Rows(Option<Result<RecordBatch, DataFusionError>>),
            Wanted(Request),
        }
        let step = tokio::select! {
            biased;
            Some(request) = self.requests.recv() => Step::Wanted(request),
            batch = stream.next() => Step::Rows(batch),
        };
        match step {
            Step::Wanted(request) => {
                self.serve(request, run, transaction).await?;
                Ok(Some(Vec::new()))
            }
            Step::Rows(Some(Ok(batch))) => {
                self.given |= batch.num_rows() > 0;
                Ok(Some(self.rows(&batch)?))
            }
            Step::Rows(Some(Err(error))) => {
                let error = from_engine(error);
                if self.again(&error) { Ok(Some(Vec::new())) } else { Err(error) }
            }
            Step::Rows(None) => {
                *self.stream.get_mut() = None;
                Ok(None)
            }
        }
    }
}
