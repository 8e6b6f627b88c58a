// SPDX-License-Identifier: GPL-3.0-or-later
//! What becomes due by the wall clock: boundaries of sleep schedules, blocks that expire.
//!
//! It keeps when the next comes, so that nobody looks, or wakes up, before that. What is due
//! becomes requests; the rules about them are the core's.

use std::collections::BTreeMap;

use tablao_core::{
    Event, Farm, Request, Timestamp, WorkerId, WorkerStatus,
    entity::{SleepSchedule, Worker},
    sleep::Verdict,
};

use super::local_clock::ZoneClock;

/// So many workers are told by one decision: it has to fit a batch, and not to hold others up.
const WORKERS_AT_ONCE: usize = 500;

/// What a studio sets about things that go by themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expiries {
    /// Age at which a worker's block in a job is taken back, in milliseconds; 0: never.
    pub blocklist_ms: u64,
    /// So many tasks that a worker failed one after another bring it into quarantine; 0: none do.
    pub failures_in_a_row: u32,
}

/// What has been seen to so far.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) expiries: Expiries,
    /// Boundaries up to here were seen to.
    seen_to: Timestamp,
    /// The next boundary of any schedule.
    next_boundary: Option<Timestamp>,
    /// A schedule was set, or nobody has looked yet: the next boundary is not known.
    is_stale: bool,
}

impl Due {
    /// `since`: time of the last record. A boundary that came while the process was away is due.
    pub(super) fn since(since: Timestamp) -> Self {
        Self {
            expiries: Expiries::default(),
            seen_to: since,
            next_boundary: None,
            is_stale: true,
        }
    }

    /// Looks at an event that may move a boundary.
    pub(super) fn note(&mut self, event: &Event) {
        self.is_stale |= matches!(event, Event::WorkerScheduleSet(_));
    }

    /// When something becomes due next, if nothing else happens.
    pub(super) fn next(&self, farm: &Farm) -> Option<Timestamp> {
        let block = (self.expiries.blocklist_ms > 0)
            .then(|| farm.oldest_block())
            .flatten()
            .map(|made| made.plus_millis(self.expiries.blocklist_ms));
        earlier(self.next_boundary, block)
    }

    /// Some schedule may want something by now. Cheap: it is asked before every request.
    pub(super) fn has_boundary(&self, now: Timestamp) -> bool {
        self.is_stale || self.next_boundary.is_some_and(|next| next <= now)
    }

    /// What schedules want, whose boundary has come.
    pub(super) fn boundaries(&mut self, farm: &Farm, now: Timestamp) -> Vec<Request> {
        let mut wanted = Vec::new();
        let mut next: Option<Timestamp> = None;
        // Most workers of a farm sleep at the same hours.
        let mut known: BTreeMap<Hours<'_>, (Verdict, bool)> = BTreeMap::new();
        for (worker, schedule) in sleepers(farm) {
            let (verdict, has_passed) = *known.entry(hours(schedule)).or_insert_with(|| {
                let clock = ZoneClock::of_or_own(&schedule.time_zone);
                let next = schedule.verdict(self.seen_to, &clock).until;
                let has_passed = next.is_some_and(|next| next <= now);
                (schedule.verdict(now, &clock), has_passed)
            });
            if has_passed && can_be_asked(worker) {
                wanted.push((worker.id, verdict.status));
            }
            next = earlier(next, verdict.until);
        }
        self.seen_to = now;
        self.next_boundary = next;
        self.is_stale = false;
        let some = wanted.chunks(WORKERS_AT_ONCE);
        some.map(|some| Request::FollowSchedules {
            wanted: some.to_vec(),
            signing_on: false,
        })
        .collect()
    }

    /// One schedule was set a moment ago, after all boundaries up to `now` were seen to, and its
    /// worker was told what it wants.
    pub(super) fn one_was_set(&mut self, now: Timestamp, until: Option<Timestamp>) {
        self.seen_to = now;
        self.next_boundary = earlier(self.next_boundary, until);
        self.is_stale = false;
    }

    /// Blocks that are too old.
    pub(super) fn blocks(&self, farm: &Farm, now: Timestamp) -> Option<Request> {
        let age_us = self.expiries.blocklist_ms.saturating_mul(1000);
        let made_by = Timestamp::from_micros(now.micros().checked_sub(age_us)?);
        let is_due = age_us > 0 && farm.oldest_block().is_some_and(|made| made <= made_by);
        is_due.then_some(Request::ExpireBlocks { made_by })
    }
}

/// What a worker's own schedule wants of it at this moment; nothing when none is in force.
pub(super) fn verdict(farm: &Farm, worker: WorkerId, now: Timestamp) -> Option<Verdict> {
    let schedule = farm.workers().get(&worker)?.schedule.as_ref()?;
    (schedule.active).then(|| schedule.verdict(now, &ZoneClock::of_or_own(&schedule.time_zone)))
}

/// What two schedules have in common that want the same at every moment.
type Hours<'a> = (&'a str, u8, u16, u16);

fn hours(schedule: &SleepSchedule) -> Hours<'_> {
    (
        &schedule.time_zone,
        schedule.days,
        schedule.start_minute,
        schedule.end_minute,
    )
}

fn earlier(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn sleepers(farm: &Farm) -> impl Iterator<Item = (&Worker, &SleepSchedule)> {
    (farm.workers().values())
        .filter(|worker| !worker.deleted)
        .filter_map(|worker| Some((worker, worker.schedule.as_ref()?)))
        .filter(|(_, schedule)| schedule.active)
}

/// Who is away is asked when it signs on; only what is asked of it already may have to change.
fn can_be_asked(worker: &Worker) -> bool {
    match worker.status {
        Some(WorkerStatus::Error) => false,
        None | Some(WorkerStatus::Offline) => worker.pending.is_some(),
        Some(_) => true,
    }
}
