//! The life of a session: messages in, calls of the session, answers out.
//!
//! Every error fails the transaction, those that the session does not see too (a parameter that cannot be read, a portal that does not exist). After
//! an error in the extended protocol everything up to the next Sync is skipped. Portals live until the transaction ends, or goes back to a savepoint
//! made before them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_sql::error::Error;
use quorate_sql::session::{CommandTag, Execution, RowStream, Session, TransactionStatus};

use crate::extended::Portals;
use crate::io::{Close, Io};
use crate::message::{self, Formats, Frame, violation};
use crate::registry::Member;
use crate::reply::{self, Severity};
use crate::values;

/// What stops the work on a message.
pub(crate) enum Trouble {
    /// The statement failed; the session goes on.
    Statement(Error),
    /// The session ends.
    Close(Close),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble::Statement(error)
    }
}

impl From<Close> for Trouble {
    fn from(close: Close) -> Trouble {
        Trouble::Close(close)
    }
}

/// How far the rows of a portal were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// All of them.
    Complete,
    /// The limit came first.
    Suspended,
}

/// A session with its client.
pub struct Conversation {
    pub(crate) io: Io,
    pub(crate) session: Session,
    pub(crate) portals: Portals,
    member: Arc<Member>,
    /// An error was sent: skip to the next Sync.
    skipping: bool,
}

impl Conversation {
    /// A session whose greeting is in the output buffer.
    pub fn new(mut io: Io, session: Session, member: Arc<Member>) -> Conversation {
        io.flush_wanted = true;
        Conversation { io, session, portals: Portals::default(), member, skipping: false }
    }

    /// Runs the session to its end. `farewell` bounds the time for the last message.
    pub async fn run(mut self, farewell: Duration) {
        let close = loop {
            match self.io.next().await {
                Ok(frame) => {
                    self.member.message();
                    let answered = match self.answer_at_once(&frame) {
                        Some(result) => self.finish(result).await,
                        None => self.answer(frame).await,
                    };
                    if let Err(close) = answered {
                        break close;
                    }
                    if let Err(close) = self.io.flush_if_large().await {
                        break close;
                    }
                }
                Err(close) => break close,
            }
        };
        // What is open is rolled back before the client hears of its end, so that its next session finds no lock of this one.
        let Conversation { mut io, session, .. } = self;
        session.close().await;
        if let Close::Fatal(error) = close {
            tracing::debug!(code = %error.code, message = %error.message, "session ended");
            reply::error(&error, Severity::Fatal, &mut io.output);
            if let Ok(Err(error)) = tokio::time::timeout(farewell, io.flush_at_end()).await {
                tracing::debug!(%error, "farewell not sent");
            }
        }
    }

    /// Answers the messages that wait for nothing; `None` for the others.
    fn answer_at_once(&mut self, frame: &Frame) -> Option<Result<(), Trouble>> {
        if self.skipping && !matches!(frame.kind, b'S' | b'X') {
            return Some(Ok(()));
        }
        Some(match frame.kind {
            b'B' => self.bind(&frame.body),
            b'D' => self.describe(&frame.body),
            b'C' => self.close(&frame.body),
            b'H' => {
                self.io.flush_wanted = true;
                Ok(())
            }
            b'S' if !self.session.sync_commits() => {
                self.skipping = false;
                self.ready();
                Ok(())
            }
            // What a client had under way when its COPY failed.
            b'd' | b'c' | b'f' => Ok(()),
            _ => return None,
        })
    }

    async fn answer(&mut self, frame: Frame) -> Result<(), Close> {
        let body = frame.body;
        let result = match frame.kind {
            b'Q' => {
                self.portals.close("");
                let result = self.simple_query(&body).await;
                self.settle(result).await?;
                self.ready();
                return Ok(());
            }
            b'S' => {
                self.skipping = false;
                let result = self.io.drive(self.session.sync()).await.map_err(Trouble::from);
                self.settle(result).await?;
                self.ready();
                return Ok(());
            }
            b'P' => self.parse(&body).await,
            b'E' => self.execute(&body).await,
            b'F' => {
                self.settle(Err(Error::unsupported("the function call protocol", "Use SELECT.").into())).await?;
                self.ready();
                return Ok(());
            }
            b'X' => return Err(Close::Gone),
            kind => return Err(Close::Fatal(violation(format!("unexpected message type {kind}")))),
        };
        self.finish(result).await
    }

    /// The end of a message of the extended protocol: after an error the others up to Sync are skipped.
    async fn finish(&mut self, result: Result<(), Trouble>) -> Result<(), Close> {
        if !self.settle(result).await? {
            self.skipping = true;
        }
        Ok(())
    }

    /// Sends the error that a message ended with, if any; false then.
    async fn settle(&mut self, result: Result<(), Trouble>) -> Result<bool, Close> {
        let error = match result {
            Ok(()) => return Ok(true),
            Err(Trouble::Close(close)) => return Err(close),
            Err(Trouble::Statement(error)) => error,
        };
        // The session has done so for its own errors, and does it once.
        self.io.drive(self.session.fail(&error)).await;
        // A statement that was cancelled because the session has to end: say that, not that it was cancelled.
        self.member.check()?;
        self.report_notices();
        reply::error(&error, Severity::Error, &mut self.io.output);
        self.io.flush_wanted = true;
        Ok(false)
    }

    /// ReadyForQuery, and what goes with it.
    fn ready(&mut self) {
        let status = self.session.status();
        self.member.set_status(status);
        if status == TransactionStatus::Idle {
            self.portals.clear();
        }
        for (name, value) in self.session.parameter_changes() {
            if name == "application_name" {
                self.member.set_application_name(&value);
            }
            reply::parameter_status(&name, &value, &mut self.io.output);
        }
        reply::ready(status, &mut self.io.output);
        self.io.flush_wanted = true;
    }

    async fn simple_query(&mut self, body: &Bytes) -> Result<(), Trouble> {
        let sql = message::decode_text(body)?;
        let mut script = self.session.script(sql)?;
        while let Some(execution) = self.io.drive(script.next(&mut self.session)).await? {
            match execution {
                Execution::Rows(mut rows) => {
                    reply::row_description(rows.columns(), &Formats::Text, &mut self.io.output);
                    self.send_rows(&mut rows, &Formats::Text, None).await?;
                    self.complete(&rows.tag());
                }
                Execution::Done(tag) => self.complete(&tag),
                Execution::CopyIn(copy) => self.copy_in(copy).await?,
                Execution::CopyOut(copy) => self.copy_out(copy).await?,
                Execution::Empty => reply::empty_query(&mut self.io.output),
            }
            self.io.flush_if_large().await?;
        }
        Ok(())
    }

    /// Sends rows, `limit` at most.
    pub(crate) async fn send_rows(
        &mut self,
        rows: &mut RowStream,
        formats: &Formats,
        limit: Option<usize>,
    ) -> Result<Progress, Trouble> {
        let mut left = limit.unwrap_or(usize::MAX);
        while left > 0 {
            let Some(batch) = self.io.drive(rows.next(&mut self.session, left)).await? else {
                return Ok(Progress::Complete);
            };
            debug_assert!(batch.len() <= left, "the stream gives no more than it was asked for");
            for row in &batch {
                values::put_row(row, rows.columns(), formats, self.session.format_settings(), &mut self.io.output)?;
                self.io.flush_if_large().await?;
            }
            if limit.is_some() {
                left = left.saturating_sub(batch.len());
            }
        }
        Ok(Progress::Suspended)
    }

    /// CommandComplete, after the notices of the statement.
    pub(crate) fn complete(&mut self, tag: &CommandTag) {
        self.report_notices();
        if let Some(savepoints) = self.session.portals_end() {
            self.portals.close_since(savepoints);
        }
        reply::complete(tag, &mut self.io.output);
    }

    fn report_notices(&mut self) {
        for notice in self.session.notices() {
            reply::notice(&notice, &mut self.io.output);
        }
    }
}
