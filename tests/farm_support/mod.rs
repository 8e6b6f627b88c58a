// SPDX-License-Identifier: GPL-3.0-or-later
//! What the tests with real processes share: starting and killing `tablao`, speaking HTTP to it,
//! making a scene, watching the output folder, reading the journals.
//!
//! Not a test itself. Each test file uses the part it needs. Waiting here is always for something
//! to be seen, with a deadline that only a farm that hangs reaches.
#![allow(dead_code, reason = "each test file uses another part of it")]

pub(crate) mod chance;
pub(crate) mod http;
pub(crate) mod journals;
pub(crate) mod leftovers;
pub(crate) mod line;
pub(crate) mod process;
pub(crate) mod scene;
pub(crate) mod trace;
pub(crate) mod watch;
pub(crate) mod worker;

use std::time::{Duration, Instant};

/// A farm that has not come this far by then hangs. Two busy cores and a debug build are slow.
pub(crate) const DEADLINE: Duration = Duration::from_secs(240);

/// Polls until something is seen; panics with what was waited for when it never is.
pub(crate) fn until<T>(what: &str, seen: impl FnMut() -> Option<T>) -> T {
    until_within(DEADLINE, what, seen)
}

/// The same with another deadline.
pub(crate) fn until_within<T>(
    deadline: Duration,
    what: &str,
    mut seen: impl FnMut() -> Option<T>,
) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = seen() {
            return found;
        }
        assert!(
            started.elapsed() < deadline,
            "waited {deadline:?} in vain for {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Asked for the long versions (`make soak`).
pub(crate) fn is_soak() -> bool {
    std::env::var_os("TABLAO_SOAK").is_some_and(|value| value != "0")
}
