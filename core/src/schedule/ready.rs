// SPDX-License-Identifier: GPL-3.0-or-later
//! The tasks of one type that a job could start now, best first, and which of them a worker has
//! failed already or has too little memory for.
//!
//! A worker that has failed all of them gets none; the set says when that begins and ends for a
//! worker, so that nobody has to find it out by looking.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use smallvec::SmallVec;

use super::numbers::Numbers;
use crate::{Task, WorkerId};

/// Workers for whom something changed.
pub(super) type Workers = SmallVec<[WorkerId; 2]>;

/// Ready tasks that one worker failed.
#[derive(Clone, Debug, Default)]
struct Failed {
    tasks: Numbers,
    count: u32,
}

/// Tasks of one type of one job.
#[derive(Clone, Debug, Default)]
pub(super) struct Ready {
    by_priority: BTreeMap<Reverse<i32>, Numbers>,
    count: u32,
    failed: BTreeMap<WorkerId, Failed>,
    /// Workers by how many of the tasks they failed; as many as there are: they get none.
    by_count: BTreeSet<(u32, WorkerId)>,
    /// Those that ran out of memory, by the bytes that were too few.
    outgrown: BTreeMap<u64, Numbers>,
}

/// Who no longer gets none of the tasks, and who gets none from now on. A worker that stands in
/// both still gets none.
pub(super) struct Turned {
    pub(super) freed: Workers,
    pub(super) barred: Workers,
}

impl Ready {
    /// Priority of the best of them.
    pub(super) fn best(&self) -> Option<Reverse<i32>> {
        self.by_priority.keys().next().copied()
    }

    /// All of their numbers.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.by_priority
            .values()
            .flat_map(Numbers::iter)
            .map(task_number)
    }

    /// Those that the worker has not failed and that may fit into its memory, best first. A worker
    /// of which it is not known how much it has may try all.
    pub(super) fn for_worker(
        &self,
        worker: WorkerId,
        memory: Option<u64>,
    ) -> impl Iterator<Item = (Reverse<i32>, u32)> {
        let failed = self.failed.get(&worker).map(|failed| &failed.tasks);
        let too_large = (memory.into_iter())
            .flat_map(|memory| self.outgrown.range(memory..))
            .map(|(_, tasks)| Some(tasks));
        let barred: SmallVec<[Option<&Numbers>; 2]> =
            std::iter::once(failed).chain(too_large).collect();
        self.by_priority.iter().flat_map(move |(&priority, tasks)| {
            let left = tasks.without(&barred);
            left.map(move |number| (priority, task_number(number)))
        })
    }

    /// Workers that get none of them, although there are some.
    pub(super) fn barred(&self) -> Workers {
        if self.count == 0 {
            return Workers::new();
        }
        let nobody = WorkerId::new(uuid::Uuid::nil());
        (self.by_count.range((self.count, nobody)..))
            .map(|&(_, worker)| worker)
            .collect()
    }

    /// Tasks of one word of numbers can be started from now on; nobody has failed any of them.
    pub(super) fn enter_word(&mut self, priority: Reverse<i32>, place: u64, bits: u64) {
        let tasks = self.by_priority.entry(priority).or_default();
        self.count += tasks.insert_word(place, bits);
    }

    /// A task can be started from now on.
    pub(super) fn enter(&mut self, task: &Task<'_>) -> Turned {
        let number = u64::from(task.number);
        let tasks = self.by_priority.entry(Reverse(task.priority)).or_default();
        if !tasks.insert(number) {
            return Turned::nobody();
        }
        let freed = self.barred();
        self.count += 1;
        for &worker in task.failed_by {
            let failed = self.failed.entry(worker).or_default();
            if failed.tasks.insert(number) {
                self.by_count.remove(&(failed.count, worker));
                failed.count += 1;
                self.by_count.insert((failed.count, worker));
            }
        }
        if let Some(bytes) = task.outgrown {
            self.outgrown.entry(bytes).or_default().insert(number);
        }
        Turned {
            freed,
            barred: self.barred(),
        }
    }

    /// A task cannot be started any more. It is as it was when it entered.
    pub(super) fn leave(&mut self, task: &Task<'_>) -> Turned {
        let number = u64::from(task.number);
        let Some(tasks) = self.by_priority.get_mut(&Reverse(task.priority)) else {
            return Turned::nobody();
        };
        let was = tasks.remove(number);
        if tasks.is_empty() {
            self.by_priority.remove(&Reverse(task.priority));
        }
        if !was {
            return Turned::nobody();
        }
        if let Some(bytes) = task.outgrown
            && let Some(tasks) = self.outgrown.get_mut(&bytes)
        {
            tasks.remove(number);
            if tasks.is_empty() {
                self.outgrown.remove(&bytes);
            }
        }
        let freed = self.barred();
        self.count -= 1;
        for worker in task.failed_by {
            let Some(failed) = self.failed.get_mut(worker) else {
                continue;
            };
            if failed.tasks.remove(number) {
                self.by_count.remove(&(failed.count, *worker));
                failed.count -= 1;
                if failed.count == 0 {
                    self.failed.remove(worker);
                } else {
                    self.by_count.insert((failed.count, *worker));
                }
            }
        }
        Turned {
            freed,
            barred: self.barred(),
        }
    }
}

impl Turned {
    fn nobody() -> Self {
        Self {
            freed: Workers::new(),
            barred: Workers::new(),
        }
    }
}

fn task_number(number: u64) -> u32 {
    u32::try_from(number).expect("only numbers of tasks were put in")
}
