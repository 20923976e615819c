//! GROUP BY: keys are found, and what stands above them is rewritten to refer to the grouped rows.

use sqlparser::ast;

use super::binder::{Binder, Typed};
use super::expression::Expr;
use super::level::{Aggregates, Level, WindowCall};
use super::output::Output;
use super::select::{Grouping, same};
use crate::error::{Error, SqlState};
use crate::types::Type;
use crate::value::Value;

/// GROUPING SETS multiply; this many are enough for a CUBE of twelve, as in PostgreSQL.
const SETS_MAX: usize = 4096;

/// The keys of GROUP BY, over the source's rows.
#[derive(Default)]
pub(super) struct Keys {
    exprs: Vec<Expr>,
    types: Vec<Type>,
    /// GROUPING SETS: the places of each set's keys.
    sets: Option<Vec<Vec<usize>>>,
}

impl Keys {
    fn place(&mut self, key: Typed) -> usize {
        let known = self.exprs.iter().position(|known| same(known, &key.expr));
        known.unwrap_or_else(|| {
            self.exprs.push(key.expr);
            self.types.push(key.ty);
            self.exprs.len() - 1
        })
    }
}

impl Binder<'_> {
    /// The keys of GROUP BY; `None` without one.
    pub(super) fn group_keys(&mut self, select: &ast::Select, output: &Output) -> Result<Option<Keys>, Error> {
        let ast::GroupByExpr::Expressions(expressions, _) = &select.group_by else { return Ok(None) };
        if expressions.is_empty() {
            return Ok(None);
        }
        let mut keys = Keys::default();
        let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
        let mut with_sets = false;
        for expr in expressions {
            let choices: Vec<Vec<usize>> = match expr {
                ast::Expr::GroupingSets(list) => {
                    list.iter().map(|set| self.key_set(set, output, &mut keys)).collect::<Result<_, _>>()?
                }
                ast::Expr::Rollup(list) => {
                    let parts =
                        list.iter().map(|set| self.key_set(set, output, &mut keys)).collect::<Result<Vec<_>, _>>()?;
                    (0..=parts.len()).rev().map(|length| parts[..length].concat()).collect()
                }
                ast::Expr::Cube(list) => {
                    let parts =
                        list.iter().map(|set| self.key_set(set, output, &mut keys)).collect::<Result<Vec<_>, _>>()?;
                    if parts.len() > 12 {
                        return Err(Error::new(SqlState::TOO_MANY_COLUMNS, "CUBE is limited to 12 elements"));
                    }
                    let last = parts.len().saturating_sub(1);
                    let chosen = |bits: usize| {
                        let taken = parts.iter().enumerate().filter(move |(n, _)| (bits >> (last - n)) & 1 == 1);
                        taken.flat_map(|(_, part)| part.iter().copied()).collect()
                    };
                    (0..1_usize << parts.len()).rev().map(chosen).collect()
                }
                ast::Expr::Tuple(parts) if parts.is_empty() => vec![Vec::new()],
                plain => vec![vec![self.group_key(plain, output, &mut keys)?]],
            };
            with_sets |= matches!(expr, ast::Expr::GroupingSets(_) | ast::Expr::Rollup(_) | ast::Expr::Cube(_));
            sets = sets.iter().flat_map(|set| choices.iter().map(move |more| [&set[..], more].concat())).collect();
            if sets.len() > SETS_MAX {
                let message = format!("too many grouping sets present (maximum {SETS_MAX})");
                return Err(Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
            }
        }
        if with_sets {
            for set in &mut sets {
                set.sort_unstable();
                set.dedup();
            }
            keys.sets = Some(sets);
        }
        Ok(Some(keys))
    }

    fn key_set(&mut self, set: &[ast::Expr], output: &Output, keys: &mut Keys) -> Result<Vec<usize>, Error> {
        set.iter().map(|expr| self.group_key(expr, output, keys)).collect()
    }

    fn group_key(&mut self, expr: &ast::Expr, output: &Output, keys: &mut Keys) -> Result<usize, Error> {
        // A bare name is a column of the source if there is one; else an output column, as a number is.
        let own = match expr {
            ast::Expr::Identifier(ident) => {
                let name = crate::parse::fold(ident);
                self.level.relations.iter().any(|relation| relation.columns.iter().any(|column| column.name == name))
            }
            _ => false,
        };
        let place = if own { None } else { self.output_reference(expr, &output.columns, &output.exprs, "GROUP BY")? };
        let key = match place {
            Some(place) => Typed::new(output.exprs[place].clone(), output.types[place].clone()),
            None => {
                let before = std::mem::replace(&mut self.level.allow_aggregates, Aggregates::NotIn("GROUP BY"));
                let typed = self.expression(expr);
                self.level.allow_aggregates = before;
                self.settle(typed?)?
            }
        };
        let (mut aggregated, mut windowed) = (false, false);
        let mut set = false;
        key.expr.walk(&mut |part| {
            set |= matches!(part, Expr::Element(_));
            aggregated |= matches!(part, Expr::Aggregate(_));
            windowed |= matches!(part, Expr::Window(_));
        });
        if aggregated {
            let error = Error::new(SqlState::GROUPING_ERROR, "aggregate functions are not allowed in GROUP BY");
            return Err(self.locate(error, expr));
        }
        if set {
            let error = Error::unsupported("GROUP BY a set-returning function", "Put it into a FROM subquery.");
            return Err(self.locate(error, expr));
        }
        if windowed {
            let error = Error::new(SqlState::WINDOWING_ERROR, "window functions are not allowed in GROUP BY");
            return Err(self.locate(error, expr));
        }
        Ok(keys.place(key))
    }

    /// The grouping, if there is any; output, HAVING and window functions are rewritten to refer to its rows.
    ///
    /// # Errors
    /// 42803 for a column that is neither grouped nor aggregated.
    pub(super) fn grouping(
        &mut self,
        keys: Option<Keys>,
        having: &mut Option<Expr>,
        output: &mut Output,
        windows: &mut [WindowCall],
        elements: &mut [(Expr, Type)],
    ) -> Result<Option<Grouping>, Error> {
        let aggregates = std::mem::take(&mut self.level.aggregates);
        if keys.is_none() && aggregates.is_empty() && having.is_none() && !self.level.grouping {
            return Ok(None);
        }
        let keys = keys.unwrap_or_default();
        let mut above = Above {
            determined: self.determined(&keys),
            level: &self.level,
            keys,
            ungrouped: None,
            groupings: Vec::new(),
            misplaced: false,
        };
        let mut each = |change: &mut dyn FnMut(&mut Expr)| {
            output.exprs.iter_mut().for_each(&mut *change);
            having.iter_mut().for_each(&mut *change);
            windows.iter_mut().for_each(|call| call.expressions(change));
            elements.iter_mut().for_each(|(expr, _)| change(expr));
        };
        each(&mut |expr| above.rewrite(expr));
        let Above { keys, ungrouped, groupings, misplaced, .. } = above;
        if misplaced {
            let message = "arguments to GROUPING must be grouping expressions of the associated query level";
            return Err(Error::new(SqlState::GROUPING_ERROR, message));
        }
        if let Some(place) = ungrouped {
            let (relation, column) = self.level.column_at(place);
            let message = format!(
                "column \"{}.{}\" must appear in the GROUP BY clause or be used in an aggregate function",
                relation.alias, column.name
            );
            let error = Error::new(SqlState::GROUPING_ERROR, message);
            return Err(self.locate_at(error, self.level.used[place].position));
        }
        // Aggregates come behind the keys, whose number is final now.
        let count = keys.exprs.len();
        let with_sets = keys.sets.is_some();
        let behind = count + aggregates.len();
        each(&mut |expr| {
            expr.rewrite(&mut |part| match part {
                Expr::Aggregate(n) => Some(Expr::Column(count + n)),
                // Without grouping sets every key is always grouped by.
                Expr::Grouping(_) if !with_sets => Some(Expr::Constant(Value::Int32(0))),
                Expr::Grouping(keys) => {
                    let place = |key: &Expr| if let Expr::Column(place) = key { *place } else { 0 };
                    let wanted: Vec<usize> = keys.iter().map(place).collect();
                    groupings.iter().position(|known| *known == wanted).map(|n| Expr::Column(behind + n))
                }
                _ => None,
            });
        });
        let Keys { exprs, types, sets } = keys;
        let groupings = if with_sets { groupings } else { Vec::new() };
        Ok(Some(Grouping { keys: exprs, types, sets, aggregates, groupings, having: None }))
    }

    /// The relations that are grouped by their whole primary key: their other columns are determined too.
    fn determined(&self, keys: &Keys) -> Vec<usize> {
        if keys.sets.is_some() {
            return Vec::new();
        }
        let whole = |relation: &usize| {
            let Some(table) = self.catalog.table_by_id(self.level.relations[*relation].table) else { return false };
            let grouped = |column: &usize| {
                let is_it = |place: usize| {
                    let used = self.level.used[place];
                    (used.relation, used.column) == (*relation, *column)
                };
                keys.exprs.iter().any(|key| matches!(key, Expr::Column(place) if is_it(*place)))
            };
            !table.key_columns().is_empty() && table.key_columns().iter().all(grouped)
        };
        (0..self.level.relations.len()).filter(whole).collect()
    }
}

/// Rewrites what stands above a grouping.
struct Above<'l> {
    level: &'l Level,
    keys: Keys,
    determined: Vec<usize>,
    /// The first column found that is neither grouped nor aggregated.
    ungrouped: Option<usize>,
    /// Calls of GROUPING: the places of their keys.
    groupings: Vec<Vec<usize>>,
    /// Whether an argument of GROUPING is no key.
    misplaced: bool,
}

impl Above<'_> {
    fn rewrite(&mut self, expr: &mut Expr) {
        expr.rewrite(&mut |part| {
            if let Some(place) = self.keys.exprs.iter().position(|key| same(key, part)) {
                return Some(Expr::Column(place));
            }
            match part {
                // Moved behind the keys later.
                Expr::Aggregate(n) => Some(Expr::Aggregate(*n)),
                Expr::Grouping(arguments) => {
                    let places: Option<Vec<usize>> = arguments
                        .iter()
                        .map(|argument| self.keys.exprs.iter().position(|key| same(key, argument)))
                        .collect();
                    self.misplaced |= places.is_none();
                    let places = places.unwrap_or_default();
                    if !self.groupings.contains(&places) {
                        self.groupings.push(places.clone());
                    }
                    Some(Expr::Grouping(places.into_iter().map(Expr::Column).collect()))
                }
                Expr::Column(place) => Some(Expr::Column(self.key_of(*place))),
                Expr::Subquery(subquery) => {
                    let mut subquery = subquery.clone();
                    for member in subquery.kind.members_mut() {
                        self.rewrite(&mut member.operand);
                    }
                    subquery.plan.map_outer(1, &mut |place| self.key_of(place));
                    Some(Expr::Subquery(subquery))
                }
                _ => None,
            }
        });
    }

    /// The key that a column of the source is, or becomes if it is determined by others.
    fn key_of(&mut self, place: usize) -> usize {
        let column = Expr::Column(place);
        if let Some(key) = self.keys.exprs.iter().position(|key| same(key, &column)) {
            return key;
        }
        if !self.determined.contains(&self.level.used[place].relation) {
            self.ungrouped.get_or_insert(place);
            return place;
        }
        let (_, origin) = self.level.column_at(place);
        self.keys.place(Typed::new(column, origin.ty.clone()))
    }
}
