//! What clients did and saw: operations with their begin, end and outcome, recorded from many tasks at once.

use std::sync::Mutex;
use std::time::Instant;

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was acknowledged.
    Ok,
    /// It certainly had no effect.
    Refused,
    /// It may take effect at any moment after its begin, or never.
    Unknown,
}

/// One operation of one client.
#[derive(Clone, Debug)]
pub struct Operation<T> {
    /// What was done, and what was seen.
    pub what: T,
    /// Nanoseconds since the recorder was made, when it was sent.
    pub begin: u64,
    /// Nanoseconds since the recorder was made, when its answer was there. Meaningless for [`Outcome::Unknown`].
    pub end: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Collects operations on one clock.
#[derive(Debug)]
pub struct Recorder<T> {
    start: Instant,
    operations: Mutex<Vec<Operation<T>>>,
}

impl<T> Default for Recorder<T> {
    fn default() -> Self {
        Recorder { start: Instant::now(), operations: Mutex::new(Vec::new()) }
    }
}

impl<T> Recorder<T> {
    /// The time to give as `begin` later. To be taken before the request is sent.
    pub fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).expect("tests run for less than 584 years")
    }

    /// Records an operation that ends now.
    pub fn record(&self, begin: u64, what: T, outcome: Outcome) {
        let end = self.now();
        self.operations.lock().expect("no holder panics").push(Operation { what, begin, end, outcome });
    }

    /// All operations so far.
    pub fn take(&self) -> Vec<Operation<T>> {
        std::mem::take(&mut self.operations.lock().expect("no holder panics"))
    }
}
