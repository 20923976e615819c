//! A session: settings, prepared statements, the transaction block, and the life of one statement in it.
//!
//! The gateway turns protocol messages into calls of [`Session`]; it never looks into SQL text itself.
//!
//! - Simple queries: [`Session::simple_query`] with a [`QuerySink`], or, where pulling suits better, [`Session::script`] and
//!   [`Script::next`] until it gives `None`.
//! - Extended queries: [`Session::prepare`], [`Session::execute`] and [`Session::sync`]. Outside a block everything between two Syncs is one implicit
//!   transaction. A gateway that holds an Execute back until it sees the next message can say `then_sync = true` when that is a Sync: the
//!   transaction then commits before the answer is given out, and a lost race (40001) is repeated instead of reported.
//! - After any `Err` the session has already failed or ended its transaction; `status` says which.

mod api;
mod cancel;

pub use api::{Column, CommandTag, CopyFormat, Environment, Notice, QuerySink, Row, Timer, TransactionStatus};
pub use cancel::CancelHandle;

// The contract; bodies follow. All futures are `Send`.
//
// impl Session {
//     pub fn new(database: Arc<dyn Database>, user: String, database_name: String, environment: Environment) -> Result<Session, Error>;
//                                                                           // Err: a startup parameter is invalid (22023)
//     pub async fn prepare(&mut self, sql: &str, parameter_types: &[Option<Type>]) -> Result<Arc<Prepared>, Error>;   // exactly one statement, or none
//     pub async fn execute(&mut self, statement: &Arc<Prepared>, parameters: Vec<Value>, then_sync: bool) -> Result<Execution, Error>;
//     pub async fn sync(&mut self) -> Result<(), Error>;                     // Sync: commits or rolls back an implicit transaction
//     pub async fn simple_query(&mut self, sql: &str, sink: &mut dyn QuerySink) -> Result<(), Error>; // on Err: ErrorResponse then ReadyForQuery
//     pub fn script(&mut self, sql: &str) -> Result<Script, Error>;          // the same by pulling
//     pub fn status(&self) -> TransactionStatus;
//     pub fn parameter_status(&self) -> Vec<(&'static str, String)>;         // all that ParameterStatus reports at the start
//     pub fn parameter_changes(&mut self) -> Vec<(String, String)>;          // those changed since the last call
//     pub fn notices(&mut self) -> Vec<Notice>;                              // since the last call; send before the answer's end
//     pub fn cancellation(&self) -> CancelHandle;
//     pub fn format_style(&self) -> FormatStyle                              // if the value side needs DateStyle, TimeZone, ... to print
//     // Named statements: one namespace for the protocol's and for PREPARE's.
//     pub fn store_statement(&mut self, name: &str, statement: Arc<Prepared>) -> Result<(), Error>;  // 42P05 if taken ("" never is)
//     pub fn statement(&self, name: &str) -> Result<Arc<Prepared>, Error>;   // 26000
//     pub fn close_statement(&mut self, name: &str);
//     pub async fn close(self);                                              // rolls back what is open
// }
// impl Prepared { pub fn parameter_types(&self) -> &[Type]; pub fn columns(&self) -> Option<&[Column]>; pub fn is_empty(&self) -> bool; pub fn sql(&self) -> &str; }
// pub enum Execution { Rows(RowStream), Done(CommandTag), CopyIn(CopyIn), CopyOut(CopyOut), Empty }
// impl RowStream {
//     pub fn columns(&self) -> &[Column];
//     pub async fn next(&mut self, session: &mut Session, max_rows: usize) -> Result<Option<Vec<Row>>, Error>; // None: complete. usize::MAX for all there is
//     pub fn tag(&self) -> CommandTag;                                       // rows given out so far
// }
// impl CopyIn  { pub fn format(&self) -> CopyFormat; pub fn columns(&self) -> usize;
//                pub async fn data(&mut self, session: &mut Session, bytes: &[u8]) -> Result<(), Error>;
//                pub async fn finish(self, session: &mut Session) -> Result<CommandTag, Error>;
//                pub async fn fail(self, session: &mut Session, message: &str) -> Error; }
// impl CopyOut { pub fn format(..), columns(..); pub async fn next(&mut self, session: &mut Session) -> Result<Option<Bytes>, Error>; pub fn tag(&self) -> CommandTag; }
// impl Script  { pub async fn next(&mut self, session: &mut Session) -> Result<Option<Execution>, Error>; } // drain each Execution first; on Err the script is over
