// SPDX-License-Identifier: GPL-3.0-or-later
//! `verify` and `rerender` of shots and jobs: look at the files of frames, and have those that
//! something is wrong with rendered anew.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::{
    Json,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tablao_core::{
    JobId, Request, ShotId,
    entity::FrameKey,
    event::{FrameWish, frame_flags},
    flaws::Flaw,
    request::Requeue,
};
use tablao_projections::ReadModel;
use utoipa::{IntoParams, ToSchema};

use super::{
    changing,
    jobs::unknown_job,
    problem::{Problem, ProblemBody, ProblemKind},
    request::{Id, Nothing, Query},
    requeue::with_dependants,
};
use crate::{
    api::actor::Sender,
    engine::{Ask, Engine},
    node::SharedNode,
    requeue,
    verify::{self, Outcome, Scope},
};

/// A request waits at most this long for a verification, in seconds.
const WAIT_S_MAX: u64 = 50;
/// Frames listed in an answer; all of them are in the list of frames.
const LISTED_MAX: usize = 1000;

/// A frame that something is wrong with.
#[derive(Serialize, ToSchema)]
pub(super) struct FlawedFrame {
    number: i32,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    output: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(required = false)]
    view: String,
    /// `missing`, `empty`, `truncated`, `black`, `changed`, `wrong_size`.
    flags: Vec<&'static str>,
    /// The same in words, with what was seen.
    words: String,
}

/// What a look at the files of frames came to.
#[derive(Serialize, ToSchema)]
pub(super) struct Verification {
    #[schema(format = "uuid")]
    shot: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "uuid", nullable = false)]
    job: Option<String>,
    /// `running` or `done`.
    state: &'static str,
    /// Frames whose files were looked at so far.
    looked_at: u32,
    /// Frames that are to be looked at.
    of: u32,
    /// Frames that are not seen from the Manager's machine; nothing is said about them.
    unseen: usize,
    /// Why the first of those is not seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    unseen_why: Option<String>,
    /// How many frames something is wrong with.
    flawed: usize,
    /// The first thousand of them.
    frames: Vec<FlawedFrame>,
}

impl Verification {
    fn running(scope: Scope, progress: &verify::Progress) -> Self {
        use std::sync::atomic::Ordering::Relaxed;
        Self {
            shot: scope.shot.to_string(),
            job: scope.job.map(|job| job.to_string()),
            state: "running",
            looked_at: progress.done.load(Relaxed),
            of: progress.of.load(Relaxed),
            unseen: 0,
            unseen_why: None,
            flawed: 0,
            frames: Vec::new(),
        }
    }

    fn done(scope: Scope, outcome: &Outcome) -> Self {
        let unseen = u32::try_from(outcome.unseen.len()).unwrap_or(u32::MAX);
        let frames = outcome.flawed.iter().take(LISTED_MAX);
        Self {
            shot: scope.shot.to_string(),
            job: scope.job.map(|job| job.to_string()),
            state: "done",
            looked_at: outcome.looked_at,
            of: outcome.looked_at.saturating_add(unseen),
            unseen: outcome.unseen.len(),
            unseen_why: (outcome.unseen.first())
                .map(|(key, why)| format!("frame {}: {why}", key.number)),
            flawed: outcome.flawed.len(),
            frames: frames
                .map(|(key, flags, words)| FlawedFrame {
                    number: key.number,
                    output: key.output.clone(),
                    view: key.view.clone(),
                    flags: frame_flags::names(*flags).collect(),
                    words: words.clone(),
                })
                .collect(),
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VerifyQuery {
    /// Wait this many seconds for the end of it, 0 to 50; 50 if not said.
    wait: Option<u64>,
}

/// The Manager's own site; frames are cared for where their files are.
fn own_site(node: &SharedNode) -> Result<&Engine, Problem> {
    node.site.as_ref().ok_or_else(|| {
        let detail = "this Server runs no jobs itself; ask the Manager that rendered the frames";
        Problem::new(ProblemKind::JobElsewhere, detail)
    })
}

fn shot_scope(node: &SharedNode, shot: ShotId) -> Result<(&Engine, Scope), Problem> {
    let engine = own_site(node)?;
    if engine.model().shot(shot).is_none() {
        let detail = format!("this Manager has no shot with the id {shot}");
        return Err(Problem::new(ProblemKind::UnknownShot, detail));
    }
    Ok((engine, Scope { shot, job: None }))
}

fn job_scope(node: &SharedNode, job: JobId) -> Result<(&Engine, Scope), Problem> {
    let engine = changing::engine(node, job)?;
    let shot = {
        let model = engine.model();
        let found = model.farm().jobs().get(&job);
        found.map(|job| job.state.facts.shot)
    };
    let shot = shot.ok_or_else(|| unknown_job(job))?;
    let job = Some(job);
    Ok((engine, Scope { shot, job }))
}

async fn verified(
    node: &SharedNode,
    (engine, scope): (&Engine, Scope),
    sender: &Sender,
    wait: Option<u64>,
) -> Result<Response, Problem> {
    let wait = Duration::from_secs(wait.unwrap_or(WAIT_S_MAX).min(WAIT_S_MAX));
    let mut running = verify::begin(node, engine, scope, sender);
    let ended = running.outcome.wait_for(Option::is_some);
    let outcome = match tokio::time::timeout(wait, ended).await {
        Ok(Ok(outcome)) => outcome.clone(),
        Ok(Err(_)) => Some(Err("the look at the files broke off".to_owned())),
        Err(_) => None,
    };
    Ok(match outcome {
        Some(Ok(outcome)) => Json(Verification::done(scope, &outcome)).into_response(),
        Some(Err(why)) => return Err(Problem::new(ProblemKind::NotNow, why)),
        None => {
            let body = Verification::running(scope, &running.progress);
            (StatusCode::ACCEPTED, Json(body)).into_response()
        }
    })
}

/// Reads the files of a shot's frames and compares them with what was published and with each
/// other. What is wrong is noted on the frames; what was wrong and is not any more, too. Asked
/// again while it runs, it tells how far it is.
#[utoipa::path(post, path = "/api/farm/v1/shots/{shot}/verify", tag = "shots",
    params(("shot" = String, Path, description = "The shot's id", format = "uuid"), VerifyQuery),
    responses(
        (status = 200, description = "It is done", body = Verification),
        (status = 202, description = "It runs", body = Verification),
        (status = 400, description = "The id or a parameter is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such shot, or another Manager's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It broke off", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn verify_shot(
    State(node): State<SharedNode>,
    sender: Sender,
    Id(shot): Id<ShotId>,
    Query(query): Query<VerifyQuery>,
) -> Result<Response, Problem> {
    verified(&node, shot_scope(&node, shot)?, &sender, query.wait).await
}

/// The same for the frames that a job published last.
#[utoipa::path(post, path = "/api/farm/v1/jobs/{job}/verify", tag = "jobs",
    params(("job" = String, Path, description = "The job's id", format = "uuid"), VerifyQuery),
    responses(
        (status = 200, description = "It is done", body = Verification),
        (status = 202, description = "It runs", body = Verification),
        (status = 400, description = "The id or a parameter is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such job, or another Manager's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "It broke off", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn verify_job(
    State(node): State<SharedNode>,
    sender: Sender,
    Id(job): Id<JobId>,
    Query(query): Query<VerifyQuery>,
) -> Result<Response, Problem> {
    verified(&node, job_scope(&node, job)?, &sender, query.wait).await
}

/// Which frames are to be rendered anew. Empty: all that something is wrong with.
#[derive(Deserialize, Default, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Rerender {
    /// Frames of these numbers, whether something is wrong with them or not.
    frames: Vec<i32>,
    /// Only frames with one of these flags.
    flags: Vec<String>,
    /// And queue again what depends on their tasks, such as the film that is made of the frames.
    dependants: bool,
    /// Why, for the history.
    reason: String,
}

/// What is rendered anew.
#[derive(Serialize, ToSchema)]
pub(super) struct Rerendered {
    /// Numbers of the frames.
    frames: Vec<i32>,
    /// Their tasks, which are queued again.
    tasks: Vec<String>,
    /// What depends on these, and is queued again if that was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    dependants: Vec<String>,
}

/// A JSON body that may be left out.
fn body_of<T: DeserializeOwned + Default>(body: &Bytes) -> Result<T, Problem> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body)
        .map_err(|error| Problem::new(ProblemKind::BadQuery, format!("the body: {error}")))
}

/// Frames of a scope that are wanted at the moment, with their tasks.
fn wanted(model: &ReadModel, scope: Scope) -> BTreeSet<(FrameKey, JobId, u32)> {
    let farm = model.farm();
    let is_wanted = |flaw: &Flaw| flaw.wanted && scope.job.is_none_or(|job| job == flaw.job);
    (farm.flaws().of_shot(scope.shot))
        .filter(|(_, flaw)| is_wanted(flaw))
        .map(|(key, flaw)| (key.clone(), flaw.job, flaw.task))
        .collect()
}

/// Keys of frames of a scope that have these numbers, in any output and view.
fn keys_of(model: &ReadModel, scope: Scope, numbers: &[i32]) -> Result<Vec<FrameKey>, Problem> {
    let farm = model.farm();
    let is_of = |job: JobId| scope.job.is_none_or(|wanted| wanted == job);
    let published = (model.frames_of_shot(scope.shot)).filter(|row| is_of(row.job));
    let flawed = (farm.flaws().of_shot(scope.shot)).filter(|(_, flaw)| is_of(flaw.job));
    let all: BTreeSet<FrameKey> = (published.map(|row| row.key))
        .chain(flawed.map(|(key, _)| key.clone()))
        .collect();
    let unknown = (numbers.iter()).find(|number| !all.iter().any(|key| key.number == **number));
    if let Some(number) = unknown {
        let detail = format!("frames: there is no frame {number} here");
        return Err(Problem::new(ProblemKind::BadQuery, detail));
    }
    Ok(all
        .into_iter()
        .filter(|key| numbers.contains(&key.number))
        .collect())
}

fn task_id(model: &ReadModel, job: JobId, task: u32) -> Option<String> {
    let job = model.farm().jobs().get(&job)?;
    Some(job.tasks.get(task as usize)?.uuid.to_string())
}

/// What depends on the tasks of these frames, by job.
fn made_of(
    model: &ReadModel,
    frames: &BTreeSet<(FrameKey, JobId, u32)>,
) -> BTreeMap<JobId, BTreeSet<u32>> {
    let mut tasks: BTreeMap<JobId, BTreeSet<u32>> = BTreeMap::new();
    for (_, job, task) in frames {
        tasks.entry(*job).or_default().insert(*task);
    }
    for (job, numbers) in &mut tasks {
        let themselves = numbers.clone();
        with_dependants(model, *job, numbers);
        numbers.retain(|number| !themselves.contains(number));
    }
    tasks.retain(|_, numbers| !numbers.is_empty());
    tasks
}

/// Has a request decided; its refusal is the answer.
async fn decided(engine: &Engine, sender: &Sender, request: Request) -> Result<(), Problem> {
    let ask = Ask::new(request, sender.actor, sender.asker.clone());
    match engine.ask(ask).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(refusal)) => Err(Problem::new(ProblemKind::NotNow, refusal.to_string())),
        Err(_) => std::future::pending().await,
    }
}

async fn rerendered(
    (engine, scope): (&Engine, Scope),
    sender: Sender,
    body: &Bytes,
) -> Result<Json<Rerendered>, Problem> {
    let wish: Rerender = body_of(body)?;
    let mut flags = 0;
    for name in &wish.flags {
        flags |= frame_flags::of_name(name).ok_or_else(|| {
            let known: Vec<&str> = frame_flags::names(frame_flags::FLAWS).collect();
            let detail = format!("flags: {name:?} is none of {}", known.join(", "));
            Problem::new(ProblemKind::BadQuery, detail)
        })?;
    }
    let (before, keys) = {
        let model = engine.model();
        (wanted(&model, scope), keys_of(&model, scope, &wish.frames)?)
    };
    let reason = if wish.reason.is_empty() {
        "it is to be rendered anew".to_owned()
    } else {
        wish.reason
    };
    let request = Request::WantFrames {
        wish: FrameWish {
            job: scope.job,
            shot: Some(scope.shot),
            keys,
            flags,
            reason: reason.clone(),
        },
    };
    decided(engine, &sender, request).await?;
    let mut now = wanted(&engine.model(), scope);
    let mut dependants = Vec::new();
    if wish.dependants {
        // Of what was wanted before, too: whoever asks again completes what broke off here.
        let made = made_of(&engine.model(), &now);
        for (job, numbers) in made {
            let requeue = Requeue {
                job,
                ranges: requeue::ranges(&numbers),
                dependants: false,
                discard: false,
                reason: reason.clone(),
            };
            let requeue = Box::new(requeue);
            let request = Request::RequeueTasks { requeue };
            decided(engine, &sender, request).await?;
            let model = engine.model();
            dependants.extend((numbers.iter()).filter_map(|task| task_id(&model, job, *task)));
        }
    }
    now.retain(|frame| !before.contains(frame));
    let model = engine.model();
    let numbers: BTreeSet<i32> = now.iter().map(|(key, ..)| key.number).collect();
    let tasks: BTreeSet<(JobId, u32)> = now.iter().map(|(_, job, task)| (*job, *task)).collect();
    let tasks = (tasks.into_iter()).filter_map(|(job, task)| task_id(&model, job, task));
    Ok(Json(Rerendered {
        frames: numbers.into_iter().collect(),
        tasks: tasks.collect(),
        dependants,
    }))
}

/// Has frames of a shot rendered anew: those that something is wrong with, or those named. Their
/// tasks are queued again and render these frames only; a file that has to make way is set aside.
#[utoipa::path(post, path = "/api/farm/v1/shots/{shot}/rerender", tag = "shots",
    params(("shot" = String, Path, description = "The shot's id", format = "uuid")),
    request_body(content = Rerender, description = "Which frames; may be left out"),
    responses(
        (status = 200, description = "What is rendered anew, beyond what was to be already", body = Rerendered),
        (status = 400, description = "The id or the body is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such shot, or another Manager's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "As things stand it cannot be done", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn rerender_shot(
    State(node): State<SharedNode>,
    sender: Sender,
    Id(shot): Id<ShotId>,
    Query(Nothing {}): Query<Nothing>,
    body: Bytes,
) -> Result<Json<Rerendered>, Problem> {
    rerendered(shot_scope(&node, shot)?, sender, &body).await
}

/// The same for the frames of a job.
#[utoipa::path(post, path = "/api/farm/v1/jobs/{job}/rerender", tag = "jobs",
    params(("job" = String, Path, description = "The job's id", format = "uuid")),
    request_body(content = Rerender, description = "Which frames; may be left out"),
    responses(
        (status = 200, description = "What is rendered anew, beyond what was to be already", body = Rerendered),
        (status = 400, description = "The id or the body is not understood", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such job, or another Manager's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "As things stand it cannot be done", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn rerender_job(
    State(node): State<SharedNode>,
    sender: Sender,
    Id(job): Id<JobId>,
    Query(Nothing {}): Query<Nothing>,
    body: Bytes,
) -> Result<Json<Rerendered>, Problem> {
    rerendered(job_scope(&node, job)?, sender, &body).await
}
