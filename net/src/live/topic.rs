// SPDX-License-Identifier: GPL-3.0-or-later
//! The topics of Flamenco's events: rooms of Socket.IO, and names below a prefix in MQTT.

use std::fmt;

use tablao_core::{JobId, TaskId};

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// The Manager starts or stops.
    LifeCycle,
    /// What the farm as a whole is doing.
    Status,
    /// Any job.
    Jobs,
    /// Tasks of one job.
    TasksOf(JobId),
    /// The newest picture of one job.
    LastRenderedOf(JobId),
    /// The newest picture of any job.
    LastRendered,
    /// The log of one task.
    LogOf(TaskId),
    /// Any worker.
    Workers,
    /// Any worker tag.
    WorkerTags,
}

impl Topic {
    /// The name of the Socket.IO event that its messages come as.
    pub(crate) const fn event(self) -> &'static str {
        match self {
            Self::LifeCycle => "/lifecycle",
            Self::Status => "/status",
            Self::Jobs => "/jobs",
            Self::TasksOf(_) => "/task",
            Self::LastRenderedOf(_) | Self::LastRendered => "/last-rendered",
            Self::LogOf(_) => "/tasklog",
            Self::Workers => "/workers",
            Self::WorkerTags => "/workertags",
        }
    }
}

/// The topic's name as MQTT has it, behind the prefix.
impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TasksOf(job) => write!(f, "/jobs/{job}"),
            Self::LastRenderedOf(job) => write!(f, "/jobs/{job}/last-rendered"),
            Self::LogOf(task) => write!(f, "/tasklog/{task}"),
            Self::LifeCycle
            | Self::Status
            | Self::Jobs
            | Self::LastRendered
            | Self::Workers
            | Self::WorkerTags => f.write_str(self.event()),
        }
    }
}
