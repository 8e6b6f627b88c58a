// SPDX-License-Identifier: GPL-3.0-or-later
//! Merges Cryptomatte: per pixel a short list of ids, each with the share of the pixel it covers.
//!
//! Ids are numbers that only compare, so the shares of equal ids are added up and the largest are
//! kept, as the renderer does it within one render.

/// One pixel's pairs while they are added up. Kept between pixels so that nothing is allocated.
#[derive(Debug, Default)]
pub(super) struct Shares {
    pairs: Vec<(u32, f64)>,
}

impl Shares {
    /// Forgets the pixel before.
    pub(super) fn clear(&mut self) {
        self.pairs.clear();
    }

    /// Adds the share of an id, weighted by samples. A share of nothing is an empty place.
    pub(super) fn add(&mut self, id: f32, share: f64) {
        if share <= 0.0 {
            return;
        }
        // An id is a pattern of bits; some of them are no numbers and would not equal themselves.
        let bits = id.to_bits();
        match self.pairs.iter_mut().find(|(known, _)| *known == bits) {
            Some((_, sum)) => *sum += share,
            None => self.pairs.push((bits, share)),
        }
    }

    /// The pairs, largest share first. Equal shares stay in the order in which they came.
    pub(super) fn ranked(&mut self) -> impl Iterator<Item = (f32, f64)> {
        self.pairs
            .sort_by(|(_, one), (_, other)| other.total_cmp(one));
        self.pairs
            .iter()
            .map(|(bits, share)| (f32::from_bits(*bits), *share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_one_id_are_added_and_the_largest_comes_first() {
        // Protects mattes of merged renders: an id keeps its whole share wherever it stood.
        let mut shares = Shares::default();
        shares.add(1.5, 0.25);
        shares.add(f32::from_bits(0x7FC0_0001), 0.5);
        shares.add(2.5, 0.0);
        shares.add(1.5, 0.5);
        let ranked: Vec<(u32, f64)> = shares
            .ranked()
            .map(|(id, share)| (id.to_bits(), share))
            .collect();
        assert_eq!(ranked, [(1.5f32.to_bits(), 0.75), (0x7FC0_0001, 0.5)]);
        shares.clear();
        assert_eq!(shares.ranked().count(), 0);
    }
}
