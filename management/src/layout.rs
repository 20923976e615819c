//! Where the elements of a database go.
//!
//! Data instances form *columns*: one data space group each, k of them, all equally long. A *row* takes one instance
//! from each column, so the copies of a replica set, which uses one row, are in k different groups and on k different
//! machines. Sets are dealt to the rows in turn, and the sets of one row prefer different members as their leaders.
//! Three instances with k = 3 and three sets: one row, three sets on it, each led by another instance. Six instances
//! with k = 3 and two sets: two rows, the first set on instances 1 to 3, the second on 4 to 6.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Instance, InstanceNumber};

/// More sets than this in one database only cost.
pub const SETS_MAX: u32 = 1024;

/// Instances of one replica set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// One instance a data space group, in the order of the groups.
    pub instances: Vec<InstanceNumber>,
    /// Index into `instances` of the member that should lead.
    pub preferred: usize,
}

/// Why no layout exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoLayout {
    /// What is missing.
    pub why: String,
    /// What to do.
    pub hint: String,
}

fn refuse<T>(why: impl Into<String>, hint: impl Into<String>) -> Result<T, NoLayout> {
    Err(NoLayout { why: why.into(), hint: hint.into() })
}

/// The default layout of a database over all data instances among `instances`.
///
/// # Errors
/// When there are fewer data instances than copies, when the data space groups are not equally large, when two copies
/// would be on one machine, or when the number of sets is out of bounds.
pub fn default_layout<'a>(
    instances: impl IntoIterator<Item = &'a Instance>,
    k: u32,
    replica_sets: Option<u32>,
) -> Result<Vec<Placement>, NoLayout> {
    let data: Vec<&Instance> = instances.into_iter().filter(|instance| instance.spec.data).collect();
    let names =
        |instances: &[&Instance]| instances.iter().map(|instance| instance.full_name()).collect::<Vec<_>>().join(", ");
    if data.len() < k as usize {
        let known = if data.is_empty() { "none is known".to_owned() } else { format!("known are {}", names(&data)) };
        return refuse(
            format!("k = {k} needs {k} data instances, {known}"),
            "Start the missing instances and repeat the command",
        );
    }
    let mut columns: BTreeMap<u32, Vec<&Instance>> = (1..=k).map(|group| (group, Vec::new())).collect();
    for instance in &data {
        assert!((1..=k).contains(&instance.group), "{} was given a data space group", instance.full_name());
        columns.entry(instance.group).or_default().push(instance);
    }
    let rows = columns.values().map(Vec::len).min().unwrap_or(0);
    if columns.values().any(|column| column.len() != rows) {
        let sizes: Vec<String> =
            columns.iter().map(|(group, column)| format!("group {group} has {}", column.len())).collect();
        return refuse(
            format!("data space groups need equally many data instances, but {}", sizes.join(", ")),
            "Start the instances that are missing; those that are in the grid stay in their data space groups",
        );
    }
    let rows: Vec<Vec<&Instance>> = (0..rows).map(|row| columns.values().map(|column| column[row]).collect()).collect();
    for row in &rows {
        let hosts: BTreeSet<&str> = row.iter().map(|instance| instance.spec.host.as_str()).collect();
        if hosts.len() != row.len() && !row.iter().all(|instance| instance.spec.single_host) {
            return refuse(
                format!("copies of one row would be on one machine: {}", names(row)),
                "Make a new grid whose instances on one host are in one data space group, or have single_host = true if this is a trial",
            );
        }
    }
    let sets = replica_sets.unwrap_or(rows.len() as u32);
    if sets == 0 || sets > SETS_MAX {
        return refuse(format!("the number of replica sets is from 1 to {SETS_MAX}, not {sets}"), "");
    }
    Ok((0..sets as usize)
        .map(|set| {
            let (row, turn) = (set % rows.len(), set / rows.len());
            Placement {
                instances: rows[row].iter().map(|instance| instance.number).collect(),
                preferred: turn % k as usize,
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::instance;

    fn placed(layout: &[Placement]) -> Vec<String> {
        layout
            .iter()
            .map(|placement| {
                let leader = placement.instances[placement.preferred];
                format!("{:?} led by {leader}", placement.instances)
            })
            .collect()
    }

    #[test]
    fn three_instances_lead_one_set_each() {
        let instances = [instance(1, 1), instance(2, 2), instance(3, 3)];
        let layout = default_layout(&instances, 3, Some(3)).expect("fits");
        assert_eq!(placed(&layout), ["[1, 2, 3] led by 1", "[1, 2, 3] led by 2", "[1, 2, 3] led by 3"]);
        assert_eq!(default_layout(&instances, 3, None).expect("fits").len(), 1);
    }

    #[test]
    fn six_instances_hold_two_sets_apart() {
        let instances: Vec<_> = (1..=6).map(|number| instance(number, (number - 1) % 3 + 1)).collect();
        let layout = default_layout(&instances, 3, None).expect("fits");
        assert_eq!(placed(&layout), ["[1, 2, 3] led by 1", "[4, 5, 6] led by 4"]);
        let layout = default_layout(&instances, 3, Some(6)).expect("fits");
        assert_eq!(placed(&layout)[2..4], ["[1, 2, 3] led by 2", "[4, 5, 6] led by 5"]);
    }

    #[test]
    fn one_copy_uses_every_instance() {
        let instances = [instance(1, 1), instance(2, 1), instance(3, 1)];
        assert_eq!(
            placed(&default_layout(&instances, 1, None).expect("fits")),
            ["[1] led by 1", "[2] led by 2", "[3] led by 3"]
        );
    }

    #[test]
    fn what_cannot_be_placed_is_said() {
        let why = |instances: &[Instance], k, sets| default_layout(instances, k, sets).expect_err("does not fit").why;
        assert_eq!(
            why(&[instance(1, 1), instance(2, 2)], 3, None),
            "k = 3 needs 3 data instances, known are host1.instance1, host2.instance1"
        );
        assert_eq!(
            why(&[instance(1, 1), instance(2, 2), instance(3, 3), instance(4, 3)], 3, None),
            "data space groups need equally many data instances, but group 1 has 1, group 2 has 1, group 3 has 2"
        );
        let mut shared = [instance(1, 1), instance(2, 2), instance(3, 3)];
        shared[1].spec.host = "host1".to_owned();
        shared[1].spec.name = "instance2".to_owned();
        assert_eq!(
            why(&shared, 3, None),
            "copies of one row would be on one machine: host1.instance1, host1.instance2, host3.instance1"
        );
        for single in &mut shared {
            single.spec.single_host = true;
        }
        assert!(default_layout(&shared, 3, None).is_ok());
        assert_eq!(why(&[instance(1, 1)], 1, Some(1025)), "the number of replica sets is from 1 to 1024, not 1025");
    }
}
