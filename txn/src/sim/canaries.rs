//! Canaries: the simulation with one rule left out must notice it, else it proves nothing about that rule.

use super::run;
use super::world::{Broken, Feature};

/// A rule left out, the disturbances under which its absence shows soonest, and a seed that has shown it.
struct Canary {
    rule: &'static str,
    broken: Broken,
    features: &'static [Feature],
    seed: u64,
}

fn canaries() -> Vec<Canary> {
    use Feature::*;
    fn element(set: fn(&mut crate::element::Breaks)) -> Broken {
        let mut broken = Broken::default();
        set(&mut broken.element);
        broken
    }
    fn coordinator(set: fn(&mut crate::coordinator::Breaks)) -> Broken {
        let mut broken = Broken::default();
        set(&mut broken.coordinator);
        broken
    }
    let false_proofs = Broken { false_proofs: true, ..Broken::default() };
    let ignore_index = Broken { ignore_index: true, ..Broken::default() };
    let canary = |rule, seed, features, broken| Canary { rule, broken, features, seed };
    vec![
        canary("1: S is a safe time", 16, &[Straddle], element(|b| b.safe_time = true)),
        canary("2: the clock moves past an outcome", 6, &[Slow], element(|b| b.outcome_clock = true)),
        canary("3: uncertain versions", 44, &[Slow, Straddle], element(|b| b.uncertain = true)),
        canary("3: a moved snapshot is validated", 198, &[Straddle], coordinator(|b| b.raise = true)),
        canary("4: the horizon binds the successor", 46, &[Slow, Deposed, Locks], element(|b| b.horizon = true)),
        canary("5: a snapshot from elsewhere", 12, &[Slow], element(|b| b.foreign_snapshot = true)),
        canary("6: unknown is not failed", 2, &[Lossy, Deposed, Stall], coordinator(|b| b.unknown = true)),
        canary("7: proof of leadership", 26, &[Deposed, Straddle], false_proofs),
        canary("7: the leader's index", 1, &[Follower], ignore_index),
        canary("8: at most once", 67, &[Twice, Slow], element(|b| b.at_most_once = true)),
        canary("8: the first prepare wins", 4, &[Twice, Slow], element(|b| b.first_prepare = true)),
        canary(
            "9: what was validated in another term",
            192,
            &[Twice, Slow, Deposed],
            element(|b| b.validated_term = true),
        ),
        canary("10: forgetting", 35, &[Slow, Crash], coordinator(|b| b.forget = true)),
        canary("11: unproven reads are validated", 3, &[Slow], coordinator(|b| b.validation = true)),
        canary("12: the garbage threshold", 325, &[Garbage, Straddle], element(|b| b.garbage = true)),
        canary("17: nothing is stamped while frozen", 2166, &[Cuts, Straddle], element(|b| b.freeze = true)),
        canary("17: frozen all the time", 1134, &[Cuts, Straddle, Slow], element(|b| b.thawed = true)),
        canary("17: the highest timestamp is no cut", 236, &[Cuts, Straddle], coordinator(|b| b.cut = true)),
        canary("reads are validated", 1, &[], element(|b| b.read_validation = true)),
        canary("reads are locked while prepared", 57, &[Slow], element(|b| b.read_locks = true)),
        canary("13: intents are waited for", 19, &[Slow], element(|b| b.wait_intents = true)),
        canary("a refusal is replicated", 8, &[Lossy, Slow, Crash], element(|b| b.refusal = true)),
        canary("all must prepare", 1, &[Slow], coordinator(|b| b.early_ack = true)),
    ]
}

impl Canary {
    /// What is noticed at a seed.
    fn notices(&self, seed: u64, features: &[Feature]) -> Option<String> {
        // Without a rule an invariant of the product may break: noticed as well.
        let run = || run(seed, &self.broken, Some(features));
        match std::panic::catch_unwind(run) {
            Ok(Ok(_)) => None,
            Ok(Err((why, _))) => Some(why),
            Err(_) => Some("an invariant is broken".into()),
        }
    }
}

/// Each is noticed at the seed that once showed it, or, since any change of the code moves the seeds, within so many others.
#[test]
fn every_rule_left_out_is_noticed() {
    let mut missed = Vec::new();
    for canary in canaries() {
        let mut seeds = std::iter::once(canary.seed).chain(1..=3000);
        match seeds.find_map(|seed| Some((seed, canary.notices(seed, canary.features)?))) {
            Some((seed, why)) => println!("{}: seed {seed}: {why}", canary.rule),
            None => missed.push(canary.rule),
        }
    }
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
