// SPDX-License-Identifier: GPL-3.0-or-later
//! Generated histories: a small farm with restless people and unreliable workers.
//!
//! Random requests are put to the real `Farm::decide`, and what it answers becomes the history,
//! so every history is one that could have happened. It is a function of a seed alone.

use std::collections::BTreeSet;

use tablao_core::{
    Actor, AttemptId, Detail, Event, Farm, JobId, JobStatus, Lsn, ManagerId, Recorded, Request,
    RequestId, ShotId, TagId, TaskId, TaskStatus, Timestamp, Via, WorkerId, WorkerStatus, codec,
    decide::{Asker, Env, decision_record},
    detail::{FrameDetail, JobDetail, TasksDetail, WorkerDetail},
    entity::{
        FailPolicy, FrameKey, Hold, JobFacts, JobSource, Limits, Policy, Protocol, RemoteVerb,
        Requirements, SleepSchedule,
    },
    event::{Body, FailureClass, NewTask},
    frames::FrameRanges,
    request::{FailureReport, FrameReport, NewJob, Report, TaskChunk},
};
use uuid::Uuid;

/// A stream of numbers from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`; 0 where `end` is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())])
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_u128(u128::from(self.next()) << 64 | u128::from(self.next()))
    }
}

const TYPES: [&str; 3] = ["blender", "ffmpeg", "misc"];

/// A farm that lives, and its history so far.
pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) farm: Farm,
    pub(crate) history: Vec<Recorded>,
    now: u64,
    workers: Vec<WorkerId>,
    tags: Vec<TagId>,
    jobs: Vec<JobId>,
    /// Attempts that were ever handed out, with the task of each: some reports come late.
    handed_out: Vec<(AttemptId, TaskId, WorkerId)>,
    /// Some details of this history were erased since.
    erasing: bool,
}

/// A history of about this many requests.
pub(crate) fn history(seed: u64, requests: usize) -> Vec<Recorded> {
    let mut world = World::new(seed);
    world.run(requests);
    world.history
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let erasing = chance.percent(25);
        let mut world = Self {
            chance,
            farm: Farm::new(),
            history: Vec::new(),
            now: 1_700_000_000_000_000,
            workers: Vec::new(),
            tags: Vec::new(),
            jobs: Vec::new(),
            handed_out: Vec::new(),
            erasing,
        };
        let manager = ManagerId::new(world.chance.uuid());
        world.ask(Request::OpenJournal {
            build: "test".to_owned(),
            incarnation: 1,
            clean: true,
            manager,
        });
        world
    }

    pub(crate) fn run(&mut self, requests: usize) {
        for _ in 0..requests {
            let request = self.request();
            self.ask(request);
        }
    }

    /// Puts a request to the farm and writes down what comes of it, as the engine does.
    pub(crate) fn ask(&mut self, request: Request) {
        self.now += self.chance.next() % 2_000_000;
        let key = matches!(
            request,
            Request::SubmitJob { .. } | Request::PlaceJob { .. }
        )
        .then(|| [self.chance.below(200) as u8; 32])
        .filter(|_| self.chance.percent(50));
        let env = Env {
            now: Timestamp::from_micros(self.now),
            decision: self.farm.position().next(),
            seed: self.chance.next(),
            key,
        };
        let result = self.farm.decide(&request, &env);
        let events = match &result {
            // An idle poll is no decision.
            Ok(decided) if decided.events.is_empty() && key.is_none() => return,
            Ok(decided) => decided.events.clone(),
            Err(_) => Vec::new(),
        };
        let actor = Actor::anonymous(Via::Api);
        let asker = Asker::default();
        let decision =
            decision_record(&request, &env, actor, &asker, result.as_ref(), Body::Inline);
        for (event, detail) in std::iter::once(decision).chain(events) {
            self.record(event, detail);
        }
    }

    fn record(&mut self, event: Event, mut detail: Detail) {
        let (_, _, detail_hash) = codec::encode(&event, &detail);
        if self.erasing && self.chance.percent(10) {
            detail = Detail::None;
        }
        let recorded = Recorded {
            lsn: self.farm.position().next(),
            at: Timestamp::from_micros(self.now),
            event,
            detail,
            detail_hash,
        };
        self.farm.apply(&recorded);
        if let Event::AttemptAssigned(facts) = &recorded.event {
            let task = &self.farm.jobs()[&facts.job].tasks[facts.task as usize];
            let id = task.attempt.expect("it was just handed out");
            self.handed_out.push((id, task.uuid, facts.worker));
        }
        self.history.push(recorded);
    }

    pub(crate) fn workers(&self) -> &[WorkerId] {
        &self.workers
    }

    fn words(&mut self) -> String {
        let words = ["", "why not", "because", "the director said so"];
        self.chance.pick(&words).unwrap_or_default().to_owned()
    }

    fn worker(&mut self) -> WorkerId {
        let some = self.chance.pick(&self.workers);
        some.unwrap_or_else(|| WorkerId::new(self.chance.uuid()))
    }

    fn job(&mut self) -> JobId {
        let some = self.chance.pick(&self.jobs);
        some.unwrap_or_else(|| JobId::new(self.chance.uuid()))
    }

    fn task(&mut self) -> TaskId {
        let job = self.job();
        let count = (self.farm.jobs().get(&job)).map_or(0, |job| job.tasks.len());
        let number = self.chance.below(count);
        let task = (self.farm.jobs().get(&job)).and_then(|job| job.tasks.get(number));
        task.map_or_else(|| TaskId::new(Uuid::nil()), |task| task.uuid)
    }

    /// Something that somebody in a farm might want now.
    pub(crate) fn request(&mut self) -> Request {
        if self.workers.len() < 3 {
            return self.register();
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
        let tasks: Vec<NewTask> = tasks.collect();
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
            let (facts, detail) = self.facts(expected);
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
            return Request::ReadyJob { job };
        }
        let count = (expected - so_far).min(3);
        Request::AddTasks {
            job,
            chunk: Box::new(self.chunk(so_far, count, expected)),
        }
    }

    fn report(&mut self) -> Request {
        let live: Vec<AttemptId> = self.farm.attempts().keys().copied().collect();
        let meant = if self.chance.percent(90) {
            let id = self.chance.pick(&live);
            id.map(|id| {
                let attempt = &self.farm.attempts()[&id];
                let task = &self.farm.jobs()[&attempt.job].tasks[attempt.task as usize];
                (id, task.uuid, attempt.worker)
            })
        } else {
            self.chance.pick(&self.handed_out)
        };
        let Some((attempt, task, worker)) = meant else {
            return Request::AskForTask {
                worker: self.worker(),
            };
        };
        let status = match self.chance.below(20) {
            0..=2 => Some(TaskStatus::Active),
            3..=9 => Some(TaskStatus::Completed),
            10..=13 => Some(TaskStatus::Failed),
            14 => Some(TaskStatus::Queued),
            15 => Some(TaskStatus::Canceled),
            _ => None,
        };
        let worker = if self.chance.percent(97) {
            worker
        } else {
            self.worker()
        };
        let frames = match self.farm.task(task).map(|(job, _)| job.state.facts.shot) {
            Some(shot) if self.chance.percent(50) => vec![self.frame(shot)],
            _ => Vec::new(),
        };
        Request::Report {
            report: Box::new(Report {
                worker,
                task,
                attempt: self.chance.percent(70).then_some(attempt),
                status,
                activity: self.chance.percent(60).then(|| self.words()),
                steps: self.chance.percent(40).then(|| self.chance.below(5) as u32),
                frames,
                failure: self.chance.percent(50).then_some(FailureReport {
                    class: FailureClass::Process,
                    exit: Some(1),
                    signal: None,
                }),
                peak_memory_bytes: self.chance.percent(30).then_some(1 << 30),
            }),
        }
    }

    fn frame(&mut self, shot: ShotId) -> FrameReport {
        let number = self.chance.below(12) as i32 - 3;
        FrameReport {
            key: FrameKey {
                shot,
                output: if self.chance.percent(20) { "mist" } else { "" }.to_owned(),
                view: String::new(),
                number,
            },
            detail: FrameDetail {
                name: format!("frame_{number:04}"),
                path: format!("/render/frame_{number:04}.png"),
                ..FrameDetail::default()
            },
            size: 1000,
            hash: [self.chance.below(5) as u8; 32],
            rendered_at: Timestamp::from_micros(self.now),
            render_ms: 1500,
            samples: None,
            peak_memory_bytes: None,
            flags: 0,
            found: self.chance.percent(10),
        }
    }

    fn person(&mut self) -> Request {
        let job = self.job();
        match self.chance.below(20) {
            0..=3 => Request::SetJobStatus {
                job,
                status: self.job_wish(),
                reason: self.words(),
            },
            4..=8 => Request::SetTaskStatus {
                task: self.task(),
                status: TaskStatus::ALL[self.chance.below(TaskStatus::ALL.len())],
                reason: self.words(),
            },
            9 => Request::SetJobPriority {
                job,
                priority: self.chance.below(105) as i32,
            },
            10 => Request::SetTaskPriority {
                task: self.task(),
                priority: 40 + self.chance.below(20) as i32,
            },
            11 => Request::SetJobTag {
                job,
                tag: self.chance.pick(&self.tags),
            },
            12 => Request::HoldJob {
                job,
                hold: Hold::Person,
                reason: self.words(),
            },
            13..=14 => Request::ReleaseJob {
                job,
                hold: Hold::Person,
            },
            15 => Request::MarkJobDeleted { job },
            16 => self.marked_job(job),
            17 => {
                let blocking = (self.farm.jobs().values())
                    .map(|job| &job.state)
                    .find(|state| !state.blocked.is_empty());
                Request::ClearBlocklist {
                    job: blocking.map_or(job, |state| state.facts.job),
                    entries: blocking
                        .map(|state| state.blocked.iter().cloned().collect())
                        .unwrap_or_default(),
                }
            }
            _ => self.thumbnail(),
        }
    }

    fn marked_job(&mut self, job: JobId) -> Request {
        let marked = (self.farm.jobs().values())
            .find(|job| job.state.delete_marked.is_some() && job.live == 0)
            .map_or(job, |job| job.state.facts.job);
        if self.chance.percent(75) {
            Request::PurgeJob { job: marked }
        } else {
            Request::RestoreJob { job: marked }
        }
    }

    fn job_wish(&mut self) -> JobStatus {
        let wishes = [
            JobStatus::Canceled,
            JobStatus::CancelRequested,
            JobStatus::Queued,
            JobStatus::Requeueing,
            JobStatus::Paused,
            JobStatus::Queued,
            JobStatus::Requeueing,
            JobStatus::Active,
        ];
        self.chance.pick(&wishes).unwrap_or(JobStatus::Queued)
    }

    fn thumbnail(&mut self) -> Request {
        let keys: Vec<&FrameKey> = self.farm.frames().keys().collect();
        let key = self.chance.pick(&keys).cloned().unwrap_or(FrameKey {
            shot: ShotId::named("film", "none"),
            output: String::new(),
            view: String::new(),
            number: 1,
        });
        Request::StoreThumbnail {
            hash: [self.chance.below(3) as u8; 32],
            file: format!("frame_{}_thumbnail.jpg", key.number),
            key,
        }
    }

    fn tags(&mut self) -> Request {
        let tag = self.chance.pick(&self.tags);
        match (self.chance.below(8), tag) {
            (0..=3, Some(tag)) => Request::SetWorkerTags {
                worker: self.worker(),
                tags: vec![tag],
            },
            (4, Some(tag)) => Request::ChangeTag {
                tag,
                name: "renamed".to_owned(),
                description: self.words(),
            },
            (5, Some(tag)) => {
                self.tags.retain(|other| *other != tag);
                Request::DeleteTag { tag }
            }
            (6, Some(_)) => Request::SetWorkerSchedule {
                worker: self.worker(),
                schedule: self.chance.percent(50).then(|| SleepSchedule {
                    active: true,
                    time_zone: String::new(),
                    days: 31,
                    start_minute: 480,
                    end_minute: 1080,
                }),
            },
            _ => {
                let tag = TagId::new(self.chance.uuid());
                self.tags.push(tag);
                Request::CreateTag {
                    tag,
                    name: format!("tag-{}", self.chance.below(100)),
                    description: self.words(),
                }
            }
        }
    }

    fn silence(&mut self) -> Request {
        let since = Timestamp::from_micros(self.now - 700_000_000);
        if self.chance.percent(70) {
            let live: Vec<AttemptId> = self.farm.attempts().keys().copied().collect();
            Request::LapseAttempts {
                evidence: (self.chance.pick(&live).into_iter())
                    .map(|id| (id, since))
                    .collect(),
            }
        } else if self.chance.percent(80) {
            Request::LoseWorkers {
                evidence: vec![(self.worker(), since)],
            }
        } else {
            Request::DeleteWorker {
                worker: self.worker(),
            }
        }
    }

    fn control(&mut self) -> Request {
        let managers: BTreeSet<ManagerId> = self.farm.managers().keys().copied().collect();
        let managers: Vec<ManagerId> = managers.into_iter().collect();
        let manager = match self.chance.pick(&managers) {
            Some(manager) if managers.len() > 2 => manager,
            _ => ManagerId::new(self.chance.uuid()),
        };
        match self.chance.below(10) {
            0..=2 => Request::LinkManager {
                manager,
                name: format!("site-{}", self.chance.below(3)),
            },
            3 => Request::RevokeManager {
                manager,
                reason: self.words(),
            },
            4 => Request::PlaceJob {
                job: JobId::new(self.chance.uuid()),
                manager,
                submission: [1; 32],
                name: "placed".to_owned(),
                why: self.words(),
            },
            5 => Request::AcceptRemote {
                request: RequestId::new(self.chance.uuid()),
                job: (self.farm.placements().keys().next().copied())
                    .unwrap_or(JobId::new(Uuid::nil())),
                verb: RemoteVerb::SetPriority(7),
                reason: self.words(),
            },
            6 => Request::AdvanceOrigin {
                manager,
                lsn: Lsn::new(self.chance.next() % 1000),
                chain: [3; 32],
            },
            7 if self.chance.percent(50) => Request::SettleRemote {
                control: self.farm.settled().next(),
                job: self.job(),
                refused: None,
                reason: self.words(),
            },
            8 if self.chance.percent(50) => Request::FollowServer {
                control_journal: [self.chance.below(3) as u8; 16],
                url: "https://server.example:8443".to_owned(),
            },
            7 => Request::StartTerm {
                term: self.farm.term() + self.chance.below(2) as u64,
            },
            8 => Request::ApplyConfig {
                policy: Policy {
                    task_attempts_max: 1 + self.chance.below(3) as u32,
                    blocklist_threshold: 1 + self.chance.below(3) as u32,
                    ..Policy::default()
                },
                text: self.words(),
            },
            _ => {
                let manager = self.farm.manager().expect("the journal was opened");
                Request::OpenJournal {
                    build: "test".to_owned(),
                    incarnation: self.farm.incarnation() + self.chance.below(2) as u32,
                    clean: self.chance.percent(50),
                    manager,
                }
            }
        }
    }
}
