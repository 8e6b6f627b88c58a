// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs one assigned task: its commands in order, its lease beside them, its end reported.
//!
//! Nothing of the task runs before the Manager has taken the report that it starts: an
//! assignment whose answer was delayed may already be somebody else's. Only a render that was
//! claimed ahead begins at once when its turn comes; its frames are published after that report.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::Client;
use crate::commands::{self, Context, Ending, Limits};
use crate::health::Health;
use crate::lease::{self, Lease, Leases};
use crate::link::Link;
use crate::media::Media;
use crate::outbox::{Outbox, OutboxFailed};
use crate::places::Places;
use crate::report::Reporter;
use crate::stop::{Stop, StopReason};
use crate::turn::{Start, Turn};
use crate::wire::{AssignedTask, Assignment};

/// A line of a quiet program is sent after this time at the latest.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// A Flamenco Manager knows no leases; it gives a silent worker's task away after ten minutes.
const FLAMENCO_LEASE_MS: u64 = 600_000;

/// How a task came to this Worker.
#[derive(Debug)]
pub(crate) struct Taken {
    /// When it was asked for; its lease counts from here.
    pub(crate) asked: Instant,
    /// Whether another one still runs.
    pub(crate) ahead: bool,
    pub(crate) stop: Stop,
    pub(crate) turn: Arc<Turn>,
}

/// What a task needs of the Worker.
#[derive(Debug, Clone)]
pub(crate) struct TaskRunner {
    pub(crate) outbox: Outbox,
    pub(crate) client: Client,
    pub(crate) link: Link,
    pub(crate) leases: Leases,
    pub(crate) places: Arc<Places>,
    pub(crate) media: Media,
    pub(crate) health: Health,
    pub(crate) limits: Arc<Limits>,
    /// What Cycles renders on, if the owner of this machine has decided that.
    pub(crate) cycles_device: Option<Arc<str>>,
}

impl TaskRunner {
    /// Runs the task to its end, or until it is stopped. All that is to be said of it is in the
    /// outbox when this returns. A task that was claimed ahead waits for its turn.
    pub(crate) async fn run(&self, task: AssignedTask, taken: Taken) -> Result<(), OutboxFailed> {
        let assignment = assignment_of(&task);
        let reporter = Arc::new(Reporter::new(
            self.outbox.clone(),
            &task.uuid,
            &assignment.attempt,
        ));
        let lease = Lease::new(
            &task.uuid,
            &assignment.attempt,
            taken.stop.clone(),
            Duration::from_millis(assignment.lease_ms),
            taken.asked,
        );
        self.leases.add(lease.clone());
        let context = Context {
            job: task.job.clone(),
            reporter,
            stop: taken.stop,
            lease: lease.clone(),
            assignment,
            media: self.media.clone(),
            limits: Arc::clone(&self.limits),
            cycles_device: self.cycles_device.clone(),
            turn: taken.turn,
            ends_with_render: is_one_render(&task),
        };
        tracing::info!(task = task.uuid, name = task.name, "task assigned");
        let result = self
            .run_with_lease(&task, &context, &lease, taken.ahead)
            .await;
        self.leases.remove(&lease.attempt);
        context.turn.give();
        result
    }

    async fn run_with_lease(
        &self,
        task: &AssignedTask,
        context: &Context,
        lease: &Lease,
        ahead: bool,
    ) -> Result<(), OutboxFailed> {
        let ending = {
            let work = async {
                // A render begins by itself when its turn has come, before the Manager has taken
                // its start: its frames wait for that. What other commands do cannot be undone.
                let begins_by_itself = ahead && context.ends_with_render;
                if !begins_by_itself && !self.start(context).await? {
                    return Ok(None);
                }
                Ok(Some(self.run_if_fit(task, context).await))
            };
            let beside = async {
                tokio::join!(
                    lease::keep(lease, &self.client, &self.link),
                    self.follow_start(context),
                    flush_regularly(context)
                )
            };
            tokio::pin!(work, beside);
            tokio::select! {
                ending = &mut work => ending?,
                _ = &mut beside => unreachable!("flushing has no end"),
            }
        };
        match ending {
            Some(ending) if context.turn.start() > Start::Waits => {
                self.report_end(task, context, ending).await
            }
            // It never began, so there is nothing to tell.
            Some(Err(Ending::Stopped(StopReason::OutboxFailed))) => Err(self.outbox.failure()),
            Some(_) | None => {
                self.outbox.drop_attempt(context.reporter.attempt());
                Ok(())
            }
        }
    }

    /// Tells those who wait when the Manager has answered to the start of the task.
    async fn follow_start(&self, context: &Context) {
        if context.turn.follow().await.is_err() {
            context.stop.request(StopReason::OutboxFailed);
        }
    }

    /// Runs the commands on a machine that is fit for them. What fails on one that turns out to be
    /// sick is taken back by the Manager, and is not ours any more.
    async fn run_if_fit(&self, task: &AssignedTask, context: &Context) -> Result<(), Ending> {
        // What its owner does not let it do fails on the fittest machine.
        let mut commands = task.commands.iter();
        if !commands.all(|command| self.limits.check(command).is_ok()) {
            return run_commands(task, context).await;
        }
        self.health.before(task, &context.stop).await?;
        let ending = run_commands(task, context).await;
        self.health.after(task, ending, &context.stop).await
    }

    /// Reports the start and waits until the Manager has taken it; false when it did not.
    async fn start(&self, context: &Context) -> Result<bool, OutboxFailed> {
        if let Err(reason) = context.turn.take(&context.stop).await {
            tracing::info!(%reason, "the task was stopped before its turn came");
            return Ok(false);
        }
        context.end_other_warm().await;
        let started = context.reporter.begin()?.settled();
        let within = Duration::from_millis(context.assignment.start_within_ms);
        tokio::select! {
            settled = started => settled?,
            reason = context.stop.wait() => {
                tracing::info!(%reason, "the task was stopped before it began");
                return Ok(false);
            }
            () = tokio::time::sleep(within) => {
                tracing::warn!("the manager did not take the start of the task in time");
                return Ok(false);
            }
        }
        if context.stop.requested().is_some() {
            return Ok(false);
        }
        context.turn.begin(None);
        Ok(true)
    }

    async fn report_end(
        &self,
        task: &AssignedTask,
        context: &Context,
        ending: Result<(), Ending>,
    ) -> Result<(), OutboxFailed> {
        let reporter = &context.reporter;
        match ending {
            Ok(()) => {
                tracing::info!(task = task.uuid, "task completed");
                reporter.completed().await?;
            }
            Err(Ending::Failed(failure)) => {
                tracing::warn!(task = task.uuid, reason = failure.reason, "task failed");
                reporter.failed(&failure.reason, failure.report).await?;
            }
            Err(Ending::Stopped(StopReason::OutboxFailed)) => return Err(self.outbox.failure()),
            Err(Ending::Stopped(StopReason::NotOurs)) => {
                tracing::info!(task = task.uuid, "task stopped, it is not ours any more");
                self.outbox.drop_attempt(reporter.attempt());
            }
            Err(Ending::Stopped(reason)) => {
                // No status: the Manager has decided what becomes of the task, or will when it
                // hears of this Worker again.
                tracing::info!(task = task.uuid, %reason, "task stopped");
                reporter.log(&format!("tablao: stopped: {reason}"));
                reporter.flush();
            }
        }
        Ok(())
    }
}

async fn run_commands(task: &AssignedTask, context: &Context) -> Result<(), Ending> {
    for command in &task.commands {
        commands::run(context, command).await?;
    }
    Ok(())
}

async fn flush_regularly(context: &Context) {
    // To tell anything of a task says that it has begun.
    context.turn.until(Start::Begun).await;
    loop {
        tokio::time::sleep(FLUSH_INTERVAL).await;
        context.reporter.flush();
    }
}

/// Whether all that the task does is to render, whose files go through staging.
fn is_one_render(task: &AssignedTask) -> bool {
    matches!(&task.commands[..], [only] if only.name == "blender-render")
}

/// The Manager's extension, or what stands for it with a Flamenco Manager.
fn assignment_of(task: &AssignedTask) -> Assignment {
    task.tablao.clone().unwrap_or_else(|| Assignment {
        attempt: format!("{}-{:016x}", task.uuid, rand::random::<u64>()),
        lease_ms: FLAMENCO_LEASE_MS,
        start_within_ms: FLAMENCO_LEASE_MS,
        shot: String::new(),
        frames: None,
        overwrite: false,
        fresh: Vec::new(),
        thumbnails: String::new(),
        rerender: Vec::new(),
    })
}
