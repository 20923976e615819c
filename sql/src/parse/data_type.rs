//! Type names as written → [`Type`].

use sqlparser::ast::DataType;

use crate::error::Error;
use crate::types::Type;

/// PostgreSQL's types that do not exist here: refused by name instead of "does not exist".
const MISSING: &[(&str, &str)] = &[
    ("json", "Store it as text."),
    ("jsonb", "Store it as text."),
    ("xml", "Store it as text."),
    ("money", "Use numeric(14, 2)."),
    ("inet", "Store it as text."),
    ("cidr", "Store it as text."),
    ("macaddr", "Store it as text."),
    ("bit", "Use bytea or text."),
    ("bit varying", "Use bytea or text."),
    ("varbit", "Use bytea or text."),
    ("point", "Use two double precision columns."),
    ("tsvector", ""),
    ("tsquery", ""),
    ("time with time zone", "Use time, or timestamp with time zone."),
    ("timetz", "Use time, or timestamp with time zone."),
    ("serial", "Use gen_random_uuid() or ids made by the application."),
    ("serial4", "Use gen_random_uuid() or ids made by the application."),
    ("bigserial", "Use gen_random_uuid() or ids made by the application."),
    ("serial8", "Use gen_random_uuid() or ids made by the application."),
    ("smallserial", "Use gen_random_uuid() or ids made by the application."),
    ("serial2", "Use gen_random_uuid() or ids made by the application."),
];

/// The type that `written` names.
///
/// # Errors
/// 42704 for an unknown name, 22023 for a modifier out of bounds, 0A000 for types of PostgreSQL that do not exist here.
pub fn data_type(written: &DataType) -> Result<Type, Error> {
    by_text(&written.to_string())
}

fn by_text(written: &str) -> Result<Type, Error> {
    let text = without_quotes(written);
    let (name, modifiers) = match (text.find('('), text.find(')')) {
        (Some(open), Some(close)) if open < close => {
            let modifiers: Option<Vec<i64>> =
                text[open + 1..close].split(',').map(|part| part.trim().parse().ok()).collect();
            let modifiers = modifiers
                .ok_or_else(|| Error::syntax(format!("type modifiers of \"{written}\" must be simple integers")))?;
            let name = format!("{}{}", text[..open].trim_end(), &text[close + 1..]);
            (name, modifiers)
        }
        _ => (text, Vec::new()),
    };
    let bare = name.strip_prefix("pg_catalog.").unwrap_or(&name);
    if let Some((missing, hint)) =
        MISSING.iter().find(|(missing, _)| bare.strip_suffix("[]").unwrap_or(bare) == *missing)
    {
        return Err(Error::unsupported(format_args!("type {missing}"), *hint));
    }
    Type::from_name(bare, &modifiers)
}

/// A name in lower case, its quoted parts as they are. Quotes stay where they matter: `"char"` is not `char`, and no type has capitals.
fn without_quotes(written: &str) -> String {
    let part = |(at, part): (usize, &str)| match at % 2 {
        0 => part.to_lowercase(),
        _ if part == "char" || part.contains(|c: char| !matches!(c, 'a'..='z' | '0'..='9' | '_')) => {
            format!("\"{part}\"")
        }
        _ => part.to_owned(),
    };
    written.split('"').enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_are_found_wherever_they_stand() {
        assert_eq!(by_text("CHARACTER VARYING(20)"), Ok(Type::Varchar(Some(20))));
        assert_eq!(by_text("NUMERIC(10,2)"), Ok(Type::Numeric(Some((10, 2)))));
        assert_eq!(by_text("TIMESTAMP(3) WITH TIME ZONE"), Ok(Type::TimestampTz(Some(3))));
        assert_eq!(by_text("DOUBLE PRECISION"), Ok(Type::Float8));
        assert_eq!(by_text("INT[]"), Ok(Type::Array(Box::new(Type::Int32))));
        assert_eq!(by_text("pg_catalog.int8"), Ok(Type::Int64));
        assert_eq!(by_text(r#""pg_catalog"."int8""#), Ok(Type::Int64));
        assert_eq!(by_text(r#"PG_CATALOG."_text""#), Ok(Type::Array(Box::new(Type::Text))));
        assert_eq!(by_text(r#"pg_catalog."char""#), Ok(Type::InternalChar));
    }

    #[test]
    fn missing_types_are_refused_by_name() {
        assert_eq!(by_text("BIGSERIAL").map_err(|error| error.code.as_str().to_owned()), Err("0A000".to_owned()));
        assert_eq!(by_text(r#""Int8""#).map_err(|error| error.code.as_str().to_owned()), Err("42704".to_owned()));
        assert_eq!(by_text("nonsense").map_err(|error| error.code.as_str().to_owned()), Err("42704".to_owned()));
    }
}
