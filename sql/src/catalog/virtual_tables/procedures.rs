//! The built-in functions: `pg_proc` and `pg_language`.

use super::{Definition, array, oids, system_table};
use crate::functions::{Volatility, listed};
use crate::types::Type;
use crate::value::Value;

pub(super) const TABLES: &[&Definition] = &[&PROCEDURE, &LANGUAGE];

/// A built-in function.
pub struct Procedure {
    /// Its name.
    pub name: &'static str,
    /// The types of its arguments; `None` for any type.
    pub arguments: Vec<Option<Type>>,
    /// The type of its result; `None` if the arguments decide it.
    pub result: Option<Type>,
    /// `f` for a function, `a` for an aggregate.
    pub kind: &'static str,
    /// How often it may answer differently.
    pub volatility: Volatility,
    /// Whether NULL for any argument gives NULL.
    pub strict: bool,
}

/// The OIDs of PostgreSQL's `any`, which has no values.
const ANY: u32 = 2276;

fn type_oid(ty: &Option<Type>) -> u32 {
    ty.as_ref().map_or(ANY, Type::oid)
}

impl Procedure {
    /// The types of the arguments, as `pg_get_function_arguments` gives them.
    pub fn argument_list(&self) -> String {
        self.arguments.iter().map(type_name).collect::<Vec<_>>().join(", ")
    }

    /// The type of the result, as `pg_get_function_result` gives it.
    pub fn result_name(&self) -> String {
        type_name(&self.result)
    }
}

fn type_name(ty: &Option<Type>) -> String {
    ty.as_ref().map_or_else(|| "\"any\"".to_owned(), Type::plain_name)
}

/// All built-in functions; the OID of each is [`oids::function`] of its place.
pub fn procedures() -> impl Iterator<Item = Procedure> {
    listed()
}

system_table! {
    PROCEDURE = "pg_catalog"."pg_proc"(1255), |_sources| procedures().enumerate(), |(place, function)| {
        "oid" "oid" = Value::Oid(oids::function(place));
        "proname" "name" = function.name;
        "pronamespace" "oid" = Value::Oid(oids::PG_CATALOG);
        "proowner" "oid" = Value::Oid(oids::USER);
        "prolang" "oid" = Value::Oid(oids::INTERNAL);
        "procost" "float4" = 1.0f32;
        "prorows" "float4" = 0.0f32;
        "provariadic" "oid" = Value::Oid(0);
        "prosupport" "name" = "-";
        "prokind" "char" = function.kind;
        "prosecdef" "bool" = false;
        "proleakproof" "bool" = false;
        "proisstrict" "bool" = function.strict;
        "proretset" "bool" = false;
        "provolatile" "char" = match function.volatility {
            Volatility::Immutable => "i",
            Volatility::Stable => "s",
            Volatility::Volatile => "v",
        };
        "proparallel" "char" = "s";
        "pronargs" "int2" = i16::try_from(function.arguments.len()).unwrap_or(i16::MAX);
        "pronargdefaults" "int2" = 0i16;
        "prorettype" "oid" = Value::Oid(type_oid(&function.result));
        "proargtypes" "oid[]" = array(Type::Oid, function.arguments.iter().map(|ty| Value::Oid(type_oid(ty))));
        "proallargtypes" "oid[]" = Value::Null;
        "proargmodes" "char[]" = Value::Null;
        "proargnames" "text[]" = Value::Null;
        "proargdefaults" "text" = Value::Null;
        "protrftypes" "oid[]" = Value::Null;
        "prosrc" "text" = function.name;
        "probin" "text" = Value::Null;
        "prosqlbody" "text" = Value::Null;
        "proconfig" "text[]" = Value::Null;
        "proacl" "text[]" = Value::Null;
    }
}

system_table! {
    LANGUAGE = "pg_catalog"."pg_language"(2612),
    |_sources| [(oids::INTERNAL, "internal", false), (14, "sql", true)], |(oid, name, trusted)| {
        "oid" "oid" = Value::Oid(oid);
        "lanname" "name" = name;
        "lanowner" "oid" = Value::Oid(oids::USER);
        "lanispl" "bool" = false;
        "lanpltrusted" "bool" = trusted;
        "lanplcallfoid" "oid" = Value::Oid(0);
        "laninline" "oid" = Value::Oid(0);
        "lanvalidator" "oid" = Value::Oid(0);
        "lanacl" "text[]" = Value::Null;
    }
}
