//! COPY: lines to rows and rows to lines.

use bytes::BytesMut;

use super::write::{RowWriter, evaluate};
use super::{Run, SelectStream};
use crate::error::{Error, SqlState};
use crate::format::copy::{CopyOptions, CopyReader, write_record};
use crate::format::{decode_text, encode_text};
use crate::plan::select::SelectPlan;
use crate::plan::write::CopyInPlan;
use crate::storage::Transaction;
use crate::value::Value;

/// COPY FROM under way.
pub struct CopyInState {
    reader: CopyReader,
    writer: RowWriter,
    defaults: Vec<Value>,
    rows: u64,
    since_yield: usize,
}

impl CopyInState {
    /// At the beginning of the data.
    ///
    /// # Errors
    /// What evaluating defaults reports.
    pub fn new(plan: &CopyInPlan, run: &Run) -> Result<CopyInState, Error> {
        Ok(CopyInState {
            reader: CopyReader::new(plan.options.clone()),
            writer: RowWriter::new(false),
            defaults: evaluate(&plan.defaults, run, &[])?,
            rows: 0,
            since_yield: 0,
        })
    }

    /// Takes a piece of the data, of any length.
    ///
    /// # Errors
    /// 22P04 and others with the line as their context.
    pub async fn data(
        &mut self,
        plan: &CopyInPlan,
        run: &Run,
        transaction: &mut dyn Transaction,
        data: &[u8],
    ) -> Result<(), Error> {
        self.reader.push(data);
        while let Some(row) = self.row(plan, run, false)? {
            self.writer.add(&plan.target, &row, transaction).await.map_err(|error| self.in_context(plan, error))?;
            self.rows += 1;
            self.since_yield += 1;
            if self.since_yield >= super::BATCH_ROWS {
                self.since_yield = 0;
                crate::session::yield_now().await;
            }
        }
        Ok(())
    }

    /// Ends the data; the number of rows.
    ///
    /// # Errors
    /// As [`CopyInState::data`].
    pub async fn finish(
        mut self,
        plan: &CopyInPlan,
        run: &Run,
        transaction: &mut dyn Transaction,
    ) -> Result<u64, Error> {
        if let Some(row) = self.row(plan, run, true)? {
            self.writer.add(&plan.target, &row, transaction).await.map_err(|error| self.in_context(plan, error))?;
            self.rows += 1;
        }
        self.writer.flush(&plan.target.table, transaction).await?;
        Ok(self.rows)
    }

    /// The next line as a whole row.
    fn row(&mut self, plan: &CopyInPlan, run: &Run, last: bool) -> Result<Option<Vec<Value>>, Error> {
        let table = &plan.target.table;
        let record = if last { self.reader.finish() } else { self.reader.next_record() };
        let row = match record {
            Ok(None) => return Ok(None),
            Ok(Some(record)) => {
                // A lone empty field is an empty line of a table without columns.
                let given = record.len();
                if given > plan.columns.len() {
                    Err((Error::new(SqlState::BAD_COPY_FILE_FORMAT, "extra data after last expected column"), None))
                } else if given < plan.columns.len() {
                    let missing = &table.columns[plan.columns[given]].name;
                    Err((
                        Error::new(SqlState::BAD_COPY_FILE_FORMAT, format!("missing data for column \"{missing}\"")),
                        None,
                    ))
                } else {
                    let mut row = self.defaults.clone();
                    let read = (0..given).try_for_each(|n| {
                        let column = &table.columns[plan.columns[n]];
                        row[plan.columns[n]] = match record.get(n) {
                            None => Value::Null,
                            Some(text) => {
                                let value = decode_text(text, &column.ty, &run.context.format);
                                value.map_err(|error| (error, Some(format!(", column {}: \"{text}\"", column.name))))?
                            }
                        };
                        Ok(())
                    });
                    read.map(|()| row)
                }
            }
            Err(error) => Err((error, None)),
        };
        row.map(Some).map_err(|(error, field)| {
            error.with_context(format!("COPY {}, line {}{}", table.name, self.reader.line(), field.unwrap_or_default()))
        })
    }

    fn in_context(&self, plan: &CopyInPlan, error: Error) -> Error {
        error.with_context(format!("COPY {}, line {}", plan.target.table.name, self.reader.line()))
    }
}

/// Some lines of COPY TO.
#[derive(Default)]
pub struct CopyLines {
    data: BytesMut,
    /// Where each line ends.
    ends: Vec<usize>,
}

impl CopyLines {
    /// One line after another, each with its line feed. A line is a row, or the header.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.data[start..*end])
    }
}

/// COPY TO under way.
pub struct CopyOutState {
    stream: SelectStream,
    header_due: bool,
    rows: u64,
}

impl CopyOutState {
    /// At the beginning.
    ///
    /// # Errors
    /// As [`SelectStream::new`].
    pub fn new(plan: &SelectPlan, options: &CopyOptions, run: &Run) -> Result<CopyOutState, Error> {
        Ok(CopyOutState { stream: SelectStream::new(plan, run)?, header_due: options.header, rows: 0 })
    }

    /// Rows given out so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The next lines; `None` at the end.
    ///
    /// # Errors
    /// As [`SelectStream::next`].
    pub async fn next(
        &mut self,
        plan: &SelectPlan,
        options: &CopyOptions,
        run: &Run,
        transaction: &mut dyn Transaction,
    ) -> Result<Option<CopyLines>, Error> {
        let CopyLines { data: mut out, ends: mut line_ends } = CopyLines::default();
        if std::mem::take(&mut self.header_due) {
            write_record(plan.columns.iter().map(|column| Some(column.name.as_str())), options, &mut out);
            line_ends.push(out.len());
        }
        if let Some(rows) = self.stream.next(plan, run, transaction).await? {
            let mut text = BytesMut::new();
            let mut ends: Vec<Option<(usize, usize)>> = Vec::with_capacity(plan.columns.len());
            for row in rows {
                text.clear();
                ends.clear();
                for (value, column) in row.iter().zip(&*plan.columns) {
                    let start = text.len();
                    encode_text(value, &column.ty, &run.context.format, &mut text);
                    ends.push((!value.is_null()).then_some((start, text.len())));
                }
                let whole = std::str::from_utf8(&text).map_err(|_| Error::internal("text output is not UTF-8"))?;
                write_record(ends.iter().map(|field| field.map(|(start, end)| &whole[start..end])), options, &mut out);
                line_ends.push(out.len());
                self.rows += 1;
            }
        }
        Ok((!line_ends.is_empty()).then_some(CopyLines { data: out, ends: line_ends }))
    }
}
