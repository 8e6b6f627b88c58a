// SPDX-License-Identifier: GPL-3.0-or-later
//! Attempts, ended ones included: who ran a task, when, and how it ended.
//!
//! The core holds live attempts only; this is their history.

use serde::{Deserialize, Serialize};
use tablao_core::{
    AttemptId, Detail, JobId, Recorded, TaskId, Timestamp, WorkerId,
    event::{AttemptAssigned, AttemptEnded, AttemptOutcome},
};

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptPhase {
    /// Handed out; the worker has not said yet that it started.
    Assigned,
    /// The worker said that it started.
    Running,
    /// Asked to stop.
    Stopping,
    /// Over.
    Ended,
}

impl AttemptPhase {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Ended => "ended",
        }
    }
}

/// One run of a task by one worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRow {
    /// Its identity and fence.
    pub id: AttemptId,
    /// The job.
    pub job: JobId,
    /// The task.
    pub task: TaskId,
    /// The task's number in the job.
    pub number: u32,
    /// Who runs it, or ran it.
    pub worker: WorkerId,
    /// How far it has come.
    pub state: AttemptPhase,
    /// How it ended.
    pub outcome: Option<AttemptOutcome>,
    /// Why it was asked to stop, or how it ended, in words.
    pub reason: String,
    /// When it was handed out.
    pub assigned: Timestamp,
    /// When its worker said that it started.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// Highest memory use, in bytes.
    pub peak_memory_bytes: Option<u64>,
}

impl AttemptRow {
    pub(crate) fn assigned(
        id: AttemptId,
        task: TaskId,
        recorded: &Recorded,
        event: &AttemptAssigned,
    ) -> Self {
        Self {
            id,
            job: event.job,
            task,
            number: event.task,
            worker: event.worker,
            state: AttemptPhase::Assigned,
            outcome: None,
            reason: String::new(),
            assigned: recorded.at,
            started: None,
            ended: None,
            peak_memory_bytes: None,
        }
    }

    pub(crate) fn start(&mut self, at: Timestamp) {
        self.state = AttemptPhase::Running;
        self.started = Some(at);
    }

    pub(crate) fn stop(&mut self, detail: &Detail) {
        self.state = AttemptPhase::Stopping;
        self.reason = detail.reason_text().to_owned();
    }

    pub(crate) fn end(&mut self, recorded: &Recorded, event: &AttemptEnded) {
        self.state = AttemptPhase::Ended;
        self.outcome = Some(event.outcome);
        self.ended = Some(recorded.at);
        self.peak_memory_bytes = event.peak_memory_bytes;
        // Without words of its own the end keeps the words of the stop that led to it.
        let reason = recorded.detail.reason_text();
        if !reason.is_empty() {
            self.reason = reason.to_owned();
        }
    }
}
