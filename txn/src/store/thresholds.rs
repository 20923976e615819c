//! What compaction may drop, and the thresholds behind it.
//!
//! Only thresholds that are *durable* count. If compaction followed one that a crash takes back, the log would be replayed over a
//! store that misses what the older threshold still promised: an old outcome, without which a duplicate prepares again,
//! or a version that a replica must read while it catches up.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::kv::Family;
use super::record::{self, VersionHead};
use crate::clock::Timestamp;
use crate::protocol::{GatewayId, TxnId};

/// Thresholds of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Thresholds {
    /// Nobody reads or validates below this.
    pub(crate) garbage: Timestamp,
    /// Outcomes of a gateway below its watermark are forgotten.
    pub(crate) finished_below: BTreeMap<GatewayId, TxnId>,
}

impl Thresholds {
    /// Whether compaction may drop an entry.
    pub(crate) fn is_garbage(&self, family: Family, key: &[u8], value: &[u8]) -> bool {
        match family {
            // A deletion below the threshold leaves nothing that anybody may ask for: reads at or above find no row either way.
            Family::Rows => VersionHead::decode(value).is_some_and(|v| v.deleted && v.changed() <= self.garbage),
            // Who reads at or above the threshold sees the successor, or finds it uncertain: it was committed at or below the threshold.
            Family::History => record::superseded(value).is_some_and(|at| at <= self.garbage),
            Family::Outcomes => record::decode_txn(key)
                .is_some_and(|txn| self.finished_below.get(&txn.gateway()).is_some_and(|below| txn < *below)),
            Family::Prepared | Family::Staged | Family::Meta => false,
        }
    }
}

/// The thresholds that are on disk, shared with the compaction filters.
#[derive(Debug, Default)]
pub(crate) struct DurableThresholds(Mutex<Arc<Thresholds>>);

impl DurableThresholds {
    pub(crate) fn get(&self) -> Arc<Thresholds> {
        self.0.lock().clone()
    }

    pub(crate) fn set(&self, thresholds: Thresholds) {
        *self.0.lock() = Arc::new(thresholds);
    }
}
