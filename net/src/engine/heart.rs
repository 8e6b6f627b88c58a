// SPDX-License-Identifier: GPL-3.0-or-later
//! The heart of an engine: takes requests one by one, decides, applies, hands to the journal.
//!
//! It has no thread, clock or chance of its own: those are its surroundings. The engine thread
//! (`run.rs`) and the simulation (`stepped.rs`) beat the same heart.

use std::time::{Duration, Instant};

use tablao_core::{
    ActorKind, Answer, Env, Event, Farm, Lsn, Refusal, Request, TaskStatus, Timestamp, WorkerId,
    WorkerStatus,
    decide::{Decided, decision_record},
    event::Body,
};
use tablao_journal::{Authority, BATCH_BYTES_MAX, Draft, Lsn as JournalLsn};
use tokio::sync::oneshot;

use super::{
    Ask, Heard, Reply,
    due::{self, Due},
    liveness::Liveness,
    parked::{Class, Parked, ParkedAsk},
    projector::Settlement,
    streaks::Streaks,
};
use crate::records;

/// How often silence is looked for.
pub const TICK: Duration = Duration::from_secs(1);
/// How often at least, also where there is nobody whose silence would end a task.
const QUIET_TICK: Duration = Duration::from_secs(10);
/// A request of more than this many bytes is not repeated in its decision: its events say it all.
const INLINE_BODY_BYTES_MAX: usize = 64 << 10;
/// So many workers of a class are tried when there may be work. Those that are left are barred from
/// what there is, one by one, or there is none; a tick tries them all.
const TRIED_MAX: usize = 8;
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
    pub(super) due: Due,
    /// Who failed what, one after another.
    pub(super) streaks: Streaks,
    pub(super) parked: Parked,
    /// Some that wait were not tried when there may have been work.
    pub(super) left_untried: bool,
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
        // A wish that comes behind a boundary is decided behind it.
        let now = self.wall();
        if self.due.has_boundary(now) {
            self.pass_boundaries(now)?;
        }
        let after = self.schedule_around(&ask.request, now)?;
        if let Request::SignOn { worker, .. } = &ask.request {
            self.let_go_of_asks(*worker);
        }
        let until = (!patience.is_zero()).then(|| self.around.monotonic() + patience);
        let wake = self.decide(ask, reply, until)?;
        self.wake(&wake)?;
        let most = self.due.expiries.failures_in_a_row;
        while let Some(request) = self.streaks.due(&self.farm, most) {
            self.decide_alone(Ask::system(request))?;
        }
        match after {
            Some(worker) => self.follow_own_schedule(worker, now),
            None => Ok(()),
        }
    }

    fn wall(&self) -> Timestamp {
        self.around.wall().max(self.farm.time())
    }

    /// Who signs on was started anew or begins anew: nobody reads the answers to what it asked
    /// before, though the end of those connections may not have been seen. A task that went there
    /// would wait for its lease while its worker has nothing to do.
    fn let_go_of_asks(&mut self, worker: WorkerId) {
        for parked in self.parked.take_of(worker) {
            self.answer_at_present(parked.reply, Ok(Answer::NoTask));
        }
    }

    /// Schedules whose boundary has come have their say.
    fn pass_boundaries(&mut self, now: Timestamp) -> Result<(), tablao_journal::Error> {
        for request in self.due.boundaries(&self.farm, now) {
            self.decide_alone(Ask::schedule(request))?;
        }
        Ok(())
    }

    /// A worker that signs on starts as its schedule wants, unless something else is asked of it.
    /// Gives the worker whose schedule is to be looked at once the request is decided: one whose
    /// schedule is set, and one that was lost and comes back.
    fn schedule_around(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<Option<WorkerId>, tablao_journal::Error> {
        match request {
            Request::SignOn { worker, .. } => {
                let known = self.farm.workers().get(worker);
                let is_free = known.is_some_and(|worker| worker.pending.is_none());
                let sleeps = due::verdict(&self.farm, *worker, now)
                    .is_some_and(|verdict| verdict.status == WorkerStatus::Asleep);
                if is_free && sleeps {
                    self.decide_alone(Ask::schedule(Request::FollowSchedules {
                        wanted: vec![(*worker, WorkerStatus::Asleep)],
                        signing_on: true,
                    }))?;
                }
                Ok(None)
            }
            Request::WorkerStateChanged { worker, .. } => {
                let known = self.farm.workers().get(worker);
                let was_lost =
                    known.is_some_and(|worker| worker.status == Some(WorkerStatus::Error));
                Ok(was_lost.then_some(*worker))
            }
            // A schedule that kept its worker asleep and is taken back lets it wake.
            Request::SetWorkerSchedule { worker, schedule } => {
                let goes = !schedule.as_ref().is_some_and(|schedule| schedule.active);
                let slept = due::verdict(&self.farm, *worker, now)
                    .is_some_and(|verdict| verdict.status == WorkerStatus::Asleep);
                if goes && slept {
                    let wanted = vec![(*worker, WorkerStatus::Awake)];
                    let signing_on = false;
                    self.decide_alone(Ask::schedule(Request::FollowSchedules {
                        wanted,
                        signing_on,
                    }))?;
                }
                Ok((!goes).then_some(*worker))
            }
            _ => Ok(None),
        }
    }

    fn follow_own_schedule(
        &mut self,
        worker: WorkerId,
        now: Timestamp,
    ) -> Result<(), tablao_journal::Error> {
        let verdict = due::verdict(&self.farm, worker, now);
        self.due
            .one_was_set(now, verdict.and_then(|verdict| verdict.until));
        match verdict {
            Some(verdict) => self.decide_alone(Ask::schedule(Request::FollowSchedules {
                wanted: vec![(worker, verdict.status)],
                signing_on: false,
            })),
            None => Ok(()),
        }
    }

    /// Decides a request for whose answer nobody waits.
    fn decide_alone(&mut self, ask: Ask) -> Result<(), tablao_journal::Error> {
        let (reply, _) = oneshot::channel();
        let wake = self.decide(ask, reply, None)?;
        self.wake(&wake)
    }

    pub(super) fn heard(&mut self, heard: Heard) {
        let now = self.around.monotonic();
        self.liveness.heard(heard, now);
    }

    /// Decides one request. Returns which workers that wait may have work now.
    fn decide(
        &mut self,
        ask: Ask,
        reply: oneshot::Sender<Reply>,
        until: Option<Instant>,
    ) -> Result<Wake, tablao_journal::Error> {
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
                    let class = Class::of(self.farm.workers().get(&worker));
                    let parked = ParkedAsk { ask, reply, until };
                    self.parked.park(worker, class, parked);
                    return Ok(Wake::default());
                }
                // Asking may itself have freed a task (the worker let one go): once that is applied
                // the ask is decided anew, or it would sleep on the task it freed.
                if decided.answer == Answer::NoTask && !decided.events.is_empty() {
                    let (nobody, _) = oneshot::channel();
                    let mut wake = self.record(&ask, &env, decided, nobody)?;
                    wake.join(self.decide(ask, reply, until)?);
                    return Ok(wake);
                }
                if decided.events.is_empty() {
                    self.answer_at_present(reply, Ok(decided.answer));
                    return Ok(Wake::default());
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
                Ok(Wake::default())
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
    ) -> Result<Wake, tablao_journal::Error> {
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
            return Ok(Wake::default());
        }
        let mut wake = Wake::default();
        for recorded in &drafted.records {
            wake.note(&recorded.event);
            self.due.note(&recorded.event);
            self.streaks.note(recorded);
            if let Event::WorkerQuarantined(facts) = &recorded.event {
                let reason = recorded.detail.reason_text();
                tracing::warn!(worker = %facts.worker, reason, "a worker is in quarantine");
            }
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
        Ok(wake)
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

    /// Decides parked asks again for which something may have changed.
    fn wake(&mut self, wake: &Wake) -> Result<(), tablao_journal::Error> {
        if self.parked.is_empty() {
            return Ok(());
        }
        for worker in &wake.workers {
            for parked in self.parked.take_of(*worker) {
                self.retry(parked)?;
            }
        }
        if wake.any {
            self.serve_parked(TRIED_MAX)?;
        }
        Ok(())
    }

    /// Decides parked asks again, the oldest of each class first, until so many of a class went
    /// without. Whoever went without stands at the end of its class.
    fn serve_parked(&mut self, tried_max: usize) -> Result<(), tablao_journal::Error> {
        let end = self.parked.next_place();
        for class in self.parked.classes() {
            let mut without = 0;
            while let Some(parked) = self.parked.take_oldest(&class, end) {
                if parked.reply.is_closed() {
                    continue;
                }
                without += usize::from(self.retry(parked)?);
                if without == tried_max {
                    self.left_untried |= tried_max != usize::MAX;
                    break;
                }
            }
        }
        Ok(())
    }

    /// Decides a parked ask again. Returns whether it is parked as before.
    fn retry(&mut self, parked: ParkedAsk) -> Result<bool, tablao_journal::Error> {
        let place = self.parked.next_place();
        let wake = self.decide(parked.ask, parked.reply, Some(parked.until))?;
        // Others are not tried while others are being tried: what this freed is seen to at a tick.
        self.left_untried |= wake.any;
        Ok(self.parked.next_place() != place)
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

    /// How long nothing can become due that a tick would have to see, unless something happens.
    /// So an idle farm lets the machine sleep.
    pub(super) fn quiet_for(&self) -> Duration {
        if !self.farm.attempts().is_empty() || self.left_untried {
            return TICK;
        }
        let timeout = Duration::from_millis(self.farm.policy().worker_timeout_ms.into());
        let quiet = if timeout.is_zero() {
            QUIET_TICK
        } else {
            (timeout / 6).clamp(TICK, QUIET_TICK)
        };
        // To the moment, and no sooner.
        let quiet = match self.due.next(&self.farm) {
            Some(next) => {
                let left = next.micros().saturating_sub(self.last_tick.micros());
                quiet.min(Duration::from_micros(left))
            }
            None => quiet,
        };
        let micros = u64::try_from(quiet.as_micros()).unwrap_or(u64::MAX);
        let until = Timestamp::from_micros(self.last_tick.micros().saturating_add(micros));
        if self.farm.has_job_starting(self.last_tick, until) {
            return TICK;
        }
        quiet
    }

    /// Looks for silence and for what has become due.
    pub(super) fn tick(&mut self) -> Result<(), tablao_journal::Error> {
        let now = self.around.monotonic();
        let wall = self.wall();
        self.parked.sweep();
        for request in self.liveness.overdue(&self.farm, now, wall) {
            self.decide_alone(Ask::system(request))?;
        }
        if self.due.has_boundary(wall) {
            self.pass_boundaries(wall)?;
        }
        if let Some(request) = self.due.blocks(&self.farm, wall) {
            self.decide_alone(Ask::system(request))?;
        }
        // A job may have reached its earliest start.
        if std::mem::take(&mut self.left_untried)
            || self.farm.has_job_starting(self.last_tick, wall)
        {
            self.serve_parked(usize::MAX)?;
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
        Request::ApplyConfig { text, .. } | Request::NoteConfig { text }
            if text.len() > INLINE_BODY_BYTES_MAX =>
        {
            Body::Events
        }
        _ => Body::Inline,
    }
}

/// Who of those that wait may get another answer now.
#[derive(Debug, Default)]
struct Wake {
    /// There may be a task that was not there.
    any: bool,
    /// These must hear of what was asked of them, or may run what they could not.
    workers: Vec<WorkerId>,
}

impl Wake {
    fn join(&mut self, other: Self) {
        self.any |= other.any;
        self.workers.extend(other.workers);
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::JobReady(_)
            | Event::JobStatusChanged(_)
            | Event::JobTagChanged(_)
            | Event::JobReleased(_)
            | Event::JobRestored(_)
            | Event::FailuresCleared(_) => self.any = true,
            Event::TasksChanged(facts) if facts.to == TaskStatus::Queued => self.any = true,
            Event::WorkerSignedOn(facts) => self.workers.push(facts.worker),
            Event::WorkerStatusChanged(facts) => self.workers.push(facts.worker),
            Event::WorkerStatusRequested(facts) => self.workers.push(facts.worker),
            Event::WorkerTagsSet(facts) => self.workers.push(facts.worker),
            Event::WorkerMemorySet(facts) => self.workers.push(facts.worker),
            Event::WorkerDeleted(facts) => self.workers.push(facts.worker),
            Event::WorkerUnblocked(facts) => self.workers.push(facts.worker),
            // It waits apart from those that may run something, or among them again.
            Event::WorkerQuarantined(facts) => self.workers.push(facts.worker),
            Event::WorkerQuarantineLifted(facts) => self.workers.push(facts.worker),
            // Its worker has a slot, its job may admit one worker more, and who waits for its
            // task may be ready.
            Event::AttemptEnded(_) => self.any = true,
            _ => {}
        }
    }
}
