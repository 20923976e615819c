//! What can be seen from the tokens alone, before any grammar looks at them.

use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::error::{Error, SqlState};

/// How many operators may follow one another between two commas: each is a level of the syntax tree, which is walked by recursion.
pub(super) const MAX_OPERATORS: usize = 1000;

/// Refuses chains like `1 + 1 + 1 + ...` of any length: they would make a tree that is too deep to walk.
///
/// # Errors
/// 54001.
pub(super) fn refuse_long_chains(tokens: &[TokenWithSpan]) -> Result<(), Error> {
    // Operators so far at each level of parentheses; a comma begins anew.
    let mut chains = vec![Chain::default()];
    let mut total = 0;
    for token in tokens {
        let chain = chains.last_mut().expect("the outermost level stays");
        let before = chain.depth();
        match &token.token {
            Token::LParen | Token::LBracket => {
                chains.push(Chain::default());
                continue;
            }
            Token::RParen | Token::RBracket => {
                if chains.len() > 1 {
                    total -= before;
                    chains.pop();
                }
                continue;
            }
            Token::Comma => *chain = Chain::default(),
            Token::Eq | Token::Neq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq => chain.comparisons += 1,
            Token::Number(..) | Token::SingleQuotedString(_) | Token::Placeholder(_) | Token::Period => {}
            Token::Word(word) => match word.keyword {
                // Behind them, comparisons begin anew.
                Keyword::AND | Keyword::OR => {
                    chain.longest = chain.longest.max(chain.comparisons);
                    chain.comparisons = 0;
                    chain.others += 1;
                }
                Keyword::IS
                | Keyword::NOT
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::IN
                | Keyword::BETWEEN
                | Keyword::COLLATE
                | Keyword::AT
                | Keyword::NOTNULL
                | Keyword::UNION
                | Keyword::EXCEPT
                | Keyword::INTERSECT => chain.others += 1,
                _ => {}
            },
            _ => chain.others += 1,
        }
        total = total + chain.depth() - before;
        if total > MAX_OPERATORS {
            return Err(Error::new(SqlState::STATEMENT_TOO_COMPLEX, "the statement is nested too deeply")
                .with_detail(format!("An expression has more than {MAX_OPERATORS} operators.")));
        }
    }
    Ok(())
}

/// Operators of one level of parentheses since the last comma.
#[derive(Default)]
struct Chain {
    others: usize,
    /// Since the last AND or OR.
    comparisons: usize,
    /// The most comparisons between two of them.
    longest: usize,
}

impl Chain {
    /// How many levels of the syntax tree it can make.
    fn depth(&self) -> usize {
        self.others + self.longest.max(self.comparisons)
    }
}

/// What the library would take for something else: the word of a clause where an operand must stand (`SELECT 1 + FROM t`), and a table's name
/// behind INSERT without INTO.
pub(super) fn misplaced_word(tokens: &[TokenWithSpan]) -> Option<&TokenWithSpan> {
    let keyword = |token: &TokenWithSpan| match &token.token {
        Token::Word(word) => word.keyword,
        _ => Keyword::NoKeyword,
    };
    if let [first, second, ..] = tokens
        && keyword(first) == Keyword::INSERT
        && keyword(second) != Keyword::INTO
    {
        return Some(second);
    }
    let pair = tokens.windows(2).find(|pair| {
        // No `*`, which may be all columns.
        let wants_operand = matches!(
            pair[0].token,
            Token::Plus
                | Token::Minus
                | Token::Div
                | Token::Mod
                | Token::Eq
                | Token::Neq
                | Token::Lt
                | Token::Gt
                | Token::LtEq
                | Token::GtEq
        ) || matches!(pair[0].token, Token::StringConcat | Token::Comma);
        let clause = match &pair[1].token {
            Token::Word(word) if word.quote_style.is_none() => matches!(
                word.keyword,
                Keyword::FROM
                    | Keyword::WHERE
                    | Keyword::GROUP
                    | Keyword::ORDER
                    | Keyword::HAVING
                    | Keyword::LIMIT
                    | Keyword::OFFSET
                    | Keyword::UNION
            ),
            _ => false,
        };
        wants_operand && clause
    })?;
    Some(&pair[1])
}
