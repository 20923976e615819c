//! LIKE, ILIKE and regular expressions.
//!
//! Regular expressions are those of the `regex` crate, which match in linear time; back references and look-around, which it leaves
//! out for that reason, are refused (2201B) rather than read as something else.

use std::cell::RefCell;

use regex::{Regex, RegexBuilder};

use crate::error::{Error, SqlState};
use crate::functions::EvalContext;
use crate::value::{Value, mismatch};

type Result<T> = std::result::Result<T, Error>;
type Context<'a> = &'a dyn EvalContext;

/// Compiled expressions kept by each thread.
const CACHED: usize = 16;

/// Whether `text` matches a LIKE pattern: `%` any characters, `_` one; `escape` (if any) takes the meaning off the next.
///
/// # Errors
/// 22025 for a pattern that ends with the escape.
pub fn like(text: &str, pattern: &str, escape: Option<char>) -> Result<bool> {
    let bad_end = || Error::new(SqlState::INVALID_ESCAPE_SEQUENCE, "LIKE pattern must not end with escape character");
    let (mut text, mut pattern) = (text.chars(), pattern.chars());
    // Where to go on when a later part fails: the last % seen and the text it has swallowed so far.
    let mut retry: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let mut rest = pattern.clone();
        let matched = match rest.next() {
            Some('%') if escape != Some('%') => {
                retry = Some((rest.clone(), text.clone()));
                pattern = rest;
                continue;
            }
            Some('_') if escape != Some('_') => text.next().is_some(),
            // At the end of the text nothing is left to escape: no match, and no complaint.
            Some(c) if Some(c) == escape && !text.as_str().is_empty() => {
                let literal = rest.next().ok_or_else(bad_end)?;
                text.next() == Some(literal)
            }
            Some(c) => text.next() == Some(c),
            None if text.as_str().is_empty() => return Ok(true),
            None => false,
        };
        if matched {
            pattern = rest;
            continue;
        }
        let Some((after, swallowed)) = &mut retry else { return Ok(false) };
        if swallowed.next().is_none() {
            return Ok(false);
        }
        (pattern, text) = (after.clone(), swallowed.clone());
    }
}

/// Whether a regular expression matches somewhere in `text`.
///
/// # Errors
/// 2201B for an expression that cannot be compiled.
pub fn regex_matches(text: &str, pattern: &str, insensitive: bool) -> Result<bool> {
    with_regex(pattern, insensitive, |regex| regex.is_match(text))
}

/// Calls `f` with the compiled expression; each thread keeps those used last.
pub(super) fn with_regex<T>(pattern: &str, insensitive: bool, f: impl FnOnce(&Regex) -> T) -> Result<T> {
    thread_local! {
        static CACHE: RefCell<Vec<(String, bool, Regex)>> = const { RefCell::new(Vec::new()) };
    }
    CACHE.with_borrow_mut(|cache| {
        if let Some(at) = cache.iter().position(|(p, i, _)| p == pattern && *i == insensitive) {
            let found = cache.remove(at);
            cache.insert(0, found);
        } else {
            let regex = compile(pattern, insensitive)?;
            cache.truncate(CACHED - 1);
            cache.insert(0, (pattern.to_owned(), insensitive, regex));
        }
        Ok(f(&cache[0].2))
    })
}

fn compile(pattern: &str, insensitive: bool) -> Result<Regex> {
    // PostgreSQL's directors and word borders that are written differently.
    let (literal, body) = match pattern.strip_prefix("***=") {
        Some(rest) => (true, rest),
        None => (false, pattern.strip_prefix("***:").unwrap_or(pattern)),
    };
    let translated = if literal {
        regex::escape(body)
    } else {
        body.replace("[[:<:]]", r"\b{start}")
            .replace("[[:>:]]", r"\b{end}")
            .replace("\\m", r"\b{start}")
            .replace("\\M", r"\b{end}")
            .replace("\\y", r"\b")
    };
    RegexBuilder::new(&translated)
        .case_insensitive(insensitive)
        .dot_matches_new_line(true)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| {
            let reason = error.to_string();
            let last = reason.lines().last().unwrap_or("cannot be compiled").trim_start_matches("error: ").to_owned();
            Error::new(SqlState::INVALID_REGULAR_EXPRESSION, format!("invalid regular expression: {last}"))
        })
}

fn texts<'a>(a: &'a Value, b: &'a Value) -> Result<(&'a str, &'a str)> {
    match (a.as_str(), b.as_str()) {
        (Some(a), Some(b)) => Ok((a, b)),
        _ => Err(mismatch("text", a)),
    }
}

pub(super) fn op_like(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    let (text, pattern) = texts(a, b)?;
    like(text, pattern, Some('\\')).map(Value::Bool)
}

pub(super) fn op_not_like(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    let (text, pattern) = texts(a, b)?;
    like(text, pattern, Some('\\')).map(|matched| Value::Bool(!matched))
}

pub(super) fn op_ilike(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    let (text, pattern) = texts(a, b)?;
    like(&text.to_lowercase(), &pattern.to_lowercase(), Some('\\')).map(Value::Bool)
}

pub(super) fn op_not_ilike(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    let (text, pattern) = texts(a, b)?;
    like(&text.to_lowercase(), &pattern.to_lowercase(), Some('\\')).map(|matched| Value::Bool(!matched))
}

pub(super) fn op_match(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    let (text, pattern) = texts(a, b)?;
    regex_matches(text, pattern, false).map(Value::Bool)
}

pub(super) fn op_not_match(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    let (text, pattern) = texts(a, b)?;
    regex_matches(text, pattern, false).map(|matched| Value::Bool(!matched))
}

pub(super) fn op_match_insensitive(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    let (text, pattern) = texts(a, b)?;
    regex_matches(text, pattern, true).map(Value::Bool)
}

pub(super) fn op_not_match_insensitive(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    let (text, pattern) = texts(a, b)?;
    regex_matches(text, pattern, true).map(|matched| Value::Bool(!matched))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_matches_as_postgres_does() {
        let yes = [
            ("abc", "abc"),
            ("abc", "a%"),
            ("abc", "_b_"),
            ("abc", "%c"),
            ("", "%"),
            ("", ""),
            ("a%c", "a\\%c"),
            ("äöü", "_ö_"),
            ("aXbXc", "a%X%c"),
            ("aaa", "%a_"),
            ("abcabd", "%abd"),
        ];
        for (text, pattern) in yes {
            assert_eq!(like(text, pattern, Some('\\')), Ok(true), "{text} LIKE {pattern}");
        }
        for (text, pattern) in [("abc", "b"), ("abc", "c%"), ("", "_"), ("abc", "a\\%c"), ("ab", "a__"), ("Abc", "abc")]
        {
            assert_eq!(like(text, pattern, Some('\\')), Ok(false), "{text} LIKE {pattern}");
        }
        assert_eq!(like("a\\c", "a\\c", None), Ok(true));
        assert_eq!(like("a%", "a!%", Some('!')), Ok(true));
        assert_eq!(like("a", "a\\", Some('\\')), Ok(false));
        assert_eq!(like("ab", "a\\", Some('\\')).map_err(|e| e.code), Err(SqlState::INVALID_ESCAPE_SEQUENCE));
    }

    #[test]
    fn many_wildcards_stay_fast() {
        let text = "a".repeat(5000);
        let pattern = "%a".repeat(1000) + "b";
        assert_eq!(like(&text, &pattern, Some('\\')), Ok(false));
    }

    #[test]
    fn regular_expressions_match_anywhere() {
        assert_eq!(regex_matches("thomas", "h.*s$", false), Ok(true));
        assert_eq!(regex_matches("thomas", "^T", true), Ok(true));
        assert_eq!(regex_matches("thomas", "^h", false), Ok(false));
        assert_eq!(regex_matches("a.b", "***=a.b", false), Ok(true));
        assert_eq!(regex_matches("axb", "***=a.b", false), Ok(false));
        assert_eq!(regex_matches("one two", "\\mtwo\\M", false), Ok(true));
        for bad in ["(", "(a)\\1", "(?=a)"] {
            assert_eq!(
                regex_matches("a", bad, false).map_err(|e| e.code),
                Err(SqlState::INVALID_REGULAR_EXPRESSION),
                "{bad}"
            );
        }
    }
}
