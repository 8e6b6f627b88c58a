// SPDX-License-Identifier: GPL-3.0-or-later
//! What people read about Managers, placements and requests to Managers. Facts are in the farm.

use serde::{Deserialize, Serialize};
use tablao_core::{JobId, ManagerId, RequestId, Timestamp};

/// A Manager in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerRow {
    /// Its identity.
    pub id: ManagerId,
    /// Its name.
    pub name: String,
    /// Why it may no longer link; empty while it may.
    pub revoked_reason: String,
    /// When it was linked for the first time.
    pub linked: Timestamp,
    /// When it was last linked, renamed or revoked.
    pub updated: Timestamp,
}

/// Why the Server gave a job to a Manager, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementRow {
    /// The job.
    pub job: JobId,
    /// The Manager it was given to.
    pub manager: ManagerId,
    /// The job's name.
    pub name: String,
    /// Why this Manager.
    pub why: String,
    /// When.
    pub placed: Timestamp,
}

/// A request of the Server to a Manager, in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRow {
    /// Its identity.
    pub id: RequestId,
    /// The Manager that is to carry it out.
    pub manager: ManagerId,
    /// The job it concerns.
    pub job: JobId,
    /// Why.
    pub reason: String,
    /// When it was accepted.
    pub accepted: Timestamp,
}
