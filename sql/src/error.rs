//! Errors as a PostgreSQL client sees them: a SQLSTATE, a message, and what else the protocol can carry.
//!
//! Every failure of the engine is an [`Error`]. It is one pointer wide, so that `Result<Value, Error>` stays small on the
//! hot path; its fields are reached through `Deref`. [`Error::is_retryable`] tells whether running the transaction again
//! may succeed; only 40001 promises that.

use std::fmt;
use std::ops::{Deref, DerefMut};

/// A five character SQLSTATE.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// Makes a state from its five characters.
    ///
    /// # Panics
    /// When `code` is not five ASCII characters long; all uses are constants.
    pub const fn new(code: &str) -> Self {
        let bytes = code.as_bytes();
        assert!(bytes.len() == 5 && code.is_ascii(), "a SQLSTATE has five ASCII characters");
        Self([bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]])
    }

    /// The state written in `code`, or `None` if it is not five ASCII characters.
    pub fn parse(code: &str) -> Option<Self> {
        (code.len() == 5 && code.is_ascii()).then(|| Self::new(code))
    }

    /// The five characters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("made of ASCII only")
    }

    /// The class: the first two characters, e.g. `22` for data exceptions.
    pub fn class(&self) -> &str {
        &self.as_str()[..2]
    }
}

impl fmt::Debug for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for SqlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! states {
    ($($name:ident = $code:literal, $text:literal;)*) => {
        impl SqlState {
            $(#[doc = concat!($code, ": ", $text, ".")] pub const $name: SqlState = SqlState::new($code);)*

            /// Every state with a name here, with that name: for documentation and its test.
            pub const ALL: &'static [(SqlState, &'static str)] = &[$((SqlState::$name, $text),)*];
        }
    };
}

states! {
    SUCCESSFUL_COMPLETION = "00000", "successful completion";
    WARNING = "01000", "warning";
    CONNECTION_FAILURE = "08006", "connection failure";
    PROTOCOL_VIOLATION = "08P01", "protocol violation";
    FEATURE_NOT_SUPPORTED = "0A000", "feature not supported";
    CARDINALITY_VIOLATION = "21000", "cardinality violation";
    DATA_EXCEPTION = "22000", "data exception";
    STRING_DATA_RIGHT_TRUNCATION = "22001", "string data, right truncation";
    NUMERIC_VALUE_OUT_OF_RANGE = "22003", "numeric value out of range";
    NULL_VALUE_NOT_ALLOWED = "22004", "null value not allowed";
    INVALID_DATETIME_FORMAT = "22007", "invalid datetime format";
    DATETIME_FIELD_OVERFLOW = "22008", "datetime field overflow";
    INVALID_TIME_ZONE_DISPLACEMENT = "22009", "invalid time zone displacement value";
    SUBSTRING_ERROR = "22011", "substring error";
    DIVISION_BY_ZERO = "22012", "division by zero";
    INVALID_ARGUMENT_FOR_NTILE_FUNCTION = "22014", "invalid argument for ntile function";
    INVALID_ARGUMENT_FOR_NTH_VALUE_FUNCTION = "22016", "invalid argument for nth_value function";
    INTERVAL_FIELD_OVERFLOW = "22015", "interval field overflow";
    INVALID_ESCAPE_CHARACTER = "22019", "invalid escape character";
    CHARACTER_NOT_IN_REPERTOIRE = "22021", "character not in repertoire";
    INVALID_PARAMETER_VALUE = "22023", "invalid parameter value";
    INVALID_ARGUMENT_FOR_LOGARITHM = "2201E", "invalid argument for logarithm";
    INVALID_ARGUMENT_FOR_POWER = "2201F", "invalid argument for power function";
    INVALID_ARGUMENT_FOR_WIDTH_BUCKET = "2201G", "invalid argument for width bucket function";
    INVALID_PRECEDING_OR_FOLLOWING_SIZE = "22013", "invalid preceding or following size in window function";
    INVALID_ROW_COUNT_IN_LIMIT = "2201W", "invalid row count in limit clause";
    INVALID_ROW_COUNT_IN_OFFSET = "2201X", "invalid row count in result offset clause";
    INVALID_REGULAR_EXPRESSION = "2201B", "invalid regular expression";
    INVALID_ESCAPE_SEQUENCE = "22025", "invalid escape sequence";
    ARRAY_SUBSCRIPT_ERROR = "2202E", "array subscript error";
    INVALID_TEXT_REPRESENTATION = "22P02", "invalid text representation";
    INVALID_BINARY_REPRESENTATION = "22P03", "invalid binary representation";
    BAD_COPY_FILE_FORMAT = "22P04", "bad copy file format";
    UNTRANSLATABLE_CHARACTER = "22P05", "untranslatable character";
    INTEGRITY_CONSTRAINT_VIOLATION = "23000", "integrity constraint violation";
    NOT_NULL_VIOLATION = "23502", "not null violation";
    FOREIGN_KEY_VIOLATION = "23503", "foreign key violation";
    UNIQUE_VIOLATION = "23505", "unique violation";
    CHECK_VIOLATION = "23514", "check violation";
    INVALID_TRANSACTION_STATE = "25000", "invalid transaction state";
    ACTIVE_SQL_TRANSACTION = "25001", "active SQL transaction";
    READ_ONLY_SQL_TRANSACTION = "25006", "read only SQL transaction";
    NO_ACTIVE_SQL_TRANSACTION = "25P01", "no active SQL transaction";
    IN_FAILED_SQL_TRANSACTION = "25P02", "in failed SQL transaction";
    IDLE_IN_TRANSACTION_SESSION_TIMEOUT = "25P03", "idle in transaction session timeout";
    INVALID_SQL_STATEMENT_NAME = "26000", "invalid SQL statement name";
    INVALID_AUTHORIZATION_SPECIFICATION = "28000", "invalid authorization specification";
    INVALID_PASSWORD = "28P01", "invalid password";
    INVALID_TRANSACTION_TERMINATION = "2D000", "invalid transaction termination";
    INVALID_CURSOR_NAME = "34000", "invalid cursor name";
    INVALID_SAVEPOINT_SPECIFICATION = "3B001", "invalid savepoint specification";
    INVALID_CATALOG_NAME = "3D000", "invalid catalog name";
    INVALID_SCHEMA_NAME = "3F000", "invalid schema name";
    TRANSACTION_ROLLBACK = "40000", "transaction rollback";
    SERIALIZATION_FAILURE = "40001", "serialization failure: run the transaction again";
    STATEMENT_COMPLETION_UNKNOWN = "40003", "statement completion unknown: it may have been committed";
    DEADLOCK_DETECTED = "40P01", "deadlock detected";
    SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION = "42000", "syntax error or access rule violation";
    INSUFFICIENT_PRIVILEGE = "42501", "insufficient privilege";
    SYNTAX_ERROR = "42601", "syntax error";
    INVALID_NAME = "42602", "invalid name";
    INVALID_COLUMN_DEFINITION = "42611", "invalid column definition";
    NAME_TOO_LONG = "42622", "name too long";
    DUPLICATE_COLUMN = "42701", "duplicate column";
    AMBIGUOUS_COLUMN = "42702", "ambiguous column";
    UNDEFINED_COLUMN = "42703", "undefined column";
    UNDEFINED_OBJECT = "42704", "undefined object";
    DUPLICATE_OBJECT = "42710", "duplicate object";
    DUPLICATE_ALIAS = "42712", "duplicate alias";
    AMBIGUOUS_FUNCTION = "42725", "ambiguous function";
    GROUPING_ERROR = "42803", "grouping error";
    DATATYPE_MISMATCH = "42804", "datatype mismatch";
    WRONG_OBJECT_TYPE = "42809", "wrong object type";
    INVALID_FOREIGN_KEY = "42830", "invalid foreign key";
    CANNOT_COERCE = "42846", "cannot coerce";
    UNDEFINED_FUNCTION = "42883", "undefined function";
    RESERVED_NAME = "42939", "reserved name";
    UNDEFINED_TABLE = "42P01", "undefined table";
    UNDEFINED_PARAMETER = "42P02", "undefined parameter";
    DUPLICATE_CURSOR = "42P03", "duplicate cursor";
    DUPLICATE_DATABASE = "42P04", "duplicate database";
    DUPLICATE_PREPARED_STATEMENT = "42P05", "duplicate prepared statement";
    DUPLICATE_SCHEMA = "42P06", "duplicate schema";
    DUPLICATE_TABLE = "42P07", "duplicate table";
    AMBIGUOUS_PARAMETER = "42P08", "ambiguous parameter";
    INVALID_COLUMN_REFERENCE = "42P10", "invalid column reference";
    INVALID_TABLE_DEFINITION = "42P16", "invalid table definition";
    INDETERMINATE_DATATYPE = "42P18", "indeterminate datatype";
    WINDOWING_ERROR = "42P20", "windowing error";
    INDETERMINATE_COLLATION = "42P22", "indeterminate collation";
    INSUFFICIENT_RESOURCES = "53000", "insufficient resources";
    DISK_FULL = "53100", "disk full";
    OUT_OF_MEMORY = "53200", "out of memory";
    TOO_MANY_CONNECTIONS = "53300", "too many connections";
    CONFIGURATION_LIMIT_EXCEEDED = "53400", "configuration limit exceeded";
    PROGRAM_LIMIT_EXCEEDED = "54000", "program limit exceeded";
    STATEMENT_TOO_COMPLEX = "54001", "statement too complex";
    TOO_MANY_COLUMNS = "54011", "too many columns";
    TOO_MANY_ARGUMENTS = "54023", "too many arguments";
    OBJECT_NOT_IN_PREREQUISITE_STATE = "55000", "object not in prerequisite state";
    OBJECT_IN_USE = "55006", "object in use";
    CANT_CHANGE_RUNTIME_PARAM = "55P02", "can't change runtime parameter";
    LOCK_NOT_AVAILABLE = "55P03", "lock not available";
    QUERY_CANCELED = "57014", "query canceled";
    ADMIN_SHUTDOWN = "57P01", "admin shutdown";
    CRASH_SHUTDOWN = "57P02", "crash shutdown";
    CANNOT_CONNECT_NOW = "57P03", "cannot connect now";
    IDLE_SESSION_TIMEOUT = "57P05", "idle session timeout";
    SYSTEM_ERROR = "58000", "system error: for instance a replica set that cannot be reached";
    IO_ERROR = "58030", "input/output error";
    INTERNAL_ERROR = "XX000", "internal error";
    DATA_CORRUPTED = "XX001", "data corrupted";
}

/// The parts of an [`Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorFields {
    /// What kind of failure this is, for programs.
    pub code: SqlState,
    /// What happened, for people: one line, no full stop.
    pub message: String,
    /// More about this occurrence, in whole sentences.
    pub detail: Option<String>,
    /// What to do about it, in whole sentences.
    pub hint: Option<String>,
    /// Where in the statement, as 1-based character (not byte).
    pub position: Option<u32>,
    /// Where in the engine's work, e.g. `COPY t, line 3`.
    pub context: Option<String>,
    /// Schema of the table concerned.
    pub schema: Option<String>,
    /// Table concerned.
    pub table: Option<String>,
    /// Column concerned.
    pub column: Option<String>,
    /// Data type concerned.
    pub data_type: Option<String>,
    /// Constraint concerned.
    pub constraint: Option<String>,
}

/// A failed statement, ready to be sent to a client. Its fields are those of [`ErrorFields`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(Box<ErrorFields>);

impl Deref for Error {
    type Target = ErrorFields;

    fn deref(&self) -> &ErrorFields {
        &self.0
    }
}

impl DerefMut for Error {
    fn deref_mut(&mut self) -> &mut ErrorFields {
        &mut self.0
    }
}

impl Error {
    /// An error with a code and a message.
    #[cold]
    pub fn new(code: SqlState, message: impl Into<String>) -> Self {
        Self(Box::new(ErrorFields {
            code,
            message: message.into(),
            detail: None,
            hint: None,
            position: None,
            context: None,
            schema: None,
            table: None,
            column: None,
            data_type: None,
            constraint: None,
        }))
    }

    /// Something PostgreSQL can do and this product cannot (0A000): `CREATE INDEX is not supported`. `hint` says what to do
    /// instead; empty for none.
    #[cold]
    pub fn unsupported(feature: impl fmt::Display, hint: impl Into<String>) -> Self {
        let mut error = Self::new(SqlState::FEATURE_NOT_SUPPORTED, format!("{feature} is not supported"));
        let hint = hint.into();
        error.hint = (!hint.is_empty()).then_some(hint);
        error
    }

    /// A state of the engine that should not be (XX000).
    #[cold]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(SqlState::INTERNAL_ERROR, message)
    }

    /// Stored or received bytes that cannot be what they should be (XX001).
    #[cold]
    pub fn corrupted(message: impl Into<String>) -> Self {
        Self::new(SqlState::DATA_CORRUPTED, message)
    }

    /// The transaction lost a race (40001); running it again may succeed. The detail begins with operators' number of this error.
    #[cold]
    pub fn retry(message: impl Into<String>) -> Self {
        Self::new(SqlState::SERIALIZATION_FAILURE, message)
            .with_detail("TT005: the transaction was not committed.")
            .with_hint("The transaction might succeed if retried.")
    }

    /// What everything but its end gets in a block that has failed (25P02).
    #[cold]
    pub fn in_failed_transaction() -> Self {
        let message = "current transaction is aborted, commands ignored until end of transaction block";
        Self::new(SqlState::IN_FAILED_SQL_TRANSACTION, message)
    }

    /// A syntax error (42601).
    #[cold]
    pub fn syntax(message: impl Into<String>) -> Self {
        Self::new(SqlState::SYNTAX_ERROR, message)
    }

    /// `TYPE out of range` (22003), as PostgreSQL says it for results that do not fit: `integer out of range`.
    #[cold]
    pub fn out_of_range(what: impl fmt::Display) -> Self {
        Self::new(SqlState::NUMERIC_VALUE_OUT_OF_RANGE, format!("{what} out of range"))
    }

    /// `invalid input syntax for type TYPE: "INPUT"` (22P02).
    #[cold]
    pub fn invalid_input(type_name: impl fmt::Display, input: &str) -> Self {
        Self::new(
            SqlState::INVALID_TEXT_REPRESENTATION,
            format!("invalid input syntax for type {type_name}: \"{input}\""),
        )
    }

    /// `division by zero` (22012).
    #[cold]
    pub fn division_by_zero() -> Self {
        Self::new(SqlState::DIVISION_BY_ZERO, "division by zero")
    }

    /// Adds a detail.
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a hint.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the context in which the engine met the error.
    pub fn with_context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// Adds a position (1-based character of the statement) if there is none yet: the innermost place wins.
    pub fn at(mut self, position: u32) -> Self {
        self.position.get_or_insert(position);
        self
    }

    /// Adds schema and table.
    pub fn with_table(mut self, schema: impl Into<String>, table: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self.table = Some(table.into());
        self
    }

    /// Adds the column.
    pub fn with_column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// Adds the constraint.
    pub fn with_constraint(mut self, constraint: impl Into<String>) -> Self {
        self.constraint = Some(constraint.into());
        self
    }

    /// Whether the transaction is certainly not committed and may succeed when it is run again as it was: 40001 only.
    /// 40003 is not: it may have been committed.
    pub fn is_retryable(&self) -> bool {
        self.code == SqlState::SERIALIZATION_FAILURE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer_wide() {
        assert_eq!(std::mem::size_of::<Error>(), std::mem::size_of::<usize>());
    }

    #[test]
    fn only_a_serialization_failure_is_retryable() {
        assert!(Error::retry("lost a race").is_retryable());
        for code in [SqlState::STATEMENT_COMPLETION_UNKNOWN, SqlState::DEADLOCK_DETECTED, SqlState::SYSTEM_ERROR] {
            assert!(!Error::new(code, "x").is_retryable(), "{code}");
        }
    }

    #[test]
    fn no_state_is_named_twice() {
        let mut codes: Vec<_> = SqlState::ALL.iter().map(|(state, _)| state.as_str()).collect();
        codes.sort_unstable();
        let count = codes.len();
        codes.dedup();
        assert_eq!(codes.len(), count);
        assert_eq!(SqlState::parse("40001"), Some(SqlState::SERIALIZATION_FAILURE));
        assert_eq!(SqlState::parse("4000"), None);
    }

    #[test]
    fn the_innermost_position_wins() {
        assert_eq!(Error::syntax("x").at(3).at(9).position, Some(3));
    }

    #[test]
    fn unsupported_names_the_feature() {
        let error = Error::unsupported("CREATE INDEX", "Use the primary key.");
        assert_eq!(error.to_string(), "CREATE INDEX is not supported");
        assert_eq!(
            (error.code, error.hint.as_deref()),
            (SqlState::FEATURE_NOT_SUPPORTED, Some("Use the primary key."))
        );
    }
}
