//! Catalog queries of well-known programs that join tables which do not exist here, with answers computed from the catalog.
//!
//! A query is recognised by its shape: its syntax tree printed in one form, literals taken out. Nothing else is guessed; a query that
//! differs in anything but its literals is planned, or refused, like any other.

use std::sync::LazyLock;

use sqlparser::ast;

use super::expression::Expr;
use super::select::{SelectPlan, Source};
use crate::catalog::virtual_tables::VirtualTable;
use crate::parse::{Statement, parse};
use crate::session::Column;
use crate::types::Type;

/// A query that was recognised, with its literals in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// pgbench: how is this table partitioned, and which schema of the search path is it in?
    PgbenchPartitions {
        /// The table asked about.
        table: String,
    },
}

/// pgbench 13 to 17 ask this at their start, once for the table's name `pgbench_accounts`.
const PGBENCH_PARTITIONS: &str = "select o.n, p.partstrat, pg_catalog.count(i.inhparent) \
from pg_catalog.pg_class as c \
join pg_catalog.pg_namespace as n on (n.oid = c.relnamespace) \
cross join lateral (select pg_catalog.array_position(pg_catalog.current_schemas(true), n.nspname)) as o(n) \
left join pg_catalog.pg_partitioned_table as p on (p.partrelid = c.oid) \
left join pg_catalog.pg_inherits as i on (c.oid = i.inhparent) \
where c.relname = '' and o.n is not null group by 1, 2 order by 1 asc limit 1";

/// Its shape, in the words of the library that prints it.
static PGBENCH_SHAPE: LazyLock<Option<String>> =
    LazyLock::new(|| match &*parse(PGBENCH_PARTITIONS).ok()?.first()?.statement {
        Statement::Query(query) => Some(shape(&query.to_string()).0),
        _ => None,
    });

/// Recognises a query.
pub fn recognise(query: &ast::Query) -> Option<Recorded> {
    // Cheap to see for all other queries: none of them joins.
    let ast::SetExpr::Select(select) = &*query.body else { return None };
    if select.from.first().is_none_or(|from| from.joins.is_empty()) {
        return None;
    }
    let (shape, literals) = shape(&query.to_string());
    match &literals[..] {
        [table] if PGBENCH_SHAPE.as_ref() == Some(&shape) => Some(Recorded::PgbenchPartitions { table: table.clone() }),
        _ => None,
    }
}

/// The text in one form: lower case, string literals replaced by `?`, no blanks that mean nothing.
fn shape(text: &str) -> (String, Vec<String>) {
    let (mut shape, mut literals) = (String::with_capacity(text.len()), Vec::new());
    for (n, piece) in text.split('\'').enumerate() {
        if n % 2 == 1 {
            literals.push(piece.to_owned());
            shape.push('?');
        } else {
            let words: Vec<String> = piece.split_whitespace().map(str::to_lowercase).collect();
            if piece.starts_with(char::is_whitespace) {
                shape.push(' ');
            }
            shape.push_str(&words.join(" "));
            if piece.ends_with(char::is_whitespace) && !words.is_empty() {
                shape.push(' ');
            }
        }
    }
    (shape, literals)
}

impl Recorded {
    /// The plan that answers it.
    pub fn plan(self) -> SelectPlan {
        let Recorded::PgbenchPartitions { table } = self;
        let columns = [
            Column::plain("n", Type::Int32),
            Column::plain("partstrat", Type::InternalChar),
            Column::plain("count", Type::Int64),
        ];
        SelectPlan {
            source: Source::Virtual(VirtualTable::PgbenchPartitions(table.into()), vec![0, 1, 2]),
            filter: None,
            grouping: None,
            output: (0..3).map(Expr::Column).collect(),
            columns: columns.into(),
            distinct: false,
            order_by: Vec::new(),
            limit: None,
            offset: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As pgbench 15 sends it.
    const SENT: &str = "select o.n, p.partstrat, pg_catalog.count(i.inhparent) \
from pg_catalog.pg_class as c join pg_catalog.pg_namespace as n on (n.oid = c.relnamespace) \
cross join lateral (select pg_catalog.array_position(pg_catalog.current_schemas(true), n.nspname)) as o(n) \
left join pg_catalog.pg_partitioned_table as p on (p.partrelid = c.oid) \
left join pg_catalog.pg_inherits as i on (c.oid = i.inhparent) \
where c.relname = 'pgbench_accounts' and o.n is not null \
group by 1, 2 order by 1 asc limit 1";

    fn query(text: &str) -> Option<Recorded> {
        let parsed = parse(text).expect("parses").remove(0);
        match &*parsed.statement {
            Statement::Query(query) => recognise(query),
            _ => None,
        }
    }

    #[test]
    fn pgbench_is_recognised_and_nothing_near_it() {
        assert_eq!(query(SENT), Some(Recorded::PgbenchPartitions { table: "pgbench_accounts".to_owned() }));
        assert_eq!(query(&SENT.replace("left join pg_catalog.pg_inherits", "join pg_catalog.pg_inherits")), None);
        assert_eq!(query(&SENT.replace("limit 1", "limit 2")), None);
    }
}
