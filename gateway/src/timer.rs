//! Timers of the sessions: those of the runtime.

use std::time::Duration;

use futures::future::BoxFuture;
use quorate_sql::session::Timer;

/// Sleeps on tokio's clock.
#[derive(Clone, Copy, Debug)]
pub struct TokioTimer;

impl Timer for TokioTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        // A statement that never waits uses up its task's budget, with which a sleep would not look whether its time has come.
        Box::pin(tokio::task::coop::unconstrained(tokio::time::sleep(duration)))
    }
}
