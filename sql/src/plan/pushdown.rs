//! Which part of a query is done where its rows are read (see [`crate::program`]).
//!
//! The first conditions of WHERE that can travel; with all of them and no others, the grouping too, if all of it can travel. Conditions behind the
//! first one that cannot stay with it, so that no row is asked what an earlier condition keeps from it. Of the columns, those go to the gateway that
//! something there refers to. Reads by key and reads under locks are as they are: there is little to gain, and a lock is about the row as it is then.

use super::access::{Access, Path};
use super::expression::Expr;
use super::select::{SelectPlan, Source};
use crate::program;
use crate::types::Type;

/// Bytes a row that have to be saved before leaving out columns is worth a program of its own.
const WORTH: usize = 16;
/// What a column of varying length is guessed to take.
const VARYING: usize = 16;

/// What is done at the replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushdown {
    /// So many of the first conditions.
    pub conditions: usize,
    /// Grouping and the beginning of the aggregates; then no rows come.
    pub groups: bool,
    /// The places of the columns that come, in order.
    pub places: Vec<usize>,
}

/// The parts of a filter that all have to hold.
pub fn conditions(filter: &Option<Expr>) -> &[Expr] {
    match filter {
        None => &[],
        Some(Expr::And(all)) => all,
        Some(one) => std::slice::from_ref(one),
    }
}

/// What of a query is done at the replicas; `None` if nothing is.
pub fn pushdown(plan: &SelectPlan) -> Option<Pushdown> {
    let Source::Table(access) = &plan.source else { return None };
    if access.lock || !matches!(access.path, Path::Range(_)) {
        return None;
    }
    let all = conditions(&plan.filter);
    let pushed = all.iter().take_while(|condition| program::travels(condition)).count();
    let mut used = vec![false; access.columns.len()];
    for condition in &all[pushed..] {
        note(condition, &mut used);
    }
    let mut groups = false;
    match &plan.grouping {
        None => plan.output.iter().for_each(|expr| note(expr, &mut used)),
        Some(grouping) => {
            groups = pushed == all.len()
                && grouping.sets.is_none()
                && grouping.groupings.is_empty()
                && grouping.keys.iter().all(program::travels)
                && grouping.aggregates.iter().all(program::call_travels);
            if !groups {
                grouping.keys.iter().for_each(|expr| note(expr, &mut used));
                for call in &grouping.aggregates {
                    let keys = call.order_by.iter().map(|(key, ..)| key);
                    call.arguments.iter().chain(&call.filter).chain(keys).for_each(|expr| note(expr, &mut used));
                }
            }
        }
    }
    let places = (0..used.len()).filter(|place| used[*place]).collect();
    let pushdown = Pushdown { conditions: pushed, groups, places };
    (groups || pushed > 0 || is_narrow(access, &pushdown.places)).then_some(pushdown)
}

fn note(expr: &Expr, used: &mut [bool]) {
    expr.walk(&mut |part| {
        if let Expr::Column(place) = part {
            used[*place] = true;
        }
    });
}

/// Whether rows with these columns alone are so much smaller that cutting them pays. Not for ranges of keys, which tend to be short.
fn is_narrow(access: &Access, places: &[usize]) -> bool {
    let Path::Range(range) = &access.path else { return false };
    if !range.prefix.is_empty() {
        return false;
    }
    let kept: Vec<usize> = places.iter().map(|place| access.ordinals[*place]).collect();
    let left_out = access.codec.layout().enumerate().filter(|(ordinal, _)| !kept.contains(ordinal));
    left_out.map(|(_, (ty, _))| width(ty)).sum::<usize>() >= WORTH
}

fn width(ty: &Type) -> usize {
    match ty {
        Type::Bool => 1,
        Type::Int16 => 2,
        Type::Int32 | Type::Float4 | Type::Date | Type::Oid | Type::Regclass | Type::Regtype => 4,
        Type::Int64 | Type::Float8 | Type::Time(_) | Type::Timestamp(_) | Type::TimestampTz(_) => 8,
        _ => VARYING,
    }
}
