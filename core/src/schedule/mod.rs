// SPDX-License-Identifier: GPL-3.0-or-later
//! Which task next: indexes over the farm, derived from it and never journalled.
//!
//! Order: job priority, task priority, oldest job, task order. For each (tag, task type) there
//! is a lane of jobs that have a ready task of that type, as sets of jobs by the first two of
//! these. A job that a worker gets nothing from (it is blocked there, or has failed all that is
//! ready) is left out of the worker's walk sixty-four jobs at a time, and so are tasks that it
//! has failed. A change touches one entry; a decision looks at the heads of the lanes.

mod numbers;
mod pick;
mod ready;
mod restore;
mod waits;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use smallvec::SmallVec;

use self::{
    numbers::Numbers,
    ready::{Ready, Turned},
    waits::Waits,
};
use crate::{JobId, TagId, Task, TaskStatus, Timestamp, WorkerId, entity::Job};

pub use pick::Candidate;

/// Version of the scheduling rules, recorded with every assignment.
pub const RULE_VERSION: u16 = 1;

/// Place of a job in a lane, before its age: job priority, its best ready task's priority.
type LaneKey = (Reverse<i32>, Reverse<i32>);
/// Jobs by their order of acceptance, for each place.
type Lane = BTreeMap<LaneKey, Numbers>;
/// Jobs by their order of acceptance, for a worker and a task type.
type Bars = BTreeMap<(WorkerId, u16), Numbers>;

/// What the scheduler knows of a job beyond its entity.
#[derive(Clone, Debug)]
struct JobLinks {
    id: JobId,
    waits: Waits,
    /// Runnable tasks without open dependencies, by type.
    ready: BTreeMap<u16, Ready>,
    /// Where the job stands in the lanes of its types.
    places: SmallVec<[(u16, Option<TagId>, LaneKey); 2]>,
    /// Workers that may not run tasks of a type.
    blocked: BTreeSet<(WorkerId, u16)>,
}

/// The indexes. Jobs are known by their order of acceptance.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    lanes: BTreeMap<(Option<TagId>, u16), Lane>,
    jobs: BTreeMap<u64, JobLinks>,
    /// Jobs that wait for other jobs, by the job waited for.
    waiting: BTreeMap<JobId, BTreeSet<JobId>>,
    /// Jobs of whose ready tasks a worker has failed every one.
    exhausted: Bars,
    /// Jobs in which a worker may not run a type.
    blocked: Bars,
    /// Jobs that are not to start before some moment.
    starts: BTreeSet<(Timestamp, JobId)>,
}

fn set_bar(bars: &mut Bars, worker: WorkerId, task_type: u16, job: u64) {
    bars.entry((worker, task_type)).or_default().insert(job);
}

fn clear_bar(bars: &mut Bars, worker: WorkerId, task_type: u16, job: u64) {
    if let Some(jobs) = bars.get_mut(&(worker, task_type)) {
        jobs.remove(job);
        if jobs.is_empty() {
            bars.remove(&(worker, task_type));
        }
    }
}

fn note(exhausted: &mut Bars, job: u64, task_type: u16, turned: &Turned) {
    for &worker in &turned.freed {
        clear_bar(exhausted, worker, task_type, job);
    }
    for &worker in &turned.barred {
        set_bar(exhausted, worker, task_type, job);
    }
}

impl Schedule {
    /// A job appeared.
    pub fn add_job(&mut self, job: &Job) {
        let facts = &job.state.facts;
        let links = JobLinks {
            id: facts.job,
            waits: Waits::default(),
            ready: BTreeMap::new(),
            places: SmallVec::new(),
            blocked: BTreeSet::new(),
        };
        self.jobs.insert(job.state.sequence, links);
        for &dependency in &facts.depends_on_jobs {
            self.waiting
                .entry(dependency)
                .or_default()
                .insert(facts.job);
        }
        if let Some(not_before) = facts.not_before {
            self.starts.insert((not_before, facts.job));
        }
    }

    /// A job is gone.
    pub fn remove_job(&mut self, job: &Job) {
        let facts = &job.state.facts;
        let sequence = job.state.sequence;
        self.place(sequence, SmallVec::new());
        if let Some(links) = self.jobs.remove(&sequence) {
            for (&task_type, ready) in &links.ready {
                for worker in ready.barred() {
                    clear_bar(&mut self.exhausted, worker, task_type, sequence);
                }
            }
            for (worker, task_type) in links.blocked {
                clear_bar(&mut self.blocked, worker, task_type, sequence);
            }
        }
        for dependency in &facts.depends_on_jobs {
            if let Some(waiting) = self.waiting.get_mut(dependency) {
                waiting.remove(&facts.job);
                if waiting.is_empty() {
                    self.waiting.remove(dependency);
                }
            }
        }
        if let Some(not_before) = facts.not_before {
            self.starts.remove(&(not_before, facts.job));
        }
    }

    /// Tasks from `first` on were added to a job.
    pub fn add_tasks(&mut self, job: &Job, first: u32) {
        let sequence = job.state.sequence;
        let Some(links) = self.jobs.get_mut(&sequence) else {
            return;
        };
        let last = u32::try_from(job.tasks.len()).expect("numbers are u32");
        for number in first..last {
            let task = job.tasks.at(number);
            links.waits.add(number, task.depends_on, |other| {
                job.tasks.status(other) == Some(TaskStatus::Completed)
            });
            Self::settle(links, &mut self.exhausted, sequence, &task);
        }
    }

    /// Puts a task among the ready ones if it can be started.
    fn settle(links: &mut JobLinks, exhausted: &mut Bars, job: u64, task: &Task<'_>) {
        if task.status.is_runnable() && !task.retired && links.waits.is_free(task.number) {
            let ready = links.ready.entry(task.task_type).or_default();
            note(exhausted, job, task.task_type, &ready.enter(task));
        }
    }

    /// Takes a task out of the ready ones, if it is there. It is as it was when it came.
    fn withdraw(links: &mut JobLinks, exhausted: &mut Bars, job: u64, task: &Task<'_>) {
        if task.status.is_runnable()
            && let Some(ready) = links.ready.get_mut(&task.task_type)
        {
            note(exhausted, job, task.task_type, &ready.leave(task));
        }
    }

    /// A task is about to change: it leaves the ready set as it stands.
    pub fn before_task_change(&mut self, job: &Job, task: &Task<'_>) {
        let sequence = job.state.sequence;
        if let Some(links) = self.jobs.get_mut(&sequence) {
            Self::withdraw(links, &mut self.exhausted, sequence, task);
        }
    }

    /// A task changed status from `from`; `job` holds it as it is now.
    pub fn after_task_change(&mut self, job: &Job, number: u32, from: TaskStatus) {
        let sequence = job.state.sequence;
        let Some(links) = self.jobs.get_mut(&sequence) else {
            return;
        };
        let task = job.tasks.at(number);
        Self::settle(links, &mut self.exhausted, sequence, &task);
        let was_done = from == TaskStatus::Completed;
        let is_done = task.status == TaskStatus::Completed;
        if was_done == is_done {
            return;
        }
        let waiting: SmallVec<[u32; 8]> = links.waits.waiting_for(number).collect();
        for waiting in waiting {
            let dependent = job.tasks.at(waiting);
            if is_done {
                if links.waits.close_one(waiting) {
                    Self::settle(links, &mut self.exhausted, sequence, &dependent);
                }
            } else {
                Self::withdraw(links, &mut self.exhausted, sequence, &dependent);
                links.waits.open_one(waiting);
            }
        }
    }

    /// A worker may no longer run tasks of a type in a job, or may again.
    pub fn set_blocked(&mut self, job: &Job, worker: WorkerId, task_type: u16, blocked: bool) {
        let sequence = job.state.sequence;
        let Some(links) = self.jobs.get_mut(&sequence) else {
            return;
        };
        if blocked {
            links.blocked.insert((worker, task_type));
            set_bar(&mut self.blocked, worker, task_type, sequence);
        } else {
            links.blocked.remove(&(worker, task_type));
            clear_bar(&mut self.blocked, worker, task_type, sequence);
        }
    }

    /// Brings the job's places in the lanes up to date. `may_run`: all that the job itself says
    /// lets its tasks run.
    pub fn refresh_lanes(&mut self, job: &Job, may_run: bool) {
        let sequence = job.state.sequence;
        let mut places = SmallVec::new();
        if may_run && let Some(links) = self.jobs.get(&sequence) {
            let tag = job.state.facts.tag;
            let priority = Reverse(job.state.facts.priority);
            let bests = (links.ready.iter())
                .filter_map(|(&task_type, ready)| Some((task_type, ready.best()?)));
            places.extend(bests.map(|(task_type, best)| (task_type, tag, (priority, best))));
        }
        self.place(sequence, places);
    }

    fn place(&mut self, job: u64, places: SmallVec<[(u16, Option<TagId>, LaneKey); 2]>) {
        let Some(links) = self.jobs.get_mut(&job) else {
            return;
        };
        if links.places == places {
            return;
        }
        for &(task_type, tag, key) in &places {
            let lane = self.lanes.entry((tag, task_type)).or_default();
            lane.entry(key).or_default().insert(job);
        }
        for place in std::mem::replace(&mut links.places, places) {
            if links.places.contains(&place) {
                continue;
            }
            let (task_type, tag, key) = place;
            let Some(lane) = self.lanes.get_mut(&(tag, task_type)) else {
                continue;
            };
            if let Some(jobs) = lane.get_mut(&key) {
                jobs.remove(job);
                if jobs.is_empty() {
                    lane.remove(&key);
                }
            }
            if lane.is_empty() {
                self.lanes.remove(&(tag, task_type));
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
    pub fn has_ready_task(&self, job: &Job, except: impl Fn(u32) -> bool) -> bool {
        self.jobs.get(&job.state.sequence).is_some_and(|links| {
            (links.ready.values().flat_map(Ready::numbers)).any(|number| !except(number))
        })
    }

    /// Numbers of the tasks that wait for this one.
    pub fn dependents(&self, job: &Job, number: u32) -> impl Iterator<Item = u32> {
        (self.jobs.get(&job.state.sequence))
            .into_iter()
            .flat_map(move |links| links.waits.waiting_for(number))
    }

    /// Jobs whose earliest start lies after `from` and not after `to`.
    pub fn starting(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = JobId> {
        let last = JobId::new(uuid::Uuid::max());
        let due = (from < to).then(|| {
            use std::ops::Bound::{Excluded, Included};
            self.starts
                .range((Excluded((from, last)), Included((to, last))))
        });
        due.into_iter().flatten().map(|&(_, job)| job)
    }
}
