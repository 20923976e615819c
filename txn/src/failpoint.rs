//! Points at which a test can make the process die, as a crash would.
//!
//! They are compiled into the one binary and do nothing unless armed at start (`quorate start --failpoint NAME=exit`). They stand at the edges that matter for
//! durability: between the steps of a commit, at the gateway and at a participant's leader. This is global state on purpose: a
//! crash is the process's, and the points lie deep in code that nothing else is handed through to.

use std::collections::HashSet;
use std::sync::OnceLock;

/// All points.
pub const NAMES: &[&str] = &[
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
];

static ARMED: OnceLock<HashSet<String>> = OnceLock::new();

/// Arms points given as `NAME=exit`, once in the process's life, before anything runs.
///
/// # Errors
/// Names what is not a point or not an action.
pub fn arm(specs: &[String]) -> Result<(), String> {
    let mut names = HashSet::new();
    for spec in specs {
        let (name, action) = spec.split_once('=').ok_or_else(|| format!("failpoint {spec} is not NAME=exit"))?;
        if !NAMES.contains(&name) {
            return Err(format!("there is no failpoint {name}; there are {}", NAMES.join(", ")));
        }
        if action != "exit" {
            return Err(format!("failpoint {name} cannot {action}; it can exit"));
        }
        names.insert(name.to_owned());
    }
    if names.is_empty() {
        return Ok(());
    }
    ARMED.set(names).map_err(|_| "failpoints are armed once".to_owned())
}

/// Ends the process here if the point is armed.
#[inline]
pub(crate) fn hit(name: &'static str) {
    debug_assert!(NAMES.contains(&name), "{name} is listed");
    if let Some(armed) = ARMED.get()
        && armed.contains(name)
    {
        eprintln!("quorate: failpoint {name}");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_points_and_actions_are_named() {
        let say = |spec: &str| arm(&[spec.to_owned()]).expect_err("it is wrong");
        assert!(say("gateway.nowhere=exit").contains("gateway.nowhere"));
        assert!(say("gateway.before_prepare=sleep").contains("sleep"));
        assert!(say("gateway.before_prepare").contains("NAME=exit"));
    }
}
