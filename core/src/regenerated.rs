// SPDX-License-Identifier: GPL-3.0-or-later
//! What of a job is to run anew, as requests say it: the answer of whoever compared it.

use serde::{Deserialize, Serialize};

use crate::{JobId, detail::JobDetail};

/// How a job that was compiled anew differs from what it was. The tasks that come are prepared
/// before; who asks has compared names and contents, which `decide` may not read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regeneration {
    /// The job.
    pub job: JobId,
    /// The generation that it was compared with.
    pub from_generation: u32,
    /// Hash of the script that compiled it anew.
    pub script_hash: [u8; 32],
    /// Inclusive ranges of the numbers of tasks that go.
    pub retired: Vec<(u32, u32)>,
    /// First number and count of the prepared tasks that come; they are the last that the job has.
    pub added: (u32, u32),
    /// What people read about it from now on.
    pub detail: JobDetail,
    /// Why.
    pub reason: String,
}

/// Which tasks of a job are to run again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requeue {
    /// The job.
    pub job: JobId,
    /// Inclusive ranges of their numbers.
    pub ranges: Vec<(u32, u32)>,
    /// And everything that depends on them.
    pub dependants: bool,
    /// What they have published is rendered anew, rather than found and left as it is.
    pub discard: bool,
    /// Why.
    pub reason: String,
}
