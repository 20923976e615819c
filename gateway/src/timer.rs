//! Timers of the sessions: those of the runtime.

use std::time::Duration;

use futures::future::BoxFuture;
use quorate_sql::session::Timer;

/// Sleeps on tokio's clock.
#[derive(Clone, Copy, Debug)]
pub struct TokioTimer;

impl Timer for TokioTimer {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}
