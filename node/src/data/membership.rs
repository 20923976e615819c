//! Replacing a member of a replica set whose files were lost.
//!
//! Management gives the lost element's place to a new one on the same instance. That instance destroys what is left of the old element, its log
//! included, before it makes the new one; the set's leader lets the new one in as a learner and, once it has caught up, gives it the other's vote.
//! Each part looks at what is, so any of them may be interrupted and repeated.

use std::collections::BTreeMap;

use quorate_management::ElementNumber;
use quorate_management::orders::{ElementOrder, MemberPlace};
use quorate_raft::{Group, Member};
use tokio::task::JoinHandle;

/// One change of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Replacement {
    remove: ElementNumber,
    add: MemberPlace,
}

/// What brings the members nearer to those that are wanted, one at a time.
fn next(wanted: &[MemberPlace], members: &BTreeMap<ElementNumber, Member>) -> Option<Replacement> {
    let is_wanted = |element: &ElementNumber| wanted.iter().any(|place| place.element == *element);
    members.iter().filter(|(element, _)| !is_wanted(element)).find_map(|(remove, member)| {
        let add = wanted.iter().find(|place| place.instance == member.instance)?;
        Some(Replacement { remove: *remove, add: *add })
    })
}

/// The leader's work on the membership of its set.
#[derive(Default)]
pub(super) struct Membership {
    change: Option<JoinHandle<()>>,
}

impl Membership {
    /// Begins a change if one is due and none is under way. Catching up takes as long as it takes, so it runs beside the caller.
    pub(super) fn look(&mut self, group: &Group, order: &ElementOrder, runtime: &tokio::runtime::Handle) {
        if self.change.as_ref().is_some_and(|change| !change.is_finished()) {
            return;
        }
        let Some(Replacement { remove, add }) = next(&order.members, &group.members()) else { return };
        let group = group.clone();
        self.change = Some(runtime.spawn(async move {
            tracing::info!(group = %group.id(), remove, add = add.element, instance = add.instance, "replacing a member");
            match group.replace_member(remove, add.element, Member { instance: add.instance }).await {
                Ok(()) => tracing::info!(group = %group.id(), removed = remove, added = add.element, "member replaced"),
                Err(error) => tracing::warn!(group = %group.id(), %error, "cannot replace a member yet"),
            }
        }));
    }

    /// Another element leads; what was begun ends by itself.
    pub(super) fn stop(&mut self) {
        if let Some(change) = self.change.take() {
            change.abort();
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(of: &[(ElementNumber, u32)]) -> BTreeMap<ElementNumber, Member> {
        of.iter().map(|(element, instance)| (*element, Member { instance: *instance })).collect()
    }

    const WANTED: [MemberPlace; 3] = [
        MemberPlace { element: 4, instance: 1 },
        MemberPlace { element: 10, instance: 2 },
        MemberPlace { element: 6, instance: 3 },
    ];

    #[test]
    fn the_new_element_of_an_instance_takes_the_old_ones_place() {
        let expected = Some(Replacement { remove: 5, add: WANTED[1] });
        assert_eq!(next(&WANTED, &members(&[(4, 1), (5, 2), (6, 3)])), expected);
        assert_eq!(next(&WANTED, &members(&[(4, 1), (5, 2), (6, 3), (10, 2)])), expected, "it is a learner already");
    }

    #[test]
    fn nothing_is_done_once_all_are_as_wanted() {
        assert_eq!(next(&WANTED, &members(&[(4, 1), (6, 3), (10, 2)])), None);
    }
}
