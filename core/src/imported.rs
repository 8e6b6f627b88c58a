// SPDX-License-Identifier: GPL-3.0-or-later
//! What is brought over from another farm, as requests say it.

use serde::{Deserialize, Serialize};

use crate::{
    JobStatus, TagId, TaskStatus, Timestamp, WorkerId, WorkerStatus, detail::WorkerDetail,
    entity::SleepSchedule,
};

/// A worker of another farm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportedWorker {
    /// Its identity, there and here.
    pub worker: WorkerId,
    /// Operating system.
    pub platform: String,
    /// Task types it runs.
    pub task_types: Vec<String>,
    /// It can restart itself.
    pub can_restart: bool,
    /// Where it stood; `None` if it never signed on.
    pub status: Option<WorkerStatus>,
    /// What it was asked to become, and whether after its present task.
    pub asked: Option<(WorkerStatus, bool)>,
    /// Its tags.
    pub tags: Vec<TagId>,
    /// When it sleeps.
    pub schedule: Option<SleepSchedule>,
    /// Name, address, software.
    pub detail: WorkerDetail,
}

/// How a job of another farm stood there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ImportedState {
    /// Its status.
    pub status: JobStatus,
    /// What was said about it.
    pub reason: String,
    /// Statuses of tasks with inclusive ranges of numbers; those not named are queued.
    pub tasks: Vec<(TaskStatus, Vec<(u32, u32)>)>,
    /// Workers that failed tasks, with inclusive ranges of numbers.
    pub failed_by: Vec<(WorkerId, Vec<(u32, u32)>)>,
    /// Workers that ran tasks last, with inclusive ranges of numbers.
    pub last_workers: Vec<(WorkerId, Vec<(u32, u32)>)>,
    /// Workers that may not run tasks of a type.
    pub blocked: Vec<(WorkerId, String)>,
    /// When its deletion was asked for.
    pub delete_marked: Option<Timestamp>,
}
