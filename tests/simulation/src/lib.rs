// SPDX-License-Identifier: GPL-3.0-or-later
//! A whole farm in one thread on virtual time: Server, Managers, Workers and a client, with a
//! network and disks that go wrong as a seed has it.
//!
//! The engine's heart, the journal with its recovery, the mirrors and the link's checks are the
//! real ones; HTTP, tokio, the engine's threads, checkpoints and the Worker's processes are not
//! here (docs/simulation.md says what stands for them). A run is a function of its plan, so a
//! failing seed fails again, and can be shrunk.

pub mod again;
mod chance;
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
    /// Journals opened after a first start or a crash.
    pub starts: u64,
    /// Attempts that lapsed.
    pub lapsed: u64,
    /// Late reports worth a record.
    pub late: u64,
    /// Jobs given to another Manager.
    pub reassigned: u64,
    /// Jobs that an old Manager gave up, or that came back.
    pub fenced: u64,
    /// Copies that became a Server.
    pub promoted: u64,
    /// Workers that were put into quarantine.
    pub quarantined: u64,
    /// Times that tasks which were done were queued again by a person.
    pub requeued: u64,
    /// Jobs that were compiled anew.
    pub regenerated: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.checks += other.checks;
        self.copies += other.copies;
        self.starts += other.starts;
        self.lapsed += other.lapsed;
        self.late += other.late;
        self.reassigned += other.reassigned;
        self.fenced += other.fenced;
        self.promoted += other.promoted;
        self.quarantined += other.quarantined;
        self.requeued += other.requeued;
        self.regenerated += other.regenerated;
    }
}

/// Runs a plan. With `is_traced`, also what happened in words.
pub fn run(plan: Plan, is_traced: bool) -> (Result<Counts, Violation>, Vec<String>) {
    let mut world = World::new(plan, is_traced);
    let result = world.run();
    let counts = Counts {
        steps: world.steps,
        copies: world.truth.asked,
        ..world.seen.counts
    };
    let trace = world.trace.take().unwrap_or_default();
    (result.map(|()| counts), trace)
}

/// Runs a seed.
pub fn run_seed(seed: u64) -> Result<Counts, Violation> {
    run(Plan::of_seed(seed), false).0
}
