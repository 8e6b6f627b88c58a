// SPDX-License-Identifier: GPL-3.0-or-later
//! Jobs: types, submission, status, priority, tag, deletion, previews, blocklist.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tablao_core::{
    Answer, JobId, JobStatus, Refusal, Request, TagId, Timestamp, WorkerId,
    detail::Input,
    entity::{JobSource, RemoteVerb},
    request::TaskChunk,
};
use tablao_jobtypes::{CompiledJob, SubmittedJob};

use super::{Body, Problem, error::stopped, types::JobJson};
use crate::{
    api::actor::Sender,
    clock,
    engine::{Ask, Reply},
    inputs,
    node::SharedNode,
    previews::{Previews, SIZES},
    submission::{Cutter, Terms, job_without_tasks, new_job},
    variables::{Audience, own_platform},
    view::View,
};

pub(super) fn job_id(text: &str) -> Result<JobId, Problem> {
    text.parse()
        .map_err(|_| Problem::bad_request("the job id is not a UUID"))
}

/// The site of a job, or 404.
pub(super) fn site(node: &SharedNode, job: JobId) -> Result<View, Problem> {
    node.site_of_job(job)
        .ok_or_else(|| Refusal::UnknownJob { job }.into())
}

/// Has a job changed where it runs: here, or through the Server's journal at its Manager.
pub(super) async fn change(
    node: &SharedNode,
    sender: Sender,
    job: JobId,
    request: Request,
    remote: Option<(RemoteVerb, String)>,
) -> Result<Answer, Problem> {
    // A placed job can be spoken of before its Manager has called again.
    let seen_at = node.site_of_job(job).map(|view| view.manager);
    if seen_at.is_none() && node.control.model().placement(job).is_none() {
        return Err(Refusal::UnknownJob { job }.into());
    }
    let own = (node.site.as_ref()).filter(|own| seen_at == Some(own.view().manager));
    let reply: Reply = if let Some(engine) = own {
        let ask = Ask {
            key: sender.key,
            ..Ask::new(request, sender.actor, sender.asker)
        };
        match engine.ask(ask).await {
            Ok(reply) => reply,
            Err(error) => stopped(error).await,
        }
    } else {
        let Some((verb, reason)) = remote else {
            return Err(Problem::new(
                StatusCode::NOT_IMPLEMENTED,
                "this cannot be done through the Server yet; ask the job's Manager",
            ));
        };
        let request = Request::AcceptRemote {
            request: tablao_core::RequestId::new(clock::new_id()),
            job,
            seen_at,
            verb,
            reason,
        };
        match node
            .control
            .ask(Ask::new(request, sender.actor, sender.asker))
            .await
        {
            Ok(reply) => reply,
            Err(error) => stopped(error).await,
        }
    };
    Ok(reply?)
}

pub(super) async fn types(State(node): State<SharedNode>) -> Json<Value> {
    Json(json!({ "job_types": node.job_types.list() }))
}

pub(super) async fn job_type(
    State(node): State<SharedNode>,
    Path(name): Path<String>,
) -> Result<Response, Problem> {
    let found = node.job_types.get(&name);
    // It is looked up among scripts that were read before, so nothing else can go wrong.
    found
        .map(|job_type| Json(job_type).into_response())
        .map_err(|error| Problem::not_found(error.to_string()))
}

/// A job as it is submitted.
#[derive(Clone, Deserialize)]
pub(super) struct Submission {
    name: String,
    #[serde(rename = "type")]
    job_type: String,
    type_etag: Option<String>,
    #[serde(default = "default_priority")]
    priority: i32,
    #[serde(default)]
    settings: Map<String, Value>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    submitter_platform: String,
    storage: Option<Storage>,
    worker_tag: Option<String>,
    initial_status: Option<JobStatus>,
}

#[derive(Clone, Deserialize)]
struct Storage {
    shaman_checkout_id: Option<String>,
}

fn default_priority() -> i32 {
    50
}

/// A compiled job.
enum Compiled {
    /// With its tasks, to be placed elsewhere.
    Whole(CompiledJob),
    /// For this Manager: its tasks were cut into pieces while the script ran; the files it reads.
    Cut(CompiledJob, Vec<TaskChunk>, usize, Vec<Input>),
}

/// Turns paths into variables and runs the script, off the runtime's threads. What the script
/// takes for the time of the job's creation has to be the job's, or a regeneration would find
/// other paths.
async fn compile(
    node: &SharedNode,
    submission: Submission,
    created: Timestamp,
) -> Result<Compiled, Problem> {
    let variables = node.variables(Audience::Workers, &submission.submitter_platform);
    let mut settings = submission.settings;
    for value in settings.values_mut() {
        if let Value::String(text) = value {
            *text = variables.collapse(text);
        }
    }
    let metadata = submission
        .metadata
        .into_iter()
        .map(|(key, value)| (key, variables.collapse(&value)))
        .collect();
    let job = SubmittedJob {
        id: clock::new_id(),
        name: submission.name,
        job_type: submission.job_type,
        type_etag: submission.type_etag,
        priority: submission.priority,
        settings,
        metadata,
        submitter_platform: submission.submitter_platform,
        shaman_checkout_id: submission
            .storage
            .and_then(|storage| storage.shaman_checkout_id),
        worker_tag: submission.worker_tag.filter(|tag| !tag.is_empty()),
        created: clock::jiff_time(created),
    };
    let job_types = node.job_types.clone();
    let runs_here = node.site.is_some();
    let own = node.variables(Audience::Workers, own_platform());
    let compiled = tokio::task::spawn_blocking(move || {
        if !runs_here {
            return job_types.compile(job).map(Compiled::Whole);
        }
        let mut cutter = Cutter::default();
        let job = job_types.compile_into(job, &mut |task| cutter.add(task))?;
        let (pieces, tasks) = cutter.finish();
        let inputs = inputs::of_settings(&job.settings, &own);
        Ok(Compiled::Cut(job, pieces, tasks, inputs))
    });
    let compiled = compiled.await;
    match compiled {
        Ok(Ok(compiled)) => Ok(compiled),
        Ok(Err(error @ tablao_jobtypes::Error::EtagMismatch { .. })) => Err(Problem::new(
            StatusCode::PRECONDITION_FAILED,
            error.to_string(),
        )),
        Ok(Err(error)) => Err(Problem::bad_request(error.to_string())),
        Err(error) => {
            tracing::error!(%error, "a compilation panicked");
            Err(Problem::bad_request(
                "the job type's script could not be run; see the Manager's log",
            ))
        }
    }
}

pub(super) async fn check(
    State(node): State<SharedNode>,
    Body(submission): Body<Submission>,
) -> Result<StatusCode, Problem> {
    check_terms(&submission)?;
    compile(&node, submission, clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn check_terms(submission: &Submission) -> Result<JobStatus, Problem> {
    if !(0..=100).contains(&submission.priority) {
        return Err(Problem::bad_request(format!(
            "priority {} is outside 0 to 100",
            submission.priority
        )));
    }
    match submission.initial_status {
        None | Some(JobStatus::Queued) => Ok(JobStatus::Queued),
        Some(JobStatus::Paused) => Ok(JobStatus::Paused),
        Some(other) => Err(Problem::bad_request(format!(
            "a job starts queued or paused, not {other}"
        ))),
    }
}

pub(super) async fn submit(
    State(node): State<SharedNode>,
    sender: Sender,
    Body(submission): Body<Submission>,
) -> Result<Response, Problem> {
    if !node.has_room() {
        return Err(Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "the Manager's disk is nearly full: free some space, then submit again",
        ));
    }
    if let Some(earlier) = earlier_submission(&node, &sender) {
        return answer_with_job(&node, earlier).await;
    }
    let initial = check_terms(&submission)?;
    let settings = submission.settings.clone();
    if let Some(tag) = submission
        .worker_tag
        .as_deref()
        .filter(|tag| !tag.is_empty())
    {
        tag.parse::<TagId>()
            .map_err(|_| Problem::bad_request("the worker tag is not a UUID"))?;
    }
    let created = clock::now();
    let compiled = compile(&node, submission, created).await?;
    let terms = Terms {
        manager: node.manager(),
        initial,
        created,
        settings,
        source: JobSource::Submitted,
        user: sender.asker.name.clone(),
    };
    let job = submit_compiled(&node, sender, compiled, terms).await?;
    answer_with_job(&node, job).await
}

/// The job that an earlier submission with the same key made.
fn earlier_submission(node: &SharedNode, sender: &Sender) -> Option<JobId> {
    let key = sender.key?;
    let control = node.control.model().farm().job_of_key(&key);
    control.or_else(|| node.site.as_ref()?.model().farm().job_of_key(&key))
}

/// Places a compiled job and has it accepted, here or at a linked Manager.
async fn submit_compiled(
    node: &SharedNode,
    sender: Sender,
    compiled: Compiled,
    terms: Terms,
) -> Result<JobId, Problem> {
    let Sender { actor, asker, key } = sender;
    let reply = match compiled {
        Compiled::Cut(job, pieces, tasks, inputs) => {
            let engine = (node.site.as_ref())
                .ok_or_else(|| Problem::bad_request("no job can run here; ask a Manager"))?;
            let mut job = job_without_tasks(&job, &terms, tasks);
            job.detail.inputs = inputs;
            (node.accept_pieces(engine, job, pieces, actor, asker, key)).await
        }
        Compiled::Whole(job) => {
            // Hashing a hundred thousand tasks would hold up a thread that serves others.
            let job = tokio::task::spawn_blocking(move || new_job(job, &terms)).await;
            let job = job.map_err(|error| {
                tracing::error!(%error, "a compiled job could not be taken over");
                Problem::bad_request(
                    "the compiled job could not be taken over; see the Manager's log",
                )
            })?;
            node.place_job(job, actor, asker, key).await
        }
    };
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => stopped(error).await,
    };
    match reply? {
        Answer::Job(job) => Ok(job),
        Answer::Done
        | Answer::Assigned { .. }
        | Answer::NoTask
        | Answer::StartAs(_)
        | Answer::Late => Err(Problem::bad_request("the submission was not accepted")),
    }
}

/// The job once it has come up, if that is soon.
async fn answer_with_job(node: &SharedNode, job: JobId) -> Result<Response, Problem> {
    if node.site.is_none() {
        node.wait_for_placed(job).await;
    }
    presented(node, job)
}

/// The job as it is here; a placed one that has not come up yet, as it was placed.
fn presented(node: &SharedNode, job: JobId) -> Result<Response, Problem> {
    if let Some(view) = node.site_of_job(job) {
        let model = view.read();
        if let (Some(entity), Some(row)) = (model.farm().jobs().get(&job), model.job(job)) {
            return Ok(Json(JobJson::new(entity, row)).into_response());
        }
    }
    let control = node.control.model();
    let Some(placed) = control.placement(job) else {
        return Err(Refusal::UnknownJob { job }.into());
    };
    let now = clock::rfc3339(control.farm().time());
    Ok(Json(json!({
        "id": job.to_string(), "name": placed.name, "type": "", "priority": 50, "settings": {},
        "metadata": {}, "submitter_platform": "", "created": now, "updated": now,
        "status": "under-construction", "activity": "waits for its Manager",
        "steps_completed": 0, "steps_total": 0,
    }))
    .into_response())
}

pub(super) async fn list(State(node): State<SharedNode>) -> Json<Value> {
    let mut jobs = Vec::new();
    for site in node.sites() {
        let model = site.read();
        let farm = model.farm();
        for row in model.jobs() {
            if let Some(job) = farm.jobs().get(&row.id) {
                jobs.push(json!(JobJson::new(job, row)));
            }
        }
    }
    Json(json!({ "jobs": jobs }))
}

pub(super) async fn show(
    State(node): State<SharedNode>,
    Path(job): Path<String>,
) -> Result<Response, Problem> {
    presented(&node, job_id(&job)?)
}

pub(super) async fn delete(
    State(node): State<SharedNode>,
    sender: Sender,
    Path(job): Path<String>,
) -> Result<StatusCode, Problem> {
    let job = job_id(&job)?;
    change(&node, sender, job, Request::MarkJobDeleted { job }, None).await?;
    node.deletion.look();
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn what_would_delete_do(
    State(node): State<SharedNode>,
    Path(job): Path<String>,
) -> Result<Json<Value>, Problem> {
    let job = job_id(&job)?;
    site(&node, job)?;
    let erases = tokio::task::spawn_blocking(move || crate::shaman::goes_with(&node, job))
        .await
        .unwrap_or(false);
    Ok(Json(json!({ "shaman_checkout": erases })))
}

#[derive(Deserialize)]
pub(super) struct SetStatus {
    status: JobStatus,
    reason: String,
}

pub(super) async fn set_status(
    State(node): State<SharedNode>,
    sender: Sender,
    Path(job): Path<String>,
    Body(body): Body<SetStatus>,
) -> Result<StatusCode, Problem> {
    let job = job_id(&job)?;
    let remote = (RemoteVerb::SetStatus(body.status), body.reason.clone());
    let request = Request::SetJobStatus {
        job,
        status: body.status,
        reason: body.reason,
    };
    change(&node, sender, job, request, Some(remote)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct SetPriority {
    priority: i32,
}

pub(super) async fn set_priority(
    State(node): State<SharedNode>,
    sender: Sender,
    Path(job): Path<String>,
    Body(body): Body<SetPriority>,
) -> Result<StatusCode, Problem> {
    let job = job_id(&job)?;
    let remote = (RemoteVerb::SetPriority(body.priority), String::new());
    let request = Request::SetJobPriority {
        job,
        priority: body.priority,
    };
    change(&node, sender, job, request, Some(remote)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct SetTag {
    id: Option<String>,
    name: Option<String>,
}

pub(super) async fn set_tag(
    State(node): State<SharedNode>,
    sender: Sender,
    Path(job): Path<String>,
    Body(body): Body<SetTag>,
) -> Result<StatusCode, Problem> {
    let job = job_id(&job)?;
    let view = site(&node, job)?;
    let unknown = || {
        Problem::new(
            StatusCode::NOT_ACCEPTABLE,
            "no worker tag has this id or name",
        )
    };
    let tag = match (body.id, body.name) {
        (Some(id), _) => {
            let id: TagId = id
                .parse()
                .map_err(|_| Problem::bad_request("the tag id is not a UUID"))?;
            Some(view.read().tag(id).map(|tag| tag.id).ok_or_else(unknown)?)
        }
        (None, Some(name)) => {
            let model = view.read();
            let found = model.tags().find(|tag| tag.name == name).map(|tag| tag.id);
            Some(found.ok_or_else(unknown)?)
        }
        (None, None) => None,
    };
    change(&node, sender, job, Request::SetJobTag { job, tag }, None).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn preview(job: JobId) -> Value {
    let suffixes: Vec<&str> = SIZES.iter().map(|(name, _, _)| *name).collect();
    json!({ "base": format!("/job-files/{}", Previews::relative(job)), "suffixes": suffixes })
}

pub(super) async fn last_rendered(State(node): State<SharedNode>) -> Response {
    match node.previews.newest().filter(|job| node.previews.has(*job)) {
        Some(job) => Json(preview(job)).into_response(),
        None => StatusCode::NO_CONTENT.into_response(),
    }
}

pub(super) async fn last_rendered_of(
    State(node): State<SharedNode>,
    Path(job): Path<String>,
) -> Result<Response, Problem> {
    let job = job_id(&job)?;
    Ok(if node.previews.has(job) {
        Json(preview(job)).into_response()
    } else {
        StatusCode::NO_CONTENT.into_response()
    })
}

pub(super) async fn blocklist(
    State(node): State<SharedNode>,
    Path(job): Path<String>,
) -> Result<Json<Value>, Problem> {
    let job = job_id(&job)?;
    let mut entries = Vec::new();
    if let Some(view) = node.site_of_job(job) {
        let model = view.read();
        let blocked = model
            .farm()
            .jobs()
            .get(&job)
            .map(|job| job.state.blocked.clone());
        for (worker, task_type) in blocked.unwrap_or_default() {
            let name = model
                .worker(worker)
                .map(|row| row.detail.name.clone())
                .unwrap_or_default();
            entries.push((name, worker, task_type));
        }
    }
    entries.sort();
    let entries: Vec<Value> = entries
        .into_iter()
        .map(|(name, worker, task_type)| {
            json!({ "worker_id": worker.to_string(), "task_type": task_type, "worker_name": name })
        })
        .collect();
    Ok(Json(Value::Array(entries)))
}

#[derive(Deserialize)]
pub(super) struct BlocklistEntry {
    worker_id: String,
    task_type: String,
}

pub(super) async fn clear_blocklist(
    State(node): State<SharedNode>,
    sender: Sender,
    Path(job): Path<String>,
    Body(body): Body<Vec<BlocklistEntry>>,
) -> Result<StatusCode, Problem> {
    let job = job_id(&job)?;
    if body.is_empty() {
        return Err(Problem::bad_request("name at least one entry to remove"));
    }
    let mut entries: Vec<(WorkerId, String)> = Vec::new();
    for entry in body {
        let worker = entry
            .worker_id
            .parse()
            .map_err(|_| Problem::bad_request("a worker id is not a UUID"))?;
        entries.push((worker, entry.task_type));
    }
    change(
        &node,
        sender,
        job,
        Request::ClearBlocklist { job, entries },
        None,
    )
    .await?;
    Ok(StatusCode::NO_CONTENT)
}
