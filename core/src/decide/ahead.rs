// SPDX-License-Identifier: GPL-3.0-or-later
//! Deciding about tasks that a worker holds while it runs another one.
//!
//! A worker with room for more than one attempt claims its next task ahead, so that it loses no
//! time between two. Such an attempt is a promise that costs others: it is given back when its
//! worker is to stop, and taken back when somebody who has nothing to do could run it. Both end the
//! attempt, so a start that is on its way comes too late and is refused.

use super::{Plan, plan::Ending};
use crate::{
    AttemptId, JobId, TaskStatus, WorkerId,
    entity::{Attempt, AttemptState, Worker},
    event::AttemptOutcome,
};

/// So many attempts that have not started are looked at for a worker that has nothing to do, the
/// oldest first: what an ask costs must not grow with the farm.
const LOOKED_AT_MAX: usize = 32;

impl<'a> Plan<'a> {
    /// The attempt has not started, and its worker runs another one first.
    fn is_ahead(&self, attempt: &Attempt) -> bool {
        let farm = self.farm;
        let runs = |id: &AttemptId| farm.attempts[id].state == AttemptState::Running;
        attempt.state == AttemptState::Assigned
            && (farm.workers.get(&attempt.worker))
                .is_some_and(|worker| worker.attempts.iter().any(runs))
    }

    /// A worker that is to do something else will not come to what it holds.
    pub(super) fn return_ahead(&mut self, worker: WorkerId, reason: &str) {
        for id in self.attempts_of(worker) {
            let farm = self.farm;
            let attempt = &farm.attempts[&id];
            if self.is_ahead(attempt) {
                self.give_back(attempt, AttemptOutcome::Returned, reason);
            }
        }
    }

    /// Takes a task back from a worker that has not come to it, for one that has nothing to do.
    /// Returns it when it waits now.
    pub(super) fn take_back_for(&mut self, worker: &Worker) -> Option<(JobId, u32)> {
        let farm = self.farm;
        let attempt = (farm.unstarted.iter())
            .take(LOOKED_AT_MAX)
            .map(|id| &farm.attempts[id])
            .find(|attempt| self.is_ahead(attempt) && self.could_run(worker, attempt))?;
        let task_to = self.returned_task_status(attempt);
        if task_to != TaskStatus::Queued {
            return None;
        }
        let reason = "another worker can start it sooner";
        self.end(
            attempt,
            Ending::new(AttemptOutcome::Returned, task_to, reason),
        );
        Some((attempt.job, attempt.task))
    }

    /// The worker could have been given this task in the place of the one that has it.
    fn could_run(&self, worker: &Worker, attempt: &Attempt) -> bool {
        let farm = self.farm;
        let job = &farm.jobs[&attempt.job];
        let task = job.tasks.at(attempt.task);
        let type_name = farm.task_type(task.task_type).to_owned();
        // What leaves may still write what this would write anew.
        farm.is_eligible(job)
            && job.leaving == 0
            && worker.task_types.contains(&type_name)
            && (job.state.facts.tag).is_none_or(|tag| worker.tags.contains(&tag))
            && !job.state.blocked.contains(&(worker.id, type_name))
            && !task.failed_by.contains(&worker.id)
            && (task.depends_on.iter())
                .all(|&other| job.tasks.status(other) == Some(TaskStatus::Completed))
            && (job.state.facts.limits.max_workers).is_none_or(|max| job.live <= max)
    }
}
