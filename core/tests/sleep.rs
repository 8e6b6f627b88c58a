// SPDX-License-Identifier: GPL-3.0-or-later
//! Sleep schedules: what they want at a moment and until when, against an oracle that looks at
//! every minute; and what comes of it for a worker of whom a person wants something else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Ride, worker_id};
use proptest::prelude::*;
use tablao_core::{
    Request, Timestamp, WorkerId, WorkerStatus as W,
    entity::{Protocol, SleepSchedule, StatusRequest, StatusRequestSource},
    sleep::{LocalClock, NOT_SAID, Verdict, weekday},
};

const MINUTE_US: u64 = 60_000_000;
const DAY: i64 = 24 * 60;
/// Minutes from 1970 to a Monday, at midnight.
const MONDAY: i64 = 4 * DAY + 2600 * 7 * DAY;

/// A clock that is set at some moments, as by daylight saving: the minute at which it is set, and
/// by how much it differs from then on.
#[derive(Clone, Debug, Default)]
struct Wall(Vec<(i64, i64)>);

impl Wall {
    fn minutes(&self, at: i64) -> i64 {
        let set = self.0.iter().rev().find(|(from, _)| *from <= at);
        at + set.map_or(0, |(_, by)| *by)
    }
}

impl LocalClock for Wall {
    fn shows(&self, at: Timestamp) -> (i32, u16) {
        let minutes = self.minutes(i64::try_from(at.micros() / MINUTE_US).unwrap());
        (
            i32::try_from(minutes.div_euclid(DAY)).unwrap(),
            u16::try_from(minutes.rem_euclid(DAY)).unwrap(),
        )
    }

    fn first_shows(&self, day: i32, minute: u16) -> Timestamp {
        let wanted = i64::from(day) * DAY + i64::from(minute);
        // Far enough before, then minute by minute.
        let found = (wanted - 3000..).find(|&at| self.minutes(at) >= wanted);
        minute_at(found.unwrap())
    }
}

fn minute_at(minutes: i64) -> Timestamp {
    Timestamp::from_micros(u64::try_from(minutes).unwrap() * MINUTE_US)
}

fn schedule(days: u8, start: u16, end: u16) -> SleepSchedule {
    SleepSchedule {
        active: true,
        time_zone: String::new(),
        days,
        start_minute: start,
        end_minute: end,
    }
}

/// Asleep, by the latest day and minute that the clock has shown so far.
fn naive(schedule: &SleepSchedule, shown: i64) -> bool {
    let (day, minute) = (shown.div_euclid(DAY), shown.rem_euclid(DAY));
    let listed = |day: i64| {
        schedule.days == 0 || schedule.days >> weekday(i32::try_from(day).unwrap()) & 1 == 1
    };
    let start = match schedule.start_minute {
        NOT_SAID => 0,
        minute => i64::from(minute),
    };
    match schedule.end_minute {
        NOT_SAID => listed(day) && minute >= start,
        end if i64::from(end) >= start => listed(day) && minute >= start && minute < i64::from(end),
        end => listed(day) && minute >= start || listed(day - 1) && minute < i64::from(end),
    }
}

/// What the oracle says: walks through every minute from days before to days after.
fn oracle(schedule: &SleepSchedule, wall: &Wall, now: i64) -> (W, Option<Timestamp>) {
    let mut shown = i64::MIN;
    let mut at_now = None;
    for at in now - 4 * DAY..now + 9 * DAY {
        shown = shown.max(wall.minutes(at));
        let asleep = schedule.active && naive(schedule, shown);
        match at_now {
            None if at == now => at_now = Some(asleep),
            Some(before) if before != asleep => {
                return (status(before), Some(minute_at(at)));
            }
            _ => {}
        }
    }
    (status(at_now.unwrap()), None)
}

fn status(asleep: bool) -> W {
    if asleep { W::Asleep } else { W::Awake }
}

fn minutes() -> impl Strategy<Value = u16> {
    prop_oneof![6 => 0..1440u16, 1 => Just(NOT_SAID), 1 => Just(0u16), 1 => Just(1439u16)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Protects every schedule on every clock: the verdict and the next boundary are those that
    /// one finds by looking at each minute, also where an hour is missing or comes twice.
    #[test]
    fn as_minute_by_minute(
        days in 0..128u8,
        (start, end) in (minutes(), minutes()),
        active in prop::bool::weighted(0.95),
        now in MONDAY..MONDAY + 14 * DAY,
        set_at in -5 * DAY..9 * DAY,
        set_by in prop::sample::select(vec![0, 60, -60, 30, -30, 1440, -1440, 180]),
        back in any::<bool>(),
    ) {
        let mut schedule = schedule(days, start, end);
        schedule.active = active;
        let mut wall = Wall(vec![(now + set_at, set_by)]);
        if back {
            wall.0.push((now + set_at + 4 * DAY, 0));
        }
        let (status, until) = oracle(&schedule, &wall, now);
        let verdict = schedule.verdict(minute_at(now), &wall);
        prop_assert_eq!(verdict, Verdict { status, until });
    }
}

/// Protects the words of the documents: rows that a reader can check without an oracle.
#[test]
fn rows_that_can_be_read() {
    let hour = |day: i64, hour: i64, minute: i64| MONDAY + day * DAY + hour * 60 + minute;
    let night = schedule(0, 22 * 60, 6 * 60);
    let weekdays = schedule(0b1_1111, 9 * 60, 18 * 60);
    let monday_night = schedule(1, 22 * 60, 6 * 60);
    let whole_monday = schedule(1, NOT_SAID, NOT_SAID);
    let always = schedule(0, NOT_SAID, NOT_SAID);
    let nothing = schedule(0, 9 * 60, 9 * 60);
    let rows = [
        (&night, hour(0, 21, 59), W::Awake, Some(hour(0, 22, 0))),
        (&night, hour(0, 22, 0), W::Asleep, Some(hour(1, 6, 0))),
        (&night, hour(1, 5, 59), W::Asleep, Some(hour(1, 6, 0))),
        (&night, hour(1, 6, 0), W::Awake, Some(hour(1, 22, 0))),
        (&weekdays, hour(4, 17, 0), W::Asleep, Some(hour(4, 18, 0))),
        // Days that are not listed: the whole week-end.
        (&weekdays, hour(4, 18, 0), W::Awake, Some(hour(7, 9, 0))),
        (&weekdays, hour(5, 12, 0), W::Awake, Some(hour(7, 9, 0))),
        // A night belongs to the day on which it begins.
        (&monday_night, hour(0, 3, 0), W::Awake, Some(hour(0, 22, 0))),
        (&monday_night, hour(1, 3, 0), W::Asleep, Some(hour(1, 6, 0))),
        (
            &monday_night,
            hour(1, 23, 0),
            W::Awake,
            Some(hour(7, 22, 0)),
        ),
        (&whole_monday, hour(0, 0, 0), W::Asleep, Some(hour(1, 0, 0))),
        (
            &whole_monday,
            hour(6, 23, 59),
            W::Awake,
            Some(hour(7, 0, 0)),
        ),
        (&always, hour(2, 12, 0), W::Asleep, None),
        (&nothing, hour(2, 9, 0), W::Awake, None),
    ];
    for (schedule, now, status, until) in rows {
        let until = until.map(minute_at);
        let verdict = schedule.verdict(minute_at(now), &Wall::default());
        assert_eq!(verdict, Verdict { status, until }, "{schedule:?} at {now}");
    }
}

fn follow(ride: &mut Ride, worker: WorkerId, status: W, signing_on: bool) -> usize {
    let wanted = vec![(worker, status)];
    let heard = ride.granted(&Request::FollowSchedules { wanted, signing_on });
    heard.events.len()
}

fn wish(ride: &mut Ride, worker: WorkerId, status: W, lazy: bool) {
    let reason = String::new();
    ride.granted(&Request::RequestWorkerStatus {
        worker,
        status,
        lazy,
        reason,
    });
}

/// Protects the precedence: a schedule speaks at its boundaries and then overrules what was
/// wished, between them a person's word counts, and whoever is to leave leaves.
#[test]
fn who_has_the_last_word() {
    let mut ride = Ride::new();
    let worker = ride.worker(1, Protocol::Tablao, &["misc"]);
    let asked = |ride: &Ride| ride.worker_state(worker).pending;
    let by_schedule = |status| {
        Some(StatusRequest {
            status,
            lazy: true,
            source: StatusRequestSource::Schedule,
        })
    };
    assert_eq!(follow(&mut ride, worker, W::Awake, false), 0, "it is awake");
    assert_eq!(follow(&mut ride, worker, W::Asleep, false), 1);
    assert_eq!(asked(&ride), by_schedule(W::Asleep));
    assert_eq!(
        follow(&mut ride, worker, W::Asleep, false),
        0,
        "it was asked already"
    );
    // A person's word, after the boundary.
    wish(&mut ride, worker, W::Awake, false);
    assert_eq!(asked(&ride), None, "it is what the person wants");
    // The next boundary overrules what was not carried out yet, lazy or not.
    for lazy in [true, false] {
        wish(&mut ride, worker, W::Asleep, lazy);
        follow(&mut ride, worker, W::Awake, false);
        assert_eq!(asked(&ride), None);
    }
    // It does not keep anybody who is to leave.
    for status in [W::Offline, W::Error] {
        wish(&mut ride, worker, status, true);
        assert_eq!(follow(&mut ride, worker, W::Asleep, false), 0);
        assert_eq!(asked(&ride).map(|asked| asked.status), Some(status));
    }
    wish(&mut ride, worker, W::Awake, false);
    // A worker that was asleep when it was killed is asleep when it comes back.
    ride.granted(&Request::WorkerStateChanged {
        worker,
        status: W::Asleep,
    });
    assert_eq!(follow(&mut ride, worker, W::Asleep, false), 0);
    assert_eq!(follow(&mut ride, worker, W::Asleep, true), 1);
    let heard = ride.sign_on(worker, Protocol::Tablao, &["misc"], &[]);
    assert_eq!(heard.answer, tablao_core::Answer::StartAs(W::Asleep));
    // Nobody is asked who is not there.
    assert_eq!(follow(&mut ride, worker_id(9), W::Asleep, false), 0);
}
