// SPDX-License-Identifier: GPL-3.0-or-later
//! `[mqtt]` in `tablao.toml`: which broker hears of the farm, and as whom. What is said to it, and
//! how, is in the files beside this one.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::config::Config;

/// The broker that hears of what happens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mqtt {
    /// Events are published.
    pub enabled: bool,
    /// `tcp://host:1883` or `ws://host:9001/path`; empty: there is none.
    pub broker: String,
    /// As whom the Manager connects. Two clients of one name throw each other out.
    pub client_id: String,
    /// What stands before each topic: `flamenco` makes `flamenco/jobs`.
    pub topic_prefix: String,
    /// The user, where the broker asks for one.
    pub username: String,
    /// The user's password.
    pub password: Secret,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            enabled: false,
            broker: String::new(),
            client_id: "flamenco".to_owned(),
            topic_prefix: "flamenco".to_owned(),
            username: String::new(),
            password: Secret::default(),
        }
    }
}

impl Mqtt {
    pub(super) fn is_in_use(&self) -> bool {
        self.enabled && !self.broker.is_empty()
    }

    /// What is wrong with it, if anything is.
    ///
    /// # Errors
    /// In words for the person who wrote the file.
    pub fn check(&self) -> Result<(), String> {
        if self.is_in_use() {
            super::mqtt::options(self)?;
        }
        Ok(())
    }
}

/// Something that no log, no journal and no page may show.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// What it is. For the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "none" } else { "hidden" })
    }
}

impl Config {
    /// The configuration as it may be written down and shown: each secret is only said to be
    /// there.
    pub fn without_secrets(&self) -> Self {
        let mut shown = self.clone();
        let password = &mut shown.mqtt.password;
        if !password.0.is_empty() {
            "(hidden)".clone_into(&mut password.0);
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The broker's password must not get into a journal that is kept and replicated for ever,
    /// nor into a log by way of a debug print.
    #[test]
    fn the_password_stays_where_it_is() {
        let config: Config =
            toml::from_str("[mqtt]\npassword = \"swordfish\"\nusername = \"ines\"\n").unwrap();
        assert_eq!(config.mqtt.password.reveal(), "swordfish");
        let shown = toml::to_string(&config.without_secrets()).unwrap();
        assert!(shown.contains("ines") && shown.contains("(hidden)"), "{shown}");
        for text in [shown, format!("{config:?}")] {
            assert!(!text.contains("swordfish"), "{text}");
        }
    }

    /// A mistyped address is told when the file is read, not found out from silence.
    #[test]
    fn a_broker_that_cannot_be_is_refused() {
        let with = |broker: &str, enabled| Mqtt {
            enabled,
            broker: broker.to_owned(),
            ..Mqtt::default()
        };
        for good in ["tcp://farm:1883", "tcp://farm", "mqtt://[::1]:1883", "ws://farm:9001/mqtt"] {
            assert_eq!(with(good, true).check(), Ok(()), "{good}");
        }
        for bad in ["farm:1883", "tcp://", "http://farm", "mqtts://farm", "tcp://farm:port"] {
            let refused = with(bad, true).check();
            assert!(refused.as_ref().is_err_and(|why| why.contains(bad)), "{refused:?}");
            assert_eq!(with(bad, false).check(), Ok(()), "it is not used");
        }
    }
}
