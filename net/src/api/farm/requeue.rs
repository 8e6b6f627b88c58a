// SPDX-License-Identifier: GPL-3.0-or-later
//! `jobs/{id}/requeue` and `tasks/{id}/requeue`: some tasks run again, as one decision, or a list
//! of those that would.

use std::collections::BTreeSet;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use tablao_core::{JobId, Request, TaskId, Timestamp, WorkerId, request::Requeue};
use tablao_projections::ReadModel;
use utoipa::ToSchema;

use super::{
    changing::{engine, refused},
    jobs::unknown_job,
    problem::{Problem, ProblemBody, ProblemKind},
    request::{Body, Id},
    tasks::unknown_task,
};
use crate::{
    api::actor::Sender,
    engine::Ask,
    node::SharedNode,
    requeue::{self, Which},
};

/// Tasks shown; the count says how many there are.
const TASKS_SHOWN: usize = 100;

/// Which tasks of the job.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WhichTasks {
    /// Those that failed; of a failed job also those that were canceled by that.
    Failed,
    /// Those that ended although frames of theirs were published by nobody.
    Missing,
    /// What a worker rendered since a time: it is rendered anew, over what is there.
    RenderedBy,
}

/// What is to run again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RequeueJob {
    which: WhichTasks,
    /// With `rendered-by`: id or name of the worker.
    worker: Option<String>,
    /// With `rendered-by`: since when, RFC 3339.
    since: Option<String>,
    /// And everything that depends on them.
    #[serde(default)]
    dependants: bool,
    /// Say what would run again, and change nothing.
    #[serde(default)]
    preview: bool,
    /// Why, for the history.
    #[serde(default)]
    reason: String,
}

/// How a task is to run again.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RequeueTask {
    /// And everything that depends on it.
    dependants: bool,
    /// What it has published is rendered anew, rather than found and left as it is.
    overwrite: bool,
    /// Say what would run again, and change nothing.
    preview: bool,
    /// Why, for the history.
    reason: String,
}

/// A task that runs again.
#[derive(Serialize, ToSchema)]
pub(super) struct Again {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    /// Its status before.
    status: &'static str,
}

/// What runs again, or would.
#[derive(Serialize, ToSchema)]
pub(super) struct Requeued {
    /// Nothing was changed.
    preview: bool,
    /// How many tasks.
    count: usize,
    /// The first hundred.
    tasks: Vec<Again>,
}

/// The numbers with those of everything that depends on them.
pub(super) fn with_dependants(model: &ReadModel, job: JobId, numbers: &mut BTreeSet<u32>) {
    let Some(entity) = model.farm().jobs().get(&job) else {
        return;
    };
    let mut open: Vec<u32> = numbers.iter().copied().collect();
    while let Some(number) = open.pop() {
        for waiting in model.farm().dependants(entity, number) {
            if !entity.tasks.at(waiting).retired && numbers.insert(waiting) {
                open.push(waiting);
            }
        }
    }
}

fn told(model: &ReadModel, job: JobId, numbers: &BTreeSet<u32>, preview: bool) -> Requeued {
    let shown = numbers.iter().take(TASKS_SHOWN);
    let tasks = shown.filter_map(|&number| model.task_numbered(job, number));
    let again = |view: tablao_projections::TaskView<'_>| Again {
        id: view.task.uuid.to_string(),
        name: view.texts().name().to_owned(),
        status: view.task.status.name(),
    };
    Requeued {
        preview,
        count: numbers.len(),
        tasks: tasks.map(again).collect(),
    }
}

/// How the tasks that are named run again.
struct How {
    dependants: bool,
    discard: bool,
    preview: bool,
    reason: String,
}

async fn requeue(
    node: &SharedNode,
    sender: Sender,
    job: JobId,
    how: How,
    select: impl FnOnce(&ReadModel) -> Result<BTreeSet<u32>, Problem>,
) -> Result<Json<Requeued>, Problem> {
    let engine = engine(node, job)?;
    let (ranges, told) = {
        let model = engine.model();
        let mut numbers = select(&model)?;
        let ranges = requeue::ranges(&numbers);
        if how.dependants {
            with_dependants(&model, job, &mut numbers);
        }
        (ranges, told(&model, job, &numbers, how.preview))
    };
    if how.preview || ranges.is_empty() {
        return Ok(Json(told));
    }
    let requeue = Box::new(Requeue {
        job,
        ranges,
        dependants: how.dependants,
        discard: how.discard,
        reason: how.reason,
    });
    let ask = Ask::new(
        Request::RequeueTasks { requeue },
        sender.actor,
        sender.asker,
    );
    match engine.ask(ask).await {
        Ok(Ok(_)) => Ok(Json(told)),
        Ok(Err(refusal)) => Err(refused(&refusal)),
        Err(_) => std::future::pending().await,
    }
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::BadBody, detail)
}

/// The worker by its id or its name.
fn worker_of(model: &ReadModel, wanted: &str) -> Result<WorkerId, Problem> {
    let known = (wanted.parse().ok()).filter(|id| model.worker(*id).is_some());
    let named = || {
        let mut rows = model.workers().filter(|row| row.detail.name == wanted);
        rows.next().map(|row| row.id)
    };
    known.or_else(named).ok_or_else(|| {
        let detail = format!("no worker has the id or name {wanted:?}");
        Problem::new(ProblemKind::UnknownWorker, detail)
    })
}

fn moment(text: Option<&str>) -> Result<Timestamp, Problem> {
    let Some(text) = text else {
        return Ok(Timestamp::from_micros(0));
    };
    let time: jiff::Timestamp = (text.parse())
        .map_err(|_| bad("since: must be an RFC 3339 time, such as 2026-05-01T20:00:00Z"))?;
    Ok(Timestamp::from_micros(
        u64::try_from(time.as_microsecond()).unwrap_or_default(),
    ))
}

/// Queues some tasks of a job again: those that failed, those whose frames are missing, or all
/// that a worker rendered since a time.
#[utoipa::path(post, path = "/api/farm/v1/jobs/{job}/requeue", tag = "jobs",
    params(("job" = String, Path, description = "The job's id", format = "uuid")),
    request_body = RequeueJob,
    responses(
        (status = 200, description = "What runs again, or would", body = Requeued),
        (status = 400, description = "The id or the body is malformed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such job or worker, or another Manager's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The job's status does not allow it", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn of_job(
    State(node): State<SharedNode>,
    sender: Sender,
    Id(job): Id<JobId>,
    Body(body): Body<RequeueJob>,
) -> Result<Json<Requeued>, Problem> {
    let since = moment(body.since.as_deref())?;
    let is_by_worker = matches!(body.which, WhichTasks::RenderedBy);
    if is_by_worker != body.worker.is_some() {
        return Err(bad(
            "worker: goes with `rendered-by`, and `rendered-by` with a worker",
        ));
    }
    let how = How {
        dependants: body.dependants,
        discard: is_by_worker,
        preview: body.preview,
        reason: body.reason,
    };
    let worker = body.worker.unwrap_or_default();
    requeue(&node, sender, job, how, |model| {
        let which = match body.which {
            WhichTasks::Failed => Which::Failed,
            WhichTasks::Missing => Which::Missing,
            WhichTasks::RenderedBy => Which::RenderedBy {
                worker: worker_of(model, &worker)?,
                since,
            },
        };
        requeue::select(model, job, which).ok_or_else(|| unknown_job(job))
    })
    .await
}

/// Queues a task again, with all that depends on it if that is asked for.
#[utoipa::path(post, path = "/api/farm/v1/tasks/{task}/requeue", tag = "tasks",
    params(("task" = String, Path, description = "The task's id", format = "uuid")),
    request_body = RequeueTask,
    responses(
        (status = 200, description = "What runs again, or would", body = Requeued),
        (status = 400, description = "The id or the body is malformed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such task, or another Manager's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The job's status does not allow it, or the task is retired", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn of_task(
    State(node): State<SharedNode>,
    sender: Sender,
    Id(task): Id<TaskId>,
    Body(body): Body<RequeueTask>,
) -> Result<Json<Requeued>, Problem> {
    let unknown = || unknown_task(task);
    let view = node.site_of_task(task).ok_or_else(unknown)?;
    let found = view
        .read()
        .task(task)
        .map(|found| (found.job.state.facts.job, found.task.number));
    let (job, number) = found.ok_or_else(unknown)?;
    let how = How {
        dependants: body.dependants,
        discard: body.overwrite,
        preview: body.preview,
        reason: body.reason,
    };
    requeue(&node, sender, job, how, |_| Ok(BTreeSet::from([number]))).await
}
