// SPDX-License-Identifier: GPL-3.0-or-later
//! `doctor`: what the Manager finds when it looks at itself and its Workers.

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    problem::Problem,
    request::{Nothing, Query},
};
use crate::{
    clock,
    doctor::{self, Check},
    node::SharedNode,
};

/// All that was looked at.
#[derive(Serialize, ToSchema)]
pub(super) struct Examination {
    /// The Manager that looked.
    #[schema(format = "uuid")]
    manager: String,
    /// Its name.
    name: String,
    /// When, by its own clock.
    #[schema(format = "date-time")]
    at: String,
    checks: Vec<Check>,
}

/// Looks at journals, storage, disks, clocks, programs, scripts and workers. Takes a second or so:
/// programs are started, and a file is made in the shared storage and removed.
#[utoipa::path(get, path = "/api/farm/v1/doctor", tag = "meta", responses(
    (status = 200, description = "What was found", body = Examination),
))]
pub(super) async fn doctor(
    State(node): State<SharedNode>,
    Query(Nothing {}): Query<Nothing>,
) -> Result<Json<Examination>, Problem> {
    let checks = doctor::look(&node).await;
    Ok(Json(Examination {
        manager: node.manager().to_string(),
        name: node.in_force().config.manager_name.clone(),
        at: clock::rfc3339(clock::now()),
        checks,
    }))
}
