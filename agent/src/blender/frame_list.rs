// SPDX-License-Identifier: GPL-3.0-or-later
//! Blender's notation for frames, as in `--render-frame 1..3,7`.
//!
//! Frames relative to the scene's range (`+2`, `-1`) cannot be known without the scene; a list
//! that has one is not read at all.

/// More frames than this in one task are not looked at one by one.
const FRAMES_MAX: i64 = 1_000_000;

/// The frames of a list in the order given, or `None` when only Blender can know them.
pub(crate) fn parse(text: &str) -> Option<Vec<i64>> {
    let mut frames = Vec::new();
    for part in text.split(',') {
        let (first, last) = match part.split_once("..") {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part)?, number(part)?),
        };
        if last - first >= FRAMES_MAX - i64::try_from(frames.len()).ok()? {
            return None;
        }
        frames.extend(first..=last);
    }
    (!frames.is_empty()).then_some(frames)
}

/// First and last frame of each part of a list, or `None` as with [`parse`].
pub(crate) fn runs(text: &str) -> Option<Vec<(i64, i64)>> {
    parse(text)?;
    let parts = text.split(',').map(|part| {
        let (first, last) = part.split_once("..").unwrap_or((part, part));
        Some((number(first)?, number(last)?))
    });
    parts.collect()
}

fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // At most nine digits: Blender's frame numbers are 32 bits wide.
    (digits && text.len() <= 9).then(|| text.parse().ok())?
}

/// The shortest list of ascending frames: runs of three and more as ranges.
pub(crate) fn compact(frames: &[i64]) -> String {
    let mut parts = Vec::new();
    let mut index = 0;
    while index < frames.len() {
        let mut end = index;
        while end + 1 < frames.len() && frames[end + 1] == frames[end] + 1 {
            end += 1;
        }
        if end - index >= 2 {
            parts.push(format!("{}..{}", frames[index], frames[end]));
        } else {
            parts.extend(frames[index..=end].iter().map(i64::to_string));
        }
        index = end + 1;
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_are_read_as_blender_reads_them() {
        // Protects the check for missing frames: it must ask for exactly what Blender was told.
        assert_eq!(parse("1..3,7").unwrap(), [1, 2, 3, 7]);
        assert_eq!(parse("5").unwrap(), [5]);
        assert_eq!(runs("1..3,7").unwrap(), [(1, 3), (7, 7)]);
        assert_eq!(runs("1..+3"), None);
        for unknown in [
            "-1",
            "+2",
            "1..+3",
            "",
            "a",
            "1..",
            "3..1",
            "1..2000000",
            "1,,2",
        ] {
            assert_eq!(parse(unknown), None, "{unknown}");
        }
    }

    proptest! {
        /// What is dropped from a command must be exactly the frames that exist.
        #[test]
        fn a_compacted_list_means_the_same(frames in proptest::collection::btree_set(0i64..60, 1..40)) {
            let frames: Vec<i64> = frames.into_iter().collect();
            prop_assert_eq!(parse(&compact(&frames)).unwrap(), frames);
        }
    }
}
