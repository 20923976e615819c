//! The types with which openraft is instantiated, and the few of ours that its users see.
//!
//! openraft's own types never reach a disk or a wire: `codec` translates. Leaders are identified in the standard way, one
//! per term, since a transaction's proposal is bound to a term.

use std::fmt;

use bytes::Bytes;
use openraft::impls::{LogId, leader_id_std};
use openraft::vote::RaftLeaderId;
use serde::{Deserialize, Serialize};

/// Number of an instance in its grid, from 1.
pub type InstanceId = u32;

/// Number of an element: a Raft node id, never reused in its grid.
pub type ElementId = u64;

/// One Raft group. `database` 0 is the management group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId {
    /// Number of the database in the grid, from 1; 0 for management.
    pub database: u32,
    /// Number of the replica set in the database, from 1.
    pub set: u32,
}

impl GroupId {
    /// The management group.
    pub const MANAGEMENT: GroupId = GroupId { database: 0, set: 0 };

    /// The group as one number, in key order.
    pub fn as_u64(self) -> u64 {
        (u64::from(self.database) << 32) | u64::from(self.set)
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MANAGEMENT => f.write_str("management"),
            Self { database, set } => write!(f, "database {database} replica set {set}"),
        }
    }
}

/// Where a member of a group lives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The instance that hosts the element.
    pub instance: InstanceId,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instance {}", self.instance)
    }
}

/// What one Raft entry carries: commands that were waiting together, so that they share one round, one fsync and one apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The commands, in the order in which they were proposed.
    pub commands: Vec<Bytes>,
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} commands", self.commands.len())
    }
}

/// The state machine's replies to a [`Batch`], one a command. Empty for entries without commands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replies(pub Vec<Bytes>);

impl fmt::Display for Replies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} replies", self.0.len())
    }
}

openraft::declare_raft_types!(
    /// How openraft is instantiated.
    pub Types:
        D = Batch,
        R = Replies,
        NodeId = ElementId,
        Node = Member,
        Term = u64,
        LeaderId = leader_id_std::LeaderId<u64, ElementId>,
);

pub(crate) type LeaderId = leader_id_std::LeaderId<u64, ElementId>;
pub(crate) type CommittedLeader = <LeaderId as RaftLeaderId>::Committed;
pub(crate) type RaftLogId = LogId<CommittedLeader>;
pub(crate) type RaftVote = openraft::type_config::alias::VoteOf<Types>;
pub(crate) type RaftEntry = openraft::type_config::alias::EntryOf<Types>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
