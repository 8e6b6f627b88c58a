// SPDX-License-Identifier: GPL-3.0-or-later
//! What workers report, people change, and Managers and the Server say to each other.

use super::*;

impl World {
    pub(super) fn report(&mut self) -> Request {
        let live: Vec<AttemptId> = self.farm.attempts().keys().copied().collect();
        let meant = if self.chance.percent(90) {
            let id = self.chance.pick(&live);
            id.map(|id| {
                let attempt = &self.farm.attempts()[&id];
                let task = self.farm.jobs()[&attempt.job].tasks.at(attempt.task);
                (id, task.uuid, attempt.worker)
            })
        } else {
            self.chance.pick(&self.handed_out)
        };
        let Some((attempt, task, worker)) = meant else {
            return Request::AskForTask {
                worker: self.worker(),
            };
        };
        let status = match self.chance.below(20) {
            0..=2 => Some(TaskStatus::Active),
            3..=9 => Some(TaskStatus::Completed),
            10..=13 => Some(TaskStatus::Failed),
            14 => Some(TaskStatus::Queued),
            15 => Some(TaskStatus::Canceled),
            _ => None,
        };
        let worker = if self.chance.percent(97) {
            worker
        } else {
            self.worker()
        };
        let frames = match self.farm.task(task).map(|(job, _)| job.state.facts.shot) {
            Some(shot) if self.chance.percent(50) => vec![self.frame(shot)],
            _ => Vec::new(),
        };
        Request::Report {
            report: Box::new(Report {
                worker,
                task,
                attempt: self.chance.percent(70).then_some(attempt),
                status,
                activity: self.chance.percent(60).then(|| self.words()),
                steps: self.chance.percent(40).then(|| self.chance.below(5) as u32),
                frames,
                failure: self.chance.percent(50).then_some(FailureReport {
                    class: FailureClass::Process,
                    exit: Some(1),
                    signal: None,
                }),
                peak_memory_bytes: self.chance.percent(30).then_some(1 << 30),
            }),
        }
    }

    fn frame(&mut self, shot: ShotId) -> FrameReport {
        let number = self.chance.below(12) as i32 - 3;
        FrameReport {
            key: FrameKey {
                shot,
                output: if self.chance.percent(20) { "mist" } else { "" }.to_owned(),
                view: String::new(),
                number,
            },
            detail: FrameDetail {
                name: format!("frame_{number:04}"),
                path: format!("/render/frame_{number:04}.png"),
                ..FrameDetail::default()
            },
            size: 1000,
            hash: [self.chance.below(5) as u8; 32],
            rendered_at: Timestamp::from_micros(self.now),
            render_ms: 1500,
            samples: None,
            peak_memory_bytes: None,
            flags: 0,
            found: self.chance.percent(10),
        }
    }

    pub(super) fn person(&mut self) -> Request {
        let job = self.job();
        match self.chance.below(20) {
            0..=3 => Request::SetJobStatus {
                job,
                status: self.job_wish(),
                reason: self.words(),
            },
            4..=8 => Request::SetTaskStatus {
                task: self.task(),
                status: TaskStatus::ALL[self.chance.below(TaskStatus::ALL.len())],
                reason: self.words(),
            },
            9 => Request::SetJobPriority {
                job,
                priority: self.chance.below(105) as i32,
            },
            10 => Request::SetTaskPriority {
                task: self.task(),
                priority: 40 + self.chance.below(20) as i32,
            },
            11 => Request::SetJobTag {
                job,
                tag: self.chance.pick(&self.tags),
            },
            12 => Request::HoldJob {
                job,
                hold: Hold::Person,
                reason: self.words(),
            },
            13..=14 => Request::ReleaseJob {
                job,
                hold: Hold::Person,
            },
            15 => Request::MarkJobDeleted { job },
            16 => self.marked_job(job),
            17 => {
                let blocking = (self.farm.jobs().values())
                    .map(|job| &job.state)
                    .find(|state| !state.blocked.is_empty());
                Request::ClearBlocklist {
                    job: blocking.map_or(job, |state| state.facts.job),
                    entries: blocking
                        .map(|state| state.blocked.iter().cloned().collect())
                        .unwrap_or_default(),
                }
            }
            _ => self.thumbnail(),
        }
    }

    fn marked_job(&mut self, job: JobId) -> Request {
        let marked = (self.farm.jobs().values())
            .find(|job| job.state.delete_marked.is_some() && job.live == 0)
            .map_or(job, |job| job.state.facts.job);
        if self.chance.percent(75) {
            Request::PurgeJob { job: marked }
        } else {
            Request::RestoreJob { job: marked }
        }
    }

    fn job_wish(&mut self) -> JobStatus {
        let wishes = [
            JobStatus::Canceled,
            JobStatus::CancelRequested,
            JobStatus::Queued,
            JobStatus::Requeueing,
            JobStatus::Paused,
            JobStatus::Queued,
            JobStatus::Requeueing,
            JobStatus::Active,
        ];
        self.chance.pick(&wishes).unwrap_or(JobStatus::Queued)
    }

    fn thumbnail(&mut self) -> Request {
        let keys: Vec<FrameKey> = self.farm.frames().keys().collect();
        let keys: Vec<&FrameKey> = keys.iter().collect();
        let key = self.chance.pick(&keys).cloned().unwrap_or(FrameKey {
            shot: ShotId::named("film", "none"),
            output: String::new(),
            view: String::new(),
            number: 1,
        });
        Request::StoreThumbnail {
            hash: [self.chance.below(3) as u8; 32],
            file: format!("frame_{}_thumbnail.jpg", key.number),
            key,
        }
    }

    pub(super) fn tags(&mut self) -> Request {
        let tag = self.chance.pick(&self.tags);
        match (self.chance.below(8), tag) {
            (0..=3, Some(tag)) => Request::SetWorkerTags {
                worker: self.worker(),
                tags: vec![tag],
            },
            (4, Some(tag)) => Request::ChangeTag {
                tag,
                name: "renamed".to_owned(),
                description: self.words(),
            },
            (5, Some(tag)) => {
                self.tags.retain(|other| *other != tag);
                Request::DeleteTag { tag }
            }
            (6, Some(_)) => Request::SetWorkerSchedule {
                worker: self.worker(),
                schedule: self.chance.percent(50).then(|| SleepSchedule {
                    active: true,
                    time_zone: String::new(),
                    days: 31,
                    start_minute: 480,
                    end_minute: 1080,
                }),
            },
            _ => {
                let tag = TagId::new(self.chance.uuid());
                self.tags.push(tag);
                Request::CreateTag {
                    tag,
                    name: format!("tag-{}", self.chance.below(100)),
                    description: self.words(),
                }
            }
        }
    }

    pub(super) fn silence(&mut self) -> Request {
        let since = Timestamp::from_micros(self.now - 700_000_000);
        if self.chance.percent(15) {
            let causes = [QuarantineCause::SelfCheck, QuarantineCause::Person];
            Request::QuarantineWorker {
                worker: self.worker(),
                cause: self.chance.pick(&causes).expect("there are two"),
                reason: self.words(),
            }
        } else if self.chance.percent(20) {
            let sick: Vec<_> = self.farm.quarantines().keys().copied().collect();
            let worker = self.chance.pick(&sick).unwrap_or_else(|| self.worker());
            Request::LiftQuarantine {
                worker,
                own_check_only: self.chance.percent(30),
                reason: self.words(),
            }
        } else if self.chance.percent(70) {
            let live: Vec<AttemptId> = self.farm.attempts().keys().copied().collect();
            Request::LapseAttempts {
                evidence: (self.chance.pick(&live).into_iter())
                    .map(|id| (id, since))
                    .collect(),
            }
        } else if self.chance.percent(80) {
            Request::LoseWorkers {
                evidence: vec![(self.worker(), since)],
            }
        } else {
            Request::DeleteWorker {
                worker: self.worker(),
            }
        }
    }

    pub(super) fn control(&mut self) -> Request {
        let managers: BTreeSet<ManagerId> = self.farm.managers().keys().copied().collect();
        let managers: Vec<ManagerId> = managers.into_iter().collect();
        let manager = match self.chance.pick(&managers) {
            Some(manager) if managers.len() > 2 => manager,
            _ => ManagerId::new(self.chance.uuid()),
        };
        match self.chance.below(10) {
            0..=2 => Request::LinkManager {
                manager,
                name: format!("site-{}", self.chance.below(3)),
            },
            3 => Request::RevokeManager {
                manager,
                reason: self.words(),
            },
            4 => Request::PlaceJob {
                job: JobId::new(self.chance.uuid()),
                manager,
                submission: [1; 32],
                name: "placed".to_owned(),
                why: self.words(),
            },
            5 => Request::AcceptRemote {
                request: RequestId::new(self.chance.uuid()),
                job: (self.farm.placements().keys().next().copied())
                    .unwrap_or(JobId::new(Uuid::nil())),
                seen_at: Some(manager),
                verb: RemoteVerb::SetPriority(7),
                reason: self.words(),
            },
            6 if self.chance.percent(30) => Request::FenceJob {
                control: self.farm.settled().next(),
                job: self.job(),
                manager,
                epoch: 1 + self.chance.below(4) as u32,
            },
            6 => Request::AdvanceOrigin {
                manager,
                lsn: Lsn::new(self.chance.next() % 1000),
                chain: [3; 32],
            },
            7 if self.chance.percent(50) => Request::SettleRemote {
                control: self.farm.settled().next(),
                job: self.job(),
                refused: None,
                reason: self.words(),
            },
            8 if self.chance.percent(50) => Request::FollowServer {
                control_journal: [self.chance.below(3) as u8; 16],
                url: "https://server.example:8443".to_owned(),
            },
            7 => Request::StartTerm {
                term: self.farm.term() + self.chance.below(2) as u64,
            },
            8 if self.chance.percent(30) => Request::NoteConfig { text: self.words() },
            8 => Request::ApplyConfig {
                policy: Policy {
                    task_attempts_max: 1 + self.chance.below(3) as u32,
                    blocklist_threshold: 1 + self.chance.below(3) as u32,
                    ..Policy::default()
                },
                text: self.words(),
            },
            9 if self.chance.percent(15) => Request::NoteBaseline {
                next: self.farm.position(),
                state: [5; 32],
            },
            9 if self.chance.percent(15) => Request::NoteErasure {
                ranges: vec![(Lsn::new(2), self.farm.position())],
                reason: self.words(),
            },
            _ => {
                let manager = self.farm.manager().expect("the journal was opened");
                Request::OpenJournal {
                    build: "test".to_owned(),
                    incarnation: self.farm.incarnation() + self.chance.below(2) as u32,
                    clean: self.chance.percent(50),
                    manager,
                }
            }
        }
    }
}
