// SPDX-License-Identifier: GPL-3.0-or-later
//! The options that say whether and how long a Worker keeps Blender up between tasks of one job.
//! What they do is the Worker's business.

use std::time::Duration;

use clap::Args;
use tablao_agent::WarmLimits;

/// Limits of a Blender that is kept up.
#[derive(Args, Clone)]
pub(crate) struct Warm {
    /// Start Blender anew for every task, and keep none up between tasks of a job.
    #[arg(long, env = "TABLAO_NO_WARM")]
    no_warm: bool,
    /// Seconds without a task after which a Blender that is kept up ends.
    #[arg(
        long,
        value_name = "SECONDS",
        env = "TABLAO_WARM_IDLE",
        default_value_t = 60
    )]
    warm_idle: u64,
    /// Seconds after which it takes no more tasks.
    #[arg(
        long,
        value_name = "SECONDS",
        env = "TABLAO_WARM_AGE",
        default_value_t = 3600
    )]
    warm_age: u64,
    /// Tasks after which it takes no more.
    #[arg(
        long,
        value_name = "TASKS",
        env = "TABLAO_WARM_TASKS",
        default_value_t = 1000
    )]
    warm_tasks: u32,
    /// It takes no more tasks when it holds so much more memory than after loading the file.
    #[arg(
        long,
        value_name = "MIB",
        env = "TABLAO_WARM_GROWTH",
        default_value_t = 1024
    )]
    warm_growth: u64,
    /// Seconds without a word and without processor time that count as a hang.
    #[arg(
        long,
        value_name = "SECONDS",
        env = "TABLAO_WARM_SILENCE",
        default_value_t = 900
    )]
    warm_silence: u64,
}

impl Warm {
    pub(crate) fn limits(&self) -> WarmLimits {
        let usual = WarmLimits::default();
        WarmLimits {
            enabled: usual.enabled && !self.no_warm,
            idle: Duration::from_secs(self.warm_idle),
            age: Duration::from_secs(self.warm_age),
            tasks: self.warm_tasks,
            growth_bytes: self.warm_growth.saturating_mul(1024 * 1024),
            silence: Duration::from_secs(self.warm_silence),
        }
    }
}
