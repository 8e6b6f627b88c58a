// SPDX-License-Identifier: GPL-3.0-or-later
//! The statuses of Flamenco 3, with the names that its API uses.
//!
//! What may follow what is in [`crate::machine`]; this file only names.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

macro_rules! statuses {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every status, in declaration order (which is their order in the journal).
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name in the API.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $name {
            type Err = UnknownStatus;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    other => Err(UnknownStatus(other.to_owned())),
                }
            }
        }
    };
}

/// A name that is none of the statuses of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown status {0:?}")]
pub struct UnknownStatus(pub String);

statuses! {
    /// Where a job stands.
    JobStatus {
        /// Some task has been started.
        Active = "active",
        /// Ended by request.
        Canceled = "canceled",
        /// Every task is done.
        Completed = "completed",
        /// Too many tasks failed, or nobody is left to run it.
        Failed = "failed",
        /// Nothing new is started.
        Paused = "paused",
        /// Waits for running tasks before it is paused.
        PauseRequested = "pause-requested",
        /// Waits for its first task to start.
        Queued = "queued",
        /// Waits for running tasks to stop before it is canceled.
        CancelRequested = "cancel-requested",
        /// Its tasks are being queued again.
        Requeueing = "requeueing",
        /// Its tasks are still being written down.
        UnderConstruction = "under-construction",
    }
}

statuses! {
    /// Where a task stands.
    TaskStatus {
        /// A live attempt exists.
        Active = "active",
        /// Ended by request.
        Canceled = "canceled",
        /// Done.
        Completed = "completed",
        /// Given up.
        Failed = "failed",
        /// Waits for a worker.
        Queued = "queued",
        /// Failed at some worker; others may try.
        SoftFailed = "soft-failed",
        /// Waits for its job to be resumed.
        Paused = "paused",
    }
}

statuses! {
    /// Where a worker stands, or what it is asked to become.
    WorkerStatus {
        /// Signed on, not yet in its first state.
        Starting = "starting",
        /// Runs tasks.
        Awake = "awake",
        /// Connected, runs nothing.
        Asleep = "asleep",
        /// Silent for too long.
        Error = "error",
        /// Testing itself.
        Testing = "testing",
        /// Signed off.
        Offline = "offline",
        /// Asked to restart its process.
        Restart = "restart",
    }
}

impl TaskStatus {
    /// Position in a per-status count.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// A worker may be given the task.
    pub const fn is_runnable(self) -> bool {
        matches!(self, Self::Queued | Self::SoftFailed)
    }
}

impl JobStatus {
    /// The scheduler may take tasks of such a job.
    pub const fn is_schedulable(self) -> bool {
        matches!(self, Self::Queued | Self::Active)
    }

    /// Ended: nothing happens to the job without a new request.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Canceled | Self::Failed)
    }
}

/// How many tasks of a job stand in each status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts([u32; 7]);

impl TaskCounts {
    /// Tasks in `status`.
    pub const fn of(&self, status: TaskStatus) -> u32 {
        self.0[status.index()]
    }

    /// All tasks.
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// Queued or soft-failed: still to be run.
    pub const fn runnable(&self) -> u32 {
        self.of(TaskStatus::Queued) + self.of(TaskStatus::SoftFailed)
    }

    /// One more task in `status`.
    pub fn add(&mut self, status: TaskStatus) {
        self.0[status.index()] += 1;
    }

    /// `count` more tasks in `status`.
    pub fn add_many(&mut self, status: TaskStatus, count: u32) {
        self.0[status.index()] += count;
    }

    /// `count` tasks go from one status to another.
    pub fn shift(&mut self, from: TaskStatus, to: TaskStatus, count: u32) {
        self.0[from.index()] -= count;
        self.0[to.index()] += count;
    }

    /// One task leaves the count (retired).
    pub fn remove(&mut self, status: TaskStatus) {
        self.0[status.index()] -= 1;
    }
}
