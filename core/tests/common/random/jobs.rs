// SPDX-License-Identifier: GPL-3.0-or-later
//! Wishes about new jobs: what their authors ask of the farm, their tasks and what those wait for,
//! submitted whole or chunk by chunk.

use tablao_core::{
    Farm, JobId, JobStatus, Request, Timestamp,
    entity::{JobFacts, JobSource},
    request::TaskChunk,
};

use super::{JOBS_MAX, TYPES, Wishes};
use crate::common::{chunk, facts, job_id, new_job};

impl Wishes {
    fn job_facts(&mut self, farm: &Farm, tasks: usize, now: Timestamp) -> JobFacts {
        self.jobs_made += 1;
        let mut facts = facts(job_id(self.jobs_made), tasks);
        if self.priorities {
            facts.priority = self.random.of(&[10, 50, 50, 90]);
        }
        facts.tag = self.some_tag().filter(|_| self.random.one_in(3));
        if self.random.one_in(5) {
            facts.limits.max_workers = Some(self.random.of(&[1, 2]));
        }
        if self.random.one_in(8) {
            facts.not_before = Some(now.plus_millis(self.random.of(&[1, 5_000, 60_000])));
        }
        if self.random.one_in(5) {
            // The next job is not there yet, and blocks until it is there and done.
            let next = job_id(self.jobs_made + 1);
            if self.random.one_in(2) {
                facts.depends_on_jobs.push(next);
                self.awaited = true;
            } else {
                facts.depends_on_jobs.extend(self.some_job(farm));
            }
        }
        if self.random.one_in(6) {
            facts.fail_policy.fail_percent = Some(self.random.of(&[1, 10, 40, 60, 100]));
        }
        if self.random.one_in(4) {
            facts.fail_policy.task_attempts_max = Some(self.random.of(&[1, 2, 3]));
        }
        if self.troubled && !self.random.one_in(3) {
            // Here a worker can fail several tasks for good before anything else gives way.
            facts.fail_policy.fail_percent = Some(100);
            facts.fail_policy.task_attempts_max = Some(1);
        }
        if self.random.one_in(10) {
            facts.initial =
                self.random
                    .of(&[JobStatus::Paused, JobStatus::Paused, JobStatus::Active]);
        }
        if self.random.one_in(40) {
            facts.source = JobSource::Placed;
        }
        facts
    }

    /// Tasks from number `first` on, whose dependencies lie anywhere in a job of `all` tasks.
    fn tasks(
        &mut self,
        first: usize,
        count: usize,
        all: usize,
    ) -> Vec<(&'static str, i32, Vec<u32>)> {
        let mixed = self.random.one_in(2);
        (first..first + count)
            .map(|number| {
                let task_type = if mixed {
                    self.random.of(TYPES)
                } else {
                    TYPES[0]
                };
                let priority = if self.priorities {
                    self.random.of(&[10, 50, 50, 90])
                } else {
                    50
                };
                let mut needs = Vec::new();
                if number > 1 && self.random.one_in(6) {
                    // On a whole run of them, as what merges or encodes does.
                    let first = self.random.below(number - 1);
                    let last = first + 1 + self.random.below(number - 1 - first);
                    let run = first..=last;
                    needs.extend(run.map(|other| u32::try_from(other).expect("few tasks")));
                    return (task_type, priority, needs);
                }
                for _ in 0..self.random.of(&[0, 0, 1, 2]) {
                    // Mostly on earlier ones; on later ones, on itself and in circles as well.
                    let reach = if self.random.one_in(25) {
                        all + 1
                    } else {
                        number
                    };
                    if reach > 0 {
                        needs.push(u32::try_from(self.random.below(reach)).expect("few tasks"));
                    }
                }
                (task_type, priority, needs)
            })
            .collect()
    }

    pub(super) fn chunk(
        &mut self,
        job: JobId,
        first: usize,
        count: usize,
        all: usize,
    ) -> TaskChunk {
        let tasks = self.tasks(first, count, all);
        let plans: Vec<(&str, i32, &[u32])> = tasks
            .iter()
            .map(|(name, priority, needs)| (*name, *priority, needs.as_slice()))
            .collect();
        let first = u32::try_from(first).expect("few tasks");
        let mut chunk = chunk(job, first, &plans);
        if self.random.one_in(60) && chunk.tasks.len() > 1 {
            let mut tasks = chunk.tasks.to_vec();
            tasks[1].uuid = tasks[0].uuid;
            chunk.tasks = tasks.into();
        }
        chunk
    }

    pub(super) fn submit(&mut self, farm: &Farm, now: Timestamp) -> Option<Request> {
        if farm.jobs().len() >= JOBS_MAX {
            return None;
        }
        let count = if self.awaited {
            self.random.of(&[0, 1])
        } else if self.troubled {
            self.random.of(&[4, 6, 8])
        } else {
            self.random.of(&[0, 1, 1, 2, 3, 4, 5, 8])
        };
        let facts = self.job_facts(farm, count, now);
        let mut chunk = self.chunk(facts.job, 0, count, count);
        if self.random.one_in(50) {
            chunk = self.chunk(facts.job, 0, count + 1, count + 1);
        }
        Some(Request::SubmitJob {
            job: new_job(facts, chunk),
        })
    }

    pub(super) fn accept(&mut self, farm: &Farm, now: Timestamp) -> Option<Request> {
        if farm.jobs().len() >= JOBS_MAX {
            return None;
        }
        let all = self.random.of(&[1, 3, 5]);
        let facts = self.job_facts(farm, all, now);
        let count = self.random.below(all + 1);
        let chunk = self.chunk(facts.job, 0, count, all);
        Some(Request::AcceptJob {
            job: new_job(facts, chunk),
        })
    }

    pub(super) fn continue_saga(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let open: Vec<JobId> = farm
            .jobs()
            .values()
            .filter(|job| job.state.status == JobStatus::UnderConstruction)
            .map(|job| job.state.facts.job)
            .collect();
        let job = match self.random.pick(&open) {
            Some(job) => *job,
            None if self.random.one_in(8) => self.some_job(farm)?,
            None => return None,
        };
        let (there, all) = farm.jobs().get(&job).map_or((0, 1), |known| {
            (known.tasks.len(), known.state.facts.tasks_expected as usize)
        });
        if self.random.one_in(12) {
            return Some(Request::AbandonJob {
                job,
                reason: "the submitter went away".to_owned(),
            });
        }
        if there >= all || self.random.one_in(8) {
            return Some(Request::ReadyJob { job });
        }
        let count = 1 + self.random.below(all - there);
        Some(Request::AddTasks {
            job,
            chunk: Box::new(self.chunk(job, there, count, all)),
        })
    }
}
