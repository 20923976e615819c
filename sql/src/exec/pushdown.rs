//! The part of a query that is done where its rows are read: the program for it, and what comes back.

use bytes::Bytes;

use super::Run;
use crate::error::Error;
use crate::plan::access::Access;
use crate::plan::expression::Expr;
use crate::plan::pushdown::{Pushdown, conditions, pushdown};
use crate::plan::select::{SelectPlan, Source};
use crate::program::{self, Parts, Wanted};
use crate::session::Row;

/// What one execution of a query has the replicas do.
pub(super) struct Pushed {
    /// The program.
    pub(super) program: Bytes,
    what: Pushdown,
    keyed: bool,
    width: usize,
}

impl Pushed {
    /// For a query with this LIMIT and OFFSET together; `None` if all of it is done here.
    pub(super) fn new(plan: &SelectPlan, run: &Run, limit: Option<u64>) -> Option<Pushed> {
        let Source::Table(access) = &plan.source else { return None };
        let what = pushdown(plan)?;
        let program = encode(plan, access, &what, run, limit)?;
        Some(Pushed { program, what, keyed: is_keyed(access), width: access.columns.len() })
    }

    /// Whether what comes back are groups.
    pub(super) fn groups(&self) -> bool {
        self.what.groups
    }

    /// The conditions that rows which come back have not met yet.
    pub(super) fn rest<'p>(&self, plan: &'p SelectPlan) -> &'p [Expr] {
        &conditions(&plan.filter)[self.what.conditions..]
    }

    /// The rows that came back, as expressions see them.
    pub(super) fn rows(&self, output: &[u8]) -> Result<Vec<Row>, Error> {
        program::rows(output, self.width, &self.what.places, self.keyed)
    }
}

/// Whether rows may have to be put in order before they are decoded.
fn is_keyed(access: &Access) -> bool {
    access.ordered || access.reverse
}

fn encode(plan: &SelectPlan, access: &Access, what: &Pushdown, run: &Run, limit: Option<u64>) -> Option<Bytes> {
    let all = conditions(&plan.filter);
    let output = match &plan.grouping {
        Some(grouping) if what.groups => Wanted::Groups { keys: &grouping.keys, calls: &grouping.aggregates },
        _ => Wanted::Rows { places: &what.places, keyed: is_keyed(access) },
    };
    // Every row that comes is a row of the answer only if nothing is asked of it any more.
    let limit = limit.filter(|_| plan.streams() && what.conditions == all.len());
    let parts =
        Parts { codec: &access.codec, ordinals: &access.ordinals, filter: &all[..what.conditions], output, limit };
    let scope = run.scope();
    program::encode(&parts, &mut |expr| expr.eval(&scope, &[]).ok())
}
