// SPDX-License-Identifier: GPL-3.0-or-later
//! Wire types of the Flamenco 3 API that more than one handler uses, and how they are filled.
//!
//! Optional fields are left out when unset, never null: Flamenco's clients refuse nulls.

use serde::Serialize;
use serde_json::{Map, Value};
use tablao_core::{TaskId, entity::Job};
use tablao_projections::{JobRow, ReadModel, TaskView};

use crate::clock::rfc3339;

/// A job as Flamenco shows it.
#[derive(Serialize)]
pub(super) struct JobJson {
    id: String,
    name: String,
    #[serde(rename = "type")]
    job_type: String,
    priority: i32,
    settings: Map<String, Value>,
    metadata: Map<String, Value>,
    submitter_platform: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worker_tag: Option<String>,
    created: String,
    updated: String,
    status: String,
    activity: String,
    steps_completed: u64,
    steps_total: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    delete_requested_at: Option<String>,
}

impl JobJson {
    pub(super) fn new(job: &Job, row: &JobRow) -> Self {
        let state = &job.state;
        let detail = &row.detail;
        let checkout = &detail.shaman_checkout;
        Self {
            id: state.facts.job.to_string(),
            name: detail.name.clone(),
            job_type: state.facts.job_type.clone(),
            priority: state.facts.priority,
            settings: serde_json::from_str(&detail.settings).unwrap_or_default(),
            metadata: detail
                .metadata
                .iter()
                .map(|(key, value)| (key.clone(), Value::String(value.clone())))
                .collect(),
            submitter_platform: String::new(),
            storage: (!checkout.is_empty())
                .then(|| serde_json::json!({ "shaman_checkout_id": checkout })),
            worker_tag: state.facts.tag.map(|tag| tag.to_string()),
            created: rfc3339(row.created),
            updated: rfc3339(row.updated),
            status: state.status.name().to_owned(),
            activity: row.activity.clone(),
            steps_completed: row.steps_completed,
            steps_total: row.steps_total,
            delete_requested_at: state.delete_marked.map(rfc3339),
        }
    }
}

/// The worker of a task.
#[derive(Serialize, Default)]
pub(super) struct TaskWorker {
    id: String,
    name: String,
    address: String,
}

impl TaskWorker {
    pub(super) fn new(model: &ReadModel, worker: Option<tablao_core::WorkerId>) -> Self {
        let Some(id) = worker else {
            return Self::default();
        };
        let row = model.worker(id);
        Self {
            id: id.to_string(),
            name: row.map(|row| row.detail.name.clone()).unwrap_or_default(),
            address: row
                .map(|row| row.detail.address.clone())
                .unwrap_or_default(),
        }
    }
}

/// A task in a list.
#[derive(Serialize)]
pub(super) struct TaskSummary {
    pub(super) id: String,
    name: String,
    status: String,
    index_in_job: u32,
    priority: i32,
    task_type: String,
    updated: String,
    worker: TaskWorker,
    steps_completed: u32,
    steps_total: u32,
}

impl TaskSummary {
    pub(super) fn new(model: &ReadModel, view: &TaskView<'_>) -> Self {
        let task = view.task;
        Self {
            id: task.uuid.to_string(),
            name: view.texts().name().to_owned(),
            status: task.status.name().to_owned(),
            index_in_job: task.index,
            priority: task.priority,
            task_type: view.task_type.to_owned(),
            updated: rfc3339(view.updated),
            worker: TaskWorker::new(model, task.last_worker),
            steps_completed: task.steps_completed,
            steps_total: task.steps_total,
        }
    }
}

/// A task alone.
#[derive(Serialize)]
pub(super) struct TaskJson {
    #[serde(flatten)]
    summary: TaskSummary,
    created: String,
    job_id: String,
    pub(super) activity: String,
    commands: Value,
    failed_by_workers: Vec<TaskWorker>,
}

impl TaskJson {
    pub(super) fn new(model: &ReadModel, view: &TaskView<'_>) -> Self {
        Self {
            summary: TaskSummary::new(model, view),
            created: rfc3339(view.created),
            job_id: view.job.state.facts.job.to_string(),
            activity: view.activity.to_owned(),
            commands: serde_json::from_str(view.texts().commands()).unwrap_or_default(),
            failed_by_workers: view
                .task
                .failed_by
                .iter()
                .map(|worker| TaskWorker::new(model, Some(*worker)))
                .collect(),
        }
    }
}

/// A task that a worker holds, or held last.
#[derive(Serialize)]
pub(super) struct WorkerTask {
    #[serde(flatten)]
    summary: TaskSummary,
    job_id: String,
}

impl WorkerTask {
    pub(super) fn new(model: &ReadModel, task: TaskId) -> Option<Self> {
        let view = model.task(task)?;
        Some(Self {
            summary: TaskSummary::new(model, &view),
            job_id: view.job.state.facts.job.to_string(),
        })
    }
}
