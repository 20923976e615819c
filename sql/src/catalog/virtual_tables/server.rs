//! What is not about single tables: schemas, the database, roles, access methods, tablespaces and settings.

use super::{Definition, Sources, oids, system_table};
use crate::catalog::PUBLIC;
use crate::value::Value;

pub(super) const TABLES: &[&Definition] =
    &[&NAMESPACE, &DATABASE, &ROLES, &AUTHID, &USER, &SHADOW, &METHODS, &TABLESPACE, &SETTINGS];

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

system_table! {
    DATABASE = "pg_catalog"."pg_database"(1262), |sources| [sources.database], |name| {
        "oid" "oid" = Value::Oid(oids::DATABASE);
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
