// SPDX-License-Identifier: GPL-3.0-or-later
//! Whether the Manager is in reach, said once per change, and how long to wait before trying
//! again.
//!
//! Many parts of the Worker talk to the Manager; a farm whose Manager restarts must not fill
//! every Worker's log with the same line.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::client::CallError;

const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Shared knowledge of the connection; clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    address: Arc<str>,
    is_lost: Arc<AtomicBool>,
}

impl Link {
    pub(crate) fn new(address: &str) -> Self {
        Self {
            address: address.into(),
            is_lost: Arc::default(),
        }
    }

    /// Some call was answered.
    pub(crate) fn reached(&self) {
        if self.is_lost.swap(false, Ordering::Relaxed) {
            tracing::info!(manager = %self.address, "the manager is in reach again");
        }
    }

    /// Notes how a call failed.
    pub(crate) fn failed(&self, what: &str, error: &CallError) {
        match error {
            CallError::Unreachable(_) => {
                if !self.is_lost.swap(true, Ordering::Relaxed) {
                    tracing::warn!(manager = %self.address, what, %error, "the manager is out of reach, trying again until it answers");
                }
            }
            CallError::Status { .. } => {
                self.reached();
                tracing::warn!(manager = %self.address, what, %error, "the manager refused");
            }
        }
    }
}

/// Growing pauses between tries.
#[derive(Debug)]
pub(crate) struct Backoff(Duration);

impl Backoff {
    pub(crate) fn new() -> Self {
        Self(PAUSE_MIN)
    }

    /// The next pause: doubled each time, up to a limit, and varied by a quarter so that the
    /// workers of a farm do not come back in step.
    pub(crate) fn pause(&mut self) -> Duration {
        let pause = self.0.mul_f64(rand::random_range(0.75..1.0));
        self.0 = (self.0 * 2).min(PAUSE_MAX);
        pause
    }

    pub(crate) fn reset(&mut self) {
        self.0 = PAUSE_MIN;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_anew() {
        // Protects a returning Manager from a storm, and the farm from waiting long after it.
        let mut backoff = Backoff::new();
        let pauses: Vec<Duration> = (0..12).map(|_| backoff.pause()).collect();
        assert!(pauses[0] <= PAUSE_MIN);
        assert!(pauses.iter().all(|pause| *pause <= PAUSE_MAX));
        assert!(pauses[11] >= PAUSE_MAX * 3 / 4);
        backoff.reset();
        assert!(backoff.pause() <= PAUSE_MIN);
    }
}
