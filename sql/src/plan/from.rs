//! What may stand in FROM: a table, a system table, generate_series(), unnest(), or a subquery.

use std::sync::Arc;

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, TableFactor};

use super::access::Access;
use super::binder::{Aggregates, Binder, Level, Relation, RelationColumn, Typed};
use super::expression::Expr;
use super::select::{SelectPlan, Source};
use crate::cast::CastContext;
use crate::catalog::virtual_tables::VirtualTable;
use crate::catalog::{PUBLIC, Table};
use crate::error::{Error, SqlState};
use crate::functions::{BinaryFn, BinaryOp, resolve_binary};
use crate::parse::{TableName, fold};
use crate::session::Column;
use crate::types::{Type, common_type};
use crate::value::Value;

/// generate_series(start, stop, step).
#[derive(Clone, Debug)]
pub struct SeriesPlan {
    /// The first value.
    pub start: Expr,
    /// No value lies beyond it.
    pub stop: Expr,
    /// What is added each time; not zero.
    pub step: Expr,
    /// The addition.
    pub add: BinaryFn,
}

impl Relation {
    /// The relation that a stored table is.
    pub fn of_table(table: &Arc<Table>, alias: Option<String>) -> Relation {
        let column = |(n, column): (usize, &crate::catalog::Column)| RelationColumn {
            name: column.name.clone(),
            ty: column.ty.clone(),
            number: i16::try_from(n + 1).unwrap_or(0),
        };
        Relation {
            schema: alias.is_none().then(|| PUBLIC.to_owned()),
            alias: alias.unwrap_or_else(|| table.name.clone()),
            table: table.id,
            columns: table.columns.iter().enumerate().map(column).collect(),
        }
    }

    pub(super) fn of_columns(alias: String, columns: impl IntoIterator<Item = (String, Type)>) -> Relation {
        let columns = columns.into_iter().map(|(name, ty)| RelationColumn { name, ty, number: 0 }).collect();
        Relation { alias, schema: None, table: 0, columns }
    }
}

impl Binder<'_> {
    /// The source and the names that one item of FROM gives.
    pub(super) fn from(&mut self, factor: &TableFactor) -> Result<(Source, Relation), Error> {
        match factor {
            TableFactor::Table {
                name, alias, args: None, sample: None, version: None, with_ordinality: false, ..
            } => {
                let name = self.table_name(name)?;
                let (source, mut relation) = self.named_source(&name, alias.as_ref().map(|alias| fold(&alias.name)))?;
                rename(&mut relation, alias.as_ref())?;
                Ok((source, relation))
            }
            TableFactor::Table { name, alias, args: Some(args), with_ordinality: false, .. } => {
                self.function_source(name, &args.args, alias.as_ref())
            }
            TableFactor::Function { lateral: false, name, args, alias, with_ordinality: false } => {
                self.function_source(name, args, alias.as_ref())
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality: false, .. } => {
                match &array_exprs[..] {
                    [array] => self.unnest(array, alias.as_ref()),
                    _ => Err(Error::unsupported("unnest() of several arrays", "Unnest one at a time.")),
                }
            }
            TableFactor::Derived { lateral: false, subquery, alias, sample: None } => {
                let plan = self.query(subquery)?;
                let Some(alias) = alias else {
                    return Err(Error::syntax("subquery in FROM must have an alias")
                        .with_hint("For example, FROM (SELECT ...) [AS] foo."));
                };
                let columns = plan.columns.iter().map(|column| (column.name.clone(), column.ty.clone()));
                let mut relation = Relation::of_columns(fold(&alias.name), columns);
                rename(&mut relation, Some(alias))?;
                Ok((plan.into_source(), relation))
            }
            TableFactor::Derived { lateral: true, .. } | TableFactor::Function { lateral: true, .. } => {
                Err(Error::unsupported("LATERAL", ""))
            }
            other => Err(Error::unsupported(format_args!("FROM {other}"), "")),
        }
    }

    fn named_source(&mut self, name: &TableName, alias: Option<String>) -> Result<(Source, Relation), Error> {
        if let Some(found) = self.with_source(name, alias.clone()) {
            return Ok(found);
        }
        // As PostgreSQL's search path has it, pg_catalog comes before public.
        if let Some(system) = VirtualTable::find(name.schema.as_deref(), &name.name) {
            self.shows_catalog = true;
            let columns = system.columns().into_iter().map(|(name, ty)| (name.to_owned(), ty));
            let mut relation = Relation::of_columns(alias.clone().unwrap_or_else(|| name.name.clone()), columns);
            relation.schema = if alias.is_none() { Some(system.schema().to_owned()) } else { None };
            return Ok((Source::Virtual(system, Vec::new()), relation));
        }
        let table = self.table(name)?;
        let relation = Relation::of_table(&table, alias);
        Ok((Source::Table(Box::new(Access::everything(table))), relation))
    }

    fn function_source(
        &mut self,
        name: &ast::ObjectName,
        arguments: &[FunctionArg],
        alias: Option<&ast::TableAlias>,
    ) -> Result<(Source, Relation), Error> {
        let name = self.table_name(name)?;
        let arguments = arguments
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
                _ => Err(Error::unsupported("a named argument", "Give the arguments in their order.")),
            })
            .collect::<Result<Vec<_>, _>>()?;
        match (name.name.as_str(), &arguments[..]) {
            ("generate_series", [_, _] | [_, _, _]) => self.series(&arguments, alias),
            ("unnest", [array]) => self.unnest(array, alias),
            _ => {
                let error = Error::unsupported(
                    format_args!("the function {} in FROM", name.name),
                    "Functions in FROM are generate_series and unnest.",
                );
                Err(self.locate_at(error, name.position))
            }
        }
    }

    fn bind_alone(&mut self, exprs: &[&ast::Expr]) -> Result<Vec<Typed>, Error> {
        self.level = Level::new(None, "functions in FROM");
        self.level.allow_aggregates = Aggregates::NotIn("functions in FROM");
        let bound: Vec<Typed> = exprs.iter().map(|expr| self.expression(expr)).collect::<Result<_, _>>()?;
        // In a query that has no rows it is never called.
        let called = !self.outer.iter().any(|level| level.void);
        if called && bound.iter().any(|typed| typed.expr.is_relational()) {
            return Err(Error::unsupported(
                "a function in FROM of another relation's columns",
                "Join with a fixed series.",
            ));
        }
        Ok(bound)
    }

    fn series(
        &mut self,
        arguments: &[&ast::Expr],
        alias: Option<&ast::TableAlias>,
    ) -> Result<(Source, Relation), Error> {
        let mut bound = self.bind_alone(arguments)?;
        let step = if arguments.len() == 3 { bound.pop() } else { None };
        let ends: Vec<Type> = bound.iter().map(|end| end.ty.clone()).collect();
        let numeric = ends
            .iter()
            .chain(step.as_ref().map(|step| &step.ty))
            .all(|ty| ty.is_integer() || matches!(ty, Type::Numeric(_) | Type::Unknown));
        let (ty, step) = if numeric {
            let mut types = ends;
            types.extend(step.as_ref().map(|step| step.ty.clone()));
            let ty = match common_type("generate_series", &types)? {
                Type::Int16 | Type::Text => Type::Int32,
                other => other.base(),
            };
            let step = step.unwrap_or(Typed::new(Expr::Constant(Value::Int32(1)), Type::Int32));
            let step = self.coerce(step, &ty, CastContext::Implicit)?;
            (ty, Typed::new(step, Type::Unknown))
        } else {
            let ty = match common_type("generate_series", &ends)? {
                Type::Timestamp(_) => Type::Timestamp(None),
                Type::Date | Type::TimestampTz(_) => Type::TimestampTz(None),
                other => {
                    let message = format!("function generate_series({other}, {other}) does not exist");
                    return Err(Error::new(SqlState::UNDEFINED_FUNCTION, message));
                }
            };
            let Some(step) = step else {
                let message = format!("function generate_series({ty}, {ty}) does not exist");
                return Err(Error::new(SqlState::UNDEFINED_FUNCTION, message)
                    .with_hint("Give an interval as the third argument."));
            };
            let step = self.coerce(step, &Type::Interval, CastContext::Implicit)?;
            (ty, Typed::new(step, Type::Interval))
        };
        let step_type = if matches!(step.ty, Type::Unknown) { ty.clone() } else { step.ty.clone() };
        let add = resolve_binary(BinaryOp::Add, &ty, &step_type)?;
        let mut ends = bound
            .into_iter()
            .map(|end| self.coerce(end, &ty, CastContext::Implicit))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter();
        let (Some(start), Some(stop)) = (ends.next(), ends.next()) else {
            return Err(Error::internal("generate_series was counted wrong"));
        };
        let relation = function_relation("generate_series", ty, alias)?;
        Ok((Source::Series(Box::new(SeriesPlan { start, stop, step: step.expr, add })), relation))
    }

    fn unnest(&mut self, array: &ast::Expr, alias: Option<&ast::TableAlias>) -> Result<(Source, Relation), Error> {
        let mut bound = self.bind_alone(&[array])?;
        let Some(Typed { expr, ty: Type::Array(element), .. }) = bound.pop() else {
            return Err(Error::new(SqlState::UNDEFINED_FUNCTION, "unnest takes an array")
                .with_hint("Cast the argument, for example $1::integer[]."));
        };
        Ok((Source::Unnest(Box::new(expr)), function_relation("unnest", *element, alias)?))
    }

    /// All rows and columns of a table: `TABLE t`.
    pub(super) fn whole_table(&mut self, name: &ast::ObjectName) -> Result<SelectPlan, Error> {
        let name = self.table_name(name)?;
        self.table_columns(&name, None)
    }

    /// Some columns of all rows of a stored table: COPY TO STDOUT.
    ///
    /// # Errors
    /// 42P01, 42703.
    pub fn copy_table(&mut self, name: &TableName, columns: &[(String, Option<u32>)]) -> Result<SelectPlan, Error> {
        let table = self.table(name)?;
        let wanted = super::write::named_columns(&table, columns)?;
        self.table_columns(name, Some(wanted))
    }

    fn table_columns(&mut self, name: &TableName, wanted: Option<Vec<usize>>) -> Result<SelectPlan, Error> {
        let (mut source, relation) = self.named_source(name, None)?;
        let wanted = wanted.unwrap_or_else(|| (0..relation.columns.len()).collect());
        source = match source {
            Source::Table(access) => Source::Table(Box::new(access.wanting(wanted.clone()))),
            Source::Virtual(system, _) => Source::Virtual(system, wanted.clone()),
            Source::Subquery(plan, _) => Source::Subquery(plan, wanted.clone()),
            Source::Relational(node) => {
                let columns =
                    relation.columns.iter().map(|column| Column::plain(column.name.clone(), column.ty.clone()));
                return Ok(SelectPlan::of_node(*node, columns.collect()));
            }
            _ => return Err(Error::internal("a name stands for a table")),
        };
        let column = |n: &usize| {
            let column = &relation.columns[*n];
            Column {
                table_oid: relation.table,
                column_no: column.number,
                ..Column::plain(column.name.clone(), column.ty.clone())
            }
        };
        Ok(SelectPlan {
            source,
            filter: None,
            grouping: None,
            output: (0..wanted.len()).map(Expr::Column).collect(),
            columns: wanted.iter().map(column).collect(),
            distinct: false,
            order_by: Vec::new(),
            limit: None,
            offset: None,
        })
    }
}

/// A function in FROM gives one column, named by the alias's column, else the alias, else the function.
fn function_relation(function: &str, ty: Type, alias: Option<&ast::TableAlias>) -> Result<Relation, Error> {
    let name = alias.map_or_else(|| function.to_owned(), |alias| fold(&alias.name));
    let mut relation = Relation::of_columns(name.clone(), [(name, ty)]);
    rename(&mut relation, alias)?;
    Ok(relation)
}

/// Applies the column names of an alias.
fn rename(relation: &mut Relation, alias: Option<&ast::TableAlias>) -> Result<(), Error> {
    let Some(alias) = alias else { return Ok(()) };
    if alias.columns.len() > relation.columns.len() {
        let message = format!(
            "table \"{}\" has {} columns available but {} columns specified",
            relation.alias,
            relation.columns.len(),
            alias.columns.len()
        );
        return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message));
    }
    for (column, name) in relation.columns.iter_mut().zip(&alias.columns) {
        column.name = fold(&name.name);
    }
    Ok(())
}
