// SPDX-License-Identifier: GPL-3.0-or-later
//! The oracle: what the read model ought to say, worked out by looking through the history.
//!
//! No state is carried along but what cannot be told otherwise; every answer searches all
//! records. Slow, short, and written from the meaning of the events, not from the model's code.

use std::collections::BTreeMap;

use tablao_core::{
    Detail, Event, Farm, JobId, Lsn, Recorded, TaskId, Timestamp, WorkerId,
    detail::{TasksDetail, WorkerDetail},
    entity::FrameKey,
    event::{AttemptOutcome, FramePublished},
};

/// A history and where it leads.
pub(crate) struct Naive<'a> {
    pub(crate) history: &'a [Recorded],
    pub(crate) farm: Farm,
}

/// An attempt as the history tells it.
#[derive(Debug, PartialEq)]
pub(crate) struct Attempt {
    pub(crate) position: Lsn,
    pub(crate) worker: WorkerId,
    pub(crate) assigned: Timestamp,
    pub(crate) started: Option<Timestamp>,
    pub(crate) ended: Option<(Timestamp, AttemptOutcome)>,
    pub(crate) stopping: bool,
}

impl<'a> Naive<'a> {
    pub(crate) fn new(history: &'a [Recorded]) -> Self {
        let mut farm = Farm::new();
        history.iter().for_each(|recorded| farm.apply(recorded));
        Self { history, farm }
    }

    /// The last record for which `find` finds something.
    fn last<T>(&self, find: impl Fn(&'a Recorded) -> Option<T>) -> Option<T> {
        self.history.iter().rev().find_map(find)
    }

    /// When the job, its tasks or its frames last changed.
    pub(crate) fn job_updated(&self, job: JobId) -> Option<Timestamp> {
        self.last(|recorded| {
            let concerned = match &recorded.event {
                Event::JobAccepted(facts) => facts.facts.job,
                Event::TasksAdded(facts) => facts.job,
                Event::JobReady(facts) => facts.job,
                Event::JobAbandoned(facts) => facts.job,
                Event::JobStatusChanged(facts) => facts.job,
                Event::JobPriorityChanged(facts) => facts.job,
                Event::JobTagChanged(facts) => facts.job,
                Event::JobHeld(facts) => facts.job,
                Event::JobReleased(facts) => facts.job,
                Event::JobImported(facts) => facts.job,
                Event::JobDeleteMarked(facts) => facts.job,
                Event::JobRestored(facts) => facts.job,
                Event::WorkerBlocked(facts) => facts.job,
                Event::WorkerUnblocked(facts) => facts.job,
                Event::FramePublished(facts) => facts.job,
                event => tasks_of(event)?.0,
            };
            (concerned == job).then_some(recorded.at)
        })
    }

    /// Why the job has its status.
    pub(crate) fn job_activity(&self, job: JobId) -> &'a str {
        self.last(|recorded| match &recorded.event {
            Event::JobStatusChanged(facts) if facts.job == job => Some(&recorded.detail),
            Event::JobAbandoned(facts) if facts.job == job => Some(&recorded.detail),
            Event::JobImported(facts) if facts.job == job => Some(&recorded.detail),
            _ => None,
        })
        .map_or("", Detail::reason_text)
    }

    /// When the task was added, and the words of its chunk with its place there.
    pub(crate) fn task_chunk(
        &self,
        job: JobId,
        number: u32,
    ) -> Option<(Timestamp, usize, Option<&'a TasksDetail>)> {
        self.last(|recorded| match &recorded.event {
            Event::TasksAdded(facts) if facts.job == job => {
                let place = number.checked_sub(facts.first_number)? as usize;
                let detail = match &recorded.detail {
                    Detail::Tasks(detail) => Some(&**detail),
                    _ => None,
                };
                (place < facts.tasks.len()).then_some((recorded.at, place, detail))
            }
            _ => None,
        })
    }

    /// When the task last changed.
    pub(crate) fn task_updated(&self, job: JobId, number: u32) -> Option<Timestamp> {
        self.last(|recorded| {
            let (concerned, ranges) = tasks_of(&recorded.event)?;
            (concerned == job && within(&ranges, number)).then_some(recorded.at)
        })
        .or_else(|| Some(self.task_chunk(job, number)?.0))
    }

    /// What the task's last change said.
    pub(crate) fn task_activity(&self, job: JobId, number: u32) -> &'a str {
        self.last(|recorded| match &recorded.event {
            Event::TasksChanged(facts) if facts.job == job => {
                within(&facts.ranges, number).then(|| recorded.detail.reason_text())
            }
            Event::AttemptEnded(facts) if facts.job == job && facts.task == number => {
                Some(recorded.detail.reason_text())
            }
            Event::AttemptAssigned(facts) if facts.job == job && facts.task == number => Some(""),
            _ => None,
        })
        .unwrap_or_default()
    }

    /// The attempts of a task, oldest first.
    pub(crate) fn attempts(&self, job: JobId, number: u32) -> Vec<Attempt> {
        let mut attempts: Vec<Attempt> = Vec::new();
        for recorded in self.history {
            match &recorded.event {
                Event::AttemptAssigned(facts) if facts.job == job && facts.task == number => {
                    attempts.push(Attempt {
                        position: recorded.lsn,
                        worker: facts.worker,
                        assigned: recorded.at,
                        started: None,
                        ended: None,
                        stopping: false,
                    });
                }
                Event::AttemptStarted(facts) => {
                    for attempt in &mut attempts {
                        if attempt.position == facts.attempt.lsn {
                            attempt.started = Some(recorded.at);
                        }
                    }
                }
                Event::AttemptStopRequested(facts) => {
                    for attempt in &mut attempts {
                        attempt.stopping |= attempt.position == facts.attempt.lsn;
                    }
                }
                Event::AttemptEnded(facts) => {
                    for attempt in &mut attempts {
                        if attempt.position == facts.attempt.lsn {
                            attempt.ended = Some((recorded.at, facts.outcome));
                        }
                    }
                }
                _ => {}
            }
        }
        attempts
    }

    /// Published frames that are still there, with the record of their last publication.
    pub(crate) fn frames(&self) -> BTreeMap<FrameKey, (&'a Recorded, &'a FramePublished)> {
        let mut frames = BTreeMap::new();
        for recorded in self.history {
            match &recorded.event {
                Event::FramePublished(facts) => {
                    frames.insert(facts.key.clone(), (recorded, facts));
                }
                Event::JobPurged(facts) => {
                    frames.retain(|_, (_, frame): &mut (&Recorded, &FramePublished)| {
                        frame.job != facts.job
                    });
                }
                _ => {}
            }
        }
        frames
    }

    /// File name of the thumbnail that was stored since a frame's publication.
    pub(crate) fn thumbnail(&self, key: &FrameKey, published: Lsn) -> Option<String> {
        self.last(|recorded| match (&recorded.event, &recorded.detail) {
            (Event::ThumbnailStored(facts), detail)
                if facts.key == *key && recorded.lsn > published =>
            {
                Some(match detail {
                    Detail::Named(detail) => detail.name.clone(),
                    _ => String::new(),
                })
            }
            _ => None,
        })
    }

    /// What the worker last said of itself.
    pub(crate) fn worker_detail(&self, worker: WorkerId) -> WorkerDetail {
        self.last(|recorded| match (&recorded.event, &recorded.detail) {
            (Event::WorkerRegistered(facts), Detail::Worker(detail)) if facts.worker == worker => {
                Some(detail.clone())
            }
            (Event::WorkerSignedOn(facts), Detail::Worker(detail)) if facts.worker == worker => {
                Some(detail.clone())
            }
            _ => None,
        })
        .unwrap_or_default()
    }

    /// Why the worker is in quarantine, if it is.
    pub(crate) fn quarantine(&self, worker: WorkerId) -> Option<&'a str> {
        self.last(|recorded| match &recorded.event {
            Event::WorkerQuarantined(facts) if facts.worker == worker => {
                Some(Some(recorded.detail.reason_text()))
            }
            Event::WorkerQuarantineLifted(facts) if facts.worker == worker => Some(None),
            _ => None,
        })
        .flatten()
    }

    /// The task that the worker was last given, if it is still there.
    pub(crate) fn last_task(&self, worker: WorkerId) -> Option<TaskId> {
        let (job, number) = self.last(|recorded| match &recorded.event {
            Event::AttemptAssigned(facts) if facts.worker == worker => {
                Some((facts.job, facts.task))
            }
            Event::JobImported(facts) => {
                let mut last = facts.last_workers.iter();
                let (_, ranges) = last.find(|(of, _)| *of == worker)?;
                let number = ranges.iter().map(|&(_, last)| last).max()?;
                Some((facts.job, number))
            }
            _ => None,
        })?;
        let job = self.farm.jobs().get(&job)?;
        Some(job.tasks.at(number).uuid)
    }
}

/// The tasks that an event changes.
fn tasks_of(event: &Event) -> Option<(JobId, Vec<(u32, u32)>)> {
    let one = |job, task| Some((job, vec![(task, task)]));
    match event {
        Event::TasksChanged(facts) => Some((facts.job, facts.ranges.clone())),
        Event::FailuresCleared(facts) => Some((facts.job, facts.ranges.clone())),
        Event::TaskPriorityChanged(facts) => one(facts.job, facts.task),
        Event::OutputsDiscarded(facts) => Some((facts.job, facts.ranges.clone())),
        Event::TaskOutgrew(facts) => one(facts.job, facts.task),
        Event::AttemptAssigned(facts) => one(facts.job, facts.task),
        Event::StepsAdvanced(facts) => one(facts.job, facts.task),
        Event::AttemptEnded(facts) => one(facts.job, facts.task),
        _ => None,
    }
}

fn within(ranges: &[(u32, u32)], number: u32) -> bool {
    ranges
        .iter()
        .any(|&(first, last)| (first..=last).contains(&number))
}
