//! The tool, run as an operator runs it.

mod change;
mod inspect;
mod reach;
mod status;
mod support;
