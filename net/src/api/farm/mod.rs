// SPDX-License-Identifier: GPL-3.0-or-later
//! Our own API, `/api/farm/v1`: consistent nouns, cursors, filters, problem+json.
//!
//! One file per noun; each presents what it reads from the models at the durable position.
//! Changes are made through `/api/v3`. The document of the API comes out of the same routes.

mod asked;
mod attempts;
mod changing;
mod deletion;
mod doctor;
mod etag;
mod event_json;
mod events;
pub(crate) mod feed;
mod filter;
mod frame_care;
mod frames;
mod jobs;
mod logs;
mod managers;
mod named;
mod openapi;
mod page;
mod preview;
mod problem;
mod quarantine;
mod regenerate;
mod request;
mod requeue;
mod shots;
mod state;
mod tasks;
mod worker;
mod workers;

use axum::{Router, http::Uri, routing::any};

use crate::node::SharedNode;
use problem::{Problem, ProblemKind};

/// Routes under `/api/farm/v1`.
pub fn router(_node: &SharedNode) -> Router<SharedNode> {
    let (router, _) = openapi::routes().split_for_parts();
    router
        .method_not_allowed_fallback(|| async {
            Problem::new(
                ProblemKind::MethodNotAllowed,
                "this address does not take that method",
            )
        })
        .route("/api/farm/v1", any(unknown_route))
        .route("/api/farm/v1/{*rest}", any(unknown_route))
}

async fn unknown_route(uri: Uri) -> Problem {
    let detail = format!("{} is no address of this API", uri.path());
    Problem::new(ProblemKind::UnknownRoute, detail)
}
