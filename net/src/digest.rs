// SPDX-License-Identifier: GPL-3.0-or-later
//! The digest of a whole farm: its control journal's and all its sites' entities in one root.
//!
//! A running farm and a replay of its journals call this one function on their models, so that
//! they say the same at the same position.

use tablao_core::{Digest, digest::SetHash};
use tablao_projections::ReadModel;

/// The root over all models of a farm. Their order does not matter.
pub fn whole<'a>(models: impl IntoIterator<Item = &'a ReadModel>) -> Digest {
    let mut sum = SetHash::default();
    for model in models {
        sum.add_all(&model.farm().set_hash());
    }
    sum.digest()
}
