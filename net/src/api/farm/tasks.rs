// SPDX-License-Identifier: GPL-3.0-or-later
//! `tasks`: those of a job, and one alone with its commands.

use axum::{Json, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tablao_core::{JobId, TaskId, TaskStatus};
use tablao_projections::{ReadModel, TaskView};
use utoipa::{IntoParams, ToSchema};

use super::{
    asked::{Asked, AtQuery},
    etag::tagged,
    filter::{Filter, Given, Meta},
    jobs::unknown_job,
    named::Named,
    page::{Page, Wanted},
    problem::{Problem, ProblemBody, ProblemKind},
    request::{Id, Nothing},
};
use crate::clock::rfc3339;

/// A task.
#[derive(Serialize, ToSchema)]
pub(super) struct Task {
    #[schema(format = "uuid")]
    id: String,
    #[schema(format = "uuid")]
    job: String,
    /// Its number in the job, from 0, never reused.
    number: u32,
    /// Its place in the job, from 1.
    index: u32,
    name: String,
    /// Its task type.
    #[serde(rename = "type")]
    task_type: String,
    /// `active`, `canceled`, `completed`, `failed`, `queued`, `soft-failed` or `paused`.
    status: &'static str,
    /// The generation of the job that made it.
    generation: u32,
    /// It went when its job was regenerated: it is part of the job's history alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    retired: bool,
    /// Priority within the job.
    priority: i32,
    steps_completed: u32,
    steps_total: u32,
    /// The frames that it renders.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "1-4")]
    frames: Option<String>,
    /// The worker of its last attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    worker: Option<Named>,
    /// Its live attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    attempt: Option<String>,
    /// What its last change said.
    activity: String,
    #[schema(format = "date-time")]
    created: String,
    #[schema(format = "date-time")]
    updated: String,
    /// Workers that failed it.
    failed_by: Vec<Named>,
    /// Ids of the tasks that must be completed first.
    depends_on: Vec<String>,
    /// What it does; only where one task is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<Vec<Object>>)]
    commands: Option<Value>,
}

impl Task {
    fn new(model: &ReadModel, view: &TaskView<'_>) -> Self {
        let task = view.task;
        let frames = &task.frames;
        let failed_by = task.failed_by.iter();
        Self {
            id: task.uuid.to_string(),
            job: view.job.state.facts.job.to_string(),
            number: task.number,
            index: task.index,
            name: view.texts().name().to_owned(),
            task_type: view.task_type.to_owned(),
            status: task.status.name(),
            generation: task.generation,
            retired: task.retired,
            priority: task.priority,
            steps_completed: task.steps_completed,
            steps_total: task.steps_total,
            frames: (!frames.is_empty()).then(|| frames.to_string()),
            worker: task.last_worker.map(|worker| Named::worker(model, worker)),
            attempt: task.attempt.map(|attempt| attempt.to_string()),
            activity: view.activity.to_owned(),
            created: rfc3339(view.created),
            updated: rfc3339(view.updated),
            failed_by: failed_by.map(|id| Named::worker(model, *id)).collect(),
            depends_on: view.depends_on().map(|id| id.to_string()).collect(),
            commands: None,
        }
    }

    fn with_commands(mut self, view: &TaskView<'_>) -> Self {
        let commands = serde_json::from_str(view.texts().commands());
        self.commands = Some(commands.unwrap_or_else(|_| Value::Array(Vec::new())));
        self
    }
}

/// Filters of the list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TasksQuery {
    /// Statuses, separated by commas.
    status: Option<String>,
    /// Name of the task type.
    #[serde(rename = "type")]
    task_type: Option<String>,
    /// Part of the name, in upper or lower case.
    name: Option<String>,
    /// Id or name of the worker that ran it last.
    worker: Option<String>,
    /// Last changed at this time or later, RFC 3339.
    since: Option<String>,
    /// Last changed before this time, RFC 3339.
    until: Option<String>,
    /// `true`: those instead that went when the job was regenerated.
    retired: Option<bool>,
    /// Items on a page, 1 to 1000; 100 if not said.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Tasks of a job, in order of their numbers.
#[utoipa::path(get, path = "/api/farm/v1/jobs/{job}/tasks", tag = "tasks",
    params(("job" = String, Path, description = "The job's id", format = "uuid"), TasksQuery, AtQuery),
    responses(
        (status = 200, description = "A page of tasks, without their commands", body = Page<Task>),
        (status = 400, description = "The id or a parameter is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such job", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn of_job(
    Id(job): Id<JobId>,
    Asked(query, seen): Asked<TasksQuery>,
) -> Result<Json<Page<Task>>, Problem> {
    let wanted: Wanted<u32> = Wanted::new("tasks", query.limit, query.cursor.as_deref())?;
    let given = Given {
        status: query.status.as_deref(),
        kind: query.task_type.as_deref(),
        name: query.name.as_deref(),
        worker: query.worker.as_deref(),
        since: query.since.as_deref(),
        until: query.until.as_deref(),
        ..Given::default()
    };
    let known = TaskStatus::ALL.iter().map(|status| status.name());
    let filter = Filter::new(&given, Meta::default(), known)?;
    let whole = seen.read();
    let model = &*whole
        .site_of_job(job)
        .ok_or_else(|| unknown_job(job))?
        .model;
    // Numbers count up from 0 without a gap, so what was seen before is skipped without a look.
    let seen = wanted.after().map_or(0, |number| *number as usize + 1);
    let workers = filter.workers(model);
    let tasks = model
        .tasks(job)
        .skip(seen)
        .filter(|view| {
            let task = &view.task;
            task.retired == query.retired.unwrap_or_default()
                && filter.status(task.status.name())
                && filter.kind(view.task_type)
                && filter.moment(view.updated)
                && (workers.as_ref()).is_none_or(|workers| {
                    task.last_worker.is_some_and(|worker| workers.contains(&worker))
                })
                // Last: names are unpacked for it.
                && (!filter.asks_for_name() || filter.name(view.texts().name()))
        })
        .map(|view| (view.task.number, view));
    let rows = wanted.take(tasks).collect();
    Ok(wanted.page(&whole, rows, |view| Task::new(model, &view)))
}

/// The refusal of an id that no task has.
pub(super) fn unknown_task(task: TaskId) -> Problem {
    let detail = format!("no task has the id {task}");
    Problem::new(ProblemKind::UnknownTask, detail)
}

/// One task, with its commands.
#[utoipa::path(get, path = "/api/farm/v1/tasks/{task}", tag = "tasks",
    params(("task" = String, Path, description = "The task's id", format = "uuid"), AtQuery),
    responses(
        (status = 200, description = "The task with its commands", body = Task),
        (status = 304, description = "As in If-None-Match"),
        (status = 400, description = "The id is malformed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such task", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn show(
    Id(task): Id<TaskId>,
    Asked(Nothing {}, seen): Asked<Nothing>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let whole = seen.read();
    let unknown = || unknown_task(task);
    let model = &*whole.site_of_task(task).ok_or_else(unknown)?.model;
    let view = model.task(task).ok_or_else(unknown)?;
    let shown = Task::new(model, &view).with_commands(&view);
    Ok(tagged(&headers, view.task.changed_at, &shown, &shown))
}
