// SPDX-License-Identifier: GPL-3.0-or-later
//! Compiling a job anew: what would become of its tasks, and carrying it out.
//!
//! A plan is made of the job as it stands, the script as it is and the settings as they are to
//! be; making one changes nothing. Carrying it out prepares the tasks that come, in pieces, and
//! then exchanges them for those that go in one decision. Cut off before that, nothing happened.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tablao_core::{
    Actor, Answer, JobId, JobStatus, Refusal, Request, TaskStatus, Timestamp,
    decide::Asker,
    detail::{Input, JobDetail},
    event::Body,
    regeneration::{Difference, HadTask, WantedTask, compare},
    request::Regeneration,
};
use tablao_jobtypes::{CompiledJob, SubmittedJob};

use crate::{
    clock,
    engine::{Ask, Engine, Reply, Stopped},
    inputs,
    node::Node,
    submission,
    variables::{Audience, own_platform},
};

/// Tasks that are read while the model is held, which the projector waits for.
const READ_AT_ONCE: u32 = 1000;

/// How the job is to be compiled.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Settings that change; `null` takes one away.
    pub settings: Map<String, Value>,
    /// What is said about files that it reads.
    pub inputs: Vec<Input>,
    /// Operating system of whoever asks, for paths in the settings.
    pub platform: String,
    /// Every task counts as changed.
    pub everything: bool,
    /// Why, for the history.
    pub reason: String,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The job or its state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The script did not compile it.
    #[error(transparent)]
    Script(#[from] tablao_jobtypes::Error),
    /// The compilation ended without an answer.
    #[error("the job type's script could not be run; see the Manager's log")]
    Compiler,
}

/// A task in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its type.
    pub task_type: String,
}

/// What regenerating a job would do.
#[derive(Debug)]
pub struct Plan {
    /// Names everything that it rests upon.
    pub etag: String,
    /// The job's present generation.
    pub generation: u32,
    /// How many tasks stay as they are.
    pub kept: usize,
    /// Of those, how many are queued because they had failed or were canceled.
    pub again: usize,
    /// Tasks that do something else now.
    pub changed: Vec<Named>,
    /// New ones.
    pub added: Vec<Named>,
    /// Those that there are no more.
    pub vanished: Vec<Named>,
    /// How many that run now would be asked to stop.
    pub stopped: usize,
    /// Paths of inputs that have changed.
    pub inputs: Vec<String>,
    /// Neither a task nor anything that is known about the job would change.
    pub is_empty: bool,
    difference: Difference,
    compiled: CompiledJob,
    detail: JobDetail,
    end: u32,
}

/// The job as it stood when the plan was made.
struct Present {
    generation: u32,
    script_hash: [u8; 32],
    job_type: String,
    priority: i32,
    tag: Option<String>,
    created: Timestamp,
    status: JobStatus,
    detail: JobDetail,
    tasks: Vec<HadTask>,
    statuses: BTreeMap<u32, TaskStatus>,
    end: u32,
}

/// Reads the job and its tasks, some at a time.
fn present(engine: &Engine, id: JobId) -> Result<Present, Refusal> {
    let unknown = || Refusal::UnknownJob { job: id };
    let mut present = {
        let model = engine.model();
        let job = model.farm().jobs().get(&id).ok_or_else(unknown)?;
        let facts = &job.state.facts;
        Present {
            generation: facts.generation,
            script_hash: facts.script_hash,
            job_type: facts.job_type.clone(),
            priority: facts.priority,
            tag: facts.tag.map(|tag| tag.to_string()),
            created: facts.created,
            status: job.state.status,
            detail: model.job(id).ok_or_else(unknown)?.detail.clone(),
            tasks: Vec::new(),
            statuses: BTreeMap::new(),
            end: job.tasks.end(),
        }
    };
    for first in (0..present.end).step_by(READ_AT_ONCE as usize) {
        let model = engine.model();
        for number in first..present.end.min(first.saturating_add(READ_AT_ONCE)) {
            let view = model.task_numbered(id, number).ok_or_else(unknown)?;
            if view.task.retired {
                continue;
            }
            present.statuses.insert(number, view.task.status);
            present.tasks.push(HadTask {
                number,
                name: view.texts().name().to_owned(),
                task_type: view.task_type.to_owned(),
                content_hash: *view.task.content_hash,
                depends_on: view.task.depends_on.to_vec(),
            });
        }
    }
    Ok(present)
}

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap_or_default()
}

/// The settings as they are to be submitted now: raw ones to be kept, and those that the script
/// gets, with paths turned into variables as they were.
fn settings(
    node: &Node,
    present: &Present,
    wanted: &Wanted,
) -> (Map<String, Value>, Map<String, Value>) {
    let mut submitted = object(&present.detail.settings_submitted);
    let in_effect = object(&present.detail.settings);
    let platforms = [own_platform(), "linux", "windows", "darwin"];
    let mut given = Map::new();
    for (key, value) in &submitted {
        let mut value = value.clone();
        if let Value::String(text) = &mut value {
            // Nobody noted where it was submitted: whichever platform made of it what it became.
            let collapsed = platforms
                .map(|platform| node.variables(Audience::Workers, platform).collapse(text));
            let became = in_effect.get(key).and_then(Value::as_str);
            let same = collapsed.iter().find(|text| Some(text.as_str()) == became);
            *text = same.unwrap_or(&collapsed[0]).clone();
        }
        given.insert(key.clone(), value);
    }
    let platform = match wanted.platform.as_str() {
        "" => own_platform(),
        named => named,
    };
    let variables = node.variables(Audience::Workers, platform);
    for (key, value) in &wanted.settings {
        if value.is_null() {
            submitted.remove(key);
            given.remove(key);
            continue;
        }
        submitted.insert(key.clone(), value.clone());
        let collapsed = match value {
            Value::String(text) => Value::String(variables.collapse(text)),
            other => other.clone(),
        };
        given.insert(key.clone(), collapsed);
    }
    (submitted, given)
}

/// Says what regenerating a job would do. Changes nothing.
pub async fn plan(
    node: &Node,
    engine: &Engine,
    job: JobId,
    wanted: &Wanted,
) -> Result<Plan, Error> {
    let reader = engine.clone();
    let present = tokio::task::spawn_blocking(move || present(&reader, job)).await;
    let present = present.map_err(|_| Error::Compiler)??;
    let (submitted, given) = settings(node, &present, wanted);
    let order = SubmittedJob {
        id: job.uuid(),
        name: present.detail.name.clone(),
        job_type: present.job_type.clone(),
        type_etag: None,
        priority: present.priority,
        settings: given,
        metadata: present.detail.metadata.iter().cloned().collect(),
        submitter_platform: String::new(),
        shaman_checkout_id: Some(present.detail.shaman_checkout.clone())
            .filter(|checkout| !checkout.is_empty()),
        worker_tag: present.tag.clone(),
        created: clock::jiff_time(present.created),
    };
    let variables = node.variables(Audience::Workers, own_platform());
    let job_types = node.job_types.clone();
    let wanted = wanted.clone();
    let made = tokio::task::spawn_blocking(move || {
        let compiled = job_types.compile(order)?;
        let seen = inputs::of_settings(&compiled.settings, &variables);
        Ok(put_together(present, compiled, &submitted, seen, &wanted))
    });
    made.await.map_err(|error| {
        tracing::error!(%error, "a compilation panicked");
        Error::Compiler
    })?
}

/// Text as it stands within JSON.
fn quoted(text: &str) -> String {
    let quoted = Value::String(text.to_owned()).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn put_together(
    present: Present,
    compiled: CompiledJob,
    submitted: &Map<String, Value>,
    seen: Vec<Input>,
    wanted: &Wanted,
) -> Plan {
    let touched = inputs::changed(&present.detail.inputs, &seen, &wanted.inputs);
    let needles: Vec<String> = touched.iter().map(|path| quoted(path)).collect();
    let tasks: Vec<WantedTask> = (compiled.tasks.iter())
        .map(|task| WantedTask {
            name: task.name.clone(),
            task_type: task.task_type.clone(),
            content_hash: submission::content_hash(task),
            depends_on: task.depends_on.clone(),
            is_touched: wanted.everything
                || (needles.iter()).any(|path| task.commands_json.contains(path.as_str())),
        })
        .collect();
    let difference = compare(&present.tasks, &tasks);
    let old: BTreeMap<u32, &HadTask> = (present.tasks.iter())
        .map(|task| (task.number, task))
        .collect();
    let of_old = |number: &u32| Named {
        name: old[number].name.clone(),
        task_type: old[number].task_type.clone(),
    };
    let of_new = |place: &usize| Named {
        name: tasks[*place].name.clone(),
        task_type: tasks[*place].task_type.clone(),
    };
    let status = |number: &u32| present.statuses.get(number).copied();
    let went = difference.changed.values().chain(&difference.vanished);
    let stopped = went.filter(|&number| status(number) == Some(TaskStatus::Active));
    let ended = matches!(present.status, JobStatus::Failed | JobStatus::Canceled);
    let again = difference.kept.values().filter(|&number| {
        ended
            && !matches!(
                status(number),
                Some(TaskStatus::Completed | TaskStatus::Active)
            )
    });
    let detail = JobDetail {
        name: compiled.name.clone(),
        settings_submitted: Value::Object(submitted.clone()).to_string(),
        settings: Value::Object(compiled.settings.clone()).to_string(),
        metadata: compiled.metadata.clone().into_iter().collect(),
        inputs: inputs::known(seen, wanted.inputs.clone()),
        ..present.detail.clone()
    };
    let script_hash = script_hash(&compiled);
    // A file that was only looked at for the first time, or touched, is no reason to write.
    let same_words = JobDetail {
        inputs: Vec::new(),
        ..detail.clone()
    } == JobDetail {
        inputs: Vec::new(),
        ..present.detail.clone()
    };
    let rests_upon = serde_json::json!([
        present.generation,
        compiled.script_hash,
        detail.settings_submitted,
        detail.settings,
        touched,
        difference.retired(),
        difference.coming().len(),
    ]);
    let etag = blake3::hash(rests_upon.to_string().as_bytes()).to_hex();
    Plan {
        etag: format!("\"{}\"", &etag.as_str()[..32]),
        generation: present.generation,
        kept: difference.kept.len(),
        again: if difference.is_empty() {
            0
        } else {
            again.count()
        },
        changed: difference.changed.keys().map(of_new).collect(),
        added: difference.added.iter().map(of_new).collect(),
        vanished: difference.vanished.iter().map(of_old).collect(),
        stopped: stopped.count(),
        inputs: touched,
        is_empty: difference.is_empty() && same_words && script_hash == present.script_hash,
        difference,
        compiled,
        detail,
        end: present.end,
    }
}

fn script_hash(compiled: &CompiledJob) -> [u8; 32] {
    let hash = blake3::Hash::from_hex(&compiled.script_hash);
    hash.map_or([0; 32], |hash| *hash.as_bytes())
}

/// Carries a plan out.
pub async fn carry_out(
    engine: &Engine,
    job: JobId,
    plan: Plan,
    actor: Actor,
    asker: Asker,
    reason: String,
) -> Result<Reply, Stopped> {
    if plan.is_empty {
        return Ok(Ok(Answer::Job(job)));
    }
    let script_hash = script_hash(&plan.compiled);
    let retired = plan.difference.retired();
    let (pieces, count) = coming(plan.compiled, &plan.difference, plan.end);
    let ask = |request, body| Ask {
        body,
        ..Ask::new(request, actor, asker.clone())
    };
    for chunk in pieces {
        let request = Request::PrepareTasks {
            job,
            generation: plan.generation + 1,
            chunk: Box::new(chunk),
        };
        // Refused, the job is no longer the one that was compared; nothing was changed.
        if let Err(refusal) = engine.ask(ask(request, Body::Events)).await? {
            return Ok(Err(refusal));
        }
    }
    let regeneration = Box::new(Regeneration {
        job,
        from_generation: plan.generation,
        script_hash,
        retired,
        added: (plan.end, count),
        detail: plan.detail,
        reason,
    });
    engine
        .ask(ask(Request::RegenerateJob { regeneration }, Body::Events))
        .await
}

/// The tasks that come, with the numbers that they will have, cut into pieces.
fn coming(
    compiled: CompiledJob,
    difference: &Difference,
    end: u32,
) -> (Vec<tablao_core::request::TaskChunk>, u32) {
    let places = difference.coming();
    let mut number_of: BTreeMap<usize, u32> = difference.kept.clone();
    number_of.extend(places.iter().copied().zip(end..));
    let count = u32::try_from(places.len()).expect("the compiler bounds the tasks");
    let mut tasks = compiled.tasks;
    let mut place = 0;
    tasks.retain_mut(|task| {
        let comes = !difference.kept.contains_key(&place);
        place += 1;
        for other in &mut task.depends_on {
            *other = number_of[other] as usize;
        }
        comes
    });
    (submission::pieces_from(end, tasks), count)
}
