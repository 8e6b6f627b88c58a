// SPDX-License-Identifier: GPL-3.0-or-later
//! What changes about a task, as a fixed row: there may be a million of them, and twice.
//!
//! What few tasks have at a time lies elsewhere (`tasks.rs`).

use crate::{AttemptId, Lsn, TaskStatus, WorkerId};

/// Bits of [`TaskState::flags`].
pub(crate) mod flag {
    pub(crate) const HAS_LAST_WORKER: u8 = 1;
    pub(crate) const HAS_ENDED: u8 = 1 << 1;
    pub(crate) const ENDED_BY_OWN_REPORT: u8 = 1 << 2;
    pub(crate) const RETIRED: u8 = 1 << 3;
    /// Its leaf is not in the digest's sum. About the digest, not about the task.
    pub(crate) const UNSETTLED: u8 = 1 << 4;
}

/// What changes about a task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TaskState {
    pub(crate) changed_at: Lsn,
    pub(crate) last_ended: AttemptId,
    pub(crate) last_worker: WorkerId,
    pub(crate) priority: i32,
    pub(crate) steps_completed: u32,
    pub(crate) attempts_ended: u32,
    pub(crate) task_type: u16,
    pub(crate) status: TaskStatus,
    pub(crate) flags: u8,
}

const _: () = assert!(
    size_of::<TaskState>() <= 56,
    "every byte here counts millions of times"
);

impl TaskState {
    /// A new task's.
    pub(crate) fn new(task_type: u16, priority: i32, changed_at: Lsn) -> Self {
        Self {
            changed_at,
            last_ended: AttemptId {
                job_epoch: 0,
                incarnation: 0,
                lsn: Lsn::ORIGIN,
            },
            last_worker: WorkerId::new(uuid::Uuid::nil()),
            priority,
            steps_completed: 0,
            attempts_ended: 0,
            task_type,
            status: TaskStatus::Queued,
            flags: 0,
        }
    }

    /// The flags that are about the task.
    pub(crate) const fn lasting_flags(&self) -> u8 {
        self.flags & !flag::UNSETTLED
    }

    pub(crate) const fn is_retired(&self) -> bool {
        self.has(flag::RETIRED)
    }

    pub(crate) const fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub(crate) const fn put(&mut self, flag: u8, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    /// The same, and not part of its job yet.
    pub(crate) fn prepared(task_type: u16, priority: i32, changed_at: Lsn) -> Self {
        let mut state = Self::new(task_type, priority, changed_at);
        state.put(flag::RETIRED, true);
        state
    }

    pub(crate) fn set_last_worker(&mut self, worker: Option<WorkerId>) {
        self.put(flag::HAS_LAST_WORKER, worker.is_some());
        self.last_worker = worker.unwrap_or(WorkerId::new(uuid::Uuid::nil()));
    }

    pub(crate) fn set_last_ended(&mut self, ended: Option<(AttemptId, bool)>) {
        self.put(flag::HAS_ENDED, ended.is_some());
        if let Some((attempt, own_report)) = ended {
            self.last_ended = attempt;
            self.put(flag::ENDED_BY_OWN_REPORT, own_report);
        }
    }
}
