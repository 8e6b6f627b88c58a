// SPDX-License-Identifier: GPL-3.0-or-later
//! What a seed stands for: how large the farm is, how bad its network is, and which faults
//! strike when. A plan is a value, so a shrunk run is a smaller plan with the same seed.

use tablao_journal::{FaultPlan, PowerLoss};

use crate::chance::Chance;
use crate::message::Node;

/// Microseconds in a millisecond.
pub const MS: u64 = 1000;
/// Microseconds in a second.
pub const S: u64 = 1000 * MS;
/// Faults strike until then; after it the network is good and everything that is down comes up.
pub const FAULTS_END: u64 = 150 * S;

/// How bad the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Messages lost, of a thousand.
    pub lost: u64,
    /// Messages delivered twice, of a thousand.
    pub doubled: u64,
    /// Messages that take up to 20 s, of a thousand.
    pub late: u64,
    /// The usual longest way of a message, in milliseconds.
    pub delay_ms_max: u64,
}

/// Something goes wrong, or a person does something.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// A process ends at once, and comes back later.
    Kill {
        /// Which.
        node: Node,
        /// What its disks lose.
        loss: PowerLoss,
        /// For how long it is down, in microseconds.
        down: u64,
        /// What goes wrong with its disk in its next life.
        disk: FaultPlan,
    },
    /// A process stands still, and then goes on as if nothing had been.
    Pause {
        /// Which.
        node: Node,
        /// For how long.
        length: u64,
    },
    /// Nothing gets from one to the other.
    Partition {
        /// One side.
        one: Node,
        /// The other.
        other: Node,
        /// For how long.
        length: u64,
    },
    /// A wall clock is set.
    ClockJump {
        /// Whose.
        node: Node,
        /// By how many microseconds.
        by: i64,
    },
    /// Syncs take this long.
    SlowDisk {
        /// Whose.
        node: Node,
        /// For how long.
        length: u64,
        /// One sync, in microseconds.
        sync: u64,
    },
    /// A copy of a process's disks is put aside.
    Backup {
        /// Whose.
        node: Node,
    },
    /// A process is killed and its disks are replaced by the copy.
    Restore {
        /// Whose.
        node: Node,
        /// For how long it is down.
        down: u64,
    },
    /// A person cancels a job, pauses it, or changes its priority at the Server or its Manager, or
    /// has all of it done again, or compiled anew.
    Meddle {
        /// Which of the submitted jobs.
        job: usize,
        /// Which act.
        act: u8,
    },
    /// A person gives a job to another Manager.
    Reassign {
        /// Which of the submitted jobs.
        job: usize,
        /// To which Manager.
        to: usize,
    },
    /// A person puts a Worker into quarantine, and lets it go later.
    Quarantine {
        /// Which.
        worker: usize,
        /// For how long.
        length: u64,
    },
    /// The Server is lost, and the Manager with the longest copy of its journal takes its place.
    Promote,
}

/// A job that somebody submits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submission {
    /// When.
    pub at: u64,
    /// Number of tasks.
    pub tasks: u32,
    /// At the Server, or at this Manager.
    pub to: Option<usize>,
}

/// Everything about a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Where the run's own chance comes from.
    pub seed: u64,
    /// Managers.
    pub managers: usize,
    /// A Server is above them.
    pub server: bool,
    /// Workers of each Manager.
    pub workers: usize,
    /// Jobs.
    pub submissions: Vec<Submission>,
    /// The network.
    pub weather: Weather,
    /// Faults, by time.
    pub faults: Vec<(u64, Fault)>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let mut chance = Chance::new(seed ^ 0x7461_626c_616f);
        let server = chance.per_mille(700);
        let managers = if server { chance.between(1, 3) } else { 1 };
        let managers = usize::try_from(managers).expect("a small number");
        let workers = usize::try_from(chance.between(1, 3)).expect("a small number");
        let weather = match chance.below(4) {
            0 => Weather {
                lost: 0,
                doubled: 0,
                late: 0,
                delay_ms_max: 3,
            },
            1 => Weather {
                lost: 20,
                doubled: 20,
                late: 10,
                delay_ms_max: 20,
            },
            _ => Weather {
                lost: chance.below(150),
                doubled: chance.below(100),
                late: chance.below(60),
                delay_ms_max: chance.between(1, 400),
            },
        };
        let submissions = (0..chance.between(1, 4))
            .map(|_| Submission {
                at: chance.between(0, 60) * S,
                tasks: u32::try_from(chance.between(1, 5)).expect("a small number"),
                to: (!server || chance.per_mille(300)).then(|| chance.index(managers)),
            })
            .collect();
        let mut plan = Self {
            seed,
            managers,
            server,
            workers,
            submissions,
            weather,
            faults: Vec::new(),
        };
        plan.add_faults(&mut chance);
        plan
    }

    fn node(&self, chance: &mut Chance) -> Node {
        match chance.below(6) {
            0 if self.server => Node::Server(0),
            0..=2 => Node::Manager(chance.index(self.managers)),
            _ => Node::Worker(chance.index(self.managers * self.workers)),
        }
    }

    /// One that keeps a journal.
    fn keeper(&self, chance: &mut Chance) -> Node {
        if self.server && chance.per_mille(400) {
            Node::Server(0)
        } else {
            Node::Manager(chance.index(self.managers))
        }
    }

    fn add_faults(&mut self, chance: &mut Chance) {
        // Some seeds do without some kinds, so that others are not drowned.
        let without = chance.draw();
        for _ in 0..chance.between(1, 9) {
            let at = chance.between(S, FAULTS_END - S);
            let kind = chance.below(12);
            if without >> kind & 1 == 1 && chance.per_mille(700) {
                continue;
            }
            let fault = self.fault(kind, chance);
            self.faults.push((at, fault));
        }
        if chance.per_mille(120) {
            let node = self.keeper(chance);
            let at = chance.between(5 * S, 100 * S);
            let later = at + chance.between(S, 40 * S);
            let down = chance.between(50 * MS, 3 * S);
            self.faults.push((at, Fault::Backup { node }));
            self.faults.push((later, Fault::Restore { node, down }));
        }
        if self.server && self.managers > 1 && chance.per_mille(400) {
            let job = chance.index(self.submissions.len());
            for _ in 0..chance.between(1, 2) {
                let at = chance.between(20 * S, FAULTS_END - S);
                let to = chance.index(self.managers);
                self.faults.push((at, Fault::Reassign { job, to }));
            }
        }
        if self.server && chance.per_mille(200) {
            let at = chance.between(30 * S, FAULTS_END - 20 * S);
            self.faults.push((at, Fault::Promote));
        }
        if chance.per_mille(300) {
            let job = chance.index(self.submissions.len());
            let act = if chance.per_mille(500) { 3 } else { 4 };
            let at = chance.between(20 * S, FAULTS_END - S);
            self.faults.push((at, Fault::Meddle { job, act }));
        }
        if chance.per_mille(250) {
            let worker = chance.index(self.managers * self.workers);
            let at = chance.between(5 * S, 100 * S);
            let length = chance.between(2 * S, 60 * S);
            self.faults.push((at, Fault::Quarantine { worker, length }));
        }
        self.faults.sort_by_key(|(at, _)| *at);
    }

    fn fault(&self, kind: u64, chance: &mut Chance) -> Fault {
        match kind {
            0..=3 => Fault::Kill {
                node: self.node(chance),
                loss: loss(chance),
                down: chance.between(10 * MS, 25 * S),
                disk: disk(chance),
            },
            4 => Fault::Kill {
                node: self.keeper(chance),
                loss: loss(chance),
                down: chance.between(10 * MS, 3 * S),
                disk: disk(chance),
            },
            5 | 6 => Fault::Pause {
                node: self.node(chance),
                length: chance.between(100 * MS, 60 * S),
            },
            7 | 8 => Fault::Partition {
                one: self.keeper(chance),
                other: self.node(chance),
                length: chance.between(S, 70 * S),
            },
            9 => Fault::ClockJump {
                node: self.keeper(chance),
                by: i64::try_from(chance.between(0, 7200 * S)).expect("small")
                    - i64::try_from(3600 * S).expect("small"),
            },
            10 => Fault::SlowDisk {
                node: self.keeper(chance),
                length: chance.between(S, 40 * S),
                sync: chance.between(20 * MS, 9 * S),
            },
            _ => Fault::Meddle {
                job: chance.index(self.submissions.len()),
                act: u8::try_from(chance.below(5)).expect("below 5"),
            },
        }
    }
}

fn loss(chance: &mut Chance) -> PowerLoss {
    match chance.below(3) {
        0 => PowerLoss::ProcessOnly,
        1 => PowerLoss::UnsyncedLost,
        _ => PowerLoss::Torn {
            seed: chance.draw(),
        },
    }
}

/// What goes wrong with a disk in one life; mostly nothing.
fn disk(chance: &mut Chance) -> FaultPlan {
    let nth = chance.between(1, 60);
    match chance.below(8) {
        0 => FaultPlan {
            fail_call: Some(nth),
            tear: true,
            ..FaultPlan::default()
        },
        1 => FaultPlan {
            freeze_at_sync: Some(nth),
            ..FaultPlan::default()
        },
        2 => FaultPlan {
            space_bytes: Some(chance.between(200, 20_000)),
            ..FaultPlan::default()
        },
        _ => FaultPlan::default(),
    }
}
