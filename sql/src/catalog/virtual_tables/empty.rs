//! Tables about what does not exist here: partitions, triggers, views, sequences and so on. They have columns and never a row.
//!
//! So do those that count what tables and indexes were used for, which is not counted, and those of comments and dependencies.

use super::Definition;

const fn empty(schema: &'static str, name: &'static str, oid: u32, columns: &'static str) -> Definition {
    Definition { schema, name, oid, columns, rows: None }
}

const fn catalog(name: &'static str, oid: u32, columns: &'static str) -> Definition {
    empty("pg_catalog", name, oid, columns)
}

const fn standard(name: &'static str, oid: u32, columns: &'static str) -> Definition {
    empty("information_schema", name, oid, columns)
}

pub(super) static TABLES: &[Definition] = &[
    catalog("pg_auth_members", 1261, "roleid oid, member oid, grantor oid, admin_option bool"),
    catalog("pg_available_extensions", 12081, "name name, default_version text, installed_version text, comment text"),
    catalog("pg_db_role_setting", 2964, "setdatabase oid, setrole oid, setconfig text[]"),
    catalog(
        "pg_default_acl",
        826,
        "oid oid, defaclrole oid, defaclnamespace oid, defaclobjtype char, defaclacl text[]",
    ),
    catalog(
        "pg_depend",
        2608,
        "classid oid, objid oid, objsubid int4, refclassid oid, refobjid oid, refobjsubid int4, deptype char",
    ),
    catalog("pg_description", 2609, "objoid oid, classoid oid, objsubid int4, description text"),
    catalog("pg_enum", 3501, "oid oid, enumtypid oid, enumsortorder float4, enumlabel name"),
    catalog(
        "pg_event_trigger",
        3466,
        "oid oid, evtname name, evtevent name, evtowner oid, evtfoid oid, evtenabled char, evttags text[]",
    ),
    catalog(
        "pg_extension",
        3079,
        "oid oid, extname name, extowner oid, extnamespace oid, extrelocatable bool, extversion text, \
         extconfig oid[], extcondition text[]",
    ),
    catalog(
        "pg_foreign_data_wrapper",
        2328,
        "oid oid, fdwname name, fdwowner oid, fdwhandler oid, fdwvalidator oid, fdwacl text[], fdwoptions text[]",
    ),
    catalog(
        "pg_foreign_server",
        1417,
        "oid oid, srvname name, srvowner oid, srvfdw oid, srvtype text, srvversion text, srvacl text[], \
         srvoptions text[]",
    ),
    catalog("pg_foreign_table", 3118, "ftrelid oid, ftserver oid, ftoptions text[]"),
    catalog("pg_group", 12010, "groname name, grosysid oid, grolist oid[]"),
    catalog("pg_inherits", 2611, "inhrelid oid, inhparent oid, inhseqno int4, inhdetachpending bool"),
    catalog("pg_init_privs", 3394, "objoid oid, classoid oid, objsubid int4, privtype char, initprivs text[]"),
    catalog("pg_largeobject_metadata", 2995, "oid oid, lomowner oid, lomacl text[]"),
    catalog(
        "pg_matviews",
        12038,
        "schemaname name, matviewname name, matviewowner name, tablespace name, hasindexes bool, ispopulated bool, \
         definition text",
    ),
    catalog(
        "pg_partitioned_table",
        3350,
        "partrelid oid, partstrat char, partnatts int2, partdefid oid, partattrs int2[], partclass oid[], \
         partcollation oid[], partexprs text",
    ),
    catalog(
        "pg_policies",
        12018,
        "schemaname name, tablename name, policyname name, permissive text, roles name[], cmd text, qual text, \
         with_check text",
    ),
    catalog(
        "pg_policy",
        3256,
        "oid oid, polname name, polrelid oid, polcmd char, polpermissive bool, polroles oid[], polqual text, \
         polwithcheck text",
    ),
    catalog("pg_prepared_xacts", 12090, "transaction oid, gid text, prepared timestamptz, owner name, database name"),
    catalog(
        "pg_publication",
        6104,
        "oid oid, pubname name, pubowner oid, puballtables bool, pubinsert bool, pubupdate bool, pubdelete bool, \
         pubtruncate bool, pubviaroot bool",
    ),
    catalog("pg_publication_namespace", 6237, "oid oid, pnpubid oid, pnnspid oid"),
    catalog("pg_publication_rel", 6106, "oid oid, prpubid oid, prrelid oid, prqual text, prattrs int2[]"),
    catalog(
        "pg_publication_tables",
        12068,
        "pubname name, schemaname name, tablename name, attnames name[], rowfilter text",
    ),
    catalog(
        "pg_range",
        3541,
        "rngtypid oid, rngsubtype oid, rngmultitypid oid, rngcollation oid, rngsubopc oid, rngcanonical name, \
         rngsubdiff name",
    ),
    catalog(
        "pg_replication_slots",
        12257,
        "slot_name name, plugin name, slot_type text, datoid oid, database name, temporary bool, active bool, \
         active_pid int4, xmin oid, catalog_xmin oid, restart_lsn text, confirmed_flush_lsn text, wal_status text, \
         safe_wal_size int8, two_phase bool",
    ),
    catalog(
        "pg_rewrite",
        2618,
        "oid oid, rulename name, ev_class oid, ev_type char, ev_enabled char, is_instead bool, ev_qual text, \
         ev_action text",
    ),
    catalog("pg_rules", 12023, "schemaname name, tablename name, rulename name, definition text"),
    catalog(
        "pg_seclabels",
        12099,
        "objoid oid, classoid oid, objsubid int4, objtype text, objnamespace oid, objname text, provider text, \
         label text",
    ),
    catalog(
        "pg_sequence",
        2224,
        "seqrelid oid, seqtypid oid, seqstart int8, seqincrement int8, seqmax int8, seqmin int8, seqcache int8, \
         seqcycle bool",
    ),
    catalog(
        "pg_sequences",
        12048,
        "schemaname name, sequencename name, sequenceowner name, data_type oid, start_value int8, min_value int8, \
         max_value int8, increment_by int8, cycle bool, cache_size int8, last_value int8",
    ),
    catalog(
        "pg_shdepend",
        1214,
        "dbid oid, classid oid, objid oid, objsubid int4, refclassid oid, refobjid oid, deptype char",
    ),
    catalog("pg_shdescription", 2396, "objoid oid, classoid oid, description text"),
    catalog(
        "pg_stat_all_tables",
        12142,
        "relid oid, schemaname name, relname name, seq_scan int8, seq_tup_read int8, idx_scan int8, \
         idx_tup_fetch int8, n_tup_ins int8, n_tup_upd int8, n_tup_del int8, n_tup_hot_upd int8, n_live_tup int8, \
         n_dead_tup int8, n_mod_since_analyze int8, n_ins_since_vacuum int8, last_vacuum timestamptz, \
         last_autovacuum timestamptz, last_analyze timestamptz, last_autoanalyze timestamptz, vacuum_count int8, \
         autovacuum_count int8, analyze_count int8, autoanalyze_count int8",
    ),
    catalog(
        "pg_stat_user_indexes",
        12192,
        "relid oid, indexrelid oid, schemaname name, relname name, indexrelname name, idx_scan int8, \
         idx_tup_read int8, idx_tup_fetch int8",
    ),
    catalog(
        "pg_stat_user_tables",
        12161,
        "relid oid, schemaname name, relname name, seq_scan int8, seq_tup_read int8, idx_scan int8, \
         idx_tup_fetch int8, n_tup_ins int8, n_tup_upd int8, n_tup_del int8, n_tup_hot_upd int8, n_live_tup int8, \
         n_dead_tup int8, n_mod_since_analyze int8, n_ins_since_vacuum int8, last_vacuum timestamptz, \
         last_autovacuum timestamptz, last_analyze timestamptz, last_autoanalyze timestamptz, vacuum_count int8, \
         autovacuum_count int8, analyze_count int8, autoanalyze_count int8",
    ),
    catalog(
        "pg_statio_user_tables",
        12179,
        "relid oid, schemaname name, relname name, heap_blks_read int8, heap_blks_hit int8, idx_blks_read int8, \
         idx_blks_hit int8, toast_blks_read int8, toast_blks_hit int8, tidx_blks_read int8, tidx_blks_hit int8",
    ),
    catalog(
        "pg_statistic_ext",
        3381,
        "oid oid, stxrelid oid, stxname name, stxnamespace oid, stxowner oid, stxstattarget int4, stxkeys int2[], \
         stxkind char[], stxexprs text",
    ),
    catalog(
        "pg_subscription",
        6100,
        "oid oid, subdbid oid, subskiplsn text, subname name, subowner oid, subenabled bool, subbinary bool, \
         substream bool, subtwophasestate char, subdisableonerr bool, subconninfo text, subslotname name, \
         subsynccommit text, subpublications text[]",
    ),
    catalog(
        "pg_trigger",
        2620,
        "oid oid, tgrelid oid, tgparentid oid, tgname name, tgfoid oid, tgtype int2, tgenabled char, \
         tgisinternal bool, tgconstrrelid oid, tgconstrindid oid, tgconstraint oid, tgdeferrable bool, \
         tginitdeferred bool, tgnargs int2, tgattr int2[], tgargs bytea, tgqual text, tgoldtable name, \
         tgnewtable name",
    ),
    catalog("pg_user_mapping", 1418, "oid oid, umuser oid, umserver oid, umoptions text[]"),
    catalog("pg_views", 12028, "schemaname name, viewname name, viewowner name, definition text"),
    standard(
        "check_constraints",
        13010,
        "constraint_catalog name, constraint_schema name, constraint_name name, check_clause varchar",
    ),
    standard(
        "constraint_table_usage",
        13011,
        "table_catalog name, table_schema name, table_name name, constraint_catalog name, constraint_schema name, \
         constraint_name name",
    ),
    standard(
        "domains",
        13012,
        "domain_catalog name, domain_schema name, domain_name name, data_type varchar, \
         character_maximum_length int4, character_octet_length int4, character_set_catalog name, \
         character_set_schema name, character_set_name name, collation_catalog name, collation_schema name, \
         collation_name name, numeric_precision int4, numeric_precision_radix int4, numeric_scale int4, \
         datetime_precision int4, interval_type varchar, interval_precision int4, domain_default varchar, \
         udt_catalog name, udt_schema name, udt_name name, scope_catalog name, scope_schema name, scope_name name, \
         maximum_cardinality int4, dtd_identifier name",
    ),
    standard(
        "element_types",
        13013,
        "object_catalog name, object_schema name, object_name name, object_type varchar, \
         collection_type_identifier name, data_type varchar, character_maximum_length int4, \
         character_octet_length int4, character_set_catalog name, character_set_schema name, \
         character_set_name name, collation_catalog name, collation_schema name, collation_name name, \
         numeric_precision int4, numeric_precision_radix int4, numeric_scale int4, datetime_precision int4, \
         interval_type varchar, interval_precision int4, domain_default varchar, udt_catalog name, udt_schema name, \
         udt_name name, scope_catalog name, scope_schema name, scope_name name, maximum_cardinality int4, \
         dtd_identifier name",
    ),
    standard(
        "referential_constraints",
        13014,
        "constraint_catalog name, constraint_schema name, constraint_name name, unique_constraint_catalog name, \
         unique_constraint_schema name, unique_constraint_name name, match_option varchar, update_rule varchar, \
         delete_rule varchar",
    ),
    standard(
        "sequences",
        13015,
        "sequence_catalog name, sequence_schema name, sequence_name name, data_type varchar, numeric_precision int4, \
         numeric_precision_radix int4, numeric_scale int4, start_value varchar, minimum_value varchar, \
         maximum_value varchar, increment varchar, cycle_option varchar",
    ),
    standard(
        "triggers",
        13016,
        "trigger_catalog name, trigger_schema name, trigger_name name, event_manipulation varchar, \
         event_object_catalog name, event_object_schema name, event_object_table name, action_order int4, \
         action_condition varchar, action_statement varchar, action_orientation varchar, action_timing varchar, \
         action_reference_old_table name, action_reference_new_table name, action_reference_old_row name, \
         action_reference_new_row name, created timestamptz",
    ),
    standard(
        "user_defined_types",
        13017,
        "user_defined_type_catalog name, user_defined_type_schema name, user_defined_type_name name, \
         user_defined_type_category varchar, is_instantiable varchar, is_final varchar, ordering_form varchar, \
         ordering_category varchar, ordering_routine_catalog name, ordering_routine_schema name, \
         ordering_routine_name name, reference_type varchar, data_type varchar, character_maximum_length int4, \
         character_octet_length int4, character_set_catalog name, character_set_schema name, \
         character_set_name name, collation_catalog name, collation_schema name, collation_name name, \
         numeric_precision int4, numeric_precision_radix int4, numeric_scale int4, datetime_precision int4, \
         interval_type varchar, interval_precision int4, source_dtd_identifier name, ref_dtd_identifier name",
    ),
    standard(
        "view_table_usage",
        13018,
        "view_catalog name, view_schema name, view_name name, table_catalog name, table_schema name, \
         table_name name",
    ),
    standard(
        "views",
        13019,
        "table_catalog name, table_schema name, table_name name, view_definition varchar, check_option varchar, \
         is_updatable varchar, is_insertable_into varchar, is_trigger_updatable varchar, \
         is_trigger_deletable varchar, is_trigger_insertable_into varchar",
    ),
];
