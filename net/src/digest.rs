// SPDX-License-Identifier: GPL-3.0-or-later
//! The digest of a whole farm: its control journal's and all its sites' entities in one root.
//!
//! A running farm and a replay of its journals call this one function on their folds, so that
//! they say the same at the same position.

use tablao_core::{Digest, Farm, digest::SetHash};

/// The root over the folds of all a farm's journals. Their order does not matter.
pub fn whole<'a>(folds: impl IntoIterator<Item = &'a Farm>) -> Digest {
    let mut sum = SetHash::default();
    for farm in folds {
        sum.add_all(&farm.set_hash());
    }
    sum.digest()
}
