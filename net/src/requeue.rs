// SPDX-License-Identifier: GPL-3.0-or-later
//! Which tasks of a job are to run again: those that failed, those whose frames are missing,
//! those that a worker rendered since a time. Reads the model; the request names the answer.

use std::collections::BTreeSet;

use tablao_core::{JobId, JobStatus, ShotId, TaskStatus, Timestamp, WorkerId};
use tablao_projections::ReadModel;

/// Which tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Those that failed; of a job that failed also those that were canceled by that.
    Failed,
    /// Those that ended although frames that they were to render were published by nobody.
    Missing,
    /// Those of which this worker published frames since this time; they are rendered anew.
    RenderedBy {
        /// The worker.
        worker: WorkerId,
        /// Since when.
        since: Timestamp,
    },
}

/// The numbers of those tasks, ascending.
pub fn select(model: &ReadModel, job: JobId, which: Which) -> Option<BTreeSet<u32>> {
    let entity = model.farm().jobs().get(&job)?;
    let tasks = entity.tasks.iter().filter(|task| !task.retired);
    Some(match which {
        Which::Failed => {
            let failed = entity.state.status == JobStatus::Failed;
            tasks
                .filter(|task| match task.status {
                    TaskStatus::Failed | TaskStatus::SoftFailed => true,
                    TaskStatus::Canceled => failed,
                    TaskStatus::Active
                    | TaskStatus::Completed
                    | TaskStatus::Paused
                    | TaskStatus::Queued => false,
                })
                .map(|task| task.number)
                .collect()
        }
        Which::Missing => {
            let there = frames_of(model, entity.state.facts.shot);
            tasks
                .filter(|task| {
                    matches!(
                        task.status,
                        TaskStatus::Completed | TaskStatus::Failed | TaskStatus::Canceled
                    )
                })
                .filter(|task| {
                    let ranges = task.frames.ranges().iter();
                    ranges
                        .flat_map(|&(first, last)| first..=last)
                        .any(|frame| !there.contains(&frame))
                })
                .map(|task| task.number)
                .collect()
        }
        Which::RenderedBy { worker, since } => {
            let rendered = (model.frames_of_job(job))
                .filter(|row| row.worker == worker && row.published >= since);
            let of_worker: BTreeSet<_> = rendered.map(|row| row.task).collect();
            // Tasks of other types leave no frames; what counts there is who ran them last.
            tasks
                .filter(|task| {
                    let ended = task.last_worker == Some(worker)
                        && task.status == TaskStatus::Completed
                        && model.attempts(task.uuid).last().is_some_and(|attempt| {
                            attempt.ended.is_some_and(|ended| ended >= since)
                        });
                    ended || of_worker.contains(&task.uuid)
                })
                .map(|task| task.number)
                .collect()
        }
    })
}

/// Numbers of the frames of a shot that are published.
fn frames_of(model: &ReadModel, shot: ShotId) -> BTreeSet<i32> {
    let frames = model.farm().frames().of_shot(shot);
    frames.map(|(key, _)| key.number).collect()
}

/// Ascending numbers as inclusive ranges.
pub fn ranges(numbers: &BTreeSet<u32>) -> Vec<(u32, u32)> {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}
