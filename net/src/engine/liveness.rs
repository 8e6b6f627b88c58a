// SPDX-License-Identifier: GPL-3.0-or-later
//! Who was heard when. Lives in the shell, not in the journal; measured on the monotonic clock.
//!
//! A tick that ends something brings the evidence as wall time, so that the decision can be
//! read and replayed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use tablao_core::{
    AttemptId, Farm, Request, Timestamp, WorkerId, WorkerStatus, entity::AttemptState,
};

use super::Heard;

/// When workers and attempts were last heard of.
pub(super) struct Liveness {
    workers: BTreeMap<WorkerId, Instant>,
    attempts: BTreeMap<AttemptId, Instant>,
    /// Silence counts from here at the earliest.
    counts_from: Instant,
}

impl Liveness {
    pub(super) fn new(started: Instant, grace: Duration) -> Self {
        Self {
            workers: BTreeMap::new(),
            attempts: BTreeMap::new(),
            counts_from: if cfg!(feature = "planted-no-grace") {
                started
            } else {
                started + grace
            },
        }
    }

    pub(super) fn heard(&mut self, heard: Heard, at: Instant) {
        self.workers.insert(heard.worker, at);
        if let Some(attempt) = heard.attempt {
            self.attempts.insert(attempt, at);
        }
    }

    /// Forgets attempts that are over.
    pub(super) fn forget(&mut self, attempt: AttemptId) {
        self.attempts.remove(&attempt);
    }

    fn silence(&self, last: Option<&Instant>, at: Instant) -> Duration {
        let since = last
            .copied()
            .unwrap_or(self.counts_from)
            .max(self.counts_from);
        at.saturating_duration_since(since)
    }

    /// Requests that end what was silent for too long.
    pub(super) fn overdue(&self, farm: &Farm, at: Instant, now: Timestamp) -> Vec<Request> {
        let since = |silence: Duration| {
            let micros = u64::try_from(silence.as_micros()).unwrap_or(u64::MAX);
            Timestamp::from_micros(now.micros().saturating_sub(micros))
        };
        let lapsed: Vec<_> = farm
            .attempts()
            .values()
            .filter_map(|attempt| {
                let silence = self.silence(self.attempts.get(&attempt.id), at);
                let bound_ms = match (attempt.state, attempt.start_within_ms) {
                    (AttemptState::Assigned, 1..) => attempt.start_within_ms,
                    _ => attempt.lease_ms,
                };
                let over = bound_ms > 0 && silence >= Duration::from_millis(bound_ms.into());
                over.then(|| (attempt.id, since(silence)))
            })
            .collect();
        let timeout = Duration::from_millis(farm.policy().worker_timeout_ms.into());
        let lost: Vec<_> = farm
            .workers()
            .values()
            .filter(|worker| {
                !worker.deleted
                    && !matches!(
                        worker.status,
                        None | Some(WorkerStatus::Offline | WorkerStatus::Error)
                    )
            })
            .filter_map(|worker| {
                let silence = self.silence(self.workers.get(&worker.id), at);
                let over = !timeout.is_zero() && silence >= timeout;
                over.then(|| (worker.id, since(silence)))
            })
            .collect();
        let mut requests = Vec::new();
        if !lapsed.is_empty() {
            requests.push(Request::LapseAttempts { evidence: lapsed });
        }
        if !lost.is_empty() {
            requests.push(Request::LoseWorkers { evidence: lost });
        }
        requests
    }
}
