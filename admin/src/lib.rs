//! `quorate-admin`: the operators' tool.
//!
//! It speaks the gRPC contract of `quorate-proto` and nothing else, so it builds and runs without the server.
//!
//! - [`argv`] makes the spellings that operators are used to into those that the parser knows
//! - [`cli`] is the grammar, and with it the help
//! - [`client`] finds an instance that answers, and sorts failures by what they mean
//! - [`commands`] is what each command does
//! - [`wait`] follows a change until it is done
//! - [`render`], [`inspect`] and [`table`] make text of answers, [`zone`] of times
//!
//! Answers go to standard output, progress and errors to standard error. The exit code tells what happened: see [`Exit`].

pub mod argv;
pub mod cli;
pub mod client;
pub mod commands;
pub mod inspect;
pub mod render;
pub mod table;
pub mod wait;
pub mod zone;

/// How a command ended, as its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Refused, or it failed.
    Refused = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No instance answers, or no majority of the management instances.
    Unreachable = 3,
    /// The time given to `-wait` is over. The change goes on.
    TimedOut = 4,
}
