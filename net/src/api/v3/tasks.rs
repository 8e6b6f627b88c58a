// SPDX-License-Identifier: GPL-3.0-or-later
//! Tasks: lists, one alone, status, logs.

use axum::{
    Json,
    extract::{Path, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tablao_core::{JobId, Refusal, Request, TaskId, TaskStatus};

use super::{
    Body, Problem,
    jobs::{change, job_id},
    types::{TaskJson, TaskSummary},
};
use crate::{api::actor::Sender, node::SharedNode, previews::Previews};

/// How much of a log its tail shows, in bytes.
const TAIL_BYTES: u64 = 2048;

pub(super) async fn of_job(
    State(node): State<SharedNode>,
    Path(job): Path<String>,
) -> Result<Json<Value>, Problem> {
    let job = job_id(&job)?;
    let Some(view) = node.site_of_job(job) else {
        return Ok(Json(json!({ "tasks": [] })));
    };
    let model = view.read();
    let tasks: Vec<TaskSummary> = model
        .tasks(job)
        // What a job had before it was regenerated is no part of it in Flamenco's words.
        .filter(|task| !task.task.retired)
        .map(|task| TaskSummary::new(&model, &task))
        .collect();
    Ok(Json(json!({ "tasks": tasks })))
}

fn task_id(text: &str) -> Result<TaskId, Problem> {
    text.parse()
        .map_err(|_| Problem::bad_request("the task id is not a UUID"))
}

fn job_of(node: &SharedNode, task: TaskId) -> Result<JobId, Problem> {
    node.site_of_task(task)
        .and_then(|view| view.read().task(task).map(|task| task.job.state.facts.job))
        .ok_or_else(|| Refusal::UnknownTask { task }.into())
}

pub(super) async fn show(
    State(node): State<SharedNode>,
    Path(task): Path<String>,
) -> Result<Response, Problem> {
    let task = task_id(&task)?;
    let unknown = || Problem::from(Refusal::UnknownTask { task });
    let view = node.site_of_task(task).ok_or_else(unknown)?;
    let model = view.read();
    let found = model.task(task).ok_or_else(unknown)?;
    let mut shown = TaskJson::new(&model, &found);
    if let Some(words) = (found.task.attempt).and_then(|live| node.activities.of(task, live)) {
        shown.activity = words;
    }
    Ok(Json(shown).into_response())
}

pub(super) async fn log_tail(
    State(node): State<SharedNode>,
    Path(task): Path<String>,
) -> Result<Response, Problem> {
    let task = task_id(&task)?;
    let job = job_of(&node, task)?;
    let logs = node.logs.clone();
    let tail = tokio::task::spawn_blocking(move || logs.tail(job, task, TAIL_BYTES)).await;
    match tail {
        Ok(Ok(text)) if text.is_empty() => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(Ok(text)) => Ok(([(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()),
        other => {
            tracing::warn!(%task, ?other, "read a task log");
            Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the task's log cannot be read",
            ))
        }
    }
}

pub(super) async fn log_info(
    State(node): State<SharedNode>,
    Path(task): Path<String>,
) -> Result<Response, Problem> {
    let task = task_id(&task)?;
    let job = job_of(&node, task)?;
    let logs = node.logs.clone();
    let size = tokio::task::spawn_blocking(move || logs.read(job, task, 0, 0)).await;
    match size {
        Ok(Ok(part)) if part.size == 0 => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(Ok(part)) => Ok(Json(json!({
            "task_id": task.to_string(),
            "job_id": job.to_string(),
            "url": format!("/job-files/{}/task-{task}.txt", Previews::relative(job)),
            "size": part.size,
        }))
        .into_response()),
        other => {
            tracing::warn!(%task, ?other, "read a task log");
            Err(Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the task's log cannot be read",
            ))
        }
    }
}

#[derive(Deserialize)]
pub(super) struct SetStatus {
    status: TaskStatus,
    reason: String,
}

pub(super) async fn set_status(
    State(node): State<SharedNode>,
    sender: Sender,
    Path(task): Path<String>,
    Body(body): Body<SetStatus>,
) -> Result<StatusCode, Problem> {
    let task: TaskId = task
        .parse()
        .map_err(|_| Problem::not_found("no task has this id"))?;
    let job = job_of(&node, task)?;
    let request = Request::SetTaskStatus {
        task,
        status: body.status,
        reason: body.reason,
    };
    change(&node, sender, job, request, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
