// SPDX-License-Identifier: GPL-3.0-or-later
//! Runs one assigned task: its commands in order, its lease beside them, its end reported.
//!
//! Nothing of the task runs before the Manager has taken the report that it starts: an
//! assignment whose answer was delayed may already be somebody else's.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::client::Client;
use crate::commands::{self, Context, Ending};
use crate::health::Health;
use crate::lease::{self, Lease};
use crate::link::Link;
use crate::media::Media;
use crate::outbox::{Outbox, OutboxFailed};
use crate::process::Launcher;
use crate::report::Reporter;
use crate::sender::Current;
use crate::stop::{Stop, StopReason};
use crate::wire::{AssignedTask, Assignment};

/// A line of a quiet program is sent after this time at the latest.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// A Flamenco Manager knows no leases; it gives a silent worker's task away after ten minutes.
const FLAMENCO_LEASE_MS: u64 = 600_000;

/// What a task needs of the Worker.
#[derive(Debug, Clone)]
pub(crate) struct TaskRunner {
    pub(crate) outbox: Outbox,
    pub(crate) client: Client,
    pub(crate) link: Link,
    pub(crate) current: Current,
    pub(crate) launcher: Launcher,
    pub(crate) media: Media,
    pub(crate) health: Health,
}

impl TaskRunner {
    /// Runs the task to its end, or until `stop` is set. All that is to be said of it is in the
    /// outbox when this returns.
    pub(crate) async fn run(&self, task: AssignedTask, stop: Stop) -> Result<(), OutboxFailed> {
        let assigned = Instant::now();
        let assignment = assignment_of(&task);
        let reporter = Arc::new(Reporter::new(
            self.outbox.clone(),
            &task.uuid,
            &assignment.attempt,
        ));
        let lease = Lease::new(
            &task.uuid,
            &assignment.attempt,
            stop.clone(),
            Duration::from_millis(assignment.lease_ms),
            assigned,
        );
        *self.current.lock().expect("no holder panics") = Some(lease.clone());
        let context = Context {
            reporter,
            stop,
            assignment,
            launcher: self.launcher.clone(),
            media: self.media.clone(),
        };
        tracing::info!(task = task.uuid, name = task.name, "task assigned");
        let result = self.run_with_lease(&task, &context, &lease).await;
        *self.current.lock().expect("no holder panics") = None;
        result
    }

    async fn run_with_lease(
        &self,
        task: &AssignedTask,
        context: &Context,
        lease: &Lease,
    ) -> Result<(), OutboxFailed> {
        if !self.start(context).await? {
            return Ok(());
        }
        let ending = {
            let work = self.run_if_fit(task, context);
            let beside = async {
                tokio::join!(
                    lease::keep(lease, &self.client, &self.link),
                    flush_regularly(&context.reporter)
                )
            };
            tokio::pin!(work, beside);
            tokio::select! {
                ending = &mut work => ending,
                _ = &mut beside => unreachable!("flushing has no end"),
            }
        };
        self.report_end(task, context, ending).await
    }

    /// Runs the commands on a machine that is fit for them. What fails on one that turns out to be
    /// sick is taken back by the Manager, and is not ours any more.
    async fn run_if_fit(&self, task: &AssignedTask, context: &Context) -> Result<(), Ending> {
        self.health.before(task, &context.stop).await?;
        let ending = run_commands(task, context).await;
        self.health.after(task, ending, &context.stop).await
    }

    /// Reports the start and waits until the Manager has taken it; false when it did not.
    async fn start(&self, context: &Context) -> Result<bool, OutboxFailed> {
        let started = context.reporter.started().await?;
        let within = Duration::from_millis(context.assignment.start_within_ms);
        tokio::select! {
            settled = self.outbox.settled(started) => settled?,
            reason = context.stop.wait() => {
                tracing::info!(%reason, "the task was stopped before it began");
                self.outbox.drop_attempt(context.reporter.attempt());
                return Ok(false);
            }
            () = tokio::time::sleep(within) => {
                tracing::warn!("the manager did not take the start of the task in time");
                self.outbox.drop_attempt(context.reporter.attempt());
                return Ok(false);
            }
        }
        Ok(context.stop.requested().is_none())
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

async fn flush_regularly(reporter: &Reporter) {
    loop {
        tokio::time::sleep(FLUSH_INTERVAL).await;
        reporter.flush();
    }
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
        thumbnails: String::new(),
    })
}
