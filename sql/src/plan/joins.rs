//! FROM with several relations: joins, USING, and the tree that is made of them.
//!
//! Conditions go down to the relation that they are about, as far as outer joins allow, so that its rows are found by key where that is possible.

use sqlparser::ast::{self, JoinConstraint, JoinOperator, TableFactor};

use super::access::{choose_access, conjuncts};
use super::binder::{Binder, Typed};
use super::expression::Expr;
use super::level::{Merged, Star};
use super::relational::{JoinKind, Node};
use super::select::{SelectPlan, Source, conjunction};
use crate::cast::CastContext;
use crate::error::{Error, SqlState};
use crate::functions::BinaryOp;
use crate::parse::fold;
use crate::session::Column;
use crate::types::{Type, common_type};

/// Stands in a layout for the constant column of a relation of which no column is used.
const NO_COLUMN: usize = usize::MAX;

/// How the relations of a level are joined. Conditions refer to the level's columns in use.
pub(super) enum FromTree {
    /// A relation, by its place in FROM.
    Relation(usize),
    /// A join of two.
    Join { left: Box<FromTree>, right: Box<FromTree>, kind: JoinKind, on: Vec<Expr> },
}

impl FromTree {
    fn holds(&self, relation: usize) -> bool {
        match self {
            FromTree::Relation(own) => *own == relation,
            FromTree::Join { left, right, .. } => left.holds(relation) || right.holds(relation),
        }
    }

    fn holds_all(&self, relations: &[usize]) -> bool {
        relations.iter().all(|relation| self.holds(*relation))
    }

    /// Whether it is certain to give no rows, since tables of the system that are always empty are joined in it.
    pub(super) fn is_void(&self, sources: &[Source]) -> bool {
        match self {
            FromTree::Relation(own) => matches!(&sources[*own], Source::Virtual(table, _) if table.is_empty()),
            FromTree::Join { left, right, kind, .. } => match kind {
                JoinKind::Inner => left.is_void(sources) || right.is_void(sources),
                JoinKind::Left => left.is_void(sources),
                JoinKind::Right => right.is_void(sources),
                JoinKind::Full => left.is_void(sources) && right.is_void(sources),
            },
        }
    }

    /// Takes a condition about these relations as far down as rows without a partner allow; gives it back if it has to stay above.
    fn push(&mut self, condition: Expr, about: &[usize], filters: &mut [Vec<Expr>]) -> Option<Expr> {
        match self {
            FromTree::Relation(own) => {
                filters[*own].push(condition);
                None
            }
            FromTree::Join { left, right, kind, on } => {
                if left.holds_all(about) && matches!(kind, JoinKind::Inner | JoinKind::Left) {
                    return left.push(condition, about, filters);
                }
                if right.holds_all(about) && matches!(kind, JoinKind::Inner | JoinKind::Right) {
                    return right.push(condition, about, filters);
                }
                if *kind == JoinKind::Inner {
                    on.push(condition);
                    return None;
                }
                Some(condition)
            }
        }
    }

    /// Takes the parts of join conditions down that are about one side only.
    fn push_conditions(&mut self, about: &dyn Fn(&Expr) -> Option<Vec<usize>>, filters: &mut [Vec<Expr>]) {
        let FromTree::Join { left, right, kind, on } = self else { return };
        left.push_conditions(about, filters);
        right.push_conditions(about, filters);
        for condition in std::mem::take(on) {
            let Some(relations) = about(&condition) else {
                on.push(condition);
                continue;
            };
            let kept = if left.holds_all(&relations) && matches!(kind, JoinKind::Inner | JoinKind::Right) {
                left.push(condition, &relations, filters)
            } else if right.holds_all(&relations) && matches!(kind, JoinKind::Inner | JoinKind::Left) {
                right.push(condition, &relations, filters)
            } else {
                Some(condition)
            };
            on.extend(kept);
        }
    }
}

impl Binder<'_> {
    /// Binds FROM: the relations come into the present level, their sources are given in the same order.
    pub(super) fn bind_from(&mut self, from: &[ast::TableWithJoins]) -> Result<(Vec<Source>, Option<FromTree>), Error> {
        let (mut sources, mut tree) = (Vec::new(), None);
        self.join_all(from, &mut sources, &mut tree)?;
        Ok((sources, tree))
    }

    /// Joins further relations to those that are there.
    pub(super) fn join_all(
        &mut self,
        from: &[ast::TableWithJoins],
        sources: &mut Vec<Source>,
        tree: &mut Option<FromTree>,
    ) -> Result<(), Error> {
        for item in from {
            let (right, star) = self.table_with_joins(item, sources)?;
            self.level.star.extend(star);
            *tree = Some(match tree.take() {
                None => right,
                Some(left) => join(left, right, JoinKind::Inner, Vec::new()),
            });
        }
        self.level.visible = 0..self.level.relations.len();
        Ok(())
    }

    fn table_with_joins(
        &mut self,
        item: &ast::TableWithJoins,
        sources: &mut Vec<Source>,
    ) -> Result<(FromTree, Vec<Star>), Error> {
        let begin = self.level.relations.len();
        let (mut tree, mut star) = self.factor(&item.relation, sources)?;
        for joined in &item.joins {
            if joined.global {
                return Err(Error::syntax("syntax error at or near \"GLOBAL\""));
            }
            let (kind, constraint) = join_kind(&joined.join_operator)?;
            let middle = self.level.relations.len();
            let (right, right_star) = self.factor(&joined.relation, sources)?;
            let end = self.level.relations.len();
            if matches!(kind, JoinKind::Right | JoinKind::Full)
                && let FromTree::Relation(right) = &right
                && self.level.lateral.contains(right)
            {
                let message = format!(
                    "invalid reference to FROM-clause entry in \"{}\": the combining JOIN type must be INNER or LEFT for a LATERAL reference",
                    self.level.relations[*right].alias
                );
                return Err(Error::new(SqlState::INVALID_COLUMN_REFERENCE, message));
            }
            let mut on = Vec::new();
            let using: Vec<ast::Ident> = match constraint {
                JoinConstraint::On(condition) => {
                    self.level.visible = begin..end;
                    on = conjuncts(Some(self.bind_condition(condition, "JOIN/ON")?));
                    Vec::new()
                }
                JoinConstraint::Using(names) => names
                    .iter()
                    .map(|name| {
                        let ident = name.0.first().and_then(|part| part.as_ident()).filter(|_| name.0.len() == 1);
                        ident.cloned().ok_or_else(|| Error::syntax(format!("syntax error at or near \"{name}\"")))
                    })
                    .collect::<Result<_, _>>()?,
                JoinConstraint::Natural => self.common_names(&star, &right_star),
                JoinConstraint::None => Vec::new(),
            };
            star.extend(right_star);
            for name in &using {
                on.push(self.merge(name, kind, begin..middle, middle..end, &mut star)?);
            }
            tree = join(tree, right, kind, on);
        }
        Ok((tree, star))
    }

    fn factor(&mut self, factor: &TableFactor, sources: &mut Vec<Source>) -> Result<(FromTree, Vec<Star>), Error> {
        if let TableFactor::NestedJoin { table_with_joins, alias } = factor {
            if alias.is_some() {
                return Err(Error::unsupported("an alias of a join", "Put the join into a subquery with an alias."));
            }
            return self.table_with_joins(table_with_joins, sources);
        }
        // Functions see what is on their left, with or without the word LATERAL.
        let visible = match factor {
            TableFactor::Table { args: None, .. } | TableFactor::Derived { lateral: false, .. } => 0..0,
            _ => 0..self.level.relations.len(),
        };
        let (mut source, relation) = self.apart(visible, |binder| binder.from(factor))?;
        if let Source::Relational(node) = &mut source {
            if node.references().iter().any(|(levels, _)| *levels == 1) {
                self.level.lateral.push(self.level.relations.len());
            } else {
                node.without_level();
            }
        }
        if self.level.relations.iter().any(|other| other.alias == relation.alias && other.schema == relation.schema) {
            let message = format!("table name \"{}\" specified more than once", relation.alias);
            return Err(Error::new(SqlState::DUPLICATE_ALIAS, message));
        }
        let number = self.level.relations.len();
        let star = (0..relation.columns.len()).map(|column| Star::Column { relation: number, column }).collect();
        self.level.relations.push(relation);
        sources.push(source);
        Ok((FromTree::Relation(number), star))
    }

    /// Binds at a level of its own, from which only these relations of the present one can be seen.
    pub(super) fn apart<T>(
        &mut self,
        visible: std::ops::Range<usize>,
        bind: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut level = std::mem::replace(&mut self.level, super::level::Level::new(None, "this clause"));
        let visible = std::mem::replace(&mut level.visible, visible);
        self.outer.push(level);
        let bound = bind(self);
        self.level = self.outer.pop().expect("it was pushed above");
        self.level.visible = visible;
        bound
    }

    fn star_name(&self, star: &Star) -> &str {
        match star {
            Star::Column { relation, column } => &self.level.relations[*relation].columns[*column].name,
            Star::Merged(n) => &self.level.merged[*n].name,
        }
    }

    fn common_names(&self, left: &[Star], right: &[Star]) -> Vec<ast::Ident> {
        let is_there = |name: &str| right.iter().any(|star| self.star_name(star) == name);
        let names = left.iter().map(|star| self.star_name(star)).filter(|name| is_there(name));
        names.map(|name| ast::Ident::with_quote('"', name)).collect()
    }

    /// A column of USING: the condition, and in `star` one column instead of two.
    fn merge(
        &mut self,
        name: &ast::Ident,
        kind: JoinKind,
        left: std::ops::Range<usize>,
        right: std::ops::Range<usize>,
        star: &mut Vec<Star>,
    ) -> Result<Expr, Error> {
        let position = self.place_of(name);
        let text = fold(name);
        let mut side = |range: std::ops::Range<usize>, side: &str| -> Result<Typed, Error> {
            self.level.visible = range;
            self.column(std::slice::from_ref(name)).map_err(|error| {
                if error.code != SqlState::UNDEFINED_COLUMN {
                    return error;
                }
                let message = format!("column \"{text}\" specified in USING clause does not exist in {side} table");
                self.locate_at(Error::new(SqlState::UNDEFINED_COLUMN, message), position)
            })
        };
        let (left, right) = (side(left, "left")?, side(right, "right")?);
        let ty = common_type("JOIN/USING", &[left.ty.clone(), right.ty.clone()])?;
        let condition = self.binary(BinaryOp::Equal, left.clone(), right.clone())?.expr;
        let hidden: Vec<usize> = left.expr.columns().into_iter().chain(right.expr.columns()).collect();
        let hides: Vec<(usize, usize)> =
            hidden.iter().map(|place| (self.level.used[*place].relation, self.level.used[*place].column)).collect();
        let left = self.coerce(left, &ty, CastContext::Implicit)?;
        let right = self.coerce(right, &ty, CastContext::Implicit)?;
        let expr = match kind {
            JoinKind::Inner | JoinKind::Left => left,
            JoinKind::Right => right,
            JoinKind::Full => Expr::Coalesce(vec![left, right]),
        };
        let merged_before: Vec<usize> = (0..self.level.merged.len())
            .filter(|n| self.level.merged[*n].hides.iter().all(|one| hides.contains(one)))
            .collect();
        star.retain(|star| match star {
            Star::Column { relation, column } => !hides.contains(&(*relation, *column)),
            Star::Merged(n) => !merged_before.contains(n),
        });
        self.level.merged.push(Merged { name: text, expr, ty, hides });
        let number = self.level.merged.len() - 1;
        // Merged columns come first, in their order.
        let earlier = star.iter().take_while(|star| matches!(star, Star::Merged(_))).count();
        star.insert(earlier, Star::Merged(number));
        Ok(condition)
    }

    /// The tree of operators below a query's other stages, with the condition in it; and which of the level's columns its rows hold, in order.
    pub(super) fn join_tree(
        &mut self,
        sources: Vec<Source>,
        tree: Option<FromTree>,
        filter: Vec<Expr>,
    ) -> Result<(Node, Vec<usize>), Error> {
        let Some(mut tree) = tree else {
            let node = Node::Rows(Box::new(rows(Source::OneRow, Vec::new(), Vec::new())));
            return Ok((filtered(node, filter), vec![NO_COLUMN]));
        };
        let used = self.level.used.clone();
        // What a condition is about; `None` if it has to be looked at above the joins.
        let about = |condition: &Expr| -> Option<Vec<usize>> {
            if condition.is_relational() || condition.is_volatile() {
                return None;
            }
            let mut relations: Vec<usize> = condition.columns().into_iter().map(|place| used[place].relation).collect();
            relations.sort_unstable();
            relations.dedup();
            (!relations.is_empty()).then_some(relations)
        };
        let mut filters: Vec<Vec<Expr>> = sources.iter().map(|_| Vec::new()).collect();
        tree.push_conditions(&about, &mut filters);
        let mut above = Vec::new();
        for condition in filter {
            match about(&condition) {
                Some(relations) => above.extend(tree.push(condition, &relations, &mut filters)),
                None => above.push(condition),
            }
        }
        let mut leaves: Vec<Option<(Source, Vec<Expr>)>> = sources.into_iter().zip(filters).map(Some).collect();
        let (node, layout) = self.tree_node(tree, &mut leaves)?;
        for condition in &mut above {
            renumber(condition, &layout);
        }
        Ok((filtered(node, above), layout))
    }

    fn tree_node(
        &self,
        tree: FromTree,
        leaves: &mut [Option<(Source, Vec<Expr>)>],
    ) -> Result<(Node, Vec<usize>), Error> {
        Ok(match tree {
            FromTree::Relation(relation) => {
                let (source, filter) = leaves[relation].take().expect("each relation is in the tree once");
                self.leaf(relation, source, filter)
            }
            FromTree::Join { left, right, kind, mut on } => {
                let nested = || {
                    Error::unsupported(
                        "a LATERAL reference from inside a nested join to what is outside it",
                        "Write the joins one after the other.",
                    )
                };
                if let FromTree::Relation(left) = &*left
                    && self.level.lateral.contains(left)
                {
                    return Err(nested());
                }
                let lateral = matches!(&*right, FromTree::Relation(right) if self.level.lateral.contains(right));
                let (left, mut layout) = self.tree_node(*left, leaves)?;
                let (mut right, more) = self.tree_node(*right, leaves)?;
                if lateral {
                    let mut missing = false;
                    right.map_outer(1, &mut |place| {
                        let found = layout.iter().position(|used| *used == place);
                        missing |= found.is_none();
                        found.unwrap_or(0)
                    });
                    if missing {
                        return Err(nested());
                    }
                }
                layout.extend(more);
                on.iter_mut().for_each(|condition| renumber(condition, &layout));
                let (left, right) = (Box::new(left), Box::new(right));
                let node = if lateral {
                    Node::Lateral { left, right, kind, on }
                } else {
                    Node::Join { left, right, kind, on }
                };
                (node, layout)
            }
        })
    }

    /// One relation with the columns that are used of it.
    fn leaf(&self, relation: usize, source: Source, mut filter: Vec<Expr>) -> (Node, Vec<usize>) {
        let mut places: Vec<usize> =
            (0..self.level.used.len()).filter(|place| self.level.used[*place].relation == relation).collect();
        let wanted = self.level.used_of(relation);
        let columns: Vec<Column> = places
            .iter()
            .map(|place| {
                let (_, column) = self.level.column_at(*place);
                Column::plain(column.name.clone(), column.ty.clone())
            })
            .collect();
        filter.iter_mut().for_each(|condition| renumber(condition, &places));
        if places.is_empty() {
            places.push(NO_COLUMN);
        }
        let node = match source {
            Source::Relational(node) => {
                let typed = |(column, shown): (&usize, &Column)| (Expr::Column(*column), shown.ty.clone());
                let mut output: Vec<(Expr, Type)> = wanted.iter().zip(&columns).map(typed).collect();
                if output.is_empty() {
                    output.push((Expr::boolean(true), Type::Bool));
                }
                filtered(Node::Project { input: node, output }, filter)
            }
            Source::Table(access) => {
                let access = choose_access(access.table.clone(), wanted, &mut filter, false);
                Node::Rows(Box::new(rows(Source::Table(Box::new(access)), filter, columns)))
            }
            Source::Virtual(table, _) => Node::Rows(Box::new(rows(Source::Virtual(table, wanted), filter, columns))),
            Source::Subquery(plan, _) => Node::Rows(Box::new(rows(Source::Subquery(plan, wanted), filter, columns))),
            other => Node::Rows(Box::new(rows(other, filter, columns))),
        };
        (node, places)
    }
}

fn join(left: FromTree, right: FromTree, kind: JoinKind, on: Vec<Expr>) -> FromTree {
    FromTree::Join { left: Box::new(left), right: Box::new(right), kind, on }
}

fn join_kind(operator: &JoinOperator) -> Result<(JoinKind, &JoinConstraint), Error> {
    Ok(match operator {
        JoinOperator::Join(JoinConstraint::None)
        | JoinOperator::Inner(JoinConstraint::None)
        | JoinOperator::Left(JoinConstraint::None)
        | JoinOperator::LeftOuter(JoinConstraint::None)
        | JoinOperator::Right(JoinConstraint::None)
        | JoinOperator::RightOuter(JoinConstraint::None)
        | JoinOperator::FullOuter(JoinConstraint::None) => {
            return Err(
                Error::syntax("a JOIN needs ON, USING or NATURAL").with_hint("Pairs of all rows are CROSS JOIN.")
            );
        }
        JoinOperator::Join(constraint) | JoinOperator::Inner(constraint) | JoinOperator::CrossJoin(constraint) => {
            (JoinKind::Inner, constraint)
        }
        JoinOperator::Left(constraint) | JoinOperator::LeftOuter(constraint) => (JoinKind::Left, constraint),
        JoinOperator::Right(constraint) | JoinOperator::RightOuter(constraint) => (JoinKind::Right, constraint),
        JoinOperator::FullOuter(constraint) => (JoinKind::Full, constraint),
        _ => return Err(Error::syntax("this form of JOIN is not PostgreSQL's")),
    })
}

/// A plan of one relation's rows; without columns it gives rows of one constant, for rows count even then.
pub(super) fn rows(source: Source, filter: Vec<Expr>, mut columns: Vec<Column>) -> SelectPlan {
    let mut output: Vec<Expr> = (0..columns.len()).map(Expr::Column).collect();
    if columns.is_empty() {
        columns.push(Column::plain("?column?", Type::Bool));
        output.push(Expr::boolean(true));
    }
    SelectPlan {
        source,
        filter: conjunction(filter),
        grouping: None,
        output,
        columns: columns.into(),
        distinct: false,
        order_by: Vec::new(),
        hidden: Vec::new(),
        limit: None,
        offset: None,
    }
}

/// With the conditions below in one filter: only within one is it known which are worked out for which rows.
fn filtered(node: Node, conditions: Vec<Expr>) -> Node {
    match node {
        node if conditions.is_empty() => node,
        Node::Filter { input, conditions: mut all } => {
            all.extend(conditions);
            Node::Filter { input, conditions: all }
        }
        node => Node::Filter { input: Box::new(node), conditions },
    }
}

fn renumber(expr: &mut Expr, layout: &[usize]) {
    expr.map_columns(&mut |place| {
        layout.iter().position(|used| *used == place).expect("a condition is about columns below it")
    });
}
