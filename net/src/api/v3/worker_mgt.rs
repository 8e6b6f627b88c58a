// SPDX-License-Identifier: GPL-3.0-or-later
//! Managing workers and their tags.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tablao_core::{Refusal, Request, TagId, WorkerId, WorkerStatus};
use tablao_projections::{ReadModel, TagRow};

use super::{Body, Problem, error::stopped, types::WorkerTask};
use crate::{
    api::actor::Sender,
    clock,
    engine::{Ask, Engine},
    node::SharedNode,
    view::View,
};

pub(super) fn worker_id(text: &str) -> Result<WorkerId, Problem> {
    text.parse()
        .map_err(|_| Problem::bad_request("the worker id is not a UUID"))
}

fn tag_id(text: &str) -> Result<TagId, Problem> {
    text.parse()
        .map_err(|_| Problem::bad_request("the tag id is not a UUID"))
}

/// Workers and tags are changed at their own Manager.
fn own(node: &SharedNode) -> Result<&Engine, Problem> {
    node.site.as_ref().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "workers belong to a Manager; ask the Manager that they sign on at",
        )
    })
}

pub(super) async fn change(
    node: &SharedNode,
    sender: Sender,
    request: Request,
) -> Result<(), Problem> {
    let engine = own(node)?;
    let reply = match engine
        .ask(Ask::new(request, sender.actor, sender.asker))
        .await
    {
        Ok(reply) => reply,
        Err(error) => stopped(error).await,
    };
    reply?;
    Ok(())
}

fn summary(node: &SharedNode, model: &ReadModel, id: WorkerId) -> Option<Value> {
    let row = model.worker(id)?;
    let worker = model
        .farm()
        .workers()
        .get(&id)
        .filter(|worker| !worker.deleted)?;
    let mut body = json!({
        "id": id.to_string(),
        "name": row.detail.name,
        "status": worker.status.unwrap_or(WorkerStatus::Offline).name(),
        "version": row.detail.software,
        "can_restart": worker.can_restart,
    });
    if let Some(pending) = worker.pending {
        body["status_change"] = json!({ "status": pending.status.name(), "is_lazy": pending.lazy });
    }
    if let Some(at) = node.last_seen(id).or(Some(row.updated)) {
        body["last_seen"] = Value::String(clock::rfc3339(at));
    }
    Some(body)
}

pub(super) async fn workers(State(node): State<SharedNode>) -> Json<Value> {
    let mut workers = Vec::new();
    for site in node.sites() {
        let model = site.read();
        workers.extend(
            model
                .workers()
                .filter_map(|row| summary(&node, &model, row.id)),
        );
    }
    Json(json!({ "workers": workers }))
}

pub(super) fn site_of(node: &SharedNode, id: WorkerId) -> Result<View, Problem> {
    node.sites()
        .into_iter()
        .find(|view| view.read().worker(id).is_some())
        .ok_or_else(|| Refusal::UnknownWorker { worker: id }.into())
}

pub(super) async fn worker(
    State(node): State<SharedNode>,
    Path(worker): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = worker_id(&worker)?;
    let view = site_of(&node, id)?;
    let model = view.read();
    let unknown = || Problem::from(Refusal::UnknownWorker { worker: id });
    let mut body = summary(&node, &model, id).ok_or_else(unknown)?;
    let farm = model.farm();
    let entity = farm.workers().get(&id).ok_or_else(unknown)?;
    let row = model.worker(id).ok_or_else(unknown)?;
    body["ip_address"] = json!(row.detail.address);
    body["platform"] = json!(entity.platform);
    body["supported_task_types"] = json!(entity.task_types);
    let tags: Vec<Value> = entity
        .tags
        .iter()
        .filter_map(|tag| model.tag(*tag))
        .map(tag_json)
        .collect();
    if !tags.is_empty() {
        body["tags"] = json!(tags);
    }
    if let Some(task) = row.last_task.and_then(|task| WorkerTask::new(&model, task)) {
        body["task"] = json!(task);
    }
    Ok(Json(body))
}

pub(super) async fn delete_worker(
    State(node): State<SharedNode>,
    sender: Sender,
    Path(worker): Path<String>,
) -> Result<StatusCode, Problem> {
    let worker = worker_id(&worker)?;
    change(&node, sender, Request::DeleteWorker { worker }).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct SetStatus {
    status: WorkerStatus,
    is_lazy: bool,
}

pub(super) async fn set_status(
    State(node): State<SharedNode>,
    sender: Sender,
    Path(worker): Path<String>,
    Body(body): Body<SetStatus>,
) -> Result<StatusCode, Problem> {
    let request = Request::RequestWorkerStatus {
        worker: worker_id(&worker)?,
        status: body.status,
        lazy: body.is_lazy,
        reason: String::new(),
    };
    change(&node, sender, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct SetTags {
    tag_ids: Vec<String>,
}

pub(super) async fn set_tags(
    State(node): State<SharedNode>,
    sender: Sender,
    Path(worker): Path<String>,
    Body(body): Body<SetTags>,
) -> Result<StatusCode, Problem> {
    let tags = body
        .tag_ids
        .iter()
        .map(|tag| tag_id(tag))
        .collect::<Result<_, _>>()?;
    let request = Request::SetWorkerTags {
        worker: worker_id(&worker)?,
        tags,
    };
    change(&node, sender, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn tag_json(row: &TagRow) -> Value {
    let mut body = json!({ "id": row.id.to_string(), "name": row.name });
    if !row.description.is_empty() {
        body["description"] = json!(row.description);
    }
    body
}

pub(super) async fn tags(State(node): State<SharedNode>) -> Json<Value> {
    let mut tags = Vec::new();
    for site in node.sites() {
        tags.extend(site.read().tags().map(tag_json));
    }
    Json(json!({ "tags": tags }))
}

/// Names are words, which rules do not read: what must not be there twice is looked for here, and
/// between the look and the change nobody else may come.
static TAG_CHANGES: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// No tag but this one has the name.
fn name_is_free(node: &SharedNode, name: &str, of: TagId) -> Result<(), Problem> {
    let has_it = |known: &TagRow| known.name == name && known.id != of;
    let sites = node.sites();
    if sites.iter().any(|site| site.read().tags().any(has_it)) {
        let message = format!("there is a tag {name:?} already; names of tags are unique");
        return Err(Problem::new(StatusCode::CONFLICT, message));
    }
    Ok(())
}

#[derive(Deserialize)]
pub(super) struct TagBody {
    id: Option<String>,
    name: String,
    description: Option<String>,
}

pub(super) async fn create_tag(
    State(node): State<SharedNode>,
    sender: Sender,
    Body(body): Body<TagBody>,
) -> Result<Response, Problem> {
    let tag = match &body.id {
        Some(id) => tag_id(id)?,
        None => TagId::new(clock::new_id()),
    };
    let _one_at_a_time = TAG_CHANGES.lock().await;
    if known_tag(&node, tag).is_ok() {
        let message = format!("there is a tag with the id {tag} already");
        return Err(Problem::new(StatusCode::CONFLICT, message));
    }
    name_is_free(&node, &body.name, tag)?;
    let description = body.description.unwrap_or_default();
    let request = Request::CreateTag {
        tag,
        name: body.name,
        description,
    };
    change(&node, sender, request).await?;
    let row = known_tag(&node, tag)?;
    Ok(Json(tag_json(&row)).into_response())
}

fn known_tag(node: &SharedNode, id: TagId) -> Result<TagRow, Problem> {
    node.sites()
        .iter()
        .find_map(|site| site.read().tag(id).cloned())
        .ok_or_else(|| Refusal::UnknownTag { tag: id }.into())
}

pub(super) async fn tag(
    State(node): State<SharedNode>,
    Path(tag): Path<String>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(tag_json(&known_tag(&node, tag_id(&tag)?)?)))
}

pub(super) async fn change_tag(
    State(node): State<SharedNode>,
    sender: Sender,
    Path(tag): Path<String>,
    Body(body): Body<TagBody>,
) -> Result<StatusCode, Problem> {
    let tag = tag_id(&tag)?;
    own(&node)?;
    let _one_at_a_time = TAG_CHANGES.lock().await;
    let known = known_tag(&node, tag)?;
    name_is_free(&node, &body.name, tag)?;
    let request = Request::ChangeTag {
        tag,
        name: body.name,
        description: body.description.unwrap_or(known.description),
    };
    change(&node, sender, request).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn delete_tag(
    State(node): State<SharedNode>,
    sender: Sender,
    Path(tag): Path<String>,
) -> Result<StatusCode, Problem> {
    let tag = tag_id(&tag)?;
    change(&node, sender, Request::DeleteTag { tag }).await?;
    Ok(StatusCode::NO_CONTENT)
}
