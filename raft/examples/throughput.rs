//! Measures proposals and proofs of leadership over three hosts in this process, with real connections and fsync.
//!
//!     cargo run --release -p quorate-raft --example throughput -- [proposers] [seconds] [sets] [bytes]
//!
//! Prints rates, latencies and the CPU that all three hosts took together. The state machine only keeps a list, so this is the cost of
//! replication alone.

#![allow(clippy::unwrap_used, reason = "in a measurement a panic is the report")]

use std::time::{Duration, Instant};

use quorate_raft::{Group, GroupId};

#[path = "../tests/grid/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
mod support;

use support::Grid;

/// CPU time of this process in seconds: fields 14 and 15 of its `stat`, in hundredths.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|f| f.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Runs `lanes` of a job for a while and prints what they did.
async fn measure<F>(what: &str, lanes: usize, time: Duration, job: impl Fn(usize) -> F)
where
    F: Future<Output = Vec<Duration>> + Send + 'static,
{
    let (began, before) = (Instant::now(), cpu());
    let lanes: Vec<_> = (0..lanes).map(|lane| tokio::spawn(job(lane))).collect();
    let mut took = Vec::new();
    for lane in lanes {
        took.extend(lane.await.expect("a lane does not panic"));
    }
    let (seconds, used) = (began.elapsed().as_secs_f64(), cpu() - before);
    took.sort();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let count = took.len() as f64;
    println!(
        "{what}: {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, {:.1} us of CPU each ({:.2} cores, {time:?})",
        count / seconds,
        at(0.5),
        at(0.99),
        used / count * 1e6,
        used / seconds
    );
}

fn leader(groups: &[(Group, u64)], lane: usize) -> (Group, u64) {
    groups[lane % groups.len()].clone()
}

async fn run() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let argument = |place: usize, default: usize| arguments.get(place).copied().unwrap_or(default);
    let (proposers, seconds, sets, bytes) = (argument(0, 32), argument(1, 5), argument(2, 1), argument(3, 150));
    let time = Duration::from_secs(seconds as u64);
    let grid = Grid::with_sets(sets as u32).await;
    grid.connect_directly();
    let mut groups = Vec::new();
    for set in 1..=sets as u32 {
        let id = GroupId { database: 1, set };
        let term = grid.move_leader(id, (set - 1) % 3 + 1).await;
        groups.push((grid.group((set - 1) % 3 + 1, id), term));
    }
    let syncs = || (1..=3).map(|i| grid.running(i).raft.log().syncs()).sum::<u64>();
    let entries = || groups.iter().map(|(group, _)| group.last_index()).sum::<u64>();
    let (syncs_before, entries_before) = (syncs(), entries());
    measure(&format!("{proposers} proposers, {sets} sets, {bytes} bytes"), proposers, time, |lane| {
        let (group, term) = leader(&groups, lane);
        async move {
            let mut took = Vec::new();
            let began = Instant::now();
            for number in 0.. {
                let asked = Instant::now();
                if asked - began > time {
                    break;
                }
                let command = support::command((lane as u64) << 40 | number, &vec![7; bytes]);
                group.propose(term, command).await.expect("nobody takes the leadership away");
                took.push(asked.elapsed());
            }
            took
        }
    })
    .await;
    println!("    {} fsyncs on all hosts, {} entries", syncs() - syncs_before, entries() - entries_before);
    measure(&format!("{proposers} provers"), proposers, time, |lane| {
        let (group, term) = leader(&groups, lane);
        async move {
            let mut took = Vec::new();
            let began = Instant::now();
            while began.elapsed() < time {
                let asked = Instant::now();
                assert!(group.prove(term).await, "nobody takes the leadership away");
                took.push(asked.elapsed());
            }
            took
        }
    })
    .await;
    drop(groups);
    grid.stop().await;
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build();
    runtime.expect("a runtime").block_on(run());
}
