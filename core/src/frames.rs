// SPDX-License-Identifier: GPL-3.0-or-later
//! Which frames a task renders, as inclusive ranges.
//!
//! A fact of the task, so that "which frames are missing" needs no detail. The text grammar
//! of submissions is the job compiler's business; this is the compact form that is journalled.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Ascending, disjoint, inclusive ranges of frame numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameRanges(Vec<(i32, i32)>);

impl FrameRanges {
    /// From any frame numbers.
    pub fn from_numbers(numbers: impl IntoIterator<Item = i32>) -> Self {
        let mut sorted: Vec<i32> = numbers.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut ranges: Vec<(i32, i32)> = Vec::new();
        for number in sorted {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
                _ => ranges.push((number, number)),
            }
        }
        Self(ranges)
    }

    /// Reads the regular notation that a compiled task carries: `1-4,9,11-12`.
    /// Anything else gives no ranges: an unknown notation is no reason to refuse a job.
    pub fn parse(text: &str) -> Option<Self> {
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let first: i32 = first.trim().parse().ok()?;
            let last: i32 = last.trim().parse().ok()?;
            if first > last {
                return None;
            }
            ranges.push((first, last));
        }
        ranges.sort_unstable();
        if ranges.windows(2).any(|pair| pair[0].1 >= pair[1].0) {
            return None;
        }
        Some(Self(ranges))
    }

    /// The ranges.
    pub fn ranges(&self) -> &[(i32, i32)] {
        &self.0
    }

    /// No frames at all: the task renders none, or its frames are not known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The task renders this frame.
    pub fn contains(&self, number: i32) -> bool {
        self.0
            .iter()
            .any(|&(first, last)| (first..=last).contains(&number))
    }
}

impl fmt::Display for FrameRanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&FramesView(&self.0), f)
    }
}

/// The frames of a task that lies packed among others: what [`FrameRanges`] says, borrowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FramesView<'a>(&'a [(i32, i32)]);

impl<'a> FramesView<'a> {
    pub(crate) const fn new(ranges: &'a [(i32, i32)]) -> Self {
        Self(ranges)
    }

    /// The ranges.
    pub const fn ranges(&self) -> &'a [(i32, i32)] {
        self.0
    }

    /// No frames at all: the task renders none, or its frames are not known.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The task renders this frame.
    pub fn contains(&self, number: i32) -> bool {
        self.0
            .iter()
            .any(|&(first, last)| (first..=last).contains(&number))
    }

    /// The same, owned.
    pub fn to_ranges(&self) -> FrameRanges {
        FrameRanges(self.0.to_vec())
    }
}

impl fmt::Display for FramesView<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (first, last)) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            if first == last {
                write!(f, "{first}")?;
            } else {
                write!(f, "{first}-{last}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers in any order become the shortest ranges, and print as people write them.
    #[test]
    fn numbers_become_ranges() {
        let frames = FrameRanges::from_numbers([5, 1, 2, 3, 2, 9]);
        assert_eq!(frames.to_string(), "1-3,5,9");
        assert!(frames.contains(2) && !frames.contains(4));
        assert_eq!(FrameRanges::parse("1-3,5,9"), Some(frames));
    }

    /// Text that is not the compiled notation is not guessed at.
    #[test]
    fn other_notations_give_nothing() {
        for text in ["", "a", "3-1", "1-5,4-9", "1..4"] {
            assert_eq!(FrameRanges::parse(text), None, "{text:?}");
        }
    }
}
