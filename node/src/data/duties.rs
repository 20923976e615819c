//! What a running element does regularly: its transactions' timers, changes of its replica set's membership, handing leadership to the preferred
//! leader, flushing, and letting go of old log entries.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use quorate_management::orders::ElementOrder;
use quorate_raft::Group;
use tokio::time::Instant;

use super::element::Element;
use super::elements::Surroundings;
use super::membership::Membership;

/// How often what lasts is complained of.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// How often leadership is compared with what is preferred.
const LEADERSHIP_INTERVAL: Duration = Duration::from_secs(1);

/// A leader that has just come to lead keeps leading for a while, so that failures close to each other do not make it wander.
const LEADERSHIP_REST: Duration = Duration::from_secs(3);

/// So much longer while large transactions are under way here, which would have to begin anew.
const STAGED_PATIENCE: Duration = Duration::from_secs(300);

/// How often a store is flushed, so that a restart replays little and old log entries can go. More often if log is kept for less.
const FLUSH_INTERVAL: Duration = Duration::from_secs(30);

/// What a running element does regularly.
#[derive(Default)]
pub(super) struct Duties {
    /// How long the log was at each flush within the retention, oldest first.
    marks: VecDeque<Mark>,
    membership: Membership,
    leading_since: Option<Instant>,
    leadership_at: Option<Instant>,
    flushed_at: Option<Instant>,
    warned_at: Option<Instant>,
}

/// The log at one moment: the element's last entry, and what the instance had appended to all its logs.
struct Mark {
    at: Instant,
    index: u64,
    appended: u64,
}

fn due(at: &mut Option<Instant>, interval: Duration) -> bool {
    let now = Instant::now();
    match at {
        Some(before) if now.duration_since(*before) < interval => false,
        _ => at.replace(now).is_some(),
    }
}

impl Duties {
    /// Whether it is time to complain again of what lasts.
    pub(super) fn warns(&mut self) -> bool {
        due(&mut self.warned_at, WARN_INTERVAL)
    }

    /// Does what is due. Called every 50 ms.
    pub(super) async fn perform(&mut self, element: &Arc<Element>, order: &ElementOrder, surroundings: &Surroundings) {
        element.replica().tick();
        let Some(group) = element.group() else { return };
        match (group.term(), self.leading_since) {
            (Some(_), None) => self.leading_since = Some(Instant::now()),
            (None, Some(_)) => {
                self.leading_since = None;
                self.membership.stop();
            }
            _ => {}
        }
        if due(&mut self.leadership_at, LEADERSHIP_INTERVAL) {
            self.hand_over(element, &group, order, surroundings).await;
            if self.leading_since.is_some() {
                self.membership.look(&group, order, &surroundings.raft_runtime);
            }
        }
        if due(&mut self.flushed_at, FLUSH_INTERVAL.min(surroundings.log_retention_time))
            && let Err(error) = group.flush_and_purge(self.retained(&group, surroundings)).await
        {
            tracing::warn!(element = order.element, %error, "cannot flush");
        }
    }

    /// How many entries are kept for members that are behind: those within the retention, by bytes of the instance's whole log and by time.
    fn retained(&mut self, group: &Group, surroundings: &Surroundings) -> u64 {
        let now =
            Mark { at: Instant::now(), index: group.last_index(), appended: surroundings.raft.log().appended_bytes() };
        let outdated = |mark: &Mark| {
            now.appended - mark.appended > surroundings.log_retention
                || now.at.duration_since(mark.at) > surroundings.log_retention_time
        };
        // The newest outdated mark is where the retention begins; without one everything since the start is kept.
        let mut begin = None;
        while self.marks.front().is_some_and(outdated) {
            begin = self.marks.pop_front().map(|mark| mark.index);
        }
        let index = now.index;
        self.marks.push_back(now);
        begin.map_or(u64::MAX, |begin| index.saturating_sub(begin))
    }

    /// Hands leadership to the preferred leader once that one is back and reachable.
    async fn hand_over(&self, element: &Element, group: &Group, order: &ElementOrder, surroundings: &Surroundings) {
        let rest = if element.replica().status().staged == 0 { LEADERSHIP_REST } else { STAGED_PATIENCE };
        let rested = self.leading_since.is_some_and(|since| since.elapsed() >= rest);
        if !rested || order.preferred_leader == order.element {
            return;
        }
        let preferred = order.members.iter().find(|place| place.element == order.preferred_leader);
        let Some(preferred) = preferred else { return };
        let peers = surroundings.raft.peers();
        let up = peers.incoming().borrow().contains_key(&preferred.instance);
        if up && peers.unreachable(preferred.instance) == Some(false) {
            tracing::info!(group = %group.id(), to = preferred.element, "handing over leadership");
            if let Err(error) = group.transfer_leader(preferred.element).await {
                tracing::warn!(group = %group.id(), %error, "cannot hand over leadership");
            }
        }
    }
}
