// SPDX-License-Identifier: GPL-3.0-or-later
//! How each event changes the read model.
//!
//! Total and infallible, as the core's fold is: an event about something that is not there
//! changes nothing. The farm moves first; what must be compared with before is read before.

use std::collections::BTreeSet;

use tablao_core::{
    AttemptId, Detail, Event, JobId, Recorded, ShotId, WorkerId,
    event::{AttemptAssigned, AttemptEnded, FramePublished, JobImported, JobRegenerated},
};

use crate::{
    attempts::AttemptRow,
    control::{ManagerRow, PlacementRow, RequestRow},
    frames::FrameRow,
    jobs::JobRow,
    model::ReadModel,
    workers::{QuarantineRow, TagRow, WorkerRow, named, worker_detail},
};

impl ReadModel {
    /// Folds a recorded event in.
    pub fn apply(&mut self, recorded: &Recorded) {
        let touched = Touched::by(&recorded.event);
        let before = self.steps(touched.as_ref());
        let purged = self.shots_of_purged(&recorded.event);
        let former = self.former_publisher(&recorded.event);
        self.note_worker(&recorded.event);
        self.farm.apply(recorded);
        if let Some(touched) = touched {
            self.tasks_touched(recorded, &touched, before);
        }
        let reason = || recorded.detail.reason_text().to_owned();
        match &recorded.event {
            // What was asked and by whom is the audit's; what came of it follows as events.
            Event::Decision(_) => {}
            // The farm has the journal's identity and term; nothing of them is words.
            Event::JournalOpened(_) | Event::TermStarted(_) => {}
            Event::ConfigApplied(_) | Event::ConfigNoted(_) => {
                self.config_text = named(&recorded.detail).description;
            }

            Event::JobAccepted(facts) => {
                let sequence = self.farm.jobs()[&facts.facts.job].state.sequence;
                let row = JobRow::accepted(recorded, &facts.facts, sequence);
                self.frames.job_accepted(&facts.facts, &row.detail);
                self.order.insert(sequence, row.id);
                self.tasks.entry(row.id).or_default();
                self.jobs.insert(row.id, row);
            }
            Event::TasksAdded(facts) => {
                self.tasks
                    .entry(facts.job)
                    .or_default()
                    .add(recorded, facts);
                let steps: u64 = (facts.tasks.iter())
                    .map(|task| u64::from(task.steps_total))
                    .sum();
                self.change_job(recorded, facts.job, |row| row.steps_total += steps);
            }
            Event::TasksPrepared(facts) => {
                let tasks = self.tasks.entry(facts.job).or_default();
                tasks.prepare(recorded, facts);
            }
            Event::JobRegenerated(facts) => self.job_regenerated(recorded, facts),
            Event::OutputsDiscarded(facts) => self.change_job(recorded, facts.job, |_| {}),
            Event::JobReady(facts) => self.change_job(recorded, facts.job, |_| {}),
            Event::JobAbandoned(facts) => {
                self.change_job(recorded, facts.job, |row| row.activity = reason());
            }
            Event::JobStatusChanged(facts) => {
                self.change_job(recorded, facts.job, |row| row.activity = reason());
            }
            Event::JobImported(facts) => {
                self.change_job(recorded, facts.job, |row| row.activity = reason());
                self.last_tasks_imported(facts);
            }
            Event::JobHeld(facts) => {
                self.change_job(recorded, facts.job, |row| row.hold_reason = reason());
            }
            Event::JobReleased(facts) => {
                self.change_job(recorded, facts.job, |row| row.hold_reason.clear());
            }
            Event::JobPriorityChanged(facts) => self.change_job(recorded, facts.job, |_| {}),
            Event::JobTagChanged(facts) => self.change_job(recorded, facts.job, |_| {}),
            Event::JobDeleteMarked(facts) => self.change_job(recorded, facts.job, |_| {}),
            Event::JobRestored(facts) => self.change_job(recorded, facts.job, |_| {}),
            Event::JobEpochRaised(facts) => self.change_job(recorded, facts.job, |_| {}),
            Event::WorkerBlocked(facts) => self.change_job(recorded, facts.job, |_| {}),
            Event::WorkerUnblocked(facts) => self.change_job(recorded, facts.job, |_| {}),
            Event::JobPurged(facts) => self.job_purged(facts.job, purged),

            Event::TasksChanged(facts) => {
                if let Some(tasks) = self.tasks.get_mut(&facts.job) {
                    for &(first, last) in &facts.ranges {
                        tasks
                            .activity
                            .set(first, last, recorded.detail.reason_text());
                    }
                }
            }
            // A task's priority and its list of failures are facts; it was touched above.
            Event::TaskPriorityChanged(_) | Event::FailuresCleared(_) | Event::TaskOutgrew(_) => {}
            Event::StepsAdvanced(_) => {}
            Event::AttemptAssigned(facts) => self.attempt_assigned(recorded, facts),
            Event::AttemptStarted(facts) => {
                self.change_attempt(facts.job, facts.task, facts.attempt, |row| {
                    row.start(recorded.at);
                });
            }
            Event::AttemptStopRequested(facts) => {
                self.change_attempt(facts.job, facts.task, facts.attempt, |row| {
                    row.stop(&recorded.detail);
                });
            }
            Event::AttemptEnded(facts) => self.attempt_ended(recorded, facts),
            // It changed nothing; it is there to be found by those who ask for history.
            Event::LateReportNoted(_) => {}
            // What was erased is told by its record; what it was, by none.
            Event::BaselineTaken(_) | Event::DetailErased(_) => {}

            Event::FramePublished(facts) => self.frame_published(recorded, facts, former),
            // The frame stays as it is.
            Event::FrameSkipped(_) => {}
            Event::ThumbnailStored(facts) => {
                self.frames
                    .set_thumbnail(&facts.key, &named(&recorded.detail).name);
            }
            // What is wrong with frames is a fact, and the farm has it.
            Event::FrameFlagged(_) | Event::FramesWanted(_) | Event::FramesVerified(_) => {}

            Event::WorkerRegistered(facts) => {
                let row = WorkerRow::registered(facts.worker, recorded.at, &recorded.detail);
                self.quarantines.remove(&facts.worker);
                self.workers.insert(facts.worker, row);
            }
            Event::WorkerSignedOn(facts) => self.change_worker(recorded, facts.worker, |row| {
                row.status_reason.clear();
                if let Some(detail) = worker_detail(&recorded.detail) {
                    row.detail.clone_from(detail);
                }
            }),
            Event::WorkerStatusChanged(facts) => {
                self.change_worker(recorded, facts.worker, |row| row.status_reason = reason());
            }
            Event::WorkerLost(facts) => self.change_worker(recorded, facts.worker, |row| {
                row.status_reason = reason();
                row.request_reason.clear();
            }),
            Event::WorkerStatusRequested(facts) => {
                self.change_worker(recorded, facts.worker, |row| row.request_reason = reason());
            }
            Event::WorkerStatusRequestCleared(facts) => {
                self.change_worker(recorded, facts.worker, |row| row.request_reason.clear());
            }
            Event::WorkerTagsSet(facts) => self.change_worker(recorded, facts.worker, |_| {}),
            Event::WorkerMemorySet(facts) => self.change_worker(recorded, facts.worker, |_| {}),
            Event::WorkerScheduleSet(facts) => self.change_worker(recorded, facts.worker, |_| {}),
            Event::WorkerDeleted(facts) => {
                self.change_worker(recorded, facts.worker, |row| row.status_reason = reason());
            }
            Event::WorkerQuarantined(facts) => {
                self.change_worker(recorded, facts.worker, |_| {});
                let (id, reason) = (facts.worker, reason());
                self.quarantines.insert(id, QuarantineRow { id, reason });
            }
            Event::WorkerQuarantineLifted(facts) => {
                self.change_worker(recorded, facts.worker, |_| {});
                self.quarantines.remove(&facts.worker);
            }
            Event::TagCreated(facts) => self.put_tag(recorded, facts.tag),
            Event::TagChanged(facts) => self.put_tag(recorded, facts.tag),
            Event::TagDeleted(facts) => {
                self.tags.remove(&facts.tag);
            }

            Event::ManagerLinked(facts) => {
                let name = named(&recorded.detail).name;
                let row = self.managers.entry(facts.manager);
                let row = row.or_insert_with(|| ManagerRow {
                    id: facts.manager,
                    name: String::new(),
                    revoked_reason: String::new(),
                    linked: recorded.at,
                    updated: recorded.at,
                });
                row.name = name;
                row.revoked_reason.clear();
                row.updated = recorded.at;
            }
            Event::ManagerRevoked(facts) => {
                if let Some(row) = self.managers.get_mut(&facts.manager) {
                    row.revoked_reason = reason();
                    row.updated = recorded.at;
                }
            }
            // Where a Manager's journal stands is a fact that moves all the time.
            Event::OriginAdvanced(_) => {}
            Event::JobPlaced(facts) => {
                let words = named(&recorded.detail);
                let row = PlacementRow {
                    job: facts.job,
                    manager: facts.manager,
                    name: words.name,
                    why: words.description,
                    placed: recorded.at,
                };
                self.placements.insert(facts.job, row);
            }
            Event::RequestAccepted(facts) => {
                let row = RequestRow {
                    id: facts.request,
                    manager: facts.manager,
                    job: facts.job,
                    reason: reason(),
                    accepted: recorded.at,
                };
                self.requests.insert(facts.request, row);
            }
            // The job it concerned says by itself what became of it.
            Event::RequestSettled(_) => {}
            Event::LinkedToServer(_) => self.server_url = named(&recorded.detail).description,
        }
    }

    fn change_job(&mut self, recorded: &Recorded, id: JobId, change: impl FnOnce(&mut JobRow)) {
        if let Some(row) = self.jobs.get_mut(&id) {
            change(row);
            row.updated = recorded.at;
        }
    }

    fn change_worker(
        &mut self,
        recorded: &Recorded,
        id: WorkerId,
        change: impl FnOnce(&mut WorkerRow),
    ) {
        if let Some(row) = self.workers.get_mut(&id) {
            change(row);
            row.updated = recorded.at;
        }
    }

    fn change_attempt(
        &mut self,
        job: JobId,
        task: u32,
        id: AttemptId,
        change: impl FnOnce(&mut AttemptRow),
    ) {
        let tasks = self.tasks.get_mut(&job);
        if let Some(row) = tasks.and_then(|tasks| tasks.attempts.live(task, id)) {
            change(row);
        }
    }

    /// The shot that a job renders which is about to go, and those that it has frames of.
    fn shots_of_purged(&self, event: &Event) -> Option<(ShotId, BTreeSet<ShotId>)> {
        match event {
            Event::JobPurged(facts) => {
                let job = self.farm.jobs().get(&facts.job)?;
                Some((
                    job.state.facts.shot,
                    self.farm.shots_of(facts.job).collect(),
                ))
            }
            _ => None,
        }
    }

    /// A task is about to be handed to somebody.
    fn note_worker(&mut self, event: &Event) {
        if let Event::AttemptAssigned(facts) = event
            && let Some(job) = self.farm.jobs().get(&facts.job)
            && let Some(task) = job.tasks.get(facts.task as usize)
        {
            self.worked.turn(facts.job, task.last_worker, facts.worker);
        }
    }

    /// The job that published a frame last which is about to be published.
    fn former_publisher(&self, event: &Event) -> Option<JobId> {
        match event {
            Event::FramePublished(facts) => Some(self.farm.frames().get(&facts.key)?.job),
            _ => None,
        }
    }

    fn job_purged(&mut self, id: JobId, shots: Option<(ShotId, BTreeSet<ShotId>)>) {
        if let Some(row) = self.jobs.remove(&id) {
            self.order.remove(&row.sequence);
        }
        self.tasks.remove(&id);
        self.worked.forget(id);
        if let Some((shot, touched)) = shots {
            self.frames.purge_job(&self.farm, shot, &touched);
        }
        for worker in self.workers.values_mut() {
            let gone = |task| self.farm.task(task).is_none();
            if worker.last_task.is_some_and(gone) {
                worker.last_task = None;
            }
        }
    }

    /// What a worker did last on the farm that it was imported from.
    fn last_tasks_imported(&mut self, event: &JobImported) {
        let Some(job) = self.farm.jobs().get(&event.job) else {
            return;
        };
        self.worked.recount(event.job, job);
        for (worker, ranges) in &event.last_workers {
            let last = ranges.iter().map(|&(_, last)| last).max();
            let task = last.and_then(|number| job.tasks.get(number as usize));
            if let (Some(row), Some(task)) = (self.workers.get_mut(worker), task) {
                row.last_task = Some(task.uuid);
            }
        }
    }

    /// Other words about the job, and steps of the tasks that came and went.
    fn job_regenerated(&mut self, recorded: &Recorded, event: &JobRegenerated) {
        let Some(job) = self.farm.jobs().get(&event.job) else {
            return;
        };
        let total = |ranges: &[(u32, u32)]| -> u64 {
            (ranges.iter())
                .flat_map(|&(first, last)| job.tasks.range(first, last))
                .map(|task| u64::from(task.steps_total))
                .sum()
        };
        let (went, came) = (total(&event.retired), total(&event.added));
        self.change_job(recorded, event.job, |row| {
            if let Detail::Job(detail) = &recorded.detail {
                row.detail = (**detail).clone();
            }
            row.steps_total = (row.steps_total + came).saturating_sub(went);
        });
    }

    /// Steps done of the tasks that an event is about.
    fn steps(&self, touched: Option<&Touched<'_>>) -> u64 {
        touched
            .and_then(|touched| Some((touched, self.farm.jobs().get(&touched.job)?)))
            .map(|(touched, job)| {
                (touched.ranges.iter())
                    .flat_map(|&(first, last)| job.tasks.range(first, last))
                    .filter(|task| !task.retired)
                    .map(|task| u64::from(task.steps_completed))
                    .sum()
            })
            .unwrap_or_default()
    }

    fn tasks_touched(&mut self, recorded: &Recorded, touched: &Touched<'_>, before: u64) {
        let after = self.steps(Some(touched));
        if let Some(tasks) = self.tasks.get_mut(&touched.job) {
            for &(first, last) in touched.ranges.iter() {
                tasks.touch(first, last, recorded.at);
            }
        }
        self.change_job(recorded, touched.job, |row| {
            row.steps_completed = (row.steps_completed + after).saturating_sub(before);
        });
    }

    fn attempt_assigned(&mut self, recorded: &Recorded, event: &AttemptAssigned) {
        let job = self.farm.jobs().get(&event.job);
        let Some(task) = job.and_then(|job| job.tasks.get(event.task as usize)) else {
            return;
        };
        let uuid = task.uuid;
        if let (Some(id), Some(tasks)) = (task.attempt, self.tasks.get_mut(&event.job)) {
            let row = AttemptRow::assigned(id, uuid, recorded, event);
            tasks.attempts.begin(row);
            // What was said about the attempt before does not hold for this one.
            tasks.activity.set(event.task, event.task, "");
        }
        self.change_worker(recorded, event.worker, |row| row.last_task = Some(uuid));
    }

    fn attempt_ended(&mut self, recorded: &Recorded, event: &AttemptEnded) {
        if let Some(tasks) = self.tasks.get_mut(&event.job) {
            if let Some(mut row) = tasks.attempts.take_live(event.task, event.attempt) {
                row.end(recorded, event);
                tasks.attempts.add_ended(&mut self.crew, &row);
            }
            let reason = recorded.detail.reason_text();
            tasks.activity.set(event.task, event.task, reason);
        }
        self.change_worker(recorded, event.worker, |_| {});
    }

    fn frame_published(
        &mut self,
        recorded: &Recorded,
        event: &FramePublished,
        former: Option<JobId>,
    ) {
        let job = self.farm.jobs().get(&event.job);
        let Some(task) = job.and_then(|job| job.tasks.get(event.task as usize)) else {
            return;
        };
        let uuid = task.uuid;
        let tasks = self.tasks.get_mut(&event.job);
        let attempt = tasks.and_then(|tasks| tasks.attempts.live(event.task, event.attempt));
        let Some(worker) = attempt.map(|attempt| attempt.worker) else {
            return;
        };
        self.frames
            .publish(&FrameRow::published(recorded, event, uuid, worker));
        self.change_job(recorded, event.job, |row| {
            row.last_frame = Some(event.key.clone());
        });
        // Another job's frame was replaced: it may have been the last one that job had.
        let former = former.filter(|job| *job != event.job);
        if let Some(row) = former.and_then(|job| self.jobs.get_mut(&job))
            && row.last_frame.as_ref() == Some(&event.key)
        {
            row.last_frame = self.frames.last_of_job(&self.farm, row.id);
        }
    }

    fn put_tag(&mut self, recorded: &Recorded, id: tablao_core::TagId) {
        let words = named(&recorded.detail);
        let row = TagRow {
            id,
            name: words.name,
            description: words.description,
            updated: recorded.at,
        };
        self.tags.insert(id, row);
    }
}

/// The tasks whose facts an event changes.
struct Touched<'a> {
    job: JobId,
    ranges: std::borrow::Cow<'a, [(u32, u32)]>,
}

impl<'a> Touched<'a> {
    fn by(event: &'a Event) -> Option<Self> {
        let (job, task) = match event {
            Event::TasksChanged(facts) => return Some(Self::many(facts.job, &facts.ranges)),
            Event::OutputsDiscarded(facts) => return Some(Self::many(facts.job, &facts.ranges)),
            Event::JobRegenerated(facts) => {
                return Some(Self {
                    job: facts.job,
                    ranges: [&facts.retired[..], &facts.added].concat().into(),
                });
            }
            Event::FailuresCleared(facts) => return Some(Self::many(facts.job, &facts.ranges)),
            Event::TaskPriorityChanged(facts) => (facts.job, facts.task),
            Event::TaskOutgrew(facts) => (facts.job, facts.task),
            Event::AttemptAssigned(facts) => (facts.job, facts.task),
            Event::StepsAdvanced(facts) => (facts.job, facts.task),
            Event::AttemptEnded(facts) => (facts.job, facts.task),
            // The match in `apply` names every kind; here only those that change tasks matter.
            _ => return None,
        };
        Some(Self {
            job,
            ranges: vec![(task, task)].into(),
        })
    }

    fn many(job: JobId, ranges: &'a [(u32, u32)]) -> Self {
        Self {
            job,
            ranges: ranges.into(),
        }
    }
}
