// SPDX-License-Identifier: GPL-3.0-or-later
//! The heart of an engine: takes requests one by one, decides, applies, hands to the journal.
//!
//! It has no thread, clock or chance of its own: those are its surroundings. The engine thread
//! (`run.rs`) and the simulation (`stepped.rs`) beat the same heart.

use std::time::{Duration, Instant};

use tablao_core::{
    ActorKind, Answer, Env, Event, Farm, Lsn, Refusal, Request, TaskStatus, Timestamp,
    decide::{Decided, decision_record},
    event::Body,
};
use tablao_journal::{Authority, BATCH_BYTES_MAX, Draft, Lsn as JournalLsn};
use tokio::sync::oneshot;

use super::{
    Ask, Heard, Reply,
    liveness::Liveness,
    parked::{Parked, ParkedAsk},
    projector::Settlement,
};
use crate::records;

/// How often silence is looked for.
pub const TICK: Duration = Duration::from_secs(1);
/// A request of more than this many bytes is not repeated in its decision: its events say it all.
const INLINE_BODY_BYTES_MAX: usize = 64 << 10;
/// Room for envelopes within a batch, beside the bodies.
const BODIES_BYTES_MAX: usize = BATCH_BYTES_MAX - (128 << 10);

/// Time, chance, the way to the journal and the way back to askers.
pub(super) trait Surroundings {
    /// The monotonic clock, which measures silence and patience.
    fn monotonic(&self) -> Instant;
    /// The wall clock, which decisions record.
    fn wall(&self) -> Timestamp;
    /// A seed for one decision.
    fn seed(&mut self) -> u64;
    /// Hands a draft to the journal; what was settled is told when it is durable.
    fn append(
        &mut self,
        first: JournalLsn,
        draft: Draft,
        settlement: Settlement,
    ) -> Result<(), tablao_journal::Error>;
    /// Answers once everything up to `at` is durable.
    fn barrier(&mut self, at: Lsn, reply: oneshot::Sender<Reply>, answer: Reply);
}

pub(super) struct Heart<S> {
    pub(super) farm: Farm,
    pub(super) authority: Authority,
    pub(super) liveness: Liveness,
    pub(super) parked: Parked,
    /// Wall time of the last look at what is due.
    pub(super) last_tick: Timestamp,
    pub(super) around: S,
}

impl<S: Surroundings> Heart<S> {
    pub(super) fn ask(
        &mut self,
        ask: Ask,
        reply: oneshot::Sender<Reply>,
        patience: Duration,
    ) -> Result<(), tablao_journal::Error> {
        if let Some(heard) = self.heard_in(&ask.request) {
            self.heard(heard);
        }
        let until = (!patience.is_zero()).then(|| self.around.monotonic() + patience);
        let retry = self.decide(ask, reply, until)?;
        if retry {
            self.serve_parked()?;
        }
        Ok(())
    }

    pub(super) fn heard(&mut self, heard: Heard) {
        let now = self.around.monotonic();
        self.liveness.heard(heard, now);
    }

    /// Decides one request. Returns whether workers that wait may have work now.
    fn decide(
        &mut self,
        ask: Ask,
        reply: oneshot::Sender<Reply>,
        until: Option<Instant>,
    ) -> Result<bool, tablao_journal::Error> {
        let env = Env {
            now: self.around.wall().max(self.farm.time()),
            decision: self.farm.position().next(),
            seed: self.around.seed(),
            key: ask.key,
        };
        let decided = self.farm.decide(&ask.request, &env);
        match decided {
            Ok(decided) => {
                if decided.answer == Answer::NoTask
                    && let (Some(until), Request::AskForTask { worker }) = (until, &ask.request)
                    && decided.events.is_empty()
                {
                    let worker = *worker;
                    self.parked.park(worker, ParkedAsk { ask, reply, until });
                    return Ok(false);
                }
                // Asking may itself have freed a task (the worker let one go): once that is applied
                // the ask is decided anew, or it would sleep on the task it freed.
                if decided.answer == Answer::NoTask && !decided.events.is_empty() {
                    let (nobody, _) = oneshot::channel();
                    self.record(&ask, &env, decided, nobody)?;
                    self.decide(ask, reply, until)?;
                    return Ok(true);
                }
                if decided.events.is_empty() {
                    self.answer_at_present(reply, Ok(decided.answer));
                    return Ok(false);
                }
                self.record(&ask, &env, decided, reply)
            }
            Err(refusal) => {
                // A person's refused wish is part of the history; a poll is not.
                if matches!(ask.actor.kind, ActorKind::User | ActorKind::Token) {
                    self.record_refusal(&ask, &env, refusal, reply)?;
                } else {
                    self.answer_at_present(reply, Err(refusal));
                }
                Ok(false)
            }
        }
    }

    /// Nothing is written, but what was read may not be durable yet: the answer waits for it.
    fn answer_at_present(&mut self, reply: oneshot::Sender<Reply>, answer: Reply) {
        let at = self.farm.position();
        self.around.barrier(at, reply, answer);
    }

    fn record(
        &mut self,
        ask: &Ask,
        env: &Env,
        decided: Decided,
        reply: oneshot::Sender<Reply>,
    ) -> Result<bool, tablao_journal::Error> {
        let (event, detail) = decision_record(
            &ask.request,
            env,
            ask.actor,
            &ask.asker,
            Ok(&decided),
            body(ask),
        );
        let mut events = Vec::with_capacity(decided.events.len() + 1);
        events.push((event, detail));
        let answer = decided.answer;
        events.extend(decided.events);
        let drafted = records::draft(events, env.decision, env.now, self.authority);
        if drafted.bytes > BODIES_BYTES_MAX {
            let reason =
                "one decision would be larger than a batch of the journal can be".to_owned();
            self.answer_at_present(reply, Err(Refusal::UnsoundSubmission { reason }));
            return Ok(false);
        }
        let mut retry = false;
        for recorded in &drafted.records {
            retry |= may_give_work(&recorded.event);
            if let Event::AttemptEnded(ended) = &recorded.event {
                self.liveness.forget(ended.attempt);
            }
            if matches!(recorded.event, Event::AttemptAssigned(_))
                && let Some(heard) = self.heard_in(&ask.request)
                && let Answer::Assigned { attempt, .. } = answer
            {
                // The lease runs from the assignment.
                let attempt = Some(attempt);
                let now = self.around.monotonic();
                self.liveness.heard(Heard { attempt, ..heard }, now);
            }
            self.farm.apply(recorded);
        }
        let settlement = Settlement {
            records: drafted.records.into(),
            reply,
            answer: Ok(answer),
        };
        self.around.append(
            JournalLsn::new(env.decision.get()),
            drafted.draft,
            settlement,
        )?;
        Ok(retry)
    }

    fn record_refusal(
        &mut self,
        ask: &Ask,
        env: &Env,
        refusal: Refusal,
        reply: oneshot::Sender<Reply>,
    ) -> Result<(), tablao_journal::Error> {
        let record = decision_record(
            &ask.request,
            env,
            ask.actor,
            &ask.asker,
            Err(&refusal),
            body(ask),
        );
        let drafted = records::draft(vec![record], env.decision, env.now, self.authority);
        for recorded in &drafted.records {
            self.farm.apply(recorded);
        }
        let settlement = Settlement {
            records: drafted.records.into(),
            reply,
            answer: Err(refusal),
        };
        self.around.append(
            JournalLsn::new(env.decision.get()),
            drafted.draft,
            settlement,
        )?;
        Ok(())
    }

    /// Decides the parked asks again, oldest first.
    fn serve_parked(&mut self) -> Result<(), tablao_journal::Error> {
        if self.parked.is_empty() {
            return Ok(());
        }
        for (_, parked) in self.parked.take_all() {
            self.decide(parked.ask, parked.reply, Some(parked.until))?;
        }
        Ok(())
    }

    /// The worker, and the attempt, that a request shows to be alive.
    fn heard_in(&self, request: &Request) -> Option<Heard> {
        let (worker, attempt) = match request {
            Request::AskForTask { worker }
            | Request::SignOn { worker, .. }
            | Request::WorkerStateChanged { worker, .. } => (*worker, None),
            // A Flamenco worker names the task only; it means the attempt that it holds.
            Request::Report { report } => {
                let held = self
                    .farm
                    .task(report.task)
                    .and_then(|(_, task)| task.attempt);
                (report.worker, report.attempt.or(held))
            }
            _ => return None,
        };
        let attempt = attempt.filter(|id| {
            (self.farm.attempts().get(id)).is_some_and(|attempt| attempt.worker == worker)
        });
        Some(Heard { worker, attempt })
    }

    /// Ends the patience of parked asks.
    pub(super) fn expire(&mut self) {
        let now = self.around.monotonic();
        for parked in self.parked.take_expired(now) {
            self.answer_at_present(parked.reply, Ok(Answer::NoTask));
        }
    }

    /// Looks for silence and for what has become due.
    pub(super) fn tick(&mut self) -> Result<(), tablao_journal::Error> {
        let now = self.around.monotonic();
        let wall = self.around.wall().max(self.farm.time());
        let mut retry = false;
        for request in self.liveness.overdue(&self.farm, now, wall) {
            let (reply, _) = oneshot::channel();
            retry |= self.decide(Ask::system(request), reply, None)?;
        }
        // A job may have reached its earliest start.
        if retry || self.farm.has_job_starting(self.last_tick, wall) {
            self.serve_parked()?;
        }
        self.last_tick = wall;
        Ok(())
    }
}

/// Bodies that are as large as their events are not kept twice.
fn body(ask: &Ask) -> Body {
    if ask.body != Body::Inline {
        return ask.body;
    }
    match &ask.request {
        Request::SubmitJob { .. } | Request::AcceptJob { .. } | Request::AddTasks { .. } => {
            Body::Events
        }
        Request::Report { report } if report.frames.len() > 64 => Body::Events,
        Request::ApplyConfig { text, .. } if text.len() > INLINE_BODY_BYTES_MAX => Body::Events,
        _ => Body::Inline,
    }
}

/// After this event some waiting worker may be given a task, or must hear of a status request.
fn may_give_work(event: &Event) -> bool {
    match event {
        Event::JobReady(_)
        | Event::JobStatusChanged(_)
        | Event::JobTagChanged(_)
        | Event::JobReleased(_)
        | Event::JobRestored(_)
        | Event::WorkerUnblocked(_)
        | Event::FailuresCleared(_)
        | Event::WorkerSignedOn(_)
        | Event::WorkerStatusChanged(_)
        | Event::WorkerStatusRequested(_)
        | Event::WorkerTagsSet(_)
        | Event::WorkerDeleted(_)
        | Event::AttemptEnded(_) => true,
        Event::TasksChanged(facts) => facts.to == TaskStatus::Queued,
        _ => false,
    }
}
