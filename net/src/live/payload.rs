// SPDX-License-Identifier: GPL-3.0-or-later
//! What is said on a topic, in the shapes that Flamenco's clients know.
//!
//! Optional fields are left out when unset, never null. When something is said is decided in
//! `telling.rs`.

use serde::Serialize;
use tablao_core::{JobId, JobStatus, TagId, TaskId, TaskStatus, Timestamp, WorkerId, WorkerStatus};
use tablao_projections::{ReadModel, TaskView};

use super::topic::Topic;
use crate::{
    clock::rfc3339,
    previews::{Previews, SIZES},
};

/// What stands where a time has to and there is none, as Flamenco writes it.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// Something that is said.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) topic: Topic,
    pub(crate) payload: Payload,
}

/// What is said.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Payload {
    LifeCycle(LifeCycle),
    FarmStatus(FarmStatus),
    Job(Box<JobUpdate>),
    Task(Box<TaskUpdate>),
    TaskLog(TaskLogUpdate),
    LastRendered(LastRenderedUpdate),
    Worker(Box<WorkerUpdate>),
    WorkerTag(WorkerTagUpdate),
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct LifeCycle {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct FarmStatus {
    pub(crate) status: &'static str,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct JobUpdate {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    updated: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_status: Option<&'static str>,
    #[serde(rename = "type")]
    job_type: String,
    priority: i32,
    refresh_tasks: bool,
    steps_completed: u64,
    steps_total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    delete_requested_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    was_deleted: Option<bool>,
}

/// What became of a job's status.
#[derive(Clone, Copy, Debug)]
pub(crate) enum JobChange {
    /// It is new, with this one.
    New(JobStatus),
    /// It changed.
    Status(JobStatus, JobStatus),
    /// It is what it was; something else changed.
    Other,
}

impl JobUpdate {
    /// What a job is now. `None`: it is gone.
    pub(crate) fn new(
        model: &ReadModel,
        id: JobId,
        change: JobChange,
        refresh_tasks: bool,
    ) -> Option<Self> {
        let row = model.job(id)?;
        let state = &model.farm().jobs().get(&id)?.state;
        let (before, status) = match change {
            JobChange::New(status) => (None, status),
            JobChange::Status(before, after) => (Some(before), after),
            // A client takes an update without a former status for a new job.
            JobChange::Other => (Some(state.status), state.status),
        };
        Some(Self {
            id: id.to_string(),
            name: Some(row.detail.name.clone()),
            updated: rfc3339(row.updated),
            status: status.name(),
            previous_status: before.map(JobStatus::name),
            job_type: state.facts.job_type.clone(),
            priority: state.facts.priority,
            refresh_tasks,
            steps_completed: row.steps_completed,
            steps_total: row.steps_total,
            delete_requested_at: state.delete_marked.map(rfc3339),
            was_deleted: None,
        })
    }

    /// A job that is gone: only its id says anything.
    pub(crate) fn deleted(id: JobId) -> Self {
        Self {
            id: id.to_string(),
            name: None,
            updated: NO_TIME.to_owned(),
            status: "",
            previous_status: None,
            job_type: String::new(),
            priority: 0,
            refresh_tasks: false,
            steps_completed: 0,
            steps_total: 0,
            delete_requested_at: None,
            was_deleted: Some(true),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct AssignedWorker {
    name: String,
    uuid: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct TaskUpdate {
    id: String,
    job_id: String,
    name: String,
    updated: String,
    status: &'static str,
    previous_status: &'static str,
    activity: String,
    steps_completed: u32,
    steps_total: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<AssignedWorker>,
}

impl TaskUpdate {
    /// What a task is now; its status as one change said it, where it was one.
    pub(crate) fn new(
        model: &ReadModel,
        view: &TaskView<'_>,
        change: Option<(TaskStatus, TaskStatus)>,
    ) -> Self {
        let task = view.task;
        let (before, status) = change.unwrap_or((task.status, task.status));
        let worker = task.last_worker.map(|id| AssignedWorker {
            name: (model.worker(id)).map_or_else(String::new, |row| row.detail.name.clone()),
            uuid: id.to_string(),
        });
        Self {
            id: task.uuid.to_string(),
            job_id: view.job.state.facts.job.to_string(),
            name: view.texts().name().to_owned(),
            updated: rfc3339(view.updated),
            status: status.name(),
            previous_status: before.name(),
            activity: view.activity.to_owned(),
            steps_completed: task.steps_completed,
            steps_total: task.steps_total,
            worker,
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct TaskLogUpdate {
    pub(crate) task_id: TaskId,
    pub(crate) log: String,
}

#[derive(Clone, Debug, Serialize)]
struct Thumbnail {
    base: String,
    suffixes: [&'static str; SIZES.len()],
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct LastRenderedUpdate {
    job_id: String,
    thumbnail: Thumbnail,
}

impl LastRenderedUpdate {
    pub(crate) fn new(job: JobId) -> Self {
        Self {
            job_id: job.to_string(),
            thumbnail: Thumbnail {
                base: format!("/job-files/{}", Previews::relative(job)),
                suffixes: SIZES.map(|(name, _, _)| name),
            },
        }
    }
}

#[derive(Clone, Debug, Serialize)]
struct StatusChange {
    status: &'static str,
    is_lazy: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct WorkerUpdate {
    id: String,
    name: String,
    updated: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen: Option<String>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous_status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_change: Option<StatusChange>,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<String>,
    can_restart: bool,
}

impl WorkerUpdate {
    /// What a worker is now; its status as one change said it, where it was one. `None`: it has
    /// never had a status, and clients know no word for that.
    pub(crate) fn new(
        model: &ReadModel,
        id: WorkerId,
        change: Option<(Option<WorkerStatus>, WorkerStatus)>,
        deleted_at: Option<Timestamp>,
        last_seen: Option<Timestamp>,
    ) -> Option<Self> {
        let row = model.worker(id)?;
        let worker = model.farm().workers().get(&id)?;
        let (before, status) = match change {
            Some((before, status)) => (before, Some(status)),
            None => (None, worker.status),
        };
        // Only a worker that is removed may be told of without ever having signed on.
        let status = match (status, deleted_at) {
            (Some(status), _) => status,
            (None, Some(_)) => WorkerStatus::Offline,
            (None, None) => return None,
        };
        Some(Self {
            id: id.to_string(),
            name: row.detail.name.clone(),
            updated: rfc3339(row.updated),
            last_seen: last_seen.map(rfc3339),
            status: status.name(),
            previous_status: before.map(WorkerStatus::name),
            status_change: worker.pending.map(|pending| StatusChange {
                status: pending.status.name(),
                is_lazy: pending.lazy,
            }),
            version: row.detail.software.clone(),
            deleted_at: deleted_at.map(rfc3339),
            can_restart: worker.can_restart,
        })
    }
}

#[derive(Clone, Debug, Serialize)]
struct WorkerTag {
    id: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    description: String,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct WorkerTagUpdate {
    tag: WorkerTag,
    #[serde(skip_serializing_if = "Option::is_none")]
    was_deleted: Option<bool>,
}

impl WorkerTagUpdate {
    pub(crate) fn new(id: TagId, name: &str, description: &str) -> Self {
        Self {
            tag: WorkerTag {
                id: id.to_string(),
                name: name.to_owned(),
                description: description.to_owned(),
            },
            was_deleted: None,
        }
    }

    /// A tag that is gone: only its id says anything.
    pub(crate) fn deleted(id: TagId) -> Self {
        Self {
            tag: WorkerTag {
                id: id.to_string(),
                name: String::new(),
                description: String::new(),
            },
            was_deleted: Some(true),
        }
    }
}
