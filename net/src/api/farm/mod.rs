// SPDX-License-Identifier: GPL-3.0-or-later
//! Our own API, `/api/farm/v1`: consistent nouns, cursors, filters, problem+json.

mod worker;

use axum::{Router, routing::post};

use crate::node::SharedNode;

/// Routes under `/api/farm/v1`.
pub fn router(_node: &SharedNode) -> Router<SharedNode> {
    Router::new().route(
        "/api/farm/v1/worker/thumbnails/{shot}/{file}",
        post(worker::thumbnail),
    )
}
