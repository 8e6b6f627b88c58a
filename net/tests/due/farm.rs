// SPDX-License-Identifier: GPL-3.0-or-later
//! A farm of one engine on a virtual clock, with one worker and one job to speak of.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tablao_core::{
    Actor, ActorKind, Answer, JobId, JobStatus, ManagerId, Recorded, Refusal, Request, TaskId,
    TaskStatus, Timestamp, Via, WorkerId, WorkerStatus as W,
    decide::Asker,
    detail::{JobDetail, TasksDetail, WorkerDetail},
    entity::{
        FailPolicy, JobFacts, JobSource, Limits, Policy, Protocol, Requirements, SleepSchedule,
        StatusRequestSource,
    },
    event::NewTask,
    request::{NewJob, Report, TaskChunk},
};
use tablao_journal::{Authority, FileStore, JournalId, MemoryFiles, OpenOptions};
use tablao_net::{
    clock::parse_rfc3339,
    engine::{
        Ask, EngineOptions,
        stepped::{Moment, SteppedEngine},
    },
};
use uuid::Uuid;

pub(crate) const MANAGER: ManagerId = ManagerId::new(Uuid::from_u128(1));
pub(crate) const WORKER: WorkerId = WorkerId::new(Uuid::from_u128(2));
pub(crate) const JOB: JobId = JobId::new(Uuid::from_u128(3));

pub(crate) struct Farm {
    pub(crate) files: MemoryFiles,
    pub(crate) engine: Option<SteppedEngine>,
    pub(crate) base: Instant,
    pub(crate) begin: Timestamp,
    pub(crate) now_s: u64,
    /// When the engine's thread would look next.
    pub(crate) next_look_s: u64,
    pub(crate) records: Vec<Recorded>,
}

impl Farm {
    pub(crate) fn new(begin: &str) -> Self {
        let mut farm = Self {
            files: MemoryFiles::default(),
            engine: None,
            base: Instant::now(),
            begin: parse_rfc3339(begin).unwrap(),
            now_s: 0,
            next_look_s: 0,
            records: Vec::new(),
        };
        farm.start();
        farm
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment {
            monotonic: self.base + Duration::from_secs(self.now_s),
            wall: self.begin.plus_millis(self.now_s * 1000),
            seed: self.now_s,
        }
    }

    /// Starts the Manager, or starts it again.
    pub(crate) fn start(&mut self) {
        self.engine = None;
        let options = EngineOptions {
            journal_dir: "journal".into(),
            checkpoint_dir: "checkpoints".into(),
            authority: Authority::Site,
            manager: MANAGER,
            grace: Duration::from_secs(10),
        };
        let files: Arc<dyn FileStore> = Arc::new(self.files.clone());
        let open = OpenOptions::new(JournalId([9; 16]), 1);
        let opened = SteppedEngine::open(files, &open, &options, self.moment());
        self.engine = Some(opened.unwrap().0);
        self.next_look_s = self.now_s + 1;
    }

    pub(crate) fn engine(&mut self) -> &mut SteppedEngine {
        self.engine.as_mut().unwrap()
    }

    pub(crate) fn settle(&mut self) {
        let engine = self.engine.as_mut().unwrap();
        let waiting = engine.waiting();
        self.records.extend(engine.commit(waiting).unwrap());
    }

    pub(crate) fn asked(&mut self, request: Request, kind: ActorKind) -> Result<Answer, Refusal> {
        let (moment, actor) = (
            self.moment(),
            Actor {
                kind,
                id: None,
                via: Via::Api,
            },
        );
        let ask = Ask::new(request, actor, Asker::default());
        let mut answer = self.engine().ask(moment, ask, Duration::ZERO).unwrap();
        self.settle();
        // As the thread does: what came may have to be looked after.
        self.next_look_s = self.next_look_s.min(self.now_s + 1);
        answer.try_recv().unwrap()
    }

    pub(crate) fn ask(&mut self, request: Request) -> Answer {
        self.asked(request, ActorKind::User).unwrap()
    }

    /// Time passes as in the engine's thread: it looks when it said that it has to, and only then.
    /// Returns how often it looked.
    pub(crate) fn wait(&mut self, seconds: u64) -> u32 {
        let end = self.now_s + seconds;
        let mut looks = 0;
        while self.next_look_s <= end {
            self.now_s = self.next_look_s;
            let moment = self.moment();
            self.engine().tick(moment).unwrap();
            self.settle();
            let quiet = self.engine().quiet_for();
            let quiet_s = quiet.as_secs() + u64::from(quiet.subsec_nanos() > 0);
            assert!(quiet_s > 0, "it would look without end");
            self.next_look_s = self.now_s + quiet_s;
            looks += 1;
        }
        self.now_s = end;
        looks
    }

    /// Until this moment.
    pub(crate) fn wait_until(&mut self, moment: &str) -> u32 {
        let wanted = parse_rfc3339(moment).unwrap().micros() / 1_000_000;
        let now = self.begin.micros() / 1_000_000 + self.now_s;
        self.wait(wanted - now)
    }

    pub(crate) fn register(&mut self, worker: WorkerId, protocol: Protocol) {
        self.ask(Request::RegisterWorker {
            worker,
            platform: "linux".to_owned(),
            task_types: vec!["render".to_owned()],
            detail: WorkerDetail::default(),
        });
        self.sign_on(worker, protocol);
        self.says(worker, W::Awake);
    }

    pub(crate) fn sign_on(&mut self, worker: WorkerId, protocol: Protocol) -> Answer {
        self.ask(Request::SignOn {
            worker,
            task_types: vec!["render".to_owned()],
            can_restart: false,
            protocol,
            slots: 1,
            held: Vec::new(),
            detail: WorkerDetail::default(),
        })
    }

    pub(crate) fn says(&mut self, worker: WorkerId, status: W) {
        self.ask(Request::WorkerStateChanged { worker, status });
    }

    pub(crate) fn wish(&mut self, status: W) {
        self.ask(Request::RequestWorkerStatus {
            worker: WORKER,
            status,
            lazy: false,
            reason: String::new(),
        });
    }

    pub(crate) fn pending(&mut self) -> Option<(W, bool, StatusRequestSource)> {
        let pending = self.engine().farm().workers()[&WORKER].pending?;
        Some((pending.status, pending.lazy, pending.source))
    }

    pub(crate) fn status(&mut self) -> Option<W> {
        self.engine().farm().workers()[&WORKER].status
    }

    pub(crate) fn set_schedule(&mut self, schedule: Option<SleepSchedule>) {
        self.ask(Request::SetWorkerSchedule {
            worker: WORKER,
            schedule,
        });
    }

    /// No worker or task counts as lost, however long it is silent.
    pub(crate) fn patient(&mut self) {
        let policy = Policy {
            worker_timeout_ms: 0,
            ..Policy::default()
        };
        self.ask(Request::ApplyConfig {
            policy,
            text: String::new(),
        });
    }

    pub(crate) fn submit(&mut self, tasks: usize) {
        let task = |n: usize| NewTask {
            uuid: TaskId::new(Uuid::from_u128(100 + n as u128)),
            task_type: 0,
            priority: 50,
            depends_on: Vec::new(),
            frames: tablao_core::frames::FrameRanges::default(),
            steps_total: 1,
            content_hash: [1; 32],
        };
        self.ask(Request::SubmitJob {
            job: Box::new(NewJob {
                facts: JobFacts {
                    job: JOB,
                    job_type: "due".to_owned(),
                    script_hash: [7; 32],
                    generation: 1,
                    priority: 50,
                    tag: None,
                    project: None,
                    user: None,
                    shot: tablao_core::ShotId::of_job(JOB),
                    requires: Requirements::default(),
                    limits: Limits::default(),
                    not_before: None,
                    depends_on_jobs: Vec::new(),
                    fail_policy: FailPolicy {
                        fail_percent: Some(100),
                        task_attempts_max: None,
                    },
                    initial: JobStatus::Queued,
                    manager: MANAGER,
                    job_epoch: 1,
                    source: JobSource::Submitted,
                    tasks_expected: u32::try_from(tasks).unwrap(),
                    created: Timestamp::from_micros(1),
                },
                detail: JobDetail::default(),
                chunk: TaskChunk {
                    first_number: 0,
                    types: vec!["render".to_owned()],
                    tasks: (0..tasks).map(task).collect(),
                    detail: TasksDetail {
                        names: vec!["task".to_owned(); tasks],
                        command_lists: vec!["[]".to_owned()],
                        commands_of: vec![0; tasks],
                    },
                },
            }),
        });
    }

    pub(crate) fn next_task(&mut self, worker: WorkerId) -> Option<TaskId> {
        match self.ask(Request::AskForTask { worker }) {
            Answer::Assigned { task, .. } => Some(task),
            _ => None,
        }
    }

    pub(crate) fn report(&mut self, worker: WorkerId, task: TaskId, status: TaskStatus) {
        self.ask(Request::Report {
            report: Box::new(Report {
                worker,
                task,
                attempt: None,
                status: Some(status),
                activity: None,
                steps: None,
                frames: Vec::new(),
                failure: None,
                peak_memory_bytes: None,
            }),
        });
    }
}
