// SPDX-License-Identifier: GPL-3.0-or-later
//! `jobs/{id}/restore` and `jobs/{id}/purge`: what Flamenco's API has no words for, because there
//! a deletion cannot be taken back.

use axum::{extract::State, http::StatusCode};
use tablao_core::{JobId, Request};

use super::{
    changing::{engine, refused},
    problem::{Problem, ProblemBody},
    request::Id,
};
use crate::{api::actor::Sender, deletion, engine::Ask, node::SharedNode};

fn ask(sender: Sender, request: Request) -> Ask {
    Ask::new(request, sender.actor, sender.asker)
}

/// Takes a job's mark for deletion back. It stays as the deletion left it: what ran was canceled.
#[utoipa::path(post, path = "/api/farm/v1/jobs/{job}/restore", tag = "jobs",
    params(("job" = String, Path, description = "The job's id", format = "uuid")),
    responses(
        (status = 204, description = "It is not marked for deletion (any more)"),
        (status = 400, description = "The id is malformed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such job, or another Manager's", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn restore(
    State(node): State<SharedNode>,
    sender: Sender,
    Id(job): Id<JobId>,
) -> Result<StatusCode, Problem> {
    let engine = engine(&node, job)?;
    let ask = ask(sender, Request::RestoreJob { job });
    match deletion::restore(&node, engine, ask).await {
        Ok(Ok(_)) => Ok(StatusCode::NO_CONTENT),
        Ok(Err(refusal)) => Err(refused(&refusal)),
        Err(_) => std::future::pending().await,
    }
}

/// Removes a job that is marked for deletion at once and for good, with its logs, its thumbnails
/// and its checkout. Its frames stay on the disk, its history in the journal.
#[utoipa::path(post, path = "/api/farm/v1/jobs/{job}/purge", tag = "jobs",
    params(("job" = String, Path, description = "The job's id", format = "uuid")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 400, description = "The id is malformed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such job, or another Manager's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It is not marked, or some of its tasks still run", body = ProblemBody, content_type = "application/problem+json"),
        (status = 500, description = "Some file of it cannot be removed", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn purge(
    State(node): State<SharedNode>,
    sender: Sender,
    Id(job): Id<JobId>,
) -> Result<StatusCode, Problem> {
    let engine = engine(&node, job)?;
    let ask = ask(sender, Request::PurgeJob { job });
    match deletion::purge(&node, engine, job, ask).await {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(deletion::Error::Refused(refusal)) => Err(refused(&refusal)),
        Err(deletion::Error::Stopped(_)) => std::future::pending().await,
        Err(error) => Err(Problem::unreadable("remove the files of a job", &error)),
    }
}
