// SPDX-License-Identifier: GPL-3.0-or-later
//! Which of the earlier checkpoints are kept: few, and spread over the whole history.
//!
//! A past moment is put together from the checkpoint before it and the records since, so the
//! widest gap bounds how long that takes. With a fixed number of checkpoints over an ever longer
//! history, gaps grow evenly with it.

/// Checkpoints kept. Neighbours share most of their bytes, so more of them cost little disk; the
/// gaps are about a twentieth of the history.
pub(crate) const KEPT: usize = 32;

/// The newest ones, which are never dropped: one of them may turn out to be damaged.
const NEWEST: usize = 2;

/// Positions to drop, of ascending ones, so that at most [`KEPT`] stay.
pub(crate) fn dropped(positions: &[u64]) -> Vec<u64> {
    let mut kept = positions.to_vec();
    let mut dropped = Vec::new();
    while kept.len() > KEPT {
        // The one whose loss leaves the smallest gap.
        let candidates = 0..kept.len() - NEWEST;
        let gap = |at: usize| {
            let before = at.checked_sub(1).map_or(0, |before| kept[before]);
            kept[at + 1] - before
        };
        let Some(least) = candidates.min_by_key(|&at| gap(at)) else {
            break;
        };
        dropped.push(kept.remove(least));
    }
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However long a history grows, no moment of it is far behind a checkpoint, and the number
    /// of checkpoints stays what it is.
    #[test]
    fn gaps_stay_a_small_share_of_the_history() {
        let mut kept: Vec<u64> = Vec::new();
        for position in (1..=4_000).map(|step| step * 500) {
            kept.push(position);
            for gone in dropped(&kept) {
                kept.retain(|&position| position != gone);
            }
            assert!(kept.len() <= KEPT);
            assert_eq!(kept.last(), Some(&position));
            let widest = std::iter::once(0)
                .chain(kept.iter().copied())
                .zip(kept.iter().copied())
                .map(|(before, after)| after - before)
                .max();
            let allowed = position / 10 + 500;
            assert!(
                widest <= Some(allowed),
                "{widest:?} at {position}: {kept:?}"
            );
        }
    }
}
