// SPDX-License-Identifier: GPL-3.0-or-later
//! What goes into a compilation and what comes out of it.
//!
//! These are the compiler's own types: plain data without behaviour, so that the farm's entities
//! can change without the script environment noticing, and the other way round.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::commands_text::CommandsText;

/// A job as somebody sent it, before its script ran.
#[derive(Debug, Clone, PartialEq)]
pub struct SubmittedJob {
    /// The id the job will have; scripts see it as `job.jobID`.
    pub id: Uuid,
    /// Name for people.
    pub name: String,
    /// Name of the job type, such as `simple-blender-render`.
    pub job_type: String,
    /// The etag of the job type the submitter saw. Empty or absent skips the comparison.
    pub type_etag: Option<String>,
    /// Higher runs first.
    pub priority: i32,
    /// Settings as sent. Nothing is filled in: scripts rely on missing settings being `undefined`.
    pub settings: Map<String, Value>,
    /// Free text about the job.
    pub metadata: BTreeMap<String, String>,
    /// Operating system of the submitter; kept for the caller, scripts do not see it.
    pub submitter_platform: String,
    /// Id of a Shaman checkout that belongs to the job; scripts see it as `job.storage.shamanCheckoutID`.
    pub shaman_checkout_id: Option<String>,
    /// UUID of the worker tag, when the job is limited to tagged Workers.
    pub worker_tag: Option<String>,
    /// When the job was received; scripts see it as `job.created`.
    pub created: Timestamp,
}

/// A job after its script ran. Everything here is an answer: nothing is computed again at replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompiledJob {
    /// The job's id, as submitted.
    pub id: Uuid,
    /// The job's name; the script may have changed it.
    pub name: String,
    /// The job type that compiled it.
    pub job_type: String,
    /// The job's priority; the script may have changed it.
    pub priority: i32,
    /// The settings in effect: as submitted, with the script's changes and deletions.
    pub settings: Map<String, Value>,
    /// The metadata, with the script's changes.
    pub metadata: BTreeMap<String, String>,
    /// Worker tag, absent when empty.
    pub worker_tag: Option<String>,
    /// Shaman checkout, absent when empty.
    pub shaman_checkout_id: Option<String>,
    /// BLAKE3 of the job type script's source, lower-case hex.
    pub script_hash: String,
    /// Tasks in the order in which the script added them.
    pub tasks: Vec<CompiledTask>,
}

/// One task of a compiled job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompiledTask {
    /// The task's id, unique everywhere.
    pub uuid: Uuid,
    /// Name for people, such as `render-1-3`.
    pub name: String,
    /// Free text that Workers are matched by, such as `blender`.
    pub task_type: String,
    /// Higher runs first within the job; 50 unless the script says otherwise.
    pub priority: i32,
    /// Places in [`CompiledJob::tasks`] of the tasks that must be completed first.
    /// Invariant: in range, no repetitions, and no cycle in the whole job.
    pub depends_on: Vec<usize>,
    /// What the Worker runs, in order: the JSON text of a list of [`Command`]s. It stays text,
    /// because everything after the compiler only hands it on.
    pub commands_json: String,
    /// Steps of all commands; a command that names none counts as one.
    pub steps_total: u32,
    /// The frames a `blender-render` command asks for, in regular notation such as `1-3,7`.
    pub frames: Option<String>,
}

impl CompiledTask {
    /// A task that no script made, with what is to be known of its commands.
    #[must_use]
    pub fn of_commands(uuid: Uuid, name: String, task_type: String, commands: &[Command]) -> Self {
        let mut text = CommandsText::default();
        for command in commands {
            let write = |into: &mut Vec<u8>| serde_json::to_writer(into, &command.parameters);
            text.push(&command.name, command.total_step_count, write)
                .expect("JSON is written to memory");
        }
        Self {
            uuid,
            name,
            task_type,
            priority: 50,
            depends_on: Vec::new(),
            steps_total: text.steps_total,
            frames: text.frames.take(),
            commands_json: text.finish(),
        }
    }

    /// The commands, read from their text.
    #[must_use]
    pub fn commands(&self) -> Vec<Command> {
        serde_json::from_str(&self.commands_json).unwrap_or_default()
    }
}

/// One command of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// Name of the command, such as `blender-render`.
    pub name: String,
    /// Parameters; variables in braces are still in place.
    pub parameters: Map<String, Value>,
    /// Steps the command reports itself; 0 means it counts as one step when it ends.
    pub total_step_count: u32,
}
