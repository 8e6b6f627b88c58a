// SPDX-License-Identifier: GPL-3.0-or-later
//! What a sleep schedule wants of its worker at a moment, and until when.
//!
//! Pure: the local clock is an argument, because which minute a clock on the wall shows is a
//! matter of time zones, and those are no business of the core. A span begins when the clock
//! first shows its start or jumps over it, and ends likewise; so each boundary is passed once,
//! also on the two days a year that lack an hour or have one twice.

use crate::{Timestamp, WorkerStatus, entity::SleepSchedule};

/// Stands for a start or an end that nobody gave: from midnight, until midnight.
pub const NOT_SAID: u16 = u16::MAX;

/// Minutes of a day by the clock on the wall.
pub const DAY_MINUTES: u16 = 24 * 60;

/// Spans begin at most two days before the day that the clock shows: over midnight is one, and a
/// clock that is set back over midnight is another.
const DAYS_BACK: i32 = 2;
/// Whatever repeats every week has come by then, also where the clock jumps over a day.
const DAYS_AHEAD: i32 = 9;

/// A clock on some wall.
pub trait LocalClock {
    /// The day (counted from 1 January 1970) and the minute of the day that it shows.
    fn shows(&self, at: Timestamp) -> (i32, u16);

    /// When it first shows this or something later.
    fn first_shows(&self, day: i32, minute: u16) -> Timestamp;
}

/// What a schedule wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Awake or asleep.
    pub status: WorkerStatus,
    /// The next boundary: when it will want the other. `None`: never.
    pub until: Option<Timestamp>,
}

/// The day of the week, Monday being 0.
pub const fn weekday(day: i32) -> u8 {
    // 1 January 1970 was a Thursday.
    (day + 3).rem_euclid(7).cast_unsigned() as u8
}

impl SleepSchedule {
    /// What it wants at a moment by this clock.
    pub fn verdict(&self, now: Timestamp, clock: &impl LocalClock) -> Verdict {
        let (today, _) = clock.shows(now);
        let spans = (today - DAYS_BACK..=today + DAYS_AHEAD)
            .filter_map(|day| self.span(day))
            .map(|(start, end)| {
                (
                    clock.first_shows(start.0, start.1),
                    clock.first_shows(end.0, end.1),
                )
            })
            .filter(|(start, end)| start < end);
        let mut asleep_until = None;
        let mut starts_at = None;
        for (start, end) in spans {
            match asleep_until {
                // A span that begins where another ends lengthens it.
                Some(until) if start <= until => asleep_until = Some(end),
                Some(_) => {
                    starts_at = Some(start);
                    break;
                }
                None if start <= now && now < end => asleep_until = Some(end),
                None if now < start => {
                    starts_at = Some(start);
                    break;
                }
                None => {}
            }
        }
        match (asleep_until, starts_at) {
            (Some(until), Some(_)) => Verdict {
                status: WorkerStatus::Asleep,
                until: Some(until),
            },
            // Spans without a gap for more than a week: it never ends.
            (Some(_), None) => Verdict {
                status: WorkerStatus::Asleep,
                until: None,
            },
            (None, until) => Verdict {
                status: WorkerStatus::Awake,
                until,
            },
        }
    }

    /// The span that begins on this day, as days and minutes.
    fn span(&self, day: i32) -> Option<((i32, u16), (i32, u16))> {
        let listed = self.days == 0 || self.days & (1 << weekday(day)) != 0;
        if !self.active
            || !listed
            || self.start_minute == self.end_minute && self.end_minute != NOT_SAID
        {
            return None;
        }
        let start = match self.start_minute {
            NOT_SAID => 0,
            minute => minute,
        };
        let end = match self.end_minute {
            NOT_SAID => (day + 1, 0),
            // From midnight to midnight's first minute there is nothing.
            minute if self.start_minute == NOT_SAID => (day, minute),
            minute if minute < start => (day + 1, minute),
            minute => (day, minute),
        };
        Some(((day, start), end))
    }
}
