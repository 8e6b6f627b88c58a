// SPDX-License-Identifier: GPL-3.0-or-later
//! A Worker, modelled after the real one: signs on, asks, says that it starts and waits until
//! that is taken, renders, publishes without overwriting, and reports in order from an outbox
//! that outlives it. Its lease runs on its own clock.

use std::collections::{BTreeMap, VecDeque};

use tablao_core::{
    Actor, ActorKind, Answer as Decided, AttemptId, JobId, Refusal, Request, ShotId, TaskId,
    TaskStatus, Timestamp, Via, WorkerId, WorkerStatus,
    decide::Asker,
    detail::{FrameDetail, WorkerDetail},
    entity::{FrameKey, Protocol},
    request::{FrameReport, Report},
};
use tablao_net::engine::Ask;
use uuid::Uuid;

use crate::message::{Answer, Call, Message, Node};
use crate::plan::{MS, S};
use crate::world::{Process, Timer, World};

/// The lease of the farm's default policy, less the margin that a Worker keeps.
const STOP_AFTER: u64 = 25 * S;
/// Frames of a task.
const FRAMES: u32 = 2;

/// Frames under their final names: per site, job, task and frame, with the file's hash.
pub type Storage = BTreeMap<(usize, JobId, u32, u32), [u8; 32]>;

/// Where a Worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Registering,
    SigningOn,
    TellingAwake,
    Asking,
    Starting,
    Rendering,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    attempt: AttemptId,
    job: JobId,
    task: TaskId,
    number: u32,
    frame: u32,
    stop_at: u64,
}

/// A Worker.
pub struct Worker {
    /// What every process has.
    pub process: Process,
    /// Its Manager.
    pub manager: usize,
    id: WorkerId,
    phase: Phase,
    run: Option<Run>,
    /// Reports that were not taken yet; on disk.
    outbox: VecDeque<Report>,
    /// The call of the loop, and when it was sent.
    call: Option<(u64, u64)>,
    /// The call of the sender.
    sending: Option<(u64, u64)>,
    /// The question whether the task may run on.
    asking: Option<(u64, u64)>,
}

impl Worker {
    /// All Workers of so many Managers.
    pub fn all(managers: usize, each: usize) -> Vec<Self> {
        (0..managers * each)
            .map(|n| Self {
                process: Process::default(),
                manager: n / each,
                id: WorkerId::new(Uuid::from_u128(0xd000 + n as u128)),
                phase: Phase::Registering,
                run: None,
                outbox: VecDeque::new(),
                call: None,
                sending: None,
                asking: None,
            })
            .collect()
    }

    /// Its name to the farm.
    pub fn id(&self) -> WorkerId {
        self.id
    }

    /// It ends; the outbox is on disk.
    pub fn lose(&mut self) {
        self.run = None;
        self.call = None;
        self.sending = None;
        self.asking = None;
    }

    /// Attempts about which an end or a frame is still to be told.
    fn held(&self) -> Vec<AttemptId> {
        let mut held: Vec<AttemptId> = (self.outbox.iter())
            .filter(|report| {
                report.status == Some(TaskStatus::Completed) || !report.frames.is_empty()
            })
            .filter_map(|report| report.attempt)
            .collect();
        held.dedup();
        held
    }
}

fn ask_of(worker: WorkerId, request: Request) -> Ask {
    let actor = Actor {
        kind: ActorKind::Worker,
        id: Some(worker.uuid().into_bytes()),
        via: Via::Worker,
    };
    Ask::new(request, actor, Asker::default())
}

impl World {
    /// A Worker starts: it registers once, and signs on every time.
    pub fn worker_start(&mut self, n: usize) {
        let worker = &mut self.workers[n];
        if worker.phase != Phase::Registering {
            worker.phase = Phase::SigningOn;
        }
        self.go_on(n);
        self.send_report(n);
    }

    fn worker_call(&mut self, n: usize, call: Call, patience: u64) -> (u64, u64) {
        let id = self.next_call();
        let (node, to) = (Node::Worker(n), Node::Manager(self.workers[n].manager));
        self.send(node, to, &Message::Call(id, node, call));
        self.set(node, patience, Timer::Overdue(id));
        (id, self.now)
    }

    fn worker_ask(&mut self, n: usize, request: Request, wait_s: u64) -> (u64, u64) {
        let ask = ask_of(self.workers[n].id, request);
        let call = Call::Ask(Box::new(ask), wait_s);
        self.worker_call(n, call, (wait_s + 8) * S)
    }

    /// Says what belongs to the phase, if nothing is being said.
    fn go_on(&mut self, n: usize) {
        let worker = &self.workers[n];
        if worker.call.is_some() {
            return;
        }
        let id = worker.id;
        let task_types = vec!["render".to_owned()];
        let (request, wait_s) = match worker.phase {
            Phase::Registering => (
                Request::RegisterWorker {
                    worker: id,
                    platform: "linux".to_owned(),
                    task_types,
                    detail: WorkerDetail::default(),
                },
                0,
            ),
            Phase::SigningOn => (
                Request::SignOn {
                    worker: id,
                    task_types,
                    can_restart: false,
                    protocol: Protocol::Tablao,
                    slots: 1,
                    held: worker.held(),
                    detail: WorkerDetail::default(),
                },
                0,
            ),
            Phase::TellingAwake => (
                Request::WorkerStateChanged {
                    worker: id,
                    status: WorkerStatus::Awake,
                },
                0,
            ),
            // Everything is said before the next task is asked for.
            Phase::Asking if worker.outbox.is_empty() => (Request::AskForTask { worker: id }, 20),
            Phase::Asking | Phase::Starting | Phase::Rendering => return,
        };
        let call = self.worker_ask(n, request, wait_s);
        self.workers[n].call = Some(call);
    }

    /// The Manager answers.
    pub fn worker_answer(&mut self, n: usize, id: u64, answer: Answer) {
        let worker = &mut self.workers[n];
        let is = |waits: &mut Option<(u64, u64)>| match *waits {
            Some((call, sent)) if call == id => {
                *waits = None;
                Some(sent)
            }
            _ => None,
        };
        if let Some(sent) = is(&mut worker.call) {
            if let Answer::Reply(reply) = answer {
                self.loop_answered(n, reply, sent);
            }
        } else if let Some(sent) = is(&mut worker.sending) {
            if let Answer::Reply(reply) = answer {
                self.report_answered(n, reply, sent);
            }
        } else if let Some(sent) = is(&mut worker.asking)
            && let Answer::MayRun(may) = answer
            && let Some(run) = &mut worker.run
        {
            if may {
                run.stop_at = run.stop_at.max(sent + STOP_AFTER);
            } else {
                self.stop_run(n, false);
            }
        }
    }

    fn loop_answered(&mut self, n: usize, reply: Result<Decided, Refusal>, sent: u64) {
        let worker = &mut self.workers[n];
        let pause = match (worker.phase, reply) {
            (Phase::Registering, Ok(_)) => {
                worker.phase = Phase::SigningOn;
                0
            }
            (Phase::SigningOn, Ok(_)) => {
                worker.phase = Phase::TellingAwake;
                0
            }
            (Phase::TellingAwake, Ok(_)) => {
                worker.phase = Phase::Asking;
                0
            }
            (
                Phase::Asking,
                Ok(Decided::Assigned {
                    attempt,
                    job,
                    task,
                    number,
                }),
            ) => {
                let run = Run {
                    attempt,
                    job,
                    task,
                    number,
                    frame: 0,
                    stop_at: sent + STOP_AFTER,
                };
                self.begin(n, run);
                return;
            }
            (_, Err(Refusal::UnknownWorker { .. })) => {
                worker.phase = Phase::Registering;
                S
            }
            (_, Err(_)) => {
                worker.phase = Phase::SigningOn;
                S
            }
            (_, Ok(_)) => 100 * MS,
        };
        if pause == 0 {
            self.go_on(n);
        } else {
            self.set(Node::Worker(n), pause, Timer::Again(0));
        }
    }

    fn begin(&mut self, n: usize, run: Run) {
        self.note(|| format!("worker {n} is given task {} as {}", run.number, run.attempt));
        let worker = &mut self.workers[n];
        worker.run = Some(run);
        worker.phase = Phase::Starting;
        self.put(n, Some(TaskStatus::Active), Vec::new());
        // The Manager has to take the start in time.
        self.set(Node::Worker(n), 10 * S, Timer::Again(2));
    }

    fn put(&mut self, n: usize, status: Option<TaskStatus>, frames: Vec<FrameReport>) {
        let worker = &mut self.workers[n];
        let Some(run) = worker.run else {
            return;
        };
        worker.outbox.push_back(Report {
            worker: worker.id,
            task: run.task,
            attempt: Some(run.attempt),
            status,
            activity: None,
            steps: (!frames.is_empty()).then_some(run.frame),
            frames,
            failure: None,
            peak_memory_bytes: None,
        });
        self.send_report(n);
    }

    fn send_report(&mut self, n: usize) {
        let worker = &self.workers[n];
        if worker.sending.is_some() || worker.phase == Phase::Registering {
            return;
        }
        let Some(report) = worker.outbox.front().cloned() else {
            return;
        };
        let report = Box::new(report);
        let call = self.worker_ask(n, Request::Report { report }, 0);
        self.workers[n].sending = Some(call);
    }

    fn report_answered(&mut self, n: usize, reply: Result<Decided, Refusal>, sent: u64) {
        let worker = &mut self.workers[n];
        let Some(report) = worker.outbox.pop_front() else {
            return;
        };
        let is_current = worker
            .run
            .is_some_and(|run| Some(run.attempt) == report.attempt);
        match reply {
            Ok(Decided::Late) | Err(_) => {
                worker
                    .outbox
                    .retain(|other| other.attempt != report.attempt);
                if is_current {
                    self.stop_run(n, true);
                }
            }
            Ok(_) => {
                if let (true, Some(run)) = (is_current, &mut worker.run) {
                    run.stop_at = run.stop_at.max(sent + STOP_AFTER);
                }
                let begins = is_current
                    && worker.phase == Phase::Starting
                    && report.status == Some(TaskStatus::Active);
                if begins {
                    worker.phase = Phase::Rendering;
                    self.next_frame(n);
                    self.set(Node::Worker(n), 5 * S, Timer::Again(1));
                }
            }
        }
        self.send_report(n);
        self.go_on(n);
    }

    fn next_frame(&mut self, n: usize) {
        if let Some(run) = self.workers[n].run {
            let takes = self.chance.between(300 * MS, 7 * S);
            self.set(Node::Worker(n), takes, Timer::Frame(run.attempt.lsn.get()));
        }
    }

    fn frame_rendered(&mut self, n: usize) {
        let worker = &mut self.workers[n];
        let Some(run) = &mut worker.run else {
            return;
        };
        run.frame += 1;
        let run = *run;
        // No two renderings of a frame are alike; the first one under the final name stays.
        let fresh = *blake3::hash(&self.order_free_bytes(n, run)).as_bytes();
        let site = self.workers[n].manager;
        let place = (site, run.job, run.number, run.frame);
        let found = self.storage.contains_key(&place);
        let hash = *self.storage.entry(place).or_insert(fresh);
        let key = FrameKey {
            shot: ShotId::of_job(run.job),
            output: String::new(),
            view: String::new(),
            number: i32::try_from(run.number * 100 + run.frame).expect("a small number"),
        };
        let frame = FrameReport {
            key,
            detail: FrameDetail::default(),
            size: 100,
            hash,
            rendered_at: Timestamp::from_micros(self.now),
            render_ms: 5,
            samples: None,
            peak_memory_bytes: None,
            flags: 0,
            found,
        };
        self.put(n, None, vec![frame]);
        if run.frame < FRAMES {
            self.next_frame(n);
        } else {
            self.put(n, Some(TaskStatus::Completed), Vec::new());
            self.end_run(n);
        }
    }

    /// What makes a rendering unlike every other one.
    fn order_free_bytes(&self, n: usize, run: Run) -> Vec<u8> {
        format!("{n} {} {} {}", run.attempt, run.frame, self.now).into_bytes()
    }

    fn stop_run(&mut self, n: usize, forget: bool) {
        let worker = &mut self.workers[n];
        if let Some(run) = worker.run.filter(|_| forget) {
            worker
                .outbox
                .retain(|report| report.attempt != Some(run.attempt));
            // An answer that is still on its way is to a report that is gone.
            worker.sending = None;
            self.send_report(n);
        }
        self.note(|| format!("worker {n} stops its task"));
        self.end_run(n);
    }

    fn end_run(&mut self, n: usize) {
        let worker = &mut self.workers[n];
        worker.run = None;
        worker.asking = None;
        if matches!(worker.phase, Phase::Starting | Phase::Rendering) {
            worker.phase = Phase::Asking;
        }
        self.go_on(n);
    }

    /// A Worker's own clock has something for it.
    pub fn worker_timer(&mut self, n: usize, timer: Timer) {
        match timer {
            Timer::Overdue(id) => self.worker_overdue(n, id),
            Timer::Again(0) => {
                self.send_report(n);
                self.go_on(n);
            }
            Timer::Again(1) => self.ask_whether_it_may_run(n),
            Timer::Again(_) => {
                if self.workers[n].phase == Phase::Starting {
                    self.stop_run(n, true);
                }
            }
            Timer::Frame(attempt) => {
                let run = self.workers[n].run;
                if run.is_some_and(|run| run.attempt.lsn.get() == attempt) {
                    self.frame_rendered(n);
                }
            }
            Timer::Tick | Timer::Note(_) | Timer::Submit(_) => {}
        }
    }

    fn worker_overdue(&mut self, n: usize, id: u64) {
        let worker = &mut self.workers[n];
        let was = |waits: &mut Option<(u64, u64)>| {
            let was = waits.is_some_and(|(call, _)| call == id);
            if was {
                *waits = None;
            }
            was
        };
        if was(&mut worker.call) || was(&mut worker.sending) {
            self.set(Node::Worker(n), S, Timer::Again(0));
        } else {
            was(&mut worker.asking);
        }
    }

    fn ask_whether_it_may_run(&mut self, n: usize) {
        let worker = &self.workers[n];
        let Some(run) = worker.run.filter(|_| worker.phase == Phase::Rendering) else {
            return;
        };
        if self.now >= run.stop_at {
            self.stop_run(n, false);
            return;
        }
        if worker.asking.is_none() {
            let call = Call::MayRun(worker.id, run.task);
            let call = self.worker_call(n, call, 5 * S);
            self.workers[n].asking = Some(call);
        }
        let wait = (5 * S).min(run.stop_at - self.now);
        self.set(Node::Worker(n), wait, Timer::Again(1));
    }
}
