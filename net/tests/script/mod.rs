// SPDX-License-Identifier: GPL-3.0-or-later
//! A farm's life as a script: a worker, a job that is rendered, canceled and requeued, and a large
//! job that is submitted in parts. Also how a farm goes on from wherever it was stopped.
//!
//! Every id is fixed, so two runs of the script write the same events.

use tablao_core::detail::{FrameDetail, JobDetail, TasksDetail, WorkerDetail};
use tablao_core::entity::{
    FailPolicy, FrameKey, JobFacts, JobSource, Limits, Policy, Protocol, Requirements,
};
use tablao_core::event::NewTask;
use tablao_core::frames::FrameRanges;
use tablao_core::request::{FrameReport, NewJob, Report, TaskChunk};
use tablao_core::{
    Actor, Answer, AttemptId, JobId, JobStatus, Lsn, ManagerId, Request, ShotId, TaskId,
    TaskStatus, Timestamp, Via, WorkerId, decide::Asker,
};
use tablao_net::engine::{Ask, Engine, Reply, Stopped};
use uuid::Uuid;

pub(crate) const MANAGER: ManagerId = ManagerId::new(Uuid::from_u128(1));
pub(crate) const JOB: Uuid = Uuid::from_u128(0x10);
pub(crate) const SECOND_JOB: Uuid = Uuid::from_u128(0x20);
const THIRD_JOB: Uuid = Uuid::from_u128(0x30);
const WORKER: WorkerId = WorkerId::new(Uuid::from_u128(2));
/// Tasks of a job; the last one waits for all others, as a video does.
const TASKS: u32 = 3;
const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

/// How far a scripted life came.
#[derive(Default)]
pub(crate) struct Life {
    /// The farm stood here when the last answer came.
    pub(crate) answered: Lsn,
    /// It came to its end.
    pub(crate) finished: bool,
}

fn task_id(job: Uuid, number: u32) -> TaskId {
    TaskId::new(Uuid::from_u128((job.as_u128() << 32) + u128::from(number)))
}

fn chunk(job: Uuid, numbers: std::ops::Range<u32>) -> TaskChunk {
    let tasks = numbers.clone().map(|number| NewTask {
        uuid: task_id(job, number),
        task_type: 0,
        priority: 50,
        depends_on: if number + 1 == TASKS {
            (0..number).collect()
        } else {
            Vec::new()
        },
        frames: FrameRanges::default(),
        steps_total: 1,
        content_hash: [1; 32],
    });
    TaskChunk {
        first_number: numbers.start,
        types: vec!["blender".to_owned()],
        tasks: tasks.collect(),
        detail: TasksDetail {
            names: numbers
                .clone()
                .map(|number| format!("task {number}"))
                .collect(),
            command_lists: vec!["[]".to_owned()],
            commands_of: numbers.map(|_| 0).collect(),
        },
    }
}

fn new_job(job: Uuid, chunk: TaskChunk) -> Box<NewJob> {
    let id = JobId::new(job);
    Box::new(NewJob {
        facts: JobFacts {
            job: id,
            job_type: "scripted".to_owned(),
            script_hash: [7; 32],
            generation: 1,
            priority: 50,
            tag: None,
            project: None,
            user: None,
            shot: ShotId::of_job(id),
            requires: Requirements::default(),
            limits: Limits::default(),
            not_before: None,
            depends_on_jobs: Vec::new(),
            fail_policy: FailPolicy::default(),
            initial: JobStatus::Queued,
            manager: MANAGER,
            job_epoch: 1,
            source: JobSource::Submitted,
            tasks_expected: TASKS,
            created: START,
        },
        detail: JobDetail {
            name: "scripted".to_owned(),
            ..JobDetail::default()
        },
        chunk,
    })
}

fn submit(job: Uuid) -> Request {
    Request::SubmitJob {
        job: new_job(job, chunk(job, 0..TASKS)),
    }
}

fn set_status(job: Uuid, status: JobStatus) -> Request {
    Request::SetJobStatus {
        job: JobId::new(job),
        status,
        reason: "scripted".to_owned(),
    }
}

fn register() -> Request {
    Request::RegisterWorker {
        worker: WORKER,
        platform: "linux".to_owned(),
        task_types: vec!["blender".to_owned()],
        detail: WorkerDetail::default(),
    }
}

fn sign_on(held: Vec<AttemptId>) -> Request {
    Request::SignOn {
        worker: WORKER,
        task_types: vec!["blender".to_owned()],
        can_restart: false,
        protocol: Protocol::Tablao,
        slots: 1,
        held,
        detail: WorkerDetail::default(),
    }
}

fn awake() -> Request {
    Request::WorkerStateChanged {
        worker: WORKER,
        status: tablao_core::WorkerStatus::Awake,
    }
}

/// A task that the worker holds.
#[derive(Clone, Copy)]
struct Held {
    attempt: AttemptId,
    job: JobId,
    task: TaskId,
    number: u32,
}

impl Held {
    fn report(self, status: Option<TaskStatus>, frames: Vec<FrameReport>) -> Request {
        Request::Report {
            report: Box::new(Report {
                worker: WORKER,
                task: self.task,
                attempt: Some(self.attempt),
                status,
                activity: None,
                steps: (!frames.is_empty()).then_some(1),
                frames,
                failure: None,
                peak_memory_bytes: None,
            }),
        }
    }

    /// Its frame; found where an earlier attempt had published it.
    fn frame(self, engine: &Engine) -> FrameReport {
        let key = FrameKey {
            shot: ShotId::of_job(self.job),
            output: String::new(),
            view: String::new(),
            number: i32::try_from(self.number).expect("a small number"),
        };
        let found = engine.model().farm().frames().contains_key(&key);
        FrameReport {
            key,
            detail: FrameDetail::default(),
            size: 100,
            hash: [9; 32],
            rendered_at: START,
            render_ms: 5,
            samples: None,
            peak_memory_bytes: None,
            flags: 0,
            found,
        }
    }
}

impl Life {
    async fn ask(&mut self, engine: &Engine, request: Request) -> Result<Reply, Stopped> {
        let reply = ask(engine, request).await?;
        // What was answered can be read, so the read model stands at or after it.
        self.answered = self.answered.max(engine.view().at());
        Ok(reply)
    }

    async fn done(&mut self, engine: &Engine, request: Request) -> Result<(), Stopped> {
        let reply = self.ask(engine, request.clone()).await?;
        reply.unwrap_or_else(|refusal| panic!("{request:?}: {refusal}"));
        Ok(())
    }

    async fn take(&mut self, engine: &Engine) -> Result<Held, Stopped> {
        match self
            .ask(engine, Request::AskForTask { worker: WORKER })
            .await?
        {
            Ok(Answer::Assigned {
                attempt,
                job,
                task,
                number,
            }) => Ok(Held {
                attempt,
                job,
                task,
                number,
            }),
            other => panic!("the script expects a task here, not {other:?}"),
        }
    }

    async fn render(&mut self, engine: &Engine) -> Result<(), Stopped> {
        let held = self.take(engine).await?;
        self.done(engine, held.report(Some(TaskStatus::Active), Vec::new()))
            .await?;
        let frame = held.frame(engine);
        self.done(engine, held.report(None, vec![frame])).await?;
        self.done(engine, held.report(Some(TaskStatus::Completed), Vec::new()))
            .await
    }

    /// Plays the first or second half of the script.
    pub(crate) async fn play(
        &mut self,
        engine: &Engine,
        half: u32,
        clean: bool,
    ) -> Result<(), Stopped> {
        engine.open_journal(MANAGER, clean).await?;
        self.answered = self.answered.max(engine.view().at());
        if half == 1 {
            self.first(engine).await
        } else {
            self.second(engine).await
        }
    }

    /// A job is rendered in part, canceled while a task runs, and requeued.
    async fn first(&mut self, engine: &Engine) -> Result<(), Stopped> {
        let policy = Policy {
            lease_ms: 3_600_000,
            start_within_ms: 3_600_000,
            ..Policy::default()
        };
        self.done(
            engine,
            Request::ApplyConfig {
                policy,
                text: String::new(),
            },
        )
        .await?;
        self.done(engine, register()).await?;
        self.done(engine, sign_on(Vec::new())).await?;
        self.done(engine, awake()).await?;
        self.done(engine, submit(JOB)).await?;
        self.render(engine).await?;
        let held = self.take(engine).await?;
        self.done(engine, held.report(Some(TaskStatus::Active), Vec::new()))
            .await?;
        self.done(engine, set_status(JOB, JobStatus::CancelRequested))
            .await?;
        self.done(engine, held.report(Some(TaskStatus::Canceled), Vec::new()))
            .await?;
        self.done(engine, set_status(JOB, JobStatus::Requeueing))
            .await?;
        self.render(engine).await?;
        let priority = Request::SetJobPriority {
            job: JobId::new(JOB),
            priority: 80,
        };
        self.done(engine, priority).await?;
        self.done(engine, Request::SignOff { worker: WORKER }).await
    }

    /// A large job comes in parts; both are completed.
    async fn second(&mut self, engine: &Engine) -> Result<(), Stopped> {
        self.done(engine, sign_on(Vec::new())).await?;
        self.done(engine, awake()).await?;
        let job = new_job(SECOND_JOB, TaskChunk::default());
        self.done(engine, Request::AcceptJob { job }).await?;
        for numbers in [0..2, 2..TASKS] {
            let chunk = Box::new(chunk(SECOND_JOB, numbers));
            let job = JobId::new(SECOND_JOB);
            self.done(engine, Request::AddTasks { job, chunk }).await?;
        }
        self.done(
            engine,
            Request::ReadyJob {
                job: JobId::new(SECOND_JOB),
            },
        )
        .await?;
        while !is_over(engine, JOB) || !is_over(engine, SECOND_JOB) {
            self.render(engine).await?;
        }
        Ok(())
    }
}

async fn ask(engine: &Engine, request: Request) -> Result<Reply, Stopped> {
    let actor = match &request {
        Request::AskForTask { .. } | Request::Report { .. } | Request::SignOn { .. } => {
            Actor::worker(WORKER, Via::Worker)
        }
        _ => Actor::anonymous(Via::Api),
    };
    engine.ask(Ask::new(request, actor, Asker::default())).await
}

fn status(engine: &Engine, job: Uuid) -> Option<JobStatus> {
    let model = engine.model();
    let job = model.farm().jobs().get(&JobId::new(job))?;
    Some(job.state.status)
}

fn is_over(engine: &Engine, job: Uuid) -> bool {
    status(engine, job) == Some(JobStatus::Completed)
}

/// Goes on from wherever the farm was stopped, as its worker and its person would, and returns
/// the jobs that are to be completed by then.
pub(crate) async fn go_on(engine: &Engine) -> Result<Vec<JobId>, Stopped> {
    engine.open_journal(MANAGER, false).await?;
    let mut life = Life::default();
    if !engine.model().farm().workers().contains_key(&WORKER) {
        life.done(engine, register()).await?;
    }
    // The worker holds nothing any more: what it had been given ends and is queued again.
    life.done(engine, sign_on(Vec::new())).await?;
    life.done(engine, awake()).await?;
    match status(engine, JOB) {
        None => life.done(engine, submit(JOB)).await?,
        Some(JobStatus::Canceled) => {
            life.done(engine, set_status(JOB, JobStatus::Requeueing))
                .await?;
        }
        Some(_) => {}
    }
    let mut jobs = vec![JobId::new(JOB)];
    match status(engine, SECOND_JOB) {
        Some(JobStatus::Queued | JobStatus::Active | JobStatus::Completed) => {
            jobs.push(JobId::new(SECOND_JOB));
        }
        Some(JobStatus::UnderConstruction) => panic!("a half submitted job was left lying"),
        // Never accepted, or given up because it was not whole: the person submits it again.
        None | Some(_) => {
            life.done(engine, submit(THIRD_JOB)).await?;
            jobs.push(JobId::new(THIRD_JOB));
        }
    }
    while jobs.iter().any(|job| !is_over(engine, job.uuid())) {
        life.render(engine).await?;
    }
    Ok(jobs)
}
