// SPDX-License-Identifier: GPL-3.0-or-later
//! The state machines of jobs and tasks, as tables.
//!
//! The behaviour is Flamenco 3's documented intent, with transitions validated. `decide`
//! reads these tables and writes out what they led to, so a later edit of a table never
//! changes how an old journal folds. docs/state-machines.md shows them to users.

use crate::{JobStatus, TaskStatus};

use JobStatus as J;
use TaskStatus as T;

/// What bringing a job to a status does to its tasks, and what follows by itself.
#[derive(Clone, Copy, Debug)]
pub struct JobRow {
    /// The status that is set.
    pub to: JobStatus,
    /// Tasks that change status with it.
    pub moves: &'static [(TaskStatus, TaskStatus)],
    /// Live attempts are asked to stop.
    pub stops_live: bool,
    /// The status that follows by itself.
    pub follow: Follow,
}

/// What follows a job status by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// Nothing.
    Stay,
    /// This status, at once.
    At(JobStatus),
    /// This status, when no attempt lives any more.
    WhenIdle(JobStatus),
    /// This status, when every task is completed.
    WhenAllCompleted(JobStatus),
}

/// One row per job status. `Requeueing` from `Completed` moves every task; see [`REQUEUE_COMPLETED`].
pub const JOB_ROWS: &[JobRow] = &[
    row(J::Active, &[], false, Follow::Stay),
    row(J::Canceled, &[], false, Follow::Stay),
    row(J::Completed, &[], false, Follow::Stay),
    row(
        J::Failed,
        &[(T::Queued, T::Canceled), (T::SoftFailed, T::Canceled)],
        true,
        Follow::Stay,
    ),
    row(J::Paused, &[], false, Follow::Stay),
    row(
        J::PauseRequested,
        &[(T::Queued, T::Paused), (T::SoftFailed, T::Paused)],
        false,
        Follow::WhenIdle(J::Paused),
    ),
    row(
        J::Queued,
        &[],
        false,
        Follow::WhenAllCompleted(J::Completed),
    ),
    row(
        J::CancelRequested,
        &[(T::Queued, T::Canceled), (T::SoftFailed, T::Canceled)],
        true,
        Follow::WhenIdle(J::Canceled),
    ),
    row(
        J::Requeueing,
        &[
            (T::Canceled, T::Queued),
            (T::Failed, T::Queued),
            (T::Paused, T::Queued),
            (T::SoftFailed, T::Queued),
        ],
        false,
        Follow::At(J::Queued),
    ),
    row(J::UnderConstruction, &[], false, Follow::Stay),
];

/// What `Requeueing` moves when the job was completed: everything runs again.
pub const REQUEUE_COMPLETED: &[(TaskStatus, TaskStatus)] = &[
    (T::Canceled, T::Queued),
    (T::Completed, T::Queued),
    (T::Failed, T::Queued),
    (T::Paused, T::Queued),
    (T::SoftFailed, T::Queued),
];

const fn row(
    to: JobStatus,
    moves: &'static [(TaskStatus, TaskStatus)],
    stops_live: bool,
    follow: Follow,
) -> JobRow {
    JobRow {
        to,
        moves,
        stops_live,
        follow,
    }
}

/// The row of a status.
pub fn job_row(to: JobStatus) -> &'static JobRow {
    &JOB_ROWS[to as usize]
}

/// What may be asked of a job: the wish, the status that is then set, and from where.
pub const JOB_WISHES: &[(JobStatus, JobStatus, &[JobStatus])] = &[
    (J::CancelRequested, J::CancelRequested, CANCELABLE),
    (J::Canceled, J::CancelRequested, CANCELABLE),
    (J::PauseRequested, J::PauseRequested, PAUSABLE),
    (J::Paused, J::PauseRequested, PAUSABLE),
    (J::Requeueing, J::Requeueing, REQUEUEABLE),
    (J::Queued, J::Requeueing, REQUEUEABLE),
    (
        J::Failed,
        J::Failed,
        &[J::Active, J::Queued, J::Paused, J::PauseRequested],
    ),
];

const CANCELABLE: &[JobStatus] = &[
    J::Active,
    J::Failed,
    J::Paused,
    J::PauseRequested,
    J::Queued,
];
const PAUSABLE: &[JobStatus] = &[J::Active, J::Canceled, J::Queued];
const REQUEUEABLE: &[JobStatus] = &[
    J::Canceled,
    J::Completed,
    J::Failed,
    J::Paused,
    J::PauseRequested,
];

/// The status to set when somebody wishes `wanted` for a job that is `from`; `None` is a refusal.
pub fn job_wish(from: JobStatus, wanted: JobStatus) -> Option<JobStatus> {
    JOB_WISHES
        .iter()
        .find(|(wish, _, sources)| *wish == wanted && sources.contains(&from))
        .map(|&(_, set, _)| set)
}

/// What may be asked of a task that is at rest: from where to where.
pub const TASK_WISHES: &[(TaskStatus, &[TaskStatus])] = &[
    (
        T::Queued,
        &[
            T::Canceled,
            T::Completed,
            T::Failed,
            T::Paused,
            T::SoftFailed,
        ],
    ),
    (T::Canceled, &[T::Queued, T::SoftFailed, T::Paused]),
    (T::Paused, &[T::Queued, T::SoftFailed]),
    (
        T::Completed,
        &[T::Queued, T::SoftFailed, T::Failed, T::Canceled, T::Paused],
    ),
    (T::Failed, &[T::Queued, T::SoftFailed, T::Paused]),
];

/// Somebody may bring a task at rest from one status to another.
pub fn task_wish_allowed(from: TaskStatus, wanted: TaskStatus) -> bool {
    TASK_WISHES
        .iter()
        .any(|(wish, sources)| *wish == wanted && sources.contains(&from))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every job status has exactly one row, at the place where `job_row` looks.
    #[test]
    fn every_status_has_its_row() {
        assert_eq!(JOB_ROWS.len(), JobStatus::ALL.len());
        for &status in JobStatus::ALL {
            assert_eq!(job_row(status).to, status);
        }
    }

    /// All hundred pairs of job status and wish: exactly the listed ones are granted.
    #[test]
    fn job_wishes_as_documented() {
        let granted: usize = JobStatus::ALL
            .iter()
            .flat_map(|&from| JobStatus::ALL.iter().map(move |&to| (from, to)))
            .filter(|&(from, to)| job_wish(from, to).is_some())
            .count();
        assert_eq!(granted, 5 + 5 + 3 + 3 + 5 + 5 + 4);
        assert_eq!(job_wish(J::Active, J::Canceled), Some(J::CancelRequested));
        assert_eq!(job_wish(J::Completed, J::Canceled), None);
        assert_eq!(job_wish(J::Active, J::Completed), None);
        assert_eq!(job_wish(J::UnderConstruction, J::Queued), None);
    }

    /// Nobody but a worker makes a task active, and only the rules make it soft-failed.
    #[test]
    fn task_wishes_as_documented() {
        for &from in TaskStatus::ALL {
            assert!(!task_wish_allowed(from, T::Active));
            assert!(!task_wish_allowed(from, T::SoftFailed));
            assert!(!task_wish_allowed(from, from));
        }
        assert!(task_wish_allowed(T::Completed, T::Queued));
        assert!(!task_wish_allowed(T::Completed, T::Canceled));
    }
}
