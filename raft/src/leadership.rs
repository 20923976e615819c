//! Whether this element leads its group, as the state machine and the transactions above it may rely on it.
//!
//! An element leads in a term from the moment it has applied its own first entry of that term until its log holds a vote for
//! anything else. "Leads" is a hint that can be outdated by the time it is read; what must not be outdated is proved (see `proof`), and
//! proposals carry their term.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::log::GroupLog;
use crate::machine::StateMachine;
use crate::types::ElementId;

/// Leadership of one element.
pub(crate) struct Leadership {
    element: ElementId,
    log: GroupLog,
    /// The term in which this element leads; 0 if it does not.
    term: AtomicU64,
    /// The term of the vote found at start: what was led in it died with the process that led.
    floor: u64,
    /// The element was shut down.
    ended: AtomicBool,
    applied: watch::Sender<u64>,
    changing: Mutex<()>,
}

impl Leadership {
    pub(crate) fn new(element: ElementId, log: GroupLog, applied: u64) -> Self {
        let floor = log.issued_vote().map_or(0, |vote| vote.term);
        let (term, ended) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { element, log, term, floor, ended, applied: watch::channel(applied).0, changing: Mutex::new(()) }
    }

    /// The term in which this element leads, if its own vote still says so.
    pub(crate) fn term(&self) -> Option<u64> {
        let term = self.term.load(Ordering::Acquire);
        (term != 0 && self.votes_for_itself(term)).then_some(term)
    }

    /// Whether the vote issued last is for this element in `term`, which is one of this run's, and the element still runs.
    pub(crate) fn votes_for_itself(&self, term: u64) -> bool {
        term > self.floor && !self.ended.load(Ordering::Acquire) && self.votes_for(self.element, term)
    }

    /// Whether the vote issued last is for `leader` in `term`.
    pub(crate) fn votes_for(&self, leader: ElementId, term: u64) -> bool {
        self.log.issued_vote().is_some_and(|vote| vote.term == term && vote.leader == leader)
    }

    pub(crate) fn watch_applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Called by the state machine after each apply, before anybody is answered.
    pub(crate) fn applied(&self, index: u64, term: u64, machine: &dyn StateMachine) {
        if term > self.term.load(Ordering::Acquire) {
            let _changing = self.changing.lock();
            // Under the lock: if the vote changes after this, the `refresh` that follows finds the term and ends it.
            if self.votes_for_itself(term) {
                if self.term.load(Ordering::Acquire) != 0 {
                    machine.lost_leadership();
                }
                machine.became_leader(term);
                self.term.store(term, Ordering::Release);
            }
        }
        self.applied.send_replace(index);
    }

    /// Notices a lost leadership; called whenever openraft reports a change.
    pub(crate) fn refresh(&self, machine: &dyn StateMachine) {
        let _changing = self.changing.lock();
        let term = self.term.load(Ordering::Acquire);
        if term != 0 && !self.votes_for_itself(term) {
            self.term.store(0, Ordering::Release);
            machine.lost_leadership();
        }
    }

    /// The element is being shut down: it leads no more, whatever its vote says.
    pub(crate) fn end(&self, machine: &dyn StateMachine) {
        self.ended.store(true, Ordering::Release);
        self.refresh(machine);
    }
}
