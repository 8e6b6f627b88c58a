// SPDX-License-Identifier: GPL-3.0-or-later
//! What the outbox holds: reports to send, and things to finish after a kill.
//!
//! These shapes are on disk. Fields are read by name, so new ones need a default.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::wire::{FrameReport, TaskUpdate};

/// Something to be said or to be finished.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Entry {
    /// A report for the Manager, sent in order.
    Update {
        /// The task's id.
        task: String,
        /// The report.
        update: TaskUpdate,
    },
    /// A frame is about to get its final name.
    Publishing(Publishing),
    /// A staging folder that must be gone when its attempt is over.
    Staging {
        /// The folder.
        dir: PathBuf,
    },
    /// A thumbnail to make and send.
    Thumbnail(Thumbnail),
}

/// What is needed to settle a publication that a kill interrupted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Publishing {
    /// The task's id.
    pub(crate) task: String,
    /// The attempt that rendered the frame.
    pub(crate) attempt: String,
    /// Where Blender wrote it.
    pub(crate) staged: PathBuf,
    /// Device and inode of the staged file, where the platform has them: the published file is
    /// ours if it has the same.
    pub(crate) inode: Option<(u64, u64)>,
    /// What is reported once it has its final name.
    pub(crate) report: FrameReport,
}

/// One thumbnail to make and send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Thumbnail {
    /// The task's id.
    pub(crate) task: String,
    /// The attempt that reported the frame.
    pub(crate) attempt: String,
    /// Shot to which the frame belongs.
    pub(crate) shot: String,
    /// Frame number.
    pub(crate) number: i64,
    /// File name of the frame without its extension.
    pub(crate) name: String,
    /// The published frame.
    pub(crate) path: PathBuf,
    /// Whether the frame is also to be shown as last rendered.
    pub(crate) preview: bool,
}
