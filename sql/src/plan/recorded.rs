//! Catalog queries of JDBC that need a function of rows of pairs, in a form without it.
//!
//! They are recognised by what they are made of; a query that differs is planned, or refused, like any other.

use sqlparser::ast;

use crate::parse::{Statement, parse};

/// How JDBC's `getPrimaryKeys` writes the place of a column in the key, and what it is without a function that gives rows of pairs: the same
/// place, and NULL instead of a row that the condition leaves out.
const EXPANDED_KEYS: [(&str, &str); 3] = [
    ("(information_schema._pg_expandarray(i.indkey)).n", "array_position(i.indkey, a.attnum)"),
    ("information_schema._pg_expandarray(i.indkey)", "array_position(i.indkey, a.attnum)"),
    ("result.a_attnum = (result.keys).x", "result.keys IS NOT NULL"),
];

/// The same for `getBestRowIdentifier`, which wants the columns of the key in any order.
const JOINED_KEYS: [(&str, &str); 2] = [
    ("information_schema._pg_expandarray(i.indkey) as keys", "i.indkey AS keys"),
    ("a.attnum = (i.keys).x", "a.attnum = ANY (i.keys)"),
];

/// JDBC's questions for primary keys in a form that can be planned; `None` for all other queries.
pub fn without_expanded_keys(query: &ast::Query) -> Option<Box<ast::Query>> {
    let ast::SetExpr::Select(select) = &*query.body else { return None };
    let [ast::TableWithJoins { relation, joins }] = &select.from[..] else { return None };
    // A subquery with this name is all of its FROM, or is joined last.
    let subquery = joins.last().map_or(relation, |join| &join.relation);
    let ast::TableFactor::Derived { alias: Some(alias), .. } = subquery else { return None };
    let changes: &[(&str, &str)] = match (joins.len(), alias.name.value.to_ascii_lowercase().as_str()) {
        (0, "result") => &EXPANDED_KEYS,
        (3, "i") => &JOINED_KEYS,
        _ => return None,
    };
    let mut text = query.to_string();
    for (from, to) in changes {
        // Compared without regard to case, which ASCII letters can be without a change of length.
        let at = text.to_ascii_lowercase().find(from)?;
        text.replace_range(at..at + from.len(), to);
    }
    match parse(&text).ok()?.first().map(|parsed| &*parsed.statement) {
        Some(Statement::Query(query)) => Some(query.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let sent = "SELECT a.attname, a.atttypid, atttypmod FROM pg_catalog.pg_class ct   JOIN pg_catalog.pg_attribute a ON (ct.oid = a.attrelid) \
            JOIN pg_catalog.pg_namespace n ON (ct.relnamespace = n.oid)   JOIN (SELECT i.indexrelid, i.indrelid, i.indisprimary, \
            information_schema._pg_expandarray(i.indkey) AS keys         FROM pg_catalog.pg_index i) i \
            ON (a.attnum = (i.keys).x AND a.attrelid = i.indrelid) WHERE true  AND ct.relname = 'orders' AND i.indisprimary  ORDER BY a.attnum ";
        let text = rewritten(sent).expect("recognised");
        assert!(text.contains("a.attnum = ANY(i.keys)"), "{text}");
    }
}
