//! Queries beyond one relation, as a tree of relational operators: joins, grouping sets, windows, set operations, recursion, and subqueries that
//! refer to the query around them.
//!
//! The leaves are plans of one relation ([`Node::Rows`]), which this crate runs itself; everything above them is run by the engine that implements
//! [`crate::exec::relational::Engine`]. Rows of a node are its input's columns by position; a join's are the left side's, then the right side's.
//!
//! A subquery inside an expression sees the row that the expression is evaluated for as its outer row: [`Expr::Outer`] with `levels` 1 names a column
//! of it. So whatever renumbers an expression's columns has to renumber those in its subqueries too, which [`Expr::map_columns`] does.

use std::sync::Arc;

use super::expression::Expr;
use super::level::{AggregateCall, WindowCall};
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
    /// Pairs of each row of the left side with the rows that the right side has for it: LATERAL. The right side sees the left side's row as its
    /// outer row.
    Lateral {
        /// Each of its rows is the outer row of the right side.
        left: Box<Node>,
        /// Worked out for each row of the left side.
        right: Box<Node>,
        /// Inner or left.
        kind: JoinKind,
        /// AND of all, over the columns of both sides.
        on: Vec<Expr>,
    },
    /// Set-returning functions: each row as often as the longest array has elements. Its rows: the input's columns, then an element (or NULL
    /// behind the end) of each array.
    Expand {
        /// Of these.
        input: Box<Node>,
        /// The arrays, each with the type of its elements.
        arrays: Vec<(Expr, Type)>,
    },
    /// GROUP BY and aggregates. Its rows: keys, aggregates, results of GROUPING.
    Group {
        /// Of these.
        input: Box<Node>,
        /// All keys of all sets.
        keys: Vec<(Expr, Type)>,
        /// GROUPING SETS, each by the places of its keys; the others are NULL in its rows. `None` for plain GROUP BY.
        sets: Option<Vec<Vec<usize>>>,
        /// The aggregates.
        aggregates: Vec<AggregateCall>,
        /// Calls of GROUPING, each with the places of its keys; only with sets.
        groupings: Vec<Vec<usize>>,
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
    /// Whether a row of values is among them, a value a column. Three-valued, as IN is.
    In(Vec<Member>),
    /// All rows as an array of this element type.
    Array(Type),
}

/// One value of what IN looks for, and how it is compared with its column.
#[derive(Clone, Debug)]
pub struct Member {
    /// What is looked for, of the operator's left type.
    pub operand: Expr,
    /// The equality; its right type is that of `cast`'s result, or of the column.
    pub equal: BinaryFn,
    /// Applied to the column first.
    pub cast: Option<Cast>,
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
            Node::Join { left, right, .. } | Node::Lateral { left, right, .. } => {
                let mut types = left.types();
                types.extend(right.types());
                types
            }
            Node::Expand { input, arrays } => {
                let mut types = input.types();
                types.extend(arrays.iter().map(|(_, element)| element.clone()));
                types
            }
            Node::Group { keys, aggregates, groupings, .. } => {
                let mut types: Vec<Type> = keys.iter().map(|(_, ty)| ty.clone()).collect();
                types.extend(aggregates.iter().map(|call| call.function.result.clone()));
                types.extend(groupings.iter().map(|_| Type::Int32));
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
            | Node::Expand { input, .. }
            | Node::Group { input, .. }
            | Node::Window { input, .. }
            | Node::Distinct { input, .. }
            | Node::Sort { input, .. }
            | Node::Limit { input, .. } => vec![input],
            Node::Join { left, right, .. } | Node::Lateral { left, right, .. } | Node::Set { left, right, .. } => {
                vec![left, right]
            }
            Node::Recursive { first, step, .. } => vec![first, step],
        }
    }

    /// Its inputs.
    pub(super) fn inputs_mut(&mut self) -> Vec<&mut Node> {
        match self {
            Node::Rows(_) | Node::Work { .. } => Vec::new(),
            Node::Filter { input, .. }
            | Node::Project { input, .. }
            | Node::Expand { input, .. }
            | Node::Group { input, .. }
            | Node::Window { input, .. }
            | Node::Distinct { input, .. }
            | Node::Sort { input, .. }
            | Node::Limit { input, .. } => vec![input],
            Node::Join { left, right, .. } | Node::Lateral { left, right, .. } | Node::Set { left, right, .. } => {
                vec![left, right]
            }
            Node::Recursive { first, step, .. } => vec![first, step],
        }
    }

    /// The expressions of the operator itself.
    pub(super) fn own_expressions(&self) -> Vec<&Expr> {
        match self {
            Node::Rows(_)
            | Node::Distinct { .. }
            | Node::Sort { .. }
            | Node::Set { .. }
            | Node::Recursive { .. }
            | Node::Work { .. } => Vec::new(),
            Node::Filter { conditions, .. } => conditions.iter().collect(),
            Node::Project { output, .. } | Node::Expand { arrays: output, .. } => {
                output.iter().map(|(expr, _)| expr).collect()
            }
            Node::Join { on, .. } | Node::Lateral { on, .. } => on.iter().collect(),
            Node::Group { keys, aggregates, .. } => {
                keys.iter().map(|(expr, _)| expr).chain(aggregates.iter().flat_map(AggregateCall::parts)).collect()
            }
            Node::Window { calls, .. } => calls.iter().flat_map(WindowCall::parts).collect(),
            Node::Limit { limit, offset, .. } => limit.iter().chain(offset).collect(),
        }
    }
}

impl Subquery {
    /// For IN in a condition, where NULL is as good as false: whether there is a row that equals what is looked for. `None` for other
    /// kinds, and when subqueries are looked for.
    pub fn as_exists(&self) -> Option<Subquery> {
        let SubqueryKind::In(members) = &self.kind else { return None };
        let condition = |(place, member): (usize, &Member)| {
            let mut operand = member.operand.clone();
            if operand.has_subquery() {
                return None;
            }
            operand.push_away(1, 1);
            operand.push_out(1);
            let element = match &member.cast {
                Some(cast) => Expr::Cast(Box::new((cast.clone(), Expr::Column(place)))),
                None => Expr::Column(place),
            };
            Some(Expr::Binary(Box::new((member.equal.clone(), operand, element))))
        };
        let conditions = members.iter().enumerate().map(condition).collect::<Option<_>>()?;
        let plan = Node::Filter { input: Box::new(self.plan.clone()), conditions };
        Some(Subquery { kind: SubqueryKind::Exists, plan, ty: Type::Bool })
    }
}

impl SubqueryKind {
    /// What IN looks for; nothing for the other kinds.
    pub fn members(&self) -> &[Member] {
        match self {
            SubqueryKind::In(members) => members,
            _ => &[],
        }
    }

    /// What IN looks for; nothing for the other kinds.
    pub fn members_mut(&mut self) -> &mut [Member] {
        match self {
            SubqueryKind::In(members) => members,
            _ => &mut [],
        }
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
            hidden: Vec::new(),
            limit: None,
            offset: None,
        }
    }
}

impl AggregateCall {
    /// Whether only the relational engine can work it out.
    pub(super) fn is_relational(&self) -> bool {
        self.parts().any(Expr::is_relational)
    }

    /// Its expressions.
    pub fn parts(&self) -> impl Iterator<Item = &Expr> {
        self.arguments.iter().chain(&self.filter).chain(self.order_by.iter().map(|(expr, ..)| expr))
    }

    /// Calls `change` for its expressions.
    pub fn expressions(&mut self, change: &mut dyn FnMut(&mut Expr)) {
        self.arguments.iter_mut().for_each(&mut *change);
        self.filter.iter_mut().for_each(&mut *change);
        self.order_by.iter_mut().for_each(|(expr, ..)| change(expr));
    }
}

impl WindowCall {
    /// Its expressions.
    pub fn parts(&self) -> impl Iterator<Item = &Expr> {
        let by = self.partition_by.iter().map(|(expr, _)| expr).chain(self.order_by.iter().map(|(expr, ..)| expr));
        self.arguments.iter().chain(&self.filter).chain(by)
    }

    /// Calls `change` for its expressions.
    pub fn expressions(&mut self, change: &mut dyn FnMut(&mut Expr)) {
        self.arguments.iter_mut().for_each(&mut *change);
        self.filter.iter_mut().for_each(&mut *change);
        self.partition_by.iter_mut().for_each(|(expr, _)| change(expr));
        self.order_by.iter_mut().for_each(|(expr, ..)| change(expr));
    }
}
