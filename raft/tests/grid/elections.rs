//! Leadership: who has it, who proves it, who only believes it.

use std::time::{Duration, Instant};

use futures::future::join_all;
use quorate_raft::peers::Class;
use quorate_raft::{GroupId, Member, RaftTimes};

use crate::support::{Grid, Mode, PATIENCE, PROBE, SET, command, element, eventually, until};

/// Cuts or opens all links of an instance, in both directions.
fn isolate(grid: &Grid, instance: u32, mode: Mode) {
    for ((from, to), link) in &grid.links {
        if *from == instance || *to == instance {
            link.set(mode);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deposed_leader_that_knows_nothing_cannot_prove_itself() {
    for mode in [Mode::Frozen, Mode::Cut] {
        let grid = Grid::with_sets(1).await;
        grid.propose(SET, 1).await;
        let (old, term) = grid.leader(SET).await;
        let group = grid.group(old, SET);
        isolate(&grid, old, mode);
        let blind = group.propose(term, command(2, b""));
        let (new, new_term) = grid.leader_but(SET, Some(old)).await;
        assert!(new != old && new_term > term);
        assert_eq!(group.term(), Some(term), "it still believes that it leads");
        assert!(!group.prove(term).await, "but nobody confirms it");
        assert!(grid.group(new, SET).prove(new_term).await);
        assert!(!grid.group(new, SET).prove(term).await, "nor does a proof hold for another term");
        // Everybody is back: what it was told meanwhile, and never acknowledged, is gone.
        isolate(&grid, old, Mode::Open);
        until("it hears of its successor", || group.term().is_none()).await;
        let ended = tokio::time::timeout(PATIENCE, blind).await.expect("the blind proposal ends");
        assert!(ended.is_err());
        let applied = grid.agreed(SET).await;
        assert!(!applied.contains(&2));
        assert_eq!(grid.ledger(old, SET).leaderships(), [term, 0], "{mode:?}");
        grid.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_whose_process_has_ended_is_succeeded_without_waiting_for_its_silence() {
    // Silence would not lead to an election before twice this time has passed.
    let patience = Duration::from_secs(4);
    let patient =
        RaftTimes { heartbeat: Duration::from_millis(60), election_min: patience, election_max: patience * 5 / 4 };
    let mut grid = Grid::with_sets_and_times(3, patient).await;
    grid.connect_directly();
    let sets: Vec<GroupId> = (1..=3).map(|set| GroupId { database: 1, set }).collect();
    for set in &sets {
        grid.propose(*set, 1).await;
    }
    let (ended, _) = grid.leader(sets[0]).await;
    for set in &sets {
        grid.agreed(*set).await;
        for instance in 1..=3 {
            let group = grid.group(instance, *set);
            until("it knows its leader", || group.leader_hint().is_some()).await;
        }
    }
    grid.kill(ended).await;
    let killed = Instant::now();
    for set in &sets {
        let (successor, _) = grid.leader_but(*set, Some(ended)).await;
        assert_ne!(successor, ended);
        grid.propose(*set, 2).await;
    }
    assert!(killed.elapsed() < patience, "it took {:?}", killed.elapsed());
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_proofs_share_few_messages() {
    let grid = Grid::with_sets(3).await;
    let mut leaders = Vec::new();
    for set in 1..=3 {
        let id = GroupId { database: 1, set };
        grid.move_leader(id, 1).await;
        leaders.push(grid.group(1, id));
    }
    let probes = || grid.links.values().map(|l| l.requests(PROBE)).sum::<u64>();
    let before = probes();
    let proofs = (0..3000).map(|n| {
        let group = leaders[n % 3].clone();
        let term = group.term().unwrap();
        tokio::spawn(async move { group.prove(term).await })
    });
    let proved = join_all(proofs.collect::<Vec<_>>()).await.into_iter().filter(|p| *p.as_ref().unwrap()).count();
    assert_eq!(proved, 3000);
    let sent = probes() - before;
    assert!((1..600).contains(&sent), "{sent} messages for 3000 proofs");
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_group_without_a_quorum_does_not_hold_up_the_proofs_of_others() {
    let mut grid = Grid::start(4).await;
    let (healthy, halved) = (GroupId { database: 1, set: 1 }, GroupId { database: 1, set: 2 });
    for (id, instances) in [(healthy, [1, 2]), (halved, [1, 4])] {
        for instance in instances {
            grid.start_element(instance, id, element(id.set, instance)).await;
        }
        let members = instances.map(|i| (element(id.set, i), Member { instance: i }));
        grid.group(1, id).initialize(members.into()).await.unwrap();
        grid.move_leader(id, 1).await;
    }
    isolate(&grid, 4, Mode::Frozen);
    let (group, stuck) = (grid.group(1, healthy), grid.group(1, halved));
    let (term, stuck_term) = (group.term().unwrap(), stuck.term().unwrap());
    let failing: Vec<_> = (0..20)
        .map(|_| {
            let stuck = stuck.clone();
            tokio::spawn(async move {
                let mut proved = 0;
                for _ in 0..3 {
                    proved += u32::from(stuck.prove(stuck_term).await);
                }
                proved
            })
        })
        .collect();
    let mut fast = 0;
    while !failing.iter().all(|f| f.is_finished()) {
        let began = std::time::Instant::now();
        assert!(group.prove(term).await);
        fast += u32::from(began.elapsed() < Duration::from_millis(250));
    }
    assert!(fast > 20, "only {fast} proofs went through meanwhile");
    for proved in join_all(failing).await {
        assert_eq!(proved.unwrap(), 0);
    }
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leadership_moves_on_request() {
    let grid = Grid::with_sets(1).await;
    let mut number = 0;
    for round in 0..4 {
        let (old, term) = grid.leader(SET).await;
        let target = old % 3 + 1;
        assert!(grid.move_leader(SET, target).await > term);
        until("the other one knows", || grid.group(old, SET).term().is_none()).await;
        assert_eq!(*grid.group(old, SET).watch_leader().borrow(), Some(element(1, target)), "round {round}");
        for instance in 1..=3 {
            let hint = || grid.group(instance, SET).leader_hint() == Some((element(1, target), target));
            until("everybody is told", hint).await;
        }
        number += 1;
        grid.propose(SET, number).await;
    }
    let applied = grid.agreed(SET).await;
    assert_eq!(applied[..4], [1, 2, 3, 4]);
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leadership_is_not_given_to_whoever_cannot_take_it() {
    let mut grid = Grid::with_sets(1).await;
    let (leader, term) = grid.leader(SET).await;
    let (away, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    let group = grid.group(leader, SET);
    let refused = async |to| group.transfer_leader(to).await.unwrap_err().to_string();
    assert!(refused(77).await.contains("is not a voter"));
    let follower = grid.group(other, SET).transfer_leader(element(1, away)).await.unwrap_err();
    assert!(follower.to_string().contains("does not lead"), "{follower}");
    group.transfer_leader(element(1, leader)).await.expect("it leads already");
    grid.kill(away).await;
    until("its end is noticed", || grid.running(leader).peers.unreachable(away) == Some(true)).await;
    assert!(refused(element(1, away)).await.contains("does not answer"));
    assert_eq!(grid.leader(SET).await, (leader, term), "nothing of this disturbed it");
    grid.propose(SET, 1).await;
    drop(group);
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restarted_leader_does_not_lead_in_its_old_term() {
    // Alone it is always elected again; among three it may be, and is looked at from its first moment.
    let mut grid = Grid::start(1).await;
    grid.start_element(1, SET, 5).await.initialize([(5, Member { instance: 1 })].into()).await.unwrap();
    let mut last = 0;
    for round in 0..3 {
        let (_, term) = grid.leader(SET).await;
        assert!(term > last, "round {round}: term {term} after {last}");
        assert_eq!(grid.ledger(1, SET).leaderships().first(), Some(&term), "it was never told of an older one");
        grid.propose(SET, round).await;
        last = term;
        grid.kill(1).await;
        grid.restart(1, &[(SET, 5)]).await;
        let group = grid.group(1, SET);
        assert!(group.term().is_none_or(|term| term > last));
        assert!(!group.prove(last).await, "what was led in that term died with its leader");
        assert!(group.propose(last, command(100 + round, b"")).await.is_err());
    }
    let applied = grid.agreed(SET).await;
    assert_eq!(applied[..3], [0, 1, 2]);
    grid.stop().await;

    let mut grid = Grid::with_sets(1).await;
    let (leader, term) = grid.leader(SET).await;
    grid.kill(leader).await;
    grid.restart(leader, &[(SET, element(1, leader))]).await;
    let group = grid.group(leader, SET);
    assert!(!group.prove(term).await);
    let (_, next) = grid.leader(SET).await;
    assert!(next > term);
    assert!(!grid.ledger(leader, SET).leaderships().contains(&term));
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_leader_is_told_before_it_applies_anything_of_its_term() {
    let grid = Grid::with_sets(1).await;
    let (leader, term) = grid.leader(SET).await;
    assert_eq!(grid.ledger(leader, SET).leaderships(), [term]);
    for instance in (1..=3).filter(|i| *i != leader) {
        assert_eq!(grid.ledger(instance, SET).leaderships(), []);
        assert_eq!(grid.group(instance, SET).term(), None);
        assert!(!grid.group(instance, SET).prove(term).await, "a follower proves nothing");
    }
    let group = grid.group(leader, SET);
    group.shut_down().await;
    assert_eq!(grid.ledger(leader, SET).leaderships(), [term, 0], "told when it ends, too");
    assert!(!group.prove(term).await);
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_follower_that_was_cut_off_disturbs_nobody_when_it_comes_back() {
    let grid = Grid::with_sets(1).await;
    let (leader, term) = grid.leader(SET).await;
    let away = leader % 3 + 1;
    isolate(&grid, away, Mode::Cut);
    grid.propose(SET, 1).await;
    // Long enough to have tried several elections, none of which may raise a term that would depose the leader.
    let began = tokio::time::Instant::now();
    eventually("time passes", async || (began.elapsed() > Duration::from_secs(2)).then_some(())).await;
    isolate(&grid, away, Mode::Open);
    until("it catches up", || grid.ledger(away, SET).contains(1)).await;
    assert_eq!(grid.leader(SET).await, (leader, term));
    grid.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn bulk_traffic_does_not_depose_a_leader() {
    let grid = Grid::with_sets(1).await;
    let (leader, term) = grid.leader(SET).await;
    let began = std::time::Instant::now();
    let message = bytes::Bytes::from(vec![1; 32 << 20]);
    // No service answers it, but it has to travel all the same.
    while began.elapsed() < Duration::from_secs(2) {
        let to = leader % 3 + 1;
        let answer = grid.running(leader).peers.call(to, Class::Bulk, 200, message.clone()).await;
        let answer = answer.unwrap_err().to_string();
        assert!(answer.contains("no service 200"), "{answer}");
    }
    assert_eq!(grid.leader(SET).await, (leader, term));
    grid.stop().await;
}
