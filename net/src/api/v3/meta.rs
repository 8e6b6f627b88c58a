// SPDX-License-Identifier: GPL-3.0-or-later
//! About the Manager itself: version and farm status. Its configuration: `configuration`.

use axum::{Json, extract::State};
use serde_json::{Value, json};

use crate::node::SharedNode;

pub(super) async fn version(State(node): State<SharedNode>) -> Json<Value> {
    let build = env!("CARGO_PKG_VERSION");
    let in_force = node.in_force();
    let config = &in_force.config;
    Json(json!({
        "version": format!("{} (Tablao {build})", config.shortversion),
        "shortversion": config.shortversion,
        "name": config.manager_name,
        "git": format!("tablao-{build}"),
    }))
}

pub(super) async fn status(State(node): State<SharedNode>) -> Json<Value> {
    Json(json!({ "status": crate::live::farm_status(&node.sites()) }))
}
