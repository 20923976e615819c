//! Transaction ids of one gateway process, and its low watermark: every id below it is finished, that is, its client has been
//! answered and its outcome is applied at every replica set that could hold something of it. A set that has the
//! watermark in its log may forget those outcomes, and answers a late duplicate "forgotten" (rule 10 in
//! `docs/transactions.md`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::protocol::{GatewayId, TxnId};

#[derive(Debug)]
pub(crate) struct Ids {
    gateway: GatewayId,
    inner: Mutex<Inner>,
    /// The watermark, readable without the lock.
    low: AtomicU64,
    /// Set when the coordinator stops: nobody takes care of what is open any more, so the watermark stays.
    frozen: AtomicBool,
    /// Woken whenever nothing is open.
    idle: Notify,
}

#[derive(Debug)]
struct Inner {
    next: u64,
    open: BTreeSet<u64>,
}

/// A transaction that is not finished. The transaction itself and every background job about it hold one; the id counts as
/// finished when the last of them is dropped.
#[derive(Debug)]
pub(crate) struct Unfinished {
    ids: Arc<Ids>,
    txn: TxnId,
}

impl Unfinished {
    pub(crate) fn txn(&self) -> TxnId {
        self.txn
    }

    /// The same id, without holding the watermark back.
    pub(crate) fn detached(&self) -> Arc<Unfinished> {
        let ids = Ids::new(self.txn.gateway(), 0);
        ids.freeze();
        Arc::new(Unfinished { ids, txn: self.txn })
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        self.ids.finish(self.txn);
    }
}

impl Ids {
    pub(crate) fn new(gateway: GatewayId, first: u64) -> Arc<Self> {
        Arc::new(Ids {
            gateway,
            inner: Mutex::new(Inner { next: first, open: BTreeSet::new() }),
            low: AtomicU64::new(TxnId::new(gateway, first).0),
            frozen: AtomicBool::new(false),
            idle: Notify::new(),
        })
    }

    pub(crate) fn gateway(&self) -> GatewayId {
        self.gateway
    }

    /// A new id; it holds the watermark back until it is finished.
    pub(crate) fn begin(self: &Arc<Self>) -> Arc<Unfinished> {
        let mut inner = self.inner.lock();
        let counter = inner.next;
        inner.next += 1;
        inner.open.insert(counter);
        drop(inner);
        Arc::new(Unfinished { ids: Arc::clone(self), txn: TxnId::new(self.gateway, counter) })
    }

    fn finish(&self, txn: TxnId) {
        if self.frozen.load(Ordering::Acquire) {
            return;
        }
        let mut inner = self.inner.lock();
        let known = inner.open.remove(&txn.counter());
        assert!(known, "{txn:?} finished twice");
        let low = inner.open.first().copied().unwrap_or(inner.next);
        self.low.store(TxnId::new(self.gateway, low).0, Ordering::Release);
        if inner.open.is_empty() {
            self.idle.notify_waiters();
        }
    }

    /// All ids below this one are finished.
    pub(crate) fn watermark(&self) -> TxnId {
        TxnId(self.low.load(Ordering::Acquire))
    }

    /// Ids that are not finished.
    pub(crate) fn open(&self) -> usize {
        self.inner.lock().open.len()
    }

    /// Returns once nothing is open.
    pub(crate) async fn idle(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Stops the watermark for good.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_stays_below_the_oldest_unfinished_id() {
        let gateway = GatewayId::new(5, 3);
        let ids = Ids::new(gateway, 7);
        assert_eq!(ids.watermark(), TxnId::new(gateway, 7));
        let (a, b, c) = (ids.begin(), ids.begin(), ids.begin());
        let job = Arc::clone(&a);
        drop(b);
        drop(a);
        assert_eq!(ids.watermark(), job.txn(), "a background job still holds it");
        drop(job);
        assert_eq!(ids.watermark(), c.txn());
        drop(c);
        assert_eq!(ids.watermark(), TxnId::new(gateway, 10));
        let d = ids.begin();
        ids.freeze();
        drop(d);
        assert_eq!(ids.watermark(), TxnId::new(gateway, 10));
    }
}
