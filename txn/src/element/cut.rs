//! The leader's part of a cut through all sets: a snapshot at which read-only transactions see several sets as they were at one
//! instant, whatever is written meanwhile (rule 17 in `docs/transactions.md`).
//!
//! A gateway freezes all sets, waits until each has said so, and then sends all of them the highest timestamp that they answered with:
//! the cut. While a set is frozen, no commit and no prepare gets a timestamp. So there is an instant, when the last set has
//! frozen and none has thawed, at which every transaction has either all its timestamps, which lie at or below the cut, or still
//! misses one, which will lie above. That instant is the reader's place in the order of transactions.
//!
//! One set, the same for all gateways, is frozen before the others. There cuts take turns, and after each writers have as much time as it
//! took; so they have it in all sets at once.
//!
//! A freeze is a promise in memory. It ends with its term, and by itself when the gateway is too slow; then the cut is refused
//! and the gateway begins again. So a gateway that dies holds writers up for [`Options::freeze_max`] at most.

use std::collections::BTreeMap;
use std::time::Duration;

#[cfg(doc)]
use super::Options;
use super::ReplicaSet;
use super::read::{check_reasonable, leader};
use super::state::{Wait, Woken};
use crate::clock::Timestamp;
use crate::protocol::{Failure, Refusal, Reply, Term};

/// How long a cut waits for its turn.
const TURN_MAX: Duration = Duration::from_millis(100);

/// The most that writers have for themselves after a cut.
const REST_MAX: Duration = Duration::from_millis(20);

/// The freezes of a leader.
#[derive(Debug, Default)]
pub(crate) struct Freezes {
    last: u64,
    /// When each ends by itself.
    open: BTreeMap<u64, Duration>,
    /// When the first of those that overlap began.
    since: Duration,
    /// Until then no cut begins here.
    rest_until: Duration,
}

/// Whether a set may be frozen.
enum Begin {
    Frozen(u64),
    /// Another cut is being made.
    Taken,
    /// Writers go first.
    After(Duration),
}

impl Freezes {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn begin(&mut self, now: Duration, max: Duration, first: bool) -> Begin {
        self.expire(now);
        if first && !self.open.is_empty() {
            return Begin::Taken;
        }
        if first && now < self.rest_until {
            return Begin::After(self.rest_until);
        }
        if self.open.is_empty() {
            self.since = now;
        }
        self.last += 1;
        self.open.insert(self.last, now + max);
        Begin::Frozen(self.last)
    }

    /// Whether the set is frozen, for a writer. If not, what ended by itself is gone for good.
    pub(crate) fn hold_up(&mut self, now: Duration) -> bool {
        self.expire(now);
        !self.open.is_empty()
    }

    /// Ends a freeze; whether it was in place until now.
    fn end(&mut self, freeze: u64, now: Duration) -> bool {
        // One whose time is over, but that nobody has noticed, was in place.
        let held = self.open.remove(&freeze).is_some();
        if held {
            self.rest(now);
        }
        held
    }

    fn expire(&mut self, now: Duration) {
        if self.open.values().any(|until| *until <= now) {
            self.open.retain(|_, until| *until > now);
            self.rest(now);
        }
    }

    /// After the last freeze writers have as much time as it took, within reason.
    fn rest(&mut self, now: Duration) {
        if self.open.is_empty() {
            self.rest_until = now + now.saturating_sub(self.since).min(REST_MAX);
        }
    }
}

impl ReplicaSet {
    /// See [`Operation::Freeze`](crate::protocol::Operation::Freeze).
    pub(super) async fn freeze(&self, first: bool) -> Result<Reply, Failure> {
        let refused = Err(Failure::Refused(Refusal::Thawed));
        let turn_ends = self.now() + TURN_MAX;
        let (term, freeze, at) = loop {
            let begin = {
                let mut state = self.leading_state()?;
                let (now, logged, horizon) = (self.now(), state.logged, state.horizon);
                let leader = leader(&mut state);
                leader.demand = now;
                match leader.freezes.begin(now, self.options.freeze_max, first) {
                    // Not above the horizon, if possible: else the cut would have to wait for a higher one.
                    Begin::Frozen(freeze) => {
                        let at = leader.last.max(logged).max(self.clock.now().min(horizon));
                        break (leader.term, freeze, at);
                    }
                    begin => begin,
                }
            };
            let now = self.now();
            if now >= turn_ends {
                return refused;
            }
            match begin {
                Begin::After(until) => tokio::time::sleep(until.saturating_sub(now)).await,
                Begin::Taken | Begin::Frozen(_) => {
                    if self.wait(Wait::Thawed, turn_ends).await? == Woken::Late {
                        return refused;
                    }
                }
            }
        };
        let give_up = self.now() + self.options.freeze_max;
        // Who reads here next must see all that was given a timestamp before the cut.
        if !self.options.breaks.drain && self.wait(Wait::Settled(at), give_up).await? == Woken::Late {
            self.thaw(term, freeze)?;
            return refused;
        }
        Ok(Reply::Frozen { term, freeze, at })
    }

    /// See [`Operation::Cut`](crate::protocol::Operation::Cut).
    pub(super) async fn cut(&self, term: Term, freeze: u64, at: Option<Timestamp>) -> Result<Reply, Failure> {
        let Some(at) = at else {
            self.thaw(term, freeze)?;
            return Ok(Reply::Done);
        };
        check_reasonable(at)?;
        {
            let mut state = self.leading_state()?;
            let leader = leader(&mut state);
            let held = leader.term == term && leader.freezes.end(freeze, self.now());
            if !held && !self.options.breaks.thawed {
                state.wake();
                return Err(Failure::Refused(Refusal::Thawed));
            }
            // Under the same mutex: whoever waited for the thaw gets a timestamp above the cut.
            leader.last = leader.last.max(at);
            self.clock.merge(at);
            state.wake();
        }
        // The horizon tells successors. Nobody else has led between the freeze and the proof, so nobody has given out a timestamp.
        let safe = self.safe_snapshot(Some(at)).await?;
        if safe.term != term && !self.options.breaks.thawed {
            return Err(Failure::Refused(Refusal::Thawed));
        }
        self.prove(safe.term).await?;
        Ok(Reply::Snapshot { snapshot: at, index: safe.index })
    }

    fn thaw(&self, term: Term, freeze: u64) -> Result<(), Failure> {
        let mut state = self.leading_state()?;
        let leader = leader(&mut state);
        if leader.term == term {
            leader.freezes.end(freeze, self.now());
        }
        state.wake();
        Ok(())
    }

    /// Waits until nothing is frozen, or what is has lasted too long.
    pub(super) async fn wait_for_thaw(&self) -> Result<(), Failure> {
        self.wait(Wait::Thawed, self.now() + self.options.freeze_max).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_millis(150);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn frozen(begin: Begin) -> u64 {
        match begin {
            Begin::Frozen(freeze) => freeze,
            Begin::After(_) | Begin::Taken => panic!("it was to be frozen"),
        }
    }

    #[test]
    fn a_freeze_ends_once_and_not_after_a_writer_has_passed_it() {
        let mut freezes = Freezes::default();
        let first = frozen(freezes.begin(ms(1000), MAX, true));
        assert!(freezes.hold_up(ms(1001)));
        assert!(freezes.end(first, ms(1002)));
        assert!(!freezes.end(first, ms(1002)));
        let second = frozen(freezes.begin(ms(2000), MAX, true));
        assert!(freezes.hold_up(ms(2149)));
        assert!(!freezes.hold_up(ms(2150)), "it has lasted too long");
        assert!(!freezes.end(second, ms(2151)));
        let third = frozen(freezes.begin(ms(3000), MAX, true));
        assert!(freezes.end(third, ms(9000)), "nobody has passed it");
    }

    #[test]
    fn cuts_take_turns_and_writers_have_as_much_time_in_between() {
        let mut freezes = Freezes::default();
        let first = frozen(freezes.begin(ms(1000), MAX, true));
        assert!(matches!(freezes.begin(ms(1001), MAX, true), Begin::Taken));
        assert!(freezes.end(first, ms(1004)));
        assert!(matches!(freezes.begin(ms(1005), MAX, true), Begin::After(until) if until == ms(1008)));
        // Whose turn it is in the first set need not wait in others.
        let second = frozen(freezes.begin(ms(1005), MAX, false));
        let third = frozen(freezes.begin(ms(1006), MAX, false));
        assert!(freezes.end(second, ms(1007)) && freezes.hold_up(ms(1007)));
        assert!(freezes.end(third, ms(1100)));
        assert!(matches!(freezes.begin(ms(1119), MAX, true), Begin::After(until) if until == ms(1120)));
        frozen(freezes.begin(ms(1120), MAX, true));
    }
}
