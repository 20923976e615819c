//! Whole grids in one thread, from one seed: the real stores, leaders and coordinators over simulated logs, network and
//! clocks. Tests only.
//!
//! `QUORATE_SEED` runs one seed and prints its history, `QUORATE_SCRIPT` one script; `QUORATE_RUNS` sets how many seeds run,
//! `QUORATE_FIRST` the first of them. `UPDATE_GOLDENFILES=1` writes what scripts print. Reading order: `history` (the oracles),
//! `log` and `network` (the fakes), `world`, `workload`, `canaries` (each rule left out is noticed), `script` (directed schedules).

mod canaries;
mod history;
mod log;
mod network;
pub(crate) mod rng;
mod script;
mod step;
mod workload;
mod world;

use world::{Broken, Feature, World};

/// Whether to print what happens.
static TRACE: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// One line of what happens, with the simulated time, if a single seed runs.
fn trace(line: impl FnOnce() -> String) {
    if TRACE.load(std::sync::atomic::Ordering::Relaxed) {
        eprintln!("{}", line());
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O can always be built")
}

/// What a seed leads to: how many transactions were committed, refused and unknown, or what is wrong and the history.
fn run(seed: u64, broken: &Broken, features: Option<&[Feature]>) -> Result<[usize; 3], (String, String)> {
    let runtime = runtime();
    runtime.block_on(async {
        let world = World::new(seed, broken.clone(), features);
        let result = world.run().await;
        result.map(|()| world.tally()).map_err(|why| (why, world.story()))
    })
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn random_grids_are_strictly_serializable() {
    if let Some(seed) = number("QUORATE_SEED") {
        TRACE.store(true, std::sync::atomic::Ordering::Relaxed);
        let result = run(seed, &Broken::default(), None);
        assert!(result.is_ok(), "seed {seed}: {}\n{}", result.clone().unwrap_err().0, result.unwrap_err().1);
        return;
    }
    let first = number("QUORATE_FIRST").unwrap_or(1);
    let mut sum = [0; 3];
    for seed in first..first + number("QUORATE_RUNS").unwrap_or(500) {
        match run(seed, &Broken::default(), None) {
            Ok(tally) => sum.iter_mut().zip(tally).for_each(|(sum, n)| *sum += n),
            Err((why, story)) => panic!("QUORATE_SEED={seed}: {why}\n{story}"),
        }
    }
    let [committed, refused, unknown] = sum;
    println!("committed {committed}, refused {refused}, unknown {unknown}");
    assert!(committed > refused + unknown, "a simulation in which little happens proves little");
}

#[test]
fn a_seed_leads_to_the_same_history_every_time() {
    let story = |seed| {
        runtime().block_on(async {
            let world = World::new(seed, Broken::default(), None);
            let result = world.run().await;
            format!("{result:?}\n{}", world.story())
        })
    };
    for seed in 1..20 {
        assert_eq!(story(seed), story(seed), "seed {seed}");
    }
}
