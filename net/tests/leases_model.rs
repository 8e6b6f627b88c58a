// SPDX-License-Identifier: GPL-3.0-or-later
//! Leases on a virtual clock: one worker talks, is silent, and its Manager restarts, as proptest
//! has it. A model of three numbers says when its attempt lapses; the real engine must agree.
//! And asks that nobody reads any more, on the same engine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tablao_core::{
    Answer, AttemptId, JobId, ManagerId, Request, TaskId, TaskStatus, Timestamp, WorkerId,
    WorkerStatus,
    detail::{JobDetail, TasksDetail, WorkerDetail},
    entity::{FailPolicy, JobFacts, JobSource, Limits, Policy, Protocol, Requirements},
    event::NewTask,
    request::{NewJob, Report, TaskChunk},
};
use tablao_journal::{Authority, FileStore, JournalId, MemoryFiles, OpenOptions};
use tablao_net::engine::{
    Ask, EngineOptions, Heard, Reply,
    stepped::{Moment, SteppedEngine},
};
use tokio::sync::oneshot;
use uuid::Uuid;

const MANAGER: ManagerId = ManagerId::new(Uuid::from_u128(1));
const WORKER: WorkerId = WorkerId::new(Uuid::from_u128(2));
const JOB: JobId = JobId::new(Uuid::from_u128(3));
const TASK: TaskId = TaskId::new(Uuid::from_u128(4));
const GRACE_S: u64 = 10;

#[derive(Clone, Debug)]
enum Step {
    /// Time passes, with a look for silence at every second.
    Wait(u64),
    /// The worker is heard of.
    Heard,
    /// The Manager restarts after so many seconds.
    Restart(u64),
    /// The Manager's wall clock is set, by so many seconds.
    ClockJump(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u64..25).prop_map(Step::Wait),
        3 => Just(Step::Heard),
        1 => (1_u64..60).prop_map(Step::Restart),
        1 => (-4000_i64..4000).prop_map(Step::ClockJump),
    ];
    prop::collection::vec(step, 1..25)
}

struct Farm {
    files: MemoryFiles,
    engine: Option<SteppedEngine>,
    base: Instant,
    now_s: u64,
    clock_off_s: i64,
}

impl Farm {
    fn moment(&self) -> Moment {
        let wall = (1_700_000_000 + self.now_s).saturating_add_signed(self.clock_off_s);
        Moment {
            monotonic: self.base + Duration::from_secs(self.now_s),
            wall: Timestamp::from_micros(wall * 1_000_000),
            seed: self.now_s,
        }
    }

    fn start(&mut self) {
        let options = EngineOptions {
            journal_dir: "journal".into(),
            checkpoint_dir: "checkpoints".into(),
            authority: Authority::Site,
            manager: MANAGER,
            grace: Duration::from_secs(GRACE_S),
        };
        let files: Arc<dyn FileStore> = Arc::new(self.files.clone());
        let open = OpenOptions::new(JournalId([9; 16]), 1);
        let opened = SteppedEngine::open(files, &open, &options, self.moment());
        self.engine = Some(opened.expect("it recovers").0);
    }

    fn engine(&mut self) -> &mut SteppedEngine {
        self.engine.as_mut().expect("it runs")
    }

    fn ask(&mut self, request: Request) -> Answer {
        let moment = self.moment();
        let engine = self.engine();
        let mut answer = engine
            .ask(moment, Ask::system(request), Duration::ZERO)
            .expect("the engine stands");
        let waiting = engine.waiting();
        engine.commit(waiting).expect("memory does not fail");
        answer.try_recv().expect("it is durable").expect("granted")
    }

    fn sign_on(&mut self) {
        self.ask(Request::SignOn {
            worker: WORKER,
            task_types: vec!["render".to_owned()],
            can_restart: false,
            protocol: Protocol::Tablao,
            slots: 1,
            held: Vec::new(),
            detail: WorkerDetail::default(),
        });
        self.ask(Request::WorkerStateChanged {
            worker: WORKER,
            status: WorkerStatus::Awake,
        });
    }

    /// Asks for work and waits; what is returned is the connection.
    fn ask_patiently(&mut self) -> oneshot::Receiver<Reply> {
        let moment = self.moment();
        let ask = Ask::system(Request::AskForTask { worker: WORKER });
        let patience = Duration::from_secs(50);
        let connection = self.engine().ask(moment, ask, patience);
        connection.expect("the engine stands")
    }

    fn lives(&mut self, attempt: AttemptId) -> bool {
        self.engine().farm().attempts().contains_key(&attempt)
    }
}

fn job() -> Box<NewJob> {
    Box::new(NewJob {
        facts: JobFacts {
            job: JOB,
            job_type: "modelled".to_owned(),
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
            fail_policy: FailPolicy::default(),
            initial: tablao_core::JobStatus::Queued,
            manager: MANAGER,
            job_epoch: 1,
            source: JobSource::Submitted,
            tasks_expected: 1,
            created: Timestamp::from_micros(1),
        },
        detail: JobDetail::default(),
        chunk: TaskChunk {
            first_number: 0,
            types: vec!["render".to_owned()],
            tasks: [NewTask {
                uuid: TASK,
                task_type: 0,
                priority: 50,
                depends_on: Vec::new(),
                frames: tablao_core::frames::FrameRanges::default(),
                steps_total: 1,
                content_hash: [1; 32],
            }]
            .into_iter()
            .collect(),
            detail: TasksDetail {
                names: vec!["task".to_owned()],
                command_lists: vec!["[]".to_owned()],
                commands_of: vec![0],
            },
        },
    })
}

/// A farm whose worker is awake and has nothing to do.
fn awake() -> Farm {
    let mut farm = Farm {
        files: MemoryFiles::new(),
        engine: None,
        base: Instant::now(),
        now_s: 0,
        clock_off_s: 0,
    };
    farm.start();
    let policy = Policy {
        // The worker itself is never lost here: only its lease is looked at.
        worker_timeout_ms: 0,
        ..Policy::default()
    };
    farm.ask(Request::ApplyConfig {
        policy,
        text: String::new(),
    });
    farm.ask(Request::RegisterWorker {
        worker: WORKER,
        platform: "linux".to_owned(),
        task_types: vec!["render".to_owned()],
        detail: WorkerDetail::default(),
    });
    farm.sign_on();
    farm
}

/// A farm whose worker runs its one task.
fn running() -> (Farm, AttemptId) {
    let mut farm = awake();
    farm.ask(Request::SubmitJob { job: job() });
    let Answer::Assigned { attempt, .. } = farm.ask(Request::AskForTask { worker: WORKER }) else {
        panic!("there is a task");
    };
    farm.ask(Request::Report {
        report: Box::new(Report {
            worker: WORKER,
            task: TASK,
            attempt: Some(attempt),
            status: Some(TaskStatus::Active),
            activity: None,
            steps: None,
            frames: Vec::new(),
            failure: None,
            peak_memory_bytes: None,
        }),
    });
    (farm, attempt)
}

/// Protects a Worker that was started anew from waiting beside its own past: what the process
/// before had asked, over a connection whose end nobody saw, takes no task from it.
#[test]
fn a_task_goes_to_the_process_that_signed_on_last() {
    let mut farm = awake();
    let mut dead = farm.ask_patiently();
    farm.sign_on();
    let mut alive = farm.ask_patiently();
    farm.ask(Request::SubmitJob { job: job() });
    assert!(matches!(dead.try_recv(), Ok(Ok(Answer::NoTask))));
    assert!(matches!(alive.try_recv(), Ok(Ok(Answer::Assigned { .. }))));
}

proptest! {
    /// Protects running work and a lost worker's task alike: an attempt lapses at the first look
    /// after its lease has run out since it was heard of, a restart gives it the grace period and
    /// a whole lease, and no jump of the wall clock makes it sooner or later.
    #[test]
    fn an_attempt_lapses_when_the_model_says(steps in steps()) {
        let (mut farm, attempt) = running();
        let lease_s = u64::from(farm.engine().farm().policy().lease_ms) / 1000;
        // The model: silence counts from here.
        let mut counts_from = GRACE_S;
        let mut lives = true;
        for step in steps {
            match step {
                Step::Wait(seconds) => {
                    for _ in 0..seconds {
                        farm.now_s += 1;
                        let moment = farm.moment();
                        farm.engine().tick(moment).expect("the engine stands");
                        let waiting = farm.engine().waiting();
                        farm.engine().commit(waiting).expect("memory does not fail");
                        lives = lives && farm.now_s < counts_from + lease_s;
                        prop_assert_eq!(farm.lives(attempt), lives, "at {} s", farm.now_s);
                    }
                }
                Step::Heard => {
                    let heard = Heard { worker: WORKER, attempt: Some(attempt) };
                    let moment = farm.moment();
                    farm.engine().heard(moment, heard);
                    counts_from = counts_from.max(farm.now_s);
                }
                Step::Restart(down) => {
                    farm.engine = None;
                    farm.now_s += down;
                    farm.start();
                    counts_from = farm.now_s + GRACE_S;
                    prop_assert_eq!(farm.lives(attempt), lives, "a restart ends nothing");
                }
                Step::ClockJump(by) => farm.clock_off_s += by,
            }
        }
    }
}
