//! GROUP BY: keys are found, and what stands above them is rewritten to refer to the grouped rows.

use sqlparser::ast;

use super::binder::Binder;
use super::expression::Expr;
use super::select::{Grouping, same};
use crate::error::{Error, SqlState};
use crate::session::Column;

impl Binder<'_> {
    /// The keys of GROUP BY, over the source's rows; `None` without GROUP BY.
    pub(super) fn group_keys(
        &mut self,
        select: &ast::Select,
        output: &[Expr],
        columns: &[Column],
    ) -> Result<Option<Vec<Expr>>, Error> {
        let ast::GroupByExpr::Expressions(expressions, _) = &select.group_by else { return Ok(None) };
        if expressions.is_empty() {
            return Ok(None);
        }
        let mut keys: Vec<Expr> = Vec::with_capacity(expressions.len());
        for expr in expressions {
            // A bare name is a column of the source if there is one; else an output column, as a number is.
            let own = match expr {
                ast::Expr::Identifier(ident) => {
                    let name = crate::parse::fold(ident);
                    self.level
                        .relation
                        .as_ref()
                        .is_some_and(|relation| relation.columns.iter().any(|column| column.name == name))
                }
                _ => false,
            };
            let place = if own { None } else { self.output_reference(expr, columns, "GROUP BY")? };
            let key = match place {
                Some(place) => output[place].clone(),
                None => {
                    let clause = super::binder::Aggregates::NotIn("GROUP BY");
                    let before = std::mem::replace(&mut self.level.allow_aggregates, clause);
                    let typed = self.expression(expr);
                    self.level.allow_aggregates = before;
                    self.settle(typed?)?.expr
                }
            };
            let mut aggregated = false;
            key.walk(&mut |part| aggregated |= matches!(part, Expr::Aggregate(_)));
            if aggregated {
                let error = Error::new(SqlState::GROUPING_ERROR, "aggregate functions are not allowed in GROUP BY");
                return Err(self.locate(error, expr));
            }
            if !keys.iter().any(|known| same(known, &key)) {
                keys.push(key);
            }
        }
        Ok(Some(keys))
    }

    /// The grouping, if there is any; `output` and HAVING are rewritten to refer to its rows.
    ///
    /// # Errors
    /// 42803 for a column that is neither grouped nor aggregated.
    pub(super) fn grouping(
        &mut self,
        keys: Option<Vec<Expr>>,
        mut having: Option<Expr>,
        output: &mut [Expr],
    ) -> Result<Option<Grouping>, Error> {
        let aggregates = std::mem::take(&mut self.level.aggregates);
        if keys.is_none() && aggregates.is_empty() && having.is_none() {
            return Ok(None);
        }
        let mut keys = keys.unwrap_or_default();
        // Grouped by its whole primary key, a table's other columns are determined too.
        let determined = self.grouped_by_key(&keys);
        let mut ungrouped = None;
        for expr in output.iter_mut().chain(having.as_mut()) {
            expr.rewrite(&mut |part| {
                if let Some(place) = keys.iter().position(|key| same(key, part)) {
                    return Some(Expr::Column(place));
                }
                match part {
                    // Moved behind the keys below, when their number is final.
                    Expr::Aggregate(n) => Some(Expr::Aggregate(*n)),
                    Expr::Column(_) if determined => {
                        keys.push(part.clone());
                        Some(Expr::Column(keys.len() - 1))
                    }
                    Expr::Column(place) => {
                        ungrouped.get_or_insert(*place);
                        None
                    }
                    _ => None,
                }
            });
        }
        if let (Some(place), Some(relation)) = (ungrouped, &self.level.relation) {
            let name = &relation.columns[relation.used[place]].name;
            let message = format!(
                "column \"{}.{name}\" must appear in the GROUP BY clause or be used in an aggregate function",
                relation.alias
            );
            return Err(self.locate_at(Error::new(SqlState::GROUPING_ERROR, message), relation.places[place]));
        }
        let count = keys.len();
        for expr in output.iter_mut().chain(having.as_mut()) {
            expr.rewrite(&mut |part| match part {
                Expr::Aggregate(n) => Some(Expr::Column(count + n)),
                _ => None,
            });
        }
        Ok(Some(Grouping { keys, aggregates, having }))
    }

    fn grouped_by_key(&self, keys: &[Expr]) -> bool {
        let Some(relation) = &self.level.relation else { return false };
        let Some(table) = self.catalog.table_by_id(relation.table) else { return false };
        let grouped = |column: &usize| {
            let place = relation.used.iter().position(|used| used == column);
            place.is_some_and(|place| keys.iter().any(|key| matches!(key, Expr::Column(n) if *n == place)))
        };
        !table.key_columns().is_empty() && table.key_columns().iter().all(grouped)
    }
}
