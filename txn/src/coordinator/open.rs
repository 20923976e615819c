//! Snapshots at which transactions of this gateway still read; the oldest travels with every message, and garbage
//! collection stays below it. A leader that has not heard of one in time is not wrong, only unhelpful: reads below its
//! threshold are refused (rule 12 in `docs/transactions.md`).

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::clock::Timestamp;

#[derive(Debug, Default)]
pub(crate) struct OpenSnapshots(Mutex<BTreeMap<Timestamp, u32>>);

impl OpenSnapshots {
    pub(crate) fn open(&self, at: Timestamp) {
        *self.0.lock().entry(at).or_insert(0) += 1;
    }

    pub(crate) fn close(&self, at: Timestamp) {
        let mut open = self.0.lock();
        let count = open.get_mut(&at).expect("only open snapshots are closed");
        *count -= 1;
        if *count == 0 {
            open.remove(&at);
        }
    }

    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.0.lock().first_key_value().map(|(at, _)| *at)
    }
}
