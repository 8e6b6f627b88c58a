// SPDX-License-Identifier: GPL-3.0-or-later
//! Folding what makes and removes jobs and their tasks.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    Farm, JobId, JobStatus, Lsn, Recorded, ShotId, TaskStatus,
    entity::{FrameKey, Job, JobState, Tasks},
    event::{JobAccepted, JobImported, NewTasks, TasksAdded},
    status::TaskCounts,
    tasks::TaskState,
    unsettled::Mark,
};

/// Tasks that come together.
pub(super) struct NewRun<'a> {
    pub(super) job: JobId,
    pub(super) first_number: u32,
    pub(super) generation: u32,
    pub(super) types: &'a [String],
    pub(super) tasks: &'a NewTasks,
}

impl Farm {
    pub(super) fn job_accepted(&mut self, recorded: &Recorded, event: &JobAccepted) {
        self.next_sequence += 1;
        let mut job = Job {
            state: JobState {
                facts: event.facts.clone(),
                detail: recorded.detail_hash,
                sequence: self.next_sequence,
                status: JobStatus::UnderConstruction,
                status_detail: None,
                holds: BTreeSet::new(),
                delete_marked: None,
                blocked: BTreeSet::new(),
                chunks: Vec::new(),
                changed_at: recorded.lsn,
                tasks_changed_at: Lsn::ORIGIN,
            },
            tasks: Tasks::default(),
            counts: TaskCounts::default(),
            failures: BTreeMap::new(),
            live: 0,
            leaving: 0,
            mark: Mark::default(),
        };
        self.schedule.add_job(&job);
        self.unsettled.new_job(&mut job);
        self.jobs.insert(event.facts.job, job);
    }

    pub(super) fn tasks_added(&mut self, recorded: &Recorded, event: &TasksAdded) {
        let run = NewRun {
            job: event.job,
            first_number: event.first_number,
            generation: event.generation,
            types: &event.types,
            tasks: &event.tasks,
        };
        let Some((first, len)) = self.take_run(recorded, &run, TaskState::new) else {
            return;
        };
        if let Some(job) = self.jobs.get_mut(&event.job) {
            job.counts.add_many(TaskStatus::Queued, len);
            self.schedule.add_tasks(job, first);
        }
        self.refresh_lanes(event.job);
    }

    /// Takes tasks in; `state` makes what changes about each. Gives the first number and how many.
    pub(super) fn take_run(
        &mut self,
        recorded: &Recorded,
        run: &NewRun<'_>,
        state: fn(u16, i32, Lsn) -> TaskState,
    ) -> Option<(u32, u32)> {
        let types: Vec<u16> = run
            .types
            .iter()
            .map(|name| self.intern_type(name))
            .collect();
        let Some(job) = self.jobs.get_mut(&run.job) else {
            debug_assert!(false, "tasks are added to a job that is not there");
            return None;
        };
        let first = u32::try_from(job.tasks.len()).expect("numbers are u32");
        debug_assert_eq!(first, run.first_number, "chunks of tasks are in order");
        self.unsettled.job_changes(&mut self.hash, job);
        job.state
            .chunks
            .push((run.first_number, recorded.detail_hash));
        job.state.tasks_changed_at = recorded.lsn;
        let states = (run.tasks.iter()).map(|new| {
            let task_type = types[usize::from(new.task_type)];
            state(task_type, new.priority, recorded.lsn)
        });
        let states: Vec<TaskState> = states.collect();
        let len = u32::try_from(states.len()).expect("a run of tasks fits one decision");
        (job.tasks).push(run.generation, run.tasks.clone(), &states);
        for number in first..first + len {
            self.unsettled.new_task(job, number);
        }
        (self.task_ids).add(&self.jobs, run.job, first, len);
        Some((first, len))
    }

    pub(super) fn job_imported(&mut self, recorded: &Recorded, event: &JobImported) {
        for (worker, ranges) in &event.failed_by {
            for number in ranges.iter().flat_map(|&(first, last)| first..=last) {
                let mut newly = None;
                self.change_task(recorded, event.job, number, |task| {
                    if task.add_failed_by(*worker) {
                        newly = Some(task.task_type());
                    }
                });
                if let (Some(task_type), Some(job)) = (newly, self.jobs.get_mut(&event.job)) {
                    *job.failures.entry((*worker, task_type)).or_insert(0) += 1;
                }
            }
        }
        for (worker, ranges) in &event.last_workers {
            for number in ranges.iter().flat_map(|&(first, last)| first..=last) {
                self.change_task(recorded, event.job, number, |task| {
                    task.state.set_last_worker(Some(*worker));
                });
            }
        }
        let status = event.status;
        self.change_job(recorded, event.job, |job| {
            job.state.status = status;
            job.state.status_detail = recorded.detail_hash;
            job.state.tasks_changed_at = recorded.lsn;
        });
        for waiting in self.schedule.waiting_for(event.job) {
            self.refresh_lanes(waiting);
        }
    }

    pub(super) fn job_purged(&mut self, id: JobId) {
        self.task_ids.remove(&self.jobs, id);
        let Some(job) = self.jobs.remove(&id) else {
            debug_assert!(false, "a job is purged that is not there");
            return;
        };
        self.unsettled.job_goes(&mut self.hash, &job);
        self.blocks.take_all_of(&job);
        self.flaws.take_all_of(&mut self.hash, id);
        let gone = self.frames_last_published_by(id);
        self.unsettled
            .frames_go(&mut self.hash, &gone, &mut self.frames);
        self.schedule.remove_job(&job);
        for waiting in self.schedule.waiting_for(id) {
            self.refresh_lanes(waiting);
        }
    }

    /// The frames that go with a job, and the counts of them.
    fn frames_last_published_by(&mut self, id: JobId) -> BTreeSet<FrameKey> {
        let shots: Vec<ShotId> = self.shots_of(id).collect();
        let mut keys = BTreeSet::new();
        for shot in shots {
            self.frames_of.remove(&(id, shot));
            let frames = (self.frames.of_shot(shot)).filter(|(_, frame)| frame.job == id);
            keys.extend(frames.map(|(key, _)| key));
        }
        keys
    }
}
