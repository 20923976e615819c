//! `-wait`: follows a change by asking for the status until every element concerned has reached the wanted state.
//!
//! It asks anew each time, so it survives the death of the instance that it asked, and of the active management instance. A
//! step that fails after the change began ends the wait; one that had failed before does not, since the change repeats it.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate_proto::Refused;
use quorate_proto::admin as pb;
use tokio::time::Instant;

use crate::client::{Failure, Grid, Kind};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(150);
/// How long one look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(10);
/// How long nobody may answer before waiting without a limit gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Number of the refusal that says that there is no such database.
const NO_DATABASE: u32 = 2;

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Every element in memory.
    Loaded,
    /// Every element open.
    Open,
    /// No element open.
    Closed,
    /// No element in memory.
    Unloaded,
    /// No record of the database.
    Destroyed,
    /// Nothing of the database is left outside the map on an instance.
    Cleared,
}

impl Goal {
    fn is_reached(self, status: &str) -> bool {
        let open = matches!(status, "opening" | "opened" | "closing" | "close failed");
        match self {
            Self::Loaded => open || matches!(status, "loaded" | "open failed"),
            Self::Open => status == "opened",
            Self::Closed => !open,
            Self::Unloaded => matches!(status, "unloaded" | "uncreated" | "create failed"),
            Self::Destroyed | Self::Cleared => status == "destroyed",
        }
    }

    /// What the database is then.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Unloaded => "unloaded",
            Self::Destroyed | Self::Cleared => "destroyed",
        }
    }

    /// Whether the database is still meant to get there.
    fn is_wanted(self, wanted: &str) -> bool {
        match self {
            Self::Loaded => matches!(wanted, "loaded" | "open"),
            Self::Open => wanted == "open",
            Self::Closed => wanted != "open",
            Self::Unloaded => wanted == "unloaded",
            Self::Destroyed => wanted == "destroyed",
            Self::Cleared => wanted != "destroyed",
        }
    }
}

/// Failures that were there before a change: element and the time of its failure.
pub type Known = BTreeSet<(u64, i64)>;

/// What has failed already.
///
/// # Errors
/// When nobody answers. A database that does not exist yet has no failures.
pub async fn known_failures(grid: &Grid, database: &str) -> Result<Known, Failure> {
    match look(grid, database).await {
        Ok(Some(status)) => Ok(failures(&status).map(|element| (element.number, element.since_ms)).collect()),
        Ok(None) => Ok(Known::new()),
        // Whether there is such a database is for the change to find out.
        Err(Failure::Refused(_)) => Ok(Known::new()),
        Err(failure) => Err(failure),
    }
}

fn failures(status: &pb::DatabaseStatus) -> impl Iterator<Item = &pb::Element> {
    status.elements.iter().filter(|element| element.status.ends_with(" failed"))
}

/// The newest status; `None` when only a stale one is to be had.
async fn look(grid: &Grid, database: &str) -> Result<Option<pb::DatabaseStatus>, Failure> {
    let request = pb::DbStatusRequest { database: Some(database.to_owned()) };
    let reply =
        grid.call(Kind::Question, LOOK_LIMIT, async |mut client| client.db_status(request.clone()).await).await?;
    if reply.stale.is_some() {
        return Ok(None);
    }
    Ok(reply.databases.into_iter().next())
}

/// Waits until a change is done. `limit` in seconds, 0: none. Progress goes to `progress`, one line a change.
///
/// # Errors
/// When a step fails, when somebody else changes the wanted state, when the time is over, or when nobody answers.
pub async fn until_done(
    grid: &Grid,
    change: &pb::DbChangeReply,
    goal: Goal,
    known: &Known,
    limit: u64,
    mut progress: impl FnMut(&str),
) -> Result<(), Failure> {
    let start = Instant::now();
    let mut answered = start;
    let mut last = String::new();
    let mut steps: Vec<String> = Vec::new();
    loop {
        let mut state = "no majority of the management instances answers".to_owned();
        match look(grid, &change.database).await {
            Ok(Some(status)) if status.sequence >= change.sequence => {
                answered = Instant::now();
                if judge(&status, change, goal, known)? {
                    return Ok(());
                }
                state = describe(&status, goal);
                steps = status.next_steps;
                // The others are for when this change is done.
                steps.retain(|step| !step.starts_with("quorate-admin "));
            }
            Ok(Some(_)) => answered = Instant::now(),
            Ok(None) => {}
            Err(failure @ Failure::Unreachable { .. }) => {
                if limit == 0 && answered.elapsed() > PATIENCE {
                    return Err(failure);
                }
                "no instance answers".clone_into(&mut state);
            }
            // Nothing is left of it, not even its name.
            Err(Failure::Refused(refused)) if goal == Goal::Destroyed && refused.number == NO_DATABASE => return Ok(()),
            Err(failure) => return Err(failure),
        }
        if limit != 0 && start.elapsed() >= Duration::from_secs(limit) {
            let look =
                format!("The grid goes on with it; see how far it is: quorate-admin dbStatus {} -all", change.database);
            let steps = steps.iter().map(|step| format!("Next: {step}")).chain([look]);
            return Err(Failure::TimedOut { seconds: limit, state, hint: steps.collect::<Vec<_>>().join("\n  ") });
        }
        if state != last {
            progress(&state);
            last = state;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Whether the goal is reached.
fn judge(status: &pb::DatabaseStatus, change: &pb::DbChangeReply, goal: Goal, known: &Known) -> Result<bool, Failure> {
    if !goal.is_wanted(&status.wanted) {
        return Err(refused(
            format!("Database {} is meanwhile wanted to be {}", status.name, status.wanted),
            String::new(),
        ));
    }
    if let Some(failed) = failures(status).find(|element| !known.contains(&(element.number, element.since_ms))) {
        return Err(refused(
            format!(
                "Element {} on {}.{} is {}: {}",
                failed.number, failed.host, failed.instance, failed.status, failed.message
            ),
            status.next_steps.first().cloned().unwrap_or_default(),
        ));
    }
    let mut concerned = status.elements.iter().filter(|element| {
        let here = change
            .instance
            .as_ref()
            .is_none_or(|name| *name == element.host || *name == format!("{}.{}", element.host, element.instance));
        (element.replica_set == 0) == (goal == Goal::Cleared) && here
    });
    Ok(concerned.all(|element| goal.is_reached(&element.status)))
}

fn refused(text: String, hint: String) -> Failure {
    Failure::Refused(Refused { number: 0, text, hint })
}

/// `6 of 9 elements loaded (2 loading, 1 down)`.
fn describe(status: &pb::DatabaseStatus, goal: Goal) -> String {
    let mapped: Vec<&str> = status
        .elements
        .iter()
        .filter(|element| (element.replica_set == 0) == (goal == Goal::Cleared))
        .map(|element| element.status.as_str())
        .collect();
    let reached = mapped.iter().filter(|status| goal.is_reached(status)).count();
    let mut others: Vec<&str> = mapped.iter().copied().filter(|status| !goal.is_reached(status)).collect();
    others.sort_unstable();
    let total = mapped.len();
    let counted: Vec<String> =
        others.chunk_by(|left, right| left == right).map(|chunk| format!("{} {}", chunk.len(), chunk[0])).collect();
    let rest = if counted.is_empty() { String::new() } else { format!(" ({})", counted.join(", ")) };
    format!("{reached} of {total} elements {}{rest}", goal.word())
}

/// How far the newest wish to disconnect a database's sessions has come.
///
/// # Errors
/// When nobody answers, or there is no such database.
pub async fn disconnect_status(grid: &Grid, database: &str) -> Result<pb::DbDisconnectStatusReply, Failure> {
    let request = pb::DbDisconnectStatusRequest { database: database.to_owned() };
    grid.call(Kind::Question, LOOK_LIMIT, async |mut client| client.db_disconnect_status(request.clone()).await).await
}

/// Waits until no session is left that the wish concerns. `limit` in seconds, 0: none.
///
/// # Errors
/// When somebody else wishes otherwise meanwhile, when the time is over, or when nobody answers.
pub async fn until_disconnected(
    grid: &Grid,
    change: &pb::DbChangeReply,
    limit: u64,
    mut progress: impl FnMut(&str),
) -> Result<(), Failure> {
    let start = Instant::now();
    let mut answered = start;
    let mut last = String::new();
    loop {
        let state = match disconnect_status(grid, &change.database).await {
            Ok(status) if status.sequence > change.sequence => {
                let text = format!("Sessions of database {} are meanwhile disconnected otherwise", status.database);
                return Err(refused(
                    text,
                    format!("See how far it is: quorate-admin dbDisconnectStatus {}", status.database),
                ));
            }
            Ok(status) if status.sequence == change.sequence && status.overall == "Complete" => return Ok(()),
            Ok(status) => {
                answered = Instant::now();
                let waiting = status.instances.iter().filter(|instance| {
                    // The message says why one is not waited for.
                    instance.status == "Disconnecting" && instance.message.is_empty()
                });
                let names: Vec<String> =
                    waiting.map(|instance| format!("{}.{}", instance.host, instance.instance)).collect();
                format!("not yet reported done by {}", names.join(", "))
            }
            Err(failure @ Failure::Unreachable { .. }) if limit == 0 && answered.elapsed() > PATIENCE => {
                return Err(failure);
            }
            Err(Failure::Unreachable { .. }) => "no instance answers".to_owned(),
            Err(failure) => return Err(failure),
        };
        if limit != 0 && start.elapsed() >= Duration::from_secs(limit) {
            let hint = format!(
                "The grid goes on with it; see how far it is: quorate-admin dbDisconnectStatus {0}; which sessions are left: \
                 quorate-admin dbStatus {0} -connections",
                change.database
            );
            return Err(Failure::TimedOut { seconds: limit, state, hint });
        }
        if state != last {
            progress(&state);
            last = state;
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
