// SPDX-License-Identifier: GPL-3.0-or-later
//! When to save a checkpoint: after exponentially more records, up to a bound.
//!
//! A young farm saves early, so that its first restart is quick; a busy one saves rarely,
//! because a checkpoint costs with the farm's size while the tail costs with the records since.
//! An idle farm never saves. Counting records instead of time keeps it free of clocks.

use tablao_core::Lsn;

/// Records before the first checkpoint: fewer than this replay in no time.
const RECORDS_MIN: u64 = 1_000;

/// Records between checkpoints at most: as many as replay within about a second.
const RECORDS_MAX: u64 = 500_000;

/// Says when to save. At a clean shutdown one saves if [`Cadence::has_tail`].
#[derive(Clone, Debug)]
pub struct Cadence {
    saved: Lsn,
    interval: u64,
}

impl Cadence {
    /// From the position of the checkpoint that was loaded, or from the origin.
    pub fn new(saved: Lsn) -> Self {
        Self {
            saved,
            interval: RECORDS_MIN,
        }
    }

    /// A checkpoint is due at this position.
    pub fn is_due(&self, position: Lsn) -> bool {
        self.since(position) >= self.interval
    }

    /// There is something that the last checkpoint does not hold.
    pub fn has_tail(&self, position: Lsn) -> bool {
        self.since(position) > 0
    }

    /// A checkpoint was taken at this position; the next one is due twice as many records later.
    pub fn taken(&mut self, position: Lsn) {
        self.saved = position;
        self.interval = (self.interval * 2).min(RECORDS_MAX);
    }

    fn since(&self, position: Lsn) -> u64 {
        position.get().saturating_sub(self.saved.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million records cost a dozen checkpoints, not a thousand, and the tail stays bounded.
    #[test]
    fn spaced_exponentially() {
        let mut cadence = Cadence::new(Lsn::ORIGIN);
        let mut taken = Vec::new();
        for position in (1..=1_000_000).map(Lsn::new) {
            if cadence.is_due(position) {
                cadence.taken(position);
                taken.push(position.get());
            }
        }
        assert_eq!(taken[..4], [1_000, 3_000, 7_000, 15_000]);
        assert!(taken.len() < 15, "{taken:?}");
        let longest = taken.windows(2).map(|pair| pair[1] - pair[0]).max();
        assert!(longest <= Some(RECORDS_MAX));
    }

    /// An idle farm has nothing to save at shutdown.
    #[test]
    fn no_tail_no_save() {
        let cadence = Cadence::new(Lsn::new(7));
        assert!(!cadence.has_tail(Lsn::new(7)));
        assert!(cadence.has_tail(Lsn::new(8)));
    }
}
