// SPDX-License-Identifier: GPL-3.0-or-later
//! Which workers ran some task of a job last: an index, so that whoever looks for a worker's jobs
//! looks at no task. It follows from the tasks and is in no checkpoint.

use std::collections::BTreeMap;

use tablao_core::{
    JobId, WorkerId,
    entity::{Job, Tasks},
};

/// For each job, how many of its tasks each worker ran last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Worked(BTreeMap<JobId, BTreeMap<WorkerId, u32>>);

impl Worked {
    /// Of all these jobs.
    pub(crate) fn of<'a>(jobs: impl Iterator<Item = (&'a JobId, &'a Job)>) -> Self {
        let jobs = jobs.map(|(id, job)| (*id, count(&job.tasks)));
        Self(jobs.filter(|(_, workers)| !workers.is_empty()).collect())
    }

    pub(crate) fn has(&self, job: JobId, worker: WorkerId) -> bool {
        (self.0.get(&job)).is_some_and(|workers| workers.contains_key(&worker))
    }

    /// A task of a job is a worker's that was another one's, or nobody's.
    pub(crate) fn turn(&mut self, job: JobId, from: Option<WorkerId>, to: WorkerId) {
        if from == Some(to) {
            return;
        }
        let workers = self.0.entry(job).or_default();
        *workers.entry(to).or_default() += 1;
        if let Some(from) = from
            && let Some(count) = workers.get_mut(&from)
        {
            *count -= 1;
            if *count == 0 {
                workers.remove(&from);
            }
        }
    }

    /// A job came with workers that ran its tasks elsewhere.
    pub(crate) fn recount(&mut self, id: JobId, job: &Job) {
        self.0.insert(id, count(&job.tasks));
    }

    pub(crate) fn forget(&mut self, job: JobId) {
        self.0.remove(&job);
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
