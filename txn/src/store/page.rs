//! A page of a scan while it is being filled: rows, or what a program makes of them.
//!
//! A page without a program ends when it has enough rows or bytes. One with a program ends when the program has met enough of them, says so, or has worked
//! long enough, whatever came out: the reader asks again, others get their turn, and who gave up asking is not worked for. A row that the program fails
//! on ends the page before it; only if it is the first one the page is an error. So an error is reported when the scan has come to
//! the row, and not before.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::apply::next_key;
use crate::protocol::ReadResult;
use crate::traits::RowProgram;

/// How long a program may work on one page.
const PROGRAM_TIME: Duration = Duration::from_millis(10);
/// The time is looked at whenever so many entries were met.
const TIME_EVERY: usize = 4;

/// Where a scan goes on after a key.
pub(super) fn after(key: &[u8], reverse: bool) -> Bytes {
    if reverse {
        return Bytes::copy_from_slice(key);
    }
    next_key(key)
}

/// Where a scan goes on before a key.
fn before(key: &[u8], reverse: bool) -> Bytes {
    // Ascending scans begin with a key, descending ones end behind it.
    after(key, !reverse)
}

/// The page.
pub(super) struct Page {
    pub(super) reverse: bool,
    pub(super) rows_max: usize,
    pub(super) bytes_max: usize,
    bytes: usize,
    rows: Vec<(Bytes, Bytes)>,
    /// Where the next page goes on, once this one is full.
    full: Option<Bytes>,
    program: Option<Running>,
}

/// The program of a page.
struct Running {
    program: Box<dyn RowProgram>,
    /// Rows that it has taken in.
    rows: usize,
    /// Entries met since the time was looked at.
    met: usize,
    began: Instant,
    wrong: Option<Bytes>,
}

impl Page {
    /// An empty page: whether it goes backwards, its most rows and bytes, and its program.
    pub(super) fn new((reverse, rows_max, bytes_max): (bool, u32, u32), program: Option<Box<dyn RowProgram>>) -> Self {
        let (rows_max, bytes_max) = (rows_max.max(1) as usize, bytes_max.max(1) as usize);
        let program = program.map(|program| Running { program, rows: 0, met: 0, began: Instant::now(), wrong: None });
        Page { reverse, rows_max, bytes_max, bytes: 0, rows: Vec::new(), full: None, program }
    }

    /// Whether nothing more may be added.
    pub(super) fn is_full(&self) -> bool {
        self.full.is_some()
    }

    /// Whether a key comes before another in the page's order.
    pub(super) fn before(&self, key: &[u8], other: &[u8]) -> bool {
        if self.reverse { key > other } else { key < other }
    }

    /// Ends the page before an entry, deleted or not, if its program has worked long enough. A page always comes beyond its first entry.
    pub(super) fn is_late(&mut self, key: &[u8]) -> bool {
        let Some(running) = &mut self.program else { return false };
        running.met += 1;
        if running.met % TIME_EVERY != 0 || running.began.elapsed() < PROGRAM_TIME {
            return false;
        }
        self.full = Some(before(key, self.reverse));
        true
    }

    /// Adds a row, unless it is deleted; breaks when the page is full.
    pub(super) fn push(&mut self, key: &[u8], value: Option<&[u8]>) -> ControlFlow<()> {
        let Some(value) = value else { return ControlFlow::Continue(()) };
        self.bytes += key.len() + value.len();
        let (rows, full) = match &mut self.program {
            None => {
                self.rows.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
                (self.rows.len(), false)
            }
            Some(running) => match running.program.row(key, value) {
                Ok(full) => {
                    running.rows += 1;
                    (running.rows, full)
                }
                Err(wrong) if running.rows == 0 => {
                    running.wrong = Some(wrong);
                    (1, true)
                }
                Err(_) => {
                    self.full = Some(before(key, self.reverse));
                    return ControlFlow::Break(());
                }
            },
        };
        if full || rows >= self.rows_max || self.bytes >= self.bytes_max {
            self.full = Some(after(key, self.reverse));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// The result; `beyond` is where the scan was cut short for another reason than a full page.
    pub(super) fn finish(self, beyond: Option<Bytes>) -> ReadResult {
        let resume = self.full.or(beyond);
        match self.program {
            None => ReadResult::Page { rows: self.rows, resume },
            Some(Running { wrong: Some(wrong), .. }) => ReadResult::Output { result: Err(wrong), resume },
            Some(running) => ReadResult::Output { result: running.program.finish(), resume },
        }
    }
}
