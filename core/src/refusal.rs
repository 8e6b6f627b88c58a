// SPDX-License-Identifier: GPL-3.0-or-later
//! Refusals: the domain's way of saying no. Nothing changed, and the text says what to do.

use crate::{JobId, JobStatus, TagId, TaskId, TaskStatus, WorkerId, WorkerStatus};

macro_rules! refusals {
    ($($code:literal $(#[$attr:meta])* $name:ident $($body:tt)?),+ $(,)?) => {
        refusals! { @enum $($(#[$attr])* $name $($body)?),+ }

        impl Refusal {
            /// Number of the refusal in a decision. Never reused.
            pub const fn code(&self) -> u16 {
                match self {
                    $(Self::$name { .. } => $code),+
                }
            }
        }
    };
    (@enum $($(#[$attr:meta])* $name:ident $($body:tt)?),+) => {
        /// Why a request was refused.
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        pub enum Refusal {
            $($(#[$attr])* $name $($body)?),+
        }
    };
}

refusals! {
    1 /// No such job.
    #[error("job {job} is not known here")]
    UnknownJob {
        /// The id asked for.
        job: JobId,
    },
    2 /// No such task.
    #[error("task {task} is not known here")]
    UnknownTask {
        /// The id asked for.
        task: TaskId,
    },
    3 /// No such worker, or a removed one.
    #[error("worker {worker} is not known here")]
    UnknownWorker {
        /// The id asked for.
        worker: WorkerId,
    },
    4 /// No such tag.
    #[error("worker tag {tag} is not known here")]
    UnknownTag {
        /// The id asked for.
        tag: TagId,
    },
    5 /// The job machine has no such transition.
    #[error("a job that is {from} cannot be brought to {wanted}")]
    JobTransition {
        /// Where it stands.
        from: JobStatus,
        /// What was wanted.
        wanted: JobStatus,
    },
    6 /// The task machine has no such transition.
    #[error("a task that is {from} cannot be brought to {wanted}")]
    TaskTransition {
        /// Where it stands.
        from: TaskStatus,
        /// What was wanted.
        wanted: TaskStatus,
    },
    7 /// The worker is asked to change status first.
    #[error("worker is asked to become {status}")]
    StatusChangePending {
        /// What it is to become.
        status: WorkerStatus,
    },
    8 /// The worker runs no tasks in this status.
    #[error("worker is {}, and only an awake worker is given tasks", status.map_or("not signed on", WorkerStatus::name))]
    NotAwake {
        /// Where it stands.
        status: Option<WorkerStatus>,
    },
    9 /// The task is not (or no longer) this worker's.
    #[error("task {task} is not assigned to this worker")]
    NotAssigned {
        /// The task.
        task: TaskId,
    },
    10 /// A worker may not report this status.
    #[error("a worker cannot report {status}; the Manager decides that")]
    ReportedStatus {
        /// What it reported.
        status: TaskStatus,
    },
    11 /// The job exists already.
    #[error("job {job} exists already")]
    JobExists {
        /// The job.
        job: JobId,
    },
    12 /// The submission contradicts itself.
    #[error("submission is not sound: {reason}")]
    UnsoundSubmission {
        /// What is wrong.
        reason: String,
    },
    13 /// The job is not marked for deletion, or not at rest.
    #[error("job cannot be removed: {reason}")]
    NotRemovable {
        /// Why not.
        reason: String,
    },
    14 /// The worker cannot restart itself.
    #[error("worker cannot restart itself: start it with a restart exit code")]
    CannotRestart {
        /// The worker.
        worker: WorkerId,
    },
    15 /// The Manager is not known or revoked.
    #[error(
        "no such manager is linked here; link one with `tablao manager --server URL --link-token TOKEN`"
    )]
    UnknownManager {
        /// The id asked for.
        manager: crate::ManagerId,
    },
    16 /// A later term has begun.
    #[error("term {term} is over: another Server has begun a later one")]
    StaleTerm {
        /// The term asked for.
        term: u64,
    },
    17 /// Priorities go from 0 to 100.
    #[error("priority {priority} is outside 0 to 100")]
    PriorityOutOfRange {
        /// The priority asked for.
        priority: i32,
    },
    30 /// The job cannot be compiled anew as it stands.
    #[error("job {job} cannot be regenerated: {reason}")]
    NotRegenerable {
        /// The job.
        job: JobId,
        /// Why not.
        reason: String,
    },
    31 /// Somebody else regenerated the job in the meantime.
    #[error("job {job} was regenerated in the meantime; look at it again")]
    StaleGeneration {
        /// The job.
        job: JobId,
    },
    32 /// The task is not part of its job any more.
    #[error("task {task} was retired when its job was regenerated")]
    TaskRetired {
        /// The task.
        task: TaskId,
    },
    18 /// The frame is not known.
    #[error("frame {number} of this shot is not known here")]
    UnknownFrame {
        /// Its number.
        number: i32,
    },
    19 /// The old Manager may still run the job.
    #[error(
        "job {job} may still run at its Manager, which was heard of less than {} s ago; wait, or \
         stop it for good and say --assume-fenced",
        crate::decide::JOB_LEASE_MS / 1000
    )]
    JobLeased {
        /// The job.
        job: JobId,
    },
}
