//! A session: settings, prepared statements, the transaction block, and the life of one statement in it.
//!
//! The gateway turns protocol messages into calls of [`Session`]; it never looks into SQL text itself.

// Contract (signatures are fixed, the fields are the implementor's):
//
// pub struct Session { .. }
// impl Session {
//     pub fn new(database: Arc<dyn Database>, user: String, database_name: String, environment: Environment) -> Session;
//     /// Splits and parses; a cached compiled plan is used where there is one. Errors carry a position (1-based character).
//     pub async fn prepare(&mut self, sql: &str, parameter_types: &[Option<Type>]) -> Result<Arc<Prepared>, Error>;
//     /// Executes one prepared statement; rows are pulled from the returned portal.
//     pub async fn execute(&mut self, statement: &Arc<Prepared>, parameters: Vec<Value>) -> Result<Execution, Error>;
//     /// All statements of a simple query, as one implicit transaction; results go to `sink` in order.
//     pub async fn simple_query(&mut self, sql: &str, sink: &mut dyn QuerySink) -> Result<(), Error>;
//     /// COPY FROM STDIN: after `Execution::CopyIn` the gateway feeds data and finishes or fails it.
//     /// End of an extended-protocol series (Sync): commits or rolls back an implicit transaction.
//     pub async fn sync(&mut self) -> Result<(), Error>;
//     pub fn status(&self) -> TransactionStatus;   // Idle | InBlock | Failed, for ReadyForQuery
//     pub fn parameter_changes(&mut self) -> Vec<(String, String)>; // ParameterStatus to report
//     pub fn notices(&mut self) -> Vec<Notice>;
//     pub fn cancellation(&self) -> CancelHandle;  // cloneable; cancel() makes the running statement end with 57014
// }
// pub struct Prepared { pub fn parameter_types(&self) -> &[Type]; pub fn columns(&self) -> Option<&[Column]>; .. }
// pub struct Column { pub name: String, pub ty: Type, pub type_modifier: i32, pub table_oid: u32, pub column_no: i16 }
// pub enum Execution { Rows(RowStream), Done(CommandTag), CopyIn(CopyIn), CopyOut(RowStream/bytes stream), Empty }
// A RowStream yields Vec<Row> batches (Row = Vec<Value>) with `next(&mut self, session)` and ends with a CommandTag.
