// SPDX-License-Identifier: GPL-3.0-or-later
//! The tasks that a Worker has at a time: those that have their turn, those before them whose frames
//! are still being published, and one that was claimed ahead and waits.
//!
//! When to claim is decided by the Worker's loop; here is what it has to know for that.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::client::{CallError, Client, TaskAnswer};
use crate::outbox::OutboxFailed;
use crate::stop::{Stop, StopReason};
use crate::task::{Taken, TaskRunner};
use crate::turn::{Start, Turn};
use crate::wire::AssignedTask;

/// Tasks that a Worker with so many places may have. When it claims ahead: for each place one whose
/// last frame is being published and one that renders, and one that waits for its turn.
pub(crate) fn held_max(places: u32, claim_ahead: bool) -> u32 {
    if claim_ahead { 2 * places + 1 } else { places }
}

/// Attempts that are remembered: more than can be live at a time.
const KNOWN_MAX: usize = 256;

/// Asks for a task while another one runs. For one that has to wait for its turn the answer comes
/// at once, for who has nothing to do stands before us; for a place that is free it may take a while.
pub(crate) async fn claim_task(
    client: Client,
    wait: Duration,
) -> (Instant, Result<TaskAnswer, CallError>) {
    (Instant::now(), client.task(wait).await)
}

/// The tasks.
pub(crate) struct Running {
    runner: TaskRunner,
    tasks: JoinSet<Result<(), OutboxFailed>>,
    held_max: usize,
    /// The last attempts that were begun. One that has ended here may be handed out again while
    /// its end is still on its way to the Manager.
    known: VecDeque<String>,
    /// The task that came last.
    last: Option<(Arc<Turn>, Stop)>,
    /// Whether there is a reason to ask for another one.
    changed: bool,
}

impl Running {
    /// With room for so many tasks.
    pub(crate) fn new(runner: TaskRunner, held_max: u32) -> Self {
        Self {
            runner,
            tasks: JoinSet::new(),
            held_max: held_max as usize,
            known: VecDeque::new(),
            last: None,
            changed: false,
        }
    }

    pub(crate) fn begin(&mut self, task: AssignedTask, asked: Instant, ahead: bool) {
        let turn = Arc::new(Turn::new(task.job.clone(), Arc::clone(&self.runner.places)));
        let stop = Stop::new();
        self.last = Some((Arc::clone(&turn), stop.clone()));
        if let Some(tablao) = &task.tablao {
            self.known.push_back(tablao.attempt.clone());
            if self.known.len() > KNOWN_MAX {
                self.known.pop_front();
            }
        }
        self.changed = true;
        let (runner, taken) = (
            self.runner.clone(),
            Taken {
                asked,
                ahead,
                stop,
                turn,
            },
        );
        self.tasks
            .spawn(async move { runner.run(task, taken).await });
    }

    /// Whether an attempt was begun already, or cannot be told from one.
    pub(crate) fn knows(&self, task: &AssignedTask) -> bool {
        let tablao = task.tablao.as_ref();
        tablao.is_none_or(|tablao| self.known.contains(&tablao.attempt))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Whether another task may be claimed: none waits, the Manager knows of the start of the
    /// last, which it would give out again otherwise, and this machine is fit for work.
    pub(crate) fn has_room(&self) -> bool {
        let told = (self.last.as_ref()).is_some_and(|(turn, _)| turn.start() == Start::Told);
        let fit = !self.runner.health.is_sick();
        self.changed && told && fit && self.tasks.len() < self.held_max
    }

    /// Whether a task would be run at once.
    pub(crate) fn has_free_place(&self) -> bool {
        self.runner.places.has_free()
    }

    pub(crate) fn wait_for_change(&mut self) {
        self.changed = false;
    }

    /// There is a reason to ask again.
    pub(crate) fn note_change(&mut self) {
        self.changed = true;
    }

    /// A task that has not begun is given back when this Worker is to do something else.
    pub(crate) fn drop_waiting(&self) {
        if let Some((turn, stop)) = &self.last
            && turn.start() == Start::Waits
        {
            stop.request(StopReason::StatusChange);
        }
    }

    /// Resolves when a task has ended, or when the Manager has learnt of the last one's start.
    pub(crate) async fn next(&mut self) -> Result<(), OutboxFailed> {
        let waits = (self.last.clone()).filter(|(turn, _)| turn.start() < Start::Told);
        let told = async {
            match &waits {
                Some((turn, _)) => turn.until(Start::Told).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ended = self.tasks.join_next() => {
                self.changed = true;
                match ended {
                    Some(Ok(result)) => result,
                    // A task that panicked: the process has said so, and its lease lapses.
                    Some(Err(_)) | None => Ok(()),
                }
            }
            () = told => Ok(()),
        }
    }
}
