// SPDX-License-Identifier: GPL-3.0-or-later
//! Following a job to its end, and telling why it failed. Through the Flamenco API, so that it
//! works with any Manager.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{
    client::{Farm, PATIENCE},
    exit::{Code, Exit},
    progress::Progress,
};

/// Often enough to look alive, seldom enough to cost a Manager nothing.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// How many failed tasks are told about.
const FAILED_TASKS_TOLD: usize = 3;
/// How much of a log.
const LOG_LINES_TOLD: usize = 20;

/// How a job ended.
pub(crate) struct Ended {
    /// The job at its end.
    pub(crate) job: Value,
}

impl Ended {
    pub(crate) fn status(&self) -> &str {
        self.job["status"].as_str().unwrap_or_default()
    }

    pub(crate) fn is_completed(&self) -> bool {
        self.status() == "completed"
    }
}

/// Follows a job until it ends. A Manager that restarts is waited for.
pub(crate) async fn follow(farm: &Farm, job: &str, unit: &'static str) -> anyhow::Result<Ended> {
    let mut progress = Progress::new(unit);
    let mut silent_since: Option<Instant> = None;
    let mut shown_status = String::new();
    let ended = loop {
        match farm.get(&format!("/api/v3/jobs/{job}"), &[]).await {
            Ok(found) => {
                if silent_since.take().is_some() {
                    progress.note("the farm answers again");
                }
                let status = found["status"].as_str().unwrap_or_default();
                if status != shown_status && (status == "paused" || status == "cancel-requested") {
                    progress.note(&format!("the job is {status}"));
                }
                status.clone_into(&mut shown_status);
                let number = |name: &str| found[name].as_u64().unwrap_or(0);
                progress.set(number("steps_completed"), number("steps_total"), status);
                if matches!(status, "completed" | "failed" | "canceled") {
                    break Ended { job: found };
                }
            }
            Err(error) if is_unreachable(&error) => {
                let since = *silent_since.get_or_insert_with(|| {
                    progress.note("the farm does not answer; waiting for it");
                    Instant::now()
                });
                if since.elapsed() > PATIENCE {
                    progress.finish();
                    return Err(error);
                }
            }
            Err(error) => {
                progress.finish();
                return Err(error);
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    progress.finish();
    Ok(ended)
}

fn is_unreachable(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<Exit>()
        .is_some_and(|exit| exit.code == Code::Unreachable)
}

/// Why a job did not complete, in words: its own reason, its failed tasks', the ends of their
/// logs.
pub(crate) async fn why_not_completed(farm: &Farm, ended: &Ended) -> String {
    let id = ended.job["id"].as_str().unwrap_or_default();
    let mut words = format!("job {id} is {}", ended.status());
    if let Some(activity) = ended.job["activity"]
        .as_str()
        .filter(|text| !text.is_empty())
    {
        words.push_str(": ");
        words.push_str(activity);
    }
    let listed = farm.get(&format!("/api/v3/jobs/{id}/tasks"), &[]).await;
    let tasks = listed
        .ok()
        .and_then(|body| body["tasks"].as_array().cloned());
    let failed: Vec<Value> = tasks
        .unwrap_or_default()
        .into_iter()
        .filter(|task| matches!(task["status"].as_str(), Some("failed" | "soft-failed")))
        .collect();
    for task in failed.iter().take(FAILED_TASKS_TOLD) {
        let id = task["id"].as_str().unwrap_or_default();
        let name = task["name"].as_str().unwrap_or_default();
        let shown = farm.get(&format!("/api/v3/tasks/{id}"), &[]).await;
        let activity = shown
            .ok()
            .and_then(|task| task["activity"].as_str().map(str::to_owned));
        words.push_str(&format!(
            "\n  task {name} ({id}): {}",
            activity.unwrap_or_default()
        ));
        let log = farm.text(&format!("/api/v3/tasks/{id}/logtail"), &[]).await;
        let log = log.unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        for line in &lines[lines.len().saturating_sub(LOG_LINES_TOLD)..] {
            words.push_str("\n    | ");
            words.push_str(line);
        }
    }
    if failed.len() > FAILED_TASKS_TOLD {
        words.push_str(&format!(
            "\n  and {} more failed tasks",
            failed.len() - FAILED_TASKS_TOLD
        ));
    }
    words
}
