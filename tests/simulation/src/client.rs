// SPDX-License-Identifier: GPL-3.0-or-later
//! Whoever submits jobs: with an idempotency key, again and again until it is answered, each time
//! as a newly compiled job. Two answers for one key must name one job.

use std::ops::Range;

use tablao_core::{
    Actor, ActorKind, Answer as Decided, JobId, JobStatus, Request, ShotId, TaskId, Timestamp, Via,
    decide::Asker,
    detail::{JobDetail, TasksDetail},
    entity::{FailPolicy, JobFacts, JobSource, Limits, Requirements},
    event::NewTask,
    frames::FrameRanges,
    request::{NewJob, TaskChunk},
};
use tablao_net::engine::Ask;
use uuid::Uuid;

use crate::message::{Answer, Call, Message, Node};
use crate::plan::{Plan, S, Submission};
use crate::world::{Process, Timer, World, manager_id};

/// A submission and what became of it.
pub struct Submitted {
    /// What is submitted.
    pub wanted: Submission,
    /// The job that an answer named.
    pub job: Option<JobId>,
    tries: u32,
    calls: Vec<u64>,
}

/// The client.
pub struct Client {
    /// What every process has.
    pub process: Process,
    /// Its submissions.
    pub submitted: Vec<Submitted>,
}

impl Client {
    /// The client of a plan.
    pub fn new(plan: &Plan) -> Self {
        let submitted = plan.submissions.iter().map(|&wanted| Submitted {
            wanted,
            job: None,
            tries: 0,
            calls: Vec::new(),
        });
        Self {
            process: Process::default(),
            submitted: submitted.collect(),
        }
    }
}

/// A request as a person makes it.
pub fn by_a_person(request: Request) -> Ask {
    let actor = Actor {
        kind: ActorKind::User,
        id: None,
        via: Via::Cli,
    };
    Ask::new(request, actor, Asker::default())
}

/// Name and idempotency key of a submission.
pub fn name_of(number: usize) -> String {
    format!("job {number}")
}

/// Tasks of these numbers, of which the last one waits for all others and for some that are there,
/// as a video does.
pub fn chunk_of(job: JobId, numbers: Range<u32>, there: &[u32]) -> TaskChunk {
    let task = |number: u32| NewTask {
        uuid: TaskId::new(Uuid::from_u128(
            job.uuid().as_u128() + u128::from(number) + 1,
        )),
        task_type: 0,
        priority: 50,
        depends_on: if number + 1 == numbers.end {
            let others = numbers.start..number;
            there.iter().copied().chain(others).collect()
        } else {
            Vec::new()
        },
        frames: FrameRanges::default(),
        steps_total: 2,
        content_hash: [1; 32],
    };
    TaskChunk {
        first_number: numbers.start,
        types: vec!["render".to_owned()],
        tasks: numbers.clone().map(task).collect(),
        detail: TasksDetail {
            names: (numbers.clone())
                .map(|task| format!("task {task}"))
                .collect(),
            command_lists: vec!["[]".to_owned()],
            commands_of: numbers.map(|_| 0).collect(),
        },
    }
}

/// The job as compiled at this try.
fn compiled(number: usize, tries: u32, tasks: u32, manager: usize) -> NewJob {
    let uuid = (number as u128 + 1) << 64 | u128::from(tries) << 32;
    let id = JobId::new(Uuid::from_u128(uuid));
    let chunk = chunk_of(id, 0..tasks, &[]);
    NewJob {
        facts: JobFacts {
            job: id,
            job_type: "simulated".to_owned(),
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
            manager: manager_id(manager),
            job_epoch: 1,
            source: JobSource::Submitted,
            tasks_expected: tasks,
            created: Timestamp::from_micros(1_700_000_000_000_000),
        },
        detail: JobDetail {
            name: name_of(number),
            ..JobDetail::default()
        },
        chunk,
    }
}

impl World {
    /// The client begins.
    pub fn client_start(&mut self) {
        for number in 0..self.client.submitted.len() {
            let at = self.client.submitted[number].wanted.at;
            self.set(Node::Client, at, Timer::Submit(number));
        }
    }

    /// Time to submit, or to try again.
    pub fn client_timer(&mut self, timer: Timer) -> Result<(), String> {
        if let Timer::Submit(number) = timer {
            self.submit(number);
        }
        Ok(())
    }

    fn submit(&mut self, number: usize) {
        // Sometimes an answered submission is made again all the same.
        let again = self.client.submitted[number].job.is_some();
        if again && (self.client.submitted[number].tries > 12 || self.now > 150 * S) {
            return;
        }
        let id = self.next_call();
        let submitted = &mut self.client.submitted[number];
        submitted.tries += 1;
        submitted.calls.push(id);
        let (wanted, tries) = (submitted.wanted, submitted.tries);
        let key = *blake3::hash(name_of(number).as_bytes()).as_bytes();
        let job = compiled(number, tries, wanted.tasks, wanted.to.unwrap_or(0));
        let (to, call) = match wanted.to {
            Some(manager) => {
                let request = Request::SubmitJob { job: Box::new(job) };
                let ask = Ask {
                    key: Some(key),
                    body: tablao_core::event::Body::Events,
                    ..by_a_person(request)
                };
                (Node::Manager(manager), Call::Ask(Box::new(ask), 0))
            }
            None => (Node::Server(self.address), Call::Submit(Box::new(job), key)),
        };
        self.send(Node::Client, to, &Message::Call(id, Node::Client, call));
        let pause = if again { 20 * S } else { 4 * S };
        self.set(Node::Client, pause, Timer::Submit(number));
    }

    /// An answer to a submission.
    pub fn client_answer(&mut self, id: u64, answer: Answer) -> Result<(), String> {
        let Answer::Reply(Ok(Decided::Job(job))) = answer else {
            return Ok(());
        };
        let Some(number) =
            (self.client.submitted.iter()).position(|submitted| submitted.calls.contains(&id))
        else {
            return Ok(());
        };
        let forgets = self.may_forget(number);
        let submitted = &mut self.client.submitted[number];
        match submitted.job {
            Some(known) if known != job && !forgets => Err(format!(
                "the key of {} stands for two jobs: {known} and {job}",
                name_of(number)
            )),
            _ => {
                submitted.job = Some(job);
                self.note(|| format!("{} was answered as {job}", name_of(number)));
                Ok(())
            }
        }
    }
}
