// SPDX-License-Identifier: GPL-3.0-or-later
//! `workers`: who renders, and what each does.

use axum::{Json, extract::State, http::HeaderMap, response::Response};
use serde::{Deserialize, Serialize};
use tablao_core::{
    TaskId, WorkerId, WorkerStatus,
    entity::{StatusRequest, Worker as WorkerEntity},
};
use tablao_projections::{ReadModel, WorkerRow};
use utoipa::{IntoParams, ToSchema};

use super::{
    asked::{Asked, AtQuery},
    etag::tagged,
    filter::{Filter, Given, Meta},
    named::Named,
    page::{Page, Wanted},
    problem::{Problem, ProblemBody, ProblemKind},
    request::{Id, Nothing},
};
use crate::{
    clock::rfc3339,
    node::{Node, SharedNode},
    whole::Site,
};

/// What a worker is asked to become.
#[derive(Serialize, ToSchema)]
pub(super) struct StatusChange {
    status: &'static str,
    /// After its present task rather than at once.
    is_lazy: bool,
}

impl From<StatusRequest> for StatusChange {
    fn from(request: StatusRequest) -> Self {
        Self {
            status: request.status.name(),
            is_lazy: request.lazy,
        }
    }
}

/// The task that a worker has, or had last.
#[derive(Serialize, ToSchema)]
pub(super) struct WorkerTask {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    #[schema(format = "uuid")]
    job: String,
    status: &'static str,
}

impl WorkerTask {
    fn new(model: &ReadModel, task: TaskId) -> Option<Self> {
        let view = model.task(task)?;
        Some(Self {
            id: task.to_string(),
            name: view.texts().name().to_owned(),
            job: view.job.state.facts.job.to_string(),
            status: view.task.status.name(),
        })
    }
}

/// Why a worker gets no work.
#[derive(Serialize, ToSchema)]
pub(super) struct WorkerQuarantine {
    /// `self-check`, `failures` or `person`.
    cause: &'static str,
    /// What is wrong, where, and what to do.
    reason: String,
    #[schema(format = "date-time")]
    since: String,
}

/// A worker.
#[derive(Serialize, ToSchema)]
pub(super) struct Worker {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    /// The Manager that it works for.
    #[schema(format = "uuid")]
    manager: String,
    /// `starting`, `awake`, `asleep`, `error`, `testing`, `offline` or `restart`; one that never
    /// signed on is `offline`.
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    status_change: Option<StatusChange>,
    /// Why it has its status.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    status_reason: String,
    /// It gets no work, whatever its status.
    quarantined: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    quarantine: Option<WorkerQuarantine>,
    /// `linux`, `windows`, `darwin`.
    platform: String,
    /// Task types that it runs.
    task_types: Vec<String>,
    tags: Vec<Named>,
    address: String,
    software: String,
    /// Tasks at the same time.
    slots: u8,
    can_restart: bool,
    /// When it last called.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    last_seen: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    task: Option<WorkerTask>,
}

impl Worker {
    fn new(site: &Site<'_>, entity: &WorkerEntity, row: &WorkerRow) -> Self {
        let model = &*site.model;
        let tags = entity.tags.iter().filter_map(|tag| model.tag(*tag));
        Self {
            id: row.id.to_string(),
            name: row.detail.name.clone(),
            manager: site.manager.to_string(),
            status: entity.status.unwrap_or(WorkerStatus::Offline).name(),
            status_change: entity.pending.map(StatusChange::from),
            status_reason: row.status_reason.clone(),
            quarantined: entity.quarantined,
            quarantine: model
                .quarantine(row.id)
                .map(|(facts, reason)| WorkerQuarantine {
                    cause: facts.cause.name(),
                    reason: reason.to_owned(),
                    since: rfc3339(facts.since),
                }),
            platform: entity.platform.clone(),
            task_types: entity.task_types.iter().cloned().collect(),
            tags: tags
                .map(|tag| Named {
                    id: tag.id.to_string(),
                    name: tag.name.clone(),
                })
                .collect(),
            address: row.detail.address.clone(),
            software: row.detail.software.clone(),
            slots: entity.slots,
            can_restart: entity.can_restart,
            last_seen: None,
            task: row.last_task.and_then(|task| WorkerTask::new(model, task)),
        }
    }

    /// Adds when it was last heard, which is liveness and no change of the worker.
    fn seen(mut self, node: &Node, row: &WorkerRow) -> Self {
        let at = node.last_seen(row.id).unwrap_or(row.updated);
        self.last_seen = Some(rfc3339(at));
        self
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WorkersQuery {
    /// Statuses, separated by commas.
    status: Option<String>,
    /// Part of the name, in upper or lower case.
    name: Option<String>,
    /// A task type that it runs.
    #[serde(rename = "type")]
    task_type: Option<String>,
    /// Id or name of a worker tag.
    tag: Option<String>,
    /// Only those that are in quarantine, or that are not.
    quarantined: Option<bool>,
    /// Last changed at this time or later, RFC 3339.
    since: Option<String>,
    /// Last changed before this time, RFC 3339.
    until: Option<String>,
    /// Items on a page, 1 to 1000; 100 if not said.
    limit: Option<u32>,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// Workers that were not removed.
#[utoipa::path(get, path = "/api/farm/v1/workers", tag = "workers", params(WorkersQuery, AtQuery), responses(
    (status = 200, description = "A page of workers", body = Page<Worker>),
    (status = 400, description = "A parameter is not understood", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn list(
    State(node): State<SharedNode>,
    Asked(query, seen): Asked<WorkersQuery>,
) -> Result<Json<Page<Worker>>, Problem> {
    let wanted: Wanted<WorkerId> = Wanted::new("workers", query.limit, query.cursor.as_deref())?;
    let given = Given {
        status: query.status.as_deref(),
        kind: query.task_type.as_deref(),
        name: query.name.as_deref(),
        tag: query.tag.as_deref(),
        since: query.since.as_deref(),
        until: query.until.as_deref(),
        ..Given::default()
    };
    let known = WorkerStatus::ALL.iter().map(|status| status.name());
    let filter = Filter::new(&given, Meta::default(), known)?;
    let whole = seen.read();
    let mut rows = Vec::new();
    for site in &whole.sites {
        let entities = site.model.farm().workers();
        let found = site
            .model
            .workers()
            .filter_map(|row| Some((row.id, (site, entities.get(&row.id)?, row))))
            .filter(|(_, (site, entity, row))| {
                let status = entity.status.unwrap_or(WorkerStatus::Offline);
                filter.status(status.name())
                    && filter.any_kind(&entity.task_types)
                    && filter.name(&row.detail.name)
                    && filter.moment(row.updated)
                    && filter.tags(&site.model, entity.tags.iter().copied())
                    && (query.quarantined).is_none_or(|wanted| entity.quarantined == wanted)
            });
        rows.extend(wanted.take(found));
    }
    Ok(wanted.page(&whole, rows, |(site, entity, row)| {
        let worker = Worker::new(site, entity, row);
        if seen.is_now() {
            worker.seen(&node, row)
        } else {
            worker
        }
    }))
}

/// One worker.
#[utoipa::path(get, path = "/api/farm/v1/workers/{worker}", tag = "workers",
    params(("worker" = String, Path, description = "The worker's id", format = "uuid"), AtQuery),
    responses(
        (status = 200, description = "The worker; that it called again does not change its ETag", body = Worker),
        (status = 304, description = "As in If-None-Match"),
        (status = 400, description = "The id is malformed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such worker, or it was removed", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn show(
    State(node): State<SharedNode>,
    Id(worker): Id<WorkerId>,
    Asked(Nothing {}, seen): Asked<Nothing>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let whole = seen.read();
    let unknown = || {
        let detail = format!("no worker has the id {worker}");
        Problem::new(ProblemKind::UnknownWorker, detail)
    };
    let site = whole.site_of_worker(worker).ok_or_else(unknown)?;
    let entity = (site.model.farm().workers().get(&worker))
        .filter(|entity| !entity.deleted)
        .ok_or_else(unknown)?;
    let row = site.model.worker(worker).ok_or_else(unknown)?;
    let lasting = Worker::new(site, entity, row);
    let mut shown = Worker::new(site, entity, row);
    if seen.is_now() {
        shown = shown.seen(&node, row);
    }
    Ok(tagged(&headers, entity.changed_at, &lasting, &shown))
}
