// SPDX-License-Identifier: GPL-3.0-or-later
//! The frame range table that job type scripts rely on, row by row.

use proptest::prelude::*;

use super::*;

/// Chunking gives exactly what Flamenco's scripts get, in the order they get it.
#[test]
fn chunk_table() {
    let many = ["1-4", "5-8", "9,10,20,21", "22-25", "40"];
    let rows: &[(&str, i64, &[&str])] = &[
        ("1..10,20..25,40,3..8", 4, &many),
        ("1-10,20-25,40", 4, &many),
        (" 1  .. 10,\t20..25\n,40   ", 4, &many),
        ("47", 4, &["47"]),
        ("1-3", 3, &["1-3"]),
        (
            "0-12,34-56,78-90",
            20,
            &["0-12,34-40", "41-56,78-81", "82-90"],
        ),
        ("10-1,5", 4, &["5"]),
        ("5,3,1", 2, &["1,3", "5"]),
        ("1,2,4,5,6", 10, &["1,2,4-6"]),
        ("7,7,7", 1, &["7"]),
        ("+5", 1, &["5"]),
    ];
    for (range, size, expected) in rows {
        assert_eq!(chunk(range, *size).unwrap(), *expected, "{range:?}");
    }
}

/// What is not a range is refused, and the answer names the text that was not understood.
#[test]
fn refusals() {
    assert_eq!(chunk("   ", 4), Err(FrameRangeError::Empty));
    assert_eq!(FrameRangeError::Empty.to_string(), "empty range");
    assert_eq!(chunk("10-1", 4), Err(FrameRangeError::Empty));
    assert_eq!(count(""), Err(FrameRangeError::Empty));
    let text = chunk(" 1 10", 4).unwrap_err().to_string();
    assert!(text.contains("1 10"), "{text}");
    for range in [
        "-5", "-5-10", "1-10,", "1-10x2", "1...3", "1-3-5", "1--3", "a", "1.5",
    ] {
        assert!(
            matches!(chunk(range, 4), Err(FrameRangeError::Invalid { .. })),
            "{range:?}"
        );
    }
    assert_eq!(chunk("1-4", 0), Err(FrameRangeError::ChunkSize(0)));
    assert_eq!(chunk("1-4", -3), Err(FrameRangeError::ChunkSize(-3)));
}

/// A range is counted and exploded as a set: duplicates and overlaps vanish, order is ascending.
#[test]
fn explode_and_count() {
    let set = FrameSet::parse("1..10,20..25,40").unwrap();
    let frames: Vec<i64> = set.iter().collect();
    let expected: Vec<i64> = (1..=10).chain(20..=25).chain([40]).collect();
    assert_eq!(frames, expected);
    assert_eq!(set.count(), 17);
    assert_eq!(count("1..10,20..25,40,3..8").unwrap(), 17);
    assert_eq!(count("0-12,34-40").unwrap(), 20);
}

/// An absurd range is refused from its bounds alone; nothing is allocated per frame.
#[test]
fn absurd_ranges_are_refused_by_size() {
    assert_eq!(
        FrameSet::parse_limited("1-100000000", 10_000_000),
        Err(FrameRangeError::TooMany {
            range: "1-100000000".into(),
            count: 100_000_000,
            limit: 10_000_000
        })
    );
    let whole = format!("0-{}", i64::MAX);
    assert_eq!(count(&whole).unwrap(), 1u64 << 63);
    assert!(count("0-9223372036854775808").is_err());
}

/// The largest frame numbers neither overflow nor loop while being chunked.
#[test]
fn chunks_at_the_end_of_the_number_line() {
    let range = format!("{}-{}", i64::MAX - 4, i64::MAX);
    let chunks = chunk(&range, 3).unwrap();
    assert_eq!(chunks.len(), 2);
    assert_eq!(chunks[1], format!("{},{}", i64::MAX - 1, i64::MAX));
}

proptest! {
    /// Chunks hold every frame of the range exactly once, and each is full but the last.
    #[test]
    fn chunks_partition_the_set(
        parts in prop::collection::vec((0i64..60, 0i64..12), 1..6),
        size in 1i64..9,
    ) {
        let text = parts
            .iter()
            .map(|(first, more)| format!("{first}-{}", first + more))
            .collect::<Vec<_>>()
            .join(",");
        let set = FrameSet::parse(&text).unwrap();
        let oracle: std::collections::BTreeSet<i64> = parts
            .iter()
            .flat_map(|(first, more)| *first..=first + more)
            .collect();
        let chunks = chunk(&text, size).unwrap();
        let sets: Vec<FrameSet> = chunks.iter().map(|c| FrameSet::parse(c).unwrap()).collect();
        let joined: Vec<i64> = sets.iter().flat_map(|s| s.iter().collect::<Vec<_>>()).collect();
        prop_assert_eq!(joined, oracle.into_iter().collect::<Vec<_>>());
        for full in &sets[..sets.len() - 1] {
            prop_assert_eq!(full.count(), size as u64);
        }
        prop_assert_eq!(FrameSet::parse(&set.compact()).unwrap(), set);
    }
}
