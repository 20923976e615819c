//! What the instances themselves say, as text: their sessions, their elements, and whether a database can be loaded.

use quorate_proto::admin as pb;

use crate::table::{self, number, text};
use crate::zone::Zone;

/// The sessions of a database.
#[must_use]
pub fn connections(reply: &pb::DbConnectionsReply, zone: Zone) -> String {
    let columns = [
        text("Host"),
        text("Instance"),
        number("PID"),
        text("User"),
        text("Application"),
        text("Client"),
        text("State"),
        text("Connected since"),
        text("TransID"),
        text("Transaction since"),
    ];
    let rows: Vec<Vec<String>> = reply
        .connections
        .iter()
        .map(|session| {
            vec![
                session.host.clone(),
                session.instance.clone(),
                session.process_id.to_string(),
                session.user.clone(),
                session.application_name.clone(),
                session.client.clone(),
                session.state.clone(),
                zone.event(session.since_ms),
                session.transaction.clone(),
                zone.event(session.transaction_since_ms),
            ]
        })
        .collect();
    let title = format!("Database {} connections as of {}", reply.database, zone.ctime(reply.as_of_ms));
    format!("{title}\n\n{}{}", table::render(&columns, &rows), silent(&reply.silent))
}

/// Leaves the open transactions of a database, oldest first; those whose session is gone come before all.
pub fn keep_transactions(reply: &mut pb::DbConnectionsReply) {
    reply.connections.retain(|session| !session.transaction.is_empty() || session.transaction_id != 0);
    reply.connections.sort_by_key(|session| session.transaction_since_ms);
}

/// The open transactions of a database, after [`keep_transactions`].
#[must_use]
pub fn transactions(reply: &pb::DbConnectionsReply, zone: Zone) -> String {
    let columns = [
        text("TransID"),
        text("Host"),
        text("Instance"),
        number("PID"),
        text("User"),
        text("Application"),
        text("Client"),
        text("State"),
        text("Since"),
        number("Age"),
        text("Replica sets"),
        text("Waits for"),
        text("Blocks"),
    ];
    let rows: Vec<Vec<String>> = reply
        .connections
        .iter()
        .map(|session| {
            let sessionless = session.process_id == 0;
            let sets: Vec<String> = session.replica_sets.iter().map(u32::to_string).collect();
            vec![
                if sessionless { session.transaction_id.to_string() } else { session.transaction.clone() },
                session.host.clone(),
                session.instance.clone(),
                if sessionless { String::new() } else { session.process_id.to_string() },
                session.user.clone(),
                session.application_name.clone(),
                session.client.clone(),
                session.state.clone(),
                zone.event(session.transaction_since_ms),
                if sessionless { String::new() } else { age(reply.as_of_ms - session.transaction_since_ms) },
                sets.join(" "),
                session.waits_for.join(" "),
                session.blocks.join(" "),
            ]
        })
        .collect();
    let title = format!("Database {} open transactions as of {}", reply.database, zone.ctime(reply.as_of_ms));
    let body = if rows.is_empty() { "No transaction is open\n".to_owned() } else { table::render(&columns, &rows) };
    format!("{title}\n\n{body}{}", silent(&reply.silent))
}

/// `h:mm:ss`. Two clocks may disagree about a moment; no age is below nothing.
fn age(millis: i64) -> String {
    let seconds = millis.max(0) / 1000;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// What the instances say of their elements.
#[must_use]
pub fn details(reply: &pb::DbDetailsReply, zone: Zone) -> String {
    let columns = [
        number("Elem"),
        text("Host"),
        text("Instance"),
        text("Recorded"),
        text("Reported"),
        text("Role"),
        number("Term"),
        number("Applied"),
        number("Last"),
        number("In doubt"),
        number("Staged"),
        number("Size"),
        text("Message"),
    ];
    let rows: Vec<Vec<String>> = reply
        .elements
        .iter()
        .map(|element| {
            let runs = |value: u64| if element.role.is_empty() { String::new() } else { value.to_string() };
            let in_doubt = match element.prepared {
                0 => runs(0),
                count => format!("{count} ({})", age(i64::try_from(element.prepared_ms).unwrap_or(i64::MAX))),
            };
            vec![
                element.number.to_string(),
                element.host.clone(),
                element.instance.clone(),
                element.recorded.clone(),
                element.reported.clone(),
                element.role.clone(),
                runs(element.term),
                runs(element.applied),
                runs(element.last),
                in_doubt,
                runs(u64::from(element.staged)),
                if element.reported.is_empty() { String::new() } else { size(element.bytes) },
                element.message.clone(),
            ]
        })
        .collect();
    let title = format!("Database {} element details as of {}", reply.database, zone.ctime(reply.as_of_ms));
    format!("{title}\n\n{}{}", table::render(&columns, &rows), silent(&reply.silent))
}

/// Bytes in the unit that leaves at least two digits.
fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >> shift >= 10) {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} B"),
    }
}

/// For each replica set, whether a load brings it back.
#[must_use]
pub fn load_readiness(status: &pb::DatabaseStatus, zone: Zone) -> String {
    let columns = [
        number("RS"),
        number("DS"),
        number("Elem"),
        text("Host"),
        text("Instance"),
        text("Up"),
        text("Status"),
        text("Can load"),
        text("Message"),
    ];
    let letter = |yes: bool| if yes { "Y" } else { "N" }.to_owned();
    let (mut rows, mut short) = (Vec::new(), Vec::new());
    for set in &status.replica_sets {
        let mut members: Vec<&pb::Element> =
            status.elements.iter().filter(|element| element.replica_set == set.number).collect();
        members.sort_by_key(|element| element.data_space_group);
        let loadable = members.iter().filter(|element| element.loadable).count();
        if loadable * 2 <= members.len() {
            let needed = members.len() / 2 + 1;
            short.push(format!(
                "Replica set {} cannot be loaded: {loadable} of {} elements can, {needed} must\n",
                set.number,
                members.len()
            ));
        }
        for (position, element) in members.iter().enumerate() {
            rows.push(vec![
                if position == 0 { set.number.to_string() } else { String::new() },
                element.data_space_group.to_string(),
                element.number.to_string(),
                element.host.clone(),
                element.instance.clone(),
                letter(element.instance_up),
                element.status.clone(),
                letter(element.loadable),
                element.message.clone(),
            ]);
        }
    }
    let title = format!("Database {} load readiness as of {}", status.name, zone.ctime(status.as_of_ms));
    let result = match short.is_empty() {
        true => "All replica sets can be loaded\n".to_owned(),
        false => short.concat(),
    };
    format!("{title}\n\n{result}\n{}", table::render(&columns, &rows))
}

/// How far a wish to disconnect has come.
#[must_use]
pub fn disconnect(reply: &pb::DbDisconnectStatusReply, zone: Zone) -> String {
    let title = format!("Database {} disconnect status as of {}", reply.database, zone.ctime(reply.as_of_ms));
    if reply.mode.is_empty() {
        return format!("{title}\n\nNobody has asked to disconnect its sessions\n");
    }
    let columns =
        [text("Host"), text("Instance"), text("Status"), text("Date/Time of Event "), number("Ended"), text("Message")];
    let rows: Vec<Vec<String>> = reply
        .instances
        .iter()
        .map(|instance| {
            let ended = if instance.at_ms == 0 { String::new() } else { instance.sessions.to_string() };
            vec![
                instance.host.clone(),
                instance.instance.clone(),
                instance.status.clone(),
                zone.event(instance.at_ms),
                ended,
                instance.message.clone(),
            ]
        })
        .collect();
    let (mode, since) = (&reply.mode, zone.event(reply.since_ms));
    format!("{title}\n\n{}: {mode}, since {since}\n\n{}", reply.overall, table::render(&columns, &rows))
}

/// Who did not answer.
fn silent(silent: &[pb::Silence]) -> String {
    let lines: Vec<String> = silent
        .iter()
        .map(|silence| format!("{}.{} did not answer: {}\n", silence.host, silence.instance, silence.reason))
        .collect();
    if lines.is_empty() { String::new() } else { format!("\n{}", lines.concat()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_sizes_are_read_at_a_glance() {
        assert_eq!([age(-5), age(59_999), age(3_725_000)], ["0:00:00", "0:00:59", "1:02:05"]);
        assert_eq!([size(10_239), size(10_240), size(20 << 20)], ["10239 B", "10 KiB", "20 MiB"]);
    }
}
