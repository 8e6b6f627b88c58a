// SPDX-License-Identifier: GPL-3.0-or-later
//! `jobs/{id}/regenerate`: compile a job anew, or say what that would do.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tablao_core::{JobId, detail::Input};
use utoipa::ToSchema;

use super::{
    changing::{engine, refused},
    problem::{Problem, ProblemBody, ProblemKind},
    request::{Body, Id},
};
use crate::{
    api::actor::Sender,
    node::SharedNode,
    regeneration::{self, Named, Plan, Wanted},
};

/// Names shown of each sort of task; the count says how many there are.
const NAMES_SHOWN: usize = 100;

/// A file that the job reads, as whoever asks sees it.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct InputSeen {
    /// Its path, as in the settings.
    path: String,
    /// BLAKE3 of its content, 64 hexadecimal digits.
    hash: Option<String>,
    /// Its size, in bytes.
    #[serde(default)]
    size: u64,
    /// When it was last written, in microseconds since 1970.
    #[serde(default)]
    mtime_us: u64,
}

/// How to compile the job anew.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub(super) struct Regenerate {
    /// Settings that change; `null` takes one away. The others stay as they were submitted.
    #[schema(value_type = Object)]
    settings: Map<String, Value>,
    /// Files that the job reads and that the Manager may not see.
    inputs: Vec<InputSeen>,
    /// Operating system of whoever asks, for the paths in `settings`; the Manager's if not said.
    submitter_platform: String,
    /// Every task counts as changed.
    everything: bool,
    /// Say what would happen, and change nothing.
    preview: bool,
    /// Why, for the history.
    reason: String,
}

/// Some tasks.
#[derive(Serialize, ToSchema)]
pub(super) struct SomeTasks {
    /// How many there are.
    count: usize,
    /// The names of the first hundred.
    names: Vec<String>,
}

impl SomeTasks {
    fn of(tasks: &[Named]) -> Self {
        let names = tasks.iter().take(NAMES_SHOWN).map(|task| task.name.clone());
        Self {
            count: tasks.len(),
            names: names.collect(),
        }
    }
}

/// What regeneration does, or would do.
#[derive(Serialize, ToSchema)]
pub(super) struct Regenerated {
    #[schema(format = "uuid")]
    job: String,
    /// Nothing was changed.
    preview: bool,
    /// The job's generation: as it is, and once it is regenerated.
    generation: u32,
    /// Tasks that keep what they have done.
    kept: usize,
    /// Of those, tasks that had failed or were canceled, and are queued again.
    again: usize,
    /// Tasks that do something else now, and run anew.
    changed: SomeTasks,
    /// Tasks that the job did not have.
    added: SomeTasks,
    /// Tasks that the job does not have any more; they stay in its history.
    vanished: SomeTasks,
    /// Running tasks that are asked to stop.
    stopped: usize,
    /// Paths of files that have changed.
    inputs: Vec<String>,
}

impl Regenerated {
    fn new(job: JobId, plan: &Plan, preview: bool) -> Self {
        let raised = !preview && !plan.is_empty;
        Self {
            job: job.to_string(),
            preview,
            generation: plan.generation + u32::from(raised),
            kept: plan.kept,
            again: plan.again,
            changed: SomeTasks::of(&plan.changed),
            added: SomeTasks::of(&plan.added),
            vanished: SomeTasks::of(&plan.vanished),
            stopped: plan.stopped,
            inputs: plan.inputs.clone(),
        }
    }
}

impl Regenerate {
    fn wanted(self) -> Result<Wanted, Problem> {
        let input = |seen: InputSeen| {
            let hash = seen.hash.map(blake3::Hash::from_hex).transpose();
            let hash = hash.map_err(|_| {
                Problem::new(
                    ProblemKind::BadBody,
                    "inputs: a hash has 64 hexadecimal digits",
                )
            })?;
            Ok(Input {
                path: seen.path,
                hash: hash.map(|hash| *hash.as_bytes()),
                size: seen.size,
                modified_us: seen.mtime_us,
            })
        };
        Ok(Wanted {
            settings: self.settings,
            inputs: (self.inputs.into_iter())
                .map(input)
                .collect::<Result<_, Problem>>()?,
            platform: self.submitter_platform,
            everything: self.everything,
            reason: if self.reason.is_empty() {
                "it was regenerated".to_owned()
            } else {
                self.reason
            },
        })
    }
}

fn not_planned(error: regeneration::Error) -> Problem {
    match error {
        regeneration::Error::Refused(refusal) => refused(&refusal),
        error => Problem::new(ProblemKind::NotCompiled, error.to_string()),
    }
}

/// The plan is still the one that the caller has seen.
fn check_seen(headers: &HeaderMap, etag: &str) -> Result<(), Problem> {
    let Some(seen) = headers.get(header::IF_MATCH) else {
        return Ok(());
    };
    let seen = seen.to_str().unwrap_or_default();
    if seen.trim() == "*" || seen.split(',').any(|one| one.trim() == etag) {
        return Ok(());
    }
    Err(Problem::new(
        ProblemKind::StalePreview,
        "the job, its script or what it reads has changed since the preview",
    ))
}

/// Compiles a job anew with the present script and its settings, some of which may change. Tasks
/// whose content is the same keep what they have done, others run anew over their old output.
#[utoipa::path(post, path = "/api/farm/v1/jobs/{job}/regenerate", tag = "jobs",
    params(
        ("job" = String, Path, description = "The job's id", format = "uuid"),
        ("If-Match" = Option<String>, Header, description = "ETag of a preview: refused if something else would happen by now"),
    ),
    request_body = Regenerate,
    responses(
        (status = 200, description = "What happened, or would happen; the ETag names just this", body = Regenerated),
        (status = 400, description = "The id or the body is malformed", body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, description = "No such job, or another Manager's", body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "The job's status does not allow it, or somebody else was first", body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "Something else would happen than what the preview said", body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, description = "The script does not compile the job", body = ProblemBody, content_type = "application/problem+json"),
    ))]
pub(super) async fn regenerate(
    State(node): State<SharedNode>,
    sender: Sender,
    Id(job): Id<JobId>,
    headers: HeaderMap,
    Body(body): Body<Regenerate>,
) -> Result<Response, Problem> {
    let engine = engine(&node, job)?;
    let preview = body.preview;
    let wanted = body.wanted()?;
    let plan = regeneration::plan(&node, engine, job, &wanted).await;
    let plan = plan.map_err(not_planned)?;
    check_seen(&headers, &plan.etag)?;
    let etag = HeaderValue::from_str(&plan.etag).expect("hexadecimal digits in quotes");
    let told = Regenerated::new(job, &plan, preview);
    if !preview {
        let Sender { actor, asker, .. } = sender;
        let done = regeneration::carry_out(engine, job, plan, actor, asker, wanted.reason);
        match done.await {
            Ok(Ok(_)) => {}
            Ok(Err(refusal)) => return Err(refused(&refusal)),
            Err(_) => std::future::pending().await,
        }
    }
    Ok(([(header::ETAG, etag)], Json(told)).into_response())
}
