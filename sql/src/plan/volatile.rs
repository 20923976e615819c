//! Relations whose rows may be different each time they are read, as those with `random()` in them.
//!
//! SQL has such a relation read once: all that names it sees the same rows. Here a query of WITH is put in wherever it is named, and the engine
//! reads a relation a second time to find out for which of its rows a subquery has to be worked out. So where it would be read again, it is worked
//! out before the first row of the statement and kept in memory.

use super::binder::{Binder, Prerequisite};
use super::expression::Expr;
use super::joins::rows;
use super::relational::Node;
use super::select::{SelectPlan, Source};
use crate::error::Error;
use crate::session::Column;

impl SelectPlan {
    /// Whether its rows may be different each time.
    pub(super) fn is_volatile(&self) -> bool {
        let source = match &self.source {
            Source::OneRow | Source::Table(_) | Source::Virtual(..) | Source::Kept(_) => false,
            Source::Values(rows) => rows.iter().flatten().any(Expr::is_volatile),
            Source::Series(series) => [&series.start, &series.stop, &series.step].iter().any(|expr| expr.is_volatile()),
            Source::Unnest(array) => array.is_volatile(),
            Source::Subquery(plan, _) => plan.is_volatile(),
            Source::Relational(node) => return node.is_volatile(),
        };
        let grouped = self.grouping.as_ref().is_some_and(|grouping| {
            let arguments = grouping.aggregates.iter().flat_map(|call| call.parts());
            grouping.keys.iter().chain(arguments).chain(&grouping.having).any(Expr::is_volatile)
        });
        let limits = self.limit.iter().chain(&self.offset);
        source || grouped || self.output.iter().chain(&self.filter).chain(limits).any(Expr::is_volatile)
    }
}

impl Node {
    /// Whether its rows may be different each time.
    fn is_volatile(&self) -> bool {
        let own = match self {
            Node::Rows(plan) => plan.is_volatile(),
            Node::Work { .. } => false,
            _ => self.own_expressions().into_iter().any(is_volatile),
        };
        own || self.inputs().into_iter().any(Node::is_volatile)
    }

    /// Whether it reads the work table of a recursive query that is not part of it.
    fn reads_work(&self) -> bool {
        fn reads(node: &Node, inside: &mut Vec<usize>) -> bool {
            match node {
                Node::Work { id, .. } => !inside.contains(id),
                Node::Recursive { id, .. } => {
                    inside.push(*id);
                    let found = node.inputs().into_iter().any(|input| reads(input, inside));
                    inside.pop();
                    found
                }
                _ => {
                    let subqueries = node.own_expressions().into_iter().any(|expr| {
                        let mut found = false;
                        expr.walk(&mut |part| {
                            if let Expr::Subquery(subquery) = part {
                                found |= reads(&subquery.plan, inside);
                            }
                        });
                        found
                    });
                    subqueries || node.inputs().into_iter().any(|input| reads(input, inside))
                }
            }
        }
        reads(self, &mut Vec::new())
    }

    /// The inputs that the engine reads again for the subqueries in it.
    fn inputs_read_again(&mut self) -> Vec<&mut Node> {
        let again = match self {
            Node::Lateral { right, .. } => right.references().iter().any(|(levels, _)| *levels == 1),
            _ => self.own_expressions().into_iter().any(Expr::has_subquery),
        };
        match self {
            _ if !again => Vec::new(),
            Node::Lateral { left, .. } => vec![left],
            _ => self.inputs_mut(),
        }
    }
}

/// Whether an expression, or a subquery in it, may be different each time.
fn is_volatile(expr: &Expr) -> bool {
    let mut found = expr.is_volatile();
    expr.walk(&mut |part| {
        if let Expr::Subquery(subquery) = part {
            found |= subquery.plan.is_volatile();
        }
    });
    found
}

impl Binder<'_> {
    /// A query whose rows are worked out once and kept, if they may be different each time.
    ///
    /// # Errors
    /// 0A000 if they depend on a row around the query, so that there is no one time to do it.
    pub(super) fn kept(&mut self, plan: SelectPlan) -> Result<SelectPlan, Error> {
        if !plan.is_volatile() {
            return Ok(plan);
        }
        if let Source::Relational(node) = &plan.source
            && (node.refers_outside() || node.reads_work())
        {
            return Err(Error::unsupported(
                "a relation that is read twice, calls a volatile function and depends on rows around it",
                "Call the function, random() for example, further out, or store its results in a table first.",
            ));
        }
        let columns = plan.columns.clone();
        self.prerequisites.push(Prerequisite::Rows(Box::new(plan)));
        let slot = self.prerequisites.len() - 1;
        Ok(SelectPlan {
            output: (0..columns.len()).map(Expr::Column).collect(),
            columns,
            ..rows(Source::Kept(slot), Vec::new(), Vec::new())
        })
    }

    /// Keeps what may be different each time and would be read twice.
    ///
    /// # Errors
    /// As [`Self::kept`].
    pub(super) fn keep_what_is_read_again(&mut self, node: &mut Node) -> Result<(), Error> {
        for input in node.inputs_mut() {
            self.keep_what_is_read_again(input)?;
        }
        for input in node.inputs_read_again() {
            if !input.is_volatile() {
                continue;
            }
            let columns: Vec<Column> = input.types().into_iter().map(|ty| Column::plain("?column?", ty)).collect();
            let plan = match std::mem::replace(input, Node::Work { id: usize::MAX, types: Vec::new() }) {
                Node::Rows(plan) => *plan,
                node => SelectPlan::of_node(node, columns.into()),
            };
            *input = self.kept(plan)?.into_node();
        }
        Ok(())
    }
}
