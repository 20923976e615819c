//! Clauses that `sqlparser` reads and this product does not have: refused by name, never ignored.

use sqlparser::ast::{GroupByExpr, LimitClause, Query, Select, SelectFlavor, SetExpr};

use crate::error::Error;

const SEPARATE: &str = "Run the queries as statements of their own.";

fn first(refused: &[(bool, &str, &str)]) -> Result<(), Error> {
    match refused.iter().find(|(present, ..)| *present) {
        Some((_, feature, hint)) => Err(Error::unsupported(feature, *hint)),
        None => Ok(()),
    }
}

/// Refuses the clauses of a query that are not PostgreSQL's or not there yet. Subqueries are checked when they are planned.
///
/// # Errors
/// 0A000 with the clause's name.
pub fn refuse_clauses(query: &Query) -> Result<(), Error> {
    let limit_by =
        matches!(&query.limit_clause, Some(LimitClause::LimitOffset { limit_by, .. }) if !limit_by.is_empty());
    first(&[
        (query.fetch.as_ref().is_some_and(|fetch| fetch.with_ties), "FETCH ... WITH TIES", "Use LIMIT."),
        (query.fetch.as_ref().is_some_and(|fetch| fetch.percent), "FETCH ... PERCENT", "Use LIMIT."),
        (query.for_clause.is_some(), "FOR XML or JSON", ""),
        (
            query.settings.is_some() || query.format_clause.is_some() || !query.pipe_operators.is_empty() || limit_by,
            "this clause",
            "",
        ),
    ])?;
    match &*query.body {
        SetExpr::Select(select) => refuse_select_clauses(select),
        SetExpr::SetOperation { .. } | SetExpr::Values(_) | SetExpr::Query(_) | SetExpr::Table(_) => Ok(()),
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
            Err(Error::unsupported("a row change inside a query", SEPARATE))
        }
    }
}

fn refuse_select_clauses(select: &Select) -> Result<(), Error> {
    let modified = match &select.group_by {
        GroupByExpr::All(_) => true,
        GroupByExpr::Expressions(_, modifiers) => !modifiers.is_empty(),
    };
    first(&[
        (select.into.is_some(), "SELECT INTO", "Create the table, then fill it with INSERT ... SELECT."),
        (select.qualify.is_some(), "QUALIFY", ""),
        (modified, "this form of GROUP BY", "Name the columns, or use ROLLUP, CUBE or GROUPING SETS."),
        (!select.lateral_views.is_empty(), "LATERAL VIEW", ""),
        (select.top.is_some(), "TOP", "Use LIMIT."),
        (
            select.exclude.is_some()
                || select.select_modifiers.is_some()
                || select.prewhere.is_some()
                || !select.connect_by.is_empty()
                || !select.cluster_by.is_empty()
                || !select.distribute_by.is_empty()
                || !select.sort_by.is_empty()
                || select.value_table_mode.is_some()
                || !matches!(select.flavor, SelectFlavor::Standard),
            "this clause of SELECT",
            "",
        ),
    ])
}
