// SPDX-License-Identifier: GPL-3.0-or-later
//! Frame ranges: parsing, counting, chunking and the compact notation.
//!
//! A [`FrameSet`] keeps disjoint sorted intervals instead of single numbers, so `1-100000000` costs
//! as much as `1-2` and can be refused by its size before anything is allocated for it. Grammar:
//! comma separated frames or inclusive ranges (`a-b` or `a..b`), blanks allowed around numbers,
//! no negative frames, no steps. This module knows nothing of jobs or JavaScript.

use std::fmt::Write as _;

use thiserror::Error;

/// Why a frame range was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrameRangeError {
    /// Nothing is left after trimming, or every range runs backwards.
    #[error("empty range")]
    Empty,
    /// A part is neither a frame number nor a range of two.
    #[error("invalid frame range {range:?}: {part:?} is neither a frame number nor a range A-B")]
    Invalid {
        /// The whole text.
        range: String,
        /// The part between commas that could not be understood.
        part: String,
    },
    /// Chunks of no frames make no sense.
    #[error("chunk size must be positive, got {0}")]
    ChunkSize(i64),
    /// More frames than the caller allows.
    #[error("frame range {range:?} has {count} frames, the limit is {limit}")]
    TooMany {
        /// The whole text.
        range: String,
        /// How many distinct frames it holds.
        count: u64,
        /// How many are allowed.
        limit: u64,
    },
}

/// A set of frame numbers. Invariant: intervals are sorted, disjoint and not adjacent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameSet {
    intervals: Vec<Interval>,
}

/// An inclusive run of frames, `first <= last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    first: i64,
    last: i64,
}

impl Interval {
    fn len(self) -> u64 {
        self.last.abs_diff(self.first).saturating_add(1)
    }
}

impl FrameSet {
    /// Reads a range. A descending part contributes nothing, as job type scripts have come to rely on.
    pub fn parse(range: &str) -> Result<Self, FrameRangeError> {
        let text = range.trim();
        if text.is_empty() {
            return Err(FrameRangeError::Empty);
        }
        let dashed = text.replace("..", "-");
        let mut intervals = Vec::new();
        for part in dashed.split(',') {
            let interval = parse_part(part).ok_or_else(|| FrameRangeError::Invalid {
                range: text.to_owned(),
                part: part.trim().to_owned(),
            })?;
            if interval.first <= interval.last {
                intervals.push(interval);
            }
        }
        if intervals.is_empty() {
            return Err(FrameRangeError::Empty);
        }
        Ok(Self {
            intervals: merge(intervals),
        })
    }

    /// Like [`FrameSet::parse`], refusing sets of more than `limit` frames.
    pub fn parse_limited(range: &str, limit: u64) -> Result<Self, FrameRangeError> {
        let set = Self::parse(range)?;
        let count = set.count();
        if count > limit {
            return Err(FrameRangeError::TooMany {
                range: range.trim().to_owned(),
                count,
                limit,
            });
        }
        Ok(set)
    }

    /// How many distinct frames there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.intervals
            .iter()
            .fold(0u64, |sum, interval| sum.saturating_add(interval.len()))
    }

    /// The frames, ascending.
    pub fn iter(&self) -> impl Iterator<Item = i64> + '_ {
        self.intervals
            .iter()
            .flat_map(|interval| interval.first..=interval.last)
    }

    /// Groups of `chunk_size` frames in ascending order, made one at a time. Groups may span gaps.
    pub fn chunks(&self, chunk_size: i64) -> Result<Chunks<'_>, FrameRangeError> {
        let size = u64::try_from(chunk_size)
            .ok()
            .filter(|size| *size > 0)
            .ok_or(FrameRangeError::ChunkSize(chunk_size))?;
        Ok(Chunks {
            remaining: &self.intervals,
            consumed: 0,
            size,
        })
    }

    /// The compact notation: runs of three or more as `a-b`, everything else listed.
    #[must_use]
    pub fn compact(&self) -> String {
        let mut text = String::new();
        for interval in &self.intervals {
            if !text.is_empty() {
                text.push(',');
            }
            let separator = if interval.len() == 2 { ',' } else { '-' };
            let written = if interval.first == interval.last {
                write!(text, "{}", interval.first)
            } else {
                write!(text, "{}{separator}{}", interval.first, interval.last)
            };
            written.expect("writing to a String cannot fail");
        }
        text
    }
}

/// The groups of a [`FrameSet`], see [`FrameSet::chunks`].
#[derive(Debug)]
pub struct Chunks<'a> {
    /// Intervals not yet handed out in full.
    remaining: &'a [Interval],
    /// How many frames of the first remaining interval are gone already.
    consumed: u64,
    size: u64,
}

impl Iterator for Chunks<'_> {
    type Item = FrameSet;

    fn next(&mut self) -> Option<FrameSet> {
        let mut wanted = self.size;
        let mut intervals = Vec::new();
        while wanted > 0 {
            let Some((interval, rest)) = self.remaining.split_first() else {
                break;
            };
            let available = interval.len() - self.consumed;
            let taken = available.min(wanted);
            let first = interval.first.saturating_add_unsigned(self.consumed);
            intervals.push(Interval {
                first,
                last: first.saturating_add_unsigned(taken - 1),
            });
            wanted -= taken;
            if taken == available {
                self.remaining = rest;
                self.consumed = 0;
            } else {
                self.consumed += taken;
            }
        }
        (!intervals.is_empty()).then_some(FrameSet { intervals })
    }
}

/// Splits a range into compact chunks of `chunk_size` frames, for ranges known to be of sane size.
pub fn chunk(range: &str, chunk_size: i64) -> Result<Vec<String>, FrameRangeError> {
    let set = FrameSet::parse(range)?;
    let chunks = set.chunks(chunk_size)?;
    Ok(chunks.map(|chunk| chunk.compact()).collect())
}

/// Counts the distinct frames of a range.
pub fn count(range: &str) -> Result<u64, FrameRangeError> {
    Ok(FrameSet::parse(range)?.count())
}

fn parse_part(part: &str) -> Option<Interval> {
    let mut pieces = part.split('-');
    let first = parse_frame(pieces.next()?)?;
    let last = match pieces.next() {
        Some(piece) => parse_frame(piece)?,
        None => first,
    };
    pieces.next().is_none().then_some(Interval { first, last })
}

fn parse_frame(piece: &str) -> Option<i64> {
    // A `-` never reaches this point, so the result cannot be negative.
    piece.trim().parse().ok()
}

fn merge(mut intervals: Vec<Interval>) -> Vec<Interval> {
    intervals.sort_unstable_by_key(|interval| interval.first);
    let mut merged: Vec<Interval> = Vec::with_capacity(intervals.len());
    for interval in intervals {
        match merged.last_mut() {
            Some(previous) if interval.first <= previous.last.saturating_add(1) => {
                previous.last = previous.last.max(interval.last);
            }
            _ => merged.push(interval),
        }
    }
    merged
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;
