// SPDX-License-Identifier: GPL-3.0-or-later
//! The entities of a farm as the core holds them: facts only.
//!
//! Names, paths, settings and messages are details; of those an entity keeps just the hash
//! that the digest needs. Everything here is what a checkpoint row holds.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{
    AttemptId, JobId, JobStatus, Lsn, ManagerId, ProjectId, ShotId, TagId, Timestamp, UserId,
    WorkerId, WorkerStatus,
    event::{QuarantineCause, StopCause},
    status::TaskCounts,
    unsettled::Mark,
};

pub use crate::{
    frame_table::FrameTable,
    tasks::{Task, Tasks},
};

/// BLAKE3 of an encoded detail part; survives the detail's erasure.
pub type DetailHash = Option<[u8; 32]>;

/// What a job needs of a worker. Recorded from now on; the scheduler does not yet read it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirements {
    /// Lowest Blender version, as (major, minor).
    pub blender: Option<(u16, u16)>,
    /// Main memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Graphics memory, in bytes.
    pub graphics_memory_bytes: Option<u64>,
    /// Needs a graphics processor.
    pub gpu: bool,
}

/// Bounds on what a job may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Live attempts at the same time.
    pub max_workers: Option<u32>,
}

/// When a job counts as failed. `None` takes the farm's policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailPolicy {
    /// The job fails at this share of failed tasks, in whole percent, 1 to 100.
    pub fail_percent: Option<u8>,
    /// A task fails for good after this many different workers failed it.
    pub task_attempts_max: Option<u32>,
}

/// How a job came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobSource {
    /// Submitted by somebody.
    Submitted,
    /// Brought over from another farm.
    Imported,
    /// Compiled again from an earlier job.
    Regenerated,
    /// Placed here by the Server.
    Placed,
}

/// The facts with which a job is accepted; they do not change by running it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFacts {
    /// The job.
    pub job: JobId,
    /// Name of the job type.
    pub job_type: String,
    /// Hash of the script that compiled it.
    #[serde(with = "crate::codec::raw_bytes")]
    pub script_hash: [u8; 32],
    /// Rises with each regeneration, starting at 1.
    pub generation: u32,
    /// Scheduling priority; higher runs first.
    pub priority: i32,
    /// Only workers with this tag.
    pub tag: Option<TagId>,
    /// The project.
    pub project: Option<ProjectId>,
    /// Who it belongs to.
    pub user: Option<UserId>,
    /// The shot its frames belong to.
    pub shot: ShotId,
    /// What it needs of a worker.
    pub requires: Requirements,
    /// Bounds on what it takes.
    pub limits: Limits,
    /// Not started before.
    pub not_before: Option<Timestamp>,
    /// Jobs that must be completed first. A job that is not known blocks.
    pub depends_on_jobs: Vec<JobId>,
    /// When it counts as failed.
    pub fail_policy: FailPolicy,
    /// Queued, or paused when submitted so.
    pub initial: JobStatus,
    /// The Manager that runs it.
    pub manager: ManagerId,
    /// Raised when it is taken to another Manager.
    pub job_epoch: u32,
    /// How it came to be.
    pub source: JobSource,
    /// How many tasks will be added before it is ready.
    pub tasks_expected: u32,
    /// When it was submitted.
    pub created: Timestamp,
}

/// A reason why a job is kept from running, apart from its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// A person holds it.
    Person,
    /// The Server holds it while it decides on placement.
    Placement,
}

/// What changes about a job while it lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobState {
    /// What it was accepted with; priority and tag follow later changes.
    pub facts: JobFacts,
    /// Hash of its details.
    pub detail: DetailHash,
    /// Order of acceptance at this Manager, from 1: "oldest first".
    pub sequence: u64,
    /// Where it stands.
    pub status: JobStatus,
    /// Hash of the text that explains the status.
    pub status_detail: DetailHash,
    /// What keeps it from running.
    pub holds: BTreeSet<Hold>,
    /// When its deletion was asked for.
    pub delete_marked: Option<Timestamp>,
    /// Workers that may not run tasks of a type in this job.
    pub blocked: BTreeSet<(WorkerId, String)>,
    /// First task number and detail hash of each chunk of tasks.
    pub chunks: Vec<(u32, DetailHash)>,
    /// Position of the last change of the job itself.
    pub changed_at: Lsn,
    /// Position of the last change of its tasks.
    pub tasks_changed_at: Lsn,
}

/// How a worker takes part in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// A Flamenco worker: knows no attempts.
    Flamenco,
    /// Our worker: its reports carry the attempt.
    Tablao,
}

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AttemptState {
    /// Handed out; the worker has not said yet that it started.
    Assigned,
    /// The worker said that it started.
    Running,
    /// Asked to stop.
    Stopping,
}

/// One run of a task by one worker. The core holds live ones; history is a projection's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its identity and fence.
    pub id: AttemptId,
    /// The job.
    pub job: JobId,
    /// The task's number in the job.
    pub task: u32,
    /// Who runs it.
    pub worker: WorkerId,
    /// In which of the worker's slots.
    pub slot: u8,
    /// How that worker speaks.
    pub protocol: Protocol,
    /// How far it has come.
    pub state: AttemptState,
    /// Why it was asked to stop.
    pub stop: Option<StopCause>,
    /// Lapses after this much silence, in milliseconds.
    pub lease_ms: u32,
    /// Lapses when it has not started within this time, in milliseconds; 0: no such bound.
    pub start_within_ms: u32,
    /// When it was handed out.
    pub assigned_at: Timestamp,
}

impl Attempt {
    /// Nobody has said that it started, and nobody asked it to stop.
    pub(crate) fn is_unstarted(&self) -> bool {
        self.state == AttemptState::Assigned
    }
}

/// Which frame: a shot's output, view and number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameKey {
    /// The shot.
    pub shot: ShotId,
    /// Name of the output; empty for the main one.
    pub output: String,
    /// Name of the view; empty where there is one.
    pub view: String,
    /// Frame number.
    pub number: i32,
}

/// By shot, output, view and number. Nearly all outputs and views have no name, and comparing
/// nothing with nothing is otherwise two calls for each key that a search passes.
impl Ord for FrameKey {
    fn cmp(&self, other: &Self) -> Ordering {
        let names = |one: &str, other: &str| {
            if one.is_empty() && other.is_empty() {
                Ordering::Equal
            } else {
                one.cmp(other)
            }
        };
        (self.shot.cmp(&other.shot))
            .then_with(|| names(&self.output, &other.output))
            .then_with(|| names(&self.view, &other.view))
            .then_with(|| self.number.cmp(&other.number))
    }
}

impl PartialOrd for FrameKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A published frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// The job that published it.
    pub job: JobId,
    /// The task's number in that job.
    pub task: u32,
    /// The attempt that published it.
    pub attempt: AttemptId,
    /// Size of the file, in bytes.
    pub size: u64,
    /// BLAKE3 of the file.
    #[serde(with = "crate::codec::raw_bytes")]
    pub hash: [u8; 32],
    /// Publications of this frame so far.
    pub publications: u32,
    /// BLAKE3 of its thumbnail.
    pub thumbnail: Option<[u8; 32]>,
    /// Hash of its details.
    pub detail: DetailHash,
}

/// A change of status that somebody asked of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusRequest {
    /// What it is to become.
    pub status: WorkerStatus,
    /// After its present task rather than at once.
    pub lazy: bool,
    /// Why it is asked.
    pub source: StatusRequestSource,
}

/// Where a status request came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StatusRequestSource {
    /// A person.
    Person,
    /// The status it had when it signed off.
    Remembered,
    /// Its sleep schedule.
    Schedule,
}

/// When a worker sleeps. Recorded from now on; applied with the issue on schedules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SleepSchedule {
    /// The schedule is in force.
    pub active: bool,
    /// IANA name of the time zone; empty for the Manager's own.
    pub time_zone: String,
    /// Days as bits, Monday first; 0 means every day.
    pub days: u8,
    /// Start, in minutes after midnight.
    pub start_minute: u16,
    /// End, in minutes after midnight; before the start means over midnight.
    pub end_minute: u16,
}

/// A Worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Worker {
    /// Its identity.
    pub id: WorkerId,
    /// Operating system, in Go's names (`linux`, `windows`, `darwin`).
    pub platform: String,
    /// Task types it runs.
    pub task_types: BTreeSet<String>,
    /// Its tags.
    pub tags: BTreeSet<TagId>,
    /// How it speaks.
    pub protocol: Protocol,
    /// Tasks it runs at the same time.
    pub slots: u8,
    /// It can restart itself.
    pub can_restart: bool,
    /// Where it stands; `None` until it first signs on.
    pub status: Option<WorkerStatus>,
    /// What it is asked to become.
    pub pending: Option<StatusRequest>,
    /// When it sleeps.
    pub schedule: Option<SleepSchedule>,
    /// Kept from work because it seems sick.
    pub quarantined: bool,
    /// Removed; its credentials are dead.
    pub deleted: bool,
    /// Its live attempts, ascending.
    pub attempts: SmallVec<[AttemptId; 1]>,
    /// Hash of its details (name, address, software).
    pub detail: DetailHash,
    /// Position of its last change.
    pub changed_at: Lsn,
    /// Those of its task types that some task has, as indexes into the farm's table, ascending:
    /// what an ask reads, without a look at any name. Follows from the names.
    #[serde(skip)]
    pub(crate) types: SmallVec<[u16; 6]>,
    #[serde(skip)]
    pub(crate) mark: Mark,
}

/// Why a worker is kept from work, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantine {
    /// Why.
    pub cause: QuarantineCause,
    /// Hash of the same in words.
    pub detail: DetailHash,
    /// Since when, whatever the cause was at first.
    pub since: Timestamp,
}

/// A worker tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// Its identity.
    pub id: TagId,
    /// Hash of its name and description.
    pub detail: DetailHash,
    /// Position of its last change.
    pub changed_at: Lsn,
}

/// A Manager as the control journal knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manager {
    /// Its identity.
    pub id: ManagerId,
    /// It may no longer link.
    pub revoked: bool,
    /// Where its site journal stood when last noted.
    pub origin: Lsn,
    /// That journal's chain value there.
    pub origin_chain: [u8; 32],
    /// Hash of its details.
    pub detail: DetailHash,
    /// Position of its last change.
    pub changed_at: Lsn,
}

/// Where the Server put a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The Manager that is to run it.
    pub manager: ManagerId,
    /// Raised with each reassignment.
    pub epoch: u32,
    /// Hash of the control blob that holds the compiled submission.
    pub submission: [u8; 32],
    /// Position of the placement.
    pub changed_at: Lsn,
}

/// Something the Server asked a Manager to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteRequest {
    /// Who is to carry it out.
    pub manager: ManagerId,
    /// The job it concerns.
    pub job: JobId,
    /// What is to be done.
    pub verb: RemoteVerb,
    /// Position of its acceptance.
    pub changed_at: Lsn,
}

/// What a Server may ask of a Manager about a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RemoteVerb {
    /// Bring the job to a status.
    SetStatus(JobStatus),
    /// Change its priority.
    SetPriority(i32),
}

/// Numbers that the rules read. Journalled by `ConfigApplied`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// A task fails for good after this many different workers failed it.
    pub task_attempts_max: u32,
    /// A worker is blocked for a task type in a job after this many failed tasks.
    pub blocklist_threshold: u32,
    /// A job fails at this share of failed tasks, in whole percent.
    pub fail_percent: u8,
    /// Silence after which an attempt of a Flamenco worker lapses, in milliseconds; 0: never.
    pub task_timeout_ms: u32,
    /// Silence after which a worker counts as lost, in milliseconds; 0: never.
    pub worker_timeout_ms: u32,
    /// Silence after which an attempt of our worker lapses, in milliseconds.
    pub lease_ms: u32,
    /// Time within which our worker must have started, in milliseconds.
    pub start_within_ms: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            task_attempts_max: 3,
            blocklist_threshold: 3,
            fail_percent: 10,
            task_timeout_ms: 600_000,
            worker_timeout_ms: 60_000,
            lease_ms: 30_000,
            start_within_ms: 10_000,
        }
    }
}

/// A job with its tasks, counts and failures.
#[derive(Clone, Debug)]
pub struct Job {
    /// What changes about it.
    pub state: JobState,
    /// Its tasks; the position is the task's number.
    pub tasks: Tasks,
    /// Tasks per status, retired ones left out.
    pub counts: TaskCounts,
    /// For each worker and task type, how many tasks of the job it failed.
    pub failures: BTreeMap<(WorkerId, u16), u32>,
    /// Live attempts.
    pub live: u32,
    /// Live attempts of retired tasks. Nothing of the job is started while there are some: they
    /// may still write what others are to write anew.
    pub leaving: u32,
    pub(crate) mark: Mark,
}
