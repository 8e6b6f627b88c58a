// SPDX-License-Identifier: GPL-3.0-or-later
//! Random requests to a farm: what a busy and sometimes confused studio would ask for.
//!
//! Targets are taken from the farm as it is, so that most requests mean something; statuses,
//! evidence and reporters are often wrong on purpose. It expects nothing of the answers.

use tablao_core::{
    AttemptId, Farm, JobId, JobStatus, Request, TaskId, TaskStatus, Timestamp, WorkerId,
    WorkerStatus,
    detail::FrameDetail,
    entity::{Attempt, AttemptState, FrameKey, Hold, Protocol},
    event::FailureClass,
    request::{FailureReport, FrameReport, Report},
};

use super::{job_id, report, seeds::Random, tag_id, task_id, worker_id};

mod jobs;
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
    (40, Wishes::memory),
    (130, Wishes::state_changed),
    (8, Wishes::sign_off),
    (16, Wishes::request_status),
    (25, Wishes::tags),
    (4, Wishes::delete_worker),
    (70, Wishes::lapse),
    (20, Wishes::lose),
    (8, Wishes::follow_schedules),
    (4, Wishes::expire_blocks),
    (26, Wishes::quarantine),
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

    /// Milliseconds that pass before the next request; now and then just enough for the moment
    /// that a job waits for.
    pub(crate) fn pause_ms(&mut self, farm: &Farm, now: Timestamp) -> u64 {
        if self.random.one_in(8) {
            let moments = farm.jobs().values().map(|job| job.state.facts.not_before);
            let next = moments.flatten().filter(|moment| *moment > now).min();
            if let Some(next) = next {
                return (next.micros() - now.micros()) / 1000;
            }
        }
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
