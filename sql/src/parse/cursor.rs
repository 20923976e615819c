//! DECLARE, FETCH and MOVE.

use std::sync::Arc;

use sqlparser::tokenizer::Token;

use super::statement::{Declare, Fetch, Statement};
use super::{Reader, Stop};
use crate::error::Error;

impl Reader<'_> {
    /// DECLARE, its first word already read: `NAME [BINARY] [INSENSITIVE] [[NO] SCROLL] CURSOR [{WITH | WITHOUT} HOLD] FOR query`.
    pub(super) fn declare(&mut self) -> Result<Statement, Stop> {
        let name = self.identifier()?;
        loop {
            if self.word("CURSOR") {
                break;
            }
            // A cursor here shows what was there when it was declared, so the two words change nothing.
            if self.word("INSENSITIVE") || self.word("ASENSITIVE") || self.words(&["NO", "SCROLL"]) {
                continue;
            }
            if self.word("SCROLL") {
                return Err(Error::unsupported("a SCROLL cursor", "Cursors go forward; leave the word out.").into());
            }
            if self.word("BINARY") {
                let hint = "Ask for binary values in the protocol (the driver's setting).";
                return Err(Error::unsupported("a BINARY cursor", hint).into());
            }
            return self.unexpected();
        }
        let hold = self.words(&["WITH", "HOLD"]);
        if !hold {
            let _ = self.words(&["WITHOUT", "HOLD"]);
        }
        self.expect_word("FOR")?;
        let query = Arc::new(Statement::Query(self.parser.parse_query()?));
        Ok(Statement::Declare(Declare { name, hold, query }))
    }

    /// FETCH and MOVE, the first word already read: `[direction] [FROM | IN] NAME`.
    pub(super) fn fetch(&mut self, moves: bool) -> Result<Statement, Stop> {
        let count = self.direction()?;
        let _ = self.word("FROM") || self.word("IN");
        Ok(Statement::Fetch(Fetch { cursor: self.identifier()?, count, moves }))
    }

    /// How many rows forward; `None` for other directions. Without any, one.
    fn direction(&mut self) -> Result<Option<u64>, Stop> {
        let lone = self.parser.peek_nth_token_ref(1).token == Token::EOF;
        // A cursor may have the name of a direction.
        if lone {
            return Ok(Some(1));
        }
        if self.word("NEXT") {
            return Ok(Some(1));
        }
        if self.word("ALL") {
            return Ok(Some(u64::MAX));
        }
        if self.word("FORWARD") {
            return if self.word("ALL") { Ok(Some(u64::MAX)) } else { Ok(self.row_count()?.unwrap_or(Some(1))) };
        }
        if self.word("PRIOR") || self.word("FIRST") || self.word("LAST") {
            return Ok(None);
        }
        if self.word("BACKWARD") {
            if !self.word("ALL") {
                let _ = self.row_count()?;
            }
            return Ok(None);
        }
        if self.word("ABSOLUTE") || self.word("RELATIVE") {
            if self.row_count()?.is_none() {
                return self.unexpected();
            }
            return Ok(None);
        }
        Ok(self.row_count()?.unwrap_or(Some(1)))
    }

    /// A number of rows, if one comes next: `Some(None)` if it does not lead forward.
    fn row_count(&mut self) -> Result<Option<Option<u64>>, Stop> {
        let minus = self.parser.consume_token(&Token::Minus);
        if !minus {
            let _ = self.parser.consume_token(&Token::Plus);
        }
        let Token::Number(digits, _) = &self.parser.peek_token_ref().token else {
            return if minus { self.unexpected() } else { Ok(None) };
        };
        let Ok(count) = digits.parse::<u64>() else { return self.unexpected() };
        self.parser.next_token();
        Ok(Some(if minus || count == 0 { None } else { Some(count) }))
    }
}
