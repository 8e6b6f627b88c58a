// SPDX-License-Identifier: GPL-3.0-or-later
//! For machines that watch machines, and static files: health, readiness, metrics, pictures.

use std::fmt::Write as _;

use axum::{
    Router,
    extract::{Path, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tablao_core::{JobId, JobStatus, TaskId, TaskStatus, WorkerStatus};

use crate::{node::SharedNode, previews::Previews};

/// Routes outside the APIs.
pub fn router(_node: &SharedNode) -> Router<SharedNode> {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/thumbnails/{shot}/{file}", get(thumbnail))
        .route("/job-files/{prefix}/{job}/{file}", get(job_file))
}

/// Ready: journals are recovered, views are folded, and the journals can be written.
async fn ready(State(node): State<SharedNode>) -> Response {
    let engines = node.site.iter().chain([&node.control]);
    for engine in engines {
        if let Some(failure) = engine.failure().borrow().as_ref() {
            let text = format!("the journal cannot be written: {failure}\n");
            return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
        }
    }
    "ready\n".into_response()
}

async fn metrics(State(node): State<SharedNode>) -> Response {
    let mut text = String::new();
    let mut gauge = |name: &str, help: &str, rows: Vec<(String, u64)>| {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "# HELP tablao_{name} {help}\n# TYPE tablao_{name} gauge"
        );
        for (labels, value) in rows {
            let _ = writeln!(text, "tablao_{name}{labels} {value}");
        }
    };
    let uptime = node.started.elapsed().as_secs();
    gauge(
        "uptime_seconds",
        "Seconds since the process started.",
        vec![(String::new(), uptime)],
    );
    let mut positions = vec![(
        "{journal=\"control\"}".to_owned(),
        node.control.view().at().get(),
    )];
    let mut jobs = Vec::new();
    let mut tasks = Vec::new();
    let mut workers = Vec::new();
    let mut quarantined = Vec::new();
    let mut frames = Vec::new();
    for site in node.sites() {
        let manager = site.manager;
        positions.push((
            format!("{{journal=\"site\",manager=\"{manager}\"}}"),
            site.at().get(),
        ));
        let model = site.read();
        let farm = model.farm();
        let labels = |status: &str| format!("{{manager=\"{manager}\",status=\"{status}\"}}");
        for status in JobStatus::ALL {
            let count = farm
                .jobs()
                .values()
                .filter(|job| job.state.status == *status)
                .count();
            jobs.push((labels(status.name()), count as u64));
        }
        for status in TaskStatus::ALL {
            let count: u64 = farm
                .jobs()
                .values()
                .map(|job| u64::from(job.counts.of(*status)))
                .sum();
            tasks.push((labels(status.name()), count));
        }
        for status in WorkerStatus::ALL {
            let count = farm
                .workers()
                .values()
                .filter(|worker| !worker.deleted && worker.status == Some(*status))
                .count();
            workers.push((labels(status.name()), count as u64));
        }
        let sick = (farm.workers().values())
            .filter(|worker| !worker.deleted && worker.quarantined)
            .count();
        quarantined.push((format!("{{manager=\"{manager}\"}}"), sick as u64));
        frames.push((
            format!("{{manager=\"{manager}\"}}"),
            farm.frames().len() as u64,
        ));
    }
    gauge("journal_position", "Last durable position.", positions);
    gauge("jobs", "Jobs by status.", jobs);
    gauge("tasks", "Tasks by status.", tasks);
    gauge("workers", "Workers by status.", workers);
    gauge("workers_quarantined", "Workers in quarantine.", quarantined);
    gauge("frames", "Published frames.", frames);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// A name that stays within its folder.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0', ':'])
}

async fn picture(path: std::path::PathBuf) -> Response {
    let kind = match path.extension().and_then(|extension| extension.to_str()) {
        Some("png") => "image/png",
        _ => "image/jpeg",
    };
    match tokio::fs::read(&path).await {
        Ok(bytes) => (
            [
                (header::CONTENT_TYPE, kind),
                (header::CACHE_CONTROL, "no-cache"),
            ],
            bytes,
        )
            .into_response(),
        Err(_) => (StatusCode::NOT_FOUND, "there is no such picture\n").into_response(),
    }
}

async fn thumbnail(
    State(node): State<SharedNode>,
    Path((shot, file)): Path<(String, String)>,
) -> Response {
    if shot.parse::<tablao_core::ShotId>().is_err() || !is_plain(&file) {
        return StatusCode::NOT_FOUND.into_response();
    }
    picture(node.data.path("thumbnails").join(shot).join(file)).await
}

async fn job_file(
    State(node): State<SharedNode>,
    Path((prefix, job, file)): Path<(String, String, String)>,
) -> Response {
    if ![&prefix, &job, &file]
        .into_iter()
        .all(|name| is_plain(name))
    {
        return StatusCode::NOT_FOUND.into_response();
    }
    match task_of_log(&file) {
        Some(task) => task_log(&node, &prefix, &job, task).await,
        None => picture(node.previews.folder().join(prefix).join(job).join(file)).await,
    }
}

/// The task whose log has this name, as Flamenco names logs.
fn task_of_log(file: &str) -> Option<TaskId> {
    let name = file.strip_prefix("task-")?.strip_suffix(".txt")?;
    name.parse().ok()
}

/// Bytes of a log that are read at once.
const LOG_PART_BYTES: u64 = 256 << 10;

/// The whole log of a task, piece by piece: it may be longer than memory has room for.
async fn task_log(node: &SharedNode, prefix: &str, job: &str, task: TaskId) -> Response {
    let nothing = || (StatusCode::NOT_FOUND, "there is no such log\n").into_response();
    let Ok(job) = job.parse::<JobId>() else {
        return nothing();
    };
    if Previews::relative(job) != format!("{prefix}/{job}") {
        return nothing();
    }
    let logs = node.logs.clone();
    let read = move |offset: u64| {
        let logs = logs.clone();
        tokio::task::spawn_blocking(move || logs.read(job, task, offset, LOG_PART_BYTES))
    };
    let first = match read(0).await {
        Ok(Ok(part)) if part.size > 0 => part,
        _ => return nothing(),
    };
    // What comes in meanwhile is not of this answer: its length has been told.
    let size = first.size;
    let parts = futures_util::stream::try_unfold((first.bytes, 0_u64), move |(bytes, offset)| {
        let read = read.clone();
        async move {
            if bytes.is_empty() {
                return Ok(None);
            }
            let offset = offset + bytes.len() as u64;
            let next = if offset < size {
                let part = read(offset).await.map_err(std::io::Error::other)??;
                let left = usize::try_from(size - offset).unwrap_or(usize::MAX);
                let mut bytes = part.bytes;
                bytes.truncate(left);
                bytes
            } else {
                Vec::new()
            };
            Ok::<_, std::io::Error>(Some((bytes::Bytes::from(bytes), (next, offset))))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
        (header::CONTENT_LENGTH, size.to_string()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
    ];
    (headers, axum::body::Body::from_stream(parts)).into_response()
}
