// SPDX-License-Identifier: GPL-3.0-or-later
//! The shell's clock and id source: the one place where wall time and randomness come in.

use tablao_core::Timestamp;
use uuid::Uuid;

/// The present moment by the machine's clock.
pub fn now() -> Timestamp {
    let micros = jiff::Timestamp::now().as_microsecond();
    // A machine whose clock stands before 1970 is clamped; journal time is monotone anyway.
    Timestamp::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// The same moment as calendar time.
pub fn jiff_time(at: Timestamp) -> jiff::Timestamp {
    let micros = i64::try_from(at.micros()).unwrap_or_default();
    jiff::Timestamp::from_microsecond(micros).unwrap_or_default()
}

/// A new random id.
pub fn new_id() -> Uuid {
    Uuid::new_v4()
}

/// A new random seed.
pub fn seed() -> u64 {
    rand::random()
}

/// RFC 3339 in UTC, with up to microseconds.
pub fn rfc3339(at: Timestamp) -> String {
    let micros = i64::try_from(at.micros()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_microsecond(micros)
        .map_or_else(|_| "1970-01-01T00:00:00Z".to_owned(), |at| at.to_string())
}

/// Reads RFC 3339.
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let micros = text.parse::<jiff::Timestamp>().ok()?.as_microsecond();
    u64::try_from(micros).ok().map(Timestamp::from_micros)
}
