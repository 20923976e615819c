//! Types and what belongs to them: `pg_type` and `pg_collation`.

use super::{Definition, oids, system_table};
use crate::types::{Category, Type};
use crate::value::Value;

pub(super) const TABLES: &[&Definition] = &[&TYPE, &COLLATION];

/// `typbyval`: whether PostgreSQL passes values of the type by value.
pub(super) fn by_value(ty: &Type) -> bool {
    matches!(ty.length(), 1 | 2 | 4 | 8)
}

/// `typalign`.
pub(super) fn alignment(ty: &Type) -> &'static str {
    match ty {
        Type::Int64
        | Type::Float8
        | Type::Time(_)
        | Type::Timestamp(_)
        | Type::TimestampTz(_)
        | Type::Interval
        | Type::Record => "d",
        Type::Int16 => "s",
        Type::Bool | Type::InternalChar | Type::Name | Type::Uuid | Type::Unknown => "c",
        Type::Array(element) if alignment(element) == "d" => "d",
        _ => "i",
    }
}

/// `typstorage`.
pub(super) fn storage(ty: &Type) -> &'static str {
    match ty {
        Type::Numeric(_) => "m",
        ty if ty.length() == -1 => "x",
        _ => "p",
    }
}

/// `typcollation`: strings are in the database's collation, names in `C`.
pub(super) fn collation(ty: &Type) -> u32 {
    match ty {
        Type::Text | Type::Varchar(_) | Type::Char(_) => oids::DEFAULT_COLLATION,
        Type::Name => oids::C_COLLATION,
        Type::Array(element) => collation(element),
        _ => 0,
    }
}

fn category(ty: &Type) -> &'static str {
    match ty.category() {
        Category::Array => "A",
        Category::Boolean => "B",
        Category::DateTime => "D",
        Category::Numeric => "N",
        Category::Pseudo => "P",
        Category::String => "S",
        Category::Timespan => "T",
        Category::User => "U",
        Category::Unknown => "X",
        Category::Internal => "Z",
    }
}

/// The name of one of the functions that read and write a type in PostgreSQL.
fn function(ty: &Type, suffix: &str) -> String {
    if ty.element().is_some() {
        return format!("array_{suffix}");
    }
    let name = ty.internal_name();
    // The older types leave out the underscore in the names of in and out.
    let joined = matches!(suffix, "in" | "out")
        && !matches!(
            ty,
            Type::Date
                | Type::Time(_)
                | Type::Timestamp(_)
                | Type::TimestampTz(_)
                | Type::Interval
                | Type::Numeric(_)
                | Type::Uuid
                | Type::Record
                | Type::Void
        );
    if joined { format!("{name}{suffix}") } else { format!("{name}_{suffix}") }
}

/// The OID of a type's array type, 0 if it has none.
fn array_of(ty: &Type) -> u32 {
    if ty.element().is_some() { 0 } else { Type::Array(Box::new(ty.clone())).oid() }
}

system_table! {
    TYPE = "pg_catalog"."pg_type"(1247), |_sources| (1..=3000).filter_map(Type::from_oid), |ty| {
        "oid" "oid" = Value::Oid(ty.oid());
        "typname" "name" = ty.internal_name();
        "typnamespace" "oid" = Value::Oid(oids::PG_CATALOG);
        "typowner" "oid" = Value::Oid(oids::USER);
        "typlen" "int2" = ty.length();
        "typbyval" "bool" = by_value(&ty);
        "typtype" "char" = if matches!(ty, Type::Void | Type::Record | Type::Unknown) { "p" } else { "b" };
        "typcategory" "char" = category(&ty);
        "typispreferred" "bool" = ty.is_preferred();
        "typisdefined" "bool" = true;
        "typdelim" "char" = ",";
        "typrelid" "oid" = Value::Oid(0);
        "typsubscript" "name" = if ty.element().is_some() { "array_subscript_handler" } else { "-" };
        "typelem" "oid" = Value::Oid(ty.element().map_or(0, Type::oid));
        "typarray" "oid" = Value::Oid(array_of(&ty));
        "typinput" "name" = function(&ty, "in");
        "typoutput" "name" = function(&ty, "out");
        "typreceive" "name" = function(&ty, "recv");
        "typsend" "name" = function(&ty, "send");
        "typmodin" "name" = "-";
        "typmodout" "name" = "-";
        "typanalyze" "name" = "-";
        "typalign" "char" = alignment(&ty);
        "typstorage" "char" = storage(&ty);
        "typnotnull" "bool" = false;
        "typbasetype" "oid" = Value::Oid(0);
        "typtypmod" "int4" = -1;
        "typndims" "int4" = 0;
        "typcollation" "oid" = Value::Oid(collation(&ty));
        "typdefaultbin" "text" = Value::Null;
        "typdefault" "text" = Value::Null;
        "typacl" "text[]" = Value::Null;
    }
}

system_table! {
    COLLATION = "pg_catalog"."pg_collation"(3456),
    |_sources| [(oids::DEFAULT_COLLATION, "default", "d"), (oids::C_COLLATION, "C", "c")], |(oid, name, provider)| {
        "oid" "oid" = Value::Oid(oid);
        "collname" "name" = name;
        "collnamespace" "oid" = Value::Oid(oids::PG_CATALOG);
        "collowner" "oid" = Value::Oid(oids::USER);
        "collprovider" "char" = provider;
        "collisdeterministic" "bool" = true;
        "collencoding" "int4" = -1;
        "collcollate" "text" = (provider == "c").then_some("C");
        "collctype" "text" = (provider == "c").then_some("C");
        "colliculocale" "text" = Value::Null;
        "collversion" "text" = Value::Null;
    }
}
