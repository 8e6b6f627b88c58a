// SPDX-License-Identifier: GPL-3.0-or-later
//! How tasks are compared when a job is compiled anew, against content worked out the long way,
//! and how an exchange of tasks goes when some of them run.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::{Ride, chunk};
use proptest::prelude::*;
use tablao_core::{
    Event, JobId, JobStatus, Request, TaskStatus,
    detail::JobDetail,
    entity::Protocol,
    event::StopCause,
    regeneration::{Difference, HadTask, WantedTask, compare},
    request::{Regeneration, Requeue},
};

/// A task in a few numbers: name, type, content, and how far back those lie that it waits for.
type Sketch = (u8, u8, u8, Vec<u8>);

fn sketches() -> impl Strategy<Value = Vec<Sketch>> {
    let sketch = (0u8..6, 0u8..2, 0u8..3, prop::collection::vec(1u8..5, 0..3));
    prop::collection::vec(sketch, 0..12)
}

fn needs(place: usize, sketch: &Sketch) -> Vec<usize> {
    let back = sketch.3.iter().map(|&back| usize::from(back));
    back.filter_map(|back| place.checked_sub(back)).collect()
}

fn had(sketches: &[Sketch], shift: u32) -> Vec<HadTask> {
    (sketches.iter().enumerate())
        .map(|(place, sketch)| HadTask {
            number: shift + place as u32,
            name: format!("name {}", sketch.0),
            task_type: format!("type {}", sketch.1),
            content_hash: [sketch.2; 32],
            depends_on: (needs(place, sketch).iter())
                .map(|&place| shift + place as u32)
                .collect(),
        })
        .collect()
}

fn wanted(sketches: &[Sketch], touched: &[bool]) -> Vec<WantedTask> {
    (sketches.iter().enumerate())
        .map(|(place, sketch)| WantedTask {
            name: format!("name {}", sketch.0),
            task_type: format!("type {}", sketch.1),
            content_hash: [sketch.2; 32],
            depends_on: needs(place, sketch),
            is_touched: touched.get(place).copied().unwrap_or_default(),
        })
        .collect()
}

/// All that a task is, written out: who it is, what it does, and the same of all it waits for.
fn written_out(sketches: &[Sketch], touched: &[bool]) -> Vec<(String, String)> {
    let mut seen: BTreeMap<(u8, u8), u32> = BTreeMap::new();
    let mut all: Vec<(String, String)> = Vec::new();
    for (place, sketch) in sketches.iter().enumerate() {
        let count = seen.entry((sketch.0, sketch.1)).or_default();
        *count += 1;
        let identity = format!("{}/{}#{count}", sketch.0, sketch.1);
        let mut below: Vec<&str> = needs(place, sketch)
            .into_iter()
            .map(|place| all[place].1.as_str())
            .collect();
        below.sort_unstable();
        below.dedup();
        let touched = touched.get(place).copied().unwrap_or_default();
        let content = format!("<{identity} {} {touched} {below:?}>", sketch.2);
        all.push((identity, content));
    }
    all
}

proptest! {
    /// Protects finished work and unfinished work alike: a task is kept exactly if everything
    /// about it, down to what it waits for, is the same; each one has one fate.
    #[test]
    fn what_is_kept_is_what_is_the_same(
        before in sketches(),
        after in sketches(),
        touched in prop::collection::vec(prop::bool::weighted(0.1), 0..12),
        alike in any::<bool>(),
    ) {
        let after = if alike { before.clone() } else { after };
        let difference = compare(&had(&before, 40), &wanted(&after, &touched));
        let old: BTreeMap<String, (u32, String)> = (40..).zip(written_out(&before, &[]))
            .map(|(number, (identity, content))| (identity, (number, content)))
            .collect();
        let new = written_out(&after, &touched);
        let mut expected = Difference::default();
        for (place, (identity, content)) in new.iter().enumerate() {
            match old.get(identity) {
                Some((number, known)) if known == content => {
                    expected.kept.insert(place, *number);
                }
                Some((number, _)) => {
                    expected.changed.insert(place, *number);
                }
                None => expected.added.push(place),
            }
        }
        expected.vanished = old
            .iter()
            .filter(|(identity, _)| !new.iter().any(|(other, _)| other == *identity))
            .map(|(_, (number, _))| *number)
            .collect();
        expected.vanished.sort_unstable();
        prop_assert_eq!(&difference, &expected);
        if alike && !touched.iter().take(after.len()).any(|touched| *touched) {
            prop_assert!(difference.is_empty());
        }
    }
}

fn regeneration(job: JobId, retired: &[(u32, u32)], added: (u32, u32)) -> Request {
    Request::RegenerateJob {
        regeneration: Box::new(Regeneration {
            job,
            from_generation: 1,
            script_hash: [7; 32],
            retired: retired.to_vec(),
            added,
            detail: JobDetail::default(),
            reason: "the samples changed".to_owned(),
        }),
    }
}

fn prepare(ride: &mut Ride, job: JobId, first: u32, plans: &[common::TaskPlan<'_>]) {
    ride.granted(&Request::PrepareTasks {
        job,
        generation: 2,
        chunk: Box::new(chunk(job, first, plans)),
    });
}

/// Protects frames from two writers: while a task that went still runs, nothing of its job
/// starts; it is asked to stop, ends canceled whatever the job does, and then the new one runs.
#[test]
fn what_went_and_runs_is_waited_for() {
    let mut ride = Ride::new();
    let worker = ride.worker(1, Protocol::Tablao, &["misc"]);
    let other = ride.worker(2, Protocol::Tablao, &["misc"]);
    let job = ride.submit(1, &[("misc", 50, &[]), ("misc", 50, &[])]);
    let old = ride.next(worker).unwrap();
    ride.says(worker, old, TaskStatus::Active);
    prepare(&mut ride, job, 2, &[("misc", 50, &[]), ("misc", 50, &[2])]);
    assert_eq!(
        ride.job(job).counts.total(),
        2,
        "prepared tasks are no part of it"
    );
    let heard = ride.granted(&regeneration(job, &[(0, 1)], (2, 2)));
    assert!(heard.events.iter().any(|event| matches!(
        event,
        Event::AttemptStopRequested(stop) if stop.cause == StopCause::Regenerated
    )));
    assert_eq!(ride.next(other), None);
    ride.says(worker, old, TaskStatus::Canceled);
    assert_eq!(ride.task(old).status, TaskStatus::Canceled);
    let new = ride.next(other).unwrap();
    assert_eq!(ride.task(new).number, 2);
    assert!(ride.job(job).tasks.rendered_since(2).is_some());
    ride.runs(other, new, TaskStatus::Completed);
    let last = ride.next(other).unwrap();
    ride.runs(other, last, TaskStatus::Completed);
    assert_eq!(ride.job_status(job), JobStatus::Completed);
}

/// Protects ended jobs: one that has something to do goes on, one whose failure went is done.
#[test]
fn an_ended_job_goes_on_or_is_done() {
    let mut ride = Ride::new();
    let worker = ride.worker(1, Protocol::Tablao, &["misc"]);
    let job = ride.submit(1, &[("misc", 50, &[]), ("misc", 50, &[])]);
    let first = ride.next(worker).unwrap();
    ride.runs(worker, first, TaskStatus::Completed);
    let second = ride.next(worker).unwrap();
    ride.runs(worker, second, TaskStatus::Failed);
    assert_eq!(ride.job_status(job), JobStatus::Failed);
    ride.granted(&regeneration(job, &[(1, 1)], (2, 0)));
    assert_eq!(ride.job_status(job), JobStatus::Completed);
    assert!(ride.job(job).failures.is_empty());

    let job = ride.submit(2, &[("misc", 50, &[])]);
    let first = ride.next(worker).unwrap();
    ride.runs(worker, first, TaskStatus::Completed);
    prepare(&mut ride, job, 1, &[("misc", 50, &[0])]);
    ride.granted(&regeneration(job, &[], (1, 1)));
    assert_eq!(ride.job_status(job), JobStatus::Queued);
    assert_eq!(
        ride.statuses(job),
        [TaskStatus::Completed, TaskStatus::Queued]
    );
}

/// Protects against half an exchange: what does not fit the job as it is by now is refused.
#[test]
fn an_exchange_that_does_not_fit_is_refused() {
    let mut ride = Ride::new();
    let job = ride.submit(1, &[("misc", 50, &[]), ("misc", 50, &[0])]);
    let before = ride.farm.position();
    for wrong in [
        regeneration(job, &[(0, 0)], (2, 0)), // its dependant stays
        regeneration(job, &[], (2, 1)),       // nothing was prepared
        regeneration(job, &[(1, 2)], (2, 0)), // there is no such task
        regeneration(job, &[(1, 1), (0, 0)], (2, 0)),
    ] {
        ride.ask(&wrong).unwrap_err();
    }
    let requeue = |ranges: &[(u32, u32)]| Request::RequeueTasks {
        requeue: Box::new(Requeue {
            job,
            ranges: ranges.to_vec(),
            dependants: true,
            discard: false,
            reason: String::new(),
        }),
    };
    ride.ask(&requeue(&[(0, 2)])).unwrap_err();
    assert!(ride.granted(&requeue(&[(0, 1)])).events.is_empty());
    assert!(ride.farm.position() > before, "refusals are on record");
    ride.granted(&regeneration(job, &[(1, 1)], (2, 0)));
    ride.ask(&regeneration(job, &[(0, 0)], (2, 0))).unwrap_err();
}
