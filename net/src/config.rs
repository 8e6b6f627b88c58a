// SPDX-License-Identifier: GPL-3.0-or-later
//! `tablao.toml`: what a studio sets. Every key has a default; a missing file is all defaults.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tablao_core::entity::Policy;

use crate::{Error, live::Mqtt, variables::Variable};

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name shown to people.
    pub manager_name: String,
    /// The version that Flamenco's add-on compares with its own.
    pub shortversion: String,
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
    /// The MQTT broker that hears of what happens.
    pub mqtt: Mqtt,
    /// Values that differ by platform and audience.
    pub variables: BTreeMap<String, Variable>,
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
            shared_storage_path: PathBuf::new(),
            body_bytes_max: 16 << 20,
            pack_journals: true,
            rules: Rules::default(),
            shaman: Shaman::default(),
            mqtt: Mqtt::default(),
            variables: crate::variables::defaults(),
        }
    }
}

impl Config {
    /// Reads the file, or gives the defaults when there is none.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(source) => {
                return Err(Error::File {
                    doing: "read",
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let wrong = |what: String| Error::Configuration {
            path: path.to_owned(),
            what,
        };
        let mut config: Self = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        // A file's entries merge over the defaults by name.
        for (name, variable) in crate::variables::defaults() {
            config.variables.entry(name).or_insert(variable);
        }
        if !(1..=100).contains(&config.rules.job_fail_percent) {
            return Err(wrong(
                "rules.job_fail_percent must be from 1 to 100".to_owned(),
            ));
        }
        config.mqtt.check().map_err(wrong)?;
        if config.rules.lease_s == 0 || config.rules.task_fail_after_softfail_count == 0 {
            return Err(wrong(
                "rules.lease_s and rules.task_fail_after_softfail_count must be at least 1"
                    .to_owned(),
            ));
        }
        Ok(config)
    }

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
}
