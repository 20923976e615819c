//! Statements refused by name (0A000), recognised by their first words.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::Error;

const NO_HINT: &str = "";
const ONE_TABLE: &str = "Create the table with the columns and the primary key that it needs.";
const KEYS: &str =
    "The primary key is the only index. Choose it, and DISTRIBUTE BY, so that the rows wanted are found by it.";
const NO_ROLES: &str = "There are no roles yet; the server trusts whom it lets connect.";
const POLL: &str = "Poll a table instead.";

/// First words, the feature's name, and the hint. The first match counts.
const REFUSED: &[(&[&str], &str, &str)] = &[
    (&["CREATE", "INDEX"], "CREATE INDEX", KEYS),
    (&["CREATE", "UNIQUE", "INDEX"], "CREATE INDEX", KEYS),
    (&["DROP", "INDEX"], "DROP INDEX", KEYS),
    (&["ALTER", "INDEX"], "ALTER INDEX", KEYS),
    (&["REINDEX"], "REINDEX", KEYS),
    (&["CLUSTER"], "CLUSTER", "Rows of a replica set are kept in the order of the primary key."),
    (&["CREATE", "VIEW"], "CREATE VIEW", "Put the query into the application."),
    (&["CREATE", "OR", "REPLACE", "VIEW"], "CREATE VIEW", "Put the query into the application."),
    (&["CREATE", "MATERIALIZED"], "CREATE MATERIALIZED VIEW", "Fill a table with INSERT ... SELECT."),
    (&["REFRESH"], "REFRESH MATERIALIZED VIEW", "Fill a table with INSERT ... SELECT."),
    (&["CREATE", "TEMP"], "CREATE TEMPORARY TABLE", ONE_TABLE),
    (&["CREATE", "TEMPORARY"], "CREATE TEMPORARY TABLE", ONE_TABLE),
    (&["CREATE", "GLOBAL"], "CREATE TEMPORARY TABLE", ONE_TABLE),
    (&["CREATE", "LOCAL"], "CREATE TEMPORARY TABLE", ONE_TABLE),
    (&["CREATE", "UNLOGGED"], "CREATE UNLOGGED TABLE", "Leave UNLOGGED out."),
    (&["CREATE", "FOREIGN"], "CREATE FOREIGN TABLE", NO_HINT),
    (&["CREATE", "SEQUENCE"], "CREATE SEQUENCE", "Use gen_random_uuid() or ids made by the application."),
    (&["ALTER", "SEQUENCE"], "ALTER SEQUENCE", NO_HINT),
    (&["CREATE", "SCHEMA"], "CREATE SCHEMA", "All tables are in the schema \"public\"."),
    (&["DROP", "SCHEMA"], "DROP SCHEMA", "All tables are in the schema \"public\"."),
    (&["CREATE", "DATABASE"], "CREATE DATABASE", "Use quorate-admin dbCreate."),
    (&["DROP", "DATABASE"], "DROP DATABASE", "Use quorate-admin dbDestroy."),
    (&["CREATE", "ROLE"], "CREATE ROLE", NO_ROLES),
    (&["CREATE", "USER"], "CREATE USER", NO_ROLES),
    (&["CREATE", "GROUP"], "CREATE GROUP", NO_ROLES),
    (&["ALTER", "ROLE"], "ALTER ROLE", NO_ROLES),
    (&["ALTER", "USER"], "ALTER USER", NO_ROLES),
    (&["DROP", "ROLE"], "DROP ROLE", NO_ROLES),
    (&["DROP", "USER"], "DROP USER", NO_ROLES),
    (&["GRANT"], "GRANT", NO_ROLES),
    (&["REVOKE"], "REVOKE", NO_ROLES),
    (&["REASSIGN"], "REASSIGN OWNED", NO_ROLES),
    (&["CREATE", "TRIGGER"], "CREATE TRIGGER", NO_HINT),
    (&["CREATE", "EXTENSION"], "CREATE EXTENSION", NO_HINT),
    (&["CREATE", "FUNCTION"], "CREATE FUNCTION", NO_HINT),
    (&["CREATE", "OR"], "CREATE OR REPLACE", NO_HINT),
    (&["CREATE", "PROCEDURE"], "CREATE PROCEDURE", NO_HINT),
    (&["CREATE", "TYPE"], "CREATE TYPE", "Use one of the built-in types."),
    (&["CREATE", "DOMAIN"], "CREATE DOMAIN", "Use one of the built-in types."),
    (&["CREATE", "RULE"], "CREATE RULE", NO_HINT),
    (&["CREATE", "POLICY"], "CREATE POLICY", NO_HINT),
    (&["CREATE", "PUBLICATION"], "CREATE PUBLICATION", NO_HINT),
    (&["CREATE", "SUBSCRIPTION"], "CREATE SUBSCRIPTION", NO_HINT),
    (&["CREATE", "STATISTICS"], "CREATE STATISTICS", NO_HINT),
    (&["CREATE", "AGGREGATE"], "CREATE AGGREGATE", NO_HINT),
    (&["CREATE", "CAST"], "CREATE CAST", NO_HINT),
    (&["CREATE", "OPERATOR"], "CREATE OPERATOR", NO_HINT),
    (&["CREATE", "COLLATION"], "CREATE COLLATION", NO_HINT),
    (&["CREATE", "TABLESPACE"], "CREATE TABLESPACE", NO_HINT),
    (&["CREATE", "SERVER"], "CREATE SERVER", NO_HINT),
    (&["PREPARE", "TRANSACTION"], "PREPARE TRANSACTION", "Every transaction is committed on all replica sets at once."),
    (&["COMMIT", "PREPARED"], "COMMIT PREPARED", NO_HINT),
    (&["ROLLBACK", "PREPARED"], "ROLLBACK PREPARED", NO_HINT),
    (&["LISTEN"], "LISTEN", POLL),
    (&["UNLISTEN"], "UNLISTEN", POLL),
    (&["NOTIFY"], "NOTIFY", POLL),
    (&["LOCK"], "LOCK TABLE", "Use SELECT ... FOR UPDATE; transactions are serializable anyway."),
    (&["MERGE"], "MERGE", "Use UPDATE and INSERT in one transaction."),
    (&["CALL"], "CALL", NO_HINT),
    (&["DO"], "DO", NO_HINT),
    (&["COMMENT"], "COMMENT", NO_HINT),
    (&["SECURITY"], "SECURITY LABEL", NO_HINT),
    (&["CHECKPOINT"], "CHECKPOINT", "Commits are durable already."),
    (&["LOAD"], "LOAD", NO_HINT),
    (&["IMPORT"], "IMPORT FOREIGN SCHEMA", NO_HINT),
    (&["ALTER", "SYSTEM"], "ALTER SYSTEM", "Change the configuration file of the instance."),
    (&["ALTER", "DATABASE"], "ALTER DATABASE", "Use quorate-admin."),
    (&["SET", "CONSTRAINTS"], "SET CONSTRAINTS", NO_HINT),
    (&["SET", "ROLE"], "SET ROLE", NO_ROLES),
    (&["SET", "SESSION", "AUTHORIZATION"], "SET SESSION AUTHORIZATION", NO_ROLES),
    (&["DROP", "VIEW"], "DROP VIEW", "There are no views."),
    (&["DROP", "SEQUENCE"], "DROP SEQUENCE", "There are no sequences."),
    (&["DROP", "FUNCTION"], "DROP FUNCTION", "There are no user-defined functions."),
    (&["DROP", "TYPE"], "DROP TYPE", "There are no user-defined types."),
    (&["DROP", "EXTENSION"], "DROP EXTENSION", "There are no extensions."),
];

/// The refusal of a statement that begins with `tokens`, if it is one of those above.
pub(super) fn by_first_words(tokens: &[TokenWithSpan]) -> Option<Error> {
    let words: Vec<&str> = tokens
        .iter()
        .take(3)
        .map_while(|token| match &token.token {
            Token::Word(word) if word.quote_style.is_none() => Some(word.value.as_str()),
            _ => None,
        })
        .collect();
    let matches = |pattern: &[&str]| {
        pattern.len() <= words.len()
            && pattern.iter().zip(&words).all(|(expected, word)| expected.eq_ignore_ascii_case(word))
    };
    // There are no channels, so there is nothing to do; pools say this to sessions that they take back.
    if matches(&["UNLISTEN"]) && tokens.get(1).is_some_and(|token| token.token == Token::Mul) {
        return None;
    }
    let (_, name, hint) = REFUSED.iter().find(|(pattern, ..)| matches(pattern))?;
    Some(Error::unsupported(name, *hint))
}
