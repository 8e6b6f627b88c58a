// SPDX-License-Identifier: GPL-3.0-or-later
//! The HTTP surfaces: Flamenco's, our own, the static files, and what they share.

pub mod actor;
pub mod dashboard;
pub mod farm;
pub mod replication;
pub mod system;
pub mod v3;

use axum::Router;

use crate::node::SharedNode;

/// Every route of a Server or Manager.
pub fn router(node: SharedNode) -> Router {
    Router::new()
        .merge(v3::router(&node))
        .merge(farm::router(&node))
        .merge(replication::router())
        .merge(system::router(&node))
        .merge(dashboard::router())
        .merge(crate::live::router(&node))
        .merge(crate::discovery::router())
        .with_state(node)
}
