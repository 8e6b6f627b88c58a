// SPDX-License-Identifier: GPL-3.0-or-later
//! A naive farm: the rules in their simplest words, over plain lists that are searched anew
//! for every question.
//!
//! It is the oracle of the model test, so it knows nothing of the scheduler, the machine
//! tables, events or the digest; of the core it takes ids and the names of statuses alone.
//! It is slow on purpose, and nothing in it is kept up to date that could be counted instead.

mod jobs;
mod regenerate;
mod runs;
mod workers;

use tablao_core::{AttemptId, JobId, JobStatus, TagId, TaskId, TaskStatus, WorkerId, WorkerStatus};

pub(crate) use jobs::{WishedJob, WishedTask};
pub(crate) use runs::Word;

/// What the naive farm answers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    Done,
    Job(JobId),
    /// Run this one.
    Run(TaskId),
    /// There is nothing to run.
    Nothing,
    StartAs(WorkerStatus),
    /// Too late to matter.
    Late,
}

/// Why it says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum No {
    SuchJob,
    SuchTask,
    SuchWorker,
    SuchTag,
    JobCannotBecomeThat,
    TaskCannotBecomeThat,
    ChangeYourStatusFirst,
    OnlyAwakeWorkersRun,
    ItIsNotYours,
    WorkersDoNotSayThat,
    ItIsThereAlready,
    ItContradictsItself,
    ItCannotGoYet,
    ItCannotRestart,
    PriorityIsOff,
    ItCannotBeRegenerated,
    SomebodyWasFirst,
    ItIsGone,
}

pub(crate) type Answer = Result<Said, No>;

/// Milliseconds since the test began.
pub(crate) type Moment = u64;

#[derive(Clone)]
pub(crate) struct NaiveFarm {
    pub(crate) now: Moment,
    pub(crate) jobs: Vec<NaiveJob>,
    pub(crate) tasks: Vec<NaiveTask>,
    pub(crate) workers: Vec<NaiveWorker>,
    pub(crate) tags: Vec<TagId>,
    pub(crate) rules: Rules,
    jobs_seen: u64,
}

/// The numbers a studio sets.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// So many workers have to fail a task before it is given up.
    pub(crate) tries: usize,
    /// A worker that failed so many tasks of a type in a job is kept from that type there.
    pub(crate) patience: usize,
    /// A job of which this many percent failed has failed.
    pub(crate) percent: usize,
    /// How long a Flamenco worker may be silent about a task; 0 is for ever.
    pub(crate) task_silence_ms: u64,
    /// How long any worker may be silent; 0 is for ever.
    pub(crate) worker_silence_ms: u64,
    /// How long our worker may be silent about a task.
    pub(crate) lease_ms: u64,
    /// How long our worker may take to start; 0 is for ever.
    pub(crate) start_ms: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct NaiveJob {
    pub(crate) id: JobId,
    /// How many jobs came before it.
    pub(crate) age: u64,
    pub(crate) priority: i32,
    pub(crate) tag: Option<TagId>,
    pub(crate) at_most: Option<usize>,
    pub(crate) not_before: Option<Moment>,
    pub(crate) after: Vec<JobId>,
    pub(crate) percent: Option<usize>,
    pub(crate) tries: Option<usize>,
    pub(crate) announced: usize,
    pub(crate) generation: u32,
    pub(crate) begins: JobStatus,
    pub(crate) status: JobStatus,
    /// Names of what holds it.
    pub(crate) held_by: Vec<String>,
    pub(crate) to_be_deleted: bool,
    /// Workers kept from a task type.
    pub(crate) barred: Vec<(WorkerId, String)>,
    /// When, also of those that are over.
    pub(crate) barred_at: Vec<((WorkerId, String), Moment)>,
}

#[derive(Clone, Debug)]
pub(crate) struct NaiveTask {
    pub(crate) id: TaskId,
    pub(crate) job: JobId,
    /// Its place in the job.
    pub(crate) number: u32,
    /// Not the job's any more, or not yet.
    pub(crate) gone: bool,
    pub(crate) generation: u32,
    pub(crate) task_type: String,
    pub(crate) priority: i32,
    pub(crate) needs: Vec<u32>,
    pub(crate) status: TaskStatus,
    pub(crate) steps: u32,
    pub(crate) steps_in_all: u32,
    /// Different workers that failed it.
    pub(crate) failed_by: Vec<WorkerId>,
    /// Memory with which it is known not to run.
    pub(crate) too_little: Option<u64>,
    pub(crate) last_worker: Option<WorkerId>,
    /// Who runs it now.
    pub(crate) run: Option<Run>,
    /// The last run that is over, and whether its worker ended it by its own word.
    pub(crate) before: Option<(AttemptId, bool)>,
}

/// One worker running one task.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// A label, taken from the farm under test.
    pub(crate) id: AttemptId,
    pub(crate) worker: WorkerId,
    /// The worker names its runs when it reports.
    pub(crate) names_runs: bool,
    /// The worker has said that it started.
    pub(crate) begun: bool,
    pub(crate) told_to_stop: Option<StopReason>,
    pub(crate) silence_ms: u64,
    pub(crate) start_ms: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum StopReason {
    JobEnds,
    TaskIsCanceled,
    TaskShallRunAnew,
    TaskIsGone,
}

#[derive(Clone, Debug)]
pub(crate) struct NaiveWorker {
    pub(crate) id: WorkerId,
    pub(crate) types: Vec<String>,
    pub(crate) tags: Vec<TagId>,
    pub(crate) status: Option<WorkerStatus>,
    /// What it is asked to become.
    pub(crate) asked: Option<WorkerStatus>,
    pub(crate) names_runs: bool,
    pub(crate) slots: usize,
    pub(crate) can_restart: bool,
    /// What a task may have, where it said so.
    pub(crate) memory: Option<u64>,
    pub(crate) gone: bool,
    /// What keeps it from work, and the same in words.
    pub(crate) sick: Option<(Sickness, String)>,
}

/// Why a worker is kept from work; a later one outweighs an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sickness {
    ItSaysSo,
    ItFails,
    SomebodySaysSo,
}

impl NaiveFarm {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            now: 0,
            jobs: Vec::new(),
            tasks: Vec::new(),
            workers: Vec::new(),
            tags: Vec::new(),
            rules,
            jobs_seen: 0,
        }
    }

    pub(crate) fn job(&self, id: JobId) -> Option<&NaiveJob> {
        self.jobs.iter().find(|job| job.id == id)
    }

    fn job_mut(&mut self, id: JobId) -> &mut NaiveJob {
        self.jobs
            .iter_mut()
            .find(|job| job.id == id)
            .expect("the job was looked up before")
    }

    pub(crate) fn task(&self, id: TaskId) -> Option<&NaiveTask> {
        self.tasks.iter().find(|task| task.id == id)
    }

    fn task_mut(&mut self, id: TaskId) -> &mut NaiveTask {
        self.tasks
            .iter_mut()
            .find(|task| task.id == id)
            .expect("the task was looked up before")
    }

    fn worker(&self, id: WorkerId) -> Result<&NaiveWorker, No> {
        self.workers
            .iter()
            .find(|worker| worker.id == id && !worker.gone)
            .ok_or(No::SuchWorker)
    }

    fn worker_mut(&mut self, id: WorkerId) -> &mut NaiveWorker {
        self.workers
            .iter_mut()
            .find(|worker| worker.id == id)
            .expect("the worker was looked up before")
    }

    /// All tasks that a job ever had.
    fn ever_of(&self, job: JobId) -> impl Iterator<Item = &NaiveTask> {
        self.tasks.iter().filter(move |task| task.job == job)
    }

    pub(crate) fn tasks_of(&self, job: JobId) -> impl Iterator<Item = &NaiveTask> {
        self.ever_of(job).filter(|task| !task.gone)
    }

    fn tasks_of_mut(&mut self, job: JobId) -> impl Iterator<Item = &mut NaiveTask> {
        (self.tasks.iter_mut()).filter(move |task| task.job == job && !task.gone)
    }

    fn is_whole(&self, job: JobId) -> bool {
        let announced = self.job(job).map_or(0, |job| job.announced);
        self.ever_of(job).count() >= announced
    }

    pub(crate) fn how_many(&self, job: JobId, status: TaskStatus) -> usize {
        self.tasks_of(job)
            .filter(|task| task.status == status)
            .count()
    }

    pub(crate) fn running(&self, job: JobId) -> usize {
        self.ever_of(job).filter(|task| task.run.is_some()).count()
    }

    /// The tasks that a worker runs, the one it got first first.
    pub(crate) fn runs_of(&self, worker: WorkerId) -> Vec<(AttemptId, TaskId)> {
        let mut runs: Vec<(AttemptId, TaskId)> = self
            .tasks
            .iter()
            .filter_map(|task| {
                let run = task.run.as_ref()?;
                (run.worker == worker).then_some((run.id, task.id))
            })
            .collect();
        runs.sort_unstable();
        runs
    }

    fn all_completed(&self, job: JobId) -> bool {
        self.tasks_of(job)
            .all(|task| task.status == TaskStatus::Completed)
    }

    fn waits(status: TaskStatus) -> bool {
        status == TaskStatus::Queued || status == TaskStatus::SoftFailed
    }

    /// Everything the task needs is completed.
    fn needs_are_met(&self, task: &NaiveTask) -> bool {
        task.needs.iter().all(|number| {
            self.tasks_of(task.job)
                .any(|other| other.number == *number && other.status == TaskStatus::Completed)
        })
    }
}
