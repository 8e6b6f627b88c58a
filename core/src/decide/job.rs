// SPDX-License-Identifier: GPL-3.0-or-later
//! Deciding what people ask of jobs.

use std::collections::BTreeSet;

use super::{Answer, Plan};
use crate::{
    Detail, JobId, JobStatus, Refusal, TagId, TaskStatus, Timestamp, WorkerId,
    entity::{Hold, Job, JobSource},
    event::{
        JobAbandoned, JobAccepted, JobDeleteMarked, JobHeld, JobPriorityChanged, JobPurged,
        JobReady, JobReleased, JobRestored, JobTagChanged, TasksAdded, WorkerUnblocked,
    },
    machine::job_wish,
    request::{NewJob, TaskChunk},
};

type Decision = Result<Answer, Refusal>;

/// So many blocks are taken back by one decision: it has to fit a batch.
const BLOCKS_AT_ONCE: usize = 1000;

impl<'a> Plan<'a> {
    pub(super) fn job(&self, id: JobId) -> Result<&'a Job, Refusal> {
        let farm = self.farm;
        farm.jobs.get(&id).ok_or(Refusal::UnknownJob { job: id })
    }

    /// Accepts a job. `whole`: all of its tasks are here and it is ready at once.
    pub(super) fn submit_job(&mut self, job: &NewJob, whole: bool) -> Decision {
        if let Some(earlier) = self.env.key.and_then(|key| self.farm.job_of_key(&key)) {
            return Ok(Answer::Job(earlier));
        }
        let facts = &job.facts;
        if let Some(here) = self.farm.jobs.get(&facts.job) {
            // The Server places a job once in an epoch; a repeated placement finds it here.
            if facts.source == JobSource::Placed {
                self.take_back(here, facts.job_epoch, facts.manager);
                return Ok(Answer::Job(facts.job));
            }
            return Err(Refusal::JobExists { job: facts.job });
        }
        if let Some(tag) = facts.tag.filter(|tag| !self.farm.tags.contains_key(tag)) {
            return Err(Refusal::UnknownTag { tag });
        }
        if !matches!(facts.initial, JobStatus::Queued | JobStatus::Paused) {
            return Err(Refusal::UnsoundSubmission {
                reason: format!("a job starts queued or paused, not {}", facts.initial),
            });
        }
        let unsound = |reason: &str| Refusal::UnsoundSubmission {
            reason: reason.to_owned(),
        };
        if whole && facts.tasks_expected as usize != job.chunk.tasks.len() {
            return Err(unsound(
                "it holds another number of tasks than it announces",
            ));
        }
        self.emit_with(
            JobAccepted {
                facts: facts.clone(),
            },
            Detail::Job(Box::new(job.detail.clone())),
        );
        if !job.chunk.tasks.is_empty() {
            self.check_chunk(facts.job, facts.tasks_expected, 0, &job.chunk)?;
            self.emit_chunk(facts.job, facts.generation, &job.chunk);
        }
        if whole {
            self.emit(JobReady {
                job: facts.job,
                status: starting_status(facts.initial, facts.tasks_expected),
            });
        }
        Ok(Answer::Job(facts.job))
    }

    pub(super) fn check_chunk(
        &self,
        job: JobId,
        expected: u32,
        first: usize,
        chunk: &TaskChunk,
    ) -> Result<(), Refusal> {
        let unsound = |reason: String| Err(Refusal::UnsoundSubmission { reason });
        let last = first + chunk.tasks.len();
        if chunk.first_number as usize != first || last > expected as usize {
            return unsound(format!("tasks of job {job} are out of order"));
        }
        if chunk.detail.names.len() != chunk.tasks.len()
            || chunk.detail.commands_of.len() != chunk.tasks.len()
        {
            return unsound("tasks and their names differ in number".to_owned());
        }
        let mut ids = BTreeSet::new();
        for (number, task) in (chunk.first_number..).zip(chunk.tasks.iter()) {
            if usize::from(task.task_type) >= chunk.types.len() {
                return unsound(format!("task {number} has no task type"));
            }
            if task
                .depends_on
                .iter()
                .any(|&other| other >= expected || other == number)
            {
                return unsound(format!(
                    "task {number} depends on a task that is not in the job"
                ));
            }
            if self.farm.task(task.uuid).is_some() || !ids.insert(task.uuid) {
                return unsound(format!("the id of task {number} is taken"));
            }
        }
        if self.farm.type_names.len() + chunk.types.len() > usize::from(u16::MAX) {
            return unsound("there are more task types than a farm can hold".to_owned());
        }
        Ok(())
    }

    fn emit_chunk(&mut self, job: JobId, generation: u32, chunk: &TaskChunk) {
        self.emit_with(
            TasksAdded {
                job,
                first_number: chunk.first_number,
                generation,
                types: chunk.types.clone(),
                tasks: chunk.tasks.clone(),
            },
            Detail::Tasks(Box::new(chunk.detail.clone())),
        );
    }

    fn under_construction(&self, id: JobId) -> Result<&'a Job, Refusal> {
        let job = self.job(id)?;
        if job.state.status == JobStatus::UnderConstruction {
            Ok(job)
        } else {
            Err(Refusal::UnsoundSubmission {
                reason: format!("job {id} is complete already"),
            })
        }
    }

    pub(super) fn add_tasks(&mut self, id: JobId, chunk: &TaskChunk) -> Decision {
        let job = self.under_construction(id)?;
        self.check_chunk(id, job.state.facts.tasks_expected, job.tasks.len(), chunk)?;
        self.emit_chunk(id, job.state.facts.generation, chunk);
        Ok(Answer::Done)
    }

    pub(super) fn ready_job(&mut self, id: JobId) -> Decision {
        let job = self.under_construction(id)?;
        let facts = &job.state.facts;
        if !is_whole(job) {
            return Err(Refusal::UnsoundSubmission {
                reason: format!("job {id} lacks tasks"),
            });
        }
        let status = starting_status(facts.initial, facts.tasks_expected);
        self.emit(JobReady { job: id, status });
        // Tasks may have been canceled or failed by hand while the others were written down.
        self.view(id).status = status;
        self.after_task(job, TaskStatus::Queued, "all of its tasks are there");
        Ok(Answer::Job(id))
    }

    pub(super) fn abandon_job(&mut self, id: JobId, reason: &str) -> Decision {
        self.under_construction(id)?;
        self.emit_with(JobAbandoned { job: id }, Detail::reason(reason));
        Ok(Answer::Done)
    }

    pub(super) fn set_job_status(
        &mut self,
        id: JobId,
        wanted: JobStatus,
        reason: &str,
    ) -> Decision {
        let job = self.job(id)?;
        let from = job.state.status;
        if from == wanted {
            return Ok(Answer::Done);
        }
        let to = job_wish(from, wanted).ok_or(Refusal::JobTransition { from, wanted })?;
        if to == JobStatus::Requeueing && !is_whole(job) {
            return Err(Refusal::UnsoundSubmission {
                reason: format!("job {id} never got all of its tasks; submit it again"),
            });
        }
        if from != to {
            self.set_status(job, to, reason);
        }
        Ok(Answer::Done)
    }

    pub(super) fn set_job_priority(&mut self, id: JobId, priority: i32) -> Decision {
        let job = self.job(id)?;
        if !(0..=100).contains(&priority) {
            return Err(Refusal::PriorityOutOfRange { priority });
        }
        let from = job.state.facts.priority;
        if from != priority {
            self.emit(JobPriorityChanged {
                job: id,
                from,
                to: priority,
            });
        }
        Ok(Answer::Done)
    }

    pub(super) fn set_job_tag(&mut self, id: JobId, tag: Option<TagId>) -> Decision {
        let job = self.job(id)?;
        if let Some(tag) = tag.filter(|tag| !self.farm.tags.contains_key(tag)) {
            return Err(Refusal::UnknownTag { tag });
        }
        let from = job.state.facts.tag;
        if from != tag {
            self.emit(JobTagChanged {
                job: id,
                from,
                to: tag,
            });
        }
        Ok(Answer::Done)
    }

    pub(super) fn hold_job(&mut self, id: JobId, hold: Hold, reason: &str) -> Decision {
        if !self.job(id)?.state.holds.contains(&hold) {
            self.emit_with(JobHeld { job: id, hold }, Detail::reason(reason));
        }
        Ok(Answer::Done)
    }

    pub(super) fn release_job(&mut self, id: JobId, hold: Hold) -> Decision {
        if self.job(id)?.state.holds.contains(&hold) {
            self.emit(JobReleased { job: id, hold });
        }
        Ok(Answer::Done)
    }

    pub(super) fn mark_job_deleted(&mut self, id: JobId) -> Decision {
        let job = self.job(id)?;
        if job.state.delete_marked.is_some() {
            return Ok(Answer::Done);
        }
        // A running job is canceled first, so that its workers stop.
        if let Some(to) = job_wish(job.state.status, JobStatus::CancelRequested)
            && matches!(
                job.state.status,
                JobStatus::Active | JobStatus::Queued | JobStatus::PauseRequested
            )
        {
            self.set_status(job, to, "its deletion was asked for");
        }
        self.emit(JobDeleteMarked {
            job: id,
            at: self.env.now,
        });
        Ok(Answer::Done)
    }

    pub(super) fn restore_job(&mut self, id: JobId) -> Decision {
        if self.job(id)?.state.delete_marked.is_some() {
            self.emit(JobRestored { job: id });
        }
        Ok(Answer::Done)
    }

    pub(super) fn purge_job(&mut self, id: JobId) -> Decision {
        let job = self.job(id)?;
        let refuse = |reason: &str| Refusal::NotRemovable {
            reason: reason.to_owned(),
        };
        if job.state.delete_marked.is_none() {
            return Err(refuse("ask for its deletion first"));
        }
        if job.live > 0 {
            return Err(refuse("some of its tasks still run"));
        }
        self.emit(JobPurged { job: id });
        Ok(Answer::Done)
    }

    pub(super) fn clear_blocklist(
        &mut self,
        id: JobId,
        entries: &[(WorkerId, String)],
    ) -> Decision {
        let job = self.job(id)?;
        for (worker, task_type) in entries {
            if job.state.blocked.contains(&(*worker, task_type.clone())) {
                self.emit(WorkerUnblocked {
                    job: id,
                    worker: *worker,
                    task_type: task_type.clone(),
                });
            }
        }
        Ok(Answer::Done)
    }
}

impl Plan<'_> {
    /// Takes blocks back that are old enough. Failures stay counted, so the worker is blocked
    /// again at its next one.
    pub(super) fn expire_blocks(&mut self, made_by: Timestamp) -> Answer {
        let farm = self.farm;
        for (job, worker, task_type) in farm.blocks.made_by(made_by).take(BLOCKS_AT_ONCE) {
            self.emit(WorkerUnblocked {
                job,
                worker,
                task_type: task_type.to_owned(),
            });
        }
        Answer::Done
    }
}

/// All announced tasks are there. An abandoned job never gets there, so it can never run. There
/// are more where tasks were prepared for a regeneration that did not come to its end.
pub(super) fn is_whole(job: &Job) -> bool {
    job.tasks.len() >= job.state.facts.tasks_expected as usize
}

/// A job without tasks has nothing to wait for.
fn starting_status(initial: JobStatus, tasks: u32) -> JobStatus {
    if tasks == 0 && initial == JobStatus::Queued {
        JobStatus::Completed
    } else {
        initial
    }
}
