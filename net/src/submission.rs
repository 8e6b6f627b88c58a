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
pub fn new_job(mut compiled: CompiledJob, terms: &Terms) -> NewJob {
    let tasks = std::mem::take(&mut compiled.tasks);
    let job = job_without_tasks(&compiled, terms, tasks.len());
    NewJob {
        chunk: chunk(tasks),
        ..job
    }
}

/// Puts a compiled job into the core's shape; its tasks come on their own.
pub fn job_without_tasks(compiled: &CompiledJob, terms: &Terms, tasks: usize) -> NewJob {
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
        tasks_expected: u32::try_from(tasks).expect("the compiler bounds the tasks"),
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
        chunk: TaskChunk::default(),
    }
}

/// The place of a task type in a table, where it may have to be added.
fn place_of_type(types: &mut Vec<String>, task_type: &str) -> u16 {
    let known = types.iter().position(|known| known == task_type);
    let place = known.unwrap_or_else(|| {
        types.push(task_type.to_owned());
        types.len() - 1
    });
    u16::try_from(place).unwrap_or(u16::MAX)
}

/// The hash of what a task does by itself.
pub(crate) fn content_hash(task: &CompiledTask) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(task.task_type.as_bytes());
    hasher.update(&[0]);
    hasher.update(task.commands_json.as_bytes());
    *hasher.finalize().as_bytes()
}

/// The facts of a task; its name and its commands are details.
fn new_task(task: &CompiledTask, task_type: u16, content_hash: [u8; 32]) -> NewTask {
    let number = |&place: &usize| u32::try_from(place).expect("the compiler bounds the tasks");
    NewTask {
        uuid: TaskId::new(task.uuid),
        task_type,
        priority: task.priority,
        depends_on: task.depends_on.iter().map(number).collect(),
        frames: (task.frames.as_deref())
            .and_then(FrameRanges::parse)
            .unwrap_or_default(),
        steps_total: task.steps_total,
        content_hash,
    }
}

/// Tasks that are put together to a chunk.
#[derive(Default)]
struct Gathered {
    tasks: Vec<NewTask>,
    detail: TasksDetail,
    /// Lists are known by their hash, which has to be made anyway.
    lists: HashMap<[u8; 32], u32>,
}

impl Gathered {
    fn add(&mut self, task: CompiledTask, new: NewTask) {
        let list = *self.lists.entry(new.content_hash).or_insert_with(|| {
            self.detail.command_lists.push(task.commands_json);
            u32::try_from(self.detail.command_lists.len() - 1).expect("as many as tasks at most")
        });
        self.detail.commands_of.push(list);
        self.detail.names.push(task.name);
        self.tasks.push(new);
    }

    fn into_chunk(self, first_number: u32, types: Vec<String>) -> TaskChunk {
        TaskChunk {
            first_number,
            types,
            tasks: self.tasks.into(),
            detail: self.detail,
        }
    }
}

fn chunk(tasks: Vec<CompiledTask>) -> TaskChunk {
    let (mut types, mut all) = (Vec::new(), Gathered::default());
    for task in tasks {
        let new = new_task(
            &task,
            place_of_type(&mut types, &task.task_type),
            content_hash(&task),
        );
        all.add(task, new);
    }
    all.into_chunk(0, types)
}

/// How large the bodies of one chunk may be, unless a single task is larger. A decision must fit a
/// batch of 1 MiB, but workers' asks wait behind each: this much takes the engine a millisecond.
const CHUNK_BYTES_MAX: usize = 128 << 10;

/// Cuts a job into pieces that each fit one decision, while it is still being compiled.
#[derive(Default)]
pub struct Cutter {
    types: Vec<String>,
    pieces: Vec<TaskChunk>,
    open: Gathered,
    /// Size of the bodies of the open piece.
    bytes: usize,
    first_number: u32,
}

impl Cutter {
    /// Takes the job's next task.
    pub fn add(&mut self, task: CompiledTask) {
        let task_type = place_of_type(&mut self.types, &task.task_type);
        let new = new_task(&task, task_type, content_hash(&task));
        let own = bytes_of(&task.name, new.depends_on.len(), new.frames.ranges().len());
        let is_known = self.open.lists.contains_key(&new.content_hash);
        let text = if is_known {
            5
        } else {
            task.commands_json.len()
        };
        if self.bytes + own + text > CHUNK_BYTES_MAX && !self.open.tasks.is_empty() {
            self.close_piece();
        }
        self.bytes += own + text;
        self.open.add(task, new);
    }

    fn close_piece(&mut self) {
        let piece = std::mem::take(&mut self.open);
        let count = u32::try_from(piece.tasks.len()).expect("numbers are u32");
        (self.pieces).push(piece.into_chunk(self.first_number, self.types.clone()));
        self.first_number += count;
        self.bytes = 0;
    }

    /// All pieces, and the number of tasks in them.
    pub fn finish(mut self) -> (Vec<TaskChunk>, usize) {
        if !self.open.tasks.is_empty() {
            self.close_piece();
        }
        (self.pieces, self.first_number as usize)
    }
}

/// Tasks that come to a job which has some, from a number on; what they depend on are numbers.
pub(crate) fn pieces_from(first_number: u32, tasks: Vec<CompiledTask>) -> Vec<TaskChunk> {
    let mut cutter = Cutter {
        first_number,
        ..Cutter::default()
    };
    tasks.into_iter().for_each(|task| cutter.add(task));
    cutter.finish().0
}

/// About how many bytes a task's facts and name take.
fn bytes_of(name: &str, dependencies: usize, frame_ranges: usize) -> usize {
    96 + name.len() + dependencies * 5 + frame_ranges * 10
}

/// Cuts a chunk into pieces that each fit one decision. One whose parts do not belong together,
/// as it may come from another build or a damaged blob, stays whole and is refused as such.
pub fn split(chunk: TaskChunk) -> Vec<TaskChunk> {
    let (count, lists) = (chunk.tasks.len(), chunk.detail.command_lists.len());
    let is_sound = chunk.detail.names.len() == count
        && chunk.detail.commands_of.len() == count
        && (chunk.detail.commands_of.iter()).all(|&list| (list as usize) < lists);
    if !is_sound {
        return vec![chunk];
    }
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
        let own = bytes_of(&name, task.depends_on.len(), task.frames.ranges().len());
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

/// What is left of a piece where the job has its first tasks already, perhaps cut elsewhere by
/// another build.
pub(crate) fn from_task(mut piece: TaskChunk, there: usize) -> Option<TaskChunk> {
    let skipped = there.saturating_sub(piece.first_number as usize);
    if skipped >= piece.tasks.len() {
        return None;
    }
    piece.first_number += u32::try_from(skipped).expect("fewer than the piece has");
    piece.tasks = piece.tasks.part(skipped..piece.tasks.len());
    piece.detail.names.drain(..skipped);
    piece.detail.commands_of.drain(..skipped);
    Some(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(tasks: u32) -> Vec<CompiledTask> {
        let task = |number: u32| CompiledTask {
            uuid: uuid::Uuid::from_u128(u128::from(number) + 1),
            name: format!("task {number}"),
            task_type: "misc".to_owned(),
            priority: 50,
            depends_on: Vec::new(),
            // Every tenth list is one that all of those share.
            commands_json: format!(
                "[{:?}]",
                "x".repeat(900) + &(number % 10 * number).to_string()
            ),
            steps_total: 1,
            frames: None,
        };
        (0..tasks).map(task).collect()
    }

    fn chunk(tasks: u32) -> TaskChunk {
        super::chunk(compiled(tasks))
    }

    /// The name and the commands of each task, by its number.
    fn told(pieces: &[TaskChunk]) -> Vec<(u32, String, String)> {
        let of_piece = |piece: &TaskChunk| {
            let tasks = piece.detail.names.iter().zip(&piece.detail.commands_of);
            let told = tasks.enumerate().map(|(place, (name, list))| {
                let commands = &piece.detail.command_lists[*list as usize];
                (
                    piece.first_number + place as u32,
                    name.clone(),
                    commands.clone(),
                )
            });
            told.collect::<Vec<_>>()
        };
        pieces.iter().flat_map(of_piece).collect()
    }

    /// Protects tasks from other tasks' commands: cutting moves texts and counts places anew.
    #[test]
    fn pieces_say_what_the_whole_says() {
        let whole = chunk(1_000);
        let expected = told(std::slice::from_ref(&whole));
        let pieces = split(whole);
        assert!(pieces.len() > 3, "{} pieces", pieces.len());
        assert_eq!(told(&pieces), expected);
        for piece in &pieces {
            let texts = piece.detail.command_lists.iter().map(String::len);
            assert!(texts.sum::<usize>() <= CHUNK_BYTES_MAX);
            let mut lists = piece.detail.command_lists.clone();
            lists.sort();
            lists.dedup();
            assert_eq!(
                lists.len(),
                piece.detail.command_lists.len(),
                "a list stands twice"
            );
        }
    }

    /// Protects large jobs: cutting while the job is compiled gives what cutting it afterwards does.
    #[test]
    fn cutting_in_passing_says_what_the_whole_says() {
        let mut cutter = Cutter::default();
        for task in compiled(1_000) {
            cutter.add(task);
        }
        let (pieces, count) = cutter.finish();
        assert_eq!(count, 1_000);
        assert_eq!(pieces, split(chunk(1_000)));
        assert_eq!(Cutter::default().finish(), (Vec::new(), 0));
    }

    /// Protects a submission that was cut off from being refused by a build that cuts elsewhere.
    #[test]
    fn goes_on_in_the_middle_of_a_piece() {
        let expected = told(&[chunk(1_000)]);
        for there in [0, 1, 77, 500, 999, 1_000] {
            let pieces = split(chunk(1_000)).into_iter();
            let left: Vec<TaskChunk> = pieces.filter_map(|piece| from_task(piece, there)).collect();
            assert_eq!(told(&left), expected[there..], "{there}");
        }
    }
}
