// SPDX-License-Identifier: GPL-3.0-or-later
//! The JSON that Worker and Manager exchange: Flamenco 3's worker endpoints, and our fields
//! beside them under `tablao`.
//!
//! Every object is open: unknown fields are ignored in both directions. Nothing here acts.

use serde::{Deserialize, Serialize};

/// `POST worker/register-worker`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registration {
    /// Name shown to people.
    pub name: String,
    /// Secret made by the Worker, 64 hexadecimal digits.
    pub secret: String,
    /// `linux`, `windows` or `darwin`.
    pub platform: String,
    /// Task types this Worker runs.
    pub supported_task_types: Vec<String>,
}

/// Answer to a registration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Registered {
    /// The Worker's id from now on.
    pub uuid: String,
}

/// `POST worker/sign-on`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignOn {
    /// Name shown to people.
    pub name: String,
    /// Task types this Worker runs.
    pub supported_task_types: Vec<String>,
    /// `Tablao <version>`.
    pub software_version: String,
    /// Whether a `restart` may be asked of it.
    #[serde(default)]
    pub can_restart: bool,
    /// Our extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tablao: Option<SignOnExtension>,
}

/// What our Worker adds to a sign-on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignOnExtension {
    /// Version of these extensions.
    pub protocol: u32,
    /// Tasks it runs at the same time.
    pub slots: u32,
    /// Attempts about which reports are still to come.
    pub held_attempts: Vec<String>,
    /// What this machine's clock shows, in milliseconds since the Unix epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_ms: Option<i64>,
    /// Bytes of memory that a task may count on, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_memory_bytes: Option<u64>,
}

/// A status somebody asked this Worker to take.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusRequested {
    /// `awake`, `asleep`, `offline`, `restart`, ...
    pub status_requested: String,
    /// Our extension, in the answer to a sign-on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tablao: Option<SignedOn>,
}

/// What our Manager adds to the answer to a sign-on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SignedOn {
    /// Why this Worker is in quarantine, if it is: `self-check`, `failures` or `person`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<String>,
}

/// `POST /api/farm/v1/worker/health`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HealthReport {
    /// The job in which it was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
    /// What is wrong; nothing if the machine is well.
    pub findings: Vec<Finding>,
}

/// One thing that is wrong with a machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// Which path, program or clock.
    pub subject: String,
    /// Only the job at hand names it, so the job may be wrong and not the machine.
    pub of_job: bool,
    /// What, where, and what to do.
    pub words: String,
}

/// Kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// The clocks of Worker and Manager differ.
    Clock,
    /// A disk is full, or nearly so.
    Disk,
    /// A program is not there or does not start.
    Program,
    /// A file or folder cannot be read.
    Unreadable,
    /// A folder of a file that is to be read is not there.
    Absent,
    /// A folder cannot be written to.
    Unwritable,
}

/// What the Manager makes of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HealthAnswer {
    /// This Worker gets no work; what it ran was given back.
    pub quarantined: bool,
    /// Why.
    #[serde(default)]
    pub cause: Option<String>,
    /// The job is to blame, or is over.
    #[serde(default)]
    pub go_on: bool,
}

/// `POST worker/state-changed`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusChanged {
    /// The status the Worker is in now.
    pub status: String,
}

/// One command of a task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Command {
    /// `blender-render`, `echo`, ...
    pub name: String,
    /// Its parameters, any JSON.
    #[serde(default)]
    pub parameters: serde_json::Map<String, serde_json::Value>,
    /// Steps the command counts by itself; 0 means it is one step.
    #[serde(default)]
    pub total_step_count: u32,
}

/// Answer 200 of `POST worker/task`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AssignedTask {
    /// The task's id.
    pub uuid: String,
    /// The job's id.
    #[serde(default)]
    pub job: String,
    /// Name shown to people.
    #[serde(default)]
    pub name: String,
    /// `blender`, `ffmpeg`, ...
    #[serde(default)]
    pub task_type: String,
    /// What to run, in order.
    #[serde(default)]
    pub commands: Vec<Command>,
    /// Our extension; a Flamenco Manager sends none.
    #[serde(default)]
    pub tablao: Option<Assignment>,
}

/// What our Manager adds to an assigned task.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Assignment {
    /// Opaque name of this attempt; goes with every report about it.
    pub attempt: String,
    /// The attempt ends when the Manager has not heard of it for so long.
    pub lease_ms: u64,
    /// The attempt ends when its start is not reported within this time.
    #[serde(default = "start_within_ms_default")]
    pub start_within_ms: u64,
    /// Shot to which frames and thumbnails belong.
    #[serde(default)]
    pub shot: String,
    /// Frames of the task, where it has any.
    #[serde(default)]
    pub frames: Option<String>,
    /// Whether published files may be replaced.
    #[serde(default)]
    pub overwrite: bool,
    /// Inclusive ranges of those frames that this task has published itself and that stay.
    #[serde(default)]
    pub fresh: Vec<(i64, i64)>,
    /// `upload` when the Worker is to make thumbnails.
    #[serde(default)]
    pub thumbnails: String,
    /// Frames to render though they have files.
    #[serde(default)]
    pub rerender: Vec<RerenderedFrame>,
}

/// A frame that is rendered anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RerenderedFrame {
    /// Frame number.
    pub number: i64,
    /// BLAKE3 of the file that makes way for it; any other file of its name stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
}

fn start_within_ms_default() -> u64 {
    10_000
}

/// `POST worker/task/{task}`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskUpdate {
    /// `active`, `completed` or `failed`.
    #[serde(
        rename = "taskStatus",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub task_status: Option<String>,
    /// One line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<String>,
    /// Text to append to the task's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// Steps done so far in this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps_completed: Option<u32>,
    /// Our extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tablao: Option<UpdateExtension>,
}

/// What our Worker adds to a task update.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateExtension {
    /// The attempt that reports.
    pub attempt: String,
    /// Offset of `log` in the attempt's log, in bytes, so that a repeated chunk is recognised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_offset: Option<u64>,
    /// Frames that are on disk under their final names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<FrameReport>,
    /// Frames whose files were looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<FrameFinding>,
    /// Why it failed, with `taskStatus` failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureReport>,
    /// Largest resident size of a process of this attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// `Blender 3.4.1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
}

/// The machine-readable half of a failure; the words are the update's `activity`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureReport {
    /// What kind of failure.
    pub class: FailureClass,
    /// Exit code of the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<i32>,
    /// Signal that ended the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

/// Kinds of failure a Worker tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The program ended with a code other than 0.
    Process,
    /// The program was content, but files the task asked for are not there.
    MissingOutput,
    /// The program on this machine lacks something the scene needs.
    FeatureMissing,
    /// The machine or its GPU had too little memory.
    OutOfMemory,
    /// The command or its parameters make no sense.
    BadCommand,
    /// A signal that the Worker did not send ended the program.
    Signal,
    /// Files could not be read or written.
    Io,
    /// It took longer than allowed.
    Timeout,
    /// The Worker was told to stop.
    Shutdown,
}

/// One frame under its final name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FrameReport {
    /// Frame number.
    pub number: i64,
    /// File name without its extension.
    pub name: String,
    /// Empty for the render itself; a name for another output of the same frame.
    pub output: String,
    /// View of a stereo render, else empty.
    pub view: String,
    /// Where it is.
    pub path: String,
    /// Its size in bytes.
    pub size: u64,
    /// BLAKE3 of its content, hexadecimal.
    pub hash: String,
    /// `published` by this attempt, or `found` to exist already.
    pub outcome: String,
    /// When it was finished, RFC 3339.
    pub rendered_at: String,
    /// How long it took to render.
    pub render_ms: u64,
    /// Samples per pixel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<u32>,
    /// Most memory the render itself reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
    /// Version of Blender.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blender_version: Option<String>,
    /// BLAKE3 of the blend file, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blend_hash: Option<String>,
    /// `unfenced`: written by the script straight to its place. `empty`, `truncated`: found so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
}

/// A frame whose file was looked at, with what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FrameFinding {
    /// The shot, where it is not that of the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shot: Option<String>,
    /// Frame number.
    pub number: i64,
    /// BLAKE3 of the file, hexadecimal, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// What is wrong: `missing`, `empty`, `truncated`, `black`, `wrong_size`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// The same in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub words: String,
}

/// Answer of `GET worker/task/{task}/may-i-run`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MayKeepRunning {
    /// Whether to go on.
    #[serde(rename = "mayKeepRunning")]
    pub may_keep_running: bool,
    /// Why not.
    #[serde(default)]
    pub reason: String,
    /// Whether another status is asked of the Worker.
    #[serde(rename = "statusChangeRequested", default)]
    pub status_change_requested: bool,
}

/// Name of this operating system as Flamenco spells it.
pub fn platform() -> &'static str {
    match std::env::consts::OS {
        "macos" => "darwin",
        other => other,
    }
}
