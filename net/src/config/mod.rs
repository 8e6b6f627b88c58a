// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao.toml`: what a studio sets. Every key has a default; a missing file is all defaults.
//!
//! Here are the values as the program uses them. How the file is read and what is wrong with it:
//! `read` and `check`; how it is written without losing comments: `edit`; its form in Flamenco's
//! API: `flamenco`; which configuration a running process uses: `in_force`.

mod check;
mod documented;
mod edit;
pub mod flamenco;
pub mod go_duration;
mod in_force;
mod read;
mod reload;
pub mod watch;

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};
use tablao_core::entity::Policy;

use crate::{upkeep::Upkeep, variables::Variable};

pub use check::on_this_machine;
pub use documented::documented;
pub use edit::Edited;
pub use in_force::{InForce, Settings};
pub use read::{Finding, Level, Read, read, read_file};

/// Name of the file in a data directory.
pub const FILE_NAME: &str = "tablao.toml";

/// What stands for a secret where it is shown.
pub const HIDDEN: &str = "(hidden)";

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name shown to people.
    pub manager_name: String,
    /// The version that Flamenco's add-on compares with its own.
    pub shortversion: String,
    /// Address and port to listen on, where the command line does not say.
    pub listen: String,
    /// Folder that Manager and Workers share; empty until it is set.
    pub shared_storage_path: PathBuf,
    /// Largest body of a submission, in bytes.
    pub body_bytes_max: usize,
    /// Whether sealed segments of journals and mirrors are packed in the background.
    pub pack_journals: bool,
    /// When tasks and jobs count as failed, and how long silence may last.
    pub rules: Rules,
    /// Files that clients send once and jobs share.
    pub shaman: Shaman,
    /// What goes by itself after a while.
    pub upkeep: Upkeep,
    /// How Workers find this Manager.
    pub discovery: Discovery,
    /// Where events are published.
    pub mqtt: Mqtt,
    /// Values that differ by platform and audience.
    pub variables: BTreeMap<String, Variable>,
    /// What clients of Flamenco's operations stored and nothing here reads.
    pub flamenco: toml::Table,
}

/// The numbers that the rules read, in a studio's words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rules {
    /// A task fails for good after this many different workers failed it.
    pub task_fail_after_softfail_count: u32,
    /// A worker is blocked for a task type in a job after this many failed tasks.
    pub blocklist_threshold: u32,
    /// A job fails at this share of failed tasks, in percent.
    pub job_fail_percent: u8,
    /// Silence after which a Flamenco worker's task is queued again, in seconds; 0: never.
    pub task_timeout_s: u32,
    /// Silence after which a worker counts as lost, in seconds; 0: never.
    pub worker_timeout_s: u32,
    /// Silence after which one of our workers' tasks is queued again, in seconds.
    pub lease_s: u32,
    /// Time within which our worker must have started a task, in seconds.
    pub start_within_s: u32,
}

/// The content store on shared storage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shaman {
    /// Clients may send files to it, and jobs' files lie below `jobs` in the shared storage.
    pub enabled: bool,
    /// Time between collections of files that nobody uses, in seconds; 0: never.
    pub garbage_collect_period_s: u32,
    /// How long a file stays that no checkout uses, in seconds.
    pub garbage_collect_age_max_s: u32,
}

/// Finding this Manager on the local network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Discovery {
    /// It announces itself and answers searches.
    pub enabled: bool,
}

/// Publishing events to an MQTT broker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mqtt {
    /// Events are published.
    pub enabled: bool,
    /// Address of the broker.
    pub broker: String,
    /// How this Manager names itself there.
    pub client_id: String,
    /// User name; empty for none.
    pub username: String,
    /// Password; never journalled or shown.
    pub password: String,
    /// Begins every topic.
    pub topic_prefix: String,
}

impl Default for Discovery {
    fn default() -> Self {
        Self { enabled: true }
    }
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            enabled: false,
            broker: String::new(),
            // Flamenco's, so that whoever subscribed goes on receiving.
            client_id: "flamenco".to_owned(),
            username: String::new(),
            password: String::new(),
            topic_prefix: "flamenco".to_owned(),
        }
    }
}

impl Default for Shaman {
    fn default() -> Self {
        Self {
            // Links need a right on Windows that few accounts have.
            enabled: !cfg!(windows),
            garbage_collect_period_s: 24 * 3600,
            garbage_collect_age_max_s: 31 * 24 * 3600,
        }
    }
}

impl Default for Rules {
    fn default() -> Self {
        let policy = Policy::default();
        Self {
            task_fail_after_softfail_count: policy.task_attempts_max,
            blocklist_threshold: policy.blocklist_threshold,
            job_fail_percent: policy.fail_percent,
            task_timeout_s: policy.task_timeout_ms / 1000,
            worker_timeout_s: policy.worker_timeout_ms / 1000,
            lease_s: policy.lease_ms / 1000,
            start_within_s: policy.start_within_ms / 1000,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            manager_name: "Tablao".to_owned(),
            shortversion: "3.9-beta1".to_owned(),
            listen: "127.0.0.1:8080".to_owned(),
            shared_storage_path: PathBuf::new(),
            body_bytes_max: 16 << 20,
            pack_journals: true,
            rules: Rules::default(),
            shaman: Shaman::default(),
            upkeep: Upkeep::default(),
            discovery: Discovery::default(),
            mqtt: Mqtt::default(),
            variables: crate::variables::defaults(),
            flamenco: toml::Table::new(),
        }
    }
}

impl Config {
    /// What the core's rules read.
    pub fn policy(&self) -> Policy {
        let rules = &self.rules;
        Policy {
            task_attempts_max: rules.task_fail_after_softfail_count,
            blocklist_threshold: rules.blocklist_threshold,
            fail_percent: rules.job_fail_percent,
            task_timeout_ms: rules.task_timeout_s.saturating_mul(1000),
            worker_timeout_ms: rules.worker_timeout_s.saturating_mul(1000),
            lease_ms: rules.lease_s.saturating_mul(1000),
            start_within_ms: rules.start_within_s.saturating_mul(1000),
        }
    }

    /// Nobody has said yet where the shared storage is.
    pub fn is_first_run(&self) -> bool {
        self.shared_storage_path.as_os_str().is_empty()
    }

    /// As text for the journal, without secrets.
    pub fn journalled(&self) -> String {
        let mut shown = self.clone();
        shown.hide_secrets();
        toml::to_string(&shown).expect("a configuration came from TOML, or has values that it has")
    }

    fn hide_secrets(&mut self) {
        if !self.mqtt.password.is_empty() {
            self.mqtt.password = HIDDEN.to_owned();
        }
        hide_in(&mut self.flamenco);
    }
}

/// Hides what looks like a secret in keys that nothing here knows.
fn hide_in(table: &mut toml::Table) {
    for (key, value) in table {
        let key = key.to_lowercase();
        let secret = ["password", "secret", "token"];
        match value {
            toml::Value::Table(inner) => hide_in(inner),
            toml::Value::String(text) if secret.iter().any(|word| key.contains(word)) => {
                *text = HIDDEN.to_owned();
            }
            _ => {}
        }
    }
}
