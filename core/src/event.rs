// SPDX-License-Identifier: GPL-3.0-or-later
//! Events: what happened, in the past tense, as frozen shapes.
//!
//! Each event states the answer (which tasks, from what, to what), never a rule for `apply`
//! to work out. A shape is never edited once released: a changed one is a new version with
//! an upcaster in a file of its own. Kind numbers are in [`crate::kind`].

use serde::{Deserialize, Serialize};

use crate::{
    Actor, AttemptId, JobId, JobStatus, Lsn, TagId, TaskStatus, Timestamp, WorkerId, WorkerStatus,
    detail::Detail,
    entity::{DetailHash, FrameKey, Hold, JobFacts, Protocol, SleepSchedule, StatusRequest},
};

pub use crate::{
    frame_events::*,
    kind::Event,
    new_tasks::{NewTask, NewTasks},
    parts::*,
};

/// An event at its place, as every fold receives it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Its position.
    pub lsn: Lsn,
    /// When it was decided.
    pub at: Timestamp,
    /// The facts.
    pub event: Event,
    /// The details, unless erased.
    pub detail: Detail,
    /// Hash of the encoded details; stays when they are erased.
    pub detail_hash: DetailHash,
}

macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident { $($(#[$fdoc:meta])* $field:ident : $type:ty),* $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        pub struct $name {
            $($(#[$fdoc])* pub $field: $type),*
        }
    )+};
}

mod control;

pub use control::*;

facts! {
    /// A request was decided.
    Decision {
        /// [`crate::Request::code`].
        request: u16,
        /// When.
        now: Timestamp,
        /// Seed for anything random in the decision; 0 where nothing was drawn.
        seed: u64,
        /// Version of the rules that decided.
        rule_version: u16,
        /// Who asked.
        actor: Actor,
        /// BLAKE3 of the idempotency key.
        key: Option<[u8; 32]>,
        /// The job that the key stands for.
        key_job: Option<JobId>,
        /// The decision that led to this one.
        caused_by: Option<Lsn>,
        /// What came of it.
        outcome: Outcome,
        /// Where the request's body is.
        body: Body,
    }

    /// A job was accepted; its tasks follow.
    JobAccepted {
        /// What it was accepted with.
        facts: JobFacts,
    }
    /// Tasks were added to a job under construction.
    TasksAdded {
        /// The job.
        job: JobId,
        /// Number of the first of them.
        first_number: u32,
        /// Generation of the job.
        generation: u32,
        /// Task types that the chunk names by index.
        types: Vec<String>,
        /// The tasks.
        tasks: NewTasks,
    }
    /// All tasks are there; the job may run.
    JobReady {
        /// The job.
        job: JobId,
        /// Its status from now on.
        status: JobStatus,
    }
    /// A submission did not come to its end.
    JobAbandoned {
        /// The job.
        job: JobId,
    }
    /// A job changed status.
    JobStatusChanged {
        /// The job.
        job: JobId,
        /// Before.
        from: JobStatus,
        /// After.
        to: JobStatus,
    }
    /// A job's priority changed.
    JobPriorityChanged {
        /// The job.
        job: JobId,
        /// Before.
        from: i32,
        /// After.
        to: i32,
    }
    /// A job's tag changed.
    JobTagChanged {
        /// The job.
        job: JobId,
        /// Before.
        from: Option<TagId>,
        /// After.
        to: Option<TagId>,
    }
    /// A job is kept from running.
    JobHeld {
        /// The job.
        job: JobId,
        /// By what.
        hold: Hold,
    }
    /// A job is no longer kept from running by this.
    JobReleased {
        /// The job.
        job: JobId,
        /// By what.
        hold: Hold,
    }
    /// A job's deletion was asked for; it can be taken back.
    JobDeleteMarked {
        /// The job.
        job: JobId,
        /// When.
        at: Timestamp,
    }
    /// A job's deletion was taken back.
    JobRestored {
        /// The job.
        job: JobId,
    }
    /// A job is gone.
    JobPurged {
        /// The job.
        job: JobId,
    }

    /// A job of another farm is here as it stood there.
    JobImported {
        /// The job.
        job: JobId,
        /// Its status from now on.
        status: JobStatus,
        /// Workers that failed tasks there, with inclusive ranges of task numbers.
        failed_by: Vec<(WorkerId, Vec<(u32, u32)>)>,
        /// Workers that ran tasks last there, with inclusive ranges of task numbers.
        last_workers: Vec<(WorkerId, Vec<(u32, u32)>)>,
    }

    /// Tasks were written down that a job has once it is regenerated: until then they are
    /// retired. Those that no [`JobRegenerated`] names stay so.
    TasksPrepared {
        /// The job.
        job: JobId,
        /// Number of the first of them.
        first_number: u32,
        /// The generation that they are for.
        generation: u32,
        /// Task types that the chunk names by index.
        types: Vec<String>,
        /// The tasks.
        tasks: NewTasks,
    }
    /// A job was compiled anew: some tasks went, others came, the rest kept what they had done.
    JobRegenerated {
        /// The job.
        job: JobId,
        /// Its generation from now on.
        generation: u32,
        /// Hash of the script that compiled it.
        #[serde(with = "crate::codec::raw_bytes")]
        script_hash: [u8; 32],
        /// Inclusive ranges of the numbers of tasks that are retired.
        retired: Vec<(u32, u32)>,
        /// Inclusive ranges of the numbers of prepared tasks that are the job's from now on.
        added: Vec<(u32, u32)>,
        /// How many tasks it ever had, these included.
        tasks_expected: u32,
    }

    /// Tasks changed status together.
    TasksChanged {
        /// The job.
        job: JobId,
        /// Inclusive ranges of task numbers.
        ranges: Vec<(u32, u32)>,
        /// Before.
        from: TaskStatus,
        /// After.
        to: TaskStatus,
        /// What becomes of their steps.
        steps: StepsChange,
    }
    /// A task's priority changed.
    TaskPriorityChanged {
        /// The job.
        job: JobId,
        /// The task.
        task: u32,
        /// Before.
        from: i32,
        /// After.
        to: i32,
    }
    /// A task was given to a worker. The record's position is the attempt's fence.
    AttemptAssigned {
        /// The job.
        job: JobId,
        /// The task.
        task: u32,
        /// Status of the task before; it is active from now on.
        from: TaskStatus,
        /// The worker.
        worker: WorkerId,
        /// Which of the worker's slots.
        slot: u8,
        /// Epoch of the job.
        job_epoch: u32,
        /// How the worker speaks.
        protocol: Protocol,
        /// Lapses after this much silence, in milliseconds.
        lease_ms: u32,
        /// Lapses when not started within, in milliseconds; 0: no such bound.
        start_within_ms: u32,
        /// Version of the scheduling rules.
        rule_version: u16,
        /// The task that would have been next.
        runner_up: Option<(JobId, u32)>,
    }
    /// The worker said that it started.
    AttemptStarted {
        /// The attempt.
        attempt: AttemptId,
        /// Its job.
        job: JobId,
        /// Its task.
        task: u32,
    }
    /// Steps of a task were done.
    StepsAdvanced {
        /// The attempt.
        attempt: AttemptId,
        /// Its job.
        job: JobId,
        /// Its task.
        task: u32,
        /// Steps before.
        from: u32,
        /// Steps after.
        to: u32,
    }
    /// An attempt was asked to stop.
    AttemptStopRequested {
        /// The attempt.
        attempt: AttemptId,
        /// Its job.
        job: JobId,
        /// Its task.
        task: u32,
        /// Why.
        cause: StopCause,
    }
    /// An attempt ended, and what that did to its task.
    AttemptEnded {
        /// The attempt.
        attempt: AttemptId,
        /// Its job.
        job: JobId,
        /// Its task.
        task: u32,
        /// Who ran it.
        worker: WorkerId,
        /// How it ended.
        outcome: AttemptOutcome,
        /// Status of the task from now on.
        task_to: TaskStatus,
        /// What becomes of its steps.
        steps: StepsChange,
        /// The worker goes on the task's list of those that failed it.
        counts_as_failure: bool,
        /// Highest memory use, in bytes.
        peak_memory_bytes: Option<u64>,
        /// Since when the worker was silent, for a lapsed one.
        silent_since: Option<Timestamp>,
    }
    /// A report of an attempt that is over; it changed nothing.
    LateReportNoted {
        /// The attempt.
        attempt: AttemptId,
        /// Its job.
        job: JobId,
        /// Its task.
        task: u32,
        /// What it wanted to say.
        report: LateReport,
    }
    /// A worker may not run a task type in a job any more.
    WorkerBlocked {
        /// The job.
        job: JobId,
        /// The worker.
        worker: WorkerId,
        /// The task type.
        task_type: String,
    }
    /// A worker may run a task type in a job again.
    WorkerUnblocked {
        /// The job.
        job: JobId,
        /// The worker.
        worker: WorkerId,
        /// The task type.
        task_type: String,
    }
    /// The lists of workers that failed these tasks were emptied.
    FailuresCleared {
        /// The job.
        job: JobId,
        /// Inclusive ranges of task numbers.
        ranges: Vec<(u32, u32)>,
    }

    /// A task ran out of memory, and is not given to workers that have no more than this.
    TaskOutgrew {
        /// The job.
        job: JobId,
        /// The task.
        task: u32,
        /// Memory that was too little before, in bytes, if some was.
        from: Option<u64>,
        /// Memory that is too little, in bytes.
        to: u64,
    }

    /// What these tasks have published so far is not wanted any more: it is rendered anew over it.
    OutputsDiscarded {
        /// The job.
        job: JobId,
        /// Inclusive ranges of task numbers.
        ranges: Vec<(u32, u32)>,
    }

    /// A frame bears its final name.
    FramePublished {
        /// Which frame.
        key: FrameKey,
        /// The job.
        job: JobId,
        /// The task.
        task: u32,
        /// The attempt.
        attempt: AttemptId,
        /// Size of the file, in bytes.
        size: u64,
        /// BLAKE3 of the file.
        #[serde(with = "crate::codec::raw_bytes")]
        hash: [u8; 32],
        /// When it was rendered.
        rendered_at: Timestamp,
        /// Time to render it, in milliseconds.
        render_ms: u32,
        /// Samples per pixel.
        samples: Option<u32>,
        /// Highest memory use, in bytes.
        peak_memory_bytes: Option<u64>,
        /// [`frame_flags`].
        flags: u16,
        /// The file was there before; nobody had told of it.
        found: bool,
        /// Hash of the publication that this one replaces.
        supersedes: Option<[u8; 32]>,
    }
    /// A frame was already published; the attempt left it as it is.
    FrameSkipped {
        /// Which frame.
        key: FrameKey,
        /// The job.
        job: JobId,
        /// The task.
        task: u32,
        /// The attempt.
        attempt: AttemptId,
    }
    /// A thumbnail of a frame is stored.
    ThumbnailStored {
        /// Which frame.
        key: FrameKey,
        /// The job.
        job: JobId,
        /// BLAKE3 of the thumbnail.
        #[serde(with = "crate::codec::raw_bytes")]
        hash: [u8; 32],
    }

    /// A worker made itself known.
    WorkerRegistered {
        /// The worker.
        worker: WorkerId,
        /// Operating system, in Go's names.
        platform: String,
        /// Task types it runs.
        task_types: Vec<String>,
    }
    /// A worker signed on.
    WorkerSignedOn {
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
    }
    /// A worker changed status.
    WorkerStatusChanged {
        /// The worker.
        worker: WorkerId,
        /// Before; `None` if it never signed on.
        from: Option<WorkerStatus>,
        /// After.
        to: WorkerStatus,
    }
    /// A worker is asked to change status.
    WorkerStatusRequested {
        /// The worker.
        worker: WorkerId,
        /// What is asked.
        request: StatusRequest,
        /// What was asked before.
        from: Option<StatusRequest>,
    }
    /// Nothing is asked of a worker any more.
    WorkerStatusRequestCleared {
        /// The worker.
        worker: WorkerId,
        /// What was asked before.
        from: StatusRequest,
    }
    /// How much memory a worker has for a task.
    WorkerMemorySet {
        /// The worker.
        worker: WorkerId,
        /// Before, in bytes; `None` if it was not known.
        from: Option<u64>,
        /// After, in bytes; `None` if it is not known any more.
        to: Option<u64>,
    }
    /// A worker's tags were set.
    WorkerTagsSet {
        /// The worker.
        worker: WorkerId,
        /// Before.
        from: Vec<TagId>,
        /// After.
        to: Vec<TagId>,
    }
    /// A worker's sleep schedule was set.
    WorkerScheduleSet {
        /// The worker.
        worker: WorkerId,
        /// Before.
        from: Option<SleepSchedule>,
        /// After.
        to: Option<SleepSchedule>,
    }
    /// A worker was silent for too long.
    WorkerLost {
        /// The worker.
        worker: WorkerId,
        /// Its status before; it is `error` from now on.
        from: Option<WorkerStatus>,
        /// Since when.
        silent_since: Timestamp,
    }
    /// A worker was removed.
    WorkerDeleted {
        /// The worker.
        worker: WorkerId,
    }
    /// A worker gets no work until the cause is gone.
    WorkerQuarantined {
        /// The worker.
        worker: WorkerId,
        /// Why.
        cause: QuarantineCause,
        /// Why it was in quarantine before, if it was.
        from: Option<QuarantineCause>,
    }
    /// A worker may have work again.
    WorkerQuarantineLifted {
        /// The worker.
        worker: WorkerId,
        /// Why it was in quarantine.
        from: QuarantineCause,
    }
    /// A tag was made.
    TagCreated {
        /// The tag.
        tag: TagId,
    }
    /// A tag's name or description changed.
    TagChanged {
        /// The tag.
        tag: TagId,
    }
    /// A tag was removed.
    TagDeleted {
        /// The tag.
        tag: TagId,
    }
}
