//! The gateway from a client's side: tokio-postgres for what drivers do, raw messages for what they never do.

mod driver;
mod limits;
mod raw;
mod support;
