// SPDX-License-Identifier: GPL-3.0-or-later
//! A whole farm in one thread on virtual time: Server, Managers, Workers and a client, with a
//! network and disks that go wrong as a seed has it.
//!
//! The engine's heart, the journal with its recovery, the mirrors and the link's checks are the
//! real ones; HTTP, tokio, the engine's threads, checkpoints and the Worker's processes are not
//! here (docs/simulation.md says what stands for them). A run is a function of its plan, so a
//! failing seed fails again, and can be shrunk.

pub mod chance;
pub mod client;
pub mod disk;
pub mod invariants;
pub mod keeper;
pub mod link;
pub mod manager;
pub mod message;
pub mod person;
pub mod plan;
pub mod server;
pub mod shrink;
pub mod truth;
pub mod worker;
pub mod world;

use plan::Plan;
use world::World;

/// A promise was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("after {:.3} s: {what}", *.at as f64 / 1e6)]
pub struct Violation {
    /// When, in microseconds of virtual time.
    pub at: u64,
    /// Which, and how.
    pub what: String,
}

/// How much a run looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Happenings.
    pub steps: u64,
    /// Times that something became durable and was checked.
    pub checks: u64,
    /// Copies and marks held against the oracle.
    pub copies: u64,
}

/// Runs a plan. With `is_traced`, also what happened in words.
pub fn run(plan: Plan, is_traced: bool) -> (Result<Counts, Violation>, Vec<String>) {
    let mut world = World::new(plan, is_traced);
    let result = world.run();
    let counts = Counts {
        steps: world.steps,
        checks: world.seen.checks,
        copies: world.truth.asked,
    };
    let trace = world.trace.take().unwrap_or_default();
    (result.map(|()| counts), trace)
}

/// Runs a seed.
pub fn run_seed(seed: u64) -> Result<Counts, Violation> {
    run(Plan::of_seed(seed), false).0
}
