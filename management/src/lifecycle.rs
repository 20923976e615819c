//! The statuses of an element and the changes between them that are allowed.
//!
//! This is the operators' table as code: 21 words, and for each pair whether it may happen. Two kinds of change are kept
//! apart. An instance *reports* what it did with an element; the management group *decides* that an element is down,
//! up again, or to be destroyed. Reports are levels, not edges: an instance says what is, so a report may skip
//! statuses that passed between two reports. [`path`] fills them in, so that the recorded history is always made of
//! allowed changes only. A report that no path explains is refused.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Status of an element, as operators see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It should be created; creation has not started.
    Uncreated,
    /// Being created.
    Creating,
    /// Creating was tried and failed.
    CreateFailed,
    /// Being loaded, also during automatic recovery.
    Loading,
    /// Loading was tried and failed.
    LoadFailed,
    /// It will be loaded, but only after another element of its replica set.
    WaitingForSeed,
    /// In memory; can be opened.
    Loaded,
    /// Being opened.
    Opening,
    /// Opening was tried and failed.
    OpenFailed,
    /// Open: the normal status of a working element.
    Opened,
    /// Being closed.
    Closing,
    /// Closing was tried and failed.
    CloseFailed,
    /// Being unloaded.
    Unloading,
    /// Not in memory.
    Unloaded,
    /// Its instance is not running.
    Down,
    /// Evicted; leaving memory has not begun.
    EvictedLoaded,
    /// Evicted; being unloaded.
    EvictedUnloading,
    /// Evicted and out of memory.
    Evicted,
    /// Being destroyed.
    Destroying,
    /// Destroying was tried and failed.
    DestroyFailed,
    /// Its files are gone.
    Destroyed,
}

use Status::{
    CloseFailed, Closing, CreateFailed, Creating, DestroyFailed, Destroyed, Destroying, Down, Evicted, EvictedLoaded,
    EvictedUnloading, LoadFailed, Loaded, Loading, OpenFailed, Opened, Opening, Uncreated, Unloaded, Unloading,
    WaitingForSeed,
};

/// What the operator wants of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Every element destroyed, the record gone.
    Destroyed,
    /// Every element created and out of memory.
    Unloaded,
    /// Every element in memory, no sessions.
    Loaded,
    /// Every element open.
    Open,
}

impl Target {
    /// The word of `dbStatus --json`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Destroyed => "destroyed",
            Self::Unloaded => "unloaded",
            Self::Loaded => "loaded",
            Self::Open => "open",
        }
    }
}

impl Status {
    /// All statuses.
    pub const ALL: [Self; 21] = [
        Uncreated,
        Creating,
        CreateFailed,
        Loading,
        LoadFailed,
        WaitingForSeed,
        Loaded,
        Opening,
        OpenFailed,
        Opened,
        Closing,
        CloseFailed,
        Unloading,
        Unloaded,
        Down,
        EvictedLoaded,
        EvictedUnloading,
        Evicted,
        Destroying,
        DestroyFailed,
        Destroyed,
    ];

    /// The word that operators see.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Uncreated => "uncreated",
            Creating => "creating",
            CreateFailed => "create failed",
            Loading => "loading",
            LoadFailed => "load failed",
            WaitingForSeed => "waiting for seed",
            Loaded => "loaded",
            Opening => "opening",
            OpenFailed => "open failed",
            Opened => "opened",
            Closing => "closing",
            CloseFailed => "close failed",
            Unloading => "unloading",
            Unloaded => "unloaded",
            Down => "down",
            EvictedLoaded => "evicted (loaded)",
            EvictedUnloading => "evicted (unloading)",
            Evicted => "evicted",
            Destroying => "destroying",
            DestroyFailed => "destroy failed",
            Destroyed => "destroyed",
        }
    }

    /// In memory and taking part in its replica set.
    #[must_use]
    pub fn is_loaded(self) -> bool {
        matches!(self, Loaded | Opening | OpenFailed | Opened | Closing | CloseFailed)
    }

    /// A step was tried and failed; an operator, or a rebuild, has to act.
    #[must_use]
    pub fn is_failed(self) -> bool {
        matches!(self, CreateFailed | LoadFailed | OpenFailed | CloseFailed | DestroyFailed)
    }

    /// Something is under way.
    #[must_use]
    pub fn is_changing(self) -> bool {
        matches!(
            self,
            Creating | Loading | Opening | Closing | Unloading | Destroying | EvictedLoaded | EvictedUnloading
        )
    }

    /// Whether losing the instance makes this element `down`: it has files that an instance must run to serve.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(
            self,
            Creating
                | Loading
                | LoadFailed
                | WaitingForSeed
                | Loaded
                | Opening
                | OpenFailed
                | Opened
                | Closing
                | CloseFailed
                | Unloading
                | Unloaded
        )
    }

    /// Whether the element is out of the distribution map for ever.
    #[must_use]
    pub fn is_evicted(self) -> bool {
        matches!(self, EvictedLoaded | EvictedUnloading | Evicted)
    }

    /// Whether the element has no files, or is losing them.
    #[must_use]
    pub fn is_gone(self) -> bool {
        matches!(self, Destroying | DestroyFailed | Destroyed)
    }

    /// Whether nothing is left to do for `target`.
    #[must_use]
    pub fn has_reached(self, target: Target) -> bool {
        match target {
            Target::Open => self == Opened,
            Target::Loaded => self == Loaded,
            Target::Unloaded => matches!(self, Unloaded | Uncreated | CreateFailed),
            Target::Destroyed => self == Destroyed,
        }
    }
}

/// Changes that an instance reports.
const REPORTED: &[(Status, Status)] = &[
    (Uncreated, Creating),
    // Its instance died before it had made anything, and then it was not to be made any more.
    (Creating, Uncreated),
    (Creating, Loading),
    (Creating, CreateFailed),
    (CreateFailed, Creating),
    (Loading, Loaded),
    (Loading, LoadFailed),
    (LoadFailed, Loading),
    (Unloaded, Loading),
    (Unloaded, WaitingForSeed),
    (Loading, WaitingForSeed),
    (WaitingForSeed, Loading),
    (Loaded, Opening),
    (Opening, Opened),
    (Opening, OpenFailed),
    (OpenFailed, Loaded),
    (Opened, Closing),
    (Closing, Loaded),
    (Closing, CloseFailed),
    (CloseFailed, Opened),
    (Loaded, Unloading),
    (LoadFailed, Unloading),
    (WaitingForSeed, Unloading),
    // Forced.
    (Closing, Unloading),
    (Unloading, Unloaded),
    // Unplanned: a software error; the element is loaded again.
    (Opened, Unloaded),
    (Loaded, Unloaded),
    // Evicted elements leave memory, then wait to be destroyed.
    (EvictedLoaded, EvictedUnloading),
    (EvictedUnloading, Evicted),
    // Destroying, once it was decided.
    (Unloaded, Destroying),
    (Evicted, Destroying),
    (DestroyFailed, Destroying),
    (Destroying, Destroyed),
    (Destroying, DestroyFailed),
    // An element whose files are lost or damaged is destroyed and replaced by one with a new number.
    (LoadFailed, Destroying),
    // A database may be destroyed although some of its elements never came into being.
    (CreateFailed, Destroying),
    (Uncreated, Destroying),
];

/// Whether an element may go from one status to the other, by a report or by a decision of the management group.
#[must_use]
pub fn allowed(from: Status, to: Status) -> bool {
    reported(from, to) || decided(from, to)
}

/// Whether an instance may report that an element went from one status to the other.
#[must_use]
pub fn reported(from: Status, to: Status) -> bool {
    REPORTED.contains(&(from, to))
}

/// Whether the management group may decide that an element goes from one status to the other.
fn decided(from: Status, to: Status) -> bool {
    match (from, to) {
        (from, Down) => from.is_live(),
        // The instance is up again. `creating`: it went down before the element was made.
        (Down, Loading | WaitingForSeed | Unloaded | Creating) => true,
        // Out of the map: what is in memory first leaves it.
        (from, EvictedLoaded) => from.is_loaded() || from == Loading,
        (Down, Evicted) => true,
        (from, Evicted) => {
            !from.is_loaded() && !from.is_gone() && !matches!(from, Evicted | EvictedLoaded | EvictedUnloading)
                || from == EvictedLoaded
                || from == EvictedUnloading
        }
        _ => false,
    }
}

/// The shortest run of reported changes from one status to another, without `from`, ending in `to`.
///
/// Runs that fit what is wanted of the database are preferred: an open database's element that says `loaded` was
/// loaded anew, it was not closed. `None` when no run of reports explains the change.
#[must_use]
pub fn path(from: Status, to: Status, target: Target) -> Option<Vec<Status>> {
    if from == to {
        return Some(Vec::new());
    }
    if reported(from, to) {
        return Some(vec![to]);
    }
    search(from, to, |edge| wanted(edge, target)).or_else(|| search(from, to, |_| true))
}

/// Whether an instance that follows its orders would take this step for a database with this target.
fn wanted(edge: (Status, Status), target: Target) -> bool {
    match edge {
        (Opened, Closing) => target != Target::Open,
        (Loaded, Opening) => target == Target::Open,
        (Loaded | LoadFailed | WaitingForSeed | Closing, Unloading) => {
            matches!(target, Target::Unloaded | Target::Destroyed)
        }
        _ => true,
    }
}

fn search(from: Status, to: Status, usable: impl Fn((Status, Status)) -> bool) -> Option<Vec<Status>> {
    let mut queue = VecDeque::from([vec![from]]);
    let mut seen = vec![from];
    while let Some(run) = queue.pop_front() {
        let last = *run.last().expect("a run holds at least its start");
        for edge in REPORTED.iter().filter(|edge| edge.0 == last && usable(**edge)) {
            if seen.contains(&edge.1) {
                continue;
            }
            let mut longer = run.clone();
            longer.push(edge.1);
            if edge.1 == to {
                return Some(longer.split_off(1));
            }
            seen.push(edge.1);
            // Failures are reported as such, never passed through unseen.
            if !edge.1.is_failed() {
                queue.push_back(longer);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_specified_one() {
        // Every allowed change, one line a status; what is not listed is forbidden.
        let expected = "\
uncreated → creating, evicted, destroying
creating → uncreated, create failed, loading, down, evicted
create failed → creating, evicted, destroying
loading → load failed, waiting for seed, loaded, down, evicted (loaded), evicted
load failed → loading, unloading, down, evicted, destroying
waiting for seed → loading, unloading, down, evicted
loaded → opening, unloading, unloaded, down, evicted (loaded)
opening → open failed, opened, down, evicted (loaded)
open failed → loaded, down, evicted (loaded)
opened → closing, unloaded, down, evicted (loaded)
closing → loaded, close failed, unloading, down, evicted (loaded)
close failed → opened, down, evicted (loaded)
unloading → unloaded, down, evicted
unloaded → loading, waiting for seed, down, evicted, destroying
down → creating, loading, waiting for seed, unloaded, evicted
evicted (loaded) → evicted (unloading), evicted
evicted (unloading) → evicted
evicted → destroying
destroying → destroy failed, destroyed
destroy failed → destroying
destroyed → ";
        let actual: Vec<String> = Status::ALL
            .into_iter()
            .map(|from| {
                let to: Vec<&str> = Status::ALL.into_iter().filter(|to| allowed(from, *to)).map(Status::word).collect();
                format!("{} → {}", from.word(), to.join(", "))
            })
            .collect();
        assert_eq!(actual.join("\n"), expected);
    }

    #[test]
    fn words_are_distinct() {
        let mut words: Vec<&str> = Status::ALL.into_iter().map(Status::word).collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 21);
    }

    #[test]
    fn skipped_statuses_are_filled_in() {
        let open = |from, to| path(from, to, Target::Open);
        assert_eq!(open(Uncreated, Opened), Some(vec![Creating, Loading, Loaded, Opening, Opened]));
        assert_eq!(open(CreateFailed, Loaded), Some(vec![Creating, Loading, Loaded]));
        assert_eq!(open(OpenFailed, Opened), Some(vec![Loaded, Opening, Opened]));
        // Loaded anew after a software error, not closed.
        assert_eq!(open(Opened, Loaded), Some(vec![Unloaded, Loading, Loaded]));
        assert_eq!(open(Opened, LoadFailed), Some(vec![Unloaded, Loading, LoadFailed]));
        // Closed, because that is wanted.
        assert_eq!(path(Opened, Loaded, Target::Loaded), Some(vec![Closing, Loaded]));
        // Opened just before the operator changed their mind: still the truth.
        assert_eq!(path(Loaded, Opened, Target::Loaded), Some(vec![Opening, Opened]));
        assert_eq!(path(CloseFailed, Loaded, Target::Loaded), Some(vec![Opened, Closing, Loaded]));
        assert_eq!(path(Loaded, Destroying, Target::Destroyed), Some(vec![Unloaded, Destroying]));
        assert_eq!(path(Unloaded, Destroyed, Target::Destroyed), Some(vec![Destroying, Destroyed]));
    }

    #[test]
    fn paths_consist_of_allowed_changes() {
        for target in [Target::Destroyed, Target::Unloaded, Target::Loaded, Target::Open] {
            for from in Status::ALL {
                for to in Status::ALL {
                    let Some(run) = path(from, to, target) else { continue };
                    let mut at = from;
                    for next in run {
                        assert!(reported(at, next), "{} → {}", at.word(), next.word());
                        at = next;
                    }
                    assert_eq!(at, to);
                }
            }
        }
    }

    #[test]
    fn nothing_comes_back_from_eviction_or_destruction() {
        for from in [EvictedLoaded, EvictedUnloading, Evicted, Destroyed, Destroying, Down] {
            for to in [Loading, Loaded, Opened] {
                assert_eq!(path(from, to, Target::Open), None, "{} → {}", from.word(), to.word());
            }
        }
    }
}
