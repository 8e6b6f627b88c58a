// SPDX-License-Identifier: GPL-3.0-or-later
//! A decision in the making: the events so far, and what they will have done to jobs.
//!
//! Later parts of a decision must see what earlier parts did (a task that completes may
//! complete its job), so the plan keeps the few numbers of a job that the rules read, and
//! moves them along as it writes events.

use std::collections::BTreeMap;

use super::Env;
use crate::{
    AttemptId, Detail, Event, Farm, JobId, JobStatus, TaskStatus,
    entity::{Attempt, AttemptState, Job},
    event::{
        AttemptEnded, AttemptOutcome, AttemptStopRequested, FailuresCleared, JobStatusChanged,
        StepsChange, StopCause, TasksChanged, WorkerUnblocked,
    },
    machine::{Follow, REQUEUE_COMPLETED, job_row},
    status::TaskCounts,
    tasks::Task,
};

/// What the rules read of a job, as it will be after the events so far.
#[derive(Clone, Debug)]
pub(super) struct JobView {
    pub(super) status: JobStatus,
    pub(super) counts: TaskCounts,
    /// Attempts that will still live.
    pub(super) live: u32,
    /// Tasks whose status differs from the farm's.
    pub(super) changed: BTreeMap<u32, TaskStatus>,
    /// Inclusive ranges of tasks that go, ascending.
    pub(super) retired: Vec<(u32, u32)>,
    /// From this one on, prepared tasks are the job's.
    pub(super) added_from: Option<u32>,
}

impl JobView {
    /// The task is no longer part of the job, or not yet.
    pub(super) fn is_retired(&self, task: &Task<'_>) -> bool {
        let number = task.number;
        if self.added_from.is_some_and(|first| first <= number) {
            return false;
        }
        task.retired || self.goes(number)
    }

    /// The task goes by this decision.
    fn goes(&self, number: u32) -> bool {
        let after = self.retired.partition_point(|&(first, _)| first <= number);
        after > 0 && number <= self.retired[after - 1].1
    }
}

/// Events in the making.
pub struct Plan<'a> {
    pub(super) farm: &'a Farm,
    pub(super) env: &'a Env,
    pub(super) events: Vec<(Event, Detail)>,
    /// Of the first job that is looked at, and most requests look at no other.
    first_view: Option<(JobId, JobView)>,
    views: BTreeMap<JobId, JobView>,
    /// Attempts that these events have ended.
    ended: Vec<AttemptId>,
}

/// How an attempt is to end.
pub(super) struct Ending {
    pub(super) outcome: AttemptOutcome,
    pub(super) task_to: TaskStatus,
    pub(super) steps: StepsChange,
    pub(super) counts_as_failure: bool,
    pub(super) peak_memory_bytes: Option<u64>,
    pub(super) silent_since: Option<crate::Timestamp>,
    pub(super) reason: String,
}

impl Ending {
    pub(super) fn new(
        outcome: AttemptOutcome,
        task_to: TaskStatus,
        reason: impl Into<String>,
    ) -> Self {
        let steps = match task_to {
            TaskStatus::Queued => StepsChange::Zero,
            TaskStatus::Completed => StepsChange::Total,
            TaskStatus::Active
            | TaskStatus::Canceled
            | TaskStatus::Failed
            | TaskStatus::SoftFailed
            | TaskStatus::Paused => StepsChange::Keep,
        };
        Self {
            outcome,
            task_to,
            steps,
            counts_as_failure: false,
            peak_memory_bytes: None,
            silent_since: None,
            reason: reason.into(),
        }
    }
}

impl<'a> Plan<'a> {
    pub(super) fn new(farm: &'a Farm, env: &'a Env) -> Self {
        Self {
            farm,
            env,
            events: Vec::new(),
            first_view: None,
            views: BTreeMap::new(),
            ended: Vec::new(),
        }
    }

    pub(super) fn into_events(self) -> Vec<(Event, Detail)> {
        self.events
    }

    pub(super) fn emit(&mut self, event: impl Into<Event>) {
        self.events.push((event.into(), Detail::None));
    }

    pub(super) fn emit_with(&mut self, event: impl Into<Event>, detail: Detail) {
        self.events.push((event.into(), detail));
    }

    pub(super) fn view(&mut self, id: JobId) -> &mut JobView {
        let farm = self.farm;
        let fresh = || {
            let job = &farm.jobs[&id];
            JobView {
                status: job.state.status,
                counts: job.counts,
                live: job.live,
                changed: BTreeMap::new(),
                retired: Vec::new(),
                added_from: None,
            }
        };
        let (first, view) = self.first_view.get_or_insert_with(|| (id, fresh()));
        if *first == id {
            return view;
        }
        self.views.entry(id).or_insert_with(fresh)
    }

    /// The status that a task will have.
    pub(super) fn task_status(&mut self, job: JobId, task: &Task<'_>) -> TaskStatus {
        let number = task.number;
        self.view(job)
            .changed
            .get(&number)
            .copied()
            .unwrap_or(task.status)
    }

    /// Moves all tasks of a job from one status to another, as ranges of numbers.
    fn move_tasks(&mut self, job: &'a Job, from: TaskStatus, to: TaskStatus, reason: &str) {
        let id = job.state.facts.job;
        let view = self.view(id);
        if view.counts.of(from) == 0 {
            return;
        }
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        let mut moved = 0;
        for task in job.tasks.iter() {
            if view.is_retired(&task) {
                continue;
            }
            let changed = view.changed.get(&task.number).copied();
            if changed.unwrap_or(task.status) != from {
                continue;
            }
            moved += 1;
            view.changed.insert(task.number, to);
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == task.number => *last = task.number,
                _ => ranges.push((task.number, task.number)),
            }
        }
        if ranges.is_empty() {
            return;
        }
        let view = self.view(id);
        view.counts.shift(from, to, moved);
        let steps = if to == TaskStatus::Queued {
            StepsChange::Zero
        } else {
            StepsChange::Keep
        };
        self.emit_with(
            TasksChanged {
                job: id,
                ranges,
                from,
                to,
                steps,
            },
            Detail::reason(reason),
        );
    }

    /// Moves one task at rest.
    pub(super) fn move_task(&mut self, job: JobId, task: &Task<'_>, to: TaskStatus, reason: &str) {
        let from = self.task_status(job, task);
        let view = self.view(job);
        view.counts.shift(from, to, 1);
        view.changed.insert(task.number, to);
        let steps = Ending::new(AttemptOutcome::Returned, to, "").steps;
        self.emit_with(
            TasksChanged {
                job,
                ranges: vec![(task.number, task.number)],
                from,
                to,
                steps,
            },
            Detail::reason(reason),
        );
    }

    /// Sets a job's status and carries out what its row in the table says.
    pub(super) fn set_status(&mut self, job: &'a Job, to: JobStatus, reason: &str) {
        let id = job.state.facts.job;
        let from = self.view(id).status;
        if from == to {
            return;
        }
        self.note_status(job, to, reason);
        let row = job_row(to);
        let moves = if to == JobStatus::Requeueing && from == JobStatus::Completed {
            REQUEUE_COMPLETED
        } else {
            row.moves
        };
        for &(task_from, task_to) in moves {
            self.move_tasks(job, task_from, task_to, reason);
        }
        if to == JobStatus::Requeueing {
            self.forget_failures(job);
        }
        if row.stops_live {
            let cause = if to == JobStatus::Failed {
                StopCause::JobFailed
            } else {
                StopCause::JobCanceled
            };
            self.stop_live(job, cause, reason);
        }
        match row.follow {
            Follow::Stay => {}
            Follow::At(next) => self.set_status(job, next, reason),
            Follow::WhenIdle(next) => {
                if self.view(id).live == 0 {
                    self.set_status(job, next, reason);
                }
            }
            Follow::WhenAllCompleted(next) => {
                let counts = self.view(id).counts;
                if counts.of(TaskStatus::Completed) == counts.total() {
                    self.set_status(job, next, "all tasks are completed");
                }
            }
        }
    }

    /// Writes down a job's new status without what the table would do to its tasks.
    pub(super) fn note_status(&mut self, job: &Job, to: JobStatus, reason: &str) {
        let id = job.state.facts.job;
        let from = std::mem::replace(&mut self.view(id).status, to);
        self.emit_with(
            JobStatusChanged { job: id, from, to },
            Detail::reason(reason),
        );
    }

    /// A job that is queued again starts with a clean slate: no failures, no blocked workers.
    fn forget_failures(&mut self, job: &Job) {
        let id = job.state.facts.job;
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for (number, _) in job.tasks.failed() {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == number => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        if !ranges.is_empty() {
            self.emit(FailuresCleared { job: id, ranges });
        }
        for (worker, task_type) in job.state.blocked.clone() {
            self.emit(WorkerUnblocked {
                job: id,
                worker,
                task_type,
            });
        }
    }

    fn stop_live(&mut self, job: &Job, cause: StopCause, reason: &str) {
        for (_, id) in job.tasks.running() {
            let attempt = &self.farm.attempts[&id];
            if attempt.state != AttemptState::Stopping && !self.ended.contains(&id) {
                self.stop(attempt, cause, reason);
            }
        }
    }

    /// Asks an attempt to stop.
    pub(super) fn stop(&mut self, attempt: &Attempt, cause: StopCause, reason: &str) {
        self.emit_with(
            AttemptStopRequested {
                attempt: attempt.id,
                job: attempt.job,
                task: attempt.task,
                cause,
            },
            Detail::reason(reason),
        );
    }

    /// Ends an attempt, and writes what follows for its job.
    ///
    /// Evidence may name an attempt twice; it ends once.
    pub(super) fn end(&mut self, attempt: &Attempt, ending: Ending) {
        if self.ended.contains(&attempt.id) {
            return;
        }
        let job = &self.farm.jobs[&attempt.job];
        self.ended.push(attempt.id);
        let view = self.view(attempt.job);
        view.live -= 1;
        if !view.is_retired(&job.tasks.at(attempt.task)) {
            view.counts.shift(TaskStatus::Active, ending.task_to, 1);
        }
        view.changed.insert(attempt.task, ending.task_to);
        let task_to = ending.task_to;
        let reason = ending.reason.clone();
        self.emit_with(
            AttemptEnded {
                attempt: attempt.id,
                job: attempt.job,
                task: attempt.task,
                worker: attempt.worker,
                outcome: ending.outcome,
                task_to,
                steps: ending.steps,
                counts_as_failure: ending.counts_as_failure,
                peak_memory_bytes: ending.peak_memory_bytes,
                silent_since: ending.silent_since,
            },
            Detail::reason(ending.reason),
        );
        self.after_task(job, task_to, &reason);
    }

    /// Ends an attempt that gives its task back: where the task goes depends on its job.
    pub(super) fn give_back(&mut self, attempt: &Attempt, outcome: AttemptOutcome, reason: &str) {
        let task_to = self.returned_task_status(attempt);
        self.end(attempt, Ending::new(outcome, task_to, reason));
    }

    /// Status of a task whose attempt ended without completing or failing it.
    pub(super) fn returned_task_status(&mut self, attempt: &Attempt) -> TaskStatus {
        if self.farm.jobs[&attempt.job].tasks.at(attempt.task).retired {
            return TaskStatus::Canceled;
        }
        match self.view(attempt.job).status {
            JobStatus::CancelRequested | JobStatus::Canceled | JobStatus::Failed => {
                TaskStatus::Canceled
            }
            JobStatus::PauseRequested | JobStatus::Paused => TaskStatus::Paused,
            JobStatus::Active
            | JobStatus::Completed
            | JobStatus::Queued
            | JobStatus::Requeueing
            | JobStatus::UnderConstruction => {
                if attempt.stop == Some(StopCause::TaskCanceled) {
                    TaskStatus::Canceled
                } else {
                    TaskStatus::Queued
                }
            }
        }
    }

    /// What a task's new status does to its job.
    pub(super) fn after_task(&mut self, job: &'a Job, to: TaskStatus, reason: &str) {
        let id = job.state.facts.job;
        let view = self.view(id).clone();
        let counts = view.counts;
        let idle = view.live == 0;
        match view.status {
            JobStatus::CancelRequested if idle => {
                self.set_status(
                    job,
                    JobStatus::Canceled,
                    "the last running task has stopped",
                );
                return;
            }
            JobStatus::Queued | JobStatus::Active | JobStatus::PauseRequested => {}
            JobStatus::CancelRequested
            | JobStatus::Canceled
            | JobStatus::Completed
            | JobStatus::Failed
            | JobStatus::Paused
            | JobStatus::Requeueing
            | JobStatus::UnderConstruction => return,
        }
        if counts.of(TaskStatus::Completed) == counts.total() {
            self.set_status(job, JobStatus::Completed, "all tasks are completed");
            return;
        }
        if to == TaskStatus::Failed {
            let percent =
                (job.state.facts.fail_policy.fail_percent).unwrap_or(self.farm.policy.fail_percent);
            let failed = counts.of(TaskStatus::Failed);
            if u64::from(failed) * 100 / u64::from(counts.total().max(1)) >= u64::from(percent) {
                let why = format!(
                    "{failed} of {} tasks failed, and {percent}% is the limit; the last: {reason}",
                    counts.total()
                );
                self.set_status(job, JobStatus::Failed, &why);
                return;
            }
        }
        // A pause does not hide a failure: it comes after the question whether the job failed.
        if view.status == JobStatus::PauseRequested && idle {
            self.set_status(job, JobStatus::Paused, "the last running task has ended");
            return;
        }
        self.end_if_stuck(job, &view);
    }

    /// A job of which nothing runs and nothing can be started any more comes to its end,
    /// so that nobody waits for it all night.
    fn end_if_stuck(&mut self, job: &'a Job, view: &JobView) {
        let counts = view.counts;
        let failed = counts.of(TaskStatus::Failed);
        if view.live > 0
            || counts.of(TaskStatus::Paused) > 0
            || (counts.runnable() > 0 && self.something_can_start(job, view))
        {
            return;
        }
        if failed > 0 {
            let why = format!(
                "{failed} of {} tasks failed, and no other task can be started",
                counts.total()
            );
            self.set_status(job, JobStatus::Failed, &why);
        } else if counts.of(TaskStatus::Canceled) > 0 {
            let why = "its remaining tasks were canceled";
            if counts.runnable() == 0 {
                self.set_status(job, JobStatus::Canceled, why);
            } else {
                self.set_status(job, JobStatus::CancelRequested, why);
            }
        }
    }

    /// Some task of the job could be started once a worker asks, as this decision leaves it.
    fn something_can_start(&self, job: &Job, view: &JobView) -> bool {
        let status = |number: u32| {
            let changed = view.changed.get(&number).copied();
            changed.or_else(|| job.tasks.status(number))
        };
        let startable = |number: u32| {
            let task = job.tasks.at(number);
            status(number).is_some_and(TaskStatus::is_runnable)
                && !view.is_retired(&task)
                && (task.depends_on.iter())
                    .all(|&dependency| status(dependency) == Some(TaskStatus::Completed))
        };
        let schedule = &self.farm.schedule;
        // The index knows the farm before this decision: what the decision changed is asked anew.
        let is_changed = |number| view.changed.contains_key(&number) || view.goes(number);
        schedule.has_ready_task(job, is_changed)
            || (view.added_from).is_some_and(|first| (first..job.tasks.end()).any(startable))
            || view.changed.iter().any(|(&number, &to)| match to {
                TaskStatus::Queued | TaskStatus::SoftFailed => startable(number),
                TaskStatus::Completed => schedule.dependents(job, number).any(startable),
                TaskStatus::Active
                | TaskStatus::Canceled
                | TaskStatus::Failed
                | TaskStatus::Paused => false,
            })
    }
}
