// SPDX-License-Identifier: GPL-3.0-or-later
//! When to try the link again, and when to say on the log that it is down.
//!
//! Pure: told how long a connection held and why it ended. A line that held for a while begins
//! anew with the shortest wait and is told of again; one that breaks at once is not, so that a
//! refusal does not fill the log.

use std::time::Duration;

const WAIT_MIN: Duration = Duration::from_millis(200);
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A connection that held this long was a good one.
const HELD_MIN: Duration = Duration::from_secs(2);

/// How often the link has failed in a row.
#[derive(Debug)]
pub(super) struct Retry {
    wait: Duration,
    told: String,
}

impl Retry {
    pub(super) fn new() -> Self {
        Self {
            wait: WAIT_MIN,
            told: String::new(),
        }
    }

    /// A connection ended after it had held for so long (zero: it never came about). Returns how
    /// long to wait, and whether there is something new to say.
    pub(super) fn ended(&mut self, held: Duration, what: &str) -> (Duration, bool) {
        if held >= HELD_MIN {
            *self = Self::new();
        }
        let wait = self.wait;
        self.wait = (wait * 2).min(WAIT_MAX);
        let is_news = self.told != what;
        if is_news {
            what.clone_into(&mut self.told);
        }
        (wait, is_news)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Protects a Server from being called without pause, and the log from one line repeated;
    /// and after a good connection both begin anew, also for the same reason.
    #[test]
    fn waits_grow_until_a_connection_held() {
        let mut retry = Retry::new();
        let none = Duration::ZERO;
        assert_eq!(retry.ended(none, "refused"), (WAIT_MIN, true));
        assert_eq!(retry.ended(none, "refused"), (WAIT_MIN * 2, false));
        assert_eq!(retry.ended(none, "reset"), (WAIT_MIN * 4, true));
        for _ in 0..20 {
            retry.ended(none, "reset");
        }
        assert_eq!(retry.ended(none, "reset"), (WAIT_MAX, false));
        let short = HELD_MIN / 2;
        assert_eq!(retry.ended(short, "reset"), (WAIT_MAX, false));
        assert_eq!(retry.ended(HELD_MIN, "reset"), (WAIT_MIN, true));
    }
}
