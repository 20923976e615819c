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
static PGBENCH_SHAPE: LazyLock<Option<String>> = LazyLock::new(|| shape_of(PGBENCH_PARTITIONS));

/// psql asks so for the collation of a column that is not its type's; columns cannot have one here.
const OWN_COLLATION: &str = "select c.collname from pg_catalog.pg_collation c, pg_catalog.pg_type t \
where c.oid = a.attcollation and t.oid = a.atttypid and a.attcollation <> t.typcollation";

/// psql asks so for the storage options of a table's side table; there are none here.
const TOAST_OPTIONS: &str = "select 'toast.' || x from pg_catalog.unnest(tc.reloptions) x";

fn shape_of(text: &str) -> Option<String> {
    match &*parse(text).ok()?.first()?.statement {
        Statement::Query(query) => Some(shape(&query.to_string()).0),
        _ => None,
    }
}

static OWN_COLLATION_SHAPE: LazyLock<Option<String>> = LazyLock::new(|| shape_of(OWN_COLLATION));
static TOAST_OPTIONS_SHAPE: LazyLock<Option<String>> = LazyLock::new(|| shape_of(TOAST_OPTIONS));

/// How JDBC's `getPrimaryKeys` writes the place of a column in the key, and what it is without a function that gives rows of pairs: the same
/// place, and NULL instead of a row that the condition leaves out.
const EXPANDED_KEYS: [(&str, &str); 3] = [
    ("(information_schema._pg_expandarray(i.indkey)).n", "array_position(i.indkey, a.attnum)"),
    ("information_schema._pg_expandarray(i.indkey)", "array_position(i.indkey, a.attnum)"),
    ("result.a_attnum = (result.keys).x", "result.keys IS NOT NULL"),
];

/// JDBC's question for primary keys in a form that can be planned; `None` for all other queries.
pub fn without_expanded_keys(query: &ast::Query) -> Option<Box<ast::Query>> {
    // Its relations are in a subquery, which is all of its FROM.
    let ast::SetExpr::Select(select) = &*query.body else { return None };
    let [ast::TableWithJoins { relation: ast::TableFactor::Derived { alias: Some(alias), .. }, joins }] =
        &select.from[..]
    else {
        return None;
    };
    if !joins.is_empty() || !alias.name.value.eq_ignore_ascii_case("result") {
        return None;
    }
    let mut text = query.to_string();
    for (from, to) in EXPANDED_KEYS {
        // Compared without regard to case, which ASCII letters can be without a change of length.
        let at = text.to_ascii_lowercase().find(from)?;
        text.replace_range(at..at + from.len(), to);
    }
    match parse(&text).ok()?.first().map(|parsed| &*parsed.statement) {
        Some(Statement::Query(query)) => Some(query.clone()),
        _ => None,
    }
}

/// Whether a subquery is psql's for the collation of a column's own: the answer is NULL.
pub(super) fn is_own_collation(query: &ast::Query) -> bool {
    OWN_COLLATION_SHAPE.as_ref() == Some(&shape(&query.to_string()).0)
}

/// Whether a subquery is psql's for storage options: the answer is no rows.
pub(super) fn is_toast_options(query: &ast::Query) -> bool {
    TOAST_OPTIONS_SHAPE.as_ref() == Some(&shape(&query.to_string()).0)
}

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

    #[test]
    fn jdbc_s_question_for_primary_keys_is_rewritten() {
        // As version 42.5 sends it.
        let sent = "SELECT        result.TABLE_CAT,        result.TABLE_SCHEM,        result.TABLE_NAME,        result.COLUMN_NAME, \
            result.KEY_SEQ,        result.PK_NAME FROM      (SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM, \
            ct.relname AS TABLE_NAME, a.attname AS COLUMN_NAME,   (information_schema._pg_expandarray(i.indkey)).n AS KEY_SEQ, \
            ci.relname AS PK_NAME,   information_schema._pg_expandarray(i.indkey) AS KEYS, a.attnum AS A_ATTNUM \
            FROM pg_catalog.pg_class ct   JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid) \
            JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid)   JOIN pg_catalog.pg_index i ON ( a.attrelid = i.indrelid) \
            JOIN pg_catalog.pg_class ci ON (ci.oid = i.indexrelid) WHERE true  AND ct.relname = 'orders' AND i.indisprimary  ) result \
            where  result.A_ATTNUM = (result.KEYS).x  ORDER BY result.table_name, result.pk_name, result.key_seq";
        let rewritten = |text: &str| {
            let parsed = parse(text).expect("parses").remove(0);
            match &*parsed.statement {
                Statement::Query(query) => without_expanded_keys(query).map(|query| query.to_string()),
                _ => None,
            }
        };
        let text = rewritten(sent).expect("recognised");
        assert!(!text.contains("_pg_expandarray") && text.contains("result.keys IS NOT NULL"), "{text}");
        assert_eq!(rewritten("SELECT * FROM (SELECT 1) result"), None);
    }

    #[test]
    fn psql_s_subqueries_are_recognised() {
        let subquery = |text: &str| {
            let parsed = parse(text).expect("parses").remove(0);
            match &*parsed.statement {
                Statement::Query(query) => (is_own_collation(query), is_toast_options(query)),
                _ => (false, false),
            }
        };
        // As psql 15 sends them.
        let collation = "SELECT c.collname FROM pg_catalog.pg_collation c, pg_catalog.pg_type t\n   \
            WHERE c.oid = a.attcollation AND t.oid = a.atttypid AND a.attcollation <> t.typcollation";
        assert_eq!(subquery(collation), (true, false));
        assert_eq!(subquery("select 'toast.' || x from pg_catalog.unnest(tc.reloptions) x"), (false, true));
        assert_eq!(subquery("select c.collname from pg_catalog.pg_collation c"), (false, false));
    }
}
