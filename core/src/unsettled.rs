// SPDX-License-Identifier: GPL-3.0-or-later
//! Which entities' leaves are not in the digest's sum as it stands.
//!
//! A leaf costs a hash; an entity that changes often would pay two for each change. So the first
//! change takes the old leaf out and notes the entity here; its leaf goes back in when this list
//! has grown long. Of a task, the dearest and most frequent, how it was is noted instead, and both
//! its hashes are due later. The digest is the same at every moment: whoever asks for it gets the
//! sum with what is listed here added up.

use std::collections::{BTreeSet, VecDeque};

use crate::{
    AttemptId, Farm, JobId, WorkerId,
    digest::{Domain, Leaf, SetHash},
    entity::{Attempt, FrameKey, FrameTable, Job, Worker},
    farm::{job_leaf, task_leaf},
    tasks::TaskBefore,
};

/// How many of each sort of entity wait here at most. Enough for what a farm of ten thousand
/// workers has in hand, few enough that asking for the digest takes milliseconds.
const WAITING_MAX: usize = 16 << 10;

/// One in so many of those that may wait are settled together. One decision in a few hundred
/// pays for it, some hundred microseconds, and the others nothing; one leaf each time would be a
/// fifth of every decision, because what it hashes was last looked at long ago.
const BULK_SHARE: usize = 64;

/// A task that waits.
#[derive(Clone, Debug)]
struct WaitingTask {
    job: JobId,
    number: u32,
    /// How it was when its leaf was last in the sum; nothing if it never was. The leaf of that
    /// is in the sum still.
    before: Option<TaskBefore>,
}

impl WaitingTask {
    /// Takes the leaf of how the task was out of the sum.
    fn remove_before(&self, hash: &mut SetHash, job: &Job) {
        let before = self.before.as_ref();
        if let Some(task) = before.and_then(|before| job.tasks.as_it_was(self.number, before)) {
            hash.remove(task_leaf(job, &task));
        }
    }
}

/// Stands in an entity: its leaf waits. It says nothing about the entity itself, so two that
/// differ in it are equal.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark(bool);

impl PartialEq for Mark {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Mark {}

impl Mark {
    /// Gives whether it was not set before.
    fn set(&mut self) -> bool {
        !std::mem::replace(&mut self.0, true)
    }
}

/// The entities that wait. Each method says what is about to happen to an entity.
#[derive(Clone, Debug)]
pub(crate) struct Unsettled {
    /// How many of each sort wait at most.
    max: usize,
    // First come, first settled. Each entity is marked while it stands here.
    tasks: VecDeque<WaitingTask>,
    jobs: VecDeque<JobId>,
    frames: VecDeque<FrameKey>,
    workers: VecDeque<WorkerId>,
    /// Attempts come and go: a set forgets them at once.
    attempts: BTreeSet<AttemptId>,
}

impl Default for Unsettled {
    fn default() -> Self {
        Self {
            max: WAITING_MAX,
            tasks: VecDeque::new(),
            jobs: VecDeque::new(),
            frames: VecDeque::new(),
            workers: VecDeque::new(),
            attempts: BTreeSet::new(),
        }
    }
}

impl Unsettled {
    pub(crate) fn new_job(&mut self, job: &mut Job) {
        if job.mark.set() {
            self.jobs.push_back(job.state.facts.job);
        }
    }

    pub(crate) fn job_changes(&mut self, hash: &mut SetHash, job: &mut Job) {
        if !job.mark.0 {
            hash.remove(job_leaf(job));
            self.new_job(job);
        }
    }

    /// The job and its tasks go.
    pub(crate) fn job_goes(&mut self, hash: &mut SetHash, job: &Job) {
        let id = job.state.facts.job;
        if job.mark.0 {
            self.jobs.retain(|waiting| *waiting != id);
        } else {
            hash.remove(job_leaf(job));
        }
        let mut waited = false;
        for task in job.tasks.iter() {
            if job.tasks.is_unsettled(task.number) {
                waited = true;
            } else {
                hash.remove(task_leaf(job, &task));
            }
        }
        // Another job may come that has the same id.
        if waited {
            self.tasks.retain(|waiting| {
                if waiting.job == id {
                    waiting.remove_before(hash, job);
                }
                waiting.job != id
            });
        }
    }

    /// A task that has just been put into its job.
    pub(crate) fn new_task(&mut self, job: &mut Job, number: u32) {
        self.task_waits(job, number, None);
    }

    pub(crate) fn task_changes(&mut self, job: &mut Job, number: u32) {
        if !job.tasks.is_unsettled(number) {
            let before = job.tasks.before(number);
            self.task_waits(job, number, before);
        }
    }

    fn task_waits(&mut self, job: &mut Job, number: u32, before: Option<TaskBefore>) {
        job.tasks.set_unsettled(number, true);
        self.tasks.push_back(WaitingTask {
            job: job.state.facts.job,
            number,
            before,
        });
    }

    pub(crate) fn new_attempt(&mut self, id: AttemptId) {
        self.attempts.insert(id);
    }

    pub(crate) fn attempt_changes(&mut self, hash: &mut SetHash, attempt: &Attempt) {
        if self.attempts.insert(attempt.id) {
            hash.remove(Leaf::of(Domain::Attempt, attempt));
        }
    }

    pub(crate) fn attempt_goes(&mut self, hash: &mut SetHash, attempt: &Attempt) {
        if !self.attempts.remove(&attempt.id) {
            hash.remove(Leaf::of(Domain::Attempt, attempt));
        }
    }

    /// A frame that has just been put into the table.
    pub(crate) fn new_frame(&mut self, key: &FrameKey, frames: &mut FrameTable) {
        if !frames.set_unsettled(key, true) {
            self.frames.push_back(key.clone());
        }
    }

    pub(crate) fn frame_changes(
        &mut self,
        hash: &mut SetHash,
        key: &FrameKey,
        frames: &mut FrameTable,
    ) {
        let Some(frame) = frames.get(key) else {
            debug_assert!(false, "an event names a frame that is not there");
            return;
        };
        if !frames.is_unsettled(key) {
            hash.remove(Leaf::of(Domain::Frame, &(key, &frame)));
            self.new_frame(key, frames);
        }
    }

    /// Takes frames out. A key that comes again is another entity's.
    pub(crate) fn frames_go(
        &mut self,
        hash: &mut SetHash,
        keys: &BTreeSet<FrameKey>,
        frames: &mut FrameTable,
    ) {
        let mut waited = false;
        for key in keys {
            let waits = frames.is_unsettled(key);
            waited |= waits;
            if let Some(frame) = frames.remove(key).filter(|_| !waits) {
                hash.remove(Leaf::of(Domain::Frame, &(key, &frame)));
            }
        }
        if waited {
            self.frames.retain(|key| !keys.contains(key));
        }
    }

    pub(crate) fn new_worker(&mut self, worker: &mut Worker) {
        if worker.mark.set() {
            self.workers.push_back(worker.id);
        }
    }

    pub(crate) fn worker_changes(&mut self, hash: &mut SetHash, worker: &mut Worker) {
        if !worker.mark.0 {
            hash.remove(Leaf::of(Domain::Worker, worker));
            self.new_worker(worker);
        }
    }
}

impl Farm {
    /// The sum behind the digest, for combining several journals into one root.
    pub fn set_hash(&self) -> SetHash {
        let (mut hash, waiting) = (self.hash, &self.unsettled);
        for task in &waiting.tasks {
            let job = &self.jobs[&task.job];
            task.remove_before(&mut hash, job);
            hash.add(task_leaf(job, &job.tasks.at(task.number)));
        }
        for id in &waiting.jobs {
            hash.add(job_leaf(&self.jobs[id]));
        }
        for id in &waiting.attempts {
            hash.add(Leaf::of(Domain::Attempt, &self.attempts[id]));
        }
        for key in &waiting.frames {
            if let Some(frame) = self.frames.get(key) {
                hash.add(Leaf::of(Domain::Frame, &(key, &frame)));
            }
        }
        for id in &waiting.workers {
            hash.add(Leaf::of(Domain::Worker, &self.workers[id]));
        }
        hash
    }

    /// Lets no more than this many entities of each sort wait for their leaves. The digest is the
    /// same whatever the number: fewer make it quicker to ask for, more make a long fold quicker.
    pub fn settle_beyond(&mut self, max: usize) {
        self.unsettled.max = max;
        self.settle_all_excess();
    }

    /// Puts leaves back into the sum where too many more wait than may, a bulk at a time.
    pub(crate) fn settle_excess(&mut self) {
        let waiting = &self.unsettled;
        let most = (waiting.tasks.len())
            .max(waiting.jobs.len())
            .max(waiting.frames.len())
            .max(waiting.workers.len())
            .max(waiting.attempts.len());
        if most > waiting.max.saturating_add(waiting.max / BULK_SHARE) {
            self.settle_all_excess();
        }
    }

    fn settle_all_excess(&mut self) {
        let (hash, waiting) = (&mut self.hash, &mut self.unsettled);
        while waiting.tasks.len() > waiting.max {
            if let Some(task) = waiting.tasks.pop_front()
                && let Some(job) = self.jobs.get_mut(&task.job)
            {
                task.remove_before(hash, job);
                hash.add(task_leaf(job, &job.tasks.at(task.number)));
                job.tasks.set_unsettled(task.number, false);
            }
        }
        while waiting.jobs.len() > waiting.max {
            if let Some(job) = (waiting.jobs.pop_front()).and_then(|id| self.jobs.get_mut(&id)) {
                hash.add(job_leaf(job));
                job.mark = Mark(false);
            }
        }
        while waiting.frames.len() > waiting.max {
            if let Some(key) = waiting.frames.pop_front()
                && let Some(frame) = self.frames.get(&key)
            {
                hash.add(Leaf::of(Domain::Frame, &(&key, &frame)));
                self.frames.set_unsettled(&key, false);
            }
        }
        while waiting.workers.len() > waiting.max {
            if let Some(id) = waiting.workers.pop_front()
                && let Some(worker) = self.workers.get_mut(&id)
            {
                hash.add(Leaf::of(Domain::Worker, worker));
                worker.mark = Mark(false);
            }
        }
        while waiting.attempts.len() > waiting.max {
            if let Some(id) = waiting.attempts.pop_first() {
                hash.add(Leaf::of(Domain::Attempt, &self.attempts[&id]));
            }
        }
    }
}
