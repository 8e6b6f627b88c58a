// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether this machine is fit for work: looked at before the first task of each job, after a
//! failure that speaks of the machine, and again and again while it is sick.
//!
//! A machine that is not fit says so, and the Manager decides whether the machine or the job is
//! to blame. What is looked at: `subjects`; how: `checks`, `programs`, `clock`.

mod checks;
mod clock;
mod examine;
mod programs;
mod subjects;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::client::{CallError, Client};
use crate::commands::{Ending, Failure};
use crate::link::Backoff;
use crate::process::Launcher;
use crate::stop::{Stop, StopReason};
use crate::wire::{AssignedTask, FailureClass, Finding, HealthAnswer, HealthReport};

pub(crate) use clock::ManagerClock;
pub use examine::{Examined, examine};
use programs::Programs;
use subjects::Subject;

/// What a machine must have, and how often a sick one looks again.
#[derive(Debug, Clone)]
pub struct HealthLimits {
    /// Free bytes on the data directory's disk and on those of outputs.
    pub free_bytes_min: u64,
    /// Time between two looks of a sick Worker at itself.
    pub recheck: Duration,
}

impl Default for HealthLimits {
    fn default() -> Self {
        Self {
            free_bytes_min: 256 << 20,
            recheck: Duration::from_secs(60),
        }
    }
}

/// A handle; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Health(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    data_dir: PathBuf,
    limits: HealthLimits,
    programs: Programs,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The job that was looked at last, and what is no reason to hold it up.
    job: String,
    passed: BTreeSet<Subject>,
    sick: Option<Sick>,
}

/// What keeps this Worker from work.
#[derive(Debug, Clone)]
struct Sick {
    job: Option<String>,
    subjects: BTreeSet<Subject>,
    found: Vec<Finding>,
    /// When it looks again.
    next: Instant,
}

impl Health {
    pub(crate) fn new(
        client: Client,
        launcher: Launcher,
        data_dir: PathBuf,
        limits: HealthLimits,
    ) -> Self {
        Self(Arc::new(Inner {
            client,
            data_dir,
            limits,
            programs: Programs::new(launcher),
            state: Mutex::default(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("no holder panics")
    }

    /// The Manager says that this Worker was sick before it was started anew.
    pub(crate) fn was_sick(&self) {
        let mut state = self.state();
        state.sick.get_or_insert_with(|| Sick {
            job: None,
            subjects: BTreeSet::new(),
            found: Vec::new(),
            next: Instant::now(),
        });
    }

    /// Whether the Manager keeps this Worker from work for what it found.
    pub(crate) fn is_sick(&self) -> bool {
        self.state().sick.is_some()
    }

    /// Looks whether this machine can run a task, before its commands run. What was found well
    /// once is not looked at again for the same job.
    pub(crate) async fn before(&self, task: &AssignedTask, stop: &Stop) -> Result<(), Ending> {
        let subjects = subjects::of(task);
        let (is_new_job, fresh) = {
            let mut state = self.state();
            let is_new_job = state.job != task.job;
            if is_new_job {
                state.job.clone_from(&task.job);
                state.passed.clear();
            }
            let fresh: BTreeSet<Subject> = subjects.difference(&state.passed).cloned().collect();
            (is_new_job, fresh)
        };
        if !is_new_job && fresh.is_empty() {
            return Ok(());
        }
        let found = self.look(&fresh, is_new_job).await;
        if found.is_empty() || self.go_on(task, &subjects, found, stop).await? {
            let mut state = self.state();
            // Meanwhile a task of another job may have been looked at, which was claimed ahead.
            if state.job == task.job {
                state.passed.extend(fresh);
            }
        }
        Ok(())
    }

    /// Looks again after a task failed, where the failure may be the machine's. A failure of a
    /// sick machine is none of the task: the Manager has taken the task back.
    pub(crate) async fn after(
        &self,
        task: &AssignedTask,
        ending: Result<(), Ending>,
        stop: &Stop,
    ) -> Result<(), Ending> {
        let Err(Ending::Failed(failure)) = ending else {
            return ending;
        };
        let subjects = subjects::of(task);
        let found = if failure.report.class == FailureClass::Io {
            self.look(&subjects, true).await
        } else {
            self.0.programs.failed(&subjects).await
        };
        if !found.is_empty() {
            tracing::info!(reason = failure.reason, "the task failed on a sick machine");
            self.go_on(task, &subjects, found, stop).await?;
        }
        Err(Ending::Failed(Failure { ..failure }))
    }

    async fn look(&self, subjects: &BTreeSet<Subject>, machine: bool) -> Vec<Finding> {
        let inner = &self.0;
        let mut found = Vec::new();
        if machine {
            found.extend(inner.client.clock().finding());
        }
        let folder = machine.then(|| inner.data_dir.clone());
        found.extend(checks::look(subjects.clone(), folder, inner.limits.free_bytes_min).await);
        found.extend(inner.programs.look(subjects));
        found
    }

    /// Says what was found. `true`: the job is to blame, and its task shall run (and fail).
    async fn go_on(
        &self,
        task: &AssignedTask,
        subjects: &BTreeSet<Subject>,
        found: Vec<Finding>,
        stop: &Stop,
    ) -> Result<bool, Ending> {
        let report = HealthReport {
            job: Some(task.job.clone()),
            findings: found,
        };
        let mut backoff = Backoff::new();
        loop {
            match self.0.client.health(&report).await {
                Ok(HealthAnswer {
                    quarantined: true, ..
                }) => {
                    for finding in &report.findings {
                        tracing::error!(what = finding.words, "this machine is not fit for work");
                    }
                    self.state().sick = Some(Sick {
                        job: report.job,
                        subjects: subjects.clone(),
                        found: report.findings,
                        next: Instant::now() + self.0.limits.recheck,
                    });
                    // The Manager has taken the task back: nothing of it is to be said.
                    return Err(Ending::Stopped(StopReason::NotOurs));
                }
                Ok(_) => return Ok(true),
                Err(CallError::Status {
                    status, message, ..
                }) if status < 500 && status != 429 => {
                    // Not our Manager, or a task that is gone: what the task says counts.
                    tracing::warn!(
                        status,
                        message,
                        "the Manager takes no word about this machine"
                    );
                    return Ok(true);
                }
                Err(error) => tracing::warn!(%error, "tell the Manager that this machine is sick"),
            }
            tokio::select! {
                () = tokio::time::sleep(backoff.pause()) => {}
                reason = stop.wait() => return Err(Ending::Stopped(reason)),
            }
        }
    }

    /// How long an ask for work may wait, so that a sick Worker looks at itself in time.
    pub(crate) fn patience(&self, wait: Duration) -> Duration {
        match &self.state().sick {
            Some(sick) => wait.min(sick.next.saturating_duration_since(Instant::now())),
            None => wait,
        }
    }

    /// Looks again if this Worker is sick and it is time, and says that it is well when it is.
    pub(crate) async fn recheck(&self) {
        let Some(sick) = self.state().sick.clone() else {
            return;
        };
        if sick.next > Instant::now() {
            return;
        }
        let mut found = self.look(&sick.subjects, true).await;
        found.extend(self.0.programs.failed(&sick.subjects).await);
        // Numbers in the words move all the time; the same finding once more is no news.
        for finding in &mut found {
            let same = |before: &&Finding| {
                (before.kind, &before.subject) == (finding.kind, &finding.subject)
            };
            if let Some(before) = sick.found.iter().find(same) {
                finding.words.clone_from(&before.words);
            }
        }
        found.dedup();
        let report = HealthReport {
            job: sick.job.clone(),
            findings: found,
        };
        let answer = self.0.client.health(&report).await;
        let mut state = self.state();
        match answer {
            // Also where a person or its failures keep it from work: that is not its to lift.
            Ok(answer) if report.findings.is_empty() || !answer.quarantined => {
                tracing::info!(?answer.cause, "this machine is fit for work again");
                state.sick = None;
                state.job.clear();
            }
            Ok(_) => {
                state.sick = Some(Sick {
                    found: report.findings,
                    next: Instant::now() + self.0.limits.recheck,
                    ..sick
                });
            }
            Err(error) => {
                tracing::debug!(%error, "say how this machine is");
                state.sick = Some(Sick {
                    next: Instant::now() + self.0.limits.recheck.min(Duration::from_secs(5)),
                    ..sick
                });
            }
        }
    }
}
