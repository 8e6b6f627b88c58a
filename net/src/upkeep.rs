// SPDX-License-Identifier: GPL-3.0-or-later
//! The part of the configuration about what goes by itself after a while: `[upkeep]`.

use serde::{Deserialize, Serialize};

use crate::engine::Expiries;

/// What goes by itself, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Upkeep {
    /// Age at which a worker that was blocked from a job may try again, in seconds; 0: never.
    pub blocklist_expire_s: u32,
    /// How long a deleted job can be restored before it is gone, in seconds; 0: not at all.
    pub deleted_job_keep_s: u32,
    /// So many tasks that a worker fails one after another, of two jobs or more, bring it into
    /// quarantine; 0: none do.
    pub quarantine_after_failures: u32,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            blocklist_expire_s: 0,
            deleted_job_keep_s: 24 * 3600,
            quarantine_after_failures: 3,
        }
    }
}

impl Upkeep {
    /// What the engine of the site looks after.
    pub fn expiries(&self) -> Expiries {
        Expiries {
            blocklist_ms: u64::from(self.blocklist_expire_s) * 1000,
            failures_in_a_row: self.quarantine_after_failures,
        }
    }
}
