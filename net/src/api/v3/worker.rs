// SPDX-License-Identifier: GPL-3.0-or-later
//! What Workers call about themselves: registration, signing on and off, status.
//!
//! These never answer 5xx: a Flamenco worker fails its task on any code but 204 and 409.
//! Tasks are in `worker_task`.

use std::net::SocketAddr;

use axum::{
    Json,
    extract::{ConnectInfo, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use tablao_core::{
    Answer, AttemptId, Refusal, Request, WorkerId, WorkerStatus, detail::WorkerDetail,
    entity::Protocol,
};

use super::{
    Body, Problem, WorkerIdentity,
    error::{hang_up, stopped},
    worker_auth::protocol,
};
use crate::{
    clock,
    engine::{Ask, Engine, Heard, Reply},
    node::SharedNode,
};

/// The site engine; workers only ever talk to a process that has one.
pub(super) fn engine(node: &SharedNode) -> Result<&Engine, Problem> {
    node.site.as_ref().ok_or_else(|| {
        Problem::not_found(
            "this is a Server without workers of its own; workers sign on at a Manager",
        )
    })
}

pub(super) async fn ask(
    engine: &Engine,
    worker: &WorkerIdentity,
    request: Request,
) -> Result<Answer, Problem> {
    let ask = Ask::new(request, worker.actor(), worker.asker());
    match engine.ask(ask).await {
        Ok(reply) => settled(reply),
        Err(error) => stopped(error).await,
    }
}

/// A reply as a worker is to hear it: one that was forgotten a moment ago has to register anew,
/// like any other that is not known.
pub(crate) fn settled(reply: Reply) -> Result<Answer, Problem> {
    reply.map_err(|refusal| match refusal {
        Refusal::UnknownWorker { .. } => Problem::forbidden(),
        other => other.into(),
    })
}

#[derive(Deserialize)]
pub(super) struct Registration {
    name: String,
    secret: String,
    platform: String,
    supported_task_types: Vec<String>,
}

pub(super) async fn register(
    State(node): State<SharedNode>,
    address: ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Body(body): Body<Registration>,
) -> Result<Response, Problem> {
    let engine = engine(&node)?;
    let worker = WorkerId::new(clock::new_id());
    let address = address.ip().to_string();
    // The secret first: a worker whose registration is acknowledged can always sign on.
    let kept = {
        let node = SharedNode::clone(&node);
        let secret = body.secret.clone();
        tokio::task::spawn_blocking(move || node.secrets.add(worker.uuid(), &secret)).await
    };
    if !matches!(kept, Ok(Ok(()))) {
        tracing::error!(?kept, "keep a worker's secret");
        return Ok(hang_up());
    }
    let identity = WorkerIdentity {
        id: worker,
        protocol: protocol(&headers),
        address: address.clone(),
    };
    let detail = WorkerDetail {
        name: body.name.clone(),
        address: address.clone(),
        software: String::new(),
    };
    let request = Request::RegisterWorker {
        worker,
        platform: body.platform.to_lowercase(),
        task_types: task_types(&body.supported_task_types),
        detail,
    };
    ask(engine, &identity, request).await?;
    Ok(Json(json!({
        "uuid": worker.to_string(),
        "name": body.name,
        "address": address,
        "status": WorkerStatus::Offline.name(),
        "platform": body.platform,
        "software": "",
        "supported_task_types": body.supported_task_types,
    }))
    .into_response())
}

fn task_types(given: &[String]) -> Vec<String> {
    let mut types: Vec<String> = given
        .iter()
        .map(|name| name.trim().to_lowercase())
        .filter(|name| !name.is_empty())
        .collect();
    types.sort_unstable();
    types.dedup();
    types
}

#[derive(Deserialize)]
pub(super) struct SignOn {
    name: String,
    supported_task_types: Vec<String>,
    software_version: String,
    #[serde(default)]
    can_restart: bool,
    tablao: Option<SignOnExtension>,
}

#[derive(Deserialize, Default)]
struct SignOnExtension {
    #[serde(default = "one")]
    slots: u8,
    #[serde(default)]
    held_attempts: Vec<String>,
    /// What its clock shows, in milliseconds since the Unix epoch.
    clock_ms: Option<i64>,
    /// Bytes that a task may count on.
    slot_memory_bytes: Option<u64>,
}

fn one() -> u8 {
    1
}

pub(super) async fn sign_on(
    State(node): State<SharedNode>,
    worker: WorkerIdentity,
    Body(body): Body<SignOn>,
) -> Result<Response, Problem> {
    let engine = engine(&node)?;
    let protocol = if body.tablao.is_some() {
        Protocol::Tablao
    } else {
        Protocol::Flamenco
    };
    let extension = body.tablao.unwrap_or_default();
    if let Some(clock_ms) = extension.clock_ms {
        let now_ms = i64::try_from(clock::now().micros() / 1000).unwrap_or(i64::MAX);
        node.health
            .saw_clock(worker.id, clock_ms.saturating_sub(now_ms));
    }
    let memory = extension.slot_memory_bytes;
    let request = Request::SignOn {
        worker: worker.id,
        task_types: task_types(&body.supported_task_types),
        can_restart: body.can_restart,
        protocol,
        slots: extension.slots.max(1),
        held: extension
            .held_attempts
            .iter()
            .filter_map(|id| id.parse().ok())
            .collect(),
        detail: WorkerDetail {
            name: body.name,
            address: worker.address.clone(),
            software: body.software_version,
        },
    };
    let answer = ask(engine, &worker, request).await?;
    let request = Request::NoteMemory {
        worker: worker.id,
        bytes: memory,
    };
    ask(engine, &worker, request).await?;
    let status = match answer {
        Answer::StartAs(status) => status,
        Answer::Done | Answer::Job(_) | Answer::Assigned { .. } | Answer::NoTask | Answer::Late => {
            WorkerStatus::Awake
        }
    };
    let mut body = json!({ "status_requested": status.name() });
    if protocol == Protocol::Tablao {
        body["tablao"] = json!({ "protocol": 1, "manager": node.manager().to_string() });
        // A worker that was started anew does not know that it was sick.
        let model = engine.model();
        if let Some((quarantine, _)) = model.quarantine(worker.id) {
            body["tablao"]["quarantine"] = json!(quarantine.cause.name());
        }
    }
    Ok(Json(body).into_response())
}

pub(super) async fn sign_off(
    State(node): State<SharedNode>,
    worker: WorkerIdentity,
) -> Result<StatusCode, Problem> {
    ask(
        engine(&node)?,
        &worker,
        Request::SignOff { worker: worker.id },
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn state(
    State(node): State<SharedNode>,
    worker: WorkerIdentity,
) -> Result<Response, Problem> {
    let engine = engine(&node)?;
    heard(engine, &worker, None).await;
    let pending = engine
        .model()
        .farm()
        .workers()
        .get(&worker.id)
        .and_then(|worker| worker.pending);
    Ok(match pending {
        Some(pending) => Json(json!({ "status_requested": pending.status.name() })).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    })
}

pub(super) async fn heard(engine: &Engine, worker: &WorkerIdentity, attempt: Option<AttemptId>) {
    let heard = Heard {
        worker: worker.id,
        attempt,
    };
    if let Err(error) = engine.heard(heard).await {
        stopped::<()>(error).await;
    }
}

#[derive(Deserialize)]
pub(super) struct StateChanged {
    status: WorkerStatus,
}

pub(super) async fn state_changed(
    State(node): State<SharedNode>,
    worker: WorkerIdentity,
    Body(body): Body<StateChanged>,
) -> Result<StatusCode, Problem> {
    let request = Request::WorkerStateChanged {
        worker: worker.id,
        status: body.status,
    };
    ask(engine(&node)?, &worker, request).await?;
    Ok(StatusCode::NO_CONTENT)
}
