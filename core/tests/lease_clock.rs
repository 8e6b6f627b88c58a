// SPDX-License-Identifier: GPL-3.0-or-later
//! Leases on a virtual clock, against a plain model: workers that ask, report, fall silent and
//! lose answers, a Manager that looks at silence now and then and forgets it at a restart.
//!
//! The model knows who holds which task and when that worker was last heard. A worker believes
//! that it may go on until its last answer is as old as its lease, and nobody else may believe so
//! of the same task at the same time.

mod common;

use std::collections::BTreeMap;

use common::{Ride, report};
use proptest::{prelude::*, strategy::ValueTree as _};
use tablao_core::{
    Answer, AttemptId, Request, TaskId, TaskStatus as T, Timestamp, WorkerId, entity::Protocol,
    request::Report,
};

const WORKERS: usize = 3;
const TASKS: usize = 4;

/// Something that happens. A worker is named by its place.
#[derive(Clone, Debug)]
enum Step {
    Wait {
        millis: u64,
    },
    Ask {
        worker: usize,
        answer_lost: bool,
    },
    Say {
        worker: usize,
        word: Word,
        answer_lost: bool,
    },
    Look,
    Restart,
}

#[derive(Clone, Copy, Debug)]
enum Word {
    Active,
    Steps,
    Completed,
    GivenBack,
}

/// What a worker thinks that it holds.
#[derive(Clone, Copy, Debug)]
struct Hand {
    task: TaskId,
    attempt: AttemptId,
    until: Timestamp,
}

/// Who holds a task by the Manager's rules.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Holder {
    worker: WorkerId,
    attempt: AttemptId,
    started: bool,
    heard: Timestamp,
}

struct World {
    ride: Ride,
    workers: Vec<WorkerId>,
    tasks: Vec<TaskId>,
    hands: Vec<Option<Hand>>,
    holders: BTreeMap<TaskId, Holder>,
    done: Vec<TaskId>,
    /// Attempts that ended by their own report.
    closed: Vec<AttemptId>,
    lapses: u32,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let worker = 0..WORKERS;
    let word = prop_oneof![
        3 => Just(Word::Active),
        2 => Just(Word::Steps),
        1 => Just(Word::Completed),
        1 => Just(Word::GivenBack),
    ];
    // Around the bounds (10 s to start, 30 s of silence), to the millisecond.
    let millis = prop_oneof![
        2 => 0..15_000u64,
        1 => Just(9_999u64), 1 => Just(10_000), 1 => Just(1), 1 => Just(29_999), 1 => Just(30_000),
    ];
    let step = prop_oneof![
        3 => millis.prop_map(|millis| Step::Wait { millis }),
        3 => (worker.clone(), prop::bool::weighted(0.2))
            .prop_map(|(worker, answer_lost)| Step::Ask { worker, answer_lost }),
        5 => (worker, word, prop::bool::weighted(0.2))
            .prop_map(|(worker, word, answer_lost)| Step::Say { worker, word, answer_lost }),
        2 => Just(Step::Look),
        1 => Just(Step::Restart),
    ];
    prop::collection::vec(step, 1..120)
}

impl World {
    fn new() -> Self {
        let mut ride = Ride::new();
        let workers = (1..=WORKERS as u128)
            .map(|n| ride.worker(n, Protocol::Tablao, &["misc"]))
            .collect();
        let job = ride.submit(1, &[("misc", 50, &[][..]); TASKS]);
        let tasks = ride.job(job).tasks.iter().map(|task| task.uuid).collect();
        Self {
            ride,
            workers,
            tasks,
            hands: vec![None; WORKERS],
            holders: BTreeMap::new(),
            done: Vec::new(),
            closed: Vec::new(),
            lapses: 0,
        }
    }

    fn believes(&self, worker: usize) -> Option<Hand> {
        self.hands[worker].filter(|hand| self.ride.now < hand.until)
    }

    fn lease_from_now(&self, started: bool) -> Timestamp {
        let policy = self.ride.farm.policy();
        let millis = if started {
            policy.lease_ms
        } else {
            policy.start_within_ms
        };
        self.ride.now.plus_millis(millis.into())
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Wait { millis } => self.ride.wait_ms(millis),
            Step::Ask {
                worker,
                answer_lost,
            } => self.ask(worker, answer_lost),
            Step::Say {
                worker,
                word,
                answer_lost,
            } => self.say(worker, word, answer_lost),
            Step::Look => self.look(),
            // Who was heard when is not journalled: everybody gets a grace from here.
            Step::Restart => {
                let now = self.ride.now;
                self.holders
                    .values_mut()
                    .for_each(|holder| holder.heard = now);
            }
        }
    }

    fn ask(&mut self, worker: usize, answer_lost: bool) {
        // A worker that still runs something asks for nothing else.
        if self.believes(worker).is_some() {
            return;
        }
        let id = self.workers[worker];
        let held = self.holders.iter().find(|(_, holder)| holder.worker == id);
        let free = |task: &&TaskId| !self.holders.contains_key(*task) && !self.done.contains(*task);
        let right = held
            .map(|(task, _)| *task)
            .or(self.tasks.iter().find(free).copied());
        let again = held.map(|(_, holder)| holder.attempt);
        let answer = self
            .ride
            .granted(&Request::AskForTask { worker: id })
            .answer;
        let Answer::Assigned { attempt, task, .. } = answer else {
            assert_eq!(right, None, "there was something to do");
            return;
        };
        assert_eq!(
            Some(task),
            right,
            "its own task again, or the first that is free"
        );
        assert!(
            again.is_none_or(|again| again == attempt),
            "the same attempt again"
        );
        let now = self.ride.now;
        let holder = self.holders.entry(task).or_insert(Holder {
            worker: id,
            attempt,
            started: false,
            heard: now,
        });
        holder.heard = now;
        let started = holder.started;
        if !answer_lost {
            let until = self.lease_from_now(started);
            self.hands[worker] = Some(Hand {
                task,
                attempt,
                until,
            });
        }
    }

    /// A worker may say something late: it is the Manager that must not listen.
    fn say(&mut self, worker: usize, word: Word, answer_lost: bool) {
        let Some(hand) = self.hands[worker] else {
            return;
        };
        let id = self.workers[worker];
        let (status, steps) = match word {
            Word::Active => (Some(T::Active), None),
            Word::Steps => (None, Some(5)),
            Word::Completed => (Some(T::Completed), None),
            Word::GivenBack => (Some(T::Queued), None),
        };
        let before = self.ride.farm.digest();
        let heard = self.ride.granted(&Request::Report {
            report: Box::new(Report {
                attempt: Some(hand.attempt),
                status,
                steps,
                ..report(id, hand.task)
            }),
        });
        let holds = (self.holders.get(&hand.task))
            .is_some_and(|holder| (holder.worker, holder.attempt) == (id, hand.attempt));
        if !holds {
            assert_eq!(
                self.ride.farm.digest(),
                before,
                "a late word changes nothing"
            );
            // The report that ended an attempt may come again; it is answered as before.
            let right = if self.closed.contains(&hand.attempt) {
                Answer::Done
            } else {
                Answer::Late
            };
            assert_eq!(heard.answer, right, "who does not hold the task is told so");
            if !answer_lost {
                self.hands[worker] = None;
            }
            return;
        }
        assert_eq!(heard.answer, Answer::Done, "the holder's word counts");
        let ended = matches!(word, Word::Completed | Word::GivenBack);
        if ended {
            self.holders.remove(&hand.task);
            if matches!(word, Word::Completed) {
                self.done.push(hand.task);
                self.closed.push(hand.attempt);
            }
            // It has stopped whether or not it hears the answer; it may only say so again.
            let until = self.ride.now;
            self.hands[worker] = answer_lost.then_some(Hand { until, ..hand });
            return;
        }
        let now = self.ride.now;
        if let Some(holder) = self.holders.get_mut(&hand.task) {
            holder.started = true;
            holder.heard = now;
        }
        if !answer_lost {
            let until = self.lease_from_now(true);
            self.hands[worker] = Some(Hand { until, ..hand });
        }
    }

    /// The Manager looks who has been silent for too long.
    fn look(&mut self) {
        let (now, policy) = (self.ride.now, self.ride.farm.policy().clone());
        let evidence = (self.holders.values())
            .map(|holder| (holder.attempt, holder.heard))
            .collect();
        self.ride.granted(&Request::LapseAttempts { evidence });
        let before = self.holders.len();
        self.holders.retain(|_, holder| {
            let silent_ms = (now.micros() - holder.heard.micros()) / 1000;
            let bound_ms = if holder.started {
                policy.lease_ms
            } else {
                policy.start_within_ms
            };
            silent_ms < u64::from(bound_ms)
        });
        self.lapses += u32::try_from(before - self.holders.len()).expect("few tasks");
    }

    fn check(&self) {
        let live: BTreeMap<AttemptId, WorkerId> = (self.ride.farm.attempts().values())
            .map(|attempt| (attempt.id, attempt.worker))
            .collect();
        let right: BTreeMap<AttemptId, WorkerId> = (self.holders.values())
            .map(|holder| (holder.attempt, holder.worker))
            .collect();
        assert_eq!(live, right, "who holds what");
        for task in &self.tasks {
            let status = self.ride.task(*task).status;
            let right = match (self.holders.contains_key(task), self.done.contains(task)) {
                (true, _) => T::Active,
                (false, true) => T::Completed,
                (false, false) => T::Queued,
            };
            assert_eq!(status, right, "where a task stands");
            let believers = (0..WORKERS)
                .filter_map(|worker| self.believes(worker))
                .filter(|hand| hand.task == *task);
            assert!(believers.count() <= 1, "two workers run one task");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Protects one frame from two workers, and running work from an early end: at every moment
    /// the farm's attempts are those of the model, silence ends them at its bound and not before,
    /// a word that comes too late changes nothing, and no two workers believe in one task.
    #[test]
    fn leases_are_as_a_plain_model_says(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            world.check();
        }
    }
}

/// Protects the test above: its histories do contain lapses, late words and finished tasks.
#[test]
fn the_histories_hold_what_they_are_about() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let (mut lapses, mut done) = (0, 0);
    for _ in 0..64 {
        let tree = steps()
            .new_tree(&mut runner)
            .expect("steps can always be made");
        let mut world = World::new();
        for step in &tree.current() {
            world.take(step);
        }
        lapses += world.lapses;
        done += world.done.len();
    }
    assert!(
        lapses > 50 && done > 50,
        "{lapses} lapses, {done} tasks done"
    );
}
