//! The scalar functions, as in PostgreSQL's `pg_proc`, and how a call finds its function.

use crate::cast::{CastContext, can_cast, resolve_cast};
use crate::catalog::virtual_tables::Procedure;
use crate::error::Error;
use crate::functions::resolve::{ANY, Choice, choose};
use crate::functions::system::{ambiguous_function, no_function};
use crate::functions::{
    Body, FunctionEval, FunctionSig, Volatility, aggregate, arrays, catalog, date_make, date_parts, dates, math,
    numeric_format, regexp, strings, system, time_format,
};
use crate::types::Type;
use crate::value::Value;

struct Entry {
    name: &'static str,
    parameters: &'static [Type],
    result: Type,
    volatility: Volatility,
    strict: bool,
    eval: FunctionEval,
}

const BOOL: Type = Type::Bool;
const INT2: Type = Type::Int16;
const INT4: Type = Type::Int32;
const INT8: Type = Type::Int64;
const FLOAT4: Type = Type::Float4;
const FLOAT8: Type = Type::Float8;
const NUMERIC: Type = Type::Numeric(None);
const TEXT: Type = Type::Text;
const BPCHAR: Type = Type::Char(None);
const NAME: Type = Type::Name;
const BYTEA: Type = Type::Bytea;
const DATE: Type = Type::Date;
const TIME: Type = Type::Time(None);
const TIMESTAMP: Type = Type::Timestamp(None);
const TIMESTAMPTZ: Type = Type::TimestampTz(None);
const INTERVAL: Type = Type::Interval;
const OID: Type = Type::Oid;

macro_rules! functions {
    ($($kind:ident $name:literal ($($parameter:expr),*) -> $result:expr, $eval:expr;)*) => {
        &[$(functions!(@entry $kind, $name, &[$($parameter),*], $result, $eval)),*]
    };
    (@entry fixed, $name:literal, $parameters:expr, $result:expr, $eval:expr) => {
        Entry { name: $name, parameters: $parameters, result: $result, volatility: Volatility::Immutable, strict: true, eval: $eval }
    };
    (@entry stable, $name:literal, $parameters:expr, $result:expr, $eval:expr) => {
        Entry { name: $name, parameters: $parameters, result: $result, volatility: Volatility::Stable, strict: true, eval: $eval }
    };
    (@entry volatile, $name:literal, $parameters:expr, $result:expr, $eval:expr) => {
        Entry { name: $name, parameters: $parameters, result: $result, volatility: Volatility::Volatile, strict: true, eval: $eval }
    };
    (@entry lenient, $name:literal, $parameters:expr, $result:expr, $eval:expr) => {
        Entry { name: $name, parameters: $parameters, result: $result, volatility: Volatility::Stable, strict: false, eval: $eval }
    };
}

const TABLE: &[Entry] = functions! {
    fixed "abs"(INT2) -> INT2, math::abs;
    fixed "abs"(INT4) -> INT4, math::abs;
    fixed "abs"(INT8) -> INT8, math::abs;
    fixed "abs"(FLOAT4) -> FLOAT4, math::abs;
    fixed "abs"(FLOAT8) -> FLOAT8, math::abs;
    fixed "abs"(NUMERIC) -> NUMERIC, math::abs;
    fixed "ceil"(FLOAT8) -> FLOAT8, math::ceil;
    fixed "ceil"(NUMERIC) -> NUMERIC, math::ceil;
    fixed "ceiling"(FLOAT8) -> FLOAT8, math::ceil;
    fixed "ceiling"(NUMERIC) -> NUMERIC, math::ceil;
    fixed "floor"(FLOAT8) -> FLOAT8, math::floor;
    fixed "floor"(NUMERIC) -> NUMERIC, math::floor;
    fixed "round"(FLOAT8) -> FLOAT8, math::round;
    fixed "round"(NUMERIC) -> NUMERIC, math::round;
    fixed "round"(NUMERIC, INT4) -> NUMERIC, math::round_to;
    fixed "trunc"(FLOAT8) -> FLOAT8, math::trunc;
    fixed "trunc"(NUMERIC) -> NUMERIC, math::trunc;
    fixed "trunc"(NUMERIC, INT4) -> NUMERIC, math::trunc_to;
    fixed "sign"(FLOAT8) -> FLOAT8, math::sign;
    fixed "sign"(NUMERIC) -> NUMERIC, math::sign;
    fixed "sqrt"(FLOAT8) -> FLOAT8, math::sqrt;
    fixed "sqrt"(NUMERIC) -> NUMERIC, math::sqrt;
    fixed "cbrt"(FLOAT8) -> FLOAT8, math::cbrt;
    fixed "exp"(FLOAT8) -> FLOAT8, math::exp;
    fixed "exp"(NUMERIC) -> NUMERIC, math::exp;
    fixed "ln"(FLOAT8) -> FLOAT8, math::ln;
    fixed "ln"(NUMERIC) -> NUMERIC, math::ln;
    fixed "log"(FLOAT8) -> FLOAT8, math::log10;
    fixed "log"(NUMERIC) -> NUMERIC, math::log10;
    fixed "log10"(FLOAT8) -> FLOAT8, math::log10;
    fixed "log10"(NUMERIC) -> NUMERIC, math::log10;
    fixed "log"(NUMERIC, NUMERIC) -> NUMERIC, math::log_base;
    fixed "power"(FLOAT8, FLOAT8) -> FLOAT8, math::power_function;
    fixed "power"(NUMERIC, NUMERIC) -> NUMERIC, math::power_function;
    fixed "pow"(FLOAT8, FLOAT8) -> FLOAT8, math::power_function;
    fixed "pow"(NUMERIC, NUMERIC) -> NUMERIC, math::power_function;
    fixed "mod"(INT2, INT2) -> INT2, math::modulo;
    fixed "mod"(INT4, INT4) -> INT4, math::modulo;
    fixed "mod"(INT8, INT8) -> INT8, math::modulo;
    fixed "mod"(NUMERIC, NUMERIC) -> NUMERIC, math::modulo;
    fixed "div"(NUMERIC, NUMERIC) -> NUMERIC, math::div;
    fixed "gcd"(INT4, INT4) -> INT4, math::gcd;
    fixed "gcd"(INT8, INT8) -> INT8, math::gcd;
    fixed "lcm"(INT4, INT4) -> INT4, math::lcm;
    fixed "lcm"(INT8, INT8) -> INT8, math::lcm;
    fixed "factorial"(INT8) -> NUMERIC, math::factorial;
    fixed "scale"(NUMERIC) -> INT4, math::scale;
    fixed "min_scale"(NUMERIC) -> INT4, math::min_scale;
    fixed "trim_scale"(NUMERIC) -> NUMERIC, math::trim_scale;
    fixed "pi"() -> FLOAT8, math::pi;
    fixed "sin"(FLOAT8) -> FLOAT8, math::sin;
    fixed "cos"(FLOAT8) -> FLOAT8, math::cos;
    fixed "tan"(FLOAT8) -> FLOAT8, math::tan;
    fixed "cot"(FLOAT8) -> FLOAT8, math::cot;
    fixed "asin"(FLOAT8) -> FLOAT8, math::asin;
    fixed "acos"(FLOAT8) -> FLOAT8, math::acos;
    fixed "atan"(FLOAT8) -> FLOAT8, math::atan;
    fixed "atan2"(FLOAT8, FLOAT8) -> FLOAT8, math::atan2;
    fixed "sinh"(FLOAT8) -> FLOAT8, math::sinh;
    fixed "cosh"(FLOAT8) -> FLOAT8, math::cosh;
    fixed "tanh"(FLOAT8) -> FLOAT8, math::tanh;
    fixed "asinh"(FLOAT8) -> FLOAT8, math::asinh;
    fixed "acosh"(FLOAT8) -> FLOAT8, math::acosh;
    fixed "atanh"(FLOAT8) -> FLOAT8, math::atanh;
    fixed "degrees"(FLOAT8) -> FLOAT8, math::degrees;
    fixed "radians"(FLOAT8) -> FLOAT8, math::radians;
    fixed "width_bucket"(FLOAT8, FLOAT8, FLOAT8, INT4) -> INT4, math::width_bucket;
    fixed "width_bucket"(NUMERIC, NUMERIC, NUMERIC, INT4) -> INT4, math::width_bucket_numeric;
    volatile "random"() -> FLOAT8, math::random;

    fixed "length"(TEXT) -> INT4, strings::length;
    fixed "length"(BPCHAR) -> INT4, strings::length;
    fixed "length"(BYTEA) -> INT4, strings::length;
    fixed "char_length"(TEXT) -> INT4, strings::length;
    fixed "char_length"(BPCHAR) -> INT4, strings::length;
    fixed "character_length"(TEXT) -> INT4, strings::length;
    fixed "character_length"(BPCHAR) -> INT4, strings::length;
    fixed "octet_length"(TEXT) -> INT4, strings::octet_length;
    fixed "octet_length"(BPCHAR) -> INT4, strings::octet_length;
    fixed "octet_length"(BYTEA) -> INT4, strings::octet_length;
    fixed "bit_length"(TEXT) -> INT4, strings::bit_length;
    fixed "bit_length"(BYTEA) -> INT4, strings::bit_length;
    fixed "lower"(TEXT) -> TEXT, strings::lower;
    fixed "upper"(TEXT) -> TEXT, strings::upper;
    fixed "initcap"(TEXT) -> TEXT, strings::initcap;
    fixed "substr"(TEXT, INT4) -> TEXT, strings::substring;
    fixed "substr"(TEXT, INT4, INT4) -> TEXT, strings::substring;
    fixed "substr"(BYTEA, INT4) -> BYTEA, strings::substring;
    fixed "substr"(BYTEA, INT4, INT4) -> BYTEA, strings::substring;
    fixed "substring"(TEXT, INT4) -> TEXT, strings::substring;
    fixed "substring"(TEXT, INT4, INT4) -> TEXT, strings::substring;
    fixed "substring"(BYTEA, INT4) -> BYTEA, strings::substring;
    fixed "substring"(BYTEA, INT4, INT4) -> BYTEA, strings::substring;
    fixed "substring"(TEXT, TEXT) -> TEXT, regexp::substring_pattern;
    fixed "left"(TEXT, INT4) -> TEXT, strings::left;
    fixed "right"(TEXT, INT4) -> TEXT, strings::right;
    fixed "btrim"(TEXT) -> TEXT, strings::btrim;
    fixed "btrim"(TEXT, TEXT) -> TEXT, strings::btrim;
    fixed "btrim"(BYTEA, BYTEA) -> BYTEA, strings::btrim_bytes;
    fixed "ltrim"(TEXT) -> TEXT, strings::ltrim;
    fixed "ltrim"(TEXT, TEXT) -> TEXT, strings::ltrim;
    fixed "rtrim"(TEXT) -> TEXT, strings::rtrim;
    fixed "rtrim"(TEXT, TEXT) -> TEXT, strings::rtrim;
    fixed "lpad"(TEXT, INT4) -> TEXT, strings::lpad;
    fixed "lpad"(TEXT, INT4, TEXT) -> TEXT, strings::lpad;
    fixed "rpad"(TEXT, INT4) -> TEXT, strings::rpad;
    fixed "rpad"(TEXT, INT4, TEXT) -> TEXT, strings::rpad;
    fixed "repeat"(TEXT, INT4) -> TEXT, strings::repeat;
    fixed "replace"(TEXT, TEXT, TEXT) -> TEXT, strings::replace;
    fixed "translate"(TEXT, TEXT, TEXT) -> TEXT, strings::translate;
    fixed "strpos"(TEXT, TEXT) -> INT4, strings::strpos;
    fixed "position"(TEXT, TEXT) -> INT4, strings::strpos;
    fixed "position"(BYTEA, BYTEA) -> INT4, strings::bytes_position;
    fixed "split_part"(TEXT, TEXT, INT4) -> TEXT, strings::split_part;
    fixed "starts_with"(TEXT, TEXT) -> BOOL, strings::starts_with;
    fixed "reverse"(TEXT) -> TEXT, strings::reverse;
    fixed "overlay"(TEXT, TEXT, INT4) -> TEXT, strings::overlay;
    fixed "overlay"(TEXT, TEXT, INT4, INT4) -> TEXT, strings::overlay;
    fixed "md5"(TEXT) -> TEXT, strings::md5;
    fixed "md5"(BYTEA) -> TEXT, strings::md5;
    fixed "ascii"(TEXT) -> INT4, strings::ascii;
    fixed "chr"(INT4) -> TEXT, strings::chr;
    fixed "to_hex"(INT4) -> TEXT, strings::to_hex;
    fixed "to_hex"(INT8) -> TEXT, strings::to_hex;
    fixed "encode"(BYTEA, TEXT) -> TEXT, strings::encode;
    fixed "decode"(TEXT, TEXT) -> BYTEA, strings::decode;
    fixed "get_byte"(BYTEA, INT4) -> INT4, strings::get_byte;
    fixed "sha224"(BYTEA) -> BYTEA, strings::sha224;
    fixed "sha256"(BYTEA) -> BYTEA, strings::sha256;
    fixed "sha384"(BYTEA) -> BYTEA, strings::sha384;
    fixed "sha512"(BYTEA) -> BYTEA, strings::sha512;
    fixed "regexp_replace"(TEXT, TEXT, TEXT) -> TEXT, regexp::regexp_replace;
    fixed "regexp_replace"(TEXT, TEXT, TEXT, TEXT) -> TEXT, regexp::regexp_replace;
    fixed "regexp_match"(TEXT, TEXT) -> ANY, regexp::regexp_match;
    fixed "regexp_match"(TEXT, TEXT, TEXT) -> ANY, regexp::regexp_match;
    fixed "regexp_like"(TEXT, TEXT) -> BOOL, regexp::regexp_like;
    fixed "regexp_like"(TEXT, TEXT, TEXT) -> BOOL, regexp::regexp_like;
    fixed "regexp_count"(TEXT, TEXT) -> INT4, regexp::regexp_count;
    fixed "regexp_count"(TEXT, TEXT, INT4) -> INT4, regexp::regexp_count;
    fixed "regexp_count"(TEXT, TEXT, INT4, TEXT) -> INT4, regexp::regexp_count;
    fixed "regexp_instr"(TEXT, TEXT) -> INT4, regexp::regexp_instr;
    fixed "regexp_instr"(TEXT, TEXT, INT4) -> INT4, regexp::regexp_instr;
    fixed "regexp_instr"(TEXT, TEXT, INT4, INT4) -> INT4, regexp::regexp_instr;
    fixed "regexp_instr"(TEXT, TEXT, INT4, INT4, INT4) -> INT4, regexp::regexp_instr;
    fixed "regexp_instr"(TEXT, TEXT, INT4, INT4, INT4, TEXT) -> INT4, regexp::regexp_instr;
    fixed "regexp_instr"(TEXT, TEXT, INT4, INT4, INT4, TEXT, INT4) -> INT4, regexp::regexp_instr;
    fixed "regexp_substr"(TEXT, TEXT) -> TEXT, regexp::regexp_substr;
    fixed "regexp_substr"(TEXT, TEXT, INT4) -> TEXT, regexp::regexp_substr;
    fixed "regexp_substr"(TEXT, TEXT, INT4, INT4) -> TEXT, regexp::regexp_substr;
    fixed "regexp_substr"(TEXT, TEXT, INT4, INT4, TEXT) -> TEXT, regexp::regexp_substr;
    fixed "regexp_substr"(TEXT, TEXT, INT4, INT4, TEXT, INT4) -> TEXT, regexp::regexp_substr;
    lenient "string_to_array"(TEXT, TEXT) -> ANY, strings::string_to_array;
    lenient "string_to_array"(TEXT, TEXT, TEXT) -> ANY, strings::string_to_array;

    stable "now"() -> TIMESTAMPTZ, dates::now;
    stable "transaction_timestamp"() -> TIMESTAMPTZ, dates::now;
    stable "current_timestamp"() -> TIMESTAMPTZ, dates::now;
    stable "statement_timestamp"() -> TIMESTAMPTZ, dates::statement_timestamp;
    volatile "clock_timestamp"() -> TIMESTAMPTZ, dates::clock_timestamp;
    volatile "timeofday"() -> TEXT, dates::time_of_day;
    stable "current_date"() -> DATE, dates::current_date;
    stable "localtimestamp"() -> TIMESTAMP, dates::local_timestamp;
    stable "localtime"() -> TIME, dates::local_time;
    fixed "extract"(TEXT, DATE) -> NUMERIC, date_parts::extract_function;
    fixed "extract"(TEXT, TIME) -> NUMERIC, date_parts::extract_function;
    fixed "extract"(TEXT, TIMESTAMP) -> NUMERIC, date_parts::extract_function;
    stable "extract"(TEXT, TIMESTAMPTZ) -> NUMERIC, date_parts::extract_function;
    fixed "extract"(TEXT, INTERVAL) -> NUMERIC, date_parts::extract_function;
    fixed "date_part"(TEXT, DATE) -> FLOAT8, date_parts::date_part_function;
    fixed "date_part"(TEXT, TIME) -> FLOAT8, date_parts::date_part_function;
    fixed "date_part"(TEXT, TIMESTAMP) -> FLOAT8, date_parts::date_part_function;
    stable "date_part"(TEXT, TIMESTAMPTZ) -> FLOAT8, date_parts::date_part_function;
    fixed "date_part"(TEXT, INTERVAL) -> FLOAT8, date_parts::date_part_function;
    fixed "date_trunc"(TEXT, TIMESTAMP) -> TIMESTAMP, date_parts::date_trunc;
    stable "date_trunc"(TEXT, TIMESTAMPTZ) -> TIMESTAMPTZ, date_parts::date_trunc;
    fixed "date_trunc"(TEXT, INTERVAL) -> INTERVAL, date_parts::date_trunc;
    fixed "date_trunc"(TEXT, TIMESTAMPTZ, TEXT) -> TIMESTAMPTZ, date_parts::date_trunc_zone;
    fixed "date_bin"(INTERVAL, TIMESTAMP, TIMESTAMP) -> TIMESTAMP, date_parts::date_bin;
    fixed "date_bin"(INTERVAL, TIMESTAMPTZ, TIMESTAMPTZ) -> TIMESTAMPTZ, date_parts::date_bin;
    stable "age"(TIMESTAMP) -> INTERVAL, dates::age;
    stable "age"(TIMESTAMPTZ) -> INTERVAL, dates::age;
    fixed "age"(TIMESTAMP, TIMESTAMP) -> INTERVAL, dates::age;
    stable "age"(TIMESTAMPTZ, TIMESTAMPTZ) -> INTERVAL, dates::age;
    fixed "make_date"(INT4, INT4, INT4) -> DATE, date_make::make_date;
    fixed "make_time"(INT4, INT4, FLOAT8) -> TIME, date_make::make_time;
    fixed "make_timestamp"(INT4, INT4, INT4, INT4, INT4, FLOAT8) -> TIMESTAMP, date_make::make_timestamp;
    stable "make_timestamptz"(INT4, INT4, INT4, INT4, INT4, FLOAT8) -> TIMESTAMPTZ, date_make::make_timestamptz;
    stable "make_timestamptz"(INT4, INT4, INT4, INT4, INT4, FLOAT8, TEXT) -> TIMESTAMPTZ, date_make::make_timestamptz;
    fixed "to_timestamp"(FLOAT8) -> TIMESTAMPTZ, date_make::to_timestamp;
    stable "to_timestamp"(TEXT, TEXT) -> TIMESTAMPTZ, time_format::to_timestamp;
    stable "to_date"(TEXT, TEXT) -> DATE, time_format::to_date;
    fixed "justify_days"(INTERVAL) -> INTERVAL, dates::justify_days;
    fixed "justify_hours"(INTERVAL) -> INTERVAL, dates::justify_hours;
    fixed "justify_interval"(INTERVAL) -> INTERVAL, dates::justify_interval;
    fixed "isfinite"(DATE) -> BOOL, dates::is_finite;
    fixed "isfinite"(TIMESTAMP) -> BOOL, dates::is_finite;
    fixed "isfinite"(TIMESTAMPTZ) -> BOOL, dates::is_finite;
    fixed "isfinite"(INTERVAL) -> BOOL, dates::is_finite;
    fixed "timezone"(TEXT, TIMESTAMP) -> TIMESTAMPTZ, dates::time_zone_function;
    fixed "timezone"(TEXT, TIMESTAMPTZ) -> TIMESTAMP, dates::time_zone_function;
    fixed "timezone"(INTERVAL, TIMESTAMP) -> TIMESTAMPTZ, dates::time_zone_function;
    fixed "timezone"(INTERVAL, TIMESTAMPTZ) -> TIMESTAMP, dates::time_zone_function;
    stable "to_char"(TIMESTAMP, TEXT) -> TEXT, time_format::to_char_timestamp;
    stable "to_char"(TIMESTAMPTZ, TEXT) -> TEXT, time_format::to_char_timestamp;
    stable "to_char"(INTERVAL, TEXT) -> TEXT, time_format::to_char_timestamp;
    stable "to_char"(INT4, TEXT) -> TEXT, numeric_format::to_char;
    stable "to_char"(INT8, TEXT) -> TEXT, numeric_format::to_char;
    stable "to_char"(FLOAT4, TEXT) -> TEXT, numeric_format::to_char;
    stable "to_char"(FLOAT8, TEXT) -> TEXT, numeric_format::to_char;
    stable "to_char"(NUMERIC, TEXT) -> TEXT, numeric_format::to_char;
    stable "to_number"(TEXT, TEXT) -> NUMERIC, numeric_format::to_number;

    stable "version"() -> TEXT, system::version;
    stable "current_database"() -> NAME, system::current_database;
    stable "current_catalog"() -> NAME, system::current_database;
    stable "current_schema"() -> NAME, system::current_schema;
    stable "current_user"() -> NAME, system::current_user;
    stable "current_role"() -> NAME, system::current_user;
    stable "user"() -> NAME, system::current_user;
    stable "session_user"() -> NAME, system::session_user;
    stable "pg_backend_pid"() -> INT4, system::backend_pid;
    stable "current_setting"(TEXT) -> TEXT, system::current_setting;
    stable "current_setting"(TEXT, BOOL) -> TEXT, system::current_setting;
    volatile "set_config"(TEXT, TEXT, BOOL) -> TEXT, system::set_config;
    volatile "gen_random_uuid"() -> Type::Uuid, system::gen_random_uuid;
    lenient "format_type"(OID, INT4) -> TEXT, system::format_type_function;
    fixed "quote_ident"(TEXT) -> TEXT, system::quote_ident_function;
    fixed "quote_literal"(TEXT) -> TEXT, system::quote_literal_function;
    stable "quote_literal"(ANY) -> TEXT, system::quote_literal_function;
    lenient "quote_nullable"(TEXT) -> TEXT, system::quote_nullable;
    lenient "quote_nullable"(ANY) -> TEXT, system::quote_nullable;
    stable "to_regclass"(TEXT) -> Type::Regclass, system::to_regclass;
    stable "pg_table_is_visible"(OID) -> BOOL, catalog::table_is_visible;
    stable "pg_type_is_visible"(OID) -> BOOL, system::always_true;
    stable "pg_function_is_visible"(OID) -> BOOL, system::always_true;
    stable "pg_is_in_recovery"() -> BOOL, system::always_false;
    stable "pg_advisory_unlock_all"() -> TEXT, system::empty_text;
    fixed "pg_encoding_to_char"(INT4) -> NAME, system::encoding_to_char;
    lenient "inet_server_addr"() -> TEXT, system::inet_none;
    lenient "inet_client_addr"() -> TEXT, system::inet_none;
    stable "array_to_string"(ANY, TEXT) -> TEXT, arrays::array_to_string;
    lenient "array_to_string"(ANY, TEXT, TEXT) -> TEXT, arrays::array_to_string;
    fixed "array_length"(ANY, INT4) -> INT4, arrays::array_length;
    fixed "cardinality"(ANY) -> INT4, arrays::cardinality;
    fixed "array_ndims"(ANY) -> INT4, arrays::array_ndims;
    fixed "array_dims"(ANY) -> TEXT, arrays::array_dims;
    stable "inet_server_port"() -> INT4, catalog::nothing;
    stable "inet_client_port"() -> INT4, catalog::nothing;
    fixed "array_upper"(ANY, INT4) -> INT4, arrays::array_length;
    fixed "array_lower"(ANY, INT4) -> INT4, arrays::array_lower;
    stable "current_schemas"(BOOL) -> ANY, catalog::current_schemas;
    stable "to_regtype"(TEXT) -> Type::Regtype, catalog::to_type;
    stable "to_regnamespace"(TEXT) -> OID, catalog::to_schema;
    stable "to_regrole"(TEXT) -> OID, catalog::to_role;
    stable "regnamespace"(TEXT) -> OID, catalog::schema_oid;
    stable "regnamespace"(OID) -> NAME, catalog::schema_name;
    stable "regrole"(TEXT) -> OID, catalog::role_oid;
    stable "regrole"(OID) -> NAME, catalog::user_by_id;
    stable "regproc"(TEXT) -> NAME, catalog::bare_name;
    stable "regproc"(OID) -> NAME, catalog::function_name;
    stable "pg_get_userbyid"(OID) -> NAME, catalog::user_by_id;
    stable "pg_get_expr"(TEXT, OID) -> TEXT, catalog::expression;
    stable "pg_get_expr"(TEXT, OID, BOOL) -> TEXT, catalog::expression;
    stable "pg_get_indexdef"(OID) -> TEXT, catalog::index_definition;
    stable "pg_get_indexdef"(OID, INT4, BOOL) -> TEXT, catalog::index_definition;
    stable "pg_get_constraintdef"(OID) -> TEXT, catalog::constraint_definition;
    stable "pg_get_constraintdef"(OID, BOOL) -> TEXT, catalog::constraint_definition;
    stable "pg_get_function_result"(OID) -> TEXT, catalog::function_result;
    stable "pg_get_function_arguments"(OID) -> TEXT, catalog::function_arguments;
    stable "pg_get_function_identity_arguments"(OID) -> TEXT, catalog::function_arguments;
    stable "pg_get_viewdef"(OID) -> TEXT, catalog::nothing;
    stable "pg_get_viewdef"(OID, BOOL) -> TEXT, catalog::nothing;
    stable "pg_get_viewdef"(TEXT) -> TEXT, catalog::nothing;
    stable "pg_get_functiondef"(OID) -> TEXT, catalog::nothing;
    stable "pg_get_triggerdef"(OID) -> TEXT, catalog::nothing;
    stable "pg_get_triggerdef"(OID, BOOL) -> TEXT, catalog::nothing;
    stable "pg_get_ruledef"(OID) -> TEXT, catalog::nothing;
    stable "pg_get_ruledef"(OID, BOOL) -> TEXT, catalog::nothing;
    stable "pg_get_partkeydef"(OID) -> TEXT, catalog::nothing;
    stable "pg_get_statisticsobjdef"(OID) -> TEXT, catalog::nothing;
    stable "pg_get_statisticsobjdef_columns"(OID) -> TEXT, catalog::nothing;
    stable "pg_get_serial_sequence"(TEXT, TEXT) -> TEXT, catalog::nothing;
    stable "pg_relation_is_publishable"(Type::Regclass) -> BOOL, catalog::is_publishable;
    stable "pg_table_size"(Type::Regclass) -> INT8, catalog::nothing;
    stable "pg_stat_get_numscans"(OID) -> INT8, catalog::nothing;
    stable "pg_relation_size"(Type::Regclass) -> INT8, catalog::nothing;
    stable "pg_relation_size"(Type::Regclass, TEXT) -> INT8, catalog::nothing;
    stable "pg_total_relation_size"(Type::Regclass) -> INT8, catalog::nothing;
    stable "pg_indexes_size"(Type::Regclass) -> INT8, catalog::nothing;
    stable "pg_database_size"(NAME) -> INT8, catalog::nothing;
    stable "pg_database_size"(OID) -> INT8, catalog::nothing;
    stable "pg_tablespace_size"(NAME) -> INT8, catalog::nothing;
    stable "pg_tablespace_size"(OID) -> INT8, catalog::nothing;
    fixed "pg_size_pretty"(INT8) -> TEXT, catalog::size_pretty;
    fixed "pg_size_pretty"(NUMERIC) -> TEXT, catalog::size_pretty;
    stable "pg_tablespace_location"(OID) -> TEXT, catalog::empty;
    stable "obj_description"(OID) -> TEXT, catalog::nothing;
    stable "obj_description"(OID, NAME) -> TEXT, catalog::nothing;
    stable "col_description"(OID, INT4) -> TEXT, catalog::nothing;
    stable "shobj_description"(OID, NAME) -> TEXT, catalog::nothing;
    stable "pg_my_temp_schema"() -> OID, catalog::no_oid;
    stable "pg_is_other_temp_schema"(OID) -> BOOL, system::always_false;
    stable "pg_jit_available"() -> BOOL, system::always_false;
    stable "row_security_active"(ANY) -> BOOL, system::always_false;
    fixed "pg_char_to_encoding"(NAME) -> INT4, catalog::encoding;
    stable "pg_collation_is_visible"(OID) -> BOOL, system::always_true;
    stable "pg_operator_is_visible"(OID) -> BOOL, system::always_true;
    stable "pg_opclass_is_visible"(OID) -> BOOL, system::always_true;
    stable "pg_statistics_obj_is_visible"(OID) -> BOOL, system::always_true;
    stable "has_table_privilege"(ANY, TEXT) -> BOOL, system::always_true;
    stable "has_table_privilege"(ANY, ANY, TEXT) -> BOOL, system::always_true;
    stable "has_any_column_privilege"(ANY, TEXT) -> BOOL, system::always_true;
    stable "has_any_column_privilege"(ANY, ANY, TEXT) -> BOOL, system::always_true;
    stable "has_schema_privilege"(ANY, TEXT) -> BOOL, system::always_true;
    stable "has_schema_privilege"(ANY, ANY, TEXT) -> BOOL, system::always_true;
    stable "has_database_privilege"(ANY, TEXT) -> BOOL, system::always_true;
    stable "has_database_privilege"(ANY, ANY, TEXT) -> BOOL, system::always_true;
    stable "has_function_privilege"(ANY, TEXT) -> BOOL, system::always_true;
    stable "has_function_privilege"(ANY, ANY, TEXT) -> BOOL, system::always_true;
    stable "has_sequence_privilege"(ANY, TEXT) -> BOOL, system::always_true;
    stable "has_sequence_privilege"(ANY, ANY, TEXT) -> BOOL, system::always_true;
    stable "has_tablespace_privilege"(ANY, TEXT) -> BOOL, system::always_true;
    stable "has_tablespace_privilege"(ANY, ANY, TEXT) -> BOOL, system::always_true;
    stable "has_language_privilege"(ANY, TEXT) -> BOOL, system::always_true;
    stable "has_language_privilege"(ANY, ANY, TEXT) -> BOOL, system::always_true;
    stable "has_type_privilege"(ANY, TEXT) -> BOOL, system::always_true;
    stable "has_type_privilege"(ANY, ANY, TEXT) -> BOOL, system::always_true;
    stable "pg_has_role"(ANY, TEXT) -> BOOL, system::always_true;
    stable "pg_has_role"(ANY, ANY, TEXT) -> BOOL, system::always_true;
    stable "has_column_privilege"(ANY, ANY, TEXT) -> BOOL, system::always_true;
    stable "has_column_privilege"(ANY, ANY, ANY, TEXT) -> BOOL, system::always_true;
};

/// Functions that take any number of arguments of any type: fixed parameters first, then the rest.
const VARIADIC: &[(&str, &[Type], Type, FunctionEval)] = &[
    ("concat", &[], TEXT, strings::concat_all),
    ("concat_ws", &[TEXT], TEXT, strings::concat_ws),
    ("format", &[TEXT], TEXT, strings::format_function),
    ("json_build_object", &[], TEXT, system::json_build_object),
    ("num_nulls", &[], INT4, system::num_nulls),
    ("num_nonnulls", &[], INT4, system::num_nonnulls),
];

/// All functions and aggregates, for `pg_proc`. Their order is that of their OIDs.
pub fn listed() -> impl Iterator<Item = Procedure> {
    let typed = |ty: &Type| (!ty.same_base(&ANY)).then(|| ty.clone());
    let plain = TABLE.iter().map(move |entry| Procedure {
        name: entry.name,
        arguments: entry.parameters.iter().map(typed).collect(),
        result: typed(&entry.result),
        kind: "f",
        volatility: entry.volatility,
        strict: entry.strict,
    });
    let variadic = VARIADIC.iter().map(move |(name, fixed, result, _)| Procedure {
        name,
        arguments: fixed.iter().map(typed).chain([None]).collect(),
        result: typed(result),
        kind: "f",
        volatility: Volatility::Stable,
        strict: false,
    });
    let aggregates = aggregate::listed().map(move |(name, arguments, result)| Procedure {
        name,
        arguments: arguments.iter().map(typed).collect(),
        result: typed(result),
        kind: "a",
        volatility: Volatility::Immutable,
        strict: false,
    });
    let on_arrays = arrays::listed();
    plain.chain(variadic).chain(aggregates).chain(on_arrays)
}

/// Whether there is a scalar function of this name (in lower case).
pub fn is_function(name: &str) -> bool {
    name == "pg_typeof"
        || TABLE.iter().any(|entry| entry.name == name)
        || VARIADIC.iter().any(|entry| entry.0 == name)
        || arrays::is_function(name)
}

/// The function for arguments of these types. The name is in lower case, perhaps with `pg_catalog.` before it.
///
/// # Errors
/// 42883 if there is none, 42725 if several fit equally well.
pub fn resolve_function(name: &str, arguments: &[Type]) -> Result<FunctionSig, Error> {
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    if name == "pg_typeof" && arguments.len() == 1 {
        return Ok(FunctionSig {
            name: name.to_owned(),
            arguments: arguments.to_vec(),
            result: Type::Regtype,
            volatility: Volatility::Stable,
            strict: false,
            body: Body::Constant(Value::Oid(arguments[0].oid())),
        });
    }
    if let Some((_, fixed, result, eval)) = VARIADIC.iter().find(|entry| entry.0 == name) {
        if arguments.len() < fixed.len() || arguments.is_empty() {
            return Err(no_function(name, arguments));
        }
        let resolved = arguments
            .iter()
            .enumerate()
            .map(|(i, given)| fixed.get(i).cloned().unwrap_or_else(|| settled(given)))
            .collect();
        return Ok(FunctionSig {
            name: name.to_owned(),
            arguments: resolved,
            result: result.clone(),
            volatility: Volatility::Stable,
            strict: false,
            body: Body::Code(*eval),
        });
    }
    if arrays::is_function(name) {
        return arrays::resolve(name, arguments).ok_or_else(|| no_function(name, arguments));
    }
    let base: Vec<Type> = arguments.iter().map(Type::base).collect();
    let candidates = || {
        TABLE
            .iter()
            .filter(|entry| entry.name == name && takes_arrays(entry, &base))
            .map(|entry| (entry, entry.parameters))
    };
    // A function's name that is a type's, with one argument, is a cast unless a function fits exactly.
    let exact = candidates().any(|(_, parameters)| {
        parameters.len() == base.len() && parameters.iter().zip(&base).all(|(p, a)| p.same_base(a))
    });
    if let ([argument], false) = (arguments, exact)
        && let Some(cast) = cast_in_disguise(name, argument)
    {
        return Ok(cast);
    }
    let entry = match choose(candidates(), &base) {
        Choice::One(entry) => entry,
        Choice::None => return Err(no_function(name, arguments)),
        Choice::Ambiguous => return Err(ambiguous_function(name, arguments)),
    };
    let resolved = entry
        .parameters
        .iter()
        .zip(arguments)
        .map(|(parameter, given)| if parameter.same_base(&ANY) { settled(given) } else { parameter.clone() })
        .collect();
    Ok(FunctionSig {
        name: name.to_owned(),
        arguments: resolved,
        result: if entry.result.same_base(&ANY) { Type::Array(Box::new(Type::Text)) } else { entry.result.clone() },
        volatility: entry.volatility,
        strict: entry.strict,
        body: Body::Code(entry.eval),
    })
}

/// What an argument of any type is taken as: unknown literals as text.
fn settled(given: &Type) -> Type {
    if matches!(given, Type::Unknown) { Type::Text } else { given.clone() }
}

/// The functions on arrays take any array, and nothing else.
fn takes_arrays(entry: &Entry, arguments: &[Type]) -> bool {
    let on_arrays = entry.name.starts_with("array_") || entry.name == "cardinality";
    !on_arrays || matches!(arguments.first(), Some(Type::Array(_)))
}

fn cast_in_disguise(name: &str, argument: &Type) -> Option<FunctionSig> {
    // By its one-word names only, as PostgreSQL: date(x), text(x), float8(x).
    let ty = Type::from_name(name, &[]).ok().filter(|ty| ty.internal_name() == name)?.base();
    if !can_cast(argument, &ty, CastContext::Explicit) || (matches!(argument, Type::Unknown) && is_function(name)) {
        return None;
    }
    let cast = resolve_cast(argument, &ty, CastContext::Explicit).ok()?;
    Some(FunctionSig {
        name: name.to_owned(),
        arguments: vec![argument.clone()],
        result: ty,
        volatility: if cast.is_immutable() { Volatility::Immutable } else { Volatility::Stable },
        strict: true,
        body: Body::Cast(cast),
    })
}
