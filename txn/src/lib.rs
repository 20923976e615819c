//! Transactions over replica sets: the multi-version store of an element, the leader's part of the protocol, and (in
//! `coordinator`) the gateway's part.
//!
//! Keys and values are bytes, the log and the network are traits: this crate knows no SQL and no consensus library. Read in
//! this order: [`protocol`] says what travels, [`traits`] what is asked of the world around.

pub mod clock;
pub mod protocol;
pub mod traits;
