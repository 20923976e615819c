//! Background duties, driven by a timer: ends waits that last too long, drops what silent gateways hold, keeps the horizon ahead,
//! raises thresholds through the log, and has transactions in doubt resolved.
//!
//! A set on which nothing happens writes nothing to its log.

use std::sync::Arc;
use std::time::Duration;

use super::ReplicaSet;
use super::state::State;
use crate::clock::Timestamp;
use crate::command::{Command, Upkeep};
use crate::protocol::{GatewayId, TxnId};
use crate::traits::ReplicaLog;

/// How long the horizon is kept ahead after somebody last needed it.
const DEMAND_LASTS: Duration = Duration::from_secs(10);

/// Gateways that were silent for so long no longer hold back garbage collection, and are forgotten.
const GATEWAY_FORGOTTEN_AFTER: Duration = Duration::from_secs(30);

impl ReplicaSet {
    /// Does what is due. To be called every 50 ms or so from within a tokio runtime; never blocks for long.
    pub fn tick(self: &Arc<Self>) {
        let now = self.now();
        let in_doubt = match self.leading_state() {
            Err(_) => {
                self.state.lock().expire(now);
                return;
            }
            Ok(mut state) => {
                state.expire(now);
                let log = self.log.get().expect("an element that leads is attached");
                self.drop_silent(&mut state, log, now);
                self.propose_upkeep(&mut state, log, now);
                self.in_doubt(&state, now)
            }
        };
        for txn in in_doubt {
            self.start_resolution(txn);
        }
    }

    /// Drops locks and staged writes of gateways that are silent or have ended; prepared transactions keep theirs.
    fn drop_silent(&self, state: &mut State, log: &Arc<dyn ReplicaLog>, now: Duration) {
        let State { leader: Some(leader), prepared, staged, started, .. } = state else { return };
        leader.locks.expire(now, self.options.deadlock_timeout);
        let silent_for = |gateway: GatewayId| {
            if started.get(&gateway.instance()).is_some_and(|running| gateway.incarnation() < *running) {
                return Duration::MAX;
            }
            now.saturating_sub(leader.gateways.get(&gateway).map_or(leader.since, |heard| heard.at.max(leader.since)))
        };
        let silent: Vec<TxnId> = leader
            .locks
            .owners()
            .filter(|txn| silent_for(txn.gateway()) > self.options.gateway_silence_max)
            .filter(|txn| !prepared.contains_key(txn) && !leader.flight_claims.claims(*txn))
            .collect();
        let abandoned: Vec<TxnId> = staged
            .keys()
            .copied()
            .filter(|txn| silent_for(txn.gateway()) > self.options.staged_silence_max)
            .filter(|txn| !prepared.contains_key(txn) && leader.resolving.get(txn).is_none_or(|again| now >= *again))
            .collect();
        for txn in silent {
            leader.locks.release(now, txn);
        }
        for txn in abandoned {
            leader.resolving.insert(txn, now + self.options.staged_silence_max);
            self.propose_refusal(leader, log, txn);
        }
    }

    fn propose_upkeep(&self, state: &mut State, log: &Arc<dyn ReplicaLog>, now: Duration) {
        let (horizon, written, garbage) = (state.horizon, state.written, state.garbage);
        let State { leader: Some(leader), finished_below, started, .. } = state else { return };
        if leader.flight.is_empty() {
            // Whatever was proposed is applied or lost.
            leader.horizon_proposed = horizon;
        }
        if now < leader.demand + DEMAND_LASTS {
            let needed = leader.last.max(self.clock.now()).plus(self.options.horizon_ahead / 2);
            leader.extend_horizon(log, &self.clock, &self.options, needed);
        }
        leader.gateways.retain(|_, heard| now < heard.at + GATEWAY_FORGOTTEN_AFTER);
        let mut upkeep = Upkeep::default();
        if now >= leader.watermarks_logged + self.options.watermark_interval {
            for (gateway, heard) in &leader.gateways {
                let known = finished_below.get(gateway).copied().unwrap_or(TxnId::new(*gateway, 0));
                if heard.finished_below > known {
                    upkeep.finished_below.push((*gateway, heard.finished_below));
                }
                if started.get(&gateway.instance()).is_none_or(|running| *running < gateway.incarnation()) {
                    upkeep.started.push(*gateway);
                }
            }
        }
        let due =
            now >= leader.collected + self.options.garbage_interval && now >= leader.since + self.options.garbage_age;
        if due && garbage < written {
            let open = leader.gateways.values().filter_map(|heard| heard.oldest_snapshot).min();
            let old = leader.last.max(self.clock.last()).minus(self.options.garbage_age);
            let threshold = open.map_or(old, |open| open.min(old));
            if threshold > garbage {
                upkeep.garbage = threshold;
                leader.collected = now;
            }
        }
        if upkeep == Upkeep::default() {
            return;
        }
        // Above the threshold, so that snapshots given out from its application on are above it too.
        let at = leader.assign(&self.clock, Timestamp::ZERO);
        leader.watermarks_logged = now;
        // Its effect is awaited, not its reply; what is lost is due again.
        drop(leader.propose(log, at, Command::Upkeep(upkeep), None));
    }

    /// Prepared transactions whose outcome should have come.
    fn in_doubt(&self, state: &State, now: Duration) -> Vec<TxnId> {
        let Some(leader) = &state.leader else { return Vec::new() };
        let waited = |since: Duration| now.saturating_sub(since.max(leader.since));
        let in_doubt = state.prepared.iter().filter(|(txn, prepared)| {
            let ended = state.has_ended(txn.gateway());
            (ended || waited(prepared.since) >= self.options.doubt_patience)
                && leader.resolving.get(txn).is_none_or(|again| now >= *again)
        });
        in_doubt.map(|(txn, _)| *txn).collect()
    }
}
