//! Statements that are parsed, planned and kept.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::api::Column;
use crate::catalog::Catalog;
use crate::error::{Error, SqlState};
use crate::functions::EvalContext;
use crate::parse::{Parsed, Statement, parse};
use crate::plan::Plan;
use crate::types::Type;

/// Texts kept a session.
const TEXTS_MAX: usize = 256;
/// Longer texts are not kept: they hold data and come once.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// One parsed statement with its newest plan.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) parsed: Parsed,
    /// Parameter types that the client gave.
    explicit: Vec<Option<Type>>,
    plan: Mutex<Option<Arc<Plan>>>,
}

impl Compiled {
    pub(super) fn new(parsed: Parsed, explicit: &[Option<Type>]) -> Compiled {
        Compiled { parsed, explicit: explicit.to_vec(), plan: Mutex::new(None) }
    }

    /// A statement within this one, with the same parameters.
    pub(super) fn of(&self, statement: Arc<Statement>) -> Compiled {
        Compiled::new(Parsed { statement, positions: self.parsed.positions.clone() }, &self.explicit)
    }

    /// The same with the parameters' types settled: later plans keep them.
    pub(super) fn settled(self) -> Compiled {
        let plan = self.plan.into_inner().unwrap_or_else(PoisonError::into_inner);
        let explicit = match &plan {
            Some(plan) => plan.parameters.iter().cloned().map(Some).collect(),
            None => self.explicit,
        };
        Compiled { parsed: self.parsed, explicit, plan: Mutex::new(plan) }
    }

    /// The plan at hand, if it holds under `catalog`.
    fn fitting(&self, catalog: &Catalog) -> Option<Arc<Plan>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).clone().filter(|plan| plan.fits(catalog))
    }

    /// The plan under `catalog`: the one at hand if it fits, else a new one.
    ///
    /// # Errors
    /// What planning reports.
    pub(super) fn plan(&self, catalog: &Arc<Catalog>, context: &dyn EvalContext) -> Result<Arc<Plan>, Error> {
        if let Some(plan) = self.fitting(catalog) {
            return Ok(plan);
        }
        let plan = Arc::new(Plan::new(&self.parsed, catalog, context, &self.explicit)?);
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(plan.clone());
        Ok(plan)
    }
}

/// A prepared statement, or the empty one.
#[derive(Debug)]
pub struct Prepared {
    pub(super) compiled: Option<Arc<Compiled>>,
    pub(super) parameters: Vec<Type>,
    pub(super) columns: Option<Arc<[Column]>>,
}

impl Prepared {
    /// The types of its parameters.
    pub fn parameter_types(&self) -> &[Type] {
        &self.parameters
    }

    /// The columns of its result; `None` if it gives no rows.
    pub fn columns(&self) -> Option<&[Column]> {
        self.columns.as_deref()
    }

    /// Whether its plan holds under `catalog`, and gives what was described. (A plan made since may give other columns.)
    pub(super) fn fits(&self, catalog: &Catalog) -> bool {
        let plan = self.compiled.as_ref().and_then(|compiled| compiled.fitting(catalog));
        plan.is_some_and(|plan| match (&plan.columns, &self.columns) {
            (Some(columns), Some(_)) => self.described(columns),
            (columns, described) => columns.is_none() && described.is_none(),
        })
    }

    /// Whether rows of these columns are what was described.
    pub(super) fn described(&self, columns: &[Column]) -> bool {
        let alike = |(a, b): (&Column, &Column)| a.name == b.name && a.ty == b.ty;
        let described = self.columns.as_deref().unwrap_or_default();
        columns.len() == described.len() && columns.iter().zip(described).all(alike)
    }

    /// Whether there is nothing to run.
    pub fn is_empty(&self) -> bool {
        self.compiled.is_none()
    }
}

/// The statements of one text.
type CompiledScript = Arc<[Arc<Compiled>]>;
/// Those that the client gave.
type ParameterTypes = Vec<Option<Type>>;

/// Texts that were parsed already. The least lately used go first.
#[derive(Default)]
pub(super) struct Cache {
    scripts: HashMap<Arc<str>, Entry<CompiledScript>>,
    prepared: HashMap<Arc<str>, Entry<(ParameterTypes, Arc<Prepared>)>>,
    clock: u64,
}

struct Entry<T> {
    used: u64,
    value: T,
}

impl Cache {
    /// The statements of a simple query.
    ///
    /// # Errors
    /// What parsing reports.
    pub(super) fn script(&mut self, sql: &str) -> Result<Arc<[Arc<Compiled>]>, Error> {
        self.clock += 1;
        if let Some(entry) = self.scripts.get_mut(sql) {
            entry.used = self.clock;
            return Ok(entry.value.clone());
        }
        let statements: Arc<[Arc<Compiled>]> =
            parse(sql)?.into_iter().map(|parsed| Arc::new(Compiled::new(parsed, &[]))).collect();
        keep(&mut self.scripts, sql, self.clock, statements.clone());
        Ok(statements)
    }

    /// A statement prepared before, from the same text with the same types.
    pub(super) fn prepared(&mut self, sql: &str, types: &[Option<Type>]) -> Option<Arc<Prepared>> {
        self.clock += 1;
        let entry = self.prepared.get_mut(sql).filter(|entry| entry.value.0 == types)?;
        entry.used = self.clock;
        Some(entry.value.1.clone())
    }

    /// Keeps a prepared statement.
    pub(super) fn keep_prepared(&mut self, sql: &str, types: &[Option<Type>], prepared: &Arc<Prepared>) {
        keep(&mut self.prepared, sql, self.clock, (types.to_vec(), prepared.clone()));
    }

    /// Forgets everything: DISCARD PLANS.
    pub(super) fn clear(&mut self) {
        self.scripts.clear();
        self.prepared.clear();
    }
}

fn keep<T>(entries: &mut HashMap<Arc<str>, Entry<T>>, sql: &str, clock: u64, value: T) {
    if sql.len() > TEXT_BYTES_MAX {
        return;
    }
    if entries.len() >= TEXTS_MAX {
        // Half of them at once, so that looking for the oldest is rare.
        let mut ages: Vec<u64> = entries.values().map(|entry| entry.used).collect();
        let middle = ages.len() / 2;
        let (_, median, _) = ages.select_nth_unstable(middle);
        let median = *median;
        entries.retain(|_, entry| entry.used > median);
    }
    entries.insert(Arc::from(sql), Entry { used: clock, value });
}

/// The only statement of a text, `None` if there is none.
///
/// # Errors
/// 42601 for several.
pub(super) fn single(sql: &str) -> Result<Option<Parsed>, Error> {
    let mut statements = parse(sql)?;
    if statements.len() > 1 {
        return Err(Error::new(SqlState::SYNTAX_ERROR, "cannot insert multiple commands into a prepared statement"));
    }
    Ok(statements.pop())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_bounded_and_keeps_what_is_used() {
        let mut cache = Cache::default();
        for n in 0..TEXTS_MAX * 3 {
            cache.script("select 1").expect("parses");
            cache.script(&format!("select {n} + 1")).expect("parses");
            assert!(cache.scripts.len() <= TEXTS_MAX);
        }
        assert!(cache.scripts.contains_key("select 1"));
        cache.script(&format!("select '{}'", "x".repeat(TEXT_BYTES_MAX))).expect("parses");
        assert!(cache.scripts.keys().all(|text| text.len() <= TEXT_BYTES_MAX));
    }
}
