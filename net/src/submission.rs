// SPDX-License-Identifier: GPL-3.0-or-later
//! From a submitted job to the core's shape: compile with the job type's script, then take
//! facts and details apart.

use std::collections::HashMap;

use serde_json::{Map, Value};
use tablao_core::{
    JobId, JobStatus, ManagerId, ProjectId, ShotId, TagId, TaskId, Timestamp, UserId,
    detail::{JobDetail, TasksDetail},
    entity::{FailPolicy, JobFacts, JobSource, Limits, Requirements},
    event::NewTask,
    frames::FrameRanges,
    request::{NewJob, TaskChunk},
};
use tablao_jobtypes::{CompiledJob, CompiledTask};

/// What a submission says beside what the script sees.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The Manager that will run it.
    pub manager: ManagerId,
    /// Queued or paused.
    pub initial: JobStatus,
    /// When it was submitted.
    pub created: Timestamp,
    /// Settings as submitted.
    pub settings: Map<String, Value>,
    /// How it came.
    pub source: JobSource,
    /// Name of who submits.
    pub user: String,
}

/// Puts a compiled job into the core's shape, with all of its tasks in one chunk.
pub fn new_job(compiled: CompiledJob, terms: &Terms) -> NewJob {
    let job = JobId::new(compiled.id);
    let metadata = |key: &str| compiled.metadata.get(key).cloned().unwrap_or_default();
    let named = |own: String, other: &str| if own.is_empty() { metadata(other) } else { own };
    let project = metadata("project");
    let shot = metadata("shot");
    let user = named(metadata("user"), "user.name");
    let user = if user.is_empty() {
        terms.user.clone()
    } else {
        user
    };
    let facts = JobFacts {
        job,
        job_type: compiled.job_type.clone(),
        script_hash: blake3::Hash::from_hex(&compiled.script_hash)
            .map_or([0; 32], |hash| *hash.as_bytes()),
        generation: 1,
        priority: compiled.priority,
        tag: compiled
            .worker_tag
            .as_deref()
            .and_then(|tag| tag.parse::<TagId>().ok()),
        project: (!project.is_empty()).then(|| ProjectId::named(&project)),
        user: (!user.is_empty()).then(|| UserId::named(&user)),
        shot: if shot.is_empty() {
            ShotId::of_job(job)
        } else {
            ShotId::named(&project, &shot)
        },
        requires: Requirements::default(),
        limits: Limits::default(),
        not_before: None,
        depends_on_jobs: Vec::new(),
        fail_policy: FailPolicy::default(),
        initial: terms.initial,
        manager: terms.manager,
        job_epoch: 1,
        source: terms.source,
        tasks_expected: u32::try_from(compiled.tasks.len()).expect("the compiler bounds the tasks"),
        created: terms.created,
    };
    let text = |map: &Map<String, Value>| Value::Object(map.clone()).to_string();
    let detail = JobDetail {
        name: compiled.name.clone(),
        user,
        project,
        shot,
        settings_submitted: text(&terms.settings),
        settings: text(&compiled.settings),
        metadata: compiled.metadata.clone().into_iter().collect(),
        inputs: Vec::new(),
        shaman_checkout: compiled.shaman_checkout_id.clone().unwrap_or_default(),
    };
    NewJob {
        facts,
        detail,
        chunk: chunk(compiled.tasks),
    }
}

fn chunk(tasks: Vec<CompiledTask>) -> TaskChunk {
    let mut types: Vec<String> = Vec::new();
    // Lists are known by their hash, which has to be made anyway.
    let mut lists: HashMap<[u8; 32], u32> = HashMap::with_capacity(tasks.len());
    let mut detail = TasksDetail::default();
    let mut new_tasks = Vec::with_capacity(tasks.len());
    for task in tasks {
        let task_type = types
            .iter()
            .position(|known| *known == task.task_type)
            .unwrap_or_else(|| {
                types.push(task.task_type.clone());
                types.len() - 1
            });
        let mut hasher = blake3::Hasher::new();
        hasher.update(task.task_type.as_bytes());
        hasher.update(&[0]);
        hasher.update(task.commands_json.as_bytes());
        let content_hash = *hasher.finalize().as_bytes();
        new_tasks.push(NewTask {
            uuid: TaskId::new(task.uuid),
            task_type: u16::try_from(task_type).unwrap_or(u16::MAX),
            priority: task.priority,
            depends_on: task
                .depends_on
                .iter()
                .map(|&place| u32::try_from(place).expect("the compiler bounds the tasks"))
                .collect(),
            frames: task
                .frames
                .as_deref()
                .and_then(FrameRanges::parse)
                .unwrap_or_default(),
            steps_total: task.steps_total,
            content_hash,
        });
        detail.names.push(task.name);
        let place = detail.command_lists.len();
        let list = *lists.entry(content_hash).or_insert_with(|| {
            detail.command_lists.push(task.commands_json);
            u32::try_from(place).expect("as many lists as tasks at most")
        });
        detail.commands_of.push(list);
    }
    TaskChunk {
        first_number: 0,
        types,
        tasks: new_tasks.into(),
        detail,
    }
}

/// How large the bodies of one chunk may be: a decision must fit a batch of 1 MiB.
const CHUNK_BYTES_MAX: usize = 512 << 10;

/// Cuts a chunk into pieces that each fit one decision.
pub fn split(chunk: TaskChunk) -> Vec<TaskChunk> {
    let mut pieces: Vec<TaskChunk> = Vec::new();
    let mut bytes = usize::MAX;
    let mut texts = chunk.detail.command_lists;
    // How many tasks still want each list: the last one takes it, the others copy it.
    let mut wanted = vec![0u32; texts.len()];
    for &list in &chunk.detail.commands_of {
        wanted[list as usize] += 1;
    }
    // Where each list of the whole chunk stands in the piece at hand, and in which piece that was.
    let mut places = vec![(usize::MAX, 0u32); texts.len()];
    for (position, (task, name)) in chunk.tasks.iter().zip(chunk.detail.names).enumerate() {
        let list = chunk.detail.commands_of[position] as usize;
        let own = 96 + name.len() + task.depends_on.len() * 5 + task.frames.ranges().len() * 10;
        let is_there = |piece: usize| places[list].0 == piece;
        let mut text = match pieces.len().checked_sub(1).is_some_and(is_there) {
            true => 5,
            false => texts[list].len(),
        };
        if bytes.saturating_add(own + text) > CHUNK_BYTES_MAX {
            text = texts[list].len();
            pieces.push(TaskChunk {
                first_number: chunk.first_number
                    + u32::try_from(position).expect("numbers are u32"),
                types: chunk.types.clone(),
                ..TaskChunk::default()
            });
            bytes = 0;
        }
        let number = pieces.len() - 1;
        let piece = &mut pieces[number];
        wanted[list] -= 1;
        if places[list].0 != number {
            let place = u32::try_from(piece.detail.command_lists.len()).expect("numbers are u32");
            places[list] = (number, place);
            piece.detail.command_lists.push(if wanted[list] == 0 {
                std::mem::take(&mut texts[list])
            } else {
                texts[list].clone()
            });
        }
        bytes += own + text;
        piece.detail.names.push(name);
        piece.detail.commands_of.push(places[list].1);
    }
    // Each piece keeps its own part of the packed tasks; names and parts end at the same places.
    let mut from = 0;
    for piece in &mut pieces {
        let until = from + piece.detail.names.len();
        piece.tasks = chunk.tasks.part(from..until);
        from = until;
    }
    pieces
}
