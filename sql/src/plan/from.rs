//! What may stand in FROM: a table, a system table, generate_series(), unnest(), or a subquery.

use std::sync::Arc;

use sqlparser::ast::{self, FunctionArg, FunctionArgExpr, TableFactor};

use super::access::Access;
use super::binder::{Binder, Typed};
use super::expression::Expr;
use super::joins::rows;
use super::level::{Level, Relation, RelationColumn};
use super::relational::Node;
use super::select::{SelectPlan, Source};
use super::series::SeriesPlan;
use crate::cast::CastContext;
use crate::catalog::virtual_tables::VirtualTable;
use crate::catalog::{PUBLIC, Table};
use crate::error::{Error, SqlState};
use crate::functions::{BinaryOp, resolve_binary};
use crate::keywords;
use crate::parse::{TableName, fold};
use crate::session::Column;
use crate::types::{Type, common_type};
use crate::value::{Array, Value};

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
            TableFactor::Table { name, alias, args: Some(args), with_ordinality, .. } => {
                self.function_source(name, &args.args, alias.as_ref(), *with_ordinality)
            }
            TableFactor::Function { name, args, alias, with_ordinality, .. } => {
                self.function_source(name, args, alias.as_ref(), *with_ordinality)
            }
            TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
                let arrays: Vec<&ast::Expr> = array_exprs.iter().collect();
                self.set_source("unnest", &arrays, alias.as_ref(), *with_ordinality)
            }
            TableFactor::Derived { subquery, alias, sample: None, .. } => {
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
        ordinality: bool,
    ) -> Result<(Source, Relation), Error> {
        let name = self.table_name(name)?;
        let arguments = arguments
            .iter()
            .map(|argument| match argument {
                FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Ok(expr),
                _ => Err(Error::unsupported("a named argument", "Give the arguments in their order.")),
            })
            .collect::<Result<Vec<_>, _>>()?;
        if !is_set_returning(&name.name) && name.name != KEYWORDS {
            let error = Error::unsupported(
                format_args!("the function {} in FROM", name.name),
                "Functions in FROM are generate_series, generate_subscripts, string_to_table and unnest.",
            );
            return Err(self.locate_at(error, name.position));
        }
        self.set_source(&name.name, &arguments, alias, ordinality)
    }

    /// A set-returning function in FROM; its arguments may be of relations on its left.
    fn set_source(
        &mut self,
        name: &str,
        arguments: &[&ast::Expr],
        alias: Option<&ast::TableAlias>,
        ordinality: bool,
    ) -> Result<(Source, Relation), Error> {
        self.level = Level::new(None, "functions in FROM");
        let bound: Vec<Typed> = arguments.iter().map(|expr| self.expression(expr)).collect::<Result<_, _>>()?;
        // Several arrays side by side, each a column.
        let calls: Vec<Vec<Typed>> =
            if name == "unnest" { bound.into_iter().map(|array| vec![array]).collect() } else { vec![bound] };
        let mut arrays = calls.into_iter().map(|call| self.set_of(name, call)).collect::<Result<Vec<_>, _>>()?;
        let own = match alias {
            _ if name == KEYWORDS => "word".to_owned(),
            Some(alias) if arrays.len() == 1 => fold(&alias.name),
            _ => name.to_owned(),
        };
        let mut columns: Vec<(String, Type)> =
            arrays.iter().map(|(_, element)| (own.clone(), element.clone())).collect();
        if ordinality {
            let numbers = self.subscripts(arrays.iter().map(|(array, _)| array.clone()).collect(), &Type::Int64)?;
            arrays.push((numbers, Type::Int64));
            columns.push(("ordinality".to_owned(), Type::Int64));
        }
        let mut relation =
            Relation::of_columns(alias.map_or_else(|| name.to_owned(), |alias| fold(&alias.name)), columns);
        rename(&mut relation, alias)?;
        let alone = arrays.len() == 1 && !arrays[0].0.is_relational();
        let source = match arrays.pop() {
            // Alone it comes row by row, without being held as a whole.
            Some((Expr::Series(series), _)) if alone => Source::Series(series),
            Some((array, _)) if alone => Source::Unnest(Box::new(array)),
            last => {
                arrays.extend(last);
                let types: Vec<Type> = arrays.iter().map(|(_, element)| element.clone()).collect();
                let input = Node::Rows(Box::new(rows(Source::OneRow, Vec::new(), Vec::new())));
                let skipped = input.types().len();
                let input = Box::new(Node::Expand { input: Box::new(input), arrays });
                let output = types.into_iter().enumerate().map(|(n, ty)| (Expr::Column(skipped + n), ty)).collect();
                Source::Relational(Box::new(Node::Project { input, output }))
            }
        };
        Ok((source, relation))
    }

    /// The array whose elements a set-returning function gives, and their type.
    ///
    /// # Errors
    /// 42883 for other arguments than it takes.
    pub(super) fn set_of(&mut self, name: &str, arguments: Vec<Typed>) -> Result<(Expr, Type), Error> {
        let types: Vec<String> = arguments.iter().map(|argument| argument.ty.to_string()).collect();
        let unknown = || {
            let message = format!("function {name}({}) does not exist", types.join(", "));
            Error::new(SqlState::UNDEFINED_FUNCTION, message).with_hint(
                "No function matches the given name and argument types. You might need to add explicit type casts.",
            )
        };
        let count = arguments.len();
        let mut given = arguments.into_iter();
        match (name, count, given.next()) {
            (KEYWORDS, 0, None) => {
                let words = keywords::all().map(Value::text).collect();
                Ok((Expr::Constant(Value::Array(Arc::new(Array::new(Type::Text, words)))), Type::Text))
            }
            ("generate_series", 2 | 3, Some(start)) => self.series(start, given.collect()),
            ("unnest", 1, Some(Typed { expr, ty: Type::Array(element), .. })) => Ok((expr, *element)),
            ("generate_subscripts", 2, Some(array @ Typed { ty: Type::Array(_), .. })) => {
                let dimension = given.next().ok_or_else(unknown)?;
                // NULL, and so no rows, for another dimension than the one that arrays have.
                let stop = self.call("array_upper", vec![array, dimension])?;
                let stop = self.coerce(stop, &Type::Int32, CastContext::Implicit)?;
                Ok((self.count_to(stop, &Type::Int32)?, Type::Int32))
            }
            ("string_to_table", 2 | 3, Some(text)) => {
                let arguments = std::iter::once(text).chain(given).collect();
                Ok((self.call("string_to_array", arguments)?.expr, Type::Text))
            }
            _ => Err(unknown()),
        }
    }

    /// The numbers of the elements of the longest of some arrays.
    fn subscripts(&mut self, arrays: Vec<Expr>, ty: &Type) -> Result<Expr, Error> {
        let counts = arrays.into_iter().map(|array| {
            let element = if matches!(array, Expr::Series(_)) { ty.clone() } else { Type::Text };
            self.call("cardinality", vec![Typed::new(array, Type::Array(Box::new(element)))])
        });
        let counts = counts.collect::<Result<Vec<_>, _>>()?;
        let stop = self.named_call("greatest", counts)?;
        let stop = self.coerce(stop, ty, CastContext::Implicit)?;
        self.count_to(stop, ty)
    }

    /// The numbers from 1.
    fn count_to(&mut self, stop: Expr, ty: &Type) -> Result<Expr, Error> {
        let one = if *ty == Type::Int64 { Value::Int64(1) } else { Value::Int32(1) };
        let one = Expr::Constant(one);
        let add = resolve_binary(BinaryOp::Add, ty, ty)?;
        Ok(Expr::Series(Box::new(SeriesPlan { start: one.clone(), stop, step: one, add, ty: ty.clone() })))
    }

    fn series(&mut self, start: Typed, rest: Vec<Typed>) -> Result<(Expr, Type), Error> {
        let mut rest = rest.into_iter();
        let stop = rest.next().ok_or_else(|| Error::internal("generate_series was counted wrong"))?;
        let step = rest.next();
        let ends = vec![start.ty.clone(), stop.ty.clone()];
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
        let start = self.coerce(start, &ty, CastContext::Implicit)?;
        let stop = self.coerce(stop, &ty, CastContext::Implicit)?;
        Ok((Expr::Series(Box::new(SeriesPlan { start, stop, step: step.expr, add, ty: ty.clone() })), ty))
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
            hidden: Vec::new(),
            limit: None,
            offset: None,
        })
    }
}

/// PostgreSQL's function of the words of its grammar, by which JDBC finds those to quote. Here it has the words alone, and stands in FROM only.
const KEYWORDS: &str = "pg_get_keywords";

/// Whether a function gives a set of rows.
pub(super) fn is_set_returning(name: &str) -> bool {
    matches!(name, "generate_series" | "unnest" | "generate_subscripts" | "string_to_table")
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
