//! Queries beyond one relation, as a tree of relational operators: joins, grouping sets, windows, set operations, recursion, and subqueries that
//! refer to the query around them.
//!
//! The leaves are plans of one relation ([`Node::Rows`]), which this crate runs itself; everything above them is run by the engine that implements
//! [`crate::exec::relational::Engine`]. Rows of a node are its input's columns by position; a join's are the left side's, then the right side's.
//!
//! A subquery inside an expression sees the row that the expression is evaluated for as its outer row: [`Expr::Outer`] with `levels` 1 names a column
//! of it. So whatever renumbers an expression's columns has to renumber those in its subqueries too, which [`Expr::map_columns`] does.

use std::sync::Arc;

use super::binder::{AggregateCall, WindowCall};
use super::expression::Expr;
use super::select::{SelectPlan, SortKey, Source};
use crate::cast::Cast;
use crate::functions::{AggregateSig, BinaryFn};
use crate::session::Column;
use crate::types::Type;

/// An operator with its inputs.
#[derive(Clone, Debug)]
pub enum Node {
    /// The rows of one relation, found and filtered by a compiled plan.
    Rows(Box<SelectPlan>),
    /// Rows for which a condition holds.
    Filter {
        /// Of these.
        input: Box<Node>,
        /// AND of all.
        conditions: Vec<Expr>,
    },
    /// Other columns.
    Project {
        /// Worked out from these.
        input: Box<Node>,
        /// Each column with its type.
        output: Vec<(Expr, Type)>,
    },
    /// Pairs of rows.
    Join {
        /// Outer joins keep its rows (LEFT, FULL).
        left: Box<Node>,
        /// Outer joins keep its rows (RIGHT, FULL).
        right: Box<Node>,
        /// Which rows without a partner are kept.
        kind: JoinKind,
        /// AND of all, over the columns of both sides; none for CROSS JOIN.
        on: Vec<Expr>,
    },
    /// GROUP BY and aggregates. Its rows: keys, aggregates.
    Group {
        /// Of these.
        input: Box<Node>,
        /// All keys of all sets.
        keys: Vec<(Expr, Type)>,
        /// GROUPING SETS, each by the places of its keys; the others are NULL in its rows. `None` for plain GROUP BY.
        sets: Option<Vec<Vec<usize>>>,
        /// The aggregates.
        aggregates: Vec<AggregateCall>,
    },
    /// Window functions. Its rows: the input's columns, then one a call.
    Window {
        /// Over these.
        input: Box<Node>,
        /// The calls.
        calls: Vec<WindowCall>,
    },
    /// Equal rows once; or the first of those whose first `on` columns are equal, in the order given.
    Distinct {
        /// Of these.
        input: Box<Node>,
        /// DISTINCT ON: how many columns at the beginning count; they are cut off.
        on: Option<(usize, Vec<SortKey>)>,
    },
    /// ORDER BY.
    Sort {
        /// Of these.
        input: Box<Node>,
        /// By these columns.
        keys: Vec<SortKey>,
    },
    /// LIMIT and OFFSET; without row and column references.
    Limit {
        /// Of these.
        input: Box<Node>,
        /// LIMIT.
        limit: Option<Expr>,
        /// OFFSET.
        offset: Option<Expr>,
    },
    /// UNION, INTERSECT, EXCEPT of inputs with the same types.
    Set {
        /// Which.
        kind: SetKind,
        /// ALL: equal rows count as often as they come.
        all: bool,
        /// The first input.
        left: Box<Node>,
        /// The second.
        right: Box<Node>,
    },
    /// WITH RECURSIVE: the first rows, then those that the step makes of each round's new rows, until there are none.
    Recursive {
        /// Names the work table.
        id: usize,
        /// The first rows.
        first: Box<Node>,
        /// Makes more of the [`Node::Work`] with the same id.
        step: Box<Node>,
        /// UNION ALL: rows that were there before count again.
        all: bool,
    },
    /// The last round's new rows of a [`Node::Recursive`].
    Work {
        /// Whose.
        id: usize,
        /// Its columns.
        types: Vec<Type>,
    },
}

/// Which rows without a partner a join keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// None.
    Inner,
    /// The left side's.
    Left,
    /// The right side's.
    Right,
    /// Both sides'.
    Full,
}

/// A set operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// UNION
    Union,
    /// INTERSECT
    Intersect,
    /// EXCEPT
    Except,
}

/// A subquery in an expression that refers to the row at hand.
#[derive(Clone, Debug)]
pub struct Subquery {
    /// What is made of its rows.
    pub kind: SubqueryKind,
    /// The query.
    pub plan: Node,
    /// The type of its column; boolean for all but scalar ones.
    pub ty: Type,
}

/// What is made of a subquery's rows.
#[derive(Clone, Debug)]
pub enum SubqueryKind {
    /// The one value of the one row; NULL without a row, 21000 with several.
    Scalar,
    /// Whether there are any.
    Exists,
    /// Whether a value is among them. Three-valued, as IN is.
    In {
        /// What is looked for, of the operator's left type.
        operand: Box<Expr>,
        /// The equality; its right type is that of `cast`'s result, or of the column.
        equal: BinaryFn,
        /// Applied to the column first.
        cast: Option<Cast>,
    },
    /// All rows as an array of this element type.
    Array(Type),
}

/// What a window function works out.
#[derive(Clone, Debug)]
pub enum WindowFunction {
    /// An aggregate over the frame.
    Aggregate(AggregateSig),
    /// row_number()
    RowNumber,
    /// rank()
    Rank,
    /// dense_rank()
    DenseRank,
    /// percent_rank()
    PercentRank,
    /// cume_dist()
    CumeDist,
    /// ntile(n)
    Ntile,
    /// lag(value, offset, default)
    Lag,
    /// lead(value, offset, default)
    Lead,
    /// first_value(value)
    FirstValue,
    /// last_value(value)
    LastValue,
    /// nth_value(value, n)
    NthValue,
}

/// The rows of a partition that count for one of them.
#[derive(Clone, Debug)]
pub struct Frame {
    /// What the bounds count.
    pub unit: FrameUnit,
    /// The first row.
    pub start: FrameBound,
    /// The last row.
    pub end: FrameBound,
}

/// What the bounds of a frame count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameUnit {
    /// Rows.
    Rows,
    /// Values of the ORDER BY column.
    Range,
    /// Groups of rows that are equal in ORDER BY.
    Groups,
}

/// A bound of a frame.
#[derive(Clone, Debug)]
pub enum FrameBound {
    /// UNBOUNDED PRECEDING
    Start,
    /// n PRECEDING; without references to columns.
    Preceding(Expr),
    /// CURRENT ROW
    Current,
    /// n FOLLOWING; without references to columns.
    Following(Expr),
    /// UNBOUNDED FOLLOWING
    End,
}

impl Node {
    /// The types of its columns.
    pub fn types(&self) -> Vec<Type> {
        match self {
            Node::Rows(plan) => plan.columns.iter().map(|column| column.ty.clone()).collect(),
            Node::Filter { input, .. }
            | Node::Distinct { input, on: None }
            | Node::Sort { input, .. }
            | Node::Limit { input, .. } => input.types(),
            Node::Distinct { input, on: Some((on, _)) } => input.types().split_off(*on),
            Node::Project { output, .. } => output.iter().map(|(_, ty)| ty.clone()).collect(),
            Node::Join { left, right, .. } => {
                let mut types = left.types();
                types.extend(right.types());
                types
            }
            Node::Group { keys, aggregates, .. } => {
                let mut types: Vec<Type> = keys.iter().map(|(_, ty)| ty.clone()).collect();
                types.extend(aggregates.iter().map(|call| call.function.result.clone()));
                types
            }
            Node::Window { input, calls } => {
                let mut types = input.types();
                types.extend(calls.iter().map(|call| call.ty.clone()));
                types
            }
            Node::Set { left, .. } => left.types(),
            Node::Recursive { first, .. } => first.types(),
            Node::Work { types, .. } => types.clone(),
        }
    }

    /// Its inputs.
    pub fn inputs(&self) -> Vec<&Node> {
        match self {
            Node::Rows(_) | Node::Work { .. } => Vec::new(),
            Node::Filter { input, .. }
            | Node::Project { input, .. }
            | Node::Group { input, .. }
            | Node::Window { input, .. }
            | Node::Distinct { input, .. }
            | Node::Sort { input, .. }
            | Node::Limit { input, .. } => vec![input],
            Node::Join { left, right, .. } | Node::Set { left, right, .. } => vec![left, right],
            Node::Recursive { first, step, .. } => vec![first, step],
        }
    }

    /// Calls `change` for every expression of the tree, those of compiled plans and of subqueries within expressions left out.
    fn expressions(&mut self, change: &mut dyn FnMut(&mut Expr)) {
        match self {
            Node::Rows(_) | Node::Work { .. } => {}
            Node::Filter { input, conditions } => {
                input.expressions(change);
                conditions.iter_mut().for_each(change);
            }
            Node::Project { input, output } => {
                input.expressions(change);
                output.iter_mut().for_each(|(expr, _)| change(expr));
            }
            Node::Join { left, right, on, .. } => {
                left.expressions(change);
                right.expressions(change);
                on.iter_mut().for_each(change);
            }
            Node::Group { input, keys, aggregates, .. } => {
                input.expressions(change);
                keys.iter_mut().for_each(|(expr, _)| change(expr));
                aggregates.iter_mut().for_each(|call| call.expressions(change));
            }
            Node::Window { input, calls } => {
                input.expressions(change);
                calls.iter_mut().for_each(|call| call.expressions(change));
            }
            Node::Distinct { input, .. } | Node::Sort { input, .. } => input.expressions(change),
            Node::Limit { input, limit, offset } => {
                input.expressions(change);
                limit.iter_mut().chain(offset).for_each(change);
            }
            Node::Set { left, right, .. } => {
                left.expressions(change);
                right.expressions(change);
            }
            Node::Recursive { first, step, .. } => {
                first.expressions(change);
                step.expressions(change);
            }
        }
    }

    /// Renumbers references to the columns of the row `levels` further out.
    pub(super) fn map_outer(&mut self, levels: usize, place: &mut dyn FnMut(usize) -> usize) {
        self.expressions(&mut |expr| expr.map_at(levels, place));
    }

    /// Takes out of a plain query the conditions that are about the row around it only, as conditions on that row: without them the engine
    /// can turn the query into a join.
    pub(super) fn take_guards(&mut self) -> Vec<Expr> {
        let Node::Project { input, .. } = self else { return Vec::new() };
        let Node::Filter { conditions, .. } = &mut **input else { return Vec::new() };
        let is_guard = |condition: &Expr| {
            condition.refers_out()
                && condition.columns().is_empty()
                && !condition.has_subquery()
                && !condition.is_volatile()
        };
        let (mut guards, rest): (Vec<Expr>, Vec<Expr>) = std::mem::take(conditions).into_iter().partition(is_guard);
        *conditions = rest;
        for guard in &mut guards {
            guard.rewrite(&mut |part| match part {
                Expr::Outer { levels: 1, place } => Some(Expr::Column(*place)),
                Expr::Outer { levels, place } => Some(Expr::Outer { levels: levels - 1, place: *place }),
                _ => None,
            });
        }
        guards
    }

    /// Whether it refers to rows further out than the one around it, counted from `levels`.
    pub fn refers_outside(&self) -> bool {
        self.refers_beyond(1)
    }

    fn refers_beyond(&self, levels: usize) -> bool {
        let mut copy = self.clone();
        let mut found = false;
        copy.expressions(&mut |expr| found |= expr.refers_beyond(levels));
        found
    }
}

impl SelectPlan {
    /// The query as a tree, if it refers to rows around it; else as it was, in a box.
    pub(super) fn correlated(self) -> Result<Node, Box<SelectPlan>> {
        match self.source {
            Source::Relational(node) if node.refers_outside() => Ok(*node),
            source => Err(Box::new(SelectPlan { source, ..self })),
        }
    }

    /// The query as a tree.
    pub(super) fn into_node(self) -> Node {
        match self.source {
            // Nothing stands above a tree.
            Source::Relational(node) => *node,
            source => Node::Rows(Box::new(SelectPlan { source, ..self })),
        }
    }

    /// The query as a relation of FROM.
    pub(super) fn into_source(self) -> Source {
        match self.source {
            Source::Relational(node) => Source::Relational(node),
            source => Source::Subquery(Box::new(SelectPlan { source, ..self }), Vec::new()),
        }
    }

    /// A tree as a query of its own.
    pub(super) fn of_node(node: Node, columns: Arc<[Column]>) -> SelectPlan {
        SelectPlan {
            output: (0..columns.len()).map(Expr::Column).collect(),
            source: Source::Relational(Box::new(node)),
            filter: None,
            grouping: None,
            columns,
            distinct: false,
            order_by: Vec::new(),
            limit: None,
            offset: None,
        }
    }
}

impl AggregateCall {
    /// Whether only the relational engine can work it out.
    pub(super) fn is_relational(&self) -> bool {
        let keys = self.order_by.iter().map(|(expr, ..)| expr);
        self.arguments.iter().chain(&self.filter).chain(keys).any(Expr::is_relational)
    }

    /// Calls `change` for its expressions.
    pub fn expressions(&mut self, change: &mut dyn FnMut(&mut Expr)) {
        self.arguments.iter_mut().for_each(&mut *change);
        self.filter.iter_mut().for_each(&mut *change);
        self.order_by.iter_mut().for_each(|(expr, ..)| change(expr));
    }
}

impl WindowCall {
    /// Calls `change` for its expressions.
    pub fn expressions(&mut self, change: &mut dyn FnMut(&mut Expr)) {
        self.arguments.iter_mut().for_each(&mut *change);
        self.filter.iter_mut().for_each(&mut *change);
        self.partition_by.iter_mut().for_each(|(expr, _)| change(expr));
        self.order_by.iter_mut().for_each(|(expr, ..)| change(expr));
    }
}

impl Expr {
    /// Renumbers the columns of the row at hand, those that its subqueries refer to included.
    pub fn map_columns(&mut self, place: &mut dyn FnMut(usize) -> usize) {
        self.map_at(0, place);
    }

    fn map_at(&mut self, levels: usize, place: &mut dyn FnMut(usize) -> usize) {
        self.rewrite(&mut |part| match part {
            Expr::Column(n) if levels == 0 => Some(Expr::Column(place(*n))),
            Expr::Outer { levels: of, place: n } if *of == levels => {
                Some(Expr::Outer { levels: *of, place: place(*n) })
            }
            Expr::Subquery(subquery) => {
                let mut subquery = subquery.clone();
                if let SubqueryKind::In { operand, .. } = &mut subquery.kind {
                    operand.map_at(levels, place);
                }
                subquery.plan.map_outer(levels + 1, place);
                Some(Expr::Subquery(subquery))
            }
            _ => None,
        });
    }

    /// Makes references to the row at hand references to the row `levels` further out.
    pub(super) fn push_out(&mut self, levels: usize) {
        self.rewrite(&mut |part| match part {
            Expr::Column(place) => Some(Expr::Outer { levels, place: *place }),
            _ => None,
        });
    }

    /// The columns of the row at hand that it uses, those that its subqueries refer to included.
    pub fn columns(&self) -> Vec<usize> {
        let mut found = Vec::new();
        self.clone().map_columns(&mut |place| {
            if !found.contains(&place) {
                found.push(place);
            }
            place
        });
        found
    }

    /// Whether it holds a subquery that is worked out row by row.
    pub fn has_subquery(&self) -> bool {
        let mut found = false;
        self.walk(&mut |part| found |= matches!(part, Expr::Subquery(_)));
        found
    }

    /// Whether it refers to rows around the query that it stands in.
    pub fn refers_out(&self) -> bool {
        self.refers_beyond(1)
    }

    /// Whether only the relational engine can work it out.
    pub fn is_relational(&self) -> bool {
        self.has_subquery() || self.refers_out()
    }

    /// Whether it refers to a row at least `levels` further out (1: the one around it).
    fn refers_beyond(&self, levels: usize) -> bool {
        let mut found = false;
        self.walk(&mut |part| match part {
            Expr::Outer { levels: of, .. } => found |= *of >= levels,
            Expr::Subquery(subquery) => found |= subquery.plan.refers_beyond(levels + 1),
            _ => {}
        });
        found
    }
}
