// SPDX-License-Identifier: GPL-3.0-or-later
//! Deciding what people ask of tasks, and which task a worker gets.

use super::{Answer, Plan, job::is_whole, plan::Ending};
use crate::{
    AttemptId, JobStatus, Lsn, Refusal, TaskId, TaskStatus, Timestamp, WorkerId, WorkerStatus,
    entity::{Attempt, AttemptState, Protocol},
    event::{AttemptAssigned, AttemptOutcome, FailuresCleared, StopCause, TaskPriorityChanged},
    machine::task_wish_allowed,
    schedule::RULE_VERSION,
};

type Decision = Result<Answer, Refusal>;

impl Plan<'_> {
    pub(super) fn set_task_status(
        &mut self,
        id: TaskId,
        wanted: TaskStatus,
        reason: &str,
    ) -> Decision {
        let (job, task) = self
            .farm
            .task(id)
            .ok_or(Refusal::UnknownTask { task: id })?;
        let from = task.status;
        let job_id = job.state.facts.job;
        if task.retired {
            return Err(Refusal::TaskRetired { task: id });
        }
        if from == wanted {
            return Ok(Answer::Done);
        }
        if let Some(attempt) = task.attempt {
            let attempt = &self.farm.attempts[&attempt];
            let cause = match wanted {
                TaskStatus::Canceled => StopCause::TaskCanceled,
                TaskStatus::Queued => StopCause::TaskRequeued,
                TaskStatus::Active
                | TaskStatus::Completed
                | TaskStatus::Failed
                | TaskStatus::SoftFailed
                | TaskStatus::Paused => return Err(Refusal::TaskTransition { from, wanted }),
            };
            if attempt.stop != Some(cause) {
                self.stop(attempt, cause, reason);
            }
            return Ok(Answer::Done);
        }
        if !task_wish_allowed(from, wanted) {
            return Err(Refusal::TaskTransition { from, wanted });
        }
        self.move_task(job_id, &task, wanted, reason);
        if wanted == TaskStatus::Queued {
            if !task.failed_by.is_empty() {
                self.emit(FailuresCleared {
                    job: job_id,
                    ranges: vec![(task.number, task.number)],
                });
            }
            // Only this task runs again; the rest of an ended job stays as it ended.
            if job.state.status.is_terminal() && is_whole(job) {
                self.note_status(job, JobStatus::Queued, reason);
            }
        } else {
            self.after_task(job, wanted, reason);
        }
        Ok(Answer::Done)
    }

    pub(super) fn set_task_priority(&mut self, id: TaskId, priority: i32) -> Decision {
        let (job, task) = self
            .farm
            .task(id)
            .ok_or(Refusal::UnknownTask { task: id })?;
        if task.priority != priority {
            self.emit(TaskPriorityChanged {
                job: job.state.facts.job,
                task: task.number,
                from: task.priority,
                to: priority,
            });
        }
        Ok(Answer::Done)
    }

    /// Gives a worker its next task, or the one whose hand-out it did not hear of.
    pub(super) fn ask_for_task(&mut self, id: WorkerId) -> Decision {
        let worker = self.worker(id)?;
        if let Some(pending) = worker.pending {
            return Err(Refusal::StatusChangePending {
                status: pending.status,
            });
        }
        // A worker that was lost and asks for work has been found; it does not know that it was
        // lost, and would be refused for ever.
        if worker.status == Some(WorkerStatus::Error) {
            return Err(Refusal::StatusChangePending {
                status: WorkerStatus::Awake,
            });
        }
        if worker.status != Some(WorkerStatus::Awake) {
            return Err(Refusal::NotAwake {
                status: worker.status,
            });
        }
        // A worker that asks runs fewer tasks than it has slots: what it should have dropped it
        // has dropped, and what it should have started it has not heard of.
        let mut held = 0;
        for attempt in worker.attempts.iter().map(|id| &self.farm.attempts[id]) {
            if attempt.state == AttemptState::Stopping {
                self.give_back(
                    attempt,
                    AttemptOutcome::Canceled,
                    "its worker asked for another task",
                );
                continue;
            }
            held += 1;
            if held >= worker.slots.max(1) || attempt.state == AttemptState::Assigned {
                return Ok(self.assigned(attempt));
            }
        }
        // It may ask as long as it likes, and is woken when the quarantine is lifted.
        if worker.quarantined {
            return Ok(Answer::NoTask);
        }
        let (best, next) = self.farm.schedule.pick(self.farm, worker, self.env.now);
        // Where nothing waits, somebody may hold a task that it has not come to. Who runs one
        // itself takes none away.
        let found = match best {
            Some(best) => Some((best.job, best.task)),
            None if held == 0 => self.take_back_for(worker),
            None => None,
        };
        let Some((job_id, number)) = found else {
            return Ok(Answer::NoTask);
        };
        let job = &self.farm.jobs[&job_id];
        let task = job.tasks.at(number);
        let slot = (0..u8::MAX)
            .find(|slot| {
                !(worker.attempts.iter()).any(|attempt| self.farm.attempts[attempt].slot == *slot)
            })
            .unwrap_or(0);
        let policy = &self.farm.policy;
        let (lease_ms, start_within_ms) = match worker.protocol {
            Protocol::Tablao => (policy.lease_ms, policy.start_within_ms),
            Protocol::Flamenco => (policy.task_timeout_ms, 0),
        };
        if self.view(job_id).status == JobStatus::Queued {
            self.note_status(job, JobStatus::Active, "its first task was started");
        }
        let from = self.task_status(job_id, &task);
        let position: Lsn = self.env.event(self.events.len());
        self.emit(AttemptAssigned {
            job: job_id,
            task: number,
            from,
            worker: id,
            slot,
            job_epoch: job.state.facts.job_epoch,
            protocol: worker.protocol,
            lease_ms,
            start_within_ms,
            rule_version: RULE_VERSION,
            runner_up: next.map(|next| (next.job, next.task)),
        });
        Ok(Answer::Assigned {
            attempt: AttemptId {
                job_epoch: job.state.facts.job_epoch,
                incarnation: self.farm.incarnation,
                lsn: position,
            },
            job: job_id,
            task: task.uuid,
            number,
        })
    }

    fn assigned(&self, attempt: &Attempt) -> Answer {
        Answer::Assigned {
            attempt: attempt.id,
            job: attempt.job,
            task: self.farm.jobs[&attempt.job].tasks.at(attempt.task).uuid,
            number: attempt.task,
        }
    }

    /// Ends attempts that were silent for longer than their lease, or that never started.
    pub(super) fn lapse_attempts(&mut self, evidence: &[(AttemptId, Timestamp)]) -> Answer {
        for &(id, silent_since) in evidence {
            let Some(attempt) = self.farm.attempts.get(&id) else {
                continue;
            };
            let silent_too_long = attempt.lease_ms > 0
                && self.env.now >= silent_since.plus_millis(attempt.lease_ms.into());
            let not_started = attempt.state == AttemptState::Assigned
                && attempt.start_within_ms > 0
                && self.env.now >= silent_since.plus_millis(attempt.start_within_ms.into());
            if !silent_too_long && !not_started {
                continue;
            }
            let reason = if silent_too_long {
                format!("its worker said nothing for {} s", attempt.lease_ms / 1000)
            } else {
                format!(
                    "its worker did not start it within {} s",
                    attempt.start_within_ms / 1000
                )
            };
            let task_to = self.returned_task_status(attempt);
            let mut ending = Ending::new(AttemptOutcome::Lapsed, task_to, reason);
            ending.silent_since = Some(silent_since);
            self.end(attempt, ending);
        }
        Answer::Done
    }

    /// Queues again what this worker failed for good in a job that it is now blocked from.
    pub(super) fn requeue_failed_by(&mut self, job: crate::JobId, worker: WorkerId, but: u32) {
        let reason = "the worker that failed it is blocked from the job";
        if self.view(job).counts.of(TaskStatus::Failed) == 0 {
            return;
        }
        let farm = self.farm;
        for task in farm.jobs[&job].tasks.iter() {
            if task.number != but
                && !task.retired
                && task.last_worker == Some(worker)
                && self.task_status(job, &task) == TaskStatus::Failed
            {
                self.move_task(job, &task, TaskStatus::Queued, reason);
            }
        }
    }
}
