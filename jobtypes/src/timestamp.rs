// SPDX-License-Identifier: GPL-3.0-or-later
//! Calendar text for scripts: `formatTimestampLocal()` and the parts of `job.created`.
//!
//! Time comes in as milliseconds since 1970 together with a time zone; this file reads no clock.

use jiff::{Timestamp, Zoned, tz::TimeZone};

/// What scripts get when they pass no time at all: the zero time of the environment they know.
pub(crate) const NO_TIME: &str = "0001-01-01_000000";

/// A moment in the Manager's zone, or nothing when the number is no moment on the calendar.
pub(crate) fn at_millis(millis: f64, zone: &TimeZone) -> Option<Zoned> {
    if !millis.is_finite() {
        return None;
    }
    // Out-of-range numbers saturate here and are refused by the calendar in the next line.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "saturates, then range-checked"
    )]
    let whole = millis as i64;
    let moment = Timestamp::from_millisecond(whole).ok()?;
    Some(moment.to_zoned(zone.clone()))
}

/// `YYYY-MM-DD_HHMMSS`.
pub(crate) fn format_local(moment: &Zoned) -> String {
    moment.strftime("%Y-%m-%d_%H%M%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text is the Manager's local time, not UTC, and safe in file names.
    #[test]
    fn formats_in_the_given_zone() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let moment = at_millis(1_136_214_245_000.0, &zone).unwrap();
        assert_eq!(format_local(&moment), "2006-01-02_170405");
        assert!(at_millis(f64::NAN, &zone).is_none());
        assert!(at_millis(1e300, &zone).is_none());
    }
}
