//! Locks in a leader's memory: exclusive on keys, shared on spans. They make transactions wait instead of fail; nothing that is
//! promised rests on them.
//!
//! Keys have a holder and a queue in order of arrival. A waiter waits for the holder and for all before it in the queue; if it
//! holds locks itself (somewhere) and is younger than one of them, it gives up once nothing has moved for the deadlock
//! timeout. In every circle of waiters the youngest waits for an older one, so no deadlock lasts. Shared spans keep writers
//! out: a later request for a key within waits, and a commit that writes into a span held by another is refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::protocol::{GatewayId, Patience, Span, TxnId};

/// A waiter's fate: granted, or whom it waited for in vain.
pub(crate) type Fate = Result<(), Option<TxnId>>;

/// Whether a lock is there at once.
#[derive(Debug)]
pub(crate) enum Acquired {
    Now,
    /// Resolves when the lock is granted or given up; closes when the leader's memory is gone.
    Later(oneshot::Receiver<Fate>),
}

#[derive(Debug, Default)]
pub(crate) struct LockTable {
    keys: BTreeMap<Bytes, KeyLock>,
    /// Keys with waiters; few, while a transaction may hold very many keys.
    queued: BTreeSet<Bytes>,
    spans: Vec<SpanLock>,
    owners: BTreeMap<TxnId, Owner>,
    arrivals: u64,
}

#[derive(Debug, Default)]
struct KeyLock {
    holder: Option<(TxnId, u64)>,
    queue: VecDeque<Waiter>,
}

#[derive(Debug)]
struct SpanLock {
    span: Span,
    txn: TxnId,
    age: u64,
    arrival: u64,
    /// `None` once granted.
    waiting: Option<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    txn: TxnId,
    age: u64,
    arrival: u64,
    holds_locks: bool,
    until: Duration,
    /// When something last moved that this waits for.
    moved: Duration,
    fate: oneshot::Sender<Fate>,
}

#[derive(Debug, Default)]
struct Owner {
    keys: BTreeSet<Bytes>,
}

impl LockTable {
    /// Locks a key, at once or later.
    pub(crate) fn lock(&mut self, now: Duration, txn: TxnId, patience: &Patience, key: &Bytes) -> Acquired {
        let free = self.spans_allow(key, txn, u64::MAX);
        let lock = self.keys.entry(key.clone()).or_default();
        match lock.holder {
            Some((holder, _)) if holder == txn => return Acquired::Now,
            None if free && lock.queue.is_empty() => {
                lock.holder = Some((txn, patience.age));
                self.owners.entry(txn).or_default().keys.insert(key.clone());
                return Acquired::Now;
            }
            _ => {}
        }
        self.arrivals += 1;
        let (waiter, fate) = waiter(now, txn, patience, self.arrivals);
        lock.queue.push_back(waiter);
        self.queued.insert(key.clone());
        Acquired::Later(fate)
    }

    /// Locks a span against writers, at once or later.
    pub(crate) fn lock_shared(&mut self, now: Duration, txn: TxnId, patience: &Patience, span: &Span) -> Acquired {
        if self.spans.iter().any(|lock| lock.txn == txn && lock.waiting.is_none() && lock.span == *span) {
            return Acquired::Now;
        }
        self.arrivals += 1;
        let arrival = self.arrivals;
        let mut lock = SpanLock { span: span.clone(), txn, age: patience.age, arrival, waiting: None };
        self.owners.entry(txn).or_default();
        if self.keys_allow(&lock) {
            self.spans.push(lock);
            return Acquired::Now;
        }
        let (waiter, fate) = waiter(now, txn, patience, arrival);
        lock.waiting = Some(waiter);
        self.spans.push(lock);
        Acquired::Later(fate)
    }

    /// Another transaction whose lock forbids writing a key.
    pub(crate) fn forbids(&self, key: &Bytes, txn: TxnId) -> Option<TxnId> {
        let holder = self.keys.get(key).and_then(|lock| lock.holder).map(|(holder, _)| holder);
        holder.filter(|holder| *holder != txn).or_else(|| {
            let held =
                self.spans.iter().find(|lock| lock.txn != txn && lock.waiting.is_none() && lock.span.contains(key));
            held.map(|lock| lock.txn)
        })
    }

    /// Spans that other transactions hold and that overlap one.
    pub(crate) fn shared_within(&self, span: &Span, txn: TxnId) -> Vec<(Span, TxnId)> {
        let held =
            self.spans.iter().filter(|lock| lock.txn != txn && lock.waiting.is_none() && lock.span.overlaps(span));
        held.map(|lock| (lock.span.clone(), lock.txn)).collect()
    }

    /// Drops the locks and the waiting requests of a transaction, and grants what becomes free.
    pub(crate) fn release(&mut self, now: Duration, txn: TxnId) {
        let Some(owner) = self.owners.remove(&txn) else {
            self.forget_waiters(now, txn);
            return;
        };
        for key in &owner.keys {
            if let Some(lock) = self.keys.get_mut(key)
                && lock.holder.is_some_and(|(holder, _)| holder == txn)
            {
                lock.holder = None;
            }
        }
        let spans: Vec<Span> = self.spans.iter().filter(|lock| lock.txn == txn).map(|lock| lock.span.clone()).collect();
        self.spans.retain(|lock| lock.txn != txn);
        self.forget_waiters(now, txn);
        for key in owner.keys {
            self.grant_key(now, &key);
        }
        self.grant_in_spans(now, &spans);
        self.grant_spans(now);
    }

    /// Transactions with locks, of one gateway process or of all, in order.
    pub(crate) fn owners(&self) -> impl Iterator<Item = TxnId> + '_ {
        self.owners.keys().copied()
    }

    /// Each transaction that waits, with the one whose lock it waits for.
    pub(crate) fn waits(&self) -> Vec<(TxnId, TxnId)> {
        let mut waits = Vec::new();
        for key in &self.queued {
            let Some(lock) = self.keys.get(key) else { continue };
            for waiter in &lock.queue {
                let held = lock.holder.map(|(holder, _)| holder).into_iter();
                let shared = self.spans.iter().filter(|span| span.waiting.is_none() && span.span.contains(key));
                waits.extend(held.chain(shared.map(|span| span.txn)).map(|holder| (waiter.txn, holder)));
            }
        }
        for span in self.spans.iter().filter(|span| span.waiting.is_some()) {
            waits.extend(holders_in(&self.keys, &span.span).map(|(holder, _)| (span.txn, holder)));
        }
        waits.retain(|(waiter, holder)| waiter != holder);
        waits.sort_unstable();
        waits.dedup();
        waits
    }

    /// Transactions of a gateway that hold locks and have a lower id than `below`.
    pub(crate) fn owners_below(&self, gateway: GatewayId, below: TxnId) -> Vec<TxnId> {
        let first = TxnId::new(gateway, 0);
        if below <= first {
            return Vec::new();
        }
        self.owners.range(first..below).map(|(txn, _)| *txn).collect()
    }

    /// Ends the waiting of those whose time is over, or who may be part of a deadlock.
    pub(crate) fn expire(&mut self, now: Duration, deadlock_timeout: Duration) {
        let mut tried = Vec::new();
        for key in &self.queued {
            let lock = self.keys.get_mut(key).expect("a key with waiters has a lock");
            let before = lock.queue.len();
            let mut ahead: Vec<(u64, TxnId)> = lock.holder.iter().map(|(txn, age)| (*age, *txn)).collect();
            let holder = lock.holder.map(|(txn, _)| txn);
            let mut kept = VecDeque::with_capacity(before);
            for waiter in lock.queue.drain(..) {
                let younger = ahead.iter().any(|other| (waiter.age, waiter.txn) > *other);
                let stuck = waiter.holds_locks && younger && now >= waiter.moved + deadlock_timeout;
                if waiter.fate.is_closed() {
                    continue;
                }
                if stuck || now >= waiter.until {
                    // Whoever waited may have gone; then nobody needs to know.
                    let _ = waiter.fate.send(Err(holder));
                    continue;
                }
                ahead.push((waiter.age, waiter.txn));
                kept.push_back(waiter);
            }
            lock.queue = kept;
            if lock.queue.len() < before {
                tried.push(key.clone());
            }
        }
        let gone = self.expire_spans(now, deadlock_timeout);
        for key in tried {
            self.grant_key(now, &key);
        }
        self.grant_in_spans(now, &gone);
        self.grant_spans(now);
    }

    /// A span waits for holders of keys in it; it gives up after the deadlock timeout if it is younger than one of them.
    fn expire_spans(&mut self, now: Duration, deadlock_timeout: Duration) -> Vec<Span> {
        let mut gone = Vec::new();
        let keys = &self.keys;
        self.spans.retain_mut(|lock| {
            let Some(waiter) = &lock.waiting else { return true };
            let ahead = holders_in(keys, &lock.span).filter(|(txn, _)| *txn != lock.txn);
            let younger = ahead.into_iter().any(|(txn, age)| (lock.age, lock.txn) > (age, txn));
            let stuck = waiter.holds_locks && younger && now >= waiter.moved + deadlock_timeout;
            if !stuck && now < waiter.until && !waiter.fate.is_closed() {
                return true;
            }
            let holder = holders_in(keys, &lock.span).map(|(txn, _)| txn).find(|txn| *txn != lock.txn);
            if let Some(waiter) = lock.waiting.take() {
                let _ = waiter.fate.send(Err(holder));
            }
            gone.push(lock.span.clone());
            false
        });
        gone
    }

    fn forget_waiters(&mut self, now: Duration, txn: TxnId) {
        let mut tried = Vec::new();
        for key in &self.queued {
            let lock = self.keys.get_mut(key).expect("a key with waiters has a lock");
            let before = lock.queue.len();
            lock.queue.retain(|waiter| waiter.txn != txn);
            if lock.queue.len() < before {
                tried.push(key.clone());
            }
        }
        let spans: Vec<Span> = self.spans.iter().filter(|lock| lock.txn == txn).map(|lock| lock.span.clone()).collect();
        self.spans.retain(|lock| lock.txn != txn);
        for key in tried {
            self.grant_key(now, &key);
        }
        self.grant_in_spans(now, &spans);
    }

    /// Whether no shared span of another transaction keeps a key from being locked by a request of this arrival.
    fn spans_allow(&self, key: &Bytes, txn: TxnId, arrival: u64) -> bool {
        !self.spans.iter().any(|lock| {
            lock.txn != txn && (lock.waiting.is_none() || lock.arrival < arrival) && lock.span.contains(key)
        })
    }

    /// Whether no key of the span is held by, or was asked for earlier by, another transaction.
    fn keys_allow(&self, span: &SpanLock) -> bool {
        !keys_in(&self.keys, &span.span).any(|(_, lock)| {
            lock.holder.is_some_and(|(holder, _)| holder != span.txn)
                || lock.queue.iter().any(|waiter| waiter.txn != span.txn && waiter.arrival < span.arrival)
        })
    }

    /// Hands a free key to the first in its queue who still waits.
    fn grant_key(&mut self, now: Duration, key: &Bytes) {
        while let Some(lock) = self.keys.get(key) {
            if lock.queue.is_empty() {
                self.queued.remove(key);
            }
            if lock.holder.is_some() {
                return;
            }
            let Some(front) = lock.queue.front() else {
                self.keys.remove(key);
                return;
            };
            if !self.spans_allow(key, front.txn, front.arrival) {
                return;
            }
            let lock = self.keys.get_mut(key).expect("it was there above");
            let waiter = lock.queue.pop_front().expect("it has a front");
            for other in &mut lock.queue {
                other.moved = now;
            }
            if waiter.fate.send(Ok(())).is_ok() {
                lock.holder = Some((waiter.txn, waiter.age));
                if lock.queue.is_empty() {
                    self.queued.remove(key);
                }
                self.owners.entry(waiter.txn).or_default().keys.insert(key.clone());
                return;
            }
        }
    }

    fn grant_in_spans(&mut self, now: Duration, spans: &[Span]) {
        for span in spans {
            let keys: Vec<Bytes> = keys_in(&self.keys, span).map(|(key, _)| key.clone()).collect();
            for key in keys {
                self.grant_key(now, &key);
            }
        }
    }

    fn grant_spans(&mut self, now: Duration) {
        for at in 0..self.spans.len() {
            if self.spans[at].waiting.is_some() && self.keys_allow(&self.spans[at]) {
                let waiter = self.spans[at].waiting.take().expect("it waits");
                // If nobody waits any more, the lock ends with its transaction like any other.
                let _ = waiter.fate.send(Ok(()));
            } else if let Some(waiter) = &mut self.spans[at].waiting {
                waiter.moved = waiter.moved.max(now);
            }
        }
    }
}

fn waiter(now: Duration, txn: TxnId, patience: &Patience, arrival: u64) -> (Waiter, oneshot::Receiver<Fate>) {
    let (fate, receiver) = oneshot::channel();
    let until = now + Duration::from_millis(u64::from(patience.limit_ms));
    let holds_locks = patience.holds_locks;
    (Waiter { txn, age: patience.age, arrival, holds_locks, until, moved: now, fate }, receiver)
}

fn keys_in<'a>(
    keys: &'a BTreeMap<Bytes, KeyLock>,
    span: &Span,
) -> impl Iterator<Item = (&'a Bytes, &'a KeyLock)> + use<'a> {
    let end = span.end.clone().unwrap_or_else(|| crate::apply::next_key(&span.start));
    let range = (span.start < end).then(|| keys.range(span.start.clone()..end));
    range.into_iter().flatten()
}

fn holders_in<'a>(keys: &'a BTreeMap<Bytes, KeyLock>, span: &Span) -> impl Iterator<Item = (TxnId, u64)> + use<'a> {
    keys_in(keys, span).filter_map(|(_, lock)| lock.holder)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_millis(100);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    fn patience(age: u64, holds_locks: bool) -> Patience {
        Patience { txn: None, age, holds_locks, limit_ms: 5000 }
    }

    fn k() -> Bytes {
        Bytes::from_static(b"k")
    }

    fn fate(acquired: &mut Acquired) -> Option<Fate> {
        match acquired {
            Acquired::Now => Some(Ok(())),
            Acquired::Later(receiver) => receiver.try_recv().ok(),
        }
    }

    #[test]
    fn a_key_goes_from_one_to_the_next_in_order_of_arrival() {
        let mut locks = LockTable::default();
        assert_eq!(fate(&mut locks.lock(ms(0), TxnId(1), &patience(1, false), &k())), Some(Ok(())));
        let mut second = locks.lock(ms(0), TxnId(2), &patience(2, false), &k());
        let mut third = locks.lock(ms(0), TxnId(3), &patience(0, false), &k());
        assert_eq!(fate(&mut second), None);
        assert_eq!(
            fate(&mut locks.lock(ms(1), TxnId(1), &patience(1, false), &k())),
            Some(Ok(())),
            "it holds it already"
        );
        locks.release(ms(1), TxnId(1));
        assert_eq!((fate(&mut second), fate(&mut third)), (Some(Ok(())), None));
        assert_eq!(locks.forbids(&k(), TxnId(3)), Some(TxnId(2)));
        locks.release(ms(2), TxnId(2));
        assert_eq!(fate(&mut third), Some(Ok(())));
        locks.release(ms(3), TxnId(3));
        assert!(locks.keys.is_empty() && locks.owners.is_empty() && locks.queued.is_empty());
    }

    #[test]
    fn only_the_younger_with_locks_gives_up_and_only_after_the_timeout() {
        let mut locks = LockTable::default();
        locks.lock(ms(0), TxnId(1), &patience(10, true), &k());
        let mut younger = locks.lock(ms(0), TxnId(2), &patience(11, true), &k());
        let mut older = locks.lock(ms(0), TxnId(3), &patience(9, true), &k());
        let mut free = locks.lock(ms(0), TxnId(4), &patience(12, false), &k());
        locks.expire(ms(99), TIMEOUT);
        assert_eq!(fate(&mut younger), None);
        locks.expire(ms(100), TIMEOUT);
        assert_eq!(fate(&mut younger), Some(Err(Some(TxnId(1)))));
        assert_eq!((fate(&mut older), fate(&mut free)), (None, None));
        locks.expire(ms(5000), TIMEOUT);
        assert_eq!(fate(&mut older), Some(Err(Some(TxnId(1)))), "the limit ends any wait");
    }

    #[test]
    fn a_queue_that_moves_is_no_deadlock() {
        let mut locks = LockTable::default();
        locks.lock(ms(0), TxnId(1), &patience(1, true), &k());
        let _second = locks.lock(ms(0), TxnId(2), &patience(2, true), &k());
        let mut third = locks.lock(ms(0), TxnId(3), &patience(3, true), &k());
        locks.release(ms(90), TxnId(1));
        locks.expire(ms(110), TIMEOUT);
        assert_eq!(fate(&mut third), None);
        locks.expire(ms(190), TIMEOUT);
        assert_eq!(fate(&mut third), Some(Err(Some(TxnId(2)))));
    }

    #[test]
    fn a_waiter_that_has_gone_is_passed_over() {
        let mut locks = LockTable::default();
        locks.lock(ms(0), TxnId(1), &patience(1, false), &k());
        drop(locks.lock(ms(0), TxnId(2), &patience(2, false), &k()));
        let mut third = locks.lock(ms(0), TxnId(3), &patience(3, false), &k());
        locks.release(ms(1), TxnId(1));
        assert_eq!(fate(&mut third), Some(Ok(())));
    }

    #[test]
    fn shared_spans_keep_writers_out_and_wait_for_those_within() {
        let mut locks = LockTable::default();
        let span = Span::range(Bytes::from_static(b"a"), Bytes::from_static(b"z"));
        locks.lock(ms(0), TxnId(1), &patience(1, false), &k());
        let mut shared = locks.lock_shared(ms(0), TxnId(2), &patience(2, false), &span);
        let mut writer = locks.lock(ms(0), TxnId(3), &patience(3, false), &Bytes::from_static(b"b"));
        assert_eq!(
            (fate(&mut shared), fate(&mut writer)),
            (None, None),
            "a later writer queues behind a waiting reader"
        );
        locks.release(ms(1), TxnId(1));
        assert_eq!((fate(&mut shared), fate(&mut writer)), (Some(Ok(())), None));
        assert_eq!(locks.forbids(&Bytes::from_static(b"c"), TxnId(3)), Some(TxnId(2)));
        let mut other = locks.lock_shared(ms(1), TxnId(4), &patience(4, false), &Span::key(Bytes::from_static(b"c")));
        assert_eq!(fate(&mut other), Some(Ok(())), "readers share");
        locks.release(ms(2), TxnId(2));
        assert_eq!(fate(&mut writer), Some(Ok(())));
    }
}
