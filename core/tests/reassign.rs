// SPDX-License-Identifier: GPL-3.0-or-later
//! A job that goes from one Manager to another: who may take it, and what becomes of what the
//! old one still runs and says.
mod common;

use common::*;
use tablao_core::{
    Answer, Event, JobStatus, Lsn, Refusal, Request, TaskStatus as T,
    decide::JOB_LEASE_MS,
    entity::{Hold, JobSource, Protocol},
    event::AttemptOutcome,
};

/// A control journal with two Managers and a job that is placed at the first.
fn placed() -> Ride {
    let mut ride = Ride::new();
    for manager in [manager_id(1), manager_id(2)] {
        ride.granted(&Request::LinkManager {
            manager,
            name: "a site".to_owned(),
        });
    }
    ride.granted(&Request::PlaceJob {
        job: job_id(1),
        manager: manager_id(1),
        submission: [1; 32],
        name: "a job".to_owned(),
        why: "the first".to_owned(),
    });
    ride
}

fn reassign(silent_since: Option<tablao_core::Timestamp>) -> Request {
    Request::ReassignJob {
        job: job_id(1),
        manager: manager_id(2),
        silent_since,
        why: "it burned down".to_owned(),
    }
}

/// Protects a frame from two sites: a job is taken from a Manager that was heard of lately only
/// if a person vouches for it, and each placement elsewhere has a higher epoch than the last.
#[test]
fn a_job_is_taken_after_its_lease_and_in_a_higher_epoch() {
    let mut ride = placed();
    let heard = ride.now;
    ride.wait_ms(JOB_LEASE_MS - 1);
    let early = ride.ask(&reassign(Some(heard)));
    assert_eq!(early.err(), Some(Refusal::JobLeased { job: job_id(1) }));
    ride.wait_ms(1);
    ride.granted(&reassign(Some(heard)));
    let placement = &ride.farm.placements()[&job_id(1)];
    assert_eq!((placement.manager, placement.epoch), (manager_id(2), 2));
    // The same again changes nothing; back again is a third epoch.
    assert!(ride.granted(&reassign(None)).events.is_empty());
    ride.granted(&Request::ReassignJob {
        job: job_id(1),
        manager: manager_id(1),
        silent_since: None,
        why: "it was rebuilt".to_owned(),
    });
    assert_eq!(ride.farm.placements()[&job_id(1)].epoch, 3);
}

/// Protects the new Manager's frames: the old one, whenever it hears of the reassignment, ends
/// what it runs, gives nothing of the job out any more, and takes its workers' words as late. It
/// does so once. If the job comes back, it runs again in the later epoch.
#[test]
fn the_old_manager_stops_and_may_get_it_back() {
    let mut ride = Ride::new();
    let worker = ride.worker(1, Protocol::Tablao, &["blender"]);
    let job = ride.submit(1, &[("blender", 50, &[]), ("blender", 50, &[])]);
    let task = ride.next(worker).expect("there is one");
    let attempt = *ride.farm.attempts().keys().next().expect("it runs");
    let fence = Request::FenceJob {
        control: Lsn::new(7),
        job,
        manager: manager_id(2),
        epoch: 2,
    };
    let decided = ride.granted(&fence);
    assert!(decided.events.iter().any(|event| matches!(
        event,
        Event::AttemptEnded(ended)
            if ended.attempt == attempt && ended.outcome == AttemptOutcome::Superseded
    )));
    assert!(ride.farm.attempts().is_empty());
    assert_eq!(ride.farm.settled(), Lsn::new(7));
    assert!(ride.granted(&fence).events.is_empty());
    assert_eq!(ride.next(worker), None);
    let mut late = report(worker, task);
    late.attempt = Some(attempt);
    late.status = Some(T::Completed);
    let late = Request::Report {
        report: Box::new(late),
    };
    assert_eq!(ride.granted(&late).answer, Answer::Late);

    let mut again = facts(job, 2);
    again.source = JobSource::Placed;
    again.job_epoch = 3;
    let back = Request::SubmitJob {
        job: new_job(
            again,
            chunk(job, 0, &[("blender", 50, &[]), ("blender", 50, &[])]),
        ),
    };
    ride.granted(&back);
    let state = &ride.farm.jobs()[&job].state;
    assert!(!state.holds.contains(&Hold::Placement));
    assert_ne!(state.status, JobStatus::Canceled);
    assert_eq!(ride.next(worker), Some(task));
    let attempt = *ride.farm.attempts().keys().next().expect("it runs again");
    assert_eq!(attempt.job_epoch, 3);
}
