// SPDX-License-Identifier: GPL-3.0-or-later
//! Deciding that some tasks of a job run again, as one decision: those that are named, and where
//! it is asked for everything that depends on them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Answer, Plan, job::is_whole};
use crate::{
    Detail, JobStatus, Refusal, TaskStatus,
    entity::Job,
    event::{FailuresCleared, OutputsDiscarded, StepsChange, StopCause, TasksChanged},
    request::Requeue,
};

type Decision = Result<Answer, Refusal>;

/// Ascending numbers as inclusive ranges.
fn ranges_of(numbers: impl IntoIterator<Item = u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

impl<'a> Plan<'a> {
    pub(super) fn requeue_tasks(&mut self, wanted: &Requeue) -> Decision {
        let id = wanted.job;
        let job = self.job(id)?;
        let is_busy = matches!(
            job.state.status,
            JobStatus::UnderConstruction | JobStatus::CancelRequested | JobStatus::Requeueing
        );
        if is_busy || job.state.delete_marked.is_some() || !is_whole(job) {
            return Err(Refusal::JobTransition {
                from: job.state.status,
                wanted: JobStatus::Queued,
            });
        }
        let numbers = self.wanted_numbers(job, wanted)?;
        let mut by_status: BTreeMap<TaskStatus, Vec<u32>> = BTreeMap::new();
        let (mut failed, mut redone) = (Vec::new(), Vec::new());
        for &number in &numbers {
            let task = job.tasks.at(number);
            if let Some(attempt) = task.attempt {
                let attempt = &self.farm.attempts[&attempt];
                if attempt.stop != Some(StopCause::TaskRequeued) {
                    self.stop(attempt, StopCause::TaskRequeued, &wanted.reason);
                }
            } else if task.status != TaskStatus::Queued {
                by_status.entry(task.status).or_default().push(number);
            }
            if !task.failed_by.is_empty() {
                failed.push(number);
            }
            // A task that published nothing has nothing to discard.
            if wanted.discard && task.attempts_ended > 0 {
                redone.push(number);
            }
        }
        let moves = !by_status.is_empty();
        for (from, numbers) in by_status {
            let count = u32::try_from(numbers.len()).expect("numbers are u32");
            let view = self.view(id);
            view.counts.shift(from, TaskStatus::Queued, count);
            view.changed
                .extend(numbers.iter().map(|&number| (number, TaskStatus::Queued)));
            self.emit_with(
                TasksChanged {
                    job: id,
                    ranges: ranges_of(numbers),
                    from,
                    to: TaskStatus::Queued,
                    steps: StepsChange::Zero,
                },
                Detail::reason(&wanted.reason),
            );
        }
        if !failed.is_empty() {
            self.emit(FailuresCleared {
                job: id,
                ranges: ranges_of(failed),
            });
        }
        if !redone.is_empty() {
            self.emit_with(
                OutputsDiscarded {
                    job: id,
                    ranges: ranges_of(redone),
                },
                Detail::reason(&wanted.reason),
            );
        }
        if moves && job.state.status.is_terminal() {
            self.note_status(job, JobStatus::Queued, &wanted.reason);
        }
        Ok(Answer::Done)
    }

    /// The numbers of the tasks, with those of their dependants.
    fn wanted_numbers(&self, job: &Job, wanted: &Requeue) -> Result<BTreeSet<u32>, Refusal> {
        let mut numbers = BTreeSet::new();
        for &(first, last) in &wanted.ranges {
            if last < first || last >= job.tasks.end() {
                let id = wanted.job;
                let reason = format!("job {id} has no tasks {first} to {last}");
                return Err(Refusal::UnsoundSubmission { reason });
            }
            for number in first..=last {
                let task = job.tasks.at(number);
                if task.retired {
                    return Err(Refusal::TaskRetired { task: task.uuid });
                }
                numbers.insert(number);
            }
        }
        if wanted.dependants {
            let mut open: Vec<u32> = numbers.iter().copied().collect();
            while let Some(number) = open.pop() {
                for waiting in self.farm.schedule.dependents(job, number) {
                    if !job.tasks.at(waiting).retired && numbers.insert(waiting) {
                        open.push(waiting);
                    }
                }
            }
        }
        Ok(numbers)
    }
}
