// SPDX-License-Identifier: GPL-3.0-or-later
//! `tasks/{id}/log`: the text of a task's log from a byte on, so that a follower reads on where
//! it stopped. Logs are files of the Manager that runs the task; they are not in the journal.

use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use tablao_core::TaskId;
use utoipa::IntoParams;

use super::{
    problem::{Problem, ProblemBody, ProblemKind},
    request::{Id, Query},
    tasks::unknown_task,
};
use crate::node::SharedNode;

/// Bytes of one answer at most.
const PART_BYTES_MAX: u64 = 1 << 20;
/// Header with the size of the whole log, in bytes.
const SIZE_HEADER: &str = "tablao-log-size";

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct LogQuery {
    /// Bytes to leave out at the beginning.
    offset: Option<u64>,
}

/// A task's log from an offset on, at most 1 MiB of it.
#[utoipa::path(get, path = "/api/farm/v1/tasks/{task}/log", tag = "tasks",
    params(("task" = String, Path, description = "The task's id", format = "uuid"), LogQuery),
    responses(
        (status = 200, description = "The text; empty where there is none (yet)", body = String, content_type = "text/plain",
            headers(("Tablao-Log-Size" = u64, description = "Size of the whole log, in bytes"))),
        (status = 400, description = "The id or a parameter is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such task, or its log is kept by another Manager", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn show(
    State(node): State<SharedNode>,
    Id(task): Id<TaskId>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Problem> {
    let unknown = || unknown_task(task);
    let view = node.site_of_task(task).ok_or_else(unknown)?;
    let job = {
        let model = view.read();
        let found = model.task(task).ok_or_else(unknown)?;
        found.job.state.facts.job
    };
    if view.manager != node.manager() {
        let detail = format!("the log of task {task} is kept by Manager {}", view.manager);
        return Err(Problem::new(ProblemKind::LogElsewhere, detail));
    }
    let logs = node.logs.clone();
    let offset = query.offset.unwrap_or(0);
    let part = tokio::task::spawn_blocking(move || logs.read(job, task, offset, PART_BYTES_MAX));
    match part.await {
        Ok(Ok(part)) => Ok((
            [
                (
                    CONTENT_TYPE.as_str(),
                    "text/plain; charset=utf-8".to_owned(),
                ),
                (SIZE_HEADER, part.size.to_string()),
            ],
            part.bytes,
        )
            .into_response()),
        Ok(Err(error)) => Err(Problem::unreadable("read the task's log", &error)),
        Err(error) => Err(Problem::unreadable("read the task's log", &error)),
    }
}
