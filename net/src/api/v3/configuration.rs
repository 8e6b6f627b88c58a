// SPDX-License-Identifier: GPL-3.0-or-later
//! The configuration over HTTP, in Flamenco's shapes: what clients and submission read of it, the
//! whole file, and the set-up assistant. What is right and wrong is `config`'s and `setup`'s.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Body, Problem};
use crate::{
    Error,
    api::actor::Sender,
    config::flamenco,
    node::SharedNode,
    setup::{self, BlenderCheck, Choice, PathCheck, check_blender, check_storage, find_blender},
    variables::Audience,
};

/// A share that hangs must not keep somebody waiting for ever.
const STORAGE_TIME_MAX: Duration = Duration::from_secs(15);

pub(super) async fn configuration(State(node): State<SharedNode>) -> Json<Value> {
    // What is wrong with a changed file is in the answer.
    let _ = node.reload_config().await;
    let in_force = node.in_force();
    let mut answer = json!({
        "storageLocation": in_force.storage(),
        "shamanEnabled": in_force.shaman.is_some(),
        "isFirstRun": in_force.config.is_first_run(),
    });
    if let Some(problem) = node.settings.broken() {
        answer["problem"] = problem.into();
    }
    Json(answer)
}

pub(super) async fn file(State(node): State<SharedNode>) -> Json<Value> {
    let in_force = node.in_force();
    Json(flamenco::shown(&in_force.config, node.data.root()))
}

pub(super) async fn put_file(
    State(node): State<SharedNode>,
    sender: Sender,
    Body(given): Body<Map<String, Value>>,
) -> Result<StatusCode, Problem> {
    let data = node.data.root().to_owned();
    let change = move |edited: &mut _| flamenco::take(edited, &given, &data);
    let changed = node.change_config(sender.actor, sender.asker, change).await;
    match changed {
        Ok(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Ok(Err(what)) => Err(Problem::bad_request(format!("nothing was saved: {what}"))),
        Err(error) => Err(unsaved(&error)),
    }
}

/// A file that a person broke is a conflict with what they did; anything else is ours.
fn unsaved(error: &Error) -> Problem {
    let words = format!(
        "the configuration was not saved: {}",
        crate::shaman::causes(error)
    );
    tracing::warn!("{words}");
    let status = match error {
        Error::Configuration { .. } => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Problem::new(status, words)
}

#[derive(Deserialize)]
pub(super) struct PathInput {
    path: String,
}

pub(super) async fn check_shared_storage(
    State(node): State<SharedNode>,
    Body(body): Body<PathInput>,
) -> Json<PathCheck> {
    let (path, data) = (body.path.clone(), node.data.root().to_owned());
    let look = tokio::task::spawn_blocking(move || check_storage(&path, &data));
    let checked = match tokio::time::timeout(STORAGE_TIME_MAX, look).await {
        Ok(Ok(checked)) => checked,
        Ok(Err(error)) => unusable(body.path, format!("it cannot be looked at: {error}")),
        Err(_) => unusable(
            body.path,
            "its file system does not answer: is the server of the share running?".to_owned(),
        ),
    };
    Json(checked)
}

fn unusable(path: String, cause: String) -> PathCheck {
    PathCheck {
        path,
        is_usable: false,
        cause,
    }
}

pub(super) async fn blenders() -> Json<Vec<BlenderCheck>> {
    Json(find_blender().await)
}

pub(super) async fn check_one_blender(Body(body): Body<PathInput>) -> Json<BlenderCheck> {
    Json(check_blender(&body.path).await)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SetupAssistant {
    storage_location: String,
    blender_executable: BlenderCheck,
}

pub(super) async fn save_setup(
    State(node): State<SharedNode>,
    sender: Sender,
    Body(body): Body<SetupAssistant>,
) -> Result<StatusCode, Problem> {
    let data = node.data.root().to_owned();
    let change = move |edited: &mut _| {
        let choice = Choice::new(&body.storage_location, &body.blender_executable, &data)?;
        setup::choose(edited, &choice);
        Ok(())
    };
    let changed = node.change_config(sender.actor, sender.asker, change).await;
    match changed {
        Ok(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Ok(Err(what)) => Err(Problem::bad_request(what)),
        Err(error) => Err(unsaved(&error)),
    }
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
    let in_force = node.in_force();
    let resolved = in_force.variables(audience(&for_whom)?, &platform);
    Ok(Json(json!({
        "location": resolved.expand(in_force.storage()),
        "audience": for_whom,
        "platform": platform,
        "shamanEnabled": in_force.shaman.is_some(),
    })))
}
