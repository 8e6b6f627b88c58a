// SPDX-License-Identifier: GPL-3.0-or-later
//! An assigned task as its worker gets it: variables replaced, our own worker's extension added.
//!
//! Only what is needed is taken out of the read model while it is held; JSON is made afterwards,
//! so that the model can move along.

use serde::Serialize;
use serde_json::Value;
use tablao_core::{
    AttemptId, Farm, JobId, ShotId, TaskId, WorkerId,
    entity::{FrameKey, Protocol},
    frames::FrameRanges,
};
use tablao_projections::TaskView;

use crate::{engine::Engine, node::SharedNode, variables::Audience};

#[derive(Serialize)]
pub(super) struct AssignedTask {
    uuid: TaskId,
    job: JobId,
    name: String,
    status: &'static str,
    priority: i32,
    job_priority: i32,
    job_type: String,
    task_type: String,
    commands: Value,
    steps_completed: u32,
    steps_total: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    tablao: Option<Extension>,
}

#[derive(Serialize)]
struct Extension {
    attempt: String,
    lease_ms: u32,
    start_within_ms: u32,
    shot: ShotId,
    overwrite: bool,
    /// With `overwrite`: inclusive ranges of frames that this task has published since, to be
    /// left as they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fresh: Vec<(i32, i32)>,
    thumbnails: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    frames: String,
    /// Frames that are rendered though they have files, which make way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rerender: Vec<RerenderedFrame>,
}

#[derive(Serialize)]
struct RerenderedFrame {
    number: i32,
    /// BLAKE3 of the file that is to make way; any other is left.
    #[serde(skip_serializing_if = "Option::is_none")]
    hash: Option<String>,
}

/// What a task is to render anew.
fn rerender(farm: &Farm, job: JobId, task: u32) -> Vec<RerenderedFrame> {
    let wanted = farm.flaws().wanted_of(job, task);
    wanted
        .map(|(key, flaw)| RerenderedFrame {
            number: key.number,
            hash: (flaw.seen).map(|hash| blake3::Hash::from_bytes(hash).to_string()),
        })
        .collect()
}

/// The frames of a task that were published since what it had rendered was discarded.
fn fresh_frames(farm: &Farm, view: &TaskView<'_>) -> FrameRanges {
    let (job, task) = (view.job, view.task);
    let Some(since) = job.tasks.rendered_since(task.number) else {
        return FrameRanges::default();
    };
    let is_fresh = |number: &i32| {
        let key = FrameKey {
            shot: job.state.facts.shot,
            output: String::new(),
            view: String::new(),
            number: *number,
        };
        farm.frames().get(&key).is_some_and(|frame| {
            frame.job == job.state.facts.job
                && frame.task == task.number
                && frame.attempt.lsn > since
        })
    };
    let ranges = task.frames.ranges().iter();
    let numbers = ranges.flat_map(|&(first, last)| first..=last);
    FrameRanges::from_numbers(numbers.filter(is_fresh))
}

impl AssignedTask {
    /// `None`: it was taken away again in the meantime.
    pub(super) fn of(
        node: &SharedNode,
        engine: &Engine,
        worker: WorkerId,
        attempt: AttemptId,
        task: TaskId,
    ) -> Option<Self> {
        let (mut assigned, texts, variables) = {
            let model = engine.model();
            let view = model.task(task)?;
            let live = model.farm().attempts().get(&attempt)?;
            let platform = &model.farm().workers().get(&worker)?.platform;
            let facts = &view.job.state.facts;
            let tablao = (live.protocol == Protocol::Tablao).then(|| Extension {
                attempt: attempt.to_string(),
                lease_ms: live.lease_ms,
                start_within_ms: live.start_within_ms,
                shot: facts.shot,
                overwrite: view.job.tasks.rendered_since(view.task.number).is_some(),
                fresh: fresh_frames(model.farm(), &view).ranges().to_vec(),
                thumbnails: "upload",
                frames: view.task.frames.to_string(),
                rerender: rerender(model.farm(), facts.job, view.task.number),
            });
            let texts = view.texts();
            let assigned = Self {
                uuid: task,
                job: facts.job,
                name: texts.name().to_owned(),
                status: "active",
                priority: view.task.priority,
                job_priority: facts.priority,
                job_type: facts.job_type.clone(),
                task_type: view.task_type.to_owned(),
                commands: Value::Null,
                steps_completed: view.task.steps_completed,
                steps_total: view.task.steps_total,
                tablao,
            };
            let variables = node.variables(Audience::Workers, platform);
            (assigned, texts, variables)
        };
        assigned.commands = serde_json::from_str(texts.commands()).unwrap_or_default();
        for command in assigned.commands.as_array_mut().into_iter().flatten() {
            if let Some(parameters) = command.get_mut("parameters").and_then(Value::as_object_mut) {
                variables.expand_parameters(parameters);
            }
        }
        Some(assigned)
    }
}
