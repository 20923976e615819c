//! The first word decides; the small commands are read here.

use std::sync::Arc;

use sqlparser::ast;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::data_type::data_type;
use super::statement::{Explain, SetScope, SetValue, Statement, TransactionModes};
use super::{Reader, Stop};
use crate::error::Error;

impl Reader<'_> {
    /// One statement, at whose beginning the reader stands; `tokens` is all of it if it begins with CREATE, EXPLAIN or PREPARE.
    pub(super) fn statement(&mut self, tokens: &[TokenWithSpan]) -> Result<Statement, Stop> {
        if self.words(&["CREATE", "TABLE"]) {
            return self.create_table(tokens);
        }
        if self.words(&["DROP", "TABLE"]) {
            return self.drop_table();
        }
        if self.words(&["ALTER", "TABLE"]) {
            self.parser.prev_token();
            self.parser.prev_token();
            return self.alter_table();
        }
        let first = match &self.parser.peek_token_ref().token {
            Token::Word(word) if word.quote_style.is_none() => word.value.to_uppercase(),
            Token::LParen => String::new(),
            _ => return self.unexpected(),
        };
        match first.as_str() {
            "" | "SELECT" | "WITH" | "VALUES" | "TABLE" => return Ok(Statement::Query(self.parser.parse_query()?)),
            "INSERT" | "UPDATE" | "DELETE" => return self.row_statement(),
            _ => {}
        }
        self.parser.next_token();
        match first.as_str() {
            "BEGIN" => {
                self.work();
                Ok(Statement::Begin(self.transaction_modes()?, "BEGIN"))
            }
            "START" => {
                self.expect_word("TRANSACTION")?;
                Ok(Statement::Begin(self.transaction_modes()?, "START TRANSACTION"))
            }
            "COMMIT" | "END" => Ok(Statement::Commit { chain: self.chain()? }),
            "ROLLBACK" | "ABORT" => {
                self.work();
                if first == "ROLLBACK" && self.word("TO") {
                    return Ok(Statement::RollbackTo(self.savepoint()?));
                }
                Ok(Statement::Rollback { chain: self.and_chain()? })
            }
            "SAVEPOINT" => Ok(Statement::Savepoint(self.identifier()?)),
            "RELEASE" => Ok(Statement::Release(self.savepoint()?)),
            "SET" => self.set(),
            "RESET" => Ok(Statement::Reset(self.setting_or_all()?)),
            "SHOW" => Ok(Statement::Show(self.setting_or_all()?)),
            "TRUNCATE" => self.truncate(),
            "COPY" => self.copy(),
            "EXPLAIN" => self.explain(tokens),
            "PREPARE" => self.prepare(tokens),
            "EXECUTE" => self.execute(),
            "DEALLOCATE" => {
                self.word("PREPARE");
                Ok(Statement::Deallocate(if self.word("ALL") { None } else { Some(self.identifier()?) }))
            }
            "DISCARD" => self.discard(),
            "DECLARE" => self.declare(),
            "FETCH" => self.fetch(false),
            "MOVE" => self.fetch(true),
            "CLOSE" if self.word("ALL") => Ok(Statement::Discard("CURSORS")),
            "CLOSE" => Ok(Statement::CloseCursor(self.identifier()?)),
            "UNLISTEN" if self.parser.consume_token(&Token::Mul) => Ok(Statement::Discard("CHANNELS")),
            "VACUUM" => self.maintenance("VACUUM"),
            "ANALYZE" | "ANALYSE" => self.maintenance("ANALYZE"),
            _ => {
                self.parser.prev_token();
                self.unexpected()
            }
        }
    }

    fn row_statement(&mut self) -> Result<Statement, Stop> {
        match self.parser.parse_statement()? {
            ast::Statement::Insert(insert) => Ok(Statement::Insert(Box::new(insert))),
            ast::Statement::Update(update) => Ok(Statement::Update(Box::new(update))),
            ast::Statement::Delete(delete) => Ok(Statement::Delete(Box::new(delete))),
            other => Err(Error::unsupported(format_args!("the statement {other}"), "").into()),
        }
    }

    fn work(&mut self) {
        let _ = self.word("WORK") || self.word("TRANSACTION");
    }

    /// `[SAVEPOINT] NAME`
    fn savepoint(&mut self) -> Result<String, Stop> {
        if self.word("SAVEPOINT") && self.at_end() {
            return Ok("savepoint".to_owned());
        }
        self.identifier()
    }

    /// `[WORK | TRANSACTION] [AND [NO] CHAIN]`
    fn chain(&mut self) -> Result<bool, Stop> {
        self.work();
        self.and_chain()
    }

    /// `[AND [NO] CHAIN]`
    fn and_chain(&mut self) -> Result<bool, Stop> {
        if !self.word("AND") {
            return Ok(false);
        }
        let chain = !self.word("NO");
        self.expect_word("CHAIN")?;
        Ok(chain)
    }

    fn transaction_modes(&mut self) -> Result<TransactionModes, Stop> {
        let mut modes = TransactionModes::default();
        while !self.at_end() {
            if self.words(&["ISOLATION", "LEVEL"]) {
                modes.isolation = Some(if self.word("SERIALIZABLE") {
                    "serializable"
                } else if self.words(&["REPEATABLE", "READ"]) {
                    "repeatable read"
                } else if self.words(&["READ", "COMMITTED"]) {
                    "read committed"
                } else if self.words(&["READ", "UNCOMMITTED"]) {
                    "read uncommitted"
                } else {
                    return self.unexpected();
                });
            } else if self.words(&["READ", "ONLY"]) {
                modes.read_only = Some(true);
            } else if self.words(&["READ", "WRITE"]) {
                modes.read_only = Some(false);
            } else if self.words(&["NOT", "DEFERRABLE"]) {
                modes.deferrable = Some(false);
            } else if self.word("DEFERRABLE") {
                modes.deferrable = Some(true);
            } else {
                return self.unexpected();
            }
            let _ = self.parser.consume_token(&Token::Comma);
        }
        Ok(modes)
    }

    /// SET, its first word already read.
    fn set(&mut self) -> Result<Statement, Stop> {
        if self.words(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) {
            return Ok(Statement::SetTransaction { modes: self.transaction_modes()?, session: true });
        }
        let scope = if self.word("LOCAL") {
            SetScope::Local
        } else {
            self.word("SESSION");
            SetScope::Session
        };
        if self.word("TRANSACTION") {
            if self.word("SNAPSHOT") {
                return Err(Error::unsupported("SET TRANSACTION SNAPSHOT", "").into());
            }
            return Ok(Statement::SetTransaction { modes: self.transaction_modes()?, session: false });
        }
        if self.words(&["TIME", "ZONE"]) {
            let value = if self.word("LOCAL") || self.word("DEFAULT") {
                SetValue::Default
            } else {
                SetValue::Values(vec![self.setting_value()?])
            };
            return Ok(Statement::Set { scope, name: "timezone".to_owned(), value });
        }
        if self.word("NAMES") {
            let value = if self.at_end() || self.word("DEFAULT") {
                SetValue::Default
            } else {
                SetValue::Values(vec![self.setting_value()?])
            };
            return Ok(Statement::Set { scope, name: "client_encoding".to_owned(), value });
        }
        let name = self.setting_name()?;
        if !self.word("TO") && !self.parser.consume_token(&Token::Eq) {
            return self.unexpected();
        }
        if self.word("DEFAULT") {
            return Ok(Statement::Set { scope, name, value: SetValue::Default });
        }
        let mut values = vec![self.setting_value()?];
        while self.parser.consume_token(&Token::Comma) {
            values.push(self.setting_value()?);
        }
        Ok(Statement::Set { scope, name, value: SetValue::Values(values) })
    }

    /// A setting's name in lower case, with its dots.
    fn setting_name(&mut self) -> Result<String, Stop> {
        let mut name = self.identifier()?;
        while self.parser.consume_token(&Token::Period) {
            name.push('.');
            name.push_str(&self.identifier()?);
        }
        Ok(name.to_lowercase())
    }

    fn setting_value(&mut self) -> Result<String, Stop> {
        let sign = if self.parser.consume_token(&Token::Minus) {
            "-"
        } else {
            let _ = self.parser.consume_token(&Token::Plus);
            ""
        };
        let value = match &self.parser.peek_token_ref().token {
            Token::Number(text, _) => format!("{sign}{text}"),
            _ if sign == "-" => return self.unexpected(),
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => text.clone(),
            Token::Word(word) if word.quote_style.is_some() => word.value.clone(),
            Token::Word(word) => word.value.to_lowercase(),
            _ => return self.unexpected(),
        };
        self.parser.next_token();
        Ok(value)
    }

    fn setting_or_all(&mut self) -> Result<Option<String>, Stop> {
        if self.word("ALL") {
            return Ok(None);
        }
        let name = if self.words(&["TIME", "ZONE"]) {
            "timezone".to_owned()
        } else if self.words(&["TRANSACTION", "ISOLATION", "LEVEL"]) {
            "transaction_isolation".to_owned()
        } else if self.words(&["SESSION", "AUTHORIZATION"]) {
            "session_authorization".to_owned()
        } else {
            self.setting_name()?
        };
        Ok(Some(name))
    }

    /// EXPLAIN, its first word already read.
    fn explain(&mut self, tokens: &[TokenWithSpan]) -> Result<Statement, Stop> {
        let mut verbose = false;
        let analyze = |on: bool| {
            if on {
                Err(Error::unsupported("EXPLAIN ANALYZE", "Use EXPLAIN for the plan, and time the statement itself."))
            } else {
                Ok(())
            }
        };
        if self.parser.consume_token(&Token::LParen) {
            loop {
                let option = self.identifier()?;
                let off = self.word("OFF")
                    || self.word("FALSE")
                    || self.parser.consume_token(&Token::Number("0".to_owned(), false));
                let on = !off;
                match option.as_str() {
                    "analyze" => {
                        let _ = self.word("ON") || self.word("TRUE");
                        analyze(on)?;
                    }
                    "verbose" => {
                        let _ = self.word("ON") || self.word("TRUE");
                        verbose = on;
                    }
                    "costs" | "settings" | "buffers" | "wal" | "timing" | "summary" | "generic_plan" => {
                        let _ = self.word("ON") || self.word("TRUE");
                    }
                    "format" => {
                        let format = self.identifier()?;
                        if format != "text" {
                            return Err(Error::unsupported(
                                format_args!("EXPLAIN (FORMAT {})", format.to_uppercase()),
                                "Use the text format.",
                            )
                            .into());
                        }
                    }
                    _ => return Err(Error::syntax(format!("unrecognized EXPLAIN option \"{option}\"")).into()),
                }
                if !self.parser.consume_token(&Token::Comma) {
                    break;
                }
            }
            self.parser.expect_token(&Token::RParen)?;
        } else {
            if self.word("ANALYZE") || self.word("ANALYSE") {
                analyze(true)?;
            }
            verbose = self.word("VERBOSE");
        }
        let statement = self.inner_statement(tokens)?;
        match statement {
            Statement::Query(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => {
                Ok(Statement::Explain(Explain { verbose, statement: Arc::new(statement) }))
            }
            Statement::Execute { .. } => {
                Err(Error::unsupported("EXPLAIN EXECUTE", "Explain the statement itself.").into())
            }
            _ => Err(Error::syntax("EXPLAIN takes a query, INSERT, UPDATE or DELETE").into()),
        }
    }

    /// PREPARE, its first word already read.
    fn prepare(&mut self, tokens: &[TokenWithSpan]) -> Result<Statement, Stop> {
        let name = self.identifier()?;
        let mut types = Vec::new();
        if self.parser.consume_token(&Token::LParen) {
            loop {
                types.push(data_type(&self.parser.parse_data_type()?)?);
                if !self.parser.consume_token(&Token::Comma) {
                    break;
                }
            }
            self.parser.expect_token(&Token::RParen)?;
        }
        self.expect_word("AS")?;
        let statement = self.inner_statement(tokens)?;
        match statement {
            Statement::Query(_) | Statement::Insert(_) | Statement::Update(_) | Statement::Delete(_) => {
                Ok(Statement::Prepare { name, types, statement: Arc::new(statement) })
            }
            _ => Err(Error::syntax("PREPARE takes a query, INSERT, UPDATE or DELETE").into()),
        }
    }

    /// The statement that follows in the same text.
    fn inner_statement(&mut self, tokens: &[TokenWithSpan]) -> Result<Statement, Stop> {
        let start = self.parser.peek_token_ref().span.start;
        let rest =
            tokens.iter().position(|token| token.span.start == start).map_or(&tokens[tokens.len()..], |n| &tokens[n..]);
        if let Some(refusal) = super::refuse::by_first_words(rest) {
            return Err(refusal.into());
        }
        self.statement(rest)
    }

    /// EXECUTE, its first word already read.
    fn execute(&mut self) -> Result<Statement, Stop> {
        let name = self.identifier()?;
        let mut arguments = Vec::new();
        if self.parser.consume_token(&Token::LParen) {
            loop {
                arguments.push(self.parser.parse_expr()?);
                if !self.parser.consume_token(&Token::Comma) {
                    break;
                }
            }
            self.parser.expect_token(&Token::RParen)?;
        }
        Ok(Statement::Execute { name, arguments })
    }

    fn discard(&mut self) -> Result<Statement, Stop> {
        for what in ["ALL", "PLANS", "SEQUENCES", "TEMP", "TEMPORARY"] {
            if self.word(what) {
                return Ok(Statement::Discard(what));
            }
        }
        self.unexpected()
    }

    /// VACUUM or ANALYZE with all the options that PostgreSQL takes; the word is already read.
    fn maintenance(&mut self, command: &'static str) -> Result<Statement, Stop> {
        if self.parser.consume_token(&Token::LParen) {
            while !self.parser.consume_token(&Token::RParen) {
                if self.parser.next_token().token == Token::EOF {
                    return self.unexpected();
                }
            }
        } else {
            while ["FULL", "FREEZE", "VERBOSE", "ANALYZE", "ANALYSE"].iter().any(|word| self.word(word)) {}
        }
        let mut tables = Vec::new();
        while !self.at_end() {
            tables.push(self.table_name()?);
            if self.parser.peek_token_ref().token == Token::LParen {
                self.names_in_parentheses()?;
            }
            if !self.parser.consume_token(&Token::Comma) {
                break;
            }
        }
        Ok(Statement::Maintenance { command, tables })
    }
}
