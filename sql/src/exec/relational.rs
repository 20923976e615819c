//! What runs a tree of relational operators: an engine that the host provides, and the stream of its rows.
//!
//! The engine works out everything above the leaves; it reads a leaf by running its compiled plan with [`super::SelectStream`] whenever its stream is
//! pulled, for only then is the transaction at hand.

use async_trait::async_trait;

use super::Run;
use crate::error::Error;
use crate::plan::relational::Node;
use crate::session::Row;
use crate::storage::Transaction;

/// Runs trees of relational operators.
pub trait Engine: Send + Sync {
    /// A query at its beginning.
    ///
    /// # Errors
    /// 0A000 for what the engine cannot do; what evaluating constants reports.
    fn start(&self, node: &Node, run: &Run) -> Result<Box<dyn RowSource>, Error>;
}

/// The rows of a query.
#[async_trait]
pub trait RowSource: Send + Sync {
    /// The next rows; `None` at the end. Perhaps none although there are more.
    ///
    /// # Errors
    /// What evaluation and reading report; 53200.
    async fn next(&mut self, run: &Run, transaction: &mut dyn Transaction) -> Result<Option<Vec<Row>>, Error>;
}

/// For hosts without an engine: refuses everything.
#[derive(Clone, Copy, Debug)]
pub struct NoEngine;

impl Engine for NoEngine {
    fn start(&self, _: &Node, _: &Run) -> Result<Box<dyn RowSource>, Error> {
        Err(Error::unsupported("a query over several relations", "This host runs queries over one table at a time."))
    }
}
