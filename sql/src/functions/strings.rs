//! Functions on strings and byte strings. Positions and lengths count characters, unless the name says otherwise.

use crate::error::{Error, SqlState};
use crate::format::to_text;
use crate::functions::EvalContext;
use crate::value::{Array, Value, mismatch};

type Result<T> = std::result::Result<T, Error>;
type Context<'a> = &'a dyn EvalContext;

/// The longest string made: PostgreSQL's limit of 1 GiB less a header.
const BYTES_MAX: usize = (1 << 30) - 5;

/// Parts of a string that become an array at most.
const PARTS_MAX: usize = 1 << 24;

pub(super) fn text(value: &Value) -> Result<&str> {
    value.as_str().ok_or_else(|| mismatch("text", value))
}

fn bytes(value: &Value) -> Result<&[u8]> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        other => Err(mismatch("bytea", other)),
    }
}

pub(super) fn int(value: &Value) -> Result<i64> {
    value.as_i64().ok_or_else(|| mismatch("integer", value))
}

pub(super) fn count(number: usize) -> Value {
    // Strings are below 1 GiB.
    Value::Int32(number as i32)
}

#[cold]
fn too_long() -> Error {
    Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, "requested length too large")
}

/// Refuses a result before it is made, so that no allocation fails.
pub(super) fn bounded(length: usize) -> Result<()> {
    if length > BYTES_MAX { Err(too_long()) } else { Ok(()) }
}

pub(super) fn concat(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    let (a, b) = (text(a)?, text(b)?);
    bounded(a.len() + b.len())?;
    let mut out = String::with_capacity(a.len() + b.len());
    out.push_str(a);
    out.push_str(b);
    Ok(Value::text(out))
}

pub(super) fn concat_bytes(_: Context<'_>, a: &Value, b: &Value) -> Result<Value> {
    let (a, b) = (bytes(a)?, bytes(b)?);
    bounded(a.len() + b.len())?;
    Ok(Value::bytes([a, b].concat()))
}

/// What counts of a string: `character(n)` has no trailing blanks here.
fn significant(value: &Value) -> Result<&str> {
    match value {
        Value::Char(text) => Ok(text.trim_end_matches(' ')),
        other => text(other),
    }
}

pub(super) fn length(_: Context<'_>, a: &[Value]) -> Result<Value> {
    match &a[0] {
        Value::Bytes(bytes) => Ok(count(bytes.len())),
        other => Ok(count(significant(other)?.chars().count())),
    }
}

pub(super) fn octet_length(_: Context<'_>, a: &[Value]) -> Result<Value> {
    match &a[0] {
        Value::Bytes(bytes) => Ok(count(bytes.len())),
        other => Ok(count(text(other)?.len())),
    }
}

pub(super) fn bit_length(context: Context<'_>, a: &[Value]) -> Result<Value> {
    let octets = octet_length(context, a)?;
    Ok(Value::Int32((int(&octets)? * 8).try_into().map_err(|_| Error::out_of_range("integer"))?))
}

pub(super) fn lower(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(Value::text(text(&a[0])?.to_lowercase()))
}

pub(super) fn upper(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(Value::text(text(&a[0])?.to_uppercase()))
}

pub(super) fn initcap(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let mut inside = false;
    let mut out = String::new();
    for c in text(&a[0])?.chars() {
        if inside {
            out.extend(c.to_lowercase())
        } else {
            out.extend(c.to_uppercase())
        }
        inside = c.is_alphanumeric();
    }
    Ok(Value::text(out))
}

/// The part of a sequence of `len` items from position `start` (1-based) on, `wanted` items at most.
fn span(start: i64, wanted: Option<i64>, len: usize) -> Result<(usize, usize)> {
    let end = match wanted {
        Some(wanted) if wanted < 0 => {
            return Err(Error::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
        }
        Some(wanted) => start.saturating_add(wanted),
        None => i64::MAX,
    };
    let from = (start.max(1) - 1).min(len as i64) as usize;
    let to = (end.max(1) - 1).min(len as i64) as usize;
    Ok((from, to.max(from)))
}

fn substring_of(text: &str, start: i64, wanted: Option<i64>) -> Result<&str> {
    if text.is_ascii() {
        let (from, to) = span(start, wanted, text.len())?;
        return Ok(&text[from..to]);
    }
    let (from, to) = span(start, wanted, usize::MAX >> 1)?;
    let mut borders = text.char_indices().map(|(at, _)| at).chain(std::iter::once(text.len()));
    let first = borders.nth(from).unwrap_or(text.len());
    let last = if to == from { first } else { borders.nth(to - from - 1).unwrap_or(text.len()) };
    Ok(&text[first..last])
}

pub(super) fn substring(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let start = int(&a[1])?;
    let wanted = a.get(2).map(int).transpose()?;
    if let Value::Bytes(bytes) = &a[0] {
        let (from, to) = span(start, wanted, bytes.len())?;
        return Ok(Value::bytes(&bytes[from..to]));
    }
    Ok(Value::text(substring_of(text(&a[0])?, start, wanted)?))
}

pub(super) fn left(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (subject, n) = (text(&a[0])?, int(&a[1])?);
    let wanted = if n < 0 { (subject.chars().count() as i64 + n).max(0) } else { n };
    Ok(Value::text(substring_of(subject, 1, Some(wanted))?))
}

pub(super) fn right(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (subject, n) = (text(&a[0])?, int(&a[1])?);
    let length = subject.chars().count() as i64;
    let skipped = if n < 0 { -n } else { (length - n).max(0) };
    Ok(Value::text(substring_of(subject, skipped + 1, None)?))
}

fn trim_set(a: &[Value]) -> Result<(&str, Vec<char>)> {
    let set = match a.get(1) {
        Some(set) => text(set)?.chars().collect(),
        None => vec![' '],
    };
    Ok((text(&a[0])?, set))
}

pub(super) fn btrim(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (subject, set) = trim_set(a)?;
    Ok(Value::text(subject.trim_matches(set.as_slice())))
}

pub(super) fn ltrim(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (subject, set) = trim_set(a)?;
    Ok(Value::text(subject.trim_start_matches(set.as_slice())))
}

pub(super) fn rtrim(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (subject, set) = trim_set(a)?;
    Ok(Value::text(subject.trim_end_matches(set.as_slice())))
}

pub(super) fn btrim_bytes(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (subject, set) = (bytes(&a[0])?, bytes(&a[1])?);
    let keep = |byte: &u8| !set.contains(byte);
    let from = subject.iter().position(keep).unwrap_or(subject.len());
    let to = subject.iter().rposition(keep).map_or(from, |last| last + 1);
    Ok(Value::bytes(&subject[from..to]))
}

fn pad(a: &[Value]) -> Result<(String, String)> {
    let subject = text(&a[0])?;
    let wanted = int(&a[1])?.max(0) as usize;
    let fill = match a.get(2) {
        Some(fill) => text(fill)?,
        None => " ",
    };
    let length = subject.chars().count();
    if length >= wanted || fill.is_empty() {
        return Ok((String::new(), subject.chars().take(wanted).collect()));
    }
    if wanted.saturating_mul(4) > BYTES_MAX {
        return Err(too_long());
    }
    Ok((fill.chars().cycle().take(wanted - length).collect(), subject.to_owned()))
}

pub(super) fn lpad(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (fill, subject) = pad(a)?;
    Ok(Value::text(fill + &subject))
}

pub(super) fn rpad(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (fill, subject) = pad(a)?;
    Ok(Value::text(subject + &fill))
}

pub(super) fn repeat(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (subject, n) = (text(&a[0])?, int(&a[1])?.max(0) as usize);
    if subject.len().saturating_mul(n) > BYTES_MAX {
        return Err(too_long());
    }
    Ok(Value::text(subject.repeat(n)))
}

pub(super) fn replace(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (subject, from, to) = (text(&a[0])?, text(&a[1])?, text(&a[2])?);
    if from.is_empty() {
        return Ok(a[0].clone());
    }
    if to.len() > from.len() && subject.matches(from).count().saturating_mul(to.len()) > BYTES_MAX {
        return Err(too_long());
    }
    Ok(Value::text(subject.replace(from, to)))
}

pub(super) fn translate(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let from: Vec<char> = text(&a[1])?.chars().collect();
    let to: Vec<char> = text(&a[2])?.chars().collect();
    let translated: String = text(&a[0])?
        .chars()
        .filter_map(|c| match from.iter().position(|f| *f == c) {
            Some(at) => to.get(at).copied(),
            None => Some(c),
        })
        .collect();
    Ok(Value::text(translated))
}

/// `strpos(text, part)`
pub(super) fn strpos(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let subject = text(&a[0])?;
    Ok(match subject.find(text(&a[1])?) {
        Some(at) => count(subject[..at].chars().count() + 1),
        None => Value::Int32(0),
    })
}

pub(super) fn bytes_position(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (subject, part) = (bytes(&a[0])?, bytes(&a[1])?);
    let at = (0..=subject.len().saturating_sub(part.len())).find(|at| subject[*at..].starts_with(part));
    Ok(at.map_or(Value::Int32(0), |at| count(at + 1)))
}

pub(super) fn split_part(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (subject, delimiter, n) = (text(&a[0])?, text(&a[1])?, int(&a[2])?);
    if n == 0 {
        return Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, "field position must not be zero"));
    }
    let nth = n.unsigned_abs() as usize - 1;
    let part = if delimiter.is_empty() || subject.is_empty() {
        (nth == 0).then_some(subject)
    } else if n > 0 {
        subject.split(delimiter).nth(nth)
    } else {
        subject.split(delimiter).collect::<Vec<_>>().into_iter().rev().nth(nth)
    };
    Ok(Value::text(part.unwrap_or("")))
}

pub(super) fn starts_with(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(Value::Bool(text(&a[0])?.starts_with(text(&a[1])?)))
}

pub(super) fn reverse(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(Value::text(text(&a[0])?.chars().rev().collect::<String>()))
}

pub(super) fn overlay(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (subject, new, start) = (text(&a[0])?, text(&a[1])?, int(&a[2])?);
    let length = match a.get(3) {
        Some(length) => int(length)?,
        None => new.chars().count() as i64,
    };
    if start <= 0 {
        return Err(Error::new(SqlState::SUBSTRING_ERROR, "negative substring length not allowed"));
    }
    let before = substring_of(subject, 1, Some(start - 1))?;
    let after = substring_of(subject, start.saturating_add(length), None)?;
    Ok(Value::text(format!("{before}{new}{after}")))
}

/// `concat(...)`: NULLs count as nothing.
pub(super) fn concat_all(context: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(Value::text(a.iter().map(|value| shown(context, value)).collect::<String>()))
}

/// `concat_ws(separator, ...)`: NULLs are left out.
pub(super) fn concat_ws(context: Context<'_>, a: &[Value]) -> Result<Value> {
    if a[0].is_null() {
        return Ok(Value::Null);
    }
    let parts: Vec<String> =
        a[1..].iter().filter(|value| !value.is_null()).map(|value| shown(context, value)).collect();
    Ok(Value::text(parts.join(text(&a[0])?)))
}

fn shown(context: Context<'_>, value: &Value) -> String {
    if value.is_null() { String::new() } else { to_text(value, context.format()) }
}

/// `format(pattern, ...)`: `%s`, `%I`, `%L`, `%%`, with positions and widths.
pub(super) fn format_function(context: Context<'_>, a: &[Value]) -> Result<Value> {
    if a[0].is_null() {
        return Ok(Value::Null);
    }
    let bad = |message: String| Error::new(SqlState::INVALID_PARAMETER_VALUE, message);
    let mut out = String::new();
    let mut next = 1;
    let mut rest = text(&a[0])?.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        if rest.peek() == Some(&'%') {
            rest.next();
            out.push('%');
            continue;
        }
        let mut number = String::new();
        let mut position = None;
        let mut left = false;
        let kind = loop {
            match rest.next() {
                Some(c) if c.is_ascii_digit() => number.push(c),
                Some('$') => position = std::mem::take(&mut number).parse::<usize>().ok(),
                Some('-') => left = true,
                Some(c) => break c,
                None => {
                    let hint = "For a single \"%\" use \"%%\".";
                    return Err(bad("unterminated format() type specifier".to_owned()).with_hint(hint));
                }
            }
        };
        let width: usize = if number.is_empty() { 0 } else { number.parse().map_err(|_| too_long())? };
        let at = match position {
            Some(0) => return Err(bad("format specifies argument 0, but arguments are numbered from 1".to_owned())),
            Some(position) => position,
            None => next,
        };
        next = at.saturating_add(1);
        let argument = a.get(at).ok_or_else(|| bad("too few arguments for format()".to_owned()))?;
        let shown = match (kind, argument) {
            ('s', argument) => shown(context, argument),
            ('I', Value::Null) => {
                return Err(Error::new(
                    SqlState::NULL_VALUE_NOT_ALLOWED,
                    "null values cannot be formatted as an SQL identifier",
                ));
            }
            ('I', argument) => super::quote_ident(&shown(context, argument)),
            ('L', Value::Null) => "NULL".to_owned(),
            ('L', argument) => super::quote_literal(&shown(context, argument)),
            (other, _) => {
                let hint = "For a single \"%\" use \"%%\".";
                return Err(bad(format!("unrecognized format() type specifier \"{other}\"")).with_hint(hint));
            }
        };
        bounded(out.len().saturating_add(width).saturating_add(shown.len()))?;
        let fill = " ".repeat(width.saturating_sub(shown.chars().count()));
        if left {
            out.push_str(&shown);
            out.push_str(&fill);
        } else {
            out.push_str(&fill);
            out.push_str(&shown);
        }
    }
    Ok(Value::text(out))
}

pub(super) fn md5(_: Context<'_>, a: &[Value]) -> Result<Value> {
    use md5::Digest;
    let data = match &a[0] {
        Value::Bytes(bytes) => &bytes[..],
        other => text(other)?.as_bytes(),
    };
    Ok(Value::text(hex::encode(md5::Md5::digest(data))))
}

fn sha<D: md5::Digest>(a: &[Value]) -> Result<Value> {
    Ok(Value::bytes(D::digest(bytes(&a[0])?).to_vec()))
}

pub(super) fn sha224(_: Context<'_>, a: &[Value]) -> Result<Value> {
    sha::<sha2::Sha224>(a)
}

pub(super) fn sha256(_: Context<'_>, a: &[Value]) -> Result<Value> {
    sha::<sha2::Sha256>(a)
}

pub(super) fn sha384(_: Context<'_>, a: &[Value]) -> Result<Value> {
    sha::<sha2::Sha384>(a)
}

pub(super) fn sha512(_: Context<'_>, a: &[Value]) -> Result<Value> {
    sha::<sha2::Sha512>(a)
}

pub(super) fn ascii(_: Context<'_>, a: &[Value]) -> Result<Value> {
    Ok(Value::Int32(text(&a[0])?.chars().next().map_or(0, |c| u32::from(c) as i32)))
}

pub(super) fn chr(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let code = int(&a[0])?;
    let refused = |message: String| Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message);
    match u32::try_from(code) {
        Err(_) => Err(refused("character number must be positive".to_owned())),
        Ok(0) => Err(refused("null character not permitted".to_owned())),
        Ok(code) => match char::from_u32(code) {
            Some(c) => Ok(Value::text(c.to_string())),
            None => Err(refused(format!("requested character too large for encoding: {code}"))),
        },
    }
}

pub(super) fn to_hex(_: Context<'_>, a: &[Value]) -> Result<Value> {
    match &a[0] {
        Value::Int32(number) => Ok(Value::text(format!("{number:x}"))),
        Value::Int64(number) => Ok(Value::text(format!("{number:x}"))),
        other => Err(mismatch("integer", other)),
    }
}

pub(super) fn encode(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let data = bytes(&a[0])?;
    let encoded = match text(&a[1])?.to_ascii_lowercase().as_str() {
        "hex" => hex::encode(data),
        "base64" => base64_lines(data),
        "escape" => {
            let mut out = String::new();
            for byte in data {
                match byte {
                    b'\\' => out.push_str("\\\\"),
                    0 | 0x80.. => out.push_str(&format!("\\{byte:03o}")),
                    byte => out.push(char::from(*byte)),
                }
            }
            out
        }
        other => return Err(unknown_encoding(other)),
    };
    Ok(Value::text(encoded))
}

/// MIME's base 64, in lines of 76 characters; each whole one ends with a line feed, as PostgreSQL has it: the last too, but not if it ends with padding.
fn base64_lines(data: &[u8]) -> String {
    use base64::Engine;
    let whole = base64::engine::general_purpose::STANDARD.encode(data);
    let mut lines = String::with_capacity(whole.len() + whole.len() / 76);
    for at in (0..whole.len()).step_by(76) {
        lines.push_str(&whole[at..whole.len().min(at + 76)]);
        let rest = whole.len() - at;
        if rest > 76 || rest == 76 && data.len().is_multiple_of(3) {
            lines.push('\n');
        }
    }
    lines
}

#[cold]
fn unknown_encoding(name: &str) -> Error {
    Error::new(SqlState::INVALID_PARAMETER_VALUE, format!("unrecognized encoding: \"{name}\""))
}

pub(super) fn decode(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let data = text(&a[0])?;
    let decoded = match text(&a[1])?.to_ascii_lowercase().as_str() {
        "hex" => crate::format::parse_hex(data)?,
        "base64" => {
            use base64::Engine;
            let packed: String = data.chars().filter(|c| !c.is_ascii_whitespace()).collect();
            base64::engine::general_purpose::STANDARD
                .decode(packed)
                .map_err(|_| Error::new(SqlState::INVALID_PARAMETER_VALUE, "invalid base64 sequence"))?
        }
        "escape" => crate::format::parse_escaped(data)?,
        other => return Err(unknown_encoding(other)),
    };
    Ok(Value::bytes(decoded))
}

pub(super) fn get_byte(_: Context<'_>, a: &[Value]) -> Result<Value> {
    let (data, at) = (bytes(&a[0])?, int(&a[1])?);
    let byte = usize::try_from(at).ok().and_then(|at| data.get(at));
    byte.map(|byte| Value::Int32(i32::from(*byte))).ok_or_else(|| {
        let range = data.len() as i64 - 1;
        Error::new(SqlState::ARRAY_SUBSCRIPT_ERROR, format!("index {at} out of valid range, 0..{range}"))
    })
}

pub(super) fn string_to_array(_: Context<'_>, a: &[Value]) -> Result<Value> {
    if a[0].is_null() {
        return Ok(Value::Null);
    }
    let subject = text(&a[0])?;
    let null = match a.get(2) {
        Some(null) if !null.is_null() => Some(text(null)?),
        _ => None,
    };
    let item = |part: &str| if Some(part) == null { Value::Null } else { Value::text(part) };
    let parts: Vec<Value> = match &a[1] {
        _ if subject.is_empty() => Vec::new(),
        Value::Null => subject.chars().take(PARTS_MAX + 1).map(|c| item(c.encode_utf8(&mut [0; 4]))).collect(),
        delimiter if text(delimiter)?.is_empty() => vec![item(subject)],
        delimiter => subject.split(text(delimiter)?).take(PARTS_MAX + 1).map(item).collect(),
    };
    if parts.len() > PARTS_MAX {
        return Err(too_long());
    }
    Ok(Value::Array(std::sync::Arc::new(Array::new(crate::types::Type::Text, parts))))
}
