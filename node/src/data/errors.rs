//! What a failed transaction is to a SQL session: the one place where SQLSTATEs of the transaction layer are decided.

use quorate_sql::error::{Error, SqlState};
use quorate_sql::format::FormatSettings;
use quorate_sql::key;
use quorate_txn::coordinator::{RetryCause, TxnError};

use super::catalog::Known;

/// Translates; `known` names tables for people.
pub fn session_error(error: TxnError, known: &Known) -> Error {
    match error {
        TxnError::Retry { cause, key, with } => {
            let why = match cause {
                RetryCause::Conflict => "could not serialize access due to a concurrent transaction",
                RetryCause::SnapshotTooOld => "could not serialize access: the transaction's snapshot is older than what is kept",
                RetryCause::Lock => "could not obtain a lock held by a concurrent transaction in time",
                RetryCause::LeaderChanged => "the leader of a replica set changed during the transaction",
                RetryCause::Doomed => "the transaction can only be rolled back after a failure while its rows were sent ahead",
            };
            let mut detail = String::from("TT005: the transaction was not committed");
            if let Some(key) = key {
                detail.push_str(&format!("; it lost over {}", describe(&key, known)));
            }
            if let Some(with) = with {
                detail.push_str(&format!(" to transaction {}", with.0));
            }
            Error::retry(why).with_detail(detail + ".").with_hint("The transaction might succeed if retried.")
        }
        TxnError::Duplicate { key } => duplicate(&key, known),
        TxnError::Unavailable { set } => Error::new(SqlState::SYSTEM_ERROR, format!("replica set {set} is down"))
            .with_detail("TT-03723: no leader of the replica set can be reached.")
            .with_hint(format!("Roll back, and retry after replica set {set} has recovered; `quorate-admin dbStatus -replicaset` shows it.")),
        TxnError::Unknown { txn } => {
            Error::new(SqlState::STATEMENT_COMPLETION_UNKNOWN, "the outcome of the transaction is unknown")
                .with_detail(format!("Transaction {} may or may not have been committed.", txn.0))
                .with_hint(
                    "Look at its rows. A transaction that asks for txid_current() can be asked for with txid_status() afterwards.",
                )
        }
        TxnError::Limit(text) => Error::new(SqlState::PROGRAM_LIMIT_EXCEEDED, text),
        TxnError::Cancelled => {
            Error::new(SqlState::ADMIN_SHUTDOWN, "terminating connection: the instance is shutting down")
        }
        TxnError::Fatal(text) => Error::internal(text),
    }
}

/// `table "t" (id)=(7)` where the key can be read, else its bytes.
fn describe(bytes: &[u8], known: &Known) -> String {
    match parts(bytes, known) {
        Some((table, columns, values)) => format!("table \"{table}\" ({columns})=({values})"),
        None => format!("an internal key ({})", hex::encode(bytes)),
    }
}

fn parts(bytes: &[u8], known: &Known) -> Option<(String, String, String)> {
    let table = known.by_storage.get(&key::storage_id(bytes)?)?;
    let table = known.catalog.table_by_id(*table)?;
    let columns: Vec<_> = table.key_columns().iter().map(|position| &table.columns[*position]).collect();
    let types: Vec<_> = columns.iter().map(|column| column.ty.clone()).collect();
    let values = key::decode_key(bytes, &types).ok().filter(|values| !values.is_empty())?;
    let settings = FormatSettings::default();
    let values: Vec<_> = values.iter().map(|value| quorate_sql::format::to_text(value, &settings)).collect();
    let names: Vec<_> = columns.iter().map(|column| column.name.clone()).collect();
    Some((table.name.clone(), names.join(", "), values.join(", ")))
}

fn duplicate(bytes: &[u8], known: &Known) -> Error {
    let table = key::storage_id(bytes).and_then(|id| known.by_storage.get(&id));
    let table = table.and_then(|id| known.catalog.table_by_id(*id));
    let constraint = table.and_then(|table| table.primary_key.as_ref()).map_or("primary key", |key| key.name.as_str());
    let error = Error::new(
        SqlState::UNIQUE_VIOLATION,
        format!("duplicate key value violates unique constraint \"{constraint}\""),
    )
    .with_constraint(constraint);
    match (table, parts(bytes, known)) {
        (Some(table), Some((_, columns, values))) => error
            .with_table(quorate_sql::catalog::PUBLIC, table.name.clone())
            .with_detail(format!("Key ({columns})=({values}) already exists.")),
        _ => error,
    }
}
