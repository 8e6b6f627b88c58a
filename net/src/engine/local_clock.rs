// SPDX-License-Identifier: GPL-3.0-or-later
//! The clock on the wall of a time zone, for sleep schedules.
//!
//! Zones go by their IANA names; an empty name is the zone of this machine.

use jiff::{
    civil::{Date, DateTime},
    tz::{AmbiguousOffset, TimeZone},
};
use tablao_core::{Timestamp, sleep::LocalClock};

/// A clock in a time zone.
pub struct ZoneClock(TimeZone);

impl ZoneClock {
    /// The clock of a zone; `None` when nobody knows a zone of that name.
    pub fn of(zone: &str) -> Option<Self> {
        match zone {
            "" => Some(Self(TimeZone::system())),
            name => TimeZone::get(name).ok().map(Self),
        }
    }

    /// The clock of a zone; where its name is not known (any more), that of this machine.
    pub(super) fn of_or_own(zone: &str) -> Self {
        Self::of(zone).unwrap_or_else(|| Self(TimeZone::system()))
    }
}

const DAY_0: Date = jiff::civil::date(1970, 1, 1);

fn date(day: i32) -> Date {
    DAY_0.saturating_add(jiff::Span::new().days(day))
}

fn instant(at: Timestamp) -> jiff::Timestamp {
    let micros = i64::try_from(at.micros()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX)
}

fn timestamp(at: jiff::Timestamp) -> Timestamp {
    // Nothing in a farm is older than 1970.
    Timestamp::from_micros(u64::try_from(at.as_microsecond()).unwrap_or(0))
}

impl LocalClock for ZoneClock {
    fn shows(&self, at: Timestamp) -> (i32, u16) {
        let shown = self.0.to_datetime(instant(at));
        let days = (shown.date().since((jiff::Unit::Day, DAY_0))).map_or(0, |span| span.get_days());
        let minute =
            u16::from(shown.hour().unsigned_abs()) * 60 + u16::from(shown.minute().unsigned_abs());
        (days, minute)
    }

    fn first_shows(&self, day: i32, minute: u16) -> Timestamp {
        let (hour, minute) = (minute / 60 % 24, minute % 60);
        let time = jiff::civil::time(
            i8::try_from(hour).expect("an hour of a day"),
            i8::try_from(minute).expect("a minute of an hour"),
            0,
            0,
        );
        let wanted = DateTime::from_parts(date(day), time);
        let ambiguous = self.0.to_ambiguous_timestamp(wanted);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
                // Of two, the earlier one.
                (ambiguous.compatible()).map_or(Timestamp::from_micros(u64::MAX), timestamp)
            }
            // It is never shown: the clock jumps over it.
            AmbiguousOffset::Gap { before, .. } => {
                let behind = before.to_timestamp(wanted).unwrap_or(jiff::Timestamp::MAX);
                let behind = behind
                    .saturating_add(jiff::SignedDuration::from_nanos(1))
                    .unwrap_or(behind);
                let jump = self.0.preceding(behind).next();
                timestamp(jump.map_or(behind, |jump| jump.timestamp()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tablao_core::{WorkerStatus, entity::SleepSchedule, sleep::weekday};

    use super::*;
    use crate::clock::parse_rfc3339;

    const MINUTE_US: u64 = 60_000_000;

    fn at(text: &str) -> Timestamp {
        parse_rfc3339(text).unwrap()
    }

    /// Protects the two days a year that differ: boundaries in the hour that is missing, and in
    /// the one that comes twice, in the zones of both hemispheres and one that moves half an hour.
    #[test]
    fn daylight_saving() {
        let row = |zone: &str, start: u16, end: u16, now: &str, status, until: &str| {
            let schedule = SleepSchedule {
                active: true,
                time_zone: zone.to_owned(),
                days: 0,
                start_minute: start,
                end_minute: end,
            };
            let verdict = schedule.verdict(at(now), &ZoneClock::of(zone).unwrap());
            assert_eq!(verdict.status, status, "{zone} {now}");
            assert_eq!(verdict.until, Some(at(until)), "{zone} {now}");
        };
        let (awake, asleep) = (WorkerStatus::Awake, WorkerStatus::Asleep);
        let (night, morning, half_past_two) = (22 * 60, 6 * 60, 150);
        // The night of 29 March 2026 has seven hours, that of 25 October nine.
        let ams = "Europe/Amsterdam";
        row(
            ams,
            night,
            morning,
            "2026-03-28T21:00:00Z",
            asleep,
            "2026-03-29T04:00:00Z",
        );
        row(
            ams,
            night,
            morning,
            "2026-10-24T20:00:00Z",
            asleep,
            "2026-10-25T05:00:00Z",
        );
        // Half past two does not come on 29 March: at three it is over.
        row(
            ams,
            half_past_two,
            morning,
            "2026-03-29T00:59:59Z",
            awake,
            "2026-03-29T01:00:00Z",
        );
        row(
            ams,
            half_past_two,
            morning,
            "2026-03-29T01:00:00Z",
            asleep,
            "2026-03-29T04:00:00Z",
        );
        // It comes twice on 25 October; the first time counts, and nobody wakes in between.
        row(
            ams,
            half_past_two,
            morning,
            "2026-10-25T00:29:59Z",
            awake,
            "2026-10-25T00:30:00Z",
        );
        row(
            ams,
            half_past_two,
            morning,
            "2026-10-25T01:15:00Z",
            asleep,
            "2026-10-25T05:00:00Z",
        );
        row(
            ams,
            night,
            half_past_two,
            "2026-10-25T00:29:59Z",
            asleep,
            "2026-10-25T00:30:00Z",
        );
        row(
            ams,
            night,
            half_past_two,
            "2026-10-25T01:15:00Z",
            awake,
            "2026-10-25T21:00:00Z",
        );
        let lord_howe = "Australia/Lord_Howe";
        row(
            lord_howe,
            135,
            morning,
            "2026-10-03T15:00:00Z",
            awake,
            "2026-10-03T15:30:00Z",
        );
        row(
            "UTC",
            night,
            morning,
            "2026-03-29T01:15:00Z",
            asleep,
            "2026-03-29T06:00:00Z",
        );
        assert!(ZoneClock::of("Europe/Entenhausen").is_none());
    }

    /// Protects the clocks of real zones around their changes: what they show and when they first
    /// show it is what one finds by looking at each minute.
    #[test]
    fn zones_as_minute_by_minute() {
        let places = [
            ("Europe/Amsterdam", "2026-03-28T20:00:00Z"),
            ("Europe/Amsterdam", "2026-10-24T20:00:00Z"),
            ("America/New_York", "2026-11-01T00:00:00Z"),
            ("America/Sao_Paulo", "2018-11-03T20:00:00Z"), // no midnight on the 4th
            ("Australia/Lord_Howe", "2026-04-04T10:00:00Z"),
            ("Pacific/Apia", "2011-12-30T00:00:00Z"), // no 30 December
            ("Asia/Kathmandu", "2026-01-01T00:00:00Z"),
        ];
        for (zone, begin) in places {
            let clock = ZoneClock::of(zone).unwrap();
            let begin = at(begin).micros() / MINUTE_US;
            let minute = |n: u64| Timestamp::from_micros((begin + n) * MINUTE_US);
            // The latest that was shown so far, minute by minute.
            let mut latest = clock.shows(minute(0));
            for n in 1..2000 {
                let shown = clock.shows(minute(n));
                if shown <= latest {
                    continue;
                }
                // Everything from the minute after the latest to this one is shown now first.
                let (day, of_day) = latest;
                let next = if of_day == 1439 {
                    (day + 1, 0)
                } else {
                    (day, of_day + 1)
                };
                for wanted in [next, shown] {
                    assert_eq!(
                        clock.first_shows(wanted.0, wanted.1),
                        minute(n),
                        "{zone} {wanted:?}"
                    );
                }
                latest = shown;
            }
        }
        // 1 January 2026 was a Thursday.
        assert_eq!(
            weekday(
                ZoneClock::of("UTC")
                    .unwrap()
                    .shows(at("2026-01-01T12:00:00Z"))
                    .0
            ),
            3
        );
    }
}
