// SPDX-License-Identifier: GPL-3.0-or-later
//! Which workers ran some task of a job last: an index, so that whoever looks for a worker's jobs
//! looks at no task. It follows from the tasks and is in no checkpoint.

use std::collections::BTreeMap;

use tablao_core::{
    JobId, WorkerId,
    entity::{Job, Tasks},
};

/// For each job, how many of its tasks each worker ran last. A big job has a row for each worker
/// of the farm, so a row is two small numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Worked {
    /// A small number for each worker that ever ran a task.
    numbers: BTreeMap<WorkerId, u32>,
    /// Number of the worker and how many tasks, by that number.
    jobs: BTreeMap<JobId, Vec<(u32, u32)>>,
}

impl Worked {
    /// Of all these jobs.
    pub(crate) fn of<'a>(jobs: impl Iterator<Item = (&'a JobId, &'a Job)>) -> Self {
        let mut worked = Self::default();
        for (id, job) in jobs {
            worked.recount(*id, job);
        }
        worked
    }

    pub(crate) fn has(&self, job: JobId, worker: WorkerId) -> bool {
        let known = || {
            let number = self.numbers.get(&worker)?;
            let rows = self.jobs.get(&job)?;
            rows.binary_search_by_key(number, |row| row.0).ok()
        };
        known().is_some()
    }

    /// A task of a job is a worker's that was another one's, or nobody's.
    pub(crate) fn turn(&mut self, job: JobId, from: Option<WorkerId>, to: WorkerId) {
        if from == Some(to) {
            return;
        }
        let (from, to) = (from.map(|from| self.number(from)), self.number(to));
        let rows = self.jobs.entry(job).or_default();
        match rows.binary_search_by_key(&to, |row| row.0) {
            Ok(place) => rows[place].1 += 1,
            Err(place) => rows.insert(place, (to, 1)),
        }
        if let Some(from) = from
            && let Ok(place) = rows.binary_search_by_key(&from, |row| row.0)
        {
            rows[place].1 -= 1;
            if rows[place].1 == 0 {
                rows.remove(place);
            }
        }
    }

    /// A job came with workers that ran its tasks elsewhere.
    pub(crate) fn recount(&mut self, id: JobId, job: &Job) {
        let mut rows: Vec<(u32, u32)> = (count(&job.tasks).into_iter())
            .map(|(worker, tasks)| (self.number(worker), tasks))
            .collect();
        rows.sort_unstable();
        if rows.is_empty() {
            self.jobs.remove(&id);
        } else {
            self.jobs.insert(id, rows);
        }
    }

    pub(crate) fn forget(&mut self, job: JobId) {
        self.jobs.remove(&job);
    }

    fn number(&mut self, worker: WorkerId) -> u32 {
        let next = u32::try_from(self.numbers.len()).expect("a farm has fewer workers");
        *self.numbers.entry(worker).or_insert(next)
    }
}

fn count(tasks: &Tasks) -> BTreeMap<WorkerId, u32> {
    let mut workers: BTreeMap<WorkerId, u32> = BTreeMap::new();
    let mut run: Option<(WorkerId, u32)> = None;
    // Neighbours often share their worker: one look at the map for all of them.
    for worker in tasks.last_workers() {
        match &mut run {
            Some((same, count)) if *same == worker => *count += 1,
            other => {
                if let Some((before, count)) = other.replace((worker, 1)) {
                    *workers.entry(before).or_default() += count;
                }
            }
        }
    }
    if let Some((last, count)) = run {
        *workers.entry(last).or_default() += count;
    }
    workers
}
