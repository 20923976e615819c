//! The select list: its columns, their names, and the hidden columns that sort keys need.

use std::sync::Arc;

use sqlparser::ast::{self, SelectItem, SetExpr};

use super::binder::{Binder, Typed};
use super::expression::Expr;
use super::level::{Aggregates, Merged, Star};
use super::select::{SortKey, same};
use crate::error::{Error, SqlState};
use crate::parse::fold;
use crate::session::Column;
use crate::types::Type;

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
    pub(super) fn place(&mut self, typed: Typed) -> usize {
        let known = self.exprs.iter().position(|other| same(other, &typed.expr));
        known.unwrap_or_else(|| {
            self.exprs.push(typed.expr);
            self.types.push(typed.ty);
            self.exprs.len() - 1
        })
    }
}

impl Binder<'_> {
    /// The places of DISTINCT ON's columns in the output, hidden ones added behind.
    pub(super) fn distinct_on(&mut self, exprs: &[ast::Expr], output: &mut Output) -> Result<Vec<usize>, Error> {
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

    pub(super) fn select_item(&mut self, item: &SelectItem, output: &mut Output) -> Result<(), Error> {
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

    pub(super) fn order_items(&mut self, query: &ast::Query, output: &mut Output) -> Result<Vec<SortKey>, Error> {
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
}

pub(super) fn order_expressions(query: &ast::Query) -> Result<&[ast::OrderByExpr], Error> {
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
