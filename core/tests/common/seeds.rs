// SPDX-License-Identifier: GPL-3.0-or-later
//! Seeds for random histories: where they come from, and the numbers they lead to.
//!
//! A test runs the seeds that [`seeds`] names and prints the one that fails; `TABLAO_SEED`
//! runs exactly that one again. `TABLAO_SOAK` runs more of them.

/// The seeds to run: one from the environment, or `usual` of them, twenty times as many for a soak.
pub(crate) fn seeds(usual: u64) -> Vec<u64> {
    if let Ok(text) = std::env::var("TABLAO_SEED") {
        let seed = text
            .parse()
            .expect("TABLAO_SEED is a number, as a failing test prints it");
        return vec![seed];
    }
    let count = if std::env::var_os("TABLAO_SOAK").is_some() {
        usual * 20
    } else {
        usual
    };
    (1..=count).collect()
}

/// Says which seed was running when a test panics.
pub(crate) struct Announce {
    pub(crate) seed: u64,
}

impl Drop for Announce {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "this was seed {0}; TABLAO_SEED={0} runs it alone",
                self.seed
            );
        }
    }
}

/// SplitMix64: small, and the same on every machine for ever.
pub(crate) struct Random(u64);

impl Random {
    /// Far from the numbers of any other seed: without the mixing, each seed's numbers would be
    /// those of the one before but for the first, and many histories one.
    pub(crate) fn new(seed: u64) -> Self {
        let mut first = Self(seed);
        Self(first.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).expect("smaller than a usize")
    }

    /// True once in `chances`.
    pub(crate) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    /// One of these.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() {
            None
        } else {
            from.get(self.below(from.len()))
        }
    }

    /// One of these, which are known not to be empty.
    pub(crate) fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
