// SPDX-License-Identifier: GPL-3.0-or-later
//! Tasks that a worker holds while it runs another one: claimed, begun, given back, taken back.

mod common;

use common::{Ride, report, task_id};
use tablao_core::{
    AttemptId, Request, TaskId, TaskStatus as T, WorkerId, WorkerStatus,
    detail::WorkerDetail,
    entity::{AttemptState, Protocol},
    event::{AttemptOutcome, Event},
};

const PLANS: [common::TaskPlan<'static>; 3] = [
    ("blender", 50, &[]),
    ("blender", 50, &[]),
    ("blender", 50, &[]),
];

/// A worker of ours with room for so many attempts.
fn worker(ride: &mut Ride, n: u128, room: u8) -> WorkerId {
    let worker = ride.worker(n, Protocol::Tablao, &["blender"]);
    ride.granted(&Request::SignOn {
        worker,
        task_types: vec!["blender".to_owned()],
        can_restart: false,
        protocol: Protocol::Tablao,
        slots: room,
        held: Vec::new(),
        detail: WorkerDetail::default(),
    });
    ride.granted(&Request::WorkerStateChanged {
        worker,
        status: WorkerStatus::Awake,
    });
    worker
}

/// A report with the attempt in it, as our worker sends one.
fn says(ride: &mut Ride, worker: WorkerId, task: TaskId, attempt: AttemptId, status: T) -> bool {
    let mut report = report(worker, task);
    report.attempt = Some(attempt);
    report.status = Some(status);
    let heard = ride.granted(&Request::Report {
        report: Box::new(report),
    });
    heard.answer == tablao_core::Answer::Done
}

/// Protects workers without dead time: while one task runs the next is theirs, once, and stays
/// so when the first has ended.
#[test]
fn a_task_is_claimed_while_another_runs() {
    let mut ride = Ride::new();
    let hut = worker(&mut ride, 1, 3);
    let job = ride.submit(1, &PLANS);
    let [one, two] = [0, 1].map(|number| task_id(job, number));
    assert_eq!(ride.next(hut), Some(one));
    let first = ride.attempt(one).id;
    assert!(says(&mut ride, hut, one, first, T::Active));
    assert_eq!(ride.next(hut), Some(two));
    let second = ride.attempt(two).id;
    // The answer got lost: it is the same attempt, not a third task.
    assert_eq!(ride.next(hut), Some(two));
    assert_eq!(ride.attempt(two).id, second);
    assert!(says(&mut ride, hut, one, first, T::Completed));
    assert_eq!(ride.attempt(two).state, AttemptState::Assigned);
    assert!(says(&mut ride, hut, two, second, T::Active));
    assert_eq!(ride.attempt(two).state, AttemptState::Running);
}

/// Protects idle workers from watching a queue of one: what another holds and has not begun is
/// theirs, the late start is refused, and no task has two attempts.
#[test]
fn who_has_nothing_to_do_takes_it_back() {
    let mut ride = Ride::new();
    let (hut, barn) = (worker(&mut ride, 1, 3), worker(&mut ride, 2, 3));
    let job = ride.submit(1, &PLANS[..2]);
    let [one, two] = [0, 1].map(|number| task_id(job, number));
    assert_eq!(ride.next(hut), Some(one));
    let first = ride.attempt(one).id;
    // Not begun, but nothing is before it: it is not held, it is about to begin.
    assert_eq!(ride.next(barn), Some(two));
    let second = ride.attempt(two).id;
    assert!(says(&mut ride, barn, two, second, T::Queued));
    assert!(says(&mut ride, hut, one, first, T::Active));
    assert_eq!(ride.next(hut), Some(two));
    let held = ride.attempt(two).id;

    let heard = ride.granted(&Request::AskForTask { worker: barn });
    let ended = heard.events.iter().find_map(|event| match event {
        Event::AttemptEnded(ended) => Some((ended.attempt, ended.outcome)),
        _ => None,
    });
    assert_eq!(ended, Some((held, AttemptOutcome::Returned)));
    assert_eq!(ride.attempt(two).worker, barn);
    assert!(
        !says(&mut ride, hut, two, held, T::Active),
        "it comes too late"
    );
    assert_eq!(ride.attempt(two).worker, barn);
    // Who runs a task takes none away, and what has begun stays.
    let taken = ride.attempt(two).id;
    assert!(says(&mut ride, barn, two, taken, T::Active));
    assert_eq!(ride.next(hut), None);
    assert_eq!(ride.next(barn), None);
}

/// Protects against taking a task away for nothing: the one that asks has to be able to run it.
#[test]
fn it_is_not_taken_for_somebody_who_may_not_run_it() {
    let mut ride = Ride::new();
    let hut = worker(&mut ride, 1, 3);
    let cook = ride.worker(2, Protocol::Tablao, &["ffmpeg"]);
    let job = ride.submit(1, &PLANS[..2]);
    let [one, two] = [0, 1].map(|number| task_id(job, number));
    ride.next(hut);
    let first = ride.attempt(one).id;
    assert!(says(&mut ride, hut, one, first, T::Active));
    assert_eq!(ride.next(hut), Some(two));
    assert_eq!(ride.next(cook), None);
    assert_eq!(ride.attempt(two).worker, hut);
}

/// Protects whoever wants a worker to sleep: what it holds is free at once, what it runs ends first.
#[test]
fn a_worker_that_is_to_sleep_gives_it_back() {
    let mut ride = Ride::new();
    let hut = worker(&mut ride, 1, 3);
    let job = ride.submit(1, &PLANS);
    let [one, two] = [0, 1].map(|number| task_id(job, number));
    ride.next(hut);
    let first = ride.attempt(one).id;
    assert!(says(&mut ride, hut, one, first, T::Active));
    assert_eq!(ride.next(hut), Some(two));
    ride.granted(&Request::RequestWorkerStatus {
        worker: hut,
        status: WorkerStatus::Asleep,
        lazy: true,
        reason: "night".to_owned(),
    });
    assert_eq!(ride.task(two).status, T::Queued);
    assert_eq!(ride.attempt(one).id, first);
    assert!(says(&mut ride, hut, one, first, T::Completed));
}
