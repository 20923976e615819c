//! The management group of this instance, and what ties the instance to the active member wherever that is.
//!
//! `machine` is the replicated state, `group` its running member and what it hears of the instances, `agent` the conversation of every instance with the active
//! one, `founding` how instances that belong to no grid yet come to one.

pub mod agent;
pub mod founding;
pub mod group;
pub mod machine;
