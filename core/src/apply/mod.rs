// SPDX-License-Identifier: GPL-3.0-or-later
//! Folds one fact in. No clock, no I/O, no error: the same result on every replay.
//!
//! Every event states its answer, so nothing here decides. An event that `decide` could not
//! have written (an unknown job, a task that is not there) is ignored in release builds and
//! asserted in debug builds: recovery of a journal must never panic a farm.

mod job;
mod regenerate;
mod task;
mod worker;

use crate::{
    Event, Farm, JobId, Recorded, Timestamp, WorkerId,
    digest::{Domain, Leaf},
    entity::{Job, Manager, Placement, RemoteRequest, Tag},
    tasks::TaskChange,
};

impl Farm {
    /// Folds a recorded event into the state.
    pub fn apply(&mut self, recorded: &Recorded) {
        debug_assert_eq!(
            recorded.lsn,
            self.position.next(),
            "events are applied in order"
        );
        self.position = recorded.lsn;
        self.pass_time(recorded.at);
        self.fold(recorded);
        self.settle_excess();
    }

    /// Jobs whose earliest start has come take their places in the lanes.
    fn pass_time(&mut self, now: Timestamp) {
        let before = std::mem::replace(&mut self.time, now);
        let due: Vec<JobId> = self.schedule.starting(before, now).collect();
        due.into_iter().for_each(|job| self.refresh_lanes(job));
    }

    fn fold(&mut self, recorded: &Recorded) {
        match &recorded.event {
            Event::Decision(facts) => {
                if let (Some(key), Some(job)) = (facts.key, facts.key_job) {
                    self.keys.insert(key, job);
                }
            }
            Event::JournalOpened(facts) => self.change_farm(|farm| {
                if cfg!(feature = "planted-lost-keys") {
                    farm.keys.clear();
                }
                farm.manager = Some(facts.manager);
                farm.incarnation = facts.incarnation;
                farm.opened_at = recorded.lsn;
            }),
            Event::ConfigApplied(facts) => self.change_farm(|farm| {
                farm.policy = facts.policy.clone();
            }),
            Event::TermStarted(facts) => self.change_farm(|farm| farm.term = facts.term),
            Event::LinkedToServer(facts) => self.change_farm(|farm| {
                farm.control_journal = Some(facts.control_journal);
            }),
            Event::RequestSettled(facts) => self.change_farm(|farm| {
                farm.settled = farm.settled.max(facts.control);
            }),

            Event::JobAccepted(facts) => self.job_accepted(recorded, facts),
            Event::TasksAdded(facts) => self.tasks_added(recorded, facts),
            Event::TasksPrepared(facts) => self.tasks_prepared(recorded, facts),
            Event::JobRegenerated(facts) => self.job_regenerated(recorded, facts),
            Event::OutputsDiscarded(facts) => self.outputs_discarded(recorded, facts),
            Event::JobReady(facts) => {
                let status = facts.status;
                self.change_job(recorded, facts.job, |job| job.state.status = status);
                // A job without tasks is completed by this, and others may have waited for it.
                for waiting in self.schedule.waiting_for(facts.job) {
                    self.refresh_lanes(waiting);
                }
            }
            Event::JobImported(facts) => self.job_imported(recorded, facts),
            Event::JobAbandoned(facts) => {
                self.change_job(recorded, facts.job, |job| {
                    job.state.status = crate::JobStatus::Failed;
                    job.state.status_detail = recorded.detail_hash;
                });
                // A retry with the same key is to be a submission of its own.
                self.keys.retain(|_, job| *job != facts.job);
            }
            Event::JobStatusChanged(facts) => {
                let to = facts.to;
                self.change_job(recorded, facts.job, |job| {
                    job.state.status = to;
                    job.state.status_detail = recorded.detail_hash;
                });
                for waiting in self.schedule.waiting_for(facts.job) {
                    self.refresh_lanes(waiting);
                }
            }
            Event::JobPriorityChanged(facts) => {
                let to = facts.to;
                self.change_job(recorded, facts.job, |job| job.state.facts.priority = to);
            }
            Event::JobTagChanged(facts) => {
                let to = facts.to;
                self.change_job(recorded, facts.job, |job| job.state.facts.tag = to);
            }
            Event::JobHeld(facts) => {
                let hold = facts.hold;
                self.change_job(recorded, facts.job, |job| {
                    job.state.holds.insert(hold);
                });
            }
            Event::JobReleased(facts) => {
                let hold = facts.hold;
                self.change_job(recorded, facts.job, |job| {
                    job.state.holds.remove(&hold);
                });
            }
            Event::JobDeleteMarked(facts) => {
                let at = facts.at;
                self.change_job(recorded, facts.job, |job| {
                    job.state.delete_marked = Some(at)
                });
            }
            Event::JobRestored(facts) => {
                self.change_job(recorded, facts.job, |job| job.state.delete_marked = None);
            }
            Event::JobPurged(facts) => self.job_purged(facts.job),
            Event::JobEpochRaised(facts) => {
                let (epoch, manager) = (facts.to, facts.manager);
                self.change_job(recorded, facts.job, |job| {
                    job.state.facts.job_epoch = epoch;
                    job.state.facts.manager = manager;
                });
            }
            Event::WorkerBlocked(facts) => {
                let entry = (facts.worker, facts.task_type.clone());
                self.change_job(recorded, facts.job, |job| {
                    job.state.blocked.insert(entry);
                });
                let block = (facts.job, facts.worker, facts.task_type.clone());
                self.blocks.put(block, recorded.at);
                self.set_blocked(facts.job, facts.worker, &facts.task_type, true);
            }
            Event::WorkerUnblocked(facts) => {
                let entry = (facts.worker, facts.task_type.clone());
                self.change_job(recorded, facts.job, |job| {
                    job.state.blocked.remove(&entry);
                });
                let block = (facts.job, facts.worker, facts.task_type.clone());
                self.blocks.take(&block);
                self.set_blocked(facts.job, facts.worker, &facts.task_type, false);
            }

            Event::TasksChanged(facts) => self.tasks_changed(recorded, facts),
            Event::TaskPriorityChanged(facts) => {
                let to = facts.to;
                self.change_task(recorded, facts.job, facts.task, |task| {
                    task.state.priority = to;
                });
                self.refresh_lanes(facts.job);
            }
            Event::FailuresCleared(facts) => self.failures_cleared(recorded, facts),
            Event::TaskOutgrew(facts) => self.task_outgrew(recorded, facts),
            Event::AttemptAssigned(facts) => self.attempt_assigned(recorded, facts),
            Event::AttemptStarted(facts) => self.attempt_started(facts),
            Event::AttemptStopRequested(facts) => self.attempt_stop_requested(facts),
            Event::StepsAdvanced(facts) => {
                let to = facts.to;
                self.change_task(recorded, facts.job, facts.task, |task| {
                    task.state.steps_completed = to;
                });
            }
            Event::AttemptEnded(facts) => self.attempt_ended(recorded, facts),
            // History: the journal changed its shape, the farm did not.
            Event::BaselineTaken(_) | Event::DetailErased(_) => {}
            // History: no rule reads what changed.
            Event::ConfigNoted(_) => {}
            // History: it says that something arrived too late and changed nothing.
            Event::LateReportNoted(_) => {}

            Event::FramePublished(facts) => self.frame_published(recorded, facts),
            // History: the frame stays as it is.
            Event::FrameSkipped(_) => {}
            Event::ThumbnailStored(facts) => self.thumbnail_stored(facts),
            Event::FrameFlagged(facts) => self.frame_flagged(facts),
            Event::FramesWanted(facts) => self.frames_wanted(facts),
            // History: what it found is said by the events before it.
            Event::FramesVerified(_) => {}

            Event::WorkerRegistered(facts) => self.worker_registered(recorded, facts),
            Event::WorkerSignedOn(facts) => self.worker_signed_on(recorded, facts),
            Event::WorkerStatusChanged(facts) => {
                let to = facts.to;
                self.change_worker(recorded, facts.worker, |worker| worker.status = Some(to));
            }
            Event::WorkerStatusRequested(facts) => {
                let request = facts.request;
                self.change_worker(recorded, facts.worker, |worker| {
                    worker.pending = Some(request)
                });
            }
            Event::WorkerStatusRequestCleared(facts) => {
                self.change_worker(recorded, facts.worker, |worker| worker.pending = None);
            }
            Event::WorkerMemorySet(facts) => self.worker_memory_set(recorded, facts),
            Event::WorkerTagsSet(facts) => {
                let tags = facts.to.iter().copied().collect();
                self.change_worker(recorded, facts.worker, |worker| worker.tags = tags);
            }
            Event::WorkerScheduleSet(facts) => {
                let schedule = facts.to.clone();
                self.change_worker(recorded, facts.worker, |worker| worker.schedule = schedule);
            }
            Event::WorkerLost(facts) => {
                self.change_worker(recorded, facts.worker, |worker| {
                    worker.status = Some(crate::WorkerStatus::Error);
                    worker.pending = None;
                });
            }
            Event::WorkerDeleted(facts) => {
                self.change_worker(recorded, facts.worker, |worker| worker.deleted = true);
            }
            Event::WorkerQuarantined(facts) => self.worker_quarantined(recorded, facts),
            Event::WorkerQuarantineLifted(facts) => {
                self.change_worker(recorded, facts.worker, |worker| worker.quarantined = false);
                self.put_quarantine(facts.worker, None);
            }
            Event::TagCreated(facts) => self.put_tag(recorded, facts.tag),
            Event::TagChanged(facts) => self.put_tag(recorded, facts.tag),
            Event::TagDeleted(facts) => self.tag_deleted(facts.tag),

            Event::ManagerLinked(facts) => self.put_manager(Manager {
                id: facts.manager,
                revoked: false,
                detail: recorded.detail_hash,
                changed_at: recorded.lsn,
                ..self.manager_or_new(facts.manager)
            }),
            Event::ManagerRevoked(facts) => self.put_manager(Manager {
                revoked: true,
                changed_at: recorded.lsn,
                ..self.manager_or_new(facts.manager)
            }),
            Event::OriginAdvanced(facts) => self.put_manager(Manager {
                origin: facts.lsn,
                origin_chain: facts.chain,
                changed_at: recorded.lsn,
                ..self.manager_or_new(facts.manager)
            }),
            Event::JobPlaced(facts) => {
                let placement = Placement {
                    manager: facts.manager,
                    epoch: facts.epoch,
                    submission: facts.submission,
                    changed_at: recorded.lsn,
                };
                if let Some(old) = self.placements.get(&facts.job) {
                    self.hash
                        .remove(Leaf::of(Domain::Placement, &(&facts.job, old)));
                }
                self.hash
                    .add(Leaf::of(Domain::Placement, &(&facts.job, &placement)));
                self.placements.insert(facts.job, placement);
            }
            Event::RequestAccepted(facts) => {
                let remote = RemoteRequest {
                    manager: facts.manager,
                    job: facts.job,
                    verb: facts.verb,
                    changed_at: recorded.lsn,
                };
                self.hash
                    .add(Leaf::of(Domain::Remote, &(&facts.request, &remote)));
                if let Some(old) = self.remotes.insert(facts.request, remote) {
                    self.hash
                        .remove(Leaf::of(Domain::Remote, &(&facts.request, &old)));
                }
            }
        }
    }

    fn change_farm(&mut self, change: impl FnOnce(&mut Self)) {
        self.hash.remove(self.farm_leaf());
        change(self);
        self.hash.add(self.farm_leaf());
    }

    /// Changes a job's own state and brings digest and lanes up to date.
    pub(crate) fn change_job(
        &mut self,
        recorded: &Recorded,
        id: JobId,
        change: impl FnOnce(&mut Job),
    ) {
        let Some(job) = self.jobs.get_mut(&id) else {
            debug_assert!(false, "an event names a job that is not there");
            return;
        };
        self.unsettled.job_changes(&mut self.hash, job);
        change(job);
        job.state.changed_at = recorded.lsn;
        self.refresh_lanes(id);
    }

    /// Changes one task and brings counts, digest and ready sets up to date; not the lanes.
    pub(crate) fn change_task(
        &mut self,
        recorded: &Recorded,
        id: JobId,
        number: u32,
        change: impl FnOnce(&mut TaskChange<'_>),
    ) {
        let Some(job) = self.jobs.get_mut(&id) else {
            debug_assert!(false, "an event names a job that is not there");
            return;
        };
        let Some(task) = job.tasks.get(number as usize) else {
            debug_assert!(false, "an event names a task that is not there");
            return;
        };
        let (from, retired) = (task.status, task.retired);
        self.schedule.before_task_change(job, &task);
        self.unsettled.task_changes(job, number);
        let mut task = (job.tasks.change(number)).expect("it was there a moment ago");
        change(&mut task);
        task.state.changed_at = recorded.lsn;
        let to = task.state.status;
        if !retired && from != to {
            job.counts.shift(from, to, 1);
        }
        self.schedule.after_task_change(job, number, from);
    }

    fn set_blocked(&mut self, job: JobId, worker: WorkerId, task_type: &str, blocked: bool) {
        let task_type = self.intern_type(task_type);
        if let Some(job) = self.jobs.get(&job) {
            self.schedule.set_blocked(job, worker, task_type, blocked);
        }
    }

    pub(crate) fn refresh_lanes(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        let has_begun = (job.state.facts.not_before).is_none_or(|start| start <= self.time);
        let may_run = has_begun && self.may_run(job);
        self.schedule.refresh_lanes(job, may_run);
    }

    fn put_tag(&mut self, recorded: &Recorded, id: crate::TagId) {
        let tag = Tag {
            id,
            detail: recorded.detail_hash,
            changed_at: recorded.lsn,
        };
        if let Some(old) = self.tags.get(&id) {
            self.hash.remove(Leaf::of(Domain::Tag, old));
        }
        self.hash.add(Leaf::of(Domain::Tag, &tag));
        self.tags.insert(id, tag);
    }

    fn tag_deleted(&mut self, id: crate::TagId) {
        if let Some(old) = self.tags.remove(&id) {
            self.hash.remove(Leaf::of(Domain::Tag, &old));
        }
        // decide also wrote what this does to jobs and workers; nothing to work out here.
    }

    fn manager_or_new(&self, id: crate::ManagerId) -> Manager {
        self.managers.get(&id).cloned().unwrap_or(Manager {
            id,
            revoked: false,
            origin: crate::Lsn::ORIGIN,
            origin_chain: [0; 32],
            detail: None,
            changed_at: crate::Lsn::ORIGIN,
        })
    }

    fn put_manager(&mut self, manager: Manager) {
        if let Some(old) = self.managers.get(&manager.id) {
            self.hash.remove(Leaf::of(Domain::Manager, old));
        }
        self.hash.add(Leaf::of(Domain::Manager, &manager));
        self.managers.insert(manager.id, manager);
    }
}
