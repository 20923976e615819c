//! One-dimensional arrays as text: `{1,NULL,"a b"}`.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};

use crate::error::{Error, SqlState};
use crate::format::FormatSettings;
use crate::format::text::{encode_text, parse_value};
use crate::types::Type;
use crate::value::{Array, Value};

pub(super) fn write_array(array: &Array, element: &Type, settings: &FormatSettings, out: &mut BytesMut) {
    out.put_u8(b'{');
    for (i, value) in array.values().iter().enumerate() {
        if i > 0 {
            out.put_u8(b',');
        }
        if value.is_null() {
            out.put_slice(b"NULL");
            continue;
        }
        let mut text = BytesMut::new();
        encode_text(value, element, settings, &mut text);
        let special = |byte: &u8| {
            matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\') || byte.is_ascii_whitespace() || *byte == 0x0b
        };
        if text.is_empty() || text.eq_ignore_ascii_case(b"null") || text.iter().any(special) {
            out.put_u8(b'"');
            for byte in &text {
                if matches!(byte, b'"' | b'\\') {
                    out.put_u8(b'\\');
                }
                out.put_u8(*byte);
            }
            out.put_u8(b'"');
        } else {
            out.put_slice(&text);
        }
    }
    out.put_u8(b'}');
}

pub(super) fn parse_array(text: &str, element: &Type, settings: &FormatSettings) -> Result<Value, Error> {
    let malformed = |detail: &str| {
        Error::new(SqlState::INVALID_TEXT_REPRESENTATION, format!("malformed array literal: \"{text}\""))
            .with_detail(detail)
    };
    let inner = blank_trimmed(text)
        .strip_prefix('{')
        .ok_or_else(|| malformed("Array value must start with \"{\" or dimension information."))?
        .strip_suffix('}')
        .ok_or_else(|| malformed("Unexpected end of input."))?;
    let array = |values| Value::Array(Arc::new(Array::new(element.base(), values)));
    if blank_trimmed(inner).is_empty() {
        return Ok(array(Vec::new()));
    }
    let mut values = Vec::new();
    let mut item = String::new();
    // Up to where the item may not be trimmed, since it was quoted or escaped.
    let (mut kept, mut quoted, mut in_quotes, mut closed) = (0, false, false, false);
    let mut characters = inner.chars();
    loop {
        let next = characters.next();
        match next {
            Some('\\') => {
                item.push(characters.next().ok_or_else(|| malformed("Unexpected end of input."))?);
                kept = item.len();
                quoted = true;
            }
            Some('"') if !in_quotes && (quoted || !item.trim_end().is_empty()) => {
                return Err(malformed("Incorrectly quoted array element."));
            }
            Some('"') => {
                closed = in_quotes;
                in_quotes = !in_quotes;
                quoted = true;
                kept = item.len();
            }
            Some(c) if in_quotes => {
                item.push(c);
                kept = item.len();
            }
            None if in_quotes => return Err(malformed("Unexpected end of input.")),
            Some('{') => return Err(Error::unsupported("an array of more than one dimension", "")),
            Some('}') => return Err(malformed("Junk after closing right brace.")),
            Some(',') | None => {
                item.truncate(kept.max(item.trim_end().len()));
                if item.is_empty() && !quoted {
                    return Err(malformed(if next.is_some() {
                        "Unexpected \",\" character."
                    } else {
                        "Unexpected \"}\" character."
                    }));
                }
                let null = !quoted && item.eq_ignore_ascii_case("null");
                values.push(if null { Value::Null } else { parse_value(&item, element, settings)? });
                item.clear();
                (kept, quoted, closed) = (0, false, false);
                if next.is_none() {
                    return Ok(array(values));
                }
            }
            Some(c) if c.is_ascii_whitespace() && item.is_empty() && !quoted => {}
            Some(c) if closed && !c.is_ascii_whitespace() => {
                return Err(malformed("Incorrectly quoted array element."));
            }
            Some(c) => item.push(c),
        }
    }
}

fn blank_trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b')
}
