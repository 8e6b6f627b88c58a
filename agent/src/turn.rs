// SPDX-License-Identifier: GPL-3.0-or-later
//! Whose turn it is to run programs, and how far the start of a task has come.
//!
//! A Worker has one place for programs. A task that was claimed ahead prepares itself and waits
//! for the place; the one before gives it up as soon as its last program is done, while its frames
//! are still being published. Publication waits until the Manager has taken the start: before
//! that the task may be somebody else's by now, and what was rendered is thrown away.

use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::outbox::{OutboxFailed, Pending};
use crate::stop::{Stop, StopReason};

/// How far the start of a task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Start {
    /// It waits for its turn; nobody was told anything.
    Waits,
    /// It runs, and its start is on its way to the Manager.
    Begun,
    /// The Manager has taken its start, or refused it, which stops the task.
    Told,
}

/// The turn of one task.
#[derive(Debug)]
pub(crate) struct Turn {
    place: Arc<Semaphore>,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    start: watch::Sender<Start>,
    report: Mutex<Option<Pending>>,
}

impl Turn {
    /// `place` has one permit for each program that may run at a time.
    pub(crate) fn new(place: Arc<Semaphore>) -> Self {
        Self {
            place,
            permit: Mutex::default(),
            start: watch::Sender::new(Start::Waits),
            report: Mutex::default(),
        }
    }

    /// Waits for the place, unless the task has it.
    pub(crate) async fn take(&self, stop: &Stop) -> Result<(), StopReason> {
        if self.permit.lock().expect("no holder panics").is_some() {
            return Ok(());
        }
        let permit = tokio::select! {
            biased;
            reason = stop.wait() => return Err(reason),
            permit = Arc::clone(&self.place).acquire_owned() => permit,
        };
        let permit = permit.expect("the place is never closed");
        *self.permit.lock().expect("no holder panics") = Some(permit);
        Ok(())
    }

    /// The next task may run its programs.
    pub(crate) fn give(&self) {
        self.permit.lock().expect("no holder panics").take();
    }

    pub(crate) fn start(&self) -> Start {
        *self.start.borrow()
    }

    /// The task runs from now on; `report` is on its way.
    pub(crate) fn begin(&self, report: Option<Pending>) {
        *self.report.lock().expect("no holder panics") = report;
        self.start.send_replace(Start::Begun);
    }

    /// The Manager has answered the report.
    pub(crate) fn told(&self) {
        self.start.send_replace(Start::Told);
    }

    /// Resolves when the start has come so far.
    pub(crate) async fn until(&self, start: Start) {
        let mut changes = self.start.subscribe();
        // The sender lives as long as this.
        let _ = changes.wait_for(|now| *now >= start).await;
    }

    /// Follows the report of the start to the Manager's answer. Begins when the task does.
    pub(crate) async fn follow(&self) -> Result<(), OutboxFailed> {
        self.until(Start::Begun).await;
        let report = self.report.lock().expect("no holder panics").take();
        if let Some(report) = report {
            report.settled().await?;
        }
        self.told();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_task_at_a_time_has_the_place() {
        // Protects the machine from two Blenders, and the next task from waiting for publications.
        let place = Arc::new(Semaphore::new(1));
        let (first, second) = (Turn::new(Arc::clone(&place)), Turn::new(place));
        let stop = Stop::new();
        first.take(&stop).await.unwrap();
        first.take(&stop).await.unwrap();
        let (refused, reason) = (Stop::new(), StopReason::Shutdown);
        refused.request(reason.clone());
        assert_eq!(second.take(&refused).await, Err(reason));
        first.give();
        second.take(&stop).await.unwrap();
        assert_eq!(second.start(), Start::Waits);
        second.begin(None);
        second.follow().await.unwrap();
        assert_eq!(second.start(), Start::Told);
    }
}
