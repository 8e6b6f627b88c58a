// SPDX-License-Identifier: GPL-3.0-or-later
//! Which task a worker gets, in farms that a reader can hold in the head. All rules together are
//! compared with a naive farm in `model`; here each stands alone.

mod common;

use common::{Ride, TaskPlan, chunk, facts, job_id, new_job, tag_id, task_id};
use tablao_core::{
    JobId, JobStatus as J, Request, TagId, TaskStatus as T, WorkerId, entity::Protocol,
    event::Event,
};

fn worker(ride: &mut Ride, n: u128) -> WorkerId {
    ride.worker(n, Protocol::Flamenco, &["misc", "blender"])
}

fn submit(
    ride: &mut Ride,
    n: u128,
    priority: i32,
    tag: Option<TagId>,
    plans: &[TaskPlan<'_>],
) -> JobId {
    let job = job_id(n);
    let mut facts = facts(job, plans.len());
    facts.priority = priority;
    facts.tag = tag;
    facts.fail_policy.fail_percent = Some(100);
    ride.granted(&Request::SubmitJob {
        job: new_job(facts, chunk(job, 0, plans)),
    });
    job
}

/// Numbers of the tasks of one job in the order in which one worker gets and completes them.
fn order(ride: &mut Ride, worker: WorkerId, job: JobId) -> Vec<u32> {
    let mut numbers = Vec::new();
    while let Some(task) = ride.next(worker) {
        let (of, task) = ride.farm.task(task).expect("it was handed out");
        assert_eq!(of.state.facts.job, job);
        let (number, uuid) = (task.number, task.uuid);
        numbers.push(number);
        ride.runs(worker, uuid, T::Completed);
    }
    numbers
}

/// Protects the beginning: no task for nobody's job, and the first task with everything that an
/// assignment does.
#[test]
fn nothing_and_the_first_task() {
    let mut ride = Ride::new();
    let hut = worker(&mut ride, 1);
    assert_eq!(ride.next(hut), None);
    let job = submit(&mut ride, 1, 50, None, &[("misc", 50, &[])]);
    let heard = ride.granted(&Request::AskForTask { worker: hut });
    assert!(
        heard
            .events
            .iter()
            .any(|event| matches!(event, Event::AttemptAssigned(_)))
    );
    assert_eq!(ride.job_status(job), J::Active);
    let task = ride.task(task_id(job, 0));
    assert_eq!((task.status, task.last_worker), (T::Active, Some(hut)));
    let barn = worker(&mut ride, 2);
    assert_eq!(ride.next(barn), None, "it is taken");
}

/// Protects the order: the job's priority, then the task's, then the older job, then the place in
/// the job.
#[test]
fn priorities_and_ties() {
    let mut ride = Ride::new();
    let hut = worker(&mut ride, 1);
    let plans = [
        ("misc", 50, &[][..]),
        ("misc", 80, &[]),
        ("misc", 20, &[]),
        ("misc", 80, &[]),
    ];
    let job = submit(&mut ride, 1, 50, None, &plans);
    assert_eq!(order(&mut ride, hut, job), [1, 3, 0, 2]);
    // A task of the highest priority in a job of a lower one waits.
    let low = submit(&mut ride, 2, 40, None, &[("misc", 100, &[])]);
    let high = submit(&mut ride, 3, 60, None, &[("misc", 1, &[])]);
    assert_eq!(ride.next(hut), Some(task_id(high, 0)));
    ride.runs(hut, task_id(high, 0), T::Completed);
    let same = submit(&mut ride, 4, 40, None, &[("misc", 100, &[])]);
    for job in [low, same] {
        assert_eq!(ride.next(hut), Some(task_id(job, 0)), "the older one first");
        ride.runs(hut, task_id(job, 0), T::Completed);
    }
}

/// Protects dependencies: a task of high priority waits for those of low priority, all of them;
/// a fan-out and fan-in that were added in disorder are handed out in the order that they need.
#[test]
fn dependencies_come_before_priorities() {
    let mut ride = Ride::new();
    let hut = worker(&mut ride, 1);
    let plans = [
        ("misc", 100, &[1, 2][..]),
        ("misc", 1, &[]),
        ("misc", 2, &[]),
    ];
    let job = submit(&mut ride, 1, 50, None, &plans);
    assert_eq!(order(&mut ride, hut, job), [2, 1, 0]);
    // 4 is the root, 1, 3 and 5 fan out, 0 fans in, 2 follows.
    let plans = [
        ("misc", 50, &[1, 3, 5][..]),
        ("misc", 50, &[4]),
        ("misc", 90, &[0]),
        ("misc", 60, &[4]),
        ("misc", 10, &[]),
        ("misc", 50, &[4]),
    ];
    let job = submit(&mut ride, 2, 50, None, &plans);
    assert_eq!(order(&mut ride, hut, job), [4, 3, 1, 5, 0, 2]);
    // One of two that it needs is done: it waits, and does not keep others from running.
    let plans = [
        ("misc", 50, &[][..]),
        ("misc", 40, &[]),
        ("misc", 90, &[0, 1]),
    ];
    let job = submit(&mut ride, 3, 50, None, &plans);
    assert_eq!(ride.next(hut), Some(task_id(job, 0)));
    ride.runs(hut, task_id(job, 0), T::Completed);
    assert_eq!(ride.next(hut), Some(task_id(job, 1)));
    let barn = worker(&mut ride, 2);
    assert_eq!(ride.next(barn), None);
}

/// Protects a worker that was started anew: the task that it holds comes before better ones. One
/// that another worker held before, and gave back, is anybody's.
#[test]
fn what_a_worker_holds_and_what_others_held() {
    let mut ride = Ride::new();
    let hut = worker(&mut ride, 1);
    let barn = worker(&mut ride, 2);
    let held = submit(&mut ride, 1, 50, None, &[("misc", 50, &[])]);
    assert_eq!(ride.next(hut), Some(task_id(held, 0)));
    ride.says(hut, task_id(held, 0), T::Active);
    let better = submit(&mut ride, 2, 90, None, &[("misc", 90, &[])]);
    ride.sign_on(hut, Protocol::Flamenco, &["misc", "blender"], &[]);
    let status = tablao_core::WorkerStatus::Awake;
    ride.granted(&Request::WorkerStateChanged {
        worker: hut,
        status,
    });
    assert_eq!(ride.next(hut), Some(task_id(held, 0)));
    ride.granted(&Request::SignOff { worker: hut });
    assert_eq!(ride.next(barn), Some(task_id(better, 0)));
    ride.runs(barn, task_id(better, 0), T::Completed);
    assert_eq!(ride.next(barn), Some(task_id(held, 0)));
}

/// Protects from giving a worker what it cannot do, or has shown that it cannot: the type, its own
/// failures, the block of a type.
#[test]
fn who_may_not() {
    let mut ride = Ride::new();
    let hut = worker(&mut ride, 1);
    let barn = worker(&mut ride, 2);
    let only_misc = ride.worker(3, Protocol::Flamenco, &["misc"]);
    let job = submit(&mut ride, 1, 50, None, &[("blender", 50, &[])]);
    assert_eq!(ride.next(only_misc), None, "not its type");
    assert_eq!(ride.next(hut), Some(task_id(job, 0)));
    ride.runs(hut, task_id(job, 0), T::Failed);
    assert_eq!(ride.statuses(job), [T::SoftFailed]);
    assert_eq!(ride.next(hut), None, "it has failed it");
    assert_eq!(ride.next(barn), Some(task_id(job, 0)));
    ride.runs(barn, task_id(job, 0), T::Completed);
    let plans = [
        ("blender", 50, &[][..]),
        ("blender", 50, &[]),
        ("blender", 50, &[]),
        ("blender", 50, &[]),
        ("misc", 10, &[]),
    ];
    let job = submit(&mut ride, 2, 50, None, &plans);
    for number in 0..3 {
        assert_eq!(ride.next(hut), Some(task_id(job, number)));
        ride.runs(hut, task_id(job, number), T::Failed);
    }
    assert_eq!(
        ride.next(hut),
        Some(task_id(job, 4)),
        "blocked from the type, not from the job"
    );
}

/// Protects tags: a job with a tag is for workers with that tag, one without is for all.
#[test]
fn tags() {
    let [gpu, cpu] = [tag_id(1), tag_id(2)];
    let rows = [
        (None, &[][..], true),
        (None, &[gpu][..], true),
        (Some(gpu), &[][..], false),
        (Some(gpu), &[gpu][..], true),
        (Some(gpu), &[cpu][..], false),
        (Some(gpu), &[cpu, gpu][..], true),
    ];
    for (of_job, of_worker, gets_it) in rows {
        let mut ride = Ride::new();
        for tag in [gpu, cpu] {
            let (name, description) = (tag.to_string(), String::new());
            ride.granted(&Request::CreateTag {
                tag,
                name,
                description,
            });
        }
        let hut = worker(&mut ride, 1);
        let tags = of_worker.to_vec();
        ride.granted(&Request::SetWorkerTags { worker: hut, tags });
        let job = submit(&mut ride, 1, 50, of_job, &[("misc", 50, &[])]);
        let got = ride.next(hut);
        assert_eq!(
            got,
            gets_it.then_some(task_id(job, 0)),
            "{of_job:?} {of_worker:?}"
        );
    }
}

/// Protects jobs that are not to run: paused, canceled, failed, marked for deletion.
#[test]
fn jobs_that_do_not_run() {
    for status in [J::Paused, J::Canceled, J::Failed] {
        let mut ride = Ride::new();
        let hut = worker(&mut ride, 1);
        let job = submit(&mut ride, 1, 50, None, &[("misc", 50, &[])]);
        ride.set_job(job, status).expect("a queued job can");
        assert_eq!(ride.next(hut), None, "{status}");
    }
    let mut ride = Ride::new();
    let hut = worker(&mut ride, 1);
    let job = submit(&mut ride, 1, 50, None, &[("misc", 50, &[])]);
    ride.set_job(job, J::Paused).expect("a queued job can");
    ride.granted(&Request::MarkJobDeleted { job });
    ride.set_job(job, J::Queued).expect("a paused job can");
    assert_eq!(ride.next(hut), None, "it is about to go");
    ride.granted(&Request::RestoreJob { job });
    assert_eq!(ride.next(hut), Some(task_id(job, 0)));
}
