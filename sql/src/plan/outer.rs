//! References from a query to the rows of queries around it: which there are, and how they change when a query is put somewhere else.
//!
//! A reference says how many levels out its row is, seen from the query that it stands in; a subquery in an expression and the right side of a LATERAL join are one
//! level further in than what is around them.

use super::expression::Expr;
use super::relational::Node;

impl Node {
    /// Calls `change` for every expression of the tree, those of compiled plans and of subqueries within expressions left out, with how far out the
    /// rows are that are `levels` further out for the tree itself.
    fn expressions(&mut self, levels: usize, change: &mut dyn FnMut(&mut Expr, usize)) {
        match self {
            Node::Rows(_) | Node::Work { .. } => {}
            Node::Filter { input, conditions } => {
                input.expressions(levels, change);
                conditions.iter_mut().for_each(|expr| change(expr, levels));
            }
            Node::Project { input, output } | Node::Expand { input, arrays: output } => {
                input.expressions(levels, change);
                output.iter_mut().for_each(|(expr, _)| change(expr, levels));
            }
            Node::Join { left, right, on, .. } => {
                left.expressions(levels, change);
                right.expressions(levels, change);
                on.iter_mut().for_each(|expr| change(expr, levels));
            }
            Node::Lateral { left, right, on, .. } => {
                left.expressions(levels, change);
                right.expressions(levels + 1, change);
                on.iter_mut().for_each(|expr| change(expr, levels));
            }
            Node::Group { input, keys, aggregates, .. } => {
                input.expressions(levels, change);
                keys.iter_mut().for_each(|(expr, _)| change(expr, levels));
                aggregates.iter_mut().for_each(|call| call.expressions(&mut |expr| change(expr, levels)));
            }
            Node::Window { input, calls } => {
                input.expressions(levels, change);
                calls.iter_mut().for_each(|call| call.expressions(&mut |expr| change(expr, levels)));
            }
            Node::Distinct { input, .. } | Node::Sort { input, .. } => input.expressions(levels, change),
            Node::Limit { input, limit, offset } => {
                input.expressions(levels, change);
                limit.iter_mut().chain(offset).for_each(|expr| change(expr, levels));
            }
            Node::Set { left, right, .. } => {
                left.expressions(levels, change);
                right.expressions(levels, change);
            }
            Node::Recursive { first, step, .. } => {
                first.expressions(levels, change);
                step.expressions(levels, change);
            }
        }
    }

    /// Renumbers references to the columns of the row `levels` further out.
    pub(super) fn map_outer(&mut self, levels: usize, place: &mut dyn FnMut(usize) -> usize) {
        self.expressions(levels, &mut |expr, levels| expr.map_at(levels, place));
    }

    /// For a tree that has lost the row around it (which it does not refer to): the rows further out are one level nearer.
    pub(super) fn without_level(&mut self) {
        self.expressions(1, &mut |expr, levels| expr.draw_in(levels));
    }

    /// For a tree that is put so many levels further in than it was made: the rows around it are that much further out.
    pub(super) fn with_levels(&mut self, more: usize) {
        self.expressions(1, &mut |expr, levels| expr.push_away(levels, more));
    }

    /// The columns of rows around it that it refers to: how far out, from 1, and which.
    pub fn references(&self) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        self.collect_references(1, &mut found);
        found
    }

    fn collect_references(&self, levels: usize, found: &mut Vec<(usize, usize)>) {
        self.clone().expressions(levels, &mut |expr, levels| expr.collect_references(levels, found));
    }

    /// Takes out of a plain query the conditions that are about the row around it only, as conditions on that row: without them the engine
    /// can turn the query into a join.
    pub(super) fn take_guards(&mut self) -> Vec<Expr> {
        let Node::Project { input, .. } = self else { return Vec::new() };
        let Node::Filter { conditions, .. } = &mut **input else { return Vec::new() };
        let is_guard = |condition: &Expr| {
            condition.refers_out()
                && condition.columns().is_empty()
                && !condition.has_subquery()
                && !condition.is_volatile()
        };
        let (mut guards, rest): (Vec<Expr>, Vec<Expr>) = std::mem::take(conditions).into_iter().partition(is_guard);
        *conditions = rest;
        for guard in &mut guards {
            guard.rewrite(&mut |part| match part {
                Expr::Outer { levels: 1, place } => Some(Expr::Column(*place)),
                Expr::Outer { levels, place } => Some(Expr::Outer { levels: levels - 1, place: *place }),
                _ => None,
            });
        }
        guards
    }

    /// Whether it refers to rows around it.
    pub fn refers_outside(&self) -> bool {
        self.refers_beyond(1)
    }

    fn refers_beyond(&self, levels: usize) -> bool {
        let mut found = false;
        self.clone().expressions(levels, &mut |expr, levels| found |= expr.refers_beyond(levels));
        found
    }
}

impl Expr {
    /// Renumbers the columns of the row at hand, those that its subqueries refer to included.
    pub fn map_columns(&mut self, place: &mut dyn FnMut(usize) -> usize) {
        self.map_at(0, place);
    }

    fn map_at(&mut self, levels: usize, place: &mut dyn FnMut(usize) -> usize) {
        self.rewrite(&mut |part| match part {
            Expr::Column(n) if levels == 0 => Some(Expr::Column(place(*n))),
            Expr::Outer { levels: of, place: n } if *of == levels => {
                Some(Expr::Outer { levels: *of, place: place(*n) })
            }
            Expr::Subquery(subquery) => {
                let mut subquery = subquery.clone();
                for member in subquery.kind.members_mut() {
                    member.operand.map_at(levels, place);
                }
                subquery.plan.map_outer(levels + 1, place);
                Some(Expr::Subquery(subquery))
            }
            _ => None,
        });
    }

    /// Makes references to rows more than `levels` out one level shorter.
    fn draw_in(&mut self, levels: usize) {
        self.rewrite(&mut |part| match part {
            Expr::Outer { levels: of, place } if *of > levels => Some(Expr::Outer { levels: of - 1, place: *place }),
            Expr::Subquery(subquery) => {
                let mut subquery = subquery.clone();
                for member in subquery.kind.members_mut() {
                    member.operand.draw_in(levels);
                }
                subquery.plan.expressions(levels + 1, &mut |expr, levels| expr.draw_in(levels));
                Some(Expr::Subquery(subquery))
            }
            _ => None,
        });
    }

    /// Makes references to rows at least `levels` out `more` levels longer.
    pub(super) fn push_away(&mut self, levels: usize, more: usize) {
        self.rewrite(&mut |part| match part {
            Expr::Outer { levels: of, place } if *of >= levels => {
                Some(Expr::Outer { levels: of + more, place: *place })
            }
            Expr::Subquery(subquery) => {
                let mut subquery = subquery.clone();
                for member in subquery.kind.members_mut() {
                    member.operand.push_away(levels, more);
                }
                subquery.plan.expressions(levels + 1, &mut |expr, levels| expr.push_away(levels, more));
                Some(Expr::Subquery(subquery))
            }
            _ => None,
        });
    }

    /// Adds the references to rows at least `levels` out, counted from there.
    fn collect_references(&self, levels: usize, found: &mut Vec<(usize, usize)>) {
        self.walk(&mut |part| match part {
            Expr::Outer { levels: of, place } if *of >= levels => {
                let reference = (of - levels + 1, *place);
                if !found.contains(&reference) {
                    found.push(reference);
                }
            }
            Expr::Subquery(subquery) => subquery.plan.collect_references(levels + 1, found),
            _ => {}
        });
    }

    /// Makes references to the row at hand references to the row `levels` further out.
    pub(super) fn push_out(&mut self, levels: usize) {
        self.rewrite(&mut |part| match part {
            Expr::Column(place) => Some(Expr::Outer { levels, place: *place }),
            _ => None,
        });
    }

    /// The columns of the row at hand that it uses, those that its subqueries refer to included.
    pub fn columns(&self) -> Vec<usize> {
        let mut found = Vec::new();
        self.clone().map_columns(&mut |place| {
            if !found.contains(&place) {
                found.push(place);
            }
            place
        });
        found
    }

    /// Whether it holds a subquery that is worked out row by row.
    pub fn has_subquery(&self) -> bool {
        let mut found = false;
        self.walk(&mut |part| found |= matches!(part, Expr::Subquery(_)));
        found
    }

    /// Whether it refers to rows around the query that it stands in.
    pub fn refers_out(&self) -> bool {
        self.refers_beyond(1)
    }

    /// Whether only the relational engine can work it out.
    pub fn is_relational(&self) -> bool {
        self.has_subquery() || self.refers_out()
    }

    /// Whether it refers to a row at least `levels` further out (1: the one around it).
    fn refers_beyond(&self, levels: usize) -> bool {
        let mut found = false;
        self.walk(&mut |part| match part {
            Expr::Outer { levels: of, .. } => found |= *of >= levels,
            Expr::Subquery(subquery) => found |= subquery.plan.refers_beyond(levels + 1),
            _ => {}
        });
        found
    }
}
