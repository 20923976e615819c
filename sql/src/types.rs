//! SQL types: names, OIDs, type modifiers, categories, and PostgreSQL's rules for finding a common type.
//!
//! A [`Type`] carries its modifier (`numeric(10,2)`, `char(84)`), since values are coerced to it on assignment and it goes
//! over the wire. [`Type::base`] leaves the modifier out; operators and functions are resolved on base types.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, SqlState};

/// Digits that `numeric` keeps exactly; a result that needs more is 22003.
pub const NUMERIC_MAX_DIGITS: u32 = 38;
/// The largest `n` of `varchar(n)` and `char(n)`.
pub const MAX_CHARACTERS: u32 = 10_485_760;

/// A SQL type with its modifier. Serialised in the catalog: add variants at the end only.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Type {
    /// `boolean`
    Bool,
    /// `smallint`
    Int16,
    /// `integer`
    Int32,
    /// `bigint`
    Int64,
    /// `real`
    Float4,
    /// `double precision`
    Float8,
    /// `numeric`, with precision (1 to 38) and scale (-38 to 38) if it was declared with any.
    Numeric(Option<(u8, i8)>),
    /// `character(n)`, blank-padded; `None` is `bpchar` without a length.
    Char(Option<u32>),
    /// `character varying(n)`
    Varchar(Option<u32>),
    /// `text`
    Text,
    /// `bytea`
    Bytea,
    /// `date`
    Date,
    /// `time without time zone`, with digits of a second (0 to 6)
    Time(Option<u8>),
    /// `timestamp without time zone`, with digits of a second (0 to 6)
    Timestamp(Option<u8>),
    /// `timestamp with time zone`, with digits of a second (0 to 6)
    TimestampTz(Option<u8>),
    /// `interval`
    Interval,
    /// `uuid`
    Uuid,
    /// `"char"`: one byte, used by PostgreSQL's catalog
    InternalChar,
    /// `name`: text of at most 63 bytes
    Name,
    /// `oid`
    Oid,
    /// `regclass`: the OID of a relation, written as its name
    Regclass,
    /// `regtype`: the OID of a type, written as its name
    Regtype,
    /// `unknown`: a string literal or parameter whose type the context has to give
    Unknown,
    /// `void`: what a function without a result returns
    Void,
    /// `record`: a row
    Record,
    /// A one-dimensional array
    Array(Box<Type>),
}

/// PostgreSQL's type categories, which steer overload resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Arrays
    Array,
    /// Boolean
    Boolean,
    /// Date and time
    DateTime,
    /// Numbers and OIDs
    Numeric,
    /// Pseudo-types
    Pseudo,
    /// Strings
    String,
    /// Interval
    Timespan,
    /// Types without relatives (`bytea`, `uuid`)
    User,
    /// Literals of unknown type
    Unknown,
    /// `"char"`
    Internal,
}

/// Base types with their OID, the OID of their array, and their names: the first is `format_type`'s, the rest are accepted.
const TABLE: &[(Type, u32, u32, &[&str])] = &[
    (Type::Bool, 16, 1000, &["boolean", "bool"]),
    (Type::Bytea, 17, 1001, &["bytea"]),
    (Type::InternalChar, 18, 1002, &["\"char\""]),
    (Type::Name, 19, 1003, &["name"]),
    (Type::Int64, 20, 1016, &["bigint", "int8"]),
    (Type::Int16, 21, 1005, &["smallint", "int2"]),
    (Type::Int32, 23, 1007, &["integer", "int", "int4"]),
    (Type::Text, 25, 1009, &["text"]),
    (Type::Oid, 26, 1028, &["oid"]),
    (Type::Float4, 700, 1021, &["real", "float4"]),
    (Type::Float8, 701, 1022, &["double precision", "float8", "float"]),
    (Type::Unknown, 705, 0, &["unknown"]),
    (Type::Char(None), 1042, 1014, &["character", "bpchar", "char"]),
    (Type::Varchar(None), 1043, 1015, &["character varying", "varchar", "char varying"]),
    (Type::Date, 1082, 1182, &["date"]),
    (Type::Time(None), 1083, 1183, &["time without time zone", "time"]),
    (Type::Timestamp(None), 1114, 1115, &["timestamp without time zone", "timestamp"]),
    (Type::TimestampTz(None), 1184, 1185, &["timestamp with time zone", "timestamptz"]),
    (Type::Interval, 1186, 1187, &["interval"]),
    (Type::Numeric(None), 1700, 1231, &["numeric", "decimal", "dec"]),
    (Type::Regclass, 2205, 2210, &["regclass"]),
    (Type::Regtype, 2206, 2211, &["regtype"]),
    (Type::Record, 2249, 2287, &["record"]),
    (Type::Void, 2278, 0, &["void"]),
    (Type::Uuid, 2950, 2951, &["uuid"]),
];

impl Type {
    /// The same type without its modifier. Arrays lose that of their elements.
    pub fn base(&self) -> Type {
        match self {
            Type::Numeric(_) => Type::Numeric(None),
            Type::Char(_) => Type::Char(None),
            Type::Varchar(_) => Type::Varchar(None),
            Type::Time(_) => Type::Time(None),
            Type::Timestamp(_) => Type::Timestamp(None),
            Type::TimestampTz(_) => Type::TimestampTz(None),
            Type::Array(element) => Type::Array(Box::new(element.base())),
            other => other.clone(),
        }
    }

    /// Whether both are the same type, modifiers left aside.
    pub fn same_base(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Array(a), Type::Array(b)) => a.same_base(b),
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }

    fn entry(&self) -> &'static (Type, u32, u32, &'static [&'static str]) {
        TABLE.iter().find(|(ty, ..)| ty.same_base(self)).expect("every scalar type has an entry")
    }

    /// PostgreSQL's OID of the type. Arrays of types that have no array type answer 0.
    pub fn oid(&self) -> u32 {
        match self {
            Type::Array(element) => element.entry().2,
            scalar => scalar.entry().1,
        }
    }

    /// The type with this OID, without a modifier. `None` when it is not known here (0 included).
    pub fn from_oid(oid: u32) -> Option<Type> {
        if oid == 0 {
            return None;
        }
        TABLE.iter().find_map(|(ty, scalar, array, _)| match oid {
            oid if oid == *scalar => Some(ty.clone()),
            oid if oid == *array => Some(Type::Array(Box::new(ty.clone()))),
            _ => None,
        })
    }

    /// The type with this OID and `atttypmod`.
    pub fn from_oid_and_modifier(oid: u32, modifier: i32) -> Option<Type> {
        let base = Type::from_oid(oid)?;
        if modifier < 0 {
            return Some(base);
        }
        Some(match base {
            Type::Numeric(_) => {
                let packed = modifier - 4;
                let scale = ((packed & 0x7ff) ^ 1024) - 1024;
                Type::Numeric(Some((u8::try_from((packed >> 16) & 0xffff).ok()?, i8::try_from(scale).ok()?)))
            }
            Type::Char(_) => Type::Char(Some(u32::try_from(modifier - 4).ok()?)),
            Type::Varchar(_) => Type::Varchar(Some(u32::try_from(modifier - 4).ok()?)),
            Type::Time(_) => Type::Time(u8::try_from(modifier).ok()),
            Type::Timestamp(_) => Type::Timestamp(u8::try_from(modifier).ok()),
            Type::TimestampTz(_) => Type::TimestampTz(u8::try_from(modifier).ok()),
            other => other,
        })
    }

    /// `atttypmod`: the modifier as PostgreSQL packs it, -1 for none.
    pub fn modifier(&self) -> i32 {
        match self {
            Type::Numeric(Some((precision, scale))) => {
                ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + 4
            }
            Type::Char(Some(n)) | Type::Varchar(Some(n)) => *n as i32 + 4,
            Type::Time(Some(digits)) | Type::Timestamp(Some(digits)) | Type::TimestampTz(Some(digits)) => {
                i32::from(*digits)
            }
            Type::Array(element) => element.modifier(),
            _ => -1,
        }
    }

    /// `pg_type.typlen`: bytes of a value, -1 if it varies. Goes into row descriptions.
    pub fn length(&self) -> i16 {
        match self {
            Type::Bool | Type::InternalChar => 1,
            Type::Int16 => 2,
            Type::Int32 | Type::Float4 | Type::Date | Type::Oid | Type::Regclass | Type::Regtype | Type::Void => 4,
            Type::Int64 | Type::Float8 | Type::Time(_) | Type::Timestamp(_) | Type::TimestampTz(_) => 8,
            Type::Interval | Type::Uuid => 16,
            Type::Name => 64,
            Type::Unknown => -2,
            _ => -1,
        }
    }

    /// `pg_type.typname`: `int4`, `_text`.
    pub fn internal_name(&self) -> String {
        match self {
            Type::Array(element) => format!("_{}", element.internal_name()),
            Type::InternalChar => "char".to_owned(),
            Type::Numeric(_) => "numeric".to_owned(),
            Type::Varchar(_) => "varchar".to_owned(),
            Type::Time(_) => "time".to_owned(),
            Type::Timestamp(_) => "timestamp".to_owned(),
            scalar => {
                let names = scalar.entry().3;
                (*names.get(1).filter(|_| !matches!(scalar, Type::Int32)).unwrap_or(names.last().expect("has a name")))
                    .to_owned()
            }
        }
    }

    /// The type of a column or cast, by any of its names in lower case (`int4`, `double precision`, `pg_catalog.text`,
    /// `integer[]`) and its modifiers as written. A plain `character` is `character(1)`, as SQL has it.
    ///
    /// # Errors
    /// 42704 for an unknown name, 22023 for a modifier out of bounds, 42601 for one that the type does not take.
    pub fn from_name(name: &str, modifiers: &[i64]) -> Result<Type, Error> {
        let bare = name.strip_prefix("pg_catalog.").unwrap_or(name);
        if let Some(element) = bare.strip_suffix("[]") {
            return Ok(Type::Array(Box::new(Type::from_name(element, modifiers)?)));
        }
        if let Some(element) = bare.strip_prefix('_').and_then(|element| Type::from_name(element, modifiers).ok()) {
            return Ok(Type::Array(Box::new(element)));
        }
        if bare == "float" && !modifiers.is_empty() {
            return match modifiers {
                [1..=24] => Ok(Type::Float4),
                [25..=53] => Ok(Type::Float8),
                [bits] if *bits < 1 => Err(Error::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    "precision for type float must be at least 1 bit",
                )),
                _ => Err(Error::new(
                    SqlState::INVALID_PARAMETER_VALUE,
                    "precision for type float must be less than 54 bits",
                )),
            };
        }
        let base = TABLE
            .iter()
            .find(|(_, _, _, names)| names.contains(&bare))
            .map(|(ty, ..)| ty.clone())
            .ok_or_else(|| Error::new(SqlState::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist")))?;
        base.with_modifiers(bare, modifiers)
    }

    fn with_modifiers(self, name: &str, modifiers: &[i64]) -> Result<Type, Error> {
        let bad = |message: String| Err(Error::new(SqlState::INVALID_PARAMETER_VALUE, message));
        match (&self, modifiers) {
            (Type::Char(_), []) if name != "bpchar" => Ok(Type::Char(Some(1))),
            (_, []) => Ok(self),
            (Type::Numeric(_), [precision, rest @ ..]) if rest.len() <= 1 => {
                let max = i64::from(NUMERIC_MAX_DIGITS);
                let scale = rest.first().copied().unwrap_or(0);
                if !(1..=max).contains(precision) {
                    return bad(format!("NUMERIC precision {precision} must be between 1 and {max}"));
                }
                if !(-max..=max).contains(&scale) {
                    return bad(format!("NUMERIC scale {scale} must be between -{max} and {max}"));
                }
                Ok(Type::Numeric(Some((*precision as u8, scale as i8))))
            }
            (Type::Numeric(_), _) => bad("invalid NUMERIC type modifier".to_owned()),
            (Type::Char(_) | Type::Varchar(_), [length]) => {
                let short = if matches!(self, Type::Char(_)) { "char" } else { "varchar" };
                match u32::try_from(*length) {
                    Ok(length @ 1..=MAX_CHARACTERS) if short == "char" => Ok(Type::Char(Some(length))),
                    Ok(length @ 1..=MAX_CHARACTERS) => Ok(Type::Varchar(Some(length))),
                    _ if *length < 1 => bad(format!("length for type {short} must be at least 1")),
                    _ => bad(format!("length for type {short} cannot exceed {MAX_CHARACTERS}")),
                }
            }
            (Type::Time(_) | Type::Timestamp(_) | Type::TimestampTz(_), [digits]) => {
                if *digits < 0 {
                    return bad(format!("{}({digits}) precision must not be negative", self.family_name()));
                }
                let digits = Some((*digits).min(6) as u8);
                Ok(match self {
                    Type::Time(_) => Type::Time(digits),
                    Type::Timestamp(_) => Type::Timestamp(digits),
                    _ => Type::TimestampTz(digits),
                })
            }
            // PostgreSQL takes interval(p); six digits are all that is stored, fewer are not worth a type of their own.
            (Type::Interval, [6]) => Ok(self),
            (Type::Interval, _) => Err(Error::unsupported("a precision of interval", "Leave it out.")),
            _ => Err(Error::syntax(format!("type modifier is not allowed for type \"{name}\""))),
        }
    }

    fn family_name(&self) -> &'static str {
        if matches!(self, Type::Time(_)) { "TIME" } else { "TIMESTAMP" }
    }

    /// The category, as in `pg_type.typcategory`.
    pub fn category(&self) -> Category {
        match self {
            Type::Bool => Category::Boolean,
            Type::Int16 | Type::Int32 | Type::Int64 | Type::Float4 | Type::Float8 | Type::Numeric(_) => {
                Category::Numeric
            }
            Type::Oid | Type::Regclass | Type::Regtype => Category::Numeric,
            Type::Char(_) | Type::Varchar(_) | Type::Text | Type::Name => Category::String,
            Type::Date | Type::Time(_) | Type::Timestamp(_) | Type::TimestampTz(_) => Category::DateTime,
            Type::Interval => Category::Timespan,
            Type::Bytea | Type::Uuid => Category::User,
            Type::InternalChar => Category::Internal,
            Type::Unknown => Category::Unknown,
            Type::Void | Type::Record => Category::Pseudo,
            Type::Array(_) => Category::Array,
        }
    }

    /// Whether the type is preferred in its category when PostgreSQL has to choose.
    pub fn is_preferred(&self) -> bool {
        matches!(self, Type::Bool | Type::Float8 | Type::Oid | Type::Text | Type::TimestampTz(_) | Type::Interval)
    }

    /// Whether it is one of the string types.
    pub fn is_string(&self) -> bool {
        self.category() == Category::String
    }

    /// Whether it is `smallint`, `integer` or `bigint`.
    pub fn is_integer(&self) -> bool {
        matches!(self, Type::Int16 | Type::Int32 | Type::Int64)
    }

    /// Whether a table column may have it.
    pub fn is_storable(&self) -> bool {
        match self {
            Type::Unknown | Type::Void | Type::Record => false,
            Type::Array(element) => element.is_storable() && !matches!(**element, Type::Array(_)),
            _ => true,
        }
    }

    /// The element type of an array.
    pub fn element(&self) -> Option<&Type> {
        match self {
            Type::Array(element) => Some(element),
            _ => None,
        }
    }
}

/// `format_type(oid, typmod)`: `character varying(20)`, `timestamp(3) without time zone`, `integer[]`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Array(element) => write!(f, "{element}[]"),
            Type::Numeric(Some((precision, scale))) => write!(f, "numeric({precision},{scale})"),
            Type::Char(None) => f.write_str("bpchar"),
            Type::Char(Some(n)) => write!(f, "character({n})"),
            Type::Varchar(Some(n)) => write!(f, "character varying({n})"),
            Type::Time(Some(digits)) => write!(f, "time({digits}) without time zone"),
            Type::Timestamp(Some(digits)) => write!(f, "timestamp({digits}) without time zone"),
            Type::TimestampTz(Some(digits)) => write!(f, "timestamp({digits}) with time zone"),
            scalar => f.write_str(scalar.entry().3[0]),
        }
    }
}

impl Type {
    /// The name as it appears in error messages, without modifier: `character varying`, `character`.
    pub fn plain_name(&self) -> String {
        match self {
            Type::Char(_) => "character".to_owned(),
            other => other.base().to_string(),
        }
    }
}

/// The type to which all branches of a CASE, COALESCE, VALUES list, UNION and the like are converted
/// (PostgreSQL's `select_common_type`). Only unknown literals make `text`; no types at all make `text` too.
///
/// # Errors
/// 42804 `{context} types integer and boolean cannot be matched`.
pub fn common_type(context: &str, types: &[Type]) -> Result<Type, Error> {
    let mut known = types.iter().filter(|ty| !matches!(ty, Type::Unknown));
    let Some(first) = known.next() else { return Ok(Type::Text) };
    // All alike: the modifier is kept only if it is the same everywhere. A literal has none, nor has a parameter.
    if known.clone().all(|ty| ty.same_base(first)) {
        return Ok(if types.iter().all(|ty| ty == first) { first.clone() } else { first.base() });
    }
    let mut best = first.base();
    for ty in known {
        if ty.same_base(&best) {
            continue;
        }
        if ty.category() != best.category() {
            return Err(Error::new(
                SqlState::DATATYPE_MISMATCH,
                format!("{context} types {} and {} cannot be matched", best.plain_name(), ty.plain_name()),
            ));
        }
        if !best.is_preferred() && crate::cast::is_implicit(&best, ty) && !crate::cast::is_implicit(ty, &best) {
            best = ty.base();
        }
    }
    for ty in types.iter().filter(|ty| !matches!(ty, Type::Unknown)) {
        if !ty.same_base(&best) && !crate::cast::is_implicit(ty, &best) {
            return Err(Error::new(
                SqlState::CANNOT_COERCE,
                format!("{context} could not convert type {} to {}", ty.plain_name(), best.plain_name()),
            ));
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oids_and_modifiers_go_both_ways() {
        for (ty, oid, array, _) in TABLE {
            assert_eq!(Type::from_oid(*oid).as_ref(), Some(ty));
            assert_eq!(ty.oid(), *oid);
            if *array != 0 {
                assert_eq!(Type::from_oid(*array), Some(Type::Array(Box::new(ty.clone()))));
            }
        }
        for ty in [
            Type::Numeric(Some((10, 2))),
            Type::Numeric(Some((38, -3))),
            Type::Char(Some(84)),
            Type::Varchar(Some(20)),
            Type::Timestamp(Some(3)),
            Type::TimestampTz(Some(0)),
            Type::Time(Some(6)),
            Type::Text,
        ] {
            assert_eq!(Type::from_oid_and_modifier(ty.oid(), ty.modifier()), Some(ty));
        }
        assert_eq!(Type::Numeric(Some((10, 2))).modifier(), 655_366);
        assert_eq!(Type::Char(Some(84)).modifier(), 88);
        assert_eq!(Type::from_oid(0), None);
    }

    #[test]
    fn names_are_those_of_format_type() {
        let name = |name: &str, modifiers: &[i64]| Type::from_name(name, modifiers).map(|ty| ty.to_string());
        assert_eq!(name("int4", &[]).as_deref(), Ok("integer"));
        assert_eq!(name("pg_catalog.int8", &[]).as_deref(), Ok("bigint"));
        assert_eq!(name("decimal", &[8, 3]).as_deref(), Ok("numeric(8,3)"));
        assert_eq!(name("decimal", &[8]).as_deref(), Ok("numeric(8,0)"));
        assert_eq!(name("char", &[]).as_deref(), Ok("character(1)"));
        assert_eq!(name("bpchar", &[]).as_deref(), Ok("bpchar"));
        assert_eq!(name("\"char\"", &[]).as_deref(), Ok("\"char\""));
        assert_eq!(name("varchar", &[7]).as_deref(), Ok("character varying(7)"));
        assert_eq!(name("float", &[20]).as_deref(), Ok("real"));
        assert_eq!(name("float", &[]).as_deref(), Ok("double precision"));
        assert_eq!(name("timestamptz", &[2]).as_deref(), Ok("timestamp(2) with time zone"));
        assert_eq!(name("text[]", &[]).as_deref(), Ok("text[]"));
        assert_eq!(name("_int4", &[]).as_deref(), Ok("integer[]"));
    }

    #[test]
    fn internal_names_are_those_of_pg_type() {
        let expected = [
            ("boolean", "bool"),
            ("bigint", "int8"),
            ("smallint", "int2"),
            ("int", "int4"),
            ("real", "float4"),
            ("float8", "float8"),
            ("bpchar", "bpchar"),
            ("varchar", "varchar"),
            ("timestamptz", "timestamptz"),
            ("timestamp", "timestamp"),
            ("time", "time"),
            ("numeric", "numeric"),
            ("text", "text"),
            ("\"char\"", "char"),
            ("uuid", "uuid"),
            ("text[]", "_text"),
        ];
        for (name, internal) in expected {
            assert_eq!(Type::from_name(name, &[]).map(|ty| ty.internal_name()).as_deref(), Ok(internal));
        }
    }

    #[test]
    fn bad_names_and_modifiers_are_refused() {
        let code =
            |name: &str, modifiers: &[i64]| Type::from_name(name, modifiers).map_err(|e| e.code.as_str().to_owned());
        assert_eq!(code("txet", &[]), Err("42704".to_owned()));
        assert_eq!(code("numeric", &[39]), Err("22023".to_owned()));
        assert_eq!(code("numeric", &[5, 99]), Err("22023".to_owned()));
        assert_eq!(code("varchar", &[0]), Err("22023".to_owned()));
        assert_eq!(code("integer", &[4]), Err("42601".to_owned()));
        assert_eq!(code("varchar", &[10_485_760]), Ok(Type::Varchar(Some(10_485_760))));
        assert_eq!(code("varchar", &[10_485_761]), Err("22023".to_owned()));
    }

    #[test]
    fn a_common_type_is_found_as_postgres_does() {
        use Type::*;
        assert_eq!(common_type("CASE", &[Int32, Unknown, Int64]), Ok(Int64));
        assert_eq!(common_type("CASE", &[Int32, Numeric(Some((5, 2))), Float8]), Ok(Float8));
        assert_eq!(common_type("CASE", &[Unknown, Unknown]), Ok(Text));
        assert_eq!(common_type("CASE", &[Varchar(Some(3)), Varchar(Some(3))]), Ok(Varchar(Some(3))));
        assert_eq!(common_type("CASE", &[Varchar(Some(3)), Varchar(Some(4))]), Ok(Varchar(None)));
        assert_eq!(common_type("CASE", &[Date, TimestampTz(None)]), Ok(TimestampTz(None)));
        let error = common_type("CASE", &[Int32, Bool]).map_err(|e| e.message.clone());
        assert_eq!(error, Err("CASE types integer and boolean cannot be matched".to_owned()));
    }
}
