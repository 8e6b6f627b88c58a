// SPDX-License-Identifier: GPL-3.0-or-later
//! Texts that differ in a frame's number only: `frame_000012` is one pattern for all frames.
//!
//! A pattern holds what stands around the number and how wide the number is; filled with the
//! number again it is the text, byte for byte. A text without the number is a pattern without a
//! gap.

use serde::{Deserialize, Serialize};

/// A text with gaps for a number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Pattern {
    /// Before each gap, and the width of the number in it.
    gaps: Box<[(Box<str>, u8)]>,
    /// After the last gap.
    end: Box<str>,
}

impl Pattern {
    /// The pattern of a text that says this number here and there.
    pub(crate) fn of(text: &str, number: i32) -> Self {
        let mut gaps = Vec::new();
        let mut rest = text;
        let mut before = 0;
        while let Some(start) = rest[before..].find(|c: char| c.is_ascii_digit()) {
            let start = before + start;
            let length = (rest[start..].bytes())
                .take_while(u8::is_ascii_digit)
                .count();
            let digits = &rest[start..start + length];
            match u8::try_from(length) {
                Ok(width) if digits == written(number, width) => {
                    gaps.push((Box::from(&rest[..start]), width));
                    rest = &rest[start + length..];
                    before = 0;
                }
                _ => before = start + length,
            }
        }
        Self {
            gaps: gaps.into(),
            end: Box::from(rest),
        }
    }

    /// The text with this number in it.
    pub(crate) fn fill(&self, number: i32) -> String {
        let widths = self
            .gaps
            .iter()
            .map(|(text, width)| text.len() + usize::from(*width));
        let mut text = String::with_capacity(widths.sum::<usize>() + self.end.len());
        for (before, width) in &self.gaps {
            text.push_str(before);
            text.push_str(&written(number, *width));
        }
        text.push_str(&self.end);
        text
    }
}

fn written(number: i32, width: u8) -> String {
    format!("{number:0width$}", width = usize::from(width))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Frames of a job share the patterns of their names and paths.
    #[test]
    fn numbered_names_share_a_pattern() {
        let of =
            |number: i32| Pattern::of(&format!("/out/sh_010/{number:04}/f{number:06}.png"), number);
        assert_eq!(of(12), of(345));
        assert_eq!(of(345).fill(7), "/out/sh_010/0007/f000007.png");
    }

    proptest! {
        /// Whatever a text says, and whatever number it is about, it comes back byte for byte.
        #[test]
        fn filled_it_is_the_text(
            parts in prop::collection::vec(("[a-zä/_.-]{0,5}", 0usize..5, any::<bool>()), 0..6),
            number in prop_oneof![-20i32..20_000, any::<i32>()],
        ) {
            let text: String = (parts.iter())
                .map(|(text, width, its)| {
                    let said = if *its { number } else { number.wrapping_add(7) };
                    format!("{text}{said:0width$}")
                })
                .collect();
            prop_assert_eq!(Pattern::of(&text, number).fill(number), text);
        }
    }
}
