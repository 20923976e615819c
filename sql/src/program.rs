//! Programs of scans: what is done with rows where they are read, before anything of them travels.
//!
//! A program filters rows, keeps the columns wanted, and perhaps groups them and begins the work of their aggregates. The gateway makes it of a plan
//! (`exec`), as bytes that only this module reads; an element runs it over the rows of one page ([`Runner`]), without a session, a catalog or a clock:
//! expressions that would need one of them do not travel ([`expression`]). The gateway reads what comes out with [`rows`] and [`groups`]. Expressions
//! and aggregates are the same code at both ends, so values and errors are the same wherever a row is met.
//!
//! A row that fails a program fails the scan, with the error that the gateway would have reported.

mod expression;
mod run;
mod wire;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use run::{Runner, Stopped, over};
pub use wire::{decode_error, encode_error};

use crate::error::Error;
use crate::plan::expression::Expr;
use crate::plan::level::AggregateCall;
use crate::row::RowCodec;
use crate::types::Type;
use crate::value::{Row, Value};
use expression::{Call, Form};
use wire::{Raw, damaged, put, take};

pub(crate) use expression::Fixed;

/// Larger programs are not sent: they go with every page.
pub const PROGRAM_BYTES_MAX: usize = 64 << 10;

/// A program as it travels.
#[derive(Serialize, Deserialize)]
struct Wire {
    /// The columns of the stored row, and what those that a row lacks read as.
    layout: Vec<(Type, Value)>,
    /// The stored columns that expressions see.
    ordinals: Vec<usize>,
    filter: Option<Form>,
    output: Output,
    /// Ends the page once so many rows have come out.
    limit: Option<u64>,
}

/// What comes out of a program.
#[derive(Serialize, Deserialize)]
enum Output {
    /// Rows: the columns at these places, behind the row's key if that is wanted.
    Rows { places: Vec<usize>, keyed: bool },
    /// Groups: their keys, and the states of their aggregates.
    Groups { keys: Vec<Form>, calls: Vec<Call> },
}

/// What a program is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) codec: &'a RowCodec,
    pub(crate) ordinals: &'a [usize],
    pub(crate) filter: &'a [Expr],
    pub(crate) output: Wanted<'a>,
    pub(crate) limit: Option<u64>,
}

/// What is to come out of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted<'a> {
    Rows { places: &'a [usize], keyed: bool },
    Groups { keys: &'a [Expr], calls: &'a [AggregateCall] },
}

/// Whether an expression can be part of a program.
pub(crate) fn travels(expr: &Expr) -> bool {
    expression::of(expr, &mut |_| Some(Value::Null)).is_some()
}

/// Whether an aggregate can be begun by a program.
pub(crate) fn call_travels(call: &AggregateCall) -> bool {
    expression::of_call(call, &mut |_| Some(Value::Null)).is_some()
}

/// The program as bytes; `None` if it cannot travel.
pub(crate) fn encode(parts: &Parts<'_>, fixed: Fixed<'_>) -> Option<Bytes> {
    let mut filter = Vec::with_capacity(parts.filter.len());
    for condition in parts.filter {
        filter.push(expression::of(condition, fixed)?);
    }
    let filter = if filter.len() > 1 { Some(Form::And(filter)) } else { filter.pop() };
    let output = match parts.output {
        Wanted::Rows { places, keyed } => Output::Rows { places: places.to_vec(), keyed },
        Wanted::Groups { keys, calls } => {
            let mut forms = Vec::with_capacity(keys.len());
            for key in keys {
                forms.push(expression::of(key, fixed)?);
            }
            let mut begun = Vec::with_capacity(calls.len());
            for call in calls {
                begun.push(expression::of_call(call, fixed)?);
            }
            Output::Groups { keys: forms, calls: begun }
        }
    };
    let wire = Wire {
        layout: parts.codec.layout().map(|(ty, missing)| (ty.clone(), missing.clone())).collect(),
        ordinals: parts.ordinals.to_vec(),
        filter,
        output,
        limit: parts.limit,
    };
    let bytes = postcard::to_allocvec(&wire).ok().filter(|bytes| bytes.len() <= PROGRAM_BYTES_MAX)?;
    Some(bytes.into())
}

/// Rows with their keys, as a program with keys gives them; the rows are still encoded.
///
/// # Errors
/// XX000 for other bytes.
pub fn keyed_rows(output: &Bytes) -> Result<Vec<(Bytes, Bytes)>, Error> {
    let mut rest: &[u8] = output;
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let key: &[u8] = take(&mut rest)?;
        let row: &[u8] = take(&mut rest)?;
        rows.push((output.slice_ref(key), output.slice_ref(row)));
    }
    Ok(rows)
}

/// The output of a program with keys that gives these rows.
///
/// # Errors
/// XX000 if there is too much of it.
pub fn from_keyed_rows(rows: &[(Bytes, Bytes)]) -> Result<Bytes, Error> {
    let mut out = Vec::with_capacity(rows.iter().map(|(key, row)| key.len() + row.len() + 6).sum());
    for (key, row) in rows {
        put(&Raw(key), &mut out)?;
        put(&Raw(row), &mut out)?;
    }
    Ok(out.into())
}

/// The rows of a program's output, of this width; at other places than those that came is NULL.
pub(crate) fn rows(output: &[u8], width: usize, places: &[usize], keyed: bool) -> Result<Vec<Row>, Error> {
    let mut rest = output;
    let mut rows = Vec::new();
    if !keyed && places.is_empty() {
        // Nothing of the rows was wanted but their number.
        let count: u64 = take(&mut rest)?;
        return Ok(vec![vec![Value::Null; width]; usize::try_from(count).map_err(damaged)?]);
    }
    while !rest.is_empty() {
        let mut row = vec![Value::Null; width];
        if keyed {
            let _key: &[u8] = take(&mut rest)?;
            let mut values: &[u8] = take(&mut rest)?;
            for place in places {
                row[*place] = take(&mut values)?;
            }
        } else {
            for place in places {
                row[*place] = take(&mut rest)?;
            }
        }
        rows.push(row);
    }
    Ok(rows)
}

/// One group of a program's output: its keys, and what each aggregate has saved.
pub(crate) struct Partial {
    pub(crate) key: Row,
    pub(crate) states: Vec<Row>,
}

/// The groups of a program's output, in the order of their first rows.
pub(crate) fn groups(output: &[u8], keys: usize, calls: &[AggregateCall]) -> Result<Vec<Partial>, Error> {
    let widths: Vec<usize> = calls.iter().map(|call| call.function.state_types().len()).collect();
    let mut rest = output;
    let mut groups = Vec::new();
    let many = |count: usize, rest: &mut &[u8]| (0..count).map(|_| take(rest)).collect::<Result<Row, Error>>();
    while !rest.is_empty() {
        let key = many(keys, &mut rest)?;
        let states = widths.iter().map(|width| many(*width, &mut rest)).collect::<Result<_, _>>()?;
        groups.push(Partial { key, states });
    }
    Ok(groups)
}

#[cfg(test)]
mod tests;
