//! Everything at once for a while: hosts are killed and restarted, links cut, leaders moved, logs purged, while clients propose.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use quorate_raft::{Group, GroupId};

use crate::support::{Grid, Mode, command, element};

/// A small generator, so that a run can be repeated from its seed as far as threads allow.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

const SETS: u32 = 2;

/// The running elements, for clients; changes with every kill.
type Directory = Arc<RwLock<HashMap<(u32, GroupId), Group>>>;

fn publish(grid: &Grid, directory: &Directory) {
    let running = grid.hosts.iter().filter_map(|h| Some((h.instance, h.running.as_ref()?)));
    *directory.write() =
        running.flat_map(|(i, r)| r.groups.iter().map(move |(id, (group, _))| ((i, *id), group.clone()))).collect();
}

/// Proposes commands, each once, until told to stop; answers those that were acknowledged.
async fn client(
    lane: u64,
    directory: Directory,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
) -> Vec<(GroupId, u64)> {
    let mut done = Vec::new();
    let mut number = lane << 32;
    while !stop.load(Ordering::Relaxed) {
        let id = GroupId { database: 1, set: 1 + (number as u32 % SETS) };
        let leader = directory
            .read()
            .iter()
            .find_map(|((_, of), group)| (*of == id).then(|| group.term().map(|term| (group.clone(), term))).flatten());
        let Some((group, term)) = leader else {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        };
        let reply = group.propose(term, command(number, b"some ballast"));
        drop(group);
        if let Ok(Ok(_)) = tokio::time::timeout(Duration::from_secs(2), reply).await {
            done.push((id, number));
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        number += 1;
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acknowledged_commands_are_applied_exactly_once_through_kills_and_cuts() {
    let seed = std::env::var("QUORATE_SEED").ok().and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
    println!("QUORATE_SEED={seed}");
    let mut dice = Dice(seed);
    let mut grid = Grid::with_sets(SETS).await;
    let directory = Directory::default();
    publish(&grid, &directory);
    let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> =
        (1..=8).map(|lane| tokio::spawn(client(lane, directory.clone(), stop.clone(), acknowledged.clone()))).collect();
    let ids: Vec<GroupId> = (1..=SETS).map(|set| GroupId { database: 1, set }).collect();
    let began = Instant::now();
    let (mut kills, mut cuts) = (0, 0);
    while began.elapsed() < Duration::from_secs(10) {
        let instance = dice.roll(3) as u32 + 1;
        let elements: Vec<_> = ids.iter().map(|id| (*id, element(id.set, instance))).collect();
        match dice.roll(6) {
            0 | 1 => {
                directory.write().retain(|(i, _), _| *i != instance);
                grid.kill(instance).await;
                kills += 1;
                tokio::time::sleep(Duration::from_millis(dice.roll(300))).await;
                grid.restart(instance, &elements).await;
                publish(&grid, &directory);
            }
            2 => {
                directory.write().clear();
                for instance in 1..=3 {
                    grid.kill(instance).await;
                }
                kills += 3;
                for instance in 1..=3 {
                    let elements: Vec<_> = ids.iter().map(|id| (*id, element(id.set, instance))).collect();
                    grid.restart(instance, &elements).await;
                }
                publish(&grid, &directory);
            }
            3 => {
                let mode = if dice.roll(2) == 0 { Mode::Cut } else { Mode::Frozen };
                let both = dice.roll(2) == 0;
                let links = || grid.links.iter().filter(|((f, t), _)| *f == instance || (both && *t == instance));
                links().for_each(|(_, link)| link.set(mode));
                cuts += 1;
                tokio::time::sleep(Duration::from_millis(100 + dice.roll(900))).await;
                grid.links.values().for_each(|link| link.set(Mode::Open));
            }
            4 => {
                for id in &ids {
                    let keep = dice.roll(50);
                    // It fails where nothing was applied yet, or no leader is known: fine.
                    drop(grid.group(instance, *id).flush_and_purge(keep).await);
                }
            }
            _ => {
                for id in &ids {
                    let to = element(id.set, dice.roll(3) as u32 + 1);
                    drop(grid.group(instance, *id).transfer_leader(to).await);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(dice.roll(400))).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut done = Vec::new();
    for client in clients {
        done.extend(client.await.unwrap());
    }
    directory.write().clear();
    assert!(kills > 0 || cuts > 0);
    assert!(done.len() > 100, "only {} commands were acknowledged", done.len());
    for id in ids {
        let applied = grid.agreed(id).await;
        let distinct: BTreeSet<u64> = applied.iter().copied().collect();
        assert_eq!(distinct.len(), applied.len(), "nothing is applied twice");
        for (_, number) in done.iter().filter(|(of, _)| *of == id) {
            assert!(distinct.contains(number), "command {number:#x} of {id} was acknowledged; seed {seed}");
        }
    }
    println!("{} commands acknowledged, {kills} kills, {cuts} cuts", done.len());
    grid.stop().await;
}
