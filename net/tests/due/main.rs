// SPDX-License-Identifier: GPL-3.0-or-later
//! What becomes due by itself, on a virtual clock, in the engine of a running Manager: sleep
//! schedules through a week and a restart, blocks that expire, workers and tasks that are silent.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod farm;

use tablao_core::{
    ActorKind, Answer, Event, Refusal, Request, TaskStatus, WorkerId, WorkerStatus as W,
    entity::{Policy, Protocol, SleepSchedule, StatusRequestSource},
    request::Report,
};
use tablao_net::engine::Expiries;
use uuid::Uuid;

use farm::{Farm, JOB, WORKER};

fn nightly(zone: &str, days: u8) -> SleepSchedule {
    SleepSchedule {
        active: true,
        time_zone: zone.to_owned(),
        days,
        start_minute: 22 * 60,
        end_minute: 6 * 60,
    }
}

const BY_SCHEDULE: StatusRequestSource = StatusRequestSource::Schedule;

/// Protects a schedule over midnight through the night in which the clocks are set: it is obeyed
/// at its boundaries to the second, by an actor of its own, and wakes nobody in between.
#[test]
fn a_night_with_an_hour_less() {
    let mut farm = Farm::new("2026-03-28T12:00:00Z");
    farm.patient();
    farm.register(WORKER, Protocol::Flamenco);
    farm.set_schedule(Some(nightly("Europe/Amsterdam", 0)));
    assert_eq!(farm.pending(), None, "it is day");
    farm.wait_until("2026-03-28T20:59:59Z");
    assert_eq!(farm.pending(), None);
    farm.wait(1);
    assert_eq!(farm.pending(), Some((W::Asleep, true, BY_SCHEDULE)));
    let decided = farm
        .records
        .iter()
        .rev()
        .find_map(|record| match &record.event {
            Event::Decision(decision) => Some(decision.actor.kind),
            _ => None,
        });
    assert_eq!(decided, Some(ActorKind::Schedule));
    farm.says(WORKER, W::Asleep);
    assert_eq!(farm.pending(), None);
    let records = farm.records.len();
    // Six o'clock is four in London that morning, not five.
    farm.wait_until("2026-03-29T03:59:59Z");
    assert_eq!(farm.records.len(), records, "nothing is written in between");
    farm.wait(1);
    assert_eq!(farm.pending(), Some((W::Awake, true, BY_SCHEDULE)));
}

/// Protects days that are not listed, and the night of the last listed day.
#[test]
fn a_week_end_is_left_alone() {
    // A Friday.
    let mut farm = Farm::new("2026-07-03T12:00:00Z");
    farm.patient();
    farm.register(WORKER, Protocol::Flamenco);
    farm.set_schedule(Some(nightly("UTC", 0b1_1111)));
    farm.wait_until("2026-07-03T22:00:00Z");
    assert_eq!(farm.pending(), Some((W::Asleep, true, BY_SCHEDULE)));
    farm.says(WORKER, W::Asleep);
    farm.wait_until("2026-07-04T06:00:00Z");
    farm.says(WORKER, W::Awake);
    let records = farm.records.len();
    farm.wait_until("2026-07-06T21:59:59Z");
    assert_eq!(farm.records.len(), records);
    farm.wait(1);
    assert_eq!(farm.pending(), Some((W::Asleep, true, BY_SCHEDULE)));
}

/// Protects the precedence: between boundaries a person's word counts, at the next one the
/// schedule's, and a task that runs is not cut off by it.
#[test]
fn a_persons_word_counts_until_the_next_boundary() {
    let mut farm = Farm::new("2026-07-03T21:59:00Z");
    farm.patient();
    farm.register(WORKER, Protocol::Flamenco);
    farm.submit(1);
    farm.set_schedule(Some(nightly("UTC", 0)));
    let task = farm.next_task(WORKER).unwrap();
    farm.report(WORKER, task, TaskStatus::Active);
    farm.wait(60);
    assert_eq!(farm.pending(), Some((W::Asleep, true, BY_SCHEDULE)));
    farm.report(WORKER, task, TaskStatus::Completed);
    farm.says(WORKER, W::Asleep);
    farm.wait(60);
    farm.wish(W::Awake);
    farm.says(WORKER, W::Awake);
    farm.wait_until("2026-07-04T06:00:01Z");
    assert_eq!(
        (farm.status(), farm.pending()),
        (Some(W::Awake), None),
        "all night"
    );
    // A wish for sleep that was not carried out by the next boundary is overruled by it.
    farm.wait_until("2026-07-04T21:59:58Z");
    farm.wish(W::Asleep);
    assert_eq!(farm.pending().unwrap().2, StatusRequestSource::Person);
    farm.wait(2);
    assert_eq!(farm.pending().unwrap().0, W::Asleep, "they want the same");
    farm.says(WORKER, W::Asleep);
    farm.wait_until("2026-07-05T06:00:00Z");
    farm.says(WORKER, W::Awake);
    // Whoever is to leave leaves, whatever its schedule says.
    farm.wish(W::Offline);
    farm.wait_until("2026-07-05T22:00:30Z");
    assert_eq!(farm.pending().unwrap().0, W::Offline);
}

/// Protects schedules across a time without the Manager: a boundary that came meanwhile is seen
/// to when it is back, one that somebody overruled before is not brought up again.
#[test]
fn a_boundary_that_the_manager_missed() {
    let mut farm = Farm::new("2026-07-03T21:00:00Z");
    farm.patient();
    farm.register(WORKER, Protocol::Flamenco);
    farm.set_schedule(Some(nightly("UTC", 0)));
    farm.now_s += 2 * 3600;
    farm.start();
    farm.wait(1);
    assert_eq!(farm.pending(), Some((W::Asleep, true, BY_SCHEDULE)));
    farm.wish(W::Awake);
    assert_eq!(farm.pending(), None);
    farm.now_s += 3600;
    farm.start();
    farm.wait(60);
    assert_eq!(farm.pending(), None, "the boundary was before the wish");
}

/// Protects workers that come and go: one that signs on in its night is asleep from the start,
/// also if it was killed asleep; what a person wants of it comes first; one that was lost and
/// comes back is told again.
#[test]
fn signing_on_at_night() {
    let mut farm = Farm::new("2026-07-03T12:00:00Z");
    farm.register(WORKER, Protocol::Flamenco);
    farm.ask(Request::SignOff { worker: WORKER });
    farm.set_schedule(Some(nightly("UTC", 0)));
    assert_eq!(
        farm.pending(),
        Some((W::Awake, false, StatusRequestSource::Remembered))
    );
    farm.wait_until("2026-07-03T23:00:00Z");
    assert_eq!(
        farm.sign_on(WORKER, Protocol::Flamenco),
        Answer::StartAs(W::Asleep)
    );
    farm.says(WORKER, W::Asleep);
    // Killed, and started again.
    assert_eq!(
        farm.sign_on(WORKER, Protocol::Flamenco),
        Answer::StartAs(W::Asleep)
    );
    farm.wish(W::Awake);
    assert_eq!(
        farm.sign_on(WORKER, Protocol::Flamenco),
        Answer::StartAs(W::Awake)
    );
    farm.says(WORKER, W::Awake);
    assert_eq!(farm.pending(), None);
    // Silent for more than a minute: lost. When it is back it hears what its schedule wants.
    farm.wait(120);
    assert_eq!(farm.status(), Some(W::Error));
    farm.says(WORKER, W::Awake);
    assert_eq!(farm.pending(), Some((W::Asleep, true, BY_SCHEDULE)));
}

/// Protects setting a schedule: it counts at once, and taking it back wakes whom it kept asleep,
/// but not one that a person put to sleep.
#[test]
fn a_schedule_counts_at_once() {
    let mut farm = Farm::new("2026-07-03T23:00:00Z");
    farm.patient();
    farm.register(WORKER, Protocol::Flamenco);
    farm.set_schedule(Some(nightly("UTC", 0)));
    assert_eq!(farm.pending(), Some((W::Asleep, true, BY_SCHEDULE)));
    farm.says(WORKER, W::Asleep);
    let idle = SleepSchedule {
        active: false,
        ..nightly("UTC", 0)
    };
    farm.set_schedule(Some(idle.clone()));
    assert_eq!(farm.pending(), Some((W::Awake, true, BY_SCHEDULE)));
    farm.wish(W::Asleep);
    assert_eq!(farm.pending(), None);
    farm.set_schedule(None);
    farm.set_schedule(Some(idle));
    assert_eq!(farm.pending(), None, "nothing kept it asleep but a person");
}

/// Protects blocks with an expiry: they go at their age, counted through a restart; without one
/// they stay for ever.
#[test]
fn blocks_expire() {
    let mut farm = Farm::new("2026-07-03T12:00:00Z");
    farm.patient();
    let other = WorkerId::new(Uuid::from_u128(9));
    farm.register(WORKER, Protocol::Flamenco);
    farm.register(other, Protocol::Flamenco);
    farm.submit(5);
    for _ in 0..3 {
        let task = farm.next_task(WORKER).unwrap();
        farm.report(WORKER, task, TaskStatus::Active);
        farm.report(WORKER, task, TaskStatus::Failed);
    }
    let blocked = |farm: &mut Farm| farm.engine().farm().jobs()[&JOB].state.blocked.len();
    assert_eq!(blocked(&mut farm), 1);
    farm.wait(30 * 24 * 3600);
    assert_eq!(blocked(&mut farm), 1, "nobody said that blocks expire");
    farm.start();
    let day = Expiries {
        blocklist_ms: 24 * 3600 * 1000,
        ..Expiries::default()
    };
    farm.engine().set_expiries(day);
    farm.wait(10);
    assert_eq!(blocked(&mut farm), 0, "it is a month old");
    let task = farm.next_task(WORKER).unwrap();
    farm.report(WORKER, task, TaskStatus::Active);
    farm.report(WORKER, task, TaskStatus::Failed);
    assert_eq!(
        blocked(&mut farm),
        1,
        "at its next failure it is blocked again"
    );
    farm.wait(12 * 3600);
    farm.start();
    farm.engine().set_expiries(day);
    farm.wait(12 * 3600 - 1);
    assert_eq!(blocked(&mut farm), 1);
    farm.wait(1);
    assert_eq!(blocked(&mut farm), 0);
}

/// Protects the timeouts of Flamenco's workers: a silent worker is lost after its minute, its
/// request is forgotten and its task is free; a task outlives its worker's silence by nothing
/// else, and a timeout of 0 is none.
#[test]
fn silence() {
    let mut farm = Farm::new("2026-07-03T12:00:00Z");
    // Right after a start nobody's silence counts.
    farm.wait(11);
    farm.register(WORKER, Protocol::Flamenco);
    farm.submit(1);
    let task = farm.next_task(WORKER).unwrap();
    farm.report(WORKER, task, TaskStatus::Active);
    farm.wish(W::Asleep);
    farm.wait(59);
    assert_eq!(farm.status(), Some(W::Awake));
    farm.wait(2);
    assert_eq!((farm.status(), farm.pending()), (Some(W::Error), None));
    assert!(farm.engine().farm().attempts().is_empty());
    // What it says now is too late, and changes nothing.
    let late = Report {
        worker: WORKER,
        task,
        attempt: None,
        status: Some(TaskStatus::Completed),
        activity: None,
        steps: None,
        frames: Vec::new(),
        failure: None,
        peak_memory_bytes: None,
    };
    let report = Request::Report {
        report: Box::new(late),
    };
    assert_eq!(farm.asked(report, ActorKind::Worker), Ok(Answer::Late));
    assert_eq!(
        farm.engine().farm().task(task).unwrap().1.status,
        TaskStatus::Queued
    );

    // A worker that lives, with a task of which it says nothing.
    let mut farm = Farm::new("2026-07-03T12:00:00Z");
    // Right after a start nobody's silence counts.
    farm.wait(11);
    farm.register(WORKER, Protocol::Flamenco);
    farm.submit(1);
    let task = farm.next_task(WORKER).unwrap();
    farm.report(WORKER, task, TaskStatus::Active);
    for second in 0..600 {
        assert_eq!(farm.engine().farm().attempts().len(), 1, "after {second} s");
        farm.wait(1);
        let moment = farm.moment();
        farm.engine().heard(
            moment,
            tablao_net::engine::Heard {
                worker: WORKER,
                attempt: None,
            },
        );
    }
    farm.wait(1);
    assert!(
        farm.engine().farm().attempts().is_empty(),
        "ten minutes are over"
    );
    assert_eq!(farm.status(), Some(W::Awake));
    assert_eq!(
        farm.engine().farm().task(task).unwrap().1.failed_by.len(),
        0
    );

    let mut farm = Farm::new("2026-07-03T12:00:00Z");
    let policy = Policy {
        worker_timeout_ms: 0,
        task_timeout_ms: 0,
        ..Policy::default()
    };
    farm.ask(Request::ApplyConfig {
        policy,
        text: String::new(),
    });
    farm.register(WORKER, Protocol::Flamenco);
    farm.submit(1);
    let task = farm.next_task(WORKER).unwrap();
    farm.report(WORKER, task, TaskStatus::Active);
    farm.wait(7 * 24 * 3600);
    assert_eq!(farm.engine().farm().attempts().len(), 1);
    assert_eq!(farm.status(), Some(W::Awake));
}

/// Protects a machine's rest: with a schedule whose boundary is hours away the engine looks no
/// more often than without one.
#[test]
fn a_schedule_wakes_nobody_before_its_boundary() {
    let mut farm = Farm::new("2026-07-03T12:00:00Z");
    farm.patient();
    farm.register(WORKER, Protocol::Flamenco);
    farm.wait(1);
    let without = farm.wait(3600);
    farm.set_schedule(Some(nightly("UTC", 0)));
    assert_eq!(farm.wait(3600), without);
}

/// Protects Flamenco's workers from a line that was cut for a minute: they do not know that they
/// count as lost, and ask on. They are told to become awake, and then are given work again.
#[test]
fn a_lost_worker_that_asks_is_found() {
    let mut farm = Farm::new("2026-07-03T12:00:00Z");
    farm.register(WORKER, Protocol::Flamenco);
    farm.wait(120);
    assert_eq!(farm.status(), Some(W::Error));
    farm.submit(1);
    let ask = Request::AskForTask { worker: WORKER };
    let told = farm.asked(ask, ActorKind::Worker);
    let status = W::Awake;
    assert_eq!(told, Err(Refusal::StatusChangePending { status }));
    assert_eq!(farm.pending(), None, "nobody asked for it");
    farm.says(WORKER, W::Awake);
    assert!(farm.next_task(WORKER).is_some());
}

/// Protects a person's word from other workers' boundaries, and a farm from a decision that is
/// too large for the journal: many workers sleep at the same hours, one at others.
#[test]
fn many_workers_with_schedules() {
    const MANY: u128 = 1200;
    let mut farm = Farm::new("2026-07-03T20:00:00Z");
    farm.patient();
    farm.register(WORKER, Protocol::Flamenco);
    let many: Vec<WorkerId> = (0..MANY)
        .map(|n| WorkerId::new(Uuid::from_u128(1000 + n)))
        .collect();
    let midnight = SleepSchedule {
        start_minute: 0,
        ..nightly("UTC", 0)
    };
    for &worker in &many {
        farm.register(worker, Protocol::Flamenco);
        let schedule = Some(midnight.clone());
        farm.ask(Request::SetWorkerSchedule { worker, schedule });
    }
    farm.wait_until("2026-07-03T23:00:00Z");
    farm.set_schedule(Some(nightly("UTC", 0)));
    assert_eq!(farm.pending(), Some((W::Asleep, true, BY_SCHEDULE)));
    farm.wish(W::Awake);
    farm.wait_until("2026-07-03T23:59:59Z");
    let before = farm.records.len();
    farm.wait(1);
    assert_eq!(farm.pending(), None, "its boundary was before the wish");
    let asked = |farm: &mut Farm, worker: &WorkerId| {
        let pending = farm.engine().farm().workers()[worker].pending;
        pending.map(|pending| pending.status)
    };
    for worker in &many {
        assert_eq!(asked(&mut farm, worker), Some(W::Asleep));
    }
    let decisions = farm.records[before..].iter();
    let decisions = decisions.filter(|record| matches!(record.event, Event::Decision(_)));
    assert_eq!(decisions.count(), 3, "five hundred at a time");
}
