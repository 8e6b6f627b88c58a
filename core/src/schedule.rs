// SPDX-License-Identifier: GPL-3.0-or-later
//! Which task next: indexes over the farm, derived from it and never journalled.
//!
//! Order: job priority, task priority, oldest job, task order. For each (tag, task type) there
//! is a lane of jobs that have a ready task of that type; within a job, ready tasks of a type
//! are sorted. A change touches one lane entry; a decision looks at the heads of the lanes
//! that the worker may take from.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crate::{
    JobId, TagId, TaskStatus, Timestamp,
    entity::{Job, Task, Worker},
};

/// Version of the scheduling rules, recorded with every assignment.
pub const RULE_VERSION: u16 = 1;

/// Place of a job in a lane: job priority, its best ready task's priority, age.
type LaneKey = (Reverse<i32>, Reverse<i32>, u64, JobId);
/// Place of a task among the ready ones of its job and type: priority, order, number.
type ReadyKey = (Reverse<i32>, u32, u32);

/// A task that could be handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    job_priority: Reverse<i32>,
    task_priority: Reverse<i32>,
    sequence: u64,
    index: u32,
    /// The job.
    pub job: JobId,
    /// The task's number.
    pub task: u32,
}

/// What the scheduler knows of a job beyond its entity.
#[derive(Clone, Debug, Default)]
struct JobLinks {
    /// For each task, how many of its dependencies are not completed.
    unmet: Vec<u32>,
    /// For each task, who waits for it.
    dependents: Vec<Vec<u32>>,
    /// Runnable tasks without unmet dependencies, by type.
    ready: BTreeMap<u16, BTreeSet<ReadyKey>>,
    /// Where the job stands in the lanes of its types.
    lanes: BTreeMap<u16, (Option<TagId>, LaneKey)>,
}

/// The indexes.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    lanes: BTreeMap<(Option<TagId>, u16), BTreeSet<LaneKey>>,
    jobs: BTreeMap<JobId, JobLinks>,
    /// Jobs that wait for other jobs, by the job waited for.
    waiting: BTreeMap<JobId, BTreeSet<JobId>>,
}

impl Schedule {
    /// A job appeared.
    pub fn add_job(&mut self, job: &Job) {
        let id = job.state.facts.job;
        self.jobs.entry(id).or_default();
        for &dependency in &job.state.facts.depends_on_jobs {
            self.waiting.entry(dependency).or_default().insert(id);
        }
    }

    /// A job is gone.
    pub fn remove_job(&mut self, job: &Job) {
        let id = job.state.facts.job;
        self.leave_lanes(id);
        self.jobs.remove(&id);
        for dependency in &job.state.facts.depends_on_jobs {
            if let Some(waiting) = self.waiting.get_mut(dependency) {
                waiting.remove(&id);
            }
        }
    }

    /// Tasks from `first` on were added to a job.
    pub fn add_tasks(&mut self, job: &Job, first: usize) {
        let links = self.jobs.entry(job.state.facts.job).or_default();
        links.unmet.resize(job.tasks.len(), 0);
        if links.dependents.len() < job.tasks.len() {
            links.dependents.resize(job.tasks.len(), Vec::new());
        }
        for task in &job.tasks[first..] {
            let mut unmet = 0;
            for &dependency in &task.depends_on {
                let known = job.tasks.get(dependency as usize);
                if known.is_none_or(|known| known.status != TaskStatus::Completed) {
                    unmet += 1;
                }
                if links.dependents.len() <= dependency as usize {
                    links.dependents.resize(dependency as usize + 1, Vec::new());
                }
                links.dependents[dependency as usize].push(task.number);
            }
            links.unmet[task.number as usize] = unmet;
            if unmet == 0 && task.status.is_runnable() && !task.retired {
                links
                    .ready
                    .entry(task.task_type)
                    .or_default()
                    .insert(ready_key(task));
            }
        }
    }

    /// A task is about to change: it leaves the ready set as it stands.
    pub fn before_task_change(&mut self, job: JobId, task: &Task) {
        if let Some(links) = self.jobs.get_mut(&job)
            && let Some(ready) = links.ready.get_mut(&task.task_type)
        {
            ready.remove(&ready_key(task));
        }
    }

    /// A task changed status from `from`; `job` holds it as it is now.
    pub fn after_task_change(&mut self, job: &Job, number: u32, from: TaskStatus) {
        let Some(links) = self.jobs.get_mut(&job.state.facts.job) else {
            return;
        };
        let task = &job.tasks[number as usize];
        if task.status.is_runnable() && !task.retired && links.unmet[number as usize] == 0 {
            links
                .ready
                .entry(task.task_type)
                .or_default()
                .insert(ready_key(task));
        }
        let was_done = from == TaskStatus::Completed;
        let is_done = task.status == TaskStatus::Completed;
        if was_done == is_done {
            return;
        }
        for position in 0..links.dependents[number as usize].len() {
            let waiting = links.dependents[number as usize][position];
            let unmet = &mut links.unmet[waiting as usize];
            let dependent = &job.tasks[waiting as usize];
            if is_done {
                *unmet -= 1;
            } else {
                *unmet += 1;
            }
            let runnable = *unmet == 0 && dependent.status.is_runnable() && !dependent.retired;
            let ready = links.ready.entry(dependent.task_type).or_default();
            if runnable {
                ready.insert(ready_key(dependent));
            } else {
                ready.remove(&ready_key(dependent));
            }
        }
    }

    /// Brings the job's places in the lanes up to date. `eligible`: its status, holds and
    /// dependencies on other jobs let it run.
    pub fn refresh_lanes(&mut self, job: &Job, eligible: bool) {
        let id = job.state.facts.job;
        self.leave_lanes(id);
        if !eligible {
            return;
        }
        let Some(links) = self.jobs.get_mut(&id) else {
            return;
        };
        let tag = job.state.facts.tag;
        for (&task_type, ready) in &links.ready {
            if let Some(&(best, _, _)) = ready.first() {
                let key = (
                    Reverse(job.state.facts.priority),
                    best,
                    job.state.sequence,
                    id,
                );
                links.lanes.insert(task_type, (tag, key));
                self.lanes.entry((tag, task_type)).or_default().insert(key);
            }
        }
    }

    fn leave_lanes(&mut self, job: JobId) {
        let Some(links) = self.jobs.get_mut(&job) else {
            return;
        };
        for (task_type, (tag, key)) in std::mem::take(&mut links.lanes) {
            if let Some(lane) = self.lanes.get_mut(&(tag, task_type)) {
                lane.remove(&key);
                if lane.is_empty() {
                    self.lanes.remove(&(tag, task_type));
                }
            }
        }
    }

    /// Jobs that wait for this one.
    pub fn waiting_for(&self, job: JobId) -> Vec<JobId> {
        self.waiting
            .get(&job)
            .map(|jobs| jobs.iter().copied().collect())
            .unwrap_or_default()
    }

    /// The job has a task, none of the `except`ed ones, that could be started but for the
    /// job's own status.
    pub fn has_ready_task(&self, job: JobId, except: impl Fn(u32) -> bool) -> bool {
        self.jobs.get(&job).is_some_and(|links| {
            (links.ready.values().flatten()).any(|&(_, _, number)| !except(number))
        })
    }

    /// Numbers of the tasks that wait for this one.
    pub fn dependents(&self, job: JobId, number: u32) -> &[u32] {
        self.jobs
            .get(&job)
            .and_then(|links| links.dependents.get(number as usize))
            .map_or(&[], Vec::as_slice)
    }

    /// No dependency of the task is open.
    pub fn dependencies_met(&self, job: JobId, number: u32) -> bool {
        self.jobs
            .get(&job)
            .is_some_and(|links| links.unmet[number as usize] == 0)
    }

    /// The best task for a worker and the one that would have been next.
    pub fn pick(
        &self,
        jobs: &BTreeMap<JobId, Job>,
        types: &[u16],
        type_names: &[String],
        worker: &Worker,
        now: Timestamp,
    ) -> (Option<Candidate>, Option<Candidate>) {
        let mut best: Option<Candidate> = None;
        let mut second: Option<Candidate> = None;
        let tags = std::iter::once(None).chain(worker.tags.iter().copied().map(Some));
        for tag in tags {
            for &task_type in types {
                let Some(lane) = self.lanes.get(&(tag, task_type)) else {
                    continue;
                };
                for &key in lane {
                    // Beyond this place nothing in the lane can come before the runner-up.
                    if second.is_some_and(|second| {
                        (key.0, key.1, key.2)
                            > (second.job_priority, second.task_priority, second.sequence)
                    }) {
                        break;
                    }
                    let job = &jobs[&key.3];
                    if !job_admits(job, worker, &type_names[task_type as usize], now) {
                        continue;
                    }
                    let links = &self.jobs[&key.3];
                    for found in links.ready[&task_type]
                        .iter()
                        .filter(|&&(_, _, number)| {
                            !job.tasks[number as usize].failed_by.contains(&worker.id)
                        })
                        .take(2)
                        .map(|&(task_priority, index, task)| Candidate {
                            job_priority: key.0,
                            task_priority,
                            sequence: key.2,
                            index,
                            job: key.3,
                            task,
                        })
                    {
                        if best.is_none_or(|best| found < best) {
                            second = best;
                            best = Some(found);
                        } else if second.is_none_or(|second| found < second) {
                            second = Some(found);
                        }
                    }
                }
            }
        }
        (best, second)
    }
}

/// The job lets this worker run tasks of this type now.
fn job_admits(job: &Job, worker: &Worker, task_type: &str, now: Timestamp) -> bool {
    let facts = &job.state.facts;
    facts.not_before.is_none_or(|not_before| now >= not_before)
        && facts.limits.max_workers.is_none_or(|max| job.live < max)
        && !(job.state.blocked.iter())
            .any(|(blocked, blocked_type)| *blocked == worker.id && blocked_type == task_type)
}

fn ready_key(task: &Task) -> ReadyKey {
    (Reverse(task.priority), task.index, task.number)
}
