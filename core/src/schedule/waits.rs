// SPDX-License-Identifier: GPL-3.0-or-later
//! Which tasks of a job wait for which: how many are still open, and who waits for a task.
//!
//! A task that waits for a hundred thousand others names a range of them. The range is cut into
//! aligned blocks of powers of two, so it costs a few entries, and a task finds everybody who
//! waits for it by looking at one block of each width.

use std::collections::BTreeMap;

use smallvec::SmallVec;

/// The waits of one job.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits {
    /// How many open dependencies each task has; tasks without any are left out.
    open: BTreeMap<u32, u32>,
    /// By width (as a power of two) and number of the block: the tasks that wait for all of it.
    blocks: BTreeMap<(u8, u32), SmallVec<[u32; 2]>>,
    /// Widths that some block has, as bits.
    widths: u32,
}

impl Waits {
    /// A task waits for others, of which those that `is_done` says are no longer open. A number
    /// that is named twice counts once.
    pub(super) fn add(&mut self, task: u32, depends_on: &[u32], is_done: impl Fn(u32) -> bool) {
        if depends_on.is_empty() {
            return;
        }
        let mut numbers = std::borrow::Cow::Borrowed(depends_on);
        if !depends_on.is_sorted_by(|one, next| one < next) {
            let owned = numbers.to_mut();
            owned.sort_unstable();
            owned.dedup();
        }
        let open = numbers.iter().filter(|&&number| !is_done(number)).count();
        if open > 0 {
            let open = u32::try_from(open).expect("a job has fewer tasks");
            self.open.insert(task, open);
        }
        for run in numbers.chunk_by(|one, next| one + 1 == *next) {
            self.add_range(task, run[0], run[run.len() - 1]);
        }
    }

    fn add_range(&mut self, task: u32, first: u32, last: u32) {
        let (mut start, end) = (u64::from(first), u64::from(last) + 1);
        while start < end {
            // The widest block that begins here and does not go too far.
            let aligned = start.trailing_zeros().min(31);
            let fits = (end - start).ilog2();
            let width = aligned.min(fits);
            let block = u32::try_from(start >> width).expect("numbers are u32");
            let width_bits = u8::try_from(width).expect("at most 31");
            self.blocks
                .entry((width_bits, block))
                .or_default()
                .push(task);
            self.widths |= 1 << width;
            start += 1 << width;
        }
    }

    /// Tasks that wait for this one.
    pub(super) fn waiting_for(&self, task: u32) -> impl Iterator<Item = u32> {
        (0..32u8)
            .filter(|width| self.widths & (1 << width) != 0)
            .filter_map(move |width| self.blocks.get(&(width, task >> width)))
            .flatten()
            .copied()
    }

    /// No dependency of the task is open.
    pub(super) fn is_free(&self, task: u32) -> bool {
        !self.open.contains_key(&task)
    }

    /// One dependency of the task is done. Gives whether none is open any more.
    pub(super) fn close_one(&mut self, task: u32) -> bool {
        match self.open.get_mut(&task) {
            Some(open) if *open > 1 => {
                *open -= 1;
                false
            }
            _ => {
                self.open.remove(&task);
                true
            }
        }
    }

    /// One dependency of the task that was done is open again.
    pub(super) fn open_one(&mut self, task: u32) {
        *self.open.entry(task).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects dependencies: whoever waits for a range, or for single numbers in any order, is
    /// found from each of them and from no other.
    #[test]
    fn everybody_who_waits_is_found() {
        let mut waits = Waits::default();
        let lists: [(u32, Vec<u32>); 5] = [
            (100, (0..100).collect()),
            (101, vec![7, 3, 3, 5]),
            (102, (31..97).collect()),
            (103, vec![u32::MAX, 0]),
            (104, vec![]),
        ];
        for (task, numbers) in &lists {
            waits.add(*task, numbers, |_| false);
        }
        for number in (0..130).chain([u32::MAX]) {
            let mut found: Vec<u32> = waits.waiting_for(number).collect();
            found.sort_unstable();
            let right = lists
                .iter()
                .filter(|(_, numbers)| numbers.contains(&number));
            assert_eq!(found, right.map(|(task, _)| *task).collect::<Vec<_>>());
        }
        assert!(!waits.close_one(101) && !waits.close_one(101) && waits.close_one(101));
        assert!(waits.is_free(101) && waits.is_free(104) && !waits.is_free(100));
    }
}
