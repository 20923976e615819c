//! The leader's part of a cut through all sets: a snapshot at which read-only transactions see several sets as they were at one
//! instant, whatever is written meanwhile (rule 17 in `docs/transactions.md`).
//!
//! A gateway freezes all sets, waits until each has said so, and then sends all of them the highest timestamp that they answered with:
//! the cut. While a set is frozen, no commit and no prepare gets a timestamp. So there is an instant, when the last set has
//! frozen and none has thawed, at which every transaction has either all its timestamps, which lie at or below the cut, or still
//! misses one, which will lie above. That instant is the reader's place in the order of transactions.
//!
//! A freeze is a promise in memory. It ends with its term, and by itself when the gateway is too slow; then the cut is refused
//! and the gateway begins again. So a gateway that dies holds writers up for [`Options::freeze_max`] at most, and gateways that come one after
//! the other leave writers as much time as they take.

use std::collections::BTreeMap;
use std::time::Duration;

#[cfg(doc)]
use super::Options;
use super::ReplicaSet;
use super::read::{check_reasonable, leader};
use super::state::{Wait, Woken};
use crate::clock::Timestamp;
use crate::protocol::{Failure, Refusal, Reply, Term};

/// For how long freezes that overlap may hold up a writer until new ones are refused; and the most that writers have for themselves after
/// a freeze.
const HELD_UP_MAX: Duration = Duration::from_millis(20);

/// The freezes of a leader.
#[derive(Debug, Default)]
pub(crate) struct Freezes {
    last: u64,
    /// When each ends by itself.
    open: BTreeMap<u64, Duration>,
    /// When the first of those that overlap began.
    since: Duration,
    /// A writer waits, or has waited, for their end.
    held_up: bool,
    /// Until then writers go first.
    rest_until: Duration,
}

/// Whether a set may be frozen.
enum Begin {
    Frozen(u64),
    /// Writers go first.
    After(Duration),
    Refused,
}

impl Freezes {
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn begin(&mut self, now: Duration, max: Duration) -> Begin {
        self.expire(now);
        if self.open.is_empty() {
            if self.held_up && now < self.rest_until {
                return Begin::After(self.rest_until);
            }
            self.since = now;
            self.held_up = false;
        } else if self.held_up && now >= self.since + HELD_UP_MAX {
            return Begin::Refused;
        }
        self.last += 1;
        self.open.insert(self.last, now + max);
        Begin::Frozen(self.last)
    }

    /// Whether the set is frozen, for a writer. If not, what ended by itself is gone for good.
    pub(crate) fn hold_up(&mut self, now: Duration) -> bool {
        self.expire(now);
        self.held_up |= !self.open.is_empty();
        !self.open.is_empty()
    }

    /// Ends a freeze; whether it was in place until now.
    fn end(&mut self, freeze: u64, now: Duration) -> bool {
        // One whose time is over, but that no writer has noticed, was in place.
        let held = self.open.remove(&freeze).is_some();
        self.rest(now);
        held
    }

    fn expire(&mut self, now: Duration) {
        if self.open.values().any(|until| *until <= now) {
            self.open.retain(|_, until| *until > now);
            self.rest(now);
        }
    }

    /// After the last freeze writers have as much time as they were held up, within reason.
    fn rest(&mut self, now: Duration) {
        if self.open.is_empty() {
            self.rest_until = now + now.saturating_sub(self.since).min(HELD_UP_MAX);
        }
    }
}

impl ReplicaSet {
    /// See [`Operation::Freeze`](crate::protocol::Operation::Freeze).
    pub(super) async fn freeze(&self) -> Result<Reply, Failure> {
        let give_up = self.now() + self.options.freeze_max;
        let (term, freeze, at) = loop {
            let rest = {
                let mut state = self.leading_state()?;
                let (now, logged, horizon) = (self.now(), state.logged, state.horizon);
                let leader = leader(&mut state);
                leader.demand = now;
                match leader.freezes.begin(now, self.options.freeze_max) {
                    // Not above the horizon, if possible: else the cut would have to wait for a higher one.
                    Begin::Frozen(freeze) => {
                        let at = leader.last.max(logged).max(self.clock.now().min(horizon));
                        break (leader.term, freeze, at);
                    }
                    Begin::After(until) if until < give_up => until.saturating_sub(now),
                    Begin::After(_) | Begin::Refused => return Err(Failure::Refused(Refusal::Thawed)),
                }
            };
            tokio::time::sleep(rest).await;
        };
        // Who reads here next must see all that was given a timestamp before the cut.
        if !self.options.breaks.drain && self.wait(Wait::Settled(at), give_up).await? == Woken::Late {
            self.thaw(term, freeze)?;
            return Err(Failure::Refused(Refusal::Thawed));
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

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn frozen(begin: Begin) -> u64 {
        match begin {
            Begin::Frozen(freeze) => freeze,
            Begin::After(_) | Begin::Refused => panic!("it was to be frozen"),
        }
    }

    #[test]
    fn a_freeze_ends_once_and_not_after_a_writer_has_passed_it() {
        let mut freezes = Freezes::default();
        let first = frozen(freezes.begin(ms(1000), ms(150)));
        assert!(freezes.hold_up(ms(1001)));
        assert!(freezes.end(first, ms(1002)));
        assert!(!freezes.end(first, ms(1002)));
        let second = frozen(freezes.begin(ms(2000), ms(150)));
        assert!(freezes.hold_up(ms(2149)));
        assert!(!freezes.hold_up(ms(2150)), "it has lasted too long");
        assert!(!freezes.end(second, ms(2151)));
        let third = frozen(freezes.begin(ms(3000), ms(150)));
        assert!(freezes.end(third, ms(9000)), "nobody has passed it");
    }

    #[test]
    fn writers_that_were_held_up_go_first_for_as_long() {
        let mut freezes = Freezes::default();
        let first = frozen(freezes.begin(ms(1000), ms(150)));
        assert!(freezes.hold_up(ms(1001)));
        assert!(freezes.end(first, ms(1004)));
        assert!(matches!(freezes.begin(ms(1005), ms(150)), Begin::After(until) if until == ms(1008)));
        let second = frozen(freezes.begin(ms(1008), ms(150)));
        assert!(freezes.end(second, ms(1010)));
        frozen(freezes.begin(ms(1010), ms(150)));
        // Others may join, until a writer has waited for too long.
        frozen(freezes.begin(ms(1040), ms(150)));
        assert!(freezes.hold_up(ms(1041)));
        assert!(matches!(freezes.begin(ms(1041), ms(150)), Begin::Refused));
    }
}
