//! Interrupting a statement: cancel requests and `statement_timeout`, both 57014.
//!
//! The running statement's future is polled inside [`interruptible`], which looks at the cancel flag and the deadline at each
//! wake-up, without allocating. A commit is never interrupted: its outcome would be unknown.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::task::AtomicWaker;

#[derive(Debug, Default)]
struct Shared {
    cancelled: AtomicBool,
    waker: AtomicWaker,
}

/// Cancels the statement that a session is running. Cheap to clone; usable from any thread.
#[derive(Clone, Debug, Default)]
pub struct CancelHandle(Arc<Shared>);

impl CancelHandle {
    /// Makes the running statement, if there is one, end with 57014. A session that runs nothing ignores it.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        self.0.waker.wake();
    }

    /// Whether a cancel request has come since the statement began.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Relaxed)
    }

    /// Forgets a request that came before a statement began.
    pub(crate) fn clear(&self) {
        self.0.cancelled.store(false, Ordering::SeqCst);
    }
}

/// Why a statement was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupt {
    /// A cancel request.
    Cancelled,
    /// `statement_timeout`.
    StatementTimedOut,
    /// `transaction_timeout`.
    TransactionTimedOut,
}

/// The moment at which a statement or a transaction has to end.
pub(crate) struct Deadline(Mutex<BoxFuture<'static, ()>>);

impl Deadline {
    /// When `sleep` completes. The mutex is never locked; it makes streams that hold a deadline `Sync`.
    pub(crate) fn new(sleep: BoxFuture<'static, ()>) -> Deadline {
        Deadline(Mutex::new(sleep))
    }

    fn has_come(&mut self, context: &mut Context<'_>) -> bool {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll(context).is_ready()
    }
}

/// What a half-run statement keeps between calls.
pub(crate) struct Live {
    /// The transaction that it belongs to.
    pub(crate) serial: u64,
    /// `statement_timeout`, from the statement's beginning.
    pub(crate) deadline: Option<Deadline>,
    /// Whether the transaction commits at the statement's end.
    pub(crate) commits: bool,
}

/// Runs `work` until it is done, cancelled, or one of the deadlines completes: that of the statement, and that of the transaction.
///
/// The work is pinned already since it takes kilobytes, and would be copied in here.
pub(crate) fn interruptible<F: Future>(
    cancel: &CancelHandle,
    mut statement: Option<&mut Deadline>,
    mut transaction: Option<&mut Deadline>,
    mut work: Pin<&mut F>,
) -> impl Future<Output = Result<F::Output, Interrupt>> {
    std::future::poll_fn(move |context| {
        if let Poll::Ready(output) = work.as_mut().poll(context) {
            return Poll::Ready(Ok(output));
        }
        // Register before looking, else a request between the two would be lost.
        cancel.0.waker.register(context.waker());
        if cancel.is_cancelled() {
            return Poll::Ready(Err(Interrupt::Cancelled));
        }
        if statement.as_mut().is_some_and(|deadline| deadline.has_come(context)) {
            return Poll::Ready(Err(Interrupt::StatementTimedOut));
        }
        if transaction.as_mut().is_some_and(|deadline| deadline.has_come(context)) {
            return Poll::Ready(Err(Interrupt::TransactionTimedOut));
        }
        Poll::Pending
    })
}

/// Lets other tasks of the runtime run, and the interrupts be seen, in loops that wait for nothing else.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(move |context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
