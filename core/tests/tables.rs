// SPDX-License-Identifier: GPL-3.0-or-later
//! The tables of docs/state-machines.md, row by row, through the real `decide` and `apply`:
//! every pair of a status and a wish for it, and what each does to the other side.

mod common;

use common::{Ride, chunk, facts, job_id, new_job, task_id};
use tablao_core::{
    JobId, JobStatus, Refusal, Request, TaskStatus, WorkerId, entity::Protocol, event::StopCause,
};

use JobStatus as J;
use TaskStatus as T;

/// A farm with a job in this status. The job's tasks stand, where the status allows it, in:
/// 0 completed, 1 live, 2 queued, 3 soft-failed, 4 paused by hand.
struct Scene {
    ride: Ride,
    job: JobId,
    runner: WorkerId,
}

const TASKS: usize = 5;

fn busy() -> Scene {
    let mut ride = Ride::new();
    let job = job_id(1);
    let mut facts = facts(job, TASKS);
    facts.fail_policy.fail_percent = Some(100);
    let plans = [("misc", 50, &[][..]); TASKS];
    ride.granted(&Request::SubmitJob {
        job: new_job(facts, chunk(job, 0, &plans)),
    });
    let runner = ride.worker(1, Protocol::Flamenco, &["misc"]);
    ride.worker(2, Protocol::Flamenco, &["misc"]);
    ride.worker(3, Protocol::Flamenco, &["misc"]);
    assert_eq!(ride.next(runner), Some(task_id(job, 0)));
    ride.runs(runner, task_id(job, 0), T::Completed);
    // The task that is to soft-fail goes first, so that the live one stays live.
    let failing = task_id(job, 3);
    ride.granted(&Request::SetTaskPriority {
        task: failing,
        priority: 99,
    });
    assert_eq!(ride.next(runner), Some(failing));
    ride.runs(runner, failing, T::Failed);
    assert_eq!(ride.next(runner), Some(task_id(job, 1)));
    ride.says(runner, task_id(job, 1), T::Active);
    ride.set_task(task_id(job, 4), T::Paused)
        .expect("it is queued");
    assert_eq!(
        ride.statuses(job),
        [T::Completed, T::Active, T::Queued, T::SoftFailed, T::Paused]
    );
    Scene { ride, job, runner }
}

/// A job that has come to this status by real requests.
fn scene(status: J) -> Scene {
    let mut scene = busy();
    let (job, runner) = (scene.job, scene.runner);
    let ride = &mut scene.ride;
    match status {
        J::Active => {}
        J::CancelRequested | J::PauseRequested | J::Failed => {
            ride.set_job(job, status).expect("an active job can");
        }
        J::Canceled => {
            ride.set_job(job, J::Canceled).expect("an active job can");
            ride.says(runner, task_id(job, 1), T::Canceled);
        }
        J::Paused => {
            ride.set_job(job, J::Paused).expect("an active job can");
            ride.says(runner, task_id(job, 1), T::Queued);
        }
        J::Queued => {
            ride.set_job(job, J::Canceled).expect("an active job can");
            ride.says(runner, task_id(job, 1), T::Canceled);
            ride.set_job(job, J::Queued).expect("a canceled job can");
        }
        J::Completed => {
            ride.says(runner, task_id(job, 1), T::Completed);
            for number in 2..5 {
                ride.set_task(task_id(job, number), T::Completed)
                    .expect("a task at rest can be called completed");
            }
        }
        J::UnderConstruction => {
            let job = job_id(2);
            ride.granted(&Request::AcceptJob {
                job: new_job(facts(job, 2), chunk(job, 0, &[("misc", 50, &[])])),
            });
            scene.job = job;
        }
        // It passes through this status and never rests there.
        J::Requeueing => unreachable!("no job rests there"),
    }
    assert_eq!(scene.ride.job_status(scene.job), status);
    scene
}

/// What a wish leads to: the job's status, and the statuses of its five tasks. `None`: refused.
type Outcome = Option<(J, [T; TASKS])>;

/// From the status a job is in, what each wish leads to. Wishes that are not listed are refused.
fn job_table(from: J, wish: J) -> Outcome {
    let canceled = [T::Completed, T::Active, T::Canceled, T::Canceled, T::Paused];
    let all_ended = [
        T::Completed,
        T::Canceled,
        T::Canceled,
        T::Canceled,
        T::Paused,
    ];
    let paused = [T::Completed, T::Active, T::Paused, T::Paused, T::Paused];
    let again = [T::Completed, T::Queued, T::Queued, T::Queued, T::Queued];
    let again_but_live = [T::Completed, T::Active, T::Queued, T::Queued, T::Queued];
    match (from, wish) {
        // The wish for where it stands is granted and changes nothing.
        (from, wish) if from == wish && from != J::UnderConstruction => {
            let scene = scene(from);
            let statuses = scene.ride.statuses(scene.job);
            Some((from, statuses.try_into().expect("five tasks")))
        }
        (J::Active, J::Canceled | J::CancelRequested) => Some((J::CancelRequested, canceled)),
        (J::Active, J::Paused | J::PauseRequested) => Some((J::PauseRequested, paused)),
        (J::Active, J::Failed) => Some((J::Failed, canceled)),

        (J::Queued, J::Canceled | J::CancelRequested) => Some((
            J::Canceled,
            [
                T::Completed,
                T::Canceled,
                T::Canceled,
                T::Canceled,
                T::Canceled,
            ],
        )),
        (J::Queued, J::Paused | J::PauseRequested) => Some((
            J::Paused,
            [T::Completed, T::Paused, T::Paused, T::Paused, T::Paused],
        )),
        (J::Queued, J::Failed) => Some((
            J::Failed,
            [
                T::Completed,
                T::Canceled,
                T::Canceled,
                T::Canceled,
                T::Canceled,
            ],
        )),

        // Paused tasks stay paused when their job is canceled or failed.
        (J::PauseRequested, J::Canceled | J::CancelRequested) => Some((J::CancelRequested, paused)),
        (J::PauseRequested, J::Failed) => Some((J::Failed, paused)),
        (J::PauseRequested, J::Queued | J::Requeueing) => Some((J::Queued, again_but_live)),

        (J::Paused, J::Canceled | J::CancelRequested) => Some((
            J::Canceled,
            [T::Completed, T::Paused, T::Paused, T::Paused, T::Paused],
        )),
        (J::Paused, J::Failed) => Some((
            J::Failed,
            [T::Completed, T::Paused, T::Paused, T::Paused, T::Paused],
        )),
        (J::Paused, J::Queued | J::Requeueing) => Some((J::Queued, again)),

        (J::Canceled, J::Paused | J::PauseRequested) => Some((J::Paused, all_ended)),
        (J::Canceled, J::Queued | J::Requeueing) => Some((J::Queued, again)),

        // Its worker has not stopped yet, so it waits to be canceled.
        (J::Failed, J::Canceled | J::CancelRequested) => Some((J::CancelRequested, canceled)),
        (J::Failed, J::Queued | J::Requeueing) => Some((J::Queued, again_but_live)),

        (J::Completed, J::Queued | J::Requeueing) => Some((J::Queued, [T::Queued; TASKS])),
        _ => None,
    }
}

/// Protects what people ask of jobs: all ninety pairs of a status in which a job can rest and
/// a wish lead where the table says, tasks included, or are refused and change nothing.
#[test]
fn every_wish_for_a_job() {
    let mut granted = 0;
    for &from in J::ALL.iter().filter(|&&status| status != J::Requeueing) {
        for &wish in J::ALL {
            let mut scene = scene(from);
            let before = scene.ride.farm.digest();
            let result = scene.ride.set_job(scene.job, wish);
            let name = format!("a job that is {from}, wished {wish}");
            if from == J::UnderConstruction {
                assert_eq!(result.is_ok(), wish == from, "{name}");
                assert_eq!(scene.ride.farm.digest(), before, "{name}");
                continue;
            }
            match job_table(from, wish) {
                Some((status, tasks)) => {
                    result.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
                    assert_eq!(scene.ride.job_status(scene.job), status, "{name}");
                    assert_eq!(scene.ride.statuses(scene.job), tasks, "{name}");
                    granted += 1;
                }
                None => {
                    let refused = Refusal::JobTransition { from, wanted: wish };
                    assert_eq!(result.expect_err(&name), refused);
                    assert_eq!(scene.ride.farm.digest(), before, "{name} changes nothing");
                }
            }
        }
    }
    assert_eq!(
        granted,
        8 + 30,
        "eight that are there already, and the table's rows"
    );
}

/// Protects the follow-ups: where a job that waits comes to when its last worker is done.
#[test]
fn what_a_waiting_job_becomes() {
    let rows = [
        (J::CancelRequested, T::Canceled, J::Canceled, T::Canceled),
        (J::CancelRequested, T::Completed, J::Canceled, T::Completed),
        (J::CancelRequested, T::Failed, J::Canceled, T::Canceled),
        (J::CancelRequested, T::Queued, J::Canceled, T::Canceled),
        (J::PauseRequested, T::Completed, J::Paused, T::Completed),
        (J::PauseRequested, T::Failed, J::Paused, T::SoftFailed),
        (J::PauseRequested, T::Queued, J::Paused, T::Paused),
        (J::PauseRequested, T::Canceled, J::Paused, T::Paused),
        (J::Failed, T::Completed, J::Failed, T::Completed),
        (J::Failed, T::Canceled, J::Failed, T::Canceled),
        (J::Failed, T::Failed, J::Failed, T::Canceled),
    ];
    for (waits, said, becomes, task_becomes) in rows {
        let Scene {
            mut ride,
            job,
            runner,
        } = scene(waits);
        ride.says(runner, task_id(job, 1), said);
        let name = format!("{waits}, and its worker says {said}");
        assert_eq!(ride.job_status(job), becomes, "{name}");
        assert_eq!(ride.statuses(job)[1], task_becomes, "{name}");
    }
}

/// A task at rest in this status, in a job that can run.
fn task_scene(status: T) -> (Ride, JobId, u32) {
    let Scene {
        mut ride,
        job,
        runner,
    } = busy();
    let number = match status {
        T::Completed => 0,
        T::Active => 1,
        T::Queued => 2,
        T::SoftFailed => 3,
        T::Paused => 4,
        T::Canceled | T::Failed => {
            ride.set_task(task_id(job, 2), status)
                .expect("it is queued");
            2
        }
    };
    assert_eq!(ride.statuses(job)[number as usize], status);
    assert!(ride.worker_state(runner).attempts.len() == 1);
    (ride, job, number)
}

/// Protects what people ask of tasks: all forty-nine pairs.
#[test]
fn every_wish_for_a_task() {
    for &from in T::ALL {
        for &wish in T::ALL {
            let (mut ride, job, number) = task_scene(from);
            let before = ride.farm.digest();
            let result = ride.set_task(task_id(job, number), wish);
            let name = format!("a task that is {from}, wished {wish}");
            let becomes = match (from, wish) {
                _ if from == wish => Some(from),
                // Whoever runs it is asked to stop, and has the next word.
                (T::Active, T::Canceled | T::Queued) => Some(T::Active),
                (T::Active, _) | (_, T::Active | T::SoftFailed) => None,
                (_, T::Queued | T::Completed) => Some(wish),
                (T::Queued | T::SoftFailed | T::Paused, T::Canceled | T::Failed) => Some(wish),
                (T::Queued | T::SoftFailed, T::Paused) => Some(wish),
                _ => None,
            };
            match becomes {
                Some(status) => {
                    result.unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
                    assert_eq!(ride.statuses(job)[number as usize], status, "{name}");
                }
                None => {
                    let refused = Refusal::TaskTransition { from, wanted: wish };
                    assert_eq!(result.expect_err(&name), refused);
                    assert_eq!(ride.farm.digest(), before, "{name} changes nothing");
                }
            }
        }
    }
}

/// Protects the wish for a live task: it waits for its worker's word, and then comes true.
#[test]
fn a_live_task_is_stopped_and_then_what_was_wished() {
    for (wish, cause, becomes) in [
        (T::Canceled, StopCause::TaskCanceled, T::Canceled),
        (T::Queued, StopCause::TaskRequeued, T::Queued),
    ] {
        for said in [T::Canceled, T::Failed, T::Queued] {
            let (mut ride, job, number) = task_scene(T::Active);
            let (task, runner) = (
                task_id(job, number),
                ride.task(task_id(job, number)).last_worker,
            );
            ride.set_task(task, wish).expect("a live task can");
            assert_eq!(ride.attempt(task).stop, Some(cause));
            ride.says(runner.expect("it runs"), task, said);
            assert_eq!(
                ride.task(task).status,
                becomes,
                "wished {wish}, said {said}"
            );
            assert!(
                ride.task(task).failed_by.is_empty(),
                "being stopped is no failure"
            );
        }
    }
}

/// Protects a single task of an ended job: it runs again, and the others stay as they ended.
#[test]
fn a_task_of_an_ended_job_runs_again_alone() {
    for (ended, rest) in [(J::Completed, T::Completed), (J::Canceled, T::Canceled)] {
        let Scene { mut ride, job, .. } = scene(ended);
        ride.set_task(task_id(job, 2), T::Queued).expect("it ended");
        assert_eq!(ride.job_status(job), J::Queued);
        assert_eq!(ride.statuses(job)[2], T::Queued);
        assert_eq!(ride.statuses(job)[3], rest);
    }
}

/// Protects a job whose work is taken away task by task: it ends when nothing is left to run.
#[test]
fn a_job_without_anything_left_to_run_ends() {
    let mut ride = Ride::new();
    let job = ride.submit(1, &[("misc", 50, &[]), ("misc", 50, &[0])]);
    ride.set_task(task_id(job, 0), T::Canceled)
        .expect("it is queued");
    assert_eq!(
        ride.job_status(job),
        J::Canceled,
        "the second can never start"
    );
    assert_eq!(ride.statuses(job), [T::Canceled, T::Canceled]);

    let mut patient = facts(job_id(2), 2);
    patient.fail_policy.fail_percent = Some(100);
    let plans = [("misc", 50, &[][..]), ("misc", 50, &[0, 0][..])];
    ride.granted(&Request::SubmitJob {
        job: new_job(patient, chunk(job_id(2), 0, &plans)),
    });
    let job = job_id(2);
    ride.set_task(task_id(job, 0), T::Failed)
        .expect("it is queued");
    assert_eq!(ride.job_status(job), J::Failed);
    assert_eq!(ride.statuses(job), [T::Failed, T::Canceled]);

    // A paused task can still be resumed, so its job waits.
    let job = ride.submit(3, &[("misc", 50, &[]), ("misc", 50, &[])]);
    ride.set_task(task_id(job, 0), T::Paused)
        .expect("it is queued");
    ride.set_task(task_id(job, 1), T::Canceled)
        .expect("it is queued");
    assert_eq!(ride.job_status(job), J::Queued);
}

/// Protects jobs without tasks, and jobs that wait for them.
#[test]
fn a_job_without_tasks_is_done_at_once() {
    let mut ride = Ride::new();
    let worker = ride.worker(1, Protocol::Tablao, &["misc"]);
    let mut waiting = facts(job_id(1), 1);
    waiting.depends_on_jobs = vec![job_id(2)];
    ride.granted(&Request::SubmitJob {
        job: new_job(waiting, chunk(job_id(1), 0, &[("misc", 50, &[])])),
    });
    assert_eq!(ride.next(worker), None, "a job that is not known blocks");
    let empty = ride.submit(2, &[]);
    assert_eq!(ride.job_status(empty), J::Completed);
    assert_eq!(ride.next(worker), Some(task_id(job_id(1), 0)));
}

/// Protects against half jobs: one whose submission broke off is failed and never runs.
#[test]
fn an_abandoned_submission_never_runs() {
    let Scene { mut ride, job, .. } = scene(J::UnderConstruction);
    ride.granted(&Request::AbandonJob {
        job,
        reason: "the line broke".to_owned(),
    });
    assert_eq!(ride.job_status(job), J::Failed);
    let refusal = ride
        .set_job(job, J::Requeueing)
        .expect_err("it lacks tasks");
    assert!(matches!(refusal, Refusal::UnsoundSubmission { .. }));
    assert!(refusal.to_string().contains("submit it again"));
}
