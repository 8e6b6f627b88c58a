// SPDX-License-Identifier: GPL-3.0-or-later
//! Folding what regeneration does: tasks that are prepared, that come and that go, and output
//! that is not wanted any more. What comes and what goes is stated by the event.

use super::job::NewRun;
use crate::{
    Farm, JobId, Recorded,
    event::{JobRegenerated, OutputsDiscarded, TasksPrepared},
    tasks::TaskState,
};

impl Farm {
    pub(super) fn tasks_prepared(&mut self, recorded: &Recorded, event: &TasksPrepared) {
        let run = NewRun {
            job: event.job,
            first_number: event.first_number,
            generation: event.generation,
            types: &event.types,
            tasks: &event.tasks,
        };
        let Some((first, _)) = self.take_run(recorded, &run, TaskState::prepared) else {
            return;
        };
        // Retired as they are, the index only notes what they wait for.
        if let Some(job) = self.jobs.get(&event.job) {
            self.schedule.add_tasks(job, first);
        }
    }

    pub(super) fn job_regenerated(&mut self, recorded: &Recorded, event: &JobRegenerated) {
        for (ranges, retired) in [(&event.retired, true), (&event.added, false)] {
            for number in ranges.iter().flat_map(|&(first, last)| first..=last) {
                self.set_retired(recorded, event.job, number, retired);
            }
        }
        self.change_job(recorded, event.job, |job| {
            let facts = &mut job.state.facts;
            facts.generation = event.generation;
            facts.script_hash = event.script_hash;
            facts.tasks_expected = event.tasks_expected;
            job.state.detail = recorded.detail_hash;
            job.state.tasks_changed_at = recorded.lsn;
        });
    }

    fn set_retired(&mut self, recorded: &Recorded, id: JobId, number: u32, retired: bool) {
        let Some(job) = self.jobs.get_mut(&id) else {
            debug_assert!(false, "an event names a job that is not there");
            return;
        };
        let Some(task) = job.tasks.get(number as usize) else {
            debug_assert!(false, "an event names a task that is not there");
            return;
        };
        let (status, runs, before) = (task.status, task.attempt.is_some(), task.retired);
        self.schedule.before_task_change(job, &task);
        self.unsettled.task_changes(job, number);
        let mut task = (job.tasks.change(number)).expect("it was there a moment ago");
        task.set_retired(retired);
        task.state.changed_at = recorded.lsn;
        match (before, retired) {
            (false, true) => {
                job.counts.remove(status);
                job.leaving += u32::from(runs);
            }
            (true, false) => job.counts.add(status),
            (true, true) | (false, false) => {
                debug_assert!(false, "a task goes that is there, and comes that is not");
            }
        }
        self.schedule.after_task_change(job, number, status);
    }

    pub(super) fn outputs_discarded(&mut self, recorded: &Recorded, event: &OutputsDiscarded) {
        for number in event.ranges.iter().flat_map(|&(first, last)| first..=last) {
            self.change_task(recorded, event.job, number, |_| {});
            if let Some(job) = self.jobs.get_mut(&event.job) {
                job.tasks.discard(number, recorded.lsn);
            }
        }
        if let Some(job) = self.jobs.get_mut(&event.job) {
            self.unsettled.job_changes(&mut self.hash, job);
            job.state.tasks_changed_at = recorded.lsn;
        }
        self.refresh_lanes(event.job);
    }
}
