// SPDX-License-Identifier: GPL-3.0-or-later
//! What workers, submitters and chance come up with next: the choice, registrations, submissions.

use super::*;

impl World {
    /// Something that somebody in a farm might want now.
    pub(crate) fn request(&mut self) -> Request {
        if self.workers.len() < 3 {
            return self.register();
        }
        if self.renewing && self.chance.percent(15) {
            return self.renewal();
        }
        match self.chance.below(100) {
            0 => self.register(),
            1..=5 => self.worker_moves(),
            6..=11 => self.submit(),
            12..=15 => self.saga(),
            16..=43 => Request::AskForTask {
                worker: self.worker(),
            },
            44..=75 => self.report(),
            76..=89 => self.person(),
            90..=93 => self.tags(),
            94..=96 => self.silence(),
            _ => self.control(),
        }
    }

    fn register(&mut self) -> Request {
        let worker = WorkerId::new(self.chance.uuid());
        self.workers.push(worker);
        let types = 1 + self.chance.below(3);
        let detail = self.worker_detail();
        self.ask(Request::RegisterWorker {
            worker,
            platform: "linux".to_owned(),
            task_types: TYPES[..types].iter().map(|&name| name.into()).collect(),
            detail,
        });
        let request = self.sign_on(worker);
        self.ask(request);
        Request::WorkerStateChanged {
            worker,
            status: WorkerStatus::Awake,
        }
    }

    fn worker_detail(&mut self) -> WorkerDetail {
        WorkerDetail {
            name: format!("worker-{}", self.chance.below(1000)),
            address: "10.0.0.7".to_owned(),
            software: "Tablao test".to_owned(),
        }
    }

    fn sign_on(&mut self, worker: WorkerId) -> Request {
        let tablao = self.chance.percent(60);
        let held = (self.farm.workers().get(&worker))
            .map(|worker| worker.attempts.iter().copied().collect::<Vec<_>>())
            .unwrap_or_default();
        Request::SignOn {
            worker,
            task_types: TYPES[..1 + self.chance.below(3)]
                .iter()
                .map(|&name| name.to_owned())
                .collect(),
            can_restart: self.chance.percent(50),
            protocol: if tablao {
                Protocol::Tablao
            } else {
                Protocol::Flamenco
            },
            slots: 1 + self.chance.below(2) as u8,
            held: if self.chance.percent(50) {
                held
            } else {
                Vec::new()
            },
            detail: self.worker_detail(),
        }
    }

    fn worker_moves(&mut self) -> Request {
        let worker = self.worker();
        match self.chance.below(10) {
            0..=1 => Request::SignOff { worker },
            2..=4 => self.sign_on(worker),
            5..=7 => Request::WorkerStateChanged {
                worker,
                status: WorkerStatus::Awake,
            },
            8 => Request::WorkerStateChanged {
                worker,
                status: WorkerStatus::Asleep,
            },
            _ => {
                let status = self.chance.pick(&[
                    WorkerStatus::Awake,
                    WorkerStatus::Asleep,
                    WorkerStatus::Offline,
                    WorkerStatus::Restart,
                ]);
                Request::RequestWorkerStatus {
                    worker,
                    status: status.unwrap_or(WorkerStatus::Awake),
                    lazy: self.chance.percent(50),
                    reason: self.words(),
                }
            }
        }
    }

    fn facts(&mut self, tasks_expected: u32) -> (JobFacts, JobDetail) {
        let job = JobId::new(self.chance.uuid());
        let named = self.chance.percent(50);
        let shot_name = format!("shot-{}", self.chance.below(3));
        let waits = self.chance.percent(20);
        let facts = JobFacts {
            job,
            job_type: "simple".to_owned(),
            script_hash: [7; 32],
            generation: 1,
            priority: 50 + self.chance.below(3) as i32,
            tag: (self.chance.pick(&self.tags)).filter(|_| self.chance.percent(20)),
            project: None,
            user: None,
            shot: if named {
                ShotId::named("film", &shot_name)
            } else {
                ShotId::of_job(job)
            },
            requires: Requirements::default(),
            limits: Limits {
                max_workers: self.chance.percent(20).then_some(1),
            },
            not_before: (self.chance.percent(5))
                .then(|| Timestamp::from_micros(self.now + 50_000_000)),
            depends_on_jobs: if waits { vec![self.job()] } else { Vec::new() },
            fail_policy: FailPolicy {
                fail_percent: self.chance.percent(50).then_some(60),
                task_attempts_max: self.chance.percent(30).then_some(2),
            },
            initial: if self.chance.percent(90) {
                JobStatus::Queued
            } else {
                JobStatus::Paused
            },
            manager: self.farm.manager().expect("the journal was opened"),
            job_epoch: 1,
            source: JobSource::Submitted,
            tasks_expected,
            created: Timestamp::from_micros(self.now),
        };
        let detail = JobDetail {
            name: format!("job {}", self.chance.below(1000)),
            user: "somebody".to_owned(),
            project: if named { "film" } else { "" }.to_owned(),
            shot: if named { shot_name } else { String::new() },
            settings: "{}".to_owned(),
            ..JobDetail::default()
        };
        self.jobs.push(job);
        (facts, detail)
    }

    fn chunk(&mut self, first: u32, count: u32, expected: u32) -> TaskChunk {
        let tasks = (first..first + count).map(|number| {
            let mut depends_on: Vec<u32> = Vec::new();
            // On earlier tasks mostly, and once in a while on one of a chunk that is to come.
            if number > 0 && self.chance.percent(30) {
                depends_on.push(self.chance.below(number as usize) as u32);
            }
            if self.chance.percent(10) && number + 1 < expected {
                depends_on.push(expected - 1);
            }
            NewTask {
                uuid: TaskId::new(self.chance.uuid()),
                task_type: self.chance.below(2) as u16,
                priority: 50 - self.chance.below(2) as i32,
                depends_on,
                frames: FrameRanges::from_numbers([number as i32 + 1]),
                steps_total: self.chance.below(4) as u32,
                content_hash: [number as u8; 32],
            }
        });
        let tasks: NewTasks = tasks.collect();
        let first_type = self.chance.below(2);
        TaskChunk {
            first_number: first,
            types: vec![
                TYPES[first_type].to_owned(),
                TYPES[first_type + 1].to_owned(),
            ],
            detail: TasksDetail {
                names: (0..count)
                    .map(|n| format!("render-{}", first + n))
                    .collect(),
                command_lists: vec!["[]".to_owned(), "[{\"name\":\"echo\"}]".to_owned()],
                commands_of: (0..count).map(|n| n % 2).collect(),
            },
            tasks,
        }
    }

    fn submit(&mut self) -> Request {
        let count = match self.chance.below(20) {
            0 => 0,
            1 => 300,
            _ => 1 + self.chance.below(8) as u32,
        };
        let (facts, detail) = self.facts(count);
        let chunk = self.chunk(0, count, count);
        Request::SubmitJob {
            job: Box::new(NewJob {
                facts,
                detail,
                chunk,
            }),
        }
    }

    /// A queued job of the first task type for anybody, waiting for at most one other job.
    pub(crate) fn new_job(&mut self, tasks: u32, after: Option<JobId>) -> NewJob {
        let (facts, detail) = self.facts(tasks);
        let facts = JobFacts {
            tag: None,
            not_before: None,
            depends_on_jobs: after.into_iter().collect(),
            initial: JobStatus::Queued,
            ..facts
        };
        let mut chunk = self.chunk(0, tasks, tasks);
        chunk.types = vec![TYPES[0].to_owned(); 2];
        NewJob {
            facts,
            detail,
            chunk,
        }
    }

    /// How a job stood on another farm: its first task was done, its last one failed.
    fn imported(&mut self, job: JobId, tasks: u32) -> Request {
        let workers: Vec<_> = self.farm.workers().keys().copied().collect();
        let worker = self.chance.pick(&workers).filter(|_| tasks > 1);
        let of_worker = |range| {
            worker
                .map(|worker| (worker, vec![range]))
                .into_iter()
                .collect()
        };
        let last = tasks.saturating_sub(1);
        let statuses = [
            (TaskStatus::Completed, vec![(0, 0)]),
            (TaskStatus::Failed, vec![(last, last)]),
        ];
        Request::FinishImport {
            job,
            state: Box::new(ImportedState {
                status: JobStatus::Paused,
                reason: self.words(),
                tasks: statuses.into_iter().filter(|_| tasks > 1).collect(),
                failed_by: of_worker((last, last)),
                last_workers: of_worker((0, 0)),
                blocked: (worker.map(|worker| (worker, "misc".to_owned())).into_iter()).collect(),
                delete_marked: None,
            }),
        }
    }

    /// A submission in parts, which may break off at any point.
    fn saga(&mut self) -> Request {
        let open = (self.farm.jobs().values())
            .find(|job| job.state.status == JobStatus::UnderConstruction)
            .map(|job| {
                (
                    job.state.facts.job,
                    job.tasks.len() as u32,
                    job.state.facts.tasks_expected,
                )
            });
        let Some((job, so_far, expected)) = open else {
            let expected = match self.chance.below(4) {
                0 => 0,
                _ => 5 + self.chance.below(5) as u32,
            };
            let (mut facts, detail) = self.facts(expected);
            if self.chance.percent(30) {
                facts.source = JobSource::Imported;
            }
            let chunk = if expected > 0 && self.chance.percent(50) {
                self.chunk(0, 3, expected)
            } else {
                TaskChunk::default()
            };
            return Request::AcceptJob {
                job: Box::new(NewJob {
                    facts,
                    detail,
                    chunk,
                }),
            };
        };
        if self.chance.percent(10) {
            return Request::AbandonJob {
                job,
                reason: "the process ended".to_owned(),
            };
        }
        if so_far == expected {
            if self.farm.jobs()[&job].state.facts.source == JobSource::Imported {
                return self.imported(job, expected);
            }
            return Request::ReadyJob { job };
        }
        let count = (expected - so_far).min(3);
        Request::AddTasks {
            job,
            chunk: Box::new(self.chunk(so_far, count, expected)),
        }
    }
}
