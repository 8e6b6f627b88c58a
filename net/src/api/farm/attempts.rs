// SPDX-License-Identifier: GPL-3.0-or-later
//! `attempts`: every run of a task, ended ones included.

use axum::Json;
use serde::{Deserialize, Serialize};
use tablao_core::{
    AttemptId, TaskId,
    event::{AttemptOutcome, FailureClass},
};
use tablao_projections::{AttemptRow, ReadModel};
use utoipa::{IntoParams, ToSchema};

use super::{
    asked::{Asked, AtQuery},
    named::Named,
    page::{Page, Wanted},
    problem::{Problem, ProblemBody},
    request::Id,
    tasks::unknown_task,
};
use crate::clock::rfc3339;

/// What kind of failure ended an attempt.
#[derive(Serialize, ToSchema)]
pub(super) struct Failure {
    /// `unknown`, `process`, `missing_output`, `feature_missing`, `out_of_memory`, `bad_command`,
    /// `signal`, `io` or `timeout`.
    class: &'static str,
    /// Exit code of the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    exit: Option<i32>,
    /// Signal that ended the process.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    signal: Option<i32>,
}

/// One run of a task by one worker.
#[derive(Serialize, ToSchema)]
pub(super) struct Attempt {
    id: String,
    #[schema(format = "uuid")]
    task: String,
    #[schema(format = "uuid")]
    job: String,
    worker: Named,
    /// `assigned`, `running`, `stopping` or `ended`.
    state: &'static str,
    /// `completed`, `failed`, `lapsed`, `returned`, `canceled` or `superseded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    failure: Option<Failure>,
    /// Why it was asked to stop, or how it ended, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    #[schema(format = "date-time")]
    assigned: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    started: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    ended: Option<String>,
    /// Highest memory use, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    peak_memory_bytes: Option<u64>,
}

fn outcome_name(outcome: &AttemptOutcome) -> &'static str {
    match outcome {
        AttemptOutcome::Completed => "completed",
        AttemptOutcome::Failed { .. } => "failed",
        AttemptOutcome::Lapsed => "lapsed",
        AttemptOutcome::Returned => "returned",
        AttemptOutcome::Canceled => "canceled",
        AttemptOutcome::Superseded => "superseded",
    }
}

fn class_name(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Unknown => "unknown",
        FailureClass::Process => "process",
        FailureClass::MissingOutput => "missing_output",
        FailureClass::FeatureMissing => "feature_missing",
        FailureClass::OutOfMemory => "out_of_memory",
        FailureClass::BadCommand => "bad_command",
        FailureClass::Signal => "signal",
        FailureClass::Io => "io",
        FailureClass::Timeout => "timeout",
    }
}

fn failure(outcome: &AttemptOutcome) -> Option<Failure> {
    match outcome {
        AttemptOutcome::Failed {
            class,
            exit,
            signal,
            ..
        } => Some(Failure {
            class: class_name(*class),
            exit: *exit,
            signal: *signal,
        }),
        AttemptOutcome::Completed
        | AttemptOutcome::Lapsed
        | AttemptOutcome::Returned
        | AttemptOutcome::Canceled
        | AttemptOutcome::Superseded => None,
    }
}

impl Attempt {
    fn new(model: &ReadModel, row: &AttemptRow) -> Self {
        Self {
            id: row.id.to_string(),
            task: row.task.to_string(),
            job: row.job.to_string(),
            worker: Named::worker(model, row.worker),
            state: row.state.name(),
            outcome: row.outcome.as_ref().map(outcome_name),
            failure: row.outcome.as_ref().and_then(failure),
            reason: (!row.reason.is_empty()).then(|| row.reason.clone()),
            assigned: rfc3339(row.assigned),
            started: row.started.map(rfc3339),
            ended: row.ended.map(rfc3339),
            peak_memory_bytes: row.peak_memory_bytes,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AttemptsQuery {
    /// Items on a page, 1 to 1000; 100 if not said.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Attempts of a task, oldest first.
#[utoipa::path(get, path = "/api/farm/v1/tasks/{task}/attempts", tag = "tasks",
    params(("task" = String, Path, description = "The task's id", format = "uuid"), AttemptsQuery, AtQuery),
    responses(
        (status = 200, description = "A page of attempts, oldest first", body = Page<Attempt>),
        (status = 400, description = "The id or a parameter is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such task", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn of_task(
    Id(task): Id<TaskId>,
    Asked(query, seen): Asked<AttemptsQuery>,
) -> Result<Json<Page<Attempt>>, Problem> {
    let wanted: Wanted<AttemptId> = Wanted::new("attempts", query.limit, query.cursor.as_deref())?;
    let whole = seen.read();
    let site = whole.site_of_task(task).ok_or_else(|| unknown_task(task))?;
    let model = &*site.model;
    let attempts = model.attempts(task).into_iter().map(|row| (row.id, row));
    let rows = wanted.take(attempts).collect();
    Ok(wanted.page(&whole, rows, |row| Attempt::new(model, &row)))
}
