//! New and stale elements: copies of the store, membership, and what the log is kept for.

use std::collections::BTreeMap;

use futures::future::join_all;
use quorate_raft::{GroupId, Member};

use crate::support::{Grid, Mode, SET, SNAPSHOT, command, element, eventually, until};

/// Applies `count` commands of `bytes` bytes each, with numbers from `first`.
async fn fill(grid: &Grid, id: GroupId, first: u64, count: u64, bytes: usize) {
    let (leader, term) = grid.leader(id).await;
    let group = grid.group(leader, id);
    let replies = (first..first + count).map(|n| group.propose(term, command(n, &vec![n as u8; bytes])));
    assert!(join_all(replies.collect::<Vec<_>>()).await.iter().all(Result::is_ok));
}

async fn purge(grid: &Grid, instance: u32, id: GroupId) {
    let group = grid.group(instance, id);
    group.flush_and_purge(0).await.unwrap();
    let log = grid.running(instance).raft.log().group(id).unwrap();
    until("the log is purged", || log.purged_index().is_some_and(|purged| purged + 3 >= group.last_index())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_stale_element_gets_a_copy_once_its_log_is_gone_and_a_cut_transfer_goes_on() {
    let mut grid = Grid::with_sets(1).await;
    let (leader, _) = grid.leader(SET).await;
    let away = leader % 3 + 1;
    grid.propose(SET, 1).await;
    grid.kill(away).await;
    // 12 MiB: 24 pieces of half a megabyte, and more in smaller files.
    fill(&grid, SET, 1000, 200, 64 << 10).await;
    for instance in (1..=3).filter(|i| *i != away) {
        purge(&grid, instance, SET).await;
    }
    let (leader, _) = grid.leader(SET).await;
    let link = &grid.links[&(leader, away)];
    let before = link.requests(SNAPSHOT);
    // Offer, then the pieces: this is the 16th or so. The next one breaks the connection while the answer is under way.
    link.cut_at(SNAPSHOT, 16);
    grid.restart(away, &[(SET, element(1, away))]).await;
    let link = &grid.links[&(leader, away)];
    until("the connection was cut", || link.has_cut()).await;
    // More is applied meanwhile: the kept copy is now behind what openraft would like to send.
    fill(&grid, SET, 2000, 20, 10).await;
    let applied = grid.agreed(SET).await;
    assert_eq!(applied.len(), 222);
    let ledger = grid.ledger(away, SET);
    assert_eq!(ledger.installs(), 1);
    assert!(ledger.ballast() == grid.ledger(leader, SET).ballast());
    let sent = link.requests(SNAPSHOT) - before;
    assert!((25..=32).contains(&sent), "{sent} messages: the transfer went on where it was cut");
    let scratch = grid.host(away).directory.join(format!("element{}/scratch", element(1, away)));
    eventually("copies are cleared away", async || {
        let left = |d: &str| std::fs::read_dir(scratch.join(d)).map_or(0, Iterator::count);
        (left("incoming") == 0).then_some(())
    })
    .await;
    let outgoing = grid.host(leader).directory.join(format!("element{}/scratch/outgoing", element(1, leader)));
    until("the checkpoint is gone", || std::fs::read_dir(&outgoing).map_or(0, Iterator::count) == 0).await;

    // It is a full member again: with the third one away it makes the quorum, and after a restart it has everything.
    let third = (1..=3).find(|i| *i != leader && *i != away).unwrap();
    grid.kill(third).await;
    grid.propose(SET, 3000).await;
    grid.kill(away).await;
    grid.restart(away, &[(SET, element(1, away))]).await;
    assert!(grid.ledger(away, SET).commands().len() >= 201, "the copy was installed durably");
    let applied = grid.agreed(SET).await;
    assert!(applied.contains(&3000));
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_is_sent_while_proposals_go_on_and_nothing_is_missing() {
    let mut grid = Grid::with_sets(1).await;
    let (leader, _) = grid.leader(SET).await;
    let away = leader % 3 + 1;
    grid.kill(away).await;
    fill(&grid, SET, 0, 100, 50_000).await;
    for round in 0..3 {
        for instance in (1..=3).filter(|i| *i != away) {
            purge(&grid, instance, SET).await;
        }
        let (leader, _) = grid.leader(SET).await;
        grid.links[&(leader, away)].cut_at(SNAPSHOT, 3);
        grid.restart(away, &[(SET, element(1, away))]).await;
        let mut number = 10_000 * (round + 1);
        let ledger = grid.ledger(away, SET);
        // Purging goes on as well, as it would in life.
        while ledger.installs() == 0 || number % 100 != 0 {
            grid.propose(SET, number).await;
            number += 1;
            if number % 20 == 0 {
                for instance in (1..=3).filter(|i| *i != away) {
                    grid.group(instance, SET).flush_and_purge(5).await.unwrap();
                }
            }
        }
        grid.agreed(SET).await;
        assert!(ledger.ballast() == grid.ledger(leader, SET).ballast());
        grid.kill(away).await;
        std::fs::remove_dir_all(grid.host(away).directory.join(format!("element{}/store", element(1, away)))).ok();
        // Its log must be gone with its store: an element without memory would vote.
        std::fs::remove_dir_all(grid.host(away).directory.join("log")).unwrap();
        fill(&grid, SET, 10_000 * (round + 1) + 5000, 30, 100).await;
    }
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_new_element_replaces_one_that_is_gone() {
    let mut grid = Grid::start(4).await;
    for instance in 1..=3 {
        grid.start_element(instance, SET, element(1, instance)).await;
    }
    let members: BTreeMap<_, _> = (1..=3).map(|i| (element(1, i), Member { instance: i })).collect();
    grid.group(1, SET).initialize(members.clone()).await.unwrap();
    grid.group(1, SET).initialize(members).await.expect("once more is fine");
    let (leader, _) = grid.leader(SET).await;
    let gone = leader % 3 + 1;
    fill(&grid, SET, 0, 300, 20_000).await;
    grid.kill(gone).await;
    for instance in (1..=3).filter(|i| *i != gone) {
        purge(&grid, instance, SET).await;
    }
    grid.start_element(4, SET, 99).await;
    let (leader, _) = grid.leader(SET).await;
    grid.group(leader, SET).replace_member(element(1, gone), 99, Member { instance: 4 }).await.unwrap();
    let members = grid.group(leader, SET).members();
    assert!(members.contains_key(&99) && !members.contains_key(&element(1, gone)), "{members:?}");
    assert_eq!(grid.ledger(4, SET).installs(), 1);
    grid.agreed(SET).await;
    // The new one counts: with another one away there still is a quorum, proofs and leadership included.
    let other = (1..=3).find(|i| *i != leader && *i != gone).unwrap();
    grid.kill(other).await;
    grid.propose(SET, 1000).await;
    let (leader, term) = grid.leader(SET).await;
    assert!(grid.group(leader, SET).prove(term).await);
    grid.move_leader(SET, 4).await;
    grid.propose(SET, 1001).await;
    // The replaced one comes back and belongs nowhere: it disturbs nobody.
    let (leader, term) = grid.leader(SET).await;
    grid.restart(gone, &[(SET, element(1, gone))]).await;
    grid.propose(SET, 1002).await;
    assert_eq!(grid.leader(SET).await, (leader, term));
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replacement_waits_until_the_new_element_has_caught_up() {
    let mut grid = Grid::start(4).await;
    for instance in 1..=3 {
        grid.start_element(instance, SET, element(1, instance)).await;
    }
    let members = (1..=3).map(|i| (element(1, i), Member { instance: i }));
    grid.group(1, SET).initialize(members.collect()).await.unwrap();
    fill(&grid, SET, 0, 3000, 10).await;
    let (leader, _) = grid.leader(SET).await;
    purge(&grid, leader, SET).await;
    grid.start_element(4, SET, 99).await;
    grid.links[&(leader, 4)].set(Mode::Frozen);
    let group = grid.group(leader, SET);
    let old = element(1, leader % 3 + 1);
    let changing = tokio::spawn({
        let group = group.clone();
        async move { group.replace_member(old, 99, Member { instance: 4 }).await }
    });
    until("it is a learner", || group.members().contains_key(&99)).await;
    grid.propose(SET, 5000).await;
    assert!(!changing.is_finished(), "it has nothing yet");
    grid.links[&(leader, 4)].set(Mode::Open);
    changing.await.unwrap().unwrap();
    assert!(grid.ledger(4, SET).contains(2999));
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_is_purged_only_up_to_what_is_flushed_and_keeps_what_it_is_told_to() {
    let mut grid = Grid::with_sets(1).await;
    fill(&grid, SET, 0, 50, 10).await;
    let (leader, _) = grid.leader(SET).await;
    for number in 100..400 {
        grid.propose(SET, number).await;
    }
    let group = grid.group(leader, SET);
    let log = grid.running(leader).raft.log().group(SET).unwrap();
    assert_eq!(log.purged_index(), None, "nothing goes by itself");
    let last = group.last_index();
    group.flush_and_purge(100).await.unwrap();
    until("it is purged", || log.purged_index() == Some(last - 100)).await;
    group.flush_and_purge(100).await.expect("with nothing to do it is fine");
    group.flush_and_purge(10_000).await.expect("as with less than is to be kept");
    assert_eq!(log.purged_index(), Some(last - 100));
    drop(log);
    drop(group);
    grid.kill(leader).await;
    grid.restart(leader, &[(SET, element(1, leader))]).await;
    let ledger = grid.ledger(leader, SET);
    assert_eq!(ledger.commands().len(), 350, "what is not in the log any more is in the store");
    grid.agreed(SET).await;
    grid.stop().await;
}
