// SPDX-License-Identifier: GPL-3.0-or-later
//! Compares both farms in everything they share, and checks what must hold whatever the rules
//! say: one live attempt per task, nothing done twice, dependencies, terminal states, counts.

use std::collections::BTreeSet;

use tablao_core::{
    AttemptId, Event, Farm, JobStatus, Request, TaskId, TaskStatus,
    entity::{AttemptState, Job, Task},
};

use crate::naive::{NaiveFarm, NaiveJob, NaiveTask};

/// Every job, task and worker stands the same in both farms.
pub(crate) fn same_state(farm: &Farm, naive: &NaiveFarm) {
    assert_eq!(farm.jobs().len(), naive.jobs.len(), "number of jobs");
    for job in farm.jobs().values() {
        let id = job.state.facts.job;
        let twin = naive.job(id).unwrap_or_else(|| panic!("{id} is gone"));
        same_job(job, twin, naive);
        for task in job.tasks.iter() {
            let twin = naive.task(task.uuid).expect("the job is there");
            same_task(farm, &task, twin);
        }
    }
    for worker in farm.workers().values() {
        let twin = (naive.workers.iter())
            .find(|twin| twin.id == worker.id)
            .expect("both know every worker");
        assert_eq!(worker.status, twin.status, "status of {}", worker.id);
        assert_eq!(worker.deleted, twin.gone, "presence of {}", worker.id);
        let asked = worker.pending.map(|pending| pending.status);
        assert_eq!(asked, twin.asked, "what {} is asked", worker.id);
        let tags: BTreeSet<_> = twin.tags.iter().copied().collect();
        assert_eq!(worker.tags, tags, "tags of {}", worker.id);
        let runs: Vec<AttemptId> = naive.runs_of(worker.id).iter().map(|run| run.0).collect();
        let attempts: Vec<AttemptId> = worker.attempts.iter().copied().collect();
        assert_eq!(attempts, runs, "what {} runs", worker.id);
    }
}

fn same_job(job: &Job, twin: &NaiveJob, naive: &NaiveFarm) {
    let (state, id) = (&job.state, twin.id);
    assert_eq!(state.status, twin.status, "status of job {id}");
    assert_eq!(state.facts.priority, twin.priority, "priority of job {id}");
    assert_eq!(state.facts.tag, twin.tag, "tag of job {id}");
    let generation = state.facts.generation;
    assert_eq!(generation, twin.generation, "generation of job {id}");
    assert_eq!(
        state.delete_marked.is_some(),
        twin.to_be_deleted,
        "deletion of job {id}"
    );
    let holds: BTreeSet<String> = state.holds.iter().map(|hold| format!("{hold:?}")).collect();
    let held: BTreeSet<String> = twin.held_by.iter().cloned().collect();
    assert_eq!(holds, held, "holds of job {id}");
    let barred: BTreeSet<_> = twin.barred.iter().cloned().collect();
    assert_eq!(state.blocked, barred, "blocklist of job {id}");
    assert_eq!(job.live as usize, naive.running(id), "live of job {id}");
    for &status in TaskStatus::ALL {
        assert_eq!(
            job.counts.of(status) as usize,
            naive.how_many(id, status),
            "{status} tasks of job {id}"
        );
    }
}

fn same_task(farm: &Farm, task: &Task<'_>, twin: &NaiveTask) {
    let name = format!("task {} of job {}", task.number, twin.job);
    assert_eq!(task.status, twin.status, "status of {name}");
    assert_eq!(task.priority, twin.priority, "priority of {name}");
    assert_eq!(task.retired, twin.gone, "retirement of {name}");
    assert_eq!(task.generation, twin.generation, "generation of {name}");
    assert_eq!(task.steps_completed, twin.steps, "steps of {name}");
    assert_eq!(task.last_worker, twin.last_worker, "last worker of {name}");
    let failed_by: BTreeSet<_> = task.failed_by.iter().copied().collect();
    assert_eq!(
        failed_by,
        twin.failed_by.iter().copied().collect(),
        "who failed {name}"
    );
    assert_eq!(
        task.outgrown, twin.too_little,
        "what was too little for {name}"
    );
    let holder = task.attempt.map(|id| (id, farm.attempts()[&id].worker));
    let twin_holder = twin.run.as_ref().map(|run| (run.id, run.worker));
    assert_eq!(holder, twin_holder, "who holds {name}");
}

/// What must hold in every state.
pub(crate) fn sound_state(farm: &Farm) {
    for (id, worker) in farm.workers() {
        let quarantined = farm.quarantines().contains_key(id);
        assert_eq!(
            worker.quarantined, quarantined,
            "a quarantine has its cause"
        );
        assert!(
            !quarantined || worker.attempts.is_empty(),
            "a worker in quarantine runs something"
        );
    }
    let mut held = BTreeSet::new();
    for (id, attempt) in farm.attempts() {
        assert!(
            held.insert((attempt.job, attempt.task)),
            "a task has two live attempts"
        );
        let task = farm.jobs()[&attempt.job].tasks.at(attempt.task);
        assert_eq!(task.attempt, Some(*id), "task and attempt know each other");
        assert!(farm.workers()[&attempt.worker].attempts.contains(id));
        assert!(
            !task.retired || attempt.state == AttemptState::Stopping,
            "a task is retired and runs"
        );
    }
    for job in farm.jobs().values() {
        let live = job.tasks.iter().filter(|task| task.attempt.is_some());
        assert_eq!(live.count(), job.live as usize, "live attempts of a job");
        for task in job.tasks.iter() {
            assert_eq!(
                task.status == TaskStatus::Active,
                task.attempt.is_some(),
                "a task is active exactly while somebody runs it"
            );
        }
        for &status in TaskStatus::ALL {
            let here = job.tasks.iter().filter(|task| !task.retired);
            let count = here.filter(|task| task.status == status);
            assert_eq!(count.count(), job.counts.of(status) as usize, "{status}");
        }
        let done = job.counts.of(TaskStatus::Completed) == job.counts.total();
        if job.state.status == JobStatus::Completed {
            assert!(done, "a completed job has only completed tasks");
        }
        let waits_for_stop = [JobStatus::CancelRequested, JobStatus::PauseRequested];
        assert!(
            job.live > 0 || !waits_for_stop.contains(&job.state.status),
            "a job waits for attempts that do not live"
        );
    }
}

/// What an assignment must respect, seen in the state before it.
pub(crate) fn sound_assignment(before: &Farm, events: &[Event]) {
    for event in events {
        let Event::AttemptAssigned(assigned) = event else {
            continue;
        };
        let job = &before.jobs()[&assigned.job];
        let task = job.tasks.at(assigned.task);
        if let Some(holder) = task.attempt {
            let was_taken_back = events.iter().any(
                |event| matches!(event, Event::AttemptEnded(ended) if ended.attempt == holder),
            );
            let state = before.attempts()[&holder].state;
            assert!(
                was_taken_back && state == AttemptState::Assigned,
                "nobody else runs it"
            );
        } else {
            assert!(task.status.is_runnable(), "a {} task is run", task.status);
        }
        assert!(!task.retired, "a retired task is run");
        assert!(
            !(job.tasks.iter()).any(|task| task.retired && task.attempt.is_some()),
            "a task starts while what it may replace still runs"
        );
        for dependency in task.depends_on {
            let dependency = job.tasks.at(*dependency);
            assert_eq!(
                dependency.status,
                TaskStatus::Completed,
                "a task starts before one that it depends on is done"
            );
        }
        for dependency in &job.state.facts.depends_on_jobs {
            let status = before.jobs().get(dependency).map(|job| job.state.status);
            assert_eq!(status, Some(JobStatus::Completed), "a job waits for a job");
        }
    }
}

/// Completed, failed and canceled last until somebody asks for something, or until a failure
/// turns out to be its worker's.
pub(crate) fn endings_last(before: &Farm, after: &Farm, request: &Request, events: &[Event]) {
    let asked = matches!(
        request,
        Request::SetJobStatus { .. }
            | Request::SetTaskStatus { .. }
            | Request::RegenerateJob { .. }
            | Request::RequeueTasks { .. }
    );
    let absolved = (events.iter()).any(|event| matches!(event, Event::WorkerBlocked(_)));
    for job in before.jobs().values() {
        let Some(now) = after.jobs().get(&job.state.facts.job) else {
            continue;
        };
        let same = now.state.status == job.state.status;
        assert!(
            same || asked || !job.state.status.is_terminal(),
            "a job that was {} is {} without a request",
            job.state.status,
            now.state.status
        );
        for (task, now) in job.tasks.iter().zip(now.tasks.iter()) {
            let ended = match task.status {
                TaskStatus::Completed | TaskStatus::Canceled => true,
                TaskStatus::Failed => !absolved,
                TaskStatus::Active
                | TaskStatus::Queued
                | TaskStatus::SoftFailed
                | TaskStatus::Paused => false,
            };
            assert!(
                now.status == task.status || asked || !ended,
                "a task that was {} is {} without a request",
                task.status,
                now.status
            );
        }
    }
}

/// Tasks that were completed and not queued again since.
#[derive(Default)]
pub(crate) struct DoneOnce {
    done: BTreeSet<TaskId>,
}

impl DoneOnce {
    /// No attempt completes a task that is completed.
    pub(crate) fn watch(&mut self, farm: &Farm, events: &[Event]) {
        for event in events {
            match event {
                Event::AttemptEnded(ended) if ended.task_to == TaskStatus::Completed => {
                    let task = farm.jobs()[&ended.job].tasks.at(ended.task).uuid;
                    assert!(self.done.insert(task), "a task was done twice");
                }
                Event::TasksChanged(changed) if changed.from == TaskStatus::Completed => {
                    for &(first, last) in &changed.ranges {
                        for number in first..=last {
                            let task = farm.jobs()[&changed.job].tasks.at(number);
                            self.done.remove(&task.uuid);
                        }
                    }
                }
                _ => {}
            }
        }
    }
}
