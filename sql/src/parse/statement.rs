//! The statements that exist here, in the form in which the planner takes them.
//!
//! Queries and row changes keep the library's syntax tree; everything else has a form of its own, with nothing in it that is refused.

use std::sync::Arc;

use sqlparser::ast;

use super::copy::Copy;
use crate::types::Type;

/// A table as a statement names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// The schema, if one was written.
    pub schema: Option<String>,
    /// The table.
    pub name: String,
    /// Where it stands in the text.
    pub position: Option<u32>,
}

/// One parsed statement.
#[derive(Clone, Debug)]
pub enum Statement {
    /// SELECT, VALUES or TABLE.
    Query(Box<ast::Query>),
    /// INSERT.
    Insert(Box<ast::Insert>),
    /// UPDATE.
    Update(Box<ast::Update>),
    /// DELETE.
    Delete(Box<ast::Delete>),
    /// CREATE TABLE.
    CreateTable(Box<CreateTable>),
    /// ALTER TABLE.
    AlterTable(Box<AlterTable>),
    /// DROP TABLE.
    DropTable {
        /// The tables.
        names: Vec<TableName>,
        /// Missing tables are a notice, not an error.
        if_exists: bool,
    },
    /// TRUNCATE.
    Truncate(Vec<TableName>),
    /// COPY, in either direction.
    Copy(Box<Copy>),
    /// EXPLAIN.
    Explain(Explain),
    /// BEGIN and START TRANSACTION.
    Begin(TransactionModes, &'static str),
    /// COMMIT and END.
    Commit {
        /// AND CHAIN.
        chain: bool,
    },
    /// ROLLBACK and ABORT.
    Rollback {
        /// AND CHAIN.
        chain: bool,
    },
    /// SAVEPOINT.
    Savepoint(String),
    /// RELEASE.
    Release(String),
    /// ROLLBACK TO.
    RollbackTo(String),
    /// SET TRANSACTION and SET SESSION CHARACTERISTICS AS TRANSACTION.
    SetTransaction {
        /// The modes.
        modes: TransactionModes,
        /// For all later transactions, not this one.
        session: bool,
    },
    /// SET.
    Set {
        /// How long it lasts.
        scope: SetScope,
        /// The setting.
        name: String,
        /// Its new value.
        value: SetValue,
    },
    /// RESET; `None` for ALL.
    Reset(Option<String>),
    /// SHOW; `None` for ALL.
    Show(Option<String>),
    /// PREPARE.
    Prepare {
        /// The statement's name.
        name: String,
        /// Parameter types that were given.
        types: Vec<Type>,
        /// What to prepare.
        statement: Arc<Statement>,
    },
    /// EXECUTE.
    Execute {
        /// The statement's name.
        name: String,
        /// Its parameters.
        arguments: Vec<ast::Expr>,
    },
    /// DEALLOCATE; `None` for ALL.
    Deallocate(Option<String>),
    /// DECLARE.
    Declare(Declare),
    /// FETCH and MOVE.
    Fetch(Fetch),
    /// CLOSE.
    CloseCursor(String),
    /// DISCARD, with what was named (`ALL`, `PLANS`, `SEQUENCES`, `TEMP`); CLOSE ALL (`CURSORS`) and UNLISTEN * (`CHANNELS`).
    Discard(&'static str),
    /// VACUUM or ANALYZE: nothing to do here.
    Maintenance {
        /// `VACUUM` or `ANALYZE`.
        command: &'static str,
        /// The tables named.
        tables: Vec<TableName>,
    },
}

/// DECLARE: a cursor that goes forward.
#[derive(Clone, Debug)]
pub struct Declare {
    /// The cursor's name.
    pub name: String,
    /// WITH HOLD: it outlives its transaction.
    pub hold: bool,
    /// What it is for.
    pub query: Arc<Statement>,
}

/// FETCH, or MOVE.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The cursor.
    pub cursor: String,
    /// How many rows forward; `None` for another direction.
    pub count: Option<u64>,
    /// MOVE: the rows are passed over.
    pub moves: bool,
}

/// CREATE TABLE.
#[derive(Clone, Debug)]
pub struct CreateTable {
    /// The new table.
    pub name: TableName,
    /// An existing table of that name is a notice, not an error.
    pub if_not_exists: bool,
    /// In order.
    pub columns: Vec<ColumnDefinition>,
    /// The primary key, wherever it was declared.
    pub primary_key: Option<KeyDefinition>,
    /// The placement, if one was written.
    pub distribute_by: Option<DistributeBy>,
}

/// A column of CREATE TABLE or ADD COLUMN.
#[derive(Clone, Debug)]
pub struct ColumnDefinition {
    /// The name.
    pub name: String,
    /// Where it stands in the text.
    pub position: Option<u32>,
    /// The type.
    pub ty: Type,
    /// NOT NULL was written.
    pub not_null: bool,
    /// DEFAULT.
    pub default: Option<ast::Expr>,
    /// PRIMARY KEY was written.
    pub primary_key: bool,
}

/// A primary key.
#[derive(Clone, Debug)]
pub struct KeyDefinition {
    /// The constraint's name, if one was written.
    pub name: Option<String>,
    /// The columns with their places in the text.
    pub columns: Vec<(String, Option<u32>)>,
}

/// Where rows go.
#[derive(Clone, Debug)]
pub enum DistributeBy {
    /// By a hash of these columns.
    Hash(Vec<(String, Option<u32>)>),
    /// A full copy in every replica set.
    Duplicate,
}

/// ALTER TABLE.
#[derive(Clone, Debug)]
pub struct AlterTable {
    /// The table.
    pub name: TableName,
    /// A missing table is a notice, not an error.
    pub if_exists: bool,
    /// What to do, in order.
    pub operations: Vec<AlterOperation>,
}

/// One change of ALTER TABLE.
#[derive(Clone, Debug)]
pub enum AlterOperation {
    /// ADD PRIMARY KEY.
    AddPrimaryKey(KeyDefinition),
    /// ADD COLUMN.
    AddColumn {
        /// The column.
        column: ColumnDefinition,
        /// An existing column of that name is a notice, not an error.
        if_not_exists: bool,
    },
    /// DROP COLUMN.
    DropColumn {
        /// The column.
        name: String,
        /// A missing column is a notice, not an error.
        if_exists: bool,
    },
    /// RENAME TO.
    RenameTable(String),
    /// RENAME COLUMN.
    RenameColumn {
        /// Before.
        from: String,
        /// After.
        to: String,
    },
    /// ALTER COLUMN ... SET DEFAULT, or DROP DEFAULT with `None`.
    SetDefault {
        /// The column.
        column: String,
        /// The new default.
        default: Option<ast::Expr>,
    },
    /// ALTER COLUMN ... SET NOT NULL.
    SetNotNull(String),
    /// ALTER COLUMN ... DROP NOT NULL.
    DropNotNull(String),
}

/// EXPLAIN.
#[derive(Clone, Debug)]
pub struct Explain {
    /// VERBOSE was asked for.
    pub verbose: bool,
    /// What to explain.
    pub statement: Arc<Statement>,
}

/// Options of BEGIN and SET TRANSACTION; `None` where nothing was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TransactionModes {
    /// The level's name as SHOW prints it.
    pub isolation: Option<&'static str>,
    /// READ ONLY or READ WRITE.
    pub read_only: Option<bool>,
    /// `[NOT] DEFERRABLE`.
    pub deferrable: Option<bool>,
}

/// How long a SET lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetScope {
    /// Until the session ends; undone if the transaction is rolled back.
    Session,
    /// Until the transaction ends.
    Local,
}

/// The value of a SET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetValue {
    /// TO DEFAULT.
    Default,
    /// The values as text; several only for list settings.
    Values(Vec<String>),
}
