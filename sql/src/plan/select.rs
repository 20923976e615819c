//! Plans of queries over one table, a function, VALUES, a subquery, or nothing.
//!
//! The stages are always the same: source → filter → grouping → output → DISTINCT → ORDER BY → LIMIT; those that a query does not
//! have cost nothing. ORDER BY keys that are no output columns follow the visible ones in the output and are cut off at the end.

use std::sync::Arc;

use sqlparser::ast::{self, SelectItem, SetExpr};

use super::access::{Access, choose_access, conjuncts};
use super::binder::{AggregateCall, Aggregates, Binder, Level, Merged, Star, Typed, WindowCall};
use super::expression::Expr;
use super::from::SeriesPlan;
use super::joins::FromTree;
use super::relational::Node;
use crate::cast::CastContext;
use crate::catalog::virtual_tables::VirtualTable;
use crate::error::{Error, SqlState};
use crate::parse::{fold, refuse_clauses};
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

/// The select list while it is being bound: the visible columns, then hidden sort keys.
#[derive(Default)]
pub(super) struct Output {
    pub(super) exprs: Vec<Expr>,
    pub(super) types: Vec<Type>,
    /// Of the visible ones.
    pub(super) columns: Vec<Column>,
    /// Which of them are literals without a type, taken as text unless a set operation knows better.
    pub(super) untyped: Vec<usize>,
}

impl Output {
    fn push(&mut self, expr: Expr, ty: Type, column: Column) {
        self.exprs.push(expr);
        self.types.push(ty);
        self.columns.push(column);
    }

    /// The place of an expression, which is added as a hidden one if need be.
    fn place(&mut self, typed: Typed) -> usize {
        let known = self.exprs.iter().position(|other| same(other, &typed.expr));
        known.unwrap_or_else(|| {
            self.exprs.push(typed.expr);
            self.types.push(typed.ty);
            self.exprs.len() - 1
        })
    }
}

/// The parts of a SELECT above its FROM.
struct Stages {
    filter: Vec<Expr>,
    grouping: Option<Grouping>,
    windows: Vec<WindowCall>,
    having: Option<Expr>,
    output: Vec<Expr>,
    types: Vec<Type>,
    on: Option<Vec<usize>>,
    distinct: bool,
    order_by: Vec<SortKey>,
    limit: Option<Expr>,
    offset: Option<Expr>,
}

impl SelectPlan {
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
            self.bind_with(with)?;
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
        let (mut sources, tree) = self.from_clause(&select.from)?;
        let filter = match &select.selection {
            Some(selection) => Some(self.bind_condition(selection, "WHERE")?),
            None => None,
        };
        let mut filter = conjuncts(filter);

        // Output, then GROUP BY, HAVING and ORDER BY, which may refer to it.
        self.level.allow_aggregates = Aggregates::Allowed;
        self.level.allow_windows = true;
        self.level.named_windows = select.named_window.clone();
        let mut output = Output::default();
        for item in &select.projection {
            self.select_item(item, &mut output)?;
        }
        self.level.allow_windows = false;
        let visible = output.columns.len();
        let mut having = match &select.having {
            Some(having) => {
                let typed = self.expression(having)?;
                Some(self.condition(typed, "HAVING").map_err(|error| self.locate(error, having))?)
            }
            None => None,
        };
        self.level.allow_windows = true;
        let on = match &select.distinct {
            Some(ast::Distinct::On(exprs)) => Some(self.distinct_on(exprs, &mut output)?),
            _ => None,
        };
        let order_by = self.order_items(query, &mut output)?;
        self.level.allow_windows = false;
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
        let grouping = self.grouping(keys, &mut having, &mut output, &mut windows)?;
        let grouped_relationally = grouping.as_ref().is_some_and(|grouping| {
            grouping.sets.is_some()
                || grouping.keys.iter().any(Expr::is_relational)
                || grouping.aggregates.iter().any(AggregateCall::is_relational)
        });
        let relational = sources.len() > 1
            || matches!(sources.first(), Some(Source::Relational(_)))
            || !windows.is_empty()
            || on.is_some()
            || grouped_relationally
            || filter.iter().chain(&having).chain(&output.exprs).any(Expr::is_relational);
        let Output { exprs: mut output, types, columns, untyped } = output;
        self.untyped = untyped;
        if relational {
            if lock {
                return Err(Error::unsupported("FOR UPDATE here", "Lock rows of one table at a time."));
            }
            let stages =
                Stages { filter, grouping, windows, having, output, types, on, distinct, order_by, limit, offset };
            let node = self.stages(sources, tree, stages, visible);
            return Ok(SelectPlan::of_node(node, columns.into()));
        }
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
                }
                access.limited = limit.is_some() && plain && order_by.is_empty() && filter.is_empty();
            }
            Source::Virtual(_, wanted) | Source::Subquery(_, wanted) => *wanted = used,
            Source::Values(_) | Source::Series(_) | Source::Unnest(_) | Source::OneRow | Source::Relational(_) => {}
        }
        Ok(SelectPlan {
            source,
            filter: conjunction(filter),
            grouping: grouping.map(|grouping| Grouping { having, ..grouping }),
            output,
            columns: columns.into(),
            distinct,
            order_by,
            limit,
            offset,
        })
    }

    /// Puts the stages of a query above the tree of its FROM, in the order in which SQL has them.
    fn stages(&mut self, sources: Vec<Source>, tree: Option<FromTree>, stages: Stages, visible: usize) -> Node {
        let Stages {
            filter,
            mut grouping,
            mut windows,
            having,
            mut output,
            types,
            on,
            distinct,
            order_by,
            limit,
            offset,
        } = stages;
        let (mut node, layout) = self.join_tree(sources, tree, filter);
        let mut place = |column: usize| {
            layout.iter().position(|used| *used == column).expect("every column used comes out of FROM")
        };
        // Columns of FROM are in its layout from now on; what stands above a grouping refers to the grouping.
        match &mut grouping {
            Some(grouping) => {
                grouping.keys.iter_mut().for_each(|key| key.map_columns(&mut place));
                for call in &mut grouping.aggregates {
                    call.expressions(&mut |expr| expr.map_columns(&mut place));
                }
            }
            None => {
                output.iter_mut().for_each(|expr| expr.map_columns(&mut place));
                for call in &mut windows {
                    call.expressions(&mut |expr| expr.map_columns(&mut place));
                }
            }
        }
        if let Some(Grouping { keys, types, sets, aggregates, .. }) = grouping {
            let keys = keys.into_iter().zip(types).collect();
            node = Node::Group { input: Box::new(node), keys, sets, aggregates };
            if let Some(having) = having {
                node = Node::Filter { input: Box::new(node), conditions: conjuncts(Some(having)) };
            }
        }
        if !windows.is_empty() {
            let width = node.types().len();
            node = Node::Window { input: Box::new(node), calls: windows };
            for expr in &mut output {
                expr.rewrite(&mut |part| match part {
                    Expr::Window(n) => Some(Expr::Column(width + n)),
                    _ => None,
                });
            }
        }
        let shown: Vec<Type> = types.iter().take(visible).cloned().collect();
        let hidden = output.len() > visible;
        let mut order_by = order_by;
        node = match on {
            None => Node::Project { input: Box::new(node), output: output.into_iter().zip(types).collect() },
            Some(on) => {
                // The columns of DISTINCT ON come first, and the sort keys are counted behind them.
                let width = on.len();
                let columns: Vec<(Expr, Type)> = output.into_iter().zip(types).collect();
                let first = on.iter().map(|place| columns[*place].clone()).collect::<Vec<_>>();
                let input = Node::Project { input: Box::new(node), output: first.into_iter().chain(columns).collect() };
                let keys = order_by.iter().map(|key| SortKey { place: key.place + width, ..*key }).collect();
                Node::Distinct { input: Box::new(input), on: Some((width, keys)) }
            }
        };
        if distinct {
            node = Node::Distinct { input: Box::new(node), on: None };
        }
        if !order_by.is_empty() {
            node = Node::Sort { input: Box::new(node), keys: std::mem::take(&mut order_by) };
        }
        if limit.is_some() || offset.is_some() {
            node = Node::Limit { input: Box::new(node), limit, offset };
        }
        if hidden {
            let output = shown.into_iter().enumerate().map(|(n, ty)| (Expr::Column(n), ty)).collect();
            node = Node::Project { input: Box::new(node), output };
        }
        node
    }

    /// The places of DISTINCT ON's columns in the output, hidden ones added behind.
    fn distinct_on(&mut self, exprs: &[ast::Expr], output: &mut Output) -> Result<Vec<usize>, Error> {
        let mut places = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let place = match self.output_reference(expr, &output.columns, &output.exprs, "DISTINCT ON")? {
                Some(place) => place,
                None => {
                    let typed = self.expression(expr)?;
                    let typed = self.settle(typed)?;
                    output.place(typed)
                }
            };
            places.push(place);
        }
        Ok(places)
    }

    fn select_item(&mut self, item: &SelectItem, output: &mut Output) -> Result<(), Error> {
        match item {
            SelectItem::UnnamedExpr(expr) => self.output_column(expr, None, output),
            SelectItem::ExprWithAlias { expr, alias } => self.output_column(expr, Some(fold(alias)), output),
            SelectItem::Wildcard(options) => {
                refuse_wildcard_options(options)?;
                if self.level.relations.is_empty() {
                    return Err(Error::syntax("SELECT * with no tables specified is not valid"));
                }
                for star in self.level.star.clone() {
                    match star {
                        Star::Column { relation, column } => self.whole_column(relation, column, output),
                        Star::Merged(n) => {
                            let Merged { name, expr, ty, .. } = self.level.merged[n].clone();
                            output.push(expr, ty.clone(), Column::plain(name, ty));
                        }
                    }
                }
                Ok(())
            }
            SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                refuse_wildcard_options(options)?;
                let wanted = self.table_name(name)?;
                let Some(relation) = self.level.relations.iter().position(|relation| relation.alias == wanted.name)
                else {
                    let error = Error::new(
                        SqlState::UNDEFINED_TABLE,
                        format!("missing FROM-clause entry for table \"{}\"", wanted.name),
                    );
                    return Err(self.locate_at(error, wanted.position));
                };
                for column in 0..self.level.relations[relation].columns.len() {
                    self.whole_column(relation, column, output);
                }
                Ok(())
            }
            other => Err(Error::unsupported(format_args!("the output {other}"), "")),
        }
    }

    fn whole_column(&mut self, relation: usize, column: usize, output: &mut Output) {
        let place = self.level.place(relation, column, None);
        let (relation, origin) = self.level.column_at(place);
        let (name, ty) = (origin.name.clone(), origin.ty.clone());
        let table_oid = if origin.number > 0 { relation.table } else { 0 };
        let column = Column { table_oid, column_no: origin.number, ..Column::plain(name, ty.clone()) };
        output.push(Expr::Column(place), ty, column);
    }

    fn output_column(&mut self, expr: &ast::Expr, alias: Option<String>, output: &mut Output) -> Result<(), Error> {
        let typed = self.expression(expr)?;
        let untyped = matches!((&typed.expr, &typed.ty), (Expr::Constant(_), Type::Unknown));
        let Typed { expr: bound, ty, .. } = self.settle(typed)?;
        let mut column = Column::plain(alias.unwrap_or_else(|| column_name(expr)), ty.clone());
        if let Expr::Column(place) = &bound {
            let (relation, origin) = self.level.column_at(*place);
            if origin.number > 0 {
                (column.table_oid, column.column_no) = (relation.table, origin.number);
            }
        }
        output.push(bound, ty, column);
        if untyped {
            output.untyped.push(output.columns.len() - 1);
        }
        Ok(())
    }

    /// The output of RETURNING.
    ///
    /// # Errors
    /// As for a select list.
    pub fn returning(&mut self, items: &[SelectItem]) -> Result<(Vec<Expr>, Arc<[Column]>), Error> {
        let mut output = Output::default();
        self.level.allow_aggregates = Aggregates::NotIn("RETURNING");
        for item in items {
            self.select_item(item, &mut output)?;
        }
        if output.exprs.iter().any(Expr::is_relational) {
            return Err(Error::unsupported("a subquery in RETURNING that refers to the row", "Read it with a SELECT."));
        }
        Ok((output.exprs, output.columns.into()))
    }

    fn order_items(&mut self, query: &ast::Query, output: &mut Output) -> Result<Vec<SortKey>, Error> {
        let mut items = Vec::new();
        for key in order_expressions(query)? {
            let descending = key.options.asc == Some(false);
            let nulls_first = key.options.nulls_first.unwrap_or(descending);
            let place = match self.output_reference(&key.expr, &output.columns, &output.exprs, "ORDER BY")? {
                Some(place) => place,
                None => {
                    let typed = self.expression(&key.expr)?;
                    let typed = self.settle(typed)?;
                    output.place(typed)
                }
            };
            items.push(SortKey { place, descending, nulls_first });
        }
        Ok(items)
    }

    /// The output column that a bare name or number stands for.
    ///
    /// # Errors
    /// 42702 for a name that different columns have, 42P10 for a number that none has.
    pub(super) fn output_reference(
        &self,
        expr: &ast::Expr,
        columns: &[Column],
        exprs: &[Expr],
        clause: &str,
    ) -> Result<Option<usize>, Error> {
        match expr {
            ast::Expr::Identifier(ident) => {
                let name = fold(ident);
                let mut matching = (0..columns.len()).filter(|n| columns[*n].name == name);
                let Some(first) = matching.next() else { return Ok(None) };
                if matching.any(|other| !same(&exprs[first], &exprs[other])) {
                    let error = Error::new(SqlState::AMBIGUOUS_COLUMN, format!("{clause} \"{name}\" is ambiguous"));
                    return Err(self.locate(error, expr));
                }
                Ok(Some(first))
            }
            ast::Expr::Value(value) => match &value.value {
                ast::Value::Number(text, _) => match text.parse::<usize>() {
                    Ok(number) if (1..=columns.len()).contains(&number) => Ok(Some(number - 1)),
                    Ok(number) => {
                        let error = Error::new(
                            SqlState::INVALID_COLUMN_REFERENCE,
                            format!("{clause} position {number} is not in select list"),
                        );
                        Err(self.locate(error, expr))
                    }
                    Err(_) => Err(self.locate(Error::syntax(format!("non-integer constant in {clause}")), expr)),
                },
                _ => Ok(None),
            },
            _ => Ok(None),
        }
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
        let plan = SelectPlan {
            source: Source::Values(rows),
            filter: None,
            grouping: None,
            output: (0..columns.len()).map(Expr::Column).collect(),
            columns: columns.into(),
            distinct: false,
            order_by: Vec::new(),
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

fn order_expressions(query: &ast::Query) -> Result<&[ast::OrderByExpr], Error> {
    match query.order_by.as_ref().map(|order| &order.kind) {
        None => Ok(&[]),
        Some(ast::OrderByKind::Expressions(keys)) => Ok(keys),
        Some(ast::OrderByKind::All(_)) => Err(Error::syntax("syntax error at or near \"ALL\"")),
    }
}

fn refuse_wildcard_options(options: &ast::WildcardAdditionalOptions) -> Result<(), Error> {
    let extended = options.opt_ilike.is_some()
        || options.opt_exclude.is_some()
        || options.opt_except.is_some()
        || options.opt_replace.is_some()
        || options.opt_rename.is_some()
        || options.opt_alias.is_some();
    if extended { Err(Error::unsupported("an option of *", "Name the columns.")) } else { Ok(()) }
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

/// The name that PostgreSQL gives to an output column without alias.
fn column_name(expr: &ast::Expr) -> String {
    strong_name(expr).or_else(|| weak_name(expr)).unwrap_or_else(|| "?column?".to_owned())
}

fn strong_name(expr: &ast::Expr) -> Option<String> {
    match expr {
        ast::Expr::Identifier(ident) => Some(fold(ident)),
        ast::Expr::CompoundIdentifier(parts) => parts.last().map(fold),
        ast::Expr::Nested(inner) | ast::Expr::Collate { expr: inner, .. } => strong_name(inner),
        ast::Expr::Function(function) => function.name.0.last().and_then(|part| part.as_ident()).map(fold),
        ast::Expr::Cast { expr, .. } => strong_name(expr),
        ast::Expr::Case { else_result: Some(otherwise), .. } => strong_name(otherwise),
        ast::Expr::Exists { negated: false, .. } => Some("exists".to_owned()),
        ast::Expr::Extract { .. } => Some("extract".to_owned()),
        ast::Expr::Substring { .. } => Some("substring".to_owned()),
        ast::Expr::Overlay { .. } => Some("overlay".to_owned()),
        ast::Expr::Position { .. } => Some("position".to_owned()),
        ast::Expr::Ceil { .. } => Some("ceil".to_owned()),
        ast::Expr::Floor { .. } => Some("floor".to_owned()),
        ast::Expr::AtTimeZone { .. } => Some("timezone".to_owned()),
        ast::Expr::Trim { trim_where, .. } => Some(
            match trim_where {
                Some(ast::TrimWhereField::Leading) => "ltrim",
                Some(ast::TrimWhereField::Trailing) => "rtrim",
                _ => "btrim",
            }
            .to_owned(),
        ),
        ast::Expr::Array(_) => Some("array".to_owned()),
        ast::Expr::Subquery(query) => match &*query.body {
            SetExpr::Select(select) => match select.projection.first() {
                Some(SelectItem::ExprWithAlias { alias, .. }) => Some(fold(alias)),
                Some(SelectItem::UnnamedExpr(expr)) => strong_name(expr).or_else(|| weak_name(expr)),
                _ => None,
            },
            SetExpr::Values(_) => Some("column1".to_owned()),
            _ => None,
        },
        _ => None,
    }
}

fn weak_name(expr: &ast::Expr) -> Option<String> {
    match expr {
        ast::Expr::Cast { data_type, .. } => crate::parse::data_type(data_type).ok().map(|ty| ty.internal_name()),
        ast::Expr::TypedString(typed) => crate::parse::data_type(&typed.data_type).ok().map(|ty| ty.internal_name()),
        ast::Expr::Interval(_) => Some("interval".to_owned()),
        ast::Expr::Case { .. } => Some("case".to_owned()),
        ast::Expr::Nested(inner) => weak_name(inner),
        _ => None,
    }
}

/// NULL, typed by whoever takes it.
pub(super) fn null() -> Expr {
    Expr::Constant(Value::Null)
}
