//! The programs of scans: made by the SQL engine at a gateway, run by an element beside its rows.
//!
//! To the transaction layer they are bytes, and so are the errors that they report; both are the SQL engine's.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use quorate_sql::error::Error;
use quorate_sql::program::{self, Runner};
use quorate_txn::traits::{Programs, RowProgram};

/// Runs the SQL engine's programs.
#[derive(Clone, Copy, Debug)]
pub struct SqlPrograms;

/// A program at work; `None` once a panic has left it in a state that nobody knows. Programs come from any session, so a panic is an error of the
/// statement (XX000), and nobody else's.
struct Running(Option<Runner>);

fn wrong(error: Error) -> Bytes {
    program::encode_error(&error).into()
}

fn panicked() -> Bytes {
    wrong(Error::internal("working out the rows at a replica panicked; the log of its instance says where"))
}

impl Programs for SqlPrograms {
    fn begin(&self, program: &[u8]) -> Result<Box<dyn RowProgram>, Bytes> {
        match Runner::new(program) {
            Ok(runner) => Ok(Box::new(Running(Some(runner)))),
            Err(error) => Err(wrong(error)),
        }
    }
}

impl RowProgram for Running {
    fn row(&mut self, key: &[u8], value: &[u8]) -> Result<bool, Bytes> {
        let runner = self.0.as_mut().ok_or_else(panicked)?;
        catch_unwind(AssertUnwindSafe(|| runner.take(key, value))).map_or_else(
            |_| {
                self.0 = None;
                Err(panicked())
            },
            |full| full.map_err(wrong),
        )
    }

    fn finish(self: Box<Self>) -> Result<Bytes, Bytes> {
        let runner = self.0.ok_or_else(panicked)?;
        catch_unwind(AssertUnwindSafe(|| runner.finish()))
            .map_or_else(|_| Err(panicked()), |output| output.map_err(wrong))
    }
}
