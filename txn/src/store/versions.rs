//! How rows are read: at a snapshot, newest, or only whether they have changed.
//!
//! A version is visible at a snapshot when its commit and its outcome are at or below it, uncertain when only its prepare is
//! (rule 3 in `docs/transactions.md`). At a cut the commit alone decides (rule 17). `rows` holds every key that has a version anybody may still read, so a scan walks `rows` alone
//! and looks into `history` only for keys whose newest version is too new. Both are read without a common picture: a version
//! moves from `rows` to `history` in the batch that writes its successor, so whoever finds the successor first
//! finds the version after it.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::kv::{Family, KeyRange};
use super::page::{Page, after};
use super::record::{self, VersionHead};
use super::{Store, StoreError};
use crate::clock::Timestamp;
use crate::protocol::{NewestRow, ReadAnswer, ReadOp, ReadResult, Span, TxnId};
use crate::traits::Programs;

/// A snapshot, and how to read at it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadAt {
    pub(crate) snapshot: Timestamp,
    /// Merge staged writes of this transaction.
    pub(crate) own: Option<TxnId>,
    /// The snapshot is a cut (rule 17): a version is visible if its commit is at or below it, and nothing is uncertain.
    pub(crate) cut: bool,
}

/// One row at a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RowAt {
    Absent,
    Value(Bytes),
    Uncertain(Timestamp),
}

/// What a snapshot sees in a version.
enum Sight<'v> {
    Absent,
    Value(&'v [u8]),
    Uncertain(Timestamp),
    /// Prepared above the snapshot: look at older ones.
    TooNew,
}

impl Sight<'_> {
    /// The row, unless older versions have to be looked at.
    fn row(&self) -> Option<RowAt> {
        match self {
            Sight::Absent => Some(RowAt::Absent),
            Sight::Value(value) => Some(RowAt::Value(Bytes::copy_from_slice(value))),
            Sight::Uncertain(outcome) => Some(RowAt::Uncertain(*outcome)),
            Sight::TooNew => None,
        }
    }
}

impl Store {
    /// Answers reads at a snapshot. Intents are the caller's business.
    pub(crate) fn read(&self, at: ReadAt, reads: &[ReadOp], programs: &dyn Programs) -> Result<ReadAnswer, StoreError> {
        let mut results = Vec::with_capacity(reads.len());
        for read in reads {
            let result = match read {
                ReadOp::Get { key } => match self.row_at(at, key)? {
                    RowAt::Absent => ReadResult::Value(None),
                    RowAt::Value(value) => ReadResult::Value(Some(value)),
                    RowAt::Uncertain(outcome) => return Ok(ReadAnswer::Uncertain(outcome)),
                },
                ReadOp::Scan { start, end, reverse, rows_max, bytes_max, program } => {
                    let bounds = (*reverse, *rows_max, *bytes_max);
                    let page = match program.as_ref().map(|program| programs.begin(program)) {
                        None => Page::new(bounds, None),
                        Some(Ok(program)) => Page::new(bounds, Some(program)),
                        Some(Err(wrong)) => {
                            results.push(ReadResult::Output { result: Err(wrong), resume: None });
                            continue;
                        }
                    };
                    match self.scan_at(at, start, end, page)? {
                        Ok(result) => result,
                        Err(outcome) => return Ok(ReadAnswer::Uncertain(outcome)),
                    }
                }
            };
            results.push(result);
        }
        Ok(ReadAnswer::Rows(results))
    }

    /// One row at a snapshot.
    pub(crate) fn row_at(&self, at: ReadAt, key: &[u8]) -> Result<RowAt, StoreError> {
        if let Some(own) = at.own
            && let Some((txn, value)) = self.staged(key)?
            && txn == own
        {
            return Ok(value.map_or(RowAt::Absent, RowAt::Value));
        }
        let mut sight = None;
        self.kv.get(Family::Rows, key, &mut |version| sight = Some(see(at, version).map(|sight| sight.row())))?;
        match sight {
            None => Ok(RowAt::Absent),
            Some(sight) => match sight.ok_or_else(|| self.malformed(Family::Rows))? {
                Some(row) => Ok(row),
                None => self.older_row_at(at, key),
            },
        }
    }

    fn older_row_at(&self, at: ReadAt, key: &[u8]) -> Result<RowAt, StoreError> {
        let prefix = record::history_prefix(key);
        let start = record::history_key(key, at.snapshot);
        let mut row = RowAt::Absent;
        let range = KeyRange { start: Some(&start), end: None, reverse: false };
        self.kv.scan(Family::History, range, &mut |entry, value| {
            if !entry.starts_with(&prefix) {
                return Ok(ControlFlow::Break(()));
            }
            let sight = record::history_version(value).and_then(|version| see(at, version));
            match sight.ok_or_else(|| self.malformed(Family::History))?.row() {
                Some(found) => {
                    row = found;
                    Ok(ControlFlow::Break(()))
                }
                None => Ok(ControlFlow::Continue(())),
            }
        })?;
        Ok(row)
    }

    /// A page of a range at a snapshot; `Err` with an outcome's timestamp when a version is uncertain.
    fn scan_at(
        &self,
        at: ReadAt,
        start: &Bytes,
        end: &Bytes,
        mut page: Page,
    ) -> Result<Result<ReadResult, Timestamp>, StoreError> {
        let own = match at.own {
            Some(own) if start < end => self.staged_page(own, start, end, &page)?,
            _ => StagedPage::default(),
        };
        // Rows beyond the last staged write that fitted are left to the next page, or a staged write might be passed over.
        let (start, end) = match (&own.resume, page.reverse) {
            (Some(resume), false) => (start, resume),
            (Some(resume), true) => (resume, end),
            (None, _) => (start, end),
        };
        let mut own_rows = own.rows.into_iter().peekable();
        let mut uncertain = None;
        if start < end {
            let range = KeyRange { start: Some(start), end: Some(end), reverse: page.reverse };
            self.kv.scan(Family::Rows, range, &mut |key, version| {
                while let Some((own_key, value)) = own_rows.next_if(|(k, _)| page.before(k, key)) {
                    if page.push(&own_key, value.as_deref()).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                if let Some((own_key, value)) = own_rows.next_if(|(k, _)| k == key) {
                    return Ok(page.push(&own_key, value.as_deref()));
                }
                if page.is_late(key) {
                    return Ok(ControlFlow::Break(()));
                }
                match see(at, version).ok_or_else(|| self.malformed(Family::Rows))? {
                    Sight::Absent => Ok(ControlFlow::Continue(())),
                    Sight::Value(value) => Ok(page.push(key, Some(value))),
                    Sight::Uncertain(outcome) => {
                        uncertain = Some(outcome);
                        Ok(ControlFlow::Break(()))
                    }
                    Sight::TooNew => match self.older_row_at(at, key)? {
                        RowAt::Absent => Ok(ControlFlow::Continue(())),
                        RowAt::Value(value) => Ok(page.push(key, Some(&value))),
                        RowAt::Uncertain(outcome) => {
                            uncertain = Some(outcome);
                            Ok(ControlFlow::Break(()))
                        }
                    },
                }
            })?;
        }
        if let Some(outcome) = uncertain {
            return Ok(Err(outcome));
        }
        // Those behind a full page come with the next one.
        for (key, value) in own_rows {
            if page.is_full() || page.push(&key, value.as_deref()).is_break() {
                break;
            }
        }
        Ok(Ok(page.finish(own.resume)))
    }

    /// The transaction's own staged writes in a range, as many as a page may hold.
    fn staged_page(&self, own: TxnId, start: &Bytes, end: &Bytes, page: &Page) -> Result<StagedPage, StoreError> {
        let mut staged = StagedPage::default();
        let mut bytes = 0;
        let range = KeyRange { start: Some(start), end: Some(end), reverse: page.reverse };
        self.kv.scan(Family::Staged, range, &mut |key, entry| {
            let (txn, value) = record::decode_staged(entry).map_err(|_| self.malformed(Family::Staged))?;
            if txn != own {
                return Ok(ControlFlow::Continue(()));
            }
            bytes += key.len() + value.map_or(0, <[u8]>::len);
            staged.rows.push((Bytes::copy_from_slice(key), value.map(Bytes::copy_from_slice)));
            if staged.rows.len() >= page.rows_max || bytes >= page.bytes_max {
                staged.resume = Some(after(key, page.reverse));
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok(staged)
    }

    /// The newest committed value of a key.
    pub(crate) fn newest(&self, key: &[u8]) -> Result<NewestRow, StoreError> {
        let mut found = None;
        self.kv.get(Family::Rows, key, &mut |version| {
            found = Some(VersionHead::split(version).map(|(head, value)| NewestRow {
                value: (!head.deleted).then(|| Bytes::copy_from_slice(value)),
                changed: head.changed(),
            }));
        })?;
        match found {
            None => Ok(NewestRow { value: None, changed: Timestamp::ZERO }),
            Some(row) => row.ok_or_else(|| self.malformed(Family::Rows)),
        }
    }

    /// The newest version of a key, deleted or not.
    pub(crate) fn newest_head(&self, key: &[u8]) -> Result<Option<VersionHead>, StoreError> {
        let mut head = None;
        self.kv.get(Family::Rows, key, &mut |version| head = Some(VersionHead::decode(version)))?;
        head.map(|head| head.ok_or_else(|| self.malformed(Family::Rows))).transpose()
    }

    /// A key of the span with a version newer than the snapshot, and who wrote it.
    pub(crate) fn changed_since(&self, span: &Span, snapshot: Timestamp) -> Result<Option<(Bytes, TxnId)>, StoreError> {
        let Some(end) = &span.end else {
            let head = self.newest_head(&span.start)?;
            return Ok(head.filter(|head| head.changed() > snapshot).map(|head| (span.start.clone(), head.txn)));
        };
        let mut found = None;
        if span.start < *end {
            let range = KeyRange { start: Some(&span.start), end: Some(end), reverse: false };
            self.kv.scan(Family::Rows, range, &mut |key, version| {
                let head = VersionHead::decode(version).ok_or_else(|| self.malformed(Family::Rows))?;
                if head.changed() > snapshot {
                    found = Some((Bytes::copy_from_slice(key), head.txn));
                    return Ok(ControlFlow::Break(()));
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(found)
    }

    /// The staged write of a key.
    pub(crate) fn staged(&self, key: &[u8]) -> Result<Option<(TxnId, Option<Bytes>)>, StoreError> {
        let mut found = None;
        self.kv.get(Family::Staged, key, &mut |entry| {
            found = Some(record::decode_staged(entry).map(|(txn, value)| (txn, value.map(Bytes::copy_from_slice))));
        })?;
        found.transpose().map_err(|_| self.malformed(Family::Staged))
    }

    /// A key of the span that is staged by a transaction to which the test applies.
    pub(crate) fn staged_in(
        &self,
        span: &Span,
        test: &dyn Fn(TxnId) -> bool,
    ) -> Result<Option<(Bytes, TxnId)>, StoreError> {
        let Some(end) = &span.end else {
            let staged = self.staged(&span.start)?;
            return Ok(staged.filter(|(txn, _)| test(*txn)).map(|(txn, _)| (span.start.clone(), txn)));
        };
        let mut found = None;
        if span.start < *end {
            let range = KeyRange { start: Some(&span.start), end: Some(end), reverse: false };
            self.kv.scan(Family::Staged, range, &mut |key, entry| {
                let (txn, _) = record::decode_staged(entry).map_err(|_| self.malformed(Family::Staged))?;
                if test(txn) {
                    found = Some((Bytes::copy_from_slice(key), txn));
                    return Ok(ControlFlow::Break(()));
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(found)
    }
}

/// What a snapshot sees in an encoded version; `None` if that is malformed.
fn see(at: ReadAt, version: &[u8]) -> Option<Sight<'_>> {
    let (head, value) = VersionHead::split(version)?;
    if head.prepare > at.snapshot {
        return Some(Sight::TooNew);
    }
    if head.changed() > at.snapshot {
        if !at.cut {
            return Some(Sight::Uncertain(head.changed()));
        }
        if head.commit > at.snapshot {
            return Some(Sight::TooNew);
        }
    }
    Some(if head.deleted { Sight::Absent } else { Sight::Value(value) })
}

#[derive(Default)]
struct StagedPage {
    rows: Vec<(Bytes, Option<Bytes>)>,
    resume: Option<Bytes>,
}
