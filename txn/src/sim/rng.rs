//! All chance of a simulated world: one generator, one seed (SplitMix64).

use std::time::Duration;

use parking_lot::Mutex;

#[derive(Debug)]
pub(crate) struct Rng(Mutex<u64>);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Rng(Mutex::new(seed))
    }

    pub(crate) fn next(&self) -> u64 {
        let mut state = self.0.lock();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`, which is above zero.
    pub(crate) fn below(&self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// From `low` to `high`, both included.
    pub(crate) fn within(&self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    pub(crate) fn chance(&self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// `n` different ones of `from`, in any order.
    pub(crate) fn sample<T: Clone>(&self, from: &[T], n: usize) -> Vec<T> {
        let mut left = from.to_vec();
        (0..n.min(from.len())).map(|_| left.swap_remove(self.below(left.len()))).collect()
    }

    pub(crate) fn ms(&self, low: usize, high: usize) -> Duration {
        Duration::from_millis(self.within(low, high) as u64)
    }
}
