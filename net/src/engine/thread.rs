// SPDX-License-Identifier: GPL-3.0-or-later
//! The engine thread: takes requests one by one, decides, applies, hands to the journal.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use tablao_core::{
    ActorKind, Answer, Env, Event, Farm, Refusal, Request, TaskStatus, Timestamp,
    decide::{Decided, decision_record},
    event::Body,
};
use tablao_journal::{Authority, BATCH_BYTES_MAX, Lsn as JournalLsn, WriterHandle};
use tokio::sync::{Semaphore, oneshot};

use super::{
    Ask, Heard, Message, Reply,
    liveness::Liveness,
    parked::{Parked, ParkedAsk},
    projector::{Settlement, ToProjector},
};
use crate::{clock, records};

/// How often silence is looked for.
const TICK: Duration = Duration::from_secs(1);
/// A request of more than this many bytes is not repeated in its decision: its events say it all.
const INLINE_BODY_BYTES_MAX: usize = 64 << 10;
/// Room for envelopes within a batch, beside the bodies.
const BODIES_BYTES_MAX: usize = BATCH_BYTES_MAX - (128 << 10);

pub(super) struct EngineThread {
    pub(super) farm: Farm,
    pub(super) authority: Authority,
    pub(super) receiver: Receiver<Message>,
    pub(super) permits: Arc<Semaphore>,
    pub(super) writer: Arc<WriterHandle<Settlement>>,
    pub(super) projector: Sender<ToProjector>,
    pub(super) liveness: Liveness,
    pub(super) parked: Parked,
    /// Wall time of the last look at what is due.
    pub(super) last_tick: Timestamp,
}

/// Why the engine thread ends.
enum End {
    Closed,
    JournalFailed(tablao_journal::Error),
}

impl EngineThread {
    pub(super) fn run(mut self) {
        let mut next_tick = Instant::now() + TICK;
        let end = loop {
            let wake = match self.parked.next_expiry() {
                Some(expiry) => expiry.min(next_tick),
                None => next_tick,
            };
            let patience = wake.saturating_duration_since(Instant::now());
            let step = match self.receiver.recv_timeout(patience) {
                Ok(Message::Close) => break End::Closed,
                Ok(message) => {
                    self.permits.add_permits(1);
                    self.take(message)
                }
                Err(RecvTimeoutError::Timeout) => Ok(()),
                Err(RecvTimeoutError::Disconnected) => break End::Closed,
            };
            if let Err(error) = step {
                break End::JournalFailed(error);
            }
            let now = Instant::now();
            self.expire(now);
            if now >= next_tick {
                next_tick = now + TICK;
                if let Err(error) = self.tick(now) {
                    break End::JournalFailed(error);
                }
            }
        };
        // Askers that are still waiting find their channel closed.
        self.permits.close();
        match end {
            End::Closed => {
                if let Err(error) = self.writer.close() {
                    tracing::error!(%error, "close the journal");
                }
            }
            // The writer's own report may come after this one. Were the projector only told to
            // close, nobody would learn of the failure and the process would go on without us.
            End::JournalFailed(error) => {
                let _ = self.projector.send(ToProjector::Broken(error));
            }
        }
        // The projector ends when it has folded what is durable.
        let _ = self.projector.send(ToProjector::Close);
    }

    fn take(&mut self, message: Message) -> Result<(), tablao_journal::Error> {
        match message {
            Message::Ask {
                ask,
                reply,
                patience,
            } => {
                if let Some(heard) = self.heard_in(&ask.request) {
                    self.liveness.heard(heard, Instant::now());
                }
                let until = (!patience.is_zero()).then(|| Instant::now() + patience);
                let retry = self.decide(*ask, reply, until)?;
                if retry {
                    self.serve_parked()?;
                }
                Ok(())
            }
            Message::Heard(heard) => {
                self.liveness.heard(heard, Instant::now());
                Ok(())
            }
            Message::Close => Ok(()),
        }
    }

    /// Decides one request. Returns whether workers that wait may have work now.
    fn decide(
        &mut self,
        ask: Ask,
        reply: oneshot::Sender<Reply>,
        until: Option<Instant>,
    ) -> Result<bool, tablao_journal::Error> {
        let env = Env {
            now: clock::now().max(self.farm.time()),
            decision: self.farm.position().next(),
            seed: clock::seed(),
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
    fn answer_at_present(&self, reply: oneshot::Sender<Reply>, answer: Reply) {
        let barrier = ToProjector::Barrier {
            at: self.farm.position(),
            reply,
            answer,
        };
        // A projector that is gone has lost its journal; the asker finds its channel closed.
        let _ = self.projector.send(barrier);
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
                self.liveness
                    .heard(Heard { attempt, ..heard }, Instant::now());
            }
            self.farm.apply(recorded);
        }
        let settlement = Settlement {
            records: drafted.records.into(),
            reply,
            answer: Ok(answer),
        };
        self.writer.append(
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
        self.writer.append(
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

    fn expire(&mut self, now: Instant) {
        for parked in self.parked.take_expired(now) {
            self.answer_at_present(parked.reply, Ok(Answer::NoTask));
        }
    }

    fn tick(&mut self, now: Instant) -> Result<(), tablao_journal::Error> {
        let wall = clock::now().max(self.farm.time());
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
