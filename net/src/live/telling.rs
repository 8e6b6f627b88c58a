// SPDX-License-Identifier: GPL-3.0-or-later
//! Which messages an event becomes: from durable records and the model that has passed them.
//!
//! A status is told as the record said it, so that none is left out; everything else as it is
//! now. What changes many times a second (steps, a worker's next task) is told once for all that
//! was at hand. Nothing is sent from here, and no clock is read.

use std::collections::{BTreeMap, BTreeSet};

use tablao_core::{
    Detail, Event, JobId, JobStatus, Recorded, TagId, TaskStatus, Timestamp, WorkerId, WorkerStatus,
};
use tablao_projections::ReadModel;

use super::{
    payload::{JobChange, JobUpdate, Message, Payload, TaskUpdate, WorkerTagUpdate, WorkerUpdate},
    topic::Topic,
};

/// So many tasks that change together are told one by one; of more, the job says that its tasks
/// have to be read anew.
const TASKS_TOLD_MAX: usize = 100;

/// What somebody listens to: nothing else is put together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Interest {
    /// All of it.
    pub(crate) everything: bool,
    pub(crate) jobs: bool,
    pub(crate) workers: bool,
    pub(crate) worker_tags: bool,
    /// Jobs whose tasks are listened to.
    pub(crate) tasks_of: BTreeSet<JobId>,
}

impl Interest {
    fn in_tasks_of(&self, job: JobId) -> bool {
        self.everything || self.tasks_of.contains(&job)
    }
}

/// When a worker was last heard of; that is no fact and stands in no model.
pub(crate) trait LastSeen {
    fn last_seen(&self, worker: WorkerId) -> Option<Timestamp>;
}

/// Puts together what is to be told of the records of one journal.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    messages: Vec<Message>,
    /// The farm's status may be another one.
    pub(crate) status_may_differ: bool,
    /// Jobs of which something small changed, and whether their tasks have to be read anew.
    jobs: BTreeMap<JobId, bool>,
    tasks: BTreeSet<(JobId, u32)>,
    workers: BTreeSet<WorkerId>,
}

impl Telling {
    /// Takes a record in. The model has passed it, perhaps more.
    pub(crate) fn take(
        &mut self,
        recorded: &Recorded,
        model: &ReadModel,
        interest: &Interest,
        seen: &impl LastSeen,
    ) {
        match &recorded.event {
            Event::JobReady(facts) => {
                self.status_may_differ = true;
                self.job(model, interest, facts.job, JobChange::New(facts.status));
            }
            Event::JobStatusChanged(facts) => {
                self.status_may_differ = true;
                let change = JobChange::Status(facts.from, facts.to);
                self.job(model, interest, facts.job, change);
            }
            Event::JobPriorityChanged(facts) => self.touch_job(facts.job),
            Event::JobTagChanged(facts) => self.touch_job(facts.job),
            Event::JobDeleteMarked(facts) => self.touch_job(facts.job),
            Event::JobRestored(facts) => self.touch_job(facts.job),
            Event::JobPurged(facts) => {
                self.status_may_differ = true;
                self.jobs.remove(&facts.job);
                if interest.everything || interest.jobs {
                    let update = JobUpdate::deleted(facts.job);
                    self.say(Topic::Jobs, Payload::Job(Box::new(update)));
                }
            }

            Event::TasksChanged(facts) => {
                let change = (facts.from, facts.to);
                self.tasks(model, interest, facts.job, &facts.ranges, change);
            }
            // Some tasks went and others came: whoever shows them has to read them anew.
            Event::JobRegenerated(facts) => {
                self.jobs.insert(facts.job, true);
            }
            Event::AttemptAssigned(facts) => {
                let change = (facts.from, TaskStatus::Active);
                self.task(model, interest, facts.job, facts.task, change);
                self.workers.insert(facts.worker);
            }
            Event::StepsAdvanced(facts) => {
                self.touch_job(facts.job);
                if interest.in_tasks_of(facts.job) {
                    self.tasks.insert((facts.job, facts.task));
                }
            }
            Event::AttemptEnded(facts) => {
                self.touch_job(facts.job);
                // A task is active for as long as it has an attempt.
                let change = (TaskStatus::Active, facts.task_to);
                self.task(model, interest, facts.job, facts.task, change);
            }

            Event::WorkerSignedOn(facts) => {
                self.status_may_differ = true;
                self.workers.insert(facts.worker);
            }
            Event::WorkerStatusChanged(facts) => {
                self.status_may_differ = true;
                let change = (facts.from, facts.to);
                self.worker(model, interest, seen, facts.worker, Some(change), None);
            }
            Event::WorkerLost(facts) => {
                self.status_may_differ = true;
                let change = (facts.from, WorkerStatus::Error);
                self.worker(model, interest, seen, facts.worker, Some(change), None);
            }
            Event::WorkerDeleted(facts) => {
                self.status_may_differ = true;
                let at = Some(recorded.at);
                self.worker(model, interest, seen, facts.worker, None, at);
            }
            Event::WorkerStatusRequested(facts) => {
                self.workers.insert(facts.worker);
            }
            Event::WorkerStatusRequestCleared(facts) => {
                self.workers.insert(facts.worker);
            }
            Event::WorkerTagsSet(facts) => {
                self.workers.insert(facts.worker);
            }
            // No client is shown how much memory a worker has.
            Event::WorkerMemorySet(_) => {}

            Event::TagCreated(facts) => self.tag(interest, facts.tag, &recorded.detail),
            Event::TagChanged(facts) => self.tag(interest, facts.tag, &recorded.detail),
            Event::TagDeleted(facts) => {
                if interest.everything || interest.worker_tags {
                    let update = WorkerTagUpdate::deleted(facts.tag);
                    self.say(Topic::WorkerTags, Payload::WorkerTag(update));
                }
            }

            // It was another Manager's, as the tasks then say, and is new here.
            Event::JobImported(facts) => {
                self.status_may_differ = true;
                self.job(model, interest, facts.job, JobChange::New(facts.status));
            }
            // A job is told of when all of it is there, and one that never was is not.
            Event::JobAccepted(_) | Event::TasksAdded(_) | Event::JobAbandoned(_) => {}
            // Flamenco's clients know no holds, epochs, lists of failures or blocked workers in
            // these messages, and nothing that they show of a task changes with its priority.
            Event::JobHeld(_)
            | Event::JobReleased(_)
            | Event::JobEpochRaised(_)
            | Event::WorkerBlocked(_)
            | Event::WorkerUnblocked(_)
            | Event::FailuresCleared(_)
            | Event::OutputsDiscarded(_)
            | Event::TaskOutgrew(_)
            | Event::TasksPrepared(_)
            | Event::TaskPriorityChanged(_) => {}
            // The task is active since it was handed out, and until its attempt has ended.
            Event::AttemptStarted(_)
            | Event::AttemptStopRequested(_)
            | Event::LateReportNoted(_) => {}
            // Nothing that Flamenco's clients show of a worker changes with it.
            Event::WorkerQuarantined(_) | Event::WorkerQuarantineLifted(_) => {}
            // The newest picture is told of when it is there to be fetched.
            Event::FramePublished(_) | Event::FrameSkipped(_) | Event::ThumbnailStored(_) => {}
            // Flamenco knows nothing of what is wrong with a frame.
            Event::FrameFlagged(_) | Event::FramesWanted(_) | Event::FramesVerified(_) => {}
            // A worker that made itself known signs on next; a schedule shows when it is applied.
            Event::WorkerRegistered(_) | Event::WorkerScheduleSet(_) => {}
            // Between Managers, and about journals.
            Event::ManagerLinked(_)
            | Event::ManagerRevoked(_)
            | Event::JobPlaced(_)
            | Event::RequestAccepted(_)
            | Event::RequestSettled(_)
            | Event::OriginAdvanced(_)
            | Event::TermStarted(_)
            | Event::LinkedToServer(_)
            | Event::Decision(_)
            | Event::JournalOpened(_)
            | Event::ConfigApplied(_)
            | Event::ConfigNoted(_)
            | Event::BaselineTaken(_)
            | Event::DetailErased(_) => {}
        }
    }

    /// All that is to be told, the small changes at the end.
    pub(crate) fn finish(
        &mut self,
        model: &ReadModel,
        interest: &Interest,
        seen: &impl LastSeen,
    ) -> Vec<Message> {
        for (job, number) in std::mem::take(&mut self.tasks) {
            self.say_task(model, job, number, None);
        }
        for (job, refresh) in std::mem::take(&mut self.jobs) {
            if interest.everything || interest.jobs {
                self.say_job(model, job, JobChange::Other, refresh);
            }
        }
        for worker in std::mem::take(&mut self.workers) {
            self.worker(model, interest, seen, worker, None, None);
        }
        std::mem::take(&mut self.messages)
    }

    fn say(&mut self, topic: Topic, payload: Payload) {
        self.messages.push(Message { topic, payload });
    }

    fn touch_job(&mut self, job: JobId) {
        self.jobs.entry(job).or_default();
    }

    fn job(&mut self, model: &ReadModel, interest: &Interest, job: JobId, change: JobChange) {
        let was_to_refresh = self.jobs.remove(&job).unwrap_or_default();
        if interest.everything || interest.jobs {
            let refresh = match change {
                JobChange::Status(_, to) => refreshes_tasks(to),
                JobChange::New(_) | JobChange::Other => false,
            };
            self.say_job(model, job, change, refresh || was_to_refresh);
        }
    }

    fn say_job(&mut self, model: &ReadModel, job: JobId, change: JobChange, refresh: bool) {
        // One that is gone meanwhile is told of as gone.
        if let Some(update) = JobUpdate::new(model, job, change, refresh) {
            self.say(Topic::Jobs, Payload::Job(Box::new(update)));
        }
    }

    fn tasks(
        &mut self,
        model: &ReadModel,
        interest: &Interest,
        job: JobId,
        ranges: &[(u32, u32)],
        change: (TaskStatus, TaskStatus),
    ) {
        let count: usize = (ranges.iter())
            .map(|&(first, last)| (last - first) as usize + 1)
            .sum();
        if count > TASKS_TOLD_MAX {
            self.jobs.insert(job, true);
            return;
        }
        self.touch_job(job);
        for &(first, last) in ranges {
            for number in first..=last {
                self.task(model, interest, job, number, change);
            }
        }
    }

    fn task(
        &mut self,
        model: &ReadModel,
        interest: &Interest,
        job: JobId,
        number: u32,
        change: (TaskStatus, TaskStatus),
    ) {
        if interest.in_tasks_of(job) {
            self.tasks.remove(&(job, number));
            self.say_task(model, job, number, Some(change));
        }
    }

    fn say_task(
        &mut self,
        model: &ReadModel,
        job: JobId,
        number: u32,
        change: Option<(TaskStatus, TaskStatus)>,
    ) {
        let found = model.farm().jobs().get(&job);
        let task = found.and_then(|found| found.tasks.get(number as usize));
        if let Some(view) = task.and_then(|task| model.task(task.uuid)) {
            let update = TaskUpdate::new(model, &view, change);
            self.say(Topic::TasksOf(job), Payload::Task(Box::new(update)));
        }
    }

    fn worker(
        &mut self,
        model: &ReadModel,
        interest: &Interest,
        seen: &impl LastSeen,
        id: WorkerId,
        change: Option<(Option<WorkerStatus>, WorkerStatus)>,
        deleted_at: Option<Timestamp>,
    ) {
        self.workers.remove(&id);
        if interest.everything || interest.workers {
            let last_seen = seen.last_seen(id);
            if let Some(update) = WorkerUpdate::new(model, id, change, deleted_at, last_seen) {
                self.say(Topic::Workers, Payload::Worker(Box::new(update)));
            }
        }
    }

    /// As the record has it: the tag may be gone by now.
    fn tag(&mut self, interest: &Interest, tag: TagId, detail: &Detail) {
        let (name, description) = match detail {
            Detail::Named(named) => (&*named.name, &*named.description),
            _ => ("", ""),
        };
        if interest.everything || interest.worker_tags {
            let update = WorkerTagUpdate::new(tag, name, description);
            self.say(Topic::WorkerTags, Payload::WorkerTag(update));
        }
    }
}

/// Whoever shows a job's tasks has to read them anew: many of them change with this.
fn refreshes_tasks(to: JobStatus) -> bool {
    match to {
        JobStatus::CancelRequested
        | JobStatus::Failed
        | JobStatus::PauseRequested
        | JobStatus::Requeueing
        | JobStatus::Queued => true,
        JobStatus::Active
        | JobStatus::Canceled
        | JobStatus::Completed
        | JobStatus::Paused
        | JobStatus::UnderConstruction => false,
    }
}

/// For somebody who missed messages: what changed since a moment, as it is now.
pub(crate) fn since(model: &ReadModel, moment: Timestamp, seen: &impl LastSeen) -> Vec<Message> {
    let jobs = (model.jobs()).filter(|row| row.updated >= moment);
    let jobs = jobs.filter_map(|row| JobUpdate::new(model, row.id, JobChange::Other, true));
    let jobs = jobs.map(|update| (Topic::Jobs, Payload::Job(Box::new(update))));
    let workers = (model.workers()).filter(|row| row.updated >= moment);
    let workers = workers
        .filter_map(|row| WorkerUpdate::new(model, row.id, None, None, seen.last_seen(row.id)));
    let workers = workers.map(|update| (Topic::Workers, Payload::Worker(Box::new(update))));
    let tags = (model.tags()).filter(|row| row.updated >= moment);
    let tags = tags.map(|row| {
        (
            Topic::WorkerTags,
            Payload::WorkerTag(WorkerTagUpdate::new(row.id, &row.name, &row.description)),
        )
    });
    (jobs.chain(workers).chain(tags))
        .map(|(topic, payload)| Message { topic, payload })
        .collect()
}
