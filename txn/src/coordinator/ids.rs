//! Transaction ids of one gateway process, and its low watermark: every id below it is finished, that is, its client has been
//! answered and its outcome is applied at every replica set that could hold something of it. A set that has the
//! watermark in its log may forget those outcomes, and answers a late duplicate "forgotten" (ARCHITECTURE §6, rule 10).

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::protocol::{GatewayId, TxnId};

/// Bits of an id that count within one gateway process.
pub(crate) const COUNTER_BITS: u32 = 35;

#[derive(Debug)]
pub(crate) struct Ids {
    base: u64,
    inner: Mutex<Inner>,
    /// The watermark, readable without the lock.
    low: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    next: u64,
    open: BTreeSet<u64>,
}

impl Ids {
    pub(crate) fn new(gateway: GatewayId, first: u64) -> Self {
        let base = u64::from(gateway.0) << COUNTER_BITS;
        assert!(base >> 63 == 0, "instance numbers have 10 bits");
        Ids { base, inner: Mutex::new(Inner { next: first, open: BTreeSet::new() }), low: AtomicU64::new(base | first) }
    }

    /// A new id; it holds the watermark back until it is finished.
    pub(crate) fn begin(&self) -> TxnId {
        let mut inner = self.inner.lock();
        let counter = inner.next;
        assert!(counter >> COUNTER_BITS == 0, "34 thousand million transactions in one process");
        inner.next += 1;
        inner.open.insert(counter);
        TxnId(self.base | counter)
    }

    pub(crate) fn finish(&self, txn: TxnId) {
        let mut inner = self.inner.lock();
        let known = inner.open.remove(&(txn.0 & ((1 << COUNTER_BITS) - 1)));
        debug_assert!(known, "{txn:?} finished twice");
        let low = inner.open.first().copied().unwrap_or(inner.next);
        self.low.store(self.base | low, Ordering::Release);
    }

    /// All ids below this one are finished.
    pub(crate) fn watermark(&self) -> TxnId {
        TxnId(self.low.load(Ordering::Acquire))
    }

    /// Ids that are not finished.
    pub(crate) fn open(&self) -> usize {
        self.inner.lock().open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_stays_below_the_oldest_unfinished_id() {
        let ids = Ids::new(GatewayId(5), 7);
        let base = 5u64 << COUNTER_BITS;
        assert_eq!(ids.watermark(), TxnId(base | 7));
        let (a, b, c) = (ids.begin(), ids.begin(), ids.begin());
        ids.finish(b);
        assert_eq!(ids.watermark(), a);
        ids.finish(a);
        assert_eq!(ids.watermark(), c);
        ids.finish(c);
        assert_eq!(ids.watermark(), TxnId(base | 10));
        assert_eq!(ids.open(), 0);
    }
}
