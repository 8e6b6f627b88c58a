// SPDX-License-Identifier: GPL-3.0-or-later
//! Quarantine: what our own Workers say about their machines, and what people decide.
//!
//! A worker says by itself that it is sick and that it is well again; who keeps it from work for
//! another reason is not overruled by that.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use tablao_core::{JobId, Refusal, Request, WorkerId, event::QuarantineCause};
use utoipa::ToSchema;

use super::{
    problem::{Problem, ProblemBody, ProblemKind},
    request::{Body, Id},
};
use crate::{
    api::{
        actor::Sender,
        v3::{self, WorkerIdentity},
    },
    engine::{Ask, Engine},
    health::{self, Finding, Verdict},
    node::{Node, SharedNode},
};

/// How a worker's machine is.
#[derive(Deserialize, ToSchema)]
pub(super) struct HealthReport {
    /// The job in which it was found.
    #[schema(format = "uuid")]
    job: Option<String>,
    /// What is wrong; nothing if it is well.
    findings: Vec<Finding>,
}

/// What follows for the worker.
#[derive(Serialize, ToSchema)]
pub(super) struct HealthAnswer {
    /// It gets no work; what it ran was given back.
    quarantined: bool,
    /// Why: `self-check`, `failures` or `person`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cause: Option<&'static str>,
    /// The job is to blame rather than the machine, or wants nothing any more: what was found is
    /// no reason to stop.
    go_on: bool,
}

/// A worker says what it found wrong with its machine, or that it is well (again).
#[utoipa::path(post, path = "/api/farm/v1/worker/health", tag = "worker", request_body = HealthReport,
    responses(
        (status = 200, description = "What follows", body = HealthAnswer),
        (status = 400, description = "The body is not understood", body = Object),
        (status = 403, description = "Not a worker that this Manager knows", body = Object),
        (status = 404, description = "Workers report to a Manager, not to the Server alone", body = Object),
    ))]
pub(super) async fn health(
    State(node): State<SharedNode>,
    worker: WorkerIdentity,
    v3::Body(report): v3::Body<HealthReport>,
) -> Result<Json<HealthAnswer>, v3::Problem> {
    let Some(engine) = &node.site else {
        return Err(v3::Problem::not_found("workers report to a Manager"));
    };
    let ask = |request| Ask::new(request, worker.actor(), worker.asker());
    let well = |id, reason: &str| Request::LiftQuarantine {
        worker: id,
        own_check_only: true,
        reason: reason.to_owned(),
    };
    let job: Option<JobId> = report.job.as_ref().and_then(|job| job.parse().ok());
    let mut go_on = false;
    let mut requests = Vec::new();
    if report.findings.is_empty() {
        node.health.is_well(worker.id);
        requests.push(well(
            worker.id,
            "its own check finds nothing wrong any more",
        ));
    } else {
        let (verdict, acquitted) = {
            let model = engine.model();
            (node.health).judge(model.farm(), worker.id, job, &report.findings)
        };
        match verdict {
            Verdict::Machine => requests.push(Request::QuarantineWorker {
                worker: worker.id,
                cause: QuarantineCause::SelfCheck,
                reason: health::in_words(&report.findings),
            }),
            Verdict::Job | Verdict::Nobody => {
                go_on = true;
                let why = if verdict == Verdict::Job {
                    "what it cannot reach is named by one job only, and others cannot reach it either"
                } else {
                    "the job that names what it cannot reach has ended"
                };
                tracing::info!(worker = %worker.id, found = health::in_words(&report.findings), why);
                requests.push(well(worker.id, why));
                requests.extend(acquitted.into_iter().map(|other| well(other, why)));
            }
        }
    }
    for request in requests {
        match engine.ask(ask(request)).await {
            Ok(reply) => {
                v3::settled(reply)?;
            }
            // The connection ends with the process, and the worker asks again.
            Err(_) => std::future::pending().await,
        }
    }
    let model = engine.model();
    let quarantine = model.quarantine(worker.id);
    Ok(Json(HealthAnswer {
        quarantined: quarantine.is_some(),
        cause: quarantine.map(|(facts, _)| facts.cause.name()),
        go_on,
    }))
}

/// Why a person does something to a worker.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    /// In words; others read it.
    #[serde(default)]
    reason: String,
}

fn unknown(worker: WorkerId) -> Problem {
    let detail = format!("no worker has the id {worker}");
    Problem::new(ProblemKind::UnknownWorker, detail)
}

/// Workers are changed at the Manager that they work for.
fn engine(node: &Node, worker: WorkerId) -> Result<&Engine, Problem> {
    let has = |view: &crate::view::View| view.read().worker(worker).is_some();
    let view = (node.sites().into_iter().find(has)).ok_or_else(|| unknown(worker))?;
    let own = (node.site.as_ref()).filter(|engine| engine.view().manager == view.manager);
    own.ok_or_else(|| {
        let detail = format!("worker {worker} works for Manager {}", view.manager);
        Problem::new(ProblemKind::WorkerElsewhere, detail)
    })
}

async fn decided(
    node: &Node,
    worker: WorkerId,
    sender: Sender,
    request: Request,
) -> Result<StatusCode, Problem> {
    let ask = Ask::new(request, sender.actor, sender.asker);
    match engine(node, worker)?.ask(ask).await {
        Ok(Ok(_)) => Ok(StatusCode::NO_CONTENT),
        Ok(Err(Refusal::UnknownWorker { worker })) => Err(unknown(worker)),
        Ok(Err(refusal)) => Err(Problem::new(ProblemKind::NotNow, refusal.to_string())),
        Err(_) => std::future::pending().await,
    }
}

/// Keeps a worker from work until somebody releases it. What it runs is given back at once.
#[utoipa::path(post, path = "/api/farm/v1/workers/{worker}/quarantine", tag = "workers",
    params(("worker" = String, Path, description = "The worker's id", format = "uuid")),
    request_body = Why,
    responses(
        (status = 204, description = "It is in quarantine"),
        (status = 400, description = "The id is malformed, or the body is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such worker, or another Manager's", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn quarantine(
    State(node): State<SharedNode>,
    sender: Sender,
    Id(worker): Id<WorkerId>,
    Body(why): Body<Why>,
) -> Result<StatusCode, Problem> {
    let reason = if why.reason.trim().is_empty() {
        "somebody wanted it and gave no reason".to_owned()
    } else {
        why.reason
    };
    let request = Request::QuarantineWorker {
        worker,
        cause: QuarantineCause::Person,
        reason,
    };
    decided(&node, worker, sender, request).await
}

/// Takes a worker out of quarantine, whatever brought it there. Its own check looks again before
/// its next task.
#[utoipa::path(post, path = "/api/farm/v1/workers/{worker}/release", tag = "workers",
    params(("worker" = String, Path, description = "The worker's id", format = "uuid")),
    request_body = Why,
    responses(
        (status = 204, description = "It is not in quarantine (any more)"),
        (status = 400, description = "The id is malformed, or the body is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such worker, or another Manager's", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn release(
    State(node): State<SharedNode>,
    sender: Sender,
    Id(worker): Id<WorkerId>,
    Body(why): Body<Why>,
) -> Result<StatusCode, Problem> {
    let request = Request::LiftQuarantine {
        worker,
        own_check_only: false,
        reason: why.reason,
    };
    decided(&node, worker, sender, request).await
}
