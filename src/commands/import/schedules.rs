// SPDX-License-Identifier: GPL-3.0-or-later
//! Sleep schedules as Flamenco's database holds them: days as words, times of day as text.

use tablao_core::entity::SleepSchedule;

/// Monday first, as the bits of a schedule's days are.
const DAYS: [&str; 7] = ["mo", "tu", "we", "th", "fr", "sa", "su"];
/// A start or end that is not said: from or until midnight.
const NOT_SAID: u16 = u16::MAX;

/// A schedule, or what is wrong with it.
pub(super) fn schedule(
    active: bool,
    days: &str,
    start: &str,
    end: &str,
) -> Result<SleepSchedule, String> {
    let mut bits = 0;
    for word in days.split([' ', ',']).filter(|word| !word.is_empty()) {
        let word = word.to_lowercase();
        let day = DAYS.iter().position(|day| word.starts_with(day));
        bits |= 1u8 << day.ok_or_else(|| format!("{word:?} is no day"))?;
    }
    Ok(SleepSchedule {
        active,
        time_zone: String::new(),
        days: bits,
        start_minute: minute(start)?,
        end_minute: minute(end)?,
    })
}

/// Minutes after midnight of `HH:MM`, perhaps with seconds.
fn minute(text: &str) -> Result<u16, String> {
    if text.is_empty() {
        return Ok(NOT_SAID);
    }
    let wrong = || format!("{text:?} is no time of day");
    let mut parts = text.split(':').map(str::parse::<u16>);
    match (parts.next(), parts.next()) {
        (Some(Ok(hour)), Some(Ok(minute))) if hour < 24 && minute < 60 => Ok(hour * 60 + minute),
        // The end of the day.
        (Some(Ok(24)), Some(Ok(0))) => Ok(NOT_SAID),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Workers sleep after the move when they slept before it.
    #[test]
    fn schedules_are_read() {
        let found = schedule(true, "mo tu Sunday", "09:30", "17:00:00").unwrap();
        assert_eq!(
            (found.days, found.start_minute, found.end_minute),
            (0b100_0011, 570, 1020)
        );
        let whole_day = schedule(false, "", "", "").unwrap();
        assert_eq!((whole_day.days, whole_day.start_minute), (0, NOT_SAID));
        assert!(schedule(true, "x", "", "").is_err());
        assert!(schedule(true, "", "25:00", "").is_err());
    }
}
