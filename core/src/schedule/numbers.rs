// SPDX-License-Identifier: GPL-3.0-or-later
//! An ordered set of numbers as words of bits: a run of a million costs little, and two sets are
//! told apart sixty-four numbers at a time.

use std::collections::{BTreeMap, btree_map};

use smallvec::SmallVec;

const BITS: u64 = 64;

/// The set.
#[derive(Clone, Debug, Default)]
pub(super) struct Numbers {
    /// By number divided by the width of a word; no word is empty.
    words: BTreeMap<u64, u64>,
}

impl Numbers {
    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Gives whether it was not in the set.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        let word = self.words.entry(number / BITS).or_default();
        let bit = 1 << (number % BITS);
        let newly = *word & bit == 0;
        *word |= bit;
        newly
    }

    /// Up to sixty-four numbers of one word. Gives how many were not in the set.
    pub(super) fn insert_word(&mut self, place: u64, bits: u64) -> u32 {
        let word = self.words.entry(place).or_default();
        let newly = bits & !*word;
        *word |= bits;
        newly.count_ones()
    }

    /// Gives whether it was in the set.
    pub(super) fn remove(&mut self, number: u64) -> bool {
        let Some(word) = self.words.get_mut(&(number / BITS)) else {
            return false;
        };
        let bit = 1 << (number % BITS);
        let was = *word & bit != 0;
        *word &= !bit;
        if *word == 0 {
            self.words.remove(&(number / BITS));
        }
        was
    }

    /// The numbers that are in none of the other sets, ascending.
    pub(super) fn without<'a>(&'a self, others: &[Option<&'a Self>]) -> Without<'a> {
        Without {
            words: self.words.iter(),
            others: (others.iter().flatten())
                .map(|other| Other {
                    words: other.words.iter(),
                    next: None,
                    begun: false,
                })
                .collect(),
            base: 0,
            bits: 0,
        }
    }

    /// The numbers, ascending.
    pub(super) fn iter(&self) -> Without<'_> {
        self.without(&[])
    }
}

struct Other<'a> {
    words: btree_map::Iter<'a, u64, u64>,
    next: Option<(u64, u64)>,
    begun: bool,
}

impl<'a> Other<'a> {
    /// The word of this place. Places are asked for in ascending order.
    fn word(&mut self, place: u64) -> u64 {
        let step = |words: &mut btree_map::Iter<'a, u64, u64>| {
            words.next().map(|(&place, &word)| (place, word))
        };
        if !self.begun {
            self.begun = true;
            self.next = step(&mut self.words);
        }
        while let Some((at, word)) = self.next {
            if at == place {
                return word;
            }
            if at > place {
                return 0;
            }
            self.next = step(&mut self.words);
        }
        0
    }
}

/// Walks one set beside others.
pub(super) struct Without<'a> {
    words: btree_map::Iter<'a, u64, u64>,
    others: SmallVec<[Other<'a>; 2]>,
    base: u64,
    bits: u64,
}

impl Iterator for Without<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        while self.bits == 0 {
            let (&place, &word) = self.words.next()?;
            let out = (self.others.iter_mut()).fold(0, |out, other| out | other.word(place));
            self.base = place * BITS;
            self.bits = word & !out;
        }
        let bit = u64::from(self.bits.trailing_zeros());
        self.bits &= self.bits - 1;
        Some(self.base + bit)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Protects every pick: the set behaves as a set of numbers does, and leaves out what others
    /// hold, whatever the distances between them.
    #[test]
    fn it_is_a_set() {
        let mut seed = 1u64;
        let mut random = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % 1_000
        };
        let (mut one, mut two) = (Numbers::default(), Numbers::default());
        let (mut plain_one, mut plain_two) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..2_000 {
            let number = random();
            match random() % 4 {
                0 => assert_eq!(one.remove(number), plain_one.remove(&number)),
                1 => assert_eq!(two.insert(number), plain_two.insert(number)),
                2 => assert_eq!(two.remove(number), plain_two.remove(&number)),
                _ => assert_eq!(one.insert(number), plain_one.insert(number)),
            }
            assert_eq!(one.is_empty(), plain_one.is_empty());
            let left: Vec<u64> = plain_one.difference(&plain_two).copied().collect();
            assert_eq!(one.without(&[None, Some(&two)]).collect::<Vec<_>>(), left);
        }
    }
}
