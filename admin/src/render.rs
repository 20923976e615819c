//! Answers as text. The layout of `dbStatus` is a contract with operators and their scripts: labels, headings and order are fixed.

use quorate_proto::admin as pb;

use crate::cli::SectionArgs;
use crate::table::{self, number, text};
use crate::zone::Zone;

/// A line that says how the database is and what to do, then the sections that were asked for.
#[must_use]
pub fn database(status: &pb::DatabaseStatus, sections: SectionArgs, zone: Zone) -> String {
    let mut parts = vec![verdict(&format!("Database {}", status.name), &status.verdict, &status.next_steps)];
    if sections.summary {
        parts.push(summary(status, zone));
    }
    if sections.element {
        parts.push(elements(status, zone));
    }
    if sections.replicaset {
        parts.push(replica_sets(status, zone));
    }
    if sections.dataspacegroup {
        parts.push(data_space_groups(status, zone));
    }
    parts.join("\n")
}

fn verdict(of: &str, text: &str, next_steps: &[String]) -> String {
    let mut output = format!("{of}: {text}\n");
    for step in next_steps {
        output += &format!("  Next: {step}\n");
    }
    output
}

fn summary(status: &pb::DatabaseStatus, zone: Zone) -> String {
    let count = status.counters.unwrap_or_default();
    let progress = |number: u32| if number == 0 { String::new() } else { format!(" ({number} in progress)") };
    format!(
        "Database {} summary status as of {}\n\n{},{},{}\n\
         Completely created elements: {} (of {}){}\n\
         Completely loaded elements: {} (of {}){}\n\
         Completely created replica sets: {} (of {})\n\
         Completely loaded replica sets: {} (of {})\n\n\
         Open elements: {} (of {}){}\n",
        status.name,
        zone.ctime(status.as_of_ms),
        status.create,
        status.load,
        status.open,
        count.elements_created,
        count.elements,
        progress(count.elements_creating),
        count.elements_loaded,
        count.elements,
        progress(count.elements_loading),
        count.replica_sets_created,
        count.replica_sets,
        count.replica_sets_loaded,
        count.replica_sets,
        count.elements_open,
        count.elements,
        progress(count.elements_opening),
    )
}

fn elements(status: &pb::DatabaseStatus, zone: Zone) -> String {
    let columns =
        [text("Host"), text("Instance"), number("Elem"), text("Status"), text("Date/Time of Event "), text("Message")];
    let rows: Vec<Vec<String>> = status
        .elements
        .iter()
        .map(|element| {
            vec![
                element.host.clone(),
                element.instance.clone(),
                element.number.to_string(),
                element.status.clone(),
                zone.event(element.since_ms),
                element.message.clone(),
            ]
        })
        .collect();
    let title = format!("Database {} element level status as of {}", status.name, zone.ctime(status.as_of_ms));
    format!("{title}\n\n{}", table::render(&columns, &rows))
}

fn replica_sets(status: &pb::DatabaseStatus, zone: Zone) -> String {
    let mut mapped: Vec<&pb::Element> = status.elements.iter().filter(|element| element.replica_set != 0).collect();
    mapped.sort_by_key(|element| (element.replica_set, element.data_space_group, element.number));
    let title = format!("Database {} Replica Set status as of {}", status.name, zone.ctime(status.as_of_ms));
    let rows = mapped.iter().map(|element| (element.replica_set, element.data_space_group, *element));
    format!("{title}\n\n{}", grouped(["RS", "DS"], rows, zone))
}

fn data_space_groups(status: &pb::DatabaseStatus, zone: Zone) -> String {
    let mut mapped: Vec<&pb::Element> = status.elements.iter().filter(|element| element.replica_set != 0).collect();
    mapped.sort_by_key(|element| (element.data_space_group, element.replica_set, element.number));
    let title = format!("Database {} Data Space Group status as of {}", status.name, zone.ctime(status.as_of_ms));
    let rows = mapped.iter().map(|element| (element.data_space_group, element.replica_set, *element));
    format!("{title}\n\n{}", grouped(["DS", "RS"], rows, zone))
}

/// A table whose first number appears only on the first row of each group.
fn grouped<'a>(
    headings: [&'static str; 2],
    elements: impl Iterator<Item = (u32, u32, &'a pb::Element)>,
    zone: Zone,
) -> String {
    let columns = [
        number(headings[0]),
        number(headings[1]),
        number("Elem"),
        text("Host"),
        text("Instance"),
        text("Status"),
        text("Date/Time of Event "),
        text("Message"),
    ];
    let mut last = None;
    let rows: Vec<Vec<String>> = elements
        .map(|(first, second, element)| {
            let heads = last.replace(first) != Some(first);
            vec![
                if heads { first.to_string() } else { String::new() },
                second.to_string(),
                element.number.to_string(),
                element.host.clone(),
                element.instance.clone(),
                element.status.clone(),
                zone.event(element.since_ms),
                note(element),
            ]
        })
        .collect();
    table::render(&columns, &rows)
}

/// The message, and whether the element leads its set.
fn note(element: &pb::Element) -> String {
    match (element.leader, element.message.as_str()) {
        (false, message) => message.to_owned(),
        (true, "") => "leader".to_owned(),
        (true, message) => format!("leader; {message}"),
    }
}

/// Databases, one a line.
#[must_use]
pub fn list(databases: &[pb::DatabaseStatus]) -> String {
    let letter = |yes: bool| if yes { "Y" } else { "N" }.to_owned();
    let rows: Vec<Vec<String>> = databases
        .iter()
        .map(|status| {
            let loaded = status.load.starts_with("loaded");
            vec![status.name.clone(), letter(loaded), letter(status.open == "open")]
        })
        .collect();
    table::render(&[text("Database"), text("Loaded"), text("Opened")], &rows)
}

/// The grid and its instances.
#[must_use]
pub fn grid(reply: &pb::GridDisplayReply, zone: Zone) -> String {
    let databases = if reply.databases.is_empty() { "none".to_owned() } else { reply.databases.join(", ") };
    let labels = [
        ("Grid name:", reply.name.clone()),
        ("Grid GUID:", reply.uuid.clone()),
        ("Created:", zone.event(reply.created_ms)),
        ("K:", reply.k.to_string()),
        ("Model version:", reply.version.to_string()),
        ("Seq:", reply.sequence.to_string()),
        ("Databases:", databases),
    ];
    let width = labels.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
    let lines: Vec<String> = labels.iter().map(|(label, value)| format!("{label:<width$} {value}\n")).collect();
    format!(
        "{}\n{}\nInstances as of {}\n\n{}",
        verdict(&format!("Grid {}", reply.name), &reply.verdict, &reply.next_steps),
        lines.concat(),
        zone.ctime(reply.as_of_ms),
        instances(&reply.instances, zone)
    )
}

/// Events, one a line, with the number of the change that each belongs to.
#[must_use]
pub fn events(reply: &pb::GridEventsReply, zone: Zone) -> String {
    let columns = [text("Date/Time of Event "), number("Seq"), text("Event")];
    let row = |event: &pb::Event| vec![zone.event(event.at_ms), event.sequence.to_string(), event.text.clone()];
    let rows: Vec<Vec<String>> = reply.events.iter().map(row).collect();
    format!("Grid events as of {}\n\n{}", zone.ctime(reply.as_of_ms), table::render(&columns, &rows))
}

/// Instances, one a line.
#[must_use]
pub fn instances(instances: &[pb::Instance], zone: Zone) -> String {
    let columns = [
        text("Host"),
        text("Instance"),
        number("DS"),
        text("Management"),
        text("Status"),
        text("Date/Time of Event "),
        text("SQL"),
        text("Admin"),
        text("Message"),
    ];
    let rows: Vec<Vec<String>> = instances
        .iter()
        .map(|instance| {
            let role = match (instance.management, instance.active) {
                (false, _) => "",
                (true, false) => "standby",
                (true, true) => "active",
            };
            vec![
                instance.host.clone(),
                instance.name.clone(),
                if instance.data { instance.data_space_group.to_string() } else { String::new() },
                role.to_owned(),
                if instance.up { "up" } else { "down" }.to_owned(),
                zone.event(instance.since_ms),
                instance.sql_address.clone(),
                instance.peer_address.clone(),
                instance.message.clone(),
            ]
        })
        .collect();
    table::render(&columns, &rows)
}

/// The comparison of all replicas.
#[must_use]
pub fn verification(reply: &pb::DbVerifyReply, zone: Zone) -> String {
    let columns =
        [number("RS"), number("Index"), number("Elem"), text("Host"), text("Instance"), text("Hash"), text("Message")];
    let mut rows = Vec::new();
    for set in &reply.replica_sets {
        for (position, element) in set.elements.iter().enumerate() {
            let heads = position == 0;
            let message = if heads && element.message.is_empty() { &set.message } else { &element.message };
            rows.push(vec![
                if heads { set.number.to_string() } else { String::new() },
                if heads { set.index.to_string() } else { String::new() },
                element.number.to_string(),
                element.host.clone(),
                element.instance.clone(),
                element.hash.clone(),
                message.clone(),
            ]);
        }
    }
    let title = format!("Database {} verification as of {}", reply.database, zone.ctime(reply.as_of_ms));
    format!("{title}\n\n{}", table::render(&columns, &rows))
}

/// What a verification comes to: `Ok` when all replicas are identical.
///
/// # Errors
/// The sets that differ, and those that could not be compared.
pub fn verification_result(reply: &pb::DbVerifyReply) -> Result<String, String> {
    if reply.identical {
        let sets = reply.replica_sets.len();
        let plural = if sets == 1 { "" } else { "s" };
        return Ok(format!("All replicas of {sets} replica set{plural} are identical"));
    }
    let differs = |set: &pb::SetVerification| {
        let mut hashes: Vec<&str> =
            set.elements.iter().map(|element| element.hash.as_str()).filter(|hash| !hash.is_empty()).collect();
        hashes.dedup();
        hashes.len() > 1
    };
    let list = |wanted: bool| {
        let sets = reply.replica_sets.iter().filter(|set| !set.identical && differs(set) == wanted);
        sets.map(|set| set.number.to_string()).collect::<Vec<_>>().join(", ")
    };
    let (different, unknown) = (list(true), list(false));
    let mut parts = Vec::new();
    if !different.is_empty() {
        parts.push(format!("replicas differ in replica set {different}"));
    }
    if !unknown.is_empty() {
        parts.push(format!("not every replica could be compared in replica set {unknown}"));
    }
    Err(parts.join("; "))
}

/// A warning over an answer that may be out of date.
#[must_use]
pub fn stale(stale: &pb::Stale, zone: Zone) -> String {
    let why = if stale.reason.is_empty() { String::new() } else { format!(": {}", stale.reason) };
    format!(
        "STALE: no majority of the management instances answers{why}\n  \
         What follows is the last that was recorded, of {}; only `down` is as this instance sees it now\n",
        zone.ctime(stale.known_ms),
    )
}
