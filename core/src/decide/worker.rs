// SPDX-License-Identifier: GPL-3.0-or-later
//! Deciding what happens to workers and their tags.

use std::collections::BTreeSet;

use super::{Answer, Plan, plan::Ending};
use crate::{
    AttemptId, Detail, Refusal, TagId, Timestamp, WorkerId, WorkerStatus,
    detail::WorkerDetail,
    entity::{Protocol, SleepSchedule, StatusRequest, StatusRequestSource, Worker},
    event::{
        AttemptOutcome, JobTagChanged, TagChanged, TagCreated, TagDeleted, WorkerDeleted,
        WorkerLost, WorkerRegistered, WorkerScheduleSet, WorkerSignedOn, WorkerStatusChanged,
        WorkerStatusRequestCleared, WorkerStatusRequested, WorkerTagsSet,
    },
};

type Decision = Result<Answer, Refusal>;

/// What a worker says when it signs on.
pub(super) struct SignOn<'r> {
    pub(super) worker: WorkerId,
    pub(super) task_types: &'r [String],
    pub(super) can_restart: bool,
    pub(super) protocol: Protocol,
    pub(super) slots: u8,
    pub(super) held: &'r [AttemptId],
}

impl<'a> Plan<'a> {
    pub(super) fn worker(&self, id: WorkerId) -> Result<&'a Worker, Refusal> {
        let farm = self.farm;
        farm.workers
            .get(&id)
            .filter(|worker| !worker.deleted)
            .ok_or(Refusal::UnknownWorker { worker: id })
    }

    pub(super) fn register_worker(
        &mut self,
        worker: WorkerId,
        platform: &str,
        task_types: &[String],
        detail: &WorkerDetail,
    ) -> Answer {
        if self.farm.workers.contains_key(&worker) {
            // The same registration again; a second one would forget what the worker runs.
            return Answer::Done;
        }
        self.emit_with(
            WorkerRegistered {
                worker,
                platform: platform.to_owned(),
                task_types: task_types.to_vec(),
            },
            Detail::Worker(detail.clone()),
        );
        Answer::Done
    }

    pub(super) fn sign_on(&mut self, sign_on: &SignOn<'_>, detail: &WorkerDetail) -> Decision {
        let worker = self.worker(sign_on.worker)?;
        self.emit_with(
            WorkerSignedOn {
                worker: worker.id,
                task_types: sign_on.task_types.to_vec(),
                can_restart: sign_on.can_restart,
                protocol: sign_on.protocol,
                slots: sign_on.slots.max(1),
            },
            Detail::Worker(detail.clone()),
        );
        // Our worker says what it still holds; what it does not hold it has lost. A Flamenco
        // worker gets its task again at its next ask.
        if sign_on.protocol == Protocol::Tablao {
            for id in self.attempts_of(worker.id) {
                if !sign_on.held.contains(&id) {
                    let attempt = &self.farm.attempts[&id];
                    self.give_back(
                        attempt,
                        AttemptOutcome::Lapsed,
                        "its worker was started anew",
                    );
                }
            }
        }
        let start = worker
            .pending
            .map_or(WorkerStatus::Awake, |pending| pending.status);
        Ok(Answer::StartAs(start))
    }

    fn change_worker_status(&mut self, worker: &Worker, to: WorkerStatus, reason: &str) {
        if worker.status != Some(to) {
            self.emit_with(
                WorkerStatusChanged {
                    worker: worker.id,
                    from: worker.status,
                    to,
                },
                Detail::reason(reason),
            );
        }
    }

    pub(super) fn give_all_back(
        &mut self,
        worker: WorkerId,
        outcome: AttemptOutcome,
        reason: &str,
    ) {
        for id in self.attempts_of(worker) {
            let attempt = &self.farm.attempts[&id];
            self.give_back(attempt, outcome, reason);
        }
    }

    pub(super) fn sign_off(&mut self, id: WorkerId) -> Decision {
        let worker = self.worker(id)?;
        self.change_worker_status(worker, WorkerStatus::Offline, "it signed off");
        let answered = worker.pending.filter(|pending| {
            matches!(
                pending.status,
                WorkerStatus::Offline | WorkerStatus::Restart
            )
        });
        if let Some(from) = answered {
            self.emit(WorkerStatusRequestCleared { worker: id, from });
        }
        let unasked = worker.pending.is_none() || answered.is_some();
        let remembered = worker
            .status
            .filter(|status| matches!(status, WorkerStatus::Awake | WorkerStatus::Asleep));
        if let Some(status) = remembered.filter(|_| unasked) {
            self.emit(WorkerStatusRequested {
                worker: id,
                request: StatusRequest {
                    status,
                    lazy: false,
                    source: StatusRequestSource::Remembered,
                },
                from: None,
            });
        }
        self.give_all_back(id, AttemptOutcome::Returned, "its worker signed off");
        Ok(Answer::Done)
    }

    pub(super) fn worker_state_changed(&mut self, id: WorkerId, status: WorkerStatus) -> Decision {
        let worker = self.worker(id)?;
        self.change_worker_status(worker, status, "it said so");
        if let Some(from) = worker.pending.filter(|pending| pending.status == status) {
            self.emit(WorkerStatusRequestCleared { worker: id, from });
        }
        if worker.status == Some(WorkerStatus::Awake) && status != WorkerStatus::Awake {
            let reason = format!("its worker became {status}");
            self.give_all_back(id, AttemptOutcome::Returned, &reason);
        }
        Ok(Answer::Done)
    }

    pub(super) fn request_worker_status(
        &mut self,
        id: WorkerId,
        status: WorkerStatus,
        lazy: bool,
        reason: &str,
    ) -> Decision {
        let worker = self.worker(id)?;
        if status == WorkerStatus::Restart && !worker.can_restart {
            return Err(Refusal::CannotRestart { worker: id });
        }
        if worker.status == Some(status) {
            if let Some(from) = worker.pending {
                self.emit(WorkerStatusRequestCleared { worker: id, from });
            }
            return Ok(Answer::Done);
        }
        let request = StatusRequest {
            status,
            lazy,
            source: StatusRequestSource::Person,
        };
        if worker.pending != Some(request) {
            self.emit_with(
                WorkerStatusRequested {
                    worker: id,
                    request,
                    from: worker.pending,
                },
                Detail::reason(reason),
            );
        }
        let reason = format!("its worker is asked to become {status}");
        self.return_ahead(id, &reason);
        Ok(Answer::Done)
    }

    pub(super) fn set_worker_tags(&mut self, id: WorkerId, tags: &[TagId]) -> Decision {
        let worker = self.worker(id)?;
        let mut to: Vec<TagId> = tags
            .iter()
            .copied()
            .filter(|tag| self.farm.tags.contains_key(tag))
            .collect();
        to.sort_unstable();
        to.dedup();
        let from: Vec<TagId> = worker.tags.iter().copied().collect();
        if from != to {
            self.emit(WorkerTagsSet {
                worker: id,
                from,
                to,
            });
        }
        Ok(Answer::Done)
    }

    pub(super) fn set_worker_schedule(
        &mut self,
        id: WorkerId,
        schedule: Option<&SleepSchedule>,
    ) -> Decision {
        let worker = self.worker(id)?;
        if worker.schedule.as_ref() != schedule {
            self.emit(WorkerScheduleSet {
                worker: id,
                from: worker.schedule.clone(),
                to: schedule.cloned(),
            });
        }
        Ok(Answer::Done)
    }

    /// Has workers do what their schedules want: after the task that they run. A schedule speaks
    /// when a boundary has come, and only between awake and asleep: it overrules what was wished
    /// before, but whoever is to leave leaves.
    pub(super) fn follow_schedules(
        &mut self,
        wanted: &[(WorkerId, WorkerStatus)],
        signing_on: bool,
    ) -> Answer {
        let mut told = BTreeSet::new();
        for &(id, status) in wanted {
            let Ok(worker) = self.worker(id) else {
                continue;
            };
            // A worker has one schedule: what is said of it a second time does not count.
            if !told.insert(id) {
                continue;
            }
            let there_already = worker.status == Some(status) && !signing_on;
            match worker.pending {
                Some(asked) if asked.status == status => {}
                Some(asked)
                    if !matches!(asked.status, WorkerStatus::Awake | WorkerStatus::Asleep) => {}
                Some(from) if there_already => {
                    self.emit(WorkerStatusRequestCleared { worker: id, from });
                }
                None if there_already => {}
                from => {
                    self.emit_with(
                        WorkerStatusRequested {
                            worker: id,
                            request: StatusRequest {
                                status,
                                lazy: true,
                                source: StatusRequestSource::Schedule,
                            },
                            from,
                        },
                        Detail::reason("its sleep schedule says so"),
                    );
                    self.return_ahead(id, "its worker is to follow its sleep schedule");
                }
            }
        }
        Answer::Done
    }

    pub(super) fn delete_worker(&mut self, id: WorkerId) -> Decision {
        self.worker(id)?;
        self.give_all_back(id, AttemptOutcome::Returned, "its worker was removed");
        self.emit_with(
            WorkerDeleted { worker: id },
            Detail::reason("removed by request"),
        );
        Ok(Answer::Done)
    }

    /// Marks workers lost that were silent for too long, and ends what they ran.
    pub(super) fn lose_workers(&mut self, evidence: &[(WorkerId, Timestamp)]) -> Answer {
        let timeout_ms = self.farm.policy.worker_timeout_ms;
        let mut lost = BTreeSet::new();
        for &(id, silent_since) in evidence {
            let Ok(worker) = self.worker(id) else {
                continue;
            };
            let present = !matches!(
                worker.status,
                None | Some(WorkerStatus::Offline | WorkerStatus::Error)
            );
            let silent =
                timeout_ms > 0 && self.env.now >= silent_since.plus_millis(timeout_ms.into());
            if !present || !silent || !lost.insert(id) {
                continue;
            }
            let reason = format!("it said nothing for {} s", timeout_ms / 1000);
            for attempt in self.attempts_of(id) {
                let attempt = &self.farm.attempts[&attempt];
                let task_to = self.returned_task_status(attempt);
                let mut ending = Ending::new(
                    AttemptOutcome::Lapsed,
                    task_to,
                    format!("its worker is lost: {reason}"),
                );
                ending.silent_since = Some(silent_since);
                self.end(attempt, ending);
            }
            self.emit_with(
                WorkerLost {
                    worker: id,
                    from: worker.status,
                    silent_since,
                },
                Detail::reason(reason),
            );
        }
        Answer::Done
    }

    pub(super) fn create_tag(&mut self, tag: TagId, name: &str, description: &str) -> Answer {
        self.emit_with(TagCreated { tag }, Detail::named(name, description));
        Answer::Done
    }

    pub(super) fn change_tag(&mut self, tag: TagId, name: &str, description: &str) -> Decision {
        if !self.farm.tags.contains_key(&tag) {
            return Err(Refusal::UnknownTag { tag });
        }
        self.emit_with(TagChanged { tag }, Detail::named(name, description));
        Ok(Answer::Done)
    }

    pub(super) fn delete_tag(&mut self, tag: TagId) -> Decision {
        if !self.farm.tags.contains_key(&tag) {
            return Err(Refusal::UnknownTag { tag });
        }
        let farm = self.farm;
        for worker in farm
            .workers
            .values()
            .filter(|worker| worker.tags.contains(&tag))
        {
            self.emit(WorkerTagsSet {
                worker: worker.id,
                from: worker.tags.iter().copied().collect(),
                to: worker
                    .tags
                    .iter()
                    .copied()
                    .filter(|other| *other != tag)
                    .collect(),
            });
        }
        for job in farm
            .jobs
            .values()
            .filter(|job| job.state.facts.tag == Some(tag))
        {
            self.emit(JobTagChanged {
                job: job.state.facts.job,
                from: Some(tag),
                to: None,
            });
        }
        self.emit(TagDeleted { tag });
        Ok(Answer::Done)
    }
}
