// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs the simulation over many seeds. A seed that fails is shrunk and printed with the command
//! that runs it again.
//!
//! TABLAO_SEED=n runs one seed with its trace; TABLAO_SEEDS=n so many; TABLAO_SOAK=1 100,000.

use tablao_simulation::{Counts, plan::Plan, run, run_seed, shrink::shrink};

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn seeds() -> u64 {
    let usual = if std::env::var_os("TABLAO_SOAK").is_some() {
        100_000
    } else {
        2_000
    };
    number("TABLAO_SEEDS").unwrap_or(usual)
}

/// Tells everything about a failing seed.
fn tell(seed: u64) -> ! {
    let plan = Plan::of_seed(seed);
    let violation = run(plan.clone(), false).0.expect_err("it failed before");
    println!("seed {seed} fails {violation}");
    println!("again: TABLAO_SEED={seed} cargo test -p tablao-simulation -- --nocapture one_seed");
    let (small, shrunk) = shrink(plan, violation);
    println!("shrunk to {small:#?}");
    let (_, trace) = run(small, true);
    for line in &trace {
        println!("{line}");
    }
    println!("fails {shrunk}");
    panic!("seed {seed} fails; its shrunk trace is above");
}

/// Names its seed if the seed does not fail but panics.
struct NamesItself(u64);

impl Drop for NamesItself {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("in seed {}", self.0);
        }
    }
}

/// Protects every promise about crashes, histories and copies, in every order of faults that
/// these seeds have.
#[test]
fn all_seeds_keep_all_promises() {
    let mut all = Counts::default();
    let first = number("TABLAO_FIRST_SEED").unwrap_or(1);
    let begun = std::time::Instant::now();
    for seed in first..first + seeds() {
        let _named = NamesItself(seed);
        match run_seed(seed) {
            Ok(counts) => all += counts,
            Err(_) => {
                println!("found after {} seeds", seed - first + 1);
                tell(seed);
            }
        }
    }
    println!(
        "{} seeds in {:.1} s: {all:?}",
        seeds(),
        begun.elapsed().as_secs_f64()
    );
    // A run that saw nothing has proven nothing.
    let seeds = seeds();
    assert!(
        all.checks > seeds * 20 && all.copies > seeds * 20,
        "{all:?}"
    );
    if seeds >= 1000 {
        let rare = [
            all.lapsed,
            all.late,
            all.reassigned,
            all.fenced,
            all.promoted,
            all.quarantined,
            all.requeued,
            all.regenerated,
        ];
        assert!(rare.iter().all(|count| *count > seeds / 100), "{all:?}");
    }
}

/// Protects the replay of a failure: a seed gives the same run twice, to the last step.
#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in 1..6 {
        let (one, other) = (
            run(Plan::of_seed(seed), true),
            run(Plan::of_seed(seed), true),
        );
        assert!(one == other, "seed {seed} gives two runs");
        assert!(one.1.len() > 10, "seed {seed} traces nothing");
    }
}

/// Runs the seed that TABLAO_SEED names with its trace; without it, any one, for its end.
#[test]
fn one_seed() {
    let seed = number("TABLAO_SEED").unwrap_or(1);
    if std::env::var_os("TABLAO_SHRINK").is_some() && run_seed(seed).is_err() {
        tell(seed);
    }
    let (result, trace) = run(Plan::of_seed(seed), true);
    for line in &trace {
        println!("{line}");
    }
    if let Err(violation) = result {
        panic!("seed {seed} fails {violation}");
    }
}
