// SPDX-License-Identifier: GPL-3.0-or-later
//! Random moments that can be had again: a seed that is printed, and taken from `TABLAO_SEED`.
//!
//! The numbers are splitmix64. The farm itself draws its own random numbers and has its own
//! timing, so a seed brings back the moments of the kills, not the whole run.

use std::time::{SystemTime, UNIX_EPOCH};

/// A stream of random numbers.
pub(crate) struct Chance {
    state: u64,
}

impl Chance {
    /// The seed of `TABLAO_SEED`, else of the clock; printed either way.
    pub(crate) fn announced(name: &str) -> Self {
        let seed = std::env::var("TABLAO_SEED")
            .ok()
            .map(|text| text.parse().expect("TABLAO_SEED is a number"))
            .unwrap_or_else(|| {
                let now = SystemTime::now().duration_since(UNIX_EPOCH);
                u64::from(now.expect("the clock is past 1970").subsec_nanos())
            });
        println!("{name}: TABLAO_SEED={seed}");
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Does nothing for a random time below `bound_ms`.
    pub(crate) fn pause(&mut self, bound_ms: u64) {
        std::thread::sleep(std::time::Duration::from_millis(self.below(bound_ms)));
    }
}
