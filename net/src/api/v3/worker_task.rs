// SPDX-License-Identifier: GPL-3.0-or-later
//! What Workers call about tasks: asking for one, reporting, may-I-run, previews.
//!
//! These never answer 5xx: a Flamenco worker fails its task on any code but 204 and 409.
//! Extension fields under `tablao` are our own worker's; Flamenco's leaves them out.

use std::time::Duration;

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::json;
use tablao_core::{
    Answer, AttemptId, Refusal, Request, TaskId, TaskStatus, WorkerId,
    detail::FrameDetail,
    entity::{AttemptState, FrameKey, Protocol},
    event::{FailureClass, frame_flags},
    request::{FailureReport, FrameReport, Report},
};

use super::{
    Body, Problem, WorkerIdentity,
    assigned::AssignedTask,
    error::stopped,
    findings::{self, FindingJson},
    worker::{ask, engine, heard, settled},
};
use crate::{
    clock,
    engine::{Ask, Engine},
    foreign_frames,
    node::SharedNode,
};

/// A worker may wait this long for a task, in seconds.
const WAIT_S_MAX: u64 = 50;
/// Words of a worker that become an activity are cut to this many bytes.
const ACTIVITY_BYTES_MAX: usize = 16 << 10;

/// Seconds that a client is ready to wait, from `Prefer: wait=N` (RFC 7240).
fn preferred_wait(headers: &HeaderMap) -> Duration {
    let seconds = headers
        .get_all("prefer")
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|part| part.trim().strip_prefix("wait=")?.parse().ok())
        .unwrap_or(0);
    Duration::from_secs(u64::min(seconds, WAIT_S_MAX))
}

pub(super) async fn task(
    State(node): State<SharedNode>,
    worker: WorkerIdentity,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let engine = engine(&node)?;
    let request = Request::AskForTask { worker: worker.id };
    let ask = Ask::new(request, worker.actor(), worker.asker());
    let reply = match engine.ask_patiently(ask, preferred_wait(&headers)).await {
        Ok(reply) => reply,
        Err(error) => stopped(error).await,
    };
    match settled(reply)? {
        Answer::Assigned { attempt, task, .. } => {
            let body = AssignedTask::of(&node, engine, worker.id, attempt, task);
            Ok(body.map_or_else(
                || StatusCode::NO_CONTENT.into_response(),
                |body| Json(body).into_response(),
            ))
        }
        Answer::Done | Answer::Job(_) | Answer::NoTask | Answer::StartAs(_) | Answer::Late => {
            Ok(StatusCode::NO_CONTENT.into_response())
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) struct TaskUpdate {
    #[serde(rename = "taskStatus")]
    task_status: Option<TaskStatus>,
    activity: Option<String>,
    log: Option<String>,
    steps_completed: Option<u32>,
    tablao: Option<UpdateExtension>,
}

#[derive(Deserialize, Default)]
struct UpdateExtension {
    attempt: Option<String>,
    log_offset: Option<u64>,
    #[serde(default)]
    frames: Vec<FrameJson>,
    #[serde(default)]
    findings: Vec<FindingJson>,
    failure: Option<FailureJson>,
    peak_memory_bytes: Option<u64>,
}

#[derive(Deserialize)]
struct FrameJson {
    number: i32,
    name: String,
    #[serde(default)]
    output: String,
    #[serde(default)]
    view: String,
    path: String,
    size: u64,
    hash: String,
    outcome: String,
    rendered_at: String,
    #[serde(default)]
    render_ms: u32,
    samples: Option<u32>,
    peak_memory_bytes: Option<u64>,
    #[serde(default)]
    blender_version: Option<String>,
    #[serde(default)]
    blend_hash: Option<String>,
    #[serde(default)]
    flags: Vec<String>,
}

#[derive(Deserialize)]
struct FailureJson {
    class: String,
    exit: Option<i32>,
    signal: Option<i32>,
}

fn failure(json: &FailureJson) -> FailureReport {
    let class = match json.class.as_str() {
        "process" => FailureClass::Process,
        "missing_output" => FailureClass::MissingOutput,
        "feature_missing" => FailureClass::FeatureMissing,
        "out_of_memory" => FailureClass::OutOfMemory,
        "bad_command" => FailureClass::BadCommand,
        "signal" => FailureClass::Signal,
        "io" => FailureClass::Io,
        "timeout" => FailureClass::Timeout,
        _ => FailureClass::Unknown,
    };
    FailureReport {
        class,
        exit: json.exit,
        signal: json.signal,
    }
}

fn frame(json: FrameJson, shot: tablao_core::ShotId) -> Result<FrameReport, Problem> {
    let hash = blake3::Hash::from_hex(&json.hash)
        .map_err(|_| Problem::bad_request("a frame's hash must be 64 hex digits of BLAKE3"))?;
    let rendered_at = clock::parse_rfc3339(&json.rendered_at)
        .ok_or_else(|| Problem::bad_request("a frame's rendered_at must be RFC 3339"))?;
    let flag = |name: &String| match name.as_str() {
        "unfenced" => frame_flags::UNFENCED,
        // Words of a later worker say nothing here.
        flaw => frame_flags::of_name(flaw).unwrap_or_default(),
    };
    let flags = json.flags.iter().map(flag).fold(0, |all, flag| all | flag);
    let blend_hash = json.blend_hash.as_deref();
    Ok(FrameReport {
        key: FrameKey {
            shot,
            output: json.output,
            view: json.view,
            number: json.number,
        },
        detail: FrameDetail {
            name: json.name,
            path: json.path,
            thumbnail: String::new(),
            blender_version: json.blender_version.unwrap_or_default(),
            blend_hash: blend_hash
                .and_then(|hash| blake3::Hash::from_hex(hash).ok())
                .map(|hash| *hash.as_bytes()),
        },
        size: json.size,
        hash: *hash.as_bytes(),
        rendered_at,
        render_ms: json.render_ms,
        samples: json.samples,
        peak_memory_bytes: json.peak_memory_bytes,
        flags,
        found: json.outcome == "found",
    })
}

pub(super) async fn task_update(
    State(node): State<SharedNode>,
    worker: WorkerIdentity,
    Path(task): Path<String>,
    Body(body): Body<TaskUpdate>,
) -> Result<StatusCode, Problem> {
    let engine = engine(&node)?;
    let task: TaskId = task
        .parse()
        .map_err(|_| Problem::bad_request("the task id is not a UUID"))?;
    if body.task_status == Some(TaskStatus::SoftFailed) {
        let refusal = Refusal::ReportedStatus {
            status: TaskStatus::SoftFailed,
        };
        return Err(refusal.into());
    }
    let extension = body.tablao.unwrap_or_default();
    let attempt: Option<AttemptId> = match &extension.attempt {
        Some(text) => Some(
            text.parse()
                .map_err(|_| Problem::bad_request("the attempt id is malformed"))?,
        ),
        None => None,
    };
    let activity = body.activity.map(|mut text| {
        let mut end = text.len().min(ACTIVITY_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text
    });
    // A mere change of status needs no look at the model: the engine knows the task.
    let mut frames = Vec::new();
    let (mut log, mut place) = (body.log, None);
    if log.is_some() || !extension.frames.is_empty() {
        let (job, shot, live) = {
            let model = engine.model();
            let view = model
                .task(task)
                .ok_or_else(|| Problem::from(Refusal::UnknownTask { task }))?;
            let facts = &view.job.state.facts;
            (facts.job, facts.shot, view.task.attempt)
        };
        frames = (extension.frames.into_iter())
            .map(|json| frame(json, shot))
            .collect::<Result<Vec<_>, _>>()?;
        place = Some((job, shot, live));
    }
    // A Flamenco worker tells of its frames in its log only.
    let mut found = Vec::new();
    if let (Some(text), Some((job, shot, live)), Protocol::Flamenco) =
        (&log, place, worker.protocol)
        && live.is_some_and(|live| is_own(engine, live, worker.id))
    {
        found = foreign_frames::find(&node, engine, &worker, (job, shot), text).await;
        frames.extend(found.iter().map(|found| found.report.clone()));
    }
    // Text goes to the log of the attempt that wrote it, before the report may end that attempt.
    if let Some((job, _, live)) = place
        && let Some(log) = log.take()
        && let Some(attempt) = attempt.or(live)
        && is_own(engine, attempt, worker.id)
    {
        let logs = node.logs.clone();
        let offset = extension.log_offset;
        let written = tokio::task::spawn_blocking(move || {
            let known = logs.append(job, task, attempt, offset, &log)?;
            Ok::<_, std::io::Error>((known, log))
        })
        .await;
        match written {
            Ok(Ok((known, log))) => node.live.log(task, log.get(known..).unwrap_or(&log)),
            other => tracing::warn!(%task, ?other, "write a task log"),
        }
    }
    let (status, words) = (body.task_status, activity.clone());
    let report = Report {
        worker: worker.id,
        task,
        attempt,
        status: body.task_status,
        activity,
        steps: body.steps_completed,
        frames,
        failure: extension.failure.as_ref().map(failure),
        peak_memory_bytes: extension.peak_memory_bytes,
    };
    let request = Request::Report {
        report: Box::new(report),
    };
    match ask(engine, &worker, request).await? {
        Answer::Late => Err(Refusal::NotAssigned { task }.into()),
        Answer::Done
        | Answer::Job(_)
        | Answer::Assigned { .. }
        | Answer::NoTask
        | Answer::StartAs(_) => {
            findings::note(engine, &worker, task, extension.findings).await;
            note_activity(&node, engine, (task, attempt), status, words);
            if !found.is_empty() {
                foreign_frames::make_thumbnails(&node, &worker, found);
            }
            Ok(StatusCode::NO_CONTENT)
        }
    }
}

/// Keeps what a worker says about its running task, for those who look.
fn note_activity(
    node: &SharedNode,
    engine: &Engine,
    (task, attempt): (TaskId, Option<AttemptId>),
    status: Option<TaskStatus>,
    words: Option<String>,
) {
    if !matches!(status, None | Some(TaskStatus::Active)) {
        node.activities.forget(task);
    } else if let Some(words) = words {
        let model = engine.model();
        let attempts = model.farm().attempts();
        let live = || model.task(task)?.task.attempt;
        if let Some(attempt) = attempt.or_else(live) {
            let is_live = |attempt| attempts.contains_key(&attempt);
            node.activities.note(task, attempt, words, is_live);
        }
    }
}

fn is_own(engine: &Engine, attempt: AttemptId, worker: WorkerId) -> bool {
    let model = engine.model();
    (model.farm().attempts().get(&attempt)).is_some_and(|attempt| attempt.worker == worker)
}

pub(super) async fn may_i_run(
    State(node): State<SharedNode>,
    worker: WorkerIdentity,
    Path(task): Path<String>,
) -> Result<Response, Problem> {
    let engine = engine(&node)?;
    let task: TaskId = task
        .parse()
        .map_err(|_| Problem::bad_request("the task id is not a UUID"))?;
    let (reason, status_change, attempt) = {
        let model = engine.model();
        let farm = model.farm();
        let pending = farm
            .workers()
            .get(&worker.id)
            .and_then(|worker| worker.pending);
        let immediate = pending.is_some_and(|pending| !pending.lazy);
        let live = farm
            .task(task)
            .and_then(|(_, task)| task.attempt)
            .and_then(|attempt| farm.attempts().get(&attempt));
        let reason = if immediate {
            "worker status change requested"
        } else {
            match live {
                None => "the task is not being run by anybody any more",
                Some(live) if live.worker != worker.id => "the task is not assigned to this worker",
                Some(live) if live.state == AttemptState::Stopping => "the task was asked to stop",
                Some(_) => "",
            }
        };
        let own = live
            .filter(|live| live.worker == worker.id)
            .map(|live| live.id);
        (reason, immediate, own)
    };
    // Only a positive answer renews the lease: a worker that is told to stop has to end.
    let renewed = if reason.is_empty() { attempt } else { None };
    heard(engine, &worker, renewed).await;
    Ok(Json(json!({
        "mayKeepRunning": reason.is_empty(),
        "reason": reason,
        "statusChangeRequested": status_change,
    }))
    .into_response())
}

pub(super) async fn output_produced(
    State(node): State<SharedNode>,
    worker: WorkerIdentity,
    Path(task): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<StatusCode, Problem> {
    let engine = engine(&node)?;
    let task: TaskId = task
        .parse()
        .map_err(|_| Problem::bad_request("the task id is not a UUID"))?;
    heard(engine, &worker, None).await;
    let job = {
        let model = engine.model();
        let view = model
            .task(task)
            .ok_or_else(|| Problem::from(Refusal::UnknownTask { task }))?;
        view.job.state.facts.job
    };
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if !matches!(kind, "image/jpeg" | "image/png") {
        let message = "send image/jpeg or image/png";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
    }
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "a preview may have at most 25 MiB",
        )
    };
    let bytes = body.map_err(|_| too_large())?;
    if bytes.is_empty() {
        return Err(Problem::new(
            StatusCode::LENGTH_REQUIRED,
            "the preview is empty",
        ));
    }
    if bytes.len() > crate::previews::UPLOAD_BYTES_MAX {
        return Err(too_large());
    }
    node.previews.take(job, bytes.to_vec()).map_err(|_| {
        Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many previews are waiting; send a later one",
        )
    })?;
    Ok(StatusCode::ACCEPTED)
}
