// SPDX-License-Identifier: GPL-3.0-or-later
//! Deciding that a job goes from one Manager to another, and what the old one does about it.
//!
//! The Server raises the job's epoch with the new placement. The old Manager learns of it from
//! the control journal whenever it comes back: it ends what it ran, and what its workers say
//! after that is late. Nothing is taken from anybody by silence alone: a person asks for it.

use super::{Answer, Plan, plan::Ending};
use crate::{
    Detail, JobId, Lsn, ManagerId, Refusal, Timestamp,
    entity::{Hold, Job},
    event::{AttemptOutcome, JobEpochRaised, JobHeld, JobPlaced, JobReleased},
};

/// A Manager that was heard of less than this long ago, in milliseconds, still has its jobs.
pub const JOB_LEASE_MS: u64 = 60_000;

type Decision = Result<Answer, Refusal>;

impl Plan<'_> {
    /// At the Server.
    pub(super) fn reassign_job(
        &mut self,
        job: JobId,
        manager: ManagerId,
        silent_since: Option<Timestamp>,
        why: &str,
    ) -> Decision {
        self.known_manager(manager)?;
        let placed = self.farm.placements.get(&job);
        let placed = placed.ok_or(Refusal::UnknownJob { job })?;
        if placed.manager == manager {
            return Ok(Answer::Job(job));
        }
        if silent_since.is_some_and(|since| self.env.now < since.plus_millis(JOB_LEASE_MS)) {
            return Err(Refusal::JobLeased { job });
        }
        let raise = u32::from(!cfg!(feature = "planted-no-epoch"));
        self.emit_with(
            JobPlaced {
                job,
                manager,
                epoch: placed.epoch + raise,
                submission: placed.submission,
            },
            Detail::named("", why),
        );
        Ok(Answer::Job(job))
    }

    /// At the Manager that had the job. The wish is settled with it, so it is done once.
    pub(super) fn fence_job(
        &mut self,
        control: Lsn,
        id: JobId,
        manager: ManagerId,
        epoch: u32,
    ) -> Answer {
        let Some(job) = self.farm.jobs.get(&id) else {
            return Answer::Done;
        };
        if control <= self.farm.settled || job.state.facts.job_epoch >= epoch {
            return Answer::Done;
        }
        let why = format!("the Server gave the job to another Manager in epoch {epoch}");
        let live: Vec<_> = job.tasks.running().map(|(_, attempt)| attempt).collect();
        for attempt in live {
            let attempt = &self.farm.attempts[&attempt];
            let task_to = self.returned_task_status(attempt);
            let ending = Ending::new(AttemptOutcome::Superseded, task_to, why.clone());
            self.end(attempt, ending);
        }
        self.raise_epoch(job, epoch, manager);
        if !job.state.holds.contains(&Hold::Placement) {
            let hold = Hold::Placement;
            self.emit_with(JobHeld { job: id, hold }, Detail::reason(why));
        }
        self.settle_remote(control, id, None, "")
    }

    /// A job that is placed here again, in a later epoch than the one it left in.
    pub(super) fn take_back(&mut self, job: &Job, epoch: u32, manager: ManagerId) {
        if epoch <= job.state.facts.job_epoch {
            return;
        }
        self.raise_epoch(job, epoch, manager);
        if job.state.holds.contains(&Hold::Placement) {
            let (job, hold) = (job.state.facts.job, Hold::Placement);
            self.emit(JobReleased { job, hold });
        }
    }

    fn raise_epoch(&mut self, job: &Job, epoch: u32, manager: ManagerId) {
        self.emit(JobEpochRaised {
            job: job.state.facts.job,
            from: job.state.facts.job_epoch,
            to: epoch,
            manager,
        });
    }
}
