// SPDX-License-Identifier: GPL-3.0-or-later
//! The one signal that ends a running task from outside, with its reason.
//!
//! Whoever learns first that the task must stop sets it; commands and the publisher of frames
//! obey it. It is never taken back: a new task gets a new one.

use std::sync::Arc;

use tokio::sync::watch;

/// Why a running task is stopped.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StopReason {
    /// The Manager refused a report: the attempt is not this Worker's any more.
    NotOurs,
    /// The Manager said that the task may not go on, and why.
    MayNotRun(String),
    /// The Manager was out of reach for as long as the lease allows.
    LeaseLapsed,
    /// This Worker is to take another status at once.
    StatusChange,
    /// This Worker is shutting down.
    Shutdown,
    /// The Worker's own files cannot be written.
    OutboxFailed,
    /// A program that waits for work is not needed any more. No task stops for this.
    NotNeeded,
}

impl std::fmt::Display for StopReason {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotOurs => write!(formatter, "the task is not this worker's any more"),
            Self::MayNotRun(reason) => write!(formatter, "the manager said: {reason}"),
            Self::LeaseLapsed => write!(
                formatter,
                "the manager was not reached within the lease, so the task may be somebody else's"
            ),
            Self::StatusChange => write!(formatter, "this worker is to change its status"),
            Self::Shutdown => write!(formatter, "this worker is shutting down"),
            Self::OutboxFailed => write!(formatter, "this worker cannot store its reports"),
            Self::NotNeeded => write!(formatter, "it is not needed any more"),
        }
    }
}

/// A handle on the signal; clones are the same signal.
#[derive(Debug, Clone)]
pub(crate) struct Stop(Arc<watch::Sender<Option<StopReason>>>);

impl Stop {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Asks the task to stop. The first reason stays.
    pub(crate) fn request(&self, reason: StopReason) {
        self.0.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(reason);
            }
            first
        });
    }

    pub(crate) fn requested(&self) -> Option<StopReason> {
        self.0.borrow().clone()
    }

    /// Resolves when the task is asked to stop.
    pub(crate) async fn wait(&self) -> StopReason {
        let mut receiver = self.0.subscribe();
        loop {
            if let Some(reason) = receiver.borrow_and_update().clone() {
                return reason;
            }
            if receiver.changed().await.is_err() {
                // Cannot be: this handle holds the sender.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_reason_stays_and_reaches_late_waiters() {
        // Protects the report of a stopped task from naming a consequence instead of the cause.
        let stop = Stop::new();
        assert_eq!(stop.requested(), None);
        stop.request(StopReason::LeaseLapsed);
        stop.clone().request(StopReason::Shutdown);
        assert_eq!(stop.wait().await, StopReason::LeaseLapsed);
    }
}
