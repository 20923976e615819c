//! Checkers: each judges what clients saw against one promise, and says in its error which observation breaks it. Each comes
//! with histories that it must refuse, since a checker that accepts everything proves nothing.

pub mod acknowledged;
pub mod bank;
pub mod register;
