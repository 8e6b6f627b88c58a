// SPDX-License-Identifier: GPL-3.0-or-later
//! What the tests of the core share: a farm that is ridden through `decide` and `apply`, and
//! short ways to say a request. It holds no expectations; those belong to the tests.

#![allow(
    dead_code,
    reason = "each test binary includes this file and uses another part of it"
)]

pub(crate) mod random;
pub(crate) mod samples;
pub(crate) mod seeds;

use std::collections::BTreeMap;

use tablao_core::{
    Actor, Answer, Detail, Event, Farm, JobId, JobStatus, ManagerId, Recorded, Refusal, Request,
    ShotId, TagId, TaskId, TaskStatus, Timestamp, Via, WorkerId, WorkerStatus,
    decide::{Asker, Decided, Env, decision_record},
    detail::{JobDetail, TasksDetail, WorkerDetail},
    entity::{
        Attempt, FailPolicy, Job, JobFacts, JobSource, Limits, Protocol, Requirements, Task, Worker,
    },
    event::{Body, NewTask},
    frames::FrameRanges,
    kind::DigestRole,
    request::{NewJob, Report, TaskChunk},
};
use uuid::Uuid;

/// The moment at which every test begins.
pub(crate) const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

pub(crate) fn job_id(n: u128) -> JobId {
    JobId::new(Uuid::from_u128(0x10_0000 + n))
}

pub(crate) fn task_id(job: JobId, number: u32) -> TaskId {
    TaskId::new(Uuid::from_u128(
        (job.uuid().as_u128() << 32) + u128::from(number),
    ))
}

pub(crate) fn worker_id(n: u128) -> WorkerId {
    WorkerId::new(Uuid::from_u128(0x20_0000 + n))
}

pub(crate) fn tag_id(n: u128) -> TagId {
    TagId::new(Uuid::from_u128(0x30_0000 + n))
}

pub(crate) fn manager_id(n: u128) -> ManagerId {
    ManagerId::new(Uuid::from_u128(0x40_0000 + n))
}

/// A task to be submitted: type, priority, numbers it depends on.
pub(crate) type TaskPlan<'a> = (&'a str, i32, &'a [u32]);

/// Facts of a job of `tasks` tasks that asks for nothing special.
pub(crate) fn facts(job: JobId, tasks: usize) -> JobFacts {
    JobFacts {
        job,
        job_type: "echo-sleep-test".to_owned(),
        script_hash: [7; 32],
        generation: 1,
        priority: 50,
        tag: None,
        project: None,
        user: None,
        shot: ShotId::of_job(job),
        requires: Requirements::default(),
        limits: Limits::default(),
        not_before: None,
        depends_on_jobs: Vec::new(),
        fail_policy: FailPolicy::default(),
        initial: JobStatus::Queued,
        manager: manager_id(1),
        job_epoch: 1,
        source: JobSource::Submitted,
        tasks_expected: u32::try_from(tasks).expect("tests submit few tasks"),
        created: START,
    }
}

/// A run of tasks that starts at number `first`.
pub(crate) fn chunk(job: JobId, first: u32, plans: &[TaskPlan<'_>]) -> TaskChunk {
    let mut types: Vec<String> = Vec::new();
    let tasks = (first..)
        .zip(plans)
        .map(|(number, &(task_type, priority, depends_on))| {
            let known = types.iter().position(|name| name == task_type);
            let task_type = known.unwrap_or_else(|| {
                types.push(task_type.to_owned());
                types.len() - 1
            });
            NewTask {
                uuid: task_id(job, number),
                task_type: u16::try_from(task_type).expect("tests use few types"),
                priority,
                depends_on: depends_on.to_vec(),
                frames: FrameRanges::from_numbers([i32::try_from(number).expect("few tasks")]),
                steps_total: 10,
                content_hash: [3; 32],
            }
        })
        .collect();
    TaskChunk {
        first_number: first,
        types,
        tasks,
        detail: TasksDetail {
            names: plans.iter().map(|_| "a task".to_owned()).collect(),
            command_lists: vec!["[]".to_owned()],
            commands_of: vec![0; plans.len()],
        },
    }
}

pub(crate) fn new_job(facts: JobFacts, chunk: TaskChunk) -> Box<NewJob> {
    Box::new(NewJob {
        facts,
        detail: JobDetail {
            name: "a job".to_owned(),
            ..JobDetail::default()
        },
        chunk,
    })
}

/// A report that says only who and about what.
pub(crate) fn report(worker: WorkerId, task: TaskId) -> Report {
    Report {
        worker,
        task,
        attempt: None,
        status: None,
        activity: None,
        steps: None,
        frames: Vec::new(),
        failure: None,
        peak_memory_bytes: None,
    }
}

/// What a request got, with the events that it caused.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) answer: Answer,
    pub(crate) events: Vec<Event>,
}

/// A farm that is driven through requests, as the shell drives it.
#[derive(Default)]
pub(crate) struct Ride {
    pub(crate) farm: Farm,
    pub(crate) now: Timestamp,
    /// Everything folded in, in order.
    pub(crate) records: Vec<Recorded>,
    /// Idempotency key of the next request.
    pub(crate) key: Option<[u8; 32]>,
    /// Check the digest against the entities, and its role, at every event.
    pub(crate) watch_digest: bool,
    /// How often each kind was folded in.
    pub(crate) kinds: BTreeMap<u16, u32>,
}

impl Ride {
    pub(crate) fn new() -> Self {
        Self {
            farm: Farm::new(),
            now: START,
            ..Self::default()
        }
    }

    /// Decides a request and folds in what came of it. What changes nothing is not recorded.
    pub(crate) fn ask(&mut self, request: &Request) -> Result<Heard, Refusal> {
        let env = Env {
            now: self.now,
            decision: self.farm.position().next(),
            seed: 0,
            key: self.key.take(),
        };
        let result = self.farm.decide(request, &env);
        if matches!(&result, Ok(decided) if decided.events.is_empty()) {
            return result.map(|Decided { answer, .. }| Heard {
                answer,
                events: Vec::new(),
            });
        }
        let (event, detail) = decision_record(
            request,
            &env,
            Actor::anonymous(Via::Api),
            &Asker::default(),
            result.as_ref(),
            Body::Inline,
        );
        self.fold(event, detail);
        let decided = result?;
        for (event, detail) in &decided.events {
            self.fold(event.clone(), detail.clone());
        }
        Ok(Heard {
            answer: decided.answer,
            events: decided.events.into_iter().map(|(event, _)| event).collect(),
        })
    }

    /// A request that must be granted.
    pub(crate) fn granted(&mut self, request: &Request) -> Heard {
        self.ask(request)
            .unwrap_or_else(|refusal| panic!("{request:?} was refused: {refusal}"))
    }

    /// Folds one event in at the next position.
    pub(crate) fn fold(&mut self, event: Event, detail: Detail) {
        let (_, _, detail_hash) = tablao_core::codec::encode(&event, &detail);
        let recorded = Recorded {
            lsn: self.farm.position().next(),
            at: self.now,
            event,
            detail,
            detail_hash,
        };
        let before = self.farm.digest();
        self.farm.apply(&recorded);
        let kind = recorded.event.kind();
        *self.kinds.entry(kind.number).or_default() += 1;
        if self.watch_digest {
            let after = self.farm.digest();
            assert_eq!(
                after,
                self.farm.recompute_digest(),
                "the digest kept along differs from the entities after {recorded:?}"
            );
            assert_eq!(
                before != after,
                kind.digest == DigestRole::Changes,
                "{} is listed as {:?}: {recorded:?}",
                kind.name,
                kind.digest
            );
        }
        self.records.push(recorded);
    }

    pub(crate) fn wait_ms(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
    }

    /// Submits a job of these tasks and gives its id.
    pub(crate) fn submit(&mut self, n: u128, plans: &[TaskPlan<'_>]) -> JobId {
        let job = job_id(n);
        let facts = facts(job, plans.len());
        self.granted(&Request::SubmitJob {
            job: new_job(facts, chunk(job, 0, plans)),
        });
        job
    }

    /// Registers a worker and brings it to `awake`.
    pub(crate) fn worker(&mut self, n: u128, protocol: Protocol, types: &[&str]) -> WorkerId {
        let worker = worker_id(n);
        let task_types: Vec<String> = types.iter().map(|&name| name.to_owned()).collect();
        self.granted(&Request::RegisterWorker {
            worker,
            platform: "linux".to_owned(),
            task_types: task_types.clone(),
            detail: WorkerDetail::default(),
        });
        self.sign_on(worker, protocol, types, &[]);
        self.granted(&Request::WorkerStateChanged {
            worker,
            status: WorkerStatus::Awake,
        });
        worker
    }

    pub(crate) fn sign_on(
        &mut self,
        worker: WorkerId,
        protocol: Protocol,
        types: &[&str],
        held: &[tablao_core::AttemptId],
    ) -> Heard {
        self.granted(&Request::SignOn {
            worker,
            task_types: types.iter().map(|&name| name.to_owned()).collect(),
            can_restart: false,
            protocol,
            slots: 1,
            held: held.to_vec(),
            detail: WorkerDetail::default(),
        })
    }

    /// The task that a worker is given, or nothing.
    pub(crate) fn next(&mut self, worker: WorkerId) -> Option<TaskId> {
        match self.granted(&Request::AskForTask { worker }).answer {
            Answer::Assigned { task, .. } => Some(task),
            Answer::NoTask => None,
            other => panic!("a worker that asks is not answered {other:?}"),
        }
    }

    /// A worker says that a task has this status; it names no attempt.
    pub(crate) fn says(&mut self, worker: WorkerId, task: TaskId, status: TaskStatus) -> Heard {
        self.granted(&Request::Report {
            report: Box::new(Report {
                status: Some(status),
                ..report(worker, task)
            }),
        })
    }

    /// A worker starts a task and ends it with this status.
    pub(crate) fn runs(&mut self, worker: WorkerId, task: TaskId, end: TaskStatus) -> Heard {
        self.says(worker, task, TaskStatus::Active);
        self.says(worker, task, end)
    }

    pub(crate) fn set_job(&mut self, job: JobId, status: JobStatus) -> Result<Heard, Refusal> {
        self.ask(&Request::SetJobStatus {
            job,
            status,
            reason: "a test wants it".to_owned(),
        })
    }

    pub(crate) fn set_task(&mut self, task: TaskId, status: TaskStatus) -> Result<Heard, Refusal> {
        self.ask(&Request::SetTaskStatus {
            task,
            status,
            reason: "a test wants it".to_owned(),
        })
    }

    pub(crate) fn job(&self, job: JobId) -> &Job {
        &self.farm.jobs()[&job]
    }

    pub(crate) fn job_status(&self, job: JobId) -> JobStatus {
        self.job(job).state.status
    }

    pub(crate) fn task(&self, task: TaskId) -> Task<'_> {
        self.farm.task(task).expect("the test made it").1
    }

    /// Statuses of a job's tasks, in order.
    pub(crate) fn statuses(&self, job: JobId) -> Vec<TaskStatus> {
        self.job(job).tasks.iter().map(|task| task.status).collect()
    }

    pub(crate) fn worker_state(&self, worker: WorkerId) -> &Worker {
        &self.farm.workers()[&worker]
    }

    /// The live attempt of a task.
    pub(crate) fn attempt(&self, task: TaskId) -> &Attempt {
        let id = self.task(task).attempt.expect("the task is being run");
        &self.farm.attempts()[&id]
    }
}
