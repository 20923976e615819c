//! Functions on regular expressions.

use regex::{Captures, Match, Regex};

use crate::error::{Error, SqlState};
use crate::functions::EvalContext;
use crate::functions::pattern::with_regex;
use crate::functions::strings::{bounded, count, int, text};
use crate::value::{Array, Value};

type Result<T> = std::result::Result<T, Error>;
type Context<'a> = &'a dyn EvalContext;

/// The flags of `regexp_replace` and its kin: whether all matches are meant, and the pattern with the others put in front.
fn flags(pattern: &str, flags: &str) -> Result<(bool, bool, String)> {
    let (mut all, mut insensitive, mut prefix) = (false, false, String::new());
    for flag in flags.chars() {
        match flag {
            'g' => all = true,
            'i' => insensitive = true,
            'c' => insensitive = false,
            's' => prefix.push_str("(?s)"),
            'n' | 'm' => prefix.push_str("(?m-s)"),
            'x' => prefix.push_str("(?x)"),
            other => {
                let message = format!("invalid regular expression option: \"{other}\"");
                return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
            }
        }
    }
    Ok((all, insensitive, prefix + pattern))
}

/// `substring(text from pattern)`: the first group of a regular expression, or all it matches.
pub(super) fn substring_pattern(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (subject, pattern) = (text(&a[0])?, text(&a[1])?);
    let found = with_regex(pattern, false, |regex| {
        regex.captures(subject).and_then(|captures| {
            let group = if regex.captures_len() > 1 { captures.get(1) } else { captures.get(0) };
            group.map(|found| found.as_str().to_owned())
        })
    })?;
    Ok(found.into())
}

pub(super) fn regexp_replace(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let subject = text(&a[0])?;
    let (all, insensitive, pattern) = flags(text(&a[1])?, a.get(3).map_or(Ok(""), text)?)?;
    // PostgreSQL writes \1 and \&, the crate $1 and $0.
    let mut replacement = String::new();
    let mut characters = text(&a[2])?.chars();
    while let Some(c) = characters.next() {
        match c {
            '$' => replacement.push_str("$$"),
            '\\' => match characters.next() {
                Some(digit @ '1'..='9') => replacement.push_str(&format!("${{{digit}}}")),
                Some('&') => replacement.push_str("${0}"),
                Some('\\') | None => replacement.push('\\'),
                Some(other) => replacement.extend(['\\', other]),
            },
            c => replacement.push(c),
        }
    }
    with_regex(&pattern, insensitive, |regex| {
        // Each match gives the replacement, with as much of the subject as it refers to.
        let matches = if all { regex.find_iter(subject).count() } else { 1 };
        let referred = replacement.matches("${").count();
        let most = matches.saturating_mul(replacement.len()).saturating_add(subject.len().saturating_mul(referred + 1));
        bounded(most)?;
        let replaced = if all {
            regex.replace_all(subject, replacement.as_str())
        } else {
            regex.replace(subject, replacement.as_str())
        };
        Ok(Value::text(replaced.as_ref()))
    })?
}

pub(super) fn regexp_match(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let subject = text(&a[0])?;
    let (_, insensitive, pattern) = flags(text(&a[1])?, a.get(2).map_or(Ok(""), text)?)?;
    with_regex(&pattern, insensitive, |regex| match regex.captures(subject) {
        None => Value::Null,
        Some(captures) => {
            let first = usize::from(captures.len() > 1);
            let groups = (first..captures.len())
                .map(|i| captures.get(i).map(|found| found.as_str().to_owned()).into())
                .collect();
            Value::Array(std::sync::Arc::new(Array::new(crate::types::Type::Text, groups)))
        }
    })
}

#[cold]
fn invalid(parameter: &str, value: i64) -> Error {
    let message = format!("invalid value for parameter \"{parameter}\": {value}");
    Error::new(SqlState::INVALID_PARAMETER_VALUE, message)
}

/// The flags where all matches are looked at anyway.
fn flags_without_global(name: &str, pattern: &str, given: Option<&Value>) -> Result<(bool, String)> {
    let (all, insensitive, pattern) = flags(pattern, given.map_or(Ok(""), text)?)?;
    if all {
        let message = format!("{name}() does not support the \"global\" option");
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
    }
    Ok((insensitive, pattern))
}

/// An argument that counts from one.
fn ordinal(name: &str, a: &[Value], at: usize) -> Result<usize> {
    let Some(given) = a.get(at) else { return Ok(1) };
    let number = int(given)?;
    usize::try_from(number).ok().filter(|number| *number > 0).ok_or_else(|| invalid(name, number))
}

/// An argument that counts from zero, which is what it is if it is missing.
fn cardinal(name: &str, a: &[Value], at: usize) -> Result<usize> {
    let Some(given) = a.get(at) else { return Ok(0) };
    let number = int(given)?;
    usize::try_from(number).map_err(|_| invalid(name, number))
}

/// All matches from a character on; `first` is counted from one. Unlike the crate's own iterator, one may be empty right behind another.
fn matches<'r, 's: 'r>(regex: &'r Regex, subject: &'s str, first: usize) -> impl Iterator<Item = Captures<'s>> + 'r {
    let mut next = byte_of(subject, first - 1);
    std::iter::from_fn(move || {
        let captures = regex.captures_at(subject, next?)?;
        let found = captures.get(0)?;
        next = if found.is_empty() {
            subject[found.end()..].chars().next().map(|c| found.end() + c.len_utf8())
        } else {
            Some(found.end())
        };
        Some(captures)
    })
}

/// Without groups the whole is the first one.
fn group_of<'s>(regex: &Regex, captures: &Captures<'s>, group: usize) -> Option<Match<'s>> {
    captures.get(if regex.captures_len() == 1 && group == 1 { 0 } else { group })
}

/// Where a character begins, counted from zero; `None` behind the end of the string.
fn byte_of(subject: &str, character: usize) -> Option<usize> {
    let ends = std::iter::once(subject.len());
    subject.char_indices().map(|(at, _)| at).chain(ends).nth(character)
}

pub(super) fn regexp_like(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let subject = text(&a[0])?;
    let (insensitive, pattern) = flags_without_global("regexp_like", text(&a[1])?, a.get(2))?;
    with_regex(&pattern, insensitive, |regex| Value::Bool(regex.is_match(subject)))
}

/// `regexp_count(string, pattern, start, flags)`
pub(super) fn regexp_count(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (subject, start) = (text(&a[0])?, ordinal("start", a, 2)?);
    let (insensitive, pattern) = flags_without_global("regexp_count", text(&a[1])?, a.get(3))?;
    with_regex(&pattern, insensitive, |regex| count(matches(regex, subject, start).count()))
}

/// `regexp_instr(string, pattern, start, N, endoption, flags, subexpr)`
pub(super) fn regexp_instr(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (subject, start, n) = (text(&a[0])?, ordinal("start", a, 2)?, ordinal("n", a, 3)?);
    let behind = match a.get(4).map_or(Ok(0), int)? {
        0 => false,
        1 => true,
        other => return Err(invalid("endoption", other)),
    };
    let (insensitive, pattern) = flags_without_global("regexp_instr", text(&a[1])?, a.get(5))?;
    let group = cardinal("subexpr", a, 6)?;
    with_regex(&pattern, insensitive, |regex| {
        let found = matches(regex, subject, start).nth(n - 1).and_then(|captures| group_of(regex, &captures, group));
        let at = |byte: usize| subject[..byte].chars().count() + 1;
        count(found.map_or(0, |found| at(if behind { found.end() } else { found.start() })))
    })
}

/// `regexp_substr(string, pattern, start, N, flags, subexpr)`
pub(super) fn regexp_substr(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (subject, start, n) = (text(&a[0])?, ordinal("start", a, 2)?, ordinal("n", a, 3)?);
    let (insensitive, pattern) = flags_without_global("regexp_substr", text(&a[1])?, a.get(4))?;
    let group = cardinal("subexpr", a, 5)?;
    with_regex(&pattern, insensitive, |regex| {
        let found = matches(regex, subject, start).nth(n - 1).and_then(|captures| group_of(regex, &captures, group));
        found.map_or(Value::Null, |found| Value::text(found.as_str()))
    })
}
