// SPDX-License-Identifier: GPL-3.0-or-later
//! The state of one journal's farm: entities, indexes, digest. Changed by `apply` alone.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use crate::{
    AttemptId, JobId, Lsn, ManagerId, RequestId, ShotId, TagId, Task, TaskId, Timestamp, WorkerId,
    blocks::Blocks,
    crew::Crew,
    digest::{Digest, Domain, Leaf, SetHash},
    entity::{
        Attempt, FrameTable, Job, Manager, Placement, Policy, Quarantine, RemoteRequest, Tag,
        Worker,
    },
    flaws::{self, Flaws},
    schedule::Schedule,
    task_index::TaskIndex,
    unsettled::Unsettled,
};

/// What `decide` reads and `apply` changes.
#[derive(Clone, Debug, Default)]
pub struct Farm {
    pub(crate) position: Lsn,
    pub(crate) time: Timestamp,
    pub(crate) manager: Option<ManagerId>,
    pub(crate) incarnation: u32,
    pub(crate) opened_at: Lsn,
    pub(crate) term: u64,
    pub(crate) policy: Policy,
    pub(crate) control_journal: Option<[u8; 16]>,
    /// Control positions up to which a Manager has settled what the Server asked.
    pub(crate) settled: Lsn,
    pub(crate) next_sequence: u64,
    pub(crate) type_names: Vec<String>,
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) task_ids: TaskIndex,
    pub(crate) attempts: BTreeMap<AttemptId, Attempt>,
    /// Live attempts that have not started, of workers that have more than one. Derived.
    pub(crate) unstarted: BTreeSet<AttemptId>,
    pub(crate) frames: FrameTable,
    pub(crate) flaws: Flaws,
    /// How many frames of a shot a job published last.
    pub(crate) frames_of: BTreeMap<(JobId, ShotId), u32>,
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    pub(crate) tags: BTreeMap<TagId, Tag>,
    pub(crate) managers: BTreeMap<ManagerId, Manager>,
    pub(crate) placements: BTreeMap<JobId, Placement>,
    pub(crate) remotes: BTreeMap<RequestId, RemoteRequest>,
    /// Idempotency keys and the job each stands for.
    pub(crate) keys: BTreeMap<[u8; 32], JobId>,
    pub(crate) schedule: Schedule,
    pub(crate) crew: Crew,
    pub(crate) blocks: Blocks,
    /// Of the workers that are in quarantine.
    pub(crate) quarantines: BTreeMap<WorkerId, Quarantine>,
    /// Bytes that workers have for a task, where they said so.
    pub(crate) memory: BTreeMap<WorkerId, u64>,
    /// The sum of the leaves of all entities but the unsettled ones.
    pub(crate) hash: SetHash,
    pub(crate) unsettled: Unsettled,
}

/// The farm's own facts, as the digest sees them.
pub(crate) type FarmLeaf<'a> = (
    Option<ManagerId>,
    (u32, Lsn),
    u64,
    &'a Policy,
    Option<[u8; 16]>,
    Lsn,
);

impl Farm {
    /// An empty farm, before the first record.
    pub fn new() -> Self {
        let mut farm = Self::default();
        farm.hash.add(farm.farm_leaf());
        farm
    }

    /// Position of the last record folded in.
    pub fn position(&self) -> Lsn {
        self.position
    }

    /// Time of the last record folded in.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Whose journal this is.
    pub fn manager(&self) -> Option<ManagerId> {
        self.manager
    }

    /// The journal's incarnation.
    pub fn incarnation(&self) -> u32 {
        self.incarnation
    }

    /// The term of the Server that writes this journal.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// The numbers that the rules read.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Journal id of the Server followed.
    pub fn control_journal(&self) -> Option<[u8; 16]> {
        self.control_journal
    }

    /// Control position up to which the Server's wishes are settled.
    pub fn settled(&self) -> Lsn {
        self.settled
    }

    /// Jobs by id.
    pub fn jobs(&self) -> &BTreeMap<JobId, Job> {
        &self.jobs
    }

    /// Tasks of all jobs.
    pub fn task_count(&self) -> u64 {
        self.jobs.values().map(|job| job.tasks.len() as u64).sum()
    }

    /// A task by its outside name.
    pub fn task(&self, id: TaskId) -> Option<(&Job, Task<'_>)> {
        let (job, number) = self.task_ids.find(&self.jobs, id)?;
        let job = &self.jobs[&job];
        Some((job, job.tasks.at(number)))
    }

    /// Live attempts by id.
    pub fn attempts(&self) -> &BTreeMap<AttemptId, Attempt> {
        &self.attempts
    }

    /// Published frames.
    pub fn frames(&self) -> &FrameTable {
        &self.frames
    }

    /// Frames that something is wrong with, or that are to be rendered anew.
    pub fn flaws(&self) -> &Flaws {
        &self.flaws
    }

    /// The shots of which a job published some frame last.
    pub fn shots_of(&self, job: JobId) -> impl Iterator<Item = ShotId> {
        let (least, greatest) = (uuid::Uuid::nil(), uuid::Uuid::max());
        (self.frames_of)
            .range((job, ShotId::new(least))..=(job, ShotId::new(greatest)))
            .map(|(&(_, shot), _)| shot)
    }

    /// Workers by id, removed ones included.
    pub fn workers(&self) -> &BTreeMap<WorkerId, Worker> {
        &self.workers
    }

    /// Why workers are in quarantine: those that are, removed ones included.
    pub fn quarantines(&self) -> &BTreeMap<WorkerId, Quarantine> {
        &self.quarantines
    }

    /// Bytes of memory that a worker has for a task, if it said so.
    pub fn memory_of(&self, worker: WorkerId) -> Option<u64> {
        self.memory.get(&worker).copied()
    }

    /// A worker has no more memory than what was too little. One that never said is not too small.
    pub(crate) fn is_too_small(&self, worker: WorkerId, outgrown: Option<u64>) -> bool {
        let memory = self.memory_of(worker);
        outgrown.is_some_and(|outgrown| memory.is_some_and(|memory| memory <= outgrown))
    }

    /// Tags by id.
    pub fn tags(&self) -> &BTreeMap<TagId, Tag> {
        &self.tags
    }

    /// When the oldest block of a worker in a job was made.
    pub fn oldest_block(&self) -> Option<Timestamp> {
        self.blocks.oldest()
    }

    /// Managers by id.
    pub fn managers(&self) -> &BTreeMap<ManagerId, Manager> {
        &self.managers
    }

    /// Where jobs were placed.
    pub fn placements(&self) -> &BTreeMap<JobId, Placement> {
        &self.placements
    }

    /// Requests accepted for Managers.
    pub fn remotes(&self) -> &BTreeMap<RequestId, RemoteRequest> {
        &self.remotes
    }

    /// The job that an idempotency key stands for.
    pub fn job_of_key(&self, key: &[u8; 32]) -> Option<JobId> {
        self.keys.get(key).copied()
    }

    /// Name of a task type by its index in [`Task::task_type`].
    pub fn task_type(&self, index: u16) -> &str {
        &self.type_names[index as usize]
    }

    /// The digest of the whole farm.
    pub fn digest(&self) -> Digest {
        self.set_hash().digest()
    }

    /// The digest of one job: itself, its tasks.
    pub fn job_digest(&self, job: JobId) -> Option<Digest> {
        let job = self.jobs.get(&job)?;
        let mut hash = SetHash::default();
        hash.add(job_leaf(job));
        for task in job.tasks.iter() {
            hash.add(task_leaf(job, &task));
        }
        Some(hash.digest())
    }

    /// Recomputes the digest from all entities; equal to [`Farm::digest`], or `apply` has a bug.
    pub fn recompute_digest(&self) -> Digest {
        let mut hash = SetHash::default();
        hash.add(self.farm_leaf());
        for job in self.jobs.values() {
            hash.add(job_leaf(job));
            job.tasks
                .iter()
                .for_each(|task| hash.add(task_leaf(job, &task)));
        }
        self.attempts
            .values()
            .for_each(|attempt| hash.add(Leaf::of(Domain::Attempt, attempt)));
        self.frames
            .iter()
            .for_each(|frame| hash.add(Leaf::of(Domain::Frame, &frame)));
        self.flaws
            .iter()
            .for_each(|(key, flaw)| hash.add(flaws::leaf(key, flaw)));
        self.workers
            .values()
            .for_each(|worker| hash.add(Leaf::of(Domain::Worker, worker)));
        self.tags
            .values()
            .for_each(|tag| hash.add(Leaf::of(Domain::Tag, tag)));
        self.managers
            .values()
            .for_each(|manager| hash.add(Leaf::of(Domain::Manager, manager)));
        self.placements
            .iter()
            .for_each(|placement| hash.add(Leaf::of(Domain::Placement, &placement)));
        self.remotes
            .iter()
            .for_each(|remote| hash.add(Leaf::of(Domain::Remote, &remote)));
        self.quarantines
            .iter()
            .for_each(|quarantine| hash.add(Leaf::of(Domain::Quarantine, &quarantine)));
        self.memory
            .iter()
            .for_each(|memory| hash.add(Leaf::of(Domain::Memory, &memory)));
        (self.jobs.values())
            .flat_map(|job| {
                job.tasks
                    .outgrown()
                    .map(|task| outgrown_leaf(job.state.facts.job, task))
            })
            .for_each(|leaf| hash.add(leaf));
        hash.digest()
    }

    pub(crate) fn farm_leaf(&self) -> Leaf {
        let facts: FarmLeaf<'_> = (
            self.manager,
            (self.incarnation, self.opened_at),
            self.term,
            &self.policy,
            self.control_journal,
            self.settled,
        );
        Leaf::of(Domain::Farm, &facts)
    }

    /// Numbers of the tasks of a job that wait for this one.
    pub fn dependants(&self, job: &Job, number: u32) -> impl Iterator<Item = u32> {
        self.schedule.dependents(job, number)
    }

    /// The index of a task type, made when it is new.
    pub(crate) fn intern_type(&mut self, name: &str) -> u16 {
        if let Some(index) = self.type_index(name) {
            return index;
        }
        self.type_names.push(name.to_owned());
        let index = u16::try_from(self.type_names.len() - 1)
            .expect("decide refuses more than 65535 task types");
        let runs_it = |worker: &&mut Worker| worker.task_types.contains(name);
        for worker in self.workers.values_mut().filter(runs_it) {
            worker.types.push(index);
        }
        index
    }

    /// Those of some task types that some task has.
    pub(crate) fn types_of(&self, names: &BTreeSet<String>) -> SmallVec<[u16; 6]> {
        let known = names.iter().filter_map(|name| self.type_index(name));
        let mut types: SmallVec<[u16; 6]> = known.collect();
        types.sort_unstable();
        types
    }

    /// The index of a task type that some task has.
    pub fn type_index(&self, name: &str) -> Option<u16> {
        self.type_names
            .iter()
            .position(|known| known == name)
            .map(|index| u16::try_from(index).expect("as many as intern_type made"))
    }

    /// Some job that could run had its earliest start within this time: after `from`, until `to`.
    pub fn has_job_starting(&self, from: Timestamp, to: Timestamp) -> bool {
        (self.schedule.starting(from, to))
            .filter_map(|id| self.jobs.get(&id))
            .any(|job| job.state.status.is_schedulable())
    }

    /// Passes over a record of a kind that this build may skip.
    pub fn skip(&mut self, lsn: Lsn) {
        debug_assert_eq!(lsn, self.position.next(), "records are passed in order");
        self.position = lsn;
    }

    /// The job may be given workers, but for its earliest start.
    pub(crate) fn may_run(&self, job: &Job) -> bool {
        let has_room = (job.state.facts.limits.max_workers).is_none_or(|max| job.live < max);
        has_room && job.leaving == 0 && self.is_eligible(job)
    }

    /// The job's status, holds and dependencies on other jobs let it run.
    pub fn is_eligible(&self, job: &Job) -> bool {
        job.state.status.is_schedulable()
            && job.state.holds.is_empty()
            && job.state.delete_marked.is_none()
            && job.state.facts.depends_on_jobs.iter().all(|dependency| {
                self.jobs
                    .get(dependency)
                    .is_some_and(|job| job.state.status == crate::JobStatus::Completed)
            })
    }
}

/// The leaf of a job. Its chunks of tasks are left out: each task's leaf holds its chunk's hash,
/// and a large job has thousands of chunks that would be hashed again with each of its events.
pub(crate) fn job_leaf(job: &Job) -> Leaf {
    let state = &job.state;
    Leaf::of(
        Domain::Job,
        &(
            (&state.facts, state.detail, state.sequence),
            (state.status, state.status_detail, &state.holds),
            (state.delete_marked, &state.blocked),
            (state.changed_at, state.tasks_changed_at),
        ),
    )
}

/// The leaf of a task: its facts, its job and the hash of its chunk's details.
pub(crate) fn task_leaf(job: &Job, task: &Task<'_>) -> Leaf {
    let chunk = job
        .state
        .chunks
        .partition_point(|&(first, _)| first <= task.number);
    let detail = chunk
        .checked_sub(1)
        .and_then(|chunk| job.state.chunks[chunk].1);
    Leaf::of(Domain::Task, &(job.state.facts.job, detail, task))
}

/// The leaf of how much memory was too little for a task, by its number.
pub(crate) fn outgrown_leaf(job: JobId, task: (u32, u64)) -> Leaf {
    Leaf::of(Domain::Outgrown, &(job, task))
}
