// SPDX-License-Identifier: GPL-3.0-or-later
//! Frame ranges as people and scripts write them, and command lines in one text.
//!
//! What is understood means the same after it was written out in regular notation, counts right,
//! and falls into chunks without losing a frame.

use tablao_core::frames::FrameRanges;
use tablao_jobtypes::{frames::FrameSet, shell_split::shell_split};

use crate::take::Take;

/// More frames than this are counted and not walked through.
const WALKED_MAX: u64 = 5_000;

/// Reads the input as a frame range, as ranges of the journal and as a command line.
pub fn frames(data: &[u8]) {
    let mut take = Take(data);
    let chunk_size = i64::from(take.byte()) - 2;
    let Ok(text) = std::str::from_utf8(take.0) else {
        return;
    };
    let _ = shell_split(text);
    if let Some(ranges) = FrameRanges::parse(text) {
        let written = ranges.to_string();
        assert_eq!(
            FrameRanges::parse(&written),
            Some(ranges),
            "{text:?} as {written:?}"
        );
    }
    let Ok(set) = FrameSet::parse(text) else {
        return;
    };
    let compact = set.compact();
    let again = FrameSet::parse(&compact);
    assert_eq!(again.as_ref(), Ok(&set), "{text:?} as {compact:?}");
    if set.count() > WALKED_MAX {
        return;
    }
    let all: Vec<i64> = set.iter().collect();
    assert_eq!(all.len() as u64, set.count(), "{text:?}");
    let Ok(chunks) = set.chunks(chunk_size) else {
        assert!(chunk_size < 1, "{text:?} in chunks of {chunk_size}");
        return;
    };
    let in_chunks: Vec<i64> = chunks
        .flat_map(|chunk| chunk.iter().collect::<Vec<i64>>())
        .collect();
    assert_eq!(in_chunks, all, "{text:?} in chunks of {chunk_size}");
}
