// SPDX-License-Identifier: GPL-3.0-or-later
//! Counts what the histories led to, so that the model test cannot pass by looking at nothing.

use std::collections::BTreeMap;

use tablao_core::{
    Answer, Event, JobStatus, Refusal, Request, TaskStatus,
    event::{AttemptOutcome, LateReport, StopCause},
};

use crate::common::Heard;

/// Each outcome has to be seen so often, over all histories, for the test to mean something.
const SEEN_MIN: u32 = 10;

/// What has to be seen.
const OUTCOMES: &[&str] = &[
    "answer: assigned",
    "answer: handed out again",
    "answer: nothing to run",
    "answer: late",
    "answer: same report again",
    "assigned: over a runner-up",
    "assigned: a soft-failed task",
    "attempt: completed",
    "attempt: soft-failed",
    "attempt: failed for good",
    "attempt: lapsed",
    "attempt: lapsed, never started",
    "attempt: lost with its worker",
    "attempt: returned",
    "attempt: canceled",
    "attempt: completed after being asked to stop",
    "task: canceled by its job",
    "task: completed tasks queued again",
    "task: requeued because its worker was blocked",
    "stop: JobCanceled",
    "stop: JobFailed",
    "stop: TaskCanceled",
    "stop: TaskRequeued",
    "stop: Regenerated",
    "job: regenerated, tasks came",
    "job: regenerated, tasks went",
    "job: active",
    "job: completed",
    "job: failed",
    "job: failed by share",
    "job: failed, nobody left",
    "job: failed, stuck",
    "job: canceled",
    "job: canceled after waiting",
    "job: paused",
    "job: pause-requested",
    "job: requeueing",
    "job: purged",
    "worker: blocked",
    "worker: unblocked",
    "worker: lost",
    "worker: in quarantine",
    "worker: in quarantine once more",
    "worker: out of quarantine",
    "task: outgrew a worker",
    "late: Completed",
    "late: Failed",
    "late: Started",
    "refused: 1",
    "refused: 2",
    "refused: 3",
    "refused: 4",
    "refused: 5",
    "refused: 6",
    "refused: 7",
    "refused: 8",
    "refused: 9",
    "refused: 10",
    "refused: 12",
    "refused: 13",
    "refused: 14",
    "refused: 17",
    "refused: 30",
    "refused: 31",
    "refused: 32",
];

/// How often each outcome was seen.
#[derive(Default)]
pub(crate) struct Counters {
    seen: BTreeMap<String, u32>,
}

impl Counters {
    fn note(&mut self, what: impl Into<String>) {
        *self.seen.entry(what.into()).or_default() += 1;
    }

    pub(crate) fn count(
        &mut self,
        request: &Request,
        heard: &Result<Heard, Refusal>,
        events: &[Event],
    ) {
        match heard {
            Err(refusal) => self.note(format!("refused: {}", refusal.code())),
            Ok(heard) => match &heard.answer {
                Answer::Assigned { .. } if events.iter().any(is_assignment) => {
                    self.note("answer: assigned");
                }
                Answer::Assigned { .. } => self.note("answer: handed out again"),
                Answer::NoTask => self.note("answer: nothing to run"),
                Answer::Late => self.note("answer: late"),
                Answer::Done if matches!(request, Request::Report { .. }) && events.is_empty() => {
                    self.note("answer: same report again");
                }
                Answer::Done | Answer::Job(_) | Answer::StartAs(_) => {}
            },
        }
        let mut blocked = false;
        let mut ended = false;
        for event in events {
            blocked |= matches!(event, Event::WorkerBlocked(_));
            ended |= matches!(event, Event::AttemptEnded(_));
            self.count_event(request, event, blocked, ended);
        }
    }

    fn count_event(&mut self, request: &Request, event: &Event, blocked: bool, ended: bool) {
        match event {
            Event::AttemptAssigned(assigned) => {
                if assigned.runner_up.is_some() {
                    self.note("assigned: over a runner-up");
                }
                if assigned.from == TaskStatus::SoftFailed {
                    self.note("assigned: a soft-failed task");
                }
            }
            Event::TaskOutgrew(_) => self.note("task: outgrew a worker"),
            Event::AttemptEnded(facts) => self.note(match (facts.outcome, facts.task_to) {
                (AttemptOutcome::Completed, _) => "attempt: completed",
                (AttemptOutcome::Failed { .. }, TaskStatus::SoftFailed) => "attempt: soft-failed",
                (AttemptOutcome::Failed { .. }, _) => "attempt: failed for good",
                (AttemptOutcome::Lapsed, _) if matches!(request, Request::LoseWorkers { .. }) => {
                    "attempt: lost with its worker"
                }
                (AttemptOutcome::Lapsed, _) => "attempt: lapsed",
                (AttemptOutcome::Returned, _) => "attempt: returned",
                (AttemptOutcome::Canceled, _) => "attempt: canceled",
                (AttemptOutcome::Superseded, _) => "attempt: superseded",
            }),
            Event::TasksChanged(changed) => match (changed.from, changed.to) {
                (TaskStatus::Completed, TaskStatus::Queued) => {
                    self.note("task: completed tasks queued again");
                }
                (TaskStatus::Failed, TaskStatus::Queued) if blocked => {
                    self.note("task: requeued because its worker was blocked");
                }
                (_, TaskStatus::Canceled) => self.note("task: canceled by its job"),
                _ => {}
            },
            Event::AttemptStopRequested(stop) => {
                let cause: StopCause = stop.cause;
                self.note(format!("stop: {cause:?}"));
            }
            Event::JobStatusChanged(changed) => {
                self.note(format!("job: {}", changed.to));
                if changed.to == JobStatus::Canceled && ended {
                    self.note("job: canceled after waiting");
                }
            }
            Event::JobPurged(_) => self.note("job: purged"),
            Event::JobRegenerated(facts) => {
                if !facts.added.is_empty() {
                    self.note("job: regenerated, tasks came");
                }
                if !facts.retired.is_empty() {
                    self.note("job: regenerated, tasks went");
                }
            }
            Event::WorkerBlocked(_) => self.note("worker: blocked"),
            Event::WorkerUnblocked(_) => self.note("worker: unblocked"),
            Event::WorkerLost(_) => self.note("worker: lost"),
            Event::WorkerQuarantined(facts) if facts.from.is_some() => {
                self.note("worker: in quarantine once more");
            }
            Event::WorkerQuarantined(_) => self.note("worker: in quarantine"),
            Event::WorkerQuarantineLifted(_) => self.note("worker: out of quarantine"),
            Event::LateReportNoted(late) => {
                let report: LateReport = late.report;
                self.note(format!("late: {report:?}"));
            }
            _ => {}
        }
    }

    /// What words of the farm say, where events alone do not tell rules apart.
    pub(crate) fn count_reason(&mut self, event: &Event, reason: &str) {
        if let Event::JobStatusChanged(changed) = event
            && changed.to == JobStatus::Failed
        {
            if reason.contains("is the limit; the last:") {
                self.note("job: failed by share");
            } else if reason.contains("no other worker could run it") {
                self.note("job: failed, nobody left");
            } else if reason.contains("no other task can be started") {
                self.note("job: failed, stuck");
            }
        }
        if matches!(event, Event::AttemptEnded(_)) && reason.contains("did not start it within") {
            self.note("attempt: lapsed, never started");
        }
    }

    pub(crate) fn note_completed_while_stopping(&mut self) {
        self.note("attempt: completed after being asked to stop");
    }

    /// Fails when the histories missed something that the rules speak of.
    pub(crate) fn saw_enough(&self) {
        for (what, count) in &self.seen {
            println!("{count:>7}  {what}");
        }
        let missed: Vec<String> = OUTCOMES
            .iter()
            .map(|what| (what, self.seen.get(*what).copied().unwrap_or(0)))
            .filter(|(_, count)| *count < SEEN_MIN)
            .map(|(what, count)| format!("{what}: {count}"))
            .collect();
        assert!(
            missed.is_empty(),
            "seen fewer than {SEEN_MIN} times, so the histories no longer reach it: {missed:#?}"
        );
    }
}

fn is_assignment(event: &Event) -> bool {
    matches!(event, Event::AttemptAssigned(_))
}
