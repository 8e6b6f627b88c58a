// SPDX-License-Identifier: GPL-3.0-or-later
//! `jobs`: the list with its filters, and one alone.

use axum::{
    Json,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tablao_core::{
    JobId, JobStatus, Lsn, TaskStatus, Timestamp,
    entity::{Job as JobEntity, JobSource},
    status::TaskCounts,
};
use tablao_projections::{JobRow, ReadModel};
use utoipa::{IntoParams, ToSchema};

use super::{
    asked::{Asked, AtQuery},
    etag::tagged,
    filter::{Filter, Given, Meta, MetaQuery, Narrowed},
    named::thumbnail,
    page::{Page, Wanted},
    problem::{Problem, ProblemBody, ProblemKind},
    request::{Id, Nothing},
};
use crate::clock::rfc3339;

/// How many tasks stand in each status.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Counts {
    queued: u32,
    active: u32,
    soft_failed: u32,
    completed: u32,
    failed: u32,
    canceled: u32,
    paused: u32,
}

impl Counts {
    fn new(counts: &TaskCounts) -> Self {
        Self {
            queued: counts.of(TaskStatus::Queued),
            active: counts.of(TaskStatus::Active),
            soft_failed: counts.of(TaskStatus::SoftFailed),
            completed: counts.of(TaskStatus::Completed),
            failed: counts.of(TaskStatus::Failed),
            canceled: counts.of(TaskStatus::Canceled),
            paused: counts.of(TaskStatus::Paused),
        }
    }
}

/// A job.
#[derive(Serialize, ToSchema)]
pub(super) struct Job {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    /// Name of the job type.
    #[serde(rename = "type")]
    job_type: String,
    /// `active`, `canceled`, `completed`, `failed`, `paused`, `pause-requested`, `queued`,
    /// `cancel-requested`, `requeueing` or `under-construction`.
    status: &'static str,
    /// 0 to 100; higher runs first.
    priority: i32,
    /// Why it has its status.
    activity: String,
    #[schema(format = "date-time")]
    created: String,
    #[schema(format = "date-time")]
    updated: String,
    /// Only workers with this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid", nullable = false)]
    tag: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    project: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    user: String,
    /// The shot that its frames belong to.
    #[schema(format = "uuid")]
    shot: String,
    /// The Manager that runs it.
    #[schema(format = "uuid")]
    manager: String,
    /// `submitted`, `imported`, `regenerated` or `placed`.
    source: &'static str,
    /// Rises with each regeneration, from 1.
    generation: u32,
    /// BLAKE3 of the script that compiled it.
    script_hash: String,
    /// Settings in effect.
    #[schema(value_type = Object)]
    settings: Map<String, Value>,
    #[schema(value_type = Object)]
    metadata: Map<String, Value>,
    steps_completed: u64,
    steps_total: u64,
    task_counts: Counts,
    /// Address of its last frame's thumbnail.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    thumbnail: Option<String>,
    /// Since when it is marked for deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    delete_requested_at: Option<String>,
}

fn source(source: JobSource) -> &'static str {
    match source {
        JobSource::Submitted => "submitted",
        JobSource::Imported => "imported",
        JobSource::Regenerated => "regenerated",
        JobSource::Placed => "placed",
    }
}

impl Job {
    fn new(model: &ReadModel, entity: &JobEntity, row: &JobRow) -> Self {
        let state = &entity.state;
        let detail = &row.detail;
        let last_frame = row.last_frame.as_ref().and_then(|key| model.frame(key));
        let text = |(key, value): &(String, String)| (key.clone(), Value::String(value.clone()));
        Self {
            id: row.id.to_string(),
            name: detail.name.clone(),
            job_type: state.facts.job_type.clone(),
            status: state.status.name(),
            priority: state.facts.priority,
            activity: row.activity.clone(),
            created: rfc3339(row.created),
            updated: rfc3339(row.updated),
            tag: state.facts.tag.map(|tag| tag.to_string()),
            project: detail.project.clone(),
            user: detail.user.clone(),
            shot: state.facts.shot.to_string(),
            manager: state.facts.manager.to_string(),
            source: source(state.facts.source),
            generation: state.facts.generation,
            script_hash: blake3::Hash::from_bytes(state.facts.script_hash).to_string(),
            settings: serde_json::from_str(&detail.settings).unwrap_or_default(),
            metadata: detail.metadata.iter().map(text).collect(),
            steps_completed: row.steps_completed,
            steps_total: row.steps_total,
            task_counts: Counts::new(&entity.counts),
            thumbnail: last_frame.as_ref().and_then(thumbnail),
            delete_requested_at: state.delete_marked.map(rfc3339),
        }
    }
}

/// Filters of the list; several together must all hold.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct JobsQuery {
    /// Statuses, separated by commas.
    status: Option<String>,
    /// Name of the job type.
    #[serde(rename = "type")]
    job_type: Option<String>,
    /// Part of the name, in upper or lower case.
    name: Option<String>,
    /// Name of the user.
    user: Option<String>,
    /// Name of the project.
    project: Option<String>,
    /// Id or name of the shot.
    shot: Option<String>,
    /// Id or name of the worker tag.
    tag: Option<String>,
    /// Id or name of a worker that ran some task of it last.
    worker: Option<String>,
    /// Submitted at this time or later, RFC 3339.
    since: Option<String>,
    /// Submitted before this time, RFC 3339.
    until: Option<String>,
    /// Items on a page, 1 to 1000; 100 if not said.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

impl JobsQuery {
    fn filter(&self, meta: Meta) -> Result<Filter, Problem> {
        let given = Given {
            status: self.status.as_deref(),
            kind: self.job_type.as_deref(),
            name: self.name.as_deref(),
            user: self.user.as_deref(),
            project: self.project.as_deref(),
            shot: self.shot.as_deref(),
            tag: self.tag.as_deref(),
            worker: self.worker.as_deref(),
            since: self.since.as_deref(),
            until: self.until.as_deref(),
        };
        let known = JobStatus::ALL.iter().map(|status| status.name());
        Filter::new(&given, meta, known)
    }
}

/// Jobs, oldest first.
#[utoipa::path(get, path = "/api/farm/v1/jobs", tag = "jobs", params(JobsQuery, MetaQuery, AtQuery), responses(
    (status = 200, description = "A page of jobs, oldest first", body = Page<Job>),
    (status = 400, description = "A parameter is not understood", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    Narrowed(query, meta, seen): Narrowed<JobsQuery>,
) -> Result<Json<Page<Job>>, Problem> {
    let wanted: Wanted<(Timestamp, JobId)> =
        Wanted::new("jobs", query.limit, query.cursor.as_deref())?;
    let filter = query.filter(meta)?;
    let whole = seen.read();
    let mut rows = Vec::new();
    for site in &whole.sites {
        let model = &*site.model;
        let jobs = model.farm().jobs();
        let workers = filter.workers(model);
        let mut of_site: Vec<_> = model
            .jobs()
            .map(|row| ((row.created, row.id), row))
            .filter(|(key, _)| wanted.is_after(key))
            .filter_map(|(key, row)| Some((key, (model, jobs.get(&row.id)?, row))))
            .filter(|(_, (model, entity, row))| {
                filter.status(entity.state.status.name())
                    && filter.kind(&entity.state.facts.job_type)
                    && filter.name(&row.detail.name)
                    && filter.moment(row.created)
                    && filter.of_job(model, entity, row)
                    && (workers.as_ref()).is_none_or(|workers| {
                        workers.iter().any(|worker| model.ran_last(row.id, *worker))
                    })
            })
            .collect();
        // Order of acceptance is nearly, but not always, order of submission.
        of_site.sort_by_key(|(key, _)| *key);
        rows.extend(wanted.take(of_site.into_iter()));
    }
    Ok(wanted.page(&whole, rows, |(model, entity, row)| {
        Job::new(model, entity, row)
    }))
}

/// The refusal of an id that no job has.
pub(super) fn unknown_job(job: JobId) -> Problem {
    Problem::new(ProblemKind::UnknownJob, format!("no job has the id {job}"))
}

/// One job.
#[utoipa::path(get, path = "/api/farm/v1/jobs/{job}", tag = "jobs",
    params(("job" = String, Path, description = "The job's id", format = "uuid"), AtQuery),
    responses(
        (status = 200, description = "The job; its ETag changes when it or its tasks do", body = Job),
        (status = 304, description = "As in If-None-Match"),
        (status = 400, description = "The id is malformed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such job", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn show(
    Id(job): Id<JobId>,
    Asked(Nothing {}, seen): Asked<Nothing>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let whole = seen.read();
    let unknown = || unknown_job(job);
    let model = &*whole.site_of_job(job).ok_or_else(unknown)?.model;
    let entity = model.farm().jobs().get(&job).ok_or_else(unknown)?;
    let row = model.job(job).ok_or_else(unknown)?;
    let shown = Job::new(model, entity, row);
    let changed_at: Lsn = entity.state.changed_at.max(entity.state.tasks_changed_at);
    Ok(tagged(&headers, changed_at, &shown, &shown).into_response())
}
