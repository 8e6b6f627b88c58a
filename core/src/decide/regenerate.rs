// SPDX-License-Identifier: GPL-3.0-or-later
//! Deciding the regeneration of a job: tasks that come are prepared first, in as many parts as
//! they need; one decision then exchanges them for those that go.
//!
//! Prepared tasks are retired. Whoever is cut off before that decision has changed nothing: what
//! was prepared stays so, and the next one prepares its own.

use super::{Answer, Plan, job::is_whole};
use crate::{
    Detail, JobId, JobStatus, Refusal, TaskStatus,
    entity::Job,
    event::{FailuresCleared, JobRegenerated, StopCause, TasksPrepared},
    request::{Regeneration, TaskChunk},
};

type Decision = Result<Answer, Refusal>;

/// Separate ranges that go in one decision: half of what a batch holds. A job whose tasks differ
/// in more places than this is to be submitted anew.
const RANGES_MAX: usize = 40_000;

fn refused(job: JobId, reason: impl Into<String>) -> Refusal {
    let reason = reason.into();
    Refusal::NotRegenerable { job, reason }
}

/// The job is one that may be compiled anew.
fn check_status(job: &Job) -> Result<(), Refusal> {
    let id = job.state.facts.job;
    if job.state.delete_marked.is_some() {
        return Err(refused(id, "it is marked for deletion; restore it first"));
    }
    if !is_whole(job) && job.state.status != JobStatus::UnderConstruction {
        return Err(refused(
            id,
            "it never got all of its tasks; submit it again",
        ));
    }
    match job.state.status {
        JobStatus::UnderConstruction => Err(refused(id, "its tasks are still being written down")),
        JobStatus::CancelRequested | JobStatus::Requeueing => {
            let why = format!("it is {}; wait until it has ended", job.state.status);
            Err(refused(id, why))
        }
        JobStatus::Active
        | JobStatus::Canceled
        | JobStatus::Completed
        | JobStatus::Failed
        | JobStatus::Paused
        | JobStatus::PauseRequested
        | JobStatus::Queued => Ok(()),
    }
}

/// The number is in one of the ranges, which ascend.
fn is_in(ranges: &[(u32, u32)], number: u32) -> bool {
    let after = ranges.partition_point(|&(first, _)| first <= number);
    after > 0 && number <= ranges[after - 1].1
}

impl<'a> Plan<'a> {
    pub(super) fn prepare_tasks(
        &mut self,
        id: JobId,
        generation: u32,
        chunk: &TaskChunk,
    ) -> Decision {
        let job = self.job(id)?;
        check_status(job)?;
        if generation != job.state.facts.generation + 1 {
            return Err(Refusal::StaleGeneration { job: id });
        }
        if chunk.first_number as usize != job.tasks.len() {
            return Err(Refusal::StaleGeneration { job: id });
        }
        // What they wait for may come later; it is looked at when they take their places.
        self.check_chunk(id, u32::MAX, job.tasks.len(), chunk)?;
        self.emit_with(
            TasksPrepared {
                job: id,
                first_number: chunk.first_number,
                generation,
                types: chunk.types.clone(),
                tasks: chunk.tasks.clone(),
            },
            Detail::Tasks(Box::new(chunk.detail.clone())),
        );
        Ok(Answer::Done)
    }

    pub(super) fn regenerate_job(&mut self, wanted: &Regeneration) -> Decision {
        let id = wanted.job;
        let job = self.job(id)?;
        check_status(job)?;
        if wanted.from_generation != job.state.facts.generation {
            return Err(Refusal::StaleGeneration { job: id });
        }
        self.check_exchange(job, wanted)?;
        let (first, count) = wanted.added;
        let generation = wanted.from_generation + 1;
        self.emit_with(
            JobRegenerated {
                job: id,
                generation,
                script_hash: wanted.script_hash,
                retired: wanted.retired.clone(),
                added: (count > 0)
                    .then(|| (first, first + count - 1))
                    .into_iter()
                    .collect(),
                tasks_expected: job.tasks.end(),
            },
            Detail::Job(Box::new(wanted.detail.clone())),
        );
        self.exchange(job, wanted);
        self.go_on(job, &wanted.reason);
        Ok(Answer::Job(id))
    }

    /// What goes is there, what comes was prepared, and nobody waits for what goes.
    fn check_exchange(&self, job: &Job, wanted: &Regeneration) -> Result<(), Refusal> {
        let id = wanted.job;
        let unsound = |reason: String| Err(Refusal::UnsoundSubmission { reason });
        let (first, count) = wanted.added;
        if first.checked_add(count) != Some(job.tasks.end()) {
            return Err(Refusal::StaleGeneration { job: id });
        }
        if wanted.retired.len() > RANGES_MAX {
            let places = wanted.retired.len();
            let why = format!("its tasks differ in {places} separate places; submit it anew");
            return Err(refused(id, why));
        }
        let mut from = 0;
        for &(low, high) in &wanted.retired {
            if low < from || high < low || high >= first {
                return unsound(format!("tasks {low} to {high} are out of order"));
            }
            from = high + 1;
        }
        for task in job.tasks.iter() {
            let number = task.number;
            let comes = number >= first;
            let goes = !comes && is_in(&wanted.retired, number);
            let prepared = task.retired && task.generation == wanted.from_generation + 1;
            if (comes && !prepared) || (goes && task.retired) {
                return Err(Refusal::StaleGeneration { job: id });
            }
            if goes || (task.retired && !comes) {
                continue;
            }
            let is_lost = |&other: &u32| {
                other >= job.tasks.end()
                    || is_in(&wanted.retired, other)
                    || (other < first && job.tasks.at(other).retired)
            };
            if let Some(lost) = task.depends_on.iter().find(|other| is_lost(other)) {
                return unsound(format!("task {number} depends on task {lost}, which goes"));
            }
        }
        Ok(())
    }

    /// What the event does to the numbers that the rules read, and to those who run what goes.
    fn exchange(&mut self, job: &'a Job, wanted: &Regeneration) {
        let id = wanted.job;
        let (first, count) = wanted.added;
        let view = self.view(id);
        for &(low, high) in &wanted.retired {
            for number in low..=high {
                if let Some(status) = job.tasks.status(number) {
                    view.counts.remove(status);
                }
            }
        }
        view.counts.add_many(TaskStatus::Queued, count);
        view.retired.clone_from(&wanted.retired);
        view.added_from = (count > 0).then_some(first);
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for (number, _) in job.tasks.failed() {
            if is_in(&wanted.retired, number) {
                ranges.push((number, number));
            }
        }
        if !ranges.is_empty() {
            // Whoever failed what is gone did not fail what there is.
            self.emit(FailuresCleared { job: id, ranges });
        }
        for (number, attempt) in job.tasks.running() {
            let attempt = &self.farm.attempts[&attempt];
            if is_in(&wanted.retired, number) && attempt.stop != Some(StopCause::Regenerated) {
                self.stop(attempt, StopCause::Regenerated, &wanted.reason);
            }
        }
    }

    /// An ended job goes on if there is something to do; one that has nothing to do ends.
    fn go_on(&mut self, job: &'a Job, reason: &str) {
        let view = self.view(job.state.facts.job);
        let counts = view.counts;
        match view.status {
            JobStatus::Completed => {
                if counts.of(TaskStatus::Completed) < counts.total() {
                    self.note_status(job, JobStatus::Queued, reason);
                }
            }
            // Of what stays, what failed or was canceled has no result to keep.
            JobStatus::Canceled | JobStatus::Failed => {
                self.set_status(job, JobStatus::Requeueing, reason);
            }
            JobStatus::Active | JobStatus::Queued | JobStatus::PauseRequested => {
                self.after_task(job, TaskStatus::Queued, reason);
            }
            JobStatus::Paused
            | JobStatus::CancelRequested
            | JobStatus::Requeueing
            | JobStatus::UnderConstruction => {}
        }
    }
}
