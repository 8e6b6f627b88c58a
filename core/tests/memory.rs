// SPDX-License-Identifier: GPL-3.0-or-later
//! Tasks that run out of memory: they are left to workers that have more, or never said how much
//! they have.

mod common;

use common::{Ride, chunk, facts, job_id, new_job, report, task_id};
use tablao_core::{
    Detail, Event, Farm, JobId, JobStatus as J, Request, TaskStatus as T, WorkerId,
    entity::Protocol, event::FailureClass, request::FailureReport,
};

const GIB: u64 = 1 << 30;

/// A farm of workers with so much memory each, and a job of so many tasks.
fn farm(memory: &[Option<u64>], tasks: usize) -> (Ride, Vec<WorkerId>, JobId) {
    let mut ride = Ride::new();
    let workers = (1..)
        .zip(memory)
        .map(|(n, &bytes)| {
            let worker = ride.worker(n, Protocol::Tablao, &["misc"]);
            ride.granted(&Request::NoteMemory { worker, bytes });
            worker
        })
        .collect();
    let job = job_id(1);
    let plans = vec![("misc", 50, &[][..]); tasks];
    ride.granted(&Request::SubmitJob {
        job: new_job(facts(job, tasks), chunk(job, 0, &plans)),
    });
    (ride, workers, job)
}

/// The worker takes its next task, which must be this one, and runs out of memory.
fn runs_out(ride: &mut Ride, worker: WorkerId, job: JobId, number: u32) -> Vec<Event> {
    let task = task_id(job, number);
    assert_eq!(ride.next(worker), Some(task));
    let mut report = report(worker, task);
    report.attempt = ride.task(task).attempt;
    report.status = Some(T::Failed);
    report.failure = Some(FailureReport {
        class: FailureClass::OutOfMemory,
        exit: None,
        signal: Some(9),
    });
    let report = Box::new(report);
    ride.granted(&Request::Report { report }).events
}

/// Protects a heavy frame from the small machines of a farm, whose failures would use up its tries
/// while a bigger one waits; what never said how much it has may try.
#[test]
fn it_goes_to_a_bigger_machine() {
    let memory = [Some(8 * GIB), Some(8 * GIB), Some(16 * GIB), None];
    let (mut ride, workers, job) = farm(&memory, 1);
    let events = runs_out(&mut ride, workers[0], job, 0);
    assert!(events.iter().any(|event| matches!(
        event,
        Event::TaskOutgrew(facts) if (facts.from, facts.to) == (None, 8 * GIB)
    )));
    assert_eq!(ride.statuses(job), [T::SoftFailed]);
    assert_eq!(ride.next(workers[1]), None, "it is as small as the first");
    runs_out(&mut ride, workers[2], job, 0);
    assert_eq!(ride.task(task_id(job, 0)).outgrown, Some(16 * GIB));
    assert_eq!(ride.next(workers[1]), None);
    assert_eq!(ride.next(workers[3]), Some(task_id(job, 0)));
}

/// Protects people from waiting for a machine that the farm does not have.
#[test]
fn it_fails_where_no_machine_is_bigger() {
    let (mut ride, workers, job) = farm(&[Some(8 * GIB), Some(4 * GIB), Some(8 * GIB)], 1);
    runs_out(&mut ride, workers[0], job, 0);
    assert_eq!(ride.statuses(job), [T::Failed]);
    assert_eq!(ride.job_status(job), J::Failed);
    let words = "no other worker with more memory could run it";
    let told = (ride.records.iter()).any(|record| match &record.detail {
        Detail::Reason(detail) => detail.text.contains(words),
        _ => false,
    });
    assert!(told, "nobody says: {words}");
}

/// Protects the other tasks of a job, which may be lighter, and the hand-out of what is held.
#[test]
fn only_the_task_is_kept_from_small_machines() {
    let (mut ride, workers, job) = farm(&[Some(8 * GIB), Some(4 * GIB), Some(16 * GIB)], 3);
    runs_out(&mut ride, workers[0], job, 0);
    assert_eq!(ride.next(workers[1]), Some(task_id(job, 1)));
    // A machine that got more memory may try; the one that failed may not.
    ride.granted(&Request::NoteMemory {
        worker: workers[1],
        bytes: Some(32 * GIB),
    });
    ride.runs(workers[1], task_id(job, 1), T::Completed);
    assert_eq!(ride.next(workers[1]), Some(task_id(job, 0)));
    assert_eq!(ride.next(workers[0]), Some(task_id(job, 2)));
}

/// Protects a person's word: queued again, it may run wherever it could at first.
#[test]
fn queueing_again_forgets_it() {
    let (mut ride, workers, job) = farm(&[Some(8 * GIB), Some(4 * GIB), Some(16 * GIB)], 1);
    runs_out(&mut ride, workers[0], job, 0);
    ride.set_task(task_id(job, 0), T::Queued).expect("it waits");
    assert_eq!(ride.task(task_id(job, 0)).outgrown, None);
    assert_eq!(ride.next(workers[1]), Some(task_id(job, 0)));
}

/// Protects a start from a checkpoint: who is too small is known there, too.
#[test]
fn a_checkpoint_keeps_it() {
    let (mut ride, workers, job) = farm(&[Some(8 * GIB), Some(4 * GIB), Some(16 * GIB)], 2);
    runs_out(&mut ride, workers[0], job, 0);
    let restored = Farm::from_rows(ride.farm.to_rows()).expect("its own rows");
    assert_eq!(restored.digest(), ride.farm.digest());
    assert_eq!(restored.recompute_digest(), ride.farm.digest());
    ride.farm = restored;
    assert_eq!(ride.next(workers[1]), Some(task_id(job, 1)));
    assert_eq!(ride.next(workers[2]), Some(task_id(job, 0)));
    ride.granted(&Request::NoteMemory {
        worker: workers[1],
        bytes: None,
    });
    assert_eq!(ride.farm.memory_of(workers[1]), None);
    let restored = Farm::from_rows(ride.farm.to_rows()).expect("its own rows");
    assert_eq!(restored.digest(), ride.farm.digest());
}
