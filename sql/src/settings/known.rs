//! The settings that exist, with their defaults.

/// What `server_version` says: PostgreSQL's version whose behaviour is followed, then ours.
pub const SERVER_VERSION: &str = concat!("15.8 (Quorate ", env!("CARGO_PKG_VERSION"), ")");
const SERVER_VERSION_NUMBER: &str = "150008";

/// What values a setting takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// on, off and their spellings.
    Bool,
    /// An integer within bounds.
    Int(i64, i64),
    /// Milliseconds; a number without a unit is that already.
    Milliseconds,
    /// A time limit that does not exist here: 0 only.
    NoLimit,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A part of [`crate::format::FormatSettings`].
    Format,
    /// UTF8 only.
    Encoding,
    /// Not to be changed.
    Fixed,
}

/// A setting that exists.
pub(super) struct Known {
    /// As SHOW and ParameterStatus spell it.
    pub(super) name: &'static str,
    /// Its value in a new session.
    pub(super) default: &'static str,
    /// What values it takes.
    pub(super) kind: Kind,
    /// Goes to the client as ParameterStatus.
    pub(super) reported: bool,
    /// For SHOW ALL.
    pub(super) description: &'static str,
}

const fn known(name: &'static str, default: &'static str, kind: Kind, description: &'static str) -> Known {
    Known { name, default, kind, reported: false, description }
}

const fn reported(name: &'static str, default: &'static str, kind: Kind, description: &'static str) -> Known {
    Known { name, default, kind, reported: true, description }
}

const LEVELS: &[&str] = &["serializable", "repeatable read", "read committed", "read uncommitted"];
const MESSAGE_LEVELS: &[&str] = &[
    "debug5", "debug4", "debug3", "debug2", "debug1", "debug", "log", "info", "notice", "warning", "error", "fatal",
    "panic",
];
const ACCEPTED: &str = "Accepted; changes nothing here.";

/// In the order of SHOW ALL.
pub(super) static KNOWN: &[Known] = &[
    reported("application_name", "", Kind::Text, "The application's name, for logs and status."),
    known("backslash_quote", "safe_encoding", Kind::Text, ACCEPTED),
    known("bytea_output", "hex", Kind::Format, "How bytea is printed: hex or escape."),
    known("check_function_bodies", "on", Kind::Bool, ACCEPTED),
    reported("client_encoding", "UTF8", Kind::Encoding, "The client's character set: UTF8."),
    known("client_min_messages", "notice", Kind::Word(MESSAGE_LEVELS), "The least severe message that is sent."),
    reported("DateStyle", "ISO, MDY", Kind::Format, "How dates are read and printed."),
    known("default_table_access_method", "heap", Kind::Text, ACCEPTED),
    known("default_tablespace", "", Kind::Text, ACCEPTED),
    known("default_transaction_deferrable", "off", Kind::Bool, ACCEPTED),
    known(
        "default_transaction_isolation",
        "serializable",
        Kind::Word(LEVELS),
        "The isolation level of new transactions; all run as serializable.",
    ),
    reported("default_transaction_read_only", "off", Kind::Bool, "Whether new transactions are read-only."),
    known("escape_string_warning", "on", Kind::Bool, ACCEPTED),
    known("extra_float_digits", "1", Kind::Int(-15, 3), "How many digits of floating-point numbers are printed."),
    known("geqo", "on", Kind::Bool, ACCEPTED),
    known("idle_in_transaction_session_timeout", "0", Kind::NoLimit, "Always 0."),
    known("idle_session_timeout", "0", Kind::NoLimit, "Always 0."),
    reported("in_hot_standby", "off", Kind::Fixed, "Always off."),
    reported("integer_datetimes", "on", Kind::Fixed, "Always on."),
    reported("IntervalStyle", "postgres", Kind::Format, "How intervals are printed."),
    known("jit", "off", Kind::Bool, ACCEPTED),
    reported("is_superuser", "on", Kind::Fixed, "Always on: there are no roles yet."),
    known("lc_messages", "C", Kind::Text, ACCEPTED),
    known("lc_monetary", "C", Kind::Text, ACCEPTED),
    known("lc_numeric", "C", Kind::Text, ACCEPTED),
    known("lc_time", "C", Kind::Text, ACCEPTED),
    known("lc_collate", "C", Kind::Fixed, "Text is ordered by its bytes."),
    known("lc_ctype", "C.UTF-8", Kind::Fixed, "Character classes are Unicode's."),
    known("lock_timeout", "0", Kind::NoLimit, "Always 0."),
    known("log_statement", "none", Kind::Text, ACCEPTED),
    known("maintenance_work_mem", "65536", Kind::Text, ACCEPTED),
    known("max_identifier_length", "63", Kind::Fixed, "The longest name in bytes."),
    known("max_index_keys", "32", Kind::Fixed, "The most columns of a primary key."),
    known("quote_all_identifiers", "off", Kind::Bool, ACCEPTED),
    known("row_security", "on", Kind::Bool, ACCEPTED),
    known(
        "search_path",
        "\"$user\", public",
        Kind::Text,
        "The schemas that are searched; only public and the system's exist.",
    ),
    reported("server_encoding", "UTF8", Kind::Fixed, "The server's character set."),
    reported(
        "server_version",
        SERVER_VERSION,
        Kind::Fixed,
        "PostgreSQL's version that is followed, and this server's.",
    ),
    known("server_version_num", SERVER_VERSION_NUMBER, Kind::Fixed, "The same as a number."),
    reported("session_authorization", "", Kind::Fixed, "The user of the session."),
    known("session_replication_role", "origin", Kind::Text, ACCEPTED),
    known("statement_timeout", "0", Kind::Milliseconds, "How long a statement may run."),
    reported("standard_conforming_strings", "on", Kind::Word(&["on", "true", "yes", "1"]), "Always on."),
    known("synchronize_seqscans", "on", Kind::Bool, ACCEPTED),
    known(
        "synchronous_commit",
        "on",
        Kind::Word(&["on", "off", "local", "remote_write", "remote_apply", "true", "false"]),
        "Accepted; a commit is durable as the database is set up.",
    ),
    reported("TimeZone", "UTC", Kind::Format, "The time zone of timestamps."),
    known("transaction_deferrable", "off", Kind::Bool, "Of the current transaction."),
    known(
        "transaction_isolation",
        "serializable",
        Kind::Word(LEVELS),
        "Of the current transaction; it runs as serializable.",
    ),
    known("transaction_read_only", "off", Kind::Bool, "Of the current transaction."),
    known("transaction_timeout", "0", Kind::Milliseconds, "How long a transaction may take."),
    known("vacuum_cost_delay", "0", Kind::Text, ACCEPTED),
    known("work_mem", "65536", Kind::Text, ACCEPTED),
    known("xmloption", "content", Kind::Text, ACCEPTED),
];

/// The setting of this name, in any case.
pub(super) fn find(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name.eq_ignore_ascii_case(name))
}
