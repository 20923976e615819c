//! Plans of queries over one table, a function, VALUES, a subquery, or nothing.
//!
//! The stages are always the same: source → filter → grouping → output → DISTINCT → ORDER BY → LIMIT; those that a query does not
//! have cost nothing. ORDER BY keys that are no output columns follow the visible ones in the output and are cut off at the end.

use std::sync::Arc;

use sqlparser::ast::{self, SelectItem, SetExpr};

use super::access::{Access, choose_access, conjuncts};
use super::binder::{AggregateCall, Aggregates, Binder, Level, Typed};
use super::expression::Expr;
use super::from::SeriesPlan;
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
}

/// GROUP BY and aggregates. The rows after it hold the keys, then the aggregates' results.
#[derive(Clone, Debug)]
pub struct Grouping {
    /// GROUP BY.
    pub keys: Vec<Expr>,
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

/// An ORDER BY key while names are still being resolved.
pub(super) struct OrderItem {
    pub(super) place: usize,
    pub(super) descending: bool,
    pub(super) nulls_first: bool,
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
            _ => Err(Error::internal("a refused query was planned")),
        }
    }

    fn select(&mut self, query: &ast::Query, select: &ast::Select) -> Result<SelectPlan, Error> {
        let relation = match select.from.first() {
            None => None,
            Some(from) => Some(self.from(&from.relation)?),
        };
        let (mut source, relation) = match relation {
            None => (Source::OneRow, None),
            Some((source, relation)) => (source, Some(relation)),
        };
        self.level = Level::new(relation, "this clause");
        let filter = match &select.selection {
            Some(selection) => Some(self.bind_condition(selection, "WHERE")?),
            None => None,
        };

        // Output, then GROUP BY, HAVING and ORDER BY, which may refer to it.
        self.level.allow_aggregates = Aggregates::Allowed;
        let mut output = Vec::with_capacity(select.projection.len());
        let mut columns = Vec::with_capacity(select.projection.len());
        for item in &select.projection {
            self.select_item(item, &mut output, &mut columns)?;
        }
        let visible = output.len();
        let having = match &select.having {
            Some(having) => {
                let typed = self.expression(having)?;
                Some(self.condition(typed, "HAVING").map_err(|error| self.locate(error, having))?)
            }
            None => None,
        };
        let order = self.order_items(query, select, &mut output, &columns)?;
        let distinct = matches!(select.distinct, Some(ast::Distinct::Distinct));
        if distinct && output.len() > visible {
            let message = "for SELECT DISTINCT, ORDER BY expressions must appear in select list";
            return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message));
        }
        let keys = self.group_keys(select, &output[..visible], &columns)?;
        self.level.allow_aggregates = Aggregates::NotIn("LIMIT");
        let (limit, offset) = self.limit(query)?;
        let lock = self.locks(query, &source, keys.is_some() || !self.level.aggregates.is_empty() || distinct)?;

        let grouping = self.grouping(keys, having, &mut output)?;
        let mut order_by: Vec<SortKey> = order
            .into_iter()
            .map(|item| SortKey { place: item.place, descending: item.descending, nulls_first: item.nulls_first })
            .collect();
        let used = self.level.relation.as_ref().map(|relation| relation.used.clone()).unwrap_or_default();
        let mut filter = conjuncts(filter);
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
            Source::Values(_) | Source::Series(_) | Source::Unnest(_) | Source::OneRow => {}
        }
        Ok(SelectPlan {
            source,
            filter: conjunction(filter),
            grouping,
            output,
            columns: columns.into(),
            distinct,
            order_by,
            limit,
            offset,
        })
    }

    fn select_item(
        &mut self,
        item: &SelectItem,
        output: &mut Vec<Expr>,
        columns: &mut Vec<Column>,
    ) -> Result<(), Error> {
        match item {
            SelectItem::UnnamedExpr(expr) => self.output_column(expr, None, output, columns),
            SelectItem::ExprWithAlias { expr, alias } => self.output_column(expr, Some(fold(alias)), output, columns),
            SelectItem::Wildcard(options) => {
                refuse_wildcard_options(options)?;
                self.all_columns(output, columns)
            }
            SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::ObjectName(name), options) => {
                refuse_wildcard_options(options)?;
                let wanted = self.table_name(name)?;
                if self.level.relation.as_ref().is_none_or(|relation| relation.alias != wanted.name) {
                    let error = Error::new(
                        SqlState::UNDEFINED_TABLE,
                        format!("missing FROM-clause entry for table \"{}\"", wanted.name),
                    );
                    return Err(self.locate_at(error, wanted.position));
                }
                self.all_columns(output, columns)
            }
            other => Err(Error::unsupported(format_args!("the output {other}"), "")),
        }
    }

    fn all_columns(&mut self, output: &mut Vec<Expr>, columns: &mut Vec<Column>) -> Result<(), Error> {
        let Some(relation) = &mut self.level.relation else {
            return Err(Error::syntax("SELECT * with no tables specified is not valid"));
        };
        for n in 0..relation.columns.len() {
            let column = &relation.columns[n];
            columns.push(Column {
                name: column.name.clone(),
                ty: column.ty.clone(),
                type_modifier: column.ty.modifier(),
                table_oid: if column.number > 0 { relation.table } else { 0 },
                column_no: column.number,
            });
            output.push(Expr::Column(relation.place(n, None)));
        }
        Ok(())
    }

    fn output_column(
        &mut self,
        expr: &ast::Expr,
        alias: Option<String>,
        output: &mut Vec<Expr>,
        columns: &mut Vec<Column>,
    ) -> Result<(), Error> {
        let typed = self.expression(expr)?;
        let Typed { expr: bound, ty, .. } = self.settle(typed)?;
        let mut column = Column::plain(alias.unwrap_or_else(|| column_name(expr)), ty);
        if let (Expr::Column(place), Some(relation)) = (&bound, &self.level.relation) {
            let origin = &relation.columns[relation.used[*place]];
            if origin.number > 0 {
                (column.table_oid, column.column_no) = (relation.table, origin.number);
            }
        }
        output.push(bound);
        columns.push(column);
        Ok(())
    }

    /// The output of RETURNING.
    ///
    /// # Errors
    /// As for a select list.
    pub fn returning(&mut self, items: &[SelectItem]) -> Result<(Vec<Expr>, Arc<[Column]>), Error> {
        let (mut output, mut columns) = (Vec::new(), Vec::new());
        self.level.allow_aggregates = Aggregates::NotIn("RETURNING");
        for item in items {
            self.select_item(item, &mut output, &mut columns)?;
        }
        Ok((output, columns.into()))
    }

    fn order_items(
        &mut self,
        query: &ast::Query,
        select: &ast::Select,
        output: &mut Vec<Expr>,
        columns: &[Column],
    ) -> Result<Vec<OrderItem>, Error> {
        let mut items = Vec::new();
        for key in order_expressions(query)? {
            let descending = key.options.asc == Some(false);
            let nulls_first = key.options.nulls_first.unwrap_or(descending);
            let place = match self.output_reference(&key.expr, columns, "ORDER BY")? {
                Some(place) => place,
                None => {
                    let typed = self.expression(&key.expr)?;
                    let bound = self.settle(typed)?.expr;
                    let known = output.iter().position(|other| same(other, &bound));
                    known.unwrap_or_else(|| {
                        output.push(bound);
                        output.len() - 1
                    })
                }
            };
            items.push(OrderItem { place, descending, nulls_first });
        }
        let _ = select;
        Ok(items)
    }

    /// The output column that a bare name or number stands for.
    pub(super) fn output_reference(
        &self,
        expr: &ast::Expr,
        columns: &[Column],
        clause: &str,
    ) -> Result<Option<usize>, Error> {
        match expr {
            ast::Expr::Identifier(ident) => {
                let name = fold(ident);
                let mut matching = (0..columns.len()).filter(|n| columns[*n].name == name);
                Ok(matching.next())
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
    fn locks(&self, query: &ast::Query, source: &Source, condensed: bool) -> Result<bool, Error> {
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
        match source {
            Source::Table(_) => Ok(true),
            Source::OneRow | Source::Series(_) | Source::Unnest(_) => Ok(false),
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
        for key in order_expressions(query)? {
            let descending = key.options.asc == Some(false);
            let nulls_first = key.options.nulls_first.unwrap_or(descending);
            let place = self.output_reference(&key.expr, &columns, "ORDER BY")?.ok_or_else(|| {
                Error::unsupported(
                    "ORDER BY an expression over VALUES or a parenthesised query",
                    "Name an output column, or use FROM (...) AS t.",
                )
            })?;
            plan.order_by.push(SortKey { place, descending, nulls_first });
        }
        (plan.limit, plan.offset) = self.limit(query)?;
        Ok(plan)
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
