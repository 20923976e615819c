//! How a database's catalog is stored: system rows that every replica set holds a copy of, in the same store and transactions as users' rows.
//!
//! Storage ids below [`FIRST_STORAGE_ID`] are the system's. Id 1 holds one row: the catalog's version and the next free storage id; every DDL
//! writes it, so that two never race. Id 2 holds a row a table, by table id: what a statement relies on, and what its transaction validates in
//! one of its sets. Id 3 holds records of transactions that asked for their own id.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use quorate_sql::catalog::{Catalog, Table};
use quorate_sql::error::Error;
use quorate_txn::protocol::TxnId;

/// First storage id of users' tables.
pub const FIRST_STORAGE_ID: u32 = 1000;

const VERSION: u32 = 1;
const TABLES: u32 = 2;
const TRANSACTIONS: u32 = 3;

/// The row that every change of the catalog writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionRow {
    /// Counts committed changes.
    pub version: u64,
    /// Never used before.
    pub next_storage_id: u32,
}

impl VersionRow {
    /// Before the first DDL.
    pub const FIRST: VersionRow = VersionRow { version: 0, next_storage_id: FIRST_STORAGE_ID };

    /// The row's key.
    pub fn key() -> Bytes {
        Bytes::copy_from_slice(&VERSION.to_be_bytes())
    }

    /// The row's value.
    pub fn encode(self) -> Bytes {
        let mut out = BytesMut::with_capacity(12);
        out.put_u64(self.version);
        out.put_u32(self.next_storage_id);
        out.freeze()
    }

    /// Reads the row; an absent one is the first.
    pub fn decode(value: Option<Bytes>) -> Result<Self, Error> {
        let Some(mut value) = value else { return Ok(Self::FIRST) };
        if value.len() != 12 {
            return Err(Error::corrupted("the catalog's version row has a wrong length"));
        }
        Ok(Self { version: value.get_u64(), next_storage_id: value.get_u32() })
    }
}

/// Key of a table's row.
pub fn table_key(id: u32) -> Bytes {
    let mut key = BytesMut::with_capacity(8);
    key.put_u32(TABLES);
    key.put_u32(id);
    key.freeze()
}

/// All tables' rows.
pub fn table_range() -> (Bytes, Bytes) {
    (Bytes::copy_from_slice(&TABLES.to_be_bytes()), Bytes::copy_from_slice(&(TABLES + 1).to_be_bytes()))
}

/// Key of the record of a transaction that asked for its id, and the slot where it lives.
pub fn transaction_key(txn: TxnId) -> (Bytes, u16) {
    let mut key = BytesMut::with_capacity(12);
    key.put_u32(TRANSACTIONS);
    key.put_u64(txn.0);
    let slot = quorate_sql::key::slot_of_bytes(&txn.0.to_be_bytes());
    (key.freeze(), slot)
}

/// A catalog as it was read from its rows.
#[derive(Debug)]
pub struct Known {
    /// For the SQL engine.
    pub catalog: Arc<Catalog>,
    /// The version row.
    pub version: VersionRow,
    /// The rows as stored, by table id: what a replica set must still hold when a statement relies on it.
    pub rows: HashMap<u32, Bytes>,
    /// Tables by the storage id with which their rows' keys begin.
    pub by_storage: HashMap<u32, u32>,
}

impl Known {
    /// Puts a catalog together from its rows.
    pub fn new(version: VersionRow, rows: Vec<Bytes>) -> Result<Self, Error> {
        let tables = rows.iter().map(|row| Table::decode(row)).collect::<Result<Vec<_>, _>>()?;
        let by_storage = tables.iter().map(|table| (table.storage_id, table.id)).collect();
        let rows = tables.iter().map(|table| table.id).zip(rows).collect();
        Ok(Self { catalog: Arc::new(Catalog::new(version.version, tables)), version, rows, by_storage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_row_survives_and_damage_is_named() {
        let row = VersionRow { version: 7, next_storage_id: 1234 };
        assert_eq!(VersionRow::decode(Some(row.encode())).expect("it was encoded"), row);
        assert_eq!(VersionRow::decode(None).expect("absent is first"), VersionRow::FIRST);
        assert!(VersionRow::decode(Some(Bytes::from_static(b"short"))).is_err());
    }

    #[test]
    fn system_rows_lie_below_all_users_rows() {
        let user = quorate_sql::key::storage_prefix(FIRST_STORAGE_ID);
        for key in [VersionRow::key(), table_key(u32::MAX), transaction_key(TxnId(u64::MAX >> 1)).0] {
            assert!(key.as_ref() < user.as_slice());
        }
        let (start, end) = table_range();
        assert!(start <= table_key(0) && table_key(u32::MAX) < end && VersionRow::key() < start);
    }
}
