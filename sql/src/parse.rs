//! SQL text → statements, or a refusal with a position.
//!
//! The text is cut into tokens once and split at semicolons. What `sqlparser` knows well (queries, INSERT, UPDATE, DELETE, CREATE and ALTER TABLE)
//! goes to it; small commands whose PostgreSQL form it does not know (COPY, SET, VACUUM, transaction control, ...) are parsed here with its token
//! reader. Statements that this product refuses are recognised by their first words, before any grammar looks at them, so
//! that the refusal names them whether or not `sqlparser` could read them.
//!
//! Positions are 1-based characters in the whole text, as PostgreSQL reports them.

mod check;
mod clause;
mod command;
mod copy;
mod cursor;
mod data_type;
mod dialect;
mod refuse;
mod statement;
mod table;

use std::sync::Arc;

use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Token, TokenWithSpan, Tokenizer};

pub use clause::refuse_clauses;
pub use copy::{Copy, CopyRelation};
pub use data_type::data_type;
pub use statement::{
    AlterOperation, AlterTable, ColumnDefinition, CreateTable, Declare, DistributeBy, Explain, Fetch, KeyDefinition,
    SetScope, SetValue, Statement, TableName, TransactionModes,
};

use self::dialect::QuorateDialect;
use crate::error::{Error, SqlState};

static DIALECT: QuorateDialect = QuorateDialect::new();

/// What is said when a statement stops too early.
const END_OF_INPUT: &str = "syntax error at end of input";
/// How deep parentheses and subqueries may be nested.
const MAX_NESTING: usize = 150;

/// Maps the parser's line and column to a character position.
#[derive(Debug)]
pub struct Positions {
    /// Characters before each line.
    line_starts: Vec<u32>,
    /// Characters in all.
    length: u32,
}

impl Positions {
    fn new(text: &str) -> Positions {
        let mut line_starts = vec![0];
        let mut length = 0;
        for (after, character) in (1u32..).zip(text.chars()) {
            length = after;
            if character == '\n' {
                line_starts.push(after);
            }
        }
        Positions { line_starts, length }
    }

    /// The 1-based character at `location`; `None` for the parser's empty locations.
    pub fn at(&self, location: Location) -> Option<u32> {
        let line = usize::try_from(location.line.checked_sub(1)?).ok()?;
        Some(self.line_starts.get(line)? + u32::try_from(location.column).ok()?)
    }
}

/// One statement of a text.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The statement.
    pub statement: Arc<Statement>,
    /// For the positions of errors found later.
    pub positions: Arc<Positions>,
}

/// Parses all statements of `text`; empty ones are left out.
///
/// # Errors
/// 42601 with a position, 0A000 for what is refused by name, 54001 for too deep a nesting.
pub fn parse(text: &str) -> Result<Vec<Parsed>, Error> {
    let positions = Arc::new(Positions::new(text));
    let tokens = Tokenizer::new(&DIALECT, text).tokenize_with_location().map_err(|error| {
        let refusal = Error::syntax(error.message);
        match positions.at(error.location) {
            Some(position) => refusal.at(position),
            None => refusal,
        }
    })?;
    let mut statements = Vec::new();
    let mut piece = Vec::new();
    for token in tokens {
        match token.token {
            Token::Whitespace(_) | Token::EOF => {}
            Token::SemiColon => statements.push((std::mem::take(&mut piece), Some(token))),
            _ => piece.push(token),
        }
    }
    statements.push((piece, None));
    statements
        .into_iter()
        .filter(|(piece, _)| !piece.is_empty())
        .map(|(piece, semicolon)| {
            let statement = parse_statement(piece, &positions).map_err(|error| ended(error, semicolon, &positions))?;
            Ok(Parsed { statement: Arc::new(statement), positions: positions.clone() })
        })
        .collect()
}

/// Gives an error at the end of a statement its place: at the semicolon, else behind the last character.
fn ended(error: Error, semicolon: Option<TokenWithSpan>, positions: &Positions) -> Error {
    if error.message != END_OF_INPUT {
        return error;
    }
    match semicolon {
        None => error.at(positions.length + 1),
        Some(semicolon) => {
            let mut error = at(error, Some(&semicolon), positions);
            error.message = "syntax error at or near \";\"".to_owned();
            error
        }
    }
}

/// Parses a lone expression, such as a stored default.
///
/// # Errors
/// 42601.
pub fn parse_expression(text: &str) -> Result<sqlparser::ast::Expr, Error> {
    let failed = |error: ParserError| Error::syntax(error.to_string());
    let mut parser = Parser::new(&DIALECT).try_with_sql(text).map_err(failed)?;
    let expression = parser.parse_expr().map_err(failed)?;
    match parser.peek_token_ref().token {
        Token::EOF => Ok(expression),
        _ => Err(Error::syntax("a single expression was expected")),
    }
}

/// Why the reading of a statement stopped.
pub(crate) enum Stop {
    /// The grammar did not fit.
    Grammar(ParserError),
    /// A refusal of our own, complete.
    Refusal(Error),
}

impl From<ParserError> for Stop {
    fn from(error: ParserError) -> Stop {
        Stop::Grammar(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Refusal(error)
    }
}

/// Reads one statement's tokens. Used by the grammar's own files through [`statement`].
fn parse_statement(tokens: Vec<TokenWithSpan>, positions: &Positions) -> Result<Statement, Error> {
    if let Some(refusal) = refuse::by_first_words(&tokens) {
        return Err(at(refusal, tokens.first(), positions));
    }
    check::refuse_long_chains(&tokens)?;
    if let Some(word) = check::misplaced_word(&tokens) {
        return Err(unexpected(word, positions));
    }
    // Statements that hold another one, or a clause of ours, are cut up; only they need their tokens twice.
    let kept = if matches!(first_word(&tokens), Keyword::CREATE | Keyword::EXPLAIN | Keyword::PREPARE) {
        tokens.clone()
    } else {
        Vec::new()
    };
    let parser = Parser::new(&DIALECT).with_recursion_limit(MAX_NESTING).with_tokens_with_locations(tokens);
    let mut reader = Reader { parser, positions };
    let result = reader.statement(&kept).and_then(|statement| match reader.parser.peek_token_ref().token {
        Token::EOF => Ok(statement),
        _ => {
            let found = reader.parser.peek_token();
            Err(Stop::Refusal(unexpected(&found, positions)))
        }
    });
    result.map_err(|stop| match stop {
        Stop::Refusal(error) => error,
        Stop::Grammar(error) => grammar_error(&error, &reader.parser.into_tokens(), positions),
    })
}

fn first_word(tokens: &[TokenWithSpan]) -> Keyword {
    match tokens.first().map(|token| &token.token) {
        Some(Token::Word(word)) => word.keyword,
        _ => Keyword::NoKeyword,
    }
}

/// The token reader with what the grammar's files share.
pub(crate) struct Reader<'a> {
    pub(crate) parser: Parser<'a>,
    pub(crate) positions: &'a Positions,
}

impl Reader<'_> {
    /// A refusal that points at the next token.
    pub(crate) fn unexpected<T>(&self) -> Result<T, Stop> {
        Err(Stop::Refusal(unexpected(self.parser.peek_token_ref(), self.positions)))
    }

    /// Consumes `word` in any case if it comes next; for words that need not be keywords of the library.
    pub(crate) fn word(&mut self, word: &str) -> bool {
        let found = matches!(&self.parser.peek_token_ref().token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word));
        if found {
            self.parser.next_token();
        }
        found
    }

    /// Consumes `words` one after another, or nothing.
    pub(crate) fn words(&mut self, words: &[&str]) -> bool {
        for (n, word) in words.iter().enumerate() {
            if !self.word(word) {
                for _ in 0..n {
                    self.parser.prev_token();
                }
                return false;
            }
        }
        true
    }

    /// Like [`Reader::word`], but its absence is a syntax error.
    pub(crate) fn expect_word(&mut self, word: &str) -> Result<(), Stop> {
        if self.word(word) { Ok(()) } else { self.unexpected() }
    }

    /// Whether nothing is left of the statement.
    pub(crate) fn at_end(&self) -> bool {
        self.parser.peek_token_ref().token == Token::EOF
    }

    /// The position of the next token.
    pub(crate) fn position(&self) -> Option<u32> {
        self.positions.at(self.parser.peek_token_ref().span.start)
    }

    /// An identifier, folded.
    pub(crate) fn identifier(&mut self) -> Result<String, Stop> {
        Ok(fold(&self.parser.parse_identifier()?))
    }
}

/// An identifier as the catalog spells it: lower case unless quoted, cut at 63 bytes.
pub fn fold(ident: &sqlparser::ast::Ident) -> String {
    let mut name = if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() };
    if name.len() > MAX_NAME_BYTES {
        let mut end = MAX_NAME_BYTES;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        name.truncate(end);
    }
    name
}

/// The longest name in bytes; longer ones are cut, as PostgreSQL does.
pub const MAX_NAME_BYTES: usize = 63;

fn at(error: Error, token: Option<&TokenWithSpan>, positions: &Positions) -> Error {
    match token.and_then(|token| positions.at(token.span.start)) {
        Some(position) => error.at(position),
        None => error,
    }
}

/// PostgreSQL's words for a token that does not fit.
fn unexpected(found: &TokenWithSpan, positions: &Positions) -> Error {
    match &found.token {
        Token::EOF => Error::syntax(END_OF_INPUT),
        token => at(Error::syntax(format!("syntax error at or near \"{token}\"")), Some(found), positions),
    }
}

/// Turns the library's error, which names a line and a column in its text, into PostgreSQL's.
fn grammar_error(error: &ParserError, tokens: &[TokenWithSpan], positions: &Positions) -> Error {
    let text = match error {
        ParserError::RecursionLimitExceeded => {
            return Error::new(SqlState::STATEMENT_TOO_COMPLEX, "the statement is nested too deeply");
        }
        ParserError::TokenizerError(text) | ParserError::ParserError(text) => text,
    };
    if let Some(location) = location_in(text) {
        if let Some(token) = tokens.iter().find(|token| token.span.start == location) {
            let (what, _) = text.rsplit_once(" at Line:").unwrap_or((text, ""));
            return unexpected(token, positions).with_detail(format!("{what}."));
        }
        return match positions.at(location) {
            Some(position) => Error::syntax(format!("syntax error: {text}")).at(position),
            None => Error::syntax(format!("syntax error: {text}")),
        };
    }
    if text.contains("found: EOF") {
        return Error::syntax(END_OF_INPUT).with_detail(format!("{text}."));
    }
    Error::syntax(format!("syntax error: {text}"))
}

fn location_in(text: &str) -> Option<Location> {
    let (_, rest) = text.rsplit_once("at Line: ")?;
    let (line, column) = rest.split_once(", Column: ")?;
    Some(Location { line: line.parse().ok()?, column: column.trim().parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> (String, String, Option<u32>) {
        let error = parse(text).map(|_| ()).expect_err("refused");
        (error.code.as_str().to_owned(), error.message.clone(), error.position)
    }

    #[test]
    fn syntax_errors_point_at_the_token() {
        assert_eq!(
            error("select 1 +\n from where"),
            ("42601".into(), "syntax error at or near \"from\"".into(), Some(13))
        );
        assert_eq!(error("selec 1"), ("42601".into(), "syntax error at or near \"selec\"".into(), Some(1)));
        assert_eq!(error("select 1; select (ä"), ("42601".into(), END_OF_INPUT.into(), Some(20)));
        assert_eq!(error("select (2 ; select 1"), ("42601".into(), "syntax error at or near \";\"".into(), Some(11)));
        assert_eq!(error("select 1; insert foo"), ("42601".into(), "syntax error at or near \"foo\"".into(), Some(18)));
        assert_eq!(error("select a, from t").2, Some(11));
        assert!(parse("select * from t where a = - 1").is_ok());
    }

    #[test]
    fn what_is_refused_is_refused_by_name() {
        for (text, name) in [
            ("create unique index i on t (a)", "CREATE INDEX"),
            ("create view v as select 1", "CREATE VIEW"),
            ("listen x", "LISTEN"),
        ] {
            let (code, message, position) = error(text);
            assert_eq!(code, "0A000", "{text}");
            assert!(message.starts_with(name), "{message}");
            assert_eq!(position, Some(1));
        }
    }

    #[test]
    fn depth_has_bounds_and_long_lists_do_not_count() {
        let nested = |depth: usize| format!("select {}1{}", "(".repeat(depth), ")".repeat(depth));
        assert!(parse(&nested(100)).is_ok());
        assert_eq!(error(&nested(200)).0, "54001");
        assert_eq!(error(&nested(100_000)).0, "54001");
        let chain = |length: usize| format!("select 1{}", " + 1".repeat(length));
        assert!(parse(&chain(check::MAX_OPERATORS)).is_ok());
        assert_eq!(error(&chain(check::MAX_OPERATORS + 1)).0, "54001");
        assert_eq!(error(&chain(1_000_000)).0, "54001");
        let comparisons = format!("select true{}", " and 1 = 1".repeat(900));
        assert!(parse(&comparisons).is_ok());
        assert_eq!(error(&format!("select 1{}", " = 1".repeat(10_000))).0, "54001");
        assert!(parse(&format!("select 1 in (1{})", ", 1 + 1".repeat(20_000))).is_ok());
    }

    #[test]
    fn empty_statements_are_left_out() {
        assert!(parse("; -- nothing\n ;").expect("parses").is_empty());
        assert_eq!(parse("select 1;; select 2;").expect("parses").len(), 2);
    }

    #[test]
    fn long_names_are_cut_at_a_character() {
        let ident = sqlparser::ast::Ident::new("ä".repeat(40));
        assert_eq!(fold(&ident).len(), 62);
    }
}
