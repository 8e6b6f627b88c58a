// SPDX-License-Identifier: GPL-3.0-or-later
//! Requests: what somebody wants. Each is decided, and becomes events or a refusal.

use serde::{Deserialize, Serialize};

use crate::{
    AttemptId, JobId, JobStatus, Lsn, ManagerId, RequestId, TagId, TaskId, TaskStatus, Timestamp,
    WorkerId, WorkerStatus,
    detail::{FrameDetail, JobDetail, TasksDetail, WorkerDetail},
    entity::{FrameKey, Hold, JobFacts, Policy, Protocol, RemoteVerb, SleepSchedule},
    event::{FailureClass, Finding, FrameWish, FramesVerified, NewTasks, QuarantineCause},
};

pub use crate::{
    imported::{ImportedState, ImportedWorker},
    regenerated::{Regeneration, Requeue},
};

/// A run of new tasks with their details.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TaskChunk {
    /// Number of the first of them.
    pub first_number: u32,
    /// Task types that the tasks name by index.
    pub types: Vec<String>,
    /// The tasks.
    pub tasks: NewTasks,
    /// Their names and commands.
    pub detail: TasksDetail,
}

/// A job as compiled, with all of its tasks or the first of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewJob {
    /// What it is accepted with.
    pub facts: JobFacts,
    /// What people read about it.
    pub detail: JobDetail,
    /// Its tasks; empty when they follow in chunks.
    pub chunk: TaskChunk,
}

/// A frame as a worker reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameReport {
    /// Which frame.
    pub key: FrameKey,
    /// Names and versions.
    pub detail: FrameDetail,
    /// Size of the file, in bytes.
    pub size: u64,
    /// BLAKE3 of the file.
    pub hash: [u8; 32],
    /// When it was rendered.
    pub rendered_at: Timestamp,
    /// Time to render it, in milliseconds.
    pub render_ms: u32,
    /// Samples per pixel.
    pub samples: Option<u32>,
    /// Highest memory use, in bytes.
    pub peak_memory_bytes: Option<u64>,
    /// [`crate::event::frame_flags`].
    pub flags: u16,
    /// The final file was there before this attempt.
    pub found: bool,
}

/// Why a worker failed a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureReport {
    /// What kind of failure.
    pub class: FailureClass,
    /// Exit code of the process.
    pub exit: Option<i32>,
    /// Signal that ended the process.
    pub signal: Option<i32>,
}

/// What a worker says about a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Who says it.
    pub worker: WorkerId,
    /// About which task.
    pub task: TaskId,
    /// About which attempt; a Flamenco worker does not know.
    pub attempt: Option<AttemptId>,
    /// New status of the task.
    pub status: Option<TaskStatus>,
    /// A sentence about what it does, or why it failed.
    pub activity: Option<String>,
    /// Steps done so far.
    pub steps: Option<u32>,
    /// Frames that bear their final names.
    pub frames: Vec<FrameReport>,
    /// Why it failed.
    pub failure: Option<FailureReport>,
    /// Highest memory use, in bytes.
    pub peak_memory_bytes: Option<u64>,
}

macro_rules! requests {
    ($($code:literal $(#[$doc:meta])* $name:ident $body:tt),+ $(,)?) => {
        requests! { @enum $($(#[$doc])* $name $body),+ }

        impl Request {
            /// Number of this kind of request in a decision. Never reused.
            pub const fn code(&self) -> u16 {
                match self {
                    $(Self::$name { .. } => $code),+
                }
            }

            /// Name of the kind of request with this number.
            pub const fn name_of(code: u16) -> &'static str {
                match code {
                    $($code => stringify!($name),)+
                    _ => "Unknown",
                }
            }
        }
    };
    (@enum $($(#[$doc:meta])* $name:ident $body:tt),+) => {
        /// What somebody wants of a farm.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub enum Request {
            $($(#[$doc])* $name $body),+
        }
    };
}

// New ones go to the end, whatever their numbers: a decision holds its request by place.
requests! {
    1 /// A process opened the journal.
    OpenJournal {
        /// Version of the program.
        build: String,
        /// The journal's incarnation.
        incarnation: u32,
        /// The last process ended in order.
        clean: bool,
        /// Whose journal it is.
        manager: ManagerId,
    },
    2 /// Configuration takes effect.
    ApplyConfig {
        /// The numbers that the rules read.
        policy: Policy,
        /// The configuration as text, secrets left out.
        text: String,
    },

    10 /// A whole job that fits one decision.
    SubmitJob {
        /// The job and all of its tasks.
        job: Box<NewJob>,
    },
    11 /// A large job, whose tasks follow.
    AcceptJob {
        /// The job.
        job: Box<NewJob>,
    },
    12 /// Further tasks of a large job.
    AddTasks {
        /// The job.
        job: JobId,
        /// The tasks.
        chunk: Box<TaskChunk>,
    },
    13 /// All tasks of a large job are there.
    ReadyJob {
        /// The job.
        job: JobId,
    },
    14 /// A submission did not come to its end.
    AbandonJob {
        /// The job.
        job: JobId,
        /// Why.
        reason: String,
    },
    15 /// Bring a job to a status.
    SetJobStatus {
        /// The job.
        job: JobId,
        /// The wanted status.
        status: JobStatus,
        /// Why.
        reason: String,
    },
    16 /// Change a job's priority.
    SetJobPriority {
        /// The job.
        job: JobId,
        /// The new priority.
        priority: i32,
    },
    17 /// Change or clear a job's tag.
    SetJobTag {
        /// The job.
        job: JobId,
        /// The new tag.
        tag: Option<TagId>,
    },
    18 /// Keep a job from running.
    HoldJob {
        /// The job.
        job: JobId,
        /// By what.
        hold: Hold,
        /// Why.
        reason: String,
    },
    19 /// Take a hold back.
    ReleaseJob {
        /// The job.
        job: JobId,
        /// Which.
        hold: Hold,
    },
    20 /// Mark a job for deletion.
    MarkJobDeleted {
        /// The job.
        job: JobId,
    },
    21 /// Take a mark for deletion back.
    RestoreJob {
        /// The job.
        job: JobId,
    },
    22 /// Remove a marked job.
    PurgeJob {
        /// The job.
        job: JobId,
    },
    23 /// Let workers run task types in a job again.
    ClearBlocklist {
        /// The job.
        job: JobId,
        /// Workers and task types.
        entries: Vec<(WorkerId, String)>,
    },
    24 /// Bring a task to a status.
    SetTaskStatus {
        /// The task.
        task: TaskId,
        /// The wanted status.
        status: TaskStatus,
        /// Why.
        reason: String,
    },
    25 /// Change a task's priority.
    SetTaskPriority {
        /// The task.
        task: TaskId,
        /// The new priority.
        priority: i32,
    },

    30 /// A worker makes itself known.
    RegisterWorker {
        /// Its new identity.
        worker: WorkerId,
        /// Operating system.
        platform: String,
        /// Task types it runs.
        task_types: Vec<String>,
        /// Name, address, software.
        detail: WorkerDetail,
    },
    31 /// A worker signs on.
    SignOn {
        /// The worker.
        worker: WorkerId,
        /// Task types it runs.
        task_types: Vec<String>,
        /// It can restart itself.
        can_restart: bool,
        /// How it speaks.
        protocol: Protocol,
        /// Tasks at the same time.
        slots: u8,
        /// Attempts it still has something to say about.
        held: Vec<AttemptId>,
        /// Name, address, software.
        detail: WorkerDetail,
    },
    32 /// A worker signs off.
    SignOff {
        /// The worker.
        worker: WorkerId,
    },
    33 /// A worker changed status.
    WorkerStateChanged {
        /// The worker.
        worker: WorkerId,
        /// Its status now.
        status: WorkerStatus,
    },
    34 /// Ask a worker to change status.
    RequestWorkerStatus {
        /// The worker.
        worker: WorkerId,
        /// What is asked.
        status: WorkerStatus,
        /// After its present task.
        lazy: bool,
        /// Why.
        reason: String,
    },
    35 /// Set a worker's tags.
    SetWorkerTags {
        /// The worker.
        worker: WorkerId,
        /// All of its tags from now on.
        tags: Vec<TagId>,
    },
    36 /// Set a worker's sleep schedule.
    SetWorkerSchedule {
        /// The worker.
        worker: WorkerId,
        /// The schedule.
        schedule: Option<SleepSchedule>,
    },
    37 /// Remove a worker.
    DeleteWorker {
        /// The worker.
        worker: WorkerId,
    },
    38 /// Make a tag.
    CreateTag {
        /// Its new identity.
        tag: TagId,
        /// Its name.
        name: String,
        /// Its description.
        description: String,
    },
    39 /// Change a tag's name and description.
    ChangeTag {
        /// The tag.
        tag: TagId,
        /// Its name.
        name: String,
        /// Its description.
        description: String,
    },
    40 /// Remove a tag.
    DeleteTag {
        /// The tag.
        tag: TagId,
    },

    50 /// A worker asks for work.
    AskForTask {
        /// The worker.
        worker: WorkerId,
    },
    51 /// A worker says something about a task.
    Report {
        /// What it says.
        report: Box<Report>,
    },
    52 /// A thumbnail of a frame was stored.
    StoreThumbnail {
        /// Which frame.
        key: FrameKey,
        /// BLAKE3 of the thumbnail.
        hash: [u8; 32],
        /// Its file name in the shot's folder.
        file: String,
    },
    53 /// Attempts were silent for too long.
    LapseAttempts {
        /// Each with the moment since when.
        evidence: Vec<(AttemptId, Timestamp)>,
    },
    54 /// Workers were silent for too long.
    LoseWorkers {
        /// Each with the moment since when.
        evidence: Vec<(WorkerId, Timestamp)>,
    },

    60 /// A Manager belongs to this Server.
    LinkManager {
        /// The Manager.
        manager: ManagerId,
        /// Its name.
        name: String,
    },
    61 /// A Manager may no longer link.
    RevokeManager {
        /// The Manager.
        manager: ManagerId,
        /// Why.
        reason: String,
    },
    62 /// Give a job to a Manager.
    PlaceJob {
        /// The job.
        job: JobId,
        /// The Manager.
        manager: ManagerId,
        /// BLAKE3 of the control blob with the compiled submission.
        submission: [u8; 32],
        /// The job's name, for people.
        name: String,
        /// Why this Manager.
        why: String,
    },
    63 /// The Server wants a Manager to change a job.
    AcceptRemote {
        /// The request's new identity.
        request: RequestId,
        /// The job.
        job: JobId,
        /// The Manager whose mirror shows it: for a job that was not placed but submitted there.
        seen_at: Option<ManagerId>,
        /// What is to be done.
        verb: RemoteVerb,
        /// Why.
        reason: String,
    },
    64 /// A Manager carried out what the control journal said up to here.
    SettleRemote {
        /// Position in the control journal.
        control: Lsn,
        /// The job it concerned.
        job: JobId,
        /// Code of the refusal.
        refused: Option<u16>,
        /// The refusal in words.
        reason: String,
    },
    65 /// A Manager's site journal was seen to stand here.
    AdvanceOrigin {
        /// The Manager.
        manager: ManagerId,
        /// Position in its site journal.
        lsn: Lsn,
        /// Chain value there.
        chain: [u8; 32],
    },
    66 /// A Server begins to write the control journal.
    StartTerm {
        /// Higher than every term before.
        term: u64,
    },
    67 /// This Manager follows a Server.
    FollowServer {
        /// Journal id of the Server's control journal.
        control_journal: [u8; 16],
        /// The Server's address.
        url: String,
    },
    68 /// Carry out what the Server wants of a job, and settle it in the same decision.
    CarryOut {
        /// Position of the wish in the control journal.
        control: Lsn,
        /// The job.
        job: JobId,
        /// What is to be done.
        verb: RemoteVerb,
        /// Why.
        reason: String,
    },
    69 /// Take a job from its Manager and give it to another one: a person's act.
    ReassignJob {
        /// The job.
        job: JobId,
        /// The Manager that is to run it from now on.
        manager: ManagerId,
        /// Since when nothing was heard of the old one; none where a person vouches that it is
        /// fenced.
        silent_since: Option<Timestamp>,
        /// Why.
        why: String,
    },
    70 /// The control journal says that a job runs elsewhere, in a later epoch.
    FenceJob {
        /// Position of that placement in the control journal.
        control: Lsn,
        /// The job.
        job: JobId,
        /// The Manager that runs it now.
        manager: ManagerId,
        /// The later epoch.
        epoch: u32,
    },
    71 /// The beginning of this journal is about to be retired: note it.
    NoteBaseline {
        /// The first position that the baseline does not cover.
        next: Lsn,
        /// BLAKE3 of its state.
        state: [u8; 32],
    },
    72 /// Details of earlier records of this journal are about to be erased: note it.
    NoteErasure {
        /// First and last positions.
        ranges: Vec<(Lsn, Lsn)>,
        /// Why.
        reason: String,
    },
    3 /// Configuration takes effect that no rule reads.
    NoteConfig {
        /// The configuration as text, secrets left out.
        text: String,
    },
    90 /// Take over a worker of another farm, with all that is known of it.
    ImportWorker {
        /// What is known.
        worker: Box<ImportedWorker>,
    },
    91 /// Take over how a job of another farm stood there, whose tasks were added before.
    FinishImport {
        /// The job.
        job: JobId,
        /// How it stood.
        state: Box<ImportedState>,
    },
    41 /// Workers are to do what their sleep schedules want, as the local clock says.
    FollowSchedules {
        /// Each with what its schedule wants of it: awake or asleep.
        wanted: Vec<(WorkerId, WorkerStatus)>,
        /// They are about to sign on: what they were before says nothing about what they are.
        signing_on: bool,
    },
    55 /// Blocks of workers in jobs that are this old are taken back.
    ExpireBlocks {
        /// Those that were made at this moment or before.
        made_by: Timestamp,
    },
    77 /// Keep a worker from work.
    QuarantineWorker {
        /// The worker.
        worker: WorkerId,
        /// Why.
        cause: QuarantineCause,
        /// The same in words: what, where, what to do.
        reason: String,
    },
    78 /// Let a worker have work again.
    LiftQuarantine {
        /// The worker.
        worker: WorkerId,
        /// Only if nothing but its own check keeps it from work: what a worker may ask itself.
        own_check_only: bool,
        /// Why.
        reason: String,
    },
    27 /// Write down tasks that a job is to have once it is regenerated.
    PrepareTasks {
        /// The job.
        job: JobId,
        /// The generation that they are for.
        generation: u32,
        /// The tasks.
        chunk: Box<TaskChunk>,
    },
    26 /// A job was compiled anew, and the tasks that come are prepared.
    RegenerateJob {
        /// What becomes of its tasks.
        regeneration: Box<Regeneration>,
    },
    28 /// Queue some tasks of a job again.
    RequeueTasks {
        /// Which, and how.
        requeue: Box<Requeue>,
    },
    56 /// Files of frames were looked at.
    FlagFrames {
        /// What was found, wrong or right.
        findings: Vec<Finding>,
        /// What was looked at in all; with the last findings of it.
        verified: Option<FramesVerified>,
    },
    57 /// Frames are to be rendered anew.
    WantFrames {
        /// Which.
        wish: FrameWish,
    },
    76 /// A worker says how much memory it has for a task.
    NoteMemory {
        /// The worker.
        worker: WorkerId,
        /// Bytes; `None` if it does not say.
        bytes: Option<u64>,
    },
}
