// SPDX-License-Identifier: GPL-3.0-or-later
//! Asks for work that wait until there is some.
//!
//! A parked ask is ephemeral: it is dropped when its connection ends, and answered with
//! nothing when its patience is over.

use std::{collections::BTreeMap, time::Instant};

use tablao_core::WorkerId;
use tokio::sync::oneshot;

use super::{Ask, Reply};

/// An ask that waits.
pub(super) struct ParkedAsk {
    pub(super) ask: Ask,
    pub(super) reply: oneshot::Sender<Reply>,
    pub(super) until: Instant,
}

/// All that wait. One per worker and place: a worker with several slots may wait several times.
#[derive(Default)]
pub(super) struct Parked {
    asks: BTreeMap<(WorkerId, u64), ParkedAsk>,
    next: u64,
}

impl Parked {
    pub(super) fn park(&mut self, worker: WorkerId, ask: ParkedAsk) {
        self.next += 1;
        self.asks.insert((worker, self.next), ask);
    }

    /// Takes everything out that could be served now, oldest first.
    pub(super) fn take_all(&mut self) -> Vec<(WorkerId, ParkedAsk)> {
        let mut all: Vec<_> = std::mem::take(&mut self.asks).into_iter().collect();
        all.sort_unstable_by_key(|((_, order), _)| *order);
        all.into_iter()
            .filter(|(_, parked)| !parked.reply.is_closed())
            .map(|((worker, _), parked)| (worker, parked))
            .collect()
    }

    /// Takes out what has waited long enough.
    pub(super) fn take_expired(&mut self, at: Instant) -> Vec<ParkedAsk> {
        let expired: Vec<_> = self
            .asks
            .iter()
            .filter(|(_, parked)| parked.until <= at || parked.reply.is_closed())
            .map(|(key, _)| *key)
            .collect();
        expired
            .iter()
            .filter_map(|key| self.asks.remove(key))
            .collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.asks.is_empty()
    }

    /// When the first of them has waited long enough.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.asks.values().map(|parked| parked.until).min()
    }
}
