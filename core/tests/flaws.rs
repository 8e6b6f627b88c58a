// SPDX-License-Identifier: GPL-3.0-or-later
//! Flawed frames: what is noted of them, that one request queues exactly their tasks again, and
//! that a publication, also of the same content, ends what was wrong.

mod common;

use common::{Ride, report, task_id};
use tablao_core::{
    Event, Farm, JobId, JobStatus as J, Refusal, Request, ShotId, TaskStatus as T, WorkerId,
    detail::FrameDetail,
    entity::{FrameKey, Protocol},
    event::{Finding, FrameWish, frame_flags},
    request::{FrameReport, Report},
};

fn key(job: JobId, number: i32) -> FrameKey {
    FrameKey {
        shot: ShotId::of_job(job),
        output: String::new(),
        view: String::new(),
        number,
    }
}

fn frame(job: JobId, number: i32, hash: u8) -> FrameReport {
    FrameReport {
        key: key(job, number),
        detail: FrameDetail::default(),
        size: 100,
        hash: [hash; 32],
        rendered_at: common::START,
        render_ms: 10,
        samples: None,
        peak_memory_bytes: None,
        flags: 0,
        found: false,
    }
}

fn tells(ride: &mut Ride, worker: WorkerId, task: u32, job: JobId, frames: Vec<FrameReport>) {
    ride.granted(&Request::Report {
        report: Box::new(Report {
            frames,
            ..report(worker, task_id(job, task))
        }),
    });
}

/// A job of three tasks with two frames each, all of them rendered. The frames of task n are
/// 10 n and 10 n + 1, each with its number as its hash.
fn rendered() -> (Ride, WorkerId, JobId) {
    let mut ride = Ride::new();
    ride.watch_digest = true;
    let worker = ride.worker(1, Protocol::Tablao, &["misc"]);
    let plan: common::TaskPlan<'_> = ("misc", 50, &[]);
    let job = ride.submit(1, &[plan; 3]);
    for number in 0..3 {
        let task = ride.next(worker).expect("it has three");
        assert_eq!(task, task_id(job, number));
        let first = i32::try_from(number * 10).expect("small numbers");
        let frames =
            [first, first + 1].map(|n| frame(job, n, u8::try_from(n).expect("small numbers")));
        tells(&mut ride, worker, number, job, frames.to_vec());
        ride.says(worker, task, T::Completed);
    }
    assert_eq!(ride.job_status(job), J::Completed);
    (ride, worker, job)
}

fn finding(job: JobId, number: i32, flags: u16) -> Finding {
    Finding {
        key: key(job, number),
        publications: 1,
        maker: None,
        flags,
        seen: (flags != frame_flags::MISSING).then_some([0xbb; 32]),
        words: "somebody looked".to_owned(),
    }
}

fn flag(ride: &mut Ride, findings: Vec<Finding>) -> Vec<Event> {
    let request = Request::FlagFrames {
        findings,
        verified: None,
    };
    ride.granted(&request).events
}

fn want(ride: &mut Ride, wish: FrameWish) -> Vec<Event> {
    ride.granted(&Request::WantFrames { wish }).events
}

fn wanted(farm: &Farm, job: JobId, task: u32) -> Vec<i32> {
    let keys = farm.flaws().wanted_of(job, task);
    keys.map(|(key, _)| key.number).collect()
}

/// Protects a night's render: one request queues the tasks of flawed frames and no other task,
/// names the flawed frames and no other frame, and does nothing when it is made again.
#[test]
fn exactly_the_tasks_of_flawed_frames_run_again() {
    let (mut ride, worker, job) = rendered();
    let found = vec![
        finding(job, 1, frame_flags::BLACK),
        finding(job, 20, frame_flags::MISSING),
        finding(job, 10, 0),
    ];
    assert_eq!(flag(&mut ride, found.clone()).len(), 2);
    assert!(flag(&mut ride, found).is_empty(), "nothing new");
    let wish = FrameWish {
        job: Some(job),
        ..FrameWish::default()
    };
    let events = want(&mut ride, wish.clone());
    assert_eq!(ride.statuses(job), [T::Queued, T::Completed, T::Queued]);
    assert_eq!(ride.job_status(job), J::Queued);
    assert_eq!(events.len(), 3, "wanted, tasks, job: {events:?}");
    assert_eq!(wanted(&ride.farm, job, 0), [1]);
    assert_eq!(wanted(&ride.farm, job, 1), [0; 0]);
    assert_eq!(wanted(&ride.farm, job, 2), [20]);
    assert!(want(&mut ride, wish).is_empty(), "they are wanted already");
    assert_eq!(ride.next(worker), Some(task_id(job, 0)));
}

/// Protects the end of the story: a frame that is published anew has nothing wrong with it any
/// more, also when the render came out the same as before, and its neighbour stays untouched.
#[test]
fn a_publication_ends_what_was_wrong() {
    for hash in [1, 99] {
        let (mut ride, worker, job) = rendered();
        flag(&mut ride, vec![finding(job, 1, frame_flags::TRUNCATED)]);
        want(&mut ride, FrameWish::default());
        ride.next(worker).expect("the task of frame 1");
        let mut neighbour = frame(job, 0, 0);
        neighbour.found = true;
        tells(
            &mut ride,
            worker,
            0,
            job,
            vec![neighbour, frame(job, 1, hash)],
        );
        assert!(ride.farm.flaws().is_empty(), "{:?}", ride.farm.flaws());
        let publications = |number| {
            ride.farm
                .frames()
                .get(&key(job, number))
                .unwrap()
                .publications
        };
        assert_eq!((publications(0), publications(1)), (1, 2));
        ride.says(worker, task_id(job, 0), T::Completed);
        assert_eq!(ride.job_status(job), J::Completed);
    }
}

/// Protects a frame that somebody repaired by hand while its task waited: it is taken as it is;
/// the bad file itself, found again, is not.
#[test]
fn a_file_that_was_put_there_meanwhile_is_the_frame() {
    for (hash, is_over) in [(0xbb, false), (0x77, true)] {
        let (mut ride, worker, job) = rendered();
        flag(&mut ride, vec![finding(job, 1, frame_flags::CHANGED)]);
        want(&mut ride, FrameWish::default());
        ride.next(worker).expect("the task of frame 1");
        let mut report = frame(job, 1, hash);
        report.found = true;
        tells(&mut ride, worker, 0, job, vec![report]);
        assert_eq!(ride.farm.flaws().is_empty(), is_over);
    }
}

/// Protects a good file from making way: a frame that is found to be right again is not wanted any
/// more, and a bad file that became another bad one makes way as what it is now.
#[test]
fn what_is_wanted_follows_what_is_seen() {
    let (mut ride, _, job) = rendered();
    flag(&mut ride, vec![finding(job, 1, frame_flags::TRUNCATED)]);
    want(&mut ride, FrameWish::default());
    let mut another = finding(job, 1, frame_flags::TRUNCATED);
    another.seen = Some([0xcc; 32]);
    assert_eq!(flag(&mut ride, vec![another]).len(), 1);
    let flaw = ride.farm.flaws().get(&key(job, 1)).expect("it is flagged");
    assert_eq!((flaw.seen, flaw.wanted), (Some([0xcc; 32]), true));
    flag(&mut ride, vec![finding(job, 1, 0)]);
    assert!(ride.farm.flaws().is_empty());
}

/// Protects a second try: a frame whose task ended without rendering it can be asked for again.
#[test]
fn a_wish_that_was_not_carried_out_can_be_made_again() {
    let (mut ride, worker, job) = rendered();
    flag(&mut ride, vec![finding(job, 1, frame_flags::BLACK)]);
    want(&mut ride, FrameWish::default());
    let task = ride.next(worker).expect("the task of frame 1");
    ride.runs(worker, task, T::Completed);
    assert_eq!(wanted(&ride.farm, job, 0), [1], "nobody told of it");
    assert!(!want(&mut ride, FrameWish::default()).is_empty());
    assert_eq!(ride.statuses(job)[0], T::Queued);
}

/// Protects good frames from stale news: what was seen of a frame that was published anew since
/// says nothing about it.
#[test]
fn a_finding_about_an_older_publication_is_dropped() {
    let (mut ride, worker, job) = rendered();
    want(
        &mut ride,
        FrameWish {
            keys: vec![key(job, 1)],
            ..FrameWish::default()
        },
    );
    ride.next(worker).expect("the task of frame 1");
    tells(&mut ride, worker, 0, job, vec![frame(job, 1, 98)]);
    assert!(flag(&mut ride, vec![finding(job, 1, frame_flags::BLACK)]).is_empty());
    assert!(ride.farm.flaws().is_empty());
}

/// Protects what a worker finds itself: a broken file that it was told to leave is flagged by its
/// own report, and is not taken for a new publication.
#[test]
fn a_worker_flags_what_it_finds() {
    let (mut ride, worker, job) = rendered();
    ride.set_task(task_id(job, 0), T::Queued)
        .expect("it is done");
    ride.next(worker).expect("the task of frame 1");
    let mut report = frame(job, 1, 50);
    (report.found, report.flags) = (true, frame_flags::TRUNCATED);
    tells(&mut ride, worker, 0, job, vec![report]);
    let flaw = ride.farm.flaws().get(&key(job, 1)).expect("it is flagged");
    assert_eq!((flaw.flags, flaw.wanted), (frame_flags::TRUNCATED, false));
    assert_eq!(
        ride.farm.frames().get(&key(job, 1)).unwrap().publications,
        1
    );
}

/// Protects running work and its order: a frame of a task that runs is rendered anew after that
/// run was stopped; a frame that nobody knows is refused; those of a job that goes go with it.
#[test]
fn tasks_that_run_are_stopped_first() {
    let (mut ride, worker, job) = rendered();
    ride.set_task(task_id(job, 1), T::Queued)
        .expect("it is done");
    let task = ride.next(worker).expect("it waits");
    ride.says(worker, task, T::Active);
    let wish = |number| FrameWish {
        keys: vec![key(job, number)],
        ..FrameWish::default()
    };
    let events = want(&mut ride, wish(11));
    let stops = |event: &Event| matches!(event, Event::AttemptStopRequested(_));
    assert_eq!(events.iter().filter(|event| stops(event)).count(), 1);
    ride.says(worker, task, T::Canceled);
    assert_eq!(ride.statuses(job)[1], T::Queued);
    assert_eq!(wanted(&ride.farm, job, 1), [11]);
    let refused = ride.ask(&Request::WantFrames { wish: wish(77) });
    assert_eq!(refused.unwrap_err(), Refusal::UnknownFrame { number: 77 });
    ride.set_job(job, J::CancelRequested).expect("it is queued");
    ride.granted(&Request::MarkJobDeleted { job });
    ride.granted(&Request::PurgeJob { job });
    assert!(ride.farm.flaws().is_empty());
}

/// Protects a restart: what is wrong and wanted comes back from the rows of a checkpoint.
#[test]
fn flaws_come_back_from_rows() {
    let (mut ride, _, job) = rendered();
    flag(&mut ride, vec![finding(job, 1, frame_flags::EMPTY)]);
    want(
        &mut ride,
        FrameWish {
            keys: vec![key(job, 20)],
            ..FrameWish::default()
        },
    );
    let rows: Vec<_> = ride.farm.to_rows().collect();
    let back = Farm::from_rows(rows).expect("its own rows");
    assert_eq!(back.flaws(), ride.farm.flaws());
    assert_eq!(back.flaws().len(), 2);
    assert_eq!(wanted(&back, job, 2), [20]);
    assert_eq!(back.digest(), back.recompute_digest());
}
