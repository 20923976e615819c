//! No acknowledged write is lost, and no refused write appears: clients insert rows with ids of their own and keep count.

use std::collections::BTreeSet;
use std::sync::Mutex;

use crate::history::Outcome;

/// Ids by the outcome of their insertion.
#[derive(Debug, Default)]
pub struct Acknowledged {
    ids: Mutex<[BTreeSet<i64>; 3]>,
}

impl Acknowledged {
    /// Notes how the insertion of `id` ended.
    pub fn note(&self, id: i64, outcome: Outcome) {
        self.ids.lock().expect("no holder panics")[outcome as usize].insert(id);
    }

    /// Insertions with this outcome so far.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.ids.lock().expect("no holder panics")[outcome as usize].len()
    }

    /// Compares with what the table holds.
    ///
    /// # Errors
    /// Names the first ids that are lost, that appeared although refused, or that nobody inserted.
    pub fn check(&self, found: &BTreeSet<i64>) -> Result<(), String> {
        let ids = self.ids.lock().expect("no holder panics");
        let [acknowledged, refused, unknown] = &*ids;
        let sample = |ids: Vec<&i64>| format!("{} of them, such as {:?}", ids.len(), &ids[..ids.len().min(5)]);
        let lost: Vec<_> = acknowledged.difference(found).collect();
        if !lost.is_empty() {
            return Err(format!("acknowledged rows are lost: {}", sample(lost)));
        }
        let appeared: Vec<_> = found.intersection(refused).collect();
        if !appeared.is_empty() {
            return Err(format!("refused rows are there: {}", sample(appeared)));
        }
        let strange: Vec<_> = found.iter().filter(|id| !acknowledged.contains(id) && !unknown.contains(id)).collect();
        if !strange.is_empty() {
            return Err(format!("rows that nobody inserted: {}", sample(strange)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted() -> Acknowledged {
        let ids = Acknowledged::default();
        ids.note(1, Outcome::Ok);
        ids.note(2, Outcome::Refused);
        ids.note(3, Outcome::Unknown);
        ids
    }

    #[test]
    fn an_unknown_row_may_be_there_or_not() {
        noted().check(&BTreeSet::from([1])).unwrap();
        noted().check(&BTreeSet::from([1, 3])).unwrap();
    }

    #[test]
    fn lost_refused_and_strange_rows_are_found() {
        assert!(noted().check(&BTreeSet::from([3])).unwrap_err().contains("lost"));
        assert!(noted().check(&BTreeSet::from([1, 2])).unwrap_err().contains("refused"));
        assert!(noted().check(&BTreeSet::from([1, 4])).unwrap_err().contains("nobody"));
    }
}
