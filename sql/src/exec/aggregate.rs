//! GROUP BY: one state for each aggregate and group.

use std::collections::HashMap;

use super::select::compare_values;
use super::{Run, row_memory};
use crate::error::Error;
use crate::functions::Accumulator;
use crate::functions::aggregate::Seen;
use crate::plan::level::AggregateCall;
use crate::plan::select::Grouping;
use crate::program::{self, Partial};
use crate::session::Row;
use crate::value::Value;

/// A guess at the size of one group besides its key.
const GROUP_BYTES: usize = 128;

pub(super) struct Groups<'a> {
    grouping: &'a Grouping,
    /// The only group of a query without GROUP BY.
    whole: Option<Vec<State>>,
    groups: HashMap<Row, Vec<State>>,
    /// Keys in the order of their first row, so that answers do not depend on hashing.
    order: Vec<Row>,
    held: usize,
}

/// One aggregate of one group.
struct State {
    accumulator: Box<dyn Accumulator>,
    seen: Option<Seen>,
    /// Arguments to be sorted first, with their sort keys.
    sorted: Option<Vec<(Row, Row)>>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(grouping: &'a Grouping) -> Groups<'a> {
        let whole = grouping.keys.is_empty().then(|| states(grouping));
        Groups { grouping, whole, groups: HashMap::new(), order: Vec::new(), held: 0 }
    }

    /// Takes rows in, and says whether what that holds may be held.
    pub(super) fn take(&mut self, rows: Vec<Row>, run: &Run) -> Result<bool, Error> {
        let scope = run.scope();
        for row in &rows {
            let states = match &mut self.whole {
                Some(states) => states,
                None => {
                    let key: Row =
                        self.grouping.keys.iter().map(|key| key.eval(&scope, row)).collect::<Result<_, _>>()?;
                    if !self.groups.contains_key(&key) {
                        self.held += 2 * row_memory(&key) + GROUP_BYTES * (1 + self.grouping.aggregates.len());
                        self.order.push(key.clone());
                    }
                    self.groups.entry(key).or_insert_with(|| states(self.grouping))
                }
            };
            for (state, call) in states.iter_mut().zip(&self.grouping.aggregates) {
                self.held += state.take(call, &scope, row)?;
            }
        }
        Ok(self.held <= run.work_memory)
    }

    /// Takes in groups that were begun where their rows are, and says whether what that holds may be held.
    pub(super) fn merge(&mut self, output: &[u8], run: &Run) -> Result<bool, Error> {
        for Partial { key, states: saved } in
            program::groups(output, self.grouping.keys.len(), &self.grouping.aggregates)?
        {
            let states = self.states_of(key);
            let mut held = 0;
            for (state, saved) in states.iter_mut().zip(saved) {
                let before = state.accumulator.memory();
                state.accumulator.merge(&saved)?;
                held += state.accumulator.memory().saturating_sub(before);
            }
            self.held += held;
        }
        Ok(self.held <= run.work_memory)
    }

    /// The states of a group, which is a new one if need be.
    fn states_of(&mut self, key: Row) -> &mut Vec<State> {
        let Groups { grouping, whole, groups, order, held } = self;
        match whole {
            Some(states) => states,
            None => {
                if !groups.contains_key(&key) {
                    *held += 2 * row_memory(&key) + GROUP_BYTES * (1 + grouping.aggregates.len());
                    order.push(key.clone());
                }
                groups.entry(key).or_insert_with(|| states(grouping))
            }
        }
    }

    /// One row a group: keys, then results; those for which HAVING holds.
    pub(super) fn finish(mut self, run: &Run) -> Result<Vec<Row>, Error> {
        let scope = run.scope();
        let mut rows = Vec::new();
        let groups: Vec<(Row, Vec<State>)> = match self.whole.take() {
            Some(states) => vec![(Vec::new(), states)],
            None => {
                let mut groups = std::mem::take(&mut self.groups);
                self.order.into_iter().filter_map(|key| groups.remove_entry(&key)).collect()
            }
        };
        for (mut row, states) in groups {
            for (state, call) in states.into_iter().zip(&self.grouping.aggregates) {
                row.push(state.finish(call)?);
            }
            let kept = match &self.grouping.having {
                Some(having) => having.holds(&scope, &row)?,
                None => true,
            };
            if kept {
                rows.push(row);
            }
        }
        Ok(rows)
    }
}

fn states(grouping: &Grouping) -> Vec<State> {
    let state = |call: &AggregateCall| State {
        accumulator: call.function.new_state(),
        seen: call.distinct.then(Seen::default),
        sorted: (!call.order_by.is_empty()).then(Vec::new),
    };
    grouping.aggregates.iter().map(state).collect()
}

impl State {
    /// Takes in one row; the bytes that it holds more than before.
    fn take(
        &mut self,
        call: &AggregateCall,
        scope: &crate::plan::expression::Scope<'_>,
        row: &[Value],
    ) -> Result<usize, Error> {
        if let Some(filter) = &call.filter
            && !filter.holds(scope, row)?
        {
            return Ok(0);
        }
        // count(*), and aggregates over one plain column, need no copies of their arguments.
        if call.arguments.is_empty() {
            self.accumulator.update(&[])?;
            return Ok(0);
        }
        let mut held = 0;
        let arguments: Row =
            call.arguments.iter().map(|argument| argument.eval(scope, row)).collect::<Result<_, _>>()?;
        if let Some(seen) = &mut self.seen {
            let before = seen.memory();
            if !seen.insert(&arguments) {
                return Ok(0);
            }
            held += seen.memory() - before;
        }
        match &mut self.sorted {
            Some(rows) => {
                let keys: Row = call.order_by.iter().map(|(key, ..)| key.eval(scope, row)).collect::<Result<_, _>>()?;
                held += row_memory(&keys) + row_memory(&arguments);
                rows.push((keys, arguments));
            }
            None => {
                let before = self.accumulator.memory();
                self.accumulator.update(&arguments)?;
                held += self.accumulator.memory().saturating_sub(before);
            }
        }
        Ok(held)
    }

    fn finish(mut self, call: &AggregateCall) -> Result<Value, Error> {
        if let Some(mut rows) = self.sorted.take() {
            rows.sort_by(|(a, _), (b, _)| {
                let keys = call.order_by.iter().enumerate();
                keys.map(|(n, (_, _, descending, nulls_first))| compare_values(&a[n], &b[n], *descending, *nulls_first))
                    .find(|order| order.is_ne())
                    .unwrap_or(std::cmp::Ordering::Equal)
            });
            for (_, arguments) in rows {
                self.accumulator.update(&arguments)?;
            }
        }
        self.accumulator.finish()
    }
}
