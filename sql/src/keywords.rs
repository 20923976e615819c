//! The words of PostgreSQL's grammar that name something only in quotes, or not everywhere. Words of no class here (`begin`, `key`, `text`) name
//! anything. The classes are those of the appendix "SQL Key Words" of PostgreSQL's manual.

/// What a word of the grammar can name without quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Columns and tables, but no function and no type.
    ColumnName,
    /// Functions and types, but no column and no table.
    FunctionOrTypeName,
    /// Nothing.
    Reserved,
}

#[rustfmt::skip]
const COLUMN_NAME: &[&str] = &[
    "between", "bigint", "bit", "boolean", "char", "character", "coalesce", "dec", "decimal", "exists", "extract",
    "float", "greatest", "grouping", "inout", "int", "integer", "interval", "least", "national", "nchar", "none",
    "normalize", "nullif", "numeric", "out", "overlay", "position", "precision", "real", "row", "setof", "smallint",
    "substring", "time", "timestamp", "treat", "trim", "values", "varchar", "xmlattributes", "xmlconcat",
    "xmlelement", "xmlexists", "xmlforest", "xmlnamespaces", "xmlparse", "xmlpi", "xmlroot", "xmlserialize",
    "xmltable",
];

#[rustfmt::skip]
const FUNCTION_OR_TYPE_NAME: &[&str] = &[
    "authorization", "binary", "collation", "concurrently", "cross", "current_schema", "freeze", "full", "ilike",
    "inner", "is", "isnull", "join", "left", "like", "natural", "notnull", "outer", "overlaps", "right", "similar",
    "tablesample", "verbose",
];

#[rustfmt::skip]
const RESERVED: &[&str] = &[
    "all", "analyse", "analyze", "and", "any", "array", "as", "asc", "asymmetric", "both", "case", "cast", "check",
    "collate", "column", "constraint", "create", "current_catalog", "current_date", "current_role", "current_time",
    "current_timestamp", "current_user", "default", "deferrable", "desc", "distinct", "do", "else", "end", "except",
    "false", "fetch", "for", "foreign", "from", "grant", "group", "having", "in", "initially", "intersect", "into",
    "lateral", "leading", "limit", "localtime", "localtimestamp", "not", "null", "offset", "on", "only", "or",
    "order", "placing", "primary", "references", "returning", "select", "session_user", "some", "symmetric", "table",
    "then", "to", "trailing", "true", "union", "unique", "user", "using", "variadic", "when", "where", "window",
    "with",
];

/// The words that have a class.
pub fn all() -> impl Iterator<Item = &'static str> {
    [COLUMN_NAME, FUNCTION_OR_TYPE_NAME, RESERVED].into_iter().flatten().copied()
}

/// The class of a word in any case; `None` if it needs quotes nowhere.
pub fn class(word: &str) -> Option<Class> {
    let lower = word.to_ascii_lowercase();
    let is_in = |words: &[&str]| words.binary_search(&lower.as_str()).is_ok();
    if is_in(RESERVED) {
        Some(Class::Reserved)
    } else if is_in(FUNCTION_OR_TYPE_NAME) {
        Some(Class::FunctionOrTypeName)
    } else if is_in(COLUMN_NAME) {
        Some(Class::ColumnName)
    } else {
        None
    }
}

/// Whether a word can name a table without quotes.
pub fn can_name_a_table(word: &str) -> bool {
    matches!(class(word), None | Some(Class::ColumnName))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_in_one_sorted_list() {
        for words in [COLUMN_NAME, FUNCTION_OR_TYPE_NAME, RESERVED] {
            assert!(words.is_sorted(), "binary search needs it");
        }
        let mut all = [COLUMN_NAME, FUNCTION_OR_TYPE_NAME, RESERVED].concat();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn classes_are_those_of_postgres() {
        assert_eq!(class("SELECT"), Some(Class::Reserved));
        assert_eq!(class("left"), Some(Class::FunctionOrTypeName));
        assert_eq!(class("values"), Some(Class::ColumnName));
        assert_eq!(class("begin"), None);
        assert!(can_name_a_table("position") && can_name_a_table("text") && !can_name_a_table("analyze"));
    }
}
