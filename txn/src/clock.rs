//! Hybrid logical timestamps, the clock that hands them out, and the sources of time behind it.
//!
//! No promise of the transaction protocol rests on this clock: it may jump, stop or be wrong. Whoever receives a message
//! merges its timestamp, so clocks of a grid stay close together. Two guards keep one bad clock from spoiling the grid for
//! ever: physical readings outside [`PHYSICAL_MS_MIN`]..[`PHYSICAL_MS_MAX`] are ignored, and the arithmetic carries over the
//! whole 64 bits, so that a clock pushed far ahead still counts on. Ages, patience and timeouts use
//! [`TimeSource::monotonic`] alone.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Physical readings below this are ignored: 2020-01-01, in milliseconds since 1970.
pub const PHYSICAL_MS_MIN: u64 = 1_577_836_800_000;

/// Physical readings above this are ignored: 2200-01-01, in milliseconds since 1970.
pub const PHYSICAL_MS_MAX: u64 = 7_258_118_400_000;

/// A hybrid logical timestamp: the upper 48 bits are milliseconds since 1970, the lower 16 count events within one.
///
/// Zero stands before everything. Counting on from a full lower part carries into the milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// Before every timestamp ever assigned.
    pub const ZERO: Timestamp = Timestamp(0);

    /// The first timestamp of a millisecond since 1970.
    pub fn from_ms(ms: u64) -> Self {
        assert!(ms < 1 << 48, "milliseconds of a timestamp have 48 bits");
        Timestamp(ms << 16)
    }

    /// The milliseconds since 1970.
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }

    /// The next timestamp.
    pub fn next(self) -> Self {
        Timestamp(
            self.0.checked_add(1).expect("64 bits of timestamps are never used up: only valid readings move a clock"),
        )
    }

    /// The timestamp before this one; zero's is zero.
    pub fn prev(self) -> Self {
        Timestamp(self.0.saturating_sub(1))
    }

    /// This timestamp moved by a duration, whole milliseconds counted; saturates.
    pub fn plus(self, by: Duration) -> Self {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX >> 16).min(u64::MAX >> 16);
        Timestamp(self.0.saturating_add(ms << 16))
    }

    /// This timestamp moved back by a duration, whole milliseconds counted; saturates at zero.
    pub fn minus(self, by: Duration) -> Self {
        let ms = u64::try_from(by.as_millis()).unwrap_or(u64::MAX >> 16).min(u64::MAX >> 16);
        Timestamp(self.0.saturating_sub(ms << 16))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.ms(), self.0 & 0xffff)
    }
}

/// Where time comes from. Handed in everywhere, so that the simulation controls all of it.
pub trait TimeSource: Send + Sync {
    /// The wall clock in milliseconds since 1970. May be wrong; never decides anything but the speed of things.
    fn physical_ms(&self) -> u64;

    /// Time since an arbitrary moment, never running backwards within this process.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clocks.
#[derive(Debug)]
pub struct SystemTimeSource {
    start: Instant,
}

impl SystemTimeSource {
    /// A source whose monotonic time starts now.
    pub fn new() -> Self {
        SystemTimeSource { start: Instant::now() }
    }
}

impl Default for SystemTimeSource {
    fn default() -> Self {
        Self::new()
    }
}

impl TimeSource for SystemTimeSource {
    fn physical_ms(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|d| u64::try_from(d.as_millis()).ok()).unwrap_or(0)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// The hybrid logical clock of one instance, shared by its gateway and its elements.
pub struct Clock {
    last: AtomicU64,
    time: Arc<dyn TimeSource>,
}

impl Clock {
    /// A clock over a source of time.
    pub fn new(time: Arc<dyn TimeSource>) -> Self {
        Clock { last: AtomicU64::new(0), time }
    }

    /// A timestamp above all that this clock has returned or merged.
    pub fn now(&self) -> Timestamp {
        let physical = self.physical().0;
        let next = |last: u64| Some(physical.max(Timestamp(last).next().0));
        let last = self
            .last
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, next)
            .expect("the closure always returns a value");
        Timestamp(next(last).expect("the closure always returns a value"))
    }

    /// The highest timestamp returned or merged so far.
    pub fn last(&self) -> Timestamp {
        Timestamp(self.last.load(Ordering::Acquire))
    }

    /// Takes over a timestamp seen in a message, so that the next one lies above it. A message from a clock out of all reason
    /// (its milliseconds beyond the fixed range) is not merged: the protocol does not need it to be.
    pub fn merge(&self, seen: Timestamp) {
        if seen.ms() <= PHYSICAL_MS_MAX {
            self.last.fetch_max(seen.0, Ordering::AcqRel);
        }
    }

    /// The source of time behind this clock.
    pub fn time(&self) -> &Arc<dyn TimeSource> {
        &self.time
    }

    /// The physical reading as a timestamp; zero when it lies outside the fixed range.
    fn physical(&self) -> Timestamp {
        let ms = self.time.physical_ms();
        if (PHYSICAL_MS_MIN..=PHYSICAL_MS_MAX).contains(&ms) { Timestamp::from_ms(ms) } else { Timestamp::ZERO }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("last", &self.last()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl TimeSource for Fixed {
        fn physical_ms(&self) -> u64 {
            self.0
        }

        fn monotonic(&self) -> Duration {
            Duration::ZERO
        }
    }

    #[test]
    fn a_clock_never_repeats_and_follows_what_it_merges() {
        let clock = Clock::new(Arc::new(Fixed(PHYSICAL_MS_MIN)));
        let first = clock.now();
        assert_eq!(first, Timestamp::from_ms(PHYSICAL_MS_MIN));
        assert!(clock.now() > first);
        let seen = Timestamp::from_ms(PHYSICAL_MS_MIN + 5000);
        clock.merge(seen);
        assert_eq!(clock.now(), seen.next());
    }

    #[test]
    fn readings_outside_the_range_are_ignored() {
        for reading in [0, PHYSICAL_MS_MIN - 1, PHYSICAL_MS_MAX + 1, u64::MAX] {
            let clock = Clock::new(Arc::new(Fixed(reading)));
            assert_eq!(clock.now(), Timestamp(1), "reading {reading}");
            clock.merge(Timestamp(u64::MAX));
            assert_eq!(clock.now(), Timestamp(2), "a clock out of all reason was merged");
        }
    }

    #[test]
    fn the_logical_part_carries_into_the_milliseconds() {
        let clock = Clock::new(Arc::new(Fixed(0)));
        clock.merge(Timestamp(0xffff));
        assert_eq!(clock.now(), Timestamp::from_ms(1));
    }
}
