//! Plans of queries over one table, a function, VALUES, a subquery, or nothing.
//!
//! The stages are always the same: source → filter → grouping → output → DISTINCT → ORDER BY → LIMIT; those that a query does not
//! have cost nothing. ORDER BY keys that are no output columns follow the visible ones in the output and are cut off at the end.

use std::sync::Arc;

use sqlparser::ast::{self, SetExpr};

use super::access::{Access, choose_access, conjuncts};
use super::binder::{Binder, Typed};
use super::expression::Expr;
use super::level::{AggregateCall, Aggregates, Level};
use super::output::{Output, order_expressions};
use super::relational::{Node, SetKind};
use super::series::SeriesPlan;
use super::stages::Stages;
use crate::cast::CastContext;
use crate::catalog::virtual_tables::VirtualTable;
use crate::error::{Error, SqlState};
use crate::parse::refuse_clauses;
use crate::session::Column;
use crate::types::{Type, common_type};
use crate::value::Value;

/// A query.
#[derive(Clone, Debug)]
pub struct SelectPlan {
    /// Where rows come from.
    pub source: Source,
    /// WHERE, as far as the source does not see to it.
    pub filter: Option<Expr>,
    /// GROUP BY and aggregates.
    pub grouping: Option<Grouping>,
    /// The visible columns, then hidden sort keys.
    pub output: Vec<Expr>,
    /// The visible columns.
    pub columns: Arc<[Column]>,
    /// The types of the hidden sort keys.
    pub hidden: Vec<Type>,
    /// Equal rows are given once.
    pub distinct: bool,
    /// What is left to sort; empty if the source gives the order.
    pub order_by: Vec<SortKey>,
    /// LIMIT.
    pub limit: Option<Expr>,
    /// OFFSET.
    pub offset: Option<Expr>,
}

/// Where rows come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// One row without columns.
    OneRow,
    /// VALUES.
    Values(Vec<Vec<Expr>>),
    /// generate_series().
    Series(Box<SeriesPlan>),
    /// unnest(array).
    Unnest(Box<Expr>),
    /// A stored table.
    Table(Box<Access>),
    /// Rows that were worked out before the first row, from the slot with this number.
    Kept(usize),
    /// A table of the system, with the columns wanted.
    Virtual(VirtualTable, Vec<usize>),
    /// A subquery, with the columns wanted.
    Subquery(Box<SelectPlan>, Vec<usize>),
    /// Several relations, or what else is more than the stages can do. The other parts of the plan do nothing then.
    Relational(Box<Node>),
}

/// GROUP BY and aggregates. The rows after it hold the keys, then the aggregates' results.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// GROUP BY.
    pub keys: Vec<Expr>,
    /// The keys' types.
    pub types: Vec<Type>,
    /// GROUPING SETS: the places of each set's keys.
    pub sets: Option<Vec<Vec<usize>>>,
    /// The aggregates.
    pub aggregates: Vec<AggregateCall>,
    /// Calls of GROUPING, each with the places of its keys.
    pub groupings: Vec<Vec<usize>>,
    /// HAVING, over the grouped rows.
    pub having: Option<Expr>,
}

/// One key of ORDER BY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// The place in the output.
    pub place: usize,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST.
    pub nulls_first: bool,
}

impl SelectPlan {
    /// A query that gives no rows, whatever its expressions are: they need not be worked out, nor be of a kind that can be.
    fn without_rows(columns: Arc<[Column]>) -> SelectPlan {
        SelectPlan {
            source: Source::Values(Vec::new()),
            filter: None,
            grouping: None,
            output: columns.iter().map(|_| Expr::Constant(Value::Null)).collect(),
            columns,
            distinct: false,
            order_by: Vec::new(),
            hidden: Vec::new(),
            limit: None,
            offset: None,
        }
    }

    /// Whether it locks rows.
    pub fn locks(&self) -> bool {
        matches!(&self.source, Source::Table(access) if access.lock)
    }

    /// Whether rows come out as the source gives them: no sorting, grouping or DISTINCT, which hold rows back.
    pub fn streams(&self) -> bool {
        self.grouping.is_none() && !self.distinct && self.order_by.is_empty()
    }
}

impl Column {
    /// A column that is not one of a table.
    pub fn plain(name: impl Into<String>, ty: Type) -> Column {
        let type_modifier = ty.modifier();
        Column { name: name.into(), ty, type_modifier, table_oid: 0, column_no: 0 }
    }
}

impl Binder<'_> {
    /// Plans a query at the present level.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn query(&mut self, query: &ast::Query) -> Result<SelectPlan, Error> {
        refuse_clauses(query)?;
        let visible = self.with.len();
        if let Some(with) = &query.with {
            self.bind_with(with, query)?;
        }
        let plan = self.query_body(query);
        self.with.truncate(visible);
        plan
    }

    fn query_body(&mut self, query: &ast::Query) -> Result<SelectPlan, Error> {
        match &*query.body {
            SetExpr::Select(select) => self.select(query, select),
            SetExpr::Values(values) => self.values(query, values),
            SetExpr::Query(inner) => {
                if query.order_by.is_none()
                    && query.limit_clause.is_none()
                    && query.fetch.is_none()
                    && query.locks.is_empty()
                {
                    return self.query(inner);
                }
                let plan = self.query(inner)?;
                self.over_subquery(query, plan)
            }
            SetExpr::Table(table) => {
                let name = table.table_name.clone().unwrap_or_default();
                let ident = |text: &String| ast::ObjectNamePart::Identifier(ast::Ident::new(text));
                let parts = table.schema_name.iter().chain([&name]).map(ident).collect();
                let plan = self.whole_table(&ast::ObjectName(parts))?;
                self.over_subquery(query, plan)
            }
            SetExpr::SetOperation { .. } => {
                let plan = self.set_operation(&query.body)?;
                self.over_subquery(query, plan)
            }
            _ => Err(Error::internal("a refused query was planned")),
        }
    }

    /// An arm of a set operation.
    pub(super) fn arm(&mut self, body: &SetExpr) -> Result<SelectPlan, Error> {
        self.untyped.clear();
        match body {
            SetExpr::SetOperation { .. } => self.deeper(|binder| binder.set_operation(body)),
            SetExpr::Query(inner) => self.query(inner),
            other => {
                let query = bare_query(other.clone());
                refuse_clauses(&query)?;
                self.query_body(&query)
            }
        }
    }

    fn select(&mut self, query: &ast::Query, select: &ast::Select) -> Result<SelectPlan, Error> {
        self.level = Level::new(None, "this clause");
        let (mut sources, tree) = self.bind_from(&select.from)?;
        self.level.void = tree.as_ref().is_some_and(|tree| tree.is_void(&sources));
        let filter = match &select.selection {
            Some(selection) => Some(self.bind_condition(selection, "WHERE")?),
            None => None,
        };
        let mut filter = conjuncts(filter);

        // Output, then GROUP BY, HAVING and ORDER BY, which may refer to it.
        self.level.allow_aggregates = Aggregates::Allowed;
        self.level.allow_windows = true;
        self.level.allow_sets = true;
        self.level.named_windows = select.named_window.clone();
        let mut output = Output::default();
        for item in &select.projection {
            self.select_item(item, &mut output)?;
        }
        self.level.allow_windows = false;
        self.level.allow_sets = false;
        let visible = output.columns.len();
        let mut having = match &select.having {
            Some(having) => {
                let typed = self.expression(having)?;
                Some(self.condition(typed, "HAVING").map_err(|error| self.locate(error, having))?)
            }
            None => None,
        };
        self.level.allow_windows = true;
        self.level.allow_sets = true;
        let on = match &select.distinct {
            Some(ast::Distinct::On(exprs)) => Some(self.distinct_on(exprs, &mut output)?),
            _ => None,
        };
        let order_by = self.order_items(query, &mut output)?;
        self.level.allow_windows = false;
        self.level.allow_sets = false;
        if let Some(on) = &on {
            let mut left: Vec<usize> = on.clone();
            for key in &order_by {
                if left.is_empty() {
                    break;
                }
                if !on.contains(&key.place) {
                    let message = "SELECT DISTINCT ON expressions must match initial ORDER BY expressions";
                    return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message));
                }
                left.retain(|place| *place != key.place);
            }
        }
        let distinct = matches!(select.distinct, Some(ast::Distinct::Distinct));
        if distinct && output.exprs.len() > visible {
            let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
            return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message));
        }
        let keys = self.group_keys(select, &output)?;
        self.level.allow_aggregates = Aggregates::NotIn("LIMIT");
        let (limit, offset) = self.limit(query)?;
        let condensed = keys.is_some() || !self.level.aggregates.is_empty() || distinct || on.is_some();
        let lock = self.locks(query, &sources, condensed)?;

        let mut windows = std::mem::take(&mut self.level.windows);
        let mut sets = std::mem::take(&mut self.level.sets);
        let grouping = self.grouping(keys, &mut having, &mut output, &mut windows, &mut sets)?;
        let grouped_relationally = grouping.as_ref().is_some_and(|grouping| {
            grouping.sets.is_some()
                || grouping.keys.iter().any(Expr::is_relational)
                || grouping.aggregates.iter().any(AggregateCall::is_relational)
        });
        let relational = sources.len() > 1
            || matches!(sources.first(), Some(Source::Relational(_)))
            || !windows.is_empty()
            || !sets.is_empty()
            || on.is_some()
            || grouped_relationally
            || filter.iter().chain(&having).chain(&output.exprs).any(Expr::is_relational);
        let Output { exprs: mut output, mut types, columns, untyped } = output;
        self.untyped = untyped;
        if self.level.void && grouping.is_none() && !lock {
            return Ok(SelectPlan::without_rows(columns.into()));
        }
        if relational {
            if lock {
                return Err(Error::unsupported("FOR UPDATE here", "Lock rows of one table at a time."));
            }
            let stages = Stages {
                filter,
                grouping,
                windows,
                sets,
                having,
                output,
                types,
                on,
                distinct,
                order_by,
                limit,
                offset,
            };
            let node = self.stages(sources, tree, stages, visible)?;
            return Ok(SelectPlan::of_node(node, columns.into()));
        }
        let mut hidden = types.split_off(visible);
        let used = self.level.used_of(0);
        let mut source = sources.pop().unwrap_or(Source::OneRow);
        let mut order_by = order_by;
        match &mut source {
            Source::Table(access) => {
                **access = choose_access(access.table.clone(), used, &mut filter, lock);
                let plain = grouping.is_none() && !distinct;
                if plain && !lock && access.give_order(&order_by, &output) {
                    order_by.clear();
                    // Keys that were there for sorting alone have no use any more.
                    output.truncate(visible);
                    hidden.clear();
                }
                access.limited = limit.is_some() && plain && order_by.is_empty() && filter.is_empty();
            }
            Source::Virtual(_, wanted) | Source::Subquery(_, wanted) => *wanted = used,
            Source::Values(_)
            | Source::Series(_)
            | Source::Unnest(_)
            | Source::Kept(_)
            | Source::OneRow
            | Source::Relational(_) => {}
        }
        Ok(SelectPlan {
            source,
            filter: conjunction(filter),
            grouping: grouping.map(|grouping| Grouping { having, ..grouping }),
            output,
            columns: columns.into(),
            hidden,
            distinct,
            order_by,
            limit,
            offset,
        })
    }

    fn limit(&mut self, query: &ast::Query) -> Result<(Option<Expr>, Option<Expr>), Error> {
        let (limit, offset) = match &query.limit_clause {
            Some(ast::LimitClause::LimitOffset { limit, offset, .. }) => {
                (limit.as_ref(), offset.as_ref().map(|offset| &offset.value))
            }
            Some(ast::LimitClause::OffsetCommaLimit { .. }) => {
                return Err(Error::syntax("LIMIT #,# syntax is not supported")
                    .with_hint("Use separate LIMIT and OFFSET clauses."));
            }
            None => (None, None),
        };
        let one = ast::Expr::value(ast::Value::Number("1".to_owned(), false));
        let fetch = query.fetch.as_ref().map(|fetch| fetch.quantity.as_ref().unwrap_or(&one));
        let mut count = |expr: Option<&ast::Expr>, clause: &'static str| -> Result<Option<Expr>, Error> {
            let Some(expr) = expr else { return Ok(None) };
            let typed = self.expression(expr)?;
            let bound =
                self.coerce(typed, &Type::Int64, CastContext::Assignment).map_err(|error| self.locate(error, expr))?;
            if bound.uses_columns() {
                let error = Error::new(
                    SqlState::INVALID_COLUMN_REFERENCE,
                    format!("argument of {clause} must not contain variables"),
                );
                return Err(self.locate(error, expr));
            }
            Ok(Some(bound))
        };
        Ok((count(limit.or(fetch), "LIMIT")?, count(offset, "OFFSET")?))
    }

    /// Whether FOR UPDATE or FOR SHARE is there; both lock for writing.
    fn locks(&self, query: &ast::Query, sources: &[Source], condensed: bool) -> Result<bool, Error> {
        let Some(lock) = query.locks.first() else { return Ok(false) };
        let strength = if lock.lock_type == ast::LockType::Update { "FOR UPDATE" } else { "FOR SHARE" };
        match lock.nonblock {
            Some(ast::NonBlock::Nowait) => {
                return Err(Error::unsupported(format_args!("{strength} NOWAIT"), "Set statement_timeout."));
            }
            Some(ast::NonBlock::SkipLocked) => {
                return Err(Error::unsupported(format_args!("{strength} SKIP LOCKED"), ""));
            }
            None => {}
        }
        if condensed {
            let message = format!("{strength} is not allowed with GROUP BY, aggregate functions or DISTINCT");
            return Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message));
        }
        match sources {
            [] | [Source::OneRow | Source::Series(_) | Source::Unnest(_)] => Ok(false),
            [Source::Table(_)] => Ok(true),
            [_, _, ..] => Err(Error::unsupported(
                format_args!("{strength} of several tables"),
                "Lock the rows of each with a statement of its own.",
            )),
            _ => Err(Error::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("{strength} cannot be applied to this source of rows"),
            )),
        }
    }

    fn values(&mut self, query: &ast::Query, values: &ast::Values) -> Result<SelectPlan, Error> {
        self.level = Level::new(None, "VALUES");
        let (rows, types) = self.value_rows(values)?;
        let columns: Vec<Column> =
            (1..).zip(&types).map(|(n, ty)| Column::plain(format!("column{n}"), ty.clone())).collect();
        if rows.iter().flatten().any(Expr::is_relational) {
            let row = |row: Vec<Expr>| Node::Project {
                input: Box::new(Node::Rows(Box::new(super::joins::rows(Source::OneRow, Vec::new(), Vec::new())))),
                output: row.into_iter().zip(types.iter().cloned()).collect(),
            };
            let both = |left, right| Node::Set {
                kind: SetKind::Union,
                all: true,
                left: Box::new(left),
                right: Box::new(right),
            };
            let node = rows.into_iter().map(row).reduce(both).ok_or_else(|| Error::internal("VALUES without rows"))?;
            return self.over_subquery(query, SelectPlan::of_node(node, columns.into()));
        }
        let plan = SelectPlan {
            source: Source::Values(rows),
            filter: None,
            grouping: None,
            output: (0..columns.len()).map(Expr::Column).collect(),
            columns: columns.into(),
            distinct: false,
            order_by: Vec::new(),
            hidden: Vec::new(),
            limit: None,
            offset: None,
        };
        self.over_subquery(query, plan)
    }

    /// The rows of VALUES, each column converted to its common type.
    fn value_rows(&mut self, values: &ast::Values) -> Result<(Vec<Vec<Expr>>, Vec<Type>), Error> {
        let width = values.rows.first().map_or(0, |row| row.content.len());
        let mut bound: Vec<Vec<Typed>> = Vec::with_capacity(values.rows.len());
        for row in &values.rows {
            if row.content.len() != width {
                return Err(Error::syntax("VALUES lists must all be the same length"));
            }
            bound.push(row.content.iter().map(|value| self.expression(value)).collect::<Result<_, _>>()?);
        }
        let mut types = Vec::with_capacity(width);
        for column in 0..width {
            let all: Vec<Type> = bound.iter().map(|row| row[column].ty.clone()).collect();
            types.push(common_type("VALUES", &all)?);
        }
        let mut rows = Vec::with_capacity(bound.len());
        for row in bound {
            let converted = row
                .into_iter()
                .zip(&types)
                .map(|(value, ty)| self.coerce(value, ty, CastContext::Implicit))
                .collect::<Result<_, _>>()?;
            rows.push(converted);
        }
        Ok((rows, types))
    }

    /// Adds the outer ORDER BY and LIMIT to a plan whose output has none of its own in use.
    fn over_subquery(&mut self, query: &ast::Query, inner: SelectPlan) -> Result<SelectPlan, Error> {
        if !query.locks.is_empty() {
            return Err(Error::unsupported("FOR UPDATE here", "Put it into the inner SELECT."));
        }
        let columns = inner.columns.clone();
        let mut keys = Vec::new();
        for key in order_expressions(query)? {
            let descending = key.options.asc == Some(false);
            let nulls_first = key.options.nulls_first.unwrap_or(descending);
            let own: Vec<Expr> = (0..columns.len()).map(Expr::Column).collect();
            let place = self.output_reference(&key.expr, &columns, &own, "ORDER BY")?.ok_or_else(|| {
                let error =
                    Error::new(SqlState::FEATURE_NOT_SUPPORTED, "invalid UNION/INTERSECT/EXCEPT ORDER BY clause");
                error
                    .with_detail("Only result column names can be used, not expressions or functions.")
                    .with_hint("Add the expression/function to every SELECT, or move the UNION into a FROM clause.")
            })?;
            keys.push(SortKey { place, descending, nulls_first });
        }
        let (limit, offset) = self.limit(query)?;
        if let Source::Relational(mut node) = inner.source {
            if !keys.is_empty() {
                *node = Node::Sort { input: node.clone(), keys };
            }
            if limit.is_some() || offset.is_some() {
                *node = Node::Limit { input: node.clone(), limit, offset };
            }
            return Ok(SelectPlan::of_node(*node, columns));
        }
        let mut plan = if inner.limit.is_none()
            && inner.offset.is_none()
            && inner.order_by.is_empty()
            && inner.output.len() == columns.len()
        {
            inner
        } else {
            let wanted: Vec<usize> = (0..columns.len()).collect();
            SelectPlan {
                output: wanted.iter().copied().map(Expr::Column).collect(),
                source: Source::Subquery(Box::new(inner), wanted),
                filter: None,
                grouping: None,
                columns: columns.clone(),
                distinct: false,
                order_by: Vec::new(),
                hidden: Vec::new(),
                limit: None,
                offset: None,
            }
        };
        if !keys.is_empty() {
            plan.order_by = keys;
        }
        (plan.limit, plan.offset) = (limit, offset);
        Ok(plan)
    }
}

/// A query without ORDER BY, LIMIT and the like.
fn bare_query(body: SetExpr) -> ast::Query {
    ast::Query {
        with: None,
        body: Box::new(body),
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators: Vec::new(),
    }
}

/// AND of what is left.
pub(super) fn conjunction(mut parts: Vec<Expr>) -> Option<Expr> {
    match parts.len() {
        0 => None,
        1 => parts.pop(),
        _ => Some(Expr::And(parts)),
    }
}

/// Whether two expressions are the same, to the last constant.
pub(super) fn same(a: &Expr, b: &Expr) -> bool {
    // Only used while planning; the debug form names everything that matters.
    match (a, b) {
        (Expr::Column(a), Expr::Column(b)) => a == b,
        _ => std::mem::discriminant(a) == std::mem::discriminant(b) && format!("{a:?}") == format!("{b:?}"),
    }
}

/// NULL, typed by whoever takes it.
pub(super) fn null() -> Expr {
    Expr::Constant(Value::Null)
}
