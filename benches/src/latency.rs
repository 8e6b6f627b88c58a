// SPDX-License-Identifier: GPL-3.0-or-later
//! Latencies, each one kept: percentiles are exact, not of a histogram's buckets.

use std::time::Duration;

/// Latencies of one kind of call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies {
    micros: Vec<u32>,
}

impl Latencies {
    /// Notes one.
    pub(crate) fn note(&mut self, latency: Duration) {
        self.micros
            .push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
    }

    /// Takes another's in.
    pub(crate) fn join(&mut self, other: Self) {
        self.micros.extend(other.micros);
    }

    /// The latency that this share (0 to 1) of all do not exceed, in milliseconds.
    pub(crate) fn percentile_ms(&mut self, share: f64) -> f64 {
        self.micros.sort_unstable();
        let Some(last) = self.micros.len().checked_sub(1) else {
            return 0.0;
        };
        let index = (self.micros.len() as f64 * share).ceil() as usize;
        f64::from(self.micros[index.saturating_sub(1).min(last)]) / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A percentile is a latency that was measured, the smallest that covers the share.
    #[test]
    fn percentiles_are_of_what_was_noted() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.percentile_ms(0.5), 0.0);
        for millis in (1..=100).rev() {
            latencies.note(Duration::from_millis(millis));
        }
        assert_eq!(latencies.percentile_ms(0.5), 50.0);
        assert_eq!(latencies.percentile_ms(0.99), 99.0);
        assert_eq!(latencies.percentile_ms(1.0), 100.0);
    }
}
