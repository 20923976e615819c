//! Which transactions' messages a leader has taken: one bit each, for at most one execution in a term (rule 8 in
//! `docs/transactions.md`).

use std::collections::BTreeMap;

use crate::protocol::TxnId;

/// A set of transactions, cheap for ids that lie close together, as those of one gateway do.
#[derive(Debug, Default)]
pub(crate) struct Seen(BTreeMap<u64, u64>);

impl Seen {
    /// Adds a transaction; false if it was there.
    pub(crate) fn insert(&mut self, txn: TxnId) -> bool {
        let word = self.0.entry(txn.0 >> 6).or_insert(0);
        let bit = 1 << (txn.0 & 63);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    pub(crate) fn contains(&self, txn: TxnId) -> bool {
        self.0.get(&(txn.0 >> 6)).is_some_and(|word| word & (1 << (txn.0 & 63)) != 0)
    }

    /// Forgets transactions of `[from, to)`; some near the ends may be kept.
    pub(crate) fn forget(&mut self, from: TxnId, to: TxnId) {
        let (first, last) = (from.0.div_ceil(64), to.0 >> 6);
        if first < last {
            let words: Vec<u64> = self.0.range(first..last).map(|(word, _)| *word).collect();
            for word in words {
                self.0.remove(&word);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transactions_are_seen_until_forgotten() {
        let mut seen = Seen::default();
        assert!(seen.insert(TxnId(70)));
        assert!(!seen.insert(TxnId(70)));
        assert!(!seen.contains(TxnId(71)));
        seen.forget(TxnId(0), TxnId(100));
        assert!(seen.contains(TxnId(70)), "words that are partly below stay");
        seen.forget(TxnId(0), TxnId(128));
        assert!(!seen.contains(TxnId(70)));
    }
}
