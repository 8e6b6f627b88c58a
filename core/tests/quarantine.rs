// SPDX-License-Identifier: GPL-3.0-or-later
//! Workers in quarantine: what they give back, what they do not get, who counts on them, and
//! which cause outweighs which.

mod common;

use common::{Ride, task_id};
use tablao_core::{
    Event, Farm, JobStatus as J, Refusal, Request, TaskStatus as T, WorkerId,
    entity::Protocol,
    event::{AttemptOutcome, QuarantineCause},
};

const FAILURES: QuarantineCause = QuarantineCause::Failures { tasks: 3, jobs: 2 };

fn sick(worker: WorkerId, cause: QuarantineCause, reason: &str) -> Request {
    Request::QuarantineWorker {
        worker,
        cause,
        reason: reason.to_owned(),
    }
}

fn well(worker: WorkerId, own_check_only: bool) -> Request {
    Request::LiftQuarantine {
        worker,
        own_check_only,
        reason: "it is well again".to_owned(),
    }
}

/// Protects jobs from a sick machine: what it ran is queued again and counts as nobody's
/// failure, and it gets nothing more until the quarantine is lifted, whichever way it speaks.
#[test]
fn a_sick_worker_gives_back_what_it_runs_and_gets_nothing() {
    for protocol in [Protocol::Flamenco, Protocol::Tablao] {
        let mut ride = Ride::new();
        let worker = ride.worker(1, protocol, &["misc"]);
        let job = ride.submit(1, &[("misc", 50, &[])]);
        let task = ride.next(worker).expect("there is one");
        ride.says(worker, task, T::Active);
        let told = ride.granted(&sick(worker, QuarantineCause::SelfCheck, "no disk"));
        let returned = told.events.iter().any(|event| {
            matches!(event, Event::AttemptEnded(ended)
                if ended.outcome == AttemptOutcome::Returned && !ended.counts_as_failure)
        });
        assert!(returned, "{:?}", told.events);
        assert_eq!(ride.statuses(job), [T::Queued]);
        assert_eq!(ride.next(worker), None);
        ride.granted(&well(worker, true));
        assert_eq!(ride.next(worker), Some(task));
        ride.runs(worker, task, T::Completed);
        assert_eq!(ride.job_status(job), J::Completed);
    }
}

/// Protects a job from waiting for ever: a task that failed does not wait for a worker that is
/// in quarantine, and does wait for it once it is well.
#[test]
fn nobody_counts_on_a_worker_in_quarantine() {
    for (lifted, becomes) in [(false, T::Failed), (true, T::SoftFailed)] {
        let mut ride = Ride::new();
        let one = ride.worker(1, Protocol::Flamenco, &["misc"]);
        let other = ride.worker(2, Protocol::Flamenco, &["misc"]);
        let job = ride.submit(1, &[("misc", 50, &[])]);
        ride.granted(&sick(other, QuarantineCause::Person, "its fan is loud"));
        if lifted {
            ride.granted(&well(other, false));
        }
        let task = ride.next(one).expect("there is one");
        assert_eq!(task, task_id(job, 0));
        ride.runs(one, task, T::Failed);
        assert_eq!(ride.statuses(job), [becomes], "lifted: {lifted}");
    }
}

/// Protects what a person decided, and the journal from repeats: a lighter cause changes
/// nothing, a heavier one and other words do, and a worker lifts only its own.
#[test]
fn a_cause_outweighs_those_before_it_in_the_list() {
    let mut ride = Ride::new();
    let worker = ride.worker(1, Protocol::Tablao, &["misc"]);
    let mut events = |request: &Request| ride.granted(request).events.len();
    assert_eq!(events(&well(worker, false)), 0, "it is not sick");
    assert_eq!(events(&sick(worker, QuarantineCause::SelfCheck, "a")), 1);
    assert_eq!(events(&sick(worker, QuarantineCause::SelfCheck, "a")), 0);
    assert_eq!(events(&sick(worker, QuarantineCause::SelfCheck, "b")), 1);
    assert_eq!(events(&well(worker, true)), 1);
    assert_eq!(events(&sick(worker, QuarantineCause::SelfCheck, "a")), 1);
    assert_eq!(events(&sick(worker, FAILURES, "three tasks")), 1);
    assert_eq!(events(&sick(worker, QuarantineCause::SelfCheck, "c")), 0);
    assert_eq!(
        events(&well(worker, true)),
        0,
        "failures are not its to forgive"
    );
    assert_eq!(events(&sick(worker, QuarantineCause::Person, "d")), 1);
    assert_eq!(events(&sick(worker, FAILURES, "three more")), 0);
    assert_eq!(
        ride.farm.quarantines()[&worker].cause,
        QuarantineCause::Person
    );
    assert_eq!(ride.granted(&well(worker, false)).events.len(), 1);
    assert!(ride.farm.quarantines().is_empty());
    let stranger = common::worker_id(9);
    for request in [sick(stranger, FAILURES, "a"), well(stranger, false)] {
        let refused = ride.ask(&request).expect_err("nobody knows it");
        assert_eq!(refused, Refusal::UnknownWorker { worker: stranger });
    }
}

/// Protects a restart: who is in quarantine, why and since when comes back out of the rows of a
/// checkpoint, and a worker that signs on again is still in quarantine.
#[test]
fn a_quarantine_outlives_restarts_of_both_sides() {
    let mut ride = Ride::new();
    let worker = ride.worker(1, Protocol::Tablao, &["misc"]);
    ride.submit(1, &[("misc", 50, &[])]);
    ride.granted(&sick(worker, QuarantineCause::SelfCheck, "no disk"));
    let since = ride.now;
    ride.wait_ms(5_000);
    ride.granted(&sick(worker, FAILURES, "three tasks"));
    ride.farm = Farm::from_rows(ride.farm.to_rows()).expect("rows of a sound farm");
    assert_eq!(ride.farm.digest(), ride.farm.recompute_digest());
    let kept = &ride.farm.quarantines()[&worker];
    assert_eq!((kept.cause, kept.since), (FAILURES, since));
    ride.sign_on(worker, Protocol::Tablao, &["misc"], &[]);
    ride.granted(&Request::WorkerStateChanged {
        worker,
        status: tablao_core::WorkerStatus::Awake,
    });
    assert_eq!(ride.next(worker), None);
}
