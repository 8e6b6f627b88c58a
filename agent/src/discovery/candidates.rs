// SPDX-License-Identifier: GPL-3.0-or-later
//! Which addresses are being asked, and what came of it: each once at a time, and no more of them
//! than a network can have. Nothing is asked from here.

use std::collections::BTreeMap;

use super::probe::Verdict;

/// Addresses that are kept in mind. Anybody on the network can make some up.
const KEPT_MAX: usize = 256;

#[derive(Debug, Default)]
struct State {
    is_asked: bool,
    /// It was said that a Manager is there that does not know this Worker.
    is_stranger: bool,
}

/// Addresses that were told of.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    states: BTreeMap<String, State>,
}

impl Candidates {
    /// Whether the address is to be asked now; from here on it is being asked.
    pub(super) fn begin(&mut self, url: &str) -> bool {
        if !self.states.contains_key(url) && self.states.len() >= KEPT_MAX {
            return false;
        }
        let state = self.states.entry(url.to_owned()).or_default();
        !std::mem::replace(&mut state.is_asked, true)
    }

    /// It has answered, or not. Returns whether that is news.
    pub(super) fn ended(&mut self, url: &str, verdict: &Verdict) -> bool {
        let Some(state) = self.states.get_mut(url) else {
            return false;
        };
        state.is_asked = false;
        let is_stranger = matches!(verdict, Verdict::Stranger);
        is_stranger && !std::mem::replace(&mut state.is_stranger, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A Manager that is told of ten times a second must not be asked ten times a second, and
    /// made-up addresses must not fill the memory.
    #[test]
    fn each_is_asked_once_at_a_time_and_told_of_once() {
        let mut candidates = Candidates::default();
        assert!(candidates.begin("http://a"));
        assert!(!candidates.begin("http://a"));
        assert!(candidates.ended("http://a", &Verdict::Stranger), "news");
        assert!(candidates.begin("http://a"), "asked again later");
        assert!(!candidates.ended("http://a", &Verdict::Stranger), "told");
        let made_up = (0..1000).filter(|number| candidates.begin(&format!("http://{number}")));
        assert_eq!(made_up.count(), KEPT_MAX - 1);
    }
}
