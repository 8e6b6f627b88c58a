// SPDX-License-Identifier: GPL-3.0-or-later
//! A log that behaves as if it were on another machine, for tests of whoever stands on a log.
//!
//! Requests arrive in order, as over one connection; every reply takes its own time, so replies
//! overtake each other. Somebody else may append too, which makes expected positions stale. Time
//! is tokio's, so a test that pauses it waits for nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::memory::MemoryLog;
use super::{Appended, Log, LogFuture, Sealed};
use crate::batch::Batch;
use crate::error::Error;
use crate::position::{JournalId, Lsn};
use crate::record::Draft;

/// How long replies take, and in which random order they therefore come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// The quickest reply, in microseconds.
    pub us_min: u64,
    /// The slowest reply, in microseconds.
    pub us_max: u64,
    /// Same seed, same delays.
    pub seed: u64,
}

/// A log at the end of a slow line. Has to be polled inside a tokio runtime with time.
pub struct DistantLog {
    there: MemoryLog,
    latency: Latency,
    chance: Arc<Mutex<u64>>,
}

impl DistantLog {
    /// An empty log over there.
    #[must_use]
    pub fn new(id: JournalId, latency: Latency) -> Self {
        Self {
            there: MemoryLog::new(id),
            latency,
            chance: Arc::new(Mutex::new(latency.seed)),
        }
    }

    /// Somebody else appends, at whatever position is next.
    pub fn intrude(&self, draft: &Draft) -> Result<Appended, Error> {
        match self.there.append_now(Lsn::ORIGIN, draft) {
            Err(Error::StalePosition { next, .. }) => self.there.append_now(next, draft),
            other => other,
        }
    }

    /// The delay of the next reply.
    fn delay(&self) -> Duration {
        let mut state = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        // A linear congruential step; its high bits are random enough to shuffle replies.
        *state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let span = self.latency.us_max.saturating_sub(self.latency.us_min) + 1;
        Duration::from_micros(self.latency.us_min + (*state >> 33) % span)
    }

    fn reply<V: Send + 'static>(&self, answer: Result<V, Error>) -> LogFuture<V> {
        let delay = self.delay();
        Box::pin(async move {
            tokio::time::sleep(delay).await;
            answer
        })
    }
}

impl Log for DistantLog {
    fn append(&self, expected_first: Lsn, draft: Draft) -> LogFuture<Appended> {
        self.reply(self.there.append_now(expected_first, &draft))
    }

    fn read(&self, from: Lsn, batches_max: usize) -> LogFuture<Vec<Batch>> {
        self.reply(self.there.read_now(from, batches_max))
    }

    fn wait_for(&self, position: Lsn) -> LogFuture<()> {
        let reached = self.there.wait_for(position);
        let delay = self.delay();
        Box::pin(async move {
            reached.await?;
            tokio::time::sleep(delay).await;
            Ok(())
        })
    }

    fn seal(&self) -> LogFuture<Sealed> {
        self.reply(self.there.seal_now())
    }
}
