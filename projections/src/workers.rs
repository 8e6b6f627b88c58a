// SPDX-License-Identifier: GPL-3.0-or-later
//! What people read about workers and tags. Their facts are in the farm.

use serde::{Deserialize, Serialize};
use tablao_core::{
    Detail, TagId, TaskId, Timestamp, WorkerId,
    detail::{NamedDetail, WorkerDetail},
};

/// A worker in words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerRow {
    /// Its identity.
    pub id: WorkerId,
    /// Name, address, software, as it last said.
    pub detail: WorkerDetail,
    /// Why it has its status.
    pub status_reason: String,
    /// Why it is asked to change status.
    pub request_reason: String,
    /// When it made itself known.
    pub registered: Timestamp,
    /// When something about it last changed.
    pub updated: Timestamp,
    /// The task it was last given.
    pub last_task: Option<TaskId>,
}

impl WorkerRow {
    pub(crate) fn registered(id: WorkerId, at: Timestamp, detail: &Detail) -> Self {
        Self {
            id,
            detail: worker_detail(detail).cloned().unwrap_or_default(),
            status_reason: String::new(),
            request_reason: String::new(),
            registered: at,
            updated: at,
            last_task: None,
        }
    }
}

/// Why a worker is in quarantine, in words. The cause and since when are facts of the farm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineRow {
    /// The worker.
    pub id: WorkerId,
    /// What is wrong, where, and what to do.
    pub reason: String,
}

/// The detail of a worker, unless it was erased.
pub(crate) fn worker_detail(detail: &Detail) -> Option<&WorkerDetail> {
    match detail {
        Detail::Worker(detail) => Some(detail),
        _ => None,
    }
}

/// Name and description, unless they were erased.
pub(crate) fn named(detail: &Detail) -> NamedDetail {
    match detail {
        Detail::Named(detail) => detail.clone(),
        _ => NamedDetail::default(),
    }
}

/// A worker tag in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRow {
    /// Its identity.
    pub id: TagId,
    /// Its name.
    pub name: String,
    /// What it stands for.
    pub description: String,
    /// When it last changed.
    pub updated: Timestamp,
}
