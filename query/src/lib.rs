//! Runs queries over several relations with DataFusion.
//!
//! [`Engine`] is what the SQL engine calls for a tree of relational operators ([`quorate_sql::plan::relational`]). The tree becomes a logical plan
//! ([`translate`]), DataFusion optimises it and runs it, and its leaves read rows of the transaction through [`rows`]. Names, types and the meaning of
//! expressions were settled before: DataFusion joins, groups, sorts and spills, and the SQL engine's own operators, functions and aggregates work out the
//! values ([`expression`], [`aggregate`]). So both ways to an answer give the same one.
//!
//! All queries of an instance share one bound of memory. What sorts and groups beyond it goes to disk; a join that does not fit is begun anew as one that sorts.
//! What cannot be put on disk fails with 53200.

mod aggregate;
mod column;
mod error;
mod expression;
mod rows;
mod translate;

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionConfig;
use quorate_sql::error::Error;
use quorate_sql::exec::Run;
use quorate_sql::exec::relational::{self, RowSource};
use quorate_sql::plan::relational::Node;
use tokio::sync::mpsc;

use crate::expression::Shared;
use crate::rows::Rows;
use crate::translate::{Relation, Translator};

/// Rows of one batch inside the engine.
const BATCH_ROWS: usize = 1024;

/// Bounds of the engine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes that all queries together may hold.
    pub memory: usize,
    /// Where sorted runs go that do not fit: a directory of the engine's own, emptied at its start. `None` for the system's directory for temporary files.
    pub spill: Option<PathBuf>,
}

/// The engine of one instance. Clones share its memory.
#[derive(Clone)]
pub struct Engine {
    states: States,
}

/// The two ways to plan.
#[derive(Clone)]
struct States {
    /// Joins hold one of their sides in memory.
    quick: Arc<SessionState>,
    /// Joins sort both sides, on disk if need be: for what does not fit.
    frugal: Arc<SessionState>,
}

impl Engine {
    /// An engine with these bounds.
    ///
    /// # Errors
    /// XX000 if the directory cannot be used.
    pub fn new(options: &Options) -> Result<Engine, Error> {
        let disk = match &options.spill {
            Some(directory) => {
                let failed = |error: std::io::Error| Error::internal(format!("empty {}: {error}", directory.display()));
                // What a killed process has left.
                match std::fs::remove_dir_all(directory) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
                    _ => std::fs::create_dir_all(directory).map_err(failed)?,
                }
                DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![directory.clone()]))
            }
            None => DiskManagerBuilder::default(),
        };
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(options.memory)))
            .with_disk_manager_builder(disk)
            .build_arc()
            .map_err(error::from_engine)?;
        let state = |partitions: usize, hash_joins: bool| {
            let mut config = SessionConfig::new().with_target_partitions(partitions).with_batch_size(BATCH_ROWS);
            let optimizer = &mut config.options_mut().optimizer;
            optimizer.enable_dynamic_filter_pushdown = false;
            optimizer.prefer_hash_join = hash_joins;
            let builder = SessionStateBuilder::new().with_config(config).with_runtime_env(runtime.clone());
            Arc::new(builder.build())
        };
        // One partition: a query shares its instance with many others, and its leaves come through one channel anyway. The engine considers joins
        // by sorting only where there are several.
        Ok(Engine { states: States { quick: state(1, true), frugal: state(2, false) } })
    }
}

impl relational::Engine for Engine {
    fn start(&self, node: &Node, run: &Run) -> Result<Box<dyn RowSource>, Error> {
        let shared = Arc::new(Shared {
            context: run.context.clone(),
            parameters: run.parameters.clone(),
            slots: run.slots.clone(),
        });
        let (requests, wanted) = mpsc::unbounded_channel();
        let mut translator = Translator::new(shared, requests);
        let Relation { plan, columns, types, .. } = translator.query(node)?;
        debug_assert_eq!(plan.schema().fields().len(), columns.len(), "a plan gives the columns that it says");
        Ok(Box::new(Rows::new(self.states.clone(), plan, types, translator.leaves, wanted)))
    }
}
