// SPDX-License-Identifier: GPL-3.0-or-later
//! Random requests to a farm: what a busy and sometimes confused studio would ask for.
//!
//! Targets are taken from the farm as it is, so that most requests mean something; statuses,
//! evidence and reporters are often wrong on purpose. It expects nothing of the answers.

use tablao_core::{
    AttemptId, Farm, JobId, JobStatus, Request, TaskId, TaskStatus, Timestamp, WorkerId,
    WorkerStatus,
    detail::FrameDetail,
    entity::{Attempt, AttemptState, FrameKey, Hold, JobSource, Protocol},
    event::FailureClass,
    request::{FailureReport, FrameReport, Report},
};

use super::{chunk, facts, job_id, new_job, report, seeds::Random, tag_id, task_id, worker_id};

mod regenerate;
mod workers;

pub(crate) const TYPES: &[&str] = &["blender", "ffmpeg", "misc"];
/// More jobs than this at the same time would only dilute what happens to each.
const JOBS_MAX: usize = 6;
const WORKERS_MAX: usize = 4;

/// What is asked for, and how often in relation to the others.
const WISHES: &[(usize, Wish)] = &[
    (220, Wishes::ask),
    (300, Wishes::report_own),
    (50, Wishes::report_odd),
    (90, Wishes::submit),
    (20, Wishes::accept),
    (60, Wishes::continue_saga),
    (60, Wishes::set_job),
    (70, Wishes::set_task),
    (20, Wishes::set_priorities),
    (40, Wishes::prepare),
    (40, Wishes::regenerate),
    (30, Wishes::requeue),
    (20, Wishes::hold),
    (60, Wishes::delete_job),
    (15, Wishes::clear_blocklist),
    (25, Wishes::register),
    (30, Wishes::sign_on),
    (20, Wishes::memory),
    (130, Wishes::state_changed),
    (8, Wishes::sign_off),
    (16, Wishes::request_status),
    (25, Wishes::tags),
    (4, Wishes::delete_worker),
    (70, Wishes::lapse),
    (20, Wishes::lose),
    (8, Wishes::follow_schedules),
    (4, Wishes::expire_blocks),
    (18, Wishes::quarantine),
    (8, Wishes::configure),
    (10, Wishes::thumbnail),
    (10, Wishes::findings),
];

type Wish = fn(&mut Wishes, &Farm, Timestamp) -> Option<Request>;

/// Makes up requests from a seed.
pub(crate) struct Wishes {
    pub(crate) random: Random,
    /// Wishes that are left out of this history.
    off: Vec<bool>,
    jobs_made: u128,
    workers_made: u128,
    tags_made: u128,
    last_report: Option<Request>,
    /// Task priorities and job priorities differ in this history.
    priorities: bool,
    /// Much goes wrong in this history.
    troubled: bool,
    /// A job waits for the one that is submitted next.
    awaited: bool,
}

impl Wishes {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // The first two are what a farm is for; any other may be missing from a history.
        let off = (0..WISHES.len())
            .map(|n| n > 1 && random.one_in(9))
            .collect();
        let priorities = !random.one_in(3);
        let troubled = random.one_in(3);
        Self {
            random,
            off,
            jobs_made: 0,
            workers_made: 0,
            tags_made: 0,
            last_report: None,
            priorities,
            troubled,
            awaited: false,
        }
    }

    /// Milliseconds that pass before the next request.
    pub(crate) fn pause_ms(&mut self) -> u64 {
        self.random
            .of(&[0, 1, 500, 1_000, 3_000, 3_000, 12_000, 40_000, 700_000])
    }

    /// The next request.
    pub(crate) fn next(&mut self, farm: &Farm, now: Timestamp) -> Request {
        if farm.position() == tablao_core::Lsn::ORIGIN && self.random.one_in(2) {
            return self
                .configure(farm, now)
                .expect("any farm can be configured");
        }
        if self.awaited && self.random.one_in(6) {
            let request = self.submit(farm, now);
            self.awaited = false;
            if let Some(request) = request {
                return request;
            }
        }
        let total: usize = WISHES.iter().map(|(weight, _)| weight).sum();
        loop {
            let mut place = self.random.below(total);
            for (n, (weight, wish)) in WISHES.iter().enumerate() {
                if place < *weight {
                    if !self.off[n]
                        && let Some(request) = wish(self, farm, now)
                    {
                        return request;
                    }
                    break;
                }
                place -= weight;
            }
            if farm.workers().is_empty()
                && let Some(request) = self.register(farm, now)
            {
                return request;
            }
            if farm.jobs().is_empty()
                && let Some(request) = self.submit(farm, now)
            {
                return request;
            }
        }
    }

    fn some_job(&mut self, farm: &Farm) -> Option<JobId> {
        if self.random.one_in(60) {
            return Some(job_id(9_999));
        }
        let jobs: Vec<JobId> = farm.jobs().keys().copied().collect();
        self.random.pick(&jobs).copied()
    }

    fn some_task(&mut self, farm: &Farm) -> Option<TaskId> {
        if self.random.one_in(40) {
            return Some(task_id(job_id(9_999), 0));
        }
        if let Some(attempt) = self
            .random
            .pick(&farm.attempts().values().collect::<Vec<_>>())
            && self.random.one_in(3)
        {
            return Some(farm.jobs()[&attempt.job].tasks.at(attempt.task).uuid);
        }
        let job = farm.jobs().get(&self.some_job(farm)?)?;
        let tasks: Vec<TaskId> = job.tasks.iter().map(|task| task.uuid).collect();
        self.random.pick(&tasks).copied()
    }

    fn some_worker(&mut self, farm: &Farm) -> Option<WorkerId> {
        if self.random.one_in(80) {
            return Some(worker_id(9_999));
        }
        let removed_too = self.random.one_in(12);
        let workers: Vec<WorkerId> = farm
            .workers()
            .values()
            .filter(|worker| removed_too || !worker.deleted)
            .map(|worker| worker.id)
            .collect();
        self.random.pick(&workers).copied()
    }

    fn some_tag(&mut self) -> Option<tablao_core::TagId> {
        let known = usize::try_from(self.tags_made).expect("few tags");
        if self.random.one_in(15) {
            return Some(tag_id(9_999));
        }
        (known > 0 && !self.random.one_in(3)).then(|| tag_id(self.random.below(known) as u128))
    }

    fn some_types(&mut self) -> Vec<String> {
        let mut types: Vec<String> = TYPES.iter().map(|&name| name.to_owned()).collect();
        if self.random.one_in(3) {
            types.remove(self.random.below(3));
        }
        types
    }

    fn ask(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let awake: Vec<WorkerId> = farm
            .workers()
            .values()
            .filter(|worker| worker.status == Some(WorkerStatus::Awake))
            .map(|worker| worker.id)
            .collect();
        let worker = match self.random.pick(&awake) {
            Some(worker) if !self.random.one_in(12) => *worker,
            _ => self.some_worker(farm)?,
        };
        Some(Request::AskForTask { worker })
    }

    fn report_own(&mut self, farm: &Farm, now: Timestamp) -> Option<Request> {
        let attempts: Vec<&Attempt> = farm.attempts().values().collect();
        let attempt = *self.random.pick(&attempts)?;
        let task = farm.jobs()[&attempt.job].tasks.at(attempt.task);
        let names_it = match attempt.protocol {
            Protocol::Tablao => !self.random.one_in(15),
            Protocol::Flamenco => self.random.one_in(15),
        };
        let starts = attempt.state == AttemptState::Assigned && !self.random.one_in(5);
        let status = if starts {
            Some(TaskStatus::Active)
        } else if self.troubled && !self.random.one_in(3) {
            Some(TaskStatus::Failed)
        } else {
            self.random.of(&[
                Some(TaskStatus::Completed),
                Some(TaskStatus::Completed),
                Some(TaskStatus::Completed),
                Some(TaskStatus::Completed),
                Some(TaskStatus::Failed),
                Some(TaskStatus::Failed),
                Some(TaskStatus::Failed),
                Some(TaskStatus::Active),
                Some(TaskStatus::Queued),
                Some(TaskStatus::Canceled),
                Some(TaskStatus::Paused),
                None,
                None,
            ])
        };
        let said = Report {
            attempt: names_it.then_some(attempt.id),
            status,
            ..report(attempt.worker, task.uuid)
        };
        let said = self.fill(said, attempt, now);
        let request = Request::Report {
            report: Box::new(said),
        };
        self.last_report = Some(request.clone());
        Some(request)
    }

    /// Steps, frames and reasons of a report.
    fn fill(&mut self, mut said: Report, attempt: &Attempt, now: Timestamp) -> Report {
        if self.random.one_in(3) {
            said.steps = Some(u32::try_from(self.random.below(14)).expect("small"));
        }
        if self.random.one_in(4) {
            said.frames.push(FrameReport {
                key: FrameKey {
                    shot: tablao_core::ShotId::of_job(attempt.job),
                    output: String::new(),
                    view: String::new(),
                    number: i32::try_from(self.random.below(3)).expect("small"),
                },
                detail: FrameDetail::default(),
                size: 1,
                hash: [u8::from(self.random.one_in(2)); 32],
                rendered_at: now,
                render_ms: 5,
                samples: None,
                peak_memory_bytes: None,
                flags: 0,
                found: self.random.one_in(4),
            });
        }
        if said.status == Some(TaskStatus::Failed) && self.random.one_in(2) {
            said.failure = Some(FailureReport {
                class: self
                    .random
                    .of(&[FailureClass::Process, FailureClass::OutOfMemory]),
                exit: Some(1),
                signal: None,
            });
            said.activity = Some("it did not work".to_owned());
        }
        said
    }

    /// Reports that come late, twice, or from a worker that has no business with the task.
    fn report_odd(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        if self.random.one_in(2) {
            return self.last_report.clone();
        }
        let task = self.some_task(farm)?;
        let worker = self.some_worker(farm)?;
        let known = farm.task(task)?.1;
        let attempt: Option<AttemptId> = match self.random.below(4) {
            0 => known.attempt,
            1 => known.last_ended.map(|(id, _)| id),
            2 => farm.attempts().keys().next().copied(),
            _ => None,
        };
        let status = match self.random.below(TaskStatus::ALL.len() + 1) {
            n if n < TaskStatus::ALL.len() => Some(TaskStatus::ALL[n]),
            _ => None,
        };
        Some(Request::Report {
            report: Box::new(Report {
                attempt,
                status,
                ..report(worker, task)
            }),
        })
    }

    fn job_facts(
        &mut self,
        farm: &Farm,
        tasks: usize,
        now: Timestamp,
    ) -> tablao_core::entity::JobFacts {
        self.jobs_made += 1;
        let mut facts = facts(job_id(self.jobs_made), tasks);
        if self.priorities {
            facts.priority = self.random.of(&[10, 50, 50, 90]);
        }
        facts.tag = self.some_tag().filter(|_| self.random.one_in(3));
        if self.random.one_in(5) {
            facts.limits.max_workers = Some(self.random.of(&[1, 2]));
        }
        if self.random.one_in(12) {
            facts.not_before = Some(now.plus_millis(self.random.of(&[1, 5_000, 60_000])));
        }
        if self.random.one_in(5) {
            // The next job is not there yet, and blocks until it is there and done.
            let next = job_id(self.jobs_made + 1);
            if self.random.one_in(2) {
                facts.depends_on_jobs.push(next);
                self.awaited = true;
            } else {
                facts.depends_on_jobs.extend(self.some_job(farm));
            }
        }
        if self.random.one_in(6) {
            facts.fail_policy.fail_percent = Some(self.random.of(&[1, 10, 40, 60, 100]));
        }
        if self.random.one_in(4) {
            facts.fail_policy.task_attempts_max = Some(self.random.of(&[1, 2, 3]));
        }
        if self.troubled && !self.random.one_in(3) {
            // Here a worker can fail several tasks for good before anything else gives way.
            facts.fail_policy.fail_percent = Some(100);
            facts.fail_policy.task_attempts_max = Some(1);
        }
        if self.random.one_in(10) {
            facts.initial =
                self.random
                    .of(&[JobStatus::Paused, JobStatus::Paused, JobStatus::Active]);
        }
        if self.random.one_in(40) {
            facts.source = JobSource::Placed;
        }
        facts
    }

    /// Tasks from number `first` on, whose dependencies lie anywhere in a job of `all` tasks.
    fn tasks(
        &mut self,
        first: usize,
        count: usize,
        all: usize,
    ) -> Vec<(&'static str, i32, Vec<u32>)> {
        let mixed = self.random.one_in(2);
        (first..first + count)
            .map(|number| {
                let task_type = if mixed {
                    self.random.of(TYPES)
                } else {
                    TYPES[0]
                };
                let priority = if self.priorities {
                    self.random.of(&[10, 50, 50, 90])
                } else {
                    50
                };
                let mut needs = Vec::new();
                for _ in 0..self.random.of(&[0, 0, 1, 2]) {
                    // Mostly on earlier ones; on later ones, on itself and in circles as well.
                    let reach = if self.random.one_in(25) {
                        all + 1
                    } else {
                        number
                    };
                    if reach > 0 {
                        needs.push(u32::try_from(self.random.below(reach)).expect("few tasks"));
                    }
                }
                (task_type, priority, needs)
            })
            .collect()
    }

    fn chunk(
        &mut self,
        job: JobId,
        first: usize,
        count: usize,
        all: usize,
    ) -> tablao_core::request::TaskChunk {
        let tasks = self.tasks(first, count, all);
        let plans: Vec<(&str, i32, &[u32])> = tasks
            .iter()
            .map(|(name, priority, needs)| (*name, *priority, needs.as_slice()))
            .collect();
        let first = u32::try_from(first).expect("few tasks");
        let mut chunk = chunk(job, first, &plans);
        if self.random.one_in(60) && chunk.tasks.len() > 1 {
            let mut tasks = chunk.tasks.to_vec();
            tasks[1].uuid = tasks[0].uuid;
            chunk.tasks = tasks.into();
        }
        chunk
    }

    fn submit(&mut self, farm: &Farm, now: Timestamp) -> Option<Request> {
        if farm.jobs().len() >= JOBS_MAX {
            return None;
        }
        let count = if self.awaited {
            self.random.of(&[0, 1])
        } else if self.troubled {
            self.random.of(&[4, 6, 8])
        } else {
            self.random.of(&[0, 1, 1, 2, 3, 4, 5, 8])
        };
        let facts = self.job_facts(farm, count, now);
        let mut chunk = self.chunk(facts.job, 0, count, count);
        if self.random.one_in(50) {
            chunk = self.chunk(facts.job, 0, count + 1, count + 1);
        }
        Some(Request::SubmitJob {
            job: new_job(facts, chunk),
        })
    }

    fn accept(&mut self, farm: &Farm, now: Timestamp) -> Option<Request> {
        if farm.jobs().len() >= JOBS_MAX {
            return None;
        }
        let all = self.random.of(&[1, 3, 5]);
        let facts = self.job_facts(farm, all, now);
        let count = self.random.below(all + 1);
        let chunk = self.chunk(facts.job, 0, count, all);
        Some(Request::AcceptJob {
            job: new_job(facts, chunk),
        })
    }

    fn continue_saga(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let open: Vec<JobId> = farm
            .jobs()
            .values()
            .filter(|job| job.state.status == JobStatus::UnderConstruction)
            .map(|job| job.state.facts.job)
            .collect();
        let job = match self.random.pick(&open) {
            Some(job) => *job,
            None if self.random.one_in(8) => self.some_job(farm)?,
            None => return None,
        };
        let (there, all) = farm.jobs().get(&job).map_or((0, 1), |known| {
            (known.tasks.len(), known.state.facts.tasks_expected as usize)
        });
        if self.random.one_in(12) {
            return Some(Request::AbandonJob {
                job,
                reason: "the submitter went away".to_owned(),
            });
        }
        if there >= all || self.random.one_in(8) {
            return Some(Request::ReadyJob { job });
        }
        let count = 1 + self.random.below(all - there);
        Some(Request::AddTasks {
            job,
            chunk: Box::new(self.chunk(job, there, count, all)),
        })
    }

    fn set_job(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let job = self.some_job(farm)?;
        let busy = farm.jobs().get(&job).is_some_and(|known| known.live > 0);
        let status = if self.random.one_in(3) {
            self.random.of(JobStatus::ALL)
        } else if busy {
            self.random
                .of(&[JobStatus::PauseRequested, JobStatus::CancelRequested])
        } else {
            self.random.of(&[
                JobStatus::Requeueing,
                JobStatus::Requeueing,
                JobStatus::PauseRequested,
                JobStatus::CancelRequested,
            ])
        };
        Some(Request::SetJobStatus {
            job,
            status,
            reason: "somebody wants it".to_owned(),
        })
    }

    fn set_task(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let status = if self.random.one_in(3) {
            self.random.of(TaskStatus::ALL)
        } else {
            self.random
                .of(&[TaskStatus::Queued, TaskStatus::Queued, TaskStatus::Canceled])
        };
        Some(Request::SetTaskStatus {
            task: self.some_task(farm)?,
            status,
            reason: "somebody wants it".to_owned(),
        })
    }

    fn set_priorities(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let priority = self.random.of(&[0, 10, 50, 90, 100, 101, -1]);
        if self.random.one_in(2) {
            Some(Request::SetJobPriority {
                job: self.some_job(farm)?,
                priority,
            })
        } else {
            Some(Request::SetTaskPriority {
                task: self.some_task(farm)?,
                priority,
            })
        }
    }

    fn hold(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let job = self.some_job(farm)?;
        let hold = self.random.of(&[Hold::Person, Hold::Placement]);
        Some(if self.random.one_in(3) {
            Request::HoldJob {
                job,
                hold,
                reason: "it is not its time".to_owned(),
            }
        } else {
            Request::ReleaseJob { job, hold }
        })
    }

    fn delete_job(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let jobs = || farm.jobs().values();
        let marked = jobs().find(|job| job.state.delete_marked.is_some());
        let over = jobs().find(|job| job.state.status.is_terminal());
        // Mostly what is over goes, so that there is room for new jobs.
        let job = match marked.or(over) {
            Some(job) if !self.random.one_in(8) => job.state.facts.job,
            _ => self.some_job(farm)?,
        };
        Some(match self.random.below(8) {
            0 => Request::RestoreJob { job },
            _ if marked.is_none() && !self.random.one_in(4) => Request::MarkJobDeleted { job },
            _ => Request::PurgeJob { job },
        })
    }

    fn clear_blocklist(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let blocking = farm
            .jobs()
            .values()
            .find(|job| !job.state.blocked.is_empty());
        let job = match blocking {
            Some(job) => job.state.facts.job,
            None => self.some_job(farm)?,
        };
        let mut entries: Vec<(WorkerId, String)> = blocking
            .map(|job| job.state.blocked.iter().take(1).cloned().collect())
            .unwrap_or_default();
        entries.push((self.some_worker(farm)?, "misc".to_owned()));
        Some(Request::ClearBlocklist { job, entries })
    }
}
