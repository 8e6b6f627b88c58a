// SPDX-License-Identifier: GPL-3.0-or-later
//! The read model: the farm with its names and history, and the queries over it.
//!
//! It is folded by [`ReadModel::apply`] and nothing else, in step with the core's farm, which
//! it holds. How each event changes it is in `fold.rs`.

use std::collections::BTreeMap;

use tablao_core::{
    Farm, JobId, ManagerId, RequestId, ShotId, TagId, TaskId, WorkerId,
    entity::{FrameKey, Quarantine},
};

use crate::{
    attempts::AttemptRow,
    control::{ManagerRow, PlacementRow, RequestRow},
    ended::{self, Crew},
    frames::{FrameRow, Frames, ShotRow},
    jobs::{JobRow, JobTasks, TaskView},
    task_texts::TextCache,
    worked::Worked,
    workers::{QuarantineRow, TagRow, WorkerRow},
};

/// The view that queries are answered from.
#[derive(Clone, Debug, Default)]
pub struct ReadModel {
    pub(crate) farm: Farm,
    pub(crate) jobs: BTreeMap<JobId, JobRow>,
    /// Jobs by order of acceptance.
    pub(crate) order: BTreeMap<u64, JobId>,
    pub(crate) tasks: BTreeMap<JobId, JobTasks>,
    pub(crate) frames: Frames,
    /// Workers that ran attempts.
    pub(crate) crew: Crew,
    /// Who ran tasks of which job last.
    pub(crate) worked: Worked,
    pub(crate) workers: BTreeMap<WorkerId, WorkerRow>,
    /// Of the workers that are in quarantine.
    pub(crate) quarantines: BTreeMap<WorkerId, QuarantineRow>,
    pub(crate) tags: BTreeMap<TagId, TagRow>,
    pub(crate) managers: BTreeMap<ManagerId, ManagerRow>,
    pub(crate) placements: BTreeMap<JobId, PlacementRow>,
    pub(crate) requests: BTreeMap<RequestId, RequestRow>,
    /// Address of the Server that this Manager follows.
    pub(crate) server_url: String,
    /// The configuration in effect, as text.
    pub(crate) config_text: String,
    /// Names and commands of tasks that were read last.
    pub(crate) cache: TextCache,
}

impl ReadModel {
    /// An empty farm's view, before the first record.
    pub fn new() -> Self {
        Self {
            farm: Farm::new(),
            ..Self::default()
        }
    }

    /// Passes over a record of a kind that this build may skip.
    pub fn skip(&mut self, lsn: tablao_core::Lsn) {
        self.farm.skip(lsn);
    }

    /// The facts.
    pub fn farm(&self) -> &Farm {
        &self.farm
    }

    /// A job.
    pub fn job(&self, id: JobId) -> Option<&JobRow> {
        self.jobs.get(&id)
    }

    /// Jobs, oldest first.
    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = &JobRow> {
        self.order.values().map(|id| &self.jobs[id])
    }

    /// A task.
    pub fn task(&self, id: TaskId) -> Option<TaskView<'_>> {
        let (job, task) = self.farm.task(id)?;
        let tasks = self.tasks.get(&job.state.facts.job)?;
        Some(tasks.view(job, task, self.farm.task_type(task.task_type), &self.cache))
    }

    /// The task of a job with this number.
    pub fn task_numbered(&self, job: JobId, number: u32) -> Option<TaskView<'_>> {
        let tasks = self.tasks.get(&job)?;
        let job = self.farm.jobs().get(&job)?;
        let task = job.tasks.get(number as usize)?;
        Some(tasks.view(job, task, self.farm.task_type(task.task_type), &self.cache))
    }

    /// A job's tasks, in order of their numbers.
    pub fn tasks(&self, job: JobId) -> impl Iterator<Item = TaskView<'_>> {
        let found = self.farm.jobs().get(&job).zip(self.tasks.get(&job));
        found.into_iter().flat_map(move |(job, tasks)| {
            (job.tasks.iter()).map(move |task| {
                tasks.view(job, task, self.farm.task_type(task.task_type), &self.cache)
            })
        })
    }

    /// Attempts of a task, oldest first.
    pub fn attempts(&self, task: TaskId) -> Vec<AttemptRow> {
        let found = self.farm.task(task).and_then(|(job, task)| {
            let id = job.state.facts.job;
            let name = |number: u32| Some(job.tasks.get(number as usize)?.uuid);
            let job = ended::Job { id, task: &name };
            let tasks = self.tasks.get(&id)?;
            Some(tasks.attempts.of_task(&self.crew, &job, task.number))
        });
        found.unwrap_or_default()
    }

    /// The worker ran some task of the job last.
    pub fn ran_last(&self, job: JobId, worker: WorkerId) -> bool {
        self.worked.has(job, worker)
    }

    /// A worker, also a removed one.
    pub fn worker(&self, id: WorkerId) -> Option<&WorkerRow> {
        self.workers.get(&id)
    }

    /// Workers that were not removed.
    pub fn workers(&self) -> impl DoubleEndedIterator<Item = &WorkerRow> {
        self.workers.values().filter(|row| {
            let facts = self.farm.workers().get(&row.id);
            facts.is_some_and(|worker| !worker.deleted)
        })
    }

    /// Why a worker is in quarantine, with its facts; nothing where it is not.
    pub fn quarantine(&self, id: WorkerId) -> Option<(&Quarantine, &str)> {
        let facts = self.farm.quarantines().get(&id)?;
        let reason = self.quarantines.get(&id).map(|row| row.reason.as_str());
        Some((facts, reason.unwrap_or_default()))
    }

    /// A tag.
    pub fn tag(&self, id: TagId) -> Option<&TagRow> {
        self.tags.get(&id)
    }

    /// Tags.
    pub fn tags(&self) -> impl DoubleEndedIterator<Item = &TagRow> {
        self.tags.values()
    }

    /// Frames by shot and number.
    pub fn frames(&self) -> impl Iterator<Item = FrameRow> {
        self.frames.all(&self.farm)
    }

    /// Frames of a shot by number.
    pub fn frames_of_shot(&self, shot: ShotId) -> impl Iterator<Item = FrameRow> {
        self.frames.of_shot(&self.farm, shot)
    }

    /// Frames that a job published last, by shot and number.
    pub fn frames_of_job(&self, job: JobId) -> impl Iterator<Item = FrameRow> {
        self.frames.of_job(&self.farm, job)
    }

    /// The frames published last, newest first.
    pub fn newest_frames(&self) -> impl Iterator<Item = FrameRow> {
        self.frames.newest(&self.farm)
    }

    /// A frame.
    pub fn frame(&self, key: &FrameKey) -> Option<FrameRow> {
        self.frames.get(&self.farm, key)
    }

    /// The frame of a shot that was published last of those that have a thumbnail.
    pub fn last_pictured_frame(&self, shot: ShotId) -> Option<FrameRow> {
        self.frames.last_pictured(&self.farm, shot)
    }

    /// A shot.
    pub fn shot(&self, id: ShotId) -> Option<&ShotRow> {
        self.frames.shot(id)
    }

    /// Shots that a job renders or that have frames.
    pub fn shots(&self) -> impl DoubleEndedIterator<Item = &ShotRow> {
        self.frames.shots()
    }

    /// A Manager.
    pub fn manager(&self, id: ManagerId) -> Option<&ManagerRow> {
        self.managers.get(&id)
    }

    /// Managers that this Server knows, revoked ones included.
    pub fn managers(&self) -> impl DoubleEndedIterator<Item = &ManagerRow> {
        self.managers.values()
    }

    /// Where the Server put a job, and why.
    pub fn placement(&self, job: JobId) -> Option<&PlacementRow> {
        self.placements.get(&job)
    }

    /// Jobs that the Server placed.
    pub fn placements(&self) -> impl DoubleEndedIterator<Item = &PlacementRow> {
        self.placements.values()
    }

    /// A request of the Server to a Manager.
    pub fn request(&self, id: RequestId) -> Option<&RequestRow> {
        self.requests.get(&id)
    }

    /// Address of the Server that this Manager follows; empty if none.
    pub fn server_url(&self) -> &str {
        &self.server_url
    }

    /// The configuration in effect, as text, secrets left out.
    pub fn config_text(&self) -> &str {
        &self.config_text
    }
}
