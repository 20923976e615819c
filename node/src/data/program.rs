//! The programs of scans: made by the SQL engine at a gateway, run by an element beside its rows.
//!
//! To the transaction layer they are bytes, and so are the errors that they report; both are the SQL engine's.

use bytes::Bytes;
use quorate_sql::error::Error;
use quorate_sql::program::{self, Runner};
use quorate_txn::traits::{Programs, RowProgram};

/// Runs the SQL engine's programs.
#[derive(Clone, Copy, Debug)]
pub struct SqlPrograms;

struct Running(Runner);

fn wrong(error: Error) -> Bytes {
    program::encode_error(&error).into()
}

impl Programs for SqlPrograms {
    fn begin(&self, program: &[u8]) -> Result<Box<dyn RowProgram>, Bytes> {
        match Runner::new(program) {
            Ok(runner) => Ok(Box::new(Running(runner))),
            Err(error) => Err(wrong(error)),
        }
    }
}

impl RowProgram for Running {
    fn row(&mut self, key: &[u8], value: &[u8]) -> Result<bool, Bytes> {
        self.0.take(key, value).map_err(wrong)
    }

    fn finish(self: Box<Self>) -> Result<Bytes, Bytes> {
        self.0.finish().map_err(wrong)
    }
}
