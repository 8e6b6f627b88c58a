// SPDX-License-Identifier: GPL-3.0-or-later
//! The arithmetic of failure, with small farms whose numbers a reader can check by hand: soft
//! failures, the worker that is blocked, nobody left, the share of failed tasks.

mod common;

use common::{Ride, chunk, facts, job_id, new_job, report, task_id};
use tablao_core::{
    Event, JobId, JobStatus as J, Request, TaskStatus as T, WorkerId,
    entity::{Policy, Protocol},
    event::FailureClass,
    request::FailureReport,
};

/// A farm of this many workers, all for `misc` and `blender`.
fn farm(workers: u128, policy: Policy) -> (Ride, Vec<WorkerId>) {
    let mut ride = Ride::new();
    ride.granted(&Request::ApplyConfig {
        policy,
        text: String::new(),
    });
    let workers = (1..=workers)
        .map(|n| ride.worker(n, Protocol::Flamenco, &["misc", "blender"]))
        .collect();
    (ride, workers)
}

fn submit(ride: &mut Ride, tasks: usize, fail_percent: u8) -> JobId {
    let job = job_id(1);
    let mut facts = facts(job, tasks);
    facts.fail_policy.fail_percent = Some(fail_percent);
    let plans = vec![("misc", 50, &[][..]); tasks];
    ride.granted(&Request::SubmitJob {
        job: new_job(facts, chunk(job, 0, &plans)),
    });
    job
}

/// The worker takes its next task, which must be this one, and fails it.
fn fails(ride: &mut Ride, worker: WorkerId, job: JobId, number: u32) -> Vec<Event> {
    assert_eq!(ride.next(worker), Some(task_id(job, number)));
    ride.runs(worker, task_id(job, number), T::Failed).events
}

/// Protects a task from one bad worker: others try it, and the T-th one that fails it ends it.
#[test]
fn the_third_worker_that_fails_a_task_gives_it_up() {
    let (mut ride, workers) = farm(4, Policy::default());
    let job = submit(&mut ride, 1, 100);
    for (worker, becomes) in [(0, T::SoftFailed), (1, T::SoftFailed), (2, T::Failed)] {
        fails(&mut ride, workers[worker], job, 0);
        assert_eq!(ride.statuses(job), [becomes], "after worker {worker}");
        if becomes == T::SoftFailed {
            assert_eq!(
                ride.next(workers[worker]),
                None,
                "not to whom has failed it"
            );
        }
    }
    assert_eq!(ride.job_status(job), J::Failed, "its only task failed");
    assert_eq!(ride.task(task_id(job, 0)).failed_by.len(), 3);
}

/// Protects a job's own numbers: they come before those of the farm.
#[test]
fn a_job_may_say_how_many_tries_a_task_has() {
    let (mut ride, workers) = farm(4, Policy::default());
    let job = job_id(1);
    let mut facts = facts(job, 1);
    facts.fail_policy.task_attempts_max = Some(1);
    ride.granted(&Request::SubmitJob {
        job: new_job(facts, chunk(job, 0, &[("misc", 50, &[])])),
    });
    fails(&mut ride, workers[0], job, 0);
    assert_eq!(ride.statuses(job), [T::Failed]);
}

/// Protects a job from a bad worker: the B-th failed task of a type blocks it from that type,
/// not the one before, as the documents of Flamenco 3 say and its code does not.
#[test]
fn the_third_failed_task_of_a_type_blocks_the_worker() {
    let (mut ride, workers) = farm(3, Policy::default());
    let job = submit(&mut ride, 5, 100);
    for number in 0..3 {
        assert!(
            ride.job(job).state.blocked.is_empty(),
            "before task {number}"
        );
        fails(&mut ride, workers[0], job, number);
    }
    let entry = (workers[0], "misc".to_owned());
    assert!(ride.job(job).state.blocked.contains(&entry));
    assert_eq!(
        ride.next(workers[0]),
        None,
        "two tasks are left, and not for it"
    );
    assert_eq!(ride.next(workers[1]), Some(task_id(job, 0)));

    let other = job_id(2);
    ride.granted(&Request::SubmitJob {
        job: new_job(facts(other, 1), chunk(other, 0, &[("misc", 50, &[])])),
    });
    assert_eq!(
        ride.next(workers[0]),
        Some(task_id(other, 0)),
        "other jobs are not concerned"
    );

    ride.says(workers[0], task_id(other, 0), T::Active);
    ride.says(workers[0], task_id(other, 0), T::Completed);
    ride.granted(&Request::ClearBlocklist {
        job,
        entries: vec![entry],
    });
    assert_eq!(
        ride.next(workers[0]),
        Some(task_id(job, 3)),
        "trusted again"
    );
}

/// Protects a farm from a worker that cannot do what a job needs: it is not tried with every task
/// of the job in turn, and those that can do it get them.
#[test]
fn who_lacks_a_feature_is_blocked_at_once() {
    let (mut ride, workers) = farm(2, Policy::default());
    let job = submit(&mut ride, 3, 100);
    let task = ride.next(workers[0]).expect("there is work");
    ride.says(workers[0], task, T::Active);
    let mut said = report(workers[0], task);
    said.status = Some(T::Failed);
    said.failure = Some(FailureReport {
        class: FailureClass::FeatureMissing,
        exit: None,
        signal: None,
    });
    ride.granted(&Request::Report {
        report: Box::new(said),
    });
    assert_eq!(ride.statuses(job), [T::SoftFailed, T::Queued, T::Queued]);
    assert_eq!(ride.next(workers[0]), None, "blocked after one failure");
    assert_eq!(ride.next(workers[1]), Some(task_id(job, 0)));
}

/// Protects tasks from the worker's fault: what it failed for good runs again once it is the
/// worker that is to blame.
#[test]
fn tasks_that_a_blocked_worker_failed_for_good_run_again() {
    let (mut ride, workers) = farm(
        3,
        Policy {
            task_attempts_max: 1,
            blocklist_threshold: 2,
            ..Policy::default()
        },
    );
    let job = submit(&mut ride, 3, 100);
    fails(&mut ride, workers[0], job, 0);
    assert_eq!(ride.statuses(job)[0], T::Failed);
    let events = fails(&mut ride, workers[0], job, 1);
    assert!(
        events
            .iter()
            .any(|event| matches!(event, Event::WorkerBlocked(_)))
    );
    assert_eq!(ride.statuses(job), [T::Queued, T::Failed, T::Queued]);
    assert_eq!(ride.next(workers[1]), Some(task_id(job, 0)));
}

/// Protects people from waiting all night: a job that nobody else could go on with fails at
/// once. On a farm of two the first failure does not, as Flamenco's code has it.
#[test]
fn a_job_fails_when_nobody_else_could_run_its_task() {
    let (mut ride, workers) = farm(1, Policy::default());
    let job = submit(&mut ride, 20, 100);
    fails(&mut ride, workers[0], job, 0);
    assert_eq!(ride.job_status(job), J::Failed, "the only worker failed it");
    assert_eq!(ride.statuses(job)[0], T::Failed);
    assert!(
        ride.statuses(job)[1..]
            .iter()
            .all(|status| *status == T::Canceled)
    );

    let (mut ride, workers) = farm(2, Policy::default());
    let job = submit(&mut ride, 20, 100);
    fails(&mut ride, workers[0], job, 0);
    assert_eq!(ride.statuses(job)[0], T::SoftFailed, "the other may try");
    fails(&mut ride, workers[1], job, 0);
    assert_eq!(ride.job_status(job), J::Failed);
}

/// Protects the question who is left: workers that are away, incapable, blocked or without the
/// job's tag are not.
#[test]
fn who_is_not_there_is_not_left() {
    let asked = |prepare: &dyn Fn(&mut Ride, WorkerId)| {
        let (mut ride, workers) = farm(2, Policy::default());
        let job = submit(&mut ride, 2, 100);
        prepare(&mut ride, workers[1]);
        fails(&mut ride, workers[0], job, 0);
        ride.job_status(job)
    };
    assert_eq!(asked(&|_, _| {}), J::Active, "the other one is there");
    let signed_off = asked(&|ride, other| {
        ride.granted(&Request::SignOff { worker: other });
    });
    assert_eq!(signed_off, J::Failed);
    let removed = asked(&|ride, other| {
        ride.granted(&Request::DeleteWorker { worker: other });
    });
    assert_eq!(removed, J::Failed);
    let lost = asked(&|ride, other| {
        let silent_since = ride.now;
        ride.wait_ms(60_000);
        ride.granted(&Request::LoseWorkers {
            evidence: vec![(other, silent_since)],
        });
    });
    assert_eq!(lost, J::Failed);
    let incapable = asked(&|ride, other| {
        ride.sign_on(other, Protocol::Flamenco, &["blender"], &[]);
    });
    assert_eq!(incapable, J::Failed);
    let asleep = asked(&|ride, other| {
        ride.granted(&Request::WorkerStateChanged {
            worker: other,
            status: tablao_core::WorkerStatus::Asleep,
        });
    });
    assert_eq!(asleep, J::Active, "who sleeps will wake");
}

/// Protects the share of failed tasks: 10% of a hundred is the tenth failure, 1% the first, and
/// of ten tasks one is 10%.
#[test]
fn a_job_fails_at_its_share_of_failed_tasks() {
    for (tasks, percent, fatal) in [
        (100, 10, 10),
        (100, 1, 1),
        (10, 10, 1),
        (30, 10, 3),
        (199, 1, 2),
    ] {
        let (mut ride, _) = farm(1, Policy::default());
        let job = submit(&mut ride, tasks, percent);
        for number in 0..fatal {
            assert_eq!(
                ride.job_status(job),
                J::Queued,
                "{number} of {tasks} failed"
            );
            ride.set_task(task_id(job, number), T::Failed)
                .expect("it is queued");
        }
        assert_eq!(
            ride.job_status(job),
            J::Failed,
            "{fatal} of {tasks} at {percent}%"
        );
    }
}

/// Protects a pause: the last running task of a job that is being paused still decides whether
/// the job failed, whether or not another one was running beside it.
#[test]
fn a_pause_does_not_hide_a_failure() {
    let (mut ride, workers) = farm(
        3,
        Policy {
            task_attempts_max: 1,
            ..Policy::default()
        },
    );
    let job = submit(&mut ride, 2, 50);
    let task = ride.next(workers[0]).expect("there is one");
    ride.says(workers[0], task, T::Active);
    ride.set_job(job, J::Paused).expect("it runs");
    assert_eq!(ride.job_status(job), J::PauseRequested);
    ride.says(workers[0], task, T::Failed);
    assert_eq!(ride.job_status(job), J::Failed);
}

/// Protects a fresh start: a job that is queued again holds nothing against anybody, a task
/// that is queued again forgets who failed it.
#[test]
fn queueing_again_forgets_failures() {
    let (mut ride, workers) = farm(
        3,
        Policy {
            blocklist_threshold: 1,
            ..Policy::default()
        },
    );
    let job = submit(&mut ride, 2, 100);
    fails(&mut ride, workers[0], job, 0);
    assert_eq!(ride.job(job).state.blocked.len(), 1);
    ride.set_task(task_id(job, 0), T::Queued)
        .expect("it is soft-failed");
    assert!(ride.task(task_id(job, 0)).failed_by.is_empty());
    assert_eq!(
        ride.job(job).state.blocked.len(),
        1,
        "the blocklist is the job's"
    );
    ride.set_job(job, J::Canceled).expect("it runs");
    ride.set_job(job, J::Requeueing).expect("it is canceled");
    assert!(ride.job(job).state.blocked.is_empty());
    assert!(ride.job(job).failures.is_empty());
    assert_eq!(ride.next(workers[0]), Some(task_id(job, 0)));
}

/// Protects blocks that expire: those that are old enough go, the younger ones stay, and a worker
/// that fails again is blocked again at once. When a block was made survives a checkpoint.
#[test]
fn blocks_are_taken_back_when_they_are_old() {
    let (mut ride, workers) = farm(3, Policy::default());
    let job = submit(&mut ride, 12, 100);
    let blocked = |ride: &Ride| ride.job(job).state.blocked.len();
    for (before, &worker) in workers.iter().take(2).enumerate() {
        for _ in 0..3 {
            let task = ride.next(worker).expect("there are tasks");
            ride.runs(worker, task, T::Failed);
        }
        assert_eq!(blocked(&ride), before + 1);
        ride.wait_ms(60_000);
    }
    let first = common::START;
    assert_eq!(ride.farm.oldest_block(), Some(first));
    let again = tablao_core::Farm::from_rows(ride.farm.to_rows()).expect("its own rows");
    assert_eq!(again.oldest_block(), Some(first));
    assert!(again.to_rows().eq(ride.farm.to_rows()));
    let expire = |made_by| Request::ExpireBlocks { made_by };
    let before = tablao_core::Timestamp::from_micros(first.micros() - 1);
    assert!(ride.granted(&expire(before)).events.is_empty());
    assert_eq!(ride.next(workers[0]), None, "it is blocked");
    assert_eq!(ride.granted(&expire(first)).events.len(), 1);
    assert_eq!(blocked(&ride), 1, "the other block is younger");
    let task = ride.next(workers[0]).expect("it may try others");
    ride.runs(workers[0], task, T::Failed);
    assert_eq!(blocked(&ride), 2, "at its next failure it is blocked again");
    ride.set_job(job, J::Canceled).expect("it runs");
    for request in [Request::MarkJobDeleted { job }, Request::PurgeJob { job }] {
        ride.granted(&request);
    }
    assert_eq!(ride.farm.oldest_block(), None, "they went with their job");
}
