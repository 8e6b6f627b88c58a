// SPDX-License-Identifier: GPL-3.0-or-later
//! A task as a checkpoint's row holds it, and the way back into a job's packed tasks.
//!
//! Written is [`crate::Task`]; this is the same shape for reading.

use serde::Deserialize;
use smallvec::SmallVec;

use crate::{
    AttemptId, Lsn, NewTask, TaskId, TaskStatus, Tasks, WorkerId, frames::FrameRanges,
    tasks::TaskState,
};

/// A task, owned.
#[derive(Debug, Deserialize)]
pub(crate) struct TaskRow {
    pub(crate) number: u32,
    uuid: TaskId,
    /// Follows from the number; a row says it because readers of rows may.
    #[expect(dead_code, reason = "it is part of the row's shape")]
    index: u32,
    generation: u32,
    pub(crate) task_type: u16,
    priority: i32,
    pub(crate) status: TaskStatus,
    content_hash: [u8; 32],
    depends_on: Vec<u32>,
    frames: FrameRanges,
    steps_total: u32,
    steps_completed: u32,
    pub(crate) failed_by: SmallVec<[WorkerId; 1]>,
    attempt: Option<AttemptId>,
    last_worker: Option<WorkerId>,
    attempts_ended: u32,
    last_ended: Option<(AttemptId, bool)>,
    pub(crate) retired: bool,
    changed_at: Lsn,
}

/// Packs a job's tasks, which are sorted and without gaps, generation by generation.
pub(crate) fn unpack(rows: Vec<TaskRow>) -> Tasks {
    let mut tasks = Tasks::default();
    for run in rows.chunk_by(|one, next| one.generation == next.generation) {
        let facts = run.iter().map(|row| NewTask {
            uuid: row.uuid,
            task_type: row.task_type,
            priority: row.priority,
            depends_on: row.depends_on.clone(),
            frames: row.frames.clone(),
            steps_total: row.steps_total,
            content_hash: row.content_hash,
        });
        let states = run.iter().map(state).collect();
        tasks.push(run[0].generation, facts.collect(), states);
        for row in run {
            let mut task = tasks.change(row.number).expect("it was just put in");
            if row.attempt.is_some() {
                task.set_attempt(row.attempt);
            }
            for &worker in &row.failed_by {
                task.add_failed_by(worker);
            }
        }
    }
    tasks
}

fn state(row: &TaskRow) -> TaskState {
    let mut state = TaskState::new(row.task_type, row.priority, row.changed_at);
    state.status = row.status;
    state.steps_completed = row.steps_completed;
    state.attempts_ended = row.attempts_ended;
    state.set_last_worker(row.last_worker);
    state.set_last_ended(row.last_ended);
    state.set_retired(row.retired);
    state
}
