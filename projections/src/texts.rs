// SPDX-License-Identifier: GPL-3.0-or-later
//! Texts of numbered things, where most have none and many share one.
//!
//! A job may have a million tasks, and canceling it says the same sentence about each. Runs of
//! equal texts are kept as one entry, so that a mass change costs one sentence.

use std::{collections::BTreeMap, sync::Arc};

/// Runs of equal texts by first number. Neighbouring runs differ: equal contents are equal maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeTexts {
    /// First number of a run, with its last number and text. No run is empty text.
    runs: BTreeMap<u32, (u32, Arc<str>)>,
}

impl RangeTexts {
    /// The text of a number; empty where there is none.
    pub(crate) fn get(&self, number: u32) -> &str {
        match self.runs.range(..=number).next_back() {
            Some((_, (last, text))) if *last >= number => text,
            _ => "",
        }
    }

    /// Sets the text of an inclusive range.
    pub(crate) fn set(&mut self, first: u32, last: u32, text: &str) {
        if first > last {
            return;
        }
        self.cut_out(first, last);
        if text.is_empty() {
            return;
        }
        let (mut first, mut last) = (first, last);
        let mut shared: Option<Arc<str>> = None;
        if let Some((&start, (end, before))) = self.runs.range(..first).next_back()
            && end.checked_add(1) == Some(first)
            && **before == *text
        {
            first = start;
            shared = Some(Arc::clone(before));
        }
        if let Some(next) = last.checked_add(1)
            && let Some((end, after)) = self.runs.get(&next)
            && **after == *text
        {
            last = *end;
            shared = shared.or_else(|| Some(Arc::clone(after)));
            self.runs.remove(&next);
        }
        let shared = shared.unwrap_or_else(|| Arc::from(text));
        self.runs.insert(first, (last, shared));
    }

    /// Takes every text out of an inclusive range, splitting runs that reach over its ends.
    fn cut_out(&mut self, first: u32, last: u32) {
        if let Some((&start, &(end, ref text))) = self.runs.range(..first).next_back()
            && end >= first
        {
            let text = Arc::clone(text);
            self.runs.insert(start, (first - 1, Arc::clone(&text)));
            self.runs.insert(first, (end, text));
        }
        if let Some((&start, &(end, ref text))) = self.runs.range(..=last).next_back()
            && end > last
        {
            let text = Arc::clone(text);
            self.runs.insert(start, (last, Arc::clone(&text)));
            self.runs.insert(last + 1, (end, text));
        }
        let inside: Vec<u32> = self.runs.range(first..=last).map(|(&at, _)| at).collect();
        for start in inside {
            self.runs.remove(&start);
        }
    }

    /// The runs that touch an inclusive range, clipped to it.
    pub(crate) fn within(&self, first: u32, last: u32) -> impl Iterator<Item = (u32, u32, &str)> {
        let reaching_in = self
            .runs
            .range(..first)
            .next_back()
            .filter(|(_, (end, _))| *end >= first);
        reaching_in
            .into_iter()
            .chain(self.runs.range(first..=last))
            .map(move |(&start, (end, text))| (start.max(first), (*end).min(last), &**text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Runs are an economy only: any sequence of changes reads like one text per number,
        /// and equal contents are equal whatever way led there (rows of checkpoints rely on it).
        #[test]
        fn like_one_text_per_number(
            changes in prop::collection::vec((0u32..40, 0u32..12, "[ab]?"), 0..40)
        ) {
            let mut runs = RangeTexts::default();
            let mut naive = vec![String::new(); 60];
            for (first, length, text) in &changes {
                runs.set(*first, first + length, text);
                naive[*first as usize..=(first + length) as usize].fill(text.clone());
            }
            let mut again = RangeTexts::default();
            for (number, text) in (0u32..60).zip(&naive).rev() {
                prop_assert_eq!(runs.get(number), text);
                again.set(number, number, text);
            }
            prop_assert_eq!(&runs, &again);
            let mut pieces = RangeTexts::default();
            for block in 0..6u32 {
                for (first, last, text) in runs.within(block * 10, block * 10 + 9) {
                    pieces.set(first, last, text);
                }
            }
            prop_assert_eq!(&runs, &pieces);
        }
    }
}
