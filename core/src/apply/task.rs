// SPDX-License-Identifier: GPL-3.0-or-later
//! Folding what happens to tasks, their attempts and their frames.

use smallvec::SmallVec;

use crate::{
    AttemptId, Farm, JobId, Recorded, ShotId, TaskStatus,
    entity::{Attempt, AttemptState, Frame},
    event::{
        AttemptAssigned, AttemptEnded, AttemptOutcome, AttemptStarted, AttemptStopRequested,
        FailuresCleared, FrameFlagged, FramePublished, FramesWanted, TaskOutgrew, TasksChanged,
        ThumbnailStored,
    },
    farm::outgrown_leaf,
    flaws::Flaw,
};

impl Farm {
    pub(super) fn tasks_changed(&mut self, recorded: &Recorded, event: &TasksChanged) {
        for &(first, last) in &event.ranges {
            for number in first..=last {
                self.change_task(recorded, event.job, number, |task| {
                    debug_assert_eq!(
                        task.state.status, event.from,
                        "the event says what was before"
                    );
                    task.state.status = event.to;
                    task.change_steps(event.steps);
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
                let Some(task) = job.tasks.get(number as usize) else {
                    return;
                };
                for &worker in task.failed_by {
                    if let Some(count) = job.failures.get_mut(&(worker, task.task_type)) {
                        *count -= 1;
                        if *count == 0 {
                            job.failures.remove(&(worker, task.task_type));
                        }
                    }
                }
                if let Some(bytes) = task.outgrown {
                    self.hash.remove(outgrown_leaf(event.job, (number, bytes)));
                }
                self.change_task(recorded, event.job, number, |task| task.clear_failed_by());
            }
        }
        self.refresh_lanes(event.job);
    }

    pub(super) fn task_outgrew(&mut self, recorded: &Recorded, event: &TaskOutgrew) {
        let leaf = |bytes: u64| outgrown_leaf(event.job, (event.task, bytes));
        if let Some(before) = event.from {
            self.hash.remove(leaf(before));
        }
        self.hash.add(leaf(event.to));
        self.change_task(recorded, event.job, event.task, |task| {
            task.set_outgrown(event.to);
        });
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
        self.unsettled.new_attempt(id);
        self.attempts.insert(id, attempt);
        self.change_task(recorded, event.job, event.task, |task| {
            task.state.status = TaskStatus::Active;
            task.set_attempt(Some(id));
            task.state.set_last_worker(Some(event.worker));
        });
        if let Some(job) = self.jobs.get_mut(&event.job) {
            job.live += 1;
        }
        self.tasks_moved(recorded, event.job);
        let mut several = SmallVec::<[AttemptId; 1]>::new();
        self.change_attempts(recorded, event.worker, |attempts| {
            if let Err(place) = attempts.binary_search(&id) {
                attempts.insert(place, id);
            }
            if attempts.len() > 1 {
                several.clone_from(attempts);
            }
        });
        let unstarted = (several.into_iter())
            .filter(|id| (self.attempts.get(id)).is_some_and(Attempt::is_unstarted));
        self.unstarted.extend(unstarted);
    }

    pub(super) fn attempt_started(&mut self, event: &AttemptStarted) {
        self.unstarted.remove(&event.attempt);
        self.change_attempt(event.attempt, |attempt| {
            attempt.state = AttemptState::Running
        });
    }

    pub(super) fn attempt_stop_requested(&mut self, event: &AttemptStopRequested) {
        self.unstarted.remove(&event.attempt);
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
        self.unsettled.attempt_changes(&mut self.hash, attempt);
        change(attempt);
    }

    pub(super) fn attempt_ended(&mut self, recorded: &Recorded, event: &AttemptEnded) {
        self.unstarted.remove(&event.attempt);
        if let Some(attempt) = self.attempts.remove(&event.attempt) {
            self.unsettled.attempt_goes(&mut self.hash, &attempt);
        } else {
            debug_assert!(false, "an attempt ends that is not live");
        }
        let own_report = matches!(
            event.outcome,
            AttemptOutcome::Completed | AttemptOutcome::Failed { .. }
        );
        let mut newly_failed_type = None;
        self.change_task(recorded, event.job, event.task, |task| {
            task.state.status = event.task_to;
            task.set_attempt(None);
            task.state.attempts_ended += 1;
            task.state.set_last_ended(Some((event.attempt, own_report)));
            task.change_steps(event.steps);
            if event.counts_as_failure && task.add_failed_by(event.worker) {
                newly_failed_type = Some(task.task_type());
            }
        });
        if let Some(job) = self.jobs.get_mut(&event.job) {
            job.live = job.live.saturating_sub(1);
            if (job.tasks.get(event.task as usize)).is_some_and(|task| task.retired) {
                job.leaving = job.leaving.saturating_sub(1);
            }
            if let Some(task_type) = newly_failed_type {
                *job.failures.entry((event.worker, task_type)).or_insert(0) += 1;
            }
        }
        self.tasks_moved(recorded, event.job);
        let mut only = None;
        self.change_attempts(recorded, event.worker, |attempts| {
            attempts.retain(|attempt| *attempt != event.attempt);
            only = (attempts.len() == 1).then(|| attempts[0]);
        });
        if let Some(only) = only {
            self.unstarted.remove(&only);
        }
    }

    /// Notes on the job that its tasks changed, and brings its lanes up to date.
    fn tasks_moved(&mut self, recorded: &Recorded, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            self.unsettled.job_changes(&mut self.hash, job);
            job.state.tasks_changed_at = recorded.lsn;
        }
        self.refresh_lanes(id);
    }

    pub(super) fn frame_published(&mut self, recorded: &Recorded, event: &FramePublished) {
        let mut frame = Frame {
            job: event.job,
            task: event.task,
            attempt: event.attempt,
            size: event.size,
            hash: event.hash,
            publications: 1,
            thumbnail: None,
            detail: recorded.detail_hash,
        };
        let shot = event.key.shot;
        *self.frames_of.entry((event.job, shot)).or_default() += 1;
        if let Some(old) = self.frames.get(&event.key) {
            self.unsettled
                .frame_changes(&mut self.hash, &event.key, &mut self.frames);
            frame.publications += old.publications;
            self.frames.put(&event.key, &frame);
            self.forget_frame_of(old.job, shot);
        } else {
            self.frames.put(&event.key, &frame);
            self.unsettled.new_frame(&event.key, &mut self.frames);
        }
    }

    /// A job no longer is the one that published some frame of a shot last.
    fn forget_frame_of(&mut self, job: JobId, shot: ShotId) {
        if let Some(count) = self.frames_of.get_mut(&(job, shot)) {
            *count -= 1;
            if *count == 0 {
                self.frames_of.remove(&(job, shot));
            }
        }
    }

    pub(super) fn thumbnail_stored(&mut self, event: &ThumbnailStored) {
        self.unsettled
            .frame_changes(&mut self.hash, &event.key, &mut self.frames);
        self.frames.set_thumbnail(&event.key, event.hash);
    }

    pub(super) fn frame_flagged(&mut self, event: &FrameFlagged) {
        let flaw = Flaw {
            flags: event.to,
            seen: event.seen,
            wanted: (self.flaws.get(&event.key)).is_some_and(|flaw| flaw.wanted),
            job: event.job,
            task: event.task,
        };
        self.flaws.put(&mut self.hash, &event.key, flaw);
    }

    pub(super) fn frames_wanted(&mut self, event: &FramesWanted) {
        for frame in &event.frames {
            let flaw = Flaw {
                flags: (self.flaws.get(&frame.key)).map_or(0, |flaw| flaw.flags),
                seen: frame.seen,
                wanted: event.wanted,
                job: event.job,
                task: frame.task,
            };
            self.flaws.put(&mut self.hash, &frame.key, flaw);
        }
    }
}
