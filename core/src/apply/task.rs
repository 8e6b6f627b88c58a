// SPDX-License-Identifier: GPL-3.0-or-later
//! Folding what happens to tasks, their attempts and their frames.

use crate::{
    AttemptId, Farm, JobId, Recorded, TaskStatus,
    digest::{Domain, Leaf},
    entity::{Attempt, AttemptState, Frame, Task},
    event::{
        AttemptAssigned, AttemptEnded, AttemptOutcome, AttemptStarted, AttemptStopRequested,
        FailuresCleared, FramePublished, StepsChange, TasksChanged, ThumbnailStored,
    },
    farm::job_leaf,
};

impl Farm {
    pub(super) fn tasks_changed(&mut self, recorded: &Recorded, event: &TasksChanged) {
        for &(first, last) in &event.ranges {
            for number in first..=last {
                self.change_task(recorded, event.job, number, |task| {
                    debug_assert_eq!(task.status, event.from, "the event says what was before");
                    task.status = event.to;
                    change_steps(task, event.steps);
                });
            }
        }
        self.tasks_moved(recorded, event.job);
    }

    pub(super) fn failures_cleared(&mut self, recorded: &Recorded, event: &FailuresCleared) {
        for &(first, last) in &event.ranges {
            for number in first..=last {
                let Some(job) = self.jobs.get_mut(&event.job) else {
                    return;
                };
                let task = &job.tasks[number as usize];
                let task_type = task.task_type;
                for worker in task.failed_by.clone() {
                    if let Some(count) = job.failures.get_mut(&(worker, task_type)) {
                        *count -= 1;
                        if *count == 0 {
                            job.failures.remove(&(worker, task_type));
                        }
                    }
                }
                self.change_task(recorded, event.job, number, |task| task.failed_by.clear());
            }
        }
        self.refresh_lanes(event.job);
    }

    pub(super) fn attempt_assigned(&mut self, recorded: &Recorded, event: &AttemptAssigned) {
        let id = AttemptId {
            job_epoch: event.job_epoch,
            incarnation: self.incarnation,
            lsn: recorded.lsn,
        };
        let attempt = Attempt {
            id,
            job: event.job,
            task: event.task,
            worker: event.worker,
            slot: event.slot,
            protocol: event.protocol,
            state: AttemptState::Assigned,
            stop: None,
            lease_ms: event.lease_ms,
            start_within_ms: event.start_within_ms,
            assigned_at: recorded.at,
        };
        self.hash.add(Leaf::of(Domain::Attempt, &attempt));
        self.attempts.insert(id, attempt);
        self.change_task(recorded, event.job, event.task, |task| {
            task.status = TaskStatus::Active;
            task.attempt = Some(id);
            task.last_worker = Some(event.worker);
        });
        if let Some(job) = self.jobs.get_mut(&event.job) {
            job.live += 1;
        }
        self.tasks_moved(recorded, event.job);
        self.change_worker(recorded, event.worker, |worker| {
            worker.attempts.insert(id);
        });
    }

    pub(super) fn attempt_started(&mut self, event: &AttemptStarted) {
        self.change_attempt(event.attempt, |attempt| {
            attempt.state = AttemptState::Running
        });
    }

    pub(super) fn attempt_stop_requested(&mut self, event: &AttemptStopRequested) {
        self.change_attempt(event.attempt, |attempt| {
            attempt.state = AttemptState::Stopping;
            attempt.stop = Some(event.cause);
        });
    }

    fn change_attempt(&mut self, id: AttemptId, change: impl FnOnce(&mut Attempt)) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            debug_assert!(false, "an event names an attempt that is not live");
            return;
        };
        self.hash.remove(Leaf::of(Domain::Attempt, attempt));
        change(attempt);
        self.hash.add(Leaf::of(Domain::Attempt, attempt));
    }

    pub(super) fn attempt_ended(&mut self, recorded: &Recorded, event: &AttemptEnded) {
        if let Some(attempt) = self.attempts.remove(&event.attempt) {
            self.hash.remove(Leaf::of(Domain::Attempt, &attempt));
        } else {
            debug_assert!(false, "an attempt ends that is not live");
        }
        let own_report = matches!(
            event.outcome,
            AttemptOutcome::Completed | AttemptOutcome::Failed { .. }
        );
        let mut newly_failed_type = None;
        self.change_task(recorded, event.job, event.task, |task| {
            task.status = event.task_to;
            task.attempt = None;
            task.attempts_ended += 1;
            task.last_ended = Some((event.attempt, own_report));
            change_steps(task, event.steps);
            if event.counts_as_failure && !task.failed_by.contains(&event.worker) {
                task.failed_by.push(event.worker);
                newly_failed_type = Some(task.task_type);
            }
        });
        if let Some(job) = self.jobs.get_mut(&event.job) {
            job.live = job.live.saturating_sub(1);
            if let Some(task_type) = newly_failed_type {
                *job.failures.entry((event.worker, task_type)).or_insert(0) += 1;
            }
        }
        self.tasks_moved(recorded, event.job);
        self.change_worker(recorded, event.worker, |worker| {
            worker.attempts.remove(&event.attempt);
        });
    }

    /// Notes on the job that its tasks changed, and brings its lanes up to date.
    fn tasks_moved(&mut self, recorded: &Recorded, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            self.hash.remove(job_leaf(job));
            job.state.tasks_changed_at = recorded.lsn;
            self.hash.add(job_leaf(job));
        }
        self.refresh_lanes(id);
    }

    pub(super) fn frame_published(&mut self, recorded: &Recorded, event: &FramePublished) {
        let old = self.frames.get(&event.key);
        let frame = Frame {
            job: event.job,
            task: event.task,
            attempt: event.attempt,
            size: event.size,
            hash: event.hash,
            publications: old.map_or(0, |frame| frame.publications) + 1,
            thumbnail: None,
            detail: recorded.detail_hash,
        };
        if let Some(old) = old {
            self.hash
                .remove(Leaf::of(Domain::Frame, &(&event.key, old)));
        }
        self.hash
            .add(Leaf::of(Domain::Frame, &(&event.key, &frame)));
        self.frames.insert(event.key.clone(), frame);
    }

    pub(super) fn thumbnail_stored(&mut self, event: &ThumbnailStored) {
        let Some(frame) = self.frames.get_mut(&event.key) else {
            debug_assert!(false, "a thumbnail names a frame that is not there");
            return;
        };
        self.hash
            .remove(Leaf::of(Domain::Frame, &(&event.key, &*frame)));
        frame.thumbnail = Some(event.hash);
        self.hash
            .add(Leaf::of(Domain::Frame, &(&event.key, &*frame)));
    }
}

fn change_steps(task: &mut Task, change: StepsChange) {
    match change {
        StepsChange::Keep => {}
        StepsChange::Zero => task.steps_completed = 0,
        StepsChange::Total => task.steps_completed = task.steps_total,
    }
}
