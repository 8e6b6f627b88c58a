// SPDX-License-Identifier: GPL-3.0-or-later
//! Random requests about workers, tags, time and configuration.

use tablao_core::{
    AttemptId, Farm, Request, Timestamp, WorkerId, WorkerStatus,
    detail::WorkerDetail,
    entity::{Attempt, FrameKey, Policy, Protocol},
    event::{Finding, QuarantineCause, frame_flags},
};

use super::{WORKERS_MAX, Wishes};
use crate::common::{tag_id, worker_id};

impl Wishes {
    pub(super) fn register(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        if farm
            .workers()
            .values()
            .filter(|worker| !worker.deleted)
            .count()
            >= WORKERS_MAX
        {
            return None;
        }
        if !self.random.one_in(10) || farm.workers().is_empty() {
            self.workers_made += 1;
        }
        Some(Request::RegisterWorker {
            worker: worker_id(self.workers_made),
            platform: "linux".to_owned(),
            task_types: self.some_types(),
            detail: WorkerDetail::default(),
        })
    }

    pub(super) fn sign_on(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let worker = self.some_worker(farm)?;
        let mut held: Vec<AttemptId> = farm.attempts().keys().copied().collect();
        if self.random.one_in(2) {
            held.clear();
        }
        Some(Request::SignOn {
            worker,
            task_types: self.some_types(),
            can_restart: self.random.one_in(2),
            protocol: self.random.of(&[Protocol::Flamenco, Protocol::Tablao]),
            slots: self.random.of(&[0, 1, 1, 1, 2, 3]),
            held,
            detail: WorkerDetail::default(),
        })
    }

    pub(super) fn memory(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        Some(Request::NoteMemory {
            worker: self.some_worker(farm)?,
            bytes: self.random.of(&[None, Some(4), Some(4), Some(4), Some(8)]),
        })
    }

    pub(super) fn state_changed(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let sleeping: Vec<WorkerId> = farm
            .workers()
            .values()
            .filter(|worker| worker.status != Some(WorkerStatus::Awake))
            .map(|worker| worker.id)
            .collect();
        let (worker, usual) = match self.random.pick(&sleeping) {
            Some(&worker) if !self.random.one_in(10) => (worker, WorkerStatus::Awake),
            _ => (self.some_worker(farm)?, WorkerStatus::Asleep),
        };
        let asked = farm.workers().get(&worker).and_then(|known| known.pending);
        let status = match asked {
            Some(asked) => asked.status,
            None if self.random.one_in(15) => self.random.of(WorkerStatus::ALL),
            None => usual,
        };
        Some(Request::WorkerStateChanged { worker, status })
    }

    pub(super) fn sign_off(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        Some(Request::SignOff {
            worker: self.some_worker(farm)?,
        })
    }

    pub(super) fn request_status(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let status = if self.random.one_in(3) {
            WorkerStatus::Restart
        } else {
            self.random.of(WorkerStatus::ALL)
        };
        Some(Request::RequestWorkerStatus {
            worker: self.some_worker(farm)?,
            status,
            lazy: self.random.one_in(2),
            reason: "somebody wants it".to_owned(),
        })
    }

    pub(super) fn tags(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        match self.random.below(8) {
            0 | 1 if self.tags_made < 4 => {
                self.tags_made += 1;
                Some(Request::CreateTag {
                    tag: tag_id(self.tags_made - 1),
                    name: "a tag".to_owned(),
                    description: String::new(),
                })
            }
            0..=2 => Some(Request::SetJobTag {
                job: self.some_job(farm)?,
                tag: self.some_tag(),
            }),
            3 if self.random.one_in(4) => Some(Request::DeleteTag {
                tag: self.some_tag()?,
            }),
            _ => Some(Request::SetWorkerTags {
                worker: self.some_worker(farm)?,
                tags: self.some_tag().into_iter().chain(self.some_tag()).collect(),
            }),
        }
    }

    pub(super) fn delete_worker(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        Some(Request::DeleteWorker {
            worker: self.some_worker(farm)?,
        })
    }

    /// A moment in the past from which somebody may have been silent.
    pub(super) fn since(&mut self, now: Timestamp, bound_ms: u64) -> Timestamp {
        let silent_ms = self.random.of(&[
            0,
            bound_ms / 3,
            bound_ms.saturating_sub(1),
            bound_ms,
            bound_ms * 2,
        ]);
        Timestamp::from_micros(now.micros() - silent_ms * 1000)
    }

    pub(super) fn lapse(&mut self, farm: &Farm, now: Timestamp) -> Option<Request> {
        let attempts: Vec<&Attempt> = farm.attempts().values().collect();
        let mut evidence = Vec::new();
        for _ in 0..self.random.of(&[1, 1, 2, 3]) {
            let attempt = *self.random.pick(&attempts)?;
            let bound = self.random.of(&[attempt.lease_ms, attempt.start_within_ms]);
            evidence.push((attempt.id, self.since(now, bound.into())));
        }
        Some(Request::LapseAttempts { evidence })
    }

    pub(super) fn lose(&mut self, farm: &Farm, now: Timestamp) -> Option<Request> {
        let bound = farm.policy().worker_timeout_ms;
        let busy = (farm.workers().values()).filter(|worker| !worker.attempts.is_empty());
        let busy: Vec<WorkerId> = busy.map(|worker| worker.id).collect();
        let worker = match self.random.pick(&busy).copied() {
            Some(worker) if self.random.one_in(2) => worker,
            _ => self.some_worker(farm)?,
        };
        let mut evidence = vec![(worker, self.since(now, bound.into()))];
        if self.random.one_in(3) {
            evidence.push((self.some_worker(farm)?, self.since(now, bound.into())));
        }
        Some(Request::LoseWorkers { evidence })
    }

    pub(super) fn follow_schedules(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let mut wanted = Vec::new();
        for _ in 0..self.random.of(&[1, 1, 3]) {
            let status = self.random.of(&[
                WorkerStatus::Awake,
                WorkerStatus::Awake,
                WorkerStatus::Asleep,
            ]);
            wanted.push((self.some_worker(farm)?, status));
        }
        let signing_on = self.random.one_in(4);
        Some(Request::FollowSchedules { wanted, signing_on })
    }

    pub(super) fn expire_blocks(&mut self, farm: &Farm, now: Timestamp) -> Option<Request> {
        let oldest = farm.oldest_block()?;
        let made_by = self
            .random
            .of(&[oldest, now, Timestamp::from_micros(oldest.micros() - 1)]);
        Some(Request::ExpireBlocks { made_by })
    }

    /// Workers are found sick, and well again more often: a farm of sick workers shows nothing.
    pub(super) fn quarantine(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let sick: Vec<WorkerId> = farm.quarantines().keys().copied().collect();
        if let Some(&worker) = self.random.pick(&sick)
            && self.random.one_in(2)
        {
            return Some(Request::LiftQuarantine {
                worker,
                own_check_only: self.random.one_in(3),
                reason: "it is well again".to_owned(),
            });
        }
        let own_check_only = self.random.one_in(2);
        let again = self.random.pick(&sick).copied();
        let worker = match again.filter(|_| self.random.one_in(2)) {
            Some(worker) => worker,
            None => self.some_worker(farm)?,
        };
        if self.random.one_in(9) {
            return Some(Request::LiftQuarantine {
                worker,
                own_check_only,
                reason: "it was never sick".to_owned(),
            });
        }
        let causes = [
            QuarantineCause::SelfCheck,
            QuarantineCause::SelfCheck,
            QuarantineCause::Failures { tasks: 3, jobs: 2 },
            QuarantineCause::Person,
        ];
        Some(Request::QuarantineWorker {
            worker,
            cause: self.random.of(&causes),
            reason: self
                .random
                .of(&["its disk is full", "it smells"])
                .to_owned(),
        })
    }

    pub(super) fn configure(&mut self, _: &Farm, _: Timestamp) -> Option<Request> {
        let strict = self.troubled && !self.random.one_in(3);
        let (tries, patience, percent) = if strict {
            // A worker fails tasks for good, and is found to be the one to blame.
            (1, 2, 100)
        } else {
            (
                self.random.of(&[1, 1, 2, 3]),
                self.random.of(&[1, 2, 2, 3]),
                self.random.of(&[1, 10, 40, 60, 100]),
            )
        };
        Some(Request::ApplyConfig {
            policy: Policy {
                task_attempts_max: tries,
                blocklist_threshold: patience,
                fail_percent: percent,
                task_timeout_ms: self.random.of(&[0, 600_000]),
                worker_timeout_ms: self.random.of(&[0, 60_000]),
                lease_ms: 30_000,
                start_within_ms: self.random.of(&[0, 10_000]),
            },
            text: "a configuration".to_owned(),
        })
    }

    pub(super) fn thumbnail(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let keys: Vec<FrameKey> = farm.frames().keys().collect();
        let key = self.random.pick(&keys)?.clone();
        Some(Request::StoreThumbnail {
            key,
            hash: [u8::from(self.random.one_in(2)); 32],
            file: "frame_thumbnail.jpg".to_owned(),
        })
    }

    /// Somebody looked at a frame; now and then at one that has changed meanwhile.
    pub(super) fn findings(&mut self, farm: &Farm, _: Timestamp) -> Option<Request> {
        let keys: Vec<FrameKey> = farm.frames().keys().collect();
        let key = self.random.pick(&keys)?.clone();
        let publications = farm.frames().get(&key)?.publications;
        let finding = Finding {
            key,
            publications: publications + u32::from(self.random.one_in(5)),
            maker: None,
            flags: self.random.of(&[0, frame_flags::EMPTY, frame_flags::BLACK]),
            seen: None,
            words: "somebody looked".to_owned(),
        };
        Some(Request::FlagFrames {
            findings: vec![finding],
            verified: None,
        })
    }
}
