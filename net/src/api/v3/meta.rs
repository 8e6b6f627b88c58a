// SPDX-License-Identifier: GPL-3.0-or-later
//! About the Manager itself: version and farm status. Its configuration: `configuration`.

use axum::{Json, extract::State};
use serde_json::{Value, json};
use tablao_core::{JobStatus, WorkerStatus};

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

/// First match wins, as documented for Flamenco.
pub(super) async fn status(State(node): State<SharedNode>) -> Json<Value> {
    let (mut any_active, mut any_queued) = (false, false);
    let (mut present, mut awake, mut asleep) = (false, false, false);
    for site in node.sites() {
        let model = site.read();
        let farm = model.farm();
        for job in farm.jobs().values() {
            any_active |= job.state.status == JobStatus::Active;
            any_queued |= job.state.status == JobStatus::Queued;
        }
        for worker in farm.workers().values().filter(|worker| !worker.deleted) {
            present |= !matches!(
                worker.status,
                None | Some(WorkerStatus::Offline | WorkerStatus::Error)
            );
            awake |= worker.status == Some(WorkerStatus::Awake);
            asleep |= worker.status == Some(WorkerStatus::Asleep);
        }
    }
    let status = if !present {
        "inoperative"
    } else if any_active && awake {
        "active"
    } else if any_active || any_queued {
        "waiting"
    } else if !awake && asleep {
        "asleep"
    } else {
        "idle"
    };
    Json(json!({ "status": status }))
}
