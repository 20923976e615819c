//! The steps of a transaction in a script, and how their answers are printed.

use std::error::Error;

use bytes::Bytes;
use goldenscript::Command;

use crate::clock::Timestamp;
use crate::coordinator::{ScanRange, Transaction, TxnError};
use crate::protocol::SetId;

/// What comes of a step. Without the transaction: it has ended.
pub(super) struct Done {
    pub(super) txn: Option<Transaction>,
    pub(super) text: String,
    pub(super) committed: Option<Timestamp>,
}

/// One step of a transaction.
pub(super) enum Step {
    Get(Vec<String>),
    Lock(Vec<String>),
    Scan { set: SetId, reverse: bool, rows: u32 },
    Put { writes: Vec<(String, Option<String>)>, insert: bool },
    Savepoint(u64),
    Release(u64),
    Back(u64),
    Cut,
    Validate,
    Commit,
    Rollback,
}

impl Step {
    pub(super) fn parse(command: &Command) -> Result<Step, Box<dyn Error>> {
        let words: Vec<String> = command.args.iter().filter(|a| a.key.is_none()).map(|a| a.value.clone()).collect();
        let pairs = || command.args.iter().filter_map(|a| Some((a.key.clone()?, Some(a.value.clone())))).collect();
        Ok(match command.name.as_str() {
            "get" => Step::Get(words),
            "lock" => Step::Lock(words),
            "scan" => Step::Scan {
                set: number_of(words.first().ok_or("which set?")?)?,
                reverse: words.contains(&"reverse".to_owned()),
                rows: command.consume_args().lookup_parse("rows")?.unwrap_or(100),
            },
            "put" => Step::Put { writes: pairs(), insert: false },
            "insert" => Step::Put { writes: pairs(), insert: true },
            "delete" => Step::Put { writes: words.into_iter().map(|key| (key, None)).collect(), insert: false },
            "savepoint" => Step::Savepoint(words.first().ok_or("which number?")?.parse()?),
            "release" => Step::Release(words.first().ok_or("which number?")?.parse()?),
            "back" => Step::Back(words.first().ok_or("which number?")?.parse()?),
            "cut" => Step::Cut,
            "validate" => Step::Validate,
            "commit" => Step::Commit,
            "rollback" => Step::Rollback,
            other => return Err(format!("unknown step {other}").into()),
        })
    }

    pub(super) async fn run(self, mut txn: Transaction) -> Done {
        let result = match self {
            Step::Commit => {
                let (text, committed) = match txn.commit().await {
                    Ok(Some(at)) => ("committed".into(), Some(at)),
                    Ok(None) => ("ended".into(), None),
                    Err(error) => (describe(&error), None),
                };
                return Done { txn: None, text, committed };
            }
            Step::Rollback => {
                txn.rollback();
                return Done { txn: None, text: String::new(), committed: None };
            }
            other => other.work(&mut txn).await,
        };
        let text = result.unwrap_or_else(|error| describe(&error));
        Done { txn: Some(txn), text, committed: None }
    }

    async fn work(self, txn: &mut Transaction) -> Result<String, TxnError> {
        let mut text = Vec::new();
        match self {
            Step::Get(keys) => {
                for key in keys {
                    let value = txn.get(set_of(&key), &[Bytes::from(key.clone())]).await?;
                    text.push(row(&key, value[0].as_ref()));
                }
            }
            Step::Lock(keys) => {
                for key in keys {
                    let value = txn.lock_get(set_of(&key), &[Bytes::from(key.clone())]).await?;
                    text.push(row(&key, value[0].as_ref()));
                }
            }
            Step::Scan { set, reverse, rows } => {
                let name = b'A' + set as u8 - 1;
                let (start, end) = (Bytes::from(vec![name]), Bytes::from(vec![name + 1]));
                let range = ScanRange { start, end, reverse, rows_max: rows, bytes_max: 1 << 20, program: None };
                let page = txn.scan(set, &range).await?;
                let name = |key: &Bytes| String::from_utf8_lossy(key).into_owned();
                text.extend(page.rows.iter().map(|(key, value)| row(&name(key), Some(value))));
                text.extend(page.resume.map(|_| "…".to_owned()));
                if text.is_empty() {
                    text.push("(none)".into());
                }
            }
            Step::Put { writes, insert } => {
                for (key, value) in writes {
                    // `x*2000` is a long value.
                    let value = value.map(|v| match v.split_once('*') {
                        Some((letter, times)) => letter.repeat(times.parse().expect("a number")),
                        None => v,
                    });
                    txn.put(set_of(&key), Bytes::from(key), value.map(Bytes::from), insert).await?;
                }
            }
            Step::Savepoint(number) => txn.savepoint(number),
            Step::Release(number) => txn.release(number),
            Step::Back(number) => txn.roll_back_to(number)?,
            Step::Cut if txn.take_cut(&[1, 2]).await? => text.push("cut".into()),
            Step::Cut => text.push("no cut".into()),
            Step::Validate => txn.validate().await?,
            Step::Commit | Step::Rollback => unreachable!("these consume the transaction"),
        }
        Ok(text.join(" "))
    }
}

fn set_of(key: &str) -> SetId {
    number_of(key).expect("scripts name keys of A and B")
}

fn row(key: &str, value: Option<&Bytes>) -> String {
    let value = value.map_or("-".into(), |v| {
        let text = String::from_utf8_lossy(v).into_owned();
        if text.len() > 20 { format!("({} bytes)", text.len()) } else { text }
    });
    format!("{key}={value}")
}

fn describe(error: &TxnError) -> String {
    let name = |key: &Bytes| String::from_utf8_lossy(key).into_owned();
    match error {
        TxnError::Retry { cause, key, .. } => {
            format!("40001 {cause:?}{}", key.as_ref().map(|key| format!(" over {}", name(key))).unwrap_or_default())
        }
        TxnError::Duplicate { key } => format!("23505 {}", name(key)),
        TxnError::Unavailable { set } => format!("58000 set {}", if *set == 1 { "A" } else { "B" }),
        TxnError::Unknown { .. } => "40003".into(),
        TxnError::Limit(what) => format!("54000 {what}"),
        TxnError::Cancelled => "57P01".into(),
        TxnError::Fatal(what) => format!("XX000 {what}"),
    }
}

/// The set that a name or a key belongs to.
pub(super) fn number_of(name: &str) -> Result<SetId, Box<dyn Error>> {
    match name.as_bytes() {
        [letter @ b'A'..=b'B', ..] => Ok(SetId::from(letter - b'A') + 1),
        _ => Err(format!("{name} is in no set").into()),
    }
}
