//! What the active management instance does without being asked.
//!
//! A pure function of the model: the active one calls [`due`] after every change and proposes what it returns. Doing so twice
//! does no harm, so it may die between any two steps.

use crate::command::Command;
use crate::lifecycle::{Status, Target};
use crate::model::{Element, Millis, Model};

/// How an instance starts the message of a `load failed` whose files are gone or fail their checksums: such an element
/// cannot be repaired, only replaced.
pub const LOST_FILES: &str = "files lost or damaged";

/// Commands to propose now.
#[must_use]
pub fn due(model: &Model, now: Millis) -> Vec<Command> {
    let replaceable = model.elements.values().filter(|element| is_replaceable(model, element));
    replaceable
        .map(|element| Command::ReplaceElement {
            element: element.number,
            message: element.message.clone(),
            at_ms: now,
        })
        .collect()
}

/// Whether an element is beyond repair while a majority of its set can feed and let in a new one.
fn is_replaceable(model: &Model, element: &Element) -> bool {
    if element.status != Status::LoadFailed || !element.message.starts_with(LOST_FILES) {
        return false;
    }
    let wanted = matches!(model.databases[&element.database].target, Target::Loaded | Target::Open);
    let Some(set) = model.set_of(element) else { return false };
    let loaded = set.members.iter().filter(|member| model.elements[member].status.is_loaded()).count();
    wanted && loaded * 2 > set.members.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, report};

    #[test]
    fn lost_files_are_replaced_while_a_majority_is_loaded() {
        let mut model = testing::a1_open();
        report(&mut model, 2, &[(5, Status::LoadFailed, "files lost or damaged: elements/5 is missing")]);
        assert_eq!(
            due(&model, 9),
            [Command::ReplaceElement {
                element: 5,
                message: "files lost or damaged: elements/5 is missing".to_owned(),
                at_ms: 9,
            }]
        );
        testing::instance_down(&mut model, 3);
        assert_eq!(due(&model, 9), [], "one of three cannot let a new element in");
    }

    #[test]
    fn what_can_be_repaired_is_left_to_the_operator() {
        let mut model = testing::a1_open();
        report(&mut model, 2, &[(5, Status::LoadFailed, "permission denied")]);
        assert_eq!(due(&model, 9), []);
    }
}
