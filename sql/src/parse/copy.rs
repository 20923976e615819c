//! COPY with PostgreSQL's current and older option syntax.

use sqlparser::ast;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::Token;

use super::statement::{Statement, TableName};
use super::{Reader, Stop};
use crate::error::{Error, SqlState};
use crate::format::copy::CopyOptions;

/// What COPY reads from or writes to.
#[derive(Clone, Debug)]
pub enum CopyRelation {
    /// A table, with the columns that were named (none: all).
    Table {
        /// The table.
        name: TableName,
        /// Columns with their places in the text.
        columns: Vec<(String, Option<u32>)>,
    },
    /// The result of a query.
    Query(Box<ast::Query>),
}

/// COPY.
#[derive(Clone, Debug)]
pub struct Copy {
    /// What is copied.
    pub relation: CopyRelation,
    /// FROM STDIN (`true`) or TO STDOUT.
    pub from: bool,
    /// How the data looks.
    pub options: CopyOptions,
}

#[derive(Default)]
struct Written {
    format: Option<String>,
    delimiter: Option<String>,
    null: Option<String>,
    header: bool,
    quote: Option<String>,
    escape: Option<String>,
}

impl Reader<'_> {
    /// COPY, its first word already read.
    pub(super) fn copy(&mut self) -> Result<Statement, Stop> {
        if self.word("BINARY") {
            return Err(binary());
        }
        let relation = if self.parser.consume_token(&Token::LParen) {
            let query = self.parser.parse_query()?;
            self.parser.expect_token(&Token::RParen)?;
            CopyRelation::Query(query)
        } else {
            let name = self.table_name()?;
            let columns = if self.parser.peek_token_ref().token == Token::LParen {
                self.names_in_parentheses()?
            } else {
                Vec::new()
            };
            CopyRelation::Table { name, columns }
        };
        let from = if self.word("FROM") {
            true
        } else {
            self.expect_word("TO")?;
            false
        };
        if from && matches!(relation, CopyRelation::Query(_)) {
            return self.unexpected();
        }
        if !self.word("STDIN") && !self.word("STDOUT") {
            let hint = "Use COPY ... FROM STDIN or TO STDOUT; psql's \\copy reads and writes the client's files.";
            return Err(Error::unsupported("COPY from or to a file of the server", hint).into());
        }
        let mut written = Written::default();
        self.word("WITH");
        if self.parser.consume_token(&Token::LParen) {
            loop {
                self.option(&mut written)?;
                if !self.parser.consume_token(&Token::Comma) {
                    break;
                }
            }
            self.parser.expect_token(&Token::RParen)?;
        } else {
            while !self.at_end() && !self.parser.peek_keyword(Keyword::WHERE) {
                self.old_option(&mut written)?;
            }
        }
        if self.word("WHERE") {
            return Err(Error::unsupported("COPY ... WHERE", "Filter the data before it is sent.").into());
        }
        Ok(Statement::Copy(Box::new(Copy { relation, from, options: written.complete()? })))
    }

    /// `FORMAT csv` and its kind.
    fn option(&mut self, written: &mut Written) -> Result<(), Stop> {
        let position = self.position();
        let name = self.identifier()?;
        match name.as_str() {
            "format" => written.format = Some(self.text()?.to_lowercase()),
            // Frozen or not, rows are only seen once they are committed.
            "freeze" => drop(self.boolean()?),
            "delimiter" => written.delimiter = Some(self.text()?),
            "null" => written.null = Some(self.text()?),
            "header" => written.header = self.boolean()?,
            "quote" => written.quote = Some(self.text()?),
            "escape" => written.escape = Some(self.text()?),
            "encoding" => encoding(&self.text()?)?,
            "force_quote" | "force_not_null" | "force_null" => return Err(force(&name.to_uppercase())),
            _ => {
                let refusal = Error::syntax(format!("option \"{name}\" not recognized"));
                return Err(position.map_or(refusal.clone(), |position| refusal.at(position)).into());
            }
        }
        Ok(())
    }

    /// `CSV HEADER DELIMITER ';'` and its kind, as PostgreSQL took them before 9.0.
    fn old_option(&mut self, written: &mut Written) -> Result<(), Stop> {
        if self.word("BINARY") {
            return Err(binary());
        } else if self.word("FREEZE") {
        } else if self.word("CSV") {
            written.format = Some("csv".to_owned());
        } else if self.word("HEADER") {
            written.header = true;
        } else if self.word("DELIMITER") || self.word("DELIMITERS") {
            self.word("AS");
            written.delimiter = Some(self.text()?);
        } else if self.word("NULL") {
            self.word("AS");
            written.null = Some(self.text()?);
        } else if self.word("QUOTE") {
            self.word("AS");
            written.quote = Some(self.text()?);
        } else if self.word("ESCAPE") {
            self.word("AS");
            written.escape = Some(self.text()?);
        } else if self.word("ENCODING") {
            encoding(&self.text()?)?;
        } else if self.word("FORCE") {
            return Err(force("FORCE"));
        } else {
            return self.unexpected();
        }
        Ok(())
    }

    /// A word or a string.
    fn text(&mut self) -> Result<String, Stop> {
        match self.parser.peek_token_ref().token.clone() {
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => {
                self.parser.next_token();
                Ok(text)
            }
            Token::Word(word) => {
                self.parser.next_token();
                Ok(word.value)
            }
            _ => self.unexpected(),
        }
    }

    /// An optional truth value; nothing is true.
    fn boolean(&mut self) -> Result<bool, Stop> {
        let text = match &self.parser.peek_token_ref().token {
            Token::Comma | Token::RParen => return Ok(true),
            Token::Number(text, _) => text.clone(),
            Token::SingleQuotedString(text) => text.clone(),
            Token::Word(word) => word.value.clone(),
            _ => return self.unexpected(),
        };
        let value = match text.to_lowercase().as_str() {
            "1" | "true" | "on" => true,
            "0" | "false" | "off" => false,
            _ => return self.unexpected(),
        };
        self.parser.next_token();
        Ok(value)
    }
}

fn binary() -> Stop {
    Error::unsupported("COPY in binary format", "Use the text or the CSV format.").into()
}

fn force(option: &str) -> Stop {
    Error::unsupported(format_args!("COPY ... {option}"), "Empty strings are quoted, NULLs are not.").into()
}

fn encoding(name: &str) -> Result<(), Stop> {
    match name.to_lowercase().replace(['-', '_'], "").as_str() {
        "utf8" | "unicode" | "sqlascii" => Ok(()),
        _ => Err(Error::unsupported(format_args!("encoding {name}"), "Use UTF8.").into()),
    }
}

impl Written {
    fn complete(self) -> Result<CopyOptions, Stop> {
        let csv = match self.format.as_deref() {
            None | Some("text") => false,
            Some("csv") => true,
            Some("binary") => return Err(binary()),
            Some(other) => {
                return Err(Error::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    format!("COPY format \"{other}\" not recognized"),
                )
                .into());
            }
        };
        let only_csv = [(self.quote.is_some(), "quote"), (self.escape.is_some(), "escape")];
        if let Some((_, option)) = only_csv.iter().find(|(written, _)| *written && !csv) {
            return Err(Error::new(
                SqlState::FEATURE_NOT_SUPPORTED,
                format!("COPY {option} available only in CSV mode"),
            )
            .into());
        }
        let defaults = if csv { CopyOptions::csv() } else { CopyOptions::text() };
        let quote = one_byte(self.quote, defaults.quote, "quote")?;
        let options = CopyOptions {
            csv,
            delimiter: one_byte(self.delimiter, defaults.delimiter, "delimiter")?,
            null: self.null.unwrap_or(defaults.null),
            header: self.header,
            quote,
            escape: one_byte(self.escape, quote, "escape")?,
        };
        options.check()?;
        Ok(options)
    }
}

fn one_byte(written: Option<String>, default: u8, option: &str) -> Result<u8, Stop> {
    match written.as_deref().map(str::as_bytes) {
        None => Ok(default),
        Some([byte]) => Ok(*byte),
        Some(_) => {
            let message = format!("COPY {option} must be a single one-byte character");
            Err(Error::new(SqlState::FEATURE_NOT_SUPPORTED, message).into())
        }
    }
}
