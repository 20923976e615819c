//! What is not about single tables: schemas, the database, roles, access methods, tablespaces and settings.

use super::{Definition, Sources, oids, system_table};
use crate::catalog::PUBLIC;
use crate::types::Type;
use crate::value::Value;

pub(super) const TABLES: &[&Definition] =
    &[&NAMESPACE, &DATABASE, &ROLES, &AUTHID, &USER, &SHADOW, &METHODS, &CLASSES, &TABLESPACE, &SETTINGS];

/// The schemas with their OIDs.
pub(super) const SCHEMAS: [(u32, &str); 3] =
    [(oids::PG_CATALOG, "pg_catalog"), (oids::PUBLIC, PUBLIC), (oids::INFORMATION_SCHEMA, "information_schema")];

system_table! {
    NAMESPACE = "pg_catalog"."pg_namespace"(2615), |_sources| SCHEMAS, |(oid, name)| {
        "oid" "oid" = Value::Oid(oid);
        "nspname" "name" = name;
        "nspowner" "oid" = Value::Oid(oids::USER);
        "nspacl" "text[]" = Value::Null;
    }
}

/// The databases with their OIDs, which are the same in all of them.
fn databases<'a>(sources: &Sources<'a>) -> Vec<(u32, &'a str)> {
    match sources.databases {
        [] => vec![(oids::DATABASE, sources.database)],
        all => all.iter().map(|(number, name)| (*number, name.as_str())).collect(),
    }
}

system_table! {
    DATABASE = "pg_catalog"."pg_database"(1262), |sources| databases(sources), |(oid, name)| {
        "oid" "oid" = Value::Oid(oid);
        "datname" "name" = name;
        "datdba" "oid" = Value::Oid(oids::USER);
        "encoding" "int4" = 6;
        "datlocprovider" "char" = "c";
        "datistemplate" "bool" = false;
        "datallowconn" "bool" = true;
        "datconnlimit" "int4" = -1;
        "datfrozenxid" "oid" = Value::Oid(0);
        "datminmxid" "oid" = Value::Oid(0);
        "dattablespace" "oid" = Value::Oid(oids::TABLESPACE);
        "datcollate" "text" = "C";
        "datctype" "text" = "C.UTF-8";
        "daticulocale" "text" = Value::Null;
        "datcollversion" "text" = Value::Null;
        "datacl" "text[]" = Value::Null;
    }
}

fn roles<'a>(sources: &Sources<'a>) -> [&'a str; 1] {
    [sources.user]
}

system_table! {
    ROLES = "pg_catalog"."pg_roles"(12000), |sources| roles(sources), |name| {
        "rolname" "name" = name;
        "rolsuper" "bool" = true;
        "rolinherit" "bool" = true;
        "rolcreaterole" "bool" = true;
        "rolcreatedb" "bool" = true;
        "rolcanlogin" "bool" = true;
        "rolreplication" "bool" = true;
        "rolconnlimit" "int4" = -1;
        "rolpassword" "text" = "********";
        "rolvaliduntil" "timestamptz" = Value::Null;
        "rolbypassrls" "bool" = true;
        "rolconfig" "text[]" = Value::Null;
        "oid" "oid" = Value::Oid(oids::USER);
    }
}

system_table! {
    AUTHID = "pg_catalog"."pg_authid"(1260), |sources| roles(sources), |name| {
        "oid" "oid" = Value::Oid(oids::USER);
        "rolname" "name" = name;
        "rolsuper" "bool" = true;
        "rolinherit" "bool" = true;
        "rolcreaterole" "bool" = true;
        "rolcreatedb" "bool" = true;
        "rolcanlogin" "bool" = true;
        "rolreplication" "bool" = true;
        "rolbypassrls" "bool" = true;
        "rolconnlimit" "int4" = -1;
        "rolpassword" "text" = Value::Null;
        "rolvaliduntil" "timestamptz" = Value::Null;
    }
}

system_table! {
    USER = "pg_catalog"."pg_user"(12014), |sources| roles(sources), |name| {
        "usename" "name" = name;
        "usesysid" "oid" = Value::Oid(oids::USER);
        "usecreatedb" "bool" = true;
        "usesuper" "bool" = true;
        "userepl" "bool" = true;
        "usebypassrls" "bool" = true;
        "passwd" "text" = "********";
        "valuntil" "timestamptz" = Value::Null;
        "useconfig" "text[]" = Value::Null;
    }
}

system_table! {
    SHADOW = "pg_catalog"."pg_shadow"(12005), |sources| roles(sources), |name| {
        "usename" "name" = name;
        "usesysid" "oid" = Value::Oid(oids::USER);
        "usecreatedb" "bool" = true;
        "usesuper" "bool" = true;
        "userepl" "bool" = true;
        "usebypassrls" "bool" = true;
        "passwd" "text" = Value::Null;
        "valuntil" "timestamptz" = Value::Null;
        "useconfig" "text[]" = Value::Null;
    }
}

system_table! {
    METHODS = "pg_catalog"."pg_am"(2601),
    |_sources| [(oids::HEAP, "heap", "heap_tableam_handler", "t"), (oids::BTREE, "btree", "bthandler", "i")],
    |(oid, name, handler, kind)| {
        "oid" "oid" = Value::Oid(oid);
        "amname" "name" = name;
        "amhandler" "name" = handler;
        "amtype" "char" = kind;
    }
}

/// How keys are compared: of each type its OID, and its operator class with OID, name and family as PostgreSQL has them. Each is its type's only one.
const KEY_CLASSES: [(u32, u32, &str, u32); 19] = [
    (16, 10003, "bool_ops", 424),
    (17, 10006, "bytea_ops", 428),
    (18, 10007, "char_ops", 429),
    (19, 10028, "name_ops", 1994),
    (20, 3124, "int8_ops", 1976),
    (21, 1979, "int2_ops", 1976),
    (23, 1978, "int4_ops", 1976),
    (25, 3126, "text_ops", 1994),
    (26, 1981, "oid_ops", 1989),
    (700, 10012, "float4_ops", 1970),
    (701, 3123, "float8_ops", 1970),
    (1042, 10004, "bpchar_ops", 426),
    (1082, 3122, "date_ops", 434),
    (1083, 10038, "time_ops", 1996),
    (1114, 3128, "timestamp_ops", 434),
    (1184, 3127, "timestamptz_ops", 434),
    (1186, 10022, "interval_ops", 1982),
    (1700, 3125, "numeric_ops", 1988),
    (2950, 10065, "uuid_ops", 2968),
];

/// The operator class of a key column: 0 for a type that has none.
pub(super) fn operator_class(ty: &Type) -> u32 {
    let wanted = match ty {
        Type::Varchar(_) => Type::Text.oid(),
        other => other.oid(),
    };
    let found = KEY_CLASSES.iter().find(|(of, ..)| *of == wanted);
    found.map_or(0, |(_, class, ..)| *class)
}

system_table! {
    CLASSES = "pg_catalog"."pg_opclass"(2616),
    |_sources| KEY_CLASSES,
    |(of, oid, name, family)| {
        "oid" "oid" = Value::Oid(oid);
        "opcmethod" "oid" = Value::Oid(oids::BTREE);
        "opcname" "name" = name;
        "opcnamespace" "oid" = Value::Oid(oids::PG_CATALOG);
        "opcowner" "oid" = Value::Oid(oids::USER);
        "opcfamily" "oid" = Value::Oid(family);
        "opcintype" "oid" = Value::Oid(of);
        "opcdefault" "bool" = true;
        "opckeytype" "oid" = Value::Oid(if name == "name_ops" { 2275 } else { 0 });
    }
}

system_table! {
    TABLESPACE = "pg_catalog"."pg_tablespace"(1213), |_sources| ["pg_default"], |name| {
        "oid" "oid" = Value::Oid(oids::TABLESPACE);
        "spcname" "name" = name;
        "spcowner" "oid" = Value::Oid(oids::USER);
        "spcacl" "text[]" = Value::Null;
        "spcoptions" "text[]" = Value::Null;
    }
}

system_table! {
    SETTINGS = "pg_catalog"."pg_settings"(12104), |sources| sources.settings.described(), |setting| {
        "name" "text" = setting.name;
        "setting" "text" = setting.value;
        "unit" "text" = Value::Null;
        "category" "text" = setting.category;
        "short_desc" "text" = setting.description;
        "extra_desc" "text" = Value::Null;
        "context" "text" = setting.context;
        "vartype" "text" = setting.kind;
        "source" "text" = if setting.is_default { "default" } else { "session" };
        "min_val" "text" = setting.least;
        "max_val" "text" = setting.greatest;
        "enumvals" "text[]" = match setting.words {
            [] => Value::Null,
            words => super::array(crate::types::Type::Text, words.iter().map(|word| Value::from(*word))),
        };
        "boot_val" "text" = setting.default;
        "reset_val" "text" = setting.default;
        "sourcefile" "text" = Value::Null;
        "sourceline" "int4" = Value::Null;
        "pending_restart" "bool" = false;
    }
}
