//! Proposals: order, replies, terms, and what survives the end of a leader.

use std::time::Duration;

use futures::future::join_all;
use quorate_raft::{GroupId, GroupOptions, Lost};

use crate::support::{APPEND, Grid, Ledger, Mode, SET, command, element, until};

fn position(reply: &[u8]) -> u64 {
    u64::from_be_bytes(reply.try_into().expect("a reply is a position"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn proposals_are_applied_in_the_order_of_the_calls_everywhere() {
    let grid = Grid::with_sets(2).await;
    for set in 1..=2 {
        let id = GroupId { database: 1, set };
        let (instance, term) = grid.leader(id).await;
        let group = grid.group(instance, id);
        let replies: Vec<_> = (0..2000).map(|n| group.propose(term, command(n, b"x"))).collect();
        for (number, reply) in join_all(replies).await.into_iter().enumerate() {
            assert_eq!(position(&reply.expect("acknowledged")), number as u64 + 1);
        }
        let applied = grid.agreed(id).await;
        assert_eq!(applied[..2000], (0..2000).collect::<Vec<u64>>());
        assert_eq!(applied.len(), 2001);
    }
    // 2000 commands shared entries, and entries shared requests.
    let sent: u64 = grid.links.values().map(|l| l.requests(APPEND)).sum();
    assert!(sent < 4000, "{sent} requests for 4000 commands");
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_with_the_leader_and_a_restarted_element_catches_up() {
    let mut grid = Grid::with_sets(1).await;
    let (first, term) = grid.leader(SET).await;
    let group = grid.group(first, SET);
    let replies: Vec<_> = (0..500).map(|n| group.propose(term, command(n, b""))).collect();
    let mut early = replies;
    let late = early.split_off(300);
    let early = join_all(early).await;
    assert!(early.iter().all(Result::is_ok));
    drop(group);
    grid.kill(first).await;
    let late = join_all(late).await;
    let acknowledged: Vec<u64> =
        (0..500).zip(early.iter().chain(&late)).filter(|(_, reply)| reply.is_ok()).map(|(n, _)| n).collect();
    let (second, next_term) = grid.leader(SET).await;
    assert_ne!(second, first);
    assert!(next_term > term);
    for number in 1000..1100 {
        grid.propose(SET, number).await;
    }
    let applied = grid.agreed(SET).await;
    for number in acknowledged.into_iter().chain(1000..1100) {
        assert!(applied.contains(&number), "command {number} was acknowledged");
    }
    grid.restart(first, &[(SET, element(1, first))]).await;
    assert!(grid.ledger(first, SET).commands().is_empty(), "nothing had been flushed");
    let applied = grid.agreed(SET).await;
    assert_eq!(grid.ledger(first, SET).commands(), applied);
    assert_eq!(grid.ledger(first, SET).installs(), 0, "the log was enough");
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_restart_at_once_and_nothing_is_lost() {
    let mut grid = Grid::with_sets(1).await;
    for number in 0..50 {
        grid.propose(SET, number).await;
    }
    // One has flushed a part, so that machines begin at different places.
    let (leader, _) = grid.leader(SET).await;
    grid.group(leader, SET).flush_and_purge(10).await.unwrap();
    for number in 50..80 {
        grid.propose(SET, number).await;
    }
    for instance in 1..=3 {
        grid.kill(instance).await;
    }
    for instance in 1..=3 {
        grid.restart(instance, &[(SET, element(1, instance))]).await;
    }
    let applied = grid.agreed(SET).await;
    let expected: Vec<u64> = (0..80).collect();
    assert_eq!(applied[..80], expected);
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_proposal_of_another_term_is_lost_and_never_applied() {
    let grid = Grid::with_sets(1).await;
    grid.propose(SET, 1).await;
    let (old, old_term) = grid.leader(SET).await;
    let target = old % 3 + 1;
    let term = grid.move_leader(SET, target).await;
    assert!(term > old_term);
    let group = grid.group(target, SET);
    assert_eq!(group.propose(old_term, command(2, b"")).await, Err(Lost), "validated in a term that has passed");
    assert_eq!(group.propose(term + 1, command(3, b"")).await, Err(Lost), "validated in a term that has not come");
    assert_eq!(grid.group(old, SET).propose(old_term, command(4, b"")).await, Err(Lost), "not a leader any more");
    assert_eq!(grid.group(old, SET).propose(term, command(5, b"")).await, Err(Lost), "not the leader of this term");
    // Proposals of both terms in one batch do not take each other along.
    let mixed: Vec<_> =
        (10..30).map(|n| group.propose(if n % 2 == 0 { term } else { old_term }, command(n, b""))).collect();
    for (number, reply) in (10..30).zip(join_all(mixed).await) {
        assert_eq!(reply.is_ok(), number % 2 == 0);
    }
    let applied = grid.agreed(SET).await;
    let mut expected = vec![1];
    expected.extend((10..30).step_by(2));
    assert_eq!(applied[..applied.len() - 1], expected);
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn proposals_end_when_the_element_is_shut_down() {
    let mut grid = Grid::with_sets(1).await;
    let (leader, term) = grid.leader(SET).await;
    let group = grid.group(leader, SET);
    // Nobody acknowledges: the proposals can only wait.
    for ((from, _), link) in &grid.links {
        if *from == leader {
            link.set(Mode::Frozen);
        }
    }
    let waiting: Vec<_> = (0..100).map(|n| group.propose(term, command(n, b""))).collect();
    grid.kill(leader).await;
    let ends = tokio::time::timeout(Duration::from_secs(5), join_all(waiting)).await.expect("nobody waits for ever");
    assert!(ends.iter().all(|end| *end == Err(Lost)));
    assert_eq!(group.propose(term, command(1, b"")).await, Err(Lost));
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn large_commands_travel_whole() {
    let grid = Grid::with_sets(1).await;
    let (leader, term) = grid.leader(SET).await;
    let group = grid.group(leader, SET);
    // Larger than an entry's usual bound, than a pipe's buffers and than one read of the log.
    let ballast: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    let replies: Vec<_> = (0..6).map(|n| group.propose(term, command(n, &ballast))).collect();
    assert!(join_all(replies).await.iter().all(Result::is_ok));
    grid.agreed(SET).await;
    for instance in 1..=3 {
        assert!(grid.ledger(instance, SET).ballast() == ballast.repeat(6), "on instance {instance}");
    }
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_group_runs_once_and_destroyed_ones_come_back_empty() {
    let mut grid = Grid::start(1).await;
    let group = grid.start_element(1, SET, 7).await;
    group.initialize([(7, quorate_raft::Member { instance: 1 })].into()).await.unwrap();
    grid.propose(SET, 5).await;
    let again = GroupOptions {
        id: SET,
        element: 8,
        scratch: grid.host(1).directory.join("again"),
        machine: grid.ledger(1, SET),
    };
    let error = grid.running(1).raft.start_group(again).await.err().expect("one element of a group on an instance");
    assert!(error.to_string().contains("runs here already"), "{error}");
    group.shut_down().await;
    assert!(grid.running(1).raft.group(SET).is_none());
    grid.running(1).raft.log().remove_group(SET).unwrap();
    let fresh = grid.start_element(1, SET, 9).await;
    assert_eq!((fresh.last_index(), fresh.term()), (0, None));
    assert!(fresh.members().is_empty());
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_element_whose_store_is_older_than_its_log_does_not_start() {
    let mut grid = Grid::with_sets(1).await;
    for number in 0..20 {
        grid.propose(SET, number).await;
    }
    grid.group(1, SET).flush_and_purge(5).await.unwrap();
    let purged = {
        let log = grid.running(1).raft.log().group(SET).unwrap();
        until("the log is purged", || log.purged_index().is_some()).await;
        log.purged_index().unwrap()
    };
    grid.kill(1).await;
    std::fs::remove_dir_all(grid.host(1).directory.join(format!("element{}/store", element(1, 1)))).unwrap();
    grid.start_host(1).await;
    let machine = std::sync::Arc::new(Ledger::open(&grid.host(1).directory.join("empty")).unwrap());
    let options =
        GroupOptions { id: SET, element: element(1, 1), scratch: grid.host(1).directory.join("scratch"), machine };
    let error = grid.running(1).raft.start_group(options).await.err().expect("entries are missing");
    let expected =
        format!("the store of database 1 replica set 1 ends at entry none, but the log begins behind entry {purged}");
    assert_eq!(error.to_string(), expected);
    grid.stop().await;
}
