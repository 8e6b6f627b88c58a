// SPDX-License-Identifier: GPL-3.0-or-later
//! The walk over the lanes that a worker may take from: the best task for it, and the one that
//! would have been next.

use std::cmp::Reverse;

use super::{JobLinks, Schedule};
use crate::{Farm, JobId, Timestamp, entity::Worker};

/// A task that could be handed out. The better one is the lesser.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    job_priority: Reverse<i32>,
    task_priority: Reverse<i32>,
    sequence: u64,
    /// The task's number, which is also its order.
    pub task: u32,
    /// The job.
    pub job: JobId,
}

/// The two best so far.
#[derive(Default)]
struct Found {
    best: Option<Candidate>,
    second: Option<Candidate>,
}

impl Found {
    fn take(&mut self, found: Candidate) {
        if self.best.is_none_or(|best| found < best) {
            self.second = self.best;
            self.best = Some(found);
        } else if self.second.is_none_or(|second| found < second) {
            self.second = Some(found);
        }
    }

    /// Nothing of this place in a lane can come before the runner-up.
    fn is_beyond(&self, place: (Reverse<i32>, Reverse<i32>, u64)) -> bool {
        self.second.is_some_and(|second| {
            place > (second.job_priority, second.task_priority, second.sequence)
        })
    }

    fn look_into(
        &mut self,
        links: &JobLinks,
        place: (Reverse<i32>, u64),
        task_type: u16,
        worker: (&Worker, Option<u64>),
    ) {
        let Some(ready) = links.ready.get(&task_type) else {
            return;
        };
        for (task_priority, task) in ready.for_worker(worker.0.id, worker.1).take(2) {
            self.take(Candidate {
                job_priority: place.0,
                task_priority,
                sequence: place.1,
                task,
                job: links.id,
            });
        }
    }
}

impl Schedule {
    /// The best task for a worker and the one that would have been next.
    pub fn pick(
        &self,
        farm: &Farm,
        worker: &Worker,
        now: Timestamp,
    ) -> (Option<Candidate>, Option<Candidate>) {
        let mut found = Found::default();
        let memory = farm.memory_of(worker.id);
        for &task_type in &worker.types {
            let bars = [
                self.blocked.get(&(worker.id, task_type)),
                self.exhausted.get(&(worker.id, task_type)),
            ];
            let tags = std::iter::once(None).chain(worker.tags.iter().copied().map(Some));
            for lane in tags.filter_map(|tag| self.lanes.get(&(tag, task_type))) {
                'lane: for (&(job_priority, best), jobs) in lane {
                    if found.is_beyond((job_priority, best, 0)) {
                        break;
                    }
                    for sequence in jobs.without(&bars) {
                        if found.is_beyond((job_priority, best, sequence)) {
                            break 'lane;
                        }
                        let place = (job_priority, sequence);
                        found.look_into(&self.jobs[&sequence], place, task_type, (worker, memory));
                    }
                }
            }
        }
        self.look_at_due(farm, worker, now, &mut found);
        (found.best, found.second)
    }

    /// Jobs whose earliest start has come since the last record are not in the lanes yet.
    fn look_at_due(&self, farm: &Farm, worker: &Worker, now: Timestamp, found: &mut Found) {
        let memory = farm.memory_of(worker.id);
        for job in self.starting(farm.time(), now) {
            let Some(job) = farm.jobs().get(&job) else {
                continue;
            };
            let facts = &job.state.facts;
            let serves = facts.tag.is_none_or(|tag| worker.tags.contains(&tag));
            let Some(links) = self.jobs.get(&job.state.sequence) else {
                continue;
            };
            if !serves || !farm.may_run(job) {
                continue;
            }
            for &task_type in &worker.types {
                if !links.blocked.contains(&(worker.id, task_type)) {
                    let place = (Reverse(facts.priority), job.state.sequence);
                    found.look_into(links, place, task_type, (worker, memory));
                }
            }
        }
    }
}
