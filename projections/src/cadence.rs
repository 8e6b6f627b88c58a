// SPDX-License-Identifier: GPL-3.0-or-later
//! When to save a checkpoint: after a share of the history so far, within bounds.
//!
//! A young farm saves early, so that its first restart is quick; an old one saves rarely, because
//! a checkpoint costs with the farm's size. An idle farm never saves. What is counted is the work
//! of folding again what came since, not time: so it is free of clocks, and a submission of
//! thousands of tasks counts for more than a report.

use tablao_core::{Event, Lsn};

/// Work before the first checkpoint: as much as is folded in no time.
const WORK_MIN: u64 = 1_000;

/// Work between checkpoints at most: as much as is folded in about a second.
const WORK_MAX: u64 = 500_000;

/// A checkpoint looks at every task: between two there is at least one record for so many of them.
const TASKS_PER_RECORD: u64 = 2;

/// The share of the history between two checkpoints: one in so many. Moments of the past are put
/// together from the checkpoint before them, and must not be far behind it.
const SHARE: u64 = 16;

/// Says when to save. At a clean shutdown one saves if [`Cadence::has_tail`].
#[derive(Clone, Debug)]
pub struct Cadence {
    saved: Lsn,
    /// Tasks that the last checkpoint holds.
    tasks: u64,
    work: u64,
    since: u64,
}

impl Cadence {
    /// From the position of the checkpoint that was loaded, or from the origin, and the number of
    /// tasks there.
    pub fn new(saved: Lsn, tasks: u64) -> Self {
        Self {
            saved,
            tasks,
            work: saved.get(),
            since: 0,
        }
    }

    /// An event was folded.
    pub fn passed(&mut self, event: &Event) {
        self.since += work_of(event);
    }

    /// A checkpoint is due.
    pub fn is_due(&self) -> bool {
        let size = self.tasks / TASKS_PER_RECORD;
        self.since >= (self.work / SHARE).max(size).clamp(WORK_MIN, WORK_MAX)
    }

    /// There is something that the last checkpoint does not hold.
    pub fn has_tail(&self, position: Lsn) -> bool {
        position > self.saved
    }

    /// A checkpoint of a farm with so many tasks was taken at this position.
    pub fn taken(&mut self, position: Lsn, tasks: u64) {
        self.saved = position;
        self.tasks = tasks;
        self.work += self.since;
        self.since = 0;
    }
}

/// What folding an event costs, in ordinary records.
pub fn work_of(event: &Event) -> u64 {
    let of_ranges = |ranges: &[(u32, u32)]| -> u64 {
        let tasks = ranges
            .iter()
            .map(|&(first, last)| u64::from(last - first) + 1);
        tasks.sum()
    };
    match event {
        Event::TasksAdded(facts) => 1 + facts.tasks.len() as u64,
        Event::TasksChanged(facts) => 1 + of_ranges(&facts.ranges),
        Event::FailuresCleared(facts) => 1 + of_ranges(&facts.ranges),
        // Every other event changes a few entities, however large the farm is.
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use tablao_core::{
        JobId, JobStatus, TaskStatus,
        event::{JobReady, StepsChange, TasksChanged},
    };

    use super::*;

    fn small() -> Event {
        Event::JobReady(JobReady {
            job: JobId::new(uuid::Uuid::nil()),
            status: JobStatus::Queued,
        })
    }

    /// A million records cost some dozens of checkpoints, not a thousand, and no moment is behind
    /// a checkpoint by more than a share of what was before it.
    #[test]
    fn spaced_by_a_share_of_the_history() {
        let mut cadence = Cadence::new(Lsn::ORIGIN, 0);
        let mut taken = vec![0];
        for position in 1..=1_000_000 {
            cadence.passed(&small());
            if cadence.is_due() {
                cadence.taken(Lsn::new(position), 0);
                taken.push(position);
            }
        }
        assert_eq!(taken[..4], [0, 1_000, 2_000, 3_000]);
        assert!(taken.len() < 100, "{}", taken.len());
        let gaps = taken.windows(2).map(|pair| (pair[1] - pair[0], pair[0]));
        assert!(
            gaps.into_iter()
                .all(|(gap, before)| gap <= WORK_MIN.max(before / SHARE + 1))
        );
    }

    /// One record that cancels a hundred thousand tasks takes as long to fold as they do.
    #[test]
    fn a_mass_change_counts_for_its_tasks() {
        let mut cadence = Cadence::new(Lsn::ORIGIN, 0);
        cadence.passed(&small());
        assert!(!cadence.is_due());
        cadence.passed(&Event::TasksChanged(TasksChanged {
            job: JobId::new(uuid::Uuid::nil()),
            ranges: vec![(0, 99_999)],
            from: TaskStatus::Queued,
            to: TaskStatus::Canceled,
            steps: StepsChange::Keep,
        }));
        assert!(cadence.is_due());
    }

    /// Saving what a large farm holds does not take a good part of the machine for good.
    #[test]
    fn a_large_farm_is_saved_less_often() {
        for (tasks, is_due) in [(10_000, true), (100_000, false)] {
            let mut cadence = Cadence::new(Lsn::ORIGIN, tasks);
            for _ in 0..40_000 {
                cadence.passed(&small());
            }
            assert_eq!(cadence.is_due(), is_due, "{tasks}");
        }
    }

    /// An idle farm has nothing to save at shutdown.
    #[test]
    fn no_tail_no_save() {
        let cadence = Cadence::new(Lsn::new(7), 0);
        assert!(!cadence.has_tail(Lsn::new(7)));
        assert!(cadence.has_tail(Lsn::new(8)));
    }
}
