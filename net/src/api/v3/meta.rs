// SPDX-License-Identifier: GPL-3.0-or-later
//! About the Manager itself: version, farm status, and the parts of the configuration that
//! submission and clients read.

use axum::{
    Json,
    extract::{Path, State},
};
use serde_json::{Map, Value, json};

use super::Problem;
use crate::{node::SharedNode, variables::Audience};

pub(super) async fn version(State(node): State<SharedNode>) -> Json<Value> {
    let build = env!("CARGO_PKG_VERSION");
    Json(json!({
        "version": format!("{} (Tablao {build})", node.config.shortversion),
        "shortversion": node.config.shortversion,
        "name": node.config.manager_name,
        "git": format!("tablao-{build}"),
    }))
}

pub(super) async fn status(State(node): State<SharedNode>) -> Json<Value> {
    Json(json!({ "status": crate::live::farm_status(&node.sites()) }))
}

pub(super) async fn configuration(State(node): State<SharedNode>) -> Json<Value> {
    let storage = node.storage();
    Json(json!({
        "storageLocation": storage,
        "shamanEnabled": node.shaman.is_some(),
        "isFirstRun": node.config.shared_storage_path.as_os_str().is_empty(),
    }))
}

fn audience(name: &str) -> Result<Audience, Problem> {
    match name {
        "workers" => Ok(Audience::Workers),
        "users" => Ok(Audience::Users),
        other => Err(Problem::bad_request(format!(
            "unknown audience {other:?}: it is workers or users"
        ))),
    }
}

pub(super) async fn variables(
    State(node): State<SharedNode>,
    Path((for_whom, platform)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let resolved = node.variables(audience(&for_whom)?, &platform);
    let map: Map<String, Value> = resolved
        .values
        .iter()
        .map(|(name, (value, is_twoway))| {
            (
                name.clone(),
                json!({ "value": value, "is_twoway": is_twoway }),
            )
        })
        .collect();
    Ok(Json(Value::Object(map)))
}

pub(super) async fn shared_storage(
    State(node): State<SharedNode>,
    Path((for_whom, platform)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let resolved = node.variables(audience(&for_whom)?, &platform);
    Ok(Json(json!({
        "location": resolved.expand(&node.storage()),
        "audience": for_whom,
        "platform": platform,
        "shamanEnabled": node.shaman.is_some(),
    })))
}
