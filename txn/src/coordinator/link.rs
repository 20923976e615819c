//! What one gateway keeps about one replica set.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use super::ids::Unfinished;
use super::lane::Lane;
use crate::protocol::{Outcome, SetId, Term};

#[derive(Debug)]
pub(crate) struct SetLink {
    pub(crate) set: SetId,
    /// The highest term a leader of the set has answered from; zero if none has yet.
    term: AtomicU64,
    /// Transactions that hold locks there.
    holds: AtomicUsize,
    /// A sign of life is on its way.
    pub(crate) beating: AtomicBool,
    /// It did not answer when it was to be frozen; cleared when a leader of it answers anything.
    pub(crate) suspect: AtomicBool,
    /// New, proven snapshots.
    pub(crate) fresh: Lane,
    /// Snapshots from elsewhere.
    pub(crate) moved: Lane,
    pub(crate) jobs: mpsc::UnboundedSender<Job>,
}

/// Something a set has to be told, until it has heard it.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) news: News,
    pub(crate) txn: Arc<Unfinished>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum News {
    Outcome(Outcome),
    /// The transaction ends here without a trace: locks and staged writes go.
    Unlock,
}

impl SetLink {
    pub(crate) fn new(set: SetId, jobs: mpsc::UnboundedSender<Job>) -> Self {
        SetLink {
            set,
            term: AtomicU64::new(0),
            holds: AtomicUsize::new(0),
            beating: AtomicBool::new(false),
            suspect: AtomicBool::new(false),
            fresh: Lane::default(),
            moved: Lane::default(),
            jobs,
        }
    }

    /// The highest term known.
    pub(crate) fn term(&self) -> Option<Term> {
        Some(self.term.load(Ordering::Acquire)).filter(|term| *term > 0)
    }

    pub(crate) fn saw_term(&self, term: Term) {
        self.term.fetch_max(term, Ordering::AcqRel);
    }

    /// Whether some transaction holds locks there.
    pub(crate) fn held(&self) -> bool {
        self.holds.load(Ordering::Acquire) > 0
    }

    /// Leaves news to be delivered. After the coordinator has stopped nobody will: the leaders notice its silence.
    pub(crate) fn tell(&self, news: News, txn: &Arc<Unfinished>) {
        let _ = self.jobs.send(Job { news, txn: Arc::clone(txn) });
    }
}

/// A transaction holds, or may hold, locks or staged writes in the set.
#[derive(Debug)]
pub(crate) struct Hold(Arc<SetLink>);

impl Hold {
    pub(crate) fn new(link: &Arc<SetLink>) -> Self {
        link.holds.fetch_add(1, Ordering::AcqRel);
        Hold(Arc::clone(link))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.holds.fetch_sub(1, Ordering::AcqRel);
    }
}
