// SPDX-License-Identifier: GPL-3.0-or-later
//! Whose turn it is to run programs, and how far the start of a task has come.
//!
//! A Worker has one or more places for programs. A task that was claimed ahead prepares itself and waits
//! for a place; the one before gives it up as soon as its last program is done, while its frames
//! are still being published. Publication waits until the Manager has taken the start: before
//! that the task may be somebody else's by now, and what was rendered is thrown away.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use crate::outbox::{OutboxFailed, Pending};
use crate::places::{Places, Taken};
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
    job: String,
    places: Arc<Places>,
    place: Mutex<Option<Arc<Taken>>>,
    start: watch::Sender<Start>,
    report: Mutex<Option<Pending>>,
}

impl Turn {
    pub(crate) fn new(job: String, places: Arc<Places>) -> Self {
        Self {
            job,
            places,
            place: Mutex::default(),
            start: watch::Sender::new(Start::Waits),
            report: Mutex::default(),
        }
    }

    /// Waits for a place, unless the task has one.
    pub(crate) async fn take(&self, stop: &Stop) -> Result<(), StopReason> {
        if self.place().is_some() {
            return Ok(());
        }
        let taken = tokio::select! {
            biased;
            reason = stop.wait() => return Err(reason),
            taken = self.places.take(&self.job) => taken,
        };
        *self.place.lock().expect("no holder panics") = Some(Arc::new(taken));
        Ok(())
    }

    /// The place that the task has.
    pub(crate) fn place(&self) -> Option<Arc<Taken>> {
        self.place.lock().expect("no holder panics").clone()
    }

    /// The next task may run its programs, once nobody uses the place any more.
    pub(crate) fn give(&self) {
        self.place.lock().expect("no holder panics").take();
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
        let places = Places::of_nothing(1);
        let turn = || Turn::new("job".into(), Arc::clone(&places));
        let (first, second) = (turn(), turn());
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
