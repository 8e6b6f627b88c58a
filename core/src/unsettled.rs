// SPDX-License-Identifier: GPL-3.0-or-later
//! Which entities' leaves are not in the digest's sum as it stands.
//!
//! A leaf costs a hash; an entity that changes often would pay two for each change. So the first
//! change takes the old leaf out and notes the entity here; its leaf goes back in when this list
//! has grown long. The digest is the same at every moment: whoever asks for it gets the sum with
//! what is listed here added up.

use std::collections::{BTreeSet, VecDeque};

use crate::{
    AttemptId, Farm, JobId, WorkerId,
    digest::{Domain, Leaf, SetHash},
    entity::{Attempt, Frame, FrameKey, Job, Worker},
    farm::{job_leaf, task_leaf},
};

/// How many of each sort of entity wait here at most. Enough for what a farm of ten thousand
/// workers has in hand, few enough that asking for the digest takes milliseconds.
const WAITING_MAX: usize = 16 << 10;

/// The entities that wait. Each method says what is about to happen to an entity.
#[derive(Clone, Debug)]
pub(crate) struct Unsettled {
    /// How many of each sort wait at most.
    max: usize,
    /// First come, first settled. A task's own row says that it waits.
    tasks: VecDeque<(JobId, u32)>,
    jobs: BTreeSet<JobId>,
    attempts: BTreeSet<AttemptId>,
    frames: BTreeSet<FrameKey>,
    workers: BTreeSet<WorkerId>,
}

impl Default for Unsettled {
    fn default() -> Self {
        Self {
            max: WAITING_MAX,
            tasks: VecDeque::new(),
            jobs: BTreeSet::new(),
            attempts: BTreeSet::new(),
            frames: BTreeSet::new(),
            workers: BTreeSet::new(),
        }
    }
}

impl Unsettled {
    pub(crate) fn new_job(&mut self, id: JobId) {
        self.jobs.insert(id);
    }

    pub(crate) fn job_changes(&mut self, hash: &mut SetHash, job: &Job) {
        if self.jobs.insert(job.state.facts.job) {
            hash.remove(job_leaf(job));
        }
    }

    /// The job and its tasks go.
    pub(crate) fn job_goes(&mut self, hash: &mut SetHash, job: &Job) {
        let id = job.state.facts.job;
        if !self.jobs.remove(&id) {
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
            self.tasks.retain(|(job, _)| *job != id);
        }
    }

    /// A task that has just been put into its job.
    pub(crate) fn new_task(&mut self, job: &mut Job, number: u32) {
        job.tasks.set_unsettled(number, true);
        self.tasks.push_back((job.state.facts.job, number));
    }

    pub(crate) fn task_changes(&mut self, hash: &mut SetHash, job: &mut Job, number: u32) {
        if !job.tasks.is_unsettled(number) {
            hash.remove(task_leaf(job, &job.tasks.at(number)));
            self.new_task(job, number);
        }
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

    pub(crate) fn new_frame(&mut self, key: &FrameKey) {
        self.frames.insert(key.clone());
    }

    pub(crate) fn frame_changes(&mut self, hash: &mut SetHash, key: &FrameKey, frame: &Frame) {
        if self.frames.insert(key.clone()) {
            hash.remove(Leaf::of(Domain::Frame, &(key, frame)));
        }
    }

    pub(crate) fn frame_goes(&mut self, hash: &mut SetHash, key: &FrameKey, frame: &Frame) {
        if !self.frames.remove(key) {
            hash.remove(Leaf::of(Domain::Frame, &(key, frame)));
        }
    }

    pub(crate) fn new_worker(&mut self, id: WorkerId) {
        self.workers.insert(id);
    }

    pub(crate) fn worker_changes(&mut self, hash: &mut SetHash, worker: &Worker) {
        if self.workers.insert(worker.id) {
            hash.remove(Leaf::of(Domain::Worker, worker));
        }
    }
}

impl Farm {
    /// The sum behind the digest, for combining several journals into one root.
    pub fn set_hash(&self) -> SetHash {
        let (mut hash, waiting) = (self.hash, &self.unsettled);
        for (id, number) in &waiting.tasks {
            let job = &self.jobs[id];
            hash.add(task_leaf(job, &job.tasks.at(*number)));
        }
        for id in &waiting.jobs {
            hash.add(job_leaf(&self.jobs[id]));
        }
        for id in &waiting.attempts {
            hash.add(Leaf::of(Domain::Attempt, &self.attempts[id]));
        }
        for key in &waiting.frames {
            hash.add(Leaf::of(Domain::Frame, &(key, &self.frames[key])));
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
        self.settle_excess();
    }

    /// Puts leaves back into the sum where more wait than may. What one event adds is what this
    /// takes away, so no event pays for many others.
    pub(crate) fn settle_excess(&mut self) {
        let (hash, waiting) = (&mut self.hash, &mut self.unsettled);
        while waiting.tasks.len() > waiting.max {
            if let Some((id, number)) = waiting.tasks.pop_front()
                && let Some(job) = self.jobs.get_mut(&id)
            {
                hash.add(task_leaf(job, &job.tasks.at(number)));
                job.tasks.set_unsettled(number, false);
            }
        }
        while waiting.jobs.len() > waiting.max {
            if let Some(id) = waiting.jobs.pop_first() {
                hash.add(job_leaf(&self.jobs[&id]));
            }
        }
        while waiting.attempts.len() > waiting.max {
            if let Some(id) = waiting.attempts.pop_first() {
                hash.add(Leaf::of(Domain::Attempt, &self.attempts[&id]));
            }
        }
        while waiting.frames.len() > waiting.max {
            if let Some(key) = waiting.frames.pop_first() {
                hash.add(Leaf::of(Domain::Frame, &(&key, &self.frames[&key])));
            }
        }
        while waiting.workers.len() > waiting.max {
            if let Some(id) = waiting.workers.pop_first() {
                hash.add(Leaf::of(Domain::Worker, &self.workers[&id]));
            }
        }
    }
}
