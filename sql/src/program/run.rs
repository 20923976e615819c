//! Running a program over the rows of a page.

use std::collections::HashMap;

use bytes::Bytes;

use super::wire::{Raw, put, take};
use super::{Output, Wire};
use crate::error::Error;
use crate::format::FormatSettings;
use crate::functions::{Accumulator, EvalContext};
use crate::plan::expression::{Expr, Scope};
use crate::plan::level::AggregateCall;
use crate::row::RowCodec;
use crate::value::{Row, Value};

/// Ends a page once so many bytes have come out.
const OUTPUT_BYTES: usize = 1 << 20;
/// Ends a page once so many rows have come out, for they are larger once decoded.
const OUTPUT_ROWS: u64 = 8192;
/// Ends a page once it has so many groups, for they are in memory until it ends.
const GROUPS_MAX: usize = 4096;

/// A program at work on one page.
pub struct Runner {
    codec: RowCodec,
    /// Decoded for every row, and for those that pass: places in the row that expressions see, and ordinals.
    first: Vec<(usize, usize)>,
    then: Vec<(usize, usize)>,
    filter: Option<Expr>,
    limit: u64,
    work: Work,
    /// The row at hand.
    row: Row,
    session: Nobody,
    /// Rows that have passed.
    passed: u64,
}

enum Work {
    Rows { places: Vec<usize>, keyed: bool, out: Vec<u8>, scratch: Vec<u8> },
    Groups(Box<Groups>),
}

struct Groups {
    keys: Vec<Expr>,
    calls: Vec<AggregateCall>,
    groups: Vec<(Row, States)>,
    places: HashMap<Row, usize>,
    /// About how many bytes the groups hold.
    held: usize,
    /// A state could not take a row in: it may have taken a part of it.
    failed: Option<Error>,
}

type States = Vec<Box<dyn Accumulator>>;

impl Runner {
    /// A program at the beginning of a page.
    ///
    /// # Errors
    /// XX000 for bytes that are no program of this version.
    pub fn new(program: &[u8]) -> Result<Runner, Error> {
        let mut rest = program;
        let Wire { layout, ordinals, filter, output, limit } = take(&mut rest)?;
        let mut codec = RowCodec::new(layout.iter().map(|(ty, _)| ty.clone()));
        for (ordinal, (_, missing)) in layout.into_iter().enumerate() {
            codec = codec.with_missing(ordinal, missing);
        }
        let width = ordinals.len();
        if ordinals.iter().any(|ordinal| *ordinal >= codec.len()) {
            return Err(Error::internal("a program names a column that its table does not have"));
        }
        let mut early = vec![false; width];
        let mut late = vec![false; width];
        let filter = filter.map(|form| form.expr()).transpose()?;
        note(filter.iter(), &mut early)?;
        let work = match output {
            Output::Rows { places, keyed } => {
                for place in &places {
                    *late.get_mut(*place).ok_or_else(no_place)? = true;
                }
                Work::Rows { places, keyed, out: Vec::new(), scratch: Vec::new() }
            }
            Output::Groups { keys, calls } => {
                let keys = keys.into_iter().map(|form| form.expr()).collect::<Result<Vec<_>, _>>()?;
                let calls = calls.into_iter().map(|call| call.call()).collect::<Result<Vec<_>, _>>()?;
                note(keys.iter(), &mut late)?;
                for call in &calls {
                    note(call.arguments.iter().chain(&call.filter), &mut late)?;
                }
                let mut groups =
                    Groups { groups: Vec::new(), places: HashMap::new(), held: 0, failed: None, keys, calls };
                if groups.keys.is_empty() {
                    groups.groups.push((Row::new(), groups.states()));
                }
                Work::Groups(Box::new(groups))
            }
        };
        let wanted = |which: &[bool]| {
            (0..width).filter(|place| which[*place]).map(|place| (place, ordinals[place])).collect::<Vec<_>>()
        };
        late.iter_mut().zip(&early).for_each(|(late, early)| *late &= !early);
        Ok(Runner {
            first: wanted(&early),
            then: wanted(&late),
            codec,
            filter,
            limit: limit.unwrap_or(u64::MAX),
            work,
            row: vec![Value::Null; width],
            session: Nobody::default(),
            passed: 0,
        })
    }

    /// Takes a row in, and says whether the page has to end with it.
    ///
    /// # Errors
    /// What the gateway would report for this row. What came before it stays as it is.
    pub fn take(&mut self, key: &[u8], value: &[u8]) -> Result<bool, Error> {
        let Runner { codec, first, then, filter, limit, work, row, session, passed } = self;
        codec.decode_into(value, first, row)?;
        let scope = Scope { context: session, parameters: &[], slots: &[] };
        if let Some(filter) = filter
            && !filter.holds(&scope, row)?
        {
            return Ok(false);
        }
        codec.decode_into(value, then, row)?;
        let full = match work {
            Work::Rows { places, keyed: true, out, scratch } => {
                scratch.clear();
                for place in places.iter() {
                    put(&row[*place], scratch)?;
                }
                put(&Raw(key), out)?;
                put(&Raw(scratch), out)?;
                out.len() >= OUTPUT_BYTES || *passed >= OUTPUT_ROWS
            }
            Work::Rows { places, out, .. } => {
                for place in places.iter() {
                    put(&row[*place], out)?;
                }
                // Of rows without columns their number comes out.
                out.len() >= OUTPUT_BYTES || (*passed >= OUTPUT_ROWS && !places.is_empty())
            }
            Work::Groups(groups) => groups.take(&scope, row)?,
        };
        *passed += 1;
        Ok(full || *passed >= *limit)
    }

    /// What comes out.
    ///
    /// # Errors
    /// 22003 for sums that no value holds.
    pub fn finish(self) -> Result<Bytes, Error> {
        match self.work {
            Work::Rows { places, keyed: false, mut out, .. } if places.is_empty() => {
                put(&self.passed, &mut out)?;
                Ok(out.into())
            }
            Work::Rows { out, .. } => Ok(out.into()),
            Work::Groups(groups) => {
                if let Some(error) = groups.failed {
                    return Err(error);
                }
                let mut out = Vec::new();
                // Without rows there is nothing to say, not even of the one group of a query without GROUP BY.
                if self.passed > 0 {
                    for (key, states) in &groups.groups {
                        key.iter().try_for_each(|value| put(value, &mut out))?;
                        for state in states {
                            state.save()?.iter().try_for_each(|value| put(value, &mut out))?;
                        }
                    }
                }
                Ok(out.into())
            }
        }
    }
}

impl Groups {
    fn states(&self) -> States {
        self.calls.iter().map(|call| call.function.new_state()).collect()
    }

    fn take(&mut self, scope: &Scope<'_>, row: &[Value]) -> Result<bool, Error> {
        // Everything is worked out before any state changes.
        let key: Row = self.keys.iter().map(|key| key.eval(scope, row)).collect::<Result<_, _>>()?;
        let mut arguments: Vec<Option<Row>> = Vec::with_capacity(self.calls.len());
        for call in &self.calls {
            let counts = match &call.filter {
                Some(filter) => filter.holds(scope, row)?,
                None => true,
            };
            arguments.push(if counts {
                Some(call.arguments.iter().map(|argument| argument.eval(scope, row)).collect::<Result<_, _>>()?)
            } else {
                None
            });
        }
        let place = if self.keys.is_empty() {
            0
        } else if let Some(place) = self.places.get(&key) {
            *place
        } else {
            let place = self.groups.len();
            self.held += 2 * crate::exec::row_memory(&key);
            self.groups.push((key.clone(), self.states()));
            self.places.insert(key, place);
            place
        };
        for (state, arguments) in self.groups[place].1.iter_mut().zip(arguments) {
            let Some(arguments) = arguments else { continue };
            let before = state.memory();
            if let Err(error) = state.update(&arguments) {
                self.failed = Some(error);
                return Ok(true);
            }
            self.held += state.memory().saturating_sub(before);
        }
        Ok(self.groups.len() >= GROUPS_MAX || self.held >= OUTPUT_BYTES)
    }
}

fn note<'a>(exprs: impl Iterator<Item = &'a Expr>, used: &mut [bool]) -> Result<(), Error> {
    let mut beyond = false;
    for expr in exprs {
        expr.walk(&mut |part| {
            if let Expr::Column(place) = part {
                match used.get_mut(*place) {
                    Some(used) => *used = true,
                    None => beyond = true,
                }
            }
        });
    }
    if beyond { Err(no_place()) } else { Ok(()) }
}

#[cold]
fn no_place() -> Error {
    Error::internal("a program refers to a place that its rows do not have")
}

/// Where a program stopped: the row that failed it, and why. What came before that row is done.
#[derive(Debug)]
pub struct Stopped {
    /// The row's place among those given.
    pub at: usize,
    /// What is wrong with it.
    pub error: Error,
}

/// Runs a program over rows that are here already; what comes out, and where it stopped if it did not come to the end.
///
/// # Errors
/// As [`Runner::new`] and [`Runner::finish`].
pub fn over(program: &[u8], rows: &[(Bytes, Bytes)]) -> Result<(Bytes, Option<Stopped>), Error> {
    let mut runner = Runner::new(program)?;
    // All of them are done, however many come out.
    runner.limit = u64::MAX;
    let mut stopped = None;
    for (at, (key, value)) in rows.iter().enumerate() {
        if let Err(error) = runner.take(key, value) {
            stopped = Some(Stopped { at, error });
            break;
        }
    }
    Ok((runner.finish()?, stopped))
}

/// The session of programs: there is none, and nothing that travels asks for it.
#[derive(Default)]
struct Nobody(FormatSettings);

impl EvalContext for Nobody {
    fn transaction_timestamp(&self) -> i64 {
        0
    }

    fn statement_timestamp(&self) -> i64 {
        0
    }

    fn format(&self) -> &FormatSettings {
        &self.0
    }

    fn setting(&self, _: &str) -> Option<String> {
        None
    }

    fn change_setting(&self, name: &str, _: &str, _: bool) -> Result<String, Error> {
        Err(Error::internal(format!("setting {name} changed where there is no session")))
    }

    fn database(&self) -> &str {
        ""
    }

    fn user(&self) -> &str {
        ""
    }

    fn backend_pid(&self) -> i32 {
        0
    }
}
