//! WITH and the set operations.
//!
//! A query of WITH is planned where it is written and put in wherever it is named; within one snapshot both ways give the same rows. Where they would
//! not, since it calls a volatile function, its rows are kept ([`super::volatile`]).

use sqlparser::ast::{self, SetExpr, SetOperator, SetQuantifier};

use super::binder::Binder;
use super::expression::Expr;
use super::level::Relation;
use super::relational::{Node, SetKind};
use super::select::{SelectPlan, Source};
use crate::cast::{CastContext, resolve_cast};
use crate::error::{Error, SqlState};
use crate::parse::{TableName, fold};
use crate::session::Column;
use crate::types::{Type, common_type};

/// A query that a name stands for.
#[derive(Clone, Debug)]
pub(super) struct WithQuery {
    name: String,
    columns: Vec<(String, Type)>,
    plan: SelectPlan,
    /// How many levels were around it where it was planned.
    levels: usize,
}

impl Binder<'_> {
    /// Plans the queries of `query`'s WITH; their names are visible until the caller drops them.
    pub(super) fn bind_with(&mut self, with: &ast::With, query: &ast::Query) -> Result<(), Error> {
        let begin = self.with.len();
        for (n, table) in with.cte_tables.iter().enumerate() {
            let name = fold(&table.alias.name);
            if self.with[begin..].iter().any(|other| other.name == name) {
                let message = format!("WITH query name \"{name}\" specified more than once");
                let error = Error::new(SqlState::DUPLICATE_ALIAS, message);
                return Err(self.locate_at(error, self.place_of(&table.alias.name)));
            }
            if table.from.is_some() {
                return Err(Error::syntax("syntax error at or near \"FROM\""));
            }
            let query = match (&*table.query.body, with.recursive) {
                (SetExpr::SetOperation { op: SetOperator::Union, set_quantifier, left, right }, true)
                    if mentions(&table.query, &name) > 0 =>
                {
                    self.recursive(&name, table, *set_quantifier, (left, right), query)?
                }
                _ => {
                    let mut plan = self.deeper(|binder| binder.query(&table.query))?;
                    // The step of a recursive query reads it again each time.
                    let later = with.cte_tables[n + 1..].iter();
                    let in_step =
                        with.recursive && later.map(|later| mentions(&later.query, &name)).any(|count| count > 0);
                    if in_step || mentions(query, &name) > 1 {
                        plan = self.kept(plan)?;
                    }
                    let columns = self.with_columns(&name, &table.alias, &plan.columns)?;
                    WithQuery { name, columns, plan, levels: self.outer.len() }
                }
            };
            self.with.push(query);
        }
        Ok(())
    }

    fn with_columns(
        &self,
        name: &str,
        alias: &ast::TableAlias,
        columns: &[Column],
    ) -> Result<Vec<(String, Type)>, Error> {
        if alias.columns.len() > columns.len() {
            let message = format!(
                "WITH query \"{name}\" has {} columns available but {} columns specified",
                columns.len(),
                alias.columns.len()
            );
            return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message));
        }
        let given = alias.columns.iter().map(|column| fold(&column.name));
        let own = columns.iter().skip(alias.columns.len()).map(|column| column.name.clone());
        Ok(given.chain(own).zip(columns.iter().map(|column| column.ty.clone())).collect())
    }

    fn recursive(
        &mut self,
        name: &str,
        table: &ast::Cte,
        quantifier: SetQuantifier,
        (first, step): (&SetExpr, &SetExpr),
        around: &ast::Query,
    ) -> Result<WithQuery, Error> {
        let query = &table.query;
        if query.order_by.is_some() || query.limit_clause.is_some() || query.fetch.is_some() {
            return Err(Error::unsupported("ORDER BY or LIMIT in a recursive query", "Put it outside."));
        }
        let all = is_all(quantifier)?;
        let first = self.arm(first)?;
        let columns = self.with_columns(name, &table.alias, &first.columns)?;
        let types: Vec<Type> = columns.iter().map(|(_, ty)| ty.clone()).collect();
        self.recursions += 1;
        let id = self.recursions;
        let shown: Vec<Column> = columns.iter().map(|(name, ty)| Column::plain(name.clone(), ty.clone())).collect();
        let work = SelectPlan::of_node(Node::Work { id, types: types.clone() }, shown.clone().into());
        self.with.push(WithQuery {
            name: name.to_owned(),
            columns: columns.clone(),
            plan: work,
            levels: self.outer.len(),
        });
        let step = self.arm(step);
        self.with.pop();
        let step = step?;
        if step.columns.len() != types.len() {
            return Err(Error::syntax("each UNION query must have the same number of columns"));
        }
        for (n, (column, ty)) in step.columns.iter().zip(&types).enumerate() {
            let common = common_type("UNION", &[ty.clone(), column.ty.clone()])?;
            if !common.same_base(ty) {
                let message = format!(
                    "recursive query \"{name}\" column {} has type {} in non-recursive term but type {} overall",
                    n + 1,
                    ty.plain_name(),
                    common.plain_name()
                );
                return Err(Error::new(SqlState::DATATYPE_MISMATCH, message)
                    .with_hint("Cast the output of the non-recursive term to the correct type."));
            }
        }
        let step = self.converted(step, &types, &[])?;
        let node = Node::Recursive { id, first: Box::new(first.into_node()), step: Box::new(step), all };
        let mut plan = SelectPlan::of_node(node, shown.into());
        // It names itself once.
        if mentions(around, name) > 2 {
            plan = self.kept(plan)?;
        }
        Ok(WithQuery { name: name.to_owned(), columns, plan, levels: self.outer.len() })
    }

    /// The source and relation that a name of WITH stands for.
    pub(super) fn with_source(&self, name: &TableName, alias: Option<String>) -> Option<(Source, Relation)> {
        if name.schema.is_some() {
            return None;
        }
        let query = self.with.iter().rev().find(|query| query.name == name.name)?;
        let relation = Relation::of_columns(alias.unwrap_or_else(|| name.name.clone()), query.columns.clone());
        let mut source = query.plan.clone().into_source();
        if let Source::Relational(node) = &mut source
            && self.outer.len() > query.levels
        {
            node.with_levels(self.outer.len() - query.levels);
        }
        Some((source, relation))
    }

    /// UNION, INTERSECT, EXCEPT.
    pub(super) fn set_operation(&mut self, body: &SetExpr) -> Result<SelectPlan, Error> {
        let SetExpr::SetOperation { op, set_quantifier, left, right } = body else {
            return Err(Error::internal("a set operation was expected"));
        };
        let (kind, word) = match op {
            SetOperator::Union => (SetKind::Union, "UNION"),
            SetOperator::Intersect => (SetKind::Intersect, "INTERSECT"),
            SetOperator::Except | SetOperator::Minus => (SetKind::Except, "EXCEPT"),
        };
        let all = is_all(*set_quantifier)?;
        let left = self.arm(left)?;
        let untyped_left = std::mem::take(&mut self.untyped);
        let right = self.arm(right)?;
        let untyped_right = std::mem::take(&mut self.untyped);
        if left.columns.len() != right.columns.len() {
            return Err(Error::syntax(format!("each {word} query must have the same number of columns")));
        }
        let mut types = Vec::with_capacity(left.columns.len());
        for (n, (a, b)) in left.columns.iter().zip(right.columns.iter()).enumerate() {
            let ty = |column: &Column, untyped: &[usize]| {
                if untyped.contains(&n) { Type::Unknown } else { column.ty.clone() }
            };
            types.push(common_type(word, &[ty(a, &untyped_left), ty(b, &untyped_right)])?);
        }
        let columns: Vec<Column> = left
            .columns
            .iter()
            .zip(&types)
            .map(|(column, ty)| Column::plain(column.name.clone(), ty.clone()))
            .collect();
        // A literal without a type on both sides may still get one further out.
        self.untyped = untyped_left.iter().copied().filter(|n| untyped_right.contains(n)).collect();
        let untyped = std::mem::take(&mut self.untyped);
        let left = Box::new(self.converted(left, &types, &untyped_left)?);
        let right = Box::new(self.converted(right, &types, &untyped_right)?);
        self.untyped = untyped;
        Ok(SelectPlan::of_node(Node::Set { kind, all, left, right }, columns.into()))
    }

    /// A query's rows with columns of these types; what is `untyped` is read as a literal of its new type.
    fn converted(&mut self, plan: SelectPlan, types: &[Type], untyped: &[usize]) -> Result<Node, Error> {
        let mut output = Vec::with_capacity(types.len());
        let mut changed = false;
        for (n, (column, target)) in plan.columns.iter().zip(types).enumerate() {
            let from = if untyped.contains(&n) { Type::Unknown } else { column.ty.clone() };
            let cast = resolve_cast(&from, target, CastContext::Implicit)?;
            changed |= column.ty != *target;
            let expr = Expr::Column(n);
            let expr = if cast.is_identity() { expr } else { Expr::Cast(Box::new((cast, expr))) };
            output.push((expr, target.clone()));
        }
        let node = plan.into_node();
        Ok(if changed { Node::Project { input: Box::new(node), output } } else { node })
    }
}

fn is_all(quantifier: SetQuantifier) -> Result<bool, Error> {
    match quantifier {
        SetQuantifier::All => Ok(true),
        SetQuantifier::None | SetQuantifier::Distinct => Ok(false),
        SetQuantifier::ByName | SetQuantifier::AllByName | SetQuantifier::DistinctByName => {
            Err(Error::syntax("syntax error at or near \"BY\""))
        }
    }
}

/// How often a query names a relation so.
fn mentions(query: &ast::Query, name: &str) -> usize {
    let mut found = 0;
    let visited: std::ops::ControlFlow<()> = ast::visit_relations(query, |relation| {
        let only = relation.0.first().and_then(|part| part.as_ident()).filter(|_| relation.0.len() == 1);
        found += usize::from(only.is_some_and(|ident| fold(ident) == name));
        std::ops::ControlFlow::Continue(())
    });
    debug_assert!(visited.is_continue());
    found
}
