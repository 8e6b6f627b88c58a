// SPDX-License-Identifier: GPL-3.0-or-later
//! This machine's clock against the Manager's, as the `Date` of its answers shows it.
//!
//! Noted with each answer, read only when somebody looks. It changes no clock and no decision
//! of the Worker: leases run on the monotonic clock.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use jiff::{SignedDuration, Timestamp};

use crate::wire::{Finding, FindingKind};

/// Clocks that differ by more make times of frames and records wrong for people.
const DIFFERENCE_MAX: SignedDuration = SignedDuration::from_mins(5);

/// The last answer's date, and when it came by this machine's clock.
#[derive(Debug, Clone, Default)]
pub(crate) struct ManagerClock(Arc<Mutex<Option<(String, SystemTime)>>>);

impl ManagerClock {
    /// Notes an answer.
    pub(crate) fn note(&self, headers: &reqwest::header::HeaderMap) {
        let date = headers.get(reqwest::header::DATE);
        if let Some(date) = date.and_then(|date| date.to_str().ok()) {
            let seen = (date.to_owned(), SystemTime::now());
            *self.0.lock().expect("no holder panics") = Some(seen);
        }
    }

    /// The Manager's time and this machine's at one moment, if an answer said so.
    pub(crate) fn both(&self) -> Option<(Timestamp, Timestamp)> {
        let noted = self.0.lock().expect("no holder panics").clone();
        let (date, seen) = noted?;
        let theirs = jiff::fmt::rfc2822::parse(&date).ok()?.timestamp();
        Some((theirs, Timestamp::try_from(seen).ok()?))
    }

    /// What is wrong with this machine's clock.
    pub(super) fn finding(&self) -> Option<Finding> {
        let (theirs, ours) = self.both()?;
        judge(theirs, ours)
    }
}

/// Compares two clocks.
pub(super) fn judge(theirs: Timestamp, ours: Timestamp) -> Option<Finding> {
    let ahead = ours.duration_since(theirs);
    if ahead.abs() <= DIFFERENCE_MAX {
        return None;
    }
    let side = if ahead.is_positive() {
        "ahead of"
    } else {
        "behind"
    };
    let shown = |at: Timestamp| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    Some(Finding {
        kind: FindingKind::Clock,
        subject: "clock".to_owned(),
        of_job: false,
        words: format!(
            "its clock shows {}, the Manager's shows {}: {} min {side} it. Let the systems set \
             their clocks by NTP",
            shown(ours),
            shown(theirs),
            ahead.abs().as_mins()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_far_off_is_told_with_both_times() {
        // Protects people from guessing which of two clocks is wrong, and healthy machines from
        // a difference that any network has.
        let theirs: Timestamp = "2026-11-23T02:00:00Z".parse().unwrap();
        let off = |minutes| judge(theirs, theirs + SignedDuration::from_mins(minutes));
        assert_eq!((off(0), off(5), off(-5)), (None, None, None));
        let found = off(61).unwrap();
        for words in ["03:01:00Z", "02:00:00Z", "61 min ahead of"] {
            assert!(found.words.contains(words), "{found:?}");
        }
        assert!(off(-61).unwrap().words.contains("61 min behind"));
    }

    #[test]
    fn the_date_of_an_answer_is_read() {
        // Protects against a form of the header that is not understood, and so never compared.
        let clock = ManagerClock::default();
        assert_eq!(clock.both(), None);
        let mut headers = reqwest::header::HeaderMap::new();
        let date = "Mon, 23 Nov 2026 02:32:59 GMT".parse().unwrap();
        headers.insert(reqwest::header::DATE, date);
        clock.note(&headers);
        let (theirs, _) = clock.both().unwrap();
        assert_eq!(theirs.to_string(), "2026-11-23T02:32:59Z");
    }
}
