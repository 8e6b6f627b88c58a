// SPDX-License-Identifier: GPL-3.0-or-later
//! Wishes about what jobs consist of: tasks prepared for a regeneration, jobs regenerated with
//! whatever was prepared, tasks queued again with those that depend on them.

use tablao_core::{
    Farm, JobStatus, Request, Timestamp,
    detail::JobDetail,
    entity::Job,
    request::{Regeneration, Requeue},
};

use super::Wishes;

/// Numbers of tasks at the end of a job that are prepared for its next generation.
fn prepared(job: &Job) -> u32 {
    let next = job.state.facts.generation + 1;
    let mut first = job.tasks.end();
    while first > 0 {
        let task = job.tasks.at(first - 1);
        if !task.retired || task.generation != next {
            break;
        }
        first -= 1;
    }
    first
}

impl Wishes {
    /// One of the jobs; half the time one that is being worked on, as far as there is one.
    fn some_known_job<'a>(&mut self, farm: &'a Farm) -> Option<&'a Job> {
        let busy = self.random.one_in(2) && farm.jobs().values().any(|job| job.live > 0);
        let jobs = (farm.jobs().values()).filter(|job| !busy || job.live > 0);
        let jobs: Vec<&Job> = jobs.collect();
        self.random.pick(&jobs).copied()
    }

    pub(super) fn prepare(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let job = self.some_known_job(farm)?;
        let facts = &job.state.facts;
        let there = job.tasks.len();
        if there > 24 {
            return None;
        }
        let first = if self.random.one_in(20) {
            there + 1
        } else {
            there
        };
        let count = 1 + self.random.below(3);
        let mut chunk = self.chunk(facts.job, first, count, there + count);
        // Mostly on what stays, so that the exchange can come about.
        if !self.random.one_in(4) {
            let mut tasks = chunk.tasks.to_vec();
            for (place, task) in tasks.iter_mut().enumerate() {
                let own = first + place;
                let stays = |other: &u32| {
                    let known = job.tasks.get(*other as usize);
                    (*other as usize) < own && known.is_none_or(|known| !known.retired)
                };
                task.depends_on.retain(stays);
            }
            chunk.tasks = tasks.into();
        }
        let generation = facts.generation + if self.random.one_in(20) { 2 } else { 1 };
        Some(Request::PrepareTasks {
            job: facts.job,
            generation,
            chunk: Box::new(chunk),
        })
    }

    pub(super) fn regenerate(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let job = self.some_known_job(farm)?;
        let facts = &job.state.facts;
        let mut first = prepared(job);
        let end = job.tasks.end();
        if end > first && self.random.one_in(6) {
            // Part of what was prepared is forgotten about.
            first += 1;
        }
        let mut retired: Vec<(u32, u32)> = Vec::new();
        let share = self.random.of(&[1, 2, 2, 4, 100]);
        let mut gone = vec![false; first as usize];
        for number in 0..first {
            let task = job.tasks.at(number);
            let follows = task
                .depends_on
                .iter()
                .any(|&other| gone.get(other as usize).copied().unwrap_or(false));
            let goes = !task.retired && (follows || self.random.one_in(share));
            let mistaken = self.random.one_in(150);
            if goes != mistaken {
                gone[number as usize] = true;
                match retired.last_mut() {
                    Some((_, last)) if *last + 1 == number => *last = number,
                    _ => retired.push((number, number)),
                }
            }
        }
        let from_generation = facts.generation + u32::from(self.random.one_in(25));
        Some(Request::RegenerateJob {
            regeneration: Box::new(Regeneration {
                job: facts.job,
                from_generation,
                script_hash: [u8::from(self.random.one_in(2)); 32],
                retired,
                added: (first, end - first),
                detail: JobDetail {
                    name: "regenerated".to_owned(),
                    ..JobDetail::default()
                },
                reason: "the samples changed".to_owned(),
            }),
        })
    }

    pub(super) fn requeue(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let job = self.some_known_job(farm)?;
        let end = job.tasks.end();
        if end == 0 || job.state.status == JobStatus::UnderConstruction && !self.random.one_in(9) {
            return None;
        }
        let mut ranges = Vec::new();
        for number in 0..end {
            let here = !job.tasks.at(number).retired || self.random.one_in(30);
            if here && self.random.one_in(3) {
                ranges.push((number, number));
            }
        }
        if self.random.one_in(30) {
            ranges.push((end, end));
        }
        Some(Request::RequeueTasks {
            requeue: Box::new(Requeue {
                job: job.state.facts.job,
                ranges,
                dependants: self.random.one_in(2),
                discard: self.random.one_in(2),
                reason: "it did not look right".to_owned(),
            }),
        })
    }
}
