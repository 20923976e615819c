//! Points at which a test can make the process die, as a crash would, or a step of an element's life fail or stand still.
//!
//! They are compiled into the one binary and do nothing unless armed at start (`quorate start --failpoint NAME=ACTION`). Those that crash stand
//! at the edges that matter for durability: between the steps of a commit, at the gateway and at a participant's leader. Those that fail stand
//! where real causes are rare, so that what operators do about them can be shown. This is global state on purpose: a crash is the process's, and
//! the points lie deep in code that nothing else is handed through to.

use std::collections::{BTreeSet, HashMap};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Points at which the process dies, `NAME=exit`, or a panic shows a fault of the program, `NAME=panic`.
pub const CRASHES: &[&str] = &[
    "gateway.after_stage",
    "gateway.before_prepare",
    "gateway.after_first_prepare",
    "gateway.after_prepares",
    "gateway.before_outcomes",
    "element.after_stage",
    "element.while_installing",
    "element.before_prepare",
    "element.after_prepare",
    "element.before_outcome",
    "element.after_outcome",
    "element.while_creating",
    "element.while_destroying",
];

/// Steps of an element that fail once: `NAME=fail`.
pub const STEPS: &[&str] = &["element.open", "element.close", "element.destroy"];

/// Steps of an element that stand still until something else is wanted of it: `NAME=hold`.
pub const PAUSES: &[&str] = &["element.close"];

/// What an armed point does.
#[derive(Debug)]
enum Action {
    Exit,
    Panic,
    /// Until it has failed.
    Fail(AtomicBool),
    Hold,
}

static ARMED: OnceLock<HashMap<String, Action>> = OnceLock::new();

/// Arms points given as `NAME=ACTION`, once in the process's life, before anything runs.
///
/// # Errors
/// Names what is not a point or not an action of it.
pub fn arm(specs: &[String]) -> Result<(), String> {
    let mut actions = HashMap::new();
    for spec in specs {
        let (name, action) = spec.split_once('=').ok_or_else(|| format!("failpoint {spec} is not NAME=ACTION"))?;
        let kinds = [("exit", CRASHES), ("panic", CRASHES), ("fail", STEPS), ("hold", PAUSES)];
        let can: Vec<&str> = kinds.iter().filter(|(_, points)| points.contains(&name)).map(|(can, _)| *can).collect();
        let action = match action {
            _ if can.is_empty() => {
                let names: BTreeSet<&str> = kinds.iter().flat_map(|(_, points)| *points).copied().collect();
                let names: Vec<&str> = names.into_iter().collect();
                return Err(format!("there is no failpoint {name}; there are {}", names.join(", ")));
            }
            _ if !can.contains(&action) => {
                return Err(format!("failpoint {name} cannot {action}; it can {}", can.join(" or ")));
            }
            "exit" => Action::Exit,
            "panic" => Action::Panic,
            "fail" => Action::Fail(AtomicBool::new(true)),
            _ => Action::Hold,
        };
        actions.insert(name.to_owned(), action);
    }
    if actions.is_empty() {
        return Ok(());
    }
    ARMED.set(actions).map_err(|_| "failpoints are armed once".to_owned())
}

fn armed(name: &str) -> Option<&'static Action> {
    ARMED.get()?.get(name)
}

/// Ends the process here, or panics, if the point is armed.
///
/// # Panics
/// If that was wanted.
#[inline]
pub fn hit(name: &'static str) {
    debug_assert!(CRASHES.contains(&name), "{name} is listed");
    match armed(name) {
        Some(Action::Exit) => {
            eprintln!("quorate: failpoint {name}");
            std::process::abort();
        }
        Some(Action::Panic) => panic!("failpoint {name}"),
        Some(Action::Fail(_) | Action::Hold) | None => {}
    }
}

/// Whether a step is to fail this time.
pub fn fails(name: &'static str) -> bool {
    debug_assert!(STEPS.contains(&name), "{name} is listed");
    matches!(armed(name), Some(Action::Fail(left)) if left.swap(false, Ordering::Relaxed))
}

/// Whether a step is to stand still.
pub fn holds(name: &'static str) -> bool {
    debug_assert!(PAUSES.contains(&name), "{name} is listed");
    matches!(armed(name), Some(Action::Hold))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_points_and_actions_are_named() {
        let say = |spec: &str| arm(&[spec.to_owned()]).expect_err("it is wrong");
        assert!(say("gateway.nowhere=exit").contains("gateway.nowhere"));
        assert!(say("gateway.before_prepare=sleep").contains("it can exit or panic"));
        assert!(say("element.close=exit").contains("it can fail or hold"));
        assert!(say("element.open=hold").contains("it can fail"));
        assert!(say("gateway.before_prepare").contains("NAME=ACTION"));
    }
}
