// SPDX-License-Identifier: GPL-3.0-or-later
//! What a farm as a whole is doing, in Flamenco's words. Nothing is kept: it is worked out from
//! the models when somebody asks, or when something changed that it depends on.

use tablao_core::{JobStatus, WorkerStatus};

use crate::view::View;

/// Before the first look.
pub(crate) const STARTING: &str = "starting";

/// First match wins, as documented for Flamenco.
pub(crate) fn of(sites: &[View]) -> &'static str {
    let (mut any_active, mut any_queued) = (false, false);
    let (mut present, mut awake, mut asleep) = (false, false, false);
    for site in sites {
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
    if !present {
        "inoperative"
    } else if any_active && awake {
        "active"
    } else if any_active || any_queued {
        "waiting"
    } else if !awake && asleep {
        "asleep"
    } else {
        "idle"
    }
}
