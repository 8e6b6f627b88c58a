// SPDX-License-Identifier: GPL-3.0-or-later
//! The routes of this API together with their document: OpenAPI 3.1, generated from the handlers.

use std::sync::OnceLock;

use axum::Json;
use serde_json::Value;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    attempts, deletion, doctor, events, frame_care, frames, jobs, logs, managers, preview,
    quarantine, regenerate, requeue, shots, state, tasks, worker, workers,
};
use crate::node::SharedNode;

#[derive(OpenApi)]
#[openapi(info(
    title = "Tablao farm API",
    description = "What a farm does and did: jobs, tasks, attempts, workers, frames, shots, and the events that changed them. \
        Lists page by cursor; cursors and positions are opaque. Optional fields are left out, never null; objects are open.",
    license(name = "GPL-3.0-or-later", identifier = "GPL-3.0-or-later"),
))]
struct Document;

/// Every route under `/api/farm/v1`; what is not listed here is neither served nor documented.
pub(super) fn routes() -> OpenApiRouter<SharedNode> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::show))
        .routes(routes!(deletion::restore))
        .routes(routes!(deletion::purge))
        .routes(routes!(regenerate::regenerate))
        .routes(routes!(requeue::of_job))
        .routes(routes!(requeue::of_task))
        .routes(routes!(tasks::of_job))
        .routes(routes!(tasks::show))
        .routes(routes!(attempts::of_task))
        .routes(routes!(logs::show))
        .routes(routes!(workers::list))
        .routes(routes!(workers::show))
        .routes(routes!(quarantine::quarantine))
        .routes(routes!(quarantine::release))
        .routes(routes!(quarantine::health))
        .routes(routes!(doctor::doctor))
        .routes(routes!(frames::list))
        .routes(routes!(shots::list))
        .routes(routes!(frames::of_shot))
        .routes(routes!(preview::preview))
        .routes(routes!(frame_care::verify_shot))
        .routes(routes!(frame_care::verify_job))
        .routes(routes!(frame_care::rerender_shot))
        .routes(routes!(frame_care::rerender_job))
        .routes(routes!(managers::list))
        .routes(routes!(state::digest))
        .routes(routes!(state::segments))
        .routes(routes!(events::events))
        .routes(routes!(worker::thumbnail))
        .routes(routes!(document))
}

/// This document.
#[utoipa::path(get, path = "/api/farm/v1/openapi.json", tag = "meta", responses(
    (status = 200, description = "This document", body = Object),
))]
async fn document() -> Json<&'static Value> {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    Json(DOCUMENT.get_or_init(|| {
        let document = routes().into_openapi();
        serde_json::to_value(document).expect("a document of our own making is JSON")
    }))
}
