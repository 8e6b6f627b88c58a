// SPDX-License-Identifier: GPL-3.0-or-later
//! Generated histories: a small farm with restless people and unreliable workers.
//!
//! Random requests are put to the real `Farm::decide`, and what it answers becomes the history,
//! so every history is one that could have happened. It is a function of a seed alone.

mod renewal;
mod reports;
mod submissions;

use std::collections::BTreeSet;

use tablao_core::{
    Actor, AttemptId, Detail, Event, Farm, JobId, JobStatus, Lsn, ManagerId, Recorded, Request,
    RequestId, ShotId, TagId, TaskId, TaskStatus, Timestamp, Via, WorkerId, WorkerStatus, codec,
    decide::{Asker, Env, decision_record},
    detail::{FrameDetail, JobDetail, TasksDetail, WorkerDetail},
    entity::{
        FailPolicy, FrameKey, Hold, JobFacts, JobSource, Limits, Policy, Protocol, RemoteVerb,
        Requirements, SleepSchedule,
    },
    event::{Body, FailureClass, NewTask, NewTasks, QuarantineCause},
    frames::FrameRanges,
    request::{FailureReport, FrameReport, ImportedState, NewJob, Report, TaskChunk},
};
use uuid::Uuid;

/// A stream of numbers from a seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`; 0 where `end` is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        (!from.is_empty()).then(|| from[self.below(from.len())])
    }

    fn uuid(&mut self) -> Uuid {
        Uuid::from_u128(u128::from(self.next()) << 64 | u128::from(self.next()))
    }
}

const TYPES: [&str; 3] = ["blender", "ffmpeg", "misc"];

/// A farm that lives, and its history so far.
pub(crate) struct World {
    pub(crate) chance: Chance,
    pub(crate) farm: Farm,
    pub(crate) history: Vec<Recorded>,
    now: u64,
    workers: Vec<WorkerId>,
    tags: Vec<TagId>,
    jobs: Vec<JobId>,
    /// Attempts that were ever handed out, with the task of each: some reports come late.
    handed_out: Vec<(AttemptId, TaskId, WorkerId)>,
    /// Some details of this history were erased since.
    erasing: bool,
    /// Work is also done over again in this history.
    renewing: bool,
}

/// A history of about this many requests.
pub(crate) fn history(seed: u64, requests: usize) -> Vec<Recorded> {
    let mut world = World::new(seed);
    world.run(requests);
    world.history
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let erasing = chance.percent(25);
        let mut world = Self {
            chance,
            farm: Farm::new(),
            history: Vec::new(),
            now: 1_700_000_000_000_000,
            workers: Vec::new(),
            tags: Vec::new(),
            jobs: Vec::new(),
            handed_out: Vec::new(),
            erasing,
            renewing: false,
        };
        let manager = ManagerId::new(world.chance.uuid());
        world.ask(Request::OpenJournal {
            build: "test".to_owned(),
            incarnation: 1,
            clean: true,
            manager,
        });
        world
    }

    /// A farm in which work is also done over again.
    pub(crate) fn renewing(seed: u64) -> Self {
        Self {
            renewing: true,
            ..Self::new(seed)
        }
    }

    pub(crate) fn run(&mut self, requests: usize) {
        for _ in 0..requests {
            let request = self.request();
            self.ask(request);
        }
    }

    /// Puts a request to the farm and writes down what comes of it, as the engine does.
    pub(crate) fn ask(&mut self, request: Request) {
        self.now += self.chance.next() % 2_000_000;
        let key = matches!(
            request,
            Request::SubmitJob { .. } | Request::PlaceJob { .. }
        )
        .then(|| [self.chance.below(200) as u8; 32])
        .filter(|_| self.chance.percent(50));
        let env = Env {
            now: Timestamp::from_micros(self.now),
            decision: self.farm.position().next(),
            seed: self.chance.next(),
            key,
        };
        let result = self.farm.decide(&request, &env);
        let events = match &result {
            // An idle poll is no decision.
            Ok(decided) if decided.events.is_empty() && key.is_none() => return,
            Ok(decided) => decided.events.clone(),
            Err(_) => Vec::new(),
        };
        let actor = Actor::anonymous(Via::Api);
        let asker = Asker::default();
        let decision =
            decision_record(&request, &env, actor, &asker, result.as_ref(), Body::Inline);
        for (event, detail) in std::iter::once(decision).chain(events) {
            self.record(event, detail);
        }
    }

    fn record(&mut self, event: Event, mut detail: Detail) {
        let (_, _, detail_hash) = codec::encode(&event, &detail);
        if self.erasing && self.chance.percent(10) {
            detail = Detail::None;
        }
        let recorded = Recorded {
            lsn: self.farm.position().next(),
            at: Timestamp::from_micros(self.now),
            event,
            detail,
            detail_hash,
        };
        self.farm.apply(&recorded);
        if let Event::AttemptAssigned(facts) = &recorded.event {
            let task = self.farm.jobs()[&facts.job].tasks.at(facts.task);
            let id = task.attempt.expect("it was just handed out");
            self.handed_out.push((id, task.uuid, facts.worker));
        }
        self.history.push(recorded);
    }

    pub(crate) fn workers(&self) -> &[WorkerId] {
        &self.workers
    }

    fn words(&mut self) -> String {
        let words = ["", "why not", "because", "the director said so"];
        self.chance.pick(&words).unwrap_or_default().to_owned()
    }

    fn worker(&mut self) -> WorkerId {
        let some = self.chance.pick(&self.workers);
        some.unwrap_or_else(|| WorkerId::new(self.chance.uuid()))
    }

    fn job(&mut self) -> JobId {
        let some = self.chance.pick(&self.jobs);
        some.unwrap_or_else(|| JobId::new(self.chance.uuid()))
    }

    fn task(&mut self) -> TaskId {
        let job = self.job();
        let count = (self.farm.jobs().get(&job)).map_or(0, |job| job.tasks.len());
        let number = self.chance.below(count);
        let task = (self.farm.jobs().get(&job)).and_then(|job| job.tasks.get(number));
        task.map_or_else(|| TaskId::new(Uuid::nil()), |task| task.uuid)
    }
}
