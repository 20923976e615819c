//! From statements to plans.
//!
//! A plan is made once for a statement's text and run many times: names are resolved to positions, types and conversions are settled,
//! and the way to the rows is chosen ([`access`]). It holds no values but constants, so that prepared statements, the simple
//! protocol's cache and retries share it. A plan is good as long as the tables it used are the same ([`Plan::fits`]).

pub mod access;
pub mod binder;
pub mod explain;
pub mod expression;
pub mod from;
pub mod level;
pub mod pushdown;
pub mod recorded;
pub mod relational;
pub mod select;
pub mod series;
pub mod write;

mod calls;
mod grouping;
mod joins;
mod literals;
mod operators;
mod outer;
mod output;
mod similar;
mod stages;
mod tree;
mod volatile;
mod windows;
mod with;

use std::sync::Arc;

use binder::{Binder, Prerequisite};
use select::SelectPlan;
use write::{ChangePlan, CopyInPlan, InsertPlan};

use crate::catalog::{Catalog, Table};
use crate::error::Error;
use crate::functions::EvalContext;
use crate::parse::{Copy, CopyRelation, Parsed, Statement};
use crate::session::Column;
use crate::types::Type;

/// A statement ready to run.
#[derive(Debug)]
pub struct Plan {
    /// What to do.
    pub body: Body,
    /// The types of its parameters.
    pub parameters: Vec<Type>,
    /// The columns of its result; `None` if it has none.
    pub columns: Option<Arc<[Column]>>,
    /// To be worked out before the body, in order.
    pub prerequisites: Vec<Prerequisite>,
    /// Tables used.
    pub tables: Vec<Arc<Table>>,
    /// The catalog's stamp with which it was made.
    pub stamp: u64,
    /// Whether its answer shows what is in the catalog, so that an outdated one will not do.
    pub shows_catalog: bool,
}

/// What a plan does.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "each plan lives in an Arc of its own, and most are queries")]
pub enum Body {
    /// A query.
    Select(SelectPlan),
    /// INSERT.
    Insert(Box<InsertPlan>),
    /// UPDATE or DELETE.
    Change(Box<ChangePlan>),
    /// COPY FROM STDIN.
    CopyIn(Box<CopyInPlan>),
    /// COPY TO STDOUT.
    CopyOut(Box<SelectPlan>, crate::format::copy::CopyOptions),
    /// EXPLAIN: its lines.
    Explain(Vec<String>),
    /// Nothing to plan: the session or the catalog does it.
    Utility(Arc<Statement>),
}

impl Plan {
    /// Plans a statement.
    ///
    /// # Errors
    /// Whatever is wrong with its names, types and clauses, with positions.
    pub fn new(
        parsed: &Parsed,
        catalog: &Arc<Catalog>,
        context: &dyn EvalContext,
        parameters: &[Option<Type>],
    ) -> Result<Plan, Error> {
        let mut binder = Binder::new(catalog, context, &parsed.positions, parameters);
        let body = match &*parsed.statement {
            Statement::Query(query) => match recorded::without_expanded_keys(query) {
                Some(query) => Body::Select(binder.query(&query)?),
                None => Body::Select(binder.query(query)?),
            },
            Statement::Insert(insert) => Body::Insert(Box::new(binder.insert(insert)?)),
            Statement::Update(update) => Body::Change(Box::new(binder.update(update)?)),
            Statement::Delete(delete) => Body::Change(Box::new(binder.delete(delete)?)),
            Statement::Copy(copy) => copy_plan(&mut binder, copy)?,
            Statement::Explain(explain) => {
                let inner = Parsed { statement: explain.statement.clone(), positions: parsed.positions.clone() };
                let plan = Plan::new(&inner, catalog, context, parameters)?;
                binder.parameters = plan.parameters.iter().cloned().map(Some).collect();
                binder.tables.clone_from(&plan.tables);
                Body::Explain(explain::lines(&plan, explain.verbose))
            }
            _ => Body::Utility(parsed.statement.clone()),
        };
        let columns = match &body {
            Body::Select(select) => Some(select.columns.clone()),
            Body::Insert(insert) => insert.returning.as_ref().map(|returning| returning.columns.clone()),
            Body::Change(change) => change.returning.as_ref().map(|returning| returning.columns.clone()),
            Body::Explain(_) => Some(Arc::from([Column::plain("QUERY PLAN", Type::Text)])),
            Body::CopyIn(_) | Body::CopyOut(..) => None,
            Body::Utility(statement) => utility_columns(statement),
        };
        Ok(Plan {
            body,
            parameters: binder.parameter_types()?,
            columns,
            prerequisites: std::mem::take(&mut binder.prerequisites),
            tables: std::mem::take(&mut binder.tables),
            stamp: catalog.stamp(),
            shows_catalog: binder.shows_catalog,
        })
    }

    /// Whether the plan holds under `catalog`: all tables it used are there unchanged.
    pub fn fits(&self, catalog: &Catalog) -> bool {
        self.stamp == catalog.stamp()
            || (!self.uses_catalog()
                && self.tables.iter().all(|used| catalog.table_by_id(used.id).is_some_and(|table| **table == **used)))
    }

    /// Whether the plan depends on the catalog as a whole.
    fn uses_catalog(&self) -> bool {
        matches!(self.body, Body::Utility(_))
    }
}

/// The columns of SHOW, which is the only utility that answers with rows. EXECUTE is replaced before it gets here.
fn utility_columns(statement: &Statement) -> Option<Arc<[Column]>> {
    match statement {
        Statement::Show(Some(name)) => {
            Some(Arc::from([Column::plain(crate::settings::display_name(name), Type::Text)]))
        }
        Statement::Show(None) => {
            let names = ["name", "setting", "description"];
            Some(names.iter().map(|name| Column::plain(*name, Type::Text)).collect())
        }
        _ => None,
    }
}

fn copy_plan(binder: &mut Binder<'_>, copy: &Copy) -> Result<Body, Error> {
    match (&copy.relation, copy.from) {
        (CopyRelation::Table { name, columns }, true) => {
            Ok(Body::CopyIn(Box::new(binder.copy_in(name, columns, &copy.options)?)))
        }
        (CopyRelation::Table { name, columns }, false) => {
            Ok(Body::CopyOut(Box::new(binder.copy_table(name, columns)?), copy.options.clone()))
        }
        (CopyRelation::Query(query), _) => Ok(Body::CopyOut(Box::new(binder.query(query)?), copy.options.clone())),
    }
}
