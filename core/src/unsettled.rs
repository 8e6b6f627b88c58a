// SPDX-License-Identifier: GPL-3.0-or-later
//! Which entities' leaves are not in the digest's sum as it stands.
//!
//! A leaf costs a hash; an entity that changes often would pay two for each change. So the first
//! change takes the old leaf out and notes the entity here; its leaf goes back in when this list
//! has grown long. The digest is the same at every moment: whoever asks for it gets the sum with
//! what is listed here added up.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::{
    AttemptId, Farm, JobId, WorkerId,
    digest::{Domain, Leaf, SetHash},
    entity::{Attempt, Frame, FrameKey, Job, Worker},
    farm::{job_leaf, task_leaf},
};

/// How many of each sort of entity wait here at most. Enough for what a farm of ten thousand
/// workers has in hand, few enough that asking for the digest takes milliseconds.
const WAITING_MAX: usize = 16 << 10;

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
    tasks: VecDeque<(JobId, u32)>,
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

    pub(crate) fn new_frame(&mut self, key: &FrameKey, frame: &mut Frame) {
        if frame.mark.set() {
            self.frames.push_back(key.clone());
        }
    }

    pub(crate) fn frame_changes(&mut self, hash: &mut SetHash, key: &FrameKey, frame: &mut Frame) {
        if !frame.mark.0 {
            hash.remove(Leaf::of(Domain::Frame, &(key, &*frame)));
            self.new_frame(key, frame);
        }
    }

    /// Frames that are gone already. A key that comes again is another entity's.
    pub(crate) fn frames_went(&mut self, hash: &mut SetHash, gone: &BTreeMap<FrameKey, Frame>) {
        let mut waited = false;
        for (key, frame) in gone {
            if frame.mark.0 {
                waited = true;
            } else {
                hash.remove(Leaf::of(Domain::Frame, &(key, frame)));
            }
        }
        if waited {
            self.frames.retain(|key| !gone.contains_key(key));
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
            if let Some(job) = (waiting.jobs.pop_front()).and_then(|id| self.jobs.get_mut(&id)) {
                hash.add(job_leaf(job));
                job.mark = Mark(false);
            }
        }
        while waiting.frames.len() > waiting.max {
            if let Some(key) = waiting.frames.pop_front()
                && let Some(frame) = self.frames.get_mut(&key)
            {
                hash.add(Leaf::of(Domain::Frame, &(&key, &*frame)));
                frame.mark = Mark(false);
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
